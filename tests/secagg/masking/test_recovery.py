"""Where holders of shares lie or go silent, and what the server takes off (spec section 12.4)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.party import Message
from secagg.masking import Adversary, Tolerance, Unmasking, keys
from secagg.masking.messages import UnmaskShares
from tests.secagg.masking.setting import LENGTH, Kept, Setting, in_phase


def test_the_settings_are_three_graphs(setting: Setting) -> None:
    found = (setting.members, len(setting.holders[0]), setting.threshold)
    assert found in [(6, 6, 4), (12, 7, 3), (60, 13, 10)]


def false_share(setting: Setting, holder: int, dealer: int) -> Callable[[Message], list[Message]]:
    """``holder`` reveals another share of ``dealer`` than it was dealt: one bit of one limb."""
    mine = setting.holders[holder]

    def lie(message: Message) -> bytes:
        revealed = UnmaskShares.decode(message.payload, mine)
        shares = revealed.shares.copy()
        shares[revealed.dealers.index(dealer), 2] ^= np.uint64(1)
        return UnmaskShares(revealed.dealers, shares).encode(mine)

    return in_phase("unmask", lie)


# Holders that lie.


@pytest.mark.parametrize("gone", [False, True])
def test_a_lying_holder_is_refused_by_name_and_the_round_goes_on(setting: Setting, gone: bool) -> None:
    """Whether the share is of a survivor's seed or of a dropout's key."""
    dealer = 3
    liar = setting.peers(dealer)[-1]
    drop = {dealer: "masked-input"} if gone else {}
    outcome, backend = setting.play(liars={liar: false_share(setting, liar, dealer)}, drop=drop)
    outcome.require_exact()
    assert set(outcome.survivors) == set(range(setting.members)) - ({dealer} if gone else set())
    assert backend.refused == {liar: f"a share that c{dealer} did not deal to it"}


def test_a_holder_that_lies_about_its_own_share_is_refused_too(setting: Setting) -> None:
    outcome, backend = setting.play(liars={3: false_share(setting, 3, 3)})
    outcome.require_exact()
    assert backend.refused == {3: "a share that c3 did not deal to it"}


def test_as_many_liars_as_holders_can_be_spared(setting: Setting) -> None:
    dealer = 3
    liars = setting.peers(dealer)[: setting.spare]
    outcome, backend = setting.play(liars={liar: false_share(setting, liar, dealer) for liar in liars})
    outcome.require_exact()
    assert set(backend.refused) == set(liars)


def test_one_liar_more_ends_the_round(setting: Setting) -> None:
    """And leaves nothing open: too few shares of somebody's, or too few answers at all, with the names."""
    dealer = 3
    liars = setting.peers(dealer)[: setting.spare + 1]
    outcome, backend = setting.play(liars={liar: false_share(setting, liar, dealer) for liar in liars})
    assert outcome.abort is not None
    assert set(backend.refused) == set(liars)
    if setting.members == 60:
        assert lacking(setting, outcome.abort, liars)
    else:
        answered = setting.members - len(liars)
        assert outcome.abort.reason.startswith(f"{answered} of {setting.members} clients answered")
    assert set(outcome.abort.evidence["rejected"]) == {f"c{liar}" for liar in liars}


def lacking(setting: Setting, abort: Any, gone: Collection[int], what: str = "answered") -> bool:
    """Whether the one that is named is the first that has too few holders left."""
    left = {index: len(set(holders) - set(gone)) for index, holders in setting.holders.items()}
    first = next(index for index in left if left[index] < setting.threshold)
    expected = (
        f"a client's secret cannot be recovered: {left[first]} of the {len(setting.holders[first])} "
        f"that hold its shares {what}; the threshold is {setting.threshold}"
    )
    return (abort.reason, abort.evidence["client"]) == (expected, f"c{first}")


# Holders that go silent.


@pytest.mark.parametrize("phase", ["masked-input", "consistency", "unmask"])
def test_a_threshold_of_holders_is_enough(setting: Setting, phase: str) -> None:
    dealer = 3
    gone = setting.peers(dealer)[-setting.spare :]
    outcome, _ = setting.play(drop=dict.fromkeys(gone, phase))
    outcome.require_exact()
    assert (set(gone) <= set(outcome.survivors)) is (phase != "masked-input")


@pytest.mark.parametrize("phase", ["masked-input", "unmask"])
def test_one_less_is_not_and_it_is_said_whose(rig: SimpleNamespace, setting: Setting, phase: str) -> None:
    """Where the cohort's own threshold is reached all the same, as on a sparse graph it can be."""
    gone = setting.peers(3)[-(setting.spare + 1) :]
    outcome, _ = setting.play(drop=dict.fromkeys(gone, phase))
    assert outcome.abort is not None
    if setting.members == 60:
        what = "survived" if phase == "masked-input" else "answered"
        assert lacking(setting, outcome.abort, gone, what)
    else:
        assert outcome.abort.reason.startswith(f"{setting.members - len(gone)} of {setting.members} clients")


