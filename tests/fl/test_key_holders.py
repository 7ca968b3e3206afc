"""A key shared among key holders, in the loop and in the command: some offline, some at fault."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from gmpy2 import mpz
from rich.console import Console

import fl.backends
import fl.loop
from fl.checkpoint import Checkpoint, CheckpointError, load, save
from fl.cli_output import Bars
from fl.client import Evaluation, LocalUpdate
from fl.config import TrainingConfig
from fl.events import Event, KeysStarted, RoundReport, RoundStarted
from fl.federated import FederatedLoop, weights_hash
from fl.model import Weights
from fl.report_charts import helper_rows
from mpc.errors import LocalError
from mpc.tape import RandomTape, SeededTape
from secagg.backend import Backend
from secagg.masking import Masking
from secagg.paillier import KeyShareKeys, Paillier, ThresholdPaillier
from secagg.plain import InsecurePlain

BITS = 256


def loop_of(backend: Backend, **options: Any) -> FederatedLoop:
    """Training without a model: every client moves the weights by what its seed draws."""

    def training(weights: Weights, data: Sequence[int], seed: int) -> LocalUpdate:
        draw = np.random.default_rng(seed)
        return LocalUpdate([draw.uniform(-0.5, 0.5, 11)], len(data), {"loss": 1.0, "accuracy": 0.5})

    defaults: dict[str, Any] = {
        "clients": {f"client-{place}": range(3 + place) for place in range(5)},
        "training": training,
        "evaluate": lambda weights: Evaluation(0.5, float(np.abs(weights[0]).sum())),
        "weights": [np.zeros(11)],
    }
    return FederatedLoop(backend=backend, **(defaults | options))


def dealt(holders: int, threshold: int) -> ThresholdPaillier:
    return ThresholdPaillier(holders, threshold, insecure_key_bits=BITS).setup(SeededTape(b"dealer"))


class Liar(KeyShareKeys):
    """Answers with the roots of other numbers than it was asked for."""

    def answer(self, remainders: Sequence[mpz], context: bytes, tape: RandomTape) -> bytes:
        others = [u * u % self.encryption_key.n for u in remainders]
        return super().answer(others, context, tape)


def with_liar(holders: int, threshold: int, index: int) -> ThresholdPaillier:
    """A key of which the holder ``index`` lies."""
    honest = dealt(holders, threshold)
    keys = list(honest._keys or ())
    keys[index] = Liar(keys[index].share, keys[index].link)
    return ThresholdPaillier(holders, threshold, keys=keys, insecure_key_bits=BITS)


# Offline.


@pytest.mark.parametrize(("holders", "threshold", "offline"), [(3, 2, 1), (5, 3, 2), (4, 3, 0)])
def test_who_is_offline_changes_with_the_round_and_the_model_does_not(
    holders: int, threshold: int, offline: int
) -> None:
    loop = loop_of(dealt(holders, threshold), dropout=0.2, offline_key_holders=offline)
    reference = loop_of(InsecurePlain(), dropout=0.2)
    list(loop.run(8))
    list(reference.run(8))
    assert weights_hash(loop.weights) == weights_hash(reference.weights)
    assert all(report.aborted is None and not report.faults for report in loop.history)
    named = [report.offline for report in loop.history]
    assert all(len(set(names)) == offline for names in named)
    assert all(list(names) == sorted(names) for names in named)
    everybody = {f"key holder {index}" for index in range(holders)}
    assert {name for names in named for name in names} == (everybody if offline else set())
    again = loop_of(dealt(holders, threshold), dropout=0.2, offline_key_holders=offline)
    list(again.run(8))
    assert [report.offline for report in again.history] == named  # by the seed


def test_who_is_offline_is_sent_nothing_and_sends_nothing() -> None:
    whole, thinned = loop_of(dealt(3, 2)), loop_of(dealt(3, 2), offline_key_holders=1)
    for loop in (whole, thinned):
        list(loop.run(1))
    answers = [loop.history[0].phase_bytes["opened-sum"]["key holder"] for loop in (whole, thinned)]
    assert answers[0] * 2 == answers[1] * 3


@pytest.mark.parametrize(
    ("backend", "offline", "text"),
    [
        (ThresholdPaillier(3, 2), 2, "is 2: must be at most 1: it takes 2 of 3 to open a sum"),
        (ThresholdPaillier(3, 2), -1, "is -1: must be a whole number of at least 0"),
        (ThresholdPaillier(3, 2), 0.5, "is 0.5: must be a whole number"),
        (Paillier(), 1, "is 1: must be 0: the backend paillier cannot do without any party but clients"),
        (Masking(), 1, "is 1: must be 0: the backend masking"),
    ],
)
def test_the_loop_refuses_more_than_the_backend_can_spare(backend: Backend, offline: Any, text: str) -> None:
    with pytest.raises(LocalError, match=f"^offline_key_holders {re.escape(text)}"):
        loop_of(backend, offline_key_holders=offline)


# At fault.


def test_a_key_holder_that_lies_is_named_and_the_model_is_right() -> None:
    loop, reference = loop_of(with_liar(3, 2, 0)), loop_of(InsecurePlain())
    list(loop.run(3))
    list(reference.run(3))
    assert weights_hash(loop.weights) == weights_hash(reference.weights)
    for report in loop.history:
        assert report.aborted is None
        assert report.faults.keys() == {"key holder 0"}
        assert "roots that are not those of its share" in report.faults["key holder 0"]
        assert RoundReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    told = [report.to_dict() for report in loop.history]
    assert [(helper, rounds) for helper, _, rounds in helper_rows(told)] == [("key holder 0", "1–3")]


def test_a_round_with_too_few_right_answers_says_who_lied_and_who_was_offline() -> None:
    loop = loop_of(with_liar(3, 2, 0), offline_key_holders=1)
    list(loop.run(8))
    lost = [report for report in loop.history if report.aborted]
    assert 0 < len(lost) < 8
    for report in loop.history:
        liar_missed = report.offline == ("key holder 0",)
        assert (report.aborted is None) == liar_missed
        assert report.faults.keys() == (set() if liar_missed else {"key holder 0"})
    for report in lost:
        assert report.aborted is not None
        assert report.aborted.startswith(
            "the sum cannot be opened, it takes 2 of 3 key holders: key holder 0"
        )
        assert report.aborted.count("key holder 0") == 1
        assert report.survivors == ()


# Keys.


def test_that_keys_are_made_is_told_once_and_only_of_those_that_take_long() -> None:
    def firsts(backend: Backend) -> list[Event]:
        loop = loop_of(backend)
        events = [*loop.run(1), *loop.run(2)]
        assert sum(isinstance(event, RoundStarted) for event in events) == 2
        assert not any(isinstance(event, KeysStarted) for event in events[1:])
        return [event for event in events[:1] if isinstance(event, KeysStarted)]

    shared = ThresholdPaillier(3, 2, insecure_key_bits=BITS)
    assert firsts(shared) == [KeysStarted("threshold-paillier", 3)]
    assert firsts(Paillier(insecure_key_bits=BITS)) == [KeysStarted("paillier", 1)]
    assert firsts(dealt(3, 2)) == []
    assert firsts(Masking()) == []


# The command.

TRAINING = ["train", "--clients", "5", "--rounds", "2", "--dropout", "0.2", "--seed", "3"]
SHARED = ["--backend", "paillier", "--key-holders", "3", "--threshold", "2", "--offline-key-holders", "1"]


@pytest.fixture
def short_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of a size that is dealt in a moment, where the command would take longer ones."""

    class Short(ThresholdPaillier):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **(options | {"key_bits": None, "insecure_key_bits": BITS}))

    monkeypatch.setattr(fl.backends, "ThresholdPaillier", Short)


