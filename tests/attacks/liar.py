"""A server that lies to real clients, through their links.

It takes their keys, and shows each client what the test says: keys, dealers, survivors. It relays whatever
helps it. The clients that work with it hand over their keys, so that it reads what is dealt to them and makes
any tag in their name (spec section 12.5). What it learns is in ``opening.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from mpc import field, merkle
from mpc.errors import PeerError
from mpc.party import SERVER, Message, client_id
from mpc.tape import SeededTape
from secagg import Masking
from secagg.link import Link, greeting_bytes
from secagg.masking import keys
from secagg.masking.client import MaskingClient
from secagg.masking.keys import CONSISTENCY_BYTES
from secagg.masking.listing import Listing
from secagg.masking.messages import (
    COMMITTED_BYTES,
    KEY,
    LIMBS,
    RELAYED_BYTES,
    SEALED_BYTES,
    SEED,
    ConsistencyTags,
    KeyAdvertisement,
    KeyList,
    RelayedShares,
    RelayedTags,
    SealedShares,
    SurvivorSet,
    UnmaskShares,
)
from secagg.roundlog import RoundLog

LENGTH = 5
Keys = Mapping[int, KeyAdvertisement]
Box = Callable[[int, int], bytes]


@dataclass(frozen=True)
class View:
    """What the server shows one client: who dealt, and whose inputs are in the sum."""

    dealers: frozenset[int]
    survivors: frozenset[int]


class Liar:
    """The server, all clients, and those of them that help it: ``colluding``."""

    def __init__(
        self,
        rig: SimpleNamespace,
        backend: Masking,
        n: int,
        colluding: Collection[int] = (),
        seed: str = "",
        *,
        signed: bool = False,
        models: Mapping[int, bytes] | None = None,
        logs: Mapping[int, RoundLog] | None = None,
        **changes: Any,
    ) -> None:
        """``models``: by client, the hash of the model that it was given; ``logs``: by client, the rounds
        that it took part in; ``changes``: of the cohort."""
        self._logs = logs or {}
        self.n, self.backend, self.colluding = n, backend, frozenset(colluding)
        self.everybody = frozenset(range(n))
        identities = rig.identities(n) if signed else [None] * n
        if signed:
            changes["identities"] = tuple(one.public for one in identities)
        self.cohort = cohort = rig.cohort(backend, n, LENGTH, 16, **changes)
        self.cohorts = [replace(cohort, model_hash=models[i]) if models else cohort for i in range(n)]
        self.vectors = rig.vectors(n, LENGTH, 16, seed)
        self.parties: list[Any] = []
        self.links: dict[int, Link] = {}
        self.advertised: dict[int, KeyAdvertisement] = {}
        for index, (cohort, identity) in enumerate(zip(self.cohorts, identities, strict=True)):
            self._greet(rig, index, cohort, identity, SeededTape(f"{seed} {index}".encode()))
        self.refused: dict[int, str] = {}  # by client: why it stopped
        self.listings: dict[int, Listing] = {}
        self.shown: dict[int, Keys] = {}
        self.own: dict[bytes, bytes] = {}  # its own key pairs, by the public half
        self.boxes: dict[tuple[int, int], bytes] = {}  # by dealer and holder
        self.views: dict[int, View] = {}
        self.inputs: dict[int, np.ndarray] = {}
        self.tags: dict[tuple[int, int], bytes] = {}  # by sender and receiver
        self.answered: set[int] = set()
        self.shares: defaultdict[tuple[int, int], dict[int, np.ndarray]] = defaultdict(dict)

    def _greet(self, rig: SimpleNamespace, index: int, cohort: Any, identity: Any, tape: SeededTape) -> None:
        vector, size = self.vectors[index], greeting_bytes(cohort)
        log = self._logs.get(index)
        party = self.backend.client(cohort, f"c{index}", vector, identity=identity, log=log, tape=tape)
        first = bytes(party.start()[0].payload)
        self.links[index] = Link(
            cohort, client_id(index), rig.link_key, first[:32], serves=True, tape=SeededTape(b"server")
        )
        self.advertised[index] = KeyAdvertisement.decode(first[size:], cohort.signed)
        self.parties.append(party)

    @property
    def honest(self) -> frozenset[int]:
        return self.everybody - self.colluding

    def client(self, index: int) -> MaskingClient:
        client: MaskingClient = self.parties[index]._inner
        return client

    def ask(self, index: int, phase: str, payload: bytes) -> bytes | None:
        """What a client answers; None if it refuses, once and for all."""
        cohort = self.cohorts[index]
        message = Message(cohort.session, cohort.round, phase, SERVER, client_id(index), payload)
        try:
            (answer,) = self.parties[index].receive(self.links[index].close(message))
        except PeerError as error:
            self.refused.setdefault(index, error.reason)
            return None
        return bytes(answer.payload)

    # Keys.

    def make_keys(self, label: str) -> KeyAdvertisement:
        """Keys of its own, to be shown as somebody's."""
        tape = SeededTape(f"the server's {label}".encode())
        channel, mask = keys.KeyPair.generate(tape), keys.KeyPair.generate(tape)
        self.own |= {pair.public: pair.private for pair in (channel, mask)}
        return KeyAdvertisement(channel.public, mask.public)

    def list_keys(
        self, to: Collection[int] | None = None, under: Keys | None = None, shown: Keys | None = None
    ) -> None:
        """Show all honest clients, or ``to`` some, keys ``under`` one root: those that were advertised.

        ``shown``: instead of some of these, with the proof for those under the root.
        """
        under = dict(sorted((under or self.advertised).items()))
        tree, members = merkle.Tree([one.leaf(index) for index, one in under.items()]), tuple(under)
        for index in sorted(self.honest if to is None else to):
            cohort = self.cohorts[index]
            listing = Listing(cohort, self.backend.tolerance, members, tree.root)
            found = {**under, **(shown or {})}
            found = {holder: found[holder] for holder in listing.graph.holders(index)}
            proof = tree.proof([members.index(holder) for holder in found])
            payload = KeyList(cohort.digest, tree.root, members, found, proof).encode(self.n)
            self.listings[index], self.shown[index] = listing, found
            if (answer := self.ask(index, "share-keys", payload)) is not None:
                self._take_boxes(index, answer)

    def _take_boxes(self, dealer: int, answer: bytes) -> None:
        holders = tuple(self.shown[dealer])
        dealt = SealedShares.decode(answer, len(holders))
        sealed = iter(range(0, len(dealt.sealed), SEALED_BYTES))
        for place, holder in enumerate(holders):
            if holder != dealer:
                committed = dealt.share_commitments[place * COMMITTED_BYTES : (place + 1) * COMMITTED_BYTES]
                at = next(sealed)
                self.boxes[dealer, holder] = bytes(committed) + bytes(dealt.sealed[at : at + SEALED_BYTES])
                self._read_box(dealer, holder)

    def _read_box(self, dealer: int, holder: int) -> None:
        """What was dealt to a helper, or sealed under a key of its own: one share of either secret."""
        listing, sealed = self.listings[dealer].digest, self.boxes[dealer, holder][COMMITTED_BYTES:]
        secret = self.channel_secret(holder, dealer)
        if secret is None:
            return
        both = field.from_bytes(keys.unseal(secret, listing, dealer, holder, sealed)).reshape(2, LIMBS)
        for kind in (SEED, KEY):
            self.shares[dealer, kind][holder] = both[kind]

    def channel_secret(self, one: int, other: int) -> bytes | None:
        """What two have in common, by what was shown to ``other`` as the key of ``one``, if it can tell."""
        public = self.shown[other][one].channel_key
        private = self.own.get(public)
        if one in self.colluding and private is None:
            private = self.client(one)._channel.private
        if private is None:
            return None
        return keys.Agreement(private).with_peer(self.advertised[other].channel_key)

    def circle(self, under: Keys | None = None) -> list[int]:
        """The clients in their order on the circle, if these keys are listed: those that were advertised."""
        under = under or self.advertised
        root = merkle.root([one.leaf(index) for index, one in under.items()])
        listing = Listing(self.cohort, self.backend.tolerance, tuple(under), root)
        members = sorted(under)
        return [members[rank] for rank in listing.graph._circle[0]]

    def neighbours(self, index: int) -> tuple[int, ...]:
        return tuple(holder for holder in self.shown[index] if holder != index)

    def dealing(self, index: int) -> bytes:
        return self.listings[index].dealing(sorted(self.views[index].dealers))

    # Dealers, survivors, tags.

    def relay(self, views: Mapping[int, View], box: Box | None = None) -> None:
        """Show each client its dealers, with their boxes, and take its input.

        ``box``: (dealer, holder) → what to relay instead. Nobody needs what the helpers might have dealt.
        """
        find = box or (lambda dealer, holder: self.boxes.get((dealer, holder), bytes(RELAYED_BYTES)))
        self.views |= views
        for index, view in views.items():
            some = [dealer for dealer in self.neighbours(index) if dealer in view.dealers]
            boxes = b"".join(find(dealer, index) for dealer in some)
            payload = RelayedShares(tuple(sorted(view.dealers)), boxes).encode(self.n)
            if (packed := self.ask(index, "masked-input", payload)) is not None:
                self.inputs[index] = self.cohort.ring.unpack(packed, LENGTH)

    def attest(self) -> None:
        for index in self.inputs:
            answer = self.ask(index, "consistency", self.survivor_set(index))
            if answer is not None:
                alive = [peer for peer in self.neighbours(index) if peer in self.views[index].survivors]
                tags = bytes(ConsistencyTags.decode(answer, len(alive)).tags)
                for place, peer in enumerate(alive):
                    at = place * CONSISTENCY_BYTES
                    self.tags[index, peer] = tags[at : at + CONSISTENCY_BYTES]

    def survivor_set(self, index: int) -> bytes:
        return SurvivorSet(tuple(sorted(self.views[index].survivors))).encode(self.n)

    def reveal(self, index: int) -> None:
        """Ask a client for its shares, with all tags that there are and those that can be made up."""
        view, neighbours = self.views[index], self.neighbours(index)
        tags = {peer: self.tags[peer, index] for peer in neighbours if (peer, index) in self.tags}
        for peer in neighbours:
            if (secret := self.channel_secret(peer, index)) is not None:
                survivors, dealing = self.survivor_set(index), self.dealing(index)
                tags[peer] = keys.consistency_tag(secret, dealing, peer, index, survivors)
        tags = {peer: tags[peer] for peer in sorted(tags) if peer in view.survivors}
        answer = self.ask(index, "unmask", RelayedTags(tags).encode(tuple(self.shown[index])))
        if answer is not None:
            self.answered.add(index)
            self.take_shares(index, answer, view.survivors)

    def take_shares(self, holder: int, answer: bytes, survivors: Collection[int]) -> None:
        revealed = UnmaskShares.decode(answer, tuple(self.shown[holder]))
        for dealer, share in zip(revealed.dealers, revealed.shares, strict=True):
            self.shares[dealer, SEED if dealer in survivors else KEY][holder] = share

    def alike(self) -> View:
        return View(self.everybody, self.everybody)

    def run(self, views: Mapping[int, View] | None = None) -> None:
        """All phases. ``views``: None shows everybody everybody."""
        if not self.listings:
            self.list_keys()
        self.relay(dict.fromkeys(sorted(self.honest), self.alike()) if views is None else views)
        self.attest()
        for index in self.inputs:
            self.reveal(index)
