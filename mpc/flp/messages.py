"""What travels in Prio3 (draft-irtf-cfrg-vdaf-20, section 7.2.7; spec section 16.8): elements, then seeds.

Every message has one length, which circuit and parameters give, so nothing is prefixed with its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mpc.errors import DecodeError
from mpc.flp.fields import Field, Vector
from mpc.wire import Reader


@dataclass(frozen=True, slots=True)
class LeaderShare:
    """Aggregator 0's input share: its shares of measurement and proofs, and blinds for joint randomness."""

    meas: Vector = field(repr=False)
    proofs: Vector = field(repr=False)
    blinds: tuple[bytes, ...] = field(repr=False)

    def encode(self, over: Field) -> bytes:
        return over.to_bytes(self.meas) + over.to_bytes(self.proofs) + b"".join(self.blinds)


@dataclass(frozen=True, slots=True)
class HelperShare:
    """Another aggregator's input share: seeds in place of vectors."""

    seeds: tuple[bytes, ...] = field(repr=False)
    blinds: tuple[bytes, ...] = field(repr=False)

    def encode(self, over: Field) -> bytes:
        return b"".join(self.seeds + self.blinds)


InputShare = LeaderShare | HelperShare
Parts = tuple[bytes, ...]  # of joint randomness, one for each aggregator
PublicShare = tuple[Parts, ...]  # for each kind of joint randomness


@dataclass(frozen=True, slots=True)
class VerifierShare:
    """What an aggregator tells the others: its shares of the verifiers, its parts of joint randomness."""

    verifiers: Vector = field(repr=False)
    parts: tuple[bytes, ...]

    def encode(self, over: Field) -> bytes:
        return over.to_bytes(self.verifiers) + b"".join(self.parts)


@dataclass(frozen=True, slots=True)
class VerifyState:
    """What an aggregator keeps until it hears the verifier message: it holds a share, and stays at home."""

    out_share: Vector = field(repr=False)
    seeds: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The lengths of one instance's messages: elements, aggregators, seeds and their bytes."""

    field: Field
    meas_len: int
    proofs_len: int
    verifiers_len: int
    output_len: int
    shares: int
    seed_bytes: int
    helper_seeds: int
    blinds: int  # kinds of joint randomness

    @property
    def public_share_bytes(self) -> int:
        return self.blinds * self.shares * self.seed_bytes

    def input_share_bytes(self, agg_id: int) -> int:
        if agg_id == 0:
            return self._bytes(self.meas_len + self.proofs_len, self.blinds)
        return self._bytes(0, self.helper_seeds + self.blinds)

    @property
    def verifier_share_bytes(self) -> int:
        return self._bytes(self.verifiers_len, self.blinds)

    @property
    def verifier_message_bytes(self) -> int:
        return self._bytes(0, self.blinds)

    def _bytes(self, elements: int, seeds: int) -> int:
        return elements * self.field.element_bytes + seeds * self.seed_bytes

    def input_share(self, agg_id: int, data: bytes | memoryview) -> InputShare:
        reader = Reader(data)
        share: InputShare
        if agg_id == 0:
            meas, proofs = self._elements(reader, self.meas_len), self._elements(reader, self.proofs_len)
            share = LeaderShare(meas, proofs, self._seeds(reader, self.blinds))
        else:
            seeds = self._seeds(reader, self.helper_seeds)
            share = HelperShare(seeds, self._seeds(reader, self.blinds))
        reader.finish()
        return share

    def public_share(self, data: bytes | memoryview) -> PublicShare:
        reader = Reader(data)
        parts = tuple(self._seeds(reader, self.shares) for _ in range(self.blinds))
        reader.finish()
        return parts

    def verifier_share(self, data: bytes | memoryview) -> VerifierShare:
        reader = Reader(data)
        share = VerifierShare(self._elements(reader, self.verifiers_len), self._seeds(reader, self.blinds))
        reader.finish()
        return share

    def verifier_message(self, data: bytes | memoryview) -> tuple[bytes, ...]:
        reader = Reader(data)
        seeds = self._seeds(reader, self.blinds)
        reader.finish()
        return seeds

    def out_share(self, data: bytes | memoryview) -> Vector:
        """An output share or an aggregate share."""
        reader = Reader(data)
        share = self._elements(reader, self.output_len)
        reader.finish()
        return share

    def check(self, public_share: PublicShare, input_share: InputShare, agg_id: int) -> None:
        """``DecodeError`` unless the shares are such as the decoders yield for this aggregator."""
        kind = HelperShare if agg_id else LeaderShare
        lengths = [len(parts) for parts in public_share]
        if not isinstance(input_share, kind) or lengths != [self.shares] * self.blinds:
            raise DecodeError(f"shares that are not those of aggregator {agg_id}")

    def _elements(self, reader: Reader, count: int) -> Vector:
        return self.field.from_bytes(reader.view(count * self.field.element_bytes))

    def _seeds(self, reader: Reader, count: int) -> tuple[bytes, ...]:
        return tuple(reader.fixed(self.seed_bytes) for _ in range(count))


def encode_public_share(share: PublicShare) -> bytes:
    return b"".join(part for parts in share for part in parts)


def encode_verifier_message(seeds: Sequence[bytes]) -> bytes:
    return b"".join(seeds)
