"""Federated learning on top of ``secagg``: data, models, local training, the round and its checkpoints.

What most programs need is here by name; nothing is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fl.attacks import Attack
    from fl.client import Evaluation, LocalTraining, LocalUpdate, TorchTraining
    from fl.config import TrainingConfig
    from fl.data import Dataset, Purpose, generator, load_digits, partition_dirichlet, partition_iid
    from fl.events import (
        AggregationStarted,
        ClientTrained,
        Event,
        KeysStarted,
        Refused,
        RoundFinished,
        RoundReport,
        RoundStarted,
        TrainingFinished,
        TrainingStarted,
    )
    from fl.federated import FederatedLoop
    from fl.loop import train
    from fl.model import Weights, flatten, initial_weights, unflatten

__all__ = [
    "AggregationStarted",
    "Attack",
    "ClientTrained",
    "Dataset",
    "Evaluation",
    "Event",
    "FederatedLoop",
    "KeysStarted",
    "LocalTraining",
    "LocalUpdate",
    "Purpose",
    "Refused",
    "RoundFinished",
    "RoundReport",
    "RoundStarted",
    "TorchTraining",
    "TrainingConfig",
    "TrainingFinished",
    "TrainingStarted",
    "Weights",
    "flatten",
    "generator",
    "initial_weights",
    "load_digits",
    "partition_dirichlet",
    "partition_iid",
    "train",
    "unflatten",
]

_HOMES = {
    "attacks": ("Attack",),
    "client": ("Evaluation", "LocalTraining", "LocalUpdate", "TorchTraining"),
    "config": ("TrainingConfig",),
    "data": ("Dataset", "Purpose", "generator", "load_digits", "partition_dirichlet", "partition_iid"),
    "events": (
        "AggregationStarted",
        "ClientTrained",
        "Event",
        "KeysStarted",
        "Refused",
        "RoundFinished",
        "RoundReport",
        "RoundStarted",
        "TrainingFinished",
        "TrainingStarted",
    ),
    "federated": ("FederatedLoop",),
    "loop": ("train",),
    "model": ("Weights", "flatten", "initial_weights", "unflatten"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
