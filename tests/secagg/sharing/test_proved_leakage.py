"""What proved shares show of an honest vector: nothing that a test finds; of broken clients it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.flp.flp import Flp
from mpc.flp.messages import HelperShare, LeaderShare
from mpc.tape import RecordedTape, SeededTape
from secagg.checks import Check
from secagg.sharing.scheme import EXPLICIT, ProvedShares, _nonce
from tests.conftest import is_uniform, make_cohort
from tests.secagg.sharing import proved
from tests.secagg.sharing.proved import BITS, LIMIT, NORM, PLAN, Integers

CLIENTS = 40
SEED = 32
Shares = list[list[bytes]]  # of each client, by aggregator


def scheme_of(aggregators: int, checks: list[Check] | None = None) -> ProvedShares:
    made = proved.backend(aggregators)
    cohort = make_cohort(made, CLIENTS, PLAN.length, BITS)
    return proved.scheme(made, cohort, checks or [NORM])


def extreme() -> Integers:
    """As long as may be, in one entry, with the largest metrics: what shines through first."""
    vector = np.zeros(PLAN.length, np.int64)
    vector[0], vector[12], vector[14:] = NORM.steps(PLAN), 1, LIMIT
    return vector


def same(rand: bytes) -> bytes:
    return rand


def split_all(
    scheme: ProvedShares,
    vector: Integers | None = None,
    change: Callable[[bytes], bytes] = same,
    label: str = "client",
) -> Shares:
    """Every client's shares; all of them hold the same vector. ``change``: of each one's random bytes."""
    vector, shares = extreme() if vector is None else vector, []
    for client in range(CLIENTS):
        rand = SeededTape(f"{label} {client}".encode()).read(scheme._vdaf.rand_bytes)
        parts = scheme.split(client, vector, RecordedTape(change(rand)))
        shares.append([bytes(part) for part in parts])
    return shares


def inputs_of(scheme: ProvedShares, shares: Shares, aggregator: int) -> list[Any]:
    cut = scheme._vdaf.layout.public_share_bytes
    return [scheme._vdaf.layout.input_share(aggregator, one[aggregator][cut:]) for one in shares]


def expanded(scheme: ProvedShares, shares: Shares, aggregator: int) -> list[field.Elements]:
    """The aggregator's shares of measurement and proofs."""
    found = []
    for share in inputs_of(scheme, shares, aggregator):
        parts = scheme._vdaf._expand(scheme.digest, aggregator, share)
        found.append(np.concatenate(parts))
    return found


def verifiers(scheme: ProvedShares, shares: Shares, aggregator: int) -> list[field.Elements]:
    """Of the aggregator's verifier shares the elements; the challenge is the same for all clients."""
    told = []
    for client, one in enumerate(shares):
        _, verifier = scheme.open(aggregator, client, one[aggregator], bytes(SEED))
        told.append(field.from_bytes(verifier[: -4 * SEED]))
    return told


def opened(scheme: ProvedShares, shares: Shares) -> np.ndarray:
    """What the server adds the verifier shares up to, a row for each client."""
    by_aggregator = [verifiers(scheme, shares, index) for index in range(scheme.aggregators)]
    return np.stack([reduce(field.add, column) for column in zip(*by_aggregator, strict=True)])


def wires(scheme: ProvedShares) -> list[int]:
    """Where in the verifiers the gadgets' inputs stand: one output in front of each, and one value behind."""
    places, start = [], 0
    for statement in scheme._vdaf.statements:
        for _ in range(statement.proofs):
            end = start + statement.flp.valid.verifier_len
            places += range(start + 1, end - 1)
            start = end
    return places


# What one aggregator holds, and tells.


@pytest.mark.parametrize("checks", [[NORM], [NORM, proved.ALIGNED]], ids=["norm", "norm and direction"])
def test_the_explicit_share_is_uniform(checks: list[Check]) -> None:
    scheme = scheme_of(2, checks)
    vector = proved.vector(1, along=True)
    shares = split_all(scheme, vector)
    leaders: list[LeaderShare] = inputs_of(scheme, shares, EXPLICIT)
    for part in ("meas", "proofs"):
        assert is_uniform(b"".join(field.to_bytes(getattr(one, part)) for one in leaders))
    head = [one[EXPLICIT][: scheme._vdaf.layout.public_share_bytes] for one in shares]
    assert is_uniform(b"".join(head))
    assert len(set(head)) == CLIENTS


