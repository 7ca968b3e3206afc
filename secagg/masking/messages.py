"""The messages of the masking protocol, in the order in which they are sent (spec section 12.2).

Sets of clients are bitmaps over the cohort, or over the holders of one client, so none can stand twice in
one, and a survivor list and a dropout list cannot overlap: who shared keys and is not among the survivors has
dropped out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc import field, shamir
from mpc.errors import DecodeError
from mpc.merkle import HASH_BYTES
from mpc.ring import Ring
from mpc.wire import Reader, Subset, Writer
from secagg.checks.messages import CHECK_PHASE
from secagg.cohort import DIGEST_BYTES, KEY_BYTES
from secagg.identity import SIGNATURE_BYTES
from secagg.masking.keys import (
    COMMITMENT_BYTES,
    CONSISTENCY_BYTES,
    SEAL_BYTES,
    SECRET_BYTES,
    SHARE_COMMITMENT_BYTES,
)

ADVERTISE = "advertise-keys"
SHARE = "share-keys"
INPUT = "masked-input"
CHECK = CHECK_PHASE
CONSISTENCY = "consistency"
UNMASK = "unmask"
PHASES = (ADVERTISE, SHARE, INPUT, CHECK, CONSISTENCY, UNMASK)

LIMBS = shamir.limbs(SECRET_BYTES)
SHARE_BYTES = 8 * LIMBS  # one share of one 32-byte secret
SEED, KEY = 0, 1  # kinds of shares: of the self-mask seed, of the masking key
DEALT_BYTES = 2 * SHARE_BYTES  # to each holder: one share of either kind
SEALED_BYTES = DEALT_BYTES + SEAL_BYTES
COMMITTED_BYTES = 2 * SHARE_COMMITMENT_BYTES
RELAYED_BYTES = COMMITTED_BYTES + SEALED_BYTES
Shares = NDArray[np.uint64]
Holders = Callable[[bytes, bytes, Subset], Sequence[int]]


def bitmap_bytes(size: int) -> int:
    return (size + 7) // 8


@dataclass(frozen=True, slots=True)
class KeyAdvertisement:
    """Client to server: the public halves of its two keys, signed where the cohort pins identities."""

    channel_key: bytes
    mask_key: bytes
    signature: bytes = b""

    @staticmethod
    def size(signed: bool = False) -> int:
        return 2 * KEY_BYTES + (SIGNATURE_BYTES if signed else 0)

    def content(self, digest: bytes, index: int) -> bytes:
        """What is signed: session, round, members and model by the cohort's digest, then whose keys."""
        return digest + index.to_bytes(4, "little") + self.channel_key + self.mask_key

    def leaf(self, index: int) -> bytes:
        """What stands in the Merkle tree of the listing for this member."""
        return index.to_bytes(4, "little") + self.encode()

    def encode(self) -> bytes:
        return self.channel_key + self.mask_key + self.signature

    @classmethod
    def read(cls, reader: Reader, signed: bool = False) -> KeyAdvertisement:
        signature_bytes = SIGNATURE_BYTES if signed else 0
        return cls(reader.fixed(KEY_BYTES), reader.fixed(KEY_BYTES), reader.fixed(signature_bytes))

    @classmethod
    def decode(cls, data: bytes | memoryview, signed: bool = False) -> KeyAdvertisement:
        reader = Reader(data)
        advertisement = cls.read(reader, signed)
        reader.finish()
        return advertisement


@dataclass(frozen=True, slots=True)
class KeyList:
    """Server to client: who advertised keys, for which cohort, and what the receiver's holders advertised.

    ``root``: that of the Merkle tree over all advertisements; ``proof``: that those shown are among them.
    """

    digest: bytes
    root: bytes
    listed: Collection[int]
    keys: Mapping[int, KeyAdvertisement]
    proof: bytes | memoryview

    @staticmethod
    def size(members: int, holders: int, proof_hashes: int, signed: bool = False) -> int:
        head = DIGEST_BYTES + HASH_BYTES + bitmap_bytes(members)
        return head + holders * KeyAdvertisement.size(signed) + HASH_BYTES * proof_hashes

    def encode(self, members: int) -> bytes:
        head = Writer().fixed(self.digest, DIGEST_BYTES).fixed(self.root, HASH_BYTES)
        shown = [self.keys[index].encode() for index in sorted(self.keys)]
        return b"".join((head.members(self.listed, members).finish(), *shown, self.proof))

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int, signed: bool, holders: Holders) -> KeyList:
        """``holders``: root and listed members → whose advertisements follow."""
        reader = Reader(data)
        digest, root = reader.fixed(DIGEST_BYTES), reader.fixed(HASH_BYTES)
        listed = reader.subset(members)
        keys = {index: KeyAdvertisement.read(reader, signed) for index in holders(digest, root, listed)}
        return cls(digest, root, listed, keys, reader.rest())


@dataclass(frozen=True, slots=True)
class SealedShares:
    """Client to server: a commitment to its self-mask seed; for each holder, commitments to its two shares;
    for each neighbour, the two shares themselves, sealed to it."""

    commitment: bytes
    share_commitments: bytes | memoryview
    sealed: bytes | memoryview

    @staticmethod
    def size(holders: int) -> int:
        return COMMITMENT_BYTES + holders * COMMITTED_BYTES + (holders - 1) * SEALED_BYTES

    def encode(self) -> bytes:
        return b"".join((self.commitment, self.share_commitments, self.sealed))

    @classmethod
    def decode(cls, data: bytes | memoryview, holders: int) -> SealedShares:
        reader = Reader(data)
        commitment = reader.fixed(COMMITMENT_BYTES)
        share_commitments = reader.view(holders * COMMITTED_BYTES)
        sealed = reader.view((holders - 1) * SEALED_BYTES)
        reader.finish()
        return cls(commitment, share_commitments, sealed)


