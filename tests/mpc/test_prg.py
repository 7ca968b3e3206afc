"""mpc.prg against the standards it is built on."""

from __future__ import annotations

import hashlib
import hmac
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.prg import KEY_BYTES, MAX_KEYSTREAM_BYTES, Keystream, Usage, derive_key, equal, tag

KEY = bytes(range(16))


def counter_mode(key: bytes, count: int) -> bytes:
    """AES-128 in counter mode from counter block 00…02, as SP 800-38D numbers the first data block."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(15) + b"\2"))
    return cipher.encryptor().update(bytes(count))


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256 and no salt, from HMAC alone."""
    key = hmac.digest(bytes(32), secret, "sha256")
    output, block = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        output += block
    return output[:length]


@given(st.lists(st.integers(0, 5000), max_size=6))
def test_a_keystream_is_counter_mode(counts: list[int]) -> None:
    stream = Keystream(KEY)
    assert b"".join(stream.read(count) for count in counts) == counter_mode(KEY, sum(counts))


@given(st.lists(st.integers(1, 2000), max_size=6))
def test_filling_a_buffer_is_reading(counts: list[int]) -> None:
    stream, found = Keystream(KEY), b""
    for count in counts:
        buffer = bytearray(b"\xff" * (count + 15))
        stream.fill(bytes(count), buffer)
        found += bytes(buffer[:count])
    assert found == counter_mode(KEY, sum(counts))


def test_a_known_answer() -> None:
    """FIPS 197, appendix C.1: this block under this key; as a counter block it is the stream's."""
    block, key = bytes.fromhex("00112233445566778899aabbccddeeff"), KEY
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    assert ecb.update(block).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    assert Keystream(key).read(32) == ecb.update(bytes(15) + b"\2") + ecb.update(bytes(15) + b"\3")


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_other_keys_are_refused(size: int) -> None:
    with pytest.raises(LocalError, match=rf"len\(key\) is {size}: an AES-128 key has 16 bytes"):
        Keystream(bytes(size))


def test_a_key_is_used_up_at_last() -> None:
    stream = Keystream(KEY)
    stream._left = 20
    assert len(stream.read(20)) == 20
    with pytest.raises(LocalError, match=f"a key gives at most {MAX_KEYSTREAM_BYTES} bytes in all"):
        stream.read(1)
    stream = Keystream(KEY)
    stream._left = 20
    with pytest.raises(LocalError, match="count is 21"):
        stream.fill(bytes(21), bytearray(36))


def test_reading_backwards_is_refused() -> None:
    with pytest.raises(LocalError, match="count is -5: must be at least 0"):
        Keystream(KEY).read(-5)


@given(
    secret=st.binary(min_size=1, max_size=64),
    usage=st.sampled_from(Usage),
    context=st.binary(max_size=60),
    length=st.sampled_from([16, 32, 33, 100]),
)
def test_keys_are_derived_as_rfc_5869_says(secret: bytes, usage: Usage, context: bytes, length: int) -> None:
    info = b"secagg\x01\x00" + bytes([usage, 0]) + context
    assert derive_key(secret, usage, context, length) == hkdf(secret, info, length)


def test_the_oracle_is_rfc_5869() -> None:
    """Test case 3 of its appendix A."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf(b"\x0b" * 22, b"", 42).hex() == expected


def test_usages_are_numbered_once_and_keep_their_numbers() -> None:
    """A number is part of every derived key: changing one would change the protocol."""
    assert len(Usage) == len({int(usage) for usage in Usage})
    assert {usage.name: int(usage) for usage in Usage} == {
        "SEEDED_TAPE": 1,
        "TAPE_CHILD": 2,
        "PAIRWISE_MASK": 3,
        "SELF_MASK": 4,
        "SHARE_SEALING": 5,
        "SEALED_BOX": 6,
        "LINK_TO_SERVER": 7,
        "LINK_TO_CLIENT": 8,
        "ADDITIVE_SHARE": 9,
        "ROUNDING": 10,
        "COHORT_DIGEST": 11,
        "SEED_COMMITMENT": 12,
        "ROSTER": 13,
        "LINK_GREETING": 14,
        "KEY_ADVERTISEMENT": 15,
        "CONSISTENCY": 16,
        "GRAPH": 17,
        "MERKLE_TREE": 18,
        "LISTING": 19,
        "DEALING": 20,
        "SHARE_COMMITMENT": 21,
        "OPENING_BATCH": 22,
        "OPENING_PROOF": 23,
        "MATRIX_TRIPLE": 24,
        "SKETCH_TAG": 25,
        "SKETCHING": 26,
        "JUDGING": 27,
    }


def test_tags_have_one_length_so_contexts_cannot_run_into_them() -> None:
    tags = [tag(usage) for usage in Usage]
    assert {len(one) for one in tags} == {10}
    assert all(one != other for one, other in combinations(tags, 2))


def test_domains_do_not_meet() -> None:
    keys = {derive_key(b"s", usage, context) for usage in Usage for context in (b"", b"a", b"ab")}
    assert len(keys) == 3 * len(Usage)
    assert {len(key) for key in keys} == {KEY_BYTES}
    assert derive_key(b"s", Usage.SELF_MASK, b"") != hashlib.sha256(b"s").digest()[:16]


def test_comparison() -> None:
    assert equal(b"abc", b"abc")
    assert not equal(b"abc", b"abd")
    assert not equal(b"abc", b"abcd")


def test_a_keystream_shows_nothing_of_itself() -> None:
    assert repr(Keystream(KEY)) == "Keystream(<secret>)"
