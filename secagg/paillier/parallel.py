"""Big-number arithmetic on several threads: gmpy2 can release the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import gmpy2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def spread(
    work: Callable[[Sequence[_Item]], list[_Result]], items: Sequence[_Item], most: int
) -> list[_Result]:
    """``work`` on ``items``, in order, on ``most`` threads or fewer, one a processor."""
    threads = min(os.cpu_count() or 1, most, len(items))
    if threads < 2:
        return work(items)

    def run(index: int) -> list[_Result]:
        chunk = items[index * len(items) // threads : (index + 1) * len(items) // threads]
        with gmpy2.context(allow_release_gil=True):
            return work(chunk)

    with ThreadPoolExecutor(threads) as pool:
        return list(chain.from_iterable(pool.map(run, range(threads))))
