"""Key holders' keys as bytes and in memory, of one or of many, and their logs."""

from __future__ import annotations

import copy
import pickle

import pytest

from mpc.errors import DecodeError, LocalError
from mpc.tape import SeededTape
from secagg.paillier import (
    KeyHolderKeys,
    KeyHolderPublic,
    KeyShareKeys,
    SharedKeyPublic,
    ThresholdPaillier,
    deal_keys,
)
from secagg.paillier.keys import OpeningKeys
from secagg.roundlog import RoundLog

KEYS = KeyHolderKeys.generate(tape=SeededTape(b"keys"), insecure_bits=256)
PUBLIC, SECRET = KEYS.public.encode(), KEYS.export_secret()
SHARED, SHARES = deal_keys(3, 2, tape=SeededTape(b"dealer"), insecure_bits=256)
SHARED_PUBLIC, SHARE = SHARED.encode(), SHARES[1].export_secret()
SMALL_ORDER = bytes(32)
SIZE = "256 bits is not one of 2048, 3072, 4096"


def test_keys_survive_their_encodings() -> None:
    public = KeyHolderPublic.decode(PUBLIC, allow_insecure_bits=True)
    assert public == KEYS.public
    assert public.encode() == PUBLIC
    assert b"\1" + KEYS.public.link + KEYS.public.encryption.encode() == PUBLIC
    again = KeyHolderKeys.import_secret(SECRET, allow_insecure_bits=True)
    assert again.public == KEYS.public
    assert again.export_secret() == SECRET == b"\1" + KEYS.link + KEYS.encryption.export_secret()


