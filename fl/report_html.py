"""report.html: one page that needs nothing beside it, made from the JSON document alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from html import escape
from statistics import median
from typing import Any

from fl.config import TrainingConfig, why_idle
from fl.report_charts import (
    ROLES,
    STATE_TEXT,
    accuracy_chart,
    amount_text,
    bars,
    client_grid,
    clipping_text,
    count_text,
    helper_rows,
    key_holders_text,
    ranges_text,
    state_counts,
)
from fl.report_style import STYLE

Document = Mapping[str, Any]

BACKEND_TITLES = {
    "masking": "pairwise masking",
    "paillier": "Paillier encryption",
    "sharing": "additive secret sharing",
    "plain": "no protection",
}


def page(document: Document) -> str:
    """The whole page. Every text from the document is escaped."""
    backend = BACKEND_TITLES[document["backend"]] + key_holders_text(document["config"])
    parts = [
        f"<header><h1>Federated training with {escape(backend)}</h1>",
        f"<p>{escape(_subtitle(document))}</p></header>",
        _tiles(document),
        *(f'<p class="warning">{escape(line)}</p>' for line in clipping_text(document)),
        _accuracy(document),
        _clients(document),
        _helpers(document),
        _amounts(document),
        _learnt(document),
        _configuration(document),
        _command(document),
    ]
    rounds = count_text(len(document["rounds"]), "round")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>secagg: {escape(document['backend'])}, {rounds}</title>"
        f"<style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _subtitle(document: Document) -> str:
    config = document["config"]
    spread = "evenly" if config["partition"] == "iid" else f"unevenly (Dirichlet, α = {config['alpha']:g})"
    return (
        f"{config['clients']} clients hold the digits data set {spread} and train a network of "
        f"{document['parameters']:,} parameters in {count_text(len(document['rounds']), 'round')}."
    )


def _tiles(document: Document) -> str:
    rounds = document["rounds"]
    summed = [entry for entry in rounds if not entry["aborted"]]
    taking_part = sum(len(entry["participants"]) for entry in rounds)
    counted = sum(len(entry["survivors"]) for entry in summed)
    dropped = sum(len(entry["dropped"]) for entry in rounds)
    refused = sum(len(entry["rejected"]) for entry in rounds)
    started = document["initial_accuracy"]
    before = f"held-out accuracy, from {started:.3f}" if started is not None else "held-out accuracy"
    lost = f"{dropped} dropped out, {refused} refused"
    if len(summed) < len(rounds):
        lost += f"; {count_text(len(rounds) - len(summed), 'round')} aborted"
    upload = _median(entry["upload_bytes_per_client"] for entry in rounds)
    training = _median(entry["training_seconds"] for entry in rounds)
    other = _median(entry["seconds"] - entry["training_seconds"] for entry in rounds)
    tiles = [
        (f"{document['final_accuracy']:.4f}", before),
        (f"{counted:,} of {taking_part:,}", f"contributions counted: {lost}"),
        (amount_text(upload, "bytes"), "sent by a client in a round"),
        (
            amount_text(other, "seconds"),
            f"for the sum of a round, after {amount_text(training, 'seconds')} of local training",
        ),
    ]
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{value}</b><span>{escape(text)}</span></div>' for value, text in tiles
        )
        + "</div>"
    )


def _accuracy(document: Document) -> str:
    rounds = document["rounds"]
    if not rounds:
        return ""
    legend = (
        '<div class="legend"><span><i class="stroke"></i>global model, held-out data</span>'
        '<span><i class="stroke own"></i>mean of the clients\' models, each on its own data</span></div>'
    )
    chart = accuracy_chart(rounds, document["initial_accuracy"])
    return _section("Accuracy by round", "", legend + chart)


def _clients(document: Document) -> str:
    rounds = document["rounds"]
    if not rounds:
        return ""
    clients = TrainingConfig(**document["config"]).names
    counts = state_counts(clients, rounds)
    legend = "".join(
        f'<span><i class="cell {kind}"></i>{STATE_TEXT[kind]} ({count:,})</span>'
        for kind, count in counts.items()
        if count
    )
    content = f'<div class="legend">{legend}</div>' + client_grid(clients, rounds)
    if document["rejected"]:
        rows = "".join(
            f"<tr><td>{escape(client)}</td><td>{escape(found['check'])}</td><td>{escape(found['reason'])}</td>"
            f'<td class="number">{escape(ranges_text(found["rounds"]))}</td></tr>'
            for client, found in document["rejected"].items()
        )
        head = '<tr><th>Refused</th><th>Check</th><th>Reason</th><th class="number">Rounds</th></tr>'
        content += f'<table class="list"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    content += "".join(
        f'<p class="note">Round {entry["round"]} was aborted: {escape(entry["aborted"])}</p>'
        for entry in rounds
        if entry["aborted"]
    )
    return _section("Clients by round", "What became of each contribution.", content)


def _helpers(document: Document) -> str:
    found = helper_rows(document["rounds"])
    if not found:
        return ""
    rows = "".join(
        f'<tr><td>{escape(helper)}</td><td>{escape(why)}</td><td class="number">{escape(rounds)}</td></tr>'
        for helper, why, rounds in found
    )
    head = '<tr><th>Helper</th><th>Why</th><th class="number">Rounds</th></tr>'
    content = f'<table class="list"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    return _section(
        "Helpers that gave no right answer",
        "Sums were opened without them, where enough others were left.",
        content,
    )


def _amounts(document: Document) -> str:
    rounds = document["rounds"]
    sent = _median_by_phase([entry["phase_bytes"] for entry in rounds])
    spent = _median_by_phase([entry["phase_seconds"] for entry in rounds if not entry["aborted"]])
    training = _median(entry["training_seconds"] for entry in rounds)
    out = ""
    if sent:
        text = "A typical round (the median), all parties of a role together, by who sends."
        out += _section("Bytes on the wire", text, _role_legend(sent) + bars(sent, "bytes"))
    if spent:
        text = "A typical round (the median), all parties of a role together, by who computes."
        rows = {"local training": {"training": training}, **spent}
        out += _section("Time", text, _role_legend(rows) + bars(rows, "seconds"))
    return out


def _learnt(document: Document) -> str:
    leakage = document["leakage"]
    hides = ", ".join(leakage["hides"]) or "nobody"
    rows = ""
    for role, facts in leakage["learns"].items():
        items = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
        hidden = "hidden" if role in leakage["hides"] else "visible"
        rows += f"<tr><td>{escape(role)}</td><td><ul>{items}</ul></td><td>{hidden}</td></tr>"
    head = "<tr><th>Role</th><th>Learns</th><th>A single client's update is</th></tr>"
    content = (
        f'<table class="list"><thead>{head}</thead><tbody>{rows}</tbody></table>'
        f'<p class="note">Assumption: {escape(leakage["assumption"])}.</p>'
        f'<p class="note">Source: {escape(leakage["source"])}.</p>'
    )
    return _section("What each party learnt", f"A client's update stays hidden from: {hides}.", content)


def _configuration(document: Document) -> str:
    config = document["config"]
    entries = "".join(
        f"<div><dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(_setting(value))}</dd></div>"
        for name, value in config.items()
        if why_idle(name, config) is None
    )
    return _section("Configuration", "", f"<dl>{entries}</dl>")


def _command(document: Document) -> str:
    text = "The same seed gives the same model; keys and masks are new each time."
    return _section("Reproduce", text, f"<pre>{escape(document['command'])}</pre>")


def _section(title: str, note: str, content: str) -> str:
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{below}{content}</section>"


def _role_legend(rows: Mapping[str, Mapping[str, float]]) -> str:
    found = {role for parts in rows.values() for role in parts}
    shown = "".join(
        f'<span><i class="swatch {role.replace(" ", "-")}"></i>{role}</span>'
        for role in ROLES
        if role in found
    )
    return f'<div class="legend">{shown}</div>'


def _median_by_phase(rounds: list[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Phase → role → median over the rounds; phases in their order, roles in that of ``ROLES``.

    A median, because the first round also compiles what later rounds only run.
    """
    amounts: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for phases in rounds:
        for phase, roles in phases.items():
            for role, amount in roles.items():
                amounts[phase][role].append(amount)
    return {
        phase: {role: _median(roles[role]) for role in sorted(roles, key=ROLES.index)}
        for phase, roles in amounts.items()
    }


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return median(found) if found else 0.0


def _setting(value: Any) -> str:
    return "of the backend" if value is None else str(value)
