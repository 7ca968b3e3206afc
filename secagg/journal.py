"""Journal: a file of records that is whole up to its last record, whatever is killed when (spec section 5.1).

The file: magic (8 bytes) ‖ version (2) ‖ records. A record: length (8) ‖ check (8) ‖ content ‖ digest (32);
digest = SHA-256(digest before ‖ length ‖ content), check = the first bytes of SHA-256(digest before ‖
length). So no record is cut, changed, moved or left out unnoticed, but for a row of them at the end.

A record that ends too early was being written when the power went or the process died: it is cut off. A
record that is all there and wrong is damage. POSIX only: it takes ``flock`` and an atomic rename.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from mpc.errors import LocalError

MAGIC = b"\x93SECAGGJ"  # a first byte outside ASCII, as in .npy and .png, since no text file starts so
VERSION = 1
_PREFIX = MAGIC + VERSION.to_bytes(2, "little")
_LENGTH_BYTES, _CHECK_BYTES, _DIGEST_BYTES = 8, 8, 32
_HEADER_BYTES = _LENGTH_BYTES + _CHECK_BYTES
_OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST_AT_ONCE = 1 << 30  # systems write less than 2 GiB in one call
_WORTH_A_CALL = 1 << 16
Piece = bytes | memoryview


class Journal:
    """The file at ``path``, for one process at a time, and its ``records``: none if it is not there yet.

    Raises ``LocalError`` for a file that another process has open, that others than its owner may read or
    write, that is no journal, or that is damaged. What raises anything else leaves a journal to be closed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.records: list[bytes] = []
        self.size = 0
        """Bytes of the file."""
        self._digest = b""
        self._file = -1
        self._lock = self._take_lock(self._beside("lock"))
        try:
            if os.path.lexists(self.path):
                self._read()
        except BaseException:
            self.close()
            raise

    def append(self, *pieces: Piece, sync: bool) -> None:
        """Add a record. When this returns it is with the system, and if ``sync`` all are on the disk."""
        if not self.size:
            raise LocalError("journal", str(self.path), "begins with restart()")
        self._digest = _write(self._file, self._digest, pieces)
        self.size += self.span(*pieces)
        if sync:
            os.fsync(self._file)

    def restart(self, record: bytes) -> None:
        """Replace the file by one with this record alone, or leave it as it was: never a mixture."""
        partial = self._beside("partial")
        partial.unlink(missing_ok=True)  # what a killed process has left
        new = os.open(partial, _FLAGS | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        try:
            _write_all(new, (_PREFIX,))
            digest = _write(new, _start(), (record,))
            os.fsync(new)
            os.replace(partial, self.path)
            self._sync_folder()
        except BaseException:
            os.close(new)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._digest = new, digest
        self.size = len(_PREFIX) + self.span(record)

    @staticmethod
    def span(*pieces: Piece) -> int:
        """Bytes of the file that a record of these pieces takes."""
        return _HEADER_BYTES + sum(map(len, pieces)) + _DIGEST_BYTES

    @property
    def closed(self) -> bool:
        return self._lock < 0

    def close(self) -> None:
        """Let go of the file. Again, or after an error, it does no harm."""
        if self._file >= 0:
            os.close(self._file)
        if self._lock >= 0:
            self._beside("lock").unlink(missing_ok=True)  # while it is held, see _take_lock
            os.close(self._lock)
        self._file = self._lock = -1

    def remove(self) -> None:
        """Delete the file and close; ``LocalError`` if this is closed already, and it may be another's."""
        if self.closed:
            raise self._refuse("is closed here: open it again to remove it")
        for path in (self.path, self._beside("partial")):
            path.unlink(missing_ok=True)
        self._sync_folder()
        self.close()

    def _take_lock(self, path: Path) -> int:
        """The open lock file. The lock goes when its holder dies; a file left behind is no obstacle."""
        while True:
            lock = os.open(path, _FLAGS | os.O_CREAT, _OWNER_ONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise self._refuse("is open already, in this process or another") from None
            # Its last holder removed the file before it let go: a lock on a name that is no more is none.
            if _same_file(lock, path):
                return lock
            os.close(lock)

    def _beside(self, what: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{what}")

    def _sync_folder(self) -> None:
        """Make a change in the folder survive a power cut."""
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self) -> None:
        self._file = os.open(self.path, _FLAGS)
        mode = stat.S_IMODE(os.fstat(self._file).st_mode)
        if mode & ~_OWNER_ONLY:
            raise self._refuse(f"has permissions {mode:o}; what holds secrets must have 600")
        if _read_up_to(self._file, len(_PREFIX)) != _PREFIX:
            raise self._refuse(f"is no journal of version {VERSION}")
        self._digest, self.size = _start(), len(_PREFIX)
        while (record := self._next()) is not None:
            self.records.append(record)
            self.size += self.span(record)
        if not self.records:
            raise self._refuse("is damaged: its first record is not whole")
        if os.fstat(self._file).st_size > self.size:
            os.ftruncate(self._file, self.size)
            os.fsync(self._file)
        os.lseek(self._file, self.size, os.SEEK_SET)

    def _next(self) -> bytes | None:
        """The next record; None where the file ends, be it within a record."""
        header = _read_up_to(self._file, _HEADER_BYTES)
        if len(header) < _HEADER_BYTES:
            return None
        length = header[:_LENGTH_BYTES]
        if header[_LENGTH_BYTES:] != _check(self._digest, length):
            raise self._refuse(f"is damaged in the record at byte {self.size}")
        count = int.from_bytes(length, "little")
        if os.fstat(self._file).st_size - self.size < _HEADER_BYTES + count + _DIGEST_BYTES:
            return None
        record = _read_up_to(self._file, count)
        digest = _hash(self._digest, length, (record,))
        if _read_up_to(self._file, _DIGEST_BYTES) != digest:
            raise self._refuse(f"is damaged in the record at byte {self.size}")
        self._digest = digest
        return record

    def _refuse(self, reason: str) -> LocalError:
        return LocalError("path", str(self.path), reason)


def _same_file(opened: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened), os.stat(path))
    except FileNotFoundError:
        return False


def _start() -> bytes:
    return hashlib.sha256(_PREFIX).digest()


def _check(before: bytes, length: bytes) -> bytes:
    return hashlib.sha256(before + length).digest()[:_CHECK_BYTES]


def _hash(before: bytes, length: bytes, pieces: Sequence[Piece]) -> bytes:
    digest = hashlib.sha256(before + length)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _write(file: int, before: bytes, pieces: Sequence[Piece]) -> bytes:
    """Write a record, and give its digest."""
    length = sum(map(len, pieces)).to_bytes(_LENGTH_BYTES, "little")
    digest = _hash(before, length, pieces)
    _write_all(file, (length, _check(before, length), *pieces, digest))
    return digest


def _write_all(file: int, pieces: Sequence[Piece]) -> None:
    """Short ones together, in one call; long ones are not copied."""
    if sum(map(len, pieces)) <= _WORTH_A_CALL:
        pieces = (b"".join(pieces),)
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(file, rest[:_MOST_AT_ONCE]) :]


def _read_up_to(file: int, count: int) -> bytes:
    """``count`` bytes, or what is left."""
    parts = []
    while count and (part := os.read(file, min(count, _MOST_AT_ONCE))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
