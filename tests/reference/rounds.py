"""A whole round between the reference's parties, with clients that fall silent and clients that lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.reference.cohort import Cohort
from tests.reference.degree import Tolerance
from tests.reference.links import ClientEnd
from tests.reference.masking import Client, Refused
from tests.reference.primitives import Tape
from tests.reference.server import Aborted, Server

PHASES = ("advertise-keys", "share-keys", "masked-input", "consistency", "unmask")


@dataclass(frozen=True)
class Setting:
    """All that a round follows from."""

    cohort: Cohort
    tolerance: Tolerance | None
    seeds: Sequence[bytes]  # of the clients' tapes
    vectors: Sequence[Sequence[int]]
    identities: Sequence[bytes] = ()  # Ed25519 secrets
    silent: Mapping[int, str] = field(default_factory=dict)  # client → phase in which it no longer sends
    linked: bool = False


@dataclass(frozen=True)
class Sent:
    """A payload on its way, without header and link. ``client``: the end that is not the server."""

    phase: str
    client: int
    to_server: bool
    payload: bytes


class Round:
    """Plays a setting to its end. ``lies``: (phase, client) → the payload which that client sends instead."""

    def __init__(self, setting: Setting, lies: Mapping[tuple[str, int], bytes] | None = None) -> None:
        self.setting, self._lies = setting, lies or {}
        cohort = setting.cohort
        self.clients: list[Client] = []
        self.ends: list[ClientEnd] = []
        for me in cohort.everybody:
            tape = Tape(setting.seeds[me])
            identity = setting.identities[me] if setting.identities else None
            self.clients.append(Client(cohort, setting.tolerance, me, setting.vectors[me], tape, identity))
            if setting.linked:
                self.ends.append(ClientEnd(cohort, me, tape, identity))
        self.server = Server(cohort, setting.tolerance)
        self.messages: list[Sent] = []
        self.total: list[int] | None = None
        self.aborted: Aborted | None = None
        try:
            self._play()
        except Aborted as reason:
            self.aborted = reason

    def _play(self) -> None:
        clients, server = self.clients, self.server
        answers = self._up("advertise-keys", {client.me: client.advertise() for client in clients})
        for phase, method, ask in (
            ("share-keys", Client.share_keys, server.list_keys),
            ("masked-input", Client.masked_input, server.route),
            ("consistency", Client.consistency, server.ask_consistency),
            ("unmask", Client.unmask, server.ask_unmask),
        ):
            asked = ask(answers)
            self.messages += [Sent(phase, i, False, payload) for i, payload in asked.items()]
            answers = {}
            for i, payload in asked.items():
                with suppress(Refused):  # for the others it has gone silent
                    answers[i] = method(clients[i], payload)
            answers = self._up(phase, answers)
        self.total = server.open(answers)

    def _up(self, phase: str, answers: Mapping[int, bytes]) -> dict[int, bytes]:
        sent = {}
        for index, answer in answers.items():
            silent = self.setting.silent.get(index)
            if silent is None or PHASES.index(phase) < PHASES.index(silent):
                sent[index] = self._lies.get((phase, index), answer)
        self.messages += [Sent(phase, i, True, payload) for i, payload in sent.items()]
        return sent

    def asked(self, client: int, phase: str) -> bytes:
        """What the server sent to this client in this phase."""
        return self._one(client, phase, False)

    def answered(self, client: int, phase: str) -> bytes:
        return self._one(client, phase, True)

    def _one(self, client: int, phase: str, to_server: bool) -> bytes:
        found = (client, phase, to_server)
        return next(s.payload for s in self.messages if (s.client, s.phase, s.to_server) == found)
