"""Clients that lack one check: what an attack would succeed against. A test whose attack fails against ours
runs it against one of these as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpc.party import Message
from secagg import Masking
from secagg.masking import Tolerance
from secagg.masking.client import MaskingClient
from secagg.masking.parameters import GraphParameters

SPARSE = Tolerance(0.0, 0.0)  # degree 4, and 4 of 5 holders, from 6 clients on
WIDER = Tolerance(1 / 60, 1 / 20)  # degree 12, and 10 of 13 holders, of 60 clients 1 corrupt


class ClientsOf(Masking):
    """Masking with clients of another kind, or some of them of yet others."""

    def __init__(
        self,
        kind: type[MaskingClient],
        *arguments: Any,
        some: Mapping[str, type[MaskingClient]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._kind, self._some = kind, some or {}

    def _client(self, cohort: Any, me: str, *arguments: Any) -> MaskingClient:
        return self._some.get(me, self._kind)(cohort, me, *arguments, self.tolerance)


class Untagged(MaskingClient):
    """Takes the server's word for what the others were shown, as in protocols without a consistency phase."""

    def _on_relayed_tags(self, message: Message) -> list[Message]:
        return self._reveal()


class AnySets(MaskingClient):
    """Takes sets of whatever size, with however few of its holders in them."""

    def _check_set(self, *arguments: Any) -> None:
        pass

    def _check_holders(self, *arguments: Any) -> None:
        pass


@dataclass(frozen=True)
class Given(Tolerance):
    """A graph of given degree and threshold, be it safe or not."""

    degree: int = 0
    threshold: int = 0

    def parameters(self, members: int, listed: int | None = None) -> GraphParameters:
        n = members if listed is None else listed
        return GraphParameters(n, self.degree, self.threshold, self.threshold, 0.0, 0.0)
