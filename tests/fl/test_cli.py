"""The ``secagg`` command: in process with a told or a real training, and as a process of its own."""

from __future__ import annotations

import errno
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fl.doctor
import fl.loop
from fl.backends import make_backend
from fl.cli_app import app
from fl.cli_train import Request, command_line
from fl.config import BACKENDS, TrainingConfig
from fl.doctor import DEMO, examine, self_checks
from fl.events import (
    AggregationStarted,
    ClientTrained,
    Event,
    Refused,
    RoundFinished,
    RoundReport,
    RoundStarted,
    TrainingFinished,
    TrainingStarted,
)
from fl.explain import CONTENT, describe
from mpc.party import Role
from secagg.plain import _PlainServer

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "fl.cli"]
SMALL = ["train", "--backend", "plain", "--clients", "4", "--dropout", "0"]
runner = CliRunner()


def report_of(number: int, accuracy: float, **changes: Any) -> RoundReport:
    names = TrainingConfig(clients=4).names
    told: dict[str, Any] = {
        "round": number,
        "accuracy": accuracy,
        "loss": 0.5,
        "train_accuracy": accuracy,
        "train_loss": 0.25,
        "participants": names,
        "survivors": names[:2],
        "dropped": names[2:3],
        "rejected": (Refused(names[3], "structural", "wrong length: [7] bytes"),),
        "aborted": None,
        "seconds": 0.5,
        "training_seconds": 0.25,
        "upload_bytes_per_client": 1234.0,
        "phase_bytes": {"plain-input": {"client": 4936}},
        "phase_seconds": {"plain-input": {"client": 0.01, "server": 0.02}},
        "clipped": 0.0,
    }
    return RoundReport(**(told | changes))


def told(*reports: RoundReport, start: float = 0.1) -> Callable[..., Iterator[Event]]:
    """A training that tells of these rounds."""

    def train(
        config: TrainingConfig, *, checkpoint: Path | None = None, resume: bool = False
    ) -> Iterator[Event]:
        yield TrainingStarted(config, 4810, 0, start, ())
        for report in reports:
            yield RoundStarted(report.round, report.participants)
            for done, client in enumerate(report.participants, 1):
                yield ClientTrained(report.round, client, done, len(report.participants))
            yield AggregationStarted(report.round, config.backend)
            yield RoundFinished(report)
        yield TrainingFinished(reports[-1].accuracy if reports else start, reports)

    return train


def broken_off(error: BaseException, *reports: RoundReport) -> Callable[..., Iterator[Event]]:
    """A training that stops within the round after these."""

    def train(config: TrainingConfig, **options: Any) -> Iterator[Event]:
        *events, _ = told(*reports)(config, **options)
        yield from events
        yield RoundStarted(len(reports) + 1, config.names)
        raise error

    return train


def cli(*arguments: str) -> Any:
    result = runner.invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **options
    )


@pytest.fixture
def two_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fl.loop, "train", told(report_of(1, 0.5), report_of(2, 0.75)))


# What is printed.


@pytest.mark.usefixtures("two_rounds")
def test_a_pipe_gets_a_line_for_each_round_and_a_table() -> None:
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
def test_json_is_one_document_and_progress_goes_to_standard_error() -> None:
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


def test_every_field_of_the_document_is_in_the_manual() -> None:
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


def test_aborted_rounds_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_diverged_model_is_still_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fl.loop, "train", told(report_of(1, 0.1, loss=float("nan"))))
    result = cli(*SMALL, "--rounds", "1", "--json")
    assert json.loads(result.stdout)["rounds"][0]["loss"] is None
    rows = [line.split() for line in cli(*SMALL, "--rounds", "1").stdout.splitlines()]
    assert ["1", "0.1000", "-", "2/4", "1", "1", "1.23", "kB", "500", "ms"] in rows


