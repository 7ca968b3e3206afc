"""Every message of a run as a record: who sent how many bytes to whom, and what each party saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mpc.errors import PeerError
from mpc.party import Message, PartyId, Role


@dataclass(frozen=True, slots=True)
class Record:
    """One message as it crossed, or did not cross, the network.

    ``fate`` is ``delivered``, ``dropped`` (its sender or receiver had gone silent), ``tampered`` (removed or
    replaced on the way) or ``forged`` (sent in another's name, or to oneself).
    ``message`` is kept only when payloads are recorded.
    """

    step: int
    phase: str
    sender: PartyId
    receiver: PartyId
    size: int
    fate: str
    message: Message | None = field(default=None, repr=False)


class Refusal(NamedTuple):
    """A party refused what it received, and told its caller why."""

    party: PartyId
    error: PeerError


class Link(NamedTuple):
    """All messages of one phase from one role to another."""

    phase: str
    sender: Role
    receiver: Role


class Traffic(NamedTuple):
    messages: int
    bytes: int


class Transcript:
    """What the network saw, in order. ``seconds`` is by (phase, role), where the driver had a clock.

    ``declined``: parties that took no part of their own accord, and why, where whoever ran them all says so.
    """

    def __init__(
        self, *, keep_payloads: bool = False, observe: Callable[[Record], None] | None = None
    ) -> None:
        self.keep_payloads = keep_payloads
        self._observe = observe
        self.records: list[Record] = []
        self.refusals: list[Refusal] = []
        self.declined: dict[PartyId, str] = {}
        self._seconds: defaultdict[tuple[str, Role], float] = defaultdict(float)
        self._sent: defaultdict[PartyId, int] = defaultdict(int)

    def sent(self, message: Message) -> None:
        """A party puts this message on the wire; ``add`` says what becomes of it."""
        self._sent[message.sender] += message.size

    def add(self, message: Message, fate: str) -> None:
        kept = message if self.keep_payloads else None
        step = len(self.records)
        record = Record(step, message.phase, message.sender, message.receiver, message.size, fate, kept)
        self.records.append(record)
        if self._observe is not None:
            self._observe(record)

    def add_seconds(self, phase: str, role: Role, seconds: float) -> None:
        self._seconds[phase, role] += seconds

    @property
    def seconds(self) -> Mapping[tuple[str, Role], float]:
        """Time that the parties of a role spent on messages of a phase."""
        return dict(self._seconds)

    def traffic(self) -> Mapping[Link, Traffic]:
        """Messages and bytes delivered, by phase and roles."""
        totals: defaultdict[Link, list[int]] = defaultdict(lambda: [0, 0])
        for record in self.records:
            if record.fate == "delivered":
                total = totals[Link(record.phase, record.sender.role, record.receiver.role)]
                total[0] += 1
                total[1] += record.size
        return {link: Traffic(*total) for link, total in totals.items()}

    def bytes_sent(self, party: PartyId) -> int:
        """Bytes that this party itself put on the wire, whatever became of them."""
        return self._sent.get(party, 0)

    def view(self, party: PartyId) -> tuple[Record, ...]:
        """What this party received, in order: with its own inputs and tape, all that it can know."""
        return tuple(r for r in self.records if r.receiver == party and r.fate == "delivered")
