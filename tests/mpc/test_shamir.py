"""mpc.shamir against polynomials over Python integers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import field, shamir
from mpc.errors import DecodeError, LocalError
from mpc.field import Elements, P
from mpc.tape import RecordedTape, SeededTape

deterministic = settings(derandomize=True, deadline=None, max_examples=40)
elements = st.one_of(st.sampled_from([0, 1, 2**32, P - 2, P - 1]), st.integers(0, P - 1))
places = st.lists(
    st.one_of(st.integers(1, 20), st.integers(P - 20, P - 1), st.integers(1, P - 1)),
    unique=True,
    min_size=1,
    max_size=8,
)


def array(values: Iterable[int]) -> Elements:
    return np.array(values, np.uint64)


def evaluate(coefficients: Sequence[int], x: int) -> int:
    return sum(c * pow(x, power, P) for power, c in enumerate(coefficients)) % P


def interpolate(points: Sequence[int], values: Sequence[int]) -> list[int]:
    """Coefficients of the polynomial of degree < len(points) through the points, lowest first."""
    result = [0] * len(points)
    for i, x in enumerate(points):
        basis, scale = [1], values[i]
        for j, other in enumerate(points):
            if j != i:
                basis = [(low - other * high) % P for low, high in zip([0, *basis], [*basis, 0], strict=True)]
                scale = scale * pow(x - other, -1, P) % P
        result = [(r + scale * b) % P for r, b in zip(result, basis, strict=True)]
    return result


def lagrange_by_definition(points: Sequence[int]) -> list[int]:
    weights = []
    for i, x in enumerate(points):
        weight = 1
        for j, other in enumerate(points):
            if j != i:
                weight = weight * other * pow(other - x, -1, P) % P
        weights.append(weight)
    return weights


def tape_of(words: Iterable[int]) -> RecordedTape:
    return RecordedTape(b"".join(word.to_bytes(8, "little") for word in words))


def test_the_oracle_interpolates() -> None:
    coefficients = [5, P - 1, 7]
    points = [3, 9, P - 4]
    assert interpolate(points, [evaluate(coefficients, x) for x in points]) == coefficients


@given(secrets=st.lists(elements, min_size=1, max_size=4), points=places, data=st.data())
@deterministic
def test_shares_are_values_of_the_polynomial_on_the_tape(
    secrets: list[int], points: list[int], data: st.DataObject
) -> None:
    threshold = data.draw(st.integers(1, len(points)))
    rows = [
        data.draw(st.lists(elements, min_size=len(secrets), max_size=len(secrets)))
        for _ in range(threshold - 1)
    ]
    tape = tape_of(itertools.chain(*rows))
    shares = shamir.split(array(secrets), threshold, points, tape)
    assert shares.dtype == np.uint64
    polynomials = list(zip(secrets, *rows, strict=True))
    assert shares.tolist() == [[evaluate(polynomial, x) for polynomial in polynomials] for x in points]
    with pytest.raises(LocalError):
        tape.read(1)  # the tape is used up: nothing but the coefficients was drawn


@given(points=places)
@deterministic
def test_lagrange_weights(points: list[int]) -> None:
    assert shamir.lagrange_at_zero(points).tolist() == lagrange_by_definition(points)


@pytest.mark.parametrize(("count", "threshold"), [(1, 1), (3, 1), (3, 2), (5, 3), (6, 6)])
def test_every_quorum_reconstructs(count: int, threshold: int) -> None:
    secrets = field.random(5, SeededTape(b"secrets"))
    shares = shamir.split(secrets, threshold, count, SeededTape(b"coefficients"))
    assert shares.shape == (count, 5)
    for size in range(threshold, count + 1):
        for quorum in itertools.permutations(range(count), size):
            points = [i + 1 for i in quorum]
            assert (shamir.combine(points, shares[list(quorum)]) == secrets).all()


@given(
    secrets=st.lists(elements, min_size=1, max_size=3),
    points=places,
    seed=st.binary(max_size=4),
    data=st.data(),
)
@deterministic
def test_round_trip_at_any_points(
    secrets: list[int], points: list[int], seed: bytes, data: st.DataObject
) -> None:
    threshold = data.draw(st.integers(1, len(points)))
    shares = shamir.split(array(secrets), threshold, points, SeededTape(seed))
    chosen = data.draw(st.permutations(range(len(points))))[:threshold]
    assert shamir.combine([points[i] for i in chosen], shares[chosen]).tolist() == secrets


@pytest.mark.parametrize(("count", "threshold"), [(101, 67), (40, 40)])
def test_a_large_cohort_in_one_call(count: int, threshold: int) -> None:
    """Shape (t, m, k): m secrets of k limbs that were dealt at the same points."""
    secrets = field.random(99 * 5, SeededTape(b"secrets")).reshape(99, 5)
    tape = SeededTape(b"coefficients")
    dealt = np.stack([shamir.split(secret, threshold, count, tape) for secret in secrets], axis=1)
    quorum = sorted(range(count), key=lambda i: (i * 37) % count)[:threshold]
    points = [i + 1 for i in quorum]
    result = shamir.combine(points, dealt[quorum])
    assert result.shape == (99, 5)
    assert (result == secrets).all()
    weights = lagrange_by_definition(points)
    column = dealt[quorum, 7, 3].tolist()
    assert int(result[7, 3]) == sum(w * x for w, x in zip(weights, column, strict=True)) % P


@given(secrets=st.lists(elements, min_size=2, max_size=2), points=places, data=st.data())
@deterministic
def test_fewer_shares_than_the_threshold_fit_every_secret_equally(
    secrets: list[int], points: list[int], data: st.DataObject
) -> None:
    """For each secret exactly one choice of coefficients deals any given t − 1 shares.

    Interpolation through (0, secret) and those shares gives that choice; dealt from a tape that holds it,
    they come out again. The map from tapes to views is thus onto, between finite sets of one size, for each
    secret: a uniform tape gives a uniform view.
    """
    threshold = len(points)
    view = data.draw(st.lists(elements, min_size=threshold - 1, max_size=threshold - 1))
    for secret in secrets:
        polynomial = interpolate([0, *points[:-1]], [secret, *view])
        shares = shamir.split(array([secret]), threshold, points, tape_of(polynomial[1:]))
        assert shares[:-1, 0].tolist() == view


def test_shares_are_homomorphic() -> None:
    left, right = (field.random(4, SeededTape(label)) for label in (b"left", b"right"))
    shares = [shamir.split(secret, 3, 5, SeededTape(b"tape")) for secret in (left, right)]
    total = field.add(*shares)[[0, 2, 4]]
    assert (shamir.combine([1, 3, 5], total) == field.add(left, right)).all()


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 1), (7, 1), (8, 2), (14, 2), (16, 3), (32, 5), (64, 10)]
)
def test_limbs(length: int, expected: int) -> None:
    assert shamir.limbs(length) == expected
    secret = SeededTape(b"secret").read(length)
    limbs = shamir.to_limbs(secret)
    assert limbs.tolist() == [int.from_bytes(secret[i : i + 7], "little") for i in range(0, length, 7)]
    assert shamir.from_limbs(limbs, length) == secret
    ones = b"\xff" * length
    assert shamir.from_limbs(shamir.to_limbs(ones), length) == ones


@given(secret=st.binary(min_size=1, max_size=40), seed=st.binary(max_size=4), data=st.data())
@deterministic
def test_byte_strings_round_trip(secret: bytes, seed: bytes, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 7))
    threshold = data.draw(st.integers(1, count))
    shares = shamir.split_bytes(secret, threshold, count, SeededTape(seed))
    assert shares.shape == (count, shamir.limbs(len(secret)))
    quorum = data.draw(st.permutations(range(count)))[:threshold]
    assert shamir.combine_bytes([i + 1 for i in quorum], shares[quorum], len(secret)) == secret


@pytest.mark.parametrize(
    ("limbs", "length"), [([2**56], 7), ([P - 1], 7), ([1, 2**32], 11), ([2**56, 1], 8), ([2**8], 1)]
)
def test_limbs_that_do_not_fit_are_refused(limbs: list[int], length: int) -> None:
    with pytest.raises(DecodeError, match="inconsistent"):
        shamir.from_limbs(array(limbs), length)
    below = array([limb - 1 for limb in limbs])
    below[0] = min(below[0], 2**56 - 1)
    assert len(shamir.from_limbs(below, length)) == length


@pytest.mark.parametrize("row", [0, 1, 2])
def test_an_altered_share_is_noticed_if_a_limb_overflows(row: int) -> None:
    secret = SeededTape(b"secret").read(32)
    shares = shamir.split_bytes(secret, 3, 3, SeededTape(b"tape"))
    weight = int(shamir.lagrange_at_zero([1, 2, 3])[row])
    # Moves limb 4 by exactly 2^56 when it is reconstructed.
    shift = array([0, 0, 0, 0, 2**56 * pow(weight, -1, P) % P])
    shares[row] = field.add(shares[row], shift)
    with pytest.raises(DecodeError):
        shamir.combine_bytes([1, 2, 3], shares, 32)


def test_too_few_shares_give_something_else() -> None:
    secret = SeededTape(b"secret").read(32)
    shares = shamir.split_bytes(secret, 3, 5, SeededTape(b"tape"))
    with pytest.raises(DecodeError):
        shamir.combine_bytes([1, 2], shares[:2], 32)


@pytest.mark.parametrize("threshold", [-1, 0, 4, 1.5, 2.0, True, None])
def test_thresholds_out_of_range(threshold: Any) -> None:
    with pytest.raises(LocalError, match=f"threshold is {threshold}"):
        shamir.split(array([1]), threshold, 3, SeededTape(b""))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([1, 0, 2], r"points\[1\] is 0"),
        ([1, -3], r"points\[1\] is -3"),
        ([P, 1], r"points\[0\]"),
        ([4, 2, 4], "points is 4: must be distinct"),
        ([], "at least one"),
        ([1, 1.2], r"points\[1\] is 1.2: must be a whole number"),
        ([1, 2.0], r"points\[1\] is 2.0"),
        ([True, 2], r"points\[0\] is True"),
        (["1"], r"points\[0\] is '1'"),
        ({1, 2}, r"points is {1, 2}: must be"),
    ],
)
def test_bad_points(points: list[int], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        shamir.lagrange_at_zero(points)
    with pytest.raises(LocalError, match=message):
        shamir.split(array([1]), 1, points, SeededTape(b""))
    with pytest.raises(LocalError, match=message):
        shamir.combine(points, np.zeros((len(points), 2), np.uint64))


def test_points_may_be_integers_of_numpy() -> None:
    points = [np.uint64(P - 1), np.int32(7), 3]
    shares = shamir.split(array([11]), 2, points, SeededTape(b""))
    assert (shares == shamir.split(array([11]), 2, [int(x) for x in points], SeededTape(b""))).all()
    assert shamir.combine(points[:2], shares[:2]).tolist() == [11]
    assert (shamir.split(array([11]), 2, np.int64(3), SeededTape(b"")).shape) == (3, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, -2, 2**32, 10**30, 1.5, 3.0, True, None])
def test_no_such_number_of_shares(count: Any) -> None:
    with pytest.raises(LocalError, match="at least one"):
        shamir.split(array([1]), 1, count, SeededTape(b""))


def test_other_arguments_are_checked() -> None:
    with pytest.raises(LocalError, match="secrets"):
        shamir.split(np.zeros(3, np.int64), 1, 3, SeededTape(b""))
    with pytest.raises(LocalError, match="secrets"):
        shamir.split(np.zeros((2, 3), np.uint64), 1, 3, SeededTape(b""))
    with pytest.raises(LocalError) as caught:
        shamir.split(array([1, P]), 1, 3, SeededTape(b""))
    assert str(P) not in str(caught.value)
    with pytest.raises(LocalError, match=r"shares\.shape"):
        shamir.combine([1, 2, 3], np.zeros((2, 5), np.uint64))
    with pytest.raises(LocalError, match="length is 0"):
        shamir.limbs(0)
    with pytest.raises(LocalError, match=r"elements\.shape"):
        shamir.from_limbs(array([1, 2]), 7)
