"""FederatedLoop: rounds of local training over a secure sum, for any model and data (spec section 15)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fl.attacks import Attack
from fl.client import Evaluation, LocalTraining, LocalUpdate
from fl.data import Dataset, Purpose, generator
from fl.events import (
    AggregationStarted,
    ClientTrained,
    Event,
    Refused,
    RoundFinished,
    RoundReport,
    RoundStarted,
)
from fl.fedavg import apply_update, choose_dropouts, sample_clients
from fl.model import Weights
from mpc.errors import AbortError
from mpc.party import SESSION_BYTES, Role
from mpc.tape import SeededTape, SystemTape
from mpc.transcript import Record
from secagg.aggregate import AggregateResult, Conditions, aggregate
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.encoding import FixedPoint

LOSS_BOUND = 10.0  # nats; guessing among ten classes costs 2.3


@dataclass(kw_only=True, eq=False)
class FederatedLoop:
    """Federated averaging over a secure sum, for any model and data.

    * ``clients``: name → its data. ``training``: what a client does with it. A client's weight in the mean
      is the number of its samples; the largest one is public.
    * ``evaluate``: how good global weights are, on held-out data. ``weights``: those to start from.
    * ``backend``, ``encoding``, ``checks``: of the secure sum. Loss and accuracy of the clients travel
      in it too; a loss above ``loss_bound`` counts as ``loss_bound``.
    * ``fraction`` of the clients is sampled in each round, and ``dropout`` of these go silent in it.
    * ``attack``: which clients send malformed messages, and how.
    * ``seed``: of sampling, dropouts, local training and rounding. Keys and masks come from the system.
    * ``server_learning_rate``: the global model moves by so many times the mean update.

    After each round, ``weights`` are the global model and ``history`` has one report more. What is computed
    depends on seed, history and weights only, and not on the backend: every backend returns the same sums.

        loop = FederatedLoop(
            clients={"ana": ana, "bo": bo, "cy": cy, "dee": dee},    # each a fl.data.Dataset
            training=training,    # such as TorchTraining(network, epochs=2, batch_size=32, learning_rate=0.1)
            evaluate=lambda weights: training.evaluate(weights, held_out),
            weights=initial_weights(network, seed=0),
            backend=Masking(threshold=3),
        )
        for event in loop.run(rounds=20):
            if isinstance(event, RoundFinished):
                print(event.report.round, event.report.accuracy)
    """

    clients: Mapping[str, Dataset]
    training: LocalTraining
    evaluate: Callable[[Weights], Evaluation]
    weights: Weights
    backend: Backend
    encoding: FixedPoint = field(default_factory=FixedPoint)
    checks: Sequence[Check] = ()
    fraction: float = 1.0
    dropout: float = 0.0
    attack: Attack | None = None
    seed: int = 0
    server_learning_rate: float = 1.0
    loss_bound: float = LOSS_BOUND
    history: list[RoundReport] = field(default_factory=list)

    def run(self, rounds: int) -> Iterator[Event]:
        """Rounds up to number ``rounds``, from the one after the last in ``history``.

        A round that is not finished leaves no trace: whoever stops here and runs again gets it once more.
        A round that the protocol aborts leaves the model as it was, and the next one follows. ``LocalError``
        for arguments that cannot be used, such as updates of unequal shapes or with infinite entries.
        """
        if len(self.history) < rounds:
            self.backend = self.backend.setup(SystemTape())
        # A new one for each call: of the session before, the round that was interrupted may have been opened.
        session = SystemTape().read(SESSION_BYTES)
        for number in range(len(self.history) + 1, rounds + 1):
            yield from self._round(number, session)

    def _round(self, number: int, session: bytes) -> Iterator[Event]:
        draw = generator(self.seed, Purpose.SAMPLING, number)
        participants = tuple(sample_clients(tuple(self.clients), self.fraction, draw))
        setting = _Setting(number, session, participants, self._draw_silent(number, participants))
        yield RoundStarted(number, participants)
        places = {name: place for place, name in enumerate(self.clients)}
        active = [name for name in participants if name not in setting.silent]
        updates: dict[str, LocalUpdate] = {}
        seconds = 0.0
        for done, name in enumerate(active, start=1):
            begin = time.perf_counter()
            seed = int(generator(self.seed, Purpose.TRAINING, number, places[name]).integers(2**63))
            updates[name] = self.training(self.weights, self.clients[name], seed)
            seconds += time.perf_counter() - begin
            yield ClientTrained(number, name, done, len(active))
        yield AggregationStarted(number, self.backend.name)
        self.weights, report = self._finish(setting, updates, seconds)
        self.history.append(report)
        yield RoundFinished(report)

    def _draw_silent(self, number: int, participants: Sequence[str]) -> dict[str, str]:
        """Who drops out of a round, and in which phase: always before its input counts.

        Where ``choose_dropouts`` takes an attacker an honest client goes in its place, while there are any
        left, so that an attack is seen in its round. Who goes does not depend on the backend.
        """
        draw = generator(self.seed, Purpose.DROPOUTS, number)
        chosen = choose_dropouts(participants, self.dropout, draw)
        attackers = self.attack.clients if self.attack else frozenset()
        shuffled = [participants[place] for place in draw.permutation(len(participants))]
        spare = [name for name in shuffled if name not in attackers.union(chosen)]
        silent = [spare.pop() if name in attackers and spare else name for name in chosen]
        phases = self.backend.client_phases
        early = phases[: phases.index(self.backend.input_phase) + 1]
        return {name: early[int(draw.random() * len(early))] for name in silent}

    def _finish(
        self, setting: _Setting, updates: Mapping[str, LocalUpdate], training_seconds: float
    ) -> tuple[Weights, RoundReport]:
        """The secure sum, the new global weights, and how good they are."""
        begin = time.perf_counter()
        traffic = _Traffic()
        weights = self.weights
        outcome = self._sum(setting, updates, traffic)
        if isinstance(outcome, AggregateResult):
            weights = apply_update(weights, outcome.mean, self.server_learning_rate)
        evaluation = self.evaluate(weights)
        report = RoundReport(
            round=setting.number,
            accuracy=evaluation.accuracy,
            loss=evaluation.loss,
            train_accuracy=None,
            train_loss=None,
            participants=setting.participants,
            survivors=(),
            dropped=tuple(name for name in setting.participants if name in setting.silent),
            rejected=(),
            aborted=None,
            seconds=training_seconds + time.perf_counter() - begin,
            training_seconds=training_seconds,
            upload_bytes_per_client=traffic.uploaded / len(setting.participants),
            phase_bytes=traffic.by_phase,
            phase_seconds={},
            clipped=_clipped(updates, self.encoding.clip),
        )
        return weights, _told(report, outcome)

    def _sum(
        self, setting: _Setting, updates: Mapping[str, LocalUpdate], traffic: _Traffic
    ) -> AggregateResult | AbortError:
        bounds = {"loss": self.loss_bound, "accuracy": 1.0}
        # Whoever drops out never gets to send an input, so there was no need to train one.
        nothing = LocalUpdate([np.zeros_like(t) for t in self.weights], 1, dict.fromkeys(bounds, 0.0))
        inputs = {name: updates.get(name, nothing) for name in setting.participants}
        backend, tamper = self.backend, None
        if self.attack is not None:
            backend, tamper = self.attack.mount(backend, setting.participants, setting.silent)
        try:
            return aggregate(
                {name: one.update for name, one in inputs.items()},
                backend=backend,
                encoding=self.encoding,
                weights={name: one.weight for name, one in inputs.items()},
                max_weight=max(map(len, self.clients.values())),
                metrics={name: one.metrics for name, one in inputs.items()},
                metric_bounds=bounds,
                checks=self.checks,
                drop=setting.silent,
                session=setting.session,
                round=setting.number,
                model_hash=weights_hash(self.weights),
                encoder_tape=SeededTape(f"rounding, seed {self.seed}, round {setting.number}".encode()),
                conditions=Conditions(clock=time.perf_counter, tamper=tamper, observe=traffic.observe),
            )
        except AbortError as error:
            return error


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is settled before training: who takes part in the round, and who goes silent in which phase."""

    number: int
    session: bytes
    participants: tuple[str, ...]
    silent: Mapping[str, str]


