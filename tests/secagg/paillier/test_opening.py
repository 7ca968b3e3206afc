"""The one key holder's answer: silent, wrong, late or from elsewhere, it is named, and no sum is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from gmpy2 import mpz

from mpc.errors import AbortError
from mpc.party import Message, PartyId, Role
from mpc.tape import SeededTape
from secagg.paillier.messages import CHECK, DECRYPT, INPUT, OPENED
from secagg.paillier.opening import WrongAnswers, opening_context
from secagg.roundlog import RoundLog

KEY_HOLDER = PartyId(Role.KEY_HOLDER)
Answer = Callable[[bytes, int], bytes]
"""A key holder's payload, from the honest one and n."""


def test_a_silent_key_holder_is_named(lab: Any) -> None:
    cohort = lab.cohort()
    for phase in (OPENED, INPUT):
        with pytest.raises(AbortError, match="1 of 1 key holders: key holder 0 sent no answer") as caught:
            lab.run(cohort, lab.vectors(cohort), drop={KEY_HOLDER: phase}, seed=phase.encode())
        assert caught.value.evidence["party"] == "key holder 0"
        assert caught.value.evidence["faults"].keys() == {"key holder 0"}
        lab = type(lab)()
    with pytest.raises(AbortError, match="key holder 0 sent no answer"):
        lab.run(cohort, lab.vectors(cohort), offline=[KEY_HOLDER])


def width_of(payload: bytes) -> int:
    """Three lifts and a root."""
    return len(payload) // 4


def with_number(place: int, change: Callable[[int, int], int]) -> Answer:
    """One number replaced by ``change`` of it and n."""

    def forge(payload: bytes, n: int) -> bytes:
        width = width_of(payload)
        number = int.from_bytes(payload[place * width : (place + 1) * width], "little")
        changed = change(number, n).to_bytes(width, "little")
        return payload[: place * width] + changed + payload[(place + 1) * width :]

    return forge


def swapped(payload: bytes, n: int) -> bytes:
    width = width_of(payload)
    return payload[width : 2 * width] + payload[:width] + payload[2 * width :]


UNPROVED = "key holder 0 has answered: the key holder's root does not prove its lifts"
ANSWERS: dict[str, tuple[Answer, str]] = {
    "one byte short": (lambda payload, n: payload[:-1], "ends after"),
    "one byte long": (lambda payload, n: payload + b"\0", "1 bytes after the end"),
    "a lift less": (lambda payload, n: payload[width_of(payload) :], "ends after"),
    "a lift more": (lambda payload, n: payload + payload[-width_of(payload) :], "bytes after the end"),
    "empty": (lambda payload, n: b"", "ends after 0 bytes"),
    "zeros": (lambda payload, n: bytes(len(payload)), r"proof 0 is not in \(0, n\)"),
    "a lift of n": (with_number(2, lambda lift, n: n), r"lift 2 is not in \[0, n\)"),
    "all ones": (lambda payload, n: b"\xff" * len(payload), r"lift 0 is not in \[0, n\)"),
    "no proof": (with_number(3, lambda root, n: 0), r"proof 0 is not in \(0, n\)"),
    "a proof of n": (with_number(3, lambda root, n: n), r"proof 0 is not in \(0, n\)"),
    "a wrong lift": (with_number(0, lambda lift, n: (lift + 1) % n), UNPROVED),
    "a far lift": (with_number(1, lambda lift, n: (lift + (1 << 100)) % n), UNPROVED),
    "no lift": (with_number(1, lambda lift, n: 0), UNPROVED),
    "swapped lifts": (swapped, UNPROVED),
    "a wrong proof": (with_number(3, lambda root, n: (root + 1) % n), UNPROVED),
    "the proof's negative": (with_number(3, lambda root, n: n - root), UNPROVED),
    "one for a proof": (with_number(3, lambda root, n: 1), UNPROVED),
}


def answering(forge: Answer, n: int) -> Callable[[Message], list[Message]]:
    return lambda message: [replace(message, payload=forge(bytes(message.payload), n))]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_not_the_key_holders_aborts_and_names_it(
    lab: Any, rig: SimpleNamespace, name: str
) -> None:
    forge, reason = ANSWERS[name]
    liar = answering(forge, int(lab.keys.public.encryption.n))
    outcome = rig.play(lab.backend(), rig.vectors(4, 60, 16), liars={KEY_HOLDER: liar})
    assert outcome.total is None
    assert outcome.abort.evidence["party"] == "key holder 0"
    with pytest.raises(AbortError, match=reason):
        raise outcome.abort


