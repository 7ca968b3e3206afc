"""Faults in rounds of secret sharing: who is named, and that the others' sum is exact or there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.errors import AbortError
from mpc.party import SERVER, Message, Party, PartyId, Role, client_id
from mpc.tape import RandomTape, SeededTape
from secagg.aggregate import Conditions
from secagg.checks.base import Check
from secagg.client import Vector
from secagg.cohort import Cohort
from secagg.link import LinkedParty
from secagg.sealed import seal
from secagg.sharing import AggregatorKey, SecretSharing
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.client import SharingClient
from secagg.sharing.keys import share_context
from secagg.sharing.messages import (
    CHECK,
    DECIDE,
    INPUT,
    OPEN,
    RELAY,
    SUM,
    VERDICT,
    Fault,
    JudgedShare,
    SharedInput,
    SumShare,
)
from secagg.sharing.scheme import PlainShares
from secagg.sharing.server import SharingServer

MakeGame = Callable[..., Any]
PUBLIC = [AggregatorKey.generate(SeededTape(b"aggregator %d" % index)).public for index in range(3)]


def fresh_keys() -> list[AggregatorKey]:
    """The private keys, without memory of the rounds that they have served in other tests."""
    return [AggregatorKey.generate(SeededTape(b"aggregator %d" % index)) for index in range(3)]


def aggregator(index: int) -> PartyId:
    return PartyId(Role.AGGREGATOR, index)


def flip(message: Message, place: int = -1) -> Message:
    payload = bytearray(message.payload)
    payload[place] ^= 1
    return replace(message, payload=bytes(payload))


def on(
    phase: str, act: Callable[[Message], Sequence[Message]], *, client: int = -1, helper: int = -1
) -> Conditions:
    """Do this to the messages of a phase that a client sent, or that an aggregator sent or is sent."""
    wanted = client_id(client) if client >= 0 else aggregator(helper)

    def tamper(message: Message) -> Sequence[Message]:
        hit = message.phase == phase and wanted in (message.sender, message.receiver)
        return act(message) if hit else [message]

    return Conditions(tamper=tamper)


def about(client: int, act: Callable[[Message], Sequence[Message]]) -> Callable[[Message], Sequence[Message]]:
    """Only if the payload begins with this client's index."""
    start = client.to_bytes(4, "little")
    return lambda message: act(message) if bytes(message.payload[:4]) == start else [message]


# On the way.


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda m: [flip(m)], "tampered"),
        (lambda m: [flip(m, 40)], "tampered"),
        (lambda m: [replace(m, payload=m.payload[:-1])], "tampered"),
        (lambda m: [replace(m, payload=m.payload + b"\0")], "tampered"),
        (lambda m: [replace(m, payload=b"")], "too short"),
        (lambda m: [replace(m, round=2)], "replayed: belongs to round 2"),
        (lambda m: [replace(m, session=bytes(16))], "replayed: belongs to another session"),
    ],
)
def test_an_input_changed_on_the_way(
    game: MakeGame, act: Callable[[Message], list[Message]], reason: str
) -> None:
    playing = game(5)
    result, _ = playing.run(SecretSharing(3, threshold=2), conditions=on(INPUT, act, client=3))
    playing.expect(result, [3])
    assert result.rejected[3].check == "link"
    assert reason in result.rejected[3].reason


def test_an_input_that_arrives_twice_counts_once(game: MakeGame) -> None:
    playing = game(5)
    result, _ = playing.run(SecretSharing(threshold=2), conditions=on(INPUT, lambda m: [m, m], client=3))
    playing.expect(result)


@pytest.mark.parametrize("phase", [RELAY, VERDICT])
@pytest.mark.parametrize("act", [lambda m: [], lambda m: [flip(m)]], ids=["lost", "changed"])
@pytest.mark.parametrize("helper", [0, 2])
def test_a_share_or_verdict_lost_on_the_way_costs_that_client(
    game: MakeGame, phase: str, act: Callable[[Message], list[Message]], helper: int
) -> None:
    playing = game(5)
    result, _ = playing.run(SecretSharing(3, threshold=2), conditions=on(phase, about(1, act), helper=helper))
    playing.expect(result, [1])
    assert result.rejected[1].check == "link"
    assert result.rejected[1].reason == f"its share was not judged before the deadline by aggregator {helper}"


