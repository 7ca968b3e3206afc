"""Honest rounds of secret sharing: exact sums, dropouts, checks, declared cost, reproducibility."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import secagg
from mpc.errors import AbortError
from mpc.party import Message, client_id
from mpc.tape import RandomTape, SeededTape
from secagg.aggregate import Conditions
from secagg.checks.base import ACCEPT, Check, Reject, Verdict
from secagg.cohort import Cohort
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing
from secagg.sharing.messages import CHECK, INPUT, OPEN, RELAY, SUM

MakeGame = Callable[..., Any]
deterministic = settings(derandomize=True, deadline=None, max_examples=30)


@deterministic
@given(data=st.data())
def test_the_total_is_the_sum_over_those_who_stay(game: MakeGame, data: st.DataObject) -> None:
    clients = data.draw(st.integers(2, 40), "clients")
    playing = game(
        clients,
        data.draw(st.integers(1, 2000), "length"),
        bits=data.draw(st.integers(4, 24), "bits"),
        seed=data.draw(st.binary(max_size=4), "seed"),
    )
    phases = st.sampled_from([INPUT, CHECK])
    drop = data.draw(st.dictionaries(st.integers(0, clients - 1), phases, max_size=clients - 2), "drop")
    backend = SecretSharing(data.draw(st.integers(2, 4), "aggregators"), threshold=2)
    result, _ = playing.run(backend, drop={client_id(index): phase for index, phase in drop.items()})
    playing.expect(result, [index for index, phase in drop.items() if phase == INPUT])
    assert result.rejected == {}


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("bits", "clients"), [(2, 40), (48, 40), (24, 3)])
def test_extreme_entries(game: MakeGame, bits: int, clients: int, sign: int) -> None:
    largest = (1 << (bits - 1)) - 1
    playing = game(clients, 9, bits=bits, inputs=np.full((clients, 9), sign * largest))
    result, _ = playing.run(SecretSharing(3, threshold=2))
    playing.expect(result)


def test_the_largest_number_of_aggregators(game: MakeGame) -> None:
    playing = game(3, 4)
    result, _ = playing.run(SecretSharing(255, threshold=2))
    playing.expect(result)


def test_every_backend_gives_the_same_integers() -> None:
    updates = {f"c{i}": [np.full((2, 3), 0.1 * i), np.linspace(-1, 1, 5)] for i in range(6)}
    weights = {name: 1 + 7 * place for place, name in enumerate(updates)}
    results = [
        secagg.aggregate(
            updates,
            backend=backend,
            weights=weights,
            drop={"c4": "input"},
            tape=SeededTape(b"protocol"),
            encoder_tape=SeededTape(b"encoder"),
        )
        for backend in (SecretSharing(3, threshold=2), InsecurePlain())
    ]
    np.testing.assert_array_equal(results[0].encoded_sum, results[1].encoded_sum)
    for one, other in zip(results[0].mean, results[1].mean, strict=True):
        np.testing.assert_array_equal(one, other)
    assert results[0].weight == results[1].weight
    assert results[0].dropped == results[1].dropped == ("c4",)


@pytest.mark.parametrize(("clients", "length", "aggregators"), [(2, 1, 2), (9, 31, 2), (17, 8, 5)])
def test_declared_cost_is_what_crosses(game: MakeGame, clients: int, length: int, aggregators: int) -> None:
    playing = game(clients, length)
    backend = SecretSharing(aggregators, threshold=2)
    _, transcript = playing.run(backend)
    assert backend.cost(playing.cohort).traffic() == transcript.traffic()
    assert backend.cost(playing.cohort).rounds == 1


def test_one_upload_costs_eight_bytes_a_coordinate_and_a_seed_for_each_further_aggregator(
    game: MakeGame,
) -> None:
    def upload(length: int, aggregators: int) -> int:
        playing = game(4, length)
        _, transcript = playing.run(SecretSharing(aggregators, threshold=2))
        return int(transcript.bytes_sent(client_id(0)))

    assert upload(1100, 2) - upload(100, 2) == 8 * 1000
    assert upload(100, 3) - upload(100, 2) == 16 + 48  # a seed, and the box around it


def test_a_tape_determines_every_byte(game: MakeGame) -> None:
    def bytes_of(seed: bytes) -> list[bytes]:
        inputs = np.arange(12).reshape(4, 3)
        playing = game(4, 3, seed=seed, inputs=inputs)
        _, transcript = playing.run(SecretSharing(3, threshold=2), conditions=Conditions(keep_payloads=True))
        return [record.message.encode() for record in transcript.records]

    assert bytes_of(b"one") == bytes_of(b"one")
    assert not set(bytes_of(b"one")) & set(bytes_of(b"two"))


@pytest.mark.parametrize("order", range(25))
def test_the_order_of_delivery_changes_nothing(game: MakeGame, order: int) -> None:
    playing = game(8, 5)
    shuffle = SeededTape(b"order %d" % order)
    result, transcript = playing.run(
        SecretSharing(3, threshold=2), drop={client_id(2): INPUT}, conditions=Conditions(shuffle=shuffle)
    )
    playing.expect(result, [2])
    assert transcript.refusals == []


def test_fewer_than_the_threshold_are_never_opened(game: MakeGame) -> None:
    playing = game(5, threshold=4)
    silent = {client_id(index): INPUT for index in (0, 3)}
    seen: list[str] = []
    with pytest.raises(AbortError, match="3 of 5 clients contributed; the threshold is 4"):
        playing.run(
            SecretSharing(threshold=2),
            drop=silent,
            conditions=Conditions(observe=lambda record: seen.append(record.phase)),
        )
    assert RELAY in seen
    assert OPEN not in seen
    assert SUM not in seen


# Checks.


class Objecting(Check):
    """Refuses the clients named, at the stage named."""

    name = "objecting"

    def __init__(self, stage: str, *clients: str) -> None:
        self.stage = stage
        self.clients = clients
        self.seen: list[str] = []

    def on_message(self, cohort: Cohort, client: str, message: Message) -> Verdict:
        if self.stage == "on_message" and client in self.clients:
            return Reject(client, "unwanted")
        return ACCEPT


class ObjectingToFrozen(Objecting):
    def on_inputs_frozen(self, cohort: Cohort, survivors: Sequence[str], seed: bytes) -> Sequence[Verdict]:
        self.seen = list(survivors)
        return [Reject(client, "unwanted") for client in self.clients]


class Proving(Check):
    """Each client proves that it knows its own vector's sum, tied to the seed."""

    name = "proving"
    proves = True

    def __init__(self, liar: str) -> None:
        self.liar = liar

    def proof_bytes(self, cohort: Cohort) -> int:
        return 40

    def prove(
        self, cohort: Cohort, client: str, vector: NDArray[np.int64], seed: bytes, tape: RandomTape
    ) -> bytes:
        return (bytes(32) if client == self.liar else seed) + int(vector.sum()).to_bytes(
            8, "little", signed=True
        )

    def on_proofs(self, cohort: Cohort, seed: bytes, proofs: Mapping[str, bytes]) -> Sequence[Verdict]:
        return [
            Reject(client, "not bound to the seed") for client, proof in proofs.items() if proof[:32] != seed
        ]


