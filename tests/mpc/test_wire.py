"""mpc.wire: what decodes encodes back to the same bytes, and all else is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.wire import Reader, Writer

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "u8": st.integers(0, 2**8 - 1),
    "u16": st.integers(0, 2**16 - 1),
    "u32": st.integers(0, 2**32 - 1),
    "u64": st.integers(0, 2**64 - 1),
    "blob": st.binary(max_size=40),
    "text": st.text(st.characters(max_codepoint=127), max_size=255),
}


@given(st.lists(st.sampled_from(list(FIELDS)).flatmap(lambda k: st.tuples(st.just(k), FIELDS[k]))))
def test_what_is_written_is_read(fields: list[tuple[str, Any]]) -> None:
    writer = Writer()
    for kind, value in fields:
        assert getattr(writer, kind)(value) is writer
    data = writer.finish()
    reader = Reader(data)
    for kind, value in fields:
        found = getattr(reader, kind)()
        assert (bytes(found) if kind == "blob" else found) == value
    reader.finish()


@given(st.lists(st.sampled_from(list(FIELDS)), min_size=1, max_size=5), st.binary(max_size=60))
def test_bytes_have_one_reading_or_none(kinds: list[str], data: bytes) -> None:
    """Whatever decodes encodes back to the same bytes."""
    reader = Reader(data)
    try:
        values = [getattr(reader, kind)() for kind in kinds]
        reader.finish()
    except DecodeError:
        return
    writer = Writer()
    for kind, value in zip(kinds, values, strict=True):
        getattr(writer, kind)(value)
    assert writer.finish() == data


def test_integers_are_little_endian() -> None:
    assert Writer().u16(1).u32(2).u64(3).finish() == b"\1\0\2\0\0\0\3\0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda w: w.u8(256), r"value is 256: must be from 0 to 2\^8 - 1"),
        (lambda w: w.u16(-1), r"value is -1: must be from 0 to 2\^16 - 1"),
        (lambda w: w.u32(2**32), r"must be from 0 to 2\^32 - 1"),
        (lambda w: w.u64(2**64), r"must be from 0 to 2\^64 - 1"),
        (lambda w: w.fixed(b"abc", 4), r"len\(data\) is 3: this field has 4 bytes"),
        (lambda w: w.text("é"), r"value is 'é': must be at most 255 ASCII characters"),
        (lambda w: w.text("a" * 256), r"must be at most 255 ASCII characters"),
        (lambda w: w.members([3], 3), r"index is 3: must be from 0 to 2"),
        (lambda w: w.members([-1, 0], 3), r"index is -1: must be from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_not_written(write: Callable[[Writer], object], complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        write(Writer())


@pytest.mark.parametrize(
    ("read", "data", "complaint"),
    [
        (lambda r: r.u8(), b"", "ends after 0 bytes, where at least 1 were due"),
        (lambda r: r.u16(), b"\0", "ends after 1 bytes, where at least 2 were due"),
        (lambda r: r.u32(), b"\0\0\0", "at least 4 were due"),
        (lambda r: r.u64(), b"\0" * 7, "at least 8 were due"),
        (lambda r: r.fixed(3), b"ab", "at least 3 were due"),
        (lambda r: r.blob(), b"\5\0\0\0abc", "ends after 7 bytes, where at least 9 were due"),
        (lambda r: r.blob(), b"\xff\xff\xff\xff", "at least 4294967299 were due"),
        (lambda r: r.text(), b"\3ab", "at least 4 were due"),
        (lambda r: r.text(), b"\1\x80", "text that is not ASCII"),
        (lambda r: r.members(9), b"\0", "at least 2 were due"),
        (lambda r: r.members(9), b"\0\2", "a bitmap over 9 members has a bit set beyond them"),
        (lambda r: r.finish(), b"abc", "3 bytes after the end"),
    ],
)
def test_what_is_no_encoding_is_refused(
    read: Callable[[Reader], object], data: bytes, complaint: str
) -> None:
    with pytest.raises(DecodeError, match=complaint):
        read(Reader(data))


@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_sets_are_bitmaps(case: tuple[int, set[int]]) -> None:
    size, members = case
    data = Writer().members(members, size).finish()
    assert data == sum(1 << index for index in members).to_bytes(-(-size // 8), "little")
    reader = Reader(data)
    assert reader.members(size) == tuple(sorted(members))
    reader.finish()


def test_a_set_may_be_given_with_repetitions_and_as_any_collection() -> None:
    expected = Writer().members({1, 4}, 5).finish()
    for collection in ([4, 1, 4], (1, 4), {1: "a", 4: "b"}, frozenset({4, 1})):
        assert Writer().members(collection, 5).finish() == expected


def test_views_are_not_copies_and_rest_takes_all() -> None:
    data = bytearray(b"abcdef")
    reader = Reader(data)
    view = reader.view(2)
    rest = reader.rest()
    data[0], data[5] = ord("x"), ord("y")
    assert (bytes(view), bytes(rest)) == (b"xb", b"cdey")
    assert bytes(reader.rest()) == b""
    reader.finish()
