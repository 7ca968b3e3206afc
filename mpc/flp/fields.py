"""What proofs ask of a field (draft-irtf-cfrg-vdaf-20, section 6.1; spec section 16.1).

Vectors and matrices are NumPy arrays of canonical elements, of the field's own type. Shapes broadcast as
NumPy's do; an ``int`` operand is one element in [0, p).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.errors import LocalError

Vector = npt.NDArray[Any]  # shape (n,)
Matrix = npt.NDArray[Any]  # shape (n, m)


class Field(ABC):
    """A prime field with a multiplicative subgroup of order 2^max_log, and arithmetic on arrays over it."""

    name: str
    modulus: int
    element_bytes: int
    max_log: int
    generator: int  # of the subgroup
    dtype: npt.DTypeLike

    @abstractmethod
    def add(self, left: Vector, right: Vector | int) -> Vector: ...

    @abstractmethod
    def sub(self, left: Vector, right: Vector | int) -> Vector: ...

    @abstractmethod
    def mul(self, left: Vector, right: Vector | int) -> Vector: ...

    @abstractmethod
    def inv(self, vector: Vector) -> Vector:
        """Entry by entry; ``LocalError`` for a zero."""

    @abstractmethod
    def combine(self, weights: Vector, rows: Matrix) -> Vector:
        """Σ_i weights_i · rows_i: shapes (n,) and (n, m) to (m,)."""

    @abstractmethod
    def inner_rows(self, left: Matrix, right: Matrix) -> Vector:
        """Σ_j left[i, j] · right[i, j]: shapes (n, m) and (n, m) to (n,)."""

    @abstractmethod
    def row_sums(self, rows: Matrix) -> Vector:
        """Σ_j rows[i, j]: shape (n, m) to (n,)."""

    @abstractmethod
    def forward(self, coefficients: Matrix, shift: int = 1) -> Matrix:
        """Column by column: n coefficients to the values at shift · ω_n^k."""

    @abstractmethod
    def backward(self, values: Matrix) -> Matrix:
        """Column by column: the values at ω_n^k to n coefficients."""

    @abstractmethod
    def to_bytes(self, vector: Vector) -> bytes:
        """``element_bytes`` little-endian bytes an element."""

    @abstractmethod
    def from_bytes(self, data: bytes | memoryview) -> Vector:
        """The vector whose ``to_bytes`` is ``data``; ``DecodeError`` if there is none."""

    @abstractmethod
    def sample(self, read: Callable[[int], bytes], count: int) -> Vector:
        """``count`` uniform elements: the first words that ``read`` yields that are below the modulus."""

    def vector(self, values: Iterable[int]) -> Vector:
        """Integers, taken modulo p, as elements."""
        return np.array([int(value) % self.modulus for value in values], self.dtype)

    def zeros(self, *shape: int) -> Vector:
        return np.zeros(shape, np.uint64).astype(self.dtype)

    def total(self, vector: Vector) -> int:
        """The sum of all entries."""
        return int(self.row_sums(vector.reshape(1, -1))[0])

    def inner(self, left: Vector, right: Vector) -> int:
        """Σ left_i · right_i."""
        return int(self.inner_rows(left.reshape(1, -1), right.reshape(1, -1))[0])

    def inverse(self, value: int) -> int:
        """The inverse of one element; ``LocalError`` for zero."""
        return int(self.inv(self.vector([value]))[0])

    def root(self, size: int) -> int:
        """ω_size, of order ``size``: a power of two up to 2^max_log, else ``LocalError``."""
        if size < 1 or size & (size - 1) or size > 1 << self.max_log:
            raise LocalError("size", size, f"a power of two up to 2^{self.max_log}")
        return pow(self.generator, (1 << self.max_log) // size, self.modulus)

    def roots(self, size: int) -> Vector:
        """ω_size^k, k = 0 … size − 1, read-only."""
        return _roots(self, size)

    def powers(self, bases: Vector, count: int) -> Matrix:
        """bases_i^j for j = 0 … count − 1: shape (n,) to (n, count), by doubling."""
        out = self.zeros(len(bases), count)
        out[:, :1] = self.vector([1])
        done, step = 1, bases.reshape(-1, 1)  # step = bases^done
        while done < count:
            width = min(done, count - done)
            out[:, done : done + width] = self.mul(out[:, :width], step)
            done += width
            step = self.mul(step, step)
        return out

    def __repr__(self) -> str:
        return self.name


@lru_cache(maxsize=64)
def _roots(field: Field, size: int) -> Vector:
    out: Vector = field.powers(field.vector([field.root(size)]), size)[0]
    out.flags.writeable = False
    return out
