"""Cohorts that pin identities: the same sums, 64 bytes more, and nobody in a member's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.errors import LocalError
from mpc.party import SERVER, Message, Role, client_id
from mpc.prg import Usage
from mpc.tape import SeededTape
from secagg import Cohort, aggregate
from secagg.backend import Backend
from secagg.identity import SIGNATURE_BYTES, Identity
from secagg.link import LinkedParty

LIAR, N = 2, 6
OTHERS = (0, 1, 3, 4, 5)
STRANGER = Identity(SeededTape(b"stranger").read(32))


@pytest.mark.parametrize(("members", "length", "bits"), [(2, 1, 2), (5, 7, 16), (9, 100, 31), (20, 12, 20)])
def test_the_sum_is_the_same_and_the_cost_is_declared(
    make: Any, backend: Backend, rig: SimpleNamespace, members: int, length: int, bits: int
) -> None:
    vectors = rig.vectors(members, length, bits)
    unsigned = rig.play(make, vectors, bits=bits)
    signed = rig.play(make, vectors, bits=bits, identities=rig.identities(members))
    signed.require_exact()
    assert signed.total.tolist() == unsigned.total.tolist()
    assert signed.rejected == {}
    assert signed.transcript.refusals == []
    rig.declared(backend, signed)
    greetings = members * SIGNATURE_BYTES
    masking, sparse = backend.name == "masking", rig.sparse_holders(backend, signed.cohort)
    up = members * SIGNATURE_BYTES if masking else 0
    down = members * (sparse or members) * SIGNATURE_BYTES if masking else 0
    lists, rest = zip(*(key_lists_and_rest(outcome) for outcome in (signed, unsigned)), strict=True)
    assert rest[0] - rest[1] == greetings + up
    # On a sparse graph, which is another where members sign, each list has a proof of its own length.
    proof = 32 * (members - 1).bit_length() * members * sparse if sparse else 0
    assert abs(lists[0] - lists[1] - down) <= proof


def key_lists_and_rest(outcome: Any) -> tuple[int, int]:
    """Bytes of the key lists that a masking server sends, and of everything else."""
    sizes = [(r.phase == "share-keys" and r.sender == SERVER, r.size) for r in outcome.transcript.records]
    return sum(size for listed, size in sizes if listed), sum(size for listed, size in sizes if not listed)


def test_going_silent_in_each_phase(make: Any, backend: Backend, rig: SimpleNamespace) -> None:
    vectors, identities = rig.vectors(N, 11, 16), rig.identities(N)
    order = backend.phases.index
    for phase in backend.client_phases:
        outcome = rig.play(make, vectors, identities=identities, drop={2: phase})
        outcome.require_exact()
        assert (2 in outcome.survivors) is (order(phase) > order(backend.input_phase))
        assert set(outcome.survivors) >= set(OTHERS)
        assert outcome.rejected == {}


def test_through_aggregate(make: Any) -> None:
    updates = {name: np.full(4, value) for name, value in (("ana", 0.25), ("bo", -0.5), ("cy", 1.0))}
    identities = {name: Identity.generate(SeededTape(name.encode())) for name in updates}
    result = aggregate(updates, backend=make(), identities=identities)
    assert result.cohort.identities == tuple(identities[name].public for name in result.cohort.members)
    assert np.allclose(result.mean, 0.25, atol=1e-3)
    with pytest.raises(LocalError, match=r"identities is \['cy'\]: must name the same clients as updates"):
        aggregate(updates, backend=make(), identities={k: v for k, v in identities.items() if k != "cy"})
    with pytest.raises(LocalError, match=r"identities\['cy'\] is b'.*: must be a Identity"):
        aggregate(updates, backend=make(), identities={**identities, "cy": bytes(32)})  # type: ignore[dict-item]


def test_a_client_signs_just_when_its_cohort_does(make: Any, rig: SimpleNamespace) -> None:
    backend, identities = make(), rig.identities(4)
    unsigned = rig.cohort(backend, 4, 3, 16)
    signed = replace(unsigned, identities=tuple(one.public for one in identities))
    vector, tape = np.zeros(3, np.int64), SeededTape(b"client")
    backend.client(signed, "c1", vector, identity=identities[1], tape=tape)
    for cohort, identity, complaint in (
        (signed, None, "identity is None: the cohort pins identities"),
        (signed, identities[2], "is not the one that the cohort pins for client 'c1'"),
        (unsigned, identities[1], "the cohort pins none: nobody else in this round would sign"),
    ):
        with pytest.raises(LocalError, match=complaint):
            backend.client(cohort, "c1", vector, identity=identity, tape=tape)


# Greetings.

Forge = Callable[[Cohort, bytes, Identity], bytes]


def signed_content(cohort: Cohort, index: int, key: bytes) -> bytes:
    """Spec section 7.1: digest, index, link key."""
    return cohort.digest + index.to_bytes(4, "little") + key


def by(
    signer: Identity | None = None,
    usage: Usage = Usage.LINK_GREETING,
    index: int = LIAR,
    key: bytes = b"",
    **cohort_changes: Any,
) -> Forge:
    """A signature as it should be, but for what is given."""

    def forge(cohort: Cohort, link_key: bytes, own: Identity) -> bytes:
        content = signed_content(replace(cohort, **cohort_changes), index, key or link_key)
        return (signer or own).sign(usage, content)

    return forge


FORGERIES: dict[str, Forge] = {
    "none": lambda *_: b"",
    "zeros": lambda *_: bytes(SIGNATURE_BYTES),
    "cut": lambda *given: by()(*given)[:-1],
    "a stranger's": by(STRANGER),
    "for another usage": by(usage=Usage.KEY_ADVERTISEMENT),
    "for another member": by(index=LIAR + 1),
    "of another key": by(key=bytes(32)),
    "of another round": by(round=2),
    "of another session": by(session=bytes(16)),
    "of another model": by(model_hash=bytes(32)),
    "of another cohort": by(members=tuple("abcdef")),
}


class Greets:
    """A backend one of whose clients greets with another signature, over its own link."""

    def __init__(self, backend: Backend, forge: Forge) -> None:
        self._backend = backend
        self._forge = forge

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def client(self, cohort: Cohort, me: str, *rest: Any, **named: Any) -> Any:
        party: Any = self._backend.client(cohort, me, *rest, **named)
        if cohort.index(me) == LIAR:
            key = party._greeting[:32]
            assert party._greeting == key + by()(cohort, key, named["identity"])
            party._greeting = key + self._forge(cohort, key, named["identity"])
        return party


@pytest.mark.parametrize("name", FORGERIES)
def test_a_greeting_that_the_member_did_not_sign(make: Any, rig: SimpleNamespace, name: str) -> None:
    outcome = rig.play(
        lambda: Greets(make(), FORGERIES[name]),
        rig.vectors(N, 40, 16),
        cohort=rig.cohort(make, N, 40, 16),
        identities=rig.identities(N),
    )
    outcome.require_exact()
    assert outcome.survivors == OTHERS
    assert outcome.rejected[LIAR].check == "link"
    reason = "its link key is not signed by the identity that the roster has for it"
    assert outcome.rejected[LIAR].reason == reason


def test_the_genuine_greeting_in_its_place_is_taken(make: Any, rig: SimpleNamespace) -> None:
    """The forgeries above fail for what is wrong with them, not for the way they are made."""
    outcome = rig.play(
        lambda: Greets(make(), by()),
        rig.vectors(N, 40, 16),
        cohort=rig.cohort(make, N, 40, 16),
        identities=rig.identities(N),
    )
    outcome.require_exact()
    assert outcome.survivors == tuple(range(N))


@pytest.mark.parametrize("signed", [False, True])
def test_an_impostor_that_speaks_first(make: Any, rig: SimpleNamespace, signed: bool) -> None:
    """With keys of its own, in a member's name: where nobody signs, only the transport could tell."""
    vectors = [vector * 0 for vector in rig.vectors(N, 11, 16)]
    identities = rig.identities(N) if signed else ()
    cohort = rig.cohort(make, N, 11, 16, identities=tuple(one.public for one in identities))
    inner = make()._client(cohort, f"c{LIAR}", vectors[0] + 5, (), SeededTape(b"impostor"))
    inner.identity = STRANGER if signed else None
    (first,) = LinkedParty.client(inner, cohort, SeededTape(b"its link"), inner.identity).start()

    def speak_first(message: Message) -> list[Message]:
        mine = (message.sender, message.phase) == (client_id(LIAR), first.phase)
        return [first, message] if mine else [message]

    outcome = rig.play(make, vectors, identities=identities, tamper=speak_first)
    if signed:
        outcome.require_exact()
        assert outcome.survivors == tuple(range(N))
        assert outcome.rejected == {}
    else:
        assert LIAR not in outcome.survivors or outcome.total.tolist() == [5] * 11


