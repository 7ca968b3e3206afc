"""Many rounds in a row in which clients drop out, lie, and are restored, and messages are damaged on the way.

Every round that yields a sum yields the sum of the survivors' vectors; every other one says why it does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.party import Message
from mpc.tape import RandomTape, SeededTape
from secagg import Cohort, Masking, SecretSharing
from secagg.backend import Backend
from secagg.identity import Identity

Lie = Callable[[Message], list[Message]]
LENGTH, BITS = 12, 16
SMALLEST, LARGEST = 4, 12  # clients


class Luck:
    """Draws what befalls a round, from a tape of its own."""

    def __init__(self, seed: str) -> None:
        self._tape = SeededTape(seed.encode())

    def once_in(self, count: int) -> bool:
        return self._tape.below(count) == 0

    def one_of(self, choices: Sequence[Any]) -> Any:
        return choices[self._tape.below(len(choices))]

    def damaged(self, payload: bytes | memoryview, kinds: int = 4) -> bytes:
        """The end made longer (kind 0) or cut off (1), or one bit flipped (2, 3)."""
        data = bytearray(payload)
        kind = self._tape.below(kinds)
        if kind == 0 or not data:
            return bytes(data) + b"\0"
        if kind == 1:
            return bytes(data[:-1])
        data[self._tape.below(len(data))] ^= 1 << self._tape.below(8)
        return bytes(data)


class Lying:
    """What stands inside a link, and sends what ``lie`` makes of its messages."""

    def __init__(self, inner: Any, lie: Lie) -> None:
        self._inner, self._lie = inner, lie

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def start(self) -> list[Message]:
        return [lie for message in self._inner.start() for lie in self._lie(message)]

    def receive(self, message: Message) -> list[Message]:
        return [lie for answer in self._inner.receive(message) for lie in self._lie(answer)]


class Renewed:
    """A party that now and then is saved, thrown away and restored before it goes on."""

    def __init__(
        self, party: Any, load: Callable[[bytes, RandomTape], Any], luck: Luck, once_in: int
    ) -> None:
        self._party, self._load, self._luck, self._once_in = party, load, luck, once_in
        self.times = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._party, name)

    def receive(self, message: Message) -> list[Message]:
        self._renew()
        return self._party.receive(message)

    def expire(self) -> list[Message]:
        self._renew()
        return self._party.expire()

    def _renew(self) -> None:
        if self._luck.once_in(self._once_in):
            self.times += 1
            tape = SeededTape(f"{self._party.id} restored {self.times}".encode())
            self._party = self._load(self._party.dump(), tape)


class Unsteady:
    """A backend whose clients and server are renewed in mid-round, and some of whose clients lie."""

    def __init__(self, backend: Backend, luck: Luck, liars: Mapping[int, Lie]) -> None:
        self._backend, self._luck, self._liars = backend, luck, liars
        self.parties: list[Renewed] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def client(
        self, cohort: Cohort, me: str, vector: np.ndarray, *, tape: RandomTape, **named: Any
    ) -> Renewed:
        lie = self._liars.get(cohort.index(me))

        def corrupted(party: Any) -> Any:
            if lie is not None:
                party._inner = Lying(party._inner, lie)
            return party

        def load(data: bytes, tape: RandomTape) -> Any:
            return corrupted(self._backend.load_client(cohort, me, data, tape=tape, **named))

        party = corrupted(self._backend.client(cohort, me, vector, tape=tape, **named))
        return self._keep(party, load, 12)

    def server(self, cohort: Cohort, *, tape: RandomTape, **named: Any) -> Renewed:
        party = self._backend.server(cohort, tape=tape, **named)
        return self._keep(
            party, lambda data, tape: self._backend.load_server(cohort, data, tape=tape, **named), 25
        )

    def _keep(self, party: Any, load: Callable[[bytes, RandomTape], Any], once_in: int) -> Renewed:
        self.parties.append(Renewed(party, load, self._luck, once_in))
        return self.parties[-1]


def liar(luck: Luck, phase: str, input_phase: str) -> Lie:
    """Sends something else in one phase, under a link tag that is right.

    An input it makes longer or shorter: with a bit flipped it is a good one, of another vector.
    """
    kinds = 2 if phase == input_phase else 4

    def lie(message: Message) -> list[Message]:
        if message.phase != phase:
            return [message]
        return [replace(message, payload=luck.damaged(message.payload, kinds))]

    return lie


def tampering(luck: Luck, once_in: int) -> Lie:
    """Now and then a message is damaged, lost or repeated on the way."""

    def tamper(message: Message) -> list[Message]:
        if not luck.once_in(once_in):
            return [message]
        damaged = replace(message, payload=luck.damaged(message.payload))
        return list(luck.one_of([(), (message, message), (damaged,), (damaged, message)]))

    return tamper


def misfortunes(luck: Luck, backend: Backend, clients: int) -> dict[str, Any]:
    """What befalls a round, as arguments of ``rig.play``."""
    phases = backend.client_phases
    some = range(clients)
    dropped = {index: luck.one_of(phases) for index in some if luck.once_in(12)}
    return {
        "drop": dropped,
        "tamper": tampering(luck, 150),
        "delay": lambda _: int(luck.once_in(200)),
        "shuffle": SeededTape(b"order") if luck.once_in(2) else None,
    }


def soak(rig: SimpleNamespace, make: Callable[..., Backend], rounds: int) -> Counter[str]:
    """Plays the rounds; what became of them, with how many renewals, dropouts and refusals there were."""
    found: Counter[str] = Counter()
    for number in range(rounds):
        luck = Luck(f"soak {number}")
        clients = SMALLEST + number % (LARGEST - SMALLEST + 1)
        backend = make().setup(SeededTape(b"long-term keys"))
        phases, input_phase = backend.client_phases, backend.input_phase
        lying = [index for index in range(clients) if luck.once_in(15)]
        liars = {index: liar(luck, luck.one_of(phases), input_phase) for index in lying}
        table = Unsteady(backend, luck, liars)
        identities: list[Identity] = rig.identities(clients) if luck.once_in(3) else []
        cohort = rig.cohort(backend, clients, LENGTH, BITS, round=number)
        outcome = rig.play(
            lambda table=table: table,
            rig.vectors(clients, LENGTH, BITS, f"soak {number}"),
            seed=f"soak {number}".encode(),
            cohort=cohort,
            identities=identities,
            **misfortunes(luck, backend, clients),
        )
        outcome.require_never_wrong()
        found["sums" if outcome.abort is None else "aborts"] += 1
        found["renewed"] += sum(party.times for party in table.parties)
        found["missing"] += clients - len(outcome.survivors) if outcome.abort is None else 0
        found["refused"] += len(outcome.rejected)
    return found


@pytest.fixture
def masking(rig: SimpleNamespace) -> Callable[..., Backend]:
    """By turns on the complete and on the sparse graph."""
    tolerances = [None, rig.spared]

    def make() -> Backend:
        tolerances.reverse()
        return Masking(tolerance=tolerances[0])

    return make


def test_a_short_soak(rig: SimpleNamespace, masking: Callable[..., Backend]) -> None:
    found = soak(rig, masking, 40)
    print(dict(found))
    assert min(found[kind] for kind in ("sums", "aborts", "renewed", "missing", "refused")) >= 5


@pytest.mark.slow
def test_five_hundred_rounds_of_masking(rig: SimpleNamespace, masking: Callable[..., Backend]) -> None:
    found = soak(rig, masking, 500)
    print(dict(found))
    assert found["sums"] >= 200
    assert found["aborts"] >= 50


@pytest.mark.slow
def test_two_hundred_rounds_of_sharing(rig: SimpleNamespace) -> None:
    found = soak(rig, SecretSharing, 200)
    assert found["sums"] >= 100
