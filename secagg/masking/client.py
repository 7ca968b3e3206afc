"""The masking client: Bonawitz et al. 2017, figure 4, from the user's side (spec section 12.3).

It refuses what a lying server could gain by: see each handler. After a refusal it answers nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from mpc import field, shamir
from mpc.errors import DecodeError, LocalError, PeerError
from mpc.party import Message
from mpc.prg import Usage, equal
from mpc.tape import RandomTape
from mpc.wire import Writer
from secagg.checks.base import Check
from secagg.client import RoundClient, Vector
from secagg.cohort import Cohort
from secagg.identity import verify
from secagg.masking import keys
from secagg.masking.messages import (
    ADVERTISE,
    CHECK,
    CONSISTENCY,
    INPUT,
    LIMBS,
    SHARE,
    UNMASK,
    ConsistencyTags,
    KeyAdvertisement,
    KeyList,
    MaskedInput,
    RelayedShares,
    RelayedTags,
    SealedShares,
    Shares,
    SurvivorSet,
    UnmaskShares,
)


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

    def __init__(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        checks: Sequence[Check],
        tape: RandomTape,
    ) -> None:
        super().__init__(cohort, me, vector, checks, tape, "ready")
        self._survivors: tuple[int, ...] = ()
        self._channel = keys.KeyPair.generate(tape)
        self._mask = keys.KeyPair.generate(tape)
        self._self_seed = tape.read(keys.SECRET_BYTES)
        self._peers: Mapping[int, KeyAdvertisement] = {}
        self._channel_secrets: dict[int, bytes] = {}
        self._dealers: tuple[int, ...] = ()
        self._held: dict[int, Shares] = {}  # by dealer, shape (2, LIMBS): self-mask seed, masking key

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
        listed = KeyList.decode(message.payload, self.cohort.size, self.cohort.signed)
        self._check_key_list(message, listed)
        self._peers = listed.keys
        dealt = self._deal(tuple(listed.keys))
        agreement = keys.Agreement(self._channel.private)
        sealed = {}
        for place, (index, peer) in enumerate(listed.keys.items()):
            if index == self.index:
                self._held[index] = dealt[place]
                continue
            secret = self._channel_secrets[index] = agreement.with_peer(peer.channel_key)
            plaintext = field.to_bytes(dealt[place].reshape(-1))
            sealed[index] = keys.seal(secret, self.cohort.digest, self.index, index, plaintext)
        self.state = "shared"
        commitment = keys.seed_commitment(self._self_seed, self.cohort.digest, self.index)
        return [self._to_server(SHARE, SealedShares(commitment, sealed).encode())]

    def _check_key_list(self, message: Message, listed: KeyList) -> None:
        if listed.digest != self.cohort.digest:
            raise self._refuse(
                message, "its key list is for another cohort: session, round, members or model hash differ"
            )
        self._check_set(message, listed.keys, "key list", range(self.cohort.size))
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

    def _deal(self, receivers: Sequence[int]) -> Shares:
        """Shares of the self-mask seed and of the masking key, shape (len(receivers), 2, LIMBS)."""
        secrets = np.concatenate(
            [shamir.to_limbs(self._self_seed), shamir.to_limbs(self._mask.private)],
        )
        points = [index + 1 for index in receivers]
        dealt = shamir.split(secrets, self.cohort.threshold, points, self._tape)
        return dealt.reshape(len(points), 2, LIMBS)

    # Round 2: MaskedInputCollection.

    def _on_relayed_shares(self, message: Message) -> list[Message]:
        relayed = RelayedShares.decode(message.payload, self.cohort.size, self.index)
        self._check_set(message, relayed.dealers, "list of those who shared keys", self._peers)
        for index, ciphertext in relayed.sealed.items():
            self._unseal(index, ciphertext)
        self._dealers = relayed.dealers
        self.state = "masked"
        return [self._to_server(INPUT, self._masked_input().encode())]

    def _unseal(self, dealer: int, ciphertext: bytes) -> None:
        """Keep a dealer's shares. One that dealt rubbish costs us nothing: t others may hold good ones."""
        secret = self._channel_secrets[dealer]
        try:
            plaintext = keys.unseal(secret, self.cohort.digest, dealer, self.index, ciphertext)
            self._held[dealer] = field.from_bytes(plaintext).reshape(2, LIMBS)
        except DecodeError:
            self._held.pop(dealer, None)

    def _masked_input(self) -> MaskedInput:
        """y = x + PRG(b) ± Σ PRG(s_ij) in the ring (Bonawitz et al. 2017, section 4.1)."""
        digest, ring = self.cohort.digest, self.cohort.ring
        streams = [(keys.self_mask_key(self._self_seed, digest, self.index), 1)]
        agreement = keys.Agreement(self._mask.private)
        for peer in self._dealers:
            if peer != self.index:
                shared = agreement.with_peer(self._peers[peer].mask_key)
                key = keys.pairwise_mask_key(shared, digest, self.index, peer)
                streams.append((key, keys.mask_sign(self.index, peer)))
        packed = ring.pack_masked(self._vector, streams)
        if not self._provers:
            self._vector = np.empty(0, np.int64)
        return MaskedInput(packed)

    # Round 3: ConsistencyCheck.

    def _on_survivor_set(self, message: Message) -> list[Message]:
        """Tell every other survivor, under the key shared with it alone, which sets the server showed me."""
        survivors = SurvivorSet.decode(message.payload, self.cohort.size).survivors
        self._check_set(message, survivors, "survivor set", self._dealers)
        self._survivors = survivors
        tags = {peer: self._tag(self.index, peer) for peer in survivors if peer != self.index}
        self.state = "attested"
        return [self._to_server(CONSISTENCY, ConsistencyTags(tags).encode())]

    def _tag(self, sender: int, receiver: int) -> bytes:
        """The tag of one of us for the other, if the server showed ``sender`` what it showed me."""
        members = self.cohort.size
        sets = Writer().members(self._dealers, members).members(self._survivors, members).finish()
        peer = receiver if sender == self.index else sender
        return keys.consistency_tag(self._channel_secrets[peer], self.cohort.digest, sender, receiver, sets)

    # Round 4: Unmasking.

    def _on_relayed_tags(self, message: Message) -> list[Message]:
        """Reveal nothing unless a threshold of survivors, me among them, were shown the same sets.

        Who was shown others, or lies, just does not count: no single peer can stop the round.
        """
        tags = RelayedTags.decode(message.payload, self.cohort.size).tags
        if strangers := sorted(set(tags) - set(self._survivors)):
            names = ", ".join(self.cohort.names(strangers))
            raise self._refuse(message, f"tags of clients that are not survivors: {names}")
        peers = [index for index in tags if index != self.index]
        agreeing = 1 + sum(equal(tags[peer], self._tag(peer, self.index)) for peer in peers)
        if agreeing < self.cohort.threshold:
            raise self._refuse(
                message,
                f"{agreeing} survivors were shown the same sets as I; "
                f"the threshold is {self.cohort.threshold}",
            )
        return self._reveal()

    def _reveal(self) -> list[Message]:
        # One kind of share of each dealer, once: both would open its input.
        alive = frozenset(self._survivors)
        dealers = tuple(index for index in self._dealers if index in self._held)
        shares = [self._held[index][0 if index in alive else 1] for index in dealers]
        self._held.clear()
        self.state = "unmasked"
        revealed = UnmaskShares(dealers, np.array(shares, np.uint64).reshape(len(dealers), LIMBS))
        return [self._to_server(UNMASK, revealed.encode(self.cohort.size))]

    def _check_set(
        self, message: Message, found: Collection[int], what: str, within: Collection[int]
    ) -> None:
        """Every set that the server states must hold me, reach the threshold, and lie in the one before."""
        if self.index not in found:
            raise self._refuse(message, f"the {what} leaves me out")
        if len(found) < self.cohort.threshold:
            raise self._refuse(
                message, f"the {what} has {len(found)} clients; the threshold is {self.cohort.threshold}"
            )
        if unknown := sorted(set(found) - set(within)):
            names = ", ".join(self.cohort.names(unknown))
            raise self._refuse(message, f"the {what} names clients that I have not seen before: {names}")

    @staticmethod
    def _refuse(message: Message, reason: str) -> PeerError:
        return PeerError(message.sender, message.phase, reason)
