"""report.png: accuracy and clients by round in one picture, for slides and mail.

Drawn by matplotlib's Agg renderer through ``Figure`` objects, so that no display is needed and nothing of
a caller's own matplotlib state changes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fl.config import TrainingConfig
from fl.data import demo_extra
from fl.report_charts import DENSE_ABOVE, STATE_TEXT, STATES, key_holders_text, state, state_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _SOFT, _LINE, _BLUE = "#1d2126", "#646c76", "#e2e4e8", "#2a6fb0"
_COLOURS = {
    "counted": "#a5c6e5",
    "dropped": "#e3b866",
    "refused": "#cc3f54",
    "lost": "#9aa3ae",
    "absent": "#ffffff",
}

_NAMED_ROWS = 25


def picture(document: Mapping[str, Any]) -> bytes:
    """The PNG, 1600 pixels wide. ``LocalError`` if matplotlib is not installed."""
    with demo_extra():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    clients = TrainingConfig(**document["config"]).names
    height = min(4.0, max(1.2, 0.16 * len(clients)))
    figure = Figure(
        figsize=(8, 3.4 + height), facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
    )
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=[2.6, height])
    _draw_accuracy(above, document)
    _draw_clients(figure, below, clients, document["rounds"])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return buffer.getvalue()


def _draw_accuracy(axes: Axes, document: Mapping[str, Any]) -> None:
    points = [(entry["round"], entry["accuracy"]) for entry in document["rounds"]]
    if document["initial_accuracy"] is not None:
        points.insert(0, (0, document["initial_accuracy"]))
    numbers, values = zip(*points, strict=True)
    axes.plot(numbers, values, color=_BLUE, linewidth=2, marker="o", markersize=4)
    axes.annotate(
        f"{values[-1]:.4f}",
        (numbers[-1], values[-1]),
        textcoords="offset points",
        xytext=(0, -16),
        ha="right",
        color=_BLUE,
        weight="bold",
    )
    axes.set_title(
        f"Held-out accuracy: {document['backend']}{key_holders_text(document['config'])}, "
        f"{document['config']['clients']} clients",
        loc="left",
        color=_INK,
        fontsize=12,
    )
    axes.set_xlabel("round", color=_SOFT)
    axes.set_ylabel("accuracy", color=_SOFT)
    axes.grid(axis="y", color=_LINE)
    axes.set_axisbelow(True)
    _plain(axes)


def _draw_clients(
    figure: Figure, axes: Axes, clients: Sequence[str], rounds: Sequence[Mapping[str, Any]]
) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    axes.set_title("Contributions by client and round", loc="left", color=_INK, fontsize=12)
    if rounds:
        cells = [[STATES.index(state(client, entry)) for entry in rounds] for client in clients]
        edges = [entry["round"] - 0.5 for entry in rounds] + [rounds[-1]["round"] + 0.5]
        colours = ListedColormap([_COLOURS[one] for one in STATES])
        axes.pcolormesh(
            edges,
            range(len(clients) + 1),
            cells,
            cmap=colours,
            vmin=-0.5,
            vmax=len(STATES) - 0.5,
            edgecolors="white",
            linewidth=0.8 if len(clients) <= DENSE_ABOVE else 0,
        )
        counts = state_counts(clients, rounds)
        patches = [
            Patch(facecolor=_COLOURS[one], edgecolor=_LINE, label=f"{STATE_TEXT[one]} ({counts[one]:,})")
            for one in STATES
            if counts[one]
        ]
        figure.legend(handles=patches, loc="outside lower left", ncols=3, frameon=False, labelcolor=_SOFT)
    axes.invert_yaxis()
    # Where there are more clients than rows of text, every so many are named.
    named = range(0, len(clients), math.ceil(len(clients) / _NAMED_ROWS))
    axes.set_yticks([place + 0.5 for place in named], [clients[place] for place in named], fontsize=6)
    axes.set_xlabel("round", color=_SOFT)
    _plain(axes)


def _plain(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=_SOFT, length=0)
