"""Checks on shares: what they claim of a vector, which of them go together, and aggregate() with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import secagg
from mpc.errors import AbortError, LocalError
from mpc.flp.claims import Claims
from mpc.party import client_id
from mpc.tape import SeededTape
from secagg import InsecurePlain, Masking, SecretSharing
from secagg.checks import Direction, NormBound, ShareCheck
from secagg.checks.shares import claims_of
from secagg.cohort import Cohort
from secagg.encoding import FixedPoint, Plan

PLAN = FixedPoint(2.0, 12).plan((6, 4), clients=9, max_weight=5000, metrics={"a": 1.0})
REFERENCE = [np.arange(6.0), -np.ones(4)]


def cohort_of(plan: Plan, **changes: Any) -> Cohort:
    fields = {"length": plan.length, "bits": plan.encoding.bits, **changes}
    return Cohort(bytes(16), 0, ("ana", "bo", "cy"), 2, server_key=bytes([9]) * 32, **fields)


def claims(*checks: ShareCheck, plan: Plan = PLAN) -> Claims:
    found = claims_of([check.for_plan(plan) for check in checks], cohort_of(plan))
    assert found is not None
    return found


# The norm.


def test_every_update_within_the_bound_meets_the_claim_whatever_the_rounding() -> None:
    """Also where each coordinate is rounded away from zero."""
    check = NormBound(0.37)
    bound, rng = claims(check).bound, np.random.default_rng(0)
    assert bound == math.ceil(0.37 / PLAN.encoding.step + math.sqrt(10))
    for number in range(200):
        update = rng.normal(size=10) * rng.integers(0, 2, 10)
        update *= 0.37 / max(1e-9, float(np.linalg.norm(update)))
        steps = update / PLAN.encoding.step
        away = np.sign(steps) * np.ceil(np.abs(steps))
        assert int(away @ away) <= bound**2, number


def test_the_tighter_of_two_bounds_holds() -> None:
    for order in ((0.2, 0.5), (0.5, 0.2)):
        assert claims(*map(NormBound, order)).bound == NormBound(0.2).steps(PLAN)


@pytest.mark.parametrize("l2", [0, -1.0, math.inf, math.nan, True, "1", None, [1.0]])
def test_what_is_no_norm_is_refused(l2: Any) -> None:
    with pytest.raises(LocalError, match=r"l2 is .*: must be a finite number above 0"):
        NormBound(l2)


@pytest.mark.parametrize("l2", [1e9, 2.0**40, 1e300])
def test_a_bound_that_the_field_has_no_room_for_is_refused_when_the_round_is_made(l2: float) -> None:
    with pytest.raises(
        LocalError, match=r"l2 is .*: at most 2\.09\d*e\+06 can be proved, in steps of 0\.000977"
    ):
        claims(NormBound(l2))


# The direction.


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_a_reference_counts_by_its_direction_alone(scale: float) -> None:
    one = claims(Direction(REFERENCE, 0.3)).alignment
    other = claims(Direction([scale * part for part in REFERENCE], 0.3)).alignment
    assert one is not None
    assert other is not None
    assert np.abs(one.reference - other.reference).max() <= 1
    flat = np.concatenate(REFERENCE)
    cosine = one.reference @ flat / np.linalg.norm(flat) / math.sqrt(one.square)
    assert cosine > 1 - 2**-40


@pytest.mark.parametrize("cosine", [0, -0.1, 1.01, math.nan, True, "0.5", None])
def test_what_is_no_cosine_is_refused(cosine: Any) -> None:
    with pytest.raises(LocalError, match=r"min_cosine is .*: must be above 0 and at most 1"):
        Direction(REFERENCE, cosine)


@pytest.mark.parametrize(
    "reference",
    [
        [np.zeros(6), np.zeros(4)],
        [np.full(6, np.nan), np.ones(4)],
        [np.full(6, np.inf), np.ones(4)],
    ],
)
def test_what_is_no_direction_is_refused(reference: Any) -> None:
    with pytest.raises(LocalError, match="all zeros, or not finite': must be a direction"):
        Direction(reference, 0.5)


@pytest.mark.parametrize("reference", [[np.ones(10)], [np.ones(4), np.ones(6)], np.ones(9)])
def test_a_reference_of_another_structure_is_refused(reference: Any) -> None:
    with pytest.raises(LocalError, match=r"reference is 'tensors of .* must be of \(6, 4\)"):
        claims(Direction(reference, 0.5))


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_a_direction_alone_bounds_no_vector_that_can_be_sent(bits: int) -> None:
    """The circuit needs some bound: one that every encoded update meets."""
    plan = FixedPoint(1.0, bits).plan((50,), clients=3)
    if bits == 32:
        with pytest.raises(LocalError, match="bound"):
            claims(Direction(np.ones(50), 0.5), plan=plan)
        return
    found = claims(Direction(np.ones(50), 0.5), plan=plan)
    assert found.bound is not None
    assert found.bound**2 >= 50 * plan.encoding.limit**2
    assert claims(Direction(np.ones(50), 0.5), NormBound(0.5), plan=plan).bound == NormBound(0.5).steps(plan)


def test_two_directions_are_refused() -> None:
    """The circuit has one alignment: a second must not silently take the first one's place."""
    with pytest.raises(LocalError, match="checks is 'direction': one reference a round"):
        claims(Direction(REFERENCE, 0.3), Direction(REFERENCE, 0.9))


