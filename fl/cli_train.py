"""``secagg train``: look before training, show what happens, end in a table, a document or a report."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.console import Console

from fl.cli import INTERRUPTED
from fl.cli_output import display
from fl.cli_plain import fail, option, print_json
from fl.cli_summary import print_summary
from fl.config import TrainingConfig, why_idle
from fl.events import Event, RoundFinished, RoundReport, RoundStarted, TrainingStarted
from fl.report_charts import clipping_text
from mpc.errors import LocalError
from secagg.backend import Backend

VERB = "train"
FAILED = 1


class UsageError(Exception):
    """Options that cannot be used, or not together; the text names them."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. ``given``: the fields of ``TrainingConfig`` that were on the command line."""

    given: Mapping[str, Any]
    checkpoint: Path | None = None
    resume: bool = False
    report: Path | None = None
    json: bool = False


@dataclass
class _Course:
    """How far a training has come. ``rounds`` is 0 until it has started, ``current`` until a round has."""

    rounds: int = 0
    parameters: int = 0
    resumed_after: int = 0
    start_accuracy: float = 0.0
    current: int = 0
    history: list[RoundReport] = field(default_factory=list)

    def note(self, event: Event) -> None:
        match event:
            case TrainingStarted():
                self.rounds, self.parameters = event.config.rounds, event.parameters
                self.resumed_after, self.start_accuracy = event.finished_rounds, event.accuracy
                self.history = list(event.history)
            case RoundStarted(round=number):
                self.current = number
            case RoundFinished(report=report):
                self.history.append(report)

    def __str__(self) -> str:
        if not self.current:
            return "before a round had started"
        if self.history and self.history[-1].round == self.rounds:
            return "after the last round"
        return f"in round {self.current} of {self.rounds}"


def run(request: Request) -> int:
    """Train as asked; the exit code: 0 done, 1 failed, 2 wrongly used, 130 interrupted."""
    course = _Course()
    try:
        config, backend = prepare(request)
        _follow(request, config, course)
        return _finish(request, config, backend, course)
    except (LocalError, UsageError) as error:
        return fail(VERB, error)
    except OSError as error:
        fail(VERB, f"stopped {course}: {error}")
        _tell_how_to_go_on(request)
        return FAILED
    except KeyboardInterrupt:
        fail(VERB, f"interrupted {course}")
        _tell_how_to_go_on(request)
        return INTERRUPTED


def prepare(request: Request) -> tuple[TrainingConfig, Backend]:
    """Find out before the first round what can be: ``LocalError`` or ``UsageError`` says what is wrong."""
    _check_together(request)
    config = TrainingConfig(**request.given)
    from fl.backends import check_feasible, make_backend
    from fl.data import demo_extra

    backend = make_backend(config)
    check_feasible(config, backend)
    if request.checkpoint is not None:
        _check_checkpoint(request.checkpoint, request.resume, config)
    if request.report is not None:
        with demo_extra():
            import matplotlib  # noqa: F401
        _check_writable("--report", request.report)
    return config, backend


def command_line(request: Request) -> str:
    """The command that asks for this, with the options that differ from their defaults."""
    words = ["secagg", VERB]
    chosen = asdict(TrainingConfig(**request.given))
    for one in fields(TrainingConfig):
        if chosen[one.name] != one.default:
            words += [option(one.name), str(chosen[one.name])]
    for name, path in (("--checkpoint", request.checkpoint), ("--report", request.report)):
        if path is not None:
            words += [name, str(path)]
    words += ["--resume"] * request.resume + ["--json"] * request.json
    return shlex.join(words)


def check_scopes(given: Mapping[str, Any], called: Callable[[str], str] = option) -> None:
    """``UsageError`` for an option that means nothing beside the others. ``called``: what they are called."""
    settings = {one.name: given.get(one.name, one.default) for one in fields(TrainingConfig)}
    for name in given:
        if (why := why_idle(name, settings, called)) is not None:
            raise UsageError(f"{option(name)} {why}")


