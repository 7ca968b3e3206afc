"""mpc.tape: uniform, reproducible, and never read twice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.tape import RandomTape, RecordedTape, SeededTape, SystemTape, every_tape


def test_a_seeded_tape_is_its_seed() -> None:
    assert SeededTape(b"a").read(100) == SeededTape(b"a").read(100)
    assert SeededTape(b"a").read(100) != SeededTape(b"b").read(100)
    assert SeededTape(b"").read(16) != SeededTape(b"\0").read(16)


@given(st.lists(st.integers(0, 300), max_size=8))
def test_a_tape_is_read_from_the_front(counts: list[int]) -> None:
    whole = SeededTape(b"front").read(sum(counts))
    tape = SeededTape(b"front")
    assert b"".join(tape.read(count) for count in counts) == whole


def test_children_do_not_move_their_parent() -> None:
    tape, other = SeededTape(b"x"), SeededTape(b"x")
    tape.child("a").read(1000)
    assert tape.read(64) == other.read(64)


def test_children_are_told_apart_by_their_labels() -> None:
    tape = SeededTape(b"x")
    heads = {
        tape.read(32),
        tape.child("").read(32),
        tape.child("a").read(32),
        tape.child("b").read(32),
        tape.child("ab").read(32),
        tape.child("a").child("b").read(32),
        tape.child("b").child("a").read(32),
        SeededTape(b"y").child("a").read(32),
    }
    assert len(heads) == 8
    tape.read(5)
    assert tape.child("a").read(32) == SeededTape(b"x").child("a").read(32)


def test_the_seed_does_not_stand_on_the_tape() -> None:
    assert b"secret seed" not in SeededTape(b"secret seed").read(4096)


def test_the_systems_tape_never_repeats() -> None:
    tape = SystemTape()
    assert len(tape.read(33)) == 33
    assert len({tape.read(16) for _ in range(100)} | {tape.child("a").read(16) for _ in range(100)}) == 200


def test_a_recorded_tape_ends() -> None:
    tape = RecordedTape(b"abcdef")
    assert (tape.read(2), tape.read(0), tape.read(3)) == (b"ab", b"", b"cde")
    with pytest.raises(LocalError, match="count is 2: the tape has 1 bytes left"):
        tape.read(2)
    assert tape.read(1) == b"f"


@pytest.mark.parametrize("tape", [SeededTape(b"x"), RecordedTape(b"abcdef")], ids=repr)
def test_no_tape_is_read_backwards(tape: RandomTape) -> None:
    first = tape.read(2)
    with pytest.raises(LocalError, match="count is -1: must be at least 0"):
        tape.read(-1)
    assert tape.read(2) != first


@pytest.mark.parametrize("bound", [1, 2, 3, 5, 255, 256, 257, 2**16, 2**64, 10**30])
def test_below_stays_below(bound: int) -> None:
    tape = SeededTape(b"below")
    drawn = [tape.below(bound) for _ in range(200)]
    assert all(0 <= value < bound for value in drawn)
    assert bound < 100 or max(drawn) > bound // 2


@pytest.mark.parametrize("bound", [0, -1])
def test_below_nothing_there_is_nothing(bound: int) -> None:
    with pytest.raises(LocalError, match=f"bound is {bound}: must be at least 1"):
        SeededTape(b"").below(bound)


@pytest.mark.parametrize("bound", [1, 2, 3, 4, 5, 100, 128, 255, 256])
def test_below_is_exactly_uniform(bound: int) -> None:
    """Over all tapes of one byte: every value equally often, and the rest rejected for want of bytes."""
    counts: Counter[int] = Counter()
    for tape in every_tape(1):
        try:
            counts[tape.below(bound)] += 1
        except LocalError:
            counts[-1] += 1
    rejected = counts.pop(-1, 0)
    assert set(counts) == set(range(bound))
    assert len(set(counts.values())) == 1
    assert rejected + sum(counts.values()) == 256
    assert rejected < 128


def test_every_tape_is_every_tape() -> None:
    assert sorted(tape.read(1) for tape in every_tape(1)) == [bytes([value]) for value in range(256)]
    assert len({tape.read(2) for tape in every_tape(2)}) == 65536
    assert [tape.read(0) for tape in every_tape(0)] == [b""]


@pytest.mark.parametrize("tape", [SystemTape(), SeededTape(b"seed"), RecordedTape(b"content")])
def test_a_tape_shows_nothing_of_itself(tape: RandomTape) -> None:
    assert repr(tape) == f"{type(tape).__name__}(<secret>)"
