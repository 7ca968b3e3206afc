"""Which backend a training configuration asks for, and whether it can work at all (spec section 15)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fl.config import TrainingConfig
from fl.data import Purpose, generator
from fl.fedavg import sample_clients
from mpc.errors import LocalError
from mpc.party import PartyId
from secagg.backend import Backend
from secagg.masking import Masking
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.paillier.messages import key_holder_ids
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing


def make_backend(config: TrainingConfig) -> Backend:
    """The backend, without keys yet. ``LocalError`` for a threshold or key size that it does not have."""
    options: dict[str, Any] = {
        name: value for name in ("threshold", "minimum") if (value := getattr(config, name)) is not None
    }
    if config.key_holders > 1:
        return ThresholdPaillier(config.key_holders, key_bits=config.key_bits, **options)
    if config.backend == "paillier":
        return Paillier(key_bits=config.key_bits, **options)
    if config.backend == "sharing":
        return SecretSharing(aggregators=config.aggregators, **options)
    if config.backend == "plain":
        return InsecurePlain(**options)
    return Masking(**options)


def check_feasible(config: TrainingConfig, backend: Backend) -> None:
    """``LocalError`` if no round of this training could ever yield a sum.

    It names ``fraction``, ``dropout`` or ``malicious``, whichever makes a round too small for the backend, or
    ``offline_key_holders``. A training that passes may still lose rounds: those in which more drop out than
    in the best one.
    """
    check_offline(config.offline_key_holders, backend)
    participants, staying = check_rounds(config.names, config.fraction, config.dropout, backend)
    refused = config.malicious if config.refuses_attackers else 0
    honest = staying - max(0, refused - (config.clients - participants))
    threshold = backend.resolve_threshold(participants)
    if honest < threshold:
        raise LocalError("malicious", config.malicious, _too_few(honest, participants, backend))


def check_offline(offline: int, backend: Backend) -> None:
    """``LocalError`` if the backend cannot do without ``offline`` of its key holders."""
    if not offline:
        return
    if not isinstance(backend, ThresholdPaillier):
        bound = f"must be 0: the backend {backend.name} cannot do without any party but clients"
        raise LocalError("offline_key_holders", offline, bound)
    spare = backend.key_holders - backend.threshold
    if offline > spare:
        needed = f"it takes {backend.threshold} of {backend.key_holders} to open a sum"
        raise LocalError("offline_key_holders", offline, f"must be at most {spare}: {needed}")


def key_holders(backend: Backend) -> tuple[PartyId, ...]:
    """Those of a Paillier backend, or nobody."""
    return key_holder_ids(backend.key_holders if isinstance(backend, Paillier | ThresholdPaillier) else 0)


def keys_to_make(backend: Backend) -> int:
    """For how many key holders ``setup()`` will make keys that take some seconds."""
    made = isinstance(backend, Paillier | ThresholdPaillier) and backend.public is None
    return len(key_holders(backend)) if made else 0


def check_rounds(names: Sequence[str], fraction: float, dropout: float, backend: Backend) -> tuple[int, int]:
    """How many of ``names`` a round has, and how many stay to its end in the best one.

    ``LocalError`` names ``fraction`` or ``dropout``, if it makes every round too small for the backend.
    """
    participants = len(sample_clients(names, fraction, generator(0, Purpose.SAMPLING)))
    if participants < 2:
        raise LocalError("fraction", fraction, f"of {len(names)} clients it takes 1; a sum needs 2")
    threshold = backend.resolve_threshold(participants)
    staying = participants - fewest_dropouts(participants, dropout)
    if staying < threshold:
        raise LocalError("dropout", dropout, _too_few(staying, participants, backend))
    return participants, staying


def _too_few(left: int, participants: int, backend: Backend) -> str:
    found = f"at most {left}" if left > 0 else "none"
    least = f"the {backend.minimum_argument} is {backend.resolve_threshold(participants)}"
    return f"leaves {found} of a round's {participants} clients; {least}"


def fewest_dropouts(participants: int, dropout: float) -> int:
    """How many go silent in a round where ``fl.fedavg.choose_dropouts`` rounds down."""
    return math.floor(round(dropout * participants, 9))
