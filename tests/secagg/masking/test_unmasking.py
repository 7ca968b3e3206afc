"""Keystreams in shards: the same sum on threads, on processes, on anybody's executor (spec section 12.4)."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.errors import AbortError, LocalError
from mpc.ring import add_masks
from mpc.tape import SeededTape
from secagg import Masking
from secagg.masking import Unmasking, unmasking
from secagg.masking.unmasking import Stream, sum_of_masks


def some_streams(count: int) -> list[Stream]:
    tape = SeededTape(b"streams")
    return [(tape.read(16), (1, -1, -1)[place % 3]) for place in range(count)]


def expected(dtype: Any, length: int, streams: list[Stream]) -> list[int]:
    total = np.arange(length, dtype=dtype)
    add_masks(total, streams)
    return total.tolist()


def found(how: Unmasking, dtype: Any, length: int, streams: list[Stream]) -> list[int]:
    total = np.arange(length, dtype=dtype)
    assert how.run(total, streams) is None
    return total.tolist()


class Remembers(Executor):
    """Runs at once what it is handed, and remembers it, as it would travel."""

    def __init__(self) -> None:
        self.tasks: list[bytes] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        self.tasks.append(pickle.dumps((function, arguments, named)))
        future: Future[Any] = Future()
        try:
            call, given, keywords = pickle.loads(self.tasks[-1])
            future.set_result(call(*given, **keywords))
        except ArithmeticError as error:
            future.set_exception(error)
        return future


@pytest.fixture(scope="module", params=["threads", "processes", "at once"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    kinds: dict[str, Callable[[], Executor]] = {
        "threads": lambda: ThreadPoolExecutor(3),
        "processes": lambda: ProcessPoolExecutor(1, get_context("spawn")),  # as on another machine
        "at once": Remembers,
    }
    with kinds[request.param]() as made:
        yield made


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("shards", [None, 1, 2, 3, 7, 50])
def test_a_given_executor_computes_the_same(executor: Executor, dtype: Any, shards: int | None) -> None:
    for length, count in ((1, 1), (1000, 7), (33, 0), (50_001, 5)):
        streams = some_streams(count)
        how = Unmasking(executor, shards)
        assert found(how, dtype, length, streams) == expected(dtype, length, streams)


@pytest.mark.parametrize("shards", [None, 1, 2, 3, 7, 50])
@pytest.mark.parametrize("shard_bytes", [1, 1000, 1 << 24])
def test_threads_of_its_own_compute_the_same(
    monkeypatch: pytest.MonkeyPatch, shards: int | None, shard_bytes: int
) -> None:
    monkeypatch.setattr(unmasking, "SHARD_BYTES", shard_bytes)
    for length, count in ((1, 1), (1000, 7), (33, 0)):
        streams = some_streams(count)
        assert found(Unmasking(shards=shards), np.uint32, length, streams) == expected(
            np.uint32, length, streams
        )


def test_threads_are_started_only_where_there_is_work_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            started.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(unmasking, "ThreadPoolExecutor", Counted)
    monkeypatch.setattr(unmasking, "SHARD_BYTES", 1000)
    found(Unmasking(shards=4), np.uint32, 10, some_streams(9))
    assert started == []
    found(Unmasking(shards=4), np.uint32, 100, some_streams(6))  # 2400 bytes: three shards
    found(Unmasking(shards=4), np.uint32, 1000, some_streams(9))
    found(Unmasking(shards=4), np.uint32, 1000, some_streams(2))  # no more shards than keystreams
    assert started == [3, 4, 2]


@pytest.mark.parametrize(("shards", "count"), [(1, 9), (2, 9), (4, 9), (9, 9), (20, 9)])
def test_each_keystream_is_in_one_shard(shards: int, count: int) -> None:
    executor = Remembers()
    found(Unmasking(executor, shards), np.uint32, 5, some_streams(count))
    tasks = [pickle.loads(task) for task in executor.tasks]
    assert len(tasks) == min(shards, count)
    assert {function for function, _, _ in tasks} == {sum_of_masks}
    handed = [stream for _, (_, _, streams), _ in tasks for stream in streams]
    assert sorted(handed) == sorted(some_streams(count))
    sizes = [len(streams) for _, (_, _, streams), _ in tasks]
    assert max(sizes) - min(sizes) <= 1


def test_a_task_holds_no_vector() -> None:
    """A worker is sent keys and a length, and so a few bytes however long the vector is."""
    executor = Remembers()
    found(Unmasking(executor, 3), np.uint64, 100_000, some_streams(6))
    assert all(len(task) < 400 for task in executor.tasks)


@pytest.mark.parametrize("lane", ["<u2", "<u4", "<u8"])
def test_what_a_worker_computes(lane: str) -> None:
    streams = some_streams(4)
    total = sum_of_masks(lane, 300, streams)
    assert (total.dtype, total.shape) == (np.dtype(lane), (300,))
    zeros = np.zeros(300, lane)
    add_masks(zeros, streams)
    assert total.tolist() == zeros.tolist()
    assert not sum_of_masks(lane, 300, []).any()


def test_what_goes_wrong_in_a_worker_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails(Remembers):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
            if len(self.tasks) == 2:
                function, arguments = divmod, (1, 0)
            return super().submit(function, *arguments, **named)

    with pytest.raises(ZeroDivisionError):
        found(Unmasking(Fails(), 4), np.uint32, 10, some_streams(8))


@pytest.mark.parametrize("sparse", [False, True])
def test_a_round_with_an_executor_has_the_same_sum(
    rig: SimpleNamespace, executor: Executor, sparse: bool
) -> None:
    vectors, tolerance = rig.vectors(9, 700, 16), rig.spared if sparse else None
    drop = {1: "masked-input", 5: "unmask"}
    plain = rig.play(Masking(tolerance=tolerance), vectors, drop=drop)
    plain.require_exact()
    backend = Masking(tolerance=tolerance, unmasking=Unmasking(executor, 3))
    outcome = rig.play(backend, vectors, drop=drop)
    outcome.require_exact()
    assert outcome.total.tolist() == plain.total.tolist()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"executor": 4}, "executor is 4: must be a concurrent.futures.Executor"),
        ({"executor": ThreadPoolExecutor}, "executor is .*: must be a concurrent.futures.Executor"),
        ({"shards": 0}, "shards is 0: must be a whole number of at least 1"),
        ({"shards": -1}, "shards is -1"),
        ({"shards": True}, "shards is True"),
        ({"shards": 1.0}, r"shards is 1\.0"),
        ({"shards": "2"}, "shards is '2'"),
    ],
    ids=str,
)
def test_misuse_is_named(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        Unmasking(**arguments)


def test_masking_takes_nothing_else() -> None:
    with pytest.raises(LocalError, match="unmasking is 3: must be an instance of Unmasking"):
        Masking(unmasking=3)  # type: ignore[arg-type]


class Spoils(Executor):
    """Gives the right answer but for the last task, of which it makes something else."""

    def __init__(self, spoil: Callable[[Any], Any], tasks: int) -> None:
        self._spoil, self._left = spoil, tasks

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        self._left -= 1
        future: Future[Any] = Future()
        answer = function(*arguments, **named)
        try:
            future.set_result(answer if self._left else self._spoil(answer))
        except RuntimeError as error:
            future.set_exception(error)
        return future


def fails(answer: Any) -> Any:
    raise RuntimeError("the pool is gone")


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (fails, RuntimeError),
        (lambda answer: answer[:1], AbortError),
        (lambda answer: answer.astype(np.uint8), AbortError),
        (lambda answer: int(answer[0]), AbortError),
        (lambda answer: None, AbortError),
    ],
)
def test_a_failed_executor_leaves_the_sum_as_it_was(
    spoil: Callable[[Any], Any], error: type[Exception]
) -> None:
    streams, total = some_streams(9), np.arange(100, dtype=np.uint32)
    with pytest.raises(error):
        Unmasking(Spoils(spoil, 3), 3).run(total, streams)
    assert total.tolist() == list(range(100))
    Unmasking(Remembers(), 3).run(total, streams)
    assert total.tolist() == expected(np.uint32, 100, streams)
