"""What the specification shows of the code is what the code does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from mpc.party import StateMachine
from secagg.masking.client import MaskingClient
from secagg.masking.server import MaskingServer
from secagg.paillier.client import PaillierClient
from secagg.paillier.keyholder import KeyHolder
from secagg.paillier.server import PaillierServer
from secagg.server import RoundServer
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.client import SharingClient
from secagg.sharing.comparing import ComparingAggregator
from secagg.sharing.dealer import Dealer
from secagg.sharing.gram import ComparingServer
from secagg.sharing.server import SharingServer

ROOT = Path(__file__).parents[1]
SPECIFICATION = (ROOT / "docs" / "spec.md").read_text()
MACHINES = (
    *(MaskingClient, MaskingServer),
    *(PaillierClient, PaillierServer, KeyHolder),
    *(SharingClient, SharingServer, Aggregator),
    *(ComparingServer, ComparingAggregator, Dealer),
)


def diagrams() -> object:
    found = importlib.util.spec_from_file_location("diagrams", ROOT / "docs" / "diagrams.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_diagrams_are_those_of_the_tables() -> None:
    assert diagrams().drawn(SPECIFICATION) == SPECIFICATION  # type: ignore[attr-defined]
    assert SPECIFICATION.count("stateDiagram-v2") == 2


@pytest.mark.parametrize("machine", MACHINES)
def test_every_move_has_a_cause_that_its_state_knows(machine: type[StateMachine]) -> None:
    heard = {**machine.transitions, **getattr(machine, "answers", {})}
    closings = getattr(machine, "closings", {})
    for (state, _), cause in machine.moves.items():
        if cause == machine.CLOSING:
            assert state in closings or (state, state) in heard
        elif cause != machine.START:
            assert (state, cause) in heard


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_that_is_reached_hears_something_or_is_the_end(machine: type[StateMachine]) -> None:
    reached = {after for _, after in machine.moves}
    leaving = {before for before, _ in machine.moves}
    hears = {state for state, _ in (*machine.transitions, *getattr(machine, "answers", {}))}
    assert leaving - hears <= {"ready"}
    ends = reached - leaving
    assert len(ends - {"proved", "sent"}) <= 1
    if issubclass(machine, RoundServer):
        assert ends == {RoundServer.DONE}


def test_sections_that_docstrings_cite_are_there() -> None:
    sections = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)[. ]", SPECIFICATION, re.MULTILINE))
    for package in ("mpc", "secagg", "fl"):
        for path in (ROOT / package).rglob("*.py"):
            for cited in re.findall(r"spec sections? (\d+(?:\.\d+)?)", path.read_text()):
                assert cited in sections, (path, cited)
