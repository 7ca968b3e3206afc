"""Draws what ``bench_backends.py`` measured: ``plot_backends.py RESULTS.json PICTURE.svg``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

COLOURS = {"plain": "#8a94a0", "masking": "#2a6fb0", "sharing": "#14897c", "paillier": "#8757a5"}
LENGTH = 10**5
PANELS = (
    ("client_seconds", "one client computes", 1e3, "ms"),
    ("servers_seconds", "server and helpers compute", 1e3, "ms"),
    ("client_bytes", "one client sends", 1e-3, "kB"),
)


matplotlib.rcParams["svg.hashsalt"] = "secagg"  # the same numbers give the same file


def main(results: Path, picture: Path) -> None:
    runs = [run["extra_info"] for run in json.loads(results.read_text())["benchmarks"]]
    rows = {run["backend"]: run for run in runs if run["length"] == LENGTH}
    figure = Figure(figsize=(9, 2.5), layout="constrained")
    figure.patch.set_alpha(0)
    for axes, (key, title, scale, unit) in zip(figure.subplots(1, 3, sharey=True), PANELS, strict=True):
        draw(axes, {name: rows[name][key] * scale for name in COLOURS}, title, unit)
    figure.savefig(picture, metadata={"Date": None})


def draw(axes: Any, values: dict[str, float], title: str, unit: str) -> None:
    grey = "#737b86"
    axes.patch.set_alpha(0)
    axes.barh(list(values), list(values.values()), color=[COLOURS[name] for name in values], height=0.62)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(values.values()) / 4, max(values.values()) * 12)
    axes.set_title(title, fontsize=11, color=grey, loc="left")
    for place, value in enumerate(values.values()):
        axes.text(
            value * 1.15,
            place,
            f"{value:,.3g} {unit}" if value < 1e3 else f"{value:,.0f} {unit}",
            va="center",
            fontsize=10,
            color=grey,
        )
    axes.tick_params(left=False, bottom=False, labelbottom=False, labelsize=11, labelcolor=grey, which="both")
    for spine in axes.spines.values():
        spine.set_visible(False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
