"""Random graphs at parameters that the finder gives for weak targets: what goes wrong, and how often."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from secagg.masking.graph import Graph
from secagg.masking.parameters import Adversary, Risk, find


def parts(nodes: set[int], neighbours: list[set[int]]) -> int:
    """Connected components, by union-find."""
    leader = {node: node for node in nodes}

    def lead(node: int) -> int:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    for node in nodes:
        for other in nodes & neighbours[node]:
            leader[lead(node)] = lead(other)
    return len({lead(node) for node in nodes})


@pytest.mark.parametrize(
    ("n", "corrupt", "dropout"), [(40, 0.25, 0.15), (40, 0.4, 0.3), (60, 0.4, 0.2), (80, 0.3, 0.3)]
)
def test_simulated_graphs_fail_and_leak_no_more_often_than_stated(
    n: int, corrupt: float, dropout: float
) -> None:
    found = find(n, corrupt, dropout, Adversary.SEMI_HONEST, privacy_bits=6, failure_bits=6)
    spied, dropped, trials = round(corrupt * n), round(dropout * n), 600
    generator = np.random.default_rng([n, spied, dropped])
    # As found, then far too sparse, so that everything that can go wrong does.
    for degree, threshold in ((found.degree, found.threshold), (6, 4)):
        risk = Risk(n, spied, dropped, Adversary.SEMI_HONEST)
        failed = exposed = divided = 0
        for _ in range(trials):
            graph = Graph.harary(range(n), degree, generator.bytes(32))
            neighbours = [set(graph.neighbours(index)) for index in range(n)]
            roles = generator.permutation(n).tolist()
            spies, gone = set(roles[:spied]), set(roles[spied : spied + dropped])
            failed += any(len(({i} | neighbours[i]) - gone) < threshold for i in range(n))
            exposed += any(len(spies & neighbours[i]) >= threshold for i in roles[spied:])
            divided += parts(set(roles[spied + dropped :]), neighbours) > 1
        for seen, bound in (
            (failed, risk.failure_log2(degree, threshold)),
            (exposed, risk.exposed_log2(degree, threshold)),
            (divided, risk.disconnected_log2(degree)),
        ):
            expected = trials * min(1.0, 2.0**bound)
            assert seen <= expected + 4 * math.sqrt(expected)
            # The union counts a bad graph once for each bad client in it: a few times too often, not more.
            assert seen >= expected / 8 - 4 * math.sqrt(expected / 8)


@pytest.mark.parametrize(
    ("n", "corrupt", "dropout"), [(60, 0.2, 0.1), (80, 0.15, 0.1), (100, 0.25, 0.05), (100, 0.1, 0.1)]
)
def test_simulated_circles_hold_no_more_windows_than_stated(n: int, corrupt: float, dropout: float) -> None:
    found = find(n, corrupt, dropout, Adversary.MALICIOUS, privacy_bits=6, failure_bits=6, grinding_bits=0)
    k, t, trials = found.degree, found.threshold, 8000
    generator = np.random.default_rng([n, k, t])
    circles = np.zeros((trials, n), np.int64)
    circles[:, : round(corrupt * n)] = 1
    circles = generator.permuted(circles, axis=1)
    upto = np.pad(np.concatenate([circles, circles], axis=1).cumsum(axis=1), ((0, 0), (1, 0)))

    def most(width: int) -> NDArray[np.int64]:
        """Corrupt clients in the worst window of each circle."""
        windows: NDArray[np.int64] = (upto[:, width : width + n] - upto[:, :n]).max(axis=1)
        return windows

    rates = [
        float(np.mean((most(k + 1 - d) >= 2 * t - k - 1 - d) | (d - most(d) <= k + 1 - t)))
        for d in range(k // 2 + 1)
    ]
    bound = 2.0**found.privacy_error_log2
    assert bound <= 2**-6
    assert bound / 20 < min(rates) <= bound + 4 * math.sqrt(bound / trials)
