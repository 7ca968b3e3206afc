"""The dealer: helps aggregators to compare clients, and sees nothing of them (spec section 13.8).

It shares a key with each aggregator, agreed on by their long-term link keys, and so nobody else can deal in
its name: a box would say to whom it is, not from whom, and a server that dealt could read all sketches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, NoReturn

from mpc import beaver
from mpc.errors import DecodeError, LocalError
from mpc.party import SERVER, Message, PartyId, Role, StateMachine
from mpc.tape import RandomTape
from mpc.wire import Reader, Writer
from secagg.cohort import Cohort
from secagg.sealed import KEY_BYTES, BoxKey
from secagg.sharing.gram_messages import DealRequest, Triangle
from secagg.sharing.messages import DEAL, DEALT
from secagg.sharing.sketch import triple_key

DEALER = PartyId(Role.DEALER)
KEY_VERSION = 1


class DealerKey:
    """The dealer's long-term X25519 key: its end of the link, and of its keys with the aggregators.

    ``public``, 32 bytes, reaches the server and the aggregators in advance, by a way that they trust. Cannot
    be pickled; only :meth:`export_secret` writes it out.
    """

    def __init__(self, link: bytes) -> None:
        """``link``: 32 bytes, or ``LocalError``."""
        if not isinstance(link, bytes):
            raise LocalError("link", type(link).__name__, "must be bytes")
        if len(link) != KEY_BYTES:
            raise LocalError("len(link)", len(link), f"an X25519 key has {KEY_BYTES} bytes")
        self.link = link

    @classmethod
    def generate(cls, tape: RandomTape) -> DealerKey:
        return cls(tape.read(KEY_BYTES))

    @cached_property
    def public(self) -> bytes:
        return BoxKey(self.link).public

    def export_secret(self) -> bytes:
        """For a key store, and nowhere else: a version byte and the private key, 33 bytes."""
        return Writer().u8(KEY_VERSION).fixed(self.link, KEY_BYTES).finish()

    @classmethod
    def import_secret(cls, data: bytes | memoryview) -> DealerKey:
        """Strict: ``DecodeError`` for anything that ``export_secret`` does not give."""
        reader = Reader(data)
        if (version := reader.u8()) != KEY_VERSION:
            raise DecodeError(f"dealer key version {version}, where {KEY_VERSION} is known")
        link = reader.fixed(KEY_BYTES)
        reader.finish()
        return cls(link)

    def __reduce__(self) -> NoReturn:
        raise LocalError("dealer key", "<secret>", "cannot be pickled or copied: see export_secret")

    def __repr__(self) -> str:
        return f"DealerKey(<secret>, public={self.public.hex()[:8]}…)"


class Dealer(StateMachine):
    """The dealer of one round. It answers one request, with the correction of the triple that is asked for.

    A triple depends on the round and on what the request binds it to, and on nothing that is drawn: for
    another comparison it is another one. ``aggregators``: their public link keys, in order.
    """

    result: None = None
    transitions: ClassVar[Mapping[tuple[str, str], str]] = {("ready", DEAL): "_on_request"}
    moves: ClassVar[Mapping[tuple[str, str], str]] = {("ready", "dealt"): DEAL}

    def __init__(
        self, cohort: Cohort, key: DealerKey, aggregators: Sequence[bytes], projections: int
    ) -> None:
        super().__init__("ready")
        self.cohort = cohort
        self._key = key
        self._aggregators = tuple(aggregators)
        self._projections = projections

    @property
    def id(self) -> PartyId:
        return DEALER

    def start(self) -> list[Message]:
        return []

    def _on_request(self, message: Message) -> list[Message]:
        cohort = self.cohort
        request = DealRequest.decode(message.payload, cohort.size)
        self.state = "dealt"
        keys = [
            triple_key(self._key.link, public, cohort.digest, request.binding, index)
            for index, public in enumerate(self._aggregators)
        ]
        payload = Triangle(beaver.deal(keys, self._projections, request.clients)).encode()
        return [Message(cohort.session, cohort.round, DEALT, self.id, SERVER, payload)]

    def __repr__(self) -> str:
        return f"Dealer(round {self.cohort.round}, state {self.state!r})"
