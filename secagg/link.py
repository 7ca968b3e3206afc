"""Authenticated links between the server and everybody else (spec section 7).

Every protocol here assumes that a message arrives as it was sent. A link makes that so: each message
carries a nonce and an AES-GMAC tag (NIST SP 800-38D) under a key of its direction, over header and
payload. It does not encrypt: the transport has to (spec section 7).

A client makes an X25519 key for each round and puts the public half in front of its first
message; the server's half is pinned in the cohort. Helpers (aggregators, key holders) use long-term keys
that are pinned on both sides. A message that was changed, cut, moved to another round or another sender
is refused by name; one that arrives twice counts once.

The link proves to a client that it talks to the pinned server, and to the server that all messages of a
client come from one sender. Where the cohort pins identities the greeting is signed, and that sender is the
member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc.errors import DecodeError, PeerError
from mpc.party import SERVER, Message, Party, PartyId, Role
from mpc.prg import Usage, derive_key, equal
from mpc.tape import RandomTape
from secagg.cohort import KEY_BYTES, Cohort
from secagg.identity import SIGNATURE_BYTES, Identity, verify
from secagg.server import Aggregate, RoundServer

SALT_BYTES = 8  # drawn for each end and run: a helper that starts again has the same key, and other nonces
NONCE_BYTES = SALT_BYTES + 4
GMAC_BYTES = 16
TAG_BYTES = NONCE_BYTES + GMAC_BYTES
_SLICE = 1 << 30  # OpenSSL takes lengths as C ints

R = TypeVar("R")


class Duplicate(Exception):
    """A message that this link has let through before."""


def check_round(cohort: Cohort, message: Message) -> None:
    """Refuse a message of another session or round, in words that say so."""
    if message.session != cohort.session:
        raise PeerError(message.sender, message.phase, "replayed: belongs to another session")
    if message.round != cohort.round:
        reason = f"replayed: belongs to round {message.round}, not {cohort.round}"
        raise PeerError(message.sender, message.phase, reason)


class Link:
    """Both directions of one link, seen from one end. Tags what goes out, checks what comes in."""

    def __init__(
        self,
        cohort: Cohort,
        peer: PartyId,
        private_key: bytes,
        public_key: bytes,
        *,
        serves: bool,
        tape: RandomTape,
    ) -> None:
        """``peer``: the end that is not the server. ``serves``: this end is the server."""
        try:
            shared = X25519PrivateKey.from_private_bytes(private_key).exchange(
                X25519PublicKey.from_public_bytes(public_key)
            )
        except ValueError:
            raise PeerError(peer, "link", "its link key is a point of small order") from None
        context = cohort.digest + bytes([peer.role]) + peer.index.to_bytes(4, "little")
        keys = [derive_key(shared, usage, context) for usage in (Usage.LINK_TO_SERVER, Usage.LINK_TO_CLIENT)]
        self._in_key, self._out_key = keys if serves else reversed(keys)
        self._cohort = cohort
        self._salt = tape.read(SALT_BYTES)
        self._sent = 0
        self._seen: set[bytes] = set()

    def close(self, message: Message) -> Message:
        """The message with its tag. The nonce is salt and counter, so none is used twice under a key."""
        nonce = self._salt + self._sent.to_bytes(NONCE_BYTES - SALT_BYTES, "little")
        self._sent += 1
        return replace(message, tag=nonce + _gmac(self._out_key, nonce, message))

    def open(self, message: Message) -> None:
        """Raises ``PeerError`` for a bad tag and ``Duplicate`` for a repetition."""
        check_round(self._cohort, message)
        nonce, tag = message.tag[:NONCE_BYTES], message.tag[NONCE_BYTES:]
        if len(tag) != GMAC_BYTES or not equal(tag, _gmac(self._in_key, nonce, message)):
            raise PeerError(message.sender, message.phase, "tampered: the link tag does not match")
        if nonce in self._seen:
            raise Duplicate
        self._seen.add(nonce)

    def __repr__(self) -> str:
        return "Link(<secret>)"


def greeting_bytes(cohort: Cohort) -> int:
    """What stands in front of a client's first message: its link key, and a signature if members sign."""
    return KEY_BYTES + (SIGNATURE_BYTES if cohort.signed else 0)


def _signed(cohort: Cohort, party: PartyId, key: bytes) -> bytes:
    return cohort.digest + party.index.to_bytes(4, "little") + key


