"""Leakage is data: complete, and in words that somebody can act on (spec section 6)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mpc.leakage import Leakage
from mpc.party import Role


def test_every_kind_of_party_that_takes_part_has_an_entry(make: Any, rig: SimpleNamespace) -> None:
    records = rig.play(make, rig.vectors(5, 7, 16)).transcript.records
    present = {party.role for record in records for party in (record.sender, record.receiver)}
    assert set(make().leakage.learns) == present


def test_entries_say_something(make: Any) -> None:
    leakage = make().leakage
    assert isinstance(leakage, Leakage)
    assert leakage.assumption
    assert any(year in leakage.source for year in map(str, range(1979, 2027)))
    for learnt in leakage.learns.values():
        assert learnt
        assert all(isinstance(sentence, str) and sentence for sentence in learnt)
    assert leakage.hides <= set(leakage.learns)


def test_the_server_is_told_what_it_learns(make: Any) -> None:
    """Whoever hides inputs from the server admits that it sees the sum, and who is missing from it."""
    leakage = make().leakage
    told = " ".join(leakage.learns[Role.SERVER])
    if Role.SERVER in leakage.hides:
        assert "sum over the survivors" in told
        assert "dropped out" in told
    else:
        assert "every client's vector" in told


def test_inputs_are_hidden_from_clients_by_all(make: Any) -> None:
    assert Role.CLIENT in make().leakage.hides
