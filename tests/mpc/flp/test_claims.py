"""Claims: what can be proved, and exactly where a direction is accepted."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.flp.claims import Alignment, Claims, Range
from mpc.flp.contribution import Contribution
from mpc.flp.contribution_plan import Plan
from mpc.flp.proof import ProofError
from mpc.tape import SeededTape
from tests.mpc.flp.cheater import Attempt, Cheater
from tests.mpc.flp.contribution_oracle import cosine_at_least, inner, scaled
from tests.mpc.flp.reports import Report, total

FRONT, METRIC, BOUND = 8, 300, 2**20
RANGES = (
    Range(FRONT, (1,), 0, 127),
    Range(FRONT + 1, (1,), 0, 127),
    Range(FRONT, (1, 128), 1, 5000),
    Range(FRONT + 2, (1,), -METRIC, METRIC),
)
REFERENCE = np.array([3000, -4000, 0, 0, 0, 12000, 1, -1])


def aligned(x: list[int], g: list[int], cosine: float) -> bool:
    """Whether the client's own circuit accepts: through the integers that stand for the comparison."""
    bound = max(1, math.isqrt(inner(x, x)) + 1)
    claims = Claims(len(x), len(x), bound, (), Alignment(np.array(g), cosine))
    plan = Plan(claims)
    integers = plan.integers(np.array(x))
    return all(0 <= value < 1 << width for value, width in zip(integers, plan.widths, strict=True))


small = st.lists(st.integers(-(2**20), 2**20), min_size=3, max_size=3)


@given(small, small.filter(any), st.floats(2**-10, 1))
def test_all_with_the_cosine_and_none_below_the_accepted_cosine(
    x: list[int], g: list[int], cosine: float
) -> None:
    """In exact arithmetic, however short the vector is."""
    f, k = scaled(Claims(3, 3, 1, (), Alignment(np.array(g), cosine)))
    accepted = aligned(x, g, cosine)
    assert accepted == cosine_at_least(x, g, Fraction(k, 4**f * inner(g, g)))
    assert accepted or not cosine_at_least(x, g, Fraction(cosine) ** 2)


@given(small.filter(any), small.filter(any), st.floats(2**-17, 1))
def test_the_boundary_lies_where_the_slack_says(x: list[int], g: list[int], scale: float) -> None:
    """A vector passes for its own cosine, and not for one that is larger by more than the slack."""
    if inner(x, g) < 0:
        x = [-entry for entry in x]
    own = inner(x, g) / math.sqrt(inner(x, x) * inner(g, g))
    if own < 2**-10:
        return
    assert aligned(x, g, own * (1 - 2**-40))
    above = own * (1 + 2**-19 + scale)
    assert above > 1 or not aligned(x, g, above)


@given(small.filter(any), st.floats(2**-18, 1))
def test_slacks_are_small(g: list[int], cosine: float) -> None:
    alignment = Alignment(np.array(g), cosine)
    assert alignment.square == inner(g, g)
    assert (alignment.shift, alignment.threshold) == scaled(Claims(3, 3, 1, (), alignment))
    assert alignment.completeness_slack == 0
    assert 0 <= alignment.soundness_slack < 2**-20
    assert cosine * (1 - 2**-20) <= alignment.accepted_cosine <= cosine * (1 + 2**-50)


def test_a_cosine_of_one_admits_multiples_alone() -> None:
    """Exactly, if ‖g‖² is at least 2^20."""
    g = [3000, -4000, 0]
    assert aligned([30, -40, 0], g, 1.0)
    assert aligned([3, -4, 0], g, 1.0)
    assert aligned([0, 0, 0], g, 1.0)
    assert not aligned([30000000, -40000000, 1], g, 1.0)
    assert not aligned([-3, 4, 0], g, 1.0)


def test_the_square_of_a_long_reference_is_exact() -> None:
    reference = np.full(1000, 2**32 - 1)
    reference[::2] *= -1
    assert Alignment(reference, 0.5).square == 1000 * (2**32 - 1) ** 2


