"""The common round: a client that speaks out of turn never makes the sum wrong over those named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import secagg
from mpc.party import Message
from mpc.tape import SeededTape
from secagg.backend import Backend
from secagg.checks.base import Check, Verdict
from secagg.checks.messages import CHECK_PHASE
from secagg.cohort import Cohort
from secagg.masking import Masking
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing


def with_insider(base: type[Backend], liar: str, phase: str) -> Backend:
    """One client sends an empty message of ``phase`` right behind its input, inside its own link."""

    class WithInsider(base):  # type: ignore[valid-type, misc]
        def _client(self, cohort: Cohort, me: str, *others: Any) -> Any:
            party = super()._client(cohort, me, *others)
            if me == liar:
                party.start = behind_the_input(party.start)
                party.receive = behind_the_input(party.receive)
            return party

    def behind_the_input(act: Callable[..., list[Message]]) -> Callable[..., list[Message]]:
        def extended(*arguments: Message) -> list[Message]:
            sent = act(*arguments)
            extra = [
                Message(m.session, m.round, phase, m.sender, m.receiver, b"")
                for m in sent
                if m.phase == base.input_phase
            ]
            return sent + extra

        return extended

    return WithInsider()


class HoldsInputs(Check):
    """Accepts everybody, but only once all inputs are frozen."""

    def on_inputs_frozen(self, cohort: Cohort, survivors: Sequence[str], seed: bytes) -> Sequence[Verdict]:
        return ()


@pytest.mark.parametrize("checks", [(), (HoldsInputs(),)], ids=["folded", "held"])
@pytest.mark.parametrize(
    ("base", "phase"),
    [
        (InsecurePlain, CHECK_PHASE),
        (SecretSharing, CHECK_PHASE),
        (SecretSharing, "open-sum"),
        (Masking, CHECK_PHASE),
        (Masking, "unmask"),
    ],
)
def test_a_message_of_a_later_phase_behind_the_input(
    base: type[Backend], phase: str, checks: Sequence[Check]
) -> None:
    updates = {f"client-{index}": np.linspace(-1, 1, 5 + index)[:5] for index in range(6)}
    tapes: dict[str, Any] = {"tape": SeededTape(b"tape"), "encoder_tape": SeededTape(b"encoder")}
    backend = with_insider(base, "client-1", phase)
    result = secagg.aggregate(updates, backend=backend, checks=checks, **tapes)
    # An input that is folded in cannot be taken out again; one that is held can.
    assert set(updates) - set(result.survivors) == ({"client-1"} if checks else set())
    assert set(result.rejected) == ({"client-1"} if checks else set())
    absent = {name: "input" for name in updates if name not in result.survivors}
    tapes = {"tape": SeededTape(b"tape"), "encoder_tape": SeededTape(b"encoder")}
    plain = secagg.aggregate(updates, backend=InsecurePlain(), drop=absent, **tapes)
    np.testing.assert_array_equal(result.encoded_sum, plain.encoded_sum)
