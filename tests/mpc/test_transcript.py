"""mpc.transcript and mpc.cost: what crossed, and what was declared, in one shape."""

from __future__ import annotations

from mpc.cost import Cost, LinkCost
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.transcript import Link, Traffic, Transcript


def message(phase: str, sender: PartyId, receiver: PartyId, size: int) -> Message:
    bare = Message(bytes(16), 0, phase, sender, receiver, b"")
    return Message(bytes(16), 0, phase, sender, receiver, bytes(size - bare.size))


UP = message("up", client_id(0), SERVER, 100)
DOWN = message("down", SERVER, client_id(0), 60)


def sample() -> Transcript:
    transcript = Transcript()
    for one, fate in ((UP, "delivered"), (UP, "dropped"), (UP, "tampered"), (DOWN, "delivered")):
        transcript.add(one, fate)
    transcript.add(message("up", client_id(1), SERVER, 70), "delivered")
    return transcript


def test_traffic_is_what_was_delivered() -> None:
    assert sample().traffic() == {
        Link("up", Role.CLIENT, Role.SERVER): Traffic(2, 170),
        Link("down", Role.SERVER, Role.CLIENT): Traffic(1, 60),
    }


def test_a_view_is_what_a_party_received() -> None:
    transcript = sample()
    assert [record.step for record in transcript.view(SERVER)] == [0, 4]
    assert [record.step for record in transcript.view(client_id(0))] == [3]
    assert transcript.view(client_id(1)) == ()


def test_payloads_are_kept_on_demand_and_never_shown() -> None:
    assert sample().records[0].message is None
    transcript = Transcript(keep_payloads=True)
    transcript.add(UP, "delivered")
    assert transcript.records[0].message is UP
    assert "message" not in repr(transcript.records[0])


def test_bytes_sent_are_the_partys_own() -> None:
    transcript = sample()
    assert transcript.bytes_sent(client_id(0)) == 0
    transcript.sent(UP)
    transcript.sent(UP)
    assert transcript.bytes_sent(client_id(0)) == 200
    assert transcript.bytes_sent(SERVER) == 0


def test_seconds_add_up() -> None:
    transcript = Transcript()
    transcript.add_seconds("up", Role.CLIENT, 0.25)
    transcript.add_seconds("up", Role.CLIENT, 0.5)
    transcript.add_seconds("up", Role.SERVER, 1.0)
    assert transcript.seconds == {("up", Role.CLIENT): 0.75, ("up", Role.SERVER): 1.0}


def test_costs_come_in_the_shape_of_traffic() -> None:
    cost = Cost(
        2,
        (
            LinkCost("up", Role.CLIENT, Role.SERVER, 3, 100),
            LinkCost("up", Role.CLIENT, Role.SERVER, 3, 7),
            LinkCost("down", Role.SERVER, Role.CLIENT, 3, 50),
        ),
    )
    assert cost.traffic() == {
        Link("up", Role.CLIENT, Role.SERVER): Traffic(6, 321),
        Link("down", Role.SERVER, Role.CLIENT): Traffic(3, 150),
    }
    assert cost.sent_by_each(Role.CLIENT, 3) == 107
    assert cost.received_by_each(Role.CLIENT, 3) == 50
    assert cost.received_by_each(Role.SERVER, 1) == 321
    assert cost.sent_by_each(Role.AGGREGATOR, 2) == 0
