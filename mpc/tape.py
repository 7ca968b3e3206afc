"""RandomTape: where every random bit of every protocol comes from (spec section 3).

Randomness is an argument. A party reads from the tape that it was given, so the same code runs on the
system's generator in production, on a seeded tape in reproducible tests and vectors, and on every tape
there is when a leakage test enumerates a small protocol.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator

from mpc.errors import LocalError
from mpc.prg import Keystream, Usage, derive_key


class RandomTape(ABC):
    """A source of uniform bytes, read from the front."""

    @abstractmethod
    def read(self, count: int) -> bytes:
        """The next ``count`` uniform bytes."""

    @abstractmethod
    def child(self, label: str) -> RandomTape:
        """A tape of its own for one purpose; what is read from it does not move this one."""

    def below(self, bound: int) -> int:
        """A uniform integer in [0, bound), by rejection; bound ≥ 1."""
        if bound < 1:
            raise LocalError("bound", bound, "must be at least 1")
        bits = (bound - 1).bit_length()
        count = (bits + 7) // 8
        while True:
            value = int.from_bytes(self.read(count), "little") & ((1 << bits) - 1)
            if value < bound:
                return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<secret>)"


class SystemTape(RandomTape):
    """The operating system's generator. In production the source of all others."""

    def read(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    def child(self, label: str) -> RandomTape:
        return self


class SeededTape(RandomTape):
    """An AES-128-CTR tape: the same seed gives the same bytes. As secret as its seed, and no more."""

    def __init__(self, seed: bytes) -> None:
        self._secret = hashlib.sha256(seed).digest()
        self._stream = Keystream(derive_key(self._secret, Usage.SEEDED_TAPE, b""))

    def read(self, count: int) -> bytes:
        return self._stream.read(count)

    def child(self, label: str) -> RandomTape:
        return SeededTape(derive_key(self._secret, Usage.TAPE_CHILD, label.encode(), 32))


class RecordedTape(RandomTape):
    """Plays back given bytes, and refuses to go on when they are used up."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def read(self, count: int) -> bytes:
        if count < 0:
            raise LocalError("count", count, "must be at least 0")
        end = self._position + count
        if end > len(self._content):
            raise LocalError("count", count, f"the tape has {len(self._content) - self._position} bytes left")
        chunk = self._content[self._position : end]
        self._position = end
        return chunk

    def child(self, label: str) -> RandomTape:
        return self


def every_tape(count: int) -> Iterator[RecordedTape]:
    """All 256^count tapes of ``count`` bytes: the exact distribution of a small protocol's views."""
    for content in itertools.product(range(256), repeat=count):
        yield RecordedTape(bytes(content))
