"""TrainingConfig: what it refuses, and what its fingerprint covers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from fl.config import TrainingConfig
from mpc.errors import LocalError


def config_of(**options: Any) -> TrainingConfig:
    defaults = {"backend": "plain", "clients": 6, "rounds": 3, "dropout": 0.2, "key_bits": 2048, "seed": 1}
    return TrainingConfig(**(defaults | options))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backend", "hope"),
        ("partition", "odd"),
        ("attack", "bribery"),
        ("clients", 1),
        ("clients", 2.0),
        ("rounds", 0),
        ("fraction", 0.0),
        ("fraction", 1.1),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("alpha", 0.0),
        ("malicious", -1),
        ("malicious", 2.5),
        ("malicious", 7),
        ("seed", -1),
        ("aggregators", 1),
    ],
)
def test_configurations_name_what_is_wrong(field: str, value: Any) -> None:
    with pytest.raises(LocalError, match=f"^{field} is {value!r}: "):
        config_of(**{field: value})


def test_the_fingerprint_covers_all_but_the_number_of_rounds() -> None:
    base = config_of()
    assert config_of(rounds=9).fingerprint() == base.fingerprint()
    changes: dict[str, Any] = {
        "backend": "masking",
        "clients": 7,
        "fraction": 0.9,
        "dropout": 0.1,
        "partition": "iid",
        "alpha": 0.6,
        "malicious": 1,
        "attack": "replayed",
        "threshold": 0.7,
        "aggregators": 3,
        "key_bits": 3072,
        "clip": 0.5,
        "bits": 20,
        "seed": 9,
    }
    assert changes.keys() == asdict(base).keys() - {"rounds"}
    prints = {config_of(**{name: value}).fingerprint() for name, value in changes.items()}
    assert len(prints | {base.fingerprint()}) == len(changes) + 1
