"""Malicious clients, for tests and experiments (spec section 15).

Those that send malformed messages are of two kinds. An *insider* is a client that lies inside its own link:
its message is properly tagged, so only the strict decoders of the server or a helper can tell (check
``structural``). On the *way*, an honest client's message is changed, or an old one takes its place: the link
refuses it (check ``link``).

A well-formed vector of untrue values is no malformed message. A *boosted* update is of that kind: where
clients prove the norms of what they share it is refused by the check ``norm``, and elsewhere it counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fl.boosting import WithForgers, boosted
from fl.client import LocalUpdate
from fl.config import ATTACKS
from fl.data import Purpose, generator
from fl.insiders import Lie, WithInsiders
from mpc.errors import LocalError
from mpc.network import Tamper
from mpc.party import Message, client_id
from mpc.ring import Ring
from mpc.tape import SystemTape
from secagg.backend import Backend
from secagg.client import RoundClient
from secagg.cohort import KEY_BYTES, Cohort
from secagg.masking import Masking
from secagg.masking.messages import ADVERTISE, KeyAdvertisement
from secagg.paillier import Paillier, ThresholdPaillier
from secagg.plain import InsecurePlain
from secagg.sealed import seal
from secagg.sharing import SecretSharing
from secagg.sharing.client import SharingClient
from secagg.sharing.keys import share_context
from secagg.sharing.messages import SharedInput


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
    * ``boosted``: the update is ``fl.boosting.BOOST`` times as long as it was trained, under the largest
      weight; and where it has to be proved short, the proof is forged as well as can be.

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
        if self.name == "boosted":
            return WithForgers(backend, active.values()), None
        if (lie := _LIES.get(self.name)) is not None:
            return WithInsiders(backend, dict.fromkeys(active.values(), lie)), None

        def tamper(message: Message) -> list[Message]:
            name = active.get(message.sender)
            if name is None or message.phase != backend.input_phase:
                return [message]
            return [corrupted(message) if self.name == "corrupt-bytes" else self._replayed(name, message)]

        return backend, tamper

    def input(self, name: str, update: LocalUpdate, max_weight: int) -> LocalUpdate:
        """What this client hands in of its ``update``."""
        lies = self.name == "boosted" and name in self.clients
        return boosted(update, max_weight) if lies else update

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
