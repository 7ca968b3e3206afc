"""secagg.link: what arrives is what was sent, once, in this round, by that sender."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mpc.errors import PeerError
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.tape import SeededTape
from secagg import InsecurePlain, Reject
from secagg.checks.base import Check
from secagg.link import TAG_BYTES, Duplicate, Link, LinkedServer

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


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_keys_of_small_order_are_refused(cohort: Any, rig: SimpleNamespace, point: bytes) -> None:
    with pytest.raises(PeerError, match="its link key is a point of small order"):
        Link(cohort, client_id(1), rig.link_key, point, serves=True, tape=SeededTape(b"server"))


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
