"""What a Paillier key has to be, and its bytes (spec section 14.1).

A key without h_s is a textbook key: one that was made elsewhere, of which less is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import gmpy2
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from secagg.cohort import is_whole

VERSION = 1
PUBLIC, SECRET, TEXTBOOK_PUBLIC, TEXTBOOK_SECRET = 1, 2, 3, 4  # kinds of encoded keys
DEFAULT_BITS = 3072
SECURITY = {2048: 112, 3072: 128, 4096: 152}  # bits of n → security bits (SP 800-56B rev. 2, appendix D)
MIN_INSECURE_BITS = 64
_SMALL_PRIMES = gmpy2.primorial(1 << 12)  # a factor of a key of 64 bits is larger
HEADER_BYTES = 4  # version, kind, modulus bits in two bytes


def modulus_bits(
    bits: int, insecure_bits: int | None, names: tuple[str, str] = ("bits", "insecure_bits")
) -> int:
    """``insecure_bits`` where it is given, else ``bits``; ``LocalError`` unless that is a size to be had.

    ``bits``: one of ``SECURITY``. ``insecure_bits``: a multiple of 16 from 64 to below 2048, which protects
    nothing. ``names``: what the caller calls the two.
    """
    if insecure_bits is not None:
        low, high = MIN_INSECURE_BITS, min(SECURITY)
        if not is_whole(insecure_bits) or not low <= insecure_bits < high or insecure_bits % 16:
            raise LocalError(names[1], insecure_bits, f"must be a multiple of 16 from {low} to below {high}")
        return insecure_bits
    if not is_whole(bits) or bits not in SECURITY:
        raise LocalError(names[0], bits, f"must be one of {', '.join(map(str, SECURITY))}")
    return bits


def secret_fault(p: mpz, q: mpz) -> str:
    """Why two primes p and q do not make a key with an h_s; empty when they do."""
    half = p.bit_length()
    if half < MIN_INSECURE_BITS // 2 or not p >> (half - 2) == q >> (half - 2) == 3:
        return "p and q must have one length and their two top bits set"
    if p % 4 != 3 or q % 4 != 3:
        return "p and q must be 3 modulo 4"
    if abs(p - q).bit_length() <= max(half - 100, 0):
        return "p and q must be far apart"
    if gmpy2.gcd(p - 1, q - 1) != 2 or gmpy2.gcd(p * q, (p - 1) * (q - 1)) != 1:
        return "gcd(p - 1, q - 1) must be 2 and gcd(n, phi(n)) 1"
    return ""


def textbook_secret_fault(p: mpz, q: mpz) -> str:
    """Why two primes p and q do not make a textbook key; empty when they do."""
    if min(p, q) < 1 << (MIN_INSECURE_BITS // 2 - 1) or p.bit_length() != q.bit_length():
        return "p and q must have one length, half that of a modulus"
    # Of two different primes of one length neither divides the other less 1, so gcd(n, φ(n)) = 1 follows.
    return "p and q must differ" if p == q else ""


def public_fault(n: mpz, h_s: mpz | None) -> str:
    """Why n and h_s do not make a key; empty when nothing that the public can see is wrong."""
    if n < 1 << (MIN_INSECURE_BITS - 1) or n.bit_length() % 16:
        return f"n must have {MIN_INSECURE_BITS} bits or more, a multiple of 16"
    if h_s is not None and n % 4 != 1:
        return "n must be 1 modulo 4, as a product of two primes that are 3 modulo 4 is"
    if gmpy2.gcd(n, _SMALL_PRIMES) != 1:
        return "n must have no small prime factor"
    # What is left may still not be two primes.
    if gmpy2.is_power(n) or gmpy2.is_prime(n):
        return "n must be the product of two different primes, not a prime nor a power"
    return "" if h_s is None else _base_fault(n, h_s)


def _base_fault(n: mpz, h_s: mpz) -> str:
    if not 1 < h_s < n * n or gmpy2.gcd(h_s, n) != 1:
        return "h_s must be a unit in (1, n²)"
    # An n-th power that is ±1 modulo n is ±1, and would hide nothing.
    if h_s % n in (1, n - 1) or gmpy2.jacobi(h_s, n) != 1:
        return "h_s must differ from ±1 modulo n and have Jacobi symbol 1"
    return ""


def kind_of(data: bytes, kinds: tuple[int, ...]) -> int:
    """Which of ``kinds`` an encoded key is; ``DecodeError`` if it is none of them."""
    if len(data) < HEADER_BYTES or data[0] != VERSION or data[1] not in kinds:
        raise DecodeError(f"not a key of version {VERSION} and kind {' or '.join(map(str, kinds))}")
    return data[1]


def encode_fields(kind: int, bits: int, fields: Sequence[tuple[mpz, int]]) -> bytes:
    """The header, then each integer in the given number of sixteenths of ``bits`` bits, little-endian."""
    body = b"".join(value.to_bytes(sixteenths * bits // 16, "little") for value, sixteenths in fields)
    return bytes([VERSION, kind]) + bits.to_bytes(2, "little") + body


def decode_fields(data: bytes, kind: int, sixteenths: Sequence[int], allow_insecure_bits: bool) -> list[mpz]:
    """The integers that :func:`encode_fields` wrote; all lengths are checked, and the size of the modulus."""
    kind_of(data, (kind,))
    bits = int.from_bytes(data[2:HEADER_BYTES], "little")
    if bits not in SECURITY and not allow_insecure_bits:
        raise DecodeError(f"a modulus of {bits} bits is not one of {', '.join(map(str, SECURITY))}")
    widths = [count * bits // 16 for count in sixteenths]
    if len(data) != HEADER_BYTES + sum(widths):
        raise DecodeError(f"{len(data)} bytes where the key takes {HEADER_BYTES + sum(widths)}")
    ends = list(accumulate(widths, initial=HEADER_BYTES))
    return [mpz.from_bytes(data[start:end], "little") for start, end in pairwise(ends)]
