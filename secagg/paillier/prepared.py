"""Randomizers made before the plaintexts are known, each for one ciphertext (spec section 14.1)."""

from __future__ import annotations

import os
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, NoReturn

from gmpy2 import mpz

from mpc.errors import LocalError
from mpc.tape import RandomTape
from secagg.cohort import is_whole

if TYPE_CHECKING:
    from secagg.paillier.public import PublicKey


class Prepared:
    """A pool of randomizers of one key, taken in the order in which they were made. Threads may share it.

    A randomizer under two ciphertexts shows the difference of their plaintexts. So each is handed out once,
    the pool can be neither copied nor pickled, and a process forked from its own cannot take from it.
    """

    __slots__ = ("_lock", "_process", "_unused", "key")

    def __init__(self, key: PublicKey) -> None:
        """An empty pool for ``key``; see :meth:`PublicKey.prepare`."""
        self.key = key
        self._unused: deque[mpz] = deque()
        self._lock = Lock()
        self._process = os.getpid()

    def __len__(self) -> int:
        """How many are left; none in a process forked from the pool's own."""
        return len(self._unused) if os.getpid() == self._process else 0

    def extend(self, count: int, tape: RandomTape) -> None:
        """``count`` ≥ 0 more, from ``tape``, which nothing else may read meanwhile.

        ``LocalError`` for another count, and in a process forked from the pool's own.
        """
        if not is_whole(count) or count < 0:
            raise LocalError("count", count, "must be a whole number of at least 0")
        self._require_own()
        made = self.key.randomizers(count, tape)
        with self._lock:
            self._unused.extend(made)

    def take(self, count: int) -> list[mpz]:
        """SECRET: the first ``count`` ≥ 0, then gone from here. ``LocalError`` if there are fewer."""
        self._require_own()
        taken = self.take_if_enough(count)
        if taken is None:
            raise LocalError("count", count, f"must be from 0 to {len(self)}, which are left")
        return taken

    def take_if_enough(self, count: int) -> list[mpz] | None:
        """SECRET: the same, or None if there are fewer, or if another process has the pool."""
        if os.getpid() != self._process:  # whose lock another thread there may have held
            return None
        with self._lock:
            if not 0 <= count <= len(self._unused):
                return None
            return [self._unused.popleft() for _ in range(count)]

    def _require_own(self) -> None:
        if os.getpid() != self._process:
            raise LocalError("prepared randomness", self, "another process has it: both would use it")

    def __reduce__(self) -> NoReturn:
        raise LocalError("prepared randomness", "<secret>", "cannot be pickled or copied: it is used once")

    def __repr__(self) -> str:
        return f"Prepared({len(self)} of {self.key.bits} bits, <secret>)"
