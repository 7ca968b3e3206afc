"""The key holders' long-term keys: what each keeps, and what everybody else pins (spec section 14.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError
from mpc.tape import RandomTape
from mpc.wire import Reader, Writer
from secagg.cohort import KEY_BYTES
from secagg.paillier import partial, rootproof
from secagg.paillier.keyformat import DEFAULT_BITS
from secagg.paillier.messages import Lifts
from secagg.paillier.private import PrivateKey, generate
from secagg.paillier.public import PublicKey
from secagg.paillier.sharedkey import KeyShare, SharedKey, deal
from secagg.roundlog import RoundLog, log_or_new
from secagg.sealed import check_public

KEY_VERSION, SHARED_KEY_VERSION = 1, 2


@dataclass(frozen=True, slots=True)
class KeyHolderPublic:
    """One key holder's public halves: ``encryption``, for clients, and ``link``, which the server pins.

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
        link, rest = _split(data, KEY_VERSION)
        encryption = PublicKey.decode(rest, allow_insecure_bits=allow_insecure_bits)
        try:
            return cls(encryption, link)
        except LocalError as error:
            raise DecodeError(str(error)) from None


@dataclass(frozen=True, slots=True)
class SharedKeyPublic:
    """The public halves of m key holders: the ``shared`` key, and their ``links`` in order.

    They are pinned as :class:`KeyHolderPublic` is. ``LocalError`` unless there is one good link key for each.
    """

    shared: SharedKey
    links: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.links) != self.shared.holders or len(set(self.links)) != len(self.links):
            raise LocalError("links", len(self.links), f"must be {self.shared.holders} different keys")
        for place, link in enumerate(self.links):
            check_public(f"links[{place}]", link)

    @property
    def encryption(self) -> PublicKey:
        """What clients encrypt under."""
        return self.shared.public

    def encode(self) -> bytes:
        """Version, number of key holders (1 byte each), their link keys (32 each), shared key."""
        writer = Writer().u8(SHARED_KEY_VERSION).u8(len(self.links))
        return writer.finish() + b"".join(self.links) + self.shared.encode()

    @classmethod
    def decode(cls, data: bytes, *, allow_insecure_bits: bool = False) -> SharedKeyPublic:
        """Strict, as :meth:`KeyHolderPublic.decode` is."""
        reader = Reader(data)
        _require_version(reader, SHARED_KEY_VERSION)
        links = tuple(reader.fixed(KEY_BYTES) for _ in range(reader.u8()))
        shared = SharedKey.decode(bytes(reader.rest()), allow_insecure_bits=allow_insecure_bits)
        try:
            return cls(shared, links)
        except LocalError as error:
            raise DecodeError(str(error)) from None


class OpeningKeys(ABC):
    """A key holder's private keys, ``link`` among them, with the ``log`` of their use.

    They last over rounds: a link key is bound to each round when it is used, and of each round one sum
    is opened. Cannot be pickled; ``export_secret`` alone writes them out, ``secagg.keyfile`` with the log.
    """

    def __init__(self, link: bytes, log: RoundLog | None) -> None:
        """``link``: an X25519 private key, 32 bytes. ``log``: a new one if None. Or ``LocalError``."""
        if len(link) != KEY_BYTES:
            raise LocalError("len(link)", len(link), f"an X25519 key has {KEY_BYTES} bytes")
        self.link = link
        self.log = log_or_new(log)

    @property
    def link_public(self) -> bytes:
        """The public half of ``link``."""
        return X25519PrivateKey.from_private_bytes(self.link).public_key().public_bytes_raw()

    @property
    @abstractmethod
    def encryption_key(self) -> PublicKey:
        """What clients encrypt under."""

    @abstractmethod
    def answer(self, remainders: Sequence[mpz], context: bytes, tape: RandomTape) -> bytes:
        """The encoded answer to a request, with its proof, bound to ``context``."""

    def __reduce__(self) -> NoReturn:
        raise LocalError("key holder's keys", "<secret>", "cannot be pickled or copied: see export_secret")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(bits={self.encryption_key.bits}, <secret>)"


