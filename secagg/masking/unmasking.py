"""Unmasking: the keystreams that the server takes off the sum, in shards (spec section 12.4).

Each shard is some of the keystreams over the whole vector, summed up by a worker into a vector of its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from mpc.errors import AbortError, LocalError
from mpc.ring import Lanes, add_masks

SHARD_BYTES = 1 << 24  # of keystream: below this a thread costs more than it gains
Stream = tuple[bytes, int]


@dataclass(frozen=True)
class Unmasking:
    """Who computes the keystreams.

    * ``executor``: any ``concurrent.futures.Executor``, such as Dask's or one over processes; its workers are
      handed mask keys, so they must be trusted as the server is. None: threads of this process.
    * ``shards``: into how many tasks the keystreams are divided; each returns one vector. None: one for each
      processor of this machine.
    """

    executor: Executor | None = None
    shards: int | None = None

    def __post_init__(self) -> None:
        if self.executor is not None and not isinstance(self.executor, Executor):
            raise LocalError("executor", self.executor, "must be a concurrent.futures.Executor")
        shards = self.shards
        if shards is not None and (isinstance(shards, bool) or not isinstance(shards, int) or shards < 1):
            raise LocalError("shards", shards, "must be a whole number of at least 1")

    def run(self, total: Lanes, streams: Sequence[Stream]) -> None:
        """total += Σ sign · keystream(key), in place, as ``mpc.ring.add_masks`` does it.

        What the executor raises goes through, and ``total`` is as it was.
        """
        shards = min(self.shards or os.cpu_count() or 1, len(streams))
        if self.executor is None:
            shards = min(shards, 1 + len(streams) * total.nbytes // SHARD_BYTES)
            if shards < 2:
                add_masks(total, streams)
                return
            with ThreadPoolExecutor(shards) as threads:
                self._spread(threads, shards, total, streams)
        else:
            self._spread(self.executor, shards, total, streams)

    @staticmethod
    def _spread(executor: Executor, shards: int, total: Lanes, streams: Sequence[Stream]) -> None:
        """``total`` changes when all shards are there, or not at all, so that it can be tried again."""
        size, lane = total.size, total.dtype
        futures = {executor.submit(sum_of_masks, lane.str, size, streams[i::shards]) for i in range(shards)}
        masks: Lanes = np.zeros(size, lane)
        for future in as_completed(futures):
            futures.discard(future)  # a finished shard is added and forgotten
            shard = future.result()
            if not isinstance(shard, np.ndarray) or (shard.dtype, shard.shape) != (lane, (size,)):
                raise AbortError(
                    "a worker of the executor returned something other than a vector of the sum's kind"
                )
            np.add(masks, shard, out=masks)
        np.add(total, masks, out=total)


def sum_of_masks(lane: str, length: int, streams: Sequence[Stream]) -> Lanes:
    """Σ sign · keystream(key) as a vector of ``length`` lanes: what a worker computes, on any machine."""
    total: Lanes = np.zeros(length, np.dtype(lane))
    add_masks(total, streams)
    return total
