"""A key holder: helps to open one sum a round, over enough clients (spec sections 14.4 to 14.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from mpc.errors import PeerError
from mpc.party import SERVER, Message, PartyId, StateMachine
from mpc.tape import RandomTape
from secagg.cohort import Cohort
from secagg.paillier.keys import OpeningKeys
from secagg.paillier.messages import DECRYPT, OPENED, DecryptRequest
from secagg.paillier.opening import opening_context
from secagg.paillier.packing import Packing


class KeyHolder(StateMachine):
    """One key holder in one round. It answers one request, and none for a round that its log holds.

    It sees whom the server says it has counted, and remainders in which no plaintext occurs; it cannot see
    whether a remainder is indeed that of the product of those clients' ciphertexts.
    """

    result: None = None
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {("ready", DECRYPT): "_on_request"}
    moves: ClassVar[Mapping[tuple[str, str], str]] = {("ready", "answered"): DECRYPT}
    saved: ClassVar[tuple[str, ...]] = ("_entered",)

    def __init__(self, cohort: Cohort, me: PartyId, keys: OpeningKeys, tape: RandomTape) -> None:
        super().__init__("ready")
        self._cohort = cohort
        self._me = me
        self._keys = keys
        self._tape = tape
        self._entered = False
        self._ciphertexts = Packing.of(cohort, keys.encryption_key.bits).ciphertexts(cohort.length)

    @property
    def id(self) -> PartyId:
        return self._me

    def start(self) -> list[Message]:
        return []

    def _on_request(self, message: Message) -> list[Message]:
        cohort, keys = self._cohort, self._keys
        request = DecryptRequest.decode(message.payload, keys.encryption_key, self._ciphertexts, cohort.size)
        if (counted := len(request.counted)) < cohort.threshold:
            reason = f"asks for a sum over {counted} clients; the minimum is {cohort.threshold}"
            raise PeerError(message.sender, message.phase, reason)
        # Entered before anything is computed: a request that fails from here on is not tried again.
        if not keys.log.enter(cohort.session, cohort.round) and not self.replaying:
            reason = f"a sum of round {cohort.round} of this session has been opened before"
            raise PeerError(message.sender, message.phase, reason)
        self._entered = True
        self.state = "answered"
        context = opening_context(cohort, request.counted)
        payload = keys.answer(request.remainders, context, self._tape)
        return [Message(cohort.session, cohort.round, OPENED, self._me, SERVER, payload)]

    def restore(self, state: Mapping[str, object]) -> None:
        super().restore(state)
        if self._entered:  # the log may be older than this party
            self._keys.log.enter(self._cohort.session, self._cohort.round)

    def __repr__(self) -> str:
        return f"KeyHolder({self._me.index}, round {self._cohort.round}, state {self.state!r})"
