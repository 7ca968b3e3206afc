"""Neighbourhoods on a seeded circle, against a circle laid out client by client."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.prg import Keystream, Usage, derive_key
from secagg.masking.graph import Graph

deterministic = settings(derandomize=True, deadline=None, max_examples=60)
SEED = bytes(range(32))


def slow_circle(members: list[int], degree: int, seed: bytes) -> list[int]:
    context = len(members).to_bytes(4, "little") + degree.to_bytes(4, "little")
    stream = Keystream(derive_key(seed, Usage.GRAPH, context))
    return sorted(members, key=lambda member: int.from_bytes(stream.read(8), "little"))


def connected(nodes: set[int], graph: Graph) -> bool:
    reached, frontier = set(), [min(nodes)]
    while frontier:
        node = frontier.pop()
        if node not in reached:
            reached.add(node)
            frontier += nodes.intersection(graph.neighbours(node))
    return reached == nodes


@given(
    members=st.sets(st.integers(0, 500), min_size=4, max_size=60).map(sorted),
    half=st.integers(1, 10),
    seed=st.binary(min_size=32, max_size=32),
)
@deterministic
def test_neighbours_stand_next_to_each_other_on_the_circle(
    members: list[int], half: int, seed: bytes
) -> None:
    graph = Graph.harary(members, 2 * half, seed)
    circle, count = slow_circle(members, 2 * half, seed), len(members)
    if 2 * half >= count - 1:
        expected = {member: set(members) - {member} for member in members}
    else:
        expected = {
            member: {circle[(place + step) % count] for step in range(-half, half + 1)} - {member}
            for place, member in enumerate(circle)
        }
    for member in members:
        found = graph.neighbours(member)
        assert all(type(neighbour) is int for neighbour in found)
        assert list(found) == sorted(expected[member])
        assert len(found) == graph.degree == min(2 * half, count - 1)
        assert all(member in graph.neighbours(neighbour) for neighbour in found)


@pytest.mark.parametrize("degree", [2, 6, 40])
def test_holders_are_the_neighbours_and_the_member_itself(degree: int) -> None:
    members = list(range(3, 63, 2))
    graph = Graph.harary(members, degree, SEED)
    table = graph.all_holders()
    for rank, member in enumerate(members):
        holders = graph.holders(member)
        assert holders == tuple(sorted({member, *graph.neighbours(member)}))
        assert [members[holder] for holder in table[rank]] == list(holders)
    assert table.shape == (30, min(degree, 29) + 1)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_the_complete_graph(count: int) -> None:
    members = list(range(1, 3 * count, 3))
    for graph in (Graph.complete(members), Graph.harary(members, count + count % 2, SEED)):
        assert (graph.size, graph.degree) == (count, count - 1)
        for member in members:
            assert list(graph.neighbours(member)) == [other for other in members if other != member]


def test_it_takes_two_windows_of_half_a_neighbourhood_to_cut_it() -> None:
    members, degree = list(range(12)), 4
    graph = Graph.harary(members, degree, SEED)
    circle = slow_circle(members, degree, SEED)
    assert all(connected(set(members) - set(gone), graph) for gone in combinations(members, degree - 1))
    cuts = [gone for gone in combinations(members, degree) if not connected(set(members) - set(gone), graph)]
    windows = [{circle[place], circle[(place + 1) % 12]} for place in range(12)]
    pairs = {frozenset(a | b) for a, b in combinations(windows, 2) if len(a | b) == degree}
    # Side by side they are one window: of 54 pairs that do not overlap, 12 leave the rest connected.
    assert len(cuts) == 54 - 12
    assert set(map(frozenset, cuts)) < pairs


def test_every_pair_is_joined_equally_often() -> None:
    trials, members, degree = 4000, list(range(7)), 2
    joined: Counter[tuple[int, int]] = Counter()
    for trial in range(trials):
        graph = Graph.harary(members, degree, hashlib.sha256(b"%d" % trial).digest())
        joined.update((a, b) for a in members for b in graph.neighbours(a) if a < b)
    share = degree / (len(members) - 1)
    deviation = (trials * share * (1 - share)) ** 0.5
    assert len(joined) == 21
    assert all(abs(count - trials * share) < 4.5 * deviation for count in joined.values())


def test_the_order_is_the_specified_one() -> None:
    graph = Graph.harary(range(10), 4, SEED)
    assert [graph.neighbours(index) for index in (0, 9)] == [(3, 4, 8, 9), (0, 2, 3, 4)]


def test_a_hundred_thousand_clients() -> None:
    members = range(0, 300_000, 3)
    graph = Graph.harary(members, 200, SEED)
    for index in (0, 149_997, 299_997):
        found = graph.neighbours(index)
        assert len(set(found)) == 200
        assert index not in found
        assert all(index in graph.neighbours(neighbour) for neighbour in found)
        assert set(found) != set(Graph.harary(members, 200, bytes(32)).neighbours(index))
    held = sum(getattr(getattr(graph, slot), "nbytes", 0) for slot in Graph.__slots__)
    assert held < 10_000 + 3 * 8 * len(members)  # no list of edges


@pytest.mark.parametrize(
    ("members", "degree", "seed", "argument"),
    [
        (range(10), 3, SEED, "degree"),
        (range(10), 0, SEED, "degree"),
        (range(10), -2, SEED, "degree"),
        (range(10), 4, SEED[:-1], r"len\(seed\)"),
        ([0], 2, SEED, "number of members"),
        ([], 2, SEED, "number of members"),
        ([2, 1, 3, 4, 5], 2, SEED, "members"),
        ([1, 1, 2, 3, 4], 2, SEED, "members"),
        ([-1, 1, 2, 3, 4], 2, SEED, "members"),
    ],
)
def test_misuse_is_named(members: list[int], degree: int, seed: bytes, argument: str) -> None:
    with pytest.raises(LocalError, match=f"^{argument} is"):
        Graph.harary(members, degree, seed)


@pytest.mark.parametrize("index", [-1, 1, 20, 21])
def test_strangers_have_no_neighbours(index: int) -> None:
    graph = Graph.harary(range(0, 20, 2), 4, SEED)
    with pytest.raises(LocalError, match=r"^index is .* not one of the 10 members"):
        graph.neighbours(index)
