"""The private key: make one, decrypt, keep it (spec section 14.1).

Timing: exponents that are secret go through routines whose time and memory accesses depend on sizes alone
(spec section 14.8). The reductions and products around them may take a time that depends on the numbers, and
freed memory is not wiped: do not run this beside an attacker who shares the processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import gmpy2
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from mpc.tape import RandomTape
from secagg.paillier.keyformat import (
    DEFAULT_BITS,
    SECRET,
    TEXTBOOK_SECRET,
    decode_fields,
    encode_fields,
    kind_of,
    modulus_bits,
    secret_fault,
    textbook_secret_fault,
)
from secagg.paillier.modulus import modulus_of
from secagg.paillier.numbers import random_unit
from secagg.paillier.public import PublicKey

# GMP runs a Baillie–PSW test, then this number less 24 of Miller–Rabin rounds: sixteen, where FIPS 186-5
# table B.1 asks for four at 1536 bits.
_PRIMALITY_ROUNDS = 40


class PrivateKey:
    """The factors p < q of n, with what the Chinese remainder theorem needs.

    It cannot be pickled; only :meth:`export_secret` writes it out.
    ``h_s`` None makes a textbook key, of whose primes no more is asked than that they are different and of
    one length. ``LocalError`` when p, q or h_s cannot make a key; the text names no secret.
    """

    __slots__ = ("_modulo_p2", "_modulo_q2", "_p", "_p2_inverse", "_p_inverse", "_q", "public")

    def __init__(self, p: mpz, q: mpz, h_s: mpz | None = None) -> None:
        p, q = mpz(p), mpz(q)
        fault = textbook_secret_fault(p, q) if h_s is None else secret_fault(p, q)
        if fault:
            raise LocalError("p, q", "<secret>", fault)
        if not (gmpy2.is_prime(p, _PRIMALITY_ROUNDS) and gmpy2.is_prime(q, _PRIMALITY_ROUNDS)):
            raise LocalError("p, q", "<secret>", "p and q must be prime")
        self._p, self._q = sorted((p, q))
        self.public = PublicKey(self._p * self._q, h_s)
        p2, q2 = self._p * self._p, self._q * self._q
        self._modulo_p2, self._modulo_q2 = modulus_of(p2), modulus_of(q2)
        self._p_inverse = gmpy2.invert(self._p, self._q)
        self._p2_inverse = gmpy2.invert(p2, q2)
        if self.public.h_s is not None and self.lift([self.public.h_s % self.public.n]) != [self.public.h_s]:
            raise LocalError("h_s", "<not printed>", "must be an n-th power modulo n²")

    def decrypt(self, ciphertext: mpz) -> mpz:
        """The plaintext in [0, n) of a ciphertext; ``DecodeError`` if it is not a valid one."""
        return self.decrypt_many([ciphertext])[0]

    def decrypt_many(self, ciphertexts: Sequence[mpz]) -> list[mpz]:
        """The plaintexts of ``ciphertexts``, one thread a processor; ``DecodeError`` if any is not valid."""
        self.public.validate_ciphertexts(ciphertexts)
        return self.public.opened(ciphertexts, self.lift([c % self.public.n for c in ciphertexts]))

    def lift(self, remainders: Sequence[mpz]) -> list[mpz]:
        """For each unit modulo n the one n-th power modulo n² that is congruent to it (spec section 14.4)."""
        p, q = self._p, self._q
        # u^p is a p-th power modulo p², hence an n-th power, and u modulo p.
        of_p = self._modulo_p2.powers([u % self._modulo_p2.value for u in remainders], p)
        of_q = self._modulo_q2.powers([u % self._modulo_q2.value for u in remainders], q)
        p2, q2 = self._modulo_p2.value, self._modulo_q2.value
        return [a + p2 * ((b - a) * self._p2_inverse % q2) for a, b in zip(of_p, of_q, strict=True)]

    def root(self, unit: mpz) -> mpz:
        """The n-th root of a unit modulo n."""
        p, q = self._p, self._q
        of_p = gmpy2.powmod_sec(unit % p, gmpy2.invert(q, p - 1), p)  # by Fermat, x^n = x^q modulo p
        of_q = gmpy2.powmod_sec(unit % q, gmpy2.invert(p, q - 1), q)
        return of_p + p * ((of_q - of_p) * self._p_inverse % q)

    def export_secret(self) -> bytes:
        """SECRET, unencrypted: version, kind, bits (2 bytes), p and q (bits / 16 each), h_s (bits / 4).

        A textbook key is of a kind of its own, and has no h_s.
        """
        fields = [(self._p, 1), (self._q, 1)]
        if self.public.h_s is None:
            return encode_fields(TEXTBOOK_SECRET, self.public.bits, fields)
        return encode_fields(SECRET, self.public.bits, [*fields, (self.public.h_s, 4)])

    @classmethod
    def import_secret(cls, data: bytes, *, allow_insecure_bits: bool = False) -> PrivateKey:
        """The key that :meth:`export_secret` wrote; ``DecodeError`` unless it is one, in every respect."""
        kind = kind_of(data, (SECRET, TEXTBOOK_SECRET))
        widths = [1, 1, 4] if kind == SECRET else [1, 1]
        try:
            key = cls(*decode_fields(data, kind, widths, allow_insecure_bits))
        except LocalError as error:
            raise DecodeError(f"private key: {error.bound}") from None
        if key.export_secret() != data:
            raise DecodeError("private key: p is not less than q, or shorter than it is declared")
        return key

    def __eq__(self, other: object) -> bool:
        # The public key determines the private one, and comparing it leaks nothing.
        return self.public == other.public if isinstance(other, PrivateKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.public)

    def __reduce__(self) -> NoReturn:
        raise LocalError("private key", "<secret>", "cannot be pickled or copied: see export_secret")

    def __repr__(self) -> str:
        return f"PrivateKey(bits={self.public.bits}, <secret>)"


def generate(bits: int = DEFAULT_BITS, *, tape: RandomTape, insecure_bits: int | None = None) -> PrivateKey:
    """A new key with a modulus of exactly ``bits`` bits: 2048, 3072 or 4096, else ``LocalError``.

    ``insecure_bits`` replaces ``bits`` by a size that protects nothing, for tests: a multiple of 16, from 64.
    p and q are uniform among the primes of bits / 2 bits that are 3 modulo 4 with their two top bits set,
    subject to gcd(p − 1, q − 1) = 2 (so that −y² generates most of the elements of Jacobi symbol 1: DJN) and
    |p − q| > 2^(bits/2 − 100) (FIPS 186-5 appendix A.1.1).
    """
    half = modulus_bits(bits, insecure_bits) // 2
    p = _prime(half, tape)
    q = _prime(half, tape)
    while secret_fault(p, q):
        q = _prime(half, tape)
    n = p * q
    y = random_unit(n, tape)
    return PrivateKey(p, q, gmpy2.powmod(-y * y, n, n * n))


def _prime(bits: int, tape: RandomTape) -> mpz:
    """A uniform prime of ``bits`` bits, 3 modulo 4, with both top bits set; ``bits`` is a multiple of 8."""
    pattern = mpz(3) << (bits - 2) | 3
    while True:
        candidate = mpz.from_bytes(tape.read(bits // 8), "little") | pattern
        if gmpy2.is_prime(candidate, _PRIMALITY_ROUNDS):
            return candidate
