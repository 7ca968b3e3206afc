"""The Paillier backend: packed, precomputed, additively homomorphic encryption (spec section 6)."""
