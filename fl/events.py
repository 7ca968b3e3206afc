"""What happens in a training, as a stream of frozen records: progress bars, logs and reports hang on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from fl.config import TrainingConfig
from mpc.errors import LocalError


@dataclass(frozen=True, slots=True)
class Refused:
    """A client whose contribution was not counted, and why."""

    client: str
    check: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoundReport:
    """One finished round.

    * ``round``: from 1. ``accuracy``, ``loss``: of the global model after it, on held-out data.
      Accuracy is NaN where the evaluation gives none.
    * ``train_metrics``: weighted means over the survivors, by name, which travelled masked; empty if the
      round was aborted. ``train_accuracy``, ``train_loss``: those of these names, None if there are none.
    * ``aborted``: why the round yielded nothing and left the global model as it was, or None.
    * ``seconds``: the whole round, local training included; ``training_seconds``: local training alone.
    * ``upload_bytes_per_client``: what clients sent and was delivered, header and tag included, divided by
      the number of participants.
    * ``phase_bytes``: phase → sending role → bytes delivered; ``phase_seconds``: phase → role → seconds,
      empty if the round was aborted.
    * ``clipped``: the fraction of the updates' coordinates that were cut to ±clip.
    * ``offline``: helpers that never answered, as the round was set up, such as ``key holder 1``;
      ``faults``: helpers that were caught departing from the protocol, and how.

    Who is in neither of ``survivors``, ``dropped`` and ``rejected`` was there for nothing: the round was
    aborted.
    """

    round: int
    accuracy: float
    loss: float
    train_accuracy: float | None
    train_loss: float | None
    participants: tuple[str, ...]
    survivors: tuple[str, ...]
    dropped: tuple[str, ...]
    rejected: tuple[Refused, ...]
    aborted: str | None
    seconds: float
    training_seconds: float
    upload_bytes_per_client: float
    phase_bytes: Mapping[str, Mapping[str, int]]
    phase_seconds: Mapping[str, Mapping[str, float]]
    clipped: float
    train_metrics: Mapping[str, float] = field(default_factory=dict)
    offline: tuple[str, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; :meth:`from_dict` gives the same report back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RoundReport:
        """``LocalError`` unless ``data`` has exactly a report's entries."""
        names = {one.name for one in fields(cls)}
        if data.keys() != names:
            raise LocalError(
                "round report", sorted(data.keys() ^ names), "these entries are missing or unknown"
            )
        told = {name: tuple(data[name]) for name in ("participants", "survivors", "dropped", "offline")}
        refused = tuple(Refused(**one) for one in data["rejected"])
        return cls(**{**data, **told, "rejected": refused})


@dataclass(frozen=True, slots=True)
class TrainingStarted:
    """``finished_rounds`` > 0 after a resume. ``accuracy``: of the model that the training starts from."""

    config: TrainingConfig
    parameters: int
    finished_rounds: int
    accuracy: float
    history: tuple[RoundReport, ...]


@dataclass(frozen=True, slots=True)
class KeysStarted:
    """Keys are made that last for all rounds, which takes some seconds: ``key_holders`` each get theirs."""

    backend: str
    key_holders: int


@dataclass(frozen=True, slots=True)
class RoundStarted:
    round: int
    participants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientTrained:
    """``done`` of the ``total`` participants that do not drop out have finished local training."""

    round: int
    client: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class AggregationStarted:
    round: int
    backend: str


@dataclass(frozen=True, slots=True)
class RoundFinished:
    """The round is over, and its checkpoint, if there is one, is on disk."""

    report: RoundReport


@dataclass(frozen=True, slots=True)
class TrainingFinished:
    final_accuracy: float
    history: tuple[RoundReport, ...]


Event = (
    TrainingStarted
    | KeysStarted
    | RoundStarted
    | ClientTrained
    | AggregationStarted
    | RoundFinished
    | TrainingFinished
)
