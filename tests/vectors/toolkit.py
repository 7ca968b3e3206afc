"""The toolkit's own parties, driven by hand through the rounds of the vector files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from mpc.errors import AbortError, PeerError
from mpc.party import SERVER, Message
from mpc.tape import RandomTape, SeededTape
from secagg.cohort import Cohort
from secagg.identity import Identity
from secagg.link import LinkedParty
from secagg.masking.client import MaskingClient
from secagg.masking.parameters import Adversary, Tolerance
from secagg.masking.server import MaskingServer
from secagg.server import Aggregate
from tests.reference.rounds import PHASES, Sent, Setting


def cohort_of(setting: Setting) -> Cohort:
    known = setting.cohort
    return Cohort(
        session=known.session,
        round=known.round,
        members=known.members,
        threshold=known.threshold,
        length=known.length,
        bits=known.bits,
        server_key=known.server_key,
        model_hash=known.model_hash,
        identities=known.identities,
    )


def tolerance(corrupt: str, dropout: str, adversary: str) -> Tolerance:
    return Tolerance(float(corrupt), float(dropout), Adversary(adversary))


def tolerance_of(setting: Setting) -> Tolerance | None:
    known = setting.tolerance
    return None if known is None else tolerance(known.corrupt, known.dropout, known.adversary)


def identities_of(setting: Setting) -> Sequence[Identity | None]:
    if not setting.identities:
        return [None] * setting.cohort.size
    return [Identity(secret) for secret in setting.identities]


def client_of(setting: Setting, me: int, tape: RandomTape | None = None) -> MaskingClient:
    """The client without a link, which reads the tape of the setting from its front."""
    cohort, tape = cohort_of(setting), tape or SeededTape(setting.seeds[me])
    vector = np.array(setting.vectors[me], np.int64)
    client = MaskingClient(cohort, cohort.members[me], vector, (), tape, tolerance_of(setting))
    client.identity = identities_of(setting)[me]
    return client


def linked_client_of(setting: Setting, me: int, limit: int) -> LinkedParty[None]:
    """The client at its end of a link, which reads the same tape once the client has made its keys."""
    tape = SeededTape(setting.seeds[me])
    inner, identity = client_of(setting, me, tape), identities_of(setting)[me]
    return LinkedParty.client(inner, cohort_of(setting), tape, identity, limit)


def server_of(setting: Setting) -> MaskingServer:
    return MaskingServer(cohort_of(setting), (), SeededTape(b"a server"), tolerance_of(setting))


class ToolkitRound:
    """A round as the reference plays it: a phase ends when all who still speak have spoken."""

    def __init__(
        self,
        setting: Setting,
        clients: Sequence[Any],
        server: Any,
        lies: Mapping[tuple[str, int], bytes] | None = None,
    ) -> None:
        self._setting, self._lies = setting, lies or {}
        self.messages: list[Message] = []
        self.result: Aggregate | None = None
        self.abort: AbortError | None = None
        try:
            self._play(clients, server)
        except AbortError as reason:
            self.abort = reason

    def _play(self, clients: Sequence[Any], server: Any) -> None:
        up = [message for client in clients for message in client.start()]
        assert server.start() == []
        for phase in PHASES:
            heard = [self._lie(message) for message in up if self._speaks(message.sender.index, phase)]
            self.messages += heard
            down = [reply for message in heard for reply in server.receive(message)] or server.expire()
            self.messages += down
            up = []
            for message in down:
                with suppress(PeerError):  # for the others it has gone silent
                    up += clients[message.receiver.index].receive(message)
        self.result = server.result

    def _speaks(self, client: int, phase: str) -> bool:
        silent = self._setting.silent.get(client)
        return silent is None or PHASES.index(phase) < PHASES.index(silent)

    def _lie(self, message: Message) -> Message:
        lie = self._lies.get((message.phase, message.sender.index))
        return message if lie is None else replace(message, payload=lie)

    def payloads(self) -> list[Sent]:
        return [
            Sent(message.phase, message.receiver.index, False, bytes(message.payload))
            if message.sender == SERVER
            else Sent(message.phase, message.sender.index, True, bytes(message.payload))
            for message in self.messages
        ]
