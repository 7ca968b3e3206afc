"""Clients that prove what is not so, as well as they can; ``strategies`` has the lies.

A cheat chooses the vector, in any elements, and all that an honest client would compute from it; and it may
mend its proofs, so that the circuit's output is zero and only the gadget test is left to find it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mpc import field as field64
from mpc.flp.claims import Alignment, Claims, Range
from mpc.flp.contribution import Contribution
from mpc.flp.fields import Vector
from mpc.flp.flp import Flp
from mpc.flp.gadgets import wire_length
from mpc.flp.lagrange import next_power_of_two
from mpc.flp.messages import HelperShare, InputShare, PublicShare
from mpc.flp.pine_circuits import Parameters
from tests.mpc.flp.contribution_oracle import holds

P = field64.P
Flags = Callable[[Parameters, Vector], Vector]  # results of projections to their bits and flags


@dataclass
class Setting:
    """Claims as a federated vector has them: a short front, two digits of a weight, two metrics."""

    claims: Claims
    digit_bits: int
    max_weight: int
    metric: int
    honest: list[int]  # a vector of which all is true

    @property
    def front(self) -> int:
        return self.claims.normed


@dataclass
class Attempt:
    """``integers`` is what bits stand for, each modulo its width; ``elements`` overrides single entries."""

    vector: list[int]
    integers: list[int]
    elements: dict[int, int] = field(default_factory=dict)
    flags: Flags | None = None
    mended: bool = False


class Cheater(Contribution):
    """Shards attempts in place of measurements; verifies as everyone does."""

    def shard(
        self, ctx: bytes, measurement: Attempt, nonce: bytes, rand: bytes
    ) -> tuple[PublicShare, list[InputShare]]:
        self.attempt = measurement
        widths = self.plan.widths
        fitting = [value % (1 << width) for value, width in zip(measurement.integers, widths, strict=True)]
        vector = self.field.vector(measurement.vector)
        meas = np.concatenate([vector, self.plan.split(fitting)])
        for place, element in measurement.elements.items():
            meas[place] = element % P
        return self._shard(ctx, meas, nonce, rand)

    def _flagged(self, norm: Parameters, results: Vector) -> Vector:
        flags = self.attempt.flags or all_flagged
        return flags(norm, results)

    def _leader_proofs(
        self, ctx: bytes, meas: Vector, prove_seed: bytes, seeds: Sequence[bytes], helpers: list[HelperShare]
    ) -> Vector:
        proofs = super()._leader_proofs(ctx, meas, prove_seed, seeds, helpers)
        if self.attempt.mended:
            whole = proofs
            for index, helper in enumerate(helpers):
                share = self._helper_proofs(ctx, index + 1, helper.seeds[-1])
                whole = self.field.add(whole, share)
            proofs = self.field.add(proofs, self._corrections(ctx, meas, seeds, whole))
        return proofs

    def _corrections(self, ctx: bytes, meas: Vector, seeds: Sequence[bytes], proofs: Vector) -> Vector:
        """What makes each circuit's output zero, added where its gadget's first output is read."""
        out, read, joined = self.field.zeros(len(proofs)), 0, 0
        joint_rands = self._joint_rands(ctx, seeds)
        for statement in self.statements:
            valid = statement.flp.valid
            (use,) = valid.uses
            known = valid.proof_len - use.gadget.arity
            step = next_power_of_two(known) // wire_length(use.calls)
            sign = 1 if valid.joint_rand_len == 0 else -1  # equality subtracts its outputs
            for _ in range(statement.proofs):
                joint_rand = joint_rands[joined : joined + valid.joint_rand_len]
                error = output(statement.flp, meas, proofs[read : read + valid.proof_len], joint_rand)
                out[read + use.gadget.arity + step] = sign * error % P
                read, joined = read + valid.proof_len, joined + valid.joint_rand_len
        return out


def output(flp: Flp, meas: Vector, proof: Vector, joint_rand: Vector) -> int:
    """A circuit's output with the gadget outputs that a proof claims."""
    (use,) = flp.valid.uses
    outputs = flp.basis.outputs(flp.field, use.gadget, use.calls, proof[use.gadget.arity :])
    return int(flp.valid.result(meas, joint_rand, 1, [outputs])[0])


def setting(rng: np.random.Generator, aligned: bool) -> Setting:
    """Any claims of the shape that rounds make, and a vector of which they are true."""
    front, bound = int(rng.integers(8, 65)), int(2 ** rng.uniform(5, 31))
    digit_bits, metric = int(rng.integers(2, 31)), int(2 ** rng.uniform(0, 40))
    max_weight = int(rng.integers(1 << digit_bits, 1 << 2 * digit_bits))
    digit = (1 << digit_bits) - 1
    ranges = [
        Range(front, (1,), 0, digit),
        Range(front + 1, (1,), 0, digit),
        Range(front, (1, 1 << digit_bits), 1, max_weight),
        Range(front + 2, (1,), -metric, metric),
        Range(front + 3, (1,), -metric, metric),
    ]
    weight = int(rng.integers(1, max_weight + 1))
    tail = [weight & digit, weight >> digit_bits, *rng.integers(-metric, metric + 1, 2).tolist()]
    direction = rng.normal(size=front)
    size = int(2 ** rng.uniform(8, min(31, 57 - bound.bit_length())))
    reference = np.rint(direction / np.abs(direction).max() * size).astype(np.int64)
    vector = np.trunc(direction / np.linalg.norm(direction) * bound).astype(np.int64).tolist()
    cosine = float(rng.uniform(0.05, 0.9))
    alignment = Alignment(reference, cosine) if aligned else None
    claims = Claims(front + 4, front, bound, tuple(ranges), alignment)
    made = Setting(claims, digit_bits, max_weight, metric, [*vector, *tail])
    if not holds(claims, made.honest):  # a short vector loses its direction when it is cut to integers
        return setting(rng, aligned)
    return made


def honest(given: Setting, vendor: Contribution, vector: list[int]) -> Attempt:
    """The integers that go with a vector, in or out of range."""
    return Attempt(list(vector), vendor.plan.integers(np.array(vector, np.int64)))


def all_flagged(norm: Parameters, results: Vector) -> Vector:
    """Every projection is flagged as in range; bits say what the result's low bits say."""
    shifted = field64.add(results, np.full(len(results), norm.wr_bound - 1, np.uint64))
    bits = shifted.reshape(-1, 1) >> np.arange(norm.wr_bits, dtype=np.uint64) & np.uint64(1)
    return np.concatenate([bits, np.ones((len(results), 1), np.uint64)], axis=1).reshape(-1)
