"""secagg.checks.outliers: whom the rules leave out, against oracles that look at the vectors themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from secagg import Abort, Cohort, InsecurePlain, Masking, Paillier, Reject, aggregate
from secagg.checks import CosineClusters, MultiKrum, NormBound
from secagg.checks.outliers import cosine_distances


def names(count: int) -> list[str]:
    return [f"c{index}" for index in range(count)]


def gram_of(vectors: Any) -> np.ndarray:
    rows = np.asarray(vectors, np.float64)
    return rows @ rows.T


def whole_vectors(count: int, length: int, seed: int) -> np.ndarray:
    """Of small integers, so that float64 is exact and ties are ties."""
    return np.random.default_rng(seed).integers(-9, 10, (count, length)).astype(np.float64)


def krum_oracle(vectors: np.ndarray, byzantine: int, keep: int) -> tuple[list[float], set[int]]:
    """Scores, and who is refused: from Blanchard et al. 2017, on the vectors."""
    count = len(vectors)
    scores = []
    for i in range(count):
        others = sorted(
            sum((a - b) ** 2 for a, b in zip(vectors[i], vectors[j], strict=True))
            for j in range(count)
            if j != i
        )
        scores.append(float(sum(others[: count - byzantine - 2])))
    best = sorted(range(count), key=lambda i: (scores[i], i))[:keep]
    return scores, set(range(count)) - set(best)


def refused(verdicts: Sequence[Any]) -> set[str]:
    assert all(isinstance(verdict, Reject) for verdict in verdicts)
    return {verdict.client for verdict in verdicts}


@given(data=st.data())
def test_krum_is_that_of_the_vectors(data: st.DataObject) -> None:
    byzantine = data.draw(st.integers(0, 4), "byzantine")
    count = data.draw(st.integers(2 * byzantine + 3, 16), "count")
    keep = data.draw(st.none() | st.integers(1, count), "keep")
    vectors = whole_vectors(count, data.draw(st.integers(1, 5), "length"), data.draw(st.integers(0, 99)))
    rule = MultiKrum(byzantine, keep)
    scores, expected = krum_oracle(vectors, byzantine, count - byzantine if keep is None else keep)
    assert rule.scores(gram_of(vectors)).tolist() == scores
    assert refused(rule.select(gram_of(vectors), names(count))) == {f"c{i}" for i in expected}


def test_krum_says_the_score_and_the_bound() -> None:
    vectors = np.array([[0.0], [1.0], [2.0], [1.0], [50.0]])
    scores, _ = krum_oracle(vectors, 1, 4)
    (verdict,) = MultiKrum(1).select(gram_of(vectors), names(5))
    assert isinstance(verdict, Reject)
    assert verdict.client == "c4"
    assert verdict.evidence == {"score": scores[4], "bound": sorted(scores)[3]}
    assert verdict.reason == "its Krum score 4705 is not among the 4 lowest, of up to 2"


def test_of_equals_the_earlier_ones_are_kept() -> None:
    assert refused(MultiKrum(1).select(gram_of(np.ones((7, 3))), names(7))) == {"c6"}


def test_krum_takes_2f_plus_3_clients_and_those_to_keep() -> None:
    for rule, count in ((MultiKrum(2), 6), (MultiKrum(0, keep=5), 4)):
        (verdict,) = rule.select(gram_of(whole_vectors(count, 3, 1)), names(count))
        assert isinstance(verdict, Abort)
        assert f"{count} are left" in verdict.reason
        cohort = Cohort(bytes(16), 0, tuple(names(count)), 2, 3, 8, bytes(32))
        with pytest.raises(LocalError, match=f"takes a cohort of {count + 1} or more"):
            rule.check_cohort(cohort)


def clusters_oracle(vectors: np.ndarray, distance: float) -> list[set[int]]:
    """Agglomeration by single linkage, one merge at a time."""

    def apart(i: int, j: int) -> float:
        lengths = np.linalg.norm(vectors[i]) * np.linalg.norm(vectors[j])
        return 1.0 - float(vectors[i] @ vectors[j] / lengths) if lengths else 1.0

    clusters = [{i} for i in range(len(vectors))]
    while True:
        pairs = [
            (min(apart(i, j) for i in one for j in two), one, two)
            for place, one in enumerate(clusters)
            for two in clusters[:place]
        ]
        closest = min(pairs, key=lambda pair: pair[0], default=(math.inf, set(), set()))
        if closest[0] > distance:
            return clusters
        clusters = [one for one in clusters if one not in closest[1:]] + [closest[1] | closest[2]]


@given(
    count=st.integers(1, 12),
    length=st.integers(1, 4),
    seed=st.integers(0, 99),
    distance=st.sampled_from([0.0131, 0.11, 0.317, 0.713, 1.0117, 1.7]),
    share=st.sampled_from([0.5, 0.75]),
)
def test_clusters_are_those_of_the_vectors(
    count: int, length: int, seed: int, distance: float, share: float
) -> None:
    vectors = whole_vectors(count, length, seed)
    verdicts = CosineClusters(share, distance).select(gram_of(vectors), names(count))
    kept = max(clusters_oracle(vectors, distance), key=len)
    if len(kept) <= share * count:
        assert isinstance(verdicts[0], Abort)
        assert verdicts[0].evidence == {"largest": len(kept), "clients": count}
    else:
        assert refused(verdicts) == {f"c{i}" for i in set(range(count)) - kept}


def test_opposite_and_idle_clients_are_refused_whatever_their_length() -> None:
    vectors = np.array([[1.0, 0.1], [100.0, 1.0], [1.0, -0.1], [-1.0, 0.0], [0.0, 0.0]])
    verdicts = CosineClusters().select(gram_of(vectors), names(5))
    assert refused(verdicts) == {"c3", "c4"}
    assert isinstance(verdicts[0], Reject)
    assert verdicts[0].evidence["kept"] == 3
    assert verdicts[0].evidence["distance"] == pytest.approx(1 + 1 / math.hypot(1, 0.1))
    assert verdicts[0].evidence["bound"] == 0.7


def test_cosine_distances_lie_from_0_to_2() -> None:
    found = cosine_distances(gram_of([[1.0, 0.0], [3.0, 0.0], [-2.0, 0.0], [0.0, 5.0], [0.0, 0.0]]))
    assert found[0].tolist() == [0.0, 0.0, 2.0, 1.0, 1.0]
    assert found[4].tolist() == [1.0] * 5


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: MultiKrum(-1), "byzantine is -1: must be a whole number of at least 0"),
        (lambda: MultiKrum(True), "byzantine is True"),
        (lambda: MultiKrum(1, keep=0), "keep is 0: must be a whole number of at least 1"),
        (lambda: MultiKrum(1, projections=7), "projections is 7: must be a whole number from 8 to 4096"),
        (lambda: CosineClusters(0.49), "min_share is 0.49: must be from 0.5 to below 1"),
        (lambda: CosineClusters(1.0), "min_share is 1.0"),
        (lambda: CosineClusters(distance=0.0), "distance is 0.0: must be above 0 and below 2"),
        (lambda: CosineClusters(distance=math.nan), "distance is nan"),
    ],
)
def test_arguments_are_checked(make: Any, complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        make()


@pytest.mark.parametrize("backend", [InsecurePlain(), Masking(), Paillier(insecure_key_bits=256)])
@pytest.mark.parametrize("rule", [MultiKrum(0), CosineClusters()])
def test_other_backends_refuse_rules_by_name(backend: Any, rule: Any) -> None:
    updates = {name: [np.ones(3)] for name in names(5)}
    with pytest.raises(LocalError, match=f"checks is '{rule.name}'.*SecretSharing has"):
        aggregate(updates, backend=backend, checks=[rule])
    assert backend.leakage_of([NormBound(1.0)]) == backend.leakage
