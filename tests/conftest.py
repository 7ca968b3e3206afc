"""What the suites share: the list of backends, and a round with liars and oracles in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import settings

from mpc.errors import AbortError
from mpc.party import Message, PartyId, Role, client_id
from mpc.tape import SeededTape
from mpc.transcript import Link, Transcript
from secagg import Check, Cohort, Conditions, InsecurePlain, Masking, Rejection, SecretSharing
from secagg.aggregate import run_round
from secagg.backend import Backend
from secagg.cohort import resolve_threshold
from secagg.identity import Identity
from secagg.masking import Tolerance
from secagg.masking.listing import graph_parameters
from secagg.masking.parameters import MIN_THRESHOLD, GraphParameters
from secagg.paillier import Paillier, ThresholdPaillier

settings.register_profile("deterministic", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("deterministic")


@dataclass(frozen=True, slots=True)
class Spared(Tolerance):
    """For tests: the sparsest graph on which a round goes on, whoever drops out, down to the threshold.

    That makes cohorts of five or more sparse. It spares dropouts and nothing else: private it is not.
    """

    corrupt: float = 0.0
    dropout: float = 0.0
    threshold: float = 2 / 3

    def parameters(self, members: int, listed: int | None = None) -> GraphParameters:
        count, least = members if listed is None else listed, resolve_threshold(self.threshold, members)
        degree = count - least + MIN_THRESHOLD - 1
        degree += degree % 2
        if degree > count - 2:
            return GraphParameters(count, count - 1, least, least, 0.0, -math.inf)
        threshold = degree + 1 - (count - least)
        return GraphParameters(count, degree, threshold, threshold, 0.0, -math.inf)


def sparse_masking(threshold: float = 2 / 3, **options: Any) -> Masking:
    return Masking(threshold, tolerance=Spared(threshold=threshold), **options)


def small_paillier(threshold: float = 2 / 3, **options: Any) -> Paillier:
    return Paillier(minimum=threshold, insecure_key_bits=256, **options)


def small_threshold_paillier(threshold: float = 2 / 3, **options: Any) -> ThresholdPaillier:
    return ThresholdPaillier(3, 2, minimum=threshold, insecure_key_bits=256, **options)


# Every backend there is, one line each. The suites in tests/contract and tests/leakage run on all of them.
BACKENDS: dict[str, Callable[..., Backend]] = {
    "plain": InsecurePlain,
    "masking": Masking,
    "masking-sparse": sparse_masking,
    "sharing-2": SecretSharing,
    "sharing-3": partial(SecretSharing, 3),
    "paillier": small_paillier,
    "paillier-threshold": small_threshold_paillier,
}

SESSION = b"session of tests"
LINK_KEY = SeededTape(b"the server's link key").read(32)
KEY_LISTS = Link("share-keys", Role.SERVER, Role.CLIENT)
Make = Callable[..., Backend]
Lie = Callable[[Message], Sequence[Message]]


@pytest.fixture(scope="session", params=BACKENDS)
def make(request: pytest.FixtureRequest) -> Make:
    """``make(threshold=…)``, or other options of all: a backend, set up anew with the same keys each time."""
    build = BACKENDS[request.param]

    def set_up(threshold: float = 2 / 3, **options: Any) -> Backend:
        return build(threshold=threshold, **options).setup(SeededTape(b"long-term keys"))

    return set_up


@pytest.fixture
def backend(make: Make) -> Backend:
    return make()


class Liar:
    """A party that sends what ``lie`` makes of the honest party's messages, over its own link.

    ``lie.opening``, if there is such a thing, it sends unasked.
    """

    def __init__(self, inner: Any, lie: Lie) -> None:
        self._inner = inner
        self._lie = lie

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def start(self) -> list[Message]:
        return self._all(self._inner.start()) + list(getattr(self._lie, "opening", ()))

    def receive(self, message: Message) -> list[Message]:
        return self._all(self._inner.receive(message))

    def expire(self) -> list[Message]:
        return self._all(self._inner.expire())

    def _all(self, messages: Sequence[Message]) -> list[Message]:
        return [lie for message in messages for lie in self._lie(message)]


class WithLiars:
    """A backend some of whose parties lie. Their links are their own, so the tags are right."""

    def __init__(self, backend: Backend, liars: Mapping[PartyId, Lie]) -> None:
        self._backend = backend
        self._liars = liars

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def client(self, cohort: Cohort, me: str, *rest: Any, **named: Any) -> Any:
        return self._corrupt(self._backend.client(cohort, me, *rest, **named))

    def server(self, *rest: Any, **named: Any) -> Any:
        return self._corrupt(self._backend.server(*rest, **named))

    def helpers(self, *rest: Any, **named: Any) -> Any:
        return {who: self._corrupt(helper) for who, helper in self._backend.helpers(*rest, **named).items()}

    def _corrupt(self, party: Any) -> Any:
        if party.id in self._liars:
            party._inner = Liar(party._inner, self._liars[party.id])
        return party


@dataclass
class Outcome:
    """What became of a round: a sum, or the reason why there is none."""

    cohort: Cohort
    vectors: Sequence[np.ndarray]
    total: np.ndarray | None = None
    survivors: tuple[int, ...] = ()
    rejected: Mapping[int, Rejection] = field(default_factory=dict)
    faults: Mapping[PartyId, str] = field(default_factory=dict)
    transcript: Transcript = field(default_factory=Transcript)
    abort: AbortError | None = None

    def require_exact(self) -> None:
        """The sum is that of the survivors' vectors, added up as Python's integers."""
        assert self.abort is None, self.abort
        assert self.total is not None
        assert self.total.dtype == np.int64
        rows = [self.vectors[index].tolist() for index in self.survivors]
        assert self.total.tolist() == [sum(column) for column in zip(*rows, strict=True)]
        assert len(self.survivors) >= self.cohort.threshold
        assert list(self.survivors) == sorted(set(self.survivors))
        assert not set(self.survivors) & self.rejected.keys()
        for rejection in self.rejected.values():
            assert rejection.check
            assert rejection.reason

    def require_never_wrong(self) -> None:
        """Exact, or nothing at all."""
        if self.abort is None:
            self.require_exact()
        else:
            assert self.total is None
            assert self.abort.reason


def make_cohort(make: Make | Backend, members: int, length: int, bits: int, **changes: Any) -> Cohort:
    backend = make if isinstance(make, Backend) else make()
    base = Cohort(
        session=SESSION,
        round=3,
        members=tuple(f"c{index}" for index in range(members)),
        threshold=backend.resolve_threshold(members),
        length=length,
        bits=bits,
        server_key=X25519PrivateKey.from_private_bytes(LINK_KEY).public_key().public_bytes_raw(),
    )
    return replace(base, **changes)


def sparse_holders(backend: Backend, cohort: Cohort) -> int | None:
    """How many hold a client's shares, where the graph is sparse."""
    found = graph_parameters(cohort, backend.tolerance) if isinstance(backend, Masking) else None
    return None if found is None else found.holders


