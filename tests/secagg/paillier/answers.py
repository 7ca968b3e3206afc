"""A server that waits for the answers of a shared key's holders, and the lies that they may tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gmpy2 import mpz

from mpc.party import Message, PartyId
from mpc.snapshot import decode, encode
from mpc.tape import SeededTape
from secagg.paillier.keyholder import KeyHolder
from secagg.paillier.messages import OPENED
from secagg.paillier.partial import PartialOpening, response_bits
from secagg.paillier.server import PaillierServer

UNPROVED = "has answered with roots that are not those of its share: its proof does not hold"


class Waiting:
    """A server that has asked its key holders, as often as one likes, and what each of them answers."""

    def __init__(self, lab: Any, backend: Any, round: int = 0) -> None:
        self.cohort = lab.cohort(4, 39, round=round)
        self.backend, self.shared, self.holders = backend, backend.public.shared, backend._opening().holders
        vectors = lab.vectors(self.cohort, round)
        self.expected = sum(vectors.values()).tolist()
        server = self._new()
        requests: list[Message] = []
        for name, vector in vectors.items():
            client = backend._client(self.cohort, name, vector, (), SeededTape(f"{name} {round}".encode()))
            requests += server.receive(client.start()[0])
        self._state, self._kinds = encode(server.save(), server.kinds()), server.kinds()
        self.answers = {request.receiver: self._answer(request) for request in requests}

    def _new(self) -> PaillierServer:
        return PaillierServer(self.cohort, (), SeededTape(b"server"), self.backend._opening())

    def _answer(self, request: Message) -> Message:
        who = request.receiver
        (answer,) = KeyHolder(
            self.cohort, who, self.backend._keys_of(who), SeededTape(str(who).encode())
        ).receive(request)
        return answer

    def server(self) -> PaillierServer:
        server = self._new()
        server.restore(decode(self._state, self._kinds))
        assert server.state == OPENED
        return server

    def restored(self, server: PaillierServer) -> PaillierServer:
        """Another one that goes on where this one is."""
        again = self._new()
        again.restore(decode(encode(server.save(), server.kinds()), again.kinds()))
        return again

    def lied(self, who: PartyId, lie: Lie) -> Message:
        answer = self.answers[who]
        return replace(answer, payload=lie(self, bytes(answer.payload)))

    def require_opened(self, server: PaillierServer, liars: Iterable[PartyId] = ()) -> None:
        assert server.result is not None
        assert server.result.total.tolist() == self.expected
        assert server.result.survivors == (0, 1, 2, 3)
        assert server.result.faults.keys() == set(liars)


Lie = Callable[[Waiting, bytes], bytes]


def altered(change: Callable[[PartialOpening, mpz], PartialOpening]) -> Lie:
    """An answer that is made of the honest one's numbers and n."""

    def lie(at: Waiting, payload: bytes) -> bytes:
        opening = PartialOpening.decode(payload, at.shared, 3)
        return change(opening, at.shared.public.n).encode(at.shared)

    return lie


def roots(change: Callable[[tuple[mpz, ...], mpz], Sequence[mpz]]) -> Lie:
    return altered(lambda opening, n: replace(opening, roots=tuple(change(opening.roots, n))))


def anothers(at: Waiting, payload: bytes) -> bytes:
    """The right answer of one of the other key holders."""
    return next(bytes(one.payload) for one in at.answers.values() if one.payload != payload)


def shortened(payload: bytes, at: Waiting) -> bytes:
    return payload[at.shared.public.bits // 8 :]


BAD_ROOTS: dict[str, Lie] = {
    "twice a root": roots(lambda r, n: (2 * r[0] % n, *r[1:])),
    "the last root squared": roots(lambda r, n: (*r[:-1], r[-1] ** 2 % n)),
    "swapped roots": roots(lambda r, n: (r[1], r[0], r[2])),
    "one root for all": roots(lambda r, n: (r[0],) * 3),
    "ones": roots(lambda r, n: [mpz(1)] * 3),
    "another's answer": anothers,
}
NO_ANSWERS: dict[str, tuple[Lie, str]] = {
    "a root of zero": (roots(lambda r, n: (r[0], mpz(0), r[2])), r"root 1 is not in (0, n)"),
    "a root of n": (roots(lambda r, n: (n, *r[1:])), r"root 0 is not in (0, n)"),
    "one byte short": (lambda at, payload: payload[:-1], "ends after"),
    "one byte long": (lambda at, payload: payload + b"\0", "1 bytes after the end"),
    "a root less": (lambda at, payload: shortened(payload, at), "ends after"),
    "empty": (lambda at, payload: b"", "ends after 0 bytes"),
    "zeros": (lambda at, payload: bytes(len(payload)), "root 0 is not in (0, n)"),
    "all ones": (lambda at, payload: b"\xff" * len(payload), "root 0 is not in (0, n)"),
    "a response out of range": (
        lambda at, payload: altered(
            lambda opening, n: replace(opening, response=mpz(1) << response_bits(at.shared))
        )(at, payload),
        "the proof's numbers are out of range",
    ),
}
LIES = {name: (lie, UNPROVED) for name, lie in BAD_ROOTS.items()} | {
    name: (lie, f"has answered: {why}") for name, (lie, why) in NO_ANSWERS.items()
}
HARMLESS: dict[str, Lie] = {
    "another challenge": altered(lambda o, n: replace(o, challenge=bytes(16))),
    "another response": altered(lambda o, n: replace(o, response=o.response + 1)),
    "negative roots": roots(lambda r, n: [n - root for root in r]),
}