def test_a_check_refuses_a_message_before_it_is_relayed(game: MakeGame) -> None:
    playing = game(6)
    check = Objecting("on_message", "client-03")
    result, transcript = playing.run(SecretSharing(threshold=2), checks=[check])
    playing.expect(result, [3])
    assert result.rejected[3].check == "objecting"
    assert sum(record.phase == RELAY for record in transcript.records) == 2 * 5


def test_a_check_refuses_frozen_inputs_before_any_is_relayed(game: MakeGame) -> None:
    playing = game(6)
    check = ObjectingToFrozen("", "client-00", "client-05")
    result, transcript = playing.run(SecretSharing(threshold=2), drop={client_id(2): INPUT}, checks=[check])
    playing.expect(result, [0, 2, 5])
    assert set(result.rejected) == {0, 5}
    assert check.seen == ["client-00", "client-01", "client-03", "client-04", "client-05"]
    assert sum(record.phase == RELAY for record in transcript.records) == 2 * 3


def test_proofs_come_before_anything_is_relayed(game: MakeGame) -> None:
    playing = game(6)
    drop = {client_id(4): CHECK}
    result, transcript = playing.run(SecretSharing(3, threshold=2), checks=[Proving("client-01")], drop=drop)
    playing.expect(result, [1, 4])
    assert result.rejected[1].reason == "not bound to the seed"
    delivered = [record.phase for record in transcript.records if record.fate == "delivered"]
    last_proof = max(place for place, phase in enumerate(delivered) if phase == CHECK)
    assert delivered.index(RELAY) > last_proof


def test_declared_cost_with_proofs(game: MakeGame) -> None:
    playing = game(6)
    backend, checks = SecretSharing(threshold=2), [Proving("nobody")]
    result, transcript = playing.run(backend, checks=checks)
    playing.expect(result)
    assert backend.cost(playing.cohort, checks).traffic() == transcript.traffic()
