"""Shamir secret sharing over Field64, of many secrets at once (spec section 12.1).

A secret s is the constant term of a polynomial of degree t − 1 whose other coefficients are uniform; the
share at x ≠ 0 is its value there. Any t shares determine s; t − 1 of them are uniform and independent of it
(A. Shamir, "How to share a secret", CACM 22(11), 1979). Byte strings are shared limb by limb, seven bytes a
limb.

Reconstruction trusts its shares. It is right if they are those that one dealer dealt, at t points or more;
from fewer or altered shares it yields unrelated elements, and only sometimes notices. Who must know checks
the secret against something public, such as the key that belongs to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpc import field
from mpc.errors import DecodeError, LocalError
from mpc.field import Elements
from mpc.tape import RandomTape

LIMB_BYTES = 7  # the widest whole number of bytes whose values all lie below p
MAX_SHARES = 2**32 - 1  # far beyond what memory holds; a longer range has no len()


def split(secrets: Elements, threshold: int, points: int | Sequence[int], tape: RandomTape) -> Elements:
    """Shares of the k elements ``secrets``, shape (n, k): row i belongs to point i.

    ``points`` is n ≤ 2^32 − 1, for the points 1 … n, or n distinct integers in [1, p). Any ``threshold``
    rows, 1 … n, determine the secrets. Reads 8 · (threshold − 1) · k bytes of the tape, and more in about
    one of 2^32 words. ``LocalError`` for any other argument.
    """
    from mpc.kernels import field64

    places = _places(points if isinstance(points, Sequence) else _first(points))
    if not field.is_whole(threshold) or not 1 <= threshold <= places.size:
        raise LocalError("threshold", threshold, f"must be 1 to the number of shares, {places.size}")
    if secrets.ndim != 1 or secrets.dtype != np.uint64:
        raise LocalError("secrets", f"{secrets.dtype}, shape {secrets.shape}", "a vector of field elements")
    if (secrets >= field.P).any():
        raise LocalError("secrets", "out of range", "elements lie in [0, p)")
    coefficients = np.empty((threshold, secrets.size), np.uint64)
    coefficients[0] = secrets
    coefficients[1:] = field.random((threshold - 1) * secrets.size, tape).reshape(threshold - 1, secrets.size)
    columns = np.empty((secrets.size, places.size), np.uint64)
    field64.evaluate(coefficients, places, columns)
    return np.ascontiguousarray(columns.T)


def lagrange_at_zero(points: Sequence[int]) -> Elements:
    """The λ_i = Π_{j≠i} x_j / (x_j − x_i), for which f(0) = Σ λ_i · f(x_i) if deg f < len(points).

    ``LocalError`` unless the points are one or more distinct integers in [1, p).
    """
    from mpc.kernels import field64

    places = _places(points)
    denominators = np.empty_like(places)
    product = int(field64.lagrange_denominators(places, denominators))
    return field.mul(field.batch_inv(denominators), product)


def combine(points: Sequence[int], shares: Elements) -> Elements:
    """The secrets whose shares at ``points`` are the t rows of ``shares``: shape (t, …) to shape (…).

    The weights are computed once, so combine all that was dealt at the same points in one call.
    """
    weights = lagrange_at_zero(points)
    if shares.shape[:1] != weights.shape:
        raise LocalError("shares.shape", shares.shape, f"one row for each of {weights.size} points")
    return field.combine_rows(weights, shares)


def limbs(length: int) -> int:
    """Elements that a secret of ``length`` ≥ 1 bytes takes."""
    if not field.is_whole(length) or length < 1:
        raise LocalError("length", length, "a secret has at least one byte")
    return -(-length // LIMB_BYTES)


def to_limbs(secret: bytes) -> Elements:
    """The secret as elements: little-endian groups of seven bytes, the last one shorter if need be."""
    padded = np.zeros((limbs(len(secret)), field.ELEMENT_BYTES), np.uint8)
    groups = np.frombuffer(secret.ljust(len(padded) * LIMB_BYTES, b"\0"), np.uint8)
    padded[:, :LIMB_BYTES] = groups.reshape(-1, LIMB_BYTES)
    return field.from_bytes(padded.tobytes())


def from_limbs(elements: Elements, length: int) -> bytes:
    """The secret of ``length`` bytes whose ``to_limbs`` is ``elements``.

    ``DecodeError`` if there is none: the shares behind them were inconsistent, or fewer than the threshold.
    """
    if elements.shape != (limbs(length),):
        raise LocalError("elements.shape", elements.shape, f"{length} bytes take {limbs(length)} limbs")
    padded = field.to_bytes(elements)
    rows = [
        padded[start : start + field.ELEMENT_BYTES] for start in range(0, len(padded), field.ELEMENT_BYTES)
    ]
    secret = b"".join(row[:LIMB_BYTES] for row in rows)
    if any(row[LIMB_BYTES] for row in rows) or any(secret[length:]):
        raise DecodeError("reconstructed limbs are no secret: the shares are inconsistent or too few")
    return secret[:length]


def split_bytes(secret: bytes, threshold: int, points: int | Sequence[int], tape: RandomTape) -> Elements:
    """Shares of a byte string, shape (n, limbs(len(secret))); otherwise as ``split``."""
    return split(to_limbs(secret), threshold, points, tape)


def combine_bytes(points: Sequence[int], shares: Elements, length: int) -> bytes:
    """The byte string of ``length`` bytes whose shares at ``points`` are the rows of ``shares``, shape (t,
    limbs).

    ``DecodeError`` as in ``from_limbs``. An altered limb passes that test once in 256 times, so it is no
    proof.
    """
    return from_limbs(combine(points, shares), length)


def _first(count: int) -> Sequence[int]:
    if not field.is_whole(count) or not 1 <= count <= MAX_SHARES:
        raise LocalError("points", count, f"must be at least one and at most {MAX_SHARES}, or a sequence")
    return range(1, int(count) + 1)


def _places(points: Sequence[int]) -> Elements:
    if not isinstance(points, Sequence):
        raise LocalError("points", points, "must be a sequence of whole numbers")
    if len(points) == 0:
        raise LocalError("points", [], "at least one")
    if not (all(type(point) is int for point in points) and min(points) >= 1 and max(points) < field.P):
        for index, point in enumerate(points):
            if not field.is_whole(point) or not 1 <= point < field.P:
                raise LocalError(f"points[{index}]", point, "must be a whole number and lie in [1, p)")
    if len(set(points)) != len(points):
        repeated = next(point for index, point in enumerate(points) if point in points[:index])
        raise LocalError("points", repeated, "must be distinct")
    return np.array(points, np.uint64)
