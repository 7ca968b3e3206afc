"""What the clients of all backends share (spec section 9)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpc.errors import LocalError
from mpc.party import SERVER, Message, PartyId, StateMachine, client_id
from mpc.tape import RandomTape
from secagg.checks.base import Check, restore_checks, save_checks
from secagg.checks.messages import CHECK_PHASE, Challenge, Proofs
from secagg.cohort import Cohort
from secagg.identity import Identity

Vector = NDArray[np.signedinteger]


def check_vector(cohort: Cohort, vector: Vector) -> Vector:
    """A one-dimensional array of signed integers of the cohort's length and range, or ``LocalError``."""
    if not isinstance(vector, np.ndarray) or not np.issubdtype(vector.dtype, np.signedinteger):
        kind = vector.dtype if isinstance(vector, np.ndarray) else type(vector).__name__
        raise LocalError("vector", kind, "must be an array of signed integers")
    if vector.shape != (cohort.length,):
        raise LocalError("vector.shape", vector.shape, f"must be ({cohort.length},)")
    low, high = int(vector.min()), int(vector.max())
    if low < -cohort.max_entry or high > cohort.max_entry:
        # The extremes themselves belong to the client's secret and stay out of the text.
        raise LocalError("vector", "out of range", f"entries must be within ±{cohort.max_entry}")
    return vector


class RoundClient(StateMachine):
    """Base of all clients: holds the input, answers the checks' challenge once.

    ``identity`` is the signing key, where the cohort pins identities; the backend sets it.
    """

    result: None = None
    identity: Identity | None = None
    declined: str | None = None
    """Why it takes no part, of its own accord."""
    saved: ClassVar[tuple[str, ...]] = ("_vector",)

    def __init__(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape, state: str
    ) -> None:
        super().__init__(state)
        self.cohort = cohort
        self.name = me
        self.index = cohort.index(me)
        self._vector = check_vector(cohort, vector)
        self._provers = tuple(check for check in checks if check.proves)
        self._tape = tape

    @property
    def id(self) -> PartyId:
        return client_id(self.index)

    @abstractmethod
    def start(self) -> list[Message]: ...

    def _to_server(self, phase: str, payload: bytes | memoryview) -> Message:
        return Message(self.cohort.session, self.cohort.round, phase, self.id, SERVER, payload)

    def _on_challenge(self, message: Message) -> list[Message]:
        seed = Challenge.decode(message.payload).seed
        vector = self._vector.astype(np.int64)
        parts = tuple(
            check.prove(self.cohort, self.name, vector, seed, self._tape) for check in self._provers
        )
        self.state = "proved"
        payload = Proofs(parts).encode([check.proof_bytes(self.cohort) for check in self._provers])
        return [self._to_server(CHECK_PHASE, payload)]

    def save(self) -> dict[str, object]:
        return {**super().save(), "checks": save_checks(self._provers)}

    def restore(self, state: Mapping[str, object]) -> None:
        rest = dict(state)
        restore_checks(self._provers, rest.pop("checks", None))
        super().restore(rest)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, round {self.cohort.round}, state {self.state!r})"


class OneShotClient(RoundClient):
    """A client that sends its input unasked, and then at most answers a challenge."""

    transitions: ClassVar[Mapping[tuple[str, str], str]] = {("sent", CHECK_PHASE): "_on_challenge"}
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        ("ready", "sent"): RoundClient.START,
        ("sent", "proved"): CHECK_PHASE,
    }
    input_phase: ClassVar[str]

    def __init__(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> None:
        super().__init__(cohort, me, vector, checks, tape, "ready")

    def start(self) -> list[Message]:
        if self.state != "ready":
            raise LocalError("state", self.state, "a client starts once")
        self.state = "sent"
        return [self._to_server(self.input_phase, self._contribution())]

    @abstractmethod
    def _contribution(self) -> bytes | memoryview:
        """The protected input, encoded."""
