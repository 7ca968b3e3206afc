"""The masking server: Bonawitz et al. 2017, figure 4, from the server's side (spec section 12.4).

Masked inputs are folded into one vector as they arrive, so memory is O(length), whatever the cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mpc import merkle
from mpc.errors import AbortError, LocalError
from mpc.party import Message, client_id
from mpc.prg import Usage
from mpc.saving import put, take
from mpc.snapshot import Kind, record
from mpc.tape import RandomTape
from mpc.wire import Subset
from secagg.checks.base import Check
from secagg.cohort import Cohort
from secagg.identity import verify
from secagg.masking import keys
from secagg.masking.keys import CONSISTENCY_BYTES
from secagg.masking.listing import Listing, listing_kinds
from secagg.masking.messages import (
    ADVERTISE,
    CHECK,
    COMMITTED_BYTES,
    CONSISTENCY,
    INPUT,
    PHASES,
    SEALED_BYTES,
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
)
from secagg.masking.parameters import Tolerance
from secagg.masking.recovery import Recovery
from secagg.masking.unmasking import Unmasking
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
    moves: ClassVar[Mapping[tuple[str, str], str]] = dict.fromkeys(
        (
            (ADVERTISE, SHARE),
            (SHARE, INPUT),
            (INPUT, CHECK),
            (INPUT, CONSISTENCY),
            (CHECK, CONSISTENCY),
            (CONSISTENCY, UNMASK),
            (UNMASK, RoundServer.DONE),
        ),
        RoundServer.CLOSING,
    )
    saved: ClassVar[tuple[str, ...]] = (
        *("_keys", "_commitments", "_dealers", "_survivors", "_sum"),
        *("_listing", "_sealed", "_committed", "_alive", "_tags"),
    )
    # By rank and, where there are two, place among the row's holders. Each from its phase on.
    _listing: Listing
    _sealed: NDArray[np.uint8]
    _committed: NDArray[np.uint8]
    _alive: NDArray[np.bool_]
    _tags: NDArray[np.uint8]
    _recovery: Recovery

    def __init__(
        self,
        cohort: Cohort,
        checks: Sequence[Check],
        tape: RandomTape,
        tolerance: Tolerance | None = None,
        unmasking: Unmasking | None = None,
    ) -> None:
        super().__init__(cohort, checks, tape, ADVERTISE)
        self._tolerance = tolerance
        self._unmasking = Unmasking() if unmasking is None else unmasking
        self._key_check = keys.Agreement(tape.read(keys.SECRET_BYTES))
        self._keys: dict[int, KeyAdvertisement] = {}
        self._commitments: dict[int, bytes] = {}
        self._dealers = Subset.of((), cohort.size)
        self._survivors: tuple[int, ...] = ()
        self._sum = np.zeros(cohort.length, cohort.ring.lane)

    def kinds(self) -> tuple[Kind, ...]:
        own = (record(KeyAdvertisement), record(MaskedInput), *listing_kinds(self.cohort, self._tolerance))
        return (*super().kinds(), *own)

    def save(self) -> dict[str, object]:
        found = super().save()
        return {**found, "recovery": take(self._recovery)} if hasattr(self, "_recovery") else found

    def restore(self, state: Mapping[str, object]) -> None:
        rest = dict(state)
        recovery = rest.pop("recovery", None)
        super().restore(rest)
        if recovery is not None:
            self._recovery = self._new_recovery()
            put(self._recovery, recovery)

    def _payload_bytes(self, phase: str) -> int | None:
        if phase == SHARE:  # after which there is a listing
            return SealedShares.size(self._listing.degree + 1)
        return {
            ADVERTISE: KeyAdvertisement.size(self.cohort.signed),
            INPUT: self.cohort.ring.packed_size(self.cohort.length),
        }.get(phase)

    def _longest(self, phase: str) -> int:
        """None but masked inputs depends on the length of the vectors."""
        holders = self.cohort.size if self.state == ADVERTISE else self._listing.degree + 1
        return SealedShares.size(holders)

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
        listed = tuple(sorted(self._heard))
        self._require(listed, "advertised keys")
        self._keys = {index: self._keys[index] for index in listed}
        tree = merkle.Tree([advertisement.leaf(index) for index, advertisement in self._keys.items()])
        try:
            self._listing = Listing(self.cohort, self._tolerance, listed, tree.root)
        except LocalError as error:
            raise AbortError(f"too few clients advertised keys: {error}") from None
        holders = self._listing.holders
        self._sealed = np.zeros((len(listed), holders.shape[1] - 1, SEALED_BYTES), np.uint8)
        self._committed = np.zeros((*holders.shape, COMMITTED_BYTES), np.uint8)
        self._collect(SHARE, listed)
        return [self._key_list(tree, rank) for rank in range(len(listed))]

    def _key_list(self, tree: merkle.Tree, rank: int) -> Message:
        members = self._listing.members
        holders = self._listing.holders[rank].tolist()
        shown = {members[holder]: self._keys[members[holder]] for holder in holders}
        found = KeyList(self.cohort.digest, tree.root, self._listing.listed, shown, tree.proof(holders))
        return self._to(client_id(members[rank]), SHARE, found.encode(self.cohort.size))

    # Round 1: ShareKeys.

    def _on_sealed_shares(self, message: Message) -> list[Message]:
        sender = message.sender.index
        rank = self._listing.rank[sender]
        dealt = SealedShares.decode(message.payload, self._listing.degree + 1)
        self._commitments[sender] = dealt.commitment
        self._committed[rank].reshape(-1)[:] = np.frombuffer(dealt.share_commitments, np.uint8)
        self._sealed[rank].reshape(-1)[:] = np.frombuffer(dealt.sealed, np.uint8)
        return []

    def _shares_closed(self) -> list[Message]:
        self._require(self._heard, "shared keys")
        self._dealers = Subset.of(self._listing.core(self._heard), self.cohort.size)
        self._require(self._dealers, "shared keys with enough others that did")
        self._listing.require(self._dealers, "shared keys with enough others that did")
        self._collect(INPUT, self._dealers)
        dealt = self._listing.mask(self._dealers)
        messages = [self._relay(receiver, dealt) for receiver in self._dealers]
        del self._sealed
        return messages

    def _relay(self, receiver: int, dealt: NDArray[np.bool_]) -> Message:
        """What the receiver's neighbours committed to and sealed to it: its place in each of their rows."""
        rank = self._listing.rank[receiver]
        dealers, places = self._listing.neighbours(rank, dealt)
        # A dealer seals to its neighbours only: behind its own place, one less.
        sealed = self._sealed[dealers, places - (dealers < rank)]
        boxes = np.concatenate((self._committed[dealers, places], sealed), axis=1).tobytes()
        payload = RelayedShares(self._dealers, boxes).encode(self.cohort.size)
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
        self._alive = self._listing.mask(accepted)
        self._recovery = self._new_recovery()
        self._tags = np.zeros((*self._listing.holders.shape, CONSISTENCY_BYTES), np.uint8)
        payload = SurvivorSet(accepted).encode(self.cohort.size)
        self._collect(CONSISTENCY, accepted)
        return [self._to(client_id(index), CONSISTENCY, payload) for index in accepted]

    def _new_recovery(self) -> Recovery:
        return Recovery(
            self.cohort,
            self._listing,
            self._keys,
            self._commitments,
            self._committed,
            self._dealers,
            self._survivors,
        )

    def _on_consistency_tags(self, message: Message) -> list[Message]:
        rank = self._listing.rank[message.sender.index]
        due = self._listing.neighbouring(rank, self._alive)
        tags = ConsistencyTags.decode(message.payload, int(due.sum())).tags
        self._tags[rank, due] = np.frombuffer(tags, np.uint8).reshape(-1, CONSISTENCY_BYTES)
        return []

    def _consistency_closed(self) -> list[Message]:
        attesting = sorted(self._heard)
        self._require(attesting, "attested the survivor set")
        self._collect(UNMASK, attesting)
        heard = self._listing.mask(attesting)
        messages = [self._relay_tags(receiver, heard) for receiver in attesting]
        del self._tags
        return messages

    def _relay_tags(self, receiver: int, heard: NDArray[np.bool_]) -> Message:
        rank = self._listing.rank[receiver]
        senders, places = self._listing.neighbours(rank, heard)
        makers = self._listing.neighbouring(rank, heard)
        payload = RelayedTags.encode_rows(makers, self._tags[senders, places])
        return self._to(client_id(receiver), UNMASK, payload)

    # Round 4: Unmasking.

    def _on_unmask_shares(self, message: Message) -> list[Message]:
        rank = self._listing.rank[message.sender.index]
        revealed = UnmaskShares.decode(message.payload, self._listing.holders_of(rank))
        self._recovery.add(rank, revealed)
        return []

    def _unmask_closed(self) -> list[Message]:
        self._require(self._heard, "answered the unmask request")
        try:
            streams = self._recovery.streams()
        except AbortError as error:  # whose answers were refused may be why there are too few
            liars = {index: why for index, why in self.rejected.items() if index in self._survivors}
            evidence = self._evidence(liars) if liars else {}
            raise AbortError(error.reason, {**error.evidence, **evidence}) from None
        self._unmasking.run(self._sum, streams)
        del self._recovery
        return self._finish(self.cohort.ring.decode(self._sum), self._survivors)
