"""Vectors over Z_2^b: signed integers, masks, and the packed form that travels (spec sections 3 and 4).

A vector is held in lanes, unsigned words of 16, 32 or 64 bits. Arithmetic wraps at the width of the lane;
since that is a multiple of 2^b, the low b bits of a lane are its value, and whatever stands above them is
ignored and dropped by ``decode`` and ``pack``. Masking with whole lanes of keystream is therefore masking
modulo 2^b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.errors import DecodeError, LocalError
from mpc.prg import KEY_BYTES, Keystream

Lanes = npt.NDArray[np.unsignedinteger[Any]]

LaneType = np.dtype[np.unsignedinteger[Any]]

LANES: tuple[LaneType, ...] = (np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8"))
BLOCK_BYTES = 3 << 16  # with the zeros and the lanes that a block goes with, well within 1 MiB of cache
BATCH = 64  # keystreams open at once; each is a cipher context of a few hundred bytes
# Widths that need no bit shifting.
_WHOLE: dict[int, LaneType] = {8: np.dtype("u1"), 16: LANES[0], 32: LANES[1], 64: LANES[2]}


@dataclass(frozen=True, slots=True)
class Ring:
    """The integers modulo 2^bits, bits = 1 … 64; ``LocalError`` for another width."""

    bits: int

    def __post_init__(self) -> None:
        whole = isinstance(self.bits, int) and not isinstance(self.bits, bool)
        if not whole or not 1 <= self.bits <= 64:
            raise LocalError("bits", self.bits, "a ring has 1 to 64 bits, a whole number")

    @property
    def lane(self) -> LaneType:
        """The narrowest lane that holds an element."""
        return next(lane for lane in LANES if self.bits <= 8 * lane.itemsize)

    @property
    def mask(self) -> int:
        """2^bits − 1."""
        return (1 << self.bits) - 1

    def packed_size(self, length: int) -> int:
        """Bytes of a packed vector of ``length`` values: ceil(length · bits / 8)."""
        if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 0:
            raise LocalError("length", length, "must be a whole number of at least 0")
        return (int(length) * self.bits + 7) // 8

    def encode(self, values: npt.NDArray[np.signedinteger[Any]]) -> Lanes:
        """Signed integers in [−2^(bits−1), 2^(bits−1)), of any shape, as lanes of the same shape.

        ``LocalError`` names the first entry out of range by its position in C order.
        """
        self._check_range(values)
        lanes: Lanes = values.astype(self.lane)
        lanes &= self.lane.type(self.mask)
        return lanes

    def decode(self, lanes: Lanes) -> npt.NDArray[np.int64]:
        """The representatives in [−2^(bits−1), 2^(bits−1)) of lanes of any shape."""
        self._check_lane("lanes", lanes)
        values = lanes.astype(np.uint64).view(np.int64)
        # Up, then down again: the arithmetic shift copies the sign bit over what stood above it.
        values <<= 64 - self.bits
        values >>= 64 - self.bits
        return values

    def pack(self, lanes: Lanes) -> bytes:
        """The low ``bits`` of each lane of a vector, little-endian, without gaps; unused bits are zero."""
        self._check_vector("lanes", lanes)
        packed = np.empty(self.packed_size(lanes.size), np.uint8)
        self._pack_into(lanes, packed)
        return packed.tobytes()

    def pack_masked(
        self, values: npt.NDArray[np.signedinteger[Any]], streams: Sequence[tuple[bytes, int]]
    ) -> memoryview:
        """``pack`` of ``encode(values)`` plus ``add_masks`` of ``streams``, in one pass through the cache.

        ``values``: a vector, as in ``encode``. Only the packed form ever stands in memory as a whole.
        """
        self._check_range(values)
        _check_one_dimension("values", values)
        _check_streams(streams)
        masks = _Masks(streams, self.lane)
        lanes: Lanes = np.empty(masks.block, self.lane)
        packed = np.empty(self.packed_size(values.size), np.uint8)
        stride = self.packed_size(masks.block)  # a block holds a multiple of 64 values: no bits left over
        for number, start in enumerate(range(0, values.size, masks.block)):
            source = values[start : start + masks.block]
            part = lanes[: source.size]
            np.copyto(part, source, casting="unsafe")  # wraps: two's complement in the width of a lane
            masks.add_next_to(part)
            self._pack_into(part, packed[number * stride : (number + 1) * stride])
        return packed.data.toreadonly()

    def unpack(self, data: bytes | memoryview, length: int) -> Lanes:
        """The vector of ``length`` values whose ``pack`` is ``data``; ``DecodeError`` if there is none."""
        octets = self._packed(data, length)
        if self.bits in _WHOLE:
            return octets.view(_WHOLE[self.bits]).astype(self.lane)
        lanes: Lanes = np.zeros(length, self.lane)
        self._add(lanes, octets)
        return lanes

    def add_packed(self, total: Lanes, data: bytes | memoryview) -> None:
        """total += unpack(data) in one pass and in place, modulo the width of a lane.

        ``DecodeError`` if ``data`` is not the packed form of a vector as long as ``total``, which then is
        unchanged.
        """
        self._check_vector("total", total)
        _check_accumulator(total)
        octets = self._packed(data, total.size)
        if self.bits in _WHOLE:
            np.add(total, octets.view(_WHOLE[self.bits]), out=total)
        else:
            self._add(total, octets)

    def _packed(self, data: bytes | memoryview, length: int) -> npt.NDArray[np.uint8]:
        octets = np.frombuffer(data, np.uint8)
        if octets.size != self.packed_size(length):
            raise DecodeError(f"{octets.size} bytes, not {self.packed_size(length)} for {length} values")
        unused = 8 * octets.size - length * self.bits
        if unused and int(octets[-1]) >> (8 - unused):
            raise DecodeError("padding bits after the last packed value are not zero")
        return octets

    def _add(self, total: Lanes, octets: npt.NDArray[np.uint8]) -> None:
        from mpc.kernels import ring as kernel

        # The kernel reads ahead, so the last values come from a padded copy. It starts at a multiple of eight
        # values, which is a whole number of bytes.
        begins = 8 * max(octets.size - kernel.LOOKAHEAD, -1) + 7  # last bit at which a value may begin
        head = min((begins + self.bits) // self.bits, total.size) // 8 * 8
        tail = np.zeros(octets.size - head * self.bits // 8 + kernel.LOOKAHEAD, np.uint8)
        tail[: -kernel.LOOKAHEAD] = octets[head * self.bits // 8 :]
        bits = np.uint64(self.bits)
        kernel.add_packed(_read_only(octets), bits, total[:head])
        kernel.add_packed(_read_only(tail), bits, total[head:])

    def _pack_into(self, lanes: Lanes, packed: npt.NDArray[np.uint8]) -> None:
        if self.bits in _WHOLE:
            packed.view(_WHOLE[self.bits])[:] = lanes
            return
        from mpc.kernels import ring as kernel

        words = np.empty(packed.size // 8 + 1, np.uint64) if packed.size % 8 else packed.view(np.uint64)
        kernel.pack(_read_only(lanes), np.uint64(self.bits), words)
        if packed.size % 8:
            packed[:] = words.view(np.uint8)[: packed.size]

    def _check_range(self, values: npt.NDArray[np.signedinteger[Any]]) -> None:
        if values.dtype.kind != "i":
            raise LocalError("values.dtype", values.dtype, "a signed integer type")
        bound = 1 << (self.bits - 1)
        if values.size and not -bound <= int(values.min()) <= int(values.max()) < bound:
            outside = (values.astype(np.int64) < -bound) | (values.astype(np.int64) >= bound)
            limits = f"an entry lies in [-2^{self.bits - 1}, 2^{self.bits - 1})"
            raise LocalError(f"values[{int(np.argmax(outside))}]", "out of range", limits)

    def _check_lane(self, name: str, lanes: Lanes) -> None:
        if lanes.dtype != self.lane:
            raise LocalError(
                f"{name}.dtype", lanes.dtype, f"a ring of {self.bits} bits has lanes {self.lane}"
            )

    def _check_vector(self, name: str, lanes: Lanes) -> None:
        self._check_lane(name, lanes)
        _check_one_dimension(name, lanes)


def add_masks(total: Lanes, streams: Sequence[tuple[bytes, int]]) -> None:
    """total += Σ sign · keystream(key), in place, lane by lane, modulo the width of a lane.

    ``total`` is a C-contiguous array of uint16, uint32 or uint64; ``streams`` holds (AES-128 key, +1 or −1).
    Each keystream is read from its front as little-endian lanes. ``LocalError`` before anything is added.
    Ciphers and additions release the interpreter's lock, so parts of ``streams`` can run in threads over
    totals of their own.
    """
    if total.dtype not in LANES:
        raise LocalError("total.dtype", total.dtype, "lanes are uint16, uint32 or uint64")
    _check_accumulator(total)
    _check_streams(streams)
    flat = total.reshape(-1)
    for first in range(0, len(streams), BATCH):
        masks = _Masks(streams[first : first + BATCH], total.dtype)
        # Every keystream over one block before the next block: the total is read from memory once a batch.
        for start in range(0, flat.size, masks.block):
            masks.add_next_to(flat[start : start + masks.block])


class _Masks:
    """Keystreams opened together, added a block at a time through one buffer that stays in cache."""

    def __init__(self, streams: Sequence[tuple[bytes, int]], lane: LaneType) -> None:
        self.block = BLOCK_BYTES // lane.itemsize
        self._streams = [(Keystream(key).fill, np.add if sign == 1 else np.subtract) for key, sign in streams]
        self._zeros = memoryview(bytes(BLOCK_BYTES))
        self._buffer = bytearray(BLOCK_BYTES + 15)
        self._mask: Lanes = np.frombuffer(self._buffer, lane, self.block)

    def add_next_to(self, part: Lanes) -> None:
        """part += Σ sign · the next lanes of each keystream; a whole block, but at the end."""
        zeros, buffer, mask = self._zeros[: part.nbytes], self._buffer, self._mask[: part.size]
        for fill, accumulate in self._streams:
            fill(zeros, buffer)
            accumulate(part, mask, part)


def _check_streams(streams: Sequence[tuple[bytes, int]]) -> None:
    for index, (key, sign) in enumerate(streams):
        if len(key) != KEY_BYTES:
            raise LocalError(f"len(streams[{index}][0])", len(key), f"an AES-128 key has {KEY_BYTES} bytes")
        if sign not in (1, -1):
            raise LocalError(f"streams[{index}][1]", sign, "a sign is 1 or -1")


def _check_one_dimension(name: str, array: npt.NDArray[Any]) -> None:
    if array.ndim != 1:
        raise LocalError(f"{name}.shape", array.shape, "a vector has one dimension")


def _check_accumulator(total: Lanes) -> None:
    if not (total.flags.writeable and total.flags.c_contiguous):
        layout = f"writeable = {total.flags.writeable}, strides = {total.strides}"
        raise LocalError("total", layout, "an accumulator is writable and C-contiguous")


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A contiguous read-only view: one signature for a kernel, whatever its caller was handed."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
