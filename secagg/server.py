"""What the servers of all backends share: collecting, refusing, freezing, asking the checks (spec section 9).

A round is a row of phases. In each, the server waits for one message from every client that it still
counts on; when all have arrived, or the deadline has passed, it closes the phase with those it has heard.
A backend's server adds its own phases before and after the input, and says how an input is decoded,
folded into the sum, and how the sum is opened.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.errors import AbortError, DecodeError, PeerError
from mpc.party import SERVER, Message, PartyId, Role, StateMachine, client_id
from mpc.snapshot import Kind
from mpc.tape import RandomTape
from secagg.checks.base import SEED_BYTES, Check, Gate, Rejection, restore_checks, save_checks
from secagg.checks.messages import CHECK_PHASE, Challenge, Proofs
from secagg.checks.structural import Structural
from secagg.cohort import Cohort
from secagg.parts import most_payload

C = TypeVar("C")  # a decoded contribution


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """What a round yields: the exact sum over the survivors' vectors, and who is not in it and why.

    Clients by index, their place in the cohort: ``cohort.names(survivors)`` are their names. ``faults``: the
    helpers that were caught departing from the protocol, and how, where the sum could do without them.
    """

    total: NDArray[np.int64]
    survivors: tuple[int, ...]
    rejected: Mapping[int, Rejection]
    faults: Mapping[PartyId, str] = field(default_factory=dict)


# Evidence is any mapping, of which a plain one comes back.
_KINDS = (
    Kind(Rejection, lambda one: (one.check, one.reason, dict(one.evidence)), lambda plain: Rejection(*plain)),
    Kind(
        Aggregate,
        lambda one: (one.total, one.survivors, dict(one.rejected), dict(one.faults)),
        lambda plain: Aggregate(*plain),
    ),
)


class RoundServer(StateMachine, Generic[C]):
    """Base of all servers.

    ``transitions`` lists (state, phase) → handler, ``closings`` state → what closes it. A message of a
    phase that is over is late and changes nothing; one of a phase that is yet to come is a fault.
    """

    DONE: ClassVar[str] = "done"
    phases: ClassVar[tuple[str, ...]]
    input_phase: ClassVar[str]
    closings: ClassVar[Mapping[str, str]]
    saved: ClassVar[tuple[str, ...]] = (
        "result",
        "rejected",
        "faults",
        "_suspected",
        "_awaited",
        "_heard",
        "_held",
        "_proofs",
        "_seed",
    )

    def __init__(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape, state: str) -> None:
        super().__init__(state)
        self.cohort = cohort
        self.result: Aggregate | None = None
        self.rejected: dict[int, Rejection] = {}
        self.faults: dict[PartyId, str] = {}
        self._tape = tape
        self._gate = Gate(cohort, (Structural(self._expected_bytes, self._largest_entry()), *checks))
        self._proof_sizes = tuple(check.proof_bytes(cohort) for check in self._gate.provers)
        self._suspected: dict[int, Rejection] = {}
        self._awaited = set(range(cohort.size))
        self._heard: set[int] = set()
        self._held: dict[int, C] = {}
        self._proofs: dict[int, tuple[bytes, ...]] = {}
        self._seed = b""

    # What a backend's server adds.

    @abstractmethod
    def _payload_bytes(self, phase: str) -> int | None:
        """The one length that a client's payload has in this phase, or None where it varies."""

    def _largest_entry(self) -> int:
        """Of a contribution that has passed all checks, if it may be beyond ``cohort.max_entry``."""
        return 0

    @abstractmethod
    def _decode_input(self, payload: bytes | memoryview) -> C:
        """Strictly decode a contribution; ``DecodeError`` refuses its sender."""

    @abstractmethod
    def _fold(self, index: int, contribution: C) -> list[Message]:
        """Add a decoded contribution to the running sum."""

    @abstractmethod
    def _open(self, accepted: tuple[int, ...]) -> list[Message]:
        """Every contribution of ``accepted``, and no other, is folded in: open the sum."""

    # The party.

    @property
    def id(self) -> PartyId:
        return SERVER

    def start(self) -> list[Message]:
        return []

    def receive(self, message: Message) -> list[Message]:
        if message.sender.role is Role.CLIENT:
            return self._from_client(message)
        if message.phase in (self.input_phase, CHECK_PHASE):
            # Helpers and clients are numbered alike: a helper's message must not pass for a client's input.
            raise AbortError(f"{message.sender} in phase {message.phase!r}: only clients speak in it")
        return super().receive(message)

    def expire(self) -> list[Message]:
        return self._close() if self.state in self.closings else []

    def suspect(self, error: PeerError) -> None:
        """A message that may not be its sender's own was thrown away; an intact one may yet arrive."""
        if error.party.role is Role.CLIENT and error.party.index < self.cohort.size:
            self._suspected[error.party.index] = Rejection("link", error.reason, {"phase": error.phase})

    def payload_limit(self, sender: PartyId, phase: str) -> int:
        """Bytes of the longest payload that a message of this phase can have; 0: it would change nothing.

        The link puts together no more than that. What comes in one part is for the checks to judge.
        """
        if sender.role is Role.CLIENT:
            if self._is_over(phase):
                return 0
            expected = self._expected_bytes(phase) if (self.state, phase) in self.transitions else None
            return self._longest(phase) if expected is None else expected
        return most_payload(self.cohort)

    def _longest(self, phase: str) -> int:
        """Bytes that no payload of a phase exceeds in which they vary."""
        return most_payload(self.cohort)

    def kinds(self) -> tuple[Kind, ...]:
        return (*super().kinds(), *_KINDS)

    def save(self) -> dict[str, object]:
        return {**super().save(), "checks": save_checks(self._gate.checks)}

    def restore(self, state: Mapping[str, object]) -> None:
        rest = dict(state)
        restore_checks(self._gate.checks, rest.pop("checks", None))
        super().restore(rest)

    # Collecting.

    def _from_client(self, message: Message) -> list[Message]:
        index = message.sender.index
        handler = self.transitions.get((self.state, message.phase))
        if handler is None and not self._is_over(message.phase):
            self._reject(index, f"phase {message.phase!r} is not expected in state {self.state!r}")
            return self._proceed()
        if handler is None or index not in self._awaited:
            return []
        rejection = self._gate.on_message(index, message)
        replies: list[Message] = []
        if rejection is None:
            try:
                replies = getattr(self, handler)(message)
            except DecodeError as error:
                rejection = Rejection(Structural.name, str(error), {"phase": message.phase})
            except PeerError as error:
                rejection = Rejection(Structural.name, error.reason, {"phase": message.phase})
        self._awaited.discard(index)
        if rejection is None:
            self._heard.add(index)
        else:
            self.rejected.setdefault(index, rejection)
        return replies + self._proceed()

    def _proceed(self) -> list[Message]:
        return self._close() if not self._awaited and self.state in self.closings else []

    def _is_over(self, phase: str) -> bool:
        """Whether a phase is behind us: listed, and before every phase that this state hears."""
        hears = [p for state, p in self.transitions if state == self.state and p in self.phases]
        if phase not in self.phases:
            return False
        now = min((self.phases.index(p) for p in hears), default=len(self.phases))
        return self.phases.index(phase) < now

    def _reject(self, index: int, reason: str) -> None:
        if index in self._heard and self.state == self.input_phase and not self._gate.may_reject_frozen:
            return  # its contribution is folded in and cannot be taken out: only the message is refused
        self._awaited.discard(index)
        self._heard.discard(index)
        self.rejected.setdefault(index, Rejection(Structural.name, reason))

    def _collect(self, state: str, clients: Iterable[int]) -> None:
        """Enter a state that waits for one message from each of these clients."""
        self.state = state
        self._awaited = set(clients) - self.rejected.keys()
        self._heard = set()

    def _close(self) -> list[Message]:
        messages: list[Message] = getattr(self, self.closings[self.state])()
        return messages

    def _require(self, clients: Collection[int], what: str) -> None:
        """Abort unless at least the threshold of clients is left."""
        if len(clients) < self.cohort.threshold:
            raise AbortError(
                f"{len(clients)} of {self.cohort.size} clients {what}; "
                f"the threshold is {self.cohort.threshold}",
                self._evidence(self._refusals(clients)),
            )

    def _evidence(self, refusals: Mapping[int, Rejection]) -> dict[str, object]:
        """Why clients were refused, and by which checks, by name."""
        named = {self.cohort.members[index]: why for index, why in refusals.items()}
        return {
            "rejected": {name: why.reason for name, why in named.items()},
            "checks": {name: why.check for name, why in named.items()},
        }

    def _refusals(self, survivors: Collection[int]) -> dict[int, Rejection]:
        """Why clients are not among the survivors, where there is a reason other than silence."""
        found = {**self._suspected, **self.rejected}
        return {index: found[index] for index in sorted(found) if index not in survivors}

    # Inputs, frozen inputs, proofs.

    def _on_input(self, message: Message) -> list[Message]:
        contribution = self._decode_input(message.payload)
        if self._gate.may_reject_frozen:
            self._held[message.sender.index] = contribution
            return []
        return self._fold(message.sender.index, contribution)

    def _inputs_closed(self) -> list[Message]:
        frozen = sorted(self._heard)
        self._require(frozen, "contributed")
        if not self._gate.may_reject_frozen:
            return self._open(tuple(frozen))
        self._seed = self._tape.read(SEED_BYTES)
        refused = self._gate.on_inputs_frozen(frozen, self._seed)
        self.rejected.update(refused)
        asked = [index for index in frozen if index not in refused]
        if not self._gate.provers:
            return self._count(asked)
        self._collect(CHECK_PHASE, asked)
        payload = Challenge(self._seed).encode()
        return [self._to(client_id(index), CHECK_PHASE, payload) for index in asked]

    def _on_proofs(self, message: Message) -> list[Message]:
        self._proofs[message.sender.index] = Proofs.decode(message.payload, self._proof_sizes).parts
        return []

    def _proofs_closed(self) -> list[Message]:
        refused = self._gate.on_proofs(self._seed, self._proofs)
        self.rejected.update(refused)
        return self._count([index for index in sorted(self._heard) if index not in refused])

    def _count(self, accepted: Sequence[int]) -> list[Message]:
        self._require(accepted, "passed the checks")
        messages: list[Message] = []
        for index in accepted:
            messages += self._fold(index, self._held.pop(index))
        self._held.clear()
        return messages + self._open(tuple(accepted))

    def _finish(self, total: NDArray[np.int64], survivors: Sequence[int]) -> list[Message]:
        try:
            self._gate.on_aggregate(survivors, total)
        except AbortError:
            self.state = self.REFUSED
            raise
        self.result = Aggregate(total, tuple(survivors), self._refusals(survivors), dict(self.faults))
        self.state = self.DONE
        return []

    def _expected_bytes(self, phase: str) -> int | None:
        return sum(self._proof_sizes) if phase == CHECK_PHASE else self._payload_bytes(phase)

    def _to(self, receiver: PartyId, phase: str, payload: bytes) -> Message:
        return Message(self.cohort.session, self.cohort.round, phase, SERVER, receiver, payload)
