"""The charts of the report, as HTML that stays readable at any width.

Lines are SVG stretched to the space there is; labels and dots are HTML at percentages of it, so that text
keeps its size. Nothing here runs a script: what a pointer reveals is in title attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

Round = Mapping[str, Any]

ROLES = ("client", "server", "aggregator", "key holder")
STATES = ("counted", "dropped", "refused", "lost", "absent")
STATE_TEXT = {
    "counted": "counted",
    "dropped": "dropped out",
    "refused": "refused",
    "lost": "in a round that was aborted",
    "absent": "not sampled",
}
CLIPPING_TOLD = 0.001  # of all coordinates: fewer do not change what a mean looks like
DENSE_ABOVE = 40  # clients, from which on the grid's cells are small


def accuracy_chart(rounds: Sequence[Round], initial: float | None) -> str:
    """Held-out accuracy after each round, beside what the clients measured at home."""
    points = [(0, initial, None)] if initial is not None else []
    points += [(entry["round"], entry["accuracy"], entry["aborted"]) for entry in rounds]
    # The rounding of the secure sum may lift a mean of ones a little above one.
    own = [(entry["round"], min(1.0, entry["train_accuracy"])) for entry in rounds if not entry["aborted"]]
    low, high, step = _scale([value for _, value, *_ in [*points, *own]])
    first, last = points[0][0], points[-1][0]

    def x(number: int) -> float:
        return 50.0 if first == last else 100 * (number - first) / (last - first)

    def y(value: float) -> float:
        return 100 * (high - value) / (high - low)

    ticks = [low + step * place for place in range(round((high - low) / step) + 1)]
    held_out = " ".join(f"{x(number):.2f},{y(value):.2f}" for number, value, _ in points)
    at_home = " ".join(f"{x(number):.2f},{y(value):.2f}" for number, value in own)
    parts = ['<div class="plot"><svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">']
    parts += [f'<line x1="0" x2="100" y1="{y(tick):.2f}" y2="{y(tick):.2f}"/>' for tick in ticks]
    parts.append(f'<polyline class="own" points="{at_home}"/><polyline points="{held_out}"/></svg>')
    parts += [f'<span class="dot own" style="left:{x(n):.2f}%;top:{y(v):.2f}%"></span>' for n, v in own[:1]]
    digits = 1 if step >= 0.1 else 2
    parts += [f'<span class="y" style="top:{y(tick):.2f}%">{tick:.{digits}f}</span>' for tick in ticks]
    parts += [f'<span class="x" style="left:{x(n):.2f}%">{n}</span>' for n in _round_ticks(first, last)]
    for number, value, aborted in points:
        text = f"round {number}: {value:.4f}" + (f" (aborted: {aborted})" if aborted else "")
        kind = "dot aborted" if aborted else "dot"
        place = f"left:{x(number):.2f}%;top:{y(value):.2f}%"
        parts.append(f'<span class="{kind}" style="{place}" title="{escape(text)}"></span>')
    number, value, _ = points[-1]
    place = f"left:{x(number):.2f}%;top:{y(value):.2f}%"
    parts.append(f'<span class="last" style="{place}">{value:.4f}</span></div>')
    return "".join(parts)


def client_grid(clients: Sequence[str], rounds: Sequence[Round]) -> str:
    """A row for each client, a column for each round: what became of its contribution."""
    marks = set(_round_ticks(rounds[0]["round"], rounds[-1]["round"])) if rounds else set()
    dense = " dense" if len(clients) > DENSE_ABOVE else ""
    width = f"min(100%, {7 + 2.2 * len(rounds):.1f}rem)"
    parts = [f'<div class="scroll"><table class="grid{dense}" style="width:{width}"><thead><tr><th></th>']
    for entry in rounds:
        number = entry["round"]
        label = f"<span><b>{number}</b></span>" if number in marks else ""
        parts.append(f'<th scope="col" title="round {number}">{label}</th>')
    parts.append("</tr></thead><tbody>")
    for client in clients:
        parts.append(f'<tr><th scope="row">{escape(client)}</th>')
        parts += [_cell(client, entry) for entry in rounds]
        parts.append("</tr>")
    parts.append("</tbody></table></div>")
    return "".join(parts)


def state(client: str, entry: Round) -> str:
    """What became of a client's contribution in a round: one of ``STATES``."""
    if client in entry["rejected"]:
        return "refused"
    if client in entry["dropped"]:
        return "dropped"
    if client not in entry["participants"]:
        return "absent"
    return "lost" if entry["aborted"] else "counted"


