"""The steps of a round, and all of them together on real data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.client import DIGITS_SERVER_LEARNING_RATE, digits_training
from fl.data import Purpose, generator, load_digits, partition_dirichlet
from fl.fedavg import apply_update, choose_dropouts, sample_clients, weighted_mean
from fl.model import initial_weights
from mpc.errors import LocalError

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=80)
names_of = st.integers(1, 40).map(lambda count: [f"client-{index}" for index in range(count)][::-1])


@pytest.fixture
def _one_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class FixedDraw(np.random.Generator):
    """A generator whose uniform draws from [0, 1) are all the same."""

    def __new__(cls, draw: float) -> FixedDraw:
        return super().__new__(cls, np.random.PCG64(0))

    def __init__(self, draw: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._draw = draw

    def random(self, *_: object, **__: object) -> float:  # type: ignore[override]
        return self._draw


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# who takes part


@deterministic
@given(names_of, st.floats(0.001, 1.0), st.integers(0, 9))
def test_sample_has_the_right_size_and_order(names: list[str], fraction: float, seed: int) -> None:
    chosen = sample_clients(names, fraction, rng(seed))
    assert len(chosen) == max(1, round(fraction * len(names)))
    assert chosen == [name for name in names if name in set(chosen)]
    assert chosen == sample_clients(names, fraction, rng(seed))


@deterministic
@given(names_of, st.floats(0.0, 1.0), st.integers(0, 9))
def test_dropouts_are_the_expected_number_rounded(names: list[str], probability: float, seed: int) -> None:
    chosen = choose_dropouts(names, probability, rng(seed))
    assert abs(len(chosen) - probability * len(names)) < 1 + 1e-9
    assert chosen == [name for name in names if name in set(chosen)]
    assert chosen == choose_dropouts(names, probability, rng(seed))


def test_everybody_and_nobody() -> None:
    names = ["ana", "bo", "cy"]
    assert sample_clients(names, 1.0, rng()) == names
    assert choose_dropouts(names, 1.0, rng()) == names
    assert choose_dropouts(names, 0.0, rng()) == []
    assert choose_dropouts([], 0.5, rng()) == []


@pytest.mark.parametrize(("share", "count"), [(0.1, 20), (0.3, 10), (0.29, 100), (0.7, 10), (0.55, 20)])
def test_whole_numbers_of_dropouts_are_met_exactly(share: float, count: int) -> None:
    names = [str(index) for index in range(count)]
    for draw in (0.0, 0.5, float(np.nextafter(1.0, 0.0))):
        assert len(choose_dropouts(names, share, FixedDraw(draw))) == round(share * count)


def test_every_client_is_as_likely_as_the_next() -> None:
    names = [str(index) for index in range(10)]
    one = rng(1)
    sampled = Counter(name for _ in range(4000) for name in sample_clients(names, 0.3, one))
    dropped = Counter(name for _ in range(4000) for name in choose_dropouts(names, 0.25, one))
    # Five standard deviations of a binomial of 4,000 trials.
    for counts, share in ((sampled, 0.3), (dropped, 0.25)):
        bound = 5 * (4000 * share * (1 - share)) ** 0.5
        assert all(abs(counts[name] - 4000 * share) < bound for name in names)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.1, float("nan")])
def test_sampling_refuses_other_fractions(fraction: float) -> None:
    with pytest.raises(LocalError, match=r"^fraction is "):
        sample_clients(["ana"], fraction, rng())


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_dropping_refuses_other_probabilities(probability: float) -> None:
    with pytest.raises(LocalError, match=r"^probability is "):
        choose_dropouts(["ana"], probability, rng())


def test_names_are_wanted_and_distinct() -> None:
    with pytest.raises(LocalError, match=r"^names is \[\]"):
        sample_clients([], 0.5, rng())
    for draw in (sample_clients, choose_dropouts):
        with pytest.raises(LocalError, match=r"^names is \['bo'\]: must not be repeated"):
            draw(["ana", "bo", "bo"], 0.5, rng())


# averaging


def updates_of(count: int, seed: int) -> list[list[np.ndarray]]:
    one = rng(seed)
    return [[one.normal(size=(2, 3)).astype(np.float32), one.normal(size=())] for _ in range(count)]


@deterministic
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any), st.integers(0, 9))
def test_weighted_mean_is_that_of_exact_fractions(weights: list[int], seed: int) -> None:
    updates = updates_of(len(weights), seed)
    mean = weighted_mean(updates, weights)
    assert [tensor.shape for tensor in mean] == [(2, 3), ()]
    for position, tensor in enumerate(mean):
        assert tensor.dtype == np.float64
        for place in np.ndindex(tensor.shape):
            terms = [Fraction(float(update[position][place])) for update in updates]
            exact = sum(w * term for w, term in zip(weights, terms, strict=True)) / Fraction(sum(weights))
            assert float(tensor[place]) == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("weights", "argument"),
    [
        ([1], r"len\(weights\) is 1"),
        ([1, -1], r"weights\[1\] is -1"),
        ([float("nan"), 1], r"weights\[0\] is nan"),
        ([1, float("inf")], r"weights\[1\] is inf"),
        ([0, 0], "sum of weights is 0"),
    ],
)
def test_weighted_mean_refuses_other_weights(weights: list[float], argument: str) -> None:
    with pytest.raises(LocalError, match=f"^{argument}"):
        weighted_mean(updates_of(2, 0), weights)


def test_weighted_mean_refuses_updates_of_different_shapes() -> None:
    with pytest.raises(LocalError, match=r"^updates is \[\]"):
        weighted_mean([], [])
    with pytest.raises(LocalError, match=r"^shape of updates\[1\]\[0\] is \(3,\)"):
        weighted_mean([[np.zeros(2)], [np.zeros(3)]], [1, 1])
    with pytest.raises(LocalError, match=r"^len\(updates\[1\]\) is 2"):
        weighted_mean([[np.zeros(2)], [np.zeros(2)] * 2], [1, 1])


@deterministic
@given(st.sampled_from(["float16", "float32", "float64"]), st.floats(0.01, 3.0), st.integers(0, 9))
def test_apply_update_rounds_once_at_the_end(dtype: str, rate: float, seed: int) -> None:
    one = rng(seed)
    weights = [one.normal(size=(3, 2)).astype(dtype), np.array(one.normal(), dtype)]
    step = [one.normal(size=(3, 2)), np.array(one.normal())]
    before = [tensor.copy() for tensor in (*weights, *step)]
    moved = apply_update(weights, step, rate)
    for old, change, new in zip(weights, step, moved, strict=True):
        assert isinstance(new, np.ndarray)
        assert (new.dtype, new.shape) == (old.dtype, old.shape)
        for place in np.ndindex(old.shape):
            assert new[place] == np.dtype(dtype).type(float(old[place]) + rate * float(change[place]))
    assert all(np.array_equal(a, b) for a, b in zip((*weights, *step), before, strict=True))


def test_apply_update_is_not_lost_in_a_small_type() -> None:
    # 6e-8 is just over half of float32's last place at 1: rounding the sum up to it takes float64 before.
    moved = apply_update([np.ones(1, np.float32)], [np.full(1, 3e-8)], server_learning_rate=2.0)
    assert moved[0][0] == np.float32(1 + 6e-8) > 1


@pytest.mark.parametrize(
    ("weights", "step", "rate", "argument"),
    [
        (np.ones(2), np.ones(3), 1.0, r"shape of mean_update\[0\]"),
        (np.ones(2, int), np.ones(2), 1.0, r"dtype of weights\[0\]"),
        (np.ones(2), np.array([1, np.nan]), 1.0, r"updated weights\[0\] is '1 coordinates'"),
        (np.ones(2), np.array([np.inf, np.nan]), 1.0, r"updated weights\[0\] is '2 coordinates'"),
        (np.ones(2, np.float16), np.array([1e5, 0.0]), 1.0, r"updated weights\[0\] is '1 coordinates'"),
        (np.ones(1), np.full(1, 1e308), 10.0, r"updated weights\[0\]"),
        (np.ones(1), np.ones(1), 0.0, "server_learning_rate"),
        (np.ones(1), np.ones(1), float("nan"), "server_learning_rate"),
    ],
)
def test_apply_update_refuses(weights: np.ndarray, step: np.ndarray, rate: float, argument: str) -> None:
    with pytest.raises(LocalError, match=f"^{argument}"):
        apply_update([weights], [step], rate)


def test_apply_update_wants_one_step_a_tensor() -> None:
    with pytest.raises(LocalError, match=r"^len\(mean_update\) is 0"):
        apply_update([np.ones(1)], [])


# all together


def accuracy_of_plain_training(seed: int) -> float:
    """20 clients with skewed digits, a tenth of them lost in each of 15 rounds, averaged in the clear."""
    training = digits_training()
    train, test = load_digits(seed)
    parts = partition_dirichlet(train, 20, 0.5, generator(seed, Purpose.PARTITION), minimum=10)
    names = [f"client-{index:02d}" for index in range(20)]
    weights = initial_weights(training.factory, int(generator(seed, Purpose.INITIAL_MODEL).integers(2**63)))
    for number in range(15):
        dropped = choose_dropouts(names, 0.1, generator(seed, Purpose.DROPOUTS, number))
        results = [
            training(weights, part, int(generator(seed, Purpose.TRAINING, number, index).integers(2**63)))
            for index, (name, part) in enumerate(zip(names, parts, strict=True))
            if name not in dropped
        ]
        mean = weighted_mean([result.update for result in results], [result.weight for result in results])
        weights = apply_update(weights, mean, DIGITS_SERVER_LEARNING_RATE)
    return training.evaluate(weights, test).accuracy


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_plain_training_learns_the_digits(seed: int) -> None:
    pytest.importorskip("sklearn")
    assert accuracy_of_plain_training(seed) >= 0.955
