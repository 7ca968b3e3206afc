"""Rounds with proved shares: small claims, honest vectors, and clients that make their shares otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.flp.messages import encode_public_share
from mpc.tape import RandomTape, SeededTape
from secagg.checks import Check, Direction, NormBound
from secagg.client import Vector
from secagg.cohort import Cohort
from secagg.encoding import FixedPoint, Plan
from secagg.sharing import AggregatorKey, SecretSharing
from secagg.sharing.client import SharingClient
from secagg.sharing.scheme import ProvedShares, _nonce
from tests import conftest as suites
from tests.mpc.flp.cheater import Cheater, Setting
from tests.mpc.flp.strategies import Strategy

Integers = npt.NDArray[np.int64]

BITS, MAX_WEIGHT = 12, 5000  # of a weight: two digits of 11 bits, the second at most 2
PLAN = FixedPoint(1.0, BITS).plan((7, 5), clients=40, max_weight=MAX_WEIGHT, metrics={"a": 1.0, "b": 9.0})
LIMIT = PLAN.encoding.limit
NORM = NormBound(0.5, PLAN)
BOUND = NORM.steps(PLAN)
REFERENCE = [np.linspace(-1, 1, 7), np.linspace(3, -2, 5)]
ALIGNED = Direction(REFERENCE, 0.5, PLAN)
WHERE = np.concatenate(REFERENCE)


def vector(index: int, *, share: float = 0.7, along: bool = False) -> Integers:
    """An honest one of its own: ``share`` of the bound long, and with ``along`` close to the reference."""
    rng = np.random.default_rng([index, along])
    where = WHERE / np.linalg.norm(WHERE) + 0.05 * rng.normal(size=12) if along else rng.normal(size=12)
    front = np.trunc(where / np.linalg.norm(where) * BOUND * share)
    weight = int(rng.integers(1, MAX_WEIGHT + 1))
    tail = [weight & LIMIT, weight >> BITS - 1, *rng.integers(-LIMIT, LIMIT + 1, 2)]
    return np.concatenate([front, tail]).astype(np.int64)


def vectors(count: int, *, along: bool = False) -> list[Integers]:
    return [vector(index, along=along) for index in range(count)]


def reports(scheme: ProvedShares, shards: tuple[Any, Any]) -> list[bytes | memoryview]:
    """What a sharder gives, as the shares that clients seal."""
    public, shares = shards
    head = encode_public_share(public)
    return [head + share.encode(scheme._vdaf.field) for share in shares]


class Cheating(ProvedShares):
    """Shards a lie about the vector that it is given, as well as it can be done."""

    def __init__(self, honest: ProvedShares, strategy: Strategy, seed: Sequence[int]) -> None:
        claims = honest._vdaf.claims
        super().__init__(honest.digest, claims, honest.aggregators)
        self._cheater = Cheater(claims, shares=honest.aggregators)
        self._strategy, self._rng = strategy, np.random.default_rng(list(seed))

    def split(self, client: int, vector: Vector, tape: RandomTape) -> list[bytes | memoryview]:
        given = Setting(self._cheater.claims, BITS - 1, MAX_WEIGHT, LIMIT, vector.tolist())
        attempt = self._strategy(given, self._cheater, self._rng)
        rand = tape.read(self._cheater.rand_bytes)
        return reports(self, self._cheater.shard(self.digest, attempt, _nonce(client), rand))


class Altering(ProvedShares):
    """Makes ``alter`` of honest shares, after they were made and before they are sealed."""

    def __init__(self, honest: ProvedShares, alter: Callable[[list[bytes]], list[bytes]]) -> None:
        super().__init__(honest.digest, honest._vdaf.claims, honest.aggregators)
        self._alter = alter

    def split(self, client: int, vector: Vector, tape: RandomTape) -> list[bytes | memoryview]:
        return list(self._alter([bytes(share) for share in super().split(client, vector, tape)]))


class Replaying(ProvedShares):
    """Valid shares, with a proof that was made for another cohort, or for another client."""

    def __init__(self, honest: ProvedShares, digest: bytes, client: int) -> None:
        super().__init__(digest, honest._vdaf.claims, honest.aggregators)
        self._as = client

    def split(self, client: int, vector: Vector, tape: RandomTape) -> list[bytes | memoryview]:
        return super().split(self._as, vector, tape)


Twist = Callable[[ProvedShares], ProvedShares]


def cheating(strategy: Strategy, *seed: int) -> Twist:
    return lambda honest: Cheating(honest, strategy, seed)


def altering(alter: Callable[[list[bytes]], list[bytes]]) -> Twist:
    return lambda honest: Altering(honest, alter)


class Twisted(SecretSharing):
    """Some clients use another scheme than they should: ``twists``, by name. Always the same keys."""

    twists: Mapping[str, Twist]

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> SharingClient:
        scheme = self._scheme(cohort, checks)
        if me in self.twists:
            assert isinstance(scheme, ProvedShares)
            scheme = self.twists[me](scheme)
        keys = [key.sealing for key in self.public_keys]
        return SharingClient(cohort, me, vector, checks, tape, keys, scheme)


def keys(aggregators: int) -> list[AggregatorKey]:
    """The same each time, with no memory of other rounds."""
    return [AggregatorKey.generate(SeededTape(b"aggregator %d" % index)) for index in range(aggregators)]


def backend(
    aggregators: int = 2, twists: Mapping[int, Twist] | None = None, *, threshold: float = 2, **options: Any
) -> Twisted:
    """Clients are numbers here, and c0, c1, … in the cohort."""
    made = Twisted(aggregators, threshold, private_keys=keys(aggregators), **options)
    made.twists = {f"c{index}": twist for index, twist in (twists or {}).items()}
    return made


def scheme(made: SecretSharing, cohort: Cohort, checks: Sequence[Check] = (NORM,)) -> ProvedShares:
    found = made._scheme(cohort, checks)
    assert isinstance(found, ProvedShares)
    return found


def plan_of(**changes: Any) -> Plan:
    """A plan that is like the others but for ``changes``."""
    given = {"sizes": (7, 5), "max_weight": MAX_WEIGHT, "metrics": dict(PLAN.metrics), **changes}
    return FixedPoint(1.0, given.pop("bits", BITS)).plan(given.pop("sizes"), clients=40, **given)


REFUSED = "its proof is refused: "


def play(
    made: SecretSharing, vectors: Sequence[Integers], checks: Sequence[Check] = (NORM,), **options: Any
) -> Any:
    """A round, with the norm bound unless other checks are given: see ``play`` of the suites."""
    return suites.play(made, vectors, bits=BITS, checks=list(checks), **options)


def require_refused(outcome: Any, expected: dict[int, tuple[str, str]]) -> None:
    """Exactly these, by check and beginning of the reason; the sum is of all others."""
    outcome.require_exact()
    assert set(outcome.rejected) == set(expected)
    everybody = set(range(outcome.cohort.size))
    assert set(outcome.survivors) == everybody - set(expected)
    for index, (check, reason) in expected.items():
        assert outcome.rejected[index].check == check
        assert outcome.rejected[index].reason.startswith(reason), outcome.rejected[index].reason
    assert outcome.transcript.refusals == []  # so all aggregators agree with the server
