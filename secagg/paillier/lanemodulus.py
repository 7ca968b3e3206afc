"""Modular arithmetic on eight numbers at a time, where the processor has AVX-512 IFMA (spec section 14.9)."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from secagg.paillier.modulus import Choices, Modulus, RunningProduct
from secagg.paillier.numbers import decode_numbers, encode_numbers, first_non_unit
from secagg.paillier.parallel import spread

Digits = NDArray[np.uint64]

_WORD_BYTES = 8


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
        if gmpy2.gcd(together, self.value) == 1:
            return None
        return first_non_unit(decode_numbers(octets, self.row_bytes), self.value, self.value)

    def running_product(self) -> RunningProduct:
        return _LaneProduct(self)

    def _enter(self, numbers: Sequence[mpz]) -> Digits:
        """Times R, in groups of eight."""
        groups = self.split(self._words_of(numbers))
        self._multiply_all(groups, self._r_squared)
        return groups

    def leave(self, groups: Digits, count: int, powers_of_r: int = 0) -> list[mpz]:
        """Over R, times R^powers_of_r, and below the modulus: the first ``count`` of them."""
        if powers_of_r:
            power = gmpy2.powmod(self._r_value, powers_of_r + 1, self.value)
            self._multiply_all(groups, self.split(self._words_of([power] * self._kernels.WIDTH))[0])
        self._multiply_all(groups, self._one)
        words = np.empty((count, self._words), np.uint64)
        self._kernels.join(groups, words)
        numbers = decode_numbers(words.tobytes(), self._words * _WORD_BYTES)
        # Less than N + 1 after a product with 1; only 0 is ever N.
        return [number if number < self.value else number - self.value for number in numbers]

    def _multiply_all(self, groups: Digits, factor: Digits) -> None:
        self._kernels.multiply_groups(groups, factor, self._row, self._inverse, groups)

    def multiply_pairs(self, left: Digits, right: Digits) -> None:
        """left = left · right / R."""
        self._kernels.multiply_pairs(left, right, self._row, self._inverse, left)

    def _words_of(self, numbers: Sequence[mpz]) -> Digits:
        # Writable, as all other words are: a kernel is compiled for one kind of array.
        octets = bytearray(encode_numbers(numbers, self._words * _WORD_BYTES))
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

    def clear(self) -> None:
        self._groups = None
        self._width = self._rows = 0

    def numbers(self) -> list[mpz]:
        if self._groups is None:
            return []
        return self._modulus.leave(self._groups.copy(), self._width, self._rows)
