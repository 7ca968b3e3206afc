"""Every attack, on every backend: the attacker is named, with a reason, and the others' sum is exact."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from fl.attacks import Attack, WithInsiders, choose_attackers, corrupted, out_of_range, wrong_length
from fl.config import ATTACKS, MALFORMED
from mpc.errors import LocalError
from mpc.party import SERVER, Message, client_id
from mpc.tape import SeededTape
from secagg import ACCEPT, AbortError, AggregateResult, Check, Conditions, FixedPoint, Masking, aggregate
from secagg.backend import Backend
from secagg.cohort import Cohort
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing

SESSION = bytes(range(16))
NAMES = ("ana", "bo", "cy", "dee", "eve", "fay", "gil")
ATTACKERS = frozenset({"bo", "eve"})
BITS = 12
BACKENDS: dict[str, Callable[[], Backend]] = {
    "plain": lambda: InsecurePlain(threshold=0.55),
    "masking": lambda: Masking(threshold=0.55),
    "paillier": lambda: Paillier(minimum=0.55, insecure_key_bits=512),
    "paillier-3": lambda: ThresholdPaillier(3, 2, minimum=0.55, insecure_key_bits=256),
    "sharing": lambda: SecretSharing(aggregators=2, threshold=0.55),
    "sharing-3": lambda: SecretSharing(aggregators=3, threshold=0.55),
}
REASONS = {
    ("wrong-length", name): ("structural", r"wrong length: \d+ bytes in phase '.*', where \d+ were due")
    for name in BACKENDS
} | {
    ("out-of-range", "plain"): ("structural", "an entry is out of range"),
    ("out-of-range", "masking"): ("structural", "public key of small order"),
    ("out-of-range", "paillier"): ("structural", r"not in \(0, n²\)"),
    ("out-of-range", "paillier-3"): ("structural", r"not in \(0, n²\)"),
    ("out-of-range", "sharing"): ("structural", "not a field element"),
    ("out-of-range", "sharing-3"): ("structural", "not a field element"),
    **{("replayed", name): ("link", "replayed: belongs to another session") for name in BACKENDS},
    **{("corrupt-bytes", name): ("link", "tampered: the link tag does not match") for name in BACKENDS},
}


def ready(name: str) -> Backend:
    """With keys of its own in each test: a key holder opens one sum of a session and round."""
    return BACKENDS[name]().setup(SeededTape(b"setup"))


def updates_of(names: tuple[str, ...], round: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([round, 5])
    return {name: rng.uniform(-1, 1, 31) for name in names}


def run(
    backend: Backend,
    attack: Attack | None,
    *,
    names: tuple[str, ...] = NAMES,
    round: int = 1,
    drop: Mapping[str, str] | None = None,
    **options: Any,
) -> AggregateResult:
    """One round under an attack, or under none."""
    drop = drop or {}
    mounted, tamper = (backend, None) if attack is None else attack.mount(backend, names, drop)
    return aggregate(
        updates_of(names, round),
        backend=mounted,
        encoding=FixedPoint(clip=1.0, bits=BITS),
        weights={name: 3 + place for place, name in enumerate(names)},
        max_weight=20,
        drop=drop,
        session=options.pop("session", SESSION),
        round=round,
        encoder_tape=SeededTape(f"round {round}".encode()),
        conditions=Conditions(tamper=tamper, keep_payloads=True),
        **options,
    )


def oracle(names: tuple[str, ...], survivors: tuple[str, ...], round: int) -> np.ndarray:
    """The survivors' encoded vectors, added up one by one."""
    plan = FixedPoint(clip=1.0, bits=BITS).plan([31], clients=len(names), max_weight=20)
    tape = SeededTape(f"round {round}".encode())
    total = np.zeros(plan.length, np.int64)
    for place, name in enumerate(names):
        update = updates_of(names, round)[name]
        encoded = plan.encode([update], 3 + place, {}, tape.child(name), client=name)
        if name in survivors:
            total += encoded.vector
    return total


@pytest.mark.parametrize("attack", MALFORMED)
@pytest.mark.parametrize("name", BACKENDS)
def test_attackers_are_named_and_the_rest_is_summed(name: str, attack: str) -> None:
    result = run(ready(name), Attack(attack, ATTACKERS), drop={"gil": "input"})
    check, reason = REASONS[attack, name]
    assert set(result.rejected) == ATTACKERS
    for rejection in result.rejected.values():
        assert rejection.check == check
        assert re.search(reason, rejection.reason)
    assert result.survivors == ("ana", "cy", "dee", "fay")
    assert result.dropped == ("gil",)
    np.testing.assert_array_equal(result.encoded_sum, oracle(NAMES, result.survivors, 1))