# What is beside the update.


def test_weight_and_metrics_are_claimed_with_any_check() -> None:
    found = claims(NormBound(0.5))
    assert (found.length, found.normed) == (13, 10)
    low, high = 5000 & 2047, 5000 >> 11
    good = [*[0] * 10, low, high, 2047]
    assert found.check(np.array(good)).tolist() == good
    for place, value in ((10, 2048), (10, -1), (11, 3), (11, -1), (12, 2048), (12, -2048), (10, low + 1)):
        bad = list(good)
        bad[place] = value
        with pytest.raises(LocalError, match=r"not in ranges\[\d\]"):
            found.check(np.array(bad))
    for digits in ((0, 0), (2047, 2)):
        with pytest.raises(LocalError, match=r"not in ranges\[2\]"):
            found.check(np.array([*[0] * 10, *digits, 0]))


@pytest.mark.parametrize("max_weight", [1, 2, 2047, 2048, 2**22, 2**33 + 7, 2**53])
@pytest.mark.parametrize("bits", [2, 8, 12, 16, 24])
def test_every_weight_that_can_be_encoded_is_provable_and_no_other(bits: int, max_weight: int) -> None:
    plan = FixedPoint(1.0, bits).plan((3,), clients=3, max_weight=max_weight, metrics={"a": 1.0})
    found = claims(NormBound(1.0), plan=plan)
    for weight in (1, max_weight // 2 or 1, max_weight):
        encoded = plan.encode([np.zeros(3)], weight, {"a": -1.0}, SeededTape(b"w"), client="ana")
        found.check(encoded.vector)
    above = [
        (max_weight + 1) >> (bits - 1) * place & plan.encoding.limit for place in range(plan.weight_digits)
    ]
    if sum(digit << (bits - 1) * place for place, digit in enumerate(above)) == max_weight + 1:
        with pytest.raises(LocalError, match="not in ranges"):
            found.check(np.array([0, 0, 0, *above, 0]))


# Plans.


def test_a_check_takes_the_plan_of_the_round_and_keeps_its_own() -> None:
    other = FixedPoint(2.0, 12).plan((10,), clients=9, max_weight=5000, metrics={"a": 1.0})
    for check in (NormBound(0.5), Direction(REFERENCE, 0.5)):
        planned = check.for_plan(PLAN)
        assert (check.plan, planned.plan) == (None, PLAN)
        assert type(planned) is type(check)
        assert planned.for_plan(other).plan is PLAN
        assert repr(planned) == repr(check)


def test_without_share_checks_there_are_no_claims() -> None:
    assert claims_of([], cohort_of(PLAN)) is None
    assert claims_of([secagg.Check()], cohort_of(PLAN)) is None


def test_checks_without_a_plan_or_with_different_ones_are_refused() -> None:
    other = FixedPoint(1.0, 12).plan((6, 4), clients=9, max_weight=5000, metrics={"a": 1.0})
    for checks in ([NormBound(1.0)], [NormBound(1.0, PLAN), Direction(REFERENCE, 0.5, other)]):
        with pytest.raises(LocalError, match="need the round's plan"):
            claims_of(checks, cohort_of(PLAN))


@pytest.mark.parametrize("changes", [{"length": 14}, {"bits": 13}])
def test_a_plan_of_other_vectors_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(LocalError, match="a plan of 13 entries of 12 bits': the cohort has"):
        claims_of([NormBound(1.0, PLAN)], cohort_of(PLAN, **changes))


@pytest.mark.parametrize("wrong", [None, FixedPoint(2.0, 12).plan((9, 4), clients=9, max_weight=5000)])
def test_every_party_of_the_round_refuses_a_wrong_plan(wrong: Plan | None) -> None:
    backend, tape = SecretSharing(2, threshold=2).setup(SeededTape(b"keys")), SeededTape(b"round")
    cohort, checks = cohort_of(PLAN), [NormBound(1.0, wrong)]
    for make in (
        lambda: backend.client(cohort, "ana", np.zeros(13, np.int64), checks=checks, tape=tape),
        lambda: backend.helpers(cohort, checks=checks, tape=tape),
        lambda: backend.cost(cohort, checks),
    ):
        with pytest.raises(LocalError, match="plan"):
            make()


# aggregate().


def updates(count: int = 6) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(7)
    found = {}
    for index in range(count):
        flat = rng.normal(size=10) * 0.1 + np.concatenate(REFERENCE) * 0.05
        found[f"c{index}"] = [flat[:6], flat[6:]]
    return found


def aggregate(given: Any, backend: Any, checks: Any, **options: Any) -> Any:
    return secagg.aggregate(
        given,
        backend=backend,
        encoding=FixedPoint(2.0, 16),
        weights={name: 10 + place for place, name in enumerate(given)},
        metrics={name: {"a": 0.5} for name in given},
        metric_bounds={"a": 1.0},
        checks=checks,
        tape=SeededTape(b"aggregate"),
        encoder_tape=SeededTape(b"encoder"),
        **options,
    )


@pytest.mark.parametrize("aggregators", [2, 3])
def test_one_who_is_too_long_or_points_elsewhere_declines(aggregators: int) -> None:
    given = updates()
    given["c1"] = [30 * part for part in given["c1"]]
    given["c4"] = [-part for part in given["c4"]]
    checks = [NormBound(1.5), Direction(REFERENCE, 0.2)]
    result = aggregate(given, SecretSharing(aggregators, threshold=2), checks)
    assert result.survivors == ("c0", "c2", "c3", "c5")
    assert result.dropped == ("c1", "c4")
    assert result.rejected == {}
    assert set(result.declined) == {"c1", "c4"}
    assert "norm" in result.declined["c1"]
    assert "point" in result.declined["c4"]
    for client in (1, 4):
        assert result.transcript.bytes_sent(client_id(client)) == 0
    plain = aggregate(given, InsecurePlain(threshold=2), (), drop={"c1": "input", "c4": "input"})
    assert np.array_equal(result.encoded_sum, plain.encoded_sum)
    assert result.weight == plain.weight
    assert result.metrics == plain.metrics


def test_too_many_who_decline_abort_the_round() -> None:
    with pytest.raises(AbortError, match="0 of 6 clients"):
        aggregate(updates(), SecretSharing(threshold=2), [NormBound(1e-3)])


def test_weights_scale_an_update_and_so_its_norm() -> None:
    """What is bounded is what is added up: an update counts by its share of the largest weight."""
    given = {name: [10 * part for part in update] for name, update in updates().items()}
    encoding = FixedPoint(10.0, 16)
    norms = {name: float(np.linalg.norm(np.concatenate(update))) for name, update in given.items()}
    bound = 1.01 * max(norms.values()) / 100
    result = secagg.aggregate(
        given,
        backend=SecretSharing(threshold=2),
        encoding=encoding,
        weights=dict.fromkeys(given, 1),
        max_weight=100,
        checks=[NormBound(bound)],
    )
    assert result.declined == {}


@pytest.mark.parametrize("backend", [InsecurePlain(threshold=2), Masking()], ids=lambda one: one.name)
def test_other_backends_refuse_checks_on_shares_by_name(backend: Any) -> None:
    for check in (NormBound(1.0), Direction(REFERENCE, 0.5)):
        bound = (
            f"checks is '{check.name}': is proved on shares, which {backend.name} has not: SecretSharing has"
        )
        with pytest.raises(LocalError, match=bound):
            aggregate(updates(), backend, [check])
