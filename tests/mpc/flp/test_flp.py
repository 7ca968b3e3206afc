"""The proof system: complete, sound against every single change, and the same as the slow oracle's."""

from __future__ import annotations

import numpy as np
import pytest

from mpc.errors import LocalError
from mpc.flp.conformance.earlier import MonomialBasis
from mpc.flp.fields import Vector
from mpc.flp.flp import Flp
from mpc.flp.gadgets import Mul, ParallelSum, PolyEval
from mpc.flp.proof import Basis, LagrangeBasis, ProofError
from mpc.tape import SeededTape
from tests.mpc.flp.circuits import PINE_CASES, PRIO3_CASES, Case, encodings, random_vector

CASES = [*PRIO3_CASES, *PINE_CASES]
BASES = [LagrangeBasis(), MonomialBasis()]
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Run:
    """One proof with its randomness."""

    def __init__(self, case: Case, meas: Vector, basis: Basis | None = None, seed: bytes = b"") -> None:
        self.flp = Flp(case.valid, basis)
        self.valid, self.field = case.valid, case.valid.field
        self.tape = SeededTape(b"flp" + case.name.encode() + seed)
        self.meas = meas
        self.prove_rand = random_vector(self.field, self.valid.prove_rand_len, self.tape)
        self.query_rand = random_vector(self.field, self.valid.query_rand_len, self.tape)
        self.joint_rand = random_vector(self.field, self.valid.joint_rand_len, self.tape)
        self.proof = self.flp.prove(meas, self.prove_rand, self.joint_rand)

    def decide(self, meas: Vector, proof: Vector, shares: int = 1) -> None:
        """Splits both among so many verifiers, and decides on the sum of what they answer."""
        verifier = self.field.zeros(self.valid.verifier_len)
        for left in reversed(range(shares)):
            own = [
                random_vector(self.field, len(whole), self.tape) if left else whole for whole in (meas, proof)
            ]
            meas, proof = self.field.sub(meas, own[0]), self.field.sub(proof, own[1])
            share = self.flp.query(own[0], own[1], self.query_rand, self.joint_rand, shares)
            verifier = self.field.add(verifier, share)
        self.flp.decide(verifier)


@by_case
@pytest.mark.parametrize("basis", BASES, ids=["lagrange", "monomial"])
@pytest.mark.parametrize("shares", [1, 2, 5])
def test_valid_measurements_are_accepted(case: Case, basis: Basis, shares: int) -> None:
    for meas in encodings(case, SeededTape(b"valid")):
        run = Run(case, meas, basis)
        run.decide(meas, run.proof, shares)


@by_case
def test_a_change_anywhere_in_the_measurement_is_refused(case: Case) -> None:
    """But for the entries that a circuit does not look at."""
    run = Run(case, encodings(case, SeededTape(b"change"))[-1])
    seen = 0
    for index in range(len(run.meas)):
        altered = run.meas.copy()
        altered[index] = (int(altered[index]) + 5) % run.field.modulus
        proof = run.flp.prove(altered, run.prove_rand, run.joint_rand)
        try:
            run.decide(altered, proof)
        except ProofError:
            seen += 1
    unseen = {"PineNormEquality": len(run.meas) - 11 - 9, "PineNormRange": 11}
    # A failed projection may report any result.
    assert len(run.meas) - seen - unseen.get(case.name, 0) == (1 if case.name == "PineNormRange" else 0)


@by_case
@pytest.mark.parametrize("basis", BASES, ids=["lagrange", "monomial"])
def test_a_change_anywhere_in_the_proof_is_refused(case: Case, basis: Basis) -> None:
    run = Run(case, encodings(case, SeededTape(b"proof"))[0], basis)
    for index in range(len(run.proof)):
        altered = run.proof.copy()
        altered[index] = (int(altered[index]) + 1) % run.field.modulus
        with pytest.raises(ProofError):
            run.decide(run.meas, altered, 2)


