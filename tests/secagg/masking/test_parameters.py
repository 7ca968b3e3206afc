"""The parameter finder: its tails, bounds and search against exact arithmetic and simulated graphs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from secagg.masking.parameters import (
    EXACT_DEGREE,
    MIN_THRESHOLD,
    Adversary,
    GraphParameters,
    Risk,
    find,
    log2_tail,
)

deterministic = settings(derandomize=True, deadline=None, max_examples=100)
NONE, SEMI_HONEST, MALICIOUS = Adversary.NONE, Adversary.SEMI_HONEST, Adversary.MALICIOUS


def ways(population: int, marked: int, draws: int, least: int) -> int:
    """In how many ways ``draws`` of ``population`` hold ``least`` marked ones or more."""
    return sum(
        math.comb(marked, value) * math.comb(population - marked, draws - value)
        for value in range(max(least, 0), min(marked, draws) + 1)
    )


def exact_tail(population: int, marked: int, draws: int, least: int) -> Fraction:
    return Fraction(ways(population, marked, draws, least), math.comb(population, draws))


def log2(value: Fraction) -> float:
    return math.log2(value.numerator) - math.log2(value.denominator) if value else -math.inf


@given(
    population=st.integers(1, 80), marked=st.floats(0, 1), draws=st.floats(0, 1), least=st.integers(-2, 82)
)
@deterministic
def test_tails_are_exact_above_the_mode(population: int, marked: float, draws: float, least: int) -> None:
    some, drawn = round(marked * population), round(draws * population)
    masses = [
        exact_tail(population, some, drawn, value) - exact_tail(population, some, drawn, value + 1)
        for value in range(population + 1)
    ]
    found, exact = log2_tail(population, some, drawn, least), log2(exact_tail(population, some, drawn, least))
    if least > max(value for value, mass in enumerate(masses) if mass == max(masses)):
        assert found == pytest.approx(exact, abs=1e-9)
    else:
        assert found == 0.0 >= exact


@pytest.mark.parametrize(
    ("population", "marked", "draws", "least"),
    [
        (10**4, 500, 198, 100),
        (10**5, 33_000, 700, 400),
        (10**6, 50_000, 230, 90),
        (10**6, 330_000, 2_000, 1_000),
        (10**6, 330_000, 2_000, 661),
        (2**20, 2**19, 4_000, 4_000),
    ],
)
def test_tails_of_large_populations(population: int, marked: int, draws: int, least: int) -> None:
    exact = math.log2(ways(population, marked, draws, least)) - math.log2(math.comb(population, draws))
    assert log2_tail(population, marked, draws, least) == pytest.approx(exact, abs=1e-6)


def exact_failure(risk: Risk, k: int, t: int) -> Fraction:
    n, gone = risk.n, risk.dropped
    return gone * exact_tail(n - 1, gone - 1, k, k - t + 1) + (n - gone) * exact_tail(
        n - 1, gone, k, k - t + 2
    )


def exact_privacy(risk: Risk, k: int, t: int) -> Iterator[Fraction]:
    """The bound on the privacy error, for each d where there is one."""
    n, corrupt = risk.n, risk.corrupt
    if risk.adversary is SEMI_HONEST:
        both_gaps = Fraction(math.comb(corrupt + risk.dropped, k), math.comb(n, k))
        yield n * exact_tail(n - 1, corrupt, k, t) + Fraction(n * (n - k - 1), 2) * both_gaps
        return
    for d in range(k // 2 + 1):
        overlap = exact_tail(n, corrupt, k + 1 - d, 2 * t - k - 1 - d)
        gap = exact_tail(n, corrupt, d, d - (k + 1 - t))
        yield n * 2**risk.grinding_bits * (overlap + gap)


@given(
    n=st.integers(4, 60),
    corrupt=st.floats(0, 0.5),
    dropped=st.floats(0, 0.4),
    adversary=st.sampled_from([SEMI_HONEST, MALICIOUS]),
    degree=st.floats(0, 1),
    threshold=st.floats(0.4, 1),
)
@deterministic
def test_bounds_are_the_stated_sums(
    n: int, corrupt: float, dropped: float, adversary: Adversary, degree: float, threshold: float
) -> None:
    risk = Risk(n, int(corrupt * n), int(dropped * n), adversary, grinding_bits=3)
    k = 2 * max(1, round(degree * (n // 2 - 1)))
    t = max(1, round(threshold * k))
    slack = 1 if adversary is MALICIOUS else 0  # d is a choice within a factor of two of the best
    for exact, found, below in (
        (log2(exact_failure(risk, k, t)), risk.failure_log2(k, t), 0),
        (log2(min(exact_privacy(risk, k, t))), risk.privacy_log2(k, t), slack),
    ):
        if found < 0:
            assert exact - 1e-8 <= found <= exact + below + 1e-8
        else:  # a term up to the mode counts as 1, and such a bound says nothing
            assert exact > -4


@pytest.mark.parametrize("adversary", [NONE, SEMI_HONEST, MALICIOUS])
@pytest.mark.parametrize(
    ("corrupt", "dropout"), [(0.0, 0.0), (0.05, 0.05), (0.1, 0.1), (0.2, 0.05), (0.1, 0.3)]
)
@pytest.mark.parametrize("n", [5, 30, 81, 150])
def test_the_smallest_degree_is_found(n: int, corrupt: float, dropout: float, adversary: Adversary) -> None:
    if adversary is NONE:
        corrupt = 0.0
    risk = Risk(n, math.floor(corrupt * n + 1e-9), math.floor(dropout * n + 1e-9), adversary, 4)
    found = find(n, corrupt, dropout, adversary, privacy_bits=10, failure_bits=8, grinding_bits=4)
    for degree in range(2, n - 1, 2):
        allowed = [
            threshold
            for threshold in range(MIN_THRESHOLD, degree + 1)
            if risk.privacy_log2(degree, threshold) <= -10 and risk.failure_log2(degree, threshold) <= -8
        ]
        if allowed:
            assert (found.degree, found.threshold, found.max_threshold) == (degree, allowed[0], allowed[-1])
            assert allowed == list(range(allowed[0], allowed[-1] + 1))
            assert found.privacy_error_log2 == risk.privacy_log2(degree, allowed[0]) <= -10
            assert found.failure_log2 == risk.failure_log2(degree, allowed[0]) <= -8
            assert (found.complete, found.holders) == (False, degree + 1)
            return
    assert found.complete
    assert found.max_threshold == n - risk.dropped


def test_beyond_the_exact_range_the_result_holds_and_smaller_ones_do_not() -> None:
    found = find(10**6, 0.3, 0.2, MALICIOUS)
    risk = Risk(10**6, 300_000, 200_000, MALICIOUS, 64)
    assert not found.complete
    assert found.degree > EXACT_DEGREE
    assert risk.privacy_log2(found.degree, found.threshold) <= -40
    assert risk.failure_log2(found.degree, found.max_threshold) <= -20
    for degree in (found.degree - 2, found.degree * 15 // 16 // 2 * 2):
        likely = found.max_threshold * degree // found.degree
        works = [risk.failure_log2(degree, t) <= -20 for t in range(likely - 50, likely + 50)]
        assert 0 < sum(works) < 100
        assert risk.privacy_log2(degree, likely - 50 + sum(works) - 1) > -40


@pytest.mark.parametrize(
    ("n", "corrupt", "dropout", "adversary", "degree", "threshold"),
    [
        (10**3, 0.05, 0.05, SEMI_HONEST, 26, 16),
        (10**4, 0.05, 0.05, SEMI_HONEST, 32, 19),
        (10**6, 0.33, 0.05, SEMI_HONEST, 106, 80),
        (10**3, 0.05, 0.05, MALICIOUS, 144, 121),
        (10**4, 0.05, 0.05, MALICIOUS, 198, 165),
        (10**6, 0.33, 0.05, MALICIOUS, 748, 663),
        (10**6, 0.0, 0.0, MALICIOUS, 4, 4),
    ],
)
def test_the_specified_table(
    n: int, corrupt: float, dropout: float, adversary: Adversary, degree: int, threshold: int
) -> None:
    found = find(n, corrupt, dropout, adversary)
    assert (found.degree, found.threshold) == (degree, threshold)


@pytest.mark.parametrize("adversary", [SEMI_HONEST, MALICIOUS])
def test_more_demands_never_make_a_smaller_graph(adversary: Adversary) -> None:
    def degrees(*cases: tuple[float, float, int, int]) -> list[int]:
        return [
            find(2_000, corrupt, dropout, adversary, privacy_bits=secret, failure_bits=safe).degree
            for corrupt, dropout, secret, safe in cases
        ]

    for rising in (
        degrees(*[(corrupt / 100, 0.05, 40, 20) for corrupt in range(0, 30, 3)]),
        degrees(*[(0.05, dropout / 100, 40, 20) for dropout in range(0, 20, 3)]),
        degrees(*[(0.1, 0.05, secret, 20) for secret in range(1, 100, 9)]),
        degrees(*[(0.1, 0.05, 40, safe) for safe in range(1, 50, 7)]),
    ):
        assert all(low <= high for low, high in pairwise(rising))
        assert rising[0] < rising[-1]


@pytest.mark.parametrize(
    ("arguments", "lowest", "highest"),
    [
        ((2, 0.0, 0.0, MALICIOUS), 2, 2),
        ((3, 0.0, 0.0, MALICIOUS), 2, 3),
        ((20, 0.26, 0.2, MALICIOUS), 13, 16),  # 5 corrupt: both secrets of a client take 26 of 20 + 5 shares
        ((9, 0.34, 0.34, SEMI_HONEST), 4, 6),
        ((3, 0.0, 0.34, NONE), 2, 2),
    ],
)
def test_small_cohorts_get_the_complete_graph(
    arguments: tuple[int, float, float, Adversary], lowest: int, highest: int
) -> None:
    found = find(*arguments, failure_bits=40)
    expected = GraphParameters(arguments[0], arguments[0] - 1, lowest, highest, -math.inf, -math.inf)
    assert found == expected
    assert found.complete


def test_a_float_is_not_one_client_short() -> None:
    assert 0.29 * 100 < 29
    found = find(100, 0.29, 0.29, SEMI_HONEST)
    assert found == find(100, 0.295, 0.295, SEMI_HONEST)
    assert found != find(100, 0.285, 0.285, SEMI_HONEST)


@pytest.mark.parametrize(
    ("arguments", "keywords", "name"),
    [
        ((1, 0.1, 0.1, SEMI_HONEST), {}, "n"),
        ((2**20 + 1, 0.1, 0.1, SEMI_HONEST), {}, "n"),
        ((100, -0.1, 0.1, SEMI_HONEST), {}, "corrupt"),
        ((100, math.nan, 0.1, SEMI_HONEST), {}, "corrupt"),
        ((100, 0.1, 1.0, SEMI_HONEST), {}, "dropout"),
        ((100, 0.1, 0.1, NONE), {}, "corrupt"),
        ((100, 0.1, 0.1, SEMI_HONEST), {"privacy_bits": 0}, "privacy_bits"),
        ((100, 0.1, 0.1, SEMI_HONEST), {"failure_bits": 513}, "failure_bits"),
        ((100, 0.1, 0.1, MALICIOUS), {"grinding_bits": -1}, "grinding_bits"),
        ((100, 0.5, 0.51, SEMI_HONEST), {}, "corrupt and dropout"),
        ((100, 0.34, 0.34, MALICIOUS), {}, "corrupt and dropout"),
    ],
)
def test_misuse_is_named(
    arguments: tuple[int, float, float, Adversary], keywords: dict[str, int], name: str
) -> None:
    with pytest.raises(LocalError, match=f"^{name} is"):
        find(*arguments, **keywords)
