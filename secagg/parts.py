"""Messages in parts: none on the wire is longer than a limit, whatever is to be said (spec section 7.2).

A link cuts what is too long and joins it at the other end. It joins only parts that it has authenticated,
and keeps of each peer no more than the phase can need, so a liar cannot make it hold more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from mpc.errors import LocalError, PeerError
from mpc.party import Message
from mpc.snapshot import record
from secagg.cohort import Cohort

DEFAULT_MESSAGE_BYTES = 1 << 30
MIN_MESSAGE_BYTES = 1 << 10  # the longest header, tag and greeting together stay below half of it
MAX_MESSAGE_BYTES = (1 << 32) - 1  # the length of a payload travels in 32 bits
# All parts but the last are full, and so hold at least this: what it takes to keep one is small beside it.
MIN_PIECE_BYTES = MIN_MESSAGE_BYTES // 2

PartOf = tuple[bytes, int]
"""Which message a part belongs to: the salt of the sender's end, and the counter of the first part."""


def check_message_bytes(value: int) -> int:
    """``value``; ``LocalError`` unless it is a limit that messages can keep."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not MIN_MESSAGE_BYTES <= value <= MAX_MESSAGE_BYTES:
        bound = f"must be a whole number from {MIN_MESSAGE_BYTES} to {MAX_MESSAGE_BYTES}"
        raise LocalError("max_message_bytes", value, bound)
    return value


def most_payload(cohort: Cohort) -> int:
    """Bytes that no payload of a round exceeds, in any backend: the limit where no exact size is known.

    A coordinate takes at most 32 bytes (Paillier, a slot a ciphertext), a client in a list some 200.
    """
    return (1 << 20) + (cohort.size << 10) + (cohort.length << 6)


def count_parts(size: int, room: int) -> int:
    """In how many parts ``size`` bytes of payload travel, where one has ``room`` for so many."""
    return max(1, -(-size // room))


def cut(message: Message, room: int, greeting: bytes = b"") -> Iterator[Message]:
    """The message in parts with at most ``room`` bytes of its payload each, not copied.

    ``greeting`` stands in front of each of them, so that any that arrives first can make the link.
    """
    parts = count_parts(len(message.payload), room)
    if parts == 1 and not greeting:
        yield message
        return
    payload = memoryview(message.payload)
    for part in range(parts):
        piece = payload[part * room : (part + 1) * room]
        yield replace(
            message, payload=b"".join((greeting, piece)) if greeting else piece, part=part, parts=parts
        )


@dataclass(slots=True)
class _Unfinished:
    phase: str
    parts: int
    pieces: dict[int, bytes | memoryview] = field(default_factory=dict)
    size: int = 0


PARTS_KINDS = (record(_Unfinished),)


class Assembly:
    """Joins what comes over one link, at most ``messages`` of them at a time; the oldest makes room.

    Parts may come in any order. The link has let each through once.
    """

    saved: ClassVar[tuple[str, ...]] = ("_unfinished",)

    def __init__(self, messages: int = 1) -> None:
        self._messages = messages
        self._unfinished: dict[PartOf, _Unfinished] = {}

    def add(self, message: Message, of: PartOf, most: int) -> Message | None:
        """The whole message, if this part was the last that was missing.

        ``most``: bytes that its payload can have. ``PeerError`` for what no honest sender cuts: then nothing
        of the message is kept.
        """
        found = self._unfinished.get(of) or _Unfinished(message.phase, message.parts)
        if fault := _fault(message, found, most):
            self._unfinished.pop(of, None)
            raise PeerError(message.sender, message.phase, fault)
        found.pieces[message.part] = message.payload
        found.size += len(message.payload)
        if len(found.pieces) == message.parts:
            self._unfinished.pop(of, None)
            return replace(message, payload=_join(found), tag=b"", part=0, parts=1)
        if of not in self._unfinished and len(self._unfinished) == self._messages:
            del self._unfinished[next(iter(self._unfinished))]
        self._unfinished[of] = found
        return None

    def give_up(self) -> list[tuple[str, str]]:
        """Forget what is not complete: for each message its phase, and what there was of it."""
        given_up = [
            (one.phase, f"incomplete: {len(one.pieces)} of {one.parts} parts arrived")
            for one in self._unfinished.values()
        ]
        self._unfinished.clear()
        return given_up


def is_whole(message: Message) -> bool:
    """Whether this is all of a message."""
    return (message.part, message.parts) == (0, 1)


def _fault(message: Message, found: _Unfinished, most: int) -> str | None:
    size = len(message.payload)
    if not message.part < message.parts or (message.phase, message.parts) != (found.phase, found.parts):
        return "its parts do not belong together"
    if size < (1 if message.part == message.parts - 1 else MIN_PIECE_BYTES):
        return f"part {message.part} of {message.parts} holds no more than {size} bytes"
    if found.size + size > most:
        return f"its parts hold more than {most} bytes, the most in phase {message.phase!r}"
    return None


def _join(found: _Unfinished) -> memoryview:
    """In order, each copied once."""
    # Fresh memory is taken as it is written, and the pieces go one by one: no message stands in it twice.
    whole = np.empty(found.size, np.uint8).data
    end = 0
    for part in range(found.parts):
        piece = found.pieces.pop(part)
        start, end = end, end + len(piece)
        whole[start:end] = piece
    return whole.toreadonly()