# What is asked for.


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--backend masking --aggregators 3", ["--aggregators", "--backend sharing", "masking"]),
        ("--backend sharing --key-bits 3072", ["--key-bits", "--backend paillier", "sharing"]),
        ("--partition iid --alpha 0.5", ["--alpha", "--partition dirichlet", "iid"]),
        ("--attack replayed", ["--attack", "--malicious"]),
        ("--attack replayed --malicious 0", ["--attack", "--malicious"]),
        ("--resume", ["--resume", "--checkpoint"]),
        ("--clients 1", ["--clients", "1", "at least 2"]),
        ("--rounds 0", ["--rounds", "0", "at least 1"]),
        ("--fraction 0", ["--fraction", "above 0"]),
        ("--fraction 0.05", ["--fraction", "a sum needs 2"]),
        ("--dropout 1", ["--dropout", "below 1"]),
        ("--dropout 0.5", ["--dropout", "at most 10 of", "20 clients", "threshold is 14"]),
        ("--malicious 5", ["--malicious", "at most 13 of", "20 clients", "threshold is 14"]),
        ("--malicious 21", ["--malicious", "21", "20 clients"]),
        ("--threshold 0.5", ["--threshold", "more than half of the 20 clients"]),
        ("--threshold 10", ["--threshold", "more than half of the 20 clients"]),
        ("--threshold 1.5", ["--threshold", "at most 1"]),
        ("--threshold 21", ["--threshold", "20 clients"]),
        ("--threshold nan", ["--threshold", "nan"]),
        ("--threshold many", ["--threshold", "many"]),
        ("--backend sharing --aggregators 1", ["--aggregators", "at least 2"]),
        ("--backend paillier --key-bits 1000", ["--key-bits", "2048, 3072, 4096"]),
        ("--backend homomorphic", ["--backend", "masking", "paillier", "sharing", "plain"]),
        ("--malicious 1 --attack unknown", ["--attack", "wrong-length", "replayed"]),
        ("--bits 1", ["--bits", "from 2 to 48"]),
        ("--clip 0", ["--clip", "above 0"]),
        ("--seed -1", ["--seed", "at least 0"]),
        ("--alpha 0", ["--alpha", "above 0"]),
        ("--clients 5000", ["--clients", "5000", "1438"]),
        ("--clients few", ["--clients", "few"]),
        ("--colour", ["--colour"]),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_the_command_line(arguments: str, parts: list[str]) -> None:
    result = cli("train", *arguments.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr.replace("\n", " ")


def test_options_reach_the_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def train(config: TrainingConfig, **options: Any) -> Iterator[Event]:
        asked.append((config, options))
        return told(report_of(1, 0.5))(config, **options)

    monkeypatch.setattr(fl.loop, "train", train)
    state = tmp_path / "state"
    options = (
        "--backend sharing --clients 9 --rounds 1 --fraction 0.9 --dropout 0.2 --partition dirichlet "
        "--alpha 2 --malicious 1 --attack out-of-range --threshold 4 --aggregators 3 --clip 0.5 "
        "--bits 12 --seed 7"
    )
    assert cli("train", *options.split(), "--checkpoint", str(state)).exit_code == 0
    expected = TrainingConfig(
        backend="sharing",
        clients=9,
        rounds=1,
        fraction=0.9,
        dropout=0.2,
        alpha=2.0,
        malicious=1,
        attack="out-of-range",
        threshold=4,
        aggregators=3,
        clip=0.5,
        bits=12,
        seed=7,
    )
    assert asked.pop() == (expected, {"checkpoint": state, "resume": False})
    assert cli("train").exit_code == 0
    assert asked.pop() == (TrainingConfig(), {"checkpoint": None, "resume": False})


def test_the_command_line_is_the_inverse_of_its_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train(config: TrainingConfig, **options: Any) -> Iterator[Event]:
        asked.append(config)
        return told(report_of(1, 0.5))(config, **options)

    monkeypatch.setattr(fl.loop, "train", train)
    given = {"backend": "paillier", "threshold": 0.75, "dropout": 1 / 7, "key_bits": 2048, "clients": 21}
    words = shlex.split(command_line(Request(given)))
    assert words[:2] == ["secagg", "train"]
    assert cli(*words[1:]).exit_code == 0
    assert asked == [TrainingConfig(**given)]
    folders = Request({}, Path("a b"), True, Path("r"), True)
    assert command_line(folders) == "secagg train --checkpoint 'a b' --report r --resume --json"


# Where things are written.


@pytest.mark.parametrize("option", ["--report", "--checkpoint"])
def test_an_unwritable_place_is_found_before_training(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: Any, **__: Any) -> Iterator[Event]:
        pytest.fail("it has begun to train")

    monkeypatch.setattr(fl.loop, "train", train)
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "file" / "below"
    result = cli(*SMALL, option, str(place / "state" if option == "--checkpoint" else place))
    assert result.exit_code == 2
    assert option in result.stderr
    assert str(place) in result.stderr
    assert "Not a directory" in result.stderr


@pytest.mark.usefixtures("two_rounds")
def test_the_look_before_training_leaves_nothing_behind(tmp_path: Path) -> None:
    assert cli(*SMALL, "--rounds", "2", "--checkpoint", str(tmp_path / "new" / "state")).exit_code == 0
    assert list((tmp_path / "new").iterdir()) == []


def test_checkpoints_are_neither_overwritten_nor_guessed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    result = cli(*SMALL, "--checkpoint", str(state), "--resume")
    assert (result.exit_code, "there is no file" in result.stderr) == (2, True)
    state.write_text("my novel")
    result = cli(*SMALL, "--checkpoint", str(state))
    assert (result.exit_code, "exists; add --resume" in result.stderr) == (2, True)
    result = cli(*SMALL, "--checkpoint", str(state), "--resume")
    assert (result.exit_code, "not a checkpoint" in result.stderr) == (2, True)
    assert state.read_text() == "my novel"
    result = cli(*SMALL, "--checkpoint", str(tmp_path))
    assert (result.exit_code, "is a folder" in result.stderr) == (2, True)


# Interrupted, and going on.


def test_an_interrupt_says_what_is_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fl.loop, "train", broken_off(KeyboardInterrupt(), report_of(1, 0.5)))
    result = cli(*SMALL, "--rounds", "3", "--json")
    assert result.exit_code == 130
    assert result.stdout == ""
    assert "interrupted in round 2 of 3" in result.stderr
    assert "Nothing is saved: that takes --checkpoint FILE." in result.stderr
    state = tmp_path / "state"
    result = cli(*SMALL, "--rounds", "3", "--checkpoint", str(state), "--report", str(tmp_path / "r"))
    assert result.exit_code == 130
    assert f"No round is on disk yet, in {state}. To start again:" in result.stderr
    again = "secagg train --backend plain --clients 4 --rounds 3 --dropout 0.0"
    expected = f"{again} --checkpoint {state} --report {tmp_path / 'r'}"
    assert result.stderr.splitlines()[-1].strip() == expected
    assert list((tmp_path / "r").iterdir()) == []


