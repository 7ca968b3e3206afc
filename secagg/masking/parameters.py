"""Degree and threshold of a sparse masking graph (spec section 12.7, where the proofs are).

n clients stand on a random circle, each joined to the m = k / 2 on either side. A client shares its two
secrets, self-mask seed and masking key, with threshold t among its neighbours and itself: k + 1 holders.
G clients, fixed before the order is known, are corrupt and work with the server; D drop out. All counts
are exactly hypergeometric, since the order is random: X(w) is the number of corrupt ones on w given places.

**Failure.** A secret is lost if fewer than t of its holders stay. The seed of a client that stays is lost
if more than k + 1 - t neighbours go; the key of one that goes, and takes its own share along, if more than
k - t of the others do. Union over the n - D and the D.

**Semi-honest.** All follow the protocol; who drops out does not depend on the graph.

* A client's other secret opens if t neighbours are corrupt: n · P[X(k) ≥ t].
* The server sees the sum of each connected part of the honest survivors. Two of them next to each other on
  the circle are adjacent unless m or more in a row between them are corrupt or gone, and with one such gap
  the rest is still a path. So two disjoint gaps are needed: n (n - k - 1) / 2 pairs, each with the
  probability that k given places hold none but the G + D.

**Malicious.** The server tells clients different things and decides who drops out, having seen the graph.
That each holder answers once, and only with t of its own holders alive, does not stop it: with no corrupt
client at all it can cut arcs out of the circle while t ≤ 3k / 4, telling each client of other dropouts. So
the protocol needs a *consistency* phase:

* pairwise mask keys are bound to the set of dealers that a client was shown, t of its holders among them;
* a client acknowledges to its neighbours, once, one digest of dealers and survivors, itself in both;
* it reveals shares if t of its holders, itself included, acknowledged the same digest, and not otherwise.

Let r = k + 1 - t, the holders that a client can do without. Nothing opens but one sum, over the honest
members of one survivor set on which all who answered agree, if for some d ≤ m

* of any k + 1 - d places in a row fewer than 2t - k - 1 - d are corrupt, and
* of any d places in a row more than r are honest.

By the first, no two clients at most d apart answer for different digests; it implies k + 1 + X(k) < 2t, so
that no client loses both secrets (of 2t shares, corrupt holders give two each and honest ones one). By the
second, answers for different digests in one neighbourhood are at most d apart, and the circle has no cut.
Over all windows: n · (P[X(k + 1 - d) ≥ 2t - k - 1 - d] + P[X(d) ≥ d - r]) for the best d, times the
2^grinding_bits sets of keys that the server can try until it likes the graph. A protocol without a
consistency phase withstands a malicious server on the complete graph only.

Graph, failure and the semi-honest case follow Bell et al. 2020 (eprint 2020/704), section 3. Its malicious
case is another: clients draw their neighbours themselves, and the server may open several large sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from mpc.errors import LocalError
from secagg.cohort import MAX_MEMBERS, MIN_MEMBERS

MIN_THRESHOLD = 2  # no holder alone opens anything
MAX_BITS = 512
EXACT_DEGREE = 4096  # up to here every even degree is tried
_LEAST_TERM = 2.0**-60  # of the sum so far: what follows in a falling tail is below the rounding


class Adversary(Enum):
    """What the server and the corrupt clients, who work together, may do."""

    NONE = "none"
    SEMI_HONEST = "semi-honest"
    MALICIOUS = "malicious"


@dataclass(frozen=True, slots=True)
class GraphParameters:
    """A graph of ``degree`` on ``members`` clients: even, or members - 1 for the complete graph.

    All thresholds from ``threshold`` to ``max_threshold`` are allowed; the smallest is the cheapest. The
    errors are those at ``threshold``, over the whole round, -inf where nothing can go wrong;
    ``privacy_error_log2`` includes what a malicious server gains by trying graphs.
    """

    members: int
    degree: int
    threshold: int
    max_threshold: int
    privacy_error_log2: float
    failure_log2: float

    @property
    def complete(self) -> bool:
        return self.degree == self.members - 1

    @property
    def holders(self) -> int:
        """Who holds shares of a client's secrets: its neighbours and itself."""
        return self.degree + 1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a round on a sparse graph withstands, as fractions of the whole cohort in [0, 1).

    ``corrupt``: clients that work with the server; ``dropout``: clients that go silent once keys are listed;
    ``adversary``: what they and the server may do, an ``Adversary`` or its value.
    """

    corrupt: float = 0.05
    dropout: float = 0.05
    adversary: Adversary = Adversary.MALICIOUS

    def __post_init__(self) -> None:
        for name, fraction in (("corrupt", self.corrupt), ("dropout", self.dropout)):
            _count(name, fraction, 1)
        try:
            object.__setattr__(self, "adversary", Adversary(self.adversary))
        except ValueError:
            known = ", ".join(one.value for one in Adversary)
            raise LocalError("adversary", self.adversary, f"must be one of {known}") from None

    def counts(self, members: int) -> tuple[int, int]:
        """How many of a cohort are corrupt, and how many drop out: the fractions, rounded up."""
        # 0.29 of 100 is 29: a float's last digit must not add one.
        return math.ceil(self.corrupt * members - 1e-9), math.ceil(self.dropout * members - 1e-9)

    def parameters(self, members: int, listed: int | None = None) -> GraphParameters:
        """Degree and threshold for a cohort of which ``listed`` clients, or all, have advertised keys.

        The counts are those of the cohort: that the server leaves honest clients out gains it nothing.
        ``LocalError`` if no graph on so few withstands them.
        """
        corrupt, dropped = self.counts(members)
        n = members if listed is None else listed
        if max(corrupt, dropped) >= n:
            raise LocalError("listed", n, f"{corrupt} may be corrupt and {dropped} drop out")
        return find(n, corrupt / n, dropped / n, self.adversary)


@lru_cache(maxsize=64)
def find(
    n: int,
    corrupt: float,
    dropout: float,
    adversary: Adversary,
    *,
    privacy_bits: int = 40,
    failure_bits: int = 20,
    grinding_bits: int = 64,
) -> GraphParameters:
    """The smallest even degree for which a threshold exists, and the complete graph if there is none.

    ``n``: the clients that advertised keys, 2 to 2^20. ``corrupt`` and ``dropout``: fractions of *these* in
    [0, 1), rounded down to clients; a server that may leave honest clients out raises the first. The round
    fails with probability ≤ 2^-failure_bits and leaks with probability ≤ 2^-privacy_bits. Beyond
    ``EXACT_DEGREE`` the search takes larger steps, and a degree about one in 64 smaller might do.

    ``LocalError`` for arguments out of range, and if not even the complete graph has a threshold.
    """
    for name, bits, least in (
        ("privacy_bits", privacy_bits, 1),
        ("failure_bits", failure_bits, 1),
        ("grinding_bits", grinding_bits, 0),
    ):
        if not least <= bits <= MAX_BITS:
            raise LocalError(name, bits, f"must be from {least} to {MAX_BITS}")
    if not MIN_MEMBERS <= n <= MAX_MEMBERS:
        raise LocalError("n", n, f"must be from {MIN_MEMBERS} to {MAX_MEMBERS} clients")
    if adversary is Adversary.NONE and corrupt:
        raise LocalError("corrupt", corrupt, "must be 0 where there is no adversary")
    risk = Risk(n, _count("corrupt", corrupt, n), _count("dropout", dropout, n), adversary, grinding_bits)
    found = _smallest_degree(n, lambda degree: _thresholds(risk, degree, privacy_bits, failure_bits))
    if found is None:
        return _complete(risk)
    degree, (lowest, highest) = found
    privacy, failure = risk.privacy_log2(degree, lowest), risk.failure_log2(degree, lowest)
    return GraphParameters(n, degree, lowest, highest, privacy, failure)


@dataclass(frozen=True, slots=True)
class Risk:
    """The two error bounds of a sparse graph as functions of degree and threshold, in log2.

    ``degree``: even, from 2 to n - 2; ``threshold``: from 1 to the degree.
    """

    n: int
    corrupt: int
    dropped: int
    adversary: Adversary
    grinding_bits: int = 0

    def failure_log2(self, degree: int, threshold: int) -> float:
        """Some client's secret has fewer than ``threshold`` holders left. Rises with the threshold."""
        spare, stay = degree - threshold, self.n - self.dropped
        return _log2_sum(
            _log2(self.dropped) + log2_tail(self.n - 1, self.dropped - 1, degree, spare + 1),
            _log2(stay) + log2_tail(self.n - 1, self.dropped, degree, spare + 2),
        )

    def privacy_log2(self, degree: int, threshold: int) -> float:
        """The server learns more than one sum. Falls as the threshold rises."""
        if self.adversary is Adversary.NONE:
            return -math.inf
        if self.adversary is Adversary.SEMI_HONEST:
            return _log2_sum(self.exposed_log2(degree, threshold), self.disconnected_log2(degree))
        return self.grinding_bits + self.divided_log2(degree, threshold)

    def exposed_log2(self, degree: int, threshold: int) -> float:
        """Some honest client has ``threshold`` corrupt neighbours."""
        return _log2(self.n) + log2_tail(self.n - 1, self.corrupt, degree, threshold)

    def disconnected_log2(self, degree: int) -> float:
        """The honest survivors are not connected; the dropouts do not depend on the graph."""
        pairs = self.n * (self.n - degree - 1) // 2
        removed = min(self.n, self.corrupt + self.dropped)
        return _log2(pairs) + log2_tail(self.n, removed, degree, degree)

    def divided_log2(self, degree: int, threshold: int) -> float:
        """Some place on the circle where a malicious server could tell the clients different things.

        One kind of window becomes likelier as d grows, the other less likely: where the two cross, found by
        bisection, or one before it, their sum is at most twice the smallest.
        """
        low, high = degree + 1 - threshold, degree // 2

        def overlap(d: int) -> float:
            return log2_tail(self.n, self.corrupt, degree + 1 - d, 2 * threshold - degree - 1 - d)

        def gap(d: int) -> float:
            return log2_tail(self.n, self.corrupt, d, d - (degree + 1 - threshold))

        if low >= high:
            return _log2(self.n)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if overlap(middle) < gap(middle) else (low, middle)
        return _log2(self.n) + min(_log2_sum(overlap(d), gap(d)) for d in (low, high))


