"""Extendable output functions (draft-irtf-cfrg-vdaf-20, section 6.2; spec section 16.2).

A seed, a domain-separation tag and a binder string give a stream of bytes, read from the front.
"""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from types import ModuleType
from typing import ClassVar

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from mpc.errors import LocalError
from mpc.flp.fields import Field, Vector

_BLOCK = 16  # bytes of AES


class Xof(ABC):
    """A stream under (seed, tag, binder), where the binder is the concatenation of what is passed.

    ``LocalError`` unless the seed has ``seed_bytes`` bytes and the tag at most ``max_tag_bytes``.
    """

    name: ClassVar[str]
    seed_bytes: ClassVar[int]
    max_tag_bytes: ClassVar[int]

    def __init__(self, seed: bytes, tag: bytes, *binder: bytes) -> None:
        if len(seed) != self.seed_bytes:
            raise LocalError("len(seed)", len(seed), f"{self.name} takes {self.seed_bytes} bytes")
        if len(tag) > self.max_tag_bytes:
            raise LocalError("len(tag)", len(tag), f"{self.name} takes at most {self.max_tag_bytes} bytes")
        self._start(seed, tag, binder)

    @abstractmethod
    def _start(self, seed: bytes, tag: bytes, binder: tuple[bytes, ...]) -> None: ...

    @abstractmethod
    def next(self, length: int) -> bytes:
        """The next ``length`` ≥ 0 bytes."""

    @classmethod
    def derive_seed(cls, seed: bytes, tag: bytes, *binder: bytes) -> bytes:
        """A new seed."""
        return cls(seed, tag, *binder).next(cls.seed_bytes)

    @classmethod
    def expand(cls, field: Field, seed: bytes, tag: bytes, *binder: bytes, length: int) -> Vector:
        """``length`` uniform elements, by rejection."""
        return field.sample(cls(seed, tag, *binder).next, length)

    def __repr__(self) -> str:
        return f"{self.name}(<secret>)"


class XofTurboShake128(Xof):
    """TurboSHAKE128 (RFC 9861) through pycryptodome, an extra; section 6.2.1 of the draft."""

    name = "XofTurboShake128"
    seed_bytes = 32
    max_tag_bytes = 2**16 - 1

    def _start(self, seed: bytes, tag: bytes, binder: tuple[bytes, ...]) -> None:
        self._absorb(len(tag).to_bytes(2, "little") + tag + bytes([len(seed)]) + seed, binder)

    def _absorb(self, head: bytes, binder: tuple[bytes, ...]) -> None:
        self._sponge = _turboshake().new(domain=1)
        for part in (head, *binder):
            self._sponge.update(part)

    def next(self, length: int) -> bytes:
        stream: bytes = self._sponge.read(length)
        return stream


class XofHmacSha256Aes128(Xof):
    """AES-128-CTR under a key, nonce and first count from HMAC-SHA256: the XOF of draft-chen-cfrg-vdaf-pine.

    The high half of the counter block is the nonce; the low half counts modulo 2^64.
    """

    name = "XofHmacSha256Aes128"
    seed_bytes = 32
    max_tag_bytes = 2**8 - 1

    def _start(self, seed: bytes, tag: bytes, binder: tuple[bytes, ...]) -> None:
        mac = hmac.new(seed, bytes([len(tag)]) + tag, hashlib.sha256)
        for part in binder:
            mac.update(part)
        digest = mac.digest()
        self._key, self._nonce, count = digest[:16], digest[16:24], digest[24:]
        self._restart(int.from_bytes(count, "big"))

    def _restart(self, count: int) -> None:
        self._left = _BLOCK * (2**64 - count)  # bytes before the count wraps around
        self._stream = _counter_mode(self._key, self._nonce + count.to_bytes(8, "big"))

    def next(self, length: int) -> bytes:
        before = min(length, self._left)
        chunk = self._stream.update(bytes(before))
        self._left -= before
        if before < length:
            self._restart(0)
            chunk += self.next(length - before)
        return chunk


def _counter_mode(key: bytes, block: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(block)).encryptor()


def _turboshake() -> ModuleType:
    try:
        from Crypto.Hash import TurboSHAKE128
    except ImportError:
        raise LocalError(
            "xof", XofTurboShake128.name, "needs pycryptodome: pip install 'secagg[dev]'"
        ) from None
    return TurboSHAKE128
