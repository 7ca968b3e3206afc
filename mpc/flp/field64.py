"""Field64, p = 2^64 − 2^32 + 1, as proofs see it: ``uint64`` arrays and kernels (spec section 16.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from mpc import field, ntt
from mpc.flp.fields import Field, Matrix, Vector


class _Field64(Field):
    name = "Field64"
    modulus = field.P
    element_bytes = field.ELEMENT_BYTES
    max_log = ntt.MAX_LOG
    generator = ntt.GENERATOR
    dtype = np.uint64

    def add(self, left: Vector, right: Vector | int) -> Vector:
        return field.add(*_alike(left, right))

    def sub(self, left: Vector, right: Vector | int) -> Vector:
        return field.sub(*_alike(left, right))

    def mul(self, left: Vector, right: Vector | int) -> Vector:
        if not isinstance(right, np.ndarray):
            return field.mul(left, right)
        if right.shape[-1:] == (1,) and left.ndim == 2 and right.shape == (len(left), 1):
            return _scaled_rows(right, left)
        return field.mul(*_alike(left, right))

    def inv(self, vector: Vector) -> Vector:
        return field.batch_inv(vector)

    def combine(self, weights: Vector, rows: Matrix) -> Vector:
        return field.combine_rows(weights, rows)

    def inner_rows(self, left: Matrix, right: Matrix) -> Vector:
        from mpc.kernels import rows64

        out = np.empty(len(left), np.uint64)
        rows64.inner_rows(_fixed(left), _fixed(right), out)
        return out

    def row_sums(self, rows: Matrix) -> Vector:
        # Half words, so that 2^32 of them add up without a carry out of 64 bits.
        low = (rows & np.uint64(0xFFFFFFFF)).sum(axis=1, dtype=np.uint64)
        high = (rows >> np.uint64(32)).sum(axis=1, dtype=np.uint64)
        return self.vector(int(a) + (int(b) << 32) for a, b in zip(low, high, strict=True))

    def forward(self, coefficients: Matrix, shift: int = 1) -> Matrix:
        return ntt.forward(coefficients, shift)

    def backward(self, values: Matrix) -> Matrix:
        return ntt.backward(values)

    def to_bytes(self, vector: Vector) -> bytes:
        return field.to_bytes(vector)

    def from_bytes(self, data: bytes | memoryview) -> Vector:
        return field.from_bytes(data)

    def sample(self, read: Callable[[int], bytes], count: int) -> Vector:
        words = np.frombuffer(read(8 * count), "<u8").astype(np.uint64, copy=False)
        kept = words if not count or int(words.max()) < self.modulus else words[words < self.modulus]
        if kept.size == count:
            return kept
        return np.concatenate([kept, self.sample(read, count - kept.size)])


Field64: Final[Field] = _Field64()


def _alike(left: Vector, right: Vector | int) -> tuple[Vector, Vector]:
    """Both in the shape that they broadcast to."""
    other = right if isinstance(right, np.ndarray) else np.array(right, np.uint64)
    one, two = np.broadcast_arrays(left, other)
    return one, two


def _scaled_rows(factors: Matrix, rows: Matrix) -> Matrix:
    from mpc.kernels import rows64

    out = np.empty(rows.shape, np.uint64)
    rows64.scale_rows(_fixed(factors).reshape(-1), _fixed(rows), out)
    return out


def _fixed(array: Vector) -> Vector:
    """Read-only and contiguous: one signature for the kernels."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
