"""Proved shares under a lying server, late messages and restarts: nobody counts without a proof."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.errors import LocalError, PeerError
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.tape import SeededTape
from secagg.durable import Durable
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.messages import (
    DECIDE,
    INPUT,
    OPEN,
    RELAY,
    SUM,
    VERDICT,
    Decision,
    Fault,
    JudgedShare,
    RelayedShare,
    SharedInput,
    SumRequest,
    SumShare,
)
from tests.conftest import make_cohort
from tests.contract.test_restore import Table
from tests.mpc.flp.strategies import PLAIN
from tests.secagg.sharing import proved
from tests.secagg.sharing.proved import BITS, NORM, PLAN, cheating

OVER = PLAIN["norm_over_by_one"]
CLIENTS = 5


def aggregator(index: int) -> PartyId:
    return PartyId(Role.AGGREGATOR, index)


# One aggregator, fed by hand.


@dataclass
class Court:
    """Two aggregators, what five clients sealed to them, and the challenges that a server drew."""

    cohort: Any
    vectors: Sequence[np.ndarray]
    scheme: proved.ProvedShares
    aggregators: list[Aggregator]
    inputs: list[SharedInput]
    cheat: int

    def send(self, to: int, phase: str, payload: bytes) -> list[Message]:
        message = Message(self.cohort.session, self.cohort.round, phase, SERVER, aggregator(to), payload)
        return self.aggregators[to].receive(message)

    def judge(self, to: int, client: int, challenge: bytes = bytes(32)) -> bytes:
        sealed = self.inputs[client].sealed[to]
        (answer,) = self.send(to, RELAY, RelayedShare(client, sealed, challenge).encode())
        found = JudgedShare.decode(answer.payload, CLIENTS, self.scheme.verifier_bytes)
        assert (answer.phase, found.client, found.fault) == (VERDICT, client, Fault.NONE)
        return found.verifier

    def judge_all(self) -> list[tuple[bytes, bytes]]:
        """Every client's verifier shares, by aggregator."""
        return [(self.judge(0, client), self.judge(1, client)) for client in range(CLIENTS)]

    def count(self, to: int, client: int, verifiers: Sequence[bytes]) -> list[Message]:
        return self.send(to, DECIDE, Decision(client, True, tuple(verifiers)).encode())

    def ask(self, to: int, *clients: int) -> list[Message]:
        return self.send(to, OPEN, SumRequest(clients).encode(CLIENTS))

    def refused(self, to: int, act: Callable[[], object], told: str) -> None:
        """It refuses by the server's name, and then gives nothing away."""
        with pytest.raises(PeerError, match=told) as caught:
            act()
        assert caught.value.party == SERVER
        for phase in (RELAY, DECIDE, OPEN):
            with pytest.raises(PeerError, match="not expected in state 'refused'"):
                self.send(to, phase, b"")


@pytest.fixture
def court() -> Court:
    cheat = 4
    made = proved.backend(2, {cheat: cheating(OVER, 0)}, threshold=3)
    cohort, vectors = make_cohort(made, CLIENTS, PLAN.length, BITS), proved.vectors(CLIENTS)
    scheme, inputs = proved.scheme(made, cohort), []
    for client, name in enumerate(cohort.members):
        party = made._client(cohort, name, vectors[client], [NORM], SeededTape(b"%d" % client))
        (message,) = party.start()
        inputs.append(SharedInput.decode(message.payload, scheme.sizes))
    parties = [Aggregator(cohort, index, key, scheme) for index, key in enumerate(proved.keys(2))]
    return Court(cohort, vectors, scheme, parties, inputs, cheat)


def test_two_aggregators_together_have_the_sum(court: Court) -> None:
    told, shares = court.judge_all(), []
    for to in (0, 1):
        for client in (0, 2, 3):
            assert court.count(to, client, told[client]) == []
        (answer,) = court.ask(to, 0, 2, 3)
        assert (answer.phase, answer.receiver) == (SUM, SERVER)
        shares.append(SumShare.decode(answer.payload, PLAN.length).elements)
    total = field.decode(field.add(*shares))
    assert np.array_equal(total, sum(court.vectors[client] for client in (0, 2, 3)))


@pytest.mark.parametrize("to", [0, 1])
def test_it_refuses_to_count_whose_proof_does_not_hold(court: Court, to: int) -> None:
    told = court.judge_all()
    assert court.scheme.objection(told[court.cheat]) is not None
    court.refused(
        to, lambda: court.count(to, court.cheat, told[court.cheat]), "count client 'c4', with verifier shares"
    )


