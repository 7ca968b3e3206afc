"""The server's end of all links: makes a client's from its greeting, joins parts (spec section 7).

What no link lets through is reported to the server, as is what was not complete at a deadline.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from mpc import saving
from mpc.errors import DecodeError, PeerError
from mpc.party import SERVER, Message, PartyId, Role
from mpc.prg import Usage
from mpc.tape import RandomTape
from secagg.cohort import KEY_BYTES, Cohort
from secagg.identity import verify
from secagg.link import Duplicate, Link, check_round, greeting_bytes, part_room, signed_greeting
from secagg.parts import DEFAULT_MESSAGE_BYTES, PARTS_KINDS, Assembly, PartOf, cut, is_whole
from secagg.server import Aggregate, RoundServer


class LinkedServer:
    """The server behind its links. ``context``: what a dump of it is bound to; the backend sets it."""

    saved: ClassVar[tuple[str, ...]] = ("_thrown_away", "_greetings")
    context: Mapping[str, object] = MappingProxyType({})

    def __init__(
        self,
        inner: RoundServer[Any],
        cohort: Cohort,
        private_key: bytes,
        helpers: Mapping[PartyId, bytes],
        tape: RandomTape,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        self._inner = inner
        self._cohort = cohort
        self._private_key = private_key
        self._tape = tape
        self._max_message_bytes = max_message_bytes
        self._thrown_away: dict[PartyId, str] = {}  # in which phase, last
        self._assemblies: defaultdict[PartyId, Assembly] = defaultdict(Assembly)
        for helper in helpers:  # what it says of one client does not wait for what it says of another
            self._assemblies[helper] = Assembly(cohort.size)
        self._greetings: dict[PartyId, bytes] = {}
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
            whole = self._open(message)
        except Duplicate:
            return []
        except PeerError as error:
            if error.party in self._links or self._is_member(error.party):
                self._thrown_away[error.party] = message.phase
            self._inner.suspect(error)
            return []
        return [] if whole is None else self._close(self._inner.receive(whole))

    def expire(self) -> list[Message]:
        """What is incomplete now is late. Why that is, is known already if a part was thrown away."""
        for sender, assembly in self._assemblies.items():
            for phase, what in assembly.give_up():
                if self._thrown_away.get(sender) != phase:
                    self._inner.suspect(PeerError(sender, phase, f"{what} before the deadline"))
        return self._close(self._inner.expire())

    def replay(self, message: Message) -> list[Message]:
        return self.receive(message)

    def dump(self) -> bytes:
        links = {peer: saving.take(link) for peer, link in self._links.items()}
        assemblies = {peer: saving.take(assembly) for peer, assembly in self._assemblies.items()}
        state = [self._inner.save(), saving.take(self), links, assemblies]
        return saving.dump(self.context, state, (*self._inner.kinds(), *PARTS_KINDS))

    def load(self, data: bytes) -> None:
        """Take on the state that ``dump`` gave, with new salts on all links."""
        state = saving.load(data, self.context, (*self._inner.kinds(), *PARTS_KINDS))
        inner, own, links, assemblies = state
        self._inner.restore(inner)
        saving.put(self, own)
        for peer, found in links.items():
            if peer not in self._links:
                self._links[peer] = self._make_link(peer, self._greetings[peer])
            saving.put(self._links[peer], found)
        for peer, found in assemblies.items():
            saving.put(self._assemblies[peer], found)

    def _open(self, message: Message) -> Message | None:
        """The whole message, once its last part is there, without what greets in front of it."""
        sender = message.sender
        link = self._links.get(sender)
        of = self._greeted(message) if link is None else link.open(message)
        _, number = of
        greeting = b"" if number else self._greetings.get(sender, b"")
        # Greeted or not: a client that was restored counts from 0 again and has no need to.
        if greeting and message.payload[: len(greeting)] == greeting:
            message = replace(message, payload=memoryview(message.payload)[len(greeting) :])
        if is_whole(message):
            return message
        most = self._inner.payload_limit(sender, message.phase)
        return self._assemblies[sender].add(message, of, most) if most else None

    def _greeted(self, message: Message) -> PartOf:
        """Makes a client's link from whichever part of its first message comes first."""
        sender, size = message.sender, greeting_bytes(self._cohort)
        if not self._is_member(sender):
            raise PeerError(sender, message.phase, "is not in this round")
        check_round(self._cohort, message)
        if len(message.payload) < size:
            raise PeerError(sender, message.phase, "its first message is too short to hold a link key")
        greeting = bytes(message.payload[:size])
        link = self._make_link(sender, greeting)
        of = link.open(message)
        if self._cohort.signed:
            self._check_signature(message, greeting[:KEY_BYTES], greeting[KEY_BYTES:])
        self._links[sender], self._greetings[sender] = link, greeting
        return of

    def _make_link(self, client: PartyId, greeting: bytes) -> Link:
        key = greeting[:KEY_BYTES]
        return Link(self._cohort, client, self._private_key, key, serves=True, tape=self._tape)

    def _is_member(self, party: PartyId) -> bool:
        return party.role is Role.CLIENT and party.index < self._cohort.size

    def _check_signature(self, message: Message, key: bytes, signature: bytes) -> None:
        identity = self._cohort.identities[message.sender.index]
        try:
            verify(
                identity, Usage.LINK_GREETING, signed_greeting(self._cohort, message.sender, key), signature
            )
        except DecodeError:
            reason = "its link key is not signed by the identity that the roster has for it"
            raise PeerError(message.sender, message.phase, reason) from None

    def _close(self, messages: list[Message]) -> list[Message]:
        closed: list[Message] = []
        for message in messages:
            room = part_room(message.phase, self._max_message_bytes)
            closed += map(self._links[message.receiver].close, cut(message, room))
        return closed
