"""The masking server against clients that lie over their own links (spec section 12.4)."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc import field, shamir
from mpc.field import P
from mpc.network import Network
from mpc.party import SERVER, Message, client_id
from mpc.tape import SeededTape
from secagg import Masking
from secagg.masking.client import MaskingClient
from secagg.masking.messages import LIMBS, SHARE_BYTES, KeyAdvertisement, SealedShares, UnmaskShares
from tests.secagg.masking.setting import Kept, in_phase

N = 6
HOLDERS = tuple(range(N))  # of everybody's shares, on the complete graph
Lie = Callable[[Message], list[Message]]


@pytest.mark.parametrize("which", ["channel_key", "mask_key"])
@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)])
def test_a_key_of_small_order_names_its_sender(rig: SimpleNamespace, which: str, point: bytes) -> None:
    """Relayed, it would make every honest client refuse."""

    def lie(message: Message) -> bytes:
        return replace(KeyAdvertisement.decode(message.payload), **{which: point}).encode()

    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), liars={3: in_phase("advertise-keys", lie)})
    outcome.require_exact()
    assert outcome.survivors == (0, 1, 2, 4, 5)
    assert outcome.rejected[3].reason == "an X25519 public key of small order"


class Rekeyed(Masking):
    """Masking some of whose clients choose their keys otherwise than by drawing two new pairs."""

    def __init__(self, choose: Callable[[dict[int, MaskingClient]], None], **named: Any) -> None:
        super().__init__(**named)
        self._choose, self._made = choose, dict[int, MaskingClient]()

    def _client(self, *arguments: Any) -> MaskingClient:
        client = super()._client(*arguments)
        self._made[client.index] = client
        if len(self._made) == client.cohort.size:
            self._choose(self._made)
        return client


def one_pair_for_both(clients: dict[int, MaskingClient]) -> None:
    clients[4]._channel = clients[4]._mask


def one_pair_for_two(clients: dict[int, MaskingClient]) -> None:
    clients[4]._channel, clients[4]._mask = clients[1]._channel, clients[1]._mask


def crossed(clients: dict[int, MaskingClient]) -> None:
    clients[4]._channel, clients[4]._mask = clients[1]._mask, clients[1]._channel


@pytest.mark.parametrize("choose", [one_pair_for_both, one_pair_for_two, crossed])
@pytest.mark.parametrize("drop", [{}, {4: "masked-input"}, {1: "masked-input", 4: "unmask"}], ids=str)
def test_keys_that_stand_twice_change_nothing(
    rig: SimpleNamespace, choose: Callable[[dict[int, MaskingClient]], None], drop: dict[int, str]
) -> None:
    vectors = rig.vectors(N, 9, 16)
    outcome = rig.play(Rekeyed(choose), vectors, drop=drop)
    outcome.require_exact()
    assert outcome.survivors == rig.play(Masking(), vectors, drop=drop).survivors
    assert outcome.rejected == {}
    assert outcome.transcript.refusals == []


@pytest.mark.parametrize("which", ["channel_key", "mask_key"])
def test_a_public_key_copied_from_a_peer_harms_the_copier_alone(rig: SimpleNamespace, which: str) -> None:
    """Without the private half it cannot go on."""
    copied: dict[int, KeyAdvertisement] = {}

    def see(message: Message) -> bytes:
        copied[0] = KeyAdvertisement.decode(message.payload)
        return bytes(message.payload)

    def lie(message: Message) -> bytes:
        own = KeyAdvertisement.decode(message.payload)
        return replace(own, **{which: getattr(copied[0], which)}).encode()

    liars = {0: in_phase("advertise-keys", see), 3: in_phase("advertise-keys", lie)}
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), liars=liars)
    outcome.require_exact()
    assert outcome.survivors == (0, 1, 2, 4, 5)
    assert {refusal.party for refusal in outcome.transcript.refusals} == {client_id(3)}


@pytest.mark.parametrize(
    ("victims", "drop"),
    [([0], {}), ([0, 2], {}), ([5], {1: "masked-input"}), ([0], {4: "unmask"}), ([3], {3: "unmask"})],
    ids=str,
)
def test_shares_garbled_for_a_few_peers_cost_nothing(
    rig: SimpleNamespace, victims: list[int], drop: dict[int, str]
) -> None:
    def garble(message: Message) -> bytes:
        dealt = SealedShares.decode(message.payload, N)
        sealed = bytearray(dealt.sealed)
        for peer in victims:
            place = peer - (peer > 1)  # client 1 has none for itself
            sealed[96 * place : 96 * (place + 1)] = bytes(96)
        return replace(dealt, sealed=bytes(sealed)).encode()

    liars = {1: in_phase("share-keys", garble)}
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), liars=liars, drop=drop)
    outcome.require_exact()
    assert outcome.rejected == {}


@pytest.mark.parametrize("what", ["boxes", "commitments", "both"])
def test_shares_garbled_for_everybody_name_their_dealer(rig: SimpleNamespace, what: str) -> None:
    def garble(message: Message) -> bytes:
        dealt = SealedShares.decode(message.payload, N)
        committed = dealt.share_commitments if what == "boxes" else bytes(32 * N)
        sealed = dealt.sealed if what == "commitments" else bytes(96 * (N - 1))
        return replace(dealt, share_commitments=committed, sealed=sealed).encode()

    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), liars={1: in_phase("share-keys", garble)})
    assert outcome.abort is not None
    assert outcome.abort.evidence["client"] == "c1"
    assert outcome.abort.evidence.get("rejected", {}).keys() <= {"c1"}
    # Its own share it knows, but for that to count it must have committed to it.
    held = 1 if what == "boxes" else 0
    assert outcome.abort.reason == (
        f"a client's secret cannot be recovered: {held} of the {N} that hold its shares answered; "
        "the threshold is 4"
    )


@pytest.mark.parametrize("gone", ["nobody", "the dealer"])
@pytest.mark.parametrize("degree", ["random", "two secrets"])
def test_inconsistent_shares_never_give_a_wrong_sum(
    rig: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, gone: str, degree: str
) -> None:
    """A dealer whose shares lie on no polynomial, or on another one for some: the round aborts, naming it."""
    genuine = shamir.split
    calls: list[int] = []  # the fourth to deal is client 3

    def split(secrets: Any, threshold: int, points: Any, tape: Any) -> Any:
        shares = genuine(secrets, threshold, points, tape)
        calls.append(1)
        if len(calls) == 4:
            if degree == "random":
                return field.expand(bytes(16), shares.size).reshape(shares.shape)
            other = genuine(secrets ^ np.uint64(1), threshold, points, tape)
            shares[::2] = other[::2]
        return shares

    monkeypatch.setattr(shamir, "split", split)
    drop = {3: "masked-input"} if gone == "the dealer" else {}
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), drop=drop)
    assert len(calls) == N
    assert outcome.abort is not None
    assert outcome.abort.evidence == {"client": "c3"}


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("size", [4, 8])
def test_a_lie_about_a_share_never_gives_a_wrong_sum(rig: SimpleNamespace, size: int, dropped: bool) -> None:
    """The smallest lie there is: one limb of a secret off by one, which is as well-formed as any.

    With 4 or 8 clients the modulus is filled to the last bit, so rubbish in place of the sum would look
    like a sum. Each share is checked against what its dealer committed to, and the liar's are left out.
    """
    backend = Kept(threshold=size - 1)
    drop = {0: "masked-input"} if dropped else {}
    holders = [index for index in range(size) if index not in drop][: size - 1]
    weight = int(shamir.lagrange_at_zero([index + 1 for index in holders])[holders.index(2)])

    def lie(message: Message) -> bytes:
        revealed = UnmaskShares.decode(message.payload, range(size))
        shares = revealed.shares.copy()
        shares[0, 1] = (int(shares[0, 1]) + pow(weight, -1, P)) % P
        return UnmaskShares(revealed.dealers, shares).encode(range(size))

    vectors = rig.vectors(size, 30, 16)
    rig.play(backend, vectors, drop=drop).require_exact()
    outcome = rig.play(backend, vectors, drop=drop, liars={2: in_phase("unmask", lie)})
    assert backend.kept.rejected[2].reason == "a share that c0 did not deal to it"
    if dropped:
        assert outcome.abort is not None
        assert outcome.abort.evidence["rejected"] == {"c2": "a share that c0 did not deal to it"}
    else:
        outcome.require_exact()
        assert outcome.survivors == tuple(range(size))


ODD: dict[str, tuple[Callable[[UnmaskShares], bytes], str | None]] = {
    "one share less": (lambda r: UnmaskShares(r.dealers[1:], r.shares[1:]).encode(HOLDERS), None),
    "no shares": (lambda r: UnmaskShares((), r.shares[:0]).encode(HOLDERS), None),
    "cut": (lambda r: r.encode(HOLDERS)[:-SHARE_BYTES], "ends after"),
    "no field elements": (
        lambda r: r.encode(HOLDERS)[:1] + b"\xff" * (6 * SHARE_BYTES),
        "not canonical",
    ),
    "a stranger": (
        lambda r: bytes([r.encode(HOLDERS)[0] | 0x80]) + r.encode(HOLDERS)[1:],
        "bit set beyond",
    ),
    "two shares swapped": (lambda r: UnmaskShares(r.dealers, r.shares[::-1]).encode(HOLDERS), "c0 did not"),
    "zeros": (lambda r: UnmaskShares(r.dealers, r.shares * np.uint64(0)).encode(HOLDERS), "c0 did not"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_answers_to_the_unmask_request(rig: SimpleNamespace, name: str) -> None:
    """Fewer shares than held is no fault, malformed or false ones are; four others are enough in any case."""
    change, reason = ODD[name]
    backend = Kept()

    def lie(message: Message) -> bytes:
        return change(UnmaskShares.decode(message.payload, HOLDERS))

    outcome = rig.play(backend, rig.vectors(N, 9, 16), liars={5: in_phase("unmask", lie)})
    outcome.require_exact()
    assert outcome.survivors == tuple(range(N))
    refused = {index: rejection.reason for index, rejection in backend.kept.rejected.items()}
    if reason is None:
        assert refused == {}
    else:
        assert set(refused) == {5}
        assert reason in refused[5]


def test_shares_of_somebody_who_dealt_none_are_refused(rig: SimpleNamespace) -> None:
    def lie(message: Message) -> bytes:
        revealed = UnmaskShares.decode(message.payload, HOLDERS)
        shares = np.concatenate([revealed.shares, np.ones((1, LIMBS), np.uint64)])
        return UnmaskShares(HOLDERS, shares).encode(HOLDERS)

    drop, liars = {5: "share-keys"}, {2: in_phase("unmask", lie)}
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), drop=drop, liars=liars)
    outcome.require_exact()
    assert outcome.survivors == tuple(range(5))
    # Where its answer would be needed, it does not count as one.
    outcome = rig.play(Masking(), rig.vectors(N, 9, 16), drop={**drop, 4: "unmask"}, liars=liars)
    assert outcome.abort is not None
    assert outcome.abort.reason == "3 of 6 clients answered the unmask request; the threshold is 4"
    assert outcome.abort.evidence["rejected"]["c2"] == "shares of clients that dealt none"


def test_padding_bits_of_a_masked_input_are_zero(rig: SimpleNamespace) -> None:
    def lie(message: Message) -> bytes:
        return bytes(message.payload)[:-1] + bytes([message.payload[-1] | 0x80])

    vectors = rig.vectors(N, 9, 16)
    assert (9 * 19) % 8 != 0
    outcome = rig.play(Masking(), vectors, liars={0: in_phase("masked-input", lie)})
    outcome.require_exact()
    assert set(outcome.rejected) == {0}
    assert outcome.rejected[0].check == "structural"


def test_a_sum_that_no_inputs_have_is_not_handed_over(rig: SimpleNamespace) -> None:
    """A masked input holds any ring element; what it does to the sum can be seen, if it is large enough."""

    def lie(message: Message) -> bytes:
        return b"\xff" * (len(message.payload) - 1) + b"\x01"

    outcome = rig.play(Masking(), rig.vectors(5, 300, 16), liars={0: in_phase("masked-input", lie)})
    assert outcome.abort is not None
    assert "larger than any contributions of the survivors" in outcome.abort.reason


def held_by(root: object) -> int:
    """Bytes of the arrays and byte strings that can be reached from an object of this project."""
    seen, found, waiting = set(), 0, [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            found += one.nbytes
        elif isinstance(one, bytes | bytearray):
            found += len(one)
        elif isinstance(one, memoryview):
            found += one.nbytes
        elif isinstance(one, dict | list | tuple | set | frozenset) or type(one).__module__.startswith(
            ("secagg", "mpc")
        ):
            waiting += gc.get_referents(one)
    return found


def test_the_server_holds_one_vector_however_many_clients_there_are(rig: SimpleNamespace) -> None:
    length, sizes = 20_000, []
    for members in (4, 12):
        cohort = rig.cohort(Masking(), members, length, 16)
        server: Any = Masking().server(cohort, link_key=rig.link_key, tape=SeededTape(b"server"))
        clients: dict[Any, Any] = {
            client_id(index): Masking().client(
                cohort, f"c{index}", np.zeros(length, np.int64), tape=SeededTape(b"%d" % index)
            )
            for index in range(members)
        }
        waiting = [message for client in clients.values() for message in client.start()]
        inputs = 0
        while inputs < members - 1:
            message = waiting.pop(0)
            if message.receiver in clients:
                waiting += clients[message.receiver].receive(message)
                continue
            inputs += message.phase == "masked-input"
            waiting += server.receive(Message.decode(message.encode()))
        sizes.append(held_by(server._inner))
    vector = 4 * length
    assert all(vector <= size < 1.2 * vector for size in sizes)


def test_the_sealed_shares_are_forgotten_once_relayed_and_the_revealed_once_used(
    rig: SimpleNamespace,
) -> None:
    cohort = rig.cohort(Masking(), N, 5, 16)
    backend = Masking()
    parties: dict[Any, Any] = {
        SERVER: backend.server(cohort, link_key=rig.link_key, tape=SeededTape(b"s")),
        **{
            client_id(i): backend.client(cohort, f"c{i}", np.ones(5, np.int64), tape=SeededTape(b"%d" % i))
            for i in range(N)
        },
    }
    Network(parties, backend.phases).run()
    server = parties[SERVER]._inner
    assert server.result.total.tolist() == [N] * 5
    assert not {"_sealed", "_tags", "_recovery"} & vars(server).keys()
