"""A backend some of whose clients depart from the protocol, behind links of their own (spec section 15)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from mpc.cost import Cost, LinkCost
from mpc.leakage import Leakage
from mpc.party import Message, PartyId
from mpc.snapshot import Kind
from mpc.tape import RandomTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.client import RoundClient, Vector
from secagg.cohort import Cohort
from secagg.identity import Identity
from secagg.link import LinkedParty
from secagg.server import RoundServer

Lie = Callable[[Backend, RoundClient, Message], Message]
"""What an insider sends instead of an honest message; the message itself in phases that it leaves alone."""


class WithInsiders(Backend):
    """A backend some of whose clients lie, behind links of their own: the tags of their messages are right.

    Everybody else is as in ``inner``. ``insiders``: client → what it sends.
    """

    def __init__(self, inner: Backend, insiders: Mapping[str, Lie]) -> None:
        super().__init__(inner.minimum, max_message_bytes=inner.max_message_bytes)
        # The interface declares these on the class; here they are those of whatever is wrapped.
        vars(self).update(
            name=inner.name,
            phases=inner.phases,
            input_phase=inner.input_phase,
            client_phases=inner.client_phases,
            minimum_argument=inner.minimum_argument,
            leakage=inner.leakage,
            proves_on_shares=inner.proves_on_shares,
        )
        self._inner = inner
        self._insiders = dict(insiders)

    def resolve_threshold(self, members: int) -> int:
        return self._inner.resolve_threshold(members)

    def setup(self, tape: RandomTape | None = None) -> Self:
        return type(self)(self._inner.setup(tape), self._insiders)

    def _linked_client(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        identity: Identity | None,
        checks: Sequence[Check],
        tape: RandomTape,
    ) -> LinkedParty[None]:
        if (lie := self._insiders.get(me)) is None:
            return self._inner._linked_client(cohort, me, vector, identity, checks, tape)
        inner = self._client(cohort, me, vector, checks, tape)
        inner.identity = identity
        liar = _Insider(inner, lie, self._inner)
        return LinkedParty.client(liar, cohort, tape, identity, self.max_message_bytes)

    def _helper(
        self, cohort: Cohort, who: PartyId, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedParty[object]:
        return self._inner._helper(cohort, who, checks, tape)

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        return self._inner._helper_keys()

    def _helpers_of(self, checks: Sequence[Check]) -> Mapping[PartyId, bytes]:
        return self._inner._helpers_of(checks)

    def leakage_of(self, checks: Sequence[Check]) -> Leakage:
        return self._inner.leakage_of(checks)

    def _parameters(self) -> Mapping[str, object]:
        return self._inner._parameters()

    def cost(self, cohort: Cohort, checks: Sequence[Check] = ()) -> Cost:
        return self._inner.cost(cohort, checks)

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> RoundClient:
        return self._inner._client(cohort, me, vector, checks, tape)

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> RoundServer[Any]:
        return self._inner._server(cohort, checks, tape)

    def _cost(self, cohort: Cohort, checks: Sequence[Check]) -> tuple[int, list[LinkCost]]:
        return self._inner._cost(cohort, checks)


class _Insider:
    """An honest client whose messages pass through a lie."""

    result: None = None
    replaying = False

    def __init__(self, honest: RoundClient, lie: Lie, backend: Backend) -> None:
        self._honest = honest
        self._lie = lie
        self._backend = backend

    @property
    def id(self) -> PartyId:
        return self._honest.id

    def start(self) -> list[Message]:
        return self._tell(self._honest.start())

    def receive(self, message: Message) -> list[Message]:
        return self._tell(self._honest.receive(message))

    def expire(self) -> list[Message]:
        return self._tell(self._honest.expire())

    def _tell(self, messages: list[Message]) -> list[Message]:
        return [self._lie(self._backend, self._honest, message) for message in messages]

    def kinds(self) -> tuple[Kind, ...]:
        return self._honest.kinds()

    def save(self) -> dict[str, object]:
        return self._honest.save()

    def restore(self, state: Mapping[str, object]) -> None:
        self._honest.restore(state)
