"""What was said in an old round, said again: messages as they were, their contents, keys known since."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from mpc.errors import PeerError
from mpc.party import Message
from secagg import Masking
from secagg.masking import Tolerance
from secagg.masking.client import MaskingClient
from secagg.masking.messages import KEY, KeyList
from tests.attacks.clients import SPARSE, ClientsOf
from tests.attacks.liar import Liar, View
from tests.attacks.opening import opened, secret

VICTIM = 3
GRAPHS = pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])
PHASES = ("share-keys", "masked-input", "consistency", "unmask")


def recorded(rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> tuple[Liar, dict[str, Message]]:
    """An honest round, and what the victim was sent in it, over its link."""
    liar = Liar(rig, Masking(tolerance=tolerance), n, seed="old", round=3)
    sent: dict[str, Message] = {}
    party, link = liar.parties[VICTIM], liar.links[VICTIM]

    def close(message: Message) -> Message:
        sent[message.phase] = type(link).close(link, message)
        return sent[message.phase]

    liar.links[VICTIM] = SimpleNamespace(close=close)  # type: ignore[assignment]
    liar.run()
    assert opened(liar) == [set(range(n))]
    assert party._inner.state == "unmasked"
    return liar, sent


@GRAPHS
@pytest.mark.parametrize(("seed", "round_"), [("new", 4), ("old", 4), ("new", 3)])
def test_messages_as_they_were_change_nothing(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, seed: str, round_: int
) -> None:
    """In the next round; there with the same tape, as if the client had been set back; in the same again."""
    _, sent = recorded(rig, n, tolerance)
    liar = Liar(rig, Masking(tolerance=tolerance), n, seed=seed, round=round_)
    party = liar.parties[VICTIM]
    for step in (liar.list_keys, lambda: liar.relay(dict.fromkeys(range(n), liar.alike())), liar.attest):
        for phase in PHASES:
            state = party._inner.state
            with pytest.raises(
                PeerError, match="replayed: belongs to round 3" if round_ == 4 else "tampered"
            ):
                party.receive(sent[phase])
            assert party._inner.state == state
        step()
    for index in range(n):
        liar.reveal(index)
    assert opened(liar) == [set(range(n))]


@GRAPHS
@pytest.mark.parametrize("phase", PHASES)
def test_their_contents_in_messages_of_this_round_open_nothing(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, phase: str
) -> None:
    """The server can put any content under a good link tag. It plays the rest of the round honestly."""
    _, sent = recorded(rig, n, tolerance)
    liar = Liar(rig, Masking(tolerance=tolerance), n, seed="new", round=4)
    ask = liar.ask

    def replaying(index: int, due: str, payload: bytes) -> bytes | None:
        return ask(index, due, bytes(sent[due].payload) if (index, due) == (VICTIM, phase) else payload)

    liar.ask = replaying  # type: ignore[method-assign]
    liar.run()
    if phase == "share-keys":
        assert liar.refused[VICTIM].startswith("its key list is for another cohort")
    elif phase == "unmask":
        assert VICTIM in liar.refused  # on the sparse graph its holders are others as well
    elif phase == "masked-input":  # boxes that do not open cost their receiver nothing
        assert liar.refused == {}
        dealers = {dealer for dealer, _ in liar.shares if VICTIM in liar.shares[dealer, 0]}
        assert dealers == {VICTIM}
    assert opened(liar) in ([], [set(range(n))])
    assert {VICTIM} not in opened(liar)


class TestKeysOpenedSince:
    """A masking key is opened when its owner drops out. Listed again, it would be known from the start."""

    class Selfless(MaskingClient):
        """Looks neither for itself nor at signatures."""

        def _check_keys(self, message: Message, listed: KeyList) -> None:
            pass

    def opened_keys(
        self, rig: SimpleNamespace, n: int, signed: bool
    ) -> dict[int, tuple[bytes, bytes, bytes]]:
        """From earlier rounds, in which by turns two dropped out: public, private, signature."""
        found = {}
        for round_, gone in enumerate([{0, 1}, {2, 4}, {5, 6}]):
            liar = Liar(rig, Masking(), n, seed=f"{round_}", signed=signed, round=round_)
            view = View(liar.everybody, liar.everybody - gone)
            liar.list_keys()
            liar.relay(dict.fromkeys(range(n), liar.alike()))
            liar.views = dict.fromkeys(range(n), view)
            liar.inputs = {index: liar.inputs[index] for index in view.survivors}
            liar.attest()
            for index in view.survivors:
                liar.reveal(index)
            for index in gone:
                private = secret(liar, index, KEY)
                assert private is not None
                found[index] = (liar.advertised[index], private)
        return found

    def play(self, rig: SimpleNamespace, backend: Masking, signed: bool) -> Liar:
        old = self.opened_keys(rig, 7, signed)
        liar = Liar(rig, backend, 7, seed="new", signed=signed, round=3)
        listed = dict(liar.advertised)
        for index, (shown, private) in old.items():
            liar.own[shown.mask_key] = private
            listed[index] = replace(shown, channel_key=listed[index].channel_key)
        liar.list_keys(under=listed)
        liar.run()
        return liar

    @pytest.mark.parametrize("signed", [False, True])
    def test_they_are_refused(self, rig: SimpleNamespace, signed: bool) -> None:
        liar = self.play(rig, Masking(), signed)
        others = "the key list holds other keys for me than those I advertised"
        assert {liar.refused[index] for index in range(7) if index != VICTIM} == {others}
        assert ("not signed by" if signed else "survivors were shown") in liar.refused[VICTIM]
        assert opened(liar) == []

    @pytest.mark.parametrize("signed", [False, True])
    def test_who_does_not_look_is_opened_alone(self, rig: SimpleNamespace, signed: bool) -> None:
        assert {VICTIM} in opened(self.play(rig, ClientsOf(self.Selfless), signed))

    def test_a_whole_advertisement_of_an_old_round_is_not_signed_for_this_one(
        self, rig: SimpleNamespace
    ) -> None:
        old = Liar(rig, Masking(), 7, seed="old", signed=True, round=3)
        liar = Liar(rig, Masking(), 7, seed="new", signed=True, round=4)
        liar.list_keys([VICTIM], {**old.advertised, VICTIM: liar.advertised[VICTIM]})
        assert liar.refused == {VICTIM: "the keys listed for c0 are not signed by c0"}
