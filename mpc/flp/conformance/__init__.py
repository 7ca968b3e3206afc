"""Test vectors of the VDAF and PINE drafts, replayed step by step (spec section 16.13).

``earlier`` holds what only old vectors need; nothing outside of this package and the tests uses it.
"""
