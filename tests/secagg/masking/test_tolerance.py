"""What a masking backend is told to withstand, and what follows for its cohort (spec section 12.7)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mpc.errors import LocalError
from mpc.party import Role
from secagg import Masking
from secagg.masking import Adversary, Tolerance
from secagg.masking.parameters import find

MALICIOUS, SEMI_HONEST, NONE = "malicious", "semi-honest", "none"


@pytest.mark.parametrize("value", [-0.01, 1, 1.0, 1.5, math.nan, math.inf, True, "0.1", None])
@pytest.mark.parametrize("name", ["corrupt", "dropout"])
def test_a_fraction_that_is_none_is_named(name: str, value: Any) -> None:
    with pytest.raises(LocalError, match=rf"^{name} is .*: must be a fraction in \[0, 1\)"):
        Tolerance(**{name: value})


@pytest.mark.parametrize("value", ["", "Malicious", "honest", 1, None])
def test_an_adversary_that_is_unknown_is_named(value: Any) -> None:
    with pytest.raises(LocalError, match=r"^adversary is .*: must be one of none, semi-honest, malicious"):
        Tolerance(0.0, 0.1, value)


@pytest.mark.parametrize("adversary", Adversary)
def test_an_adversary_may_be_told_by_its_name(adversary: Adversary) -> None:
    found = Tolerance(0.0, 0.1, adversary.value)  # type: ignore[arg-type]
    assert found.adversary is adversary
    assert found == Tolerance(0.0, 0.1, adversary)


def test_a_tolerance_is_a_value_that_does_not_change() -> None:
    tolerance = Tolerance()
    assert tolerance == Tolerance(0.05, 0.05, Adversary.MALICIOUS)
    assert hash(tolerance) == hash(Tolerance(0.05, 0.05))
    with pytest.raises(AttributeError):
        tolerance.corrupt = 0.5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("corrupt", "dropout", "members", "counts"),
    [
        (0.05, 0.05, 60, (3, 3)),
        (0.05, 0.05, 61, (4, 4)),
        (0.05, 0.05, 19, (1, 1)),
        (0.05, 0.05, 20, (1, 1)),
        (0.29, 0.07, 100, (29, 7)),  # as floats a little less and a little more
        (0.0, 0.999, 10, (0, 10)),
        (1e-6, 0.0, 100, (1, 0)),
        (1 / 3, 2 / 3, 9, (3, 6)),
    ],
)
def test_counts_are_rounded_up(corrupt: float, dropout: float, members: int, counts: tuple[int, int]) -> None:
    assert Tolerance(corrupt, dropout).counts(members) == counts


@pytest.mark.parametrize("adversary", [MALICIOUS, SEMI_HONEST])
@pytest.mark.parametrize("listed", [None, 100, 99, 70, 51])
def test_the_counts_are_those_of_the_cohort_however_many_are_listed(
    adversary: Any, listed: int | None
) -> None:
    """Whom the server leaves out are honest clients, for all that a client knows."""
    tolerance, n = Tolerance(0.05, 0.08, adversary), 100 if listed is None else listed
    expected = find(n, 5 / n, 8 / n, Adversary(adversary))
    assert tolerance.parameters(100, listed) == expected
    assert expected.members == n


def test_leaving_clients_out_never_lowers_what_a_threshold_asks_for() -> None:
    """Fewer are listed, and as many are corrupt: the share of the holders that have to agree goes up."""
    tolerance = Tolerance(0.05, 0.0)
    shares = [
        (found.threshold / found.holders)
        for found in (tolerance.parameters(1000, listed) for listed in (1000, 800, 600))
    ]
    assert all(share > 0.75 for share in shares)
    degrees = [tolerance.parameters(1000, listed).degree for listed in (1000, 800, 600)]
    assert degrees == sorted(degrees)


@pytest.mark.parametrize("listed", [2, 10, 30])
def test_too_few_listed_for_what_is_tolerated(listed: int) -> None:
    with pytest.raises(LocalError, match=r"^(listed|corrupt and dropout) is"):
        Tolerance(0.3, 0.1).parameters(100, listed)


def test_corrupt_clients_without_an_adversary_are_a_contradiction() -> None:
    tolerance = Tolerance(0.05, 0.05, NONE)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match=r"^corrupt is 0\.05: must be 0 where there is no adversary"):
        Masking(tolerance=tolerance).resolve_threshold(100)


# The backend.


@pytest.mark.parametrize("value", [0.05, (0.05, 0.05), "malicious", Tolerance])
def test_masking_takes_a_tolerance_and_nothing_else(value: Any) -> None:
    with pytest.raises(LocalError, match=r"^tolerance is .*: must be an instance of Tolerance"):
        Masking(tolerance=value)


@pytest.mark.parametrize("members", [20, 60, 61, 100])
@pytest.mark.parametrize(("corrupt", "dropout"), [(0.0, 0.0), (0.05, 0.05), (0.1, 0.2), (0.05, 0.3)])
def test_thresholds_lie_where_one_sum_is_opened_and_dropouts_are_survived(
    members: int, corrupt: float, dropout: float
) -> None:
    """2T > N + G: else the members of two survivor sets could each be a threshold; T ≤ N - D."""
    tolerance = Tolerance(corrupt, dropout)
    spies, gone = tolerance.counts(members)

    def goes(threshold: int) -> bool:
        try:
            return Masking(threshold, tolerance=tolerance).resolve_threshold(members) == threshold
        except LocalError:
            return False

    taken = [threshold for threshold in range(2, members + 1) if goes(threshold)]
    assert taken == [t for t in range(2, members + 1) if 2 * t > members + spies and t <= members - gone]
    assert taken


@pytest.mark.parametrize(("adversary", "least"), [(SEMI_HONEST, 6), (NONE, 2), (MALICIOUS, 53)])
def test_who_follows_the_protocol_asks_for_less(adversary: Any, least: int) -> None:
    tolerance = Tolerance(0.0 if adversary == NONE else 0.05, 0.05, adversary)
    assert Masking(least, tolerance=tolerance).resolve_threshold(100) == least
    if least > 2:
        with pytest.raises(LocalError, match=rf"5 may be corrupt: must be at least {least}"):
            Masking(least - 1, tolerance=tolerance).resolve_threshold(100)


@pytest.mark.parametrize(
    ("threshold", "members", "complaint"),
    [
        (0.5, 40, "^threshold is 0.5: of 40 clients 2 may be corrupt: must be at least 22"),
        (21, 40, "^threshold is 21: of 40 clients 2 may be corrupt: must be at least 22"),
        (0.5, 10, "^threshold is 0.5: of 10 clients 1 may be corrupt: must be at least 6"),
        (0.96, 40, "^threshold is 0.96: of 40 clients 2 may drop out: must be at most 38"),
        (39, 40, "^threshold is 39: of 40 clients 2 may drop out: must be at most 38"),
        (41, 40, "^threshold is 41: must be at most the cohort's 40 clients"),
    ],
)
def test_a_threshold_that_does_not_go_with_the_tolerance_is_named(
    threshold: float, members: int, complaint: str
) -> None:
    with pytest.raises(LocalError, match=complaint):
        Masking(threshold, tolerance=Tolerance(0.05, 0.05)).resolve_threshold(members)


def test_a_tolerance_that_no_threshold_goes_with_is_refused() -> None:
    for members in (10, 100):
        for threshold in range(2, members + 1):
            with pytest.raises(LocalError):
                Masking(threshold, tolerance=Tolerance(0.34, 0.34)).resolve_threshold(members)


def test_half_of_the_cohort_is_never_enough_against_a_liar() -> None:
    with pytest.raises(LocalError, match="must be more than half of the 40 clients"):
        Masking(0.5, tolerance=Tolerance(0.0, 0.1)).resolve_threshold(40)


def test_the_leakage_says_what_is_assumed() -> None:
    plain = Masking().leakage
    assert "fewer than 2 · threshold - n clients" in plain.assumption
    lying = Masking(tolerance=Tolerance(0.1, 0.05)).leakage
    assert "may lie" in lying.assumption
    assert "at most 0.1 of the cohort's clients" in lying.assumption
    curious = Masking(tolerance=Tolerance(0.125, 0.05, SEMI_HONEST)).leakage  # type: ignore[arg-type]
    assert "may lie" not in curious.assumption
    assert "follow the protocol" in curious.assumption
    assert "at most 0.125 of the cohort's clients" in curious.assumption
    nobody = Masking(tolerance=Tolerance(0.0, 0.05, NONE)).leakage  # type: ignore[arg-type]
    assert nobody.assumption.startswith("nobody works together")
    for leakage in (lying, curious, nobody):
        assert (leakage.learns, leakage.hides) == (plain.learns, plain.hides)
    assert Masking().leakage == plain


def test_a_backend_says_what_it_tolerates() -> None:
    found = repr(Masking(0.75, tolerance=Tolerance(0.1, 0.05)))
    assert found.startswith("Masking(threshold=0.75, tolerance=Tolerance(corrupt=0.1, dropout=0.05")
    assert repr(Masking(0.75)) == "Masking(threshold=0.75)"


def test_a_clients_bytes_grow_with_its_holders_and_not_with_the_cohort(rig: Any) -> None:
    """But for the bitmaps and the depth of the tree."""
    sent, heard = [], []
    for members in (1000, 8000):
        backend = Masking(tolerance=Tolerance(0.0, 0.01))
        cost = backend.cost(rig.cohort(backend, members, 10, 16))
        sent.append(cost.sent_by_each(Role.CLIENT, members))
        heard.append(cost.received_by_each(Role.CLIENT, members))
    # Degree 20 and 22; 875 bytes more in each of three bitmaps, three more hashes for each holder.
    assert sent[1] < 1.15 * sent[0]
    assert heard[1] < 2 * heard[0]
    complete = Masking()
    cost = complete.cost(rig.cohort(complete, 8000, 10, 16))
    assert cost.sent_by_each(Role.CLIENT, 8000) > 50 * sent[1]
