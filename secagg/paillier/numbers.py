"""Rows of big numbers: their bytes, and whether all of them are units."""

from __future__ import annotations

from collections.abc import Sequence

import gmpy2
from gmpy2 import mpz

from mpc.errors import DecodeError
from mpc.tape import RandomTape


def encode_numbers(numbers: Sequence[mpz], width: int) -> bytes:
    """Each number in ``width`` bytes, little-endian; they must fit."""
    return b"".join(number.to_bytes(width, "little") for number in numbers)


def decode_numbers(data: bytes | memoryview, width: int) -> list[mpz]:
    """What :func:`encode_numbers` wrote; ``DecodeError`` unless it is a whole number of them."""
    if len(data) % width:
        raise DecodeError(f"{len(data)} bytes are no multiple of {width}")
    return [mpz.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def first_non_unit(numbers: Sequence[mpz], bound: mpz, modulus: mpz) -> int | None:
    """The place of the first that is not in (0, bound), else of the first that is no unit; None if all are.

    ``bound``: a multiple of ``modulus``.
    """
    product = mpz(1)
    for place, number in enumerate(numbers):
        if not 0 < number < bound:
            return place
        product = product * (number % modulus) % modulus
    # A product is a unit exactly when each factor is one.
    if gmpy2.gcd(product, modulus) == 1:
        return None
    return next(place for place, number in enumerate(numbers) if gmpy2.gcd(number, modulus) != 1)


def require_units(numbers: Sequence[mpz], n: mpz, name: str) -> None:
    """``DecodeError``, naming the first offender, unless all are units modulo n, in (0, n)."""
    place = first_non_unit(numbers, n, n)
    if place is not None:
        inside = 0 < numbers[place] < n
        raise DecodeError(
            f"{name} {place} " + ("has a factor in common with n" if inside else "is not in (0, n)")
        )


def random_unit(n: mpz, tape: RandomTape) -> mpz:
    """A uniform unit modulo n."""
    while gmpy2.gcd(unit := mpz(tape.below(int(n))), n) != 1:
        pass
    return unit
