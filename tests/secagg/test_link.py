"""secagg.link: what arrives is what was sent, once, in this round, by that sender."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mpc.errors import LocalError, PeerError
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.tape import RecordedTape, SeededTape
from secagg import InsecurePlain, Reject
from secagg.checks.base import Check
from secagg.link import TAG_BYTES, Duplicate, Link, LinkedParty, part_room
from secagg.linkedserver import LinkedServer
from secagg.parts import cut

CLIENT = client_id(1)
CLIENT_KEY = SeededTape(b"client").read(32)


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


@pytest.fixture
def cohort(rig: SimpleNamespace) -> Any:
    return rig.cohort(InsecurePlain(), 4, 3, 16)


def ends(cohort: Any, rig: SimpleNamespace, peer: PartyId = CLIENT) -> tuple[Link, Link]:
    """The client's end, and the server's."""
    return (
        Link(cohort, peer, CLIENT_KEY, cohort.server_key, serves=False, tape=SeededTape(b"client")),
        Link(cohort, peer, rig.link_key, public(CLIENT_KEY), serves=True, tape=SeededTape(b"server")),
    )


def message(cohort: Any, payload: bytes = b"payload", upwards: bool = True) -> Message:
    one, other = (client_id(1), SERVER) if upwards else (SERVER, client_id(1))
    return Message(cohort.session, cohort.round, "plain-input", one, other, payload)


@pytest.mark.parametrize("payload", [b"", b"x", bytes(1000)])
def test_both_directions(cohort: Any, rig: SimpleNamespace, payload: bytes) -> None:
    client, server = ends(cohort, rig)
    for sender, receiver, upwards in ((client, server, True), (server, client, False)) * 3:
        sent = sender.close(message(cohort, payload, upwards))
        assert len(sent.tag) == TAG_BYTES
        receiver.open(sent)


CHANGES: list[Callable[[Message], Message]] = [
    lambda m: replace(m, payload=b"Payload"),
    lambda m: replace(m, payload=b"payloa"),
    lambda m: replace(m, payload=b"payload\0"),
    lambda m: replace(m, payload=b""),
    lambda m: replace(m, phase="plain-inpuu"),
    lambda m: replace(m, phase="plain-inpu"),
    lambda m: replace(m, phase="plain-inputp", payload=b"ayload"),
    lambda m: replace(m, sender=client_id(2)),
    lambda m: replace(m, sender=PartyId(Role.AGGREGATOR, 1)),
    lambda m: replace(m, receiver=client_id(0)),
    lambda m: replace(m, part=1),
    lambda m: replace(m, parts=2),
    lambda m: replace(m, part=1, parts=2),
    lambda m: replace(m, tag=m.tag[:-1]),
    lambda m: replace(m, tag=m.tag + b"\0"),
    lambda m: replace(m, tag=b""),
    lambda m: replace(m, tag=bytes(20)),
    lambda m: replace(m, tag=b"\1" + m.tag[1:]),
    lambda m: replace(m, tag=m.tag[:-1] + bytes([m.tag[-1] ^ 1])),
]


@pytest.mark.parametrize("place", range(len(CHANGES)))
def test_anything_altered_is_refused(cohort: Any, rig: SimpleNamespace, place: int) -> None:
    client, server = ends(cohort, rig)
    sent = client.close(message(cohort))
    with pytest.raises(PeerError, match="tampered: the link tag does not match"):
        server.open(CHANGES[place](sent))
    server.open(sent)


def test_another_round_or_session_is_called_by_its_name(cohort: Any, rig: SimpleNamespace) -> None:
    client, server = ends(cohort, rig)
    sent = client.close(message(cohort))
    with pytest.raises(PeerError, match="replayed: belongs to another session"):
        server.open(replace(sent, session=bytes(16)))
    with pytest.raises(PeerError, match="replayed: belongs to round 9, not 3"):
        server.open(replace(sent, round=9))


def test_a_message_does_not_come_back(cohort: Any, rig: SimpleNamespace) -> None:
    """The two directions have keys of their own."""
    client, _ = ends(cohort, rig)
    with pytest.raises(PeerError, match="tampered"):
        client.open(client.close(message(cohort)))


@pytest.mark.parametrize(
    "changes",
    [{"model_hash": bytes(32)}, {"threshold": 2}, {"length": 4}, {"bits": 15}, {"members": tuple("abcd")}],
    ids=str,
)
def test_ends_that_disagree_about_the_cohort_do_not_understand_each_other(
    cohort: Any, rig: SimpleNamespace, changes: dict[str, Any]
) -> None:
    client, _ = ends(replace(cohort, **changes), rig)
    _, server = ends(cohort, rig)
    with pytest.raises(PeerError, match="tampered"):
        server.open(client.close(message(cohort)))


def test_a_link_is_bound_to_its_end(cohort: Any, rig: SimpleNamespace) -> None:
    """The same key pair used by two parties gives two links."""
    client, _ = ends(cohort, rig, client_id(1))
    for peer in (client_id(2), PartyId(Role.AGGREGATOR, 1)):
        _, server = ends(cohort, rig, peer)
        with pytest.raises(PeerError, match="tampered"):
            server.open(client.close(message(cohort)))


def test_a_message_is_let_through_once(cohort: Any, rig: SimpleNamespace) -> None:
    client, server = ends(cohort, rig)
    first, second = client.close(message(cohort)), client.close(message(cohort))
    assert first.tag != second.tag
    server.open(second)
    server.open(first)
    for again in (first, second, first):
        with pytest.raises(Duplicate):
            server.open(again)


def test_no_nonce_twice(cohort: Any, rig: SimpleNamespace) -> None:
    client, server = ends(cohort, rig)
    nonces = [client.close(message(cohort)).tag[:12] for _ in range(300)]
    assert len(set(nonces)) == 300
    assert {nonce[:8] for nonce in nonces} == {nonces[0][:8]}
    # Who starts again has the same keys: another salt keeps the nonces apart.
    again = Link(cohort, client_id(1), CLIENT_KEY, cohort.server_key, serves=False, tape=SeededTape(b"again"))
    assert again.close(message(cohort)).tag[:8] != nonces[0][:8]
    assert server.close(message(cohort, upwards=False)).tag[:8] != nonces[0][:8]


def test_a_link_that_has_used_all_its_nonces_sends_nothing_more(cohort: Any, rig: SimpleNamespace) -> None:
    client, server = ends(cohort, rig)
    client._sent = 2**32 - 1
    server.open(client.close(message(cohort)))
    with pytest.raises(LocalError, match="messages on a link is 4294967296: there is no further nonce"):
        client.close(message(cohort))


def test_parts_name_the_message_that_they_are_part_of(cohort: Any, rig: SimpleNamespace) -> None:
    client, server = ends(cohort, rig)
    long = message(cohort, bytes(2500))
    sent = [client.close(part) for one in (long, message(cohort), long) for part in cut(one, 1000)]
    assert len({one.tag[:12] for one in sent}) == 7
    found = [server.open(one) for one in sent]
    assert [number for _, number in found] == [0, 0, 0, 3, 4, 4, 4]
    assert {salt for salt, _ in found} == {sent[0].tag[:8]}


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_keys_of_small_order_are_refused(cohort: Any, rig: SimpleNamespace, point: bytes) -> None:
    with pytest.raises(PeerError, match="its link key is a point of small order"):
        Link(cohort, client_id(1), rig.link_key, point, serves=True, tape=SeededTape(b"server"))


def test_who_has_the_other_end_cannot_speak_in_anothers_name(cohort: Any, rig: SimpleNamespace) -> None:
    inner = InsecurePlain()._client(cohort, "c1", np.zeros(3, np.int64), (), SeededTape(b"inner"))
    party = LinkedParty.client(inner, cohort, SeededTape(b"client"))
    (greeting,) = party.start()
    server = Link(
        cohort, CLIENT, rig.link_key, bytes(greeting.payload[:32]), serves=True, tape=SeededTape(b"server")
    )
    forged = replace(message(cohort, upwards=False), sender=client_id(3), phase="check")
    with pytest.raises(PeerError, match="server in phase 'check': speaks in the name of client 3"):
        party.receive(server.close(forged))


def test_a_link_shows_nothing_of_itself(cohort: Any, rig: SimpleNamespace) -> None:
    assert repr(ends(cohort, rig)[0]) == "Link(<secret>)"


class TestServer:
    """The server's end of all links, before and after a client has greeted it."""

    @pytest.fixture
    def server(self, cohort: Any, rig: SimpleNamespace) -> LinkedServer:
        return InsecurePlain().server(cohort, link_key=rig.link_key, tape=SeededTape(b""))  # type: ignore[return-value]

    def first(self, cohort: Any, index: int = 1, value: int = 5) -> Message:
        vector = np.full(3, value, np.int64)
        client = InsecurePlain().client(
            cohort, f"c{index}", vector, tape=SeededTape(f"client {index}".encode())
        )
        return client.start()[0]

    def suspicion(self, server: LinkedServer, index: int) -> str | None:
        found = server._inner._suspected.get(index)
        return found and found.reason

    @pytest.mark.parametrize("size", [0, 1, 31])
    def test_too_short_to_greet(self, server: LinkedServer, cohort: Any, size: int) -> None:
        assert server.receive(replace(self.first(cohort), payload=bytes(size))) == []
        assert self.suspicion(server, 1) == "its first message is too short to hold a link key"

    def test_greeting_of_small_order(self, server: LinkedServer, cohort: Any) -> None:
        first = self.first(cohort)
        assert server.receive(replace(first, payload=bytes(32) + first.payload[32:])) == []
        assert self.suspicion(server, 1) == "its link key is a point of small order"

    def test_altered_greeting(self, server: LinkedServer, cohort: Any) -> None:
        first = self.first(cohort)
        changed = bytes([first.payload[0] ^ 1]) + first.payload[1:]
        server.receive(replace(first, payload=changed))
        assert self.suspicion(server, 1) == "tampered: the link tag does not match"
        server.receive(first)
        assert server._inner._heard == {1}

    @pytest.mark.parametrize(
        "sender",
        [client_id(4), client_id(2**32 - 1), SERVER, PartyId(Role.AGGREGATOR), PartyId(Role.KEY_HOLDER)],
    )
    def test_strangers(self, server: LinkedServer, cohort: Any, sender: PartyId) -> None:
        assert server.receive(replace(self.first(cohort), sender=sender)) == []
        assert server._inner._heard == set()
        assert server._inner._suspected == {}
        assert server._inner.rejected == {}

    def test_the_first_key_stays(self, server: LinkedServer, cohort: Any) -> None:
        """Whoever greets later in the same name, with a key of its own, is not let in."""
        server.receive(self.first(cohort, value=5))
        other = InsecurePlain().client(cohort, "c1", np.full(3, 9, np.int64), tape=SeededTape(b"other"))
        assert server.receive(other.start()[0]) == []
        assert self.suspicion(server, 1) == "tampered: the link tag does not match"
        for index in (0, 2, 3):
            server.receive(self.first(cohort, index))
        assert server.result is not None
        assert server.result.total.tolist() == [20, 20, 20]
        assert server.result.rejected == {}

    def test_a_repeated_greeting_counts_once(self, server: LinkedServer, cohort: Any) -> None:
        for _ in range(3):
            assert server.receive(self.first(cohort)) == []
        assert server._inner._sum.tolist() == [5, 5, 5]

    def test_payloads_as_they_come_off_the_wire(self, server: LinkedServer, cohort: Any) -> None:
        for index in range(4):
            server.receive(Message.decode(self.first(cohort, index).encode()))
        assert server.result is not None
        assert server.result.total.tolist() == [20, 20, 20]


