"""Eight Montgomery multiplications at once, by AVX-512 IFMA (spec section 14.9).

Montgomery, "Modular multiplication without trial division" (1985); lanes of 52-bit digits after Gueron and
Krasnov, "Accelerating big integer arithmetic using Intel IFMA extensions" (2016). A number is a column of
digits, lowest first, one lane of an array of shape (digits, 8); ``digits`` is a multiple of ``BLOCK``. With
R = 2^(52 · digits) > 4N, numbers stay in [0, 2N) and no product needs a final subtraction.

Nothing here branches on a digit or indexes by one, but for :func:`comb_groups`, which reads its table at
places that the exponents name.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from secagg.kernels.lanes import (
    DIGIT_BITS,
    WIDTH,
    add,
    both,
    either,
    load,
    madd_high,
    madd_low,
    shift_left,
    shift_right,
    spread,
    store,
)

Digits = NDArray[np.uint64]

BLOCK = 4  # rows of a product that are added in one pass over the accumulator
WINDOW = 5  # bits of an exponent for each multiplication
_ENTRIES = 1 << WINDOW

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_ALL = np.uint64(2**64 - 1)
_DIGIT = np.uint64(DIGIT_BITS)
_MASK = np.uint64(2**DIGIT_BITS - 1)
_WORD = np.uint64(64)


@numba.njit(cache=True, nogil=True)
def _add_rows(total: Any, at: int, x: Any, first: int, a: Any, b: Any, c: Any, d: Any) -> None:
    """total[at:] += x[first:] · (a, b, c, d), in one pass, with the last digits of x in registers."""
    count = x.shape[0] - first
    zero = spread(_ZERO)
    x1 = x2 = x3 = x4 = zero
    for j in range(count + BLOCK):
        x0 = load(x, first + j) if j < count else zero
        low = madd_low(madd_low(load(total, at + j), x0, a), x1, b)
        high = madd_high(madd_high(zero, x1, a), x2, b)  # a chain of its own: the two run side by side
        low = madd_low(madd_low(low, x2, c), x3, d)
        high = madd_high(madd_high(high, x3, c), x4, d)
        store(total, at + j, add(low, high))
        x4, x3, x2, x1 = x3, x2, x1, x0


@numba.njit(cache=True, nogil=True)
def _add_product(total: Any, at: int, left: Any, right: Any) -> None:
    """total[at:] += left · right, two digits."""
    store(total, at, madd_low(load(total, at), left, right))
    store(total, at + 1, madd_high(load(total, at + 1), left, right))


@numba.njit(cache=True, nogil=True)
def _clear(total: Any) -> None:
    zero = spread(_ZERO)
    for j in range(total.shape[0]):
        store(total, j, zero)


@numba.njit(cache=True, nogil=True)
def _copy(source: Any, out: Any) -> None:
    for j in range(out.shape[0]):
        store(out, j, load(source, j))


@numba.njit(cache=True, nogil=True)
def multiply(left: Any, right: Any, modulus: Any, inverse: np.uint64, total: Any, out: Any) -> None:
    """out = left · right / R. ``total``: room for 2 · digits + BLOCK rows. ``out`` may be an operand."""
    _clear(total)
    for i in range(0, modulus.shape[0], BLOCK):
        a, b, c, d = load(right, i), load(right, i + 1), load(right, i + 2), load(right, i + 3)
        _add_rows(total, i, left, 0, a, b, c, d)
    _reduce(total, modulus, inverse, out)


@numba.njit(cache=True, nogil=True)
def square(x: Any, modulus: Any, inverse: np.uint64, total: Any, out: Any) -> None:
    """out = x² / R: products of two different digits once, then doubled."""
    size = modulus.shape[0]
    _clear(total)
    for i in range(0, size, BLOCK):
        a, b, c, d = load(x, i), load(x, i + 1), load(x, i + 2), load(x, i + 3)
        _add_product(total, 2 * i + 1, a, b)
        _add_product(total, 2 * i + 2, a, c)
        _add_product(total, 2 * i + 3, a, d)
        _add_product(total, 2 * i + 3, b, c)
        _add_product(total, 2 * i + 4, b, d)
        _add_product(total, 2 * i + 5, c, d)
        _add_rows(total, 2 * i + BLOCK, x, i + BLOCK, a, b, c, d)
    one = spread(_ONE)
    for i in range(size):
        digit = load(x, i)
        store(total, 2 * i, madd_low(shift_left(load(total, 2 * i), one), digit, digit))
        store(total, 2 * i + 1, madd_high(shift_left(load(total, 2 * i + 1), one), digit, digit))
    _reduce(total, modulus, inverse, out)


@numba.njit(cache=True, nogil=True)
def _reduce(total: Any, modulus: Any, inverse: np.uint64, out: Any) -> None:
    """out = total / R modulo N. ``inverse``: −1/N modulo 2^52.

    Four digits at a time: their quotients come from the low corner alone, then one pass adds them all.
    An accumulator takes at most 8 · digits numbers below 2^52: far from its 64 bits.
    """
    size = modulus.shape[0]
    zero, shift, mask, factor = spread(_ZERO), spread(_DIGIT), spread(_MASK), spread(inverse)
    n0, n1, n2, n3 = load(modulus, 0), load(modulus, 1), load(modulus, 2), load(modulus, 3)
    for i in range(0, size, BLOCK):
        t0, t1, t2, t3 = load(total, i), load(total, i + 1), load(total, i + 2), load(total, i + 3)
        q0 = madd_low(zero, t0, factor)
        carry = shift_right(madd_low(t0, q0, n0), shift)
        t1 = add(madd_low(madd_high(t1, q0, n0), q0, n1), carry)
        q1 = madd_low(zero, t1, factor)
        carry = shift_right(madd_low(t1, q1, n0), shift)
        t2 = madd_low(madd_high(t2, q0, n1), q0, n2)
        t2 = add(madd_low(madd_high(t2, q1, n0), q1, n1), carry)
        q2 = madd_low(zero, t2, factor)
        carry = shift_right(madd_low(t2, q2, n0), shift)
        t3 = madd_low(madd_high(t3, q0, n2), q0, n3)
        t3 = madd_low(madd_high(t3, q1, n1), q1, n2)
        t3 = add(madd_low(madd_high(t3, q2, n0), q2, n1), carry)
        q3 = madd_low(zero, t3, factor)
        _add_rows(total, i, modulus, 0, q0, q1, q2, q3)
        carry = zero  # the four digits are 0 modulo 2^208 by now: what is above goes on
        for j in range(BLOCK):
            carry = shift_right(add(load(total, i + j), carry), shift)
        store(total, i + BLOCK, add(load(total, i + BLOCK), carry))
    carry = zero
    for j in range(size):
        digit = add(load(total, size + j), carry)
        store(out, j, both(digit, mask))
        carry = shift_right(digit, shift)


@numba.njit(cache=True, nogil=True)
def multiply_pairs(left: Digits, right: Digits, modulus: Digits, inverse: np.uint64, out: Digits) -> None:
    """out[g] = left[g] · right[g] / R, for arrays of shape (groups, digits, 8)."""
    total = np.empty((2 * modulus.shape[0] + BLOCK, WIDTH), np.uint64)
    for group in range(left.shape[0]):
        multiply(left[group], right[group], modulus, inverse, total, out[group])


@numba.njit(cache=True, nogil=True)
def multiply_together(groups: Digits, modulus: Digits, inverse: np.uint64, out: Digits) -> None:
    """out = the product of all groups, lane by lane, over a power of R; ``groups`` has one at least."""
    total = np.empty((2 * modulus.shape[0] + BLOCK, WIDTH), np.uint64)
    _copy(groups[0], out)
    for group in range(1, groups.shape[0]):
        multiply(out, groups[group], modulus, inverse, total, out)


@numba.njit(cache=True, nogil=True)
def multiply_groups(left: Digits, right: Digits, modulus: Digits, inverse: np.uint64, out: Digits) -> None:
    """out[g] = left[g] · right / R, for ``left`` of shape (groups, digits, 8), ``right`` of one group."""
    total = np.empty((2 * modulus.shape[0] + BLOCK, WIDTH), np.uint64)
    for group in range(left.shape[0]):
        multiply(left[group], right, modulus, inverse, total, out[group])


@numba.njit(cache=True, nogil=True)
def power_groups(
    bases: Digits, windows: Any, modulus: Digits, inverse: np.uint64, one: Digits, out: Digits
) -> None:
    """out[g] = bases[g]^e · R, bases given times R, one = R.

    ``windows``: the digits of e, ``WINDOW`` bits each, highest first.
    The table is read in full for every window, and every window takes the same steps.
    """
    size = modulus.shape[0]
    total = np.empty((2 * size + BLOCK, WIDTH), np.uint64)
    table = np.empty((_ENTRIES, size, WIDTH), np.uint64)
    chosen = np.empty((size, WIDTH), np.uint64)
    masks = np.empty((_ENTRIES, WIDTH), np.uint64)
    for group in range(bases.shape[0]):
        _copy(one, table[0])
        for entry in range(1, _ENTRIES):
            multiply(table[entry - 1], bases[group], modulus, inverse, total, table[entry])
        power = out[group]
        _copy(one, power)
        for place in range(windows.size):
            for _ in range(WINDOW):
                square(power, modulus, inverse, total, power)
            _choose(table, windows[place], masks, chosen)
            multiply(power, chosen, modulus, inverse, total, power)


@numba.njit(cache=True, nogil=True)
def _choose(table: Any, entry: np.uint64, masks: Any, out: Any) -> None:
    """out = table[entry], having read all of it."""
    for other in range(_ENTRIES):
        difference = np.uint64(other) ^ entry
        # (d − 1) >> 63 is 1 for d = 0 and 0 for the other d below 2^63.
        store(masks, other, spread(_ZERO - ((difference - _ONE) >> np.uint64(63))))
    for j in range(out.shape[0]):
        digit = spread(_ZERO)
        for other in range(_ENTRIES):
            digit = either(digit, both(load(table[other], j), load(masks, other)))
        store(out, j, digit)


@numba.njit(cache=True, nogil=True)
def comb_groups(
    table: Digits, choices: Any, spacing: int, modulus: Digits, inverse: np.uint64, one: Digits, out: Digits
) -> None:
    """out[g] = base^e · R, by a comb whose ``table``, (blocks, entries, digits), is given times R.

    ``choices``: e's digits, which entries to multiply, shape (groups, columns, 8).
    """
    size = modulus.shape[0]
    total = np.empty((2 * size + BLOCK, WIDTH), np.uint64)
    chosen = np.empty((size, WIDTH), np.uint64)
    columns = choices.shape[1]
    for group in range(choices.shape[0]):
        power = out[group]
        _copy(one, power)
        for offset in range(spacing - 1, -1, -1):
            if offset < spacing - 1:
                square(power, modulus, inverse, total, power)
            for block in range(table.shape[0]):
                column = block * spacing + offset
                if column < columns:
                    for lane in range(WIDTH):
                        entry = choices[group, column, lane]
                        for j in range(size):
                            chosen[j, lane] = table[block, entry, j]
                    multiply(power, chosen, modulus, inverse, total, power)


@numba.njit(cache=True, nogil=True)
def split(words: Digits, out: Digits) -> None:
    """Numbers in 64-bit words, one a row, as digits: number k is lane k % 8 of group k // 8 of ``out``."""
    out[:] = _ZERO
    for k in range(words.shape[0]):
        group, lane = k // WIDTH, k % WIDTH
        for j in range(out.shape[1]):
            at, shift = DIGIT_BITS * j // 64, np.uint64(DIGIT_BITS * j % 64)
            digit = _ZERO
            if at < words.shape[1]:
                digit = words[k, at] >> shift
                if shift > _WORD - _DIGIT and at + 1 < words.shape[1]:
                    digit |= words[k, at + 1] << (_WORD - shift)
            out[group, j, lane] = digit & _MASK


@numba.njit(cache=True, nogil=True)
def first_outside(words: Digits, modulus: Digits) -> int:
    """The first number, one a row, that is 0 or not below the modulus, one row; -1 if there is none."""
    for k in range(words.shape[0]):
        place = words.shape[1] - 1
        while place > 0 and words[k, place] == modulus[0, place]:
            place -= 1
        if words[k, place] >= modulus[0, place] or not words[k].any():
            return k
    return -1


@numba.njit(cache=True, nogil=True)
def join(digits: Digits, out: Digits) -> None:
    """The inverse of :func:`split`; digits that have no room in ``out`` are zero."""
    out[:] = _ZERO
    for k in range(out.shape[0]):
        group, lane = k // WIDTH, k % WIDTH
        for j in range(digits.shape[1]):
            at, shift = DIGIT_BITS * j // 64, np.uint64(DIGIT_BITS * j % 64)
            if at < out.shape[1]:
                digit = digits[group, j, lane]
                out[k, at] |= digit << shift
                if shift > _WORD - _DIGIT and at + 1 < out.shape[1]:
                    out[k, at + 1] |= digit >> (_WORD - shift)
