"""What happens on the way changes nothing but who takes part: never the sum, and never for anybody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mpc.party import Message, PartyId, Role, client_id
from mpc.tape import RandomTape, SeededTape
from secagg.backend import Backend

VICTIM = client_id(2)
OTHERS = {0, 1, 3, 4, 5}


def flip(data: bytes | memoryview, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 0x40
    return bytes(changed)


# What an attacker between the parties can make of one message. Each changes it.
CHANGES: dict[str, Callable[[Message], list[Message]]] = {
    "first byte": lambda m: [replace(m, payload=flip(m.payload, 0))],
    "middle byte": lambda m: [replace(m, payload=flip(m.payload, len(m.payload) // 2))],
    "last byte": lambda m: [replace(m, payload=flip(m.payload, -1))],
    "counter": lambda m: [replace(m, tag=flip(m.tag, 0))],
    "tag": lambda m: [replace(m, tag=flip(m.tag, -1))],
    "no tag": lambda m: [replace(m, tag=b"")],
    "cut": lambda m: [replace(m, payload=bytes(m.payload)[:-1])],
    "halved": lambda m: [replace(m, payload=bytes(m.payload)[: len(m.payload) // 2])],
    "emptied": lambda m: [replace(m, payload=b"")],
    "extended": lambda m: [replace(m, payload=bytes(m.payload) + b"\0")],
    "doubled": lambda m: [replace(m, payload=bytes(m.payload) * 2)],
    "zeros": lambda m: [replace(m, payload=bytes(len(m.payload)))],
    "round": lambda m: [replace(m, round=m.round + 1)],
    "session": lambda m: [replace(m, session=bytes(16))],
    "phase": lambda m: [replace(m, phase="check" if m.phase != "check" else "unmask")],
    "unknown phase": lambda m: [replace(m, phase="no such phase")],
    "sender": lambda m: [replace(m, sender=PartyId(m.sender.role, m.sender.index + 1))],
    "sender out of range": lambda m: [replace(m, sender=PartyId(m.sender.role, 77))],
    "sender's role": lambda m: [replace(m, sender=PartyId(Role.KEY_HOLDER, m.sender.index))],
    "receiver": lambda m: [replace(m, receiver=PartyId(m.receiver.role, m.receiver.index + 1))],
    "part": lambda m: [replace(m, part=m.part + 1)],
    "parts": lambda m: [replace(m, parts=m.parts + 1)],
    "all of it": lambda m: [replace(m, part=0, parts=1) if m.parts > 1 else replace(m, part=1, parts=2)],
    "removed": lambda m: [],
}
SILENT = {"removed", "receiver"}  # nothing arrives where it was due


def instead(
    change: Callable[[Message], list[Message]], matches: Callable[[Message], bool]
) -> Callable[[Message], list[Message]]:
    return lambda message: change(message) if matches(message) else [message]


def client_links(make: Any, rig: SimpleNamespace) -> list[tuple[str, bool]]:
    """(phase, upwards) of every message between the server and one client, in order."""
    records = rig.play(make, rig.vectors(6, 11, 16)).transcript.records
    links = [(r.phase, r.sender == VICTIM) for r in records if VICTIM in (r.sender, r.receiver)]
    return list(dict.fromkeys(links))


def on_link(phase: str, upwards: bool) -> Callable[[Message], bool]:
    return lambda message: (
        message.phase == phase and (message.sender if upwards else message.receiver) == VICTIM
    )


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_message_of_one_client(
    make: Any, backend: Backend, rig: SimpleNamespace, change: str
) -> None:
    vectors = rig.vectors(6, 11, 16)
    order = backend.phases.index
    for phase, upwards in client_links(make, rig):
        tamper = instead(CHANGES[change], on_link(phase, upwards))
        outcome = rig.play(make, vectors, tamper=tamper)
        outcome.require_exact()
        assert set(outcome.survivors) >= OTHERS
        # In the sum after all, if what was changed came after its input had arrived.
        assert (2 in outcome.survivors) is (order(phase) > order(backend.input_phase))
        if upwards and 2 not in outcome.survivors and change not in SILENT:
            accused = 3 if change == "sender" else 2
            if accused == 2 and change not in ("sender out of range", "sender's role"):
                assert outcome.rejected[2].check == "link"
                assert outcome.rejected[2].reason
        if not upwards and change not in SILENT:
            refusals = outcome.transcript.refusals
            assert [refusal.party for refusal in refusals] == [VICTIM]
            assert refusals[0].error.reason


def test_an_alteration_on_the_way_is_named(make: Any, rig: SimpleNamespace, backend: Backend) -> None:
    reasons = {
        "middle byte": "tampered: the link tag does not match",
        "round": "replayed: belongs to round 4, not 3",
        "session": "replayed: belongs to another session",
    }
    for change, reason in reasons.items():
        tamper = instead(CHANGES[change], on_link(backend.input_phase, True))
        rejection = rig.play(make, rig.vectors(6, 11, 16), tamper=tamper).rejected[2]
        assert (rejection.check, rejection.reason) == ("link", reason)
        assert rejection.evidence["phase"] == backend.input_phase


def test_nobody_is_framed(make: Any, rig: SimpleNamespace, backend: Backend) -> None:
    """Messages forged in the name of an honest client do not keep it out of the sum."""

    def forge(message: Message) -> list[Message]:
        if message.sender == VICTIM:
            return [message]
        return [replace(message, sender=VICTIM), message] if message.sender.role is Role.CLIENT else [message]

    outcome = rig.play(make, rig.vectors(6, 11, 16), tamper=forge)
    outcome.require_exact()
    assert outcome.survivors == tuple(range(6))
    assert outcome.rejected == {}


@pytest.mark.parametrize("times", [2, 3])
def test_repeated_messages_count_once(make: Any, rig: SimpleNamespace, times: int) -> None:
    outcome = rig.play(make, rig.vectors(6, 11, 16), tamper=lambda message: [message] * times)
    outcome.require_exact()
    assert outcome.survivors == tuple(range(6))
    assert outcome.rejected == {}
    assert outcome.transcript.refusals == []


@pytest.mark.parametrize("number", range(4))
def test_repeated_messages_in_any_order(make: Any, rig: SimpleNamespace, number: int) -> None:
    outcome = rig.play(
        make,
        rig.vectors(6, 11, 16),
        tamper=lambda message: [message, message],
        shuffle=SeededTape(f"repeated {number}".encode()),
    )
    outcome.require_exact()
    assert outcome.survivors == tuple(range(6))


def test_a_message_comes_again_in_every_later_phase(make: Any, rig: SimpleNamespace) -> None:
    """An attacker who keeps everything and sends it again whenever anybody speaks."""
    seen: list[Message] = []

    def echo(message: Message) -> list[Message]:
        seen.append(message)
        return [*seen[-30:], message]

    outcome = rig.play(make, rig.vectors(6, 11, 16), tamper=echo)
    outcome.require_exact()
    assert outcome.survivors == tuple(range(6))
    assert outcome.rejected == {}


@pytest.mark.parametrize("of_another", ["round", "session"])
def test_messages_of_another_round_or_session(
    make: Any, backend: Backend, rig: SimpleNamespace, of_another: str
) -> None:
    """The genuine messages of an earlier run, in place of a client's own, in each phase."""
    vectors = rig.vectors(6, 11, 16)
    changes: dict[str, Any] = {"round": {"round": 2}, "session": {"session": b"another session!"}}
    earlier = rig.cohort(make, 6, 11, 16, **changes[of_another])
    records = rig.play(make, vectors, cohort=earlier, keep_payloads=True).transcript.records
    old = {record.phase: record.message for record in records if record.sender == VICTIM}
    order = backend.phases.index
    for phase, message in old.items():
        outcome = rig.play(make, vectors, tamper=instead(lambda _, m=message: [m], on_link(phase, True)))
        outcome.require_exact()
        assert set(outcome.survivors) >= OTHERS
        if order(phase) <= order(backend.input_phase):
            assert outcome.rejected[2].check == "link"
            assert outcome.rejected[2].reason.startswith("replayed: belongs to ")
        else:
            assert 2 in outcome.survivors


