"""A Paillier key of which m key holders have a share each, and any t open a sum (spec section 14.5).

Shoup, "Practical threshold signatures" (Eurocrypt 2000), section 2.2, with the public exponent n: what is
shared is 1/n modulo p'q', the exponent that takes n-th roots of squares modulo n.

The dealer sees the whole key. Nobody can check of a modulus that its factors are safe primes, so that the
dealer is trusted to make it as it should and to forget it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NoReturn

import gmpy2
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from mpc.tape import RandomTape
from mpc.wire import Reader, Writer
from secagg.cohort import is_whole
from secagg.paillier.keyformat import DEFAULT_BITS, VERSION, modulus_bits, secret_fault
from secagg.paillier.modulus import modulus_of
from secagg.paillier.numbers import decode_numbers, encode_numbers, random_unit
from secagg.paillier.public import PublicKey
from secagg.paillier.safeprimes import safe_prime

SHARED, SHARE = 5, 6  # kinds of encoded keys, beside those of keyformat
MIN_THRESHOLD, MAX_HOLDERS = 2, 16


@dataclass(frozen=True, repr=False)
class SharedKey:
    """The public part. Validated once, when made: ``LocalError`` says what is wrong.

    ``public``: what clients encrypt under. ``holders`` m and ``threshold`` t: 2 ≤ t ≤ m ≤ 16 and 2t > m, so
    that two sets of t have a key holder in common, who answers once a round. ``base`` v and ``verification``
    v_1 … v_m: squares modulo n, v_i = v^(s_i). Holders have the indices 1 … m.
    """

    public: PublicKey
    holders: int
    threshold: int
    base: mpz
    verification: tuple[mpz, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", mpz(self.base))
        object.__setattr__(self, "verification", tuple(map(mpz, self.verification)))
        require_sizes(self.holders, self.threshold)
        if self.public.h_s is None:
            raise LocalError("public", self.public, "a shared key has an h_s")
        if len(self.verification) != self.holders:
            raise LocalError("len(verification)", len(self.verification), f"must equal {self.holders}")
        n = self.public.n
        # A square x generates all p'q' of them exactly when x − 1 is a unit; −1 modulo p or q is no square.
        if not all(0 < x < n and gmpy2.gcd(x * (x * x - 1), n) == 1 for x in (self.base, *self.verification)):
            raise LocalError("verification", "<not printed>", "v, v_i, v² - 1 and v_i² - 1 must be units")
        if not self._is_consistent():
            raise LocalError("verification", "<not printed>", "v and v_i belong to no sharing of 1/n")

    def _is_consistent(self) -> bool:
        """Whether t of the v_i give v^(1/n), and the others fit the same polynomial; to the power Δ."""
        n, known = self.public.n, range(1, self.threshold + 1)

        def at(point: int) -> mpz:
            weights = lagrange(known, point, self.holders)
            powers = (gmpy2.powmod(self.verification[i - 1], weight, n) for i, weight in weights.items())
            return math.prod(powers, start=mpz(1)) % n

        return gmpy2.powmod(at(0), n, n) == gmpy2.powmod(self.base, self.delta, n) and all(
            at(i) == gmpy2.powmod(self.verification[i - 1], self.delta, n)
            for i in range(self.threshold + 1, self.holders + 1)
        )

    @property
    def delta(self) -> int:
        """Δ = m!, which the denominators of all Lagrange coefficients divide."""
        return math.factorial(self.holders)

    def require_index(self, index: int) -> None:
        """``LocalError`` unless ``index`` is a holder's."""
        if not 1 <= index <= self.holders:
            raise LocalError("index", index, f"must be from 1 to {self.holders}")

    def encode(self) -> bytes:
        """Version, kind, m, t (1 byte each), public key with its length, v and v_1 … v_m (bits / 8 each)."""
        writer = Writer().packed("BBBB", VERSION, SHARED, self.holders, self.threshold)
        numbers = encode_numbers([self.base, *self.verification], self.public.bits // 8)
        return writer.blob(self.public.encode()).finish() + numbers

    @classmethod
    def decode(cls, data: bytes, *, allow_insecure_bits: bool = False) -> SharedKey:
        """Strict: ``DecodeError`` for anything that :meth:`encode` does not give, and for insecure sizes."""
        reader = Reader(data)
        _require_header(reader, SHARED)
        holders, threshold = reader.u8(), reader.u8()
        public = PublicKey.decode(bytes(reader.blob()), allow_insecure_bits=allow_insecure_bits)
        numbers = decode_numbers(reader.rest(), public.bits // 8)
        try:
            return cls(public, holders, threshold, numbers[0] if numbers else mpz(0), tuple(numbers[1:]))
        except LocalError as error:
            raise DecodeError(f"shared key: {error.argument} {error.bound}") from None

    def fingerprint(self) -> bytes:
        """SHA-256 of the encoding, 32 bytes: what parties compare or sign."""
        return hashlib.sha256(self.encode()).digest()

    def __repr__(self) -> str:
        which = f"threshold={self.threshold} of {self.holders}, fingerprint={self.fingerprint().hex()[:16]}…"
        return f"SharedKey(bits={self.public.bits}, {which})"


class KeyShare:
    """Key holder ``index``'s secret share s_i of ``shared``.

    It cannot be pickled; only :meth:`export_secret` writes it out. ``LocalError`` unless v^(s_i) = v_i.
    """

    __slots__ = ("_modulus", "_secret", "index", "shared")

    def __init__(self, shared: SharedKey, index: int, secret: mpz) -> None:
        shared.require_index(index)
        n = shared.public.n
        if (
            not 0 < secret < n >> 2
            or gmpy2.powmod_sec(shared.base, secret, n) != shared.verification[index - 1]
        ):
            raise LocalError("secret", "<secret>", f"is not share {index} of this key")
        self.shared = shared
        self.index = index
        self._modulus = modulus_of(n)
        self._secret = mpz(secret)

    def powers(self, bases: Sequence[mpz]) -> list[mpz]:
        """base^(s_i) mod n for each base, on all processors. ``bases``: units modulo n, public."""
        return self._modulus.powers(bases, self._secret)

    def respond(self, mask: mpz, challenge: int) -> mpz:
        """mask + challenge · s_i over the integers; ``mask``: secret, long, and never used again."""
        return mask + challenge * self._secret

    def export_secret(self) -> bytes:
        """SECRET, unencrypted: version, kind, index (1 byte each), s_i (bits / 8), the shared key."""
        header = Writer().packed("BBB", VERSION, SHARE, self.index).blob(self.shared.encode()).finish()
        return header + encode_numbers([self._secret], self.shared.public.bits // 8)

    @classmethod
    def import_secret(cls, data: bytes, *, allow_insecure_bits: bool = False) -> KeyShare:
        """The share that :meth:`export_secret` wrote; ``DecodeError`` unless it is one, in every respect."""
        reader = Reader(data)
        _require_header(reader, SHARE)
        index = reader.u8()
        shared = SharedKey.decode(bytes(reader.blob()), allow_insecure_bits=allow_insecure_bits)
        secret = mpz.from_bytes(reader.fixed(shared.public.bits // 8), "little")
        reader.finish()
        try:
            return cls(shared, index, secret)
        except LocalError as error:
            raise DecodeError(f"key share: {error.argument} {error.bound}") from None

    def __eq__(self, other: object) -> bool:
        # Key and index determine the share, and comparing them leaks nothing.
        if not isinstance(other, KeyShare):
            return NotImplemented
        return self.index == other.index and self.shared == other.shared

    def __hash__(self) -> int:
        return hash((self.index, self.shared))

    def __reduce__(self) -> NoReturn:
        raise LocalError("key share", "<secret>", "cannot be pickled or copied: see export_secret")

    def __repr__(self) -> str:
        return f"KeyShare(bits={self.shared.public.bits}, index={self.index}, <secret>)"


def deal(
    holders: int,
    threshold: int,
    bits: int = DEFAULT_BITS,
    *,
    tape: RandomTape,
    insecure_bits: int | None = None,
) -> tuple[SharedKey, tuple[KeyShare, ...]]:
    """A new key in ``holders`` shares, any ``threshold`` of which open sums; some seconds at 3072 bits.

    For the sizes see :func:`secagg.paillier.private.generate` and :class:`SharedKey`. Who runs this could
    read every ciphertext: to be run once, where nothing of it stays.
    """
    require_sizes(holders, threshold)
    half = modulus_bits(bits, insecure_bits) // 2
    p, q = safe_prime(half, tape), safe_prime(half, tape)
    while secret_fault(p, q):
        q = safe_prime(half, tape)
    n, order = p * q, (p // 2) * (q // 2)
    y = random_unit(n, tape)
    public = PublicKey(n, gmpy2.powmod(-y * y, n, n * n))
    secrets = share_out(gmpy2.invert(n, order), order, holders, threshold, tape)
    base = random_unit(n, tape) ** 2 % n
    while gmpy2.gcd(base - 1, n) != 1:
        base = random_unit(n, tape) ** 2 % n
    verification = tuple(gmpy2.powmod_sec(base, secret, n) for secret in secrets)
    shared = SharedKey(public, holders, threshold, base, verification)
    return shared, tuple(KeyShare(shared, index, secret) for index, secret in enumerate(secrets, 1))


def share_out(secret: mpz, order: mpz, holders: int, threshold: int, tape: RandomTape) -> list[mpz]:
    """f(1) … f(m) for a random f of degree t − 1 modulo ``order`` with f(0) = ``secret``.

    Any t − 1 of them are uniform and independent of the secret, as the factors of ``order`` exceed m.
    """
    polynomial = [secret, *(mpz(tape.below(int(order))) for _ in range(threshold - 1))]
    return [sum(c * point**k for k, c in enumerate(polynomial)) % order for point in range(1, holders + 1)]


def lagrange(known: Collection[int], point: int, holders: int) -> dict[int, int]:
    """Integers w_i with Σ w_i f(i) = Δ · f(point), Δ = holders!, for polynomials of degree below len(known).

    ``known``: different indices from 1 to ``holders``.
    """
    delta = math.factorial(holders)
    return {
        i: delta * math.prod(point - j for j in known if j != i) // math.prod(i - j for j in known if j != i)
        for i in known
    }


def require_sizes(holders: int, threshold: int, argument: str = "holders") -> None:
    """``LocalError`` unless a key can be shared so; ``argument``: what the caller calls ``holders``."""
    if not is_whole(holders) or not MIN_THRESHOLD <= holders <= MAX_HOLDERS:
        raise LocalError(argument, holders, f"must be from {MIN_THRESHOLD} to {MAX_HOLDERS}")
    if not is_whole(threshold) or not max(MIN_THRESHOLD, holders // 2 + 1) <= threshold <= holders:
        raise LocalError(
            "threshold", threshold, f"must be more than half of {holders}, and at most that many key holders"
        )


def _require_header(reader: Reader, kind: int) -> None:
    if (reader.u8(), reader.u8()) != (VERSION, kind):
        raise DecodeError(f"not a key of version {VERSION} and kind {kind}")