def log2_tail(population: int, marked: int, draws: int, least: int) -> float:
    """log2 of P[X ≥ ``least``], X the marked ones among ``draws`` taken from ``population`` without return.

    Hypergeometric. Above the mode the sum of all terms, each as its ratio to the first, right to 10^-6 for
    populations up to 2^20; up to the mode 0, the bound P ≤ 1.
    """
    if least <= max(draws + marked - population, (draws + 1) * (marked + 1) // (population + 2)):
        return 0.0
    highest = min(marked, draws)
    if least > highest:
        return -math.inf
    rest = population - marked - draws
    total = term = 1.0
    for value in range(least, highest):
        term *= (marked - value) * (draws - value) / ((value + 1) * (rest + value + 1))
        total += term
        if term < total * _LEAST_TERM:
            break
    first = (
        _log_choose(marked, least)
        + _log_choose(population - marked, draws - least)
        - _log_choose(population, draws)
    )
    return min(0.0, (first + math.log(total)) / math.log(2))


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)


def _log2(count: int) -> float:
    return math.log2(count) if count else -math.inf


def _log2_sum(left: float, right: float) -> float:
    """log2(2^left + 2^right)."""
    high, low = max(left, right), min(left, right)
    return high if low == -math.inf else high + math.log1p(2.0 ** (low - high)) / math.log(2)


