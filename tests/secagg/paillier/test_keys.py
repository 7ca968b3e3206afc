"""The key holder's keys as bytes and in memory, and its log."""

from __future__ import annotations

import copy
import pickle

import pytest

from mpc.errors import DecodeError, LocalError
from mpc.tape import SeededTape
from secagg.paillier import KeyHolderKeys, KeyHolderPublic
from secagg.roundlog import RoundLog

KEYS = KeyHolderKeys.generate(tape=SeededTape(b"keys"), insecure_bits=256)
PUBLIC, SECRET = KEYS.public.encode(), KEYS.export_secret()
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


def test_insecure_sizes_are_refused_unless_asked_for() -> None:
    with pytest.raises(DecodeError, match=SIZE):
        KeyHolderPublic.decode(PUBLIC)
    with pytest.raises(DecodeError, match=SIZE):
        KeyHolderKeys.import_secret(SECRET)


def test_bad_link_keys_are_refused_by_name() -> None:
    with pytest.raises(LocalError, match=r"^len\(link\) is 31"):
        KeyHolderKeys(KEYS.encryption, bytes(31))
    for link, fault in ((SMALL_ORDER, "small order"), (bytes(31), "32 bytes")):
        with pytest.raises(LocalError, match=f"^link is .*{fault}"):
            KeyHolderPublic(KEYS.public.encryption, link)


def test_no_secret_is_shown_or_pickled() -> None:
    assert repr(KEYS) == "KeyHolderKeys(bits=256, <secret>)"
    assert KEYS.link.hex()[:8] not in f"{KEYS.public}{KEYS}"
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(LocalError, match="export_secret"):
            write(KEYS)


def test_the_log_goes_with_the_keys() -> None:
    log = RoundLog([(bytes(16), 0)])
    assert KeyHolderKeys.import_secret(SECRET, log=log, allow_insecure_bits=True).log is log
    assert KeyHolderKeys(KEYS.encryption, KEYS.link, log).log is log
    assert KEYS.log.entries() == ()
