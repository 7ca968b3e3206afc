"""A round of masking on the complete graph, without links (spec section 12)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from bench.peers.case import BITS, CLIP, MAX_WEIGHT, Case
from mpc.party import Message
from mpc.tape import SeededTape
from secagg import FixedPoint
from secagg.cohort import Cohort
from secagg.identity import Identity
from secagg.masking.client import MaskingClient
from secagg.masking.messages import INPUT
from secagg.masking.server import MaskingServer


class SecaggRound:
    """A whole round, of which every message is kept. Its sum is exact, or there is none to measure.

    Tapes are seeded, so that a new party which is given the messages of old comes to the same state:
    ``client_before`` and ``server_before`` make one that is about to do what is measured.

    ``up``: what the server received, deadlines as None. ``down``: what it sent, by phase and client.
    """

    def __init__(self, case: Case, *, signed: bool) -> None:
        self.case = case
        names = tuple(f"client-{index}" for index in range(case.clients))
        self._identities = [Identity.generate(SeededTape(name.encode())) for name in names] if signed else []
        self.plan = FixedPoint(CLIP, BITS).plan([case.length], clients=case.clients, max_weight=MAX_WEIGHT)
        self.cohort = Cohort(
            session=bytes(16),
            round=0,
            members=names,
            threshold=case.threshold,
            length=self.plan.length,
            bits=BITS,
            server_key=X25519PrivateKey.from_private_bytes(bytes([1] * 32)).public_key().public_bytes_raw(),
            identities=tuple(identity.public for identity in self._identities),
        )
        self.vectors = [self.encode(index) for index in range(case.clients)]
        self.up: list[Message | None] = []
        self.down: dict[tuple[str, int], Message] = {}
        self._play()

    def encode(self, index: int) -> NDArray[np.signedinteger[Any]]:
        update, weight = self.case.updates[index], self.case.weights[index]
        tape = SeededTape(b"rounding" + bytes([index]))
        return self.plan.encode([update], weight, {}, tape, client=str(index)).vector

    def _client(self, index: int) -> MaskingClient:
        name = self.cohort.members[index]
        client = MaskingClient(self.cohort, name, self.vectors[index], (), SeededTape(name.encode()))
        client.identity = self._identities[index] if self._identities else None
        return client

    def _server(self) -> MaskingServer:
        return MaskingServer(self.cohort, (), SeededTape(b"server"))

    def _play(self) -> None:
        server, clients = self._server(), [self._client(index) for index in range(self.case.clients)]
        sent = [message for client in clients for message in client.start()]
        while server.result is None:
            if not (replies := self._serve(server, sent)) and server.result is None:
                self.up.append(None)
                replies = server.expire()
            self.down |= {(reply.phase, reply.receiver.index): reply for reply in replies}
            sent = [m for reply in replies for m in clients[reply.receiver.index].receive(reply)]
        expected = sum(self.vectors[index].astype(np.int64) for index in self.case.survivors)
        assert np.array_equal(server.result.total, expected)

    def _serve(self, server: MaskingServer, sent: list[Message]) -> list[Message]:
        arrived = [m for m in sent if m.phase != INPUT or m.sender.index in self.case.survivors]
        self.up += arrived
        return [reply for message in arrived for reply in server.receive(message)]

    def started(self, index: int) -> tuple[MaskingClient, list[Message]]:
        """A client that has advertised its keys, and all that it is going to receive."""
        client = self._client(index)
        client.start()
        return client, [message for (_, receiver), message in self.down.items() if receiver == index]

    def client_before(self, index: int, phase: str) -> tuple[MaskingClient, Message]:
        """A client that has done everything before a phase, and the message with which the phase begins."""
        client, messages = self.started(index)
        for message in itertools.takewhile(lambda message: message.phase != phase, messages):
            client.receive(message)
        return client, self.down[phase, index]

    def server_before(self, phase: str) -> tuple[MaskingServer, list[Message | None]]:
        """A server that has been through everything before a phase, and what it receives from there on."""
        server = self._server()
        start = next(place for place, m in enumerate(self.up) if m is not None and m.phase == phase)
        self.serve(server, self.up[:start])
        return server, self.up[start:]

    def serve(self, server: MaskingServer, arrived: list[Message | None]) -> None:
        for message in arrived:
            if message is None:
                server.expire()
            else:
                server.receive(message)

    def finish(self, server: MaskingServer, arrived: list[Message | None]) -> NDArray[np.float64]:
        """Reconstruction, unmasking, decoding: from the clients' shares to the weighted mean."""
        self.serve(server, arrived)
        assert server.result is not None
        return self.plan.decode(server.result.total).mean

    def upload(self, index: int) -> dict[str, int]:
        """Bytes that a client sends, by phase, headers included."""
        sent = [m for m in self.up if m is not None and m.sender.index == index]
        return {message.phase: message.size for message in sent}
