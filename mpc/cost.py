"""What a protocol costs on the wire, declared as data and asserted by the tests against what crossed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mpc.party import Role
from mpc.transcript import Link, Traffic


@dataclass(frozen=True, slots=True)
class LinkCost:
    """``messages`` messages of ``size`` bytes each, header and tag included, in one phase."""

    phase: str
    sender: Role
    receiver: Role
    messages: int
    size: int


@dataclass(frozen=True, slots=True)
class Cost:
    """A full run in which nobody drops out. ``rounds``: how often a client sends."""

    rounds: int
    links: tuple[LinkCost, ...]

    def traffic(self) -> Mapping[Link, Traffic]:
        """In the shape of ``Transcript.traffic()``."""
        total: dict[Link, Traffic] = {}
        for cost in self.links:
            link = Link(cost.phase, cost.sender, cost.receiver)
            before = total.get(link, Traffic(0, 0))
            total[link] = Traffic(before.messages + cost.messages, before.bytes + cost.messages * cost.size)
        return total

    def sent_by_each(self, role: Role, parties: int) -> int:
        """Bytes that one of ``parties`` parties of a role sends."""
        return sum(c.messages * c.size for c in self.links if c.sender is role) // parties

    def received_by_each(self, role: Role, parties: int) -> int:
        """Bytes that one of ``parties`` parties of a role receives."""
        return sum(c.messages * c.size for c in self.links if c.receiver is role) // parties
