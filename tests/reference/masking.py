"""The masking protocol a second time: what is derived, and what a client sends and refuses (spec section 12).

Slow and obvious, written from docs/spec.md and not from the toolkit, of which it imports nothing. A party is
a plain object with one method a phase: payload in, payload out. A message that must not be answered raises
``Refused`` with the rule of section 12.3 or 12.4 that it breaks; "4" stands for bytes that are the encoding
of nothing, "8.1" for a key that no honest client sends. The server is in server.py, links are in links.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference.cohort import SIGNATURE_BYTES, Cohort, Listing
from tests.reference.degree import NoDegree, Tolerance
from tests.reference.primitives import (
    Malformed,
    Tape,
    bitmap,
    evaluate,
    from_bitmap,
    hkdf,
    limbs,
    mask,
    merkle_check,
    missing,
    pack,
    polynomials,
    seal,
    sha256,
    share_bytes,
    share_elements,
    sign,
    signed_by,
    u32,
    unseal,
    x25519,
    x25519_public,
)

SHARE, SEALED, COMMITMENTS, TAG = 40, 96, 32, 16  # bytes
SEED, KEY = 0, 1  # kinds of share
REFUSED = 99


class Refused(Exception):
    """What the spec says must not be answered: ``step`` is the rule, such as "12.3 (2)"."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step


def demand(holds: bool, step: str, reason: str) -> None:
    if not holds:
        raise Refused(step, reason)


