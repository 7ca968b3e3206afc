"""What the README promises runs, as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import secagg
from secagg import Masking

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def test_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(EXAMPLES[0], "README.md", "exec"), {})
    assert capsys.readouterr().out == "(64, 10) 240 ('ana', 'bo', 'dee') ('cy',)\n"


def test_what_it_says_of_large_cohorts() -> None:
    names: dict[str, Masking] = {}
    exec(compile(EXAMPLES[1], "README.md", "exec"), names)
    tolerance = names["backend"].tolerance
    assert tolerance is not None
    assert tolerance.parameters(10_000).degree == 198


def test_proofs_instead_of_trust() -> None:
    updates = {name: np.full(50, 0.1) for name in ("ana", "bo", "cy", "dee")} | {"ed": np.full(50, 100.0)}
    names: dict[str, object] = {"updates": updates, "aggregate": secagg.aggregate}
    source = EXAMPLES[2].replace("checks=", "encoding=FixedPoint(clip=200.0), checks=")
    exec(compile("from secagg import FixedPoint\n" + source, "README.md", "exec"), names)
    result = names["result"]
    assert isinstance(result, secagg.AggregateResult)
    assert result.survivors == ("ana", "bo", "cy", "dee")
    assert list(result.declined) == ["ed"]


def test_a_check_of_your_own() -> None:
    names: dict[str, type[secagg.Check]] = {}
    exec(compile(EXAMPLES[3], "README.md", "exec"), names)
    clients = ("ana", "bo", "cy", "dee", "ed", "flo")
    quota = names["Quota"](dict.fromkeys(clients, 2) | {"ana": 1, "bo": 0})  # type: ignore[call-arg]
    updates = {name: np.full(3, 0.25) for name in clients}
    result = secagg.aggregate(updates, backend=secagg.Masking(), checks=[quota])
    assert result.rejected == {"bo": secagg.Rejection("quota", "its quota of rounds is used up")}
    assert result.survivors == ("ana", "cy", "dee", "ed", "flo")
    again = secagg.aggregate(updates, backend=secagg.Masking(), checks=[quota])
    assert set(again.rejected) == {"ana", "bo"}


def test_the_two_commands_are_those_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command, extra, then in zip(COMMANDS, ("demo", "dev"), ("secagg train", "pytest"), strict=True):
        assert command == f"pip install -c constraints.txt -e '.[{extra}]' && {then}\n"
        assert extra in extras


def test_every_page_that_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
