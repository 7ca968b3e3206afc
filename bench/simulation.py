"""Whole masking rounds with every client simulated, and what client and server spend on them.

The server's part is recorded and played to fresh servers, so that its time and memory are its own: links,
signatures, decoding and unmasking included, clients and network not.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mpc.network import Network
from mpc.party import SERVER, Message, Party, PartyId, Role, client_id
from mpc.ring import add_masks
from mpc.tape import SeededTape
from mpc.transcript import Record
from secagg.cohort import Cohort
from secagg.identity import Identity
from secagg.masking import Masking
from secagg.masking.listing import graph_parameters
from secagg.server import Aggregate


class Recorder:
    """The server, and a script of all that it is told; a deadline is None."""

    id = SERVER

    def __init__(self, inner: Party[Aggregate]) -> None:
        self._inner = inner
        self.script: list[Message | None] = []

    @property
    def result(self) -> Aggregate | None:
        return self._inner.result

    def start(self) -> list[Message]:
        return self._inner.start()

    def receive(self, message: Message) -> list[Message]:
        self.script.append(message)
        return self._inner.receive(message)

    def expire(self) -> list[Message]:
        self.script.append(None)
        return self._inner.expire()


@dataclass(frozen=True)
class Simulated:
    """One round. Seconds are CPU time; bytes are those on the wire, the mean over the clients."""

    clients: int
    length: int
    degree: int
    threshold: int
    keystreams: int
    client_seconds: dict[str, float]
    client_sends: float
    client_receives: float
    server_script: list[Message | None]
    fresh_server: Callable[[], Party[Aggregate]]

    def play(self) -> float:
        """CPU seconds of a fresh server over the whole round, all its threads together."""
        server = self.fresh_server()
        begin = time.process_time()
        for message in self.server_script:
            if message is None:
                server.expire()
            else:
                server.receive(message)
        took = time.process_time() - begin
        assert server.result is not None
        return took

    def server_seconds(self, repeats: int = 3) -> float:
        return statistics.median(self.play() for _ in range(repeats))

    def server_peak_bytes(self) -> int:
        """The most memory that the server holds at once, beyond what it was sent."""
        tracemalloc.start()
        self.play()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    def bare_seconds(self) -> float:
        """CPU seconds of the keystreams that no such server can do without, added one by one; one thread."""
        lane = np.dtype("<u4")
        total, sample = np.zeros(self.length, lane), min(self.keystreams, 640)
        streams = [(index.to_bytes(16, "little"), 1) for index in range(sample)]
        begin = time.process_time()
        add_masks(total, streams)
        return (time.process_time() - begin) * self.keystreams / sample


def simulate(
    backend: Masking,
    clients: int,
    length: int,
    *,
    dropped: float = 0.05,
    signed: bool = True,
    progress: Callable[[Record], None] | None = None,
) -> Simulated:
    """A round in which the last ``dropped`` of the clients go silent before their masked input."""
    tape = SeededTape(b"simulation")
    link_key = tape.read(32)
    names = tuple(f"client-{index}" for index in range(clients))
    identities = {name: Identity.generate(tape) for name in names} if signed else {}
    cohort = Cohort(
        bytes(16),
        0,
        names,
        backend.resolve_threshold(clients),
        length,
        16,
        X25519PrivateKey.from_private_bytes(link_key).public_key().public_bytes_raw(),
        identities=tuple(identity.public for identity in identities.values()),
    )
    assert cohort.ring.lane == np.dtype("<u4")
    vector = np.random.default_rng(7).integers(-1000, 1000, length, dtype=np.int32)

    def fresh_server() -> Party[Aggregate]:
        return backend.server(cohort, link_key=link_key, tape=SeededTape(b"server"))

    server = Recorder(fresh_server())
    parties: dict[PartyId, Party[object]] = {SERVER: server}
    for index, name in enumerate(names):
        parties[client_id(index)] = backend.client(
            cohort, name, vector, identity=identities.get(name), tape=tape.child(name)
        )
    gone = int(dropped * clients)
    network = Network(
        parties,
        backend.phases,
        drop={client_id(index): backend.input_phase for index in range(clients - gone, clients)},
        clock=time.process_time,
        observe=progress,
    )
    transcript = network.run()
    assert server.result is not None
    assert (server.result.total == (clients - gone) * vector.astype(np.int64)).all()
    parameters = graph_parameters(cohort, backend.tolerance)
    degree = clients - 1 if parameters is None else parameters.degree
    seconds: defaultdict[str, float] = defaultdict(float)
    for (phase, role), spent in transcript.seconds.items():
        if role is Role.CLIENT:
            seconds[phase] += spent / clients
    up = sum(record.size for record in transcript.records if record.sender.role is Role.CLIENT)
    down = sum(record.size for record in transcript.records if record.receiver.role is Role.CLIENT)
    return Simulated(
        clients=clients,
        length=length,
        degree=degree,
        threshold=cohort.threshold if parameters is None else parameters.threshold,
        keystreams=clients - gone + round(gone * degree * (clients - gone) / (clients - 1)),
        client_seconds=dict(seconds),
        client_sends=up / clients,
        client_receives=down / clients,
        server_script=server.script,
        fresh_server=fresh_server,
    )
