"""Packing of signed vectors into plaintexts, against shifting and adding on Python integers."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.errors import DecodeError, LocalError
from mpc.tape import SeededTape
from secagg.cohort import Cohort, sum_bits
from secagg.paillier import Paillier
from secagg.paillier import packing as packing_module
from secagg.paillier.packing import Packing
from secagg.paillier.private import generate

deterministic = settings(derandomize=True, deadline=None, max_examples=100)
shapes = st.builds(
    Packing, st.integers(2, 48), st.integers(1, 2000), st.sampled_from([64, 80, 160, 512, 2048, 3072])
)


def slow_pack(packing: Packing, vector: list[int]) -> list[int]:
    """One slot after the other."""
    plaintexts = [0] * packing.ciphertexts(len(vector))
    for index, value in enumerate(vector):
        slot = value + packing.max_entry
        plaintexts[index // packing.slots] += slot << (index % packing.slots * packing.slot_bits)
    return plaintexts


def row(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, np.int64)


@given(packing=shapes)
@deterministic
def test_no_slot_can_carry_and_no_plaintext_can_wrap(packing: Packing) -> None:
    largest_sum = 2 * packing.max_entry * packing.members
    assert largest_sum < 2**packing.slot_bits
    assert largest_sum >= 2 ** (packing.slot_bits - 1)  # and not one bit is wasted
    assert packing.slot_bits == sum_bits(packing.bits, packing.members)
    assert packing.slot_bits <= packing.bits + (packing.members - 1).bit_length()
    row_bits = packing.slots * packing.slot_bits
    assert row_bits <= packing.modulus_bits - 1 < row_bits + packing.slot_bits


@given(packing=shapes, data=st.data())
@deterministic
def test_packing_is_shifting_and_adding(packing: Packing, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 3 * packing.slots + 1).map(lambda value: min(value, 300)))
    extreme = st.sampled_from([-packing.max_entry, 0, packing.max_entry])
    entry = extreme | st.integers(-packing.max_entry, packing.max_entry)
    values = data.draw(st.lists(entry, min_size=length, max_size=length))
    plaintexts = packing.pack(row(values))
    assert plaintexts == slow_pack(packing, values)
    assert len(plaintexts) == packing.ciphertexts(length)
    assert all(plaintext < 2 ** (packing.modulus_bits - 1) for plaintext in plaintexts)
    assert packing.unpack(plaintexts, length, 1).tolist() == values


@given(packing=shapes, split=st.floats(0, 1), extra=st.integers(-2, 2), data=st.data())
@deterministic
def test_extreme_vectors_never_reach_a_neighbour(
    packing: Packing, split: float, extra: int, data: st.DataObject
) -> None:
    """``first`` clients hold one pattern of extreme values, the others another; none of it may carry."""
    length = max(1, 2 * packing.slots + extra)
    top = packing.max_entry
    alternating = [top if index % 2 else -top for index in range(length)]
    patterns = [[top] * length, [-top] * length, alternating, [-value for value in alternating]]
    one, other = data.draw(st.sampled_from(patterns)), data.draw(st.sampled_from(patterns))
    count = data.draw(st.sampled_from([packing.members, max(1, packing.members // 2)]))
    first = round(split * count)
    plaintexts = [
        first * a + (count - first) * b
        for a, b in zip(packing.pack(row(one)), packing.pack(row(other)), strict=True)
    ]
    assert all(plaintext < 2 ** (packing.modulus_bits - 1) for plaintext in plaintexts)
    expected = [first * a + (count - first) * b for a, b in zip(one, other, strict=True)]
    total = packing.unpack(plaintexts, length, count)
    assert total.dtype == np.int64
    assert total.tolist() == expected


@pytest.mark.parametrize(("bits", "members", "length"), [(16, 5, 100), (2, 3, 1), (48, 9, 23), (31, 5, 64)])
def test_encrypted_sums_come_out_as_sums(bits: int, members: int, length: int) -> None:
    private = generate(tape=SeededTape(b"packing"), insecure_bits=512)
    public = private.public
    packing = Packing(bits, members, public.bits)
    generator = np.random.default_rng([bits, members])
    vectors = generator.integers(-packing.max_entry, packing.max_entry + 1, (members, length))
    vectors[:, 0] = packing.max_entry
    vectors[:, -1] = -packing.max_entry
    tape = SeededTape(b"encryption")
    encrypted = [public.encrypt_many(packing.pack(vector), tape) for vector in vectors]
    for count in (1, members - 1, members):
        total = [public.product(column) for column in zip(*encrypted[:count], strict=True)]
        assert len(total) == packing.ciphertexts(length)
        opened = packing.unpack(private.decrypt_many(total), length, count)
        assert opened.tolist() == vectors[:count].sum(axis=0).tolist()


def test_a_long_vector() -> None:
    packing = Packing(16, 100, 3072)
    assert (packing.slot_bits, packing.slots) == (23, 133)
    generator = np.random.default_rng(7)
    vectors = generator.integers(-packing.max_entry, packing.max_entry + 1, (3, 200_001))
    packed = [packing.pack(vector) for vector in vectors]
    assert len(packed[0]) == packing.ciphertexts(200_001) == 1504
    total = [sum(column) for column in zip(*packed, strict=True)]
    np.testing.assert_array_equal(packing.unpack(total, 200_001, 3), vectors.sum(axis=0))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, ">i4"])
def test_any_signed_type_is_packed_alike(dtype: str) -> None:
    values = [-127, 127, 0, 1, -1]
    assert Packing(16, 3, 64).pack(np.array(values, dtype)) == slow_pack(Packing(16, 3, 64), values)
    strided = np.array([values, values], dtype).T[:, 0]
    assert Packing(8, 3, 64).pack(strided) == slow_pack(Packing(8, 3, 64), values)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((1, 10, 2048), "bits"),
        ((49, 10, 2048), "bits"),
        ((16, 0, 2048), "members"),
        ((16, 2**20 + 1, 2048), "members"),
        ((48, 2**16, 2048), "bits"),
        ((16, 100, 23), "modulus_bits"),
        ((16, 100, 0), "modulus_bits"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(arguments: tuple[int, int, int], name: str) -> None:
    with pytest.raises(LocalError, match=rf"^{name} is"):
        Packing(*arguments)


def test_parameters_that_just_fit() -> None:
    assert Packing(16, 100, 24).slots == 1
    assert Packing(48, 2**15, 64).slot_bits == 63
    packing = Packing(48, 2**15, 64)
    top = packing.max_entry * packing.members
    plaintexts = [packing.members * plaintext for plaintext in packing.pack(row([packing.max_entry]))]
    assert packing.unpack(plaintexts, 1, packing.members).tolist() == [top]
    assert packing.unpack([mpz(0)], 1, packing.members).tolist() == [-top]


@pytest.mark.parametrize("value", [32768, -32768, 2**62, -(2**63), 2**63 - 1])
def test_an_entry_beyond_the_bound_is_refused_and_not_printed(value: int) -> None:
    with pytest.raises(
        LocalError, match=r"^vector is '<secret> at 2': \|v\| must be at most 32767$"
    ) as caught:
        Packing(16, 3, 512).pack(row([32767, -32767, value, 1]))
    assert str(value) not in str(caught.value)


def test_what_is_not_a_row_of_signed_integers_is_refused() -> None:
    packing = Packing(16, 3, 512)
    for wrong in (np.zeros((2, 2), np.int64), np.zeros(3), np.zeros(3, np.uint64), np.zeros((), np.int64)):
        with pytest.raises(LocalError, match=r"^vector is"):
            packing.pack(wrong)  # type: ignore[arg-type]
    for call in (lambda: packing.pack(row([])), lambda: packing.ciphertexts(0)):
        with pytest.raises(LocalError, match=r"^length is 0"):
            call()


def test_no_more_slots_than_an_integer_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each party refuses a cohort of longer vectors when it is made, and not halfway."""
    assert Packing(16, 3, 512).ciphertexts(2**36 // 18) == 2**36 // 18 // 28 + 1
    with pytest.raises(
        LocalError, match="length is 3817748708: must be from 1 to 3817748707, at 18 bits a slot"
    ):
        Packing(16, 3, 512).ciphertexts(2**36 // 18 + 1)
    monkeypatch.setattr(packing_module, "MAX_STREAM_BITS", 18 * 100)
    backend = Paillier(insecure_key_bits=256).setup(SeededTape(b"keys"))
    link_key = SeededTape(b"link").read(32)
    server_key = X25519PrivateKey.from_private_bytes(link_key).public_key().public_bytes_raw()
    for length, complaint in ((100, None), (101, "length is 101: must be from 1 to 100, at 18 bits a slot")):
        cohort = Cohort(bytes(16), 0, ("a", "b", "c"), 2, length, 16, server_key)
        for act in (
            lambda cohort: backend.client(
                cohort, "a", np.zeros(cohort.length, np.int8), tape=SeededTape(b"")
            ),
            lambda cohort: backend.server(cohort, link_key=link_key, tape=SeededTape(b"")),
            lambda cohort: backend.helpers(cohort, tape=SeededTape(b"")),
            lambda cohort: backend.cost(cohort),
        ):
            with nullcontext() if complaint is None else pytest.raises(LocalError, match=complaint):
                act(cohort)


def test_unpack_refuses_what_count_vectors_cannot_add_up_to() -> None:
    packing = Packing(16, 5, 160)  # 19 bits a slot, 8 slots
    assert (packing.slot_bits, packing.slots) == (19, 8)
    length, row_bits = 11, 8 * 19
    good = packing.pack(row([32767] * length))
    packing.unpack(good, length, 1)
    for index in range(length):
        tampered = list(good)
        tampered[index // 8] += mpz(1) << (index % 8 * 19)
        with pytest.raises(DecodeError, match=f"entry {index} is more than 1 contributions"):
            packing.unpack(tampered, length, 1)
        assert packing.unpack(tampered, length, 2)[index] == 32767 + 1 - 32767  # but two can add up to it
    for plaintexts in (
        [good[0], good[1] + (1 << 3 * 19)],  # a slot beyond the vector
        [good[0], mpz(1) << row_bits],
        [good[0] + (mpz(1) << row_bits), good[1]],
        [good[0], mpz(-1)],
        [mpz(-1), good[1]],
    ):
        with pytest.raises(DecodeError, match="has more than its"):
            packing.unpack(plaintexts, length, 1)
    for plaintexts in ([], good[:1], [*good, mpz(0)]):
        with pytest.raises(DecodeError, match="plaintexts where 11 entries take 2"):
            packing.unpack(plaintexts, length, 1)
    for count in (0, -1, 6):
        with pytest.raises(LocalError, match="count"):
            packing.unpack(good, length, count)


@given(packing=shapes, data=st.data())
@deterministic
def test_unpack_accepts_exactly_the_possible_sums(packing: Packing, data: st.DataObject) -> None:
    """A single slot, any value: it decodes to a sum that ``count`` entries can have, or not at all."""
    count = data.draw(st.integers(1, packing.members))
    slot = data.draw(st.integers(0, 2**packing.slot_bits - 1))
    if slot <= 2 * packing.max_entry * count:
        value = packing.unpack([mpz(slot)], 1, count).item()
        assert value == slot - packing.max_entry * count
        assert abs(value) <= packing.max_entry * count
    else:
        with pytest.raises(DecodeError):
            packing.unpack([mpz(slot)], 1, count)


def test_a_cohort_is_packed_with_room_for_all_its_members() -> None:
    cohort = Cohort(bytes(16), 0, tuple("abcde"), 3, 9, 20, bytes(32))
    assert Packing.of(cohort, 512) == Packing(bits=20, members=5, modulus_bits=512)
