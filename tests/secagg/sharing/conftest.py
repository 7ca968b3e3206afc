"""One round of secret sharing, set up from a few numbers and driven over the in-process network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from mpc.party import PartyId
from mpc.tape import SeededTape
from mpc.transcript import Transcript
from secagg.aggregate import Conditions, run_round
from secagg.checks.base import Check
from secagg.cohort import Cohort
from secagg.server import Aggregate
from secagg.sharing import SecretSharing


@dataclass(frozen=True)
class Game:
    """A cohort with its inputs: client i holds row i of ``inputs``."""

    cohort: Cohort
    inputs: NDArray[np.int64]
    link_key: bytes
    seed: bytes

    def run(
        self,
        backend: SecretSharing,
        *,
        drop: Mapping[PartyId, str] | None = None,
        checks: Sequence[Check] = (),
        conditions: Conditions | None = None,
    ) -> tuple[Aggregate, Transcript]:
        tape = SeededTape(self.seed)
        return run_round(
            backend.setup(tape.child("keys")),
            self.cohort,
            dict(zip(self.cohort.members, self.inputs, strict=True)),
            self.link_key,
            checks,
            drop or {},
            tape,
            conditions or Conditions(),
        )

    def expect(self, found: Aggregate, missing: Collection[int] = ()) -> None:
        """The survivors are all but ``missing``, and the total is the plain sum of their inputs."""
        survivors = [index for index in range(self.cohort.size) if index not in missing]
        assert found.survivors == tuple(survivors)
        assert found.total.dtype == np.int64
        np.testing.assert_array_equal(found.total, self.inputs[survivors].sum(axis=0))


def make_game(
    clients: int = 5,
    length: int = 7,
    *,
    bits: int = 16,
    threshold: int = 2,
    seed: bytes = b"game",
    inputs: NDArray[np.int64] | None = None,
) -> Game:
    tape = SeededTape(seed + b" inputs")
    link_key = tape.read(32)
    cohort = Cohort(
        session=tape.read(16),
        round=3,
        members=tuple(f"client-{index:02}" for index in range(clients)),
        threshold=threshold,
        length=length,
        bits=bits,
        server_key=X25519PrivateKey.from_private_bytes(link_key).public_key().public_bytes_raw(),
    )
    if inputs is None:
        words = np.frombuffer(tape.read(8 * clients * length), np.uint64).reshape(clients, length)
        inputs = (words % np.uint64(2 * cohort.max_entry + 1)).astype(np.int64) - cohort.max_entry
    return Game(cohort, inputs, link_key, seed)


@pytest.fixture(scope="session")
def game() -> Callable[..., Game]:
    return make_game
