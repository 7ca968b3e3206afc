"""mpc.beaver: the Gram matrix of a shared matrix, and that nothing else is opened."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from mpc import beaver, field
from mpc.errors import LocalError
from mpc.field import P
from mpc.tape import SeededTape

SHAPES = [(1, 1), (1, 4), (5, 1), (3, 2), (8, 5), (16, 33)]


def keys(parties: int, label: str = "keys") -> list[bytes]:
    tape = SeededTape(label.encode())
    return [tape.read(16) for _ in range(parties)]


def matrix(rows: int, columns: int, label: str = "matrix") -> field.Elements:
    return field.random(rows * columns, SeededTape(label.encode())).reshape(rows, columns)


def split(whole: field.Elements, parties: int) -> list[field.Elements]:
    """Additive shares; the last one is what is missing."""
    shares = [matrix(*whole.shape, f"share {party}") for party in range(parties - 1)]
    rest = whole.copy()
    for share in shares:
        field.sub_into(rest, share)
    return [*shares, rest]


def play(whole: field.Elements, parties: int, own: Sequence[bytes] | None = None) -> SimpleNamespace:
    """All of the protocol: what is opened, all Gram shares, the correction, the result."""
    own = keys(parties) if own is None else own
    rows, columns = whole.shape
    triples = [beaver.expand(key, rows, columns) for key in own]
    correction = beaver.deal(own, rows, columns)
    hidden = [
        beaver.hide(share, triple) for share, triple in zip(split(whole, parties), triples, strict=True)
    ]
    opened = field.sum_rows(np.stack(hidden))
    shares = [beaver.gram_share(opened, triple) for triple in triples]
    total = field.sum_rows(np.stack([correction, *shares]))
    return SimpleNamespace(
        opened=opened, shares=shares, correction=correction, gram=beaver.gram(opened, total), triples=triples
    )


def plain_gram(whole: field.Elements) -> list[list[int]]:
    columns = [[int(entry) for entry in column] for column in whole.T]
    return [[sum(a * b for a, b in zip(one, two, strict=True)) % P for two in columns] for one in columns]


@pytest.mark.parametrize("parties", [2, 3, 7])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_the_gram_matrix_is_that_of_the_plain_matrix(rows: int, columns: int, parties: int) -> None:
    whole = matrix(rows, columns)
    assert play(whole, parties).gram.tolist() == plain_gram(whole)


def test_extreme_entries() -> None:
    for entry in (0, 1, P - 1, P // 2):
        whole = np.full((4, 3), entry, np.uint64)
        assert play(whole, 2).gram.tolist() == plain_gram(whole)


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_the_triple_is_one(rows: int, columns: int) -> None:
    own = keys(3)
    shares = [beaver.expand(key, rows, columns) for key in own]
    mask = field.sum_rows(np.stack([share.mask for share in shares]))
    product = beaver.deal(own, rows, columns)
    for share in shares:
        field.add_into(product, share.product)
    expected = plain_gram(mask)
    assert product.tolist() == [expected[i][j] for i in range(columns) for j in range(i, columns)]
    assert product.size == beaver.packed_size(columns)


def test_what_is_opened_is_shifted_by_the_matrix() -> None:
    """Exact, not statistical: U is uniform, so S − U is, whatever S is."""
    one, other = matrix(6, 5, "one"), matrix(6, 5, "other")
    shift = field.sub(play(one, 3).opened, play(other, 3).opened)
    np.testing.assert_array_equal(shift, field.sub(one, other))


def test_what_is_seen_is_uniform_whatever_the_matrix_is(rig: SimpleNamespace) -> None:
    """The opened matrix, each party's Gram share and the correction; the largest matrix shows first."""
    whole = np.ones((20, 40), np.uint64)
    seen = play(whole, 2)
    for data in (seen.opened, *seen.shares, seen.correction):
        assert rig.is_uniform(field.to_bytes(data))


def test_a_triple_of_zeros_is_caught(rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(key: bytes, rows: int, columns: int) -> beaver.TripleShare:
        size = beaver.packed_size(columns)
        return beaver.TripleShare(np.zeros((rows, columns), np.uint64), np.zeros(size, np.uint64))

    monkeypatch.setattr(beaver, "expand", zeros)
    whole = np.ones((20, 40), np.uint64)
    seen = play(whole, 2)
    assert seen.gram.tolist() == plain_gram(whole)
    assert not rig.is_uniform(field.to_bytes(seen.opened))


def test_other_keys_give_another_triple() -> None:
    one, other = keys(2), keys(2, "others")
    assert not np.intersect1d(beaver.expand(one[0], 4, 4).mask, beaver.expand(other[0], 4, 4).mask).size
    assert beaver.deal(one, 4, 4).tolist() != beaver.deal(other, 4, 4).tolist()


def test_shapes_that_do_not_fit_are_refused() -> None:
    triple = beaver.expand(bytes(16), 3, 2)
    with pytest.raises(LocalError, match=r"right.shape is \(3, 2\)"):
        beaver.hide(matrix(2, 3), triple)
    with pytest.raises(LocalError, match=r"opened.shape is \(2, 3\): the triple has shape \(3, 2\)"):
        beaver.gram_share(matrix(2, 3), triple)


def test_a_share_is_not_shown() -> None:
    assert repr(beaver.expand(bytes(16), 3, 2)) == "TripleShare(<secret>)"
