"""What Prio3 and PINE share: the methods of a VDAF around fully linear proofs (draft-irtf-cfrg-vdaf-20,
sections 5 and 7.2; spec section 16.9).

A client shards its measurement; each aggregator starts to verify its share alone (``verify_init``); what they
tell each other adds up to a verdict (``verifier_shares_to_message``), after which each has its share of what
is aggregated (``verify_next``). The aggregators see the same challenge, drawn from ``verify_key`` that the
client does not know. Joint randomness comes from the client's own shares, and every aggregator computes its
part of it from the share that it really has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic

import numpy as np

from mpc.errors import DecodeError, LocalError
from mpc.flp.fields import Vector
from mpc.flp.flp import Flp
from mpc.flp.messages import (
    HelperShare,
    InputShare,
    Layout,
    LeaderShare,
    Parts,
    PublicShare,
    VerifierShare,
    VerifyState,
)
from mpc.flp.proof import ProofError
from mpc.flp.valid import AggResult, Measurement
from mpc.flp.xof import Xof
from mpc.prg import equal

NONCE_BYTES = 16

MEAS_SHARE = 1
PROOF_SHARE = 2
JOINT_RANDOMNESS = 3
PROVE_RANDOMNESS = 4
QUERY_RANDOMNESS = 5
JOINT_RAND_SEED = 6
JOINT_RAND_PART = 7


@dataclass(frozen=True, slots=True)
class Statement:
    """A circuit's proof system, and how many independent proofs a report carries: from 1 to 255."""

    flp: Flp[Any, Any]
    proofs: int


@dataclass(frozen=True, slots=True)
class JointRandomness:
    """A kind of it: usages of its parts and seed, and the length of the measurement's front that it binds."""

    part_usage: int
    seed_usage: int
    covers: int


