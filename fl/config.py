"""TrainingConfig: everything that decides what a training computes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mpc.errors import LocalError

BACKENDS = ("masking", "paillier", "sharing", "plain")
MALFORMED = ("wrong-length", "out-of-range", "replayed", "corrupt-bytes")
"""Attacks that every backend refuses."""
ATTACKS = (*MALFORMED, "boosted")
CHECKS = ("none", "norm")
NORM_BOUND = 12.0
"""For the default job: half as much again as its longest updates, which are those of the first round."""
PARTITIONS = ("dirichlet", "iid")

INSTALL_DEMO = "pip install -c constraints.txt -e '.[demo]'"
"""As in the README: what the bundled job and the command need beyond the core."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a field means something: ``holds`` in settings, by name; ``needs`` says what that takes.

    In ``needs`` the names of fields stand in braces, since a command calls them otherwise. ``of``: the fields
    that decide.
    """

    of: tuple[str, ...]
    holds: Callable[[Mapping[str, Any]], bool]
    needs: str


_OF_PAILLIER = Scope(("backend",), lambda one: one["backend"] == "paillier", "{backend} paillier")

# The fields that mean something only beside certain values of others.
SCOPES: Mapping[str, Scope] = {
    "aggregators": Scope(("backend",), lambda one: one["backend"] == "sharing", "{backend} sharing"),
    "key_bits": _OF_PAILLIER,
    "key_holders": _OF_PAILLIER,
    "threshold": Scope(
        ("backend", "key_holders"),
        lambda one: one["backend"] != "paillier" or one["key_holders"] > 1,
        "at least 2 {key_holders}: it is how many of them open a sum; the least number of clients in one is "
        "{minimum}",
    ),
    "minimum": Scope(
        ("backend",),
        lambda one: one["backend"] == "paillier",
        "{backend} paillier; with the others the least number of clients in a sum is {threshold}",
    ),
    "offline_key_holders": Scope(
        ("backend", "key_holders"),
        lambda one: one["backend"] == "paillier" and one["key_holders"] > 1,
        "{backend} paillier and at least 2 {key_holders}",
    ),
    "check": Scope(
        ("backend",),
        lambda one: one["backend"] == "sharing" or one["check"] == "none",
        "{backend} sharing: clients prove it on shares",
    ),
    "norm_bound": Scope(("check",), lambda one: one["check"] == "norm", "{check} norm"),
    "alpha": Scope(("partition",), lambda one: one["partition"] == "dirichlet", "{partition} dirichlet"),
    "attack": Scope(
        ("malicious",),
        lambda one: one["malicious"] > 0,
        "{malicious}, which says how many clients mount it",
    ),
}
# Those of them that would be a promise not kept if they were left without effect.
_NEVER_IDLE = ("key_holders", "threshold", "minimum", "offline_key_holders", "check", "norm_bound")


def why_idle(name: str, settings: Mapping[str, Any], called: Callable[[str], str] = str) -> str | None:
    """What the field ``name`` needs to mean something beside these settings; None if it does.

    ``called``: what fields are called where this is read.
    """
    scope = SCOPES.get(name)
    if scope is None or scope.holds(settings):
        return None
    here = " ".join(f"{called(one)} {settings[one]}" for one in scope.of)
    needs = scope.needs.format_map({one.name: called(one.name) for one in fields(TrainingConfig)})
    return f"needs {needs}; here it is {here}"


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The parameters of one federated training.

    * ``clients``: at least 2. ``fraction`` in (0, 1]: of them are sampled in each round.
    * ``rounds``: at least 1. ``dropout`` in [0, 1): the share of a round's participants that goes silent,
      rounded up or down at random where it is no whole number.
    * ``partition``: ``dirichlet`` with concentration ``alpha`` > 0, or ``iid``.
    * ``malicious``: how many clients mount ``attack``.
    * ``check`` (sharing): ``norm``, or ``none``: whether clients prove that their updates, scaled by weight /
      largest weight as in the sum, are no longer than ``norm_bound`` > 0.
    * ``threshold``: the least number of clients in a sum, as a fraction or a count; None: the backend's own.
      With Paillier that is ``minimum``, and ``threshold`` how many of several key holders open a sum; None:
      the least majority.
    * ``aggregators`` (sharing): at least 2. ``key_bits`` (Paillier): 2048, 3072 or 4096; ``key_holders``: 1,
      or up to 16 with shares of the key, of whom ``offline_key_holders`` never answer, drawn in each round.
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
    check: str = "none"
    norm_bound: float = NORM_BOUND
    threshold: float | None = None
    aggregators: int = 2
    key_bits: int = 3072
    key_holders: int = 1
    minimum: float | None = None
    offline_key_holders: int = 0
    clip: float = 1.0
    bits: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("backend", self.backend, BACKENDS)
        _one_of("partition", self.partition, PARTITIONS)
        _one_of("attack", self.attack, ATTACKS)
        _one_of("check", self.check, CHECKS)
        _at_least("clients", self.clients, 2)
        _at_least("rounds", self.rounds, 1)
        _at_least("seed", self.seed, 0)
        _at_least("malicious", self.malicious, 0)
        _at_least("aggregators", self.aggregators, 2)
        _at_least("key_holders", self.key_holders, 1)
        _at_least("offline_key_holders", self.offline_key_holders, 0)
        if not 0 < self.fraction <= 1:
            raise LocalError("fraction", self.fraction, "must be above 0 and at most 1")
        if not 0 <= self.dropout < 1:
            raise LocalError("dropout", self.dropout, "must be at least 0 and below 1")
        if not 0 < self.norm_bound < math.inf:
            raise LocalError("norm_bound", self.norm_bound, "must be a finite number above 0")
        if not self.alpha > 0:
            raise LocalError("alpha", self.alpha, "must be above 0")
        if self.malicious > self.clients:
            raise LocalError("malicious", self.malicious, f"must be from 0 to the {self.clients} clients")
        self._check_scopes()

    def _check_scopes(self) -> None:
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        chosen = {one.name for one in fields(self) if given[one.name] != one.default}
        for name in _NEVER_IDLE:
            if name in chosen and (why := why_idle(name, given)) is not None:
                raise LocalError(name, given[name], why)
        if self.key_holders > 1 and isinstance(self.threshold, float):
            bound = f"must be a whole number: so many of the {self.key_holders} key holders open a sum"
            raise LocalError("threshold", self.threshold, bound)

    @property
    def refuses_attackers(self) -> bool:
        """Whether what malicious clients send is kept out of the sum."""
        return self.attack in MALFORMED or self.check == "norm"

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
