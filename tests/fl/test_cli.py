"""The ``secagg`` command: what it prints, where, and how it starts."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import fl.loop
from fl.config import TrainingConfig
from fl.events import Event, RoundReport
from fl.explain import describe

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "fl.cli"]
SMALL = ["train", "--backend", "plain", "--clients", "4", "--dropout", "0"]
Train = Callable[..., Iterator[Event]]
Done = subprocess.CompletedProcess[str]


@pytest.mark.usefixtures("two_rounds")
def test_a_pipe_gets_a_line_for_each_round_and_a_table(cli: Callable[..., Result]) -> None:
    result = cli(*SMALL, "--rounds", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "round 1/2  accuracy 0.5000  survivors 2/4  dropped 1  refused 1  0.50 s"
    assert lines[1] == "round 2/2  accuracy 0.7500  survivors 2/4  dropped 1  refused 1  0.50 s"
    rows = [line.split() for line in lines[2:]]
    assert ["2", "0.7500", "0.5000", "2/4", "1", "1", "1.23", "kB", "500", "ms"] in rows
    assert ["client-03", "structural", "wrong", "length:", "[7]", "bytes", "2"] in rows
    assert lines[-1] == "final accuracy 0.7500 after 2 rounds, in 1.00 s"
    assert "\x1b" not in result.output
    assert result.stderr == ""


@pytest.mark.usefixtures("two_rounds")
def test_a_pipe_stays_a_pipe_where_colours_are_forced(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = cli(*SMALL, "--rounds", "2")
    assert result.stdout.startswith("round 1/2  accuracy 0.5000")
    assert "\x1b[?25l" not in result.output


@pytest.mark.usefixtures("two_rounds")
def test_json_is_one_document_and_progress_goes_to_standard_error(cli: Callable[..., Result]) -> None:
    result = cli(*SMALL, "--rounds", "2", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["backend"] == "plain"
    assert document["final_accuracy"] == 0.75
    assert document["initial_accuracy"] == 0.1
    assert [entry["round"] for entry in document["rounds"]] == [1, 2]
    first = document["rounds"][0]
    assert first["accuracy"] == 0.5
    assert first["survivors"] == ["client-00", "client-01"]
    assert first["dropped"] == ["client-02"]
    assert first["rejected"] == {"client-03": {"check": "structural", "reason": "wrong length: [7] bytes"}}
    assert first["seconds"] == 0.5
    assert first["upload_bytes_per_client"] == 1234.0
    assert document["rejected"] == {
        "client-03": {"check": "structural", "reason": "wrong length: [7] bytes", "rounds": [1, 2]}
    }
    assert document["config"]["clients"] == 4
    assert document["leakage"]["hides"] == ["client"]
    assert result.stderr.count("round ") == 2


def test_every_field_of_the_document_is_in_the_manual(cli: Callable[..., Result]) -> None:
    manual = (ROOT / "docs" / "cli.md").read_text()
    examples = {
        "train": json.loads(cli(*SMALL, "--rounds", "1", "--json").stdout),
        "explain": describe("masking", clients=5, length=10, bits=8),
        "doctor": json.loads(cli("doctor", "--json").stdout),
    }
    for verb, document in examples.items():
        chapter = manual.split(f"## secagg {verb}")[1].split("\n## ")[0]
        for name in _names(document):
            assert f"`{name}`" in chapter, f"{name} of {verb}"


def _names(document: Any) -> Iterator[str]:
    """Field names at any depth, where the names are ours and not data."""
    if isinstance(document, list):
        for one in document:
            yield from _names(one)
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            if name not in ("rejected", "phase_bytes", "phase_seconds", "learns", "config"):
                yield from _names(value)


def test_a_terminal_gets_bars_and_is_left_as_it_was() -> None:
    output = in_terminal(*SMALL, "--rounds", "1")
    assert "\x1b[?25l" in output  # the cursor is hidden, and shown again
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    assert "rounds 1/1" in output
    assert "round 1: local training" in output
    assert "client 4/4" in output
    assert "round 1: aggregation" in output
    assert "round 1/1  accuracy" not in output
    assert "final accuracy" in output.rsplit("\x1b[?25h", 1)[1]


def in_terminal(*arguments: str) -> str:
    """What the command writes to a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ.update(COLUMNS="100", TERM="xterm-256color")
        os.execv(COMMAND[0], [*COMMAND, *arguments])
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError as error:  # Linux says that a terminal's last writer has gone in this way
        if error.errno != errno.EIO:
            raise
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    return b"".join(parts).decode()


def test_aborted_rounds_are_told_apart(
    cli: Callable[..., Result],
    told: Callable[..., Train],
    report_of: Callable[..., RoundReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = report_of(2, 0.5, aborted="1 of 4 clients contributed", survivors=(), phase_seconds={})
    monkeypatch.setattr(fl.loop, "train", told(report_of(1, 0.5), lost))
    result = cli(*SMALL, "--rounds", "2")
    assert result.exit_code == 0
    assert "round 2/2  accuracy 0.5000  aborted: 1 of 4 clients contributed\n" in result.stdout
    assert "round 2 was aborted: 1 of 4 clients contributed\n" in result.stdout
    monkeypatch.setattr(fl.loop, "train", told(lost))
    result = cli(*SMALL, "--rounds", "2", "--json")
    assert result.exit_code == 1
    assert "no round yielded a sum" in result.stderr
    assert json.loads(result.stdout)["rounds"][0]["aborted"] == "1 of 4 clients contributed"


def test_a_diverged_model_is_still_json(
    cli: Callable[..., Result],
    told: Callable[..., Train],
    report_of: Callable[..., RoundReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fl.loop, "train", told(report_of(1, 0.1, loss=float("nan"))))
    result = cli(*SMALL, "--rounds", "1", "--json")
    assert json.loads(result.stdout)["rounds"][0]["loss"] is None
    rows = [line.split() for line in cli(*SMALL, "--rounds", "1").stdout.splitlines()]
    assert ["1", "0.1000", "-", "2/4", "1", "1", "1.23", "kB", "500", "ms"] in rows


# How it starts.


@pytest.mark.parametrize("module", ["typer", "rich"])
@pytest.mark.parametrize("arguments", [[], ["train"], ["--help"]])
def test_the_core_alone_says_what_to_install(module: str, arguments: list[str]) -> None:
    program = f"import sys; sys.modules[{module!r}] = None; from fl.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"secagg: {module} is not installed: pip install 'secagg[demo]'\n"


def test_training_without_torch_says_what_to_install() -> None:
    program = """
import sys
class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NoTorch())
from fl.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "train"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "torch" in done.stderr
    assert "pip install 'secagg[demo]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version_load_nothing_heavy() -> None:
    program = """
import sys
from fl.cli import main
for option in ("--help", "--version"):
    sys.argv = ["secagg", option]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0
heavy = ("numpy", "torch", "sklearn", "matplotlib", "numba", "gmpy2", "cryptography")
sys.exit(", ".join(name for name in heavy if name in sys.modules) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in ("train", "explain", "doctor"))
    assert done.stdout.splitlines()[-1].startswith("secagg ")


def test_help_names_every_default(process: Callable[..., Done]) -> None:
    text = " ".join(process("train", "--help", env=os.environ | {"COLUMNS": "300"}).stdout.split())
    for field in fields(TrainingConfig):
        assert f"--{field.name.replace('_', '-')}" in text
        if field.default is not None:
            assert f"[default: {field.default}]" in text
