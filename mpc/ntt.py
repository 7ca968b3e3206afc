"""The number theoretic transform over Field64 (draft-irtf-cfrg-vdaf-20, section 6.1.2).

A polynomial of degree below n, n a power of two up to 2^32, is n coefficients or its n values at the powers
of ω_n, a primitive n-th root of unity; the transform leads from the first to the second, in natural order.
Matrices are transformed column by column: shape (n,) or (n, m).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mpc import field
from mpc.errors import LocalError
from mpc.field import Elements, P

GENERATOR = pow(7, 2**32 - 1, P)  # generates the subgroup of order 2^32, as in the draft's table
MAX_LOG = 32


def root(size: int) -> int:
    """ω_size, of exactly this order. ``LocalError`` unless ``size`` is a power of two up to 2^32."""
    if size < 1 or size & (size - 1) or size > 1 << MAX_LOG:
        raise LocalError("size", size, "a power of two up to 2^32")
    return pow(GENERATOR, (1 << MAX_LOG) // size, P)


@lru_cache(maxsize=16)
def powers(base: int, count: int) -> Elements:
    """base^0 … base^(count − 1), read-only, by doubling."""
    out = np.ones(max(count, 1), np.uint64)
    done = 1
    while done < count:
        step = min(done, count - done)
        out[done : done + step] = field.mul(out[:step], pow(base, done, P))
        done += step
    out = out[:count]
    out.flags.writeable = False
    return out


def forward(coefficients: Elements, shift: int = 1) -> Elements:
    """The values at shift · ω_n^k, k = 0 … n − 1, of polynomials with n coefficients."""
    return _transform(coefficients, root(len(coefficients)), powers(shift, len(coefficients)))


def backward(values: Elements) -> Elements:
    """The n coefficients of polynomials that have these values at ω_n^k: undoes ``forward``."""
    size = len(values)
    scale = np.full(size, field.inv(size), np.uint64)
    return _transform(values, pow(root(size), -1, P), scale)


def _transform(values: Elements, omega: int, scale: Elements) -> Elements:
    from mpc.kernels import ntt64

    if values.dtype != np.uint64 or values.ndim not in (1, 2):
        raise LocalError("values", f"{values.dtype}, shape {values.shape}", "elements, shape (n,) or (n, m)")
    if len(values) == 1:
        return values.copy()
    out = np.empty(values.shape, np.uint64)
    columns = values.reshape(len(values), -1)
    ntt64.transform(
        _fixed(columns), _fixed(scale), powers(omega, len(values) // 2), out.reshape(columns.shape)
    )
    return out


def _fixed(array: Elements) -> Elements:
    """Read-only and contiguous: one signature for the kernel."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
