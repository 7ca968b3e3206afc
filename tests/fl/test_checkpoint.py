"""A checkpoint comes back to the bit, or is refused with the reason; a failed save harms nothing."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fl.checkpoint import MAGIC, VERSION, Checkpoint, CheckpointError, load, save
from mpc.errors import LocalError

PRINT = hashlib.sha256(b"one configuration").hexdigest()
OTHER = hashlib.sha256(b"another configuration").hexdigest()

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
tensors = st.sampled_from(["float16", "float32", "float64"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def small(round_: int = 3) -> Checkpoint:
    weights = [np.arange(3, dtype=np.float32), np.array(0.5)]
    return Checkpoint(PRINT, round_, weights, [{"round": round_, "accuracy": 0.25}])


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    assert (found.fingerprint, found.round) == (wanted.fingerprint, wanted.round)
    assert json.dumps(found.history) == json.dumps(wanted.history)  # 1, 1.0 and True are not the same here
    assert len(found.weights) == len(wanted.weights)
    for left, right in zip(found.weights, wanted.weights, strict=True):
        assert (left.dtype.name, left.shape) == (right.dtype.name, right.shape)
        assert left.tobytes() == right.astype(right.dtype.name).tobytes()


def sealed(header: bytes, arrays_: bytes = b"", version: int = VERSION) -> bytes:
    """A file around a header of our choice, with a right digest."""
    body = MAGIC + version.to_bytes(2, "little") + len(header).to_bytes(8, "little") + header + arrays_
    return body + hashlib.sha256(body).digest()


def nested(depth: int) -> list[Any]:
    """Lists in lists, the outermost one counted."""
    inner: list[Any] = []
    for _ in range(depth - 1):
        inner = [inner]
    return inner


def endless() -> dict[str, Any]:
    record: dict[str, Any] = {}
    record["itself"] = record
    return record


def header_of(**changed: Any) -> bytes:
    fields = {"fingerprint": PRINT, "configuration": {}, "round": 1, "history": [], "arrays": [], **changed}
    return json.dumps(fields).encode()


@deterministic
@given(
    st.integers(0, 10**6),
    st.lists(tensors, max_size=4),
    st.lists(st.dictionaries(st.text(), json_values, max_size=3), max_size=3),
)
def test_everything_comes_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory,
    round_: int,
    weights: list[np.ndarray],
    history: list[dict[str, Any]],
) -> None:
    path = tmp_path_factory.mktemp("run") / "state.ckpt"
    wanted = Checkpoint(PRINT, round_, weights, history)
    save(path, wanted)
    assert_same(load(path, PRINT), wanted)
    assert os.listdir(path.parent) == ["state.ckpt"]


def test_odd_values_and_memory_layouts_come_back(tmp_path: Path) -> None:
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324, np.finfo(float).max])
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    weights = [odd, matrix.T, matrix[:, ::2], np.asfortranarray(matrix), matrix.astype(">f4")]
    save(tmp_path / "a", Checkpoint(PRINT, 0, weights, []))
    found = load(tmp_path / "a", PRINT)
    assert_same(found, Checkpoint(PRINT, 0, weights, []))
    for array in found.weights:
        assert array.flags.writeable
        assert array.dtype.isnative


def test_the_format_is_the_documented_one(tmp_path: Path) -> None:
    save(tmp_path / "a", small())
    content = (tmp_path / "a").read_bytes()
    length = int.from_bytes(content[10:18], "little")
    assert content[:10] == MAGIC + b"\2\0"
    assert json.loads(content[18 : 18 + length]) == {
        "fingerprint": PRINT,
        "configuration": {},
        "round": 3,
        "history": [{"round": 3, "accuracy": 0.25}],
        "arrays": [{"dtype": "float32", "shape": [3]}, {"dtype": "float64", "shape": []}],
    }
    assert content[18 + length : -32] == np.arange(3, dtype="<f4").tobytes() + np.array(0.5, "<f8").tobytes()
    assert content[-32:] == hashlib.sha256(content[:-32]).digest()


def test_what_arithmetic_makes_of_a_scalar_comes_back_as_an_array(tmp_path: Path) -> None:
    scalar = np.array(0.5, np.float32) + np.array(1, np.float32)
    assert not isinstance(scalar, np.ndarray)
    save(tmp_path / "a", Checkpoint(PRINT, 1, [scalar], []))
    [found] = load(tmp_path / "a", PRINT).weights
    assert (found.shape, found.dtype, float(found)) == ((), np.float32, 1.5)


def test_tuples_come_back_as_lists(tmp_path: Path) -> None:
    save(tmp_path / "a", Checkpoint(PRINT, 1, [], [{"survivors": ("ana", "bo")}]))
    assert load(tmp_path / "a", PRINT).history == [{"survivors": ["ana", "bo"]}]


# what is refused


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save(path, small())
    content = path.read_bytes()
    for position in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            path.write_bytes(content[:position] + bytes([content[position] ^ flip]) + content[position + 1 :])
            reason = "is not a checkpoint" if position < len(MAGIC) else "is damaged: its SHA-256"
            with pytest.raises(CheckpointError, match=reason):
                load(path, PRINT)


def test_every_missing_or_added_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save(path, small())
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="is damaged"):
            load(path, PRINT)
    for position in range(len(MAGIC), len(content)):
        for changed in (
            content[:position] + content[position + 1 :],
            content[:position] + b"\0" + content[position:],
        ):
            path.write_bytes(changed)
            with pytest.raises(CheckpointError, match="is damaged"):
                load(path, PRINT)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"^checkpoint is 'none': there is no such file \(file .*none\)"
    ):
        load(tmp_path / "none", PRINT)


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read: "):
        load(tmp_path, PRINT)


@pytest.mark.parametrize(
    "content", [b"# a text file\n" * 20, pickle.dumps({"round": 3}), b"PK\3\4" + bytes(200), bytes(200)]
)
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a checkpoint of this program"):
        load(tmp_path / "a", PRINT)


@pytest.mark.parametrize("version", [0, 1, 3, 65535])
def test_other_versions(tmp_path: Path, version: int) -> None:
    (tmp_path / "a").write_bytes(sealed(b"whatever a later version holds", version=version))
    with pytest.raises(CheckpointError, match=f"has format version {version}; this program reads version 2"):
        load(tmp_path / "a", PRINT)


def test_other_configurations_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a", small())
    with pytest.raises(CheckpointError, match=f"another configuration.*{PRINT[:12]}….*{OTHER[:12]}…"):
        load(tmp_path / "a", OTHER)


def test_the_settings_that_differ_are_named(tmp_path: Path) -> None:
    settings_ = {"clip": 1.0, "seed": 3, "threshold": None}
    save(tmp_path / "a", Checkpoint(PRINT, 1, [], [], settings_))
    assert load(tmp_path / "a", PRINT).configuration == settings_
    with pytest.raises(
        CheckpointError, match=r"clip was 1.0 and is 0.5 now, threshold was None and"
    ) as caught:
        load(tmp_path / "a", OTHER, {"clip": 0.5, "seed": 3, "threshold": 4})
    assert caught.value.differing == {"clip": (1.0, 0.5), "threshold": (None, 4)}


@pytest.mark.parametrize(
    ("header", "arrays_"),
    [
        (b"", b""),
        (b"not JSON", b""),
        (b"\xff", b""),
        (b"[" * 100_000, b""),
        (b"[]", b""),
        (header_of(extra=1), b""),
        (header_of(round=-1), b""),
        (header_of(round=True), b""),
        (header_of(round=1.0), b""),
        (header_of(fingerprint=5), b""),
        (header_of(configuration=[]), b""),
        (header_of(history={}), b""),
        (header_of(history=[1]), b""),
        (header_of(arrays=None), b""),
        (header_of(arrays=["x"]), b""),
        (header_of(arrays=[{"shape": [1]}]), bytes(8)),
        (header_of(arrays=[{"shape": 1, "dtype": "float64"}]), bytes(8)),
        (header_of(arrays=[{"shape": [True], "dtype": "float64"}]), bytes(8)),
        (header_of(arrays=[{"shape": [-1], "dtype": "float64"}]), bytes(8)),
        (header_of(arrays=[{"shape": [1], "dtype": "object"}]), bytes(8)),
        (header_of(arrays=[{"shape": [1], "dtype": "int64"}]), bytes(8)),
        (header_of(arrays=[{"shape": [2], "dtype": "float64"}]), bytes(8)),
        (header_of(arrays=[{"shape": [1], "dtype": "float32"}]), bytes(8)),
        (header_of(arrays=[{"shape": [2**70], "dtype": "float32"}]), bytes(8)),
        (header_of(arrays=[{"shape": [0] + [2**40] * 2, "dtype": "float32"}]), b""),
        (header_of(arrays=[{"shape": [0, 2**70], "dtype": "float32"}]), b""),
        (header_of(arrays=[{"shape": [1] * 100, "dtype": "float32"}]), bytes(4)),
        (header_of(), bytes(1)),
    ],
)
def test_malformed_content_under_a_right_digest(tmp_path: Path, header: bytes, arrays_: bytes) -> None:
    (tmp_path / "a").write_bytes(sealed(header, arrays_))
    with pytest.raises(CheckpointError, match="is malformed although its digest is right"):
        load(tmp_path / "a", PRINT)


def test_header_length_beyond_the_file(tmp_path: Path) -> None:
    body = MAGIC + VERSION.to_bytes(2, "little") + b"\xff" * 8 + header_of()
    (tmp_path / "a").write_bytes(body + hashlib.sha256(body).digest())
    with pytest.raises(CheckpointError, match="is malformed"):
        load(tmp_path / "a", PRINT)


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"fingerprint": None}, "fingerprint is None: must be text"),
        ({"fingerprint": PRINT.encode()}, "fingerprint is b'"),
        ({"round": -1}, "round is -1"),
        ({"round": 2.0}, "round is 2.0: must be a whole number"),
        ({"round": True}, "round is True"),
        ({"round": None}, "round is None"),
        ({"round": np.int64(1)}, r"round is .*1.*: must be a whole number"),
        ({"round": 10**5000}, "integer in round is 'of 16610 bits': must have at most 2048"),
        ({"weights": [[1.0]]}, r"weights\[0\] is 'list': must be an array"),
        ({"weights": [np.ones(1), 1.0]}, r"weights\[1\] is 'float': must be an array"),
        ({"weights": {"w": np.ones(1)}}, "weights is 'dict': must be a list of arrays"),
        ({"weights": np.ones((2, 2))}, "weights is 'ndarray': must be a list of arrays"),
        ({"weights": [np.ones(1), np.ones(1, int)]}, r"dtype of weights\[1\] is 'int64'"),
        ({"weights": [np.array([None])]}, r"dtype of weights\[0\] is 'object'"),
        ({"history": [1, 2]}, r"history\[0\] is 1: must be a dict"),
        ({"history": [{}, [{}]]}, r"history\[1\] is \[{}\]: must be a dict"),
        ({"history": {"a": 1}}, "history is 'dict': must be a list"),
        ({"history": None}, "history is 'NoneType': must be a list"),
        ({"history": [{"deep": [{"x": -(2**2048)}]}]}, "integer in history is 'of 2049 bits': must have at"),
        ({"history": [{"x": 10**5000}]}, "integer in history is 'of 16610 bits'"),
        ({"history": [{"x": nested(100)}]}, "depth of history is 101: must be at most 100"),
        ({"history": [{"x": nested(5000)}]}, "depth of history is 101"),
        ({"history": [endless()]}, "depth of history is 101"),
        ({"configuration": [1]}, "configuration is 'list': must be a mapping"),
        ({"configuration": {1: 2}}, "key in configuration is 1"),
        ({"configuration": {"clip": float("nan")}}, "configuration is "),
        ({"history": [{"loss": float("nan")}]}, "history is "),
        ({"history": [{"loss": np.float32(1)}]}, "history is "),
        ({"history": [{"by client": {1: 0.5}}]}, "key in history is 1"),
        ({"history": [{"deep": [({"x": {None: 1}},)]}]}, "key in history is None"),
    ],
)
def test_what_cannot_come_back_is_not_saved(tmp_path: Path, changed: dict[str, Any], argument: str) -> None:
    fields = {"fingerprint": PRINT, "round": 1, "weights": [], "history": [], **changed}
    with pytest.raises(LocalError, match=f"^{argument}"):
        save(tmp_path / "a", Checkpoint(**fields))
    assert os.listdir(tmp_path) == []


def test_the_most_that_is_saved_is_loaded(tmp_path: Path) -> None:
    most = Checkpoint(PRINT, 2**2048 - 1, [], [{"x": nested(98), "y": 1 - 2**2048}])
    save(tmp_path / "a", most)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)  # the least that Python lets anybody set
    try:
        assert_same(load(tmp_path / "a", PRINT), most)
    finally:
        sys.set_int_max_str_digits(limit)


def test_errors_are_our_callers_to_catch() -> None:
    assert issubclass(CheckpointError, LocalError)


# crashes


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException
) -> None:
    path = tmp_path / "a"
    save(path, small(1))

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(type(error)):
            save(path, small(2))
    assert os.listdir(tmp_path) == ["a"]
    assert_same(load(path, PRINT), small(1))
    save(path, small(2))
    assert_same(load(path, PRINT), small(2))


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_killed_save_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path: Path, function: str) -> None:
    path = tmp_path / "a"
    save(path, small(1))
    program = f"""
