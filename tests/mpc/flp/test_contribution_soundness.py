"""What is not as claimed is refused, whatever the client puts into its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from mpc.errors import DecodeError
from mpc.flp.contribution import Alignment, Contribution
from mpc.flp.field64 import Field64
from mpc.flp.fields import Vector
from mpc.flp.messages import HelperShare, InputShare, LeaderShare, PublicShare
from mpc.flp.proof import ProofError
from mpc.flp.vdaf import NONCE_BYTES
from mpc.tape import SeededTape
from tests.mpc.flp.cheater import Attempt, Cheater, Setting, honest, output, setting
from tests.mpc.flp.contribution_oracle import holds, scaled
from tests.mpc.flp.reports import CTX, Report, flipped
from tests.mpc.flp.strategies import ALIGNED, PLAIN, Strategy

P = Field64.modulus
STRATEGIES = [
    *(pytest.param(strategy, False, id=name) for name, strategy in PLAIN.items()),
    *(pytest.param(strategy, True, id=f"{name}-aligned") for name, strategy in ALIGNED.items()),
]
# These have a vector of which all is true, and lie about what goes with it.
TRUE_VECTORS = {"flags_forged", "bit_wrong", "no_bit"}


def signed(vector: list[int]) -> list[int]:
    return [x % P - P if x % P > P // 2 else x % P for x in vector]


def cases(aligned: bool, tries: int) -> Iterator[tuple[Setting, Cheater, np.random.Generator]]:
    """A few attempts for each setting: plans take longer than proofs."""
    for index in range(tries):
        rng = np.random.default_rng([index, aligned])
        if index % 5 == 0:
            given = setting(np.random.default_rng(index), aligned)
            vendor = Cheater(given.claims, shares=2)
        yield given, vendor, rng


def try_all(strategy: Strategy, aligned: bool, tries: int) -> None:
    refused = 0
    for index, (given, vendor, rng) in enumerate(cases(aligned, tries)):
        attempt = strategy(given, vendor, rng)
        square = None
        if given.claims.alignment is not None:
            f, k = scaled(given.claims)
            g = given.claims.alignment.reference.tolist()
            square = k * Fraction(1, 4**f * sum(y * y for y in g))
        told = holds(given.claims, signed(attempt.vector), square)
        assert told == (strategy.__name__ in TRUE_VECTORS)
        report = Report(vendor, attempt, SeededTape(f"{strategy.__name__} {index}".encode()))
        with pytest.raises(ProofError):
            report.verify()
        refused += 1
    assert refused == tries


@pytest.mark.parametrize(("strategy", "aligned"), STRATEGIES)
def test_no_lie_is_accepted(strategy: Strategy, aligned: bool) -> None:
    try_all(strategy, aligned, 50)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "aligned"), STRATEGIES)
def test_no_lie_is_accepted_in_ten_thousand_tries(strategy: Strategy, aligned: bool) -> None:
    try_all(strategy, aligned, 10_000)


def replay_all(theirs: str, tries: int) -> None:
    """True reports, shown as those of another round or of another client."""
    for index, (given, vendor, _) in enumerate(cases(False, tries)):
        report = Report(vendor, honest(given, vendor, given.honest), SeededTape(b"replayed %d" % index))
        if theirs == "round":
            ctx = b"round %d" % index
        else:
            ctx, report.nonce = CTX, SeededTape(b"another client %d" % index).read(NONCE_BYTES)
        with pytest.raises(ProofError):
            report.verify(ctx, [SeededTape(b"challenge %d" % index).read(vendor.xof.seed_bytes)] * 2)


@pytest.mark.parametrize("theirs", ["round", "client"])
def test_no_report_is_accepted_as_another(theirs: str) -> None:
    replay_all(theirs, 40)


@pytest.mark.slow
@pytest.mark.parametrize("theirs", ["round", "client"])
def test_no_report_is_accepted_as_another_in_ten_thousand_tries(theirs: str) -> None:
    replay_all(theirs, 10_000)


@pytest.mark.parametrize("aligned", [False, True])
def test_a_cheater_that_tells_the_truth_is_accepted(aligned: bool) -> None:
    """So refusals above are because of the lies."""
    for index, (given, vendor, _) in enumerate(cases(aligned, 20)):
        report = Report(vendor, honest(given, vendor, given.honest), SeededTape(b"truth%d" % index))
        assert vendor.unshard(report.verify(), 1).tolist() == given.honest


@pytest.mark.parametrize("aligned", [False, True])
def test_mended_proofs_fail_in_the_gadget_test_alone(aligned: bool) -> None:
    """The mended output is zero: nothing but the gadget polynomial gives the lie away."""
    for given, vendor, rng in cases(aligned, 5):
        attempt = PLAIN["metric_beyond"](given, vendor, rng)
        attempt.mended = True
        with pytest.raises(ProofError, match="gadget polynomial"):
            Report(vendor, attempt, SeededTape(b"mended")).verify()


class Steered(Cheater):
    """Learns its challenges, and only then chooses those entries of its vector that ranges look at."""

    def shard(
        self, ctx: bytes, measurement: Attempt, nonce: bytes, rand: bytes
    ) -> tuple[PublicShare, list[InputShare]]:
        public_share, shares = super().shard(ctx, measurement, nonce, rand)
        leader = shares[0]
        assert isinstance(leader, LeaderShare)
        meas = self.field.add(leader.meas, self.errors[: self.plan.meas_len])
        return public_share, [LeaderShare(meas, leader.proofs, leader.blinds), *shares[1:]]

    def _leader_proofs(
        self, ctx: bytes, meas: Vector, prove_seed: bytes, seeds: Sequence[bytes], helpers: list[HelperShare]
    ) -> Vector:
        joint_rands = self._joint_rands(ctx, seeds)
        first = self.plan.meas_len - self.claims.length + self.plan.checks
        places = range(self.claims.normed, self.claims.length)
        system = [
            [
                sum(row.get(place, 0) * pow(int(r), first + index, P) for index, (row, _) in rows) % P
                for place in places
            ]
            for r in joint_rands
            for rows in [list(enumerate(self.plan.rows))]
        ]
        self.errors = self.field.zeros(len(meas))
        self.errors[places] = self.field.vector(kernel(system))
        flp, known = self.statements[-1].flp, self.field.add(meas, self.errors)
        rands = [joint_rands[i : i + 1] for i in range(3)]
        proofs = [flp.prove(known, self.field.zeros(flp.valid.prove_rand_len), rand) for rand in rands]
        self.outputs = [output(flp, known, *pair) for pair in zip(proofs, rands, strict=True)]
        return super()._leader_proofs(ctx, known, prove_seed, seeds, helpers)


def kernel(rows: list[list[int]]) -> list[int]:
    """(e_0, e_1, e_2, 1) that three rows of four make zero, modulo p: Cramer's rule."""

    def det(columns: Sequence[int]) -> int:
        signs = {(0, 1, 2): 1, (1, 2, 0): 1, (2, 0, 1): 1, (0, 2, 1): -1, (1, 0, 2): -1, (2, 1, 0): -1}
        return sum(
            sign * rows[0][columns[a]] * rows[1][columns[b]] * rows[2][columns[c]]
            for (a, b, c), sign in signs.items()
        )

    scale = -pow(det([0, 1, 2]), -1, P)
    return [det(columns) * scale % P for columns in ([3, 1, 2], [0, 3, 2], [0, 1, 3])] + [1]


