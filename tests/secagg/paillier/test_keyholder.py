"""A key holder, of one or of three, against a lying server, whose messages carry right link tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from mpc.errors import AbortError, PeerError
from mpc.party import SERVER, Message, Party, PartyId, Role, client_id
from mpc.tape import SeededTape
from secagg.cohort import Cohort
from secagg.link import Link
from secagg.paillier import KeyHolderKeys, Paillier, ThresholdPaillier
from secagg.paillier.messages import DECRYPT, INPUT, OPENED, DecryptRequest
from secagg.paillier.numbers import encode_numbers
from secagg.paillier.opening import opening_context
from secagg.paillier.safeprimes import safe_prime
from secagg.roundlog import RoundLog

VALUES = [mpz(5), mpz(0), mpz(2**200)]
ONE = PartyId(Role.KEY_HOLDER, 0)
LENGTHS = {512: 60, 256: 39}  # what takes three ciphertexts


class Room:
    """A backend with all its keys, and cohorts of five for it, whose vectors take three ciphertexts."""

    def __init__(self, lab: Any, backend: Any, prime: mpz) -> None:
        self._lab = lab
        self.backend = backend
        self.prime = prime
        self.server_link = lab.server_link
        self.key = backend.public.encryption

    @property
    def log(self) -> RoundLog:
        log: RoundLog = self.backend._keys_of(ONE).log
        return log

    def cohort(self, size: int = 5, threshold: int = 3, **changes: Any) -> Cohort:
        length = LENGTHS[self.key.bits]
        cohort: Cohort = self._lab.cohort(size, length, threshold=threshold, **changes)
        assert self.backend.ciphertexts(cohort) == len(VALUES)
        return cohort

    def holder(self, cohort: Cohort, who: PartyId = ONE) -> Party[object]:
        party: Party[object] = self.backend.helpers(cohort, tape=SeededTape(b""))[who]
        assert party.start() == []
        return party


@pytest.fixture(params=["whole", "share"])
def room(request: pytest.FixtureRequest, lab: Any, shared: Callable[..., Any]) -> Room:
    if request.param == "whole":
        prime = mpz.from_bytes(lab.keys.encryption.export_secret()[4:36], "little")
        return Room(lab, lab.backend(), prime)
    return Room(lab, shared(3, 2), safe_prime(128, SeededTape(b"dealer")))


class LyingServer:
    """The server's end of the link to a key holder, and honest ciphertexts of ``VALUES``."""

    def __init__(self, room: Room, cohort: Cohort, who: PartyId = ONE) -> None:
        self.cohort, self.key, self.who = cohort, room.key, who
        link_key = room.backend._helper_keys()[who]
        self.link = Link(cohort, who, room.server_link, link_key, serves=True, tape=SeededTape(b"link"))
        self.ciphertexts = self.key.encrypt_many(VALUES, SeededTape(b"values"))
        self.remainders = [c % self.key.n for c in self.ciphertexts]

    def payload(self, counted: tuple[int, ...] = (0, 1, 3), **changed: mpz) -> bytes:
        numbers = [changed.get(f"u{index}", u) for index, u in enumerate(self.remainders)]
        head = DecryptRequest(counted, ()).encode(self.key, self.cohort.size)
        return head + encode_numbers(numbers, self.key.bits // 8)

    def tell(self, payload: bytes, phase: str = DECRYPT) -> Message:
        cohort = self.cohort
        return self.link.close(Message(cohort.session, cohort.round, phase, SERVER, self.who, payload))


def test_what_an_honest_server_asks_for_opens_its_ciphertexts(room: Room) -> None:
    cohort, opening, answers = room.cohort(), room.backend._opening(), {}
    for who in opening.holders:
        server, holder = LyingServer(room, cohort, who), room.holder(cohort, who)
        (answer,) = holder.receive(server.tell(server.payload()))
        assert (answer.phase, answer.sender, answer.receiver) == (OPENED, who, SERVER)
        server.link.open(answer)
        answers[who] = opening.decode(answer.payload, len(VALUES))
        assert len(answer.payload) == opening.answer_bytes(len(VALUES))
        assert room.backend._keys_of(who).log.entries() == ((cohort.session, cohort.round),)
        assert holder.result is None
    context = opening_context(cohort, (0, 1, 3))
    assert opening.open(server.ciphertexts, answers, context) == VALUES


def bad(room: Room, server: LyingServer, name: str) -> bytes:
    n, width, good = room.key.n, room.key.bits // 8, server.payload()
    return {
        "two clients": server.payload((0, 4)),
        "no client": server.payload(()),
        "a client outside the cohort": b"\x27" + good[1:],
        "everybody and one more": b"\x3f" + good[1:],
        "zero": server.payload(u1=mpz(0)),
        "n": server.payload(u0=n),
        "beyond n": server.payload(u2=n + server.remainders[2] % (2 ** (8 * width) - n)),
        "all ones": server.payload(u2=mpz(2 ** (8 * width) - 1)),
        "a factor of n": server.payload(u2=room.prime),
        "a multiple of the other": server.payload(u1=n - 2 * (n // room.prime)),
        "one byte short": good[:-1],
        "one byte long": good + b"\0",
        "one remainder less": good[:-width],
        "one remainder more": good + good[-width:],
        "ciphertexts modulo n²": good[:1] + room.key.encode_ciphertexts(server.ciphertexts),
        "no remainders": good[:1],
        "empty": b"",
    }[name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("two clients", "asks for a sum over 2 clients; the minimum is 3"),
        ("no client", "asks for a sum over 0 clients; the minimum is 3"),
        ("a client outside the cohort", "a bitmap over 5 members has a bit set beyond them"),
        ("everybody and one more", "a bitmap over 5 members has a bit set beyond them"),
        ("zero", r"remainder 1 is not in \(0, n\)"),
        ("n", r"remainder 0 is not in \(0, n\)"),
        ("beyond n", r"remainder 2 is not in \(0, n\)"),
        ("all ones", r"remainder 2 is not in \(0, n\)"),
        ("a factor of n", "remainder 2 has a factor in common with n"),
        ("a multiple of the other", "remainder 1 has a factor in common with n"),
        ("one byte short", "ends after"),
        ("one byte long", "1 bytes after the end"),
        ("one remainder less", "ends after"),
        ("one remainder more", "bytes after the end"),
        ("ciphertexts modulo n²", "bytes after the end"),
        ("no remainders", "ends after 1 bytes"),
        ("empty", "ends after 0 bytes"),
    ],
)
def test_it_refuses_and_says_no_more_in_this_round(room: Room, name: str, reason: str) -> None:
    cohort = room.cohort()
    server, holder = LyingServer(room, cohort), room.holder(cohort)
    with pytest.raises(PeerError, match=reason) as caught:
        holder.receive(server.tell(bad(room, server, name)))
    assert (caught.value.party, caught.value.phase) == (SERVER, DECRYPT)
    assert str(room.prime) not in str(caught.value)
    assert room.log.entries() == ()  # nothing was computed
    with pytest.raises(PeerError, match="not expected in state 'refused'"):
        holder.receive(server.tell(server.payload()))
    assert room.log.entries() == ()


def test_it_answers_one_request(room: Room) -> None:
    cohort = room.cohort()
    server, holder = LyingServer(room, cohort), room.holder(cohort)
    request = server.tell(server.payload())
    assert len(holder.receive(request)) == 1
    assert holder.receive(request) == []  # the link counts a repeated message once
    with pytest.raises(PeerError, match="not expected in state 'answered'"):
        holder.receive(server.tell(server.payload()))
    with pytest.raises(PeerError, match="not expected in state 'refused'"):
        holder.receive(server.tell(server.payload((0, 1, 2))))


@pytest.mark.parametrize("counted", [(0, 1, 3), (0, 1, 2), (0, 1, 3, 4)])
def test_a_server_that_starts_the_round_again_is_refused(room: Room, counted: tuple[int, ...]) -> None:
    """Whichever set it names: the same, an overlapping one, one client more."""
    cohort = room.cohort()
    server = LyingServer(room, cohort)
    room.holder(cohort).receive(server.tell(server.payload()))
    again = LyingServer(room, cohort)
    with pytest.raises(PeerError, match="a sum of round 0 of this session has been opened before"):
        room.holder(cohort).receive(again.tell(again.payload(counted)))
    others = room.cohort(6)  # a changed cohort does not make it another round
    again = LyingServer(room, others)
    with pytest.raises(PeerError, match="opened before"):
        room.holder(others).receive(again.tell(again.payload(counted)))
    for new in ({"round": 1}, {"session": bytes([1] * 16)}):
        cohort = room.cohort(**new)
        server = LyingServer(room, cohort)
        assert room.holder(cohort).receive(server.tell(server.payload()))


def test_a_key_holder_that_starts_again_with_its_saved_log_remembers(room: Room) -> None:
    cohort = room.cohort()
    server = LyingServer(room, cohort)
    room.holder(cohort).receive(server.tell(server.payload()))
    log = RoundLog(room.log.entries())
    keys: Any = room.backend._keys_of(ONE)
    own = type(keys).import_secret(keys.export_secret(), log=log, allow_insecure_bits=True)
    again: Any
    if isinstance(keys, KeyHolderKeys):
        whole = Paillier(keys=own, minimum=2, insecure_key_bits=512)
        again = whole.helpers(cohort, tape=SeededTape(b"again"))[ONE]
    else:
        pinned = ThresholdPaillier(3, 2, minimum=2, public=room.backend.public, insecure_key_bits=256)
        again = pinned.key_holder(cohort, 0, own, tape=SeededTape(b"again"))
    server = LyingServer(room, cohort)
    with pytest.raises(PeerError, match="opened before"):
        again.receive(server.tell(server.payload((0, 1, 2))))
    assert log.entries() == ((cohort.session, cohort.round),)


def test_a_whole_round_that_is_run_twice_yields_one_sum(room: Room, lab: Any) -> None:
    cohort = room.cohort()
    vectors = lab.vectors(cohort)
    total, _ = lab.run(cohort, vectors, backend=room.backend, seed=b"first")
    np.testing.assert_array_equal(total.total, sum(vectors.values()))
    with pytest.raises(AbortError, match=r"key holder 0 sent no answer .* opened a sum of"):
        lab.run(cohort, vectors, backend=room.backend, seed=b"second", drop={client_id(2): INPUT})


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ({"round": 7}, "replayed: belongs to round 7, not 0"),
        ({"session": bytes([9] * 16)}, "replayed: belongs to another session"),
        ({"threshold": 2}, "the link tag does not match"),
        ({"size": 6}, "the link tag does not match"),
    ],
)
def test_a_request_for_another_round_or_cohort_is_refused(
    room: Room, new: dict[str, Any], reason: str
) -> None:
    cohort = room.cohort()
    foreign, holder = LyingServer(room, room.cohort(**new)), room.holder(cohort)
    with pytest.raises(PeerError, match=reason):
        holder.receive(foreign.tell(foreign.payload()))
    # Whoever sent that, it was not the server of this round: the server's own request still counts.
    server = LyingServer(room, cohort)
    assert holder.receive(server.tell(server.payload()))


