"""Clients and helpers that lie over their own links: named, refused, and the round goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mpc.party import Message, PartyId, Role, client_id
from secagg.backend import Backend
from secagg.paillier import ThresholdPaillier

LIAR = 2
OTHERS = {0, 1, 3, 4, 5}
Lie = Callable[[Message], list[Message]]


class Speaks:
    """Honest, but for what it sends unasked."""

    def __init__(self, *opening: Message) -> None:
        self.opening = opening

    def __call__(self, message: Message) -> list[Message]:
        return [message]


MALFORMED: dict[str, Lie] = {
    "one byte short": lambda m: [replace(m, payload=bytes(m.payload)[:-1])],
    "one byte long": lambda m: [replace(m, payload=bytes(m.payload) + b"\0")],
    "empty": lambda m: [replace(m, payload=b"")],
    "ten times as long": lambda m: [replace(m, payload=bytes(m.payload) * 10)],
}
FOREIGN: dict[str, Lie] = {
    "another session": lambda m: [replace(m, session=bytes(16))],
    "a later round": lambda m: [replace(m, round=m.round + 1)],
    "an earlier round": lambda m: [replace(m, round=m.round - 1)],
}


def sent_by_clients(make: Any, rig: SimpleNamespace) -> list[str]:
    records = rig.play(make, rig.vectors(6, 11, 16)).transcript.records
    return list(dict.fromkeys(r.phase for r in records if r.sender == client_id(LIAR)))


def in_phase(phase: str, lie: Lie) -> Lie:
    return lambda message: lie(message) if message.phase == phase else [message]


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(make: Any, backend: Backend, rig: SimpleNamespace, name: str) -> None:
    for phase in sent_by_clients(make, rig):
        outcome = rig.play(make, rig.vectors(6, 11, 16), liars={LIAR: in_phase(phase, MALFORMED[name])})
        outcome.require_exact()
        assert set(outcome.survivors) >= OTHERS
        if backend.phases.index(phase) <= backend.phases.index(backend.input_phase):
            assert set(outcome.rejected) == {LIAR}
            assert outcome.rejected[LIAR].check == "structural"
            assert outcome.rejected[LIAR].reason
        else:
            assert LIAR in outcome.survivors


@pytest.mark.parametrize("name", FOREIGN)
def test_of_another_round_with_a_good_tag(
    make: Any, backend: Backend, rig: SimpleNamespace, name: str
) -> None:
    for phase in sent_by_clients(make, rig):
        outcome = rig.play(make, rig.vectors(6, 11, 16), liars={LIAR: in_phase(phase, FOREIGN[name])})
        outcome.require_exact()
        assert set(outcome.survivors) >= OTHERS
        if backend.phases.index(phase) <= backend.phases.index(backend.input_phase):
            assert "replayed: belongs to" in outcome.rejected[LIAR].reason


def test_messages_before_their_time(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    """Before or after each own message, one of any other phase, of the backend's or of no backend's."""
    for phase in sent_by_clients(make, rig):
        for other in (*backend.phases, "no such phase"):
            for payload in (b"", bytes(40)):
                extra = {"phase": other, "payload": payload}
                for lie in (
                    lambda m, extra=extra: [m, replace(m, **extra)],
                    lambda m, extra=extra: [replace(m, **extra), m],
                ):
                    outcome = rig.play(make, rig.vectors(6, 5, 16), liars={LIAR: in_phase(phase, lie)})
                    outcome.require_exact()
                    assert set(outcome.survivors) >= OTHERS
                    if LIAR not in outcome.survivors:
                        assert outcome.rejected[LIAR].check == "structural"


def test_a_second_input_changes_nothing(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    """Sent again under a fresh counter, as it was and altered: the first one counts, once."""

    def again(message: Message) -> list[Message]:
        other = bytes(message.payload)[:-1] + bytes([message.payload[-1] ^ 1])
        return [message, message, replace(message, payload=other)]

    for phase in sent_by_clients(make, rig):
        outcome = rig.play(make, rig.vectors(6, 11, 16), liars={LIAR: in_phase(phase, again)})
        outcome.require_exact()
        assert outcome.survivors == tuple(range(6))


def test_a_client_in_anothers_name(make: Any, rig: SimpleNamespace) -> None:
    """Tagged by its own link, in the name of a peer, of the server, of helpers, of nobody."""
    names = [client_id(3), client_id(77), PartyId(Role.SERVER)]
    names += [PartyId(Role.AGGREGATOR, 0), PartyId(Role.KEY_HOLDER, 0)]
    for phase in sent_by_clients(make, rig):
        for name in names:

            def impersonate(message: Message, name: PartyId = name) -> list[Message]:
                return [replace(message, sender=name), message]

            outcome = rig.play(make, rig.vectors(6, 11, 16), liars={LIAR: in_phase(phase, impersonate)})
            outcome.require_exact()
            assert set(outcome.survivors) >= OTHERS
            assert outcome.rejected.keys() <= {LIAR}


def test_as_many_liars_as_the_threshold_allows(make: Any, rig: SimpleNamespace) -> None:
    phase = make().input_phase
    cut = in_phase(phase, MALFORMED["one byte short"])
    outcome = rig.play(make, rig.vectors(9, 11, 16), liars=dict.fromkeys((0, 4, 8), cut))
    outcome.require_exact()
    assert set(outcome.rejected) == {0, 4, 8}


def test_one_liar_more_and_the_round_ends_with_their_names(make: Any, rig: SimpleNamespace) -> None:
    phase = make().input_phase
    cut = in_phase(phase, MALFORMED["one byte short"])
    outcome = rig.play(make, rig.vectors(9, 11, 16), liars=dict.fromkeys((0, 1, 4, 8), cut))
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("5 of 9 clients")
    assert set(outcome.abort.evidence["rejected"]) == {"c0", "c1", "c4", "c8"}


def helper_links(make: Any, rig: SimpleNamespace) -> list[tuple[PartyId, str]]:
    records = rig.play(make, rig.vectors(6, 11, 16)).transcript.records
    roles = (Role.CLIENT, Role.SERVER)
    return list(dict.fromkeys((r.sender, r.phase) for r in records if r.sender.role not in roles))


def helpers_to_spare(backend: Backend) -> int:
    """How many helpers the sum can do without."""
    return backend.key_holders - backend.threshold if isinstance(backend, ThresholdPaillier) else 0


def neighbours(links: list[tuple[PartyId, str]], place: int, count: int) -> list[PartyId]:
    """``count`` helpers from this place on, round the list."""
    return [links[(place + step) % len(links)][0] for step in range(count)]


def require_named(outcome: Any, *helpers: PartyId) -> None:
    assert outcome.abort is not None
    for helper in helpers:
        assert str(helper) in str(outcome.abort)


@pytest.mark.parametrize("name", [*MALFORMED, *FOREIGN])
def test_malformed_messages_of_helpers(make: Any, backend: Backend, rig: SimpleNamespace, name: str) -> None:
    """As many as the sum can do without cost nothing; it fails with one more, who are all named."""
    lie, spare = {**MALFORMED, **FOREIGN}[name], helpers_to_spare(backend)
    links = helper_links(make, rig)
    for place, (_, phase) in enumerate(links):
        liars = neighbours(links, place, spare + 1)
        lies = {liar: in_phase(phase, lie) for liar in liars}
        require_named(rig.play(make, rig.vectors(6, 11, 16), liars=lies), *liars)
        if spare:
            few = liars[:spare]
            outcome = rig.play(make, rig.vectors(6, 11, 16), liars={who: lies[who] for who in few})
            outcome.require_exact()
            assert outcome.survivors == tuple(range(6))
            assert outcome.faults.keys() <= set(few)


def require_unharmed(backend: Backend, outcome: Any) -> None:
    """Never a wrong sum; and a right one, where the helper that lied can be spared."""
    outcome.require_never_wrong()
    if helpers_to_spare(backend):
        outcome.require_exact()


def test_helpers_before_their_time(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    """A helper that sends messages of other phases, the clients' among them, is not taken for a client."""
    vectors = rig.vectors(6, 11, 16)
    records = rig.play(make, vectors, keep_payloads=True).transcript.records
    inputs = [r.message.payload[32:] for r in records if r.phase == backend.input_phase]
    for helper, phase in helper_links(make, rig):
        for other in (*backend.phases, "no such phase"):
            for payload in (b"", inputs[0]):
                extra = {"phase": other, "payload": payload}
                for lie in (
                    lambda m, extra=extra: [m, replace(m, **extra)],
                    lambda m, extra=extra: [replace(m, **extra), m],
                ):
                    outcome = rig.play(make, vectors, liars={helper: in_phase(phase, lie)})
                    require_unharmed(backend, outcome)


