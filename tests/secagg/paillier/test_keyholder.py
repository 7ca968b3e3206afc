"""The key holder against a lying server, whose messages carry right link tags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from mpc.errors import AbortError, PeerError
from mpc.party import SERVER, Message, Party, client_id
from mpc.tape import SeededTape
from secagg.cohort import Cohort
from secagg.link import Link
from secagg.paillier.messages import DECRYPT, INPUT, KEY_HOLDER, OPENED, DecryptRequest, OpenedSum

VALUES = [mpz(5), mpz(0), mpz(2**500)]


class LyingServer:
    """The server's end of the link to the key holder, and honest ciphertexts of ``VALUES``."""

    def __init__(self, lab: Any, cohort: Cohort) -> None:
        self.cohort = cohort
        self.key = lab.keys.public.encryption
        self.link = Link(
            cohort, KEY_HOLDER, lab.server_link, lab.keys.public.link, serves=True, tape=SeededTape(b"link")
        )
        self.ciphertexts = self.key.encrypt_many(VALUES, SeededTape(b"values"))

    def payload(self, counted: tuple[int, ...] = (0, 1, 3), **changed: mpz) -> bytes:
        ciphertexts = [changed.get(f"c{index}", c) for index, c in enumerate(self.ciphertexts)]
        width = self.key.ciphertext_bytes
        head = DecryptRequest(counted, ()).encode(self.key, self.cohort.size)
        return head + b"".join(c.to_bytes(width, "little") for c in ciphertexts)

    def tell(self, payload: bytes, phase: str = DECRYPT) -> Message:
        cohort = self.cohort
        return self.link.close(Message(cohort.session, cohort.round, phase, SERVER, KEY_HOLDER, payload))


def key_holder(lab: Any, cohort: Cohort) -> Party[object]:
    party: Party[object] = lab.backend().helpers(cohort, tape=SeededTape(b""))[KEY_HOLDER]
    assert party.start() == []
    return party


@pytest.fixture
def cohort(lab: Any) -> Cohort:
    """Of five clients; its vectors take three ciphertexts of 26 slots."""
    return lab.cohort(5, 60, threshold=3)  # type: ignore[no-any-return]


def test_it_opens_what_an_honest_server_asks_for(lab: Any, cohort: Cohort) -> None:
    server = LyingServer(lab, cohort)
    holder = key_holder(lab, cohort)
    (answer,) = holder.receive(server.tell(server.payload()))
    assert (answer.phase, answer.sender, answer.receiver) == (OPENED, KEY_HOLDER, SERVER)
    server.link.open(answer)
    assert OpenedSum.decode(answer.payload, server.key, 3).plaintexts == VALUES
    assert lab.keys.log.entries() == ((cohort.session, cohort.round),)
    assert holder.result is None


def bad(server: LyingServer, name: str) -> bytes:
    key = server.key
    good = server.payload()
    return {
        "two clients": server.payload((0, 4)),
        "no client": server.payload(()),
        "a client outside the cohort": b"\x27" + good[1:],
        "zero": server.payload(c1=mpz(0)),
        "n²": server.payload(c0=key.n2),
        "all ones": server.payload(c2=mpz(2 ** (8 * key.ciphertext_bytes) - 1)),
        "no unit": server.payload(c2=7 * key.n),
        "too short": good[:-1],
        "too long": good + b"\0",
        "one ciphertext less": good[: -key.ciphertext_bytes],
        "empty": b"",
    }[name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("two clients", "asks for a sum over 2 clients; the threshold is 3"),
        ("no client", "asks for a sum over 0 clients; the threshold is 3"),
        ("a client outside the cohort", "a bitmap over 5 members has a bit set beyond them"),
        ("zero", r"ciphertext 1 is not in \(0, n²\)"),
        ("n²", r"ciphertext 0 is not in \(0, n²\)"),
        ("all ones", r"ciphertext 2 is not in \(0, n²\)"),
        ("no unit", "ciphertext 2 has a factor in common with n"),
        ("too short", "383 bytes where 3 ciphertexts take 384"),
        ("too long", "385 bytes where 3 ciphertexts take 384"),
        ("one ciphertext less", "256 bytes where"),
        ("empty", "ends after 0 bytes"),
    ],
)
def test_it_refuses_and_says_no_more_in_this_round(lab: Any, cohort: Cohort, name: str, reason: str) -> None:
    server, holder = LyingServer(lab, cohort), key_holder(lab, cohort)
    with pytest.raises(PeerError, match=reason) as caught:
        holder.receive(server.tell(bad(server, name)))
    assert (caught.value.party, caught.value.phase) == (SERVER, DECRYPT)
    assert lab.keys.log.entries() == ()  # nothing was decrypted
    with pytest.raises(PeerError, match="not expected in state 'refused'"):
        holder.receive(server.tell(server.payload()))
    assert lab.keys.log.entries() == ()


