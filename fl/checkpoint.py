"""The state of a training run on disk, so that it goes on after a crash (spec section 15).

One file, all integers little-endian::

    magic, 8 bytes | version, 2 | header length, 8 | header, JSON | arrays, end to end | SHA-256, 32

The digest covers everything before it, in every version, so damage is told apart from a file of another
version. It finds accidents, not forgeries: whoever can write the file can write a digest too. Nothing in
the file is executed: there is no pickle.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fl.model import FLOAT_TYPES, Weights
from mpc.errors import LocalError

MAGIC = b"\x93FLSTATE"  # a first byte outside ASCII, as in .npy and .png, since no text file starts so
VERSION = 2
_PREFIX_BYTES = len(MAGIC) + 2 + 8
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER_KEYS = {"fingerprint", "configuration", "round", "history", "arrays"}
_MAX_INT_BITS = 2048  # 617 digits: Python reads back 640 in every setting, and no more in some
_MAX_DEPTH = 100  # of containers in the history: far below where Python's own limit would strike


class CheckpointError(LocalError):
    """A file that cannot be resumed from: missing, damaged, foreign, of another version or configuration.

    ``differing``: the settings that are not as they were, name → (in the file, in this run).
    """

    def __init__(
        self, path: Path, reason: str, differing: Mapping[str, tuple[object, object]] | None = None
    ) -> None:
        super().__init__("checkpoint", path.name, f"{reason} (file {path})")
        self.differing = dict(differing or {})


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run needs to go on.

    ``fingerprint``: a digest of the configuration, so that another training is not mixed up with this one.
    ``round``: how many rounds are finished. ``weights``: the global model after them, float arrays.
    ``history``: JSON objects, such as one a round. ``configuration``: a JSON object, the settings that the
    fingerprint is of, so that ``load`` can say which one differs. What of these a file cannot hold, ``save``
    refuses.
    """

    fingerprint: str
    round: int
    weights: Weights
    history: list[dict[str, Any]]
    configuration: Mapping[str, Any] = field(default_factory=dict)


