"""secagg.roundlog: a round is entered once, whoever asks, and the memory survives a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from secagg.roundlog import RoundLog


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
