"""The aggregator: insiders that lie inside their own links, and key holders that do not answer rightly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from mpc.errors import AbortError, PeerError
from mpc.network import Network
from mpc.party import SERVER, Message, Party, StateMachine, client_id
from mpc.tape import RandomTape, SeededTape
from secagg.checks import Check
from secagg.client import Vector
from secagg.cohort import Cohort
from secagg.link import LinkedParty
from secagg.paillier import Paillier
from secagg.paillier.client import PaillierClient
from secagg.paillier.keyholder import KeyHolder
from secagg.paillier.messages import DECRYPT, INPUT, KEY_HOLDER, OPENED, EncryptedInput
from secagg.paillier.packing import Packing
from secagg.paillier.server import PaillierServer

Forge = Callable[[bytes, Paillier], bytes]


def with_insider(backend: Paillier, name: str, forge: Forge) -> Paillier:
    """``name`` sends ``forge`` of its contribution, in a message of its own link."""
    honest = backend._client

    def client(
        cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> PaillierClient:
        party = honest(cohort, me, vector, checks, tape)
        if me == name:
            payload = party._contribution()
            party._contribution = lambda: forge(payload, backend)  # type: ignore[method-assign]
        return party

    backend._client = client  # type: ignore[method-assign]
    return backend


def replaced(value: Callable[[mpz], mpz], index: int = 1) -> Forge:
    """One ciphertext replaced by a function of n."""

    def forge(payload: bytes, backend: Paillier) -> bytes:
        assert backend.public is not None
        key = backend.public.encryption
        width = key.ciphertext_bytes
        bad = int(value(key.n)).to_bytes(width, "little")
        return payload[: index * width] + bad + payload[(index + 1) * width :]

    return forge


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (replaced(lambda n: mpz(0)), r"ciphertext 1 is not in \(0, n²\)"),
        (replaced(lambda n: n * n, 0), r"ciphertext 0 is not in \(0, n²\)"),
        (replaced(lambda n: n * n + 1, 2), r"ciphertext 2 is not in \(0, n²\)"),
        (replaced(lambda n: mpz(2) ** 1024 - 1), r"ciphertext 1 is not in \(0, n²\)"),
        (replaced(lambda n: n), "ciphertext 1 has a factor in common with n"),
        (lambda payload, _: payload[:-1], "wrong length: 415 bytes in phase 'encrypted-input', where 416"),
        (lambda payload, _: payload + b"\0", "wrong length: 417 bytes"),
        (lambda payload, _: payload[:-128], "wrong length: 288 bytes"),
        (lambda payload, _: payload + payload[:128], "wrong length: 544 bytes"),
        (lambda payload, _: b"", "wrong length: 0 bytes"),
        (lambda payload, _: payload[:-1] + bytes([payload[-1] ^ 1]), "encrypted under another key"),
    ],
)
def test_who_sends_no_ciphertexts_is_named_and_the_others_are_summed(
    lab: Any, forge: Forge, reason: str
) -> None:
    cohort = lab.cohort(5)
    assert Packing.of(cohort, 512).ciphertexts(cohort.length) == 3
    vectors = lab.vectors(cohort)
    total, _ = lab.run(cohort, vectors, backend=with_insider(lab.backend(), "client-2", forge))
    assert total.survivors == (0, 1, 3, 4)
    assert list(total.rejected) == [2]
    assert total.rejected[2].check == "structural"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(total.rejected[2].reason)
    np.testing.assert_array_equal(
        total.total, sum(vector for name, vector in vectors.items() if name != "client-2")
    )


@pytest.mark.parametrize("plaintext", [-1, 1 << 510, 32767 * 2 * 5 + 1])
def test_a_plaintext_that_is_no_vector_costs_the_round_and_gives_no_wrong_sum(
    lab: Any, plaintext: int
) -> None:
    """What an insider encrypts, nobody can see: that the sum is none comes out when it is opened."""
    cohort = lab.cohort(5, 1)

    def forge(payload: bytes, backend: Paillier) -> bytes:
        key = lab.keys.public.encryption
        return EncryptedInput(key.encrypt_many([mpz(plaintext) % key.n], SeededTape(b""))).encode(key)

    vectors = dict.fromkeys(cohort.members, np.array([-cohort.max_entry]))
    with pytest.raises(AbortError, match="what was opened is not a sum of 5 vectors") as caught:
        lab.run(cohort, vectors, backend=with_insider(lab.backend(), "client-2", forge))
    assert caught.value.evidence["clients"] == cohort.members


# Other answers than the key holder's


def test_a_silent_key_holder_is_named(lab: Any) -> None:
    cohort = lab.cohort()
    for phase in (OPENED, INPUT):
        with pytest.raises(AbortError, match="key holder 0 has not opened the sum") as caught:
            lab.run(cohort, lab.vectors(cohort), drop={KEY_HOLDER: phase}, seed=phase.encode())
        assert caught.value.evidence == {"party": "key holder 0"}
        lab = type(lab)()


class LyingKeyHolder(KeyHolder):
    def __init__(self, cohort: Cohort, keys: Any, forge: Callable[[bytes, mpz], bytes]) -> None:
        super().__init__(cohort, keys)
        self._forge = forge

    def receive(self, message: Message) -> list[Message]:
        (answer,) = super().receive(message)
        return [replace(answer, payload=self._forge(bytes(answer.payload), self._keys.encryption.public.n))]


def shifted(by: int) -> Callable[[bytes, mpz], bytes]:
    """The first plaintext is off by ``by``."""

    def forge(payload: bytes, n: mpz) -> bytes:
        return int((int.from_bytes(payload[:64], "little") + by) % n).to_bytes(64, "little") + payload[64:]

    return forge


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (lambda payload, n: payload[:-1], "key holder 0 has answered: ends after 191 bytes"),
        (lambda payload, n: payload + b"\0", "key holder 0 has answered: 1 bytes after the end"),
        (lambda payload, n: b"", "key holder 0 has answered: ends after 0 bytes"),
        (
            lambda payload, n: payload[:128] + int(n).to_bytes(64, "little"),
            "key holder 0 has answered: plaintext 2 is not below n",
        ),
        (lambda payload, n: bytes(len(payload)), "what was opened is not a sum of 4 vectors"),
        (shifted(1 << 509), "what was opened is not a sum of 4 vectors: plaintext 0 has more than"),
        (shifted(7), "what was opened is not a sum of 4 vectors: entry 0 is more than"),
    ],
)
def test_an_answer_that_is_no_sum_aborts(
    lab: Any, monkeypatch: pytest.MonkeyPatch, forge: Callable[[bytes, mpz], bytes], reason: str
) -> None:
    cohort, backend = lab.cohort(), lab.backend()
    liar: LinkedParty[None] = LinkedParty.helper(
        LyingKeyHolder(cohort, lab.keys, forge), cohort, lab.keys.link, SeededTape(b"link")
    )
    monkeypatch.setattr(backend, "helpers", lambda cohort, tape: {KEY_HOLDER: liar})
    with pytest.raises(AbortError, match=reason) as caught:
        lab.run(cohort, dict.fromkeys(cohort.members, np.full(60, cohort.max_entry)), backend=backend)
    assert caught.value.evidence["party"] == "key holder 0"


# Without links, message by message


class Round:
    """A server, three clients and a key holder, none of them linked."""

    def __init__(self, lab: Any) -> None:
        self.cohort = lab.cohort(4)
        self.vectors = lab.vectors(self.cohort)
        self.key = lab.keys.public.encryption
        self.server = PaillierServer(self.cohort, (), SeededTape(b"server"), self.key)
        self.holder = KeyHolder(self.cohort, lab.keys)
        self.inputs = [
            lab.backend()._client(self.cohort, name, vector, (), SeededTape(name.encode())).start()[0]
            for name, vector in self.vectors.items()
        ]

    def until_opening(self, heard: int) -> list[Message]:
        """The first ``heard`` clients' inputs arrive, then the deadline passes."""
        assert self.server.start() == []
        replies = [reply for message in self.inputs[:heard] for reply in self.server.receive(message)]
        return replies or self.server.expire()

    def message(self, phase: str, index: int, payload: bytes) -> Message:
        return Message(self.cohort.session, self.cohort.round, phase, client_id(index), SERVER, payload)


