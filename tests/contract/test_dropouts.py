"""A client that goes silent up to the input phase is not in the sum; one that goes silent later is."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from mpc.party import client_id
from mpc.tape import SeededTape
from secagg.backend import Backend


def counts(backend: Backend, phase: str) -> bool:
    return backend.phases.index(phase) > backend.phases.index(backend.input_phase)


def test_going_silent_in_each_phase(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    vectors = rig.vectors(6, 11, 16)
    for phase in backend.client_phases:
        outcome = rig.play(make, vectors, drop={2: phase})
        outcome.require_exact()
        assert (2 in outcome.survivors) is counts(backend, phase)
        assert set(outcome.survivors) >= {0, 1, 3, 4, 5}
        assert outcome.rejected == {}


def test_two_go_silent_in_different_phases(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    vectors = rig.vectors(7, 11, 16)
    for first, second in product(backend.client_phases, repeat=2):
        outcome = rig.play(make, vectors, drop={0: first, 6: second})
        outcome.require_exact()
        gone = {index for index, phase in ((0, first), (6, second)) if not counts(backend, phase)}
        assert set(outcome.survivors) == set(range(7)) - gone


def test_too_many_go_silent_in_each_phase(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    """Nothing below the threshold, whenever they go; what is counted already stays countable or aborts."""
    vectors = rig.vectors(6, 11, 16)
    for phase in backend.client_phases:
        outcome = rig.play(make, vectors, drop=dict.fromkeys(range(3), phase))
        outcome.require_never_wrong()
        if not counts(backend, phase):
            assert outcome.abort is not None
            assert outcome.abort.reason.startswith("3 of 6 clients")
            assert "the threshold is 4" in outcome.abort.reason


def test_a_dropout_neither_sends_nor_hears(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    for phase in backend.client_phases:
        transcript = rig.play(make, rig.vectors(6, 11, 16), drop={2: phase}).transcript
        silent_from = next(
            (r.step for r in transcript.records if r.sender == client_id(2) and r.fate == "dropped"), None
        )
        if silent_from is not None:
            later = [r for r in transcript.records[silent_from:] if client_id(2) in (r.sender, r.receiver)]
            assert {record.fate for record in later} == {"dropped"}


@pytest.mark.parametrize("deadlines", [1, 2, 5])
def test_a_late_message_is_a_missing_one(
    make: Any, backend: Backend, rig: SimpleNamespace, deadlines: int
) -> None:
    """A client's message that misses deadlines changes nothing, whatever phase it was meant for."""
    vectors = rig.vectors(6, 11, 16)
    honest = rig.play(make, vectors).transcript.records
    for phase in dict.fromkeys(record.phase for record in honest if record.sender == client_id(2)):

        def delay(message: object, phase: str = phase) -> int:
            late = message.sender == client_id(2) and message.phase == phase  # type: ignore[attr-defined]
            return deadlines if late else 0

        outcome = rig.play(make, vectors, delay=delay)
        outcome.require_exact()
        assert (2 in outcome.survivors) is counts(backend, phase)
        assert outcome.rejected == {}


@pytest.mark.parametrize("deadlines", [1, 2, 5])
def test_a_client_that_hears_late(make: Any, rig: SimpleNamespace, deadlines: int) -> None:
    outcome = rig.play(
        make,
        rig.vectors(6, 11, 16),
        delay=lambda message: deadlines if message.receiver == client_id(2) else 0,
    )
    outcome.require_exact()
    assert set(outcome.survivors) >= {0, 1, 3, 4, 5}


@pytest.mark.parametrize("deadlines", [1, 3])
def test_everybody_late(make: Any, rig: SimpleNamespace, deadlines: int) -> None:
    """Nobody is heard in time: the round ends, and says that nobody was."""
    outcome = rig.play(make, rig.vectors(6, 11, 16), delay=lambda message: deadlines)
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("0 of 6 clients")


@pytest.mark.parametrize("number", range(8))
def test_any_order_of_delivery(make: Any, rig: SimpleNamespace, number: int) -> None:
    order = SeededTape(f"order {number}".encode())
    outcome = rig.play(make, rig.vectors(6, 11, 16), shuffle=order)
    outcome.require_exact()
    assert outcome.survivors == tuple(range(6))


@pytest.mark.parametrize("number", range(8))
def test_any_order_of_delivery_with_dropouts(
    make: Any, backend: Backend, rig: SimpleNamespace, number: int
) -> None:
    tape = SeededTape(f"order and dropouts {number}".encode())
    phases = backend.client_phases
    drop = {index: phases[tape.below(len(phases))] for index in (1, 4)}
    outcome = rig.play(make, rig.vectors(6, 11, 16), shuffle=tape, drop=drop)
    outcome.require_exact()
    assert set(outcome.survivors) >= {0, 2, 3, 5}
    assert all((index in outcome.survivors) is counts(backend, phase) for index, phase in drop.items())
