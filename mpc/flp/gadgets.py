"""Gadgets: the only nonlinear parts of a validity circuit (draft-irtf-cfrg-vdaf-20, appendix A; spec section
16.4).

A gadget is evaluated on all of its calls at once: a matrix with a row for each call and a column for each
wire. That is also how a prover gets a gadget polynomial: it evaluates the gadget on the values of the wire
polynomials, point by point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mpc.errors import LocalError
from mpc.flp.fields import Field, Matrix, Vector
from mpc.flp.lagrange import next_power_of_two


class Gadget(ABC):
    """A polynomial of total degree ``degree`` in ``arity`` variables."""

    arity: int
    degree: int

    @abstractmethod
    def eval(self, field: Field, inputs: Matrix) -> Vector:
        """Its value at each row: shape (n, arity) to (n,)."""

    def row_sums(self, field: Field, inputs: Matrix) -> Vector:
        """The sum of its values at the groups of wires in each row: shape (n, m · arity) to (n,)."""
        values = self.eval(field, inputs.reshape(-1, self.arity))
        return field.row_sums(values.reshape(len(inputs), -1))


class Mul(Gadget):
    """x · y: appendix A.1."""

    arity = 2
    degree = 2

    def eval(self, field: Field, inputs: Matrix) -> Vector:
        return field.mul(inputs[:, 0], inputs[:, 1])

    def row_sums(self, field: Field, inputs: Matrix) -> Vector:
        return field.inner_rows(inputs[:, 0::2], inputs[:, 1::2])


class PolyEval(Gadget):
    """A polynomial in one variable, coefficients from the constant term up: appendix A.2.

    ``LocalError`` unless its degree is at least 1.
    """

    arity = 1

    def __init__(self, coefficients: Sequence[int]) -> None:
        self.degree = max((power for power, c in enumerate(coefficients) if c), default=0)
        if self.degree < 1:
            raise LocalError("coefficients", list(coefficients), "a polynomial of degree at least 1")
        self.coefficients = tuple(coefficients[: self.degree + 1])

    def eval(self, field: Field, inputs: Matrix) -> Vector:
        lower = [value % field.modulus for value in reversed(self.coefficients[:-1])]
        out = field.mul(inputs[:, 0], self.coefficients[-1] % field.modulus)
        for index, coefficient in enumerate(lower):
            out = field.add(out, coefficient)
            if index + 1 < len(lower):
                out = field.mul(out, inputs[:, 0])
        return out

    def row_sums(self, field: Field, inputs: Matrix) -> Vector:
        if self.coefficients == (0, 0, 1):
            return field.inner_rows(inputs, inputs)
        return super().row_sums(field, inputs)


class ParallelSum(Gadget):
    """The sum of one gadget over ``count`` groups of wires: appendix A.3; section 4.4 of BBCGGI19."""

    def __init__(self, inner: Gadget, count: int) -> None:
        if count < 1:
            raise LocalError("count", count, "at least 1")
        self.inner = inner
        self.count = count
        self.arity = inner.arity * count
        self.degree = inner.degree

    def eval(self, field: Field, inputs: Matrix) -> Vector:
        return self.inner.row_sums(field, inputs)


def wire_length(calls: int) -> int:
    """Values of each wire polynomial: a seed, a value for each call, zeros up to a power of two."""
    return next_power_of_two(1 + calls)


def polynomial_length(gadget: Gadget, calls: int) -> int:
    """Values, or coefficients, of the gadget polynomial: one more than its degree."""
    return gadget.degree * (wire_length(calls) - 1) + 1
