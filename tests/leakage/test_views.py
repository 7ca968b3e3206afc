"""What a role gets to see of the inputs is uniform, and a variant that leaks is caught by the same test.

Every client holds the largest vector there is, which shows as soon as any of it does. For each backend
and each role that the inputs are hidden from, ``VIEWS`` says what that role can make of all that it has
received, with its own keys. A backend without an entry fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz

from mpc import field
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.tape import RandomTape, SeededTape
from secagg.backend import Backend
from secagg.masking import Masking
from secagg.masking.client import MaskingClient
from secagg.paillier.messages import DecryptRequest
from secagg.paillier.numbers import decode_numbers
from secagg.paillier.partial import answer, open_sums
from secagg.paillier.public import PublicKey
from secagg.paillier.server import PaillierServer
from secagg.sealed import SEAL_OVERHEAD, seal
from secagg.sharing.client import SharingClient
from secagg.sharing.keys import share_context, share_key
from secagg.sharing.messages import RelayedShare, SharedInput
from secagg.sharing.scheme import PlainShares

BITS = 16
GREETING = 32
ALL = slice(None)


@dataclass
class Run:
    backend: Any
    outcome: Any
    clients: dict[int, Any]

    @property
    def cohort(self) -> Any:
        return self.outcome.cohort

    def heard(self, receiver: PartyId, phase: str, sender: Role) -> list[Message]:
        records = self.outcome.transcript.view(receiver)
        return [r.message for r in records if r.phase == phase and r.sender.role is sender]

    def inputs(self) -> list[tuple[int, memoryview]]:
        """Client and payload of each contribution, without the link's greeting."""
        found = self.heard(SERVER, self.backend.input_phase, Role.CLIENT)
        first = self.backend.client_phases[0] == self.backend.input_phase
        start = GREETING if first else 0
        return [(message.sender.index, memoryview(message.payload)[start:]) for message in found]


Views = Callable[[Run], list[bytes]]


def masked_vectors(run: Run) -> list[bytes]:
    return [bytes(payload) for _, payload in run.inputs()]


def shares_of_peers(run: Run) -> list[bytes]:
    """All that a masking client hears of others, opened: their shares, as it holds them."""
    return [held for c in run.clients.values() for dealer, held in c.kept.items() if dealer != c.index]


def boxes_taken_for_shares(run: Run) -> list[bytes]:
    """A relaying server that takes what is in the boxes for the shares themselves, and adds them up."""
    found, m = [], run.backend.aggregators
    for client, payload in run.inputs():
        sealed = SharedInput.decode(payload, PlainShares(b"", run.cohort.length, m).sizes).sealed
        explicit, *seeds = (bytes(box)[SEAL_OVERHEAD:] for box in sealed)
        words = np.frombuffer(explicit, np.uint64) % np.uint64(field.P)
        for aggregator, seed in enumerate(seeds, start=1):
            key = share_key(seed, run.cohort.digest, client, aggregator)
            field.add_into(words, field.expand(key, run.cohort.length))
        found.append(field.to_bytes(words))
    return found


def opened_shares(run: Run, aggregator: int) -> dict[int, bytes]:
    who = PartyId(Role.AGGREGATOR, aggregator)
    box, found = run.backend._private[aggregator].box, {}
    for message in run.heard(who, "relay-share", Role.SERVER):
        share = RelayedShare.decode(message.payload, run.cohort.size)
        context = share_context(run.cohort.digest, share.client, aggregator)
        found[share.client] = box.unseal(context, share.sealed)
    return found


def explicit_shares(run: Run) -> list[bytes]:
    return list(opened_shares(run, 0).values())


def seeds(run: Run) -> list[bytes]:
    """One after the other: sixteen bytes of each client for each aggregator but the first."""
    return [seed for j in range(1, run.backend.aggregators) for seed in opened_shares(run, j).values()]


def all_but_the_last_aggregator(run: Run) -> list[bytes]:
    """m - 1 aggregators that put their shares together."""
    colluding = {j: opened_shares(run, j) for j in range(1, run.backend.aggregators - 1)}
    found = []
    for client, explicit in opened_shares(run, 0).items():
        words = np.frombuffer(explicit, np.uint64).copy()
        for j, shares in colluding.items():
            key = share_key(shares[client], run.cohort.digest, client, j)
            field.add_into(words, field.expand(key, run.cohort.length))
        found.append(field.to_bytes(words))
    return found


