"""What each party of secret sharing sees does not depend on the inputs; a broken client is caught at that."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mpc import field
from mpc.network import Tamper
from mpc.party import Message, PartyId, Role, client_id
from mpc.tape import RecordedTape, SeededTape
from secagg.aggregate import Conditions
from secagg.link import KEY_BYTES
from secagg.sharing import AggregatorKey, SecretSharing
from secagg.sharing import backend as backend_module
from secagg.sharing.client import SharingClient
from secagg.sharing.keys import share_context, share_key
from secagg.sharing.messages import INPUT, RELAY, RelayedShare

MakeGame = Callable[..., Any]
KEYS = [AggregatorKey.generate(SeededTape(b"aggregator %d" % index)) for index in range(3)]
CLIENTS, LENGTH = 30, 64
# 15 degrees of freedom: a uniform source exceeds this once in 10^6 times (and the tape is fixed).
LIMIT = 56.5


def nibble_statistic(data: bytes) -> float:
    """Pearson's chi-square of the half bytes against the uniform distribution, 15 degrees of freedom."""
    octets = np.frombuffer(data, np.uint8)
    counts = np.bincount(np.concatenate([octets >> 4, octets & 15]), minlength=16)
    expected = 2 * octets.size / 16
    return float(((counts - expected) ** 2 / expected).sum())


def shares_of(game: Any, aggregator: int) -> list[bytes]:
    """What this aggregator finds in its boxes, by client."""
    messages: dict[int, bytes] = {}

    def watch(message: Message) -> list[Message]:
        if message.phase == RELAY and message.receiver.index == aggregator:
            relayed = RelayedShare.decode(message.payload, game.cohort.size)
            context = share_context(game.cohort.digest, relayed.client, aggregator)
            messages[relayed.client] = KEYS[aggregator].box.unseal(context, relayed.sealed)
        return [message]

    run(game, watch)
    return [messages[client] for client in range(game.cohort.size)]


def run(game: Any, watch: Tamper) -> None:
    keys = [AggregatorKey.import_secret(key.export_secret()) for key in KEYS]  # and no memory
    game.run(SecretSharing(3, threshold=2, private_keys=keys), conditions=Conditions(tamper=watch))


def extreme(game: MakeGame, sign: int = 1, seed: bytes = b"leakage") -> Any:
    """Everybody holds the same largest value everywhere: the input that shines through first."""
    inputs = np.full((CLIENTS, LENGTH), sign * (2**15 - 1))
    return game(CLIENTS, LENGTH, inputs=inputs, seed=seed)


@pytest.mark.parametrize("aggregator", range(3))
def test_the_shares_of_one_aggregator_are_uniform(game: MakeGame, aggregator: int) -> None:
    shares = shares_of(extreme(game), aggregator)
    assert nibble_statistic(b"".join(shares)) < LIMIT
    assert len(set(shares)) == CLIENTS


def expanded(game: Any, aggregator: int) -> list[field.Elements]:
    shares = shares_of(game, aggregator)
    if aggregator == 0:
        return [field.from_bytes(share) for share in shares]
    return [
        field.expand(share_key(seed, game.cohort.digest, client, aggregator), game.cohort.length)
        for client, seed in enumerate(shares)
    ]


@pytest.mark.parametrize("colluding", list(itertools.combinations(range(3), 2)))
def test_two_of_three_aggregators_together_see_uniform_elements(
    game: MakeGame, colluding: Sequence[int]
) -> None:
    playing = extreme(game)
    one, other = (expanded(playing, aggregator) for aggregator in colluding)
    joint = [field.to_bytes(field.add(left, right)) for left, right in zip(one, other, strict=True)]
    assert nibble_statistic(b"".join(joint)) < LIMIT


def test_all_aggregators_together_see_everything(game: MakeGame) -> None:
    playing = game(4, 5)
    columns = zip(*(expanded(playing, aggregator) for aggregator in range(3)), strict=True)
    for client, shares in enumerate(columns):
        found = field.decode(field.sum_rows(np.stack(shares)))
        np.testing.assert_array_equal(found, playing.inputs[client])


def test_on_one_tape_seeds_do_not_depend_on_the_input_and_explicit_shares_are_shifted_by_it(
    game: MakeGame,
) -> None:
    """Exact, not statistical: the map from masks to explicit shares is a shift, so uniform stays uniform."""
    high, low = extreme(game, 1), extreme(game, -1)
    for aggregator in (1, 2):
        assert shares_of(high, aggregator) == shares_of(low, aggregator)
    for one, other in zip(expanded(high, 0), expanded(low, 0), strict=True):
        shift = field.decode(field.sub(one, other))
        np.testing.assert_array_equal(shift, np.full(LENGTH, 2 * (2**15 - 1)))


