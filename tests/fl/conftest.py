"""What the tests of the command share: trainings that are told, and the command in this process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

import fl.loop
from fl.cli_app import app
from fl.config import TrainingConfig
from fl.events import (
    AggregationStarted,
    ClientTrained,
    Event,
    Refused,
    RoundFinished,
    RoundReport,
    RoundStarted,
    TrainingFinished,
    TrainingStarted,
)

Train = Callable[..., Iterator[Event]]
Done = subprocess.CompletedProcess[str]
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "fl.cli"]


def _report_of(number: int, accuracy: float, **changes: Any) -> RoundReport:
    names = TrainingConfig(clients=4).names
    told: dict[str, Any] = {
        "round": number,
        "accuracy": accuracy,
        "loss": 0.5,
        "train_accuracy": accuracy,
        "train_loss": 0.25,
        "participants": names,
        "survivors": names[:2],
        "dropped": names[2:3],
        "rejected": (Refused(names[3], "structural", "wrong length: [7] bytes"),),
        "aborted": None,
        "seconds": 0.5,
        "training_seconds": 0.25,
        "upload_bytes_per_client": 1234.0,
        "phase_bytes": {"plain-input": {"client": 4936}},
        "phase_seconds": {"plain-input": {"client": 0.01, "server": 0.02}},
        "clipped": 0.0,
    }
    return RoundReport(**(told | changes))


def _told(*reports: RoundReport, start: float = 0.1) -> Callable[..., Iterator[Event]]:
    """A training that tells of these rounds."""

    def train(
        config: TrainingConfig, *, checkpoint: Path | None = None, resume: bool = False
    ) -> Iterator[Event]:
        yield TrainingStarted(config, 4810, 0, start, ())
        for report in reports:
            yield RoundStarted(report.round, report.participants)
            for done, client in enumerate(report.participants, 1):
                yield ClientTrained(report.round, client, done, len(report.participants))
            yield AggregationStarted(report.round, config.backend)
            yield RoundFinished(report)
        yield TrainingFinished(reports[-1].accuracy if reports else start, reports)

    return train


def _broken_off(error: BaseException, *reports: RoundReport) -> Callable[..., Iterator[Event]]:
    """A training that stops within the round after these."""

    def train(config: TrainingConfig, **options: Any) -> Iterator[Event]:
        *events, _ = _told(*reports)(config, **options)
        yield from events
        yield RoundStarted(len(reports) + 1, config.names)
        raise error

    return train


def _cli(*arguments: str) -> Any:
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def _process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **options
    )


@pytest.fixture
def report_of() -> Callable[..., RoundReport]:
    return _report_of


@pytest.fixture
def told() -> Callable[..., Train]:
    return _told


@pytest.fixture
def broken_off() -> Callable[..., Train]:
    return _broken_off


@pytest.fixture
def cli() -> Callable[..., Result]:
    return _cli


@pytest.fixture
def process() -> Callable[..., Done]:
    return _process


@pytest.fixture
def two_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """``secagg train`` tells of two rounds instead of training."""
    monkeypatch.setattr(fl.loop, "train", _told(_report_of(1, 0.5), _report_of(2, 0.75)))
