"""What a client proves about its vector of integers (spec section 16.14).

A vector is claimed to be short (its first ``normed`` entries), to have sums of entries in ranges, and to
point where a public reference points. Every claim is about integers, not about residues: limits keep all that
a circuit computes from wrapping around the modulus of Field64.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import isqrt, sqrt

import numpy as np
import numpy.typing as npt

from mpc.errors import LocalError
from mpc.field import is_whole
from mpc.flp.pine_circuits import Parameters
from mpc.flp.valid import chunks
from mpc.wire import Writer

Integers = npt.NDArray[np.int64]

END_BITS = 60  # the ends of a range lie in (−2^60, 2^60)
FORM_BITS = 62  # a form of bounded entries lies in (−2^62, 2^62)
REACH_BITS = 61  # scaled inner products with a reference lie in (−2^61, 2^61): below p / 8
REFERENCE_BITS = 32
_PRECISION_BITS = 20
_MAX_LENGTH = 2**31  # above which sums of projections could carry out of 64 bits


@dataclass(frozen=True, slots=True)
class Range:
    """low ≤ Σ weights_i · x[start + i] ≤ high.

    A form of one entry with weight 1 bounds this entry; entries of all other forms must be bounded, by such
    a range or by the norm.
    """

    start: int
    weights: tuple[int, ...]
    low: int
    high: int

    def __post_init__(self) -> None:
        if not is_whole(self.start) or self.start < 0:
            raise LocalError("start", self.start, "a place in the vector")
        object.__setattr__(self, "weights", tuple(self.weights))
        usable = (is_whole(weight) and 0 < abs(weight) < 1 << FORM_BITS for weight in self.weights)
        if not self.weights or not all(usable):
            raise LocalError("weights", self.weights, f"whole, not 0, below 2^{FORM_BITS} in size")
        for name in ("low", "high"):
            end = getattr(self, name)
            if not is_whole(end) or abs(end) >= 1 << END_BITS:
                raise LocalError(name, end, f"whole, between -2^{END_BITS} and 2^{END_BITS}")
        if self.low > self.high:
            raise LocalError("high", self.high, f"at least low, {self.low}")

    @property
    def stop(self) -> int:
        return self.start + len(self.weights)

    @property
    def bounds_entry(self) -> bool:
        """Whether it says where one entry lies."""
        return self.weights == (1,)

    @property
    def bits(self) -> int:
        """Of form − low, and of high − form where it is given as well."""
        return int(self.high - self.low).bit_length()

    @property
    def two_sided(self) -> bool:
        """Whether ``bits`` bits of form − low could stand for more than high − low."""
        return self.high - self.low + 1 != 1 << self.bits

    def form(self, vector: Integers) -> int:
        """Σ weights_i · x[start + i]."""
        entries = vector[self.start : self.stop]
        return sum(int(w) * int(x) for w, x in zip(self.weights, entries, strict=True))

    def encode(self, writer: Writer) -> None:
        writer.u32(self.start).u32(len(self.weights))
        for value in (*self.weights, self.low, self.high):
            writer.fixed(int(value).to_bytes(8, "little", signed=True), 8)


@dataclass(frozen=True, eq=False)
class Alignment:
    """⟨x, g⟩ ≥ c · ‖x‖ · ‖g‖ over the normed entries: g is ``reference``, c is ``cosine``, 0 < c ≤ 1.

    Proved for ``accepted_cosine`` in place of c, the nearest from below that the circuit can express. Every
    x with a cosine of at least c is accepted, no x with a cosine below ``accepted_cosine`` is, and x = 0 is.
    """

    reference: Integers = field(repr=False)  # shape (normed,), entries between −2^32 and 2^32
    cosine: float

    completeness_slack = 0.0  # honest vectors need no more than c, to the last bit

    def __post_init__(self) -> None:
        given = np.asarray(self.reference)
        if given.ndim != 1 or given.dtype.kind != "i":
            raise LocalError("reference", f"{given.dtype}, shape {given.shape}", "a vector of integers")
        reference = given.astype(np.int64)
        reference.flags.writeable = False
        if not reference.any():
            raise LocalError("reference", "all zeros", "a direction")
        if max(int(reference.max()), -int(reference.min())) >= 1 << REFERENCE_BITS:
            raise LocalError("reference", "out of range", f"entries are below 2^{REFERENCE_BITS} in size")
        object.__setattr__(self, "reference", reference)
        if not 0 < self.cosine <= 1:
            raise LocalError("cosine", self.cosine, "above 0 and at most 1")
        object.__setattr__(self, "cosine", float(self.cosine))

    @cached_property
    def square(self) -> int:
        """‖g‖², exactly."""
        squares = np.abs(self.reference).astype(np.uint64) ** 2
        low, high = squares & np.uint64(0xFFFFFFFF), squares >> np.uint64(32)
        return int(low.sum()) + (int(high.sum()) << 32)

    @property
    def shift(self) -> int:
        """f, by which ⟨x, g⟩ is scaled: the least with c² · ‖g‖² · 4^f ≥ 2^20."""
        shift = 0
        while self._scaled(shift) < 1 << _PRECISION_BITS:
            shift += 1
        return shift

    @property
    def threshold(self) -> int:
        """k, the whole part of c² · ‖g‖² · 4^f: what is proved is (2^f · ⟨x, g⟩)² ≥ k · ‖x‖²."""
        return self._scaled(self.shift)

    @property
    def accepted_cosine(self) -> float:
        """√k / (2^f · ‖g‖), the least cosine of an accepted vector."""
        return sqrt(Fraction(self.threshold, self.square << 2 * self.shift))

    @property
    def soundness_slack(self) -> float:
        """c / accepted_cosine − 1: below 2^-20, since k is at least 2^20 and rounded down by less than 1."""
        return max(0.0, self.cosine / self.accepted_cosine - 1)

    def reach(self, bound: int) -> int:
        """The whole part of B · ‖g‖: |⟨x, g⟩| is at most that."""
        return isqrt(bound**2 * self.square)

    def inner(self, vector: Integers) -> int:
        """⟨x, g⟩ for a vector no longer than a bound that the claims admit."""
        # Modulo 2^64, which is no change to what lies below 2^61 in size.
        return int(np.dot(vector, self.reference))

    def _scaled(self, shift: int) -> int:
        return int(Fraction(self.cosine) ** 2 * (self.square << 2 * shift))


@dataclass(frozen=True, eq=False)
class Claims:
    """What is proved about ``length`` integers; ``LocalError`` where a proof would not be one.

    ``bound``: B with Σ x_i² ≤ B² over the first ``normed`` entries, at most 2^31.2; None for no such claim.
    ``alignment`` needs it.
    """

    length: int
    normed: int = 0
    bound: int | None = None
    ranges: tuple[Range, ...] = ()
    alignment: Alignment | None = None

    norm: Parameters | None = field(init=False, repr=False)  # PINE's; None without a bound

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", tuple(self.ranges))
        if not is_whole(self.length) or not 1 <= self.length < _MAX_LENGTH:
            raise LocalError("length", self.length, "from 1 to 2^31 - 1")
        if not is_whole(self.normed) or not 0 <= self.normed <= self.length:
            raise LocalError("normed", self.normed, f"from 0 to the length, {self.length}")
        if self.bound is None and not any(claimed.bits for claimed in self.ranges):
            raise LocalError("ranges", self.ranges, "without a bound, one at least of more than one value")
        object.__setattr__(self, "norm", self._norm())
        self._check_ranges()
        self._check_alignment()

    def digest(self) -> bytes:
        """32 bytes that no other claims have."""
        writer = Writer().u32(self.length).u32(self.normed).u64(self.bound or 0).u32(len(self.ranges))
        for claimed in self.ranges:
            claimed.encode(writer)
        if self.alignment is not None:
            writer.fixed(struct.pack("<d", self.alignment.cosine), 8)
            writer.fixed(self.alignment.reference.astype("<i8", copy=False).tobytes(), 8 * self.normed)
        return hashlib.sha256(writer.finish()).digest()

    def check(self, measurement: npt.ArrayLike) -> Integers:
        """The vector as int64; ``LocalError`` if its shape or type does not fit, or a claim is not true."""
        vector = np.asarray(measurement)
        if vector.shape != (self.length,) or vector.dtype.kind != "i":
            shape = f"{vector.dtype}, shape {vector.shape}"
            raise LocalError("measurement", shape, f"a vector of {self.length} integers")
        out = vector.astype(np.int64, copy=False)
        if self.norm is not None:
            self.norm.encode(out[: self.normed])
        for index, claimed in enumerate(self.ranges):
            if not claimed.low <= claimed.form(out) <= claimed.high:
                raise LocalError("measurement", "out of range", f"not in ranges[{index}] of the claims")
        if self.alignment is not None and not self._aligned(self.alignment, out[: self.normed]):
            raise LocalError("measurement", "out of range", "it does not point where the reference points")
        return out

    def _aligned(self, alignment: Alignment, front: Integers) -> bool:
        inner = alignment.inner(front) << alignment.shift
        return inner >= 0 and inner**2 >= alignment.threshold * int(np.dot(front, front))

    def _norm(self) -> Parameters | None:
        if self.bound is None:
            return None
        if not is_whole(self.bound) or self.bound < 1:
            raise LocalError("bound", self.bound, "whole, and at least 1")
        if self.normed < 1:
            raise LocalError("normed", self.normed, "at least 1, where a bound is claimed")
        try:
            return Parameters(
                l2_norm_bound=int(self.bound),
                num_frac_bits=0,
                dimension=int(self.normed),
                chunk_length=1,  # of the circuit that ``Checks`` is in place of
                chunk_length_norm_equality=narrowest(self.normed, 1),
            )
        except LocalError as error:
            raise LocalError("bound", self.bound, error.bound) from None

    def _check_ranges(self) -> None:
        entries: dict[int, int] = {}  # how large an entry can be
        for claimed in self.ranges:
            if claimed.bounds_entry:
                size = max(abs(claimed.low), abs(claimed.high))
                entries[claimed.start] = min(size, entries.get(claimed.start, size))
        for index, claimed in enumerate(self.ranges):
            if claimed.stop > self.length:
                raise LocalError(f"ranges[{index}]", claimed, f"within {self.length} entries")
            if claimed.bounds_entry:
                continue
            form = 0
            for place, weight in enumerate(claimed.weights, claimed.start):
                by_norm = self.bound if place < self.normed else None
                entry = entries.get(place, by_norm)
                if entry is None:
                    raise LocalError(f"ranges[{index}]", claimed, f"entry {place} needs a range of its own")
                form += abs(weight) * entry
            if form >= 1 << FORM_BITS:
                raise LocalError(f"ranges[{index}]", claimed, f"its sum must stay below 2^{FORM_BITS}")

    def _check_alignment(self) -> None:
        if self.alignment is None:
            return
        if self.bound is None:
            raise LocalError("alignment", self.alignment, "needs a bound on the norm")
        if self.alignment.reference.shape != (self.normed,):
            raise LocalError("alignment", self.alignment, f"a reference of {self.normed} entries")
        if self.alignment.reach(self.bound) << self.alignment.shift >= 1 << REACH_BITS:
            limit = f"bound · ‖reference‖ · 2^shift stays below 2^{REACH_BITS}"
            raise LocalError("alignment", self.alignment, limit)


def narrowest(length: int, wires: int) -> int:
    """The count of a ParallelSum over ``length`` groups of ``wires`` wires that makes its proof shortest.

    The calls fill a power of two less one, the seed's place: the proof has wires · width + 2 · 2^b − 1
    elements for fewer than 2^b calls of this width.
    """
    sizes = [1 << power for power in range(1, length.bit_length() + 2)]
    best = min(sizes, key=lambda size: wires * chunks(length, size - 1) + 2 * size)
    return chunks(length, best - 1)
