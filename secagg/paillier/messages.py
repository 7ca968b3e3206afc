"""The messages of the Paillier protocol, in the order in which they are sent (spec section 14.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gmpy2 import mpz

from mpc.errors import DecodeError
from mpc.party import PartyId, Role
from mpc.wire import Reader, Writer
from secagg.checks.messages import CHECK_PHASE
from secagg.paillier.numbers import decode_numbers, encode_numbers, require_units
from secagg.paillier.public import FINGERPRINT_BYTES, PublicKey

INPUT = "encrypted-input"
CHECK = CHECK_PHASE
DECRYPT = "decrypt"
OPENED = "opened-sum"
PHASES = (INPUT, CHECK, DECRYPT, OPENED)


def key_holder_ids(holders: int) -> tuple[PartyId, ...]:
    """The key holders, in the order in which their public keys are given."""
    return tuple(PartyId(Role.KEY_HOLDER, index) for index in range(holders))


@dataclass(frozen=True, slots=True, repr=False)
class EncryptedInput:
    """Client to server: its packed vector, one ciphertext after the other, and under which key.

    Ciphertexts do not show the key: one client with another key pinned would spoil the sum, unnamed. They
    stay encoded: the server multiplies whole rows.
    """

    row: bytes | memoryview

    @staticmethod
    def size(key_bits: int, ciphertexts: int) -> int:
        return ciphertexts * (key_bits // 4) + FINGERPRINT_BYTES

    def encode(self, key: PublicKey) -> bytes:
        return bytes(self.row) + key.fingerprint()

    @classmethod
    def decode(cls, data: bytes | memoryview, key: PublicKey, ciphertexts: int) -> EncryptedInput:
        """``DecodeError`` unless there are that many, each a unit modulo n² in (0, n²), under ``key``."""
        reader = Reader(data)
        row = reader.view(ciphertexts * key.ciphertext_bytes)
        if reader.fixed(FINGERPRINT_BYTES) != key.fingerprint():
            raise DecodeError("encrypted under another key than the key holder's")
        reader.finish()
        key.validate_row(row)
        return cls(row)

    def __repr__(self) -> str:  # whoever holds the key could read the rest in a log
        return f"EncryptedInput(<{len(self.row)} bytes>)"


@dataclass(frozen=True, slots=True, repr=False)
class DecryptRequest:
    """Server to key holders: which clients are in the sum, and its ciphertexts modulo n.

    No plaintext occurs in a remainder: (1 + m·n)·r^n is r^n modulo n.
    """

    counted: tuple[int, ...]
    remainders: Sequence[mpz]

    @staticmethod
    def size(key_bits: int, ciphertexts: int, members: int) -> int:
        return (members + 7) // 8 + ciphertexts * (key_bits // 8)

    def encode(self, key: PublicKey, members: int) -> bytes:
        writer = Writer().members(self.counted, members)
        return writer.finish() + encode_numbers(self.remainders, key.bits // 8)

    @classmethod
    def decode(
        cls, data: bytes | memoryview, key: PublicKey, ciphertexts: int, members: int
    ) -> DecryptRequest:
        """``DecodeError`` unless there are that many, each a unit modulo n in (0, n)."""
        reader = Reader(data)
        counted = reader.members(members)
        remainders = decode_numbers(reader.view(ciphertexts * (key.bits // 8)), key.bits // 8)
        reader.finish()
        require_units(remainders, key.n, "remainder")
        return cls(counted, remainders)

    def __repr__(self) -> str:
        return f"DecryptRequest({len(self.counted)} clients, <{len(self.remainders)} numbers>)"


@dataclass(frozen=True, slots=True, repr=False)
class Lifts:
    """The only key holder to the server: each remainder's lift, and one proof for all (spec section 14.4)."""

    lifts: Sequence[mpz]
    proof: mpz

    @staticmethod
    def size(key_bits: int, ciphertexts: int) -> int:
        return (ciphertexts + 1) * (key_bits // 8)

    def encode(self, key: PublicKey) -> bytes:
        return encode_numbers([*self.lifts, self.proof], key.bits // 8)

    @classmethod
    def decode(cls, data: bytes | memoryview, key: PublicKey, ciphertexts: int) -> Lifts:
        reader = Reader(data)
        numbers = decode_numbers(reader.view(cls.size(key.bits, ciphertexts)), key.bits // 8)
        reader.finish()
        return cls(numbers[:-1], numbers[-1])

    def __repr__(self) -> str:
        return f"Lifts(<{len(self.lifts)} numbers>)"
