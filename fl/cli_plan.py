"""``secagg plan``: what a round of masking will withstand and cost, before there is one (fl.plan)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from fl.cli_output import add_row, quantity, split, table, three_digits
from fl.cli_plain import fail, print_json
from fl.plan import GraphCost, Plan, Prices, Request, operations, plan, seconds
from fl.speeds import Operation, measure
from mpc.errors import LocalError
from secagg.masking.parameters import Adversary

FORMAT = 1
MEASURE_SECONDS = 0.02  # of each primitive: the counts are no more exact than what that gives
SHOWN_SHARE = 0.02  # of the seconds of client or server: an operation below that gets no row


def run(requests: Sequence[Request], *, as_json: bool) -> int:
    """Plan, measure and show; the exit code."""
    try:
        plans = [plan(request) for request in requests]
    except LocalError as error:
        return fail("plan", error)
    with Console(stderr=True).status("measuring"):
        prices = measure(operations(plans), seconds=MEASURE_SECONDS)
    if as_json:
        print_json(document(plans, prices))
    elif len(plans) == 1:
        _show_one(Console(), plans[0], prices)
    else:
        _show_sizes(Console(), plans, prices)
    return 0


def document(plans: Sequence[Plan], prices: Prices) -> dict[str, Any]:
    """The JSON document (docs/cli.md)."""
    request = plans[0].request
    return {
        "format": FORMAT,
        "length": request.length,
        "bits": request.bits,
        "signed": request.signed,
        "adversary": request.tolerance.adversary.value,
        "prices": {operation.name.lower(): price for operation, price in prices.items()},
        "plans": [
            {
                "clients": one.request.clients,
                "threshold": one.threshold,
                "corrupt": one.corrupt,
                "dropouts": one.dropped,
                "assumption": one.assumption,
                "sum_bits": one.sum_bits,
                "vector_bytes": one.vector_bytes,
                "graph": _graph(one, one.graph, prices),
                "complete": _graph(one, one.complete, prices),
            }
            for one in plans
        ],
    }


def _graph(one: Plan, graph: GraphCost, prices: Prices) -> dict[str, Any]:
    found = graph.parameters
    return {
        "degree": found.degree,
        "share_threshold": found.threshold,
        "max_share_threshold": found.max_threshold,
        "privacy_error_log2": _finite(found.privacy_error_log2),
        "failure_log2": _finite(found.failure_log2),
        "phases": [
            {"phase": phase.phase, "client_sends": phase.sent, "client_receives": phase.received}
            for phase in graph.phases
        ],
        "client_sent_bytes": graph.client_sent,
        "client_received_bytes": graph.client_received,
        "client_expansion": graph.client_sent / one.vector_bytes,
        "server_sent_bytes": graph.server_sent,
        "server_received_bytes": graph.server_received,
        "client_seconds": seconds(graph.client, prices),
        "server_seconds": seconds(graph.server, prices),
        "quiet_server_seconds": seconds(graph.quiet_server, prices),
        "client_work": {operation.name.lower(): count for operation, count in graph.client.items()},
        "server_work": {operation.name.lower(): count for operation, count in graph.server.items()},
    }


def _finite(log2: float) -> float | None:
    return None if log2 == float("-inf") else log2


# One cohort.


def _show_one(console: Console, one: Plan, prices: Prices) -> None:
    _say(console, _summary(one) + "\n")
    graphs = [("complete", one.graph)]
    if not one.graph.parameters.complete:
        graphs = [("sparse", one.graph), ("complete", one.complete)]
    for made, group in (
        (_graph_table(graphs), 1),
        (_phase_table(graphs), 2),
        (_cost_table(one, graphs, prices), 1),
        (_work_table(one.graph, prices), 2),
    ):
        _print(console, made, group)
    _say(console, "Seconds are those of one core of this machine, reckoned from its primitives.")


def _summary(one: Plan) -> str:
    request = one.request
    signed = ", signed" if request.signed else ""
    corrupt, dropouts = _several(one.corrupt, "corrupt client"), _several(one.dropped, "dropout")
    company = {
        Adversary.MALICIOUS: f"{corrupt} together with a malicious server, and ",
        Adversary.SEMI_HONEST: f"{corrupt} and a server that share what they see, and ",
        Adversary.NONE: "",
    }[request.tolerance.adversary]
    lines = [
        f"{request.clients:,} clients{signed}; vectors of {request.length:,} entries of {request.bits} bits.",
        f"Withstands {company}{dropouts}; at least {one.threshold:,} must contribute.",
    ]
    if one.assumption:
        lines.append(_condition("That", one.assumption))
    if one.graph.parameters.complete:
        lines.append("No sparse graph withstands that: every client works with every other.")
    return " ".join(lines)


def _condition(what: str, assumption: str) -> str:
    return f"{what} holds if {assumption}; with --signed, whatever it does."


def _several(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _graph_table(graphs: Sequence[tuple[str, GraphCost]]) -> Table:
    made = table("Graph", "", *(name for name, _ in graphs))
    found = [graph.parameters for _, graph in graphs]
    rows = {
        "neighbours of a client": [f"{one.degree:,}" for one in found],
        "shares that open a secret": [f"{one.threshold:,} of {one.holders:,}" for one in found],
        "which may be": [
            "--threshold" if one.complete else _range(one.threshold, one.max_threshold) for one in found
        ],
        "leaks with probability": [_probability(one.privacy_error_log2) for one in found],
        "fails with probability": [_probability(one.failure_log2) for one in found],
    }
    return _filled(made, rows)


def _phase_table(graphs: Sequence[tuple[str, GraphCost]]) -> Table:
    columns = [f"{name}\n{verb}" for name, _ in graphs for verb in ("sends", "receives")]
    made = table("Bytes of a client", "phase", *columns)
    for rows in zip(*(graph.phases for _, graph in graphs), strict=True):
        cells = [_bytes(amount) for row in rows for amount in (row.sent, row.received)]
        add_row(made, rows[0].phase, *cells)
    totals = [_bytes(amount) for _, graph in graphs for amount in (graph.client_sent, graph.client_received)]
    add_row(made, "in all", *totals)
    return made


def _cost_table(one: Plan, graphs: Sequence[tuple[str, GraphCost]], prices: Prices) -> Table:
    made = table("Cost of a round", "", *(name for name, _ in graphs))
    costs = [graph for _, graph in graphs]
    drops = f"the server computes, if {one.dropped:,} drop out"
    rows = {
        f"a client sends, of a packed vector ({_bytes(one.vector_bytes)})": [
            f"{_ratio(graph.client_sent / one.vector_bytes)} ×" for graph in costs
        ],
        "a client computes": [_seconds(seconds(graph.client, prices)) for graph in costs],
        "the server receives": [_bytes(graph.server_received) for graph in costs],
        "the server sends": [_bytes(graph.server_sent) for graph in costs],
        "the server computes, if nobody drops out": [
            _seconds(seconds(graph.quiet_server, prices)) for graph in costs
        ],
    }
    if one.dropped:
        rows[drops] = [_seconds(seconds(graph.server, prices)) for graph in costs]
    return _filled(made, rows)


def _work_table(graph: GraphCost, prices: Prices) -> Table:
    """What the seconds go into, of the first graph."""
    made = table("Where the seconds go", "operation", "client", "", "server", "")
    totals = [seconds(work, prices) for work in (graph.client, graph.server)]
    for operation in Operation:
        counts = [work.get(operation, 0) for work in (graph.client, graph.server)]
        spent = [count * prices.get(operation, 0) for count in counts]
        if any(took >= SHOWN_SHARE * total for took, total in zip(spent, totals, strict=True)):
            cells = [
                text
                for count, took in zip(counts, spent, strict=True)
                for text in ((_count(count), _seconds(took)) if count else ("", ""))
            ]
            add_row(made, operation.value, *cells)
    made.columns[0].no_wrap = False
    return made


def _filled(made: Table, rows: dict[str, list[str]]) -> Table:
    for name, cells in rows.items():
        add_row(made, name, *cells)
    made.columns[0].no_wrap = False
    return made


# Several cohorts.


def _show_sizes(console: Console, plans: Sequence[Plan], prices: Prices) -> None:
    request = plans[0].request
    condition = f" {_condition('The tolerance', plans[0].assumption)}" if plans[0].assumption else ""
    _say(console, f"Vectors of {request.length:,} entries of {request.bits} bits.{condition}\n")
    graphs = table(
        "Graph", "clients", "corrupt", "dropouts", "neighbours", "shares", "leaks", "fails", left=0
    )
    for one in plans:
        found = one.graph.parameters
        counts = (one.request.clients, one.corrupt, one.dropped, found.degree)
        shares = f"{found.threshold:,} of {found.holders:,}"
        errors = [_probability(log2) for log2 in (found.privacy_error_log2, found.failure_log2)]
        add_row(graphs, *(f"{count:,}" for count in counts), shares, *errors)
    _print(console, graphs)
    for title, costs in (
        ("Cost on that graph", [one.graph for one in plans]),
        ("Cost on the complete graph", [one.complete for one in plans]),
    ):
        made = table(title, "clients", "sends", "of vector", "receives", "computes", "server", left=0)
        for one, graph in zip(plans, costs, strict=True):
            add_row(made, f"{one.request.clients:,}", *_size_cells(one, graph, prices))
        _print(console, made)
    _say(
        console,
        "A client sends, receives and computes; the server computes, with the dropouts. "
        "Seconds are those of one core of this machine, reckoned from its primitives.",
    )


def _size_cells(one: Plan, graph: GraphCost, prices: Prices) -> list[str]:
    return [
        _bytes(graph.client_sent),
        f"{three_digits(graph.client_sent / one.vector_bytes)} ×",
        _bytes(graph.client_received),
        _seconds(seconds(graph.client, prices)),
        _seconds(seconds(graph.server, prices)),
    ]


def _probability(log2: float) -> str:
    return "never" if log2 == float("-inf") else f"2^{log2:.1f}"


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _ratio(value: float) -> str:
    """A little more than 1, as it is for long vectors, to three places."""
    return f"{value:.3f}" if value < 9.9995 else three_digits(value)


def _count(number: float) -> str:
    for size, name in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{three_digits(number / size)} {name}"
    return f"{number:,.0f}"


def _bytes(amount: float) -> str:
    return quantity(amount, "bytes")


def _seconds(amount: float) -> str:
    return quantity(amount, "seconds")


def _print(console: Console, made: Table, group: int = 1) -> None:
    """A table, as several where the terminal is narrow."""
    for part in split(made, console.width, group=group):
        console.print(part)


def _say(console: Console, text: str) -> None:
    """Prose, wrapped to the terminal."""
    console.print(text, markup=False, highlight=False)
