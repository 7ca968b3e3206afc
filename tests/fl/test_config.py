"""TrainingConfig: what it refuses, and what its fingerprint covers."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from fl.config import SCOPES, TrainingConfig, why_idle
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
        ("check", "hope"),
        ("norm_bound", 0.0),
        ("norm_bound", -1.0),
        ("norm_bound", float("inf")),
        ("malicious", -1),
        ("malicious", 2.5),
        ("malicious", 7),
        ("seed", -1),
        ("aggregators", 1),
        ("key_holders", 0),
        ("offline_key_holders", -1),
    ],
)
def test_configurations_name_what_is_wrong(field: str, value: Any) -> None:
    with pytest.raises(LocalError, match=f"^{field} is {value!r}: "):
        config_of(**{field: value})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"backend": "paillier", "threshold": 0.7},
            "threshold is 0.7: needs at least 2 key_holders: .*minimum",
        ),
        (
            {"backend": "masking", "minimum": 0.0},
            "minimum is 0.0: needs backend paillier; .*threshold; .*masking",
        ),
        (
            {"backend": "sharing", "key_holders": 3},
            "key_holders is 3: needs backend paillier; here .* sharing",
        ),
        (
            {"backend": "paillier", "offline_key_holders": 1},
            "offline_key_holders is 1: needs .* 2 key_holders",
        ),
        ({"backend": "paillier", "key_holders": 3, "threshold": 0.7}, "threshold is 0.7: .* whole number"),
        ({"backend": "masking", "check": "norm"}, "check is 'norm': needs backend sharing: clients prove it"),
        ({"backend": "sharing", "norm_bound": 3.0}, "norm_bound is 3.0: needs check norm; here .* none"),
    ],
)
def test_what_would_be_a_promise_not_kept_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalError, match=f"^{text}"):
        config_of(**options)


def test_every_scope_is_of_fields_and_holds_somewhere() -> None:
    names = set(asdict(config_of()))
    fitting = {"sharing": {"check": "norm"}, "paillier": {"key_holders": 3, "malicious": 1}}
    settings = [asdict(config_of(backend=name, **options)) for name, options in fitting.items()]
    for name, scope in SCOPES.items():
        assert {name, *scope.of} <= names
        assert any(why_idle(name, one) is None for one in settings)
    idle = asdict(config_of(partition="iid"))
    assert {name for name in names if why_idle(name, idle)} == SCOPES.keys() - {"threshold", "check"}


def test_the_fingerprint_covers_all_but_the_number_of_rounds() -> None:
    base = config_of()
    shared = config_of(backend="paillier", key_holders=3)
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
    of_key_holders: dict[str, Any] = {"minimum": 0.7, "key_holders": 4, "offline_key_holders": 1}
    of_checks: dict[str, Any] = {"check": "none", "norm_bound": 3.0}
    proved = config_of(backend="sharing", check="norm")
    fields = changes.keys() | of_key_holders.keys() | of_checks.keys()
    assert fields == asdict(base).keys() - {"rounds"}
    prints = {config_of(**{name: value}).fingerprint() for name, value in changes.items()}
    for name, value in of_key_holders.items():
        prints.add(replace(shared, **{name: value}).fingerprint())
    for name, value in of_checks.items():
        prints.add(replace(proved, **{name: value}).fingerprint())
    prints |= {base.fingerprint(), shared.fingerprint(), proved.fingerprint()}
    assert len(prints) == len(changes) + len(of_key_holders) + len(of_checks) + 3
