"""Dealing a key out: what the shares are, what fewer than t of them tell, and what is no key."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.tape import RecordedTape, SeededTape
from secagg.paillier.public import PublicKey
from secagg.paillier.safeprimes import safe_prime
from secagg.paillier.sharedkey import KeyShare, SharedKey, deal, lagrange, share_out

BITS = 256
WIDTH = BITS // 8
SHARED, SHARES = deal(5, 3, tape=SeededTape(b"dealer"), insecure_bits=BITS)
ENCODED, SECRET = SHARED.encode(), SHARES[0].export_secret()
N = SHARED.public.n
FIELDS: dict[str, Any] = {
    name: getattr(SHARED, name) for name in ("public", "holders", "threshold", "base", "verification")
}


def factors() -> tuple[mpz, mpz]:
    """The dealer's first two draws."""
    tape = SeededTape(b"dealer")
    return safe_prime(BITS // 2, tape), safe_prime(BITS // 2, tape)


def secret_of(share: KeyShare) -> mpz:
    return mpz.from_bytes(share.export_secret()[-WIDTH:], "little")


# Dealing


def test_the_modulus_and_its_bases_are_as_specified() -> None:
    p, q = factors()
    assert p * q == N
    assert N.bit_length() == BITS
    assert all(gmpy2.is_prime(prime) and gmpy2.is_prime(prime // 2) for prime in (p, q))
    order = (p // 2) * (q // 2)
    h_s = SHARED.public.h_s
    assert gmpy2.powmod(h_s, 2 * order, SHARED.public.n2) == 1  # an n-th power
    assert gmpy2.jacobi(h_s, N) == 1
    assert [gmpy2.legendre(h_s, prime) for prime in (p, q)] == [-1, -1]  # minus a square
    for square in (SHARED.base, *SHARED.verification):
        assert gmpy2.powmod(square, order, N) == 1
    assert gmpy2.powmod(SHARED.base, order // (p // 2), N) != 1
    assert gmpy2.powmod(SHARED.base, order // (q // 2), N) != 1


@pytest.mark.parametrize("chosen", list(itertools.combinations(range(1, 6), 3)))
def test_any_t_shares_determine_the_exponent_that_takes_roots(chosen: tuple[int, ...]) -> None:
    p, q = factors()
    order = (p // 2) * (q // 2)
    weights = lagrange(chosen, 0, 5)
    combined = sum(weights[i] * secret_of(SHARES[i - 1]) for i in chosen) % order
    assert combined * N % order == SHARED.delta % order


def test_verification_values_are_powers_by_the_shares() -> None:
    for share, value in zip(SHARES, SHARED.verification, strict=True):
        assert gmpy2.powmod(SHARED.base, secret_of(share), N) == value


def test_dealing_depends_on_the_tape_alone() -> None:
    again, shares = deal(5, 3, tape=SeededTape(b"dealer"), insecure_bits=BITS)
    assert again == SHARED
    assert shares == SHARES
    assert deal(5, 3, tape=SeededTape(b"another"), insecure_bits=BITS)[0] != SHARED


@pytest.mark.parametrize(("holders", "threshold", "p", "q"), [(3, 2, 7, 11), (4, 3, 5, 7), (3, 3, 5, 7)])
def test_fewer_than_t_shares_are_uniform_whatever_the_secret(
    holders: int, threshold: int, p: int, q: int
) -> None:
    order = p * q
    for secret in (0, 1, 13):
        dealt = [
            share_out(mpz(secret), mpz(order), holders, threshold, RecordedTape(bytes(drawn)))
            for drawn in itertools.product(range(order), repeat=threshold - 1)
        ]
        for seen in itertools.combinations(range(holders), threshold - 1):
            views = Counter(tuple(int(shares[i]) for i in seen) for shares in dealt)
            assert len(views) == order ** (threshold - 1)
            assert set(views.values()) == {1}


def test_an_order_with_a_factor_below_the_holders_would_leak() -> None:
    """So the enumeration above can fail."""
    seen = [
        Counter(int(share_out(mpz(s), mpz(9), 3, 2, RecordedTape(bytes([a])))[2]) for a in range(9))
        for s in (0, 1)
    ]
    assert seen[0] != seen[1]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(data=st.data(), holders=st.integers(2, 16), point=st.integers(0, 16))
def test_lagrange_coefficients_are_whole_and_interpolate(
    data: st.DataObject, holders: int, point: int
) -> None:
    known = data.draw(st.sets(st.integers(1, holders), min_size=1))
    polynomial = data.draw(st.lists(st.integers(-99, 99), min_size=len(known), max_size=len(known)))

    def f(x: int) -> int:
        return sum(c * x**k for k, c in enumerate(polynomial))

    weights = lagrange(known, point, holders)
    assert sum(weights[i] * f(i) for i in known) == math.factorial(holders) * f(point)
    for i in known:
        quotient = math.prod(Fraction(point - j, i - j) for j in known if j != i)
        assert weights[i] == math.factorial(holders) * quotient


@pytest.mark.parametrize(
    ("holders", "threshold", "fault"),
    [
        (1, 1, "holders is 1: must be from 2 to 16"),
        (17, 10, "holders is 17: must be from 2 to 16"),
        (2, 1, "threshold is 1"),
        (4, 2, "threshold is 2: must be more than half of"),
        (3, 4, "threshold is 4"),
    ],
)
def test_sizes_that_cannot_be_had_are_refused(holders: int, threshold: int, fault: str) -> None:
    with pytest.raises(LocalError, match=f"^{fault}"):
        deal(holders, threshold, tape=SeededTape(b""), insecure_bits=64)
    with pytest.raises(LocalError, match=f"^{fault}"):
        SharedKey(SHARED.public, holders, threshold, SHARED.base, SHARED.verification)
    with pytest.raises(LocalError, match=r"^bits is 512"):
        deal(3, 2, 512, tape=SeededTape(b""))


# The public part


def test_the_public_part_survives_its_encoding() -> None:
    assert SharedKey.decode(ENCODED, allow_insecure_bits=True) == SHARED
    numbers = b"".join(x.to_bytes(WIDTH, "little") for x in (SHARED.base, *SHARED.verification))
    public = SHARED.public.encode()
    assert bytes([1, 5, 5, 3]) + len(public).to_bytes(4, "little") + public + numbers == ENCODED


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda d: b"", "ends after"),
        (lambda d: d[:-1], "no multiple"),
        (lambda d: d + b"\0", "no multiple"),
        (lambda d: d[:-WIDTH], "must equal 5"),
        (lambda d: d + bytes(WIDTH), "must equal 5"),
        (lambda d: d[: -6 * WIDTH], "must equal 5"),
        (lambda d: b"\2" + d[1:], "version 1 and kind 5"),
        (lambda d: d[:1] + b"\1" + d[2:], "version 1 and kind 5"),
        (lambda d: SECRET, "version 1 and kind 5"),
        (lambda d: d[:2] + b"\4" + d[3:], "must equal 4"),
        (lambda d: d[:3] + b"\2" + d[4:], "threshold must be more than half"),
        (lambda d: d[:-1] + b"\xff", "must be units"),
        (lambda d: d[:-WIDTH] + bytes(WIDTH), "must be units"),
        (lambda d: d[:-WIDTH] + b"\1" + bytes(WIDTH - 1), "must be units"),
        (lambda d: d[:-WIDTH] + d[-2 * WIDTH : -WIDTH], "belong to no sharing"),
    ],
)
def test_what_is_no_public_part_does_not_decode(change: Callable[[bytes], bytes], fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        SharedKey.decode(change(ENCODED), allow_insecure_bits=True)


@pytest.mark.parametrize("place", range(5))
def test_a_verification_value_that_does_not_fit_is_noticed(place: int) -> None:
    values = list(SHARED.verification)
    values[place] = values[place] * 4 % N
    with pytest.raises(LocalError, match="belong to no sharing"):
        SharedKey(**{**FIELDS, "verification": tuple(values)})


def test_a_threshold_below_the_one_dealt_is_noticed() -> None:
    dealt, _ = deal(5, 4, tape=SeededTape(b"four"), insecure_bits=BITS)
    with pytest.raises(LocalError, match="belong to no sharing"):
        SharedKey(dealt.public, 5, 3, dealt.base, dealt.verification)


def test_a_base_that_does_not_fit_is_noticed() -> None:
    with pytest.raises(LocalError, match="belong to no sharing"):
        SharedKey(**{**FIELDS, "base": SHARED.base * 4 % N})


def test_a_textbook_key_is_not_shared() -> None:
    with pytest.raises(LocalError, match="a shared key has an h_s"):
        SharedKey(**{**FIELDS, "public": PublicKey(N)})


def test_fingerprints_tell_keys_apart() -> None:
    other = deal(5, 3, tape=SeededTape(b"another"), insecure_bits=BITS)[0]
    assert len({SHARED.fingerprint(), other.fingerprint(), SHARED.public.fingerprint()}) == 3
    assert (
        repr(SHARED)
        == f"SharedKey(bits=256, threshold=3 of 5, fingerprint={SHARED.fingerprint().hex()[:16]}…)"
    )


# Shares


@pytest.mark.parametrize("share", SHARES)
def test_shares_survive_their_encoding(share: KeyShare) -> None:
    data = share.export_secret()
    assert data[:3] == bytes([1, 6, share.index])
    again = KeyShare.import_secret(data, allow_insecure_bits=True)
    assert again == share
    assert hash(again) == hash(share)
    assert again.export_secret() == data


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda d: d[:-1], "ends after"),
        (lambda d: d + b"\0", "1 bytes after the end"),
        (lambda d: b"\0" + d[1:], "version 1 and kind 6"),
        (lambda d: ENCODED, "version 1 and kind 6"),
        (lambda d: d[:2] + b"\0" + d[3:], "must be from 1 to 5"),
        (lambda d: d[:2] + b"\6" + d[3:], "must be from 1 to 5"),
        (lambda d: d[:2] + b"\2" + d[3:], "is not share 2 of this key"),
        (lambda d: d[:-WIDTH] + bytes([d[-WIDTH] ^ 1]) + d[1 - WIDTH :], "is not share 1 of this key"),
        (lambda d: d[:-WIDTH] + bytes(WIDTH), "is not share 1 of this key"),
        (lambda d: d[:-WIDTH] + b"\xff" * WIDTH, "is not share 1 of this key"),
    ],
)
def test_what_is_no_share_is_not_imported(change: Callable[[bytes], bytes], fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        KeyShare.import_secret(change(SECRET), allow_insecure_bits=True)


def test_insecure_sizes_are_refused_unless_asked_for() -> None:
    size = "256 bits is not one of 2048, 3072, 4096"
    with pytest.raises(DecodeError, match=size):
        SharedKey.decode(ENCODED)
    with pytest.raises(DecodeError, match=size):
        KeyShare.import_secret(SECRET)


def test_no_secret_is_shown_or_pickled() -> None:
    share = SHARES[0]
    assert repr(share) == "KeyShare(bits=256, index=1, <secret>)"
    assert str(secret_of(share)) not in f"{share}{SHARED}"
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(LocalError, match="export_secret"):
            write(share)


def test_shares_of_different_holders_or_keys_differ() -> None:
    other = deal(5, 3, tape=SeededTape(b"another"), insecure_bits=BITS)[1]
    assert len({*SHARES, *other}) == 10
    assert SHARES[0] != secret_of(SHARES[0])
