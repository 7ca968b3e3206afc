"""What the server does where dealers deal inconsistent shares, or others than they committed to (spec
section 12.4)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mpc import field, shamir
from mpc.party import Message
from secagg.masking.messages import SealedShares, UnmaskShares
from tests.secagg.masking.setting import Setting, in_phase


def deals(
    monkeypatch: pytest.MonkeyPatch,
    setting: Setting,
    dealer: int,
    secret: Callable[[Any], Any] = lambda secrets: secrets,
    wrong: Collection[int] = (),
) -> None:
    """One dealer deals another secret, or shares that are at some places on no polynomial of the others.

    It commits to what it deals all the same.
    """
    genuine, points_of = shamir.split, [holder + 1 for holder in setting.holders[dealer]]
    done: list[int] = []

    def split(secrets: Any, threshold: int, points: Any, tape: Any) -> Any:
        # Where several have the same holders, as on the complete graph, it is the one in its turn.
        done.extend([1] * (points == points_of))
        if points != points_of or (setting.members == 6 and len(done) != dealer + 1):
            return genuine(secrets, threshold, points, tape)
        shares = genuine(secret(secrets), threshold, points, tape)
        for place in wrong:
            shares[place] = field.expand(bytes([place]) * 16, shares[place].size)
        return shares

    monkeypatch.setattr(shamir, "split", split)


@pytest.mark.parametrize("gone", [False, True])
def test_a_dealer_of_other_secrets_is_named(
    monkeypatch: pytest.MonkeyPatch, setting: Setting, gone: bool
) -> None:
    """They are as well-formed as its own, and only the commitment or the public key tells."""
    deals(monkeypatch, setting, 3, lambda secrets: secrets ^ np.uint64(1 << 20))
    outcome, backend = setting.play(drop={3: "masked-input"} if gone else {})
    assert outcome.abort is not None
    assert outcome.abort.evidence == {"client": "c3"}
    what = "the masking key that it advertised" if gone else "the self-mask seed that it committed to"
    assert outcome.abort.reason == f"a client dealt inconsistent shares: they do not give {what}"
    assert backend.refused == {}


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("bad", ["all", "one"])
def test_a_dealer_whose_shares_are_on_no_polynomial_is_named(
    monkeypatch: pytest.MonkeyPatch, setting: Setting, gone: bool, bad: str
) -> None:
    dealer, drop = 3, {3: "masked-input"} if gone else {}
    holders = [holder for holder in setting.holders[dealer] if holder not in drop]
    asked = [setting.holders[dealer].index(holder) for holder in holders[: setting.threshold]]
    deals(monkeypatch, setting, dealer, wrong=asked[-1:] if bad == "one" else range(len(holders)))
    outcome, backend = setting.play(drop=drop)
    assert outcome.abort is not None
    assert outcome.abort.evidence == {"client": "c3"}
    assert outcome.abort.reason.startswith("a client dealt inconsistent shares: they do not give ")
    assert backend.refused == {}


def test_shares_that_are_not_asked_for_may_be_wrong(
    monkeypatch: pytest.MonkeyPatch, setting: Setting
) -> None:
    """The first threshold of holders by index are, and what they give is checked."""
    last = range(setting.threshold, len(setting.holders[3]))
    deals(monkeypatch, setting, 3, wrong=last)
    outcome, _ = setting.play()
    outcome.require_exact()


@pytest.mark.parametrize("how", ["box", "commitment"])
@pytest.mark.parametrize("many", [False, True])
def test_a_dealer_whose_box_is_not_what_it_committed_to_costs_that_share(
    setting: Setting, how: str, many: bool
) -> None:
    """Its receiver leaves it out, is not refused for it, and others hold enough."""
    dealer = 3
    count = len(setting.holders[dealer])
    victims = setting.peers(dealer)[: setting.spare if many else 1]
    places = [setting.holders[dealer].index(victim) for victim in victims]

    def lie(message: Message) -> bytes:
        dealt = SealedShares.decode(message.payload, count)
        committed, sealed = bytearray(dealt.share_commitments), bytearray(dealt.sealed)
        for place, victim in zip(places, victims, strict=True):
            if how == "box":
                sealed[96 * (place - (victim > dealer))] ^= 1
            else:
                committed[32 * place + 31] ^= 1
        return SealedShares(dealt.commitment, bytes(committed), bytes(sealed)).encode()

    seen: dict[int, tuple[int, ...]] = {}

    def look(message: Message) -> bytes:
        index = message.sender.index
        seen[index] = UnmaskShares.decode(message.payload, setting.holders[index]).dealers
        return bytes(message.payload)

    liars: dict[int, Any] = {victim: in_phase("unmask", look) for victim in victims}
    outcome, backend = setting.play(liars={**liars, dealer: in_phase("share-keys", lie)})
    outcome.require_exact()
    assert outcome.survivors == tuple(range(setting.members))
    assert backend.refused == {}
    for victim in victims:
        assert seen[victim] == tuple(index for index in setting.holders[victim] if index != dealer)


def test_a_dealer_that_does_so_to_too_many_ends_the_round_and_is_named(setting: Setting) -> None:
    dealer, lost = 3, setting.spare + 1

    def lie(message: Message) -> bytes:
        dealt = SealedShares.decode(message.payload, len(setting.holders[dealer]))
        return replace(dealt, sealed=bytes(96 * lost) + bytes(dealt.sealed[96 * lost :])).encode()

    outcome, _ = setting.play(liars={dealer: in_phase("share-keys", lie)})
    assert outcome.abort is not None
    assert outcome.abort.evidence == {"client": "c3"}
    found, threshold = setting.threshold - 1, setting.threshold
    assert f" {found} of the {len(setting.holders[dealer])} that hold its shares" in outcome.abort.reason
    assert outcome.abort.reason.endswith(f" answered; the threshold is {threshold}")


def test_a_seed_that_was_not_committed_to_names_its_dealer(setting: Setting) -> None:
    def lie(message: Message) -> bytes:
        dealt = SealedShares.decode(message.payload, len(setting.holders[3]))
        return replace(dealt, commitment=bytes(32)).encode()

    outcome, _ = setting.play(liars={3: in_phase("share-keys", lie)})
    assert outcome.abort is not None
    assert outcome.abort.evidence == {"client": "c3"}
    assert outcome.abort.reason.endswith("they do not give the self-mask seed that it committed to")
    # Its masking key is another secret: if it drops out, the seed is not asked for.
    outcome, _ = setting.play(liars={3: in_phase("share-keys", lie)}, drop={3: "masked-input"})
    outcome.require_exact()
