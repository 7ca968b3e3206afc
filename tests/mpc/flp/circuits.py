"""Every circuit beside its slow twin, with measurements that are valid and vectors that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpc.flp.conformance.prio3_vectors import HigherDegree
from mpc.flp.field64 import Field64
from mpc.flp.field128 import Field128
from mpc.flp.fields import Field, Matrix, Vector
from mpc.flp.pine_circuits import NormEquality, NormRange, Parameters, encode_projections
from mpc.flp.types import Count, Histogram, MultihotCountVec, Sum, SumVec
from mpc.flp.valid import Use, Valid
from mpc.tape import RandomTape
from tests.mpc.flp.oracle import Call, Slow, binary, bits_in_chunks, in_calls, number, sum_of_products


@dataclass(frozen=True)
class Case:
    name: str
    valid: Valid[Any, Any]
    slow: Slow
    measurements: Sequence[Any]


def random_vector(field: Field, length: int, tape: RandomTape) -> Vector:
    return field.sample(tape.read, length)


def _count(field: Field) -> Case:
    def circuit(meas: list[int], joint_rand: list[int], shares: int, call: Call) -> list[int]:
        return [call([meas[0], meas[0]]) - meas[0]]

    slow = Slow(field.modulus, circuit, sum_of_products, 2, 2, 1, 1)
    return Case(f"Count-{field}", Count(field), slow, [0, 1])


def _sum(field: Field, maximum: int) -> Case:
    bits = maximum.bit_length()

    def circuit(meas: list[int], joint_rand: list[int], shares: int, call: Call) -> list[int]:
        return [call([bit]) for bit in meas]

    slow = Slow(field.modulus, circuit, lambda x: x[0] * (x[0] - 1), 1, 2, bits, bits)
    return Case(f"Sum{maximum}-{field}", Sum(field, maximum), slow, [0, 1, maximum // 2, maximum])


def _sum_vec(field: Field, length: int, maximum: int, chunk: int) -> Case:
    calls = -(-length * maximum.bit_length() // chunk)

    def circuit(meas: list[int], joint_rand: list[int], shares: int, call: Call) -> list[int]:
        return [bits_in_chunks(field.modulus, meas, joint_rand, shares, chunk, call)]

    slow = Slow(field.modulus, circuit, sum_of_products, 2 * chunk, 2, calls, 1)
    values = [[0] * length, [maximum] * length, [i % (maximum + 1) for i in range(length)]]
    return Case(f"SumVec{length}-{field}", SumVec(field, length, maximum, chunk), slow, values)


def _histogram(field: Field, length: int, chunk: int) -> Case:
    def circuit(meas: list[int], joint_rand: list[int], shares: int, call: Call) -> list[int]:
        bits = bits_in_chunks(field.modulus, meas, joint_rand, shares, chunk, call)
        return [bits, sum(meas) - pow(shares, -1, field.modulus)]

    slow = Slow(field.modulus, circuit, sum_of_products, 2 * chunk, 2, -(-length // chunk), 2)
    return Case(f"Histogram{length}-{field}", Histogram(field, length, chunk), slow, [0, length - 1])


def _multihot(field: Field, length: int, weight: int, chunk: int) -> Case:
    def circuit(meas: list[int], joint_rand: list[int], shares: int, call: Call) -> list[int]:
        bits = bits_in_chunks(field.modulus, meas, joint_rand, shares, chunk, call)
        return [bits, sum(meas[:length]) - number(meas[length:], weight)]

    calls = -(-(length + weight.bit_length()) // chunk)
    slow = Slow(field.modulus, circuit, sum_of_products, 2 * chunk, 2, calls, 2)
    values = [[0] * length, [1] * weight + [0] * (length - weight)]
    return Case(f"Multihot{length}-{field}", MultihotCountVec(field, length, weight, chunk), slow, values)


class Digits(HigherDegree):
    """Several digits 0, 1 or 2: a gadget of degree 3 that is called more than once."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.meas_len = self.output_len = self.eval_output_len = length
        self.uses = (Use(self.uses[0].gadget, length),)

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        return [meas.reshape(-1, 1)]


def _digits(length: int) -> Case:
    def circuit(meas: list[int], joint_rand: list[int], shares: int, call: Call) -> list[int]:
        return [call([digit]) for digit in meas]

    def cubic(x: list[int]) -> int:
        return x[0] * (x[0] - 1) * (x[0] - 2)

    slow = Slow(Field64.modulus, circuit, cubic, 1, 3, length, length)
    return Case(f"Digits{length}", Digits(length), slow, [])


