"""InsecurePlain: everybody sends its vector in clear. The oracle, and the baseline of every overhead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpc.cost import LinkCost
from mpc.errors import DecodeError
from mpc.leakage import Leakage
from mpc.party import Message, Role
from mpc.ring import Ring
from mpc.tape import RandomTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.checks.messages import CHECK_PHASE
from secagg.client import OneShotClient, Vector
from secagg.cohort import Cohort
from secagg.parts import DEFAULT_MESSAGE_BYTES
from secagg.server import RoundServer

INPUT = "plain-input"


class _PlainClient(OneShotClient):
    input_phase = INPUT

    def _contribution(self) -> bytes:
        ring = Ring(self.cohort.bits)
        return ring.pack(ring.encode(self._vector))


class _PlainServer(RoundServer[NDArray[np.int64]]):
    phases = (INPUT, CHECK_PHASE)
    input_phase = INPUT
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, INPUT): "_on_input",
        (CHECK_PHASE, CHECK_PHASE): "_on_proofs",
    }
    closings: ClassVar[Mapping[str, str]] = {INPUT: "_inputs_closed", CHECK_PHASE: "_proofs_closed"}
    moves: ClassVar[Mapping[tuple[str, str], str]] = dict.fromkeys(
        ((INPUT, CHECK_PHASE), (INPUT, RoundServer.DONE), (CHECK_PHASE, RoundServer.DONE)),
        RoundServer.CLOSING,
    )
    saved: ClassVar[tuple[str, ...]] = ("_sum",)

    def __init__(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> None:
        super().__init__(cohort, checks, tape, INPUT)
        self._sum = np.zeros(cohort.length, np.int64)

    def _payload_bytes(self, phase: str) -> int | None:
        return Ring(self.cohort.bits).packed_size(self.cohort.length)

    def _decode_input(self, payload: bytes | memoryview) -> NDArray[np.int64]:
        ring = Ring(self.cohort.bits)
        vector = ring.decode(ring.unpack(payload, self.cohort.length))
        if int(vector.min()) < -self.cohort.max_entry:
            raise DecodeError(f"an entry is out of range: they must be within ±{self.cohort.max_entry}")
        return vector

    def _fold(self, index: int, contribution: NDArray[np.int64]) -> list[Message]:
        self._sum += contribution
        return []

    def _open(self, accepted: tuple[int, ...]) -> list[Message]:
        return self._finish(self._sum, accepted)


class InsecurePlain(Backend):
    """No protection at all: for comparing results and costs, never for data that matters."""

    name = "plain"
    phases = (INPUT, CHECK_PHASE)
    client_phases = phases
    input_phase = INPUT
    leakage = Leakage(
        assumption="none: nothing is hidden",
        learns={
            Role.CLIENT: ("nothing",),
            Role.SERVER: ("every client's vector",),
        },
        hides=frozenset({Role.CLIENT}),
        source="McMahan et al. 2017 (arXiv 1602.05629), algorithm 1",
    )

    def __init__(self, threshold: float = 2 / 3, *, max_message_bytes: int = DEFAULT_MESSAGE_BYTES) -> None:
        super().__init__(threshold, max_message_bytes=max_message_bytes)

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> _PlainClient:
        return _PlainClient(cohort, me, vector, checks, tape)

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> _PlainServer:
        return _PlainServer(cohort, checks, tape)

    def _cost(self, cohort: Cohort, checks: Sequence[Check]) -> tuple[int, list[LinkCost]]:
        size = Ring(cohort.bits).packed_size(cohort.length)
        return 1, [LinkCost(INPUT, Role.CLIENT, Role.SERVER, cohort.size, size)]
