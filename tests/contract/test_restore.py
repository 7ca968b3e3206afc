"""A party that is saved, thrown away and restored between any two messages is the party it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from gmpy2 import mpz

from mpc.errors import DecodeError, LocalError, PeerError
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.saving import declared
from mpc.snapshot import encode
from mpc.tape import RandomTape, SeededTape
from secagg import ACCEPT, Check, Cohort, InsecurePlain, Reject, SecretSharing, Verdict
from secagg.backend import Backend
from secagg.link import NONCE_BYTES
from secagg.paillier.numbers import encode_numbers

Load = Callable[[bytes, RandomTape], Any]
CLIENTS, LENGTH = 5, 7
OPENING = ("open-sum", "decrypt")  # phases in which a helper gives the sum away


class Remembers(Check):
    """Proves the sum of the entries, keeps notes on the way, and refuses one client for what it noted."""

    name = "remembers"
    proves = True
    saved: ClassVar[tuple[str, ...]] = ("noted", "seeds")

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.noted: dict[str, int] = {}
        self.seeds: list[bytes] = []

    def on_message(self, cohort: Cohort, client: str, message: Message) -> Verdict:
        self.noted[client] = self.noted.get(client, 0) + 1
        return ACCEPT

    def on_inputs_frozen(self, cohort: Cohort, survivors: Sequence[str], seed: bytes) -> list[Verdict]:
        self.seeds.append(seed)
        return []

    def proof_bytes(self, cohort: Cohort) -> int:
        return 16

    def prove(self, cohort: Cohort, client: str, vector: np.ndarray, seed: bytes, tape: RandomTape) -> bytes:
        return int(vector.sum()).to_bytes(8, "little", signed=True) + tape.read(8)

    def on_proofs(self, cohort: Cohort, seed: bytes, proofs: Mapping[str, bytes]) -> list[Verdict]:
        assert self.seeds == [seed]
        assert all(self.noted[client] >= 2 for client in proofs)
        return (
            [Reject(self.refused, "noted", {"messages": self.noted[self.refused], "share": 0.5})]
            if (self.refused in proofs)
            else []
        )


def parts_of(party: Any) -> list[Any]:
    """Everything that a dump is made of."""
    links = list(party._links.values()) if hasattr(party, "_links") else [party._link]
    return [party, party._inner, *links]


# Drawn anew, or saved with what it holds.
ELSEWHERE = {"_salt", "_sent", "_link", "_links", "_assembly", "_assemblies", "replaying"}


def unsaved(owner: Any) -> dict[str, tuple[int, bytes]]:
    """Attributes that are not state: which object, and what is in it if it can change."""
    found = {}
    for name, value in vars(owner).items():
        if name not in {*declared(type(owner)), *ELSEWHERE}:
            inside = encode(value) if isinstance(value, dict | list | set | np.ndarray) else b""
            found[name] = (id(value), inside)
    return found


class Restored:
    """A party, and whoever takes its place."""

    def __init__(self, party: Any, load: Load, table: Table) -> None:
        self.party, self.load, self._table = party, load, table
        self.before: dict[str, bytes] = {}
        self.made = [(part, unsaved(part)) for part in parts_of(party)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.party, name)

    def receive(self, message: Message) -> list[Message]:
        if message.phase in OPENING:
            self.before[message.phase] = self.party.dump()
        try:
            return self.party.receive(message)
        finally:
            self._table.delivered(self.id)

    def renew(self, tape: RandomTape) -> None:
        data = self.party.dump()
        self.party = self.load(data, tape)
        assert self.party.dump() == data


class Table:
    """A backend whose parties are renewed after some deliveries: ``due(number, receiver)`` says who.

    ``fresh_checks``: makes the checks of a party that is restored, as a new process would.
    """

    def __init__(
        self,
        backend: Backend,
        due: Callable[[int, PartyId], Collection[PartyId]],
        fresh_checks: Callable[[], Sequence[Check]] = tuple,
    ) -> None:
        self._backend, self._due, self._fresh_checks = backend, due, fresh_checks
        self.parties: dict[PartyId, Restored] = {}
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def client(
        self, cohort: Cohort, me: str, vector: np.ndarray, *, tape: RandomTape, **named: Any
    ) -> Restored:
        rest = {name: value for name, value in named.items() if name != "checks"}
        return self._keep(
            self._backend.client(cohort, me, vector, tape=tape, **{**named, "checks": self._fresh_checks()}),
            lambda data, tape: self._backend.load_client(
                cohort, me, data, tape=tape, checks=self._fresh_checks(), **rest
            ),
        )

    def server(
        self, cohort: Cohort, *, link_key: bytes, checks: Sequence[Check], tape: RandomTape
    ) -> Restored:
        return self._keep(
            self._backend.server(cohort, link_key=link_key, checks=self._fresh_checks(), tape=tape),
            lambda data, tape: self._backend.load_server(
                cohort, data, link_key=link_key, checks=self._fresh_checks(), tape=tape
            ),
        )

    def helpers(
        self, cohort: Cohort, *, checks: Sequence[Check], tape: RandomTape
    ) -> dict[PartyId, Restored]:
        made = self._backend.helpers(cohort, checks=self._fresh_checks(), tape=tape)
        return {
            who: self._keep(
                helper,
                lambda data, tape, who=who: self._backend.load_helper(
                    cohort, who, data, checks=self._fresh_checks(), tape=tape
                ),
            )
            for who, helper in made.items()
        }

    def _keep(self, party: Any, load: Load) -> Restored:
        self.parties[party.id] = Restored(party, load, self)
        return self.parties[party.id]

    def delivered(self, receiver: PartyId) -> None:
        self.count += 1
        for who in self._due(self.count, receiver):
            self.parties[who].renew(SeededTape(f"{who} again, {self.count}".encode()))


@pytest.fixture
def run(make: Any, rig: SimpleNamespace) -> Callable[..., Any]:
    """``run(due, …)``: a round on a table. ``options``: of the backend; the rest: of the network."""

    def play(
        due: Callable[[int, PartyId], Collection[PartyId]],
        fresh_checks: Callable[[], Sequence[Check]] = tuple,
        options: Mapping[str, Any] | None = None,
        length: int = LENGTH,
        **conditions: Any,
    ) -> Any:
        table = Table(make(**(options or {})), lambda count, who: due(count, who), fresh_checks)
        cohort = rig.cohort(lambda: make(**(options or {})), CLIENTS, length, 16)
        outcome = rig.play(
            lambda: table,
            rig.vectors(CLIENTS, length, 16),
            cohort=cohort,
            checks=fresh_checks(),
            **conditions,
        )
        return SimpleNamespace(outcome=outcome, table=table)

    return play


def damaged(message: Message) -> Message:
    return replace(message, payload=bytes(message.payload[:-1]) + bytes([message.payload[-1] ^ 1]))


def nobody(count: int, receiver: PartyId) -> tuple[PartyId, ...]:
    return ()


def everybody(run: Callable[..., Any]) -> tuple[PartyId, ...]:
    return tuple(run(nobody).table.parties)


def test_everybody_is_renewed_after_any_delivery(run: Callable[..., Any]) -> None:
    whole = run(nobody)
    whole.outcome.require_exact()
    parties = tuple(whole.table.parties)
    for after in range(1, whole.table.count + 1):
        again = run(lambda count, _, after=after: parties if count == after else ())
        assert again.table.count == whole.table.count
        again.outcome.require_exact()
        assert again.outcome.survivors == tuple(range(CLIENTS))
        assert again.outcome.rejected == {}


def test_one_party_is_renewed_after_any_message_to_it(run: Callable[..., Any]) -> None:
    receivers: list[PartyId] = []
    run(lambda count, receiver: receivers.append(receiver) or ())
    for after in range(1, len(receivers) + 1):
        again = run(lambda count, receiver, after=after: [receiver] if count == after else [])
        again.outcome.require_exact()
        assert again.outcome.survivors == tuple(range(CLIENTS))


@pytest.mark.parametrize("signed", [False, True])
def test_everybody_is_renewed_all_the_time(
    run: Callable[..., Any], rig: SimpleNamespace, signed: bool
) -> None:
    parties = everybody(run)
    identities = rig.identities(CLIENTS) if signed else ()
    outcome = run(lambda count, receiver: parties, identities=identities).outcome
    outcome.require_exact()
    assert outcome.survivors == tuple(range(CLIENTS))


def test_with_dropouts_in_each_phase(run: Callable[..., Any], backend: Backend) -> None:
    parties = everybody(run)
    for phase in backend.client_phases:
        drop = {2: phase}
        plain, again = run(nobody, drop=drop).outcome, run(lambda *_: parties, drop=drop).outcome
        again.require_exact()
        assert again.survivors == plain.survivors


def test_with_messages_out_of_order_and_late(run: Callable[..., Any]) -> None:
    parties = everybody(run)
    for number in range(4):
        conditions = {
            "delay": lambda message: int(message.sender == client_id(1)),
            "drop": {4: "check"} if number % 2 else {},
        }
        outcomes = [
            run(due, shuffle=SeededTape(f"order {number}".encode()), **conditions).outcome
            for due in (nobody, lambda *_: parties)
        ]
        for outcome in outcomes:
            outcome.require_never_wrong()
        assert outcomes[0].survivors == outcomes[1].survivors


def test_a_round_that_fails_fails_as_before(run: Callable[..., Any], backend: Backend) -> None:
    parties = everybody(run)
    drop = dict.fromkeys(range(3), backend.input_phase)
    reasons = [run(due, drop=drop).outcome.abort.reason for due in (nobody, lambda *_: parties)]
    assert reasons[0] == reasons[1]
    assert reasons[0].startswith("2 of 5 clients")


@pytest.mark.parametrize("refused", ["", "c3"])
def test_checks_go_on_with_what_they_remember(run: Callable[..., Any], refused: str) -> None:
    """On clients and on the server alike; each restored party is given checks that know nothing."""

    def fresh() -> list[Check]:
        return [Remembers(refused)]

    parties = everybody(run)
    outcome = run(lambda *_: parties, fresh).outcome
    outcome.require_exact()
    assert outcome.survivors == tuple(i for i in range(CLIENTS) if f"c{i}" != refused)
    assert {index: why.check for index, why in outcome.rejected.items()} == (
        {3: "remembers"} if refused else {}
    )
    if refused:
        assert outcome.rejected[3].evidence["share"] == 0.5


def test_in_the_middle_of_a_message_in_parts(run: Callable[..., Any], backend: Backend) -> None:
    parties = everybody(run)
    outcome = run(
        lambda *_: parties,
        options={"max_message_bytes": 1024},
        length=700,
        shuffle=SeededTape(b"parts"),
        drop={1: backend.input_phase},
    ).outcome
    outcome.require_exact()
    assert outcome.survivors == (0, 2, 3, 4)
    assert any(record.size == 1024 for record in outcome.transcript.records)


def test_no_link_uses_a_nonce_twice(run: Callable[..., Any]) -> None:
    used: Counter[tuple[PartyId, PartyId, bytes]] = Counter()

    def note(message: Message) -> list[Message]:
        used[message.sender, message.receiver, bytes(message.tag[:NONCE_BYTES])] += 1
        return [message]

    parties = everybody(run)
    run(lambda *_: parties, tamper=note).outcome.require_exact()
    assert set(used.values()) == {1}


def test_an_end_that_is_restored_from_an_old_dump_uses_no_nonce_again(
    make: Any, rig: SimpleNamespace
) -> None:
    """Not even where it says something else than it did: that would show the link's key."""
    cohort, backend = rig.cohort(make, CLIENTS, LENGTH, 16), make()
    (vector,) = rig.vectors(1, LENGTH, 16)
    client = backend.client(cohort, "c1", vector, tape=SeededTape(b"once"))
    data = client.dump()
    nonces = {bytes(message.tag[:NONCE_BYTES]) for message in client.start()}
    for life in range(3):
        again = backend.load_client(cohort, "c1", data, tape=SeededTape(b"life %d" % life))
        nonces.update(bytes(message.tag[:NONCE_BYTES]) for message in again.start())
    assert len(nonces) == 4


