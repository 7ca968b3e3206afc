"""What to ask of a round instead, where no graph or no threshold withstands what was asked for.

A round of masking can be where Masking accepts its threshold and tolerance for so many clients. Every advice
here was put to it.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mpc.errors import LocalError
from secagg.masking import Masking
from secagg.masking.parameters import Adversary, Tolerance


def check(clients: int, threshold: float, tolerance: Tolerance) -> int:
    """The threshold as a count; ``LocalError`` that names what to ask for instead.

    Its argument is ``threshold`` if another one will do, and otherwise ``corrupt`` or ``dropout``.
    """
    try:
        return Masking(threshold, tolerance=tolerance).resolve_threshold(clients)
    except LocalError:
        if tolerance.adversary is Adversary.NONE and tolerance.corrupt:
            raise
    corrupt, dropped = tolerance.counts(clients)
    asked = f"of {clients} clients {corrupt} may be corrupt and {dropped} may drop out"
    if accepts(clients, clients - dropped, tolerance):
        least = _least(clients, tolerance)
        bound = f"must be at least {least} and at most {clients - dropped}"
        raise LocalError("threshold", threshold, f"{asked}: {bound}")
    name, advice = _advice(clients, threshold, tolerance)
    bound = f"{asked}, which no threshold withstands; lower {advice}"
    raise LocalError(name, getattr(tolerance, name), bound)


def accepts(clients: int, threshold: float, tolerance: Tolerance) -> bool:
    """Whether a cohort of so many clients can have this threshold and this tolerance."""
    try:
        Masking(threshold, tolerance=tolerance).resolve_threshold(clients)
    except LocalError:
        return False
    return True


def highest(clients: int, threshold: float | None, tolerance: Tolerance, name: str) -> float | None:
    """The largest ``corrupt`` or ``dropout`` that is withstood, the other as it is; None if not even 0.

    A fraction of the clients, rounded down to four digits. ``threshold``: None for whichever is best.
    """

    def withstood(count: int) -> bool:
        changed = _changed(tolerance, name, count / clients)
        best = clients - changed.counts(clients)[1]
        return accepts(clients, best if threshold is None else threshold, changed)

    low, high = -1, min(clients, tolerance.counts(clients)[name == "dropout"] + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if withstood(middle) else (low, middle)
    return None if low < 0 else math.floor(1e4 * low / clients) / 1e4


def _changed(tolerance: Tolerance, name: str, fraction: float) -> Tolerance:
    if name == "corrupt":
        return replace(tolerance, corrupt=fraction)
    return replace(tolerance, dropout=fraction)


def _least(clients: int, tolerance: Tolerance) -> int:
    """The smallest threshold, if so many clients have one."""
    low, high = 0, clients - tolerance.counts(clients)[1]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if accepts(clients, middle, tolerance) else (middle, high)
    return high


def _advice(clients: int, threshold: float, tolerance: Tolerance) -> tuple[str, str]:
    """Which fraction to lower first, and all that may be lowered, as options."""
    ways = {
        name: way
        for name in ("corrupt", "dropout")
        if getattr(tolerance, name) and (way := _way(clients, threshold, tolerance, name))
    }
    if ways:
        return next(iter(ways)), ", or ".join(ways.values())
    way = _way(clients, threshold, replace(tolerance, corrupt=0.0), "dropout")
    return "corrupt", f"--corrupt to 0 and {way}"


def _way(clients: int, threshold: float, tolerance: Tolerance, name: str) -> str | None:
    """How far to lower one fraction: at the threshold asked for, else at one that the text names."""
    most, other = highest(clients, threshold, tolerance, name), ""
    if most is None:
        most = highest(clients, None, tolerance, name)
        if most is None:
            return None
        dropped = _changed(tolerance, name, most).counts(clients)[1]
        other = f" with --threshold {clients - dropped}"
    return f"--{name} to {f'at most {most:g}' if most else '0'}{other}"
