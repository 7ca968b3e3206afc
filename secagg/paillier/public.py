"""The public key: encrypt, add, and refuse what is no ciphertext (spec section 14.1).

The cryptosystem is Paillier's (Eurocrypt 1999) with g = n + 1, and encryption is that of Damgård, Jurik and
Nielsen, "A generalization of Paillier's public-key system with applications to electronic voting" (2010),
with s = 1: the key carries h_s = h^n mod n² for h = −y² mod n, and a ciphertext is

    c = (1 + m·n) · h_s^a mod n²,    a uniform below 2^exponent_bits(bits).

A key that was made elsewhere has no h_s, and its randomizers are the textbook's: r^n mod n² for a uniform
unit r, in place of h_s^a. Both are ordinary Paillier ciphertexts: whoever knows n can add to them, and any
Paillier decryption opens them.

Deviation: DJN draw a of half the modulus's bits, which factoring alone justifies. Here a is shorter, so
hiding rests on the short-exponent discrete logarithm assumption modulo n as well (see
:func:`exponent_bits`).

Timing: GMP is not a constant-time library. Reductions and products take a time that may depend on the
numbers, encryption reads its table at secret places, and freed memory is not wiped. Do not run this beside
an attacker who shares the processor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import gmpy2
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from mpc.tape import RandomTape
from secagg.paillier.fixedbase import TABLE_BYTES, FixedBase
from secagg.paillier.keyformat import (
    PUBLIC,
    SECURITY,
    TEXTBOOK_PUBLIC,
    decode_fields,
    encode_fields,
    kind_of,
    public_fault,
)
from secagg.paillier.modulus import Modulus, modulus_of
from secagg.paillier.numbers import decode_numbers, encode_numbers, first_non_unit, random_unit
from secagg.paillier.prepared import Prepared

FINGERPRINT_BYTES = 32  # SHA-256
_TABLES_KEPT = 4


def exponent_bits(bits: int) -> int:
    """Bits of the random exponent for a modulus of ``bits`` bits: 352, 400 and 472 for 2048, 3072 and 4096.

    Three times the security level λ, and 16 to spare. Finding an exponent of L bits costs 2^(L/2) by the
    kangaroo method, which asks for 2λ. But h_s serves every ciphertext under a key: after 2^(2L/3) work for a
    table of 2^(L/3) entries, each further logarithm costs 2^(L/3) (Bernstein and Lange, "Computing small
    discrete logarithms faster", 2012), so L ≥ 3λ keeps even that last step at λ bits. Other sizes, which are
    insecure anyway, take the original half of the modulus.
    """
    return 3 * SECURITY[bits] + 16 if bits in SECURITY else bits // 2


@lru_cache(_TABLES_KEPT)
def _table(n: mpz, h_s: mpz, memory: int) -> FixedBase:
    return FixedBase(h_s, modulus_of(n * n), exponent_bits(n.bit_length()), memory)


@dataclass(frozen=True, repr=False)
class PublicKey:
    """Modulus n and randomizer base h_s. Validated once, when made: ``LocalError`` says what is wrong.

    Plaintexts are integers in [0, n); ciphertexts are units modulo n², in (0, n²). ``h_s`` None: a textbook
    key, made elsewhere, whose encryption costs several times as much.

    ``table_bytes`` bounds the table of powers of h_s, and is no part of what the key is or encodes. Equal
    keys with equal bounds share one table in a process, which keeps the last four that were used.
    """

    n: mpz
    h_s: mpz | None = None
    table_bytes: int = field(default=TABLE_BYTES, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", mpz(self.n))
        if self.h_s is not None:
            object.__setattr__(self, "h_s", mpz(self.h_s))
        fault = public_fault(self.n, self.h_s)
        if fault:
            raise LocalError("public key", self.n.bit_length(), fault)

    @property
    def bits(self) -> int:
        """Bits of n, exactly."""
        return int(self.n.bit_length())

    @cached_property
    def n2(self) -> mpz:
        """The modulus of ciphertexts, n²."""
        return self.n * self.n

    @cached_property
    def modulus(self) -> Modulus:
        """The arithmetic of ciphertexts."""
        return modulus_of(self.n2)

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of an encoded ciphertext."""
        return self.bits // 4

    @cached_property
    def table(self) -> FixedBase | None:
        """The powers of h_s, built at the first encryption; None for a textbook key.

        ``LocalError`` if ``table_bytes`` does not hold the smallest.
        """
        return None if self.h_s is None else _table(self.n, self.h_s, self.table_bytes)

    def encode(self) -> bytes:
        """Version, kind, bits (2 bytes), n (bits / 8), h_s (bits / 4), integers little-endian.

        A textbook key is of a kind of its own, and ends after n.
        """
        if self.h_s is None:
            return encode_fields(TEXTBOOK_PUBLIC, self.bits, [(self.n, 2)])
        return encode_fields(PUBLIC, self.bits, [(self.n, 2), (self.h_s, 4)])

    @classmethod
    def decode(
        cls, data: bytes, *, allow_insecure_bits: bool = False, table_bytes: int = TABLE_BYTES
    ) -> PublicKey:
        """The key in ``data``; ``DecodeError`` unless it is one, of a size in ``SECURITY``.

        ``allow_insecure_bits`` admits the smaller keys that tests use. Nobody but the key's owner can tell
        whether n has two prime factors and h_s is an n-th power; an owner who lies about it gives away
        plaintexts that it could read and tell anyway.
        """
        kind = kind_of(data, (PUBLIC, TEXTBOOK_PUBLIC))
        fields = decode_fields(data, kind, [2, 4] if kind == PUBLIC else [2], allow_insecure_bits)
        try:
            key = cls(*fields, table_bytes=table_bytes)
        except LocalError as error:
            raise DecodeError(f"public key: {error.bound}") from None
        if key.encode() != data:
            raise DecodeError("public key: n is shorter than it is declared")
        return key

    def fingerprint(self) -> bytes:
        """SHA-256 of the encoding, 32 bytes: what parties compare or sign."""
        return hashlib.sha256(self.encode()).digest()

    def validate_ciphertext(self, ciphertext: mpz) -> None:
        """Raise ``DecodeError`` unless 0 < ciphertext < n² and gcd(ciphertext, n) = 1."""
        self.validate_ciphertexts([ciphertext])

    def validate_ciphertexts(self, ciphertexts: Sequence[mpz]) -> None:
        """:meth:`validate_ciphertext` for all at once, by one gcd of a product; the error names the first."""
        place = first_non_unit(ciphertexts, self.n2, self.n)
        if place is not None:
            raise self._invalid(place, ciphertexts[place])

    def validate_row(self, row: bytes | memoryview) -> None:
        """The same for a row as :meth:`encode_ciphertexts` writes it, faster."""
        place = self.modulus.first_non_unit(row)
        if place is not None:
            raise self._invalid(place, decode_numbers(row, self.ciphertext_bytes)[place])

    def _invalid(self, index: int, ciphertext: mpz) -> DecodeError:
        inside = 0 < ciphertext < self.n2
        fault = "has a factor in common with n" if inside else "is not in (0, n²)"
        return DecodeError(f"ciphertext {index} {fault}")

    def prepare(self, count: int, tape: RandomTape) -> Prepared:
        """``count`` ≥ 0 randomizers made beforehand, for :meth:`encrypt_many` under this key."""
        prepared = Prepared(self)
        prepared.extend(count, tape)
        return prepared

    def encrypt(self, plaintext: mpz, randomness: RandomTape | Prepared) -> mpz:
        """A fresh ciphertext of ``plaintext``; see :meth:`encrypt_many`."""
        return self.encrypt_many([plaintext], randomness)[0]

    def encrypt_many(self, plaintexts: Sequence[mpz], randomness: RandomTape | Prepared) -> list[mpz]:
        """Fresh ciphertexts of ``plaintexts``, each in [0, n) or else ``LocalError``.

        ``randomness``: a tape, for which see :meth:`randomizers`; or what :meth:`prepare` has made, which is
        used up by as many and costs one multiplication each. ``LocalError`` when it was prepared for another
        key, or too few are left: then, as for a bad plaintext, nothing is used up.
        """
        self._require_plaintexts(plaintexts)
        if not isinstance(randomness, Prepared):
            return self.blind(plaintexts, self.randomizers(len(plaintexts), randomness))
        if randomness.key != self:
            raise LocalError("randomness", randomness, "was prepared for another key")
        return self.blind(plaintexts, randomness.take(len(plaintexts)))

    def randomizers(self, count: int, tape: RandomTape) -> list[mpz]:
        """``count`` ≥ 0 uniform encryptions of 0. SECRET: each hides one plaintext, and must do so once.

        Reads exponent_bits(bits) / 8 bytes of ``tape`` for each; for a textbook key a number below n, by
        rejection. The result depends on the tape alone, not on how many threads share the work.
        """
        if count < 0:
            raise LocalError("count", count, "must be at least 0")
        if self.table is None:
            units = [random_unit(self.n, tape) for _ in range(count)]
            return self.modulus.powers(units, self.n, public=True)
        width = exponent_bits(self.bits) // 8
        return self.table.powers(decode_numbers(tape.read(width * count), width))

    def blind(self, plaintexts: Sequence[mpz], randomizers: Sequence[mpz]) -> list[mpz]:
        """Ciphertexts of ``plaintexts`` in [0, n), from as many randomizers; ``LocalError`` otherwise."""
        self._require_plaintexts(plaintexts)
        if len(randomizers) != len(plaintexts):
            raise LocalError("len(randomizers)", len(randomizers), f"must equal {len(plaintexts)}")
        # (1 + m·n)·r = r + n·(m·r mod n) modulo n²: half the cost of multiplying modulo n².
        pairs = zip(plaintexts, randomizers, strict=True)
        return [(r + self.n * (m * r % self.n)) % self.n2 for m, r in pairs]

    def _require_plaintexts(self, plaintexts: Sequence[mpz]) -> None:
        for index, plaintext in enumerate(plaintexts):
            if not 0 <= plaintext < self.n:
                raise LocalError("plaintexts", f"<secret> at {index}", "each must be in [0, n)")

    def add(self, left: mpz, right: mpz) -> mpz:
        """A ciphertext of the sum modulo n of two valid ciphertexts' plaintexts."""
        return left * right % self.n2

    def add_many(self, left: Sequence[mpz], right: Sequence[mpz]) -> list[mpz]:
        """:meth:`add` entry by entry; ``LocalError`` unless both have one length."""
        if len(left) != len(right):
            raise LocalError("len(right)", len(right), f"must equal len(left), {len(left)}")
        return [a * b % self.n2 for a, b in zip(left, right, strict=True)]

    def add_plaintexts(self, ciphertexts: Sequence[mpz], plaintexts: Sequence[mpz]) -> list[mpz]:
        """Ciphertexts of the sums modulo n with ``plaintexts``, entry by entry, under the old randomness.

        ``plaintexts``: integers in [0, n). ``LocalError`` unless there are as many as ciphertexts.
        """
        if len(ciphertexts) != len(plaintexts):
            raise LocalError("len(plaintexts)", len(plaintexts), f"must equal {len(ciphertexts)}")
        # c · (1 + m·n), as in encryption.
        return [
            (c + self.n * (c * m % self.n)) % self.n2 for c, m in zip(ciphertexts, plaintexts, strict=True)
        ]

    def product(self, ciphertexts: Sequence[mpz]) -> mpz:
        """A ciphertext of the sum modulo n of all; ``LocalError`` for none, as 1 would hide nothing."""
        if not ciphertexts:
            raise LocalError("ciphertexts", ciphertexts, "must hold one at least")
        result = ciphertexts[0]
        for ciphertext in ciphertexts[1:]:
            result = result * ciphertext % self.n2
        return result

    def opened(self, ciphertexts: Sequence[mpz], lifts: Sequence[mpz]) -> list[mpz]:
        """The plaintexts of valid ciphertexts, given the n-th power modulo n² that hides each."""
        pairs = zip(ciphertexts, lifts, strict=True)
        # c = (1 + m·n)·lift, so that (c − lift) / n = m·lift modulo n.
        return [(c - lift) // self.n * gmpy2.invert(lift, self.n) % self.n for c, lift in pairs]

    def encode_ciphertexts(self, ciphertexts: Sequence[mpz]) -> bytes:
        """``ciphertext_bytes`` little-endian bytes for each ciphertext, in order."""
        for index, ciphertext in enumerate(ciphertexts):
            if not 0 < ciphertext < self.n2:
                raise LocalError("ciphertexts", f"at {index}", "each must be in (0, n²)")
        return encode_numbers(ciphertexts, self.ciphertext_bytes)

    def decode_ciphertexts(self, data: bytes | memoryview, count: int) -> list[mpz]:
        """The ``count`` valid ciphertexts that ``data`` encodes, or ``DecodeError``."""
        width = self.ciphertext_bytes
        if len(data) != count * width:
            raise DecodeError(f"{len(data)} bytes where {count} ciphertexts take {count * width}")
        self.validate_row(data)
        return decode_numbers(data, width)

    def __repr__(self) -> str:
        return f"PublicKey(bits={self.bits}, fingerprint={self.fingerprint().hex()[:16]}…)"
