"""``secagg plan``: what it prints, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import fl.cli_plan
from fl.cli_app import ADVERSARIES
from fl.plan import RELAYED_KEYS, Request, plan
from fl.report_charts import amount_text
from secagg.masking.parameters import Adversary, Tolerance

ROOT = Path(__file__).parents[2]
Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fl.cli_plan, "MEASURE_SECONDS", 0.0)


def ask(cli: Cli, words: str) -> Result:
    return cli(*words.split())


def test_the_document_says_what_the_plan_says(cli: Cli) -> None:
    words = (
        "plan --clients 200 --clients 30 --length 500 --bits 12 --corrupt 0.1 --dropout 0.02 --signed --json"
    )
    result = ask(cli, words)
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert (document["length"], document["bits"], document["signed"]) == (500, 12, True)
    assert [one["clients"] for one in document["plans"]] == [200, 30]
    for one in document["plans"]:
        made = plan(Request(one["clients"], 500, 12, Tolerance(0.1, 0.02), signed=True))
        assert (one["corrupt"], one["dropouts"]) == (made.corrupt, made.dropped)
        assert (one["threshold"], one["sum_bits"]) == (made.threshold, made.sum_bits)
        for name, graph in (("graph", made.graph), ("complete", made.complete)):
            told = one[name]
            assert told["degree"] == graph.parameters.degree
            assert told["share_threshold"] == graph.parameters.threshold
            assert told["client_sent_bytes"] == sum(phase["client_sends"] for phase in told["phases"])
            assert told["client_received_bytes"] == graph.client_received
            assert told["client_expansion"] == graph.client_sent / made.vector_bytes
            spent = sum(count * document["prices"][name] for name, count in told["client_work"].items())
            assert told["client_seconds"] == pytest.approx(spent)
            assert told["client_work"] == {op.name.lower(): n for op, n in graph.client.items()}
        assert one["complete"]["privacy_error_log2"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_one_size_is_told_in_full(cli: Cli, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = ask(cli, "plan --clients 1000 --length 100000")
    assert (result.exit_code, result.stderr) == (0, "")
    assert all(len(line) <= width for line in result.stdout.splitlines())
    text = " ".join(result.stdout.split())
    assert "50 corrupt clients together with a malicious server, and 50 dropouts" in text
    made = plan(Request(1000, 100_000, 16, Tolerance()))
    found = made.graph.parameters
    assert f"{found.threshold} of {found.holders} 667 of 1,000" in text
    assert f"2^{found.privacy_error_log2:.1f} never" in text
    for graph in (made.graph, made.complete):
        for phase in graph.phases:
            assert phase.phase in text
            assert f"{amount_text(phase.sent, 'bytes')} {amount_text(phase.received, 'bytes')}" in text
        assert f"{graph.client_sent / made.vector_bytes:.3f} ×" in text


def test_several_sizes_are_told_in_a_row_each(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = ask(cli, "plan --clients 100 --clients 1000 --clients 10000 --length 100000")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines]
    for clients in (100, 1000, 10000):
        made = plan(Request(clients, 100_000, 16, Tolerance()))
        found = made.graph.parameters
        mine = [row for row in rows if row[:1] == [f"{clients:,}"]]
        assert mine[0][1:7] == [
            *(str(made.corrupt), str(made.dropped), str(found.degree)),
            *(str(found.threshold), "of", str(found.holders)),
        ]
        sent = [amount_text(graph.client_sent, "bytes").split() for graph in (made.graph, made.complete)]
        assert [row[1:3] for row in mine[1:]] == sent


@pytest.mark.parametrize("width", [50, 64])
@pytest.mark.parametrize("sizes", ["--clients 1000", "--clients 100 --clients 20000"])
def test_on_a_narrow_terminal_tables_are_parted_and_no_cell_is_cut(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, width: int, sizes: str
) -> None:
    monkeypatch.setattr(fl.cli_plan, "measure", lambda wanted, seconds: dict.fromkeys(wanted, 1e-6))
    told = []
    for columns in (width, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        told.append(ask(cli, f"plan {sizes} --length 100000").stdout)
    assert all(len(line) <= width for line in told[0].splitlines())
    numbers = [set(re.findall(r"\d[\d,.]* (?:bytes|.B|m?s|×)", text)) for text in told]
    assert numbers[1] <= numbers[0]
    assert "receives" in told[0]


def test_what_is_huge_is_told_in_units_that_can_be_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fl.cli_plan, "measure", lambda wanted, seconds: dict.fromkeys(wanted, 1e-9))
    monkeypatch.setenv("COLUMNS", "80")
    text = " ".join(ask(cli, "plan --clients 1000000 --length 100000").stdout.split())
    assert all(unit in text for unit in (" TB ", " hours ", " min ", " T "))
    assert not re.search(r"e\+\d|\d{7}|\d{4}\.\d|\d,\d{3} (s|GB) ", text)


@pytest.mark.parametrize("sizes", ["--clients 50", "--clients 50 --clients 60"])
@pytest.mark.parametrize(
    ("options", "trusted"), [("", True), ("--signed", False), ("--adversary semi-honest", False)]
)
def test_without_pinned_identities_the_server_is_trusted_to_relay_the_keys(
    cli: Cli, sizes: str, options: str, trusted: bool
) -> None:
    words = f"plan {sizes} --length 9 {options}"
    text = " ".join(ask(cli, words).stdout.split())
    assert (
        "holds if the server relays the clients' public keys unaltered; with --signed," in text
    ) == trusted
    for one in json.loads(ask(cli, f"{words} --json").stdout)["plans"]:
        assert one["assumption"] == (RELAYED_KEYS if trusted else None)


def test_where_no_sparse_graph_will_do_there_is_one_column(cli: Cli) -> None:
    result = ask(cli, "plan --clients 10 --length 50 --corrupt 0.2 --dropout 0.2 --threshold 8")
    text = " ".join(result.stdout.split())
    assert "No sparse graph withstands that" in text
    assert "sparse " not in text.split("other.")[1]
    assert "8 of 10" in text


def test_a_share_of_a_client_is_a_client(cli: Cli) -> None:
    text = " ".join(ask(cli, "plan --clients 15 --length 50").stdout.split())
    assert "Withstands 1 corrupt client together with a malicious server, and 1 dropout; at" in text


def test_the_adversaries_are_those_of_the_protocol(cli: Cli) -> None:
    assert {one.value for one in Adversary} == set(ADVERSARIES)
    found = {}
    for adversary in ADVERSARIES:
        words = ("--clients", "500", "--length", "50", "--adversary", adversary, "--json")
        document = json.loads(cli("plan", *words).stdout)
        assert document["adversary"] == adversary
        found[adversary] = (document["plans"][0]["corrupt"], document["plans"][0]["graph"]["degree"])
    assert [corrupt for corrupt, _ in found.values()] == [25, 25, 0]  # as ADVERSARIES are listed
    degrees = [degree for _, degree in found.values()]
    assert degrees == sorted(degrees, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--clients 1 --length 9", ["--clients", "1", "from 2"]),
        ("--clients 9 --clients 1 --length 9", ["--clients", "1", "from 2"]),
        ("--clients 9", ["--length"]),
        ("--length 9", ["--clients"]),
        ("--clients 9 --length 0", ["--length", "1"]),
        ("--clients 9 --length 9 --bits 99", ["--bits", "from 2 to 48"]),
        ("--clients 9 --length 9 --corrupt 1", ["--corrupt", "[0, 1)"]),
        ("--clients 9 --length 9 --dropout -1", ["--dropout", "[0, 1)"]),
        ("--clients 9 --length 9 --adversary none --corrupt 0.5", ["--corrupt", "0 where there is no"]),
        ("--clients 9 --length 9 --adversary evil", ["--adversary", "semi-honest"]),
        ("--clients 9 --length 9 --threshold many", ["--threshold", "many"]),
        ("--clients 100 --length 9 --threshold 0.4", ["--threshold", "100 clients", "at least 53"]),
        ("--clients 100 --length 9 --threshold 99", ["--threshold", "5 may drop out", "at most 95"]),
        (
            "--clients 100 --length 9 --corrupt 0.4 --dropout 0.4",
            ["--corrupt is 0.4: of 100 clients", "lower --corrupt to at most 0.19 with --threshold 60, or"],
        ),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_the_command_line(
    cli: Cli, arguments: str, parts: list[str]
) -> None:
    result = cli("plan", *arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    told = " ".join(result.stderr.replace("│", "").split())
    assert all(part in told for part in parts), told


def test_every_field_of_the_document_is_in_the_manual(cli: Cli) -> None:
    chapter = (ROOT / "docs" / "cli.md").read_text().split("## secagg plan")[1].split("\n## ")[0]
    document = json.loads(ask(cli, "plan --clients 50 --length 9 --json").stdout)
    for name in names(document):
        assert f"`{name}`" in chapter, name


def names(document: Any) -> Iterator[str]:
    """Field names at any depth, but those of the operations."""
    if isinstance(document, list):
        for one in document:
            yield from names(one)
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            if name not in ("prices", "client_work", "server_work"):
                yield from names(value)