class KeyHolderKeys(OpeningKeys):
    """The private keys of a key holder that has the whole ``encryption`` key."""

    def __init__(self, encryption: PrivateKey, link: bytes, log: RoundLog | None = None) -> None:
        super().__init__(link, log)
        self.encryption = encryption
        self.public = KeyHolderPublic(encryption.public, self.link_public)

    @classmethod
    def generate(
        cls, bits: int = DEFAULT_BITS, *, tape: RandomTape, insecure_bits: int | None = None
    ) -> KeyHolderKeys:
        """New keys; for the sizes see :func:`secagg.paillier.private.generate`."""
        return cls(generate(bits, tape=tape, insecure_bits=insecure_bits), tape.read(KEY_BYTES))

    @property
    def encryption_key(self) -> PublicKey:
        return self.encryption.public

    def answer(self, remainders: Sequence[mpz], context: bytes, tape: RandomTape) -> bytes:
        key, n = self.encryption, self.encryption.public.n
        lifts = [power // n for power in key.lift(remainders)]
        proof = rootproof.prove(key.public, remainders, lifts, context, key.root)
        return Lifts(lifts, proof).encode(key.public)

    def export_secret(self) -> bytes:
        """SECRET, unencrypted, without the log: version (1 byte), link key (32), encryption key."""
        return Writer().u8(KEY_VERSION).fixed(self.link, KEY_BYTES).finish() + self.encryption.export_secret()

    @classmethod
    def import_secret(
        cls, data: bytes, *, log: RoundLog | None = None, allow_insecure_bits: bool = False
    ) -> KeyHolderKeys:
        """Strict, as :meth:`KeyHolderPublic.decode` is: ``DecodeError`` for anything else."""
        link, rest = _split(data, KEY_VERSION)
        return cls(PrivateKey.import_secret(rest, allow_insecure_bits=allow_insecure_bits), link, log)


class KeyShareKeys(OpeningKeys):
    """The private keys of one of m key holders: its ``share`` of the encryption key, and its link key."""

    def __init__(self, share: KeyShare, link: bytes, log: RoundLog | None = None) -> None:
        super().__init__(link, log)
        self.share = share

    @property
    def encryption_key(self) -> PublicKey:
        return self.share.shared.public

    def answer(self, remainders: Sequence[mpz], context: bytes, tape: RandomTape) -> bytes:
        return partial.answer(self.share, remainders, context, tape).encode(self.share.shared)

    def export_secret(self) -> bytes:
        """SECRET, unencrypted, without the log: version (1 byte), link key (32), share."""
        head = Writer().u8(SHARED_KEY_VERSION).fixed(self.link, KEY_BYTES).finish()
        return head + self.share.export_secret()

    @classmethod
    def import_secret(
        cls, data: bytes, *, log: RoundLog | None = None, allow_insecure_bits: bool = False
    ) -> KeyShareKeys:
        """Strict, as :meth:`KeyHolderPublic.decode` is: ``DecodeError`` for anything else."""
        link, rest = _split(data, SHARED_KEY_VERSION)
        return cls(KeyShare.import_secret(rest, allow_insecure_bits=allow_insecure_bits), link, log)


def deal_keys(
    holders: int,
    threshold: int,
    bits: int = DEFAULT_BITS,
    *,
    tape: RandomTape,
    insecure_bits: int | None = None,
) -> tuple[SharedKeyPublic, tuple[KeyShareKeys, ...]]:
    """The trusted dealer's one act: keys for ``holders`` key holders, any ``threshold`` of whom open sums.

    Each gets its own by a confidential way, everybody the public part. Who runs this could read every
    ciphertext: nothing of it may stay. For sizes and errors see :func:`secagg.paillier.sharedkey.deal`.
    """
    shared, shares = deal(holders, threshold, bits, tape=tape, insecure_bits=insecure_bits)
    keys = tuple(KeyShareKeys(share, tape.read(KEY_BYTES)) for share in shares)
    return SharedKeyPublic(shared, tuple(one.link_public for one in keys)), keys


def _split(data: bytes, version: int) -> tuple[bytes, bytes]:
    """The link key, and the bytes of the encryption key."""
    reader = Reader(data)
    _require_version(reader, version)
    return reader.fixed(KEY_BYTES), bytes(reader.rest())


def _require_version(reader: Reader, version: int) -> None:
    if (found := reader.u8()) != version:
        raise DecodeError(f"key holder's keys of version {found}, where {version} is known")
