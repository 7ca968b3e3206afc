"""A server that shows clients different dealers and survivors, to open less than a threshold of inputs.

Before clients compared what they had been shown, such a server opened single vectors while it relayed all
keys unaltered, and with no client's help. The tests here play it against the real clients, through their
links. It relays whatever tags help it, and clients that work with it make it any tag, and hand over all they
hold (spec section 12.5).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc import shamir
from mpc.errors import PeerError
from mpc.party import SERVER, Message, client_id
from mpc.ring import add_masks
from mpc.tape import SeededTape
from mpc.wire import Writer
from secagg import Masking
from secagg.link import Link
from secagg.masking import keys
from secagg.masking.client import MaskingClient
from secagg.masking.messages import (
    ConsistencyTags,
    KeyAdvertisement,
    KeyList,
    RelayedShares,
    RelayedTags,
    SealedShares,
    SurvivorSet,
    UnmaskShares,
)

LENGTH = 5
SEED, KEY = 0, 1  # the kinds of shares, as clients hold them


class CredulousClient(MaskingClient):
    """As honest clients were: it takes the server's word for what the others were shown."""

    def _on_relayed_tags(self, message: Message) -> list[Message]:
        return self._reveal()


class Credulous(Masking):
    def _client(self, *arguments: Any) -> MaskingClient:
        return CredulousClient(*arguments)


@dataclass(frozen=True)
class View:
    """What the server shows one client."""

    dealers: frozenset[int]
    survivors: frozenset[int]


