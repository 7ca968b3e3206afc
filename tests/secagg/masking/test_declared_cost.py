"""What a masking backend declares to cross the network is the table of spec section 12.2."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mpc.errors import LocalError
from mpc.party import overhead
from mpc.tape import SeededTape
from secagg import Masking
from secagg.cohort import KEY_BYTES
from secagg.link import TAG_BYTES
from secagg.masking import Tolerance


def blob(size: int, *label: object) -> bytes:
    return SeededTape(repr(label).encode()).read(size)


@pytest.mark.parametrize("signed", [False, True])
def test_declared_cost_on_a_sparse_graph(rig: SimpleNamespace, signed: bool) -> None:
    """Degree 12 among 60, and a proof as long as 13 of 60 leaves can need: 13 + 13 + 8 + 4 + 2 + 2 - 13."""
    n, length, k, proof = 60, 1000, 12, 29
    backend = Masking(tolerance=Tolerance(1 / 60, 0.05))
    identities = tuple(blob(32, f"identity {index}") for index in range(n)) if signed else ()
    cohort = rig.cohort(backend, n, length, 16, identities=identities)
    cost, signature, packed = backend.cost(cohort), 64 if signed else 0, -(-cohort.sum_bits * length // 8)
    expected = {
        ("advertise-keys", "CLIENT"): 64 + signature + KEY_BYTES + signature,
        ("share-keys", "SERVER"): 64 + 8 + (64 + signature) * (k + 1) + 32 * proof,
        ("share-keys", "CLIENT"): 32 + 32 * (k + 1) + 96 * k,
        ("masked-input", "SERVER"): 8 + 128 * k,
        ("masked-input", "CLIENT"): packed,
        ("consistency", "SERVER"): 8,
        ("consistency", "CLIENT"): 16 * k,
        ("unmask", "SERVER"): 2 + 16 * k,
        ("unmask", "CLIENT"): 2 + 40 * (k + 1),
    }
    found = {(link.phase, link.sender.name): link.size for link in cost.links}
    assert (cost.rounds, {link.messages for link in cost.links}) == (5, {n})
    assert found == {
        (phase, sender): size + overhead(phase, TAG_BYTES) for (phase, sender), size in expected.items()
    }


@pytest.mark.parametrize("signed", [False, True])
def test_declared_cost_is_the_table_of_the_specification(rig: SimpleNamespace, signed: bool) -> None:
    n, length = 10, 1000
    identities = tuple(blob(32, f"identity {index}") for index in range(n)) if signed else ()
    cohort = rig.cohort(Masking(), n, length, 16, identities=identities)
    cost = Masking().cost(cohort)
    assert cost.rounds == 5
    signature = 64 if signed else 0
    bitmap, packed = 2, -(-cohort.sum_bits * length // 8)
    expected = {
        ("advertise-keys", "CLIENT"): 64 + signature + KEY_BYTES + signature,
        ("share-keys", "SERVER"): 64 + bitmap + (64 + signature) * n,
        ("share-keys", "CLIENT"): 32 + 32 * n + 96 * (n - 1),
        ("masked-input", "SERVER"): bitmap + 128 * (n - 1),
        ("masked-input", "CLIENT"): packed,
        ("consistency", "SERVER"): bitmap,
        ("consistency", "CLIENT"): 16 * (n - 1),
        ("unmask", "SERVER"): bitmap + 16 * (n - 1),
        ("unmask", "CLIENT"): bitmap + 40 * n,
    }
    found = {(link.phase, link.sender.name): link.size for link in cost.links}
    assert found == {
        (phase, sender): size + overhead(phase, TAG_BYTES) for (phase, sender), size in expected.items()
    }


@pytest.mark.parametrize(
    ("threshold", "members", "complaint"),
    [
        (0.5, 10, "threshold is 0.5: must be more than half of the 10 clients"),
        (5, 10, "threshold is 5: must be more than half of the 10 clients"),
        (0.01, 5, "threshold is 0.01: must be more than half of the 5 clients"),
        (11, 10, "threshold is 11: must be at most the cohort's 10 clients"),
    ],
)
def test_thresholds_that_would_open_a_client_are_refused(
    threshold: float, members: int, complaint: str
) -> None:
    with pytest.raises(LocalError, match=complaint):
        Masking(threshold).resolve_threshold(members)
