"""What a round of masking withstands and costs, on a sparse and on the complete graph (spec section 12).

Bytes are what the backend declares. Seconds are prices of operations (fl.speeds) times how often a party
does them, counted from the protocol.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fl.plan_advice import check
from fl.speeds import Operation
from mpc import merkle
from mpc.cost import Cost
from mpc.errors import LocalError
from mpc.party import SESSION_BYTES, Role
from secagg.cohort import KEY_BYTES, MAX_MEMBERS, MIN_MEMBERS, Cohort
from secagg.masking import Masking
from secagg.masking.messages import LIMBS
from secagg.masking.parameters import Adversary, GraphParameters, Tolerance

Work = Mapping[Operation, float]
Prices = Mapping[Operation, float]

THRESHOLD = 2 / 3  # as Masking has it
LISTS = 12  # how often a client goes through the cohort: over the sets that it is shown, and for the graph
RELAYED_KEYS = "the server relays the clients' public keys unaltered"
ENTRIES = 7  # a neighbour has one in each of the seven messages that name several


@dataclass(frozen=True, slots=True)
class Request:
    """A round to plan. ``clients``: 2 to 2^20; ``length``, ``bits`` and ``threshold`` as in a cohort."""

    clients: int
    length: int
    bits: int
    tolerance: Tolerance
    threshold: float = THRESHOLD
    signed: bool = False

    def __post_init__(self) -> None:
        if not MIN_MEMBERS <= self.clients <= MAX_MEMBERS:
            raise LocalError("clients", self.clients, f"must be from {MIN_MEMBERS} to {MAX_MEMBERS}")


@dataclass(frozen=True, slots=True)
class PhaseBytes:
    """What one client sends and receives in a phase, header and tag included."""

    phase: str
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class GraphCost:
    """A round on one graph. ``parameters``: its errors are -inf where nothing can go wrong.

    ``client``: the work of one client if everybody stays; ``server``: the server's if so many drop out as is
    tolerated, at the worst moment, when they have shared keys; ``quiet_server``: if nobody does.
    """

    parameters: GraphParameters
    phases: tuple[PhaseBytes, ...]
    server_sent: int
    server_received: int
    client: Work
    server: Work
    quiet_server: Work

    @property
    def client_sent(self) -> int:
        return sum(phase.sent for phase in self.phases)

    @property
    def client_received(self) -> int:
        return sum(phase.received for phase in self.phases)


@dataclass(frozen=True, slots=True)
class Plan:
    """``threshold``: that of the cohort; ``corrupt`` and ``dropped``: the clients that are tolerated;
    ``vector_bytes``: a vector packed to the bits of its sum, which nobody could do without.
    """

    request: Request
    sum_bits: int
    threshold: int
    corrupt: int
    dropped: int
    vector_bytes: int
    graph: GraphCost
    complete: GraphCost

    @property
    def assumption(self) -> str | None:
        """What the server is trusted with all the same (spec section 12.5); None for nothing.

        Where nobody pins identities, a server that puts in keys of its own plays every peer at once.
        """
        malicious = self.request.tolerance.adversary is Adversary.MALICIOUS
        return RELAYED_KEYS if malicious and not self.request.signed else None


def plan(request: Request) -> Plan:
    """``LocalError`` for a cohort that cannot be; it names what to lower where too much is asked for."""
    tolerance = request.tolerance
    threshold = check(request.clients, request.threshold, tolerance)
    backend = Masking(request.threshold, tolerance=tolerance)
    parameters = tolerance.parameters(request.clients)
    cohort = _cohort(request, threshold)
    corrupt, dropped = tolerance.counts(request.clients)
    everybody = GraphParameters(cohort.size, cohort.size - 1, threshold, threshold, -math.inf, -math.inf)
    return Plan(
        request=request,
        sum_bits=cohort.sum_bits,
        threshold=threshold,
        corrupt=corrupt,
        dropped=dropped,
        vector_bytes=cohort.ring.packed_size(cohort.length),
        graph=_graph_cost(cohort, backend, everybody if parameters.complete else parameters, dropped),
        complete=_graph_cost(cohort, Masking(request.threshold), everybody, dropped),
    )


def seconds(work: Work, prices: Prices) -> float:
    """What this work takes on one core of the machine whose prices these are."""
    return sum(count * prices[operation] for operation, count in work.items())


def _cohort(request: Request, threshold: int) -> Cohort:
    """A cohort of that shape. Sizes do not depend on names and keys, so that none are made."""
    identities = (index.to_bytes(KEY_BYTES, "little") for index in range(request.clients))
    return Cohort(
        session=bytes(SESSION_BYTES),
        round=0,
        members=tuple(f"client-{index}" for index in range(request.clients)),
        threshold=threshold,
        length=request.length,
        bits=request.bits,
        server_key=bytes(KEY_BYTES),
        identities=tuple(identities) if request.signed else (),
    )


def _graph_cost(cohort: Cohort, backend: Masking, parameters: GraphParameters, dropped: int) -> GraphCost:
    cost = backend.cost(cohort)
    return GraphCost(
        parameters=parameters,
        phases=_phases(cost, cohort.size),
        server_sent=cost.sent_by_each(Role.SERVER, 1),
        server_received=cost.received_by_each(Role.SERVER, 1),
        client=_client_work(cohort, parameters, cost),
        server=_server_work(cohort, parameters, cost, dropped),
        quiet_server=_server_work(cohort, parameters, cost, 0),
    )


def _phases(cost: Cost, clients: int) -> tuple[PhaseBytes, ...]:
    sent: Counter[str] = Counter()
    received: Counter[str] = Counter()
    for link in cost.links:
        for role, total in ((link.sender, sent), (link.receiver, received)):
            if role is Role.CLIENT:
                total[link.phase] += link.messages * link.size // clients
    names = dict.fromkeys(link.phase for link in cost.links)
    return tuple(PhaseBytes(name, sent[name], received[name]) for name in names)


def _client_work(cohort: Cohort, graph: GraphParameters, cost: Cost) -> Work:
    """A client's, by the phases of spec section 12.2, if everybody stays."""
    op, k, n, signed = Operation, graph.degree, cohort.size, cohort.signed
    seeded = not graph.complete
    proof = 2 * graph.holders - 1 + merkle.longest_proof(graph.holders, n)
    return _sum(
        _link_work(cost, n, client=True),
        {op.MEMBER: LISTS * n, op.ENTRY: ENTRIES * k},
        # advertise-keys, with the link's key in front
        {op.KEY_PAIR: 3, op.SIGNATURE: 2 * signed},
        # share-keys
        {op.PROOF_HASH: proof, op.VERIFICATION: graph.holders * signed},
        {op.SPLIT: 2 * LIMBS * graph.threshold * graph.holders, op.COMMITMENT: 2 * graph.holders},
        {op.AGREEMENT: k, op.SEAL: k, op.DERIVATION: 1 + seeded},
        # masked-input
        {op.UNSEAL: k, op.COMMITMENT: 2 * k, op.AGREEMENT: k, op.DERIVATION: k + 1},
        _masks_work(cohort, k + 1),
        {op.PACK: cohort.length},
        # consistency and unmask: tags made and checked, each over a bitmap of the survivors
        {op.DERIVATION: 2 * k, op.HASHED_BYTE: 2 * k * n / 8},
    )


