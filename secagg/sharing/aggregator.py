"""An aggregator: opens its shares, judges them, adds up those that count (spec section 13.4).

It holds the running sum and the shares that nobody has decided on yet, one or two as a rule: O(length)
memory, whatever the cohort.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mpc.errors import DecodeError, PeerError
from mpc.party import SERVER, Message, PartyId, Role, StateMachine
from mpc.prg import Usage, tag
from mpc.snapshot import Kind
from secagg.cohort import Cohort
from secagg.sharing.keys import AggregatorKey, share_context
from secagg.sharing.messages import (
    DECIDE,
    OPEN,
    RELAY,
    SUM,
    VERDICT,
    Decision,
    JudgedShare,
    RelayedShare,
    SumRequest,
    SumShare,
)
from secagg.sharing.scheme import Fault, Scheme


class Aggregator(StateMachine):
    """One aggregator of one round.

    It gives away one sum, over at least ``cohort.threshold`` clients, all of whom it has counted, and
    nobody it has counted left out; and never a second one for the same cohort, which is what ``key``
    remembers: two sums over different clients would tell those clients apart. Where shares are proved, it
    counts nobody whose proof does not hold by the verifier shares that the server relays.
    """

    result: None = None
    sketch_seed_bytes: ClassVar[int] = 0
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        ("collecting", RELAY): "_on_share",
        ("collecting", DECIDE): "_on_decision",
        ("collecting", OPEN): "_on_request",
        ("asked", RELAY): "_on_late",
        ("asked", DECIDE): "_on_decision",
        ("opened", RELAY): "_on_late",
        ("opened", DECIDE): "_on_late",
    }
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        ("collecting", "asked"): OPEN,
        ("collecting", "opened"): OPEN,
        ("asked", "opened"): DECIDE,
    }
    saved: ClassVar[tuple[str, ...]] = (
        "_sum",
        "_pending",
        "_judged",
        "_counted",
        "_discarded",
        "_asked",
        "_judging",
        "_entered",
    )

    def __init__(self, cohort: Cohort, index: int, key: AggregatorKey, scheme: Scheme) -> None:
        super().__init__("collecting")
        self.cohort = cohort
        self.index = index
        self._key = key
        self._sum = np.zeros(cohort.length, np.uint64)
        self._scheme = scheme
        self._pending: dict[int, Any] = {}
        self._judged: set[int] = set()
        self._counted: set[int] = set()
        self._discarded: set[int] = set()
        self._asked: set[int] = set()  # for a sum over whom, some of whom are not decided on yet
        self._judging = False
        self._entered = False

    @property
    def id(self) -> PartyId:
        return PartyId(Role.AGGREGATOR, self.index)

    def start(self) -> list[Message]:
        return []

    def _on_share(self, message: Message) -> list[Message]:
        relayed = RelayedShare.decode(
            message.payload, self.cohort.size, self._scheme.challenge_bytes, self.sketch_seed_bytes
        )
        client = relayed.client
        if client in self._judged:
            raise self._refuse(message, f"a second share of {self._name(client)}")
        if client in self._discarded:
            return []
        if self._scheme.verifier_bytes and not self._judging:
            # Two verdicts on one proof, under two challenges, give a share away: noted before the first.
            self._enter(message, Usage.JUDGING, "shares of a round in which it has judged proofs before")
            self._judging = True
        self._judged.add(client)
        return [self._to_server(VERDICT, self._examine(relayed).encode())]

    def _examine(self, relayed: RelayedShare) -> JudgedShare:
        client = relayed.client
        context = share_context(self.cohort.digest, client, self.index)
        try:
            share = self._key.box.unseal(context, relayed.sealed)
        except DecodeError:
            return JudgedShare(client, Fault.SEAL)
        if len(share) != self._scheme.share_bytes(self.index):
            return JudgedShare(client, Fault.LENGTH)
        try:
            held, verifier = self._scheme.open(self.index, client, share, relayed.challenge)
        except DecodeError:
            return JudgedShare(client, Fault.RANGE)
        self._pending[client] = held
        return JudgedShare(client, Fault.NONE, verifier)

    def _on_decision(self, message: Message) -> list[Message]:
        scheme = self._scheme
        decision = Decision.decode(
            message.payload, self.cohort.size, scheme.verifier_bytes, scheme.aggregators
        )
        client = decision.client
        if decision.counts:
            if client not in self._pending:
                raise self._refuse(message, f"is to count {self._name(client)}, of whom it has no good share")
            self._count(message, client, decision.verifiers)
        elif client in self._counted:
            raise self._refuse(message, f"is to forget {self._name(client)}, who is in the sum already")
        else:
            self._pending.pop(client, None)
            self._discarded.add(client)
        return self._open(message) if self.state == "asked" else []

    def _count(self, message: Message, client: int, verifiers: tuple[bytes, ...]) -> None:
        try:
            self._scheme.count(self._sum, self.index, client, self._pending[client], verifiers)
        except DecodeError as error:
            raise self._refuse(message, f"is to count {self._name(client)}, with {error}") from None
        del self._pending[client]
        self._counted.add(client)

    def _on_request(self, message: Message) -> list[Message]:
        asked = frozenset(SumRequest.decode(message.payload, self.cohort.size).clients)
        self._check_request(message, asked)
        # Noted before anything is given away: a request that fails from here on is not tried again.
        self._enter(message, None, "asks for a sum of a round that has been served before")
        self._entered = True
        self._asked = set(asked)
        if not self._scheme.verifier_bytes:
            # A decision may be overtaken by the request, or lost. The request says the same thing.
            for client in asked - self._counted:
                self._count(message, client, ())
        if self._asked != self._counted:
            self.state = "asked"
        return self._open(message)

    def _enter(self, message: Message, purpose: Usage | None, reason: str) -> None:
        """Note the round in the log, for one purpose; a ``PeerError`` if it is there."""
        if not self._key.log.enter(*self._entry(purpose)) and not self.replaying:
            raise self._refuse(message, reason)

    def _entry(self, purpose: Usage | None) -> tuple[bytes, int]:
        """The round as it stands in the log: for its sum, or for what comes before, under another session."""
        session = self.cohort.session
        if purpose is not None:
            session = hashlib.sha256(tag(purpose) + session).digest()[: len(session)]
        return session, self.cohort.round

    def _open(self, message: Message) -> list[Message]:
        """The sum share, once all that it is asked over have been counted; no decision may leave one out."""
        if self._asked & self._discarded or self._counted - self._asked:
            raise self._refuse(message, "decides otherwise on a client than its request for the sum did")
        if self._asked != self._counted:
            return []
        self.state = "opened"
        payload = SumShare(self._sum).encode()
        self._pending.clear()
        self._sum = self._sum[:0]
        return [self._to_server(SUM, payload)]

    def _check_request(self, message: Message, asked: frozenset[int]) -> None:
        if len(asked) < self.cohort.threshold:
            raise self._refuse(
                message,
                f"asks for a sum over {len(asked)} clients; the threshold is {self.cohort.threshold}",
            )
        if left_out := self._counted - asked:
            raise self._refuse(message, f"leaves out clients that are in the sum: {self._names(left_out)}")
        if unknown := asked - self._counted - self._pending.keys():
            raise self._refuse(
                message, f"asks for clients of whom it has no good share: {self._names(unknown)}"
            )

    def _on_late(self, message: Message) -> list[Message]:
        """What the server sent before it asked for the sum, and what came after: it changes nothing."""
        return []

    def kinds(self) -> tuple[Kind, ...]:
        return (*super().kinds(), *self._scheme.kinds)

    def restore(self, state: Mapping[str, object]) -> None:
        super().restore(state)
        # The log may be older than this party.
        if self._judging:
            self._key.log.enter(*self._entry(Usage.JUDGING))
        if self._entered:
            self._key.log.enter(*self._entry(None))

    def _to_server(self, phase: str, payload: bytes) -> Message:
        return Message(self.cohort.session, self.cohort.round, phase, self.id, SERVER, payload)

    def _name(self, client: int) -> str:
        return f"client {self.cohort.members[client]!r}"

    def _names(self, clients: set[int] | frozenset[int]) -> str:
        return ", ".join(self.cohort.names(sorted(clients)))

    @staticmethod
    def _refuse(message: Message, reason: str) -> PeerError:
        return PeerError(message.sender, message.phase, reason)

    def __repr__(self) -> str:
        return f"Aggregator({self.index}, round {self.cohort.round}, state {self.state!r})"