def test_a_helper_that_speaks_first_is_not_taken_for_a_client(
    make: Any, backend: Backend, rig: SimpleNamespace
) -> None:
    """It sends a well-formed input before any client does, under a number that a client has too."""
    vectors = rig.vectors(6, 11, 16)
    records = rig.play(make, vectors, keep_payloads=True).transcript.records
    genuine = next(r.message for r in records if r.phase == backend.input_phase and r.sender == client_id(0))
    for helper in dict.fromkeys(helper for helper, _ in helper_links(make, rig)):
        opening = replace(genuine, sender=helper, payload=genuine.payload[32:], tag=b"")
        outcome = rig.play(make, vectors, liars={helper: Speaks(opening)})
        require_unharmed(backend, outcome)
        if outcome.abort is not None:
            assert str(helper) in str(outcome.abort)


def test_silent_helpers_are_named_where_they_are_missed(
    make: Any, backend: Backend, rig: SimpleNamespace
) -> None:
    spare, links = helpers_to_spare(backend), helper_links(make, rig)
    for place, (_, phase) in enumerate(links):
        silent = neighbours(links, place, spare + 1)
        lies = {who: in_phase(phase, lambda m: []) for who in silent}
        require_named(rig.play(make, rig.vectors(6, 11, 16), liars=lies), *silent)
        if spare:
            lies.pop(silent[0])
            outcome = rig.play(make, rig.vectors(6, 11, 16), liars=lies)
            outcome.require_exact()
            assert outcome.faults == {}
