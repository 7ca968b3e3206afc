"""Powers and products modulo one odd number, many at a time (spec section 14.9).

:func:`modulus_of` gives the fastest arithmetic that this machine has: eight numbers at once where the
processor has AVX-512 IFMA, else GMP's, one by one. Both give the same numbers, and use every core.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from secagg.paillier.parallel import spread

Choices = NDArray[np.uint32]
Digits = NDArray[np.uint64]

MIN_LANE_BITS = 1024  # below, cutting numbers into digits takes most of the time
_WORD_BYTES = 8
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

    def _culprit(self, product: mpz, octets: bytes | memoryview) -> int | None:
        """The first number with a factor in common; a product is a unit exactly when each factor is one."""
        if gmpy2.gcd(product, self.value) == 1:
            return None
        numbers = self.decode_row(octets)
        return next(place for place, number in enumerate(numbers) if gmpy2.gcd(number, self.value) != 1)

    @property
    def row_bytes(self) -> int:
        """Bytes of a number in an encoded row: those of ``value``."""
        return int(self.value.bit_length() + 7) // 8

    def decode_row(self, octets: bytes | memoryview) -> list[mpz]:
        """The numbers of a row, which are little-endian."""
        width = self.row_bytes
        return [mpz.from_bytes(octets[at : at + width], "little") for at in range(0, len(octets), width)]

    def __repr__(self) -> str:  # the number itself may be a secret
        return f"{type(self).__name__}(bits={self.value.bit_length()})"


def modulus_of(value: mpz) -> Modulus:
    """The fastest arithmetic modulo an odd ``value`` that this machine has."""
    if value.bit_length() < MIN_LANE_BITS:
        return GmpModulus(value)
    from secagg.kernels import lanes

    return LaneModulus(value) if lanes.available() else GmpModulus(value)


class RunningProduct(ABC):
    """The product, place by place, of encoded rows of one length, whose numbers lie in [0, value)."""

    @abstractmethod
    def multiply(self, octets: bytes | memoryview) -> None: ...

    @abstractmethod
    def numbers(self) -> list[mpz]:
        """The product so far; empty before the first row."""


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
        product = mpz(1)
        for place, number in enumerate(self.decode_row(octets)):
            if not 0 < number < self.value:
                return place
            product = product * number % self.value
        return self._culprit(product, octets)

    def running_product(self) -> RunningProduct:
        return _GmpProduct(self)


class _GmpProduct(RunningProduct):
    def __init__(self, modulus: GmpModulus) -> None:
        self._modulus = modulus
        self._numbers: list[mpz] = []

    def multiply(self, octets: bytes | memoryview) -> None:
        row = self._modulus.decode_row(octets)
        if not self._numbers:
            self._numbers = row
            return
        value = self._modulus.value
        self._numbers = [a * b % value for a, b in zip(self._numbers, row, strict=True)]

    def numbers(self) -> list[mpz]:
        return list(self._numbers)


class LaneModulus(Modulus):
    """Eight numbers at a time, by ``secagg.kernels.montgomery``; numbers there are multiplied by R."""

    def __init__(self, value: mpz) -> None:
        super().__init__(value)
        montgomery = self._kernels
        block = montgomery.DIGIT_BITS * montgomery.BLOCK
        # Two bits more than the number's own: R > 4N.
        self._digits = -(-(value.bit_length() + 2) // block) * montgomery.BLOCK
        self.entry_bytes = self._digits * _WORD_BYTES
        base = 1 << montgomery.DIGIT_BITS
        self._inverse = np.uint64(int(base - gmpy2.invert(value, base)))
        self._words = -(-value.bit_length() // (8 * _WORD_BYTES))
        self._r_value = r = (mpz(1) << (montgomery.DIGIT_BITS * self._digits)) % value
        self._row, self._r, self._r_squared, self._one = (
            self.split(self._words_of([number] * montgomery.WIDTH))[0]
            for number in (self.value, r, r * r % value, mpz(1))
        )

    @property
    def _kernels(self) -> ModuleType:
        from secagg.kernels import montgomery

        return montgomery

    def powers(self, bases: Sequence[mpz], exponent: mpz, *, public: bool = False) -> list[mpz]:
        windows = self._windows(exponent)

        def raised(chunk: Sequence[mpz]) -> list[mpz]:
            groups = self._enter(chunk)
            out = np.empty_like(groups)
            self._kernels.power_groups(groups, windows, self._row, self._inverse, self._r, out)
            return self.leave(out, len(chunk))

        return spread(raised, bases, len(bases), self._kernels.WIDTH)

    def _windows(self, exponent: mpz) -> Digits:
        """The exponent's digits of ``WINDOW`` bits, highest first; how many, its words alone decide."""
        words, window = -(-exponent.bit_length() // (8 * _WORD_BYTES)), self._kernels.WINDOW
        octets = np.frombuffer(exponent.to_bytes(words * _WORD_BYTES, "big"), np.uint8)
        bits = np.unpackbits(octets).astype(np.uint64)
        rows = np.pad(bits, (-bits.size % window, 0)).reshape(-1, window)
        return rows @ (np.uint64(1) << np.arange(window, dtype=np.uint64)[::-1])

    def comb_tables(self, tables: Sequence[Sequence[mpz]]) -> Any:
        numbers = [entry for table in tables for entry in table]
        columns = self._enter(numbers).transpose(0, 2, 1).reshape(-1, self._digits)[: len(numbers)]
        return np.ascontiguousarray(columns).reshape(len(tables), -1, self._digits)

    def comb(self, tables: Any, choices: Choices, spacing: int) -> list[mpz]:
        width, columns = self._kernels.WIDTH, choices.shape[1]

        def raised(rows: Sequence[Choices]) -> list[mpz]:
            chunk = np.zeros((-(-len(rows) // width) * width, columns), np.uint32)
            chunk[: len(rows)] = rows
            groups = chunk.reshape(-1, width, columns).transpose(0, 2, 1)
            out = np.empty((len(groups), self._digits, width), np.uint64)
            self._kernels.comb_groups(
                tables, np.ascontiguousarray(groups), spacing, self._row, self._inverse, self._r, out
            )
            return self.leave(out, len(rows))

        return spread(raised, list(choices), len(choices), width)

    def first_non_unit(self, octets: bytes | memoryview) -> int | None:
        words = self.row_words(octets)
        if not len(words):
            return None
        if (place := self._kernels.first_outside(words, self._words_of([self.value]))) >= 0:
            return int(place)
        groups = self.split(words)
        groups[-1][:, (len(words) - 1) % self._kernels.WIDTH + 1 :] = self._r[:, :1]  # lanes to spare
        product = np.empty_like(self._r)
        self._kernels.multiply_together(groups, self._row, self._inverse, product)
        together = mpz(1)
        for factor in self.leave(product[None], self._kernels.WIDTH):
            together = together * factor % self.value
        return self._culprit(together, octets)

    def running_product(self) -> RunningProduct:
        return _LaneProduct(self)

    def _enter(self, numbers: Sequence[mpz]) -> Digits:
        """Times R, in groups of eight."""
        groups = self.split(self._words_of(numbers))
        self._multiply_all(groups, self._r_squared)
        return groups

    def leave(self, groups: Digits, count: int, powers_of_r: int = 0) -> list[mpz]:
        """Over R, times R^powers_of_r, and below the modulus: the first ``count`` of them."""
        factor = self._one
        if powers_of_r:
            power = gmpy2.powmod(self._r_value, powers_of_r, self.value)
            factor = self.split(self._words_of([power] * self._kernels.WIDTH))[0]
        self._multiply_all(groups, factor)
        words = np.empty((count, self._words), np.uint64)
        self._kernels.join(groups, words)
        octets, width = words.tobytes(), self._words * _WORD_BYTES
        numbers = [mpz.from_bytes(octets[at : at + width], "little") for at in range(0, len(octets), width)]
        # Less than N + 1 after a product with 1; only 0 is ever N.
        return [number if number < self.value else number - self.value for number in numbers]

    def _multiply_all(self, groups: Digits, factor: Digits) -> None:
        self._kernels.multiply_groups(groups, factor, self._row, self._inverse, groups)

    def multiply_pairs(self, left: Digits, right: Digits) -> None:
        """left = left · right / R."""
        self._kernels.multiply_pairs(left, right, self._row, self._inverse, left)

    def _words_of(self, numbers: Sequence[mpz]) -> Digits:
        octets = bytearray().join(number.to_bytes(self._words * _WORD_BYTES, "little") for number in numbers)
        return np.frombuffer(octets, np.uint64).reshape(len(numbers), self._words)

    def row_words(self, octets: bytes | memoryview) -> Digits:
        """The numbers of an encoded row in words, one a row."""
        numbers = np.frombuffer(octets, np.uint8).reshape(-1, self.row_bytes)
        words = np.zeros((len(numbers), self._words * _WORD_BYTES), np.uint8)
        words[:, : self.row_bytes] = numbers
        return words.view(np.uint64)

    def split(self, words: Digits) -> Digits:
        """Numbers in words, one a row, in groups of eight; places to spare hold 0."""
        width = self._kernels.WIDTH
        groups = np.empty((-(-len(words) // width), self._digits, width), np.uint64)
        self._kernels.split(words, groups)
        return groups


class _LaneProduct(RunningProduct):
    """Of k rows, over R^(k − 1): what the products have left out is put back at the end."""

    def __init__(self, modulus: LaneModulus) -> None:
        self._modulus = modulus
        self._groups: Digits | None = None
        self._width = self._rows = 0

    def multiply(self, octets: bytes | memoryview) -> None:
        words = self._modulus.row_words(octets)
        groups = self._modulus.split(words)
        if self._groups is None:
            self._groups, self._width = groups, len(words)
        else:
            self._modulus.multiply_pairs(self._groups, groups)
        self._rows += 1

    def numbers(self) -> list[mpz]:
        if self._groups is None:
            return []
        return self._modulus.leave(self._groups.copy(), self._width, self._rows)
