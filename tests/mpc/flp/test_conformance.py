"""The drafts' own vectors, and a runner that does not pass what it should not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mpc.flp.conformance.__main__ import main
from mpc.flp.conformance.replay import Mismatch, replay_file

VECTORS = Path(__file__).parents[2] / "vectors"
FOLDERS = {"vdaf-20": 19, "pine-01": 9}
FILES = sorted(path for folder in FOLDERS for path in (VECTORS / folder).glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_vector_is_reproduced(path: Path) -> None:
    replay_file(path)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_command_counts_what_passed(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(VECTORS / folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == FOLDERS[folder] + 1
    assert lines[-1] == f"{FOLDERS[folder]} passed, 0 failed"
    assert all(line.startswith("ok ") for line in lines[:-1])


def altered(tmp_path: Path, name: str, change: Any) -> Path:
    source = next(path for path in FILES if path.stem == name)
    vector = json.loads(source.read_text())
    change(vector)
    path = tmp_path / source.name
    path.write_text(json.dumps(vector))
    return path


def set_at(*keys: Any, value: Any) -> Any:
    def change(vector: Any) -> None:
        for key in keys[:-1]:
            vector = vector[key]
        vector[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "step"),
    [
        ("Prio3Sum_0", set_at("reports", 0, "measurement", value=101), "input shares"),
        ("Prio3Histogram_0", set_at("reports", 0, "public_share", value="00" * 64), "public share"),
        ("Prio3Sum_0", set_at("verify_key", value="11" * 32), "verifier share"),
        ("Prio3Sum_0", set_at("agg_shares", 0, value="00" * 8), "aggregate share"),
        ("Prio3Sum_0", set_at("agg_result", value=99), "result"),
        ("Prio3Count_0", set_at("reports", 0, "out_shares", 1, value="00" * 8), "output share"),
        ("XofTurboShake128", set_at("length", value=39), "XofTurboShake128"),
        ("Pine64_0", set_at("prep", 0, "prep_messages", 0, value="00" * 32), "verifier message"),
        ("Pine64_0", set_at("proofs", value=1), "input shares"),
    ],
)
def test_other_outputs_are_noticed(tmp_path: Path, name: str, change: Any, step: str) -> None:
    with pytest.raises(Mismatch, match=f"^{step}"):
        replay_file(altered(tmp_path, name, change))


NEGATIVE = [path.stem for path in FILES if "_bad_" in path.stem]


@pytest.mark.parametrize("name", NEGATIVE)
def test_negative_vectors_fail_at_the_step_they_name_and_no_earlier(tmp_path: Path, name: str) -> None:
    """With every step marked as one to pass, the refusal is a mismatch at that step."""

    def all_succeed(vector: Any) -> None:
        for operation in vector["operations"]:
            operation["success"] = True

    vector = json.loads((VECTORS / "vdaf-20" / f"{name}.json").read_text())
    (number,) = [i for i, operation in enumerate(vector["operations"]) if not operation["success"]]
    step = vector["operations"][number]["operation"]
    with pytest.raises(Mismatch, match=f"^operation {number}, {step}: refused"):
        replay_file(altered(tmp_path, name, all_succeed))


@pytest.mark.parametrize("number", [0, 1])
def test_a_step_that_should_be_refused_and_is_not_is_noticed(tmp_path: Path, number: int) -> None:
    path = altered(
        tmp_path, "Prio3Count_bad_meas_share", set_at("operations", number, "success", value=False)
    )
    with pytest.raises(Mismatch, match=f"^operation {number}, verify_init: accepted"):
        replay_file(path)


def test_the_command_fails_if_one_vector_does(tmp_path: Path) -> None:
    altered(tmp_path, "Prio3Sum_0", set_at("agg_result", value=99))
    shutil.copy(FILES[0], tmp_path)
    (tmp_path / "Prio3Sum_9.json").write_text("{")
    (tmp_path / "Nothing_0.json").write_text("{}")
    command = [sys.executable, "-m", "mpc.flp.conformance", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=VECTORS.parents[1])
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "1 passed, 3 failed"
    assert "FAIL Prio3Sum_0: Mismatch: result: not what the vector says" in done.stdout
    assert "FAIL Nothing_0: LocalError" in done.stdout


def test_a_folder_without_vectors_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