@pytest.mark.parametrize(
    "changes", [{"round": 2}, {"session": bytes(16)}, {"model_hash": bytes(32)}], ids=str
)
def test_first_messages_of_another_round(
    make: Any, backend: Backend, rig: SimpleNamespace, changes: dict[str, Any]
) -> None:
    """Genuine and signed, relabelled as of this round: refused, and the member counts as not heard."""
    vectors, identities = rig.vectors(N, 11, 16), rig.identities(N)
    earlier = rig.cohort(make, N, 11, 16, **changes)
    records = rig.play(
        make, vectors, cohort=earlier, identities=identities, keep_payloads=True
    ).transcript.records
    cohort = rig.cohort(make, N, 11, 16)
    old = next(r.message for r in records if r.sender == client_id(LIAR))
    old = replace(old, session=cohort.session, round=cohort.round)

    def swap(message: Message) -> list[Message]:
        return [old] if (message.sender, message.phase) == (client_id(LIAR), old.phase) else [message]

    outcome = rig.play(make, vectors, identities=identities, tamper=swap)
    outcome.require_exact()
    assert outcome.survivors == OTHERS
    assert outcome.rejected[LIAR].check == "link"


def test_helpers_sign_nothing(make: Any, rig: SimpleNamespace) -> None:
    """Their long-term link keys are pinned already."""
    vectors = rig.vectors(N, 11, 16)
    sizes = []
    for identities in ((), rig.identities(N)):
        records = rig.play(make, vectors, identities=identities).transcript.records
        helpers = (Role.AGGREGATOR, Role.KEY_HOLDER)
        sizes.append([r.size for r in records if r.sender.role in helpers])
    assert sizes[0] == sizes[1]
