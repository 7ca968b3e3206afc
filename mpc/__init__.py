"""Primitives of multi-party computation, and the protocols that are taught with them."""
