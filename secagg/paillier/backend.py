"""Paillier and ThresholdPaillier: one key holder opens the sum, or any t of m (spec section 14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from mpc.errors import LocalError
from mpc.leakage import Leakage
from mpc.party import PartyId, Role, Saveable
from mpc.tape import RandomTape, SystemTape
from secagg.cohort import Cohort, is_whole
from secagg.link import LinkedParty
from secagg.paillier.base import PackedBackend
from secagg.paillier.fixedbase import TABLE_BYTES
from secagg.paillier.keys import (
    KeyHolderKeys,
    KeyHolderPublic,
    KeyShareKeys,
    OpeningKeys,
    SharedKeyPublic,
    deal_keys,
)
from secagg.paillier.messages import Lifts, key_holder_ids
from secagg.paillier.opening import Opening, SharedOpening, WholeKey
from secagg.paillier.partial import PartialOpening
from secagg.paillier.sharedkey import require_sizes
from secagg.parts import DEFAULT_MESSAGE_BYTES

_AGGREGATOR = (
    "the server follows the protocol as to whose ciphertexts it multiplies (one that lies can have a single "
    "client's vector opened under a false list of clients) and does not pass ciphertexts on to clients (who "
    "could contribute copies of another's); the transport is confidential, from the key holders above all"
)
_LEARNS: Mapping[Role, tuple[str, ...]] = {
    Role.CLIENT: ("nothing",),
    Role.SERVER: (
        "the sum over the survivors' vectors: of updates, weights and metrics",
        "roots of products of all survivors' randomizers, which hide no vector by themselves",
        "who dropped out in which phase, and who was refused and why",
    ),
    Role.KEY_HOLDER: (
        "whose vectors are in the sum; of the sum itself nothing: no plaintext occurs in what it is shown",
    ),
}
_HIDES = frozenset({Role.CLIENT, Role.SERVER, Role.KEY_HOLDER})


class Paillier(PackedBackend[KeyHolderPublic]):
    """Packed Paillier encryption (Eurocrypt 1999), with the server as aggregator and one key holder.

    * ``key_bits``: of the modulus: 2048, 3072 or 4096. Left out, that of the keys given, or 3072.
    * ``minimum``: of clients in a sum that the key holder opens: a fraction of the cohort, or a count.
    * ``keys``: the key holder's, for the key holder alone (and for whoever simulates everybody).
    * ``public``: their public halves, pinned in advance: all that clients and the server need.
    * ``insecure_key_bits``: instead of ``key_bits``, a size that protects nothing, for tests.
    * ``table_bytes``: memory for the table of powers that encryption uses; one for all clients in a process.
    * ``max_message_bytes``: see :class:`Backend`.

    What the key holder answers comes with a proof, so that the sum is right or the key holder is named.
    ``LocalError`` for a size that there is not, for keys of another size, and for public halves that belong
    to other keys.
    """

    name = "paillier"
    key_holders = 1
    leakage = Leakage(
        assumption=f"the server and the key holder do not work together; {_AGGREGATOR}",
        learns=_LEARNS,
        hides=_HIDES,
        source="Paillier 1999 (Eurocrypt), section 4; Damgård, Jurik and Nielsen 2010, section 3",
    )

    def __init__(
        self,
        key_bits: int | None = None,
        minimum: float = 2 / 3,
        keys: KeyHolderKeys | None = None,
        public: KeyHolderPublic | None = None,
        insecure_key_bits: int | None = None,
        *,
        table_bytes: int = TABLE_BYTES,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        _require_kinds(("keys", keys, KeyHolderKeys), ("public", public, KeyHolderPublic))
        if keys is not None and public is not None and keys.public != public:
            raise LocalError("public", public.encryption, "does not belong to the keys given as well")
        pinned = public if keys is None else keys.public
        super().__init__(key_bits, minimum, pinned, insecure_key_bits, table_bytes, max_message_bytes)
        self._keys = keys

    def setup(self, tape: RandomTape | None = None) -> Self:
        """This backend with a new key, unless it has one or the public half of one."""
        if self.public is not None:
            return self
        keys = KeyHolderKeys.generate(
            self.key_bits, tape=tape or SystemTape(), insecure_bits=self._insecure_key_bits
        )
        return type(self)(keys=keys, **self._options())

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        return dict.fromkeys(WholeKey.holders, self._pinned().link)

    def _keys_of(self, who: PartyId) -> OpeningKeys:
        if self._keys is None:
            raise LocalError("keys", None, "the key holder needs its private keys")
        return self._keys

    def _opening(self) -> Opening[Any]:
        return WholeKey(self._pinned().encryption)

    def _answer_bytes(self, ciphertexts: int) -> int:
        return Lifts.size(self.key_bits, ciphertexts)

    def __repr__(self) -> str:
        return f"Paillier(key_bits={self.key_bits}, minimum={self.minimum:.4g})"


class ThresholdPaillier(PackedBackend[SharedKeyPublic]):
    """:class:`Paillier` with a key in shares: any ``threshold`` of the key holders open a sum, fewer nothing.

    * ``key_holders``: m, from 2 to 16; ``threshold``: t, more than half of them; left out, the least such.
    * ``minimum``: of clients in a sum that a key holder helps to open: a fraction of the cohort, or a count.
    * ``keys``: those of all key holders, in order, where one process plays them all.
    * ``public``: the public halves, pinned in advance: all that clients and the server need.

    Other arguments as for :class:`Paillier`. With no keys at all, ``setup()`` deals them, which takes some
    seconds; where each key holder has a machine of its own, a dealer that all trust calls
    :func:`secagg.paillier.deal_keys` once, and each makes its party by :meth:`key_holder`.

    A key holder that is silent is not missed while t are left, and one whose answer is wrong is named.
    """

    name = "threshold-paillier"
    leakage = Leakage(
        assumption=(
            "the server works together with fewer than t of the m key holders; the dealer, who makes the key "
            f"and its shares at set-up, does so rightly and forgets them; {_AGGREGATOR}"
        ),
        learns=_LEARNS,
        hides=_HIDES,
        source="Paillier 1999 (Eurocrypt), section 4; Shoup 2000 (Practical threshold signatures), section 2",
    )

    def __init__(
        self,
        key_holders: int = 3,
        threshold: int | None = None,
        *,
        key_bits: int | None = None,
        minimum: float = 2 / 3,
        keys: Sequence[KeyShareKeys] | None = None,
        public: SharedKeyPublic | None = None,
        insecure_key_bits: int | None = None,
        table_bytes: int = TABLE_BYTES,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
    ) -> None:
        self.key_holders = key_holders
        self.threshold = key_holders // 2 + 1 if threshold is None else threshold
        require_sizes(self.key_holders, self.threshold, "key_holders")
        _require_kinds(("public", public, SharedKeyPublic))
        if keys is not None and not isinstance(keys, Sequence):
            raise LocalError("keys", type(keys).__name__, "must be a sequence: the keys of all key holders")
        self._keys = None if keys is None else tuple(keys)
        for place, one in enumerate(self._keys or ()):
            _require_kinds((f"keys[{place}]", one, KeyShareKeys))
        pinned = _public_of(self._keys, public)
        if pinned is not None and (pinned.shared.holders, pinned.shared.threshold) != (
            self.key_holders,
            self.threshold,
        ):
            found = f"{pinned.shared.threshold} of {pinned.shared.holders}"
            raise LocalError("threshold", self.threshold, f"the key that is given takes {found} key holders")
        super().__init__(key_bits, minimum, pinned, insecure_key_bits, table_bytes, max_message_bytes)

    def setup(self, tape: RandomTape | None = None) -> Self:
        """This backend with a new key and all its shares, unless it has one or the public half of one."""
        if self.public is not None:
            return self
        public, keys = deal_keys(
            self.key_holders,
            self.threshold,
            self.key_bits,
            tape=tape or SystemTape(),
            insecure_bits=self._insecure_key_bits,
        )
        return type(self)(self.key_holders, self.threshold, keys=keys, public=public, **self._options())

    def key_holder(
        self, cohort: Cohort, index: int, keys: KeyShareKeys, *, tape: RandomTape
    ) -> Saveable[object]:
        """One key holder, from 0, where each runs in a process of its own.

        ``LocalError`` if ``keys`` are not its own, or the cohort's threshold is below this backend's minimum.
        """
        return self._one(cohort, index, keys, tape)

    def load_key_holder(
        self, cohort: Cohort, index: int, keys: KeyShareKeys, data: bytes, *, tape: RandomTape
    ) -> Saveable[object]:
        """The key holder whose ``dump()`` gave ``data``; see :meth:`load_client`."""
        party = self._one(cohort, index, keys, tape)
        party.load(data)
        return party

    def _one(self, cohort: Cohort, index: int, keys: KeyShareKeys, tape: RandomTape) -> LinkedParty[object]:
        _require_kinds(("keys", keys, KeyShareKeys))
        if not is_whole(index) or not 0 <= index < self.key_holders:
            raise LocalError("index", index, f"must be from 0 to {self.key_holders - 1}")
        public = self._pinned()
        if (keys.share.shared, keys.share.index, keys.link_public) != (
            public.shared,
            index + 1,
            public.links[index],
        ):
            raise LocalError("keys", keys, f"are not those of key holder {index}")
        return self._holder(cohort, key_holder_ids(self.key_holders)[index], keys, (), tape)

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        return dict(zip(key_holder_ids(self.key_holders), self._pinned().links, strict=True))

    def _keys_of(self, who: PartyId) -> OpeningKeys:
        if self._keys is None:
            raise LocalError("keys", None, "a process that plays the key holders needs their private keys")
        return self._keys[who.index]

    def _opening(self) -> Opening[Any]:
        return SharedOpening(self._pinned().shared)

    def _answer_bytes(self, ciphertexts: int) -> int:
        return PartialOpening.size(self.key_bits, ciphertexts)

    def __repr__(self) -> str:
        which = f"key_holders={self.key_holders}, threshold={self.threshold}"
        return f"ThresholdPaillier({which}, key_bits={self.key_bits}, minimum={self.minimum:.4g})"


def _public_of(keys: Sequence[KeyShareKeys] | None, public: SharedKeyPublic | None) -> SharedKeyPublic | None:
    """The public halves of all shares, if any; ``LocalError`` unless all that is given belongs together."""
    if not keys:
        return public
    shared = keys[0].share.shared
    places = [(one.share.shared, one.share.index) for one in keys]
    if places != [(shared, index + 1) for index in range(shared.holders)]:
        raise LocalError("keys", f"{len(keys)} shares", f"must be all {shared.holders} of one key, in order")
    derived = SharedKeyPublic(shared, tuple(one.link_public for one in keys))
    if public is not None and public != derived:
        raise LocalError("public", public.encryption, "does not belong to the keys given as well")
    return derived


def _require_kinds(*arguments: tuple[str, object, type]) -> None:
    """What is of another kind may be secret: of that the type alone is shown."""
    for argument, value, kind in arguments:
        if value is not None and not isinstance(value, kind):
            raise LocalError(argument, type(value).__name__, f"must be {kind.__name__}")
