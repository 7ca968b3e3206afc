"""Servers that show each client dealers and survivors at random, within what the client accepts.

Whatever they show, and whatever tags their helpers make up, they open nothing, or one sum: over the honest
clients of one survivor set that is as large as the threshold asks (spec sections 12.5 and 12.7).
"""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace

import numpy as np
import pytest

from mpc.tape import SeededTape
from secagg.masking import Tolerance
from secagg.masking.client import MaskingClient
from tests.attacks.circle import Circle, Story, shown, thinned
from tests.attacks.clients import ClientsOf, Given, Untagged
from tests.attacks.liar import Liar, View
from tests.attacks.opening import opened


def one_honest_sum(liar: Liar) -> bool:
    """Nothing is open, or the honest part of the one set that everybody who answered was shown."""
    groups = opened(liar)
    agreed = {liar.views[index].survivors for index in liar.answered}
    if not groups:
        return True
    (whole,) = agreed if len(agreed) == 1 else [frozenset[int]()]
    return groups == [set(whole & liar.honest)] and len(whole) >= liar.cohort.threshold


# On the complete graph.


def some(tape: SeededTape, pool: Collection[int], count: int) -> set[int]:
    left = sorted(pool)
    return {left.pop(tape.below(len(left))) for _ in range(min(count, len(left)))}


def random_views(tape: SeededTape, liar: Liar) -> dict[int, View]:
    """Victims see each other, a few to sacrifice, and colluders; the others are told that the few are gone.

    One client in 24 is shown anything that it accepts, and one in 24 what its neighbour is shown.
    """
    n, t = liar.n, liar.cohort.threshold
    victims = some(tape, liar.honest, 1 + tape.below(2))
    few = victims | liar.colluding
    few |= some(tape, liar.everybody - few, t - len(few))
    views: dict[int, View] = {}
    for index in sorted(liar.honest):
        dealers = few if index in victims else liar.everybody
        gone = some(tape, few - victims - liar.colluding - {index}, len(dealers) - t)
        throw = tape.below(24)
        if throw == 0:
            dealers = {index} | some(tape, liar.everybody - {index}, t - 1 + tape.below(n - t + 1))
            gone = some(tape, dealers - {index}, tape.below(len(dealers) - t + 1))
        views[index] = View(frozenset(dealers), frozenset(dealers - gone))
        neighbour = views.get(index - 1)
        if throw == 1 and neighbour is not None and index in neighbour.survivors:
            views[index] = neighbour
    return views


def on_the_complete_graph(rig: SimpleNamespace, kind: type[MaskingClient], number: int) -> Liar:
    """With as many colluders as the limit allows, or one fewer."""
    tape = SeededTape(f"views {number}".encode())
    n = 6 + tape.below(6)
    t = n // 2 + 1 + tape.below(n - n // 2 - 2)
    colluders = 2 * t - n - 1 - tape.below(2) * (2 * t - n > 1)
    liar = Liar(rig, ClientsOf(kind, t), n, range(n - colluders, n), f"{number}")
    liar.run(random_views(tape, liar))
    return liar


# On sparse graphs, along the circle.


def torn(circle: Circle, generator: np.random.Generator) -> dict[int, Story]:
    """Two or three stories, each told along some stretches of the circle."""
    everybody = circle.arc(0, circle.n)
    dealers = [thinned(circle, everybody, generator) for _ in range(generator.integers(1, 4))]
    picks = generator.integers(0, len(dealers), generator.integers(2, 4))
    stories = [(dealers[pick], thinned(circle, dealers[pick], generator)) for pick in picks]
    cuts = np.sort(generator.integers(0, circle.n, generator.integers(1, 6)))
    told = generator.integers(0, len(stories), len(cuts) + 1)[np.searchsorted(cuts, np.arange(circle.n))]
    return {place: stories[story] for place, story in enumerate(told.tolist())}


def cut_off(circle: Circle, generator: np.random.Generator) -> dict[int, Story]:
    return circle.cut(int(generator.integers(circle.degree - 2, circle.n // 2)))


def nearly_honest(circle: Circle, generator: np.random.Generator) -> dict[int, Story]:
    """One or two drop out, apart from each other; the others are shown the same."""
    everybody, start = circle.arc(0, circle.n), int(generator.integers(circle.n))
    gone = {(start + which * circle.n // 2) % circle.n for which in range(generator.integers(1, 3))}
    return dict.fromkeys(sorted(everybody - gone), (everybody, everybody - gone))


def bent(circle: Circle, stories: dict[int, Story], generator: np.random.Generator) -> dict[int, Story]:
    """At times one or two hear what their neighbour hears, or of other survivors, or nothing."""
    found, count = dict(stories), max(0, int(generator.integers(-2, 3)))
    for place in generator.permutation(list(stories))[:count].tolist():
        dealers, survivors = found[place]
        throw = generator.integers(3)
        if throw == 0:
            found[place] = found.get(place - 1, found[place])
        elif throw == 1:
            found[place] = dealers, thinned(circle, survivors, generator)
        else:
            del found[place]
    return {place: story for place, story in found.items() if circle.accepts(place, story)}


GRAPHS = {  # clients, tolerance, colluders; the threshold of the cohort is the smallest that there is
    "6 of 7 holders": (20, Tolerance(0.05, 0.05), 1),
    "10 of 13 holders": (32, Given(1 / 32, 0.0, degree=12, threshold=10), 1),
}
TALES = (cut_off, torn, nearly_honest)


def on_a_sparse_graph(rig: SimpleNamespace, kind: type[MaskingClient], name: str, number: int) -> Liar:
    n, tolerance, colluders = GRAPHS[name]
    backend = ClientsOf(kind, (n + colluders) // 2 + 1, tolerance=tolerance)
    liar = Liar(rig, backend, n, range(n - colluders, n), f"{number}")
    circle, generator = Circle.of(liar), np.random.default_rng([number, n])
    stories = bent(circle, TALES[number % len(TALES)](circle, generator), generator)
    liar.run(shown(liar, stories, int(generator.integers(n))))
    return liar


@pytest.mark.parametrize("number", range(50))
def test_on_the_complete_graph_one_sum_at_most(rig: SimpleNamespace, number: int) -> None:
    """Their own inputs are the colluders' to subtract."""
    assert one_honest_sum(on_the_complete_graph(rig, MaskingClient, number))


def test_of_clients_that_skip_the_tags_it_opens_more(rig: SimpleNamespace) -> None:
    liars = [on_the_complete_graph(rig, Untagged, number) for number in range(20)]
    assert sum(not one_honest_sum(liar) for liar in liars) >= 5


@pytest.mark.parametrize(("name", "runs"), [("6 of 7 holders", 24), ("10 of 13 holders", 18)])
def test_on_a_sparse_graph_one_sum_at_most(rig: SimpleNamespace, name: str, runs: int) -> None:
    """And the sum is open where all but a few have heard the same: so the stories do not merely stall."""
    liars = [on_a_sparse_graph(rig, MaskingClient, name, number) for number in range(runs)]
    assert [number for number, liar in enumerate(liars) if not one_honest_sum(liar)] == []
    assert sum(opened(liar) != [] for liar in liars) >= runs // 4


def test_of_sparse_clients_that_skip_the_tags_it_opens_more(rig: SimpleNamespace) -> None:
    liars = [on_a_sparse_graph(rig, Untagged, "10 of 13 holders", number) for number in range(0, 18, 3)]
    assert sum(not one_honest_sum(liar) for liar in liars) >= 2