@pytest.mark.parametrize("to", [0, 1])
def test_it_refuses_verifier_shares_that_are_not_those_that_were_told(court: Court, to: int) -> None:
    """Its own are compared; a change in another's breaks an honest client's proof."""
    told = court.judge_all()
    own, other = told[1][to], told[1][1 - to]
    for altered, why in (
        ((bytes([own[0] ^ 1]) + own[1:], other), "in which its own is another"),
        ((told[2][to], other), "in which its own is another"),
        ((own, bytes([other[0] ^ 1]) + other[1:]), "that refuse the proof"),
        ((own, other[:-65] + bytes([other[-65] ^ 1]) + other[-64:]), "that refuse the proof"),
        ((own, other[:-1] + bytes([other[-1] ^ 1])), "that refuse the proof"),
        ((own, told[2][1 - to]), "that refuse the proof"),
        ((own, b"\xff" * 8 + other[8:]), "a field element is not canonical"),
    ):
        one = court.aggregators[to]
        state = one.save()
        court.refused(to, lambda: court.count(to, 1, altered if to == 0 else altered[::-1]), why)  # noqa: B023
        one.restore(state)


def test_of_the_others_verifier_shares_it_has_the_servers_word(court: Court) -> None:
    """Whoever makes them up, so that all add up to zero, can vouch for a cheat: soundness is the server's
    own interest, and it takes an honest one (spec section 13.7). Seeds it cannot make up.
    """
    told = court.judge_all()
    own, other = told[court.cheat]
    elements = field.from_bytes(own[: -4 * 32])
    opposite = field.to_bytes(field.sub(np.zeros_like(elements), elements))
    state = court.aggregators[0].save()
    court.refused(
        0, lambda: court.count(0, court.cheat, (own, opposite + bytes(4 * 32))), "that refuse the proof"
    )
    court.aggregators[0].restore(state)
    assert court.count(0, court.cheat, (own, opposite + other[-4 * 32 :])) == []


def test_different_challenges_fail_an_honest_client(court: Court) -> None:
    told = (court.judge(0, 1, bytes(32)), court.judge(1, 1, bytes([1]) * 32))
    assert court.scheme.objection(told) is not None
    for to in (0, 1):
        court.refused(to, lambda: court.count(to, 1, told), "that refuse the proof")  # noqa: B023


def test_it_judges_a_client_once(court: Court) -> None:
    """A second challenge would show more of the proof than one is made for."""
    court.judge(0, 1)
    court.refused(0, lambda: court.judge(0, 1, bytes([7]) * 32), "a second share of client 'c1'")


def test_a_request_for_the_sum_waits_for_the_decisions_that_it_overtakes(court: Court) -> None:
    told = court.judge_all()
    assert court.count(0, 0, told[0]) == []
    assert court.ask(0, 0, 2, 3) == []
    assert court.aggregators[0].state == "asked"
    assert court.count(0, 3, told[3]) == []
    assert court.send(0, DECIDE, Decision(1, False).encode()) == []
    (answer,) = court.count(0, 2, told[2])
    assert answer.phase == SUM


def test_without_a_decision_nothing_is_opened(court: Court) -> None:
    """As it would be with plain shares, where the request says all there is to say."""
    court.judge_all()
    assert court.ask(0, 0, 1, 2) == []
    assert court.aggregators[0]._sum.any() is np.False_
    court.refused(0, lambda: court.ask(0, 0, 1, 2), "not expected in state 'asked'")


@pytest.mark.parametrize(
    ("client", "counts"),
    [(2, False), (1, True)],
    ids=["forgets one that is in it", "counts one that is not in it"],
)
def test_decisions_have_to_agree_with_the_request(court: Court, client: int, counts: bool) -> None:
    told = court.judge_all()
    court.count(0, 0, told[0])
    court.ask(0, 0, 2, 3)
    verifiers = told[client] if counts else ()
    decision = Decision(client, counts, tuple(verifiers)).encode()
    court.refused(0, lambda: court.send(0, DECIDE, decision), "decides otherwise on a client")


