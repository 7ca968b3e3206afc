"""To and from the objects of ``phe``, python-paillier (spec section 14.1).

``phe`` is under the GPL, version 3, and comes with the extra ``paillier-phe`` alone: it is imported when one
of these functions is called, and never before.

Keys: ``phe``'s have no h_s. Ours lose theirs on the way there; those from there are textbook keys.

Numbers: ``phe``'s EncryptedNumber is a ciphertext of an integer m in [0, n) and, in clear, an exponent e: it
stands for m · 16^e. Our plaintexts are whole, so that e is 0 on the way there, and has to be on the way back:
``phe`` gives other exponents to what it encrypts from floats. An integer v may be negative: it is v mod n,
which ``phe`` reads as v for |v| ≤ n // 3 − 1. Packed vectors reach beyond that: ``raw_decrypt`` opens them
there, and ``decrypt`` may refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from secagg.paillier.keyformat import HEADER_BYTES, SECURITY
from secagg.paillier.private import PrivateKey
from secagg.paillier.public import PublicKey

if TYPE_CHECKING:
    import phe


def public_to_phe(key: PublicKey) -> phe.PaillierPublicKey:
    """The key without its h_s."""
    return _phe().PaillierPublicKey(int(key.n))


def public_from_phe(key: phe.PaillierPublicKey, *, allow_insecure_bits: bool = False) -> PublicKey:
    """A textbook key. ``LocalError`` unless it can be one, of a size in ``SECURITY`` or any if allowed."""
    _require(key, "PaillierPublicKey")
    _require_size(int(key.n), allow_insecure_bits)
    return PublicKey(mpz(key.n))


def private_to_phe(key: PrivateKey) -> phe.PaillierPrivateKey:
    """SECRET: p and q in ``phe``'s object, which may be pickled and compared in variable time."""
    exported, width = key.export_secret(), key.public.bits // 16
    p = int.from_bytes(exported[HEADER_BYTES : HEADER_BYTES + width], "little")
    return _phe().PaillierPrivateKey(public_to_phe(key.public), p, int(key.public.n) // p)


def private_from_phe(key: phe.PaillierPrivateKey, *, allow_insecure_bits: bool = False) -> PrivateKey:
    """A textbook key. ``LocalError`` as for :func:`public_from_phe`, and unless p and q are primes for it."""
    _require(key, "PaillierPrivateKey")
    _require_size(int(key.p) * int(key.q), allow_insecure_bits)
    return PrivateKey(mpz(key.p), mpz(key.q))


def ciphertexts_to_phe(key: PublicKey, ciphertexts: Sequence[mpz]) -> list[phe.EncryptedNumber]:
    """Ciphertexts under ``key``, with exponent 0; ``DecodeError`` if one is not valid.

    ``phe`` takes them for not obfuscated, and so multiplies an n-th power of its own to each before its
    ``ciphertext()`` shows it. That costs time and changes no plaintext.
    """
    key.validate_ciphertexts(ciphertexts)
    number, public = _phe().EncryptedNumber, public_to_phe(key)
    return [number(public, int(ciphertext), 0) for ciphertext in ciphertexts]


def ciphertexts_from_phe(
    key: PublicKey, numbers: Sequence[phe.EncryptedNumber], *, be_secure: bool = True
) -> list[mpz]:
    """The ciphertexts of ``numbers``, which stand for integers modulo n and are valid under ``key``.

    ``be_secure``: those that ``phe`` has computed from others are obfuscated first, as ``phe`` does by
    default, from the system's generator; without, they may show what they were computed from. ``LocalError``
    for other objects, another key's, and exponents other than 0; ``DecodeError`` if one is not valid.
    """
    for index, number in enumerate(numbers):
        _require(number, "EncryptedNumber")
        if number.public_key.n != key.n:
            raise LocalError("numbers", f"at {index}", "must be encrypted under the key that is given")
        if number.exponent != 0:
            raise LocalError(
                "numbers", f"of exponent {number.exponent} at {index}", "must be integers, of exponent 0"
            )
    # Obfuscation reduces modulo n²: what was out of range before would pass after it.
    ciphertexts = [mpz(number.ciphertext(be_secure=False)) for number in numbers]
    key.validate_ciphertexts(ciphertexts)
    return [mpz(number.ciphertext()) for number in numbers] if be_secure else ciphertexts


def plaintext_of(key: PublicKey, value: int) -> mpz:
    """The plaintext that stands for ``value`` in ``phe``: value mod n; ``LocalError`` beyond n // 3 − 1."""
    if abs(value) > key.n // 3 - 1:
        raise LocalError("value", "<secret>", "must be at most n // 3 - 1 in absolute value")
    return mpz(value) % key.n


def value_of(key: PublicKey, plaintext: mpz) -> int:
    """The integer that a plaintext in [0, n) stands for in ``phe``; ``DecodeError`` for the third between."""
    value = plaintext if plaintext < key.n // 2 else plaintext - key.n
    if not 0 <= plaintext < key.n or abs(value) > key.n // 3 - 1:
        raise DecodeError("a sum has left the range of integers, n // 3 - 1 in absolute value")
    return int(value)


def _phe() -> Any:
    try:
        import phe
    except ImportError:
        raise LocalError("phe", None, "is not installed: pip install 'secagg[paillier-phe]'") from None
    return phe


def _require(given: object, kind: str) -> None:
    if not isinstance(given, getattr(_phe(), kind)):
        raise LocalError("phe", type(given).__name__, f"must be phe's {kind}")


def _require_size(n: int, allow_insecure_bits: bool) -> None:
    if n.bit_length() not in SECURITY and not allow_insecure_bits:
        raise LocalError("bits of n", n.bit_length(), f"must be one of {', '.join(map(str, SECURITY))}")
