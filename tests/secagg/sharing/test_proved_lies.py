"""Rounds of proved shares with a server or an aggregator that lies, and with messages that come late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mpc.party import SERVER, Message, PartyId, Role
from mpc.tape import SeededTape
from secagg.sharing.messages import (
    DECIDE,
    OPEN,
    RELAY,
    SUM,
    VERDICT,
    Decision,
    JudgedShare,
    SumRequest,
)
from tests.mpc.flp.strategies import PLAIN
from tests.secagg.sharing import proved
from tests.secagg.sharing.proved import BITS, NORM, cheating

OVER = PLAIN["norm_over_by_one"]
CLIENTS = 5


def aggregator(index: int) -> PartyId:
    return PartyId(Role.AGGREGATOR, index)


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


@pytest.mark.parametrize("late", [1, 2])
def test_decisions_that_come_after_the_deadline_end_the_round_by_name(play: Any, late: int) -> None:
    """The request for the sum has overtaken them: it is not answered for as long as they are missing."""

    def delay(message: Message) -> int:
        late_ones = (message.phase, message.receiver) == (DECIDE, aggregator(late))
        return int(late_ones and bytes(message.payload[:1]) in (b"\1", b"\3"))

    made = proved.backend(3, {4: cheating(OVER, 1)})
    outcome = play(made, delay=delay)
    assert outcome.abort is not None
    assert outcome.abort.reason == f"aggregator {late} sent no sum share before the deadline"
    told = [record.phase for record in outcome.transcript.records if record.receiver == aggregator(late)]
    assert OPEN in told


def test_in_whatever_order_messages_come_the_sum_is_the_same(play: Any) -> None:
    """Also where the request for the sum comes before decisions that were sent before it."""
    overtaken = 0
    for order in range(20):
        made = proved.backend(3, {4: cheating(OVER, 1), 0: cheating(PLAIN["no_bit"], 2)})
        outcome = play(made, shuffle=SeededTape(b"order %d" % order))
        outcome.require_exact()
        assert outcome.survivors == (1, 2, 3)
        assert outcome.transcript.refusals == []
        for index in range(3):
            told = [one.phase for one in outcome.transcript.records if one.receiver == aggregator(index)]
            overtaken += DECIDE in told[told.index(OPEN) :]
    assert overtaken > 0
