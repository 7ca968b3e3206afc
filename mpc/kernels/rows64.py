"""Row by row arithmetic over Field64 that fully linear proofs spend their time in."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from mpc.kernels.field64 import EPSILON, HALF_WORD, ONE, ZERO, inner, mul

Words = npt.NDArray[np.uint64]
Matrix = npt.NDArray[np.uint64]

_PER_WORD = 32  # codes of two bits
_CODE_WORDS = 64  # 2048 values at a time, 16 KiB: they stay in the first-level cache for all rows of codes
EVEN_BITS = np.uint64(0x5555555555555555)
TWO_BITS = np.uint64(3)


@numba.njit(cache=True, nogil=True)
def inner_rows(left: Matrix, right: Matrix, out: Words) -> None:
    """out_i = Σ_j left[i, j] · right[i, j]."""
    for i in range(out.size):
        out[i] = inner(left[i], right[i])


@numba.njit(cache=True, nogil=True)
def scale_rows(factors: Words, rows: Matrix, out: Matrix) -> None:
    """out[i, j] = factors[i] · rows[i, j]."""
    for i in range(factors.size):
        for j in range(rows.shape[1]):
            out[i, j] = mul(rows[i, j], factors[i])


@numba.njit(cache=True, nogil=True)
def ternary_sums(codes: Matrix, values: Words, low: Words, high: Words) -> None:
    """low_t, high_t += Σ_j c[t, j] · the low and high half words of values_j.

    c[t, j] is the number of ones in bits 2j and 2j + 1 of row t of ``codes``: 0, 1 or 2. Sums of fewer than
    2^31 such terms do not carry out of 64 bits.
    """
    tile = np.empty((_PER_WORD, _CODE_WORDS), np.uint64)
    counts = np.empty(_CODE_WORDS, np.uint64)
    for start in range(0, codes.shape[1], _CODE_WORDS):
        width = min(_CODE_WORDS, codes.shape[1] - start)
        # Values at one place in adjacent words lie side by side, so that one shift serves a whole line.
        for w in range(width):
            for j in range(_PER_WORD):
                tile[j, w] = values[_PER_WORD * (start + w) + j]
        for t in range(codes.shape[0]):
            row = codes[t, start : start + width]
            for w in range(width):
                counts[w] = (row[w] & EVEN_BITS) + ((row[w] >> ONE) & EVEN_BITS)
            sum_low = ZERO
            sum_high = ZERO
            for j in range(_PER_WORD):
                shift = np.uint64(2 * j)
                line = tile[j]
                for w in range(width):
                    count = (counts[w] >> shift) & TWO_BITS
                    sum_low += count * (line[w] & EPSILON)
                    sum_high += count * (line[w] >> HALF_WORD)
            low[t] += sum_low
            high[t] += sum_high
