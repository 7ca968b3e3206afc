"""What the command prints: errors, JSON, progress while training, tables at the end."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from importlib import metadata
from types import TracebackType
from typing import Any, Protocol, Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fl.config import TrainingConfig
from fl.events import (
    AggregationStarted,
    ClientTrained,
    Event,
    RoundFinished,
    RoundReport,
    RoundStarted,
    TrainingStarted,
)
from mpc.errors import LocalError

_OPTIONS = {field.name for field in fields(TrainingConfig)} | {"length", "checkpoint"}


def version() -> str:
    """Of the installed distribution."""
    try:
        return metadata.version("secagg")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def option(argument: str) -> str:
    """What an argument is called on the command line."""
    return "--" + argument.replace("_", "-")


def fail(verb: str, error: Exception | str, code: int = 2) -> int:
    """Say on standard error what is wrong, in the words of the command line; ``code``, to exit with."""
    text = str(error)
    if isinstance(error, LocalError) and error.argument in _OPTIONS:
        text = option(error.argument) + text.removeprefix(error.argument)
    print(f"secagg {verb}: {text}", file=sys.stderr)
    return code


def print_json(document: Any) -> None:
    """One document on standard output."""
    print(json.dumps(document, indent=2, allow_nan=False), flush=True)


def table(title: str, *columns: str, left: int = 1) -> Table:
    """An empty table in the command's style; columns after the first ``left`` are right-aligned."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place < left else "right", overflow="fold")
    return made


def add_row(made: Table, *cells: str | Text) -> None:
    """A row of plain text: square brackets in it are not markup."""
    made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def say(console: Console, line: str) -> None:
    """One line as it is: no markup, no colours, no wrapping."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


class Display(Protocol):
    """Shows a training as it goes on. A context manager: leaving it leaves the terminal as it was."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, event: Event) -> None: ...


def display(console: Console) -> Display:
    """Bars on a terminal, otherwise a line for each round, even where colours are forced upon a pipe."""
    return Bars(console) if console.is_interactive and console.file.isatty() else Lines(console)


class Lines:
    """One plain line for each round, for pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rounds = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, event: Event) -> None:
        match event:
            case TrainingStarted(config=config, finished_rounds=done, accuracy=accuracy):
                self._rounds = config.rounds
                if done:
                    self._say(f"resumed after round {done}/{config.rounds}  accuracy {accuracy:.4f}")
            case RoundFinished(report=report):
                self._say(round_line(report, self._rounds))

    def _say(self, line: str) -> None:
        say(self._console, line)


def round_line(report: RoundReport, rounds: int) -> str:
    """A finished round in one line."""
    if report.aborted is not None:
        return f"round {report.round}/{rounds}  accuracy {report.accuracy:.4f}  aborted: {report.aborted}"
    parts = [
        f"round {report.round}/{rounds}",
        f"accuracy {report.accuracy:.4f}",
        f"survivors {len(report.survivors)}/{len(report.participants)}",
        f"dropped {len(report.dropped)}",
        f"refused {len(report.rejected)}",
        f"{report.seconds:.2f} s",
    ]
    return "  ".join(parts)


class Bars:
    """Two bars: the rounds, and what goes on within the round."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<25}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[note]:<17}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._total = 0
        self._rounds = self._progress.add_task("rounds", total=None, note="")
        self._step = self._progress.add_task("loading", total=None, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        match event:
            case TrainingStarted(config=config, finished_rounds=done, accuracy=accuracy):
                self._total = config.rounds
                self._finished(done, accuracy)
            case RoundStarted(round=number, participants=participants):
                self._enter(f"round {number}: local training", len(participants), "")
            case ClientTrained(done=done, total=total):
                self._progress.update(self._step, completed=done, note=f"client {done}/{total}", refresh=True)
            case AggregationStarted(round=number, backend=backend):
                # Without a total the bar pulses: the parties run to the end in one go.
                self._enter(f"round {number}: aggregation", None, backend)
            case RoundFinished(report=report):
                self._finished(report.round, report.accuracy)

    def _finished(self, rounds: int, accuracy: float) -> None:
        self._progress.update(
            self._rounds,
            total=self._total,
            completed=rounds,
            description=f"rounds {rounds}/{self._total}",
            note=f"accuracy {accuracy:.4f}",
        )

    def _enter(self, description: str, total: int | None, note: str) -> None:
        # A fresh task, since a task that has a total cannot lose it.
        self._progress.remove_task(self._step)
        self._step = self._progress.add_task(description, total=total, note=note)
