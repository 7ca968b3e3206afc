"""The single key holder's proof of its lifts: right ones pass and open, any wrong one is refused."""

from __future__ import annotations

from collections.abc import Callable

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.tape import SeededTape
from secagg.paillier.batch import batch_digest, coefficients, product_of_powers
from secagg.paillier.private import generate
from secagg.paillier.public import PublicKey
from secagg.paillier.rootproof import prove, verify

BITS = 256
PRIVATE = generate(tape=SeededTape(b"the key of these tests"), insecure_bits=BITS)
PUBLIC = PRIVATE.public
N, N2 = PUBLIC.n, PUBLIC.n2
P = mpz.from_bytes(PRIVATE.export_secret()[4 : 4 + BITS // 16], "little")
Q = N // P
INVERSE = gmpy2.invert(N, (P - 1) * (Q - 1))
PLAINTEXTS = [mpz(m) for m in (0, 1, 2**200 + 5, 77)]
CIPHERTEXTS = PUBLIC.encrypt_many(PLAINTEXTS, SeededTape(b"randomness"))
REMAINDERS = [c % N for c in CIPHERTEXTS]
CONTEXT = b"round 7"


def root(number: mpz) -> mpz:
    return gmpy2.powmod(number, INVERSE, N)


def lift(remainder: mpz) -> mpz:
    """The n-th power modulo n² that is ``remainder`` modulo n, less that, over n."""
    return (gmpy2.powmod(root(remainder), N, N2) - remainder) // N


def forged(lifts: list[mpz]) -> mpz:
    """The proof that the key holder would make for any lifts in range, right or not."""
    digest = batch_digest(PUBLIC.fingerprint() + CONTEXT, [REMAINDERS, lifts], BITS // 8)
    return root(product_of_powers(REMAINDERS, coefficients(digest, len(lifts)), N))


LIFTS = [lift(u) for u in REMAINDERS]
PROOF = prove(PUBLIC, REMAINDERS, LIFTS, CONTEXT, root)


def test_right_lifts_are_proved_and_open_the_ciphertexts() -> None:
    assert forged(LIFTS) == PROOF
    verify(PUBLIC, REMAINDERS, LIFTS, CONTEXT, PROOF)
    opened = [
        (c - (u + N * y)) // N * gmpy2.invert(u, N) % N
        for c, u, y in zip(CIPHERTEXTS, REMAINDERS, LIFTS, strict=True)
    ]
    assert opened == PLAINTEXTS == PRIVATE.decrypt_many(CIPHERTEXTS)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    place=st.integers(0, 3),
    off=st.one_of(st.sampled_from([1, int(N) - 1, int(P)]), st.integers(1, int(N) - 1)),
)
def test_a_wrong_lift_is_refused_though_its_product_has_a_root(place: int, off: int) -> None:
    lifts = list(LIFTS)
    lifts[place] = (lifts[place] + off) % N
    for proof in (PROOF, forged(lifts)):
        with pytest.raises(DecodeError, match="does not prove"):
            verify(PUBLIC, REMAINDERS, lifts, CONTEXT, proof)


def test_lies_that_cancel_under_the_old_coefficients_meet_new_ones() -> None:
    digest = batch_digest(PUBLIC.fingerprint() + CONTEXT, [REMAINDERS, LIFTS], BITS // 8)
    e = coefficients(digest, 4)
    lifts = list(LIFTS)
    lifts[0] = (lifts[0] + e[1] * REMAINDERS[0]) % N
    lifts[1] = (lifts[1] - e[0] * REMAINDERS[1]) % N

    def product(of: list[mpz]) -> mpz:
        return product_of_powers([u + N * y for u, y in zip(REMAINDERS, of, strict=True)], e, N2)

    assert product(lifts) == product(LIFTS)
    for proof in (PROOF, forged(lifts)):
        with pytest.raises(DecodeError, match="does not prove"):
            verify(PUBLIC, REMAINDERS, lifts, CONTEXT, proof)


@pytest.mark.parametrize("wrong", [N - PROOF, gmpy2.invert(PROOF, N), PROOF * PROOF % N, mpz(1)])
def test_another_number_is_no_proof(wrong: mpz) -> None:
    with pytest.raises(DecodeError, match="does not prove"):
        verify(PUBLIC, REMAINDERS, LIFTS, CONTEXT, wrong)


@pytest.mark.parametrize("wrong", [mpz(0), N, PROOF + N, P])
def test_a_proof_is_a_unit_in_range(wrong: mpz) -> None:
    with pytest.raises(DecodeError, match=r"^proof 0"):
        verify(PUBLIC, REMAINDERS, LIFTS, CONTEXT, wrong)


@pytest.mark.parametrize("shift", [N, -N])
def test_lifts_out_of_range_are_refused(shift: mpz) -> None:
    lifts = [*LIFTS[:2], LIFTS[2] + shift, LIFTS[3]]
    with pytest.raises(DecodeError, match=r"^lift 2 is not in \[0, n\)"):
        verify(PUBLIC, REMAINDERS, lifts, CONTEXT, PROOF)


def reordered(numbers: list[mpz]) -> list[mpz]:
    return numbers[::-1]


@pytest.mark.parametrize(
    ("context", "arrange"),
    [(b"round 8", list), (b"", list), (CONTEXT, reordered)],
    ids=["round", "none", "order"],
)
def test_a_proof_is_for_one_statement(context: bytes, arrange: Callable[[list[mpz]], list[mpz]]) -> None:
    with pytest.raises(DecodeError, match="does not prove"):
        verify(PUBLIC, arrange(REMAINDERS), arrange(LIFTS), context, PROOF)


def test_textbook_keys_prove_as_well() -> None:
    textbook = PublicKey(N)
    proof = prove(textbook, REMAINDERS, LIFTS, CONTEXT, root)
    verify(textbook, REMAINDERS, LIFTS, CONTEXT, proof)
    with pytest.raises(DecodeError, match="does not prove"):
        verify(textbook, REMAINDERS, LIFTS, CONTEXT, PROOF)  # of the same n, with an h_s


def test_a_fault_modulo_one_factor_is_not_sent() -> None:
    """It would be a multiple of the other factor, which the receiver's check lays open."""
    spoilt = [LIFTS[0], (LIFTS[1] + Q) % N, *LIFTS[2:]]
    powers = [u + N * y for u, y in zip(REMAINDERS, spoilt, strict=True)]
    digest = batch_digest(PUBLIC.fingerprint() + CONTEXT, [REMAINDERS, spoilt], BITS // 8)
    seen = product_of_powers(powers, coefficients(digest, 4), N2) * gmpy2.powmod(forged(spoilt), -N, N2) % N2
    assert gmpy2.gcd((seen - 1) // N, N) == Q
    with pytest.raises(LocalError, match=r"^lifts, root is '<secret>'"):
        prove(PUBLIC, REMAINDERS, spoilt, CONTEXT, root)
    with pytest.raises(LocalError, match=r"^lifts, root is '<secret>'"):
        prove(PUBLIC, REMAINDERS, LIFTS, CONTEXT, lambda number: root(number) + Q)


def test_lists_of_two_lengths_are_our_own_mistake() -> None:
    with pytest.raises(LocalError, match=r"^len\(lifts\) is 3: must equal 4"):
        prove(PUBLIC, REMAINDERS, LIFTS[:3], CONTEXT, root)
    with pytest.raises(LocalError, match=r"^len\(lifts\) is 3: must equal 4"):
        verify(PUBLIC, REMAINDERS, LIFTS[:3], CONTEXT, PROOF)
