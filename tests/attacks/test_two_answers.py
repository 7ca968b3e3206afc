"""Both secrets of one client: by a list that has it alive and dead, by two requests, by two survivor sets.

Who has both, the self-mask seed and the masking key, opens that client's input alone.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest

from mpc.party import Message
from secagg import Masking
from secagg.masking import Tolerance
from secagg.masking.client import MaskingClient
from secagg.masking.messages import CONSISTENCY, KEY, SEED, UNMASK, SurvivorSet, UnmaskShares, bitmap_bytes
from tests.attacks.clients import SPARSE, ClientsOf
from tests.attacks.liar import Liar, View
from tests.attacks.opening import opened, secret

VICTIM = 3
GRAPHS = pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])


def before_unmasking(rig: SimpleNamespace, backend: Masking, n: int) -> Liar:
    """All inputs are in, and everybody was shown everybody as a dealer and a survivor."""
    liar = Liar(rig, backend, n)
    liar.list_keys()
    liar.relay(dict.fromkeys(range(n), View(liar.everybody, liar.everybody)))
    return liar


def second_story(liar: Liar) -> View:
    return View(liar.everybody, liar.everybody - {VICTIM})


class TestBothLists:
    """A list of survivors and one of dropouts, with one client on both (found in Flower 1.41)."""

    class TwoLists(MaskingClient):
        """Takes two lists, does not compare them, and serves both."""

        moves: ClassVar = {**MaskingClient.moves, ("unmasked", "unmasked"): UNMASK}

        def _on_survivor_set(self, message: Message) -> list[Message]:
            payload, size = bytes(message.payload), bitmap_bytes(self.cohort.size)
            self.dropped = SurvivorSet.decode(payload[size:], self.cohort.size).survivors
            return super()._on_survivor_set(replace(message, payload=payload[:size]))

        def _reveal(self) -> list[Message]:
            held = dict(self._held)
            (seeds,) = super()._reveal()
            self._held = {dealer: held[dealer] for dealer in self.dropped if dealer in held}
            self._survivors = ()
            (masking_keys,) = super()._reveal()
            return [replace(seeds, payload=bytes(seeds.payload) + bytes(masking_keys.payload))]

    def ask(self, rig: SimpleNamespace, backend: Masking, n: int) -> Liar:
        liar = before_unmasking(rig, backend, n)
        single, lists = liar.survivor_set, SurvivorSet((VICTIM,)).encode(n)
        liar.survivor_set = lambda index: single(index) + lists  # type: ignore[method-assign]
        liar.attest()
        liar.survivor_set = single  # type: ignore[method-assign]
        return liar

    @GRAPHS
    def test_there_is_one_list_and_nobody_can_be_on_it_twice(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        liar = self.ask(rig, Masking(tolerance=tolerance), n)
        assert set(liar.refused.values()) == {f"{bitmap_bytes(n)} bytes after the end"}
        assert set(liar.refused) == liar.everybody
        assert opened(liar) == []

    @GRAPHS
    def test_of_clients_that_take_two_it_opens_one_alone(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        liar = self.ask(rig, ClientsOf(self.TwoLists, tolerance=tolerance), n)

        def both(holder: int, answer: bytes, survivors: frozenset[int]) -> None:
            shares = len(liar.neighbours(holder)) + 1
            size = UnmaskShares.size(shares, shares)
            once(holder, answer[:size], survivors)
            once(holder, answer[size:], ())

        once, liar.take_shares = liar.take_shares, both  # type: ignore[method-assign, assignment]
        for index in liar.inputs:
            liar.reveal(index)
        assert {VICTIM} in opened(liar)


class Forgetful(MaskingClient):
    """Answers a second survivor set and a second unmask message as it did the first."""

    transitions: ClassVar = {**MaskingClient.transitions, ("unmasked", CONSISTENCY): "_on_survivor_set"}
    moves: ClassVar = {**MaskingClient.moves, ("unmasked", "attested"): CONSISTENCY}

    def _reveal(self) -> list[Message]:
        held = dict(self._held)
        replies = super()._reveal()
        self._held = held
        return replies


class TestTwoUnmaskRequests:
    """Everybody is asked about a set with the victim in it, and then about the same set without it."""

    def ask_twice(self, rig: SimpleNamespace, backend: Masking, n: int) -> Liar:
        liar = before_unmasking(rig, backend, n)
        for view in (View(liar.everybody, liar.everybody), second_story(liar)):
            liar.views = dict.fromkeys(range(n), view)
            liar.attest()
            for index in range(n):
                liar.reveal(index)
        liar.views = dict.fromkeys(range(n), View(liar.everybody, liar.everybody))
        return liar

    @GRAPHS
    def test_the_second_is_refused(self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> None:
        liar = self.ask_twice(rig, Masking(tolerance=tolerance), n)
        assert liar.refused == dict.fromkeys(range(n), "not expected in state 'unmasked'")
        assert opened(liar) == [set(range(n))]
        assert all(secret(liar, index, KEY) is None for index in range(n))

    @GRAPHS
    def test_of_clients_that_answer_it_opens_one_alone(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        liar = self.ask_twice(rig, ClientsOf(Forgetful, tolerance=tolerance), n)
        assert set(liar.refused) == {VICTIM}
        assert {VICTIM} in opened(liar)


class TestTwoSurvivorSets:
    """A second set before the first is answered; then the tags of either."""

    @GRAPHS
    @pytest.mark.parametrize("answer_to", [0, 1])
    def test_the_second_is_refused_and_the_round_is_over(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, answer_to: int
    ) -> None:
        liar = before_unmasking(rig, Masking(tolerance=tolerance), n)
        stories = [View(liar.everybody, liar.everybody), second_story(liar)]
        for view in stories:
            liar.views = dict.fromkeys(range(n), view)
            liar.attest()
        assert liar.refused == dict.fromkeys(range(n), "not expected in state 'attested'")
        liar.views = dict.fromkeys(range(n), stories[answer_to])
        for index in range(n):
            liar.reveal(index)
        assert liar.answered == set()
        assert opened(liar) == []

    @GRAPHS
    def test_a_set_that_follows_its_own_tags_does_not_answer_for_another(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        """All have attested one set; tags for it, from whomever, do not serve a client shown another."""
        liar = before_unmasking(rig, Masking(tolerance=tolerance), n)
        liar.views |= {VICTIM - 1: second_story(liar)}
        liar.attest()
        liar.reveal(VICTIM - 1)
        assert liar.answered == set()
        assert "1 survivors were shown the same sets as I" in liar.refused[VICTIM - 1]
        for index in liar.everybody - {VICTIM - 1}:
            liar.reveal(index)
        assert secret(liar, VICTIM, KEY) is None
        assert secret(liar, VICTIM, SEED) is not None
