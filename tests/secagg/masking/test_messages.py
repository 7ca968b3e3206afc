"""The masking messages: sizes as in spec section 12.2, one encoding each; and what keys.py derives."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc import field
from mpc.errors import DecodeError
from mpc.ring import Ring
from mpc.tape import SeededTape
from mpc.wire import Subset
from secagg.masking import keys
from secagg.masking.messages import (
    COMMITTED_BYTES,
    DEALT_BYTES,
    LIMBS,
    RELAYED_BYTES,
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
DIGEST, ROOT = bytes(range(32)), bytes(range(32, 64))
HOLDERS = tuple(range(2, 2 + 3 * N, 3))  # of somebody's shares, in a larger cohort
subsets = st.sets(st.integers(0, N - 1)).map(lambda found: tuple(sorted(found)))


def blob(size: int, *label: object) -> bytes:
    return SeededTape(repr(label).encode()).read(size)


def advertisement(index: int, signed: bool = False) -> KeyAdvertisement:
    signature = blob(64, "signature", index) if signed else b""
    return KeyAdvertisement(blob(32, "channel", index), blob(32, "mask", index), signature)


def shares(rows: int) -> np.ndarray:
    return field.expand(bytes(16), rows * LIMBS).reshape(rows, LIMBS)


@given(listed=subsets, shown=subsets, proof=st.integers(0, 9), signed=st.booleans())
def test_key_lists(listed: tuple[int, ...], shown: tuple[int, ...], proof: int, signed: bool) -> None:
    keys_shown = {index: advertisement(index, signed) for index in shown}
    message = KeyList(DIGEST, ROOT, Subset.of(listed, N), keys_shown, blob(32 * proof))
    data = message.encode(N)
    asked: list[Any] = []

    def holders(*known: Any) -> tuple[int, ...]:
        asked.append(known)
        return shown

    assert KeyList.decode(data, N, signed, holders) == message
    assert asked == [(DIGEST, ROOT, Subset.of(listed, N))]
    each = 128 if signed else 64
    assert len(data) == KeyList.size(N, len(shown), proof, signed) == 64 + 2 + each * len(shown) + 32 * proof


@given(holders=st.integers(1, N))
def test_sealed_shares(holders: int) -> None:
    committed = blob(COMMITTED_BYTES * holders, "committed")
    sealed = blob(SEALED_BYTES * (holders - 1), "sealed")
    encoded = SealedShares(blob(32, "commitment"), committed, sealed).encode()
    assert SealedShares.decode(encoded, holders) == SealedShares(blob(32, "commitment"), committed, sealed)
    assert len(encoded) == SealedShares.size(holders) == 32 + 32 * holders + 96 * (holders - 1)


@given(dealers=subsets, neighbours=subsets)
def test_relayed_shares(dealers: tuple[int, ...], neighbours: tuple[int, ...]) -> None:
    common = sorted(set(dealers).intersection(neighbours))
    parts = {index: (blob(32, "committed", index), blob(SEALED_BYTES, index)) for index in common}
    encoded = RelayedShares(dealers, b"".join(map(b"".join, parts.values()))).encode(N)
    found = RelayedShares.decode(encoded, N)
    assert tuple(found.dealers) == dealers
    assert {dealer: tuple(map(bytes, rest)) for dealer, *rest in found.by_dealer(neighbours)} == parts
    assert len(encoded) == RelayedShares.size(N, len(common)) == 2 + 128 * len(common)


@pytest.mark.parametrize("neighbours", [(0, 1), (0, 1, 4, 8), ()], ids=str)
def test_relayed_shares_are_of_all_neighbours_that_dealt_and_of_nobody_else(neighbours: Any) -> None:
    encoded = RelayedShares((1, 4, 8), blob(2 * RELAYED_BYTES)).encode(N)
    assert [dealer for dealer, *_ in RelayedShares.decode(encoded, N).by_dealer((4, 8, 9))] == [4, 8]
    with pytest.raises(DecodeError):
        list(RelayedShares.decode(encoded, N).by_dealer(neighbours))


@given(survivors=subsets)
def test_survivor_sets(survivors: tuple[int, ...]) -> None:
    data = SurvivorSet(survivors).encode(N)
    assert tuple(SurvivorSet.decode(data, N).survivors) == survivors
    assert len(data) == SurvivorSet.size(N) == 2


@given(neighbours=st.integers(0, N))
def test_consistency_tags(neighbours: int) -> None:
    tags = blob(16 * neighbours)
    encoded = ConsistencyTags(tags).encode()
    assert ConsistencyTags.decode(encoded, neighbours).tags == tags
    assert len(encoded) == ConsistencyTags.size(neighbours) == 16 * neighbours


@given(places=subsets)
def test_relayed_tags(places: tuple[int, ...]) -> None:
    message = RelayedTags({HOLDERS[place]: blob(16, place) for place in places})
    data = message.encode(HOLDERS)
    assert RelayedTags.decode(data, HOLDERS) == message
    assert len(data) == RelayedTags.size(len(HOLDERS), len(places)) == 2 + 16 * len(places)
    assert data[:2] == sum(1 << place for place in places).to_bytes(2, "little")


@given(places=subsets)
def test_unmask_shares(places: tuple[int, ...]) -> None:
    dealers = tuple(HOLDERS[place] for place in places)
    message = UnmaskShares(dealers, shares(len(dealers)))
    data = message.encode(HOLDERS)
    found = UnmaskShares.decode(data, HOLDERS)
    assert tuple(found.dealers) == dealers
    assert np.array_equal(found.shares, message.shares)
    assert len(data) == UnmaskShares.size(len(HOLDERS), len(dealers)) == 2 + 40 * len(dealers)
    assert data[:2] == sum(1 << place for place in places).to_bytes(2, "little")


def test_unmask_shares_show_no_share() -> None:
    assert repr(UnmaskShares((0,), shares(1))) == "UnmaskShares(dealers=(0,), shares=<secret>)"


def test_sizes_on_the_wire() -> None:
    assert (LIMBS, SHARE_BYTES, DEALT_BYTES, SEALED_BYTES) == (5, 40, 80, 96)
    assert (COMMITTED_BYTES, RELAYED_BYTES) == (32, 128)
    assert (KeyAdvertisement.size(), KeyAdvertisement.size(signed=True)) == (64, 128)


def test_a_leaf_holds_whose_keys_they_are_and_the_signature() -> None:
    for signed in (False, True):
        one = advertisement(3, signed)
        assert one.leaf(0x0102) == b"\2\1\0\0" + one.encode()
    assert len(advertisement(3, signed=True).leaf(3)) == 4 + 128


def whole_relay(data: bytes) -> RelayedShares:
    """As a client with neighbours 1 and 8 reads it."""
    found = RelayedShares.decode(data, N)
    list(found.by_dealer((1, 8)))
    return found


def listing(data: bytes, signed: bool = False) -> KeyList:
    """As a client with the first two of those listed for holders, and three hashes due, reads it."""
    found = KeyList.decode(data, N, signed, lambda digest, root, listed: tuple(listed)[:2])
    if len(found.proof) != 96:
        raise DecodeError("a proof of another length")
    return found


DECODERS: dict[str, tuple[Any, Any]] = {
    "advertisement": (KeyAdvertisement.decode, lambda m: m.encode()),
    "signed advertisement": (lambda data: KeyAdvertisement.decode(data, True), lambda m: m.encode()),
    "key list": (listing, lambda m: m.encode(N)),
    "signed key list": (lambda data: listing(data, True), lambda m: m.encode(N)),
    "sealed": (lambda data: SealedShares.decode(data, 3), lambda m: m.encode()),
    "relayed": (whole_relay, lambda m: m.encode(N)),
    "survivors": (lambda data: SurvivorSet.decode(data, N), lambda m: m.encode(N)),
    "tags": (lambda data: ConsistencyTags.decode(data, 2), lambda m: bytes(m.encode())),
    "relayed tags": (lambda data: RelayedTags.decode(data, HOLDERS), lambda m: m.encode(HOLDERS)),
    "shares": (lambda data: UnmaskShares.decode(data, HOLDERS), lambda m: m.encode(HOLDERS)),
}


def key_list(listed: tuple[int, ...], signed: bool = False) -> bytes:
    shown = {index: advertisement(index, signed) for index in listed[:2]}
    return KeyList(DIGEST, ROOT, listed, shown, blob(96)).encode(N)


EXAMPLES = {
    "advertisement": advertisement(0).encode(),
    "signed advertisement": advertisement(0, signed=True).encode(),
    "signed key list": key_list((0, 9), signed=True),
    "key list": key_list((0, 3, 10)),
    "sealed": SealedShares(bytes(32), bytes(96), bytes(192)).encode(),
    "relayed": RelayedShares((1, 4, 8), bytes(256)).encode(N),
    "survivors": SurvivorSet((0, 5)).encode(N),
    "tags": ConsistencyTags(blob(32)).encode(),
    "relayed tags": RelayedTags({HOLDERS[0]: blob(16, 0), HOLDERS[10]: blob(16, 10)}).encode(HOLDERS),
    "shares": UnmaskShares((HOLDERS[2], HOLDERS[7]), shares(2)).encode(HOLDERS),
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
        UnmaskShares.decode(bytes(data), HOLDERS)


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
