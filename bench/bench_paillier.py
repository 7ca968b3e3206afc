"""Paillier at 3072 bits: pytest-benchmark suites for keys, arithmetic and packing.

Run with ``pytest bench/bench_paillier.py``. Batches are small; a group's name says how many ciphertexts it
handles, and ``extra_info`` holds sizes. Randomness is seeded, so that runs are comparable.
"""

from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from pytest_benchmark.fixture import BenchmarkFixture

from mpc.tape import SeededTape
from secagg.paillier.keys import TABLE_BYTES, FixedBase, PrivateKey, exponent_bits, generate
from secagg.paillier.packing import Packing

BITS = 3072
BATCH = 64
LENGTH = 10**6


@pytest.fixture(scope="module")
def private() -> PrivateKey:
    return generate(BITS, tape=SeededTape(b"bench"))


@pytest.fixture(scope="module")
def plaintexts(private: PrivateKey) -> list[mpz]:
    tape = SeededTape(b"plaintexts")
    return [mpz(tape.below(int(private.public.n))) for _ in range(BATCH)]


@pytest.fixture(scope="module")
def ciphertexts(private: PrivateKey, plaintexts: list[mpz]) -> list[mpz]:
    return private.public.encrypt_many(plaintexts, SeededTape(b"ciphertexts"))


def test_generate(benchmark: BenchmarkFixture) -> None:
    """The time varies by a factor of several from seed to seed: eight keys, one a round."""
    seeds = iter(range(8))
    benchmark.pedantic(lambda: generate(BITS, tape=SeededTape(b"key %d" % next(seeds))), rounds=8)


@pytest.mark.parametrize("mebibytes", [1, TABLE_BYTES >> 20, 32])
def test_table(benchmark: BenchmarkFixture, private: PrivateKey, mebibytes: int) -> None:
    public = private.public
    table = benchmark.pedantic(
        FixedBase, (public.h_s, public.n2, exponent_bits(BITS), mebibytes << 20), rounds=3
    )
    benchmark.extra_info["table_bytes"] = table.table_bytes


@pytest.mark.parametrize("mebibytes", [1, TABLE_BYTES >> 20, 32])
def test_power(benchmark: BenchmarkFixture, private: PrivateKey, mebibytes: int) -> None:
    """One exponentiation on one thread."""
    public = private.public
    table = FixedBase(public.h_s, public.n2, exponent_bits(BITS), mebibytes << 20)
    exponent = mpz.from_bytes(SeededTape(b"exponent").read(exponent_bits(BITS) // 8), "little")
    benchmark(table.powers, [exponent])


def test_power_without_a_table(benchmark: BenchmarkFixture, private: PrivateKey) -> None:
    exponent = mpz.from_bytes(SeededTape(b"exponent").read(exponent_bits(BITS) // 8), "little")
    benchmark(gmpy2.powmod, private.public.h_s, exponent, private.public.n2)


def test_textbook_randomizer(benchmark: BenchmarkFixture, private: PrivateKey) -> None:
    """r^n modulo n²: what encryption costs without a base of its own."""
    unit = mpz(SeededTape(b"unit").below(int(private.public.n)))
    benchmark(gmpy2.powmod, unit, private.public.n, private.public.n2)


def test_encrypt(benchmark: BenchmarkFixture, private: PrivateKey, plaintexts: list[mpz]) -> None:
    tape = SeededTape(b"encrypt")
    benchmark(private.public.encrypt, plaintexts[0], tape)


def test_encrypt_64(benchmark: BenchmarkFixture, private: PrivateKey, plaintexts: list[mpz]) -> None:
    tape = SeededTape(b"encrypt")
    benchmark(private.public.encrypt_many, plaintexts, tape)


def test_decrypt(benchmark: BenchmarkFixture, private: PrivateKey, ciphertexts: list[mpz]) -> None:
    benchmark(private.decrypt, ciphertexts[0])


def test_decrypt_64(benchmark: BenchmarkFixture, private: PrivateKey, ciphertexts: list[mpz]) -> None:
    benchmark(private.decrypt_many, ciphertexts)


def test_add_64(benchmark: BenchmarkFixture, private: PrivateKey, ciphertexts: list[mpz]) -> None:
    benchmark(private.public.add_many, ciphertexts, ciphertexts)


def test_validate_64(benchmark: BenchmarkFixture, private: PrivateKey, ciphertexts: list[mpz]) -> None:
    benchmark(private.public.validate_ciphertexts, ciphertexts)


def test_decode_64(benchmark: BenchmarkFixture, private: PrivateKey, ciphertexts: list[mpz]) -> None:
    data = private.public.encode_ciphertexts(ciphertexts)
    benchmark.extra_info["bytes"] = len(data)
    benchmark(private.public.decode_ciphertexts, data, len(ciphertexts))


@pytest.fixture(scope="module")
def vector() -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    generator = np.random.default_rng(5)
    return generator.integers(-32767, 32768, LENGTH, dtype=np.int32)


def test_pack_a_million(
    benchmark: BenchmarkFixture, vector: np.ndarray[tuple[int], np.dtype[np.int32]]
) -> None:
    packing = Packing(16, 100, BITS)
    benchmark.extra_info["ciphertexts"] = packing.ciphertexts(LENGTH)
    benchmark(packing.pack, vector)


def test_unpack_a_million(
    benchmark: BenchmarkFixture, vector: np.ndarray[tuple[int], np.dtype[np.int32]]
) -> None:
    packing = Packing(16, 100, BITS)
    total = [100 * plaintext for plaintext in packing.pack(vector)]
    result = benchmark(packing.unpack, total, LENGTH, 100)
    np.testing.assert_array_equal(result, 100 * vector.astype(np.int64))