def test_no_share_comes_again_in_another_round(game: MakeGame) -> None:
    rounds = [extreme(game, seed=seed) for seed in (b"one", b"two")]
    for aggregator in range(3):
        first, second = (set(shares_of(playing, aggregator)) for playing in rounds)
        assert not first & second


def test_the_server_sees_uniform_bytes_before_the_sum(game: MakeGame) -> None:
    seen: list[bytes] = []

    def watch(message: Message) -> list[Message]:
        if message.phase == INPUT:
            seen.append(bytes(message.payload[KEY_BYTES:]))
        return [message]

    run(extreme(game), watch)
    # The top bit of an ephemeral X25519 key is always clear: leave the keys out.
    sizes = [(32, 16 + 8 * LENGTH), (32, 32), (32, 32)]
    boxes = []
    for payload in seen:
        place = 0
        for key, rest in sizes:
            boxes.append(payload[place + key : place + key + rest])
            place += key + rest
        assert place == len(payload)
    assert nibble_statistic(b"".join(boxes)) < LIMIT


# Broken variants whose sums are right: only the tests above can catch them.

Expansion = Callable[[bytes, int], Iterator[tuple[int, NDArray[np.uint64]]]]
sound_expansion = field._expansion


def no_mask(key: bytes, length: int) -> Iterator[tuple[int, field.Elements]]:
    yield 0, np.zeros(length, np.uint64)


def half_mask(key: bytes, length: int) -> Iterator[tuple[int, field.Elements]]:
    for place, run in sound_expansion(key, length):
        yield place, run & np.uint64(2**32 - 1)


def one_mask_for_all_coordinates(key: bytes, length: int) -> Iterator[tuple[int, field.Elements]]:
    _, run = next(sound_expansion(key, 1))
    yield 0, np.repeat(run, length)


@pytest.mark.parametrize("broken", [no_mask, half_mask, one_mask_for_all_coordinates])
def test_a_bad_expansion_is_caught(
    game: MakeGame, monkeypatch: pytest.MonkeyPatch, broken: Expansion
) -> None:
    monkeypatch.setattr(field, "_expansion", broken)
    playing = extreme(game)
    result, _ = playing.run(SecretSharing(3, threshold=2))
    playing.expect(result)
    with pytest.raises(AssertionError):
        test_the_shares_of_one_aggregator_are_uniform(game, 0)
    with pytest.raises(AssertionError):
        test_two_of_three_aggregators_together_see_uniform_elements(game, (0, 1))


def test_a_bad_seed_is_caught(game: MakeGame, monkeypatch: pytest.MonkeyPatch) -> None:
    class Predictable(SharingClient):
        def _split(self) -> list[bytes | memoryview]:
            self._tape, tape = RecordedTape(self.index.to_bytes(32, "little")), self._tape
            shares = super()._split()
            self._tape = tape
            return shares

    monkeypatch.setattr(backend_module, "SharingClient", Predictable)
    playing = extreme(game)
    result, _ = playing.run(SecretSharing(3, threshold=2))
    playing.expect(result)
    with pytest.raises(AssertionError):
        test_the_shares_of_one_aggregator_are_uniform(game, 1)


# What is declared.


def test_every_role_that_takes_part_is_declared(game: MakeGame) -> None:
    _, transcript = game(4).run(SecretSharing(threshold=2), drop={client_id(0): INPUT})
    roles = {record.sender.role for record in transcript.records}
    assert roles == set(SecretSharing.leakage.learns) == {Role.CLIENT, Role.SERVER, Role.AGGREGATOR}
    assert SecretSharing.leakage.hides == frozenset(roles)


def test_clients_are_told_nothing(game: MakeGame) -> None:
    _, transcript = game(4).run(SecretSharing(threshold=2))
    for client in range(4):
        assert transcript.view(client_id(client)) == ()


def test_an_aggregator_is_told_who_counts_and_no_number_but_its_shares(game: MakeGame) -> None:
    _, transcript = game(4, 9).run(SecretSharing(threshold=2))
    sizes = {
        (record.phase, record.size - transcript.view(PartyId(Role.AGGREGATOR, 1))[0].size)
        for record in transcript.view(PartyId(Role.AGGREGATOR, 1))
    }
    assert {phase for phase, _ in sizes} == {RELAY, "decide", "open-sum"}
    assert len(sizes) == 3
