"""aggregate(): the whole protocol in one process, one call (spec section 11)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from mpc.errors import AbortError, LocalError
from mpc.network import Clock, Delay, Network, Tamper
from mpc.party import SERVER, SESSION_BYTES, Party, PartyId, Role, client_id
from mpc.tape import RandomTape, SystemTape
from mpc.transcript import Record, Transcript
from secagg.backend import Backend
from secagg.checks.base import Check, Rejection
from secagg.cohort import NO_MODEL, Cohort, check_members
from secagg.encoding import Decoded, Encoded, FixedPoint, Plan
from secagg.identity import Identity
from secagg.server import Aggregate
from secagg.structure import Structure, require_same, take_apart

INPUT_PHASE = "input"
"""In ``drop``, names the input phase of whatever backend is used."""


@dataclass(frozen=True, slots=True, eq=False)
class AggregateResult:
    """What a round gave.

    * ``mean``: the weighted mean of the survivors' updates, in the inputs' structure, shapes and dtypes.
    * ``encoded_sum``: the exact integers that every backend agrees on, int64, shape (cohort.length,).
    * ``weight``: Σ w over the survivors; ``metrics``: the weighted mean of each metric.
    * ``dropped``: who went silent; ``declined``: of these, who did of its own accord, as its vector breaks a
      claim that it would have to prove, and which; ``rejected``: who was refused, by which check, why;
      ``faults``: helpers that were caught departing from the protocol, and how, where the sum could do
      without them.
    * ``clipped``: for each client, how many coordinates of each tensor were cut to ±clip;
      ``clipped_metrics``: for each client, the metrics that were cut to their bounds. Known here because
      everybody runs in this process; nobody sends them.
    * ``transcript``: every message, bytes by link and phase, seconds by phase and role.
    """

    mean: Any
    encoded_sum: NDArray[np.int64]
    weight: int
    metrics: Mapping[str, float]
    survivors: tuple[str, ...]
    dropped: tuple[str, ...]
    rejected: Mapping[str, Rejection]
    declined: Mapping[str, str]
    faults: Mapping[str, str]
    clipped: Mapping[str, tuple[int, ...]]
    clipped_metrics: Mapping[str, tuple[str, ...]]
    cohort: Cohort
    plan: Plan
    transcript: Transcript = field(repr=False)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What happens on the way: see ``mpc.network.Network``. Nothing, unless told otherwise.

    ``offline``: helpers that never answer, such as ``PartyId(Role.KEY_HOLDER, 1)``.
    """

    offline: Collection[PartyId] = ()
    tamper: Tamper | None = None
    delay: Delay | None = None
    shuffle: RandomTape | None = None
    clock: Clock | None = None
    keep_payloads: bool = False
    observe: Callable[[Record], None] | None = None


