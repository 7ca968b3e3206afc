"""Random projections onto {−1, 0, 1} (draft-chen-cfrg-vdaf-pine-01, section 4.1.3; spec section 16.12).

A coefficient is −1 with probability 1/4, 0 with 1/2, 1 with 1/4: two bits of a stream, lowest first, as many
ones among them less one. Each projection starts at a whole byte of the stream.
"""

from __future__ import annotations

import numpy as np

from mpc.flp.field64 import Field64
from mpc.flp.fields import Vector
from mpc.flp.xof import Xof

_VALUES_PER_WORD = 32


def project(vector: Vector, stream: Xof, count: int) -> Vector:
    """``count`` projections of a vector over Field64, or of a share of it: linear. Shape (d,) to (count,).

    Reads count · ceil(d / 4) bytes of the stream.
    """
    from mpc.kernels import rows64

    row_bytes = -(-len(vector) // 4)
    words = -(-len(vector) // _VALUES_PER_WORD)
    codes = np.zeros((count, 8 * words), np.uint8)
    for row in codes:
        row[:row_bytes] = np.frombuffer(stream.next(row_bytes), np.uint8)
    values = np.zeros(_VALUES_PER_WORD * words, np.uint64)
    values[: len(vector)] = vector
    low, high = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    rows64.ternary_sums(codes.view("<u8").astype(np.uint64, copy=False), values, low, high)
    total = Field64.total(vector)
    return Field64.vector(int(a) + (int(b) << 32) - total for a, b in zip(low, high, strict=True))
