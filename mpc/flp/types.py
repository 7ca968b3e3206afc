"""The circuits of Prio3's variants (draft-irtf-cfrg-vdaf-20, section 7.4; spec section 16.7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc.errors import LocalError
from mpc.flp.fields import Field, Matrix, Vector
from mpc.flp.gadgets import Mul, ParallelSum, PolyEval
from mpc.flp.valid import Measurement, Use, Valid, chunks, in_rows, interleaved, positive


def encode_range_checked(field: Field, value: int, maximum: int) -> Vector:
    """An integer in [0, maximum] as bits whose weights add up to ``maximum``: section 7.4.2.

    All weights are powers of two but the last, so no vector of bits stands for more than ``maximum``.
    """
    if not 0 <= value <= maximum:
        raise LocalError("measurement", "out of range", f"must be from 0 to {maximum}")
    bits = maximum.bit_length()
    low = 2 ** (bits - 1) - 1
    last = int(value > low)
    rest = value - last * (maximum - low)
    return field.vector([*(rest >> power & 1 for power in range(bits - 1)), last])


def range_weights(field: Field, maximum: int) -> Vector:
    """What the bits of ``encode_range_checked`` count."""
    bits = maximum.bit_length()
    return field.vector([*(1 << power for power in range(bits - 1)), maximum - 2 ** (bits - 1) + 1])


class Count(Valid[int, int]):
    """A measurement is 0 or 1; the result counts the ones: section 7.4.1."""

    meas_len = output_len = eval_output_len = 1
    joint_rand_len = 0

    def __init__(self, field: Field) -> None:
        self.field = field
        self.uses = (Use(Mul(), 1),)

    def encode(self, measurement: int) -> Vector:
        return encode_range_checked(self.field, measurement, 1)

    def truncate(self, meas: Vector) -> Vector:
        return meas

    def decode(self, output: Vector, num_measurements: int) -> int:
        return int(output[0])

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        return [np.concatenate([meas, meas]).reshape(1, 2)]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        return self.field.sub(outputs[0], meas)


class Sum(Valid[int, int]):
    """A measurement is an integer in [0, max_measurement]; the result is their sum: section 7.4.2."""

    joint_rand_len = 0
    output_len = 1

    def __init__(self, field: Field, max_measurement: int) -> None:
        self.field = field
        self.max_measurement = _maximum(field, "max_measurement", max_measurement)
        self.meas_len = self.eval_output_len = max_measurement.bit_length()
        self.uses = (Use(PolyEval([0, -1, 1]), self.meas_len),)

    def encode(self, measurement: int) -> Vector:
        return encode_range_checked(self.field, measurement, self.max_measurement)

    def truncate(self, meas: Vector) -> Vector:
        return self.field.vector([self.field.inner(meas, range_weights(self.field, self.max_measurement))])

    def decode(self, output: Vector, num_measurements: int) -> int:
        return int(output[0])

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        return [meas.reshape(-1, 1)]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        return outputs[0]


class _Bits(Valid[Measurement, list[int]]):
    """A circuit all of whose entries are bits, which it checks with joint randomness, chunk by chunk.

    Chunk i of bits b yields Σ_j r_i^(j+1) · b_j · (b_j − 1), zero for bits and for hardly any r_i otherwise.
    """

    def __init__(self, field: Field, meas_len: int, output_len: int, chunk_length: int) -> None:
        self.field = field
        self.meas_len = meas_len
        self.output_len = positive("length", output_len)
        self.chunk_length = positive("chunk_length", chunk_length)
        calls = chunks(meas_len, chunk_length)
        self.joint_rand_len = calls
        self.uses = (Use(ParallelSum(Mul(), chunk_length), calls),)

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        field = self.field
        bits = in_rows(field, meas, self.chunk_length)
        powers = field.mul(field.powers(joint_rand, self.chunk_length), joint_rand.reshape(-1, 1))
        less_one = field.sub(bits, field.inverse(num_shares))
        return [interleaved(field, field.mul(bits, powers), less_one)]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        return self.field.vector([self.field.total(outputs[0])])

    def decode(self, output: Vector, num_measurements: int) -> list[int]:
        return [int(entry) for entry in output]


class SumVec(_Bits[Sequence[int]]):
    """A measurement is ``length`` integers in [0, max_measurement]; they are summed: section 7.4.3."""

    eval_output_len = 1

    def __init__(self, field: Field, length: int, max_measurement: int, chunk_length: int) -> None:
        self.max_measurement = _maximum(field, "max_measurement", max_measurement)
        self.bits = max_measurement.bit_length()
        super().__init__(field, self.bits * length, length, chunk_length)

    def encode(self, measurement: Sequence[int]) -> Vector:
        _same_length(measurement, self.output_len)
        entries = [encode_range_checked(self.field, int(x), self.max_measurement) for x in measurement]
        return np.concatenate(entries)

    def truncate(self, meas: Vector) -> Vector:
        rows = meas.reshape(self.output_len, self.bits)
        return self.field.combine(range_weights(self.field, self.max_measurement), rows.T)


class Histogram(_Bits[int]):
    """A measurement is the index of a bucket; the result counts each bucket: section 7.4.4."""

    eval_output_len = 2

    def __init__(self, field: Field, length: int, chunk_length: int) -> None:
        super().__init__(field, length, length, chunk_length)

    def encode(self, measurement: int) -> Vector:
        if not 0 <= measurement < self.output_len:
            raise LocalError("measurement", "out of range", f"a bucket from 0 to {self.output_len - 1}")
        return self.field.vector(int(bucket == measurement) for bucket in range(self.output_len))

    def truncate(self, meas: Vector) -> Vector:
        return meas

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        field = self.field
        counted = field.total(meas) - field.inverse(num_shares)
        return field.vector([field.total(outputs[0]), counted])


class MultihotCountVec(_Bits[Sequence[int]]):
    """A measurement is bits, at most ``max_weight`` of them ones; they are summed: section 7.4.5."""

    eval_output_len = 2

    def __init__(self, field: Field, length: int, max_weight: int, chunk_length: int) -> None:
        if not 0 < max_weight <= length:
            raise LocalError("max_weight", max_weight, f"must be from 1 to the length, {length}")
        self.max_weight = _maximum(field, "max_weight", max_weight)
        super().__init__(field, length + max_weight.bit_length(), length, chunk_length)

    def encode(self, measurement: Sequence[int]) -> Vector:
        _same_length(measurement, self.output_len)
        if any(int(entry) not in (0, 1) for entry in measurement):
            raise LocalError("measurement", "out of range", "entries are 0 or 1")
        bits = self.field.vector(int(entry) for entry in measurement)
        weight = encode_range_checked(self.field, sum(map(int, measurement)), self.max_weight)
        return np.concatenate([bits, weight])

    def truncate(self, meas: Vector) -> Vector:
        return meas[: self.output_len]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        field = self.field
        reported = field.inner(meas[self.output_len :], range_weights(field, self.max_weight))
        weight = field.total(meas[: self.output_len]) - reported
        return field.vector([field.total(outputs[0]), weight])


def _maximum(field: Field, name: str, value: int) -> int:
    if value < 1 or 1 << value.bit_length() >= field.modulus:
        raise LocalError(name, value, f"from 1 to below half of {field}")
    return value


def _same_length(measurement: Sequence[int], length: int) -> None:
    if len(measurement) != length:
        raise LocalError("len(measurement)", len(measurement), f"{length} entries")