@pytest.mark.parametrize("heard", [3, 4])
def test_no_client_can_answer_for_the_key_holder_or_stop_it(lab: Any, heard: int) -> None:
    """Not even one that was silent so far, and so might still be waited for."""
    run = Round(lab)
    (request,) = run.until_opening(heard)
    assert (request.phase, request.receiver) == (DECRYPT, KEY_HOLDER)
    (answer,) = run.holder.receive(request)
    for index in range(4):
        for phase in (OPENED, INPUT, "check", DECRYPT, "no-such-phase"):
            assert run.server.receive(run.message(phase, index, bytes(answer.payload))) == []
    assert run.server.result is None
    assert run.server.receive(answer) == []
    assert run.server.result is not None
    assert run.server.result.survivors == tuple(range(heard))
    expected = sum(run.vectors[f"client-{index}"] for index in range(heard))
    np.testing.assert_array_equal(run.server.result.total, expected)
    assert run.server.expire() == []
    with pytest.raises(PeerError, match="not expected in state 'done'"):
        run.server.receive(answer)


def test_an_answer_before_the_question_is_refused(lab: Any) -> None:
    run = Round(lab)
    answer = Message(run.cohort.session, 0, OPENED, KEY_HOLDER, SERVER, bytes(192))
    with pytest.raises(PeerError, match=f"not expected in state '{INPUT}'"):
        run.server.receive(answer)


