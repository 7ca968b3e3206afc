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


def slow_proof(leaves: list[bytes], wanted: set[int], first: int = 0) -> list[tuple[int, int, bytes]]:
    """The tops of all subtrees without a wanted leaf whose sibling has one: (height, place, hash)."""
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    found = []
    halves = ((leaves[:middle], first), (leaves[middle:], first + middle))
    for (part, start), (other, begin) in zip(halves, reversed(halves), strict=True):
        inside = {index for index in wanted if start <= index < start + len(part)}
        outside = {index for index in wanted if begin <= index < begin + len(other)}
        if inside:
            found += slow_proof(part, inside, start)
        elif outside:
            # A node without a sibling moves up, so what counts is the height at which the two meet.
            found.append((middle.bit_length() - 1, start, slow_top(part)))
    return found


def some_leaves(count: int) -> list[bytes]:
    return [b"leaf %d" % index * (index % 5) for index in range(count)]


def hashes(proof: bytes) -> list[bytes]:
    return [proof[at : at + merkle.HASH_BYTES] for at in range(0, len(proof), merkle.HASH_BYTES)]


@pytest.mark.parametrize("count", [*range(1, 35), 63, 64, 65, 100])
def test_roots_and_single_proofs_are_those_of_the_definition(count: int) -> None:
    leaves = some_leaves(count)
    tree = merkle.Tree(leaves)
    expected = sha(b"\2", count.to_bytes(8, "little"), slow_top(leaves))
    assert tree.root == merkle.root(leaves) == expected
    for index, leaf in enumerate(leaves):
        proof = tree.proof([index])
        assert hashes(proof) == [top for _, _, top in sorted(slow_proof(leaves, {index}))]
        assert len(hashes(proof)) == merkle.proof_length([index], count) <= (count - 1).bit_length()
        merkle.verify(tree.root, {index: leaf}, count, proof)
    assert merkle.proof_length([0], count) == (count - 1).bit_length()  # so the bound is reached
    assert merkle.proof_length(range(count), count) == 0


@given(count=st.integers(1, 70), data=st.data())
@deterministic
def test_proofs_of_many_leaves_are_the_shortest(count: int, data: st.DataObject) -> None:
    leaves = some_leaves(count)
    wanted = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    tree = merkle.Tree(leaves)
    proof = tree.proof(wanted)
    assert hashes(proof) == [top for _, _, top in sorted(slow_proof(leaves, set(wanted)))]
    assert len(hashes(proof)) == merkle.proof_length(wanted, count)
    merkle.verify(tree.root, {index: leaves[index] for index in wanted}, count, proof)


@given(count=st.integers(1, 40), data=st.data())
@deterministic
def test_a_proof_proves_nothing_else(count: int, data: st.DataObject) -> None:
    leaves = some_leaves(count)
    wanted = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=6)))
    tree = merkle.Tree(leaves)
    root, proof = tree.root, tree.proof(wanted)
    shown = {index: leaves[index] for index in wanted}

    def refused(root: bytes, leaves: dict[int, bytes], count: int, proof: bytes) -> None:
        with pytest.raises(DecodeError):
            merkle.verify(root, leaves, count, proof)

    one = data.draw(st.sampled_from(wanted))
    refused(root, {**shown, one: leaves[one] + b"x"}, count, proof)
    refused(root[:-1] + bytes([root[-1] ^ 1]), shown, count, proof)
    for other in {-1, one - 1, one + 1, count} - set(wanted):
        moved = {other if index == one else index: leaf for index, leaf in shown.items()}
        refused(root, dict(sorted(moved.items())), count, proof)
    for other in {0, -1, 1, count - 1, count + 1, 2 * count} - {count}:
        refused(root, shown, other, proof)
    refused(root, {}, count, proof)
    refused(root, shown, count, proof + bytes(merkle.HASH_BYTES))
    refused(root, shown, count, proof + b"\0")
    for place in range(len(proof)):
        flipped = proof[:place] + bytes([proof[place] ^ 1]) + proof[place + 1 :]
        refused(root, shown, count, flipped)
    if proof:
        refused(root, shown, count, proof[:-1])
        refused(root, shown, count, proof[merkle.HASH_BYTES :])


def test_a_node_is_no_leaf_and_a_root_holds_for_one_length() -> None:
    leaves = [b"a", b"b", b"c"]
    inner = sha(b"\1", sha(b"\0", b"a"), sha(b"\0", b"b"))
    assert merkle.root([inner, b"c"]) != merkle.root(leaves)
    tree = merkle.Tree(leaves)
    proof = tree.proof([2])
    assert len(hashes(proof)) == merkle.proof_length([1], 2)  # of the same shape as that of leaf 1 of 2
    with pytest.raises(DecodeError, match="does not lead"):
        merkle.verify(tree.root, {1: b"c"}, 2, proof)


def test_misuse_is_named() -> None:
    with pytest.raises(LocalError, match=r"^leaves is"):
        merkle.root([])
    with pytest.raises(LocalError, match=r"^leaves is"):
        merkle.Tree([])
    for indices in ([-1], [3], [], [1, 1], [2, 1]):
        with pytest.raises(LocalError, match=r"^indices is"):
            merkle.Tree([b"a", b"b", b"c"]).proof(indices)
