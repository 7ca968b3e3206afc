"""What a masking client refuses to a server that lies over its own, authentic link (spec section 12.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc import field
from mpc.errors import LocalError, PeerError
from mpc.party import SERVER, Message, client_id
from mpc.ring import add_masks
from mpc.tape import SeededTape
from mpc.wire import Writer
from secagg import Cohort, Masking
from secagg.link import Link
from secagg.masking import keys
from secagg.masking.client import MaskingClient
from secagg.masking.messages import (
    LIMBS,
    PHASES,
    ConsistencyTags,
    KeyAdvertisement,
    KeyList,
    RelayedShares,
    RelayedTags,
    SealedShares,
    SurvivorSet,
    UnmaskShares,
)

N, ME, THRESHOLD = 6, 2, 4
DOWNWARDS = ("share-keys", "masked-input", "consistency", "unmask")
SMALL_ORDER = [bytes(32), b"\1" + bytes(31)]
VECTOR = np.array([7, -7, 0, 100, -100])


class Room:
    """One honest client, and a server that can play everybody else as it likes."""

    def __init__(self, cohort: Cohort, link_key: bytes) -> None:
        self.cohort = cohort
        self.party: Any = Masking().client(cohort, f"c{ME}", VECTOR, tape=SeededTape(b"me"))
        tape = SeededTape(b"the others")
        self.pairs = {
            i: (keys.KeyPair.generate(tape), keys.KeyPair.generate(tape)) for i in range(N) if i != ME
        }
        (first,) = self.party.start()
        self.mine = KeyAdvertisement.decode(first.payload[32:])
        self.link = Link(
            cohort, client_id(ME), link_key, bytes(first.payload[:32]), serves=True, tape=SeededTape(b"link")
        )
        self.listed = {i: KeyAdvertisement(c.public, m.public) for i, (c, m) in self.pairs.items()}
        self.listed[ME] = self.mine
        self.dealt = {i: field.expand(bytes([i]) * 16, 2 * LIMBS).reshape(2, LIMBS) for i in self.pairs}

    @property
    def client(self) -> MaskingClient:
        return self.party._inner

    def message(self, phase: str, payload: bytes) -> Message:
        return Message(self.cohort.session, self.cohort.round, phase, SERVER, client_id(ME), payload)

    def send(self, phase: str, payload: bytes) -> list[Message]:
        return self.party.receive(self.link.close(self.message(phase, payload)))

    def key_list(self, listed: Mapping[int, KeyAdvertisement] | None = None, digest: bytes = b"") -> bytes:
        listed = dict(sorted((listed or self.listed).items()))
        return KeyList(digest or self.cohort.digest, listed).encode(N)

    def channel(self, dealer: int) -> bytes:
        return keys.Agreement(self.pairs[dealer][0].private).with_peer(self.mine.channel_key)

    def relayed(self, dealers: Collection[int] = range(N), garbled: Collection[int] = ()) -> bytes:
        sealed = {}
        for dealer in dealers:
            if dealer != ME:
                plaintext = field.to_bytes(self.dealt[dealer].reshape(-1))
                box = keys.seal(self.channel(dealer), self.cohort.digest, dealer, ME, plaintext)
                sealed[dealer] = bytes(len(box)) if dealer in garbled else box
        return RelayedShares(tuple(sorted(dealers)), sealed).encode(N)

    def survivors(self, survivors: Collection[int] = range(N)) -> bytes:
        return SurvivorSet(tuple(sorted(survivors))).encode(N)

    def tag(
        self,
        sender: int,
        survivors: Collection[int] = range(N),
        dealers: Collection[int] = range(N),
        receiver: int = ME,
    ) -> bytes:
        """The tag of a peer for the client (or of the client for a peer) on these sets."""
        sets = Writer().members(sorted(dealers), N).members(sorted(survivors), N).finish()
        peer = receiver if sender == ME else sender
        return keys.consistency_tag(self.channel(peer), self.cohort.digest, sender, receiver, sets)

    def tags(self, senders: Collection[int] | None = None, survivors: Collection[int] = range(N)) -> bytes:
        """What honest ``senders``, as a rule all other survivors, would have told the client."""
        senders = set(survivors) - {ME} if senders is None else senders
        return RelayedTags({sender: self.tag(sender, survivors) for sender in senders}).encode(N)

    def honest(self, phase: str) -> bytes:
        return {
            "share-keys": self.key_list,
            "masked-input": self.relayed,
            "consistency": self.survivors,
            "unmask": self.tags,
        }[phase]()

    def go_to(self, phase: str) -> None:
        """Play honestly until the client waits for a message of this phase."""
        for earlier in DOWNWARDS[: DOWNWARDS.index(phase)]:
            self.send(earlier, self.honest(earlier))

    def unmask(self, survivors: Collection[int] = range(N)) -> Message:
        """From the survivor set on: the client's answer."""
        self.send("consistency", self.survivors(survivors))
        (answer,) = self.send("unmask", self.tags(survivors=survivors))
        return answer


