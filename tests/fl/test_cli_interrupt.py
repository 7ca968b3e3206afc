"""``secagg train``, interrupted and resumed."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

import fl.loop
from fl.events import Event, RoundReport

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "fl.cli"]
SMALL = ["train", "--backend", "plain", "--clients", "4", "--dropout", "0"]
Train = Callable[..., Iterator[Event]]
Done = subprocess.CompletedProcess[str]


def test_an_interrupt_says_what_is_lost(
    cli: Callable[..., Result],
    report_of: Callable[..., RoundReport],
    broken_off: Callable[..., Train],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
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


def test_an_interrupt_of_compiled_text_ends_in_the_same_exit_code(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text("""
import sys
import fl.loop
from fl.cli import main

def train(config, **options):
    exec("raise KeyboardInterrupt")

fl.loop.train = train
sys.argv = ["secagg", "train"]
main()
""")
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr.startswith("secagg train: interrupted before a round had started\n")


def test_a_full_disk_in_mid_training(
    cli: Callable[..., Result],
    report_of: Callable[..., RoundReport],
    broken_off: Callable[..., Train],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state")
    monkeypatch.setattr(fl.loop, "train", broken_off(full, report_of(1, 0.5)))
    result = cli(*SMALL, "--rounds", "3")
    assert result.exit_code == 1
    assert "stopped in round 2 of 3" in result.stderr
    assert "No space left on device: 'state'" in result.stderr


def test_interrupted_and_resumed_is_as_good_as_never_stopped(
    cli: Callable[..., Result], process: Callable[..., Done], tmp_path: Path
) -> None:
    state = tmp_path / "state of round"
    options = ["--clients", "4", "--seed", "3"]
    training = subprocess.Popen(
        [*COMMAND, "train", *options, "--rounds", "400", "--checkpoint", str(state)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who runs these tests may ignore interrupts, as shells' background jobs do, and children inherit it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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
    assert other.exit_code == 2
    assert "another configuration: --clip was 1.0 and is 0.5 now;" in other.stderr
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    damaged = cli(*again[1:])
    assert (damaged.exit_code, "is damaged" in damaged.stderr) == (2, True)
    assert str(state) in damaged.stderr
