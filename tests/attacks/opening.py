"""What a lying server has learnt: whose secrets, and so whose sums."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from mpc import shamir
from mpc.errors import DecodeError
from mpc.ring import add_masks
from secagg.masking import keys
from secagg.masking.messages import KEY, SEED
from tests.attacks.liar import Liar


def opened(liar: Liar) -> list[set[int]]:
    """The smallest groups of honest clients whose sum it can free of all masks: it does, and it is right."""
    found = Opening(liar)
    groups = found.groups()
    for group in groups:
        total = [sum(column) for column in zip(*(liar.vectors[i].tolist() for i in group), strict=True)]
        assert found.unmask(group) == total
    return groups


def secret(liar: Liar, dealer: int, kind: int) -> bytes | None:
    """A helper's own, or one that a threshold of shares gives."""
    if dealer in liar.colluding:
        client = liar.client(dealer)
        return client._self_seed if kind == SEED else client._mask.private
    found = liar.shares[dealer, kind]
    if dealer not in liar.listings or len(found) < (threshold := liar.listings[dealer].threshold):
        return None
    holders = sorted(found)[:threshold]
    points, shares = [holder + 1 for holder in holders], np.array([found[holder] for holder in holders])
    try:
        return shamir.combine_bytes(points, shares, 32)
    except DecodeError:
        return None


class Opening:
    def __init__(self, liar: Liar) -> None:
        self._liar = liar
        self._dealing = {index: liar.dealing(index) for index in liar.inputs}
        self._seeds = {index: secret(liar, index, SEED) for index in liar.inputs}
        found = {index: secret(liar, index, KEY) for index in liar.everybody}
        self._private = {liar.advertised[index].mask_key: key for index, key in found.items() if key}
        for public, private in self._private.items():
            assert keys.KeyPair.from_private(private).public == public
        self._private |= liar.own

    def groups(self) -> list[set[int]]:
        """A mask of two clients is gone if the server has either's key, or if it cancels: if both have added
        it, which they have if they were shown the same listing and the same dealers."""
        groups, todo = [], set(self._liar.inputs)
        while todo:
            group, waiting, stuck = set[int](), [min(todo)], False
            while waiting:
                index = waiting.pop()
                group.add(index)
                left = self._left(index)
                alike = {peer for peer in left if self._cancels(index, peer)}
                stuck |= self._seeds[index] is None or alike != left
                waiting += alike - group
            todo -= group
            if not stuck:
                groups.append(group)
        return groups

    def unmask(self, group: Collection[int]) -> list[int]:
        """The sum of the group's masked inputs, less all masks that can be computed."""
        ring = self._liar.cohort.ring
        total = np.add.reduce([self._liar.inputs[index] for index in group], dtype=ring.lane)
        streams = []
        for index in group:
            seed = self._seeds[index]
            assert seed is not None
            streams.append((keys.self_mask_key(seed, self._dealing[index], index), -1))
            streams += self._known_masks(index)
        add_masks(total, streams)
        return [int(value) for value in ring.decode(total)]

    def _peers(self, index: int) -> set[int]:
        return set(self._liar.views[index].dealers.intersection(self._liar.neighbours(index)))

    def _left(self, index: int) -> set[int]:
        """With whom a client has masks that the server cannot compute."""
        if self._liar.advertised[index].mask_key in self._private:
            return set()
        shown = self._liar.shown[index]
        return {peer for peer in self._peers(index) if shown[peer].mask_key not in self._private}

    def _cancels(self, one: int, other: int) -> bool:
        liar = self._liar
        return (
            self._dealing[one] == self._dealing.get(other)
            and liar.shown[one][other].mask_key == liar.advertised[other].mask_key
            and liar.shown[other][one].mask_key == liar.advertised[one].mask_key
        )

    def _known_masks(self, index: int) -> Iterator[tuple[bytes, int]]:
        shown, mine = self._liar.shown[index], self._liar.advertised[index].mask_key
        for peer in self._peers(index):
            theirs = shown[peer].mask_key
            for private, public in ((mine, theirs), (theirs, mine)):
                if private in self._private:
                    shared = keys.Agreement(self._private[private]).with_peer(public)
                    key = keys.pairwise_mask_key(shared, self._dealing[index], index, peer)
                    yield key, -keys.mask_sign(index, peer)
                    break
