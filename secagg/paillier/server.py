"""The Paillier server: multiplies ciphertexts, and has the blinded product opened (spec section 14.3).

Inputs are folded into one row of ciphertexts as they arrive, so memory is O(length), whatever the cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from gmpy2 import mpz

from mpc.errors import AbortError, DecodeError
from mpc.party import Message
from mpc.snapshot import Kind, record
from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.cohort import Cohort
from secagg.paillier.messages import (
    CHECK,
    DECRYPT,
    INPUT,
    KEY_HOLDER,
    OPENED,
    PHASES,
    DecryptRequest,
    EncryptedInput,
    OpenedSum,
)
from secagg.paillier.packing import Packing
from secagg.paillier.public import PublicKey
from secagg.server import RoundServer


class PaillierServer(RoundServer[EncryptedInput]):
    """The aggregator of one round. A state is named after the phase that it waits for."""

    phases = PHASES
    input_phase = INPUT
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, INPUT): "_on_input",
        (CHECK, CHECK): "_on_proofs",
        (OPENED, OPENED): "_on_opened_sum",
    }
    closings: ClassVar[Mapping[str, str]] = {INPUT: "_inputs_closed", CHECK: "_proofs_closed"}
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, CHECK): RoundServer.CLOSING,
        (INPUT, OPENED): RoundServer.CLOSING,
        (CHECK, OPENED): RoundServer.CLOSING,
        (OPENED, RoundServer.DONE): OPENED,
    }
    saved: ClassVar[tuple[str, ...]] = ("_product", "_pads", "_counted")

    def __init__(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape, key: PublicKey) -> None:
        super().__init__(cohort, checks, tape, INPUT)
        self._key = key
        self._packing = Packing.of(cohort, key.bits)
        self._ciphertexts = self._packing.ciphertexts(cohort.length)
        self._product: list[mpz] = []
        self._pads: list[mpz] = []
        self._counted: tuple[int, ...] = ()

    def kinds(self) -> tuple[Kind, ...]:
        return (*super().kinds(), record(EncryptedInput), Kind(type(mpz()), int, mpz))

    def expire(self) -> list[Message]:
        # Not among the closings: those may also be brought about by what clients send.
        if self.state == OPENED:
            raise AbortError(
                f"{KEY_HOLDER} has not opened the sum: it is silent, or refuses, as it does for a round "
                "that it has opened a sum of before",
                {"party": str(KEY_HOLDER)},
            )
        return super().expire()

    def _payload_bytes(self, phase: str) -> int | None:
        return EncryptedInput.size(self._key.bits, self._ciphertexts) if phase == INPUT else None

    def _decode_input(self, payload: bytes | memoryview) -> EncryptedInput:
        return EncryptedInput.decode(payload, self._key, self._ciphertexts)

    def _fold(self, index: int, contribution: EncryptedInput) -> list[Message]:
        given = contribution.ciphertexts
        self._product = self._key.add_many(self._product, given) if self._product else list(given)
        return []

    def _open(self, accepted: tuple[int, ...]) -> list[Message]:
        """A uniform pad on each plaintext: what the key holder decrypts is independent of the sum."""
        self._counted = accepted
        self._pads = [mpz(self._tape.below(int(self._key.n))) for _ in self._product]
        blinded = self._key.add_plaintexts(self._product, self._pads)
        self._product = []
        # Nobody is awaited any more: a client's message cannot pass for the key holder's.
        self._collect(OPENED, ())
        payload = DecryptRequest(accepted, blinded).encode(self._key, self.cohort.size)
        return [self._to(KEY_HOLDER, DECRYPT, payload)]

    def _on_opened_sum(self, message: Message) -> list[Message]:
        count = len(self._counted)
        try:
            opened = OpenedSum.decode(message.payload, self._key, self._ciphertexts).plaintexts
        except DecodeError as error:
            raise AbortError(f"{KEY_HOLDER} has answered: {error}", {"party": str(KEY_HOLDER)}) from None
        sums = [(plaintext - pad) % self._key.n for plaintext, pad in zip(opened, self._pads, strict=True)]
        self._pads = []
        try:
            total = self._packing.unpack(sums, self.cohort.length, count)
        except DecodeError as error:
            raise AbortError(
                f"what was opened is not a sum of {count} vectors: {error}; a client encrypted what is no "
                f"vector, or {KEY_HOLDER} decrypted wrongly",
                {"clients": self.cohort.names(self._counted), "party": str(KEY_HOLDER)},
            ) from None
        return self._finish(total, self._counted)
