"""How a vector becomes shares, and what an aggregator does with one (spec section 13.1).

Plainly: shares are well-formed or not. Proved (section 13.7): they carry a proof of what the round's checks
claim, of which each aggregator verifies its part alone, and all together the whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from mpc import field
from mpc.errors import DecodeError, LocalError
from mpc.flp.contribution import Claims, Contribution
from mpc.flp.field64 import Field64
from mpc.flp.messages import encode_public_share, encode_verifier_message
from mpc.flp.proof import ProofError
from mpc.flp.vdaf import NONCE_BYTES
from mpc.snapshot import Kind, record
from mpc.tape import RandomTape
from secagg.client import Vector
from secagg.sharing.keys import SEED_BYTES, share_key

EXPLICIT = 0  # the aggregator that gets the share that is not a seed


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


class Unprovable(Exception):
    """The client's own vector breaks a claim; the text says which."""


class Scheme(ABC):
    """The shares of one cohort's vectors, of ``length`` entries, for ``aggregators``.

    ``largest_entry``: of a vector whose proof holds, where a claim bounds it. ``verifier_bytes``: of what an
    aggregator tells the others of a good share; ``challenge_bytes``: of what the server draws for each
    client, once its shares have arrived. ``kinds``: for snapshots of what is held.
    """

    largest_entry: int = 0
    verifier_bytes: int = 0
    challenge_bytes: int = 0
    kinds: ClassVar[tuple[Kind, ...]] = ()

    def __init__(self, digest: bytes, length: int, aggregators: int) -> None:
        self.digest = digest
        self.length = length
        self.aggregators = aggregators

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of a client's share, by aggregator, before it is sealed."""
        return tuple(self.share_bytes(aggregator) for aggregator in range(self.aggregators))

    @abstractmethod
    def share_bytes(self, aggregator: int) -> int: ...

    @abstractmethod
    def split(self, client: int, vector: Vector, tape: RandomTape) -> list[bytes | memoryview]:
        """The shares, by aggregator."""

    @abstractmethod
    def open(self, aggregator: int, client: int, share: bytes, challenge: bytes) -> tuple[Any, bytes]:
        """What the aggregator holds on to, and its verifier share; ``DecodeError`` for what is no share.

        ``share`` has the right length.
        """

    @abstractmethod
    def count(
        self, total: field.Elements, aggregator: int, client: int, held: Any, verifiers: Sequence[bytes]
    ) -> None:
        """Add what is held to ``total``; ``DecodeError``, and nothing added, if the verifiers refuse it."""

    def check_verifier(self, verifier: bytes) -> None:
        """``DecodeError`` for ``verifier_bytes`` bytes that no honest aggregator tells."""
        return

    def objection(self, verifiers: Sequence[bytes]) -> str | None:
        """What all aggregators' verifier shares together say against a client, if anything.

        All of them are such as ``check_verifier`` lets pass.
        """
        return None


class PlainShares(Scheme):
    """x = x_0 + Σ expand(seed_j) over Field64: x_0 in full, and m − 1 seeds.

    Any m − 1 of these are uniform whatever x is: without x_0 they are seeds, and without seed_j its
    expansion hides x in x_0.
    """

    def share_bytes(self, aggregator: int) -> int:
        return field.ELEMENT_BYTES * self.length if aggregator == EXPLICIT else SEED_BYTES

    def split(self, client: int, vector: Vector, tape: RandomTape) -> list[bytes | memoryview]:
        explicit = field.encode(vector)
        seeds = [tape.read(SEED_BYTES) for _ in range(1, self.aggregators)]
        for aggregator, seed in enumerate(seeds, start=1):
            field.sub_expansion(explicit, share_key(seed, self.digest, client, aggregator))
        return [explicit.astype("<u8", copy=False).data.cast("B"), *seeds]

    def open(self, aggregator: int, client: int, share: bytes, challenge: bytes) -> tuple[Any, bytes]:
        """A seed, kept as such until it counts, or the explicit share."""
        return share if aggregator != EXPLICIT else field.from_bytes(share), b""

    def count(
        self, total: field.Elements, aggregator: int, client: int, held: Any, verifiers: Sequence[bytes]
    ) -> None:
        if isinstance(held, bytes):
            field.add_expansion(total, share_key(held, self.digest, client, aggregator))
        else:
            field.add_into(total, held)


