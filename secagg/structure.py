"""Any shape of update to flat float arrays and back: arrays, lists, dicts, torch tensors (spec section 10).

Torch is never imported here: a tensor brings its module along.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import LocalError

Floats = NDArray[np.floating]

# Those that hold numbers of either sign and zero, and that torch converts. Float32 holds the short ones.
_SHORT_TORCH = ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
_TORCH_DTYPES = ("float16", "float32", "float64", *_SHORT_TORCH)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and dtype of one tensor; ``kind`` is ``numpy`` or ``torch``."""

    kind: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def largest(self) -> float:
        """The largest finite number of the dtype, or of float64 if that is smaller."""
        if self.kind == "torch":
            torch = sys.modules["torch"]
            return float(torch.finfo(getattr(torch, self.dtype)).max)
        return float(min(np.finfo(self.dtype).max, np.finfo(np.float64).max))

    def __str__(self) -> str:
        return f"{self.kind} {self.dtype} of shape {self.shape}"


@dataclass(frozen=True, slots=True)
class Structure:
    """How an update is put together: ``container`` is ``single``, ``list``, ``tuple`` or ``dict``."""

    container: str
    keys: tuple[str, ...]
    tensors: tuple[TensorSpec, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(int(np.prod(spec.shape, dtype=np.int64)) for spec in self.tensors)

    def check_clip(self, clip: float) -> None:
        """``LocalError`` for a clip that a tensor's dtype does not hold: a mean may be as large as it."""
        for number, spec in enumerate(self.tensors):
            if clip > spec.largest:
                tensor = self.keys[number] if self.keys else number
                bound = (
                    f"must be at most {spec.largest}, the largest {spec.dtype}, which tensor {tensor} is of"
                )
                raise LocalError("clip", clip, bound)

    def rebuild(self, flat: NDArray[np.float64]) -> Any:
        """The same structure, of the same dtypes, out of one flat vector.

        What is beyond a dtype's largest number becomes that number. Under a clip that passes
        ``check_clip``, that takes it no further from the exact mean, which is at most the clip.
        """
        parts, start = [], 0
        for spec, size in zip(self.tensors, self.sizes, strict=True):
            parts.append(_restore(flat[start : start + size], spec))
            start += size
        if self.container == "single":
            return parts[0]
        if self.container == "dict":
            return dict(zip(self.keys, parts, strict=True))
        return tuple(parts) if self.container == "tuple" else parts


def take_apart(client: str, update: object) -> tuple[Structure, list[Floats]]:
    """Structure and tensors of one client's update; ``LocalError`` names the client and the tensor."""
    keys: tuple[str, ...] = ()
    if isinstance(update, Mapping):
        container, keys, parts = "dict", tuple(update), list(update.values())
    elif isinstance(update, list | tuple):
        container, parts = "list" if isinstance(update, list) else "tuple", list(update)
        if parts and all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts):
            container, parts = "single", [_numbers(client, parts)]
    else:
        container, parts = "single", [update]
    if not parts:
        raise LocalError(f"update of client {client!r}", update, "must hold at least one tensor")
    specs, arrays = [], []
    for number, part in enumerate(parts):
        spec, array = _read(part, f"update of client {client!r}, tensor {keys[number] if keys else number}")
        specs.append(spec)
        arrays.append(array)
    return Structure(container, keys, tuple(specs)), arrays


def require_same(first: str, expected: Structure, client: str, found: Structure) -> None:
    """``LocalError`` unless two clients' updates have the same structure."""
    if found == expected:
        return
    if (found.container, found.keys, len(found.tensors)) != (
        expected.container,
        expected.keys,
        len(expected.tensors),
    ):
        raise LocalError(
            f"update of client {client!r}",
            f"{found.container} of {len(found.tensors)} tensors",
            f"must be put together like that of client {first!r}: "
            f"{expected.container} of {len(expected.tensors)} tensors"
            + (f" named {', '.join(map(str, expected.keys))}" if expected.keys else ""),
        )
    for number, (mine, theirs) in enumerate(zip(found.tensors, expected.tensors, strict=True)):
        if mine != theirs:
            raise LocalError(
                f"update of client {client!r}, tensor {expected.keys[number] if expected.keys else number}",
                str(mine),
                f"must match that of client {first!r}: {theirs}",
            )


def _is_torch(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _read(value: Any, where: str) -> tuple[TensorSpec, Floats]:
    if _is_torch(value):
        dtype = str(value.dtype).removeprefix("torch.")
        if not value.dtype.is_floating_point:
            raise LocalError(where, dtype, "must be of a floating-point dtype")
        if dtype not in _TORCH_DTYPES:
            raise LocalError(where, dtype, f"must be one of {', '.join(_TORCH_DTYPES)}")
        if str(value.layout) != "torch.strided" or value.is_meta:
            raise LocalError(where, f"{value.layout} on {value.device}", "must be a dense tensor with data")
        dense = value.detach().cpu().resolve_neg()
        array = (dense.float() if dtype in _SHORT_TORCH else dense).numpy()
        return TensorSpec("torch", tuple(value.shape), dtype), array
    if not isinstance(value, np.ndarray | np.generic):
        raise LocalError(where, type(value).__name__, "must be a numpy array or a torch tensor")
    if not np.issubdtype(value.dtype, np.floating):
        raise LocalError(where, str(value.dtype), "must be of a floating-point dtype")
    if isinstance(value, np.ma.MaskedArray):
        raise LocalError(where, "masked array", "must have no mask: fill it first")
    array = np.asarray(value)
    return TensorSpec("numpy", array.shape, str(array.dtype)), array


def _numbers(client: str, numbers: list[float]) -> NDArray[np.float64]:
    try:
        return np.array(numbers, np.float64)
    except OverflowError:  # the numbers are the client's own, so none is shown
        where = f"update of client {client!r}"
        raise LocalError(where, f"{len(numbers)} numbers", "must be numbers that float64 holds") from None


def _restore(flat: NDArray[np.float64], spec: TensorSpec) -> Any:
    shaped = np.clip(flat, -spec.largest, spec.largest).reshape(spec.shape)
    if spec.kind == "numpy":
        return shaped.astype(spec.dtype, copy=False)
    torch = sys.modules["torch"]
    return torch.from_numpy(shaped).to(getattr(torch, spec.dtype))