class SplitServer:
    """Relays the keys unaltered and lies about everything else. The last ``colluders`` clients help it."""

    def __init__(
        self, rig: SimpleNamespace, backend: Masking, n: int, colluders: int, seed: str = ""
    ) -> None:
        self.n, self.t = n, backend.resolve_threshold(n)
        self.everybody = frozenset(range(n))
        self.colluding = frozenset(range(n - colluders, n))
        self.honest = self.everybody - self.colluding
        self.cohort = rig.cohort(backend, n, LENGTH, 16)
        self.vectors = rig.vectors(n, LENGTH, 16, seed)
        self.parties: list[Any] = [
            backend.client(self.cohort, f"c{i}", self.vectors[i], tape=SeededTape(f"{seed} {i}".encode()))
            for i in range(n)
        ]
        self.links: dict[int, Link] = {}
        self.advertised: dict[int, KeyAdvertisement] = {}
        for index, party in enumerate(self.parties):
            (first,) = party.start()
            self.links[index] = Link(
                self.cohort,
                client_id(index),
                rig.link_key,
                bytes(first.payload[:32]),
                serves=True,
                tape=SeededTape(b"server"),
            )
            self.advertised[index] = KeyAdvertisement.decode(first.payload[32:])
        self.inputs: dict[int, np.ndarray] = {}
        self.answered: set[int] = set()
        self.shares: defaultdict[tuple[int, int], dict[int, np.ndarray]] = defaultdict(dict)

    def ask(self, index: int, phase: str, payload: bytes) -> bytes | memoryview:
        message = Message(self.cohort.session, self.cohort.round, phase, SERVER, client_id(index), payload)
        (answer,) = self.parties[index].receive(self.links[index].close(message))
        return answer.payload

    def run(self, views: Mapping[int, View]) -> None:
        """Show each honest client its view; gather the inputs and all shares that can be had."""
        key_list = KeyList(self.cohort.digest, self.advertised).encode(self.n)
        dealt = {
            i: SealedShares.decode(self.ask(i, "share-keys", key_list), i, tuple(self.everybody)).sealed
            for i in self.everybody
        }
        for index in self.everybody:
            dealers = views[index].dealers if index in views else self.everybody
            sealed = {dealer: dealt[dealer][index] for dealer in sorted(dealers) if dealer != index}
            relayed = RelayedShares(tuple(sorted(dealers)), sealed).encode(self.n)
            packed = self.ask(index, "masked-input", relayed)
            self.inputs[index] = self.cohort.ring.unpack(packed, LENGTH)
        for index in self.colluding:
            for dealer, held in self.parties[index]._inner._held.items():
                for kind in (SEED, KEY):
                    self.shares[dealer, kind][index] = held[kind]
        self._unmask(views)

    def _unmask(self, views: Mapping[int, View]) -> None:
        made = {}
        for index, view in views.items():
            survivors = tuple(sorted(view.survivors))
            answer = self.ask(index, "consistency", SurvivorSet(survivors).encode(self.n))
            made[index] = ConsistencyTags.decode(answer, index, survivors).tags
        for index, view in views.items():
            tags = {peer: made[peer][index] for peer in view.survivors & made.keys() if index in made[peer]}
            tags |= {peer: self._forged(peer, index, view) for peer in view.survivors & self.colluding}
            try:
                answer = self.ask(index, "unmask", RelayedTags(dict(sorted(tags.items()))).encode(self.n))
            except PeerError as error:
                assert "survivors were shown the same sets as I" in error.reason  # noqa: PT017
                continue
            self.answered.add(index)
            revealed = UnmaskShares.decode(answer, self.n)
            for dealer, share in zip(revealed.dealers, revealed.shares, strict=True):
                self.shares[dealer, SEED if dealer in view.survivors else KEY][index] = share

    def _forged(self, colluder: int, receiver: int, view: View) -> bytes:
        """A colluder tells the receiver that it was shown the very same."""
        sets = Writer().members(view.dealers, self.n).members(view.survivors, self.n).finish()
        secret = self.parties[colluder]._inner._channel_secrets[receiver]
        return keys.consistency_tag(secret, self.cohort.digest, colluder, receiver, sets)

    def secret(self, dealer: int, kind: int) -> bytes | None:
        """A colluder's own, or one that a threshold of shares gives."""
        if dealer in self.colluding:
            client = self.parties[dealer]._inner
            return client._self_seed if kind == SEED else client._mask.private
        found = self.shares[dealer, kind]
        if len(found) < self.t:
            return None
        holders = sorted(found)[: self.t]
        points = [holder + 1 for holder in holders]
        return shamir.combine_bytes(points, np.array([found[holder] for holder in holders]), 32)

    def openable(self, views: Mapping[int, View]) -> list[set[int]]:
        """The smallest groups of honest clients whose sum the server can free of all masks.

        A mask of two clients is gone if either's masking key is known, or if both added it and both are in
        the group; one that a single client added for a peer whose key is unknown can never be taken off.
        """
        known = {index for index in self.everybody if self.secret(index, KEY) is not None}
        left = {
            index: view.dealers - known - {index} if index not in known else frozenset[int]()
            for index, view in views.items()
        }
        groups, seen = [], set[int]()
        for start in sorted(self.honest):
            group, waiting, stuck = set[int](), [start], False
            while waiting:
                index = waiting.pop()
                if index in group:
                    continue
                group.add(index)
                stuck |= self.secret(index, SEED) is None or any(index not in left[j] for j in left[index])
                waiting += left[index]
            if not stuck and not group <= seen:
                groups.append(group)
            seen |= group
        return groups

    def open(self, group: Collection[int], views: Mapping[int, View]) -> list[int]:
        """Take the masks off the sum of a group that can be opened."""
        ring, digest = self.cohort.ring, self.cohort.digest
        total = np.add.reduce([self.inputs[index] for index in group], dtype=ring.lane)
        streams = []
        for index in group:
            seed = self.secret(index, SEED)
            assert seed is not None
            streams.append((keys.self_mask_key(seed, digest, index), -1))
            peers = views[index].dealers - {index}
            known = {peer: self._pairwise(index, peer) for peer in peers}
            streams += [(key, -keys.mask_sign(index, peer)) for peer, key in known.items() if key]
        add_masks(total, streams)
        return ring.decode(total).tolist()

    def _pairwise(self, index: int, peer: int) -> bytes | None:
        for one, other in ((peer, index), (index, peer)):
            if (private := self.secret(one, KEY)) is not None:
                assert keys.KeyPair.from_private(private).public == self.advertised[one].mask_key
                shared = keys.Agreement(private).with_peer(self.advertised[other].mask_key)
                return keys.pairwise_mask_key(shared, self.cohort.digest, index, peer)
        return None

    def truth(self, group: Collection[int]) -> list[int]:
        return [sum(column) for column in zip(*(self.vectors[i].tolist() for i in group), strict=True)]


def victims_apart(n: int, t: int, c: int, size: int) -> dict[int, View] | None:
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
    if any(count > 0 for count in missing.values()):
        return None
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
    views = victims_apart(n, t, c, victims)
    assert views is not None
    server = SplitServer(rig, Masking(t), n, c)
    server.run(views)
    assert server.openable(views) == []
    assert server.answered.isdisjoint(range(victims))
    assert all(server.secret(victim, SEED) is None for victim in range(victims))


@pytest.mark.parametrize(("n", "t", "c", "victims"), APART)
def test_credulous_clients_would_be_opened(
    rig: SimpleNamespace, n: int, t: int, c: int, victims: int
) -> None:
    """The same server, clients that skip the tags: the test above has teeth."""
    views = victims_apart(n, t, c, victims)
    assert views is not None
    server = SplitServer(rig, Credulous(t), n, c)
    server.run(views)
    group = set(range(victims))
    assert group in server.openable(views)
    assert len(group) + c < t
    assert server.open(group, views) == server.truth(group)