@dataclass(frozen=True, slots=True)
class Verifying:
    """What an aggregator holds of a client until all verifier shares are there. SECRET, but for ``own``."""

    output: field.Elements
    own: bytes

    def __repr__(self) -> str:
        return "Verifying(<secret>)"


class ProvedShares(Scheme):
    """Shares with a proof of ``claims`` (PINE and more; spec section 16.16).

    The proof is bound to the cohort, hence session and round, and to the client's place in it. Its challenge
    is drawn by the server after the shares have arrived: no client can prepare for it.

    With its verifier share an aggregator tells the seeds of joint randomness that it has used, so that the
    server finds out whatever the aggregators would.
    """

    kinds = (record(Verifying),)

    def __init__(self, digest: bytes, claims: Claims, aggregators: int, stated: str = "") -> None:
        """``stated``: the claims in words, for a client that cannot prove them."""
        super().__init__(digest, claims.length, aggregators)
        self._stated = stated
        self.largest_entry = claims.bound or 0
        self._vdaf = Contribution(claims, shares=aggregators)
        layout = self._vdaf.layout
        self.challenge_bytes = layout.seed_bytes
        self.verifier_bytes = layout.verifier_share_bytes + layout.verifier_message_bytes

    def share_bytes(self, aggregator: int) -> int:
        layout = self._vdaf.layout
        return layout.public_share_bytes + layout.input_share_bytes(aggregator)

    def split(self, client: int, vector: Vector, tape: RandomTape) -> list[bytes | memoryview]:
        """Public share ‖ input share. ``Unprovable`` for a vector that breaks a claim."""
        try:
            public, shares = self._vdaf.shard_from(
                self.digest, vector.astype(np.int64, copy=False), _nonce(client), tape
            )
        except LocalError as error:
            raise Unprovable(f"{error.bound}: {self._stated}") from None
        head = encode_public_share(public)
        return [head + share.encode(Field64) for share in shares]

    def open(self, aggregator: int, client: int, share: bytes, challenge: bytes) -> tuple[Any, bytes]:
        layout = self._vdaf.layout
        cut = layout.public_share_bytes
        public = layout.public_share(share[:cut])
        own = layout.input_share(aggregator, memoryview(share)[cut:])
        state, verifier = self._vdaf.verify_init(
            challenge, self.digest, aggregator, _nonce(client), public, own
        )
        told = verifier.encode(Field64) + encode_verifier_message(state.seeds)
        return Verifying(state.out_share, told), told

    def count(
        self, total: field.Elements, aggregator: int, client: int, held: Any, verifiers: Sequence[bytes]
    ) -> None:
        if verifiers[aggregator] != held.own:
            raise DecodeError("verifier shares in which its own is another")
        if (why := self.objection(verifiers)) is not None:
            raise DecodeError(f"verifier shares that refuse the proof: {why}")
        field.add_into(total, held.output)

    def check_verifier(self, verifier: bytes) -> None:
        self._vdaf.layout.verifier_share(verifier[: self._vdaf.layout.verifier_share_bytes])

    def objection(self, verifiers: Sequence[bytes]) -> str | None:
        size = self._vdaf.layout.verifier_share_bytes
        shares = [self._vdaf.layout.verifier_share(verifier[:size]) for verifier in verifiers]
        try:
            message = encode_verifier_message(self._vdaf.verifier_shares_to_message(self.digest, shares))
        except ProofError as error:
            return str(error)
        if any(verifier[size:] != message for verifier in verifiers):
            return "its joint randomness is not that of its shares"
        return None


def _nonce(client: int) -> bytes:
    """With the cohort's digest beside it, no two reports have the same."""
    return client.to_bytes(NONCE_BYTES, "little")
