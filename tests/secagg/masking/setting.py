"""A round of masking that can be played again and again, with liars and dropouts, and looked into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from mpc.party import Message
from secagg import Masking
from secagg.masking import Tolerance
from secagg.masking.client import MaskingClient
from secagg.masking.server import MaskingServer

LENGTH = 9
Holders = dict[int, tuple[int, ...]]


class Kept(Masking):
    """Masking whose parties can be looked into after the round."""

    kept: MaskingServer

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.clients: dict[int, MaskingClient] = {}

    def _client(self, *arguments: Any) -> MaskingClient:
        client = super()._client(*arguments)
        self.clients[client.index] = client
        return client

    def _server(self, *arguments: Any) -> MaskingServer:
        self.kept = super()._server(*arguments)
        return self.kept

    @property
    def refused(self) -> dict[int, str]:
        return {index: rejection.reason for index, rejection in self.kept.rejected.items()}


@dataclass
class Setting:
    """One round that can be played again and again: on the same tape everybody has the same holders."""

    rig: SimpleNamespace
    members: int
    tolerance: Tolerance | None
    spare: int  # of the holders of each client
    threshold: int
    holders: Holders

    def play(
        self, *, liars: dict[int, Any] | None = None, drop: dict[int, str] | None = None
    ) -> tuple[Any, Kept]:
        backend = Kept(tolerance=self.tolerance)
        vectors = self.rig.vectors(self.members, LENGTH, 16)
        return self.rig.play(backend, vectors, liars=liars, drop=drop), backend

    def peers(self, index: int) -> tuple[int, ...]:
        return tuple(holder for holder in self.holders[index] if holder != index)


SETTINGS = {"complete": (6, "none"), "small": (12, "spared"), "sparse": (60, "real")}


def in_phase(phase: str, change: Callable[[Message], bytes]) -> Callable[[Message], list[Message]]:
    return lambda m: [replace(m, payload=change(m))] if m.phase == phase else [m]
