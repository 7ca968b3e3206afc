"""Boosted updates: counted where nobody can tell, and refused by name where norms are proved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from fl.attacks import Attack
from fl.backends import check_feasible, make_backend
from fl.boosting import BOOST, WithForgers, boosted
from fl.client import LocalUpdate
from fl.config import NORM_BOUND, TrainingConfig
from mpc.errors import LocalError
from mpc.tape import SeededTape
from secagg import Masking, aggregate
from secagg.checks import NormBound
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing
from tests.fl.test_federated import MAKERS, NAMES, assert_same_weights, loop_of, outcome

ATTACKERS = frozenset({"client-1", "client-4"})
BOOSTED = Attack("boosted", ATTACKERS)
CHECK = NormBound(3.0)  # the longest updates of that training have a norm of 1.3


def norm(update: Any) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(tensor, dtype=float))) for tensor in update)))


# The update.


def test_a_boosted_update_is_longer_and_of_the_largest_weight() -> None:
    tensors = [np.array([0.25, -0.5], np.float32), np.array(0.125)]
    found = BOOSTED.input("client-4", LocalUpdate(tensors, 3, {"loss": 1.0}), 99)
    assert [tensor.tolist() for tensor in found.update] == [[BOOST / 4, -BOOST / 2], BOOST / 8]
    assert [tensor.dtype for tensor in found.update] == [np.float32, np.float64]
    assert (found.weight, found.metrics) == (99, {"loss": 1.0})


def test_it_stays_finite() -> None:
    largest = np.finfo(np.float16).max
    found = boosted(LocalUpdate([np.array([largest, -largest, 1], np.float16)], 1, {}), 1)
    assert found.update[0].tolist() == [largest, -largest, BOOST]


@pytest.mark.parametrize(("attack", "name"), [("boosted", "client-0"), ("wrong-length", "client-1")])
def test_everybody_elses_is_as_it_was_trained(attack: str, name: str) -> None:
    update = LocalUpdate([np.ones(3)], 3, {})
    assert Attack(attack, ATTACKERS).input(name, update, 99) is update


# The proof.


@pytest.mark.parametrize("aggregators", [2, 3])
def test_forgers_are_refused_and_the_rest_is_summed(aggregators: int) -> None:
    rng = np.random.default_rng(0)
    updates = {f"c{index}": rng.uniform(-0.05, 0.05, 40) for index in range(6)}
    updates["c2"], updates["c5"] = 20 * updates["c2"], 20 * updates["c5"]

    def run(backend: Any, checks: Any, **options: Any) -> Any:
        tape = SeededTape(b"encoder")
        return aggregate(updates, backend=backend, checks=checks, encoder_tape=tape, **options)

    inner = SecretSharing(aggregators, threshold=2)
    found = run(WithForgers(inner, ["c2", "c4", "c5"]), [NormBound(0.5)])
    assert set(found.rejected) == {"c2", "c5"}  # c4 would forge, and has no need to
    assert {one.check for one in found.rejected.values()} == {"norm"}
    assert found.declined == {}
    plain = run(InsecurePlain(threshold=2), [], drop={"c2": "input", "c5": "input"})
    assert found.encoded_sum.tolist() == plain.encoded_sum.tolist()
    honest = run(inner, [NormBound(0.5)])
    assert honest.rejected == {}
    assert set(honest.declined) == {"c2", "c5"}


# The loop.


@pytest.mark.parametrize("name", MAKERS)
def test_without_a_check_every_backend_counts_them(name: str) -> None:
    options: dict[str, Any] = {"attack": BOOSTED, "dropout": 0.2}
    loop, reference, honest = (
        loop_of(MAKERS[name](), **options),
        loop_of(InsecurePlain(), **options),
        loop_of(InsecurePlain(), dropout=0.2),
    )
    for one in (loop, reference, honest):
        list(one.run(2))
    assert_same_weights(loop.weights, reference.weights)
    assert outcome(loop) == outcome(reference)
    assert all(report.rejected == () and set(report.survivors) >= ATTACKERS for report in loop.history)
    assert norm(loop.weights) > 1.5 * norm(honest.weights)


@pytest.mark.parametrize("aggregators", [2, 3])
def test_with_the_check_they_are_refused_in_every_round(aggregators: int) -> None:
    """And the model is that of a training where they were silent."""
    loop = loop_of(SecretSharing(aggregators), checks=[CHECK], attack=BOOSTED)
    reference = loop_of(InsecurePlain(), attack=Attack("wrong-length", ATTACKERS))
    for one in (loop, reference):
        list(one.run(3))
    assert_same_weights(loop.weights, reference.weights)
    for report in loop.history:
        assert {one.client: one.check for one in report.rejected} == dict.fromkeys(ATTACKERS, "norm")
        assert set(report.survivors) == set(NAMES) - ATTACKERS
        assert report.dropped == ()


def test_an_honest_client_that_declines_is_told_of_as_its_own_refusal() -> None:
    def longer(weights: Any, data: Any, seed: int) -> LocalUpdate:
        found = loop_of(InsecurePlain()).training(weights, data, seed)
        largest = len(data) == 5 + 3 * 8
        return boosted(found, found.weight) if largest else found

    loop = loop_of(SecretSharing(), checks=[CHECK], training=longer)
    list(loop.run(2))
    for report in loop.history:
        assert [(one.client, one.check) for one in report.rejected] == [("client-8", "local")]
        assert "NormBound(l2=3)" in report.rejected[0].reason
        assert report.dropped == ()
        assert len(report.survivors) == 8


def test_where_all_decline_the_aborted_round_names_them() -> None:
    loop = loop_of(SecretSharing(), checks=[NormBound(1e-3)], dropout=0.2)
    list(loop.run(1))
    report = loop.history[0]
    assert report.aborted is not None
    assert "NormBound" not in report.aborted
    assert {one.client for one in report.rejected} == set(NAMES) - set(report.dropped)
    assert {one.check for one in report.rejected} == {"local"}


def test_a_loop_over_another_backend_refuses_the_check() -> None:
    with pytest.raises(LocalError, match="checks is 'norm': is proved on shares, which masking has not"):
        list(loop_of(Masking(), checks=[CHECK]).run(1))


# The command.


def test_the_command_names_them_in_lines_document_and_report(
    cli: Callable[..., Result], tmp_path: Path
) -> None:
    words = (
        "train --backend sharing --check norm --malicious 2 --attack boosted "
        "--rounds 3 --clients 8 --dropout 0"
    )
    result = cli(*words.split(), "--json", "--report", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["config"]["check"], document["config"]["norm_bound"]) == ("norm", NORM_BOUND)
    assert {one["check"] for one in document["rejected"].values()} == {"norm"}
    assert [one["rounds"] for one in document["rejected"].values()] == [[1, 2, 3]] * 2
    for entry in document["rounds"]:
        assert set(entry["rejected"]) == set(document["rejected"])
        assert len(entry["survivors"]) == 6
    assert "--check norm" in document["command"]
    assert result.stderr.count("refused 2") == 3
    assert json.loads((tmp_path / "report.json").read_text()) == document
    page = (tmp_path / "report.html").read_text()
    for name in document["rejected"]:
        assert name in page
    assert "its proof is refused" in page
    table = cli(*words.split()).stdout
    for name in document["rejected"]:
        assert name in table
    assert "norm" in table


def test_honest_clients_of_the_default_job_are_within_the_default_bound(cli: Callable[..., Result]) -> None:
    """The first round has the longest updates."""
    result = cli("train", "--backend", "sharing", "--check", "norm", "--rounds", "1", "--json")
    document = json.loads(result.stdout)
    assert document["rejected"] == {}
    assert len(document["rounds"][0]["survivors"]) == 18


def test_malicious_clients_that_are_counted_leave_no_round_too_small() -> None:
    for check, fits in (("none", True), ("norm", False)):
        config = TrainingConfig(backend="sharing", malicious=6, attack="boosted", check=check)
        if fits:
            check_feasible(config, make_backend(config))
        else:
            with pytest.raises(LocalError, match="malicious"):
                check_feasible(config, make_backend(config))
