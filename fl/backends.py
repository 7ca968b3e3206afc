"""Which backend a training configuration asks for, and whether it can work at all (spec section 15)."""

from __future__ import annotations

import math

from fl.config import TrainingConfig
from fl.data import Purpose, generator
from fl.fedavg import sample_clients
from mpc.errors import LocalError
from secagg.backend import Backend


def make_backend(config: TrainingConfig) -> Backend:
    """The backend, without keys yet. ``LocalError`` for a threshold or key size that it does not have."""
    options = {} if config.threshold is None else {"threshold": config.threshold}
    if config.backend == "paillier":
        from secagg.paillier import Paillier

        return Paillier(key_bits=config.key_bits, **options)
    if config.backend == "sharing":
        from secagg.sharing import SecretSharing

        return SecretSharing(aggregators=config.aggregators, **options)
    if config.backend == "plain":
        from secagg.plain import InsecurePlain

        return InsecurePlain(**options)
    from secagg.masking import Masking

    return Masking(**options)


def check_feasible(config: TrainingConfig, backend: Backend) -> None:
    """``LocalError`` if no round of this training could ever reach the backend's threshold.

    It names ``fraction``, ``dropout`` or ``malicious``, whichever makes a round too small. A training that
    passes may still lose rounds: those in which more drop out than in the best one.
    """
    sampled = sample_clients(config.names, config.fraction, generator(0, Purpose.SAMPLING))
    participants = len(sampled)
    if participants < 2:
        raise LocalError("fraction", config.fraction, f"of {config.clients} clients it takes 1; a sum needs 2")
    threshold = backend.resolve_threshold(participants)
    staying = participants - math.floor(expected_dropouts(participants, config.dropout))
    if staying < threshold:
        bound = f"leaves at most {staying} of a round's {participants} clients; the threshold is {threshold}"
        raise LocalError("dropout", config.dropout, bound)
    honest = staying - max(0, config.malicious - (config.clients - participants))
    if honest < threshold:
        bound = f"leaves at most {honest} of a round's {participants} clients; the threshold is {threshold}"
        raise LocalError("malicious", config.malicious, bound)


def expected_dropouts(participants: int, dropout: float) -> float:
    """How many of ``participants`` go silent on average. The digits that binary fractions lack are cut."""
    return round(dropout * participants, 9)
