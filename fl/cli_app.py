"""The verbs of the ``secagg`` command and their options. What a verb does is imported when it is run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from fl.cli_output import fail, version
from fl.config import ATTACKS, BACKENDS, PARTITIONS, TrainingConfig
from mpc.errors import LocalError

_DEFAULT: dict[str, Any] = {field.name: field.default for field in fields(TrainingConfig)}

app = typer.Typer(
    name="secagg",
    help="Secure aggregation for federated learning: three interchangeable backends.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/cli.md).")]


def _option(name: str, text: str, *, choices: tuple[str, ...] = (), metavar: str | None = None) -> Any:
    """An option whose default is that of ``TrainingConfig``; None tells us that it was not given."""
    kind = click.Choice(choices) if choices else None
    return typer.Option(help=text, show_default=str(_DEFAULT[name]), click_type=kind, metavar=metavar)


def _threshold(text: str) -> float:
    """``0.7`` is a fraction of a round's clients, ``14`` a number of them."""
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a fraction nor a number of clients") from None


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"secagg {version()}")
        raise typer.Exit


@app.callback()
def _secagg(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


@app.command()
def train(
    ctx: typer.Context,
    backend: Annotated[
        str | None, _option("backend", "What protects the updates.", choices=BACKENDS)
    ] = None,
    clients: Annotated[int | None, _option("clients", "Clients in the training.", metavar="N")] = None,
    rounds: Annotated[int | None, _option("rounds", "Rounds to train.", metavar="R")] = None,
    fraction: Annotated[
        float | None, _option("fraction", "Share of the clients sampled in a round.", metavar="F")
    ] = None,
    dropout: Annotated[
        float | None, _option("dropout", "Share of a round's clients that goes silent in it.", metavar="P")
    ] = None,
    partition: Annotated[
        str | None, _option("partition", "How the data is spread over the clients.", choices=PARTITIONS)
    ] = None,
    alpha: Annotated[
        float | None, _option("alpha", "Of --partition dirichlet: the smaller, the more skewed.", metavar="A")
    ] = None,
    malicious: Annotated[
        int | None, _option("malicious", "Clients that mount --attack in every round.", metavar="M")
    ] = None,
    attack: Annotated[
        str | None, _option("attack", "What malicious clients do.", choices=ATTACKS)
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            parser=_threshold,
            metavar="T",
            help="Fewer contributions are never opened: a fraction (0.7) of a round's clients, or a number (14).",
            show_default="of the backend",
        ),
    ] = None,
    aggregators: Annotated[
        int | None, _option("aggregators", "Of --backend sharing: who must not all collude.", metavar="M")
    ] = None,
    key_bits: Annotated[
        int | None, _option("key_bits", "Of --backend paillier: 2048, 3072 or 4096.", metavar="B")
    ] = None,
    clip: Annotated[
        float | None, _option("clip", "Coordinates of an update are cut to ±C.", metavar="C")
    ] = None,
    bits: Annotated[
        int | None, _option("bits", "Bits of an encoded coordinate, 2 to 48.", metavar="B")
    ] = None,
    seed: Annotated[
        int | None, _option("seed", "Of everything but keys and masks.", metavar="S")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the training to FILE after each round.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --checkpoint.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write report.html, report.png and report.json to DIR."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Train a model on bundled data, over protected sums, with dropouts."""
    from fl.cli_train import Request, run

    given = {name: ctx.params[name] for name in _DEFAULT if ctx.params[name] is not None}
    raise typer.Exit(run(Request(given, checkpoint, resume, report, json)))


@app.command()
def explain(
    backend: Annotated[str, typer.Argument(click_type=click.Choice(BACKENDS), help="Which backend.")],
    clients: Annotated[int, typer.Option(metavar="N", help="Clients in the cohort.")] = 100,
    length: Annotated[int, typer.Option(metavar="D", help="Coordinates of a vector.")] = 100_000,
    bits: Annotated[int, typer.Option(metavar="B", help="Bits of an encoded coordinate, 2 to 48.")] = 16,
    json: JsonFlag = False,
) -> None:
    """Say who takes part, who sends what to whom, what each party learns, and what it costs."""
    from fl.explain import describe, show

    try:
        description = describe(backend, clients=clients, length=length, bits=bits)
    except LocalError as error:
        raise typer.Exit(fail("explain", error)) from None
    show(description, as_json=json)


@app.command()
def doctor(json: JsonFlag = False) -> None:
    """Say what is installed, whether it computes correctly, and how fast this machine is."""
    from fl.doctor import examine, show

    diagnosis = examine()
    show(diagnosis, as_json=json)
    raise typer.Exit(0 if diagnosis.healthy else 1)
