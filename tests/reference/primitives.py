"""Keys, keystreams, tapes, field, Shamir and Merkle tree a second time: slow, obvious, from docs/spec.md.

Nothing here imports the toolkit. Integers are Python's, HKDF is built from HMAC (RFC 5869), the keystream is
AES in counter mode as SP 800-38A describes it. Not constant-time, and not meant to be fast.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

P = 2**64 - 2**32 + 1
SECRET_BYTES = 32
LIMB_BYTES = 7
LIMBS = 5  # of a secret: four of seven bytes, one of four


class Malformed(Exception):
    """Bytes that are the canonical encoding of nothing (spec section 4)."""


def u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


# Section 3: tags, keys, keystreams, tapes.


def tag(usage: int) -> bytes:
    """Ten bytes: name, version 1, usage."""
    return b"secagg" + u16(1) + u16(usage)


def hkdf(secret: bytes, usage: int, context: bytes, length: int = 16) -> bytes:
    """RFC 5869 with SHA-256 and without salt; info = tag ‖ context."""
    key = hmac.digest(bytes(32), secret, "sha256")
    out = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + tag(usage) + context + bytes([counter]), "sha256")
        out += block
    return out[:length]


def sha256(usage: int, content: bytes) -> bytes:
    return hashlib.sha256(tag(usage) + content).digest()


def keystream(key: bytes, count: int) -> bytes:
    """AES-128-CTR whose first counter block is twelve zero bytes, then 2 as four bytes, big-endian."""
    first = bytes(12) + (2).to_bytes(4, "big")
    return Cipher(algorithms.AES(key), modes.CTR(first)).encryptor().update(bytes(count))


class Tape:
    """The keystream of HKDF(SHA-256(seed), usage 1), read from the front."""

    def __init__(self, seed: bytes) -> None:
        self._secret = hashlib.sha256(seed).digest()
        self._position = 0

    def read(self, count: int) -> bytes:
        self._position += count
        key = hkdf(self._secret, 1, b"")
        return keystream(key, self._position)[self._position - count :]

    def element(self) -> int:
        """The next little-endian word of 64 bits that is below p."""
        while (word := int.from_bytes(self.read(8), "little")) >= P:
            pass
        return word

    def child(self, label: str) -> Tape:
        return Tape(hkdf(self._secret, 2, label.encode(), 32))


# Asymmetric keys.


def x25519_public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def x25519(private: bytes, public: bytes) -> bytes:
    """The shared secret, 32 bytes; ``Malformed`` for a public key of small order."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:
        raise Malformed("a key of small order") from None


