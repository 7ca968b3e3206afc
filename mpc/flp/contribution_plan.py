"""The encoding of a contribution, and what has to be zero in it (spec section 16.15).

What the circuits take: the vector; some integers in bits, lowest first; the bits and flags of projections, if
a norm is claimed; then what everyone computes from shares of the vector by public weights, the projections'
results and the inner product with the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from mpc.flp.claims import Alignment, Claims, Integers
from mpc.flp.fields import Vector
from mpc.flp.pine_circuits import elements_of

Row = dict[int, int]  # places in what the circuits take, and their weights; places of summands never overlap

# Numbers of up to 122 bits are compared limb by limb, the last limb as wide as it has to be: 62 bits at most.
_LIMB = 30
_LOW = (1 << _LIMB) - 1
_CARRIES = (1 << _LIMB, 1 << _LIMB + 2)  # a carry lies in [−c, c)


class Plan:
    """Where everything lies, the rows, and the integers that an honest client puts in.

    ``widths``: the bits of these integers, in order; ``places``: where each one's bits start.
    """

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self.norm, self.alignment = claims.norm, claims.alignment
        self.widths = [*self._norm_widths(), *self._range_widths(), *self._alignment_widths()]
        self.places = list(accumulate(self.widths, initial=claims.length))
        self.prefix_len = self.places.pop()
        self.checks = self.norm.num_wr_checks if self.norm else 0
        self.meas_len = self.prefix_len + (self.checks * (self.norm.wr_bits + 1) if self.norm else 0)
        self.known_len = self.meas_len + self.checks + (1 if self.alignment else 0)
        self.rows: list[tuple[Row, int]] = [*self._norm_rows(), *self._range_rows(), *self._alignment_rows()]

    def encode(self, vector: Integers) -> Vector:
        """The vector and its integers, shape (prefix_len,). Checks nothing."""
        return np.concatenate([elements_of(vector), self.split(self.integers(vector))])

    def split(self, integers: Sequence[int]) -> Vector:
        """Integers of ``widths`` bits each, in bits."""
        values = np.repeat(np.array(integers, np.int64), self.widths)
        powers = np.concatenate([np.arange(width) for width in (0, *self.widths)])
        bits: Vector = (values >> powers & 1).astype(np.uint64)
        return bits

    def integers(self, vector: Integers) -> list[int]:
        """What the bits stand for: the norm and what it leaves, the ranges, the alignment."""
        out: list[int] = []
        front = vector[: self.claims.normed]
        if self.norm is not None:
            square = int(np.dot(front, front))
            out += [square, self.norm.sq_norm_bound - square]
        for claimed in self.claims.ranges:
            form = claimed.form(vector)
            out += [form - claimed.low, claimed.high - form][: 1 + claimed.two_sided]
        if self.alignment is not None:
            out += _comparison(self.alignment, self.alignment.inner(front), square)
        return out

    def bits(self, index: int, factor: int = 1) -> Row:
        """The row of one of the integers, times a factor."""
        return {self.places[index] + power: factor << power for power in range(self.widths[index])}

    @property
    def _aligned_at(self) -> int:
        """The index of the first integer of the alignment."""
        return len(self.widths) - len(self._alignment_widths())

    def scaled_limbs(self, alignment: Alignment) -> tuple[Row, Row]:
        """2^f · s as low + 2^30 · high, from the bits of s."""
        return _limbs(self.bits(self._aligned_at, 1 << alignment.shift))

    def _norm_widths(self) -> list[int]:
        return [self.norm.sq_norm_bits] * 2 if self.norm else []

    def _range_widths(self) -> list[int]:
        ranges = self.claims.ranges
        return [claimed.bits for claimed in ranges for _ in range(1 + claimed.two_sided)]

    def _alignment_widths(self) -> list[int]:
        """s; the limbs of (2^f · s)² − k · v; the two carries between them."""
        if self.alignment is None or self.claims.bound is None:
            return []
        reach = self.alignment.square * self.claims.bound**2
        top = (reach << 2 * self.alignment.shift) >> 2 * _LIMB
        inner = self.alignment.reach(self.claims.bound).bit_length()
        return [inner, _LIMB, _LIMB, top.bit_length(), *(carry.bit_length() for carry in _CARRIES)]

    def _norm_rows(self) -> list[tuple[Row, int]]:
        """v + u = B²; as many flags as projections have to be in range."""
        if self.norm is None:
            return []
        step = self.norm.wr_bits + 1
        flags = dict.fromkeys(range(self.prefix_len + step - 1, self.meas_len, step), 1)
        return [
            (self.bits(0) | self.bits(1), -self.norm.sq_norm_bound),
            (flags, -self.norm.num_wr_successes),
        ]

    def _range_rows(self) -> list[tuple[Row, int]]:
        """form − low, and high − form where it is there, are what their bits say."""
        out = []
        index = len(self._norm_widths())
        for claimed in self.claims.ranges:
            form = dict(enumerate(claimed.weights, claimed.start))
            out.append((form | self.bits(index, -1), -claimed.low))
            if claimed.two_sided:
                out.append((form | self.bits(index + 1), -claimed.high))
            index += 1 + claimed.two_sided
        return out

    def _alignment_rows(self) -> list[tuple[Row, int]]:
        """s is what its bits say; the affine parts of the three limbs of (2^f · s)² − k · v − t = 0."""
        if self.alignment is None:
            return []
        k, first = self.alignment.threshold, self._aligned_at
        low, rest = _limbs(self.bits(0))
        middle, top = _limbs(rest)
        carry, offset = [self.bits(first + 4), self.bits(first + 5)], _CARRIES
        limbs = [self.bits(first + 1, -1), self.bits(first + 2, -1), self.bits(first + 3, -1)]
        norm = [
            _times(low, -(k & _LOW)),
            _times(middle, -(k & _LOW)) | _times(low, -(k >> _LIMB & _LOW)),
            _times(low, -(k >> 2 * _LIMB)) | _times(middle, -(k >> _LIMB)) | _times(top, -k),
        ]
        return [
            (self.bits(first, -1) | {self.known_len - 1: 1}, 0),
            (norm[0] | limbs[0] | _times(carry[0], -1 << _LIMB), offset[0] << _LIMB),
            (
                norm[1] | limbs[1] | carry[0] | _times(carry[1], -1 << _LIMB),
                (offset[1] << _LIMB) - offset[0],
            ),
            (norm[2] | limbs[2] | carry[1], -offset[1]),
        ]


def _comparison(alignment: Alignment, inner: int, square: int) -> list[int]:
    """s, the limbs of t = (2^f · s)² − k · v, and the carries; all at least 0 if s and t are."""
    k, scaled = alignment.threshold, inner << alignment.shift
    low, high = scaled & _LOW, scaled >> _LIMB
    digits = [square & _LOW, square >> _LIMB & _LOW]
    carry, zeroth = divmod(low**2 - (k & _LOW) * digits[0], 1 << _LIMB)
    middle = 2 * low * high - (k & _LOW) * digits[1] - (k >> _LIMB & _LOW) * digits[0] + carry
    second_carry, first = divmod(middle, 1 << _LIMB)
    top = (scaled**2 - k * square) >> 2 * _LIMB
    return [inner, zeroth, first, top, carry + _CARRIES[0], second_carry + _CARRIES[1]]


def _limbs(row: Row) -> tuple[Row, Row]:
    """Of weights that are powers of two, those below 2^30, and the others divided by 2^30."""
    low = {place: weight for place, weight in row.items() if weight < 1 << _LIMB}
    return low, {place: weight >> _LIMB for place, weight in row.items() if place not in low}


def _times(row: Row, factor: int) -> Row:
    return {place: factor * weight for place, weight in row.items()}
