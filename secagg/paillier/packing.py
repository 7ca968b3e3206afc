"""Packing: many signed coordinates in one plaintext, whose sums cannot reach a neighbour (spec section 14.2).

An entry v with |v| ≤ M = 2^(bits−1) − 1 becomes the slot v + M, from 0 to 2M. Added up over at most
``members`` clients, a slot lies in [0, 2M · members], and it has the bits of 2M · members: no sum ever
carries into the next slot, nor, as all slots together have fewer bits than n, does a plaintext wrap modulo n.
No guard bit is needed. What was added, M for each contribution, is taken off after decryption, so
:meth:`Packing.unpack` has to know how many contributions there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from mpc.errors import DecodeError, LocalError
from mpc.ring import Ring
from secagg.cohort import MAX_BITS, MAX_MEMBERS, MAX_SUM_BITS, MIN_BITS, Cohort, sum_bits

# All slots of a vector stand in one integer at a time. GMP's hold 2^37 bits, and end the process beyond that.
MAX_STREAM_BITS = 1 << 36


@dataclass(frozen=True, slots=True)
class Packing:
    """Vectors of entries of ``bits`` bits, summed over ``members`` clients at most, in plaintexts below n.

    ``modulus_bits`` are the bits of n. ``LocalError`` when an argument is out of range, when a sum would not
    fit an int64, or when not even one slot fits below n.
    """

    bits: int
    members: int
    modulus_bits: int

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise LocalError("bits", self.bits, f"must be from {MIN_BITS} to {MAX_BITS}")
        if not 1 <= self.members <= MAX_MEMBERS:
            raise LocalError("members", self.members, f"must be from 1 to {MAX_MEMBERS}")
        if self.slot_bits > MAX_SUM_BITS:
            raise LocalError(
                "bits", self.bits, f"a sum takes {self.slot_bits} bits, more than {MAX_SUM_BITS}"
            )
        if self.slots < 1:
            raise LocalError("modulus_bits", self.modulus_bits, f"must exceed a slot, {self.slot_bits} bits")

    @classmethod
    def of(cls, cohort: Cohort, modulus_bits: int) -> Packing:
        """How the vectors of a cohort are packed: slots with room for the sum over all its members.

        ``LocalError`` for vectors that are too long (see :meth:`ciphertexts`).
        """
        packing = cls(cohort.bits, cohort.size, modulus_bits)
        packing.ciphertexts(cohort.length)
        return packing

    @property
    def max_entry(self) -> int:
        """M, the largest absolute value of an entry."""
        return (1 << (self.bits - 1)) - 1

    @property
    def slot_bits(self) -> int:
        """Bits of 2M · members: bits + ceil(log2(members)), or one less where that is enough."""
        return sum_bits(self.bits, self.members)

    @property
    def slots(self) -> int:
        """Entries in a plaintext. The modulus has its top bit set, so one bit less always stays below it."""
        return (self.modulus_bits - 1) // self.slot_bits

    def ciphertexts(self, length: int) -> int:
        """How many plaintexts, and so ciphertexts, hold a vector of ``length`` ≥ 1 entries.

        ``LocalError`` for a length that is not to be had: 2^36 bits of slots is the most.
        """
        most = MAX_STREAM_BITS // self.slot_bits
        if not 1 <= length <= most:
            raise LocalError("length", length, f"must be from 1 to {most}, at {self.slot_bits} bits a slot")
        return -(-length // self.slots)

    def pack(self, vector: NDArray[np.signedinteger[Any]]) -> list[mpz]:
        """The plaintexts of a vector, shape (length,), entries in [−M, M] or else ``LocalError``.

        Entry i is slot i % slots, from the low end, of plaintext i // slots; the last one's free slots are 0.
        """
        if vector.ndim != 1 or not np.issubdtype(vector.dtype, np.signedinteger):
            raise LocalError("vector", f"{vector.dtype}{vector.shape}", "must be one row of signed integers")
        count = self.ciphertexts(vector.size)
        if vector.min() < -self.max_entry or vector.max() > self.max_entry:
            index = int(np.argmax((vector < -self.max_entry) | (vector > self.max_entry)))
            raise LocalError("vector", f"<secret> at {index}", f"|v| must be at most {self.max_entry}")
        ring = Ring(self.slot_bits)
        lanes = np.add(vector, self.max_entry, dtype=np.int64).astype(ring.lane)
        stream = mpz.from_bytes(ring.pack(lanes), "little")
        rows: list[mpz] = gmpy2.unpack(stream, self.slots * self.slot_bits)
        # gmpy2 drops zeros at the high end, which is what a last row of lowest entries is.
        return rows + [mpz(0)] * (count - len(rows))

    def unpack(self, plaintexts: Sequence[mpz], length: int, count: int) -> NDArray[np.int64]:
        """The sum of ``count`` packed vectors of ``length`` entries, from the sum of their plaintexts.

        ``DecodeError`` for anything that ``count`` vectors cannot add up to: another number of plaintexts, a
        slot above 2M · count, a bit beyond the last slot. ``LocalError`` unless 1 ≤ count ≤ members.
        """
        if not 1 <= count <= self.members:
            raise LocalError("count", count, f"must be from 1 to {self.members}")
        if len(plaintexts) != (expected := self.ciphertexts(length)):
            raise DecodeError(f"{len(plaintexts)} plaintexts where {length} entries take {expected}")
        row_bits = self.slots * self.slot_bits
        last_bits = length * self.slot_bits - (len(plaintexts) - 1) * row_bits
        for index, plaintext in enumerate(plaintexts):
            width = last_bits if index == len(plaintexts) - 1 else row_bits
            if not 0 <= plaintext < mpz(1) << width:
                raise DecodeError(f"plaintext {index} has more than its {width} bits")
        ring = Ring(self.slot_bits)
        stream = gmpy2.pack([mpz(plaintext) for plaintext in plaintexts], row_bits)
        lanes = ring.unpack(stream.to_bytes(ring.packed_size(length), "little"), length).astype(np.int64)
        if (largest := lanes.max()) > 2 * self.max_entry * count:
            index = int(np.argmax(lanes == largest))
            raise DecodeError(f"entry {index} is more than {count} contributions add up to")
        lanes -= self.max_entry * count
        return lanes
