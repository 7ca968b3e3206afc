"""Paillier: clients encrypt, the server adds, a key holder opens the sum (spec section 14)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Self

from mpc.cost import LinkCost
from mpc.errors import LocalError
from mpc.leakage import Leakage
from mpc.party import PartyId, Role, Saveable
from mpc.tape import RandomTape, SystemTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.client import Vector
from secagg.cohort import Cohort
from secagg.link import LinkedParty
from secagg.paillier.client import PaillierClient
from secagg.paillier.keyformat import DEFAULT_BITS, modulus_bits
from secagg.paillier.keyholder import KeyHolder
from secagg.paillier.keys import KeyHolderKeys, KeyHolderPublic
from secagg.paillier.messages import (
    CHECK,
    DECRYPT,
    INPUT,
    KEY_HOLDER,
    OPENED,
    PHASES,
    DecryptRequest,
    EncryptedInput,
    OpenedSum,
)
from secagg.paillier.packing import Packing
from secagg.paillier.server import PaillierServer
from secagg.parts import DEFAULT_MESSAGE_BYTES


class Paillier(Backend):
    """Packed Paillier encryption (Eurocrypt 1999), with the server as aggregator and one key holder.

    * ``key_bits``: of the modulus: 2048, 3072 or 4096.
    * ``threshold``: the key holder opens no sum over fewer clients, as a fraction of the cohort or a count.
    * ``keys``: the key holder's, for the key holder alone (and for whoever simulates everybody).
    * ``public``: their public halves, pinned in advance: all that clients and the server need.
    * ``insecure_key_bits``: instead of ``key_bits``, a size that protects nothing, for tests.
    * ``max_message_bytes``: see :class:`Backend`.

    Raises ``LocalError`` for a size that there is not, for keys of another size, and for public halves that
    belong to other keys.
    """

    name = "paillier"
    phases = PHASES
    client_phases = (INPUT, CHECK)
    input_phase = INPUT
    leakage = Leakage(
        assumption=(
            "the server and the key holder do not work together; the server follows the protocol (one that "
            "lies can have a single client's vector opened under a false list of clients) and does not pass "
            "ciphertexts on to clients (who could contribute copies of another's); the key holder's answers "
            "are right; the transport is confidential, from the key holder above all"
        ),
        learns={
            Role.CLIENT: ("nothing",),
            Role.SERVER: (
                "the sum over the survivors' vectors: of updates, weights and metrics",
                "who dropped out in which phase, and who was refused and why",
            ),
            Role.KEY_HOLDER: ("whose vectors are in the sum; of the sum itself nothing, as it is blinded",),
        },
        hides=frozenset({Role.CLIENT, Role.SERVER, Role.KEY_HOLDER}),
        source="Paillier 1999 (Eurocrypt), section 4; Damgård, Jurik and Nielsen 2010, section 3",
    )

    def __init__(
        self,
        key_bits: int = DEFAULT_BITS,
        threshold: float = 2 / 3,
        keys: KeyHolderKeys | None = None,
        public: KeyHolderPublic | None = None,
        insecure_key_bits: int | None = None,
        *,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        super().__init__(threshold, max_message_bytes=max_message_bytes)
        self.key_bits = modulus_bits(key_bits, insecure_key_bits, ("key_bits", "insecure_key_bits"))
        self._insecure_key_bits = insecure_key_bits
        for argument, value, kind in (("keys", keys, KeyHolderKeys), ("public", public, KeyHolderPublic)):
            if value is not None and not isinstance(value, kind):
                raise LocalError(argument, type(value).__name__, f"must be {kind.__name__}")
        if keys is not None and public is not None and keys.public != public:
            raise LocalError("public", public.encryption, "does not belong to the keys given as well")
        self._keys = keys
        self.public = public if keys is None else keys.public
        if self.public is not None and (found := self.public.encryption.bits) != self.key_bits:
            argument = "key_bits" if insecure_key_bits is None else "insecure_key_bits"
            raise LocalError(argument, self.key_bits, f"the key that is given has {found} bits")

    def setup(self, tape: RandomTape | None = None) -> Self:
        """This backend with a new key, unless it has one or the public half of one."""
        if self.public is not None:
            return self
        keys = KeyHolderKeys.generate(
            self.key_bits, tape=tape or SystemTape(), insecure_bits=self._insecure_key_bits
        )
        return type(self)(
            self.key_bits,
            self.threshold,
            keys,
            insecure_key_bits=self._insecure_key_bits,
            max_message_bytes=self.max_message_bytes,
        )

    def helpers(self, cohort: Cohort, *, tape: RandomTape) -> Mapping[PartyId, Saveable[object]]:
        """The key holder, which takes its private keys, and a cohort whose threshold is not below its own."""
        return {KEY_HOLDER: self._helper(cohort, KEY_HOLDER, tape)}

    def _helper(self, cohort: Cohort, who: PartyId, tape: RandomTape) -> LinkedParty[object]:
        if self._keys is None:
            raise LocalError("keys", None, "the key holder needs its private keys")
        if cohort.threshold < (least := self.resolve_threshold(cohort.size)):
            raise LocalError(
                "cohort.threshold", cohort.threshold, f"this key holder opens no sum over less than {least}"
            )
        holder = KeyHolder(cohort, self._keys)
        return self._linked_helper(holder, cohort, self._keys.link, tape)

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        return {KEY_HOLDER: self._pinned().link}

    def _parameters(self) -> Mapping[str, object]:
        return {"public": hashlib.sha256(self._pinned().encode()).hexdigest()}

    def _pinned(self) -> KeyHolderPublic:
        if self.public is None:
            raise LocalError("public", None, "give the key holder's public keys, or call setup()")
        return self.public

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> PaillierClient:
        return PaillierClient(cohort, me, vector, checks, tape, self._pinned().encryption)

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> PaillierServer:
        return PaillierServer(cohort, checks, tape, self._pinned().encryption)

    def _cost(self, cohort: Cohort) -> tuple[int, list[LinkCost]]:
        n, bits = cohort.size, self.key_bits
        ciphertexts = Packing.of(cohort, bits).ciphertexts(cohort.length)
        to_holder = DecryptRequest.size(bits, ciphertexts, n)
        from_holder = OpenedSum.size(bits, ciphertexts)
        return 1, [
            LinkCost(INPUT, Role.CLIENT, Role.SERVER, n, EncryptedInput.size(bits, ciphertexts)),
            LinkCost(DECRYPT, Role.SERVER, Role.KEY_HOLDER, 1, to_holder),
            LinkCost(OPENED, Role.KEY_HOLDER, Role.SERVER, 1, from_holder),
        ]

    def __repr__(self) -> str:
        return f"Paillier(key_bits={self.key_bits}, threshold={self.threshold:.4g})"
