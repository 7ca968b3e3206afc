"""Steering the graph: whatever keys the corrupt clients choose, and whomever the server leaves out.

Who stands next to whom follows from the whole listing. So a server that tries many has as many draws from the
law of a random circle, and no more (spec sections 12.6 and 12.7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from mpc import merkle
from mpc.tape import SeededTape
from secagg import Masking
from secagg.cohort import Cohort
from secagg.masking import Tolerance
from secagg.masking.graph import Graph
from secagg.masking.listing import Listing
from secagg.masking.messages import KeyAdvertisement
from secagg.masking.parameters import Adversary, Risk
from tests.attacks.clients import Given

N, DEGREE, CORRUPT = 60, 12, 12
VICTIM = 7
HELPERS = range(N - CORRUPT, N)
LAW = Given(degree=DEGREE, threshold=9)


def keys_of(index: int, label: object = "") -> KeyAdvertisement:
    tape = SeededTape(f"keys {index} {label}".encode())
    return KeyAdvertisement(tape.read(32), tape.read(32))


HONEST = {index: keys_of(index) for index in range(N - CORRUPT)}
Listed = dict[int, KeyAdvertisement]


def next_after(key: bytes, step: int) -> bytes:
    return ((int.from_bytes(key, "big") + step) % 2**256).to_bytes(32, "big")


# What a server lists in its attempt of this number.
STRATEGIES: dict[str, Callable[[int], Listed]] = {
    "one key of one helper, drawn anew": lambda attempt: (
        HONEST | {index: keys_of(index, attempt if index == N - 1 else "") for index in HELPERS}
    ),
    "all keys of all helpers": lambda attempt: HONEST | {index: keys_of(index, attempt) for index in HELPERS},
    "keys next to the victim's": lambda attempt: (
        HONEST
        | {
            index: KeyAdvertisement(
                next_after(HONEST[VICTIM].channel_key, attempt * N + index), HONEST[VICTIM].mask_key
            )
            for index in HELPERS
        }
    ),
    "a dozen honest clients left out": lambda attempt: {
        index: one
        for index, one in (HONEST | {index: keys_of(index) for index in HELPERS}).items()
        if index in (VICTIM, *HELPERS) or index not in left_out(attempt)
    },
}


def left_out(attempt: int) -> set[int]:
    generator = np.random.default_rng([attempt, 12])
    return set(generator.permutation([index for index in HONEST if index != VICTIM])[:12].tolist())


def corrupt_neighbours(cohort: Cohort, listed: Listed) -> int:
    root = merkle.root([one.leaf(index) for index, one in listed.items()])
    graph = Listing(cohort, LAW, tuple(listed), root).graph
    return sum(index in HELPERS for index in graph.neighbours(VICTIM))


def sorted_by_key(listed: Listed) -> int:
    """The same on a circle on which everybody stands where its own key puts it."""
    members = sorted(listed)
    circle = np.array(sorted(range(len(members)), key=lambda rank: listed[members[rank]].channel_key))
    return sum(index in HELPERS for index in Graph(members, DEGREE, circle).neighbours(VICTIM))


def hypergeometric(population: int, marked: int, draws: int, value: int) -> float:
    return (
        math.comb(marked, value)
        * math.comb(population - marked, draws - value)
        / math.comb(population, draws)
    )


def follows(found: Sequence[int], population: int) -> bool:
    """Pearson's test on the counts, rare values taken together: within six deviations of its mean."""
    values = range(DEGREE + 1)
    expected = np.array([len(found) * hypergeometric(population, CORRUPT, DEGREE, value) for value in values])
    seen = np.bincount(found, minlength=DEGREE + 1).astype(float)
    common = expected >= 5
    expected = np.append(expected[common], expected[~common].sum())
    seen = np.append(seen[common], seen[~common].sum())
    freedom = len(expected) - 1
    return float(((seen - expected) ** 2 / expected).sum()) < freedom + 6 * math.sqrt(2 * freedom)


@pytest.fixture(scope="module")
def cohort(rig: SimpleNamespace) -> Cohort:
    found: Cohort = rig.cohort(Masking(tolerance=LAW), N, 5, 16)
    return found


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_number_of_corrupt_neighbours_follows_the_law(cohort: Cohort, name: str) -> None:
    listed = [STRATEGIES[name](attempt) for attempt in range(800)]
    found = [corrupt_neighbours(cohort, one) for one in listed]
    assert follows(found, len(listed[0]) - 1)
    assert len(set(found)) > 4


def test_on_a_circle_in_the_order_of_the_keys_it_would_not() -> None:
    """There a server that chooses its helpers' keys chooses their places."""
    found = [sorted_by_key(STRATEGIES["keys next to the victim's"](attempt)) for attempt in range(800)]
    assert min(found) == DEGREE // 2
    assert not follows(found, N - 1)


@pytest.mark.parametrize("tries", [4, 16, 64])
def test_many_tries_gain_no_more_than_their_number(cohort: Cohort, tries: int) -> None:
    """How often the best of so many has this many corrupt neighbours, against the sum of the chances."""
    runs, enough = 1024 // tries, 6
    strategy = STRATEGIES["one key of one helper, drawn anew"]
    best = [
        max(corrupt_neighbours(cohort, strategy(run * tries + attempt)) for attempt in range(tries))
        for run in range(runs)
    ]
    once = sum(hypergeometric(N - 1, CORRUPT, DEGREE, value) for value in range(enough, DEGREE + 1))
    rate, bound = sum(found >= enough for found in best) / runs, min(1.0, tries * once)
    spread = 4 * math.sqrt(bound / runs)
    assert bound / 3 - spread <= rate <= bound + spread


@pytest.mark.parametrize(("members", "corrupt"), [(300, 0.05), (400, 0.1), (1000, 0.05)])
def test_leaving_honest_clients_out_does_not_make_the_corrupt_ones_count_less(
    members: int, corrupt: float
) -> None:
    """The client reckons with all that may be corrupt in the whole cohort, however few are listed."""
    tolerance = Tolerance(corrupt, 0.05)
    helpers, dropped = tolerance.counts(members)
    least = Masking(tolerance=tolerance).resolve_threshold(members)
    for listed in (least, (least + members) // 2, members):
        risk = Risk(listed, helpers, dropped, Adversary.MALICIOUS, grinding_bits=64)
        found = tolerance.parameters(members, listed)
        assert found.complete or risk.privacy_log2(found.degree, found.threshold) <= -40
        naive = tolerance.parameters(listed)  # by the same fraction of those that are listed
        if listed < members:
            assert risk.privacy_log2(naive.degree, naive.threshold) > -40
