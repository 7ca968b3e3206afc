"""Seeds, keys and keystreams, with one numbered list of what each is for (spec section 3).

A key has one use. Every derivation is HKDF-SHA256 (RFC 5869) under a tag built from the protocol version
and a number of :class:`Usage`, followed by a context that binds session, round and parties. A keystream
is AES-128 in counter mode (NIST SP 800-38A) from an all-zero nonce: safe because the key is never reused.
"""

from __future__ import annotations

import hmac
from enum import IntEnum
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpc.errors import LocalError

VERSION = 1
KEY_BYTES = 16  # AES-128: the 128-bit security level that X25519 gives the seeds as well
# SP 800-38D section 5.2.1.1: a GCM plaintext holds at most 2^39 - 256 bits under one key and nonce.
MAX_KEYSTREAM_BYTES = 2**36 - 32
_ZERO_NONCE = bytes(12)


class Usage(IntEnum):
    """Every domain that a secret is expanded in."""

    # Numbers are never reused, and new ones go to the end.
    SEEDED_TAPE = 1
    TAPE_CHILD = 2
    PAIRWISE_MASK = 3
    SELF_MASK = 4
    SHARE_SEALING = 5
    SEALED_BOX = 6
    LINK_TO_SERVER = 7
    LINK_TO_CLIENT = 8
    ADDITIVE_SHARE = 9
    ROUNDING = 10
    COHORT_DIGEST = 11
    SEED_COMMITMENT = 12
    ROSTER = 13
    LINK_GREETING = 14
    KEY_ADVERTISEMENT = 15
    CONSISTENCY = 16
    GRAPH = 17
    MERKLE_TREE = 18
    LISTING = 19
    DEALING = 20
    SHARE_COMMITMENT = 21
    OPENING_BATCH = 22
    OPENING_PROOF = 23
    MATRIX_TRIPLE = 24
    SKETCH_TAG = 25
    SKETCHING = 26
    JUDGING = 27


@cache
def tag(usage: Usage) -> bytes:
    """The domain-separation tag: protocol, version, usage. Ten bytes."""
    return b"secagg" + VERSION.to_bytes(2, "little") + int(usage).to_bytes(2, "little")


def derive_key(secret: bytes, usage: Usage, context: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA256 of ``secret`` for one ``usage`` in one ``context``; ``length`` bytes."""
    return HKDF(hashes.SHA256(), length, salt=None, info=tag(usage) + context).derive(secret)


def equal(left: bytes, right: bytes) -> bool:
    """Constant-time comparison."""
    return hmac.compare_digest(left, right)


class Keystream:
    """The AES-128-CTR keystream of one key, read from the front, never twice.

    It is produced by AES-GCM over zeros, whose ciphertext is the CTR keystream from counter block
    nonce ‖ 2 on (SP 800-38D section 7.1), because OpenSSL's GCM runs at twice the speed of its CTR.
    """

    __slots__ = ("_encryptor", "_left")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise LocalError("len(key)", len(key), f"an AES-128 key has {KEY_BYTES} bytes")
        self._encryptor = Cipher(algorithms.AES(key), modes.GCM(_ZERO_NONCE)).encryptor()
        self._left = MAX_KEYSTREAM_BYTES

    def fill(self, zeros: bytes | memoryview, buffer: bytearray | memoryview) -> None:
        """Write the next ``len(zeros)`` bytes into ``buffer``, which is 15 bytes longer or more.

        ``zeros`` holds zero bytes only. The caller owns both, so that a loop over many streams keeps
        one block in the processor's cache (spec section 3).
        """
        self._left -= len(zeros)
        if self._left < 0:
            raise _exhausted(len(zeros))
        self._encryptor.update_into(zeros, buffer)

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if count < 0:
            raise LocalError("count", count, "must be at least 0")
        self._left -= count
        if self._left < 0:
            raise _exhausted(count)
        return self._encryptor.update(bytes(count))

    def __repr__(self) -> str:
        return "Keystream(<secret>)"


def _exhausted(count: int) -> LocalError:
    return LocalError("count", count, f"a key gives at most {MAX_KEYSTREAM_BYTES} bytes in all")
