"""Compiled loops of this package; imported only where they run, since numba is slow to load."""
