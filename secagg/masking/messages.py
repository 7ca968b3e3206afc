"""The messages of the masking protocol, in the order in which they are sent (spec section 12.2).

Sets of clients are bitmaps over the cohort, so no client can stand twice in one, and a survivor list and a
dropout list cannot overlap: who shared keys and is not among the survivors has dropped out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc import field, shamir
from mpc.errors import DecodeError
from mpc.ring import Ring
from mpc.wire import Reader, Writer
from secagg.checks.messages import CHECK_PHASE
from secagg.cohort import DIGEST_BYTES, KEY_BYTES
from secagg.identity import SIGNATURE_BYTES
from secagg.masking.keys import COMMITMENT_BYTES, CONSISTENCY_BYTES, SEAL_BYTES, SECRET_BYTES

ADVERTISE = "advertise-keys"
SHARE = "share-keys"
INPUT = "masked-input"
CHECK = CHECK_PHASE
CONSISTENCY = "consistency"
UNMASK = "unmask"
PHASES = (ADVERTISE, SHARE, INPUT, CHECK, CONSISTENCY, UNMASK)

LIMBS = shamir.limbs(SECRET_BYTES)
SHARE_BYTES = 8 * LIMBS  # one share of one 32-byte secret
DEALT_BYTES = 2 * SHARE_BYTES  # to each peer: a share of the self-mask seed, and one of the masking key
SEALED_BYTES = DEALT_BYTES + SEAL_BYTES
Shares = NDArray[np.uint64]


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
    """Server to client: everybody who advertised keys, the receiver included, and for which cohort."""

    digest: bytes
    keys: Mapping[int, KeyAdvertisement]

    @staticmethod
    def size(members: int, listed: int, signed: bool = False) -> int:
        return DIGEST_BYTES + bitmap_bytes(members) + listed * KeyAdvertisement.size(signed)

    def encode(self, members: int, signed: bool = False) -> bytes:
        writer = Writer().fixed(self.digest, DIGEST_BYTES).members(self.keys, members)
        for index in sorted(self.keys):
            writer.fixed(self.keys[index].encode(), KeyAdvertisement.size(signed))
        return writer.finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int, signed: bool = False) -> KeyList:
        reader = Reader(data)
        digest = reader.fixed(DIGEST_BYTES)
        keys = {index: KeyAdvertisement.read(reader, signed) for index in reader.members(members)}
        reader.finish()
        return cls(digest, keys)


@dataclass(frozen=True, slots=True)
class SealedShares:
    """Client to server: a commitment to its self-mask seed; then, for each listed peer but itself, in order,
    its two shares, sealed to that peer."""

    commitment: bytes
    sealed: Mapping[int, bytes]

    @staticmethod
    def size(listed: int) -> int:
        return COMMITMENT_BYTES + (listed - 1) * SEALED_BYTES

    def encode(self) -> bytes:
        return self.commitment + b"".join(self.sealed[index] for index in sorted(self.sealed))

    @classmethod
    def decode(cls, data: bytes | memoryview, sender: int, listed: tuple[int, ...]) -> SealedShares:
        reader = Reader(data)
        commitment = reader.fixed(COMMITMENT_BYTES)
        sealed = {index: reader.fixed(SEALED_BYTES) for index in listed if index != sender}
        reader.finish()
        return cls(commitment, sealed)


@dataclass(frozen=True, slots=True)
class RelayedShares:
    """Server to client: who dealt shares, the receiver included, and what the others sealed to it."""

    dealers: tuple[int, ...]
    sealed: Mapping[int, bytes]

    @staticmethod
    def size(members: int, dealers: int) -> int:
        return bitmap_bytes(members) + (dealers - 1) * SEALED_BYTES

    def encode(self, members: int) -> bytes:
        writer = Writer().members(self.dealers, members)
        for index in self.dealers:
            if index in self.sealed:
                writer.fixed(self.sealed[index], SEALED_BYTES)
        return writer.finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int, receiver: int) -> RelayedShares:
        reader = Reader(data)
        dealers = reader.members(members)
        sealed = {index: reader.fixed(SEALED_BYTES) for index in dealers if index != receiver}
        reader.finish()
        return cls(dealers, sealed)


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

    survivors: tuple[int, ...]

    @staticmethod
    def size(members: int) -> int:
        return bitmap_bytes(members)

    def encode(self, members: int) -> bytes:
        return Writer().members(self.survivors, members).finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> SurvivorSet:
        reader = Reader(data)
        survivors = reader.members(members)
        reader.finish()
        return cls(survivors)


@dataclass(frozen=True, slots=True)
class ConsistencyTags:
    """Survivor to server: for each other survivor, in order, a tag on the sets that the sender was shown."""

    tags: Mapping[int, bytes]

    @staticmethod
    def size(survivors: int) -> int:
        return (survivors - 1) * CONSISTENCY_BYTES

    def encode(self) -> bytes:
        return b"".join(self.tags[index] for index in sorted(self.tags))

    @classmethod
    def decode(cls, data: bytes | memoryview, sender: int, survivors: tuple[int, ...]) -> ConsistencyTags:
        reader = Reader(data)
        tags = {index: reader.fixed(CONSISTENCY_BYTES) for index in survivors if index != sender}
        reader.finish()
        return cls(tags)


@dataclass(frozen=True, slots=True)
class RelayedTags:
    """Server to survivor: the tags that others made for it, by who made them."""

    tags: Mapping[int, bytes]

    @staticmethod
    def size(members: int, tags: int) -> int:
        return bitmap_bytes(members) + tags * CONSISTENCY_BYTES

    def encode(self, members: int) -> bytes:
        writer = Writer().members(self.tags, members)
        for index in sorted(self.tags):
            writer.fixed(self.tags[index], CONSISTENCY_BYTES)
        return writer.finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> RelayedTags:
        reader = Reader(data)
        tags = {index: reader.fixed(CONSISTENCY_BYTES) for index in reader.members(members)}
        reader.finish()
        return cls(tags)


@dataclass(frozen=True, slots=True, eq=False)
class UnmaskShares:
    """Survivor to server: of each dealer whose shares it holds, in order, exactly one share.

    It is the share of the self-mask seed if the dealer survived, and of the masking key if it did not.
    ``shares``: field elements, shape (len(dealers), LIMBS).
    """

    dealers: tuple[int, ...]
    shares: Shares

    @staticmethod
    def size(members: int, dealers: int) -> int:
        return bitmap_bytes(members) + dealers * SHARE_BYTES

    def encode(self, members: int) -> bytes:
        return Writer().members(self.dealers, members).finish() + field.to_bytes(self.shares)

    @classmethod
    def decode(cls, data: bytes | memoryview, members: int) -> UnmaskShares:
        reader = Reader(data)
        dealers = reader.members(members)
        elements = field.from_bytes(reader.view(SHARE_BYTES * len(dealers)))
        reader.finish()
        return cls(dealers, elements.reshape(len(dealers), LIMBS))

    def __repr__(self) -> str:
        return f"UnmaskShares(dealers={self.dealers}, shares=<secret>)"
