"""What a training loop is given, looked at before anybody trains: ``LocalError`` names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fl.attacks import Attack
from fl.backends import check_offline, check_rounds
from fl.data import Purpose, generator
from fl.model import FLOAT_TYPES
from mpc.errors import LocalError
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.cohort import check_members
from secagg.encoding import MAX_WEIGHT, FixedPoint

if TYPE_CHECKING:
    from fl.federated import FederatedLoop


def check_loop(loop: FederatedLoop) -> None:
    """``LocalError`` for the first field of ``loop`` that cannot be used, by itself or beside the others."""
    _check_clients(loop.clients)
    for name in ("training", "evaluate"):
        if not callable(getattr(loop, name)):
            raise LocalError(name, _kind(getattr(loop, name)), "must be callable")
    _check_weights(loop.weights)
    if isinstance(loop.backend, type) and issubclass(loop.backend, Backend):
        raise LocalError("backend", loop.backend.__name__, f"is a class: call it, {loop.backend.__name__}()")
    _require("backend", loop.backend, Backend, "a Backend, such as Masking()")
    _require("encoding", loop.encoding, FixedPoint, "a FixedPoint")
    _require("checks", loop.checks, Sequence, "a sequence of checks")
    for place, check in enumerate(loop.checks):
        _require(f"checks[{place}]", check, Check, "a Check")
    _require("history", loop.history, list, "a list of round reports")
    if loop.attack is not None:
        _require("attack", loop.attack, Attack, "an Attack, or None")
        if strangers := sorted(loop.attack.clients - loop.clients.keys()):
            raise LocalError("attack.clients", strangers, f"are none of the {len(loop.clients)} clients")
    _check_numbers(loop)
    check_rounds(tuple(loop.clients), loop.fraction, loop.dropout, loop.backend)
    check_offline(loop.offline_key_holders, loop.backend)


def largest_weight(clients: Mapping[str, Any], max_weight: int | None) -> int:
    """``max_weight``, or how many samples the largest client has; ``LocalError`` if neither is known."""
    if max_weight is not None:
        if not _whole(max_weight) or not 1 <= max_weight <= MAX_WEIGHT:
            raise LocalError("max_weight", max_weight, "must be a whole number from 1 to 2^53")
        return int(max_weight)
    for name, data in clients.items():
        if not hasattr(data, "__len__"):
            bound = f"must be given, since the data of client {name!r} has no length"
            raise LocalError("max_weight", None, bound)
    # Whether a client without samples has something to contribute is for its training to say.
    return max(1, *(len(data) for data in clients.values()))


def check_rounds_asked(rounds: object) -> None:
    """``LocalError`` unless ``rounds`` is a whole number of at least 0."""
    if not _whole(rounds) or rounds < 0:  # type: ignore[operator]
        raise LocalError("rounds", rounds, "must be a whole number of at least 0")


def _check_clients(clients: object) -> None:
    if not isinstance(clients, Mapping):
        raise LocalError("clients", _kind(clients), "must map names to data")
    if len(clients) < 2:
        raise LocalError("clients", len(clients), "must map at least 2 names to data")
    check_members(tuple(clients))


def _check_weights(weights: object) -> None:
    if not isinstance(weights, list | tuple) or not weights:
        found = "empty" if isinstance(weights, list | tuple) else _kind(weights)
        bound = "must be a list of float arrays: fl.model.flatten(state)[0] gives that of a state dict"
        raise LocalError("weights", found, bound)
    for place, array in enumerate(weights):
        if not isinstance(array, np.ndarray) or array.dtype.name not in FLOAT_TYPES:
            found = str(array.dtype) if isinstance(array, np.ndarray) else _kind(array)
            bound = f"must be an array of {', '.join(FLOAT_TYPES)}; fl.model.flatten converts a model"
            raise LocalError(f"weights[{place}]", found, bound)


def _check_numbers(loop: FederatedLoop) -> None:
    if not _real(loop.fraction) or not 0 < loop.fraction <= 1:
        raise LocalError("fraction", loop.fraction, "must be above 0 and at most 1")
    if not _real(loop.dropout) or not 0 <= loop.dropout < 1:
        raise LocalError("dropout", loop.dropout, "must be at least 0 and below 1")
    if not _real(loop.server_learning_rate) or not 0 < loop.server_learning_rate < np.inf:
        raise LocalError("server_learning_rate", loop.server_learning_rate, "must be positive and finite")
    if not _whole(loop.offline_key_holders) or loop.offline_key_holders < 0:
        raise LocalError(
            "offline_key_holders", loop.offline_key_holders, "must be a whole number of at least 0"
        )
    if not _whole(loop.seed):
        raise LocalError("seed", loop.seed, "must be a whole number")
    generator(loop.seed, Purpose.SAMPLING)
    largest_weight(loop.clients, loop.max_weight)
    _require("metric_bounds", loop.metric_bounds, Mapping, "a mapping of metrics to bounds")
    for name, bound in loop.metric_bounds.items():
        if not isinstance(name, str):
            raise LocalError("metric_bounds", name, "must be names of metrics")
        if not _real(bound) or not 0 < bound < np.inf:
            raise LocalError(f"metric_bounds[{name!r}]", bound, "must be positive and finite")


def _require(argument: str, value: object, kind: type, wanted: str) -> None:
    if not isinstance(value, kind):
        raise LocalError(argument, value if isinstance(value, str) else _kind(value), f"must be {wanted}")


def _kind(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