@pytest.mark.parametrize("act", [lambda m: [], lambda m: [flip(m)]], ids=["lost", "changed"])
def test_a_decision_lost_on_the_way_costs_nothing(
    game: MakeGame, act: Callable[[Message], list[Message]]
) -> None:
    playing = game(5)
    result, _ = playing.run(SecretSharing(3, threshold=2), conditions=on(DECIDE, about(1, act), helper=1))
    playing.expect(result)


@pytest.mark.parametrize("phase", [OPEN, SUM])
def test_without_all_sum_shares_there_is_no_sum(game: MakeGame, phase: str) -> None:
    told = "aggregator 1 sent no sum share before the deadline"
    with pytest.raises(AbortError, match=told):
        game(5).run(SecretSharing(3, threshold=2), conditions=on(phase, lambda m: [], helper=1))
    with pytest.raises(AbortError, match=told) as caught:
        game(5).run(SecretSharing(3, threshold=2), conditions=on(phase, lambda m: [flip(m)], helper=1))
    if phase == SUM:
        assert caught.value.evidence == {
            "party": "aggregator 1",
            "thrown away": {"aggregator 1": "tampered: the link tag does not match"},
        }


@pytest.mark.parametrize("phase", [RELAY, VERDICT, DECIDE, OPEN, SUM])
def test_what_crosses_twice_counts_once(game: MakeGame, phase: str) -> None:
    playing = game(5)
    result, transcript = playing.run(
        SecretSharing(threshold=2), conditions=on(phase, lambda m: [m, m], helper=0)
    )
    playing.expect(result)
    assert transcript.refusals == []


def late(phase: str, deadlines: int, *, start: bytes = b"") -> Conditions:
    def missed(message: Message) -> int:
        hit = message.phase == phase and bytes(message.payload[: len(start)]) == start
        return deadlines if hit else 0

    return Conditions(delay=missed)


@pytest.mark.parametrize("deadlines", [1, 2, 3, 5])
@pytest.mark.parametrize("phase", [RELAY, VERDICT, DECIDE])
def test_late_messages_about_a_client_cost_that_client_at_most(
    game: MakeGame, phase: str, deadlines: int
) -> None:
    playing = game(5)
    conditions = late(phase, deadlines, start=(4).to_bytes(4, "little"))
    result, transcript = playing.run(SecretSharing(threshold=2), conditions=conditions)
    playing.expect(result, [] if phase == DECIDE else [4])
    assert transcript.refusals == []


def test_a_verdict_that_comes_after_the_inputs_are_closed_is_in_time(game: MakeGame) -> None:
    playing = game(5)
    conditions = late(VERDICT, 1, start=(4).to_bytes(4, "little"))
    result, _ = playing.run(SecretSharing(threshold=2), drop={client_id(0): INPUT}, conditions=conditions)
    playing.expect(result, [0])


def test_a_late_input_is_not_counted(game: MakeGame) -> None:
    playing = game(5)
    delay = Conditions(delay=lambda m: 1 if m.sender == client_id(2) else 0)
    result, _ = playing.run(SecretSharing(threshold=2), conditions=delay)
    playing.expect(result, [2])
    assert result.rejected == {}


# Clients that lie inside their own links.


class Insider(SecretSharing):
    """One client is of another class; the rest is as it should be."""

    def __init__(self, liar: int, lying: type[SharingClient], aggregators: int = 3) -> None:
        super().__init__(aggregators, threshold=2, private_keys=fresh_keys()[:aggregators])
        self._liar = liar
        self._lying = lying

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> SharingClient:
        kind = self._lying if cohort.index(me) == self._liar else SharingClient
        public = [key.sealing for key in self.public_keys]
        return kind(cohort, me, vector, checks, tape, public, self._scheme(cohort, checks))


class TooShort(SharingClient):
    def _contribution(self) -> memoryview:
        return super()._contribution()[:-1]


class TooLong(SharingClient):
    def _contribution(self) -> memoryview:
        return memoryview(bytes(super()._contribution()) + b"\0")


class Empty(SharingClient):
    def _contribution(self) -> memoryview:
        return memoryview(b"")


@pytest.mark.parametrize("lying", [TooShort, TooLong, Empty])
def test_an_input_of_the_wrong_length(game: MakeGame, lying: type[SharingClient]) -> None:
    playing = game(5)
    result, transcript = playing.run(Insider(2, lying))
    playing.expect(result, [2])
    assert result.rejected[2].check == "structural"
    assert "wrong length" in result.rejected[2].reason
    assert sum(record.phase == RELAY for record in transcript.records) == 3 * 4