@pytest.fixture
def room(rig: SimpleNamespace) -> Room:
    cohort = rig.cohort(Masking(), N, len(VECTOR), 16, threshold=THRESHOLD)
    return Room(cohort, rig.link_key)


def refuses(room: Room, phase: str, payload: bytes, reason: str) -> None:
    """The client says why, and answers nothing more, not even what it would have answered before."""
    with pytest.raises(PeerError, match=reason) as caught:
        room.send(phase, payload)
    assert (caught.value.party, caught.value.phase) == (SERVER, phase)
    assert room.client.state == "refused"
    for later in DOWNWARDS:
        with pytest.raises(PeerError, match="not expected in state 'refused'"):
            room.send(later, room.honest(later))


def test_an_honest_server_is_served(room: Room) -> None:
    (shares,) = room.send("share-keys", room.key_list())
    assert set(SealedShares.decode(shares.payload, ME, tuple(range(N))).sealed) == set(range(N)) - {ME}
    (masked,) = room.send("masked-input", room.relayed())
    assert len(masked.payload) == room.cohort.ring.packed_size(len(VECTOR))
    (tags,) = room.send("consistency", room.survivors())
    sent = ConsistencyTags.decode(tags.payload, ME, tuple(range(N))).tags
    assert sent == {peer: room.tag(ME, receiver=peer) for peer in room.pairs}
    (answer,) = room.send("unmask", room.tags())
    assert UnmaskShares.decode(answer.payload, N).dealers == tuple(range(N))


# The key list.


def test_another_cohort(room: Room) -> None:
    refuses(room, "share-keys", room.key_list(digest=bytes(32)), "its key list is for another cohort")


@pytest.mark.parametrize(
    "changes",
    [{"model_hash": bytes(32)}, {"threshold": 5}, {"round": 9}, {"members": tuple("abcdef")}],
    ids=str,
)
def test_a_server_that_tells_clients_different_things(room: Room, changes: dict[str, Any]) -> None:
    other = replace(room.cohort, **changes).digest
    assert other != room.cohort.digest
    refuses(room, "share-keys", room.key_list(digest=other), "members or model hash differ")


def test_a_key_list_without_me(room: Room) -> None:
    del room.listed[ME]
    refuses(room, "share-keys", room.key_list(), "the key list leaves me out")


def test_a_key_list_below_the_threshold(room: Room) -> None:
    few = {index: room.listed[index] for index in (0, 1, ME)}
    reason = "the key list has 3 clients; the threshold is 4"
    refuses(room, "share-keys", room.key_list(few), reason)


@pytest.mark.parametrize("which", ["channel_key", "mask_key"])
def test_my_keys_replaced(room: Room, which: str) -> None:
    room.listed[ME] = replace(room.mine, **{which: keys.KeyPair.generate(SeededTape(b"evil")).public})
    refuses(room, "share-keys", room.key_list(), "holds other keys for me than those I advertised")


