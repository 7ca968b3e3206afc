"""secagg.checks: the structural tier, the gate, and the two messages of the check phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from mpc.errors import AbortError, DecodeError, LocalError
from mpc.party import SERVER, Message, client_id
from secagg import ACCEPT, Abort, Check, Cohort, InsecurePlain, Reject, Rejection, Verdict, aggregate
from secagg.checks.base import Gate
from secagg.checks.messages import Challenge, Proofs
from secagg.checks.structural import Structural

COHORT = Cohort(bytes(16), 0, ("ana", "bo", "cy"), 2, 3, 8, bytes(32))
MESSAGE = Message(bytes(16), 0, "input", client_id(1), SERVER, bytes(5))


class Says(Check):
    """Answers as told, at the stages it is told."""

    def __init__(self, name: str, **answers: Any) -> None:
        self.name = name
        self.answers = answers

    def on_message(self, cohort: Cohort, client: str, message: Message) -> Verdict:
        return self.answers.get("message", ACCEPT)

    def on_aggregate(self, cohort: Cohort, survivors: Sequence[str], total: np.ndarray) -> Verdict:
        return self.answers.get("aggregate", ACCEPT)


class Freezes(Says):
    def on_inputs_frozen(self, cohort: Cohort, survivors: Sequence[str], seed: bytes) -> Sequence[Verdict]:
        return self.answers.get("frozen", ())


class Proves(Says):
    proves = True

    def on_proofs(self, cohort: Cohort, seed: bytes, proofs: Mapping[str, bytes]) -> Sequence[Verdict]:
        self.seen = dict(proofs)
        return self.answers.get("proofs", ())


def test_a_check_accepts_unless_told_otherwise() -> None:
    gate = Gate(COHORT, [Check(), Check()])
    assert gate.on_message(1, MESSAGE) is None
    assert gate.on_inputs_frozen([0, 1], bytes(32)) == {}
    assert gate.on_proofs(bytes(32), {}) == {}
    gate.on_aggregate([0, 1], np.zeros(3, np.int64))


@pytest.mark.parametrize(
    ("checks", "holds"),
    [([], False), ([Says("a")], False), ([Says("a"), Freezes("b")], True), ([Proves("c")], True)],
)
def test_inputs_are_held_back_only_if_a_check_may_still_refuse_them(checks: list[Check], holds: bool) -> None:
    assert Gate(COHORT, checks).may_reject_frozen is holds


def test_the_first_objection_to_a_client_stands() -> None:
    first = Freezes("first", frozen=[Reject("bo", "one"), Reject("bo", "two"), Reject("cy", "three")])
    second = Freezes("second", frozen=[Reject("cy", "four"), Reject("ana", "five", {"n": 5})])
    assert Gate(COHORT, [first, second]).on_inputs_frozen([0, 1, 2], bytes(32)) == {
        1: Rejection("first", "one"),
        2: Rejection("first", "three"),
        0: Rejection("second", "five", {"n": 5}),
    }


def test_messages_are_shown_to_all_checks_until_one_objects() -> None:
    gate = Gate(COHORT, [Says("a"), Says("b", message=Reject("bo", "no")), Says("c", message=Abort("never"))])
    assert gate.on_message(1, MESSAGE) == Rejection("b", "no")


def test_each_prover_sees_its_own_proofs() -> None:
    one, other = Proves("one"), Proves("other", proofs=[Reject("cy", "bad")])
    gate = Gate(COHORT, [Says("a"), one, Says("b"), other])
    assert gate.provers == (one, other)
    found = gate.on_proofs(bytes(32), {0: (b"a", b"b"), 2: (b"c", b"d")})
    assert (one.seen, other.seen) == ({"ana": b"a", "cy": b"c"}, {"ana": b"b", "cy": b"d"})
    assert found == {2: Rejection("other", "bad")}


@pytest.mark.parametrize("stage", ["message", "frozen", "proofs", "aggregate"])
def test_an_abort_at_any_stage_is_raised_with_its_evidence(stage: str) -> None:
    class Both(Freezes, Proves):
        pass

    verdict = Abort("enough", {"count": 3})
    gate = Gate(COHORT, [Both("judge", **{stage: verdict})])
    calls: dict[str, Any] = {
        "message": lambda: gate.on_message(1, MESSAGE),
        "frozen": lambda: gate.on_inputs_frozen([0], bytes(32)),
        "proofs": lambda: gate.on_proofs(bytes(32), {}),
        "aggregate": lambda: gate.on_aggregate([0], np.zeros(3, np.int64)),
    }
    with pytest.raises(AbortError, match=r"check 'judge': enough \(count = 3\)"):
        calls[stage]()


def test_a_rejection_of_an_open_sum_is_an_abort() -> None:
    gate = Gate(COHORT, [Says("judge", aggregate=Reject("bo", "late regret"))])
    with pytest.raises(
        AbortError, match=r"refused a client after the sum was open: late regret \(client = 'bo'\)"
    ):
        gate.on_aggregate([0, 1], np.zeros(3, np.int64))


def test_strangers_cannot_be_refused() -> None:
    with pytest.raises(LocalError, match="client is 'dan': is not one of the 3 members"):
        Gate(COHORT, [Freezes("a", frozen=[Reject("dan", "who?")])]).on_inputs_frozen([0], bytes(32))


class TestStructural:
    @pytest.mark.parametrize("size", [0, 4, 6, 1000])
    def test_another_length_is_refused(self, size: int) -> None:
        check = Structural(lambda phase: {"input": 5}.get(phase))
        message = Message(bytes(16), 0, "input", client_id(1), SERVER, bytes(size))
        assert check.on_message(COHORT, "bo", message) == Reject(
            "bo",
            f"wrong length: {size} bytes in phase 'input', where 5 were due",
            {"bytes": size, "expected": 5},
        )

    def test_the_length_that_is_due_passes_and_so_does_a_phase_of_varying_length(self) -> None:
        assert Structural(lambda phase: 5).on_message(COHORT, "bo", MESSAGE) == ACCEPT
        assert Structural(lambda phase: None).on_message(COHORT, "bo", MESSAGE) == ACCEPT

    @pytest.mark.parametrize("entry", [254, -254, 0])
    def test_a_sum_that_inputs_can_have_passes(self, entry: int) -> None:
        total = np.array([0, entry, 5])
        assert Structural(lambda phase: None).on_aggregate(COHORT, ["ana", "bo"], total) == ACCEPT

    @pytest.mark.parametrize("entry", [255, -255, 2**62, -(2**62)])
    def test_a_sum_that_no_inputs_have_aborts(self, entry: int) -> None:
        total = np.array([0, entry, 5])
        verdict = Structural(lambda phase: None).on_aggregate(COHORT, ["ana", "bo"], total)
        assert isinstance(verdict, Abort)
        assert verdict.evidence == {"largest": abs(entry), "bound": 254, "survivors": 2}


def test_challenges_have_one_encoding() -> None:
    seed = bytes(range(32))
    assert Challenge.decode(Challenge(seed).encode()) == Challenge(seed)
    for size in (0, 31, 33):
        with pytest.raises(DecodeError):
            Challenge.decode(bytes(size))
    with pytest.raises(LocalError, match=r"len\(data\) is 5: this field has 32 bytes"):
        Challenge(bytes(5)).encode()


@pytest.mark.parametrize("sizes", [[], [0], [5], [3, 0, 4]])
def test_proofs_have_one_encoding(sizes: list[int]) -> None:
    parts = tuple(bytes([7]) * size for size in sizes)
    data = Proofs(parts).encode(sizes)
    assert len(data) == sum(sizes)
    assert Proofs.decode(data, sizes) == Proofs(parts)
    with pytest.raises(DecodeError):
        Proofs.decode(data + b"\0", sizes)
    if data:
        with pytest.raises(DecodeError):
            Proofs.decode(data[:-1], sizes)


def test_proofs_of_another_number_or_size_are_not_sent() -> None:
    with pytest.raises(LocalError, match="number of proofs is 1: 2 checks ask for one"):
        Proofs((b"",)).encode([1, 2])
    with pytest.raises(LocalError, match=r"len\(data\) is 1: this field has 2 bytes"):
        Proofs((b"a",)).encode([2])


def test_a_check_that_proves_but_does_not_say_so_is_refused() -> None:
    with pytest.raises(LocalError, match=r"Forgetful.proves is False: must be True, since it has on_proofs"):

        class Forgetful(Check):
            def on_proofs(self, cohort: Any, seed: bytes, proofs: Any) -> Any:
                return ()


def test_a_check_cannot_change_the_sum() -> None:
    class Doubles(Check):
        def on_aggregate(self, cohort: Any, survivors: Any, total: Any) -> Any:
            total *= 2
            return ACCEPT

    updates = {name: np.full(3, 0.25) for name in ("ana", "bo", "cy")}
    with pytest.raises(ValueError, match="read-only"):
        aggregate(updates, backend=InsecurePlain(), checks=[Doubles()])
