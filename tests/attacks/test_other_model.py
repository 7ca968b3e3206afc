"""Another model for one client, so that the sum is its update alone (Pasquini et al. 2022, arXiv 2111.07380).

The others' model is dead: a rectified unit that never fires has no gradient, whatever the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest

from secagg import Masking
from secagg.cohort import NO_MODEL
from secagg.masking import Tolerance
from secagg.masking.messages import SEED
from tests.attacks.clients import SPARSE
from tests.attacks.liar import LENGTH, Liar
from tests.attacks.opening import opened, secret

VICTIM = 3
LIVE, DEAD = np.array([1, 1, 1, 1, 1, 10**6]), np.array([1, 1, 1, 1, 1, -(10**6)])  # weights, then the bias
GRAPHS = pytest.mark.parametrize(
    ("n", "tolerance", "signed"),
    [(7, None, False), (7, None, True), (12, SPARSE, False), (12, SPARSE, True)],
    ids=["complete", "complete, signed", "sparse", "sparse, signed"],
)


def gradient(model: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Of relu(w · x + b) for w."""
    return data * bool(model[:-1] @ data + model[-1] > 0)


def model_hash(model: np.ndarray) -> bytes:
    return sha256(model.astype("<i8").tobytes()).digest()


def play(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, signed: bool, models: Mapping[int, bytes]
) -> Liar:
    """All but the victim were given the dead model, and each client trains the one that it was given."""
    data = rig.vectors(n, LENGTH, 16, "data")
    train = SimpleNamespace(**vars(rig))
    train.vectors = lambda *_: [
        gradient(LIVE if index == VICTIM else DEAD, data[index]) for index in range(n)
    ]
    liar = Liar(train, Masking(tolerance=tolerance), n, signed=signed, models=models)
    liar.run()
    assert np.array_equal(liar.vectors[VICTIM], data[VICTIM])
    assert liar.vectors[VICTIM].any()
    return liar


@GRAPHS
def test_it_is_in_a_round_of_its_own_and_stays_closed(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, signed: bool
) -> None:
    liar = play(rig, n, tolerance, signed, {i: model_hash(LIVE if i == VICTIM else DEAD) for i in range(n)})
    assert opened(liar) == []
    assert VICTIM not in liar.answered
    assert secret(liar, VICTIM, SEED) is None
    if signed:
        assert "are not signed by" in liar.refused[VICTIM]


@GRAPHS
def test_if_no_model_were_bound_the_sum_would_be_its_update(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, signed: bool
) -> None:
    liar = play(rig, n, tolerance, signed, dict.fromkeys(range(n), NO_MODEL))
    assert opened(liar) == [set(range(n))]
    assert np.array_equal(sum(liar.vectors), liar.vectors[VICTIM])
