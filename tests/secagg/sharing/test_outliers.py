"""Rounds in which clients are compared: who is refused, that the rest is summed, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import secagg
from mpc import field
from mpc.errors import LocalError
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.tape import SeededTape
from secagg.checks import CosineClusters, Direction, MultiKrum, NormBound
from secagg.encoding import FixedPoint
from secagg.sharing import SecretSharing
from secagg.sharing.messages import INPUT, RELAY, RelayedShare
from secagg.sharing.sketch import gram_bound
from tests.secagg.sharing import compared
from tests.secagg.sharing.compared import BITS, BOUND, COORDINATES, NORM, PLAN, Keeping, Watching

Play = Callable[..., Any]


@pytest.fixture
def play(rig: SimpleNamespace) -> Play:
    """``play(backend, vectors, rule, …)``: a round with the norm bound and this rule."""

    def run(made: Any, vectors: Any, rule: Any, **options: Any) -> Any:
        return rig.play(made, vectors, bits=BITS, checks=[NORM, rule], **options)

    return run


def relayed_seed(outcome: Any, made: SecretSharing, rule: Any) -> bytes:
    """The seed that all shares are relayed with."""
    cohort = outcome.cohort
    challenge = made._scheme(cohort, [NORM, rule]).challenge_bytes
    records = [r for r in outcome.transcript.records if r.phase == RELAY and r.fate == "delivered"]
    seeds = {
        RelayedShare.decode(record.message.payload, cohort.size, challenge, 32).seed for record in records
    }
    (seed,) = seeds
    return seed


@pytest.mark.parametrize(("aggregators", "clients"), [(2, 3), (2, 9), (3, 6), (5, 4)])
def test_the_gram_matrix_is_exactly_that_of_the_plain_vectors(
    play: Play, aggregators: int, clients: int
) -> None:
    made, rule, vectors = compared.backend(aggregators), Watching(projections=16), compared.vectors(clients)
    outcome = play(made, vectors, rule, keep_payloads=True)
    outcome.require_exact()
    ((gram, names),) = rule.shown
    assert names == outcome.cohort.members
    sketching = made._sketching(outcome.cohort, [NORM, rule])
    assert sketching is not None
    rows = compared.sketches(sketching, relayed_seed(outcome, made, rule), vectors)
    np.testing.assert_array_equal(gram, (rows.T @ rows).astype(np.float64) * sketching.unit)


def test_sketches_are_of_the_update_alone(rig: SimpleNamespace) -> None:
    """Neither weight nor metrics make a client look far away."""
    plan = FixedPoint(1.0, BITS).plan((20, 44), clients=40, max_weight=2000, metrics={"loss": 1.0})
    rule, grams = Watching(), []
    rule.plan = plan
    for tail in ([1, 0], [1999, 2000]):
        vectors = [np.concatenate([vector[:-1], tail]) for vector in compared.vectors(4)]
        checks = [NormBound(0.9, plan), rule]
        outcome = rig.play(compared.backend(), vectors, bits=BITS, checks=checks)
        outcome.require_exact()
        grams.append(rule.shown[-1][0])
        assert len(outcome.survivors) == 4
    np.testing.assert_array_equal(*grams)


def krum_of_the_vectors(vectors: Any, byzantine: int) -> set[int]:
    """Who is refused where exact distances decide."""
    rows = np.array([vector[:COORDINATES] for vector in vectors], float)
    count = len(rows)
    distances = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    scores = np.sort(distances, axis=1)[:, 1 : count - byzantine - 1].sum(axis=1)
    return {int(place) for place in np.argsort(scores)[count - byzantine :]}


def attacker(kind: str, updates: list[Any], rng: Any) -> Any:
    match kind:
        case "sign flip":
            return -updates[0]
        case "scaled within the bound":
            return 0.97 * compared.unit(-np.mean(updates, axis=0))
        case "random":
            return 0.9 * compared.unit(rng.normal(size=COORDINATES))
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "rule", [MultiKrum(2, plan=PLAN), CosineClusters(distance=0.5, plan=PLAN)], ids=lambda r: r.name
)
@pytest.mark.parametrize("kind", ["sign flip", "scaled within the bound", "random"])
@pytest.mark.parametrize("seed", range(3))
def test_attackers_are_refused(play: Play, rule: Any, kind: str, seed: int) -> None:
    rng, updates = np.random.default_rng([seed, 1]), compared.honest(9, seed)
    for place in (1, 6):
        updates[place] = attacker(kind, [updates[0], *updates[2:6], *updates[7:]], rng)
    vectors = [compared.encoded(update) for update in updates]
    outcome = play(compared.backend(), vectors, rule, seed=b"attack %d" % seed)
    outcome.require_exact()
    assert set(outcome.rejected) == {1, 6}
    assert outcome.survivors == (0, 2, 3, 4, 5, 7, 8)
    assert krum_of_the_vectors(vectors, 2) == {1, 6}
    for rejection in outcome.rejected.values():
        assert rejection.check == rule.name
        values = [value for key, value in rejection.evidence.items() if key in ("score", "distance")]
        assert values[0] > rejection.evidence["bound"]
        assert f"{rejection.evidence['bound']:.4g}"[:4] in rejection.reason


@pytest.mark.parametrize("aggregators", [2, 3])
def test_aggregate_does_it_all(aggregators: int) -> None:
    updates = {f"c{i}": [update[:20], update[20:]] for i, update in enumerate(compared.honest(9))}
    updates["c4"] = [-tensor for tensor in updates["c4"]]
    updates["c8"] = [3 * tensor for tensor in updates["c8"]]
    result = secagg.aggregate(
        updates,
        backend=SecretSharing(aggregators, threshold=5),
        checks=[NormBound(l2=1.0), MultiKrum(byzantine=2)],
        drop={"c0": "input"},
        tape=SeededTape(b"protocol"),
    )
    assert result.declined.keys() == {"c8"}  # too long
    assert "c4" in result.rejected
    assert len(result.survivors) == 5  # seven proved it, two of them are refused
    assert {why.check for why in result.rejected.values()} == {"multi-krum"}
    for place in (0, 1):
        mean = np.mean([updates[name][place] for name in result.survivors], axis=0)
        np.testing.assert_allclose(result.mean[place], mean, atol=1e-3)


def test_a_rule_that_keeps_nobody_ends_the_round(play: Play) -> None:
    vectors = [compared.encoded(u) for u in (*compared.honest(3), *(-u for u in compared.honest(3)))]
    outcome = play(compared.backend(), vectors, CosineClusters(plan=PLAN))
    assert outcome.abort is not None
    assert "check 'cosine-clusters': no cluster holds more than 0.5" in outcome.abort.reason


def test_too_few_that_are_kept_end_the_round(play: Play) -> None:
    outcome = play(compared.backend(threshold=6), compared.vectors(6), MultiKrum(1, plan=PLAN))
    assert outcome.abort is not None
    assert "5 of 6 clients were kept by multi-krum; the threshold is 6" in outcome.abort.reason


# How good sketches are, and that they do not wrap around.


def sketching_for(rule: Any, clients: int, rig: SimpleNamespace) -> Any:
    made = compared.backend()
    return made._sketching(rig.cohort(made, clients, PLAN.length, BITS), [NORM, rule])


@pytest.mark.parametrize("projections", [32, 128])
def test_distances_are_right_on_average_and_as_spread_as_stated(
    rig: SimpleNamespace, projections: int
) -> None:
    sketching = sketching_for(MultiKrum(0, projections=projections, plan=PLAN), 5, rig)
    vectors = compared.vectors(12)
    ratios = []
    for number in range(40):
        rows = compared.sketches(sketching, bytes([number]) * 32, vectors).astype(float)
        for i in range(0, 12, 2):
            estimate = ((rows[:, i] - rows[:, i + 1]) ** 2).sum() * 2 / projections
            ratios.append(estimate / ((vectors[i] - vectors[i + 1]) ** 2).sum())
    assert abs(np.mean(ratios) - 1) < 4 * math.sqrt(2 / projections / len(ratios))
    assert 0.7 * math.sqrt(2 / projections) < np.std(ratios) < 1.15 * math.sqrt(2 / projections)


@pytest.mark.parametrize("projections", [8, 128])
def test_no_sketch_is_longer_than_assumed(rig: SimpleNamespace, projections: int) -> None:
    """Of vectors on the bound: in one coordinate, in all, and in some."""
    sketching = sketching_for(MultiKrum(0, projections=projections, plan=PLAN), 5, rig)
    assert sketching.bound == gram_bound(BOUND, COORDINATES, projections) <= field.MAX_SIGNED
    single = np.eye(COORDINATES)[3]
    for update in (single, compared.unit(np.ones(COORDINATES)), compared.unit(compared.honest(1)[0])):
        for number in range(20):
            rows = compared.sketches(sketching, bytes([number]) * 32, [compared.encoded(update)])
            assert int((rows * rows).sum()) <= sketching.bound


def test_the_bound_is_certain_for_few_coordinates_and_likely_for_many() -> None:
    assert gram_bound(10, 1, 128) == 128 * 100
    assert gram_bound(1000, 10**6, 128) == math.ceil((128 + 2 * math.sqrt(12800) + 200) / 2) * 10**6
    assert gram_bound(2**27, 10**6, 128) <= field.MAX_SIGNED < gram_bound(2**28, 10**6, 128)


@pytest.mark.parametrize(
    ("checks", "complaint"),
    [
        (lambda plan: [MultiKrum(0)], "checks is 'multi-krum': needs a NormBound"),
        (lambda plan: [NormBound(1.0), MultiKrum(0), CosineClusters()], "one rule on outliers a round"),
        (lambda plan: [NormBound(1.0), MultiKrum(2)], "takes a cohort of 7 or more"),
        (lambda plan: [NormBound(1.0), MultiKrum(0, keep=6)], "takes a cohort of 6 or more"),
        (lambda plan: [NormBound(1.0, plan), MultiKrum(0, plan=replace(plan, max_weight=2))], "round's plan"),
    ],
)
def test_rules_that_cannot_be(checks: Any, complaint: str) -> None:
    updates = {f"c{i}": [update] for i, update in enumerate(compared.honest(5))}
    plan = FixedPoint().plan((COORDINATES,), clients=5)
    with pytest.raises(LocalError, match=complaint):
        secagg.aggregate(updates, backend=SecretSharing(), checks=checks(plan))


def test_a_bound_under_which_products_wrap_is_refused() -> None:
    updates = {f"c{i}": [np.full(400, 0.01 * i)] for i in range(5)}
    options: Any = {"backend": SecretSharing(), "encoding": FixedPoint(1.0, 31)}
    with pytest.raises(LocalError, match=r"norm bound in steps is \d+: inner products of 128 projections"):
        secagg.aggregate(updates, checks=[NormBound(0.8), MultiKrum(0)], **options)


def test_any_check_that_bounds_the_norm_will_do(rig: SimpleNamespace) -> None:
    updates = compared.honest(5, noise=0.2)
    direction = Direction([updates[0][:20], updates[0][20:]], 0.3, PLAN)
    vectors = [compared.encoded(update) for update in updates]
    outcome = rig.play(compared.backend(), vectors, bits=BITS, checks=[direction, Keeping()])
    outcome.require_exact()
    assert len(outcome.survivors) == 5


def test_without_a_dealer_there_is_no_comparison(rig: SimpleNamespace) -> None:
    public = compared.backend().public_keys
    made, cohort = SecretSharing(public_keys=public), rig.cohort(compared.backend(), 5, PLAN.length, BITS)
    with pytest.raises(LocalError, match="a rule on outliers takes a dealer: give its key"):
        made.server(cohort, link_key=rig.link_key, checks=[NORM, Keeping()], tape=SeededTape(b""))
    made.server(cohort, link_key=rig.link_key, checks=[NORM], tape=SeededTape(b""))
    pinned = SecretSharing(threshold=2, public_keys=public, dealer=compared.backend().dealer_key)
    pinned.server(cohort, link_key=rig.link_key, checks=[NORM, Keeping()], tape=SeededTape(b""))
    key = compared.backend()._private[0]  # type: ignore[index]
    alone = pinned.aggregator(cohort, 0, key, checks=[NORM, Keeping()], tape=SeededTape(b""))
    assert alone.id == compared.aggregator(0)
    assert (
        compared.backend().dealer(cohort, checks=[NORM, Keeping()], tape=SeededTape(b"")).id
        == compared.DEALER
    )
    with pytest.raises(LocalError, match="plays the dealer needs its private key"):
        pinned.dealer(cohort, checks=[NORM, Keeping()], tape=SeededTape(b""))
    with pytest.raises(LocalError, match="have no rule that takes a dealer"):
        compared.backend().dealer(cohort, checks=[NORM], tape=SeededTape(b""))
    with pytest.raises(LocalError, match=r"dealer is .*: an X25519 public key has 32 bytes"):
        SecretSharing(dealer=b"short")


# What crosses.


@pytest.mark.parametrize(("aggregators", "clients"), [(2, 2), (2, 7), (3, 5), (4, 3)])
def test_the_declared_cost_is_what_crosses(
    play: Play, rig: SimpleNamespace, aggregators: int, clients: int
) -> None:
    made, rule = compared.backend(aggregators), Keeping()
    outcome = play(made, compared.vectors(clients), rule)
    outcome.require_exact()
    rig.declared(made, outcome, [NORM, rule])
    assert {record.phase for record in outcome.transcript.records} <= set(made.phases)


def test_the_declared_cost_in_parts_and_in_any_order(play: Play, rig: SimpleNamespace) -> None:
    for number in range(4):
        made, rule = compared.backend(3, max_message_bytes=1024), Keeping()
        shuffle = SeededTape(b"order %d" % number)
        outcome = play(made, compared.vectors(18), rule, shuffle=shuffle)
        outcome.require_exact()
        assert outcome.survivors == tuple(range(18))
        assert max(record.size for record in outcome.transcript.records) == 1024
        rig.declared(made, outcome, [NORM, rule])


def test_no_limit_is_below_what_helpers_send(rig: SimpleNamespace) -> None:
    """Of many clients and short vectors, matrices are longer than anything else in a round."""
    made, rule = compared.backend(), MultiKrum(0, projections=1000, plan=PLAN)
    cohort = rig.cohort(made, 3000, PLAN.length, BITS)
    server = made._server(cohort, [NORM, rule], SeededTape(b"server"))
    costs = [link for link in made._cost(cohort, [NORM, rule])[1] if link.receiver is Role.SERVER]
    assert {link.sender for link in costs} == {Role.CLIENT, Role.AGGREGATOR, Role.DEALER}
    for link in costs:
        if link.sender is not Role.CLIENT:
            assert server.payload_limit(PartyId(link.sender, 0), link.phase) >= link.size


def test_without_a_rule_nothing_of_this_crosses(rig: SimpleNamespace) -> None:
    vectors = compared.vectors(4)
    one = rig.play(compared.backend(), vectors, bits=BITS, checks=[NORM], keep_payloads=True)
    public = SecretSharing(private_keys=compared.backend()._private, threshold=2)
    other = rig.play(public, vectors, bits=BITS, checks=[NORM], keep_payloads=True)
    first, second = ([r.message.encode() for r in run.transcript.records] for run in (one, other))
    assert first == second


def test_a_tape_determines_every_byte(play: Play) -> None:
    def bytes_of(seed: bytes) -> list[bytes]:
        outcome = play(compared.backend(), compared.vectors(4), Keeping(), seed=seed, keep_payloads=True)
        return [record.message.encode() for record in outcome.transcript.records]

    assert bytes_of(b"one") == bytes_of(b"one")
    assert not set(bytes_of(b"one")) & set(bytes_of(b"two"))


def test_those_who_drop_out_or_cannot_prove_are_not_compared(play: Play) -> None:
    vectors = compared.vectors(7)
    vectors[5] = vectors[5] * 3
    rule = Watching()
    outcome = play(compared.backend(), vectors, rule, drop={2: INPUT})
    outcome.require_exact()
    assert rule.shown[0][1] == ("c0", "c1", "c3", "c4", "c6")
    assert rule.shown[0][0].shape == (5, 5)
    assert outcome.survivors == (0, 1, 3, 4, 6)


def test_a_late_share_costs_that_client(play: Play) -> None:
    def missed(message: Message) -> int:
        return int(message.phase == RELAY and bytes(message.payload[:4]) == (1).to_bytes(4, "little"))

    rule = Watching()
    outcome = play(compared.backend(), compared.vectors(5), rule, delay=missed)
    outcome.require_exact()
    assert outcome.survivors == (0, 2, 3, 4)
    assert outcome.rejected[1].check == "link"
    assert rule.shown[0][1] == ("c0", "c2", "c3", "c4")


# Parties that are saved.


class Renewed:
    """A party that is dumped, thrown away and loaded after each message to it."""

    def __init__(self, party: Any, load: Any) -> None:
        self._party, self._load, self._lives = party, load, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._party, name)

    def receive(self, message: Message) -> list[Message]:
        messages = self._party.receive(message)
        data, self._lives = self._party.dump(), self._lives + 1
        self._party = self._load(data, SeededTape(f"{self._party.id} {self._lives}".encode()))
        assert self._party.dump() == data
        return list(messages)


class Renewing:
    """A backend all of whose parties are renewed all the time; each is given a rule that knows nothing."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def server(self, cohort: Any, **named: Any) -> Any:
        made = self._backend.server(cohort, **named)
        rest = {"link_key": named["link_key"], "checks": named["checks"]}
        return Renewed(made, lambda data, tape: self._backend.load_server(cohort, data, tape=tape, **rest))

    def helpers(self, cohort: Any, *, checks: Any, tape: Any) -> Any:
        def load(who: Any) -> Any:
            return lambda data, tape: self._backend.load_helper(cohort, who, data, checks=checks, tape=tape)

        made = self._backend.helpers(cohort, checks=checks, tape=tape)
        return {who: Renewed(helper, load(who)) for who, helper in made.items()}


