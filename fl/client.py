"""What a client does at home: train on its own data (spec section 15).

The loop knows one thing about training, the callable :class:`LocalTraining`. Anything that maps global
weights, data and a seed to an update fits; :class:`TorchTraining` is the one that is included.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fl.data import Dataset
from fl.model import Weights, digits_network, flatten, seeded, unflatten
from mpc.errors import LocalError

if TYPE_CHECKING:
    import torch

# Goes with digits_training: a step beyond the mean makes up for what averaging skewed clients takes away.
DIGITS_SERVER_LEARNING_RATE = 1.3


@dataclass(frozen=True, eq=False)
class LocalUpdate:
    """``update``: new minus global weights. ``weight``: how many samples it rests on.

    ``metrics``: what the client measured, such as "loss" and "accuracy" on its own data after training. All
    are the client's own, and none is in the repr.
    """

    update: Weights = field(repr=False)
    weight: int = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)


class LocalTraining(Protocol):
    """Local training as a plain callable. The same arguments give the same update, to the bit."""

    def __call__(self, weights: Weights, data: Any, seed: int) -> LocalUpdate: ...


@dataclass(frozen=True)
class Evaluation:
    """``accuracy``: the fraction classified correctly, NaN where nothing is classified.

    ``loss``: the mean loss, here the cross-entropy in nats.
    """

    accuracy: float = math.nan
    loss: float = math.nan


@dataclass(frozen=True)
class TorchTraining:
    """Mini-batch SGD with momentum on the cross-entropy, on the CPU.

    ``factory`` makes a module from features (n, ...) to logits (n, classes). Each epoch deals the shuffled
    samples into near-equal batches of at most ``batch_size``, so that no left-over sample gets a step of
    its own. Momentum starts from zero in each call. ``label_smoothing`` is the share of the target that is
    spread evenly over the classes; the loss that is reported is never smoothed. Entries that are not float,
    such as the counters of a batch normalisation, start as ``factory`` makes them. ``LocalError`` unless
    epochs and batch_size ≥ 1, learning_rate > 0, 0 ≤ momentum < 1 and 0 ≤ label_smoothing < 1.

    Deterministic for a given seed and number of torch threads, and torch's global generator is left as it
    was; that generator is shared by the process, so call it from one thread at a time.
    Source: FederatedAveraging's ClientUpdate, McMahan et al. 2017, arXiv 1602.05629, algorithm 1.
    """

    factory: Callable[[], torch.nn.Module]
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        torch = sys.modules.get("torch")  # without it there is no module to mistake for a factory
        if not callable(self.factory) or (torch and isinstance(self.factory, torch.nn.Module)):
            bound = "must make a new module when called: a class or a function, not a module"
            raise LocalError("factory", type(self.factory).__name__, bound)
        if self.epochs < 1:
            raise LocalError("epochs", self.epochs, "must be at least 1")
        if self.batch_size < 1:
            raise LocalError("batch_size", self.batch_size, "must be at least 1")
        if not 0 < self.learning_rate < np.inf:
            raise LocalError("learning_rate", self.learning_rate, "must be positive and finite")
        if not 0 <= self.momentum < 1:
            raise LocalError("momentum", self.momentum, "must lie in [0, 1)")
        if not 0 <= self.label_smoothing < 1:
            raise LocalError("label_smoothing", self.label_smoothing, "must lie in [0, 1)")

    def __call__(self, weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
        """Train from ``weights`` on ``data``; ``seed`` orders the batches and feeds the module's own draws.

        ``LocalError`` if ``data`` is empty, the seed is not in [0, 2^63), or ``weights`` do not fit the
        module (names the entry).
        """
        with seeded(seed):
            module = self._module(weights, data)
            self._descend(module, data, seed)
            after = _evaluate(module, data)
        trained, _ = flatten(module.state_dict())
        update = [np.asarray(new - old) for new, old in zip(trained, weights, strict=True)]
        return LocalUpdate(update, len(data), {"loss": after.loss, "accuracy": after.accuracy})

    def evaluate(self, weights: Weights, data: Dataset) -> Evaluation:
        """How ``weights`` do on ``data``; ``LocalError`` as in a call."""
        with seeded(0):
            return _evaluate(self._module(weights, data), data)

    def _module(self, weights: Weights, data: Dataset) -> torch.nn.Module:
        """A new module that holds a copy of ``weights``."""
        import torch

        _check_classified(data)
        module = self.factory()
        if not isinstance(module, torch.nn.Module):
            raise LocalError("factory", type(module).__name__, "must make a torch module when called")
        state = module.state_dict()
        module.load_state_dict(unflatten(weights, flatten(state)[1], kept=state))
        return module

    def _descend(self, module: torch.nn.Module, data: Dataset, seed: int) -> None:
        import torch

        features, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
        batches = -(-len(data) // self.batch_size)
        order = torch.Generator().manual_seed(seed)
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)
        optimizer = torch.optim.SGD(module.parameters(), lr=self.learning_rate, momentum=self.momentum)
        module.train()
        for _ in range(self.epochs):
            for batch in torch.randperm(len(data), generator=order).tensor_split(batches):
                optimizer.zero_grad()
                criterion(module(features[batch]), labels[batch]).backward()
                optimizer.step()


def digits_training() -> TorchTraining:
    """Training for the bundled digits, tuned for 20 clients at Dirichlet 0.5 with a tenth dropping out.

    With a server learning rate of 1.3 it takes 15 rounds to a held-out accuracy of 0.96 or more. Smoothing
    keeps clients that know few labels from driving their logits apart, so that an update's coordinates
    hardly ever leave ± 1.
    """
    return TorchTraining(
        digits_network, epochs=10, batch_size=16, learning_rate=0.15, momentum=0.9, label_smoothing=0.2
    )


def _check_classified(data: object) -> None:
    """``LocalError`` unless these are samples with a class each, of types that torch has."""
    if not isinstance(data, Dataset):
        raise LocalError("data", type(data).__name__, "must be a Dataset")
    if not len(data):
        raise LocalError("len(data)", 0, "must be at least 1")
    if data.features.dtype.kind not in "fiub":
        raise LocalError("features", str(data.features.dtype), "must be numbers")
    if data.labels.dtype != np.int64 or data.labels.ndim != 1:
        found = f"{data.labels.dtype} {data.labels.shape}"
        raise LocalError("labels", found, f"must be int64 ({len(data)},), one class a sample")


def _evaluate(module: torch.nn.Module, data: Dataset) -> Evaluation:
    import torch

    features, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
    module.eval()
    with torch.inference_mode():
        logits = module(features)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        correct = (logits.argmax(dim=1) == labels).sum()
    return Evaluation(int(correct) / len(data), float(loss))
