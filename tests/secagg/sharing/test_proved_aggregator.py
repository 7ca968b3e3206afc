"""An aggregator that verifies proofs, fed by hand: whom it counts, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.errors import PeerError
from mpc.party import SERVER, Message, PartyId, Role
from mpc.tape import SeededTape
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.messages import (
    DECIDE,
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
from tests.mpc.flp.strategies import PLAIN
from tests.secagg.sharing import proved
from tests.secagg.sharing.proved import BITS, NORM, PLAN, cheating

OVER = PLAIN["norm_over_by_one"]
CLIENTS = 5


def aggregator(index: int) -> PartyId:
    return PartyId(Role.AGGREGATOR, index)


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
