"""What each party of a comparison sees is uniform but for the Gram matrix; a bad triple is caught at that."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc import beaver, field
from mpc.party import SERVER, PartyId, Role, client_id
from secagg.sharing import SecretSharing
from secagg.sharing.gram_messages import DealRequest, MaskedSketches, Triangle
from secagg.sharing.messages import DEAL, DEALT, GRAM, MASKED, RELAY
from tests.secagg.sharing import compared
from tests.secagg.sharing.compared import BITS, BOUND, COORDINATES, DEALER, NORM, Watching, aggregator

CLIENTS, PARTIES = 26, 3  # 351 elements in a Gram share: enough bytes for the test of uniformity


@pytest.fixture
def run(rig: SimpleNamespace) -> Callable[..., Any]:
    def once(rule: Any = None) -> Any:
        """All clients hold the same longest vector: the one that shines through first."""
        single = np.zeros(COORDINATES)
        single[5] = 1.0
        vectors = [compared.encoded(single)] * CLIENTS
        outcome = rig.play(
            compared.backend(PARTIES),
            vectors,
            bits=BITS,
            checks=[NORM, rule or Watching()],
            keep_payloads=True,
        )
        outcome.require_exact()
        assert outcome.survivors == tuple(range(CLIENTS))
        return outcome

    return once


def said(outcome: Any, who: PartyId, phase: str) -> bytes:
    (found,) = [r for r in outcome.transcript.view(SERVER) if (r.sender, r.phase) == (who, phase)]
    return bytes(found.message.payload)


def hidden(outcome: Any, index: int) -> field.Elements:
    shape = (128, CLIENTS)
    return MaskedSketches.decode(said(outcome, aggregator(index), MASKED), shape, PARTIES).elements


def seen_by_the_server(outcome: Any) -> dict[str, bytes]:
    """All that is new to it in a comparison, and the opened matrix, which is the sum of what it was sent."""
    masked = [hidden(outcome, index) for index in range(PARTIES)]
    views = {f"sketches of aggregator {index}": field.to_bytes(one) for index, one in enumerate(masked)}
    views["opened sketches"] = field.to_bytes(field.sum_rows(np.stack(masked)))
    for index in range(PARTIES):
        views[f"Gram share of aggregator {index}"] = said(outcome, aggregator(index), GRAM)
    views["correction"] = said(outcome, DEALER, DEALT)
    return views


def test_all_that_the_server_sees_is_uniform(run: Callable[..., Any], rig: SimpleNamespace) -> None:
    for name, data in seen_by_the_server(run()).items():
        assert rig.is_uniform(data), name


def test_what_a_server_and_all_but_one_aggregator_see_is_uniform(
    run: Callable[..., Any], rig: SimpleNamespace
) -> None:
    """They know all masks but that of aggregator 1, whose shares of the sketches they would need."""
    outcome = run()
    rest = [hidden(outcome, index) for index in range(PARTIES)]
    assert rig.is_uniform(field.to_bytes(rest[1]))
    shares = [Triangle.decode(said(outcome, aggregator(i), GRAM), CLIENTS).elements for i in range(PARTIES)]
    known = field.add(shares[0], shares[2])
    assert rig.is_uniform(field.to_bytes(known))
    assert rig.is_uniform(field.to_bytes(shares[1]))


def test_together_it_is_the_gram_matrix(run: Callable[..., Any]) -> None:
    """Of vectors that are all the same: one number everywhere, about the square of the bound."""
    rule = Watching()
    run(rule)
    ((gram, _),) = rule.shown
    assert len(np.unique(gram)) == 1
    assert abs(gram[0, 0] / (BOUND * NORM.plan.encoding.step) ** 2 - 1) < 0.5  # type: ignore[union-attr]


HONEST = beaver.expand


def zero_mask(key: bytes, rows: int, columns: int) -> beaver.TripleShare:
    return beaver.TripleShare(np.zeros((rows, columns), np.uint64), HONEST(key, rows, columns).product)


def zero_triple(key: bytes, rows: int, columns: int) -> beaver.TripleShare:
    size = beaver.packed_size(columns)
    return beaver.TripleShare(np.zeros((rows, columns), np.uint64), np.zeros(size, np.uint64))


@pytest.mark.parametrize(
    ("broken", "shown"),
    [
        (zero_mask, ["opened sketches"]),
        (zero_triple, ["Gram share of aggregator", "correction", "opened sketches"]),
    ],
)
def test_triples_that_hide_nothing_are_caught(
    run: Callable[..., Any],
    rig: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    broken: Any,
    shown: list[str],
) -> None:
    """The sum is right, and so is the Gram matrix: only what is seen gives them away."""
    rule, again = Watching(), Watching()
    run(rule)
    monkeypatch.setattr(beaver, "expand", broken)
    found = seen_by_the_server(run(again))
    np.testing.assert_array_equal(rule.shown[0][0], again.shown[0][0])
    caught = {name.rstrip(" 012") for name, data in found.items() if not rig.is_uniform(data)}
    assert sorted(caught) == shown


def test_the_dealer_is_told_a_number_and_a_hash(run: Callable[..., Any]) -> None:
    (record,) = run().transcript.view(DEALER)
    assert (record.phase, record.sender) == (DEAL, SERVER)
    request = DealRequest.decode(record.message.payload, CLIENTS)
    assert request.clients == CLIENTS


def test_clients_are_told_nothing_and_never_the_seed(run: Callable[..., Any]) -> None:
    transcript = run().transcript
    for client in range(CLIENTS):
        assert transcript.view(client_id(client)) == ()
    relays = [r for r in transcript.records if r.phase == RELAY]
    assert {r.receiver.role for r in relays} == {Role.AGGREGATOR}


def test_what_is_declared(run: Callable[..., Any]) -> None:
    made, checks = compared.backend(), [NORM, Watching()]
    told, plain = made.leakage_of(checks), made.leakage_of([NORM])
    roles = {record.sender.role for record in run().transcript.records}
    assert set(told.learns) == told.hides == roles
    assert Role.DEALER in roles
    assert plain == SecretSharing.leakage
    assert set(told.learns) - set(plain.learns) == {Role.DEALER}
    assert any("Gram matrix" in fact for fact in told.learns[Role.SERVER])
    assert told.learns[Role.CLIENT] == plain.learns[Role.CLIENT]
    assert told.learns[Role.AGGREGATOR] == plain.learns[Role.AGGREGATOR]
    assert "the dealer works together neither with the server nor with an aggregator" in told.assumption
