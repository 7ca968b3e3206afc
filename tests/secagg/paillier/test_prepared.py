"""Randomness prepared in advance: the same ciphertexts, each randomizer once. And shared tables."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from gmpy2 import mpz

from mpc.errors import LocalError
from mpc.tape import RecordedTape, SeededTape
from secagg.paillier.fixedbase import TABLE_BYTES
from secagg.paillier.private import PrivateKey, generate
from secagg.paillier.public import PublicKey

PRIVATE = generate(tape=SeededTape(b"the key of these tests"), insecure_bits=512)
BARE = PrivateKey.import_secret(b"\1\4" + PRIVATE.export_secret()[2 : 4 + 2 * 32], allow_insecure_bits=True)
OTHER = generate(tape=SeededTape(b"another"), insecure_bits=512)
VALUES = [mpz(value) for value in (3, 0, int(PRIVATE.public.n) - 1, 3)]


@pytest.mark.parametrize("private", [PRIVATE, BARE], ids=["base", "textbook"])
def test_prepared_randomness_gives_the_ciphertexts_that_the_tape_gives(private: PrivateKey) -> None:
    public = private.public
    expected = public.encrypt_many(VALUES * 2, SeededTape(b"tape"))
    tape = SeededTape(b"tape")
    pool = public.prepare(3, tape)
    pool.extend(5, tape)
    assert len(pool) == 8
    found = [*public.encrypt_many(VALUES, pool), public.encrypt(VALUES[0], pool)]
    assert len(pool) == 3
    found += public.encrypt_many(VALUES[1:], pool)
    assert found == expected
    assert private.decrypt_many(found) == VALUES * 2
    assert len(pool) == 0


def test_a_pool_that_is_too_small_says_what_is_left_and_keeps_it() -> None:
    pool = PRIVATE.public.prepare(3, SeededTape(b"three"))
    for count in (4, -1):
        with pytest.raises(LocalError, match=rf"^count is {count}: must be from 0 to 3, which are left"):
            pool.take(count)
    with pytest.raises(LocalError, match="0 to 3"):
        PRIVATE.public.encrypt_many(VALUES, pool)
    assert len(pool) == 3
    assert pool.take(0) == []
    assert len(pool.take(3)) == 3
    with pytest.raises(LocalError, match="0 to 0"):
        PRIVATE.public.encrypt(VALUES[0], pool)


def test_what_is_refused_uses_nothing_up() -> None:
    pool = PRIVATE.public.prepare(2, SeededTape(b"two"))
    with pytest.raises(LocalError, match="plaintexts is '<secret> at 1'"):
        PRIVATE.public.encrypt_many([mpz(1), PRIVATE.public.n], pool)
    for key in (OTHER.public, BARE.public):
        with pytest.raises(LocalError, match="prepared for another key"):
            key.encrypt(mpz(1), pool)
    assert len(pool) == 2
    equal = PublicKey(PRIVATE.public.n, PRIVATE.public.h_s)
    assert PRIVATE.decrypt(equal.encrypt(mpz(1), pool)) == 1


def test_threads_never_take_one_twice() -> None:
    pool = PRIVATE.public.prepare(600, SeededTape(b"many"))
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(pool.take, [3] * 200))
    assert len({randomizer for few in taken for randomizer in few}) == 600
    assert len(pool) == 0


def test_a_forked_process_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = PRIVATE.public.prepare(2, SeededTape(b"two"))
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(LocalError, match="another process"):
        pool.take(1)
    monkeypatch.undo()
    assert len(pool.take(2)) == 2


def test_a_pool_is_neither_copied_nor_shown() -> None:
    pool = PRIVATE.public.prepare(2, SeededTape(b"two"))
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(LocalError, match="used once"):
            write(pool)
    assert repr(pool) == "Prepared(2 of 512 bits, <secret>)"
    assert not hasattr(pool, "__dict__")


def test_counts_and_lengths_are_checked() -> None:
    public = PRIVATE.public
    for make in (public.prepare, public.randomizers):
        with pytest.raises(LocalError, match=r"^count is -1"):
            make(-1, SeededTape(b""))
    assert public.randomizers(0, RecordedTape(b"")) == []
    with pytest.raises(LocalError, match=r"len\(randomizers\) is 1: must equal 4"):
        public.blind(VALUES, [mpz(1)])
    with pytest.raises(LocalError, match="plaintexts is '<secret> at 0'"):
        public.blind([mpz(-1)], [mpz(1)])


def test_equal_keys_share_one_table_of_the_same_budget() -> None:
    n, h_s = PRIVATE.public.n, PRIVATE.public.h_s
    first, second = PublicKey(n, h_s), PublicKey.decode(PRIVATE.public.encode(), allow_insecure_bits=True)
    small = PublicKey(n, h_s, table_bytes=10_000)
    assert first.table is not None
    assert first.table is second.table
    assert small.table is not None
    assert small.table.table_bytes <= 10_000 < first.table.table_bytes <= TABLE_BYTES
    assert OTHER.public.table is not first.table
    assert first == small
    assert first.fingerprint() == small.fingerprint()
    values = first.encrypt_many(VALUES, SeededTape(b"same"))
    assert small.encrypt_many(VALUES, SeededTape(b"same")) == values
    again = PublicKey.decode(first.encode(), allow_insecure_bits=True, table_bytes=10_000)
    assert again.table is small.table


def test_a_budget_below_the_smallest_table_is_refused() -> None:
    with pytest.raises(LocalError, match="smallest comb"):
        PublicKey(PRIVATE.public.n, PRIVATE.public.h_s, table_bytes=100).encrypt(mpz(1), SeededTape(b""))
