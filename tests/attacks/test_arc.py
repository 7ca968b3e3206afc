"""Cutting an arc out of the circle, the attack that the consistency phase is there for (spec section 12.7).

The clients on the arc are told that of the neighbours beyond either end the far ones have dealt nothing. The
masking keys of the near ones, to which the arc's inputs are still tied, come from telling each of their
holders that a few of them have dropped out, never so many that a client misses a threshold of its holders.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from secagg import Masking
from secagg.masking.messages import KEY, SEED
from tests.attacks.circle import Circle, shown
from tests.attacks.clients import WIDER, ClientsOf, Given, Untagged
from tests.attacks.liar import Liar
from tests.attacks.opening import opened, secret

SIZES = [(14, 0), (20, 1), (30, 0)]


def cut(
    rig: SimpleNamespace, backend: Masking, n: int, size: int, colluding: int = 0
) -> tuple[Liar, set[int], list[int]]:
    """A server that does it, the clients on the arc, and those next to it. Its helpers stand on the arc."""
    liar = Liar(rig, backend, n)
    order, circle = liar.circle(), Circle.of(liar)
    liar.colluding = frozenset(order[size - colluding : size])
    liar.run(shown(liar, circle.cut(size)))
    return liar, set(order[:size]), [order[place] for place in circle.next_to(size)]


@pytest.mark.parametrize(("size", "colluding"), SIZES)
def test_the_arc_stays_closed(rig: SimpleNamespace, size: int, colluding: int) -> None:
    liar, _, near = cut(rig, Masking(tolerance=WIDER), 60, size, colluding)
    (listing, *_) = liar.listings.values()
    assert (listing.graph.degree, listing.threshold) == (12, 10)
    assert opened(liar) == []
    assert all(secret(liar, index, KEY) is None for index in near)
    assert all("survivors were shown the same sets as I" in reason for reason in liar.refused.values())


@pytest.mark.parametrize(("size", "colluding"), SIZES)
def test_without_tags_it_would_be_opened(rig: SimpleNamespace, size: int, colluding: int) -> None:
    """Each client has answered once, for a survivor set with a threshold of its holders in it."""
    liar, arc, _ = cut(rig, ClientsOf(Untagged, tolerance=WIDER), 60, size, colluding)
    assert liar.refused == {}
    assert arc - liar.colluding in opened(liar)
    assert len(arc) < liar.cohort.threshold
    assert all(secret(liar, index, SEED) is not None for index in arc)


@pytest.mark.parametrize(("degree", "threshold", "n"), [(4, 3, 16), (10, 6, 30)])
def test_with_a_threshold_of_half_it_falls_off_tags_or_not(
    rig: SimpleNamespace, degree: int, threshold: int, n: int
) -> None:
    """All on the arc are shown the same. The smallest threshold that the finder allows is above that."""
    backend = Masking(tolerance=Given(degree=degree, threshold=threshold))
    liar, arc, near = cut(rig, backend, n, degree)
    assert near == []
    assert arc in opened(liar)
    assert len(arc) < liar.cohort.threshold
    safe = Masking(tolerance=Given(degree=degree, threshold=-(-(2 * degree + 4) // 3)))
    assert opened(cut(rig, safe, n, degree)[0]) == []


class TestTwoGaps:
    """Everybody is told the same, that two stretches of half a neighbourhood have dropped out: nobody on
    one side of them has a mask in common with anybody on the other."""

    N, GAPS = 16, frozenset({0, 1, 8, 9})

    def play(self, rig: SimpleNamespace, threshold: int) -> Liar:
        liar = Liar(rig, Masking(tolerance=Given(degree=4, threshold=threshold)), self.N)
        everybody = frozenset(range(self.N))
        liar.run(
            shown(liar, dict.fromkeys(sorted(everybody - self.GAPS), (everybody, everybody - self.GAPS)))
        )
        return liar

    def test_whoever_stands_next_to_one_has_too_few_holders(self, rig: SimpleNamespace) -> None:
        liar = self.play(rig, threshold=4)
        circle = liar.circle()
        reason = "the survivor set has 3 holders of my shares; it takes 4"
        assert {index for index, why in liar.refused.items() if why == reason} == {
            circle[place] for place in (15, 2, 7, 10)
        }
        assert opened(liar) == []

    def test_with_a_threshold_of_half_it_opens_both_sides(self, rig: SimpleNamespace) -> None:
        liar = self.play(rig, threshold=3)
        circle = liar.circle()
        sides = [{circle[place] for place in range(start, start + 6)} for start in (2, 10)]
        assert sorted(opened(liar), key=min) == sorted(sides, key=min)
