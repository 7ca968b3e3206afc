"""Rules that compare clients with each other, on shares (spec section 8.4).

What a rule sees is the Gram matrix of sketches of the clients' updates: all inner products, hence all norms,
distances and cosines, and no update. ``SecretSharing`` alone can make it (spec section 13.8).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.errors import LocalError
from mpc.flp.contribution import Claims
from secagg.checks.base import Abort, Reject, Verdict
from secagg.checks.shares import ShareCheck
from secagg.cohort import Cohort, is_whole
from secagg.encoding import Plan

Gram = NDArray[np.float64]

MIN_PROJECTIONS, MAX_PROJECTIONS = 8, 4096


class OutlierRule(ShareCheck):
    """Says whom to leave out, from the Gram matrix of the clients whose proofs hold. One rule a round.

    A sketch is ``projections`` random projections, from 8 to 4096, drawn after the inputs are sent. Scaled
    squared norms and squared distances are right on average, with a relative standard deviation of at most
    sqrt(2 / projections), 12.5 % for 128; a cosine has one of about sqrt(1 / projections).

    It needs a check that bounds the norm beside it, ``NormBound`` or ``Direction``, so that no inner product
    wraps around the field, and claims nothing by itself. What it compares are the vectors as they are added
    up, (w / W) · update.
    """

    def __init__(self, projections: int = 128, plan: Plan | None = None) -> None:
        super().__init__(plan)
        _whole("projections", projections, MIN_PROJECTIONS, MAX_PROJECTIONS)
        self.projections = projections

    def add_to(self, claims: Claims, plan: Plan) -> Claims:
        return claims

    def check_cohort(self, cohort: Cohort) -> None:
        """``LocalError`` for a cohort in which the rule could never keep anybody."""
        return

    @abstractmethod
    def select(self, gram: Gram, names: Sequence[str]) -> Sequence[Verdict]:
        """``Reject`` for each client to leave out, or an ``Abort``; the others count.

        ``gram``: shape (n, n), symmetric; inner products of updates in the updates' own units, estimated.
        ``names``: of the n clients, in order.
        """


class MultiKrum(OutlierRule):
    """Multi-Krum (Blanchard et al. 2017, arXiv 1703.02757): keeps the ``keep`` clients with the best scores.

    Of n clients, f = ``byzantine`` may lie. A score is the sum of the squared distances to the n - f - 2
    nearest others. ``keep``: n - f if left out. With fewer than 2 f + 3 clients, or than ``keep``, there is
    no sum. Of equal scores that of the client earlier in the cohort is the better one.
    """

    name = "multi-krum"

    def __init__(
        self, byzantine: int, keep: int | None = None, *, projections: int = 128, plan: Plan | None = None
    ) -> None:
        super().__init__(projections, plan)
        _whole("byzantine", byzantine, 0)
        if keep is not None:
            _whole("keep", keep, 1)
        self.byzantine = byzantine
        self.keep = keep

    @property
    def least(self) -> int:
        """Clients that it takes."""
        return max(2 * self.byzantine + 3, self.keep or 0)

    def check_cohort(self, cohort: Cohort) -> None:
        if cohort.size < self.least:
            raise LocalError("byzantine", self.byzantine, f"{self!r} takes a cohort of {self.least} or more")

    def select(self, gram: Gram, names: Sequence[str]) -> Sequence[Verdict]:
        count = len(names)
        if count < self.least:
            return [Abort(f"takes {self.least} clients, and {count} are left", {"clients": count})]
        scores = self.scores(gram)
        order = np.argsort(scores, kind="stable")
        keep = count - self.byzantine if self.keep is None else self.keep
        bound = float(scores[order[keep - 1]])
        return [
            Reject(
                names[place],
                f"its Krum score {scores[place]:.6g} is not among the {keep} lowest, of up to {bound:.6g}",
                {"score": float(scores[place]), "bound": bound},
            )
            for place in sorted(order[keep:])
        ]

    def scores(self, gram: Gram) -> NDArray[np.float64]:
        """Of each client, in squares of the update's unit; shape (n,)."""
        norms = np.diag(gram)
        distances = np.maximum(norms[:, None] + norms[None, :] - 2 * gram, 0.0)
        np.fill_diagonal(distances, np.inf)  # itself is none of the others
        nearest = np.sort(distances, axis=1)[:, : len(gram) - self.byzantine - 2]
        return np.asarray(nearest.sum(axis=1))

    def __repr__(self) -> str:
        return f"MultiKrum(byzantine={self.byzantine}, keep={self.keep})"


