"""Rounds in which clients prove their shares: whoever cheats is refused by name, and the rest is summed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.flp.contribution import Contribution
from mpc.flp.pine_circuits import encode_projections
from mpc.party import Message, client_id
from mpc.tape import RandomTape, SeededTape
from secagg.checks import Check, NormBound
from secagg.checks.messages import CHECK_PHASE
from secagg.checks.shares import claims_of
from secagg.sealed import SEAL_OVERHEAD
from secagg.sharing.messages import INPUT
from tests.conftest import make_cohort
from tests.mpc.flp.cheater import Attempt, Setting, honest
from tests.mpc.flp.strategies import ALIGNED, PLAIN, Strategy
from tests.secagg.sharing import proved
from tests.secagg.sharing.proved import BITS, BOUND, LIMIT, MAX_WEIGHT, NORM, PLAN, altering, cheating

REFUSED = "its proof is refused: "
Play = Callable[..., Any]


@pytest.fixture
def play(rig: SimpleNamespace) -> Play:
    """``play(backend, vectors, …)``: a round with the norm bound, unless other checks are given."""

    def run(made: Any, vectors: Any, checks: Any = (NORM,), **options: Any) -> Any:
        return rig.play(made, vectors, bits=BITS, checks=list(checks), **options)

    return run


def require_refused(outcome: Any, expected: dict[int, tuple[str, str]]) -> None:
    """Exactly these, by check and beginning of the reason; the sum is of all others."""
    outcome.require_exact()
    assert set(outcome.rejected) == set(expected)
    everybody = set(range(outcome.cohort.size))
    assert set(outcome.survivors) == everybody - set(expected)
    for index, (check, reason) in expected.items():
        assert outcome.rejected[index].check == check
        assert outcome.rejected[index].reason.startswith(reason), outcome.rejected[index].reason
    assert outcome.transcript.refusals == []  # so all aggregators agree with the server


# Honest clients.


@pytest.mark.parametrize("aggregators", [2, 3, 5])
def test_the_sum_is_that_of_plain_shares(play: Play, aggregators: int) -> None:
    vectors = proved.vectors(7)
    outcome = play(proved.backend(aggregators), vectors)
    plain = play(proved.backend(aggregators), vectors, checks=())
    require_refused(outcome, {})
    assert outcome.total.tobytes() == plain.total.tobytes()


@pytest.mark.parametrize("aggregators", [2, 3, 5])
def test_the_declared_cost_is_what_crosses(play: Play, rig: SimpleNamespace, aggregators: int) -> None:
    for checks in ([NORM], [proved.ALIGNED], [NORM, proved.ALIGNED]):
        made = proved.backend(aggregators)
        outcome = play(made, proved.vectors(4, along=True), checks=checks)
        outcome.require_exact()
        rig.declared(made, outcome, checks)


def test_small_messages_in_parts_and_in_any_order(play: Play, rig: SimpleNamespace) -> None:
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


def test_beside_a_check_that_proves_to_the_server(play: Play, rig: SimpleNamespace) -> None:
    made = proved.backend(2, {1: cheating(PLAIN["weight_zero"])})
    checks = [Proving(), NORM]
    outcome = play(made, proved.vectors(5), checks=checks, drop={3: CHECK_PHASE})
    outcome.require_exact()
    assert outcome.survivors == (0, 2, 4)
    assert outcome.rejected[1].check == "norm"
    made = proved.backend()
    rig.declared(made, play(made, proved.vectors(5), checks=checks), checks)


def test_entries_at_their_limits_pass(play: Play) -> None:
    """The norm is the bound, the weight 1 or W, metrics are at either end."""
    edge = np.zeros(PLAN.length, np.int64)
    edge[3] = -BOUND
    tails = [(1, 0, LIMIT, -LIMIT), (MAX_WEIGHT & LIMIT, MAX_WEIGHT >> BITS - 1, 0, 0), (0, 1, -LIMIT, LIMIT)]
    vectors = [np.concatenate([edge[:12], tail]) for tail in tails]
    require_refused(play(proved.backend(), vectors), {})


# Clients that cheat.


@pytest.mark.parametrize("aggregators", [2, 3, 5])
@pytest.mark.parametrize("strategy", PLAIN.values(), ids=PLAIN)
def test_a_cheat_is_refused_by_the_check(play: Play, strategy: Strategy, aggregators: int) -> None:
    twists = {index: cheating(strategy, index, aggregators) for index in (0, 2, 4)}
    outcome = play(proved.backend(aggregators, twists), proved.vectors(6))
    require_refused(outcome, dict.fromkeys(twists, ("norm", REFUSED)))


@pytest.mark.parametrize("aggregators", [2, 5])
@pytest.mark.parametrize("strategy", ALIGNED.values(), ids=ALIGNED)
def test_a_cheat_about_its_direction_is_refused(play: Play, strategy: Strategy, aggregators: int) -> None:
    twists = {index: cheating(strategy, index, aggregators) for index in (0, 2, 4)}
    for checks, name in (([proved.ALIGNED], "direction"), ([NORM, proved.ALIGNED], "norm+direction")):
        outcome = play(proved.backend(aggregators, twists), proved.vectors(6, along=True), checks=checks)
        require_refused(outcome, dict.fromkeys(twists, (name, REFUSED)))


def test_a_cheater_that_tells_the_truth_is_counted(play: Play) -> None:
    """So it is for their lies that the others are refused."""

    def truth(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
        attempt = honest(given, vendor, given.honest)
        attempt.flags = lambda norm, results: encode_projections(norm, field.decode(results))
        return attempt

    require_refused(play(proved.backend(3, {1: cheating(truth)}), proved.vectors(4)), {})


def test_forged_parts_of_joint_randomness_are_refused(play: Play) -> None:
    """The public share, altered for all aggregators alike, or for one of them."""

    def all_alike(shares: list[bytes]) -> list[bytes]:
        return [bytes([share[0] ^ 1]) + share[1:] for share in shares]

    def for_one(shares: list[bytes]) -> list[bytes]:
        return [shares[0], bytes(32) + shares[1][32:], *shares[2:]]

    twists = {1: altering(all_alike), 2: altering(for_one)}
    outcome = play(proved.backend(3, twists), proved.vectors(5))
    require_refused(outcome, dict.fromkeys(twists, ("norm", REFUSED)))


@pytest.mark.parametrize("place", ["first entry", "a bit", "last of the proofs", "a helper's seed"])
def test_a_share_altered_after_it_was_proved_is_refused(play: Play, place: str) -> None:
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
    play: Play, rig: SimpleNamespace, other: str, aggregators: int
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


def test_a_proof_of_a_looser_bound_is_refused(play: Play, rig: SimpleNamespace) -> None:
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


# Malformed inputs.


def garbage(message: Message, start: int, stop: int) -> Message:
    payload = bytearray(message.payload)
    payload[start:stop] = SeededTape(b"garbage").read(stop - start)
    return replace(message, payload=bytes(payload))


def no_element(place: int) -> Callable[[list[bytes]], list[bytes]]:
    """The modulus itself in the explicit share; places are in bytes."""

    def alter(shares: list[bytes]) -> list[bytes]:
        explicit = bytearray(shares[0])
        start = place % len(explicit)
        explicit[start : start + 8] = field.P.to_bytes(8, "little")
        return [bytes(explicit), *shares[1:]]

    return alter


HEAD, TAIL = 2 * 3 * 32, 2 * 32  # the public share in front, the blinds at the end
UNOPENED = "its share for aggregator {} does not open"


class Malformed:
    """What a client sends that is no input, and what becomes of it; for three aggregators."""

    def __init__(self) -> None:
        sizes = proved.scheme(proved.backend(3), make_cohort(proved.backend(3), 2, PLAN.length, BITS)).sizes
        first, second, third = (size + SEAL_OVERHEAD for size in sizes)
        assert second == third
        self.seen: dict[int, bytes] = {}
        self.old: dict[int, bytes] = {}

        def swapped(message: Message) -> Message:
            box = bytes(message.payload)
            return replace(message, payload=box[:first] + box[first + second :] + box[first : first + second])

        self.cases: dict[str, tuple[Callable[[Message], Message], str]] = {
            "a byte short": (lambda m: replace(m, payload=m.payload[:-1]), "wrong length"),
            "a byte long": (lambda m: replace(m, payload=bytes(m.payload) + b"\0"), "wrong length"),
            "nothing": (lambda m: replace(m, payload=b""), "wrong length"),
            "a truncated public share": (
                lambda m: replace(m, payload=bytes(m.payload[:32]) + bytes(m.payload[64:])),
                "wrong length",
            ),
            "no public share at all": (
                lambda m: replace(m, payload=bytes(m.payload[:32]) + bytes(m.payload[32 + HEAD :])),
                "wrong length",
            ),
            "one box garbage": (lambda m: garbage(m, 40, first), UNOPENED.format(0)),
            "all of it garbage": (lambda m: garbage(m, 0, len(m.payload)), UNOPENED.format(0)),
            "the second box garbage": (lambda m: garbage(m, first + 32, first + second), UNOPENED.format(1)),
            "the last bit flipped": (
                lambda m: garbage(m, len(m.payload) - 1, len(m.payload)),
                UNOPENED.format(2),
            ),
            "boxes of helpers swapped": (swapped, UNOPENED.format(1)),
            "another client's boxes": (lambda m: replace(m, payload=self.seen[0]), UNOPENED.format(0)),
            "its boxes of an earlier round": (
                lambda m: replace(m, payload=self.old[m.sender.index]),
                UNOPENED.format(0),
            ),
        }
        self.twists = {
            "no element in the vector": no_element(HEAD),
            "no element in the bits": no_element(HEAD + 8 * (PLAN.length + 3)),
            "no element in the proofs": no_element(-TAIL - 8),
        }

    def lie(self, name: str) -> Callable[[Message], list[Message]]:
        change, _ = self.cases[name]
        return lambda message: [change(message) if message.phase == INPUT else message]

    def watch(self, into: dict[int, bytes]) -> Callable[[Message], list[Message]]:
        def see(message: Message) -> list[Message]:
            if message.phase == INPUT:
                into[message.sender.index] = bytes(message.payload)
            return [message]

        return see

    def play_earlier_round(self, play: Play, rig: SimpleNamespace, count: int) -> None:
        cohort = replace(rig.cohort(proved.backend(3), count, PLAN.length, BITS), round=2)
        watching = {client_id(index): self.watch(self.old) for index in range(count)}
        play(proved.backend(3), proved.vectors(count), liars=watching, cohort=cohort).require_exact()


@pytest.fixture
def malformed() -> Malformed:
    return Malformed()


CASES = list(Malformed().cases)


@pytest.mark.parametrize("name", CASES)
def test_a_malformed_input_is_structural(
    play: Play, rig: SimpleNamespace, malformed: Malformed, name: str
) -> None:
    malformed.play_earlier_round(play, rig, 5)
    liars = {0: malformed.watch(malformed.seen), 3: malformed.lie(name)}
    outcome = play(proved.backend(3), proved.vectors(5), liars=liars)
    require_refused(outcome, {3: ("structural", malformed.cases[name][1])})


@pytest.mark.parametrize("name", list(Malformed().twists))
def test_what_is_no_field_element_is_structural(play: Play, malformed: Malformed, name: str) -> None:
    outcome = play(proved.backend(3, {3: altering(malformed.twists[name])}), proved.vectors(5))
    reason = "its share for aggregator 0 holds a number that is not a field element"
    require_refused(outcome, {3: ("structural", reason)})


def test_five_over_the_bound_and_five_malformed_among_twenty(
    play: Play, rig: SimpleNamespace, malformed: Malformed
) -> None:
    """Exactly those ten are refused, whatever the order in which everything arrives."""
    over = {index: cheating(PLAIN["norm_over_by_one"], index) for index in (1, 5, 9, 13, 17)}
    names = dict(zip((3, 7, 11, 15), CASES[0::3], strict=True))
    twists = over | {19: altering(malformed.twists["no element in the vector"])}
    malformed.play_earlier_round(play, rig, 20)
    expected = dict.fromkeys(over, ("norm", REFUSED))
    expected |= {index: ("structural", malformed.cases[name][1]) for index, name in names.items()}
    expected[19] = ("structural", "its share for aggregator 0 holds a number")
    liars = {0: malformed.watch(malformed.seen), **{i: malformed.lie(name) for i, name in names.items()}}
    vectors = proved.vectors(20)
    for number in range(3):
        made = proved.backend(3, twists, threshold=0.5)
        outcome = play(made, vectors, liars=liars, shuffle=SeededTape(b"order %d" % number))
        require_refused(outcome, expected)
        plain = sum(vectors[index] for index in range(0, 20, 2))
        assert np.array_equal(outcome.total, plain)


def test_too_few_that_prove_their_shares_abort_the_round(play: Play) -> None:
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
def test_a_client_that_breaks_a_claim_stays_silent(play: Play, claim: str) -> None:
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
    assert "out of range" in why
    assert not any(str(number) in why for number in vectors[2] if abs(number) > 100)


def test_of_all_who_decline_nothing_is_opened(play: Play) -> None:
    vectors = proved.vectors(4)
    for one in vectors:
        one[0] = BOUND + 1
    outcome = play(proved.backend(), vectors)
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("0 of 4 clients")
    assert {record.fate for record in outcome.transcript.records} <= {"delivered"}
