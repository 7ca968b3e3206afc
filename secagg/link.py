"""Authenticated links between the server and everybody else (spec section 7).

Every protocol here assumes that a message arrives as it was sent. A link makes that so: each message
carries a nonce and an AES-GMAC tag (NIST SP 800-38D) under a key of its direction, over header and
payload. It does not encrypt: the transport has to (spec section 7).

A client makes an X25519 key for each round and puts the public half in front of its first
message; the server's half is pinned in the cohort. Helpers (aggregators, key holders) use long-term keys
that are pinned on both sides. A message that was changed, cut, moved to another round or another sender
is refused by name; one that arrives twice counts once. A long message travels in parts, each with a tag of
its own (``secagg.parts``).

The link proves to a client that it talks to the pinned server, and to the server that all messages of a
client come from one sender. Where the cohort pins identities the greeting is signed, and that sender is the
member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpc import saving
from mpc.errors import LocalError, PeerError
from mpc.party import SERVER, Message, PartyId, Stateful, overhead
from mpc.prg import Usage, derive_key, equal
from mpc.tape import RandomTape
from secagg.cohort import KEY_BYTES, Cohort
from secagg.identity import SIGNATURE_BYTES, Identity
from secagg.parts import DEFAULT_MESSAGE_BYTES, PARTS_KINDS, Assembly, PartOf, cut, is_whole, most_payload

SALT_BYTES = 8  # drawn for each end and run: a helper that starts again has the same key, and other nonces
COUNTER_BYTES = 4
NONCE_BYTES = SALT_BYTES + COUNTER_BYTES
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

    # Without salt and counter: an end that is restored has drawn a new salt, so that it uses no nonce again,
    # whatever was sent after it was saved.
    saved: ClassVar[tuple[str, ...]] = ("_in_key", "_out_key", "_seen")

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
        """The message with its tag. The nonce is salt and counter, so none is used twice under a key.

        The parts of a message go through one right after the other: then part k of a message whose first
        part has counter c has counter c + k, and what belongs together needs no further number.
        """
        if self._sent >> (8 * COUNTER_BYTES):
            raise LocalError("messages on a link", self._sent, "there is no further nonce: use longer parts")
        nonce = self._salt + self._sent.to_bytes(COUNTER_BYTES, "little")
        self._sent += 1
        return replace(message, tag=nonce + _gmac(self._out_key, nonce, message))

    def open(self, message: Message) -> PartOf:
        """What this is a part of. Raises ``PeerError`` for a bad tag and ``Duplicate`` for a repetition."""
        check_round(self._cohort, message)
        nonce, tag = message.tag[:NONCE_BYTES], message.tag[NONCE_BYTES:]
        if len(tag) != GMAC_BYTES or not equal(tag, _gmac(self._in_key, nonce, message)):
            raise PeerError(message.sender, message.phase, "tampered: the link tag does not match")
        if nonce in self._seen:
            raise Duplicate
        self._seen.add(nonce)
        return nonce[:SALT_BYTES], int.from_bytes(nonce[SALT_BYTES:], "little") - message.part

    def __repr__(self) -> str:
        return "Link(<secret>)"


def greeting_bytes(cohort: Cohort) -> int:
    """What stands in front of a client's first message: its link key, and a signature if members sign."""
    return KEY_BYTES + (SIGNATURE_BYTES if cohort.signed else 0)


def part_room(phase: str, max_message_bytes: int, greeting: int = 0) -> int:
    """Bytes of a payload that one part takes, in front of which ``greeting`` bytes stand."""
    return max_message_bytes - overhead(phase, TAG_BYTES) - greeting


def signed_greeting(cohort: Cohort, party: PartyId, key: bytes) -> bytes:
    """What a member signs of its link key."""
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
    """A client or helper at its end of a link to the server.

    ``context``: what a dump of it is bound to; the backend sets it.
    """

    saved: ClassVar[tuple[str, ...]] = ("_greeting",)
    context: Mapping[str, object] = MappingProxyType({})

    def __init__(
        self,
        inner: Stateful[R],
        link: Link,
        greeting: bytes,
        max_message_bytes: int,
        most_payload: int,
        most_messages: int,
    ) -> None:
        """``most_payload``, ``most_messages``: of what the server sends at a time in several parts."""
        self._inner = inner
        self._link = link
        self._greeting = greeting
        self._max_message_bytes = max_message_bytes
        self._most_payload = most_payload
        self._assembly = Assembly(most_messages)

    @classmethod
    def client(
        cls,
        inner: Stateful[R],
        cohort: Cohort,
        tape: RandomTape,
        identity: Identity | None = None,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> LinkedParty[R]:
        """With a fresh key for this round, which greets the server in each part of the first message."""
        private_key = tape.read(KEY_BYTES)
        greeting = X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
        if identity is not None:
            greeting += identity.sign(Usage.LINK_GREETING, signed_greeting(cohort, inner.id, greeting))
        link = Link(cohort, inner.id, private_key, cohort.server_key, serves=False, tape=tape)
        return cls(inner, link, greeting, max_message_bytes, most_payload(cohort), 1)

    @classmethod
    def helper(
        cls,
        inner: Stateful[R],
        cohort: Cohort,
        private_key: bytes,
        tape: RandomTape,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
        largest: int | None = None,
    ) -> LinkedParty[R]:
        """With its long-term key, which the server knows.

        ``largest``: payload that the server has for it, of one message: it may send one for each client.
        """
        link = Link(cohort, inner.id, private_key, cohort.server_key, serves=False, tape=tape)
        most = most_payload(cohort) if largest is None else largest
        return cls(inner, link, b"", max_message_bytes, most, cohort.size)

    @property
    def id(self) -> PartyId:
        return self._inner.id

    @property
    def result(self) -> R | None:
        return self._inner.result

    @property
    def declined(self) -> str | None:
        """Why the party takes no part, of its own accord; None if it does."""
        declined: str | None = getattr(self._inner, "declined", None)
        return declined

    def start(self) -> list[Message]:
        return self._close(self._inner.start())

    def receive(self, message: Message) -> list[Message]:
        try:
            of = self._link.open(message)
        except Duplicate:
            return []
        if message.sender != SERVER:  # who alone has the other end
            raise PeerError(SERVER, message.phase, f"speaks in the name of {message.sender}")
        whole = message if is_whole(message) else self._assembly.add(message, of, self._most_payload)
        return [] if whole is None else self._close(self._inner.receive(whole))

    def expire(self) -> list[Message]:
        return self._close(self._inner.expire())

    def replay(self, message: Message) -> list[Message]:
        self._inner.replaying = True
        try:
            return self.receive(message)
        finally:
            self._inner.replaying = False

    def dump(self) -> bytes:
        parts = (self, self._link, self._assembly)
        state = [self._inner.save(), *map(saving.take, parts)]
        return saving.dump(self.context, state, (*self._inner.kinds(), *PARTS_KINDS))

    def load(self, data: bytes) -> None:
        """Take on the state that ``dump`` gave, and keep the salt of this end of the link."""
        inner, *rest = saving.load(data, self.context, (*self._inner.kinds(), *PARTS_KINDS))
        self._inner.restore(inner)
        for owner, state in zip((self, self._link, self._assembly), rest, strict=True):
            saving.put(owner, state)

    def _close(self, messages: list[Message]) -> list[Message]:
        closed: list[Message] = []
        for message in messages:
            room = part_room(message.phase, self._max_message_bytes, len(self._greeting))
            closed += map(self._link.close, cut(message, room, self._greeting))
            self._greeting = b""
        return closed
