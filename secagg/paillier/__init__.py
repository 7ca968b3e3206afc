"""Paillier: clients encrypt, the server adds what it cannot read, key holders help to open the sum."""

from secagg.paillier.backend import Paillier, ThresholdPaillier
from secagg.paillier.keys import (
    KeyHolderKeys,
    KeyHolderPublic,
    KeyShareKeys,
    SharedKeyPublic,
    deal_keys,
)

__all__ = [
    "KeyHolderKeys",
    "KeyHolderPublic",
    "KeyShareKeys",
    "Paillier",
    "SharedKeyPublic",
    "ThresholdPaillier",
    "deal_keys",
]