@pytest.mark.parametrize("attack", MALFORMED)
@pytest.mark.parametrize("name", BACKENDS)
def test_attacks_work_in_every_round(name: str, attack: str) -> None:
    backend, mounted = ready(name), Attack(attack, ATTACKERS)
    for round in (1, 2, 3):
        result = run(backend, mounted, round=round, session=bytes([round // 3]) * 16)
        assert set(result.rejected) == ATTACKERS
        np.testing.assert_array_equal(result.encoded_sum, oracle(NAMES, result.survivors, round))
        reasons = {rejection.reason for rejection in result.rejected.values()}
        if attack == "replayed":
            # From round 1 nothing can be replayed but another session; round 3 is in another one again.
            old = ["another session", "round 1, not 2", "another session"][round - 1]
            assert reasons == {f"replayed: belongs to {old}"}


@pytest.mark.parametrize(("round", "difference"), [(1, -1), (2, 1), (7, -1)])
def test_wrong_length_is_a_byte_short_in_odd_rounds_and_long_in_even_ones(
    round: int, difference: int
) -> None:
    result = run(ready("masking"), Attack("wrong-length", ATTACKERS), round=round)
    evidence = result.rejected["bo"].evidence
    assert evidence["bytes"] == evidence["expected"] + difference


@pytest.mark.parametrize("attack", ["wrong-length", "out-of-range"])
@pytest.mark.parametrize("name", BACKENDS)
def test_an_insider_lies_inside_its_own_link(name: str, attack: str) -> None:
    """Nothing is changed on the way, and every message that an insider sends arrives."""
    result = run(ready(name), Attack(attack, ATTACKERS))
    fates = {record.fate for record in result.transcript.records}
    assert fates == {"delivered"}


@pytest.mark.parametrize("attack", ["replayed", "corrupt-bytes"])
def test_what_happens_on_the_way_happens_to_inputs_only(attack: str) -> None:
    result = run(ready("masking"), Attack(attack, ATTACKERS))
    changed = [(r.sender, r.phase) for r in result.transcript.records if r.fate == "tampered"]
    assert sorted(changed) == [(client_id(1), "masked-input"), (client_id(4), "masked-input")]


@pytest.mark.parametrize("name", BACKENDS)
def test_a_replay_slanders_nobody_where_places_change(name: str) -> None:
    backend, attack = ready(name), Attack("replayed", frozenset({"cy"}))
    run(backend, attack, round=1)
    fewer = NAMES[1:]  # cy is now where bo was
    result = run(backend, attack, names=fewer, round=2)
    assert set(result.rejected) == {"cy"}
    assert result.rejected["cy"].reason == "replayed: belongs to round 1, not 2"
    np.testing.assert_array_equal(result.encoded_sum, oracle(fewer, result.survivors, 2))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", BACKENDS)
def test_an_attacker_that_goes_silent_has_dropped_out(name: str, attack: str) -> None:
    result = run(ready(name), Attack(attack, frozenset({"eve"})), drop={"eve": "input"})
    assert not result.rejected
    assert result.dropped == ("eve",)


@pytest.mark.parametrize("attack", MALFORMED)
@pytest.mark.parametrize("name", BACKENDS)
def test_too_many_attackers_abort_the_round(name: str, attack: str) -> None:
    with pytest.raises(AbortError, match=r"3 of 7 clients .* the threshold is 4") as caught:
        run(ready(name), Attack(attack, frozenset(NAMES[:4])))
    check, reason = REASONS[attack, name]
    assert set(caught.value.evidence["rejected"]) == set(NAMES[:4])
    assert all(re.search(reason, text) for text in caught.value.evidence["rejected"].values())
    assert caught.value.evidence["checks"] == dict.fromkeys(NAMES[:4], check)


def test_absent_attackers_change_nothing() -> None:
    result = run(ready("plain"), Attack("wrong-length", frozenset({"zoe"})))
    assert not result.rejected
    assert result.survivors == NAMES


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(LocalError, match="name is 'bribery': must be one of wrong-length"):
        Attack("bribery", ATTACKERS)


# Choosing attackers.


def test_attackers_are_drawn_by_the_seed() -> None:
    drawn = [choose_attackers(NAMES, 3, seed) for seed in range(60)]
    assert drawn == [choose_attackers(NAMES, 3, seed) for seed in range(60)]
    assert all(len(names) == 3 for names in drawn)
    assert set().union(*drawn) == set(NAMES)
    assert choose_attackers(NAMES, 0, 1) == frozenset()
    assert choose_attackers(NAMES, 7, 1) == frozenset(NAMES)


@pytest.mark.parametrize("count", [-1, 8])
def test_there_are_not_more_attackers_than_clients(count: int) -> None:
    with pytest.raises(LocalError, match=f"count is {count}: must be from 0 to the 7 clients"):
        choose_attackers(NAMES, count, 0)


# The pieces.


def message(phase: str, payload: bytes) -> Message:
    return Message(SESSION, 1, phase, client_id(2), SERVER, payload, bytes(20))


@pytest.mark.parametrize("size", [1, 2, 33, 64])
def test_corruption_flips_one_byte(size: int) -> None:
    honest = message("any", bytes(range(size)))
    bad = corrupted(honest)
    places = [place for place in range(size) if honest.payload[place] != bad.payload[place]]
    assert places == [size // 2]
    assert len(bad.payload) == size
    assert (bad.header(), bad.tag) == (honest.header(), honest.tag)


def cohort_of(backend: Backend) -> Cohort:
    return Cohort(SESSION, 1, NAMES, backend.resolve_threshold(7), 9, BITS, bytes([9]) + bytes(31))


@pytest.mark.parametrize("lie", [wrong_length, out_of_range])
@pytest.mark.parametrize("name", BACKENDS)
def test_lies_leave_other_phases_alone(name: str, lie: Callable[..., Message]) -> None:
    backend = ready(name)
    for phase in ("check", "unmask", "share-keys"):
        honest = message(phase, b"payload")
        assert lie(backend, cohort_of(backend), honest) is honest


def test_out_of_range_is_known_for_bundled_backends_only() -> None:
    backend = WithInsiders(InsecurePlain(), {})
    with pytest.raises(LocalError, match="the attack out-of-range knows the bundled backends only"):
        out_of_range(backend, cohort_of(backend), message("plain-input", bytes(14)))


@pytest.mark.parametrize("name", ["paillier", "paillier-3"])
def test_a_ciphertext_out_of_range_needs_the_key(name: str) -> None:
    backend = BACKENDS[name]()
    with pytest.raises(LocalError, match=r"has no keys yet: call setup\(\)"):
        out_of_range(backend, cohort_of(backend), message("encrypted-input", bytes(128)))


# The wrapper.


@pytest.mark.parametrize("name", BACKENDS)
def test_without_insiders_the_wrapper_changes_no_byte(name: str) -> None:
    inner = (BACKENDS[name](), WithInsiders(BACKENDS[name](), {}))
    direct, wrapped = (run(backend, None, tape=SeededTape(b"tape")) for backend in inner)
    np.testing.assert_array_equal(direct.encoded_sum, wrapped.encoded_sum)
    sent = [
        [record.message.encode() for record in result.transcript.records if record.message]
        for result in (direct, wrapped)
    ]
    assert sent[0] == sent[1]
    assert sent[0]


@pytest.mark.parametrize("name", BACKENDS)
def test_the_wrapper_is_its_backend_in_all_else(name: str) -> None:
    inner = ready(name)
    wrapped = WithInsiders(inner, {"ana": wrong_length})
    assert (wrapped.name, wrapped.phases, wrapped.client_phases) == (
        inner.name,
        inner.phases,
        inner.client_phases,
    )
    assert (wrapped.input_phase, wrapped.leakage) == (inner.input_phase, inner.leakage)
    assert (wrapped.minimum, wrapped.minimum_argument) == (inner.minimum, inner.minimum_argument)
    assert wrapped.resolve_threshold(9) == inner.resolve_threshold(9)
    assert wrapped.cost(cohort_of(inner)) == inner.cost(cohort_of(inner))


def test_the_wrapper_keeps_the_rules_of_its_backend_for_thresholds() -> None:
    with pytest.raises(LocalError, match="must be more than half"):
        WithInsiders(Masking(threshold=0.5), {}).resolve_threshold(8)


class Recorder(Check):
    """Accepts everything, and remembers whom it was asked about."""

    name = "recorder"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def on_message(self, cohort: Cohort, client: str, message: Message) -> Any:
        self.asked.append(client)
        return ACCEPT

    def on_inputs_frozen(self, cohort: Cohort, survivors: Sequence[str], seed: bytes) -> Any:
        self.frozen = tuple(survivors)
        return ()


@pytest.mark.parametrize("name", BACKENDS)
def test_checks_see_the_others_and_never_an_insiders_input(name: str) -> None:
    check = Recorder()
    result = run(ready(name), Attack("wrong-length", ATTACKERS), checks=[check])
    assert check.frozen == result.survivors == ("ana", "cy", "dee", "fay", "gil")
    assert set(check.asked) >= set(result.survivors)
