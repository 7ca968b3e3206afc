"""Checks on contributions: the hook interface, and the checks that hang on it."""

from secagg.checks.base import ACCEPT, Abort, Accept, Check, Reject, Rejection, Verdict
from secagg.checks.outliers import CosineClusters, MultiKrum, OutlierRule
from secagg.checks.shares import Direction, NormBound, ShareCheck
from secagg.checks.structural import Structural

__all__ = [
    "ACCEPT",
    "Abort",
    "Accept",
    "Check",
    "CosineClusters",
    "Direction",
    "MultiKrum",
    "NormBound",
    "OutlierRule",
    "Reject",
    "Rejection",
    "ShareCheck",
    "Structural",
    "Verdict",
]