def _count(name: str, fraction: float, n: int) -> int:
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
        raise LocalError(name, fraction, "must be a fraction in [0, 1)")
    # 0.29 of 100 is 29: a float's last digit must not take one of them away.
    return min(n - 1, math.floor(fraction * n + 1e-9))


def _smallest_degree(
    n: int, thresholds: Callable[[int], tuple[int, int] | None]
) -> tuple[int, tuple[int, int]] | None:
    """Every even degree in turn up to ``EXACT_DEGREE``; then in steps of 1 in 64, and back by bisection."""
    largest = (n - 2) // 2 * 2
    for degree in range(2, min(EXACT_DEGREE, largest) + 1, 2):
        if found := thresholds(degree):
            return degree, found
    low = EXACT_DEGREE
    while low < largest:
        high = min(largest, low + low // 128 * 2)
        if found := thresholds(high):
            while high - low > 2:
                middle = (low + high) // 4 * 2
                if better := thresholds(middle):
                    high, found = middle, better
                else:
                    low = middle
            return high, found
        low = high
    return None


def _thresholds(risk: Risk, degree: int, privacy_bits: int, failure_bits: int) -> tuple[int, int] | None:
    """The smallest and the largest threshold that meet both bounds."""
    low, high = MIN_THRESHOLD - 1, degree + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if risk.failure_log2(degree, middle) <= -failure_bits else (low, middle)
    highest = low
    if highest < MIN_THRESHOLD or risk.privacy_log2(degree, highest) > -privacy_bits:
        return None
    low, high = MIN_THRESHOLD - 1, highest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if risk.privacy_log2(degree, middle) <= -privacy_bits else (middle, high)
    return high, highest


def _complete(risk: Risk) -> GraphParameters:
    """Nothing is left to chance: thresholds that the G and the D clients cannot beat."""
    n, corrupt = risk.n, risk.corrupt
    lowest = {
        Adversary.NONE: MIN_THRESHOLD,
        Adversary.SEMI_HONEST: max(MIN_THRESHOLD, corrupt + 1),
        Adversary.MALICIOUS: max(MIN_THRESHOLD, (n + corrupt) // 2 + 1),
    }[risk.adversary]
    highest = n - risk.dropped
    if lowest > highest:
        bound = f"a {risk.adversary.value} adversary asks for a threshold of {lowest}, and {highest} stay"
        raise LocalError("corrupt and dropout", (corrupt, risk.dropped), f"of {n} clients: {bound}")
    return GraphParameters(n, n - 1, lowest, highest, -math.inf, -math.inf)
