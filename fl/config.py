"""TrainingConfig: everything that decides what a training computes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from mpc.errors import LocalError

BACKENDS = ("masking", "paillier", "sharing", "plain")
ATTACKS = ("wrong-length", "out-of-range", "replayed", "corrupt-bytes")
PARTITIONS = ("dirichlet", "iid")

INSTALL_DEMO = "pip install -c constraints.txt -e '.[demo]'"
"""As in the README: what the bundled job and the command need beyond the core."""

# A field that means something only beside one value of another: field → (the other, that value).
BELONGS_TO = {
    "aggregators": ("backend", "sharing"),
    "key_bits": ("backend", "paillier"),
    "alpha": ("partition", "dirichlet"),
}


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The parameters of one federated training.

    * ``clients``: at least 2. ``fraction`` in (0, 1]: of them are sampled in each round.
    * ``rounds``: at least 1. ``dropout`` in [0, 1): the share of a round's participants that goes silent,
      rounded up or down at random where it is no whole number.
    * ``partition``: ``dirichlet`` with concentration ``alpha`` > 0, or ``iid``.
    * ``malicious``: how many clients mount ``attack``.
    * ``threshold``: of the secure aggregation; None: the backend's own.
    * ``aggregators`` (sharing): at least 2. ``key_bits`` (Paillier): 2048, 3072 or 4096.
    * ``clip``, ``bits``: of the fixed-point encoding.
    * ``seed``: of data split, partition, initial model, sampling, dropouts, local training and rounding.
      Keys and masks never depend on it.
    """

    backend: str = "masking"
    clients: int = 20
    rounds: int = 15
    fraction: float = 1.0
    dropout: float = 0.1
    partition: str = "dirichlet"
    alpha: float = 0.5
    malicious: int = 0
    attack: str = "wrong-length"
    threshold: float | None = None
    aggregators: int = 2
    key_bits: int = 3072
    clip: float = 1.0
    bits: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("backend", self.backend, BACKENDS)
        _one_of("partition", self.partition, PARTITIONS)
        _one_of("attack", self.attack, ATTACKS)
        _at_least("clients", self.clients, 2)
        _at_least("rounds", self.rounds, 1)
        _at_least("seed", self.seed, 0)
        _at_least("malicious", self.malicious, 0)
        _at_least("aggregators", self.aggregators, 2)
        if not 0 < self.fraction <= 1:
            raise LocalError("fraction", self.fraction, "must be above 0 and at most 1")
        if not 0 <= self.dropout < 1:
            raise LocalError("dropout", self.dropout, "must be at least 0 and below 1")
        if not self.alpha > 0:
            raise LocalError("alpha", self.alpha, "must be above 0")
        if self.malicious > self.clients:
            raise LocalError("malicious", self.malicious, f"must be from 0 to the {self.clients} clients")

    @property
    def names(self) -> tuple[str, ...]:
        """The clients' names, ``client-00`` first."""
        return tuple(f"client-{index:02d}" for index in range(self.clients))

    def fingerprint(self) -> str:
        """SHA-256 of all that decides the model after a given round: everything but ``rounds``."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()

    def decisive(self) -> dict[str, Any]:
        """What the fingerprint is of: every field but ``rounds``, by name."""
        return {name: value for name, value in asdict(self).items() if name != "rounds"}


def _one_of(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise LocalError(argument, value, f"must be one of {', '.join(choices)}")


def _at_least(argument: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise LocalError(argument, value, f"must be a whole number of at least {low}")
