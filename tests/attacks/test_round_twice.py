"""A client that is started twice for one round, with the same vector and new keys.

Each of the two sums is over enough clients, and they differ by one vector. A client with a log takes part in
a round once, as key holders and aggregators do (``secagg.roundlog``).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mpc.errors import LocalError
from secagg import Masking
from secagg.masking import Tolerance
from secagg.roundlog import RoundLog
from tests.attacks.clients import SPARSE
from tests.attacks.liar import LENGTH, Liar, View
from tests.attacks.opening import Opening, opened

VICTIM = 3
GRAPHS = pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])


def twice(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None, logs: dict[int, RoundLog]
) -> tuple[np.ndarray, np.ndarray]:
    """The difference of two sums of one round, and the vector of the one who was left out of the second."""
    vectors = rig.vectors(n, LENGTH, 16)
    same = SimpleNamespace(**{**vars(rig), "vectors": lambda *_: vectors})
    sums = []
    for attempt, gone in enumerate((set[int](), {VICTIM})):
        liar = Liar(same, Masking(tolerance=tolerance), n, seed=f"attempt {attempt}", logs=logs)
        alive = liar.everybody - gone
        liar.run(dict.fromkeys(sorted(alive), View(liar.everybody, alive)))
        assert opened(liar) == [alive]
        sums.append(np.array(Opening(liar).unmask(alive)))
    return sums[0] - sums[1], vectors[VICTIM]


@GRAPHS
def test_with_a_log_it_takes_part_once(rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> None:
    log = RoundLog()
    with pytest.raises(LocalError, match="client 'c3' has taken part in it already"):
        twice(rig, n, tolerance, {VICTIM: log})
    assert len(log.entries()) == 1


@GRAPHS
def test_without_one_its_vector_would_be_open(
    rig: SimpleNamespace, n: int, tolerance: Tolerance | None
) -> None:
    difference, vector = twice(rig, n, tolerance, {})
    assert np.array_equal(difference, vector)
