"""Models as lists of arrays, and back (spec section 15).

What is averaged is ``Weights``: a list of float arrays in the model's own order. A :class:`Layout`
remembers the names, shapes and types, and which entries are left out because they are not float: the
counter of a batch normalisation has no meaningful weighted average, so each party keeps its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from fl.data import demo_extra
from mpc.errors import LocalError

if TYPE_CHECKING:
    import torch

Weights = list[NDArray[Any]]  # each float16, float32 or float64
FLOAT_TYPES = ("float16", "float32", "float64")
# Counters and masks, carried along beside the weights. Any other type is refused rather than guessed at.
KEPT_TYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

Model = TypeVar("Model", bound="dict[str, torch.Tensor] | list[NDArray[Any]]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a model. ``dtype`` is NumPy's name of it; ``averaged`` is false for what is kept."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def averaged(self) -> bool:
        return self.dtype in FLOAT_TYPES


@dataclass(frozen=True, slots=True)
class Layout(Generic[Model]):
    """The structure of a model. Equal layouts, and only they, can be averaged with each other."""

    entries: tuple[Entry, ...]
    named: bool  # a state dict, or a list whose entries are called by their position

    @property
    def averaged(self) -> tuple[Entry, ...]:
        """The entries of the weights, in their order."""
        return tuple(entry for entry in self.entries if entry.averaged)

    @property
    def kept(self) -> tuple[Entry, ...]:
        """The entries that are not float, so not part of the weights."""
        return tuple(entry for entry in self.entries if not entry.averaged)

    @property
    def size(self) -> int:
        """How many coordinates the weights have together."""
        return sum(int(np.prod(entry.shape, dtype=np.int64)) for entry in self.averaged)


@overload
def flatten(model: Mapping[str, torch.Tensor]) -> tuple[Weights, Layout[dict[str, torch.Tensor]]]: ...
@overload
def flatten(model: Sequence[NDArray[Any]]) -> tuple[Weights, Layout[list[NDArray[Any]]]]: ...
def flatten(
    model: Mapping[str, torch.Tensor] | Sequence[NDArray[Any]],
) -> tuple[Weights, Layout[Any]]:
    """The weights of a state dict or a list of arrays, copied, and the layout that restores it.

    Tensors may lie on any device. ``LocalError`` names an entry whose type is neither a NumPy float nor a
    kept type: complex, bfloat16, quantised, text.
    """
    arrays = _arrays(model)
    entries = tuple(Entry(name, array.shape, array.dtype.name) for name, array in arrays.items())
    for entry in entries:
        if entry.dtype not in FLOAT_TYPES + KEPT_TYPES:
            bound = f"must be one of {', '.join(FLOAT_TYPES + KEPT_TYPES)}"
            raise LocalError(f"dtype of {entry.name}", entry.dtype, bound)
    weights = [arrays[entry.name].astype(entry.dtype) for entry in entries if entry.averaged]
    return weights, Layout(entries, isinstance(model, Mapping))


def unflatten(weights: Sequence[NDArray[Any]], layout: Layout[Model], kept: Model | None = None) -> Model:
    """The model that ``flatten`` took apart: a dict of CPU tensors, or a list of arrays, all copies.

    ``kept`` is a model of the same layout that lends the entries which are not averaged; it is required
    when there are any. ``LocalError`` names the entry that has another shape or type, or is missing.
    """
    check_weights(weights, layout)
    arrays = {entry.name: array for entry, array in zip(layout.averaged, weights, strict=True)}
    if layout.kept:
        arrays |= _kept_arrays(layout, kept)
    copies = {entry.name: arrays[entry.name].astype(entry.dtype) for entry in layout.entries}
    if not layout.named:
        return cast(Model, list(copies.values()))
    with demo_extra():
        import torch
    return cast(Model, {name: torch.from_numpy(array) for name, array in copies.items()})


def check_weights(weights: Sequence[NDArray[Any]], layout: Layout[Any]) -> None:
    """``LocalError`` naming the first entry of ``weights`` that is not as ``layout`` says."""
    expected = layout.averaged
    if len(weights) != len(expected):
        raise LocalError("len(weights)", len(weights), f"the layout has {len(expected)} float entries")
    for entry, array in zip(expected, weights, strict=True):
        _check_entry(entry, array)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's CPU generator starts from ``seed``; afterwards it is as it was before.

    ``LocalError`` unless 0 ≤ seed < 2^63. The generator is the process's: one thread at a time.
    """
    with demo_extra():
        import torch
    if not 0 <= seed < 2**63:
        raise LocalError("seed", seed, "must lie in [0, 2^63)")
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would reseed every accelerator too, for good.
        torch.default_generator.manual_seed(seed)
        yield


def initial_weights(factory: Callable[[], torch.nn.Module], seed: int) -> Weights:
    """The weights of a new module from ``factory``, drawn from ``seed`` in [0, 2^63)."""
    with seeded(seed):
        return flatten(factory().state_dict())[0]


def digits_network() -> torch.nn.Module:
    """A 64-64-10 perceptron with ReLU for the bundled digits: 4,810 parameters in four tensors."""
    with demo_extra():
        from torch import nn
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def _arrays(model: Mapping[str, torch.Tensor] | Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Every entry of ``model`` by name, as an array that may share its memory."""
    if isinstance(model, Mapping):
        return {name: _array(name, tensor) for name, tensor in model.items()}
    named = {f"[{position}]": array for position, array in enumerate(model)}
    for name, array in named.items():
        if not isinstance(array, np.ndarray):
            raise LocalError(f"entry {name}", type(array).__name__, "must be a NumPy array")
    return named


def _array(name: str, tensor: torch.Tensor) -> NDArray[Any]:
    with demo_extra():
        import torch
    if not isinstance(tensor, torch.Tensor):
        raise LocalError(f"entry {name}", type(tensor).__name__, "must be a torch tensor")
    try:
        return tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:  # bfloat16, quantised, sparse: NumPy has no such type
        raise LocalError(f"dtype of {name}", str(tensor.dtype), "has no NumPy equivalent") from error


def _kept_arrays(layout: Layout[Model], kept: Model | None) -> dict[str, NDArray[Any]]:
    if kept is None:
        names = ", ".join(entry.name for entry in layout.kept)
        raise LocalError("kept", None, f"must be a model that lends the entries not averaged: {names}")
    lent = _arrays(kept)
    for entry in layout.kept:
        if entry.name not in lent:
            raise LocalError("kept", sorted(lent), f"has no entry {entry.name}")
        _check_entry(entry, lent[entry.name])
    return {entry.name: lent[entry.name] for entry in layout.kept}


def _check_entry(entry: Entry, array: NDArray[Any]) -> None:
    if not isinstance(array, np.ndarray):
        raise LocalError(f"entry {entry.name}", type(array).__name__, "must be a NumPy array")
    if array.shape != entry.shape:
        raise LocalError(f"shape of {entry.name}", array.shape, f"the layout says {entry.shape}")
    if array.dtype.name != entry.dtype:
        raise LocalError(f"dtype of {entry.name}", array.dtype.name, f"the layout says {entry.dtype}")
