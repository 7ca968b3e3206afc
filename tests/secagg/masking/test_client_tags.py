"""When a masking client reveals its shares, and which: one kind of each dealer, once (spec section 12.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from mpc import field
from secagg.masking import keys
from secagg.masking.messages import LIMBS, ConsistencyTags, SealedShares, UnmaskShares
from tests.secagg.masking.room import VECTOR, Room


def refuses_tags(room: Room, tags: Mapping[int, bytes], agreeing: int) -> None:
    reason = f"{agreeing} survivors were shown the same sets as I; the threshold is {room.threshold}"
    room.refuses("unmask", room.relay(tags), reason)


@pytest.mark.parametrize("senders", ["none", "one", "one short"])
def test_fewer_tags_than_the_threshold(room: Room, senders: str) -> None:
    room.go_to("unmask")
    count = {"none": 0, "one": 1, "one short": room.threshold - 2}[senders]
    refuses_tags(room, {sender: room.tag(sender) for sender in room.peers[:count]}, 1 + count)


@pytest.mark.parametrize("senders", ["the first", "the last", "one more", "all"])
def test_a_threshold_of_tags_is_enough(room: Room, senders: str) -> None:
    room.go_to("unmask")
    needed = room.threshold - 1
    heard = {
        "the first": room.peers[:needed],
        "the last": room.peers[-needed:],
        "one more": room.peers[: needed + 1],
        "all": room.peers,
    }[senders]
    assert len(room.send("unmask", room.tags(heard))) == 1


@pytest.mark.parametrize("others", ["one short", "all"])
def test_the_client_itself_counts_once(room: Room, others: str) -> None:
    """It needs no tag of its own, and takes none that stands in its place."""
    room.go_to("unmask")
    heard = room.peers[: room.threshold - 2] if others == "one short" else room.peers
    tags = {room.me: bytes(16), **{sender: room.tag(sender) for sender in heard}}
    room.refuses("unmask", room.relay(tags), "tags of clients that are not survivors, or mine: c2")


def others(room: Room, sender: int) -> tuple[int, ...]:
    """A set that the client might have been shown, without one or two."""
    return tuple({*room.group(room.threshold), sender} - {0, 1})


DISAGREEING: dict[str, Callable[[Room, int], bytes]] = {
    "rubbish": lambda room, sender: bytes(16),
    "a bit flipped": lambda room, sender: room.tag(sender)[:-1] + bytes([room.tag(sender)[-1] ^ 1]),
    "other survivors": lambda room, sender: room.tag(sender, survivors=others(room, sender)),
    "one survivor less": lambda room, sender: room.tag(sender, survivors=room.everybody[:-1]),
    "other dealers": lambda room, sender: room.tag(sender, dealers=others(room, sender)),
    "sets swapped": lambda room, sender: room.tag(sender, room.everybody, room.everybody[:-1]),
    "my own, reflected": lambda room, sender: room.tag(room.me, receiver=sender),
    "meant for a peer": lambda room, sender: keys.consistency_tag(
        room.channel(sender), room.dealing(), sender, 0, room.survivors()
    ),
    "another's, in its place": lambda room, sender: room.tag(room.peers[room.peers.index(sender) - 1]),
    "another listing": lambda room, sender: room.tag(sender, listing=bytes(32)),
    "not bound to the listing": lambda room, sender: keys.consistency_tag(
        room.channel(sender), room.cohort.digest, sender, room.me, room.survivors()
    ),
}


@pytest.mark.parametrize("what", DISAGREEING)
def test_tags_that_do_not_agree_do_not_count(room: Room, what: str) -> None:
    room.go_to("unmask")
    right, rest = room.peers[: room.threshold - 2], room.peers[room.threshold - 2 :]
    wrong = {sender: DISAGREEING[what](room, sender) for sender in rest}
    assert all(tag != room.tag(sender) for sender, tag in wrong.items())
    assert len(wrong) > 1
    refuses_tags(room, {**{sender: room.tag(sender) for sender in right}, **wrong}, 1 + len(right))


@pytest.mark.parametrize("what", DISAGREEING)
def test_and_stop_nobody(room: Room, what: str) -> None:
    """One liar, or one client that was shown something else, cannot make the others refuse."""
    room.go_to("unmask")
    right, rest = room.peers[: room.threshold - 1], room.peers[room.threshold - 1 :]
    tags = {sender: room.tag(sender) for sender in right}
    tags |= {sender: DISAGREEING[what](room, sender) for sender in rest}
    assert len(room.send("unmask", room.relay(tags))) == 1


def test_tags_of_those_that_are_no_survivors(room: Room) -> None:
    room.go_to("consistency")
    present = room.group(room.threshold)
    room.send("consistency", room.survivors(present))
    absent = ", ".join(f"c{peer}" for peer in room.peers if peer not in present)
    tags = {sender: room.tag(sender, present) for sender in room.peers}
    room.refuses("unmask", room.relay(tags), f"tags of clients that are not survivors, or mine: {absent}")


def test_tags_on_the_sets_that_i_was_shown_and_no_others(room: Room) -> None:
    """Dealers that differ count as much as survivors that do."""
    room.go_to("masked-input")
    dealers = room.group(room.threshold + 1)
    present = room.group(room.threshold)
    room.send("masked-input", room.relayed(dealers))
    (tags,) = room.send("consistency", room.survivors(present))
    alive = [peer for peer in room.peers if peer in present]
    sent = bytes(ConsistencyTags.decode(tags.payload, len(alive)).tags)
    assert sent == b"".join(room.tag(room.me, present, dealers, receiver=peer) for peer in alive)
    (answer,) = room.send("unmask", room.tags(alive, present, dealers))
    revealed = UnmaskShares.decode(answer.payload, room.holders).dealers
    assert revealed == tuple(holder for holder in room.holders if holder in dealers)


# What it reveals.


@pytest.mark.parametrize("second", ["none", "enough", "all"])
def test_a_second_unmask_message_whatever_it_says(room: Room, second: str) -> None:
    room.go_to("unmask")
    assert len(room.send("unmask", room.tags())) == 1
    heard = {"none": (), "enough": room.peers[: room.threshold - 1], "all": room.peers}[second]
    room.refuses("unmask", room.tags(heard), "not expected in state 'unmasked'")


@pytest.mark.parametrize("second", range(5))
def test_a_survivor_set_after_the_answer(room: Room, second: int) -> None:
    room.go_to("unmask")
    assert len(room.send("unmask", room.tags())) == 1
    room.refuses("consistency", room.survivors(room.groups()[second]), "not expected in state 'unmasked'")


@pytest.mark.parametrize("number", range(5))
def test_one_kind_of_share_of_each_dealer(room: Room, number: int) -> None:
    """Of a survivor the share of its self-mask seed, of a dropout that of its masking key; never both."""
    room.go_to("consistency")
    survivors, own = room.groups()[number], room.client._held[room.me]
    answer = room.unmask(survivors)
    revealed = UnmaskShares.decode(answer.payload, room.holders)
    assert revealed.dealers == room.holders
    for dealer, share in zip(revealed.dealers, revealed.shares, strict=True):
        shares = own if dealer == room.me else room.dealt[dealer]
        seed_share, key_share = shares[:40], shares[40:]
        shown, hidden = (seed_share, key_share) if dealer in survivors else (key_share, seed_share)
        assert field.to_bytes(share) == shown
        assert hidden not in bytes(answer.payload)
    assert room.client._held == {}


@pytest.mark.parametrize("how", ["garbled", "uncommitted"])
@pytest.mark.parametrize("whose", ["one", "two", "all"])
def test_a_share_that_is_not_as_committed_to_is_left_to_others(room: Room, how: str, whose: str) -> None:
    """The dealer's mask stays in: only its share is missing from the answer."""
    room.go_to("masked-input")
    dealers = {"one": room.peers[:1], "two": room.peers[1:4:2], "all": room.peers}[whose]
    (masked,) = room.send("masked-input", room.relayed(**{how: dealers}))
    revealed = UnmaskShares.decode(room.unmask().payload, room.holders).dealers
    assert revealed == tuple(holder for holder in room.holders if holder not in dealers)
    assert room.unmasked(masked) == VECTOR