def aggregate(
    updates: Mapping[str, Any],
    *,
    backend: Backend,
    encoding: FixedPoint | None = None,
    weights: Mapping[str, int] | None = None,
    max_weight: int | None = None,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    metric_bounds: Mapping[str, float] | None = None,
    identities: Mapping[str, Identity] | None = None,
    checks: Sequence[Check] = (),
    drop: Mapping[str, str] | None = None,
    session: bytes | None = None,
    round: int = 0,
    model_hash: bytes = NO_MODEL,
    tape: RandomTape | None = None,
    encoder_tape: RandomTape | None = None,
    conditions: Conditions | None = None,
) -> AggregateResult:
    """The weighted mean of ``updates``, computed so that no party sees a single one of them.

    * ``updates``: name → array, torch tensor, or list, tuple or dict of them, of any float dtype.
    * ``weights``: name → whole number from 1 to ``max_weight``; without them every client weighs 1.
      ``max_weight`` is public, and the largest weight given if it is left out.
    * ``metrics``: name → metric → value; ``metric_bounds``: metric → bound. They travel as the update does.
    * ``identities``: name → signing key. With them every message is bound to its sender's long-term key,
      and ``Masking`` withstands a server that lies.
    * ``drop``: name → the phase from which the client is silent (one of ``backend.client_phases``, or
      ``"input"`` for whichever one carries the input).
    * ``tape``: randomness of the protocol; ``encoder_tape``: of the rounding, so that encoded inputs do
      not depend on the backend. Both are the system's generator if left out.

    Raises ``LocalError`` for arguments that cannot be used and ``AbortError`` if the round yields nothing.
    """
    tape = SystemTape() if tape is None else tape
    encoder_tape = SystemTape() if encoder_tape is None else encoder_tape
    encoding = FixedPoint() if encoding is None else encoding
    conditions = Conditions() if conditions is None else conditions
    optional = {
        "weights": weights,
        "metrics": metrics,
        "metric_bounds": metric_bounds,
        "identities": identities,
        "drop": drop,
    }
    _require_kind(
        (Backend, {"backend": backend}),
        (FixedPoint, {"encoding": encoding}),
        (RandomTape, {"tape": tape, "encoder_tape": encoder_tape}),
        (Conditions, {"conditions": conditions}),
        (Mapping, {name: given for name, given in optional.items() if given is not None}),
        (Sequence, {"checks": checks}),
    )
    _require_kind((Check, {f"checks[{place}]": check for place, check in enumerate(checks)}))
    structure, plan, encoded = _encode_all(
        updates, encoding, weights, max_weight, metrics, metric_bounds, encoder_tape
    )
    checks = [check.for_plan(plan) for check in checks]
    members = tuple(updates)
    link_key = tape.read(32)
    cohort = Cohort(
        session=tape.read(SESSION_BYTES) if session is None else session,
        round=round,
        members=members,
        threshold=backend.resolve_threshold(len(members)),
        length=plan.length,
        bits=encoding.bits,
        server_key=X25519PrivateKey.from_private_bytes(link_key).public_key().public_bytes_raw(),
        model_hash=model_hash,
        identities=_public_keys(members, identities),
    )
    silent = _who_drops(backend, cohort, drop or {})
    vectors = {name: one.vector for name, one in encoded.items()}
    total, transcript = run_round(
        backend.setup(tape), cohort, vectors, link_key, checks, silent, tape, conditions, identities
    )
    decoded: Decoded = plan.decode(total.total)
    survivors = cohort.names(total.survivors)
    rejected = {cohort.members[index]: why for index, why in total.rejected.items()}
    return AggregateResult(
        mean=structure.rebuild(decoded.mean),
        encoded_sum=total.total,
        weight=decoded.weight,
        metrics=decoded.metrics,
        survivors=survivors,
        dropped=tuple(name for name in members if name not in {*survivors, *rejected}),
        rejected=rejected,
        declined={members[who.index]: why for who, why in transcript.declined.items()},
        faults={str(who): why for who, why in total.faults.items()},
        clipped={name: one.clipped for name, one in encoded.items()},
        clipped_metrics={name: one.clipped_metrics for name, one in encoded.items()},
        cohort=cohort,
        plan=plan,
        transcript=transcript,
    )


def run_round(
    backend: Backend,
    cohort: Cohort,
    vectors: Mapping[str, NDArray[np.signedinteger]],
    link_key: bytes,
    checks: Sequence[Check],
    drop: Mapping[PartyId, str],
    tape: RandomTape,
    conditions: Conditions,
    identities: Mapping[str, Identity] | None = None,
) -> tuple[Aggregate, Transcript]:
    """One round over an in-process network, on encoded vectors. ``backend`` is set up."""
    signers = identities or {}
    # Labels of their own for each round: a seeded tape must not give a client the same keys twice.
    label = f"{cohort.session.hex()} {cohort.round}"
    server = backend.server(cohort, link_key=link_key, checks=checks, tape=tape.child(f"{label} server"))
    parties: dict[PartyId, Party[object]] = {SERVER: server}
    parties.update(backend.helpers(cohort, checks=checks, tape=tape.child(f"{label} helpers")))
    for index, name in enumerate(cohort.members):
        own = tape.child(f"{label} client {index}")
        parties[client_id(index)] = backend.client(
            cohort, name, vectors[name], identity=signers.get(name), checks=checks, tape=own
        )
    for who in conditions.offline:
        if who not in parties or who.role in (Role.SERVER, Role.CLIENT):
            raise LocalError("conditions.offline", str(who), "must name helpers of this backend")
    network = Network(
        parties,
        backend.phases,
        drop={**drop, **dict.fromkeys(conditions.offline, backend.phases[0])},
        delay=conditions.delay,
        tamper=conditions.tamper,
        shuffle=conditions.shuffle,
        clock=conditions.clock,
        keep_payloads=conditions.keep_payloads,
        observe=conditions.observe,
    )
    try:
        transcript = network.run()
    except AbortError as error:
        names = {cohort.members[who.index]: why for who, why in _declined(parties).items()}
        if not names:
            raise
        raise AbortError(error.reason, {**error.evidence, "declined": names}) from None
    transcript.declined.update(_declined(parties))
    if server.result is None:
        refusals = [str(refusal.error) for refusal in transcript.refusals]
        raise AbortError("the round ended without a sum", {"refusals": refusals})
    return server.result, transcript


