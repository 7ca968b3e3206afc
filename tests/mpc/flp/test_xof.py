"""The two extendable output functions."""

from __future__ import annotations

import hashlib
import hmac
import sys

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.flp import xof as module
from mpc.flp.conformance.earlier import XofTurboShake128With16
from mpc.flp.field64 import Field64
from mpc.flp.xof import Xof, XofHmacSha256Aes128, XofTurboShake128

XOFS = [XofTurboShake128, XofHmacSha256Aes128, XofTurboShake128With16]


def counter_blocks(key: bytes, nonce: bytes, start: int, blocks: int) -> bytes:
    """AES of nonce and count, block by block; the count has 64 bits."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    counts = [(start + i) % 2**64 for i in range(blocks)]
    return b"".join(encryptor.update(nonce + count.to_bytes(8, "big")) for count in counts)


@given(st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 100))
def test_hmac_and_aes_are_put_together_as_the_draft_says(tag: bytes, binder: bytes, length: int) -> None:
    seed = bytes(range(32))
    digest = hmac.digest(seed, bytes([len(tag)]) + tag + binder, hashlib.sha256)
    stream = counter_blocks(digest[:16], digest[16:24], int.from_bytes(digest[24:], "big"), 7)
    assert XofHmacSha256Aes128(seed, tag, binder).next(length) == stream[:length]


@pytest.mark.parametrize("before", [0, 1, 3])
def test_the_count_wraps_around_without_touching_the_nonce(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = bytes(range(24)) + (2**64 - before - 1).to_bytes(8, "big")

    class FixedMac:
        def update(self, data: bytes) -> None: ...

        def digest(self) -> bytes:
            return digest

    monkeypatch.setattr(module.hmac, "new", lambda *_: FixedMac())
    stream = XofHmacSha256Aes128(bytes(32), b"")
    found = b"".join(stream.next(count) for count in (5, 16, 50, 9))
    assert found == counter_blocks(digest[:16], digest[16:24], 2**64 - before - 1, 5)


@pytest.mark.parametrize("xof", XOFS)
@given(counts=st.lists(st.integers(0, 50), max_size=6))
def test_reading_in_pieces_is_reading_at_once(xof: type[Xof], counts: list[int]) -> None:
    seed = bytes(xof.seed_bytes)
    pieces = xof(seed, b"tag", b"bin", b"der")
    assert b"".join(pieces.next(n) for n in counts) == xof(seed, b"tag", b"binder").next(sum(counts))


@pytest.mark.parametrize("xof", XOFS)
def test_seed_tag_and_binder_all_matter(xof: type[Xof]) -> None:
    seed, other = bytes(xof.seed_bytes), b"\1" + bytes(xof.seed_bytes - 1)
    asked = [(seed, b"t", b"b"), (other, b"t", b"b"), (seed, b"tb", b""), (seed, b"", b"tb")]
    assert len({xof.derive_seed(*one) for one in asked}) == 4
    assert xof.derive_seed(seed, b"t") == xof(seed, b"t").next(xof.seed_bytes)


@pytest.mark.parametrize("xof", XOFS)
def test_seeds_and_tags_of_other_lengths_are_refused(xof: type[Xof]) -> None:
    with pytest.raises(LocalError, match=r"len\(seed\) is 31"):
        xof(bytes(31), b"")
    with pytest.raises(LocalError, match=r"len\(tag\)"):
        xof(bytes(xof.seed_bytes), bytes(xof.max_tag_bytes + 1))


@pytest.mark.parametrize("xof", XOFS)
def test_a_stream_shows_nothing_of_itself(xof: type[Xof]) -> None:
    assert repr(xof(bytes(xof.seed_bytes), b"")) == f"{xof.name}(<secret>)"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Crypto.Hash", None)
    with pytest.raises(LocalError, match="needs pycryptodome"):
        XofTurboShake128(bytes(32), b"")
    assert len(XofHmacSha256Aes128.expand(Field64, bytes(32), b"", length=3)) == 3
