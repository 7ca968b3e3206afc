"""Stochastic rounding in one pass (spec section 10)."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def round_stochastic(values, clip, scale, limit, draws, out):  # type: ignore[no-untyped-def]
    """out[i] = ⌊v⌋ or ⌊v⌋ + 1 with v = clipped values[i] · scale and P(+1) = frac(v), to 2^-32.

    Returns how many values were clipped, or -1 - i for the first i that is not finite.
    """
    clipped = 0
    for i in range(values.size):
        x = values[i]
        if not np.isfinite(x):
            return -1 - i
        if x > clip:
            x = clip
            clipped += 1
        elif x < -clip:
            x = -clip
            clipped += 1
        v = x * scale
        low = np.floor(v)
        rounded = np.int64(low)
        if draws[i] < (v - low) * 4294967296.0:
            rounded += 1
        # A product a last digit above the limit may round up to one beyond it.
        out[i] = min(max(rounded, -limit), limit)
    return clipped
