"""A whole round of proved shares in one process, with clients that cheat in it, as a table and JSON.

    python -m bench.proved_round --clients 100 --length 1000000 --over 5 --malformed 5

Clients are made and played one at a time, so that what is held does not depend on how many there are.
``--over`` of them send a well-formed vector ten times as long as the bound and forge the proof;
``--malformed`` send what is no input. The round must refuse exactly these, each for its reason, and sum up
the others.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from rich.console import Console
from rich.table import Table

from fl.attacks import out_of_range, wrong_length
from fl.boosting import WithForgers
from fl.insiders import Lie, WithInsiders
from mpc.party import SERVER, Message, Party, PartyId, Role, client_id
from mpc.tape import SeededTape, SystemTape
from secagg.backend import Backend
from secagg.checks import Check, NormBound
from secagg.client import RoundClient
from secagg.cohort import Cohort
from secagg.encoding import FixedPoint, Plan
from secagg.server import Aggregate
from secagg.sharing import SecretSharing

NORM, MAX_WEIGHT = 1.0, 10_000
METRICS = {"loss": 10.0, "accuracy": 1.0}


def garbage(backend: Backend, client: RoundClient, message: Message) -> Message:
    """The first kilobyte of the last box is something else."""
    payload = bytearray(message.payload)
    start = max(0, len(payload) - 1024)
    payload[start:] = SystemTape().read(len(payload) - start)
    return replace(message, payload=bytes(payload))


# What a malformed input is, in turn, and the end of the reason for which it is refused.
MALFORMED: tuple[tuple[Lie, str], ...] = (
    (wrong_length, "wrong length"),
    (out_of_range, "holds a number that is not a field element"),
    (garbage, "does not open"),
)


@dataclass
class Round:
    """The parties that stay for all of it, what each role has spent, and what clients sent."""

    parties: dict[PartyId, Party[Any]]
    seconds: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    waiting: deque[Message] = field(default_factory=deque)

    def act(self, who: PartyId, action: Callable[[], list[Message]]) -> None:
        begin = time.process_time()
        messages = action()
        self.seconds[name(who)] += time.process_time() - begin
        for message in messages:
            self.sent[name(who)] += message.size
            self.waiting.append(message)

    def deliver(self) -> None:
        """All that is on the way, and what comes of it."""
        while self.waiting:
            message = self.waiting.popleft()
            self.act(message.receiver, lambda m=message: self.parties[m.receiver].receive(m))


def name(who: PartyId) -> str:
    return str(who) if who.role is Role.AGGREGATOR else who.role.title


def update(index: int, length: int, norm: float) -> np.ndarray:
    found = np.random.default_rng([7, index]).standard_normal(length, dtype=np.float32)
    found *= np.float32(norm) / np.linalg.norm(found)
    return found


def encode(plan: Plan, index: int, norm: float) -> np.ndarray:
    metrics = {"loss": 2.0 + index / 1000, "accuracy": 0.5}
    tape = SeededTape(b"rounding %d" % index)
    tensor = update(index, plan.coordinates, norm)
    return plan.encode([tensor], MAX_WEIGHT, metrics, tape, client=f"client-{index}").vector


def play(clients: int, length: int, over: int, malformed: int, aggregators: int) -> dict[str, Any]:
    """The round, checked; what it took."""
    names = tuple(f"client-{index}" for index in range(clients))
    spread = np.random.default_rng(3).permutation(clients).tolist()
    forgers, others = spread[:over], spread[over : over + malformed]
    lies = {index: MALFORMED[place % len(MALFORMED)] for place, index in enumerate(others)}
    inner = SecretSharing(aggregators, threshold=0.5).setup()
    insiders = WithInsiders(inner, {names[index]: lie for index, (lie, _) in lies.items()})
    backend = WithForgers(insiders, [names[index] for index in forgers])
    plan = FixedPoint(clip=1.0, bits=16).plan(
        (length,), clients=clients, max_weight=MAX_WEIGHT, metrics=METRICS
    )
    checks: list[Check] = [NormBound(NORM, plan)]
    link_key = SystemTape().read(32)
    public = X25519PrivateKey.from_private_bytes(link_key).public_key().public_bytes_raw()
    threshold = backend.resolve_threshold(clients)
    cohort = Cohort(SystemTape().read(16), 0, names, threshold, plan.length, 16, public)
    server = backend.server(cohort, link_key=link_key, checks=checks, tape=SystemTape())
    helpers = backend.helpers(cohort, checks=checks, tape=SystemTape())
    playing, before = Round({SERVER: server, **helpers}), memory()
    total = np.zeros(plan.length, np.int64)
    begin = time.perf_counter()
    for index, client in enumerate(names):
        vector = encode(plan, index, 10 * NORM if index in forgers else 0.9 * NORM)
        if index not in forgers and index not in lies:
            total += vector

        def start(client: str = client, vector: np.ndarray = vector) -> list[Message]:
            made = backend.client(cohort, client, vector, checks=checks, tape=SystemTape())
            return made.start()

        playing.act(client_id(index), start)
        playing.deliver()
    while server.result is None:
        playing.act(SERVER, server.expire)
        playing.deliver()
    wall = time.perf_counter() - begin
    require_exact(server.result, total, forgers, {index: why for index, (_, why) in lies.items()})
    declared = {proved: inner.cost(cohort, checks if proved else ()) for proved in (True, False)}
    uploads = {proved: cost.sent_by_each(Role.CLIENT, clients) for proved, cost in declared.items()}
    return {
        "clients": clients,
        "length": length,
        "over": over,
        "malformed": malformed,
        "aggregators": aggregators,
        "rejected": {names[index]: str(why.reason) for index, why in sorted(server.result.rejected.items())},
        "seconds": dict(playing.seconds),
        "sent_bytes": dict(playing.sent),
        "upload_bytes_per_client": uploads[True],
        "extra_upload_percent": 100 * (uploads[True] / uploads[False] - 1),
        "wall_seconds": wall,
        "memory_before_bytes": before,
        "memory_peak_bytes": memory(),
    }


def require_exact(found: Aggregate, total: np.ndarray, forgers: list[int], malformed: dict[int, str]) -> None:
    """Exactly those are refused, for their reasons, and the sum is the plain one of the others."""
    assert found.rejected.keys() == {*forgers, *malformed}, sorted(found.rejected)
    for index, rejection in found.rejected.items():
        expected = (
            ("structural", malformed[index]) if index in malformed else ("norm", "its proof is refused")
        )
        assert rejection.check == expected[0], rejection
        assert expected[1] in rejection.reason, rejection
    assert np.array_equal(found.total, total)


def memory() -> int:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def table(found: dict[str, Any]) -> Table:
    title = f"{found['clients']} clients, {found['length']:,} coordinates, {found['aggregators']} aggregators"
    made = Table("role", "CPU seconds", "of that per client", "sent", title=title)
    for role, seconds in found["seconds"].items():
        each, sent = seconds / found["clients"], found["sent_bytes"].get(role, 0)
        made.add_row(role, f"{seconds:.2f}", f"{1e3 * each:.1f} ms", f"{sent / 1e6:,.2f} MB")
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--clients", type=int, default=10)
    options.add_argument("--length", type=int, default=100_000)
    options.add_argument("--over", type=int, default=1)
    options.add_argument("--malformed", type=int, default=1)
    options.add_argument("--aggregators", type=int, default=2)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    found = play(given.clients, given.length, given.over, given.malformed, given.aggregators)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")
    console = Console()
    console.print(table(found))
    for client, reason in found["rejected"].items():
        console.print(f"refused: {client}: {reason}", highlight=False)
    grown = found["memory_peak_bytes"] - found["memory_before_bytes"]
    console.print(
        f"An upload has {found['upload_bytes_per_client']:,} bytes, {found['extra_upload_percent']:.2f} % "
        f"more than without a proof. {found['wall_seconds']:.1f} s in all; the process held at most "
        f"{found['memory_peak_bytes'] / 1e6:,.0f} MB, {grown / 1e6:,.0f} MB more than at the start. "
        "The sum is that of all others, to the bit.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
