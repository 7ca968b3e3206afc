"""Small keys for all tests of the parties, whole and in shares, and one way to run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from mpc.party import PartyId
from mpc.tape import SeededTape
from mpc.transcript import Transcript
from secagg.aggregate import Conditions, run_round
from secagg.checks import Check
from secagg.cohort import Cohort
from secagg.paillier import KeyHolderKeys, KeyShareKeys, Paillier, ThresholdPaillier, deal_keys
from secagg.paillier.base import PackedBackend
from secagg.paillier.private import generate
from secagg.server import Aggregate

BITS, SHARED_BITS = 512, 256
SERVER_LINK = bytes(range(32))
SERVER_KEY = X25519PrivateKey.from_private_bytes(SERVER_LINK).public_key().public_bytes_raw()
_PRIVATE = generate(tape=SeededTape(b"the key of these tests"), insecure_bits=BITS)


@dataclass
class Lab:
    """Rounds under one key of 512 bits; each lab's key holder has a log of its own."""

    server_link: bytes = SERVER_LINK
    keys: KeyHolderKeys = field(default_factory=lambda: KeyHolderKeys(_PRIVATE, bytes(range(1, 33))))

    def backend(self, minimum: float = 2) -> Paillier:
        return Paillier(keys=self.keys, minimum=minimum, insecure_key_bits=BITS)

    def cohort(
        self,
        size: int = 4,
        length: int = 60,
        bits: int = 16,
        threshold: int = 2,
        round: int = 0,
        session: bytes = bytes(16),
    ) -> Cohort:
        members = tuple(f"client-{index}" for index in range(size))
        return Cohort(session, round, members, threshold, length, bits, SERVER_KEY)

    def vectors(self, cohort: Cohort, seed: int = 0) -> dict[str, NDArray[np.int64]]:
        generator = np.random.default_rng(seed)
        top = cohort.max_entry
        return {m: generator.integers(-top, top, cohort.length, np.int64, True) for m in cohort.members}

    def run(
        self,
        cohort: Cohort,
        vectors: Mapping[str, NDArray[Any]],
        *,
        backend: PackedBackend | None = None,
        checks: Sequence[Check] = (),
        drop: Mapping[PartyId, str] | None = None,
        seed: bytes = b"round",
        **conditions: Any,
    ) -> tuple[Aggregate, Transcript]:
        backend = backend or self.backend()
        tape = SeededTape(seed)
        return run_round(
            backend, cohort, vectors, SERVER_LINK, checks, drop or {}, tape, Conditions(**conditions)
        )


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def new_lab() -> Callable[[], Lab]:
    """For tests that run many rounds of one number."""
    return Lab


@lru_cache(maxsize=16)
def _dealt(holders: int, threshold: int) -> tuple[KeyShareKeys, ...]:
    return deal_keys(holders, threshold, tape=SeededTape(b"dealer"), insecure_bits=SHARED_BITS)[1]


def shared_backend(
    holders: int = 3, threshold: int = 2, minimum: float = 2, **options: Any
) -> ThresholdPaillier:
    """Everybody's keys, always the same for one size, with logs of its own."""
    keys = [KeyShareKeys(one.share, one.link) for one in _dealt(holders, threshold)]
    return ThresholdPaillier(
        holders, threshold, minimum=minimum, keys=keys, insecure_key_bits=SHARED_BITS, **options
    )


@pytest.fixture(scope="session")
def shared() -> Callable[..., ThresholdPaillier]:
    """``shared(holders, threshold)``: a backend that plays all parties."""
    return shared_backend