class TestParts:
    """A first message in three parts, whatever happens to them on the way."""

    LENGTH = 1200
    LIMIT = 1024

    @pytest.fixture
    def cohort(self, rig: SimpleNamespace) -> Any:
        return rig.cohort(InsecurePlain(), 4, self.LENGTH, 16)

    @pytest.fixture
    def server(self, cohort: Any, rig: SimpleNamespace) -> LinkedServer:
        return InsecurePlain().server(cohort, link_key=rig.link_key, tape=SeededTape(b""))  # type: ignore[return-value]

    def client(self, cohort: Any, index: int, tape: bytes = b"", limit: int = LIMIT) -> LinkedParty[None]:
        vector = np.arange(self.LENGTH) + index
        own = SeededTape(tape or f"client {index}".encode())
        return InsecurePlain(max_message_bytes=limit).client(cohort, f"c{index}", vector, tape=own)  # type: ignore[return-value]

    def parts(self, cohort: Any, index: int = 1, tape: bytes = b"") -> list[Message]:
        return self.client(cohort, index, tape).start()

    def suspicion(self, server: LinkedServer) -> str | None:
        found = server._inner._suspected.get(1)
        return found and found.reason

    def finish(self, server: LinkedServer, cohort: Any) -> Any:
        """All others send theirs, and a deadline passes."""
        for index in (0, 2, 3):
            for part in self.parts(cohort, index):
                server.receive(part)
        server.expire()
        assert server.result is not None
        indices = np.array(server.result.survivors)
        assert np.array_equal(server.result.total, len(indices) * np.arange(self.LENGTH) + indices.sum())
        return server.result

    def test_each_part_has_a_tag_and_greets_and_keeps_the_limit(self, cohort: Any) -> None:
        parts = self.parts(cohort)
        assert [(part.part, part.parts) for part in parts] == [(0, 3), (1, 3), (2, 3)]
        assert [part.size for part in parts[:2]] == [self.LIMIT] * 2
        assert parts[2].size <= self.LIMIT
        assert len({part.tag for part in parts}) == 3
        assert len({bytes(part.payload[:32]) for part in parts}) == 1
        (whole,) = self.client(cohort, 1, limit=1 << 12).start()
        assert b"".join(bytes(part.payload[32:]) for part in parts) == whole.payload[32:]

    @pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
    def test_in_any_order_as_they_come_off_the_wire(
        self, server: LinkedServer, cohort: Any, order: tuple[int, ...]
    ) -> None:
        parts = self.parts(cohort)
        for place in order:
            assert server._inner._heard == set()
            assert server.receive(Message.decode(parts[place].encode())) == []
        assert server._inner._heard == {1}
        assert self.finish(server, cohort).survivors == (0, 1, 2, 3)

    def test_repeated_parts_count_once(self, server: LinkedServer, cohort: Any) -> None:
        parts = self.parts(cohort)
        for part in (parts[0], parts[0], parts[1], parts[0], parts[1]):
            server.receive(part)
        assert server._inner._heard == set()
        for part in (parts[2], *parts):
            server.receive(part)
        result = self.finish(server, cohort)
        assert (result.survivors, result.rejected) == ((0, 1, 2, 3), {})

    @pytest.mark.parametrize("place", range(3))
    @pytest.mark.parametrize(
        "change",
        [
            lambda m: replace(m, payload=bytes(m.payload[:-1]) + b"\xff"),
            lambda m: replace(m, part=(m.part + 1) % 3),
            lambda m: replace(m, parts=4),
            lambda m: replace(m, part=0, parts=1),
            lambda m: replace(m, tag=m.tag[:-1] + b"?"),
        ],
        ids=["payload", "part", "parts", "whole", "tag"],
    )
    def test_an_altered_part_is_a_lost_part(
        self, server: LinkedServer, cohort: Any, place: int, change: Callable[[Message], Message]
    ) -> None:
        parts = self.parts(cohort)
        for one in parts:
            server.receive(change(one) if one.part == place else one)
        assert self.suspicion(server) == "tampered: the link tag does not match"
        result = self.finish(server, cohort)
        assert result.survivors == (0, 2, 3)
        rejection = result.rejected[1]
        # The reason is why the part is missing, and not that it is.
        assert (rejection.check, rejection.reason) == ("link", "tampered: the link tag does not match")

    def test_an_intact_copy_of_an_altered_part_heals_it(self, server: LinkedServer, cohort: Any) -> None:
        for part in self.parts(cohort):
            server.receive(replace(part, payload=bytes(len(part.payload))))
            server.receive(part)
        result = self.finish(server, cohort)
        assert (result.survivors, result.rejected) == ((0, 1, 2, 3), {})

    @pytest.mark.parametrize("changes", [{"round": 2}, {"session": b"another session!"}], ids=str)
    def test_parts_of_another_round_are_called_by_their_name(
        self, server: LinkedServer, cohort: Any, changes: dict[str, Any]
    ) -> None:
        old, parts = self.parts(replace(cohort, **changes)), self.parts(cohort)
        for part in (parts[0], old[1], parts[2]):
            server.receive(part)
        result = self.finish(server, cohort)
        assert result.rejected[1].reason.startswith("replayed: belongs to ")

    def test_parts_of_an_earlier_run_of_this_round(self, server: LinkedServer, cohort: Any) -> None:
        """Same cohort, another link key: whose part comes first has the link, as in one part."""
        old, parts = self.parts(cohort, tape=b"earlier"), self.parts(cohort)
        for part in (parts[1], old[0], old[2], parts[0]):
            server.receive(part)
        assert self.suspicion(server) == "tampered: the link tag does not match"
        server.receive(parts[2])
        assert self.finish(server, cohort).survivors == (0, 1, 2, 3)

    @pytest.mark.parametrize("missing", range(3))
    def test_what_is_never_complete_is_a_dropout(
        self, server: LinkedServer, cohort: Any, missing: int
    ) -> None:
        parts = self.parts(cohort)
        for part in parts:
            if part.part != missing:
                server.receive(part)
        result = self.finish(server, cohort)
        assert result.survivors == (0, 2, 3)
        assert result.rejected[1].check == "link"
        assert result.rejected[1].reason == "incomplete: 2 of 3 parts arrived before the deadline"
        assert result.rejected[1].evidence == {"phase": "plain-input"}
        # Late, it changes nothing, and nothing is kept.
        server.receive(parts[missing])
        assert server.result is result
        assert server._assemblies[client_id(1)].give_up() == []

    def test_a_part_alone_holds_nothing_up(self, server: LinkedServer, cohort: Any) -> None:
        """Nobody waits for the rest of a message beyond the deadline."""
        server.receive(self.parts(cohort)[1])
        assert self.finish(server, cohort).survivors == (0, 2, 3)

    def test_a_sender_whose_parts_differ(self, server: LinkedServer, cohort: Any) -> None:
        client = self.client(cohort, 1)
        first, _, last = client.start()
        greeting = bytes(first.payload[:32])
        client._link._sent = 1  # its own nonces, used again
        other = client._link.close(replace(last, payload=greeting + bytes(900), part=1, parts=4, tag=b""))
        server.receive(first)
        server.receive(other)
        assert self.suspicion(server) == "its parts do not belong together"
        assert server._assemblies[client_id(1)].give_up() == []

    def test_a_sender_of_endless_parts(self, server: LinkedServer, cohort: Any) -> None:
        """All that the server ever holds of it is the 2,400 bytes that the phase has."""
        client = self.client(cohort, 1)
        first = client.start()[0]
        server.receive(first)
        for number in range(1, 60):
            client._link._sent = number
            more = client._link.close(replace(first, part=number, parts=2**32 - 1, tag=b""))
            server.receive(more)
            unfinished = server._assemblies[client_id(1)]._unfinished
            assert sum(one.size for one in unfinished.values()) <= 2 * self.LENGTH
        assert (
            self.suspicion(server) == "its parts hold more than 2400 bytes, the most in phase 'plain-input'"
        )
        assert server._inner._heard == set()

    def test_a_client_that_was_restored_sends_its_first_message_again(
        self, server: LinkedServer, cohort: Any
    ) -> None:
        """The same key, another salt: its greeting is known, and stands in front all the same."""
        lost, again = (
            InsecurePlain(max_message_bytes=self.LIMIT).client(
                cohort, "c1", np.arange(self.LENGTH) + 1, tape=RecordedTape(CLIENT_KEY + salt)
            )
            for salt in (b"12345678", b"87654321")
        )
        for part in lost.start()[:2] + again.start():
            server.receive(part)
        assert self.finish(server, cohort).survivors == (0, 1, 2, 3)


