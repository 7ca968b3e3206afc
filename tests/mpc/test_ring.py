"""mpc.ring against arithmetic on Python integers and against counter mode block by block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.kernels import ring as kernel
from mpc.ring import BATCH, BLOCK_BYTES, LANES, Lanes, LaneType, Ring, add_masks
from mpc.tape import SeededTape

deterministic = settings(derandomize=True, deadline=None, max_examples=60)
WIDTHS = range(1, 65)
LENGTHS = [0, 1, 2, 7, 8, 9, 15, 16, 63, 64, 65, 71, 72, 73, 80, 128, 200]


def uniform_lanes(ring: Ring, length: int, label: str = "lanes") -> Lanes:
    """Lanes with every bit random, also those above ``bits``."""
    data = SeededTape(f"{label} {ring.bits} {length}".encode()).read(length * ring.lane.itemsize)
    return np.frombuffer(data, ring.lane).copy()


def packed_by_integers(ring: Ring, lanes: Lanes) -> bytes:
    total = sum((int(lane) & ring.mask) << (i * ring.bits) for i, lane in enumerate(lanes))
    return total.to_bytes(-(-len(lanes) * ring.bits // 8), "little")


def keystream_by_blocks(key: bytes, size: int) -> bytes:
    """AES on the counter blocks 0…02, 0…03, and so on."""
    blocks = b"".join(counter.to_bytes(16, "big") for counter in range(2, 2 + -(-size // 16)))
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(blocks)[:size]


def keys_of(count: int) -> list[bytes]:
    tape = SeededTape(b"keys")
    return [tape.read(16) for _ in range(count)]


def masks_by_blocks(total: Lanes, streams: list[tuple[bytes, int]]) -> Lanes:
    width = 8 * total.itemsize
    result = [int(lane) for lane in total]
    for key, sign in streams:
        mask = np.frombuffer(keystream_by_blocks(key, total.nbytes), total.dtype).tolist()
        result = [(value + sign * word) % 2**width for value, word in zip(result, mask, strict=True)]
    return np.array(result, total.dtype)


@pytest.mark.parametrize("bits", WIDTHS)
def test_geometry(bits: int) -> None:
    ring = Ring(bits)
    assert ring.mask == 2**bits - 1
    width = 8 * ring.lane.itemsize
    assert width in (16, 32, 64)
    assert bits <= width
    assert width == 16 or bits > width // 2
    for length in LENGTHS:
        assert ring.packed_size(length) == -(-length * bits // 8)


@pytest.mark.parametrize("bits", [-1, 0, 65, 1.5, 8.0, True, None, "8"])
def test_refuses_other_widths(bits: Any) -> None:
    with pytest.raises(LocalError, match=f"bits is {bits!r}"):
        Ring(bits)


@pytest.mark.parametrize("length", [-1, 2.5, 2.0, None, True])
def test_refuses_what_is_no_length(length: Any) -> None:
    with pytest.raises(LocalError, match=f"length is {length}"):
        Ring(8).packed_size(length)
    with pytest.raises(LocalError, match=f"length is {length}"):
        Ring(8).unpack(bytes(2), length)


@given(bits=st.sampled_from(WIDTHS), data=st.data())
@deterministic
def test_encode_and_decode_are_twos_complement(bits: int, data: st.DataObject) -> None:
    ring = Ring(bits)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    drawn: list[int] = data.draw(st.lists(st.integers(low, high), max_size=20))
    values: npt.NDArray[np.int64] = np.array([*drawn, low, high, 0, -1], np.int64)
    lanes = ring.encode(values)
    assert lanes.dtype == ring.lane
    assert lanes.tolist() == [value % 2**bits for value in values.tolist()]
    assert ring.decode(lanes).dtype == np.int64
    assert ring.decode(lanes).tolist() == values.tolist()


@pytest.mark.parametrize("bits", WIDTHS)
def test_decode_ignores_what_stands_above_the_value(bits: int) -> None:
    ring = Ring(bits)
    lanes = uniform_lanes(ring, 50)
    residues = [int(lane) % 2**bits for lane in lanes]
    assert ring.decode(lanes).tolist() == [r - 2**bits if r >> (bits - 1) else r for r in residues]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_encode_takes_every_signed_type_and_shape(dtype: type[np.signedinteger[Any]]) -> None:
    values = np.array([[-100, 3, 0], [7, 100, -1]], dtype)
    lanes = Ring(21).encode(values)
    assert lanes.tolist() == [[value % 2**21 for value in row] for row in values.tolist()]
    assert Ring(21).decode(lanes).tolist() == values.tolist()


@pytest.mark.parametrize("bits", range(1, 64))
@pytest.mark.parametrize("side", [-1, 1])
def test_encode_names_the_first_entry_out_of_range_and_hides_its_value(bits: int, side: int) -> None:
    beyond = 2 ** (bits - 1) if side > 0 else -(2 ** (bits - 1)) - 1
    values = np.array([0, -1, beyond, 0, beyond], np.int64)
    with pytest.raises(LocalError) as caught:
        Ring(bits).encode(values)
    assert caught.value.argument == "values[2]"
    assert f"[-2^{bits - 1}, 2^{bits - 1})" in str(caught.value)
    assert str(caught.value).startswith("values[2] is 'out of range'")


@pytest.mark.parametrize("dtype", [np.uint32, np.float64, np.bool_])
def test_encode_refuses_other_types(dtype: type) -> None:
    with pytest.raises(LocalError, match=r"values\.dtype"):
        Ring(8).encode(np.zeros(3, dtype))


@pytest.mark.parametrize("bits", WIDTHS)
def test_packing_is_little_endian_concatenation(bits: int) -> None:
    ring = Ring(bits)
    for length in LENGTHS:
        lanes = uniform_lanes(ring, length)
        packed = ring.pack(lanes)
        assert type(packed) is bytes
        assert packed == packed_by_integers(ring, lanes)
        unpacked = ring.unpack(packed, length)
        assert unpacked.dtype == ring.lane
        assert unpacked.tolist() == [int(lane) & ring.mask for lane in lanes]


@pytest.mark.parametrize("bits", [5, 16, 23, 32, 58, 64])
def test_packing_of_views(bits: int) -> None:
    ring = Ring(bits)
    lanes = uniform_lanes(ring, 300)
    packed = ring.pack(lanes[::3])
    assert packed == packed_by_integers(ring, lanes[::3])
    lanes.flags.writeable = False
    assert ring.pack(lanes[:100]) == packed_by_integers(ring, lanes[:100])
    odd = memoryview(b"?" + packed + b"?")[1:-1]
    assert ring.unpack(odd, 100).tolist() == ring.unpack(packed, 100).tolist()
    assert ring.unpack(odd, 100).flags.writeable


@given(bits=st.sampled_from(WIDTHS), length=st.integers(0, 90), data=st.data())
@deterministic
def test_every_string_without_padding_bits_is_canonical(bits: int, length: int, data: st.DataObject) -> None:
    ring = Ring(bits)
    number = data.draw(st.integers(0, 2 ** (bits * length) - 1))
    packed = number.to_bytes(ring.packed_size(length), "little")
    lanes = ring.unpack(packed, length)
    assert lanes.tolist() == [(number >> (i * bits)) & ring.mask for i in range(length)]
    assert ring.pack(lanes) == packed


@pytest.mark.parametrize("bits", WIDTHS)
def test_unpacking_refuses_other_lengths(bits: int) -> None:
    ring = Ring(bits)
    for length in (0, 1, 8, 13):
        size = ring.packed_size(length)
        total = np.zeros(length, ring.lane)
        for wrong in {size - 1, size + 1, size + 8} - {-1}:
            with pytest.raises(DecodeError):
                ring.unpack(bytes(wrong), length)
            with pytest.raises(DecodeError):
                ring.add_packed(total, bytes(wrong))


@pytest.mark.parametrize("bits", [bits for bits in WIDTHS if bits % 8])
def test_unpacking_refuses_padding_and_then_adds_nothing(bits: int) -> None:
    ring = Ring(bits)
    for length in (1, 3, 77):
        size = ring.packed_size(length)
        for bit in range(length * bits, 8 * size):
            spoilt = (int.from_bytes(ring.pack(uniform_lanes(ring, length)), "little") | 1 << bit).to_bytes(
                size, "little"
            )
            total = uniform_lanes(ring, length, "total")
            before = total.copy()
            with pytest.raises(DecodeError):
                ring.unpack(spoilt, length)
            with pytest.raises(DecodeError):
                ring.add_packed(total, spoilt)
            assert (total == before).all()


@pytest.mark.parametrize("bits", WIDTHS)
def test_add_packed_adds_modulo_the_lane(bits: int) -> None:
    ring = Ring(bits)
    width = 8 * ring.lane.itemsize
    for length in LENGTHS:
        total = uniform_lanes(ring, length, "total")
        lanes = uniform_lanes(ring, length)
        expected = [(int(t) + (int(x) & ring.mask)) % 2**width for t, x in zip(total, lanes, strict=True)]
        ring.add_packed(total, ring.pack(lanes))
        assert total.tolist() == expected


@pytest.mark.parametrize("bits", WIDTHS)
def test_unpacking_reads_no_byte_beyond_its_buffers(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is fetched as the eight bytes from its first one on, and the one after them if it is wide."""
    calls = []

    def record(octets: npt.NDArray[np.uint8], width: np.uint64, lanes: Lanes) -> None:
        if lanes.size:
            calls.append(((lanes.size - 1) * int(width) // 8 + (9 if width > 57 else 8), octets.size))

    monkeypatch.setattr(kernel, "add_packed", record)
    for length in range(1, 200):
        Ring(bits).unpack(bytes(Ring(bits).packed_size(length)), length)
    assert all(end <= size for end, size in calls)
    assert bool(calls) == (bits not in (8, 16, 32, 64))


def test_vectors_of_another_lane_or_shape_are_refused() -> None:
    ring = Ring(20)
    with pytest.raises(LocalError, match=r"lanes\.dtype"):
        ring.pack(np.zeros(4, np.uint64))
    with pytest.raises(LocalError, match=r"lanes\.dtype"):
        ring.decode(np.zeros(4, np.int64))
    with pytest.raises(LocalError, match=r"lanes\.shape"):
        ring.pack(np.zeros((2, 2), np.uint32))
    with pytest.raises(LocalError, match=r"total\.dtype"):
        ring.add_packed(np.zeros(4, np.uint16), bytes(10))
    with pytest.raises(LocalError, match="C-contiguous"):
        ring.add_packed(np.zeros(8, np.uint32)[::2], bytes(10))
    frozen = np.zeros(4, np.uint32)
    frozen.flags.writeable = False
    with pytest.raises(LocalError, match="writable"):
        ring.add_packed(frozen, bytes(10))


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("length", [0, 1, 3, 1000, 1001])
def test_masks_are_signed_sums_of_keystreams(lane: LaneType, length: int) -> None:
    streams = [(key, (-1) ** (i % 3)) for i, key in enumerate(keys_of(7))]
    total = np.frombuffer(SeededTape(b"total").read(length * lane.itemsize), lane).copy()
    expected = masks_by_blocks(total, streams)
    add_masks(total, streams)
    assert (total == expected).all()


@pytest.mark.parametrize("lane", LANES)
def test_masks_continue_over_blocks(lane: LaneType) -> None:
    """Two full blocks and a last one that is no multiple of a cipher block."""
    total = np.zeros(2 * BLOCK_BYTES // lane.itemsize + 13, lane)
    streams = [(key, sign) for key, sign in zip(keys_of(2), (1, -1), strict=True)]
    add_masks(total, streams)
    plus, minus = (
        np.frombuffer(keystream_by_blocks(key, total.nbytes), lane).astype(np.uint64) for key, _ in streams
    )
    assert (total == (plus - minus).astype(lane)).all()


def test_masks_of_more_than_one_batch() -> None:
    streams = [(key, 1 if i % 2 else -1) for i, key in enumerate(keys_of(2 * BATCH + 3))]
    total = np.arange(50, dtype=np.uint32)
    expected = masks_by_blocks(total, streams)
    add_masks(total, streams)
    assert (total == expected).all()


@given(order=st.permutations(range(6)), shape=st.sampled_from([(12,), (3, 4), (2, 3, 2)]))
@deterministic
def test_masks_cancel_in_any_order_and_shape(order: list[int], shape: tuple[int, ...]) -> None:
    streams = [(key, sign) for key in keys_of(3) for sign in (1, -1)]
    total = np.arange(12, dtype=np.uint64).reshape(shape)
    add_masks(total, [streams[i] for i in order])
    assert total.reshape(-1).tolist() == list(range(12))


def test_masks_summed_in_threads_are_the_same() -> None:
    streams = [(key, 1) for key in keys_of(6)]
    whole = np.zeros(5000, np.uint32)
    add_masks(whole, streams)
    parts = np.zeros((2, 5000), np.uint32)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add_masks, parts, (streams[:3], streams[3:])))
    assert (parts[0] + parts[1] == whole).all()


def test_bad_masks_are_refused_before_anything_is_added() -> None:
    good = (bytes(16), 1)
    total = np.zeros(10, np.uint32)
    with pytest.raises(LocalError, match=r"len\(streams\[1\]\[0\]\) is 15"):
        add_masks(total, [good, (bytes(15), 1)])
    for sign in (0, 2, -2):
        with pytest.raises(LocalError, match=r"streams\[1\]\[1\]"):
            add_masks(total, [good, (bytes(16), sign)])
    assert not total.any()
    for dtype in (np.int32, np.uint8, np.float32):
        with pytest.raises(LocalError, match=r"total\.dtype"):
            add_masks(np.zeros(10, dtype), [good])
    with pytest.raises(LocalError, match="C-contiguous"):
        add_masks(np.zeros(10, np.uint32)[::2], [good])
    total.flags.writeable = False
    with pytest.raises(LocalError, match="writable"):
        add_masks(total, [good])


@pytest.mark.parametrize("bits", [1, 7, 8, 16, 21, 32, 33, 64])
@pytest.mark.parametrize("length", [0, 1, 63, BLOCK_BYTES // 2, BLOCK_BYTES + 5])
def test_pack_masked_is_encode_add_masks_and_pack(bits: int, length: int) -> None:
    ring = Ring(bits)
    bound = 1 << (bits - 1)
    values = np.random.default_rng(bits).integers(-bound, bound - 1, length, np.int64, endpoint=True)
    streams = [(bytes([i] * 16), 1 if i % 3 else -1) for i in range(70)]
    lanes = ring.encode(values)
    add_masks(lanes, streams)
    assert bytes(ring.pack_masked(values, streams)) == ring.pack(lanes)


def test_pack_masked_refuses_what_encode_refuses() -> None:
    with pytest.raises(LocalError, match=r"values\[1\]"):
        Ring(4).pack_masked(np.array([0, 8]), [])


@pytest.mark.parametrize("shape", [(1, 20), (4, 5), (), (0, 3)])
def test_pack_masked_takes_a_vector_only(shape: tuple[int, ...]) -> None:
    for bits in (8, 13):
        with pytest.raises(LocalError, match=r"values\.shape is \(.*: a vector has one dimension"):
            Ring(bits).pack_masked(np.zeros(shape, np.int64), [(bytes(16), 1)])
