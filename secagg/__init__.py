"""Secure aggregation for federated learning: three interchangeable backends behind one interface."""

from mpc.errors import AbortError, DecodeError, LocalError, PeerError
from mpc.tape import SystemTape
from secagg.aggregate import AggregateResult, Conditions, aggregate
from secagg.backend import Backend
from secagg.checks import (
    ACCEPT,
    Abort,
    Accept,
    Check,
    CosineClusters,
    Direction,
    MultiKrum,
    NormBound,
    Reject,
    Rejection,
    Verdict,
)
from secagg.cohort import Cohort
from secagg.encoding import FixedPoint
from secagg.identity import Identity, Roster, load_identity, save_identity
from secagg.masking import Adversary, Masking, Tolerance, Unmasking
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.plain import InsecurePlain
from secagg.roundlog import RoundLog
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
    "CosineClusters",
    "DecodeError",
    "Direction",
    "FixedPoint",
    "Identity",
    "InsecurePlain",
    "LocalError",
    "Masking",
    "MultiKrum",
    "NormBound",
    "Paillier",
    "PeerError",
    "Reject",
    "Rejection",
    "Roster",
    "RoundLog",
    "SecretSharing",
    "SystemTape",
    "ThresholdPaillier",
    "Tolerance",
    "Unmasking",
    "Verdict",
    "aggregate",
    "load_identity",
    "save_identity",
]