def test_what_arrived_before_counts_once(run: Callable[..., Any]) -> None:
    """Each message is repeated at once, and everybody is new in between."""
    parties = everybody(run)
    outcome = run(lambda *_: parties, tamper=lambda message: [message, message]).outcome
    outcome.require_exact()
    assert outcome.rejected == {}


def test_what_was_refused_before_is_refused_after(run: Callable[..., Any]) -> None:
    """A client's messages are altered on the way: with the same verdict on all of them."""

    def alter(message: Message) -> list[Message]:
        return [damaged(message) if message.sender == client_id(2) else message]

    parties = everybody(run)
    plain, again = run(nobody, tamper=alter).outcome, run(lambda *_: parties, tamper=alter).outcome
    again.require_exact()
    assert again.survivors == plain.survivors == (0, 1, 3, 4)
    assert again.rejected == plain.rejected
    assert again.rejected[2].check == "link"


def slow_verdict(message: Message) -> int:
    """One aggregator judges client 2 after the deadline."""
    return int((message.phase, message.sender.index, message.payload[:1]) == ("verdict", 1, b"\2"))


# Everything comes damaged first; client 3 is refused on its proof, and client 2 by the aggregators.
EVENTFUL: Mapping[str, Any] = {
    "fresh_checks": lambda: [Remembers("c3")],
    "options": {"threshold": 3},
    "tamper": lambda message: [damaged(message), message],
    "delay": slow_verdict,
}


