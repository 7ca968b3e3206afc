"""secagg.aggregate(): one call, clear answers, and clear words for what cannot be had."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg
from mpc.errors import AbortError, LocalError
from mpc.party import client_id
from mpc.tape import SeededTape
from secagg import Check, Conditions, FixedPoint, InsecurePlain, Masking, aggregate

UPDATES = {"ana": np.array([0.5, -0.25]), "bo": np.array([1.0, 0.0]), "cy": np.array([-1.0, 0.75])}


def run(updates: Any = None, **named: Any) -> Any:
    named.setdefault("backend", InsecurePlain())
    return aggregate(UPDATES if updates is None else updates, **named)


def test_the_mean_and_everything_around_it() -> None:
    result = run(weights={"ana": 1, "bo": 2, "cy": 5}, drop={"bo": "input"}, session=bytes(16), round=4)
    exact = (np.array([0.5, -0.25]) * 1 + np.array([-1.0, 0.75]) * 5) / 6
    assert np.abs(result.mean - exact).max() <= result.plan.error_bound(2, 6)
    assert result.weight == 6
    assert (result.survivors, result.dropped, result.rejected) == (("ana", "cy"), ("bo",), {})
    assert (result.cohort.session, result.cohort.round, result.cohort.threshold) == (bytes(16), 4, 2)
    assert result.cohort.members == ("ana", "bo", "cy")
    assert result.cohort.length == result.plan.length == len(result.encoded_sum) == 3
    assert result.encoded_sum.dtype == np.int64
    assert result.encoded_sum[-1] == 6
    assert result.clipped == {"ana": (0,), "bo": (0,), "cy": (0,)}
    assert result.metrics == {}
    assert "transcript" not in repr(result)


@given(
    clients=st.integers(2, 8),
    length=st.integers(1, 20),
    bits=st.integers(4, 24),
    weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_any_mean_is_within_its_bound(
    clients: int, length: int, bits: int, weighted: bool, seed: int
) -> None:
    tape = SeededTape(str(seed).encode())
    values = np.frombuffer(tape.read(8 * clients * length), np.uint64) / 2**63 - 1
    updates = {f"c{i}": row for i, row in enumerate(values.reshape(clients, length))}
    weights = {name: 1 + tape.below(50) for name in updates} if weighted else None
    result = run(updates, weights=weights, encoding=FixedPoint(1.0, bits), encoder_tape=tape)
    shares = list(weights.values()) if weights else None
    exact = np.average(list(updates.values()), axis=0, weights=shares)
    bound = result.plan.error_bound(clients, sum(shares) if shares else clients)
    assert np.abs(result.mean - exact).max() < bound + 1e-12


def test_what_is_cut_is_told() -> None:
    """Per tensor for updates, by name for metrics: nothing is cut silently."""
    updates = {"ana": [np.array([3.0, 0.1]), np.array([-9.0])], "bo": [np.zeros(2), np.zeros(1)]}
    metrics = {"ana": {"loss": 50.0, "acc": 0.5}, "bo": {"loss": 1.0, "acc": 0.5}}
    result = run(updates, metrics=metrics, metric_bounds={"loss": 10.0, "acc": 1.0})
    assert result.clipped == {"ana": (1, 1), "bo": (0, 0)}
    assert result.clipped_metrics == {"ana": ("loss",), "bo": ()}
    assert result.metrics["loss"] == pytest.approx(5.5, abs=1e-3)


def test_without_a_tape_every_round_is_new() -> None:
    one, other = (run(backend=Masking(), conditions=Conditions(keep_payloads=True)) for _ in range(2))
    assert one.cohort.session != other.cohort.session
    assert one.cohort.server_key != other.cohort.server_key
    payloads = [
        {bytes(r.message.payload) for r in x.transcript.records if len(r.message.payload) > 4}
        for x in (one, other)
    ]
    assert not payloads[0] & payloads[1]


def test_with_tapes_every_round_is_the_same() -> None:
    def once() -> Any:
        tapes = {"tape": SeededTape(b"protocol"), "encoder_tape": SeededTape(b"rounding")}
        return run(backend=Masking(), conditions=Conditions(keep_payloads=True), **tapes)

    one, other = once(), once()
    messages = [[r.message.encode() for r in x.transcript.records] for x in (one, other)]
    assert messages[0] == messages[1]
    assert np.array_equal(one.encoded_sum, other.encoded_sum)


def test_rounding_depends_on_its_own_tape_alone() -> None:
    sums = [
        run(backend=backend, tape=SeededTape(seed), encoder_tape=SeededTape(b"r")).encoded_sum.tolist()
        for backend in (InsecurePlain(), Masking())
        for seed in (b"1", b"2")
    ]
    assert all(found == sums[0] for found in sums)


def test_clients_round_independently() -> None:
    """Two clients with the same update do not round it alike, or errors would add up."""
    updates = {"ana": np.full(2000, 0.3), "bo": np.full(2000, 0.3)}
    total = run(updates, encoding=FixedPoint(1.0, 2), encoder_tape=SeededTape(b"r")).encoded_sum[:2000]
    assert set(total.tolist()) == {0, 1, 2}


def test_conditions_reach_the_network() -> None:
    ticks = iter(range(10**6))
    seen: list[Any] = []
    conditions = Conditions(
        clock=lambda: float(next(ticks)), observe=seen.append, keep_payloads=True, shuffle=SeededTape(b"s")
    )
    result = run(conditions=conditions)
    assert seen == result.transcript.records
    assert all(record.message is not None for record in seen)
    assert sum(result.transcript.seconds.values()) > 0


def test_a_round_without_a_sum_says_why() -> None:
    with pytest.raises(AbortError, match="1 of 3 clients contributed; the threshold is 2"):
        run(drop={"ana": "input", "bo": "input"})


def test_everybody_is_accounted_for() -> None:
    class No(Check):
        name = "no"

        def on_message(self, cohort: Any, client: str, message: Any) -> Any:
            return secagg.Reject(client, "no") if client == "c1" else secagg.ACCEPT

    updates = {f"c{index}": np.ones(2) for index in range(6)}
    result = run(updates, checks=[No()], drop={"c4": "input"})
    assert result.survivors == ("c0", "c2", "c3", "c5")
    assert result.dropped == ("c4",)
    assert set(result.rejected) == {"c1"}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"updates": {}}, "updates is 0: must map at least 2 client names to updates"),
    ({"updates": {"ana": np.ones(2)}}, "updates is 1: must map at least 2 client names to updates"),
    ({"updates": [np.ones(2)] * 3}, "updates is 'list': must map at least 2 client names to updates"),
    ({"updates": None}, "updates is 'NoneType': must map at least 2"),
    ({"updates": {"ana": np.ones(2), "bo": np.ones(3)}}, r"update of client 'bo', tensor 0 .* \(2,\)"),
    (
        {"updates": {"ana": np.ones(2), "bo": np.ones(2, np.float32)}},
        "update of client 'bo'.*float64 of shape",
    ),
    ({"updates": {"ana": np.ones(2), "bo": [np.ones(2)]}}, "update of client 'bo' is 'list of 1 tensors'"),
    (
        {"updates": {"ana": np.ones(2), "bo": np.array([1, np.nan])}},
        "'bo', tensor 0 is nan: coordinate 1 must",
    ),
    (
        {"updates": {"ana": np.ones(2), "bo": np.array([np.inf, 1])}},
        "'bo', tensor 0 is inf: coordinate 0 must",
    ),
    (
        {"updates": {"ana": np.ones(2), "bo": np.ones(2, int)}},
        "'bo', tensor 0 is 'int64': must be of a floating",
    ),
    (
        {"updates": {"ana": np.ones(0), "bo": np.ones(0)}},
        r"update is \[0\]: must have at least one coordinate",
    ),
    ({"updates": {"ana": np.ones(2), "": np.ones(2)}}, "client name is '': must be text of 1 to 200 bytes"),
    ({"updates": {1: np.ones(2), 2: np.ones(2)}}, "client name is 1: must be text"),
    ({"updates": {"\udc00": np.ones(2), "b": np.ones(2)}}, "must be text of 1 to 200 bytes"),
    ({"backend": None}, "backend is None: must be a Backend"),
    ({"backend": InsecurePlain}, "backend is <class .*: must be a Backend"),
    (
        {"backend": Masking(threshold=0.5), "updates": {x: np.ones(2) for x in "abcd"}},
        "must be more than half of the 4 clients",
    ),
    ({"backend": Masking(threshold=4)}, "threshold is 4: must be at most the cohort's 3 clients"),
    ({"encoding": 16}, "encoding is 16: must be a FixedPoint"),
    ({"tape": b"seed"}, "tape is b'seed': must be a RandomTape"),
    ({"encoder_tape": 7}, "encoder_tape is 7: must be a RandomTape"),
    ({"conditions": {}}, "conditions is {}: must be a Conditions"),
    ({"checks": Check()}, "checks is .*: must be a Sequence"),
    ({"checks": [Check]}, r"checks\[0\] is .*: must be a Check"),
    ({"session": b"short"}, "session is b'short': must be 16 bytes"),
    ({"round": -1}, "round is -1: must be a whole number from 0 to 4294967295"),
    ({"model_hash": bytes(20)}, "model_hash is .*: must be 32 bytes"),
    ({"weights": [1, 2, 3]}, r"weights is \[1, 2, 3\]: must be a Mapping"),
    ({"weights": {"ana": 1, "bo": 1}}, r"weights is \['cy'\]: must name the same clients as updates"),
    ({"weights": dict.fromkeys("ab", 1)}, r"weights is \['a', 'ana', 'b', 'bo', 'cy'\]: must name the same"),
    (
        {"weights": {"ana": 1, "bo": 0, "cy": 1}},
        "weight of client 'bo' is 0: must be a whole number from 1 to",
    ),
    (
        {"weights": {"ana": 1, "bo": -3, "cy": 1}},
        "weight of client 'bo' is -3: must be a whole number from 1",
    ),
    ({"weights": {"ana": 1, "bo": True, "cy": 1}}, "weight of client 'bo' is True: must be a whole number"),
    ({"weights": {"ana": 1, "bo": "2", "cy": 1}}, "weight of client 'bo' is '2': must be a whole number"),
    ({"weights": {"ana": 1, "bo": 2.0, "cy": 1}}, "weight of client 'bo' is 2.0: must be a whole number"),
    ({"weights": {"ana": 1, "bo": float("nan"), "cy": 1}}, "weight of client 'bo' is nan: must be a whole"),
    ({"weights": {"ana": 1, "bo": 9, "cy": 1}, "max_weight": 8}, "'bo' is 9: .* from 1 to max_weight = 8"),
    (
        {"weights": {"ana": 1, "bo": 2**60, "cy": 1}},
        r"max_weight is .*: must be a whole number from 1 to 2\^53",
    ),
    ({"max_weight": 0}, r"max_weight is 0: must be a whole number from 1 to 2\^53"),
    ({"max_weight": 2.5}, r"max_weight is 2.5: must be a whole number from 1 to 2\^53"),
    ({"metrics": [1]}, r"metrics is \[1\]: must be a Mapping"),
    ({"metrics": {"ana": {}}}, r"metrics is \['bo', 'cy'\]: must name the same clients as updates"),
    ({"metrics": dict.fromkeys(UPDATES, 3)}, "metrics of client 'ana' is 3: must be a Mapping"),
    (
        {"metrics": {name: {"loss": 1.0} for name in UPDATES}},
        r"metrics of client 'ana' is \['loss'\]: must be exactly \[\]",
    ),
    ({"metric_bounds": {"loss": 1.0}}, r"metrics of client 'ana' is \[\]: must be exactly \['loss'\]"),
    ({"metric_bounds": {"loss": -1.0}}, r"metrics\['loss'\] is -1.0: must be a finite number above 0"),
    ({"metric_bounds": ["loss"]}, r"metric_bounds is \['loss'\]: must be a Mapping"),
    (
        {"metrics": {name: {"l": float("nan")} for name in UPDATES}, "metric_bounds": {"l": 1}},
        "metric 'l' of client 'ana' is nan: ",
    ),
    (
        {"metrics": {name: {"l": "1"} for name in UPDATES}, "metric_bounds": {"l": 1}},
        "metric 'l' of client 'ana' is 'str': must be a real",
    ),
    ({"drop": ["ana"]}, r"drop is \['ana'\]: must be a Mapping"),
    ({"drop": {"dan": "input"}}, "drop is 'dan': names none of the 3 clients"),
    ({"drop": {"ana": "unmask"}}, r"drop\['ana'\] is 'unmask': must be one of input, plain-input, check"),
    ({"drop": {"ana": None}}, r"drop\['ana'\] is None: must be one of input"),
    (
        {"encoding": FixedPoint(bits=48), "updates": {f"c{i}": np.ones(1) for i in range(2**16 + 1)}},
        "could overflow; at most 63",
    ),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_input_is_named_with_its_bound(case: int) -> None:
    """Argument, value and bound, and nothing of it reaches a network."""
    named, complaint = BAD[case]
    observed: list[Any] = []
    arguments = {"updates": UPDATES, "backend": InsecurePlain(), "encoder_tape": SeededTape(b"r")}
    arguments |= {"conditions": Conditions(observe=observed.append), **named}
    with pytest.raises(LocalError, match=complaint) as caught:
        aggregate(**arguments)
    assert caught.value.argument
    assert caught.value.bound
    assert observed == []


def test_names_are_free_text() -> None:
    updates = {"Ana María": np.ones(1), "客户端": np.ones(1), "c,1\n": np.zeros(1)}
    assert run(updates).survivors == tuple(updates)


def test_numpy_integers_are_weights() -> None:
    weights = {name: np.int32(place + 1) for place, name in enumerate(UPDATES)}
    assert run(weights=weights).weight == 6


def test_the_callers_mappings_may_be_of_any_order() -> None:
    weights = {"cy": 3, "ana": 1, "bo": 2}
    result = run(weights=weights, encoder_tape=SeededTape(b"r"))
    other = run(weights=dict(sorted(weights.items())), encoder_tape=SeededTape(b"r"))
    assert np.array_equal(result.encoded_sum, other.encoded_sum)


def test_an_observer_that_fails_is_heard(rig: SimpleNamespace) -> None:
    def fails(record: Any) -> None:
        if record.sender == client_id(1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(conditions=Conditions(observe=fails))


def test_a_clip_that_the_inputs_dtype_cannot_hold_is_refused() -> None:
    updates = {name: np.zeros(3, np.float16) for name in ("ana", "bo", "cy")}
    with pytest.raises(LocalError, match=r"clip is 131072.0: must be at most 65504"):
        aggregate(updates, backend=InsecurePlain(), encoding=FixedPoint(clip=2.0**17))
