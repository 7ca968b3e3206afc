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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.model import FLOAT_TYPES, Weights
from mpc.errors import LocalError

MAGIC = b"\x93FLSTATE"  # a first byte outside ASCII, as in .npy and .png, since no text file starts so
VERSION = 1
_PREFIX_BYTES = len(MAGIC) + 2 + 8
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER_KEYS = {"fingerprint", "round", "history", "arrays"}


class CheckpointError(LocalError):
    """A file that cannot be resumed from: missing, damaged, foreign, of another version or configuration."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__("checkpoint", path.name, f"{reason} (file {path})")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run needs to go on.

    ``fingerprint``: a digest of the configuration, so that another training is not mixed up with this one.
    ``round``: how many rounds are finished. ``weights``: the global model after them, float arrays.
    ``history``: JSON objects, such as one a round.
    """

    fingerprint: str
    round: int
    weights: Weights
    history: list[dict[str, Any]]


def save(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Replace ``path`` by ``checkpoint``, or leave it as it was: never a mixture, whenever the power goes.

    ``LocalError`` if the round is negative, a weight is not float, or the history is not JSON (NaN and
    infinity are not, nor are keys other than text; tuples come back as lists). ``OSError`` if the disk
    refuses. One process writes one path at a time.
    """
    target = Path(path)
    prefix = _encode_prefix(checkpoint)
    # A fixed name: what a killed process leaves behind is overwritten by the next save, and never piles up.
    partial = target.with_name(f".{target.name}.partial")
    try:
        _write(partial, itertools.chain([prefix], map(_little_endian, checkpoint.weights)))
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def load(path: str | os.PathLike[str], fingerprint: str) -> Checkpoint:
    """The checkpoint at ``path``, to the bit as it was saved.

    ``fingerprint`` is that of the run which wants to go on. ``CheckpointError`` if there is no such file,
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
        found, wanted = header["fingerprint"][:12], fingerprint[:12]
        reason = f"belongs to another configuration: its fingerprint is {found}…, this run's is {wanted}…"
        raise CheckpointError(source, reason)
    return Checkpoint(header["fingerprint"], header["round"], weights, header["history"])


def _encode_prefix(checkpoint: Checkpoint) -> bytes:
    """Everything before the arrays."""
    if checkpoint.round < 0:
        raise LocalError("round", checkpoint.round, "must be at least 0")
    for position, array in enumerate(checkpoint.weights):
        if array.dtype.name not in FLOAT_TYPES:
            bound = f"must be one of {', '.join(FLOAT_TYPES)}"
            raise LocalError(f"dtype of weights[{position}]", array.dtype.name, bound)
    _check_keys(checkpoint.history)
    fields = {
        "fingerprint": checkpoint.fingerprint,
        "round": checkpoint.round,
        "history": checkpoint.history,
        "arrays": [{"dtype": array.dtype.name, "shape": list(array.shape)} for array in checkpoint.weights],
    }
    try:
        header = json.dumps(fields, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalError("history", checkpoint.history, f"must be JSON: {error}") from error
    return MAGIC + VERSION.to_bytes(2, "little") + len(header).to_bytes(8, "little") + header


def _check_keys(value: object) -> None:
    """Refuse what JSON would turn into text without a word: the key 1 would come back as "1"."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise LocalError("key in history", key, "must be text")
            _check_keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_keys(inner)


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    """Write ``chunks`` and their digest, down to the disk."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
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
