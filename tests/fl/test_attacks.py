"""Every attack, on every backend: the attacker is named, with a reason, and the others' sum is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fl.attacks import Attack, WithInsiders, choose_attackers, corrupted, out_of_range, wrong_length
from fl.config import ATTACKS
from mpc.errors import LocalError
from mpc.party import SERVER, Message, client_id
from mpc.tape import SeededTape
from secagg import ACCEPT, AbortError, AggregateResult, Check, Conditions, FixedPoint, Masking, aggregate
from secagg.backend import Backend
from secagg.cohort import Cohort
from secagg.paillier import Paillier
from secagg.plain import InsecurePlain
from secagg.sharing import SecretSharing

SESSION = bytes(range(16))
NAMES = ("ana", "bo", "cy", "dee", "eve", "fay", "gil")
ATTACKERS = frozenset({"bo", "eve"})
BITS = 12
BACKENDS: dict[str, Callable[[], Backend]] = {
    "plain": lambda: InsecurePlain(threshold=0.55),
    "masking": lambda: Masking(threshold=0.55),
    "paillier": lambda: Paillier(threshold=0.55, insecure_key_bits=512),
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
    ("out-of-range", "sharing"): ("structural", "not a field element"),
    ("out-of-range", "sharing-3"): ("structural", "not a field element"),
    **{("replayed", name): ("link", "replayed: belongs to another session") for name in BACKENDS},
    **{("corrupt-bytes", name): ("link", "tampered: the link tag does not match") for name in BACKENDS},
}


@pytest.fixture(scope="module")
def backends() -> dict[str, Backend]:
    """Set up once: keys of helpers last over rounds."""
    return {name: make().setup(SeededTape(b"setup")) for name, make in BACKENDS.items()}


def updates_of(names: tuple[str, ...], round: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([round, 5])
    return {name: rng.uniform(-1, 1, 31) for name in names}


def run(
    backend: Backend,
    attack: Attack | None,
    *,
    names: tuple[str, ...] = NAMES,
    round: int = 1,
    drop: dict[str, str] | None = None,
    **options: object,
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


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", BACKENDS)
def test_attackers_are_named_and_the_rest_is_summed(
    backends: dict[str, Backend], name: str, attack: str
) -> None:
    result = run(backends[name], Attack(attack, ATTACKERS), drop={"gil": "input"})
    check, reason = REASONS[attack, name]
    assert set(result.rejected) == ATTACKERS
    for rejection in result.rejected.values():
        assert rejection.check == check
        assert pytest.approx(1) == 1
        assert __import__("re").search(reason, rejection.reason)
    assert result.survivors == ("ana", "cy", "dee", "fay")
    assert result.dropped == ("gil",)
    np.testing.assert_array_equal(result.encoded_sum, oracle(NAMES, result.survivors, 1))
