"""secagg.keyfile: keys on disk, which never come without the rounds that they have answered."""

from __future__ import annotations

import copy
import os
import stat
from pathlib import Path

import pytest

from mpc.errors import LocalError
from mpc.tape import SeededTape
from mpc.wire import Writer
from secagg.journal import Journal
from secagg.keyfile import HelperKeys, load_keys, open_log, save_keys
from secagg.paillier import KeyHolderKeys, KeyShareKeys, deal_keys
from secagg.roundlog import RoundLog
from secagg.sharing import AggregatorKey, DealerKey

TAPE = SeededTape(b"key files")
WHOLE = KeyHolderKeys.generate(tape=TAPE.child("whole"), insecure_bits=256).export_secret()
SHARE = deal_keys(2, 2, tape=TAPE.child("dealer"), insecure_bits=256)[1][1].export_secret()
AGGREGATOR = AggregatorKey.generate(TAPE.child("aggregator")).export_secret()
DEALER = DealerKey.generate(TAPE.child("link")).export_secret()
ONE, OTHER = bytes(16), bytes(range(16))


def made(kind: str, log: RoundLog | None = None) -> HelperKeys:
    if kind == "whole":
        return KeyHolderKeys.import_secret(WHOLE, log=log, allow_insecure_bits=True)
    if kind == "share":
        return KeyShareKeys.import_secret(SHARE, log=log, allow_insecure_bits=True)
    return AggregatorKey.import_secret(AGGREGATOR, log) if log else DealerKey.import_secret(DEALER)


def aggregator(path: Path, *entries: tuple[bytes, int]) -> AggregatorKey:
    """The key that was saved at ``path`` with these entries, loaded."""
    save_keys(path, AggregatorKey.import_secret(AGGREGATOR, RoundLog(entries)))
    return load_keys(path, AggregatorKey)


