"""The key holder's long-term keys (spec section 14.1)."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mpc.errors import DecodeError, LocalError
from mpc.tape import RandomTape
from mpc.wire import Reader, Writer
from secagg.cohort import KEY_BYTES
from secagg.paillier.keyformat import DEFAULT_BITS
from secagg.paillier.private import PrivateKey, generate
from secagg.paillier.public import PublicKey
from secagg.roundlog import RoundLog
from secagg.sealed import check_public

KEY_VERSION = 1


@dataclass(frozen=True, slots=True)
class KeyHolderPublic:
    """The public halves: ``encryption``, which clients encrypt under, and ``link``, which the server pins.

    Both reach clients and server in advance, by a way that they trust: whoever can replace them is the key
    holder. ``LocalError`` for a link key that is not 32 bytes, or of small order.
    """

    encryption: PublicKey
    link: bytes

    def __post_init__(self) -> None:
        check_public("link", self.link)

    def encode(self) -> bytes:
        """Version (1 byte), link key (32), encryption key: 1,189 bytes at 3072 bits."""
        return Writer().u8(KEY_VERSION).fixed(self.link, KEY_BYTES).finish() + self.encryption.encode()

    @classmethod
    def decode(cls, data: bytes, *, allow_insecure_bits: bool = False) -> KeyHolderPublic:
        """Strict: ``DecodeError`` for anything that ``encode`` does not give, and for insecure sizes."""
        link, rest = _split(data)
        encryption = PublicKey.decode(rest, allow_insecure_bits=allow_insecure_bits)
        try:
            return cls(encryption, link)
        except LocalError as error:
            raise DecodeError(str(error)) from None


class KeyHolderKeys:
    """The key holder's private keys, ``encryption`` and ``link``, with the ``log`` of their use.

    They last over rounds: a link key is bound to each round when it is used, and of each round one sum
    is opened. Cannot be pickled; only :meth:`export_secret` writes it out.
    """

    def __init__(self, encryption: PrivateKey, link: bytes, log: RoundLog | None = None) -> None:
        """``link``: an X25519 private key, 32 bytes, or ``LocalError``."""
        if len(link) != KEY_BYTES:
            raise LocalError("len(link)", len(link), f"an X25519 key has {KEY_BYTES} bytes")
        self.encryption = encryption
        self.link = link
        self.log = RoundLog() if log is None else log
        private = X25519PrivateKey.from_private_bytes(link)
        self.public = KeyHolderPublic(encryption.public, private.public_key().public_bytes_raw())

    @classmethod
    def generate(
        cls, bits: int = DEFAULT_BITS, *, tape: RandomTape, insecure_bits: int | None = None
    ) -> KeyHolderKeys:
        """New keys; for the sizes see :func:`secagg.paillier.private.generate`."""
        return cls(generate(bits, tape=tape, insecure_bits=insecure_bits), tape.read(KEY_BYTES))

    def export_secret(self) -> bytes:
        """SECRET, unencrypted, without the log: version (1 byte), link key (32), encryption key."""
        return Writer().u8(KEY_VERSION).fixed(self.link, KEY_BYTES).finish() + self.encryption.export_secret()

    @classmethod
    def import_secret(
        cls, data: bytes, *, log: RoundLog | None = None, allow_insecure_bits: bool = False
    ) -> KeyHolderKeys:
        """Strict, as :meth:`KeyHolderPublic.decode` is: ``DecodeError`` for anything else."""
        link, rest = _split(data)
        return cls(PrivateKey.import_secret(rest, allow_insecure_bits=allow_insecure_bits), link, log)

    def __repr__(self) -> str:
        return f"KeyHolderKeys(bits={self.encryption.public.bits}, <secret>)"


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The link key, and the bytes of the encryption key."""
    reader = Reader(data)
    if (version := reader.u8()) != KEY_VERSION:
        raise DecodeError(f"key holder's keys of version {version}, where {KEY_VERSION} is known")
    return reader.fixed(KEY_BYTES), bytes(reader.rest())
