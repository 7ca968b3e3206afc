"""Paillier at 3072 bits: pytest-benchmark suites for keys, arithmetic, packing, and the three parties.

Run with ``pytest bench/bench_paillier.py``. Batches of the arithmetic are small, and their names say how many
ciphertexts they handle; the parties are timed on 100 clients' vectors of 10^5 entries of 16 bits, and on a
round of the main training job. ``extra_info`` holds sizes. Randomness is seeded, so that runs are comparable.
"""

from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from gmpy2 import mpz
from pytest_benchmark.fixture import BenchmarkFixture

from mpc.party import Message
from mpc.tape import SeededTape
from secagg.aggregate import Conditions, run_round
from secagg.cohort import Cohort
from secagg.paillier import KeyHolderKeys, Paillier, partial
from secagg.paillier.client import PaillierClient
from secagg.paillier.fixedbase import TABLE_BYTES, FixedBase
from secagg.paillier.keyholder import KeyHolder
from secagg.paillier.opening import WholeKey
from secagg.paillier.packing import Packing
from secagg.paillier.private import PrivateKey, generate
from secagg.paillier.public import exponent_bits
from secagg.paillier.server import PaillierServer
from secagg.paillier.sharedkey import KeyShare, SharedKey, deal

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
        FixedBase, (public.h_s, public.modulus, exponent_bits(BITS), mebibytes << 20), rounds=3
    )
    benchmark.extra_info["table_bytes"] = table.table_bytes


@pytest.mark.parametrize("mebibytes", [1, TABLE_BYTES >> 20, 32])
def test_power(benchmark: BenchmarkFixture, private: PrivateKey, mebibytes: int) -> None:
    """One exponentiation, which takes as long as eight where there are lanes (see bench_modulus.py)."""
    public = private.public
    table = FixedBase(public.h_s, public.modulus, exponent_bits(BITS), mebibytes << 20)
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


# The parties


LINK = bytes(range(32))