class Vdaf(ABC, Generic[Measurement, AggResult]):
    """A VDAF of one round and no aggregation parameter.

    ``tag``: version and algorithm, in front of usage and context in every domain-separation tag.
    ``helper_seeds``: 1 if a helper's shares of measurement and proofs come from one seed, 2 if not.
    ``kinds``: of joint randomness, the one that circuits take in the end.
    """

    def __init__(
        self,
        tag: bytes,
        xof: type[Xof],
        statements: Sequence[Statement],
        shares: int,
        meas_len: int,
        helper_seeds: int,
        kinds: Sequence[JointRandomness],
    ) -> None:
        if not 2 <= shares <= 255:
            raise LocalError("shares", shares, "from 2 to 255")
        if not all(1 <= statement.proofs <= 255 for statement in statements):
            raise LocalError("proofs", [statement.proofs for statement in statements], "from 1 to 255 each")
        self._tag_prefix = tag
        self.xof = xof
        self.statements = tuple(statements)
        self.kinds = tuple(kinds)
        self.valid = statements[-1].flp.valid
        self.field = self.valid.field
        self.shares = shares
        self.layout = Layout(
            field=self.field,
            meas_len=meas_len,
            proofs_len=self._lengths("proof_len"),
            verifiers_len=self._lengths("verifier_len"),
            output_len=self.valid.output_len,
            shares=shares,
            seed_bytes=xof.seed_bytes,
            helper_seeds=helper_seeds,
            blinds=len(kinds),
        )
        self._seeds_per_helper = helper_seeds + len(kinds)
        self.rand_bytes = xof.seed_bytes * ((shares - 1) * self._seeds_per_helper + len(kinds) + 1)

    @abstractmethod
    def shard(
        self, ctx: bytes, measurement: Measurement, nonce: bytes, rand: bytes
    ) -> tuple[PublicShare, list[InputShare]]:
        """A public share and an input share for each aggregator, the leader's first.

        ``ctx`` names the application, ``nonce`` is 16 uniform bytes of the report's own, ``rand`` is
        ``rand_bytes`` uniform bytes. ``LocalError`` for a measurement that is not valid.
        """

    def verify_init(
        self,
        verify_key: bytes,
        ctx: bytes,
        agg_id: int,
        nonce: bytes,
        public_share: PublicShare,
        input_share: InputShare,
    ) -> tuple[VerifyState, VerifierShare]:
        """Aggregator ``agg_id``'s state and its share of the verifier.

        ``verify_key``: ``seed_bytes`` uniform bytes that the aggregators share and no client knows.
        """
        self._check_nonce(nonce)
        self.layout.check(public_share, input_share, agg_id)
        meas, proofs = self._expand(ctx, agg_id, input_share)
        parts, seeds = [], []
        for kind, blind, claimed in zip(self.kinds, input_share.blinds, public_share, strict=True):
            parts.append(self._part(ctx, kind, agg_id, blind, meas, nonce))
            # The client's word for the parts of others, this aggregator's own for its own.
            seeds.append(self._seed(ctx, kind, (*claimed[:agg_id], parts[-1], *claimed[agg_id + 1 :])))
        known = self._with_public_checks(ctx, meas, seeds)
        verifiers = self._query(verify_key, ctx, nonce, known, proofs, seeds)
        out_share = self.valid.truncate(meas)
        return VerifyState(out_share, tuple(seeds)), VerifierShare(verifiers, tuple(parts))

    def verifier_shares_to_message(self, ctx: bytes, shares: Sequence[VerifierShare]) -> tuple[bytes, ...]:
        """The seeds of joint randomness that all must have used, from all verifier shares, in order.

        ``ProofError`` if a proof is refused.
        """
        if len(shares) != self.shares:
            raise LocalError("len(shares)", len(shares), f"one from each of {self.shares} aggregators")
        verifiers = reduce(self.field.add, [share.verifiers for share in shares])
        start = 0
        for statement in self.statements:
            for _ in range(statement.proofs):
                end = start + statement.flp.valid.verifier_len
                statement.flp.decide(verifiers[start:end])
                start = end
        return tuple(
            self._seed(ctx, kind, tuple(share.parts[index] for share in shares))
            for index, kind in enumerate(self.kinds)
        )

    def verify_next(self, state: VerifyState, message: Sequence[bytes]) -> Vector:
        """The aggregator's output share; ``ProofError`` if its joint randomness was not the others'."""
        if len(message) != len(state.seeds):
            raise DecodeError(f"a verifier message of {len(message)} seeds, not {len(state.seeds)}")
        if not all(equal(one, other) for one, other in zip(message, state.seeds, strict=True)):
            raise ProofError("the joint randomness is not that of the aggregators' shares")
        return state.out_share

    def aggregate(self, out_shares: Sequence[Vector]) -> Vector:
        """An aggregator's share of the sum."""
        return reduce(self.field.add, out_shares, self.field.zeros(self.valid.output_len))

    def unshard(self, agg_shares: Sequence[Vector], num_measurements: int) -> AggResult:
        """The result, from every aggregator's share of the sum."""
        if len(agg_shares) != self.shares:
            raise LocalError("len(agg_shares)", len(agg_shares), f"one from each of {self.shares}")
        result: AggResult = self.valid.decode(self.aggregate(agg_shares), num_measurements)
        return result

    def _with_public_checks(self, ctx: bytes, meas: Vector, seeds: Sequence[bytes]) -> Vector:
        """What the circuits take: the measurement share, and what follows from it by public weights."""
        return meas

    def _parse(self, rand: bytes, nonce: bytes) -> tuple[list[HelperShare], tuple[bytes, ...], bytes]:
        """Helpers' shares, the leader's blinds, the prover's seed."""
        self._check_nonce(nonce)
        if len(rand) != self.rand_bytes:
            raise LocalError("len(rand)", len(rand), f"{self.rand_bytes} bytes")
        size, count = self.xof.seed_bytes, self._seeds_per_helper
        seeds = [rand[at : at + size] for at in range(0, len(rand), size)]
        middle = self.layout.helper_seeds
        own = [seeds[at : at + count] for at in range(0, (self.shares - 1) * count, count)]
        helpers = [HelperShare(tuple(some[:middle]), tuple(some[middle:])) for some in own]
        return helpers, tuple(seeds[len(helpers) * count : -1]), seeds[-1]

    def _leader_proofs(
        self, ctx: bytes, meas: Vector, prove_seed: bytes, seeds: Sequence[bytes], helpers: list[HelperShare]
    ) -> Vector:
        """All proofs, less the helpers' shares of them."""
        binder, length = self._counts(), self._lengths("prove_rand_len")
        tag = self._tag(PROVE_RANDOMNESS, ctx)
        prove_rands = self.xof.expand(self.field, prove_seed, tag, binder, length=length)
        joint_rands = self._joint_rands(ctx, seeds)
        proofs, drawn, joined = [], 0, 0
        for statement in self.statements:
            valid = statement.flp.valid
            for _ in range(statement.proofs):
                prove_rand = prove_rands[drawn : drawn + valid.prove_rand_len]
                joint_rand = joint_rands[joined : joined + valid.joint_rand_len]
                drawn, joined = drawn + len(prove_rand), joined + len(joint_rand)
                proofs.append(statement.flp.prove(meas, prove_rand, joint_rand))
        shares = [self._helper_proofs(ctx, i + 1, helper.seeds[-1]) for i, helper in enumerate(helpers)]
        return reduce(self.field.sub, shares, np.concatenate(proofs))

    def _query(
        self,
        verify_key: bytes,
        ctx: bytes,
        nonce: bytes,
        meas: Vector,
        proofs: Vector,
        seeds: Sequence[bytes],
    ) -> Vector:
        """Shares of all verifiers."""
        binder, length = self._counts() + nonce, self._lengths("query_rand_len")
        tag = self._tag(QUERY_RANDOMNESS, ctx)
        query_rands = self.xof.expand(self.field, verify_key, tag, binder, length=length)
        joint_rands = self._joint_rands(ctx, seeds)
        verifiers, read, drawn, joined = [], 0, 0, 0
        for statement in self.statements:
            valid = statement.flp.valid
            for _ in range(statement.proofs):
                proof = proofs[read : read + valid.proof_len]
                query_rand = query_rands[drawn : drawn + valid.query_rand_len]
                joint_rand = joint_rands[joined : joined + valid.joint_rand_len]
                read, drawn, joined = read + len(proof), drawn + len(query_rand), joined + len(joint_rand)
                verifiers.append(statement.flp.query(meas, proof, query_rand, joint_rand, self.shares))
        return np.concatenate(verifiers)

    def _expand(self, ctx: bytes, agg_id: int, share: InputShare) -> tuple[Vector, Vector]:
        if isinstance(share, LeaderShare):
            return share.meas, share.proofs
        return (
            self._helper_meas(ctx, agg_id, share.seeds[0]),
            self._helper_proofs(ctx, agg_id, share.seeds[-1]),
        )

    def _helper_meas(self, ctx: bytes, agg_id: int, seed: bytes) -> Vector:
        tag = self._tag(MEAS_SHARE, ctx)
        return self.xof.expand(self.field, seed, tag, bytes([agg_id]), length=self.layout.meas_len)

    def _helper_proofs(self, ctx: bytes, agg_id: int, seed: bytes) -> Vector:
        tag, binder = self._tag(PROOF_SHARE, ctx), self._counts() + bytes([agg_id])
        return self.xof.expand(self.field, seed, tag, binder, length=self.layout.proofs_len)

    def _joint_rands(self, ctx: bytes, seeds: Sequence[bytes]) -> Vector:
        length = self._lengths("joint_rand_len")
        if not length:
            return self.field.zeros(0)
        takers = [statement for statement in self.statements if statement.flp.valid.joint_rand_len]
        binder = bytes(statement.proofs for statement in takers)
        tag = self._tag(JOINT_RANDOMNESS, ctx)
        return self.xof.expand(self.field, seeds[-1], tag, binder, length=length)

    def _part(
        self, ctx: bytes, kind: JointRandomness, agg_id: int, blind: bytes, meas: Vector, nonce: bytes
    ) -> bytes:
        bound = self.field.to_bytes(meas[: kind.covers])
        return self.xof.derive_seed(blind, self._tag(kind.part_usage, ctx), bytes([agg_id]) + nonce, bound)

    def _seed(self, ctx: bytes, kind: JointRandomness, parts: Parts) -> bytes:
        zeros = bytes(self.xof.seed_bytes)
        return self.xof.derive_seed(zeros, self._tag(kind.seed_usage, ctx), *parts)

    def _counts(self) -> bytes:
        return bytes(statement.proofs for statement in self.statements)

    def _lengths(self, name: str) -> int:
        """The total, over all proofs, of one of the circuits' lengths."""
        return sum(getattr(one.flp.valid, name) * one.proofs for one in self.statements)

    def _tag(self, usage: int, ctx: bytes) -> bytes:
        return self._tag_prefix + usage.to_bytes(2, "big") + ctx

    def _check_nonce(self, nonce: bytes) -> None:
        if len(nonce) != NONCE_BYTES:
            raise LocalError("len(nonce)", len(nonce), f"{NONCE_BYTES} bytes")
