"""Claims and their circuit in plain integers, entry by entry. Shares no code with the toolkit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tests.mpc.flp.oracle import binary

P = 2**64 - 2**32 + 1


def inner(left: Sequence[int], right: Sequence[int]) -> int:
    return sum(int(a) * int(b) for a, b in zip(left, right, strict=True))


def cosine_at_least(x: Sequence[int], g: Sequence[int], square: Fraction) -> bool:
    """Whether ⟨x, g⟩ ≥ 0 and ⟨x, g⟩² ≥ square · ‖x‖² · ‖g‖²."""
    return inner(x, g) >= 0 and inner(x, g) ** 2 >= square * inner(x, x) * inner(g, g)


def holds(claims: Any, x: Sequence[int], cosine_square: Fraction | None = None) -> bool:
    """Whether integers are as claimed; another cosine, squared, may stand in for the claimed one."""
    front = x[: claims.normed]
    true = claims.bound is None or inner(front, front) <= claims.bound**2
    for one in claims.ranges:
        form = inner(one.weights, x[one.start : one.start + len(one.weights)])
        true &= one.low <= form <= one.high
    if claims.alignment is not None:
        square = Fraction(claims.alignment.cosine) ** 2 if cosine_square is None else cosine_square
        true &= cosine_at_least(front, claims.alignment.reference.tolist(), square)
    return true


def scaled(claims: Any) -> tuple[int, int]:
    """The f and the k of the comparison: 4^f · ⟨x, g⟩² ≥ k · ‖x‖²."""
    g = claims.alignment.reference.tolist()
    exact, f = Fraction(claims.alignment.cosine) ** 2 * inner(g, g), 0
    while exact * 4**f < 2**20:
        f += 1
    return f, int(exact * 4**f)


class Digits:
    """Reads bits off what the circuit takes, and keeps them."""

    def __init__(self, known: Sequence[int], at: int) -> None:
        self.known, self.at = known, at
        self.seen: list[int] = []

    def read(self, width: int) -> list[int]:
        bits = list(self.known[self.at : self.at + width])
        self.at += width
        self.seen += bits
        return bits

    def number(self, width: int) -> int:
        return binary(self.read(width))


def checks(claims: Any, known: Sequence[int], flips: int) -> list[int]:
    """What has to be 0 modulo p, in order, from all that the circuit takes; ``flips``: of projections."""
    digits = Digits(known, claims.length)
    rows, aligned, errors, flags = [], [], [], []
    v: list[int] = []
    if claims.bound is not None:
        width = (claims.bound**2).bit_length()
        v = digits.read(width)
        rows.append(binary(v) + digits.number(width) - claims.bound**2)
    for one in claims.ranges:
        form = inner(one.weights, known[one.start : one.start + len(one.weights)])
        width = (one.high - one.low).bit_length()
        rows.append(form - one.low - digits.number(width))
        if one.high - one.low + 1 != 2**width:
            rows.append(form + digits.number(width) - one.high)
    if claims.alignment is not None:
        aligned = _aligned(claims, known[-1], v, digits)
    if claims.bound is not None:
        window = 2 ** math.ceil(8.7 * claims.bound).bit_length()
        results = known[len(known) - flips - bool(aligned) :][:flips]
        for result in results:
            claimed, flag = digits.number(window.bit_length()), digits.number(1)
            errors.append((result + window - 1 - claimed) * flag)
            flags.append(flag)
        rows.insert(1, sum(flags) - flips)
    bits = [bit * (bit - 1) for bit in digits.seen]
    return [value % P for value in (*bits, *errors, *rows, *aligned)]


def _aligned(claims: Any, result: int, v: list[int], digits: Digits) -> list[int]:
    """s, and (2^f · s)² = k · v + t in three columns of 30 bits, the last one as wide as need be."""
    f, k = scaled(claims)
    g = claims.alignment.reference.tolist()
    most = claims.bound**2 * inner(g, g)
    s = digits.read(math.isqrt(most).bit_length())
    t = [digits.number(width) for width in (30, 30, (most * 4**f >> 60).bit_length())]
    carry = [digits.number(31) - 2**30, digits.number(33) - 2**32]
    spread = [0] * f + s
    low, high = binary(spread[:30]), binary(spread[30:])
    v0, v1, v2 = binary(v[:30]), binary(v[30:60]), binary(v[60:])
    k0, k1 = k % 2**30, (k >> 30) % 2**30
    return [
        result - binary(s),
        low**2 - k0 * v0 - t[0] - 2**30 * carry[0],
        2 * low * high - k0 * v1 - k1 * v0 + carry[0] - t[1] - 2**30 * carry[1],
        high**2 - (k >> 60) * v0 - (k >> 30) * v1 - k * v2 + carry[1] - t[2],
    ]
