"""Backends as configured, and which configurations can work."""

from __future__ import annotations

from typing import Any

import pytest

from fl.backends import check_feasible, fewest_dropouts, keys_to_make, make_backend
from fl.config import TrainingConfig
from mpc.errors import LocalError
from mpc.tape import SeededTape
from secagg import Masking
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.sharing import SecretSharing


def config_of(**options: Any) -> TrainingConfig:
    defaults = {"backend": "plain", "clients": 6, "rounds": 3, "dropout": 0.2, "key_bits": 2048, "seed": 1}
    return TrainingConfig(**(defaults | options))


@pytest.mark.parametrize(
    "options",
    [
        {"clients": 10, "dropout": 0.39},  # 3 or 4 go silent
        {"clients": 10, "dropout": 0.2, "malicious": 1},
        {"clients": 10, "fraction": 0.5, "malicious": 5, "dropout": 0.0},  # a round may sample none of them
        {"clients": 2, "dropout": 0.4},
    ],
)
def test_what_may_work_is_tried(options: dict[str, Any]) -> None:
    config = config_of(**options)
    check_feasible(config, make_backend(config))


@pytest.mark.parametrize(
    ("participants", "dropout", "fewest"),
    [(20, 0.1, 2), (30, 0.1, 3), (10, 0.29, 2), (100, 0.29, 29), (5, 0.1, 0), (7, 0.0, 0)],
)
def test_fewest_dropouts(participants: int, dropout: float, fewest: int) -> None:
    assert fewest_dropouts(participants, dropout) == fewest


def test_backends_are_made_as_configured() -> None:
    masking = make_backend(config_of(backend="masking", threshold=0.75))
    assert isinstance(masking, Masking)
    assert masking.minimum == 0.75
    assert make_backend(config_of(backend="masking")).minimum == Masking().minimum
    assert make_backend(config_of(backend="plain", threshold=4)).resolve_threshold(6) == 4
    sharing = make_backend(config_of(backend="sharing", aggregators=3))
    assert isinstance(sharing, SecretSharing)
    assert sharing.aggregators == 3
    paillier = make_backend(config_of(backend="paillier", key_bits=4096, minimum=0.8))
    assert isinstance(paillier, Paillier)
    assert (paillier.key_bits, paillier.minimum) == (4096, 0.8)
    shared = make_backend(config_of(backend="paillier", key_holders=5, threshold=4, minimum=3))
    assert isinstance(shared, ThresholdPaillier)
    assert (shared.key_holders, shared.threshold, shared.minimum, shared.key_bits) == (5, 4, 3, 2048)
    majority = make_backend(config_of(backend="paillier", key_holders=4))
    assert isinstance(majority, ThresholdPaillier)
    assert (majority.threshold, majority.minimum) == (3, Paillier().minimum)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"key_holders": 5, "threshold": 3, "offline_key_holders": 3}, "at most 2: it takes 3 of 5 to open"),
        ({"key_holders": 5, "threshold": 5, "offline_key_holders": 1}, "at most 0: it takes 5 of 5 to open"),
        ({"key_holders": 2, "offline_key_holders": 1}, "at most 0: it takes 2 of 2 to open"),
    ],
)
def test_no_more_key_holders_are_offline_than_can_be_spared(options: dict[str, int], text: str) -> None:
    config = config_of(backend="paillier", **options)
    offline = config.offline_key_holders
    with pytest.raises(LocalError, match=f"^offline_key_holders is {offline}: must be {text} a sum$"):
        check_feasible(config, make_backend(config))


def test_a_minimum_that_no_round_reaches_is_called_so() -> None:
    config = config_of(backend="paillier", clients=10, dropout=0.2, minimum=9)
    with pytest.raises(LocalError, match=r"^dropout is 0\.2: .* 10 clients; the minimum is 9$"):
        check_feasible(config, make_backend(config))


def test_keys_are_made_where_there_are_none() -> None:
    one, shared = Paillier(insecure_key_bits=128), ThresholdPaillier(4, insecure_key_bits=128)
    assert [keys_to_make(backend) for backend in (one, shared, Masking(), SecretSharing())] == [1, 4, 0, 0]
    assert [keys_to_make(backend.setup(SeededTape(b"keys"))) for backend in (one, shared)] == [0, 0]
