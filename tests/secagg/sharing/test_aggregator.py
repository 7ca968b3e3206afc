"""One aggregator, fed by hand: what it refuses, what it keeps, what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.errors import LocalError, PeerError
from mpc.party import SERVER, Message, PartyId, Role
from mpc.tape import SeededTape
from secagg.sealed import seal
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.client import SharingClient
from secagg.sharing.keys import AggregatorKey, share_context
from secagg.sharing.messages import (
    DECIDE,
    OPEN,
    RELAY,
    SUM,
    VERDICT,
    Decision,
    Fault,
    JudgedShare,
    RelayedShare,
    SharedInput,
    SumRequest,
    SumShare,
)
from secagg.sharing.scheme import PlainShares

MakeGame = Callable[..., Any]
KEYS = [AggregatorKey.generate(SeededTape(b"aggregator %d" % index)) for index in range(2)]


@dataclass
class Bench:
    """An aggregator, and what the clients of a game have sealed to it."""

    game: Any
    index: int
    key: AggregatorKey
    aggregator: Aggregator
    sealed: list[bytes]

    def send(self, phase: str, payload: bytes) -> list[Message]:
        cohort = self.game.cohort
        message = Message(cohort.session, cohort.round, phase, SERVER, self.aggregator.id, payload)
        return self.aggregator.receive(message)

    def relay(self, client: int, sealed: bytes | None = None) -> JudgedShare:
        (answer,) = self.send(RELAY, RelayedShare(client, sealed or self.sealed[client]).encode())
        assert (answer.phase, answer.receiver) == (VERDICT, SERVER)
        return JudgedShare.decode(answer.payload, self.game.cohort.size)

    def decide(self, client: int, counts: bool = True) -> None:
        assert self.send(DECIDE, Decision(client, counts).encode()) == []

    def ask(self, *clients: int) -> field.Elements:
        (answer,) = self.send(OPEN, SumRequest(clients).encode(self.game.cohort.size))
        assert (answer.phase, answer.receiver) == (SUM, SERVER)
        return SumShare.decode(answer.payload, self.game.cohort.length).elements

    def refused(self, act: Callable[[], object], told: str) -> None:
        """It refuses by the server's name, and then answers nothing more."""
        with pytest.raises(PeerError, match=told) as caught:
            act()
        assert caught.value.party == SERVER
        for phase in (RELAY, DECIDE, OPEN):
            with pytest.raises(PeerError, match="not expected in state 'refused'"):
                self.send(phase, b"")


@pytest.fixture(params=[0, 1], ids=["explicit", "seed"])
def bench(request: pytest.FixtureRequest, game: MakeGame) -> Bench:
    return make_bench(game, request.param)


def make_bench(game: MakeGame, index: int, clients: int = 5, length: int = 6) -> Bench:
    playing = game(clients, length, threshold=3)
    public = [key.public.sealing for key in KEYS]
    key = AggregatorKey.import_secret(KEYS[index].export_secret())  # and no memory of other tests
    scheme = PlainShares(playing.cohort.digest, length, 2)
    bench = Bench(playing, index, key, Aggregator(playing.cohort, index, key, scheme), [])
    for client, name in enumerate(playing.cohort.members):
        tape = SeededTape(b"client %d" % client)
        party = SharingClient(playing.cohort, name, playing.inputs[client], (), tape, public, scheme)
        (message,) = party.start()
        bench.sealed.append(bytes(SharedInput.decode(message.payload, scheme.sizes).sealed[index]))
    return bench


def test_two_aggregators_together_have_the_sum(game: MakeGame) -> None:
    shares = []
    for index in (0, 1):
        bench = make_bench(game, index)
        for client in (0, 2, 3):
            assert bench.relay(client) == JudgedShare(client, Fault.NONE)
            bench.decide(client)
        shares.append(bench.ask(0, 2, 3))
    total = field.decode(field.add(*shares))
    np.testing.assert_array_equal(total, bench.game.inputs[[0, 2, 3]].sum(axis=0))


