"""Masking: a client beside the bare keystream-and-add loop, and a whole server (spec section 12).

Run: ``pytest bench/bench_masking.py``; the groups' ratios are in the table's brackets.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc.party import Message, PartyId
from mpc.tape import SeededTape
from secagg.cohort import Cohort
from secagg.masking.client import MaskingClient
from secagg.masking.messages import INPUT
from secagg.masking.server import MaskingServer

NEIGHBOURS = 20
LENGTH = 10**6
BLOCK = 128 * 1024


def make_cohort(clients: int, length: int, threshold: int) -> Cohort:
    key = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    members = tuple(f"client-{index}" for index in range(clients))
    return Cohort(bytes(16), 0, members, threshold, length, 16, key)


class Round:
    """A round without links and checks, taken to where masked inputs are due."""

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        rng = np.random.default_rng(7)
        self.vector = rng.integers(-cohort.max_entry, cohort.max_entry, cohort.length, dtype=np.int32)
        self.server = MaskingServer(cohort, (), SeededTape(b"server"))
        self.clients = [
            MaskingClient(cohort, name, self.vector, (), SeededTape(name.encode())) for name in cohort.members
        ]
        key_lists = [reply for client in self.clients for reply in self.to_server(client.start())]
        shares = [message for key_list in key_lists for message in self.to_client(key_list)]
        self.relayed = self.to_server(shares)

    def to_server(self, messages: list[Message]) -> list[Message]:
        return [reply for message in messages for reply in self.server.receive(message)]

    def to_client(self, message: Message) -> list[Message]:
        return self.clients[message.receiver.index].receive(message)


def bare_loop(total: np.ndarray[Any, Any], keys: int) -> None:
    """Keystreams added block by block, with nothing around it: what no masking client can do without."""
    streams = [Cipher(algorithms.AES(bytes([i] * 16)), modes.GCM(bytes(12))).encryptor() for i in range(keys)]
    zeros, buffer = memoryview(bytes(BLOCK)), bytearray(BLOCK + 16)
    mask = np.frombuffer(buffer, np.uint32, BLOCK // 4)
    for start in range(0, total.size, mask.size):
        part = total[start : start + mask.size]
        for stream in streams:
            stream.update_into(zeros[: part.nbytes], buffer)
            np.add(part, mask[: part.size], out=part)


@pytest.fixture(scope="module")
def small_round() -> Round:
    return Round(make_cohort(NEIGHBOURS + 1, LENGTH, 14))


@pytest.mark.benchmark(group="client-20-neighbours-1e6")
def test_bare_keystream_and_add(benchmark: Any) -> None:
    total = np.zeros(LENGTH, np.uint32)
    benchmark.pedantic(bare_loop, args=(total, NEIGHBOURS), rounds=30, warmup_rounds=3)


@pytest.mark.benchmark(group="client-20-neighbours-1e6")
def test_client_masked_input(benchmark: Any, small_round: Round) -> None:
    """From the relayed shares to the message on the wire: unsealing, masks, packing."""
    client, relayed = small_round.clients[0], small_round.relayed[0]
    secrets = dict(client._mask_secrets)
    assert len(secrets) == NEIGHBOURS

    def prepare() -> None:
        client.state, client._vector, client._mask_secrets = "shared", small_round.vector, dict(secrets)

    (message,) = benchmark.pedantic(
        client.receive, args=(relayed,), setup=prepare, rounds=30, warmup_rounds=3
    )
    ideal = LENGTH * small_round.cohort.sum_bits / 8
    benchmark.extra_info["upload / ideal packed bytes"] = message.size / ideal
    assert message.phase == INPUT


@pytest.mark.benchmark(group="server-100-clients-1e5-10-dropped")
def test_server_whole_round(benchmark: Any) -> None:
    """All of the server's work in a round of which 10 clients drop out before their masked input."""
    cohort = make_cohort(100, 10**5, 67)
    script = recorded_round(cohort, dropped=10)

    def serve(server: MaskingServer) -> MaskingServer:
        for message in script:
            if message is None:
                server.expire()
            else:
                server.receive(message)
        return server

    def fresh() -> tuple[tuple[MaskingServer], dict[str, Any]]:
        return (MaskingServer(cohort, (), SeededTape(b"server")),), {}

    server = benchmark.pedantic(serve, setup=fresh, rounds=10, warmup_rounds=1)
    assert server.result is not None
    assert len(server.result.survivors) == 90
    server = fresh()[0][0]
    tracemalloc.start()
    serve(server)
    benchmark.extra_info["peak MB beyond the inputs"] = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()


def recorded_round(cohort: Cohort, dropped: int) -> list[Message | None]:
    """What a server receives in a round, deadlines as None."""
    run = Round(cohort)
    script: list[Message | None] = []
    clients = [
        MaskingClient(cohort, name, run.vector, (), SeededTape(name.encode())) for name in cohort.members
    ]
    server = MaskingServer(cohort, (), SeededTape(b"server"))
    silent: set[PartyId] = set()
    inbox = [message for client in clients for message in client.start()]

    def step(receive: Callable[[], list[Message]]) -> list[Message]:
        return [reply for out in receive() for reply in clients[out.receiver.index].receive(out)]

    while server.result is None:
        replies: list[Message] = []
        for message in inbox:
            if message.phase == INPUT and message.sender.index < dropped:
                silent.add(message.sender)
            if message.sender not in silent:
                script.append(message)
                replies += step(lambda m=message: server.receive(m))  # type: ignore[misc]
        if not replies and server.result is None:
            script.append(None)
            replies = step(server.expire)
        inbox = replies
    return script