def test_a_request_to_another_key_holder_is_refused(lab: Any, shared: Callable[..., Any]) -> None:
    room = Room(lab, shared(3, 2), mpz(0))
    cohort = room.cohort()
    other = LyingServer(room, cohort, PartyId(Role.KEY_HOLDER, 1))
    with pytest.raises(PeerError, match="the link tag does not match"):
        room.holder(cohort).receive(other.tell(other.payload()))


@pytest.mark.parametrize("phase", [INPUT, OPENED, "check", "no such phase"])
def test_other_phases_are_refused(room: Room, phase: str) -> None:
    cohort = room.cohort()
    server, holder = LyingServer(room, cohort), room.holder(cohort)
    with pytest.raises(PeerError, match="not expected in state 'ready'"):
        holder.receive(server.tell(server.payload(), phase))
    assert room.log.entries() == ()


def test_neither_party_nor_answer_shows_a_secret(room: Room) -> None:
    cohort = room.cohort()
    server, holder = LyingServer(room, cohort), room.holder(cohort)
    inner: Any = holder._inner  # type: ignore[attr-defined]
    assert repr(inner) == "KeyHolder(0, round 0, state 'ready')"
    (answer,) = holder.receive(server.tell(server.payload()))
    decoded = room.backend._opening().decode(answer.payload, len(VALUES))
    keys = room.backend._keys_of(ONE)
    shown = f"{inner}{inner._keys}{answer}{decoded}{room.log}{room.backend}"
    for number in (room.prime, room.key.n // room.prime, int.from_bytes(keys.link, "little")):
        assert str(number)[:12] not in shown
        assert f"{number:x}"[:12] not in shown
    assert keys.link.hex()[:8] not in shown
