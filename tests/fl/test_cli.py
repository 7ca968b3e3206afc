"""The ``secagg`` command: what it prints, where, and how it starts."""

from __future__ import annotations

import errno
import io
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
from rich.console import Console
from rich.table import Table

import fl.loop
from fl.cli_summary import rounds_table
from fl.config import BACKENDS, TrainingConfig
from fl.events import Event, RoundReport
from fl.explain import describe
from fl.report import document
from fl.report_charts import amount_text
from secagg import InsecurePlain

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "fl.cli"]
SMALL = ["train", "--backend", "plain", "--clients", "4", "--dropout", "0"]
Train = Callable[..., Iterator[Event]]
Done = subprocess.CompletedProcess[str]


@pytest.mark.usefixtures("two_rounds")
def test_a_pipe_gets_a_line_for_each_round_and_a_summary(cli: Callable[..., Result]) -> None:
    result = cli(*SMALL, "--rounds", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "round 1/2  accuracy 0.5000  counted 2/4  dropped 1  refused 1  0.50 s"
    assert lines[1] == "round 2/2  accuracy 0.7500  counted 2/4  dropped 1  refused 1  0.50 s"
    rows = [line.split() for line in lines[2:]]
    assert result.stdout.count("0.7500") == 2  # in its line and at the end, and in no table
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
        "explain": describe("paillier", clients=5, length=10, bits=8, key_holders=3),
        "doctor": json.loads(cli("doctor", "--json").stdout),
    }
    for verb, example in examples.items():
        chapter = manual.split(f"## secagg {verb}")[1].split("\n## ")[0]
        for name in _names(example):
            assert f"`{name}`" in chapter, f"{name} of {verb}"


def _names(document: Any) -> Iterator[str]:
    """Field names at any depth, where the names are ours and not data."""
    if isinstance(document, list):
        for one in document:
            yield from _names(one)
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            if name not in ("rejected", "phase_bytes", "phase_seconds", "learns", "config", "faults"):
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
    assert result.stdout.count("1 of 4 clients contributed") == 1
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
    assert "round 1/1  accuracy 0.1000" in cli(*SMALL, "--rounds", "1").stdout
    rows = [line.split() for line in shown(rounds_table(json.loads(result.stdout), 80), 80)]
    assert ["1", "0.1000", "-", "2/4", "1", "1", "1.23", "kB", "500", "ms"] in rows


# How wide it is.


def shown(made: Table, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(made)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [100, 60, 40, 30])
def test_numbers_are_never_broken_and_columns_give_way(
    width: int, told: Callable[..., Train], report_of: Callable[..., RoundReport], cli: Callable[..., Result]
) -> None:
    names = tuple(f"client-{place}" for place in range(2000))
    content = document(
        TrainingConfig(clients=2000),
        [report_of(1, 0.5, participants=names, survivors=names[:1234], upload_bytes_per_client=123_456.0)],
        leakage=InsecurePlain().leakage,
        parameters=1,
        start_accuracy=0.1,
        resumed_after=0,
        command="",
    )
    made = rounds_table(content, width)
    headers = [column.header for column in made.columns]
    assert headers[:2] == ["round", "accuracy"]
    assert "counted" in headers
    assert (len(headers) == 8) == (width == 100)
    lines = shown(made, width)
    cells = [next(iter(column.cells)) for column in made.columns]
    assert [line.split() for line in lines if "1234/2000" in line] == [" ".join(map(str, cells)).split()]
    assert all(len(line.rstrip()) <= width for line in lines)


def test_key_holders_have_a_column_and_fit_eighty(report_of: Callable[..., RoundReport]) -> None:
    missed = report_of(2, 0.5, offline=("key holder 1",), faults={"key holder 3": "has lied"})
    content = document(
        TrainingConfig(clients=4, backend="paillier", key_holders=5),
        [report_of(1, 0.5), missed],
        leakage=InsecurePlain().leakage,
        parameters=1,
        start_accuracy=0.1,
        resumed_after=0,
        command="",
    )
    made = rounds_table(content, 80)
    holders = next(column for column in made.columns if column.header == "holders")
    assert list(map(str, holders.cells)) == ["5/5", "3/5"]
    assert made.title == "paillier with 5 key holders, 4 clients"
    assert all(len(line.rstrip()) <= 80 for line in shown(made, 80))


