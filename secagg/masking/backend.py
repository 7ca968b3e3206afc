"""Masking: pairwise masks that cancel, with recovery from dropouts (spec section 12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mpc import merkle
from mpc.cost import LinkCost
from mpc.errors import LocalError
from mpc.leakage import Leakage
from mpc.party import Role
from mpc.tape import RandomTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.client import Vector
from secagg.cohort import Cohort
from secagg.masking.client import MaskingClient
from secagg.masking.listing import graph_parameters
from secagg.masking.messages import (
    ADVERTISE,
    CONSISTENCY,
    INPUT,
    PHASES,
    SHARE,
    UNMASK,
    ConsistencyTags,
    KeyAdvertisement,
    KeyList,
    RelayedShares,
    RelayedTags,
    SealedShares,
    SurvivorSet,
    UnmaskShares,
)
from secagg.masking.parameters import Adversary, Tolerance
from secagg.masking.server import MaskingServer
from secagg.masking.unmasking import Unmasking
from secagg.parts import DEFAULT_MESSAGE_BYTES

_RELAYS = (
    "the server may lie, but relays the clients' public keys unaltered where the cohort pins no identities, "
    "and works together with {}; the transport is confidential"
)
_ASSUMPTIONS = {
    Adversary.MALICIOUS: _RELAYS,
    Adversary.SEMI_HONEST: (
        "the server and the clients follow the protocol, and the server works together with {}; the "
        "transport is confidential"
    ),
    Adversary.NONE: (
        "nobody works together, and the server and the clients follow the protocol; the transport is "
        "confidential"
    ),
}


class Masking(Backend):
    """Bonawitz et al. 2017 (CCS; eprint 2017/281) with double masking, for any number of clients.

    * ``threshold``: how many clients must stay to the end, as a fraction of the cohort or a count; more than
      half, since two halves of the cohort that are told different survivor sets would otherwise reveal both
      secrets of a client. On the complete graph the round survives the loss of all the others, in any phase.
    * ``tolerance``: for large cohorts. The graph is then the sparse one of Bell et al. 2020 (eprint 2020/704)
      that withstands just that (spec section 12.7): against 5 % corrupt and 5 % dropouts a client works with
      some 200 others, however many there are. None: the complete graph.
    * ``unmasking``: who computes the keystreams that the server takes off; None: threads of its process.
    * ``max_message_bytes``: see :class:`Backend`.
    """

    name = "masking"
    phases = PHASES
    client_phases = PHASES
    input_phase = INPUT
    leakage = Leakage(
        assumption=_RELAYS.format("fewer than 2 · threshold - n clients"),
        learns={
            Role.CLIENT: ("who takes part, and who of them survived",),
            Role.SERVER: (
                "the sum over the survivors' vectors: of updates, weights and metrics",
                "who dropped out in which phase, and who was refused and why",
            ),
        },
        hides=frozenset({Role.CLIENT, Role.SERVER}),
        source="Bonawitz et al. 2017 (eprint 2017/281), section 6; Bell et al. 2020 (eprint 2020/704)",
    )

    def __init__(
        self,
        threshold: float = 2 / 3,
        *,
        tolerance: Tolerance | None = None,
        unmasking: Unmasking | None = None,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        super().__init__(threshold, max_message_bytes=max_message_bytes)
        for name, given, kind in (("tolerance", tolerance, Tolerance), ("unmasking", unmasking, Unmasking)):
            if given is not None and not isinstance(given, kind):
                raise LocalError(name, given, f"must be an instance of {kind.__name__}")
        self.tolerance = tolerance
        self.unmasking = unmasking
        if tolerance is not None:
            corrupt = f"at most {tolerance.corrupt:.3g} of the cohort's clients"
            self.leakage = replace(self.leakage, assumption=_ASSUMPTIONS[tolerance.adversary].format(corrupt))

    def resolve_threshold(self, members: int) -> int:
        """``LocalError`` also where the tolerance leaves no graph, or no such threshold, for so many."""
        threshold = super().resolve_threshold(members)
        tolerance = self.tolerance
        corrupt, dropped = tolerance.counts(members) if tolerance else (0, 0)
        lying = tolerance is None or tolerance.adversary is Adversary.MALICIOUS
        least = (members + corrupt) // 2 + 1 if lying else corrupt + 1
        if threshold < least:
            bound = f"must be more than half of the {members} clients"
            if corrupt:
                bound = f"of {members} clients {corrupt} may be corrupt: must be at least {least}"
            raise LocalError("threshold", self.minimum, bound)
        if threshold > members - dropped:
            bound = f"of {members} clients {dropped} may drop out: must be at most {members - dropped}"
            raise LocalError("threshold", self.minimum, bound)
        if tolerance is not None:
            tolerance.parameters(members)
        return threshold

    def _parameters(self) -> Mapping[str, object]:
        return {"tolerance": repr(self.tolerance)}

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> MaskingClient:
        return MaskingClient(cohort, me, vector, checks, tape, self.tolerance)

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> MaskingServer:
        return MaskingServer(cohort, checks, tape, self.tolerance, self.unmasking)

    def _cost(self, cohort: Cohort, checks: Sequence[Check]) -> tuple[int, list[LinkCost]]:
        """On a sparse graph the key lists' proofs differ, and this is the longest that they can be."""
        n, up, down = cohort.size, (Role.CLIENT, Role.SERVER), (Role.SERVER, Role.CLIENT)
        sparse = graph_parameters(cohort, self.tolerance)
        holders = n if sparse is None else sparse.holders
        peers, proof, signed = holders - 1, merkle.longest_proof(holders, n), cohort.signed
        return 5, [
            LinkCost(ADVERTISE, *up, n, KeyAdvertisement.size(signed)),
            LinkCost(SHARE, *down, n, KeyList.size(n, holders, proof, signed)),
            LinkCost(SHARE, *up, n, SealedShares.size(holders)),
            LinkCost(INPUT, *down, n, RelayedShares.size(n, peers)),
            LinkCost(INPUT, *up, n, cohort.ring.packed_size(cohort.length)),
            LinkCost(CONSISTENCY, *down, n, SurvivorSet.size(n)),
            LinkCost(CONSISTENCY, *up, n, ConsistencyTags.size(peers)),
            LinkCost(UNMASK, *down, n, RelayedTags.size(holders, peers)),
            LinkCost(UNMASK, *up, n, UnmaskShares.size(holders, holders)),
        ]

    def __repr__(self) -> str:
        if self.tolerance is None:
            return super().__repr__()
        return f"Masking(threshold={self.minimum:.4g}, tolerance={self.tolerance})"
