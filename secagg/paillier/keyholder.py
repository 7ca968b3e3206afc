"""The key holder: decrypts one blinded sum a round, over enough clients (spec section 14.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from mpc.errors import PeerError
from mpc.party import SERVER, Message, PartyId, StateMachine
from secagg.cohort import Cohort
from secagg.paillier.keys import KeyHolderKeys
from secagg.paillier.messages import DECRYPT, KEY_HOLDER, OPENED, DecryptRequest, OpenedSum
from secagg.paillier.packing import Packing


class KeyHolder(StateMachine):
    """The key holder in one round. It answers one request, and none for a round that its log holds.

    It sees whom the server says it has counted, and numbers that the server has blinded; it cannot see
    whether a ciphertext is indeed the product of those clients' ciphertexts.
    """

    result: None = None
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {("ready", DECRYPT): "_on_request"}
    moves: ClassVar[Mapping[tuple[str, str], str]] = {("ready", "answered"): DECRYPT}
    saved: ClassVar[tuple[str, ...]] = ("_entered",)

    def __init__(self, cohort: Cohort, keys: KeyHolderKeys) -> None:
        super().__init__("ready")
        self._cohort = cohort
        self._keys = keys
        self._entered = False
        self._ciphertexts = Packing.of(cohort, keys.encryption.public.bits).ciphertexts(cohort.length)

    @property
    def id(self) -> PartyId:
        return KEY_HOLDER

    def start(self) -> list[Message]:
        return []

    def _on_request(self, message: Message) -> list[Message]:
        cohort, key = self._cohort, self._keys.encryption
        request = DecryptRequest.decode(message.payload, key.public, self._ciphertexts, cohort.size)
        if (counted := len(request.counted)) < cohort.threshold:
            reason = f"asks for a sum over {counted} clients; the threshold is {cohort.threshold}"
            raise PeerError(message.sender, message.phase, reason)
        # Entered before anything is decrypted: a request that fails from here on is not tried again.
        if not self._keys.log.enter(cohort.session, cohort.round) and not self.replaying:
            reason = f"a sum of round {cohort.round} of this session has been opened before"
            raise PeerError(message.sender, message.phase, reason)
        self._entered = True
        self.state = "answered"
        opened = OpenedSum(key.decrypt_many(request.ciphertexts)).encode(key.public)
        return [Message(cohort.session, cohort.round, OPENED, KEY_HOLDER, SERVER, opened)]

    def restore(self, state: Mapping[str, object]) -> None:
        super().restore(state)
        if self._entered:  # the log may be older than this party
            self._keys.log.enter(self._cohort.session, self._cohort.round)

    def __repr__(self) -> str:
        return f"KeyHolder(round {self._cohort.round}, state {self.state!r})"
