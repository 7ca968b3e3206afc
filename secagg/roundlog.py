"""RoundLog: which rounds a party has taken part in, and never does again (spec section 9)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, NoReturn

from mpc.errors import DecodeError, LocalError
from mpc.party import SESSION_BYTES
from mpc.wire import Reader, Writer
from secagg.cohort import is_whole

if TYPE_CHECKING:
    from secagg.journal import Journal

VERSION = 1
MAX_ROUND = 2**32 - 1
Entry = tuple[bytes, int]


class RoundLog:
    """A key holder's or aggregator's memory, which goes with its long-term keys; or a client's.

    Two sums of one round over different clients would differ by single vectors. A log that is made here lives
    in memory. That of ``secagg.keyfile.load_keys``, and of ``open_log`` for clients, is in a file: a round is
    on the disk before ``enter`` says True, and so before anything of it is computed.
    """

    def __init__(self, entries: Iterable[Entry] = (), journal: Journal | None = None) -> None:
        """``entries``: pairs of session (16 bytes) and round, or ``LocalError``. ``journal``: has them."""
        self._entries = dict.fromkeys(map(_checked, entries))
        self._journal = journal
        self._lock = Lock()
        self._process = os.getpid()

    def enter(self, session: bytes, round: int) -> bool:
        """Enter a round; False, and nothing changed, if it was there before.

        ``LocalError`` if the log's file is closed, or belongs to the process that this one was forked from.
        """
        entry = session, round
        # One at a time, so that of two threads that ask for the same round only one is told True.
        with self._lock:
            if entry in self._entries:
                return False
            if self._journal is not None:
                self._keep(self._journal, entry)
            self._entries[entry] = None
            return True

    def _keep(self, journal: Journal, entry: Entry) -> None:
        if journal.closed:
            raise LocalError("log", str(journal.path), "is closed, or an error has cut it off: open it again")
        if os.getpid() != self._process:
            raise LocalError("log", str(journal.path), "another process has it: both would enter a round")
        try:
            journal.append(encode_entry(entry), sync=True)
        except BaseException:
            journal.close()  # the record may be there in part
            raise

    def entries(self) -> tuple[Entry, ...]:
        """All pairs of session and round, in the order in which they were entered."""
        return tuple(self._entries)

    def encode(self) -> bytes:
        """Version (1 byte), number of entries (4); for each its session (16) and round (4)."""
        writer = Writer().u8(VERSION).u32(len(self._entries))
        return writer.finish() + b"".join(map(encode_entry, self._entries))

    @classmethod
    def decode(cls, data: bytes | memoryview) -> RoundLog:
        """A log in memory. Strict: ``DecodeError`` for anything that ``encode`` does not give."""
        reader = Reader(data)
        if (version := reader.u8()) != VERSION:
            raise DecodeError(f"round log of version {version}, where {VERSION} is known")
        count = reader.u32()
        entries = [_read(reader) for _ in range(count)]
        reader.finish()
        if len(set(entries)) < count:
            raise DecodeError("a round stands twice in the log")
        return cls(entries)

    def close(self) -> None:
        """Let go of the file, if there is one: it can then be opened again, and this log enters no more."""
        if self._journal is not None:
            self._journal.close()

    def __reduce__(self) -> NoReturn:
        raise LocalError("round log", self, "cannot be pickled or copied: neither would know of the other's")

    def __repr__(self) -> str:
        return f"RoundLog({len(self._entries)} rounds)"


def log_or_new(log: RoundLog | None) -> RoundLog:
    """``log``, or a new one in memory; ``LocalError`` for what is none."""
    if log is not None and not isinstance(log, RoundLog):
        raise LocalError("log", type(log).__name__, "must be a RoundLog")
    return RoundLog() if log is None else log


def encode_entry(entry: Entry) -> bytes:
    """Session (16 bytes), round (4)."""
    session, round = entry
    return Writer().fixed(session, SESSION_BYTES).u32(round).finish()


def decode_entry(data: bytes) -> Entry:
    """Strict: ``DecodeError`` for anything that ``encode_entry`` does not give."""
    reader = Reader(data)
    entry = _read(reader)
    reader.finish()
    return entry


def _read(reader: Reader) -> Entry:
    return reader.fixed(SESSION_BYTES), reader.u32()


def _checked(entry: Entry) -> Entry:
    if not isinstance(entry, tuple | list) or len(entry) != 2:
        raise LocalError("entries", type(entry).__name__, "must be pairs of session and round")
    session, round = entry
    if not isinstance(session, bytes) or len(session) != SESSION_BYTES:
        raise LocalError("entries", session, f"a session has {SESSION_BYTES} bytes")
    if not is_whole(round) or not 0 <= round <= MAX_ROUND:
        raise LocalError("entries", round, "a round is a whole number from 0 to 2^32 - 1")
    return session, round
