"""Rounds in which clients prove their shares: whoever cheats is refused by name, and the rest is summed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.flp.contribution import Contribution
from mpc.flp.pine_circuits import encode_projections
from mpc.party import client_id
from mpc.tape import RandomTape, SeededTape
from secagg.checks import Check, NormBound
from secagg.checks.messages import CHECK_PHASE
from secagg.checks.shares import claims_of
from tests.mpc.flp.cheater import Attempt, Setting, honest
from tests.mpc.flp.strategies import ALIGNED, PLAIN, Strategy
from tests.secagg.sharing import proved
from tests.secagg.sharing.proved import (
    BITS,
    BOUND,
    LIMIT,
    MAX_WEIGHT,
    NORM,
    PLAN,
    REFUSED,
    altering,
    cheating,
    play,
    require_refused,
)

# Honest clients.


@pytest.mark.parametrize("aggregators", [2, 3, 5])
def test_the_sum_is_that_of_plain_shares(aggregators: int) -> None:
    vectors = proved.vectors(7)
    outcome = play(proved.backend(aggregators), vectors)
    plain = play(proved.backend(aggregators), vectors, checks=())
    require_refused(outcome, {})
    assert outcome.total.tobytes() == plain.total.tobytes()


@pytest.mark.parametrize("aggregators", [2, 3, 5])
def test_the_declared_cost_is_what_crosses(rig: SimpleNamespace, aggregators: int) -> None:
    for checks in ([NORM], [proved.ALIGNED], [NORM, proved.ALIGNED]):
        made = proved.backend(aggregators)
        outcome = play(made, proved.vectors(4, along=True), checks=checks)
        outcome.require_exact()
        rig.declared(made, outcome, checks)


def test_small_messages_in_parts_and_in_any_order(rig: SimpleNamespace) -> None:
    vectors = proved.vectors(5)
    whole = play(proved.backend(3), vectors)
    for number in range(5):
        made = proved.backend(3, max_message_bytes=1024)
        outcome = play(made, vectors, shuffle=SeededTape(b"order %d" % number))
        require_refused(outcome, {})
        assert np.array_equal(outcome.total, whole.total)
        assert max(record.size for record in outcome.transcript.records) <= 1024
    rig.declared(made, outcome, [NORM])


class Proving(Check):
    """One of the other kind, that proves to the server."""

    name = "proving"
    proves = True

    def proof_bytes(self, cohort: Any) -> int:
        return 32

    def prove(self, cohort: Any, client: str, vector: Any, seed: bytes, tape: RandomTape) -> bytes:
        return seed

    def on_proofs(self, cohort: Any, seed: bytes, proofs: Any) -> list[Any]:
        assert set(proofs.values()) == {seed}
        return []


def test_beside_a_check_that_proves_to_the_server(rig: SimpleNamespace) -> None:
    made = proved.backend(2, {1: cheating(PLAIN["weight_zero"])})
    checks = [Proving(), NORM]
    outcome = play(made, proved.vectors(5), checks=checks, drop={3: CHECK_PHASE})
    outcome.require_exact()
    assert outcome.survivors == (0, 2, 4)
    assert outcome.rejected[1].check == "norm"
    made = proved.backend()
    rig.declared(made, play(made, proved.vectors(5), checks=checks), checks)


def test_entries_at_their_limits_pass() -> None:
    """The norm is the bound, the weight 1 or W, metrics are at either end."""
    edge = np.zeros(PLAN.length, np.int64)
    edge[3] = -BOUND
    tails = [(1, 0, LIMIT, -LIMIT), (MAX_WEIGHT & LIMIT, MAX_WEIGHT >> BITS - 1, 0, 0), (0, 1, -LIMIT, LIMIT)]
    vectors = [np.concatenate([edge[:12], tail]) for tail in tails]
    require_refused(play(proved.backend(), vectors), {})


# Clients that cheat.


@pytest.mark.parametrize("aggregators", [2, 3, 5])
@pytest.mark.parametrize("strategy", PLAIN.values(), ids=PLAIN)
def test_a_cheat_is_refused_by_the_check(strategy: Strategy, aggregators: int) -> None:
    twists = {index: cheating(strategy, index, aggregators) for index in (0, 2, 4)}
    outcome = play(proved.backend(aggregators, twists), proved.vectors(6))
    require_refused(outcome, dict.fromkeys(twists, ("norm", REFUSED)))


@pytest.mark.parametrize("aggregators", [2, 5])
@pytest.mark.parametrize("strategy", ALIGNED.values(), ids=ALIGNED)
def test_a_cheat_about_its_direction_is_refused(strategy: Strategy, aggregators: int) -> None:
    twists = {index: cheating(strategy, index, aggregators) for index in (0, 2, 4)}
    for checks, name in (([proved.ALIGNED], "direction"), ([NORM, proved.ALIGNED], "norm+direction")):
        outcome = play(proved.backend(aggregators, twists), proved.vectors(6, along=True), checks=checks)
        require_refused(outcome, dict.fromkeys(twists, (name, REFUSED)))


def test_a_cheater_that_tells_the_truth_is_counted() -> None:
    """So it is for their lies that the others are refused."""

    def truth(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
        attempt = honest(given, vendor, given.honest)
        attempt.flags = lambda norm, results: encode_projections(norm, field.decode(results))
        return attempt

    require_refused(play(proved.backend(3, {1: cheating(truth)}), proved.vectors(4)), {})


def test_forged_parts_of_joint_randomness_are_refused() -> None:
    """The public share, altered for all aggregators alike, or for one of them."""

    def all_alike(shares: list[bytes]) -> list[bytes]:
        return [bytes([share[0] ^ 1]) + share[1:] for share in shares]

    def for_one(shares: list[bytes]) -> list[bytes]:
        return [shares[0], bytes(32) + shares[1][32:], *shares[2:]]

    twists = {1: altering(all_alike), 2: altering(for_one)}
    outcome = play(proved.backend(3, twists), proved.vectors(5))
    require_refused(outcome, dict.fromkeys(twists, ("norm", REFUSED)))


@pytest.mark.parametrize("place", ["first entry", "a bit", "last of the proofs", "a helper's seed"])
def test_a_share_altered_after_it_was_proved_is_refused(place: str) -> None:
    def alter(shares: list[bytes]) -> list[bytes]:
        explicit, helper = bytearray(shares[0]), bytearray(shares[1])
        head = 2 * 2 * 32
        at = {"first entry": head, "a bit": head + 8 * 17, "last of the proofs": -8 - 2 * 32}
        if place in at:
            start = at[place] % len(explicit)
            element = int.from_bytes(explicit[start : start + 8], "little")
            explicit[start : start + 8] = ((element + 1) % field.P).to_bytes(8, "little")
        else:
            helper[-1 - 2 * 32] ^= 1
        return [bytes(explicit), bytes(helper)]

    outcome = play(proved.backend(2, {3: altering(alter)}), proved.vectors(5))
    require_refused(outcome, {3: ("norm", REFUSED)})


# Proofs that were made for something else.


@pytest.mark.parametrize("other", ["round", "session", "members", "client"])
@pytest.mark.parametrize("aggregators", [2, 3])
def test_a_proof_of_another_round_cohort_or_client_is_refused(
    rig: SimpleNamespace, other: str, aggregators: int
) -> None:
    vectors = proved.vectors(5)
    cohort = rig.cohort(proved.backend(aggregators), 5, PLAN.length, BITS)
    digest = {
        "round": replace(cohort, round=cohort.round + 1).digest,
        "session": replace(cohort, session=bytes(16)).digest,
        "members": replace(cohort, members=(*cohort.members[:4], "somebody else")).digest,
        "client": cohort.digest,
    }[other]
    twists = {2: lambda honest: proved.Replaying(honest, digest, 3 if other == "client" else 2)}
    outcome = play(proved.backend(aggregators, twists), vectors, cohort=cohort)
    require_refused(outcome, {2: ("norm", REFUSED)})
    same = {2: lambda honest: proved.Replaying(honest, cohort.digest, 2)}
    require_refused(play(proved.backend(aggregators, same), vectors, cohort=cohort), {})


def test_a_proof_of_a_looser_bound_is_refused(rig: SimpleNamespace) -> None:
    """The claims are in every tag: what holds under other claims says nothing under these."""
    looser = NormBound(0.501, PLAN)

    class Looser(proved.ProvedShares):
        def __init__(self, honest: Any) -> None:
            super().__init__(honest.digest, loose, honest.aggregators)
            assert self.sizes == honest.sizes  # so that nothing but the proof can tell

    made = proved.backend(2, {1: Looser})
    loose = claims_of([looser], rig.cohort(made, 4, PLAN.length, BITS))
    assert loose is not None
    require_refused(play(made, proved.vectors(4)), {1: ("norm", REFUSED)})


def test_too_few_that_prove_their_shares_abort_the_round() -> None:
    twists = {index: cheating(PLAIN["norm_over_by_one"], index) for index in range(3)}
    outcome = play(proved.backend(2, twists, threshold=3), proved.vectors(5))
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("2 of 5 clients had all their shares accepted; the threshold is 3")
    assert set(outcome.abort.evidence["rejected"]) == {"c0", "c1", "c2"}


# Clients that find out by themselves.


BROKEN = {
    "the norm": (slice(0, 1), BOUND + 1),
    "a weight of 0": (slice(12, 14), 0),
    "a weight above the largest": (slice(12, 14), (MAX_WEIGHT + 1 & LIMIT, MAX_WEIGHT + 1 >> BITS - 1)),
    "a digit below 0": (slice(12, 13), -1),
}


@pytest.mark.parametrize("claim", BROKEN)
def test_a_client_that_breaks_a_claim_stays_silent(claim: str) -> None:
    places, value = BROKEN[claim]
    vectors = proved.vectors(5)
    vectors[2][places] = value
    outcome = play(proved.backend(3), vectors)
    outcome.require_exact()
    assert outcome.survivors == (0, 1, 3, 4)
    assert outcome.rejected == {}
    assert outcome.transcript.bytes_sent(client_id(2)) == 0
    assert set(outcome.transcript.declined) == {client_id(2)}
    why = outcome.transcript.declined[client_id(2)]
    assert "NormBound(l2=0.5)" in why
    assert not any(str(number) in why for number in vectors[2] if abs(number) > 100)


def test_of_all_who_decline_nothing_is_opened() -> None:
    vectors = proved.vectors(4)
    for one in vectors:
        one[0] = BOUND + 1
    outcome = play(proved.backend(), vectors)
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("0 of 4 clients")
    assert {record.fate for record in outcome.transcript.records} <= {"delivered"}