@pytest.mark.parametrize("aggregator", [1, 2])
def test_helpers_shares_are_uniform_bytes_that_do_not_depend_on_the_vector(aggregator: int) -> None:
    scheme = scheme_of(3)
    one, other = split_all(scheme), split_all(scheme, proved.vector(1))
    found: list[HelperShare] = inputs_of(scheme, one, aggregator)
    assert found == inputs_of(scheme, other, aggregator)
    seeds = [seed for share in found for seed in (*share.seeds, *share.blinds)]
    assert len(set(seeds)) == len(seeds)
    assert is_uniform(b"".join(seeds))


def test_the_explicit_share_of_the_vector_is_shifted_by_it() -> None:
    """Exact, not statistical: on one tape a shift of the vector shifts its share, and uniform it stays."""
    scheme = scheme_of(2)
    first, second = extreme(), proved.vector(1)
    shares = zip(
        expanded(scheme, split_all(scheme, first), EXPLICIT),
        expanded(scheme, split_all(scheme, second), EXPLICIT),
        strict=True,
    )
    for one, other in shares:
        shift = field.decode(field.sub(one[: PLAN.length], other[: PLAN.length]))
        assert np.array_equal(shift, first - second)


@pytest.mark.parametrize("colluding", [(0, 1), (0, 2), (1, 2)])
def test_two_of_three_aggregators_together_see_uniform_elements(colluding: tuple[int, int]) -> None:
    scheme = scheme_of(3)
    shares = split_all(scheme)
    pairs = zip(*(expanded(scheme, shares, index) for index in colluding), strict=True)
    assert is_uniform(b"".join(field.to_bytes(field.add(*pair)) for pair in pairs))


def test_all_together_see_the_vector() -> None:
    scheme = scheme_of(3)
    vector = proved.vector(5)
    columns = zip(*(expanded(scheme, split_all(scheme, vector), index) for index in range(3)), strict=True)
    for column in columns:
        assert np.array_equal(field.decode(reduce(field.add, column)[: PLAN.length]), vector)


@pytest.mark.parametrize("aggregators", [2, 3])
def test_the_verifier_shares_of_all_aggregators_but_one_are_uniform(aggregators: int) -> None:
    scheme = scheme_of(aggregators)
    shares = split_all(scheme)
    told = [verifiers(scheme, shares, index) for index in range(aggregators)]
    for left_out in range(aggregators):
        rest = [told[index] for index in range(aggregators) if index != left_out]
        added = [reduce(field.add, column) for column in zip(*rest, strict=True)]
        assert is_uniform(b"".join(map(field.to_bytes, added)))


# What the server sees: verifier shares of all, which it can add up.


def require_wires_uniform() -> None:
    scheme = scheme_of(2)
    found = opened(scheme, split_all(scheme))
    assert is_uniform(field.to_bytes(np.ascontiguousarray(found[:, wires(scheme)]).reshape(-1)))


def test_what_verifier_shares_add_up_to_is_uniform_where_it_is_not_zero() -> None:
    """Gadgets' inputs at a random point, blinded by random values; the output is zero, whatever the vector,
    and the value behind the inputs follows from them."""
    require_wires_uniform()
    scheme = scheme_of(2)
    for vector in (extreme(), proved.vector(1)):
        found, start = opened(scheme, split_all(scheme, vector)), 0
        for statement in scheme._vdaf.statements:
            for _ in range(statement.proofs):
                assert not found[:, start].any()
                start += statement.flp.valid.verifier_len


def test_rejections_say_the_same_of_every_vector() -> None:
    """How far a cheat went, an objection does not tell."""
    scheme = scheme_of(2)
    told = set()
    for offset in (1, 2**20, field.P - 3):
        shares = split_all(scheme)
        for client in range(3):
            explicit = bytearray(shares[client][0])
            start = scheme._vdaf.layout.public_share_bytes
            element = int.from_bytes(explicit[start : start + 8], "little")
            explicit[start : start + 8] = ((element + offset) % field.P).to_bytes(8, "little")
            parts = [bytes(explicit), shares[client][1]]
            pair = [scheme.open(i, client, part, bytes(SEED))[1] for i, part in enumerate(parts)]
            told.add(scheme.objection(pair))
    assert None not in told
    assert all(text and not any(letter.isdigit() for letter in text) for text in told)


