"""Proved shares with parties that are saved and restored, or killed, in mid-round."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.errors import LocalError
from mpc.party import SERVER, PartyId, Role, client_id
from mpc.tape import SeededTape
from secagg.durable import Durable
from secagg.sharing.messages import (
    INPUT,
    SUM,
    VERDICT,
)
from tests.contract.test_restore import Table
from tests.mpc.flp.strategies import PLAIN
from tests.secagg.sharing import proved
from tests.secagg.sharing.proved import BITS, NORM, PLAN, cheating

OVER = PLAIN["norm_over_by_one"]
CLIENTS = 5


def aggregator(index: int) -> PartyId:
    return PartyId(Role.AGGREGATOR, index)


Due = Callable[[Mapping[PartyId, Any], PartyId, int], Collection[PartyId]]


def renewing(rig: SimpleNamespace, due: Due, order: bytes | None = None) -> Any:
    """A round after each of whose deliveries ``due(parties, receiver, number)`` are saved and restored."""
    made = proved.backend(3, {1: cheating(OVER, 1)})
    table = Table(made, lambda count, receiver: due(table.parties, receiver, count), lambda: [NORM])
    cohort = rig.cohort(made, CLIENTS, PLAN.length, BITS)
    options = {"shuffle": SeededTape(order)} if order else {}
    return rig.play(
        lambda: table, proved.vectors(CLIENTS), cohort=cohort, checks=[NORM], bits=BITS, **options
    )


def nobody(parties: Mapping[PartyId, Any], receiver: PartyId, count: int) -> tuple[PartyId, ...]:
    return ()


@pytest.mark.parametrize("order", [None, b"one", b"two"])
def test_aggregators_and_server_are_renewed_all_the_time(rig: SimpleNamespace, order: bytes | None) -> None:
    states = set()

    def due(parties: Mapping[PartyId, Any], receiver: PartyId, count: int) -> list[PartyId]:
        states.update((who.role, party.party._inner.state) for who, party in parties.items())
        return [who for who in parties if who.role is not Role.CLIENT]

    whole, outcome = renewing(rig, nobody, order), renewing(rig, due, order)
    outcome.require_exact()
    assert outcome.survivors == whole.survivors == (0, 2, 3, 4)
    assert np.array_equal(outcome.total, whole.total)
    assert outcome.rejected == whole.rejected
    assert {(Role.AGGREGATOR, "collecting"), (Role.AGGREGATOR, "opened")} <= states
    assert {(Role.SERVER, phase) for phase in (INPUT, VERDICT, SUM)} <= states


def test_each_aggregator_is_renewed_after_each_of_its_messages(rig: SimpleNamespace) -> None:
    receivers: list[PartyId] = []
    renewing(rig, lambda parties, receiver, count: receivers.append(receiver) or ())
    for after, receiver in enumerate(receivers, 1):
        if receiver.role is Role.AGGREGATOR:
            outcome = renewing(rig, lambda parties, who, count, after=after: [who] if count == after else [])
            outcome.require_exact()
            assert outcome.survivors == (0, 2, 3, 4)


def test_a_dump_with_proofs_fits_no_round_without_them(rig: SimpleNamespace) -> None:
    made = proved.backend(2)
    cohort = rig.cohort(made, CLIENTS, PLAN.length, BITS)
    tape = SeededTape(b"dump")
    data = made.helpers(cohort, checks=[NORM], tape=tape)[aggregator(0)].dump()
    made.load_helper(cohort, aggregator(0), data, checks=[NORM], tape=tape)
    with pytest.raises(LocalError, match="checks"):
        made.load_helper(cohort, aggregator(0), data, checks=[], tape=tape)
    with pytest.raises(LocalError, match="checks"):
        made.load_helper(cohort, aggregator(0), data, checks=[NORM, proved.ALIGNED], tape=tape)


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("index", [0, 1])
def test_an_aggregator_that_is_killed_goes_on_from_its_journal(
    rig: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: int, forgetful: bool
) -> None:
    """After each message in turn, with answers lost that it had given: it gives the same ones again."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    vectors = proved.vectors(3)
    for death in range(1, 9):
        found = killed(rig, tmp_path / f"{death}", vectors, index, death, forgetful)
        assert found.result is not None
        assert found.result.survivors == (0, 2)
        assert np.array_equal(found.result.total, vectors[0] + vectors[2])
        assert set(found.result.rejected) == {1}
        assert found.lives == 1 + (death < 8)  # three shares, three decisions, one request


def killed(
    rig: SimpleNamespace, path: Path, vectors: Any, index: int, death: int, forgetful: bool
) -> SimpleNamespace:
    """A round of three, one of whom cheats. The aggregator dies at its ``death``-th message, unanswered."""
    made = proved.backend(2, {1: cheating(OVER, 1)})
    cohort, who = rig.cohort(made, 3, PLAN.length, BITS), aggregator(index)
    server = made.server(cohort, link_key=rig.link_key, checks=[NORM], tape=SeededTape(b"server"))
    lives = 0

    def reborn() -> Durable[object]:
        nonlocal lives
        lives += 1
        fresh = proved.backend(2, {1: cheating(OVER, 1)})
        return Durable.open(
            path,
            lambda tape: fresh.helpers(cohort, checks=[NORM], tape=tape)[who],
            lambda data, tape: fresh.load_helper(cohort, who, data, checks=[NORM], tape=tape),
            tape=SeededTape(b"life %d" % lives),
            forgetful=forgetful,
        )

    parties: dict[PartyId, Any] = {SERVER: server, who: reborn()}
    other = aggregator(1 - index)
    parties[other] = made.helpers(cohort, checks=[NORM], tape=SeededTape(b"helpers"))[other]
    for client, name in enumerate(cohort.members):
        tape = SeededTape(name.encode())
        parties[client_id(client)] = made.client(cohort, name, vectors[client], checks=[NORM], tape=tape)
    queue = deque(message for party in parties.values() for message in party.start())
    heard = 0
    for _ in range(4):
        while queue:
            message = queue.popleft()
            answers = parties[message.receiver].receive(message)
            if message.receiver == who:
                heard += 1
                if heard == death:
                    parties[who].close()
                    parties[who] = reborn()
                    answers = [*parties[who].start(), *parties[who].receive(message)]
                parties[who].confirm(answers)
            queue.extend(answers)
        if server.result is not None:
            break
        queue.extend(server.expire())
    parties[who].close()
    return SimpleNamespace(result=server.result, lives=lives)
