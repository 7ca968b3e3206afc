"""Field64: vectors over the prime field of p = 2^64 − 2^32 + 1 elements.

The field of that name in draft-irtf-cfrg-vdaf, with the same encoding and the same rejection sampling.
Elements are ``np.uint64`` arrays of any shape, canonical, in [0, p); single elements are ``int``. Entries
that are not canonical give wrong results, not errors: bytes of others enter through ``from_bytes``, which
checks them. Functions return new arrays, except ``add_into`` and ``sub_into``. ``LocalError`` names an
argument whose type or shape does not fit. None of this is written to run in constant time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mpc.errors import DecodeError, LocalError
from mpc.prg import Keystream
from mpc.tape import RandomTape

Elements = npt.NDArray[np.uint64]

P = 2**64 - 2**32 + 1
ELEMENT_BYTES = 8
MAX_SIGNED = (P - 1) // 2  # 2^63 − 2^31: the signed integers that have a code are [−MAX_SIGNED, MAX_SIGNED]
_BLOCK_WORDS = 1 << 15  # 256 KiB of keystream at a time, looked at while it is in the second-level cache
_WRAP = np.uint64(2**32 - 1)  # 2^64 − p: the distance between arithmetic modulo 2^64 and modulo p


def encode(values: npt.NDArray[np.int64]) -> Elements:
    """Signed integers as elements: v for v ≥ 0, p + v otherwise. ``LocalError`` if |v| > MAX_SIGNED."""
    from mpc.kernels import field64

    if values.dtype.kind != "i":
        raise LocalError("values.dtype", values.dtype, "a signed integer type")
    if values.size and (int(values.min()) < -MAX_SIGNED or int(values.max()) > MAX_SIGNED):
        outside = (values < -MAX_SIGNED) | (values > MAX_SIGNED)
        limits = f"an entry lies in [-{MAX_SIGNED}, {MAX_SIGNED}]"
        raise LocalError(f"values[{int(np.argmax(outside))}]", "out of range", limits)
    out = np.empty(values.shape, np.uint64)
    signed = np.ascontiguousarray(values, np.int64)
    field64.encode(_flat("values", signed.view(np.uint64)), out.reshape(-1))
    return out


def decode(elements: Elements) -> npt.NDArray[np.int64]:
    """The representatives in [−MAX_SIGNED, MAX_SIGNED], all of which int64 holds."""
    words = _checked("elements", elements)
    return (words + _WRAP * (words > np.uint64(MAX_SIGNED))).view(np.int64)


def add(left: Elements, right: Elements) -> Elements:
    """left + right, entry by entry; equal shapes."""
    from mpc.kernels import field64

    out = _like(left, right)
    field64.add_vectors(_flat("left", left), _flat("right", right), out.reshape(-1))
    return out


def sub(left: Elements, right: Elements) -> Elements:
    """left − right, entry by entry; equal shapes."""
    from mpc.kernels import field64

    out = _like(left, right)
    field64.sub_vectors(_flat("left", left), _flat("right", right), out.reshape(-1))
    return out


def neg(elements: Elements) -> Elements:
    """−elements."""
    words = _checked("elements", elements)
    return np.where(words == 0, words, np.uint64(P) - words)


def mul(left: Elements, right: Elements | int) -> Elements:
    """left · right, entry by entry, for equal shapes or an int in [0, p)."""
    from mpc.kernels import field64

    if isinstance(right, np.ndarray):
        out = _like(left, right)
        field64.mul_vectors(_flat("left", left), _flat("right", right), out.reshape(-1))
    else:
        out = np.empty(left.shape, np.uint64)
        field64.scale(_flat("left", left), np.uint64(_scalar("right", right)), out.reshape(-1))
    return out


def add_into(total: Elements, elements: Elements) -> None:
    """total += elements, in place; equal shapes, ``total`` writable and C-contiguous."""
    from mpc.kernels import field64

    field64.accumulate(_accumulator(total, elements), _flat("elements", elements))


def sub_into(total: Elements, elements: Elements) -> None:
    """total −= elements, in place; equal shapes, ``total`` writable and C-contiguous."""
    from mpc.kernels import field64

    field64.deduct(_accumulator(total, elements), _flat("elements", elements))


def sum_rows(rows: Elements) -> Elements:
    """The sum over axis 0: shape (m, …) to shape (…)."""
    from mpc.kernels import field64

    if _checked("rows", rows).ndim == 0:
        raise LocalError("rows.shape", rows.shape, "at least one dimension")
    out = np.zeros(rows.shape[1:], np.uint64)
    for row in rows:
        field64.accumulate(out.reshape(-1), _flat("rows", row))
    return out


def combine_rows(weights: Elements, rows: Elements) -> Elements:
    """Σ weights_i · rows_i: shapes (m,) and (m, …) to shape (…)."""
    from mpc.kernels import field64

    if weights.ndim != 1 or rows.shape[:1] != weights.shape:
        raise LocalError("rows.shape", rows.shape, f"one row for each weight of shape {weights.shape}")
    out = np.empty(rows.shape[1:], np.uint64)
    matrix = _read_only("rows", rows).reshape(weights.size, out.size)
    field64.combine_rows(_flat("weights", weights), matrix, out.reshape(-1))
    return out


def inner(left: Elements, right: Elements) -> int:
    """Σ left_i · right_i over two arrays of equal shape."""
    from mpc.kernels import field64

    _same_shape(left, right)
    return int(field64.inner(_flat("left", left), _flat("right", right)))


def inv(value: int) -> int:
    """The inverse of one element; ``LocalError`` for zero."""
    element = _scalar("value", value)
    if element == 0:
        raise LocalError("value", 0, "zero has no inverse")
    return pow(element, -1, P)


def batch_inv(elements: Elements) -> Elements:
    """The inverses of all entries, for three multiplications each; ``LocalError`` if one is zero."""
    from mpc.kernels import field64

    flat = _flat("elements", elements)
    if not flat.all():
        raise LocalError(f"elements[{int(np.argmin(flat != 0))}]", 0, "zero has no inverse")
    out = np.empty(elements.shape, np.uint64)
    field64.invert(flat, out.reshape(-1))
    return out


def random(length: int, tape: RandomTape) -> Elements:
    """``length`` uniform elements: the first little-endian words of the tape that are below p."""
    out = np.empty(_length(length), np.uint64)
    done = 0
    while done < length:
        kept = _below_p(np.frombuffer(tape.read(ELEMENT_BYTES * (length - done)), "<u8"))
        out[done : done + kept.size] = kept
        done += kept.size
    return out


def expand(key: bytes, length: int) -> Elements:
    """``length`` uniform elements: the first little-endian words of the keystream of ``key`` that are below
    p.

    Rejection makes them exactly uniform if the keystream is. It strikes once in 2^32 words.
    """
    out = np.empty(_length(length), np.uint64)
    for done, run in _expansion(key, length):
        out[done : done + run.size] = run
    return out


def add_expansion(total: Elements, key: bytes) -> None:
    """total += expand(key, total.size), in place, block by block; shape (length,), C-contiguous."""
    from mpc.kernels import field64

    flat = _accumulator(total, total)
    for done, run in _expansion(key, total.size):
        field64.accumulate(flat[done : done + run.size], _flat("run", run))


def sub_expansion(total: Elements, key: bytes) -> None:
    """total −= expand(key, total.size), in place, block by block; shape (length,), C-contiguous."""
    from mpc.kernels import field64

    flat = _accumulator(total, total)
    for done, run in _expansion(key, total.size):
        field64.deduct(flat[done : done + run.size], _flat("run", run))


def _expansion(key: bytes, length: int) -> Iterator[tuple[int, Elements]]:
    """The elements of ``expand`` in runs, each with its place, in a buffer that the next one overwrites."""
    keystream = Keystream(key)
    words = min(length, _BLOCK_WORDS)
    block = np.empty(words + 2, np.uint64)  # the keystream writes up to 15 bytes beyond what it is asked for
    octets = block.view(np.uint8).data
    zeros = memoryview(bytes(ELEMENT_BYTES * words))
    done = 0
    while done < length:
        count = min(length - done, words)
        keystream.fill(zeros[: ELEMENT_BYTES * count], octets)
        run = _below_p(block[:count])
        yield done, run
        done += run.size


def to_bytes(elements: Elements) -> bytes:
    """Eight little-endian bytes an element, in C order."""
    return _checked("elements", elements).astype("<u8", copy=False).tobytes()


def from_bytes(data: bytes | memoryview) -> Elements:
    """The vector whose ``to_bytes`` is ``data``; ``DecodeError`` for a broken length or an element ≥ p."""
    size = memoryview(data).nbytes
    if size % ELEMENT_BYTES:
        raise DecodeError(f"{size} bytes are not a whole number of field elements")
    elements = np.frombuffer(data, "<u8").astype(np.uint64)
    if elements.size and int(elements.max()) >= P:
        raise DecodeError("a field element is not canonical")
    return elements


def _below_p(words: Elements) -> Elements:
    """The canonical ones among a few or more words: almost always the very same array."""
    return words if int(words.max()) < P else words[words < P]


def _length(length: int) -> int:
    if not is_whole(length) or length < 0:
        raise LocalError("length", length, "must be a whole number of at least 0")
    return int(length)


def _scalar(name: str, value: int) -> int:
    if not is_whole(value):
        raise LocalError(name, type(value).__name__, "an element is a whole number")
    if not 0 <= value < P:
        raise LocalError(name, "out of range", "an element lies in [0, p)")
    return int(value)


def is_whole(value: object) -> bool:
    """Whether it is an integer of Python's or NumPy's; a truth value is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _checked(name: str, elements: Elements) -> Elements:
    if elements.dtype != np.uint64:
        raise LocalError(f"{name}.dtype", elements.dtype, "field elements are uint64")
    return elements


def _read_only(name: str, elements: Elements) -> Elements:
    """A contiguous read-only view: one signature for a kernel, whatever its caller was handed."""
    view = np.ascontiguousarray(_checked(name, elements)).view()
    view.flags.writeable = False
    return view


def _flat(name: str, elements: Elements) -> Elements:
    return _read_only(name, elements).reshape(-1)


def _same_shape(left: Elements, right: Elements) -> None:
    if left.shape != right.shape:
        raise LocalError("right.shape", right.shape, f"the other operand has shape {left.shape}")


def _like(left: Elements, right: Elements) -> Elements:
    _same_shape(left, right)
    return np.empty(left.shape, np.uint64)


def _accumulator(total: Elements, elements: Elements) -> Elements:
    _checked("total", total)
    if elements.shape != total.shape:
        raise LocalError("elements.shape", elements.shape, f"the total has shape {total.shape}")
    if not (total.flags.writeable and total.flags.c_contiguous):
        layout = f"writeable = {total.flags.writeable}, strides = {total.strides}"
        raise LocalError("total", layout, "an accumulator is writable and C-contiguous")
    return total.reshape(-1)