def test_joint_randomness_cannot_be_chosen() -> None:
    """Errors in three entries that cancel under known challenges: every circuit's output is zero, and the
    report is refused all the same, because the leader computes its part from the share that it has."""
    for given, _, _ in cases(False, 6):
        steered = Steered(given.claims, shares=2)
        report = Report(steered, honest(given, steered, given.honest), SeededTape(b"steered"))
        assert steered.outputs == [0, 0, 0]
        assert steered.errors.any()
        with pytest.raises(ProofError):
            report.verify()


def some(aligned: bool = True, index: int = 5) -> tuple[Contribution, npt.NDArray[np.int64]]:
    given = setting(np.random.default_rng(index), aligned)
    return Contribution(given.claims, shares=2), np.array(given.honest, np.int64)


def test_a_report_replayed_elsewhere_is_refused() -> None:
    """Under another nonce, in another context, or for other claims, though all lengths are the same."""
    vdaf, vector = some()
    report = Report(vdaf, vector, SeededTape(b"replayed"))
    report.verify()
    with pytest.raises(ProofError):
        report.verify(ctx=CTX + b"!")
    first = vdaf.claims.ranges[0]
    ranges = (*vdaf.claims.ranges[1:], first)
    wider = Alignment(vdaf.claims.alignment.reference, np.nextafter(vdaf.claims.alignment.cosine, 0))
    for others in (replace(vdaf.claims, ranges=ranges), replace(vdaf.claims, alignment=wider)):
        report.vdaf = Contribution(others, shares=2)
        assert report.vdaf.layout == vdaf.layout
        with pytest.raises(ProofError):
            report.verify()
    report.vdaf = vdaf
    report.nonce = flipped(3)(report.nonce)
    with pytest.raises(ProofError):
        report.verify()


def test_shares_of_two_reports_do_not_go_together() -> None:
    vdaf, vector = some()
    one, other = (Report(vdaf, vector, SeededTape(seed)) for seed in (b"one", b"other"))
    one.input_shares[1], other.nonce = other.input_shares[1], one.nonce
    for report in (one, other):
        with pytest.raises(ProofError):
            report.verify()


def test_aggregators_with_different_keys_accept_nothing() -> None:
    vdaf, vector = some()
    with pytest.raises(ProofError):
        Report(vdaf, vector, SeededTape(b"keys")).verify(verify_keys=[bytes(32), bytes([1]) * 32])


MESSAGES = ["input_share_0", "input_share_1", "public_share", "verifier_share_0", "verifier_share_1"]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_bit_anywhere_in_a_report_matters(name: str) -> None:
    """Every seed and blind, and entries of every kind: coordinates, digits, metrics, bits, flags, proofs."""
    vdaf, vector = some()
    tape = b"flipped"
    clean = Report(vdaf, vector, SeededTape(tape))
    clean.verify()
    layout, plan = vdaf.layout, vdaf.plan
    if name == "input_share_0":
        ends = [0, vdaf.claims.normed, *range(vdaf.claims.normed, vdaf.claims.length), *plan.places]
        ends += [plan.prefix_len, plan.meas_len - 1, plan.meas_len, layout.meas_len + layout.proofs_len - 1]
        places = [8 * end for end in ends] + [-1, -33]
        places += range(0, 8 * (layout.meas_len + layout.proofs_len), 8 * 97)
    elif name.startswith("verifier"):
        places = [*range(0, 8 * layout.verifiers_len, 8 * 23), -1, -33]
    else:
        places = list(range(0, 128, 16))
    for place in places:
        altered = Report(vdaf, vector, SeededTape(tape), **{name: flipped(place)})
        with pytest.raises((ProofError, DecodeError)):
            altered.verify()


def test_both_seeds_of_the_verifier_message_are_compared() -> None:
    vdaf, vector = some()
    for place in (0, -1):
        report = Report(vdaf, vector, SeededTape(b"seeds"), verifier_message=flipped(place))
        with pytest.raises(ProofError, match="joint randomness"):
            report.verify()
