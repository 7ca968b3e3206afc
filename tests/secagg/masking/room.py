"""One honest masking client in a room with a server that plays everybody else, on either graph."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from mpc import field, merkle
from mpc.errors import PeerError
from mpc.party import SERVER, Message, client_id
from mpc.prg import Usage, tag
from mpc.ring import add_masks
from mpc.tape import SeededTape
from mpc.wire import Writer
from secagg import Cohort, Masking
from secagg.identity import SIGNATURE_BYTES, Identity
from secagg.link import Link
from secagg.masking import Tolerance, keys
from secagg.masking.client import MaskingClient
from secagg.masking.listing import Listing
from secagg.masking.messages import (
    LIMBS,
    KeyAdvertisement,
    KeyList,
    RelayedShares,
    RelayedTags,
    SurvivorSet,
)

ME = 2
DOWNWARDS = ("share-keys", "masked-input", "consistency", "unmask")
VECTOR = [7, -7, 0, 100, -100]
# Members, threshold, tolerance. The sparse graph has degree 12, and its threshold is 10 of 13 holders.
GRAPHS: dict[str, tuple[int, int, Tolerance | None]] = {
    "complete": (6, 4, None),
    "sparse": (60, 40, Tolerance(1 / 60, 0.05)),
}
Altered = Callable[[int, KeyAdvertisement], KeyAdvertisement]


@cache
def key_pairs(index: int) -> tuple[keys.KeyPair, keys.KeyPair]:
    """Channel and masking keys of a client that the server plays."""
    tape = SeededTape(b"client %d" % index)
    return keys.KeyPair.generate(tape), keys.KeyPair.generate(tape)


class Room:
    """One honest client, and a server that can play everybody else as it likes."""

    def __init__(
        self,
        cohort: Cohort,
        link_key: bytes,
        tolerance: Tolerance | None = None,
        identities: Sequence[Identity] = (),
    ) -> None:
        self.cohort, self.tolerance, self.me, self.n = cohort, tolerance, ME, cohort.size
        self.everybody = tuple(range(self.n))
        identity = identities[ME] if identities else None
        self.party: Any = Masking(cohort.threshold, tolerance=tolerance).client(
            cohort, cohort.members[ME], np.array(VECTOR), identity=identity, tape=SeededTape(b"me")
        )
        (first,) = self.party.start()
        greeting = 32 + (SIGNATURE_BYTES if identities else 0)
        self.mine = KeyAdvertisement.decode(first.payload[greeting:], bool(identities))
        self.link = Link(
            cohort, client_id(ME), link_key, bytes(first.payload[:32]), serves=True, tape=SeededTape(b"link")
        )
        self.pairs = {index: key_pairs(index) for index in self.everybody if index != ME}
        listed = {index: self.advertise(index, identities) for index in self.pairs}
        self.show({**listed, ME: self.mine})
        self.dealt = {i: field.to_bytes(field.expand(bytes([i]) * 16, 2 * LIMBS)) for i in self.pairs}

    def advertise(self, index: int, identities: Sequence[Identity]) -> KeyAdvertisement:
        channel, mask = (pair.public for pair in self.pairs[index])
        content = self.cohort.digest + index.to_bytes(4, "little") + channel + mask
        signature = identities[index].sign(Usage.KEY_ADVERTISEMENT, content) if identities else b""
        return KeyAdvertisement(channel, mask, signature)

    def show(self, listed: Mapping[int, KeyAdvertisement]) -> None:
        """The key list is to show these from now on, and all else follows from it."""
        self.listed = dict(sorted(listed.items()))
        self.tree = merkle.Tree([shown.leaf(index) for index, shown in self.listed.items()])
        self.listing = Listing(self.cohort, self.tolerance, tuple(self.listed), self.tree.root)
        self.holders = self.listing.graph.holders(ME)
        self.peers = tuple(holder for holder in self.holders if holder != ME)

    def alter(self, change: Altered, unless: Collection[int] = ()) -> int:
        """Show something else for one of the peers that hold the client's shares, and say for which.

        On a sparse graph the graph, too, is another then, and so the peer has to be looked for.
        """
        before = self.listed
        for index in self.pairs:
            self.show({**before, index: change(index, before[index])})
            if index in self.peers and index not in unless:
                return index
            self.show(before)
        raise AssertionError("nobody to alter")

    @property
    def client(self) -> MaskingClient:
        return self.party._inner

    @property
    def threshold(self) -> int:
        """That of the shares; the cohort's is another on a sparse graph."""
        return self.listing.threshold

    def group(self, holders: int, size: int | None = None, *, last: bool = False) -> tuple[int, ...]:
        """So many of the client's holders, itself and the first or last others; then who is none.

        ``size``: of the group in all; None: everybody who is no holder is in it.
        """
        order = self.peers[::-1] if last else self.peers
        rest = [index for index in self.listed if index not in self.holders]
        rest = rest if size is None else rest[: size - holders]
        return tuple(sorted({ME, *order[: holders - 1], *rest}))

    def groups(self) -> list[tuple[int, ...]]:
        """Some sets that the client takes for dealers or survivors."""
        least = self.threshold
        return [
            self.everybody,
            self.group(len(self.holders) - 1),
            self.group(least),
            self.group(least, last=True),
            self.group(least, self.cohort.threshold),
        ]

    def message(self, phase: str, payload: bytes) -> Message:
        return Message(self.cohort.session, self.cohort.round, phase, SERVER, client_id(ME), payload)

    def send(self, phase: str, payload: bytes) -> list[Message]:
        return self.party.receive(self.link.close(self.message(phase, payload)))

    def key_list(self, **changes: Any) -> bytes:
        """The list as it should be, but for ``changes`` of its fields."""
        shown = {index: self.listed[index] for index in self.holders}
        proof = self.tree.proof([list(self.listed).index(index) for index in shown])
        honest = KeyList(self.cohort.digest, self.tree.root, tuple(self.listed), shown, proof)
        return replace(honest, **changes).encode(self.n)

    def channel(self, peer: int) -> bytes:
        return keys.Agreement(self.pairs[peer][0].private).with_peer(self.mine.channel_key)

    def commitments(self, dealer: int, holder: int, shares: bytes) -> bytes:
        """As spec section 12.1 says, kind 0 and kind 1."""
        prefix = tag(Usage.SHARE_COMMITMENT) + self.listing.digest
        prefix += dealer.to_bytes(4, "little") + holder.to_bytes(4, "little")
        halves = (b"\0" + shares[:40], b"\1" + shares[40:])
        return b"".join(hashlib.sha256(prefix + half).digest()[:16] for half in halves)

    def relayed(
        self,
        dealers: Collection[int] | None = None,
        garbled: Collection[int] = (),
        uncommitted: Collection[int] = (),
        instead: Mapping[int, bytes] | None = None,
    ) -> bytes:
        """``garbled``: whose boxes do not open; ``uncommitted``: whose shares are not what they committed to;
        ``instead``: other boxes."""
        dealers = tuple(self.listed) if dealers is None else tuple(sorted(dealers))
        boxes = []
        for dealer in sorted(set(dealers).intersection(self.peers)):
            committed = self.commitments(dealer, ME, self.dealt[dealer])
            if dealer in uncommitted:
                committed = committed[:-1] + bytes([committed[-1] ^ 1])
            genuine = keys.seal(self.channel(dealer), self.listing.digest, dealer, ME, self.dealt[dealer])
            sealed = bytes(96) if dealer in garbled else (instead or {}).get(dealer, genuine)
            boxes.append(committed + sealed)
        return RelayedShares(dealers, b"".join(boxes)).encode(self.n)

    def survivors(self, survivors: Collection[int] | None = None) -> bytes:
        return SurvivorSet(tuple(sorted(self.listed if survivors is None else survivors))).encode(self.n)

    def dealing(self, dealers: Collection[int] | None = None, listing: bytes = b"") -> bytes:
        """As spec section 12.1 says; ``dealers``: as a rule everybody."""
        bitmap = Writer().members(sorted(self.listed if dealers is None else dealers), self.n).finish()
        return hashlib.sha256(tag(Usage.DEALING) + (listing or self.listing.digest) + bitmap).digest()

    def tag(
        self,
        sender: int,
        survivors: Collection[int] | None = None,
        dealers: Collection[int] | None = None,
        receiver: int = ME,
        listing: bytes = b"",
    ) -> bytes:
        """The tag of a peer for the client (or of the client for a peer) on these sets."""
        alive = sorted(self.listed if survivors is None else survivors)
        peer = receiver if sender == ME else sender
        bitmap = Writer().members(alive, self.n).finish()
        return keys.consistency_tag(
            self.channel(peer), self.dealing(dealers, listing), sender, receiver, bitmap
        )

    def relay(self, tags: Mapping[int, bytes]) -> bytes:
        return RelayedTags(tags).encode(self.holders)

    def tags(
        self,
        senders: Collection[int] | None = None,
        survivors: Collection[int] | None = None,
        dealers: Collection[int] | None = None,
    ) -> bytes:
        """What honest ``senders``, as a rule all other survivors, would have told the client."""
        alive = set(self.listed if survivors is None else survivors)
        senders = alive.intersection(self.peers) if senders is None else senders
        return self.relay({sender: self.tag(sender, survivors, dealers) for sender in senders})

    def honest(self, phase: str) -> bytes:
        return {
            "share-keys": self.key_list,
            "masked-input": self.relayed,
            "consistency": self.survivors,
            "unmask": self.tags,
        }[phase]()

    def go_to(self, phase: str) -> None:
        """Play honestly until the client waits for a message of this phase."""
        for earlier in DOWNWARDS[: DOWNWARDS.index(phase)]:
            self.send(earlier, self.honest(earlier))

    def refuses(self, phase: str, payload: bytes, reason: str) -> None:
        """The client says why, and answers nothing more, not even what it would have answered before."""
        with pytest.raises(PeerError, match=reason) as caught:
            self.send(phase, payload)
        assert (caught.value.party, caught.value.phase) == (SERVER, phase)
        assert self.client.state == "refused"
        for later in DOWNWARDS:
            with pytest.raises(PeerError, match="not expected in state 'refused'"):
                self.send(later, self.honest(later))

    def unmasked(self, masked: Message, dealers: Collection[int] | None = None) -> list[int]:
        """What the client sent, its masks undone from the peers' side."""
        ring, dealing = self.cohort.ring, self.dealing(dealers)
        total = ring.unpack(masked.payload, len(VECTOR))
        streams = [(keys.self_mask_key(self.client._self_seed, dealing, ME), -1)]
        for peer in set(self.peers).intersection(self.listed if dealers is None else dealers):
            shared = keys.Agreement(self.pairs[peer][1].private).with_peer(self.mine.mask_key)
            streams.append((keys.pairwise_mask_key(shared, dealing, ME, peer), -1 if peer > ME else 1))
        add_masks(total, streams)
        return ring.decode(total).tolist()

    def unmask(self, survivors: Collection[int] | None = None) -> Message:
        """From the survivor set on: the client's answer."""
        self.send("consistency", self.survivors(survivors))
        (answer,) = self.send("unmask", self.tags(survivors=survivors))
        return answer
