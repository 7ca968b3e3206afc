"""A server that shows clients different dealers and survivors, to open less than a threshold of inputs.

Before clients compared what they had been shown, such a server opened single vectors while it relayed all
keys unaltered, and with no client's help. For the sparse graph see also ``test_arc.py``.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from secagg import Masking
from secagg.masking import keys
from secagg.masking.messages import KEY, SEED
from tests.attacks.clients import SPARSE, ClientsOf, Untagged
from tests.attacks.liar import Liar, View
from tests.attacks.opening import opened, secret


def victims_apart(n: int, t: int, c: int, size: int) -> dict[int, View]:
    """Show ``size`` victims as few dealers as they accept, and have the others call those dropped.

    No client calls more than n - t of them dropped, so that its survivors reach the threshold.
    """
    everybody, colluding = set(range(n)), set(range(n - c, n))
    victims = set(range(size))
    others = sorted(everybody - victims - colluding)
    sacrificed = others[: max(0, t - size - c)]
    missing = dict.fromkeys(sacrificed, t - c)
    gone: dict[int, set[int]] = {index: set() for index in range(n - c)}
    for index in sorted(others, key=lambda index: index not in sacrificed):
        wanted = [peer for peer in sacrificed if peer != index and missing[peer] > 0]
        for peer in sorted(wanted, key=lambda peer: -missing[peer])[: n - t]:
            gone[index].add(peer)
            missing[peer] -= 1
    assert not any(missing.values())
    few = frozenset(victims | set(sacrificed) | colluding)
    return {
        index: View(few, few) if index in victims else View(frozenset(everybody), frozenset(everybody - out))
        for index, out in gone.items()
    }


def same_dealers(n: int, t: int, size: int) -> dict[int, View]:
    """Everybody sees all dealers; only the survivors differ. No client helps."""
    everybody = frozenset(range(n))
    missing = dict.fromkeys(range(size, n), t)
    gone: dict[int, set[int]] = {index: set() for index in range(n)}
    for index in (*range(size, n), *range(size)):
        wanted = [peer for peer in missing if peer != index and missing[peer] > 0]
        for peer in sorted(wanted, key=lambda peer: -missing[peer])[: n - t]:
            gone[index].add(peer)
            missing[peer] -= 1
    assert not any(missing.values())
    return {index: View(everybody, everybody - out) for index, out in gone.items()}


def two_camps(n: int, c: int, friends: int) -> dict[int, View]:
    """Client 0 is alive to itself and ``friends`` more, and dead to the other honest clients."""
    everybody = frozenset(range(n))
    return {
        index: View(everybody, everybody if index <= friends else everybody - {0}) for index in range(n - c)
    }


# Clients, threshold, colluders, victims.
APART = [
    (5, 3, 0, 1),
    (7, 4, 0, 1),
    (10, 6, 0, 3),
    (9, 6, 2, 1),
    (12, 8, 3, 1),
    (12, 8, 1, 3),
    (15, 10, 1, 4),
    (15, 10, 4, 1),
]


@pytest.mark.parametrize(("n", "t", "c", "victims"), APART)
def test_victims_shown_other_dealers_stay_closed(
    rig: SimpleNamespace, n: int, t: int, c: int, victims: int
) -> None:
    assert c < 2 * t - n
    liar = Liar(rig, Masking(t), n, range(n - c, n))
    liar.run(victims_apart(n, t, c, victims))
    assert opened(liar) == []
    assert liar.answered.isdisjoint(range(victims))
    assert all(secret(liar, victim, SEED) is None for victim in range(victims))
    assert all("survivors were shown the same sets as I" in reason for reason in liar.refused.values())


@pytest.mark.parametrize(("n", "t", "c", "victims"), APART)
def test_of_clients_that_skip_the_tags_they_would_be_opened(
    rig: SimpleNamespace, n: int, t: int, c: int, victims: int
) -> None:
    """The same server: the test above has teeth."""
    liar = Liar(rig, ClientsOf(Untagged, t), n, range(n - c, n))
    liar.run(victims_apart(n, t, c, victims))
    group = set(range(victims))
    assert group in opened(liar)
    assert len(group) + c < t


class TestTagsSentBack:
    """Each client gets its own tags for the others as if they were theirs for it."""

    def play(self, rig: SimpleNamespace) -> Liar:
        liar = Liar(rig, Masking(4), 7)
        liar.list_keys()
        liar.relay(victims_apart(7, 4, 0, 1))
        liar.attest()
        liar.tags = {(receiver, sender): tag for (sender, receiver), tag in liar.tags.items()}
        for index in range(7):
            liar.reveal(index)
        return liar

    def test_they_do_not_count(self, rig: SimpleNamespace) -> None:
        liar = self.play(rig)
        assert liar.answered == set()
        assert all(why.startswith("1 survivors were shown the same") for why in liar.refused.values())
        assert opened(liar) == []

    def test_were_they_the_same_either_way_the_victim_would_be_opened(
        self, rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tag = keys.consistency_tag

        def either_way(secret: bytes, dealing: bytes, one: int, other: int, survivors: bytes) -> bytes:
            return tag(secret, dealing, min(one, other), max(one, other), survivors)

        monkeypatch.setattr(keys, "consistency_tag", either_way)
        assert {0} in opened(self.play(rig))


@pytest.mark.parametrize(("n", "size"), [(6, 3), (9, 5), (12, 6)])
def test_other_survivors_alone_open_no_group_either(rig: SimpleNamespace, n: int, size: int) -> None:
    """All are shown all dealers, and nobody helps the server."""
    t = Masking().resolve_threshold(n)
    views = same_dealers(n, t, size)
    liar = Liar(rig, Masking(), n)
    liar.run(views)
    assert all(len(group) >= t for group in opened(liar))
    credulous = Liar(rig, ClientsOf(Untagged), n)
    credulous.run(views)
    assert set(range(size)) in opened(credulous)
    assert size < t


@pytest.mark.parametrize(("n", "t"), [(4, 3), (6, 4), (7, 5), (9, 6)])
def test_the_stated_limit_of_colluders_is_tight(rig: SimpleNamespace, n: int, t: int) -> None:
    """With 2t - n of them client 0 is opened, alive and dead in two camps; with one fewer it is not."""
    limit = 2 * t - n
    at_limit = Liar(rig, Masking(t), n, range(n - limit, n))
    at_limit.run(two_camps(n, limit, friends=t - limit - 1))
    assert secret(at_limit, 0, SEED) is not None
    assert secret(at_limit, 0, KEY) is not None
    assert {0} in opened(at_limit)
    for friends in range(n - limit + 1):
        below = Liar(rig, Masking(t), n, range(n - limit + 1, n))
        below.run(two_camps(n, limit - 1, friends))
        assert None in (secret(below, 0, SEED), secret(below, 0, KEY))
        assert all(len(group) >= t - (limit - 1) for group in opened(below))


def camps_on_the_circle(rig: SimpleNamespace, colluders: int, friends: int) -> Liar:
    """The same on a sparse graph: the colluders are the victim's neighbours, as many as there are."""
    liar = Liar(rig, Masking(tolerance=SPARSE), 12)
    circle, everybody = liar.circle(), liar.everybody
    at = circle.index(0)
    near = [circle[(at + step) % 12] for step in (1, -1, 2, -2)]
    liar.colluding = frozenset(near[:colluders])
    alive_to = {0, *near[colluders : colluders + friends]}
    views = {
        index: View(everybody, everybody if index in alive_to else everybody - {0})
        for index in sorted(liar.honest)
    }
    liar.run(views)
    return liar


def test_on_a_sparse_graph_it_takes_as_many_among_the_neighbours(rig: SimpleNamespace) -> None:
    """Of 5 holders 4 open a secret: with 2 · 4 - 5 corrupt ones both of a client's are open."""
    at_limit = camps_on_the_circle(rig, colluders=3, friends=0)
    assert {0} in opened(at_limit)
    for colluders in range(3):
        for friends in range(5 - colluders):
            below = camps_on_the_circle(rig, colluders, friends)
            assert None in (secret(below, 0, SEED), secret(below, 0, KEY))
            assert opened(below) in ([], [set(below.honest)], [set(below.honest) - {0}])


@pytest.mark.parametrize(("n", "tolerance"), [(7, None), (24, SPARSE)])
def test_an_honest_server_opens_the_whole_and_nothing_else(
    rig: SimpleNamespace, n: int, tolerance: object
) -> None:
    liar = Liar(rig, Masking(tolerance=tolerance), n)
    liar.run()
    assert opened(liar) == [set(range(n))]
    assert liar.refused == {}
    assert all(secret(liar, index, KEY) is None for index in range(n))