def test_an_eventful_round_goes_as_it_went(run: Callable[..., Any], backend: Backend) -> None:
    parties = everybody(run)
    outcome, again = run(nobody, **EVENTFUL).outcome, run(lambda *_: parties, **EVENTFUL).outcome
    again.require_exact()
    assert again.survivors == outcome.survivors == ((0, 1, 4) if backend.name == "sharing" else (0, 1, 2, 4))
    assert again.rejected == outcome.rejected
    assert again.rejected.keys() == set(range(CLIENTS)) - set(outcome.survivors)


def test_what_is_not_saved_does_not_change(run: Callable[..., Any]) -> None:
    """All that a round changes in a party is in its dump."""
    table = run(nobody, **EVENTFUL).table
    for who, restored in table.parties.items():
        assert restored.made
        for part, before in restored.made:
            assert before, f"{who}: {type(part).__name__}"
            assert unsaved(part) == before, f"{who}: {type(part).__name__}"


@pytest.fixture
def dumps(run: Callable[..., Any]) -> Mapping[PartyId, Any]:
    """The parties of a round that is over."""
    return {who: restored.party for who, restored in run(nobody).table.parties.items()}


def test_a_dump_fits_one_party_of_one_round_only(
    make: Any, backend: Backend, rig: SimpleNamespace, dumps: Mapping[PartyId, Any]
) -> None:
    cohort, tape = rig.cohort(make, CLIENTS, LENGTH, 16), SeededTape(b"again")
    client, server = dumps[client_id(1)].dump(), dumps[SERVER].dump()
    backend.load_client(cohort, "c1", client, tape=tape)
    for complaint, load in {
        "party of the dump is 'client 1': is 'client 2' here": lambda: backend.load_client(
            cohort, "c2", client, tape=tape
        ),
        "party of the dump is 'server': is 'client 1' here": lambda: backend.load_client(
            cohort, "c1", server, tape=tape
        ),
        "cohort of the dump is b'.*: is b'.* here": lambda: backend.load_client(
            replace(cohort, round=4), "c1", client, tape=tape
        ),
        r"checks of the dump is \(\): is \('remembers',\) here": lambda: backend.load_server(
            cohort, server, link_key=rig.link_key, checks=[Remembers()], tape=tape
        ),
        "is not one of the 5 members": lambda: backend.load_client(cohort, "c9", client, tape=tape),
        "link_key is 'another key'": lambda: backend.load_server(
            cohort, server, link_key=bytes(32), tape=tape
        ),
        "who is 'server': must be one of": lambda: backend.load_helper(cohort, SERVER, server, tape=tape),
    }.items():
        with pytest.raises(LocalError, match=complaint):
            load()


