"""Eight lanes of AVX-512 IFMA beside GMP: the four loops that Paillier spends its time in, on one thread.

Run with ``pytest bench/bench_modulus.py --benchmark-timer=time.process_time``. Groups put both kinds side by
side: the ratios are the study's result. Where the processor has no IFMA, GMP's is all there is.
"""

from __future__ import annotations

import gmpy2
import pytest
from gmpy2 import mpz
from pytest_benchmark.fixture import BenchmarkFixture

from mpc.tape import SeededTape
from secagg.kernels import lanes
from secagg.paillier.fixedbase import FixedBase
from secagg.paillier.lanemodulus import LaneModulus
from secagg.paillier.modulus import GmpModulus, Modulus

COUNT = 16
ROW = 752  # ciphertexts of 10^5 entries of 16 bits from 100 clients, at 3072 bits
KINDS = [
    pytest.param(GmpModulus, id="gmp"),
    pytest.param(
        LaneModulus, id="lanes", marks=pytest.mark.skipif(not lanes.available(), reason="no AVX-512 IFMA")
    ),
]
KEY_BITS = [2048, 3072, 4096]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def odd(bits: int) -> mpz:
    """Of that many bits, and without factors that a random number would have."""
    return gmpy2.next_prime(mpz(SeededTape(b"modulus").below(1 << bits)) >> 1 | 1 << (bits - 1))


def numbers(modulus: mpz, count: int) -> list[mpz]:
    tape = SeededTape(b"numbers")
    return [mpz(tape.below(int(modulus))) for _ in range(count)]


@pytest.mark.parametrize("key_bits", KEY_BITS)
@pytest.mark.parametrize("kind", KINDS)
def test_lift(benchmark: BenchmarkFixture, kind: type[Modulus], key_bits: int) -> None:
    """A secret exponent p modulo p²: half of what opens a ciphertext."""
    benchmark.group = f"u^p mod p², {key_bits}-bit keys, {COUNT} of them, secret exponent"
    modulus, exponent = kind(odd(key_bits)), odd(key_bits // 2)
    bases = numbers(modulus.value, COUNT)
    modulus.powers(bases[:8], mpz(3))
    result = benchmark.pedantic(modulus.powers, (bases, exponent), rounds=5)
    assert result[0] == gmpy2.powmod(bases[0], exponent, modulus.value)


@pytest.mark.parametrize("key_bits", KEY_BITS)
@pytest.mark.parametrize("kind", KINDS)
def test_textbook_randomizer(benchmark: BenchmarkFixture, kind: type[Modulus], key_bits: int) -> None:
    """A public exponent n modulo n²: encryption under a textbook key; opening with a shared one."""
    benchmark.group = f"r^n mod n², {key_bits}-bit keys, {COUNT} of them, public exponent"
    n = odd(key_bits)
    modulus = kind(n * n)
    bases = numbers(n, COUNT)
    modulus.powers(bases[:8], mpz(3))
    benchmark.pedantic(modulus.powers, (bases, n), {"public": True}, rounds=5)


@pytest.mark.parametrize("key_bits", KEY_BITS)
@pytest.mark.parametrize("kind", KINDS)
def test_comb(benchmark: BenchmarkFixture, kind: type[Modulus], key_bits: int) -> None:
    """h_s^a modulo n² from a table of 8 MiB: what a client does."""
    benchmark.group = f"h_s^a mod n², {key_bits}-bit keys, 8 MiB table, {ROW} of them"
    bits = {2048: 352, 3072: 400, 4096: 472}[key_bits]
    n = odd(key_bits)
    table = FixedBase(mpz(3) ** 1000, kind(n * n), bits)
    exponents = numbers(mpz(1) << bits, ROW)
    table.powers(exponents[:8])
    benchmark.pedantic(table.powers, (exponents,), rounds=5)


@pytest.mark.parametrize("key_bits", KEY_BITS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows(benchmark: BenchmarkFixture, kind: type[Modulus], key_bits: int) -> None:
    """One client's ciphertexts, checked and multiplied into the running product: what the server does."""
    benchmark.group = f"check and multiply a row mod n², {key_bits}-bit keys, {ROW} of them"
    n = odd(key_bits)
    modulus = kind(n * n)
    row = b"".join(number.to_bytes(modulus.row_bytes, "little") for number in numbers(n * n, ROW))
    product = modulus.running_product()
    product.multiply(row)

    def take() -> None:
        assert modulus.first_non_unit(row) is None
        product.multiply(row)

    benchmark.pedantic(take, rounds=10, warmup_rounds=1)
