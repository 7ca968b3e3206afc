"""Pairwise masking: the clients' masks cancel in the sum, and shares of their seeds cover for dropouts."""

from secagg.masking.backend import Masking
from secagg.masking.parameters import Adversary, Tolerance
from secagg.masking.unmasking import Unmasking

__all__ = ["Adversary", "Masking", "Tolerance", "Unmasking"]
