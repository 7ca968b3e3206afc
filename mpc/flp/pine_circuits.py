"""The circuits of PINE: that ‖x‖₂ ≤ B, over Field64 (draft-chen-cfrg-vdaf-pine-01, section 4; Rothblum, Omri,
Chen, Talwar, "PINE", arXiv 2311.10237, figures 1 and 2; spec section 16.11).

A measurement is the vector itself, with no bits per entry; the bits of v = ‖x‖² and of u = B² − v; and for
each of some random projections of x onto {−1, 0, 1} the bits of its result and whether it is in range. One
circuit shows that v is what it says; the other, that bits are bits, that u + v = B², and that enough
projections are short, which they cannot be if ‖x‖² wrapped around the modulus.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.errors import LocalError
from mpc.flp.field64 import Field64
from mpc.flp.fields import Matrix, Vector
from mpc.flp.gadgets import Mul, ParallelSum, PolyEval
from mpc.flp.lagrange import next_power_of_two
from mpc.flp.valid import Use, Valid, chunks, in_rows, interleaved, positive

Gradient = npt.NDArray[np.float64] | npt.NDArray[np.int64] | Sequence[float]

# A projection of an honest vector is sub-Gaussian with variance B² / 2: it is longer than ALPHA · B with
# probability 2 · exp(−ALPHA²) < 2^-108 at most.
ALPHA = 8.7
NUM_WR_CHECKS = 100


@dataclass(frozen=True)
class Parameters:
    """What prover and verifiers agree on; ``LocalError`` where the proof would not be sound.

    ``l2_norm_bound``: B, in steps of 2^−num_frac_bits. ``chunk_length`` and ``chunk_length_norm_equality``:
    widths of the gadgets; the proof is shortest near the square root of what each one adds up.
    """

    l2_norm_bound: int
    num_frac_bits: int
    dimension: int
    chunk_length: int
    chunk_length_norm_equality: int
    num_wr_checks: int = NUM_WR_CHECKS
    num_wr_successes: int = NUM_WR_CHECKS
    alpha: float = ALPHA

    sq_norm_bound: int = field(init=False)
    sq_norm_bits: int = field(init=False)  # in each of v and u
    wr_bound: int = field(init=False)  # a projection is in range in [1 − wr_bound, wr_bound]
    wr_bits: int = field(init=False)

    def __post_init__(self) -> None:
        for name in ("l2_norm_bound", "dimension", "chunk_length", "chunk_length_norm_equality"):
            positive(name, getattr(self, name))
        if not 0 <= self.num_frac_bits < 128:
            raise LocalError("num_frac_bits", self.num_frac_bits, "from 0 to 127")
        if not 1 <= self.num_wr_successes <= self.num_wr_checks:
            raise LocalError("num_wr_successes", self.num_wr_successes, "from 1 to num_wr_checks")
        modulus = Field64.modulus
        wr_bound = next_power_of_two(math.ceil(self.alpha * self.l2_norm_bound) + 1)
        set_derived = object.__setattr__
        set_derived(self, "sq_norm_bound", self.l2_norm_bound**2)
        set_derived(self, "sq_norm_bits", self.sq_norm_bound.bit_length())
        set_derived(self, "wr_bound", wr_bound)
        set_derived(self, "wr_bits", (2 * wr_bound - 1).bit_length())
        # The paper's figure 1 and lemma 3.3; the lemma's p ≥ 2600 · wr_bound follows for this p.
        if modulus <= 3 * self.sq_norm_bound + 2 or wr_bound**2 > 4000 * modulus:
            raise LocalError("l2_norm_bound", self.l2_norm_bound, "too large for Field64")

    @property
    def prefix_len(self) -> int:
        """Of the encoded vector and norm: what the projections are drawn from."""
        return self.dimension + 2 * self.sq_norm_bits

    @property
    def meas_len(self) -> int:
        """Of the encoded measurement that is shared."""
        return self.prefix_len + self.num_wr_checks * (self.wr_bits + 1)

    def encode(self, measurement: Gradient) -> npt.NDArray[np.int64]:
        """The vector in steps of 2^−num_frac_bits; integers are taken for steps already.

        ``LocalError`` if its length or type is wrong, an entry is not finite or is subnormal, or ‖x‖₂ > B.
        """
        array = np.asarray(measurement)
        if array.shape != (self.dimension,):
            raise LocalError("measurement.shape", array.shape, f"a vector of {self.dimension} entries")
        if array.dtype.kind not in "fiu":
            raise LocalError("measurement.dtype", array.dtype, "floats, or integers in steps")
        if array.dtype.kind == "f":
            values = array.astype(np.float64)
            subnormal = (values != 0) & (np.abs(values) < np.finfo(np.float64).tiny)
            if not np.isfinite(values).all() or subnormal.any():
                raise LocalError("measurement", "not a number", "entries are finite and not subnormal")
            with np.errstate(over="ignore"):
                array = np.rint(np.ldexp(values, self.num_frac_bits))
        beyond = "its norm is above the bound"
        # In floating point first: the squares add up to below 2^63 only if this sum is not far above B².
        with np.errstate(over="ignore"):
            size = float(np.square(array.astype(np.float64)).sum())
        if size > 1.001 * self.sq_norm_bound:
            raise LocalError("measurement", "out of range", beyond)
        steps = array.astype(np.int64)
        if int(np.dot(steps, steps)) > self.sq_norm_bound:
            raise LocalError("measurement", "out of range", beyond)
        return steps


class NormEquality(Valid[Gradient, list[float]]):
    """That the bits of v stand for Σ x²: without joint randomness, so that one proof is enough."""

    joint_rand_len = 0
    eval_output_len = 1

    def __init__(self, parameters: Parameters) -> None:
        self.field = Field64
        self.parameters = parameters
        self.meas_len = parameters.meas_len + parameters.num_wr_checks
        self.output_len = parameters.dimension
        width = parameters.chunk_length_norm_equality
        self.uses = (Use(ParallelSum(PolyEval([0, 0, 1]), width), chunks(parameters.dimension, width)),)

    def encode(self, measurement: Gradient) -> Vector:
        """The vector and the bits of its norm: the projections come later, and depend on its shares."""
        bits = self.parameters.sq_norm_bits
        steps = self.parameters.encode(measurement)
        norm = int(np.dot(steps, steps))
        split = [norm, self.parameters.sq_norm_bound - norm]
        return np.concatenate([elements_of(steps), bits_of(np.array(split), bits).reshape(-1)])

    def truncate(self, meas: Vector) -> Vector:
        return meas[: self.parameters.dimension]

    def decode(self, output: Vector, num_measurements: int) -> list[float]:
        half = Field64.modulus // 2
        signed = [value - Field64.modulus if value > half else value for value in map(int, output)]
        return [math.ldexp(value, -self.parameters.num_frac_bits) for value in signed]

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        vector = meas[: self.parameters.dimension]
        return [in_rows(Field64, vector, self.parameters.chunk_length_norm_equality)]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        start, width = self.parameters.dimension, self.parameters.sq_norm_bits
        return Field64.vector([integer_of(meas[start : start + width]) - Field64.total(outputs[0])])


class NormRange(NormEquality):
    """All the rest: bits, the range of v, and the projections. Takes their results as its last inputs."""

    joint_rand_len = 3  # for the bits, for the projections, to combine the checks

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        width = parameters.chunk_length
        self._bit_calls = chunks(parameters.meas_len - parameters.dimension, width)
        calls = self._bit_calls + chunks(parameters.num_wr_checks, width)
        self.uses = (Use(ParallelSum(Mul(), width), calls),)

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        """r^i · b_i and b_i − 1 for each bit; s^t · (error of projection t) and its flag for each t."""
        own = self.parameters
        share = Field64.inverse(num_shares)
        bits = meas[own.dimension : own.meas_len]
        bit_powers = Field64.powers(joint_rand[:1], len(bits))[0]
        claimed, flags = self._projections(meas)
        offset = (own.wr_bound - 1) * share % Field64.modulus
        errors = Field64.sub(Field64.add(meas[own.meas_len :], offset), claimed)
        wr_powers = Field64.powers(joint_rand[1:2], own.num_wr_checks)[0]
        return [
            np.concatenate(
                [
                    self._rows(Field64.mul(bit_powers, bits), Field64.sub(bits, share)),
                    self._rows(Field64.mul(wr_powers, errors), flags),
                ]
            )
        ]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        own = self.parameters
        share = Field64.inverse(num_shares)
        middle = own.dimension + own.sq_norm_bits
        norm = integer_of(meas[own.dimension : middle]) + integer_of(meas[middle : own.prefix_len])
        count = Field64.total(np.ascontiguousarray(self._projections(meas)[1]))
        checks = (
            Field64.total(outputs[0][: self._bit_calls]),
            norm - own.sq_norm_bound * share,
            Field64.total(outputs[0][self._bit_calls :]),
            count - own.num_wr_successes * share,
        )
        final = int(joint_rand[2])
        return Field64.vector([sum(check * final**power for power, check in enumerate(checks))])

    def _projections(self, meas: Vector) -> tuple[Vector, Vector]:
        """What the bits of the projections stand for, less the offset; and the flags."""
        own = self.parameters
        section = meas[own.prefix_len : own.meas_len].reshape(own.num_wr_checks, own.wr_bits + 1)
        powers = Field64.vector(1 << power for power in range(own.wr_bits))
        return Field64.combine(powers, section[:, :-1].T), section[:, -1]

    def _rows(self, left: Vector, right: Vector) -> Matrix:
        width = self.parameters.chunk_length
        return interleaved(Field64, in_rows(Field64, left, width), in_rows(Field64, right, width))


class ShardAgain(LocalError):
    """Fewer projections than needed are in range: the same measurement does with other random bytes."""


def encode_projections(parameters: Parameters, results: npt.NDArray[np.int64]) -> Vector:
    """The bits and flags of projections: the first ``num_wr_successes`` in range are flagged.

    ``ShardAgain`` if fewer are in range: honest vectors see that hardly ever, and shard again.
    """
    shifted = results + (parameters.wr_bound - 1)
    inside = (shifted >= 0) & (shifted < 2 * parameters.wr_bound)
    if int(inside.sum()) < parameters.num_wr_successes:
        raise ShardAgain("rand", "<secret>", "too few projections in range: shard again with other bytes")
    flags = inside & (np.cumsum(inside) <= parameters.num_wr_successes)
    bits = bits_of(np.where(inside, shifted, 0), parameters.wr_bits)
    return np.concatenate([bits, flags.astype(np.uint64).reshape(-1, 1)], axis=1).reshape(-1)


def bits_of(values: npt.NDArray[np.int64], width: int) -> Matrix:
    """Shape (n,) to (n, width), lowest bit first."""
    return (values.reshape(-1, 1) >> np.arange(width) & 1).astype(np.uint64)


def elements_of(steps: npt.NDArray[np.int64]) -> Vector:
    """Signed integers as elements."""
    from mpc import field as field64

    return field64.encode(steps)


def integer_of(bits: Vector) -> int:
    """What bits, or shares of bits, stand for."""
    return Field64.inner(bits, Field64.vector(1 << power for power in range(len(bits))))
