"""Rooms with one honest client, and rounds that can be repeated, on either graph."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from secagg import Masking
from secagg.masking import Tolerance
from tests.secagg.masking.room import GRAPHS, VECTOR, Room
from tests.secagg.masking.setting import LENGTH, SETTINGS, Kept, Setting


@pytest.fixture(scope="session")
def rooms(rig: SimpleNamespace) -> Callable[..., Room]:
    """``rooms(graph, signed=…, threshold=…, tolerance=…)``: a new room of one of ``GRAPHS``, or of that
    tolerance."""

    def enter(
        graph: str, *, signed: bool = False, threshold: int = 0, tolerance: Tolerance | None = None
    ) -> Room:
        members, usual, usual_tolerance = GRAPHS[graph]
        threshold, tolerance = threshold or usual, tolerance or usual_tolerance
        identities = rig.identities(members) if signed else []
        pinned = tuple(one.public for one in identities)
        cohort = rig.cohort(Masking(), members, len(VECTOR), 16, threshold=threshold, identities=pinned)
        return Room(cohort, rig.link_key, tolerance, identities)

    return enter


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def room(rooms: Callable[..., Room], graph: str) -> Room:
    return rooms(graph)


@pytest.fixture(scope="module", params=SETTINGS)
def setting(request: pytest.FixtureRequest, rig: SimpleNamespace) -> Setting:
    members, what = SETTINGS[request.param]
    tolerance = {"none": None, "spared": rig.spared, "real": Tolerance(0.015, 0.05)}[what]
    backend = Kept(tolerance=tolerance)
    rig.play(backend, rig.vectors(members, LENGTH, 16)).require_exact()
    holders = {index: client._holders for index, client in backend.clients.items()}
    threshold = backend.clients[0]._listing.threshold
    return Setting(rig, members, tolerance, len(holders[0]) - threshold, threshold, holders)
