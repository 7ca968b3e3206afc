"""One whole round of each backend, side by side: 20 clients, 16 bits, 2 dropped before their input.

Run: ``pytest bench/bench_backends.py --benchmark-json=backends.json``, then
``python bench/plot_backends.py backends.json docs/backends.svg``.

A round's time is everybody's. ``extra_info`` has what one client spends and sends, and what server and
helpers spend together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from mpc.party import Role
from mpc.tape import SeededTape, SystemTape
from secagg import Conditions, InsecurePlain, Masking, Paillier, SecretSharing, aggregate
from secagg.backend import Backend

CLIENTS, DROPPED = 20, 2
BACKENDS: dict[str, Callable[[], Backend]] = {
    "plain": InsecurePlain,
    "masking": Masking,
    "sharing": partial(SecretSharing, 2),
    "paillier": partial(Paillier, 3072),
}


# Paillier at 10^6 takes minutes, in proportion to the length.
CASES = [
    (name, length)
    for length in (10**4, 10**5, 10**6)
    for name in BACKENDS
    if (name, length) != ("paillier", 10**6)
]


@pytest.mark.parametrize(("name", "length"), CASES)
def test_round(benchmark: Any, name: str, length: int) -> None:
    benchmark.group = f"a round of {CLIENTS} clients, {length} values"
    backend = BACKENDS[name]().setup(SystemTape())
    rng = np.random.default_rng(7)
    updates = {f"client-{i}": rng.uniform(-1, 1, length).astype(np.float32) for i in range(CLIENTS)}
    drop = {f"client-{i}": "input" for i in range(DROPPED)}
    encoder = SeededTape(b"rounding")

    def run() -> Any:
        conditions = Conditions(clock=time.process_time)
        return aggregate(updates, backend=backend, drop=drop, encoder_tape=encoder, conditions=conditions)

    result = benchmark.pedantic(run, rounds=3 if name == "paillier" else 7, warmup_rounds=1)
    assert len(result.survivors) == CLIENTS - DROPPED
    spent = dict.fromkeys(Role, 0.0)
    for (_, role), seconds in result.transcript.seconds.items():
        spent[role] += seconds
    sent = backend.cost(result.cohort).sent_by_each(Role.CLIENT, CLIENTS)
    benchmark.extra_info.update(
        backend=name,
        length=length,
        client_seconds=spent.pop(Role.CLIENT) / CLIENTS,
        servers_seconds=sum(spent.values()),
        client_bytes=sent,
        ideal_bytes=length * result.cohort.sum_bits / 8,
    )
