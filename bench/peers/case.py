"""What both sides are given: the same updates, weights, precision, threshold and dropouts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from secagg import FixedPoint
from secagg.cohort import resolve_threshold

# Flower's defaults, in our words: 2^22 steps in ±8, weights up to 1,000.
CLIP, BITS, MAX_WEIGHT = 8.0, 22, 1000


@dataclass(frozen=True)
class Case:
    """``clients`` hold ``length`` float32 values each; the first ``dropped`` go silent once they dealt."""

    clients: int
    length: int
    dropped: int = 2

    @property
    def threshold(self) -> int:
        return resolve_threshold(2 / 3, self.clients)

    @property
    def survivors(self) -> range:
        return range(self.dropped, self.clients)

    @cached_property
    def updates(self) -> list[NDArray[np.float32]]:
        rng = np.random.default_rng(7)
        return [rng.uniform(-1, 1, self.length).astype(np.float32) for _ in range(self.clients)]

    @cached_property
    def weights(self) -> list[int]:
        return [int(weight) for weight in np.random.default_rng(8).integers(1, MAX_WEIGHT + 1, self.clients)]

    def check(self, mean: NDArray[np.float64]) -> None:
        """Refuses anything but the survivors' weighted mean, up to what rounding to this precision may do."""
        weight = sum(self.weights[i] for i in self.survivors)
        exact = np.zeros(self.length)
        for i in self.survivors:
            exact += self.updates[i].astype(np.float64) * (self.weights[i] / weight)
        plan = FixedPoint(CLIP, BITS).plan([self.length], clients=self.clients, max_weight=MAX_WEIGHT)
        # Twice our own bound: Flower rounds the weight as well as the weighted values.
        bound = 2 * plan.error_bound(len(self.survivors), weight)
        assert mean.shape == exact.shape
        assert float(np.abs(mean - exact).max()) <= bound

    def __str__(self) -> str:
        return f"n = {self.clients}, d = {self.length}"
