"""What a server opens that tells clients different things: the sparse protocol without its ciphers.

Sets of places on the circle are the bits of an int. A view is what the server showed a client: the set of
dealers, then the set of survivors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from secagg.masking.parameters import Adversary, find

View = tuple[int, int]


def arc(n: int, start: int, length: int) -> int:
    return sum(1 << ((start + step) % n) for step in range(length))


def places(bits: int) -> list[int]:
    return [place for place in range(bits.bit_length()) if bits >> place & 1]


@dataclass
class Circle:
    n: int
    k: int
    t: int
    corrupt: int = 0
    holders: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.honest = (1 << self.n) - 1 & ~self.corrupt
        self.holders = [arc(self.n, place - self.k // 2, self.k + 1) for place in range(self.n)]

    def most_corrupt(self, width: int) -> int:
        return max((arc(self.n, start, width) & self.corrupt).bit_count() for start in range(self.n))

    def safe(self) -> bool:
        """The condition of the theorem, from its wording."""
        spare = self.k + 1 - self.t
        return any(
            self.most_corrupt(self.k + 1 - d) < 2 * self.t - self.k - 1 - d
            and d - self.most_corrupt(d) > spare
            for d in range(self.k // 2 + 1)
        )

    def valid(self, place: int, view: View) -> bool:
        """What a client checks of the sets it is shown."""
        return all(shown >> place & 1 and self.enough(place, shown) for shown in view)

    def enough(self, place: int, group: int) -> bool:
        return (self.holders[place] & group).bit_count() >= self.t

    def answers(self, views: dict[int, View], consistency: bool) -> list[int]:
        """Who reveals shares: all with a view, or those whose digest enough of their holders share."""
        if not consistency:
            return list(views)
        alike: dict[View, int] = {}
        for place, view in views.items():
            alike[view] = alike.get(view, self.corrupt) | 1 << place
        return [place for place, view in views.items() if self.enough(place, alike[view])]

    def opened(self, views: dict[int, View], consistency: bool = True) -> list[int]:
        """The sets of honest clients whose sums the server can compute."""
        answering = self.answers(views, consistency)
        seeds = keys = 0  # whose self-mask seed, and whose masking key, has t shares
        for place in places(self.honest):
            others = [h for h in answering if self.holders[place] >> h & 1]
            bad = (self.holders[place] & self.corrupt).bit_count()
            alive = sum(views[h][1] >> place & 1 for h in others)
            gone = sum((views[h][0] & ~views[h][1]) >> place & 1 for h in others)
            seeds |= (alive + bad >= self.t) << place
            keys |= (gone + bad >= self.t) << place
        todo = {place for place in places(seeds) if place in views}
        found = []
        while todo:
            group, whole = self._component(min(todo), views, seeds, keys)
            todo -= set(places(group))
            if whole:
                found.append(group)
        return found

    def _component(self, start: int, views: dict[int, View], seeds: int, keys: int) -> tuple[int, bool]:
        """Whose inputs hang on ``start``'s by masks that stay unknown, and whether all of those cancel."""
        group, frontier, whole = 0, [start], True
        while frontier:
            place = frontier.pop()
            group |= 1 << place
            if keys >> place & 1:
                continue
            masks = self.holders[place] & views[place][0] & self.honest & ~keys & ~(1 << place)
            for other in places(masks):
                if not seeds >> other & 1 or other not in views or views[other][0] != views[place][0]:
                    whole = False
                elif not group >> other & 1:
                    frontier.append(other)
        return group, whole


def some_views(circle: Circle, generator: np.random.Generator) -> dict[int, View]:
    """Two or three stories, each told along some stretches of the circle, with exceptions."""
    n = circle.n

    def thinned(group: int) -> int:
        for _ in range(generator.integers(0, 4)):
            length = 1 if generator.random() < 0.5 else int(generator.integers(1, circle.k + 2))
            group &= ~arc(n, int(generator.integers(n)), length)
        return group

    dealers = [thinned((1 << n) - 1) for _ in range(generator.integers(1, 4))]
    picks = generator.integers(0, len(dealers), generator.integers(2, 4))
    stories = [(dealers[pick], thinned(dealers[pick])) for pick in picks]
    cuts = np.sort(generator.integers(0, n, generator.integers(1, 6)))
    told = generator.integers(0, len(stories), len(cuts) + 1)[np.searchsorted(cuts, np.arange(n))]
    views = {}
    for place in places(circle.honest):
        heard = [stories[story] for story in (told[place], *generator.permutation(len(stories)))]
        exception = generator.random()
        if exception < 0.1:
            heard = heard[1:]
        elif exception < 0.2:  # a story for this one alone, so that it sends its input and nothing after
            heard = [(heard[0][0], thinned(heard[0][0])), *heard]
        fitting = [story for story in heard if circle.valid(place, story)]
        if fitting and generator.random() < 0.97:
            views[place] = fitting[0]
    return views


