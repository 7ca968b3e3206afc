"""A listing: what its digests bind, and its tables against slow loops (spec sections 12.1 and 12.4)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.prg import Usage, tag
from secagg import Cohort, Masking
from secagg.masking import Tolerance
from secagg.masking.graph import Graph
from secagg.masking.listing import Listing, graph_parameters
from secagg.masking.parameters import GraphParameters

ROOT = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Fixed(Tolerance):
    """A graph of this degree and threshold, whatever it stands."""

    degree: int = 2
    shares: int = 2

    def parameters(self, members: int, listed: int | None = None) -> GraphParameters:
        count = members if listed is None else listed
        return GraphParameters(count, self.degree, self.shares, self.shares, 0.0, -math.inf)


@pytest.fixture(scope="module")
def cohort(rig: SimpleNamespace) -> Cohort:
    return rig.cohort(Masking(), 30, 3, 16)


def bitmap(indices: Iterable[int], size: int) -> bytes:
    return sum(1 << index for index in indices).to_bytes((size + 7) // 8, "little")


# What is bound.


@pytest.mark.parametrize(
    ("tolerance", "degree", "threshold"), [(None, 28, 20), (Fixed(degree=6, shares=5), 6, 5)], ids=str
)
def test_the_digests_are_those_of_the_specification(
    cohort: Cohort, tolerance: Tolerance | None, degree: int, threshold: int
) -> None:
    members = tuple(index for index in range(30) if index != 7)
    listing = Listing(cohort, tolerance, members, ROOT)
    assert (listing.graph.degree, listing.threshold) == (degree, threshold)
    content = tag(Usage.LISTING) + cohort.digest + ROOT + degree.to_bytes(4, "little")
    content += threshold.to_bytes(4, "little") + bitmap(members, 30)
    assert listing.digest == hashlib.sha256(content).digest()
    dealt = tag(Usage.DEALING) + listing.digest + bitmap((0, 3, 29), 30)
    assert listing.dealing((0, 3, 29)) == hashlib.sha256(dealt).digest()


def test_the_digest_binds_cohort_root_members_degree_and_threshold(cohort: Cohort) -> None:
    everybody, sparse = tuple(range(30)), Fixed(degree=6, shares=5)
    digests = [
        Listing(cohort, sparse, everybody, ROOT).digest,
        Listing(replace(cohort, round=4), sparse, everybody, ROOT).digest,
        Listing(replace(cohort, model_hash=bytes(32)), sparse, everybody, ROOT).digest,
        Listing(cohort, sparse, everybody, bytes(32)).digest,
        Listing(cohort, sparse, everybody[:-1], ROOT).digest,
        Listing(cohort, sparse, everybody[1:], ROOT).digest,
        Listing(cohort, Fixed(degree=8, shares=5), everybody, ROOT).digest,
        Listing(cohort, Fixed(degree=6, shares=6), everybody, ROOT).digest,
        Listing(cohort, None, everybody, ROOT).digest,
    ]
    assert len(set(digests)) == len(digests)


def test_the_dealing_digest_binds_the_listing_and_the_dealers(cohort: Cohort) -> None:
    listing = Listing(cohort, None, tuple(range(30)), ROOT)
    other = Listing(cohort, None, tuple(range(30)), bytes(32))
    found = [listing.dealing(range(30)), listing.dealing(range(29)), listing.dealing(range(1, 30))]
    found += [other.dealing(range(30)), listing.dealing(()), listing.digest]
    assert len(set(found)) == len(found)


def test_the_graph_is_drawn_from_the_digest(cohort: Cohort) -> None:
    """So that another listing has another graph, of which the server cannot foresee anything."""
    members = tuple(range(2, 30))
    for root in (ROOT, bytes(32)):
        listing = Listing(cohort, Fixed(degree=6, shares=5), members, root)
        expected = Graph.harary(members, 6, listing.digest)
        assert all(listing.graph.holders(member) == expected.holders(member) for member in members)


# Degree and threshold.


def test_degree_and_threshold_are_those_for_the_members_that_are_listed(rig: SimpleNamespace) -> None:
    """And for as many corrupt ones and dropouts as the whole cohort has."""
    tolerance = Tolerance(0.015, 0.05)
    cohort = rig.cohort(Masking(tolerance=tolerance), 60, 3, 16)
    for listed in (60, 59, 50, 40):
        found = Listing(cohort, tolerance, range(listed), ROOT)
        expected = tolerance.parameters(60, listed)
        assert (found.graph.degree, found.threshold) == (expected.degree, expected.threshold)
        assert graph_parameters(cohort, tolerance, listed) == expected
    assert graph_parameters(cohort, tolerance) == tolerance.parameters(60)
    assert graph_parameters(cohort, None) is None


def test_a_complete_graph_has_the_threshold_of_the_cohort(rig: SimpleNamespace) -> None:
    for tolerance in (None, Tolerance(0.0, 0.3)):
        cohort = rig.cohort(Masking(), 10, 3, 16)
        assert graph_parameters(cohort, tolerance) is None
        listing = Listing(cohort, tolerance, range(1, 10), ROOT)
        assert (listing.graph.degree, listing.threshold) == (8, cohort.threshold)


def test_too_few_for_the_tolerance(rig: SimpleNamespace) -> None:
    tolerance = Tolerance(0.0, 0.4)
    cohort = rig.cohort(Masking(0.6, tolerance=tolerance), 10, 3, 16)
    Listing(cohort, tolerance, range(10), ROOT)
    with pytest.raises(LocalError, match="corrupt and dropout is"):
        Listing(cohort, tolerance, range(6), ROOT)


# Tables.

members = st.sets(st.integers(0, 29), min_size=6, max_size=30).map(sorted)
degrees = st.sampled_from([2, 4, 6, 8, 0])


def listing_of(cohort: Cohort, listed: list[int], degree: int, shares: int = 2) -> Listing:
    """``degree``: 0 for the complete graph, as too large a one is."""
    sparse = 0 < degree < len(listed) - 1
    return Listing(cohort, Fixed(degree=degree, shares=shares) if sparse else None, listed, ROOT)


@given(listed=members, degree=degrees)
def test_tables_say_what_the_graph_says(rig: SimpleNamespace, listed: list[int], degree: int) -> None:
    listing = listing_of(rig.cohort(Masking(), 30, 3, 16), listed, degree)
    graph = listing.graph
    holders = [graph.holders(member) for member in listed]
    assert listing.holders.shape == listing.places.shape == (len(listed), graph.degree + 1)
    for rank, member in enumerate(listed):
        assert listing.rank[member] == rank
        assert listing.holders_of(rank) == holders[rank]
        assert [listed[holder] for holder in listing.holders[rank]] == list(holders[rank])
        for holder, place in zip(listing.holders[rank], listing.places[rank], strict=True):
            assert holders[holder][place] == member


@given(listed=members, degree=degrees, data=st.data())
def test_neighbours_are_those_of_the_graph_among_some(
    rig: SimpleNamespace, listed: list[int], degree: int, data: st.DataObject
) -> None:
    listing = listing_of(rig.cohort(Masking(), 30, 3, 16), listed, degree)
    some = data.draw(st.sets(st.sampled_from(listed)))
    mask = listing.mask(some)
    assert mask.tolist() == [member in some for member in listed]
    for rank, member in enumerate(listed):
        found, places = listing.neighbours(rank, mask)
        names = [listed[one] for one in found]
        assert names == [one for one in listing.graph.neighbours(member) if one in some]
        for one, place in zip(names, places, strict=True):
            assert listing.graph.holders(one)[place] == member


def slow_core(listing: Listing, some: set[int]) -> set[int]:
    """Take out one that has too few holders left, until there is none."""
    left = set(some)
    while True:
        for one in sorted(left):
            if len(left.intersection(listing.graph.holders(one))) < listing.threshold:
                left.remove(one)
                break
        else:
            return left


@given(listed=members, degree=degrees, shares=st.integers(2, 9), data=st.data())
def test_the_core_is_what_is_left_when_nobody_has_to_go(
    rig: SimpleNamespace, listed: list[int], degree: int, shares: int, data: st.DataObject
) -> None:
    listing = listing_of(rig.cohort(Masking(), 30, 3, 16, threshold=6), listed, degree, shares)
    some = data.draw(st.sets(st.sampled_from(listed)))
    found = listing.core(sorted(some))
    assert all(type(index) is int for index in found)
    assert list(found) == sorted(slow_core(listing, some))


def test_the_core_is_the_largest_part_in_which_everybody_has_enough_holders(cohort: Cohort) -> None:
    listing = listing_of(cohort, list(range(9)), degree=4, shares=4)
    everybody = range(9)

    def stable(part: tuple[int, ...]) -> bool:
        return all(len(set(part) & set(listing.graph.holders(one))) >= 4 for one in part)

    parts = [part for size in range(10) for part in combinations(everybody, size) if stable(part)]
    for gone in [*combinations(everybody, 1), *combinations(everybody, 2), *combinations(everybody, 3)]:
        some = set(everybody) - set(gone)
        largest = set().union(*(part for part in parts if set(part) <= some))
        assert set(listing.core(sorted(some))) == largest


def test_one_that_goes_can_take_all_along(cohort: Cohort) -> None:
    """On a circle on which everybody needs both neighbours."""
    listing = listing_of(cohort, list(range(12)), degree=2, shares=3)
    assert listing.core(range(12)) == tuple(range(12))
    assert listing.core(range(11)) == ()


def test_tables_of_a_large_cohort_are_small(rig: SimpleNamespace) -> None:
    """Four bytes for each holder of each member."""
    cohort = rig.cohort(Masking(), 5000, 3, 16)
    listing = Listing(cohort, Fixed(degree=40, shares=30), range(5000), ROOT)
    assert listing.holders.nbytes == listing.places.nbytes == 4 * 41 * 5000
    rows = np.arange(5000)[:, None]
    assert (listing.holders[listing.holders, listing.places] == rows).all()
