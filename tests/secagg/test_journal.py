"""secagg.journal: a file that is whole up to its last record, and a lock on it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mpc.errors import LocalError
from secagg import journal as journal_module
from secagg.journal import Journal

RECORDS = [b"first", b"", b"third record", bytes(100)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "party"


@pytest.fixture(autouse=True)
def _disk_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)


def write(path: Path, records: list[bytes] = RECORDS) -> bytes:
    journal = Journal(path)
    journal.restart(records[0])
    for record in records[1:]:
        journal.append(record, sync=True)
    assert journal.size == path.stat().st_size
    journal.close()
    return path.read_bytes()


def read(path: Path) -> list[bytes]:
    journal = Journal(path)
    journal.close()
    return journal.records


def test_what_is_written_is_read(path: Path) -> None:
    assert read(path) == []
    assert not path.exists()
    write(path)
    assert read(path) == RECORDS


def test_it_goes_on_where_it_was(path: Path) -> None:
    write(path)
    again = Journal(path)
    again.append(b"fifth", sync=False)
    again.close()
    assert read(path) == [*RECORDS, b"fifth"]


def test_a_restart_leaves_one_record(path: Path) -> None:
    write(path)
    again = Journal(path)
    again.restart(b"new")
    again.append(b"next", sync=False)
    assert again.size == path.stat().st_size
    again.close()
    assert read(path) == [b"new", b"next"]


def test_it_begins_with_a_restart(path: Path) -> None:
    with pytest.raises(LocalError, match=r"begins with restart\(\)"):
        Journal(path).append(b"record", sync=True)


def ends(records: list[bytes]) -> list[int]:
    """Where in the file each record ends."""
    total, found = 10, []
    for record in records:
        total += Journal.span(record)
        found.append(total)
    return found


def test_a_torn_record_is_cut_off_at_whatever_byte_it_ends(path: Path) -> None:
    data = write(path)
    whole = ends(RECORDS)
    assert whole[-1] == len(data)
    for size in range(whole[0], len(data)):
        path.write_bytes(data[:size])
        there = sum(end <= size for end in whole)
        assert read(path) == RECORDS[:there]
        assert path.stat().st_size == whole[there - 1]
        again = Journal(path)
        again.append(b"instead", sync=True)
        again.close()
        assert read(path) == [*RECORDS[:there], b"instead"]


def test_a_file_without_a_whole_first_record_is_damaged(path: Path) -> None:
    data = write(path)
    for size in range(ends(RECORDS)[0]):
        path.write_bytes(data[:size])
        with pytest.raises(LocalError, match=r"is no journal of version 1|its first record is not whole"):
            Journal(path)


def test_a_changed_byte_is_found_wherever_it_is(path: Path) -> None:
    """Also in the last record: it is all there, so it may have been acted upon."""
    data = write(path)
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(LocalError, match=r"is no journal of version 1|is damaged in the record at byte"):
            Journal(path)
        assert path.stat().st_size == len(data)


def test_records_stay_in_their_places(path: Path) -> None:
    same = [b"one.", b"two.", b"two.", b"four"]
    data = write(path, same)
    first, second, third, fourth = (data[a:b] for a, b in zip([10, *ends(same)], ends(same), strict=False))
    for mixed in ((first, third, second), (first, second, second), (first, third), (first, second, fourth)):
        path.write_bytes(b"".join((data[:10], *mixed)))
        with pytest.raises(LocalError, match="is damaged"):
            Journal(path)


def test_of_two_journals_no_records_are_mixed(path: Path) -> None:
    one = write(path)
    other = write(path, [b"other", *RECORDS[1:]])
    start = ends(RECORDS)[0]
    assert len(one) == len(other)
    path.write_bytes(one[:start] + other[start:])
    with pytest.raises(LocalError, match="is damaged"):
        Journal(path)


@pytest.mark.parametrize("content", [b"", b"text", bytes(100), b"\x93SECAGGJ\2\0" + bytes(100)])
def test_what_is_no_journal_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(LocalError, match="is no journal of version 1"):
        Journal(path)
    assert path.read_bytes() == content


def test_only_its_owner_may_read_it(path: Path) -> None:
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for mode in (0o640, 0o604, 0o620, 0o700):
        path.chmod(mode)
        with pytest.raises(LocalError, match=f"has permissions {mode:o}; what holds secrets must have 600"):
            Journal(path)


def test_a_link_in_its_place_is_not_followed(path: Path) -> None:
    other = path.with_name("other")
    write(other)
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        Journal(path)


def test_one_holder_at_a_time(path: Path) -> None:
    first = Journal(path)
    with pytest.raises(LocalError, match="is open already, in this process or another"):
        Journal(path)
    first.restart(b"record")
    with pytest.raises(LocalError, match="is open already"):
        Journal(path)
    first.close()
    first.close()
    assert read(path) == [b"record"]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_another_process_is_kept_out_and_a_dead_one_is_no_obstacle(path: Path) -> None:
    program = f"""
