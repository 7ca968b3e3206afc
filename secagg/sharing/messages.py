"""The messages of the sharing protocol, in the order in which they are sent (spec section 13.2).

Aggregator 0 is sent a client's explicit share, of 8 bytes a coordinate; every other one a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from mpc import field
from mpc.errors import DecodeError
from mpc.wire import Reader, Writer
from secagg.checks.messages import CHECK_PHASE
from secagg.sealed import SEAL_OVERHEAD
from secagg.sharing.keys import SEED_BYTES

INPUT = "shared-input"
CHECK = CHECK_PHASE
RELAY = "relay-share"
VERDICT = "verdict"
DECIDE = "decide"
OPEN = "open-sum"
SUM = "sum-share"
# Shares are relayed as inputs arrive; after the check phase if a check may refuse a frozen input.
PHASES = (INPUT, CHECK, RELAY, VERDICT, DECIDE, OPEN, SUM)

EXPLICIT = 0  # the aggregator that gets the share that is not a seed


def share_bytes(length: int, aggregator: int) -> int:
    """The size of one client's share for this aggregator, before it is sealed."""
    return field.ELEMENT_BYTES * length if aggregator == EXPLICIT else SEED_BYTES


def sealed_bytes(length: int, aggregator: int) -> int:
    return share_bytes(length, aggregator) + SEAL_OVERHEAD


class Fault(IntEnum):
    """What an aggregator finds wrong with a share; the number travels in its verdict."""

    NONE = 0
    SEAL = 1
    LENGTH = 2
    RANGE = 3

    @property
    def text(self) -> str:
        return _FAULTS[self]


_FAULTS = {
    Fault.NONE: "is well-formed",
    Fault.SEAL: "does not open: altered, or sealed for another round, client or aggregator",
    Fault.LENGTH: "has the wrong length",
    Fault.RANGE: "holds a number that is not a field element",
}


@dataclass(frozen=True, slots=True, eq=False)
class SharedInput:
    """Client to server: its shares, each sealed to its aggregator, by aggregator."""

    sealed: Sequence[bytes | memoryview]

    @staticmethod
    def size(length: int, aggregators: int) -> int:
        return sum(sealed_bytes(length, aggregator) for aggregator in range(aggregators))

    def encode(self) -> bytes:
        return b"".join(self.sealed)

    @classmethod
    def decode(cls, data: bytes | memoryview, length: int, aggregators: int) -> SharedInput:
        reader = Reader(data)
        sealed = [reader.view(sealed_bytes(length, aggregator)) for aggregator in range(aggregators)]
        reader.finish()
        return cls(sealed)

    def __repr__(self) -> str:
        return f"SharedInput(<{len(self.sealed)} sealed shares>)"


@dataclass(frozen=True, slots=True, eq=False)
class RelayedShare:
    """Server to aggregator: what this client sealed to it."""

    client: int
    sealed: bytes | memoryview

    @staticmethod
    def size(length: int, aggregator: int) -> int:
        return 4 + sealed_bytes(length, aggregator)

    def encode(self) -> bytes:
        return b"".join((Writer().u32(self.client).finish(), self.sealed))

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> RelayedShare:
        reader = Reader(data)
        return cls(_client(reader, members), reader.rest())

    def __repr__(self) -> str:
        return f"RelayedShare(client={self.client}, <{len(self.sealed)} bytes>)"


@dataclass(frozen=True, slots=True)
class JudgedShare:
    """Aggregator to server: whether this client's share is well-formed, and if not, why."""

    client: int
    fault: Fault

    SIZE = 5

    def encode(self) -> bytes:
        return Writer().u32(self.client).u8(self.fault).finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> JudgedShare:
        reader = Reader(data)
        client, code = _client(reader, members), reader.u8()
        reader.finish()
        if code not in _FAULTS:
            raise DecodeError(f"fault {code} is not in the list")
        return cls(client, Fault(code))


@dataclass(frozen=True, slots=True)
class Decision:
    """Server to aggregator: whether to count this client's share or to forget it."""

    client: int
    counts: bool

    SIZE = 5

    def encode(self) -> bytes:
        return Writer().u32(self.client).u8(self.counts).finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> Decision:
        reader = Reader(data)
        client, counts = _client(reader, members), reader.u8()
        reader.finish()
        if counts > 1:
            raise DecodeError(f"a decision is 0 or 1, not {counts}")
        return cls(client, bool(counts))


@dataclass(frozen=True, slots=True)
class SumRequest:
    """Server to aggregator: the clients over whose shares the sum is asked for."""

    clients: tuple[int, ...]

    @staticmethod
    def size(members: int) -> int:
        return (members + 7) // 8

    def encode(self, members: int) -> bytes:
        return Writer().members(self.clients, members).finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> SumRequest:
        reader = Reader(data)
        clients = reader.members(members)
        reader.finish()
        return cls(clients)


@dataclass(frozen=True, slots=True, eq=False)
class SumShare:
    """Aggregator to server: the sum of the shares asked for, field elements of shape (cohort.length,)."""

    elements: field.Elements

    @staticmethod
    def size(length: int) -> int:
        return field.ELEMENT_BYTES * length

    def encode(self) -> bytes:
        return field.to_bytes(self.elements)

    @classmethod
    def decode(cls, data: bytes | memoryview, length: int) -> SumShare:
        if len(data) != cls.size(length):
            raise DecodeError(f"a sum share of {len(data)} bytes, where {cls.size(length)} were due")
        return cls(field.from_bytes(data))

    def __repr__(self) -> str:
        return f"SumShare(<{self.elements.size} elements>)"


def _client(reader: Reader, members: int) -> int:
    if (client := reader.u32()) >= members:
        raise DecodeError(f"client {client} is not one of the {members} members")
    return client
