"""mpc.field and its kernels against arithmetic on Python integers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import field
from mpc.errors import DecodeError, LocalError
from mpc.field import MAX_SIGNED, Elements, P
from mpc.kernels import field64
from mpc.prg import Keystream
from mpc.tape import RecordedTape, SeededTape

deterministic = settings(derandomize=True, deadline=None, max_examples=60)
EDGES = sorted(
    {0, 1, 2, 3, 7, P // 2, P // 2 + 1, P - 1, P - 2, P - 7, 2**63, 2**63 - 1, 2**63 + 1}
    | {2**k + e for k in (16, 31, 32, 33, 48) for e in (-1, 0, 1)}
    | {P - 2**k + e for k in (16, 31, 32, 33, 48) for e in (-1, 0, 1)}
)
WORDS = [*EDGES, P, P + 1, 2**64 - 2**16, 2**64 - 1]
elements_lists = st.lists(st.one_of(st.sampled_from(EDGES), st.integers(0, P - 1)), max_size=40)


def array(values: Iterable[int]) -> Elements:
    return np.array(values, np.uint64)


PAIRS = list(itertools.product(EDGES, EDGES))
LEFT, RIGHT = array([a for a, _ in PAIRS]), array([b for _, b in PAIRS])


def test_the_prime() -> None:
    assert P == 2**64 - 2**32 + 1 == int(field64.P)
    assert pow(7, (P - 1) // 2, P) == P - 1  # 7 generates, as far as the factor 2 is concerned
    assert pow(7, P - 1, P) == 1


def test_scalar_kernels_on_edges() -> None:
    for a, b in PAIRS:
        left, right = np.uint64(a), np.uint64(b)
        assert field64.add(left, right) == (a + b) % P
        assert field64.sub(left, right) == (a - b) % P
        assert field64.mul(left, right) == a * b % P


def test_products_and_reductions_of_any_words() -> None:
    for a, b in itertools.product(WORDS, WORDS):
        high, low = np.uint64(a), np.uint64(b)
        assert field64.mul(high, low) == a * b % P
        assert field64.reduce_wide(high, low) == (a * 2**64 + b) % P


@given(base=st.integers(0, P - 1), exponent=st.one_of(st.integers(0, 70), st.integers(0, 2**64 - 1)))
@deterministic
def test_power_kernel(base: int, exponent: int) -> None:
    assert field64.pow(np.uint64(base), np.uint64(exponent)) == pow(base, exponent, P)


def test_vectors_on_edges() -> None:
    assert field.add(LEFT, RIGHT).tolist() == [(a + b) % P for a, b in PAIRS]
    assert field.sub(LEFT, RIGHT).tolist() == [(a - b) % P for a, b in PAIRS]
    assert field.mul(LEFT, RIGHT).tolist() == [a * b % P for a, b in PAIRS]
    assert field.neg(LEFT).tolist() == [-a % P for a, _ in PAIRS]
    assert field.inner(LEFT, RIGHT) == sum(a * b for a, b in PAIRS) % P
    for scalar in EDGES:
        assert field.mul(array(EDGES), scalar).tolist() == [a * scalar % P for a in EDGES]


@given(left=elements_lists, seed=st.binary(max_size=4))
@deterministic
def test_vectors_at_random(left: list[int], seed: bytes) -> None:
    right = field.random(len(left), SeededTape(seed)).tolist()
    pairs = list(zip(left, right, strict=True))
    a, b = array(left), array(right)
    assert field.add(a, b).tolist() == [(x + y) % P for x, y in pairs]
    assert field.sub(a, b).tolist() == [(x - y) % P for x, y in pairs]
    assert field.mul(a, b).tolist() == [x * y % P for x, y in pairs]
    assert field.inner(a, b) == sum(x * y for x, y in pairs) % P
    total = a.copy()
    field.add_into(total, b)
    assert total.tolist() == [(x + y) % P for x, y in pairs]
    field.sub_into(total, b)
    assert total.tolist() == left
    field.sub_into(total, b)
    assert total.tolist() == [(x - y) % P for x, y in pairs]
    assert a.tolist() == left
    assert b.tolist() == right


def test_in_place_operations_on_edges() -> None:
    total = LEFT.copy()
    field.add_into(total, RIGHT)
    assert total.tolist() == [(a + b) % P for a, b in PAIRS]
    total = LEFT.copy()
    field.sub_into(total, RIGHT)
    assert total.tolist() == [(a - b) % P for a, b in PAIRS]
    total = LEFT.copy()
    field.add_into(total, total)
    assert total.tolist() == [2 * a % P for a, _ in PAIRS]


@pytest.mark.parametrize("value", [P - 1, 2**63, 2**32 + 1])
@pytest.mark.parametrize("count", [1, 2, 3, 4097])
def test_inner_product_of_extreme_entries_does_not_overflow(value: int, count: int) -> None:
    vector = np.full(count, value, np.uint64)
    assert field.inner(vector, vector) == value * value * count % P


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 3), (2, 3, 4), ()])
def test_shapes_are_kept(shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    left = field.random(size, SeededTape(b"left")).reshape(shape)
    right = field.random(size, SeededTape(b"right")).reshape(shape)
    cases: list[tuple[Callable[..., Elements], Callable[[int, int], int]]] = [
        (field.add, lambda x, y: (x + y) % P),
        (field.sub, lambda x, y: (x - y) % P),
        (field.mul, lambda x, y: x * y % P),
    ]
    for operation, oracle in cases:
        result = operation(left, right)
        assert result.shape == shape
        flat = zip(left.reshape(-1).tolist(), right.reshape(-1).tolist(), strict=True)
        assert result.reshape(-1).tolist() == [oracle(x, y) for x, y in flat]


def test_views_and_read_only_inputs() -> None:
    base = field.random(60, SeededTape(b"base"))
    base.flags.writeable = False
    matrix = base.reshape(6, 10)
    turned = matrix.T[::2, ::-1]
    expected = [[int(x) * 5 % P for x in row] for row in turned]
    assert field.mul(turned, 5).tolist() == expected
    assert field.mul(turned, np.full(turned.shape, 5, np.uint64)).tolist() == expected
    total = np.zeros(turned.shape, np.uint64)
    field.add_into(total, turned)
    assert (total == turned).all()


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (50, 7), (4, 2, 3), (5,)])
def test_sum_over_rows(shape: tuple[int, ...]) -> None:
    rows = field.random(int(np.prod(shape)), SeededTape(b"rows")).reshape(shape)
    columns = rows.reshape(shape[0], int(np.prod(shape[1:]))).T.tolist()
    result = field.sum_rows(rows)
    assert result.shape == shape[1:]
    assert result.reshape(-1).tolist() == [sum(column) % P for column in columns]


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (3, 0), (67, 5), (4, 2, 3), (5,)])
def test_weighted_sum_of_rows(shape: tuple[int, ...]) -> None:
    rows = field.random(int(np.prod(shape)), SeededTape(b"rows")).reshape(shape)
    weights = field.random(shape[0], SeededTape(b"weights"))
    columns = rows.reshape(shape[0], int(np.prod(shape[1:]))).T.tolist()
    result = field.combine_rows(weights, rows)
    assert result.shape == shape[1:]
    expected = [sum(w * x for w, x in zip(weights.tolist(), column, strict=True)) % P for column in columns]
    assert result.reshape(-1).tolist() == expected


def test_inverses() -> None:
    units = array([value for value in EDGES if value])
    assert field.batch_inv(units).tolist() == [pow(value, -1, P) for value in units.tolist()]
    assert [field.inv(value) for value in units.tolist()] == field.batch_inv(units).tolist()
    assert field.batch_inv(units.reshape(1, -1)).shape == (1, units.size)
    assert field.batch_inv(array([])).size == 0
    many = field.random(1000, SeededTape(b"many"))
    assert set(field.mul(many, field.batch_inv(many)).tolist()) == {1}
    with pytest.raises(LocalError, match="value is 0"):
        field.inv(0)
    with pytest.raises(LocalError, match=r"elements\[2\] is 0"):
        field.batch_inv(array([5, 6, 0, 7, 0]))


@given(st.lists(st.integers(-MAX_SIGNED, MAX_SIGNED), max_size=20))
@deterministic
def test_signed_encoding(values: list[int]) -> None:
    signed = np.array([*values, MAX_SIGNED, -MAX_SIGNED, 0, 1, -1], np.int64)
    elements = field.encode(signed)
    assert elements.dtype == np.uint64
    assert elements.tolist() == [value % P for value in signed.tolist()]
    assert field.decode(elements).dtype == np.int64
    assert field.decode(elements).tolist() == signed.tolist()


def test_decoding_is_centred() -> None:
    expected = [value - P if value > P // 2 else value for value in EDGES]
    assert field.decode(array(EDGES)).tolist() == expected
    assert field.encode(np.array([[1, -2]], np.int8)).tolist() == [[1, P - 2]]


@pytest.mark.parametrize("value", [MAX_SIGNED + 1, -MAX_SIGNED - 1, 2**63 - 1, -(2**63)])
def test_values_without_a_code_are_refused_and_hidden(value: int) -> None:
    with pytest.raises(LocalError) as caught:
        field.encode(np.array([0, -1, value], np.int64))
    assert caught.value.argument == "values[2]"
    assert str(caught.value).startswith("values[2] is 'out of range'")


@given(values=elements_lists)
@deterministic
def test_bytes_round_trip(values: list[int]) -> None:
    data = b"".join(value.to_bytes(8, "little") for value in values)
    assert field.to_bytes(array(values)) == data
    elements = field.from_bytes(data)
    assert elements.tolist() == values
    assert elements.flags.writeable
    assert field.from_bytes(memoryview(b"?" + data)[1:]).tolist() == values


def test_strict_decoding() -> None:
    for size in (1, 7, 9, 15):
        with pytest.raises(DecodeError, match="whole number"):
            field.from_bytes(bytes(size))
    for value in (P, P + 1, 2**64 - 1):
        with pytest.raises(DecodeError, match="canonical"):
            field.from_bytes(bytes(8) + value.to_bytes(8, "little") + bytes(8))


def test_random_elements_skip_the_words_that_are_no_element() -> None:
    words = [5, P, 2**64 - 1, P - 1, 0, P + 7, 9]
    tape = RecordedTape(b"".join(word.to_bytes(8, "little") for word in words) + b"left")
    assert field.random(4, tape).tolist() == [5, P - 1, 0, 9]
    assert tape.read(4) == b"left"
    assert field.random(0, tape).size == 0


def test_p_itself_is_no_random_element() -> None:
    tape = RecordedTape(b"".join(word.to_bytes(8, "little") for word in (3, P, P - 1)))
    assert field.random(2, tape).tolist() == [3, P - 1]


def first_words_below_p(key: bytes, length: int) -> list[int]:
    stream = Keystream(key)
    kept: list[int] = []
    while len(kept) < length:
        word = int.from_bytes(stream.read(8), "little")
        if word < P:
            kept.append(word)
    return kept


@pytest.mark.parametrize("length", [0, 1, 2, 1000, 32768, 32769, 70001])
def test_expansion_is_the_keystream(length: int) -> None:
    key = bytes(range(16))
    assert field.expand(key, length).tolist() == first_words_below_p(key, length)


# Found by search: word 29,414 of the keystream of this key is 0xffffffff18f364d2, which is above p.
REJECTING_KEY = (68489).to_bytes(16, "little")


@pytest.mark.parametrize("length", [29414, 29415, 32768, 70000])
def test_expansion_skips_the_words_that_are_no_element(length: int) -> None:
    words = np.frombuffer(Keystream(REJECTING_KEY).read(8 * 29415), "<u8")
    assert int(words[-1]) == 0xFFFFFFFF18F364D2 >= P
    elements = field.expand(REJECTING_KEY, length)
    assert elements.size == length
    assert int(elements.max()) < P
    assert elements.tolist() == first_words_below_p(REJECTING_KEY, length)


@pytest.mark.parametrize("key", [bytes(range(16)), REJECTING_KEY])
@pytest.mark.parametrize("length", [0, 1, 1000, 29415, 32768, 32769, 70001])
def test_expansions_are_added_and_subtracted_in_place(key: bytes, length: int) -> None:
    start = field.random(length, SeededTape(b"start"))
    total = start.copy()
    field.add_expansion(total, key)
    assert (total == field.add(start, field.expand(key, length))).all()
    field.sub_expansion(total, key)
    assert (total == start).all()
    field.sub_expansion(total, key)
    assert (total == field.sub(start, field.expand(key, length))).all()


@pytest.mark.parametrize("operation", [field.add_expansion, field.sub_expansion])
def test_what_takes_no_expansion(operation: Callable[[Elements, bytes], None]) -> None:
    fixed = np.zeros(4, np.uint64)
    fixed.flags.writeable = False
    for total in (fixed, np.zeros(8, np.uint64)[::2]):
        with pytest.raises(LocalError, match="writable and C-contiguous"):
            operation(total, bytes(16))
    with pytest.raises(LocalError, match=r"total\.dtype"):
        operation(np.zeros(4, np.int64), bytes(16))  # type: ignore[arg-type]
    with pytest.raises(LocalError, match=r"len\(key\)"):
        operation(np.zeros(4, np.uint64), bytes(15))


def test_expansion_is_deterministic_and_key_dependent() -> None:
    first = field.expand(bytes(16), 100)
    assert (field.expand(bytes(16), 50) == first[:50]).all()
    assert not (field.expand(bytes(15) + b"\1", 100) == first).any()
    with pytest.raises(LocalError, match=r"len\(key\)"):
        field.expand(bytes(15), 1)


@pytest.mark.parametrize("call", [field.expand, lambda _, n: field.random(n, SeededTape(b""))])
def test_negative_lengths_are_refused(call: Callable[[bytes, int], Elements]) -> None:
    with pytest.raises(LocalError, match="length is -1"):
        call(bytes(16), -1)


@pytest.mark.parametrize("operation", [field.add, field.sub, field.mul, field.inner])
def test_shapes_and_types_are_checked(operation: Callable[..., object]) -> None:
    good = field.random(6, SeededTape(b""))
    with pytest.raises(LocalError, match=r"right\.shape"):
        operation(good, good[:5])
    with pytest.raises(LocalError, match=r"right\.shape"):
        operation(good, good.reshape(2, 3))
    with pytest.raises(LocalError, match=r"left\.dtype"):
        operation(good.astype(np.int64), good)
    with pytest.raises(LocalError, match=r"right\.dtype"):
        operation(good, good.astype(np.float64))


@pytest.mark.parametrize("scalar", [-1, P, 2**64])
def test_scalars_out_of_range_are_refused_and_hidden(scalar: int) -> None:
    for call in (lambda: field.mul(array([1]), scalar), lambda: field.inv(scalar)):
        with pytest.raises(LocalError) as caught:
            call()
        assert str(scalar) not in str(caught.value)


@pytest.mark.parametrize("scalar", [2.5, 2.0, True, "2", None, [1]])
def test_scalars_that_are_not_whole_are_refused(scalar: Any) -> None:
    for call in (lambda: field.mul(array([1]), scalar), lambda: field.inv(scalar)):
        with pytest.raises(LocalError, match=f"is '{type(scalar).__name__}': an element is a whole number"):
            call()


def test_scalars_of_numpy_are_elements_too() -> None:
    assert field.mul(array([P - 1]), np.uint64(2)).tolist() == [P - 2]  # type: ignore[arg-type]
    assert 3 * field.inv(np.int8(3)) % P == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [2.5, 2.0, None, "2", True])
def test_lengths_that_are_not_whole_are_refused(length: Any) -> None:
    for call in (lambda: field.expand(bytes(16), length), lambda: field.random(length, SeededTape(b""))):
        with pytest.raises(LocalError, match=f"length is {length!r}: must be a whole number"):
            call()


@pytest.mark.parametrize("operation", [field.add_into, field.sub_into])
def test_accumulators_are_checked(operation: Callable[..., object]) -> None:
    good = field.random(6, SeededTape(b""))
    total = np.zeros(6, np.uint64)
    with pytest.raises(LocalError, match=r"elements\.shape"):
        operation(total, good[:5])
    with pytest.raises(LocalError, match=r"total\.dtype"):
        operation(total.astype(np.int64), good)
    with pytest.raises(LocalError, match="C-contiguous"):
        operation(np.zeros(12, np.uint64)[::2], good)
    total.flags.writeable = False
    with pytest.raises(LocalError, match="writable"):
        operation(total, good)
    assert not total.any()


def test_other_arguments_are_checked() -> None:
    with pytest.raises(LocalError, match=r"values\.dtype"):
        field.encode(np.zeros(3, np.uint64))
    with pytest.raises(LocalError, match=r"elements\.dtype"):
        field.decode(np.zeros(3, np.int64))
    with pytest.raises(LocalError, match=r"rows\.shape"):
        field.sum_rows(np.array(3, np.uint64))
    with pytest.raises(LocalError, match=r"rows\.shape"):
        field.combine_rows(array([1, 2]), np.zeros((3, 4), np.uint64))
