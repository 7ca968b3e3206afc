"""Rounds with prepared randomness: the same sums, each randomizer once, whatever becomes of the clients."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from mpc.errors import LocalError
from mpc.tape import RandomTape, SeededTape
from secagg.durable import Durable
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.paillier.messages import EncryptedInput
from secagg.paillier.public import PublicKey

EACH = 3  # ciphertexts of a client


@pytest.fixture(params=["one", "any 2 of 3"])
def backend(request: pytest.FixtureRequest, lab: Any, shared: Callable[..., Any]) -> Any:
    return lab.backend() if request.param == "one" else shared(3, 2)


@pytest.fixture
def cohort_of(lab: Any, backend: Any) -> Callable[..., Any]:
    def cohort(**changes: Any) -> Any:
        found = lab.cohort(length=60 if backend.key_bits == 512 else 39, **changes)
        assert backend.ciphertexts(found) == EACH
        return found

    return cohort


class Spy:
    """All randomizers that went into ciphertexts, and those of them that were made for it on the spot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used: list[mpz] = []
        self.made: list[mpz] = []
        blind, randomizers = PublicKey.blind, PublicKey.randomizers

        def used(key: PublicKey, plaintexts: list[mpz], given: list[mpz]) -> list[mpz]:
            self.used += given
            return blind(key, plaintexts, given)

        def made(key: PublicKey, count: int, tape: RandomTape) -> list[mpz]:
            found = randomizers(key, count, tape)
            self.made += found
            return found

        monkeypatch.setattr(PublicKey, "blind", used)
        monkeypatch.setattr(PublicKey, "randomizers", made)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def client(backend: Any, cohort: Any, vectors: Any, place: int = 0) -> Any:
    name = cohort.members[place]
    return backend.client(cohort, name, vectors[name], tape=SeededTape(name.encode()))


def test_clients_use_it_up_then_make_their_own_and_sums_are_equal(
    lab: Any, backend: Any, cohort_of: Callable[..., Any], spy: Spy
) -> None:
    backend.prepare(10 * EACH + 1, tape=SeededTape(b"prepared"))
    prepared = list(spy.made)
    assert len(prepared) == len(set(prepared)) == backend.prepared
    left = [6 * EACH + 1, 2 * EACH + 1, 1, 1]
    for round, expected in enumerate(left):
        cohort = cohort_of(round=round)
        vectors = lab.vectors(cohort, round)
        # The same seed for all: what a tape would repeat, the pool must not.
        total, _ = lab.run(cohort, vectors, backend=backend, seed=b"same")
        np.testing.assert_array_equal(total.total, sum(vectors.values()))
        assert backend.prepared == expected
    assert spy.used[: 10 * EACH] == prepared[:-1]
    assert spy.used[10 * EACH :] == spy.made[len(prepared) :]
    assert len(spy.used) == len(set(spy.used)) == len(left) * 4 * EACH


def test_a_client_takes_all_that_it_needs_or_nothing(
    lab: Any, backend: Any, cohort_of: Callable[..., Any], spy: Spy
) -> None:
    cohort = cohort_of()
    vectors = lab.vectors(cohort)
    backend.prepare(EACH - 1, tape=SeededTape(b"too few"))
    prepared = list(spy.made)
    client(backend, cohort, vectors).start()
    assert backend.prepared == EACH - 1
    assert not set(spy.used) & set(prepared)
    backend.prepare(1, tape=SeededTape(b"the missing one"))
    client(backend, cohort, vectors, 1).start()
    assert backend.prepared == 0
    assert spy.used[EACH:] == [*prepared, spy.made[-1]]


def test_what_is_prepared_does_not_depend_on_the_clients_tape(
    lab: Any, backend: Any, cohort_of: Callable[..., Any]
) -> None:
    cohort = cohort_of()
    vectors = lab.vectors(cohort)
    key = backend.public.encryption
    fresh = client(backend, cohort, vectors).start()[0].payload
    backend.prepare(EACH, tape=SeededTape(b"prepared"))
    other = client(backend, cohort, vectors).start()[0].payload
    size = EncryptedInput.size(key.bits, EACH)
    rows = [EncryptedInput.decode(data[32:], key, EACH) for data in (fresh, other)]
    assert len(fresh) == len(other) == 32 + size
    assert fresh[:32] == other[:32]  # the link key, which is the tape's
    assert rows[0] != rows[1]


def test_nothing_is_there_until_it_is_prepared(backend: Any) -> None:
    assert backend.prepared == 0
    backend.prepare(0)
    assert backend.prepared == 0
    backend.prepare(2)
    backend.prepare(3)
    assert backend.prepared == 5
    with pytest.raises(LocalError, match="count is -1"):
        backend.prepare(-1)
    assert backend.prepared == 5


