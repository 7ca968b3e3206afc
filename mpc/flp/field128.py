"""Field128, p = 2^66 · 4611686018427387897 + 1: Python integers in object arrays (spec section 16.1).

It is there for Prio3's variants and for test vectors, to be right and not to be fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mpc.errors import DecodeError, LocalError
from mpc.flp.fields import Field, Matrix, Vector


class _Field128(Field):
    name = "Field128"
    modulus = 2**66 * 4611686018427387897 + 1
    element_bytes = 16
    max_log = 66
    generator = pow(7, 4611686018427387897, modulus)
    dtype = object

    def add(self, left: Vector, right: Vector | int) -> Vector:
        return self._reduced(left + right)

    def sub(self, left: Vector, right: Vector | int) -> Vector:
        return self._reduced(left - right)

    def mul(self, left: Vector, right: Vector | int) -> Vector:
        return self._reduced(left * right)

    def inv(self, vector: Vector) -> Vector:
        if not vector.all():
            raise LocalError("vector", 0, "zero has no inverse")
        return self.vector(pow(value, -1, self.modulus) for value in vector)

    def combine(self, weights: Vector, rows: Matrix) -> Vector:
        return self._reduced((weights.reshape(-1, 1) * rows).sum(axis=0))

    def inner_rows(self, left: Matrix, right: Matrix) -> Vector:
        return self.row_sums(left * right)

    def row_sums(self, rows: Matrix) -> Vector:
        return self._reduced(rows.sum(axis=1))

    def forward(self, coefficients: Matrix, shift: int = 1) -> Matrix:
        scale = self.powers(self.vector([shift]), len(coefficients))[0]
        columns = coefficients.reshape(len(coefficients), -1)
        values = self._transform(self.mul(columns, scale.reshape(-1, 1)), self.root(len(coefficients)))
        return values.reshape(coefficients.shape)

    def backward(self, values: Matrix) -> Matrix:
        columns = values.reshape(len(values), -1)
        omega = pow(self.root(len(values)), -1, self.modulus)
        unscaled = self._transform(columns, omega).reshape(values.shape)
        return self.mul(unscaled, pow(len(values), -1, self.modulus))

    def to_bytes(self, vector: Vector) -> bytes:
        return b"".join(int(value).to_bytes(self.element_bytes, "little") for value in vector.reshape(-1))

    def from_bytes(self, data: bytes | memoryview) -> Vector:
        if memoryview(data).nbytes % self.element_bytes:
            raise DecodeError(f"{len(data)} bytes are not a whole number of field elements")
        values = [
            _little(data[at : at + self.element_bytes]) for at in range(0, len(data), self.element_bytes)
        ]
        if any(value >= self.modulus for value in values):
            raise DecodeError("a field element is not canonical")
        return self.vector(values)

    def sample(self, read: Callable[[int], bytes], count: int) -> Vector:
        kept: list[int] = []
        while len(kept) < count:
            value = _little(read(self.element_bytes))
            if value < self.modulus:
                kept.append(value)
        return self.vector(kept)

    def _reduced(self, values: Any) -> Vector:
        reduced: Vector = np.asarray(values, object) % self.modulus
        return reduced

    def _transform(self, rows: Matrix, omega: int) -> Matrix:
        """Values at omega^k by halving: one transform of half the size for even k, another one for odd k."""
        half = len(rows) // 2
        if half == 0:
            return rows
        low, high = rows[:half], rows[half:]
        twiddles = self.powers(self.vector([omega]), half).reshape(-1, 1)
        out = np.empty_like(rows)
        square = omega * omega % self.modulus
        out[0::2] = self._transform(self.add(low, high), square)
        out[1::2] = self._transform(self.mul(self.sub(low, high), twiddles), square)
        return out


Field128: Final[Field] = _Field128()


def _little(data: bytes | memoryview) -> int:
    return int.from_bytes(data, "little")
