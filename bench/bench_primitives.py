"""Vectors over Z_2^b and Field64, and Shamir sharing, at the sizes that a round of secure aggregation has.

Run with ``pytest bench/bench_primitives.py``. In saved JSON, ``ns_per_item`` is the median over ``items``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from mpc import field, shamir
from mpc.field import Elements
from mpc.prg import Keystream
from mpc.ring import BLOCK_BYTES, Lanes, Ring, add_masks
from mpc.tape import SeededTape

LENGTH = 10**6

Measure = Callable[[Callable[[], object], int], None]


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Measure:
    """Warms up, times ``call``, and notes the time per item."""

    def run(call: Callable[[], object], items: int) -> None:
        call()
        benchmark.pedantic(call, rounds=15, iterations=1)
        benchmark.extra_info["items"] = items
        if benchmark.stats is not None:
            benchmark.extra_info["ns_per_item"] = round(benchmark.stats["median"] / items * 1e9, 3)

    return run


def keys(count: int) -> list[bytes]:
    tape = SeededTape(b"keys")
    return [tape.read(16) for _ in range(count)]


def vector(label: bytes, length: int = LENGTH) -> Elements:
    return field.random(length, SeededTape(label))


def lanes_of(ring: Ring) -> Lanes:
    return np.frombuffer(SeededTape(b"lanes").read(LENGTH * ring.lane.itemsize), ring.lane).copy()


@pytest.mark.benchmark(group="masks of 10^6 uint32")
@pytest.mark.parametrize("count", [20, 100])
def test_add_masks(measure: Measure, count: int) -> None:
    total = np.zeros(LENGTH, np.uint32)
    streams = [(key, 1 if i % 2 else -1) for i, key in enumerate(keys(count))]
    measure(lambda: add_masks(total, streams), count * LENGTH)


@pytest.mark.benchmark(group="masks of 10^6 uint32")
@pytest.mark.parametrize("count", [20, 100])
def test_keystreams_alone(measure: Measure, count: int) -> None:
    """The floor under ``add_masks``: the keystreams of one block, over and over, and no addition."""
    zeros, buffer = memoryview(bytes(BLOCK_BYTES)), bytearray(BLOCK_BYTES + 15)

    def run() -> None:
        for key in keys(count):
            keystream = Keystream(key)
            for start in range(0, 4 * LENGTH, BLOCK_BYTES):
                keystream.fill(zeros[: min(BLOCK_BYTES, 4 * LENGTH - start)], buffer)

    measure(run, count * LENGTH)


@pytest.mark.benchmark(group="ring of 10^6 values")
@pytest.mark.parametrize("bits", [16, 21, 23, 32, 40])
@pytest.mark.parametrize("operation", ["encode", "decode", "pack", "unpack", "add_packed"])
def test_ring(measure: Measure, operation: str, bits: int) -> None:
    ring = Ring(bits)
    lanes = lanes_of(ring)
    values, packed = ring.decode(lanes), ring.pack(lanes)
    calls = {
        "encode": lambda: ring.encode(values),
        "decode": lambda: ring.decode(lanes),
        "pack": lambda: ring.pack(lanes),
        "unpack": lambda: ring.unpack(packed, LENGTH),
        "add_packed": lambda: ring.add_packed(lanes, packed),
    }
    measure(calls[operation], LENGTH)


@pytest.mark.benchmark(group="field, 10^6 elements from memory")
@pytest.mark.parametrize("operation", ["add", "sub", "mul", "inner"])
def test_field(measure: Measure, operation: str) -> None:
    left, right = vector(b"left"), vector(b"right")
    measure(lambda: getattr(field, operation)(left, right), LENGTH)


@pytest.mark.benchmark(group="field, 10^6 elements from memory")
@pytest.mark.parametrize("operation", ["scale", "add_into", "batch_inv", "expand", "to_bytes", "from_bytes"])
def test_field_one_vector(measure: Measure, operation: str) -> None:
    elements, total = vector(b"left"), vector(b"right")
    data, key = field.to_bytes(elements), keys(1)[0]
    calls = {
        "scale": lambda: field.mul(elements, 3**40),
        "add_into": lambda: field.add_into(total, elements),
        "batch_inv": lambda: field.batch_inv(elements),
        "expand": lambda: field.expand(key, LENGTH),
        "to_bytes": lambda: field.to_bytes(elements),
        "from_bytes": lambda: field.from_bytes(data),
    }
    measure(calls[operation], LENGTH)


@pytest.mark.benchmark(group="field multiplication, 2^14 elements from cache")
@pytest.mark.parametrize("kernel", ["numba", "python"])
def test_field_multiplication(measure: Measure, kernel: str) -> None:
    left, right = vector(b"left", 1 << 14), vector(b"right", 1 << 14)
    pairs = list(zip(left.tolist(), right.tolist(), strict=True))
    calls = {"numba": lambda: field.mul(left, right), "python": lambda: [a * b % field.P for a, b in pairs]}
    measure(calls[kernel], 1 << 14)


@pytest.mark.benchmark(group="Shamir, two 32-byte secrets")
@pytest.mark.parametrize(("count", "threshold"), [(21, 14), (101, 67), (1000, 667)])
def test_split(measure: Measure, count: int, threshold: int) -> None:
    secrets = vector(b"secrets", 2 * shamir.limbs(32))
    measure(lambda: shamir.split(secrets, threshold, count, SeededTape(b"tape")), count)


@pytest.mark.benchmark(group="Shamir, one 32-byte secret of each client")
@pytest.mark.parametrize(("count", "threshold"), [(21, 14), (101, 67), (1000, 667)])
def test_combine(measure: Measure, count: int, threshold: int) -> None:
    """All secrets were dealt at the same points; the weights are computed anew in each call."""
    width = count * shamir.limbs(32)
    shares = vector(b"shares", threshold * width).reshape(threshold, width)
    measure(lambda: shamir.combine(range(1, threshold + 1), shares), count)
