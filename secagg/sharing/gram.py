"""The server of a round with a rule on outliers: learns the Gram matrix of sketches (spec section 13.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from mpc import beaver, field
from mpc.errors import AbortError, DecodeError
from mpc.party import Message, PartyId
from mpc.snapshot import Kind, record
from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.checks.outliers import OutlierRule
from secagg.cohort import Cohort
from secagg.server import RoundServer
from secagg.sharing.dealer import DEALER
from secagg.sharing.gram_messages import DealRequest, MaskedSketches, SketchRequest, TaggedSketches, Triangle
from secagg.sharing.messages import (
    CHECK,
    COMPARE,
    DEAL,
    DEALT,
    DECIDE,
    GRAM,
    INPUT,
    MASKED,
    SKETCH,
    SUM,
    VERDICT,
    Decision,
)
from secagg.sharing.scheme import Scheme
from secagg.sharing.server import SharingServer
from secagg.sharing.sketch import SKETCH_SEED_BYTES, Sketching


class ComparingServer(SharingServer):
    """The server of one round in which ``rule`` decides, when all proofs are in, whose vectors count.

    Who passed, and all verifier shares, are held until then. The dealer is a helper like the aggregators.
    """

    answers: ClassVar[Mapping[tuple[str, str], str]] = {
        **SharingServer.answers,
        (MASKED, VERDICT): "_on_late",
        (MASKED, DEALT): "_on_dealt",
        (MASKED, MASKED): "_on_masked",
        (GRAM, VERDICT): "_on_late",
        (GRAM, GRAM): "_on_gram_share",
    }
    closings: ClassVar[Mapping[str, str]] = {
        **SharingServer.closings,
        MASKED: "_masked_closed",
        GRAM: "_gram_closed",
    }
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, CHECK): RoundServer.CLOSING,
        (INPUT, VERDICT): RoundServer.CLOSING,
        (CHECK, VERDICT): RoundServer.CLOSING,
        (VERDICT, MASKED): RoundServer.CLOSING,
        (MASKED, GRAM): RoundServer.CLOSING,
        (GRAM, SUM): GRAM,
        (SUM, RoundServer.DONE): SUM,
    }
    saved: ClassVar[tuple[str, ...]] = (
        "_sketch_seed",
        "_passed",
        "_compared",
        "_correction",
        "_masked",
        "_gram_shares",
        "_compared_by",
    )

    def __init__(
        self,
        cohort: Cohort,
        checks: Sequence[Check],
        tape: RandomTape,
        aggregators: Sequence[PartyId],
        scheme: Scheme,
        claim: str,
        rule: OutlierRule,
        sketching: Sketching,
    ) -> None:
        super().__init__(cohort, checks, tape, aggregators, scheme, claim)
        self._helpers = (*self._aggregators, DEALER)
        self._rule = rule
        self._sketching = sketching
        self._sketch_seed = b""
        self._passed: dict[int, tuple[bytes, ...]] = {}  # by client: all verifier shares
        self._compared: tuple[int, ...] = ()
        self._correction: Triangle | None = None
        self._masked: dict[PartyId, MaskedSketches] = {}
        self._gram_shares = np.zeros(0, np.uint64)  # their sum, with the correction
        self._compared_by: set[PartyId] = set()

    def kinds(self) -> tuple[Kind, ...]:
        return (*super().kinds(), record(Triangle), record(MaskedSketches))

    def payload_limit(self, sender: PartyId, phase: str) -> int:
        limit = super().payload_limit(sender, phase)
        if sender not in self._helpers or not limit:
            return limit
        clients, parties = self.cohort.size, len(self._aggregators)
        most = MaskedSketches.size((self._sketching.projections, clients), parties)
        return max(limit, most, Triangle.size(clients))

    def _from_helper(self, message: Message) -> list[Message]:
        if (message.sender == DEALER) != (message.phase == DEALT):
            raise AbortError(f"{message.sender} speaks in phase {message.phase!r}, which is not its own")
        return super()._from_helper(message)

    # Inputs and verdicts: as ever, but nobody counts yet.

    def _common_seed(self) -> bytes:
        self._sketch_seed = self._sketch_seed or self._tape.read(SKETCH_SEED_BYTES)
        return self._sketch_seed

    def _pass(self, client: int, verifiers: tuple[bytes, ...]) -> list[Message]:
        self._passed[client] = verifiers
        return []

    def _conclude(self) -> list[Message]:
        """Ask the dealer for a triple, and the aggregators for sketches under it."""
        self._require(self._passed, "had all their shares accepted")
        self._compared = tuple(sorted(self._passed))
        self.state = MASKED
        binding = self._sketching.binding(self._sketch_seed, self._compared, self.cohort.size)
        request = SketchRequest(self._compared).encode(self.cohort.size)
        triple = DealRequest(binding, len(self._compared)).encode()
        return [self._to(DEALER, DEAL, triple), *self._to_all(SKETCH, request)]

    # Masked sketches: each aggregator is shown all others'.

    def _on_dealt(self, message: Message) -> list[Message]:
        if self._correction is not None:
            raise DecodeError("a second triple")
        self._correction = Triangle.decode(message.payload, len(self._compared))
        return self._open_sketches()

    def _on_masked(self, message: Message) -> list[Message]:
        if message.sender in self._masked:
            raise DecodeError("masked sketches for the second time")
        shape, parties = self._shape(), len(self._aggregators)
        self._masked[message.sender] = MaskedSketches.decode(message.payload, shape, parties)
        return self._open_sketches()

    def _open_sketches(self) -> list[Message]:
        if self._correction is None or self._others(self._masked):
            return []
        self.state = GRAM
        self._gram_shares = self._correction.elements.copy()
        return [self._to(who, COMPARE, self._tagged_for(who).encode()) for who in self._aggregators]

    def _tagged_for(self, who: PartyId) -> TaggedSketches:
        others = [other for other in self._aggregators if other != who]
        # Of each aggregator's tags the one for itself is left out.
        place = {other: who.index - (other.index < who.index) for other in others}
        return TaggedSketches(
            tuple((self._masked[o].elements, self._masked[o].tags[place[o]]) for o in others)
        )

    def _masked_closed(self) -> list[Message]:
        silent = self._others(self._masked) + ([DEALER] if self._correction is None else [])
        raise self._silent(silent, "did not take part in the comparison of clients before the deadline")

    # The Gram matrix: the rule decides, and then the round goes on as ever.

    def _on_gram_share(self, message: Message) -> list[Message]:
        if message.sender in self._compared_by:
            raise DecodeError("a second share of the Gram matrix")
        share = Triangle.decode(message.payload, len(self._compared))
        field.add_into(self._gram_shares, share.elements)
        self._compared_by.add(message.sender)
        return [] if self._others(self._compared_by) else self._judge()

    def _judge(self) -> list[Message]:
        try:
            self._refuse_outliers()
        except AbortError:
            self.state = self.REFUSED
            raise
        decisions: list[Message] = []
        for client, verifiers in self._passed.items():
            counts = client in self._counted
            decisions += self._to_all(DECIDE, Decision(client, counts, verifiers if counts else ()).encode())
        self._passed, self._masked = {}, {}
        return decisions + self._request_sum()

    def _refuse_outliers(self) -> None:
        opened = field.sum_rows(np.stack([self._masked[who].elements for who in self._aggregators]))
        gram = field.decode(beaver.gram(opened, self._gram_shares))
        largest = int(np.abs(gram).max())
        if largest > self._sketching.bound or int(np.diag(gram).min()) < 0:
            evidence = {"largest": largest, "bound": self._sketching.bound}
            raise AbortError("a Gram matrix that no sketches have: a helper has lied", evidence)
        names = self.cohort.names(self._compared)
        found = self._rule.select(np.asarray(gram * self._sketching.unit, np.float64), names)
        refused = self._gate.sort(self._rule, found)
        self.rejected.update({who: why for who, why in refused.items() if who in self._counted})
        self._counted -= refused.keys()
        self._require(self._counted, f"were kept by {self._rule.name}")

    def _gram_closed(self) -> list[Message]:
        raise self._silent(self._others(self._compared_by), "sent no share of the Gram matrix in time")

    def _shape(self) -> tuple[int, int]:
        return self._sketching.projections, len(self._compared)
