"""The sharing client: splits its vector once and is done (spec section 13.3)."""

from __future__ import annotations

from collections.abc import Sequence

from mpc import field
from mpc.tape import RandomTape
from secagg.checks.base import Check
from secagg.client import OneShotClient, Vector
from secagg.cohort import Cohort
from secagg.sealed import seal_into
from secagg.sharing.keys import SEED_BYTES, share_context, share_key
from secagg.sharing.messages import INPUT, SharedInput, sealed_bytes


class SharingClient(OneShotClient):
    """One client of one round. ``sealing_keys``: the aggregators' pinned X25519 keys, in their order."""

    input_phase = INPUT

    def __init__(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        checks: Sequence[Check],
        tape: RandomTape,
        sealing_keys: Sequence[bytes],
    ) -> None:
        super().__init__(cohort, me, vector, checks, tape)
        self._sealing_keys = tuple(sealing_keys)

    def _contribution(self) -> memoryview:
        """Each share in a box for its aggregator, which opens in no other place."""
        length, digest = self.cohort.length, self.cohort.digest
        payload = memoryview(bytearray(SharedInput.size(length, len(self._sealing_keys))))
        end = 0
        for aggregator, (key, share) in enumerate(zip(self._sealing_keys, self._split(), strict=True)):
            start, end = end, end + sealed_bytes(length, aggregator)
            context = share_context(digest, self.index, aggregator)
            seal_into(payload[start:end], key, context, share, self._tape)
        return payload

    def _split(self) -> list[bytes | memoryview]:
        """x = x_0 + Σ expand(seed_j) over Field64: [x_0, seed_1, …, seed_(m-1)], as bytes.

        Any m - 1 of these are uniform whatever x is: without x_0 they are seeds, and without seed_j its
        expansion hides x in x_0.
        """
        explicit = field.encode(self._vector)
        seeds = [self._tape.read(SEED_BYTES) for _ in self._sealing_keys[1:]]
        for aggregator, seed in enumerate(seeds, start=1):
            field.sub_expansion(explicit, share_key(seed, self.cohort.digest, self.index, aggregator))
        return [explicit.astype("<u8", copy=False).data.cast("B"), *seeds]
