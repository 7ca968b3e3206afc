"""A client that is started twice for one round, with the same vector and new keys.

Each of the two sums is over enough clients, and they differ by one vector. Key holders and aggregators keep a
log of the rounds that they have opened (``secagg.roundlog``); a masking client keeps none.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from secagg import Masking
from secagg.masking import Tolerance
from tests.attacks.clients import SPARSE
from tests.attacks.liar import LENGTH, Liar, View
from tests.attacks.opening import Opening, opened

VICTIM = 3


@pytest.mark.xfail(reason="masking clients keep no log of the rounds that they took part in", strict=True)
@pytest.mark.parametrize(("n", "tolerance"), [(7, None), (12, SPARSE)], ids=["complete", "sparse"])
def test_it_does_not_send_its_vector_twice(rig: SimpleNamespace, n: int, tolerance: Tolerance | None) -> None:
    vectors = rig.vectors(n, LENGTH, 16)
    same = SimpleNamespace(**{**vars(rig), "vectors": lambda *_: vectors})
    sums = []
    for attempt, gone in enumerate((set[int](), {VICTIM})):
        liar = Liar(same, Masking(tolerance=tolerance), n, seed=f"attempt {attempt}")
        alive = liar.everybody - gone
        liar.run(dict.fromkeys(sorted(alive), View(liar.everybody, alive)))
        assert opened(liar) == [alive]
        sums.append(np.array(Opening(liar).unmask(alive)))
    assert not np.array_equal(sums[0] - sums[1], vectors[VICTIM])
