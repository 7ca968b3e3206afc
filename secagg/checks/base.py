"""Verification hooks: what may be asked of a contribution, and when (spec section 8).

A check is asked at fixed stages, on the server, and answers with a verdict:

1. ``on_message``: a client's message has arrived; only its public form is there to look at;
2. ``on_inputs_frozen``: every input has arrived and can no longer change; a public seed is drawn only now;
3. ``on_proofs``: each client's answer to that seed (made by ``prove``, on the client) has arrived;
4. ``on_aggregate``: the sum is open.

A rejected client is, to the protocol, a client that dropped out before its input counted: the round goes
on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mpc.errors import AbortError, DecodeError, LocalError
from mpc.party import Message
from mpc.saving import put, take
from mpc.tape import RandomTape
from secagg.cohort import Cohort
from secagg.encoding import Plan

SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Accept:
    """Nothing to object to."""


@dataclass(frozen=True, slots=True)
class Reject:
    """This client is refused. ``evidence`` holds public facts that a third party could look at."""

    client: str
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Abort:
    """The round must yield nothing."""

    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)


Verdict = Accept | Reject | Abort
ACCEPT = Accept()


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a client's contribution is not in the sum: the check that refused it, and its reason."""

    check: str
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)


_PROVING = ("prove", "proof_bytes", "on_proofs")


class Check:
    """Base of all checks: accepts everything at every stage. Override the stages that you need.

    A check that sets ``proves`` has ``prove`` run on each client once all inputs are frozen, and its
    answer, of exactly ``proof_bytes(cohort)`` bytes, handed to ``on_proofs``. ``LocalError`` for a class
    that overrides one of these three and does not set it: nobody would ever prove anything.

    A check that sets ``on_shares`` is proved with the input itself: see :class:`secagg.checks.ShareCheck`.

    What a check remembers from one stage to the next goes into attributes that ``saved`` lists, plain values:
    a party that is restored finds them there. All else depends on the arguments alone.
    """

    name: str = "check"
    proves: bool = False
    on_shares: ClassVar[bool] = False
    saved: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        overridden = [stage for stage in _PROVING if getattr(cls, stage) is not getattr(Check, stage)]
        if overridden and not cls.proves:
            raise LocalError(f"{cls.__name__}.proves", False, f"must be True, since it has {overridden[0]}()")

    def for_plan(self, plan: Plan) -> Self:
        """This check for vectors that are laid out so; ``aggregate()`` asks for it."""
        return self

    def on_message(self, cohort: Cohort, client: str, message: Message) -> Verdict:
        return ACCEPT

    def on_inputs_frozen(self, cohort: Cohort, survivors: Sequence[str], seed: bytes) -> Sequence[Verdict]:
        return ()

    def proof_bytes(self, cohort: Cohort) -> int:
        """The exact size of one client's proof."""
        return 0

    def prove(
        self, cohort: Cohort, client: str, vector: NDArray[np.int64], seed: bytes, tape: RandomTape
    ) -> bytes:
        """Runs on the client: its answer to the seed. ``vector`` is its encoded input."""
        return b""

    def on_proofs(self, cohort: Cohort, seed: bytes, proofs: Mapping[str, bytes]) -> Sequence[Verdict]:
        return ()

    def on_aggregate(self, cohort: Cohort, survivors: Sequence[str], total: NDArray[np.int64]) -> Verdict:
        return ACCEPT


def save_checks(checks: Sequence[Check]) -> list[dict[str, object]]:
    """What these checks remember."""
    return [take(check) for check in checks]


def restore_checks(checks: Sequence[Check], states: object) -> None:
    """Have them remember what ``save_checks`` gave; ``DecodeError`` for what others did."""
    if not isinstance(states, list) or len(states) != len(checks):
        raise DecodeError("the state of other checks")
    for check, state in zip(checks, states, strict=True):
        put(check, state)


class Gate:
    """The checks of one round, asked in order. The first objection to a client stands."""

    def __init__(self, cohort: Cohort, checks: Sequence[Check]) -> None:
        self._cohort = cohort
        self.checks = tuple(checks)
        self.provers = tuple(check for check in self.checks if check.proves)
        # Inputs are folded in as they arrive unless a check may still refuse one after they are frozen.
        self.may_reject_frozen = bool(self.provers) or any(
            type(check).on_inputs_frozen is not Check.on_inputs_frozen for check in self.checks
        )

    def on_message(self, index: int, message: Message) -> Rejection | None:
        client = self._cohort.members[index]
        for check in self.checks:
            found = self._sort(check, [check.on_message(self._cohort, client, message)])
            if client in found:
                return found[client]
            if found:
                bound = f"a message of {client!r} can only speak against its sender"
                raise LocalError(f"verdict of check {check.name!r}", f"Reject {sorted(found)}", bound)
        return None

    def on_inputs_frozen(self, survivors: Sequence[int], seed: bytes) -> dict[int, Rejection]:
        names = self._cohort.names(survivors)
        return self._each(lambda check: check.on_inputs_frozen(self._cohort, names, seed))

    def on_proofs(self, seed: bytes, proofs: Mapping[int, Sequence[bytes]]) -> dict[int, Rejection]:
        rejected: dict[int, Rejection] = {}
        for place, check in enumerate(self.provers):
            own = {self._cohort.members[i]: parts[place] for i, parts in proofs.items()}
            self._merge(rejected, self._sort(check, check.on_proofs(self._cohort, seed, own)))
        return rejected

    def sort(self, check: Check, verdicts: Sequence[Verdict]) -> dict[int, Rejection]:
        """Rejections by client, of verdicts that a check was asked for elsewhere; an ``Abort`` is raised."""
        rejected: dict[int, Rejection] = {}
        self._merge(rejected, self._sort(check, verdicts))
        return rejected

    def on_aggregate(self, survivors: Sequence[int], total: NDArray[np.int64]) -> None:
        """Raises ``AbortError`` where a check objects: by now a single client cannot be taken out."""
        names = self._cohort.names(survivors)
        shown = total.view()
        shown.flags.writeable = False  # a check looks at the sum, and cannot change it
        for check in self.checks:
            found = self._sort(check, [check.on_aggregate(self._cohort, names, shown)])
            for client, rejection in found.items():
                raise AbortError(
                    f"check {check.name!r} refused a client after the sum was open: {rejection.reason}",
                    {"client": client},
                )

    def _each(self, ask: Callable[[Check], Sequence[Verdict]]) -> dict[int, Rejection]:
        rejected: dict[int, Rejection] = {}
        for check in self.checks:
            self._merge(rejected, self._sort(check, ask(check)))
        return rejected

    def _merge(self, rejected: dict[int, Rejection], found: Mapping[str, Rejection]) -> None:
        for client, rejection in found.items():
            rejected.setdefault(self._cohort.index(client), rejection)

    def _sort(self, check: Check, verdicts: Sequence[Verdict]) -> dict[str, Rejection]:
        """Rejections by client; an ``Abort`` is raised."""
        found: dict[str, Rejection] = {}
        # A None or False that a check returns by mistake must not pass for its consent.
        for verdict in verdicts if isinstance(verdicts, Sequence) else [verdicts]:
            if isinstance(verdict, Abort):
                raise AbortError(f"check {check.name!r}: {verdict.reason}", verdict.evidence)
            if isinstance(verdict, Reject):
                found.setdefault(verdict.client, Rejection(check.name, verdict.reason, verdict.evidence))
            elif not isinstance(verdict, Accept):
                where = f"verdict of check {check.name!r}"
                raise LocalError(where, verdict, "must be Accept, Reject or Abort")
        return found
