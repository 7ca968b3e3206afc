"""The Paillier server: multiplies ciphertexts, and has the product opened (spec sections 14.3 to 14.5).

Inputs are folded into one row of ciphertexts as they arrive, so memory is O(length), whatever the cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from gmpy2 import mpz

from mpc.errors import AbortError, DecodeError
from mpc.party import Message, PartyId
from mpc.snapshot import Kind, record
from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.cohort import Cohort
from secagg.paillier.messages import (
    CHECK,
    DECRYPT,
    INPUT,
    OPENED,
    PHASES,
    DecryptRequest,
    EncryptedInput,
)
from secagg.paillier.opening import Opening, WrongAnswers, opening_context
from secagg.paillier.packing import Packing
from secagg.server import RoundServer

_SILENT = (
    "sent no answer before the deadline: it is silent, or refuses, as for a round that it has opened a sum of"
)


class PaillierServer(RoundServer[EncryptedInput]):
    """The aggregator of one round. A state is named after the phase that it waits for.

    A key holder whose answer is wrong is named in ``faults``; the sum is opened without it, as long as enough
    are left.
    """

    phases = PHASES
    input_phase = INPUT
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, INPUT): "_on_input",
        (CHECK, CHECK): "_on_proofs",
        (OPENED, OPENED): "_on_answer",
        (RoundServer.DONE, OPENED): "_on_late",
    }
    closings: ClassVar[Mapping[str, str]] = {INPUT: "_inputs_closed", CHECK: "_proofs_closed"}
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, CHECK): RoundServer.CLOSING,
        (INPUT, OPENED): RoundServer.CLOSING,
        (CHECK, OPENED): RoundServer.CLOSING,
        (OPENED, RoundServer.DONE): OPENED,
    }
    saved: ClassVar[tuple[str, ...]] = ("_product", "_counted", "_answers")

    def __init__(
        self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape, opening: Opening[Any]
    ) -> None:
        super().__init__(cohort, checks, tape, INPUT)
        self._opening = opening
        self._key = opening.public
        self._packing = Packing.of(cohort, self._key.bits)
        self._ciphertexts = self._packing.ciphertexts(cohort.length)
        self._running = self._key.modulus.running_product()
        self._product: list[mpz] = []
        self._counted: tuple[int, ...] = ()
        self._answers: dict[PartyId, Any] = {}

    def kinds(self) -> tuple[Kind, ...]:
        return (
            *super().kinds(),
            record(EncryptedInput),
            *self._opening.kinds,
            Kind(type(mpz()), int, mpz),
        )

    def save(self) -> dict[str, object]:
        return {**super().save(), "running": self._running.numbers()}

    def restore(self, state: Mapping[str, object]) -> None:
        rest = dict(state)
        running = rest.pop("running", None)
        super().restore(rest)
        if running:
            self._running.multiply(self._key.encode_ciphertexts(cast(list[mpz], running)))

    def receive(self, message: Message) -> list[Message]:
        if message.sender in self._opening.holders and not self._is_answer(message):
            # One key holder out of turn must not end a round that the others can finish.
            if self.state in (*self.closings, OPENED):
                self._name_faults({message.sender: f"has spoken out of turn, in phase {message.phase!r}"})
            return []
        return super().receive(message)

    def _is_answer(self, message: Message) -> bool:
        return message.phase == OPENED and (self.state, OPENED) in self.transitions

    def expire(self) -> list[Message]:
        # Not among the closings: those may also be brought about by what clients send.
        if self.state == OPENED:
            silent = [who for who in self._opening.holders if who not in {**self._answers, **self.faults}]
            raise self._unopened({**self.faults, **dict.fromkeys(silent, _SILENT)})
        return super().expire()

    def _payload_bytes(self, phase: str) -> int | None:
        return EncryptedInput.size(self._key.bits, self._ciphertexts) if phase == INPUT else None

    def _decode_input(self, payload: bytes | memoryview) -> EncryptedInput:
        return EncryptedInput.decode(payload, self._key, self._ciphertexts)

    def _fold(self, index: int, contribution: EncryptedInput) -> list[Message]:
        self._running.multiply(contribution.row)
        return []

    def _open(self, accepted: tuple[int, ...]) -> list[Message]:
        """The key holders are shown the product modulo n, in which the sum does not occur."""
        self._counted = accepted
        self._product = self._running.numbers()
        self._running.clear()
        # No client is awaited any more: a client's message cannot pass for a key holder's.
        self._collect(OPENED, ())
        remainders = [ciphertext % self._key.n for ciphertext in self._product]
        payload = DecryptRequest(accepted, remainders).encode(self._key, self.cohort.size)
        return [self._to(holder, DECRYPT, payload) for holder in self._opening.holders]

    def _on_answer(self, message: Message) -> list[Message]:
        holder = message.sender
        if holder in self._answers or holder in self.faults:
            return []  # the first counts: refusing the second would end the round
        try:
            self._answers[holder] = self._opening.decode(message.payload, self._ciphertexts)
        except DecodeError as error:
            self._name_faults({holder: f"has answered: {error}"})
        while len(self._answers) >= self._opening.needed:
            try:
                context = opening_context(self.cohort, self._counted)
                plaintexts = self._opening.open(self._product, self._answers, context)
            except WrongAnswers as wrong:
                # Of those who have answered: each turn leaves fewer of them.
                self._name_faults({who: why for who, why in wrong.faults.items() if who in self._answers})
            else:
                return self._unpack(plaintexts)
        return []

    def _on_late(self, message: Message) -> list[Message]:
        """An answer that was not needed."""
        return []

    def _name_faults(self, faults: Mapping[PartyId, str]) -> None:
        """Go on without these key holders; ``AbortError`` if too few are left."""
        if not faults:
            raise AbortError("the key was dealt wrongly: every proof holds, and the sum does not open")
        self.faults = {**faults, **self.faults}
        for holder in faults:
            self._answers.pop(holder, None)
        if len(self._opening.holders) - len(self.faults) < self._opening.needed:
            raise self._unopened(self.faults)

    def _unopened(self, faults: Mapping[PartyId, str]) -> AbortError:
        named = {str(holder): reason for holder, reason in sorted(faults.items())}
        reasons = "; ".join(f"{holder} {reason}" for holder, reason in named.items())
        needed = f"it takes {self._opening.needed} of {len(self._opening.holders)} key holders"
        return AbortError(
            f"the sum cannot be opened, {needed}: {reasons}", {"party": ", ".join(named), "faults": named}
        )

    def _unpack(self, plaintexts: Sequence[mpz]) -> list[Message]:
        count = len(self._counted)
        self._product, self._answers = [], {}
        try:
            total = self._packing.unpack(plaintexts, self.cohort.length, count)
        except DecodeError as error:
            raise AbortError(
                f"what was opened is not a sum of {count} vectors: {error}; a client encrypted what is none",
                {"clients": self.cohort.names(self._counted)},
            ) from None
        return self._finish(total, self._counted)