@pytest.mark.parametrize("number", range(5))
def test_masks_are_those_of_the_paper(room: Room, number: int) -> None:
    """y = x + PRG(b) + Σ_{j > i} PRG(s_ij) - Σ_{j < i} PRG(s_ij), undone here from the peers' side."""
    room.go_to("masked-input")
    dealers = room.groups()[number]
    (masked,) = room.send("masked-input", room.relayed(dealers))
    assert room.unmasked(masked, dealers) == VECTOR


def test_commitments_are_to_the_seed_that_masks_and_to_the_shares_that_are_dealt(room: Room) -> None:
    """To the peers' shares as their boxes hold them, and to its own."""
    (message,) = room.send("share-keys", room.key_list())
    dealt = SealedShares.decode(message.payload, len(room.holders))
    assert dealt.commitment == keys.seed_commitment(room.client._self_seed, room.listing.digest, room.me)
    other = bytes([room.client._self_seed[0] ^ 1]) + room.client._self_seed[1:]
    assert dealt.commitment != keys.seed_commitment(other, room.listing.digest, room.me)
    boxes = {peer: bytes(dealt.sealed[96 * place :][:96]) for place, peer in enumerate(room.peers)}
    for place, holder in enumerate(room.holders):
        shares = room.client._held.get(holder)
        if holder != room.me:
            shares = keys.unseal(room.channel(holder), room.listing.digest, room.me, holder, boxes[holder])
        assert bytes(dealt.share_commitments[32 * place :][:32]) == room.commitments(room.me, holder, shares)


MISDIRECTED = {
    "genuine": lambda room, dealer: (room.listing.digest, dealer, room.me),
    "back to its dealer": lambda room, dealer: (room.listing.digest, room.me, dealer),
    "to another": lambda room, dealer: (room.listing.digest, dealer, room.peers[1]),
    "under another listing": lambda room, dealer: (bytes(32), dealer, room.me),
    "bound to the cohort alone": lambda room, dealer: (room.cohort.digest, dealer, room.me),
}


@pytest.mark.parametrize("what", MISDIRECTED)
def test_shares_sealed_for_somebody_else_do_not_open(room: Room, what: str) -> None:
    """Bound to dealer, receiver, direction and listing: moved anywhere else they are rubbish."""
    dealer = room.peers[0]
    box = keys.seal(room.channel(dealer), *MISDIRECTED[what](room, dealer), room.dealt[dealer])
    room.go_to("masked-input")
    room.send("masked-input", room.relayed(instead={dealer: box}))
    assert (room.client._held.get(dealer) == room.dealt[dealer]) is (what == "genuine")
    assert set(room.holders) - set(room.client._held) <= {dealer}


def test_a_share_that_is_no_field_element_is_not_kept(room: Room) -> None:
    """Not even if its dealer has committed to it: the receiver could not send it on."""
    dealer = room.peers[0]
    room.dealt[dealer] = b"\xff" * (16 * LIMBS)
    room.go_to("masked-input")
    room.send("masked-input", room.relayed())
    assert set(room.client._held) == set(room.holders) - {dealer}
