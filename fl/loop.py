"""The default job: federated training of a small network on bundled digits (spec section 15).

:func:`train` tells what happens as a stream of events (``fl.events``). For a model and data of your own,
use the loop that it runs: ``fl.federated.FederatedLoop``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fl.attacks import Attack, choose_attackers
from fl.backends import check_feasible, make_backend
from fl.checkpoint import Checkpoint, load, save
from fl.client import (
    DIGITS_SERVER_LEARNING_RATE,
    Evaluation,
    LocalUpdate,
    TorchTraining,
    digits_training,
)
from fl.config import TrainingConfig
from fl.data import Dataset, Purpose, generator, load_digits, partition_dirichlet, partition_iid
from fl.events import Event, RoundFinished, RoundReport, TrainingFinished, TrainingStarted
from fl.federated import FederatedLoop
from fl.model import Weights, digits_network, initial_weights
from mpc.errors import LocalError
from secagg.backend import Backend
from secagg.checks import NormBound
from secagg.encoding import FixedPoint

MIN_SAMPLES = 10  # of a client, where there are enough to go round


def train(config: TrainingConfig, *, checkpoint: Path | None = None, resume: bool = False) -> Iterator[Event]:
    """The default job: a small network on the bundled digits, spread over clients and trained by ``config``.

    ``checkpoint``: a file that holds the training after each round, written before ``RoundFinished`` is
    told, whole or not at all; it must not be there yet. ``resume``: it is there, and the training goes on
    from it, to the same model as if it had never stopped.

    Everything that can be refused is refused at once, before the first event: ``LocalError`` for a
    configuration under which no round could succeed, a missing extra, and a checkpoint that is missing,
    damaged, of another configuration or of more rounds. Needs the extra ``demo``.
    """
    backend = make_backend(config)
    check_feasible(config, backend)
    saved = _saved(config, checkpoint, resume)
    loop = _digits_loop(config, backend)
    if saved is not None:
        loop.weights = saved.weights
        loop.history = [RoundReport.from_dict(one) for one in saved.history]
    return _events(config, loop, checkpoint)


def _events(config: TrainingConfig, loop: FederatedLoop, checkpoint: Path | None) -> Iterator[Event]:
    parameters = sum(array.size for array in loop.weights)
    accuracy = loop.evaluate(loop.weights).accuracy
    yield TrainingStarted(config, parameters, len(loop.history), accuracy, tuple(loop.history))
    for event in loop.run(config.rounds):
        if isinstance(event, RoundFinished) and checkpoint is not None:
            history = [report.to_dict() for report in loop.history]
            state = Checkpoint(
                config.fingerprint(), event.report.round, loop.weights, history, config.decisive()
            )
            save(checkpoint, state)
        yield event
    yield TrainingFinished(loop.history[-1].accuracy, tuple(loop.history))


def _saved(config: TrainingConfig, checkpoint: Path | None, resume: bool) -> Checkpoint | None:
    if not resume:
        if checkpoint is not None and checkpoint.exists():
            raise LocalError("checkpoint", str(checkpoint), "exists already: resume from it, or remove it")
        return None
    if checkpoint is None:
        raise LocalError("resume", resume, "needs a checkpoint to resume from")
    saved = load(checkpoint, config.fingerprint(), config.decisive())
    if saved.round > config.rounds:
        raise LocalError("rounds", config.rounds, f"the checkpoint has finished {saved.round} rounds already")
    return saved


def _digits_loop(config: TrainingConfig, backend: Backend) -> FederatedLoop:
    dataset, held_out = load_digits(config.seed)
    draw = generator(config.seed, Purpose.PARTITION)
    if config.partition == "iid":
        parts = partition_iid(dataset, config.clients, draw)
    else:
        minimum = max(1, min(MIN_SAMPLES, len(dataset) // config.clients))
        parts = partition_dirichlet(dataset, config.clients, config.alpha, draw, minimum)
    attackers = choose_attackers(config.names, config.malicious, config.seed)
    training = _OneThread(digits_training())
    initial = int(generator(config.seed, Purpose.INITIAL_MODEL).integers(2**63))
    return FederatedLoop(
        clients=dict(zip(config.names, parts, strict=True)),
        training=training,
        evaluate=lambda weights: training.evaluate(weights, held_out),
        weights=initial_weights(digits_network, initial),
        backend=backend,
        encoding=FixedPoint(config.clip, config.bits),
        checks=[NormBound(config.norm_bound)] if config.check == "norm" else [],
        fraction=config.fraction,
        dropout=config.dropout,
        attack=Attack(config.attack, attackers) if attackers else None,
        offline_key_holders=config.offline_key_holders,
        seed=config.seed,
        server_learning_rate=DIGITS_SERVER_LEARNING_RATE,
    )


@dataclass(frozen=True)
class _OneThread:
    """A small network trains fastest on one thread, and then its sums do not depend on how many there are."""

    inner: TorchTraining

    def __call__(self, weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
        with _one_torch_thread():
            return self.inner(weights, data, seed)

    def evaluate(self, weights: Weights, data: Dataset) -> Evaluation:
        with _one_torch_thread():
            return self.inner.evaluate(weights, data)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
