"""What share checks promise at the edges: honest updates within the bound, several checks, large bounds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import AbortError, LocalError
from mpc.tape import SeededTape
from secagg import FixedPoint, SecretSharing, aggregate
from secagg.checks import Direction, NormBound
from secagg.checks.shares import MAX_NORM_STEPS


@given(
    size=st.integers(1, 6),
    bits=st.sampled_from([2, 3, 8, 16, 24]),
    share=st.floats(0.05, 1.0),
    seed=st.integers(0, 2**32),
)
def test_every_update_within_the_bound_is_within_the_steps(
    size: int, bits: int, share: float, seed: int
) -> None:
    """Rounded up or down at random: as far from zero as that can be."""
    encoding = FixedPoint(1.0, bits)
    update = np.random.default_rng(seed).normal(size=size)
    update *= share / np.linalg.norm(update)
    plan = encoding.plan([size], clients=3)
    bound = NormBound(float(np.linalg.norm(update)), plan).steps(plan)
    worst = np.sign(update) * np.ceil(np.abs(update) / encoding.step)
    assert float(np.square(worst).sum()) <= bound**2


def test_checks_do_not_depend_on_their_order() -> None:
    reference = np.array([1.0, 2.0, -1.0])
    updates = dict.fromkeys("abc", reference * 0.1) | {"d": reference * -0.1, "e": reference * 0.3}
    checks = [NormBound(0.3), Direction(reference, 0.9)]
    for order in (checks, checks[::-1]):
        result = aggregate(
            updates,
            backend=SecretSharing(threshold=2),
            encoding=FixedPoint(1.0, 32),
            checks=order,
            tape=SeededTape(b"order"),
        )
        assert result.survivors == ("a", "b", "c")
        assert set(result.declined) == {"d", "e"}


def test_a_second_direction_is_refused() -> None:
    checks = [Direction(np.array([1.0, 0.0]), 0.5), Direction(np.array([0.0, 1.0]), 0.5)]
    with pytest.raises(LocalError, match="one reference a round"):
        aggregate(dict.fromkeys("abc", np.ones(2)), backend=SecretSharing(), checks=checks)


def test_a_client_with_all_its_norm_in_one_coordinate_ends_no_round(rig: SimpleNamespace) -> None:
    """The bound is above the clip: the entry is larger than an encoder gives, and a proof of it holds."""
    plan = FixedPoint(0.1, 8).plan([2], clients=3)
    norm = NormBound(5.0, plan)
    backend = SecretSharing(threshold=2).setup(SeededTape(b"keys"))
    cohort = rig.cohort(backend, 3, plan.length, 8)
    server = backend._server(cohort, [norm], SeededTape(b"server"))
    largest = norm.steps(plan)
    assert largest > 3 * cohort.max_entry
    server._gate.on_aggregate((0, 1, 2), np.array([largest, 0, 3]))
    with pytest.raises(AbortError, match="larger than any contributions"):
        server._gate.on_aggregate((0, 1, 2), np.array([3 * largest + 1, 0, 3]))


@pytest.mark.parametrize("l2", [1e9, 1e300])
def test_a_bound_without_room_names_the_largest(l2: float) -> None:
    plan = FixedPoint(1.0, 16).plan([9], clients=3)
    with pytest.raises(LocalError, match=r"l2 is .*: at most 65538 can be proved, in steps of 3\.05e-05"):
        aggregate(dict.fromkeys("abc", np.ones(9)), backend=SecretSharing(), checks=[NormBound(l2)])
    assert NormBound(65537.0, plan).steps(plan) <= MAX_NORM_STEPS


def test_numbers_of_numpy_are_numbers() -> None:
    assert NormBound(np.float32(1.5)).l2 == 1.5
    assert Direction(np.ones(2), np.float64(0.5)).min_cosine == 0.5


def test_a_round_that_everybody_declines_says_why() -> None:
    with pytest.raises(AbortError, match=r"declined.*its norm is above the bound") as caught:
        aggregate(dict.fromkeys("abc", np.ones(9)), backend=SecretSharing(), checks=[NormBound(0.1)])
    assert set(caught.value.evidence["declined"]) == set("abc")  # type: ignore[call-overload]
