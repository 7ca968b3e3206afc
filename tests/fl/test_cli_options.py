"""``secagg train``: what cannot be is refused before training, what can be reaches it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import fl.loop
from fl.cli_train import Request, command_line
from fl.config import TrainingConfig
from fl.events import Event, RoundReport

SMALL = ["train", "--backend", "plain", "--clients", "4", "--dropout", "0"]
Train = Callable[..., Iterator[Event]]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("--backend masking --aggregators 3", ["--aggregators", "--backend sharing", "masking"]),
        ("--backend sharing --key-bits 3072", ["--key-bits", "--backend paillier", "sharing"]),
        ("--partition iid --alpha 0.5", ["--alpha", "--partition dirichlet", "iid"]),
        ("--backend paillier --threshold 0.7", ["--threshold needs at least 2 --key-holders", "--minimum"]),
        ("--minimum 0.7", ["--minimum needs --backend paillier", "--threshold", "--backend masking"]),
        ("--key-holders 3", ["--key-holders needs --backend paillier", "--backend masking"]),
        ("--backend paillier --key-holders 0", ["--key-holders", "at least 1"]),
        ("--backend paillier --key-holders 17", ["--key-holders", "from 2 to 16"]),
        ("--backend paillier --key-holders 3 --threshold 1", ["--threshold", "more than half of 3"]),
        (
            "--backend paillier --key-holders 3 --threshold 0.7",
            ["--threshold", "whole number", "3 key holders"],
        ),
        (
            "--backend paillier --key-holders 3 --offline-key-holders 2",
            ["--offline-key-holders", "at most 1"],
        ),
        ("--backend paillier --offline-key-holders 1", ["--offline-key-holders", "at least 2 --key-holders"]),
        ("--backend paillier --minimum 21", ["--minimum", "20 clients"]),
        ("--backend paillier --minimum 0.95", ["--dropout", "20 clients", "minimum is 19"]),
        ("--backend paillier --minimum many", ["--minimum", "many"]),
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
        ("--malicious 19", ["--malicious", "leaves none of a round's 20 clients", "threshold is 14"]),
        ("--malicious 21", ["--malicious", "21", "20 clients"]),
        ("--threshold 0.5", ["--threshold", "more than half of the 20 clients"]),
        ("--threshold 10", ["--threshold", "more than half of the 20 clients"]),
        ("--threshold 1.5", ["--threshold", "at most 1"]),
        ("--threshold 21", ["--threshold", "20 clients"]),
        ("--threshold nan", ["--threshold", "nan"]),
        ("--threshold many", ["--threshold", "many"]),
        ("--check norm", ["--check", "--backend sharing", "--backend masking"]),
        ("--backend paillier --check norm", ["--check", "--backend sharing", "--backend paillier"]),
        ("--backend sharing --check direction", ["--check", "none", "norm"]),
        ("--backend sharing --norm-bound 3", ["--norm-bound", "--check norm", "--check none"]),
        ("--backend sharing --check norm --norm-bound 0", ["--norm-bound", "above 0"]),
        ("--backend sharing --check norm --norm-bound nan", ["--norm-bound", "finite"]),
        (
            "--backend sharing --check norm --malicious 5 --attack boosted",
            ["--malicious", "at most 13 of", "threshold is 14"],
        ),
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
def test_what_cannot_be_is_refused_in_the_words_of_the_command_line(
    cli: Callable[..., Result], arguments: str, parts: list[str]
) -> None:
    result = cli("train", *arguments.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr.replace("\n", " ")


def test_options_reach_the_training(
    cli: Callable[..., Result],
    told: Callable[..., Train],
    report_of: Callable[..., RoundReport],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked = []

    def train(config: TrainingConfig, **options: Any) -> Iterator[Event]:
        asked.append((config, options))
        return told(report_of(1, 0.5))(config, **options)

    monkeypatch.setattr(fl.loop, "train", train)
    state = tmp_path / "state"
    options = (
        "--backend sharing --clients 9 --rounds 1 --fraction 0.9 --dropout 0.2 --partition dirichlet "
        "--alpha 2 --malicious 1 --attack out-of-range --threshold 4 --aggregators 3 --clip 0.5 "
        "--bits 12 --seed 7 --check norm --norm-bound 2.5"
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
        check="norm",
        norm_bound=2.5,
    )
    assert asked.pop() == (expected, {"checkpoint": state, "resume": False})
    assert cli("train").exit_code == 0
    assert asked.pop() == (TrainingConfig(), {"checkpoint": None, "resume": False})


def test_the_command_line_is_the_inverse_of_its_reading(
    cli: Callable[..., Result],
    told: Callable[..., Train],
    report_of: Callable[..., RoundReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def train(config: TrainingConfig, **options: Any) -> Iterator[Event]:
        asked.append(config)
        return told(report_of(1, 0.5))(config, **options)

    monkeypatch.setattr(fl.loop, "train", train)
    given = {"backend": "paillier", "minimum": 0.75, "dropout": 1 / 7, "key_bits": 2048, "clients": 21}
    given |= {"key_holders": 5, "threshold": 4, "offline_key_holders": 1}
    words = shlex.split(command_line(Request(given)))
    assert words[:2] == ["secagg", "train"]
    assert cli(*words[1:]).exit_code == 0
    assert asked == [TrainingConfig(**given)]
    folders = Request({}, Path("a b"), True, Path("r"), True)
    assert command_line(folders) == "secagg train --checkpoint 'a b' --report r --resume --json"


# Where things are written.


@pytest.mark.parametrize("option", ["--report", "--checkpoint"])
def test_an_unwritable_place_is_found_before_training(
    cli: Callable[..., Result], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
def test_the_look_before_training_leaves_nothing_behind(cli: Callable[..., Result], tmp_path: Path) -> None:
    assert cli(*SMALL, "--rounds", "2", "--checkpoint", str(tmp_path / "new" / "state")).exit_code == 0
    assert list((tmp_path / "new").iterdir()) == []


def test_checkpoints_are_neither_overwritten_nor_guessed(cli: Callable[..., Result], tmp_path: Path) -> None:
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
