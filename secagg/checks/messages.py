"""The two messages of the check phase (spec section 8.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpc.errors import LocalError
from mpc.wire import Reader, Writer
from secagg.checks.base import SEED_BYTES

CHECK_PHASE = "check"


@dataclass(frozen=True, slots=True)
class Challenge:
    """Server to each client whose input is frozen: the public seed, drawn after the last input."""

    seed: bytes

    SIZE = SEED_BYTES

    def encode(self) -> bytes:
        return Writer().fixed(self.seed, SEED_BYTES).finish()

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Challenge:
        reader = Reader(data)
        seed = reader.fixed(SEED_BYTES)
        reader.finish()
        return cls(seed)


@dataclass(frozen=True, slots=True)
class Proofs:
    """Client to server: one proof for each check that proves, in the order of the checks."""

    parts: tuple[bytes, ...]

    def encode(self, sizes: Sequence[int]) -> bytes:
        if len(self.parts) != len(sizes):
            raise LocalError("number of proofs", len(self.parts), f"{len(sizes)} checks ask for one")
        writer = Writer()
        for part, size in zip(self.parts, sizes, strict=True):
            writer.fixed(part, size)
        return writer.finish()

    @classmethod
    def decode(cls, data: bytes | memoryview, sizes: Sequence[int]) -> Proofs:
        reader = Reader(data)
        parts = tuple(reader.fixed(size) for size in sizes)
        reader.finish()
        return cls(parts)