def make_cohort(clients: int, length: int, round: int = 0) -> Cohort:
    members = tuple(f"client-{index}" for index in range(clients))
    server_key = X25519PrivateKey.from_private_bytes(LINK).public_key().public_bytes_raw()
    return Cohort(bytes(16), round, members, -(-2 * clients // 3), length, 16, server_key)


class Parties:
    """100 clients, the server and the key holder, without links."""

    def __init__(self, private: PrivateKey) -> None:
        self.cohort = make_cohort(100, 10**5)
        self.private = private
        generator = np.random.default_rng(6)
        self.vector = generator.integers(-32767, 32768, self.cohort.length, dtype=np.int32)

    def client(self, index: int) -> PaillierClient:
        name, tape = self.cohort.members[index], SeededTape(b"%d" % index)
        return PaillierClient(self.cohort, name, self.vector, (), tape, self.private.public)

    def server(self) -> PaillierServer:
        return PaillierServer(self.cohort, (), SeededTape(b"server"), WholeKey(self.private.public))

    def key_holder(self) -> KeyHolder:
        (holder,) = WholeKey.holders
        return KeyHolder(self.cohort, holder, KeyHolderKeys(self.private, LINK), SeededTape(b"holder"))

    def inputs(self) -> list[Message]:
        """Two clients encrypt; the others send the same ciphertexts as the one or the other."""
        own = [self.client(index).start()[0] for index in range(2)]
        return [
            Message(own[0].session, 0, own[0].phase, self.client(i).id, own[0].receiver, own[i % 2].payload)
            for i in range(self.cohort.size)
        ]


@pytest.fixture(scope="module")
def parties(private: PrivateKey) -> Parties:
    made = Parties(private)
    made.client(0).start()  # builds the table of powers, once a key
    return made


def test_client_packs_and_encrypts_1e5(benchmark: BenchmarkFixture, parties: Parties) -> None:
    def fresh() -> tuple[tuple[PaillierClient], dict[str, object]]:
        return (parties.client(0),), {}

    (message,) = benchmark.pedantic(PaillierClient.start, setup=fresh, rounds=5)
    benchmark.extra_info["upload bytes"] = len(message.payload)
    benchmark.extra_info["upload / packed plain vector"] = len(message.payload) / (10**5 * 2)


def test_client_online_1e5(benchmark: BenchmarkFixture, parties: Parties) -> None:
    """With randomness prepared beforehand: packing, one product for each ciphertext, encoding."""
    backend = Paillier(public=KeyHolderKeys(parties.private, LINK).public)
    rounds = 10
    backend.prepare(rounds * backend.ciphertexts(parties.cohort), tape=SeededTape(b"prepared"))

    def fresh() -> tuple[tuple[PaillierClient], dict[str, object]]:
        return (backend._client(parties.cohort, "client-0", parties.vector, (), SeededTape(b"")),), {}

    benchmark.pedantic(PaillierClient.start, setup=fresh, rounds=rounds)
    assert backend.prepared == 0


def test_server_checks_and_adds_one_of_1e5(benchmark: BenchmarkFixture, parties: Parties) -> None:
    server, inputs = parties.server(), parties.inputs()
    server.receive(inputs[0])
    waiting = iter(inputs[1:])
    benchmark.pedantic(server.receive, setup=lambda: ((next(waiting),), {}), rounds=20)


def test_key_holder_and_opening_of_1e5(benchmark: BenchmarkFixture, parties: Parties) -> None:
    """From the last input to the sum: lifts and their proof, its verification, unpacking."""
    inputs = parties.inputs()

    def waiting_for_the_last() -> tuple[tuple[PaillierServer, KeyHolder], dict[str, object]]:
        server = parties.server()
        for message in inputs[:-1]:
            server.receive(message)
        return (server, parties.key_holder()), {}

    def finish(server: PaillierServer, holder: KeyHolder) -> PaillierServer:
        (request,) = server.receive(inputs[-1])
        (answer,) = holder.receive(request)
        server.receive(answer)
        return server

    server = benchmark.pedantic(finish, setup=waiting_for_the_last, rounds=2)
    assert server.result is not None
    np.testing.assert_array_equal(server.result.total, 100 * parties.vector.astype(np.int64))


# A key in shares


@pytest.fixture(scope="module")
def shares() -> tuple[SharedKey, tuple[KeyShare, ...]]:
    return deal(3, 2, BITS, tape=SeededTape(b"dealer"))


@pytest.fixture(scope="module")
def answered(
    shares: tuple[SharedKey, tuple[KeyShare, ...]],
) -> tuple[list[mpz], dict[int, partial.PartialOpening]]:
    """752 ciphertexts, as of 10^5 values, and two key holders' answers."""
    shared, keys = shares
    sums = shared.public.encrypt_many([mpz(i) for i in range(752)], SeededTape(b"sums"))
    remainders = [c % shared.public.n for c in sums]
    tape = SeededTape(b"holders")
    return sums, {key.index: partial.answer(key, remainders, b"", tape) for key in keys[:2]}


def test_deal(benchmark: BenchmarkFixture) -> None:
    """Two safe primes: the time varies by a factor of several from seed to seed."""
    seeds = iter(range(4))
    benchmark.pedantic(lambda: deal(3, 2, BITS, tape=SeededTape(b"deal %d" % next(seeds))), rounds=4)


def test_share_holder_answers_1e5(
    benchmark: BenchmarkFixture,
    shares: tuple[SharedKey, tuple[KeyShare, ...]],
    answered: tuple[list[mpz], dict[int, partial.PartialOpening]],
) -> None:
    """One of three key holders: partial roots of 752 remainders, and their proof."""
    shared, keys = shares
    remainders = [c % shared.public.n for c in answered[0]]
    benchmark.pedantic(partial.answer, (keys[0], remainders, b"", SeededTape(b"holder")), rounds=3)


def test_server_opens_1e5_with_two_of_three(
    benchmark: BenchmarkFixture,
    shares: tuple[SharedKey, tuple[KeyShare, ...]],
    answered: tuple[list[mpz], dict[int, partial.PartialOpening]],
) -> None:
    """Combination, lift and check of 752 ciphertexts."""
    found = benchmark.pedantic(partial.open_sums, (shares[0], *answered, b""), rounds=3)
    assert found == [mpz(i) for i in range(752)]


def test_round_of_the_training_job(benchmark: BenchmarkFixture, private: PrivateKey) -> None:
    """20 clients of 4,820 entries, links and all, in one process."""
    backend = Paillier(keys=KeyHolderKeys(private, LINK))
    rounds = iter(range(100))
    generator = np.random.default_rng(7)
    vector = generator.integers(-32767, 32768, 4820, dtype=np.int32)

    def fresh() -> tuple[tuple[object, ...], dict[str, object]]:
        cohort = make_cohort(20, vector.size, next(rounds))
        vectors = dict.fromkeys(cohort.members, vector)
        return (backend, cohort, vectors, LINK, (), {}, SeededTape(b"round"), Conditions()), {}

    total, _ = benchmark.pedantic(run_round, setup=fresh, rounds=5, warmup_rounds=1)
    np.testing.assert_array_equal(total.total, 20 * vector.astype(np.int64))
