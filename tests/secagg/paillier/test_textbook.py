"""Keys without h_s: other people's primes, the textbook's randomness, and a round under such a key."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.tape import RecordedTape, SeededTape
from secagg.paillier import KeyHolderKeys, KeyHolderPublic, Paillier
from secagg.paillier.private import PrivateKey, generate
from secagg.paillier.public import PublicKey

BITS = 512
HALF = BITS // 2


def prime_from(start: int, residue: int = 1) -> int:
    """The first prime from ``start`` that is ``residue`` modulo 4."""
    candidate = int(gmpy2.next_prime(start))
    while candidate % 4 != residue:
        candidate = int(gmpy2.next_prime(candidate))
    return candidate


# Everything that keys with h_s must not have: 1 modulo 4, top bits 10, and close to each other.
P = prime_from(0xB7 << (HALF - 8))
Q = prime_from(P)
N, N2 = P * Q, (P * Q) ** 2
PRIVATE = PrivateKey(mpz(P), mpz(Q))
PUBLIC = PRIVATE.public
SECRET = PRIVATE.export_secret()
WITH_BASE = generate(tape=SeededTape(b"the key of these tests"), insecure_bits=BITS)

deterministic = settings(derandomize=True, deadline=None, max_examples=30)
plaintexts = st.one_of(st.sampled_from([0, 1, N // 2, N - 1]), st.integers(0, N - 1))


def header(kind: int, version: int = 1, bits: int = BITS) -> bytes:
    return bytes([version, kind]) + bits.to_bytes(2, "little")


def public_bytes(n: int) -> bytes:
    return header(3) + n.to_bytes(BITS // 8, "little")


def secret_bytes(p: int, q: int) -> bytes:
    return header(4) + p.to_bytes(BITS // 16, "little") + q.to_bytes(BITS // 16, "little")


# Arithmetic


@given(plaintext=plaintexts, unit=st.integers(1, N - 1).filter(lambda r: math.gcd(r, N) == 1))
@deterministic
def test_a_ciphertext_is_the_documented_function_of_the_tape(plaintext: int, unit: int) -> None:
    ciphertext = PUBLIC.encrypt(mpz(plaintext), RecordedTape(unit.to_bytes(BITS // 8, "little")))
    assert ciphertext == pow(N + 1, plaintext, N2) * pow(unit, N, N2) % N2
    assert PRIVATE.decrypt(ciphertext) == plaintext


@given(left=plaintexts, right=plaintexts)
@deterministic
def test_adding_ciphertexts_adds_plaintexts(left: int, right: int) -> None:
    a, b = PUBLIC.encrypt_many([mpz(left), mpz(right)], SeededTape(b"add"))
    assert PRIVATE.decrypt(PUBLIC.add(a, b)) == (left + right) % N


def test_only_units_below_n_are_drawn() -> None:
    refused = (2**BITS - 1, N, 0, P, 7 * Q)  # too large, too large, and no units
    drawn = b"".join(value.to_bytes(BITS // 8, "little") for value in (*refused, 5))
    tape = RecordedTape(drawn + bytes(1))
    assert PUBLIC.randomizers(1, tape) == [pow(5, N, N2)]
    assert tape.read(1) == bytes(1)


def test_randomness_does_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [mpz(value) for value in range(5)]
    tape = SeededTape(b"in order")
    expected = [PUBLIC.encrypt(value, tape) for value in values]
    for processors in (1, 3, 64):
        monkeypatch.setattr("os.cpu_count", lambda count=processors: count)
        assert PUBLIC.encrypt_many(values, SeededTape(b"in order")) == expected
    assert len(set(expected)) == 5


def test_such_a_key_has_no_table() -> None:
    assert PUBLIC.h_s is None
    assert PUBLIC.table is None


# Bytes


def test_keys_survive_their_encodings() -> None:
    data = PUBLIC.encode()
    assert data == public_bytes(N)
    again = PublicKey.decode(data, allow_insecure_bits=True)
    assert again == PUBLIC == PublicKey(N)
    assert again.fingerprint() == hashlib.sha256(data).digest()
    assert secret_bytes(P, Q) == SECRET
    opened = PrivateKey.import_secret(SECRET, allow_insecure_bits=True)
    assert opened == PRIVATE == PrivateKey(mpz(Q), mpz(P))
    assert opened.export_secret() == SECRET


def test_with_and_without_a_base_are_two_keys() -> None:
    bare = PublicKey(WITH_BASE.public.n)
    assert bare != WITH_BASE.public
    assert bare.fingerprint() != WITH_BASE.public.fingerprint()
    ciphertext = bare.encrypt(mpz(9), SeededTape(b"bare"))
    assert WITH_BASE.decrypt(WITH_BASE.public.add(ciphertext, ciphertext)) == 18


PRIME = prime_from(1 << (BITS - 1))
SQUARE = P * P


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (header(3, version=2) + public_bytes(N)[4:], "version 1 and kind 1 or 3"),
        (header(4) + public_bytes(N)[4:], "kind 1 or 3"),
        (header(1) + public_bytes(N)[4:], "bytes where"),
        (header(3) + WITH_BASE.public.encode()[4:], "bytes where"),
        (SECRET, "kind 1 or 3"),
        (public_bytes(N) + b"\0", "bytes where"),
        (public_bytes(N)[:-1], "bytes where"),
        (public_bytes(N >> 1 | 1), "multiple of 16"),
        (public_bytes(N >> 16 | 1), "small prime|shorter"),
        (public_bytes(prime_from(1 << 247) * prime_from(0xB7 << 240)), "multiple of 16"),
        (public_bytes(prime_from(0xB7 << 240) * prime_from(0xC7 << 240)), "shorter than it is declared"),
        (public_bytes(N - 1), "small prime"),
        (public_bytes(4093 * prime_from((1 << BITS) // 4095)), "small prime"),
        (public_bytes(PRIME), "not a prime nor a power"),
        (public_bytes(SQUARE), "not a prime nor a power"),
        (public_bytes(0), "64 bits or more"),
    ],
)
def test_what_is_not_a_public_key_does_not_decode(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        PublicKey.decode(data, allow_insecure_bits=True)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (header(4, version=2) + SECRET[4:], "version 1 and kind 2 or 4"),
        (header(2) + SECRET[4:], "bytes where"),
        (SECRET + b"\0", "bytes where"),
        (SECRET[:-1], "bytes where"),
        (PUBLIC.encode(), "kind 2 or 4"),
        (secret_bytes(Q, P), "less than q"),
        (secret_bytes(P, P), "must differ"),
        (secret_bytes(P, Q >> 1), "one length"),
        (secret_bytes(0, 0), "one length"),
        (secret_bytes(1, 1), "one length"),
        (secret_bytes(P, Q + 2), "prime"),
        (secret_bytes(prime_from(1 << (HALF - 1)), prime_from(9 << (HALF - 4))), "multiple of 16"),
    ],
)
def test_what_is_not_a_private_key_does_not_import(data: bytes, fault: str) -> None:
    with pytest.raises(DecodeError, match=fault) as caught:
        PrivateKey.import_secret(data, allow_insecure_bits=True)
    assert str(P)[:12] not in str(caught.value)


def test_keys_with_a_base_keep_their_conditions() -> None:
    with pytest.raises(LocalError, match="top bits"):
        PrivateKey(mpz(P), mpz(Q), mpz(4))
    with pytest.raises(LocalError, match="modulo 4"):
        PublicKey(WITH_BASE.public.n + 2, WITH_BASE.public.h_s)
    with pytest.raises(DecodeError, match="top bits"):
        PrivateKey.import_secret(header(2) + bytes(6 * BITS // 16), allow_insecure_bits=True)


def test_insecure_sizes_are_refused_unless_asked_for() -> None:
    for decode, data in ((PublicKey.decode, PUBLIC.encode()), (PrivateKey.import_secret, SECRET)):
        with pytest.raises(DecodeError, match="512 bits is not one of 2048, 3072, 4096"):
            decode(data)


# A round


def test_a_round_under_such_a_key(lab: Any) -> None:
    keys = KeyHolderKeys(PRIVATE, bytes(range(1, 33)))
    assert KeyHolderPublic.decode(keys.public.encode(), allow_insecure_bits=True) == keys.public
    backend = Paillier(keys=keys, minimum=2, insecure_key_bits=BITS)
    cohort = lab.cohort()
    vectors = lab.vectors(cohort)
    aggregate, _ = lab.run(cohort, vectors, backend=backend)
    np.testing.assert_array_equal(aggregate.total, sum(vectors.values()))
