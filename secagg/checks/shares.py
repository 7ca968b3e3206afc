"""Checks that clients prove on shares, before anything is added (spec section 8.3).

The proofs are made with the shares and verified by the aggregators, who see no entry: ``SecretSharing`` alone
can ask for them. All such checks of a round become the claims of one circuit (spec section 16.16), and with
any of them every entry beside the update is proved as well: the weight from 1 to W, metrics within bounds.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np

from mpc.errors import LocalError
from mpc.flp.claims import Alignment, Claims, Range
from secagg.checks.base import Check
from secagg.cohort import Cohort
from secagg.encoding import Plan
from secagg.structure import take_apart

_REFERENCE_LENGTH = 1 << 28  # of a quantised reference: rounding turns it by less than 2^-18 at 10^6 entries
MAX_NORM_STEPS = 1 << 31  # of a norm that PINE proves over Field64
_MAX_REACH = 1 << 60  # of bound times reference, half of what the circuit has room for


class ShareCheck(Check):
    """A claim about the vector that a client shares. ``plan``: how the vector is laid out.

    ``aggregate()`` gives its own plan to checks that have none.
    """

    on_shares = True

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan

    def for_plan(self, plan: Plan) -> Self:
        if self.plan is not None:
            return self
        planned = type(self).__new__(type(self))
        planned.__dict__.update(self.__dict__, plan=plan)
        return planned

    @abstractmethod
    def add_to(self, claims: Claims, plan: Plan) -> Claims:
        """``claims`` with this one as well."""


class NormBound(ShareCheck):
    """‖(w / W) · update‖₂ ≤ ``l2``, exactly in what is added up, of every client; the others are refused.

    ``l2``: above 0, in the update's own units. Stochastic rounding may make a vector longer than the update
    was, by less than √d steps: what is proved is ‖vector‖₂ ≤ ⌈l2 / step + √d⌉ steps, which every update
    within ``l2`` meets. ``LocalError`` for a bound that Field64 has no room for, of about 2^30 steps.
    """

    name = "norm"

    def __init__(self, l2: float, plan: Plan | None = None) -> None:
        super().__init__(plan)
        if not _is_real(l2) or not 0 < l2 < math.inf:
            raise LocalError("l2", l2, "must be a finite number above 0")
        self.l2 = float(l2)

    def steps(self, plan: Plan) -> int:
        """The bound on a vector, in steps of the encoding."""
        return math.ceil(self.l2 / plan.encoding.step + math.sqrt(plan.coordinates))

    def add_to(self, claims: Claims, plan: Plan) -> Claims:
        step = plan.encoding.step
        room = MAX_NORM_STEPS - math.sqrt(plan.coordinates) - 1
        if self.l2 / step > room:
            raise LocalError(
                "l2", self.l2, f"at most {room * step:.6g} can be proved, in steps of {step:.3g}"
            )
        bound = self.steps(plan)
        return replace(claims, bound=bound if claims.bound is None else min(bound, claims.bound))

    def __repr__(self) -> str:
        return f"NormBound(l2={self.l2:g})"


class Direction(ShareCheck):
    """cos(update, ``reference``) ≥ ``min_cosine``, of every client; the others are refused.

    ``reference``: of the update's structure, and public: the last round's mean, say, or the gradient on data
    that the server has. ``min_cosine``: above 0, at most 1. What is proved is of the encoded vector and of
    the reference in steps of 2^-28 of its length: no vector with a cosine below c · (1 - 2^-20) passes, and
    every one with at least c does. Stochastic rounding turns an update of length l by about
    √(d / 6) · step / l: leave that much room. An update of zeros passes. One a round.
    """

    name = "direction"

    def __init__(self, reference: object, min_cosine: float, plan: Plan | None = None) -> None:
        super().__init__(plan)
        if not _is_real(min_cosine) or not 0 < min_cosine <= 1:
            raise LocalError("min_cosine", min_cosine, "must be above 0 and at most 1")
        structure, tensors = take_apart("reference", reference)
        flat = np.concatenate([np.ravel(tensor) for tensor in tensors]).astype(np.float64)
        largest = np.abs(flat).max(initial=0.0)
        if not 0 < largest < math.inf:
            raise LocalError("reference", "all zeros, or not finite", "must be a direction")
        flat /= largest  # lest a square overflow
        self._sizes = structure.sizes
        self._unit = flat / np.linalg.norm(flat)
        self.min_cosine = float(min_cosine)

    def add_to(self, claims: Claims, plan: Plan) -> Claims:
        if claims.alignment is not None:
            raise LocalError("checks", self.name, "one reference a round can be proved")
        if self._sizes != plan.sizes:
            raise LocalError("reference", f"tensors of {self._sizes} coordinates", f"must be of {plan.sizes}")
        # All vectors are at most that long; the circuit needs some bound.
        longest = math.isqrt(plan.coordinates * plan.encoding.limit**2) + 1
        bound = longest if claims.bound is None else min(longest, claims.bound)
        length = min(_REFERENCE_LENGTH, _MAX_REACH // bound)
        alignment = Alignment(np.rint(self._unit * length).astype(np.int64), self.min_cosine)
        return replace(claims, bound=bound, alignment=alignment)

    def __repr__(self) -> str:
        return f"Direction(min_cosine={self.min_cosine:g})"


def claims_of(checks: Sequence[Check], cohort: Cohort) -> Claims | None:
    """What the share checks among ``checks`` claim together; None if there are none.

    ``LocalError`` for checks that have no plan, different ones, or one of vectors of another length.
    """
    asked = [check for check in checks if isinstance(check, ShareCheck)]
    if not asked:
        return None
    plan = asked[0].plan
    if plan is None or any(check.plan != plan for check in asked):
        raise LocalError(
            "checks", [check.name for check in asked], "need the round's plan: NormBound(…, plan=plan)"
        )
    if (plan.length, plan.encoding.bits) != (cohort.length, cohort.bits):
        found = f"a plan of {plan.length} entries of {plan.encoding.bits} bits"
        raise LocalError("checks", found, f"the cohort has {cohort.length} of {cohort.bits} bits")
    claims = Claims(plan.length, plan.coordinates, None, _ranges(plan), None)
    # Norms first: they say how much room a direction has.
    for check in sorted(asked, key=lambda check: isinstance(check, Direction)):
        claims = check.add_to(claims, plan)
    return claims


def _is_real(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _ranges(plan: Plan) -> tuple[Range, ...]:
    """Of what is beside the update: weight digits, the weight that they make, metrics."""
    start, limit, width = plan.coordinates, plan.encoding.limit, plan.encoding.bits - 1
    digits = plan.weight_digits
    places = tuple(1 << (width * place) for place in range(digits))
    return (
        *(
            Range(start + place, (1,), 0, min(limit, plan.max_weight // places[place]))
            for place in range(digits)
        ),
        Range(start, places, 1, plan.max_weight),
        *(Range(start + digits + place, (1,), -limit, limit) for place in range(len(plan.metrics))),
    )
