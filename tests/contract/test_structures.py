"""Updates come back in the shape and type in which they went in, on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc.tape import SeededTape
from secagg import FixedPoint, aggregate
from secagg.backend import Backend

torch = pytest.importorskip("torch")
RNG_SHAPES = [(3, 4), (5,), (), (2, 0, 3)]


def arrays(scale: float, dtype: Any) -> list[np.ndarray]:
    return [
        np.asarray(np.arange(int(np.prod(shape))) * 0.01 * scale, dtype).reshape(shape)
        for shape in RNG_SHAPES
    ]


def tensors(scale: float, dtype: str) -> list[Any]:
    return [torch.from_numpy(array).to(getattr(torch, dtype)) for array in arrays(scale, np.float64)]


def build(kind: str, scale: float) -> Any:
    match kind.split():
        case ["array", dtype]:
            return arrays(scale, dtype)[0]
        case ["list", dtype]:
            return arrays(scale, dtype)
        case ["tuple", dtype]:
            return tuple(arrays(scale, dtype))
        case ["dict", dtype]:
            return dict(zip("wxyz", arrays(scale, dtype), strict=True))
        case ["tensor", dtype]:
            return tensors(scale, dtype)[0]
        case ["state", dtype]:
            return dict(zip(("a.weight", "a.bias", "b", "c"), tensors(scale, dtype), strict=True))
        case ["mixed"]:
            return [arrays(scale, np.float32)[0], tensors(scale, "bfloat16")[1], arrays(scale, np.float16)[1]]
    raise AssertionError(kind)


def leaves(update: Any) -> list[Any]:
    if isinstance(update, dict):
        return list(update.values())
    return list(update) if isinstance(update, list | tuple) else [update]


KINDS = [f"{c} {d}" for c in ("array", "list", "tuple", "dict") for d in ("float16", "float32", "float64")]
KINDS += [f"{c} {d}" for c in ("tensor", "state") for d in ("float16", "bfloat16", "float32", "float64")]


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
def test_what_comes_out_is_put_together_as_what_went_in(backend: Backend, kind: str) -> None:
    updates = {"ana": build(kind, 1), "bo": build(kind, 2), "cy": build(kind, 3)}
    result = aggregate(
        updates, backend=backend, encoding=FixedPoint(clip=1.0, bits=20), encoder_tape=SeededTape(b"e")
    )
    expected = build(kind, 2)
    assert type(result.mean) is type(expected)
    if isinstance(expected, dict):
        assert list(result.mean) == list(expected)
    for found, wanted in zip(leaves(result.mean), leaves(expected), strict=True):
        assert type(found) is type(wanted)
        assert found.dtype == wanted.dtype
        assert tuple(found.shape) == tuple(wanted.shape)
        as_floats = [np.asarray(x.float() if hasattr(x, "float") else x, np.float64) for x in (found, wanted)]
        assert np.allclose(*as_floats, rtol=0, atol=4e-3)


def test_the_inputs_are_not_touched(backend: Backend) -> None:
    updates = {"ana": [np.ones(3)], "bo": [np.full(3, 5.0)]}
    result = aggregate(updates, backend=backend, encoding=FixedPoint(clip=2.0))
    assert updates["bo"][0].tolist() == [5.0] * 3
    assert result.clipped == {"ana": (0,), "bo": (3,)}
    assert not np.shares_memory(result.mean[0], updates["ana"][0])
