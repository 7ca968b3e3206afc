"""The server of the masking protocol a second time (spec sections 12.2 and 12.4)."""

from __future__ import annotations

from collections.abc import Mapping

from tests.reference.cohort import Cohort, Listing, dealers_left
from tests.reference.degree import Tolerance
from tests.reference.masking import (
    COMMITMENTS,
    KEY,
    SEALED,
    SEED,
    SHARE,
    TAG,
    Bytes,
    Refused,
    demand,
    leaf,
    pairwise_mask_key,
    seed_commitment,
    self_mask_key,
    share_commitment,
    signed_part,
)
from tests.reference.primitives import (
    Malformed,
    bitmap,
    from_limbs,
    interpolate,
    mask,
    merkle_proof,
    merkle_root,
    share_elements,
    signed_by,
    unpack,
    x25519,
    x25519_public,
)


class Aborted(Exception):
    """The server ends the round without a sum. ``dealer``: whose shares are inconsistent, if that is why."""

    def __init__(self, reason: str, dealer: int | None = None) -> None:
        super().__init__(reason)
        self.dealer = dealer


class Server:
    """The server. Methods take what the clients sent, by index; a bad message costs its sender the round."""

    def __init__(self, cohort: Cohort, tolerance: Tolerance | None) -> None:
        self.cohort, self.tolerance = cohort, tolerance
        self.refused: dict[int, Refused] = {}

    def _good(self, messages: Mapping[int, bytes], check: str) -> dict[int, bytes]:
        """Those whose messages the check lets through; the others are refused."""
        found = {}
        for index, payload in sorted(messages.items()):
            try:
                getattr(self, check)(index, payload)
            except Refused as refused:
                self.refused[index] = refused
            else:
                found[index] = payload
        if len(found) < self.cohort.threshold:
            raise Aborted(f"{len(found)} left, fewer than the threshold")
        return found

    def list_keys(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        self.advertisements = self._good(messages, "_check_advertisement")
        return self.key_lists()

    def key_lists(self) -> dict[int, bytes]:
        """Of whatever stands in ``advertisements``: to each listed client those of its holders."""
        listed = sorted(self.advertisements)
        leaves = [leaf(j, self.advertisements[j]) for j in listed]
        root = merkle_root(leaves)
        self.listing = Listing(self.cohort, self.tolerance, listed, root)
        head = self.cohort.digest + root + bitmap(listed, self.cohort.everybody)
        return {i: head + self._own_part(i, listed, leaves) for i in listed}

    def _own_part(self, index: int, listed: list[int], leaves: list[bytes]) -> bytes:
        holders = self.listing.holders(index)
        shown = b"".join(self.advertisements[j] for j in holders)
        return shown + merkle_proof(leaves, [listed.index(j) for j in holders])

    def _check_advertisement(self, index: int, payload: bytes) -> None:
        demand(len(payload) == self.cohort.advertisement_bytes, "4", "another length")
        for start in (0, 32):
            try:
                x25519(bytes(range(32)), payload[start : start + 32])
            except Malformed as error:
                raise Refused("8.1", str(error)) from None
        if self.cohort.identities:
            content = signed_part(self.cohort, index, payload[:64])
            good = signed_by(self.cohort.identities[index], 15, content, payload[64:])
            demand(good, "7.1", "an advertisement that its sender did not sign for this round")

    def route(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        dealt = self._good(messages, "_check_dealt")
        self.dealers = dealers_left(self.listing, list(dealt))
        if len(self.dealers) < self.listing.least:
            raise Aborted("too few dealers with t holders")
        self.dealing = self.listing.dealing(self.dealers)
        head = bitmap(self.dealers, self.cohort.everybody)
        self.seed_commitments = {i: dealt[i][:32] for i in self.dealers}
        self.commitments = {(i, j): self._cut(dealt[i], i, j)[0] for i in dealt for j in self._holders(i)}
        out = {}
        for j in self.dealers:
            parts = [self._cut(dealt[i], i, j) for i in self._holders(j) if i in self.dealers and i != j]
            out[j] = head + b"".join(committed + sealed for committed, sealed in parts)
        return out

    def _holders(self, index: int) -> list[int]:
        return self.listing.holders(index)

    def _cut(self, payload: bytes, dealer: int, holder: int) -> tuple[bytes, bytes]:
        """Both commitments, and the sealed shares (none for the dealer itself)."""
        holders, neighbours = self._holders(dealer), self.listing.neighbours(dealer)
        at = 32 + COMMITMENTS * holders.index(holder)
        committed = payload[at : at + COMMITMENTS]
        if holder == dealer:
            return committed, b""
        at = 32 + COMMITMENTS * len(holders) + SEALED * neighbours.index(holder)
        return committed, payload[at : at + SEALED]

    def _check_dealt(self, index: int, payload: bytes) -> None:
        k = self.listing.degree
        demand(len(payload) == 32 + COMMITMENTS * (k + 1) + SEALED * k, "4", "another length")

    def ask_consistency(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        masked = self._good(messages, "_check_masked")
        self.survivors = list(masked)
        if len(self.survivors) < self.listing.least:
            raise Aborted("more are gone than the graph holds for")
        bits, length = self.cohort.sum_bits, self.cohort.length
        self.masked = {i: unpack(payload, length, bits) for i, payload in masked.items()}
        for dealer in self.dealers:
            if len(set(self._holders(dealer)) & set(self.survivors)) < self.listing.threshold:
                raise Aborted(f"client {dealer} has fewer than t holders among the survivors")
        return {i: bitmap(self.survivors, self.cohort.everybody) for i in self.survivors}

    def _check_masked(self, index: int, payload: bytes) -> None:
        try:
            unpack(payload, self.cohort.length, self.cohort.sum_bits)
        except Malformed as error:
            raise Refused("4", str(error)) from None

    def _alive(self, index: int) -> list[int]:
        return [j for j in self.listing.neighbours(index) if j in self.survivors]

    def ask_unmask(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        tagged = self._good(messages, "_check_tags")
        out = {}
        for j in tagged:
            made = [i for i in self._alive(j) if i in tagged]
            tags = [tagged[i][TAG * self._alive(i).index(j) :][:TAG] for i in made]
            out[j] = bitmap(made, self._holders(j)) + b"".join(tags)
        return out

    def _check_tags(self, index: int, payload: bytes) -> None:
        demand(len(payload) == TAG * len(self._alive(index)), "4", "another length")

    def open(self, messages: Mapping[int, bytes]) -> list[int]:
        """The sum over the survivors; ``Aborted`` if it cannot be opened."""
        self.shares: dict[int, dict[int, bytes]] = {i: {} for i in self.dealers}  # dealer → holder → share
        self._good(messages, "_check_shares")
        bits, length = self.cohort.sum_bits, self.cohort.length
        total = [sum(column) for column in zip(*self.masked.values(), strict=True)]
        self.opened = {dealer: self._secret_of(dealer) for dealer in self.dealers}
        self.removed = [entry for dealer in self.dealers for entry in self._masks_of(dealer)]
        for _, _, key, sign in self.removed:
            total = [value - sign * more for value, more in zip(total, mask(key, length, bits), strict=True)]
        wrapped = [value % 2**bits for value in total]
        found = [value - 2**bits if value >= 2 ** (bits - 1) else value for value in wrapped]
        if max(map(abs, found)) > len(self.survivors) * self.cohort.max_entry:
            raise Aborted("a sum that no survivors have")
        return found

    def _check_shares(self, index: int, payload: bytes) -> None:
        reader, holders = Bytes(payload), self._holders(index)
        given = {}
        for dealer in reader.chosen(holders):
            share, kind = reader.take(SHARE), SEED if dealer in self.survivors else KEY
            demand(dealer in self.dealers, "12.4", f"a share of {dealer}, who has not dealt")
            at = 16 * kind
            committed = self.commitments[dealer, index][at : at + 16]
            mine = share_commitment(self.listing.digest, dealer, index, kind, share)
            demand(mine == committed, "12.4", f"a share that {dealer} did not commit to")
            given[dealer] = share
        reader.finish()
        for dealer, share in given.items():
            self.shares[dealer][index] = share

    def _secret_of(self, dealer: int) -> bytes:
        """b_i of a survivor, s_i of a dropout, from the first t shares by index."""
        t, shares, digest = self.listing.threshold, self.shares[dealer], self.listing.digest
        if len(shares) < t:
            raise Aborted(f"{len(shares)} shares of client {dealer}, fewer than t")
        used = {j + 1: shares[j] for j in sorted(shares)[:t]}
        try:
            secret = from_limbs(interpolate({at: share_elements(share) for at, share in used.items()}))
        except Malformed:
            raise Aborted("inconsistent shares", dealer) from None
        if dealer in self.survivors:
            right = seed_commitment(digest, dealer, secret) == self.seed_commitments[dealer]
        else:
            right = x25519_public(secret) == self.advertisements[dealer][32:64]
        if not right:
            raise Aborted("inconsistent shares", dealer)
        return secret

    def _masks_of(self, dealer: int) -> list[tuple[int, int, bytes, int]]:
        """The masks that a dealer leaves in the sum: (dealer, survivor that added it, key, sign)."""
        secret = self.opened[dealer]
        if dealer in self.survivors:
            return [(dealer, dealer, self_mask_key(self.dealing, dealer, secret), 1)]
        found = []
        for i in self._alive(dealer):
            shared = x25519(secret, self.advertisements[i][32:64])
            key = pairwise_mask_key(self.dealing, i, dealer, shared)
            found.append((dealer, i, key, 1 if i < dealer else -1))
        return found