def test_a_full_disk_in_mid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state")
    monkeypatch.setattr(fl.loop, "train", broken_off(full, report_of(1, 0.5)))
    result = cli(*SMALL, "--rounds", "3")
    assert result.exit_code == 1
    assert "stopped in round 2 of 3" in result.stderr
    assert "No space left on device: 'state'" in result.stderr


def test_interrupted_and_resumed_is_as_good_as_never_stopped(tmp_path: Path) -> None:
    state = tmp_path / "state of round"
    options = ["--clients", "4", "--rounds", "4", "--seed", "3"]
    training = subprocess.Popen(
        [*COMMAND, "train", *options, "--rounds", "400", "--checkpoint", str(state)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert training.stdout is not None
    for line in training.stdout:
        if line.startswith("round 2/400"):
            break
    training.send_signal(signal.SIGINT)
    _, errors = training.communicate(timeout=60)
    assert training.returncode == 130
    assert "Traceback" not in errors
    said = errors.splitlines()
    assert said[0].startswith("secagg train: interrupted in round ")
    done = int(said[1].removeprefix("Round ").split()[0])
    assert said[1] == f"Round {done} is on disk, in {state}. To go on:"
    again = shlex.split(said[2])
    assert again[0] == "secagg"
    assert again[-3:] == ["--checkpoint", str(state), "--resume"]

    last = str(done + 1)
    again[again.index("400")] = last
    resumed = process(*again[1:], "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.splitlines()[0].startswith(f"resumed after round {done}/{last}")
    document = json.loads(resumed.stdout)
    assert document["resumed_after"] == done
    assert [entry["round"] for entry in document["rounds"]] == list(range(1, done + 2))
    direct = json.loads(cli("train", *options, "--rounds", last, "--json").stdout)
    for name in ("accuracy", "loss", "survivors", "dropped", "rejected"):
        assert [entry[name] for entry in document["rounds"]] == [entry[name] for entry in direct["rounds"]]
    assert document["final_accuracy"] == direct["final_accuracy"]

    finished = cli(*again[1:], "--json")
    assert finished.exit_code == 0
    assert json.loads(finished.stdout)["final_accuracy"] == direct["final_accuracy"]

    other = cli(*again[1:], "--clip", "0.5")
    assert (other.exit_code, "another configuration" in other.stderr) == (2, True)
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    damaged = cli(*again[1:])
    assert (damaged.exit_code, "is damaged" in damaged.stderr) == (2, True)
    assert str(state) in damaged.stderr


# The other verbs.


@pytest.mark.parametrize("backend", BACKENDS)
def test_explain_tells_all_that_the_backend_declares(backend: str) -> None:
    document = json.loads(cli("explain", backend, "--clients", "10", "--length", "1000", "--json").stdout)
    made = make_backend(TrainingConfig(backend=backend))
    assert document["source"] == made.leakage.source
    assert document["assumption"] == made.leakage.assumption
    assert {party["role"] for party in document["parties"]} == {role.title for role in made.leakage.learns}
    moved = sum(message["count"] * message["bytes"] for message in document["messages"])
    assert document["total_bytes"] == moved
    assert moved == sum(party["count"] * party["sent_bytes_each"] for party in document["parties"])
    assert moved == sum(party["count"] * party["received_bytes_each"] for party in document["parties"])
    client = next(party for party in document["parties"] if party["role"] == "client")
    assert client["count"] == 10
    assert document["upload_bytes_per_client"] == client["sent_bytes_each"]
    table = cli("explain", backend, "--clients", "10").stdout
    for message in document["messages"]:
        assert message["phase"] in table
    text = " ".join(table.split())
    assert " ".join(made.leakage.assumption.split()) in text
    assert " ".join(made.leakage.source.split()) in text


def test_explain_has_a_word_for_every_message_and_no_other() -> None:
    sent = set()
    for backend in BACKENDS:
        for message in describe(backend, clients=3, length=5, bits=8)["messages"]:
            roles = {role.title: role for role in Role}
            sent.add((backend, message["phase"], roles[message["sender"]], roles[message["receiver"]]))
    assert set(CONTENT) == sent


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--clients 1", ["--clients", "at least 2"]),
        ("--length 0", ["--length", "1"]),
        ("--bits 99", ["--bits", "from 2 to 48"]),
    ],
)
def test_explain_refuses_a_cohort_that_cannot_be(arguments: str, parts: list[str]) -> None:
    result = cli("explain", "masking", *arguments.split())
    assert result.exit_code == 2
    assert all(part in result.stderr for part in parts)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fl.doctor, "MEASURE_SECONDS", 0.0)