@pytest.mark.parametrize(("n", "size"), [(6, 3), (9, 5), (12, 6)])
def test_other_survivors_alone_open_no_group_either(rig: SimpleNamespace, n: int, size: int) -> None:
    """All are shown all dealers, and nobody helps the server."""
    t = Masking().resolve_threshold(n)
    views = same_dealers(n, t, size)
    server = SplitServer(rig, Masking(), n, 0)
    server.run(views)
    assert all(len(group) >= t for group in server.openable(views))
    credulous = SplitServer(rig, Credulous(), n, 0)
    credulous.run(views)
    group = set(range(size))
    assert group in credulous.openable(views)
    assert size < t
    assert credulous.open(group, views) == credulous.truth(group)


@pytest.mark.parametrize(("n", "t"), [(4, 3), (6, 4), (7, 5), (9, 6)])
def test_the_stated_limit_of_colluders_is_tight(rig: SimpleNamespace, n: int, t: int) -> None:
    """With 2t - n of them client 0 is opened, alive and dead in two camps; with one fewer it is not."""
    limit = 2 * t - n
    at_limit = SplitServer(rig, Masking(t), n, limit)
    views = two_camps(n, limit, friends=t - limit - 1)
    at_limit.run(views)
    assert at_limit.secret(0, SEED) is not None
    assert at_limit.secret(0, KEY) is not None
    assert {0} in at_limit.openable(views)
    assert at_limit.open({0}, views) == at_limit.truth({0})
    for friends in range(n - limit + 1):
        below = SplitServer(rig, Masking(t), n, limit - 1)
        views = two_camps(n, limit - 1, friends)
        below.run(views)
        assert None in (below.secret(0, SEED), below.secret(0, KEY))
        assert all(len(group) >= t - (limit - 1) for group in below.openable(views))


def test_an_honest_server_opens_the_whole_and_nothing_else(rig: SimpleNamespace) -> None:
    views = two_camps(7, 0, friends=7)
    server = SplitServer(rig, Masking(), 7, 0)
    server.run(views)
    assert server.openable(views) == [set(range(7))]
    assert server.open(range(7), views) == server.truth(range(7))


def some(tape: SeededTape, pool: Collection[int], count: int) -> set[int]:
    left = sorted(pool)
    return {left.pop(tape.below(len(left))) for _ in range(min(count, len(left)))}


def random_views(tape: SeededTape, server: SplitServer) -> dict[int, View]:
    """Victims see each other, a few to sacrifice, and colluders; the others are told that the few are gone.

    One client in 24 is shown anything that it accepts, and one in 24 what its neighbour is shown.
    """
    n, t = server.n, server.t
    victims = some(tape, server.honest, 1 + tape.below(2))
    few = victims | server.colluding
    few |= some(tape, server.everybody - few, t - len(few))
    views: dict[int, View] = {}
    for index in sorted(server.honest):
        dealers = few if index in victims else server.everybody
        gone = some(tape, few - victims - server.colluding - {index}, len(dealers) - t)
        throw = tape.below(24)
        if throw == 0:
            dealers = {index} | some(tape, server.everybody - {index}, t - 1 + tape.below(n - t + 1))
            gone = some(tape, dealers - {index}, tape.below(len(dealers) - t + 1))
        views[index] = View(frozenset(dealers), frozenset(dealers - gone))
        neighbour = views.get(index - 1)
        if throw == 1 and neighbour is not None and index in neighbour.survivors:
            views[index] = neighbour
    return views


def shown_at_random(rig: SimpleNamespace, kind: type[Masking], number: int) -> list[set[int]]:
    """The groups whose sum a server opens; what it opens is the sum of the group, or this fails."""
    tape = SeededTape(f"views {number}".encode())
    n = 6 + tape.below(6)
    t = n // 2 + 1 + tape.below(n - n // 2 - 2)
    server = SplitServer(rig, kind(t), n, 2 * t - n - 1 - tape.below(2) * (2 * t - n > 1), f"{number}")
    views = random_views(tape, server)
    server.run(views)
    groups = server.openable(views)
    assert all(server.open(group, views) == server.truth(group) for group in groups)
    return [group for group in groups if len(group) + len(server.colluding) < t]


@pytest.mark.parametrize("number", range(100))
def test_whatever_is_shown_no_group_below_the_threshold_opens(rig: SimpleNamespace, number: int) -> None:
    """With as many colluders as the limit allows, or one fewer; their own inputs are theirs to subtract."""
    assert shown_at_random(rig, Masking, number) == []


def test_of_credulous_clients_many_such_groups_open(rig: SimpleNamespace) -> None:
    assert sum(shown_at_random(rig, Credulous, number) != [] for number in range(100)) >= 15
