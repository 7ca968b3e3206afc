"""The masking client: Bonawitz et al. 2017, figure 4, from the user's side (spec section 12.3).

It refuses what a lying server could gain by: see each handler. After a refusal it answers nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpc import field, merkle, shamir
from mpc.errors import DecodeError, LocalError, PeerError
from mpc.party import Message
from mpc.prg import Usage, equal
from mpc.snapshot import Kind
from mpc.tape import RandomTape
from mpc.wire import Subset
from secagg.checks.base import Check
from secagg.client import RoundClient, Vector
from secagg.cohort import Cohort
from secagg.identity import verify
from secagg.masking import keys
from secagg.masking.listing import Listing, listing_kinds
from secagg.masking.messages import (
    ADVERTISE,
    CHECK,
    COMMITTED_BYTES,
    CONSISTENCY,
    DEALT_BYTES,
    INPUT,
    KEY,
    LIMBS,
    SEED,
    SHARE,
    UNMASK,
    ConsistencyTags,
    KeyAdvertisement,
    KeyList,
    MaskedInput,
    RelayedShares,
    RelayedTags,
    SealedShares,
    SurvivorSet,
    UnmaskShares,
    share_of,
)
from secagg.masking.parameters import Tolerance


class MaskingClient(RoundClient):
    """One client of one round."""

    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        ("advertised", SHARE): "_on_key_list",
        ("shared", INPUT): "_on_relayed_shares",
        ("masked", CHECK): "_on_challenge",
        ("masked", CONSISTENCY): "_on_survivor_set",
        ("proved", CONSISTENCY): "_on_survivor_set",
        ("attested", UNMASK): "_on_relayed_tags",
    }
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        ("ready", "advertised"): RoundClient.START,
        ("advertised", "shared"): SHARE,
        ("shared", "masked"): INPUT,
        ("masked", "proved"): CHECK,
        ("masked", "attested"): CONSISTENCY,
        ("proved", "attested"): CONSISTENCY,
        ("attested", "unmasked"): UNMASK,
    }
    saved: ClassVar[tuple[str, ...]] = (
        *("_channel", "_mask", "_self_seed", "_listing", "_holders", "_channel_secrets", "_mask_secrets"),
        *("_dealers", "_survivors", "_held"),
    )
    _listing: Listing  # from the key list on

    def __init__(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        checks: Sequence[Check],
        tape: RandomTape,
        tolerance: Tolerance | None = None,
    ) -> None:
        super().__init__(cohort, me, vector, checks, tape, "ready")
        self._tolerance = tolerance
        self._channel = keys.KeyPair.generate(tape)
        self._mask = keys.KeyPair.generate(tape)
        self._self_seed = tape.read(keys.SECRET_BYTES)
        self._holders: tuple[int, ...] = ()  # of my shares, myself included
        self._channel_secrets: dict[int, bytes] = {}  # by neighbour
        self._mask_secrets: dict[int, bytes] = {}
        self._dealers = self._survivors = self._subset(())
        self._held: dict[int, bytes] = {}  # by dealer: its self-mask seed's share for me, its masking key's

    def kinds(self) -> tuple[Kind, ...]:
        return (*super().kinds(), keys.KEY_PAIR, *listing_kinds(self.cohort, self._tolerance))

    def start(self) -> list[Message]:
        if self.state != "ready":
            raise LocalError("state", self.state, "a client starts once")
        self.state = "advertised"
        advertisement = KeyAdvertisement(self._channel.public, self._mask.public)
        if self.identity is not None:
            content = advertisement.content(self.cohort.digest, self.index)
            advertisement = replace(
                advertisement, signature=self.identity.sign(Usage.KEY_ADVERTISEMENT, content)
            )
        return [self._to_server(ADVERTISE, advertisement.encode())]

    # Round 1: ShareKeys.

    def _on_key_list(self, message: Message) -> list[Message]:
        def holders(digest: bytes, root: bytes, listed: Subset) -> tuple[int, ...]:
            if digest != self.cohort.digest:
                what = "session, round, members or model hash differ"
                raise self._refuse(message, f"its key list is for another cohort: {what}")
            everybody = self._subset(range(self.cohort.size))
            self._check_set(message, listed, "key list", everybody, self.cohort.threshold)
            try:
                self._listing = Listing(self.cohort, self._tolerance, listed, root)
            except LocalError as error:
                raise self._refuse(message, f"the key list is too short: {error}") from None
            return self._listing.graph.holders(self.index)

        listed = KeyList.decode(message.payload, self.cohort.size, self.cohort.signed, holders)
        self._check_keys(message, listed)
        self._holders = tuple(listed.keys)
        self._agree(listed.keys)
        self.state = "shared"
        return [self._to_server(SHARE, self._sealed_shares().encode())]

    def _check_keys(self, message: Message, listed: KeyList) -> None:
        ranks = np.searchsorted(self._listing.listed.indices(), list(listed.keys)).tolist()
        shown = zip(ranks, listed.keys.items(), strict=True)
        leaves = {rank: advertisement.leaf(index) for rank, (index, advertisement) in shown}
        merkle.verify(listed.root, leaves, len(listed.listed), listed.proof)
        own = listed.keys[self.index]
        if (own.channel_key, own.mask_key) != (self._channel.public, self._mask.public):
            raise self._refuse(message, "the key list holds other keys for me than those I advertised")
        if self.cohort.signed:
            for index, advertisement in listed.keys.items():
                self._check_advertisement(message, index, advertisement)

    def _check_advertisement(self, message: Message, index: int, advertisement: KeyAdvertisement) -> None:
        """Keys that the member itself signed, for this very round: the server cannot put in its own."""
        content = advertisement.content(self.cohort.digest, index)
        identity = self.cohort.identities[index]
        try:
            verify(identity, Usage.KEY_ADVERTISEMENT, content, advertisement.signature)
        except DecodeError:
            name = self.cohort.members[index]
            raise self._refuse(message, f"the keys listed for {name} are not signed by {name}") from None

    def _agree(self, holders: Mapping[int, KeyAdvertisement]) -> None:
        """All agreements at once: a key of small order is refused before anything is dealt."""
        channel, mask = keys.Agreement(self._channel.private), keys.Agreement(self._mask.private)
        for peer, advertisement in holders.items():
            if peer != self.index:
                self._channel_secrets[peer] = channel.with_peer(advertisement.channel_key)
                self._mask_secrets[peer] = mask.with_peer(advertisement.mask_key)

    def _sealed_shares(self) -> SealedShares:
        """For each holder a share of either secret, committed to and sealed."""
        secrets = np.concatenate(
            [shamir.to_limbs(self._self_seed), shamir.to_limbs(self._mask.private)],
        )
        points = [holder + 1 for holder in self._holders]
        dealt = field.to_bytes(shamir.split(secrets, self._listing.threshold, points, self._tape).reshape(-1))
        sealed = []
        for place, holder in enumerate(self._holders):
            shares = dealt[place * DEALT_BYTES : (place + 1) * DEALT_BYTES]
            if holder == self.index:
                self._held[holder] = shares
                continue
            secret = self._channel_secrets[holder]
            sealed.append(keys.seal(secret, self._listing.digest, self.index, holder, shares))
        commitment = keys.seed_commitment(self._self_seed, self._listing.digest, self.index)
        holders = np.array(self._holders)
        committed = self._commitments(np.full(holders.size, self.index), holders, dealt)
        return SealedShares(commitment, committed.tobytes(), b"".join(sealed))

    def _commitments(
        self, dealers: NDArray[np.int64], holders: NDArray[np.int64], dealt: bytes
    ) -> NDArray[np.uint8]:
        """Those of both shares that each dealer deals a holder: shape (len(dealers), COMMITTED_BYTES)."""
        kinds, listing = np.tile([SEED, KEY], dealers.size), self._listing.digest
        found = keys.share_commitments(listing, np.repeat(dealers, 2), np.repeat(holders, 2), kinds, dealt)
        return found.reshape(dealers.size, COMMITTED_BYTES)

    # Round 2: MaskedInputCollection.

    def _on_relayed_shares(self, message: Message) -> list[Message]:
        relayed = RelayedShares.decode(message.payload, self.cohort.size)
        dealers = "list of those who shared keys"
        self._dealers = self._subset(relayed.dealers)
        self._check_set(message, self._dealers, dealers, self._listing.listed, self._listing.least)
        self._check_holders(message, self._dealers, dealers)
        self._unseal(relayed)
        self.state = "masked"
        return [self._to_server(INPUT, self._masked_input().encode())]

    def _unseal(self, relayed: RelayedShares) -> None:
        """Keep the dealers' shares. One that dealt rubbish costs us nothing: others may hold good ones.

        Shares that it has not committed to are rubbish: the server would not take them from us.
        """
        opened, committed = {}, []
        for dealer, commitments, sealed in relayed.by_dealer(self._channel_secrets):
            secret = self._channel_secrets[dealer]
            try:
                shares = keys.unseal(secret, self._listing.digest, dealer, self.index, sealed)
                field.from_bytes(shares)
            except DecodeError:
                continue
            opened[dealer] = shares
            committed.append(commitments)
        dealers = np.array(list(opened), np.int64)
        found = self._commitments(dealers, np.full(dealers.size, self.index), b"".join(opened.values()))
        expected = np.frombuffer(b"".join(committed), np.uint8).reshape(found.shape)
        for dealer, good in zip(opened, (found == expected).all(axis=1), strict=True):
            if good:
                self._held[dealer] = opened[dealer]

    def _masked_input(self) -> MaskedInput:
        """y = x + PRG(b) ± Σ PRG(s_ij) in the ring (Bonawitz et al. 2017, section 4.1)."""
        dealing, ring = self._listing.dealing(self._dealers), self.cohort.ring
        streams = [(keys.self_mask_key(self._self_seed, dealing, self.index), 1)]
        for peer, secret in self._mask_secrets.items():
            if peer in self._dealers:
                key = keys.pairwise_mask_key(secret, dealing, self.index, peer)
                streams.append((key, keys.mask_sign(self.index, peer)))
        self._mask_secrets.clear()
        packed = ring.pack_masked(self._vector, streams)
        if not self._provers:
            self._vector = np.empty(0, np.int64)
        return MaskedInput(packed)

    # Round 3: ConsistencyCheck.

    def _on_survivor_set(self, message: Message) -> list[Message]:
        """Tell every neighbour that survived, under the key shared with it alone, which sets I was shown."""
        survivors = SurvivorSet.decode(message.payload, self.cohort.size).survivors
        self._survivors = self._subset(survivors)
        self._check_set(message, self._survivors, "survivor set", self._dealers, self._listing.least)
        self._check_holders(message, self._survivors, "survivor set")
        tag = self._tagger()
        alive = [peer for peer in self._channel_secrets if peer in self._survivors]
        self.state = "attested"
        tags = ConsistencyTags(b"".join(tag(self.index, peer) for peer in alive))
        return [self._to_server(CONSISTENCY, tags.encode())]

    def _tagger(self) -> Callable[[int, int], bytes]:
        """(sender, receiver) → the tag of one of us for the other, if both were shown the same sets."""
        dealing = self._listing.dealing(self._dealers)

        def tag(sender: int, receiver: int) -> bytes:
            peer = receiver if sender == self.index else sender
            secret, survivors = self._channel_secrets[peer], self._survivors.bitmap
            return keys.consistency_tag(secret, dealing, sender, receiver, survivors)

        return tag

    # Round 4: Unmasking.

    def _on_relayed_tags(self, message: Message) -> list[Message]:
        """Reveal nothing unless enough of my holders, me among them, were shown the same sets.

        Who was shown others, or lies, just does not count: no single peer can stop the round.
        """
        tags = RelayedTags.decode(message.payload, self._holders).tags
        if strangers := [peer for peer in tags if peer == self.index or peer not in self._survivors]:
            names = self.cohort.some_names(strangers)
            raise self._refuse(message, f"tags of clients that are not survivors, or mine: {names}")
        tag = self._tagger()
        agreeing = 1 + sum(equal(tags[peer], tag(peer, self.index)) for peer in tags)
        if agreeing < self._listing.threshold:
            raise self._refuse(
                message,
                f"{agreeing} survivors were shown the same sets as I; "
                f"the threshold is {self._listing.threshold}",
            )
        return self._reveal()

    def _reveal(self) -> list[Message]:
        # One kind of share of each dealer, once: both would open its input.
        dealers = tuple(sorted(self._held))
        kinds = [SEED if index in self._survivors else KEY for index in dealers]
        shares = [share_of(self._held[index], kind) for index, kind in zip(dealers, kinds, strict=True)]
        self._held.clear()
        self.state = "unmasked"
        revealed = UnmaskShares(dealers, field.from_bytes(b"".join(shares)).reshape(len(dealers), LIMBS))
        return [self._to_server(UNMASK, revealed.encode(self._holders))]

    def _check_set(self, message: Message, found: Subset, what: str, within: Subset, least: int) -> None:
        """Every set that the server states must hold me, reach the threshold, and lie in the one before."""
        if self.index not in found:
            raise self._refuse(message, f"the {what} leaves me out")
        if len(found) < least:
            raise self._refuse(message, f"the {what} has {len(found)} clients; the threshold is {least}")
        if unknown := np.flatnonzero(found.mask() & ~within.mask()).tolist():
            names = self.cohort.some_names(unknown)
            raise self._refuse(message, f"the {what} names clients that I have not seen before: {names}")

    def _check_holders(self, message: Message, found: Subset, what: str) -> None:
        """... and enough of those who hold my shares."""
        count = sum(holder in found for holder in self._holders)
        if count < self._listing.threshold:
            raise self._refuse(
                message, f"the {what} has {count} holders of my shares; it takes {self._listing.threshold}"
            )

    def _subset(self, indices: Collection[int]) -> Subset:
        return Subset.of(indices, self.cohort.size)

    @staticmethod
    def _refuse(message: Message, reason: str) -> PeerError:
        return PeerError(message.sender, message.phase, reason)
