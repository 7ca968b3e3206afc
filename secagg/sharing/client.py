"""The sharing client: splits its vector once and is done (spec section 13.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from mpc.party import Message
from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.client import OneShotClient, Vector
from secagg.cohort import Cohort
from secagg.sealed import SEAL_OVERHEAD, seal_into
from secagg.sharing.keys import share_context
from secagg.sharing.messages import INPUT, SharedInput
from secagg.sharing.scheme import Scheme, Unprovable


class SharingClient(OneShotClient):
    """One client of one round. ``sealing_keys``: the aggregators' pinned X25519 keys, in their order.

    A client that cannot prove what the checks claim stays silent, which hides by how much it misses them;
    ``declined`` says why, to its own caller.
    """

    input_phase = INPUT
    saved: ClassVar[tuple[str, ...]] = ("declined",)

    def __init__(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        checks: Sequence[Check],
        tape: RandomTape,
        sealing_keys: Sequence[bytes],
        scheme: Scheme,
    ) -> None:
        super().__init__(cohort, me, vector, checks, tape)
        self._sealing_keys = tuple(sealing_keys)
        self._scheme = scheme

    @property
    def share_sizes(self) -> tuple[int, ...]:
        """Bytes of its shares, by aggregator, before they are sealed."""
        return self._scheme.sizes

    def start(self) -> list[Message]:
        try:
            return super().start()
        except Unprovable as error:
            self.declined = str(error)
            return []

    def _contribution(self) -> memoryview:
        """Each share in a box for its aggregator, which opens in no other place."""
        shares = self._split()
        payload = memoryview(bytearray(SharedInput.size(self._scheme.sizes)))
        end = 0
        for aggregator, (key, share) in enumerate(zip(self._sealing_keys, shares, strict=True)):
            start, end = end, end + len(share) + SEAL_OVERHEAD
            context = share_context(self.cohort.digest, self.index, aggregator)
            seal_into(payload[start:end], key, context, share, self._tape)
        return payload

    def _split(self) -> list[bytes | memoryview]:
        """Its shares, by aggregator. ``Unprovable`` for a vector that breaks a claim."""
        return self._scheme.split(self.index, self._vector, self._tape)
