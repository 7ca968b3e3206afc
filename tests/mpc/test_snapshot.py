"""mpc.snapshot: a closed set of values goes through bytes unchanged, and nothing else does."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mpc.errors import DecodeError, LocalError
from mpc.snapshot import DTYPES, MAX_DEPTH, MAX_DIMENSIONS, Kind, decode, encode, enumeration, record


class Colour(IntEnum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Pair:
    left: object
    right: object

    def __post_init__(self) -> None:
        if self.left == "forbidden":
            raise LocalError("left", "a secret", "may not be that")


class Meters:
    """Written as a number of its own unit, with no constructor that decoding could guess."""

    def __init__(self, text: str) -> None:
        self.value = int(text.removesuffix("m"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Meters) and self.value == other.value

    def __hash__(self) -> int:
        return self.value


KINDS = (
    record(Pair),
    enumeration(Colour),
    Kind(Meters, lambda one: one.value, lambda number: Meters(f"{number}m")),
)

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**4000), 2**4000),
    st.floats(allow_nan=False),
    st.binary(max_size=40),
    st.text(max_size=20),
    st.sampled_from(Colour),
    st.integers(0, 2**40).map(lambda number: Meters(f"{number}m")),
)
keys = st.recursive(
    plain, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=20,
)


def same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down; 1, True and 1.0 are equal only."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray | np.generic):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, set | frozenset):
        return len(left) == len(right) and all(any(same(one, other) for other in right) for one in left)
    if isinstance(left, Pair):
        return same((left.left, left.right), (right.left, right.right))
    if isinstance(left, float):
        return left.hex() == right.hex()
    return bool(left == right)


@given(values)
def test_what_is_encoded_is_decoded(value: object) -> None:
    data = encode(value, KINDS)
    assert same(decode(data, KINDS), value)
    assert encode(decode(data, KINDS), KINDS) == data


@given(
    st.sampled_from(DTYPES).flatmap(
        lambda name: arrays.arrays(np.dtype(name), arrays.array_shapes(min_dims=0, min_side=0))
    )
)
def test_arrays_of_any_shape(array: np.ndarray) -> None:
    data = encode(array)
    found = decode(data)
    assert same(found, array)
    assert found.flags.writeable
    assert encode(found) == data


def test_layout_and_byte_order_are_not_part_of_a_value() -> None:
    array = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    for view in (array.astype(">i4"), np.asfortranarray(array), np.repeat(array, 2, axis=2)[:, :, ::2]):
        assert encode(view) == encode(array)


@pytest.mark.parametrize("scalar", [np.float64(0.1), np.int8(-3), np.bool_(True), np.uint64(2**64 - 1)])
def test_scalars_of_numpy_stay_what_they_are(scalar: np.generic) -> None:
    assert same(decode(encode({"x": scalar})), {"x": scalar})


def test_a_view_becomes_bytes() -> None:
    data = bytearray(b"abcdef")
    assert same(decode(encode([memoryview(data)[1:3], memoryview(data)[::2]])), [b"bc", b"ace"])


def test_nan_and_infinity() -> None:
    found = decode(encode([math.nan, math.inf, -0.0]))
    assert math.isnan(found[0])
    assert same(found[1:], [math.inf, -0.0])


def test_sets_have_one_order_and_dictionaries_keep_theirs() -> None:
    words = [f"word {number}" for number in range(50)]
    assert encode({*words[25:], *words[:25]}) == encode({*words})
    assert list(decode(encode(dict.fromkeys(reversed(words))))) == words[::-1]


@pytest.mark.parametrize(
    "value",
    [
        object(),
        bytearray(b"x"),
        OrderedDict(),
        MappingProxyType({}),
        range(3),
        1j,
        int,
        Exception("x"),
        np.array(["text"]),
        np.array([object()]),
        np.float16(1),
        np.datetime64("2020-01-01"),
        np.zeros((1,) * (MAX_DIMENSIONS + 1)),
        type("Special", (int,), {})(3),
        type("Named", (str,), {})("x"),
        "\ud800",
        Colour.RED,
        Pair(1, 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused(value: object) -> None:
    for wrapped in (value, [value], {"x": value}, (1, (value,))):
        with pytest.raises(LocalError):
            encode(wrapped)


def test_a_refusal_does_not_show_the_value() -> None:
    class Secret:
        def __repr__(self) -> str:
            return "the secret"

    for value in (Secret(), "the secret \ud800"):
        with pytest.raises(LocalError) as caught:
            encode(value)
        assert "the secret" not in str(caught.value)
    with pytest.raises(DecodeError) as refused:
        decode(
            encode(Pair("x", 1), [record(Pair)]).replace(b"\1\0\0\0x", b"\x09\0\0\0forbidden"), [record(Pair)]
        )
    assert "LocalError" in str(refused.value)
    assert "secret" not in str(refused.value)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded() -> None:
    deepest = encode(nested(MAX_DEPTH))
    assert decode(deepest) == nested(MAX_DEPTH)
    with pytest.raises(LocalError, match="at most 32 deep"):
        encode(nested(MAX_DEPTH + 1))
    one_more = deepest[:1] + deepest[1:6] + deepest[1:]
    with pytest.raises(DecodeError, match="more than 32 deep"):
        decode(one_more)


def test_a_class_that_is_not_listed_is_not_looked_up() -> None:
    data = encode(Pair(1, 2), KINDS)
    with pytest.raises(DecodeError, match="class 'Pair', which is not in the list"):
        decode(data, KINDS[1:])


def test_two_classes_of_one_name_are_refused() -> None:
    other = type("Pair", (), {})
    with pytest.raises(LocalError, match="could not be told apart"):
        encode(1, (*KINDS, Kind(other, id, id)))
    assert encode(1, (*KINDS, *KINDS)) == encode(1)


VERSION, LIST, DICT, SET, ARRAY, SCALAR = b"\1", b"\x08", b"\x09", b"\x0a", b"\x0c", b"\x0d"
ONE, TWO = b"\3\1\0\0\0\1", b"\3\1\0\0\0\2"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "ends after 0 bytes"),
        (b"\0\0", "version 0, where 1 is known"),
        (VERSION, "ends after 1 bytes"),
        (VERSION + b"\x0f", "type 15 is not in the list"),
        (VERSION + b"\xff", "type 255 is not in the list"),
        (VERSION + b"\0\0", "1 bytes after the end"),
        (VERSION + b"\3\0\0\0\0", "an integer with bytes to spare, or none"),
        (VERSION + b"\3\2\0\0\0\1\0", "an integer with bytes to spare"),
        (VERSION + b"\3\2\0\0\0\xff\xff", "an integer with bytes to spare"),
        (VERSION + b"\6\1\0\0\0\xff", "not UTF-8"),
        (VERSION + b"\5" + b"\xff" * 8, "ends after 10 bytes"),
        (VERSION + LIST + b"\xff\xff\xff\xff", "ends after 6 bytes"),
        (VERSION + LIST + b"\2\0\0\0" + ONE, "ends after 12 bytes"),
        (VERSION + DICT + b"\2\0\0\0" + ONE + TWO + ONE + TWO, "a key that stands twice"),
        (VERSION + DICT + b"\2\0\0\0" + ONE + TWO + b"\2" + TWO, "a key that stands twice"),
        (VERSION + DICT + b"\1\0\0\0" + LIST + b"\0\0\0\0" + ONE, "or can be none"),
        (VERSION + SET + b"\2\0\0\0" + TWO + ONE, "out of order"),
        (VERSION + SET + b"\2\0\0\0" + ONE + ONE, "an element twice"),
        (VERSION + SET + b"\1\0\0\0" + LIST + b"\0\0\0\0", "or that can be none"),
        (VERSION + ARRAY + b"\x0b\0", "an array of type 11"),
        (VERSION + ARRAY + b"\0\x09", "in 9 dimensions"),
        (VERSION + ARRAY + b"\0\0\2", "neither 0 nor 1"),
        (VERSION + ARRAY + b"\4\1" + b"\xff" * 8, "ends after"),
        (VERSION + ARRAY + b"\4\2" + b"\xff" * 8 + b"\0" * 8, "of a shape that there is not"),
        (VERSION + SCALAR + b"\3", "type 13"),
        (VERSION + SCALAR + ARRAY + b"\1\1" + b"\1" + b"\0" * 7 + b"x", "type 13"),
        (encode(Pair(1, 2), KINDS).replace(b"\7\2\0\0\0", b"\7\1\0\0\0")[:-6], "what is no Pair"),
        (encode(Colour.RED, KINDS).replace(b"\0\1", b"\0\7"), "what is no Colour"),
    ],
)
def test_what_is_no_encoding_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(DecodeError, match=complaint):
        decode(data, KINDS)


@given(values, st.data())
def test_bytes_have_one_reading_or_none(value: object, draw: st.DataObject) -> None:
    """Whatever decodes after a change encodes back to the same bytes; every shortened form is refused."""
    data = bytearray(encode(value, KINDS))
    place = draw.draw(st.integers(0, len(data) - 1))
    with pytest.raises(DecodeError):
        decode(data[:place], KINDS)
    data[place] = draw.draw(st.integers(0, 255))
    try:
        found = decode(data, KINDS)
    except DecodeError:
        return
    assert encode(found, KINDS) == data


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        found = decode(VERSION + data, KINDS)
    except DecodeError:
        return
    assert encode(found, KINDS) == VERSION + data
