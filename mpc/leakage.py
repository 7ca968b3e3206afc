"""What each role learns, and who must not work together: declared as data, held to by the leakage tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mpc.party import Role


@dataclass(frozen=True, slots=True)
class Leakage:
    """The security statement of a protocol.

    * ``assumption``: who must not collude for the inputs to stay hidden, and how a party may misbehave.
    * ``learns``: for each role, all that its view lets it compute beyond its own input.
    * ``hides``: whether any single client's input is hidden from the roles listed.
    * ``source``: the paper and section of the proof.
    """

    assumption: str
    learns: Mapping[Role, tuple[str, ...]]
    hides: frozenset[Role]
    source: str
