"""A sum by Paillier and by CKKS, others' libraries and ours, in one run: see phe.md beside this file.

Run ``python -m bench.peers.bench_phe results.json``, or under pytest,
``pytest bench/peers/bench_phe.py --benchmark-json=results.json``; then
``python bench/peers/plot_phe.py results.json docs/phe.svg``.

pytest's table has the wall time of a whole side, sampled as it is; ``extra_info`` has the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from bench.peers.encryption import Figures, Load
from bench.peers.encryption_sides import SIDES
from bench.peers.plot_phe import by_side, ratios, table
from secagg.paillier.modulus import modulus_of

LIBRARIES = ("secagg", "gmpy2", "phe", "lightphe", "tenseal")


@pytest.fixture(scope="module")
def load() -> Load:
    return Load()


@pytest.mark.parametrize("side", SIDES)
def test_sum_of_1e5_over_100(benchmark: Any, load: Load, side: str) -> None:
    if side != "secagg":
        pytest.importorskip(side)
    _ = load.private  # its making is not part of any side
    found = benchmark.pedantic(SIDES[side], (load,), rounds=1)
    benchmark.extra_info.update(found.as_json())


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Encrypted sums, side by side.")
    parser.add_argument("results", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--length", type=int, default=10**5)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    given = parser.parse_args(arguments)
    if given.clients < 2:
        parser.error("--clients must be at least 2")
    load = Load(given.length, given.clients)
    found = [run(SIDES[side], load) for side in given.sides]
    sides = by_side(found)
    results = {
        "processors": os.cpu_count(),
        "arithmetic": type(modulus_of(load.private.public.n2)).__name__,
        "versions": versions(),
        "benchmarks": [{"extra_info": figures} for figures in found],
        "ratios": ratios(sides),
    }
    given.results.write_text(json.dumps(results, indent=1))
    print(*table(sides), sep="\n")


def versions() -> dict[str, str]:
    """Of what is installed: a side that is left out may not be."""
    found = {}
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def run(measure: Callable[[Load], Figures], load: Load) -> dict[str, Any]:
    print(f"{measure.__name__} …", file=sys.stderr)
    return measure(load).as_json()


if __name__ == "__main__":
    main(sys.argv[1:])
