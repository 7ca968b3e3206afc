"""The keys of a masking client stay where they are; what it commits to."""

from __future__ import annotations

import copy
import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.prg import Usage, tag
from mpc.tape import SeededTape
from secagg.masking.keys import KeyPair, share_commitments

LISTING = bytes(range(32))
indices = st.integers(0, 2**20)


@pytest.mark.parametrize("write", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_pair_cannot_be_pickled(write: object) -> None:
    pair = KeyPair.generate(SeededTape(b"pair"))
    for holder in (pair, [pair]) if write is not copy.copy else (pair,):
        with pytest.raises(LocalError, match="key pair is '<secret>': cannot be pickled or copied"):
            write(holder)  # type: ignore[operator]


def test_a_key_pair_shows_its_public_half_only() -> None:
    pair = KeyPair.generate(SeededTape(b"pair"))
    assert repr(pair) == f"KeyPair(<secret>, public={pair.public.hex()[:8]}…)"


@given(shares=st.lists(st.tuples(indices, indices, st.integers(0, 1)), max_size=9))
def test_share_commitments_are_those_of_the_specification(shares: list[tuple[int, int, int]]) -> None:
    tape = SeededTape(b"shares")
    values = [tape.read(40) for _ in shares]
    dealers, holders, kinds = (np.array([one[column] for one in shares], np.int64) for column in range(3))
    found = share_commitments(LISTING, dealers, holders, kinds, b"".join(values))
    assert (found.shape, found.dtype) == ((len(shares), 16), np.uint8)
    for row, (dealer, holder, kind), value in zip(found, shares, values, strict=True):
        content = tag(Usage.SHARE_COMMITMENT) + LISTING
        content += dealer.to_bytes(4, "little") + holder.to_bytes(4, "little") + bytes([kind]) + value
        assert row.tobytes() == hashlib.sha256(content).digest()[:16]


def test_a_share_commitment_is_bound_to_everything() -> None:
    """One share, committed to in other places, or another share in the same place."""

    def commit(
        listing: bytes = LISTING, dealer: int = 3, holder: int = 4, kind: int = 0, share: int = 0
    ) -> bytes:
        places = [np.array([value]) for value in (dealer, holder, kind)]
        return share_commitments(listing, *places, share.to_bytes(40, "little")).tobytes()

    found = [
        commit(),
        commit(listing=bytes(32)),
        commit(dealer=4, holder=3),
        commit(dealer=5),
        commit(holder=5),
        commit(kind=1),
        commit(share=1),
        commit(share=1 << 319),
    ]
    assert len(set(found)) == len(found)