def leaks(circle: Circle, views: dict[int, View]) -> bool:
    """More than one sum, or one that is not over all honest clients of the set that all have answered for."""
    opened = circle.opened(views)
    agreed = {views[place][1] & circle.honest for place in circle.answers(views, consistency=True)}
    return bool(opened) and (len(opened) > 1 or agreed != set(opened))


def some_circles(count: int, generator: np.random.Generator) -> list[Circle]:
    circles = []
    for _ in range(count):
        k = 2 * int(generator.integers(2, 7))
        n = int(generator.integers(k + 2, 4 * k))
        some = generator.permutation(n)[: generator.integers(0, n // 4)].tolist()
        circles.append(
            Circle(n, k, int(generator.integers(k // 2 + 1, k + 1)), sum(1 << place for place in some))
        )
    return circles


def test_where_the_windows_are_safe_no_story_opens_more_than_the_sum() -> None:
    generator = np.random.default_rng(1)
    sums = safe = 0
    for circle in some_circles(300, generator):
        if circle.safe():
            safe += 1
            for _ in range(25):
                views = some_views(circle, generator)
                assert not leaks(circle, views)
                sums += len(circle.opened(views))
    assert safe > 30
    assert sums > 100  # so the stories do not merely stall the round


@pytest.mark.parametrize(("k", "t"), [(4, 3), (8, 6), (10, 7)])
def test_one_holder_less_than_the_theorem_asks_for_is_too_few(k: int, t: int) -> None:
    """Without a corrupt client the theorem says 3t ≥ 2k + 4 and t ≥ k / 2 + 2: the first t below leaks."""
    assert Circle(3 * k, k, t + 1).safe()
    circle, generator = Circle(3 * k, k, t), np.random.default_rng([k, t])
    assert not circle.safe()
    assert any(leaks(circle, some_views(circle, generator)) for _ in range(20_000))


@pytest.mark.parametrize("k", [12, 20, 40])
def test_without_a_consistency_phase_an_arc_is_cut_out(k: int) -> None:
    """No client is corrupt; each is shown t or more living holders, and answers once."""
    n, t = 6 * k, 3 * k // 4
    t = max(t, -(-(2 * k + 4) // 3))
    circle, inside = Circle(n, k, t), n // 3
    assert circle.safe()
    needed = range(k // 2 - (k + 1 - t))  # beyond either end: those whose masking keys the server wants
    beyond = [(inside + step) % n for step in needed] + [(-1 - step) % n for step in needed]
    few = arc(n, 0, inside) | sum(1 << place for place in beyond)
    dealers = {place: few if place < inside else (1 << n) - 1 for place in range(n)}
    alive = dict(dealers)
    for target in beyond:
        told = sorted(
            (place for place in places(circle.holders[target]) if place != target),
            key=lambda place: (circle.holders[place] & alive[place]).bit_count(),
            reverse=True,
        )
        for place in told[:t]:
            alive[place] &= ~(1 << target)
    views = {place: (dealers[place], alive[place]) for place in range(n)}
    assert all(circle.valid(place, view) for place, view in views.items())
    assert arc(n, 0, inside) in circle.opened(views, consistency=False)
    assert circle.opened(views) == []


@pytest.mark.parametrize(("n", "corrupt", "dropout"), [(60, 0.05, 0.05), (60, 0.1, 0.1), (100, 0.05, 0.05)])
def test_what_the_finder_allows_without_error_is_safe_on_every_circle(
    n: int, corrupt: float, dropout: float
) -> None:
    found = find(n, corrupt, dropout, Adversary.MALICIOUS)
    assert found.privacy_error_log2 == -np.inf
    count, generator = round(corrupt * n), np.random.default_rng(n)
    bunches = [sum(1 << place for place in range(count))]
    bunches += [sum(1 << place for place in generator.permutation(n)[:count].tolist()) for _ in range(50)]
    assert all(Circle(n, found.degree, found.threshold, bunch).safe() for bunch in bunches)
    assert not Circle(n, found.degree, found.threshold - 1, bunches[0]).safe()