def _gmac(key: bytes, nonce: bytes, message: Message) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(message.header())
    payload = memoryview(message.payload)
    for start in range(0, len(payload), _SLICE):
        encryptor.authenticate_additional_data(payload[start : start + _SLICE])
    encryptor.finalize()
    return encryptor.tag


class LinkedParty(Generic[R]):
    """A client or helper at its end of a link to the server."""

    def __init__(self, inner: Party[R], link: Link, greeting: bytes = b"") -> None:
        self._inner = inner
        self._link = link
        self._greeting = greeting

    @classmethod
    def client(
        cls, inner: Party[R], cohort: Cohort, tape: RandomTape, identity: Identity | None = None
    ) -> LinkedParty[R]:
        """With a fresh key for this round, which greets the server in the first message."""
        private_key = tape.read(KEY_BYTES)
        greeting = X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
        if identity is not None:
            greeting += identity.sign(Usage.LINK_GREETING, _signed(cohort, inner.id, greeting))
        return cls(
            inner, Link(cohort, inner.id, private_key, cohort.server_key, serves=False, tape=tape), greeting
        )

    @classmethod
    def helper(cls, inner: Party[R], cohort: Cohort, private_key: bytes, tape: RandomTape) -> LinkedParty[R]:
        """With its long-term key, which the server knows."""
        return cls(inner, Link(cohort, inner.id, private_key, cohort.server_key, serves=False, tape=tape))

    @property
    def id(self) -> PartyId:
        return self._inner.id

    @property
    def result(self) -> R | None:
        return self._inner.result

    def start(self) -> list[Message]:
        return self._close(self._inner.start())

    def receive(self, message: Message) -> list[Message]:
        try:
            self._link.open(message)
        except Duplicate:
            return []
        return self._close(self._inner.receive(message))

    def expire(self) -> list[Message]:
        return self._close(self._inner.expire())

    def _close(self, messages: list[Message]) -> list[Message]:
        closed = []
        for message in messages:
            if self._greeting:
                message = replace(message, payload=b"".join((self._greeting, message.payload)))
                self._greeting = b""
            closed.append(self._link.close(message))
        return closed


class LinkedServer:
    """The server's end of all links. A message that no link lets through is reported to the server."""

    def __init__(
        self,
        inner: RoundServer[Any],
        cohort: Cohort,
        private_key: bytes,
        helpers: Mapping[PartyId, bytes],
        tape: RandomTape,
    ) -> None:
        self._inner = inner
        self._cohort = cohort
        self._private_key = private_key
        self._tape = tape
        self._links = {
            helper: Link(cohort, helper, private_key, key, serves=True, tape=tape)
            for helper, key in helpers.items()
        }

    @property
    def id(self) -> PartyId:
        return SERVER

    @property
    def result(self) -> Aggregate | None:
        return self._inner.result

    def start(self) -> list[Message]:
        return self._close(self._inner.start())

    def receive(self, message: Message) -> list[Message]:
        try:
            message = self._open(message)
        except Duplicate:
            return []
        except PeerError as error:
            self._inner.suspect(error)
            return []
        return self._close(self._inner.receive(message))

    def expire(self) -> list[Message]:
        return self._close(self._inner.expire())

    def _open(self, message: Message) -> Message:
        sender = message.sender
        if (link := self._links.get(sender)) is not None:
            link.open(message)
            return message
        if sender.role is not Role.CLIENT or sender.index >= self._cohort.size:
            raise PeerError(sender, message.phase, "is not in this round")
        check_round(self._cohort, message)
        size = greeting_bytes(self._cohort)
        if len(message.payload) < size:
            raise PeerError(sender, message.phase, "its first message is too short to hold a link key")
        payload = memoryview(message.payload)
        key = bytes(payload[:KEY_BYTES])
        link = Link(self._cohort, sender, self._private_key, key, serves=True, tape=self._tape)
        link.open(message)
        if self._cohort.signed:
            self._check_signature(message, key, bytes(payload[KEY_BYTES:size]))
        self._links[sender] = link
        return replace(message, payload=payload[size:])

    def _check_signature(self, message: Message, key: bytes, signature: bytes) -> None:
        identity = self._cohort.identities[message.sender.index]
        try:
            verify(identity, Usage.LINK_GREETING, _signed(self._cohort, message.sender, key), signature)
        except DecodeError:
            reason = "its link key is not signed by the identity that the roster has for it"
            raise PeerError(message.sender, message.phase, reason) from None

    def _close(self, messages: list[Message]) -> list[Message]:
        return [self._links[message.receiver].close(message) for message in messages]
