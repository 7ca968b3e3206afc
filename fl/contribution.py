"""What a client's training returned: fit for the sum, refused before it, or a fault of the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.client import LocalUpdate
from fl.events import Refused
from fl.model import Weights
from mpc.errors import LocalError

LOCAL_CHECK = "local"
"""Names, in a report, what a client's own side refuses before anything is sent."""


@dataclass(frozen=True, slots=True)
class Requirements:
    """``weights``: the global ones, whose shapes and types an update has."""

    weights: Weights
    metrics: tuple[str, ...]
    max_weight: int


def accept(client: str, found: object, wanted: Requirements) -> LocalUpdate | Refused:
    """The update as the secure sum takes it, or the client's refusal.

    Refused is what comes of a client's data: a coordinate or metric that is not finite, a weight below 1.
    ``LocalError`` for what every client's update would have: another type or shape, a metric too few, a
    weight above the public largest one. Metrics beyond those wanted are left out.
    """
    if not isinstance(found, LocalUpdate):
        raise LocalError(f"training of client {client!r}", type(found).__name__, "must return a LocalUpdate")
    tensors = _tensors(client, found.update, wanted.weights)
    weight = _weight(client, found.weight, wanted.max_weight)
    metrics = _metrics(client, found.metrics, wanted.metrics)
    if (reason := _refusal(client, tensors, weight, metrics)) is not None:
        return Refused(client, LOCAL_CHECK, str(reason))
    return LocalUpdate(tensors, weight, metrics)


def _tensors(client: str, update: object, weights: Weights) -> Weights:
    """Each in the type of the weights, so that all clients' are of one type."""
    where = f"update of client {client!r}"
    if not isinstance(update, list | tuple):
        raise LocalError(where, type(update).__name__, "must be a list of arrays")
    if len(update) != len(weights):
        raise LocalError(where, f"{len(update)} tensors", f"must be {len(weights)}, as the weights are")
    tensors: Weights = []
    for place, (tensor, like) in enumerate(zip(update, weights, strict=True)):
        if not isinstance(tensor, np.ndarray) or not np.issubdtype(tensor.dtype, np.floating):
            kind = str(tensor.dtype) if isinstance(tensor, np.ndarray) else type(tensor).__name__
            raise LocalError(f"{where}, tensor {place}", kind, "must be a float array")
        if tensor.shape != like.shape:
            found = f"of shape {tensor.shape}"
            raise LocalError(f"{where}, tensor {place}", found, f"the weights say {like.shape}")
        with np.errstate(over="ignore"):  # what overflows is refused as infinite
            tensors.append(np.asarray(tensor.astype(like.dtype, copy=False)))
    return tensors


def _weight(client: str, weight: object, largest: int) -> int:
    where = f"weight of client {client!r}"
    if not isinstance(weight, int | np.integer) or isinstance(weight, bool):
        raise LocalError(where, type(weight).__name__, "must be a whole number")
    if weight > largest:
        raise LocalError(where, int(weight), f"must be at most max_weight = {largest}; the loop's can be set")
    return int(weight)


def _metrics(client: str, metrics: object, wanted: tuple[str, ...]) -> dict[str, float]:
    where = f"metrics of client {client!r}"
    if not isinstance(metrics, Mapping):
        raise LocalError(where, type(metrics).__name__, "must map names to numbers")
    if missing := [name for name in wanted if name not in metrics]:
        bound = f"must have those of the loop's metric_bounds; missing: {', '.join(missing)}"
        raise LocalError(where, sorted(map(str, metrics)), bound)
    return {name: _number(f"metric {name!r} of client {client!r}", metrics[name]) for name in wanted}


def _number(where: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise LocalError(where, type(value).__name__, "must be a number that float64 holds") from None


def _refusal(client: str, tensors: Weights, weight: int, metrics: Mapping[str, float]) -> LocalError | None:
    bound = "must be a finite number"
    for place, tensor in enumerate(tensors):
        if (bad := _first_bad(tensor)) is not None:
            value = float(tensor.reshape(-1)[bad])
            where = f"update of client {client!r}, tensor {place}"
            return LocalError(where, value, f"coordinate {bad} {bound}")
    for name, number in metrics.items():
        if not np.isfinite(number):
            return LocalError(f"metric {name!r} of client {client!r}", number, bound)
    if weight < 1:
        return LocalError(f"weight of client {client!r}", weight, "must be at least 1")
    return None


def _first_bad(tensor: NDArray[Any]) -> int | None:
    finite = np.isfinite(tensor).reshape(-1)
    return None if finite.all() else int(np.argmin(finite))
