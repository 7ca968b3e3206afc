"""A strict canonical codec: fixed widths, little-endian, no padding, no trailing bytes (spec section 4).

Whatever decodes encodes back to the same bytes; everything else raises ``DecodeError``.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc.errors import DecodeError, LocalError


@dataclass(frozen=True, slots=True)
class Subset(Collection[int]):
    """Some of the indices 0 … size - 1, a bit each; iterates in ascending order.

    ``bitmap``: as it travels, lowest index in the lowest bit.
    """

    bitmap: bytes
    size: int

    @classmethod
    def of(cls, indices: Collection[int], size: int) -> Subset:
        """``LocalError`` for an index outside range(size). A subset of this size is returned as it is."""
        if isinstance(indices, Subset) and indices.size == size:
            return indices
        if indices and not 0 <= min(indices) <= max(indices) < size:
            outside = min(indices) if min(indices) < 0 else max(indices)
            raise LocalError("index", outside, f"must be from 0 to {size - 1}")
        bits = np.zeros(size, np.uint8)
        bits[list(indices)] = 1
        return cls(np.packbits(bits, bitorder="little").tobytes(), size)

    def mask(self) -> npt.NDArray[np.bool_]:
        """Shape (size,): true for what is in it."""
        bits = np.unpackbits(np.frombuffer(self.bitmap, np.uint8), bitorder="little")
        return bits[: self.size].view(bool)

    def indices(self) -> npt.NDArray[np.int64]:
        """What is in it, ascending."""
        return np.flatnonzero(self.mask())

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, int | np.integer) or not 0 <= index < self.size:
            return False
        return bool(self.bitmap[int(index) >> 3] >> (int(index) & 7) & 1)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices().tolist())

    def __len__(self) -> int:
        return int(self.mask().sum())

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.size})"


class Writer:
    """Collects fields in order; ``finish()`` gives the bytes."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []

    def _unsigned(self, value: int, width: int) -> Writer:
        if not 0 <= value < 1 << (8 * width):
            raise LocalError("value", value, f"must be from 0 to 2^{8 * width} - 1")
        self._parts.append(value.to_bytes(width, "little"))
        return self

    def u8(self, value: int) -> Writer:
        return self._unsigned(value, 1)

    def u16(self, value: int) -> Writer:
        return self._unsigned(value, 2)

    def u32(self, value: int) -> Writer:
        return self._unsigned(value, 4)

    def u64(self, value: int) -> Writer:
        return self._unsigned(value, 8)

    def packed(self, form: str, *values: int) -> Writer:
        """Unsigned integers of the widths that ``form`` lists: B (8 bits), H (16), I (32) or Q (64)."""
        try:
            self._parts.append(struct.pack("<" + form, *values))
        except struct.error:
            for width, value in zip(form, values, strict=True):
                self._unsigned(value, struct.calcsize("<" + width))
        return self

    def fixed(self, data: bytes | memoryview, size: int) -> Writer:
        """Exactly ``size`` bytes, whose number the reader knows."""
        if len(data) != size:
            raise LocalError("len(data)", len(data), f"this field has {size} bytes")
        self._parts.append(data)
        return self

    def blob(self, data: bytes | memoryview) -> Writer:
        """A 32-bit length, then the bytes."""
        self._unsigned(len(data), 4)
        self._parts.append(data)
        return self

    def text(self, value: str) -> Writer:
        """An 8-bit length, then ASCII."""
        if not value.isascii() or len(value) > 255:
            raise LocalError("value", value, "must be at most 255 ASCII characters")
        data = value.encode("ascii")
        self._unsigned(len(data), 1)
        self._parts.append(data)
        return self

    def members(self, indices: Collection[int], size: int) -> Writer:
        """A subset of range(size) as a bitmap of ceil(size / 8) bytes, lowest index in the lowest bit."""
        self._parts.append(Subset.of(indices, size).bitmap)
        return self

    def finish(self) -> bytes:
        return b"".join(self._parts)


class Reader:
    """Takes fields off the front; ``finish()`` refuses what is left over."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._position = 0

    def view(self, size: int) -> memoryview:
        """The next ``size`` bytes, not copied."""
        end = self._position + size
        if end > len(self._data):
            raise DecodeError(f"ends after {len(self._data)} bytes, where at least {end} were due")
        chunk = self._data[self._position : end]
        self._position = end
        return chunk

    def fixed(self, size: int) -> bytes:
        return bytes(self.view(size))

    def u8(self) -> int:
        return int.from_bytes(self.view(1), "little")

    def u16(self) -> int:
        return int.from_bytes(self.view(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.view(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.view(8), "little")

    def blob(self) -> memoryview:
        return self.view(self.u32())

    def text(self) -> str:
        try:
            return bytes(self.view(self.u8())).decode("ascii")
        except UnicodeDecodeError:
            raise DecodeError("text that is not ASCII") from None

    def subset(self, size: int) -> Subset:
        """A subset of range(size); a bit beyond ``size`` is refused."""
        bitmap = self.fixed((size + 7) // 8)
        if size % 8 and bitmap[-1] >> size % 8:
            raise DecodeError(f"a bitmap over {size} members has a bit set beyond them")
        return Subset(bitmap, size)

    def members(self, size: int) -> tuple[int, ...]:
        """The same, as its indices in ascending order."""
        return tuple(self.subset(size))

    def rest(self) -> memoryview:
        """Everything that is left."""
        return self.view(len(self._data) - self._position)

    def finish(self) -> None:
        left = len(self._data) - self._position
        if left:
            raise DecodeError(f"{left} bytes after the end")