def test_it_counts_what_the_request_names_though_the_decisions_are_lost(bench: Bench) -> None:
    for client in range(4):
        bench.relay(client)
    bench.decide(0)
    late = bench.ask(0, 1, 2)
    other = make_bench(lambda *a, **k: bench.game, bench.index)
    for client in range(3):
        other.relay(client)
        other.decide(client)
    np.testing.assert_array_equal(late, other.ask(0, 1, 2))


def test_after_the_sum_it_ignores_what_comes_late(bench: Bench) -> None:
    for client in range(3):
        bench.relay(client)
    bench.ask(0, 1, 2)
    assert bench.send(DECIDE, Decision(1, True).encode()) == []
    assert bench.send(RELAY, RelayedShare(4, bench.sealed[4]).encode()) == []


# The request for the sum.


def test_it_refuses_a_sum_that_leaves_out_whom_it_counted(bench: Bench) -> None:
    for client in range(4):
        bench.relay(client)
        bench.decide(client)
    bench.refused(lambda: bench.ask(0, 1, 2), "leaves out clients that are in the sum: client-03")


def test_it_refuses_a_sum_over_whom_it_never_saw(bench: Bench) -> None:
    for client in range(4):
        bench.relay(client)
        bench.decide(client)
    bench.refused(lambda: bench.ask(0, 1, 2, 3, 4), "no good share: client-04")


def test_it_refuses_a_sum_over_whom_it_was_told_to_forget(bench: Bench) -> None:
    for client in range(4):
        bench.relay(client)
        bench.decide(client, counts=client != 2)
    bench.refused(lambda: bench.ask(0, 1, 2, 3), "no good share: client-02")


def test_it_refuses_a_sum_over_whom_it_found_malformed(bench: Bench) -> None:
    for client in range(3):
        bench.relay(client)
    bench.relay(3, bytes(len(bench.sealed[3])))
    bench.refused(lambda: bench.ask(0, 1, 2, 3), "no good share: client-03")


def test_it_refuses_a_sum_over_fewer_than_the_threshold(bench: Bench) -> None:
    for client in range(2):
        bench.relay(client)
        bench.decide(client)
    bench.refused(lambda: bench.ask(0, 1), "a sum over 2 clients; the threshold is 3")


def test_it_refuses_a_round_that_its_key_has_served(bench: Bench) -> None:
    for client in range(3):
        bench.relay(client)
    bench.ask(0, 1, 2)
    scheme = PlainShares(bench.game.cohort.digest, bench.game.cohort.length, 2)
    bench.aggregator = Aggregator(bench.game.cohort, bench.index, bench.key, scheme)
    for client in range(1, 4):
        bench.relay(client)
    bench.refused(lambda: bench.ask(1, 2, 3), "a round that has been served before")


def test_a_request_that_it_refuses_does_not_use_up_the_round(bench: Bench) -> None:
    for client in range(3):
        bench.relay(client)
    bench.refused(lambda: bench.ask(0, 1), "a sum over 2 clients")
    assert bench.key.log.entries() == ()


def test_it_refuses_a_second_request(bench: Bench) -> None:
    for client in range(4):
        bench.relay(client)
    bench.ask(0, 1, 2)
    bench.refused(lambda: bench.ask(0, 1, 2), "not expected in state 'opened'")


# Shares and decisions.


def test_it_refuses_a_second_share_of_a_client(bench: Bench) -> None:
    bench.relay(1)
    bench.refused(lambda: bench.relay(1), "a second share of client 'client-01'")


def test_it_refuses_to_count_whom_it_has_no_good_share_of(bench: Bench) -> None:
    bench.refused(lambda: bench.decide(1), "count client 'client-01', of whom it has no good share")


def test_it_refuses_to_count_twice(bench: Bench) -> None:
    bench.relay(1)
    bench.decide(1)
    bench.refused(lambda: bench.decide(1), "no good share")