def test_a_whole_earlier_round_replayed_with_the_same_keys(make: Any, rig: SimpleNamespace) -> None:
    """Every message upwards comes from a run of the same cohort on other tapes: nobody is accepted."""
    vectors = rig.vectors(6, 11, 16)
    records = rig.play(make, vectors, seed=b"an earlier run", keep_payloads=True).transcript.records
    old = {(r.sender, r.phase): r.message for r in records if r.sender.role is Role.CLIENT}

    def replay(message: Message) -> list[Message]:
        return [old.get((message.sender, message.phase), message)]

    outcome = rig.play(make, vectors, tamper=replay)
    # A first message carries its own link key, so a one-shot input of the same round is genuine still.
    outcome.require_never_wrong()


def test_a_later_intact_message_heals_a_forged_one(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    for phase, upwards in client_links(make, rig):
        tamper = instead(lambda m: [replace(m, payload=flip(m.payload, 0)), m], on_link(phase, upwards))
        outcome = rig.play(make, rig.vectors(6, 11, 16), tamper=tamper)
        outcome.require_exact()
        assert outcome.survivors == tuple(range(6))
        assert outcome.rejected == {}


def mutation(tape: RandomTape, message: Message, seen: list[Message]) -> list[Message]:
    names = [*CHANGES, "repeated", "earlier message", "swapped payload"]
    name = names[tape.below(len(names))]
    earlier = seen[tape.below(len(seen))]
    if name == "repeated":
        return [message, message]
    if name == "earlier message":
        return [earlier, message]
    if name == "swapped payload":
        return [replace(message, payload=earlier.payload, tag=earlier.tag)]
    return CHANGES[name](message) if len(message.payload) else []


@pytest.mark.parametrize("number", range(25))
def test_random_mischief_never_gives_a_wrong_sum(make: Any, rig: SimpleNamespace, number: int) -> None:
    """Some messages are meddled with or late, in both directions and to helpers, in a random order."""
    tape, odds = SeededTape(f"mischief {number}".encode()), (12, 50, 150)[number % 3]
    seen: list[Message] = []

    def meddle(message: Message) -> list[Message]:
        seen.append(message)
        return mutation(tape, message, seen) if tape.below(odds) == 0 else [message]

    def late(message: Message) -> int:
        return tape.below(3) if tape.below(2 * odds) == 0 else 0

    outcome = rig.play(
        make, rig.vectors(8, 9, 16), tamper=meddle, delay=late, shuffle=tape if number % 2 else None
    )
    outcome.require_never_wrong()


@pytest.mark.parametrize("change", CHANGES)
def test_changed_messages_of_helpers(make: Any, rig: SimpleNamespace, change: str) -> None:
    """Nobody can do without a helper: exact, or aborted with a reason that names one."""
    vectors = rig.vectors(6, 11, 16)
    records = rig.play(make, vectors).transcript.records
    roles = (Role.CLIENT, Role.SERVER)
    links = dict.fromkeys(
        (r.phase, r.sender, r.receiver)
        for r in records
        if r.sender.role not in roles or r.receiver.role not in roles
    )
    for phase, sender, receiver in links:
        tampered = []

        def matches(m: Message, link: Any = (phase, sender, receiver), hit: Any = tampered) -> bool:
            first = not hit and (m.phase, m.sender, m.receiver) == link and len(m.payload) > 0
            if first:
                hit.append(m)
            return first

        outcome = rig.play(make, vectors, tamper=instead(CHANGES[change], matches))
        assert tampered
        outcome.require_never_wrong()
        if outcome.abort is None:
            assert len(outcome.survivors) >= 5
        else:
            helper = sender if sender.role not in roles else receiver
            assert str(helper) in str(outcome.abort)