def test_different_claims_have_different_digests() -> None:
    other = Alignment(REFERENCE + np.eye(1, FRONT, dtype=np.int64)[0], 0.25)
    made = [
        Claims(FRONT + 3, FRONT, BOUND, RANGES, Alignment(REFERENCE, 0.25)),
        Claims(FRONT + 3, FRONT, BOUND, RANGES),
        Claims(FRONT + 4, FRONT, BOUND, RANGES),
        Claims(FRONT + 3, FRONT + 1, BOUND, RANGES),
        Claims(FRONT + 3, FRONT, BOUND + 1, RANGES),
        Claims(FRONT + 3, FRONT, None, RANGES),
        Claims(FRONT + 3, FRONT, BOUND, RANGES[:-1]),
        Claims(FRONT + 3, FRONT, BOUND, (*RANGES[:-1], Range(FRONT + 2, (1,), -METRIC, METRIC + 1))),
        Claims(FRONT + 3, FRONT, BOUND, RANGES, Alignment(REFERENCE, 0.26)),
        Claims(FRONT + 3, FRONT, BOUND, RANGES, other),
    ]
    assert len({claims.digest() for claims in made}) == len(made)
    assert made[0].digest() == Claims(FRONT + 3, FRONT, BOUND, RANGES, Alignment(REFERENCE, 0.25)).digest()


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Claims(0, ranges=RANGES), "length"),
        (lambda: Claims(FRONT + 2, ranges=RANGES), r"ranges\[3\]"),
        (lambda: Claims(4), "ranges"),
        (lambda: Claims(4, ranges=(Range(0, (1,), 5, 5),)), "ranges"),
        (lambda: Claims(4, 5, 3), "normed"),
        (lambda: Claims(4, 0, 3), "normed"),
        (lambda: Claims(4, 4, 0), "bound"),
        (lambda: Claims(4, 4, 2**32), "bound"),
        (lambda: Claims(4, 4, 2.5), "bound"),  # type: ignore[arg-type]
        (lambda: Claims(4, 4, None, (Range(0, (1,), 0, 1),), Alignment(np.ones(4, int), 0.5)), "alignment"),
        (lambda: Claims(4, 4, 9, (), Alignment(np.ones(3, int), 0.5)), "alignment"),
        (lambda: Claims(4, 4, 2**30, (), Alignment(np.full(4, 2**31), 0.5)), "alignment"),
        (lambda: Claims(4, 4, 2**30, (), Alignment(np.ones(4, int), 1e-9)), "alignment"),
        (lambda: Claims(4, ranges=(Range(0, (1, 2), 0, 1),)), r"ranges\[0\]"),
        (lambda: Claims(4, 2, 9, (Range(1, (1, 2), 0, 1),)), r"ranges\[0\]"),
        (lambda: Claims(4, ranges=(Range(0, (2,), 0, 1),)), r"ranges\[0\]"),
        (lambda: Claims(2, ranges=(Range(0, (1,), 0, 7), Range(0, (2**60,), 0, 7))), r"ranges\[1\]"),
        (lambda: Range(-1, (1,), 0, 1), "start"),
        (lambda: Range(0, (), 0, 1), "weights"),
        (lambda: Range(0, (1, 0), 0, 1), "weights"),
        (lambda: Range(0, (2**62,), 0, 1), "weights"),
        (lambda: Range(0, (1,), 1, 0), "high"),
        (lambda: Range(0, (1,), 0, 2**60), "high"),
        (lambda: Range(0, (1,), -(2**60), 0), "low"),
        (lambda: Alignment(np.zeros(3, int), 0.5), "reference"),
        (lambda: Alignment(np.ones(3), 0.5), "reference"),
        (lambda: Alignment(np.array([2**32]), 0.5), "reference"),
        (lambda: Alignment(np.ones(3, int), 0.0), "cosine"),
        (lambda: Alignment(np.ones(3, int), 1.01), "cosine"),
        (lambda: Alignment(np.ones(3, int), float("nan")), "cosine"),
    ],
)
def test_claims_that_cannot_be_proved_are_refused(make, argument: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LocalError, match=f"^{argument} is"):
        make()


def test_a_range_may_be_one_value() -> None:
    """It has no bits, and a row all the same."""
    claims = Claims(2, ranges=(Range(0, (1,), 5, 5), Range(1, (1,), -1, 0)))
    assert total(Contribution(claims, shares=2), [np.array([5, -1])]).tolist() == [5, -1]
    vdaf = Cheater(claims, shares=2)
    with pytest.raises(ProofError):
        Report(vdaf, Attempt([6, -1], [0, 0]), SeededTape(b"six")).verify()


def test_a_single_entry_is_enough() -> None:
    claims = Claims(1, 1, 3, (), Alignment(np.array([-1]), 1.0))
    assert total(Contribution(claims, shares=2), [np.array([-3])]).tolist() == [-3]


def test_a_sum_of_entries_that_the_norm_bounds_needs_no_other_range() -> None:
    claims = Claims(4, 4, 9, (Range(0, (1, -1, 1, 1), -2, 3),))
    x = np.array([4, 2, -1, 2])
    assert total(Contribution(claims, shares=2), [x]).tolist() == x.tolist()
    with pytest.raises(LocalError, match=r"not in ranges\[0\]"):
        claims.check(x + 1)