def save(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Replace ``path`` by ``checkpoint``, or leave it as it was: never a mixture, whenever the power goes.

    ``LocalError`` for what ``load`` would not give back: a fingerprint that is no text, a round that is no
    whole number or negative, a weight that is no float array, a history that is no list of JSON objects, a
    configuration that is no JSON object.
    NaN and infinity are not JSON, nor are keys other than text; tuples come back as lists. Integers have at
    most 2048 bits, and containers are at most 100 deep. ``OSError`` if the disk refuses. One process writes
    one path at a time.
    """
    target = Path(path)
    prefix = _encode_prefix(checkpoint)
    # A fixed name: what a killed process leaves behind is removed by the next save, and never piles up.
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    # A new file or none: a link that somebody puts there in time is not followed, whatever it points to.
    file = partial.open("xb")
    try:
        with file:
            _write(file, itertools.chain([prefix], map(_little_endian, checkpoint.weights)))
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def load(
    path: str | os.PathLike[str], fingerprint: str, configuration: Mapping[str, Any] | None = None
) -> Checkpoint:
    """The checkpoint at ``path``, to the bit as it was saved.

    ``fingerprint`` and ``configuration`` are those of the run which wants to go on; the second serves to say
    what differs. ``CheckpointError`` if there is no such file,
    it is no checkpoint, a byte of it is changed, missing or added, its version is another, or it belongs to
    another configuration.
    """
    source = Path(path)
    content = _read(source)
    version = int.from_bytes(content[len(MAGIC) : len(MAGIC) + 2], "little")
    if version != VERSION:
        raise CheckpointError(source, f"has format version {version}; this program reads version {VERSION}")
    header_end = _PREFIX_BYTES + int.from_bytes(content[len(MAGIC) + 2 : _PREFIX_BYTES], "little")
    try:
        header = _decode_header(content[_PREFIX_BYTES:header_end])
        weights = _decode_arrays(header["arrays"], content[header_end:-_DIGEST_BYTES])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(source, "is malformed although its digest is right") from error
    if header["fingerprint"] != fingerprint:
        raise _other_configuration(source, header, fingerprint, configuration or {})
    return Checkpoint(
        header["fingerprint"], header["round"], weights, header["history"], header["configuration"]
    )


def _other_configuration(
    path: Path, header: Mapping[str, Any], fingerprint: str, wanted: Mapping[str, Any]
) -> CheckpointError:
    saved = header["configuration"]
    names = [name for name in wanted if name in saved and wanted[name] != saved[name]]
    differing = {name: (saved[name], wanted[name]) for name in names}
    unknown = sorted(wanted.keys() - saved.keys())
    if differing:
        found = ", ".join(f"{name} was {old} and is {new} now" for name, (old, new) in differing.items())
    elif saved and unknown:
        found = f"it was saved by a program that had no settings {', '.join(unknown)}"
    else:
        found = f"its fingerprint is {header['fingerprint'][:12]}…, this run's is {fingerprint[:12]}…"
    return CheckpointError(path, f"belongs to another configuration: {found}", differing)


def _encode_prefix(checkpoint: Checkpoint) -> bytes:
    """Everything before the arrays."""
    if not isinstance(checkpoint.fingerprint, str):
        raise LocalError("fingerprint", checkpoint.fingerprint, "must be text")
    if isinstance(checkpoint.round, bool) or not isinstance(checkpoint.round, int) or checkpoint.round < 0:
        raise LocalError("round", checkpoint.round, "must be a whole number of at least 0")
    _check_weights(checkpoint.weights)
    if not isinstance(checkpoint.history, list | tuple):
        raise LocalError("history", type(checkpoint.history).__name__, "must be a list")
    for position, record in enumerate(checkpoint.history):
        if not isinstance(record, dict):
            raise LocalError(f"history[{position}]", record, "must be a dict")
    _check_values("round", checkpoint.round)
    _check_values("history", checkpoint.history)
    if not isinstance(checkpoint.configuration, Mapping):
        raise LocalError("configuration", type(checkpoint.configuration).__name__, "must be a mapping")
    _check_values("configuration", checkpoint.configuration)
    fields = {
        "fingerprint": checkpoint.fingerprint,
        "configuration": dict(checkpoint.configuration),
        "round": checkpoint.round,
        "history": checkpoint.history,
        "arrays": [{"dtype": array.dtype.name, "shape": list(array.shape)} for array in checkpoint.weights],
    }
    try:
        header = json.dumps(fields, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        where = "configuration" if _is_json(checkpoint.history) else "history"
        raise LocalError(where, getattr(checkpoint, where), f"must be JSON: {error}") from error
    return MAGIC + VERSION.to_bytes(2, "little") + len(header).to_bytes(8, "little") + header


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _check_weights(weights: Weights) -> None:
    if not isinstance(weights, list | tuple):
        raise LocalError("weights", type(weights).__name__, "must be a list of arrays")
    for position, array in enumerate(weights):
        if not isinstance(array, np.ndarray | np.generic):  # arithmetic on a 0-d array gives a scalar
            raise LocalError(f"weights[{position}]", type(array).__name__, "must be an array")
        if array.dtype.name not in FLOAT_TYPES:
            bound = f"must be one of {', '.join(FLOAT_TYPES)}"
            raise LocalError(f"dtype of weights[{position}]", array.dtype.name, bound)


def _check_values(where: str, value: object, depth: int = 0) -> None:
    """Refuse what JSON would write and not give back: the key 1 would become "1" without a word."""
    if depth > _MAX_DEPTH:
        raise LocalError(f"depth of {where}", depth, f"must be at most {_MAX_DEPTH}")
    if isinstance(value, int) and value.bit_length() > _MAX_INT_BITS:
        found = f"of {value.bit_length()} bits"
        raise LocalError(f"integer in {where}", found, f"must have at most {_MAX_INT_BITS}")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise LocalError(f"key in {where}", key, "must be text")
            _check_values(where, inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_values(where, inner, depth + 1)


def _write(file: BinaryIO, chunks: Iterable[bytes]) -> None:
    """Write ``chunks`` and their digest, down to the disk."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
    file.write(digest.digest())
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut; without it, the folder may still list the old file."""
    if os.name == "nt":  # there a folder cannot be opened, and a rename is journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    """The whole file, once it is known to be a checkpoint of some version, and undamaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such file") from error
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
    if not content.startswith(MAGIC) and not MAGIC.startswith(content):
        raise CheckpointError(path, "is not a checkpoint of this program")
    if len(content) < _PREFIX_BYTES + _DIGEST_BYTES:
        raise CheckpointError(path, f"is damaged: only {len(content)} bytes are left")
    body = memoryview(content)[:-_DIGEST_BYTES]
    if hashlib.sha256(body).digest() != content[-_DIGEST_BYTES:]:
        raise CheckpointError(path, "is damaged: its SHA-256 digest does not match its content")
    return content


def _decode_header(encoded: bytes) -> dict[str, Any]:
    header = json.loads(encoded)
    if type(header) is not dict or header.keys() != _HEADER_KEYS:
        raise ValueError("header keys")
    if type(header["fingerprint"]) is not str or type(header["round"]) is not int or header["round"] < 0:
        raise ValueError("fingerprint or round")
    if type(header["configuration"]) is not dict:
        raise ValueError("configuration")
    history = header["history"]
    if type(history) is not list or any(type(record) is not dict for record in history):
        raise ValueError("history")
    return header


def _decode_arrays(specifications: list[dict[str, Any]], encoded: bytes) -> Weights:
    weights: Weights = []
    position = 0
    for specification in specifications:
        shape, name = tuple(specification["shape"]), specification["dtype"]
        if name not in FLOAT_TYPES or any(type(extent) is not int or extent < 0 for extent in shape):
            raise ValueError("shape or dtype")
        dtype = np.dtype(name).newbyteorder("<")
        # NumPy refuses a shape that goes beyond the end of the buffer.
        weights.append(np.ndarray(shape, dtype, encoded, position).astype(name))
        position += math.prod(shape) * dtype.itemsize
    if position != len(encoded):
        raise ValueError("bytes beyond the arrays")
    return weights


def _little_endian(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
