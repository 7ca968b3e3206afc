"""The sharing messages: what encodes decodes to the same, and nothing else decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import field
from mpc.errors import DecodeError
from mpc.tape import SeededTape
from secagg.sealed import SEAL_OVERHEAD
from secagg.sharing.messages import (
    Decision,
    JudgedShare,
    RelayedShare,
    SharedInput,
    SumRequest,
    SumShare,
)
from secagg.sharing.scheme import Fault, PlainShares

MEMBERS, LENGTH, AGGREGATORS = 11, 6, 3
SIZES = PlainShares(b"", LENGTH, AGGREGATORS).sizes
deterministic = settings(derandomize=True, deadline=None, max_examples=50)


def boxes(aggregators: int = AGGREGATORS) -> list[bytes]:
    tape = SeededTape(b"boxes")
    return [tape.read(size + SEAL_OVERHEAD) for size in SIZES[:aggregators]]


ENCODED: dict[str, tuple[bytes, int, Callable[[bytes], Any]]] = {
    "SharedInput": (
        SharedInput(boxes()).encode(),
        SharedInput.size(SIZES),
        lambda data: SharedInput.decode(data, SIZES),
    ),
    "JudgedShare": (
        JudgedShare(4, Fault.RANGE).encode(),
        JudgedShare.size(),
        lambda data: JudgedShare.decode(data, MEMBERS),
    ),
    "Decision": (Decision(4, True).encode(), Decision.size(), lambda data: Decision.decode(data, MEMBERS)),
    "SumRequest": (
        SumRequest((0, 3, 10)).encode(MEMBERS),
        SumRequest.size(MEMBERS),
        lambda data: SumRequest.decode(data, MEMBERS),
    ),
    "SumShare": (
        SumShare(field.random(LENGTH, SeededTape(b"sum"))).encode(),
        SumShare.size(LENGTH),
        lambda data: SumShare.decode(data, LENGTH),
    ),
}


@pytest.mark.parametrize("name", ENCODED)
def test_sizes_and_lengths_are_exact(name: str) -> None:
    data, size, decode = ENCODED[name]
    assert len(data) == size
    decode(data)
    for wrong in (b"", data[:-1], data + b"\0", data + data):
        with pytest.raises(DecodeError):
            decode(wrong)


@deterministic
@given(
    client=st.integers(0, MEMBERS - 1),
    fault=st.sampled_from(Fault),
    clients=st.sets(st.integers(0, MEMBERS - 1)),
    counts=st.booleans(),
)
def test_small_messages_come_back(client: int, fault: Fault, clients: set[int], counts: bool) -> None:
    judged, decision, request = (
        JudgedShare(client, fault),
        Decision(client, counts),
        SumRequest(tuple(sorted(clients))),
    )
    assert JudgedShare.decode(judged.encode(), MEMBERS) == judged
    assert Decision.decode(decision.encode(), MEMBERS) == decision
    assert SumRequest.decode(request.encode(MEMBERS), MEMBERS) == request


def test_shares_come_back() -> None:
    decoded = SharedInput.decode(SharedInput(boxes()).encode(), SIZES)
    assert [bytes(box) for box in decoded.sealed] == boxes()
    for size, box in zip(SIZES, boxes(), strict=True):
        data = RelayedShare(7, box).encode()
        assert len(data) == RelayedShare.size(size)
        relayed = RelayedShare.decode(data, MEMBERS)
        assert (relayed.client, bytes(relayed.sealed)) == (7, box)
    elements = field.random(LENGTH, SeededTape(b"sum"))
    np.testing.assert_array_equal(SumShare.decode(SumShare(elements).encode(), LENGTH).elements, elements)


def test_only_the_first_aggregator_gets_a_share_of_the_vectors_size() -> None:
    assert PlainShares(b"", 1000, 4).sizes == (8000, 16, 16, 16)


@pytest.mark.parametrize(
    ("decode", "data", "told"),
    [
        (lambda d: JudgedShare.decode(d, 11), b"\x0b\0\0\0\0", "client 11 is not one of the 11 members"),
        (lambda d: JudgedShare.decode(d, 11), b"\x0a\0\0\0\x04", "fault 4"),
        (lambda d: Decision.decode(d, 11), b"\xff\xff\xff\xff\0", "client 4294967295"),
        (lambda d: Decision.decode(d, 11), b"\0\0\0\0\x02", "0 or 1, not 2"),
        (lambda d: RelayedShare.decode(d, 11), b"\x0b\0\0\0box", "client 11"),
        (lambda d: RelayedShare.decode(d, 11), b"\x0b\0\0", "ends after 3 bytes"),
        (lambda d: SumRequest.decode(d, 11), b"\x01\x08", "bit set beyond"),
        (lambda d: SumShare.decode(d, 1), b"\x01\0\0\0\xff\xff\xff\xff", "not canonical"),
    ],
)
def test_what_no_honest_party_sends(decode: Callable[[bytes], object], data: bytes, told: str) -> None:
    with pytest.raises(DecodeError, match=told):
        decode(data)


def test_shares_stay_out_of_reprs() -> None:
    elements = np.array([12345678901234567], np.uint64)
    for message in (SharedInput(boxes()), RelayedShare(1, b"secret box"), SumShare(elements)):
        assert "12345678901234567" not in repr(message)
        assert "secret" not in repr(message)
        assert boxes()[1].hex() not in repr(message)
        assert str(boxes()[1]) not in repr(message)
