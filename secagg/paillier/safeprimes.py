"""Safe primes: p with p = 2p' + 1 and p' prime (spec section 14.5).

Among numbers of 1536 bits about one odd p' in 430,000 will do, so the candidates of one interval are sieved
for p' and p at once, and only what has no small factor in either is tested: some 1,500 exponentiations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from mpc.errors import LocalError
from mpc.tape import RandomTape
from secagg.paillier.keyformat import MIN_INSECURE_BITS
from secagg.paillier.parallel import spread

MIN_BITS = MIN_INSECURE_BITS // 2
# A Baillie–PSW test, then this number less 24 of Miller–Rabin rounds, as for other primes of keys.
_PRIMALITY_ROUNDS = 40
_TESTED_AT_ONCE = 64  # some tens of milliseconds on one processor: little is lost beyond a hit


def safe_prime(bits: int, tape: RandomTape) -> mpz:
    """A safe prime of ``bits`` bits, 3 modulo 4, with both top bits set; p' is of ``bits`` − 1 bits.

    ``bits``: a multiple of 8 from 32, or ``LocalError``. Reads bits / 8 bytes of ``tape`` for each interval
    (bits² candidates); the result depends on the tape alone, not on how many threads share the work.

    Deviation from a uniform choice: the first safe prime after a uniform start comes up in proportion to the
    gap before it (Brandt and Damgård, "On generation of probable primes by incremental search", 1992). If the
    gaps are distributed as those of a Poisson process, that costs 0.6 bits of entropy; and since an interval
    is 5.5 mean gaps long, and the next begins at a new start, no safe prime is above 5.6 times as likely as
    in a uniform choice.
    """
    if bits % 8 or bits < MIN_BITS:
        raise LocalError("bits", bits, f"must be a multiple of 8 from {MIN_BITS}")
    pattern = mpz(3) << (bits - 2) | 3
    while True:
        start = mpz.from_bytes(tape.read(bits // 8), "little") | pattern
        # start + 4i has to stay below 2^bits.
        count = int(min(bits * bits, ((mpz(1) << bits) - start + 3) // 4))
        found = _first(start, sieved(start, count, _odd_primes(bits * bits)))
        if found is not None:
            return found


def sieved(start: mpz, count: int, primes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The i in range(count) for which p = start + 4i and (p − 1) / 2 have no factor among ``primes``.

    ``start``: 3 modulo 4. ``primes``: odd, below 2^31, and below (start − 1) / 2 (a prime is no factor of
    itself here).
    """
    keep = np.ones(count, np.bool_)
    residues = np.array([start % prime for prime in primes.tolist()], np.int64)
    half = (primes + 1) // 2  # 1/2 modulo the prime
    # p = 0 at i = −start/4, and p' = (start − 1)/2 + 2i = 0 at i = −(start − 1)/4.
    quarter = half * half % primes
    of_p = -residues * quarter % primes
    of_half = (1 - residues) * quarter % primes
    for prime, at, other in zip(primes.tolist(), of_p.tolist(), of_half.tolist(), strict=True):
        keep[at::prime] = False
        keep[other::prime] = False
    return np.flatnonzero(keep)


def _first(start: mpz, offsets: NDArray[np.int64]) -> mpz | None:
    """The first safe prime among start + 4i, i in ``offsets``."""
    for at in range(0, len(offsets), _TESTED_AT_ONCE):
        candidates = [start + 4 * i for i in offsets[at : at + _TESTED_AT_ONCE].tolist()]
        for p, passed in zip(candidates, spread(_half_passes, candidates, len(candidates)), strict=True):
            if passed and gmpy2.is_strong_prp(p, 2) and _is_safe(p):
                return p
    return None


def _half_passes(candidates: Sequence[mpz]) -> list[bool]:
    """Fermat's test of p' = (p − 1) / 2 to base 2; unlike gmpy2's tests, a power lets other threads run."""
    return [gmpy2.powmod(2, p // 2 - 1, p // 2) == 1 for p in candidates]


def _is_safe(p: mpz) -> bool:
    return bool(gmpy2.is_prime(p // 2, _PRIMALITY_ROUNDS) and gmpy2.is_prime(p, _PRIMALITY_ROUNDS))


@lru_cache(2)
def _odd_primes(limit: int) -> NDArray[np.int64]:
    """The odd primes below ``limit``, by the sieve of Eratosthenes over odd numbers."""
    keep = np.ones(limit // 2, np.bool_)
    keep[0] = False
    for number in range(3, int(gmpy2.isqrt(limit)) + 1, 2):
        if keep[number // 2]:
            keep[number * number // 2 :: number] = False
    primes = 2 * np.flatnonzero(keep) + 1
    primes.setflags(write=False)
    return primes