def _declined(parties: Mapping[PartyId, Party[object]]) -> dict[PartyId, str]:
    """Who took no part of its own accord, and why."""
    reasons = {who: getattr(party, "declined", None) for who, party in parties.items()}
    return {who: why for who, why in reasons.items() if why is not None}


def _public_keys(members: Sequence[str], identities: Mapping[str, Identity] | None) -> tuple[bytes, ...]:
    if identities is None:
        return ()
    if identities.keys() != set(members):
        differing = sorted(map(str, identities.keys() ^ set(members)))
        raise LocalError("identities", differing, "must name the same clients as updates")
    _require_kind((Identity, {f"identities[{name!r}]": one for name, one in identities.items()}))
    return tuple(identities[name].public for name in members)


def _require_kind(*expected: tuple[type, Mapping[str, object]]) -> None:
    """``LocalError`` for the first argument that is not of its type."""
    for kind, arguments in expected:
        for argument, value in arguments.items():
            if not isinstance(value, kind):
                raise LocalError(argument, value, f"must be a {kind.__name__}")


def _encode_all(
    updates: Mapping[str, Any],
    encoding: FixedPoint,
    weights: Mapping[str, int] | None,
    max_weight: int | None,
    metrics: Mapping[str, Mapping[str, float]] | None,
    metric_bounds: Mapping[str, float] | None,
    tape: RandomTape,
) -> tuple[Structure, Plan, dict[str, Encoded]]:
    if not isinstance(updates, Mapping) or len(updates) < 2:
        count = len(updates) if isinstance(updates, Mapping) else type(updates).__name__
        raise LocalError("updates", count, "must map at least 2 client names to updates")
    check_members(tuple(updates))
    weights = dict.fromkeys(updates, 1) if weights is None else weights
    for name, weight in weights.items():
        if not isinstance(weight, int | np.integer) or isinstance(weight, bool):
            raise LocalError(f"weight of client {name!r}", weight, "must be a whole number")
    metrics = {name: {} for name in updates} if metrics is None else metrics
    for argument, given in (("weights", weights), ("metrics", metrics)):
        if given.keys() != updates.keys():
            differing = sorted(map(str, given.keys() ^ updates.keys()))
            raise LocalError(argument, differing, "must name the same clients as updates")
    _require_kind((Mapping, {f"metrics of client {name!r}": found for name, found in metrics.items()}))
    apart = {name: take_apart(name, update) for name, update in updates.items()}
    first, (structure, _) = next(iter(apart.items()))
    for name, (found, _) in apart.items():
        require_same(first, structure, name, found)
    structure.check_clip(encoding.clip)
    plan = encoding.plan(
        structure.sizes,
        clients=len(updates),
        max_weight=max(1, *map(int, weights.values())) if max_weight is None else max_weight,
        metrics=metric_bounds,
    )
    encoded = {
        name: plan.encode(arrays, weights[name], metrics[name], tape.child(name), client=name)
        for name, (_, arrays) in apart.items()
    }
    return structure, plan, encoded


def _who_drops(backend: Backend, cohort: Cohort, drop: Mapping[str, str]) -> dict[PartyId, str]:
    silent = {}
    for name, phase in drop.items():
        if name not in cohort.members:
            raise LocalError("drop", name, f"names none of the {cohort.size} clients")
        phase = backend.input_phase if phase == INPUT_PHASE else phase
        if phase not in backend.client_phases:
            choices = ", ".join((INPUT_PHASE, *backend.client_phases))
            raise LocalError(f"drop[{name!r}]", phase, f"must be one of {choices}")
        silent[client_id(cohort.index(name))] = phase
    return silent