def test_generation_depends_on_the_tape_alone() -> None:
    assert KeyHolderKeys.generate(tape=SeededTape(b"keys"), insecure_bits=256).export_secret() == SECRET
    assert KeyHolderKeys.generate(tape=SeededTape(b"x"), insecure_bits=256).link != KEYS.link
    with pytest.raises(LocalError, match="bits is 512"):
        KeyHolderKeys.generate(512, tape=SeededTape(b""))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "ends after"),
        (PUBLIC[:20], "ends after"),
        (b"\0" + PUBLIC[1:], "version 0, where 1 is known"),
        (PUBLIC[:-1], "bytes where"),
        (PUBLIC + b"\0", "bytes where"),
        (PUBLIC[:1] + SMALL_ORDER + PUBLIC[33:], "small order"),
        (SECRET, "version 1 and kind 1"),
    ],
)
def test_what_is_no_public_half_does_not_decode(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        KeyHolderPublic.decode(data, allow_insecure_bits=True)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "ends after"),
        (b"\2" + SECRET[1:], "version 2, where 1 is known"),
        (SECRET[:-1], "bytes where"),
        (SECRET + b"\0", "bytes where"),
        (PUBLIC, "version 1 and kind 2"),
    ],
)
def test_what_is_no_secret_does_not_import(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        KeyHolderKeys.import_secret(data, allow_insecure_bits=True)


def test_shared_keys_survive_their_encodings() -> None:
    public = SharedKeyPublic.decode(SHARED_PUBLIC, allow_insecure_bits=True)
    assert public == SHARED
    assert public.encode() == SHARED_PUBLIC
    assert b"\2\3" + b"".join(one.link_public for one in SHARES) + SHARED.shared.encode() == SHARED_PUBLIC
    assert public.encryption == SHARED.shared.public == SHARES[0].encryption_key
    again = KeyShareKeys.import_secret(SHARE, allow_insecure_bits=True)
    assert (again.share, again.link) == (SHARES[1].share, SHARES[1].link)
    assert again.export_secret() == SHARE == b"\2" + SHARES[1].link + SHARES[1].share.export_secret()
    assert again.link_public == SHARED.links[1]


def test_dealing_depends_on_the_tape_alone() -> None:
    again, shares = deal_keys(3, 2, tape=SeededTape(b"dealer"), insecure_bits=256)
    assert again == SHARED
    assert [one.export_secret() for one in shares] == [one.export_secret() for one in SHARES]
    assert deal_keys(3, 2, tape=SeededTape(b"another"), insecure_bits=256)[0] != SHARED
    assert len({one.link for one in SHARES}) == 3
    with pytest.raises(LocalError, match="bits is 512"):
        deal_keys(3, 2, 512, tape=SeededTape(b""))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "ends after"),
        (SHARED_PUBLIC[:60], "ends after"),
        (b"\1" + SHARED_PUBLIC[1:], "version 1, where 2 is known"),
        (PUBLIC, "version 1, where 2 is known"),
        (b"\2\2" + SHARED_PUBLIC[2:], "not a key of version"),
        (b"\2\4" + SHARED_PUBLIC[2:], "not a key of version"),
        (b"\2\2" + SHARED_PUBLIC[34:], "must be 3 different keys"),
        (b"\2\0" + SHARED_PUBLIC[98:], "must be 3 different keys"),
        (SHARED_PUBLIC[:2] + SHARED_PUBLIC[34:66] + SHARED_PUBLIC[34:], "must be 3 different keys"),
        (SHARED_PUBLIC[:2] + SMALL_ORDER + SHARED_PUBLIC[34:], "small order"),
        (SHARED_PUBLIC[:-1], "no multiple"),
        (SHARED_PUBLIC + b"\0", "no multiple"),
        (SHARE, "ends after"),
    ],
)
def test_what_is_no_shared_public_half_does_not_decode(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        SharedKeyPublic.decode(data, allow_insecure_bits=True)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "ends after"),
        (b"\1" + SHARE[1:], "version 1, where 2 is known"),
        (SECRET, "version 1, where 2 is known"),
        (SHARED_PUBLIC, "not a key of version"),
        (SHARE[:-1], "ends after"),
        (SHARE + b"\0", "1 bytes after the end"),
        (SHARE[:33] + SHARES[0].share.export_secret()[:3] + SHARE[36:], "is not share 1 of this key"),
    ],
)
def test_what_is_no_secret_share_does_not_import(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        KeyShareKeys.import_secret(data, allow_insecure_bits=True)


def test_insecure_sizes_are_refused_unless_asked_for() -> None:
    with pytest.raises(DecodeError, match=SIZE):
        KeyHolderPublic.decode(PUBLIC)
    with pytest.raises(DecodeError, match=SIZE):
        KeyHolderKeys.import_secret(SECRET)
    with pytest.raises(DecodeError, match=SIZE):
        SharedKeyPublic.decode(SHARED_PUBLIC)
    with pytest.raises(DecodeError, match=SIZE):
        KeyShareKeys.import_secret(SHARE)


def test_bad_link_keys_are_refused_by_name() -> None:
    with pytest.raises(LocalError, match=r"^len\(link\) is 31"):
        KeyHolderKeys(KEYS.encryption, bytes(31))
    for link, fault in ((SMALL_ORDER, "small order"), (bytes(31), "32 bytes")):
        with pytest.raises(LocalError, match=f"^link is .*{fault}"):
            KeyHolderPublic(KEYS.public.encryption, link)


@pytest.mark.parametrize("keys", [KEYS, SHARES[0]], ids=["one", "share"])
def test_no_secret_is_shown_or_pickled(keys: OpeningKeys) -> None:
    assert repr(keys) == f"{type(keys).__name__}(bits=256, <secret>)"
    secret, shown = keys.export_secret(), f"{KEYS.public}{SHARED}{keys}{keys.log}"
    assert keys.link.hex()[:8] not in shown
    for start in (1, 33 + 4, len(secret) - 32):
        number = int.from_bytes(secret[start : start + 16], "little")
        assert str(number)[:12] not in shown
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(LocalError, match="export_secret"):
            write(keys)


def test_the_log_goes_with_the_keys() -> None:
    log = RoundLog([(bytes(16), 0)])
    assert KeyHolderKeys.import_secret(SECRET, log=log, allow_insecure_bits=True).log is log
    assert KeyHolderKeys(KEYS.encryption, KEYS.link, log).log is log
    assert KEYS.log.entries() == ()
    own = KeyShareKeys.import_secret(SHARE, log=log, allow_insecure_bits=True)
    assert own.log is log
    assert SHARES[1].log.entries() == ()


@pytest.mark.parametrize("log", [[], ((bytes(16), 0),), b"log"])
def test_a_log_that_is_none(log: object) -> None:
    with pytest.raises(LocalError, match=f"log is '{type(log).__name__}': must be a RoundLog"):
        KeyHolderKeys(KEYS.encryption, KEYS.link, log)  # type: ignore[arg-type]


def test_one_share_where_all_key_holders_keys_are_due() -> None:
    for given in (SHARES[1], iter(SHARES), SHARED):
        with pytest.raises(LocalError, match=f"^keys is '{type(given).__name__}': must be a sequence"):
            ThresholdPaillier(keys=given, insecure_key_bits=256)  # type: ignore[arg-type]
    assert ThresholdPaillier(keys=list(SHARES), insecure_key_bits=256).public == SHARED