def test_it_answers_one_request(lab: Any, cohort: Cohort) -> None:
    server, holder = LyingServer(lab, cohort), key_holder(lab, cohort)
    request = server.tell(server.payload())
    assert len(holder.receive(request)) == 1
    assert holder.receive(request) == []  # the link counts a repeated message once
    with pytest.raises(PeerError, match="not expected in state 'answered'"):
        holder.receive(server.tell(server.payload((0, 1, 2))))


def test_a_server_that_starts_the_round_again_is_refused(lab: Any, cohort: Cohort) -> None:
    server = LyingServer(lab, cohort)
    key_holder(lab, cohort).receive(server.tell(server.payload()))
    again = LyingServer(lab, cohort)
    with pytest.raises(PeerError, match="a sum of round 0 of this session has been opened before"):
        key_holder(lab, cohort).receive(again.tell(again.payload((0, 1, 2))))
    others = lab.cohort(6, 60, threshold=3)  # a changed cohort does not make it another round
    again = LyingServer(lab, others)
    with pytest.raises(PeerError, match="opened before"):
        key_holder(lab, others).receive(again.tell(again.payload()))
    for new in ({"round": 1}, {"session": bytes([1] * 16)}):
        cohort = lab.cohort(5, 60, threshold=3, **new)
        server = LyingServer(lab, cohort)
        assert key_holder(lab, cohort).receive(server.tell(server.payload()))


def test_a_whole_round_that_is_run_twice_yields_one_sum(lab: Any) -> None:
    cohort = lab.cohort()
    vectors = lab.vectors(cohort)
    total, _ = lab.run(cohort, vectors, seed=b"first")
    np.testing.assert_array_equal(total.total, sum(vectors.values()))
    with pytest.raises(AbortError, match="key holder 0 has not opened the sum"):
        lab.run(cohort, vectors, seed=b"second", drop={client_id(2): INPUT})


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
    lab: Any, cohort: Cohort, new: dict[str, Any], reason: str
) -> None:
    foreign = LyingServer(lab, lab.cohort(**{"size": 5, "length": 60, "threshold": 3, **new}))
    holder = key_holder(lab, cohort)
    with pytest.raises(PeerError, match=reason):
        holder.receive(foreign.tell(foreign.payload()))
    # Whoever sent that, it was not the server of this round: the server's own request still counts.
    server = LyingServer(lab, cohort)
    assert holder.receive(server.tell(server.payload()))


@pytest.mark.parametrize("phase", [INPUT, OPENED, "check"])
def test_other_phases_are_refused(lab: Any, cohort: Cohort, phase: str) -> None:
    server, holder = LyingServer(lab, cohort), key_holder(lab, cohort)
    with pytest.raises(PeerError, match="not expected in state 'ready'"):
        holder.receive(server.tell(server.payload(), phase))


def test_deadlines_do_not_move_it(lab: Any, cohort: Cohort) -> None:
    server, holder = LyingServer(lab, cohort), key_holder(lab, cohort)
    assert holder.expire() == []
    assert holder.receive(server.tell(server.payload()))
    assert holder.expire() == []


def test_repr_shows_no_key(lab: Any, cohort: Cohort) -> None:
    from secagg.paillier.keyholder import KeyHolder

    assert repr(KeyHolder(cohort, lab.keys)) == "KeyHolder(round 0, state 'ready')"
