"""Draws the parties' state tables into the specification: ``python docs/diagrams.py``.

A diagram stands behind a comment that names its class; the tests hold it to the table.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from mpc.party import StateMachine
from secagg.server import RoundServer

SPECIFICATION = Path(__file__).parent / "spec.md"
_BLOCK = re.compile(r"<!-- states of ([\w.]+) -->\n```mermaid\n.*?```\n", re.DOTALL)


def diagram(machine: type[StateMachine]) -> str:
    """A Mermaid state diagram: an edge for each row of the table, with the phase of the message."""
    edges = [f"[*] --> {_name(machine.initial)}"]
    for (state, phase), (_, after) in machine.transitions.items():
        if state != after or not issubclass(machine, RoundServer):
            edges.append(f"{_name(state)} --> {_name(after)}: {phase}")
    if issubclass(machine, RoundServer):
        for state, (_, nexts) in machine.closings.items():
            edges += [f"{_name(state)} --> {_name(after)}: all heard, or deadline" for after in nexts]
    left = {edge.split(" --> ")[0] for edge in edges}
    reached = {edge.split(" --> ")[1].split(":")[0] for edge in edges}
    edges += [f"{state} --> [*]" for state in sorted(reached - left)]
    return "\n".join(["stateDiagram-v2", *(f"    {edge}" for edge in edges)]) + "\n"


def drawn(text: str) -> str:
    """``text`` with every diagram drawn anew."""

    def draw(found: re.Match[str]) -> str:
        module, _, name = found[1].rpartition(".")
        machine = getattr(importlib.import_module(module), name)
        return f"<!-- states of {found[1]} -->\n```mermaid\n{diagram(machine)}```\n"

    return _BLOCK.sub(draw, text)


def _name(state: str) -> str:
    """Mermaid takes a hyphen for the start of an arrow."""
    return state.replace("-", "_")


if __name__ == "__main__":
    SPECIFICATION.write_text(drawn(SPECIFICATION.read_text()))