def _check_together(request: Request) -> None:
    check_scopes(request.given)
    if request.resume and request.checkpoint is None:
        raise UsageError("--resume needs --checkpoint, which says what to go on from")


def _check_checkpoint(path: Path, resume: bool, config: TrainingConfig) -> None:
    if path.is_dir():
        raise UsageError(f"--checkpoint {path} is a folder; name a file")
    if resume and not path.exists():
        raise UsageError(f"--resume: there is no file {path}; leave out --resume to start from round 1")
    if not resume and path.exists():
        raise UsageError(
            f"--checkpoint {path} exists; add --resume to go on from it, or name another file to start anew"
        )
    _check_writable("--checkpoint", path.parent)
    if resume:
        _check_configuration(path, config)


def _check_configuration(path: Path, config: TrainingConfig) -> None:
    from fl.checkpoint import CheckpointError, load

    try:
        load(path, config.fingerprint(), config.decisive())
    except CheckpointError as error:
        if not error.differing:
            raise
        changes = ", ".join(
            f"{option(name)} was {_choice(old)} and is {_choice(new)} now"
            for name, (old, new) in error.differing.items()
        )
        raise UsageError(
            f"--resume: {path} belongs to another configuration: {changes}; "
            "give the options that it was saved with, or name another file"
        ) from None


def _choice(value: object) -> str:
    return "left to the backend" if value is None else str(value)


def _check_writable(name: str, folder: Path) -> None:
    """Make the folder if need be, and write to it, so that hours of training are not for nothing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(b"\0")
    except OSError as error:
        raise UsageError(f"{name}: cannot write to the folder {folder}: {error.strerror or error}") from None


def _follow(request: Request, config: TrainingConfig, course: _Course) -> None:
    """Train, and show each event."""
    with display(Console(stderr=request.json)) as shown:
        from fl import loop

        for event in loop.train(config, checkpoint=request.checkpoint, resume=request.resume):
            course.note(event)
            shown.show(event)


def _finish(request: Request, config: TrainingConfig, backend: Backend, course: _Course) -> int:
    """Hand over what came of it. The sum of a training outlives a report that cannot be written."""
    from fl.report import document, write_report

    content = document(
        config,
        course.history,
        leakage=backend.leakage,
        parameters=course.parameters,
        start_accuracy=course.start_accuracy,
        resumed_after=course.resumed_after,
        command=command_line(Request(request.given)),
    )
    written: list[str] = []
    try:
        if request.report is not None:
            there = {path for path in request.report.iterdir() if path.is_file()}
            written = [
                f"replaced {path}" if path in there else f"wrote {path}"
                for path in write_report(request.report, content)
            ]
    finally:
        if request.json:
            print_json(content)
            for line in clipping_text(content):
                print(f"secagg {VERB}: {line}", file=sys.stderr)
        else:
            print_summary(Console(), content, written)
    if course.history and all(report.aborted is not None for report in course.history):
        return fail(VERB, "no round yielded a sum; the model is what it was at the start", FAILED)
    return 0


def _tell_how_to_go_on(request: Request) -> None:
    """By what is on disk, since the last round may have been saved without our having heard."""
    if request.checkpoint is None:
        print("Nothing is saved: that takes --checkpoint FILE.", file=sys.stderr)
        return
    done = _round_on_disk(request.checkpoint, TrainingConfig(**request.given))
    if done:
        print(f"Round {done} is on disk, in {request.checkpoint}. To go on:", file=sys.stderr)
    else:
        print(f"No round is on disk yet, in {request.checkpoint}. To start again:", file=sys.stderr)
    again = Request(request.given, request.checkpoint, done > 0, request.report, request.json)
    print(f"  {command_line(again)}", file=sys.stderr)


def _round_on_disk(path: Path, config: TrainingConfig) -> int:
    from fl.checkpoint import load

    try:
        return load(path, config.fingerprint()).round
    except LocalError:
        return 0
