"""The verbs of the ``secagg`` command and their options. What a verb does is imported when it is run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from click.core import ParameterSource

from fl.cli_options import JsonFlag, Minimum, choice, one_of, threshold_of
from fl.cli_plain import fail, option, version
from fl.config import ATTACKS, BACKENDS, CHECKS, PARTITIONS, TrainingConfig
from mpc.errors import LocalError

_DEFAULT = TrainingConfig()
ADVERSARIES = ("malicious", "semi-honest", "none")

app = typer.Typer(
    name="secagg",
    help="Secure aggregation for federated learning: three interchangeable backends.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

identity = typer.Typer(help="Make a signing key, or show the public half of one.", no_args_is_help=True)
roster = typer.Typer(help="Sign the list of who has which public key, or check it.", no_args_is_help=True)
app.add_typer(identity, name="identity")
app.add_typer(roster, name="roster")


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
    backend: Annotated[str, one_of(BACKENDS, "What protects the updates.")] = _DEFAULT.backend,
    clients: Annotated[int, typer.Option(metavar="N", help="Clients in all.")] = _DEFAULT.clients,
    rounds: Annotated[int, typer.Option(metavar="R", help="Rounds of training.")] = _DEFAULT.rounds,
    fraction: Annotated[
        float, typer.Option(metavar="F", help="Share of the clients that takes part in a round.")
    ] = _DEFAULT.fraction,
    dropout: Annotated[
        float, typer.Option(metavar="P", help="Share of a round's clients that goes silent in it.")
    ] = _DEFAULT.dropout,
    partition: Annotated[
        str, one_of(PARTITIONS, "How the data is spread over the clients.")
    ] = _DEFAULT.partition,
    alpha: Annotated[
        float, typer.Option(metavar="A", help="Of --partition dirichlet: the smaller, the more skewed.")
    ] = _DEFAULT.alpha,
    malicious: Annotated[
        int, typer.Option(metavar="M", help="Clients that mount --attack in every round.")
    ] = _DEFAULT.malicious,
    attack: Annotated[str, one_of(ATTACKS, "What malicious clients do.")] = _DEFAULT.attack,
    check: Annotated[str, one_of(CHECKS, "Of --backend sharing: what clients prove.")] = _DEFAULT.check,
    norm_bound: Annotated[
        float, typer.Option(metavar="L2", help="Of --check norm: the longest update that there may be.")
    ] = _DEFAULT.norm_bound,
    threshold: Annotated[
        float | None,
        typer.Option(
            parser=threshold_of,
            metavar="T",
            help="Fewer contributions are never opened: a share (0.7) of a round's clients or a number (14). "
            "With --key-holders: how many of them open a sum.",
            show_default="by the backend",
        ),
    ] = None,
    aggregators: Annotated[
        int, typer.Option(metavar="M", help="Of --backend sharing: the sum takes all of them.")
    ] = _DEFAULT.aggregators,
    key_bits: Annotated[
        int, typer.Option(metavar="B", help="Of --backend paillier: 2048, 3072 or 4096.")
    ] = _DEFAULT.key_bits,
    key_holders: Annotated[
        int, typer.Option(metavar="M", help="Of --backend paillier, up to 16: each has a share of the key.")
    ] = _DEFAULT.key_holders,
    minimum: Minimum = None,
    offline_key_holders: Annotated[
        int, typer.Option(metavar="K", help="So many of --key-holders never answer, drawn in each round.")
    ] = _DEFAULT.offline_key_holders,
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

    raise typer.Exit(run(Request(_given(ctx), checkpoint, resume, report, json)))


def _given(ctx: typer.Context) -> dict[str, Any]:
    """The fields of ``TrainingConfig`` that were on the command line."""
    return {
        field.name: ctx.params[field.name]
        for field in fields(TrainingConfig)
        if ctx.get_parameter_source(field.name) not in (None, ParameterSource.DEFAULT)
    }


@app.command()
def explain(
    ctx: typer.Context,
    backend: Annotated[str, typer.Argument(click_type=choice(BACKENDS), help="Which backend.")],
    clients: Annotated[int, typer.Option(metavar="N", help="Clients in the cohort.")] = 100,
    length: Annotated[int, typer.Option(metavar="D", help="Coordinates of a vector.")] = 100_000,
    bits: Annotated[int, typer.Option(metavar="B", help="Bits of an encoded coordinate, 2 to 48.")] = 16,
    key_holders: Annotated[
        int, typer.Option(metavar="M", help="Of paillier, up to 16: each has a share of the key.")
    ] = _DEFAULT.key_holders,
    threshold: Annotated[
        float | None,
        typer.Option(parser=threshold_of, metavar="T", help="As of train.", show_default="by the backend"),
    ] = None,
    minimum: Minimum = None,
    check: Annotated[str, one_of(CHECKS, "Of sharing, as of train.")] = _DEFAULT.check,
    norm_bound: Annotated[
        float, typer.Option(metavar="L2", help="Of --check norm; coordinates are cut to ±1.")
    ] = _DEFAULT.norm_bound,
    json: JsonFlag = False,
) -> None:
    """Say who takes part, who sends what to whom, what each party learns, and what it costs."""
    from fl.cli_train import UsageError, check_scopes
    from fl.explain import describe, show

    given = _given(ctx) | {"backend": backend}
    names = ("key_holders", "threshold", "minimum", "check", "norm_bound")
    options = {name: given[name] for name in names if name in given}
    try:
        check_scopes(given, lambda name: name if name == "backend" else option(name))
        description = describe(backend, clients=clients, length=length, bits=bits, **options)
    except (LocalError, UsageError) as error:
        raise typer.Exit(fail("explain", error)) from None
    show(description, as_json=json)


@app.command()
def doctor(json: JsonFlag = False) -> None:
    """Say what is installed, whether it computes correctly, and how fast this machine is."""
    from fl.doctor import examine, show

    diagnosis = examine()
    show(diagnosis, as_json=json)
    raise typer.Exit(0 if diagnosis.healthy else 1)


@identity.command("new")
def identity_new(
    path: Annotated[Path, typer.Argument(help="The file to write; one that exists is left alone.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose key it is.", show_default="as the file")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Make a secret signing key in a file of its owner's, and print NAME=PUBLICKEY."""
    from fl.cli_identity import new_identity

    raise typer.Exit(new_identity(path, name, as_json=json))


