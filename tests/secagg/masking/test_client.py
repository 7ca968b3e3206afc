"""Which keys and sets a masking client refuses to a lying server, over its own link (spec section 12.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mpc.errors import LocalError
from mpc.tape import SeededTape
from secagg.masking import Tolerance, keys
from secagg.masking.messages import ConsistencyTags, SealedShares, UnmaskShares
from tests.secagg.masking.room import VECTOR, Room

SMALL_ORDER = [bytes(32), b"\1" + bytes(31)]


def some_key() -> bytes:
    return keys.KeyPair.generate(SeededTape(b"evil")).public


def test_an_honest_server_is_served(room: Room) -> None:
    (shares,) = room.send("share-keys", room.key_list())
    assert len(SealedShares.decode(shares.payload, len(room.holders)).sealed) == 96 * len(room.peers)
    (masked,) = room.send("masked-input", room.relayed())
    assert len(masked.payload) == room.cohort.ring.packed_size(len(VECTOR))
    (tags,) = room.send("consistency", room.survivors())
    sent = bytes(ConsistencyTags.decode(tags.payload, len(room.peers)).tags)
    assert sent == b"".join(room.tag(room.me, receiver=peer) for peer in room.peers)
    (answer,) = room.send("unmask", room.tags())
    assert UnmaskShares.decode(answer.payload, room.holders).dealers == room.holders


def test_both_graphs_are_there(rooms: Callable[..., Room]) -> None:
    complete, sparse = rooms("complete"), rooms("sparse")
    assert (complete.n, len(complete.holders), complete.threshold) == (6, 6, 4)
    assert (sparse.n, len(sparse.holders), sparse.threshold) == (60, 13, 10)


# The key list.


def test_another_cohort(room: Room) -> None:
    room.refuses("share-keys", room.key_list(digest=bytes(32)), "its key list is for another cohort")


@pytest.mark.parametrize(
    "changes",
    [{"model_hash": bytes(32)}, {"threshold": 5}, {"round": 9}, {"members": "others"}],
    ids=str,
)
def test_a_server_that_tells_clients_different_things(room: Room, changes: dict[str, Any]) -> None:
    if "members" in changes:
        changes = {"members": tuple(f"d{index}" for index in room.everybody)}
    other = replace(room.cohort, **changes).digest
    assert other != room.cohort.digest
    room.refuses("share-keys", room.key_list(digest=other), "members or model hash differ")


def test_a_key_list_without_me(room: Room) -> None:
    listed = tuple(index for index in room.everybody if index != room.me)
    room.refuses("share-keys", room.key_list(listed=listed), "the key list leaves me out")


def test_a_key_list_below_the_threshold(room: Room) -> None:
    least = room.cohort.threshold
    room.show({index: room.listed[index] for index in range(least - 1)})
    reason = f"the key list has {least - 1} clients; the threshold is {least}"
    room.refuses("share-keys", room.key_list(), reason)


def test_a_key_list_at_the_threshold_is_taken(room: Room) -> None:
    room.show({index: room.listed[index] for index in range(room.cohort.threshold)})
    assert len(room.send("share-keys", room.key_list())) == 1


def test_a_key_list_too_short_for_the_tolerance(rooms: Callable[..., Room]) -> None:
    """Enough of the cohort, but no graph on so few stands what the client tolerates."""
    room = rooms("sparse", tolerance=Tolerance(0.0, 0.4), threshold=31)
    reason = r"the key list is too short: corrupt and dropout is \(0, 24\): of 40 clients"
    room.refuses("share-keys", room.key_list(listed=tuple(range(40))), reason)


@pytest.mark.parametrize("which", ["channel_key", "mask_key"])
def test_my_keys_replaced(room: Room, which: str) -> None:
    room.show({**room.listed, room.me: replace(room.mine, **{which: some_key()})})
    room.refuses("share-keys", room.key_list(), "holds other keys for me than those I advertised")


@pytest.mark.parametrize("which", ["channel_key", "mask_key"])
@pytest.mark.parametrize("whose", [0, -1, "me"])
def test_keys_that_are_not_under_the_root(room: Room, which: str, whose: Any) -> None:
    """Everybody else may have been shown other keys of this peer."""
    index = room.me if whose == "me" else room.peers[whose]
    shown = {holder: room.listed[holder] for holder in room.holders}
    shown[index] = replace(shown[index], **{which: some_key()})
    reason = "a Merkle proof that does not lead to the root"
    room.refuses("share-keys", room.key_list(keys=shown), reason)


def test_another_root(room: Room) -> None:
    """On the sparse graph other holders follow from it, whose keys are not shown or proved."""
    root = bytes([room.tree.root[0] ^ 1]) + room.tree.root[1:]
    room.refuses("share-keys", room.key_list(root=root), "a Merkle proof")


def test_a_proof_that_is_altered(rooms: Callable[..., Room]) -> None:
    """The complete graph needs none: its clients compute the root from all keys."""
    room = rooms("sparse")
    proof = room.tree.proof(room.holders)
    for place in range(0, len(proof), 101):
        altered = proof[:place] + bytes([proof[place] ^ 1]) + proof[place + 1 :]
        fresh = rooms("sparse")
        fresh.refuses("share-keys", fresh.key_list(proof=altered), "a Merkle proof that does not lead")
    room.refuses("share-keys", room.key_list(proof=proof[:-32]), "a Merkle proof of another length")


def test_a_proof_where_none_is_due(rooms: Callable[..., Room]) -> None:
    room = rooms("complete")
    room.refuses("share-keys", room.key_list(proof=bytes(32)), "a Merkle proof of another length")


@pytest.mark.parametrize("gone", [0, 5])
def test_a_list_that_says_another_than_it_shows(room: Room, gone: int) -> None:
    """The root is of all keys, so a member cannot be taken out of the list under it."""
    fewer = tuple(index for index in room.everybody if index != gone)
    keys_shown = {index: room.listed[index] for index in room.holders if index != gone}
    room.refuses("share-keys", room.key_list(listed=fewer, keys=keys_shown), "a Merkle proof|ends after")


@pytest.mark.parametrize("which", ["channel_key", "mask_key"])
@pytest.mark.parametrize("of", ["a peer", "me", "its own other key"])
def test_a_key_that_stands_twice_stops_nobody(room: Room, which: str, of: str) -> None:
    """Every derivation binds both indices, so that a copied key gives nothing that another has."""
    other = "mask_key" if which == "channel_key" else "channel_key"

    def copied(_: int, own: Any) -> Any:
        value = {
            "a peer": getattr(room.listed[0], which),
            "me": getattr(room.mine, which),
            "its own other key": getattr(own, other),
        }[of]
        return replace(own, **{which: value})

    copier = room.alter(copied, unless=[0])
    room.go_to("masked-input")
    (masked,) = room.send("masked-input", room.relayed())
    (tags,) = room.send("consistency", room.survivors())
    sent = bytes(ConsistencyTags.decode(tags.payload, len(room.peers)).tags)
    assert len({sent[at : at + 16] for at in range(0, len(sent), 16)}) == len(room.peers)
    (answer,) = room.send("unmask", room.tags(set(room.peers) - {copier}))
    held = set(room.holders) - ({copier} if which == "channel_key" else set())
    assert set(UnmaskShares.decode(answer.payload, room.holders).dealers) == held
    if which == "channel_key":
        assert room.unmasked(masked) == VECTOR


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_channel_key_of_small_order(room: Room, point: bytes) -> None:
    room.alter(lambda _, own: replace(own, channel_key=point))
    room.refuses("share-keys", room.key_list(), "an X25519 public key of small order")


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_mask_key_of_small_order(room: Room, point: bytes) -> None:
    """Refused before anything was dealt, as the other is."""
    room.alter(lambda _, own: replace(own, mask_key=point))
    room.refuses("share-keys", room.key_list(), "an X25519 public key of small order")


# The list of those who shared keys, and the survivor set.

LATER = {"masked-input": "list of those who shared keys", "consistency": "survivor set"}


def sets(room: Room, phase: str, members: Any) -> bytes:
    return room.relayed(members) if phase == "masked-input" else room.survivors(members)


@pytest.mark.parametrize("phase", LATER)
def test_a_set_without_me(room: Room, phase: str) -> None:
    room.go_to(phase)
    without = set(room.everybody) - {room.me}
    room.refuses(phase, sets(room, phase, without), f"the {LATER[phase]} leaves me out")


@pytest.mark.parametrize("phase", LATER)
def test_a_set_below_the_threshold(room: Room, phase: str) -> None:
    room.go_to(phase)
    least = room.cohort.threshold
    few = room.group(min(len(room.holders), least - 1), least - 1)
    reason = f"the {LATER[phase]} has {least - 1} clients; the threshold is {least}"
    room.refuses(phase, sets(room, phase, few), reason)


@pytest.mark.parametrize("phase", LATER)
@pytest.mark.parametrize("holders", [1, 5, 9])
def test_a_set_with_too_few_of_my_holders(rooms: Callable[..., Room], phase: str, holders: int) -> None:
    """However many others there are. On the complete graph all are holders, and the thresholds are one."""
    room = rooms("sparse")
    room.go_to(phase)
    few = room.group(holders)
    assert len(few) > room.cohort.threshold
    reason = f"the {LATER[phase]} has {holders} holders of my shares; it takes 10"
    room.refuses(phase, sets(room, phase, few), reason)


@pytest.mark.parametrize("phase", LATER)
@pytest.mark.parametrize("number", range(5))
def test_sets_that_are_large_enough(room: Room, phase: str, number: int) -> None:
    room.go_to(phase)
    assert len(room.send(phase, sets(room, phase, room.groups()[number]))) == 1


def test_dealers_that_advertised_nothing(room: Room) -> None:
    last = room.n - 1
    room.show({index: shown for index, shown in room.listed.items() if index != last})
    room.go_to("masked-input")
    reason = f"clients that I have not seen before: c{last}"
    room.refuses("masked-input", room.relayed(room.everybody), reason)


def test_survivors_that_dealt_nothing(room: Room) -> None:
    room.go_to("masked-input")
    absent = room.everybody[-1]
    room.send("masked-input", room.relayed(set(room.everybody) - {absent}))
    reason = f"the survivor set names clients that I have not seen before: c{absent}"
    room.refuses("consistency", room.survivors(), reason)


@pytest.mark.parametrize("second", range(5))
def test_a_second_survivor_set_whatever_it_says(room: Room, second: int) -> None:
    room.go_to("consistency")
    assert len(room.send("consistency", room.survivors())) == 1
    room.refuses("consistency", room.survivors(room.groups()[second]), "not expected in state 'attested'")


def test_it_starts_once_and_shows_nothing_of_itself(room: Room) -> None:
    with pytest.raises(LocalError, match="state is 'advertised': a client starts once"):
        room.party.start()
    assert repr(room.client) == "MaskingClient('c2', round 3, state 'advertised')"
