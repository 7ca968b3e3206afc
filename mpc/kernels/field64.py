"""Arithmetic modulo p = 2^64 − 2^32 + 1 on unsigned 64-bit words.

With ε = 2^32 − 1, 2^64 ≡ ε and 2^96 ≡ −1 (mod p), so a 128-bit product folds into one word by shifts, one
subtraction and one addition. The scalars ``add``, ``sub``, ``mul`` and ``pow`` are inlined into every loop
here, and further kernels (transforms, polynomials) build on them. Every constant is a ``np.uint64``: numba
would promote a mixture with signed integers to a float.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

Words = npt.NDArray[np.uint64]

P = np.uint64(2**64 - 2**32 + 1)
EPSILON = np.uint64(2**32 - 1)
ZERO = np.uint64(0)
ONE = np.uint64(1)
HALF_WORD = np.uint64(32)
SIGN = np.uint64(2**63)


def _wide_mul(typing_context: Any, left: Any, right: Any) -> Any:
    """(high, low) words of the 128-bit product of two uint64: one machine multiplication."""
    pair: Any = types.UniTuple(types.uint64, 2)  # type: ignore[no-untyped-call]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        word = ir.IntType(64)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return context.make_tuple(builder, pair, (high, builder.trunc(product, word)))

    return pair(types.uint64, types.uint64), generate


# Called with two words: the typing context is numba's. Without ``Any``, mypy would ask for all three.
wide_mul: Any = intrinsic(_wide_mul)


# The scalars are inlined by numba rather than by LLVM, which would take them as compiled on their own: with
# their comparisons fused into overflow flags, a form that stops the loop vectoriser and halves the speed.
@numba.njit(cache=True, nogil=True, inline="always")
def reduce_wide(high: np.uint64, low: np.uint64) -> np.uint64:
    """high · 2^64 + low mod p, canonical, for any two words."""
    top = high >> HALF_WORD
    middle = high & EPSILON
    difference = low - top
    if low < top:  # borrowed 2^64 ≡ ε; then difference > 2^64 − 2^32, so this cannot borrow again
        difference -= EPSILON
    term = (middle << HALF_WORD) - middle
    total = difference + term
    if total < term:  # carried 2^64 ≡ ε; then total < term ≤ (2^32 − 1)^2, so this cannot carry again
        total += EPSILON
    return total - P if total >= P else total


@numba.njit(cache=True, nogil=True, inline="always")
def mul(left: np.uint64, right: np.uint64) -> np.uint64:
    """left · right mod p, canonical, for any two words."""
    high, low = wide_mul(left, right)
    return reduce_wide(high, low)


@numba.njit(cache=True, nogil=True, inline="always")
def add(left: np.uint64, right: np.uint64) -> np.uint64:
    """left + right mod p, both canonical."""
    total = left + right
    # One correction serves both cases: subtracting p is adding ε modulo 2^64.
    return total + EPSILON if total < left or total >= P else total


@numba.njit(cache=True, nogil=True, inline="always")
def sub(left: np.uint64, right: np.uint64) -> np.uint64:
    """left − right mod p, both canonical."""
    difference = left - right
    return difference - EPSILON if left < right else difference


@numba.njit(cache=True, nogil=True)
def pow(base: np.uint64, exponent: np.uint64) -> np.uint64:
    """base^exponent mod p; 0^0 = 1."""
    result = ONE
    while exponent != ZERO:
        if exponent & ONE:
            result = mul(result, base)
        base = mul(base, base)
        exponent >>= ONE
    return result


@numba.njit(cache=True, nogil=True)
def encode(signed: Words, out: Words) -> None:
    """out = the elements that stand for signed integers, given as words of two's complement."""
    for i in range(out.size):
        # 2^64 + v stands for v < 0, and has to become p + v.
        out[i] = signed[i] - EPSILON if signed[i] >= SIGN else signed[i]