def test_who_has_too_few_holders_that_dealt_is_left_out_and_the_round_goes_on(rig: SimpleNamespace) -> None:
    """While nothing is masked yet nobody depends on it."""
    tolerance, vectors = Tolerance(0.0, 0.05, Adversary.NONE), rig.vectors(40, LENGTH, 16)
    backend = Kept(tolerance=tolerance)
    rig.play(backend, vectors).require_exact()
    gone = set(backend.clients[3]._holders) - {3}
    assert (len(gone), backend.clients[3]._listing.threshold) == (4, 2)
    outcome = rig.play(backend, vectors, drop=dict.fromkeys(gone, "share-keys"))
    outcome.require_exact()
    assert set(outcome.survivors) == set(range(40)) - gone - {3}
    assert outcome.rejected == {}
    assert outcome.transcript.refusals == []


def test_where_one_takes_all_others_along_nobody_is_left(setting: Setting) -> None:
    """With a threshold beyond half of the holders a gap that is wide enough grows round the circle."""
    gone = setting.peers(3)[: setting.spare + 1]
    outcome, _ = setting.play(drop=dict.fromkeys(gone, "share-keys"))
    assert outcome.abort is not None
    if setting.members == 60:
        expected = "0 of 60 clients shared keys with enough others that did; the threshold is 40"
    else:
        left = setting.members - len(gone)
        expected = (
            f"{left} of {setting.members} clients shared keys; the threshold is {2 * setting.members // 3}"
        )
    assert outcome.abort.reason == expected


def test_what_is_taken_off_are_self_masks_and_orphaned_masks(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each survivor its own; of each dropout those that it has in common with a survivor."""
    taken: list[tuple[bytes, int]] = []
    genuine = Unmasking.run

    def spy(self: Unmasking, total: Any, streams: Any) -> None:
        taken.extend(streams)
        genuine(self, total, streams)

    monkeypatch.setattr(Unmasking, "run", spy)
    gone = {3: "masked-input", setting.peers(3)[0]: "masked-input"}
    outcome, backend = setting.play(drop=gone)
    outcome.require_exact()
    clients = backend.clients
    dealing = clients[next(iter(outcome.survivors))]._listing.dealing(range(setting.members))
    expected = [
        (keys.self_mask_key(clients[index]._self_seed, dealing, index), -1) for index in outcome.survivors
    ]
    for dropped in gone:
        agreement = keys.Agreement(clients[dropped]._mask.private)
        for peer in set(setting.peers(dropped)) - set(gone):
            shared = agreement.with_peer(clients[peer]._mask.public)
            key = keys.pairwise_mask_key(shared, dealing, peer, dropped)
            expected.append((key, -1 if peer < dropped else 1))
    assert sorted(taken) == sorted(expected)


def test_a_recovery_shows_no_share(setting: Setting) -> None:
    shown: list[str] = []

    def look(message: Message) -> bytes:
        shown.append(repr(backend_of.kept._recovery))
        return bytes(message.payload)

    backend_of = Kept(tolerance=setting.tolerance)
    vectors = setting.rig.vectors(setting.members, LENGTH, 16)
    setting.rig.play(backend_of, vectors, liars={0: in_phase("unmask", look)}).require_exact()
    assert shown == [f"Recovery(<secret>, {setting.members} dealers)"]


# More dropouts than a semi-honest graph holds for: what is left of it might be in parts, with a sum for each.


@pytest.mark.parametrize("phase", ["share-keys", "masked-input"])
@pytest.mark.parametrize(("gone", "opens"), [(2, True), (3, False)])
def test_a_semi_honest_graph_holds_for_its_dropouts_only(
    rig: SimpleNamespace, phase: str, gone: int, opens: bool
) -> None:
    tolerance = Tolerance(0.0, 0.05, Adversary.SEMI_HONEST)
    apart = [5, 18, 31]  # no two of them share so many neighbours that a secret is lost
    vectors = rig.vectors(40, LENGTH, 16)
    outcome = rig.play(Kept(tolerance=tolerance), vectors, drop=dict.fromkeys(apart[:gone], phase))
    if opens:
        outcome.require_exact()
    else:
        assert outcome.abort is not None
        assert "37 of the 40 listed clients" in outcome.abort.reason
        assert "holds for 38 or more" in outcome.abort.reason
