"""What a masking client makes of messages out of order, cut, or from elsewhere (spec section 12.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mpc.errors import PeerError
from secagg.masking.messages import PHASES
from tests.secagg.masking.room import DOWNWARDS, Room

WAITS = dict(zip(DOWNWARDS, ("advertised", "shared", "masked", "attested"), strict=True))
EXPECTED = {*((due, due) for due in WAITS), ("consistency", "check")}
OUT_OF_ORDER = [(d, p) for d in WAITS for p in (*PHASES, "no such phase") if (d, p) not in EXPECTED]


@pytest.mark.parametrize(("due", "phase"), OUT_OF_ORDER)
def test_phases_out_of_order(room: Room, due: str, phase: str) -> None:
    room.go_to(due)
    payload = room.honest(phase) if phase in DOWNWARDS else b""
    room.refuses(phase, payload, f"not expected in state '{WAITS[due]}'")


@pytest.mark.parametrize("due", WAITS)
def test_every_cut_and_extension_of_what_the_server_sends(
    rooms: Callable[..., Room], graph: str, due: str
) -> None:
    def fresh() -> tuple[Room, bytes]:
        room = rooms(graph)
        room.go_to(due)
        return room, room.honest(due)

    size = len(fresh()[1])
    reasons = r"ends after|leaves me out|another cohort|has \d+ clients|Merkle proof of another length"
    for cut in {*range(0, size, max(1, size // 9)), size - 1}:
        room, payload = fresh()
        with pytest.raises(PeerError, match=reasons):
            room.send(due, payload[:cut])
        assert room.client.state == "refused"
    room, payload = fresh()
    room.refuses(due, payload + b"\0", "1 bytes after the end|Merkle proof of another length")


@pytest.mark.parametrize("due", WAITS)
def test_a_set_beyond_the_cohort(room: Room, due: str) -> None:
    room.go_to(due)
    start = 64 if due == "share-keys" else 0
    size = len(room.holders) if due == "unmask" else room.n
    payload = bytearray(room.honest(due))
    payload[start + size // 8] |= 1 << size % 8
    room.refuses(due, bytes(payload), f"a bitmap over {size} members has a bit set beyond them")


@pytest.mark.parametrize("due", WAITS)
@pytest.mark.parametrize("changes", [{"round": 8}, {"session": bytes(16)}], ids=str)
def test_messages_of_another_round_or_session_change_nothing(
    room: Room, due: str, changes: dict[str, Any]
) -> None:
    room.go_to(due)
    foreign = room.link.close(replace(room.message(due, room.honest(due)), **changes))
    with pytest.raises(PeerError, match="replayed: belongs to"):
        room.party.receive(foreign)
    assert len(room.send(due, room.honest(due))) == 1


@pytest.mark.parametrize("due", WAITS)
def test_tampered_messages_change_nothing(room: Room, due: str) -> None:
    room.go_to(due)
    message = room.link.close(room.message(due, room.honest(due)))
    with pytest.raises(PeerError, match="tampered"):
        room.party.receive(replace(message, payload=bytes(len(message.payload))))
    assert len(room.party.receive(message)) == 1


@pytest.mark.parametrize("due", WAITS)
def test_the_same_message_delivered_twice_is_answered_once(room: Room, due: str) -> None:
    room.go_to(due)
    message = room.link.close(room.message(due, room.honest(due)))
    assert len(room.party.receive(message)) == 1
    state = room.client.state
    assert room.party.receive(message) == []
    assert room.client.state == state


def test_the_input_is_forgotten_once_it_is_masked(room: Room) -> None:
    room.go_to("unmask")
    assert room.client._vector.size == 0


def test_a_share_for_each_holder_is_kept_until_it_is_revealed_and_no_longer(room: Room) -> None:
    room.go_to("unmask")
    assert set(room.client._held) == set(room.holders)
    room.send("unmask", room.tags())
    assert room.client._held == {}
