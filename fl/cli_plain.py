"""What the command needs of the standard library alone: its words for errors, JSON, and the version."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from importlib import metadata
from typing import Any

from fl.config import TrainingConfig
from mpc.errors import LocalError

_CALLED = {"l2": "norm_bound"}  # arguments that options of other names set
_OPTIONS = {field.name for field in fields(TrainingConfig)} | {"length", "checkpoint", "corrupt"}


def version() -> str:
    """Of the installed distribution."""
    try:
        return metadata.version("secagg")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def option(argument: str) -> str:
    """What an argument is called on the command line."""
    return "--" + argument.replace("_", "-")


def fail(verb: str, error: Exception | str, code: int = 2) -> int:
    """Say on standard error what is wrong, in the words of the command line; ``code``, to exit with."""
    text = str(error)
    if isinstance(error, LocalError) and (name := _CALLED.get(error.argument, error.argument)) in _OPTIONS:
        text = option(name) + text.removeprefix(error.argument)
    print(f"secagg {verb}: {text}", file=sys.stderr)
    return code


def print_json(document: Any) -> None:
    """One document on standard output."""
    print(json.dumps(document, indent=2, allow_nan=False), flush=True)
