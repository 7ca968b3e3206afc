"""Which backend a training configuration asks for, and whether it can work at all (spec section 15)."""

from __future__ import annotations

import math
from typing import Any

from fl.config import TrainingConfig
from fl.data import Purpose, generator
from fl.fedavg import sample_clients
from mpc.errors import LocalError
from secagg.backend import Backend
from secagg.masking import Masking
from secagg.paillier import Paillier
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing


def make_backend(config: TrainingConfig) -> Backend:
    """The backend, without keys yet. ``LocalError`` for a threshold or key size that it does not have."""
    options: dict[str, Any] = {} if config.threshold is None else {"threshold": config.threshold}
    if config.backend == "paillier":
        return Paillier(key_bits=config.key_bits, **options)
    if config.backend == "sharing":
        return SecretSharing(aggregators=config.aggregators, **options)
    if config.backend == "plain":
        return InsecurePlain(**options)
    return Masking(**options)


def check_feasible(config: TrainingConfig, backend: Backend) -> None:
    """``LocalError`` if no round of this training could ever reach the backend's threshold.

    It names ``fraction``, ``dropout`` or ``malicious``, whichever makes a round too small. A training that
    passes may still lose rounds: those in which more drop out than in the best one.
    """
    sampled = sample_clients(config.names, config.fraction, generator(0, Purpose.SAMPLING))
    participants = len(sampled)
    if participants < 2:
        raise LocalError(
            "fraction", config.fraction, f"of {config.clients} clients it takes 1; a sum needs 2"
        )
    threshold = backend.resolve_threshold(participants)
    staying = participants - fewest_dropouts(participants, config.dropout)
    if staying < threshold:
        bound = f"leaves at most {staying} of a round's {participants} clients; the threshold is {threshold}"
        raise LocalError("dropout", config.dropout, bound)
    honest = staying - max(0, config.malicious - (config.clients - participants))
    if honest < threshold:
        bound = f"leaves at most {honest} of a round's {participants} clients; the threshold is {threshold}"
        raise LocalError("malicious", config.malicious, bound)


def fewest_dropouts(participants: int, dropout: float) -> int:
    """How many go silent in a round where ``fl.fedavg.choose_dropouts`` rounds down."""
    return math.floor(round(dropout * participants, 9))
