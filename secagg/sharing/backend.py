"""SecretSharing: additive shares over Field64 for m ≥ 2 aggregators (spec section 13)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Self, TypeVar

from mpc.cost import LinkCost
from mpc.errors import LocalError
from mpc.leakage import Leakage
from mpc.party import PartyId, Role, Saveable
from mpc.tape import RandomTape, SystemTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.checks.shares import ShareCheck, claims_of
from secagg.client import Vector
from secagg.cohort import Cohort
from secagg.link import LinkedParty
from secagg.parts import DEFAULT_MESSAGE_BYTES
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.client import SharingClient
from secagg.sharing.keys import AggregatorKey, AggregatorPublicKey, check_public_keys
from secagg.sharing.messages import (
    CHECK,
    DECIDE,
    INPUT,
    OPEN,
    PHASES,
    RELAY,
    SUM,
    VERDICT,
    Decision,
    JudgedShare,
    RelayedShare,
    SharedInput,
    SumRequest,
    SumShare,
)
from secagg.sharing.scheme import PlainShares, ProvedShares, Scheme
from secagg.sharing.server import SharingServer, aggregator_ids

Key = TypeVar("Key")

MIN_AGGREGATORS, MAX_AGGREGATORS = 2, 255  # below 2 nothing is hidden; 255 names fit one byte


class SecretSharing(Backend):
    """Each client cuts its vector into m random-looking parts, one for each aggregator.

    * ``aggregators``: m, from 2 to 255. All of them are needed for the sum.
    * ``threshold``: no aggregator sums over fewer clients, as a fraction of the cohort or a count.
    * ``public_keys``: of the aggregators, in order: all that clients and the server need.
    * ``private_keys``: of the aggregators, where one process plays all of them.
    * ``max_message_bytes``: see :class:`Backend`.

    With no keys at all, ``setup()`` makes them. A client's upload is 8 · length bytes, and 64 more for each
    further aggregator, because every share but the first is sent as the seed that it is expanded from.

    The inputs stay hidden while one aggregator is honest. The sum is right only if all of them are: one
    that lies about its sum share shifts the result, and nobody can tell.

    Alone among the backends it takes checks that clients prove on shares, such as ``NormBound``: then a
    client counts only if every aggregator has seen its proof to hold.
    """

    proves_on_shares = True

    name = "sharing"
    phases = PHASES
    client_phases = (INPUT, CHECK)
    input_phase = INPUT
    leakage = Leakage(
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

    def __init__(
        self,
        aggregators: int = 2,
        threshold: float = 2 / 3,
        *,
        public_keys: Sequence[AggregatorPublicKey] | None = None,
        private_keys: Sequence[AggregatorKey] | None = None,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        super().__init__(threshold, max_message_bytes=max_message_bytes)
        whole = isinstance(aggregators, int) and not isinstance(aggregators, bool)
        if not whole or not MIN_AGGREGATORS <= aggregators <= MAX_AGGREGATORS:
            raise LocalError(
                "aggregators", aggregators, f"must be from {MIN_AGGREGATORS} to {MAX_AGGREGATORS}"
            )
        self.aggregators = aggregators
        self._private = _all_of("private_keys", AggregatorKey, private_keys)
        derived = None if self._private is None else tuple(key.public for key in self._private)
        given = _all_of("public_keys", AggregatorPublicKey, public_keys)
        public = derived if given is None else given
        self._public = None if public is None else check_public_keys(aggregators, public)
        if derived is not None and derived != self._public:
            raise LocalError("public_keys", "other keys", "must be the public halves of private_keys")

    @property
    def public_keys(self) -> tuple[AggregatorPublicKey, ...]:
        """What clients and the server pin; ``LocalError`` while there are none."""
        if self._public is None:
            raise LocalError("public_keys", None, "give the aggregators' keys, or have setup() make them")
        return self._public

    def setup(self, tape: RandomTape | None = None) -> Self:
        if self._public is not None:
            return self
        source = tape or SystemTape()
        keys = [AggregatorKey.generate(source) for _ in range(self.aggregators)]
        return type(self)(
            self.aggregators, self.minimum, private_keys=keys, max_message_bytes=self.max_message_bytes
        )

    def aggregator(
        self,
        cohort: Cohort,
        index: int,
        key: AggregatorKey,
        *,
        checks: Sequence[Check] = (),
        tape: RandomTape,
    ) -> Saveable[object]:
        """One aggregator, from 0, where each runs in a process of its own. ``checks``: those of the round.

        ``LocalError`` if ``key`` is not its private key, or the cohort's threshold is below this backend's.
        """
        return self._linked_aggregator(cohort, index, key, checks, tape)

    def load_aggregator(
        self,
        cohort: Cohort,
        index: int,
        key: AggregatorKey,
        data: bytes,
        *,
        checks: Sequence[Check] = (),
        tape: RandomTape,
    ) -> Saveable[object]:
        """The aggregator whose ``dump()`` gave ``data``; see :meth:`load_client`."""
        party = self._linked_aggregator(cohort, index, key, checks, tape)
        party.load(data)
        return party

    def _linked_aggregator(
        self, cohort: Cohort, index: int, key: AggregatorKey, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedParty[object]:
        whole = isinstance(index, int) and not isinstance(index, bool)
        if not whole or not 0 <= index < self.aggregators:
            raise LocalError("index", index, f"must be from 0 to {self.aggregators - 1}")
        if not isinstance(key, AggregatorKey):
            raise LocalError("key", type(key).__name__, "must be an AggregatorKey")
        if cohort.threshold < (least := self.resolve_threshold(cohort.size)):
            raise LocalError(
                "cohort.threshold", cohort.threshold, f"this aggregator sums over no fewer than {least}"
            )
        if key.public != self.public_keys[index]:
            raise LocalError("key", key, f"is not the private half of public_keys[{index}]")
        party = Aggregator(cohort, index, key, self._scheme(cohort, checks))
        return self._linked_helper(party, cohort, key.link, checks, tape)

    def helpers(
        self, cohort: Cohort, *, checks: Sequence[Check] = (), tape: RandomTape
    ) -> Mapping[PartyId, Saveable[object]]:
        """All aggregators; ``LocalError`` where their private keys are not here."""
        return {who: self._helper(cohort, who, checks, tape) for who in aggregator_ids(self.aggregators)}

    def _helper(
        self, cohort: Cohort, who: PartyId, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedParty[object]:
        if self._private is None:
            raise LocalError("private_keys", None, "a process that plays the aggregators needs their keys")
        return self._linked_aggregator(cohort, who.index, self._private[who.index], checks, tape)

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        ids = aggregator_ids(self.aggregators)
        return {who: key.link for who, key in zip(ids, self.public_keys, strict=True)}

    def _parameters(self) -> Mapping[str, object]:
        keys = b"".join(key.encode() for key in self.public_keys)
        return {"public_keys": hashlib.sha256(keys).hexdigest()}

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> SharingClient:
        sealing_keys = [key.sealing for key in self.public_keys]
        return SharingClient(cohort, me, vector, checks, tape, sealing_keys, self._scheme(cohort, checks))

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> SharingServer:
        claim = "+".join(check.name for check in checks if isinstance(check, ShareCheck))
        scheme = self._scheme(cohort, checks)
        return SharingServer(cohort, checks, tape, aggregator_ids(self.aggregators), scheme, claim)

    def _scheme(self, cohort: Cohort, checks: Sequence[Check]) -> Scheme:
        """What shares of this round look like: with proofs if a check asks for them."""
        claims = claims_of(checks, cohort)
        if claims is None:
            return PlainShares(cohort.digest, cohort.length, self.aggregators)
        return ProvedShares(cohort.digest, claims, self.aggregators)

    def _cost(self, cohort: Cohort, checks: Sequence[Check]) -> tuple[int, list[LinkCost]]:
        n, m, scheme = cohort.size, self.aggregators, self._scheme(cohort, checks)
        challenge, verifier = scheme.challenge_bytes, scheme.verifier_bytes
        out, back = (Role.SERVER, Role.AGGREGATOR), (Role.AGGREGATOR, Role.SERVER)
        return 1, [
            LinkCost(INPUT, Role.CLIENT, Role.SERVER, n, SharedInput.size(scheme.sizes)),
            *(LinkCost(RELAY, *out, n, RelayedShare.size(share, challenge)) for share in scheme.sizes),
            LinkCost(VERDICT, *back, n * m, JudgedShare.size(verifier)),
            LinkCost(DECIDE, *out, n * m, Decision.size(verifier, m)),
            LinkCost(OPEN, *out, m, SumRequest.size(n)),
            LinkCost(SUM, *back, m, SumShare.size(cohort.length)),
        ]

    def __repr__(self) -> str:
        return f"SecretSharing(aggregators={self.aggregators}, threshold={self.minimum:.4g})"


def _all_of(argument: str, kind: type[Key], keys: Sequence[Key] | None) -> tuple[Key, ...] | None:
    """The keys, if any; ``LocalError`` shows of what is none its type alone, for it may be secret."""
    if keys is None:
        return None
    if not isinstance(keys, Sequence):
        raise LocalError(argument, type(keys).__name__, f"must be a sequence of {kind.__name__}")
    for place, key in enumerate(keys):
        if not isinstance(key, kind):
            raise LocalError(f"{argument}[{place}]", type(key).__name__, f"must be an {kind.__name__}")
    return tuple(keys)
