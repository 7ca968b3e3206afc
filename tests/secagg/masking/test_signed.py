"""Signed key advertisements: a server that plays the peers itself is refused (spec sections 7.1 and 12.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.errors import PeerError
from mpc.party import SERVER, Message, client_id
from mpc.prg import Usage
from mpc.tape import SeededTape
from secagg import Cohort, Masking
from secagg.identity import SIGNATURE_BYTES, Identity
from secagg.link import Link
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


Forge = Callable[[Cohort, Identity], KeyAdvertisement]
# What stands in the list in place of what the victim advertised; the identity is the victim's.
FORGERIES: dict[str, Forge] = {
    "the server's keys, unsigned": lambda cohort, own: replace(
        advertise(cohort, VICTIM, STRANGER), signature=bytes(SIGNATURE_BYTES)
    ),
    "the server's keys, signed by it": lambda cohort, own: advertise(cohort, VICTIM, STRANGER),
    "the server's keys under the genuine signature": lambda cohort, own: replace(
        advertise(cohort, VICTIM, STRANGER, label="server's"),
        signature=advertise(cohort, VICTIM, own).signature,
    ),
    "one key replaced": lambda cohort, own: replace(
        advertise(cohort, VICTIM, own), mask_key=advertise(cohort, VICTIM, own, label="server's").mask_key
    ),
    "keys swapped": lambda cohort, own: KeyAdvertisement(
        (genuine := advertise(cohort, VICTIM, own)).mask_key, genuine.channel_key, genuine.signature
    ),
    "of another round": lambda cohort, own: advertise(replace(cohort, round=2), VICTIM, own),
    "of another session": lambda cohort, own: advertise(replace(cohort, session=bytes(16)), VICTIM, own),
    "of another model": lambda cohort, own: advertise(replace(cohort, model_hash=bytes(32)), VICTIM, own),
    "of another threshold": lambda cohort, own: advertise(replace(cohort, threshold=5), VICTIM, own),
    "signed for another usage": lambda cohort, own: advertise(cohort, VICTIM, own, Usage.LINK_GREETING),
    "signed for another place": lambda cohort, own: advertise(cohort, 5, own),
}


class TestClient:
    def enter(self, rig: SimpleNamespace, cohort: Cohort) -> tuple[Any, Link, dict[int, KeyAdvertisement]]:
        """A client that has advertised, the server's end of its link, and an honest key list."""
        identities = rig.identities(N)
        party: Any = Masking().client(
            cohort, f"c{ME}", np.ones(5, np.int64), identity=identities[ME], tape=SeededTape(b"me")
        )
        (first,) = party.start()
        link = Link(
            cohort,
            client_id(ME),
            rig.link_key,
            bytes(first.payload[:32]),
            serves=True,
            tape=SeededTape(b"link"),
        )
        listed = {index: advertise(cohort, index, identities[index]) for index in range(N)}
        listed[ME] = KeyAdvertisement.decode(first.payload[32 + SIGNATURE_BYTES :], signed=True)
        return party, link, listed

    def send(self, party: Any, link: Link, cohort: Cohort, payload: bytes) -> list[Message]:
        message = Message(cohort.session, cohort.round, "share-keys", SERVER, client_id(ME), payload)
        return party.receive(link.close(message))

    def test_an_honest_list_is_taken(self, rig: SimpleNamespace) -> None:
        cohort = signed_cohort(rig)
        party, link, listed = self.enter(rig, cohort)
        payload = KeyList(cohort.digest, listed).encode(N, signed=True)
        assert len(self.send(party, link, cohort, payload)) == 1

    @pytest.mark.parametrize("name", FORGERIES)
    def test_a_forged_advertisement_is_refused_by_the_members_name(
        self, rig: SimpleNamespace, name: str
    ) -> None:
        cohort = signed_cohort(rig)
        party, link, listed = self.enter(rig, cohort)
        listed[VICTIM] = FORGERIES[name](cohort, rig.identities(N)[VICTIM])
        payload = KeyList(cohort.digest, listed).encode(N, signed=True)
        with pytest.raises(PeerError, match="the keys listed for c4 are not signed by c4") as caught:
            self.send(party, link, cohort, payload)
        assert (caught.value.party, caught.value.phase) == (SERVER, "share-keys")
        assert party._inner.state == "refused"

    @pytest.mark.parametrize("source", [0, ME, 5])
    def test_another_members_advertisement_in_its_place(self, rig: SimpleNamespace, source: int) -> None:
        cohort = signed_cohort(rig)
        party, link, listed = self.enter(rig, cohort)
        listed[VICTIM] = listed[source]
        with pytest.raises(PeerError, match="the keys listed for c4 are not signed by c4"):
            self.send(party, link, cohort, KeyList(cohort.digest, listed).encode(N, signed=True))

    def test_a_list_without_signatures(self, rig: SimpleNamespace) -> None:
        cohort = signed_cohort(rig)
        party, link, listed = self.enter(rig, cohort)
        bare = {index: replace(one, signature=b"") for index, one in listed.items()}
        with pytest.raises(PeerError, match="ends after"):
            self.send(party, link, cohort, KeyList(cohort.digest, bare).encode(N))


def in_phase(phase: str, change: Callable[[Message], bytes]) -> Callable[[Message], list[Message]]:
    return lambda m: [replace(m, payload=change(m))] if m.phase == phase else [m]


class TestServer:
    """It refuses what every honest client would stop at."""

    @pytest.mark.parametrize("name", FORGERIES)
    def test_an_advertisement_that_its_sender_did_not_sign(self, rig: SimpleNamespace, name: str) -> None:
        cohort, identities = signed_cohort(rig), rig.identities(N)

        def lie(message: Message) -> bytes:
            return FORGERIES[name](cohort, identities[VICTIM]).encode()

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
        listed = KeyList.decode(message.payload, N, signed)
        own = advertise(rig.cohort(Masking(), N, 5, 16), VICTIM, STRANGER)
        forged = own if signed else replace(own, signature=b"")
        found = {**listed.keys} if message.receiver == client_id(VICTIM) else {**listed.keys, VICTIM: forged}
        return KeyList(listed.digest, found).encode(N, signed)

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
