"""One sum by homomorphic encryption: what every side is given, and how its stages are timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.tape import SeededTape
from secagg.paillier.private import PrivateKey, generate

BITS = 16  # of an entry, sign included


@dataclass(frozen=True)
class Times:
    """Seconds: on the clock, and of the processor over all threads."""

    wall: float
    cpu: float

    def times(self, factor: float) -> Times:
        return Times(self.wall * factor, self.cpu * factor)


@dataclass(frozen=True)
class Load:
    """``clients`` vectors of ``length`` integers of 16 bits. Two differ; the others repeat them."""

    length: int = 10**5
    clients: int = 100
    key_bits: int = 3072

    @cached_property
    def private(self) -> PrivateKey:
        """One key for all Paillier sides."""
        return generate(self.key_bits, tape=SeededTape(b"bench"))

    @cached_property
    def vectors(self) -> list[NDArray[np.int64]]:
        top = (1 << (BITS - 1)) - 1
        rng = np.random.default_rng(11)
        return [rng.integers(-top, top, self.length, np.int64, endpoint=True) for _ in range(2)]

    def of(self, client: int) -> int:
        """Which of the two vectors a client has."""
        return client % 2

    @cached_property
    def total(self) -> NDArray[np.int64]:
        odd = self.clients // 2
        return self.vectors[0] * (self.clients - odd) + self.vectors[1] * odd


@dataclass
class Figures:
    """What one side took for all of a load; ``sampled``: of how many operations a stage is extrapolated."""

    side: str
    load: Load
    seconds: dict[str, Times] = field(default_factory=dict)
    sampled: dict[str, int] = field(default_factory=dict)
    bytes_per_value: float = 0.0
    largest_error: float = 0.0
    guarantee: str = ""

    def run(self, stage: str, work: Callable[[], Any], repeats: int = 1) -> Any:
        """``work``, timed as a whole ``stage``: the median of ``repeats``. Gives back the last result."""
        result, taken = timed(work, repeats)
        self.seconds[stage] = taken
        return result

    def sample(self, stage: str, work: Callable[[], Any], operations: int, of: int) -> Any:
        """``work``, which is ``operations`` of the ``of`` that the stage consists of."""
        result, taken = timed(work, 1)
        self.seconds[stage] = taken.times(of / operations)
        self.sampled[stage] = operations
        return result

    def as_json(self) -> dict[str, Any]:
        seconds = {stage: {"wall": taken.wall, "cpu": taken.cpu} for stage, taken in self.seconds.items()}
        return {
            "side": self.side,
            "clients": self.load.clients,
            "length": self.load.length,
            "key_bits": self.load.key_bits,
            "seconds": seconds,
            "sampled": self.sampled,
            "bytes_per_value": self.bytes_per_value,
            "largest_error": self.largest_error,
            "guarantee": self.guarantee,
        }


def timed(work: Callable[[], Any], repeats: int) -> tuple[Any, Times]:
    """The last result of ``work``, and the medians of what ``repeats`` calls took."""
    wall, cpu = [], []
    result = None
    for _ in range(repeats):
        began, busy = time.perf_counter(), time.process_time()
        result = work()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - busy)
    return result, Times(statistics.median(wall), statistics.median(cpu))
