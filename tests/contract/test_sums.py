"""Every backend returns the plain integer sum over the survivors, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import AbortError, LocalError
from mpc.tape import SeededTape
from secagg import FixedPoint, InsecurePlain, aggregate
from secagg.backend import Backend


@given(
    members=st.integers(2, 40),
    length=st.one_of(st.integers(1, 40), st.integers(1, 5000)),
    bits=st.integers(4, 24),
    silent=st.floats(0, 1),
    data=st.data(),
)
@settings(max_examples=20)
def test_any_shape_with_any_dropouts(
    make: Any, rig: SimpleNamespace, members: int, length: int, bits: int, silent: float, data: st.DataObject
) -> None:
    backend = make()
    spare = members - backend.resolve_threshold(members)
    phases = st.sampled_from(backend.client_phases)
    drop = data.draw(st.dictionaries(st.integers(0, members - 1), phases, max_size=int(spare * silent + 0.5)))
    outcome = rig.play(make, rig.vectors(members, length, bits), bits=bits, drop=drop)
    outcome.require_exact()
    order = backend.phases.index
    gone = {index for index, phase in drop.items() if order(phase) <= order(backend.input_phase)}
    assert set(outcome.survivors) == set(range(members)) - gone
    assert outcome.rejected == {}


@pytest.mark.parametrize("bits", [2, 3, 8, 16, 31, 33, 48])
@pytest.mark.parametrize("members", [2, 3, 4, 5, 8, 16])
def test_extreme_values_reach_the_edge_of_the_modulus(
    make: Any, rig: SimpleNamespace, members: int, bits: int
) -> None:
    limit = (1 << (bits - 1)) - 1
    pattern = np.array([limit, -limit, 0, limit, -limit, 1, -1], np.int64)
    outcome = rig.play(make, [pattern] * members, bits=bits)
    outcome.require_exact()
    assert outcome.total.max() == members * limit
    assert outcome.total.min() == -members * limit


@pytest.mark.parametrize("value", ["zero", "low", "high"])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 1000])
def test_constant_vectors(make: Any, rig: SimpleNamespace, length: int, value: str) -> None:
    entry = {"zero": 0, "low": -32767, "high": 32767}[value]
    outcome = rig.play(make, [np.full(length, entry, np.int32)] * 5)
    outcome.require_exact()
    assert set(outcome.total.tolist()) == {5 * entry}


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_signed_integers_of_any_width(make: Any, rig: SimpleNamespace, dtype: type) -> None:
    vectors = [vector.astype(dtype) for vector in rig.vectors(4, 30, 8)]
    rig.play(make, vectors, bits=8).require_exact()


def test_the_callers_vectors_stay_as_they_were(make: Any, rig: SimpleNamespace) -> None:
    vectors = rig.vectors(4, 30, 16)
    before = [vector.copy() for vector in vectors]
    for vector in vectors:
        vector.flags.writeable = False
    rig.play(make, vectors).require_exact()
    assert all(np.array_equal(one, other) for one, other in zip(vectors, before, strict=True))


def test_a_vector_that_is_not_contiguous(make: Any, rig: SimpleNamespace) -> None:
    rig.play(make, [vector[::-3] for vector in rig.vectors(4, 31, 16)]).require_exact()


def floats(members: int, length: int) -> dict[str, np.ndarray]:
    words = np.frombuffer(SeededTape(b"floats").read(8 * members * length), np.uint64)
    values = (words / 2**63 - 1).reshape(members, length)
    return {f"client {index}": row for index, row in enumerate(values)}


def test_the_same_rounding_gives_the_same_sum_as_no_protection(backend: Backend) -> None:
    updates = floats(7, 300)
    arguments: dict[str, Any] = {
        "encoding": FixedPoint(clip=0.9, bits=12),
        "weights": {name: 10 + 3 * place for place, name in enumerate(updates)},
        "max_weight": 1000,
        "metrics": {name: {"loss": 0.1 * place, "accuracy": 0.5} for place, name in enumerate(updates)},
        "metric_bounds": {"loss": 3.0, "accuracy": 1.0},
        "drop": {"client 2": "input", "client 5": "input"},
        "model_hash": bytes(range(32)),
        "round": 9,
    }
    one = aggregate(updates, backend=backend, encoder_tape=SeededTape(b"rounding"), **arguments)
    other = aggregate(updates, backend=InsecurePlain(), encoder_tape=SeededTape(b"rounding"), **arguments)
    assert np.array_equal(one.encoded_sum, other.encoded_sum)
    assert np.array_equal(one.mean, other.mean)
    assert (one.survivors, one.dropped, one.rejected) == (other.survivors, other.dropped, {})
    assert one.dropped == ("client 2", "client 5")
    assert (one.weight, one.metrics) == (other.weight, other.metrics)
    assert one.weight == 10 + 13 + 19 + 22 + 28


def test_a_cohort_of_strangers_is_refused(backend: Backend, rig: SimpleNamespace) -> None:
    cohort = rig.cohort(backend, 4, 3, 16)
    with pytest.raises(LocalError, match=r"client is 'nobody': is not one of the 4 members"):
        backend.client(cohort, "nobody", np.zeros(3, np.int64), tape=SeededTape(b""))


@pytest.mark.parametrize(
    ("vector", "complaint"),
    [
        (np.zeros(4, np.int64), r"vector.shape is \(4,\): must be \(3,\)"),
        (np.zeros((3, 1), np.int64), r"vector.shape is \(3, 1\): must be \(3,\)"),
        (np.zeros(3), r"vector is dtype\('float64'\): must be an array of signed integers"),
        (np.zeros(3, np.uint32), r"vector is dtype\('uint32'\): must be an array of signed integers"),
        ([0, 0, 0], r"vector is 'list': must be an array of signed integers"),
        (np.array([0, 8, 0]), r"vector is 'out of range': entries must be within ±7"),
        (np.array([0, 0, -8]), r"vector is 'out of range': entries must be within ±7"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(
    backend: Backend, rig: SimpleNamespace, vector: Any, complaint: str
) -> None:
    cohort = rig.cohort(backend, 4, 3, 4)
    with pytest.raises(LocalError, match=complaint):
        backend.client(cohort, "c1", vector, tape=SeededTape(b""))


def test_a_client_does_not_lower_its_threshold(make: Any, rig: SimpleNamespace) -> None:
    """Whoever made the cohort: a client of a backend for two thirds is in no round for less."""
    cohort = rig.cohort(make(), 9, 3, 16)
    for threshold in range(2, 10):
        told = replace(cohort, threshold=threshold)
        if threshold >= 6:
            make().client(told, "c1", np.zeros(3, np.int64), tape=SeededTape(b""))
            continue
        with pytest.raises(LocalError, match=f"cohort.threshold is {threshold}: .* at least 6"):
            make().client(told, "c1", np.zeros(3, np.int64), tape=SeededTape(b""))


def test_parties_start_once(backend: Backend, rig: SimpleNamespace) -> None:
    cohort = rig.cohort(backend, 4, 3, 16)
    client = backend.client(cohort, "c1", np.zeros(3, np.int64), tape=SeededTape(b""))
    assert len(client.start()) == 1
    with pytest.raises(LocalError, match="a client starts once"):
        client.start()


def test_servers_and_helpers_wait_to_be_spoken_to(backend: Backend, rig: SimpleNamespace) -> None:
    cohort = rig.cohort(backend, 4, 3, 16)
    server = backend.server(cohort, link_key=rig.link_key, tape=SeededTape(b""))
    helpers = backend.helpers(cohort, tape=SeededTape(b""))
    for party in (server, *helpers.values()):
        assert party.start() == []
        assert party.start() == []
        assert party.result is None


def test_too_few_contributions_are_never_opened(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    """Down to nobody at all: the round ends with a reason, and says how many there were."""
    vectors = rig.vectors(9, 5, 16)
    for left in range(6):
        outcome = rig.play(make, vectors, drop=dict.fromkeys(range(left, 9), backend.client_phases[0]))
        assert isinstance(outcome.abort, AbortError)
        assert outcome.abort.reason.startswith(f"{left} of 9 clients")
        assert outcome.abort.reason.endswith("the threshold is 6")


def test_exactly_the_threshold_is_enough(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    for phase in backend.client_phases:
        outcome = rig.play(make, rig.vectors(9, 5, 16), drop=dict.fromkeys((0, 4, 8), phase))
        outcome.require_exact()


@pytest.mark.parametrize("members", [2, 3, 10])
def test_the_threshold_is_the_callers(make: Any, rig: SimpleNamespace, members: int) -> None:
    unanimous = make(threshold=members)
    vectors = rig.vectors(members, 4, 8)
    rig.play(unanimous, vectors, bits=8).require_exact()
    outcome = rig.play(make(threshold=1.0), vectors, bits=8, drop={0: unanimous.input_phase})
    assert outcome.abort is not None
    assert f"the threshold is {members}" in outcome.abort.reason
    with pytest.raises(LocalError, match=f"{unanimous.minimum_argument} is {members + 1}: must be at most"):
        make(threshold=members + 1).resolve_threshold(members)
