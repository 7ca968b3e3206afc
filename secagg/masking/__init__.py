"""Pairwise masking: the clients' masks cancel in the sum, and shares of their seeds cover for dropouts."""

from secagg.masking.backend import Masking

__all__ = ["Masking"]
