"""Messages in parts change nothing but how long a message on the wire is (spec section 7.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.party import Message, PartyId, Role, client_id
from mpc.tape import SeededTape
from secagg import Check, Cohort
from secagg.backend import Backend

LIMIT = 1024
VICTIM = client_id(2)
OTHERS = {0, 1, 3, 4, 5}
Matches = Callable[[Message], bool]


class Proves(Check):
    """Asks every client for two kilobytes, and is content with any."""

    proves = True

    def proof_bytes(self, cohort: Cohort) -> int:
        return 2000

    def prove(self, *_: Any) -> bytes:
        return bytes(2000)


@pytest.fixture
def vectors(rig: SimpleNamespace) -> Any:
    return rig.vectors(6, 1500, 16)


@pytest.fixture
def in_parts(make: Any) -> Callable[[], Backend]:
    return lambda: make(max_message_bytes=LIMIT)


def shuffled(number: int) -> SeededTape:
    return SeededTape(f"order {number}".encode())


def links_in_parts(outcome: Any) -> list[tuple[str, PartyId, PartyId]]:
    """(phase, sender, receiver) of everything that has gone in parts, in order."""
    found = [r.message for r in outcome.transcript.records]
    return list(dict.fromkeys((m.phase, m.sender, m.receiver) for m in found if m.parts > 1))


@pytest.mark.parametrize("limit", [1024, 1500, 2048])
def test_the_sum_is_the_same_and_no_message_exceeds_the_limit(
    make: Any, rig: SimpleNamespace, vectors: Any, limit: int
) -> None:
    drop = {5: make().client_phases[0]}
    whole = rig.play(make, vectors, drop=drop, checks=[Proves()])
    parts = rig.play(make(max_message_bytes=limit), vectors, drop=drop, checks=[Proves()])
    parts.require_exact()
    assert np.array_equal(parts.total, whole.total)
    assert (parts.survivors, parts.rejected) == (whole.survivors, whole.rejected)
    assert max(record.size for record in whole.transcript.records) > limit
    assert max(record.size for record in parts.transcript.records) <= limit


@pytest.mark.parametrize("number", range(4))
def test_in_any_order_and_repeated(in_parts: Any, rig: SimpleNamespace, vectors: Any, number: int) -> None:
    outcome = rig.play(
        in_parts, vectors, tamper=lambda message: [message] * (1 + number % 2), shuffle=shuffled(number)
    )
    outcome.require_exact()
    assert outcome.survivors == tuple(range(6))
    assert outcome.rejected == {}
    assert outcome.transcript.refusals == []
    assert max(record.size for record in outcome.transcript.records) <= LIMIT


def test_members_that_sign_greet_in_every_part(in_parts: Any, rig: SimpleNamespace, vectors: Any) -> None:
    outcome = rig.play(in_parts, vectors, identities=rig.identities(6), shuffle=shuffled(0))
    outcome.require_exact()
    assert outcome.survivors == tuple(range(6))


class EachItsOwn:
    """Clients, server and helpers with limits of their own."""

    def __init__(self, make: Any, clients: int, server: int, helpers: int) -> None:
        limits = {"client": clients, "server": server, "helpers": helpers}
        self._backends = {name: make(max_message_bytes=limit) for name, limit in limits.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backends.get(name, self._backends["server"]), name)


@pytest.mark.parametrize(
    "limits", [(1024, 4096, 1 << 20), (1 << 20, 1024, 2000), (1500, 1 << 20, 1024)], ids=str
)
def test_both_ends_need_not_have_the_same_limit(
    make: Any, rig: SimpleNamespace, vectors: Any, limits: tuple[int, int, int]
) -> None:
    backend = EachItsOwn(make, *limits)
    cohort = rig.cohort(backend._backends["server"], 6, 1500, 16)
    outcome = rig.play(lambda: backend, vectors, cohort=cohort, shuffle=shuffled(1))
    outcome.require_exact()
    assert outcome.survivors == tuple(range(6))
    by_role = dict(zip((Role.CLIENT, Role.SERVER, None), limits, strict=True))
    for record in outcome.transcript.records:
        assert record.size <= by_role.get(record.sender.role, limits[2])


def lost(matches: Matches, part: Callable[[int], int]) -> Callable[[Message], list[Message]]:
    """``part(parts)`` of each such message does not arrive."""
    return lambda m: [] if m.parts > 1 and matches(m) and m.part == part(m.parts) else [m]


PLACES: dict[str, Callable[[int], int]] = {
    "first": lambda parts: 0,
    "middle": lambda parts: parts // 2,
    "last": lambda parts: parts - 1,
}


@pytest.mark.parametrize("place", PLACES)
def test_an_input_of_which_a_part_is_lost_is_a_dropout(
    in_parts: Any, backend: Backend, rig: SimpleNamespace, vectors: Any, place: str
) -> None:
    tamper = lost(lambda m: m.sender == VICTIM and m.phase == backend.input_phase, PLACES[place])
    outcome = rig.play(in_parts, vectors, tamper=tamper)
    outcome.require_exact()
    assert set(outcome.survivors) == OTHERS
    rejection = outcome.rejected[2]
    assert (rejection.check, rejection.evidence) == ("link", {"phase": backend.input_phase})
    assert rejection.reason.startswith("incomplete: ")
    assert rejection.reason.endswith(" parts arrived before the deadline")


def test_a_late_part_makes_its_message_late(
    in_parts: Any, backend: Backend, rig: SimpleNamespace, vectors: Any
) -> None:
    def late(message: Message) -> int:
        return int((message.sender, message.phase, message.part) == (VICTIM, backend.input_phase, 1))

    outcome = rig.play(in_parts, vectors, delay=late)
    outcome.require_exact()
    assert set(outcome.survivors) == OTHERS
    assert outcome.rejected[2].reason.startswith("incomplete: ")


def test_a_part_of_any_message_is_lost(in_parts: Any, rig: SimpleNamespace, vectors: Any) -> None:
    """One part of one message at a time, on every link, in both directions: exact, or ended by name."""
    everything = rig.play(in_parts, vectors, keep_payloads=True)
    for link in links_in_parts(everything):
        _, sender, receiver = link
        if Role.CLIENT in (sender.role, receiver.role) and VICTIM not in (sender, receiver):
            continue  # one client is like the other
        tamper = lost(lambda m, link=link: (m.phase, m.sender, m.receiver) == link, PLACES["middle"])  # type: ignore[misc]
        outcome = rig.play(in_parts, vectors, tamper=tamper)
        outcome.require_never_wrong()
        if VICTIM in (sender, receiver):
            assert outcome.abort is None
            assert set(outcome.survivors) >= OTHERS
        elif outcome.abort is not None:
            helper = sender if sender.role is not Role.SERVER else receiver
            assert str(helper) in str(outcome.abort)
            if sender.role is Role.AGGREGATOR:
                assert "incomplete: " in str(outcome.abort.evidence["thrown away"])


def test_an_altered_part_is_named_and_an_intact_copy_heals_it(
    in_parts: Any, backend: Backend, rig: SimpleNamespace, vectors: Any
) -> None:
    def alter(message: Message, copies: list[Message]) -> list[Message]:
        hit = (message.sender, message.phase, message.part) == (VICTIM, backend.input_phase, 1)
        return [replace(message, payload=bytes(len(message.payload))), *copies] if hit else [message]

    outcome = rig.play(in_parts, vectors, tamper=lambda m: alter(m, []))
    outcome.require_exact()
    assert set(outcome.survivors) == OTHERS
    assert outcome.rejected[2].reason == "tampered: the link tag does not match"
    healed = rig.play(in_parts, vectors, tamper=lambda m: alter(m, [m]))
    healed.require_exact()
    assert (healed.survivors, healed.rejected) == (tuple(range(6)), {})


def test_parts_of_an_earlier_run_do_not_fit(in_parts: Any, rig: SimpleNamespace, vectors: Any) -> None:
    """The odd parts of everything that the victim sends come from a run of the same cohort on other tapes."""
    records = rig.play(in_parts, vectors, seed=b"an earlier run", keep_payloads=True).transcript.records
    old = {(r.phase, r.message.part): r.message for r in records if r.sender == VICTIM}

    def replay(message: Message) -> list[Message]:
        if message.sender != VICTIM or message.part % 2 == 0:
            return [message]
        return [old.get((message.phase, message.part), message)]

    outcome = rig.play(in_parts, vectors, tamper=replay)
    outcome.require_exact()
    assert set(outcome.survivors) == OTHERS
    assert outcome.rejected[2].check == "link"


@pytest.mark.parametrize("number", range(12))
def test_random_mischief_with_parts_never_gives_a_wrong_sum(
    in_parts: Any, rig: SimpleNamespace, vectors: Any, number: int
) -> None:
    tape, odds = SeededTape(f"mischief with parts {number}".encode()), (40, 150, 400)[number % 3]
    seen: list[Message] = []

    def meddle(message: Message) -> list[Message]:
        seen.append(message)
        if tape.below(odds):
            return [message]
        other = seen[tape.below(len(seen))]
        return [
            [],
            [message, other],
            [replace(message, part=other.part, parts=other.parts)],
            [replace(message, payload=other.payload)],
            [replace(message, payload=other.payload, tag=other.tag, part=other.part)],
            [replace(message, tag=bytes(message.tag)[::-1]), message],
        ][tape.below(6)]

    def late(message: Message) -> int:
        return tape.below(3) if tape.below(2 * odds) == 0 else 0

    outcome = rig.play(in_parts, vectors, tamper=meddle, delay=late, shuffle=tape if number % 2 else None)
    outcome.require_never_wrong()


@pytest.mark.parametrize("size", [400, 2999, 5000, 20_000, 200_000])
def test_an_insider_whose_input_is_of_another_length_is_refused(
    in_parts: Any, backend: Backend, rig: SimpleNamespace, vectors: Any, size: int
) -> None:
    """Inside its own link, in as many parts as it takes."""

    def another_length(message: Message) -> list[Message]:
        return [replace(message, payload=bytes(size))] if message.phase == backend.input_phase else [message]

    outcome = rig.play(in_parts, vectors, liars={2: another_length})
    outcome.require_exact()
    assert set(outcome.survivors) == OTHERS
    assert outcome.rejected[2].check in ("structural", "link")
    assert "wrong length" in outcome.rejected[2].reason or "hold more than" in outcome.rejected[2].reason
