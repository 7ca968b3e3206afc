"""The consistency phase from the server's side: tags that are wrong, cut or missing (spec section 12.4)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mpc.party import Message
from secagg import Masking
from tests.secagg.masking.setting import in_phase

N = 6


def garble_tags(message: Message) -> bytes:
    return bytes(len(message.payload))


@pytest.mark.parametrize("liars", [[0], [5], [1, 4]], ids=str)
def test_wrong_tags_of_a_few_cost_nothing(rig: SimpleNamespace, liars: list[int]) -> None:
    """Nobody can stop a round by telling others that it was shown something else."""
    lies = dict.fromkeys(liars, in_phase("consistency", garble_tags))
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), liars=lies)
    outcome.require_exact()
    assert outcome.survivors == tuple(range(N))
    assert outcome.transcript.refusals == []


def test_wrong_tags_of_more_than_the_round_can_spare_abort(rig: SimpleNamespace) -> None:
    lies = dict.fromkeys((0, 1, 2), in_phase("consistency", garble_tags))
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), liars=lies)
    assert outcome.abort is not None
    assert outcome.abort.reason == "3 of 6 clients answered the unmask request; the threshold is 4"


@pytest.mark.parametrize("cut", [0, 1, 15, 16])
def test_tags_of_another_length_do_not_count_as_an_answer(rig: SimpleNamespace, cut: int) -> None:
    def lie(message: Message) -> bytes:
        return bytes(message.payload)[:-cut] if cut else bytes(message.payload) + b"\0"

    liars = {2: in_phase("consistency", lie)}
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), liars=liars)
    outcome.require_exact()
    assert outcome.survivors == tuple(range(N))
    silent = dict.fromkeys((0, 1), "consistency")
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), liars=liars, drop=silent)
    assert outcome.abort is not None
    assert outcome.abort.reason == "3 of 6 clients attested the survivor set; the threshold is 4"


@pytest.mark.parametrize("phase", ["consistency", "unmask"])
def test_survivors_that_go_silent_stay_in_the_sum(rig: SimpleNamespace, phase: str) -> None:
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), drop={0: phase, 5: phase})
    outcome.require_exact()
    assert outcome.survivors == tuple(range(N))
    assert outcome.transcript.refusals == []


def test_too_few_tags_abort_with_counts(rig: SimpleNamespace) -> None:
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), drop=dict.fromkeys((0, 1, 2), "consistency"))
    assert outcome.abort is not None
    assert outcome.abort.reason == "3 of 6 clients attested the survivor set; the threshold is 4"


def test_too_few_answers_abort_with_counts(rig: SimpleNamespace) -> None:
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), drop=dict.fromkeys((0, 1, 2), "unmask"))
    assert outcome.abort is not None
    assert outcome.abort.reason == "3 of 6 clients answered the unmask request; the threshold is 4"
