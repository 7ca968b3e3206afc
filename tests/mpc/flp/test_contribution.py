"""One proof for norm, ranges and direction: complete to the last integer, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from mpc.errors import LocalError
from mpc.flp.claims import narrowest
from mpc.flp.contribution import MAX_CTX_BYTES, Alignment, Claims, Contribution, Range
from mpc.flp.contribution_circuits import Checks, Equality
from mpc.flp.contribution_plan import Plan
from mpc.flp.field64 import Field64
from mpc.flp.pine import Pine
from mpc.flp.pine_circuits import Parameters, ShardAgain
from mpc.tape import SeededTape
from tests.mpc.flp.cheater import setting
from tests.mpc.flp.circuits import random_vector
from tests.mpc.flp.contribution_oracle import checks, inner
from tests.mpc.flp.reports import CTX, Report, total

P = Field64.modulus
FRONT, DIGIT_BITS, WEIGHT, METRIC, BOUND = 8, 7, 5000, 300, 2**20
DIGIT = 2**DIGIT_BITS - 1
RANGES = (
    Range(FRONT, (1,), 0, DIGIT),
    Range(FRONT + 1, (1,), 0, DIGIT),
    Range(FRONT, (1, 2**DIGIT_BITS), 1, WEIGHT),
    Range(FRONT + 2, (1,), -METRIC, METRIC),
)
REFERENCE = np.array([3000, -4000, 0, 0, 0, 12000, 1, -1])
CLAIMS = Claims(FRONT + 3, FRONT, BOUND, RANGES, Alignment(REFERENCE, 0.25))
UNALIGNED = Claims(FRONT + 3, FRONT, BOUND, RANGES)
TAIL = [5, 1, -7]


def vector(front: list[int], tail: list[int] = TAIL) -> npt.NDArray[np.int64]:
    return np.array([*front, *[0] * (FRONT - len(front)), *tail], np.int64)


def digits(weight: int, metric: int) -> list[int]:
    return [weight & DIGIT, weight >> DIGIT_BITS, metric]


@pytest.mark.parametrize("shares", [2, 3, 5])
@pytest.mark.parametrize("claims", [CLAIMS, UNALIGNED], ids=["aligned", "unaligned"])
def test_the_result_is_the_sum_of_the_vectors(claims: Claims, shares: int) -> None:
    along = (REFERENCE * 7).tolist()
    vectors = [
        vector(along),
        vector([0] * FRONT, digits(1, METRIC)),
        vector([BOUND], digits(WEIGHT, -METRIC)) if claims is UNALIGNED else vector(along),
        vector([-BOUND]) if claims is UNALIGNED else vector([0, -BOUND]),
    ]
    result = total(Contribution(claims, shares=shares), vectors)
    assert result.dtype == np.int64
    assert result.tolist() == np.sum(vectors, axis=0).tolist()


@pytest.mark.parametrize(
    "front",
    [
        [BOUND],
        [-BOUND],
        [0] * 7 + [BOUND],
        [BOUND // 2] * 4,
        [-BOUND // 2] * 4,
        [BOUND * 3 // 5, BOUND * 4 // 5],
    ],
)
def test_a_norm_on_the_bound_is_accepted(front: list[int]) -> None:
    assert total(Contribution(UNALIGNED, shares=2), [vector(front)]).tolist() == vector(front).tolist()


@pytest.mark.parametrize("bound", [1, 2, 2**31, math.isqrt((P - 3) // 3)])
def test_the_smallest_and_the_largest_bounds_work(bound: int) -> None:
    """With a reference as long as fits, too."""
    size = min(2**32 - 1, (2**61 - 1) // bound - 1)
    reference = np.array([0, size, 0, 0])
    for claims in (Claims(4, 4, bound), Claims(4, 4, bound, (), Alignment(reference, 1.0))):
        vectors = [np.array([0, bound, 0, 0]), np.zeros(4, np.int64), np.array([0, 1, 0, 0], np.int32)]
        assert total(Contribution(claims, shares=2), vectors).tolist() == [0, bound + 1, 0, 0]


@pytest.mark.parametrize("weight", [1, 2, DIGIT, DIGIT + 1, WEIGHT])
@pytest.mark.parametrize("metric", [-METRIC, 0, METRIC])
@pytest.mark.parametrize("bound", [None, BOUND])
def test_weights_and_metrics_at_their_ends_are_accepted(weight: int, metric: int, bound: int | None) -> None:
    claims = Claims(FRONT + 3, FRONT, bound, RANGES)
    x = vector([-3, 4], digits(weight, metric))
    assert total(Contribution(claims, shares=2), [x, x]).tolist() == (2 * x).tolist()


def test_ranges_alone_leave_the_other_entries_alone() -> None:
    """No projections, no norm equality, one kind of joint randomness."""
    vdaf = Contribution(Claims(FRONT + 3, ranges=RANGES), shares=3)
    assert (vdaf.layout.blinds, len(vdaf.statements), vdaf.chunk_length_norm_equality) == (1, 1, 0)
    x = vector([2**62, -(2**62)])
    assert total(vdaf, [x]).tolist() == x.tolist()


@pytest.mark.parametrize("aligned", [False, True])
def test_claims_of_any_size_are_complete(aligned: bool) -> None:
    for seed in range(40):
        made = setting(np.random.default_rng([seed, 99]), aligned)
        assert total(Contribution(made.claims, shares=2), [np.array(made.honest)]).tolist() == made.honest


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (vector([BOUND, 1]), "its norm is above the bound"),
        (vector([0] * FRONT, digits(0, 0)), r"not in ranges\[2\]"),
        (vector([0] * FRONT, digits(WEIGHT + 1, 0)), r"not in ranges\[2\]"),
        (vector([0] * FRONT, [DIGIT + 1, 0, 0]), r"not in ranges\[0\]"),
        (vector([0] * FRONT, [-1, 1, 0]), r"not in ranges\[0\]"),
        (vector([0] * FRONT, [1, -1, 0]), r"not in ranges\[1\]"),
        (vector([0] * FRONT, [1, 0, METRIC + 1]), r"not in ranges\[3\]"),
        (vector((-REFERENCE).tolist()), "does not point"),
        (vector([0, 0, 1]), "does not point"),
        (np.zeros(FRONT + 2, np.int64), "a vector of 11 integers"),
        (np.zeros(FRONT + 3), "a vector of 11 integers"),
    ],
)
def test_the_client_refuses_what_is_not_as_claimed(wrong: npt.NDArray[np.int64], message: str) -> None:
    vdaf = Contribution(CLAIMS, shares=2)
    with pytest.raises(LocalError, match=message):
        vdaf.shard(CTX, wrong, bytes(16), bytes(vdaf.rand_bytes))


# The circuits beside plain integers.


@pytest.mark.parametrize("is_aligned", [False, True])
@pytest.mark.parametrize("shares", [1, 3])
def test_both_circuits_say_what_plain_integers_say(is_aligned: bool, shares: int) -> None:
    """On elements of no meaning at all, so every check contributes."""
    tape = SeededTape(b"circuits")
    for seed in range(8):
        claims = setting(np.random.default_rng([seed, 7]), is_aligned).claims
        plan = Plan(claims)
        circuit = Checks(plan)
        known, joint_rand = (random_vector(Field64, n, tape) for n in (plan.known_len, 1))
        expected = checks(claims, known.tolist(), plan.checks)
        r = int(joint_rand[0])
        assert len(expected) == plan.known_len - claims.length - is_aligned + len(plan.rows)
        assert (
            output(circuit, known, joint_rand, shares)
            == sum(check * pow(r, power, P) for power, check in enumerate(expected)) % P
        )
        assert claims.norm is not None
        equality = Equality(plan, claims.norm)
        v = sum(bit << i for i, bit in enumerate(known[claims.length :][: plan.widths[0]].tolist()))
        front = known[: claims.normed].tolist()
        assert output(equality, known, joint_rand[:0], shares) == (v - inner(front, front)) % P


def output(circuit: Checks | Equality, known: npt.NDArray[np.uint64], rand, shares: int) -> int:  # type: ignore[no-untyped-def]
    """The circuit's output, from shares of all that it takes and what the gadget says of their sum."""
    tape = SeededTape(b"output")
    parts = [random_vector(Field64, len(known), tape) for _ in range(shares - 1)]
    last = known
    for part in parts:
        last = Field64.sub(last, part)
    parts.append(last)
    (use,) = circuit.uses
    inputs = [circuit.inputs(part, rand, shares)[0] for part in parts]
    rows = inputs[0]
    for other in inputs[1:]:
        rows = Field64.add(rows, other)
    outputs = use.gadget.eval(Field64, rows)
    shared = [outputs, *[Field64.zeros(len(outputs))] * (shares - 1)]
    results = [circuit.result(part, rand, shares, [o]) for part, o in zip(parts, shared, strict=True)]
    return sum(int(result[0]) for result in results) % P