@pytest.mark.parametrize("which", ["channel_key", "mask_key"])
@pytest.mark.parametrize("of", ["a peer", "me", "its own other key"])
def test_a_key_that_stands_twice_stops_nobody(room: Room, which: str, of: str) -> None:
    """Every derivation binds both indices, so that a copied key gives nothing that another has."""
    other = "mask_key" if which == "channel_key" else "channel_key"
    value = {
        "a peer": getattr(room.listed[0], which),
        "me": getattr(room.mine, which),
        "its own other key": getattr(room.listed[4], other),
    }[of]
    room.listed[4] = replace(room.listed[4], **{which: value})
    room.go_to("masked-input")
    (masked,) = room.send("masked-input", room.relayed())
    (tags,) = room.send("consistency", room.survivors())
    assert len(set(ConsistencyTags.decode(tags.payload, ME, tuple(range(N))).tags.values())) == N - 1
    (answer,) = room.send("unmask", room.tags([0, 1, 3, 5]))
    held = {0, 1, ME, 3, 5} if which == "channel_key" else set(range(N))
    assert set(UnmaskShares.decode(answer.payload, N).dealers) == held
    if which == "channel_key":
        assert unmasked(room, masked, range(N)).tolist() == VECTOR.tolist()


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_channel_key_of_small_order(room: Room, point: bytes) -> None:
    room.listed[4] = replace(room.listed[4], channel_key=point)
    refuses(room, "share-keys", room.key_list(), "an X25519 public key of small order")


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_mask_key_of_small_order_costs_no_input(room: Room, point: bytes) -> None:
    room.listed[4] = replace(room.listed[4], mask_key=point)
    room.send("share-keys", room.key_list())
    refuses(room, "masked-input", room.relayed(), "an X25519 public key of small order")


# The list of those who shared keys.


def test_dealers_without_me(room: Room) -> None:
    room.go_to("masked-input")
    without = sorted(set(range(N)) - {ME})
    payload = RelayedShares(tuple(without), {i: bytes(96) for i in without}).encode(N)
    refuses(room, "masked-input", payload, "list of those who shared keys leaves me out")


def test_dealers_below_the_threshold(room: Room) -> None:
    room.go_to("masked-input")
    reason = "list of those who shared keys has 3 clients; the threshold is 4"
    refuses(room, "masked-input", room.relayed([0, 1, ME]), reason)


def test_dealers_that_advertised_nothing(room: Room) -> None:
    del room.listed[5]
    room.go_to("masked-input")
    refuses(room, "masked-input", room.relayed(), "clients that I have not seen before: c5")


# The survivor set.


def test_survivors_without_me(room: Room) -> None:
    room.go_to("consistency")
    refuses(room, "consistency", room.survivors({0, 1, 3, 4, 5}), "the survivor set leaves me out")


def test_survivors_below_the_threshold(room: Room) -> None:
    room.go_to("consistency")
    reason = "the survivor set has 3 clients; the threshold is 4"
    refuses(room, "consistency", room.survivors({0, 1, ME}), reason)


def test_survivors_that_dealt_nothing(room: Room) -> None:
    room.go_to("masked-input")
    room.send("masked-input", room.relayed([0, 1, ME, 3, 4]))
    reason = "the survivor set names clients that I have not seen before: c5"
    refuses(room, "consistency", room.survivors({0, 1, ME, 5}), reason)


OTHER_SETS = [{0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4}, {1, 2, 4, 5}]


@pytest.mark.parametrize("second", OTHER_SETS)
def test_a_second_survivor_set_whatever_it_says(room: Room, second: set[int]) -> None:
    room.go_to("consistency")
    assert len(room.send("consistency", room.survivors())) == 1
    refuses(room, "consistency", room.survivors(second), "not expected in state 'attested'")


def test_the_same_survivor_set_delivered_twice_is_answered_once(room: Room) -> None:
    room.go_to("consistency")
    message = room.link.close(room.message("consistency", room.survivors()))
    assert len(room.party.receive(message)) == 1
    assert room.party.receive(message) == []
    assert room.client.state == "attested"


# The tags of the others.


def refuses_tags(room: Room, tags: Mapping[int, bytes], agreeing: int) -> None:
    payload = RelayedTags(dict(sorted(tags.items()))).encode(N)
    reason = f"{agreeing} survivors were shown the same sets as I; the threshold is {THRESHOLD}"
    refuses(room, "unmask", payload, reason)


@pytest.mark.parametrize("senders", [(), (0,), (0, 5)], ids=str)
def test_fewer_tags_than_the_threshold(room: Room, senders: Collection[int]) -> None:
    room.go_to("unmask")
    refuses_tags(room, {sender: room.tag(sender) for sender in senders}, 1 + len(senders))


