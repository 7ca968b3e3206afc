"""What is compared of clients, and between whom: sketches, pairwise keys, tags (spec section 13.8)."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from mpc import field
from mpc.errors import LocalError
from mpc.flp.contribution import Claims
from mpc.flp.wraparound import project
from mpc.flp.xof import XofHmacSha256Aes128
from mpc.prg import KEY_BYTES, Usage, derive_key, tag
from mpc.wire import Writer
from secagg.checks.base import Check
from secagg.checks.outliers import OutlierRule
from secagg.cohort import Cohort

SKETCH_SEED_BYTES = XofHmacSha256Aes128.seed_bytes
BINDING_BYTES = 32
TAG_BYTES = 16
_TAIL = 100.0  # a vector's sketch is longer than assumed with probability e^-100


@dataclass(frozen=True, slots=True)
class Sketching:
    """How the sketches of one round are made. ``digest``: the cohort's.

    ``coordinates``: the first so many entries of a vector are projected, ``projections`` times.
    ``bound``: no Gram entry of vectors within the norm bound is larger. ``unit``: a Gram entry times that is
    an inner product of updates, on average.
    """

    digest: bytes
    coordinates: int
    projections: int
    bound: int
    unit: float

    def sketch(self, seed: bytes, share: field.Elements) -> field.Elements:
        """Random projections onto {-1, 0, 1}: linear, so that shares give shares. Shape (projections,)."""
        stream = XofHmacSha256Aes128(seed, tag(Usage.SKETCHING), self.digest)
        return project(share[: self.coordinates], stream, self.projections)

    def binding(self, seed: bytes, clients: Sequence[int], members: int) -> bytes:
        """A hash of what is compared: a triple is for that and nothing else. 32 bytes."""
        chosen = Writer().members(clients, members).finish()
        return hashlib.sha256(tag(Usage.SKETCHING) + self.digest + seed + chosen).digest()


def rule_of(checks: Sequence[Check]) -> OutlierRule | None:
    """The round's rule, if any; ``LocalError`` for two."""
    rules = [check for check in checks if isinstance(check, OutlierRule)]
    if len(rules) > 1:
        raise LocalError("checks", [rule.name for rule in rules], "one rule on outliers a round")
    return rules[0] if rules else None


def sketching_of(rule: OutlierRule, claims: Claims | None, cohort: Cohort) -> Sketching:
    """``LocalError`` without a bound on the norm, or with one under which Gram entries could wrap around."""
    if claims is None or claims.bound is None or rule.plan is None:
        raise LocalError("checks", rule.name, "needs a NormBound beside it, or inner products could wrap")
    rule.check_cohort(cohort)
    bound = gram_bound(claims.bound, claims.normed, rule.projections)
    if bound > field.MAX_SIGNED:
        limit = f"inner products of {rule.projections} projections could wrap around the field"
        raise LocalError("norm bound in steps", claims.bound, f"{limit}: use a lower bound, or fewer bits")
    unit = 2 / rule.projections * rule.plan.encoding.step**2
    return Sketching(cohort.digest, claims.normed, rule.projections, bound, unit)


def gram_bound(norm: int, coordinates: int, projections: int) -> int:
    """What no inner product of sketches of vectors with an L2 norm of at most ``norm`` exceeds.

    A projection of x is sub-Gaussian with variance ‖x‖² / 2, as cosh²(λ/2) ≤ exp(λ²/4), so 2 ‖s‖² / ‖x‖² has
    the upper tail of a chi-square with k degrees of freedom: above k + 2 sqrt(kt) + 2t with probability e^-t
    at most (Laurent and Massart 2000, lemma 1), here for t = 100. For few coordinates k · d · ‖x‖², which is
    certain, may be less. Inner products follow by Cauchy and Schwarz.
    """
    likely = (projections + 2 * math.sqrt(projections * _TAIL) + 2 * _TAIL) / 2
    return math.ceil(min(likely, projections * coordinates)) * norm**2


def triple_key(private: bytes, public: bytes, digest: bytes, binding: bytes, aggregator: int) -> bytes:
    """What dealer and aggregator, and nobody else, expand to this aggregator's share of the triple."""
    context = digest + binding + aggregator.to_bytes(4, "little")
    return derive_key(_agree(private, public), Usage.MATRIX_TRIPLE, context)


def sketch_tag(
    private: bytes, public: bytes, digest: bytes, binding: bytes, ends: tuple[int, int], data: bytes
) -> bytes:
    """Of a masked sketch, from the first of two aggregators to the second. 16 bytes."""
    context = digest + binding + b"".join(end.to_bytes(4, "little") for end in ends)
    key = derive_key(_agree(private, public), Usage.SKETCH_TAG, context, 2 * KEY_BYTES)
    return hmac.new(key, data, hashlib.sha256).digest()[:TAG_BYTES]


def _agree(private: bytes, public: bytes) -> bytes:
    """Of two long-term link keys: each end knows that nobody but the other has it."""
    key = X25519PrivateKey.from_private_bytes(private)
    return key.exchange(X25519PublicKey.from_public_bytes(public))
