"""Snapshots: the state of a party as bytes, and back (spec section 5.1).

A closed set of values, and no names that are looked up anywhere: decoding builds plain values and objects of
the classes that the caller lists, and runs nothing else. A snapshot holds all secrets of its party.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import DecodeError, LocalError
from mpc.wire import Reader, Writer

VERSION = 1
MAX_DEPTH = 32  # of containers: parties nest five; Python's own limit strikes at some hundred
MAX_DIMENSIONS = 8
DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float32",
    "float64",
)


class _Tag(IntEnum):
    NONE = 0
    FALSE = 1
    TRUE = 2
    INTEGER = 3
    FLOAT = 4
    BYTES = 5
    TEXT = 6
    TUPLE = 7
    LIST = 8
    DICT = 9
    SET = 10
    FROZENSET = 11
    ARRAY = 12
    SCALAR = 13
    OBJECT = 14


_SEQUENCES: Mapping[type, _Tag] = {tuple: _Tag.TUPLE, list: _Tag.LIST}
_SETS: Mapping[type, _Tag] = {set: _Tag.SET, frozenset: _Tag.FROZENSET}


@dataclass(frozen=True, slots=True)
class Kind:
    """How objects of one class are written: as what ``plain`` makes of them; ``build`` undoes it."""

    type: type
    plain: Callable[[Any], object]
    build: Callable[[Any], object]


def record(cls: type) -> Kind:
    """A frozen dataclass, as the tuple of its fields; its own validation runs when it is read."""
    names = [field.name for field in fields(cls)]
    return Kind(cls, lambda value: tuple(getattr(value, name) for name in names), lambda values: cls(*values))


def enumeration(cls: type) -> Kind:
    """An enumeration, as the value of a member."""
    return Kind(cls, lambda member: int(member), cls)


def encode(value: object, kinds: Sequence[Kind] = ()) -> bytes:
    """None, bool, int, float, bytes, str, tuple, list, dict, set, frozenset, NumPy arrays and scalars of
    ``DTYPES``, and objects of ``kinds``, in any nesting up to ``MAX_DEPTH``.

    Memory views become bytes, arrays are laid out in C order, sets are sorted. Exact types only: what is of
    any other is a ``LocalError``, which names the type and not the value.
    """
    writer = Writer().u8(VERSION)
    _Encoder(writer, _by_name(kinds).values()).value(value, 0)
    return writer.finish()


def decode(data: bytes | memoryview, kinds: Sequence[Kind] = ()) -> Any:
    """What :func:`encode` wrote; ``DecodeError`` for anything else. Arrays are new and may be written to."""
    reader = Reader(data)
    if (version := reader.u8()) != VERSION:
        raise DecodeError(f"a snapshot of version {version}, where {VERSION} is known")
    value = _Decoder(reader, kinds).value(0)
    reader.finish()
    return value


class _Encoder:
    def __init__(self, writer: Writer, kinds: Iterable[Kind]) -> None:
        self._writer = writer
        self._kinds = {kind.type: kind for kind in kinds}

    def value(self, value: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise LocalError("depth", depth, f"a snapshot nests at most {MAX_DEPTH} deep")
        kind = type(value)
        if kind in self._kinds:
            self._writer.u8(_Tag.OBJECT).text(kind.__name__)
            self.value(self._kinds[kind].plain(value), depth + 1)
        elif kind in _SEQUENCES:
            self._writer.u8(_SEQUENCES[kind]).u32(len(value))
            for item in value:
                self.value(item, depth + 1)
        elif kind is dict:
            self._writer.u8(_Tag.DICT).u32(len(value))
            for key, item in value.items():
                self.value(key, depth + 1)
                self.value(item, depth + 1)
        elif kind in _SETS:
            self._set(value, depth)
        elif kind is np.ndarray:
            self._array(value)
        else:
            self._scalar(value)

    def _set(self, value: set[object], depth: int) -> None:
        self._writer.u8(_SETS[type(value)]).u32(len(value))
        for encoded in sorted(_item(item, self._kinds.values(), depth + 1) for item in value):
            self._writer.fixed(encoded, len(encoded))

    def _array(self, array: NDArray[Any]) -> None:
        name = _dtype_name(array.dtype)
        if array.ndim > MAX_DIMENSIONS:
            raise LocalError("dimensions", array.ndim, f"a snapshot holds arrays of at most {MAX_DIMENSIONS}")
        self._writer.u8(_Tag.ARRAY).u8(DTYPES.index(name)).u8(array.ndim)
        for extent in array.shape:
            self._writer.u64(extent)
        flat = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).reshape(-1)
        data = flat.view(np.uint8).data if flat.size else b""
        self._writer.fixed(data, flat.nbytes)

    def _scalar(self, value: Any) -> None:
        writer, kind = self._writer, type(value)
        if value is None or kind is bool:
            writer.u8(_Tag.NONE if value is None else _Tag.TRUE if value else _Tag.FALSE)
        elif kind is int:
            writer.u8(_Tag.INTEGER).blob(_integer_bytes(value))
        elif kind is float:
            writer.u8(_Tag.FLOAT).fixed(struct.pack("<d", value), 8)
        elif kind is bytes or kind is memoryview:
            data = value if kind is bytes else _flat(value)
            writer.u8(_Tag.BYTES).u64(len(data)).fixed(data, len(data))
        elif kind is str:
            writer.u8(_Tag.TEXT).blob(_utf8(value))
        elif isinstance(value, np.generic):
            writer.u8(_Tag.SCALAR)
            self._array(np.asarray(value))
        else:
            raise LocalError("type of a value", kind.__name__, "is none that a snapshot can hold")


class _Decoder:
    def __init__(self, reader: Reader, kinds: Sequence[Kind]) -> None:
        self._reader = reader
        self._kinds = _by_name(kinds)

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise DecodeError(f"nested more than {MAX_DEPTH} deep")
        reader, tag = self._reader, self._reader.u8()
        if tag in (_Tag.TUPLE, _Tag.LIST):
            items = [self.value(depth + 1) for _ in range(reader.u32())]
            return items if tag == _Tag.LIST else tuple(items)
        if tag == _Tag.DICT:
            return self._dict(depth)
        if tag in (_Tag.SET, _Tag.FROZENSET):
            found = self._set(depth)
            return found if tag == _Tag.SET else frozenset(found)
        if tag == _Tag.OBJECT:
            return self._object(depth)
        if tag == _Tag.ARRAY:
            return self._array()
        return self._scalar(tag)

    def _dict(self, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in range(self._reader.u32()):
            key = self.value(depth + 1)
            value = self.value(depth + 1)
            if not _hashable(key) or key in found:
                raise DecodeError("a key that stands twice, or can be none")
            found[key] = value
        return found

    def _set(self, depth: int) -> set[Any]:
        found: set[Any] = set()
        before = b""
        for _ in range(self._reader.u32()):
            item = self.value(depth + 1)
            here = _item(item, self._kinds.values(), depth + 1)
            if not _hashable(item) or item in found or here <= before:
                raise DecodeError("a set with an element twice, out of order, or that can be none")
            found.add(item)
            before = here
        return found

    def _object(self, depth: int) -> object:
        name = self._reader.text()
        plain = self.value(depth + 1)
        if name not in self._kinds:
            raise DecodeError(f"an object of class {name!r}, which is not in the list")
        try:
            return self._kinds[name].build(plain)
        except (TypeError, ValueError) as error:  # LocalError among them; the text may hold a secret
            raise DecodeError(f"what is no {name} ({type(error).__name__})") from None

    def _array(self) -> NDArray[Any]:
        place, dimensions = self._reader.u8(), self._reader.u8()
        if place >= len(DTYPES) or dimensions > MAX_DIMENSIONS:
            raise DecodeError(f"an array of type {place} in {dimensions} dimensions")
        dtype = np.dtype(DTYPES[place])
        shape = tuple(self._reader.u64() for _ in range(dimensions))
        flat = np.frombuffer(self._reader.view(math.prod(shape) * dtype.itemsize), np.uint8)
        if dtype.name == "bool" and flat.max(initial=0) > 1:
            raise DecodeError("a truth value that is neither 0 nor 1")
        try:
            return flat.view(dtype.newbyteorder("<")).reshape(shape).astype(dtype)
        except (ValueError, OverflowError):
            raise DecodeError("an array of a shape that there is not") from None

    def _scalar(self, tag: int) -> Any:
        reader = self._reader
        if tag <= _Tag.TRUE:
            return (None, False, True)[tag]
        if tag == _Tag.INTEGER:
            return _integer(reader.blob())
        if tag == _Tag.FLOAT:
            return struct.unpack("<d", reader.view(8))[0]
        if tag == _Tag.BYTES:
            return reader.fixed(reader.u64())
        if tag == _Tag.TEXT:
            try:
                return bytes(reader.blob()).decode()
            except UnicodeDecodeError:
                raise DecodeError("text that is not UTF-8") from None
        if tag == _Tag.SCALAR and reader.u8() == _Tag.ARRAY and not (found := self._array()).ndim:
            return found[()]
        raise DecodeError(f"type {tag} is not in the list")


def _by_name(kinds: Iterable[Kind]) -> dict[str, Kind]:
    found = {kind.type.__name__: kind for kind in kinds}
    if len(found) < len({kind.type for kind in kinds}):
        raise LocalError("kinds", sorted(found), "two classes of one name could not be told apart")
    return found


def _item(item: object, kinds: Iterable[Kind], depth: int) -> bytes:
    """One element of a set, by which the elements are sorted."""
    writer = Writer()
    _Encoder(writer, kinds).value(item, depth)
    return writer.finish()


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _dtype_name(dtype: np.dtype[Any]) -> str:
    if dtype.name not in DTYPES:
        raise LocalError("dtype", dtype.name, f"must be one of {', '.join(DTYPES)}")
    return dtype.name


def _flat(view: memoryview) -> bytes | memoryview:
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalError("text", "<not printed>", "has no encoding in UTF-8") from None


def _integer_bytes(value: int) -> bytes:
    """Two's complement, as short as it can be."""
    return value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "little", signed=True)


def _integer(data: memoryview) -> int:
    value = int.from_bytes(data, "little", signed=True)
    if _integer_bytes(value) != data:
        raise DecodeError("an integer with bytes to spare, or none")
    return value