def test_memory_is_one_row_of_ciphertexts(lab: Any) -> None:
    run = Round(lab)
    expected: list[mpz] = []
    for message in run.inputs[:3]:
        run.server.receive(message)
        one = EncryptedInput.decode(message.payload, run.key, 3).ciphertexts
        expected = [a * b % run.key.n2 for a, b in zip(expected, one, strict=True)] if expected else list(one)
        assert run.server._product == expected
        assert run.server._held == {}
    run.server.receive(run.inputs[3])
    assert run.server._product == []


def test_a_client_starts_once_and_keeps_no_vector(lab: Any) -> None:
    cohort = lab.cohort()
    client = lab.backend()._client(cohort, "client-0", lab.vectors(cohort)["client-0"], (), SeededTape(b""))
    client.start()
    assert client._vector.size == 0
    with pytest.raises(ValueError, match="a client starts once"):
        client.start()


def test_a_client_that_has_pinned_another_key_is_named(lab: Any) -> None:
    cohort, backend = lab.cohort(), lab.backend()
    vectors = lab.vectors(cohort)
    other = Paillier(threshold=2, insecure_key_bits=512).setup(SeededTape(b"another"))
    parties: dict[Any, Party[Any]] = {
        SERVER: backend.server(cohort, link_key=lab.server_link, tape=SeededTape(b"server")),
        **backend.helpers(cohort, tape=SeededTape(b"")),
    }
    for index, (name, vector) in enumerate(vectors.items()):
        own = other if index == 1 else backend
        parties[client_id(index)] = own.client(cohort, name, vector, tape=SeededTape(name.encode()))
    Network(parties, backend.phases).run()
    total = parties[SERVER].result
    assert total is not None
    assert total.survivors == (0, 2, 3)
    assert total.rejected[1].reason == "encrypted under another key than the key holder's"
    np.testing.assert_array_equal(total.total, sum(vectors[f"client-{index}"] for index in (0, 2, 3)))


@pytest.mark.parametrize("machine", [PaillierServer, KeyHolder])
def test_tables_name_handlers_that_exist(machine: type[StateMachine]) -> None:
    for handler in machine.transitions.values():
        assert callable(getattr(machine, handler))