@pytest.mark.parametrize("is_aligned", [False, True])
def test_the_oracle_accepts_what_an_honest_client_encodes(is_aligned: bool) -> None:
    for seed in range(20):
        made = setting(np.random.default_rng([seed, 3]), is_aligned)
        vdaf = Contribution(made.claims, shares=2)
        prefix = vdaf.plan.encode(np.array(made.honest))
        assert made.claims.norm is not None
        flagged = vdaf._flagged(made.claims.norm, Field64.zeros(vdaf.plan.checks))
        known = vdaf._known(np.concatenate([prefix, flagged]), Field64.zeros(vdaf.plan.checks))
        assert not any(checks(made.claims, known.tolist(), vdaf.plan.checks))


# Sizes.


@pytest.mark.parametrize(("front", "most"), [(10**5, 0.06), (10**6, 0.01)])
@pytest.mark.parametrize("log_bound", [20, 24, 30])
def test_a_report_is_hardly_longer_than_the_vector(front: int, most: float, log_bound: int) -> None:
    """With all that can be claimed: three digits, three metrics, a reference of 20 bits in norm."""
    reference = np.zeros(front, np.int64)
    reference[0] = 2**20
    ranges = [Range(front + i, (1,), 0, 2**15 - 1) for i in range(3)]
    ranges += [Range(front, (1, 2**15, 2**30), 1, 2**33)]
    ranges += [Range(front + 3 + i, (1,), 1 - 2**15, 2**15 - 1) for i in range(3)]
    claims = Claims(front + 6, front, 2**log_bound, tuple(ranges), Alignment(reference, 0.5))
    vdaf = Contribution(claims, shares=2)
    leader = vdaf.layout.meas_len + vdaf.layout.proofs_len
    assert vdaf.extra_len == leader - claims.length
    assert vdaf.extra_len <= most * claims.length


