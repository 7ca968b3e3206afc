"""Secret sharing, with and without proofs: what a client and an aggregator compute, and what they hold.

Run with ``pytest bench/bench_sharing.py --benchmark-timer=time.process_time``. Everything is compared with
the inner product of two Field64 vectors of the same length, in the same run: ``extra_info`` has the ratios,
and by how much a proof makes the upload larger.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pytest_benchmark.fixture import BenchmarkFixture

from mpc import field
from mpc.field import Elements
from mpc.flp.field64 import Field64
from mpc.party import SERVER, Message
from mpc.tape import SeededTape, SystemTape
from secagg.checks import NormBound
from secagg.checks.shares import claims_of
from secagg.cohort import Cohort
from secagg.encoding import FixedPoint, Plan
from secagg.sharing import AggregatorKey
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.client import SharingClient
from secagg.sharing.keys import share_context
from secagg.sharing.messages import (
    DECIDE,
    OPEN,
    RELAY,
    Decision,
    JudgedShare,
    RelayedShare,
    SharedInput,
    SumRequest,
)
from secagg.sharing.scheme import PlainShares, ProvedShares, Scheme

LENGTHS = [10**5, 10**6]
NORM = 1.0
CHALLENGE = bytes(32)
KEYS = [AggregatorKey.generate(SeededTape(b"aggregator %d" % index)) for index in range(2)]


@cache
def plan(length: int) -> Plan:
    """``length`` coordinates, a weight of three digits and three metrics."""
    metrics = {"loss": 10.0, "accuracy": 1.0, "seconds": 1e4}
    return FixedPoint(clip=1.0, bits=16).plan((length,), clients=100, max_weight=2**33, metrics=metrics)


@cache
def cohort(length: int, clients: int = 100) -> Cohort:
    key = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    names = tuple(f"client-{index}" for index in range(clients))
    return Cohort(bytes(16), 0, names, 2, plan(length).length, 16, key)


@cache
def vector(length: int) -> np.ndarray:
    update = np.random.default_rng(7).normal(size=length)
    update *= 0.9 * NORM / np.linalg.norm(update)
    metrics = {"loss": 2.0, "accuracy": 0.5, "seconds": 7.0}
    encoded = plan(length).encode([update], 2**33, metrics, SeededTape(b"rounding"), client="client-0")
    return encoded.vector


def plain(length: int, clients: int = 100) -> Scheme:
    return PlainShares(cohort(length, clients).digest, plan(length).length, 2)


def proved(length: int, clients: int = 100) -> Scheme:
    claims = claims_of([NormBound(NORM, plan(length))], cohort(length, clients))
    assert claims is not None
    return ProvedShares(cohort(length, clients).digest, claims, 2)


def elements(length: int, label: bytes) -> Elements:
    return field.random(length, SeededTape(label))


def middle(call: Callable[[], object], repeats: int) -> float:
    """The median of the CPU seconds that ``call`` takes, once it is warm."""
    call()
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        call()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


@cache
def inner_product(length: int) -> float:
    left, right = elements(length, b"left"), elements(length, b"right")
    return middle(lambda: Field64.inner(left, right), 41)


Measure = Callable[[Callable[[], object], int], None]


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Measure:
    """Warms up, times ``call``, and notes what it is in inner products of that length."""

    def run(call: Callable[[], object], length: int) -> None:
        benchmark.group = f"{length} coordinates"
        call()
        benchmark.pedantic(call, rounds=15, iterations=1)
        benchmark.extra_info["inner_product_seconds"] = inner_product(length)
        if benchmark.stats is not None:
            ratio = benchmark.stats["median"] / inner_product(length)
            benchmark.extra_info["inner_products"] = round(ratio, 1)

    return run


@pytest.mark.parametrize("length", LENGTHS)
def test_inner_product(measure: Measure, length: int) -> None:
    left, right = elements(length, b"left"), elements(length, b"right")
    measure(lambda: Field64.inner(left, right), length)


@pytest.mark.parametrize("length", LENGTHS)
def test_plain_split(measure: Measure, length: int) -> None:
    scheme, tape = plain(length), SystemTape()
    measure(lambda: scheme.split(0, vector(length), tape), length)


@pytest.mark.parametrize("length", LENGTHS)
def test_split_and_prove(measure: Measure, benchmark: BenchmarkFixture, length: int) -> None:
    scheme, tape = proved(length), SystemTape()
    measure(lambda: scheme.split(0, vector(length), tape), length)
    extra = sum(scheme.sizes) / sum(plain(length).sizes) - 1
    benchmark.extra_info["upload_bytes"] = sum(scheme.sizes)
    benchmark.extra_info["extra_upload_percent"] = round(100 * extra, 2)


ROLES = pytest.mark.parametrize("aggregator", [0, 1], ids=["leader", "helper"])


@ROLES
@pytest.mark.parametrize("length", LENGTHS)
def test_plain_open_and_add(measure: Measure, length: int, aggregator: int) -> None:
    scheme = plain(length)
    share = bytes(scheme.split(0, vector(length), SystemTape())[aggregator])
    total = np.zeros(scheme.length, np.uint64)

    def count() -> None:
        held, _ = scheme.open(aggregator, 0, share, b"")
        scheme.count(total, aggregator, 0, held, [])

    measure(count, length)


@ROLES
@pytest.mark.parametrize("length", LENGTHS)
def test_verify_and_add(measure: Measure, benchmark: BenchmarkFixture, length: int, aggregator: int) -> None:
    scheme = proved(length)
    shares = [bytes(share) for share in scheme.split(0, vector(length), SystemTape())]
    told = [scheme.open(index, 0, share, CHALLENGE)[1] for index, share in enumerate(shares)]
    total = np.zeros(scheme.length, np.uint64)

    def verify() -> None:
        held, verifier = scheme.open(aggregator, 0, shares[aggregator], CHALLENGE)
        scheme.count(total, aggregator, 0, held, told)
        assert verifier == told[aggregator]

    measure(verify, length)
    benchmark.extra_info["verifier_bytes"] = scheme.verifier_bytes


@pytest.mark.parametrize("length", LENGTHS)
def test_the_server_decides(measure: Measure, length: int) -> None:
    scheme = proved(length)
    shares = [bytes(share) for share in scheme.split(0, vector(length), SystemTape())]
    told = [scheme.open(index, 0, share, CHALLENGE)[1] for index, share in enumerate(shares)]
    assert scheme.objection(told) is None
    measure(lambda: scheme.objection(told), length)


# Memory


def peak(aggregator: int, clients: int, length: int) -> int:
    """The most bytes that an aggregator holds in a round of so many, beyond the message that it reads."""
    group, scheme = cohort(length, clients), proved(length, clients)
    assert isinstance(scheme, ProvedShares)
    sealing = [key.public.sealing for key in KEYS]
    most = 0
    tracemalloc.start()
    begin = tracemalloc.get_traced_memory()[0]
    key = AggregatorKey.import_secret(KEYS[aggregator].export_secret())
    party = Aggregator(group, aggregator, key, scheme)

    def tell(phase: str, payload: bytes) -> list[Message]:
        nonlocal most
        tracemalloc.reset_peak()
        around = tracemalloc.get_traced_memory()[0] - begin - held()
        answers = party.receive(Message(group.session, group.round, phase, SERVER, party.id, payload))
        most = max(most, tracemalloc.get_traced_memory()[1] - begin - around)
        return answers

    def held() -> int:
        return int(party._sum.nbytes) + sum(int(one.output.nbytes) for one in party._pending.values())

    for client, name in enumerate(group.members):
        sender = SharingClient(group, name, vector(length), (), SystemTape(), sealing, scheme)
        (message,) = sender.start()
        boxes = SharedInput.decode(message.payload, scheme.sizes).sealed
        other = 1 - aggregator
        share = KEYS[other].box.unseal(share_context(group.digest, client, other), boxes[other])
        told = {other: scheme.open(other, client, share, CHALLENGE)[1]}
        payload = RelayedShare(client, boxes[aggregator], CHALLENGE).encode()
        del sender, message, boxes, share
        (answer,) = tell(RELAY, payload)
        del payload
        judged = JudgedShare.decode(answer.payload, clients, scheme.verifier_bytes)
        told[aggregator] = judged.verifier
        tell(DECIDE, Decision(client, True, (told[0], told[1])).encode())
    tell(OPEN, SumRequest(tuple(range(clients))).encode(clients))
    tracemalloc.stop()
    return most


@ROLES
def test_an_aggregators_memory_does_not_grow_with_the_cohort(
    benchmark: BenchmarkFixture, aggregator: int
) -> None:
    length = 10**5
    benchmark.group = "memory"
    peak(aggregator, 2, 100)  # compiles
    few = peak(aggregator, 5, length)
    many = benchmark.pedantic(lambda: peak(aggregator, 50, length), rounds=1)
    benchmark.extra_info.update(peak_bytes_of_5=few, peak_bytes_of_50=many, vector_bytes=8 * length)
    assert many < 1.05 * few + 50_000
