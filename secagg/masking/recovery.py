"""Recovery: the shares that come back, and the masks that follow from them (spec section 12.4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpc import field, shamir
from mpc.errors import AbortError, DecodeError
from mpc.prg import equal
from mpc.wire import Subset
from secagg.cohort import Cohort
from secagg.masking import keys
from secagg.masking.keys import SHARE_COMMITMENT_BYTES
from secagg.masking.listing import Listing
from secagg.masking.messages import KEY, LIMBS, SEED, KeyAdvertisement, Shares, UnmaskShares
from secagg.masking.unmasking import Stream


class Recovery:
    """Of each dealer one secret: the self-mask seed of a survivor, the masking key of a dropout.

    Tables are by a dealer's rank and the place of a holder among its holders. ``AbortError`` at once if
    someone's secret can no longer be had, since too few of its holders survived.
    """

    saved: ClassVar[tuple[str, ...]] = ("_shares", "_there")

    def __init__(
        self,
        cohort: Cohort,
        listing: Listing,
        advertised: Mapping[int, KeyAdvertisement],
        seed_commitments: Mapping[int, bytes],
        share_commitments: NDArray[np.uint8],
        dealers: Collection[int],
        survivors: Collection[int],
    ) -> None:
        """``share_commitments``: shape (members, holders of each, COMMITTED_BYTES)."""
        self._cohort = cohort
        self._listing = listing
        self._advertised = advertised
        self._seed_commitments = seed_commitments
        self._share_commitments = share_commitments
        self._dealers = Subset.of(dealers, cohort.size)
        self._dealt = listing.mask(dealers)
        self._alive = listing.mask(survivors)
        self._shares: Shares = np.zeros((*listing.holders.shape, LIMBS), np.uint64)
        self._there = np.zeros(listing.holders.shape, bool)
        listing.require(survivors, "survived")
        self._require(self._alive[listing.holders], "survived")

    def add(self, rank: int, revealed: UnmaskShares) -> None:
        """Take what the client of this rank reveals.

        ``DecodeError``, and nothing is taken, if one of the shares is not what its dealer committed to: a
        holder can withhold a share, and not replace it.
        """
        listing = self._listing
        dealers = np.searchsorted(listing.indices, revealed.dealers)
        if not self._dealt[dealers].all():
            raise DecodeError("shares of clients that dealt none")
        places = listing.places[rank, np.searchsorted(listing.holders[rank], dealers)]
        kinds = np.where(self._alive[dealers], SEED, KEY)
        found = keys.share_commitments(
            listing.digest,
            listing.indices[dealers],
            np.full(dealers.size, listing.members[rank]),
            kinds,
            field.to_bytes(revealed.shares),
        )
        committed = self._share_commitments.reshape(*listing.holders.shape, 2, SHARE_COMMITMENT_BYTES)
        wrong = (found != committed[dealers, places, kinds]).any(axis=1)
        if wrong.any():
            dealer = self._cohort.members[revealed.dealers[int(np.argmax(wrong))]]
            raise DecodeError(f"a share that {dealer} did not deal to it")
        self._shares[dealers, places] = revealed.shares
        self._there[dealers, places] = True

    def streams(self) -> list[Stream]:
        """What has to be added to the sum of the survivors' masked inputs: (mask key, sign).

        ``AbortError`` if too few holders answered for a dealer, or if it dealt inconsistent shares.
        """
        dealing = self._listing.dealing(self._dealers)
        streams = []
        for dealer, secret in self._secrets().items():
            alive = self._alive[self._listing.rank[dealer]]
            unmask = self._self_mask if alive else self._orphaned_masks
            streams += unmask(dealer, secret, dealing)
        return streams

    def _self_mask(self, survivor: int, seed: bytes, dealing: bytes) -> list[Stream]:
        """The mask that a survivor's input holds for itself alone."""
        commitment = keys.seed_commitment(seed, self._listing.digest, survivor)
        if not equal(commitment, self._seed_commitments[survivor]):
            raise self._inconsistent(survivor, "the self-mask seed that it committed to")
        return [(keys.self_mask_key(seed, dealing, survivor), -1)]

    def _orphaned_masks(self, dropped: int, private: bytes, dealing: bytes) -> list[Stream]:
        """What the survivors' inputs still hold of the masks that they had in common with a dropout."""
        if keys.KeyPair.from_private(private).public != self._advertised[dropped].mask_key:
            raise self._inconsistent(dropped, "the masking key that it advertised")
        agreement = keys.Agreement(private)
        streams = []
        ranks, _ = self._listing.neighbours(self._listing.rank[dropped], self._alive)
        for rank in ranks:
            peer = self._listing.members[rank]
            shared = agreement.with_peer(self._advertised[peer].mask_key)
            key = keys.pairwise_mask_key(shared, dealing, peer, dropped)
            streams.append((key, -keys.mask_sign(peer, dropped)))
        return streams

    def _secrets(self) -> dict[int, bytes]:
        """Each dealer's secret. Dealers whose shares come from the same clients, on the complete graph as a
        rule all of them, are interpolated at once."""
        self._require(self._there, "answered")
        listing, members = self._listing, self._listing.members
        groups: defaultdict[bytes, list[int]] = defaultdict(list)
        chosen: dict[int, NDArray[np.intp]] = {}
        for dealer in self._dealers:
            rank = listing.rank[dealer]
            chosen[rank] = np.flatnonzero(self._there[rank])[: listing.threshold]
            groups[listing.holders[rank, chosen[rank]].tobytes()].append(rank)
        secrets: dict[int, bytes] = {}
        for group in groups.values():
            points = [members[holder] + 1 for holder in listing.holders[group[0], chosen[group[0]]]]
            shares = np.stack([self._shares[rank, chosen[rank]] for rank in group], axis=1)
            for rank, limbs in zip(group, shamir.combine(points, shares), strict=True):
                secrets[members[rank]] = self._to_secret(members[rank], limbs)
        return secrets

    def _to_secret(self, dealer: int, limbs: Shares) -> bytes:
        try:
            return shamir.from_limbs(limbs, keys.SECRET_BYTES)
        except DecodeError:
            raise self._inconsistent(dealer, "any secret at all") from None

    def _inconsistent(self, dealer: int, what: str) -> AbortError:
        """Whose shares are all as committed and yet give something else has dealt them so."""
        return AbortError(
            f"a client dealt inconsistent shares: they do not give {what}",
            {"client": self._cohort.members[dealer]},
        )

    def _require(self, there: NDArray[np.bool_], what: str) -> None:
        """Abort unless a threshold of each dealer's holders is ``there``."""
        threshold = self._listing.threshold
        lacking = self._dealt & (there.sum(axis=1) < threshold)
        for rank in np.flatnonzero(lacking)[:1]:
            count, holders = int(there[rank].sum()), there.shape[1]
            raise AbortError(
                f"a client's secret cannot be recovered: {count} of the {holders} that hold its shares "
                f"{what}; the threshold is {threshold}",
                {"client": self._cohort.members[self._listing.members[rank]]},
            )

    def __repr__(self) -> str:
        return f"Recovery(<secret>, {int(self._dealt.sum())} dealers)"
