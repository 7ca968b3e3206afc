"""Validity circuits (draft-irtf-cfrg-vdaf-20, section 7.3.2; spec section 16.5).

A circuit is given in two affine halves: from the encoded measurement to the inputs of all gadget calls, and
from the gadgets' outputs to the circuit's outputs, which are all zero for a valid measurement. So no call
takes what another one returns, as in every circuit of the draft and of PINE; that is what lets all calls of a
gadget be one matrix. Both halves may be run on additive shares: a constant is then divided by the number of
shares, so that the sum over the shares has it once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mpc.errors import LocalError
from mpc.flp.fields import Field, Matrix, Vector
from mpc.flp.gadgets import Gadget, polynomial_length

Measurement = TypeVar("Measurement")
AggResult = TypeVar("AggResult")


@dataclass(frozen=True, slots=True)
class Use:
    """A gadget, and how many times a circuit calls it."""

    gadget: Gadget
    calls: int


class Valid(ABC, Generic[Measurement, AggResult]):
    """A circuit with the encoding of what it checks. Lengths are in field elements.

    ``meas_len``: of the encoded measurement. ``joint_rand_len``: of the circuit's random input.
    ``output_len``: of what is aggregated. ``eval_output_len``: of the circuit's output.
    """

    field: Field
    meas_len: int
    joint_rand_len: int
    output_len: int
    eval_output_len: int
    uses: Sequence[Use]

    @abstractmethod
    def encode(self, measurement: Measurement) -> Vector:
        """The measurement as ``meas_len`` elements; ``LocalError`` for one that is not valid."""

    @abstractmethod
    def truncate(self, meas: Vector) -> Vector:
        """What is aggregated, from the encoded measurement or a share of it: linear."""

    @abstractmethod
    def decode(self, output: Vector, num_measurements: int) -> AggResult:
        """The aggregate result, from a sum of truncated measurements."""

    @abstractmethod
    def inputs(self, meas: Vector, joint_rand: Vector, num_shares: int) -> list[Matrix]:
        """For each use, shape (calls, arity): the inputs of every call."""

    @abstractmethod
    def result(self, meas: Vector, joint_rand: Vector, num_shares: int, outputs: Sequence[Vector]) -> Vector:
        """The circuit's output, shape (eval_output_len,), from what the calls returned, shape (calls,)."""

    @property
    def prove_rand_len(self) -> int:
        return sum(use.gadget.arity for use in self.uses)

    @property
    def query_rand_len(self) -> int:
        reduction = self.eval_output_len if self.eval_output_len > 1 else 0
        return len(self.uses) + reduction

    @property
    def proof_len(self) -> int:
        return sum(use.gadget.arity + polynomial_length(use.gadget, use.calls) for use in self.uses)

    @property
    def verifier_len(self) -> int:
        return 1 + sum(use.gadget.arity + 1 for use in self.uses)


def chunks(length: int, chunk_length: int) -> int:
    """Chunks that ``length`` things take, the last one shorter if need be."""
    return -(-length // chunk_length)


def in_rows(field: Field, vector: Vector, width: int) -> Matrix:
    """The vector in rows of ``width``, padded with zeros: not copied if it fills them."""
    rows = chunks(len(vector), width)
    if rows * width == len(vector):
        return vector.reshape(rows, width)
    padded = field.zeros(rows * width)
    padded[: len(vector)] = vector
    return padded.reshape(rows, width)


def interleaved(field: Field, left: Matrix, right: Matrix) -> Matrix:
    """Columns of two matrices in turn, as ``ParallelSum`` of ``Mul`` takes them: (n, m) twice to (n, 2m)."""
    out = field.zeros(left.shape[0], 2 * left.shape[1])
    out[:, 0::2] = left
    out[:, 1::2] = right
    return out


def positive(name: str, value: int) -> int:
    """The value itself; ``LocalError`` unless it is at least 1."""
    if value < 1:
        raise LocalError(name, value, "at least 1")
    return value
