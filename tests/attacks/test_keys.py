"""The man in the middle, and lists of keys that do not belong where they stand.

With one key pair of its own in a client's place the server reads what is dealt to it and knows its masks. The
list is under one root, the client's own keys are in it, and where identities are pinned so is everybody's
name: each of these closes a way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mpc import merkle
from mpc.party import Message
from secagg import Masking
from secagg.masking import Tolerance
from secagg.masking.client import MaskingClient
from secagg.masking.listing import Listing
from secagg.masking.messages import KeyAdvertisement, KeyList
from tests.attacks.clients import SPARSE, ClientsOf, Given
from tests.attacks.liar import Liar
from tests.attacks.opening import opened

VICTIM = 3
GRAPHS = pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])


def keys_of_its_own(liar: Liar) -> dict[int, KeyAdvertisement]:
    """For every client a pair of keys of the server's, under the signature that the client made."""
    genuine = liar.advertised
    return {
        index: replace(liar.make_keys(f"{index}"), signature=genuine[index].signature) for index in genuine
    }


class TestInTheMiddle:
    """The server shows the victim its own keys as everybody else's."""

    class Trusting(MaskingClient):
        """Does not look at signatures."""

        def _check_advertisement(self, message: Message, index: int, advertisement: KeyAdvertisement) -> None:
            pass

    def play(self, rig: SimpleNamespace, backend: Masking, n: int, signed: bool) -> Liar:
        liar = Liar(rig, backend, n, signed=signed)
        liar.list_keys(liar.everybody - {VICTIM})
        liar.list_keys([VICTIM], {**keys_of_its_own(liar), VICTIM: liar.advertised[VICTIM]})
        liar.run()
        return liar

    @GRAPHS
    def test_keys_that_their_owner_did_not_sign_are_refused(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        liar = self.play(rig, Masking(tolerance=tolerance), n, signed=True)
        first = min(liar.neighbours(VICTIM))
        assert liar.refused[VICTIM] == f"the keys listed for c{first} are not signed by c{first}"
        assert VICTIM not in liar.inputs
        assert opened(liar) == []

    @GRAPHS
    def test_who_does_not_look_is_opened_alone(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        liar = self.play(rig, ClientsOf(self.Trusting, tolerance=tolerance), n, signed=True)
        assert {VICTIM} in opened(liar)

    @GRAPHS
    def test_and_where_nobody_signs_there_is_nothing_to_look_at(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        """The limit that is stated: then the server has to relay the keys unaltered."""
        assert {VICTIM} in opened(self.play(rig, Masking(tolerance=tolerance), n, signed=False))

    @GRAPHS
    def test_even_there_half_of_a_middle_opens_nothing(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        """Masking keys of its own, channels untouched: the shares are then for another listing."""
        liar = Liar(rig, Masking(tolerance=tolerance), n)
        liar.list_keys(liar.everybody - {VICTIM})
        forged = masking_keys_of_its_own(liar)
        liar.list_keys([VICTIM], forged)
        liar.run()
        assert VICTIM in liar.inputs
        assert {VICTIM} not in opened(liar)
        assert VICTIM not in liar.answered


def masking_keys_of_its_own(liar: Liar) -> dict[int, KeyAdvertisement]:
    """The channel keys are those that were advertised, the victim's pair is its own."""
    forged = keys_of_its_own(liar)
    return {
        index: one if index == VICTIM else replace(one, mask_key=forged[index].mask_key)
        for index, one in liar.advertised.items()
    }


class TestMyOwnKeys:
    """All keys are the server's, the same for everybody, so that nobody is told anything else."""

    class Selfless(MaskingClient):
        """Does not look for itself in the list."""

        def _check_keys(self, message: Message, listed: KeyList) -> None:
            place = self._listing.rank
            leaves = {place[index]: shown.leaf(index) for index, shown in listed.keys.items()}
            merkle.verify(listed.root, leaves, len(listed.listed), listed.proof)

    def play(self, rig: SimpleNamespace, backend: Masking, n: int, replaced: set[int]) -> Liar:
        liar = Liar(rig, backend, n)
        own = keys_of_its_own(liar)
        liar.list_keys(
            under={index: own[index] if index in replaced else one for index, one in liar.advertised.items()}
        )
        liar.run()
        return liar

    @GRAPHS
    def test_whoever_finds_others_in_their_place_stops(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        liar = self.play(rig, Masking(tolerance=tolerance), n, set(range(n)))
        reason = "the key list holds other keys for me than those I advertised"
        assert liar.refused == dict.fromkeys(range(n), reason)
        assert opened(liar) == []

    @GRAPHS
    def test_the_others_do_not_notice_and_stay_closed(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        """To replace one is to corrupt one."""
        liar = self.play(rig, Masking(tolerance=tolerance), n, {VICTIM})
        assert set(liar.refused) == {VICTIM}
        assert opened(liar) == [set(range(n)) - {VICTIM}]

    @GRAPHS
    def test_who_does_not_look_is_opened_alone(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        liar = self.play(rig, ClientsOf(self.Selfless, tolerance=tolerance), n, set(range(n)))
        assert opened(liar) == [{index} for index in range(n)]


class TestNotUnderTheRoot:
    """One listing for all, but the victim is shown other masking keys than those that are in it."""

    class Unproven(MaskingClient):
        """Takes the keys that it is shown for those that are listed."""

        def _check_keys(self, message: Message, listed: KeyList) -> None:
            own = listed.keys[self.index]
            assert (own.channel_key, own.mask_key) == (self._channel.public, self._mask.public)

    def play(self, rig: SimpleNamespace, backend: Masking, n: int) -> Liar:
        liar = Liar(rig, backend, n)
        liar.list_keys(liar.everybody - {VICTIM})
        liar.list_keys([VICTIM], shown=masking_keys_of_its_own(liar))
        liar.run()
        return liar

    @GRAPHS
    def test_they_are_refused(self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> None:
        liar = self.play(rig, Masking(tolerance=tolerance), n)
        assert liar.refused[VICTIM] == "a Merkle proof that does not lead to the root"
        assert VICTIM not in liar.inputs
        assert opened(liar) == []

    @GRAPHS
    def test_who_takes_them_is_opened_alone(
        self, rig: SimpleNamespace, n: int, tolerance: Tolerance | None
    ) -> None:
        """Its shares and tags are good, since the listing is that of the others."""
        assert {VICTIM} in opened(self.play(rig, ClientsOf(self.Unproven, tolerance=tolerance), n))


Change = Callable[[dict[int, KeyAdvertisement]], dict[int, KeyAdvertisement]]
# Of the victim's holders as the list has them: what is shown instead, in their places.
MOVED: dict[str, Change] = {
    "two neighbours change places": lambda shown: _swapped(shown, *(i for i in shown if i != VICTIM)),
    "mine at my neighbour's place": lambda shown: _swapped(
        shown, VICTIM, next(i for i in shown if i != VICTIM)
    ),
    "mine twice": lambda shown: dict.fromkeys(shown, shown[VICTIM]),
    "one missing": lambda shown: dict(list(shown.items())[:-1]),
    "one more": lambda shown: {**shown, 11: shown[VICTIM]},
}


def _swapped(
    shown: dict[int, KeyAdvertisement], one: int, other: int, *rest: int
) -> dict[int, KeyAdvertisement]:
    return {**shown, one: shown[other], other: shown[one]}


def show(liar: Liar, shown: dict[int, KeyAdvertisement], proved: tuple[int, ...]) -> str:
    """Why the victim stops at these keys, with the proof that these places are under the root."""
    tree = merkle.Tree([one.leaf(index) for index, one in liar.advertised.items()])
    listed = KeyList(liar.cohort.digest, tree.root, tuple(range(12)), shown, tree.proof(proved))
    assert liar.ask(VICTIM, "share-keys", listed.encode(12)) is None
    return liar.refused[VICTIM]


class TestPlaces:
    """Whose keys a client is shown follows from the listing: it cannot be shown anybody else's."""

    @pytest.mark.parametrize("name", MOVED)
    def test_a_key_at_another_place(self, rig: SimpleNamespace, name: str) -> None:
        liar = Liar(rig, Masking(tolerance=SPARSE), 12)
        holders = self.holders(liar, SPARSE)
        shown = MOVED[name]({index: liar.advertised[index] for index in holders})
        assert show(liar, shown, holders).startswith("a Merkle proof")

    @pytest.mark.parametrize(
        "other",
        [Given(degree=6, threshold=4), Given(degree=2, threshold=2), Given(degree=4, threshold=3), None],
        ids=["degree 6", "degree 2", "threshold 3", "complete"],
    )
    def test_the_neighbours_on_another_graph(self, rig: SimpleNamespace, other: Tolerance | None) -> None:
        liar = Liar(rig, Masking(tolerance=SPARSE), 12)
        holders = self.holders(liar, other)
        assert holders != self.holders(liar, SPARSE)
        shown = {index: liar.advertised[index] for index in holders}
        assert show(liar, shown, holders).startswith("a Merkle proof")

    def test_the_neighbours_by_another_seed(self, rig: SimpleNamespace) -> None:
        liar = Liar(rig, Masking(tolerance=SPARSE), 12)
        holders = self.holders(liar, SPARSE, root=bytes(32))
        assert holders != self.holders(liar, SPARSE)
        shown = {index: liar.advertised[index] for index in holders}
        assert show(liar, shown, holders).startswith("a Merkle proof")

    @staticmethod
    def holders(liar: Liar, tolerance: Tolerance | None, root: bytes = b"") -> tuple[int, ...]:
        root = root or merkle.root([one.leaf(index) for index, one in liar.advertised.items()])
        listing = Listing(liar.cohort, tolerance, tuple(range(12)), root)
        return listing.graph.holders(VICTIM)

    def test_two_clients_that_tolerate_different_things_share_nothing(self, rig: SimpleNamespace) -> None:
        """Degree and threshold are in what all keys are bound to: on one listing there is one graph."""
        cohort = Liar(rig, Masking(tolerance=SPARSE), 12).cohort
        digests = {
            Listing(cohort, tolerance, tuple(range(12)), bytes(32)).digest
            for tolerance in (
                SPARSE, None, Given(degree=4, threshold=3), Given(degree=6, threshold=4)
            )
        }  # fmt: skip
        assert len(digests) == 4


@pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])
def test_an_honest_clients_keys_at_another_index_open_nothing(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None
) -> None:
    """A corrupt client advertises the victim's keys as its own: every key is bound to the pair of indices."""
    liar = Liar(rig, Masking(tolerance=tolerance), n)
    copier = n - 1
    honest = liar.everybody - {copier}
    liar.list_keys(honest, {**liar.advertised, copier: liar.advertised[VICTIM]})
    liar.run(dict.fromkeys(sorted(honest), liar.alike()))
    assert liar.refused == {}
    assert opened(liar) == []