@by_case
def test_a_change_anywhere_in_the_verifier_is_refused(case: Case) -> None:
    run = Run(case, encodings(case, SeededTape(b"verifier"))[0])
    verifier = run.flp.query(run.meas, run.proof, run.query_rand, run.joint_rand, 1)
    run.flp.decide(verifier)
    for index in range(len(verifier)):
        altered = verifier.copy()
        altered[index] = (int(altered[index]) + 1) % run.field.modulus
        with pytest.raises(ProofError):
            run.flp.decide(altered)


@by_case
def test_proofs_and_verifiers_are_those_of_the_slow_oracle(case: Case) -> None:
    run = Run(case, encodings(case, SeededTape(b"slow"))[-1])
    meas, joint_rand = run.meas.tolist(), run.joint_rand.tolist()
    assert run.proof.tolist() == case.slow.prove(meas, run.prove_rand.tolist(), joint_rand)
    for shares in (1, 3):
        share = random_vector(run.field, len(run.meas), run.tape)
        proof = random_vector(run.field, len(run.proof), run.tape)
        found = run.flp.query(share, proof, run.query_rand, run.joint_rand, shares)
        query_rand = run.query_rand.tolist()
        assert found.tolist() == case.slow.query(
            share.tolist(), proof.tolist(), query_rand, joint_rand, shares
        )


@by_case
def test_both_bases_hold_the_same_polynomial(case: Case) -> None:
    meas = encodings(case, SeededTape(b"bases"))[0]
    one, other = (Run(case, meas, basis) for basis in BASES)
    verifiers = [
        run.flp.query(meas, run.proof, run.query_rand, run.joint_rand, 1).tolist() for run in (one, other)
    ]
    assert verifiers[0] == verifiers[1]


@by_case
def test_a_test_point_that_would_show_a_value_is_refused(case: Case) -> None:
    run = Run(case, encodings(case, SeededTape(b"point"))[0])
    run.query_rand = np.concatenate([run.query_rand[:-1], run.field.vector([1])])
    with pytest.raises(ProofError, match="the wires' own"):
        run.decide(run.meas, run.proof)


@by_case
def test_a_test_point_at_a_value_of_the_gadget_polynomial_is_fine(case: Case) -> None:
    run = Run(case, encodings(case, SeededTape(b"node"))[0])
    point = run.field.vector([case.slow.nodes[1]])
    run.query_rand = np.concatenate([run.query_rand[:-1], point])
    run.decide(run.meas, run.proof, 2)
    query_rand, joint_rand = run.query_rand.tolist(), run.joint_rand.tolist()
    found = run.flp.query(run.meas, run.proof, run.query_rand, run.joint_rand, 1).tolist()
    assert found == case.slow.query(run.meas.tolist(), run.proof.tolist(), query_rand, joint_rand, 1)


@by_case
def test_wrong_lengths_are_refused(case: Case) -> None:
    run = Run(case, encodings(case, SeededTape(b"lengths"))[0])
    with pytest.raises(LocalError, match=r"meas\.shape"):
        run.flp.prove(run.meas[:-1], run.prove_rand, run.joint_rand)
    with pytest.raises(LocalError, match=r"prove_rand\.shape"):
        run.flp.prove(run.meas, run.prove_rand[:-1], run.joint_rand)
    with pytest.raises(LocalError, match=r"proof\.shape"):
        run.flp.query(run.meas, run.proof[1:], run.query_rand, run.joint_rand, 1)
    with pytest.raises(LocalError, match=r"verifier\.shape"):
        run.flp.decide(np.concatenate([run.proof, run.proof, run.proof]))


def test_gadgets_without_degree_or_width_are_refused() -> None:
    with pytest.raises(LocalError, match="degree at least 1"):
        PolyEval([3, 0])
    with pytest.raises(LocalError, match="count is 0"):
        ParallelSum(Mul(), 0)
