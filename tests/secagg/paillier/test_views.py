"""What server and key holders see looks the same whatever the clients hold, and a broken variant does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from mpc.party import SERVER, Message, PartyId, Role
from mpc.tape import RandomTape
from mpc.transcript import Transcript
from secagg.paillier.messages import DECRYPT, INPUT, OPENED, DecryptRequest
from secagg.paillier.numbers import decode_numbers
from secagg.paillier.packing import Packing
from secagg.paillier.public import PublicKey
from secagg.paillier.server import PaillierServer

BUCKETS = 16
CIPHERTEXTS = 400
# The chi-square quantile of 15 degrees of freedom at 1 − 10^-6: the tapes are fixed, so a test that passes
# passes again.
LIMIT = 56.5
SIZE = 3
KEY_HOLDER = PartyId(Role.KEY_HOLDER)


def chi_square(values: list[mpz], below: mpz) -> float:
    """Against the uniform distribution on [0, below), in buckets of equal width."""
    counts = np.bincount([int(value * BUCKETS // below) for value in values], minlength=BUCKETS)
    expected = len(values) / BUCKETS
    return float(((counts - expected) ** 2 / expected).sum())


def payloads(transcript: Transcript, receiver: PartyId, phase: str) -> list[bytes]:
    records = transcript.view(receiver)
    return [bytes(r.message.payload) for r in records if r.phase == phase and r.message is not None]


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
        width = key.ciphertext_bytes
        rows = [data[32 : 32 + CIPHERTEXTS * width] for data in payloads(transcript, SERVER, INPUT)]
        seen = [ciphertext for row in rows for ciphertext in decode_numbers(row, width)]
        (asked,) = payloads(transcript, KEY_HOLDER, DECRYPT)
        shown = decode_numbers(asked[1:], key.bits // 8)
        return {
            "server": chi_square(seen, key.n2),
            "key holder": chi_square(shown, key.n),
            "key holder, decrypting": chi_square(private.decrypt_many(shown), key.n),
        }

    return look


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_views_are_uniform_whatever_the_inputs(views: Callable[[int], dict[str, float]], sign: int) -> None:
    assert max(views(sign).values()) < LIMIT


def test_without_randomness_both_would_see_the_inputs(
    views: Callable[[int], dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(self: PublicKey, count: int, tape: RandomTape) -> list[mpz]:
        return [mpz(1)] * count

    monkeypatch.setattr(PublicKey, "randomizers", bare)
    assert min(views(1).values()) > LIMIT


# What key holders are shown depends on the randomness and on nothing else


@pytest.fixture(params=["one", "any 2 of 3"])
def shown(
    request: pytest.FixtureRequest, new_lab: Callable[[], Any], shared: Callable[..., Any]
) -> Callable[[int], dict[PartyId, list[bytes]]]:
    def look(seed: int) -> dict[PartyId, list[bytes]]:
        """All that each key holder receives, where the clients hold vectors of this seed."""
        lab = new_lab()
        backend = lab.backend() if request.param == "one" else shared(3, 2)
        cohort = lab.cohort(4, 50)
        vectors = lab.vectors(cohort, seed)
        total, transcript = lab.run(cohort, vectors, backend=backend, keep_payloads=True)
        np.testing.assert_array_equal(total.total, sum(vectors.values()))
        holders = backend._opening().holders
        found = {who: payloads(transcript, who, DECRYPT) for who in holders}
        assert all(transcript.view(who) and len(found[who]) == len(transcript.view(who)) for who in holders)
        return found | {SERVER: payloads(transcript, SERVER, OPENED)}

    return look


def test_key_holders_are_shown_the_same_whatever_the_vectors(
    shown: Callable[[int], dict[PartyId, list[bytes]]],
) -> None:
    """To the byte, and so are their answers: with what they hold, they could compute nothing that differs."""
    views = [shown(seed) for seed in range(4)]
    assert all(view == views[0] for view in views)


def test_the_product_modulo_n_squared_would_show_the_vectors(
    shown: Callable[[int], dict[PartyId, list[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the comparison can fail: a server that adds what follows modulo n² shows different things."""
    honest = PaillierServer._open

    def whole(self: PaillierServer, accepted: tuple[int, ...]) -> list[Message]:
        asked = honest(self, accepted)
        high = [ciphertext // self._key.n + 1 for ciphertext in self._product]
        payload = DecryptRequest(accepted, high).encode(self._key, self.cohort.size)
        return [*asked, *(replace(message, payload=payload) for message in asked)]

    monkeypatch.setattr(PaillierServer, "_open", whole)
    assert shown(0) != shown(1)


def test_the_server_sees_different_ciphertexts_of_equal_vectors(lab: Any) -> None:
    """Two clients with one vector, and one client in two rounds, never send one ciphertext twice."""
    seen: list[mpz] = []
    for round in range(3):
        cohort = lab.cohort(round=round)
        vectors = dict.fromkeys(cohort.members, np.zeros(cohort.length, np.int64))
        _, transcript = lab.run(cohort, vectors, keep_payloads=True, seed=b"the same seed")
        width = lab.keys.public.encryption.ciphertext_bytes
        for data in payloads(transcript, SERVER, INPUT):
            seen += decode_numbers(data[32 : 32 + 3 * width], width)
    assert len(seen) == len(set(seen)) == 3 * 4 * 3