class Recorder:
    """Sends on what it hears, and keeps it; or sends what another has kept, in the place of it."""

    def __init__(self, instead: Recorder | None = None) -> None:
        self._instead = instead
        self.kept: list[bytes] = []

    def __call__(self, message: Message) -> list[Message]:
        self.kept.append(bytes(message.payload))
        return [message if self._instead is None else replace(message, payload=self._instead.kept[0])]


@pytest.mark.parametrize("change", ["round", "session", "clients", "vectors"])
def test_an_answer_from_elsewhere_aborts_and_names_the_key_holder(
    lab: Any, rig: SimpleNamespace, change: str
) -> None:
    """Of another round or session with the same ciphertexts; of others in the same round."""
    vectors, backend = rig.vectors(4, 60, 16), lab.backend()
    cohort = rig.cohort(backend, 4, 60, 16)
    before, drop, seed = cohort, {}, b"a round"
    if change == "round":
        before = replace(cohort, round=cohort.round + 1)
    elif change == "session":
        before = replace(cohort, session=bytes(16))
    elif change == "clients":
        drop = {3: INPUT}
    else:
        seed = b"others"
    recorder = Recorder()
    rig.play(backend, vectors, liars={KEY_HOLDER: recorder}, cohort=before, drop=drop, seed=seed)
    lab.keys.log = RoundLog()
    again = Recorder(recorder)
    outcome = rig.play(backend, vectors, liars={KEY_HOLDER: again}, cohort=cohort)
    assert again.kept != recorder.kept
    with pytest.raises(AbortError, match=UNPROVED):
        raise outcome.abort


def test_the_same_ciphertexts_in_another_round_need_another_proof(lab: Any, rig: SimpleNamespace) -> None:
    """The lifts are the same, as they depend on the ciphertexts alone; the proof is for one round."""
    opening, key = lab.backend()._opening(), lab.keys.public.encryption
    ciphertexts = key.encrypt_many([mpz(1), mpz(2)], SeededTape(b"two"))
    units = [c % key.n for c in ciphertexts]
    cohort = lab.cohort()
    contexts = [
        opening_context(cohort, (0, 1)),
        opening_context(cohort, (0, 2)),
        opening_context(lab.cohort(round=1), (0, 1)),
        opening_context(lab.cohort(session=bytes([1] * 16)), (0, 1)),
        opening_context(lab.cohort(5), (0, 1)),
    ]
    assert len(set(contexts)) == len(contexts)
    answers = [opening.decode(lab.keys.answer(units, one, SeededTape(b"")), 2) for one in contexts]
    assert len({tuple(answer.lifts) for answer in answers}) == 1
    assert len({answer.proof for answer in answers}) == len(contexts)
    for answer, own in zip(answers, contexts, strict=True):
        for context in contexts:
            if context == own:
                assert opening.open(ciphertexts, {KEY_HOLDER: answer}, context) == [1, 2]
                continue
            with pytest.raises(WrongAnswers, match="does not prove its lifts") as caught:
                opening.open(ciphertexts, {KEY_HOLDER: answer}, context)
            assert caught.value.faults.keys() == {KEY_HOLDER}


@pytest.mark.parametrize("phase", [INPUT, CHECK, DECRYPT, "no such phase"])
def test_a_key_holder_that_speaks_out_of_turn_is_named(lab: Any, rig: SimpleNamespace, phase: str) -> None:
    def early(message: Message) -> list[Message]:
        return [replace(message, phase=phase), message]

    outcome = rig.play(lab.backend(), rig.vectors(4, 60, 16), liars={KEY_HOLDER: early})
    with pytest.raises(AbortError, match=f"key holder 0 has spoken out of turn, in phase '{phase}'"):
        raise outcome.abort


def test_a_second_answer_changes_nothing(lab: Any, rig: SimpleNamespace) -> None:
    forge, _ = ANSWERS["a wrong lift"]
    n = int(lab.keys.public.encryption.n)

    def twice(message: Message) -> list[Message]:
        return [message, *answering(forge, n)(message), message]

    outcome = rig.play(lab.backend(), rig.vectors(4, 60, 16), liars={KEY_HOLDER: twice})
    outcome.require_exact()
    assert outcome.faults == {}
