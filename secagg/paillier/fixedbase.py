"""Powers of one fixed base from a table, for the randomness of ciphertexts (spec section 14.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from mpc.errors import LocalError
from secagg.paillier.modulus import Modulus

TABLE_BYTES = 8 * 2**20  # 8 MiB: 43 multiplications a power at 3072 bits; twice that saves three


class FixedBase:
    """Powers of one base by a comb (Lim and Lee, "More flexible exponentiation with precomputation", 1994).

    The exponent is written as ``teeth`` rows of ``columns`` bits; a column is a digit, looked up in the table
    of its block of ``spacing`` columns. A power takes columns + spacing − 2 multiplications or fewer.
    ``memory`` bounds the tables, in bytes; the comb with the fewest multiplications in that is chosen.
    Building takes about one multiplication for each table entry.

    Raises ``LocalError`` when ``memory`` does not hold the smallest comb.
    """

    __slots__ = ("_modulus", "_tables", "columns", "exponent_bits", "spacing", "table_bytes", "teeth")

    def __init__(self, base: mpz, modulus: Modulus, exponent_bits: int, memory: int = TABLE_BYTES) -> None:
        entry = modulus.entry_bytes
        self.exponent_bits = exponent_bits
        if memory < 2 * entry:
            raise LocalError("memory", memory, f"the smallest comb takes {2 * entry} bytes")
        self.teeth, self.spacing = comb_shape(exponent_bits, memory // entry)
        self.columns = -(-exponent_bits // self.teeth)
        self._modulus = modulus
        tables = self._build(base)
        self.table_bytes = sum(map(len, tables)) * entry
        self._tables = modulus.comb_tables(tables)

    def _build(self, base: mpz) -> list[list[mpz]]:
        """Table j, entry d: the product over the bits i of d of base^(2^(i·columns + j·spacing))."""
        modulus = self._modulus.value
        blocks = -(-self.columns // self.spacing)
        squares = [base % modulus]
        for _ in range((self.teeth - 1) * self.columns + (blocks - 1) * self.spacing):
            squares.append(squares[-1] * squares[-1] % modulus)
        tables = []
        for block in range(blocks):
            table = [mpz(1)]
            for tooth in range(self.teeth):
                step = squares[tooth * self.columns + block * self.spacing]
                table += [entry * step % modulus for entry in table]
            tables.append(table)
        return tables

    def powers(self, exponents: Sequence[mpz]) -> list[mpz]:
        """base^e mod modulus for each e of ``exponents``; ``LocalError`` unless 0 ≤ e < 2^exponent_bits."""
        for index, exponent in enumerate(exponents):
            if not 0 <= exponent < 1 << self.exponent_bits:
                raise LocalError("exponents", f"<secret> at {index}", f"0 to 2^{self.exponent_bits} - 1")
        return self._modulus.comb(self._tables, self._choices(exponents), self.spacing)

    def _choices(self, exponents: Sequence[mpz]) -> NDArray[np.uint32]:
        """For each exponent its ``columns`` digits of ``teeth`` bits, shape (len(exponents), columns)."""
        bits = self.teeth * self.columns
        width = (bits + 7) // 8
        octets = np.frombuffer(b"".join(e.to_bytes(width, "little") for e in exponents), np.uint8)
        rows = np.unpackbits(octets.reshape(len(exponents), width), axis=1, count=bits, bitorder="little")
        choices = np.zeros((len(exponents), self.columns), np.uint32)
        for tooth in range(self.teeth):
            choices |= rows[:, tooth * self.columns :][:, : self.columns].astype(np.uint32) << np.uint32(
                tooth
            )
        return choices

    def __repr__(self) -> str:
        return f"FixedBase(exponent_bits={self.exponent_bits}, table_bytes={self.table_bytes})"


def comb_shape(exponent_bits: int, entries: int) -> tuple[int, int]:
    """Teeth and spacing of the comb of ``entries`` ≥ 2 at most that takes the fewest multiplications."""
    shapes = []
    for teeth in range(1, entries.bit_length()):
        columns = -(-exponent_bits // teeth)
        for spacing in range(1, columns + 1):
            size = -(-columns // spacing) << teeth
            if size <= entries:
                shapes.append((columns + spacing, size, teeth, spacing))
                break
    _, _, teeth, spacing = min(shapes)
    return teeth, spacing
