"""python-paillier as the oracle: its keys, its ciphertexts, and ours, in both directions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gmpy2
import numpy as np
import phe
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.tape import SeededTape
from secagg.paillier.packing import Packing
from secagg.paillier.phe import (
    ciphertexts_from_phe,
    ciphertexts_to_phe,
    plaintext_of,
    private_from_phe,
    private_to_phe,
    public_from_phe,
    public_to_phe,
    value_of,
)
from secagg.paillier.private import PrivateKey, generate
from secagg.paillier.public import PublicKey

BITS = 512
HALF = BITS // 2
WITH_BASE = generate(tape=SeededTape(b"the key of these tests"), insecure_bits=BITS)


def primes(*starts: int) -> list[int]:
    return [int(gmpy2.next_prime(start << (HALF - 8))) for start in starts]


def their_key(p: int, q: int) -> phe.PaillierPrivateKey:
    return phe.PaillierPrivateKey(phe.PaillierPublicKey(p * q), p, q)


THEIRS = their_key(*primes(0xB9, 0xC3))
TEXTBOOK = private_from_phe(THEIRS, allow_insecure_bits=True)
KEYS = pytest.mark.parametrize("private", [WITH_BASE, TEXTBOOK], ids=["base", "textbook"])

deterministic = settings(derandomize=True, deadline=None, max_examples=25)
LARGEST = int(min(WITH_BASE.public.n, TEXTBOOK.public.n)) // 3 - 1
values = st.one_of(st.sampled_from([0, 1, -1, LARGEST, -LARGEST]), st.integers(-LARGEST, LARGEST))


# Keys


@KEYS
def test_keys_convert_both_ways(private: PrivateKey) -> None:
    public = private.public
    theirs = private_to_phe(private)
    assert theirs.public_key == public_to_phe(public)
    assert theirs.public_key.n == public.n
    assert theirs.p * theirs.q == public.n
    back = private_from_phe(theirs, allow_insecure_bits=True)
    assert back.public == public_from_phe(theirs.public_key, allow_insecure_bits=True) == PublicKey(public.n)
    assert private_to_phe(back) == theirs


@pytest.mark.parametrize("convert", [public_from_phe, private_from_phe])
def test_insecure_sizes_are_refused_unless_asked_for(convert: Callable[..., Any]) -> None:
    key = THEIRS.public_key if convert is public_from_phe else THEIRS
    with pytest.raises(LocalError, match="512: must be one of 2048, 3072, 4096"):
        convert(key)
    convert(key, allow_insecure_bits=True)


@pytest.mark.parametrize(
    ("p", "q", "fault"),
    [
        (*primes(0xB9), 3 * (0xC3 << (HALF - 8)), "one length"),
        (*primes(0xB9), (0xC3 << (HALF - 8)) + 1, "prime"),
        (*primes(0x80, 0x81), "multiple of 16"),
        (*primes(0xB9, 0x51), "one length"),
    ],
)
def test_keys_that_fail_our_checks_are_refused(p: int, q: int, fault: str) -> None:
    with pytest.raises(LocalError, match=fault) as caught:
        private_from_phe(their_key(p, q), allow_insecure_bits=True)
    assert str(p)[:12] not in str(caught.value)


@pytest.mark.parametrize("n", [5 * (1 << (BITS - 3)) + 5, int(gmpy2.next_prime(1 << (BITS - 1)))])
def test_a_public_key_that_fails_our_checks_is_refused(n: int) -> None:
    with pytest.raises(LocalError, match=r"small prime|not a prime"):
        public_from_phe(phe.PaillierPublicKey(n), allow_insecure_bits=True)


# Numbers


@KEYS
@given(value=values)
@deterministic
def test_they_open_what_we_encrypt(private: PrivateKey, value: int) -> None:
    public = private.public
    ciphertext = public.encrypt(plaintext_of(public, value), SeededTape(b"ours"))
    (number,) = ciphertexts_to_phe(public, [ciphertext])
    assert number.exponent == 0
    assert private_to_phe(private).decrypt(number) == value
    assert number.ciphertext(be_secure=False) == ciphertext


@KEYS
@given(value=values)
@deterministic
def test_we_open_what_they_encrypt(private: PrivateKey, value: int) -> None:
    public = private.public
    number = public_to_phe(public).encrypt(value)
    (ciphertext,) = ciphertexts_from_phe(public, [number])
    assert value_of(public, private.decrypt(ciphertext)) == value


@KEYS
@given(left=st.integers(-(2**60), 2**60), right=st.integers(-(2**60), 2**60))
@deterministic
def test_sums_mix_both(private: PrivateKey, left: int, right: int) -> None:
    public = private.public
    ours = public.encrypt(plaintext_of(public, left), SeededTape(b"left"))
    theirs = public_to_phe(public).encrypt(right)
    there = ciphertexts_to_phe(public, [ours])[0] + theirs
    assert private_to_phe(private).decrypt(there) == left + right
    here = public.add(ours, ciphertexts_from_phe(public, [theirs])[0])
    assert value_of(public, private.decrypt(here)) == left + right
    (back,) = ciphertexts_from_phe(public, [there])
    assert value_of(public, private.decrypt(public.add(back, here))) == 2 * (left + right)


@KEYS
def test_packed_vectors_are_opened_there_as_raw_integers(private: PrivateKey) -> None:
    public, packing = private.public, Packing(16, 3, BITS)
    vectors = np.random.default_rng(1).integers(-32767, 32768, (3, 50))
    rows = [public.encrypt_many(packing.pack(v), SeededTape(b"%d" % i)) for i, v in enumerate(vectors)]
    first, second, third = (ciphertexts_to_phe(public, row) for row in rows)
    total = [a + b + c for a, b, c in zip(first, second, third, strict=True)]
    theirs = private_to_phe(private)
    opened = [mpz(theirs.raw_decrypt(number.ciphertext(be_secure=False))) for number in total]
    np.testing.assert_array_equal(packing.unpack(opened, 50, 3), vectors.sum(0))


def test_what_they_computed_is_obfuscated_unless_told_otherwise() -> None:
    public = TEXTBOOK.public
    number = public_to_phe(public).encrypt(5) + 7
    bare = number.ciphertext(be_secure=False)
    assert ciphertexts_from_phe(public, [number], be_secure=False) == [bare]
    (hidden,) = ciphertexts_from_phe(public, [number])
    assert hidden != bare
    assert TEXTBOOK.decrypt_many([hidden, mpz(bare)]) == [12, 12]


def test_exponents_of_floats_are_refused() -> None:
    public = TEXTBOOK.public
    theirs = public_to_phe(public)
    good, fraction = theirs.encrypt(3), theirs.encrypt(0.5)
    with pytest.raises(LocalError, match=rf"of exponent {fraction.exponent} at 1'.* must be integers"):
        ciphertexts_from_phe(public, [good, fraction])
    large = phe.EncryptedNumber(theirs, good.ciphertext(), 1)  # stands for 3 · 16
    with pytest.raises(LocalError, match="of exponent 1 at 0"):
        ciphertexts_from_phe(public, [large])
    (ciphertext,) = ciphertexts_from_phe(public, [large.decrease_exponent_to(0)])
    assert TEXTBOOK.decrypt(ciphertext) == 48


def test_other_keys_and_bad_ciphertexts_are_refused() -> None:
    public = TEXTBOOK.public
    number = public_to_phe(public).encrypt(3)
    with pytest.raises(LocalError, match=r"at 0.*under the key that is given"):
        ciphertexts_from_phe(WITH_BASE.public, [number])
    for bad in (0, int(public.n), int(public.n2) + 2):
        forged = phe.EncryptedNumber(public_to_phe(public), bad, 0)
        with pytest.raises(DecodeError, match="ciphertext 1"):
            ciphertexts_from_phe(public, [number, forged])
        with pytest.raises(DecodeError, match="ciphertext 0"):
            ciphertexts_to_phe(public, [mpz(bad)])


def test_other_objects_are_refused_by_name() -> None:
    public = TEXTBOOK.public
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: public_from_phe(public), "'PublicKey': must be phe's PaillierPublicKey"),
        (lambda: private_from_phe(THEIRS.public_key), "must be phe's PaillierPrivateKey"),
        (lambda: ciphertexts_from_phe(public, [5]), "'int': must be phe's EncryptedNumber"),
    ]
    for call, fault in calls:
        with pytest.raises(LocalError, match=fault):
            call()


def test_integers_beyond_a_third_of_n_are_refused() -> None:
    public = TEXTBOOK.public
    most = int(public.n) // 3 - 1
    assert public_to_phe(public).max_int == most
    for value in (most, -most):
        assert value_of(public, plaintext_of(public, value)) == value
        with pytest.raises(LocalError, match="<secret>"):
            plaintext_of(public, value + (1 if value > 0 else -1))
    for plaintext in (most + 1, int(public.n) - most - 1, int(public.n) // 2, -1, int(public.n)):
        with pytest.raises(DecodeError, match="left the range"):
            value_of(public, mpz(plaintext))


def test_the_extra_is_imported_by_calls_alone() -> None:
    program = "import sys; sys.modules['phe'] = None; import secagg.paillier.phe"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phe", None)
    with pytest.raises(LocalError, match=r"secagg\[paillier-phe\]"):
        public_to_phe(TEXTBOOK.public)
    with pytest.raises(LocalError, match=r"secagg\[paillier-phe\]"):
        public_from_phe(THEIRS.public_key)


def test_a_key_of_theirs_at_a_size_that_is_used() -> None:
    public, theirs = phe.generate_paillier_keypair(n_length=2048)
    ours = private_from_phe(theirs)
    assert ours.public == public_from_phe(public)
    numbers = [public.encrypt(value) for value in (-5, 7)]
    opened = ours.decrypt_many(ciphertexts_from_phe(ours.public, numbers))
    assert [value_of(ours.public, plaintext) for plaintext in opened] == [-5, 7]