def test_a_dump_of_another_backend_is_refused(
    backend: Backend, rig: SimpleNamespace, dumps: Mapping[PartyId, Any]
) -> None:
    other: Backend = SecretSharing().setup(SeededTape(b"x")) if backend.name == "plain" else InsecurePlain()
    cohort = rig.cohort(backend, CLIENTS, LENGTH, 16)
    with pytest.raises(LocalError, match=f"backend of the dump is '{backend.name}': is '{other.name}' here"):
        other.load_server(cohort, dumps[SERVER].dump(), link_key=rig.link_key, tape=SeededTape(b"again"))


def test_damage_is_found(
    make: Any, backend: Backend, rig: SimpleNamespace, dumps: Mapping[PartyId, Any]
) -> None:
    cohort = rig.cohort(make, CLIENTS, LENGTH, 16)
    data = dumps[client_id(1)].dump()
    for place in range(0, len(data), 7):
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(DecodeError):
            backend.load_client(cohort, "c1", damaged, tape=SeededTape(b"again"))


def test_nothing_secret_is_shown(dumps: Mapping[PartyId, Any]) -> None:
    for party in dumps.values():
        text = repr(party) + repr(party._inner)
        assert "array" not in text
        assert "b'" not in text


def test_a_client_starts_once_in_all_its_lives(
    make: Any, backend: Backend, rig: SimpleNamespace, dumps: Mapping[PartyId, Any]
) -> None:
    cohort = rig.cohort(make, CLIENTS, LENGTH, 16)
    client = backend.load_client(cohort, "c1", dumps[client_id(1)].dump(), tape=SeededTape(b"again"))
    with pytest.raises(LocalError, match="a client starts once"):
        client.start()


