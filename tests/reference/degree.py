"""Degree and threshold of the sparse graph a second time, in exact fractions (spec section 12.7)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil, comb

PRIVACY = Fraction(1, 2**40)
FAILURE = Fraction(1, 2**20)
GRINDING = 2**64  # sets of keys that a malicious server can try
LEAST_THRESHOLD = 2


class NoDegree(Exception):
    """Not even the complete graph withstands what the tolerance says."""


@dataclass(frozen=True)
class Tolerance:
    """Decimal fractions of the cohort, as text, so that ⌈corrupt · N⌉ has one meaning."""

    corrupt: str
    dropout: str
    adversary: str  # "none", "semi-honest", "malicious"

    def counts(self, members: int) -> tuple[int, int]:
        return ceil(Fraction(self.corrupt) * members), ceil(Fraction(self.dropout) * members)


@cache
def tail(population: int, marked: int, draws: int, least: int) -> Fraction:
    """P[X ≥ least], X the marked ones among ``draws`` taken from ``population`` without return."""
    ways = sum(
        comb(marked, value) * comb(population - marked, draws - value)
        for value in range(max(least, 0), min(marked, draws) + 1)
    )
    return Fraction(ways, comb(population, draws))


def failure(n: int, dropped: int, k: int, t: int) -> Fraction:
    """Some secret has fewer than t holders left."""
    spare = k + 1 - t
    error = (n - dropped) * tail(n - 1, dropped, k, spare + 1)
    if dropped:
        error += dropped * tail(n - 1, dropped - 1, k, k - t + 1)
    return error


def semi_honest_error(n: int, corrupt: int, dropped: int, k: int, t: int) -> Fraction:
    gone = min(n, corrupt + dropped)
    apart = Fraction(n * (n - k - 1) // 2 * comb(gone, k), comb(n, k))
    return n * tail(n - 1, corrupt, k, t) + apart


def malicious_error(n: int, corrupt: int, k: int, t: int) -> Fraction:
    spare = k + 1 - t
    return n * min(
        tail(n, corrupt, k + 1 - d, 2 * t - k - 1 - d) + tail(n, corrupt, d, d - spare)
        for d in range(k // 2 + 1)
    )


def private(n: int, corrupt: int, dropped: int, adversary: str, k: int, t: int) -> bool:
    if adversary == "none":
        return True
    if adversary == "semi-honest":
        return semi_honest_error(n, corrupt, dropped, k, t) <= PRIVACY
    return malicious_error(n, corrupt, k, t) * GRINDING <= PRIVACY


@cache
def find(n: int, corrupt: int, dropped: int, adversary: str) -> tuple[int, int] | None:
    """(k, t): the smallest even k ≤ n − 2 that has a t from 2 to k, and its smallest t; None: complete graph.

    ``NoDegree`` if the complete graph has no threshold either.
    """
    for k in range(2, n - 1, 2):
        for t in range(LEAST_THRESHOLD, k + 1):
            if failure(n, dropped, k, t) > FAILURE:
                break  # and no larger t fails less often
            if private(n, corrupt, dropped, adversary, k, t):
                return k, t
    lowest = {"none": 2, "semi-honest": max(2, corrupt + 1), "malicious": max(2, (n + corrupt) // 2 + 1)}
    if lowest[adversary] > n - dropped:
        raise NoDegree(f"{n} clients of whom {corrupt} are corrupt and {dropped} drop out")
    return None


def degree_and_threshold(
    tolerance: Tolerance | None, members: int, threshold: int, listed: int
) -> tuple[int, int]:
    """k and t for ``listed`` of ``members`` clients; ``threshold`` is the cohort's (spec section 12.1)."""
    found = None
    if tolerance is not None:
        corrupt, dropped = tolerance.counts(members)
        if max(corrupt, dropped) >= listed:
            raise NoDegree("more corrupt or gone than are listed")
        found = find(listed, corrupt, dropped, tolerance.adversary)
    return found if found else (listed - 1, threshold)