@pytest.mark.parametrize("senders", [(0, 1, 3), (1, 4, 5), (0, 1, 3, 4), (0, 1, 3, 4, 5)], ids=str)
def test_a_threshold_of_tags_is_enough(room: Room, senders: Collection[int]) -> None:
    room.go_to("unmask")
    assert len(room.send("unmask", room.tags(senders))) == 1


def test_the_client_itself_counts_once(room: Room) -> None:
    """It needs no tag of its own, and one that stands in its place adds nothing."""
    room.go_to("unmask")
    refuses_tags(room, {ME: bytes(16), 0: room.tag(0), 1: room.tag(1)}, 3)


DISAGREEING: dict[str, Any] = {
    "rubbish": lambda room, sender: bytes(16),
    "a bit flipped": lambda room, sender: room.tag(sender)[:-1] + bytes([room.tag(sender)[-1] ^ 1]),
    "other survivors": lambda room, sender: room.tag(sender, survivors={0, 1, ME, sender}),
    "other dealers": lambda room, sender: room.tag(sender, dealers={0, 1, 2, 3, sender}),
    "sets swapped": lambda room, sender: room.tag(sender, range(N), range(5)),
    "my own, reflected": lambda room, sender: room.tag(ME, receiver=sender),
    "meant for a peer": lambda room, sender: keys.consistency_tag(
        room.channel(sender), room.cohort.digest, sender, 0, sets(range(N), range(N))
    ),
    "another's, in its place": lambda room, sender: room.tag((sender + 1) % N if sender != 1 else 0),
    "another round": lambda room, sender: keys.consistency_tag(
        room.channel(sender), bytes(32), sender, ME, sets(range(N), range(N))
    ),
}


def sets(dealers: Collection[int], survivors: Collection[int]) -> bytes:
    return Writer().members(sorted(dealers), N).members(sorted(survivors), N).finish()


@pytest.mark.parametrize("what", DISAGREEING)
def test_tags_that_do_not_agree_do_not_count(room: Room, what: str) -> None:
    room.go_to("unmask")
    wrong = {sender: DISAGREEING[what](room, sender) for sender in (3, 4, 5)}
    assert all(tag != room.tag(sender) for sender, tag in wrong.items())
    refuses_tags(room, {0: room.tag(0), 1: room.tag(1), **wrong}, 3)


@pytest.mark.parametrize("what", DISAGREEING)
def test_and_stop_nobody(room: Room, what: str) -> None:
    """One liar, or one client that was shown something else, cannot make the others refuse."""
    room.go_to("unmask")
    tags = {sender: room.tag(sender) for sender in (0, 1, 3)}
    tags |= {sender: DISAGREEING[what](room, sender) for sender in (4, 5)}
    assert len(room.send("unmask", RelayedTags(tags).encode(N))) == 1


def test_tags_of_those_that_are_no_survivors(room: Room) -> None:
    room.go_to("consistency")
    present = (0, 1, ME, 3)
    room.send("consistency", room.survivors(present))
    tags = {sender: room.tag(sender, present) for sender in (0, 1, 3, 4, 5)}
    refuses(room, "unmask", RelayedTags(tags).encode(N), "tags of clients that are not survivors: c4, c5")


def test_tags_on_the_sets_that_i_was_shown_and_no_others(room: Room) -> None:
    """Dealers that differ count as much as survivors that do."""
    room.go_to("masked-input")
    dealers = (0, 1, ME, 3, 4)
    room.send("masked-input", room.relayed(dealers))
    (tags,) = room.send("consistency", room.survivors((0, 1, ME, 3)))
    sent = ConsistencyTags.decode(tags.payload, ME, (0, 1, ME, 3)).tags
    assert sent == {peer: room.tag(ME, (0, 1, ME, 3), dealers, receiver=peer) for peer in (0, 1, 3)}
    (answer,) = room.send(
        "unmask", RelayedTags({i: room.tag(i, (0, 1, ME, 3), dealers) for i in (0, 1, 3)}).encode(N)
    )
    assert UnmaskShares.decode(answer.payload, N).dealers == dealers


# What it reveals.


@pytest.mark.parametrize("second", [(), (0, 1, 3), (0, 1, 3, 4, 5)], ids=str)
def test_a_second_unmask_message_whatever_it_says(room: Room, second: Collection[int]) -> None:
    room.go_to("unmask")
    assert len(room.send("unmask", room.tags())) == 1
    refuses(room, "unmask", room.tags(second), "not expected in state 'unmasked'")


