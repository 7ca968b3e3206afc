"""Sealed boxes: bytes that only the holder of one X25519 key can open (spec section 13.1).

The sender makes a key pair for one box, agrees with the recipient's pinned key, and encrypts with
AES-128-GCM under

    HKDF(shared secret, usage 6, ephemeral public ‖ recipient public ‖ the caller's context).

A box says nothing about who sealed it, and cannot be moved to another recipient or another context.

The shape is that of HPKE's base mode (RFC 9180). The HPKE module of ``cryptography`` is not used because it
draws the ephemeral key by itself: a fixed tape would then not determine every byte of a message.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc.errors import DecodeError, LocalError
from mpc.prg import MAX_KEYSTREAM_BYTES, Usage, derive_key
from mpc.tape import RandomTape

KEY_BYTES = 32  # X25519, private and public alike
TAG_BYTES = 16  # AES-GCM
SEAL_OVERHEAD = KEY_BYTES + TAG_BYTES  # bytes that a box is longer than what it holds
MAX_PLAINTEXT_BYTES = MAX_KEYSTREAM_BYTES  # of AES-GCM under one nonce
# The key is derived from an ephemeral key that seals one box, so no nonce ever meets it twice.
_NONCE = bytes(12)


def seal(recipient: bytes, context: bytes, plaintext: bytes | memoryview, tape: RandomTape) -> bytes:
    """A box of ``len(plaintext) + SEAL_OVERHEAD`` bytes; it opens only under the same ``context``.

    Reads ``KEY_BYTES`` bytes from the tape. Raises ``LocalError`` for a recipient key that is not 32 bytes
    or of small order, and for a plaintext of more than ``MAX_PLAINTEXT_BYTES`` bytes.
    """
    box = bytearray(len(plaintext) + SEAL_OVERHEAD)
    seal_into(memoryview(box), recipient, context, plaintext, tape)
    return bytes(box)


def seal_into(
    box: memoryview, recipient: bytes, context: bytes, plaintext: bytes | memoryview, tape: RandomTape
) -> None:
    """As ``seal``, into ``len(plaintext) + SEAL_OVERHEAD`` writable bytes: a long box is not copied."""
    size = len(plaintext)
    if size > MAX_PLAINTEXT_BYTES:
        raise LocalError("len(plaintext)", size, f"must be at most {MAX_PLAINTEXT_BYTES}")
    if len(box) != size + SEAL_OVERHEAD:
        raise LocalError("len(box)", len(box), f"the box of {size} bytes has {size + SEAL_OVERHEAD}")
    ephemeral = X25519PrivateKey.from_private_bytes(tape.read(KEY_BYTES))
    shared = _exchange("recipient", ephemeral, recipient)
    public = ephemeral.public_key().public_bytes_raw()
    key = _box_key(shared, public, recipient, context)
    encryptor = Cipher(algorithms.AES(key), modes.GCM(_NONCE)).encryptor()
    encryptor.update_into(plaintext, box[KEY_BYTES:])
    encryptor.finalize()
    box[:KEY_BYTES], box[-TAG_BYTES:] = public, encryptor.tag


def check_public(argument: str, public: bytes) -> None:
    """``LocalError`` that names ``argument`` unless ``public`` is an X25519 key that agreements work with."""
    _exchange(argument, X25519PrivateKey.from_private_bytes(bytes(KEY_BYTES)), public)


class BoxKey:
    """The recipient's private key, ready to open many boxes. ``LocalError`` unless it has 32 bytes."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        if len(private) != KEY_BYTES:
            raise LocalError("len(private)", len(private), f"an X25519 key has {KEY_BYTES} bytes")
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    def unseal(self, context: bytes, box: bytes | memoryview) -> bytes:
        """What was sealed to this key under ``context``; ``DecodeError`` for anything else."""
        if len(box) < SEAL_OVERHEAD:
            raise DecodeError(f"a sealed box of {len(box)} bytes, where {SEAL_OVERHEAD} is the least")
        view = memoryview(box)
        ephemeral, sealed, tag = bytes(view[:KEY_BYTES]), view[KEY_BYTES:-TAG_BYTES], view[-TAG_BYTES:]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        except ValueError:
            raise DecodeError("a sealed box under a key of small order") from None
        key = _box_key(shared, ephemeral, self.public, context)
        # Not the AEAD interface, which takes no more than 2^31 - 1 bytes at once.
        decryptor = Cipher(algorithms.AES(key), modes.GCM(_NONCE, bytes(tag))).decryptor()
        plaintext = decryptor.update(sealed)
        try:
            decryptor.finalize()
        except InvalidTag:
            raise DecodeError("a sealed box does not open") from None
        return plaintext

    def __repr__(self) -> str:
        return f"BoxKey(<secret>, public={self.public.hex()[:8]}…)"


def _exchange(argument: str, private: X25519PrivateKey, public: bytes) -> bytes:
    if not isinstance(public, bytes) or len(public) != KEY_BYTES:
        raise LocalError(argument, public, f"an X25519 public key has {KEY_BYTES} bytes")
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise LocalError(argument, public.hex(), "an X25519 public key must not be of small order") from None


def _box_key(shared: bytes, ephemeral: bytes, recipient: bytes, context: bytes) -> bytes:
    return derive_key(shared, Usage.SEALED_BOX, ephemeral + recipient + context)
