"""Who is whose neighbour: the complete graph, or a random regular one (spec section 12.6).

Bell et al. 2020 (CCS; eprint 2020/704), section 3: the clients stand on a circle in random order, and
each is joined to the degree / 2 before and the degree / 2 behind it, which is a Harary graph. The order
follows from a public seed, so that every party computes it alone. A member's neighbours and itself are its
holders: they hold the shares of its secrets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mpc.errors import LocalError
from mpc.prg import Keystream, Usage, derive_key
from mpc.wire import Writer

SEED_BYTES = 32
MIN_DEGREE = 2


class Graph:
    """An undirected graph without loops, in which all members have ``degree`` neighbours. O(n) memory."""

    __slots__ = ("_circle", "_members", "_steps", "degree")

    def __init__(self, members: Sequence[int], degree: int, circle: npt.NDArray[np.int64]) -> None:
        """Built by ``complete`` and ``harary``. ``circle``: the ranks of the members, in order."""
        self._members = _ascending(members)
        self._circle = np.empty((2, len(circle)), np.int64)  # rank at each place; place of each rank
        self._circle[0] = circle
        self._circle[1, circle] = np.arange(len(circle))
        self._steps = np.arange(degree + 1) - degree // 2
        self.degree = degree

    @classmethod
    def complete(cls, members: Sequence[int]) -> Graph:
        """Everybody with everybody. ``members``: two or more indices, ascending."""
        count = len(members)
        return cls(members, count - 1, np.arange(count))

    @classmethod
    def harary(cls, members: Sequence[int], degree: int, seed: bytes) -> Graph:
        """The graph of even ``degree`` ≥ 2 whose circle ``seed``, 32 public bytes, determines.

        From degree n − 1 on it is the complete graph. The members are sorted by the words of a keystream,
        64 bits for each, equal words by index. Of w = 2^64 words no order comes with a probability beyond
        Π (1 + j / w) / n! over j < n, so a seed that is uniform makes nothing more likely by more than a
        factor of exp(n² / 2^65): 1 + 2^-25 for 2^20 members.

        ``LocalError`` for a seed or degree of another kind, or members that do not ascend.
        """
        if len(seed) != SEED_BYTES:
            raise LocalError("len(seed)", len(seed), f"the seed of a graph has {SEED_BYTES} bytes")
        if degree < MIN_DEGREE or degree % 2:
            raise LocalError("degree", degree, f"must be even and at least {MIN_DEGREE}")
        count = len(members)
        if degree >= count - 1:
            return cls.complete(members)
        context = Writer().u32(count).u32(degree).finish()
        stream = Keystream(derive_key(seed, Usage.GRAPH, context))
        words = np.frombuffer(stream.read(8 * count), "<u8")
        return cls(members, degree, np.argsort(words, kind="stable"))

    @property
    def size(self) -> int:
        return len(self._members)

    def holders(self, index: int) -> tuple[int, ...]:
        """A member's ``degree`` neighbours and itself, ascending. ``LocalError`` if it is no member."""
        rank = int(np.searchsorted(self._members, index))
        if rank == self.size or self._members[rank] != index:
            raise LocalError("index", index, f"is not one of the {self.size} members of the graph")
        order, place = self._circle
        ranks = order[(place[rank] + self._steps) % self.size]
        return tuple(self._members[np.sort(ranks)].tolist())

    def neighbours(self, index: int) -> tuple[int, ...]:
        """The holders without the member itself."""
        return tuple(holder for holder in self.holders(index) if holder != index)

    def all_holders(self) -> npt.NDArray[np.int32]:
        """The holders of every member, shape (size, degree + 1): row and entries are ranks, ascending."""
        order, place = self._circle
        table: npt.NDArray[np.int32] = order[(place[:, None] + self._steps) % self.size].astype(np.int32)
        table.sort(axis=1)
        return table


def _ascending(members: Sequence[int]) -> npt.NDArray[np.int64]:
    found = np.array(members, np.int64)
    if found.size < 2:
        raise LocalError("number of members", found.size, "a graph has at least two")
    if found[0] < 0 or not (np.diff(found) > 0).all():
        raise LocalError("members", members, "must be indices from 0 on, ascending")
    return found
