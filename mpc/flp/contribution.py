"""One proof for all that is claimed about a client's vector: its norm, ranges of its entries, its direction
(spec section 16.16).

PINE carries the norm, with no bits per coordinate; every other claim is a few bits and a row in PINE's second
circuit. Without a norm there are no projections and no norm equality.
"""

from __future__ import annotations

import numpy as np

from mpc.flp.claims import Alignment, Claims, Integers, Range
from mpc.flp.contribution_circuits import Checks, Equality
from mpc.flp.contribution_plan import Plan
from mpc.flp.field64 import Field64
from mpc.flp.fields import Vector
from mpc.flp.flp import Flp
from mpc.flp.messages import InputShare, PublicShare
from mpc.flp.pine import Projecting
from mpc.flp.pine_circuits import ShardAgain, elements_of
from mpc.flp.vdaf import Statement
from mpc.flp.xof import XofHmacSha256Aes128
from mpc.tape import RandomTape

__all__ = ["ALGORITHM", "MAX_CTX_BYTES", "PROOFS", "VERSION", "Alignment", "Claims", "Contribution", "Range"]

VERSION = 1
ALGORITHM = 0xFFFF5301  # Field64 with XofHmacSha256Aes128; of the range for private use
PROOFS = 3  # of the circuit with joint randomness: a try of a client's errs with less than 2^-150
MAX_CTX_BYTES = 255 - 1 - 4 - 32 - 2  # what a tag has room for


class Contribution(Projecting[Integers, Integers]):
    """Vectors of ``claims.length`` integers for which the claims hold, among ``shares`` aggregators.

    Every tag, and so every challenge, binds the claims and the caller's ``ctx``, of MAX_CTX_BYTES at most:
    put a digest of session, round and client there. A report that comes a second time, nonce and all, is
    for the caller to refuse. The output is the vector, all of it.
    """

    def __init__(self, claims: Claims, *, shares: int) -> None:
        self.claims = claims
        self.plan = Plan(claims)
        self._checks = Checks(self.plan)
        statements = [Statement(Flp(self._checks), PROOFS)]
        if claims.norm is not None:
            statements.insert(0, Statement(Flp(Equality(self.plan, claims.norm)), 1))
        self._reference = elements_of(claims.alignment.reference) if claims.alignment else None
        super().__init__(
            tag=bytes([VERSION]) + ALGORITHM.to_bytes(4, "big") + claims.digest(),
            xof=XofHmacSha256Aes128,
            statements=statements,
            shares=shares,
            norm=claims.norm,
            prefix_len=self.plan.prefix_len,
            meas_len=self.plan.meas_len,
        )

    @property
    def chunk_length(self) -> int:
        """Products that one call of the circuit with joint randomness adds up."""
        return self._checks.width

    @property
    def chunk_length_norm_equality(self) -> int:
        """Squares that one call of the norm equality adds up; 0 if there is none."""
        return self.claims.norm.chunk_length_norm_equality if self.claims.norm else 0

    @property
    def extra_len(self) -> int:
        """Elements of the leader's share besides the vector."""
        return self.layout.meas_len + self.layout.proofs_len - self.claims.length

    def shard(
        self, ctx: bytes, measurement: Integers, nonce: bytes, rand: bytes
    ) -> tuple[PublicShare, list[InputShare]]:
        """As in ``Vdaf``. ``measurement``: signed integers, shape (length,).

        ``LocalError`` names the claim that does not hold. ``ShardAgain``, a ``LocalError`` as well, if
        projections of a short vector come out long: once in 2^108 times, and other bytes will do.
        """
        return self._shard(ctx, self._checks.encode(measurement), nonce, rand)

    def shard_from(
        self, ctx: bytes, measurement: Integers, nonce: bytes, tape: RandomTape
    ) -> tuple[PublicShare, list[InputShare]]:
        """``shard`` with bytes of the tape, as often as it takes."""
        meas = self._checks.encode(measurement)
        while True:
            try:
                return self._shard(ctx, meas, nonce, tape.read(self.rand_bytes))
            except ShardAgain:
                continue

    def _known(self, meas: Vector, results: Vector) -> Vector:
        parts = [meas, results]
        if self._reference is not None:
            front = meas[: len(self._reference)]
            parts.append(Field64.vector([Field64.inner(front, self._reference)]))
        return np.concatenate(parts)