class Resealing(SharingClient):
    """Puts its own shares into boxes of its own; as it stands, those of an honest client."""

    def place(self, aggregator: int) -> bytes:
        return share_context(self.cohort.digest, self.index, aggregator)

    def boxes(self) -> list[bytes]:
        return [
            seal(key, self.place(index), bytes(share), self._tape)
            for index, (key, share) in enumerate(zip(self._sealing_keys, self._split(), strict=True))
        ]

    def _contribution(self) -> memoryview:
        return memoryview(SharedInput(self.boxes()).encode())


class Misaligned(Resealing):
    """The right length in all, but one share is longer and the next one shorter."""

    def _split(self) -> list[bytes | memoryview]:
        shares = super()._split()
        return [bytes(shares[0]) + b"\0", shares[1][:-1], *shares[2:]]


class NotAnElement(Resealing):
    def _split(self) -> list[bytes | memoryview]:
        shares = super()._split()
        return [field.P.to_bytes(8, "little") + bytes(shares[0][8:]), *shares[1:]]


class Garbage(Resealing):
    def boxes(self) -> list[bytes]:
        return [self._tape.read(len(box)) for box in super().boxes()]


class Swapped(Resealing):
    """Two shares of the same size, each sealed for the other's aggregator."""

    def boxes(self) -> list[bytes]:
        boxes = super().boxes()
        return [boxes[0], boxes[2], boxes[1]]


class ForAnotherClient(Resealing):
    def place(self, aggregator: int) -> bytes:
        return share_context(self.cohort.digest, self.index + 1, aggregator)


class ForAnotherRound(Resealing):
    def place(self, aggregator: int) -> bytes:
        digest = replace(self.cohort, round=self.cohort.round + 1).digest
        return share_context(digest, self.index, aggregator)


class SmallOrder(Resealing):
    """An ephemeral key with which every agreement gives zero."""

    def boxes(self) -> list[bytes]:
        first, *others = super().boxes()
        return [bytes(32) + first[32:], *others]


def test_resealing_alone_changes_nothing(game: MakeGame) -> None:
    """So what follows is refused for what it adds."""
    playing = game(5)
    result, _ = playing.run(Insider(2, Resealing))
    playing.expect(result)


@pytest.mark.parametrize(
    ("lying", "reason"),
    [
        (Misaligned, "its share for aggregator 0 does not open"),
        (NotAnElement, "its share for aggregator 0 holds a number that is not a field element"),
        (Garbage, "its share for aggregator 0 does not open"),
        (Swapped, "its share for aggregator 1 does not open"),
        (ForAnotherClient, "its share for aggregator 0 does not open"),
        (ForAnotherRound, "its share for aggregator 0 does not open"),
        (SmallOrder, "its share for aggregator 0 does not open"),
    ],
)
def test_a_malformed_share_costs_its_client(game: MakeGame, lying: type[SharingClient], reason: str) -> None:
    playing = game(5)
    result, transcript = playing.run(Insider(2, lying))
    playing.expect(result, [2])
    assert result.rejected[2].check == "structural"
    assert result.rejected[2].reason.startswith(reason)
    assert transcript.refusals == []


def test_an_input_replayed_from_the_round_before(game: MakeGame) -> None:
    """The box of an earlier round, sent in this one by the client itself, under this round's link."""
    playing = game(4)
    earlier = replace(playing.cohort, round=playing.cohort.round - 1)
    public = [key.sealing for key in PUBLIC]
    scheme = PlainShares(earlier.digest, earlier.length, len(public))
    old = SharingClient(
        earlier, "client-01", playing.inputs[1], (), SeededTape(b"old"), public, scheme
    ).start()

    class Replaying(SharingClient):
        def _contribution(self) -> memoryview:
            return memoryview(old[0].payload)

    result, _ = playing.run(Insider(1, Replaying))
    playing.expect(result, [1])
    assert "sealed for another round" in result.rejected[1].reason


def test_too_many_malformed_shares_end_the_round(game: MakeGame) -> None:
    playing = game(3, threshold=3)
    with pytest.raises(AbortError, match="2 of 3 clients had all their shares accepted; the threshold is 3"):
        playing.run(Insider(2, Garbage))


