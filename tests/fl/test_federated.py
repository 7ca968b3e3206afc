"""The loop for any model: the same weights on every backend, dropouts, aborted rounds, what is told."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fl.federated
import fl.loop
from fl.attacks import Attack
from fl.client import Evaluation, LocalUpdate
from fl.config import ATTACKS, MALFORMED
from fl.data import Dataset, Purpose, generator
from fl.events import (
    AggregationStarted,
    ClientTrained,
    Event,
    RoundFinished,
    RoundReport,
    RoundStarted,
)
from fl.fedavg import apply_update, weighted_mean
from fl.federated import FederatedLoop, weights_hash
from fl.model import Weights
from mpc.errors import LocalError
from secagg import ACCEPT, AggregateResult, Check, FixedPoint, Masking, Reject
from secagg.backend import Backend
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing

FEATURES, CLASSES = 6, 3
NAMES = tuple(f"client-{place}" for place in range(9))
MAKERS: dict[str, Callable[[], Backend]] = {
    "masking": Masking,
    "paillier": lambda: Paillier(insecure_key_bits=512),
    "paillier-3": lambda: ThresholdPaillier(3, 2, insecure_key_bits=256),
    "sharing": SecretSharing,
    "plain": InsecurePlain,
}


# A model in a dozen lines, so that the loop is tested with training that is not torch's.


def samples(count: int, seed: int) -> Dataset:
    rng = np.random.default_rng([seed, 77])
    labels = rng.integers(CLASSES, size=count)
    centres = np.random.default_rng(7).normal(size=(CLASSES, FEATURES))
    features = centres[labels] + rng.normal(size=(count, FEATURES))
    return Dataset(features.astype(np.float32), labels)


def probabilities(weights: Weights, data: Dataset) -> np.ndarray:
    logits = data.features @ weights[0] + weights[1]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def evaluate(weights: Weights, data: Dataset) -> Evaluation:
    chances = probabilities(weights, data)
    loss = -np.log(chances[np.arange(len(data)), data.labels]).mean()
    return Evaluation(float((chances.argmax(axis=1) == data.labels).mean()), float(loss))


def softmax_training(weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
    """Five steps of gradient descent, each on a random half of the data."""
    rng = np.random.default_rng(seed)
    trained = [array.copy() for array in weights]
    for _ in range(5):
        half = data.take(rng.permutation(len(data))[: -(-len(data) // 2)])
        error = probabilities(trained, half)
        error[np.arange(len(half)), half.labels] -= 1
        trained[0] -= (0.3 * half.features.T @ error / len(half)).astype(np.float32)
        trained[1] -= (0.3 * error.mean(axis=0)).astype(np.float64)
    update = [new - old for new, old in zip(trained, weights, strict=True)]
    after = evaluate(trained, data)
    return LocalUpdate(update, len(data), {"loss": after.loss, "accuracy": after.accuracy})


def initial() -> Weights:
    return [np.zeros((FEATURES, CLASSES), np.float32), np.zeros(CLASSES)]


def loop_of(backend: Backend, **options: Any) -> FederatedLoop:
    held_out = samples(50, 99)
    defaults: dict[str, Any] = {
        "clients": {name: samples(5 + 3 * place, place) for place, name in enumerate(NAMES)},
        "training": softmax_training,
        "evaluate": lambda weights: evaluate(weights, held_out),
        "weights": initial(),
        "encoding": FixedPoint(clip=1.0, bits=16),
        "seed": 3,
    }
    return FederatedLoop(backend=backend, **(defaults | options))


def outcome(loop: FederatedLoop) -> list[dict[str, Any]]:
    """The history without what may differ from run to run and from backend to backend."""
    technical = ("seconds", "training_seconds", "upload_bytes_per_client", "phase_bytes", "phase_seconds")
    return [
        {name: value for name, value in report.to_dict().items() if name not in technical}
        for report in loop.history
    ]


def assert_same_weights(left: Weights, right: Weights) -> None:
    assert weights_hash(left) == weights_hash(right)
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


# The same model on every backend.


@pytest.mark.parametrize("attack", [None, *MALFORMED])
@pytest.mark.parametrize("name", MAKERS)
def test_every_backend_gives_the_same_model(name: str, attack: str | None) -> None:
    """Three rounds with dropouts; with a client that attacks, or with none."""
    attackers = frozenset({"client-4"})
    loop, reference = (
        loop_of(make(), dropout=0.2, fraction=1.0, attack=Attack(attack, attackers) if attack else None)
        for make in (MAKERS[name], InsecurePlain)
    )
    list(loop.run(3))
    list(reference.run(3))
    assert_same_weights(loop.weights, reference.weights)
    for report, other in zip(outcome(loop), outcome(reference), strict=True):
        # Who is refused is the same everywhere; the words depend on what was refused.
        assert [one["client"] for one in report.pop("rejected")] == (["client-4"] if attack else [])
        other.pop("rejected")
        assert report == other
        assert report["aborted"] is None
        assert len(report["survivors"]) + len(report["dropped"]) + bool(attack) == 9
        assert len(report["dropped"]) in (1, 2)


@pytest.mark.parametrize("name", MAKERS)
def test_the_model_is_federated_averaging(name: str) -> None:
    """Against the average in the clear, computed from the same local updates in floating point."""
    seen: list[tuple[Weights, Dataset, LocalUpdate]] = []

    def training(weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
        seen.append((weights, data, softmax_training(weights, data, seed)))
        return seen[-1][2]

    loop = loop_of(
        MAKERS[name](),
        training=training,
        encoding=FixedPoint(clip=2.0, bits=32),
        server_learning_rate=1.5,
        dropout=0.3,
        seed=11,
    )
    before = loop.weights
    for event in loop.run(4):
        if not isinstance(event, RoundFinished):
            continue
        report = event.report
        updates = [update for _, _, update in seen]
        assert all(weights is before for weights, _, _ in seen)
        assert [len(data) for _, data, _ in seen] == [len(loop.clients[who]) for who in report.survivors]
        mean = weighted_mean([one.update for one in updates], [one.weight for one in updates])
        expected = apply_update(before, mean, 1.5)
        for found, wanted in zip(loop.weights, expected, strict=True):
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
        total = sum(one.weight for one in updates)
        for metric, told in (("loss", report.train_loss), ("accuracy", report.train_accuracy)):
            exact = sum(one.weight * one.metrics[metric] for one in updates) / total
            assert told == pytest.approx(exact, abs=1e-6)
        assert report.accuracy == loop.evaluate(loop.weights).accuracy
        assert report.loss == loop.evaluate(loop.weights).loss
        before = loop.weights
        seen.clear()


def test_a_seed_decides_everything_but_the_keys() -> None:
    runs = []
    for seed in (5, 5, 6):
        loop = loop_of(Masking(), dropout=0.2, fraction=0.8, seed=seed)
        list(loop.run(2))
        runs.append((weights_hash(loop.weights), outcome(loop)))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]


def test_rounds_and_clients_have_seeds_of_their_own() -> None:
    seeds: list[int] = []

    def training(weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
        seeds.append(seed)
        return softmax_training(weights, data, seed)

    list(loop_of(InsecurePlain(), training=training).run(3))
    assert len(set(seeds)) == len(seeds) == 27
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_client_has_the_same_seed_whoever_else_is_sampled() -> None:
    seeds: list[dict[int, int]] = []
    for fraction in (1.0, 0.5):
        found: dict[int, int] = {}

        def training(
            weights: Weights, data: Dataset, seed: int, found: dict[int, int] = found
        ) -> LocalUpdate:
            found[len(data)] = seed
            return softmax_training(weights, data, seed)

        list(loop_of(InsecurePlain(), training=training, fraction=fraction).run(1))
        seeds.append(found)
    assert len(seeds[1]) == 4
    assert seeds[1].items() <= seeds[0].items()


# Who takes part.


def test_a_fraction_of_the_clients_is_sampled_in_each_round() -> None:
    loop = loop_of(InsecurePlain(), fraction=0.5)
    list(loop.run(12))
    for report in loop.history:
        assert len(report.participants) == 4
        assert report.participants == tuple(sorted(report.participants)) == report.survivors
    assert len({report.participants for report in loop.history}) > 5
    assert {name for report in loop.history for name in report.participants} == set(NAMES)


def test_the_share_of_dropouts_is_what_was_asked_for() -> None:
    loop = loop_of(InsecurePlain(threshold=2), dropout=0.3)
    list(loop.run(60))
    counts = [len(report.dropped) for report in loop.history]
    assert set(counts) == {2, 3}  # 2.7 on average
    assert 2.5 < np.mean(counts) < 2.9
    assert {name for report in loop.history for name in report.dropped} == set(NAMES)


def spy_on_aggregate(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    honest = fl.federated.aggregate

    def spy(updates: Mapping[str, Any], **options: Any) -> AggregateResult:
        calls.append({"updates": updates, **options})
        return honest(updates, **options)

    monkeypatch.setattr(fl.federated, "aggregate", spy)
    return calls


def test_dropouts_go_silent_in_any_phase_up_to_their_input(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spy_on_aggregate(monkeypatch)
    list(loop_of(Masking(), dropout=0.3).run(12))
    phases = {phase for call in calls for phase in call["drop"].values()}
    assert phases == {"advertise-keys", "share-keys", "masked-input"}


def test_honest_clients_drop_out_before_attackers_do() -> None:
    attack = Attack("corrupt-bytes", frozenset({"client-0", "client-1", "client-2"}))
    loop = loop_of(InsecurePlain(threshold=2), dropout=0.4, attack=attack)
    list(loop.run(30))
    for report in loop.history:
        assert {one.client for one in report.rejected} == attack.clients
        assert len(report.dropped) in (3, 4)
        assert len(report.survivors) == 6 - len(report.dropped)


def test_where_honest_clients_do_not_suffice_attackers_drop_out_as_well() -> None:
    attack = Attack("wrong-length", frozenset(NAMES[:6]))
    loop = loop_of(InsecurePlain(threshold=2), dropout=0.6, attack=attack)
    list(loop.run(1))
    report = loop.history[0]
    assert set(NAMES[6:]) < set(report.dropped)
    assert {one.client for one in report.rejected} == attack.clients - set(report.dropped)


def test_a_dropout_trains_nothing() -> None:
    loop = loop_of(InsecurePlain(), dropout=0.2)
    events = list(loop.run(1))
    trained = [event.client for event in events if isinstance(event, ClientTrained)]
    assert tuple(trained) == loop.history[0].survivors


# What the secure sum is asked for.


def test_what_the_sum_is_bound_to(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spy_on_aggregate(monkeypatch)
    loop = loop_of(InsecurePlain())
    hashes = [weights_hash(loop.weights) for event in loop.run(3) if isinstance(event, RoundStarted)]
    list(loop_of(InsecurePlain()).run(1))
    assert [call["model_hash"] for call in calls[:3]] == hashes
    assert len(set(hashes)) == 3
    assert [call["round"] for call in calls] == [1, 2, 3, 1]
    sessions = [call["session"] for call in calls]
    assert sessions[0] == sessions[1] == sessions[2] != sessions[3]
    assert all(len(session) == 16 for session in sessions)
    rounding = [call["encoder_tape"].child("any").read(16) for call in calls]
    assert len(set(rounding[:3])) == 3
    assert rounding[3] == rounding[0]  # of seed and round alone
    for call in calls:
        assert "tape" not in call  # so keys and masks come from the system
        assert call["max_weight"] == 5 + 3 * 8
        assert dict(call["weights"]) == {name: 5 + 3 * place for place, name in enumerate(NAMES)}


def test_long_term_keys_are_made_once() -> None:
    setups: list[Backend] = []

    class Counting(SecretSharing):
        def setup(self, tape: Any = None) -> Any:
            if self._public is None:
                setups.append(self)
            return super().setup(tape)

    loop = loop_of(Counting())
    list(loop.run(2))
    list(loop.run(3))
    assert len(setups) == 1
    assert len(loop.history) == 3


def test_the_hash_of_weights_covers_types_shapes_and_values() -> None:
    base = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(2)]
    same = [np.asfortranarray(base[0]), base[1].astype(">f8")]
    assert weights_hash(base) == weights_hash(same)
    others = [
        [base[0].reshape(3, 2), base[1]],
        [base[0].astype(np.float64), base[1]],
        [base[0] + np.float32(1e-7), base[1]],
        [base[0]],
        [base[1], base[0]],
    ]
    assert len({weights_hash(weights) for weights in (base, *others)}) == 6


def test_checks_are_asked_in_each_round() -> None:
    class NoSecond(Check):
        name = "no-second"

        def on_message(self, cohort: Any, client: str, message: Any) -> Any:
            return Reject(client, "not in round 2") if (cohort.round, client) == (2, "client-3") else ACCEPT

    loop = loop_of(InsecurePlain(), checks=[NoSecond()])
    list(loop.run(3))
    refused = [[(one.client, one.check, one.reason) for one in report.rejected] for report in loop.history]
    assert refused == [[], [("client-3", "no-second", "not in round 2")], []]


# Aborted rounds.


@pytest.mark.parametrize("name", MAKERS)
def test_an_aborted_round_leaves_the_model_and_the_loop_goes_on(name: str) -> None:
    loop = loop_of(MAKERS[name](), dropout=0.4)  # 3.6 of 9: with 3 dropouts the threshold of 6 is met
    models = [loop.weights]
    models += [loop.weights for event in loop.run(8) if isinstance(event, RoundFinished)]
    aborted = [report for report in loop.history if report.aborted]
    assert 0 < len(aborted) < 8
    for report, before, after in zip(loop.history, models[:-1], models[1:], strict=True):
        assert (weights_hash(before) == weights_hash(after)) == bool(report.aborted)
        assert len(report.dropped) == (4 if report.aborted else 3)
    for report in aborted:
        assert report.aborted == "5 of 9 clients contributed; the threshold is 6" or name == "masking"
        assert "the threshold is 6" in report.aborted
        assert (report.survivors, report.rejected) == ((), ())
        assert report.train_accuracy is report.train_loss is None
        assert report.accuracy == evaluate(models[report.round], samples(50, 99)).accuracy


@pytest.mark.parametrize("attack", MALFORMED)
@pytest.mark.parametrize("name", MAKERS)
def test_an_aborted_round_names_whom_it_refused(name: str, attack: str) -> None:
    attackers = frozenset(NAMES[:4])
    loop = loop_of(MAKERS[name](), attack=Attack(attack, attackers))
    list(loop.run(1))
    report = loop.history[0]
    assert report.aborted is not None
    assert "the threshold is 6" in report.aborted
    assert {one.client for one in report.rejected} == attackers
    link = attack in ("replayed", "corrupt-bytes")
    assert {one.check for one in report.rejected} == {"link" if link else "structural"}
    assert report.upload_bytes_per_client > 0
    assert report.phase_bytes[loop.backend.client_phases[0]]["client"] > 0


def test_an_abort_for_another_reason_says_which() -> None:
    class Never(Check):
        name = "never"

        def on_aggregate(self, cohort: Any, survivors: Any, total: Any) -> Any:
            return Reject(survivors[0], "too late")

    loop = loop_of(InsecurePlain(), checks=[Never()])
    list(loop.run(1))
    assert loop.history[0].aborted == (
        "check 'never' refused a client after the sum was open: too late (client = 'client-0')"
    )
    assert loop.history[0].rejected == ()


# Interruptions, and arguments that cannot be used.


def test_an_unfinished_round_leaves_no_trace() -> None:
    reference = loop_of(Masking(), dropout=0.2)
    list(reference.run(3))
    stops = (RoundStarted, ClientTrained, AggregationStarted, RoundFinished)
    for stop in stops:
        loop = loop_of(Masking(), dropout=0.2)
        list(loop.run(1))
        events = loop.run(3)
        for event in events:
            if isinstance(event, stop):
                break
        events.close()  # type: ignore[attr-defined]
        assert len(loop.history) == (2 if stop is RoundFinished else 1)
        list(loop.run(3))
        assert_same_weights(loop.weights, reference.weights)
        assert outcome(loop) == outcome(reference)


@pytest.mark.parametrize("name", MAKERS)
def test_a_round_whose_sum_was_opened_in_vain_is_run_again(name: str) -> None:
    """Under a new session: a key holder opens one sum of each session and round."""
    reference = loop_of(MAKERS[name]())
    list(reference.run(2))
    loop = loop_of(MAKERS[name]())
    honest, interruptions = loop.evaluate, iter([False, True])

    def evaluation(weights: Weights) -> Evaluation:
        if next(interruptions, False):
            raise KeyboardInterrupt
        return honest(weights)

    loop.evaluate = evaluation
    with pytest.raises(KeyboardInterrupt):
        list(loop.run(2))
    assert len(loop.history) == 1
    list(loop.run(2))
    assert_same_weights(loop.weights, reference.weights)
    assert outcome(loop) == outcome(reference)


def spoilt(**changes: Any) -> Callable[..., LocalUpdate]:
    """Training where that of client-2, and no other, returns something else."""

    def training(weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
        found = softmax_training(weights, data, seed)
        return replace(found, **changes) if len(data) == 11 else found

    return training


NAN = [np.full((FEATURES, CLASSES), np.nan, np.float32), np.zeros(CLASSES)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"update": NAN},
            "update of client 'client-2', tensor 0 is nan: coordinate 0 must be a finite number",
        ),
        (
            {"update": [np.zeros((FEATURES, CLASSES)), np.array([0, np.inf, 0])]},
            "update of client 'client-2', tensor 1 is inf: coordinate 1 must be a finite number",
        ),
        (
            {"update": [np.full((FEATURES, CLASSES), 1e300), np.zeros(CLASSES)]},
            "update of client 'client-2', tensor 0 is inf: coordinate 0 must be a finite number",
        ),
        (
            {"metrics": {"loss": np.nan, "accuracy": 0.5}},
            "metric 'loss' of client 'client-2' is nan: must be a finite number",
        ),
        ({"weight": 0}, "weight of client 'client-2' is 0: must be at least 1"),
    ],
)
@pytest.mark.parametrize("name", MAKERS)
def test_a_client_that_diverges_is_refused_and_the_round_goes_on(
    name: str, changes: dict[str, Any], reason: str
) -> None:
    loop, reference = (
        loop_of(make(), training=spoilt(**changes), dropout=0.2) for make in (MAKERS[name], InsecurePlain)
    )
    list(loop.run(2))
    list(reference.run(2))
    assert_same_weights(loop.weights, reference.weights)
    assert outcome(loop) == outcome(reference)
    for report in loop.history:
        assert report.aborted is None
        silent = "client-2" in report.dropped
        told = [(one.client, one.check, one.reason) for one in report.rejected]
        assert told == ([] if silent else [("client-2", "local", reason)])
        assert {*report.survivors, *report.dropped, "client-2"} == set(NAMES)
        assert "client-2" not in report.survivors


def test_a_refused_update_is_not_in_the_mean() -> None:
    loop = loop_of(InsecurePlain(), training=spoilt(update=NAN), encoding=FixedPoint(clip=2.0, bits=32))
    before = loop.weights
    others = []
    for place, name in enumerate(NAMES):
        seed = int(generator(3, Purpose.TRAINING, 1, place).integers(2**63))
        others.append(softmax_training(before, loop.clients[name], seed))
    del others[2]
    list(loop.run(1))
    mean = weighted_mean([one.update for one in others], [one.weight for one in others])
    for found, wanted in zip(loop.weights, apply_update(before, mean), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
def test_where_all_diverge_the_round_is_aborted_and_everybody_named(attack: str) -> None:
    loop = loop_of(
        Masking(),
        training=lambda weights, data, seed: replace(softmax_training(weights, data, seed), update=NAN),
        attack=Attack(attack, frozenset({"client-1"})),
    )
    list(loop.run(1))
    assert loop.history[0].aborted is not None
    assert {one.client: one.check for one in loop.history[0].rejected} == dict.fromkeys(NAMES, "local")
    assert_same_weights(loop.weights, initial())


def test_what_training_raises_reaches_the_caller() -> None:
    def training(*_: Any) -> LocalUpdate:
        raise ZeroDivisionError("of the caller's own")

    with pytest.raises(ZeroDivisionError, match="of the caller's own"):
        list(loop_of(InsecurePlain(), training=training).run(1))


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (([], 1), "training of client 'client-0' is 'tuple': must return a LocalUpdate"),
        ([np.zeros(3)], "training of client 'client-0' is 'list': must return a LocalUpdate"),
        (LocalUpdate({"w": np.zeros(3)}, 1, {}), "update of client 'client-0' is 'dict': must be a list"),
        (LocalUpdate([np.zeros(3)], 1, {}), "update of client 'client-0' is '1 tensors': must be 2"),
        (LocalUpdate([np.zeros(3), 1.0], 1, {}), r"update of .* is 'of shape \(3,\)': the weights say"),
        (LocalUpdate([[1.0], 1.0], 1, {}), "update of .*, tensor 0 is 'list': must be a float array"),
        (LocalUpdate(initial(), 1.5, {}), "weight of client 'client-0' is 'float': must be a whole number"),
        (LocalUpdate(initial(), 30, {}), "weight of client 'client-0' is 30: .* at most max_weight = 29"),
        (
            LocalUpdate(initial(), 1, {"mae": 1.0}),
            r"metrics of client 'client-0' is \['mae'\]: .*metric_bounds; missing: loss, accuracy",
        ),
        (LocalUpdate(initial(), 1, None), "metrics of client 'client-0' is 'NoneType'"),
        (LocalUpdate(initial(), 1, {"loss": "high", "accuracy": 1}), "metric 'loss' of .* is 'str'"),
    ],
)
def test_what_training_must_not_return(returned: Any, text: str) -> None:
    loop = loop_of(InsecurePlain(), training=lambda *_: returned)
    with pytest.raises(LocalError, match=f"^{text}"):
        list(loop.run(1))
    assert loop.history == []


def test_evaluation_must_be_one() -> None:
    with pytest.raises(LocalError, match=r"^evaluate is 'float': must return an Evaluation"):
        list(loop_of(InsecurePlain(), evaluate=lambda weights: 0.5).run(1))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fraction": 0.0}, "fraction is 0.0"),
        ({"fraction": "all"}, "fraction is 'all'"),
        ({"fraction": 0.1}, "fraction is 0.1: of 9 clients it takes 1; a sum needs 2"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"dropout": 0.9}, "dropout is 0.9: leaves at most 1 of a round's 9 clients; the threshold is 6"),
        ({"metric_bounds": {"loss": 0.0}}, r"metric_bounds\['loss'\] is 0.0"),
        ({"metric_bounds": ["loss"]}, "metric_bounds is 'list'"),
        ({"server_learning_rate": -1.0}, "server_learning_rate is -1.0"),
        ({"backend": "masking"}, r"backend is 'masking': must be a Backend, such as Masking\(\)"),
        ({"backend": Masking}, r"backend is 'Masking': is a class: call it"),
        ({"clients": [1, 2]}, "clients is 'list': must map names to data"),
        ({"clients": {"ana": [1]}}, "clients is 1: must map at least 2"),
        ({"clients": {"ana": iter([1]), "bo": [1]}}, "max_weight is None: must be given, .* client 'ana'"),
        ({"max_weight": 0}, "max_weight is 0"),
        ({"max_weight": 2.5}, "max_weight is 2.5"),
        ({"weights": {"w": np.zeros(2)}}, "weights is 'dict': must be a list of float arrays"),
        ({"weights": [[1.0]]}, r"weights\[0\] is 'list'"),
        ({"weights": [np.zeros(2, int)]}, r"weights\[0\] is 'int64'"),
        ({"weights": []}, "weights is 'empty'"),
        ({"encoding": None}, "encoding is 'NoneType': must be a FixedPoint"),
        ({"checks": [Check]}, r"checks\[0\] is 'Check': must be a Check"),
        ({"checks": 1}, "checks is 'int'"),
        ({"training": None}, "training is 'NoneType': must be callable"),
        ({"evaluate": 0.5}, "evaluate is 'float': must be callable"),
        ({"attack": "replayed"}, "attack is 'replayed'"),
        ({"attack": Attack("replayed", frozenset({"zoe"}))}, r"attack.clients is \['zoe'\]"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": -1}, "seed is -1"),
        ({"history": None}, "history is 'NoneType'"),
    ],
)
def test_fields_that_cannot_be_used_are_named_at_once(options: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalError, match=f"^{text}"):
        loop_of(**({"backend": InsecurePlain()} | options))


def test_fields_are_looked_at_again_when_the_loop_runs() -> None:
    loop = loop_of(InsecurePlain())
    loop.dropout = 0.9
    with pytest.raises(LocalError, match=r"^dropout is 0.9"):
        list(loop.run(1))
    with pytest.raises(LocalError, match=r"^rounds is 1.5"):
        list(loop_of(InsecurePlain()).run(1.5))  # type: ignore[arg-type]


# Any model and data.


def test_data_without_a_length_and_metrics_of_ones_own() -> None:
    """A linear regression on generators, weighted by what training says, and measured by its own metric."""
    truth = np.array([2.0, -1.0])

    class Stream:
        def __init__(self, seed: int) -> None:
            self.seed = seed

    def training(weights: Weights, data: Stream, seed: int) -> LocalUpdate:
        rng = np.random.default_rng([data.seed, seed % 1000])
        points = rng.normal(size=(40, 2))
        error = points @ (weights[0] - truth)
        step = -0.4 * points.T @ error / 40
        return LocalUpdate([step], 10 + data.seed, {"mae": np.abs(error).mean(), "unused": 7})

    loop = FederatedLoop(
        clients={name: Stream(place) for place, name in enumerate(NAMES)},
        training=training,
        evaluate=lambda weights: Evaluation(loss=float(np.abs(weights[0] - truth).max())),
        weights=[np.zeros(2)],
        backend=Masking(),
        encoding=FixedPoint(clip=4.0, bits=24),
        max_weight=100,
        metric_bounds={"mae": 50.0},
    )
    list(loop.run(12))
    assert loop.history[-1].loss < 0.05
    assert np.isnan(loop.history[-1].accuracy)
    maes = [report.train_metrics["mae"] for report in loop.history]
    assert maes[-1] < 0.1 < 1 < maes[0]
    assert [report.train_metrics.keys() for report in loop.history] == [{"mae"}] * 12
    assert all(report.train_loss is report.train_accuracy is None for report in loop.history)


def test_no_metrics_at_all() -> None:
    loop = loop_of(SecretSharing(), metric_bounds={})
    list(loop.run(1))
    assert loop.history[0].train_metrics == {}
    assert loop.history[0].aborted is None


def test_updates_of_a_wider_type_count_in_that_of_the_weights() -> None:
    def wider(weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
        found = softmax_training(weights, data, seed)
        return replace(found, update=tuple(tensor.astype(np.float64) for tensor in found.update))

    loop, reference = (
        loop_of(InsecurePlain(), training=wider, dropout=0.2),
        loop_of(InsecurePlain(), dropout=0.2),
    )
    list(loop.run(1))
    list(reference.run(1))
    assert_same_weights(loop.weights, reference.weights)


def test_what_is_shown_holds_no_data() -> None:
    loop = loop_of(InsecurePlain())
    list(loop.run(1))
    text = repr(loop)
    assert text.startswith("FederatedLoop(backend=InsecurePlain(")
    assert "array" not in text
    assert "Dataset" not in text
    assert len(text) < 400


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    text = inspect.getdoc(FederatedLoop)
    assert text is not None
    example = textwrap.dedent(text[text.index("    import torch") :])
    exec(compile(example, "example", "exec"), {})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [number for number, _ in lines] == ["1", "2", "3"]
    assert float(lines[-1][1]) > 0.4


# What is told.


def test_events_come_in_order() -> None:
    loop = loop_of(SecretSharing(), fraction=0.5)
    events = list(loop.run(2))
    expected: list[Event] = []
    for report in loop.history:
        expected.append(RoundStarted(report.round, report.participants))
        expected += [
            ClientTrained(report.round, name, done, 4)
            for done, name in enumerate(report.participants, start=1)
        ]
        expected += [AggregationStarted(report.round, "sharing"), RoundFinished(report)]
    assert events == expected
    assert list(loop.run(2)) == []


@pytest.mark.parametrize("name", MAKERS)
def test_bytes_are_those_that_the_backend_declares(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    results: list[AggregateResult] = []
    honest = fl.federated.aggregate

    def spy(*arguments: Any, **options: Any) -> AggregateResult:
        results.append(honest(*arguments, **options))
        return results[-1]

    monkeypatch.setattr(fl.federated, "aggregate", spy)
    loop = loop_of(MAKERS[name]())
    list(loop.run(1))
    report, cohort = loop.history[0], results[0].cohort
    declared: dict[str, dict[str, int]] = {}
    uploaded = 0
    for link, traffic in loop.backend.cost(cohort).traffic().items():
        by_role = declared.setdefault(link.phase, {})
        by_role[link.sender.title] = by_role.get(link.sender.title, 0) + traffic.bytes
        uploaded += traffic.bytes if link.sender.title == "client" else 0
    assert report.phase_bytes == declared
    assert report.upload_bytes_per_client == uploaded / 9
    assert report.phase_seconds.keys() >= {loop.backend.input_phase}
    assert all(took > 0 for by_role in report.phase_seconds.values() for took in by_role.values())
    assert report.seconds > report.training_seconds > 0


def test_bytes_are_counted_once_and_where_they_arrive() -> None:
    """A message that is replaced on the way counts once, and one of a client that is silent never."""
    attack = Attack("corrupt-bytes", frozenset({"client-1"}))
    whole, attacked, thinned = (
        loop_of(InsecurePlain(), **options) for options in ({}, {"attack": attack}, {"dropout": 0.111112})
    )
    for loop in (whole, attacked, thinned):
        list(loop.run(1))
    each = whole.history[0].upload_bytes_per_client
    assert attacked.history[0].upload_bytes_per_client == each
    assert len(thinned.history[0].survivors) == 8
    assert thinned.history[0].upload_bytes_per_client == pytest.approx(each * 8 / 9)
    assert thinned.history[0].phase_bytes == {"plain-input": {"client": 8 * each}}


def test_what_was_clipped_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[AggregateResult] = []
    honest = fl.federated.aggregate
    monkeypatch.setattr(
        fl.federated, "aggregate", lambda *a, **k: results.append(honest(*a, **k)) or results[-1]
    )
    loop = loop_of(InsecurePlain(), encoding=FixedPoint(clip=0.05, bits=16), dropout=0.2)
    list(loop.run(1))
    report = loop.history[0]
    counted = sum(sum(results[0].clipped[name]) for name in report.survivors)
    assert report.clipped == counted / (len(report.survivors) * (FEATURES * CLASSES + CLASSES))
    assert 0 < report.clipped < 1


def test_a_report_survives_json() -> None:
    loop = loop_of(InsecurePlain(), dropout=0.2, attack=Attack("replayed", frozenset({"client-1"})))
    list(loop.run(2))
    for report in loop.history:
        assert RoundReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_a_report_with_other_entries_is_refused() -> None:
    loop = loop_of(InsecurePlain())
    list(loop.run(1))
    data = loop.history[0].to_dict()
    data["mood"] = data.pop("loss")
    with pytest.raises(LocalError, match=r"round report is \['loss', 'mood'\]"):
        RoundReport.from_dict(data)
