"""Sets below the threshold, without enough of a client's holders, or padded: a sum over few, or over one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mpc.party import Message
from secagg import Masking
from secagg.masking import Tolerance
from secagg.masking.client import MaskingClient
from tests.attacks.clients import SPARSE, AnySets, ClientsOf, Untagged
from tests.attacks.liar import Liar, View
from tests.attacks.opening import opened

GRAPHS = pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])


class Gullible(AnySets, Untagged):
    pass


def shrunk(liar: Liar, dealers: bool) -> View:
    """One survivor, and, if they say so, one dealer."""
    return View(frozenset({0}) if dealers else liar.everybody, frozenset({0}))


@GRAPHS
@pytest.mark.parametrize("dealers", [False, True])
class TestSurvivorsAndDealers:
    def test_a_set_of_one_is_refused(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, dealers: bool
    ) -> None:
        liar = Liar(rig, Masking(tolerance=tolerance), n)
        liar.run(dict.fromkeys(range(n), shrunk(liar, dealers)))
        what, t = "list of those who shared keys" if dealers else "survivor set", liar.cohort.threshold
        assert liar.refused[0] == f"the {what} has 1 clients; the threshold is {t}"
        assert {liar.refused[index] for index in range(1, n)} == {f"the {what} leaves me out"}
        assert opened(liar) == []

    def test_clients_that_take_it_are_opened(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, dealers: bool
    ) -> None:
        liar = Liar(rig, ClientsOf(Gullible, tolerance=tolerance), n)
        liar.run(dict.fromkeys(range(n), shrunk(liar, dealers)))
        assert {0} in opened(liar)


def list_few(rig: SimpleNamespace, backend: Masking, listed: int) -> Liar:
    """The first few of twelve are listed, deal and survive, and the others hear of nothing."""
    liar = Liar(rig, backend, 12)
    few = frozenset(range(listed))
    liar.list_keys(few, {index: liar.advertised[index] for index in few})
    liar.run(dict.fromkeys(sorted(few), View(few, few)))
    return liar


class TestListing:
    """A graph on few clients is safe by itself: only the threshold says that they are too few."""

    def test_one_below_the_threshold_is_refused(self, rig: SimpleNamespace) -> None:
        liar = list_few(rig, Masking(tolerance=SPARSE), 7)
        assert liar.refused == dict.fromkeys(range(7), "the key list has 7 clients; the threshold is 8")
        assert opened(liar) == []

    @pytest.mark.parametrize("listed", [6, 7])
    def test_clients_that_take_it_are_opened(self, rig: SimpleNamespace, listed: int) -> None:
        liar = list_few(rig, ClientsOf(AnySets, tolerance=SPARSE), listed)
        assert opened(liar) == [set(range(listed))]

    def test_the_threshold_is_enough(self, rig: SimpleNamespace) -> None:
        assert opened(list_few(rig, Masking(tolerance=SPARSE), 8)) == [set(range(8))]


class NearBlind(MaskingClient):
    """Does not ask whether the holders of its shares are in a set."""

    def _check_holders(self, *arguments: Any) -> None:
        pass


class TestStrangers:
    """A client is told that of its neighbours nobody dealt, and strangers make up the number: then its input
    has no mask but its own."""

    N = 16

    def play(self, rig: SimpleNamespace, kind: type[MaskingClient], near: int = 0) -> Liar:
        liar = Liar(rig, ClientsOf(kind, tolerance=SPARSE), self.N)
        liar.list_keys()
        neighbours = liar.neighbours(0)
        few = liar.everybody - frozenset(neighbours[near:])
        assert len(few) >= liar.cohort.threshold
        everybody = dict.fromkeys(range(1, self.N), liar.alike())
        liar.run({0: View(few, few), **everybody})
        return liar

    @pytest.mark.parametrize("near", [0, 1, 2])
    def test_it_takes_a_threshold_of_holders(self, rig: SimpleNamespace, near: int) -> None:
        liar = self.play(rig, MaskingClient, near)
        what = f"the list of those who shared keys has {near + 1} holders of my shares; it takes 4"
        assert liar.refused == {0: what}
        assert opened(liar) == []

    def test_without_that_rule_it_is_opened_and_all_tags_are_in_order(self, rig: SimpleNamespace) -> None:
        """The others see it alive, and reveal its seed to those who see the same; itself is not asked."""
        liar = self.play(rig, NearBlind)
        assert set(liar.refused) == {0}
        assert {0} in opened(liar)


class TestPadding:
    """Sets that reach the threshold with clients that are not in the set before: that are not listed."""

    class Unaware(MaskingClient):
        """Does not compare a set with the one before."""

        def _check_set(self, message: Message, found: Any, what: str, within: Any, least: int) -> None:
            super()._check_set(message, found, what, found, least)

    N, LISTED, THRESHOLD = 16, 12, 12

    def play(self, rig: SimpleNamespace, kind: type[MaskingClient]) -> tuple[Liar, frozenset[int]]:
        """Of 12 that are listed 2 are said to have dealt nothing, and 4 others to have."""
        liar = Liar(rig, ClientsOf(kind, self.THRESHOLD, tolerance=SPARSE), self.N)
        listed = frozenset(range(self.LISTED))
        under = {index: liar.advertised[index] for index in listed}
        circle = liar.circle(under)
        alive = listed - {circle[0], circle[self.LISTED // 2]}
        liar.list_keys(listed, under)
        padded = alive | (liar.everybody - listed)
        liar.run(dict.fromkeys(sorted(alive), View(padded, padded)))
        return liar, alive

    def test_they_are_refused(self, rig: SimpleNamespace) -> None:
        liar, alive = self.play(rig, MaskingClient)
        strangers = "names clients that I have not seen before: c12, c13, c14, c15"
        assert liar.refused == dict.fromkeys(alive, f"the list of those who shared keys {strangers}")
        assert opened(liar) == []

    def test_clients_that_take_them_are_opened_below_the_threshold(self, rig: SimpleNamespace) -> None:
        liar, alive = self.play(rig, self.Unaware)
        assert opened(liar) == [alive]
        assert len(alive) < liar.cohort.threshold
