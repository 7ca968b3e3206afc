"""Key holders of a shared key that lie, are silent or speak out of turn: named, and left out of the sum."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from mpc.errors import AbortError
from mpc.party import SERVER, Message
from mpc.tape import SeededTape
from secagg.paillier.messages import CHECK, DECRYPT, INPUT, OPENED, key_holder_ids
from secagg.paillier.opening import WrongAnswers
from secagg.paillier.server import PaillierServer
from tests.secagg.paillier.answers import BAD_ROOTS, HARMLESS, LIES, UNPROVED, Waiting


@pytest.fixture(scope="module")
def waiting(new_lab: Callable[[], Any], shared: Callable[..., Any]) -> Callable[..., Waiting]:
    """``waiting(m, t)``: made once; every test has servers of its own from it."""
    return cache(lambda holders, threshold: Waiting(new_lab(), shared(holders, threshold)))


@pytest.mark.parametrize("name", LIES)
def test_one_liar_of_three_is_left_out_in_every_order(waiting: Callable[..., Waiting], name: str) -> None:
    at, (lie, reason) = waiting(3, 2), LIES[name]
    for liar in at.holders:
        answers = {**at.answers, liar: at.lied(liar, lie)}
        for order in itertools.permutations(at.holders):
            server = at.server()
            for who in order:
                assert server.receive(answers[who]) == []
            heard = {liar} & set(order[:2])
            at.require_opened(server, heard)
            if heard:
                assert reason in server.result.faults[liar]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["swapped roots", "another's answer", "one byte short"])
def test_two_liars_of_five_are_left_out_in_many_orders(waiting: Callable[..., Waiting], name: str) -> None:
    at, (lie, _) = waiting(5, 3), LIES[name]
    for liars in itertools.combinations(at.holders, 2):
        answers = {**at.answers, **{liar: at.lied(liar, lie) for liar in liars}}
        for order in list(itertools.permutations(at.holders))[::17]:
            server = at.server()
            for who in order:
                server.receive(answers[who])
            at.require_opened(server, server.faults)
            assert server.faults.keys() <= set(liars)
            honest_first = [who not in liars for who in order[:3]]
            assert all(honest_first) == (not server.faults)


@pytest.mark.parametrize("name", LIES)
def test_two_liars_of_three_end_the_round_with_both_names(waiting: Callable[..., Waiting], name: str) -> None:
    at, (lie, reason) = waiting(3, 2), LIES[name]
    for liars in itertools.permutations(at.holders, 2):
        honest = next(who for who in at.holders if who not in liars)
        lies = [at.lied(liar, lie) for liar in liars]
        if lies[0].payload == at.answers[honest].payload:
            continue  # then it is not clear whose answer it was
        for place in range(3):
            answers = [*lies[:place], at.answers[honest], *lies[place:]]
            with pytest.raises(AbortError, match="it takes 2 of 3 key holders") as caught:
                run(at.server(), answers)
            faults = caught.value.evidence["faults"]
            assert faults.keys() == set(map(str, liars))
            assert all(reason in why for why in faults.values())
            assert str(at.answers[honest].sender) not in caught.value.evidence["party"]


def run(server: PaillierServer, answers: Iterable[Message]) -> None:
    for answer in answers:
        server.receive(answer)


def test_a_liar_and_a_silent_one_are_both_named_at_the_deadline(waiting: Callable[..., Waiting]) -> None:
    at = waiting(3, 2)
    lie, reason = LIES["swapped roots"]
    for honest, liar, silent in itertools.permutations(at.holders):
        for order in ((honest, liar), (liar, honest)):
            server = at.server()
            run(server, [at.answers[who] if who == honest else at.lied(who, lie) for who in order])
            assert server.result is None
            with pytest.raises(AbortError, match="it takes 2 of 3 key holders") as caught:
                server.expire()
            faults = caught.value.evidence["faults"]
            assert faults.keys() == {str(liar), str(silent)}
            assert faults[str(liar)] == reason
            assert "sent no answer before the deadline" in faults[str(silent)]


@pytest.mark.parametrize("name", HARMLESS)
def test_right_roots_need_no_proof_and_accuse_nobody(waiting: Callable[..., Waiting], name: str) -> None:
    """Where the sum opens it is right, whatever the proofs: and nobody is called a liar for them."""
    at = waiting(3, 2)
    for order in itertools.permutations(at.holders, 2):
        server = at.server()
        run(server, [at.lied(order[0], HARMLESS[name]), at.answers[order[1]]])
        at.require_opened(server)


def test_a_false_proof_is_blamed_on_its_maker_where_another_lies(waiting: Callable[..., Waiting]) -> None:
    """With a wrong root among the answers proofs decide: a false one counts as a lie."""
    at = waiting(5, 3)
    first, second, *others = at.holders
    server = at.server()
    run(server, [at.lied(first, HARMLESS["another challenge"]), at.lied(second, BAD_ROOTS["ones"])])
    run(server, [at.answers[who] for who in others])
    at.require_opened(server, {first, second})


def test_another_rounds_answer_is_a_lie(lab: Any, shared: Callable[..., Any], waiting: Any) -> None:
    at, before = waiting(3, 2), Waiting(lab, shared(3, 2), round=1)
    for liar in at.holders:
        replayed = replace(at.answers[liar], payload=before.answers[liar].payload)
        server = at.server()
        run(server, [replayed, *(at.answers[who] for who in at.holders if who != liar)])
        at.require_opened(server, {liar})
        assert UNPROVED in server.faults[liar]


# Order and number of answers


def test_late_answers_change_nothing(waiting: Callable[..., Waiting]) -> None:
    at = waiting(3, 2)
    late, *_ = at.holders[::-1]
    server = at.server()
    run(server, [at.answers[who] for who in at.holders if who != late])
    at.require_opened(server)
    result = server.result
    for message in (at.answers[late], at.lied(late, LIES["empty"][0]), at.lied(late, BAD_ROOTS["ones"])):
        assert server.receive(message) == []
    assert server.expire() == []
    assert server.result is result
    at.require_opened(server)


def test_of_two_answers_the_first_counts(waiting: Callable[..., Waiting]) -> None:
    at = waiting(3, 2)
    twice, other, _ = at.holders
    right, wrong = at.answers[twice], at.lied(twice, BAD_ROOTS["ones"])
    server = at.server()
    run(server, [right, right, wrong])
    assert server.result is None  # nobody counts twice
    server.receive(at.answers[other])
    at.require_opened(server)
    server = at.server()
    run(server, [at.lied(twice, LIES["empty"][0]), right, at.answers[other]])
    assert server.result is None  # who was caught is not heard again
    assert server.faults.keys() == {twice}


@pytest.mark.parametrize("phase", [INPUT, CHECK, DECRYPT, "no such phase"])
def test_who_speaks_out_of_turn_is_left_out_and_the_others_open(
    waiting: Callable[..., Waiting], phase: str
) -> None:
    at = waiting(3, 2)
    for liar in at.holders:
        server = at.server()
        assert server.receive(replace(at.answers[liar], phase=phase)) == []
        run(server, [at.answers[who] for who in at.holders])
        at.require_opened(server, {liar})
        assert server.faults[liar] == f"has spoken out of turn, in phase {phase!r}"


def test_faults_survive_that_the_server_is_saved(waiting: Callable[..., Waiting]) -> None:
    at = waiting(3, 2)
    liar, *others = at.holders
    server = at.restored(at.server())
    for answer in (at.lied(liar, BAD_ROOTS["swapped roots"]), *(at.answers[who] for who in others)):
        server.receive(answer)
        server = at.restored(server)
    at.require_opened(server, {liar})


class OutOfTurn:
    """Answers before it is asked."""

    def __init__(self, message: Message) -> None:
        self.opening = (message,)

    def __call__(self, message: Message) -> list[Message]:
        return [message]


@pytest.mark.parametrize("liars", [1, 2])
def test_who_answers_before_the_question_is_left_out(
    shared: Callable[..., Any], rig: SimpleNamespace, liars: int
) -> None:
    vectors = rig.vectors(4, 14, 16)
    cohort = rig.cohort(shared(3, 2), 4, 14, 16)
    early = {
        who: OutOfTurn(Message(cohort.session, cohort.round, OPENED, who, SERVER, b"early"))
        for who in key_holder_ids(3)[:liars]
    }
    outcome = rig.play(lambda: shared(3, 2), vectors, liars=early, cohort=cohort)
    if liars == 1:
        outcome.require_exact()
        assert outcome.faults.keys() == early.keys()
    else:
        assert outcome.abort.evidence["faults"].keys() == set(map(str, early))


@pytest.mark.parametrize("order", range(6))
def test_in_whatever_order_messages_arrive(
    shared: Callable[..., Any], rig: SimpleNamespace, order: int
) -> None:
    """All of a round's messages, some of the answers garbled: two liars of five cost nothing."""
    liars = dict.fromkeys(key_holder_ids(5)[1:4:2], lambda m: [replace(m, payload=bytes(m.payload)[1:])])
    outcome = rig.play(
        lambda: shared(5, 3),
        rig.vectors(4, 14, 16),
        liars=liars,
        shuffle=SeededTape(f"order {order}".encode()),
    )
    outcome.require_exact()
    assert outcome.survivors == (0, 1, 2, 3)
    assert outcome.faults.keys() <= liars.keys()


def test_an_answer_after_the_deadline_is_as_good_as_none(
    shared: Callable[..., Any], rig: SimpleNamespace
) -> None:
    for count in (1, 2):
        late = key_holder_ids(3)[1 : 1 + count]
        outcome = rig.play(
            lambda: shared(3, 2), rig.vectors(4, 14, 16), delay=lambda m, late=late: int(m.sender in late)
        )
        if count == 1:
            outcome.require_exact()
            assert outcome.faults == {}
        else:
            assert outcome.abort.evidence["faults"].keys() == set(map(str, late))


def test_a_key_that_was_dealt_wrongly_is_said_to_be(
    waiting: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All proofs hold and the sum does not open: no key holder is accused."""
    at = waiting(3, 2)
    server = at.server()

    def opens_not(*_: Any) -> Any:
        raise WrongAnswers({})

    monkeypatch.setattr(server._opening, "open", opens_not)
    with pytest.raises(AbortError, match="the key was dealt wrongly"):
        run(server, at.answers.values())
