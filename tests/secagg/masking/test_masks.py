"""Masked inputs are uniform, to the server and to a server that has learnt one kind of mask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.party import Role
from mpc.prg import Keystream
from mpc.ring import add_masks
from secagg import Masking
from secagg.masking import Tolerance, keys
from secagg.masking.client import MaskingClient
from tests.secagg.masking.setting import Kept

N, LENGTH = 5, 4000
EXTREMES = {
    "zero": np.zeros(LENGTH, np.int64),
    "high": np.full(LENGTH, 32767),
    "low": np.full(LENGTH, -32767),
    "alternating": np.tile([32767, -32767], LENGTH // 2),
}


def masked_inputs(
    rig: SimpleNamespace, vector: np.ndarray, *, tolerance: Tolerance | None = None, **named: Any
) -> tuple[Kept, Any, list[Any]]:
    """The backend, the cohort, and each client's masked input as lanes of the ring."""
    backend = Kept(tolerance=tolerance)
    outcome = rig.play(backend, [vector] * N, keep_payloads=True, **named)
    ring = outcome.cohort.ring
    packed = {
        record.sender.index: record.message.payload
        for record in outcome.transcript.records
        if record.phase == "masked-input" and record.sender.role is Role.CLIENT
    }
    return backend, outcome.cohort, [ring.unpack(packed[index], LENGTH) for index in range(N)]


def dealing(client: MaskingClient) -> bytes:
    return client._listing.dealing(client._dealers)


def pairwise(backend: Kept, index: int) -> list[tuple[bytes, int]]:
    """Key and sign of each mask that a client has in common with a neighbour."""
    client = backend.clients[index]
    agreement = keys.Agreement(client._mask.private)
    found = []
    for peer in set(client._holders) - {index}:
        shared = agreement.with_peer(backend.clients[peer]._mask.public)
        key = keys.pairwise_mask_key(shared, dealing(client), index, peer)
        found.append((key, keys.mask_sign(index, peer)))
    return found


def views(rig: SimpleNamespace, vector: np.ndarray, **named: Any) -> dict[str, bytes]:
    """What is left of a masked input for a server with different knowledge."""
    backend, cohort, inputs = masked_inputs(rig, vector, **named)
    ring, index = cohort.ring, 2
    client = backend.clients[index]
    without_pairwise, without_self = inputs[index].copy(), inputs[index].copy()
    add_masks(without_pairwise, [(key, -sign) for key, sign in pairwise(backend, index)])
    add_masks(without_self, [(keys.self_mask_key(client._self_seed, dealing(client), index), -1)])
    difference = inputs[0] - inputs[1]
    return {
        "as it arrives": ring.pack(inputs[index]),
        "its pairwise masks known": ring.pack(without_pairwise),
        "its self-mask known": ring.pack(without_self),
        "the difference of two": ring.pack(difference),
    }


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", EXTREMES)
def test_every_view_is_uniform(rig: SimpleNamespace, name: str, sparse: bool) -> None:
    for what, data in views(rig, EXTREMES[name], tolerance=rig.spared if sparse else None).items():
        assert rig.is_uniform(data), what


CONSTANT = bytes(16)


class Zeros:
    """A keystream, but all zeros for the constant key."""

    def __init__(self, key: bytes) -> None:
        self._genuine = None if key == CONSTANT else Keystream(key)

    def fill(self, zeros: Any, buffer: Any) -> None:
        if self._genuine is None:
            buffer[: len(zeros)] = zeros
        else:
            self._genuine.fill(zeros, buffer)


def both_self_masks_known(rig: SimpleNamespace) -> bytes:
    """The difference of two masked inputs, to a server that knows both clients' pairwise masks."""
    backend, cohort, inputs = masked_inputs(rig, EXTREMES["high"])
    difference = inputs[0] - inputs[1]
    for index, sign in ((0, -1), (1, 1)):
        add_masks(difference, [(key, sign * own) for key, own in pairwise(backend, index)])
    return cohort.ring.pack(difference)