@pytest.mark.parametrize("length", [1, 2, 3, 10, 1000, 12345])
@pytest.mark.parametrize("wires", [1, 2])
def test_no_other_chunk_length_makes_a_shorter_proof(length: int, wires: int) -> None:
    def size(width: int) -> int:
        calls = -(-length // width)
        return wires * width + 2 * (1 << calls.bit_length()) - 1

    assert size(narrowest(length, wires)) == min(size(width) for width in range(1, length + 1))


def test_a_claimed_norm_alone_costs_what_pine_costs() -> None:
    """Less, by the last chunk of projections that PINE leaves unfilled."""
    parameters = Parameters(BOUND, 0, 1000, 50, 33)
    pine, own = Pine(parameters, shares=2), Contribution(Claims(1000, 1000, BOUND), shares=2)
    assert own.layout.meas_len == pine.layout.meas_len
    assert own.layout.proofs_len <= pine.layout.proofs_len


# Bad luck, and what a caller sees.


def test_sharding_starts_again_when_projections_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    vdaf, tries = Contribution(CLAIMS, shares=2), []
    whole = Contribution._flagged

    def unlucky(self, norm, results):  # type: ignore[no-untyped-def]
        tries.append(1)
        if len(tries) < 3:
            raise ShardAgain("rand", "<secret>", "too few projections in range")
        return whole(self, norm, results)

    monkeypatch.setattr(Contribution, "_flagged", unlucky)
    tape = SeededTape(b"unlucky")
    x = vector(REFERENCE.tolist())
    with pytest.raises(LocalError, match="too few"):
        vdaf.shard(CTX, x, bytes(16), tape.read(vdaf.rand_bytes))
    public_share, shares = vdaf.shard_from(CTX, x, bytes(16), tape)
    assert len(tries) == 3
    tape = SeededTape(b"unlucky")
    tape.read(2 * vdaf.rand_bytes)
    assert vdaf.shard(CTX, x, bytes(16), tape.read(vdaf.rand_bytes))[0] == public_share
    assert len(shares) == 2


def test_the_context_has_a_length_of_its_own() -> None:
    vdaf = Contribution(UNALIGNED, shares=2)
    for length in (0, MAX_CTX_BYTES):
        vdaf.shard(bytes(length), vector([1]), bytes(16), bytes(vdaf.rand_bytes))
    with pytest.raises(LocalError, match=r"len\(tag\)"):
        vdaf.shard(bytes(MAX_CTX_BYTES + 1), vector([1]), bytes(16), bytes(vdaf.rand_bytes))


def test_nothing_that_a_report_holds_is_printed() -> None:
    vdaf = Contribution(CLAIMS, shares=2)
    report = Report(vdaf, vector(REFERENCE.tolist()), SeededTape(b"repr"))
    shares = [vdaf.layout.input_share(i, data) for i, data in enumerate(report.input_shares)]
    assert "array" not in repr(shares) + repr(vdaf.claims)


def extreme_vectors(tries: int) -> Iterator[npt.NDArray[np.int64]]:
    """With a norm of exactly the bound, weights and metrics at their ends, or nothing but zeros."""
    rng = np.random.default_rng(16)
    for index in range(tries):
        signs = rng.choice([-1, 1], FRONT)
        fronts = [
            signs * (BOUND // 2) * (np.arange(FRONT) < 4),  # 4 · (B / 2)²
            signs * np.roll([BOUND, *[0] * (FRONT - 1)], rng.integers(FRONT)),
            signs * rng.permutation([BOUND * 3 // 5, BOUND * 4 // 5, *[0] * (FRONT - 2)]),
            signs * np.full(FRONT, math.isqrt(BOUND**2 // FRONT)),
            np.zeros(FRONT, np.int64),
        ]
        weight, metric = (1, DIGIT, DIGIT + 1, WEIGHT)[index % 4], (METRIC, -METRIC)[index // 4 % 2]
        yield vector(fronts[index % 5].tolist(), digits(weight, metric))


def accept_all(tries: int) -> None:
    vdaf = Contribution(UNALIGNED, shares=2)
    for index, x in enumerate(extreme_vectors(tries)):
        report = Report(vdaf, x, SeededTape(b"extreme %d" % index))
        assert vdaf.unshard(report.verify(), 1).tolist() == x.tolist()


def test_honest_extremes_are_accepted() -> None:
    accept_all(40)


@pytest.mark.slow
def test_honest_extremes_are_never_refused_in_ten_thousand_tries() -> None:
    accept_all(10_000)
