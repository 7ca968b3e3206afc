"""The keys of a masking client, and what is derived from them (spec section 12.1; Bonawitz et al. 2017,
section 4 and figure 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage, derive_key
from mpc.tape import RandomTape

SECRET_BYTES = 32  # X25519 private keys and self-mask seeds alike
SEAL_BYTES = 16
COMMITMENT_BYTES = 32
CONSISTENCY_BYTES = 16
# Every sealing key seals one message, so a constant nonce never repeats under a key.
_NONCE = bytes(12)


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


def pairwise_mask_key(shared: bytes, digest: bytes, one: int, other: int) -> bytes:
    """The AES key of the mask that two clients have in common."""
    return derive_key(shared, Usage.PAIRWISE_MASK, digest + _pair(min(one, other), max(one, other)))


def self_mask_key(seed: bytes, digest: bytes, index: int) -> bytes:
    """The AES key of a client's own mask."""
    return derive_key(seed, Usage.SELF_MASK, digest + _pair(index, index))


def seed_commitment(seed: bytes, digest: bytes, index: int) -> bytes:
    """Commits a client to its self-mask seed, which is uniform: binding and hiding, as HKDF is."""
    return derive_key(seed, Usage.SEED_COMMITMENT, digest + _pair(index, index), COMMITMENT_BYTES)


def mask_sign(me: int, peer: int) -> int:
    """The sign with which ``me`` adds the mask it has in common with ``peer``; the two cancel."""
    return 1 if me < peer else -1


def seal(shared: bytes, digest: bytes, sender: int, receiver: int, plaintext: bytes) -> bytes:
    """AES-128-GCM from one client to another, bound to round and direction."""
    key = derive_key(shared, Usage.SHARE_SEALING, digest + _pair(sender, receiver))
    return AESGCM(key).encrypt(_NONCE, plaintext, None)


def unseal(shared: bytes, digest: bytes, sender: int, receiver: int, ciphertext: bytes) -> bytes:
    """Raises ``DecodeError`` for anything that ``sender`` did not seal for ``receiver`` in this round."""
    key = derive_key(shared, Usage.SHARE_SEALING, digest + _pair(sender, receiver))
    try:
        return AESGCM(key).decrypt(_NONCE, ciphertext, None)
    except InvalidTag:
        raise DecodeError("a sealed share does not open") from None


def consistency_tag(shared: bytes, digest: bytes, sender: int, receiver: int, sets: bytes) -> bytes:
    """By which ``sender`` tells ``receiver`` alone which sets the server showed it: a PRF of them."""
    context = digest + _pair(sender, receiver) + sets
    return derive_key(shared, Usage.CONSISTENCY, context, CONSISTENCY_BYTES)
