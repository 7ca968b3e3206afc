"""Polynomials as values at roots of unity (draft-irtf-cfrg-vdaf-20, section 6.1.3.2; spec section 16.3).

Nothing is interpolated: a value elsewhere is an inner product with weights that depend on the point alone, so
one set of weights serves every polynomial there is, and every share of each (Berrut and Trefethen,
"Barycentric Lagrange interpolation", SIAM Review 46(3), 2004).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from mpc.flp.fields import Field, Matrix, Vector


def next_power_of_two(value: int) -> int:
    """The smallest power of two that is at least ``value`` ≥ 1."""
    return 1 << (value - 1).bit_length()


def weights(field: Field, size: int, known: int, point: int) -> Vector:
    """The w with P(point) = Σ_i w_i · P(ω_size^i), i < known, for all P of degree below ``known`` ≤ size.

    Shape (known,). ``LocalError`` if the point is one of these ω_size^i.
    """
    nodes = field.roots(size)[:known]
    differences = field.add(field.sub(field.zeros(known), nodes), point)
    scale = _product(field, differences)
    return field.mul(field.mul(_node_weights(field, size, known), field.inv(differences)), scale)


def cosets(field: Field, values: Matrix, factor: int) -> Iterator[Matrix]:
    """Column by column, the values at all ω^k of order n · factor, from those at the ω^k of order n.

    Matrix c of the ``factor`` ones holds those at k = c, c + factor, …: the first is ``values`` itself.
    """
    yield values
    if factor > 1:
        coefficients = field.backward(values)
        step = field.root(len(values) * factor)
        for index in range(1, factor):
            yield field.forward(coefficients, pow(step, index, field.modulus))


@lru_cache(maxsize=32)
def _node_weights(field: Field, size: int, known: int) -> Vector:
    """1 / Π_{j≠i} (x_i − x_j) over the known nodes: x_i / size · Π (x_i − x_k) over the unknown ones."""
    nodes = field.roots(size)
    out = field.mul(nodes[:known], field.inverse(size))
    for unknown in nodes[known:]:
        out = field.mul(out, field.sub(nodes[:known], int(unknown)))
    out.flags.writeable = False
    return out


def _product(field: Field, vector: Vector) -> int:
    """The product of all entries, half by half."""
    while len(vector) > 1:
        half = len(vector) // 2
        product = field.mul(vector[:half], vector[half : 2 * half])
        if len(vector) % 2:
            product[:1] = field.mul(product[:1], vector[-1:])
        vector = product
    return int(vector[0])
