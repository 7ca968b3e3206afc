"""The sharing server: passes shares on, asks for the sum shares, adds them (spec section 13.5).

It relays an input as it arrives and keeps nothing of it: memory is O(length), whatever the cohort, unless a
check may refuse an input after all are frozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from mpc import field
from mpc.errors import AbortError, DecodeError, PeerError
from mpc.party import Message, PartyId, Role
from mpc.snapshot import Kind, enumeration, record
from mpc.tape import RandomTape
from secagg.checks.base import Check, Rejection
from secagg.checks.structural import Structural
from secagg.cohort import Cohort
from secagg.server import RoundServer
from secagg.sharing.messages import (
    CHECK,
    DECIDE,
    INPUT,
    OPEN,
    PHASES,
    RELAY,
    SUM,
    VERDICT,
    Decision,
    JudgedShare,
    RelayedShare,
    SharedInput,
    SumRequest,
    SumShare,
)
from secagg.sharing.scheme import Fault, Scheme


class SharingServer(RoundServer[SharedInput]):
    """The server of one round. A state is named after the phase that it collects.

    ``transitions`` and ``answers`` list what clients and aggregators may send. Without an aggregator there
    is no sum, so one that departs from the protocol, or is silent at a deadline, ends the round by name.

    Where shares are proved, ``claim`` names what the proofs are of, in rejections.
    """

    phases = PHASES
    input_phase = INPUT
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, INPUT): "_on_input",
        (CHECK, CHECK): "_on_proofs",
    }
    answers: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, VERDICT): "_on_verdict",
        (VERDICT, VERDICT): "_on_verdict",
        (SUM, VERDICT): "_on_late",
        (SUM, SUM): "_on_sum_share",
        (RoundServer.DONE, VERDICT): "_on_late",
    }
    closings: ClassVar[Mapping[str, str]] = {
        INPUT: "_inputs_closed",
        CHECK: "_proofs_closed",
        VERDICT: "_verdicts_closed",
        SUM: "_sums_closed",
    }
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        (INPUT, CHECK): RoundServer.CLOSING,
        (INPUT, VERDICT): RoundServer.CLOSING,
        (CHECK, VERDICT): RoundServer.CLOSING,
        (VERDICT, SUM): RoundServer.CLOSING,
        (SUM, RoundServer.DONE): SUM,
    }
    saved: ClassVar[tuple[str, ...]] = ("_undecided", "_counted", "_summed", "_garbled", "_total")

    def __init__(
        self,
        cohort: Cohort,
        checks: Sequence[Check],
        tape: RandomTape,
        aggregators: Sequence[PartyId],
        scheme: Scheme,
        claim: str,
    ) -> None:
        self._aggregators = tuple(aggregators)
        self._scheme = scheme
        self._claim = claim
        super().__init__(cohort, checks, tape, INPUT)
        self._helpers = self._aggregators
        self._undecided: dict[int, dict[PartyId, JudgedShare]] = {}  # by client: the verdicts that are there
        self._counted: set[int] = set()
        self._summed: set[PartyId] = set()
        self._garbled: dict[PartyId, str] = {}
        self._total = np.zeros(cohort.length, np.uint64)

    def kinds(self) -> tuple[Kind, ...]:
        return (*super().kinds(), enumeration(Fault), record(JudgedShare), record(SharedInput))

    def receive(self, message: Message) -> list[Message]:
        if message.sender in self._helpers:
            return self._from_helper(message)
        return super().receive(message)

    def suspect(self, error: PeerError) -> None:
        if error.party in self._helpers:
            self._garbled[error.party] = error.reason
        super().suspect(error)

    def _from_helper(self, message: Message) -> list[Message]:
        handler = self.answers.get((self.state, message.phase))
        try:
            if handler is None:
                raise DecodeError(f"is not expected in state {self.state!r}")
            replies: list[Message] = getattr(self, handler)(message)
        except DecodeError as error:
            # Its link vouches for it: this is no accident on the way.
            reason = str(PeerError(message.sender, message.phase, str(error)))
            raise AbortError(reason, {"party": str(message.sender)}) from None
        return replies

    def _proceed(self) -> list[Message]:
        """Nothing that a client sends closes a phase in which helpers speak."""
        return super()._proceed() if self.state in (INPUT, CHECK) else []

    # Inputs: relayed as they come.

    def _payload_bytes(self, phase: str) -> int | None:
        return SharedInput.size(self._scheme.sizes) if phase == INPUT else None

    def _largest_entry(self) -> int:
        return self._scheme.largest_entry

    def _decode_input(self, payload: bytes | memoryview) -> SharedInput:
        return SharedInput.decode(payload, self._scheme.sizes)

    def _fold(self, index: int, contribution: SharedInput) -> list[Message]:
        self._undecided[index] = {}
        challenge = self._tape.read(self._scheme.challenge_bytes)
        return [
            self._to(aggregator, RELAY, RelayedShare(index, sealed, challenge, self._common_seed()).encode())
            for aggregator, sealed in zip(self._aggregators, contribution.sealed, strict=True)
        ]

    def _common_seed(self) -> bytes:
        """What goes with every share of the round."""
        return b""

    def _open(self, accepted: tuple[int, ...]) -> list[Message]:
        self.state = VERDICT
        return [] if self._undecided else self._conclude()

    # Verdicts: a client counts if every aggregator has found its share good.

    def _on_verdict(self, message: Message) -> list[Message]:
        judged = JudgedShare.decode(message.payload, self.cohort.size, self._scheme.verifier_bytes)
        if judged.fault is Fault.NONE:
            self._scheme.check_verifier(judged.verifier)
        verdicts = self._undecided.get(judged.client)
        if verdicts is None or message.sender in verdicts:
            raise DecodeError(f"a verdict on client {judged.client} that it was not asked for")
        verdicts[message.sender] = judged
        if len(verdicts) < len(self._aggregators):
            return []
        messages = self._decide(judged.client)
        if self.state == VERDICT and not self._undecided:
            messages += self._conclude()
        return messages

    def _decide(self, client: int) -> list[Message]:
        verdicts = self._undecided.pop(client)
        rejection = self._objection(verdicts)
        if rejection is None:
            self._counted.add(client)
            return self._pass(client, tuple(verdicts[who].verifier for who in self._aggregators))
        self.rejected.setdefault(client, rejection)
        return self._to_all(DECIDE, Decision(client, False).encode())

    def _pass(self, client: int, verifiers: tuple[bytes, ...]) -> list[Message]:
        """Nobody objects to the client's shares: it counts."""
        return self._to_all(DECIDE, Decision(client, True, verifiers).encode())

    def _conclude(self) -> list[Message]:
        """All verdicts are in that will come."""
        return self._request_sum()

    def _objection(self, verdicts: Mapping[PartyId, JudgedShare]) -> Rejection | None:
        for aggregator, judged in sorted(verdicts.items()):
            if judged.fault is not Fault.NONE:
                evidence = {"phase": INPUT, "aggregator": aggregator.index}
                reason = f"its share for {aggregator} {judged.fault.text}"
                return Rejection(Structural.name, reason, evidence)
        if missing := self._others(verdicts):
            reason = f"its share was not judged before the deadline by {_names(missing)}"
            return Rejection("link", reason, {"phase": VERDICT})
        refusal = self._scheme.objection([verdicts[aggregator].verifier for aggregator in self._aggregators])
        if refusal is not None:
            return Rejection(self._claim, f"its proof is refused: {refusal}", {"phase": VERDICT})
        return None

    def _verdicts_closed(self) -> list[Message]:
        silent = sorted({who for verdicts in self._undecided.values() for who in self._others(verdicts)})
        messages: list[Message] = []
        for client in sorted(self._undecided):
            messages += self._decide(client)
        if silent and len(self._counted) < self.cohort.threshold:
            raise self._silent(
                silent,
                f"judged too few shares before the deadline: {len(self._counted)} clients can be counted, "
                f"the threshold is {self.cohort.threshold}",
            )
        return messages + self._conclude()

    # Sum shares: added as they come.

    def _request_sum(self) -> list[Message]:
        self._require(self._counted, "had all their shares accepted")
        self.state = SUM
        payload = SumRequest(tuple(sorted(self._counted))).encode(self.cohort.size)
        return self._to_all(OPEN, payload)

    def _on_sum_share(self, message: Message) -> list[Message]:
        if message.sender in self._summed:
            raise DecodeError("a second sum share")
        field.add_into(self._total, SumShare.decode(message.payload, self.cohort.length).elements)
        self._summed.add(message.sender)
        if len(self._summed) < len(self._aggregators):
            return []
        return self._finish(field.decode(self._total), sorted(self._counted))

    def _sums_closed(self) -> list[Message]:
        raise self._silent(self._others(self._summed), "sent no sum share before the deadline")

    def _on_late(self, message: Message) -> list[Message]:
        """A verdict on a client that the deadline has left out."""
        return []

    def _others(self, heard: Iterable[PartyId]) -> list[PartyId]:
        known = frozenset(heard)
        return [aggregator for aggregator in self._aggregators if aggregator not in known]

    def _silent(self, aggregators: Sequence[PartyId], what: str) -> AbortError:
        garbled = {str(who): self._garbled[who] for who in aggregators if who in self._garbled}
        evidence: dict[str, object] = {"party": _names(aggregators)}
        if garbled:
            evidence["thrown away"] = garbled
        return AbortError(f"{_names(aggregators)} {what}", evidence)

    def _to_all(self, phase: str, payload: bytes) -> list[Message]:
        return [self._to(aggregator, phase, payload) for aggregator in self._aggregators]


def aggregator_ids(aggregators: int) -> tuple[PartyId, ...]:
    """Everybody who has to work together to see an input."""
    return tuple(PartyId(Role.AGGREGATOR, index) for index in range(aggregators))


def _names(aggregators: Sequence[PartyId]) -> str:
    return ", ".join(map(str, aggregators))
