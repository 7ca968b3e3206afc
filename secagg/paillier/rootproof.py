"""A single key holder's proof that it lifted all remainders rightly (spec section 14.4).

The n-th power Y modulo n² that is u modulo n is written as u + n·y; y is the lift. One n-th root of the
product of all Y_j^(e_j), with e_j from a hash of the u_j and y_j, shows that each Y_j is an n-th power;
wrong ones leave (1 + n)^(Σ e_j δ_j) in the product, which is no n-th power unless the sum is 0 modulo n.
Sound for a modulus as section 14.1 asks for it, with two large primes and gcd(n, φ(n)) = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gmpy2
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from secagg.paillier.batch import batch_digest, coefficients, product_of_powers
from secagg.paillier.numbers import require_units
from secagg.paillier.public import PublicKey


def prove(
    public: PublicKey,
    remainders: Sequence[mpz],
    lifts: Sequence[mpz],
    context: bytes,
    root: Callable[[mpz], mpz],
) -> mpz:
    """The proof for ``lifts``, as many as the ``remainders``: a number in (0, n).

    ``root`` takes n-th roots modulo n, the key holder's secret. ``context`` binds round, cohort and counted
    clients, and is of any length; the key is bound as well.

    ``LocalError`` if the proof does not hold, so that nothing is sent: a number that a fault has spoilt
    modulo one prime factor alone gives n's factors away (Boneh, DeMillo and Lipton, Eurocrypt 1997).
    """
    exponents = _coefficients(public, remainders, lifts, context)
    proof = root(product_of_powers(remainders, exponents, public.n))
    try:
        verify(public, remainders, lifts, context, proof)
    except DecodeError:
        raise LocalError(
            "lifts, root", "<secret>", "are not those of the remainders under this key"
        ) from None
    return proof


def verify(
    public: PublicKey, remainders: Sequence[mpz], lifts: Sequence[mpz], context: bytes, proof: mpz
) -> None:
    """Raise ``DecodeError`` unless each u + n·y is an n-th power modulo n².

    A wrong lift passes with chance 2^-128 for every try at the hash. ``remainders``: units modulo n.
    """
    n = public.n
    for index, lift in enumerate(lifts):
        if not 0 <= lift < n:
            raise DecodeError(f"lift {index} is not in [0, n)")
    require_units([proof], n, "proof")
    exponents = _coefficients(public, remainders, lifts, context)
    lifted = [u + n * y for u, y in zip(remainders, lifts, strict=True)]
    if gmpy2.powmod(proof, n, public.n2) != product_of_powers(lifted, exponents, public.n2):
        raise DecodeError("the key holder's root does not prove its lifts")


def _coefficients(
    public: PublicKey, remainders: Sequence[mpz], lifts: Sequence[mpz], context: bytes
) -> list[int]:
    if len(lifts) != len(remainders):
        raise LocalError("len(lifts)", len(lifts), f"must equal {len(remainders)}")
    statement = public.fingerprint() + context
    return coefficients(batch_digest(statement, [remainders, lifts], public.bits // 8), len(lifts))