class Deaf:
    """Hears, and says nothing."""

    id = PartyId(Role.AGGREGATOR, 1)
    result = None

    def __init__(self) -> None:
        self.heard: list[Message] = []

    def receive(self, message: Message) -> list[Message]:
        self.heard.append(message)
        return []


class TestPartsForHelpers:
    """What the server sends in parts, several messages of a phase at a time."""

    @pytest.fixture
    def helper(self, cohort: Any) -> LinkedParty[None]:
        inner: Any = Deaf()
        return LinkedParty.helper(inner, cohort, CLIENT_KEY, SeededTape(b"helper"), largest=3000)

    def send(self, cohort: Any, rig: SimpleNamespace, *payloads: bytes) -> list[list[Message]]:
        link = Link(
            cohort, Deaf.id, rig.link_key, public(CLIENT_KEY), serves=True, tape=SeededTape(b"server")
        )
        plain = Message(cohort.session, cohort.round, "relay-share", SERVER, Deaf.id, b"")
        room = part_room("relay-share", 1024)
        return [[link.close(p) for p in cut(replace(plain, payload=payload), room)] for payload in payloads]

    def test_messages_of_one_phase_side_by_side(
        self, helper: LinkedParty[None], cohort: Any, rig: SimpleNamespace
    ) -> None:
        payloads = [bytes([number]) * 3000 for number in range(4)]
        rows = self.send(cohort, rig, *payloads)
        for column in zip(*rows, strict=True):
            for part in reversed(column):
                helper.receive(part)
        heard = helper._inner.heard  # type: ignore[attr-defined]
        assert [one.payload for one in heard] == payloads[::-1]
        assert {(one.part, one.parts) for one in heard} == {(0, 1)}

    def test_as_many_at_a_time_as_there_are_clients(
        self, helper: LinkedParty[None], cohort: Any, rig: SimpleNamespace
    ) -> None:
        rows = self.send(cohort, rig, *[bytes(3000)] * 9)
        for row in rows:
            helper.receive(row[0])
        assert len(helper._assembly.give_up()) == 4

    def test_what_is_longer_than_the_round_has_is_refused_by_name(
        self, helper: LinkedParty[None], cohort: Any, rig: SimpleNamespace
    ) -> None:
        (row,) = self.send(cohort, rig, bytes(3001))
        for part in row[:-1]:
            helper.receive(part)
        with pytest.raises(
            PeerError, match="server in phase 'relay-share': its parts hold more than 3000 byt"
        ):
            helper.receive(row[-1])

    def test_one_that_fits_is_handed_on_as_it_came(
        self, helper: LinkedParty[None], cohort: Any, rig: SimpleNamespace
    ) -> None:
        ((only,),) = self.send(cohort, rig, b"short")
        helper.receive(only)
        assert helper._inner.heard[0] is only  # type: ignore[attr-defined]


def test_a_client_that_is_refused_is_told_apart_from_one_whose_message_was_altered(
    rig: SimpleNamespace,
) -> None:
    class No(Check):
        name = "no"

        def on_message(self, cohort: Any, client: str, message: Message) -> Any:
            return Reject(client, "no") if client == "c0" else super().on_message(cohort, client, message)

    def alter(message: Message) -> list[Message]:
        altered = message.sender == client_id(1)
        return [replace(message, payload=message.payload[:-1] + b"\xff")] if altered else [message]

    outcome = rig.play(InsecurePlain(), rig.vectors(6, 3, 16), checks=[No()], tamper=alter)
    outcome.require_exact()
    assert {index: found.check for index, found in outcome.rejected.items()} == {0: "no", 1: "link"}
