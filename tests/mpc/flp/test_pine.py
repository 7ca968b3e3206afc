"""PINE: sums of real vectors, each of them proved to be short."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc import field
from mpc.errors import DecodeError, LocalError
from mpc.field import Elements
from mpc.flp import pine_circuits
from mpc.flp.field64 import Field64
from mpc.flp.flp import Flp
from mpc.flp.pine import Pine
from mpc.flp.pine_circuits import NormEquality, NormRange, Parameters, encode_projections
from mpc.flp.proof import ProofError
from mpc.flp.wraparound import project
from mpc.flp.xof import XofHmacSha256Aes128
from mpc.tape import SeededTape
from tests.mpc.flp.reports import CTX, Report, flipped, total

SMALL = Parameters(
    l2_norm_bound=64,
    num_frac_bits=4,
    dimension=10,
    chunk_length=30,
    chunk_length_norm_equality=3,
    num_wr_checks=10,
    num_wr_successes=10,
)
PINE = Pine(SMALL, shares=2, proofs=2)


def with_norm(steps: int) -> np.ndarray:
    vector = np.zeros(SMALL.dimension, np.int64)
    vector[3] = -steps
    return vector


@given(
    st.lists(
        st.lists(st.floats(-1.2, 1.2, allow_subnormal=False), min_size=10, max_size=10),
        min_size=1,
        max_size=3,
    )
)
def test_the_result_is_the_sum_of_the_rounded_vectors(vectors: list[list[float]]) -> None:
    assert total(PINE, vectors) == (np.rint(np.array(vectors) * 16).sum(axis=0) / 16).tolist()


@pytest.mark.parametrize("shares", [2, 3])
def test_vectors_on_the_bound_are_accepted(shares: int) -> None:
    vdaf = Pine(SMALL, shares=shares, proofs=1, proofs_norm_equality=2)
    vectors = [with_norm(64), with_norm(-64), np.full(10, 20), np.zeros(10)]
    assert total(vdaf, vectors) == [1.25] * 10


def test_vectors_beyond_the_bound_are_refused_by_the_client() -> None:
    for vector in (
        with_norm(65),
        np.full(10, 21),
        np.full(10, 2**62),
        np.full(10, 1e300),
        with_norm(-64) + 1,
    ):
        with pytest.raises(LocalError, match="its norm is above the bound"):
            SMALL.encode(vector)


def test_entries_that_are_no_numbers_are_refused() -> None:
    for entry in (float("nan"), float("inf"), -float("inf"), 5e-324):
        with pytest.raises(LocalError, match="entries are finite and not subnormal"):
            SMALL.encode([0.0] * 9 + [entry])
    with pytest.raises(LocalError, match=r"measurement\.shape"):
        SMALL.encode([0.0] * 9)
    for wrong in ([2**70] * 10, [True] * 10, ["1"] * 10):
        with pytest.raises(LocalError, match=r"measurement\.dtype"):
            SMALL.encode(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64, np.float32])
def test_integers_are_steps_and_floats_are_not(dtype: type) -> None:
    factor = 16 if dtype is np.float32 else 1
    assert SMALL.encode(np.arange(4, 14).astype(dtype) // factor).tolist() == [
        factor * (step // factor) for step in range(4, 14)
    ]


class Lying(Parameters):
    """Encodes what an honest client would refuse to."""

    def encode(self, measurement: object) -> np.ndarray:
        return np.asarray(measurement, np.int64)


def lying(**changes: int) -> Pine:
    names = ("l2_norm_bound", "num_frac_bits", "dimension", "chunk_length", "chunk_length_norm_equality")
    given_ = {name: getattr(SMALL, name) for name in (*names, "num_wr_checks", "num_wr_successes")}
    return Pine(Lying(**{**given_, **changes}), shares=2, proofs=2)


def test_a_client_that_lies_about_its_norm_is_refused() -> None:
    """v = ‖x‖² is right and u = B² − v does not fit into its bits, or the other way round."""
    for steps in (65, 200):
        with pytest.raises(ProofError, match="circuit's output"):
            Report(lying(), with_norm(steps), SeededTape(b"lie")).verify()


def test_a_norm_that_wraps_around_the_modulus_is_caught_by_the_projections_alone() -> None:
    """2^96 = −1 in the field, so that this vector, 2^48 long, has the norm 3 there."""
    vector = Field64.vector([2**48, 3, 1, *[0] * 7])
    assert Field64.inner(vector, vector) == 9
    norms = [9 >> i & 1 for i in range(SMALL.sq_norm_bits)]
    norms += [SMALL.sq_norm_bound - 9 >> i & 1 for i in range(SMALL.sq_norm_bits)]
    results = project(vector, XofHmacSha256Aes128(bytes(32), b""), SMALL.num_wr_checks)
    inside = np.abs(field.decode(results)) < SMALL.wr_bound
    assert 0 < inside.sum() < SMALL.num_wr_checks
    honest = np.where(inside, field.decode(results), 0)
    projections = encode_projections(SMALL, honest).reshape(SMALL.num_wr_checks, -1)
    for flags in (np.ones(10, np.uint64), inside.astype(np.uint64)):
        projections[:, -1] = flags
        meas = np.concatenate([vector, Field64.vector(norms), projections.reshape(-1), results])
        decide(NormEquality(SMALL), meas)
        with pytest.raises(ProofError, match="circuit's output"):
            decide(NormRange(SMALL), meas)


def decide(circuit: NormEquality, meas: Elements) -> None:
    tape = SeededTape(b"decide")
    lengths = circuit.prove_rand_len, circuit.query_rand_len, circuit.joint_rand_len
    prove_rand, query_rand, joint_rand = (field.random(length, tape) for length in lengths)
    flp = Flp(circuit)
    proof = flp.prove(meas, prove_rand, joint_rand)
    flp.decide(flp.query(meas, proof, query_rand, joint_rand, 1))


def test_projections_out_of_range_cannot_be_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = encode_projections

    def flag_all(parameters: Parameters, results: np.ndarray) -> np.ndarray:
        return honest(parameters, np.zeros_like(results))

    monkeypatch.setattr("mpc.flp.pine.encode_projections", flag_all)
    with pytest.raises(ProofError, match="circuit's output"):
        Report(PINE, with_norm(60), SeededTape(b"flags")).verify()


def test_as_many_projections_are_flagged_as_are_asked_for() -> None:
    few = Parameters(64, 4, 10, 30, 3, num_wr_checks=6, num_wr_successes=3)
    results = np.array([0, few.wr_bound + 1, -few.wr_bound, 1 - few.wr_bound, few.wr_bound, 7], np.int64)
    rows = encode_projections(few, results).reshape(6, few.wr_bits + 1)
    assert rows[:, -1].tolist() == [1, 0, 0, 1, 1, 0]
    values = (rows[:, :-1] << np.arange(few.wr_bits, dtype=np.uint64)).sum(axis=1).astype(np.int64)
    assert (values - few.wr_bound + 1)[[0, 3, 4, 5]].tolist() == [0, 1 - few.wr_bound, few.wr_bound, 7]
    with pytest.raises(LocalError, match="shard again"):
        encode_projections(few, np.full(6, few.wr_bound + 1, np.int64))


@pytest.mark.parametrize(
    "name", ["input_share_0", "input_share_1", "public_share", "verifier_share_0", "verifier_share_1"]
)
def test_a_bit_anywhere_matters(name: str) -> None:
    clean = Report(PINE, with_norm(5), SeededTape(b"bits"))
    clean.verify()
    sizes = {"public_share": 128, "input_share_0": len(clean.input_shares[0]), "input_share_1": 128}
    size = sizes.get(name, 8 * PINE.layout.verifiers_len + 64)
    for place in [*range(0, size, max(8, size // 40 // 8 * 8)), -1, -33, size // 2]:
        with pytest.raises((ProofError, DecodeError)):
            Report(PINE, with_norm(5), SeededTape(b"bits"), **{name: flipped(place)}).verify()


def test_both_seeds_of_the_verifier_message_are_compared() -> None:
    for place in (0, -1):
        report = Report(PINE, with_norm(5), SeededTape(b"seeds"), verifier_message=flipped(place))
        with pytest.raises(ProofError, match="joint randomness"):
            report.verify()


def test_a_report_is_bound_to_its_context() -> None:
    with pytest.raises(ProofError):
        Report(PINE, with_norm(5), SeededTape(b"ctx")).verify(ctx=CTX + b"!")


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"l2_norm_bound": 0}, "l2_norm_bound"),
        ({"l2_norm_bound": 2**32}, "l2_norm_bound"),
        ({"l2_norm_bound": -(2**31)}, "l2_norm_bound"),
        ({"num_frac_bits": 128}, "num_frac_bits"),
        ({"num_wr_successes": 0}, "num_wr_successes"),
        ({"num_wr_successes": 11}, "num_wr_successes"),
        ({"dimension": 0}, "dimension"),
        ({"chunk_length": 0}, "chunk_length"),
        ({"chunk_length_norm_equality": 0}, "chunk_length_norm_equality"),
    ],
)
def test_parameters_that_prove_nothing_are_refused(changes: dict[str, int], argument: str) -> None:
    with pytest.raises(LocalError, match=f"{argument} is"):
        lying(**changes)


def test_the_largest_bound_there_is_works_and_no_larger_one_does() -> None:
    """Three squares of it and two more still lie below the modulus."""
    bound = math.isqrt((Field64.modulus - 3) // 3)
    largest = Parameters(bound, 0, 4, 30, 2, num_wr_checks=10, num_wr_successes=10)
    vdaf = Pine(largest, shares=2, proofs=1)
    assert total(vdaf, [[bound, 0, 0, 0], [-bound // 2] * 4]) == [bound - -(-bound // 2), *[-bound // 2] * 3]
    with pytest.raises(LocalError, match="above the bound"):
        largest.encode([bound, 1, 0, 0])
    with pytest.raises(LocalError, match="too large for Field64"):
        Parameters(bound + 1, 0, 4, 30, 2)
    with pytest.raises(LocalError, match="too large for Field64"):
        Parameters(2**30, 0, 4, 30, 2, alpha=2.0**8)


def test_honest_projections_fail_rarely_enough() -> None:
    assert 2 * np.exp(-(pine_circuits.ALPHA**2)) < 2.0**-108