def test_no_share_in_a_repr_or_in_an_error(court: Court) -> None:
    told = court.judge_all()
    one = court.aggregators[0]
    held = one._pending[1]
    secret = [str(int(element)) for element in held.output]
    with pytest.raises(PeerError) as caught:
        court.count(0, 1, (told[1][0], told[2][1]))
    for text in (repr(one), repr(held), repr(one._pending), str(caught.value), repr(court.scheme)):
        assert not any(number in text for number in secret)
        assert "Verifying(<secret>)" in repr(one._pending)


# Whole rounds.


@pytest.fixture
def play(rig: SimpleNamespace) -> Callable[..., Any]:
    def run(made: Any, **options: Any) -> Any:
        return rig.play(made, proved.vectors(CLIENTS), bits=BITS, checks=[NORM], **options)

    return run


class Server:
    """A server that lies to aggregators: ``lie(message)`` has ``seen``, all that they have told it."""

    def __init__(self, aggregators: int) -> None:
        self.seen: dict[int, dict[int, bytes]] = {}
        self.verifier_bytes = 0
        self.aggregators = aggregators

    def watching(self) -> dict[Any, Any]:
        def see(message: Message) -> list[Message]:
            if message.phase == VERDICT:
                judged = JudgedShare.decode(message.payload, CLIENTS, len(message.payload) - 5)
                self.seen.setdefault(judged.client, {})[message.sender.index] = judged.verifier
            return [message]

        return {aggregator(index): see for index in range(self.aggregators)}

    def told(self, client: int) -> tuple[bytes, ...]:
        return tuple(self.seen[client][index] for index in range(self.aggregators))


def test_a_server_with_different_challenges_loses_that_client(play: Any) -> None:
    def lie(message: Message) -> list[Message]:
        if message.phase == RELAY and (message.receiver.index, message.payload[0]) == (1, 2):
            return [replace(message, payload=bytes(message.payload[:4]) + bytes(32) + message.payload[36:])]
        return [message]

    outcome = play(proved.backend(3), liars={SERVER: lie})
    outcome.require_exact()
    assert outcome.survivors == (0, 1, 3, 4)
    assert outcome.rejected[2].check == "norm"


@pytest.mark.parametrize("aggregators", [2, 3])
@pytest.mark.parametrize("whose", ["its own", "another's"])
def test_a_server_that_alters_verifier_shares_gets_no_sum(play: Any, whose: str, aggregators: int) -> None:
    place = 0 if whose == "its own" else -1

    def lie(message: Message) -> list[Message]:
        if message.phase == DECIDE and (message.receiver.index, message.payload[0]) == (0, 2):
            payload = bytearray(message.payload)
            payload[5 if place == 0 else -1] ^= 1
            return [replace(message, payload=bytes(payload))]
        return [message]

    outcome = play(proved.backend(aggregators), liars={SERVER: lie})
    assert outcome.abort is not None
    assert "aggregator 0" in outcome.abort.reason
    assert not any(r.phase == SUM and r.sender == aggregator(0) for r in outcome.transcript.records)


@pytest.mark.parametrize("aggregators", [2, 3])
def test_a_server_that_counts_a_cheat_gets_no_sum_share(play: Any, aggregators: int) -> None:
    """From nobody: each aggregator sees by itself that the proof does not hold."""
    server = Server(aggregators)

    def lie(message: Message) -> list[Message]:
        if message.phase == DECIDE and message.payload[0] == 2:
            assert message.payload[4] == 0
            return [replace(message, payload=Decision(2, True, server.told(2)).encode())]
        if message.phase == OPEN:
            return [replace(message, payload=SumRequest((0, 1, 2, 3, 4)).encode(CLIENTS))]
        return [message]

    made = proved.backend(aggregators, {2: cheating(OVER, 1)})
    outcome = play(made, liars={SERVER: lie, **server.watching()})
    assert outcome.abort is not None
    assert not any(record.phase == SUM for record in outcome.transcript.records)


@pytest.mark.parametrize("aggregators", [2, 3])
def test_a_server_that_asks_for_a_refused_client_gets_no_sum_share(play: Any, aggregators: int) -> None:
    def lie(message: Message) -> list[Message]:
        if message.phase == OPEN:
            return [replace(message, payload=SumRequest((0, 1, 2, 3, 4)).encode(CLIENTS))]
        return [message]

    made = proved.backend(aggregators, {2: cheating(OVER, 1)})
    outcome = play(made, liars={SERVER: lie})
    assert outcome.abort is not None
    assert not any(record.phase == SUM for record in outcome.transcript.records)


