"""Fully linear proofs, Prio3 and PINE (spec section 16): proofs that a secret-shared vector is well-formed.

In reading order: ``fields``, ``field64``, ``field128``, ``xof``; ``lagrange``, ``gadgets``, ``valid``,
``proof``, ``flp``; ``types``, ``messages``, ``vdaf``, ``prio3``; ``pine_circuits``, ``wraparound``, ``pine``;
``claims``, ``contribution_plan``, ``contribution_circuits``, ``contribution``.
``python -m mpc.flp.conformance DIR`` replays test vectors.
"""
