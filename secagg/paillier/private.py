"""The private key: make one, decrypt, keep it (spec section 14.1).

Timing: exponentiation by p − 1 and q − 1 goes through ``mpz_powm_sec``, whose time and memory accesses depend
on operand sizes alone. The reductions and products around it may take a time that depends on the numbers,
and freed memory is not wiped: do not run this beside an attacker who shares the processor.
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
    decode_fields,
    encode_fields,
    modulus_bits,
    secret_fault,
)
from secagg.paillier.parallel import spread
from secagg.paillier.public import PublicKey

# GMP runs a Baillie–PSW test, then this number less 24 of Miller–Rabin rounds: sixteen, where FIPS 186-5
# table B.1 asks for four at 1536 bits.
_PRIMALITY_ROUNDS = 40


class PrivateKey:
    """The factors p < q of n, with the constants of decryption by the Chinese remainder theorem.

    Paillier (1999) section 7. It cannot be pickled; only :meth:`export_secret` writes it out.
    ``LocalError`` when p, q or h_s cannot make a key; the text names no secret.
    """

    __slots__ = ("_hp", "_hq", "_p", "_p2", "_p_inverse", "_q", "_q2", "public")

    def __init__(self, p: mpz, q: mpz, h_s: mpz) -> None:
        fault = secret_fault(p, q)
        if fault:
            raise LocalError("p, q", "<secret>", fault)
        if not (gmpy2.is_prime(p, _PRIMALITY_ROUNDS) and gmpy2.is_prime(q, _PRIMALITY_ROUNDS)):
            raise LocalError("p, q", "<secret>", "p and q must be prime")
        self._p, self._q = sorted((mpz(p), mpz(q)))
        self.public = PublicKey(self._p * self._q, h_s)
        self._p2, self._q2 = self._p * self._p, self._q * self._q
        self._p_inverse = gmpy2.invert(self._p, self._q)
        # ((n + 1)^(p − 1) − 1) / p = −q modulo p, and hp is its inverse; likewise for q.
        self._hp = gmpy2.invert(-self._q, self._p)
        self._hq = gmpy2.invert(-self._p, self._q)
        if self._open(self.public.h_s) != 0:
            raise LocalError("h_s", "<not printed>", "must be an n-th power modulo n²")

    def decrypt(self, ciphertext: mpz) -> mpz:
        """The plaintext in [0, n) of a ciphertext; ``DecodeError`` if it is not a valid one."""
        return self.decrypt_many([ciphertext])[0]

    def decrypt_many(self, ciphertexts: Sequence[mpz]) -> list[mpz]:
        """The plaintexts of ``ciphertexts``, one thread a processor; ``DecodeError`` if any is not valid."""
        self.public.validate_ciphertexts(ciphertexts)
        return spread(lambda chunk: [self._open(c) for c in chunk], ciphertexts, len(ciphertexts))

    def _open(self, ciphertext: mpz) -> mpz:
        p, q = self._p, self._q
        m_p = (gmpy2.powmod_sec(ciphertext % self._p2, p - 1, self._p2) - 1) // p * self._hp % p
        m_q = (gmpy2.powmod_sec(ciphertext % self._q2, q - 1, self._q2) - 1) // q * self._hq % q
        return m_p + p * ((m_q - m_p) * self._p_inverse % q)

    def export_secret(self) -> bytes:
        """SECRET, unencrypted: version, kind, bits (2 bytes), p and q (bits / 16 each), h_s (bits / 4)."""
        return encode_fields(SECRET, self.public.bits, [(self._p, 1), (self._q, 1), (self.public.h_s, 4)])

    @classmethod
    def import_secret(cls, data: bytes, *, allow_insecure_bits: bool = False) -> PrivateKey:
        """The key that :meth:`export_secret` wrote; ``DecodeError`` unless it is one, in every respect."""
        p, q, h_s = decode_fields(data, SECRET, [1, 1, 4], allow_insecure_bits)
        try:
            key = cls(p, q, h_s)
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
    y = mpz(tape.below(int(n)))
    while gmpy2.gcd(y, n) != 1:
        y = mpz(tape.below(int(n)))
    return PrivateKey(p, q, gmpy2.powmod(-y * y, n, n * n))


def _prime(bits: int, tape: RandomTape) -> mpz:
    """A uniform prime of ``bits`` bits, 3 modulo 4, with both top bits set; ``bits`` is a multiple of 8."""
    pattern = mpz(3) << (bits - 2) | 3
    while True:
        candidate = mpz.from_bytes(tape.read(bits // 8), "little") | pattern
        if gmpy2.is_prime(candidate, _PRIMALITY_ROUNDS):
            return candidate
