"""Backend: the one narrow interface that masking, Paillier and secret sharing meet (spec section 6)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mpc.cost import Cost, LinkCost
from mpc.errors import LocalError
from mpc.leakage import Leakage
from mpc.party import SERVER, PartyId, Role, Saveable, Stateful
from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.checks.messages import CHECK_PHASE, Challenge
from secagg.client import RoundClient, Vector
from secagg.cohort import KEY_BYTES, Cohort, resolve_threshold
from secagg.identity import Identity, check_identity
from secagg.link import LinkedParty, greeting_bytes, part_room
from secagg.linkedserver import LinkedServer
from secagg.parts import DEFAULT_MESSAGE_BYTES, check_message_bytes, count_parts
from secagg.roundlog import RoundLog
from secagg.server import Aggregate, RoundServer

R = TypeVar("R")


class Backend(ABC):
    """A way to sum vectors that nobody may see.

    The contract: for the same encoded inputs and the same survivors every backend returns the same
    integers. ``phases`` are in order; ``input_phase`` is the one in which a client's contribution travels,
    and a client that goes silent in it or earlier is not in the sum.

    ``minimum``: how many contributions must be there before anything is opened, as a fraction of the cohort
    or a count; backends where that is also the threshold of the cryptography call it so.
    ``max_message_bytes``: no message of this party is longer on the wire, from 1024 to
    2^32 - 1; what has to be is sent in parts. The other parties' limits may differ.
    """

    name: ClassVar[str]
    phases: ClassVar[tuple[str, ...]]
    input_phase: ClassVar[str]
    client_phases: ClassVar[tuple[str, ...]]
    """Phases in which clients send: those from which one can go silent."""
    proves_on_shares: ClassVar[bool] = False
    """Whether clients can prove a ``ShareCheck``."""
    minimum_argument: ClassVar[str] = "threshold"
    """What the backend's constructor calls ``minimum``."""
    leakage: Leakage

    def __init__(self, minimum: float = 2 / 3, *, max_message_bytes: int = DEFAULT_MESSAGE_BYTES) -> None:
        resolve_threshold(minimum, minimum if isinstance(minimum, int) else 2, self.minimum_argument)
        self.minimum = minimum
        self.max_message_bytes = check_message_bytes(max_message_bytes)

    def resolve_threshold(self, members: int) -> int:
        """The threshold for a cohort of this size, as a count; ``LocalError`` if it has none."""
        return resolve_threshold(self.minimum, members, self.minimum_argument)

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
        log: RoundLog | None = None,
        tape: RandomTape,
    ) -> Saveable[None]:
        """One client. ``vector``: signed integers, shape (cohort.length,), within ±cohort.max_entry.

        ``identity``: the client's signing key, if and only if the cohort pins identities: a client that has
        one takes no part in a round where nobody signs.

        ``log``: the client's memory of the rounds that it took part in; ``LocalError`` for one that is in it.
        Whoever starts a round again with the same vectors gets two sums, which differ by those in one alone.

        ``LocalError`` for a cohort whose threshold is below this backend's: whoever made the cohort, the
        client does not take part in a round that would open a sum over fewer than it has agreed to.
        """
        party = self._linked_client(cohort, me, vector, identity, checks, tape)
        if log is not None and not log.enter(cohort.session, cohort.round):
            raise LocalError("cohort.round", cohort.round, f"client {me!r} has taken part in it already")
        return party

    def load_client(
        self,
        cohort: Cohort,
        me: str,
        data: bytes,
        *,
        identity: Identity | None = None,
        checks: Sequence[Check] = (),
        tape: RandomTape,
    ) -> Saveable[None]:
        """The client whose ``dump()`` gave ``data``; all other arguments as it was made with, checks anew.

        ``LocalError`` if it belongs elsewhere, with the name of what differs; ``DecodeError`` if it is
        damaged. A client that is restored twice, or from an old dump, could be made to reveal both kinds of
        share: see ``secagg.durable``.
        """
        nothing = np.broadcast_to(np.int64(0), (cohort.length,))
        party = self._linked_client(cohort, me, nothing, identity, checks, tape)
        party.load(data)
        return party

    def _linked_client(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        identity: Identity | None,
        checks: Sequence[Check],
        tape: RandomTape,
    ) -> LinkedParty[None]:
        if cohort.threshold < (least := self.resolve_threshold(cohort.size)):
            raise LocalError("cohort.threshold", cohort.threshold, f"this client asks for at least {least}")
        _check_tape(tape)
        self._check_checks(checks)
        check_identity(cohort, me, identity)
        inner = self._client(cohort, me, vector, checks, tape)
        inner.identity = identity
        party: LinkedParty[None] = LinkedParty.client(inner, cohort, tape, identity, self.max_message_bytes)
        party.context = self._context(cohort, inner.id, checks)
        return party

    def server(
        self, cohort: Cohort, *, link_key: bytes, checks: Sequence[Check] = (), tape: RandomTape
    ) -> Saveable[Aggregate]:
        """The server. ``link_key``: the X25519 private key whose public half the cohort pins."""
        return self._linked_server(cohort, link_key, checks, tape)

    def load_server(
        self, cohort: Cohort, data: bytes, *, link_key: bytes, checks: Sequence[Check] = (), tape: RandomTape
    ) -> Saveable[Aggregate]:
        """The server whose ``dump()`` gave ``data``; see :meth:`load_client`."""
        party = self._linked_server(cohort, link_key, checks, tape)
        party.load(data)
        return party

    def _linked_server(
        self, cohort: Cohort, link_key: bytes, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedServer:
        _check_tape(tape)
        self._check_checks(checks)
        if _public_half(link_key) != cohort.server_key:
            raise LocalError("link_key", "another key", "must be the private half of cohort.server_key")
        inner = self._server(cohort, checks, tape)
        helpers = self._helpers_of(checks)
        party = LinkedServer(inner, cohort, link_key, helpers, tape, self.max_message_bytes)
        party.context = self._context(cohort, SERVER, checks)
        return party

    def helpers(
        self, cohort: Cohort, *, checks: Sequence[Check] = (), tape: RandomTape
    ) -> Mapping[PartyId, Saveable[object]]:
        """The other parties of the protocol: aggregators or key holders, by id. ``checks``: the round's."""
        self._check_checks(checks)
        return {who: self._helper(cohort, who, checks, tape) for who in self._helpers_of(checks)}

    def load_helper(
        self,
        cohort: Cohort,
        who: PartyId,
        data: bytes,
        *,
        checks: Sequence[Check] = (),
        tape: RandomTape,
    ) -> Saveable[object]:
        """The helper whose ``dump()`` gave ``data``; see :meth:`load_client`."""
        if who not in (ids := self._helpers_of(checks)):
            raise LocalError("who", str(who), f"must be one of {', '.join(map(str, ids)) or 'none'}")
        party = self._helper(cohort, who, checks, tape)
        party.load(data)
        return party

    def leakage_of(self, checks: Sequence[Check]) -> Leakage:
        """What is learnt in a round with these checks: ``leakage``, unless they need more to be known."""
        return self.leakage

    def _check_checks(self, checks: Sequence[Check]) -> None:
        """``LocalError`` for checks on shares, where there are none."""
        for check in checks:
            if check.on_shares and not self.proves_on_shares:
                bound = f"is proved on shares, which {self.name} has not: SecretSharing has"
                raise LocalError("checks", check.name, bound)

    def _context(self, cohort: Cohort, who: PartyId, checks: Sequence[Check]) -> Mapping[str, object]:
        """All that a dump has to have in common with the party that takes its state on, in public values."""
        return {
            "backend": self.name,
            "party": str(who),
            "cohort": cohort.digest,
            "checks": tuple(check.name for check in checks),
            **self._parameters(),
        }

    def _parameters(self) -> Mapping[str, object]:
        """What of this backend a party's state depends on, in public values."""
        return {}

    def cost(self, cohort: Cohort, checks: Sequence[Check] = ()) -> Cost:
        """Rounds of communication, and bytes by link, of a run in which everybody stays."""
        rounds, declared = self._cost(cohort, checks)
        first_phase = next(link.phase for link in declared if link.sender is Role.CLIENT)
        links: list[LinkCost] = []
        for link in declared:
            greets = (link.sender, link.phase) == (Role.CLIENT, first_phase)
            links += self._linked(link, greeting_bytes(cohort) if greets else 0)
        sizes = [check.proof_bytes(cohort) for check in checks if check.proves]
        if sizes:
            rounds += 1
            for sender, size in ((Role.SERVER, Challenge.SIZE), (Role.CLIENT, sum(sizes))):
                receiver = Role.CLIENT if sender is Role.SERVER else Role.SERVER
                links += self._linked(LinkCost(CHECK_PHASE, sender, receiver, cohort.size, size))
        return Cost(rounds, tuple(links))

    def _linked(self, link: LinkCost, greeting: int = 0) -> list[LinkCost]:
        """A cost given in payload bytes, with header, tag and greeting: the full parts, and the last ones."""
        limit = self.max_message_bytes
        room = part_room(link.phase, limit, greeting)
        full = count_parts(link.size, room) - 1
        last = link.size - full * room + (limit - room)
        costs = [LinkCost(link.phase, link.sender, link.receiver, link.messages, last)]
        if full:
            costs.insert(0, LinkCost(link.phase, link.sender, link.receiver, link.messages * full, limit))
        return costs

    def _linked_helper(
        self,
        inner: Stateful[R],
        cohort: Cohort,
        private_key: bytes,
        checks: Sequence[Check],
        tape: RandomTape,
    ) -> LinkedParty[R]:
        """A helper at its end of the link, which takes no more than a full round has for one of its role."""
        _, links = self._cost(cohort, checks)
        largest = max(link.size for link in links if link.receiver is inner.id.role)
        party = LinkedParty.helper(inner, cohort, private_key, tape, self.max_message_bytes, largest)
        party.context = self._context(cohort, inner.id, [check for check in checks if check.on_shares])
        return party

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        """The helpers' pinned X25519 link keys."""
        return {}

    def _helpers_of(self, checks: Sequence[Check]) -> Mapping[PartyId, bytes]:
        """Those that take part in a round with these checks."""
        return self._helper_keys()

    def _helper(
        self, cohort: Cohort, who: PartyId, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedParty[object]:
        """One of the helpers that ``_helper_keys`` names; a backend that has any says how they are made."""
        raise LocalError("who", str(who), "this backend has no helpers")

    @abstractmethod
    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> RoundClient: ...

    @abstractmethod
    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> RoundServer[Any]: ...

    @abstractmethod
    def _cost(self, cohort: Cohort, checks: Sequence[Check]) -> tuple[int, list[LinkCost]]:
        """How often a client sends, and the messages, with payload sizes only."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.minimum_argument}={self.minimum:.4g})"


def _check_tape(tape: object) -> None:
    if not isinstance(tape, RandomTape):
        raise LocalError("tape", tape, "must be a RandomTape, such as SystemTape()")


def _public_half(link_key: bytes) -> bytes:
    if not isinstance(link_key, bytes):
        raise LocalError("link_key", type(link_key).__name__, "must be bytes")
    if len(link_key) != KEY_BYTES:
        raise LocalError("len(link_key)", len(link_key), f"an X25519 key has {KEY_BYTES} bytes")
    return X25519PrivateKey.from_private_bytes(link_key).public_key().public_bytes_raw()