def test_without_a_self_mask_a_late_input_would_be_open(
    rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason for double masking: an input that arrives after its sender was declared to be gone."""
    monkeypatch.setattr(keys, "self_mask_key", lambda *_: CONSTANT)
    monkeypatch.setattr("mpc.ring.Keystream", Zeros)
    found = views(rig, EXTREMES["high"])
    assert not rig.is_uniform(found["its pairwise masks known"])
    assert rig.is_uniform(found["as it arrives"])


def test_without_pairwise_masks_the_self_mask_would_open_it(
    rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "pairwise_mask_key", lambda *_: CONSTANT)
    monkeypatch.setattr("mpc.ring.Keystream", Zeros)
    found = views(rig, EXTREMES["high"])
    assert not rig.is_uniform(found["its self-mask known"])
    assert rig.is_uniform(found["as it arrives"])


def test_with_one_seed_for_all_the_differences_would_be_open(
    rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rig.is_uniform(both_self_masks_known(rig))
    monkeypatch.setattr(keys, "self_mask_key", lambda *_: CONSTANT)
    assert not rig.is_uniform(both_self_masks_known(rig))


def test_with_one_key_for_all_pairs_the_middle_client_would_be_open(
    rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It adds as many of the same mask as it takes away."""
    monkeypatch.setattr(keys, "pairwise_mask_key", lambda *_: CONSTANT)
    assert not rig.is_uniform(views(rig, EXTREMES["high"])["its self-mask known"])


def test_masks_of_two_rounds_have_nothing_in_common_even_if_all_keys_have(rig: SimpleNamespace) -> None:
    """A snapshot restored, a generator reset: the digest still tells the rounds apart."""
    rows = []
    for round_ in (3, 4):
        backend = Kept()
        cohort = rig.cohort(backend, N, LENGTH, 16, round=round_)
        _, _, inputs = masked_inputs(rig, EXTREMES["high"], cohort=cohort, seed=b"the same seed")
        rows.append(inputs)
    for one, other in zip(*rows, strict=True):
        assert rig.is_uniform(cohort.ring.pack(one - other))
        assert rig.is_uniform(cohort.ring.pack(one + other))


def test_the_sum_of_all_masked_inputs_is_uniform_until_it_is_unmasked(rig: SimpleNamespace) -> None:
    """Pairwise masks cancel in it; the self-masks remain until t clients have agreed on the survivors."""
    _, cohort, inputs = masked_inputs(rig, EXTREMES["low"])
    total = np.add.reduce(inputs, dtype=inputs[0].dtype)
    assert rig.is_uniform(cohort.ring.pack(total))


@pytest.mark.parametrize("sparse", [False, True])
def test_no_key_is_used_twice(rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, sparse: bool) -> None:
    """Every key that a client derives in a round is new, but that peers meet in their common ones."""
    derived: list[tuple[bytes, str]] = []
    genuine = keys.derive_key

    def spy(secret: bytes, usage: Any, context: bytes, length: int = 16) -> bytes:
        key = genuine(secret, usage, context, length)
        derived.append((key, usage.name))
        return key

    monkeypatch.setattr(keys, "derive_key", spy)
    rig.play(Masking(tolerance=rig.spared if sparse else None), rig.vectors(N, 3, 16)).require_exact()
    by_usage: dict[str, list[bytes]] = {}
    for key, usage in derived:
        by_usage.setdefault(usage, []).append(key)
    pairs = N * (2 if sparse else N - 1) // 2
    # Both ends of a pair derive its mask; both ends of a direction its seal; client and server the rest.
    assert {usage: (len(found), len(set(found))) for usage, found in by_usage.items()} == {
        "PAIRWISE_MASK": (2 * pairs, pairs),
        "SHARE_SEALING": (4 * pairs, 2 * pairs),
        "SELF_MASK": (2 * N, N),
        "SEED_COMMITMENT": (2 * N, N),
        "CONSISTENCY": (4 * pairs, 2 * pairs),
    }
    everything = [key for found in by_usage.values() for key in set(found)]
    assert len(set(everything)) == len(everything)
