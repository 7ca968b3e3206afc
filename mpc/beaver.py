"""Gram matrices of shared matrices, with one matrix triple (spec section 13.8).

m parties hold additive shares of a k × n matrix S over Field64 and want SᵀS, and nothing else, to be known.
A dealer who takes no part gives them shares of a uniform U and of W = UᵀU (Beaver 1991; of matrices: Mohassel
and Zhang 2017). The parties open E = S − U, which is uniform, and with it each makes a share alone:

    SᵀS = (E + U)ᵀ(E + U) = EᵀE + Σ_j (EᵀU_j + U_jᵀE + W_j)

A triple serves once: two openings under one U show the difference of two matrices.

Symmetric n × n matrices travel packed: the upper triangle row by row, n (n + 1) / 2 elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc import field
from mpc.errors import LocalError
from mpc.field import Elements


@dataclass(frozen=True, slots=True, eq=False)
class TripleShare:
    """A party's share of one triple: ``mask``, U_j of shape (k, n), and ``product``, W_j packed. SECRET."""

    mask: Elements
    product: Elements

    def __repr__(self) -> str:
        return "TripleShare(<secret>)"


def packed_size(columns: int) -> int:
    """Elements of a packed symmetric matrix."""
    return columns * (columns + 1) // 2


def expand(key: bytes, rows: int, columns: int) -> TripleShare:
    """The uniform share that a 16-byte key of the dealer's and this party's stands for."""
    words = field.expand(key, rows * columns + packed_size(columns))
    return TripleShare(words[: rows * columns].reshape(rows, columns), words[rows * columns :])


def deal(keys: Sequence[bytes], rows: int, columns: int) -> Elements:
    """The correction C = UᵀU − Σ W_j, packed, for the shares that ``keys`` expand to.

    C goes to whoever adds up the shares of the Gram matrix. While one W_j is unknown it is uniform.
    """
    shares = [expand(key, rows, columns) for key in keys]
    mask = field.sum_rows(np.stack([share.mask for share in shares]))
    correction = pack(_products(mask, mask))
    for share in shares:
        field.sub_into(correction, share.product)
    return correction


def hide(matrix: Elements, share: TripleShare) -> Elements:
    """E_j = S_j − U_j, to be opened. ``LocalError`` for a shape that is not the triple's."""
    return field.sub(matrix, share.mask)


def gram_share(opened: Elements, share: TripleShare) -> Elements:
    """EᵀU_j + U_jᵀE + W_j, packed: uniform but for what all of them and C add up to."""
    if opened.shape != share.mask.shape:
        raise LocalError("opened.shape", opened.shape, f"the triple has shape {share.mask.shape}")
    half = _products(opened, share.mask)
    return field.add(pack(field.add(half, np.ascontiguousarray(half.T))), share.product)


def gram(opened: Elements, total: Elements) -> Elements:
    """SᵀS, shape (n, n), from E and the packed sum of all Gram shares and the correction."""
    packed = field.add(pack(_products(opened, opened)), total)
    columns = opened.shape[1]
    rows, places = np.triu_indices(columns)
    out = np.empty((columns, columns), np.uint64)
    out[rows, places] = out[places, rows] = packed
    return out


def pack(symmetric: Elements) -> Elements:
    """The upper triangle, row by row."""
    return np.ascontiguousarray(symmetric[np.triu_indices(len(symmetric))])


def _products(left: Elements, right: Elements) -> Elements:
    """leftᵀ · right: shapes (k, n) and (k, n) to (n, n)."""
    out = np.empty((left.shape[1], right.shape[1]), np.uint64)
    for place, weights in enumerate(np.ascontiguousarray(left.T)):
        out[place] = field.combine_rows(weights, right)
    return out
