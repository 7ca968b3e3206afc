"""FederatedLoop: rounds of local training over a secure sum, for any model and data (spec section 15)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fl.account import Traffic, clipped_share, told
from fl.arguments import check_loop, check_rounds_asked, largest_weight
from fl.attacks import Attack
from fl.backends import key_holders, keys_to_make
from fl.client import Evaluation, LocalTraining, LocalUpdate
from fl.contribution import Requirements, accept
from fl.data import Purpose, generator
from fl.events import (
    AggregationStarted,
    ClientTrained,
    Event,
    KeysStarted,
    Refused,
    RoundFinished,
    RoundReport,
    RoundStarted,
)
from fl.fedavg import apply_update, choose_dropouts, sample_clients
from fl.model import Weights
from mpc.errors import AbortError, LocalError
from mpc.party import SESSION_BYTES, PartyId
from mpc.tape import SeededTape, SystemTape
from secagg.aggregate import AggregateResult, Conditions, aggregate
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.encoding import FixedPoint

LOSS_BOUND = 10.0  # nats; guessing among ten classes costs 2.3


@dataclass(kw_only=True, eq=False)
class FederatedLoop:
    """Federated averaging over a secure sum, for any model and data.

    * ``clients``: name → its data, whatever ``training`` takes: a ``fl.Dataset``, a list, a loader.
    * ``training``: what a client does with it. It returns a ``LocalUpdate``, whose weight counts in the
      mean. ``max_weight`` is the largest weight there may be, and public; left out, it is the largest
      len(data).
    * ``evaluate``: how good global weights are, on held-out data. ``weights``: those to start from, a list
      of float arrays.
    * ``backend``, ``encoding``, ``checks``: of the secure sum.
    * ``metric_bounds``: which of the clients' metrics travel in it too, each cut to ±bound; ``{}`` for none.
    * ``fraction`` of the clients is sampled in each round, and ``dropout`` of these go silent in it.
    * ``attack``: which clients send malformed messages or boosted updates.
    * ``offline_key_holders``: so many never answer, drawn anew in each round; no more than the backend, a
      ``ThresholdPaillier``, can do without.
    * ``seed``: of sampling, dropouts, local training and rounding. Keys and masks come from the system.
    * ``server_learning_rate``: the global model moves by so many times the mean update.

    After each round, ``weights`` are the global model and ``history`` has one report more. What is computed
    depends on seed, history and weights only, and not on the backend: every backend returns the same sums.
    An update that is not finite is refused by the check ``local``, and the round goes on without it; what
    ``training`` raises reaches whoever runs the loop. ``LocalError`` names a field that cannot be used.

        import torch
        from fl import FederatedLoop, RoundFinished, TorchTraining, generator, initial_weights, load_digits
        from fl import Purpose, partition_iid
        from secagg import Masking

        def network():
            return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))

        digits, held_out = load_digits(seed=0)
        parts = partition_iid(digits, 4, generator(0, Purpose.PARTITION))
        training = TorchTraining(network, epochs=2, batch_size=32, learning_rate=0.1)
        loop = FederatedLoop(
            clients=dict(zip(["ana", "bo", "cy", "dee"], parts)),
            training=training,
            evaluate=lambda weights: training.evaluate(weights, held_out),
            weights=initial_weights(network, seed=0),
            backend=Masking(threshold=3),
        )
        for event in loop.run(rounds=3):
            if isinstance(event, RoundFinished):
                print(event.report.round, event.report.accuracy)
    """

    clients: Mapping[str, Any] = field(repr=False)
    training: LocalTraining = field(repr=False)
    evaluate: Callable[[Weights], Evaluation] = field(repr=False)
    weights: Weights = field(repr=False)
    backend: Backend
    encoding: FixedPoint = field(default_factory=FixedPoint)
    checks: Sequence[Check] = ()
    fraction: float = 1.0
    dropout: float = 0.0
    attack: Attack | None = None
    offline_key_holders: int = 0
    seed: int = 0
    server_learning_rate: float = 1.0
    max_weight: int | None = None
    metric_bounds: Mapping[str, float] = field(default_factory=lambda: {"loss": LOSS_BOUND, "accuracy": 1.0})
    history: list[RoundReport] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        check_loop(self)

    def run(self, rounds: int) -> Iterator[Event]:
        """Rounds up to number ``rounds``, from the one after the last in ``history``.

        A round that is not finished leaves no trace: whoever stops here and runs again gets it once more.
        A round that the protocol aborts leaves the model as it was, and the next one follows. ``LocalError``
        for fields that cannot be used, and for updates of another type or shape than the weights'.
        """
        check_rounds_asked(rounds)
        check_loop(self)
        if len(self.history) < rounds:
            if holders := keys_to_make(self.backend):
                yield KeysStarted(self.backend.name, holders)
            self.backend = self.backend.setup(SystemTape())
        # A new one for each call: of the session before, the round that was interrupted may have been opened.
        session = SystemTape().read(SESSION_BYTES)
        for number in range(len(self.history) + 1, rounds + 1):
            yield from self._round(number, session)

    def _round(self, number: int, session: bytes) -> Iterator[Event]:
        draw = generator(self.seed, Purpose.SAMPLING, number)
        participants = tuple(sample_clients(tuple(self.clients), self.fraction, draw))
        silent, offline = self._draw_silent(number, participants), self._draw_offline(number)
        setting = _Setting(number, session, participants, silent, offline)
        yield RoundStarted(number, participants)
        places = {name: place for place, name in enumerate(self.clients)}
        active = [name for name in participants if name not in setting.silent]
        wanted = Requirements(
            self.weights, tuple(self.metric_bounds), largest_weight(self.clients, self.max_weight)
        )
        updates: dict[str, LocalUpdate] = {}
        refused: dict[str, Refused] = {}
        seconds = 0.0
        for done, name in enumerate(active, start=1):
            begin = time.perf_counter()
            seed = int(generator(self.seed, Purpose.TRAINING, number, places[name]).integers(2**63))
            trained = accept(name, self.training(self.weights, self.clients[name], seed), wanted)
            seconds += time.perf_counter() - begin
            if isinstance(trained, Refused):
                refused[name] = trained
            else:
                updates[name] = trained
            yield ClientTrained(number, name, done, len(active))
        yield AggregationStarted(number, self.backend.name)
        self.weights, report = self._finish(setting, updates, refused, seconds)
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

    def _draw_offline(self, number: int) -> tuple[PartyId, ...]:
        """Which key holders never answer in a round, drawn anew in each: any set of them comes up."""
        holders = key_holders(self.backend)
        draw = generator(self.seed, Purpose.OFFLINE, number)
        chosen = draw.choice(len(holders), self.offline_key_holders, replace=False) if holders else ()
        return tuple(holders[place] for place in sorted(chosen))

    def _finish(
        self,
        setting: _Setting,
        updates: Mapping[str, LocalUpdate],
        refused: Mapping[str, Refused],
        training_seconds: float,
    ) -> tuple[Weights, RoundReport]:
        """The secure sum, the new global weights, and how good they are."""
        begin = time.perf_counter()
        traffic = Traffic()
        weights = self.weights
        outcome = self._sum(setting, updates, traffic)
        if isinstance(outcome, AggregateResult):
            weights = apply_update(weights, outcome.mean, self.server_learning_rate)
        evaluation = self._evaluate(weights)
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
            clipped=clipped_share(updates, self.encoding.clip),
            offline=tuple(map(str, setting.offline)),
        )
        return weights, told(report, outcome, refused)

    def _evaluate(self, weights: Weights) -> Evaluation:
        found = self.evaluate(weights)
        if not isinstance(found, Evaluation):
            raise LocalError("evaluate", type(found).__name__, "must return an Evaluation")
        return found

    def _sum(
        self, setting: _Setting, updates: Mapping[str, LocalUpdate], traffic: Traffic
    ) -> AggregateResult | AbortError:
        bounds = {name: float(bound) for name, bound in self.metric_bounds.items()}
        # Whoever is silent never gets to send an input, so there was no need for one: whoever drops out
        # trains nothing, and an update that was refused at home stays there.
        nothing = LocalUpdate([np.zeros_like(t) for t in self.weights], 1, dict.fromkeys(bounds, 0.0))
        phase = self.backend.input_phase
        silent = {name: phase for name in setting.participants if name not in updates} | dict(setting.silent)
        inputs = {name: updates.get(name, nothing) for name in setting.participants}
        max_weight = largest_weight(self.clients, self.max_weight)
        backend, tamper = self.backend, None
        if self.attack is not None:
            inputs = {name: self.attack.input(name, one, max_weight) for name, one in inputs.items()}
            backend, tamper = self.attack.mount(backend, setting.participants, silent)
        try:
            return aggregate(
                {name: one.update for name, one in inputs.items()},
                backend=backend,
                encoding=self.encoding,
                weights={name: one.weight for name, one in inputs.items()},
                max_weight=max_weight,
                metrics={name: one.metrics for name, one in inputs.items()},
                metric_bounds=bounds,
                checks=self.checks,
                drop=silent,
                session=setting.session,
                round=setting.number,
                model_hash=weights_hash(self.weights),
                encoder_tape=SeededTape(f"rounding, seed {self.seed}, round {setting.number}".encode()),
                conditions=Conditions(
                    offline=setting.offline,
                    clock=time.perf_counter,
                    tamper=tamper,
                    observe=traffic.observe,
                ),
            )
        except AbortError as error:
            return error


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is settled before training: who takes part, who goes silent in which phase, who never answers."""

    number: int
    session: bytes
    participants: tuple[str, ...]
    silent: Mapping[str, str]
    offline: tuple[PartyId, ...]


def weights_hash(weights: Weights) -> bytes:
    """SHA-256 over type, shape and values of each array: what the parties agree to train from."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.name} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.digest()
