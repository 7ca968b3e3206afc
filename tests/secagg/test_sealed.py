"""Sealed boxes: they open for one key and one context, and a tape determines them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.tape import RecordedTape, SeededTape
from secagg import sealed
from secagg.sealed import SEAL_OVERHEAD, BoxKey, check_public, seal, seal_into

KEY, OTHER = BoxKey(SeededTape(b"key").read(32)), BoxKey(SeededTape(b"other").read(32))
# RFC 7748 section 6 and the list in Curve25519's own notes: points that a small power takes to zero.
SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    b"\xec" + b"\xff" * 30 + b"\x7f",
]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(context=st.binary(max_size=80), plaintext=st.binary(max_size=200), seed=st.binary(max_size=8))
def test_a_box_opens(context: bytes, plaintext: bytes, seed: bytes) -> None:
    box = seal(KEY.public, context, plaintext, SeededTape(seed))
    assert len(box) == len(plaintext) + SEAL_OVERHEAD
    assert KEY.unseal(context, box) == plaintext
    assert KEY.unseal(context, memoryview(box)) == plaintext
    assert seal(KEY.public, context, memoryview(plaintext), SeededTape(seed)) == box


def test_a_box_is_what_the_definition_says() -> None:
    private = SeededTape(b"ephemeral").read(32)
    box = seal(KEY.public, b"context", b"plaintext", RecordedTape(private))
    ephemeral = X25519PrivateKey.from_private_bytes(private)
    public = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(KEY.public))
    info = b"secagg" + b"\x01\x00" + b"\x06\x00" + public + KEY.public + b"context"
    key = HKDF(hashes.SHA256(), 16, salt=None, info=info).derive(shared)
    assert box == public + AESGCM(key).encrypt(bytes(12), b"plaintext", None)


def test_it_opens_for_one_key_and_one_context() -> None:
    box = seal(KEY.public, b"context", b"plaintext", SeededTape(b""))
    for key, context in ((OTHER, b"context"), (KEY, b"contex"), (KEY, b"context "), (KEY, b"")):
        with pytest.raises(DecodeError, match="does not open"):
            key.unseal(context, box)


def test_a_changed_box_does_not_open() -> None:
    box = seal(KEY.public, b"", b"plaintext", SeededTape(b""))
    for place in range(len(box)):
        changed = bytearray(box)
        changed[place] ^= 1
        with pytest.raises(DecodeError):
            KEY.unseal(b"", bytes(changed))
    for wrong in (b"", box[: SEAL_OVERHEAD - 1], box[:-1], box + b"\0"):
        with pytest.raises(DecodeError):
            KEY.unseal(b"", wrong)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_points_of_small_order(point: bytes) -> None:
    with pytest.raises(DecodeError, match="small order"):
        KEY.unseal(b"", point + bytes(30))
    with pytest.raises(LocalError, match=r"recipient is .*small order"):
        seal(point, b"", b"plaintext", SeededTape(b""))
    with pytest.raises(LocalError, match=r"pinned is .*small order"):
        check_public("pinned", point)


def test_two_boxes_never_share_a_key() -> None:
    tape = SeededTape(b"")
    boxes = [seal(KEY.public, b"", bytes(64), tape) for _ in range(50)]
    assert len({box[:32] for box in boxes}) == 50
    assert len({box[32:] for box in boxes}) == 50


def test_a_box_in_place_is_the_same_box() -> None:
    buffer = bytearray(b"x" * 200)
    plaintext = bytes(range(100))
    seal_into(memoryview(buffer)[10 : 110 + SEAL_OVERHEAD], KEY.public, b"", plaintext, SeededTape(b""))
    assert buffer[10 : 110 + SEAL_OVERHEAD] == seal(KEY.public, b"", plaintext, SeededTape(b""))
    assert set(buffer[:10] + buffer[110 + SEAL_OVERHEAD :]) == {ord("x")}
    for wrong in (147, 149):
        with pytest.raises(LocalError, match=rf"len\(box\) is {wrong}: the box of 100 bytes has 148"):
            seal_into(memoryview(buffer)[:wrong], KEY.public, b"", plaintext, SeededTape(b""))


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(LocalError, match="32 bytes"):
            seal(wrong, b"", b"", SeededTape(b""))
        with pytest.raises(LocalError, match="32 bytes"):
            BoxKey(wrong)
    assert sealed.MAX_PLAINTEXT_BYTES == 2**36 - 32  # of AES-GCM under one nonce
    monkeypatch.setattr(sealed, "MAX_PLAINTEXT_BYTES", 10)
    seal(KEY.public, b"", bytes(10), SeededTape(b""))
    with pytest.raises(LocalError, match=r"len\(plaintext\) is 11: must be at most 10"):
        seal(KEY.public, b"", bytes(11), SeededTape(b""))


def test_no_secret_in_a_repr() -> None:
    secret = SeededTape(b"key").read(32)
    assert secret.hex() not in repr(KEY)
    assert "<secret>" in repr(KEY)
