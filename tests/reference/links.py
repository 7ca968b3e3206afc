"""Headers and links a second time (spec sections 4, 5 and 7)."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.reference.cohort import Cohort
from tests.reference.primitives import Tape, hkdf, sign, u32, x25519, x25519_public

CLIENT, SERVER = 1, 2  # roles
TO_SERVER, TO_CLIENT = 7, 8  # usages
TAG_BYTES = 8 + 4 + 16  # salt, counter, GMAC


def header(
    cohort: Cohort, phase: str, client: int, to_server: bool, size: int, part: int = 0, parts: int = 1
) -> bytes:
    """All of a message that stands before its payload of ``size`` bytes."""
    ends = [bytes([CLIENT]) + u32(client), bytes([SERVER]) + u32(0)]
    sender, receiver = ends if to_server else reversed(ends)
    out = b"\1" + cohort.session + u32(cohort.round)
    out += bytes([len(phase)]) + phase.encode("ascii")
    return out + sender + receiver + u32(part) + u32(parts) + u32(size)


def link_keys(cohort: Cohort, client: int, private: bytes, public: bytes) -> tuple[bytes, bytes]:
    """To the server, to the client. ``private`` is either end's, ``public`` the other's."""
    shared = x25519(private, public)
    context = cohort.digest + bytes([CLIENT]) + u32(client)
    return hkdf(shared, TO_SERVER, context), hkdf(shared, TO_CLIENT, context)


def greeting(cohort: Cohort, client: int, private: bytes, identity: bytes | None) -> bytes:
    """What stands in front of a client's first payload."""
    public = x25519_public(private)
    if identity is None:
        return public
    return public + sign(identity, 14, cohort.digest + u32(client) + public)


@dataclass
class Sender:
    """One end's outgoing direction: key, salt, counter, and what stands before the first payload."""

    key: bytes
    salt: bytes
    greeting: bytes = b""
    sent: int = 0

    def close(
        self, cohort: Cohort, phase: str, client: int, to_server: bool, payload: bytes, limit: int
    ) -> list[bytes]:
        """The whole message, or its parts, none of which is longer than ``limit``, with their tags."""
        greeting, self.greeting = self.greeting, b""
        around = len(header(cohort, phase, client, to_server, 0)) + 1 + TAG_BYTES + len(greeting)
        room = limit - around
        pieces = [payload[start : start + room] for start in range(0, len(payload), room)] or [b""]
        out = []
        for part, piece in enumerate(pieces):
            body = greeting + piece
            head = header(cohort, phase, client, to_server, len(body), part, len(pieces))
            nonce = self.salt + u32(self.sent)
            self.sent += 1
            gmac = AESGCM(self.key).encrypt(nonce, b"", head + body)
            out.append(head + body + bytes([TAG_BYTES]) + nonce + gmac)
        return out


class ClientEnd:
    """Draws the link key and the salt from the client's tape, after the client has drawn its own keys."""

    def __init__(self, cohort: Cohort, client: int, tape: Tape, identity: bytes | None) -> None:
        self.private, self.salt = tape.read(32), tape.read(8)
        self.greeting = greeting(cohort, client, self.private, identity)
        self.to_server, self.to_client = link_keys(cohort, client, self.private, cohort.server_key)
        self.sender = Sender(self.to_server, self.salt, self.greeting)
