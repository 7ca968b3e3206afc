"""The fully linear proof system (draft-irtf-cfrg-vdaf-20, section 7.3; BBCGGI19, theorem 4.3; spec section
16.6).

The prover's wires, the inputs of each gadget call by call, are values of polynomials at roots of unity, with
a random value in front. Its proof is those random values and, for each gadget, the gadget of these
polynomials. The verifier takes the gadgets' outputs from there, and checks at one random point that the
gadget polynomial is what it claims to be. All that it does before ``decide`` is linear: it works on shares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic

import numpy as np

from mpc.errors import LocalError
from mpc.flp.fields import Matrix, Vector
from mpc.flp.gadgets import polynomial_length, wire_length
from mpc.flp.lagrange import weights
from mpc.flp.proof import Basis, LagrangeBasis, ProofError
from mpc.flp.valid import AggResult, Measurement, Use, Valid


class Flp(Generic[Measurement, AggResult]):
    """Proofs that ``valid`` accepts an encoded measurement."""

    def __init__(self, valid: Valid[Measurement, AggResult], basis: Basis | None = None) -> None:
        self.valid = valid
        self.field = valid.field
        self.basis: Basis = basis or LagrangeBasis()

    def prove(self, meas: Vector, prove_rand: Vector, joint_rand: Vector) -> Vector:
        """The proof, shape (proof_len,)."""
        self._check(meas=meas, prove_rand=prove_rand, joint_rand=joint_rand)
        parts: list[Vector] = []
        start = 0
        for use, inputs in zip(self.valid.uses, self.valid.inputs(meas, joint_rand, 1), strict=True):
            seeds = prove_rand[start : start + use.gadget.arity]
            start += use.gadget.arity
            wires = self.field.zeros(wire_length(use.calls), use.gadget.arity)
            wires[0] = seeds
            wires[1 : use.calls + 1] = inputs
            parts += [seeds, self.basis.polynomial(self.field, use.gadget, wires)]
        return np.concatenate(parts)

    def query(
        self, meas: Vector, proof: Vector, query_rand: Vector, joint_rand: Vector, num_shares: int
    ) -> Vector:
        """The verifier, or the share of it that belongs to shares of ``meas`` and ``proof``.

        Shape (verifier_len,). ``ProofError`` if a test point is one where the wires have their inputs, which
        the answer would show: that happens about once in 2^54 times for a thousand calls.
        """
        self._check(meas=meas, proof=proof, query_rand=query_rand, joint_rand=joint_rand)
        points = query_rand[len(query_rand) - len(self.valid.uses) :]
        inputs = self.valid.inputs(meas, joint_rand, num_shares)
        polynomials, outputs, tests = self._split(proof), [], []
        for (use, seeds, polynomial), rows, point in zip(polynomials, inputs, points, strict=True):
            outputs.append(self.basis.outputs(self.field, use.gadget, use.calls, polynomial))
            tests += [self._wires_at(use, seeds, rows, int(point))]
            tests += [
                self.field.vector(
                    [self.basis.value(self.field, use.gadget, use.calls, polynomial, int(point))]
                )
            ]
        result = self.valid.result(meas, joint_rand, num_shares, outputs)
        if len(result) > 1:
            result = self.field.vector([self.field.inner(result, query_rand[: len(result)])])
        return np.concatenate([result, *tests])

    def decide(self, verifier: Vector) -> None:
        """``ProofError`` unless the verifier is that of a valid measurement."""
        self._check(verifier=verifier)
        if int(verifier[0]) != 0:
            raise ProofError("the circuit's output is not zero")
        start = 1
        for use in self.valid.uses:
            wires = verifier[start : start + use.gadget.arity].reshape(1, -1)
            start += use.gadget.arity + 1
            if int(use.gadget.eval(self.field, wires)[0]) != int(verifier[start - 1]):
                raise ProofError("a gadget polynomial is not the gadget of its wires")

    def _wires_at(self, use: Use, seeds: Vector, inputs: Matrix, point: int) -> Vector:
        """Values of the wire polynomials at a point: one weight for each call, the zeros left out."""
        size = wire_length(use.calls)
        if pow(point, size, self.field.modulus) == 1:
            raise ProofError("the test point is one of the wires' own")
        at = weights(self.field, size, size, point)
        from_seeds = self.field.mul(seeds, int(at[0]))
        return self.field.add(self.field.combine(at[1 : use.calls + 1], inputs), from_seeds)

    def _split(self, proof: Vector) -> Iterator[tuple[Use, Vector, Vector]]:
        """For each gadget: its use, its wires' seeds, its polynomial."""
        start = 0
        for use in self.valid.uses:
            middle = start + use.gadget.arity
            end = middle + polynomial_length(use.gadget, use.calls)
            yield use, proof[start:middle], proof[middle:end]
            start = end

    def _check(self, **vectors: Vector) -> None:
        for name, vector in vectors.items():
            length: int = getattr(self.valid, f"{name}_len")
            if vector.shape != (length,):
                raise LocalError(f"{name}.shape", vector.shape, f"a vector of {length} elements")
