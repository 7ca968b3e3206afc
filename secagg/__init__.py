"""Secure aggregation for federated learning: three interchangeable backends behind one interface."""

from mpc.errors import AbortError, LocalError, PeerError
from secagg.aggregate import AggregateResult, Conditions, aggregate
from secagg.backend import Backend
from secagg.checks import ACCEPT, Abort, Accept, Check, Reject, Rejection, Verdict
from secagg.cohort import Cohort
from secagg.encoding import FixedPoint
from secagg.masking import Adversary, Masking, Tolerance, Unmasking
from secagg.paillier import Paillier
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing

__all__ = [
    "ACCEPT",
    "Abort",
    "AbortError",
    "Accept",
    "Adversary",
    "AggregateResult",
    "Backend",
    "Check",
    "Cohort",
    "Conditions",
    "FixedPoint",
    "InsecurePlain",
    "LocalError",
    "Masking",
    "Paillier",
    "PeerError",
    "Reject",
    "Rejection",
    "SecretSharing",
    "Tolerance",
    "Unmasking",
    "Verdict",
    "aggregate",
]
