"""Bit packing of lanes at b bits a value, b = 1 … 63; whole words need no kernel.

Value i occupies bits [i·b, (i + 1)·b) of the little-endian bit string. A lane is uint16, uint32 or uint64,
and its bits above b do not count. Little-endian hosts only, as numba itself.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Lanes = npt.NDArray[np.unsignedinteger[Any]]

LOOKAHEAD = 9  # bytes that a value may touch: 64 bits that begin within a byte

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_THREE = np.uint64(3)  # log2 of the bits in a byte
_SEVEN = np.uint64(7)
_EIGHT = np.uint64(8)
_NEAR_BITS = np.uint64(57)  # the widest value that one unaligned load of 64 bits always covers
_WORD_BITS = np.uint64(64)
_ALL = np.uint64(2**64 - 1)


def _word_at(typing_context: Any, octets: Any, offset: Any) -> Any:
    """Eight bytes from ``offset`` on as one word: an unaligned load, which numba has no expression for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(octets, types.uint64), generate


# Called with two arguments: the typing context is numba's. Without ``Any``, mypy would ask for all three.
_load_word: Any = intrinsic(_word_at)


@numba.njit(cache=True, nogil=True, inline="always")
def _near(octets: Octets, start: np.uint64) -> np.uint64:
    """At least 57 bits from bit ``start`` on."""
    word: np.uint64 = _load_word(octets, start >> _THREE)
    return word >> (start & _SEVEN)


@numba.njit(cache=True, nogil=True, inline="always")
def _far(octets: Octets, start: np.uint64) -> np.uint64:
    """The 64 bits from bit ``start`` on: nine bytes may hold them."""
    last = np.uint64(octets[(start >> _THREE) + _EIGHT])
    # Two shifts, because a shift by 64 is undefined.
    return _near(octets, start) | ((last << _ONE) << (_WORD_BITS - _ONE - (start & _SEVEN)))


@numba.njit(cache=True, nogil=True)
def add_packed(octets: Octets, bits: np.uint64, lanes: Lanes) -> None:
    """lanes += the values at the front of ``octets``, modulo the width of a lane.

    ``octets`` holds LOOKAHEAD bytes from the one on in which the last value begins.
    """
    mask = _ALL >> (_WORD_BITS - bits)
    if bits <= _NEAR_BITS:
        for i in range(lanes.size):
            lanes[i] += _near(octets, np.uint64(i) * bits) & mask
    else:
        for i in range(lanes.size):
            lanes[i] += _far(octets, np.uint64(i) * bits) & mask


@numba.njit(cache=True, nogil=True)
def pack(lanes: Lanes, bits: np.uint64, words: Words) -> None:
    """words = the low ``bits`` of each lane; ``words`` has ceil(len(lanes) · bits / 64) entries."""
    mask = _ALL >> (_WORD_BITS - bits)
    index = _ZERO
    used = _ZERO  # bits of the word in progress that are taken
    carry = _ZERO  # those bits
    for w in range((np.uint64(lanes.size) * bits) // _WORD_BITS):
        word = carry
        value = _ZERO
        while used < _WORD_BITS:
            value = np.uint64(lanes[index]) & mask
            word |= value << used
            used += bits
            index += _ONE
        words[w] = word
        used -= _WORD_BITS
        carry = value >> (bits - used)
    for i in range(index, lanes.size):
        carry |= (np.uint64(lanes[i]) & mask) << used
        used += bits
    if used:
        words[words.size - 1] = carry
