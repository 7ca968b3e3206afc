"""Parties, messages, and state machines as tables (spec section 5).

A party is sans-I/O: it has no clock, no socket and no thread. Whoever drives it hands it messages, tells
it when a phase's deadline has passed, and carries away what it wants to send.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from mpc.errors import DecodeError, LocalError, PeerError
from mpc.saving import put, take
from mpc.snapshot import Kind, enumeration, record
from mpc.wire import Reader, Writer

SESSION_BYTES = 16
WIRE_VERSION = 1

R_co = TypeVar("R_co", covariant=True)


class Role(IntEnum):
    """What a party is in the protocol; the number travels in every header."""

    CLIENT = 1
    SERVER = 2
    AGGREGATOR = 3
    KEY_HOLDER = 4
    DEALER = 5

    @property
    def title(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True, order=True)
class PartyId:
    """Role and index, from 0; a client's index is its place in the cohort."""

    role: Role
    index: int = 0

    def __str__(self) -> str:
        return "server" if self.role is Role.SERVER else f"{self.role.title} {self.index}"


SERVER = PartyId(Role.SERVER)
PARTY_KINDS = (enumeration(Role), record(PartyId))


def client_id(index: int) -> PartyId:
    return PartyId(Role.CLIENT, index)


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """What travels: a header that says what it is and between whom, a payload, a link tag or none.

    A link may send a long message in ``parts`` parts, of which this is number ``part``, from 0.
    """

    session: bytes
    round: int
    phase: str
    sender: PartyId
    receiver: PartyId
    payload: bytes | memoryview
    tag: bytes = b""
    part: int = 0
    parts: int = 1

    def header(self) -> bytes:
        """Everything but payload and tag; self-delimiting, so header ‖ payload is unambiguous."""
        writer = Writer().packed("B", WIRE_VERSION).fixed(self.session, SESSION_BYTES).packed("I", self.round)
        sender, receiver = self.sender, self.receiver
        ends = (sender.role, sender.index, receiver.role, receiver.index)
        rest = (self.part, self.parts, len(self.payload))
        return writer.text(self.phase).packed("BIBIIII", *ends, *rest).finish()

    def encode(self) -> bytes:
        return b"".join(self.pieces())

    def pieces(self) -> tuple[bytes | memoryview, ...]:
        """What ``encode`` joins, not copied."""
        return self.header(), self.payload, Writer().u8(len(self.tag)).finish() + self.tag

    @property
    def size(self) -> int:
        """Bytes on the wire: ``len(self.encode())``."""
        return overhead(self.phase, len(self.tag)) + len(self.payload)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Message:
        reader = Reader(data)
        if (version := reader.u8()) != WIRE_VERSION:
            raise DecodeError(f"message version {version}, where {WIRE_VERSION} is known")
        session, round_, phase = reader.fixed(SESSION_BYTES), reader.u32(), reader.text()
        sender, receiver = _party(reader), _party(reader)
        part, parts = reader.u32(), reader.u32()
        if part >= parts:
            raise DecodeError(f"part {part} of {parts}: parts are numbered from 0")
        payload = reader.blob()
        tag = reader.fixed(reader.u8())
        reader.finish()
        return cls(session, round_, phase, sender, receiver, payload, tag, part, parts)

    def __repr__(self) -> str:
        part = f"part {self.part} of {self.parts}, " if self.parts > 1 else ""
        return (
            f"Message({self.phase}, round {self.round}, {self.sender} to {self.receiver}, "
            f"{part}<{len(self.payload)} bytes>)"
        )


def overhead(phase: str, tag_bytes: int = 0) -> int:
    """Bytes that a message costs beyond its payload."""
    return 1 + SESSION_BYTES + 4 + 1 + len(phase) + 2 * 5 + 2 * 4 + 4 + 1 + tag_bytes


def _party(reader: Reader) -> PartyId:
    role, index = reader.u8(), reader.u32()
    try:
        return PartyId(Role(role), index)
    except ValueError:
        raise DecodeError(f"role {role} is not in the list") from None


@runtime_checkable
class Party(Protocol[R_co]):
    """One participant's state machine."""

    @property
    def id(self) -> PartyId: ...

    @property
    def result(self) -> R_co | None:
        """What the protocol gives this party, once it is there."""

    def start(self) -> list[Message]:
        """What it sends before it has heard anything."""

    def receive(self, message: Message) -> list[Message]:
        """Takes one message in. Raises ``PeerError`` for what an honest peer would not send."""

    def expire(self) -> list[Message]:
        """The driver says: this phase's deadline has passed."""


class Saveable(Party[R_co], Protocol[R_co]):
    """A party that can be saved between two messages, as all of a backend's can be (spec section 5.1)."""

    def dump(self) -> bytes:
        """Its state, with all its secrets, for the backend's ``load_…`` of the same name.

        Whoever loads it goes on in the place of this party, which is not to be used any more.
        """

    def replay(self, message: Message) -> list[Message]:
        """``receive`` of what it has answered before: a log of rounds that knows so does not object."""


class Stateful(Party[R_co], Protocol[R_co]):
    """A party that hands out its state, for what stands around it to save."""

    replaying: bool

    def kinds(self) -> tuple[Kind, ...]: ...

    def save(self) -> dict[str, object]: ...

    def restore(self, state: Mapping[str, object]) -> None: ...


class StateMachine(ABC):
    """A party whose behaviour is a table from (state, phase of a message) to the name of a handler.

    A pair that the table does not list raises ``PeerError``, and so do bytes that do not decode. After a
    ``PeerError`` the machine is in state ``refused`` and answers nothing more.

    ``moves``: (state, next state) → what moves it: a phase, ``START`` or ``CLOSING``. No others are made; the
    specification's diagrams are drawn from them.

    ``saved``: what of the attributes is state, and not what the constructor makes of public arguments and
    long-term keys; each class lists its own. ``replaying``: the message has been answered before.
    """

    REFUSED: ClassVar[str] = "refused"
    START: ClassVar[str] = "start"
    CLOSING: ClassVar[str] = "all heard, or the deadline"
    transitions: ClassVar[Mapping[tuple[str, str], str]]
    moves: ClassVar[Mapping[tuple[str, str], str]]
    saved: ClassVar[tuple[str, ...]] = ("_state",)
    replaying: bool = False

    def __init__(self, state: str) -> None:
        self._state = state

    @property
    def state(self) -> str:
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        if state != self.REFUSED and (self._state, state) not in self.moves:
            raise RuntimeError(f"{type(self).__name__} does not move from {self._state!r} to {state!r}")
        self._state = state

    @property
    @abstractmethod
    def id(self) -> PartyId: ...

    def receive(self, message: Message) -> list[Message]:
        if message.receiver != self.id:
            raise LocalError("message.receiver", str(message.receiver), f"this party is {self.id}")
        handler = self.transitions.get((self.state, message.phase))
        try:
            if handler is None:
                raise PeerError(message.sender, message.phase, f"not expected in state {self.state!r}")
            replies: list[Message] = getattr(self, handler)(message)
        except DecodeError as error:
            self.state = self.REFUSED
            raise PeerError(message.sender, message.phase, str(error)) from None
        except PeerError:
            self.state = self.REFUSED
            raise
        return replies

    def expire(self) -> list[Message]:
        return []

    def kinds(self) -> tuple[Kind, ...]:
        """The classes of the objects in its state."""
        return PARTY_KINDS

    def save(self) -> dict[str, object]:
        """Its state, as plain values and objects of ``kinds()``."""
        return take(self)

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from what ``save()`` gave; ``DecodeError`` for the state of another class."""
        put(self, state)
