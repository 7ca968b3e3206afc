"""The keys of a masking client, and what is derived from them (spec section 12.1; Bonawitz et al. 2017,
section 4 and figure 4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage, derive_key, tag
from mpc.snapshot import Kind
from mpc.tape import RandomTape

Places = npt.NDArray[np.integer[Any]]
SECRET_BYTES = 32  # X25519 private keys and self-mask seeds alike
SEAL_BYTES = 16
COMMITMENT_BYTES = 32
SHARE_COMMITMENT_BYTES = 16
CONSISTENCY_BYTES = 16
# Every sealing key seals one message, so a constant nonce never repeats under a key.
_NONCE = bytes(12)
_SHARE_COMMITMENT = tag(Usage.SHARE_COMMITMENT)


def _pair(low: int, high: int) -> bytes:
    return low.to_bytes(4, "little") + high.to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair of one client for one round. Cannot be pickled or copied."""

    private: bytes
    public: bytes

    @classmethod
    def generate(cls, tape: RandomTape) -> KeyPair:
        return cls.from_private(tape.read(SECRET_BYTES))

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        return cls(private, public)

    def __reduce__(self) -> NoReturn:
        raise LocalError("key pair", "<secret>", "cannot be pickled or copied: it lives for one round")

    def __repr__(self) -> str:
        return f"KeyPair(<secret>, public={self.public.hex()[:8]}…)"


KEY_PAIR = Kind(KeyPair, lambda pair: pair.private, KeyPair.from_private)


class Agreement:
    """One side's private key, ready to agree with many peers."""

    def __init__(self, private: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(private)

    def with_peer(self, public: bytes) -> bytes:
        """The X25519 shared secret; ``DecodeError`` for a public key of small order."""
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            raise DecodeError("an X25519 public key of small order") from None


def pairwise_mask_key(shared: bytes, dealing: bytes, one: int, other: int) -> bytes:
    """The AES key of the mask that two clients have in common."""
    return derive_key(shared, Usage.PAIRWISE_MASK, dealing + _pair(min(one, other), max(one, other)))


def self_mask_key(seed: bytes, dealing: bytes, index: int) -> bytes:
    """The AES key of a client's own mask."""
    return derive_key(seed, Usage.SELF_MASK, dealing + _pair(index, index))


def mask_sign(me: int, peer: int) -> int:
    """The sign with which ``me`` adds the mask it has in common with ``peer``; the two cancel."""
    return 1 if me < peer else -1


def seed_commitment(seed: bytes, listing: bytes, index: int) -> bytes:
    """Commits a client to its self-mask seed, which is uniform: binding and hiding, as HKDF is."""
    return derive_key(seed, Usage.SEED_COMMITMENT, listing + _pair(index, index), COMMITMENT_BYTES)


def share_commitments(
    listing: bytes, dealers: Places, holders: Places, kinds: Places, shares: bytes
) -> npt.NDArray[np.uint8]:
    """Commit each dealer to a share: without it a holder could name another, and spoil the sum.

    ``dealers``, ``holders``, ``kinds``: one entry a share; ``shares``: the shares, one after the other. Shape
    (number of shares, SHARE_COMMITMENT_BYTES). Half of SHA-256 each: what a holder would have to find is a
    second share, not two that agree. A share is uniform, so its hash does not help to guess it.
    """
    if not len(kinds):
        return np.empty((0, SHARE_COMMITMENT_BYTES), np.uint8)
    prefix = np.frombuffer(_SHARE_COMMITMENT + listing, np.uint8)
    begins = prefix.size
    rows = np.empty((len(kinds), begins + 9 + len(shares) // len(kinds)), np.uint8)
    rows[:, :begins] = prefix
    for column, indices in ((begins, dealers), (begins + 4, holders)):
        rows[:, column : column + 4] = np.asarray(indices, "<u4").reshape(-1, 1).view(np.uint8)
    rows[:, begins + 8] = kinds
    rows[:, begins + 9 :] = np.frombuffer(shares, np.uint8).reshape(len(kinds), -1)
    content, width, sha256 = rows.tobytes(), rows.shape[1], hashlib.sha256
    starts = range(0, len(content), width)
    hashes = b"".join([sha256(content[at : at + width]).digest() for at in starts])
    return np.frombuffer(hashes, np.uint8).reshape(len(kinds), -1)[:, :SHARE_COMMITMENT_BYTES]


def seal(shared: bytes, listing: bytes, sender: int, receiver: int, plaintext: bytes) -> bytes:
    """AES-128-GCM from one client to another, bound to round, listing and direction."""
    key = derive_key(shared, Usage.SHARE_SEALING, listing + _pair(sender, receiver))
    return AESGCM(key).encrypt(_NONCE, plaintext, None)


def unseal(
    shared: bytes, listing: bytes, sender: int, receiver: int, ciphertext: bytes | memoryview
) -> bytes:
    """Raises ``DecodeError`` for anything that ``sender`` did not seal for ``receiver`` in this round."""
    key = derive_key(shared, Usage.SHARE_SEALING, listing + _pair(sender, receiver))
    try:
        return AESGCM(key).decrypt(_NONCE, ciphertext, None)
    except InvalidTag:
        raise DecodeError("a sealed share does not open") from None


def consistency_tag(shared: bytes, dealing: bytes, sender: int, receiver: int, survivors: bytes) -> bytes:
    """By which ``sender`` tells ``receiver`` alone which sets the server showed it: a PRF of them."""
    context = dealing + _pair(sender, receiver) + survivors
    return derive_key(shared, Usage.CONSISTENCY, context, CONSISTENCY_BYTES)
