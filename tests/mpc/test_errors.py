"""mpc.errors: whose fault it is, in words that hold no secret."""

from __future__ import annotations

import copy
import pickle

import pytest

from mpc.errors import AbortError, DecodeError, LocalError, PeerError
from mpc.party import client_id

ERRORS = [
    LocalError("bits", 1, "must be at least 2"),
    PeerError(client_id(3), "unmask", "a second request"),
    AbortError("too few", {"left": 3, "rejected": {"ana": "late"}}),
    AbortError("nothing to say"),
    DecodeError("3 bytes after the end"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_errors_cross_processes(error: Exception) -> None:
    for found in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(found) is type(error)
        assert (str(found), repr(found), vars(found)) == (str(error), repr(error), vars(error))


def test_texts() -> None:
    assert [str(error) for error in ERRORS] == [
        "bits is 1: must be at least 2",
        "client 3 in phase 'unmask': a second request",
        "too few (left = 3, rejected = {'ana': 'late'})",
        "nothing to say",
        "3 bytes after the end",
    ]


def test_a_bad_argument_is_a_value_error() -> None:
    assert isinstance(ERRORS[0], ValueError)
    assert not isinstance(ERRORS[1], ValueError)


@pytest.mark.parametrize(
    "value", [bytes(1000), list(range(1000)), 10**1000, [10**5000], {i: i for i in range(1000)}]
)
def test_large_values_are_cut_short(value: object) -> None:
    assert len(str(LocalError("it", value, "must be small"))) < 120


def test_a_sentence_is_not_cut_short() -> None:
    sentence = "numpy float64 of shape (2, 3, 4, 5), which is a long name for a small thing"
    assert sentence in str(LocalError("it", sentence, "must be another"))


def test_evidence_is_a_copy() -> None:
    evidence = {"left": 3}
    error = AbortError("too few", evidence)
    evidence["left"] = 4
    assert error.evidence == {"left": 3}
