"""What a backend declares about bytes, phases and randomness is what crosses the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from mpc.cost import LinkCost
from mpc.errors import LocalError
from mpc.party import SERVER, Role, client_id
from mpc.prg import MAX_KEYSTREAM_BYTES
from mpc.tape import SeededTape
from secagg import Check, Cohort
from secagg.backend import Backend
from secagg.cohort import MAX_LENGTH
from secagg.sealed import MAX_PLAINTEXT_BYTES
from secagg.sharing.scheme import EXPLICIT, PlainShares

SHAPES = [(2, 1, 2), (2, 1, 16), (3, 10, 16), (5, 7, 3), (9, 100, 31), (17, 33, 20), (40, 3, 8)]


class FixedProof(Check):
    proves = True

    def __init__(self, size: int) -> None:
        self.size = size

    def proof_bytes(self, cohort: Cohort) -> int:
        return self.size

    def prove(self, *_: Any) -> bytes:
        return bytes(self.size)


@pytest.mark.parametrize("checks", [(), (0,), (32,), (5, 100)], ids=str)
@pytest.mark.parametrize(("members", "length", "bits"), SHAPES)
def test_declared_bytes_are_those_that_cross(
    make: Any,
    backend: Backend,
    rig: SimpleNamespace,
    members: int,
    length: int,
    bits: int,
    checks: tuple[int, ...],
) -> None:
    proofs = [FixedProof(size) for size in checks]
    outcome = rig.play(make, rig.vectors(members, length, bits), bits=bits, checks=proofs)
    outcome.require_exact()
    rig.declared(backend, outcome, proofs)


def declared_and_crossed(backend: Backend, outcome: Any, checks: Sequence[Check] = ()) -> tuple[Any, Any]:
    """Both without key lists on a sparse graph, which are as long as they happen to be (section 12.2)."""
    declared = dict(backend.cost(outcome.cohort, checks).traffic())
    crossed = dict(outcome.transcript.traffic())
    if lists := [link for link in declared if link.phase == "share-keys" and link.sender is Role.SERVER]:
        most, found = declared[lists[0]], crossed[lists[0]]
        assert (found.messages, found.bytes) <= (most.messages, most.bytes)
        if backend.name == "masking" and backend.tolerance is not None:  # type: ignore[attr-defined]
            del declared[lists[0]], crossed[lists[0]]
    return declared, crossed


@pytest.mark.parametrize("limit", [1024, 1025, 2000, 5000])
@pytest.mark.parametrize(
    ("members", "length", "bits"), [(2, 900, 16), (5, 2000, 3), (17, 400, 31), (40, 30, 8)]
)
def test_declared_bytes_are_those_that_cross_in_parts(
    make: Any, rig: SimpleNamespace, members: int, length: int, bits: int, limit: int
) -> None:
    backend, proofs = make(max_message_bytes=limit), [FixedProof(1500)]
    outcome = rig.play(backend, rig.vectors(members, length, bits), bits=bits, checks=proofs)
    outcome.require_exact()
    declared, crossed = declared_and_crossed(backend, outcome, proofs)
    assert declared == crossed
    if limit < 1500:
        whole = make().cost(outcome.cohort, proofs).traffic()
        assert sum(t.messages for t in declared.values()) > sum(t.messages for t in whole.values())


def test_a_message_as_long_as_the_limit_is_not_cut_and_one_byte_longer_is(
    make: Any, rig: SimpleNamespace
) -> None:
    vectors = rig.vectors(5, 1000, 16)
    sent = rig.play(make, vectors).transcript.records
    largest = max(record.size for record in sent)
    count = sum(record.size == largest for record in sent)
    for limit, more in ((largest, 0), (largest - 1, count)):
        backend = make(max_message_bytes=limit)
        outcome = rig.play(backend, vectors)
        outcome.require_exact()
        assert len(outcome.transcript.records) == len(sent) + more
        assert max(record.size for record in outcome.transcript.records) == limit
        declared, crossed = declared_and_crossed(backend, outcome)
        assert declared == crossed


def test_the_longest_vector_that_there_is(backend: Backend, rig: SimpleNamespace) -> None:
    """2^32 coordinates: in 1 GiB parts, and within what keystreams, boxes and integers hold."""
    share = PlainShares(b"", MAX_LENGTH, 2).share_bytes(EXPLICIT)
    assert max(8 * MAX_LENGTH, share) < MAX_PLAINTEXT_BYTES == MAX_KEYSTREAM_BYTES
    cohort = rig.cohort(backend, 5, MAX_LENGTH, 16)
    if backend.name in ("paillier", "threshold-paillier"):  # one integer holds all slots, of 19 bits here
        with pytest.raises(
            LocalError, match="length is 4294967296: must be from 1 to 3616814565, at 19 bits a"
        ):
            backend.cost(cohort)
        cohort = rig.cohort(backend, 5, 3616814565, 16)

    def inputs(links: Iterable[LinkCost]) -> list[LinkCost]:
        return [one for one in links if one.sender is Role.CLIENT and one.phase == backend.input_phase]

    (payload,) = inputs(backend._cost(cohort, ())[1])
    sent = inputs(backend.cost(cohort).links)
    assert max(link.size for link in sent) == 1 << 30
    assert sum(link.messages for link in sent) == 5 * (payload.size // 2**30 + 1)


@pytest.mark.parametrize("checks", [(), (32,)], ids=str)
def test_declared_rounds_are_how_often_a_client_sends(
    make: Any, backend: Backend, rig: SimpleNamespace, checks: tuple[int, ...]
) -> None:
    proofs = [FixedProof(size) for size in checks]
    outcome = rig.play(make, rig.vectors(5, 7, 16), checks=proofs)
    cost = backend.cost(outcome.cohort, proofs)
    sparse = rig.sparse_holders(backend, outcome.cohort)  # then the longest proof is declared for all

    def as_declared(spent: int, declared: int) -> bool:
        return spent == declared or (bool(sparse) and 3 / 4 * declared <= spent <= declared)

    for index in range(5):
        sent = [record for record in outcome.transcript.records if record.sender == client_id(index)]
        assert len(sent) == cost.rounds
        each = sum(record.size for record in sent)
        assert each == cost.sent_by_each(Role.CLIENT, 5) == outcome.transcript.bytes_sent(client_id(index))
        heard = sum(record.size for record in outcome.transcript.view(client_id(index)))
        assert as_declared(heard, cost.received_by_each(Role.CLIENT, 5))
    assert as_declared(outcome.transcript.bytes_sent(SERVER), cost.sent_by_each(Role.SERVER, 1))


def test_sizes_on_record_are_those_of_the_encoded_messages(make: Any, rig: SimpleNamespace) -> None:
    records = rig.play(make, rig.vectors(5, 7, 16), keep_payloads=True).transcript.records
    assert records
    for record in records:
        assert record.size == len(record.message.encode()) == record.message.size


def test_the_size_of_a_message_says_nothing_about_what_it_hides(make: Any, rig: SimpleNamespace) -> None:
    quiet, loud = ([vector * 0 + value for vector in rig.vectors(5, 7, 16)] for value in (0, 32767))
    one, other = (rig.play(make, vectors).transcript.records for vectors in (quiet, loud))
    assert [(r.phase, r.sender, r.receiver, r.size) for r in one] == [
        (r.phase, r.sender, r.receiver, r.size) for r in other
    ]


def test_phases_are_those_that_are_listed(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    records = rig.play(make, rig.vectors(5, 7, 16), checks=[FixedProof(1)]).transcript.records
    assert {record.phase for record in records} <= set(backend.phases)
    assert {r.phase for r in records if r.sender.role is Role.CLIENT} == set(backend.client_phases)
    assert backend.input_phase in backend.client_phases
    assert set(backend.client_phases) <= set(backend.phases)
    assert len(set(backend.phases)) == len(backend.phases)


def test_clients_talk_to_the_server_only(make: Any, rig: SimpleNamespace) -> None:
    for record in rig.play(make, rig.vectors(5, 7, 16)).transcript.records:
        assert SERVER in (record.sender, record.receiver)


def all_bytes(outcome: Any) -> list[bytes]:
    return [record.message.encode() for record in outcome.transcript.records]


def test_one_tape_one_transcript(make: Any, rig: SimpleNamespace) -> None:
    vectors = rig.vectors(5, 7, 16)
    options: dict[str, Any] = {"keep_payloads": True, "drop": {3: make().input_phase}}
    options["checks"] = [FixedProof(3)]
    assert all_bytes(rig.play(make, vectors, **options)) == all_bytes(rig.play(make, vectors, **options))


def test_another_tape_another_transcript(make: Any, rig: SimpleNamespace) -> None:
    """No message of a client or helper is the same under two tapes, but those whose content is public."""
    vectors = rig.vectors(5, 7, 16)
    one, other = (
        rig.play(make, vectors, seed=seed, keep_payloads=True).transcript.records for seed in (b"1", b"2")
    )
    shared = {bytes(r.message.tag) for r in one if r.message} & {bytes(r.message.tag) for r in other}
    clients = {bytes(r.message.tag) for r in one if Role.CLIENT in (r.sender.role, r.receiver.role)}
    assert not shared & clients


def test_the_report_of_a_backend_names_no_secret(make: Any, rig: SimpleNamespace) -> None:
    backend = make()
    cohort = rig.cohort(backend, 5, 7, 16)
    vectors = rig.vectors(5, 7, 16)
    parties = [backend.client(cohort, "c1", vectors[1], tape=SeededTape(b"secret"))]
    parties += backend.helpers(cohort, tape=SeededTape(b"")).values()
    for party in (backend, *parties, *(getattr(party, "_inner", None) for party in parties)):
        text = repr(party)
        assert len(text) < 300
        assert str(vectors[1][0]) not in text
        assert "\\x" not in text