@identity.command("show")
def identity_show(
    path: Annotated[Path, typer.Argument(help="A file of `secagg identity new`.")], json: JsonFlag = False
) -> None:
    """Print NAME=PUBLICKEY."""
    from fl.cli_identity import show_identity

    raise typer.Exit(show_identity(path, as_json=json))


@roster.command("new")
def roster_new(
    path: Annotated[Path, typer.Argument(help="The file to write; one that exists is left alone.")],
    authority: Annotated[
        Path, typer.Option(metavar="FILE", help="The identity that signs: a file of `secagg identity new`.")
    ],
    member: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PUBLICKEY", help="A member, as `secagg identity` prints it; repeatable."),
    ] = None,
    members: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More members: JSON, an object name → public key.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Sign a list of members and their public keys."""
    from fl.cli_identity import new_roster

    raise typer.Exit(new_roster(path, authority, member or [], members, as_json=json))


@roster.command("check")
def roster_check(
    path: Annotated[Path, typer.Argument(help="A file of `secagg roster new`.")],
    authority: Annotated[str, typer.Option(metavar="PUBLICKEY", help="Who has to have signed it.")],
    json: JsonFlag = False,
) -> None:
    """Check who signed a roster, and print its members, NAME=PUBLICKEY each."""
    from fl.cli_identity import check_roster

    raise typer.Exit(check_roster(path, authority, as_json=json))


@app.command()
def plan(
    clients: Annotated[
        list[int], typer.Option(metavar="N", help="Clients in the cohort; repeatable, to compare sizes.")
    ],
    length: Annotated[int, typer.Option(metavar="D", help="Coordinates of a vector.")],
    bits: Annotated[int, typer.Option(metavar="B", help="Bits of an encoded coordinate, 2 to 48.")] = 16,
    corrupt: Annotated[
        float | None,
        typer.Option(
            metavar="F",
            help="Share of the clients that works with the server.",
            show_default="0.05; 0 without adversary",
        ),
    ] = None,
    dropout: Annotated[float, typer.Option(metavar="F", help="Share of the clients that drops out.")] = 0.05,
    adversary: Annotated[str, one_of(ADVERSARIES, "What server and corrupt clients may do.")] = ADVERSARIES[
        0
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            parser=threshold_of,
            metavar="T",
            help="Fewer contributions are never opened: a share (0.7) of the clients or a number (14).",
            show_default="2/3",
        ),
    ] = None,
    signed: Annotated[bool, typer.Option("--signed", help="The cohort pins identities.")] = False,
    json: JsonFlag = False,
) -> None:
    """Say what a round of masking will withstand, send and compute, on its graph and on the complete one."""
    from fl.cli_plan import run
    from fl.plan import THRESHOLD, Request
    from secagg.masking.parameters import Adversary, Tolerance

    if corrupt is None:
        corrupt = 0.0 if adversary == Adversary.NONE.value else Tolerance().corrupt
    least = THRESHOLD if threshold is None else threshold
    try:
        tolerance = Tolerance(corrupt, dropout, Adversary(adversary))
        requests = [Request(one, length, bits, tolerance, least, signed) for one in clients]
    except LocalError as error:
        raise typer.Exit(fail("plan", error)) from None
    raise typer.Exit(run(requests, as_json=json))
