"""The messages of the Paillier protocol, in the order in which they are sent (spec section 14.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gmpy2 import mpz

from mpc.errors import DecodeError
from mpc.party import PartyId, Role
from mpc.wire import Reader, Writer
from secagg.checks.messages import CHECK_PHASE
from secagg.paillier.public import FINGERPRINT_BYTES, PublicKey

INPUT = "encrypted-input"
CHECK = CHECK_PHASE
DECRYPT = "decrypt"
OPENED = "opened-sum"
PHASES = (INPUT, CHECK, DECRYPT, OPENED)

KEY_HOLDER = PartyId(Role.KEY_HOLDER)


@dataclass(frozen=True, slots=True)
class EncryptedInput:
    """Client to server: its packed vector, one ciphertext after the other, and under which key.

    Ciphertexts do not show the key: one client with another key pinned would spoil the sum, unnamed.
    """

    ciphertexts: Sequence[mpz]

    @staticmethod
    def size(key_bits: int, ciphertexts: int) -> int:
        return ciphertexts * (key_bits // 4) + FINGERPRINT_BYTES

    def encode(self, key: PublicKey) -> bytes:
        return key.encode_ciphertexts(self.ciphertexts) + key.fingerprint()

    @classmethod
    def decode(cls, data: bytes | memoryview, key: PublicKey, ciphertexts: int) -> EncryptedInput:
        """``DecodeError`` unless there are that many, each a unit modulo n² in (0, n²), under ``key``."""
        reader = Reader(data)
        row = reader.view(ciphertexts * key.ciphertext_bytes)
        if reader.fixed(FINGERPRINT_BYTES) != key.fingerprint():
            raise DecodeError("encrypted under another key than the key holder's")
        reader.finish()
        return cls(key.decode_ciphertexts(row, ciphertexts))


@dataclass(frozen=True, slots=True)
class DecryptRequest:
    """Server to key holder: which clients are in the sum, and its ciphertexts, blinded by the server."""

    counted: tuple[int, ...]
    ciphertexts: Sequence[mpz]

    @staticmethod
    def size(key_bits: int, ciphertexts: int, members: int) -> int:
        return (members + 7) // 8 + ciphertexts * (key_bits // 4)

    def encode(self, key: PublicKey, members: int) -> bytes:
        writer = Writer().members(self.counted, members)
        return writer.finish() + key.encode_ciphertexts(self.ciphertexts)

    @classmethod
    def decode(
        cls, data: bytes | memoryview, key: PublicKey, ciphertexts: int, members: int
    ) -> DecryptRequest:
        reader = Reader(data)
        return cls(reader.members(members), key.decode_ciphertexts(reader.rest(), ciphertexts))


@dataclass(frozen=True, slots=True)
class OpenedSum:
    """Key holder to server: what it decrypted, integers below n, still blinded."""

    plaintexts: Sequence[mpz]

    @staticmethod
    def size(key_bits: int, ciphertexts: int) -> int:
        return ciphertexts * (key_bits // 8)

    def encode(self, key: PublicKey) -> bytes:
        return b"".join(plaintext.to_bytes(key.bits // 8, "little") for plaintext in self.plaintexts)

    @classmethod
    def decode(cls, data: bytes | memoryview, key: PublicKey, ciphertexts: int) -> OpenedSum:
        reader = Reader(data)
        plaintexts = [mpz.from_bytes(reader.fixed(key.bits // 8), "little") for _ in range(ciphertexts)]
        reader.finish()
        for index, plaintext in enumerate(plaintexts):
            if plaintext >= key.n:
                raise DecodeError(f"plaintext {index} is not below n")
        return cls(plaintexts)