@pytest.mark.usefixtures("quick")
def test_doctor_finds_a_healthy_machine_healthy() -> None:
    result = cli("doctor", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["healthy"] is True
    assert {check["backend"]: check["passed"] for check in document["checks"]} == dict.fromkeys(
        BACKENDS, True
    )
    assert all(speed["value"] > 0 for speed in document["speeds"])
    assert all(package["version"] for package in document["packages"])
    assert "All is well." in cli("doctor").stdout


@pytest.mark.usefixtures("quick")
def test_doctor_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    result = cli("doctor")
    assert result.exit_code == 0
    row = next(line for line in result.stdout.splitlines() if "scikit-learn" in line)
    assert "missing" in row
    assert "pip install 'secagg[demo]'" in row
    monkeypatch.setitem(sys.modules, "gmpy2", None)
    result = cli("doctor")
    assert result.exit_code == 1
    row = next(line for line in result.stdout.splitlines() if "gmpy2" in line)
    assert "pip install gmpy2" in row
    assert "Something is wrong" in result.stdout
    assert examine().speeds == ()


@pytest.mark.usefixtures("quick")
def test_doctor_notices_a_wrong_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _PlainServer._fold

    def twice(self: _PlainServer, index: int, contribution: Any) -> Any:
        right(self, index, contribution)
        return right(self, index, contribution)

    monkeypatch.setattr(_PlainServer, "_fold", twice)
    failed = [check for check in self_checks() if not check.passed]
    assert [check.backend for check in failed] == ["plain"]
    assert "should be [-9000, -6000, -3000, 3]" in failed[0].detail
    assert cli("doctor").exit_code == 1


def test_doctor_knows_the_extra() -> None:
    lines = (ROOT / "pyproject.toml").read_text().split("demo = [")[1].split("]")[0]
    assert all(f'"{name}' in lines for name in DEMO.values())
    assert lines.count('"') == 2 * len(DEMO)


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


def test_help_names_every_default() -> None:
    text = " ".join(process("train", "--help", env=os.environ | {"COLUMNS": "300"}).stdout.split())
    for field in fields(TrainingConfig):
        assert f"--{field.name.replace('_', '-')}" in text
        if field.default is not None:
            assert f"[default: {field.default}]" in text