class Bytes:
    """A payload that is taken apart from the front. Whatever does not fit breaks section 4."""

    def __init__(self, payload: bytes) -> None:
        self._rest = payload

    def take(self, count: int) -> bytes:
        demand(count <= len(self._rest), "4", "too short")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def chosen(self, order: Sequence[int]) -> list[int]:
        try:
            return from_bitmap(self.take((len(order) + 7) // 8), order)
        except Malformed as error:
            raise Refused("4", str(error)) from None

    def finish(self) -> None:
        demand(not self._rest, "4", "bytes left over")


# What is derived (section 12.1 and 12.2).


def leaf(index: int, advertisement: bytes) -> bytes:
    return u32(index) + advertisement


def signed_part(cohort: Cohort, index: int, keys: bytes) -> bytes:
    return cohort.digest + u32(index) + keys


def share_commitment(listing: bytes, dealer: int, holder: int, kind: int, share: bytes) -> bytes:
    return sha256(21, listing + u32(dealer) + u32(holder) + bytes([kind]) + share)[:16]


def seed_commitment(listing: bytes, index: int, seed: bytes) -> bytes:
    return hkdf(seed, 12, listing + u32(index) + u32(index), 32)


def sealing_key(listing: bytes, sender: int, receiver: int, shared: bytes) -> bytes:
    return hkdf(shared, 5, listing + u32(sender) + u32(receiver))


def consistency_tag(dealing: bytes, sender: int, receiver: int, survivors: bytes, shared: bytes) -> bytes:
    return hkdf(shared, 16, dealing + u32(sender) + u32(receiver) + survivors, TAG)


def self_mask_key(dealing: bytes, index: int, seed: bytes) -> bytes:
    return hkdf(seed, 4, dealing + u32(index) + u32(index))


def pairwise_mask_key(dealing: bytes, one: int, other: int, shared: bytes) -> bytes:
    return hkdf(shared, 3, dealing + u32(min(one, other)) + u32(max(one, other)))


class Client:
    """One client. What it knows stands in attributes, so that vectors can show it."""

    def __init__(
        self,
        cohort: Cohort,
        tolerance: Tolerance | None,
        me: int,
        vector: Sequence[int],
        tape: Tape,
        identity: bytes | None = None,
    ) -> None:
        """``identity``: the Ed25519 secret whose public half the cohort pins, if it pins any."""
        self.cohort, self.tolerance, self.me, self.vector, self.tape = cohort, tolerance, me, vector, tape
        self.identity = identity
        self.channel, self.masking, self.seed = tape.read(32), tape.read(32), tape.read(32)
        self.due = 0  # number of the message that is answered next; REFUSED: none

    def _next(self, number: int) -> None:
        """Messages come in order, each once. Whoever answers this one sets ``due`` to the next."""
        due, self.due = self.due, REFUSED
        demand(number >= due or number < 2, "12.3 (6)", "a second survivor set or unmask message")
        demand(number == due, "12.3 (4)", "a message out of order")

    def advertise(self) -> bytes:
        keys = x25519_public(self.channel) + x25519_public(self.masking)
        self.advertisement = keys
        if self.identity is not None:
            self.advertisement += sign(self.identity, 15, signed_part(self.cohort, self.me, keys))
        return self.advertisement

    def share_keys(self, payload: bytes) -> bytes:
        self._next(0)
        self._read_listing(Bytes(payload))
        secrets = limbs(self.seed) + limbs(self.masking)
        self.polynomials = polynomials(secrets, self.listing.threshold, self.tape)
        self.dealt = {}
        for j in self.listing.holders(self.me):
            elements = evaluate(self.polynomials, j + 1)
            self.dealt[j] = (share_bytes(elements[:5]), share_bytes(elements[5:]))
        self.due = 1
        return self.dealing_payload()

    def dealing_payload(self) -> bytes:
        """Commitments to, and sealed, whatever stands in ``dealt``."""
        digest = self.listing.digest
        out = seed_commitment(digest, self.me, self.seed)
        for j, shares in self.dealt.items():
            for kind in (SEED, KEY):
                out += share_commitment(digest, self.me, j, kind, shares[kind])
        for j in self.listing.neighbours(self.me):
            out += seal(sealing_key(digest, self.me, j, self.shared_channel[j]), b"".join(self.dealt[j]))
        return out

    def _read_listing(self, reader: Bytes) -> None:
        cohort = self.cohort
        demand(reader.take(32) == cohort.digest, "12.3 (1)", "another cohort")
        root, listed = reader.take(32), reader.chosen(cohort.everybody)
        demand(self.me in listed, "12.3 (2)", "a list without me")
        demand(len(listed) >= cohort.threshold, "12.3 (2)", "too few listed")
        try:
            self.listing = Listing(cohort, self.tolerance, listed, root)
        except NoDegree as error:
            raise Refused("12.3 (2)", str(error)) from None
        holders = self.listing.holders(self.me)
        found = {j: reader.take(cohort.advertisement_bytes) for j in holders}
        leaves = {listed.index(j): leaf(j, advertisement) for j, advertisement in found.items()}
        proof = reader.take(32 * len(missing(leaves, len(listed))))
        reader.finish()
        under = merkle_check(root, leaves, len(listed), proof)
        demand(under, "12.3 (3)", "advertisements that are not under the root")
        demand(found[self.me] == self.advertisement, "12.3 (3)", "my own keys altered")
        self.shared_channel, self.shared_masking = {}, {}
        for j in self.listing.neighbours(self.me):
            keys, signature = found[j][:-SIGNATURE_BYTES], found[j][-SIGNATURE_BYTES:]
            if not cohort.identities:
                keys = found[j]
            elif not signed_by(cohort.identities[j], 15, signed_part(cohort, j, keys), signature):
                raise Refused("12.3 (3)", f"an advertisement that {j} did not sign for this round")
            try:
                self.shared_channel[j] = x25519(self.channel, keys[:32])
                self.shared_masking[j] = x25519(self.masking, keys[32:])
            except Malformed as error:
                raise Refused("12.3 (4)", str(error)) from None

    def masked_input(self, payload: bytes) -> bytes:
        self._next(1)
        reader, listing = Bytes(payload), self.listing
        self.dealers = reader.chosen(self.cohort.everybody)
        self._demand_members(self.dealers, listing.listed)
        self.dealing = listing.dealing(self.dealers)
        self.partners = [j for j in listing.neighbours(self.me) if j in self.dealers]
        self.held = {self.me: self.dealt[self.me]}  # dealer → its two shares for me
        for i in self.partners:
            committed, sealed = reader.take(COMMITMENTS), reader.take(SEALED)
            opened = unseal(sealing_key(listing.digest, i, self.me, self.shared_channel[i]), sealed)
            if opened is not None and self._is_good(i, opened, committed):
                self.held[i] = (opened[:SHARE], opened[SHARE:])
        reader.finish()
        self.masked = self._mask()
        self.due = 2
        return pack(self.masked, self.cohort.sum_bits)

    def _is_good(self, dealer: int, both: bytes, committed: bytes) -> bool:
        """Whether these are two shares, and those committed to. If not, others hold good ones."""
        try:
            share_elements(both)
        except Malformed:
            return False
        shares, digest = (both[:SHARE], both[SHARE:]), self.listing.digest
        mine = [share_commitment(digest, dealer, self.me, kind, shares[kind]) for kind in (SEED, KEY)]
        return b"".join(mine) == committed

    def _mask(self) -> list[int]:
        bits, length = self.cohort.sum_bits, self.cohort.length
        self.mask_keys = {self.me: self_mask_key(self.dealing, self.me, self.seed)}
        for j in self.partners:
            self.mask_keys[j] = pairwise_mask_key(self.dealing, self.me, j, self.shared_masking[j])
        total = list(self.vector)
        for j, key in self.mask_keys.items():
            sign = 1 if j >= self.me else -1
            total = [value + sign * more for value, more in zip(total, mask(key, length, bits), strict=True)]
        return [value % 2**bits for value in total]

    def _demand_members(self, members: list[int], before: list[int]) -> None:
        """What holds for A and for V alike (section 12.3, rule 2)."""
        demand(self.me in members, "12.3 (2)", "a set without me")
        demand(len(members) >= self.listing.least, "12.3 (2)", "fewer members than the threshold")
        demand(set(members) <= set(before), "12.3 (2)", "members that were not in the set before")
        mine = set(self.listing.holders(self.me)) & set(members)
        demand(len(mine) >= self.listing.threshold, "12.3 (2)", "fewer than t of my holders")

    def consistency(self, payload: bytes) -> bytes:
        self._next(2)
        reader = Bytes(payload)
        self.survivors = reader.chosen(self.cohort.everybody)
        reader.finish()
        self._demand_members(self.survivors, self.dealers)
        self.told = bitmap(self.survivors, self.cohort.everybody)
        alive = [j for j in self.listing.neighbours(self.me) if j in self.survivors]
        self.tags = {
            j: consistency_tag(self.dealing, self.me, j, self.told, self.shared_channel[j]) for j in alive
        }
        self.due = 3
        return b"".join(self.tags.values())

    def unmask(self, payload: bytes) -> bytes:
        self._next(3)
        reader, holders = Bytes(payload), self.listing.holders(self.me)
        agreed = 1  # I was shown these sets
        for j in reader.chosen(holders):
            found = reader.take(TAG)
            demand(j in self.tags, "12.3 (2)", f"a tag of {j}, who is no survivor among my neighbours")
            expected = consistency_tag(self.dealing, j, self.me, self.told, self.shared_channel[j])
            agreed += found == expected
        reader.finish()
        demand(agreed >= self.listing.threshold, "12.3 (5)", "too few were shown the same sets")
        kinds = {i: SEED if i in self.survivors else KEY for i in sorted(self.held)}
        self.due = 4
        return bitmap(kinds, holders) + b"".join(self.held[i][kind] for i, kind in kinds.items())
