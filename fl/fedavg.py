"""Federated averaging: the steps of one round as pure functions (spec section 15).

Source: McMahan et al. 2017, arXiv 1602.05629, algorithm 1; the server's learning rate is that of
Reddi et al. 2021, arXiv 2003.00295, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.model import FLOAT_TYPES, Weights
from mpc.errors import LocalError


def sample_clients(names: Sequence[str], fraction: float, rng: np.random.Generator) -> list[str]:
    """max(1, round(fraction · n)) of the n ``names``, uniform without replacement, in their given order.

    ``LocalError`` if there is no name, one is repeated, or not 0 < fraction ≤ 1.
    """
    if not names:
        raise LocalError("names", names, "must name at least one client")
    _check_distinct(names)
    if not 0 < fraction <= 1:
        raise LocalError("fraction", fraction, "must lie in (0, 1]")
    count = max(1, round(fraction * len(names)))
    chosen = rng.choice(len(names), size=count, replace=False)
    return [names[position] for position in np.sort(chosen)]


def choose_dropouts(names: Sequence[str], probability: float, rng: np.random.Generator) -> list[str]:
    """Who falls silent, in their given order: each of the n ``names`` with ``probability``.

    Together they are probability · n, rounded up or down at random where that is no whole number.
    ``LocalError`` if a name is repeated or not 0 ≤ probability ≤ 1.
    """
    _check_distinct(names)
    if not 0 <= probability <= 1:
        raise LocalError("probability", probability, "must lie in [0, 1]")
    expected = round(probability * len(names), 9)  # without the digits that binary fractions add
    whole = math.floor(expected)
    # Not floor(expected + draw): a draw close to 1 would round a whole number up.
    count = whole + int(rng.random() < expected - whole)
    chosen = rng.choice(len(names), size=count, replace=False)
    return [names[position] for position in np.sort(chosen)]


def weighted_mean(updates: Sequence[Weights], weights: Sequence[float]) -> Weights:
    """Σ w_i · update_i / Σ w_i in float64: the average in the clear, which secure aggregation approximates.

    Summed in the given order, so the result is deterministic. ``LocalError`` if there is no update, the
    shapes differ, a weight is negative or not finite, or all are zero.
    """
    if not updates:
        raise LocalError("updates", updates, "must hold at least one update")
    if len(weights) != len(updates):
        raise LocalError("len(weights)", len(weights), f"there are {len(updates)} updates")
    for position, weight in enumerate(weights):
        if not 0 <= weight < np.inf:
            raise LocalError(f"weights[{position}]", weight, "must be finite and at least 0")
    total = float(sum(weights))
    if total == 0:
        raise LocalError("sum of weights", total, "must be positive")
    mean = [np.zeros(tensor.shape) for tensor in updates[0]]
    for position, (update, weight) in enumerate(zip(updates, weights, strict=True)):
        _check_same_shapes(f"updates[{position}]", update, updates[0])
        for sums, tensor in zip(mean, update, strict=True):
            sums += tensor.astype(np.float64) * (weight / total)
    return mean


def apply_update(
    weights: Weights, mean_update: Sequence[NDArray[Any]], server_learning_rate: float = 1.0
) -> Weights:
    """weights + server_learning_rate · mean_update, computed in float64, each back in its own type.

    Nothing is changed in place. ``LocalError`` names a tensor whose shape differs, whose type is not float,
    or which would stop being finite.
    """
    if not 0 < server_learning_rate < np.inf:
        raise LocalError("server_learning_rate", server_learning_rate, "must be positive and finite")
    _check_same_shapes("mean_update", mean_update, weights)
    updated: Weights = []
    for position, (tensor, step) in enumerate(zip(weights, mean_update, strict=True)):
        if tensor.dtype.name not in FLOAT_TYPES:
            bound = f"must be one of {', '.join(FLOAT_TYPES)}"
            raise LocalError(f"dtype of weights[{position}]", tensor.dtype.name, bound)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is caught just below
            moved = tensor.astype(np.float64) + server_learning_rate * step.astype(np.float64)
            cast = np.asarray(moved.astype(tensor.dtype))
        if not np.isfinite(cast).all():
            bad = int(np.count_nonzero(~np.isfinite(cast)))
            raise LocalError(f"updated weights[{position}]", f"{bad} coordinates", "would not be finite")
        updated.append(cast)
    return updated


def _check_distinct(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise LocalError("names", repeated, "must not be repeated")


def _check_same_shapes(argument: str, found: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]) -> None:
    if len(found) != len(like):
        raise LocalError(f"len({argument})", len(found), f"must be {len(like)} tensors")
    for position, (tensor, reference) in enumerate(zip(found, like, strict=True)):
        if tensor.shape != reference.shape:
            bound = f"must be {reference.shape}"
            raise LocalError(f"shape of {argument}[{position}]", tensor.shape, bound)