def low_bytes(numbers: Any, size: int) -> list[bytes]:
    """Uniform numbers below a modulus of ``size`` bytes are not uniform in their highest two."""
    return [int(number).to_bytes(size, "little")[:-2] for number in numbers]


def ciphertexts(run: Run) -> list[bytes]:
    size = run.backend.public.encryption.ciphertext_bytes
    return [
        bytes(payload[at : at + size])[: size - 2]
        for _, payload in run.inputs()
        for at in range(0, len(payload), size)
    ]


def asked_of_key_holders(run: Run) -> list[mpz]:
    """The numbers that the first key holder is shown, however wide the server makes them."""
    (message,) = run.heard(PartyId(Role.KEY_HOLDER), "decrypt", Role.SERVER)
    row = bytes(message.payload)[(run.cohort.size + 7) // 8 :]
    return decode_numbers(row, len(row) // run.backend.ciphertexts(run.cohort))


def remainders(run: Run) -> list[bytes]:
    return low_bytes(asked_of_key_holders(run), run.backend.key_bits // 8)


def decrypted_by_the_key_holder(run: Run) -> list[bytes]:
    """One that takes what it is shown for ciphertexts, and knows the factors of n."""
    plaintexts = run.backend._keys.encryption.decrypt_many(asked_of_key_holders(run))
    return low_bytes(plaintexts, run.backend.key_bits // 8)


def opened_by_all_key_holders(run: Run) -> list[bytes]:
    """All of them together, who open what they are shown as they would open ciphertexts."""
    shown, keys = asked_of_key_holders(run), run.backend._keys
    shared = keys[0].share.shared
    units, tape = [number % shared.public.n for number in shown], SeededTape(b"masks")
    answers = {one.share.index: answer(one.share, units, b"", tape) for one in keys}
    return low_bytes(open_sums(shared, shown, answers, b""), run.backend.key_bits // 8)


def nothing(run: Run) -> list[bytes]:
    """Clients that hear nothing at all cannot learn anything."""
    assert [run.outcome.transcript.view(client_id(i)) for i in range(run.cohort.size)] == [
        ()
    ] * run.cohort.size
    return []


VIEWS: dict[str, dict[Role, list[Views]]] = {
    "plain": {Role.CLIENT: [nothing]},
    "masking": {Role.CLIENT: [shares_of_peers], Role.SERVER: [masked_vectors]},
    "sharing": {
        Role.CLIENT: [nothing],
        Role.SERVER: [boxes_taken_for_shares],
        Role.AGGREGATOR: [explicit_shares, seeds, all_but_the_last_aggregator],
    },
    "paillier": {
        Role.CLIENT: [nothing],
        Role.SERVER: [ciphertexts],
        Role.KEY_HOLDER: [remainders, decrypted_by_the_key_holder],
    },
    "threshold-paillier": {
        Role.CLIENT: [nothing],
        Role.SERVER: [ciphertexts],
        Role.KEY_HOLDER: [remainders, opened_by_all_key_holders],
    },
}
SHAPES = {
    "plain": (6, 100),
    "masking": (9, 2000),
    "sharing": (200, 40),
    "paillier": (6, 3000),
    "threshold-paillier": (6, 3000),
}


class KeepsShares(MaskingClient):
    """Remembers the shares that it held, which an honest client forgets once it has used them."""

    kept: dict[int, bytes]

    def _on_relayed_tags(self, message: Message) -> list[Message]:
        self.kept = dict(self._held)
        return super()._on_relayed_tags(message)


@pytest.fixture
def run(make: Any, rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Run]:
    def once() -> Run:
        backend = make()
        members, length = SHAPES[backend.name]
        clients: dict[int, Any] = {}

        def keep(self: Masking, *arguments: Any) -> MaskingClient:
            client = KeepsShares(*arguments, self.tolerance)
            clients[client.index] = client
            return client

        monkeypatch.setattr(Masking, "_client", keep)
        vectors = [np.full(length, (1 << (BITS - 1)) - 1)] * members
        return Run(backend, rig.play(backend, vectors, keep_payloads=True), clients)

    return once


def test_every_role_that_inputs_are_hidden_from_has_its_view_tested(backend: Backend) -> None:
    assert set(VIEWS[backend.name]) == set(backend.leakage.hides)


def test_views_are_uniform(run: Callable[[], Run], rig: SimpleNamespace) -> None:
    honest = run()
    honest.outcome.require_exact()
    for role, views in VIEWS[honest.backend.name].items():
        for view in views:
            data = b"".join(view(honest))
            assert view is nothing or rig.is_uniform(data), f"{role.title}: {view.__name__}"


class Silence:
    """A keystream of zeros."""

    def __init__(self, key: bytes) -> None:
        pass

    def fill(self, zeros: Any, buffer: Any) -> None:
        buffer[: len(zeros)] = zeros


def same_value_everywhere(secrets: Any, threshold: int, points: Any, tape: Any) -> Any:
    """Shares of a polynomial whose degree is zero."""
    return np.tile(secrets, (len(points), 1))


def leaky_client(*, boxes: bool = True, masked_by: slice = ALL, fresh: bool = True) -> Any:
    """A sharing client that seals or not, masks with some of its seeds, and draws them afresh or not."""

    def contribution(self: SharingClient) -> bytes:
        digest, length, m = self.cohort.digest, self.cohort.length, len(self._sealing_keys)
        explicit = field.encode(self._vector)
        seeds = [self._tape.read(16) if fresh else bytes(16) for _ in range(m - 1)]
        for aggregator, seed in list(enumerate(seeds, start=1))[masked_by]:
            key = share_key(seed, digest, self.index, aggregator)
            field.sub_into(explicit, field.expand(key, length))
        sealed = []
        for aggregator, share in enumerate([field.to_bytes(explicit), *seeds]):
            context = share_context(digest, self.index, aggregator)
            box = seal(self._sealing_keys[aggregator], context, share, self._tape)
            sealed.append(box if boxes else bytes(SEAL_OVERHEAD) + share)
        return SharedInput(sealed).encode()

    return contribution


def no_randomness(self: PublicKey, count: int, tape: RandomTape) -> list[mpz]:
    """Randomizers of encryptions that hide nothing."""
    return [mpz(1)] * count


def whole_ciphertexts(self: PaillierServer, accepted: tuple[int, ...]) -> list[Message]:
    """A server that shows the key holders the product itself, modulo n²."""
    asked = HONEST(self, accepted)
    row = self._key.encode_ciphertexts(self._product)
    payload = DecryptRequest(accepted, []).encode(self._key, self.cohort.size) + row
    return [replace(message, payload=payload) for message in asked]


RANDOMIZERS = "secagg.paillier.public.PublicKey.randomizers"
ASKING, HONEST = "secagg.paillier.server.PaillierServer._open", PaillierServer._open
SHARING = "secagg.sharing.client.SharingClient._contribution"
# A variant that leaks, for each view: backend, view, what to replace, and by what.
BROKEN: list[tuple[str, Views, str, Any]] = [
    ("masking", masked_vectors, "mpc.ring.Keystream", Silence),
    ("masking", shares_of_peers, "mpc.shamir.split", same_value_everywhere),
    ("sharing", boxes_taken_for_shares, SHARING, leaky_client(boxes=False)),
    ("sharing", explicit_shares, SHARING, leaky_client(masked_by=slice(0))),
    ("sharing", seeds, SHARING, leaky_client(fresh=False)),
    ("sharing", all_but_the_last_aggregator, SHARING, leaky_client(masked_by=slice(-1))),
    ("paillier", ciphertexts, RANDOMIZERS, no_randomness),
    ("paillier", remainders, RANDOMIZERS, no_randomness),
    ("paillier", decrypted_by_the_key_holder, ASKING, whole_ciphertexts),
    ("threshold-paillier", ciphertexts, RANDOMIZERS, no_randomness),
    ("threshold-paillier", remainders, RANDOMIZERS, no_randomness),
    ("threshold-paillier", opened_by_all_key_holders, ASKING, whole_ciphertexts),
]


def test_variants_that_leak_are_caught(
    run: Callable[[], Run], backend: Backend, rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, view, target, replacement in BROKEN:
        if name == backend.name:
            with monkeypatch.context() as patch:
                patch.setattr(target, replacement)
                leaking = b"".join(view(run()))
            assert not rig.is_uniform(leaking), view.__name__


def test_every_view_has_a_variant_that_leaks() -> None:
    views = {view for roles in VIEWS.values() for found in roles.values() for view in found}
    assert {view for _, view, _, _ in BROKEN} == views - {nothing}
