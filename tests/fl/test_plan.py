"""fl.plan: bytes as declared, and operations as a real round counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import mpc.prg
import mpc.ring
import secagg.linkedserver
import secagg.masking.client
import secagg.masking.server
from fl.plan import GraphCost, Plan, Request, operations, plan, seconds
from fl.speeds import Operation, measure
from fl.workloads import WORKLOADS
from mpc import shamir
from mpc.errors import LocalError
from mpc.party import Message, Party, Role
from mpc.ring import Ring
from mpc.tape import SeededTape
from secagg import Masking
from secagg.cohort import Cohort
from secagg.identity import Identity
from secagg.link import Link
from secagg.masking import keys
from secagg.masking.parameters import Adversary, Tolerance

LINK_KEY = bytes(range(32))
MILD = Tolerance(0.05, 0.05)  # 20 clients: degree 6, one corrupt, one dropout
SERVER = -1


def cohort_of(request: Request, threshold: int) -> tuple[Cohort, list[Identity]]:
    names = tuple(f"client-{index}" for index in range(request.clients))
    signers = [Identity.generate(SeededTape(name.encode())) for name in names] if request.signed else []
    public = X25519PrivateKey.from_private_bytes(LINK_KEY).public_key().public_bytes_raw()
    identities = tuple(one.public for one in signers)
    shape = (threshold, request.length, request.bits, public)
    return Cohort(bytes(16), 0, names, *shape, identities=identities), signers


class Counts:
    """What each party of a round does. ``of``: (party, operation) → how often; the server is -1."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.of: Counter[tuple[int, Operation]] = Counter()
        self.now = SERVER
        op = Operation
        for place, name, operation, units in (
            (mpc.prg.HKDF, "derive", op.DERIVATION, None),
            (keys, "seal", op.SEAL, None),
            (keys, "unseal", op.UNSEAL, None),
            (keys, "share_commitments", op.COMMITMENT, lambda *given: len(given[3])),
            (keys.Agreement, "with_peer", op.AGREEMENT, None),
            (Link, "__init__", op.AGREEMENT, None),
            (Link, "close", op.MESSAGE, None),
            (Link, "open", op.MESSAGE, None),
            (Identity, "sign", op.SIGNATURE, None),
            (secagg.masking.client, "verify", op.VERIFICATION, None),
            (secagg.masking.server, "verify", op.VERIFICATION, None),
            (secagg.linkedserver, "verify", op.VERIFICATION, None),
            (mpc.ring, "Keystream", op.STREAM, None),
            (shamir, "lagrange_at_zero", op.WEIGHT, len),
            (shamir, "split", op.SPLIT, lambda secrets, least, points, _: secrets.size * least * len(points)),
            (shamir, "combine", op.COMBINE, lambda points, shares: len(points) * shares.shape[1]),
            (Ring, "add_packed", op.UNPACK, lambda ring, total, data: total.size),
            (Ring, "pack_masked", op.PACK, lambda ring, values, streams: values.size),
        ):
            patch.setattr(place, name, self._counted(getattr(place, name), operation, units))

    def _counted(self, call: Any, operation: Operation, units: Callable[..., int] | None) -> Any:
        def counted(*given: Any, **named: Any) -> Any:
            self.of[self.now, operation] += 1 if units is None else units(*given, **named)
            return call(*given, **named)

        return counted

    def of_party(self, party: int) -> dict[Operation, int]:
        found = {operation: self.of[party, operation] for _, operation in self.of}
        # Of a box's price HKDF is a part.
        found[Operation.DERIVATION] -= found[Operation.SEAL] + found[Operation.UNSEAL]
        return {operation: count for operation, count in found.items() if count}


def count_round(request: Request, backend: Masking, patch: pytest.MonkeyPatch, dropped: int) -> Counts:
    """A whole round, in which the first ``dropped`` clients go silent when they have shared keys."""
    cohort, signers = cohort_of(request, backend.resolve_threshold(request.clients))
    tapes = [SeededTape(bytes([index])) for index in range(cohort.size + 1)]  # they derive keys, too
    counts = Counts(patch)
    vector = np.zeros(cohort.length, np.int32)
    server = backend.server(cohort, link_key=LINK_KEY, tape=tapes.pop())
    clients: list[Party[None]] = []
    messages: list[Message] = []
    for index, name in enumerate(cohort.members):
        counts.now = index
        identity = signers[index] if signers else None
        clients.append(backend.client(cohort, name, vector, identity=identity, tape=tapes[index]))
        messages += clients[-1].start()
    while messages:
        counts.now = SERVER
        replies = [reply for message in messages for reply in server.receive(message)]
        replies = replies or server.expire()
        messages = []
        for reply in replies:
            counts.now = reply.receiver.index
            answers = clients[counts.now].receive(reply)
            messages += [] if counts.now < dropped and reply.phase == "masked-input" else answers
    assert server.result is not None
    assert len(server.result.survivors) == cohort.size - dropped
    return counts


