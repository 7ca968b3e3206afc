"""Comparisons that go wrong: helpers that are silent or lie are named, and a lying server learns no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.errors import DecodeError, LocalError, PeerError
from mpc.party import SERVER, Message, PartyId
from mpc.tape import SeededTape
from secagg.roundlog import RoundLog
from secagg.sharing import AggregatorKey, DealerKey
from secagg.sharing.dealer import Dealer
from secagg.sharing.gram_messages import DealRequest, MaskedSketches, SketchRequest, TaggedSketches, Triangle
from secagg.sharing.messages import (
    COMPARE,
    DEAL,
    DEALT,
    DECIDE,
    GRAM,
    MASKED,
    OPEN,
    RELAY,
    SKETCH,
    VERDICT,
    SumRequest,
)
from tests.secagg.sharing import compared
from tests.secagg.sharing.compared import BITS, DEALER, NORM, PLAN, Keeping, aggregator

Lie = Callable[[Message], Sequence[Message]]
RULE = Keeping()
SPOKEN = [(DEALER, DEALT), (aggregator(0), MASKED), (aggregator(1), MASKED), (aggregator(1), GRAM)]


def on(phase: str, act: Lie) -> Lie:
    return lambda message: act(message) if message.phase == phase else [message]


def payload(message: Message, change: Callable[[bytes], bytes]) -> list[Message]:
    return [replace(message, payload=change(bytes(message.payload)))]


def play(rig: SimpleNamespace, *, aggregators: int = 2, clients: int = 5, **options: Any) -> Any:
    vectors = compared.vectors(clients)
    return rig.play(compared.backend(aggregators), vectors, bits=BITS, checks=[NORM, RULE], **options)


@pytest.mark.parametrize(("who", "phase"), SPOKEN)
def test_the_silent_are_named(rig: SimpleNamespace, who: PartyId, phase: str) -> None:
    outcome = play(rig, liars={who: on(phase, lambda m: [])})
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith(f"{who} ")
    assert outcome.abort.evidence == {"party": str(who)}


def test_all_who_are_silent_are_named(rig: SimpleNamespace) -> None:
    liars = {aggregator(2): on(MASKED, lambda m: []), DEALER: on(DEALT, lambda m: [])}
    outcome = play(rig, aggregators=3, liars=liars)
    assert outcome.abort is not None
    assert outcome.abort.reason.startswith("aggregator 2, dealer 0 did not take part in the comparison")


@pytest.mark.parametrize(("who", "phase"), SPOKEN)
def test_what_is_changed_on_the_way_is_no_answer(rig: SimpleNamespace, who: PartyId, phase: str) -> None:
    def tamper(message: Message) -> list[Message]:
        hit = (message.sender, message.phase) == (who, phase)
        return payload(message, lambda data: bytes([data[0] ^ 1]) + data[1:]) if hit else [message]

    outcome = play(rig, tamper=tamper)
    assert outcome.abort is not None
    assert outcome.abort.evidence["thrown away"] == {str(who): "tampered: the link tag does not match"}


MALFORMED: dict[str, Lie] = {
    "shorter": lambda m: payload(m, lambda data: data[:-1]),
    "an element less": lambda m: payload(m, lambda data: data[8:]),
    "longer": lambda m: payload(m, lambda data: data + b"\0"),
    "empty": lambda m: payload(m, lambda data: b""),
    "not an element": lambda m: payload(m, lambda data: b"\xff" * 8 + data[8:]),
    "twice": lambda m: [m, m],
    "as a verdict": lambda m: [replace(m, phase=VERDICT)],
    "as a triple": lambda m: [replace(m, phase=DEALT if m.phase != DEALT else GRAM)],
}


@pytest.mark.parametrize("lie", MALFORMED)
@pytest.mark.parametrize(("who", "phase"), SPOKEN)
def test_malformed_answers_are_named(rig: SimpleNamespace, who: PartyId, phase: str, lie: str) -> None:
    outcome = play(rig, liars={who: on(phase, MALFORMED[lie])})
    assert outcome.abort is not None
    assert str(who) in str(outcome.abort)


def test_nobody_speaks_for_the_dealer(rig: SimpleNamespace) -> None:
    """An aggregator's correction would be as good as the dealer's."""
    lie = on(MASKED, lambda m: [replace(m, phase=DEALT), m])
    outcome = play(rig, liars={aggregator(0): lie})
    assert outcome.abort is not None
    assert "aggregator 0 speaks in phase 'dealt', which is not its own" in outcome.abort.reason


def shifted(start: int, by: int) -> Lie:
    """One element, from ``start`` bytes on, is another."""

    def change(data: bytes) -> bytes:
        element = (int.from_bytes(data[start : start + 8], "little") + by) % field.P
        return data[:start] + element.to_bytes(8, "little") + data[start + 8 :]

    return lambda message: payload(message, change)


@pytest.mark.parametrize(("who", "phase"), [(DEALER, DEALT), (aggregator(0), GRAM)])
def test_a_matrix_that_no_sketches_have_ends_the_round(
    rig: SimpleNamespace, who: PartyId, phase: str
) -> None:
    for by in (2**61, field.P - 2**62):
        outcome = play(rig, liars={who: on(phase, shifted(0, by))})
        assert outcome.abort is not None
        assert "a Gram matrix that no sketches have: a helper has lied" in outcome.abort.reason


def test_sketches_that_are_not_those_tagged_are_refused(rig: SimpleNamespace) -> None:
    """By the other aggregator: whether it was the sender or the server who changed them."""
    for liars in (
        {aggregator(1): on(MASKED, shifted(0, 1))},
        {SERVER: on(COMPARE, shifted(16, 5))},
        {SERVER: on(COMPARE, lambda m: payload(m, lambda data: data[:-1] + bytes([data[-1] ^ 1])))},
    ):
        outcome = play(rig, liars=liars)
        assert outcome.abort is not None
        assert "sent no share of the Gram matrix in time" in outcome.abort.reason
        assert outcome.abort.reason.startswith("aggregator 0")


# One aggregator, or two, fed by hand.


class Bench:
    """Both aggregators of a round as the server sees them, and what clients have sealed to them."""

    def __init__(self, rig: SimpleNamespace, clients: int = 5, threshold: int = 3) -> None:
        self.made = compared.backend(threshold=threshold)
        self.cohort = rig.cohort(self.made, clients, PLAN.length, BITS)
        outcome = rig.play(
            compared.backend(threshold=threshold),
            compared.vectors(clients),
            bits=BITS,
            checks=[NORM, RULE],
            cohort=self.cohort,
            keep_payloads=True,
        )
        outcome.require_exact()
        self.said: list[dict[str, list[bytes]]] = [{}, {}]
        for index in (0, 1):
            for record in outcome.transcript.view(aggregator(index)):
                self.said[index].setdefault(record.phase, []).append(bytes(record.message.payload))
        self.parties = [self.fresh(0), self.fresh(1)]

    def fresh(self, index: int) -> Any:
        linked = self.made._helper(self.cohort, aggregator(index), [NORM, RULE], SeededTape(b"hand"))
        return linked._inner

    def send(self, index: int, phase: str, data: bytes) -> list[Message]:
        cohort = self.cohort
        message = Message(cohort.session, cohort.round, phase, SERVER, aggregator(index), data)
        found: list[Message] = self.parties[index].receive(message)
        return found

    def feed(self, index: int, *phases: str) -> list[Message]:
        """What the server of the honest round has said in these phases."""
        return [
            answer
            for phase in phases
            for data in self.said[index][phase]
            for answer in self.send(index, phase, data)
        ]

    def ask(self, index: int, *clients: int) -> MaskedSketches:
        (answer,) = self.send(index, SKETCH, SketchRequest(clients).encode(self.cohort.size))
        shape = (RULE.projections, len(clients))
        return MaskedSketches.decode(answer.payload, shape, 2)

    def refused(self, index: int, phase: str, data: bytes, told: str) -> None:
        with pytest.raises(PeerError, match=told) as caught:
            self.send(index, phase, data)
        assert caught.value.party == SERVER
        with pytest.raises(PeerError, match="not expected in state 'refused'"):
            self.send(index, OPEN, b"")


@pytest.fixture
def bench(rig: SimpleNamespace) -> Bench:
    return Bench(rig)


def test_by_hand_it_goes_as_in_the_round(bench: Bench) -> None:
    assert [answer.phase for answer in bench.feed(0, RELAY, SKETCH, COMPARE, DECIDE, OPEN)][-3:] == [
        MASKED,
        GRAM,
        "sum-share",
    ]


def test_all_sketches_are_under_one_seed(bench: Bench) -> None:
    bench.send(0, RELAY, bench.said[0][RELAY][0])
    data = bytearray(bench.said[0][RELAY][1])
    data[4 + 32] ^= 1  # behind client and challenge
    bench.refused(0, RELAY, bytes(data), "a share under another seed for sketches")


def test_fewer_than_the_threshold_are_not_compared(bench: Bench) -> None:
    bench.feed(0, RELAY)
    few = SketchRequest((0, 4)).encode(5)
    bench.refused(0, SKETCH, few, "over 2 clients; the threshold is 3")


def test_nobody_is_compared_without_a_share(bench: Bench) -> None:
    for data in bench.said[0][RELAY][:3]:
        bench.send(0, RELAY, data)
    bench.refused(0, SKETCH, SketchRequest((0, 1, 2, 4)).encode(5), "no good share: c4")


@pytest.mark.parametrize("again", [(0, 1, 2), (1, 2, 3)])
def test_clients_are_compared_once(bench: Bench, again: tuple[int, ...]) -> None:
    bench.feed(0, RELAY)
    bench.ask(0, 0, 1, 2)
    bench.refused(0, SKETCH, SketchRequest(again).encode(5), "not expected in state 'masked'")


def test_a_triple_serves_once_in_all_lives(bench: Bench) -> None:
    """Another instance with the same key, from nothing or from an old dump, masks nothing else with it."""
    bench.feed(0, RELAY)
    old = bench.parties[0].save()
    bench.ask(0, 0, 1, 2, 3)
    bench.parties[0] = bench.fresh(0)
    bench.refused(0, RELAY, bench.said[0][RELAY][0], "it has judged proofs before")
    bench.parties[0] = bench.fresh(0)
    bench.parties[0].restore(old)
    bench.refused(0, SKETCH, SketchRequest((0, 1, 2)).encode(5), "have been compared before")


def test_a_restored_aggregator_tells_its_log(bench: Bench) -> None:
    bench.feed(0, RELAY, SKETCH)
    state = bench.parties[0].save()
    key = bench.made._private[0]  # type: ignore[index]
    entries = key.log.entries()
    assert len(entries) == 2
    key.log = RoundLog()
    bench.fresh(0).restore(state)
    assert key.log.entries() == entries
    assert (bench.cohort.session, bench.cohort.round) not in key.log.entries()


def test_an_old_dump_opens_no_second_sum(bench: Bench) -> None:
    bench.feed(0, RELAY, SKETCH, COMPARE, DECIDE)
    old = bench.parties[0].save()
    bench.feed(0, OPEN)
    bench.parties[0] = bench.fresh(0)
    bench.parties[0].restore(old)
    bench.refused(0, OPEN, bench.said[0][OPEN][0], "has been served before")


def test_nobody_counts_before_the_comparison(bench: Bench) -> None:
    bench.feed(0, RELAY)
    bench.refused(0, DECIDE, bench.said[0][DECIDE][0], "is to count client 'c0' before clients are compared")
    bench.feed(1, RELAY, SKETCH)
    bench.refused(1, OPEN, SumRequest((0, 1, 2)).encode(5), "not expected in state 'masked'")


def test_nobody_counts_who_was_not_compared(bench: Bench) -> None:
    bench.feed(0, RELAY)
    bench.feed(1, RELAY)
    mine, other = bench.ask(0, 0, 1, 2), bench.ask(1, 0, 1, 2)
    bench.send(0, COMPARE, TaggedSketches(((other.elements, other.tags[0]),)).encode())
    bench.send(1, COMPARE, TaggedSketches(((mine.elements, mine.tags[0]),)).encode())
    bench.send(0, DECIDE, bench.said[0][DECIDE][2])
    bench.refused(0, DECIDE, bench.said[0][DECIDE][3], "count client 'c3', of whom it has no good share")


@pytest.mark.parametrize("theirs", [(0, 1, 2), (0, 1, 3)])
def test_aggregators_compare_the_same_clients_or_none(bench: Bench, theirs: tuple[int, ...]) -> None:
    """Two sets of one size: a server that shows each aggregator another gets nothing for it."""
    bench.feed(0, RELAY)
    bench.feed(1, RELAY)
    bench.ask(0, 0, 1, 2)
    other = bench.ask(1, *theirs)
    data = TaggedSketches(((other.elements, other.tags[0]),)).encode()
    if theirs == (0, 1, 2):
        assert bench.send(0, COMPARE, data)[0].phase == GRAM
    else:
        bench.refused(0, COMPARE, data, "not those that aggregator 1 has tagged for these clients")


@pytest.mark.parametrize("place", [0, 300, -1])
def test_what_the_other_has_not_said_is_refused(bench: Bench, place: int) -> None:
    bench.feed(0, RELAY, SKETCH)
    data = bytearray(bench.said[0][COMPARE][0])
    data[place] ^= 1
    bench.refused(0, COMPARE, bytes(data), "not those that aggregator 1 has tagged")


def test_its_own_sketches_are_not_the_others(bench: Bench) -> None:
    """A tag says from whom to whom it is."""
    bench.feed(0, RELAY)
    mine = bench.ask(0, 0, 1, 2)
    data = TaggedSketches(((mine.elements, mine.tags[0]),)).encode()
    bench.refused(0, COMPARE, data, "not those that aggregator 1 has tagged")


def test_what_is_held_is_not_shown(bench: Bench) -> None:
    bench.feed(0, RELAY, SKETCH)
    for shown in (bench.parties[0], bench.ask(1, 0, 1, 2) if bench.feed(1, RELAY) else None):
        assert len(repr(shown)) < 100
        assert "array" not in repr(shown)
        assert "b'" not in repr(shown)


# The dealer and its key.


def dealer(rig: SimpleNamespace, key: DealerKey | None = None) -> Dealer:
    made = compared.backend()
    cohort = rig.cohort(made, 5, PLAN.length, BITS)
    links = [public.link for public in made.public_keys]
    return Dealer(cohort, key or DealerKey.generate(SeededTape(b"dealer")), links, 8)


def ask(party: Dealer, data: bytes) -> bytes:
    cohort = party.cohort
    (answer,) = party.receive(Message(cohort.session, cohort.round, DEAL, SERVER, DEALER, data))
    assert (answer.phase, answer.receiver) == (DEALT, SERVER)
    return bytes(answer.payload)


def test_a_dealer_deals_once(rig: SimpleNamespace) -> None:
    party = dealer(rig)
    ask(party, DealRequest(bytes(32), 5).encode())
    with pytest.raises(PeerError, match="not expected in state 'dealt'"):
        ask(party, DealRequest(bytes(32), 5).encode())


def test_another_comparison_or_dealer_has_another_triple(rig: SimpleNamespace) -> None:
    one = ask(dealer(rig), DealRequest(bytes(32), 5).encode())
    assert one == ask(dealer(rig), DealRequest(bytes(32), 5).encode())
    assert len(one) == Triangle.size(5) == 8 * 15
    for other in (
        ask(dealer(rig), DealRequest(b"\1" * 32, 5).encode()),
        ask(dealer(rig, DealerKey(b"\7" * 32)), DealRequest(bytes(32), 5).encode()),
    ):
        assert not np.intersect1d(field.from_bytes(one), field.from_bytes(other)).size


@pytest.mark.parametrize("clients", [0, 6, 2**32 - 1])
def test_a_dealer_deals_for_no_more_than_there_are(rig: SimpleNamespace, clients: int) -> None:
    with pytest.raises(PeerError, match=f"a triple for {clients} clients, where there are 5"):
        ask(dealer(rig), DealRequest(bytes(32), clients).encode())


def test_a_dealers_key_has_one_encoding_and_is_not_shown() -> None:
    key = DealerKey.generate(SeededTape(b"dealer"))
    data = key.export_secret()
    assert DealerKey.import_secret(data).public == key.public
    for damaged in (data[:-1], data + b"\0", b"\2" + data[1:], b""):
        with pytest.raises(DecodeError):
            DealerKey.import_secret(damaged)
    assert repr(key) == f"DealerKey(<secret>, public={key.public.hex()[:8]}…)"
    with pytest.raises(LocalError, match="cannot be pickled"):
        key.__reduce__()
    with pytest.raises(LocalError, match=r"len\(link\) is 5"):
        DealerKey(b"short")
    with pytest.raises(LocalError, match="link is 'str': must be bytes"):
        DealerKey("x" * 32)  # type: ignore[arg-type]


def test_two_keys_agree_at_both_ends_only(rig: SimpleNamespace) -> None:
    """A server that deals by itself gives the aggregators a triple that none of them has."""
    honest = play(rig)
    honest.require_exact()
    made = compared.backend()
    own = DealerKey.generate(SeededTape(b"the server's"))
    keys = [AggregatorKey.generate(SeededTape(b"aggregator %d" % index)) for index in range(2)]

    def forged(message: Message) -> list[Message]:
        request = DealRequest(bytes(32), 5)
        party = Dealer(honest.cohort, own, [key.public.link for key in keys], RULE.projections)
        answer = party.receive(
            replace(message, phase=DEAL, sender=SERVER, receiver=DEALER, payload=request.encode())
        )
        return [replace(message, payload=answer[0].payload)]

    outcome = play(rig, liars={DEALER: on(DEALT, forged)})
    assert outcome.abort is not None
    assert "a Gram matrix that no sketches have" in outcome.abort.reason
    assert made.dealer_key != own.public
