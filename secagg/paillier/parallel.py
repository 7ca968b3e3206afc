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
    work: Callable[[Sequence[_Item]], list[_Result]], items: Sequence[_Item], most: int, grain: int = 1
) -> list[_Result]:
    """``work`` on ``items``, in order, on ``most`` threads or fewer, one a processor.

    ``grain``: items that are done as fast together as one of them; no thread gets a part of such a group.
    """
    if not items:
        return []
    grains = -(-len(items) // grain)
    threads = min(os.cpu_count() or 1, most, grains)
    if threads < 2:
        return work(items)

    def run(index: int) -> list[_Result]:
        chunk = items[grains * index // threads * grain : grains * (index + 1) // threads * grain]
        with gmpy2.context(allow_release_gil=True):
            return work(chunk)

    with ThreadPoolExecutor(threads) as pool:
        return list(chain.from_iterable(pool.map(run, range(threads))))