@pytest.mark.parametrize(
    "what", ["elements swapped", "another part", "other seeds", "a byte short", "no element"]
)
def test_an_aggregator_that_lies_in_a_verdict_costs_clients_or_is_named(play: Any, what: str) -> None:
    """It can have any client refused, as by finding fault with its share; a wrong sum it cannot cause."""

    def lie(message: Message) -> list[Message]:
        if message.phase != VERDICT or message.payload[0] != 2:
            return [message]
        payload = bytes(message.payload)
        told = {
            "elements swapped": lambda: payload[:5] + payload[13:21] + payload[5:13] + payload[21:],
            "another part": lambda: payload[:-65] + bytes([payload[-65] ^ 1]) + payload[-64:],
            "other seeds": lambda: payload[:-1] + bytes([payload[-1] ^ 1]),
            "a byte short": lambda: payload[:-1],
            "no element": lambda: payload[:5] + b"\xff" * 8 + payload[13:],
        }[what]()
        return [replace(message, payload=told)]

    outcome = play(proved.backend(3), liars={aggregator(1): lie})
    outcome.require_never_wrong()
    if what in ("a byte short", "no element"):
        assert outcome.abort is not None
        assert "aggregator 1" in outcome.abort.reason
    else:
        assert outcome.survivors == (0, 1, 3, 4)
        assert outcome.rejected[2].check == "norm"


@pytest.mark.parametrize("late", range(1, 3))
def test_a_request_that_overtakes_decisions_is_answered_when_they_are_there(play: Any, late: int) -> None:
    """Two decisions come after a deadline, and the request for the sum before it."""

    def delay(message: Message) -> int:
        return int(
            message.phase == DECIDE
            and message.receiver == aggregator(late)
            and bytes(message.payload[:1]) in (b"\1", b"\3")
        )

    made = proved.backend(3, {4: cheating(OVER, 1)})
    outcome = play(made, delay=delay)
    outcome.require_never_wrong()
    phases = [(r.phase, r.fate) for r in outcome.transcript.records if r.receiver == aggregator(late)]
    assert outcome.abort is None or f"aggregator {late}" in outcome.abort.reason
    assert any(phase == OPEN for phase, _ in phases)


@pytest.mark.parametrize("order", range(20))
def test_whatever_the_order(play: Any, order: int) -> None:
    made = proved.backend(3, {4: cheating(OVER, 1), 0: cheating(PLAIN["no_bit"], 2)})
    outcome = play(made, shuffle=SeededTape(b"order %d" % order))
    outcome.require_exact()
    assert outcome.survivors == (1, 2, 3)
    assert outcome.transcript.refusals == []


# Restarts.


Due = Callable[[Mapping[PartyId, Any], PartyId, int], Collection[PartyId]]


def renewing(rig: SimpleNamespace, due: Due, order: bytes | None = None) -> Any:
    """A round after each of whose deliveries ``due(parties, receiver, number)`` are saved and restored."""
    made = proved.backend(3, {1: cheating(OVER, 1)})
    table = Table(made, lambda count, receiver: due(table.parties, receiver, count), lambda: [NORM])
    cohort = rig.cohort(made, CLIENTS, PLAN.length, BITS)
    options = {"shuffle": SeededTape(order)} if order else {}
    return rig.play(
        lambda: table, proved.vectors(CLIENTS), cohort=cohort, checks=[NORM], bits=BITS, **options
    )


def nobody(parties: Mapping[PartyId, Any], receiver: PartyId, count: int) -> tuple[PartyId, ...]:
    return ()


@pytest.mark.parametrize("order", [None, b"one", b"two"])
def test_aggregators_and_server_are_renewed_all_the_time(rig: SimpleNamespace, order: bytes | None) -> None:
    states = set()

    def due(parties: Mapping[PartyId, Any], receiver: PartyId, count: int) -> list[PartyId]:
        states.update((who.role, party.party._inner.state) for who, party in parties.items())
        return [who for who in parties if who.role is not Role.CLIENT]

    whole, outcome = renewing(rig, nobody, order), renewing(rig, due, order)
    outcome.require_exact()
    assert outcome.survivors == whole.survivors == (0, 2, 3, 4)
    assert np.array_equal(outcome.total, whole.total)
    assert outcome.rejected == whole.rejected
    assert {(Role.AGGREGATOR, "collecting"), (Role.AGGREGATOR, "opened")} <= states
    assert {(Role.SERVER, phase) for phase in (INPUT, VERDICT, SUM)} <= states