def ed25519_public(secret: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def sign(secret: bytes, usage: int, content: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(secret).sign(tag(usage) + content)


def signed_by(public: bytes, usage: int, content: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, tag(usage) + content)
    except Exception:  # whatever the library objects to, it is no signature of this key
        return False
    return True


def seal(key: bytes, plaintext: bytes) -> bytes:
    """AES-128-GCM, nonce of twelve zero bytes, nothing else authenticated: ciphertext ‖ tag."""
    return AESGCM(key).encrypt(bytes(12), plaintext, None)


def unseal(key: bytes, ciphertext: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(bytes(12), ciphertext, None)
    except InvalidTag:
        return None


# Section 4: bitmaps and packed vectors.


def bitmap(chosen: Iterable[int], order: Sequence[int]) -> bytes:
    """A bit for each entry of ``order``, set if it is among ``chosen``; the first is the lowest bit."""
    number = sum(1 << place for place, entry in enumerate(order) if entry in set(chosen))
    return number.to_bytes((len(order) + 7) // 8, "little")


def from_bitmap(data: bytes, order: Sequence[int]) -> list[int]:
    number = int.from_bytes(data, "little")
    if len(data) != (len(order) + 7) // 8 or number >> len(order):
        raise Malformed("a bitmap with a bit for nobody")
    return [entry for place, entry in enumerate(order) if number >> place & 1]


def pack(values: Sequence[int], bits: int) -> bytes:
    """Value number v stands in the bits from v · ``bits`` on of one little-endian number."""
    number = sum(value << (place * bits) for place, value in enumerate(values))
    return number.to_bytes((len(values) * bits + 7) // 8, "little")


def unpack(data: bytes, length: int, bits: int) -> list[int]:
    number = int.from_bytes(data, "little")
    if len(data) != (length * bits + 7) // 8 or number >> (length * bits):
        raise Malformed("a packed vector of another length, or bits after its last value")
    return [number >> (place * bits) & ((1 << bits) - 1) for place in range(length)]


def mask(key: bytes, length: int, bits: int) -> list[int]:
    """Little-endian words of the keystream, mod 2^bits: 16, 32 or 64 bits wide, as few as hold ``bits``."""
    width = next(width for width in (2, 4, 8) if bits <= 8 * width)
    stream = keystream(key, width * length)
    words = [stream[width * place : width * (place + 1)] for place in range(length)]
    return [int.from_bytes(word, "little") % (1 << bits) for word in words]


# Section 12.1: Shamir over the field of order p.


def limbs(secret: bytes) -> list[int]:
    groups = [secret[start : start + LIMB_BYTES] for start in range(0, len(secret), LIMB_BYTES)]
    return [int.from_bytes(group, "little") for group in groups]


def from_limbs(found: Sequence[int]) -> bytes:
    """The secret of 32 bytes; ``Malformed`` if a limb is wider than seven bytes, or the last than four."""
    number = 0
    for place, limb in enumerate(found):
        if limb >= 1 << (8 * LIMB_BYTES):
            raise Malformed("limbs of no secret")
        number |= limb << (8 * LIMB_BYTES * place)
    if number >= 1 << (8 * SECRET_BYTES):
        raise Malformed("limbs of no secret")
    return number.to_bytes(SECRET_BYTES, "little")


def polynomials(secrets: Sequence[int], threshold: int, tape: Tape) -> list[list[int]]:
    """Row p holds the coefficients of x^p, one a secret: the secrets, then row by row what the tape gives."""
    return [list(secrets)] + [[tape.element() for _ in secrets] for _ in range(threshold - 1)]


def evaluate(rows: Sequence[Sequence[int]], point: int) -> list[int]:
    """A share of each secret: the values of the polynomials at ``point``."""
    return [
        sum(value * pow(point, power, P) for power, value in enumerate(column)) % P
        for column in zip(*rows, strict=True)
    ]


def interpolate(shares: Mapping[int, Sequence[int]]) -> list[int]:
    """The values at 0 of the polynomials of lowest degree through the shares: point → one of each."""
    width = len(next(iter(shares.values())))
    found = [0] * width
    for point, row in shares.items():
        weight = 1
        for other in shares:
            if other != point:
                weight = weight * other * pow(other - point, -1, P) % P
        found = [(total + weight * value) % P for total, value in zip(found, row, strict=True)]
    return found


def share_bytes(elements: Sequence[int]) -> bytes:
    return b"".join(u64(element) for element in elements)


def share_elements(share: bytes) -> list[int]:
    found = [int.from_bytes(share[start : start + 8], "little") for start in range(0, len(share), 8)]
    if any(element >= P for element in found):
        raise Malformed("a share that is not made of field elements")
    return found


# Section 12.6: Merkle tree, with proofs for several leaves.


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(18, b"\0" + leaf)


def tree(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The levels, leaves first: pairs are hashed, an odd node at the end moves up as it is."""
    levels = [[leaf_hash(leaf) for leaf in leaves]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [sha256(18, b"\1" + below[at] + below[at + 1]) for at in range(0, len(below) - 1, 2)]
        levels.append(above + below[len(below) // 2 * 2 :])
    return levels


def root_of(top: bytes, count: int) -> bytes:
    return sha256(18, b"\2" + u64(count) + top)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    return root_of(tree(leaves)[-1][0], len(leaves))


def missing(indices: Iterable[int], count: int) -> list[tuple[int, int]]:
    """(level, place) of the hashes in the proof of these leaves, in the order in which they travel."""
    found, known, width, level = [], set(indices), count, 0
    while width > 1:
        siblings = {place ^ 1 for place in known} - known
        found += [(level, place) for place in sorted(siblings) if place < width]
        known, width, level = {place // 2 for place in known}, (width + 1) // 2, level + 1
    return found


def merkle_proof(leaves: Sequence[bytes], indices: Iterable[int]) -> bytes:
    levels = tree(leaves)
    return b"".join(levels[level][place] for level, place in missing(indices, len(leaves)))


def merkle_check(root: bytes, leaves: Mapping[int, bytes], count: int, proof: bytes) -> bool:
    """Whether ``proof`` leads from ``leaves`` (place → leaf) of ``count`` to ``root``."""
    wanted = missing(leaves, count)
    if len(proof) != 32 * len(wanted):
        return False
    known = {(0, place): leaf_hash(leaf) for place, leaf in leaves.items()}
    known |= {where: proof[32 * at : 32 * at + 32] for at, where in enumerate(wanted)}
    width, level = count, 0
    while width > 1:
        for parent in {place // 2 for depth, place in known if depth == level}:
            left, right = known[level, 2 * parent], known.get((level, 2 * parent + 1))
            known[level + 1, parent] = sha256(18, b"\1" + left + right) if right else left
        width, level = (width + 1) // 2, level + 1
    return root_of(known[level, 0], count) == root
