"""Two listings at once: no share, mask or tag of one is worth anything in the other (spec section 12.6)."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from mpc.errors import LocalError
from mpc.party import Message
from secagg import Masking
from secagg.masking import Tolerance
from secagg.masking.client import MaskingClient
from secagg.masking.messages import KEY, SEED, KeyList
from tests.attacks.clients import ClientsOf, Untagged
from tests.attacks.liar import Liar, View
from tests.attacks.opening import opened

GRAPHS = pytest.mark.parametrize(
    ("n", "tolerance"), [(9, None), (20, Tolerance(0.05, 0.0))], ids=["complete", "sparse"]
)


def show_two(rig: SimpleNamespace, backend: Masking, n: int, own_half: bool) -> tuple[Liar, list[set[int]]]:
    """The last client is corrupt and has two pairs of keys, one for each half of the others."""
    liar = Liar(rig, backend, n, {n - 1})
    halves = [set(range(0, n - 1, 2)), set(range(1, n - 1, 2))]
    liar.list_keys(halves[0])
    liar.list_keys(halves[1], {**liar.advertised, n - 1: liar.make_keys("second")})
    views = {
        index: View(liar.everybody, frozenset(half) | liar.colluding if own_half else liar.everybody)
        for half in halves
        for index in half
    }
    liar.run(views)
    return liar, halves


@GRAPHS
@pytest.mark.parametrize("own_half", [False, True], ids=["all alive", "own half alive"])
def test_neither_half_is_opened(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, own_half: bool
) -> None:
    liar, _ = show_two(rig, Masking(tolerance=tolerance), n, own_half)
    assert opened(liar) == []
    assert liar.answered == set()
    assert set(liar.refused) == liar.honest


@GRAPHS
def test_no_share_of_the_other_half_opens(rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> None:
    """Clients that reveal whatever they have do not have any."""
    liar, halves = show_two(rig, ClientsOf(Untagged, tolerance=tolerance), n, False)
    assert liar.answered == liar.honest
    for half in halves:
        for dealer in half:
            assert {holder for kind in (SEED, KEY) for holder in liar.shares[dealer, kind]} <= half | {n - 1}
    assert opened(liar) == []


@GRAPHS
def test_no_tag_of_the_other_half_counts(rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> None:
    liar, halves = show_two(rig, Masking(tolerance=tolerance), n, False)
    assert any((peer, index) in liar.tags for index in halves[0] for peer in halves[1])
    for half in halves:
        for index in half:
            agreeing = len(half.union({n - 1}).intersection(liar.shown[index]))
            assert liar.refused[index].startswith(f"{agreeing} survivors were shown the same sets as I")


class Unbound(MaskingClient):
    """Binds what it derives to the cohort alone, as protocols do that list keys once for all."""

    def _check_keys(self, message: Message, listed: KeyList) -> None:
        super()._check_keys(message, listed)
        self._listing.digest = self.cohort.digest


class TestSecondListingForOne:
    """The victim's is made of the server's masking keys; shares and tags go through genuine channels."""

    VICTIM, N = 3, 7

    def play(self, rig: SimpleNamespace, backend: Masking, bound: bool) -> Liar:
        liar = Liar(rig, backend, self.N)
        liar.list_keys(liar.everybody - {self.VICTIM})
        forged = {
            index: replace(one, mask_key=liar.make_keys(f"{index}").mask_key)
            for index, one in liar.advertised.items()
        }
        liar.list_keys([self.VICTIM], {**forged, self.VICTIM: liar.advertised[self.VICTIM]})
        if not bound:
            for listing in liar.listings.values():
                listing.digest = liar.cohort.digest
        liar.run()
        return liar

    def test_it_stays_closed(self, rig: SimpleNamespace) -> None:
        liar = self.play(rig, Masking(), bound=True)
        assert self.VICTIM in liar.inputs
        assert self.VICTIM not in liar.answered
        assert opened(liar) == []

    def test_were_nothing_bound_to_the_listing_it_would_be_opened_alone(self, rig: SimpleNamespace) -> None:
        assert {self.VICTIM} in opened(self.play(rig, ClientsOf(Unbound), bound=False))


@pytest.mark.parametrize("corrupt", [0.0, 0.05, 0.2])
def test_of_two_listings_one_at_most_reaches_the_threshold(corrupt: float) -> None:
    """The honest clients of two are distinct, and the smallest threshold asks for more than half of them."""
    tolerance = Tolerance(corrupt, 0.0)
    for n in range(6, 100, 7):
        helpers, _ = tolerance.counts(n)
        least = (n + helpers) // 2 + 1
        assert Masking(least, tolerance=tolerance).resolve_threshold(n) == least
        assert 2 * (least - helpers) > n - helpers
        with pytest.raises(LocalError, match=f"must be (at least {least}|more than half of)"):
            Masking(least - 1, tolerance=tolerance).resolve_threshold(n)
