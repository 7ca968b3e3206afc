"""``secagg explain``: all that a backend declares, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from fl.backends import make_backend
from fl.config import BACKENDS, TrainingConfig
from fl.explain import CONTENT, describe
from mpc.party import Role


@pytest.mark.parametrize("backend", BACKENDS)
def test_explain_tells_all_that_the_backend_declares(cli: Callable[..., Result], backend: str) -> None:
    document = json.loads(cli("explain", backend, "--clients", "10", "--length", "1000", "--json").stdout)
    made = make_backend(TrainingConfig(backend=backend))
    assert document["source"] == made.leakage.source
    assert document["assumption"] == made.leakage.assumption
    assert {party["role"] for party in document["parties"]} == {role.title for role in made.leakage.learns}
    moved = sum(message["count"] * message["bytes"] for message in document["messages"])
    assert document["total_bytes"] == moved
    assert moved == sum(party["count"] * party["sent_bytes_each"] for party in document["parties"])
    assert moved == sum(party["count"] * party["received_bytes_each"] for party in document["parties"])
    client = next(party for party in document["parties"] if party["role"] == "client")
    assert client["count"] == 10
    assert document["upload_bytes_per_client"] == client["sent_bytes_each"]
    table = cli("explain", backend, "--clients", "10").stdout
    for message in document["messages"]:
        assert message["phase"] in table
    text = " ".join(table.split())
    assert " ".join(made.leakage.assumption.split()) in text
    assert " ".join(made.leakage.source.split()) in text


def test_explain_has_a_word_for_every_message_and_no_other() -> None:
    sent = set()
    for backend in BACKENDS:
        for message in describe(backend, clients=3, length=5, bits=8)["messages"]:
            roles = {role.title: role for role in Role}
            sent.add((backend, message["phase"], roles[message["sender"]], roles[message["receiver"]]))
    assert set(CONTENT) == sent


@pytest.mark.parametrize(
    ("words", "pointed"),
    [
        ("masking --clients 5000 --length 70", True),
        ("masking --clients 100", False),
        ("sharing --clients 5000", False),
    ],
)
def test_explain_points_to_plan_where_the_complete_graph_is_dear(
    cli: Callable[..., Result], words: str, pointed: bool
) -> None:
    told = cli("explain", *words.split()).stdout
    assert ("secagg plan --clients 5000 --length 70 --bits 16" in told) == pointed
    assert ("secagg plan" in told) == pointed


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--clients 1", ["--clients", "at least 2"]),
        ("--length 0", ["--length", "1"]),
        ("--bits 99", ["--bits", "from 2 to 48"]),
    ],
)
def test_explain_refuses_a_cohort_that_cannot_be(
    cli: Callable[..., Result], arguments: str, parts: list[str]
) -> None:
    result = cli("explain", "masking", *arguments.split())
    assert result.exit_code == 2
    assert all(part in result.stderr for part in parts)
