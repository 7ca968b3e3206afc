"""The verbs of the ``secagg`` command and their options. What a verb does is imported when it is run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from click.core import ParameterSource

from fl.cli_plain import fail, version
from fl.config import ATTACKS, BACKENDS, PARTITIONS, TrainingConfig
from mpc.errors import LocalError

_DEFAULT = TrainingConfig()

app = typer.Typer(
    name="secagg",
    help="Secure aggregation for federated learning: three interchangeable backends.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/cli.md).")]


def _choice(choices: tuple[str, ...]) -> click.Choice[str]:
    """In any case on the command line, as it stands here afterwards."""
    return click.Choice(choices, case_sensitive=False)


def _one_of(choices: tuple[str, ...], text: str) -> Any:
    return typer.Option(help=text, click_type=_choice(choices))


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
    backend: Annotated[str, _one_of(BACKENDS, "What protects the updates.")] = _DEFAULT.backend,
    clients: Annotated[int, typer.Option(metavar="N", help="Clients in all.")] = _DEFAULT.clients,
    rounds: Annotated[int, typer.Option(metavar="R", help="Rounds of training.")] = _DEFAULT.rounds,
    fraction: Annotated[
        float, typer.Option(metavar="F", help="Share of the clients that takes part in a round.")
    ] = _DEFAULT.fraction,
    dropout: Annotated[
        float, typer.Option(metavar="P", help="Share of a round's clients that goes silent in it.")
    ] = _DEFAULT.dropout,
    partition: Annotated[
        str, _one_of(PARTITIONS, "How the data is spread over the clients.")
    ] = _DEFAULT.partition,
    alpha: Annotated[
        float, typer.Option(metavar="A", help="Of --partition dirichlet: the smaller, the more skewed.")
    ] = _DEFAULT.alpha,
    malicious: Annotated[
        int, typer.Option(metavar="M", help="Clients that mount --attack in every round.")
    ] = _DEFAULT.malicious,
    attack: Annotated[str, _one_of(ATTACKS, "What malicious clients do.")] = _DEFAULT.attack,
    threshold: Annotated[
        float | None,
        typer.Option(
            parser=_threshold,
            metavar="T",
            help="Fewer contributions are never opened: a share (0.7) of a round's clients or a number (14).",
            show_default="by the backend",
        ),
    ] = None,
    aggregators: Annotated[
        int, typer.Option(metavar="M", help="Of --backend sharing: the sum takes all of them.")
    ] = _DEFAULT.aggregators,
    key_bits: Annotated[
        int, typer.Option(metavar="B", help="Of --backend paillier: 2048, 3072 or 4096.")
    ] = _DEFAULT.key_bits,
    clip: Annotated[
        float, typer.Option(metavar="C", help="Coordinates of an update are cut to ±C.")
    ] = _DEFAULT.clip,
    bits: Annotated[
        int, typer.Option(metavar="B", help="Bits of an encoded coordinate, 2 to 48.")
    ] = _DEFAULT.bits,
    seed: Annotated[int, typer.Option(metavar="S", help="Of everything but keys and masks.")] = _DEFAULT.seed,
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

    names = [field.name for field in fields(TrainingConfig)]
    given = {
        name: ctx.params[name]
        for name in names
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    raise typer.Exit(run(Request(given, checkpoint, resume, report, json)))


@app.command()
def explain(
    backend: Annotated[str, typer.Argument(click_type=_choice(BACKENDS), help="Which backend.")],
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
