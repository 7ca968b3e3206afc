"""RoundLog: which rounds a party has taken part in, and never does again (spec section 9)."""

from __future__ import annotations

from collections.abc import Iterable


class RoundLog:
    """A key holder's or aggregator's memory, which goes with its long-term keys; or a client's.

    Two sums of one round over different clients would differ by single vectors. The log lives in memory:
    a helper that stops saves ``entries()`` and starts again with them, or with new keys.
    """

    def __init__(self, entries: Iterable[tuple[bytes, int]] = ()) -> None:
        """``entries``: pairs of session and round."""
        self._entries: dict[tuple[bytes, int], object] = dict.fromkeys(entries)

    def enter(self, session: bytes, round: int) -> bool:
        """Enter a round; False, and nothing changed, if it was there before."""
        mine = object()
        # One step, so that of two threads that ask for the same round only one is told True.
        return self._entries.setdefault((session, round), mine) is mine

    def entries(self) -> tuple[tuple[bytes, int], ...]:
        """All pairs of session and round, in the order in which they were entered."""
        return tuple(self._entries)

    def __repr__(self) -> str:
        return f"RoundLog({len(self._entries)} rounds)"
