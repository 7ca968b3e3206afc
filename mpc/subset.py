"""Subsets of range(size) as bitmaps: who did what in a large cohort (spec section 4)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc.wire import Writer


@dataclass(frozen=True, slots=True)
class Subset(Collection[int]):
    """Some of the indices 0 … size - 1, a bit each; iterates in ascending order.

    ``bitmap``: as it travels, lowest index in the lowest bit.
    """

    bitmap: bytes
    size: int

    @classmethod
    def of(cls, indices: Collection[int], size: int) -> Subset:
        """``LocalError`` for an index outside range(size). A subset of this size is returned as it is."""
        if isinstance(indices, Subset) and indices.size == size:
            return indices
        return cls(Writer().members(indices, size).finish(), size)

    def mask(self) -> npt.NDArray[np.bool_]:
        """Shape (size,): true for what is in it."""
        bits = np.unpackbits(np.frombuffer(self.bitmap, np.uint8), bitorder="little")
        return bits[: self.size].view(bool)

    def indices(self) -> npt.NDArray[np.int64]:
        """What is in it, ascending."""
        return np.flatnonzero(self.mask())

    def __contains__(self, index: object) -> bool:
        return (
            isinstance(index, int)
            and 0 <= index < self.size
            and bool(self.bitmap[index >> 3] >> (index & 7) & 1)
        )

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        return int(self.mask().sum())

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.size})"
