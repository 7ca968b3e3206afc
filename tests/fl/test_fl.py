"""``import fl``: what it offers, and that it is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fl

ROOT = Path(__file__).parents[2]


def test_every_name_is_where_it_is_said_to_be() -> None:
    assert set(fl._MODULES) == set(fl.__all__) <= set(dir(fl))
    for name in fl.__all__:
        assert getattr(fl, name) is getattr(sys.modules[f"fl.{fl._MODULES[name]}"], name)
    with pytest.raises(AttributeError, match="module 'fl' has no attribute 'Federated'"):
        fl.Federated  # noqa: B018


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    program = """
import sys
import fl
heavy = {"numpy", "torch", "sklearn", "matplotlib", "numba", "gmpy2"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
from fl import FederatedLoop, TorchTraining, LocalUpdate, Evaluation, Dataset, train, TrainingConfig
assert not {"torch", "sklearn", "matplotlib"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