@pytest.mark.parametrize("second", OTHER_SETS)
def test_a_survivor_set_after_the_answer(room: Room, second: set[int]) -> None:
    room.go_to("unmask")
    assert len(room.send("unmask", room.tags())) == 1
    refuses(room, "consistency", room.survivors(second), "not expected in state 'unmasked'")


def test_the_same_unmask_message_delivered_twice_is_answered_once(room: Room) -> None:
    room.go_to("unmask")
    message = room.link.close(room.message("unmask", room.tags()))
    assert len(room.party.receive(message)) == 1
    assert room.party.receive(message) == []
    assert room.client.state == "unmasked"


@pytest.mark.parametrize("survivors", [range(N), (0, 1, ME, 3), (1, ME, 4, 5), (0, ME, 3, 4, 5)], ids=str)
def test_one_kind_of_share_of_each_dealer(room: Room, survivors: Collection[int]) -> None:
    """Of a survivor the share of its self-mask seed, of a dropout that of its masking key; never both."""
    room.go_to("consistency")
    own = room.client._held[ME].copy()
    answer = room.unmask(survivors)
    revealed = UnmaskShares.decode(answer.payload, N)
    assert revealed.dealers == tuple(range(N))
    for dealer, share in zip(revealed.dealers, revealed.shares, strict=True):
        seed_share, key_share = own if dealer == ME else room.dealt[dealer]
        shown, hidden = (seed_share, key_share) if dealer in survivors else (key_share, seed_share)
        assert np.array_equal(share, shown)
        assert field.to_bytes(hidden) not in bytes(answer.payload)
    assert room.client._held == {}


def test_a_share_that_does_not_open_is_left_to_others(room: Room) -> None:
    """The dealer's mask stays in: only its share is missing from the answer."""
    room.go_to("masked-input")
    (masked,) = room.send("masked-input", room.relayed(garbled=[1, 4]))
    assert UnmaskShares.decode(room.unmask().payload, N).dealers == (0, ME, 3, 5)
    assert unmasked(room, masked, range(N)).tolist() == VECTOR.tolist()


@pytest.mark.parametrize("dealers", [range(N), (0, 1, ME, 3), (ME, 3, 4, 5)], ids=str)
def test_masks_are_those_of_the_paper(room: Room, dealers: Collection[int]) -> None:
    """y = x + PRG(b) + Σ_{j > i} PRG(s_ij) - Σ_{j < i} PRG(s_ij), undone here from the peers' side."""
    room.go_to("masked-input")
    (masked,) = room.send("masked-input", room.relayed(dealers))
    assert unmasked(room, masked, dealers).tolist() == VECTOR.tolist()


def unmasked(room: Room, masked: Message, dealers: Collection[int]) -> np.ndarray:
    ring, digest = room.cohort.ring, room.cohort.digest
    total = ring.unpack(masked.payload, len(VECTOR))
    streams = [(keys.self_mask_key(room.client._self_seed, digest, ME), -1)]
    for peer in dealers:
        if peer != ME:
            shared = keys.Agreement(room.pairs[peer][1].private).with_peer(room.mine.mask_key)
            streams.append((keys.pairwise_mask_key(shared, digest, ME, peer), -1 if peer > ME else 1))
    add_masks(total, streams)
    return ring.decode(total)


def test_the_commitment_is_to_the_seed_that_masks(room: Room) -> None:
    (shares,) = room.send("share-keys", room.key_list())
    committed = SealedShares.decode(shares.payload, ME, tuple(range(N))).commitment
    assert committed == keys.seed_commitment(room.client._self_seed, room.cohort.digest, ME)
    other = bytes([room.client._self_seed[0] ^ 1]) + room.client._self_seed[1:]
    assert committed != keys.seed_commitment(other, room.cohort.digest, ME)


# Order, encoding, and what comes from elsewhere.

WAITS = dict(zip(DOWNWARDS, ("advertised", "shared", "masked", "attested"), strict=True))
EXPECTED = {*((due, due) for due in WAITS), ("consistency", "check")}
OUT_OF_ORDER = [(d, p) for d in WAITS for p in (*PHASES, "no such phase") if (d, p) not in EXPECTED]


