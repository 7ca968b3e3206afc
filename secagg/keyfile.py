"""Helpers' secret keys on disk, each file with the log of its keys' rounds (spec sections 5.1, 9).

A file is a journal: whole up to its last record, 0600, open in one process at a time. Its first record:
version (1 byte), kind (text), secret and log (blobs); each further one: a round that has been entered since.
So whoever loads keys has their log, and no round is answered that is not on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from mpc.errors import DecodeError, LocalError
from mpc.wire import Reader, Writer
from secagg.journal import Journal
from secagg.paillier.keys import KeyHolderKeys, KeyShareKeys
from secagg.roundlog import RoundLog, decode_entry
from secagg.sharing.dealer import DealerKey
from secagg.sharing.keys import AggregatorKey

VERSION = 1
HelperKeys = KeyHolderKeys | KeyShareKeys | AggregatorKey | DealerKey
K = TypeVar("K", KeyHolderKeys, KeyShareKeys, AggregatorKey, DealerKey)
Path = str | os.PathLike[str]
_KINDS: dict[str, type[HelperKeys]] = {
    "key holder": KeyHolderKeys,
    "key share": KeyShareKeys,
    "aggregator": AggregatorKey,
    "dealer": DealerKey,
}
_LOG = "rounds"


def save_keys(path: Path, keys: HelperKeys) -> None:
    """A new file that only its owner may read, whole or not at all; an existing one is never overwritten.

    From then on ``keys`` enter no round: :func:`load_keys` gives those whose rounds the file keeps.
    ``LocalError`` for a file that is there, and for what are no helper's keys.
    """
    kind = next((name for name, one in _KINDS.items() if one is type(keys)), None)
    if kind is None:
        raise LocalError("keys", type(keys).__name__, f"must be one of {_names()}")
    with _opened(path) as journal:
        if journal.records:
            raise LocalError("path", os.fspath(path), "is there already; keys are never overwritten")
        log = RoundLog() if isinstance(keys, DealerKey) else keys.log
        journal.restart(_head(kind, keys.export_secret(), log))
        if not isinstance(keys, DealerKey):
            keys.log = RoundLog(log.entries(), journal)
        journal.close()


@overload
def load_keys(path: Path, *, allow_insecure_bits: bool = False) -> HelperKeys: ...
@overload
def load_keys(path: Path, kind: type[K], *, allow_insecure_bits: bool = False) -> K: ...
def load_keys(path: Path, kind: type[Any] | None = None, *, allow_insecure_bits: bool = False) -> HelperKeys:
    """The keys in a file, with their log: each round is in the file before it is answered.

    ``kind``: the class that they must be of, if given. The file is open, for this process alone, until
    ``keys.log.close()`` or the end of the process; a dealer's, which has no log, is closed at once.
    ``LocalError`` for a file that is not there, open elsewhere, damaged, of something else, or that others
    than its owner may read. An older copy of the file knows fewer rounds: then make new keys instead.
    """
    if kind is not None and kind not in _KINDS.values():
        raise LocalError("kind", kind, f"must be one of {_names()}")
    with _opened(path) as journal:
        if not journal.records:
            raise LocalError("path", os.fspath(path), "is not there")
        name, secret, log = _read(journal)
        found = _KINDS.get(name)
        if found is None or kind not in (None, found):
            asked = "a helper's keys" if kind is None else kind.__name__
            raise LocalError("path", os.fspath(path), f"is of kind {name!r}, which is not {asked}")
        return _imported(found, secret, log, allow_insecure_bits)


def open_log(path: Path) -> RoundLog:
    """A client's log in a file of its own, which is made if it is not there. Closed as one of keys is.

    ``LocalError`` as for :func:`load_keys`.
    """
    with _opened(path) as journal:
        if not journal.records:
            head = _head(_LOG, b"", RoundLog())
            journal.restart(head)
            journal.records = [head]
        name, _, log = _read(journal)
        if name != _LOG:
            raise LocalError("path", os.fspath(path), f"is of kind {name!r}, which is not a client's log")
        return log


@contextmanager
def _opened(path: Path) -> Iterator[Journal]:
    """The journal at ``path``, which is closed if there is an error."""
    try:
        journal = Journal(path)
    except OSError as error:
        raise LocalError("path", os.fspath(path), f"cannot be opened: {error.strerror}") from None
    try:
        yield journal
    except DecodeError as error:
        journal.close()
        raise LocalError("path", os.fspath(path), f"holds no keys that can be used: {error}") from None
    except BaseException:
        journal.close()
        raise


def _head(kind: str, secret: bytes, log: RoundLog) -> bytes:
    return Writer().u8(VERSION).text(kind).blob(secret).blob(log.encode()).finish()


def _read(journal: Journal) -> tuple[str, bytes, RoundLog]:
    """Kind, secret, and the log, which writes on in the journal."""
    (first, *rest), journal.records = journal.records, []
    reader = Reader(first)
    if (version := reader.u8()) != VERSION:
        raise DecodeError(f"version {version}, where {VERSION} is known")
    kind, secret, before = reader.text(), bytes(reader.blob()), RoundLog.decode(reader.blob())
    reader.finish()
    return kind, secret, RoundLog((*before.entries(), *map(decode_entry, rest)), journal)


def _imported(kind: type[HelperKeys], secret: bytes, log: RoundLog, insecure: bool) -> HelperKeys:
    if kind is DealerKey:
        log.close()  # it deals the same to whoever asks the same, and needs no memory
        return DealerKey.import_secret(secret)
    if kind is AggregatorKey:
        return AggregatorKey.import_secret(secret, log)
    whole = KeyHolderKeys if kind is KeyHolderKeys else KeyShareKeys
    return whole.import_secret(secret, log=log, allow_insecure_bits=insecure)


def _names() -> str:
    return ", ".join(kind.__name__ for kind in _KINDS.values())
