"""What the verbs' options have in common: choices, thresholds, flags."""

from __future__ import annotations

from typing import Annotated, Any

import click
import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/cli.md).")]


def choice(choices: tuple[str, ...]) -> click.Choice[str]:
    """In any case on the command line, as it stands here afterwards."""
    return click.Choice(choices, case_sensitive=False)


def one_of(choices: tuple[str, ...], text: str) -> Any:
    return typer.Option(help=text, click_type=choice(choices))


def threshold_of(text: str) -> float:
    """``0.7`` is a fraction of a round's clients, ``14`` a number of them."""
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a fraction nor a number of clients") from None


Minimum = Annotated[
    float | None,
    typer.Option(
        parser=threshold_of,
        metavar="T",
        help="Of paillier: fewer contributions are never opened; a share of the clients or a number.",
        show_default="2/3",
    ),
]