@pytest.mark.parametrize(("due", "phase"), OUT_OF_ORDER)
def test_phases_out_of_order(room: Room, due: str, phase: str) -> None:
    room.go_to(due)
    payload = room.honest(phase) if phase in DOWNWARDS else b""
    refuses(room, phase, payload, f"not expected in state '{WAITS[due]}'")


@pytest.mark.parametrize("due", WAITS)
def test_every_cut_and_extension_of_what_the_server_sends(rig: SimpleNamespace, due: str) -> None:
    cohort = rig.cohort(Masking(), N, len(VECTOR), 16, threshold=THRESHOLD)

    def fresh() -> tuple[Room, bytes]:
        room = Room(cohort, rig.link_key)
        room.go_to(due)
        return room, room.honest(due)

    size = len(fresh()[1])
    for cut in {*range(0, size, max(1, size // 9)), size - 1}:
        room, payload = fresh()
        with pytest.raises(PeerError, match=r"ends after|leaves me out|another cohort"):
            room.send(due, payload[:cut])
        assert room.client.state == "refused"
    room, payload = fresh()
    refuses(room, due, payload + b"\0", "1 bytes after the end")


@pytest.mark.parametrize("due", WAITS)
def test_a_set_beyond_the_cohort(room: Room, due: str) -> None:
    room.go_to(due)
    place = 32 if due == "share-keys" else 0
    payload = bytearray(room.honest(due))
    payload[place] |= 1 << N
    refuses(room, due, bytes(payload), "a bitmap over 6 members has a bit set beyond them")


@pytest.mark.parametrize("due", WAITS)
@pytest.mark.parametrize("changes", [{"round": 8}, {"session": bytes(16)}], ids=str)
def test_messages_of_another_round_or_session_change_nothing(
    room: Room, due: str, changes: dict[str, Any]
) -> None:
    room.go_to(due)
    foreign = room.link.close(replace(room.message(due, room.honest(due)), **changes))
    with pytest.raises(PeerError, match="replayed: belongs to"):
        room.party.receive(foreign)
    assert len(room.send(due, room.honest(due))) == 1


@pytest.mark.parametrize("due", WAITS)
def test_tampered_messages_change_nothing(room: Room, due: str) -> None:
    room.go_to(due)
    message = room.link.close(room.message(due, room.honest(due)))
    with pytest.raises(PeerError, match="tampered"):
        room.party.receive(replace(message, payload=bytes(len(message.payload))))
    assert len(room.party.receive(message)) == 1


def test_shares_sealed_for_somebody_else_do_not_open(room: Room) -> None:
    """Bound to dealer, receiver, direction and round: moved anywhere else they are rubbish."""
    digest, secret = room.cohort.digest, room.channel(0)
    plaintext = field.to_bytes(room.dealt[0].reshape(-1))
    room.go_to("masked-input")
    for sealed in (
        keys.seal(secret, digest, ME, 0, plaintext),
        keys.seal(secret, digest, 0, 3, plaintext),
        keys.seal(secret, bytes(32), 0, ME, plaintext),
    ):
        room.client._unseal(0, sealed)
        assert 0 not in room.client._held
    room.client._unseal(0, keys.seal(secret, digest, 0, ME, plaintext))
    assert np.array_equal(room.client._held[0], room.dealt[0])


def test_a_share_that_is_no_field_element_is_not_kept(room: Room) -> None:
    room.go_to("masked-input")
    plaintext = b"\xff" * (16 * LIMBS)
    room.client._unseal(0, keys.seal(room.channel(0), room.cohort.digest, 0, ME, plaintext))
    assert 0 not in room.client._held


def test_the_input_is_forgotten_once_it_is_masked(room: Room) -> None:
    room.go_to("unmask")
    assert room.client._vector.size == 0


def test_it_starts_once_and_shows_nothing_of_itself(room: Room) -> None:
    with pytest.raises(LocalError, match="state is 'advertised': a client starts once"):
        room.party.start()
    assert repr(room.client) == "MaskingClient('c2', round 3, state 'advertised')"
    assert repr(keys.KeyPair.generate(SeededTape(b"x"))).startswith("KeyPair(<secret>, public=")
    shares = UnmaskShares((0,), np.ones((1, LIMBS), np.uint64))
    assert repr(shares) == "UnmaskShares(dealers=(0,), shares=<secret>)"
