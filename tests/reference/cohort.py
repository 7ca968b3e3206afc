"""What is public about a round, a second time: cohort, listing, graph (spec sections 6, 12.1, 12.6)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from tests.reference.degree import Tolerance, degree_and_threshold
from tests.reference.primitives import bitmap, hkdf, keystream, sha256, u32, u64

ADVERTISEMENT_BYTES = 64
SIGNATURE_BYTES = 64
NO_MODEL = hashlib.sha256(b"").digest()


@dataclass(frozen=True)
class Cohort:
    session: bytes
    round: int
    members: tuple[str, ...]
    threshold: int
    length: int
    bits: int
    server_key: bytes
    model_hash: bytes = NO_MODEL
    identities: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def everybody(self) -> range:
        return range(self.size)

    @property
    def max_entry(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @property
    def sum_bits(self) -> int:
        return (self.size * self.max_entry).bit_length() + 1

    @property
    def advertisement_bytes(self) -> int:
        return ADVERTISEMENT_BYTES + (SIGNATURE_BYTES if self.identities else 0)

    @cached_property
    def digest(self) -> bytes:
        content = self.session + u32(self.round) + u32(self.size)
        for name in self.members:
            content += u32(len(name.encode())) + name.encode()
        content += u32(self.threshold) + u64(self.length) + bytes([self.bits])
        content += self.server_key + self.model_hash
        content += u32(len(self.identities)) + b"".join(self.identities)
        return sha256(11, content)


def circle(listed: list[int], degree: int, seed: bytes) -> list[int]:
    """The order in which the listed members stand: sorted by their 64-bit words, equal words by index."""
    key = hkdf(seed, 17, u32(len(listed)) + u32(degree))
    stream = keystream(key, 8 * len(listed))
    words = [int.from_bytes(stream[8 * rank : 8 * rank + 8], "little") for rank in range(len(listed))]
    return [index for _, index in sorted(zip(words, listed, strict=True))]


class Listing:
    """Who is listed under which root, and what follows from it."""

    def __init__(self, cohort: Cohort, tolerance: Tolerance | None, listed: list[int], root: bytes) -> None:
        """``NoDegree`` if so few members have no degree under this tolerance."""
        self.cohort, self.listed, self.root = cohort, listed, root
        self.degree, self.threshold = degree_and_threshold(
            tolerance, cohort.size, cohort.threshold, len(listed)
        )
        content = cohort.digest + root + u32(self.degree) + u32(self.threshold)
        self.digest = sha256(19, content + bitmap(listed, cohort.everybody))
        self.complete = self.degree == len(listed) - 1
        self.least = cohort.threshold  # dealers and survivors
        if tolerance is not None and tolerance.adversary == "semi-honest" and not self.complete:
            self.least = max(self.least, len(listed) - tolerance.counts(cohort.size)[1])
        self.circle = listed if self.complete else circle(listed, self.degree, self.digest)

    def holders(self, index: int) -> list[int]:
        """The member's neighbours and itself, ascending."""
        if self.complete:
            return list(self.listed)
        place, around = self.circle.index(index), range(-self.degree // 2, self.degree // 2 + 1)
        return sorted(self.circle[(place + step) % len(self.circle)] for step in around)

    def neighbours(self, index: int) -> list[int]:
        return [holder for holder in self.holders(index) if holder != index]

    def dealing(self, dealers: list[int]) -> bytes:
        return sha256(20, self.digest + bitmap(dealers, self.cohort.everybody))


def dealers_left(listing: Listing, dealt: list[int]) -> list[int]:
    """Takes out, again and again, whoever has fewer than t holders among those left (section 12.4)."""
    left = list(dealt)
    while out := [i for i in left if len(set(listing.holders(i)) & set(left)) < listing.threshold]:
        left = [index for index in left if index not in out]
    return left
