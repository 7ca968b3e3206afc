"""What a training gave, as one JSON document, and as a folder to look at (docs/cli.md).

The document is all there is: the page and the picture are functions of it.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fl.config import TrainingConfig
from fl.events import RoundReport
from mpc.leakage import Leakage

FORMAT = 1
"""Of the document. Fields may be added under the same number; a change of meaning raises it."""

Document = Mapping[str, Any]


def document(
    config: TrainingConfig,
    history: Sequence[RoundReport],
    *,
    leakage: Leakage,
    parameters: int,
    start_accuracy: float,
    resumed_after: int,
    command: str,
) -> dict[str, Any]:
    """The JSON document of a training.

    ``start_accuracy``: of the model that this run began with, which is that of round ``resumed_after``.
    """
    rounds = [_round(report) for report in history]
    return {
        "format": FORMAT,
        "backend": config.backend,
        "final_accuracy": _number(history[-1].accuracy if history else start_accuracy),
        "rounds": rounds,
        "rejected": _rejected(history),
        "initial_accuracy": None if resumed_after else _number(start_accuracy),
        "resumed_after": resumed_after,
        "parameters": parameters,
        "seconds": sum(report.seconds for report in history),
        "clipped": _clipped(history),
        "config": asdict(config),
        "command": command,
        "leakage": {
            "assumption": leakage.assumption,
            "learns": {role.title: list(facts) for role, facts in leakage.learns.items()},
            "hides": sorted(role.title for role in leakage.hides),
            "source": leakage.source,
        },
    }


def write_report(folder: Path, content: Document) -> list[Path]:
    """Write report.html, report.png and report.json into ``folder``; each is there whole or not at all.

    Raises ``OSError`` if that fails, and ``LocalError`` if matplotlib is not installed.
    """
    from fl.report_figure import picture
    from fl.report_html import page

    files = {
        folder / "report.html": page(content).encode(),
        folder / "report.png": picture(content),
        folder / "report.json": (json.dumps(content, indent=2, allow_nan=False) + "\n").encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_all(files)
    return list(files)


def _write_all(files: Mapping[Path, bytes]) -> None:
    """All files are written beside their places before the first is moved there."""
    written: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            written[Path(name)] = path
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)  # mkstemp's 0600 would keep a web server from showing it
        for temporary, path in written.items():
            os.replace(temporary, path)
    finally:
        for temporary in written:
            temporary.unlink(missing_ok=True)


def _round(report: RoundReport) -> dict[str, Any]:
    return {
        **report.to_dict(),
        "accuracy": _number(report.accuracy),
        "loss": _number(report.loss),
        "rejected": {one.client: {"check": one.check, "reason": one.reason} for one in report.rejected},
    }


def _rejected(history: Iterable[RoundReport]) -> dict[str, Any]:
    """Every client that was ever refused: why it was the first time, and in which rounds it was."""
    found: dict[str, Any] = {}
    for report in history:
        for one in report.rejected:
            entry = found.setdefault(one.client, {"check": one.check, "reason": one.reason, "rounds": []})
            entry["rounds"].append(report.round)
    return dict(sorted(found.items()))


def _clipped(history: Iterable[RoundReport]) -> float:
    """Of all coordinates of the training: every update has as many."""
    trained = [(len(report.participants) - len(report.dropped), report.clipped) for report in history]
    return sum(count * share for count, share in trained) / max(1, sum(count for count, _ in trained))


def _number(value: float) -> float | None:
    """JSON knows no infinity and no NaN, which the loss of a diverged model may be."""
    return value if math.isfinite(value) else None
