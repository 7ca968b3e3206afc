"""Compiled kernels. Only these modules import numba; public modules import them inside the calls that need
them.

Arguments are validated by the callers: a kernel trusts shapes, types and ranges. Arrays that users hand in
arrive as read-only views, so that each kernel is compiled for one signature a lane type. All of them release
the interpreter's lock.
"""
