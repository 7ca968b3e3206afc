"""What to tell whom along the circle of a sparse graph: stories by place, of places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tests.attacks.liar import Liar, View

Places = frozenset[int]
Story = tuple[Places, Places]  # dealers, survivors


@dataclass(frozen=True)
class Circle:
    """``least``: how many dealers and survivors a client asks for, holders of its shares or not."""

    n: int
    degree: int
    threshold: int
    least: int

    @classmethod
    def of(cls, liar: Liar) -> Circle:
        found = liar.backend.tolerance.parameters(liar.n)  # type: ignore[union-attr]
        return cls(liar.n, found.degree, found.threshold, liar.cohort.threshold)

    def arc(self, start: int, length: int) -> Places:
        return frozenset((start + step) % self.n for step in range(length))

    def holders(self, place: int) -> Places:
        return self.arc(place - self.degree // 2, self.degree + 1)

    def accepts(self, place: int, story: Story) -> bool:
        return all(
            place in shown and len(shown) >= self.least and len(shown & self.holders(place)) >= self.threshold
            for shown in story
        )

    def next_to(self, size: int) -> list[int]:
        """Beyond either end of the first ``size`` places: to whose inputs theirs stay tied."""
        needed = self.degree // 2 - (self.degree + 1 - self.threshold)
        return [*range(size, size + needed), *range(self.n - needed, self.n)]

    def cut(self, size: int) -> dict[int, Story]:
        """Tell the first ``size`` that the far neighbours beyond either end dealt nothing, and of the near
        ones a threshold of their holders each that they have dropped out.

        Strangers to the arc make up the number of dealers.
        """
        half, near = self.degree // 2, self.next_to(size)
        few = frozenset({*range(size), *near, *range(size + half, self.n - half)})
        dealers = {place: few if place < size else self.arc(0, self.n) for place in range(self.n)}
        alive = dict(dealers)
        for target in near:
            told = sorted(
                self.holders(target) - {target},
                key=lambda place: (-len(self.holders(place) & alive[place]), place),
            )
            for place in told[: self.threshold]:
                alive[place] -= {target}
        return {place: (dealers[place], alive[place]) for place in range(self.n)}


def shown(liar: Liar, stories: Mapping[int, Story], turned: int = 0) -> dict[int, View]:
    """The views of the honest clients, of stories that may start anywhere on the circle."""
    circle = liar.circle()
    at = [circle[(place + turned) % liar.n] for place in range(liar.n)]
    return {
        at[place]: View(*(frozenset(at[one] for one in group) for group in story))
        for place, story in stories.items()
        if at[place] in liar.honest
    }


def thinned(circle: Circle, group: Places, generator: np.random.Generator) -> Places:
    """Without up to three single places or short arcs."""
    for _ in range(generator.integers(0, 4)):
        length = 1 if generator.random() < 0.7 else int(generator.integers(1, circle.degree + 2))
        group -= circle.arc(int(generator.integers(circle.n)), length)
    return group