class Huge(Resealing):
    def _split(self) -> list[bytes | memoryview]:
        first, *seeds = super()._split()
        elements = field.from_bytes(first)
        elements[0] = (int(elements[0]) + 2**40) % field.P
        return [field.to_bytes(elements), *seeds]


def test_a_sum_that_no_inputs_have_is_not_handed_out(game: MakeGame) -> None:
    with pytest.raises(AbortError, match="a coordinate of the sum is larger than any contributions"):
        game(5, bits=16).run(Insider(2, Huge))


@pytest.mark.parametrize("phase", [CHECK, RELAY, VERDICT, DECIDE, OPEN, SUM])
@pytest.mark.parametrize("before", [True, False])
def test_a_client_that_speaks_out_of_turn(game: MakeGame, phase: str, before: bool) -> None:
    class Talkative(SharingClient):
        def start(self) -> list[Message]:
            payload = JudgedShare(0, Fault.SEAL).encode()
            messages = [*super().start(), self._to_server(phase, payload)]
            return messages[::-1] if before else messages

    playing = game(5)
    result, _ = playing.run(Insider(2, Talkative))
    # What was relayed before it misbehaved cannot be taken back, and need not be.
    playing.expect(result, [2] if before else [])
    assert set(result.rejected) == ({2} if before else set())


def test_no_client_closes_a_phase_of_the_aggregators(game: MakeGame) -> None:
    playing = game(2)
    cohort, tape = playing.cohort, SeededTape(b"server")
    scheme = PlainShares(cohort.digest, cohort.length, 2)
    server = SharingServer(cohort, (), tape, [aggregator(0), aggregator(1)], scheme, "")
    public = [key.sealing for key in PUBLIC[:2]]
    relayed = []
    for name, vector in zip(cohort.members, playing.inputs, strict=True):
        (message,) = SharingClient(cohort, name, vector, (), tape, public, scheme).start()
        relayed += server.receive(message)
    assert (server.state, len(relayed)) == (VERDICT, 4)
    assert server.receive(replace(message, phase="no-such-phase")) == []
    assert server.state == VERDICT


# Aggregators.


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_aggregator_that_is_silent_from_the_start(game: MakeGame, index: int) -> None:
    with pytest.raises(AbortError, match=f"aggregator {index} judged too few shares before the deadline"):
        game(5).run(SecretSharing(3, threshold=2), drop={aggregator(index): VERDICT})


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_aggregator_that_is_silent_in_the_end(game: MakeGame, index: int) -> None:
    with pytest.raises(AbortError, match=f"aggregator {index} sent no sum share before the deadline"):
        game(5).run(SecretSharing(3, threshold=2), drop={aggregator(index): SUM})


def test_several_silent_aggregators_are_all_named(game: MakeGame) -> None:
    with pytest.raises(AbortError, match="aggregator 0, aggregator 2 sent no sum share"):
        game(5).run(SecretSharing(3, threshold=2), drop={aggregator(0): SUM, aggregator(2): SUM})


def test_no_aggregator_serves_a_round_twice(game: MakeGame) -> None:
    """Another run of the same cohort, in which another client is missing: the difference is two vectors."""
    playing = game(5)
    backend = SecretSharing(3, threshold=2, private_keys=fresh_keys())
    first, _ = playing.run(backend, drop={client_id(0): INPUT})
    playing.expect(first, [0])
    with pytest.raises(AbortError, match="aggregator 0, aggregator 1, aggregator 2 sent no sum share"):
        playing.run(backend, drop={client_id(1): INPUT})


def test_keys_last_over_rounds(game: MakeGame) -> None:
    backend = SecretSharing(3, threshold=2, private_keys=fresh_keys())
    for seed in (b"one", b"two", b"three"):
        playing = game(5, seed=seed)
        result, _ = playing.run(backend)
        playing.expect(result)


class Corrupt(SecretSharing):
    """Aggregator 1 has its answers changed before they enter its link."""

    def __init__(self, change: Callable[[Message], list[Message]]) -> None:
        self._keys = fresh_keys()
        super().__init__(3, threshold=2, private_keys=self._keys)
        self._change = change

    def helpers(
        self, cohort: Cohort, *, checks: Sequence[Check] = (), tape: RandomTape
    ) -> Mapping[PartyId, Party[object]]:
        change = self._change

        class Liar(Aggregator):
            def receive(self, message: Message) -> list[Message]:
                return [found for answer in super().receive(message) for found in change(answer)]

        inner = Liar(cohort, 1, self._keys[1], self._scheme(cohort, checks))
        liar = LinkedParty.helper(inner, cohort, self._keys[1].link, tape)
        return {**super().helpers(cohort, tape=tape), aggregator(1): liar}


