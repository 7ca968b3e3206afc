"""Inputs that are none, where shares are proved: structural, each for its reason, and the rest is summed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mpc import field
from mpc.party import Message, client_id
from mpc.tape import SeededTape
from secagg.sealed import SEAL_OVERHEAD
from secagg.sharing.messages import INPUT
from tests.conftest import make_cohort
from tests.mpc.flp.strategies import PLAIN
from tests.secagg.sharing import proved
from tests.secagg.sharing.proved import BITS, PLAN, REFUSED, altering, cheating, play, require_refused


def garbage(message: Message, start: int, stop: int) -> Message:
    payload = bytearray(message.payload)
    payload[start:stop] = SeededTape(b"garbage").read(stop - start)
    return replace(message, payload=bytes(payload))


def no_element(place: int) -> Callable[[list[bytes]], list[bytes]]:
    """The modulus itself in the explicit share; places are in bytes."""

    def alter(shares: list[bytes]) -> list[bytes]:
        explicit = bytearray(shares[0])
        start = place % len(explicit)
        explicit[start : start + 8] = field.P.to_bytes(8, "little")
        return [bytes(explicit), *shares[1:]]

    return alter


HEAD, TAIL = 2 * 3 * 32, 2 * 32  # the public share in front, the blinds at the end
UNOPENED = "its share for aggregator {} does not open"


class Malformed:
    """What a client sends that is no input, and what becomes of it; for three aggregators."""

    def __init__(self) -> None:
        sizes = proved.scheme(proved.backend(3), make_cohort(proved.backend(3), 2, PLAN.length, BITS)).sizes
        first, second, third = (size + SEAL_OVERHEAD for size in sizes)
        assert second == third
        self.seen: dict[int, bytes] = {}
        self.old: dict[int, bytes] = {}

        def swapped(message: Message) -> Message:
            box = bytes(message.payload)
            return replace(message, payload=box[:first] + box[first + second :] + box[first : first + second])

        self.cases: dict[str, tuple[Callable[[Message], Message], str]] = {
            "a byte short": (lambda m: replace(m, payload=m.payload[:-1]), "wrong length"),
            "a byte long": (lambda m: replace(m, payload=bytes(m.payload) + b"\0"), "wrong length"),
            "nothing": (lambda m: replace(m, payload=b""), "wrong length"),
            "a truncated public share": (
                lambda m: replace(m, payload=bytes(m.payload[:32]) + bytes(m.payload[64:])),
                "wrong length",
            ),
            "no public share at all": (
                lambda m: replace(m, payload=bytes(m.payload[:32]) + bytes(m.payload[32 + HEAD :])),
                "wrong length",
            ),
            "one box garbage": (lambda m: garbage(m, 40, first), UNOPENED.format(0)),
            "all of it garbage": (lambda m: garbage(m, 0, len(m.payload)), UNOPENED.format(0)),
            "the second box garbage": (lambda m: garbage(m, first + 32, first + second), UNOPENED.format(1)),
            "the last bit flipped": (
                lambda m: garbage(m, len(m.payload) - 1, len(m.payload)),
                UNOPENED.format(2),
            ),
            "boxes of helpers swapped": (swapped, UNOPENED.format(1)),
            "another client's boxes": (lambda m: replace(m, payload=self.seen[0]), UNOPENED.format(0)),
            "its boxes of an earlier round": (
                lambda m: replace(m, payload=self.old[m.sender.index]),
                UNOPENED.format(0),
            ),
        }
        self.twists = {
            "no element in the vector": no_element(HEAD),
            "no element in the bits": no_element(HEAD + 8 * (PLAN.length + 3)),
            "no element in the proofs": no_element(-TAIL - 8),
        }

    def lie(self, name: str) -> Callable[[Message], list[Message]]:
        change, _ = self.cases[name]
        return lambda message: [change(message) if message.phase == INPUT else message]

    def watch(self, into: dict[int, bytes]) -> Callable[[Message], list[Message]]:
        def see(message: Message) -> list[Message]:
            if message.phase == INPUT:
                into[message.sender.index] = bytes(message.payload)
            return [message]

        return see

    def play_earlier_round(self, rig: SimpleNamespace, count: int) -> None:
        cohort = replace(rig.cohort(proved.backend(3), count, PLAN.length, BITS), round=2)
        watching = {client_id(index): self.watch(self.old) for index in range(count)}
        play(proved.backend(3), proved.vectors(count), liars=watching, cohort=cohort).require_exact()


@pytest.fixture
def malformed() -> Malformed:
    return Malformed()


CASES = list(Malformed().cases)


@pytest.mark.parametrize("name", CASES)
def test_a_malformed_input_is_structural(rig: SimpleNamespace, malformed: Malformed, name: str) -> None:
    malformed.play_earlier_round(rig, 5)
    liars = {0: malformed.watch(malformed.seen), 3: malformed.lie(name)}
    outcome = play(proved.backend(3), proved.vectors(5), liars=liars)
    require_refused(outcome, {3: ("structural", malformed.cases[name][1])})


@pytest.mark.parametrize("name", list(Malformed().twists))
def test_what_is_no_field_element_is_structural(malformed: Malformed, name: str) -> None:
    outcome = play(proved.backend(3, {3: altering(malformed.twists[name])}), proved.vectors(5))
    reason = "its share for aggregator 0 holds a number that is not a field element"
    require_refused(outcome, {3: ("structural", reason)})


def test_five_over_the_bound_and_five_malformed_among_twenty(
    rig: SimpleNamespace, malformed: Malformed
) -> None:
    """Exactly those ten are refused, whatever the order in which everything arrives."""
    over = {index: cheating(PLAIN["norm_over_by_one"], index) for index in (1, 5, 9, 13, 17)}
    names = dict(zip((3, 7, 11, 15), CASES[0::3], strict=True))
    twists = over | {19: altering(malformed.twists["no element in the vector"])}
    malformed.play_earlier_round(rig, 20)
    expected = dict.fromkeys(over, ("norm", REFUSED))
    expected |= {index: ("structural", malformed.cases[name][1]) for index, name in names.items()}
    expected[19] = ("structural", "its share for aggregator 0 holds a number")
    liars = {0: malformed.watch(malformed.seen), **{i: malformed.lie(name) for i, name in names.items()}}
    vectors = proved.vectors(20)
    for number in range(3):
        made = proved.backend(3, twists, threshold=0.5)
        outcome = play(made, vectors, liars=liars, shuffle=SeededTape(b"order %d" % number))
        require_refused(outcome, expected)
        plain = sum(vectors[index] for index in range(0, 20, 2))
        assert np.array_equal(outcome.total, plain)