def require_declared(backend: Backend, outcome: Outcome, checks: Sequence[Check] = ()) -> None:
    """What crossed is what the backend declares, to the byte.

    But for key lists on a sparse graph: their proofs differ in length, and the longest is declared.
    """
    declared = dict(backend.cost(outcome.cohort, checks).traffic())
    found = dict(outcome.transcript.traffic())
    if sparse_holders(backend, outcome.cohort):
        most, lists = declared.pop(KEY_LISTS), found.pop(KEY_LISTS)
        assert lists.messages == most.messages
        assert 3 / 4 * most.bytes <= lists.bytes <= most.bytes
    assert found == declared


def make_identities(members: int) -> list[Identity]:
    return [Identity.generate(SeededTape(f"identity {index}".encode())) for index in range(members)]


def make_vectors(members: int, length: int, bits: int, seed: str = "vectors") -> list[np.ndarray]:
    """Uniform in ±max_entry."""
    limit = (1 << (bits - 1)) - 1
    tape = SeededTape(f"{seed} {members} {length} {bits}".encode())
    words = np.frombuffer(tape.read(8 * members * length), np.uint64) % np.uint64(2 * limit + 1)
    return list(words.astype(np.int64).reshape(members, length) - limit)


def play(
    make: Make | Backend,
    vectors: Sequence[np.ndarray],
    *,
    bits: int = 16,
    checks: Sequence[Check] = (),
    drop: Mapping[int, str] | None = None,
    liars: Mapping[PartyId | int, Lie] | None = None,
    seed: bytes = b"a round",
    cohort: Cohort | None = None,
    identities: Sequence[Identity] = (),
    **conditions: Any,
) -> Outcome:
    """A round on encoded vectors, from a fixed tape. Clients are numbers; ``conditions``: see Conditions.

    ``identities``: the clients' signing keys, which the cohort then pins.

    Helpers serve one round of a session once, so each call makes its backend anew.
    """
    backend = make if isinstance(make, Backend) else make()
    cohort = cohort or make_cohort(backend, len(vectors), len(vectors[0]), bits)
    if identities:
        cohort = replace(cohort, identities=tuple(one.public for one in identities))
    lies = {client_id(who) if isinstance(who, int) else who: lie for who, lie in (liars or {}).items()}
    seen = Transcript()
    try:
        aggregate, transcript = run_round(
            WithLiars(backend, lies),  # type: ignore[arg-type]
            cohort,
            dict(zip(cohort.members, vectors, strict=True)),
            LINK_KEY,
            checks,
            {client_id(index): phase for index, phase in (drop or {}).items()},
            SeededTape(seed),
            Conditions(observe=seen.records.append, **conditions),
            dict(zip(cohort.members, identities, strict=True)) if identities else None,
        )
    except AbortError as error:
        return Outcome(cohort, vectors, abort=error, transcript=seen)
    found = (aggregate.total, aggregate.survivors, aggregate.rejected, aggregate.faults)
    return Outcome(cohort, vectors, *found, transcript=transcript)


def is_uniform(data: bytes) -> bool:
    """Pearson's test on the counts of byte values: within six standard deviations of its mean.

    With 255 degrees of freedom the statistic has mean 255 and standard deviation sqrt(510). Asks for ten
    expected occurrences of each value, or says that there is too little to look at.
    """
    assert len(data) >= 2560, "too few bytes for a test of uniformity"
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return abs(statistic - 255) < 6 * 510**0.5


@pytest.fixture(scope="session")
def rig() -> SimpleNamespace:
    """``rig.play``, ``.cohort``, ``.vectors``, ``.identities``, ``.is_uniform``, and the keys they use;
    ``.spared``, the tolerance for small sparse graphs; ``.declared`` and ``.sparse_holders`` for what a
    backend says of its traffic."""
    return SimpleNamespace(
        play=play,
        cohort=make_cohort,
        vectors=make_vectors,
        identities=make_identities,
        is_uniform=is_uniform,
        spared=Spared(),
        declared=require_declared,
        sparse_holders=sparse_holders,
        session=SESSION,
        link_key=LINK_KEY,
    )
