"""Paillier keys and arithmetic against a textbook implementation on Python integers."""

from __future__ import annotations

import copy
import hashlib
import math
import os
import pickle
from collections.abc import Callable
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.tape import RecordedTape, SeededTape
from secagg.paillier.private import PrivateKey, generate
from secagg.paillier.public import PublicKey, exponent_bits

BITS = 512
PRIVATE = generate(tape=SeededTape(b"the key of these tests"), insecure_bits=BITS)
PUBLIC = PRIVATE.public
N = int(PUBLIC.n)
N2 = N * N
SECRET = PRIVATE.export_secret()
P = int.from_bytes(SECRET[4:36], "little")
Q = int.from_bytes(SECRET[36:68], "little")

deterministic = settings(
    derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
plaintexts = st.one_of(st.sampled_from([0, 1, N // 2, N - 1]), st.integers(0, N - 1))


def textbook_encrypt(plaintext: int, unit: int) -> int:
    """Paillier 1999, scheme 1: g^m · r^n modulo n², g = n + 1, nothing precomputed."""
    return pow(N + 1, plaintext, N2) * pow(unit, N, N2) % N2


def textbook_decrypt(ciphertext: int) -> int:
    """L(c^λ) / L(g^λ) modulo n."""
    lam = math.lcm(P - 1, Q - 1)

    def quotient(power: int) -> int:
        assert (power - 1) % N == 0
        return (power - 1) // N

    mu = pow(quotient(pow(N + 1, lam, N2)), -1, N)
    return quotient(pow(ciphertext, lam, N2)) * mu % N


# Generation


@pytest.mark.parametrize("bits", [64, 80, 512, 1024])
def test_generated_primes_have_every_property_that_is_promised(bits: int) -> None:
    for seed in range(4):
        key = generate(tape=SeededTape(b"%d" % seed), insecure_bits=bits)
        exported, width = key.export_secret(), bits // 16
        p = int.from_bytes(exported[4 : 4 + width], "little")
        q = int.from_bytes(exported[4 + width : 4 + 2 * width], "little")
        assert p * q == key.public.n
        assert key.public.bits == bits
        assert p < q
        for prime in (p, q):
            assert gmpy2.is_prime(prime)
            assert prime % 4 == 3
            assert prime >> (bits // 2 - 2) == 3
        assert math.gcd(p - 1, q - 1) == 2
        assert math.gcd(p * q, (p - 1) * (q - 1)) == 1
        if bits > 200:
            assert q - p > 2 ** (bits // 2 - 100)


def test_the_randomizer_base_is_minus_a_square_to_the_power_n() -> None:
    h_s = int(PUBLIC.h_s)
    lam = math.lcm(P - 1, Q - 1)
    assert pow(h_s, lam, N2) == 1  # an n-th power
    assert gmpy2.jacobi(h_s, N) == 1
    assert gmpy2.legendre(h_s, P) == gmpy2.legendre(h_s, Q) == -1  # n is odd, so minus a square it stays


def test_generation_depends_on_the_tape_alone() -> None:
    first = generate(tape=SeededTape(b"a"), insecure_bits=128)
    assert generate(tape=SeededTape(b"a"), insecure_bits=128) == first
    assert generate(tape=SeededTape(b"b"), insecure_bits=128) != first
    assert hash(first) == hash(generate(tape=SeededTape(b"a"), insecure_bits=128))
    assert first != "a key"


@pytest.mark.parametrize("bits", [0, 512, 1024, 2047, 2064, 8192, 3072.0, "3072", None, True])
def test_generate_refuses_other_sizes(bits: Any) -> None:
    with pytest.raises(LocalError, match=rf"^bits is {bits!r}: must be one of 2048, 3072, 4096"):
        generate(bits, tape=SeededTape(b""))


@pytest.mark.parametrize("bits", [-16, 0, 48, 65, 72, 2048, 3072, 512.0, "512", False])
def test_generate_refuses_other_insecure_sizes(bits: Any) -> None:
    with pytest.raises(LocalError, match=r"^insecure_bits is"):
        generate(tape=SeededTape(b""), insecure_bits=bits)


@pytest.mark.parametrize(("bits", "security"), [(2048, 112), (3072, 128), (4096, 152)])
def test_exponents_withstand_precomputation_and_stay_below_the_original_length(
    bits: int, security: int
) -> None:
    assert 3 * security <= exponent_bits(bits) <= bits // 2
    assert exponent_bits(bits) % 8 == 0


# Encryption and decryption


@given(plaintext=plaintexts, seed=st.binary(max_size=4))
@deterministic
def test_the_textbook_opens_what_we_encrypt(plaintext: int, seed: bytes) -> None:
    ciphertext = PUBLIC.encrypt(mpz(plaintext), SeededTape(seed))
    PUBLIC.validate_ciphertext(ciphertext)
    assert textbook_decrypt(int(ciphertext)) == plaintext
    assert PRIVATE.decrypt(ciphertext) == plaintext


@given(plaintext=plaintexts, unit=st.integers(1, N - 1))
@deterministic
def test_we_open_what_the_textbook_encrypts(plaintext: int, unit: int) -> None:
    assert PRIVATE.decrypt(mpz(textbook_encrypt(plaintext, unit))) == plaintext


@given(plaintext=plaintexts, exponent=st.binary(min_size=BITS // 16, max_size=BITS // 16))
@deterministic
def test_a_ciphertext_is_the_documented_function_of_the_tape(plaintext: int, exponent: bytes) -> None:
    power = pow(int(PUBLIC.h_s), int.from_bytes(exponent, "little"), N2)
    expected = (1 + plaintext * N) * power % N2
    assert PUBLIC.encrypt(mpz(plaintext), RecordedTape(exponent)) == expected


@pytest.mark.parametrize("processors", [None, 1, 3, 64])
def test_threads_change_nothing(processors: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [mpz(v) for v in (5, 0, N - 1, 77, 1, 2, 3)]
    tape = SeededTape(b"in order")
    expected = [PUBLIC.encrypt(value, tape) for value in values]
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    for some in (values, values[:1], []):
        batch = PUBLIC.encrypt_many(some, SeededTape(b"in order"))
        assert batch == expected[: len(some)]
        assert PRIVATE.decrypt_many(batch) == some


def test_equal_plaintexts_have_unequal_ciphertexts() -> None:
    ciphertexts = PUBLIC.encrypt_many([mpz(1)] * 50, SeededTape(b"fresh"))
    assert len(set(ciphertexts)) == 50


@pytest.mark.parametrize("plaintext", [-1, N, N2])
def test_encrypt_refuses_what_is_no_plaintext_and_does_not_print_it(plaintext: int) -> None:
    with pytest.raises(LocalError, match="plaintexts is '<secret> at 1'") as caught:
        PUBLIC.encrypt_many([mpz(3), mpz(plaintext)], SeededTape(b""))
    assert str(plaintext) not in str(caught.value)


# Homomorphism


@given(left=plaintexts, right=plaintexts)
@deterministic
def test_adding_ciphertexts_adds_plaintexts_modulo_n(left: int, right: int) -> None:
    a, b = PUBLIC.encrypt_many([mpz(left), mpz(right)], SeededTape(b"add"))
    assert PRIVATE.decrypt(PUBLIC.add(a, b)) == (left + right) % N
    assert textbook_decrypt(int(PUBLIC.add(a, b))) == (left + right) % N


@given(values=st.lists(plaintexts, min_size=1, max_size=8))
@deterministic
def test_a_product_is_the_sum_of_all(values: list[int]) -> None:
    ciphertexts = PUBLIC.encrypt_many([mpz(v) for v in values], SeededTape(b"product"))
    assert PRIVATE.decrypt(PUBLIC.product(ciphertexts)) == sum(values) % N
    doubled = PUBLIC.add_many(ciphertexts, ciphertexts[::-1])
    expected = [(a + b) % N for a, b in zip(values, values[::-1], strict=True)]
    assert PRIVATE.decrypt_many(doubled) == expected


@given(values=st.lists(st.tuples(plaintexts, plaintexts), max_size=4))
@deterministic
def test_adding_a_plaintext_keeps_the_randomness(
    values: list[tuple[int, int]],
) -> None:
    ciphertexts = PUBLIC.encrypt_many([mpz(left) for left, _ in values], SeededTape(b"plain"))
    added = PUBLIC.add_plaintexts(ciphertexts, [mpz(right) for _, right in values])
    assert PRIVATE.decrypt_many(added) == [(left + right) % N for left, right in values]
    for before, after, (_, right) in zip(ciphertexts, added, values, strict=True):
        assert after == before * textbook_encrypt(right, 1) % N2


def test_sums_of_nothing_or_of_unequal_lengths_are_refused() -> None:
    with pytest.raises(LocalError, match=r"len\(plaintexts\) is 1: must equal 2"):
        PUBLIC.add_plaintexts([mpz(1), mpz(2)], [mpz(3)])
    with pytest.raises(LocalError, match="ciphertexts"):
        PUBLIC.product([])
    with pytest.raises(LocalError, match=r"len\(right\) is 1: must equal len\(left\), 2"):
        PUBLIC.add_many([mpz(1), mpz(2)], [mpz(3)])


# Ciphertexts from elsewhere


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (0, "not in"),
        (-1, "not in"),
        (N2, "not in"),
        (N2 + 2, "not in"),
        (N, "factor"),
        (P, "factor"),
        (7 * Q, "factor"),
        (N2 - P * P, "factor"),
    ],
)
def test_an_invalid_ciphertext_is_refused_wherever_it_stands(bad: int, fault: str) -> None:
    good = PUBLIC.encrypt_many([mpz(1), mpz(2), mpz(3)], SeededTape(b"valid"))
    PUBLIC.validate_ciphertexts(good)
    with pytest.raises(DecodeError, match=f"ciphertext 0 .*{fault}"):
        PUBLIC.validate_ciphertext(mpz(bad))
    for index in range(3):
        batch = [*good[:index], mpz(bad), *good[index + 1 :]]
        with pytest.raises(DecodeError, match=f"ciphertext {index} .*{fault}"):
            PUBLIC.validate_ciphertexts(batch)
        with pytest.raises(DecodeError, match=f"ciphertext {index} .*{fault}"):
            PRIVATE.decrypt_many(batch)


def test_two_factors_that_complete_each_other_are_both_seen() -> None:
    """The product of P and Q vanishes modulo n: the batch must not take that for a unit."""
    with pytest.raises(DecodeError, match=r"ciphertext 1 .*factor"):
        PUBLIC.validate_ciphertexts([mpz(2), mpz(P), mpz(Q)])


def test_ciphertext_bytes_are_fixed_width_little_endian_and_strict() -> None:
    ciphertexts = [*PUBLIC.encrypt_many([mpz(1), mpz(2)], SeededTape(b"bytes")), mpz(1)]
    data = PUBLIC.encode_ciphertexts(ciphertexts)
    assert data == b"".join(int(c).to_bytes(BITS // 4, "little") for c in ciphertexts)
    assert PUBLIC.ciphertext_bytes == BITS // 4
    assert PUBLIC.decode_ciphertexts(data, 3) == ciphertexts
    assert PUBLIC.decode_ciphertexts(b"", 0) == []
    for wrong, count in ((data, 2), (data, 4), (data[:-1], 3), (data + b"\0", 3), (b"\0", 0)):
        with pytest.raises(DecodeError, match="bytes where"):
            PUBLIC.decode_ciphertexts(wrong, count)
    for bad in (0, N2, 2 ** (2 * BITS) - 1, P):
        tampered = data[: BITS // 4] + bad.to_bytes(BITS // 4, "little") + data[BITS // 2 :]
        with pytest.raises(DecodeError, match="ciphertext 1"):
            PUBLIC.decode_ciphertexts(tampered, 3)
    for bad in (0, -1, N2):
        with pytest.raises(LocalError, match="at 1"):
            PUBLIC.encode_ciphertexts([mpz(1), mpz(bad)])


# Public keys as bytes


def public_bytes(n: int, h_s: int, bits: int = BITS, version: int = 1, kind: int = 1) -> bytes:
    header = bytes([version, kind]) + bits.to_bytes(2, "little")
    return header + n.to_bytes(bits // 8, "little") + h_s.to_bytes(bits // 4, "little")


def test_a_public_key_survives_its_encoding() -> None:
    data = PUBLIC.encode()
    assert data == public_bytes(N, int(PUBLIC.h_s))
    again = PublicKey.decode(data, allow_insecure_bits=True)
    assert again == PUBLIC
    assert hash(again) == hash(PUBLIC)
    assert again.fingerprint() == PUBLIC.fingerprint() == hashlib.sha256(data).digest()
    assert PublicKey(N, int(PUBLIC.h_s)).encrypt(5, SeededTape(b"")) == PUBLIC.encrypt(
        mpz(5), SeededTape(b"")
    )
    other = PublicKey(PUBLIC.n, PUBLIC.h_s * PUBLIC.h_s % N2)
    assert other != PUBLIC
    assert other.fingerprint() != PUBLIC.fingerprint()


def test_an_insecure_key_is_refused_unless_asked_for() -> None:
    with pytest.raises(DecodeError, match="512 bits is not one of 2048, 3072, 4096"):
        PublicKey.decode(PUBLIC.encode())
    with pytest.raises(DecodeError, match="512 bits is not one of 2048, 3072, 4096"):
        PrivateKey.import_secret(SECRET)


H = int(PUBLIC.h_s)
MINUS = next(x for x in range(2, 100) if gmpy2.jacobi(x, N) == -1)
SHORT = int(generate(tape=SeededTape(b"short"), insecure_bits=BITS - 16).public.n)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (public_bytes(N, H, version=0), "version"),
        (public_bytes(N, H, version=2), "version"),
        (public_bytes(N, H, kind=2), "version 1 and kind 1"),
        (SECRET, "version 1 and kind 1"),
        (public_bytes(N, H) + b"\0", "bytes where"),
        (public_bytes(N, H)[:-1], "bytes where"),
        (b"", "version"),
        (b"\x01\x01\x00", "version"),
        (b"\x01\x01\x00\x00", "64 bits or more"),
        (public_bytes(15, 2, bits=32), "64 bits or more"),
        (public_bytes(SHORT, 4), "shorter than it is declared"),
        (public_bytes(N >> 1 | 1, 4), "multiple of 16"),
        (public_bytes(N - 1, H), "1 modulo 4"),
        (public_bytes(N + 2, H), "1 modulo 4"),
        (public_bytes(N, 0), "unit"),
        (public_bytes(N, 1), "unit"),
        (public_bytes(N, P), "unit"),
        (public_bytes(N, N), "unit"),
        (public_bytes(N, N2), "unit"),
        (public_bytes(N, N2 + H % 2**100), "unit"),
        (public_bytes(N, N2 - 1), "±1 modulo n"),
        (public_bytes(N, 1 + 5 * N), "±1 modulo n"),
        (public_bytes(N, MINUS), "Jacobi symbol 1"),
    ],
)
def test_what_is_not_a_public_key_does_not_decode(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        PublicKey.decode(data, allow_insecure_bits=True)


def test_a_bad_public_key_cannot_be_made_either() -> None:
    with pytest.raises(LocalError, match="1 modulo 4"):
        PublicKey(PUBLIC.n - 1, PUBLIC.h_s)


# Private keys as bytes


def secret_bytes(p: int, q: int, h_s: int = H) -> bytes:
    header = bytes([1, 2]) + BITS.to_bytes(2, "little")
    return (
        header
        + p.to_bytes(BITS // 16, "little")
        + q.to_bytes(BITS // 16, "little")
        + h_s.to_bytes(BITS // 4, "little")
    )


def prime_from(start: int, suits: Callable[[int], bool]) -> int:
    candidate = int(gmpy2.next_prime(start))
    while not suits(candidate):
        candidate = int(gmpy2.next_prime(candidate))
    return candidate


def test_a_private_key_survives_its_export() -> None:
    assert secret_bytes(P, Q) == SECRET
    again = PrivateKey.import_secret(SECRET, allow_insecure_bits=True)
    assert again == PRIVATE
    assert again.export_secret() == SECRET
    assert again.decrypt(PUBLIC.encrypt(mpz(123), SeededTape(b""))) == 123
    assert PrivateKey(Q, P, H).export_secret() == SECRET


HALF = BITS // 2
# 3 divides p − 1 and q − 1 of this pair, and nothing else is wrong with it.
TRIPLES = [prime_from(start << (HALF - 8), lambda c: c % 12 == 7) for start in (0xC8, 0xD8)]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x02" + SECRET[1:], "version"),
        (PUBLIC.encode(), "version 1 and kind 2"),
        (SECRET + b"\0", "bytes where"),
        (SECRET[:-1], "bytes where"),
        (secret_bytes(Q, P), "less than q"),
        (secret_bytes(P, P), "far apart"),
        (secret_bytes(P, prime_from(P, lambda c: c % 4 == 3)), "far apart"),
        (secret_bytes(P, prime_from(Q, lambda c: c % 4 == 1)), "p and q must be 3 modulo 4"),
        (secret_bytes(P, Q ^ 4), "prime"),
        (secret_bytes(P, Q - (1 << (HALF - 1))), "top bits"),
        (secret_bytes(P, prime_from(1 << (HALF - 1), lambda c: c % 4 == 3)), "top bits"),
        (secret_bytes(*TRIPLES), "must be 2"),
        (secret_bytes(P, Q, H * (1 + N) % N2), "n-th power"),
        (secret_bytes(P, Q, 1), "unit"),
    ],
)
def test_what_is_not_a_private_key_does_not_import(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault) as caught:
        PrivateKey.import_secret(data, allow_insecure_bits=True)
    assert str(P)[:12] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_secret_leaves_a_private_key_except_by_export() -> None:
    texts = [repr(PRIVATE), str(PRIVATE), f"{[PRIVATE]}", repr(PUBLIC), repr(PUBLIC.table)]
    for text in texts:
        for secret in (P, Q, (P - 1) * (Q - 1)):
            assert str(secret)[:12] not in text
            assert f"{secret:x}"[:12] not in text
    assert repr(PRIVATE) == "PrivateKey(bits=512, <secret>)"
    assert PUBLIC.fingerprint().hex()[:16] in repr(PUBLIC)
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(LocalError, match="export_secret"):
            write(PRIVATE)


# A key of a size that is used


def test_everything_at_2048_bits() -> None:
    private = generate(2048, tape=SeededTape(b"a real size"))
    public = PublicKey.decode(private.public.encode())
    assert PrivateKey.import_secret(private.export_secret()) == private
    values = [mpz(0), mpz(1), public.n - 1]
    tape = RecordedTape(SeededTape(b"exponents").read(6 * 44))  # 352 bits an encryption, no more
    first, second = public.encrypt_many(values, tape), public.encrypt_many(values[::-1], tape)
    exponent = int.from_bytes(SeededTape(b"exponents").read(44), "little")
    assert first[0] == pow(int(public.h_s), exponent, int(public.n2))
    received = public.decode_ciphertexts(public.encode_ciphertexts(first), 3)
    assert private.decrypt_many(public.add_many(received, second)) == [public.n - 1, 2, public.n - 1]
