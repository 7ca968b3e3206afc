"""Whole rounds on the graphs that real tolerances give; the contract suite runs on smaller ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.party import SERVER, client_id
from mpc.tape import SeededTape
from secagg import InsecurePlain, Masking
from secagg.masking import Adversary, Tolerance
from tests.secagg.masking.setting import Kept

SEMI_HONEST = Adversary.SEMI_HONEST
# Members, tolerance; degree and threshold that follow; how many may drop out.
TOLERANCES = [
    (40, Tolerance(0.0, 0.0), 4, 4, 0),
    (60, Tolerance(0.015, 0.05), 12, 10, 3),
    (60, Tolerance(0.05, 0.05), 16, 14, 3),
    (40, Tolerance(0.0, 0.05, SEMI_HONEST), 4, 2, 2),
    (100, Tolerance(0.05, 0.05, SEMI_HONEST), 12, 6, 5),
]
PHASES = Masking.client_phases


def backend_of(tolerance: Tolerance) -> Masking:
    return Masking(tolerance=tolerance)


@pytest.mark.parametrize(("members", "tolerance", "degree", "threshold", "spare"), TOLERANCES)
def test_nobody_goes(
    rig: SimpleNamespace, members: int, tolerance: Tolerance, degree: int, threshold: int, spare: int
) -> None:
    backend, vectors = Kept(tolerance=tolerance), rig.vectors(members, 11, 16)
    outcome = rig.play(backend, vectors)
    outcome.require_exact()
    assert outcome.survivors == tuple(range(members))
    assert outcome.transcript.refusals == []
    assert tolerance.counts(members)[1] == spare
    listing = backend.clients[0]._listing
    assert (listing.degree, listing.threshold) == (degree, threshold)
    assert {len(client._holders) for client in backend.clients.values()} == {degree + 1}
    assert rig.sparse_holders(backend, outcome.cohort) == degree + 1
    rig.declared(backend, outcome)
    plain = rig.play(InsecurePlain(), vectors)
    assert np.array_equal(outcome.total, plain.total)


@given(which=st.integers(1, len(TOLERANCES) - 1), data=st.data())
@settings(max_examples=6)
def test_as_many_go_as_are_tolerated_whenever_they_go(
    rig: SimpleNamespace, which: int, data: st.DataObject
) -> None:
    members, tolerance, _, _, spare = TOLERANCES[which]
    clients, phases = st.integers(0, members - 1), st.sampled_from(PHASES)
    drop = data.draw(st.dictionaries(clients, phases, min_size=spare, max_size=spare))
    outcome = rig.play(backend_of(tolerance), rig.vectors(members, 3, 16), drop=drop)
    outcome.require_exact()
    gone = {index for index, phase in drop.items() if PHASES.index(phase) <= PHASES.index("masked-input")}
    assert set(outcome.survivors) == set(range(members)) - gone
    assert outcome.rejected == {}


@pytest.mark.parametrize("gone", [1, 7, 20])
def test_who_has_not_advertised_is_on_no_graph(rig: SimpleNamespace, gone: int) -> None:
    """Any number down to the threshold; degree and threshold are those for who is left."""
    members, tolerance = 60, Tolerance(0.015, 0.05)
    backend = Kept(tolerance=tolerance)
    absent = {3 * index for index in range(gone)}
    drop = dict.fromkeys(absent, "advertise-keys")
    outcome = rig.play(backend, rig.vectors(members, 11, 16), drop=drop)
    outcome.require_exact()
    assert set(outcome.survivors) == set(range(members)) - absent
    expected = tolerance.parameters(members, members - gone)
    for index in outcome.survivors:
        client = backend.clients[index]
        assert (client._listing.degree, client._listing.threshold) == (expected.degree, expected.threshold)
        assert not absent.intersection(client._holders)


def test_too_few_have_advertised_for_what_is_tolerated(rig: SimpleNamespace) -> None:
    tolerance = Tolerance(0.0, 0.4)
    drop = dict.fromkeys(range(3), "advertise-keys")
    outcome = rig.play(Masking(0.6, tolerance=tolerance), rig.vectors(10, 3, 16), drop=drop)
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("too few clients advertised keys: ")


def test_small_cohorts_get_the_complete_graph(rig: SimpleNamespace) -> None:
    backend = Kept(tolerance=Tolerance(0.0, 0.3))
    outcome = rig.play(
        backend, rig.vectors(10, 11, 16), drop={0: "unmask", 4: "share-keys", 9: "consistency"}
    )
    outcome.require_exact()
    assert {len(client._holders) for client in backend.clients.values()} == {10}
    honest = rig.play(backend, rig.vectors(10, 11, 16))
    assert backend.cost(honest.cohort).traffic() == honest.transcript.traffic()


@pytest.mark.parametrize("number", range(3))
def test_in_any_order_of_delivery(rig: SimpleNamespace, number: int) -> None:
    order = SeededTape(f"order {number}".encode())
    vectors = rig.vectors(60, 11, 16)
    outcome = rig.play(backend_of(Tolerance(0.015, 0.05)), vectors, shuffle=order, drop={7: "unmask"})
    outcome.require_exact()
    assert outcome.survivors == tuple(range(60))


def test_members_that_sign(rig: SimpleNamespace) -> None:
    backend = backend_of(Tolerance(0.015, 0.05))
    outcome = rig.play(backend, rig.vectors(60, 11, 16), identities=rig.identities(60))
    outcome.require_exact()
    rig.declared(backend, outcome)


def test_a_client_hears_of_its_holders_and_of_nobody_else(rig: SimpleNamespace) -> None:
    """But for who takes part: all that the server sends it is as long as that takes."""
    backend = Kept(tolerance=Tolerance(0.015, 0.05))
    outcome = rig.play(backend, rig.vectors(60, 11, 16), keep_payloads=True)
    public = {index: client._mask.public for index, client in backend.clients.items()}
    for index in range(0, 60, 7):
        view: Any = outcome.transcript.view(client_id(index))
        heard = b"".join(bytes(record.message.payload) for record in view)
        shown = {other for other, key in public.items() if key in heard}
        assert shown == set(backend.clients[index]._holders)
        assert {record.sender for record in view} == {SERVER}
