"""Clients that lie to an honest server: the sum is exact, or there is none and the liar is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.party import Message
from secagg import Masking
from secagg.masking import Tolerance, keys
from secagg.masking.client import MaskingClient
from secagg.masking.messages import INPUT, PHASES, SEALED_BYTES, SHARE, SHARE_BYTES, UNMASK, SealedShares
from secagg.masking.recovery import Recovery
from secagg.masking.server import MaskingServer
from tests.attacks.clients import SPARSE, ClientsOf

LIAR = 2
GRAPHS = pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])


def wrong(outcome: Any) -> bool:
    """A sum that no inputs have, handed over or so large that the last check still stops it."""
    if outcome.abort is not None:
        return "larger than any contributions" in outcome.abort.reason
    rows = [outcome.vectors[index] for index in outcome.survivors]
    return bool((outcome.total != sum(rows)).any())


def in_phase(phase: str, change: Callable[[bytes], Sequence[bytes]]) -> Callable[[Message], list[Message]]:
    """What is sent in a phase, changed; one or more messages instead of it."""
    return lambda message: [
        replace(message, payload=payload)
        for payload in (change(bytes(message.payload)) if message.phase == phase else [message.payload])
    ]


class TestInconsistentShares:
    """A dealer whose shares lie on a polynomial of higher degree: no threshold of them gives its secret."""

    class OfHigherDegree(MaskingClient):
        def _sealed_shares(self) -> SealedShares:
            self._listing.threshold += 1
            try:
                return super()._sealed_shares()
            finally:
                self._listing.threshold -= 1

    class Unchecked(Recovery):
        """Believes whatever secret the shares give."""

        def _to_secret(self, dealer: int, limbs: np.ndarray) -> bytes:
            return b"".join(int(limb).to_bytes(8, "little")[:7] for limb in limbs)[: keys.SECRET_BYTES]

        def _self_mask(self, survivor: int, seed: bytes, dealing: bytes) -> list[tuple[bytes, int]]:
            return [(keys.self_mask_key(seed, dealing, survivor), -1)]

    def play(self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, **how: Any) -> Any:
        some = {f"c{LIAR}": self.OfHigherDegree}
        backend = ClientsOf(MaskingClient, tolerance=tolerance, some=some)
        return rig.play(backend, rig.vectors(n, 5, 16), **how)

    @GRAPHS
    @pytest.mark.parametrize("stays", [True, False])
    def test_there_is_no_sum_and_the_dealer_is_named(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, stays: bool
    ) -> None:
        outcome = self.play(rig, n, tolerance, drop={} if stays else {LIAR: INPUT})
        assert outcome.total is None
        assert outcome.abort.reason.startswith("a client dealt inconsistent shares: they do not give ")
        assert outcome.abort.evidence == {"client": f"c{LIAR}"}

    @GRAPHS
    def test_a_server_that_believed_them_would_hand_over_a_wrong_sum(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("secagg.masking.server.Recovery", self.Unchecked)
        assert wrong(self.play(rig, n, tolerance))


class TestAnotherKey:
    """A dealer of good shares, but of another masking key than the one that it advertised."""

    class Swapped(MaskingClient):
        def _sealed_shares(self) -> SealedShares:
            advertised, self._mask = self._mask, keys.KeyPair.generate(self._tape)
            try:
                return super()._sealed_shares()
            finally:
                self._mask = advertised

    class Unchecked(Recovery):
        """Believes that the shares give the key that was advertised."""

        def _orphaned_masks(self, dropped: int, private: bytes, dealing: bytes) -> list[tuple[bytes, int]]:
            public = keys.KeyPair.from_private(private).public
            advertised = replace(self._advertised[dropped], mask_key=public)
            self._advertised = {**self._advertised, dropped: advertised}
            return super()._orphaned_masks(dropped, private, dealing)

    def play(self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> Any:
        backend = ClientsOf(MaskingClient, tolerance=tolerance, some={f"c{LIAR}": self.Swapped})
        return rig.play(backend, rig.vectors(n, 5, 16), drop={LIAR: INPUT})

    @GRAPHS
    def test_there_is_no_sum_and_the_dealer_is_named(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        outcome = self.play(rig, n, tolerance)
        assert outcome.total is None
        assert outcome.abort.reason.endswith("they do not give the masking key that it advertised")
        assert outcome.abort.evidence == {"client": f"c{LIAR}"}

    @GRAPHS
    def test_a_server_that_believed_it_would_hand_over_a_wrong_sum(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("secagg.masking.server.Recovery", self.Unchecked)
        assert wrong(self.play(rig, n, tolerance))


class TestBoxesThatDoNotOpen:
    """Shares that a dealer spoils for some of its holders: the others' are enough, or it is named."""

    @GRAPHS
    def test_the_sum_is_exact_as_long_as_a_threshold_can_open_theirs(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        holders, threshold = (5, 4) if tolerance else (7, Masking().resolve_threshold(n))
        for spoiled in range(holders):
            start = SealedShares.size(holders) - (holders - 1) * SEALED_BYTES

            def spoil(payload: bytes, size: int = spoiled * SEALED_BYTES, at: int = start) -> list[bytes]:
                return [payload[:at] + bytes(size) + payload[at + size :]]

            backend = Masking(tolerance=tolerance)
            outcome = rig.play(backend, rig.vectors(n, 5, 16), liars={LIAR: in_phase(SHARE, spoil)})
            if holders - spoiled >= threshold:
                outcome.require_exact()
                assert len(outcome.survivors) == n
            else:
                assert outcome.total is None
                assert outcome.abort.evidence == {"client": f"c{LIAR}"}


class TestSharesThatWereNotDealt:
    """A holder that reveals another share than it was dealt, to spoil the sum or a dealer's name."""

    class Gullible(Recovery):
        """Takes whatever a holder says."""

        def add(self, rank: int, revealed: Any) -> None:
            listing = self._listing
            dealers = np.searchsorted(listing.indices, revealed.dealers)
            places = listing.places[rank, np.searchsorted(listing.holders[rank], dealers)]
            self._shares[dealers, places] = revealed.shares
            self._there[dealers, places] = True

    @staticmethod
    def another(payload: bytes) -> list[bytes]:
        at = len(payload) - SHARE_BYTES
        return [payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]]

    def play(self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> Any:
        liars = {LIAR: in_phase(UNMASK, self.another)}
        return rig.play(Masking(tolerance=tolerance), rig.vectors(n, 5, 16), liars=liars)

    @GRAPHS
    def test_the_holder_is_refused_and_the_sum_is_exact(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        outcome = self.play(rig, n, tolerance)
        outcome.require_exact()
        assert len(outcome.survivors) == n

    @GRAPHS
    def test_a_server_that_took_it_would_accuse_an_honest_dealer(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("secagg.masking.server.Recovery", self.Gullible)
        outcome = self.play(rig, n, tolerance)
        assert outcome.abort.reason.startswith("a client dealt inconsistent shares")
        assert outcome.abort.evidence["client"] != f"c{LIAR}"


def altered(payload: bytes) -> bytes:
    return payload[:-1] + bytes([payload[-1] ^ 1])


class TestSecondMessages:
    """A client that says two things in one phase."""

    class Folding(MaskingServer):
        """Adds whatever comes as an input."""

        def _from_client(self, message: Message) -> list[Message]:
            if message.phase == INPUT == self.state and message.sender.index not in self._awaited:
                return self._on_input(message)
            return super()._from_client(message)

    class ByIt(Masking):
        def _server(self, *arguments: Any) -> MaskingServer:
            return TestSecondMessages.Folding(*arguments, self.tolerance, self.unmasking)

    @GRAPHS
    @pytest.mark.parametrize("phase", [phase for phase in PHASES if phase != "check"])
    def test_the_first_counts_and_the_others_change_nothing(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None, phase: str
    ) -> None:
        liars = {LIAR: in_phase(phase, lambda payload: [payload, payload, altered(payload)])}
        outcome = rig.play(Masking(tolerance=tolerance), rig.vectors(n, 5, 16), liars=liars)
        outcome.require_exact()
        assert outcome.survivors == tuple(range(n))

    @GRAPHS
    def test_a_server_that_added_them_would_hand_over_a_wrong_sum(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        liars = {LIAR: in_phase(INPUT, lambda payload: [payload, payload])}
        assert wrong(rig.play(self.ByIt(tolerance=tolerance), rig.vectors(n, 5, 16), liars=liars))
