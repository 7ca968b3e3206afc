"""Structural checks: always on, for every backend, before anything is decoded (spec section 8.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.party import Message
from secagg.checks.base import ACCEPT, Abort, Check, Reject, Verdict
from secagg.cohort import Cohort


class Structural(Check):
    """Refuses a message whose length is not the one that its phase has, and a sum that no inputs have.

    The strict decoders of each backend do the rest of this tier (canonical encoding, range,
    well-formed ciphertexts and shares); what they refuse is reported under this check's name.
    """

    name = "structural"

    def __init__(self, expected_bytes: Callable[[str], int | None], largest: int = 0) -> None:
        """``expected_bytes(phase)``: the only payload length there is, or None where it varies.

        ``largest``: an entry that a client may have in spite of the encoding's own bound, if it is larger.
        """
        self._expected_bytes = expected_bytes
        self._largest = largest

    def on_message(self, cohort: Cohort, client: str, message: Message) -> Verdict:
        expected = self._expected_bytes(message.phase)
        if expected is not None and len(message.payload) != expected:
            return Reject(
                client,
                f"wrong length: {len(message.payload)} bytes in phase {message.phase!r}, "
                f"where {expected} were due",
                {"bytes": len(message.payload), "expected": expected},
            )
        return ACCEPT

    def on_aggregate(self, cohort: Cohort, survivors: Sequence[str], total: NDArray[np.int64]) -> Verdict:
        bound = len(survivors) * max(cohort.max_entry, self._largest)
        largest = int(np.abs(total).max())
        if largest > bound:
            return Abort(
                "a coordinate of the sum is larger than any contributions of the survivors could make it",
                {"largest": largest, "bound": bound, "survivors": len(survivors)},
            )
        return ACCEPT
