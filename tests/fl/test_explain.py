"""``secagg explain``: all that a backend declares, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from fl.backends import make_backend
from fl.config import BACKENDS, TrainingConfig
from fl.explain import CONTENT, PROVED, describe
from mpc.party import Role

KINDS: list[dict[str, Any]] = [
    *({"backend": name} for name in BACKENDS),
    {"backend": "paillier", "key_holders": 5},
    {"backend": "sharing", "check": "norm"},
]


def words_of(kind: dict[str, Any]) -> list[str]:
    """The kind of backend as a command says it."""
    options = (
        ("--" + name.replace("_", "-"), str(value)) for name, value in kind.items() if name != "backend"
    )
    return [kind["backend"], *(word for option in options for word in option)]


@pytest.mark.parametrize("kind", KINDS)
def test_explain_tells_all_that_the_backend_declares(
    cli: Callable[..., Result], kind: dict[str, Any]
) -> None:
    words = words_of(kind)
    document = json.loads(cli("explain", *words, "--clients", "10", "--length", "1000", "--json").stdout)
    made = make_backend(TrainingConfig(**kind))
    assert document["backend"] == made.name
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
    table = cli("explain", *words, "--clients", "10").stdout
    for message in document["messages"]:
        assert message["phase"] in table
    text = " ".join(table.split())
    assert " ".join(made.leakage.assumption.split()) in text
    assert " ".join(made.leakage.source.split()) in text


def test_explain_has_a_word_for_every_message_and_no_other() -> None:
    sent = set()
    for kind in KINDS:
        told = describe(**kind, clients=3, length=5, bits=8)
        for message in told["messages"]:
            roles = {role.title: role for role in Role}
            sent.add(
                (told["backend"], message["phase"], roles[message["sender"]], roles[message["receiver"]])
            )
    assert set(CONTENT) == sent


def test_explain_says_what_a_check_adds(cli: Callable[..., Result]) -> None:
    words = ["explain", "sharing", "--length", "1000", "--clients", "9"]
    plain, proved = (
        json.loads(cli(*words, *more, "--json").stdout) for more in ((), ("--check", "norm", "--bits", "16"))
    )
    assert (plain["checks"], proved["checks"]) == ([], ["norm"])
    assert plain["proof_bytes_per_client"] == 0
    added = proved["upload_bytes_per_client"] - plain["upload_bytes_per_client"]
    assert proved["proof_bytes_per_client"] == added > 0
    changed = {
        one["phase"]
        for one, other in zip(plain["messages"], proved["messages"], strict=True)
        if one["content"] != other["content"]
    }
    assert changed == set(PROVED)
    tighter = json.loads(cli(*words, "--check", "norm", "--norm-bound", "0.1", "--json").stdout)
    assert 0 < tighter["proof_bytes_per_client"] < added
    text = " ".join(cli(*words, "--check", "norm").stdout.split())
    assert f"are the proof: {added / plain['upload_bytes_per_client']:.1%} more than without" in text
    assert "are the proof" not in cli(*words).stdout


def test_explain_counts_key_holders_and_says_how_many_open_a_sum(cli: Callable[..., Result]) -> None:
    words = [
        "explain",
        "paillier",
        "--key-holders",
        "5",
        "--threshold",
        "4",
        "--minimum",
        "0.9",
        "--clients",
        "10",
    ]
    document = json.loads(cli(*words, "--json").stdout)
    assert document["key_holders"] == {"all": 5, "needed": 4}
    assert document["cohort"]["threshold"] == 9
    assert {party["role"]: party["count"] for party in document["parties"]}["key holder"] == 5
    text = " ".join(cli(*words).stdout.split())
    assert "at least 9 must contribute" in text
    assert "Any 4 of 5 key holders open it." in text
    alone = json.loads(cli("explain", "paillier", "--json").stdout)
    assert alone["key_holders"] == {"all": 1, "needed": 1}
    assert json.loads(cli("explain", "masking", "--json").stdout)["key_holders"] is None
    assert "key holders open" not in cli("explain", "paillier").stdout


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("masking --key-holders 3", ["--key-holders needs backend paillier", "backend masking"]),
        ("paillier --threshold 3", ["--threshold needs at least 2 --key-holders", "--minimum"]),
        ("sharing --minimum 3", ["--minimum needs backend paillier", "--threshold"]),
        ("masking --check norm", ["--check needs backend sharing", "backend masking"]),
        ("sharing --norm-bound 3", ["--norm-bound needs --check norm", "--check none"]),
        ("sharing --check norm --norm-bound 1e9", ["--norm-bound is 1000000000.0", "steps"]),
        ("paillier --key-holders 3 --threshold 4", ["--threshold is 4", "half of 3"]),
    ],
)
def test_explain_refuses_options_that_do_not_belong_together(
    cli: Callable[..., Result], words: str, parts: list[str]
) -> None:
    result = cli("explain", *words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert all(part in result.stderr for part in parts)


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
