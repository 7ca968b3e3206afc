"""An aggregator that judges one proof under two challenges gives its share away: it never does."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from mpc.errors import PeerError
from mpc.party import SERVER, Message
from mpc.tape import SeededTape
from secagg.cohort import Cohort
from secagg.roundlog import RoundLog
from secagg.sealed import seal
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.keys import AggregatorKey, share_context
from secagg.sharing.messages import RELAY, VERDICT, JudgedShare, RelayedShare
from secagg.sharing.scheme import Fault, ProvedShares
from tests.secagg.sharing.proved import PLAN, backend, keys, scheme, vector


class Bench:
    """Aggregator 1 of a round, the boxes of two clients for it, and a server with challenges of its own."""

    def __init__(self, rig: SimpleNamespace) -> None:
        made = backend()
        self.cohort: Cohort = rig.cohort(made, 3, PLAN.length, PLAN.encoding.bits)
        self.scheme: ProvedShares = scheme(made, self.cohort)
        self.key = keys(2)[1]
        self.boxes = [self._box(index) for index in range(2)]

    def _box(self, client: int) -> bytes:
        share = self.scheme.split(client, vector(client), SeededTape(b"client %d" % client))[1]
        context = share_context(self.cohort.digest, client, 1)
        return seal(self.key.public.sealing, context, share, SeededTape(b"box %d" % client))

    def started(self, entries: Sequence[tuple[bytes, int]] = ()) -> Aggregator:
        """The aggregator, started anew with the log that it has kept."""
        self.key = AggregatorKey.import_secret(keys(2)[1].export_secret(), RoundLog(entries))
        return Aggregator(self.cohort, 1, self.key, self.scheme)

    def relay(self, aggregator: Aggregator, client: int, challenge: bytes) -> JudgedShare:
        payload = RelayedShare(client, self.boxes[client], challenge).encode()
        cohort = self.cohort
        message = Message(cohort.session, cohort.round, RELAY, SERVER, aggregator.id, payload)
        (answer,) = aggregator.receive(message)
        assert answer.phase == VERDICT
        return JudgedShare.decode(answer.payload, cohort.size, self.scheme.verifier_bytes)


@pytest.fixture
def bench(rig: SimpleNamespace) -> Bench:
    return Bench(rig)


def test_one_that_is_started_again_judges_nobody_in_that_round(bench: Bench) -> None:
    first = bench.started()
    assert bench.relay(first, 0, bytes(32)).fault is Fault.NONE
    entries = bench.key.log.entries()
    assert [round for _, round in entries] == [bench.cohort.round]
    for client in (0, 1):
        again = bench.started(entries)
        with pytest.raises(PeerError, match="it has judged proofs before"):
            bench.relay(again, client, bytes(31) + b"\1")


def test_one_that_is_restored_goes_on_with_those_whom_it_has_not_judged(bench: Bench) -> None:
    first = bench.started()
    bench.relay(first, 0, bytes(32))
    again = bench.started(bench.key.log.entries())
    again.restore(first.save())
    assert bench.relay(again, 1, bytes(31) + b"\1").fault is Fault.NONE
    with pytest.raises(PeerError, match="a second share"):
        bench.relay(again, 0, bytes(31) + b"\1")


def test_restoring_enters_the_round_in_an_older_log(bench: Bench) -> None:
    first = bench.started()
    bench.relay(first, 0, bytes(32))
    entries = bench.key.log.entries()
    again = bench.started()
    again.restore(first.save())
    assert bench.key.log.entries() == entries
