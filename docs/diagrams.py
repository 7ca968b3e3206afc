"""Draws the parties' state tables into the specification: ``python docs/diagrams.py``.

A diagram stands behind a comment that names its class; the tests hold it to the table.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from mpc.party import StateMachine

SPECIFICATION = Path(__file__).parent / "spec.md"
_BLOCK = re.compile(r"<!-- moves of ([\w.]+) -->\n```mermaid\n.*?```\n", re.DOTALL)


def diagram(machine: type[StateMachine]) -> str:
    """A Mermaid state diagram: an edge for each move, with what causes it."""
    before, after = zip(*machine.moves, strict=True)
    edges = [f"[*] --> {_name(state)}" for state in dict.fromkeys(before) if state not in after]
    edges += [f"{_name(old)} --> {_name(new)}: {cause}" for (old, new), cause in machine.moves.items()]
    edges += [f"{_name(state)} --> [*]" for state in dict.fromkeys(after) if state not in before]
    return "\n".join(["stateDiagram-v2", *(f"    {edge}" for edge in edges)]) + "\n"


def drawn(text: str) -> str:
    """``text`` with every diagram drawn anew."""

    def draw(found: re.Match[str]) -> str:
        module, _, name = found[1].rpartition(".")
        machine = getattr(importlib.import_module(module), name)
        return f"<!-- moves of {found[1]} -->\n```mermaid\n{diagram(machine)}```\n"

    return _BLOCK.sub(draw, text)


def _name(state: str) -> str:
    """Mermaid takes a hyphen for the start of an arrow."""
    return state.replace("-", "_")


if __name__ == "__main__":
    SPECIFICATION.write_text(drawn(SPECIFICATION.read_text()))
