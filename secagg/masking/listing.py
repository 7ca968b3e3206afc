"""Listing: whose keys the server shows, and what follows: neighbours, threshold, what all keys are bound to
(spec section 12.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from mpc.errors import AbortError
from mpc.prg import Usage, tag
from mpc.snapshot import Kind, record
from mpc.wire import Subset, Writer
from secagg.cohort import DIGEST_BYTES, Cohort
from secagg.masking.graph import Graph
from secagg.masking.parameters import Adversary, GraphParameters, Tolerance


class Listing:
    """The members whose keys are listed under one Merkle root, on the graph that the listing determines.

    ``listed``: their indices; ``tolerance``: None for the complete graph; ``sparse``: whether it is another.
    ``least``: with fewer dealers or survivors the graph may fall apart, and open a sum for each part.
    ``LocalError`` where no graph on so few withstands what the tolerance says.
    """

    def __init__(
        self, cohort: Cohort, tolerance: Tolerance | None, listed: Collection[int], root: bytes
    ) -> None:
        self.listed, self.root = Subset.of(listed, cohort.size), root
        self.degree, self.threshold, self.sparse = len(listed) - 1, cohort.threshold, False
        self.least = cohort.threshold
        parameters = graph_parameters(cohort, tolerance, len(listed))
        if tolerance is not None and parameters is not None:
            if tolerance.adversary is Adversary.SEMI_HONEST:
                self.least = max(self.least, len(listed) - tolerance.counts(cohort.size)[1])
            self.degree, self.threshold, self.sparse = parameters.degree, parameters.threshold, True
        head = Writer().fixed(cohort.digest, DIGEST_BYTES).fixed(root, DIGEST_BYTES)
        content = head.u32(self.degree).u32(self.threshold).finish() + self.listed.bitmap
        self.digest = hashlib.sha256(tag(Usage.LISTING) + content).digest()

    @property
    def graph(self) -> Graph:
        """Made anew: a client looks its holders up once, and the graph of a large cohort is large."""
        members = self.listed.indices().tolist()
        return Graph.harary(members, self.degree, self.digest) if self.sparse else Graph.complete(members)

    def dealing(self, dealers: Collection[int]) -> bytes:
        """What masks and tags are bound to: this listing, and who has dealt shares."""
        return hashlib.sha256(tag(Usage.DEALING) + self.digest + self._subset(dealers).bitmap).digest()

    def require(self, clients: Collection[int], what: str) -> None:
        """``AbortError`` if these are fewer than the graph holds for."""
        if len(clients) < self.least:
            raise AbortError(
                f"{len(clients)} of the {len(self.listed)} listed clients {what}; this graph holds for "
                f"{self.least} or more, and with fewer might open more than one sum"
            )

    def _subset(self, indices: Collection[int]) -> Subset:
        return Subset.of(indices, self.listed.size)

    # Tables, which only the server has a use for.

    @cached_property
    def indices(self) -> NDArray[np.int64]:
        """The index of each member, ascending; its place here is called its rank."""
        return self.listed.indices()

    @cached_property
    def members(self) -> tuple[int, ...]:
        """The same, as integers."""
        return tuple(self.indices.tolist())

    @cached_property
    def rank(self) -> dict[int, int]:
        """Index → rank."""
        return {index: rank for rank, index in enumerate(self.members)}

    @cached_property
    def holders(self) -> NDArray[np.int32]:
        """Everybody's holders, as ranks among the members: shape (members, degree + 1), rows ascending."""
        return self.graph.all_holders()

    @cached_property
    def places(self) -> NDArray[np.int32]:
        """For each entry of ``holders``: at which place among that holder's own holders the row's member is.

        Who holds my shares deals me its own, so (holders[r], places[r]) are all entries that name r.
        """
        width = self.holders.shape[1]
        # Row-major order is ascending in the row, and stays so among entries that name the same holder.
        by_holder = np.argsort(self.holders.reshape(-1), kind="stable")
        places = np.empty(by_holder.size, np.int32)
        places[by_holder] = np.arange(by_holder.size) % width
        return places.reshape(-1, width)

    def mask(self, indices: Collection[int]) -> NDArray[np.bool_]:
        """Which members these are, shape (members,)."""
        return self._subset(indices).mask()[self.indices]

    def holders_of(self, rank: int) -> tuple[int, ...]:
        """The holders of the member of this rank, by index."""
        return tuple(self.indices[self.holders[rank]].tolist())

    def neighbours(self, rank: int, among: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The ranks of a member's neighbours that are ``among`` some, and its place in the row of each."""
        found = self.neighbouring(rank, among)
        return self.holders[rank, found], self.places[rank, found]

    def neighbouring(self, rank: int, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of a member's holders are neighbours that are ``among`` some, shape (degree + 1,)."""
        holders = self.holders[rank]
        found: NDArray[np.bool_] = among[holders] & (holders != rank)
        return found

    def core(self, indices: Collection[int]) -> tuple[int, ...]:
        """The largest part of these members in which everybody has at least ``threshold`` holders.

        Nobody else could be unmasked; who is alone there, too, is taken out in turn.
        """
        inside = self.mask(indices)
        while True:
            enough = inside & (inside[self.holders].sum(axis=1) >= self.threshold)
            if (enough == inside).all():
                return tuple(self.indices[inside].tolist())
            inside = enough


def listing_kinds(cohort: Cohort, tolerance: Tolerance | None) -> tuple[Kind, ...]:
    """How a listing of this cohort is saved: it follows from who is listed, and the root."""
    build = partial(Listing, cohort, tolerance)
    return record(Subset), Kind(Listing, lambda one: (one.listed, one.root), lambda plain: build(*plain))


def graph_parameters(
    cohort: Cohort, tolerance: Tolerance | None, listed: int | None = None
) -> GraphParameters | None:
    """Those of a sparse graph on ``listed`` members, or on the whole cohort; None: the complete graph."""
    if tolerance is None:
        return None
    found = tolerance.parameters(cohort.size, listed)
    return None if found.complete else found
