"""secagg.roundlog: a round is entered once, whoever asks, and the memory survives a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mpc.errors import DecodeError, LocalError
from secagg.roundlog import RoundLog, decode_entry, encode_entry


def test_a_round_is_entered_once() -> None:
    log, one, other = RoundLog(), bytes(16), bytes([1] * 16)
    assert log.enter(one, 0)
    assert not log.enter(one, 0)
    assert log.enter(one, 1)
    assert log.enter(other, 0)
    assert log.entries() == ((one, 0), (one, 1), (other, 0))
    restored = RoundLog(log.entries())
    assert restored.entries() == log.entries()
    assert not restored.enter(other, 0)
    assert restored.enter(other, 1)
    assert repr(restored) == "RoundLog(4 rounds)"


def test_of_many_threads_one_enters() -> None:
    log = RoundLog()
    with ThreadPoolExecutor(8) as pool:
        for round in range(50):
            assert sum(pool.map(lambda _, r=round: log.enter(bytes(16), r), range(8))) == 1


ENTRIES = ((bytes(16), 0), (bytes(range(16)), 2**32 - 1))
ENCODED = RoundLog(ENTRIES).encode()


def test_a_log_survives_its_encoding() -> None:
    count = (2).to_bytes(4, "little")
    assert b"\1" + count + bytes(20) + bytes(range(16)) + b"\xff" * 4 == ENCODED
    assert RoundLog.decode(ENCODED).entries() == ENTRIES
    assert RoundLog.decode(memoryview(RoundLog().encode())).entries() == ()
    assert RoundLog.decode(bytes.fromhex(ENCODED.hex())).encode() == ENCODED
    assert [decode_entry(encode_entry(entry)) for entry in ENTRIES] == list(ENTRIES)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "ends after"),
        (b"\2" + ENCODED[1:], "round log of version 2, where 1 is known"),
        (ENCODED[:-1], "ends after"),
        (ENCODED + b"\0", "1 bytes after the end"),
        (b"\1\2\0\0\0" + 2 * ENCODED[5:25], "a round stands twice"),
        (b"\1" + b"\xff" * 4, "ends after"),
    ],
)
def test_what_is_no_log_does_not_decode(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        RoundLog.decode(data)


@pytest.mark.parametrize(
    "entry",
    [
        *(None, (bytes(16),), bytes(2)),
        *((bytes(15), 0), ("a" * 16, 0)),
        *((bytes(16), -1), (bytes(16), 2**32), (bytes(16), True), (bytes(16), 1.0)),
    ],
)
def test_entries_that_no_round_has(entry: object) -> None:
    with pytest.raises(LocalError, match=r"^entries is"):
        RoundLog([entry])  # type: ignore[list-item]


def test_pairs_from_json_will_do() -> None:
    assert RoundLog([[bytes.fromhex("00" * 16), 3]]).entries() == ((bytes(16), 3),)  # type: ignore[list-item]
