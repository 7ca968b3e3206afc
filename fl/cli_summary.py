"""What ``secagg train`` says at its end: the rounds as a table, who was refused or silent, how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from fl.cli_output import add_row, fitted, on_terminal, say, table
from fl.report_charts import amount_text, clipping_text, helper_rows, key_holders_text


def print_summary(console: Console, content: Mapping[str, Any], written: list[str]) -> None:
    """The rounds as a table, unless they have been told line by line; then what is said once."""
    rounds = content["rounds"]
    lines = []
    if on_terminal(console):
        console.print(rounds_table(content, console.width))
        lines += [
            f"round {entry['round']} was aborted: {entry['aborted']}" for entry in rounds if entry["aborted"]
        ]
    if content["rejected"]:
        refused = table("refused clients", "client", "check", "reason", "rounds", left=3)
        for client, found in content["rejected"].items():
            add_row(refused, client, found["check"], found["reason"], str(len(found["rounds"])))
        console.print(fitted(refused, console.width, ["rounds", "check"]))
    if helpers := helper_rows(rounds):
        missed = table("helpers that gave no right answer", "helper", "why", "rounds", left=2)
        for row in helpers:
            add_row(missed, *row)
        console.print(fitted(missed, console.width, ["rounds"]))
    total = amount_text(content["seconds"], "seconds")
    after = "1 round" if len(rounds) == 1 else f"{len(rounds)} rounds"
    lines.append(f"final accuracy {content['final_accuracy']:.4f} after {after}, in {total}")
    for line in (*lines, *clipping_text(content), *written):
        say(console, line)


def rounds_table(content: Mapping[str, Any], width: int) -> Table:
    """A row for each round, with as many columns as there is room for."""
    config = content["config"]
    holders = config["key_holders"] if config["key_holders"] > 1 else 0
    title = f"{config['backend']}{key_holders_text(config)}, {config['clients']} clients"
    columns = ["round", "accuracy", "loss", "counted", "dropped", "refused", "sent each", "time"]
    if holders:
        columns.insert(4, "holders")
    made = table(title, *columns)
    for entry in content["rounds"]:
        missed = len({*entry["offline"], *entry["faults"]})
        cells = _cells(entry) | {"holders": f"{holders - missed}/{holders}"}
        add_row(made, *(cells[column] for column in columns))
    return fitted(made, width, ["loss", "sent each", "time", "dropped", "refused", "holders"])


def _cells(entry: Mapping[str, Any]) -> dict[str, str]:
    """Column → what it says of a round."""
    loss, counted = entry["loss"], f"{len(entry['survivors'])}/{len(entry['participants'])}"
    return {
        "round": str(entry["round"]),
        "accuracy": f"{entry['accuracy']:.4f}",
        "loss": "-" if loss is None else f"{loss:.4f}",
        "counted": "aborted" if entry["aborted"] else counted,
        "dropped": str(len(entry["dropped"])),
        "refused": str(len(entry["rejected"])),
        "sent each": amount_text(entry["upload_bytes_per_client"], "bytes"),
        "time": amount_text(entry["seconds"], "seconds"),
    }
