"""Opening sums with t of m shares: partial roots, their proof, and who lied (spec sections 14.5 and 14.6).

The roots combine as the signature shares of Shoup, "Practical threshold signatures" (Eurocrypt 2000), section
2.2; the proof is that of the same section, for all roots at once by small exponents.

A root counts up to a factor whose square is 1, such as −1: the combination and the proof see squares alone.
Modulo a product of two safe primes there are no other elements of small order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage, derive_key, equal, tag
from mpc.tape import RandomTape
from mpc.wire import Reader
from secagg.paillier.batch import batch_digest, coefficients, product_of_powers
from secagg.paillier.numbers import decode_numbers, encode_numbers, require_units
from secagg.paillier.sharedkey import KeyShare, SharedKey, lagrange

CHALLENGE_BYTES = 16
# The mask's bits beyond those of n: the challenge's, 128 to hide the share, 128 to spare for 2^128 proofs.
_MASK_EXCESS = 3 * 128
_RESPONSE_EXCESS = 56  # bytes of a response beyond those of n


class WrongRoots(DecodeError):
    """Answers that do not open the sums; ``liars`` are the indices of those whose proofs fail, ascending.

    It is empty, but for a chance of 2^-128 for every try at the hash, only if the key was dealt wrongly.
    """

    def __init__(self, liars: Sequence[int]) -> None:
        self.liars = tuple(liars)
        super().__init__(f"wrong roots; the proofs that fail are those of key holders {list(liars)}")


@dataclass(frozen=True, slots=True, repr=False)
class PartialOpening:
    """One key holder's answer: a partial root for each remainder, and one proof for all."""

    roots: tuple[mpz, ...]
    challenge: bytes
    response: mpz

    @staticmethod
    def size(key_bits: int, ciphertexts: int) -> int:
        return (ciphertexts + 1) * (key_bits // 8) + CHALLENGE_BYTES + _RESPONSE_EXCESS

    def encode(self, shared: SharedKey) -> bytes:
        """The roots (bits / 8 bytes each), challenge (16), response (bits / 8 + 56)."""
        width = shared.public.bits // 8
        response = encode_numbers([self.response], width + _RESPONSE_EXCESS)
        return encode_numbers(self.roots, width) + self.challenge + response

    @classmethod
    def decode(cls, data: bytes | memoryview, shared: SharedKey, count: int) -> PartialOpening:
        """Strict, for ``count`` roots: ``DecodeError`` unless they are units and the response is in range."""
        reader, width = Reader(data), shared.public.bits // 8
        roots = decode_numbers(reader.view(count * width), width)
        challenge = reader.fixed(CHALLENGE_BYTES)
        response = mpz.from_bytes(reader.fixed(width + _RESPONSE_EXCESS), "little")
        reader.finish()
        opening = cls(tuple(roots), challenge, response)
        opening.require_form(shared, count)
        return opening

    def require_form(self, shared: SharedKey, count: int) -> None:
        """``DecodeError`` unless these are ``count`` units modulo n, and the proof's numbers in range."""
        if len(self.roots) != count:
            raise DecodeError(f"{len(self.roots)} roots where {count} were due")
        require_units(self.roots, shared.public.n, "root")
        if len(self.challenge) != CHALLENGE_BYTES or not 0 <= self.response < 1 << response_bits(shared):
            raise DecodeError("the proof's numbers are out of range")

    def __repr__(self) -> str:
        return f"PartialOpening({len(self.roots)} roots)"


def response_bits(shared: SharedKey) -> int:
    """Bits of the largest response that an honest key holder can give."""
    return shared.public.bits + _MASK_EXCESS + 1


def answer(share: KeyShare, remainders: Sequence[mpz], context: bytes, tape: RandomTape) -> PartialOpening:
    """The partial roots u^(2Δ s_i) mod n of all ``remainders`` u, and their proof.

    ``remainders``: units modulo n, or ``DecodeError``. ``context`` binds round, cohort and counted clients,
    and is of any length; key and holder are bound as well. Reads bits / 8 + 48 bytes of ``tape``'s child for
    this statement: one mask in two different proofs would give the share away, and a tape may be replayed.
    """
    shared = share.shared
    n, delta = shared.public.n, shared.delta
    require_units(remainders, n, "remainder")
    # The public factor first: then the secret exponent has one size in words, whatever its value.
    roots = tuple(share.powers([gmpy2.powmod(u, 2 * delta, n) for u in remainders]))
    digest = _digest(shared, share.index, remainders, roots, context)
    product = product_of_powers(remainders, coefficients(digest, len(remainders)), n)
    base = gmpy2.powmod(product, 4 * delta, n)
    octets = tape.child(f"opening {digest.hex()}").read((shared.public.bits + _MASK_EXCESS) // 8)
    mask = mpz.from_bytes(octets, "little")
    commitments = [gmpy2.powmod_sec(x, mask, n) for x in (shared.base, base)]
    challenge = _challenge(shared, share.index, digest, [*share.powers([base]), *commitments])
    return PartialOpening(roots, challenge, share.respond(mask, int.from_bytes(challenge, "little")))


def verify(
    shared: SharedKey, index: int, remainders: Sequence[mpz], opening: PartialOpening, context: bytes
) -> None:
    """Raise ``DecodeError`` unless each root's square is the one of key holder ``index``, as its proof says.

    ``remainders``: units modulo n. A wrong root passes with chance 2^-128 for every try at the hash.
    """
    shared.require_index(index)
    opening.require_form(shared, len(remainders))
    n = shared.public.n
    digest = _digest(shared, index, remainders, opening.roots, context)
    exponents = coefficients(digest, len(remainders))
    base = gmpy2.powmod(product_of_powers(remainders, exponents, n), 4 * shared.delta, n)
    image = product_of_powers(opening.roots, exponents, n) ** 2 % n
    challenge = int.from_bytes(opening.challenge, "little")
    commitments = [
        gmpy2.powmod(x, opening.response, n) * gmpy2.powmod(x_to_s, -challenge, n) % n
        for x, x_to_s in ((shared.base, shared.verification[index - 1]), (base, image))
    ]
    if not equal(opening.challenge, _challenge(shared, index, digest, [image, *commitments])):
        raise DecodeError(f"the proof of key holder {index} does not hold")


def open_sums(
    shared: SharedKey, ciphertexts: Sequence[mpz], openings: Mapping[int, PartialOpening], context: bytes
) -> list[mpz]:
    """The plaintexts in [0, n) of valid ``ciphertexts``, from the ``openings`` of t key holders, by index.

    They answer to the ciphertexts' remainders modulo n, under ``context``. Of more than t those of lowest
    index are used; ``LocalError`` for fewer. What this returns is right whoever lied. Otherwise it raises
    ``WrongRoots``, after which the caller tries again with the openings of others.
    """
    for index in openings:
        shared.require_index(index)
    if len(openings) < shared.threshold:
        raise LocalError("openings", sorted(openings), f"{shared.threshold} key holders have to answer")
    chosen = {index: openings[index] for index in sorted(openings)[: shared.threshold]}
    malformed = _failing(chosen, lambda _, opening: opening.require_form(shared, len(ciphertexts)))
    if malformed:
        raise WrongRoots(malformed)
    public, exponent = shared.public, 4 * shared.delta**2
    lifted = public.modulus.powers(_combined(shared, chosen), public.n, public=True)
    raised = public.modulus.powers(ciphertexts, mpz(exponent), public=True)
    # Modulo n these are w^n and u^(4Δ²). n-th powers permute the units there: only the right w passes.
    if any((c - power) % public.n for c, power in zip(raised, lifted, strict=True)):
        remainders = [c % public.n for c in ciphertexts]
        raise WrongRoots(
            _failing(openings, lambda i, opening: verify(shared, i, remainders, opening, context))
        )
    inverse = gmpy2.invert(exponent, public.n)
    return [multiple * inverse % public.n for multiple in public.opened(raised, lifted)]


def _failing(
    openings: Mapping[int, PartialOpening], check: Callable[[int, PartialOpening], None]
) -> list[int]:
    """The indices for which ``check`` raises ``DecodeError``, ascending."""
    failing = []
    for index, opening in sorted(openings.items()):
        try:
            check(index, opening)
        except DecodeError:
            failing.append(index)
    return failing


def _combined(shared: SharedKey, openings: Mapping[int, PartialOpening]) -> list[mpz]:
    """w = Π x_i^(2 λ_i) mod n for each place: the n-th root of u, to the power 4Δ²."""
    n = shared.public.n
    weights = lagrange(openings, 0, shared.holders)
    result = [mpz(1)] * len(next(iter(openings.values())).roots)
    for index, opening in openings.items():
        result = [
            w * gmpy2.powmod(x, 2 * weights[index], n) % n for w, x in zip(result, opening.roots, strict=True)
        ]
    return result


def _digest(
    shared: SharedKey, index: int, remainders: Sequence[mpz], roots: Sequence[mpz], context: bytes
) -> bytes:
    """All that an answer says and answers to; the batch's coefficients come from it."""
    statement = shared.fingerprint() + index.to_bytes(1, "little") + context
    return batch_digest(statement, [remainders, roots], shared.public.bits // 8)


def _challenge(shared: SharedKey, index: int, digest: bytes, numbers: Sequence[mpz]) -> bytes:
    """The challenge to a proof about ``digest``; ``numbers``: x̃² and the two commitments."""
    octets = encode_numbers([shared.verification[index - 1], *numbers], shared.public.bits // 8)
    hashed = hashlib.sha256(tag(Usage.OPENING_PROOF) + digest + octets).digest()
    return derive_key(hashed, Usage.OPENING_PROOF, b"", CHALLENGE_BYTES)
