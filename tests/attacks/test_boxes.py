"""Sealed shares that arrive where they were not sent, or are not what was sent.

They do not open, or are not what their dealer committed to, and are not kept: a client has fewer shares to
reveal, and never others.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from secagg import Masking
from secagg.masking import Tolerance
from secagg.masking.messages import COMMITTED_BYTES, KEY, RELAYED_BYTES, SEED
from tests.attacks.clients import SPARSE
from tests.attacks.liar import Liar
from tests.attacks.opening import opened

VICTIM = 3
GRAPHS = pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])


def flipped(box: bytes, place: int) -> bytes:
    return box[:place] + bytes([box[place] ^ 1]) + box[place + 1 :]


def another(liar: Liar, of: int, but: int) -> int:
    return next(index for index in liar.neighbours(of) if index != but)


# Instead of what the dealer dealt the holder: who liar is, dealer, holder → box.
BOXES: dict[str, Callable[[Liar, int, int], bytes]] = {
    "of another dealer": lambda liar, dealer, holder: liar.boxes[another(liar, holder, dealer), holder],
    "for another holder": lambda liar, dealer, holder: liar.boxes[dealer, another(liar, dealer, holder)],
    "back to who dealt it": lambda liar, dealer, holder: liar.boxes[holder, dealer],
    "nothing": lambda liar, dealer, holder: bytes(RELAYED_BYTES),
    "another commitment to the seed": lambda liar, dealer, holder: flipped(liar.boxes[dealer, holder], 0),
    "another commitment to the key": lambda liar, dealer, holder: flipped(liar.boxes[dealer, holder], 31),
    "the commitments of another": lambda liar, dealer, holder: (
        liar.boxes[another(liar, holder, dealer), holder][:COMMITTED_BYTES]
        + liar.boxes[dealer, holder][COMMITTED_BYTES:]
    ),
    "another box": lambda liar, dealer, holder: flipped(liar.boxes[dealer, holder], COMMITTED_BYTES),
}


def held(liar: Liar, holder: int) -> set[int]:
    """Of whom a client has revealed a share."""
    return {dealer for (dealer, _), shares in liar.shares.items() if holder in shares}


def play(rig: SimpleNamespace, n: int, tolerance: Tolerance | None, name: str, whose: set[int]) -> Liar:
    """All boxes of ``whose`` holders are replaced."""
    liar = Liar(rig, Masking(tolerance=tolerance), n)
    liar.list_keys()

    def box(dealer: int, holder: int) -> bytes:
        return BOXES[name](liar, dealer, holder) if holder in whose else liar.boxes[dealer, holder]

    liar.relay(dict.fromkeys(range(n), liar.alike()), box)
    liar.attest()
    for index in range(n):
        liar.reveal(index)
    return liar


@GRAPHS
@pytest.mark.parametrize("name", BOXES)
def test_one_client_that_gets_none_of_its_own_keeps_none(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, name: str
) -> None:
    """It takes part all the same, and the others' shares are enough for the sum."""
    liar = play(rig, n, tolerance, name, {VICTIM})
    assert liar.refused == {}
    assert held(liar, VICTIM) == {VICTIM}
    assert all(held(liar, index) == set(liar.shown[index]) for index in liar.everybody - {VICTIM})
    assert opened(liar) == [liar.everybody]


@GRAPHS
@pytest.mark.parametrize("name", BOXES)
def test_if_nobody_gets_its_own_nothing_opens(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, name: str
) -> None:
    liar = play(rig, n, tolerance, name, set(range(n)))
    assert liar.refused == {}
    assert all(held(liar, index) == {index} for index in range(n))
    assert opened(liar) == []


@GRAPHS
def test_no_share_is_ever_another_than_was_dealt(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None
) -> None:
    """Whoever is in the middle of the sealed shares: what comes back lies on the dealers' polynomials."""
    honest = play(rig, n, tolerance, "nothing", set())
    for name in BOXES:
        liar = play(rig, n, tolerance, name, {VICTIM, 5})
        for (dealer, kind), shares in liar.shares.items():
            assert kind == SEED
            for holder, share in shares.items():
                assert np.array_equal(share, honest.shares[dealer, kind][holder])
    assert not any(kind == KEY for _, kind in honest.shares)