def state_counts(clients: Sequence[str], rounds: Sequence[Round]) -> dict[str, int]:
    """How many cells of the grid have each of ``STATES``."""
    counts = dict.fromkeys(STATES, 0)
    for entry in rounds:
        for client in clients:
            counts[state(client, entry)] += 1
    return counts


def bars(rows: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """One stacked bar for each row of name → role → amount. ``unit``: bytes or seconds."""
    longest = max((sum(parts.values()) for parts in rows.values()), default=0) or 1
    out = ['<div class="bars">']
    for name, parts in rows.items():
        segments = "".join(
            f'<i class="{role.replace(" ", "-")}" style="width:{100 * amount / longest:.3f}%" '
            f'title="{escape(name)}, {role}: {amount_text(amount, unit)}"></i>'
            for role, amount in parts.items()
            if amount > 0
        )
        total = amount_text(sum(parts.values()), unit)
        out.append(
            f'<div class="row"><span class="name">{escape(name)}</span>'
            f'<span class="track">{segments}</span><span class="value">{total}</span></div>'
        )
    out.append("</div>")
    return "".join(out)


def amount_text(amount: float, unit: str) -> str:
    """Bytes or seconds in the unit that suits them, to three digits."""
    if unit == "seconds":
        return f"{_three(amount)} s" if amount >= 1 else f"{_three(1000 * amount)} ms"
    for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= size:
            return f"{_three(amount / size)} {name}"
    return f"{amount:.0f} bytes"


def clipping_text(document: Mapping[str, Any]) -> list[str]:
    """What to say of the coordinates that were cut: nothing, if they were too few to matter."""
    if document["clipped"] <= CLIPPING_TOLD:
        return []
    share, clip = 100 * document["clipped"], document["config"]["clip"]
    return [f"{_three(share)} % of coordinates were cut to ±{clip:g}: raise --clip"]


def key_holders_text(config: Mapping[str, Any]) -> str:
    """What a title says of several key holders; nothing of one, or of none."""
    return f" with {config['key_holders']} key holders" if config["key_holders"] > 1 else ""


def helper_rows(rounds: Sequence[Round]) -> list[tuple[str, str, str]]:
    """Helpers that were offline or at fault, why, and in which rounds; by name."""
    found: dict[tuple[str, str], list[int]] = {}
    for entry in rounds:
        reasons = dict.fromkeys(entry["offline"], "offline") | entry["faults"]
        for helper, why in reasons.items():
            found.setdefault((helper, why), []).append(entry["round"])
    return [(helper, why, ranges_text(numbers)) for (helper, why), numbers in sorted(found.items())]


def ranges_text(numbers: Sequence[int]) -> str:
    """1, 2, 3, 5 as ``1–3, 5``; of a long list only how many rounds they are."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    if len(parts) > 8:
        return count_text(len(numbers), "round")
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def count_text(number: int, noun: str) -> str:
    """``1 round``, ``2 rounds``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _three(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def _cell(client: str, entry: Round) -> str:
    kind = state(client, entry)
    if kind == "counted":
        return '<td class="counted"></td>'  # without a title: there may be a hundred thousand of them
    text = f"{client}, round {entry['round']}: {STATE_TEXT[kind]}"
    if kind == "refused":
        text += " by the {check} check: {reason}".format(**entry["rejected"][client])
    return f'<td class="{kind}" title="{escape(text)}"></td>'


def _scale(values: Sequence[float]) -> tuple[float, float, float]:
    """Bottom, top and step of an axis of fractions that holds all the values."""
    span = max(values) - min(values)
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if span <= 5 * step)
    low = math.floor(min(values) / step + 1e-9)
    high = max(math.ceil(max(values) / step - 1e-9), low + 1)
    return low * step, high * step, step


def _round_ticks(first: int, last: int) -> Iterator[int]:
    """Round numbers to write on an axis: at most ten, at 1, 2 or 5 times a power of ten."""
    step = next(
        base * 10**power for power in range(10) for base in (1, 2, 5) if last - first <= 9 * base * 10**power
    )
    return (number for number in range(first, last + 1) if number % step == 0 or first == last)