@pytest.mark.parametrize("aggregators", [2, 3])
def test_everybody_is_renewed_all_the_time(play: Play, rig: SimpleNamespace, aggregators: int) -> None:
    updates = compared.honest(6)
    updates[2] = -updates[2]
    vectors = [compared.encoded(update) for update in updates]
    plain = play(compared.backend(aggregators), vectors, MultiKrum(1, plan=PLAN), drop={4: INPUT})
    again = rig.play(
        lambda: Renewing(compared.backend(aggregators)),
        vectors,
        bits=BITS,
        checks=[NORM, MultiKrum(1, plan=PLAN)],
        drop={4: INPUT},
        cohort=plain.cohort,
    )
    again.require_exact()
    assert again.survivors == plain.survivors == (0, 1, 3, 5)
    assert again.rejected == plain.rejected
    assert again.rejected.keys() == {2}


def test_a_dump_fits_a_party_with_the_same_rule_only(rig: SimpleNamespace) -> None:
    made, checks = compared.backend(), [NORM, Keeping()]
    cohort, tape = rig.cohort(made, 5, PLAN.length, BITS), SeededTape(b"again")
    helpers = made.helpers(cohort, checks=checks, tape=tape)
    assert set(helpers) == {compared.aggregator(0), compared.aggregator(1), compared.DEALER}
    data = helpers[compared.DEALER].dump()
    made.load_helper(cohort, compared.DEALER, data, checks=checks, tape=tape)
    with pytest.raises(LocalError, match="checks of the dump"):
        made.load_helper(cohort, compared.DEALER, data, checks=[NORM, MultiKrum(0, plan=PLAN)], tape=tape)
    with pytest.raises(LocalError, match="who is 'dealer 0': must be one of aggregator 0, aggregator 1"):
        made.load_helper(cohort, compared.DEALER, data, checks=[NORM], tape=tape)
    for who in (client_id(0), SERVER):
        with pytest.raises(LocalError, match="must be one of aggregator 0, aggregator 1, dealer 0"):
            made.load_helper(cohort, who, data, checks=checks, tape=tape)


def test_offline_dealers_are_named(play: Play) -> None:
    outcome = play(compared.backend(), compared.vectors(4), Keeping(), offline=[compared.DEALER])
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("dealer 0 did not take part in the comparison")
