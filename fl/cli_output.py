"""What the command shows: progress while training, tables at the end."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from fl.events import (
    AggregationStarted,
    ClientTrained,
    Event,
    KeysStarted,
    RoundFinished,
    RoundReport,
    RoundStarted,
    TrainingStarted,
)
from fl.report_charts import amount_text

# (from so many on, what one has, its name)
_LARGE = ((1e18, 1e18, "EB"), (1e15, 1e15, "PB"), (1e12, 1e12, "TB"))
_LONG = (
    (2 * 365 * 86400, 365 * 86400, "years"),
    (2 * 86400, 86400, "days"),
    (2 * 3600, 3600, "hours"),
    (600, 60, "min"),
)
_TEXT_WIDTH = 18  # what a column gets at least whose text may be broken between words


def table(title: str, *columns: str, left: int = 1) -> Table:
    """An empty table in the command's style.

    Columns after the first ``left`` hold numbers: they are right-aligned, and never broken. Nor is the first
    one, which names the row.
    """
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        number = place >= left
        made.add_column(
            column,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=number or place == 0,
        )
    return made


def fitted(made: Table, width: int, spare: Sequence[str]) -> Table:
    """The table without as many of the columns ``spare``, the first one first, as ``width`` asks for."""
    for column in spare:
        if _least_width(made) <= width:
            break
        made = _without(made, column)
    return made


def _least_width(made: Table) -> int:
    """What the table takes when numbers stay whole and text has room for a few words."""
    total = 0
    for column in made.columns:
        lines = [line for cell in (column.header, *column.cells) for line in str(cell).split("\n")]
        lengths = [cell_len(line) for line in lines]
        total += max(lengths) if column.no_wrap else min(max(lengths), _TEXT_WIDTH)
    return total + 3 * (len(made.columns) - 1) + 2  # three spaces between columns, one at either edge


def _without(made: Table, column: str) -> Table:
    return _only(made, [one for one in made.columns if one.header != column])


def _only(made: Table, kept: Sequence[Column]) -> Table:
    new = Table(title=made.title, title_justify="left", title_style="bold", box=made.box, pad_edge=False)
    for one in kept:
        new.add_column(one.header, justify=one.justify, overflow="fold", no_wrap=one.no_wrap)
    for row in zip(*(one.cells for one in kept), strict=True):
        if any(str(cell) for cell in row[1:]):  # what a split leaves of a row may say nothing
            new.add_row(*row)
    return new


def split(made: Table, width: int, *, group: int = 1) -> list[Table]:
    """The table, or several one below the other where it is too wide: the first column is in each.

    As many of the others as fit, whole groups of ``group``. What is too wide even so is wrapped.
    """
    first, *others = made.columns
    groups = [others[place : place + group] for place in range(0, len(others), group)]
    rows: list[list[Column]] = []
    for columns in groups:
        if rows and _least_width(_only(made, [first, *rows[-1], *columns])) <= width:
            rows[-1] += columns
        else:
            rows.append(list(columns))
    parts = [made] if len(rows) == 1 else [_only(made, [first, *columns]) for columns in rows]
    for part in parts:
        if _least_width(part) > width:
            for column in part.columns:
                column.no_wrap = False
    return parts


def quantity(amount: float, unit: str) -> str:
    """Bytes or seconds to three digits, in a unit in which they can be read: up to EB and to years."""
    scales = _LONG if unit == "seconds" else _LARGE
    for least, size, name in scales:
        if amount >= least:
            return f"{three_digits(amount / size)} {name}"
    return amount_text(amount, unit)


def three_digits(value: float) -> str:
    """Three digits, or the whole number where that has more."""
    return f"{value:,.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


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
    return Bars(console) if on_terminal(console) else Lines(console)


def on_terminal(console: Console) -> bool:
    """Whether somebody watches, who gets bars and then a table; a pipe gets lines, and no table of them."""
    return console.is_interactive and console.file.isatty()


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
            case KeysStarted(key_holders=holders):
                self._say(f"{keys_text(holders)}…")
            case RoundFinished(report=report):
                self._say(round_line(report, self._rounds))

    def _say(self, line: str) -> None:
        say(self._console, line)


def round_line(report: RoundReport, rounds: int) -> str:
    """A finished round in one line."""
    if report.aborted is not None:
        return f"round {report.round}/{rounds}  accuracy {report.accuracy:.4f}  aborted: {report.aborted}"
    helpers = {"offline": report.offline, "at fault": tuple(report.faults)}
    parts = [
        f"round {report.round}/{rounds}",
        f"accuracy {report.accuracy:.4f}",
        f"counted {len(report.survivors)}/{len(report.participants)}",
        f"dropped {len(report.dropped)}",
        f"refused {len(report.rejected)}",
        f"{report.seconds:.2f} s",
        *(f"{what}: {', '.join(names)}" for what, names in helpers.items() if names),
    ]
    return "  ".join(parts)


def keys_text(holders: int) -> str:
    """What goes on before the first round, where it takes a while."""
    return "making a key" if holders == 1 else f"dealing keys to {holders} key holders"


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
            case KeysStarted(key_holders=holders, backend=backend):
                self._enter(keys_text(holders), None, backend)
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
