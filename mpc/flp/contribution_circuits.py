"""The two circuits of a contribution, over Field64 (spec section 16.15).

One is PINE's norm equality. The other weighs all other checks with powers of one joint random element: bits
are bits, flagged projections are what their bits say, and every row of the plan is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mpc import field as field64
from mpc.flp.claims import Integers, narrowest
from mpc.flp.contribution_plan import Plan, Row
from mpc.flp.field64 import Field64
from mpc.flp.fields import Matrix, Vector
from mpc.flp.gadgets import Mul, ParallelSum, PolyEval
from mpc.flp.pine_circuits import Parameters, integer_of
from mpc.flp.valid import Use, Valid, chunks, in_rows, interleaved


class Table:
    """Linear rows side by side: a line for each place that any of them looks at."""

    def __init__(self, rows: Sequence[Row]) -> None:
        lines = {place: line for line, place in enumerate(sorted(set().union(*rows)))}
        self._places: npt.NDArray[np.intp] = np.array(list(lines), np.intp)
        self._weights = Field64.zeros(len(lines), len(rows))
        for column, row in enumerate(rows):
            for place, weight in row.items():
                self._weights[lines[place], column] = weight % Field64.modulus

    def values(self, meas: Vector) -> Vector:
        """Shape (rows,)."""
        return Field64.combine(meas[self._places], self._weights)


class _Claimed(Valid[Integers, Integers]):
    """What both circuits have in common: what is shared and what is aggregated."""

    def __init__(self, plan: Plan) -> None:
        self.field = Field64
        self.plan = plan
        self.meas_len = plan.known_len
        self.output_len = plan.claims.length

    def encode(self, measurement: Integers) -> Vector:
        """As far as it does not depend on projections; ``LocalError`` if a claim is not true."""
        return self.plan.encode(self.plan.claims.check(measurement))

    def truncate(self, meas: Vector) -> Vector:
        return meas[: self.output_len]

    def decode(self, output: Vector, num_measurements: int) -> Integers:
        return field64.decode(output)


class Equality(_Claimed):
    """That the bits of v stand for Σ x² over the normed entries: without joint randomness."""

    joint_rand_len = 0
    eval_output_len = 1

    def __init__(self, plan: Plan, norm: Parameters) -> None:
        super().__init__(plan)
        self.norm = norm
        self.width = norm.chunk_length_norm_equality
        self.uses = (Use(ParallelSum(PolyEval([0, 0, 1]), self.width), chunks(norm.dimension, self.width)),)

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        return [in_rows(Field64, meas[: self.norm.dimension], self.width)]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        start = self.plan.claims.length
        claimed = integer_of(meas[start : start + self.norm.sq_norm_bits])
        return Field64.vector([claimed - Field64.total(outputs[0])])


class Checks(_Claimed):
    """All the rest: Σ r^i · check_i = 0 over the bits, the projections and the rows, in this order."""

    joint_rand_len = 1
    eval_output_len = 1

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._bits = plan.meas_len - plan.claims.length
        self._check_count = self._bits + plan.checks + len(plan.rows)
        products = self._bits + plan.checks + (2 if plan.alignment else 0)
        self.width = narrowest(products, 2)
        self.uses = (Use(ParallelSum(Mul(), self.width), chunks(products, self.width)),)
        self._rows = Table([row for row, _ in plan.rows])
        self._constants = Field64.vector(constant for _, constant in plan.rows)
        if plan.alignment is not None:
            self._scaled = Table(plan.scaled_limbs(plan.alignment))

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        """Both factors of every product: r^i · b_i and b_i − 1, then projections, then the limbs of s."""
        share = Field64.inverse(num_shares)
        weights = self._weights(joint_rand)
        bits = meas[self.plan.claims.length : self.plan.meas_len]
        pairs = [(Field64.mul(weights[: self._bits], bits), Field64.sub(bits, share))]
        if self.plan.norm is not None:
            pairs.append(self._projected(self.plan.norm, meas, weights, share))
        if self.plan.alignment is not None:
            pairs.append(self._squared(meas, weights))
        left, right = (np.concatenate(side) for side in zip(*pairs, strict=True))
        return [interleaved(Field64, in_rows(Field64, left, self.width), in_rows(Field64, right, self.width))]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        share = Field64.inverse(num_shares)
        weights = self._weights(joint_rand)[self._bits + self.plan.checks :]
        rows = Field64.add(self._rows.values(meas), Field64.mul(self._constants, share))
        return Field64.vector([Field64.total(outputs[0]) + Field64.inner(weights, rows)])

    def _weights(self, joint_rand: Vector) -> Vector:
        weights: Vector = Field64.powers(joint_rand, self._check_count)[0]
        return weights

    def _projected(
        self, norm: Parameters, meas: Vector, weights: Vector, share: int
    ) -> tuple[Vector, Vector]:
        """The error of each projection, and its flag."""
        plan = self.plan
        section = meas[plan.prefix_len : plan.meas_len].reshape(plan.checks, norm.wr_bits + 1)
        powers = Field64.vector(1 << power for power in range(norm.wr_bits))
        claimed = Field64.combine(powers, section[:, :-1].T)
        results = meas[plan.meas_len : plan.meas_len + plan.checks]
        offset = (norm.wr_bound - 1) * share % Field64.modulus
        errors = Field64.sub(Field64.add(results, offset), claimed)
        weighted = Field64.mul(weights[self._bits : self._bits + plan.checks], errors)
        return weighted, np.ascontiguousarray(section[:, -1])

    def _squared(self, meas: Vector, weights: Vector) -> tuple[Vector, Vector]:
        """With 2^f · s = l + 2^30 · h, what the last three rows need: w_0 · l² + w_1 · 2lh + w_2 · h²."""
        limbs = self._scaled.values(meas)
        low, high = map(int, limbs)
        first, second, third = map(int, weights[-3:])
        return limbs, Field64.vector([first * low + 2 * second * high, third * high])
