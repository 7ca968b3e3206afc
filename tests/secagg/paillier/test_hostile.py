"""Numbers and keys that nobody honest would send, each refused for its reason; and odd but right ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from mpc.party import PartyId, Role
from mpc.tape import SeededTape
from secagg.paillier import KeyHolderKeys, KeyShareKeys, SharedKeyPublic, deal_keys
from secagg.paillier.messages import DecryptRequest, EncryptedInput
from secagg.paillier.opening import SharedOpening, WholeKey
from secagg.paillier.private import PrivateKey, generate
from secagg.paillier.public import PublicKey
from secagg.paillier.sharedkey import KeyShare, SharedKey

BITS = 512
PRIVATE = generate(tape=SeededTape(b"hostile"), insecure_bits=BITS)
PUBLIC = PRIVATE.public
N, N2, H = PUBLIC.n, PUBLIC.n2, PUBLIC.h_s
P = mpz.from_bytes(PRIVATE.export_secret()[4 : 4 + BITS // 16], "little")
Q = N // P
OTHER = generate(tape=SeededTape(b"another"), insecure_bits=BITS).public
GOOD = PUBLIC.encrypt_many([mpz(1), mpz(2), mpz(3)], SeededTape(b"good"))

SHARED_PUBLIC, SHARES = deal_keys(3, 2, tape=SeededTape(b"dealer"), insecure_bits=256)
SHARED = SHARED_PUBLIC.shared
V = SHARED.verification


def prime_from(start: mpz, suits: Callable[[mpz], bool] = lambda _: True) -> mpz:
    candidate = gmpy2.next_prime(start)
    while not suits(candidate):
        candidate = gmpy2.next_prime(candidate)
    return candidate


# Ciphertexts

OUT_OF_RANGE, FACTOR = r"is not in \(0, n²\)", "has a factor in common with n"
NO_CIPHERTEXTS: dict[str, tuple[mpz, str]] = {
    "0": (mpz(0), OUT_OF_RANGE),
    "n²": (N2, OUT_OF_RANGE),
    "n² + 1": (N2 + 1, OUT_OF_RANGE),
    "n² + a ciphertext": (N2 + GOOD[0] % (2 ** (2 * BITS) - N2), OUT_OF_RANGE),
    "n² + n": (N2 + N, OUT_OF_RANGE),
    "all ones": (mpz(2) ** (2 * BITS) - 1, OUT_OF_RANGE),
    "n": (N, FACTOR),
    "n² − n": (N2 - N, FACTOR),
    "a multiple of n": (N * (N // 3), FACTOR),
    "p": (P, FACTOR),
    "q": (Q, FACTOR),
    "p²": (P * P, FACTOR),
    "p² q": (P * N, FACTOR),
    "n² − q": (N2 - Q, FACTOR),
    "a ciphertext times p": (GOOD[1] * P % N2, FACTOR),
    "a ciphertext of another key times q": (Q * (OTHER.h_s % P), FACTOR),
}


def row(ciphertexts: list[mpz], key: PublicKey = PUBLIC) -> bytes:
    return b"".join(int(c).to_bytes(key.ciphertext_bytes, "little") for c in ciphertexts)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", NO_CIPHERTEXTS)
def test_no_ciphertext_is_accepted_in_an_input(name: str, place: int) -> None:
    bad, reason = NO_CIPHERTEXTS[name]
    data = row([*GOOD[:place], bad, *GOOD[place + 1 :]]) + PUBLIC.fingerprint()
    with pytest.raises(DecodeError, match=f"ciphertext {place} {reason}"):
        EncryptedInput.decode(data, PUBLIC, 3)


def test_two_factors_that_make_n_together_are_both_factors() -> None:
    for first, second in ((P, Q), (Q, P), (P * P, Q * Q)):
        with pytest.raises(DecodeError, match=f"ciphertext 0 {FACTOR}"):
            EncryptedInput.decode(row([first, second, GOOD[0]]) + PUBLIC.fingerprint(), PUBLIC, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (row(GOOD) + OTHER.fingerprint(), "encrypted under another key"),
        (row(GOOD) + bytes(32), "encrypted under another key"),
        (row(GOOD) + PublicKey(N).fingerprint(), "encrypted under another key"),  # the same n, without h_s
        (PUBLIC.fingerprint() + row(GOOD), "encrypted under another key"),
        (row(GOOD), "ends after"),
        (row(GOOD[:2]) + PUBLIC.fingerprint(), "ends after"),
        (row([*GOOD, GOOD[0]]) + PUBLIC.fingerprint(), "another key"),
        (row(GOOD) + PUBLIC.fingerprint() + b"\0", "1 bytes after the end"),
        (b"", "ends after 0 bytes"),
    ],
)
def test_what_is_no_input_does_not_decode(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        EncryptedInput.decode(data, PUBLIC, 3)


ODD: dict[str, tuple[Callable[[mpz], mpz], Callable[[mpz], mpz]]] = {
    "1": (lambda n: mpz(1), lambda n: mpz(0)),
    "n + 1": (lambda n: n + 1, lambda n: mpz(1)),
    "n² − 1": (lambda n: n * n - 1, lambda n: mpz(0)),  # −1 is an n-th power, as n is odd
    "n² − n + 1": (lambda n: n * n - n + 1, lambda n: n - 1),
    "n² − n − 1": (lambda n: n * n - n - 1, lambda n: mpz(1)),
    "2^n": (lambda n: gmpy2.powmod(2, n, n * n), lambda n: mpz(0)),
    "−(1 + n)^7": (lambda n: (-(1 + 7 * n)) % (n * n), lambda n: mpz(7)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_units_are_ciphertexts_and_all_key_holders_open_them_alike(name: str) -> None:
    number, plaintext = ODD[name]
    private = KeyHolderKeys(PRIVATE, bytes(range(1, 33)))
    for opening, keys in ((WholeKey(PUBLIC), [private]), (SharedOpening(SHARED), list(SHARES[1:]))):
        n = opening.public.n
        ciphertexts = [number(n), opening.public.encrypt(mpz(9), SeededTape(b"nine"))]
        opening.public.validate_ciphertexts(ciphertexts)
        units = [c % n for c in ciphertexts]
        answers = {
            PartyId(Role.KEY_HOLDER, place if len(keys) == 1 else place + 1): opening.decode(
                one.answer(units, b"context", SeededTape(b"mask")), 2
            )
            for place, one in enumerate(keys)
        }
        assert opening.open(ciphertexts, answers, b"context") == [plaintext(n), 9]


def test_remainders_are_refused_wherever_they_stand() -> None:
    """The same table, for key holders, modulo n."""
    units = [c % N for c in GOOD]
    for bad, reason in (
        (mpz(0), "not in"),
        (N, "not in"),
        (N + 1, "not in"),
        (P, "factor"),
        (N - Q, "factor"),
    ):
        for place in range(3):
            numbers = [*units[:place], bad, *units[place + 1 :]]
            data = DecryptRequest((0, 1), numbers).encode(PUBLIC, 4)
            with pytest.raises(DecodeError, match=f"remainder {place} .*{reason}"):
                DecryptRequest.decode(data, PUBLIC, 3, 4)


# Keys

# 1 modulo p² and −1 modulo q²: of order 2, and not −1.
INVOLUTION = (1 + P**2 * (-2 * gmpy2.invert(P**2, Q**2))) % N2
SQUARE = prime_from(mpz(3) << 254, lambda c: (c * c).bit_length() == BITS) ** 2
BAD_KEYS: dict[str, tuple[mpz, mpz, str]] = {
    "a prime": (prime_from(mpz(1) << 511, lambda c: c % 4 == 1), mpz(4), "not a prime nor a power"),
    "a square": (SQUARE, mpz(4), "not a prime nor a power"),
    "a fourth power": (prime_from(mpz(15) << 124) ** 4, mpz(4), "not a prime nor a power"),
    "a factor of 3": (3 * prime_from((mpz(1) << 511) // 2, lambda c: 3 * c % 4 == 1), mpz(4), "small prime"),
    "a factor of 4093": (
        4093 * prime_from((mpz(1) << 511) // 4000, lambda c: 4093 * c % 4 == 1),
        mpz(4),
        "small prime",
    ),
    "even": (N + 1, H, "1 modulo 4"),
    "3 modulo 4": (N + 2, H, "1 modulo 4"),
    "negative": (-N, H, "64 bits or more"),
    "one bit too many": (2 * N + 3, mpz(4), "a multiple of 16"),
    "a base of order 1": (N, mpz(1), r"a unit in \(1, n²\)"),
    "a base of order 2": (N, N2 - 1, "±1 modulo n"),
    "another of order 2": (N, INVOLUTION, "Jacobi symbol 1"),
    "a base of order n": (N, 1 + N, "±1 modulo n"),
    "a base of order 2n": (N, N2 - 1 - 3 * N, "±1 modulo n"),
    "a base that is no unit": (N, P * P, "a unit"),
    "a base beyond n²": (N, N2 + 4, "a unit"),
    "a negative base": (N, -H, "a unit"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_no_public_key_is_made_of_these(name: str) -> None:
    n, h_s, reason = BAD_KEYS[name]
    with pytest.raises(LocalError, match=f"^public key is {n.bit_length()}: .*{reason}"):
        PublicKey(n, h_s)


def test_the_involution_is_one() -> None:
    """So that the row above is refused for what it says."""
    assert INVOLUTION * INVOLUTION % N2 == 1
    assert INVOLUTION not in (1, N2 - 1)


COMPOSITE = 4093 * prime_from((mpz(7) << 253) // 4093, lambda c: c % 4 == 3 * pow(4093, -1, 4) % 4)
BAD_SECRETS: dict[str, tuple[mpz, mpz, mpz | None, str]] = {
    "one prime twice": (P, P, H, "far apart"),
    "one prime twice, textbook": (P, P, None, "must differ"),
    "a factor in a factor": (COMPOSITE, Q, H, "must be prime"),
    "a factor in a factor, textbook": (COMPOSITE, Q, None, "must be prime"),
    "negative": (-P, -Q, H, "one length"),
    "n and 1": (N, mpz(1), H, "one length"),
    "a base that is no n-th power": (P, Q, H * (1 + N) % N2, "n-th power"),
    "an n-th power modulo p² alone": (P, Q, (H + P**2 * N) % N2, "n-th power"),
    "a base of 4": (P, Q, mpz(4), "n-th power"),
}


@pytest.mark.parametrize("name", BAD_SECRETS)
def test_no_private_key_is_made_of_these_and_none_is_shown(name: str) -> None:
    p, q, h_s, reason = BAD_SECRETS[name]
    with pytest.raises(LocalError, match=reason) as caught:
        PrivateKey(p, q, h_s)
    for secret in (abs(p), abs(q)):
        assert secret < 4 or str(secret)[:12] not in str(caught.value)


M = SHARED.public.n
UNITS = "v, v_i, v² - 1 and v_i² - 1 must be units"
BAD_SHARINGS: dict[str, tuple[mpz, tuple[mpz, ...], str]] = {
    "two values swapped": (SHARED.base, (V[1], V[0], V[2]), "belong to no sharing"),
    "turned round": (SHARED.base, V[::-1], "belong to no sharing"),
    "one value twice": (SHARED.base, (V[0], V[0], V[2]), "belong to no sharing"),
    "all of one value": (SHARED.base, (V[0],) * 3, "belong to no sharing"),
    "a square too many": (SHARED.base, (V[0], V[1], V[2] * V[2] % M), "belong to no sharing"),
    "inverses": (SHARED.base, tuple(gmpy2.invert(v, M) for v in V), "belong to no sharing"),
    "a base of 1": (mpz(1), V, UNITS),
    "a base of −1": (M - 1, V, UNITS),
    "ones": (mpz(1), (mpz(1),) * 3, UNITS),
    "minus ones": (M - 1, (M - 1,) * 3, UNITS),
    "zero": (SHARED.base, (V[0], mpz(0), V[2]), UNITS),
    "n": (SHARED.base, (V[0], V[1], M), UNITS),
    "negative": (SHARED.base, (V[0], V[1], V[2] - M), UNITS),
    "beyond n": (SHARED.base, (V[0] + M, *V[1:]), UNITS),
    "one too few": (SHARED.base, V[:2], "must equal 3"),
    "one too many": (SHARED.base, (*V, V[0]), "must equal 3"),
}


@pytest.mark.parametrize("name", BAD_SHARINGS)
def test_no_shared_key_is_made_of_these(name: str) -> None:
    base, verification, reason = BAD_SHARINGS[name]
    with pytest.raises(LocalError, match=reason):
        SharedKey(SHARED.public, 3, 2, base, verification)


def test_a_share_does_not_take_the_negative_of_its_value_for_its_own() -> None:
    """Even powers hide the sign from everybody else."""
    negated = SharedKey(SHARED.public, 3, 2, SHARED.base, (M - V[0], *V[1:]))
    secret = mpz.from_bytes(SHARES[0].share.export_secret()[-32:], "little")
    assert KeyShare(SHARED, 1, secret) == SHARES[0].share
    with pytest.raises(LocalError, match="is not share 1 of this key"):
        KeyShare(negated, 1, secret)


def test_link_keys_of_a_shared_key_are_good_and_different() -> None:
    links = SHARED_PUBLIC.links
    bad: list[tuple[Any, str]] = [
        (links[:2], r"^links is 2: must be 3 different keys"),
        ((*links, links[0]), r"^links is 4: must be 3 different keys"),
        ((links[0], links[0], links[2]), r"^links is 3: must be 3 different keys"),
        ((*links[:2], bytes(32)), r"^links\[2\] is .*small order"),
        ((links[0], links[1][:-1], links[2]), r"^links\[1\] is .*32 bytes"),
    ]
    for found, reason in bad:
        with pytest.raises(LocalError, match=reason):
            SharedKeyPublic(SHARED, found)
    with pytest.raises(LocalError, match=r"^len\(link\) is 31"):
        KeyShareKeys(SHARES[0].share, bytes(31))