def instead(phase: str, *payloads: bytes) -> Callable[[Message], list[Message]]:
    def change(message: Message) -> list[Message]:
        if message.phase != phase:
            return [message]
        return [replace(message, payload=payload) for payload in payloads]

    return change


GOOD_SUM = SumShare(field.random(7, SeededTape(b"sum"))).encode()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (instead(VERDICT, b""), "in phase 'verdict': ends after 0 bytes"),
        (instead(VERDICT, b"\0\0\0\0\x09"), "in phase 'verdict': fault 9"),
        (instead(VERDICT, b"\x05\0\0\0\0"), "in phase 'verdict': client 5 is not one of the 5 members"),
        (instead(VERDICT, b"\x04\0\0\0\0"), "in phase 'verdict': a verdict on client 4"),
        (instead(VERDICT, b"\0\0\0\0\0", b"\0\0\0\0\x01"), "in phase 'verdict': a verdict on client 0"),
        (lambda m: [m, m] if m.phase == VERDICT else [m], "in phase 'verdict': a verdict on client 0"),
        (instead(SUM, GOOD_SUM[:-8]), "in phase 'sum-share': a sum share of 48 bytes, where 56 were due"),
        (instead(SUM, b"\xff" * 56), "in phase 'sum-share': a field element is not canonical"),
        (instead(SUM, GOOD_SUM, GOOD_SUM), "in phase 'sum-share': a second sum share"),
        (lambda m: [replace(m, phase=INPUT)], "in phase 'shared-input': is not expected in state"),
        (lambda m: [replace(m, phase=CHECK)], "in phase 'check': is not expected in state"),
        (lambda m: [replace(m, phase=SUM)], "in phase 'sum-share': is not expected in state 'shared-input'"),
    ],
)
def test_an_aggregator_that_departs_from_the_protocol_is_named(
    game: MakeGame, change: Callable[[Message], list[Message]], told: str
) -> None:
    with pytest.raises(AbortError, match=f"aggregator 1 {told}") as caught:
        game(5).run(Corrupt(change))
    assert caught.value.evidence == {"party": "aggregator 1"}


def test_an_aggregator_may_refuse_a_client_and_the_others_go_on(game: MakeGame) -> None:
    def slander(message: Message) -> list[Message]:
        if message.phase == VERDICT and message.payload[0] == 3:
            return [replace(message, payload=JudgedShare(3, Fault.RANGE).encode())]
        return [message]

    playing = game(5)
    result, _ = playing.run(Corrupt(slander))
    playing.expect(result, [3])
    assert result.rejected[3].evidence == {"phase": INPUT, "aggregator": 1}


def test_nobody_holds_more_than_a_few_vectors(game: MakeGame) -> None:
    """Server and aggregators after each message of a round: one sum each, and what is under way."""
    length, clients = 300, 30
    playing = game(clients, length)
    backend = SecretSharing(2, threshold=2, private_keys=fresh_keys()[:2])
    parties: list[Any] = []

    class Watched(SecretSharing):
        def helpers(
            self, cohort: Cohort, *, checks: Sequence[Check] = (), tape: RandomTape
        ) -> Mapping[PartyId, Party[object]]:
            found = backend.helpers(cohort, tape=tape)
            parties.extend(party._inner for party in found.values())  # type: ignore[attr-defined]
            return found

        def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> Any:
            parties.append(super()._server(cohort, checks, tape))
            return parties[-1]

    def vectors(value: object) -> int:
        if isinstance(value, np.ndarray):
            return int(value.nbytes) // (8 * length)
        if isinstance(value, bytes | memoryview):
            return len(value) // (8 * length)
        if isinstance(value, dict):
            return sum(map(vectors, value.values()))
        return 0

    peaks: dict[PartyId, int] = {}

    def observe(record: object) -> None:
        for party in parties:
            peaks[party.id] = max(peaks.get(party.id, 0), vectors(vars(party)))

    watched = Watched(2, threshold=2, public_keys=backend.public_keys)
    result, _ = playing.run(watched, conditions=Conditions(observe=observe))
    playing.expect(result)
    assert peaks == {SERVER: 1, aggregator(0): 2, aggregator(1): 1}
