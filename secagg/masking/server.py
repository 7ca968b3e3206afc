"""The masking server: Bonawitz et al. 2017, figure 4, from the server's side (spec section 12.4).

Masked inputs are folded into one vector as they arrive, so memory is O(length), whatever the cohort.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from mpc import shamir
from mpc.errors import AbortError, DecodeError
from mpc.party import Message, client_id
from mpc.prg import Usage, equal
from mpc.ring import add_masks
from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.cohort import Cohort
from secagg.identity import verify
from secagg.masking import keys
from secagg.masking.messages import (
    ADVERTISE,
    CHECK,
    CONSISTENCY,
    INPUT,
    LIMBS,
    PHASES,
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
from secagg.server import RoundServer


class MaskingServer(RoundServer[MaskedInput]):
    """The server of one round. A state is named after the phase that it collects."""

    phases = PHASES
    input_phase = INPUT
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        (ADVERTISE, ADVERTISE): "_on_advertisement",
        (SHARE, SHARE): "_on_sealed_shares",
        (INPUT, INPUT): "_on_input",
        (CHECK, CHECK): "_on_proofs",
        (CONSISTENCY, CONSISTENCY): "_on_consistency_tags",
        (UNMASK, UNMASK): "_on_unmask_shares",
    }
    closings: ClassVar[Mapping[str, str]] = {
        ADVERTISE: "_advertisements_closed",
        SHARE: "_shares_closed",
        INPUT: "_inputs_closed",
        CHECK: "_proofs_closed",
        CONSISTENCY: "_consistency_closed",
        UNMASK: "_unmask_closed",
    }

    def __init__(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> None:
        super().__init__(cohort, checks, tape, ADVERTISE)
        self._key_check = keys.Agreement(tape.read(keys.SECRET_BYTES))
        self._keys: dict[int, KeyAdvertisement] = {}
        self._sealed: dict[int, SealedShares] = {}
        self._commitments: dict[int, bytes] = {}
        self._dealers: tuple[int, ...] = ()
        self._survivors: tuple[int, ...] = ()
        self._tags: dict[int, Mapping[int, bytes]] = {}
        self._revealed: dict[int, UnmaskShares] = {}
        self._sum = np.zeros(cohort.length, cohort.ring.lane)

    def _payload_bytes(self, phase: str) -> int | None:
        return {
            ADVERTISE: KeyAdvertisement.size(self.cohort.signed),
            SHARE: SealedShares.size(len(self._keys)),
            INPUT: self.cohort.ring.packed_size(self.cohort.length),
            CONSISTENCY: ConsistencyTags.size(len(self._survivors)),
        }.get(phase)

    # Round 0: AdvertiseKeys.

    def _on_advertisement(self, message: Message) -> list[Message]:
        index, signed = message.sender.index, self.cohort.signed
        advertisement = KeyAdvertisement.decode(message.payload, signed)
        if signed:  # or every honest peer would stop at it
            content = advertisement.content(self.cohort.digest, index)
            identity = self.cohort.identities[index]
            verify(identity, Usage.KEY_ADVERTISEMENT, content, advertisement.signature)
        # A key of small order would make every honest peer stop: refuse it before they see it.
        for public in (advertisement.channel_key, advertisement.mask_key):
            self._key_check.with_peer(public)
        self._keys[index] = advertisement
        return []

    def _advertisements_closed(self) -> list[Message]:
        listed = {index: self._keys[index] for index in sorted(self._heard)}
        self._require(listed, "advertised keys")
        self._keys = listed
        payload = KeyList(self.cohort.digest, listed).encode(self.cohort.size, self.cohort.signed)
        self._collect(SHARE, listed)
        return [self._to(client_id(index), SHARE, payload) for index in listed]

    # Round 1: ShareKeys.

    def _on_sealed_shares(self, message: Message) -> list[Message]:
        sender = message.sender.index
        dealt = SealedShares.decode(message.payload, sender, tuple(self._keys))
        self._sealed[sender], self._commitments[sender] = dealt, dealt.commitment
        return []

    def _shares_closed(self) -> list[Message]:
        self._dealers = tuple(sorted(self._heard))
        self._require(self._dealers, "shared keys")
        self._collect(INPUT, self._dealers)
        messages = [self._relay(receiver) for receiver in self._dealers]
        self._sealed.clear()
        return messages

    def _relay(self, receiver: int) -> Message:
        sealed = {
            dealer: self._sealed[dealer].sealed[receiver] for dealer in self._dealers if dealer != receiver
        }
        payload = RelayedShares(self._dealers, sealed).encode(self.cohort.size)
        return self._to(client_id(receiver), INPUT, payload)

    # Round 2: MaskedInputCollection.

    def _decode_input(self, payload: bytes | memoryview) -> MaskedInput:
        return MaskedInput.decode(payload, self.cohort.ring, self.cohort.length)

    def _fold(self, index: int, contribution: MaskedInput) -> list[Message]:
        self.cohort.ring.add_packed(self._sum, contribution.packed)
        return []

    # Round 3: ConsistencyCheck.

    def _open(self, accepted: tuple[int, ...]) -> list[Message]:
        self._survivors = accepted
        payload = SurvivorSet(accepted).encode(self.cohort.size)
        self._collect(CONSISTENCY, accepted)
        return [self._to(client_id(index), CONSISTENCY, payload) for index in accepted]

    def _on_consistency_tags(self, message: Message) -> list[Message]:
        index = message.sender.index
        self._tags[index] = ConsistencyTags.decode(message.payload, index, self._survivors).tags
        return []

    def _consistency_closed(self) -> list[Message]:
        attesting = sorted(self._heard)
        self._require(attesting, "attested the survivor set")
        self._collect(UNMASK, attesting)
        messages = []
        for receiver in attesting:
            tags = {sender: self._tags[sender][receiver] for sender in attesting if sender != receiver}
            payload = RelayedTags(tags).encode(self.cohort.size)
            messages.append(self._to(client_id(receiver), UNMASK, payload))
        self._tags.clear()
        return messages

    # Round 4: Unmasking.

    def _on_unmask_shares(self, message: Message) -> list[Message]:
        revealed = UnmaskShares.decode(message.payload, self.cohort.size)
        if not set(revealed.dealers) <= set(self._dealers):
            raise DecodeError("shares of clients that dealt none")
        self._revealed[message.sender.index] = revealed
        return []

    def _unmask_closed(self) -> list[Message]:
        self._require(self._heard, "answered the unmask request")
        secrets = self._reconstruct()
        alive = frozenset(self._survivors)
        streams = []
        for dealer in self._dealers:
            unmask = self._self_mask if dealer in alive else self._orphaned_masks
            streams += unmask(dealer, secrets[dealer])
        ring = self.cohort.ring
        add_masks(self._sum, streams)
        self._revealed.clear()
        return self._finish(ring.decode(self._sum), self._survivors)

    def _self_mask(self, survivor: int, seed: bytes) -> list[tuple[bytes, int]]:
        """Without the commitment a single lying share would turn the sum into rubbish that may look fine."""
        digest = self.cohort.digest
        if not equal(keys.seed_commitment(seed, digest, survivor), self._commitments[survivor]):
            raise AbortError(
                "reconstructed shares do not give the self-mask seed that a survivor had committed to",
                {"client": self.cohort.members[survivor]},
            )
        return [(keys.self_mask_key(seed, digest, survivor), -1)]

    def _orphaned_masks(self, dropped: int, private: bytes) -> list[tuple[bytes, int]]:
        """What the survivors' inputs still hold of the masks that they had in common with a dropout."""
        if keys.KeyPair.from_private(private).public != self._keys[dropped].mask_key:
            raise AbortError(
                "reconstructed shares do not give the masking key that a dropout had advertised",
                {"client": self.cohort.members[dropped]},
            )
        agreement = keys.Agreement(private)
        return [
            (
                keys.pairwise_mask_key(
                    agreement.with_peer(self._keys[index].mask_key), self.cohort.digest, index, dropped
                ),
                -keys.mask_sign(index, dropped),
            )
            for index in self._survivors
        ]

    def _reconstruct(self) -> dict[int, bytes]:
        """Each dealer's revealed secret: the self-mask seed of a survivor, the masking key of a dropout.

        Dealers whose shares come from the same clients, as a rule all of them, are interpolated at once.
        """
        rows = {
            responder: dict(zip(revealed.dealers, revealed.shares, strict=True))
            for responder, revealed in sorted(self._revealed.items())
            if responder in self._heard
        }
        groups: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for dealer in self._dealers:
            holders = [responder for responder, shares in rows.items() if dealer in shares]
            if len(holders) < self.cohort.threshold:
                raise AbortError(
                    f"{len(holders)} clients hold its shares; the threshold is {self.cohort.threshold}",
                    {"client": self.cohort.members[dealer]},
                )
            chosen = tuple(holders[: self.cohort.threshold])
            groups[chosen].append(dealer)
        secrets: dict[int, bytes] = {}
        for chosen, dealers in groups.items():
            shares: Shares = np.array([[rows[holder][dealer] for dealer in dealers] for holder in chosen])
            points = [holder + 1 for holder in chosen]
            limbs = shamir.combine(points, shares.reshape(len(points), -1)).reshape(len(dealers), LIMBS)
            for dealer, row in zip(dealers, limbs, strict=True):
                secrets[dealer] = self._to_secret(dealer, row)
        return secrets

    def _to_secret(self, dealer: int, limbs: Shares) -> bytes:
        try:
            return shamir.from_limbs(limbs, keys.SECRET_BYTES)
        except DecodeError as error:
            raise AbortError(
                f"shares are inconsistent: {error}", {"client": self.cohort.members[dealer]}
            ) from None