@pytest.mark.parametrize("width", ["60", "40"])
@pytest.mark.parametrize("words", [*BACKENDS, "paillier --key-holders 3"])
def test_explain_fits_a_narrow_terminal(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, words: str, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    arguments = ["explain", *words.split(), "--clients", "1000", "--length", "1000000"]
    document_ = json.loads(cli(*arguments, "--json").stdout)
    lines = cli(*arguments).stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= int(width)
    for message in document_["messages"]:
        assert any(line.split()[:1] == [message["phase"]] for line in lines)
    for party in document_["parties"]:
        sent = amount_text(party["sent_bytes_each"], "bytes")
        assert any(line.split()[:1] == party["role"].split()[:1] and sent in line for line in lines)


# What was cut.


def test_clipping_is_told_when_it_matters(
    cli: Callable[..., Result],
    told: Callable[..., Train],
    report_of: Callable[..., RoundReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for share, said in ((0.0009, False), (0.987, True)):
        monkeypatch.setattr(
            fl.loop, "train", told(report_of(1, 0.5, clipped=share), report_of(2, 0.5, clipped=share))
        )
        line = "98.7 % of coordinates were cut to ±0.001: raise --clip"
        result = cli(*SMALL, "--rounds", "2", "--clip", "0.001")
        assert (line in result.stdout) == ("raise --clip" in result.stdout) == said
        result = cli(*SMALL, "--rounds", "2", "--clip", "0.001", "--json")
        assert json.loads(result.stdout)["clipped"] == pytest.approx(share)
        assert (line in result.stderr) == said


@pytest.mark.usefixtures("two_rounds")
def test_a_report_that_is_replaced_is_said_to_be(cli: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("of another training")
    result = cli(*SMALL, "--rounds", "2", "--report", str(tmp_path))
    assert f"replaced {tmp_path / 'report.json'}\n" in result.stdout
    assert f"wrote {tmp_path / 'report.html'}\n" in result.stdout


@pytest.mark.usefixtures("two_rounds")
def test_names_are_taken_in_any_case(cli: Callable[..., Result]) -> None:
    document_ = json.loads(cli("train", "--backend", "Plain", "--partition", "IID", "--json").stdout)
    assert (document_["config"]["backend"], document_["config"]["partition"]) == ("plain", "iid")
    text = cli("explain", "Masking").stdout
    assert "Assumption: " in text
    assert "Who must not" not in text


def test_nothing_warns() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", *COMMAND[1:], *SMALL, "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


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
    assert done.stderr == f"secagg: {module} is not installed: pip install -c constraints.txt -e '.[demo]'\n"


CORE_ALONE = """
import sys
class CoreAlone:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("typer", "rich", "click", "torch", "sklearn", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, CoreAlone())
import importlib.util
found = importlib.util.find_spec
hidden = ("typer", "rich", "click", "torch", "sklearn", "matplotlib")
importlib.util.find_spec = lambda name: None if name in hidden else found(name)
import fl.doctor
fl.doctor.MEASURE_SECONDS = 0.0
from fl.cli import main
main()
"""


def core_alone(*arguments: str) -> Done:
    return subprocess.run(
        [sys.executable, "-c", CORE_ALONE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_version_and_the_doctor_need_the_core_alone() -> None:
    done = core_alone("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("secagg ")
    done = core_alone("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "torch: missing: pip install -c constraints.txt -e '.[demo]'" in lines
    assert [line for line in lines if line.startswith("sum over")] == [
        f"sum over {backend}: right"
        for backend in ("masking", "paillier", "threshold-paillier", "sharing", "plain")
    ]
    assert lines[-1] == "All is well."
    document_ = json.loads(core_alone("doctor", "--json").stdout)
    assert document_["healthy"] is True
    assert {one["name"] for one in document_["packages"] if one["version"] is None} >= {"rich", "typer"}
    assert core_alone("doctor", "--colour").returncode == 2


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
    assert "pip install -c constraints.txt -e '.[demo]'" in done.stderr
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