def _higher_degree() -> Case:
    return Case("HigherDegree", HigherDegree(), _digits(1).slow, [0, 1, 2])


PINE = Parameters(
    l2_norm_bound=16,
    num_frac_bits=4,
    dimension=11,
    chunk_length=7,
    chunk_length_norm_equality=4,
    num_wr_checks=6,
    num_wr_successes=5,
)


def _norm_equality(own: Parameters) -> Case:
    def circuit(meas: list[int], joint_rand: list[int], shares: int, call: Call) -> list[int]:
        bits = meas[own.dimension : own.dimension + own.sq_norm_bits]
        squares = in_calls(meas[: own.dimension], own.chunk_length_norm_equality, call)
        return [binary(bits) - squares]

    calls = -(-own.dimension // own.chunk_length_norm_equality)
    slow = Slow(
        Field64.modulus,
        circuit,
        lambda x: sum(v * v for v in x),
        own.chunk_length_norm_equality,
        2,
        calls,
        1,
    )
    return Case("PineNormEquality", NormEquality(own), slow, [])


def _norm_range(own: Parameters) -> Case:
    p = Field64.modulus

    def circuit(meas: list[int], joint_rand: list[int], shares: int, call: Call) -> list[int]:
        share, (r, s, final) = pow(shares, -1, p), joint_rand
        bits, results = meas[own.dimension : own.meas_len], meas[own.meas_len :]
        v, u = bits[: own.sq_norm_bits], bits[own.sq_norm_bits : 2 * own.sq_norm_bits]
        pairs = [(pow(r, i, p) * bit, bit - share) for i, bit in enumerate(bits)]
        bit_check = in_calls([x for pair in pairs for x in pair], 2 * own.chunk_length, call)
        products, successes = [], 0
        for t, result in enumerate(results):
            start = 2 * own.sq_norm_bits + t * (own.wr_bits + 1)
            claimed = binary(bits[start : start + own.wr_bits]) - (own.wr_bound - 1) * share
            flag = bits[start + own.wr_bits]
            products += [pow(s, t, p) * (result - claimed), flag]
            successes += flag
        wr_check = in_calls(products, 2 * own.chunk_length, call)
        range_check = binary(v) + binary(u) - own.sq_norm_bound * share
        count_check = successes - own.num_wr_successes * share
        return [bit_check + final * range_check + final**2 * wr_check + final**3 * count_check]

    bits = own.meas_len - own.dimension
    calls = -(-bits // own.chunk_length) - (-own.num_wr_checks // own.chunk_length)
    slow = Slow(p, circuit, sum_of_products, 2 * own.chunk_length, 2, calls, 1)
    return Case("PineNormRange", NormRange(own), slow, [])


def pine_measurement(own: Parameters, tape: RandomTape) -> Vector:
    """What the PINE circuits take: with projections drawn from the tape."""
    steps = np.array([tape.below(7) - 3 for _ in range(own.dimension)], np.int64)
    codes = [[bin(tape.read(1)[0] & 3).count("1") - 1 for _ in steps] for _ in range(own.num_wr_checks)]
    results = np.array(codes, np.int64) @ steps
    projections = encode_projections(own, results)
    return np.concatenate(
        [NormEquality(own).encode(steps), projections, Field64.vector(int(r) for r in results)]
    )


PRIO3_CASES = [
    _count(Field64),
    _count(Field128),
    _sum(Field64, 1),
    _sum(Field64, 100),
    _sum(Field128, 255),
    _sum_vec(Field64, 3, 5, 4),
    _sum_vec(Field128, 2, 2, 3),
    _histogram(Field64, 9, 3),
    _histogram(Field128, 5, 2),
    _multihot(Field64, 6, 3, 4),
    _multihot(Field128, 4, 2, 5),
    _higher_degree(),
    _digits(3),
    _digits(7),
]
PINE_CASES = [_norm_equality(PINE), _norm_range(PINE)]


def encodings(case: Case, tape: RandomTape) -> list[Vector]:
    """Valid encoded measurements."""
    if case in PINE_CASES:
        return [pine_measurement(PINE, tape.child(str(i))) for i in range(2)]
    if isinstance(case.valid, Digits):
        return [case.valid.field.vector(tape.below(3) for _ in range(case.valid.meas_len))]
    return [case.valid.encode(measurement) for measurement in case.measurements]