def test_each_aggregator_is_renewed_after_each_of_its_messages(rig: SimpleNamespace) -> None:
    receivers: list[PartyId] = []
    renewing(rig, lambda parties, receiver, count: receivers.append(receiver) or ())
    for after, receiver in enumerate(receivers, 1):
        if receiver.role is Role.AGGREGATOR:
            outcome = renewing(rig, lambda parties, who, count, after=after: [who] if count == after else [])
            outcome.require_exact()
            assert outcome.survivors == (0, 2, 3, 4)


def test_an_aggregator_that_waits_for_decisions_is_restored(court: Court) -> None:
    told = court.judge_all()
    court.count(0, 0, told[0])
    court.ask(0, 0, 2, 3)
    for client in (2, 3):
        key = proved.keys(2)[0]
        other = Aggregator(court.cohort, 0, key, court.scheme)
        other.restore(court.aggregators[0].save())
        assert other.state == "asked"
        assert key.log.entries() != ()
        court.aggregators[0] = other
        answers = court.count(0, client, told[client])
    assert [answer.phase for answer in answers] == [SUM]


def test_a_dump_with_proofs_fits_no_round_without_them(rig: SimpleNamespace) -> None:
    made = proved.backend(2)
    cohort = rig.cohort(made, CLIENTS, PLAN.length, BITS)
    tape = SeededTape(b"dump")
    data = made.helpers(cohort, checks=[NORM], tape=tape)[aggregator(0)].dump()
    made.load_helper(cohort, aggregator(0), data, checks=[NORM], tape=tape)
    with pytest.raises(LocalError, match="checks"):
        made.load_helper(cohort, aggregator(0), data, checks=[], tape=tape)
    with pytest.raises(LocalError, match="checks"):
        made.load_helper(cohort, aggregator(0), data, checks=[NORM, proved.ALIGNED], tape=tape)


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("index", [0, 1])
def test_an_aggregator_that_is_killed_goes_on_from_its_journal(
    rig: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: int, forgetful: bool
) -> None:
    """After each message in turn, with answers lost that it had given: it gives the same ones again."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    vectors = proved.vectors(3)
    for death in range(1, 9):
        found = killed(rig, tmp_path / f"{death}", vectors, index, death, forgetful)
        assert found.result is not None
        assert found.result.survivors == (0, 2)
        assert np.array_equal(found.result.total, vectors[0] + vectors[2])
        assert set(found.result.rejected) == {1}


def killed(
    rig: SimpleNamespace, path: Path, vectors: Any, index: int, death: int, forgetful: bool
) -> SimpleNamespace:
    """A round of three, one of whom cheats. The aggregator dies at its ``death``-th message, unanswered."""
    made = proved.backend(2, {1: cheating(OVER, 1)})
    cohort, who = rig.cohort(made, 3, PLAN.length, BITS), aggregator(index)
    server = made.server(cohort, link_key=rig.link_key, checks=[NORM], tape=SeededTape(b"server"))
    lives = 0

    def reborn() -> Durable[object]:
        nonlocal lives
        lives += 1
        fresh = proved.backend(2, {1: cheating(OVER, 1)})
        return Durable.open(
            path,
            lambda tape: fresh.helpers(cohort, checks=[NORM], tape=tape)[who],
            lambda data, tape: fresh.load_helper(cohort, who, data, checks=[NORM], tape=tape),
            tape=SeededTape(b"life %d" % lives),
            forgetful=forgetful,
        )

    parties: dict[PartyId, Any] = {SERVER: server, who: reborn()}
    other = aggregator(1 - index)
    parties[other] = made.helpers(cohort, checks=[NORM], tape=SeededTape(b"helpers"))[other]
    for client, name in enumerate(cohort.members):
        tape = SeededTape(name.encode())
        parties[client_id(client)] = made.client(cohort, name, vectors[client], checks=[NORM], tape=tape)
    queue = deque(message for party in parties.values() for message in party.start())
    heard = 0
    for _ in range(4):
        while queue:
            message = queue.popleft()
            answers = parties[message.receiver].receive(message)
            if message.receiver == who:
                heard += 1
                if heard == death:
                    parties[who].close()
                    parties[who] = reborn()
                    answers = [*parties[who].start(), *parties[who].receive(message)]
                parties[who].confirm(answers)
            queue.extend(answers)
        if server.result is not None:
            break
        queue.extend(server.expire())
    parties[who].close()
    return SimpleNamespace(result=server.result, lives=lives)
