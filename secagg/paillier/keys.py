"""Paillier keys and arithmetic: encrypt, add, decrypt (spec section 6).

The cryptosystem is Paillier's (Eurocrypt 1999) with g = n + 1, and encryption is that of Damgård, Jurik and
Nielsen, "A generalization of Paillier's public-key system with applications to electronic voting" (2010),
with s = 1: the key carries h_s = h^n mod n² for h = −y² mod n, and a ciphertext is

    c = (1 + m·n) · h_s^a mod n²,    a uniform below 2^exponent_bits(bits).

A ciphertext is an ordinary Paillier ciphertext: whoever knows n can add to it, and any Paillier decryption
opens it.

Deviation: DJN draw a of half the modulus's bits, which factoring alone justifies. Here a is shorter, so
hiding rests on the short-exponent discrete logarithm assumption modulo n as well (see
:func:`exponent_bits`).

Timing: GMP is not a constant-time library. Exponentiation by p − 1 and q − 1 goes through ``mpz_powm_sec``,
whose time and memory accesses depend on operand sizes alone. All else does not: reductions and products take
a time that may depend on the numbers, encryption reads its table at secret places, and freed memory is not
wiped. Do not run this beside an attacker who shares the processor.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from typing import NoReturn, TypeVar

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from mpc.errors import DecodeError, LocalError
from mpc.tape import RandomTape

VERSION = 1
DEFAULT_BITS = 3072
SECURITY = {2048: 112, 3072: 128, 4096: 152}  # bits of n → security bits (SP 800-56B rev. 2, appendix D)
MIN_INSECURE_BITS = 64
TABLE_BYTES = 8 * 2**20  # 8 MiB: 43 multiplications a power at 3072 bits; twice that saves three
_ENTRY_OVERHEAD = 64  # bytes that an mpz and its list slot take beside the limbs
# GMP runs a Baillie–PSW test, then this number less 24 of Miller–Rabin rounds: sixteen, where FIPS 186-5
# table B.1 asks for four at 1536 bits.
_PRIMALITY_ROUNDS = 40
# Products are short, so that threads wait for the interpreter's lock: four gain 1.7 times, eight nothing.
_PRODUCT_THREADS = 4
_PUBLIC, _SECRET = 1, 2
_HEADER_BYTES = 4  # version, kind, modulus bits in two bytes

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def exponent_bits(bits: int) -> int:
    """Bits of the random exponent for a modulus of ``bits`` bits: 352, 400 and 472 for 2048, 3072 and 4096.

    Three times the security level λ, and 16 to spare. Finding an exponent of L bits costs 2^(L/2) by the
    kangaroo method, which asks for 2λ. But h_s serves every ciphertext under a key: after 2^(2L/3) work for a
    table of 2^(L/3) entries, each further logarithm costs 2^(L/3) (Bernstein and Lange, "Computing small
    discrete logarithms faster", 2012), so L ≥ 3λ keeps even that last step at λ bits. Other sizes, which are
    insecure anyway, take the original half of the modulus.
    """
    return 3 * SECURITY[bits] + 16 if bits in SECURITY else bits // 2


class FixedBase:
    """Powers of one base by a comb (Lim and Lee, "More flexible exponentiation with precomputation", 1994).

    The exponent is written as ``teeth`` rows of ``columns`` bits; a column is a digit, looked up in the table
    of its block of ``spacing`` columns. A power takes columns + spacing − 2 multiplications or fewer.
    ``memory`` bounds the tables, in bytes; the comb with the fewest multiplications in that is chosen.
    Building takes about one multiplication for each table entry.

    Raises ``LocalError`` when ``memory`` does not hold the smallest comb.
    """

    __slots__ = ("_modulus", "_tables", "columns", "exponent_bits", "spacing", "table_bytes", "teeth")

    def __init__(self, base: mpz, modulus: mpz, exponent_bits: int, memory: int = TABLE_BYTES) -> None:
        entry = (modulus.bit_length() + 7) // 8 + _ENTRY_OVERHEAD
        self.exponent_bits = exponent_bits
        if memory < 2 * entry:
            raise LocalError("memory", memory, f"the smallest comb takes {2 * entry} bytes")
        self.teeth, self.spacing = _comb_shape(exponent_bits, memory // entry)
        self.columns = -(-exponent_bits // self.teeth)
        self._modulus = modulus
        self._tables = self._build(base)
        self.table_bytes = sum(map(len, self._tables)) * entry

    def _build(self, base: mpz) -> list[list[mpz]]:
        """Table j, entry d: the product over the bits i of d of base^(2^(i·columns + j·spacing))."""
        blocks = -(-self.columns // self.spacing)
        squares = [base % self._modulus]
        for _ in range((self.teeth - 1) * self.columns + (blocks - 1) * self.spacing):
            squares.append(squares[-1] * squares[-1] % self._modulus)
        tables = []
        for block in range(blocks):
            table = [mpz(1)]
            for tooth in range(self.teeth):
                step = squares[tooth * self.columns + block * self.spacing]
                table += [entry * step % self._modulus for entry in table]
            tables.append(table)
        return tables

    def powers(self, exponents: Sequence[mpz]) -> list[mpz]:
        """base^e mod modulus for each e of ``exponents``; ``LocalError`` unless 0 ≤ e < 2^exponent_bits."""
        for index, exponent in enumerate(exponents):
            if not 0 <= exponent < 1 << self.exponent_bits:
                raise LocalError("exponents", f"<secret> at {index}", f"0 to 2^{self.exponent_bits} - 1")
        return [self._power(digits.tolist()) for digits in self._digits(exponents)]

    def _digits(self, exponents: Sequence[mpz]) -> NDArray[np.uint32]:
        """For each exponent its ``columns`` digits of ``teeth`` bits, shape (len(exponents), columns)."""
        bits = self.teeth * self.columns
        width = (bits + 7) // 8
        octets = np.frombuffer(b"".join(e.to_bytes(width, "little") for e in exponents), np.uint8)
        rows = np.unpackbits(octets.reshape(len(exponents), width), axis=1, count=bits, bitorder="little")
        digits = np.zeros((len(exponents), self.columns), np.uint32)
        for tooth in range(self.teeth):
            digits |= rows[:, tooth * self.columns :][:, : self.columns].astype(np.uint32) << np.uint32(tooth)
        return digits

    def _power(self, digits: list[int]) -> mpz:
        modulus = self._modulus
        result = mpz(1)
        for offset in reversed(range(self.spacing)):
            result = result * result % modulus
            for table, digit in zip(self._tables, digits[offset :: self.spacing], strict=False):
                result = result * table[digit] % modulus
        return result

    def __repr__(self) -> str:
        return f"FixedBase(exponent_bits={self.exponent_bits}, table_bytes={self.table_bytes})"


def _comb_shape(exponent_bits: int, entries: int) -> tuple[int, int]:
    """Teeth and spacing of the comb of ``entries`` ≥ 2 at most that takes the fewest multiplications."""
    shapes = []
    for teeth in range(1, entries.bit_length()):
        columns = -(-exponent_bits // teeth)
        for spacing in range(1, columns + 1):
            size = -(-columns // spacing) << teeth
            if size <= entries:
                shapes.append((columns + spacing, size, teeth, spacing))
                break
    _, _, teeth, spacing = min(shapes)
    return teeth, spacing


@dataclass(frozen=True, repr=False)
class PublicKey:
    """Modulus n and randomizer base h_s. Validated once, when made: ``LocalError`` says what is wrong.

    Plaintexts are integers in [0, n); ciphertexts are units modulo n², in (0, n²).
    """

    n: mpz
    h_s: mpz

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", mpz(self.n))
        object.__setattr__(self, "h_s", mpz(self.h_s))
        fault = _public_fault(self.n, self.h_s)
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

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of an encoded ciphertext."""
        return self.bits // 4

    @cached_property
    def randomizers(self) -> FixedBase:
        """The powers of h_s: built at the first encryption, then kept."""
        return FixedBase(self.h_s, self.n2, exponent_bits(self.bits))

    def encode(self) -> bytes:
        """Version, kind, bits (2 bytes), n (bits / 8), h_s (bits / 4), integers little-endian."""
        return _encode(_PUBLIC, self.bits, [(self.n, 2), (self.h_s, 4)])

    @classmethod
    def decode(cls, data: bytes, *, allow_insecure_bits: bool = False) -> PublicKey:
        """The key in ``data``; ``DecodeError`` unless it is one, of a size in ``SECURITY``.

        ``allow_insecure_bits`` admits the smaller keys that tests use. Nobody but the key's owner can tell
        whether n has two prime factors and h_s is an n-th power; an owner who lies about it gives away
        plaintexts that it could read and tell anyway.
        """
        n, h_s = _decode(data, _PUBLIC, [2, 4], allow_insecure_bits)
        try:
            key = cls(n, h_s)
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
        product = mpz(1)
        for index, ciphertext in enumerate(ciphertexts):
            if not 0 < ciphertext < self.n2:
                raise DecodeError(f"ciphertext {index} is not in (0, n²)")
            product = product * (ciphertext % self.n) % self.n
        # A product is a unit exactly when each factor is one.
        if gmpy2.gcd(product, self.n) != 1:
            culprit = next(i for i, c in enumerate(ciphertexts) if gmpy2.gcd(c, self.n) != 1)
            raise DecodeError(f"ciphertext {culprit} has a factor in common with n")

    def encrypt(self, plaintext: mpz, tape: RandomTape) -> mpz:
        """A fresh ciphertext of ``plaintext``; see :meth:`encrypt_many`."""
        return self.encrypt_many([plaintext], tape)[0]

    def encrypt_many(self, plaintexts: Sequence[mpz], tape: RandomTape) -> list[mpz]:
        """Fresh ciphertexts of ``plaintexts``, each in [0, n) or else ``LocalError``.

        Reads exponent_bits(bits) / 8 bytes of ``tape`` for each. The result depends on the tape alone, not on
        how many threads share the work.
        """
        for index, plaintext in enumerate(plaintexts):
            if not 0 <= plaintext < self.n:
                raise LocalError("plaintexts", f"<secret> at {index}", "each must be in [0, n)")
        width = exponent_bits(self.bits) // 8
        octets = tape.read(width * len(plaintexts))
        exponents = [mpz.from_bytes(octets[at : at + width], "little") for at in range(0, len(octets), width)]
        powers = _spread(self.randomizers.powers, exponents, _PRODUCT_THREADS)
        # (1 + m·n)·r = r + n·(m·r mod n) modulo n²: half the cost of multiplying modulo n².
        return [(r + self.n * (m * r % self.n)) % self.n2 for m, r in zip(plaintexts, powers, strict=True)]

    def add(self, left: mpz, right: mpz) -> mpz:
        """A ciphertext of the sum modulo n of two valid ciphertexts' plaintexts."""
        return left * right % self.n2

    def add_many(self, left: Sequence[mpz], right: Sequence[mpz]) -> list[mpz]:
        """:meth:`add` entry by entry; ``LocalError`` unless both have one length."""
        if len(left) != len(right):
            raise LocalError("len(right)", len(right), f"must equal len(left), {len(left)}")
        return [a * b % self.n2 for a, b in zip(left, right, strict=True)]

    def product(self, ciphertexts: Sequence[mpz]) -> mpz:
        """A ciphertext of the sum modulo n of all; ``LocalError`` for none, as 1 would hide nothing."""
        if not ciphertexts:
            raise LocalError("ciphertexts", ciphertexts, "must hold one at least")
        result = ciphertexts[0]
        for ciphertext in ciphertexts[1:]:
            result = result * ciphertext % self.n2
        return result

    def encode_ciphertexts(self, ciphertexts: Sequence[mpz]) -> bytes:
        """``ciphertext_bytes`` little-endian bytes for each ciphertext, in order."""
        for index, ciphertext in enumerate(ciphertexts):
            if not 0 < ciphertext < self.n2:
                raise LocalError("ciphertexts", f"at {index}", "each must be in (0, n²)")
        return b"".join(ciphertext.to_bytes(self.ciphertext_bytes, "little") for ciphertext in ciphertexts)

    def decode_ciphertexts(self, data: bytes, count: int) -> list[mpz]:
        """The ``count`` valid ciphertexts that ``data`` encodes, or ``DecodeError``."""
        width = self.ciphertext_bytes
        if len(data) != count * width:
            raise DecodeError(f"{len(data)} bytes where {count} ciphertexts take {count * width}")
        ciphertexts = [mpz.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]
        self.validate_ciphertexts(ciphertexts)
        return ciphertexts

    def __repr__(self) -> str:
        return f"PublicKey(bits={self.bits}, fingerprint={self.fingerprint().hex()[:16]}…)"


class PrivateKey:
    """The factors p < q of n, with the constants of decryption by the Chinese remainder theorem.

    Paillier (1999) section 7. It cannot be pickled; only :meth:`export_secret` writes it out.
    ``LocalError`` when p, q or h_s cannot make a key; the text names no secret.
    """

    __slots__ = ("_hp", "_hq", "_p", "_p2", "_p_inverse", "_q", "_q2", "public")

    def __init__(self, p: mpz, q: mpz, h_s: mpz) -> None:
        fault = _secret_fault(p, q)
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
        return _spread(lambda chunk: [self._open(c) for c in chunk], ciphertexts, len(ciphertexts))

    def _open(self, ciphertext: mpz) -> mpz:
        p, q = self._p, self._q
        m_p = (gmpy2.powmod_sec(ciphertext % self._p2, p - 1, self._p2) - 1) // p * self._hp % p
        m_q = (gmpy2.powmod_sec(ciphertext % self._q2, q - 1, self._q2) - 1) // q * self._hq % q
        return m_p + p * ((m_q - m_p) * self._p_inverse % q)

    def export_secret(self) -> bytes:
        """SECRET, unencrypted: version, kind, bits (2 bytes), p and q (bits / 16 each), h_s (bits / 4)."""
        return _encode(_SECRET, self.public.bits, [(self._p, 1), (self._q, 1), (self.public.h_s, 4)])

    @classmethod
    def import_secret(cls, data: bytes, *, allow_insecure_bits: bool = False) -> PrivateKey:
        """The key that :meth:`export_secret` wrote; ``DecodeError`` unless it is one, in every respect."""
        p, q, h_s = _decode(data, _SECRET, [1, 1, 4], allow_insecure_bits)
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
    if insecure_bits is not None:
        if insecure_bits < MIN_INSECURE_BITS or insecure_bits % 16 or insecure_bits >= min(SECURITY):
            raise LocalError("insecure_bits", insecure_bits, "a multiple of 16, 64 or more, below 2048")
    elif bits not in SECURITY:
        raise LocalError("bits", bits, f"must be one of {', '.join(map(str, SECURITY))}")
    half = (insecure_bits or bits) // 2
    p = _prime(half, tape)
    q = _prime(half, tape)
    while _secret_fault(p, q):
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


def _secret_fault(p: mpz, q: mpz) -> str:
    """Why two primes p and q do not make a key; empty when they do."""
    half = p.bit_length()
    if half != q.bit_length() or p >> (half - 2) != 3 or q >> (half - 2) != 3:
        return "p and q must have one length and their two top bits set"
    if p % 4 != 3 or q % 4 != 3:
        return "p and q must be 3 modulo 4"
    if abs(p - q).bit_length() <= max(half - 100, 0):
        return "p and q must be far apart"
    if gmpy2.gcd(p - 1, q - 1) != 2 or gmpy2.gcd(p * q, (p - 1) * (q - 1)) != 1:
        return "gcd(p - 1, q - 1) must be 2 and gcd(n, phi(n)) 1"
    return ""


def _public_fault(n: mpz, h_s: mpz) -> str:
    """Why n and h_s do not make a key; empty when nothing that the public can see is wrong."""
    if n < 1 << (MIN_INSECURE_BITS - 1) or n.bit_length() % 16:
        return f"n must have {MIN_INSECURE_BITS} bits or more, a multiple of 16"
    if n % 4 != 1:
        return "n must be 1 modulo 4, as a product of two primes that are 3 modulo 4 is"
    if not 1 < h_s < n * n or gmpy2.gcd(h_s, n) != 1:
        return "h_s must be a unit in (1, n²)"
    # An n-th power that is ±1 modulo n is ±1, and would hide nothing.
    if h_s % n in (1, n - 1) or gmpy2.jacobi(h_s, n) != 1:
        return "h_s must differ from ±1 modulo n and have Jacobi symbol 1"
    return ""


def _encode(kind: int, bits: int, fields: Sequence[tuple[mpz, int]]) -> bytes:
    """The header, then each integer in the given number of sixteenths of ``bits`` bits, little-endian."""
    body = b"".join(value.to_bytes(sixteenths * bits // 16, "little") for value, sixteenths in fields)
    return bytes([VERSION, kind]) + bits.to_bytes(2, "little") + body


def _decode(data: bytes, kind: int, sixteenths: Sequence[int], allow_insecure_bits: bool) -> list[mpz]:
    """The integers that :func:`_encode` wrote; all lengths are checked, and the size of the modulus."""
    if len(data) < _HEADER_BYTES or data[0] != VERSION or data[1] != kind:
        raise DecodeError(f"not a key of version {VERSION} and kind {kind}")
    bits = int.from_bytes(data[2:_HEADER_BYTES], "little")
    if bits not in SECURITY and not allow_insecure_bits:
        raise DecodeError(f"a modulus of {bits} bits is not one of {', '.join(map(str, SECURITY))}")
    widths = [count * bits // 16 for count in sixteenths]
    if len(data) != _HEADER_BYTES + sum(widths):
        raise DecodeError(f"{len(data)} bytes where the key takes {_HEADER_BYTES + sum(widths)}")
    ends = list(accumulate(widths, initial=_HEADER_BYTES))
    return [mpz.from_bytes(data[start:end], "little") for start, end in pairwise(ends)]


def _spread(
    work: Callable[[Sequence[_Item]], list[_Result]], items: Sequence[_Item], most: int
) -> list[_Result]:
    """``work`` on ``items``, in order, on ``most`` threads at most: gmpy2 can release the global lock."""
    threads = min(os.cpu_count() or 1, most, len(items))
    if threads < 2:
        return work(items)

    def run(index: int) -> list[_Result]:
        chunk = items[index * len(items) // threads : (index + 1) * len(items) // threads]
        with gmpy2.context(allow_release_gil=True):
            return work(chunk)

    with ThreadPoolExecutor(threads) as pool:
        return list(chain.from_iterable(pool.map(run, range(threads))))
