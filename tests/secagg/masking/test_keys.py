"""The keys of a masking client stay where they are."""

from __future__ import annotations

import copy
import pickle

import pytest

from mpc.errors import LocalError
from mpc.tape import SeededTape
from secagg.masking.keys import KeyPair


@pytest.mark.parametrize("write", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_key_pair_cannot_be_pickled(write: object) -> None:
    pair = KeyPair.generate(SeededTape(b"pair"))
    for holder in (pair, [pair]) if write is not copy.copy else (pair,):
        with pytest.raises(LocalError, match="key pair is '<secret>': cannot be pickled or copied"):
            write(holder)  # type: ignore[operator]


def test_a_key_pair_shows_its_public_half_only() -> None:
    pair = KeyPair.generate(SeededTape(b"pair"))
    assert repr(pair) == f"KeyPair(<secret>, public={pair.public.hex()[:8]}…)"
