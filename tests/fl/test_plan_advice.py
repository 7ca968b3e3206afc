"""fl.plan_advice: what is said where too much is asked of a round helps."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fl.plan import Request, plan
from fl.plan_advice import accepts, highest
from mpc.errors import LocalError
from secagg.masking.parameters import Adversary, Tolerance


@pytest.mark.parametrize("threshold", [None, 0.7])
@pytest.mark.parametrize("adversary", [Adversary.MALICIOUS, Adversary.SEMI_HONEST])
@pytest.mark.parametrize("name", ["corrupt", "dropout"])
@pytest.mark.parametrize("clients", [9, 30, 123])
def test_the_advice_is_the_most_that_is_withstood(
    clients: int, name: str, adversary: Adversary, threshold: float | None
) -> None:
    def withstood(fraction: float) -> bool:
        changed = Tolerance(**(asked | {name: fraction}), adversary=adversary)
        thresholds = range(2, clients + 1) if threshold is None else [threshold]
        return any(accepts(clients, one, changed) for one in thresholds)

    asked = {"corrupt": 0.2, "dropout": 0.2} | {name: 0.9}
    assert not withstood(0.9)
    most = highest(clients, threshold, Tolerance(**asked, adversary=adversary), name)
    assert most is not None
    assert withstood(most)
    assert not withstood(math.floor(most * clients + 2) / clients)  # four digits may round one client away


@pytest.mark.parametrize(
    ("tolerance", "threshold", "advice"),
    [
        (Tolerance(0.05, 0.9), 0.7, "lower --dropout to at most 0.3"),
        (Tolerance(0.05, 0.9), 0.5, "lower --dropout to at most 0.47 with --threshold 53"),
        (Tolerance(0.4, 0.4), 0.7, "lower --corrupt to at most 0.19 .*60, or --dropout to at most 0.29 .*71"),
        (Tolerance(0, 0.6), 0.7, "lower --dropout to at most 0.3"),
        (Tolerance(0.7, 0.7, Adversary.SEMI_HONEST), 30, "lower --corrupt to at most 0.29, or --dropout to"),
        (Tolerance(0, 0.99, Adversary.NONE), 0.7, "lower --dropout to at most 0.3"),
    ],
)
def test_where_no_graph_withstands_it_what_to_lower_is_said(
    tolerance: Tolerance, threshold: float, advice: str
) -> None:
    with pytest.raises(LocalError, match=rf"^(corrupt|dropout) is 0\..*of 100 clients .*{advice}"):
        plan(Request(100, 100, 16, tolerance, threshold=threshold))


def test_where_lowering_one_does_not_help_both_are_to_be_lowered() -> None:
    with pytest.raises(LocalError, match=r"lower --corrupt to 0 and --dropout to 0"):
        plan(Request(2, 100, 16, Tolerance(0.6, 0.6)))


def followed(asked: Request, way: str) -> Request:
    """``asked`` with what one way of an advice says in its place."""
    told = re.findall(r"--(\w+) to (?:at most )?([\d.]+)", way)
    changed = {name: float(value) for name, value in told}
    corrupt, dropout = (changed.get(name, getattr(asked.tolerance, name)) for name in ("corrupt", "dropout"))
    tolerance = replace(asked.tolerance, corrupt=corrupt, dropout=dropout)
    threshold = re.search(r"with --threshold (\d+)", way)
    return replace(asked, tolerance=tolerance, threshold=int(threshold[1]) if threshold else asked.threshold)


@given(
    clients=st.integers(2, 150),
    corrupt=st.floats(0, 0.99),
    dropout=st.floats(0, 0.99),
    threshold=st.one_of(st.floats(0.01, 1), st.integers(0, 200), st.just(2 / 3)),
    adversary=st.sampled_from(Adversary),
)
@example(clients=3, corrupt=0.05, dropout=0.05, threshold=2 / 3, adversary=Adversary.MALICIOUS)
@example(clients=100, corrupt=0.05, dropout=0.9, threshold=2 / 3, adversary=Adversary.MALICIOUS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_an_advice_that_is_followed_gives_a_plan(
    clients: int, corrupt: float, dropout: float, threshold: float, adversary: Adversary
) -> None:
    tolerance = Tolerance(0.0 if adversary is Adversary.NONE else corrupt, dropout, adversary)
    asked = Request(clients, 10, 16, tolerance, threshold)
    try:
        plan(asked)
    except LocalError as error:
        if error.argument == "threshold":
            told = re.findall(r"at (?:least|most) (\d+)", error.bound)
            assert len(told) == 2
            changed = [replace(asked, threshold=int(one)) for one in told]
        else:
            changed = [followed(asked, way) for way in error.bound.split("lower ")[1].split(", or ")]
        for one in changed:
            assert one != asked
            plan(one)
