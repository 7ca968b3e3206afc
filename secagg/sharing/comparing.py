"""An aggregator that takes part in a comparison of all clients before it counts any (spec section 13.8).

Until then it holds its shares of all clients whose proofs may hold: O(clients · length) memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from mpc import beaver, field
from mpc.errors import DecodeError
from mpc.party import Message
from mpc.prg import Usage, equal
from secagg.cohort import Cohort
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.gram_messages import MaskedSketches, SketchRequest, TaggedSketches, Triangle
from secagg.sharing.keys import AggregatorKey
from secagg.sharing.messages import (
    COMPARE,
    DECIDE,
    GRAM,
    MASKED,
    OPEN,
    RELAY,
    SKETCH,
    JudgedShare,
    RelayedShare,
)
from secagg.sharing.scheme import Fault, Scheme
from secagg.sharing.sketch import SKETCH_SEED_BYTES, Sketching, sketch_tag, triple_key


class ComparingAggregator(Aggregator):
    """One aggregator of a round with a rule on outliers, between whom the server only carries.

    It gives away one share of one Gram matrix in a round, of at least ``cohort.threshold`` clients, all from
    sketches under one seed, against masked sketches of the others that carry their tags; and counts nobody
    before that, nor anybody else after it.
    """

    sketch_seed_bytes = SKETCH_SEED_BYTES
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {
        ("collecting", RELAY): "_on_share",
        ("collecting", DECIDE): "_on_decision",
        ("collecting", SKETCH): "_on_sketch_request",
        ("masked", RELAY): "_on_late",
        ("masked", DECIDE): "_on_decision",
        ("masked", COMPARE): "_on_others",
        ("compared", RELAY): "_on_late",
        ("compared", DECIDE): "_on_decision",
        ("compared", OPEN): "_on_request",
        ("asked", RELAY): "_on_late",
        ("asked", DECIDE): "_on_decision",
        ("opened", RELAY): "_on_late",
        ("opened", DECIDE): "_on_late",
    }
    moves: ClassVar[Mapping[tuple[str, str], str]] = {
        ("collecting", "masked"): SKETCH,
        ("masked", "compared"): COMPARE,
        ("compared", "asked"): OPEN,
        ("compared", "opened"): OPEN,
        ("asked", "opened"): DECIDE,
    }
    saved: ClassVar[tuple[str, ...]] = ("_seed", "_sketches", "_compared")

    def __init__(
        self,
        cohort: Cohort,
        index: int,
        key: AggregatorKey,
        scheme: Scheme,
        sketching: Sketching,
        links: Sequence[bytes],
        dealer: bytes,
    ) -> None:
        """``links``: the public link keys of all aggregators, in order; ``dealer``: the dealer's."""
        super().__init__(cohort, index, key, scheme)
        self._sketching = sketching
        self._links = tuple(links)
        self._dealer = dealer
        self._seed = b""
        self._sketches: dict[int, field.Elements] = {}
        self._compared: tuple[int, ...] = ()

    def _examine(self, relayed: RelayedShare) -> JudgedShare:
        if self._seed not in (b"", relayed.seed):
            raise DecodeError("a share under another seed for sketches than those before it")
        self._seed = relayed.seed
        judged = super()._examine(relayed)
        if judged.fault is Fault.NONE:
            output = self._pending[relayed.client].output
            self._sketches[relayed.client] = self._sketching.sketch(self._seed, output)
        return judged

    def _on_sketch_request(self, message: Message) -> list[Message]:
        asked = SketchRequest.decode(message.payload, self.cohort.size).clients
        self._check_request(message, frozenset(asked))
        # Noted before anything is given away: the same triple would hide two matrices.
        reason = "asks for sketches of a round in which they have been compared before"
        self._enter(message, Usage.SKETCHING, reason)
        self._compared = asked
        self._pending = {client: self._pending[client] for client in asked}
        self._sketches = {client: self._sketches[client] for client in asked}
        self.state = "masked"
        hidden = beaver.hide(self._matrix(), self._triple())
        data = field.to_bytes(hidden)
        tags = tuple(self._tag(self.index, other, data) for other in self._others())
        return [self._to_server(MASKED, MaskedSketches(hidden, tags).encode())]

    def _on_others(self, message: Message) -> list[Message]:
        triple = self._triple()
        opened = beaver.hide(self._matrix(), triple)
        shape = (opened.shape[0], opened.shape[1])
        told = TaggedSketches.decode(message.payload, shape, len(self._links)).others
        for other, (elements, mark) in zip(self._others(), told, strict=True):
            if not equal(mark, self._tag(other, self.index, field.to_bytes(elements))):
                reason = (
                    f"the masked sketches are not those that aggregator {other} has tagged for these clients"
                )
                raise self._refuse(message, reason)
            field.add_into(opened, elements)
        self.state = "compared"
        self._sketches = {}
        return [self._to_server(GRAM, Triangle(beaver.gram_share(opened, triple)).encode())]

    def _count(self, message: Message, client: int, verifiers: tuple[bytes, ...]) -> None:
        if self.state not in ("compared", "asked"):
            raise self._refuse(message, f"is to count {self._name(client)} before clients are compared")
        super()._count(message, client, verifiers)

    def _matrix(self) -> field.Elements:
        """Its shares of the sketches, a column for each client."""
        return np.ascontiguousarray(np.stack([self._sketches[client] for client in self._compared], axis=1))

    def _triple(self) -> beaver.TripleShare:
        digest, binding = self.cohort.digest, self._binding()
        key = triple_key(self._key.link, self._dealer, digest, binding, self.index)
        return beaver.expand(key, self._sketching.projections, len(self._compared))

    def _binding(self) -> bytes:
        return self._sketching.binding(self._seed, self._compared, self.cohort.size)

    def _others(self) -> list[int]:
        return [index for index in range(len(self._links)) if index != self.index]

    def _tag(self, sender: int, receiver: int, data: bytes) -> bytes:
        """One end is this aggregator."""
        other = receiver if sender == self.index else sender
        ends = (sender, receiver)
        return sketch_tag(self._key.link, self._links[other], self.cohort.digest, self._binding(), ends, data)

    def restore(self, state: Mapping[str, object]) -> None:
        super().restore(state)
        if self._compared:  # the log may be older than this party
            self._key.log.enter(*self._entry(Usage.SKETCHING))
