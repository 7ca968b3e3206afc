"""Which instance of Prio3 a vector is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mpc.errors import LocalError
from mpc.flp.field64 import Field64
from mpc.flp.fields import Matrix, Vector
from mpc.flp.gadgets import PolyEval
from mpc.flp.prio3 import (
    EXPERIMENTAL,
    Prio3,
    prio3_count,
    prio3_histogram,
    prio3_multihot_count_vec,
    prio3_sum,
    prio3_sum_vec,
    prio3_sum_vec_with_multiproof,
)
from mpc.flp.valid import Use, Valid

Record = dict[str, Any]
_MULTIPROOFS = 3  # how many the multiproof vectors were made with; they do not say


class HigherDegree(Valid[int, int]):
    """x · (x − 1) · (x − 2): the draft's test circuit, for a gadget of degree 3."""

    meas_len = output_len = eval_output_len = 1
    joint_rand_len = 0

    def __init__(self) -> None:
        self.field = Field64
        self.uses = (Use(PolyEval([0, 2, -3, 1]), 1),)

    def encode(self, measurement: int) -> Vector:
        return self.field.vector([measurement])

    def truncate(self, meas: Vector) -> Vector:
        return meas

    def decode(self, output: Vector, num_measurements: int) -> int:
        return int(output[0])

    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        return [meas.reshape(1, 1)]

    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        return outputs[0]


_INSTANCES: dict[str, Callable[[Record], Prio3[Any, Any]]] = {
    "Prio3Count": lambda v: prio3_count(v["shares"]),
    "Prio3Sum": lambda v: prio3_sum(v["shares"], v["max_measurement"]),
    "Prio3SumVec": lambda v: prio3_sum_vec(v["shares"], v["length"], v["max_measurement"], v["chunk_length"]),
    "Prio3Histogram": lambda v: prio3_histogram(v["shares"], v["length"], v["chunk_length"]),
    "Prio3MultihotCountVec": lambda v: prio3_multihot_count_vec(
        v["shares"], v["length"], v["max_weight"], v["chunk_length"]
    ),
    "Prio3SumVecWithMultiproof": lambda v: prio3_sum_vec_with_multiproof(
        v["shares"], Field64, _MULTIPROOFS, v["length"], v["max_measurement"], v["chunk_length"]
    ),
    "Prio3HigherDegree": lambda v: Prio3(HigherDegree(), shares=v["shares"], algorithm=EXPERIMENTAL),
}


def instance(name: str, vector: Record) -> Prio3[Any, Any]:
    """The instance of this name with the vector's parameters; ``LocalError`` for a name that is not known."""
    if name not in _INSTANCES:
        raise LocalError("name", name, f"one of {', '.join(_INSTANCES)}")
    return _INSTANCES[name](vector)