@dataclass(frozen=True, slots=True)
class RelayedShares:
    """Server to client: who dealt shares, the receiver included; then for each neighbour among them, in
    order, its commitments to the receiver's shares, and the shares that it sealed to the receiver."""

    dealers: Collection[int]
    boxes: bytes | memoryview

    @staticmethod
    def size(members: int, neighbours: int) -> int:
        return bitmap_bytes(members) + neighbours * RELAYED_BYTES

    def encode(self, members: int) -> bytes:
        return b"".join((Writer().members(self.dealers, members).finish(), self.boxes))

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> RelayedShares:
        reader = Reader(data)
        return cls(reader.subset(members), reader.rest())

    def by_dealer(self, neighbours: Collection[int]) -> Iterator[tuple[int, memoryview, memoryview]]:
        """(dealer, commitments, sealed) for each of those ``neighbours`` that dealt."""
        dealers = [index for index in sorted(neighbours) if index in self.dealers]
        reader = Reader(self.boxes)
        for dealer in dealers:
            yield dealer, reader.view(COMMITTED_BYTES), reader.view(SEALED_BYTES)
        reader.finish()


@dataclass(frozen=True, slots=True)
class MaskedInput:
    """Client to server: the masked vector, packed to the ring's bits."""

    packed: bytes | memoryview

    def encode(self) -> bytes | memoryview:
        return self.packed

    @classmethod
    def decode(cls, data: bytes | memoryview, ring: Ring, length: int) -> MaskedInput:
        expected = ring.packed_size(length)
        if len(data) != expected:
            raise DecodeError(f"a masked input of {len(data)} bytes, where {expected} were due")
        padding = 8 * expected - ring.bits * length
        if padding and data[-1] >> (8 - padding):
            raise DecodeError("a masked input whose padding bits are not zero")
        return cls(data)


@dataclass(frozen=True, slots=True)
class SurvivorSet:
    """Server to survivor: whose inputs are in the sum."""

    survivors: Collection[int]

    @staticmethod
    def size(members: int) -> int:
        return bitmap_bytes(members)

    def encode(self, members: int) -> bytes:
        return Writer().members(self.survivors, members).finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> SurvivorSet:
        reader = Reader(data)
        survivors = reader.subset(members)
        reader.finish()
        return cls(survivors)


@dataclass(frozen=True, slots=True)
class ConsistencyTags:
    """Survivor to server: for each neighbour that survived, in order, a tag on the sets that the sender was
    shown."""

    tags: bytes | memoryview

    @staticmethod
    def size(neighbours: int) -> int:
        return neighbours * CONSISTENCY_BYTES

    def encode(self) -> bytes | memoryview:
        return self.tags

    @classmethod
    def decode(cls, data: bytes | memoryview, neighbours: int) -> ConsistencyTags:
        reader = Reader(data)
        tags = reader.view(cls.size(neighbours))
        reader.finish()
        return cls(tags)


@dataclass(frozen=True, slots=True)
class RelayedTags:
    """Server to survivor: the tags that others made for it, by who made them: holders of its shares."""

    tags: Mapping[int, bytes]

    @staticmethod
    def size(holders: int, tags: int) -> int:
        return bitmap_bytes(holders) + tags * CONSISTENCY_BYTES

    def encode(self, holders: Sequence[int]) -> bytes:
        tags = [self.tags[index] for index in sorted(self.tags)]
        return b"".join((_places(self.tags, holders), *tags))

    @staticmethod
    def encode_rows(makers: NDArray[np.bool_], tags: NDArray[np.uint8]) -> bytes:
        """The same from tables. ``makers``: which of the holders; ``tags``: a row for each of them."""
        return np.packbits(makers, bitorder="little").tobytes() + tags.tobytes()

    @classmethod
    def decode(cls, data: bytes | memoryview, holders: Sequence[int]) -> RelayedTags:
        reader = Reader(data)
        tags = {holders[place]: reader.fixed(CONSISTENCY_BYTES) for place in reader.members(len(holders))}
        reader.finish()
        return cls(tags)


@dataclass(frozen=True, slots=True, eq=False)
class UnmaskShares:
    """Survivor to server: of each dealer whose shares it holds, in order, exactly one share.

    It is the share of the self-mask seed if the dealer survived, and of the masking key if it did not.
    ``dealers`` are holders of the sender; ``shares``: field elements, shape (len(dealers), LIMBS).
    """

    dealers: tuple[int, ...]
    shares: Shares

    @staticmethod
    def size(holders: int, dealers: int) -> int:
        return bitmap_bytes(holders) + dealers * SHARE_BYTES

    def encode(self, holders: Sequence[int]) -> bytes:
        return _places(self.dealers, holders) + field.to_bytes(self.shares)

    @classmethod
    def decode(cls, data: bytes | memoryview, holders: Sequence[int]) -> UnmaskShares:
        reader = Reader(data)
        dealers = tuple(holders[place] for place in reader.members(len(holders)))
        elements = field.from_bytes(reader.view(SHARE_BYTES * len(dealers)))
        reader.finish()
        return cls(dealers, elements.reshape(len(dealers), LIMBS))

    def __repr__(self) -> str:
        return f"UnmaskShares(dealers={self.dealers}, shares=<secret>)"


def share_of(shares: bytes, kind: int) -> bytes:
    """The share of one kind of the two that a holder was dealt."""
    return shares[kind * SHARE_BYTES : (kind + 1) * SHARE_BYTES]


def _places(some: Collection[int], holders: Sequence[int]) -> bytes:
    """A bitmap over ``holders``, which are ascending."""
    places = [bisect_left(holders, index) for index in some]
    return Writer().members(places, len(holders)).finish()
