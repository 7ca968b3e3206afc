"""Merkle trees: one hash that stands for a whole list, and short proofs of what is in it (spec section 12.6).

Leaves and nodes are hashed as in RFC 6962, section 2.1: SHA-256, with 0x00 in front of a leaf and 0x01 in
front of a node, so that neither can pass for the other; a node without a sibling moves up as it is. Two
things differ. Every hash starts with this project's tag, and the root is one more hash, over 0x02, the
number of leaves and the top node: without it the same root would hold for lists of several lengths, in
which a leaf has several places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage, equal, tag

HASH_BYTES = 32
_LEAF = tag(Usage.MERKLE_TREE) + b"\0"
_NODE = tag(Usage.MERKLE_TREE) + b"\1"
_ROOT = tag(Usage.MERKLE_TREE) + b"\2"


class Tree:
    """All hashes of a list, about 64 bytes a leaf: built in O(n), after which a path costs O(log n).

    ``LocalError`` if there are no leaves.
    """

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.count = len(leaves)
        self._levels = list(_levels(leaves))
        self.root = _seal(self._levels[-1], self.count)

    def path(self, index: int) -> tuple[bytes, ...]:
        """The siblings of leaf ``index`` and of the nodes above it, lowest first.

        ``path_length(index, count)`` hashes. ``LocalError`` if there is no such leaf.
        """
        if not 0 <= index < self.count:
            raise LocalError("index", index, f"the tree has {self.count} leaves")
        found = []
        for level in self._levels[:-1]:
            start = (index ^ 1) * HASH_BYTES
            if start < len(level):
                found.append(level[start : start + HASH_BYTES])
            index >>= 1
        return tuple(found)


def root(leaves: Sequence[bytes]) -> bytes:
    """The 32-byte root of one or more leaves, without keeping the tree."""
    top = b""
    for level in _levels(leaves):
        top = level
    return _seal(top, len(leaves))


def path(leaves: Sequence[bytes] | Tree, index: int) -> tuple[bytes, ...]:
    """``Tree.path``; of a tree that is built for the purpose if a list is given."""
    return (leaves if isinstance(leaves, Tree) else Tree(leaves)).path(index)


def path_length(index: int, count: int) -> int:
    """Hashes in the path of leaf ``index`` of ``count``: never more than ceil(log2(count)).

    Below the node where its way meets the last leaf's way, every level has a sibling; above it, only the
    levels at which it is a right child.
    """
    inner = (index ^ (count - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def verify(root: bytes, leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> None:
    """``DecodeError`` unless ``path`` proves ``leaf`` to be number ``index`` of ``count`` under ``root``."""
    if not 0 <= index < count:
        raise DecodeError(f"leaf {index} of a tree of {count}")
    if len(path) != path_length(index, count) or any(len(sibling) != HASH_BYTES for sibling in path):
        raise DecodeError(f"a Merkle path of another shape than that of leaf {index} of {count}")
    digest = hashlib.sha256(_LEAF + leaf).digest()
    place, last, siblings = index, count - 1, iter(path)
    while last:
        if place & 1:
            digest = hashlib.sha256(_NODE + next(siblings) + digest).digest()
        elif place < last:
            digest = hashlib.sha256(_NODE + digest + next(siblings)).digest()
        place, last = place >> 1, last >> 1
    if not equal(_seal(digest, count), root):
        raise DecodeError(f"a Merkle path that does not lead from leaf {index} to the root")


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