def test_it_refuses_to_forget_whom_it_counted(bench: Bench) -> None:
    bench.relay(1)
    bench.decide(1)
    bench.refused(lambda: bench.decide(1, counts=False), "forget client 'client-01', who is in the sum")


def test_a_share_that_comes_after_its_client_was_forgotten_is_not_judged(bench: Bench) -> None:
    bench.decide(1, counts=False)
    assert bench.send(RELAY, RelayedShare(1, bench.sealed[1]).encode()) == []
    bench.refused(lambda: bench.decide(1), "no good share")


@pytest.mark.parametrize(
    ("phase", "payload"),
    [(RELAY, b"\x05\0\0\0box"), (DECIDE, b"\0\0\0\0\x02"), (OPEN, b"\xff"), (OPEN, b""), (SUM, b"")],
)
def test_it_refuses_what_does_not_decode(bench: Bench, phase: str, payload: bytes) -> None:
    bench.refused(lambda: bench.send(phase, payload), "server in phase")


def test_it_takes_nothing_that_is_meant_for_another(bench: Bench) -> None:
    cohort = bench.game.cohort
    other = PartyId(Role.AGGREGATOR, 7)
    with pytest.raises(LocalError, match=r"message\.receiver"):
        bench.aggregator.receive(Message(cohort.session, cohort.round, RELAY, SERVER, other, b""))


def reseal(bench: Bench, plaintext: bytes, client: int = 1, index: int | None = None) -> bytes:
    index = bench.index if index is None else index
    context = share_context(bench.game.cohort.digest, client, index)
    return seal(KEYS[bench.index].public.sealing, context, plaintext, SeededTape(plaintext))


def test_it_judges_what_is_sealed(bench: Bench) -> None:
    size = 48 if bench.index == 0 else 16
    assert bench.relay(0, reseal(bench, bytes(size), client=0)).fault is Fault.NONE
    assert bench.relay(1, reseal(bench, bytes(size + 8))).fault is Fault.LENGTH
    assert bench.relay(2, reseal(bench, bytes(size), client=1)).fault is Fault.SEAL
    assert bench.relay(3, reseal(bench, bytes(size), client=3, index=1 - bench.index)).fault is Fault.SEAL
    assert bench.relay(4, b"short").fault is Fault.SEAL


def test_a_share_must_consist_of_field_elements(game: MakeGame) -> None:
    bench = make_bench(game, 0)
    largest, beyond = field.P - 1, field.P
    words = [largest] * 6
    good = b"".join(word.to_bytes(8, "little") for word in words)
    assert bench.relay(0, reseal(bench, good, client=0)).fault is Fault.NONE
    for client, place in ((1, 0), (2, 3), (3, 5)):
        words[place] = beyond
        bad = b"".join(word.to_bytes(8, "little") for word in words)
        assert bench.relay(client, reseal(bench, bad, client=client)).fault is Fault.RANGE


# Memory.


def held(value: object) -> int:
    """Bytes of all arrays and byte strings that are reachable."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, bytes | bytearray | memoryview):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(held, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return sum(map(held, value))
    return 0


@pytest.mark.parametrize("index", [0, 1])
def test_it_holds_one_vector_whatever_the_cohort(game: MakeGame, index: int) -> None:
    bench = make_bench(game, index, clients=50, length=400)
    state = vars(bench.aggregator)
    before = held(state)
    assert 8 * 400 <= before < 8 * 400 + 100
    for client in range(50):
        bench.relay(client)
        assert held(state) == before + (8 * 400 if index == 0 else 16)
        bench.decide(client, counts=client % 7 != 0)
        assert held(state) == before
    bench.aggregator._pending[0] = bytes(8 * 400)  # one that nobody has decided on
    bench.ask(*(client for client in range(50) if client % 7))
    assert held(state) < 100


def test_no_share_in_a_repr(bench: Bench) -> None:
    bench.relay(0)
    assert repr(bench.aggregator) == f"Aggregator({bench.index}, round 3, state 'collecting')"
