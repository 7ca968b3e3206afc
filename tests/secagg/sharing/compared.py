"""Rounds with a rule on outliers: honest clients that mostly agree, attackers that do not, an oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.party import PartyId, Role
from mpc.tape import SeededTape
from secagg import Verdict
from secagg.checks import MultiKrum, NormBound
from secagg.checks.outliers import OutlierRule
from secagg.encoding import FixedPoint
from secagg.sharing import AggregatorKey, DealerKey, SecretSharing
from secagg.sharing.sketch import Sketching

Integers = npt.NDArray[np.int64]

BITS, COORDINATES = 12, 64
PLAN = FixedPoint(1.0, BITS).plan((20, 44), clients=40)
NORM = NormBound(0.9, PLAN)
BOUND = NORM.steps(PLAN)
DEALER = PartyId(Role.DEALER)


def aggregator(index: int) -> PartyId:
    return PartyId(Role.AGGREGATOR, index)


class Watching(MultiKrum):
    """Notes what it was shown."""

    def __init__(self, byzantine: int = 0, **options: Any) -> None:
        super().__init__(byzantine, plan=PLAN, **options)
        self.shown: list[tuple[npt.NDArray[np.float64], tuple[str, ...]]] = []

    def select(self, gram: npt.NDArray[np.float64], names: Sequence[str]) -> Sequence[Verdict]:
        self.shown.append((gram.copy(), tuple(names)))
        return super().select(gram, names)


class Keeping(OutlierRule):
    """Keeps everybody: all that is left is the traffic."""

    name = "keeping"

    def __init__(self) -> None:
        super().__init__(8, PLAN)

    def select(self, gram: npt.NDArray[np.float64], names: Sequence[str]) -> Sequence[Verdict]:
        return []


def backend(aggregators: int = 2, *, threshold: float = 2, **options: Any) -> SecretSharing:
    """The same keys each time, with no memory of other rounds."""
    made = [AggregatorKey.generate(SeededTape(b"aggregator %d" % index)) for index in range(aggregators)]
    dealer = DealerKey.generate(SeededTape(b"dealer"))
    return SecretSharing(aggregators, threshold, private_keys=made, dealer=dealer, **options)


def encoded(update: npt.NDArray[np.float64]) -> Integers:
    """``update`` in parts of the bound, as a client of weight 1 sends it."""
    return np.concatenate([np.trunc(update * BOUND), [1]]).astype(np.int64)


def unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def honest(count: int, seed: int = 0, noise: float = 0.5) -> list[npt.NDArray[np.float64]]:
    """Each 0.55 of the bound or so long, with cosines of about 1 / (1 + noise²) to each other."""
    rng = np.random.default_rng(seed)
    common = unit(rng.normal(size=COORDINATES))
    return [0.5 * (common + noise * unit(rng.normal(size=COORDINATES))) for _ in range(count)]


def vectors(count: int, seed: int = 0) -> list[Integers]:
    return [encoded(update) for update in honest(count, seed)]


def sketches(sketching: Sketching, seed: bytes, clients: Sequence[Integers]) -> npt.NDArray[np.object_]:
    """Of the plain vectors, as Python's integers: shape (projections, clients)."""
    p = 2**64 - 2**32 + 1
    columns = []
    for vector in clients:
        shared = (vector.astype(object) % p).astype(np.uint64)
        found = [int(entry) for entry in sketching.sketch(seed, shared)]
        columns.append([entry - p if entry > p // 2 else entry for entry in found])
    return np.array(columns, object).T
