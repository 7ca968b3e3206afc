"""How proofs looked before draft 18 of the VDAF specification. For old test vectors only: never use it.

Gadget polynomials travelled as coefficients, and seeds of TurboSHAKE128 had 16 bytes.
"""

from __future__ import annotations

from mpc.flp.fields import Field, Matrix, Vector
from mpc.flp.gadgets import Gadget, polynomial_length, wire_length
from mpc.flp.lagrange import next_power_of_two
from mpc.flp.xof import XofTurboShake128


class MonomialBasis:
    """The coefficients of a gadget polynomial, constant term first."""

    def polynomial(self, field: Field, gadget: Gadget, wires: Matrix) -> Vector:
        length = polynomial_length(gadget, len(wires) - 1)
        size = next_power_of_two(length)
        values = field.zeros(size, gadget.arity)
        values[: len(wires)] = field.backward(wires)
        return field.backward(gadget.eval(field, field.forward(values)))[:length]

    def outputs(self, field: Field, gadget: Gadget, calls: int, polynomial: Vector) -> Vector:
        values = field.zeros(next_power_of_two(len(polynomial)))
        values[: len(polynomial)] = polynomial
        step = len(values) // wire_length(calls)
        return field.forward(values)[step : (calls + 1) * step : step]

    def value(self, field: Field, gadget: Gadget, calls: int, polynomial: Vector, point: int) -> int:
        powers = field.powers(field.vector([point]), len(polynomial))[0]
        return field.inner(polynomial, powers)


class XofTurboShake128With16(XofTurboShake128):
    """The tag's length in one byte, the seed without its length."""

    name = "XofTurboShake128 of draft 12"
    seed_bytes = 16
    max_tag_bytes = 2**8 - 1

    def _start(self, seed: bytes, tag: bytes, binder: tuple[bytes, ...]) -> None:
        self._absorb(bytes([len(tag)]) + tag + seed, binder)
