"""What server and key holder see looks the same whatever the clients hold, and a broken variant does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from mpc.party import SERVER
from mpc.tape import RandomTape
from secagg.paillier.messages import KEY_HOLDER, DecryptRequest, EncryptedInput
from secagg.paillier.packing import Packing
from secagg.paillier.public import PublicKey
from secagg.paillier.server import PaillierServer

BUCKETS = 16
CIPHERTEXTS = 400
# The chi-square quantile of 15 degrees of freedom at 1 − 10^-6: the tapes are fixed, so a test that passes
# passes again.
LIMIT = 56.5
SIZE = 3


def chi_square(values: list[mpz], below: mpz) -> float:
    """Against the uniform distribution on [0, below), in buckets of equal width."""
    counts = np.bincount([int(value * BUCKETS // below) for value in values], minlength=BUCKETS)
    expected = len(values) / BUCKETS
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.fixture
def views(new_lab: Callable[[], Any]) -> Callable[[int], dict[str, float]]:
    def look(sign: int) -> dict[str, float]:
        """Run a round in which every entry is ``sign`` times the largest; statistics of what was seen."""
        lab = new_lab()
        packing = Packing(16, SIZE, 512)
        cohort = lab.cohort(SIZE, CIPHERTEXTS * packing.slots)
        vector = np.full(cohort.length, sign * cohort.max_entry)
        total, transcript = lab.run(cohort, dict.fromkeys(cohort.members, vector), keep_payloads=True)
        np.testing.assert_array_equal(total.total, SIZE * vector)
        private, key = lab.keys.encryption, lab.keys.public.encryption
        inputs = [record.message.payload for record in transcript.view(SERVER)[:SIZE]]
        (asked,) = (record.message.payload for record in transcript.view(KEY_HOLDER))
        seen = [c for data in inputs for c in EncryptedInput.decode(data[32:], key, CIPHERTEXTS).ciphertexts]
        opened = private.decrypt_many(DecryptRequest.decode(asked, key, CIPHERTEXTS, SIZE).ciphertexts)
        return {"server": chi_square(seen, key.n2), "key holder": chi_square(opened, key.n)}

    return look


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_views_are_uniform_whatever_the_inputs(views: Callable[[int], dict[str, float]], sign: int) -> None:
    assert max(views(sign).values()) < LIMIT


def test_without_pads_the_key_holder_would_see_the_sum(
    views: Callable[[int], dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpadded(self: PublicKey, ciphertexts: list[mpz], plaintexts: list[mpz]) -> list[mpz]:
        plaintexts[:] = [mpz(0)] * len(plaintexts)
        return list(ciphertexts)

    monkeypatch.setattr(PublicKey, "add_plaintexts", unpadded)
    seen = views(1)
    assert seen["key holder"] > LIMIT > seen["server"]


def test_without_randomness_the_server_would_see_the_inputs(
    views: Callable[[int], dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(self: PublicKey, plaintexts: list[mpz], tape: RandomTape) -> list[mpz]:
        return [1 + plaintext * self.n for plaintext in plaintexts]

    monkeypatch.setattr(PublicKey, "encrypt_many", bare)
    seen = views(1)
    assert seen["server"] > LIMIT > seen["key holder"]


def test_a_pad_is_used_once(new_lab: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pads: list[mpz] = []
    opened = PaillierServer._open

    def watched(self: PaillierServer, accepted: tuple[int, ...]) -> Any:
        messages = opened(self, accepted)
        pads.extend(self._pads)
        return messages

    monkeypatch.setattr(PaillierServer, "_open", watched)
    for round in range(3):
        lab = new_lab()
        cohort = lab.cohort(round=round)
        lab.run(cohort, lab.vectors(cohort), seed=bytes([round]))
    assert len(set(pads)) == len(pads) == 9
