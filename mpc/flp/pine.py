"""PINE: a sum of real vectors, each of them proved to be no longer than a bound (spec section 16.12;
draft-chen-cfrg-vdaf-pine-01, section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from mpc import field as field64
from mpc.flp.fields import Vector
from mpc.flp.flp import Flp
from mpc.flp.messages import InputShare, LeaderShare, PublicShare
from mpc.flp.pine_circuits import Gradient, NormEquality, NormRange, Parameters, encode_projections
from mpc.flp.proof import Basis
from mpc.flp.valid import AggResult, Measurement
from mpc.flp.vdaf import JOINT_RAND_PART, JOINT_RAND_SEED, JointRandomness, Statement, Vdaf
from mpc.flp.wraparound import project
from mpc.flp.xof import Xof, XofHmacSha256Aes128

VERSION = 1
ALGORITHM = 0xFFFF1004  # Field64 with XofHmacSha256Aes128

WR_JOINT_RANDOMNESS = 8
WR_JOINT_RAND_SEED = 9
WR_JOINT_RAND_PART = 10


class Projecting(Vdaf[Measurement, AggResult]):
    """A VDAF one of whose circuits takes projections of the measurement's front.

    Two kinds of joint randomness then. The first, from the shares of the measurement's first ``prefix_len``
    entries, draws the projections; only then does the client know the rest of its measurement, whose shares
    yield the second, which the circuits take. Without ``norm`` there are no projections, and no first kind.
    """

    def __init__(
        self,
        tag: bytes,
        xof: type[Xof],
        statements: Sequence[Statement],
        shares: int,
        norm: Parameters | None,
        prefix_len: int,
        meas_len: int,
    ) -> None:
        self.norm = norm
        first = JointRandomness(WR_JOINT_RAND_PART, WR_JOINT_RAND_SEED, prefix_len)
        last = JointRandomness(JOINT_RAND_PART, JOINT_RAND_SEED, meas_len)
        kinds = [last] if norm is None else [first, last]
        super().__init__(tag, xof, statements, shares, meas_len, helper_seeds=2, kinds=kinds)

    def _shard(
        self, ctx: bytes, meas: Vector, nonce: bytes, rand: bytes
    ) -> tuple[PublicShare, list[InputShare]]:
        """``meas``: the encoded measurement as far as it does not depend on projections."""
        helpers, blinds, prove_seed = self._parse(rand, nonce)
        shares = [self._helper_meas(ctx, i + 1, helper.seeds[0]) for i, helper in enumerate(helpers)]
        all_blinds = [blinds, *(helper.blinds for helper in helpers)]
        public_share, seeds, results = [], [], self.field.zeros(0)
        for index, kind in enumerate(self.kinds):
            leader = reduce(self.field.sub, [share[: kind.covers] for share in shares], meas)
            parts = tuple(
                self._part(ctx, kind, i, own[index], share, nonce)
                for i, (own, share) in enumerate(zip(all_blinds, [leader, *shares], strict=True))
            )
            public_share.append(parts)
            seeds.append(self._seed(ctx, kind, parts))
            if self.norm is not None and index == 0:
                results = self._project(ctx, meas, seeds)
                meas = np.concatenate([meas, self._flagged(self.norm, results)])
        known = self._known(meas, results)
        proofs = self._leader_proofs(ctx, known, prove_seed, seeds, helpers)
        return tuple(public_share), [LeaderShare(leader, proofs, blinds), *helpers]

    def _flagged(self, norm: Parameters, results: Vector) -> Vector:
        """The bits and flags of projections; ``ShardAgain`` if too few are in range."""
        return encode_projections(norm, field64.decode(results))

    def _with_public_checks(self, ctx: bytes, meas: Vector, seeds: Sequence[bytes]) -> Vector:
        return self._known(meas, self._project(ctx, meas, seeds))

    def _known(self, meas: Vector, results: Vector) -> Vector:
        """What the circuits take, from a measurement, or a share of it, and its projections."""
        return np.concatenate([meas, results])

    def _project(self, ctx: bytes, meas: Vector, seeds: Sequence[bytes]) -> Vector:
        if self.norm is None:
            return self.field.zeros(0)
        stream = self.xof(seeds[0], self._tag(WR_JOINT_RANDOMNESS, ctx))
        return project(meas[: self.norm.dimension], stream, self.norm.num_wr_checks)


class Pine(Projecting[Gradient, list[float]]):
    """PINE over Field64. The draft has no context string: with an empty ``ctx``, tags are the draft's.

    ``proofs``: of the circuit with joint randomness, which a client may draw as often as it likes. One errs
    with less than 2^-50 a try, for up to 2^13 bits; the draft has two. ``proofs_norm_equality``: of the other
    circuit, whose challenge the client never sees.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        shares: int,
        proofs: int = 3,
        proofs_norm_equality: int = 1,
        xof: type[Xof] = XofHmacSha256Aes128,
        algorithm: int = ALGORITHM,
        basis: Basis | None = None,
    ) -> None:
        self.parameters = parameters
        self._equality = NormEquality(parameters)
        super().__init__(
            tag=bytes([VERSION]) + algorithm.to_bytes(4, "big"),
            xof=xof,
            statements=[
                Statement(Flp(self._equality, basis), proofs_norm_equality),
                Statement(Flp(NormRange(parameters), basis), proofs),
            ],
            shares=shares,
            norm=parameters,
            prefix_len=parameters.prefix_len,
            meas_len=parameters.meas_len,
        )

    def shard(
        self, ctx: bytes, measurement: Gradient, nonce: bytes, rand: bytes
    ) -> tuple[PublicShare, list[InputShare]]:
        """As in ``Vdaf``. ``measurement``: floats, or integers in steps of 2^−num_frac_bits, shape (d,)."""
        return self._shard(ctx, self._equality.encode(measurement), nonce, rand)
