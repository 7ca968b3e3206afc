"""Signed key advertisements: a server that plays the peers itself is refused (spec sections 7.1 and 12.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mpc import merkle
from mpc.party import SERVER, Message, client_id
from mpc.prg import Usage
from mpc.tape import SeededTape
from secagg import Cohort, Masking
from secagg.identity import SIGNATURE_BYTES, Identity
from secagg.masking import keys
from secagg.masking.messages import KeyAdvertisement, KeyList

N, ME, VICTIM = 6, 2, 4
OTHERS = (0, 1, 2, 3, 5)
STRANGER = Identity(SeededTape(b"stranger").read(32))


def signed_cohort(rig: SimpleNamespace, **changes: Any) -> Cohort:
    identities = tuple(one.public for one in rig.identities(N))
    return rig.cohort(Masking(), N, 5, 16, identities=identities, **changes)


def advertise(
    cohort: Cohort, index: int, signer: Identity, usage: Usage = Usage.KEY_ADVERTISEMENT, label: str = ""
) -> KeyAdvertisement:
    """Fresh keys, signed as spec section 7.1 says: digest, index, both keys."""
    tape = SeededTape(f"{label} {index}".encode())
    channel, mask = keys.KeyPair.generate(tape).public, keys.KeyPair.generate(tape).public
    content = cohort.digest + index.to_bytes(4, "little") + channel + mask
    return KeyAdvertisement(channel, mask, signer.sign(usage, content))


Forge = Callable[[Cohort, int, Identity], KeyAdvertisement]
# What stands in the list in place of what a victim advertised: its index, and its identity.
FORGERIES: dict[str, Forge] = {
    "the server's keys, unsigned": lambda cohort, victim, own: replace(
        advertise(cohort, victim, STRANGER), signature=bytes(SIGNATURE_BYTES)
    ),
    "the server's keys, signed by it": lambda cohort, victim, own: advertise(cohort, victim, STRANGER),
    "the server's keys under the genuine signature": lambda cohort, victim, own: replace(
        advertise(cohort, victim, STRANGER, label="server's"),
        signature=advertise(cohort, victim, own).signature,
    ),
    "one key replaced": lambda cohort, victim, own: replace(
        advertise(cohort, victim, own), mask_key=advertise(cohort, victim, own, label="server's").mask_key
    ),
    "keys swapped": lambda cohort, victim, own: KeyAdvertisement(
        (genuine := advertise(cohort, victim, own)).mask_key, genuine.channel_key, genuine.signature
    ),
    "of another round": lambda cohort, victim, own: advertise(replace(cohort, round=2), victim, own),
    "of another session": lambda cohort, victim, own: advertise(
        replace(cohort, session=bytes(16)), victim, own
    ),
    "of another model": lambda cohort, victim, own: advertise(
        replace(cohort, model_hash=bytes(32)), victim, own
    ),
    "of another threshold": lambda cohort, victim, own: advertise(replace(cohort, threshold=5), victim, own),
    "signed for another usage": lambda cohort, victim, own: advertise(
        cohort, victim, own, Usage.LINK_GREETING
    ),
    "signed for another place": lambda cohort, victim, own: advertise(cohort, victim + 1, own),
}


class TestClient:
    @pytest.mark.parametrize("name", FORGERIES)
    def test_a_forged_advertisement_is_refused_by_the_members_name(
        self, rig: SimpleNamespace, rooms: Callable[..., Any], graph: str, name: str
    ) -> None:
        """Though it stands under the root that everybody is shown."""
        room = rooms(graph, signed=True)
        identities = rig.identities(room.n)
        victim = room.alter(lambda index, _: FORGERIES[name](room.cohort, index, identities[index]))
        reason = f"the keys listed for c{victim} are not signed by c{victim}"
        room.refuses("share-keys", room.key_list(), reason)

    def test_what_the_member_signed_is_taken(
        self, rig: SimpleNamespace, rooms: Callable[..., Any], graph: str
    ) -> None:
        """The forgeries above fail for what is wrong with them, not for the way they are made."""
        room = rooms(graph, signed=True)
        identities = rig.identities(room.n)
        room.alter(lambda index, _: advertise(room.cohort, index, identities[index], label="genuine"))
        assert len(room.send("share-keys", room.key_list())) == 1

    @pytest.mark.parametrize("source", [0, ME, 5])
    def test_another_members_advertisement_in_its_place(
        self, rooms: Callable[..., Any], graph: str, source: int
    ) -> None:
        room = rooms(graph, signed=True)
        genuine = room.listed[source]
        victim = room.alter(lambda *_: genuine, unless=[source])
        room.refuses("share-keys", room.key_list(), f"the keys listed for c{victim} are not signed by")

    @pytest.mark.parametrize("forged", [bytes(SIGNATURE_BYTES), "another's"])
    def test_my_own_keys_under_another_signature(
        self, rooms: Callable[..., Any], graph: str, forged: Any
    ) -> None:
        """The others would stop at it."""
        room = rooms(graph, signed=True)
        signature = room.listed[0].signature if forged == "another's" else forged
        room.show({**room.listed, room.me: replace(room.mine, signature=signature)})
        room.refuses("share-keys", room.key_list(), "the keys listed for c2 are not signed by c2")

    def test_a_list_without_signatures(self, rooms: Callable[..., Any], graph: str) -> None:
        room = rooms(graph, signed=True)
        room.show({index: replace(one, signature=b"") for index, one in room.listed.items()})
        room.refuses("share-keys", room.key_list(), "ends after|a Merkle proof")


def in_phase(phase: str, change: Callable[[Message], bytes]) -> Callable[[Message], list[Message]]:
    return lambda m: [replace(m, payload=change(m))] if m.phase == phase else [m]


class TestServer:
    """It refuses what every honest client would stop at."""

    @pytest.mark.parametrize("name", FORGERIES)
    def test_an_advertisement_that_its_sender_did_not_sign(self, rig: SimpleNamespace, name: str) -> None:
        cohort, identities = signed_cohort(rig), rig.identities(N)

        def lie(message: Message) -> bytes:
            return FORGERIES[name](cohort, VICTIM, identities[VICTIM]).encode()

        liars = {VICTIM: in_phase("advertise-keys", lie)}
        outcome = rig.play(Masking(), rig.vectors(N, 5, 16), identities=identities, liars=liars)
        outcome.require_exact()
        assert outcome.survivors == OTHERS
        assert outcome.rejected[VICTIM].check == "structural"
        assert outcome.rejected[VICTIM].reason == "a signature does not verify"
        assert outcome.transcript.refusals == []

    @pytest.mark.parametrize("cut", [1, SIGNATURE_BYTES])
    def test_a_missing_signature(self, rig: SimpleNamespace, cut: int) -> None:
        liars = {VICTIM: in_phase("advertise-keys", lambda m: bytes(m.payload)[:-cut])}
        outcome = rig.play(Masking(), rig.vectors(N, 5, 16), identities=rig.identities(N), liars=liars)
        outcome.require_exact()
        assert outcome.survivors == OTHERS
        assert outcome.rejected[VICTIM].check == "structural"


def in_the_middle(rig: SimpleNamespace, signed: bool) -> Any:
    """A server that puts its own keys in the place of one client's, in what it sends to the others."""

    def lie(message: Message) -> bytes:
        if message.receiver == client_id(VICTIM):
            return bytes(message.payload)
        found = KeyList.decode(message.payload, N, signed, lambda digest, root, listed: listed)
        own = advertise(rig.cohort(Masking(), N, 5, 16), VICTIM, STRANGER)
        shown = {**found.keys, VICTIM: own if signed else replace(own, signature=b"")}
        root = merkle.root([one.leaf(index) for index, one in sorted(shown.items())])
        return replace(found, keys=shown, root=root).encode(N)

    return rig.play(
        Masking(),
        rig.vectors(N, 5, 16),
        identities=rig.identities(N) if signed else (),
        liars={SERVER: in_phase("share-keys", lie)},
    )


def test_a_server_in_the_middle_gets_no_share_where_members_sign(rig: SimpleNamespace) -> None:
    outcome = in_the_middle(rig, signed=True)
    assert outcome.abort is not None
    assert outcome.abort.reason == "1 of 6 clients shared keys; the threshold is 4"


def test_and_is_not_noticed_where_they_do_not(rig: SimpleNamespace) -> None:
    """The limit that is stated: without identities the server has to relay the keys unaltered."""
    outcome = in_the_middle(rig, signed=False)
    sent = [r for r in outcome.transcript.records if r.sender != SERVER and r.phase == "masked-input"]
    assert len(sent) == N