def weights_hash(weights: Weights) -> bytes:
    """SHA-256 over type, shape and values of each array: what the parties agree to train from."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.name} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()


class _Traffic:
    """Bytes delivered, by phase and sending role; an aborted round has no transcript to ask afterwards."""

    def __init__(self) -> None:
        self.uploaded = 0
        self.by_phase: dict[str, dict[str, int]] = {}

    def observe(self, record: Record) -> None:
        if record.fate != "delivered":
            return
        by_role = self.by_phase.setdefault(record.phase, {})
        sender = record.sender.role
        by_role[sender.title] = by_role.get(sender.title, 0) + record.size
        if sender is Role.CLIENT:
            self.uploaded += record.size


def _told(report: RoundReport, outcome: AggregateResult | AbortError) -> RoundReport:
    """The report with what the secure sum came to."""
    if isinstance(outcome, AbortError):
        reasons, checks = outcome.evidence.get("rejected"), outcome.evidence.get("checks")
        if isinstance(reasons, dict) and isinstance(checks, dict):
            rejected = tuple(Refused(name, checks[name], reason) for name, reason in reasons.items())
            return replace(report, rejected=rejected, aborted=outcome.reason)
        return replace(report, aborted=str(outcome))
    seconds: dict[str, dict[str, float]] = {}
    for (phase, role), took in outcome.transcript.seconds.items():
        seconds.setdefault(phase, {})[role.title] = took
    return replace(
        report,
        train_accuracy=outcome.metrics["accuracy"],
        train_loss=outcome.metrics["loss"],
        survivors=outcome.survivors,
        dropped=outcome.dropped,
        rejected=tuple(Refused(name, why.check, why.reason) for name, why in outcome.rejected.items()),
        phase_seconds=seconds,
    )


def _clipped(updates: Mapping[str, LocalUpdate], clip: float) -> float:
    """Counted here, since an aborted round gives no count."""
    tensors = [tensor for one in updates.values() for tensor in one.update]
    cut = sum(int(np.count_nonzero(np.abs(tensor) > clip)) for tensor in tensors)
    return cut / max(1, sum(tensor.size for tensor in tensors))