def test_nobody_answers_again_what_it_has_answered(run: Callable[..., Any], rig: SimpleNamespace) -> None:
    """Restored at the end, each client and helper is asked everything once more, over an intact link."""
    asked: dict[PartyId, list[Message]] = {}

    def note(message: Message) -> list[Message]:
        if message.sender == SERVER:
            asked.setdefault(message.receiver, []).append(message)
        return [message]

    table = run(nobody, tamper=note).table
    server = table.parties[SERVER].party
    for who, messages in asked.items():
        for message in messages:
            table.parties[who].renew(SeededTape(f"{who} {message.phase}".encode()))
            (again,) = server._close([replace(message, tag=b"")])
            try:
                answer = table.parties[who].party.receive(again)
            except PeerError:
                continue
            assert answer == []
            assert who.role is Role.AGGREGATOR  # to whom what comes late is nothing


def test_a_helper_that_is_restored_tells_its_log(make: Any, rig: SimpleNamespace) -> None:
    """Its keys may come from a file that is older than the dump: no other instance opens the round again."""
    cohort, backend = rig.cohort(make, CLIENTS, LENGTH, 16), make()
    table = Table(backend, nobody)
    rig.play(lambda: table, rig.vectors(CLIENTS, LENGTH, 16), cohort=cohort).require_exact()
    later = make()
    for who, helper in table.parties.items():
        if who.role not in (Role.CLIENT, Role.SERVER):
            found = later.load_helper(cohort, who, helper.dump(), tape=SeededTape(b"again"))
            inner: Any = found._inner  # type: ignore[attr-defined]
            log = inner._key.log if who.role is Role.AGGREGATOR else inner._keys.log
            assert log.entries() == ((cohort.session, cohort.round),)


def test_a_helper_from_an_old_dump_opens_no_second_sum(run: Callable[..., Any]) -> None:
    """Its log, which goes with its keys, knows better."""
    table = run(nobody).table
    server = table.parties[SERVER].party
    for who, helper in table.parties.items():
        for phase in helper.before:
            old = helper.load(helper.before[phase], SeededTape(b"old"))
            cohort = server._cohort
            request = Message(cohort.session, cohort.round, phase, SERVER, who, b"\x1f")
            if phase == "decrypt":
                remainders = encode_numbers([mpz(2)] * old._inner._ciphertexts, table.key_bits // 8)
                request = replace(request, payload=b"\x1f" + remainders)
            (asked,) = server._close([request])
            with pytest.raises(PeerError, match=r"has been (served|opened) before"):
                old.receive(asked)
