"""Checks of a user's own, at every stage, on every backend (spec section 8)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.errors import AbortError, LocalError
from mpc.party import SERVER, Message, client_id
from mpc.tape import RandomTape, SeededTape
from secagg import ACCEPT, Abort, Check, Cohort, FixedPoint, InsecurePlain, Reject, Verdict
from secagg.backend import Backend
from secagg.checks import NormBound

ALL = tuple(range(6))


class RefusesInput(Check):
    """Refuses one client on the public form of its input."""

    name = "no such clients"

    def __init__(self, client: str, phase: str) -> None:
        self.client = client
        self.phase = phase

    def on_message(self, cohort: Cohort, client: str, message: Message) -> Verdict:
        if client == self.client and message.phase == self.phase:
            return Reject(client, "it is on my list", {"bytes": len(message.payload)})
        return ACCEPT


class RefusesFrozen(Check):
    """Refuses clients once all inputs are frozen, and remembers what it was shown."""

    name = "frozen"

    def __init__(self, *clients: str) -> None:
        self.clients = clients
        self.asked: list[tuple[tuple[str, ...], bytes]] = []

    def on_inputs_frozen(self, cohort: Cohort, survivors: Sequence[str], seed: bytes) -> list[Verdict]:
        self.asked.append((tuple(survivors), seed))
        return [Reject(client, "drawn by lot", {"seed": seed.hex()}) for client in self.clients]


class Fingerprint(Check):
    """The proof is SHA-256 of seed and vector, so it cannot be made before the seed is there.

    The checker knows what the vectors ought to be, which only a test does.
    """

    name = "fingerprint"
    proves = True

    def __init__(self, truth: Mapping[str, np.ndarray], size: int = 32) -> None:
        self.truth = truth
        self.size = size
        self.seeds: set[bytes] = set()

    def _digest(self, vector: np.ndarray, seed: bytes) -> bytes:
        return hashlib.shake_256(seed + vector.astype(np.int64).tobytes()).digest(self.size)

    def proof_bytes(self, cohort: Cohort) -> int:
        return self.size

    def prove(self, cohort: Cohort, client: str, vector: np.ndarray, seed: bytes, tape: RandomTape) -> bytes:
        return self._digest(vector, seed)

    def on_proofs(self, cohort: Cohort, seed: bytes, proofs: Mapping[str, bytes]) -> list[Verdict]:
        self.seeds.add(seed)
        return [
            Reject(client, "the proof does not fit", {"proof": proof.hex()})
            for client, proof in proofs.items()
            if proof != self._digest(self.truth[client], seed)
        ]


class AtTheEnd(Check):
    name = "at the end"

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.shown: tuple[tuple[str, ...], np.ndarray] | None = None

    def on_aggregate(self, cohort: Cohort, survivors: Sequence[str], total: np.ndarray) -> Verdict:
        self.shown = tuple(survivors), total.copy()
        return self.verdict


def named(vectors: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"c{index}": vector for index, vector in enumerate(vectors)}


@pytest.fixture
def vectors(rig: SimpleNamespace) -> list[np.ndarray]:
    return rig.vectors(6, 11, 16)


def test_a_message_is_refused(make: Any, rig: SimpleNamespace, vectors: list[np.ndarray]) -> None:
    backend = make()
    outcome = rig.play(make, vectors, checks=[RefusesInput("c1", backend.input_phase)])
    outcome.require_exact()
    assert outcome.survivors == (0, 2, 3, 4, 5)
    rejection = outcome.rejected[1]
    assert (rejection.check, rejection.reason) == ("no such clients", "it is on my list")
    assert rejection.evidence["bytes"] > 0


def test_a_message_is_refused_in_each_phase(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    backend = make()
    for phase in backend.client_phases:
        outcome = rig.play(make, vectors, checks=[RefusesInput("c1", phase)])
        outcome.require_exact()
        late = backend.phases.index(phase) > backend.phases.index(backend.input_phase)
        assert (1 in outcome.survivors) is late


def test_frozen_inputs_are_refused(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    check = RefusesFrozen("c0", "c5")
    outcome = rig.play(make, vectors, checks=[check])
    outcome.require_exact()
    assert outcome.survivors == (1, 2, 3, 4)
    assert {index: r.reason for index, r in outcome.rejected.items()} == dict.fromkeys((0, 5), "drawn by lot")
    ((survivors, seed),) = check.asked
    assert survivors == tuple(f"c{index}" for index in ALL)
    assert len(seed) == 32


def test_those_who_dropped_out_are_not_shown(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    check = RefusesFrozen()
    rig.play(make, vectors, checks=[check], drop={3: make().input_phase}).require_exact()
    assert check.asked[0][0] == ("c0", "c1", "c2", "c4", "c5")


def test_the_seed_is_fresh(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    check = RefusesFrozen()
    for seed in (b"one", b"two", b"two"):
        rig.play(make, vectors, checks=[check], seed=seed).require_exact()
    first, second, again = (seed for _, seed in check.asked)
    assert first != second
    assert second == again


def test_inputs_are_frozen_before_the_seed_is_drawn(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    """On the wire: no client's input is delivered after the first challenge has left."""
    records = rig.play(make, vectors, checks=[Fingerprint(named(vectors))]).transcript.records
    challenge = next(record.step for record in records if record.phase == "check")
    inputs = [record.step for record in records if record.phase == make().input_phase]
    uploads = [step for step in inputs if records[step].sender.role.name == "CLIENT"]
    assert len(uploads) == 6
    assert max(uploads) < challenge


