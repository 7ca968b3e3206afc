"""The masking messages: sizes as in spec section 12.2, one encoding each; and what keys.py derives."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc import field
from mpc.errors import DecodeError, LocalError
from mpc.party import overhead
from mpc.ring import Ring
from mpc.tape import SeededTape
from secagg import Masking
from secagg.cohort import KEY_BYTES
from secagg.link import TAG_BYTES
from secagg.masking import keys
from secagg.masking.messages import (
    DEALT_BYTES,
    LIMBS,
    SEALED_BYTES,
    SHARE_BYTES,
    ConsistencyTags,
    KeyAdvertisement,
    KeyList,
    MaskedInput,
    RelayedShares,
    RelayedTags,
    SealedShares,
    SurvivorSet,
    UnmaskShares,
)

N = 11
DIGEST = bytes(range(32))
subsets = st.sets(st.integers(0, N - 1)).map(lambda found: tuple(sorted(found)))


def blob(size: int, *label: object) -> bytes:
    return SeededTape(repr(label).encode()).read(size)


def advertisement(index: int, signed: bool = False) -> KeyAdvertisement:
    signature = blob(64, "signature", index) if signed else b""
    return KeyAdvertisement(blob(32, "channel", index), blob(32, "mask", index), signature)


def shares(rows: int) -> np.ndarray:
    return field.expand(bytes(16), rows * LIMBS).reshape(rows, LIMBS)


@given(listed=subsets, signed=st.booleans())
def test_key_lists(listed: tuple[int, ...], signed: bool) -> None:
    message = KeyList(DIGEST, {index: advertisement(index, signed) for index in listed})
    data = message.encode(N, signed)
    assert KeyList.decode(data, N, signed) == message
    each = 128 if signed else 64
    assert len(data) == KeyList.size(N, len(listed), signed) == 32 + 2 + each * len(listed)


@given(listed=subsets.filter(lambda found: len(found) > 0), data=st.data())
def test_sealed_shares(listed: tuple[int, ...], data: st.DataObject) -> None:
    sender = data.draw(st.sampled_from(listed))
    boxes = {index: blob(SEALED_BYTES, index) for index in listed if index != sender}
    encoded = SealedShares(blob(32, "commitment"), boxes).encode()
    assert SealedShares.decode(encoded, sender, listed) == SealedShares(blob(32, "commitment"), boxes)
    assert len(encoded) == SealedShares.size(len(listed)) == 32 + 96 * (len(listed) - 1)


@given(dealers=subsets.filter(lambda found: len(found) > 0), data=st.data())
def test_relayed_shares(dealers: tuple[int, ...], data: st.DataObject) -> None:
    receiver = data.draw(st.sampled_from(dealers))
    boxes = {index: blob(SEALED_BYTES, index) for index in dealers if index != receiver}
    encoded = RelayedShares(dealers, boxes).encode(N)
    assert RelayedShares.decode(encoded, N, receiver) == RelayedShares(dealers, boxes)
    assert len(encoded) == RelayedShares.size(N, len(dealers)) == 2 + 96 * (len(dealers) - 1)


@given(survivors=subsets)
def test_survivor_sets(survivors: tuple[int, ...]) -> None:
    data = SurvivorSet(survivors).encode(N)
    assert SurvivorSet.decode(data, N).survivors == survivors
    assert len(data) == SurvivorSet.size(N) == 2


@given(survivors=subsets.filter(lambda found: len(found) > 0), data=st.data())
def test_consistency_tags(survivors: tuple[int, ...], data: st.DataObject) -> None:
    sender = data.draw(st.sampled_from(survivors))
    tags = {index: blob(16, index) for index in survivors if index != sender}
    encoded = ConsistencyTags(tags).encode()
    assert ConsistencyTags.decode(encoded, sender, survivors).tags == tags
    assert len(encoded) == ConsistencyTags.size(len(survivors)) == 16 * (len(survivors) - 1)


@given(senders=subsets)
def test_relayed_tags(senders: tuple[int, ...]) -> None:
    message = RelayedTags({index: blob(16, index) for index in senders})
    data = message.encode(N)
    assert RelayedTags.decode(data, N) == message
    assert len(data) == RelayedTags.size(N, len(senders)) == 2 + 16 * len(senders)


@given(dealers=subsets)
def test_unmask_shares(dealers: tuple[int, ...]) -> None:
    message = UnmaskShares(dealers, shares(len(dealers)))
    data = message.encode(N)
    found = UnmaskShares.decode(data, N)
    assert found.dealers == dealers
    assert np.array_equal(found.shares, message.shares)
    assert len(data) == UnmaskShares.size(N, len(dealers)) == 2 + 40 * len(dealers)


def test_sizes_on_the_wire() -> None:
    assert (LIMBS, SHARE_BYTES, DEALT_BYTES, SEALED_BYTES) == (5, 40, 80, 96)
    assert (KeyAdvertisement.size(), KeyAdvertisement.size(signed=True)) == (64, 128)


DECODERS: dict[str, tuple[Any, Any]] = {
    "advertisement": (KeyAdvertisement.decode, lambda m: m.encode()),
    "signed advertisement": (lambda data: KeyAdvertisement.decode(data, True), lambda m: m.encode()),
    "key list": (lambda data: KeyList.decode(data, N), lambda m: m.encode(N)),
    "signed key list": (lambda data: KeyList.decode(data, N, True), lambda m: m.encode(N, True)),
    "sealed": (lambda data: SealedShares.decode(data, 1, (0, 1, 4)), lambda m: m.encode()),
    "relayed": (lambda data: RelayedShares.decode(data, N, 4), lambda m: m.encode(N)),
    "survivors": (lambda data: SurvivorSet.decode(data, N), lambda m: m.encode(N)),
    "tags": (lambda data: ConsistencyTags.decode(data, 1, (0, 1, 4)), lambda m: m.encode()),
    "relayed tags": (lambda data: RelayedTags.decode(data, N), lambda m: m.encode(N)),
    "shares": (lambda data: UnmaskShares.decode(data, N), lambda m: m.encode(N)),
}
EXAMPLES = {
    "advertisement": advertisement(0).encode(),
    "signed advertisement": advertisement(0, signed=True).encode(),
    "signed key list": KeyList(DIGEST, {index: advertisement(index, True) for index in (0, 9)}).encode(
        N, True
    ),
    "key list": KeyList(DIGEST, {index: advertisement(index) for index in (0, 3, 10)}).encode(N),
    "sealed": SealedShares(bytes(32), {0: bytes(96), 4: bytes(96)}).encode(),
    "relayed": RelayedShares((1, 4, 8), {1: bytes(96), 8: bytes(96)}).encode(N),
    "survivors": SurvivorSet((0, 5)).encode(N),
    "tags": ConsistencyTags({0: blob(16, 0), 4: blob(16, 4)}).encode(),
    "relayed tags": RelayedTags({0: blob(16, 0), 10: blob(16, 10)}).encode(N),
    "shares": UnmaskShares((2, 7), shares(2)).encode(N),
}


@pytest.mark.parametrize("name", DECODERS)
def test_every_cut_and_extension_is_refused(name: str) -> None:
    decode, _ = DECODERS[name]
    data = EXAMPLES[name]
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            decode(data[:size])
    with pytest.raises(DecodeError):
        decode(data + b"\0")


@given(name=st.sampled_from(list(DECODERS)), place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_what_decodes_encodes_back(name: str, place: int, value: int) -> None:
    decode, encode = DECODERS[name]
    data = bytearray(EXAMPLES[name])
    data[place % len(data)] = value
    try:
        message = decode(bytes(data))
    except DecodeError:
        return
    assert encode(message) == bytes(data)


@pytest.mark.parametrize("word", [field.P, field.P + 1, 2**64 - 1])
def test_a_share_that_is_no_field_element_is_refused(word: int) -> None:
    data = bytearray(EXAMPLES["shares"])
    data[2:10] = word.to_bytes(8, "little")
    with pytest.raises(DecodeError):
        UnmaskShares.decode(bytes(data), N)


@pytest.mark.parametrize(("bits", "length"), [(19, 5), (16, 4), (18, 1), (33, 7)])
def test_masked_inputs(bits: int, length: int) -> None:
    ring = Ring(bits)
    size = ring.packed_size(length)
    assert MaskedInput.decode(bytes(size), ring, length).packed == bytes(size)
    for wrong in (size - 1, size + 1, 0):
        with pytest.raises(DecodeError, match=f"of {wrong} bytes, where {size} were due"):
            MaskedInput.decode(bytes(wrong), ring, length)
    if (bits * length) % 8:
        with pytest.raises(DecodeError, match="padding bits are not zero"):
            MaskedInput.decode(bytes(size - 1) + b"\x80", ring, length)


def test_signs_cancel() -> None:
    for one, other in combinations(range(6), 2):
        assert keys.mask_sign(one, other) + keys.mask_sign(other, one) == 0


def test_sealing_is_bound_to_both_ends_and_the_round() -> None:
    secret, plaintext = blob(32, "secret"), blob(80, "shares")
    box = keys.seal(secret, DIGEST, 1, 2, plaintext)
    assert len(box) == SEALED_BYTES
    assert keys.unseal(secret, DIGEST, 1, 2, box) == plaintext
    wrong: list[tuple[Any, ...]] = [
        (blob(32, "other"), DIGEST, 1, 2, box),
        (secret, bytes(32), 1, 2, box),
        (secret, DIGEST, 2, 1, box),
        (secret, DIGEST, 1, 3, box),
        (secret, DIGEST, 0, 2, box),
        (secret, DIGEST, 1, 2, box[:-1]),
        (secret, DIGEST, 1, 2, b""),
        *((secret, DIGEST, 1, 2, box[:i] + bytes([box[i] ^ 1]) + box[i + 1 :]) for i in range(0, 96, 7)),
    ]
    for arguments in wrong:
        with pytest.raises(DecodeError, match="a sealed share does not open"):
            keys.unseal(*arguments)


@pytest.mark.parametrize("signed", [False, True])
def test_declared_cost_is_the_table_of_the_specification(rig: SimpleNamespace, signed: bool) -> None:
    n, length = 10, 1000
    identities = tuple(blob(32, f"identity {index}") for index in range(n)) if signed else ()
    cohort = rig.cohort(Masking(), n, length, 16, identities=identities)
    cost = Masking().cost(cohort)
    assert cost.rounds == 5
    signature = 64 if signed else 0
    bitmap, packed = 2, -(-cohort.sum_bits * length // 8)
    expected = {
        ("advertise-keys", "CLIENT"): 64 + signature + KEY_BYTES + signature,
        ("share-keys", "SERVER"): 32 + bitmap + (64 + signature) * n,
        ("share-keys", "CLIENT"): 32 + 96 * (n - 1),
        ("masked-input", "SERVER"): bitmap + 96 * (n - 1),
        ("masked-input", "CLIENT"): packed,
        ("consistency", "SERVER"): bitmap,
        ("consistency", "CLIENT"): 16 * (n - 1),
        ("unmask", "SERVER"): bitmap + 16 * (n - 1),
        ("unmask", "CLIENT"): bitmap + 40 * n,
    }
    found = {(link.phase, link.sender.name): link.size for link in cost.links}
    assert found == {
        (phase, sender): size + overhead(phase, TAG_BYTES) for (phase, sender), size in expected.items()
    }


@pytest.mark.parametrize(
    ("threshold", "members", "complaint"),
    [
        (0.5, 10, "threshold is 0.5: must be more than half of the 10 clients"),
        (5, 10, "threshold is 5: must be more than half of the 10 clients"),
        (0.01, 5, "threshold is 0.01: must be more than half of the 5 clients"),
        (11, 10, "threshold is 11: must be at most the cohort's 10 clients"),
    ],
)
def test_thresholds_that_would_open_a_client_are_refused(
    threshold: float, members: int, complaint: str
) -> None:
    with pytest.raises(LocalError, match=complaint):
        Masking(threshold).resolve_threshold(members)


def test_a_consistency_tag_is_bound_to_both_ends_the_round_and_the_sets() -> None:
    secret, sets = blob(32, "secret"), b"\x07\x00\x07\x00"
    found = [
        keys.consistency_tag(*arguments)
        for arguments in (
            (secret, DIGEST, 1, 2, sets),
            (secret, DIGEST, 2, 1, sets),
            (secret, DIGEST, 1, 3, sets),
            (secret, bytes(32), 1, 2, sets),
            (blob(32, "other"), DIGEST, 1, 2, sets),
            (secret, DIGEST, 1, 2, b"\x07\x00\x03\x00"),
            (secret, DIGEST, 1, 2, b"\x0f\x00\x07\x00"),
        )
    ]
    assert {len(tag) for tag in found} == {16}
    assert len(set(found)) == len(found)
