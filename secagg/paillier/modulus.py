"""Powers and products modulo one odd number, many at a time (spec section 14.9).

:func:`modulus_of` gives the fastest arithmetic that this machine has: eight numbers at once where the
processor has AVX-512 IFMA, else GMP's, one by one. Both give the same numbers, and use every core.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from secagg.paillier.numbers import decode_numbers, first_non_unit
from secagg.paillier.parallel import spread

Choices = NDArray[np.uint32]

MIN_LANE_BITS = 1024  # below, cutting numbers into digits takes most of the time
_MPZ_OVERHEAD = 64  # bytes that an mpz and its list slot take beside the limbs
# GMP's products are short, so that threads wait for the interpreter's lock: four gain 1.7 times, eight none.
_PRODUCT_THREADS = 4


class Modulus(ABC):
    """Arithmetic modulo an odd ``value``. All numbers, given or returned, lie in [0, value)."""

    entry_bytes: int
    """Memory of one number in the tables of a comb."""

    def __init__(self, value: mpz) -> None:
        self.value = mpz(value)

    @abstractmethod
    def powers(self, bases: Sequence[mpz], exponent: mpz, *, public: bool = False) -> list[mpz]:
        """base^exponent for each base; exponent > 0.

        Unless the exponent is ``public``, time and memory accesses depend on sizes alone, but for the
        conversion of numbers on the way in and out.
        """

    @abstractmethod
    def comb_tables(self, tables: Sequence[Sequence[mpz]]) -> Any:
        """Tables of equal lengths in the form that :meth:`comb` reads."""

    @abstractmethod
    def comb(self, tables: Any, choices: Choices, spacing: int) -> list[mpz]:
        """The powers of a :class:`secagg.paillier.fixedbase.FixedBase`; ``choices``: (powers, columns)."""

    @abstractmethod
    def first_non_unit(self, octets: bytes | memoryview) -> int | None:
        """The place of the first number that is no unit in (0, value), in a row of ``row_bytes`` each."""

    @abstractmethod
    def running_product(self) -> RunningProduct: ...

    @property
    def row_bytes(self) -> int:
        """Bytes of a number in an encoded row: those of ``value``."""
        return int(self.value.bit_length() + 7) // 8

    def __repr__(self) -> str:  # the number itself may be a secret
        return f"{type(self).__name__}(bits={self.value.bit_length()})"


def modulus_of(value: mpz) -> Modulus:
    """The fastest arithmetic modulo an odd ``value`` that this machine has."""
    if value.bit_length() < MIN_LANE_BITS:
        return GmpModulus(value)
    from secagg.kernels import lanes
    from secagg.paillier.lanemodulus import LaneModulus

    return LaneModulus(value) if lanes.available() else GmpModulus(value)


class RunningProduct(ABC):
    """The product, place by place, of encoded rows of one length, whose numbers lie in [0, value)."""

    @abstractmethod
    def multiply(self, octets: bytes | memoryview) -> None: ...

    @abstractmethod
    def numbers(self) -> list[mpz]:
        """The product so far; empty before the first row."""

    @abstractmethod
    def clear(self) -> None:
        """As before the first row."""


class GmpModulus(Modulus):
    """One number at a time, by GMP."""

    def __init__(self, value: mpz) -> None:
        super().__init__(value)
        self.entry_bytes = (value.bit_length() + 7) // 8 + _MPZ_OVERHEAD

    def powers(self, bases: Sequence[mpz], exponent: mpz, *, public: bool = False) -> list[mpz]:
        power = gmpy2.powmod if public else gmpy2.powmod_sec

        def raised(chunk: Sequence[mpz]) -> list[mpz]:
            return [power(base, exponent, self.value) for base in chunk]

        return spread(raised, bases, len(bases))

    def comb_tables(self, tables: Sequence[Sequence[mpz]]) -> Any:
        return tables

    def comb(self, tables: Any, choices: Choices, spacing: int) -> list[mpz]:
        def raised(chunk: Sequence[list[int]]) -> list[mpz]:
            return [self._power(tables, row, spacing) for row in chunk]

        return spread(raised, choices.tolist(), _PRODUCT_THREADS)

    def _power(self, tables: Any, choices: list[int], spacing: int) -> mpz:
        result = mpz(1)
        for offset in reversed(range(spacing)):
            result = result * result % self.value
            for table, choice in zip(tables, choices[offset::spacing], strict=False):
                result = result * table[choice] % self.value
        return result

    def first_non_unit(self, octets: bytes | memoryview) -> int | None:
        return first_non_unit(decode_numbers(octets, self.row_bytes), self.value, self.value)

    def running_product(self) -> RunningProduct:
        return _GmpProduct(self)


class _GmpProduct(RunningProduct):
    def __init__(self, modulus: GmpModulus) -> None:
        self._modulus = modulus
        self._numbers: list[mpz] = []

    def multiply(self, octets: bytes | memoryview) -> None:
        row = decode_numbers(octets, self._modulus.row_bytes)
        if not self._numbers:
            self._numbers = row
            return
        value = self._modulus.value
        self._numbers = [a * b % value for a, b in zip(self._numbers, row, strict=True)]

    def numbers(self) -> list[mpz]:
        return list(self._numbers)

    def clear(self) -> None:
        self._numbers = []
