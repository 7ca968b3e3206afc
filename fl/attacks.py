"""Malicious clients that send malformed messages, for tests and experiments (spec section 15).

Two kinds. An *insider* is a client that lies inside its own link: its message is properly tagged, so only
the strict decoders of the server or a helper can tell (check ``structural``). On the *way*, an honest
client's message is changed, or an old one takes its place: the link refuses it (check ``link``).

What these clients cannot do is as telling as what they can: a well-formed vector of untrue values is no
malformed message, and is caught by none of this.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from fl.config import ATTACKS
from fl.data import Purpose, generator
from mpc.cost import Cost, LinkCost
from mpc.errors import LocalError
from mpc.network import Tamper
from mpc.party import Message, PartyId, client_id
from mpc.ring import Ring
from mpc.snapshot import Kind
from mpc.tape import RandomTape, SystemTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.client import RoundClient, Vector
from secagg.cohort import KEY_BYTES, Cohort
from secagg.identity import Identity
from secagg.link import LinkedParty
from secagg.masking import Masking
from secagg.masking.messages import ADVERTISE, KeyAdvertisement
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.plain import InsecurePlain
from secagg.sealed import seal
from secagg.server import RoundServer
from secagg.sharing import SecretSharing
from secagg.sharing.client import SharingClient
from secagg.sharing.keys import share_context
from secagg.sharing.messages import SharedInput

Lie = Callable[[Backend, RoundClient, Message], Message]
"""What an insider sends instead of an honest message; the message itself in phases that it leaves alone."""


def choose_attackers(names: Sequence[str], count: int, seed: int) -> frozenset[str]:
    """``count`` of ``names``, uniform without replacement; ``LocalError`` if there are not so many."""
    if not 0 <= count <= len(names):
        raise LocalError("count", count, f"must be from 0 to the {len(names)} clients")
    chosen = generator(seed, Purpose.ATTACKERS).choice(len(names), size=count, replace=False)
    return frozenset(names[place] for place in chosen)


@dataclass(frozen=True, eq=False)
class Attack:
    """The same ``clients`` mount the attack ``name`` (one of ``fl.config.ATTACKS``) in every round.

    * ``wrong-length``: the input is a byte too short in odd rounds, and a byte too long in even ones.
    * ``out-of-range``: an insider sends a value that the backend's range excludes: an entry of
      -2^(bits-1) in clear, a public key of small order, a ciphertext of n² or more, a share that is no
      field element.
    * ``replayed``: the input of the client's last round arrives again, or, where there was none, one of
      another session.
    * ``corrupt-bytes``: bytes of the input flip on the way.

    ``LocalError`` for another name.
    """

    name: str
    clients: frozenset[str]
    _seen: dict[str, Message] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.name not in ATTACKS:
            raise LocalError("name", self.name, f"must be one of {', '.join(ATTACKS)}")

    def mount(
        self, backend: Backend, members: Sequence[str], silent: Collection[str] = ()
    ) -> tuple[Backend, Tamper | None]:
        """What one round runs under: ``backend`` with the lying clients in it, and what happens on the way.

        ``members``: the round's, in the cohort's order. Those of ``silent`` only drop out in this round.
        """
        active = {client_id(i): name for i, name in enumerate(members) if name in self.clients - set(silent)}
        if (lie := _LIES.get(self.name)) is not None:
            return WithInsiders(backend, dict.fromkeys(active.values(), lie)), None

        def tamper(message: Message) -> list[Message]:
            name = active.get(message.sender)
            if name is None or message.phase != backend.input_phase:
                return [message]
            return [corrupted(message) if self.name == "corrupt-bytes" else self._replayed(name, message)]

        return backend, tamper

    def _replayed(self, name: str, message: Message) -> Message:
        old = self._seen.get(name)
        self._seen[name] = message
        if old is None:
            return replace(message, session=bytes(255 - byte for byte in message.session))
        # A client's index may change between rounds; under another one it would slander a neighbour.
        return replace(old, sender=message.sender)


def corrupted(message: Message) -> Message:
    """The message with all bits of its payload's middle byte flipped."""
    payload = bytearray(message.payload)
    payload[len(payload) // 2] ^= 0xFF
    return replace(message, payload=bytes(payload))


class WithInsiders(Backend):
    """A backend some of whose clients lie, behind links of their own: the tags of their messages are right.

    Everybody else is as in ``inner``. ``insiders``: client → what it sends.
    """

    def __init__(self, inner: Backend, insiders: Mapping[str, Lie]) -> None:
        super().__init__(inner.minimum, max_message_bytes=inner.max_message_bytes)
        # The interface declares these on the class; here they are those of whatever is wrapped.
        vars(self).update(
            name=inner.name,
            phases=inner.phases,
            input_phase=inner.input_phase,
            client_phases=inner.client_phases,
            minimum_argument=inner.minimum_argument,
            leakage=inner.leakage,
            proves_on_shares=inner.proves_on_shares,
        )
        self._inner = inner
        self._insiders = dict(insiders)

    def resolve_threshold(self, members: int) -> int:
        return self._inner.resolve_threshold(members)

    def setup(self, tape: RandomTape | None = None) -> Self:
        return type(self)(self._inner.setup(tape), self._insiders)

    def _linked_client(
        self,
        cohort: Cohort,
        me: str,
        vector: Vector,
        identity: Identity | None,
        checks: Sequence[Check],
        tape: RandomTape,
    ) -> LinkedParty[None]:
        if (lie := self._insiders.get(me)) is None:
            return self._inner._linked_client(cohort, me, vector, identity, checks, tape)
        inner = self._client(cohort, me, vector, checks, tape)
        inner.identity = identity
        liar = _Insider(inner, lie, self._inner)
        return LinkedParty.client(liar, cohort, tape, identity, self.max_message_bytes)

    def _helper(
        self, cohort: Cohort, who: PartyId, checks: Sequence[Check], tape: RandomTape
    ) -> LinkedParty[object]:
        return self._inner._helper(cohort, who, checks, tape)

    def _helper_keys(self) -> Mapping[PartyId, bytes]:
        return self._inner._helper_keys()

    def _parameters(self) -> Mapping[str, object]:
        return self._inner._parameters()

    def cost(self, cohort: Cohort, checks: Sequence[Check] = ()) -> Cost:
        return self._inner.cost(cohort, checks)

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> RoundClient:
        return self._inner._client(cohort, me, vector, checks, tape)

    def _server(self, cohort: Cohort, checks: Sequence[Check], tape: RandomTape) -> RoundServer[Any]:
        return self._inner._server(cohort, checks, tape)

    def _cost(self, cohort: Cohort, checks: Sequence[Check]) -> tuple[int, list[LinkCost]]:
        return self._inner._cost(cohort, checks)


class _Insider:
    """An honest client whose messages pass through a lie."""

    result: None = None
    replaying = False

    def __init__(self, honest: RoundClient, lie: Lie, backend: Backend) -> None:
        self._honest = honest
        self._lie = lie
        self._backend = backend

    @property
    def id(self) -> PartyId:
        return self._honest.id

    def start(self) -> list[Message]:
        return self._tell(self._honest.start())

    def receive(self, message: Message) -> list[Message]:
        return self._tell(self._honest.receive(message))

    def expire(self) -> list[Message]:
        return self._tell(self._honest.expire())

    def _tell(self, messages: list[Message]) -> list[Message]:
        return [self._lie(self._backend, self._honest, message) for message in messages]

    def kinds(self) -> tuple[Kind, ...]:
        return self._honest.kinds()

    def save(self) -> dict[str, object]:
        return self._honest.save()

    def restore(self, state: Mapping[str, object]) -> None:
        self._honest.restore(state)


# What insiders send.


def wrong_length(backend: Backend, client: RoundClient, message: Message) -> Message:
    """An input that is a byte too short in odd rounds, and a byte too long in even ones."""
    if message.phase != backend.input_phase:
        return message
    payload = bytes(message.payload)
    return replace(message, payload=payload[:-1] if client.cohort.round % 2 else payload + b"\0")


def out_of_range(backend: Backend, client: RoundClient, message: Message) -> Message:
    """A value that no honest client could send; ``LocalError`` for a backend that is not known here."""
    if isinstance(backend, Masking):
        return _small_order_key(message) if message.phase == ADVERTISE else message
    if message.phase != backend.input_phase:
        return message
    if isinstance(backend, InsecurePlain):
        payload = _entry_too_low(client.cohort, message.payload)
    elif isinstance(backend, Paillier | ThresholdPaillier):
        payload = _no_ciphertext(backend, message.payload)
    elif isinstance(backend, SecretSharing) and isinstance(client, SharingClient):
        payload = _no_element(backend, client, message)
    else:
        raise LocalError("backend", backend.name, "the attack out-of-range knows the bundled backends only")
    return replace(message, payload=payload)


def _entry_too_low(cohort: Cohort, payload: bytes | memoryview) -> bytes:
    """-2^(bits-1) as the first entry: two's complement has one value more than the symmetric range."""
    ring = Ring(cohort.bits)
    lanes = ring.unpack(payload, cohort.length)
    lanes[0] = 1 << (cohort.bits - 1)
    return ring.pack(lanes)


def _small_order_key(message: Message) -> Message:
    """Zero as the masking key: every secret shared with it would be zero (RFC 7748, section 6.1)."""
    honest = KeyAdvertisement.decode(message.payload)
    return replace(message, payload=replace(honest, mask_key=bytes(KEY_BYTES)).encode())


def _no_ciphertext(backend: Paillier | ThresholdPaillier, payload: bytes | memoryview) -> bytes:
    """n² as the first ciphertext: valid ones are below it."""
    if backend.public is None:
        raise LocalError("backend", backend, "has no keys yet: call setup()")
    key = backend.public.encryption
    first = int(key.n2).to_bytes(key.ciphertext_bytes, "little")
    return first + bytes(payload[len(first) :])


def _no_element(backend: SecretSharing, client: SharingClient, message: Message) -> bytes:
    """2^64 - 1 in each place of the explicit share, which is sealed as it should be."""
    own = SharedInput.decode(message.payload, client.share_sizes)
    share = b"\xff" * client.share_sizes[0]
    context = share_context(client.cohort.digest, message.sender.index, aggregator=0)
    sealed = seal(backend.public_keys[0].sealing, context, share, SystemTape())
    return SharedInput([sealed, *own.sealed[1:]]).encode()


_LIES: Mapping[str, Lie] = {"wrong-length": wrong_length, "out-of-range": out_of_range}
