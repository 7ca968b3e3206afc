"""Prio3 and its variants (draft-irtf-cfrg-vdaf-20, section 7; spec section 16.10)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from mpc.flp.field64 import Field64
from mpc.flp.field128 import Field128
from mpc.flp.fields import Field
from mpc.flp.flp import Flp
from mpc.flp.messages import InputShare, LeaderShare, PublicShare
from mpc.flp.types import Count, Histogram, MultihotCountVec, Sum, SumVec
from mpc.flp.valid import AggResult, Measurement, Valid
from mpc.flp.vdaf import JOINT_RAND_PART, JOINT_RAND_SEED, JointRandomness, Statement, Vdaf
from mpc.flp.xof import Xof, XofTurboShake128

VERSION = 18  # of the draft's wire format: the last draft that changed it
_VDAF_CLASS = 0
EXPERIMENTAL = 0xFFFFFFFF  # the algorithm identifier of what has none


class Prio3(Vdaf[Measurement, AggResult]):
    """Prio3 over one circuit: section 7.2. ``proofs``: how many of them a report carries, from 1 to 255."""

    def __init__(
        self,
        valid: Valid[Measurement, AggResult],
        *,
        shares: int,
        algorithm: int,
        proofs: int = 1,
        xof: type[Xof] = XofTurboShake128,
    ) -> None:
        kinds = [JointRandomness(JOINT_RAND_PART, JOINT_RAND_SEED, valid.meas_len)]
        super().__init__(
            tag=bytes([VERSION, _VDAF_CLASS]) + algorithm.to_bytes(4, "big"),
            xof=xof,
            statements=[Statement(Flp(valid), proofs)],
            shares=shares,
            meas_len=valid.meas_len,
            helper_seeds=1,
            kinds=kinds if valid.joint_rand_len else [],
        )

    def shard(
        self, ctx: bytes, measurement: Measurement, nonce: bytes, rand: bytes
    ) -> tuple[PublicShare, list[InputShare]]:
        """As in ``Vdaf``: sections 7.2.1.1 and 7.2.1.2."""
        helpers, blinds, prove_seed = self._parse(rand, nonce)
        meas = self.valid.encode(measurement)
        shares = [self._helper_meas(ctx, i + 1, helper.seeds[0]) for i, helper in enumerate(helpers)]
        shares.insert(0, reduce(self.field.sub, shares, meas))
        all_blinds = [blinds, *(helper.blinds for helper in helpers)]
        public_share = tuple(
            tuple(self._part(ctx, kind, i, own[index], shares[i], nonce) for i, own in enumerate(all_blinds))
            for index, kind in enumerate(self.kinds)
        )
        seeds = [self._seed(ctx, kind, parts) for kind, parts in zip(self.kinds, public_share, strict=True)]
        proofs = self._leader_proofs(ctx, meas, prove_seed, seeds, helpers)
        return public_share, [LeaderShare(shares[0], proofs, blinds), *helpers]


def prio3_count(shares: int) -> Prio3[int, int]:
    """How many measurements are 1: section 7.4.1."""
    return Prio3(Count(Field64), shares=shares, algorithm=1)


def prio3_sum(shares: int, max_measurement: int) -> Prio3[int, int]:
    """The sum of integers in [0, max_measurement]: section 7.4.2."""
    return Prio3(Sum(Field64, max_measurement), shares=shares, algorithm=2)


def prio3_sum_vec(
    shares: int, length: int, max_measurement: int, chunk_length: int
) -> Prio3[Sequence[int], list[int]]:
    """The sum of vectors of integers in [0, max_measurement]: section 7.4.3."""
    circuit = SumVec(Field128, length, max_measurement, chunk_length)
    return Prio3(circuit, shares=shares, algorithm=3)


def prio3_histogram(shares: int, length: int, chunk_length: int) -> Prio3[int, list[int]]:
    """How many measurements fall into each bucket: section 7.4.4."""
    return Prio3(Histogram(Field128, length, chunk_length), shares=shares, algorithm=4)


def prio3_multihot_count_vec(
    shares: int, length: int, max_weight: int, chunk_length: int
) -> Prio3[Sequence[int], list[int]]:
    """The sum of bit vectors of at most ``max_weight`` ones: section 7.4.5."""
    circuit = MultihotCountVec(Field128, length, max_weight, chunk_length)
    return Prio3(circuit, shares=shares, algorithm=5)


def prio3_sum_vec_with_multiproof(
    shares: int, field: Field, proofs: int, length: int, max_measurement: int, chunk_length: int
) -> Prio3[Sequence[int], list[int]]:
    """SumVec over a small field, made sound by several proofs: section 7.1.2."""
    circuit = SumVec(field, length, max_measurement, chunk_length)
    return Prio3(circuit, shares=shares, algorithm=EXPERIMENTAL, proofs=proofs)
