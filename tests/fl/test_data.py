"""Datasets, splits and partitions: every sample ends up in exactly one place."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.data import (
    Dataset,
    Purpose,
    generator,
    load_digits,
    partition_dirichlet,
    partition_iid,
    stratified_split,
)
from mpc.errors import LocalError

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=60)


def numbered(labels: list[int]) -> Dataset:
    """A dataset whose only feature is the number of the sample."""
    features = np.arange(len(labels), dtype=np.float32).reshape(-1, 1)
    return Dataset(features, np.array(labels, dtype=np.int64))


def numbers(dataset: Dataset) -> list[int]:
    return [int(number) for number in dataset.features[:, 0]]


def random_labels(count: int, classes: int, seed: int = 0) -> list[int]:
    return [int(label) for label in np.random.default_rng(seed).integers(classes, size=count)]


# generator


def test_generator_is_a_function_of_seed_purpose_and_path() -> None:
    def draw(*arguments: int) -> int:
        seed, purpose, *path = arguments
        return int(generator(seed, Purpose(purpose), *path).integers(2**62))

    keys = [(0, 1), (1, 1), (2**32, 1), (2**64, 1), (0, 2), (0, 2, 0), (0, 2, 1), (0, 2, 1, 0), (0, 2, 0, 1)]
    draws = [draw(*key) for key in keys]
    assert draws == [draw(*key) for key in keys]
    assert len(set(draws)) == len(keys)


@pytest.mark.parametrize(
    ("seed", "path", "argument"),
    [(-1, (), "seed"), (2**128, (), "seed"), (0, (3, -2), r"path\[1\]"), (0, (2**32,), r"path\[0\]")],
)
def test_generator_refuses_numbers_out_of_range(seed: int, path: tuple[int, ...], argument: str) -> None:
    with pytest.raises(LocalError, match=f"^{argument} is "):
        generator(seed, Purpose.SPLIT, *path)


# Dataset


def test_dataset_has_a_length_and_takes_copies() -> None:
    whole = numbered([3, 1, 4, 1, 5])
    part = whole.take(np.array([4, 1]))
    assert (len(whole), len(part), numbers(part), part.labels.tolist()) == (5, 2, [4, 1], [5, 1])
    part.features[0] = 9
    assert numbers(whole) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("features", "labels", "argument"),
    [
        ([[1.0]], [1], "features is 'list': must be a NumPy array"),
        (np.zeros((2, 3)), [1, 2], "labels is 'list': must be a NumPy array"),
        (np.zeros(()), np.zeros(1), "features is "),
        (np.zeros((2, 3)), np.zeros(()), "labels is "),
        (np.zeros((2, 3)), np.zeros(3), "labels is 'of 3 samples': must be of the 2 samples"),
    ],
)
def test_dataset_refuses_what_is_not_one_sample_a_row(features: Any, labels: Any, argument: str) -> None:
    with pytest.raises(LocalError, match=f"^{argument}"):
        Dataset(features, labels)


def test_dataset_holds_tokens_and_targets_and_does_not_show_them() -> None:
    data = Dataset(np.arange(12).reshape(3, 4), np.full((3, 2), 0.125))
    assert len(data.take(np.array([2, 0]))) == 2
    assert repr(data) == "Dataset(3 samples)"
    with pytest.raises(LocalError, match=r"^labels is 'of shape \(3, 2\)'"):
        partition_dirichlet(data, 2, 1.0, np.random.default_rng(0))


# splits


@deterministic
@given(st.lists(st.integers(0, 3), max_size=60), st.floats(0.01, 0.99), st.integers(0, 5))
def test_split_uses_every_sample_once_and_is_stratified(
    labels: list[int], fraction: float, seed: int
) -> None:
    train, test = stratified_split(numbered(labels), fraction, np.random.default_rng(seed))
    assert sorted(numbers(train) + numbers(test)) == list(range(len(labels)))
    for part in (train, test):
        assert part.labels.tolist() == [labels[number] for number in numbers(part)]
    for label in set(labels):
        assert test.labels.tolist().count(label) == round(fraction * labels.count(label))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_split_refuses_fractions_outside_the_open_interval(fraction: float) -> None:
    with pytest.raises(LocalError, match=r"^test_fraction is "):
        stratified_split(numbered([0, 1]), fraction, np.random.default_rng(0))


def test_digits_are_all_there_scaled_and_split_by_seed() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    raw, raw_labels = datasets.load_digits(return_X_y=True)
    train, test = load_digits(3)
    features = np.concatenate([train.features, test.features]) * 16
    rows = np.column_stack([features, np.concatenate([train.labels, test.labels])])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, np.column_stack([raw, raw_labels])))
    assert (train.features.min(), train.features.max()) == (0.0, 1.0)
    for label in range(10):
        assert (test.labels == label).sum() == round(0.2 * (raw_labels == label).sum())
    again, other = load_digits(3), load_digits(4)
    assert np.array_equal(test.features, again[1].features)
    assert np.array_equal(train.labels, again[0].labels)
    assert not np.array_equal(test.features, other[1].features)


# partitions


@deterministic
@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 5))
def test_iid_partition_is_even_and_exact(samples: int, clients: int, seed: int) -> None:
    whole = numbered(random_labels(samples, 3))
    if clients > samples:
        with pytest.raises(LocalError, match=r"^clients is "):
            partition_iid(whole, clients, np.random.default_rng(seed))
        return
    parts = partition_iid(whole, clients, np.random.default_rng(seed))
    assert len(parts) == clients
    assert sorted(number for part in parts for number in numbers(part)) == list(range(samples))
    assert {len(part) for part in parts} <= {samples // clients, -(-samples // clients)}


@deterministic
@given(
    st.integers(1, 120),
    st.integers(1, 30),
    st.sampled_from([1e-3, 0.05, 0.5, 5.0, 1e6]),
    st.integers(1, 8),
    st.integers(0, 5),
)
def test_dirichlet_partition_is_exact_and_leaves_nobody_short(
    samples: int, clients: int, alpha: float, minimum: int, seed: int
) -> None:
    labels = random_labels(samples, 4)
    rng = np.random.default_rng(seed)
    if clients * minimum > samples:
        with pytest.raises(LocalError, match=r"^clients is "):
            partition_dirichlet(numbered(labels), clients, alpha, rng, minimum)
        return
    parts = partition_dirichlet(numbered(labels), clients, alpha, rng, minimum)
    assert len(parts) == clients
    assert min(map(len, parts)) >= minimum
    assert sorted(number for part in parts for number in numbers(part)) == list(range(samples))
    for part in parts:
        assert part.labels.tolist() == [labels[number] for number in numbers(part)]


@pytest.mark.parametrize("alpha", [0.1, 0.5, 10.0])
def test_dirichlet_partition_deals_each_label_in_the_drawn_proportions(alpha: float) -> None:
    labels = random_labels(500, 5)
    parts = partition_dirichlet(numbered(labels), 4, alpha, np.random.default_rng(8))
    rng = np.random.default_rng(8)
    dealt: list[list[int]] = [[], [], [], []]
    for label in range(5):
        members = [number for number in range(500) if labels[number] == label]
        shuffled = list(rng.permutation(members))
        end, start = 0.0, 0
        for client, share in enumerate(rng.dirichlet([alpha] * 4)):
            end += share
            stop = len(members) if client == 3 else round(end * len(members))
            dealt[client] += shuffled[start:stop]
            start = stop
    assert min(map(len, dealt)) >= 1  # so that nothing had to be moved
    assert [numbers(part) for part in parts] == [sorted(numbers_) for numbers_ in dealt]


def test_alpha_sets_the_skew() -> None:
    whole = numbered(random_labels(2000, 10))

    def labels_held(alpha: float) -> float:
        parts = partition_dirichlet(whole, 10, alpha, np.random.default_rng(1))
        return sum(len(set(part.labels.tolist())) for part in parts) / 10

    assert labels_held(0.01) < 3 < labels_held(0.5) < 9.5 < labels_held(1e6) == 10
    even = partition_dirichlet(whole, 10, 1e6, np.random.default_rng(1))
    for label in range(10):
        counts = [(part.labels == label).sum() for part in even]
        assert max(counts) - min(counts) <= 2


def test_no_sample_to_spare_gives_everybody_the_minimum() -> None:
    parts = partition_dirichlet(numbered([0] * 60), 12, 1e-3, np.random.default_rng(0), minimum=5)
    assert [len(part) for part in parts] == [5] * 12


def test_partitions_follow_the_seed_alone() -> None:
    whole = numbered(random_labels(300, 10))
    for cut in (partition_iid, lambda *a: partition_dirichlet(*a[:2], 0.5, a[2])):
        first, same, other = (cut(whole, 7, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert [numbers(part) for part in first] == [numbers(part) for part in same]
        assert [numbers(part) for part in first] != [numbers(part) for part in other]


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"clients": 0}, "clients"),
        ({"clients": 11}, "clients"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"alpha": float("inf")}, "alpha"),
        ({"minimum": 0}, "minimum"),
        ({"minimum": 6}, "clients"),
    ],
)
def test_dirichlet_refuses_what_cannot_be_had(changed: dict[str, float], argument: str) -> None:
    arguments = {"clients": 2, "alpha": 0.5, "rng": np.random.default_rng(0), **changed}
    with pytest.raises(LocalError, match=f"^{argument} is "):
        partition_dirichlet(numbered([0] * 10), **arguments)


# extras


def test_without_the_demo_extra_it_imports_and_says_what_to_install() -> None:
    program = """
import sys
for missing in ("torch", "sklearn"):
    sys.modules[missing] = None
import numpy as np
from mpc.errors import LocalError
import fl, fl.data, fl.model, fl.client, fl.fedavg, fl.checkpoint
weights, layout = fl.model.flatten([np.ones(3)])
assert fl.model.unflatten(weights, layout)[0].sum() == 3
data = fl.data.Dataset(np.zeros((1, 64), np.float32), np.zeros(1, np.int64))
training = fl.client.digits_training()
for call in (
    lambda: fl.data.load_digits(0),
    lambda: fl.model.digits_network(),
    lambda: fl.model.initial_weights(fl.model.digits_network, 0),
    lambda: training(weights, data, 0),
    lambda: training.evaluate(weights, data),
):
    try:
        call()
    except LocalError as error:
        assert "not installed" in str(error), error
        assert "pip install -c constraints.txt -e '.[demo]'" in str(error), error
    else:
        raise SystemExit("it should have failed")
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
