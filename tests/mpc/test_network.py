"""mpc.network: messages move here and nowhere else, and the run always ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from mpc.errors import LocalError, PeerError
from mpc.network import Network
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.tape import SeededTape
from mpc.transcript import Record, Transcript

PHASES = ("first", "second", "third")


def message(phase: str, sender: PartyId, receiver: PartyId, payload: bytes = b"") -> Message:
    return Message(bytes(16), 0, phase, sender, receiver, payload)


class Scripted:
    """Says ``opening`` at the start, ``answers[phase]`` whenever it hears one, ``last`` at deadlines."""

    def __init__(
        self,
        who: PartyId,
        opening: list[Message] | None = None,
        answers: Mapping[str, list[Message]] | None = None,
        last: list[list[Message]] | None = None,
    ) -> None:
        self.id = who
        self.result = None
        self.opening = opening or []
        self.answers = answers or {}
        self.last = last or []
        self.heard: list[Message] = []
        self.deadlines = 0

    def start(self) -> list[Message]:
        return self.opening

    def receive(self, message: Message) -> list[Message]:
        self.heard.append(message)
        return self.answers.get(message.phase, [])

    def expire(self) -> list[Message]:
        self.deadlines += 1
        return self.last.pop(0) if self.last else []


class Refuses(Scripted):
    def receive(self, message: Message) -> list[Message]:
        raise PeerError(message.sender, message.phase, "I do not like it")


def network(*parties: Scripted, **options: object) -> Network:
    return Network({party.id: party for party in parties}, PHASES, **options)  # type: ignore[arg-type]


def greeting(index: int, payload: bytes = b"") -> Message:
    return message("first", client_id(index), SERVER, payload)


def test_messages_are_delivered_in_order_and_answered() -> None:
    server = Scripted(SERVER, answers={"first": [message("second", SERVER, client_id(0))]})
    clients = [Scripted(client_id(index), [greeting(index)]) for index in range(3)]
    transcript = network(server, *clients).run()
    assert [m.sender.index for m in server.heard] == [0, 1, 2]
    assert len(clients[0].heard) == 3
    assert [record.fate for record in transcript.records] == ["delivered"] * 6
    assert [record.step for record in transcript.records] == list(range(6))


def test_messages_to_servers_and_helpers_go_first() -> None:
    """So that few large inputs are under way at a time."""
    helper = PartyId(Role.AGGREGATOR, 0)
    replies = [message("second", SERVER, client_id(0)), message("second", SERVER, helper)]
    server = Scripted(SERVER, answers={"first": replies})
    client = Scripted(client_id(0), [greeting(0), greeting(0)])
    transcript = network(server, client, Scripted(helper)).run()
    order = [(record.phase, record.receiver.role.name) for record in transcript.records]
    to_helper = ("second", "AGGREGATOR")
    assert order == [("first", "SERVER")] * 2 + [to_helper] * 2 + [("second", "CLIENT")] * 2


@pytest.mark.parametrize(("phase", "arrive"), [("first", 0), ("second", 1), ("third", 2)])
def test_silence_from_a_phase_on(phase: str, arrive: int) -> None:
    sent = [message(name, client_id(0), SERVER) for name in PHASES]
    server = Scripted(SERVER)
    transcript = network(server, Scripted(client_id(0), sent), drop={client_id(0): phase}).run()
    assert len(server.heard) == arrive
    assert [record.fate for record in transcript.records].count("dropped") == 3 - arrive
    assert transcript.bytes_sent(client_id(0)) == sum(m.size for m in sent[:arrive])


def test_who_is_silent_hears_nothing() -> None:
    server = Scripted(SERVER, answers={"first": [message("second", SERVER, client_id(0))]})
    silent = Scripted(client_id(0), [greeting(0)])
    other = Scripted(client_id(1), [greeting(1)])
    network(server, silent, other, drop={client_id(0): "first"}).run()
    assert silent.heard == []
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("drop", "complaint"),
    [
        ({client_id(0): "fourth"}, "phase is 'fourth': must be one of first, second, third"),
        ({client_id(9): "first"}, "drop is 'client 9': names a party that is not on this network"),
    ],
)
def test_impossible_dropouts_are_refused(drop: dict[PartyId, str], complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        network(Scripted(SERVER), Scripted(client_id(0)), drop=drop)


@pytest.mark.parametrize("missed", [-1, 0, 1, 2, 3])
def test_late_messages_arrive_after_their_deadlines(missed: int) -> None:
    class Watch(Scripted):
        seen = -1

        def receive(self, message: Message) -> list[Message]:
            self.seen = self.deadlines
            return super().receive(message)

    server = Watch(SERVER)
    network(server, Scripted(client_id(0), [greeting(0)]), delay=lambda m: missed).run()
    assert len(server.heard) == 1
    assert server.seen == max(0, missed)


def test_deadlines_pass_until_nobody_has_anything_to_say() -> None:
    last = [[message("second", SERVER, client_id(0))], [], [message("third", SERVER, client_id(0))]]
    server, client = Scripted(SERVER, last=last), Scripted(client_id(0))
    network(server, client).run()
    # Silence at the second deadline ends the run.
    assert [m.phase for m in client.heard] == ["second"]
    assert server.deadlines == 2


Change = Callable[[Message], list[Message]]


@pytest.mark.parametrize(
    ("tamper", "heard", "fates"),
    [
        (lambda m: [m], [b"x"], ["delivered"]),
        (lambda m: [], [], ["tampered"]),
        (lambda m: [m, m], [b"x", b"x"], ["tampered", "delivered", "delivered"]),
        (lambda m: [replace(m, payload=b"yy")], [b"yy"], ["tampered", "delivered"]),
    ],
)
def test_tampering_is_on_record(tamper: Change, heard: list[bytes], fates: list[str]) -> None:
    server = Scripted(SERVER)
    transcript = network(server, Scripted(client_id(0), [greeting(0, b"x")]), tamper=tamper).run()
    assert [m.payload for m in server.heard] == heard
    assert [record.fate for record in transcript.records] == fates
    # What an attacker adds or removes does not change what the client has sent.
    assert transcript.bytes_sent(client_id(0)) == greeting(0, b"x").size


def test_a_message_to_nobody_is_dropped() -> None:
    transcript = network(Scripted(client_id(0), [greeting(0)])).run()
    assert [record.fate for record in transcript.records] == ["dropped"]


def test_a_phase_that_is_not_listed_is_for_the_receiver_to_refuse() -> None:
    liar = Scripted(client_id(0), [message("no such phase", client_id(0), SERVER)])
    transcript = network(Refuses(SERVER), liar, drop={client_id(0): "second"}).run()
    assert [refusal.party for refusal in transcript.refusals] == [SERVER]


def test_refusals_are_on_record_and_the_run_goes_on() -> None:
    server = Refuses(SERVER)
    clients = [Scripted(client_id(index), [greeting(index)]) for index in range(2)]
    refusals = network(server, *clients).run().refusals
    assert [(r.party, r.error.party, r.error.reason) for r in refusals] == [
        (SERVER, client_id(0), "I do not like it"),
        (SERVER, client_id(1), "I do not like it"),
    ]


def test_every_order_comes_up() -> None:
    """Three messages, drawn by tape: all six orders, each about as often."""
    counts: dict[tuple[int, ...], int] = {}
    for number in range(600):
        server = Scripted(SERVER)
        clients = [Scripted(client_id(index), [greeting(index)]) for index in range(3)]
        network(server, *clients, shuffle=SeededTape(str(number).encode())).run()
        order = tuple(m.sender.index for m in server.heard)
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    # Mean 100, standard deviation 9.1: five of them either way.
    assert all(54 <= count <= 146 for count in counts.values())


def test_a_clock_times_phases_and_roles() -> None:
    now = iter(range(1000))
    server = Scripted(SERVER, answers={"first": [message("second", SERVER, client_id(0))]})
    client = Scripted(client_id(0), [greeting(0)])
    transcript = network(server, client, clock=lambda: float(next(now))).run()
    assert transcript.seconds == {
        ("first", Role.CLIENT): 1.0,
        ("first", Role.SERVER): 1.0,
        ("second", Role.CLIENT): 1.0,
    }


def test_without_a_clock_nothing_is_timed() -> None:
    assert network(Scripted(SERVER), Scripted(client_id(0), [greeting(0)])).run().seconds == {}


def test_an_observer_sees_each_record_as_it_is_made() -> None:
    seen: list[Record] = []
    transcript: Transcript = network(
        Scripted(SERVER), Scripted(client_id(0), [greeting(0)]), observe=seen.append
    ).run()
    assert seen == transcript.records


def test_nobody_speaks_in_anothers_name_or_to_itself() -> None:
    server = Scripted(SERVER)
    liar = Scripted(client_id(0), [greeting(1), message("first", client_id(0), client_id(0)), greeting(0)])
    transcript = network(server, liar, Scripted(client_id(1))).run()
    assert [m.sender for m in server.heard] == [client_id(0)]
    assert [record.fate for record in transcript.records] == ["forged", "forged", "delivered"]
    assert liar.heard == []


class Chatters(Scripted):
    """Speaks at every deadline, and answers whatever it hears."""

    def receive(self, message: Message) -> list[Message]:
        self.heard.append(message)
        return [greeting(self.id.index)] if self.id != SERVER else []

    def expire(self) -> list[Message]:
        return [greeting(self.id.index)]


def in_parts(first: Message, parts: int) -> list[Message]:
    return [replace(first, part=part, parts=parts) for part in range(parts)]


def test_parts_in_a_row_are_one_message() -> None:
    """As many messages as the bound lets through, each in 50 parts, and one more."""
    bound = 16 * 2 * len(PHASES)
    server = Scripted(SERVER)
    sent = [part for _ in range(bound + 1) for part in in_parts(greeting(0), 50)]
    transcript = network(server, Scripted(client_id(0), sent)).run()
    assert len(server.heard) == 50 * bound
    assert [record.fate for record in transcript.records].count("dropped") == 50


@pytest.mark.parametrize(
    "lie",
    [
        lambda number: [replace(greeting(0), part=number, parts=2**32 - 1)],
        lambda number: [replace(greeting(0), part=0, parts=2)],
        lambda number: in_parts(greeting(0), 3)[::-1],
        lambda number: [message("first", client_id(number % 2 + 1), SERVER)],
        lambda number: [message("first", client_id(0), client_id(0))],
    ],
    ids=["one part after the other", "first parts", "backwards", "in others' names", "to itself"],
)
def test_a_liar_that_never_stops_is_silenced_whatever_it_sends(lie: Callable[[int], list[Message]]) -> None:
    class Endless(Scripted):
        def expire(self) -> list[Message]:
            self.deadlines += 1
            return lie(self.deadlines)

    bound = 16 * 4 * len(PHASES)
    liar = Endless(client_id(0))
    others = [Scripted(client_id(1)), Scripted(client_id(2))]
    transcript = network(Scripted(SERVER), liar, *others).run()
    assert bound <= len(transcript.records) <= bound + 6
    assert liar.deadlines <= bound + 2


def test_a_party_that_never_stops_speaking_is_silenced() -> None:
    server = Scripted(SERVER, answers={"first": [message("second", SERVER, client_id(0))]})
    transcript = network(server, Chatters(client_id(0)), Scripted(client_id(1))).run()
    assert len(server.heard) == 16 * 3 * len(PHASES)
    assert transcript.records[-1].fate == "dropped"


def test_two_that_never_stop_answering_each_other_are_silenced() -> None:
    answers = {"first": [message("first", client_id(0), client_id(1))]}
    one = Scripted(client_id(0), answers["first"], answers)
    other = Scripted(client_id(1), answers={"first": [message("first", client_id(1), client_id(0))]})
    assert len(network(one, other).run().records) < 16 * 2 * len(PHASES) * 3
