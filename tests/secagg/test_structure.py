"""secagg.structure: any update to flat arrays and back, and clear words for what is none."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

from mpc.errors import LocalError
from secagg.structure import require_same, take_apart

torch = pytest.importorskip("torch")
Pair = namedtuple("Pair", "weight bias")
A, B = np.arange(6.0).reshape(2, 3), np.arange(4.0, dtype=np.float32)


def there_and_back(update: Any) -> Any:
    structure, arrays = take_apart("ana", update)
    assert structure.sizes == tuple(array.size for array in arrays)
    flat = np.concatenate([np.asarray(array, np.float64).reshape(-1) for array in arrays])
    return structure.rebuild(flat)


@pytest.mark.parametrize(
    ("update", "kind"),
    [
        ([A, B], list),
        ((A, B), tuple),
        (Pair(A, B), tuple),
        ({"w": A, "b": B}, dict),
        (OrderedDict(w=A, b=B), dict),
        ({1: A, 2: B}, dict),
        ([A], list),
    ],
)
def test_containers(update: Any, kind: type) -> None:
    found = there_and_back(update)
    assert type(found) is kind
    if kind is dict:
        assert list(found) == list(update)
        found, update = list(found.values()), list(update.values())
    for one, other in zip(found, update, strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize(
    "array",
    [
        A,
        A.T,
        A[::-1, ::2],
        np.float32(1.5),
        np.array(2.5),
        np.empty((0, 3)),
        A.astype(np.float16),
        A.astype(">f4"),
        A.astype(np.longdouble),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays(array: Any) -> None:
    found = there_and_back(array)
    assert isinstance(found, np.ndarray)
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize("numbers", [[1.0, 2.5], (1, 2), [1, 0.5], [np.float64(1.5), 2.0]])
def test_a_row_of_numbers_is_one_tensor(numbers: Any) -> None:
    found = there_and_back(numbers)
    assert found.dtype == np.float64
    assert found.tolist() == list(numbers)


FLOATS = ["float16", "bfloat16", "float32", "float64"]
FLOATS += ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]


@pytest.mark.parametrize("dtype", FLOATS)
def test_tensors(dtype: str) -> None:
    tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)).requires_grad_()
    found = there_and_back({"w": tensor, "s": tensor[1, 2]})
    assert found["w"].dtype == tensor.dtype
    assert not found["w"].requires_grad
    assert torch.equal(found["w"].float(), tensor.float())
    assert found["s"].shape == ()
    assert found["s"] == tensor[1, 2]


def test_views_of_tensors() -> None:
    conjugate = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert conjugate.is_neg()
    for tensor in (torch.arange(6.0).reshape(2, 3).T, torch.ones(1).expand(5), conjugate):
        assert torch.equal(there_and_back(tensor), tensor)


def test_what_comes_back_is_the_callers_own() -> None:
    flat = np.zeros(6)
    structure, _ = take_apart("ana", A)
    mine = structure.rebuild(flat)
    mine += 1
    theirs = take_apart("ana", torch.zeros(2, 3, dtype=torch.float64))[0].rebuild(flat)
    theirs += 1
    assert flat.tolist() == [0.0] * 6


@pytest.mark.parametrize(
    ("update", "complaint"),
    [
        (None, "tensor 0 is 'NoneType': must be a numpy array or a torch tensor"),
        ("weights", "tensor 0 is 'str': must be a numpy array"),
        (1.5, "tensor 0 is 'float': must be a numpy array"),
        ([], r"update of client 'ana' is \[\]: must hold at least one tensor"),
        ({}, "is {}: must hold at least one tensor"),
        ([A, None], "tensor 1 is 'NoneType': must be a numpy array"),
        ({"w": A, "b": "x"}, "tensor b is 'str': must be a numpy array"),
        ([[1.0, 2.0], [3.0]], "tensor 0 is 'list': must be a numpy array"),
        ([True, False], "tensor 0 is 'bool': must be a numpy array"),
        ([10**400, 1], "update of client 'ana' is '2 numbers': must be numbers that float64 holds"),
        (torch.zeros(2, dtype=torch.uint8).view(torch.float8_e8m0fnu), "is 'float8_e8m0fnu': must be one of"),
        (
            torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
            "is 'float4_e2m1fn_x2': must be one",
        ),
        (np.ones(2, int), "tensor 0 is 'int64': must be of a floating-point dtype"),
        (np.ones(2, bool), "is 'bool': must be of a floating-point dtype"),
        (np.ones(2, complex), "is 'complex128': must be of a floating-point dtype"),
        (np.array([1.0, None]), "is 'object': must be of a floating-point dtype"),
        (np.array(["1.0"]), "is '<U3': must be of a floating-point dtype"),
        ([np.int64(1), np.int64(2)], "tensor 0 is 'int64': must be of a floating-point dtype"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), "is 'masked array': must have no mask"),
        (torch.ones(2, dtype=torch.int32), "is 'int32': must be of a floating-point dtype"),
        (torch.ones(2, dtype=torch.complex64), "is 'complex64': must be of a floating-point dtype"),
        (torch.ones(2).to_sparse(), "is 'torch.sparse_coo on cpu': must be a dense tensor with data"),
        (torch.ones(2, device="meta"), "is 'torch.strided on meta': must be a dense tensor with data"),
    ],
)
def test_what_is_no_update_is_named(update: Any, complaint: str) -> None:
    with pytest.raises(LocalError, match=f"update of client 'ana'.*{complaint}|{complaint}"):
        take_apart("ana", update)


def test_numbers_are_not_shown() -> None:
    with pytest.raises(LocalError) as caught:
        take_apart("ana", [0.15625, 10**400])
    assert "156" not in str(caught.value)
    assert "000" not in str(caught.value)


LARGEST = [
    (np.zeros(2, np.float16), 65504.0),
    (np.zeros(2, ">f2"), 65504.0),
    (np.zeros(2, np.float32), float(np.finfo(np.float32).max)),
    (np.zeros(2), float(np.finfo(np.float64).max)),
    (np.zeros(2, np.longdouble), float(np.finfo(np.float64).max)),
    (torch.zeros(2, dtype=torch.float16), 65504.0),
    (torch.zeros(2, dtype=torch.bfloat16), 2.0**128 - 2.0**120),
    (torch.zeros(2, dtype=torch.float8_e4m3fn), 448.0),
    (torch.zeros(2, dtype=torch.float8_e5m2), 57344.0),
    (torch.zeros(2, dtype=torch.float64), float(np.finfo(np.float64).max)),
]


@pytest.mark.parametrize(("tensor", "largest"), LARGEST, ids=lambda given: str(given))
def test_a_clip_beyond_the_dtype_is_refused(tensor: Any, largest: float) -> None:
    structure, _ = take_apart("ana", {"wide": np.zeros(3), "narrow": tensor})
    structure.check_clip(largest)
    if largest < 1e300:
        with pytest.raises(
            LocalError, match=r"clip is .*: must be at most .*, which tensor narrow is of"
        ) as caught:
            structure.check_clip(np.nextafter(largest, np.inf))
        assert f"{largest}, the largest {structure.tensors[1].dtype}," in str(caught.value)
    with pytest.raises(LocalError, match=r"at most 65504.0, the largest float16, which tensor 1 is of"):
        take_apart("ana", [np.zeros(1), np.zeros(2, np.float16)])[0].check_clip(2.0**17)


@pytest.mark.parametrize(("tensor", "largest"), LARGEST, ids=lambda given: str(given))
def test_what_is_beyond_the_dtype_becomes_its_largest(tensor: Any, largest: float) -> None:
    structure, _ = take_apart("ana", tensor)
    beyond = min(largest, 1e300) * 1e6
    found = structure.rebuild(np.array([beyond, -beyond]))
    assert found.dtype == tensor.dtype
    expected = min(largest, beyond)
    assert [float(value) for value in found] == [expected, -expected]


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ((A, B), "update of client 'bo' is 'tuple of 2 tensors': .* that of client 'ana': list of 2 tensors"),
        ([A], "'list of 1 tensors': must be put together like that of client 'ana': list of 2 tensors"),
        ({"w": A, "b": B}, "'dict of 2 tensors': must be put together like"),
        (A, "'single of 1 tensors': must be put together like"),
        ([A, B.astype(float)], "tensor 1 is 'numpy float64 of shape .* numpy float32 of shape"),
        ([A.T, B], r"tensor 0 is 'numpy float64 of shape \(3, 2\)': must match .* \(2, 3\)"),
        ([A, torch.from_numpy(B)], "tensor 1 is 'torch float32 of shape .* numpy float32 of shape"),
    ],
)
def test_clients_must_agree(other: Any, complaint: str) -> None:
    expected, _ = take_apart("ana", [A, B])
    with pytest.raises(LocalError, match=complaint):
        require_same("ana", expected, "bo", take_apart("bo", other)[0])


@pytest.mark.parametrize(
    ("mine", "theirs", "complaint"),
    [
        ({"w": A}, {"v": A}, "dict of 1 tensors named w"),
        ({1: A}, {2: A}, "dict of 1 tensors named 1"),
        ({"w": A, "v": A}, {"v": A, "w": A}, "dict of 2 tensors named w, v"),
        ({"w": A, "v": B}, {"w": A, "v": A}, "tensor v is 'numpy float64"),
    ],
)
def test_names_of_tensors_must_agree(mine: Any, theirs: Any, complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        require_same("ana", take_apart("ana", mine)[0], "bo", take_apart("bo", theirs)[0])


def test_the_same_structure_is_the_same() -> None:
    require_same("ana", take_apart("ana", [A, B])[0], "bo", take_apart("bo", [A + 1, B * 2])[0])
