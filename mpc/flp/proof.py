"""How a proof represents its gadget polynomials (draft-irtf-cfrg-vdaf-20, sections 7.3.3 and 7.3.4; spec
section 16.6).

Since draft 18 it is by values at roots of unity. Whoever represents them otherwise implements ``Basis``.
"""

from __future__ import annotations

from typing import Protocol

from mpc.flp.fields import Field, Matrix, Vector
from mpc.flp.gadgets import Gadget, polynomial_length, wire_length
from mpc.flp.lagrange import cosets, next_power_of_two, weights


class ProofError(Exception):
    """A report that verification refuses. The text says which test failed, and no value."""


class Basis(Protocol):
    """What represents a gadget polynomial, in ``polynomial_length`` elements."""

    def polynomial(self, field: Field, gadget: Gadget, wires: Matrix) -> Vector:
        """From the values of the wire polynomials at the powers of α, of order p: shape (p, arity)."""

    def outputs(self, field: Field, gadget: Gadget, calls: int, polynomial: Vector) -> Vector:
        """Its values at α^1 … α^calls: what the calls returned."""

    def value(self, field: Field, gadget: Gadget, calls: int, polynomial: Vector, point: int) -> int:
        """Its value at a point that is no power of α."""


class LagrangeBasis:
    """The first ``polynomial_length`` values at the powers of ω_n, n the next power of two."""

    def polynomial(self, field: Field, gadget: Gadget, wires: Matrix) -> Vector:
        calls = len(wires) - 1
        length = polynomial_length(gadget, calls)
        factor = next_power_of_two(length) // len(wires)
        values = field.zeros(len(wires), factor)
        for index, points in enumerate(cosets(field, wires, factor)):
            values[:, index] = gadget.eval(field, points)
        return values.reshape(-1)[:length]

    def outputs(self, field: Field, gadget: Gadget, calls: int, polynomial: Vector) -> Vector:
        known = len(polynomial)
        size = next_power_of_two(known)
        step = size // wire_length(calls)
        out = field.zeros(calls)
        inside = min(calls, (known - 1) // step)
        out[:inside] = polynomial[step : (inside + 1) * step : step]
        for call in range(inside, calls):
            point = int(field.roots(size)[(call + 1) * step])
            out[call] = field.inner(weights(field, size, known, point), polynomial)
        return out

    def value(self, field: Field, gadget: Gadget, calls: int, polynomial: Vector, point: int) -> int:
        size, known = next_power_of_two(len(polynomial)), len(polynomial)
        if pow(point, size, field.modulus) == 1:
            place = field.roots(size).tolist().index(point)
            if place < known:
                return int(polynomial[place])
        return field.inner(weights(field, size, known, point), polynomial)
