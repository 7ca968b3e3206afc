"""Tells and draws what ``bench_phe.py`` measured: ``plot_phe.py RESULTS.json [PICTURE.svg]``.

Prints two tables in Markdown: times, wall and CPU, and how many times our CPU time the others take.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

COLOURS = {"phe": "#c8772e", "lightphe": "#d9a86c", "TenSEAL CKKS": "#8a94a0", "secagg": "#2a6fb0"}
OURS = "secagg"
# A panel or column, and the stage it shows; online, where nothing can be prepared, is encryption itself.
COLUMNS = {
    "encrypt": "a client encrypts",
    "online": "the same, prepared",
    "add": "the server adds",
    "decrypt": "the sum is opened",
}
GREY = "#737b86"
Sides = Mapping[str, Mapping[str, Any]]

matplotlib.rcParams["svg.hashsalt"] = "secagg"  # the same numbers give the same file


def by_side(found: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {figures["side"]: figures for figures in found}


def seconds_of(figures: Mapping[str, Any], stage: str) -> Mapping[str, float]:
    """Wall and CPU time of a stage; where a side cannot prepare, of its whole encryption."""
    found: Mapping[str, Mapping[str, float]] = figures["seconds"]
    return found[stage] if stage in found or stage != "online" else found["encrypt"]


def ratios(sides: Sides) -> dict[str, dict[str, float]]:
    """Of every side but ours, its CPU time in each stage and its bytes, over ours."""
    if OURS not in sides:
        return {}
    mine = sides[OURS]
    return {
        side: {
            **{c: seconds_of(them, c)["cpu"] / seconds_of(mine, c)["cpu"] for c in COLUMNS},
            "bytes": them["bytes_per_value"] / mine["bytes_per_value"],
        }
        for side, them in sides.items()
        if side != OURS
    }


def table(sides: Sides) -> Iterator[str]:
    """Times, then ratios, then what was extrapolated from what."""
    clients = next(iter(sides.values()))["clients"]
    heads = ("encrypt", "online encrypt", f"{clients - 1} additions", "decrypt")
    yield f"| wall (CPU) | {' | '.join(heads)} | bytes a value | guarantee |"
    yield "|---" * 7 + "|"
    for side, figures in sides.items():
        cells = [cell(figures, stage) for stage in COLUMNS]
        yield f"| {side} | {' | '.join(cells)} | {figures['bytes_per_value']:.3g} | {figures['guarantee']} |"
    if found := ratios(sides):
        yield f"\n| CPU time, over ours | {' | '.join(heads)} | bytes |"
        yield "|---" * 6 + "|"
        for side, numbers in found.items():
            yield f"| {side} | {' | '.join(ratio_text(number) for number in numbers.values())} |"
    for side, figures in sides.items():
        if figures["sampled"]:
            counts = ", ".join(f"{stage} {count:,}" for stage, count in figures["sampled"].items())
            yield f"\n\\* {side}: extrapolated from so many operations: {counts}."
    if OURS in sides:
        prepared = cell(sides[OURS], "prepare")
        yield f"\nOnline: with randomness prepared before, in {prepared}; the others cannot prepare any."
    for side, figures in sides.items():
        if "read" in figures["seconds"]:
            reading = cell(figures, "read")
            yield f"\nReading all messages, which our additions include, takes {side} {reading} more."


def cell(figures: Mapping[str, Any], stage: str) -> str:
    if stage not in figures["seconds"]:
        return "–"
    taken, star = figures["seconds"][stage], " \\*" if stage in figures["sampled"] else ""
    return f"{time_text(taken['wall'])} ({time_text(taken['cpu'])}){star}"


def time_text(seconds: float) -> str:
    if seconds >= 1000:
        return f"{seconds:,.0f} s"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def ratio_text(ratio: float) -> str:
    return f"{float(f'{ratio:.3g}'):,.0f} ×" if ratio >= 100 else f"{ratio:.3g} ×"


def draw(sides: Sides, picture: Path) -> None:
    figure = Figure(figsize=(12, 0.42 * len(sides) + 0.5), layout="constrained")
    figure.patch.set_alpha(0)
    grid = figure.subplots(1, len(COLUMNS))
    for axes, (stage, title) in zip(grid, COLUMNS.items(), strict=True):
        draw_panel(axes, sides, stage)
        axes.set_title(title, fontsize=11, color=GREY, loc="left")
    grid[0].set_yticks(range(len(sides)), list(sides))
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)


def draw_panel(axes: Any, sides: Sides, stage: str) -> None:
    axes.patch.set_alpha(0)
    taken = {side: seconds_of(figures, stage)["cpu"] for side, figures in sides.items()}
    low, high = min(taken.values()) / 4, max(taken.values()) * (10**5 if stage == "online" else 60)
    for place, (side, seconds) in enumerate(taken.items()):
        label, strength = time_text(seconds), 1.0
        if stage not in sides[side]["seconds"]:
            label, strength = f"{label}, unprepared", 0.35
        elif side == OURS and "phe" in taken:
            label += f"   phe: {ratio_text(taken['phe'] / seconds)}"
        axes.barh(place, seconds - low, left=low, color=COLOURS[side], height=0.62, alpha=strength)
        axes.text(seconds * 1.2, place, label, va="center", fontsize=10, color=GREY)
    axes.set(xscale="log", xlim=(low, high), ylim=(len(sides) - 0.5, -0.5), yticks=())
    axes.tick_params(left=False, bottom=False, labelbottom=False, labelsize=11, labelcolor=GREY, which="both")
    for spine in axes.spines.values():
        spine.set_visible(False)


if __name__ == "__main__":
    measured = by_side([run["extra_info"] for run in json.loads(Path(sys.argv[1]).read_text())["benchmarks"]])
    print(*table(measured), sep="\n")
    if len(sys.argv) > 2:
        draw(measured, Path(sys.argv[2]))