import os, signal
from secagg.journal import Journal
journal = Journal({str(path)!r})
journal.restart(b"record")
print("open", flush=True)
input()
os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(LocalError, match="is open already"):
            Journal(path)
        process.communicate("die\n")
    assert process.returncode == -9
    assert read(path) == [b"record"]


def test_a_lock_on_a_name_that_is_no_more_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its opening and its locking the holder removes the lock file, and a third one makes another."""
    holder = Journal(path)
    flock, thirds = journal_module.fcntl.flock, []

    def late(file: int, operation: int) -> None:
        if not thirds:
            thirds.append(None)
            holder.close()
            thirds.append(Journal(path))
        flock(file, operation)

    monkeypatch.setattr(
        journal_module, "fcntl", SimpleNamespace(**{**vars(journal_module.fcntl), "flock": late})
    )
    with pytest.raises(LocalError, match="is open already"):
        Journal(path)


def test_removing(path: Path) -> None:
    write(path)
    journal = Journal(path)
    path.with_name(".party.partial").write_bytes(b"left behind")
    journal.remove()
    assert list(path.parent.iterdir()) == []
    with pytest.raises(LocalError, match="is closed here"):
        journal.remove()


def test_what_a_killed_process_left_is_written_over(path: Path) -> None:
    path.with_name(".party.partial").write_bytes(b"left behind")
    path.with_name(".party.lock").write_bytes(b"")
    write(path)
    assert read(path) == RECORDS


class Calls:
    """The system's calls, noted; the one of this number fails, a write after half of its bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: int | None = None) -> None:
        self.names: list[str] = []
        self._failing = failing
        monkeypatch.setattr(journal_module, "os", self)

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        if name not in ("write", "fsync", "replace", "ftruncate"):
            return call

        def noted(*arguments: Any) -> Any:
            self.names.append(name)
            if len(self.names) - 1 == self._failing:
                if name == "write":
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(28, "no space left")
            return call(*arguments)

        return noted


def test_what_is_to_be_on_the_disk_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, calls = Journal(path), Calls(monkeypatch)
    journal.restart(b"record")
    assert calls.names == ["write", "write", "fsync", "replace", "fsync"]
    calls.names.clear()
    journal.append(b"quick", sync=False)
    journal.append(b"safe", sync=True)
    assert calls.names == ["write", "write", "fsync"]


def test_a_write_that_stops_short_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_MOST_AT_ONCE", 7)
    write(path)
    assert read(path) == RECORDS


STEPS: dict[str, tuple[Callable[[Journal], None], list[bytes]]] = {
    "append": (lambda journal: journal.append(b"next", sync=True), [*RECORDS, b"next"]),
    "restart": (lambda journal: journal.restart(b"new"), [b"new"]),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_at_any_call_leaves_old_or_new(path: Path, step: str) -> None:
    act, after = STEPS[step]
    for failing in range(10):
        path.unlink(missing_ok=True)
        write(path)
        with pytest.MonkeyPatch.context() as patch:
            journal, calls = Journal(path), Calls(patch, failing)
            if failing >= {"append": 2, "restart": 5}[step]:
                act(journal)
                assert len(calls.names) == failing
                return
            with pytest.raises(OSError, match="no space left"):
                act(journal)
            journal.close()
        assert read(path) in (RECORDS, after)
    raise AssertionError("the step never ended")
