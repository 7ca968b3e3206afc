"""Paillier: clients encrypt, the server adds what it cannot read, and a key holder opens the sum."""

from secagg.paillier.backend import Paillier
from secagg.paillier.keys import KeyHolderKeys, KeyHolderPublic

__all__ = ["KeyHolderKeys", "KeyHolderPublic", "Paillier"]