@numba.njit(cache=True, nogil=True)
def add_vectors(left: Words, right: Words, out: Words) -> None:
    """out = left + right."""
    for i in range(out.size):
        out[i] = add(left[i], right[i])


@numba.njit(cache=True, nogil=True)
def sub_vectors(left: Words, right: Words, out: Words) -> None:
    """out = left − right."""
    for i in range(out.size):
        out[i] = sub(left[i], right[i])


# Not add_vectors with out = left: the vectorised loop runs only where inputs and output do not overlap.
@numba.njit(cache=True, nogil=True)
def accumulate(total: Words, vector: Words) -> None:
    """total += vector."""
    for i in range(total.size):
        total[i] = add(total[i], vector[i])


@numba.njit(cache=True, nogil=True)
def deduct(total: Words, vector: Words) -> None:
    """total −= vector."""
    for i in range(total.size):
        total[i] = sub(total[i], vector[i])


@numba.njit(cache=True, nogil=True)
def mul_vectors(left: Words, right: Words, out: Words) -> None:
    """out = left · right, entry by entry."""
    for i in range(out.size):
        out[i] = mul(left[i], right[i])


@numba.njit(cache=True, nogil=True)
def scale(vector: Words, factor: np.uint64, out: Words) -> None:
    """out = factor · vector."""
    for i in range(out.size):
        out[i] = mul(vector[i], factor)


@numba.njit(cache=True, nogil=True)
def inner(left: Words, right: Words) -> np.uint64:
    """Σ left_i · right_i mod p: products summed in 192 bits, reduced once."""
    low = ZERO
    high = ZERO
    top = ZERO
    for i in range(left.size):
        product_high, product_low = wide_mul(left[i], right[i])
        low += product_low
        if low < product_low:
            product_high += ONE  # at most 2^64 − 1: the high word of a product is at most 2^64 − 2
        high += product_high
        if high < product_high:
            top += ONE
    # 2^128 ≡ −2^32 (mod p)
    return sub(reduce_wide(high, low), mul(top, ONE << HALF_WORD))


@numba.njit(cache=True, nogil=True)
def combine_rows(weights: Words, rows: npt.NDArray[np.uint64], out: Words) -> None:
    """out = Σ weights_i · rows_i, for rows of shape (len(weights), len(out))."""
    out[:] = ZERO
    for i in range(weights.size):
        for j in range(out.size):
            out[j] = add(out[j], mul(weights[i], rows[i, j]))


@numba.njit(cache=True, nogil=True)
def evaluate(coefficients: npt.NDArray[np.uint64], points: Words, out: npt.NDArray[np.uint64]) -> None:
    """out[j, i] = Σ_d coefficients[d, j] · points[i]^d by Horner's rule, at all points side by side."""
    degree = coefficients.shape[0] - 1
    for j in range(out.shape[0]):
        for i in range(points.size):
            out[j, i] = coefficients[degree, j]
        for d in range(degree - 1, -1, -1):
            constant = coefficients[d, j]
            for i in range(points.size):
                out[j, i] = add(mul(out[j, i], points[i]), constant)


@numba.njit(cache=True, nogil=True)
def invert(vector: Words, out: Words) -> None:
    """out = vector^−1 for nonzero entries: Montgomery's trick, one exponentiation for all of them."""
    running = ONE
    for i in range(vector.size):
        out[i] = running
        running = mul(running, vector[i])
    running = pow(running, P - ONE - ONE)
    for i in range(vector.size - 1, -1, -1):
        out[i] = mul(out[i], running)
        running = mul(running, vector[i])


@numba.njit(cache=True, nogil=True)
def lagrange_denominators(points: Words, out: Words) -> np.uint64:
    """out_i = x_i · Π_{j≠i} (x_j − x_i); returns Π x_j."""
    product = ONE
    out[:] = points
    for j in range(points.size):
        product = mul(product, points[j])
        for i in range(points.size):
            out[i] = mul(out[i], ONE if i == j else sub(points[j], points[i]))
    return product
