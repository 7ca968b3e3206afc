"""Local training: against a slow oracle in NumPy, deterministic, and without side effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fl.client import Evaluation, LocalTraining, LocalUpdate, TorchTraining, digits_training
from fl.data import Dataset
from fl.model import Weights, digits_network, flatten, initial_weights
from mpc.errors import LocalError

torch = pytest.importorskip("torch")

CLASSES, FEATURES = 3, 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def samples(count: int, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, FEATURES)).astype(np.float32)
    return Dataset(features, rng.integers(CLASSES, size=count))


def linear() -> Any:
    return torch.nn.Linear(FEATURES, CLASSES)


def with_dropout() -> Any:
    return torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(FEATURES, CLASSES))


def with_counter() -> Any:
    return torch.nn.Sequential(torch.nn.BatchNorm1d(FEATURES), torch.nn.Linear(FEATURES, CLASSES))


def same(left: Weights, right: Weights) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def descend_in_numpy(
    weights: Weights, data: Dataset, epochs: int, rate: float, momentum: float, smoothing: float
) -> Weights:
    """Full-batch gradient descent with momentum on a softmax regression, in float64: the update."""
    matrix, bias = (array.astype(np.float64) for array in weights)
    features = data.features.astype(np.float64)
    target = np.full((len(data), CLASSES), smoothing / CLASSES)
    target[np.arange(len(data)), data.labels] += 1 - smoothing
    speed = [np.zeros_like(matrix), np.zeros_like(bias)]
    for _ in range(epochs):
        error = (softmax(features @ matrix.T + bias) - target) / len(data)
        speed = [momentum * speed[0] + error.T @ features, momentum * speed[1] + error.sum(axis=0)]
        matrix, bias = matrix - rate * speed[0], bias - rate * speed[1]
    return [matrix - weights[0], bias - weights[1]]


@pytest.mark.parametrize(
    ("epochs", "rate", "momentum", "smoothing"),
    [(1, 0.5, 0.0, 0.0), (4, 0.2, 0.0, 0.0), (5, 0.2, 0.9, 0.0), (3, 0.1, 0.5, 0.3)],
)
def test_full_batches_descend_as_the_formula_says(
    epochs: int, rate: float, momentum: float, smoothing: float
) -> None:
    weights, data = initial_weights(linear, 1), samples(30)
    training = TorchTraining(linear, epochs, 30, rate, momentum, smoothing)
    result = training(weights, data, seed=2)
    expected = descend_in_numpy(weights, data, epochs, rate, momentum, smoothing)
    assert max(np.abs(array).max() for array in expected) > 0.01
    for found, wanted in zip(result.update, expected, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_evaluation_is_as_the_formula_says() -> None:
    weights, data = initial_weights(linear, 1), samples(50)
    found = TorchTraining(linear, 1, 10, 0.1).evaluate(weights, data)
    likely = softmax(data.features @ weights[0].T + weights[1])
    assert found.accuracy == (likely.argmax(axis=1) == data.labels).mean()
    assert found.loss == pytest.approx(-np.log(likely[np.arange(50), data.labels]).mean(), rel=1e-5)


def test_result_says_what_was_trained_on_and_how_well_it_fits() -> None:
    weights, data = initial_weights(linear, 1), samples(37)
    training = TorchTraining(linear, 3, 8, 0.1, label_smoothing=0.5)
    result = training(weights, data, seed=2)
    assert isinstance(result, LocalUpdate)
    assert result.weight == 37
    trained = [old + step for old, step in zip(weights, result.update, strict=True)]
    after = training.evaluate(trained, data)
    assert result.metrics == {
        "loss": pytest.approx(after.loss, rel=1e-6),  # old + (new - old) rounds
        "accuracy": pytest.approx(after.accuracy),
    }
    assert after.loss < training.evaluate(weights, data).loss


def test_an_update_shows_nothing_of_itself() -> None:
    assert repr(LocalUpdate([np.array([0.625])], 1717, {"loss": 0.3125})) == "LocalUpdate()"


@pytest.mark.parametrize(("count", "limit", "sizes"), [(33, 16, [11] * 3), (5, 9, [5]), (10, 4, [4, 3, 3])])
def test_each_epoch_sees_every_sample_once_in_near_equal_batches(
    count: int, limit: int, sizes: list[int]
) -> None:
    seen: list[Any] = []

    class Recorder(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()

        def forward(self, features: Any) -> Any:
            if self.training:
                seen.append(features.numpy().copy())
            return self.inner(features)

    data = samples(count)
    TorchTraining(Recorder, 2, limit, 0.1)(initial_weights(Recorder, 0), data, seed=4)
    assert [len(batch) for batch in seen] == sizes * 2
    first, second = np.concatenate(seen[: len(sizes)]), np.concatenate(seen[len(sizes) :])
    everything = sorted(map(tuple, data.features))
    assert sorted(map(tuple, first)) == sorted(map(tuple, second)) == everything
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("factory", [linear, with_dropout, with_counter])
def test_same_seed_same_update_to_the_bit(factory: Callable[[], Any]) -> None:
    weights, data = initial_weights(factory, 1), samples(40)
    training = TorchTraining(factory, 2, 8, 0.1, 0.9)
    first = training(weights, data, seed=7)
    torch.manual_seed(123)
    torch.rand(5)
    again, other = training(weights, data, seed=7), training(weights, data, seed=8)
    assert same(first.update, again.update)
    assert first.metrics == again.metrics
    assert not same(first.update, other.update)


def test_nothing_outside_is_touched() -> None:
    weights, data = initial_weights(with_dropout, 1), samples(20)
    copies = [array.copy() for array in weights]
    features, labels = data.features.copy(), data.labels.copy()
    training = TorchTraining(with_dropout, 1, 8, 0.1)
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    training(weights, data, seed=3)
    training.evaluate(weights, data)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert same(weights, copies)
    assert np.array_equal(data.features, features)
    assert np.array_equal(data.labels, labels)


def test_read_only_weights_are_enough() -> None:
    weights = initial_weights(linear, 1)
    for array in weights:
        array.setflags(write=False)
    TorchTraining(linear, 1, 8, 0.1)(weights, samples(20), seed=3)


def test_batch_normalisation_averages_its_statistics_and_not_its_counter() -> None:
    weights, data = initial_weights(with_counter, 1), samples(24)
    result = TorchTraining(with_counter, 1, 24, 0.01)(weights, data, seed=0)
    names = [entry.name for entry in flatten(with_counter().state_dict())[1].averaged]
    assert "0.num_batches_tracked" not in names
    steps = dict(zip(names, result.update, strict=True))
    # One batch, and torch's default momentum of 0.1 from a running mean of zero.
    np.testing.assert_allclose(steps["0.running_mean"], 0.1 * data.features.mean(axis=0), atol=1e-6)


def test_scalar_parameters_stay_arrays() -> None:
    class Scaled(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))
            self.inner = linear()

        def forward(self, features: Any) -> Any:
            return self.scale * self.inner(features)

    result = TorchTraining(Scaled, 1, 4, 0.1)(initial_weights(Scaled, 0), samples(9), seed=0)
    assert all(isinstance(array, np.ndarray) for array in result.update)
    assert result.update[0].shape == ()


def test_any_callable_is_local_training() -> None:
    def lazy(weights: Weights, data: Dataset, seed: int) -> LocalUpdate:
        return LocalUpdate([np.zeros_like(array) for array in weights], len(data), {})

    for training in (lazy, TorchTraining(linear, 1, 8, 0.1)):
        checked: LocalTraining = training
        assert checked(initial_weights(linear, 0), samples(5), 0).weight == 5


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": -0.1}, "momentum"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, float], argument: str) -> None:
    arguments: dict[str, Any] = {"epochs": 1, "batch_size": 8, "learning_rate": 0.1, **changed}
    with pytest.raises(LocalError, match=f"^{argument} is "):
        TorchTraining(linear, **arguments)


def test_calls_that_cannot_be_served_are_refused() -> None:
    weights, data = initial_weights(linear, 1), samples(5)
    training = TorchTraining(linear, 1, 8, 0.1)
    nobody = data.take(np.array([], dtype=np.int64))
    for call in (lambda: training(weights, nobody, 0), lambda: training.evaluate(weights, nobody)):
        with pytest.raises(LocalError, match=r"^len\(data\) is 0"):
            call()
    for seed in (-1, 2**63):
        with pytest.raises(LocalError, match=r"^seed is "):
            training(weights, data, seed)
    with pytest.raises(LocalError, match=r"^shape of bias is "):
        training([weights[0], weights[1][:2]], data, 0)
    with pytest.raises(LocalError, match=r"^dtype of weight is 'float64'"):
        training.evaluate([weights[0].astype(float), weights[1]], data)


def test_digits_training_fits_the_digits_network() -> None:
    training = digits_training()
    weights = initial_weights(digits_network, 0)
    data = Dataset(np.zeros((2, 64), np.float32), np.array([0, 1]))
    assert isinstance(training.evaluate(weights, data), Evaluation)
    assert [array.shape for array in training(weights, data, 0).update] == [(64, 64), (64,), (10, 64), (10,)]


def test_a_module_in_place_of_its_factory_is_refused_at_once() -> None:
    for factory in (linear(), None, 5):
        with pytest.raises(
            LocalError, match=f"^factory is '{type(factory).__name__}': must make a new module"
        ):
            TorchTraining(factory, 1, 8, 0.1)
    with pytest.raises(LocalError, match=r"^factory is 'int': must make a torch module"):
        TorchTraining(lambda: 5, 1, 8, 0.1).evaluate([], samples(4))  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([1, 2], "data is 'list': must be a Dataset"),
        (Dataset(np.zeros((3, 4), np.float32), np.zeros(3)), "labels is .*float64.*: must be int64"),
        (Dataset(np.zeros((3, 4), np.float32), np.zeros((3, 1), np.int64)), "labels is .*one class a sample"),
        (Dataset(np.array([["a"]]), np.zeros(1, np.int64)), "features is .*must be numbers"),
    ],
)
def test_classification_takes_samples_with_a_class_each(data: Any, text: str) -> None:
    with pytest.raises(LocalError, match=f"^{text}"):
        TorchTraining(linear, 1, 8, 0.1)(initial_weights(linear, 1), data, seed=1)
