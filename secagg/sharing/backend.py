"""SecretSharing: additive shares over Field64 for m ≥ 2 aggregators (spec section 13)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Self, TypeVar

from mpc.cost import LinkCost
from mpc.errors import LocalError
from mpc.leakage import Leakage
from mpc.party import PartyId, Saveable
from mpc.tape import RandomTape, SystemTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.checks.outliers import OutlierRule
from secagg.checks.shares import ShareCheck, claims_of
from secagg.client import Vector
from secagg.cohort import Cohort, is_whole
from secagg.link import LinkedParty
from secagg.parts import DEFAULT_MESSAGE_BYTES
from secagg.sealed import check_public
from secagg.sharing.aggregator import Aggregator
from secagg.sharing.client import SharingClient
from secagg.sharing.comparing import ComparingAggregator
from secagg.sharing.dealer import DEALER, Dealer, DealerKey
from secagg.sharing.declared import LEAKAGE, compared_leakage, costs
from secagg.sharing.gram import ComparingServer
from secagg.sharing.keys import AggregatorKey, AggregatorPublicKey, check_public_keys
from secagg.sharing.messages import (
    CHECK,
    INPUT,
    PHASES,
)
from secagg.sharing.scheme import PlainShares, ProvedShares, Scheme
from secagg.sharing.server import SharingServer, aggregator_ids
from secagg.sharing.sketch import Sketching, rule_of, sketching_of

Key = TypeVar("Key")

MIN_AGGREGATORS, MAX_AGGREGATORS = 2, 255  # below 2 nothing is hidden; 255 names fit one byte


class SecretSharing(Backend):
    """Each client cuts its vector into m random-looking parts, one for each aggregator.

    * ``aggregators``: m, from 2 to 255. All of them are needed for the sum.
    * ``threshold``: no aggregator sums over fewer clients, as a fraction of the cohort or a count.
    * ``public_keys``: of the aggregators, in order: all that clients and the server need.
    * ``private_keys``: of the aggregators, where one process plays all of them.
    * ``dealer``: the key of the dealer, for rounds with a rule on outliers: private for the dealer itself,
      its ``public`` bytes for the server and the aggregators. Clients need none.
    * ``max_message_bytes``: see :class:`Backend`.

    With no keys at all, ``setup()`` makes them. A client's upload is 8 · length bytes, and 64 more for each
    further aggregator, because every share but the first is sent as the seed that it is expanded from.

    The inputs stay hidden while one aggregator is honest. The sum is right only if all of them are: one
    that lies about its sum share shifts the result, and nobody can tell.

    Alone among the backends it takes checks that clients prove on shares, such as ``NormBound``: then a
    client counts only if every aggregator has seen its proof to hold. And it takes a rule on outliers, such
    as ``MultiKrum``: then a dealer takes part, and the server learns more (``leakage_of``).
    """

    proves_on_shares = True

    name = "sharing"
    phases = PHASES
    client_phases = (INPUT, CHECK)
    input_phase = INPUT
    leakage = LEAKAGE

    def __init__(
        self,
        aggregators: int = 2,
        threshold: float = 2 / 3,
        *,
        public_keys: Sequence[AggregatorPublicKey] | None = None,
        private_keys: Sequence[AggregatorKey] | None = None,
        dealer: DealerKey | bytes | None = None,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        super().__init__(threshold, max_message_bytes=max_message_bytes)
        if not is_whole(aggregators) or not MIN_AGGREGATORS <= aggregators <= MAX_AGGREGATORS:
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
        self._dealer = dealer if isinstance(dealer, DealerKey) else None
        self._dealer_public = _public_dealer(dealer)

    @property
    def public_keys(self) -> tuple[AggregatorPublicKey, ...]:
        """What clients and the server pin; ``LocalError`` while there are none."""
        if self._public is None:
            raise LocalError("public_keys", None, "give the aggregators' keys, or have setup() make them")
        return self._public

    @property
    def dealer_key(self) -> bytes:
        """The dealer's public key, which the server and the aggregators pin; ``LocalError`` without one."""
        if self._dealer_public is None:
            raise LocalError("dealer", None, "a rule on outliers takes a dealer: give its key")
        return self._dealer_public

    def setup(self, tape: RandomTape | None = None) -> Self:
        if self._public is not None:
            return self
        source = tape or SystemTape()
        keys = [AggregatorKey.generate(source) for _ in range(self.aggregators)]
        return type(self)(
            self.aggregators,
            self.minimum,
            private_keys=keys,
            dealer=DealerKey.generate(source) if self._dealer_public is None else self._dealer,
            max_message_bytes=self.max_message_bytes,
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
        if not is_whole(index) or not 0 <= index < self.aggregators:
            raise LocalError("index", index, f"must be from 0 to {self.aggregators - 1}")
        if not isinstance(key, AggregatorKey):
            raise LocalError("key", type(key).__name__, "must be an AggregatorKey")
        if cohort.threshold < (least := self.resolve_threshold(cohort.size)):
            raise LocalError(
                "cohort.threshold", cohort.threshold, f"this aggregator sums over no fewer than {least}"
            )
        if key.public != self.public_keys[index]:
            raise LocalError("key", key, f"is not the private half of public_keys[{index}]")
        scheme, sketching = self._scheme(cohort, checks), self._sketching(cohort, checks)
        party = Aggregator(cohort, index, key, scheme)
        if sketching is not None:
            links = [public.link for public in self.public_keys]
            party = ComparingAggregator(cohort, index, key, scheme, sketching, links, self.dealer_key)
        return self._linked_helper(party, cohort, key.link, checks, tape)

    def helpers(
        self, cohort: Cohort, *, checks: Sequence[Check] = (), tape: RandomTape
    ) -> Mapping[PartyId, Saveable[object]]:
        """All aggregators, and the dealer if there is one; ``LocalError`` without their private keys."""
        dealer = () if rule_of(checks) is None else (DEALER,)
        ids = (*aggregator_ids(self.aggregators), *dealer)
        return {who: self._helper(cohort, who, checks, tape) for who in ids}

    def dealer(self, cohort: Cohort, *, checks: Sequence[Check], tape: RandomTape) -> Saveable[object]:
        """The dealer of a round with a rule on outliers; ``LocalError`` for another, and without its key."""
        return self._linked_dealer(cohort, checks, tape)

    def _linked_dealer(
        self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedParty[object]:
        sketching = self._sketching(cohort, checks)
        if sketching is None:
            raise LocalError("checks", [check.name for check in checks], "have no rule that takes a dealer")
        if self._dealer is None:
            raise LocalError("dealer", None, "a process that plays the dealer needs its private key")
        links = [public.link for public in self.public_keys]
        party = Dealer(cohort, self._dealer, links, sketching.projections)
        return self._linked_helper(party, cohort, self._dealer.link, checks, tape)

    def _helper(
        self, cohort: Cohort, who: PartyId, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedParty[object]:
        if who == DEALER:
            return self._linked_dealer(cohort, checks, tape)
        if self._private is None:
            raise LocalError("private_keys", None, "a process that plays the aggregators needs their keys")
        return self._linked_aggregator(cohort, who.index, self._private[who.index], checks, tape)

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        ids = aggregator_ids(self.aggregators)
        return {who: key.link for who, key in zip(ids, self.public_keys, strict=True)}

    def _helpers_of(self, checks: Sequence[Check]) -> Mapping[PartyId, bytes]:
        found = self._helper_keys()
        return found if rule_of(checks) is None else {**found, DEALER: self.dealer_key}

    def leakage_of(self, checks: Sequence[Check]) -> Leakage:
        return self.leakage if rule_of(checks) is None else compared_leakage(self.leakage)

    def _parameters(self) -> Mapping[str, object]:
        keys = b"".join(key.encode() for key in self.public_keys)
        return {"public_keys": hashlib.sha256(keys).hexdigest()}

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> SharingClient:
        sealing_keys = [key.sealing for key in self.public_keys]
        return SharingClient(cohort, me, vector, checks, tape, sealing_keys, self._scheme(cohort, checks))

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> SharingServer:
        proved = [one for one in checks if isinstance(one, ShareCheck) and not isinstance(one, OutlierRule)]
        claim = "+".join(check.name for check in proved)
        scheme, ids = self._scheme(cohort, checks), aggregator_ids(self.aggregators)
        rule, sketching = rule_of(checks), self._sketching(cohort, checks)
        if rule is None or sketching is None:
            return SharingServer(cohort, checks, tape, ids, scheme, claim)
        return ComparingServer(cohort, checks, tape, ids, scheme, claim, rule, sketching)

    def _context(self, cohort: Cohort, who: PartyId, checks: Sequence[Check]) -> Mapping[str, object]:
        claims = claims_of(checks, cohort)
        stated = {} if claims is None else {"claims": claims.digest().hex()}
        return {**super()._context(cohort, who, checks), **stated}

    def _scheme(self, cohort: Cohort, checks: Sequence[Check]) -> Scheme:
        """What shares of this round look like: with proofs if a check asks for them."""
        claims = claims_of(checks, cohort)
        if claims is None:
            return PlainShares(cohort.digest, cohort.length, self.aggregators)
        stated = ", ".join(repr(check) for check in checks if isinstance(check, ShareCheck))
        return ProvedShares(cohort.digest, claims, self.aggregators, stated)

    def _sketching(self, cohort: Cohort, checks: Sequence[Check]) -> Sketching | None:
        """How clients are compared, if they are; ``LocalError`` for a rule that has not what it needs."""
        rule = rule_of(checks)
        return None if rule is None else sketching_of(rule, claims_of(checks, cohort), cohort)

    def _cost(self, cohort: Cohort, checks: Sequence[Check]) -> tuple[int, list[LinkCost]]:
        sketching = self._sketching(cohort, checks)
        projections = None if sketching is None else sketching.projections
        return 1, costs(cohort, self.aggregators, self._scheme(cohort, checks), projections)

    def __repr__(self) -> str:
        return f"SecretSharing(aggregators={self.aggregators}, threshold={self.minimum:.4g})"


def _public_dealer(dealer: DealerKey | bytes | None) -> bytes | None:
    if dealer is None or isinstance(dealer, DealerKey):
        return None if dealer is None else dealer.public
    check_public("dealer", dealer)
    return dealer


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