def planned(work: Any) -> dict[Operation, float]:
    """Without what ``Counts`` does not see."""
    unseen = {
        *(
            Operation.KEY_PAIR,
            Operation.MEMBER,
            Operation.ENTRY,
            Operation.MESSAGE_BYTE,
            Operation.STREAM_BYTE,
        ),
        *(Operation.HASHED_BYTE, Operation.TREE_LEAF, Operation.PROOF_LEVEL, Operation.PROOF_HASH),
    }
    return {operation: count for operation, count in work.items() if operation not in unseen}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("tolerance", [MILD, None])
def test_the_operations_are_those_of_a_round(
    tolerance: Tolerance | None, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(20, 11, 16, MILD, signed=signed)
    made = plan(request)
    expected = made.complete if tolerance is None else made.graph
    with monkeypatch.context() as patch:
        counts = count_round(request, Masking(tolerance=tolerance), patch, dropped=0)
    assert counts.of_party(SERVER) == pytest.approx(planned(expected.quiet_server))
    for client in range(request.clients):
        assert counts.of_party(client) == planned(expected.client)


@pytest.mark.parametrize("tolerance", [MILD, None])
def test_dropouts_cost_the_server_what_a_round_shows(
    tolerance: Tolerance | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(20, 11, 16, MILD)
    made = plan(request)
    assert made.dropped == 1
    expected = planned((made.complete if tolerance is None else made.graph).server)
    with monkeypatch.context() as patch:
        counts = count_round(request, Masking(tolerance=tolerance), patch, dropped=1)
    found = counts.of_party(SERVER)
    # Bytes are declared of a round in which everybody stays, and so are messages.
    assert found.pop(Operation.MESSAGE) < expected.pop(Operation.MESSAGE)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("clients", [20, 150])
def test_the_bytes_are_those_that_the_backend_declares(clients: int, signed: bool) -> None:
    request = Request(clients, 1000, 12, MILD, signed=signed)
    made = plan(request)
    cohort, _ = cohort_of(request, made.threshold)
    for backend, graph in ((Masking(tolerance=MILD), made.graph), (Masking(), made.complete)):
        cost = backend.cost(cohort)
        assert graph.client_sent == cost.sent_by_each(Role.CLIENT, clients)
        assert graph.client_received == cost.received_by_each(Role.CLIENT, clients)
        assert graph.server_received == clients * graph.client_sent
        assert graph.server_sent == clients * graph.client_received
        assert [phase.phase for phase in graph.phases] == [p for p in backend.phases if p != "check"]
    assert made.vector_bytes == cohort.ring.packed_size(1000)
    assert made.sum_bits == cohort.sum_bits
    assert made.graph.parameters == MILD.parameters(clients)
    assert made.complete.parameters.degree == clients - 1


def test_where_only_the_complete_graph_will_do_both_are_the_same() -> None:
    made = plan(Request(10, 100, 16, Tolerance(0.2, 0.2), threshold=0.8))
    assert made.graph == made.complete
    assert made.graph.parameters.complete
    assert made.graph.parameters.threshold == made.threshold == 8


def test_seconds_are_counts_times_prices() -> None:
    assert seconds({Operation.SEAL: 3, Operation.PACK: 10}, {Operation.SEAL: 2.0, Operation.PACK: 0.5}) == 11


def test_every_operation_can_be_measured() -> None:
    assert set(WORKLOADS) == set(Operation)
    prices = measure(Operation, seconds=0)
    assert all(0 < price < 10 for price in prices.values())
    made = plan(Request(20, 11, 16, MILD, signed=True))
    everything = operations([made])
    assert set(everything) <= set(prices)
    for work in (made.graph.client, made.graph.server, made.complete.client, made.complete.server):
        assert set(work) <= set(everything)
        assert seconds(work, prices) > 0


def cost_of(made: Plan, prices: dict[Operation, float]) -> list[float]:
    graphs: list[GraphCost] = [made.graph, made.complete]
    return [seconds(work, prices) for one in graphs for work in (one.client, one.server, one.quiet_server)]


def test_what_grows_with_the_cohort_and_what_does_not() -> None:
    prices = dict.fromkeys(Operation, 1e-6)
    small, large = (plan(Request(clients, 100, 16, MILD)) for clients in (3000, 30000))
    assert all(more > less for more, less in zip(cost_of(large, prices), cost_of(small, prices), strict=True))
    assert large.graph.client_sent < 1.3 * small.graph.client_sent
    assert large.complete.client_sent > 8 * small.complete.client_sent


# What cannot be.


@pytest.mark.parametrize("adversary", Adversary)
@pytest.mark.parametrize("signed", [True, False])
def test_only_a_malicious_server_that_nobody_signs_against_is_trusted_with_keys(
    adversary: Adversary, signed: bool
) -> None:
    made = plan(Request(20, 10, 16, Tolerance(0, 0.05, adversary), signed=signed))
    assert (made.assumption is not None) == (adversary is Adversary.MALICIOUS and not signed)


@pytest.mark.parametrize("clients", [-1, 0, 1, 2**20 + 1])
def test_cohorts_that_cannot_be(clients: int) -> None:
    with pytest.raises(LocalError, match=r"clients is .* must be from 2 to 1048576"):
        Request(clients, 100, 16, MILD)