@pytest.mark.parametrize("kind", ["whole", "share", "aggregator"])
def test_keys_come_back_with_their_rounds(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys"
    keys = made(kind, RoundLog([(ONE, 3)]))
    save_keys(path, keys)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for rounds in range(1, 4):
        found = load_keys(path, allow_insecure_bits=True)
        assert type(found) is type(keys)
        assert not isinstance(found, DealerKey)
        assert found.export_secret() == keys.export_secret()
        assert found.log.entries() == ((ONE, 3), *((OTHER, round) for round in range(1, rounds)))
        assert found.log.enter(OTHER, rounds)
        assert not found.log.enter(OTHER, rounds)
        assert not found.log.enter(ONE, 3)
        found.log.close()


def test_a_dealers_key_comes_back(tmp_path: Path) -> None:
    save_keys(tmp_path / "keys", made("dealer"))
    for _ in range(2):  # nothing stays open
        assert load_keys(tmp_path / "keys", DealerKey).export_secret() == DEALER


def test_a_round_is_in_the_file_before_anybody_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = aggregator(path)
    for round in range(3):
        assert key.log.enter(ONE, round)
        (tmp_path / "as a crash leaves it").write_bytes(path.read_bytes())
        (tmp_path / "as a crash leaves it").chmod(0o600)
        found = load_keys(tmp_path / "as a crash leaves it", AggregatorKey)
        assert found.log.entries() == key.log.entries()
        found.log.close()


def test_a_round_that_was_being_written_was_not_entered(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = aggregator(path)
    key.log.enter(ONE, 0)
    whole = path.stat().st_size
    key.log.enter(ONE, 1)
    key.log.close()
    os.truncate(path, whole + 5)
    found = load_keys(path, AggregatorKey)
    assert found.log.entries() == ((ONE, 0),)
    assert found.log.enter(ONE, 1)


def test_a_log_that_cannot_write_enters_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = aggregator(tmp_path / "keys")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            key.log.enter(ONE, 0)
    with pytest.raises(LocalError, match="is closed, or an error has cut it off: open it again"):
        key.log.enter(ONE, 1)
    assert key.log.entries() == ()
    load_keys(tmp_path / "keys", AggregatorKey)


def test_saved_keys_enter_no_round_until_they_are_loaded(tmp_path: Path) -> None:
    key = AggregatorKey.import_secret(AGGREGATOR, RoundLog([(ONE, 0)]))
    save_keys(tmp_path / "keys", key)
    with pytest.raises(LocalError, match="is closed"):
        key.log.enter(ONE, 1)
    assert not key.log.enter(ONE, 0)


def test_keys_are_never_overwritten_and_stay_of_use(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    aggregator(path).log.close()
    before = path.read_bytes()
    other = made("share", RoundLog())
    with pytest.raises(LocalError, match="is there already; keys are never overwritten"):
        save_keys(path, other)
    assert path.read_bytes() == before
    assert isinstance(other, KeyShareKeys)
    assert other.log.enter(ONE, 0)  # they are in no file
    load_keys(path, AggregatorKey)


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = AggregatorKey.import_secret(AGGREGATOR)

    def killed(*paths: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save_keys(tmp_path / "keys", key)
    assert not (tmp_path / "keys").exists()
    save_keys(tmp_path / "keys", key)
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]  # nothing secret is left beside it


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys"
    aggregator(path).log.close()
    path.chmod(mode)
    with pytest.raises(LocalError, match=f"has permissions {mode:o}; what holds secrets must have 600"):
        load_keys(path)


def test_one_process_has_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = aggregator(tmp_path / "keys")
    with pytest.raises(LocalError, match="is open already, in this process or another"):
        load_keys(tmp_path / "keys")
    own = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: own + 1)
        with pytest.raises(LocalError, match="another process has it"):
            key.log.enter(ONE, 0)
    assert key.log.enter(ONE, 0)
    with pytest.raises(LocalError, match="cannot be pickled or copied"):
        copy.deepcopy(key.log)


def test_what_is_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="is not there"):
        load_keys(tmp_path / "nothing")
    with pytest.raises(LocalError, match="cannot be opened: No such file or directory"):
        load_keys(tmp_path / "nowhere" / "keys")
    with pytest.raises(LocalError, match="cannot be opened: Is a directory"):
        load_keys(tmp_path)
    (tmp_path / "text").write_text("secret\n")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(LocalError, match="is no journal of version 1"):
        load_keys(tmp_path / "text")
    assert not [path for path in tmp_path.iterdir() if path.name != "text"]


def record_at(path: Path, record: bytes) -> Path:
    """A journal that begins with this record."""
    journal = Journal(path)
    journal.restart(record)
    journal.close()
    return path


def head(kind: str, secret: bytes, log: bytes) -> bytes:
    return Writer().u8(1).text(kind).blob(secret).blob(log).finish()


LOG = RoundLog([(ONE, 0)]).encode()


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"\2", "version 2, where 1 is known"),
        (b"\1\5key", "ends after"),
        (head("aggregator", AGGREGATOR, LOG) + b"\0", "1 bytes after the end"),
        (head("aggregator", AGGREGATOR, LOG[:-1]), "ends after"),
        (head("aggregator", AGGREGATOR[:-1], LOG), "ends after"),
        (head("aggregator", WHOLE, LOG), "after the end"),
        (head("key holder", WHOLE, LOG), "256 bits is not one of 2048, 3072, 4096"),
        (head("rounds", b"", LOG), "is of kind 'rounds', which is not a helper's keys"),
        (head("server", AGGREGATOR, LOG), "is of kind 'server', which is not a helper's keys"),
    ],
)
def test_what_is_no_whole_key_is_refused_and_not_shown(tmp_path: Path, record: bytes, why: str) -> None:
    path = record_at(tmp_path / "keys", record)
    for _ in range(2):  # nothing stays open
        with pytest.raises(LocalError, match=why) as error:
            load_keys(path)
        assert AGGREGATOR[1:].hex() not in str(error.value)
        assert repr(AGGREGATOR[1:9])[2:-1] not in str(error.value)


def test_keys_of_another_kind(tmp_path: Path) -> None:
    aggregator(tmp_path / "keys").log.close()
    with pytest.raises(LocalError, match="is of kind 'aggregator', which is not KeyShareKeys"):
        load_keys(tmp_path / "keys", KeyShareKeys)
    with pytest.raises(LocalError, match=r"kind is .*: must be one of KeyHolderKeys, KeyShareKeys, Aggreg"):
        load_keys(tmp_path / "keys", RoundLog)  # type: ignore[type-var]
    with pytest.raises(LocalError, match="keys is 'bytes': must be one of"):
        save_keys(tmp_path / "other", AGGREGATOR)  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()


def test_a_clients_log_is_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ana.rounds"
    for rounds in range(3):
        log = open_log(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert log.entries() == tuple((ONE, round) for round in range(rounds))
        assert log.enter(ONE, rounds)
        with pytest.raises(LocalError, match="is open already"):
            open_log(path)
        log.close()
    aggregator(tmp_path / "keys").log.close()
    with pytest.raises(LocalError, match="is of kind 'aggregator', which is not a client's log"):
        open_log(tmp_path / "keys")
    load_keys(tmp_path / "keys")
