"""Merkle trees against the recursive definition of RFC 6962, section 2.1."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import merkle
from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage, tag

deterministic = settings(derandomize=True, deadline=None, max_examples=100)
TAG = tag(Usage.MERKLE_TREE)


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(TAG + b"".join(parts)).digest()


def split(count: int) -> int:
    """The largest power of two below ``count``."""
    power = 1
    while 2 * power < count:
        power *= 2
    return power


def slow_top(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return sha(b"\0", leaves[0])
    middle = split(len(leaves))
    return sha(b"\1", slow_top(leaves[:middle]), slow_top(leaves[middle:]))


def slow_path(leaves: list[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*slow_path(leaves[:middle], index), slow_top(leaves[middle:])]
    return [*slow_path(leaves[middle:], index - middle), slow_top(leaves[:middle])]


def some_leaves(count: int) -> list[bytes]:
    return [b"leaf %d" % index * (index % 5) for index in range(count)]


@pytest.mark.parametrize("count", [*range(1, 35), 63, 64, 65, 100])
def test_roots_and_paths_are_those_of_the_definition(count: int) -> None:
    leaves = some_leaves(count)
    tree = merkle.Tree(leaves)
    expected = sha(b"\2", count.to_bytes(8, "little"), slow_top(leaves))
    assert tree.root == merkle.root(leaves) == expected
    for index, leaf in enumerate(leaves):
        path = merkle.path(tree, index)
        assert list(path) == slow_path(leaves, index)
        assert len(path) == merkle.path_length(index, count) <= (count - 1).bit_length()
        merkle.verify(tree.root, leaf, index, count, path)
    assert merkle.path(leaves, count - 1) == tree.path(count - 1)
    assert merkle.path_length(0, count) == (count - 1).bit_length()  # so the bound is reached


@given(count=st.integers(1, 40), data=st.data())
@deterministic
def test_a_path_proves_nothing_else(count: int, data: st.DataObject) -> None:
    leaves = some_leaves(count)
    index = data.draw(st.integers(0, count - 1))
    root, path = merkle.root(leaves), merkle.path(leaves, index)

    def refused(root: bytes, leaf: bytes, index: int, count: int, path: tuple[bytes, ...]) -> None:
        with pytest.raises(DecodeError):
            merkle.verify(root, leaf, index, count, path)

    refused(root, leaves[index] + b"x", index, count, path)
    refused(root[:-1] + bytes([root[-1] ^ 1]), leaves[index], index, count, path)
    for other in {-1, index - 1, index + 1, count, *range(count)} - {index}:
        refused(root, leaves[index], other, count, path)
    for other in {0, -1, 1, count - 1, count + 1, 2 * count} - {count}:
        refused(root, leaves[index], index, other, path)
    refused(root, leaves[index], index, count, (*path, bytes(32)))
    for level, sibling in enumerate(path):
        flipped = bytes([sibling[0] ^ 1]) + sibling[1:]
        refused(root, leaves[index], index, count, (*path[:level], flipped, *path[level + 1 :]))
        refused(root, leaves[index], index, count, (*path[:level], *path[level + 1 :]))
        refused(root, leaves[index], index, count, (*path[:level], sibling[:-1], *path[level + 1 :]))


def test_a_node_is_no_leaf_and_a_root_holds_for_one_length() -> None:
    leaves = [b"a", b"b", b"c"]
    inner = sha(b"\1", sha(b"\0", b"a"), sha(b"\0", b"b"))
    assert merkle.root([inner, b"c"]) != merkle.root(leaves)
    path = merkle.path(leaves, 2)
    assert len(path) == merkle.path_length(1, 2)  # of the same shape as that of leaf 1 of 2
    with pytest.raises(DecodeError, match="does not lead"):
        merkle.verify(merkle.root(leaves), b"c", 1, 2, path)


def test_misuse_is_named() -> None:
    with pytest.raises(LocalError, match=r"^leaves is"):
        merkle.root([])
    with pytest.raises(LocalError, match=r"^leaves is"):
        merkle.Tree([])
    for index in (-1, 3):
        with pytest.raises(LocalError, match=r"^index is"):
            merkle.path([b"a", b"b", b"c"], index)