def test_refusing_too_many_aborts(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    outcome = rig.play(make, vectors, checks=[RefusesFrozen("c0", "c1", "c2")])
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("3 of 6 clients passed the checks; the threshold is 4")
    assert set(outcome.abort.evidence["rejected"]) == {"c0", "c1", "c2"}


def test_refusing_everybody_aborts(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    everybody = RefusesFrozen(*(f"c{index}" for index in ALL))
    for checks in ([everybody], [everybody, Fingerprint(named(vectors))]):
        outcome = rig.play(make, vectors, checks=checks)
        assert outcome.abort is not None
        assert outcome.abort.reason.startswith("0 of 6 clients")


def test_honest_proofs_pass(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    check = Fingerprint(named(vectors))
    outcome = rig.play(make, vectors, checks=[check])
    outcome.require_exact()
    assert outcome.survivors == ALL
    assert len(check.seeds) == 1


@pytest.mark.parametrize("lie", ["another vector", "a stale proof", "a forged proof"])
def test_a_liar_is_named_and_not_in_the_sum(make: Any, rig: SimpleNamespace, vectors: Any, lie: str) -> None:
    truth = named(vectors)
    check, liars = Fingerprint(truth), {}
    if lie == "another vector":
        truth["c4"] = vectors[4] + 1
    else:
        # Stale: what a client can make before it has seen the seed.
        proof = check._digest(vectors[4], bytes(32)) if lie == "a stale proof" else bytes(32)
        liars = {4: lambda m: [replace(m, payload=proof) if m.phase == "check" else m]}
    outcome = rig.play(make, vectors, checks=[check], liars=liars)
    outcome.require_exact()
    assert outcome.survivors == (0, 1, 2, 3, 5)
    assert set(outcome.rejected) == {4}
    assert (outcome.rejected[4].check, outcome.rejected[4].reason) == (
        "fingerprint",
        "the proof does not fit",
    )


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_proof_of_the_wrong_size(make: Any, rig: SimpleNamespace, vectors: Any, size: int) -> None:
    def resized(message: Message) -> list[Message]:
        return [replace(message, payload=bytes(size)) if message.phase == "check" else message]

    outcome = rig.play(make, vectors, checks=[Fingerprint(named(vectors))], liars={0: resized})
    outcome.require_exact()
    assert outcome.rejected[0].check == "structural"
    assert outcome.rejected[0].reason == f"wrong length: {size} bytes in phase 'check', where 32 were due"


def test_a_client_answers_one_challenge(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    """A second one, under another seed, is refused: proofs under many seeds would say more and more."""

    def curious(message: Message) -> list[Message]:
        asked = message.phase == "check" and message.receiver == client_id(2)
        return [message, replace(message, payload=bytes(32))] if asked else [message]

    outcome = rig.play(make, vectors, checks=[Fingerprint(named(vectors))], liars={SERVER: curious})
    outcome.require_exact()
    assert outcome.survivors == ALL
    refusals = [(refusal.party, refusal.error.reason) for refusal in outcome.transcript.refusals]
    assert refusals[0] == (client_id(2), "not expected in state 'proved'")
    assert {party for party, _ in refusals} == {client_id(2)}


def test_no_proof_no_place_in_the_sum(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    outcome = rig.play(make, vectors, checks=[Fingerprint(named(vectors))], drop={2: "check"})
    outcome.require_exact()
    assert outcome.survivors == (0, 1, 3, 4, 5)
    assert outcome.rejected == {}


def test_no_proofs_at_all(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    drop = dict.fromkeys(ALL, "check")
    outcome = rig.play(make, vectors, checks=[Fingerprint(named(vectors))], drop=drop)
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("0 of 6 clients")


def test_several_checks_and_the_first_objection_stands(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    wrong = named(vectors) | {"c4": vectors[4] + 1, "c0": vectors[0] - 1}
    checks = [
        RefusesFrozen("c0"),
        Fingerprint(named(vectors), 7),
        Fingerprint(wrong, 50),
        AtTheEnd(ACCEPT),
    ]
    outcome = rig.play(make, vectors, checks=checks)
    outcome.require_exact()
    assert outcome.survivors == (1, 2, 3, 5)
    assert {index: r.check for index, r in outcome.rejected.items()} == {0: "frozen", 4: "fingerprint"}


def test_the_sum_is_shown_before_it_is_used(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    check = AtTheEnd(ACCEPT)
    outcome = rig.play(make, vectors, checks=[check])
    outcome.require_exact()
    assert check.shown is not None
    assert check.shown[0] == tuple(f"c{index}" for index in ALL)
    assert np.array_equal(check.shown[1], outcome.total)


def test_a_sum_is_refused(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    outcome = rig.play(make, vectors, checks=[AtTheEnd(Abort("too large", {"norm": 7}))])
    assert isinstance(outcome.abort, AbortError)
    assert outcome.abort.reason == "check 'at the end': too large"
    assert outcome.abort.evidence == {"norm": 7}


def test_a_client_cannot_be_taken_out_of_an_open_sum(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    outcome = rig.play(make, vectors, checks=[AtTheEnd(Reject("c1", "I do not like it"))])
    assert isinstance(outcome.abort, AbortError)
    assert "after the sum was open: I do not like it" in outcome.abort.reason
    assert outcome.abort.evidence == {"client": "c1"}


@pytest.mark.parametrize("stage", ["on_message", "on_inputs_frozen", "on_proofs"])
def test_any_stage_can_abort(make: Any, rig: SimpleNamespace, vectors: Any, stage: str) -> None:
    verdict = Abort("enough", {"stage": stage})

    class Aborts(Check):
        proves = stage == "on_proofs"

    shown = {
        "on_message": lambda self, cohort, client, message: verdict,
        "on_inputs_frozen": lambda self, cohort, survivors, seed: [verdict],
        "on_proofs": lambda self, cohort, seed, proofs: [verdict],
    }
    setattr(Aborts, stage, shown[stage])
    outcome = rig.play(make, vectors, checks=[Aborts()])
    assert isinstance(outcome.abort, AbortError)
    assert outcome.abort.reason == "check 'check': enough"
    assert outcome.abort.evidence == {"stage": stage}


def test_a_check_that_names_a_stranger_is_told_so(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    with pytest.raises(LocalError, match="client is 'nobody': is not one of the 6 members"):
        rig.play(make, vectors, checks=[RefusesFrozen("nobody")])


@pytest.mark.parametrize("stage", ["on_message", "on_inputs_frozen", "on_proofs", "on_aggregate"])
@pytest.mark.parametrize("answer", [None, False, True, "no"])
def test_what_is_no_verdict_is_no_consent(
    make: Any, rig: SimpleNamespace, vectors: Any, stage: str, answer: object
) -> None:
    class Confused(Check):
        name = "confused"
        proves = stage == "on_proofs"

    setattr(Confused, stage, lambda *_: answer)
    with pytest.raises(
        LocalError, match=r"verdict of check 'confused' is .*: must be Accept, Reject or Abort"
    ):
        rig.play(make, vectors, checks=[Confused()])


def test_a_message_speaks_against_its_sender_only(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    class Slander(Check):
        name = "slander"

        def on_message(self, cohort: Cohort, client: str, message: Message) -> Verdict:
            return Reject("c5", "somebody said so")

    with pytest.raises(LocalError, match=r"a message of 'c.' can only speak against its sender"):
        rig.play(make, vectors, checks=[Slander()])


def test_a_prover_that_breaks_its_word_on_the_size(make: Any, rig: SimpleNamespace, vectors: Any) -> None:
    class Longer(Fingerprint):
        def proof_bytes(self, cohort: Cohort) -> int:
            return self.size + 1

    with pytest.raises(LocalError, match=r"len\(data\) is 32: this field has 33 bytes"):
        rig.play(make, vectors, checks=[Longer(named(vectors))])


def test_refused_with_a_check_as_without_protection(
    make: Any, backend: Backend, rig: SimpleNamespace, vectors: Any
) -> None:
    wrong = named(vectors) | {"c4": vectors[4] + 1}
    drop = {1: "check"}
    one = rig.play(make, vectors, checks=[Fingerprint(wrong)], drop=drop)
    other = rig.play(InsecurePlain(), vectors, checks=[Fingerprint(wrong)], drop=drop)
    assert one.survivors == other.survivors == (0, 2, 3, 5)
    assert np.array_equal(one.total, other.total)
    assert {i: r.reason for i, r in one.rejected.items()} == {i: r.reason for i, r in other.rejected.items()}


def test_what_clients_prove_on_shares(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    """Sharing takes it, and sums as before; every party of every other backend refuses it by name."""
    plan = FixedPoint(1.0, 16).plan((9,), clients=6, max_weight=7, metrics={"loss": 1.0})
    vectors = [np.array([*range(-4, 5), 1 + index, index - 3]) for index in range(6)]
    check = NormBound(0.5, plan)
    cohort, tape = rig.cohort(make, 6, plan.length, 16), SeededTape(b"on shares")
    if backend.proves_on_shares:
        assert backend.name == "sharing"
        outcome = rig.play(make, vectors, checks=[check])
        outcome.require_exact()
        assert outcome.survivors == ALL
        rig.declared(backend, outcome, [check])
        return
    for party in (
        lambda: backend.client(cohort, "c0", vectors[0], checks=[check], tape=tape),
        lambda: backend.server(cohort, link_key=rig.link_key, checks=[check], tape=tape),
        lambda: backend.helpers(cohort, checks=[check], tape=tape),
    ):
        with pytest.raises(LocalError, match=r"checks is 'norm': is proved on shares, which .* has not"):
            party()
