"""Backend: the one narrow interface that masking, Paillier and secret sharing meet (spec section 6)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mpc.cost import Cost, LinkCost
from mpc.errors import LocalError
from mpc.leakage import Leakage
from mpc.party import Party, PartyId, Role, overhead
from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.checks.messages import CHECK_PHASE, Challenge
from secagg.client import RoundClient, Vector
from secagg.cohort import KEY_BYTES, Cohort, resolve_threshold
from secagg.identity import Identity, check_identity
from secagg.link import TAG_BYTES, LinkedParty, LinkedServer, greeting_bytes
from secagg.server import Aggregate, RoundServer


class Backend(ABC):
    """A way to sum vectors that nobody may see.

    The contract: for the same encoded inputs and the same survivors every backend returns the same
    integers. ``phases`` are in order; ``input_phase`` is the one in which a client's contribution travels,
    and a client that goes silent in it or earlier is not in the sum.

    ``threshold``: how many contributions must be there before anything is opened, as a fraction of the
    cohort or a count.
    """

    name: ClassVar[str]
    phases: ClassVar[tuple[str, ...]]
    input_phase: ClassVar[str]
    client_phases: ClassVar[tuple[str, ...]]
    """Phases in which clients send: those from which one can go silent."""
    leakage: Leakage

    def __init__(self, threshold: float = 2 / 3) -> None:
        resolve_threshold(threshold, threshold if isinstance(threshold, int) else 2)
        self.threshold = threshold

    def resolve_threshold(self, members: int) -> int:
        """The threshold for a cohort of this size, as a count; ``LocalError`` if it has none."""
        return resolve_threshold(self.threshold, members)

    def setup(self, tape: RandomTape | None = None) -> Self:
        """This backend with the long-term keys of its helpers, made now if it has none.

        ``aggregate()`` does this for each call; do it once where keys are to last over rounds.
        """
        return self

    def client(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        *,
        identity: Identity | None = None,
        checks: Sequence[Check] = (),
        tape: RandomTape,
    ) -> Party[None]:
        """One client. ``vector``: signed integers, shape (cohort.length,), within ±cohort.max_entry.

        ``identity``: the client's signing key, if and only if the cohort pins identities: a client that has
        one takes no part in a round where nobody signs.

        ``LocalError`` for a cohort whose threshold is below this backend's: whoever made the cohort, the
        client does not take part in a round that would open a sum over fewer than it has agreed to.
        """
        if cohort.threshold < (least := self.resolve_threshold(cohort.size)):
            raise LocalError("cohort.threshold", cohort.threshold, f"this client asks for at least {least}")
        check_identity(cohort, me, identity)
        inner = self._client(cohort, me, vector, checks, tape)
        inner.identity = identity
        return LinkedParty.client(inner, cohort, tape, identity)

    def server(
        self, cohort: Cohort, *, link_key: bytes, checks: Sequence[Check] = (), tape: RandomTape
    ) -> Party[Aggregate]:
        """The server. ``link_key``: the X25519 private key whose public half the cohort pins."""
        if _public_half(link_key) != cohort.server_key:
            raise LocalError("link_key", "another key", "must be the private half of cohort.server_key")
        inner = self._server(cohort, checks, tape)
        return LinkedServer(inner, cohort, link_key, self._helper_keys(), tape)

    def helpers(self, cohort: Cohort, *, tape: RandomTape) -> Mapping[PartyId, Party[object]]:
        """The other parties of the protocol: aggregators or key holders, by id."""
        return {}

    def cost(self, cohort: Cohort, checks: Sequence[Check] = ()) -> Cost:
        """Rounds of communication, and bytes by link, of a run in which everybody stays."""
        rounds, links = self._cost(cohort)
        first_phase = next(link.phase for link in links if link.sender is Role.CLIENT)
        links = [
            self._linked(
                link, greeting_bytes(cohort) if (link.sender, link.phase) == (Role.CLIENT, first_phase) else 0
            )
            for link in links
        ]
        sizes = [check.proof_bytes(cohort) for check in checks if check.proves]
        if sizes:
            rounds += 1
            for sender, size in ((Role.SERVER, Challenge.SIZE), (Role.CLIENT, sum(sizes))):
                receiver = Role.CLIENT if sender is Role.SERVER else Role.SERVER
                proof = LinkCost(CHECK_PHASE, sender, receiver, cohort.size, size)
                links.append(self._linked(proof))
        return Cost(rounds, tuple(links))

    @staticmethod
    def _linked(link: LinkCost, greeting: int = 0) -> LinkCost:
        """A cost given in payload bytes, with header, tag, and the greeting of a first message."""
        size = link.size + overhead(link.phase, TAG_BYTES) + greeting
        return LinkCost(link.phase, link.sender, link.receiver, link.messages, size)

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        """The helpers' pinned X25519 link keys."""
        return {}

    @abstractmethod
    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> RoundClient: ...

    @abstractmethod
    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> RoundServer[Any]: ...

    @abstractmethod
    def _cost(self, cohort: Cohort) -> tuple[int, list[LinkCost]]:
        """How often a client sends, and the messages, with payload sizes only."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(threshold={self.threshold:.4g})"


def _public_half(link_key: bytes) -> bytes:
    if len(link_key) != KEY_BYTES:
        raise LocalError("len(link_key)", len(link_key), f"an X25519 key has {KEY_BYTES} bytes")
    return X25519PrivateKey.from_private_bytes(link_key).public_key().public_bytes_raw()
