"""The number theoretic transform over Field64, of every column of a matrix at once.

Stockham's ordering: each pass reads one buffer and writes the other, so that no bit reversal is needed and
the inner loop runs over adjacent words, from the first pass on if there are columns, from the second on if
there is only one. Passes have radix 4; one of radix 2 comes last if the logarithm of the size is odd.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from mpc.kernels.field64 import add, mul, sub

Words = npt.NDArray[np.uint64]
Matrix = npt.NDArray[np.uint64]

_BLOCK_WORDS = 1 << 15  # 256 KiB in each of two buffers: what the second-level cache holds


@numba.njit(cache=True, nogil=True)
def _pass_of_four(source: Words, target: Words, roots: Words, quarter: int, width: int, step: int) -> None:
    """Rows j + {0, 1, 2, 3} · quarter, each ``width`` words, into rows 4j … 4j + 3."""
    fourth = roots[roots.size // 2]
    for j in range(quarter):
        root = roots[j * step]
        square = roots[2 * j * step]
        cube = mul(root, square)
        a = source[j * width : (j + 1) * width]
        b = source[(j + quarter) * width : (j + quarter + 1) * width]
        c = source[(j + 2 * quarter) * width : (j + 2 * quarter + 1) * width]
        d = source[(j + 3 * quarter) * width : (j + 3 * quarter + 1) * width]
        first = target[4 * j * width : (4 * j + 1) * width]
        second = target[(4 * j + 1) * width : (4 * j + 2) * width]
        third = target[(4 * j + 2) * width : (4 * j + 3) * width]
        last = target[(4 * j + 3) * width : (4 * j + 4) * width]
        for q in range(width):
            sum_ac = add(a[q], c[q])
            sum_bd = add(b[q], d[q])
            less_ac = sub(a[q], c[q])
            less_bd = mul(sub(b[q], d[q]), fourth)
            first[q] = add(sum_ac, sum_bd)
            second[q] = mul(add(less_ac, less_bd), root)
            third[q] = mul(sub(sum_ac, sum_bd), square)
            last[q] = mul(sub(less_ac, less_bd), cube)


@numba.njit(cache=True, nogil=True)
def _pass_of_two(source: Words, target: Words, width: int) -> None:
    """Two rows into two: the last pass, where every root is 1."""
    a = source[:width]
    b = source[width : 2 * width]
    first = target[:width]
    second = target[width : 2 * width]
    for q in range(width):
        first[q] = add(a[q], b[q])
        second[q] = sub(a[q], b[q])


@numba.njit(cache=True, nogil=True)
def _passes(first: Words, second: Words, roots: Words, width: int) -> Words:
    """All passes over the rows in ``first``; returns the buffer that holds the result."""
    rows = 2 * roots.size
    step = 1
    while rows >= 4:
        _pass_of_four(first, second, roots, rows // 4, width, step)
        first, second = second, first
        rows //= 4
        width *= 4
        step *= 4
    if rows == 2:
        _pass_of_two(first, second, width)
        first, second = second, first
    return first


@numba.njit(cache=True, nogil=True)
def transform(values: Matrix, scale: Words, roots: Words, out: Matrix) -> None:
    """out[k, c] = Σ_i scale[i] · values[i, c] · ω^(ik), for the n rows of ``values``, n ≥ 2 a power of two.

    ``roots`` holds ω^0 … ω^(n/2 − 1). Columns go block by block through buffers that stay in the cache.
    """
    rows, columns = values.shape
    block = min(columns, max(1, _BLOCK_WORDS // rows))
    first = np.empty(rows * block, np.uint64)
    second = np.empty(rows * block, np.uint64)
    for start in range(0, columns, block):
        width = min(block, columns - start)
        for i in range(rows):
            row = values[i, start : start + width]
            scaled = first[i * width : (i + 1) * width]
            for c in range(width):
                scaled[c] = mul(row[c], scale[i])
        size = rows * width
        done = _passes(first[:size], second[:size], roots, width)
        for i in range(rows):
            out[i, start : start + width] = done[i * width : (i + 1) * width]