import os, signal, sys
import numpy as np
from fl.checkpoint import Checkpoint, save
os.{function} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
save(sys.argv[1], Checkpoint(sys.argv[2], 2, [np.zeros(1000)], []))
"""
    done = subprocess.run([sys.executable, "-c", program, str(path), PRINT], check=False)
    assert done.returncode == -9
    assert_same(load(path, PRINT), small(1))
    assert len(os.listdir(tmp_path)) == 2
    save(path, small(3))
    assert os.listdir(tmp_path) == ["a"]
    assert_same(load(path, PRINT), small(3))


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for pointed_at in (victim, tmp_path / "nowhere"):
        (tmp_path / ".a.partial").symlink_to(pointed_at)
        save(tmp_path / "a", small())
        assert victim.read_text() == "precious"
        assert sorted(os.listdir(tmp_path)) == ["a", "victim"]
        assert not (tmp_path / "a").is_symlink()
        assert_same(load(tmp_path / "a", PRINT), small())


@pytest.mark.parametrize("pointed_at", ["victim", "nowhere"])
def test_a_link_that_comes_back_in_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pointed_at: str
) -> None:
    victim, planted = tmp_path / "victim", tmp_path / ".a.partial"
    victim.write_text("precious")
    save(tmp_path / "a", small(1))
    unlink = Path.unlink

    def unlink_and_plant(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        planted.symlink_to(tmp_path / pointed_at)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_and_plant)
        with pytest.raises(FileExistsError):
            save(tmp_path / "a", small(2))
    assert victim.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == [".a.partial", "a", "victim"]
    assert_same(load(tmp_path / "a", PRINT), small(1))


def test_the_disk_is_told_in_the_right_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        folder = os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        happened.append("folder" if folder else "file")
        if not folder:
            [partial] = tmp_path.iterdir()
            assert os.path.samestat(os.fstat(descriptor), partial.stat())
            assert hashlib.sha256(partial.read_bytes()[:-32]).digest() == partial.read_bytes()[-32:]
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        assert source.parent == target.parent == tmp_path
        happened.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    save(tmp_path / "a", small())
    assert happened == ["file", "replace", "folder"]


def test_a_missing_folder_is_the_callers_to_make(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "none" / "a", small())
