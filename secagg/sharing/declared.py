"""What secret sharing costs and what its parties learn, as data (spec sections 13.2, 13.6 and 13.8)."""

from __future__ import annotations

from dataclasses import replace

from mpc.cost import LinkCost
from mpc.leakage import Leakage
from mpc.party import Role
from secagg.cohort import Cohort
from secagg.sharing.gram_messages import DealRequest, MaskedSketches, SketchRequest, TaggedSketches, Triangle
from secagg.sharing.messages import (
    COMPARE,
    DEAL,
    DEALT,
    DECIDE,
    GRAM,
    INPUT,
    MASKED,
    OPEN,
    RELAY,
    SKETCH,
    SUM,
    VERDICT,
    Decision,
    JudgedShare,
    RelayedShare,
    SharedInput,
    SumRequest,
    SumShare,
)
from secagg.sharing.scheme import Scheme
from secagg.sharing.sketch import SKETCH_SEED_BYTES

LEAKAGE = Leakage(
    assumption=(
        "at least one aggregator is honest; the server seals no shares in a member's name, but may lie "
        "in all else; the transport is confidential; clients may be malicious: each can add to the sum "
        "whatever it likes, of any size until its norm is checked, and learns nothing"
    ),
    learns={
        Role.CLIENT: ("nothing",),
        Role.SERVER: (
            "the sum over the survivors' vectors: of updates, weights and metrics",
            "who dropped out, and who was refused and why",
        ),
        Role.AGGREGATOR: (
            "who takes part and who counts; of each client uniform field elements, of which any m - 1 "
            "aggregators together learn nothing",
        ),
    },
    hides=frozenset({Role.CLIENT, Role.SERVER, Role.AGGREGATOR}),
    source="Corrigan-Gibbs and Boneh 2017 (Prio; arXiv 1703.06255), section 3",
)
_DEALER = (
    "the dealer works together neither with the server nor with an aggregator: who knows its triple can read "
    "all sketches"
)
_COLLUDING = (
    "a server and an aggregator that both lie learn linear functions of sketches in place of some of their "
    "inner products"
)
_GRAM = (
    "norms, distances and inner products of all clients' updates whose proofs hold, refused ones included: "
    "the Gram matrix of sketches of them, and nothing else of the sketches"
)

_TO, _FROM = (Role.SERVER, Role.AGGREGATOR), (Role.AGGREGATOR, Role.SERVER)


def costs(cohort: Cohort, aggregators: int, scheme: Scheme, projections: int | None) -> list[LinkCost]:
    """All messages, in payload bytes; ``projections``: of a sketch, if clients are compared."""
    n, m, challenge, verifier = cohort.size, aggregators, scheme.challenge_bytes, scheme.verifier_bytes
    seed = 0 if projections is None else SKETCH_SEED_BYTES
    return [
        LinkCost(INPUT, Role.CLIENT, Role.SERVER, n, SharedInput.size(scheme.sizes)),
        *(LinkCost(RELAY, *_TO, n, RelayedShare.size(share, challenge, seed)) for share in scheme.sizes),
        LinkCost(VERDICT, *_FROM, n * m, JudgedShare.size(verifier)),
        *(_comparison(n, m, projections) if projections is not None else ()),
        LinkCost(DECIDE, *_TO, n * m, Decision.size(verifier, m)),
        LinkCost(OPEN, *_TO, m, SumRequest.size(n)),
        LinkCost(SUM, *_FROM, m, SumShare.size(cohort.length)),
    ]


def _comparison(members: int, aggregators: int, projections: int) -> list[LinkCost]:
    """The messages of a comparison of all members."""
    shape, m = (projections, members), aggregators
    return [
        LinkCost(DEAL, Role.SERVER, Role.DEALER, 1, DealRequest.SIZE),
        LinkCost(DEALT, Role.DEALER, Role.SERVER, 1, Triangle.size(members)),
        LinkCost(SKETCH, *_TO, m, SketchRequest.size(members)),
        LinkCost(MASKED, *_FROM, m, MaskedSketches.size(shape, m)),
        LinkCost(COMPARE, *_TO, m, TaggedSketches.size(shape, m)),
        LinkCost(GRAM, *_FROM, m, Triangle.size(members)),
    ]


def compared_leakage(plain: Leakage) -> Leakage:
    """What is learnt in a round with a rule, beside what is in any."""
    told = dict(plain.learns)
    told[Role.SERVER] = (*told[Role.SERVER], _GRAM)
    told[Role.DEALER] = ("how many clients are compared",)
    return replace(
        plain,
        assumption=f"{plain.assumption}; {_DEALER}; {_COLLUDING}",
        learns=told,
        hides=plain.hides | {Role.DEALER},
        source=f"{plain.source}; Beaver 1991 (Crypto), of matrices as in Mohassel and Zhang 2017 (SecureML)",
    )