def _server_work(cohort: Cohort, graph: GraphParameters, cost: Cost, dropped: int) -> Work:
    """The server's, if so many drop out when all have shared keys."""
    op, n, signed = Operation, cohort.size, cohort.signed
    staying = n - dropped
    orphans = dropped * graph.degree * staying / (n - 1)  # masks that dropouts have with those who stay
    # On the complete graph the same clients answer for everybody, so that one set of weights serves.
    weights = graph.threshold * (1 if graph.complete else n)
    return _sum(
        _link_work(cost, n, client=False),
        {op.MEMBER: LISTS * n, op.ENTRY: ENTRIES * n * graph.degree},
        # advertise-keys: both keys of each client are tried, then the graph is drawn
        {op.AGREEMENT: 2 * n, op.VERIFICATION: 2 * n * signed, op.DERIVATION: not graph.complete},
        {op.TREE_LEAF: n, op.PROOF_LEVEL: n * (n - 1).bit_length()},
        # masked-input
        {op.UNPACK: staying * cohort.length},
        # unmask
        {op.COMMITMENT: staying * graph.holders, op.WEIGHT: weights, op.COMBINE: n * graph.threshold},
        {op.KEY_PAIR: dropped, op.AGREEMENT: orphans, op.DERIVATION: 2 * staying + orphans},
        _masks_work(cohort, staying + orphans),
    )


def _link_work(cost: Cost, clients: int, *, client: bool) -> Work:
    """One end of a client's link, or the server's ends of all."""
    links = 1 if client else clients
    total = sum(link.messages * link.size for link in cost.links)
    messages = sum(link.messages for link in cost.links)
    return {
        Operation.AGREEMENT: links,
        Operation.DERIVATION: 2 * links,
        Operation.MESSAGE: messages * links / clients,
        Operation.MESSAGE_BYTE: total * links / clients,
    }


def _masks_work(cohort: Cohort, masks: float) -> Work:
    size = cohort.length * cohort.ring.lane.itemsize
    return {Operation.STREAM: masks, Operation.STREAM_BYTE: masks * size}


def _sum(*parts: Work) -> Work:
    total: dict[Operation, float] = {}
    for part in parts:
        for operation, count in part.items():
            if count:
                total[operation] = total.get(operation, 0) + count
    return total


def operations(plans: Iterable[Plan]) -> tuple[Operation, ...]:
    """All that these plans need the prices of."""
    works = [
        work
        for one in plans
        for graph in (one.graph, one.complete)
        for work in (graph.client, graph.server, graph.quiet_server)
    ]
    return tuple(operation for operation in Operation if any(operation in work for work in works))
