"""Both fields and their transforms against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpc import ntt
from mpc.errors import DecodeError, LocalError
from mpc.flp.field64 import Field64
from mpc.flp.field128 import Field128
from mpc.flp.fields import Field, Vector
from mpc.flp.lagrange import cosets, weights
from mpc.flp.wraparound import project
from mpc.flp.xof import XofHmacSha256Aes128
from mpc.tape import SeededTape
from tests.mpc.flp import oracle
from tests.mpc.flp.circuits import random_vector

FIELDS = [Field64, Field128]
fields = pytest.mark.parametrize("field", FIELDS, ids=str)
EDGES = [0, 1, 2, 2**32 - 1, 2**32, 2**63, -1, -2, -(2**32)]


def rows(field: Field, height: int, width: int, seed: bytes = b"") -> Vector:
    return random_vector(field, height * width, SeededTape(b"rows" + seed)).reshape(height, width)


@fields
def test_the_fields_are_those_of_the_oracle(field: Field) -> None:
    assert field.modulus in (oracle.P64, oracle.P128)
    for log in (0, 1, 5):
        assert [int(x) for x in field.roots(2**log)] == oracle.roots(field.modulus, 2**log)
    for size in (0, 3, 2 ** (field.max_log + 1)):
        with pytest.raises(LocalError, match="a power of two up to"):
            field.root(size)


@fields
def test_arithmetic_is_that_of_integers(field: Field) -> None:
    p = field.modulus
    left = field.vector(EDGES * len(EDGES))
    right = field.vector(b for b in EDGES for _ in EDGES)
    pairs = list(zip(map(int, left), map(int, right), strict=True))
    assert field.add(left, right).tolist() == [(a + b) % p for a, b in pairs]
    assert field.sub(left, right).tolist() == [(a - b) % p for a, b in pairs]
    assert field.mul(left, right).tolist() == [a * b % p for a, b in pairs]
    assert field.mul(left, 7).tolist() == [a * 7 % p for a, _ in pairs]
    assert field.add(left, p - 1).tolist() == [(a - 1) % p for a, _ in pairs]
    assert field.sub(left, p - 1).tolist() == [(a + 1) % p for a, _ in pairs]
    assert field.total(left) == sum(map(int, left)) % p
    assert field.inner(left, right) == sum(a * b for a, b in pairs) % p
    assert field.mul(left[left != 0], field.inv(left[left != 0])).tolist() == [1] * (left != 0).sum()
    with pytest.raises(LocalError, match="zero has no inverse"):
        field.inv(left)


@fields
def test_rows_are_combined_as_integers_are(field: Field) -> None:
    p, left, right = field.modulus, rows(field, 3, 5), rows(field, 3, 5, b"2")
    factors = rows(field, 3, 1, b"3")
    ints = [list(map(int, row)) for row in left]
    assert field.row_sums(left).tolist() == [sum(row) % p for row in ints]
    assert field.inner_rows(left, right).tolist() == [
        sum(a * int(b) for a, b in zip(row, other, strict=True)) % p
        for row, other in zip(ints, right, strict=True)
    ]
    assert field.combine(factors[:, 0], left).tolist() == [
        sum(int(f) * row[j] for f, row in zip(factors[:, 0], ints, strict=True)) % p for j in range(5)
    ]
    scaled = [[a * int(f) % p for a in row] for f, row in zip(factors[:, 0], ints, strict=True)]
    assert field.mul(left, factors).tolist() == scaled
    powers = field.powers(factors[:, 0], 6)
    assert powers.tolist() == [[pow(int(f), j, p) for j in range(6)] for f in factors[:, 0]]


@fields
@pytest.mark.parametrize("log", range(6))
@pytest.mark.parametrize("width", [1, 2, 9])
def test_the_transform_is_its_definition_and_can_be_undone(field: Field, log: int, width: int) -> None:
    values = rows(field, 2**log, width)
    for shift in (1, 3):
        found = field.forward(values, shift)
        for column, wanted in zip(found.T, values.T, strict=True):
            assert column.tolist() == oracle.dft([int(x) for x in wanted], field.modulus, shift)
    assert field.backward(field.forward(values)).tolist() == values.tolist()
    assert field.forward(field.backward(values)).tolist() == values.tolist()


@pytest.mark.parametrize("shape", [(2**13,), (2**9, 70), (2**15, 3)])
def test_long_transforms_agree_with_horners_rule(shape: tuple[int, ...]) -> None:
    """More rows and columns than one block of the kernel takes."""
    values = random_vector(Field64, int(np.prod(shape)), SeededTape(b"long")).reshape(shape)
    found = ntt.forward(values).reshape(shape[0], -1)
    column, place = found.shape[1] - 1, shape[0] // 3
    value = 0
    for coefficient in reversed(values.reshape(shape[0], -1)[:, column].tolist()):
        value = (value * pow(ntt.root(shape[0]), place, Field64.modulus) + coefficient) % Field64.modulus
    assert int(found[place, column]) == value
    assert (ntt.backward(ntt.forward(values)) == values).all()


def test_transforms_of_other_things_are_refused() -> None:
    for wrong in (np.zeros(4, np.int64), np.zeros((2, 2, 2), np.uint64)):
        with pytest.raises(LocalError, match="shape"):
            ntt.forward(wrong)
    with pytest.raises(LocalError, match="power of two"):
        ntt.forward(np.zeros(6, np.uint64))


@fields
@pytest.mark.parametrize(("size", "known"), [(1, 1), (2, 2), (4, 3), (8, 5), (8, 8), (16, 10)])
def test_weights_give_the_value_anywhere_else(field: Field, size: int, known: int) -> None:
    nodes = oracle.roots(field.modulus, size)
    values = rows(field, 1, known)[0]
    for point in (0, 12345, *nodes[known:]):
        found = field.inner(weights(field, size, known, point), values)
        assert found == oracle.through(nodes[:known], [int(v) for v in values], point, field.modulus)
    with pytest.raises(LocalError, match="zero has no inverse"):
        weights(field, size, known, nodes[known - 1])


@fields
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_cosets_are_the_values_in_between(field: Field, factor: int) -> None:
    values = rows(field, 4, 3)
    nodes = oracle.roots(field.modulus, 4 * factor)
    for index, found in enumerate(cosets(field, values, factor)):
        for k in range(4):
            column = [int(v) for v in values[:, 1]]
            point = nodes[k * factor + index]
            wanted = oracle.through(nodes[::factor], column, point, field.modulus)
            assert int(found[k, 1]) == wanted


@fields
def test_bytes_are_the_elements_and_no_others(field: Field) -> None:
    vector = field.vector(EDGES)
    data = field.to_bytes(vector)
    size = field.element_bytes
    assert data == b"".join(int(x).to_bytes(size, "little") for x in vector)
    assert field.from_bytes(data).tolist() == vector.tolist()
    assert field.from_bytes(b"").tolist() == []
    for wrong in (data[:-1], field.modulus.to_bytes(size, "little"), b"\xff" * size):
        with pytest.raises(DecodeError):
            field.from_bytes(wrong)


@fields
def test_sampling_leaves_out_what_is_no_element(field: Field) -> None:
    size, p = field.element_bytes, field.modulus
    words = [p, 5, 2 ** (8 * size) - 1, p - 1, p + 1, 0, 7]
    stream = b"".join(word.to_bytes(size, "little") for word in words)
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        position += count
        return stream[position - count : position]

    assert field.sample(read, 4).tolist() == [5, p - 1, 0, 7]
    assert position == len(stream)
    assert field.sample(read, 0).tolist() == []


@given(st.integers(1, 80), st.integers(1, 5), st.binary(min_size=32, max_size=32))
@example(2048, 2, bytes(32))
@example(4177, 3, bytes(32))
def test_projections_are_sums_with_two_bits_each(length: int, count: int, seed: bytes) -> None:
    vector = random_vector(Field64, length, SeededTape(seed))
    stream = XofHmacSha256Aes128(seed, b"tag")
    found = project(vector, XofHmacSha256Aes128(seed, b"tag"), count)
    for result in found:
        data = stream.next(-(-length // 4))
        total = 0
        for j, value in enumerate(vector.tolist()):
            total += {0: -1, 1: 0, 2: 0, 3: 1}[data[j // 4] >> 2 * (j % 4) & 3] * value
        assert int(result) == total % Field64.modulus


def test_projections_of_the_largest_elements_do_not_overflow() -> None:
    length = 70_000
    vector = np.full(length, Field64.modulus - 1, np.uint64)
    ones = project(vector, XofHmacSha256Aes128(bytes(32), b""), 3)
    small = project(np.ones(length, np.uint64), XofHmacSha256Aes128(bytes(32), b""), 3)
    assert Field64.add(ones, small).tolist() == [0, 0, 0]
    assert any(int(x) for x in small)
