"""The messages of the sharing protocol, in the order in which they are sent (spec section 13.2).

How long shares, challenges and verifier shares are, the round's ``Scheme`` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from mpc import field
from mpc.errors import DecodeError
from mpc.wire import Reader, Writer
from secagg.checks.messages import CHECK_PHASE
from secagg.sealed import SEAL_OVERHEAD
from secagg.sharing.scheme import Fault

INPUT = "shared-input"
CHECK = CHECK_PHASE
RELAY = "relay-share"
VERDICT = "verdict"
# With a rule on outliers:
DEAL = "deal"
DEALT = "dealt"
SKETCH = "mask-sketches"
MASKED = "masked-sketches"
COMPARE = "compare"
GRAM = "gram-share"

DECIDE = "decide"
OPEN = "open-sum"
SUM = "sum-share"
# Shares are relayed as inputs arrive; after the check phase if a check may refuse a frozen input.
PHASES = (INPUT, CHECK, RELAY, VERDICT, DEAL, DEALT, SKETCH, MASKED, COMPARE, GRAM, DECIDE, OPEN, SUM)


@dataclass(frozen=True, slots=True, eq=False)
class SharedInput:
    """Client to server: its shares, each sealed to its aggregator, by aggregator.

    ``shares``: the bytes of each, before it is sealed.
    """

    sealed: Sequence[bytes | memoryview]

    @staticmethod
    def size(shares: Sequence[int]) -> int:
        return sum(shares) + len(shares) * SEAL_OVERHEAD

    def encode(self) -> bytes:
        return b"".join(self.sealed)

    @classmethod
    def decode(cls, data: bytes | memoryview, shares: Sequence[int]) -> SharedInput:
        reader = Reader(data)
        sealed = [reader.view(size + SEAL_OVERHEAD) for size in shares]
        reader.finish()
        return cls(sealed)

    def __repr__(self) -> str:
        return f"SharedInput(<{len(self.sealed)} sealed shares>)"


@dataclass(frozen=True, slots=True, eq=False)
class RelayedShare:
    """Server to aggregator: what this client sealed to it.

    With it the challenge to its proof if there is one, and the seed of the round's sketches if there are any.
    """

    client: int
    sealed: bytes | memoryview
    challenge: bytes = b""
    seed: bytes = b""

    @staticmethod
    def size(share: int, challenge: int = 0, seed: int = 0) -> int:
        return 4 + challenge + seed + share + SEAL_OVERHEAD

    def encode(self) -> bytes:
        return b"".join((Writer().u32(self.client).finish(), self.challenge, self.seed, self.sealed))

    @classmethod
    def decode(
        cls, data: bytes | memoryview, members: int, challenge: int = 0, seed: int = 0
    ) -> RelayedShare:
        reader = Reader(data)
        client, drawn, common = _client(reader, members), reader.fixed(challenge), reader.fixed(seed)
        return cls(client, reader.rest(), drawn, common)

    def __repr__(self) -> str:
        return f"RelayedShare(client={self.client}, <{len(self.sealed)} bytes>)"


@dataclass(frozen=True, slots=True)
class JudgedShare:
    """Aggregator to server: what is wrong with this client's share; if nothing, its verifier share."""

    client: int
    fault: Fault
    verifier: bytes = b""

    @staticmethod
    def size(verifier: int = 0) -> int:
        return 5 + verifier

    def encode(self) -> bytes:
        return Writer().u32(self.client).u8(self.fault).finish() + self.verifier

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int, verifier: int = 0) -> JudgedShare:
        reader = Reader(data)
        client, code = _client(reader, members), reader.u8()
        if code not in set(Fault):
            raise DecodeError(f"fault {code} is not in the list")
        told = reader.fixed(0 if code else verifier)
        reader.finish()
        return cls(client, Fault(code), told)


@dataclass(frozen=True, slots=True)
class Decision:
    """Server to aggregator: to forget this client's share, or to count it, and everybody's verifier shares.

    With these each aggregator sees for itself that the proof holds.
    """

    client: int
    counts: bool
    verifiers: tuple[bytes, ...] = ()

    @staticmethod
    def size(verifier: int = 0, aggregators: int = 0) -> int:
        return 5 + aggregators * verifier

    def encode(self) -> bytes:
        return Writer().u32(self.client).u8(self.counts).finish() + b"".join(self.verifiers)

    @classmethod
    def decode(
        cls, data: bytes | memoryview, members: int, verifier: int = 0, aggregators: int = 0
    ) -> Decision:
        reader = Reader(data)
        client, counts = _client(reader, members), reader.u8()
        if counts > 1:
            raise DecodeError(f"a decision is 0 or 1, not {counts}")
        told = tuple(reader.fixed(verifier) for _ in range(aggregators)) if counts else ()
        reader.finish()
        return cls(client, bool(counts), told)


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
    def decode(cls, data: bytes | memoryview, members: int) -> Self:
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
