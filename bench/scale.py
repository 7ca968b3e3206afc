"""Time, bytes and memory of masking against the number of clients, as a table, JSON and a log-log plot.

Run: ``python -m bench.scale --clients 100 300 1000 3000 10000 --json scale.json --plot scale.svg``.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.simulation import simulate
from secagg.masking import Masking, Tolerance, Unmasking

matplotlib.rcParams["svg.hashsalt"] = "secagg"  # the same numbers give the same file
COLUMNS = (
    ("clients", "clients", 1, ",.0f"),
    ("degree", "degree", 1, ".0f"),
    ("threshold", "threshold", 1, ".0f"),
    ("client_seconds", "client, ms", 1e3, ".1f"),
    ("client_sends", "sends, kB", 1e-3, ".1f"),
    ("client_receives", "receives, kB", 1e-3, ".1f"),
    ("server_seconds", "server, s", 1, ".2f"),
    ("bare_seconds", "bare, s", 1, ".2f"),
    ("server_peak_bytes", "server, MB", 1e-6, ".1f"),
)


def measure(clients: int, length: int, tolerance: Tolerance, signed: bool, shards: int) -> dict[str, Any]:
    backend = Masking(tolerance=tolerance, unmasking=Unmasking(shards=shards))
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        transient=True,
    ) as progress:
        task = progress.add_task(f"{clients:,} clients, messages", total=10 * clients)
        run = simulate(backend, clients, length, signed=signed, progress=lambda _: progress.advance(task))
        progress.update(task, description=f"{clients:,} clients, server again")
        return {
            "clients": clients,
            "length": length,
            "signed": signed,
            "degree": run.degree,
            "threshold": run.threshold,
            "keystreams": run.keystreams,
            "client_seconds": sum(run.client_seconds.values()),
            "client_seconds_by_phase": run.client_seconds,
            "client_sends": run.client_sends,
            "client_receives": run.client_receives,
            "server_seconds": run.server_seconds(),
            "bare_seconds": run.bare_seconds(),
            "server_peak_bytes": run.server_peak_bytes(),
        }


def table(rows: list[dict[str, Any]]) -> Table:
    shown = Table(title="Masking, malicious server: CPU time, bytes, memory")
    for _, title, _, _ in COLUMNS:
        shown.add_column(title, justify="right", overflow="fold")
    for row in rows:
        shown.add_row(*(format(row[key] * scale, form) for key, _, scale, form in COLUMNS))
    return shown


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    grey, clients = "#737b86", [row["clients"] for row in rows]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    figure.patch.set_alpha(0)
    panels = (
        ("one client computes, ms", (("client_seconds", "client", "#2a6fb0", 1e3),)),
        (
            "one client, kB",
            (("client_sends", "sends", "#2a6fb0", 1e-3), ("client_receives", "receives", "#14897c", 1e-3)),
        ),
        (
            "server computes, s",
            (("server_seconds", "server", "#8757a5", 1), ("bare_seconds", "bare keystreams", grey, 1)),
        ),
    )
    for axes, (title, curves) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.patch.set_alpha(0)
        for key, label, colour, scale in curves:
            axes.loglog(clients, [row[key] * scale for row in rows], "o-", color=colour, label=label, ms=4)
        if len(curves) == 1:  # up to some hundred clients the degree is bounded by their number
            anchor = min(rows, key=lambda row: abs(math.log(row["clients"] / 1000)))
            first = anchor[curves[0][0]] * curves[0][3] / math.log(anchor["clients"])
            axes.loglog(clients, [first * math.log(n) for n in clients], ":", color=grey, label="log n")
        axes.set_title(title, fontsize=11, color=grey, loc="left")
        axes.set_xlabel("clients", color=grey)
        axes.tick_params(colors=grey, which="both")
        axes.legend(frameon=False, labelcolor=grey, fontsize=9)
        for spine in axes.spines.values():
            spine.set_color(grey)
            spine.set_alpha(0.4)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clients", type=int, nargs="+", default=[100, 300, 1000])
    options.add_argument("--length", type=int, default=10_000)
    options.add_argument("--corrupt", type=float, default=0.05)
    options.add_argument("--dropout", type=float, default=0.05)
    options.add_argument("--unsigned", action="store_true")
    # One, as in the bare loop: threads that share a core's caches take more CPU time, and less time.
    options.add_argument("--shards", type=int, default=1)
    options.add_argument("--json", type=Path)
    options.add_argument("--plot", type=Path)
    given = options.parse_args()
    tolerance = Tolerance(given.corrupt, given.dropout)
    rows = []
    for clients in given.clients:
        rows.append(measure(clients, given.length, tolerance, not given.unsigned, given.shards))
        if given.json:
            given.json.write_text(json.dumps(rows, indent=2) + "\n")
    Console().print(table(rows))
    if given.plot:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