@pytest.mark.usefixtures("short_keys")
def test_the_command_trains_with_one_key_holder_offline_to_the_same_model(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    shared, plain, report = tmp_path / "shared", tmp_path / "plain", tmp_path / "report"
    result = cli(*TRAINING, *SHARED, "--checkpoint", str(shared), "--report", str(report))
    assert (result.exit_code, result.stderr) == (0, "")
    assert cli(*TRAINING, "--backend", "plain", "--checkpoint", str(plain)).exit_code == 0
    common: dict[str, Any] = {"clients": 5, "rounds": 2, "dropout": 0.2, "seed": 3}
    settings: dict[str, Any] = {"key_holders": 3, "threshold": 2, "offline_key_holders": 1}
    config = TrainingConfig(backend="paillier", **common, **settings)
    model = load(shared, config.fingerprint()).weights
    expected = load(plain, TrainingConfig(backend="plain", **common).fingerprint()).weights
    assert weights_hash(model) == weights_hash(expected)

    document = json.loads((report / "report.json").read_text())
    offline = [entry["offline"] for entry in document["rounds"]]
    assert all(len(names) == 1 for names in offline)
    lines = result.stdout.splitlines()
    assert lines[0] == "dealing keys to 3 key holders…"
    for line, (name,), entry in zip(lines[1:3], offline, document["rounds"], strict=True):
        assert line.startswith(f"round {entry['round']}/2")
        assert line.endswith(f" s  offline: {name}")
        assert entry["faults"] == {}
    assert document["command"] == f"secagg train {' '.join([*SHARED[:2], *TRAINING[1:7]])} " + (
        "--threshold 2 --key-holders 3 --offline-key-holders 1 --seed 3"
    )
    page = (report / "report.html").read_text()
    assert "Paillier encryption with 3 key holders" in page
    for (name,) in offline:
        assert f"<tr><td>{name}</td><td>offline</td>" in page


def test_who_was_offline_or_at_fault_is_in_the_rounds_line_and_told_at_the_end(
    cli: Callable[..., Result],
    told: Callable[..., Any],
    report_of: Callable[..., RoundReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = report_of(1, 0.5, offline=("key holder 1", "key holder 4"))
    second = report_of(2, 0.75, offline=("key holder 1",), faults={"key holder 0": "has lied"})
    monkeypatch.setattr(fl.loop, "train", told(first, second))
    result = cli("train", "--clients", "4", "--dropout", "0", "--backend", "paillier", "--key-holders", "5")
    lines = result.stdout.splitlines()
    assert lines[0].endswith("  0.50 s  offline: key holder 1, key holder 4")
    assert lines[1].endswith("  0.50 s  offline: key holder 1  at fault: key holder 0")
    rows = [" ".join(line.split()) for line in lines[2:]]
    end = ["key holder 0 has lied 2", "key holder 1 offline 1–2", "key holder 4 offline 1"]
    assert [row for row in rows if row.startswith("key holder ")] == end


@pytest.mark.parametrize(
    ("holders", "text"),
    [(1, "making a key"), (3, "dealing keys to 3 key holders"), (16, "keys to 16")],
)
def test_bars_say_that_keys_are_made(holders: int, text: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Bars(console) as bars:
        bars.show(KeysStarted("threshold-paillier", holders))
        bars._progress.refresh()
    assert isinstance(console.file, io.StringIO)
    assert text in console.file.getvalue()


@pytest.mark.usefixtures("short_keys")
def test_a_checkpoint_of_other_key_holders_is_refused_with_what_differs(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    state = ["--checkpoint", str(tmp_path / "state")]
    assert cli(*TRAINING, *SHARED, *state).exit_code == 0
    result = cli(*TRAINING, *SHARED[:-2], *state, "--resume")
    assert result.exit_code == 2
    assert "--offline-key-holders was 1 and is 0 now" in result.stderr
    again = cli(*TRAINING, *SHARED, *state, "--resume")
    assert again.exit_code == 0
    assert "dealing keys" not in again.stdout  # nothing is left to do


def test_a_checkpoint_from_before_a_setting_says_so(tmp_path: Path) -> None:
    now = TrainingConfig().decisive()
    before = {name: value for name, value in now.items() if name not in ("key_holders", "minimum")}
    save(tmp_path / "old", Checkpoint("of that time", 1, [np.zeros(2)], [], before))
    with pytest.raises(CheckpointError, match="program that had no settings key_holders, minimum"):
        load(tmp_path / "old", TrainingConfig().fingerprint(), now)


@pytest.mark.parametrize("offline", [2, 3])
def test_the_command_refuses_too_many_offline_before_a_key_is_dealt(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, offline: int
) -> None:
    monkeypatch.setattr(ThresholdPaillier, "setup", lambda *_: pytest.fail("keys are dealt"))
    result = cli(*TRAINING, *SHARED[:-1], str(offline))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--offline-key-holders is {offline}: must be at most 1" in result.stderr
