"""The default job: the digits on every backend, checkpoints, and what is refused before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fl.federated
import fl.loop
from fl.backends import make_backend
from fl.checkpoint import CheckpointError, load
from fl.client import LocalUpdate, digits_training
from fl.config import BACKENDS, TrainingConfig
from fl.data import Dataset
from fl.events import (
    AggregationStarted,
    ClientTrained,
    Event,
    RoundFinished,
    RoundReport,
    RoundStarted,
    TrainingFinished,
    TrainingStarted,
)
from fl.loop import train
from fl.model import Weights
from mpc.errors import LocalError
from secagg.plain import InsecurePlain

TRAINING_SAMPLES = 1438


def config_of(**options: Any) -> TrainingConfig:
    defaults = {"backend": "plain", "clients": 6, "rounds": 3, "dropout": 0.2, "key_bits": 2048, "seed": 1}
    return TrainingConfig(**(defaults | options))


def assert_same_weights(left: Weights, right: Weights) -> None:
    for one, other in zip(left, right, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def final(events: Iterator[Event]) -> TrainingFinished:
    last = list(events)[-1]
    assert isinstance(last, TrainingFinished)
    return last


def deterministic(report: RoundReport) -> dict[str, Any]:
    technical = ("seconds", "training_seconds", "upload_bytes_per_client", "phase_bytes", "phase_seconds")
    return {name: value for name, value in asdict(report).items() if name not in technical}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingFinished, Weights]:
    """Three rounds of the small job in one go: how it ended, and its model."""
    path = tmp_path_factory.mktemp("whole") / "state"
    finished = final(train(config_of(), checkpoint=path))
    return finished, load(path, config_of().fingerprint()).weights


@pytest.mark.parametrize("name", BACKENDS)
def test_the_digits_are_learnt_alike_on_every_backend(
    tmp_path: Path, uninterrupted: tuple[TrainingFinished, Weights], name: str
) -> None:
    config = config_of(backend=name)
    events = list(train(config, checkpoint=tmp_path / "state"))
    started, finished = events[0], events[-1]
    assert isinstance(started, TrainingStarted)
    assert isinstance(finished, TrainingFinished)
    assert (started.config, started.parameters, started.finished_rounds) == (config, 4810, 0)
    assert started.accuracy < 0.3
    assert started.history == ()
    assert finished.final_accuracy == finished.history[-1].accuracy > 0.9
    expected, weights = uninterrupted
    assert [deterministic(one) for one in finished.history] == [
        deterministic(one) for one in expected.history
    ]
    assert_same_weights(load(tmp_path / "state", config.fingerprint()).weights, weights)


@pytest.mark.parametrize("partition", ["dirichlet", "iid"])
def test_partitions(partition: str) -> None:
    config = config_of(partition=partition, clients=12, rounds=1, alpha=0.1)
    loop = fl.loop._digits_loop(config, make_backend(config))
    sizes = [len(data) for data in loop.clients.values()]
    assert tuple(loop.clients) == config.names
    assert sum(sizes) == TRAINING_SAMPLES
    assert min(sizes) >= 10
    assert (max(sizes) - min(sizes) <= 1) == (partition == "iid")


def test_there_may_be_as_many_clients_as_samples() -> None:
    config = config_of(clients=TRAINING_SAMPLES)
    loop = fl.loop._digits_loop(config, make_backend(config))
    assert {len(data) for data in loop.clients.values()} == {1}
    with pytest.raises(LocalError, match="clients is 1439"):
        train(config_of(clients=TRAINING_SAMPLES + 1))


def test_malicious_clients_are_drawn_by_the_seed_and_named() -> None:
    for seed in (1, 2):
        config = config_of(clients=8, malicious=1, attack="out-of-range", rounds=2, dropout=0.125, seed=seed)
        named = [{one.client for one in report.rejected} for report in final(train(config)).history]
        assert named[0] == named[1]
        assert len(named[0]) == 1


def test_torch_has_its_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    inside: list[int] = []
    try:
        torch.set_num_threads(2)
        inner = digits_training()

        class Watching:
            evaluate = inner.evaluate

            def __call__(self, weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
                inside.append(torch.get_num_threads())
                return inner(weights, data, seed)

        monkeypatch.setattr(fl.loop, "digits_training", Watching)
        loop = fl.loop._digits_loop(config_of(), InsecurePlain())
        for _ in loop.run(1):
            assert torch.get_num_threads() == 2
        with pytest.raises(LocalError):
            loop.training([], next(iter(loop.clients.values())), 0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(inside) == {1}


# Checkpoints.


def interrupt_at(events: Iterator[Event], round: int, kind: type[Event], error: BaseException) -> None:
    """Raise ``error`` from the listener at the first event of a kind in a round."""
    for event in events:
        number = event.report.round if isinstance(event, RoundFinished) else getattr(event, "round", 0)
        if isinstance(event, kind) and number == round:
            raise error


@pytest.mark.parametrize("backend", ["plain", "masking"])
@pytest.mark.parametrize(
    ("round", "kind", "saved"),
    [
        (2, RoundStarted, 1),
        (2, ClientTrained, 1),
        (2, AggregationStarted, 1),
        (2, RoundFinished, 2),
        (3, ClientTrained, 2),
    ],
)
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    tmp_path: Path,
    uninterrupted: tuple[TrainingFinished, Weights],
    backend: str,
    round: int,
    kind: type[Event],
    saved: int,
) -> None:
    config, path = config_of(backend=backend), tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        interrupt_at(train(config, checkpoint=path), round, kind, KeyboardInterrupt())
    assert load(path, config.fingerprint()).round == saved
    events = list(train(config, checkpoint=path, resume=True))
    started, finished = events[0], events[-1]
    assert isinstance(started, TrainingStarted)
    assert isinstance(finished, TrainingFinished)
    assert started.finished_rounds == saved == len(started.history)
    assert started.accuracy == started.history[-1].accuracy
    assert isinstance(events[1], RoundStarted)
    assert events[1].round == saved + 1
    expected, weights = uninterrupted
    assert [deterministic(one) for one in finished.history] == [
        deterministic(one) for one in expected.history
    ]
    assert finished.final_accuracy == expected.final_accuracy
    assert_same_weights(load(path, config.fingerprint()).weights, weights)


def test_an_interrupt_inside_local_training_leaves_the_last_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[TrainingFinished, Weights]
) -> None:
    path, calls = tmp_path / "state", 0
    with monkeypatch.context() as patch:
        honest = fl.loop._OneThread.__call__

        def call(self: Any, *arguments: Any) -> LocalUpdate:
            nonlocal calls
            calls += 1
            if calls == 8:
                raise KeyboardInterrupt
            return honest(self, *arguments)

        patch.setattr(fl.loop._OneThread, "__call__", call)
        with pytest.raises(KeyboardInterrupt):
            list(train(config_of(), checkpoint=path))
    assert load(path, config_of().fingerprint()).round == 1
    finished = final(train(config_of(), checkpoint=path, resume=True))
    assert finished.final_accuracy == uninterrupted[0].final_accuracy


def test_an_interrupt_while_saving_leaves_the_round_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[TrainingFinished, Weights]
) -> None:
    path, replacements = tmp_path / "state", 0
    with monkeypatch.context() as patch:
        honest = os.replace

        def replacing(source: Any, target: Any) -> None:
            nonlocal replacements
            replacements += 1
            if replacements == 3:
                raise KeyboardInterrupt
            honest(source, target)

        patch.setattr(os, "replace", replacing)
        with pytest.raises(KeyboardInterrupt):
            list(train(config_of(), checkpoint=path))
    assert load(path, config_of().fingerprint()).round == 2
    assert list(tmp_path.iterdir()) == [path]
    finished = final(train(config_of(), checkpoint=path, resume=True))
    assert finished.final_accuracy == uninterrupted[0].final_accuracy


def test_the_checkpoint_is_on_disk_before_the_round_is_told(tmp_path: Path) -> None:
    config, path = config_of(rounds=2), tmp_path / "state"
    for event in train(config, checkpoint=path):
        if isinstance(event, RoundFinished):
            saved = load(path, config.fingerprint())
            assert saved.round == event.report.round
            assert RoundReport.from_dict(saved.history[-1]) == event.report
        elif isinstance(event, TrainingStarted):
            assert not path.exists()


def test_a_finished_training_resumes_to_its_end(
    tmp_path: Path, uninterrupted: tuple[TrainingFinished, Weights]
) -> None:
    path = tmp_path / "state"
    finished = final(train(config_of(rounds=2), checkpoint=path))
    content = path.read_bytes()
    events = list(train(config_of(rounds=2), checkpoint=path, resume=True))
    assert [type(event) for event in events] == [TrainingStarted, TrainingFinished]
    assert events[-1] == finished
    assert path.read_bytes() == content
    # More rounds may be asked for later.
    longer = final(train(config_of(rounds=3), checkpoint=path, resume=True))
    assert longer.final_accuracy == uninterrupted[0].final_accuracy
    with pytest.raises(LocalError, match="rounds is 2: the checkpoint has finished 3 rounds already"):
        train(config_of(rounds=2), checkpoint=path, resume=True)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    final(train(config_of(rounds=1), checkpoint=path))
    for other in ({"seed": 2}, {"backend": "masking"}, {"clients": 7}, {"clip": 0.5}, {"malicious": 1}):
        ((name, value),) = other.items()
        with pytest.raises(CheckpointError, match=f"configuration: {name} was .* and is {value} now"):
            train(config_of(**other), checkpoint=path, resume=True)


def test_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with pytest.raises(CheckpointError, match="there is no such file"):
        train(config_of(), checkpoint=path, resume=True)
    with pytest.raises(LocalError, match="resume is True: needs a checkpoint"):
        train(config_of(), resume=True)
    path.write_bytes(b"mine")
    with pytest.raises(LocalError, match="exists already"):
        train(config_of(), checkpoint=path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        train(config_of(), checkpoint=path, resume=True)
    assert path.read_bytes() == b"mine"


# Configurations that cannot work.


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"clients": 9, "fraction": 0.1}, "fraction is 0.1: of 9 clients it takes 1"),
        (
            {"clients": 10, "dropout": 0.4},
            "dropout is 0.4: leaves at most 6 .* 10 clients; the threshold is 7",
        ),
        (
            {"clients": 10, "dropout": 0.2, "malicious": 2},
            "malicious is 2: leaves at most 6 .* threshold is 7",
        ),
        ({"backend": "masking", "threshold": 0.5}, "threshold is 0.5: must be more than half"),
        ({"threshold": 7}, "threshold is 7: must be at most the cohort's 6"),
        ({"backend": "paillier", "key_bits": 1024}, "key_bits is 1024"),
        ({"backend": "sharing", "aggregators": 300}, "aggregators is 300"),
        ({"bits": 1}, "bits is 1"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"alpha": 1e9}, "alpha is 1000000000.0"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_event(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(LocalError, match=argument):
        train(config_of(**options))
