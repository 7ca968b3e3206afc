"""The aggregator: insiders that lie inside their own links, and messages one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from mpc.errors import AbortError
from mpc.network import Network
from mpc.party import SERVER, Message, Party, PartyId, Role, StateMachine, client_id
from mpc.snapshot import encode
from mpc.tape import RandomTape, SeededTape
from secagg.checks import Check
from secagg.client import Vector
from secagg.cohort import Cohort
from secagg.paillier import Paillier
from secagg.paillier.client import PaillierClient
from secagg.paillier.keyholder import KeyHolder
from secagg.paillier.messages import DECRYPT, INPUT, OPENED, EncryptedInput
from secagg.paillier.packing import Packing
from secagg.paillier.server import PaillierServer

KEY_HOLDER = PartyId(Role.KEY_HOLDER)
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
        ciphertexts = key.encrypt_many([mpz(plaintext) % key.n], SeededTape(b""))
        return EncryptedInput(key.encode_ciphertexts(ciphertexts)).encode(key)

    vectors = dict.fromkeys(cohort.members, np.array([-cohort.max_entry]))
    with pytest.raises(AbortError, match="what was opened is not a sum of 5 vectors") as caught:
        lab.run(cohort, vectors, backend=with_insider(lab.backend(), "client-2", forge))
    assert caught.value.evidence["clients"] == cohort.members


# Without links, message by message


class Round:
    """A server, three clients and a key holder, none of them linked."""

    def __init__(self, lab: Any) -> None:
        self.cohort = lab.cohort(4)
        self.vectors = lab.vectors(self.cohort)
        self.key = lab.keys.public.encryption
        self.server = PaillierServer(self.cohort, (), SeededTape(b"server"), lab.backend()._opening())
        self.holder = KeyHolder(self.cohort, KEY_HOLDER, lab.keys, SeededTape(b"holder"))
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
    result = run.server.result
    assert run.server.expire() == []
    for late in (answer, replace(answer, payload=b""), replace(answer, phase=INPUT)):
        assert run.server.receive(late) == []
    assert run.server.result is result
    assert run.server.faults == result.faults == {}


def test_an_answer_before_the_question_ends_the_round(lab: Any) -> None:
    run = Round(lab)
    answer = Message(run.cohort.session, 0, OPENED, KEY_HOLDER, SERVER, bytes(256))
    with pytest.raises(AbortError, match="key holder 0 has spoken out of turn"):
        run.server.receive(answer)


def test_memory_is_one_row_of_ciphertexts(lab: Any) -> None:
    run, sizes = Round(lab), []
    for message in run.inputs[:3]:
        run.server.receive(message)
        sizes.append(len(encode(run.server.save(), run.server.kinds())))
        assert run.server._held == {}
    assert max(sizes) - min(sizes) < 100  # a row has 384 bytes


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
    other = Paillier(minimum=2, insecure_key_bits=512).setup(SeededTape(b"another"))
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