@pytest.mark.parametrize("kind", [Paillier, ThresholdPaillier])
def test_without_a_public_key_there_is_nothing_to_prepare_for(kind: Any) -> None:
    bare = kind(insecure_key_bits=256)
    with pytest.raises(LocalError, match=r"^public is None"):
        bare.prepare(1)
    assert bare.prepared == 0
    ready = bare.setup(SeededTape(b"keys"))
    ready.prepare(1)
    assert (bare.prepared, ready.prepared) == (0, 1)


def test_backends_of_one_key_share_no_pool(lab: Any, shared: Callable[..., Any]) -> None:
    first, second = shared(3, 2), shared(3, 2)
    first.prepare(4)
    assert (first.prepared, second.prepared) == (4, 0)


def test_a_forked_process_makes_its_own(
    lab: Any, backend: Any, cohort_of: Callable[..., Any], spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child has a copy of the pool: if both used it, two ciphertexts would share a randomizer."""
    cohort = cohort_of()
    vectors = lab.vectors(cohort)
    backend.prepare(2 * EACH, tape=SeededTape(b"prepared"))
    prepared = set(spy.made)
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        client(backend, cohort, vectors).start()
        assert not set(spy.used) & prepared
    assert backend.prepared == 2 * EACH
    client(backend, cohort, vectors, 1).start()
    client(backend, cohort, vectors, 2).start()
    assert set(spy.used[EACH:]) == prepared


def test_a_backend_that_can_prepare_is_neither_pickled_nor_copied(backend: Any) -> None:
    backend.prepare(2)
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(LocalError, match=r"cannot be pickled or copied|see export_secret"):
            write(backend)
    pinned = type(backend)(public=backend.public, insecure_key_bits=backend.key_bits)  # holds no key
    with pytest.raises(LocalError, match="prepared randomness is '<secret>': cannot be pickled"):
        pickle.dumps(pinned)
    assert backend.prepared == 2


# Clients that are saved and restored


def load(backend: Any, cohort: Any, data: bytes, tape: RandomTape) -> Any:
    return backend.load_client(cohort, cohort.members[0], data, tape=tape)


def test_a_restored_client_does_not_draw_twice(
    lab: Any, backend: Any, cohort_of: Callable[..., Any], spy: Spy
) -> None:
    cohort = cohort_of()
    backend.prepare(4 * EACH, tape=SeededTape(b"prepared"))
    one = client(backend, cohort, lab.vectors(cohort))
    again = load(backend, cohort, one.dump(), SeededTape(b"again"))
    assert backend.prepared == 4 * EACH  # a client that has not started has drawn nothing
    again.start()
    assert backend.prepared == 3 * EACH
    last = load(backend, cohort, again.dump(), SeededTape(b"last"))
    with pytest.raises(LocalError, match="a client starts once"):
        last.start()
    assert backend.prepared == 3 * EACH
    assert len(spy.used) == EACH


def test_a_dump_holds_no_prepared_randomness(lab: Any, backend: Any, cohort_of: Callable[..., Any]) -> None:
    cohort = cohort_of()
    backend.prepare(2 * EACH, tape=SeededTape(b"prepared"))
    secrets = list(backend._prepared._unused)
    assert len(secrets) == 2 * EACH
    one = client(backend, cohort, lab.vectors(cohort))
    for data in (one.dump(), one.start() and one.dump()):
        for number in secrets:
            assert int(number).to_bytes(backend.key_bits // 4, "little")[:-2] not in data


def durable(path: Path, backend: Any, cohort: Any, vectors: Any, forgetful: bool | None) -> Durable[None]:
    name = cohort.members[0]
    return Durable.open(
        path / "client",
        lambda tape: backend.client(cohort, name, vectors[name], tape=tape),
        lambda data, tape: load(backend, cohort, data, tape),
        tape=SeededTape(b"durable"),
        forgetful=forgetful,
    )


def test_a_client_that_is_killed_says_the_same_again_and_draws_no_more(
    lab: Any, backend: Any, cohort_of: Callable[..., Any], tmp_path: Path
) -> None:
    cohort = cohort_of()
    vectors = lab.vectors(cohort)
    backend.prepare(4 * EACH)
    for _ in range(3):
        with durable(tmp_path, backend, cohort, vectors, None) as party:
            sent = [message.encode() for message in party.start()]
        assert backend.prepared == 3 * EACH
        with durable(tmp_path, backend, cohort, vectors, None) as party:
            assert [message.encode() for message in party.start()] == sent


def test_what_a_pool_gave_is_not_replayed_from_a_journal(
    lab: Any, backend: Any, cohort_of: Callable[..., Any], tmp_path: Path
) -> None:
    """A journal that keeps steps in place of states: then nothing is sent rather than a second encryption."""
    cohort = cohort_of()
    vectors = lab.vectors(cohort)
    backend.prepare(4 * EACH)
    with durable(tmp_path, backend, cohort, vectors, False) as party:
        assert party.start()
    with pytest.raises(LocalError, match="does not go as it went before"):
        durable(tmp_path, backend, cohort, vectors, False)
