"""What a round came to: bytes by phase, who was counted, dropped and refused, what was cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fl.client import LocalUpdate
from fl.contribution import LOCAL_CHECK
from fl.events import Refused, RoundReport
from mpc.errors import AbortError
from mpc.party import Role
from mpc.transcript import Record
from secagg.aggregate import AggregateResult


class Traffic:
    """Bytes delivered, by phase and sending role; an aborted round has no transcript to ask afterwards."""

    def __init__(self) -> None:
        self.uploaded = 0
        self.by_phase: dict[str, dict[str, int]] = {}

    def observe(self, record: Record) -> None:
        if record.fate != "delivered":
            return
        by_role = self.by_phase.setdefault(record.phase, {})
        sender = record.sender.role
        by_role[sender.title] = by_role.get(sender.title, 0) + record.size
        if sender is Role.CLIENT:
            self.uploaded += record.size


def told(
    report: RoundReport, outcome: AggregateResult | AbortError, refused: Mapping[str, Refused]
) -> RoundReport:
    """The report with what the secure sum came to. ``refused``: those who never got to send an input."""
    if isinstance(outcome, AbortError):
        report = replace(report, faults=_faults(outcome.evidence.get("faults"), report))
        refused = {**refused, **_declined(outcome.evidence.get("declined"))}
        reasons, checks = outcome.evidence.get("rejected"), outcome.evidence.get("checks")
        if not isinstance(reasons, dict) or not isinstance(checks, dict):
            alone = _in_order(report.participants, [], refused)
            return replace(report, rejected=alone, aborted=abort_text(outcome))
        by_server = [Refused(name, checks[name], why) for name, why in reasons.items()]
        rejected = _in_order(report.participants, by_server, refused)
        return replace(report, rejected=rejected, aborted=outcome.reason)
    by_protocol = [Refused(name, why.check, why.reason) for name, why in outcome.rejected.items()]
    seconds: dict[str, dict[str, float]] = {}
    for (phase, role), took in outcome.transcript.seconds.items():
        seconds.setdefault(phase, {})[role.title] = took
    return replace(
        report,
        train_accuracy=outcome.metrics.get("accuracy"),
        train_loss=outcome.metrics.get("loss"),
        train_metrics=dict(outcome.metrics),
        survivors=outcome.survivors,
        dropped=tuple(name for name in outcome.dropped if name not in {*refused, *outcome.declined}),
        rejected=_in_order(report.participants, by_protocol, {**refused, **_declined(outcome.declined)}),
        phase_seconds=seconds,
        faults=_faults(outcome.faults, report),
    )


def abort_text(error: AbortError) -> str:
    """Why a round yielded nothing, with such evidence as there is and the reason does not hold."""
    told_already = {"declined"} | ({"faults", "party"} if "faults" in error.evidence else set())
    facts = {name: fact for name, fact in error.evidence.items() if fact and name not in told_already}
    return str(AbortError(error.reason, facts))


def _declined(found: object) -> dict[str, Refused]:
    """Clients that could not prove what is asked of them, as their own refusals."""
    reasons = found if isinstance(found, Mapping) else {}
    return {str(name): Refused(str(name), LOCAL_CHECK, str(why)) for name, why in reasons.items()}


def _faults(found: object, report: RoundReport) -> dict[str, str]:
    """Without those that were to be silent: they are told of as offline."""
    if not isinstance(found, Mapping):
        return {}
    return {str(who): str(why) for who, why in found.items() if who not in report.offline}


def clipped_share(updates: Mapping[str, LocalUpdate], clip: float) -> float:
    """Counted here, since an aborted round gives no count."""
    tensors = [tensor for one in updates.values() for tensor in one.update]
    cut = sum(int(np.count_nonzero(np.abs(tensor) > clip)) for tensor in tensors)
    return cut / max(1, sum(tensor.size for tensor in tensors))


def _in_order(
    participants: Sequence[str], by_protocol: Sequence[Refused], refused: Mapping[str, Refused]
) -> tuple[Refused, ...]:
    found = {one.client: one for one in by_protocol} | dict(refused)
    return tuple(found[name] for name in participants if name in found)
