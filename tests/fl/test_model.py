"""Models come apart and back together to the bit, and nothing that does not fit is let through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fl.model import check_weights, digits_network, flatten, initial_weights, seeded, unflatten
from mpc.errors import LocalError

torch = pytest.importorskip("torch")

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=60)
tensors = st.sampled_from(["<f2", "<f4", "<f8", ">f4"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def normalised() -> Any:
    """A network with a batch normalisation: two float statistics, and a counter that is not float."""
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


@deterministic
@given(st.lists(tensors, max_size=4))
def test_arrays_come_back_to_the_bit(model: list[np.ndarray]) -> None:
    weights, layout = flatten(model)
    again = unflatten(weights, layout)
    assert len(weights) == len(again) == len(model)
    assert layout.size == sum(array.size for array in model)
    for original, weight, restored in zip(model, weights, again, strict=True):
        assert weight.shape == restored.shape == original.shape
        native = original.astype(original.dtype.newbyteorder("="))
        assert weight.tobytes() == restored.tobytes() == native.tobytes()


def test_state_dict_comes_back_to_the_bit_and_in_order() -> None:
    model = normalised()
    model(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)))
    state = model.state_dict()
    weights, layout = flatten(state)
    again = unflatten(weights, layout, kept=state)
    assert list(again) == list(state)
    for name, tensor in state.items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor)
    fresh = normalised()
    fresh.load_state_dict(again, strict=True)
    probe = torch.ones(2, 3)
    assert torch.equal(fresh.eval()(probe), model.eval()(probe))


def test_counters_are_kept_out_of_the_weights_and_lent_back() -> None:
    state = normalised().state_dict()
    weights, layout = flatten(state)
    assert [entry.name for entry in layout.kept] == ["1.num_batches_tracked"]
    assert len(weights) == len(layout.averaged) == len(state) - 1
    assert all(array.dtype == np.float32 for array in weights)
    with pytest.raises(LocalError, match=r"^kept is None: .*1\.num_batches_tracked"):
        unflatten(weights, layout)
    lender = {"1.num_batches_tracked": torch.tensor(7)}
    assert int(unflatten(weights, layout, kept=lender)["1.num_batches_tracked"]) == 7
    with pytest.raises(LocalError, match=r"has no entry 1\.num_batches_tracked"):
        unflatten(weights, layout, kept={})
    with pytest.raises(LocalError, match=r"^dtype of 1\.num_batches_tracked is 'float32'"):
        unflatten(weights, layout, kept={"1.num_batches_tracked": torch.tensor(7.0)})
    with pytest.raises(LocalError, match=r"^shape of 1\.num_batches_tracked is \(1,\)"):
        unflatten(weights, layout, kept={"1.num_batches_tracked": torch.tensor([7])})


def test_integer_arrays_of_a_list_are_kept_too() -> None:
    model = [np.ones(2, np.float32), np.array([5, 6]), np.zeros((1, 1))]
    weights, layout = flatten(model)
    assert [array.shape for array in weights] == [(2,), (1, 1)]
    assert unflatten(weights, layout, kept=model)[1].tolist() == [5, 6]


def test_nothing_shares_memory() -> None:
    model = [np.ones(2), np.array([1])]
    weights, layout = flatten(model)
    again = unflatten(weights, layout, kept=model)
    assert not any(np.shares_memory(a, b) for a in (*weights, *model) for b in again)
    assert not np.shares_memory(weights[0], model[0])
    state = torch.nn.Linear(2, 2).state_dict()
    flat, named = flatten(state)
    restored = unflatten(flat, named)
    before = state["weight"].clone()
    flat[0] += 1
    assert torch.equal(state["weight"], before)
    assert torch.equal(restored["weight"], before)


@pytest.mark.parametrize(
    ("tensor", "argument"),
    [
        (lambda: torch.ones(2, dtype=torch.bfloat16), "dtype of w is 'torch.bfloat16'"),
        (lambda: torch.ones(2, dtype=torch.complex64), "dtype of w is 'complex64'"),
        (lambda: torch.ones(2).to_sparse(), "dtype of w is "),
        (lambda: np.ones(2), "entry w is 'ndarray'"),
        (lambda: {"extra": "state"}, "entry w is 'dict'"),
    ],
)
def test_unusual_tensors_are_refused_by_name(tensor: Callable[[], Any], argument: str) -> None:
    with pytest.raises(LocalError, match=f"^{argument}"):
        flatten({"b": torch.ones(1), "w": tensor()})


@pytest.mark.parametrize("entry", [np.array(["text"]), np.array([None]), np.ones(1, complex)])
def test_unusual_arrays_are_refused_by_position(entry: np.ndarray) -> None:
    with pytest.raises(LocalError, match=r"^dtype of \[1\] is "):
        flatten([np.ones(1), entry])


def test_a_list_of_other_things_is_refused() -> None:
    with pytest.raises(LocalError, match=r"^entry \[0\] is 'list'"):
        flatten([[1.0, 2.0]])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("weights", "argument"),
    [
        ([np.ones((2, 3), np.float32)], r"len\(weights\) is 1"),
        ([np.ones((2, 3), np.float32), np.ones(2, np.float32), np.ones(1)], r"len\(weights\) is 3"),
        ([np.ones((3, 2), np.float32), np.ones(2, np.float32)], r"shape of weight is \(3, 2\)"),
        ([np.ones((2, 3), np.float32), np.ones((), np.float32)], r"shape of bias is \(\)"),
        ([np.ones((2, 3), np.float32), np.ones(2)], "dtype of bias is 'float64'"),
        ([np.ones((2, 3), np.float32), [1.0, 1.0]], "entry bias is 'list'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(weights: list[Any], argument: str) -> None:
    _, layout = flatten(torch.nn.Linear(3, 2).state_dict())
    for check in (check_weights, unflatten):
        with pytest.raises(LocalError, match=f"^{argument}"):
            check(weights, layout)


def test_layouts_are_equal_when_models_can_be_averaged() -> None:
    linear = flatten(torch.nn.Linear(3, 2).state_dict())[1]
    assert linear == flatten(torch.nn.Linear(3, 2).state_dict())[1]
    assert linear != flatten(torch.nn.Linear(2, 3).state_dict())[1]
    assert linear != flatten(torch.nn.Linear(3, 2).double().state_dict())[1]
    assert linear != flatten([np.ones((2, 3), np.float32), np.ones(2, np.float32)])[1]


def test_digits_network_has_the_declared_size_and_shape() -> None:
    network = digits_network()
    assert flatten(network.state_dict())[1].size == 64 * 64 + 64 + 64 * 10 + 10 == 4810
    assert network(torch.zeros(3, 64)).shape == (3, 10)


def test_initial_weights_follow_the_seed_and_leave_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, same, other = (initial_weights(digits_network, seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_seeded_gives_the_generator_back_after_an_error() -> None:
    def fail() -> None:
        with seeded(1):
            torch.rand(3)
            raise KeyError

    before = torch.random.get_rng_state()
    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(LocalError, match=r"^seed is "):
        initial_weights(digits_network, seed)
