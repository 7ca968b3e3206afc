"""Coefficients of a batch, and products of many powers against one power at a time."""

from __future__ import annotations

import hashlib
import math

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError
from mpc.prg import Usage, derive_key, tag
from mpc.tape import SeededTape
from secagg.paillier import parallel
from secagg.paillier.batch import batch_digest, coefficients, product_of_powers
from secagg.paillier.numbers import decode_numbers, encode_numbers, require_units

MODULUS = mpz(SeededTape(b"modulus").below(2**512) | 1)
TOP = 2**128 - 1


def numbers(count: int, label: bytes) -> list[mpz]:
    tape = SeededTape(label)
    return [mpz(tape.below(int(MODULUS))) for _ in range(count)]


def one_by_one(bases: list[mpz], exponents: list[int], modulus: mpz) -> mpz:
    return (
        math.prod((pow(base, e, modulus) for base, e in zip(bases, exponents, strict=True)), start=1)
        % modulus
    )


@settings(derandomize=True, deadline=None, max_examples=60)
@given(exponents=st.lists(st.one_of(st.sampled_from([0, 1, TOP, 2**127]), st.integers(0, TOP)), max_size=40))
def test_the_product_is_that_of_the_powers(exponents: list[int]) -> None:
    bases = numbers(len(exponents), b"bases")
    assert product_of_powers(bases, exponents, MODULUS) == one_by_one(bases, exponents, MODULUS)


@pytest.mark.parametrize("processors", [1, 3])
@pytest.mark.parametrize("count", [99, 200, 1001])
def test_many_bases_on_several_threads_give_the_same(
    count: int, processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: processors)
    bases, exponents = numbers(count, b"many"), coefficients(bytes(32), count)
    assert product_of_powers(bases, exponents, MODULUS) == one_by_one(bases, exponents, MODULUS)


def test_coefficients_are_words_of_the_keystream_of_their_digest() -> None:
    digest = hashlib.sha256(b"statement").digest()
    key = derive_key(digest, Usage(22), b"")
    counter = bytes(12) + (2).to_bytes(4, "big")
    stream = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(16 * 5))
    words = [int.from_bytes(stream[at : at + 16], "little") for at in range(0, 80, 16)]
    assert coefficients(digest, 5) == words
    assert coefficients(digest, 0) == []


def test_the_digest_is_of_everything_and_its_lengths() -> None:
    columns = [[mpz(1), mpz(2)], [mpz(3), mpz(4)]]
    expected = tag(Usage(22)) + b"".join(length.to_bytes(4, "little") for length in (3, 2, 2, 2, 2))
    expected += b"ctx" + bytes([1, 0, 2, 0, 3, 0, 4, 0])
    assert batch_digest(b"ctx", columns, 2) == hashlib.sha256(expected).digest()


@pytest.mark.parametrize(
    ("context", "columns", "width"),
    [
        (b"cty", [[1, 2], [3, 4]], 2),
        (b"ctx", [[1, 2], [4, 3]], 2),
        (b"ctx", [[3, 4], [1, 2]], 2),
        (b"ctx", [[1, 2, 3, 4]], 2),
        (b"ctx", [[1], [2], [3], [4]], 2),
        (b"ctx\1\0", [[2, 3], [4]], 2),
        (b"ctx", [[1, 0, 2, 0], [3, 0, 4, 0]], 1),
    ],
)
def test_another_statement_has_another_digest(context: bytes, columns: list[list[int]], width: int) -> None:
    original = batch_digest(b"ctx", [[mpz(1), mpz(2)], [mpz(3), mpz(4)]], 2)
    assert batch_digest(context, [list(map(mpz, column)) for column in columns], width) != original


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([1, 2, 0], r"root 2 is not in \(0, n\)"),
        ([15, 1], r"root 0 is not in \(0, n\)"),
        ([-1], r"root 0 is not in \(0, n\)"),
        ([2, 5, 3], "root 1 has a factor in common with n"),
    ],
)
def test_what_is_no_unit_is_named(values: list[int], fault: str) -> None:
    with pytest.raises(DecodeError, match=f"^{fault}$"):
        require_units(list(map(mpz, values)), mpz(15), "root")


def test_units_pass() -> None:
    require_units([mpz(x) for x in (1, 2, 4, 7, 8, 11, 13, 14)], mpz(15), "root")
    require_units([], mpz(15), "root")


def test_numbers_survive_their_encoding() -> None:
    data = encode_numbers([mpz(0), mpz(258), mpz(65535)], 2)
    assert data == bytes([0, 0, 2, 1, 255, 255])
    assert decode_numbers(data, 2) == [0, 258, 65535]
    assert decode_numbers(memoryview(data), 3) == [2 << 16, 0xFFFF01]
    with pytest.raises(DecodeError, match="6 bytes are no multiple of 4"):
        decode_numbers(data, 4)
