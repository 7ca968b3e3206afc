"""Flower's SecAgg+ and ours on the same work, stage by stage: see README.md beside this file.

Run: ``pytest bench/peers/bench_flower.py --benchmark-json=peers.json``, then
``python bench/peers/plot_flower.py peers.json docs/peers.svg``.

The table of pytest has wall time. ``extra_info`` has CPU time, of all threads, and bytes.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

pytest.importorskip("flwr")

from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_constants import Stage

from bench.peers.case import BITS, CLIP, MAX_WEIGHT, Case
from bench.peers.flower_round import FlowerRound
from bench.peers.secagg_round import SecaggRound
from secagg.masking.messages import ADVERTISE, INPUT, SHARE, UNMASK

CASES = (Case(21, 10**6), Case(101, 10**5))
ROUNDS = 21  # of everything but Flower's long operations
LONG = 5
BLOCK = 128 * 1024  # bytes: stays in the cache


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request: Any) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture(scope="module")
def flower(case: Case) -> FlowerRound:
    return FlowerRound(case)


@pytest.fixture(scope="module")
def ours(case: Case) -> SecaggRound:
    return SecaggRound(case, signed=False)


@pytest.fixture(scope="module")
def signed(case: Case) -> SecaggRound:
    return SecaggRound(case, signed=True)


@pytest.fixture
def measure(benchmark: Any, case: Case) -> Callable[..., Any]:
    """Runs ``run(*prepare())`` again and again, and notes the median of its CPU time."""

    def run_all(
        stage: str, side: str, run: Callable[..., Any], prepare: Callable[[], Any], rounds: int = ROUNDS
    ) -> Any:
        seconds: list[float] = []

        def timed(*args: Any) -> Any:
            began = time.process_time()
            result = run(*args)
            seconds.append(time.process_time() - began)
            return result

        warm = min(rounds - 1, 1)  # a single round is of a minute: nothing to warm up
        benchmark.group = f"{case}: {stage}"
        result = benchmark.pedantic(timed, setup=lambda: (prepare(), {}), rounds=rounds, warmup_rounds=warm)
        cpu = statistics.median(seconds[warm:])
        fields = {"clients": case.clients, "length": case.length, "stage": stage, "side": side}
        benchmark.extra_info.update(fields, cpu_seconds=cpu)
        return result

    return run_all


def survivors(case: Case) -> Iterator[int]:
    return itertools.cycle(case.survivors)


def add_keystreams(total: NDArray[np.uint32], streams: int) -> None:
    """AES-128 keystreams generated and added block by block, and nothing around it."""
    ciphers = [
        Cipher(algorithms.AES(i.to_bytes(16, "little")), modes.GCM(bytes(12))).encryptor()
        for i in range(streams)
    ]
    zeros, buffer = memoryview(bytes(BLOCK)), bytearray(BLOCK + 16)
    mask = np.frombuffer(buffer, np.uint32, BLOCK // 4)
    for start in range(0, total.size, mask.size):
        part = total[start : start + mask.size]
        for cipher in ciphers:
            cipher.update_into(zeros[: part.nbytes], buffer)
            np.add(part, mask[: part.size], out=part)


# Share-keys: from the list of everybody's keys to the sealed shares on their way.


def test_share_keys_flower(measure: Any, flower: FlowerRound) -> None:
    reply = measure("share-keys", "flower", flower.answer, lambda: flower.task(Stage.SHARE_KEYS), LONG)
    assert not reply.has_error()


def share_keys(measure: Any, round_: SecaggRound, side: str) -> None:
    index = survivors(round_.case)
    (sent,) = measure(
        "share-keys",
        side,
        lambda client, message: client.receive(message),
        lambda: round_.client_before(next(index), SHARE),
    )
    assert sent.phase == SHARE


def test_share_keys_ours(measure: Any, ours: SecaggRound) -> None:
    share_keys(measure, ours, "secagg")


def test_share_keys_ours_signed(measure: Any, signed: SecaggRound) -> None:
    share_keys(measure, signed, "secagg, signed")


def test_share_keys_floor(measure: Any, case: Case) -> None:
    """The two key agreements with each neighbour, nothing else; Flower makes the second when it masks."""
    private = X25519PrivateKey.generate()
    peers = [X25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(case.clients - 1)]
    measure(
        "share-keys",
        "floor",
        lambda: [private.exchange(X25519PublicKey.from_public_bytes(peer)) for peer in peers + peers],
        tuple,
    )


# Mask: from the relayed shares and a float32 update to the masked vector on its way.


def test_mask_flower(measure: Any, benchmark: Any, flower: FlowerRound) -> None:
    stage = Stage.COLLECT_MASKED_VECTORS
    reply = measure("mask", "flower", flower.answer, lambda: flower.task(stage), LONG)
    assert not reply.has_error()
    benchmark.extra_info["masked_input_bytes"] = flower.upload(stage)
    benchmark.extra_info["upload_bytes"] = sum(flower.upload(stage) for stage in flower.replies)


def test_mask_ours(measure: Any, benchmark: Any, ours: SecaggRound) -> None:
    """The vector was encoded when the client was made, and is encoded again here, to be in the time."""
    index = survivors(ours.case)

    def encode_and_mask(client: Any, message: Any) -> Any:
        ours.encode(client.index)
        return client.receive(message)

    (sent,) = measure("mask", "secagg", encode_and_mask, lambda: ours.client_before(next(index), INPUT))
    assert sent.phase == INPUT
    uploads = ours.upload(ours.case.clients - 1)
    benchmark.extra_info["masked_input_bytes"] = uploads[INPUT]
    benchmark.extra_info["upload_bytes"] = sum(uploads.values())
    benchmark.extra_info["ideal_bytes"] = ours.cohort.ring.packed_size(ours.case.length)


def test_mask_floor(measure: Any, case: Case) -> None:
    """The keystreams, generated and added."""
    total = np.zeros(case.length, np.uint32)
    measure("mask", "floor", add_keystreams, lambda: (total, case.clients))


# Encoding alone, which is part of masking above.


def test_encode_flower(measure: Any, case: Case) -> None:
    update: Any = case.updates[-1]
    weight = case.weights[-1] / MAX_WEIGHT
    measure("encode", "flower", lambda: quantize([update * weight], CLIP, 1 << BITS), tuple)


def test_encode_ours(measure: Any, ours: SecaggRound) -> None:
    measure("encode", "secagg", lambda: ours.encode(ours.case.clients - 1), tuple)


# Server: from the clients' shares to the weighted mean.


def test_unmask_flower(measure: Any, benchmark: Any, flower: FlowerRound) -> None:
    rounds = 1 if flower.case.clients > 50 else LONG
    flower.case.check(measure("unmask", "flower", flower.unmask, lambda: (flower.state(),), rounds))
    benchmark.extra_info["earlier_stages_cpu_seconds"] = sum(flower.server_seconds.values())


def test_unmask_ours(measure: Any, ours: SecaggRound) -> None:
    ours.case.check(measure("unmask", "secagg", ours.finish, lambda: ours.server_before(UNMASK)))


def test_unmask_floor(measure: Any, case: Case) -> None:
    """The keystreams to remove: one of each survivor, and of each dropout one with every survivor."""
    total = np.zeros(case.length, np.uint32)
    streams = len(case.survivors) * (1 + case.dropped)
    measure("unmask", "floor", add_keystreams, lambda: (total, streams))


# Everything, so that nothing above was saved at the cost of another stage.


def test_client_flower(measure: Any, flower: FlowerRound) -> None:
    def run(*tasks: Any) -> Any:
        return [flower.answer(*task) for task in tasks]

    measure("client", "flower", run, lambda: [flower.task(stage) for stage in Stage.all()], LONG)


def test_client_ours(measure: Any, ours: SecaggRound) -> None:
    index = survivors(ours.case)

    def run(index: int) -> Any:
        ours.encode(index)
        client, messages = ours.started(index)
        return [reply for message in messages for reply in client.receive(message)]

    sent = measure("client", "secagg", run, lambda: (next(index),))
    assert sent[-1].phase == UNMASK


def test_server_ours(measure: Any, ours: SecaggRound) -> None:
    """Flower's is its unmasking and the ``earlier_stages_cpu_seconds`` noted there."""
    ours.case.check(measure("server", "secagg", ours.finish, lambda: ours.server_before(ADVERTISE)))
