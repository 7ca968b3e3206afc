"""mpc.party: messages with one encoding, and machines that follow their tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError, PeerError
from mpc.party import SERVER, Message, Party, PartyId, Role, StateMachine, client_id, overhead
from mpc.wire import Reader

numbers = st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2, unique=True).map(sorted)
party_ids = st.builds(PartyId, st.sampled_from(Role), st.integers(0, 2**32 - 1))
messages = st.builds(
    lambda numbers, **fields: Message(**fields, part=numbers[0], parts=numbers[1]),
    numbers=st.just([0, 1]) | numbers,
    session=st.binary(min_size=16, max_size=16),
    round=st.integers(0, 2**32 - 1),
    phase=st.text(st.characters(max_codepoint=127), max_size=30),
    sender=party_ids,
    receiver=party_ids,
    payload=st.binary(max_size=80),
    tag=st.binary(max_size=40),
)
EXAMPLE = Message(bytes(range(16)), 7, "phase", client_id(3), SERVER, b"payload", b"tag")


@given(messages)
def test_messages_decode_to_themselves(message: Message) -> None:
    data = message.encode()
    found = Message.decode(data)
    assert replace(found, payload=bytes(found.payload)) == message
    assert found.encode() == data
    assert message.size == len(data) == overhead(message.phase, len(message.tag)) + len(message.payload)
    assert data.startswith(message.header())


@given(messages, messages)
def test_header_and_payload_are_unambiguous(one: Message, other: Message) -> None:
    """What a link authenticates is header ‖ payload: two messages never share it."""
    if (one.header() + bytes(one.payload)) == (other.header() + bytes(other.payload)):
        assert replace(one, tag=b"") == replace(other, tag=b"")


@given(st.binary(max_size=120))
def test_random_bytes_are_no_message_or_that_message(data: bytes) -> None:
    try:
        message = Message.decode(data)
    except DecodeError:
        return
    assert message.encode() == data


def test_every_cut_and_every_extension_is_refused() -> None:
    data = EXAMPLE.encode()
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            Message.decode(data[:size])
    with pytest.raises(DecodeError, match="1 bytes after the end"):
        Message.decode(data + b"\0")


def test_a_changed_byte_never_decodes_to_the_same_message() -> None:
    data = EXAMPLE.encode()
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            found = Message.decode(changed)
        except DecodeError:
            continue
        assert replace(found, payload=bytes(found.payload)) != EXAMPLE


def test_other_versions_and_roles_are_refused() -> None:
    data = bytearray(EXAMPLE.encode())
    data[0] = 2
    with pytest.raises(DecodeError, match="message version 2, where 1 is known"):
        Message.decode(data)
    data[0] = 1
    role = 1 + 16 + 4 + 1 + len("phase")
    assert data[role] == Role.CLIENT
    data[role] = 9
    with pytest.raises(DecodeError, match="role 9 is not in the list"):
        Message.decode(data)


def test_the_header_is_part_of_the_wire() -> None:
    """Written out by hand: version, session, round, phase, sender, receiver, part and parts, length."""
    header = b"\1" + bytes(range(16)) + b"\7\0\0\0" + b"\5phase" + b"\1\3\0\0\0" + b"\2\0\0\0\0"
    payload = b"\7\0\0\0" + b"payload"
    assert EXAMPLE.encode() == header + b"\0\0\0\0\1\0\0\0" + payload + b"\3tag"
    part = replace(EXAMPLE, part=258, parts=65536)
    assert part.encode() == header + b"\2\1\0\0\0\0\1\0" + payload + b"\3tag"


@pytest.mark.parametrize(
    ("part", "parts"), [(0, 0), (1, 1), (1, 0), (5, 5), (2**32 - 1, 1), (2**32 - 1, 2**32 - 1)]
)
def test_parts_that_cannot_be_are_refused(part: int, parts: int) -> None:
    with pytest.raises(DecodeError, match=f"part {part} of {parts}: parts are numbered from 0"):
        Message.decode(replace(EXAMPLE, part=part, parts=parts).encode())


def test_messages_are_frozen_and_do_not_show_their_content() -> None:
    assert repr(EXAMPLE) == "Message(phase, round 7, client 3 to server, <7 bytes>)"
    part = replace(EXAMPLE, part=1, parts=3)
    assert repr(part) == "Message(phase, round 7, client 3 to server, part 1 of 3, <7 bytes>)"
    with pytest.raises(FrozenInstanceError):
        EXAMPLE.round = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("party", "name"),
    [
        (SERVER, "server"),
        (client_id(0), "client 0"),
        (PartyId(Role.AGGREGATOR, 2), "aggregator 2"),
        (PartyId(Role.KEY_HOLDER), "key holder 0"),
        (PartyId(Role.DEALER), "dealer 0"),
    ],
)
def test_parties_have_names(party: PartyId, name: str) -> None:
    assert str(party) == name


def test_role_numbers_are_part_of_the_wire() -> None:
    assert {role.name: int(role) for role in Role} == {
        "CLIENT": 1,
        "SERVER": 2,
        "AGGREGATOR": 3,
        "KEY_HOLDER": 4,
        "DEALER": 5,
    }


class Door(StateMachine):
    """Opens on a knock of two bytes, closes on a push."""

    result: None = None
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        ("closed", "knock"): "_on_knock",
        ("open", "push"): "_on_push",
        ("closed", "bell"): "_on_bell",
    }
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        ("closed", "open"): "knock",
        ("open", "closed"): "push",
    }

    def __init__(self) -> None:
        super().__init__("closed")

    @property
    def id(self) -> PartyId:
        return SERVER

    def start(self) -> list[Message]:
        return []

    def _on_knock(self, message: Message) -> list[Message]:
        reader = Reader(message.payload)
        reader.u16()
        reader.finish()
        self.state = "open"
        return [replace(EXAMPLE, sender=SERVER, receiver=message.sender)]

    def _on_push(self, message: Message) -> list[Message]:
        self.state = "closed"
        return []

    def _on_bell(self, message: Message) -> list[Message]:
        raise PeerError(message.sender, message.phase, "nobody rings here")


def knock(payload: bytes = b"..", phase: str = "knock") -> Message:
    return replace(EXAMPLE, phase=phase, payload=payload)


def test_a_machine_follows_its_table() -> None:
    door = Door()
    assert [reply.receiver for reply in door.receive(knock())] == [client_id(3)]
    assert door.state == "open"
    assert door.receive(knock(phase="push")) == []
    assert door.state == "closed"
    assert door.expire() == []
    assert isinstance(door, Party)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (knock(phase="push"), "not expected in state 'closed'"),
        (knock(phase="no such phase"), "not expected in state 'closed'"),
        (knock(b"..."), "1 bytes after the end"),
        (knock(b"."), "ends after 1 bytes"),
        (knock(phase="bell"), "nobody rings here"),
    ],
)
def test_after_a_fault_a_machine_answers_nothing(message: Message, reason: str) -> None:
    door = Door()
    with pytest.raises(PeerError, match=reason) as caught:
        door.receive(message)
    assert (caught.value.party, caught.value.phase) == (client_id(3), message.phase)
    assert door.state == "refused"
    with pytest.raises(PeerError, match="not expected in state 'refused'"):
        door.receive(knock())


def test_a_message_for_somebody_else_is_the_drivers_mistake() -> None:
    door = Door()
    with pytest.raises(LocalError, match=r"message.receiver is 'client 1': this party is server"):
        door.receive(replace(knock(), receiver=client_id(1)))
    assert door.state == "closed"