class CosineClusters(OutlierRule):
    """Keeps the largest cluster by direction, if more than ``min_share`` of the clients are in it.

    Two clients are in one cluster if a chain of clients joins them, of which each is within cosine distance
    ``distance`` of the next: the clusters of single linkage, which also minimise the largest similarity
    across a split (Sattler et al. 2019, arXiv 1910.01991, section 4). That a majority is kept and the rest
    taken for poisoned is from FLAME (Nguyen et al. 2021, arXiv 2101.02281). Cosine distance is 1 - cosine,
    from 0 to 2; an update of zeros is at distance 1 from all others.

    Without such a majority there is no sum. ``distance``: above 0 and below 2; ``min_share``: from 0.5 to
    below 1. The cosine of two independent updates of many coordinates is about 0, give or take
    sqrt(1 / projections): the default of 0.7 stays more than three of these below 1.
    """

    name = "cosine-clusters"

    def __init__(
        self,
        min_share: float = 0.5,
        distance: float = 0.7,
        *,
        projections: int = 128,
        plan: Plan | None = None,
    ) -> None:
        super().__init__(projections, plan)
        if not _is_number(min_share) or not 0.5 <= min_share < 1:
            raise LocalError("min_share", min_share, "must be from 0.5 to below 1")
        if not _is_number(distance) or not 0 < distance < 2:
            raise LocalError("distance", distance, "must be above 0 and below 2")
        self.min_share = float(min_share)
        self.distance = float(distance)

    def select(self, gram: Gram, names: Sequence[str]) -> Sequence[Verdict]:
        count, distances = len(names), cosine_distances(gram)
        kept = max(_components(distances <= self.distance), key=len)
        if len(kept) <= self.min_share * count:
            found = {"largest": len(kept), "clients": count}
            return [Abort(f"no cluster holds more than {self.min_share:.4g} of the clients", found)]
        verdicts = []
        for place in sorted(set(range(count)) - set(kept)):
            nearest = float(distances[place, kept].min())
            reason = (
                f"its cosine distance to the {len(kept)} clients of the largest cluster is at least "
                f"{nearest:.4f}, above {self.distance:.4f}"
            )
            verdicts.append(
                Reject(names[place], reason, {"distance": nearest, "bound": self.distance, "kept": len(kept)})
            )
        return verdicts

    def __repr__(self) -> str:
        return f"CosineClusters(min_share={self.min_share:.4g}, distance={self.distance:.4g})"


def cosine_distances(gram: Gram) -> NDArray[np.float64]:
    """1 - cosine of each pair, shape (n, n): from 0 to 2, 1 for what has no direction."""
    lengths = np.sqrt(np.diag(gram))
    products = lengths[:, None] * lengths[None, :]
    cosines = np.divide(gram, products, out=np.zeros_like(gram), where=products > 0)
    return np.asarray(1.0 - np.clip(cosines, -1.0, 1.0))


def _components(linked: NDArray[np.bool_]) -> list[list[int]]:
    """The connected components of a graph, each in order, by their first members."""
    left = dict.fromkeys(range(len(linked)))
    found = []
    while left:
        component, reached = [], [next(iter(left))]
        del left[reached[0]]
        while reached:
            component.append(here := reached.pop())
            for other in [place for place in left if linked[here, place]]:
                del left[other]
                reached.append(other)
        found.append(sorted(component))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(argument: str, value: object, least: int, most: int | None = None) -> None:
    if not is_whole(value) or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise LocalError(argument, value, f"must be a whole number {limits}")
