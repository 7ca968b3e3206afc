"""Masking: pairwise masks that cancel, with recovery from dropouts (spec section 12)."""

from __future__ import annotations

from collections.abc import Sequence

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
from secagg.masking.server import MaskingServer


class Masking(Backend):
    """Bonawitz et al. 2017 (CCS; eprint 2017/281) with double masking, on the complete graph.

    ``threshold``: how many clients must stay to the end, as a fraction of the cohort or a count; more than
    half, since two halves of the cohort that are told different survivor sets would otherwise reveal both
    secrets of a client. The round survives the loss of all the others, in any phase.
    """

    name = "masking"
    phases = PHASES
    client_phases = PHASES
    input_phase = INPUT
    leakage = Leakage(
        assumption=(
            "the server may lie, but relays the clients' public keys unaltered where the cohort pins no "
            "identities, and works together with fewer than 2 · threshold - n clients; the transport is "
            "confidential"
        ),
        learns={
            Role.CLIENT: ("who takes part, and who of them survived",),
            Role.SERVER: (
                "the sum over the survivors' vectors: of updates, weights and metrics",
                "who dropped out in which phase, and who was refused and why",
            ),
        },
        hides=frozenset({Role.CLIENT, Role.SERVER}),
        source="Bonawitz et al. 2017 (eprint 2017/281), section 6",
    )

    def resolve_threshold(self, members: int) -> int:
        threshold = super().resolve_threshold(members)
        if 2 * threshold <= members:
            raise LocalError("threshold", self.threshold, f"must be more than half of the {members} clients")
        return threshold

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> MaskingClient:
        return MaskingClient(cohort, me, vector, checks, tape)

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> MaskingServer:
        return MaskingServer(cohort, checks, tape)

    def _cost(self, cohort: Cohort) -> tuple[int, list[LinkCost]]:
        n, up, down = cohort.size, (Role.CLIENT, Role.SERVER), (Role.SERVER, Role.CLIENT)
        signed = cohort.signed
        return 5, [
            LinkCost(ADVERTISE, *up, n, KeyAdvertisement.size(signed)),
            LinkCost(SHARE, *down, n, KeyList.size(n, n, signed)),
            LinkCost(SHARE, *up, n, SealedShares.size(n)),
            LinkCost(INPUT, *down, n, RelayedShares.size(n, n)),
            LinkCost(INPUT, *up, n, cohort.ring.packed_size(cohort.length)),
            LinkCost(CONSISTENCY, *down, n, SurvivorSet.size(n)),
            LinkCost(CONSISTENCY, *up, n, ConsistencyTags.size(n)),
            LinkCost(UNMASK, *down, n, RelayedTags.size(n, n - 1)),
            LinkCost(UNMASK, *up, n, UnmaskShares.size(n, n)),
        ]