# A helper that guesses the vector, and would like to know whether it is right.


def confirms(scheme: ProvedShares, shares: Shares, vector: Integers) -> bool:
    """Whether the leader's part in the public share is that of this vector, for any client.

    The helper takes its own share from the guess, which leaves the leader's, and hashes it with no blind.
    """
    vdaf = scheme._vdaf
    kind = vdaf.kinds[0]
    encoded = vdaf._checks.encode(vector)
    for client, helper in enumerate(expanded(scheme, shares, 1)):
        leader = field.sub(encoded, helper[: kind.covers])
        part = vdaf._part(scheme.digest, kind, EXPLICIT, bytes(SEED), leader, _nonce(client))
        if part == shares[client][1][:SEED]:
            return True
    return False


def test_a_helper_cannot_confirm_a_guess_of_the_vector() -> None:
    scheme = scheme_of(2)
    assert not confirms(scheme, split_all(scheme), extreme())


# A server that guesses it, and knows the seeds of provers that draw none.


def server_confirms(scheme: ProvedShares, shares: Shares, vector: Integers) -> bool:
    """Whether verifiers of the norm equality are those of this vector, for any client.

    They depend on vector, challenge and the prover's seed, and on no other seed.
    """
    (norm, _), guesses = scheme._vdaf.statements, split_all(scheme, vector, NO_PROVER, "guess")
    length = norm.flp.valid.verifier_len
    pair = (opened(scheme, found)[:, :length] for found in (shares, guesses))
    return bool(np.equal(*pair).all(axis=1).any())


def test_a_server_cannot_confirm_a_guess_of_the_vector() -> None:
    scheme = scheme_of(2)
    assert not server_confirms(scheme, split_all(scheme), extreme())


# Broken clients, all of whose proofs hold: only the tests above can catch them.


def zeroed(first: int, stop: int | None) -> Callable[[bytes], bytes]:
    """Of a client's random bytes the seeds from ``first`` to ``stop`` are zero."""

    def change(rand: bytes) -> bytes:
        seeds = [rand[at : at + SEED] for at in range(0, len(rand), SEED)]
        seeds[first:stop] = [bytes(SEED)] * len(seeds[first:stop])
        return b"".join(seeds)

    return change


# Of two aggregators: the helper's two seeds and two blinds, the leader's two blinds, the prover's seed.
NO_SEEDS, NO_BLINDS, NO_PROVER = zeroed(0, 2), zeroed(2, 6), zeroed(6, None)


def require_accepted(change: Callable[[bytes], bytes] = same) -> None:
    scheme = scheme_of(2)
    for client, parts in enumerate(split_all(scheme, change=change)):
        pair = [scheme.open(index, client, part, bytes(SEED))[1] for index, part in enumerate(parts)]
        assert scheme.objection(pair) is None


def test_without_seeds_the_explicit_share_is_not_uniform() -> None:
    require_accepted(NO_SEEDS)
    scheme = scheme_of(2)
    leaders = inputs_of(scheme, split_all(scheme, change=NO_SEEDS), EXPLICIT)
    assert not is_uniform(b"".join(field.to_bytes(one.meas) for one in leaders))


def test_without_blinds_a_guess_can_be_confirmed() -> None:
    require_accepted(NO_BLINDS)
    scheme = scheme_of(2)
    shares = split_all(scheme, change=NO_BLINDS)
    assert confirms(scheme, shares, extreme())
    assert not confirms(scheme, shares, proved.vector(1))


def test_with_a_known_prover_seed_the_server_can_confirm_a_guess() -> None:
    require_accepted(NO_PROVER)
    scheme = scheme_of(2)
    shares = split_all(scheme, change=NO_PROVER)
    assert server_confirms(scheme, shares, extreme())
    assert not server_confirms(scheme, shares, proved.vector(1))


def test_without_randomness_in_wires_the_servers_view_is_not_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Flp.prove

    def prove(self: Any, meas: Any, prove_rand: Any, joint_rand: Any) -> Any:
        return sound(self, meas, np.zeros_like(prove_rand), joint_rand)

    monkeypatch.setattr(Flp, "prove", prove)
    require_accepted()
    with pytest.raises(AssertionError):
        require_wires_uniform()
