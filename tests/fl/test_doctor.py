"""``secagg doctor``: finds a healthy machine healthy, and says what is wrong with another."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import fl.doctor
from fl.config import BACKENDS
from fl.doctor import DEMO, examine, self_checks
from secagg.kernels import lanes
from secagg.plain import _PlainServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fl.doctor, "MEASURE_SECONDS", 0.0)


@pytest.mark.usefixtures("quick")
def test_doctor_finds_a_healthy_machine_healthy(cli: Callable[..., Result]) -> None:
    result = cli("doctor", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["healthy"] is True
    assert {check["backend"]: check["passed"] for check in document["checks"]} == dict.fromkeys(
        [*BACKENDS, "threshold-paillier"], True
    )
    assert document["avx512_ifma"] is lanes.available()
    assert all(speed["value"] > 0 for speed in document["speeds"])
    assert all(package["version"] for package in document["packages"])
    assert "All is well." in cli("doctor").stdout


@pytest.mark.usefixtures("quick")
def test_doctor_says_how_to_install_what_is_missing(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    result = cli("doctor")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "missing" in next(line for line in lines if "scikit-learn" in line)
    assert "scikit-learn: pip install -c constraints.txt -e '.[demo]'" in lines
    monkeypatch.setitem(sys.modules, "gmpy2", None)
    result = cli("doctor")
    assert result.exit_code == 1
    assert "gmpy2: pip install gmpy2" in result.stdout.splitlines()
    assert "Something is wrong" in result.stdout
    assert examine().speeds == ()
    assert examine().avx512_ifma is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("there", "told"), [(True, "eight at once, by AVX-512 IFMA"), (False, "one by one")])
def test_doctor_says_which_arithmetic_paillier_has(
    cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, there: bool, told: str
) -> None:
    monkeypatch.setattr(fl.doctor, "_lanes", lambda: there)
    assert f"Paillier's powers: {told}" in cli("doctor").stdout


@pytest.mark.usefixtures("quick")
def test_doctor_notices_a_wrong_sum(cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
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
