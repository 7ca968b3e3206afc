"""What the Paillier backends have in common: everything but who opens the sum (spec section 14)."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from gmpy2 import mpz

from mpc.cost import LinkCost
from mpc.errors import LocalError
from mpc.party import PartyId, Role
from mpc.tape import RandomTape, SystemTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.client import Vector
from secagg.cohort import Cohort
from secagg.link import LinkedParty
from secagg.paillier.client import PaillierClient
from secagg.paillier.keyformat import DEFAULT_BITS, SECURITY, modulus_bits
from secagg.paillier.keyholder import KeyHolder
from secagg.paillier.keys import KeyHolderPublic, OpeningKeys, SharedKeyPublic
from secagg.paillier.messages import CHECK, DECRYPT, INPUT, OPENED, PHASES, DecryptRequest, EncryptedInput
from secagg.paillier.opening import Opening
from secagg.paillier.packing import Packing
from secagg.paillier.prepared import Prepared
from secagg.paillier.server import PaillierServer

Public = TypeVar("Public", bound=KeyHolderPublic | SharedKeyPublic)


class PackedBackend(Backend, Generic[Public]):
    """Clients encrypt, the server adds; a subclass says whose answers open the sum.

    * ``key_bits``: of the modulus: 2048, 3072 or 4096. Left out, that of the keys given, or 3072.
    * ``minimum``: no key holder helps to open a sum over fewer clients: a fraction of the cohort, or a count.
    * ``public``: what clients and the server pin, and all that they need.
    * ``insecure_key_bits``: instead of ``key_bits``, a size that protects nothing, for tests.
    * ``table_bytes``: memory for the table of powers that encryption uses; one for all clients in a process.
    * ``max_message_bytes``: see :class:`Backend`.

    ``LocalError`` for a size that there is not, and for keys of another size.
    """

    phases = PHASES
    client_phases = (INPUT, CHECK)
    input_phase = INPUT
    minimum_argument = "minimum"
    key_holders: int

    def __init__(
        self,
        key_bits: int | None,
        minimum: float,
        public: Public | None,
        insecure_key_bits: int | None,
        table_bytes: int,
        max_message_bytes: int,
    ) -> None:
        super().__init__(minimum, max_message_bytes=max_message_bytes)
        if key_bits is not None and insecure_key_bits is not None:
            raise LocalError("insecure_key_bits", insecure_key_bits, f"key_bits is given as well: {key_bits}")
        found = None if public is None else public.encryption.bits
        asked = found if key_bits is None and found in SECURITY else key_bits
        names = ("key_bits", "insecure_key_bits")
        self.key_bits = modulus_bits(DEFAULT_BITS if asked is None else asked, insecure_key_bits, names)
        if found is not None and found != self.key_bits:
            argument = names[insecure_key_bits is not None]
            raise LocalError(argument, self.key_bits, f"the key that is given has {found} bits")
        self._insecure_key_bits = insecure_key_bits
        self.public = public
        self.table_bytes = table_bytes
        self._prepared = None
        if public is not None:
            self._prepared = Prepared(replace(public.encryption, table_bytes=table_bytes))

    def _options(self) -> dict[str, Any]:
        """What a copy of this backend is made with, but for its keys."""
        insecure = self._insecure_key_bits
        return {
            "key_bits": self.key_bits if insecure is None else None,
            "minimum": self.minimum,
            "insecure_key_bits": insecure,
            "table_bytes": self.table_bytes,
            "max_message_bytes": self.max_message_bytes,
        }

    def ciphertexts(self, cohort: Cohort) -> int:
        """How many ciphertexts a client of this cohort sends."""
        return Packing.of(cohort, self.key_bits).ciphertexts(cohort.length)

    def prepare(self, count: int, *, tape: RandomTape | None = None) -> None:
        """Make the randomness of ``count`` ciphertexts now, which is where most of a client's time goes.

        The clients made here use it up, each its :meth:`ciphertexts` or nothing, and then make their own. It
        stays in this process and is used once. ``LocalError`` where there is no public key yet.
        """
        self._pool().extend(count, tape or SystemTape())

    @property
    def prepared(self) -> int:
        """How many ciphertexts' randomness is there."""
        return 0 if self._prepared is None else len(self._prepared)

    def _randomizers(self, count: int, tape: RandomTape) -> list[mpz]:
        """Prepared ones if there are enough, else fresh ones from the client's own tape."""
        pool = self._pool()
        taken = pool.take_if_enough(count)
        return pool.key.randomizers(count, tape) if taken is None else taken

    def _pool(self) -> Prepared:
        if self._prepared is None:
            raise _no_keys()
        return self._prepared

    @abstractmethod
    def _opening(self) -> Opening[Any]: ...

    @abstractmethod
    def _keys_of(self, who: PartyId) -> OpeningKeys:
        """A key holder's private keys; ``LocalError`` if they are not here."""

    def _holder(
        self,
        cohort: Cohort,
        who: PartyId,
        keys: OpeningKeys,
        checks: Sequence[Check],
        tape: RandomTape,
    ) -> LinkedParty[object]:
        if cohort.threshold < (least := self.resolve_threshold(cohort.size)):
            raise LocalError(
                "cohort.threshold", cohort.threshold, f"this key holder opens no sum over less than {least}"
            )
        return self._linked_helper(KeyHolder(cohort, who, keys, tape), cohort, keys.link, checks, tape)

    def _helper(
        self, cohort: Cohort, who: PartyId, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedParty[object]:
        return self._holder(cohort, who, self._keys_of(who), checks, tape.child(str(who)))

    def _parameters(self) -> Mapping[str, object]:
        return {"public": hashlib.sha256(self._pinned().encode()).hexdigest()}

    def _pinned(self) -> Public:
        if self.public is None:
            raise _no_keys()
        return self.public

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> PaillierClient:
        key = self._pinned().encryption
        return PaillierClient(cohort, me, vector, checks, tape, key, self._randomizers)

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> PaillierServer:
        return PaillierServer(cohort, checks, tape, self._opening())

    @abstractmethod
    def _answer_bytes(self, ciphertexts: int) -> int:
        """Of a key holder; keys are not needed to tell."""

    def _cost(self, cohort: Cohort, checks: Sequence[Check]) -> tuple[int, list[LinkCost]]:
        n, bits, holders = cohort.size, self.key_bits, self.key_holders
        ciphertexts = self.ciphertexts(cohort)
        to_holder = DecryptRequest.size(bits, ciphertexts, n)
        return 1, [
            LinkCost(INPUT, Role.CLIENT, Role.SERVER, n, EncryptedInput.size(bits, ciphertexts)),
            LinkCost(DECRYPT, Role.SERVER, Role.KEY_HOLDER, holders, to_holder),
            LinkCost(OPENED, Role.KEY_HOLDER, Role.SERVER, holders, self._answer_bytes(ciphertexts)),
        ]


def _no_keys() -> LocalError:
    return LocalError("public", None, "give the key holders' public keys, or call setup()")
