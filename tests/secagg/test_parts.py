"""secagg.parts: cut and joined again, in any order, within bounds that a liar cannot move."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError, PeerError
from mpc.party import SERVER, Message, client_id
from mpc.tape import SeededTape
from secagg.backend import Backend
from secagg.parts import (
    MAX_MESSAGE_BYTES,
    MIN_MESSAGE_BYTES,
    MIN_PIECE_BYTES,
    Assembly,
    check_message_bytes,
    count_parts,
    cut,
    is_whole,
    most_payload,
)

OF = (b"a salt..", 7)


def message(payload: bytes = b"payload", phase: str = "input", **changes: Any) -> Message:
    return replace(Message(bytes(16), 0, phase, client_id(1), SERVER, payload, b"tag"), **changes)


def content(size: int) -> bytes:
    return SeededTape(b"content").read(size)


@given(
    size=st.integers(0, 9000),
    room=st.integers(MIN_PIECE_BYTES, 4000),
    greeting=st.sampled_from([b"", b"x" * 32, b"y" * 96]),
    data=st.data(),
)
def test_what_is_cut_is_joined_whatever_the_order(
    size: int, room: int, greeting: bytes, data: st.DataObject
) -> None:
    sent = message(content(size))
    parts = list(cut(sent, room, greeting))
    assert len(parts) == count_parts(size, room)
    assert [(part.part, part.parts) for part in parts] == [(k, len(parts)) for k in range(len(parts))]
    assert all(bytes(part.payload[: len(greeting)]) == greeting for part in parts)
    pieces = [replace(part, payload=part.payload[len(greeting) :]) for part in parts]
    assert b"".join(bytes(piece.payload) for piece in pieces) == sent.payload
    assert {len(piece.payload) for piece in pieces[:-1]} <= {room}
    assert len(pieces[-1].payload) <= room
    if len(parts) == 1:
        return
    assembly = Assembly()
    found = [assembly.add(piece, OF, size) for piece in data.draw(st.permutations(pieces))]
    assert found[:-1] == [None] * (len(parts) - 1)
    assert found[-1] == replace(sent, tag=b"")
    assert assembly.give_up() == []


@pytest.mark.parametrize(
    ("size", "parts"), [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 3)]
)
def test_how_many_parts(size: int, parts: int) -> None:
    assert count_parts(size, 1000) == parts == len(list(cut(message(bytes(size)), 1000)))


def test_what_fits_is_the_very_same_message() -> None:
    sent = message(bytes(1000))
    (found,) = cut(sent, 1000)
    assert found is sent
    assert is_whole(found)


def test_parts_are_views_and_no_copies() -> None:
    payload = np.frombuffer(content(5000), np.uint8)
    for part in cut(message(payload.data), 600):
        assert np.shares_memory(np.frombuffer(part.payload, np.uint8), payload)
        assert not is_whole(part)


def test_joining_takes_memory_for_the_message_once_beside_its_parts() -> None:
    size = 1 << 22
    parts: list[Message] = [replace(p, payload=bytes(p.payload)) for p in cut(message(bytes(size)), 1 << 12)]
    assembly = Assembly()
    tracemalloc.start()
    for part in parts:
        whole = assembly.add(part, OF, size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert whole is not None
    assert len(whole.payload) == size
    assert peak < 1.1 * size


def test_what_is_joined_cannot_be_written_to() -> None:
    one, other = cut(message(bytes(1000)), 600)
    assembly = Assembly()
    assembly.add(one, OF, 1000)
    whole = assembly.add(other, OF, 1000)
    assert whole is not None
    assert isinstance(whole.payload, memoryview)
    assert whole.payload.readonly
    assert (whole.part, whole.parts) == (0, 1)


class TestLies:
    """What an honest end never sends. Nothing is kept of it, nor of what came before it."""

    @pytest.fixture
    def parts(self) -> list[Message]:
        return list(cut(message(content(2500)), 1000))

    def refuse(self, assembly: Assembly, part: Message, reason: str, most: int = 2500) -> None:
        with pytest.raises(PeerError, match=reason) as caught:
            assembly.add(part, OF, most)
        assert (caught.value.party, caught.value.phase) == (client_id(1), part.phase)
        assert assembly.give_up() == []

    @pytest.mark.parametrize(
        "changes", [{"part": 3}, {"part": 9}, {"part": 0, "parts": 0}, {"part": 5, "parts": 1}], ids=str
    )
    def test_numbers_that_are_none(self, parts: list[Message], changes: dict[str, int]) -> None:
        self.refuse(Assembly(), replace(parts[1], **changes), "its parts do not belong together")

    @pytest.mark.parametrize("changes", [{"parts": 4}, {"parts": 2}, {"phase": "another"}], ids=str)
    def test_parts_that_differ(self, parts: list[Message], changes: dict[str, Any]) -> None:
        assembly = Assembly()
        assembly.add(parts[0], OF, 2500)
        self.refuse(assembly, replace(parts[1], **changes), "its parts do not belong together")

    @pytest.mark.parametrize("size", [0, 1, MIN_PIECE_BYTES - 1])
    def test_small_ones_in_front(self, parts: list[Message], size: int) -> None:
        short = replace(parts[1], payload=bytes(size))
        self.refuse(Assembly(), short, f"part 1 of 3 holds no more than {size} bytes")

    def test_nothing_at_the_end(self, parts: list[Message]) -> None:
        self.refuse(Assembly(), replace(parts[2], payload=b""), "part 2 of 3 holds no more than 0 bytes")

    def test_more_than_the_phase_can_need(self, parts: list[Message]) -> None:
        assembly = Assembly()
        for part in parts[:2]:
            assert assembly.add(part, OF, 2499) is None
        reason = "its parts hold more than 2499 bytes, the most in phase 'input'"
        self.refuse(assembly, parts[2], reason, most=2499)

    def test_endless_parts_are_never_more_than_the_bound(self) -> None:
        """2^32 - 1 parts are announced; all that can be held at once is what one message may have."""
        assembly, most, held, highest = Assembly(), 10_000, 0, 0
        for number in range(200):
            part = message(bytes(MIN_PIECE_BYTES), part=number, parts=2**32 - 1)
            try:
                assembly.add(part, OF, most)
            except PeerError:
                assert assembly.give_up() == []
                held = 0
            else:
                held += MIN_PIECE_BYTES
            highest = max(held, highest)
        assert most - MIN_PIECE_BYTES < highest <= most

    @pytest.mark.parametrize("messages", [1, 3])
    def test_endless_messages_make_room_for_each_other(self, messages: int) -> None:
        assembly = Assembly(messages)
        for number in range(50):
            first, _ = cut(message(bytes(1000), phase=f"phase {number}"), 600)
            assert assembly.add(first, (b"salt", 2 * number), 1000) is None
        expected = [f"phase {number}" for number in range(50 - messages, 50)]
        assert [phase for phase, _ in assembly.give_up()] == expected


def test_messages_side_by_side() -> None:
    assembly = Assembly(3)
    sent = [message(content(1500 + number), phase=f"phase {number}") for number in range(3)]
    found = []
    for row in zip(*(cut(one, 600) for one in sent), strict=True):
        for number, part in enumerate(row):
            found.append(assembly.add(part, (b"salt", 3 * number), 2000))
    assert found == [None] * 6 + [replace(one, tag=b"") for one in sent]


def test_giving_up_says_what_there_was() -> None:
    assembly = Assembly(2)
    for number, part in enumerate(cut(message(bytes(2500)), 1000)):
        if number:
            assembly.add(part, OF, 2500)
    assembly.add(next(cut(message(bytes(1200), "other"), 1000)), (b"salt", 0), 2500)
    assert assembly.give_up() == [
        ("input", "incomplete: 2 of 3 parts arrived"),
        ("other", "incomplete: 1 of 2 parts arrived"),
    ]
    assert assembly.give_up() == []


@pytest.mark.parametrize("value", [MIN_MESSAGE_BYTES, 1 << 22, 1 << 30, MAX_MESSAGE_BYTES])
def test_limits_that_there_are(make: Any, value: int) -> None:
    assert check_message_bytes(value) == value
    assert make(max_message_bytes=value).max_message_bytes == value


@pytest.mark.parametrize("value", [0, -1, 1023, 1 << 32, 2048.0, True, None, "2048"])
def test_limits_that_there_are_not(make: Any, value: Any) -> None:
    with pytest.raises(
        LocalError, match=r"max_message_bytes is .*: must be a whole number from 1024 to 4294967295"
    ):
        make(max_message_bytes=value)


def test_the_limit_is_one_gibibyte_unless_told_otherwise(backend: Backend) -> None:
    assert backend.max_message_bytes == 1 << 30


def shapes() -> Iterator[tuple[int, int, int]]:
    for members in (2, 100, 3000):
        for length in (1, 10**4, 10**9):
            for bits in (2, 16, 48):
                yield members, length, bits


def test_no_payload_of_a_backend_exceeds_what_a_link_joins(backend: Backend, rig: SimpleNamespace) -> None:
    """The bound for where no exact size is known: of everything that is sent, by anybody, to anybody."""
    for members, length, bits in shapes():
        cohort = rig.cohort(backend, members, length, bits)
        _, links = backend._cost(cohort, ())
        assert max(link.size for link in links) <= most_payload(cohort)
