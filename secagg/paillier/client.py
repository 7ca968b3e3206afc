"""The Paillier client: packs and encrypts its vector, and is done (spec section 14.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from gmpy2 import mpz

from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.client import OneShotClient, Vector
from secagg.cohort import Cohort
from secagg.paillier.messages import INPUT, EncryptedInput
from secagg.paillier.packing import Packing
from secagg.paillier.public import PublicKey

Randomizers = Callable[[int, RandomTape], list[mpz]]
"""So many, made now from the tape or beforehand."""


class PaillierClient(OneShotClient):
    """One client of one round. ``key`` is the key holders'; whose it is, the server has no say in."""

    input_phase = INPUT

    def __init__(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        checks: Sequence[Check],
        tape: RandomTape,
        key: PublicKey,
        randomizers: Randomizers | None = None,
    ) -> None:
        super().__init__(cohort, me, vector, checks, tape)
        self._key = key
        self._randomizers = randomizers or key.randomizers
        self._packing = Packing.of(cohort, key.bits)

    def _contribution(self) -> bytes:
        plaintexts = self._packing.pack(self._vector)
        ciphertexts = self._key.blind(plaintexts, self._randomizers(len(plaintexts), self._tape))
        if not self._provers:
            self._vector = np.empty(0, np.int64)
        return EncryptedInput(self._key.encode_ciphertexts(ciphertexts)).encode(self._key)
