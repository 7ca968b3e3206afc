"""Merkle trees: one hash that stands for a whole list, and short proofs of what is in it (spec section 12.6).

Leaves and nodes are hashed as in RFC 6962, section 2.1: SHA-256, with 0x00 in front of a leaf and 0x01 in
front of a node, so that neither can pass for the other; a node without a sibling moves up as it is. Two
things differ. Every hash starts with this project's tag, and the root is one more hash, over 0x02, the
number of leaves and the top node: without it the same root would hold for lists of several lengths, in
which a leaf has several places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage, equal, tag

HASH_BYTES = 32
Places = npt.NDArray[np.int64]
_LEAF = tag(Usage.MERKLE_TREE) + b"\0"
_NODE = tag(Usage.MERKLE_TREE) + b"\1"
_ROOT = tag(Usage.MERKLE_TREE) + b"\2"


class Tree:
    """All hashes of a list, about 64 bytes a leaf: built in O(n), after which a proof costs O(m log n).

    ``LocalError`` if there are no leaves.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.count = len(leaves)
        levels = list(_levels(leaves))
        self.root = _seal(levels[-1], self.count)
        self._levels = [np.frombuffer(level, np.uint8).reshape(-1, HASH_BYTES) for level in levels]

    def proof(self, indices: Sequence[int]) -> bytes:
        """What it takes to compute the root from these leaves: ``proof_length(indices, count)`` hashes.

        They are the siblings that do not follow from the leaves themselves, level by level from the leaves
        up, left to right. ``LocalError`` unless the indices are one or more, ascending, of existing leaves.
        """
        return b"".join(
            level[needed].tobytes()
            for level, needed in zip(self._levels, _missing(indices, self.count), strict=False)
        )


def root(leaves: Sequence[bytes]) -> bytes:
    """The 32-byte root of one or more leaves, without keeping the tree."""
    top = b""
    for level in _levels(leaves):
        top = level
    return _seal(top, len(leaves))


def proof_length(indices: Sequence[int], count: int) -> int:
    """Hashes in the proof of these leaves of ``count``: for one leaf never more than ceil(log2(count))."""
    return sum(len(needed) for needed in _missing(indices, count))


def longest_proof(leaves: int, count: int) -> int:
    """Hashes in the longest proof of so many of ``count`` leaves, or a few more; 0 for all of them.

    Of m nodes below p parents 2p - m have no sibling among them: in all, the most where they spread widest.
    """
    total, nodes, width = 0, leaves, count
    while width > 1 and leaves < count:
        width = (width + 1) >> 1
        parents = min(nodes, width)
        total += 2 * parents - nodes
        nodes = parents
    return total


def verify(root: bytes, leaves: Mapping[int, bytes], count: int, proof: bytes | memoryview) -> None:
    """``DecodeError`` unless ``proof`` proves every one of ``leaves`` to have its place among ``count``.

    ``leaves``: index → leaf, one or more, ascending.
    """
    indices = list(leaves)
    if not indices or indices[0] < 0 or indices[-1] >= count:
        raise DecodeError(f"leaves {indices[:1]} to {indices[-1:]} of a tree of {count}")
    if len(proof) != HASH_BYTES * proof_length(indices, count):
        raise DecodeError(f"a Merkle proof of another length than that of {len(indices)} of {count} leaves")
    sha256 = hashlib.sha256
    nodes = {index: sha256(_LEAF + leaf).digest() for index, leaf in leaves.items()}
    siblings = iter([bytes(proof[at : at + HASH_BYTES]) for at in range(0, len(proof), HASH_BYTES)])
    last = count - 1
    while last:
        above: dict[int, bytes] = {}
        for place, node in nodes.items():
            parent = place >> 1
            if parent in above:
                continue  # reached from its left child
            if place & 1:
                above[parent] = sha256(_NODE + next(siblings) + node).digest()
            elif place < last:
                right = nodes[place + 1] if place + 1 in nodes else next(siblings)
                above[parent] = sha256(_NODE + node + right).digest()
            else:
                above[parent] = node
        nodes, last = above, last >> 1
    if not equal(_seal(nodes[0], count), root):
        raise DecodeError("a Merkle proof that does not lead to the root")


def _missing(indices: Sequence[int], count: int) -> Iterator[Places]:
    """For each level below the top: the siblings of nodes above these leaves that are not such nodes."""
    places = np.array(indices, np.int64)
    if not places.size or places[0] < 0 or places[-1] >= count or not (np.diff(places) > 0).all():
        raise LocalError("indices", indices, f"must be one or more of {count} leaves, ascending")
    width = count
    while width > 1:
        siblings = places ^ 1
        paired = np.zeros(places.size, bool)
        paired[:-1] = siblings[:-1] == places[1:]
        paired[1:] |= siblings[1:] == places[:-1]
        yield siblings[~paired & (siblings < width)]
        places = places >> 1
        places = places[np.concatenate(([True], places[1:] != places[:-1]))]
        width = (width + 1) >> 1


def _levels(leaves: Sequence[bytes]) -> Iterator[bytes]:
    """The hashes of each level, concatenated, from the leaves up to the single top node."""
    if not leaves:
        raise LocalError("leaves", "empty", "a tree has at least one leaf")
    sha256 = hashlib.sha256
    level = b"".join([sha256(_LEAF + leaf).digest() for leaf in leaves])
    while True:
        yield level
        if len(level) == HASH_BYTES:
            return
        pair = 2 * HASH_BYTES
        paired = len(level) // pair * pair
        nodes = [sha256(_NODE + level[at : at + pair]).digest() for at in range(0, paired, pair)]
        level = b"".join([*nodes, level[paired:]])


def _seal(top: bytes, count: int) -> bytes:
    return hashlib.sha256(_ROOT + count.to_bytes(8, "little") + top).digest()
