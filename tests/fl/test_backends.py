"""Backends as configured, and which configurations can work."""

from __future__ import annotations

from typing import Any

import pytest

from fl.backends import check_feasible, fewest_dropouts, make_backend
from fl.config import TrainingConfig
from secagg import Masking
from secagg.paillier import Paillier
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
    assert masking.threshold == 0.75
    assert make_backend(config_of(backend="masking")).threshold == Masking().threshold
    assert make_backend(config_of(backend="plain", threshold=4)).resolve_threshold(6) == 4
    sharing = make_backend(config_of(backend="sharing", aggregators=3))
    assert isinstance(sharing, SecretSharing)
    assert sharing.aggregators == 3
    paillier = make_backend(config_of(backend="paillier", key_bits=4096))
    assert isinstance(paillier, Paillier)
    assert paillier.key_bits == 4096
