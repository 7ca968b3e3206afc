"""Tells and draws what ``bench_flower.py`` measured: ``plot_flower.py RESULTS.json [PICTURE.svg]``.

Prints the table in Markdown. Times are medians of CPU time; a ratio is Flower's figure over ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

SIDES = {"flower": "#c8772e", "secagg": "#2a6fb0", "secagg, signed": "#6b9bc9", "floor": "#8a94a0"}
PANELS = {
    "share-keys": "one client shares its keys",
    "mask": "one client encodes and masks",
    "unmask": "the server unmasks",
}
STAGES = {
    "share-keys": "client: share-keys",
    "encode": "client: encoding alone",
    "mask": "client: encode and mask",
    "client": "client: whole round",
    "unmask": "server: reconstruct and unmask",
    "server": "server: whole round",
}
GREY = "#737b86"
Case = tuple[int, int]
Runs = Mapping[tuple[str, str], Mapping[str, Any]]  # of one case, by stage and side

matplotlib.rcParams["svg.hashsalt"] = "secagg"  # the same numbers give the same file


def read(results: Path) -> dict[Case, dict[tuple[str, str], dict[str, Any]]]:
    """What was measured, by case."""
    cases: dict[Case, dict[tuple[str, str], dict[str, Any]]] = {}
    for run in json.loads(results.read_text())["benchmarks"]:
        info = run["extra_info"]
        found = cases.setdefault((info["clients"], info["length"]), {})
        found[info["stage"], info["side"]] = info
    for found in cases.values():
        unmask = found["unmask", "flower"]
        seconds = unmask["cpu_seconds"] + unmask["earlier_stages_cpu_seconds"]
        found["server", "flower"] = {"cpu_seconds": seconds}
    return cases


def table(runs: Runs) -> Iterator[str]:
    yield "| CPU time | Flower | secagg | ratio | floor |"
    yield "|---|---|---|---|---|"
    for stage, title in STAGES.items():
        theirs = runs[stage, "flower"]["cpu_seconds"]
        floor = time_text(runs[stage, "floor"]["cpu_seconds"]) if (stage, "floor") in runs else "–"
        for side in ("secagg", "secagg, signed"):
            if (stage, side) in runs:
                mine = runs[stage, side]["cpu_seconds"]
                yield (
                    f"| {title}{side.removeprefix('secagg')} | {time_text(theirs)} | {time_text(mine)} "
                    f"| {ratio_text(theirs / mine)} | {floor} |"
                )
    theirs, mine = runs["mask", "flower"], runs["mask", "secagg"]
    ideal = mine["ideal_bytes"]
    for key, title in (("masked_input_bytes", "masked input"), ("upload_bytes", "all that a client sends")):
        yield (
            f"| {title}, of ideal | {theirs[key] / ideal:.4g} | {mine[key] / ideal:.5g} "
            f"| {theirs[key] / mine[key]:.3g} × | {ideal / 1e3:,.0f} kB |"
        )


def time_text(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def ratio_text(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 100 else f"{ratio:.3g} ×"


def draw(cases: Mapping[Case, Runs], picture: Path) -> None:
    figure = Figure(figsize=(10, 1.9 * len(cases)), layout="constrained")
    figure.patch.set_alpha(0)
    grid = figure.subplots(len(cases), len(PANELS), squeeze=False)
    for row, ((clients, length), runs) in zip(grid, cases.items(), strict=True):
        for axes, stage in zip(row, PANELS, strict=True):
            draw_panel(axes, {side: runs[stage, side] for side in SIDES if (stage, side) in runs})
        row[0].set_yticks(range(len(SIDES)), list(SIDES))
        row[0].set_ylabel(f"n = {clients}\nd = {length:,}", fontsize=11, color=GREY, rotation=0, ha="right")
    for axes, title in zip(grid[0], PANELS.values(), strict=True):
        axes.set_title(title, fontsize=11, color=GREY, loc="left")
    figure.savefig(picture, metadata={"Date": None})


def draw_panel(axes: Any, found: Mapping[str, Mapping[str, Any]]) -> None:
    axes.patch.set_alpha(0)
    seconds = {side: run["cpu_seconds"] for side, run in found.items()}
    low, high = min(seconds.values()) / 4, max(seconds.values()) * 20
    for place, (side, colour) in enumerate(SIDES.items()):
        if side in seconds:
            axes.barh(place, seconds[side] - low, left=low, color=colour, height=0.62)
            ratio = f"   {ratio_text(seconds['flower'] / seconds[side])}" if "secagg" in side else ""
            where, label = seconds[side] * 1.2, time_text(seconds[side]) + ratio
        else:
            where, label = low, "the same: nothing is signed here"
        axes.text(where, place, label, va="center", fontsize=10, color=GREY)
    axes.set(xscale="log", xlim=(low, high), ylim=(len(SIDES) - 0.5, -0.5), yticks=())
    axes.tick_params(left=False, bottom=False, labelbottom=False, labelsize=11, labelcolor=GREY, which="both")
    for spine in axes.spines.values():
        spine.set_visible(False)


if __name__ == "__main__":
    measured = read(Path(sys.argv[1]))
    for (clients, length), runs in measured.items():
        print(f"\nn = {clients}, d = {length:,}\n", *table(runs), sep="\n")
    if len(sys.argv) > 2:
        draw(measured, Path(sys.argv[2]))
