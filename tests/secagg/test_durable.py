"""secagg.durable: whatever kills a party and when, the round ends as if nothing had been."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.errors import AbortError, DecodeError, LocalError, PeerError
from mpc.party import SERVER, Message, PartyId, Role, client_id
from mpc.snapshot import encode
from mpc.tape import SeededTape
from secagg import ACCEPT, Check, Cohort, InsecurePlain, Masking, SecretSharing, Verdict
from secagg import journal as journal_module
from secagg.backend import Backend
from secagg.durable import Durable
from secagg.journal import Journal
from secagg.link import NONCE_BYTES
from secagg.paillier import KeyShareKeys, Paillier, ThresholdPaillier, deal_keys

CLIENTS, LENGTH = 2, 4


@cache
def dealt() -> tuple[KeyShareKeys, ...]:
    return deal_keys(2, 2, tape=SeededTape(b"dealer"), insecure_bits=256)[1]


def both_key_holders() -> ThresholdPaillier:
    """Always the same keys, with logs of their own."""
    keys = [KeyShareKeys(one.share, one.link) for one in dealt()]
    return ThresholdPaillier(2, keys=keys, insecure_key_bits=256)


BACKENDS: dict[str, Callable[[], Backend]] = {
    "plain": InsecurePlain,
    "masking": Masking,
    "sharing": SecretSharing,
    "paillier": lambda: Paillier(insecure_key_bits=256),
    "paillier-threshold": both_key_holders,
}
HELPERS = {
    "sharing": PartyId(Role.AGGREGATOR, 0),
    "paillier": PartyId(Role.KEY_HOLDER, 0),
    "paillier-threshold": PartyId(Role.KEY_HOLDER, 1),
}


class Died(BaseException):
    """What happens to a process that is killed, or cut off from the mains."""


class Machine:
    """The journal's system calls, until the one of number ``last``: a write gets half of its bytes done.

    ``power``: what was not synced by then is gone: bytes of a file, and its name in the folder. That no disk
    is waited for makes the tests fast.
    """

    def __init__(self, path: Path, last: int | None = None, power: bool = False) -> None:
        self._at, self._last, self._power = path, last, power
        self.calls = 0
        self._contents: dict[int, bytes] = {}
        self._named: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, file: int, data: memoryview) -> int:
        if self._dies():
            os.write(file, data[: len(data) // 2])
            raise self._die()
        return os.write(file, data)

    def fsync(self, file: int) -> None:
        if self._dies():
            raise self._die()
        if os.path.samestat(os.fstat(file), os.stat(self._at.parent)):
            self._named = os.stat(self._at).st_ino if self._at.exists() else None
        else:
            self._contents[os.fstat(file).st_ino] = os.pread(file, os.fstat(file).st_size, 0)

    def replace(self, old: Path, new: Path) -> None:
        if self._dies():
            raise self._die()
        os.replace(old, new)

    def ftruncate(self, file: int, size: int) -> None:
        if self._dies():
            raise self._die()
        os.ftruncate(file, size)

    def _dies(self) -> bool:
        self.calls += 1
        return self._last is not None and self.calls - 1 == self._last

    def _die(self) -> Died:
        if self._power:
            self._at.unlink(missing_ok=True)
            if self._named is not None:
                self._at.write_bytes(self._contents[self._named])
                self._at.chmod(0o600)
                self._named = None
        return Died()


class World:
    """A round of which one party is durable, with a transport that brings everything at least once.

    Of each message there may be copies, and never two versions.
    """

    def __init__(
        self, make: Callable[[], Backend], cohort: Cohort, who: PartyId, path: Path, **options: Any
    ) -> None:
        self.make = make
        self.backend = make().setup(SeededTape(b"keys"))
        self.cohort, self.who, self.path, self.options = cohort, who, path, options
        self.checks: tuple[Check, ...] = ()
        self.lives = 0
        self.queue: deque[Message] = deque()
        self.versions: dict[tuple[PartyId, PartyId, bytes], bytes] = {}
        self.said: defaultdict[tuple[PartyId, str, PartyId], set[bytes]] = defaultdict(set)
        self.vectors = [np.arange(LENGTH) * (index + 1) - 3 for index in range(cohort.size)]
        self.parties: dict[PartyId, Any] = {}

    def new(self, who: PartyId, tape: Any) -> Any:
        if who == SERVER:
            return self.backend.server(self.cohort, link_key=LINK_KEY, checks=self.checks, tape=tape)
        if who.role is Role.CLIENT:
            name, vector = self.cohort.members[who.index], self.vectors[who.index]
            return self.backend.client(self.cohort, name, vector, checks=self.checks, tape=tape)
        return self.backend.helpers(self.cohort, tape=tape)[who]

    def load(self, data: bytes, tape: Any) -> Any:
        if self.who == SERVER:
            return self.backend.load_server(
                self.cohort, data, link_key=LINK_KEY, checks=self.checks, tape=tape
            )
        if self.who.role is Role.CLIENT:
            name = self.cohort.members[self.who.index]
            return self.backend.load_client(self.cohort, name, data, checks=self.checks, tape=tape)
        return self.backend.load_helper(self.cohort, self.who, data, tape=tape)

    def open(self) -> Durable[Any]:
        self.lives += 1
        tape = SeededTape(f"life {self.lives}".encode())
        return Durable.open(
            self.path, lambda tape: self.new(self.who, tape), self.load, tape=tape, **self.options
        )

    def ids(self) -> list[PartyId]:
        helpers = list(self.backend.helpers(self.cohort, tape=SeededTape(b"ids")))
        return [SERVER, *helpers, *map(client_id, range(self.cohort.size))]

    def run(self) -> None:
        for who in self.ids():
            if who == self.who:
                self.act(lambda: None)
            else:
                self.parties[who] = self.new(who, SeededTape(f"{who}".encode()))
            self.do(who, lambda party: party.start())
        for _ in range(8):
            while self.queue:
                message = self.queue.popleft()
                self.do(message.receiver, lambda party, message=message: party.receive(message))
            if self.parties[SERVER].result is not None:
                return
            for who in self.parties:
                self.do(who, lambda party: party.expire())

    def do(self, who: PartyId, action: Callable[[Any], list[Message]]) -> None:
        self.act(lambda: self.say(who, action(self.parties[who])))

    def act(self, action: Callable[[], None]) -> None:
        """Once, if nobody dies; who comes back says again what may be lost, and is asked again."""
        for _ in range(3):
            try:
                if self.who not in self.parties:
                    self.parties[self.who] = self.open()
                    self.say(self.who, self.parties[self.who].start() if self.lives > 1 else [])
                action()
            except Died:
                self.parties.pop(self.who, None)
                # The same keys, whose log is as empty as it was when they were last saved.
                self.backend = self.make().setup(SeededTape(b"keys"))
            else:
                return

    def say(self, who: PartyId, messages: Sequence[Message]) -> None:
        for message in messages:
            content, nonce = message.encode(), bytes(message.tag[:NONCE_BYTES])
            assert self.versions.setdefault((who, message.receiver, nonce), content) == content
            self.said[who, message.phase, message.receiver].add(content)
            self.queue.append(message)
        if who == self.who:
            self.parties[who].confirm(messages)

    def require_exact(self) -> None:
        result = self.parties[SERVER].result
        assert result is not None
        assert result.survivors == tuple(range(self.cohort.size))
        assert result.total.tolist() == np.sum(self.vectors, axis=0).tolist()
        for (who, _, _), contents in self.said.items():
            assert who.role is not Role.CLIENT or len(contents) == 1


LINK_KEY = SeededTape(b"the server's link key").read(32)


@pytest.fixture
def world(
    rig: SimpleNamespace, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(name: str, who: PartyId, **options: Any) -> World:
        cohort = rig.cohort(BACKENDS[name]().setup(SeededTape(b"keys")), CLIENTS, LENGTH, 16)
        path = tmp_path / f"party {len(made)}"
        made.append(World(BACKENDS[name], cohort, who, path, **options))
        return made[-1]

    yield make
    for one in made:
        if one.who in one.parties:
            one.parties[one.who].close()


@pytest.fixture(autouse=True)
def _disk_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)


def at(name: str, kind: str) -> PartyId:
    if kind != "helper":
        return SERVER if kind == "server" else client_id(1)
    return HELPERS[name]


PARTIES = [
    (name, kind)
    for name in BACKENDS
    for kind in ("server", "client", "helper")
    if kind != "helper" or name in HELPERS
]


def survives(world: Callable[..., World], name: str, kind: str, power: bool, **options: Any) -> int:
    """At how many calls it was killed; the round always ended well."""
    for last in range(500):
        with pytest.MonkeyPatch.context() as patch:
            one = world(name, at(name, kind), **options)
            machine = Machine(one.path, last, power)
            patch.setattr(journal_module, "os", machine)
            one.run()
            one.require_exact()
            one.parties[one.who].close()
            if machine.calls <= last:
                assert one.lives == 1
                return last
            assert one.lives == 2
    raise AssertionError("the round never ended")


@pytest.mark.parametrize(("name", "kind"), PARTIES)
@pytest.mark.parametrize("power", [False, True], ids=["killed", "power"])
def test_at_whatever_call_it_dies(world: Callable[..., World], name: str, kind: str, power: bool) -> None:
    assert survives(world, name, kind, power) > 6


@pytest.mark.parametrize(("name", "kind"), PARTIES)
def test_the_other_way_of_writing(world: Callable[..., World], name: str, kind: str) -> None:
    """Servers and helpers with a snapshot for each answer, clients with a journal."""
    options = {"forgetful": kind != "client", "journal_bytes": 0}
    assert survives(world, name, kind, power=True, **options) > 6


@pytest.mark.parametrize("name", BACKENDS)
def test_steps_that_nobody_saw_are_lost_together(world: Callable[..., World], name: str) -> None:
    """Synced at answers only: a power cut takes all since the last; the transport brings them again."""
    for last in range(5, 60, 4):
        with pytest.MonkeyPatch.context() as patch:
            one = world(name, SERVER, sync_all=False)
            patch.setattr(journal_module, "os", Machine(one.path, last, power=True))
            kept: list[Message] = []
            deliver = one.do

            def do(
                who: PartyId, action: Any, one: World = one, deliver: Any = deliver, kept: Any = kept
            ) -> None:
                lives = one.lives
                deliver(who, action)
                if one.lives > lives:
                    one.queue.extend(kept)

            one.do = do  # type: ignore[method-assign]
            say = one.say

            def keep(who: PartyId, messages: Any, say: Any = say, kept: Any = kept) -> None:
                kept += [message for message in messages if message.receiver == SERVER]
                say(who, messages)

            one.say = keep  # type: ignore[method-assign]
            one.run()
            one.require_exact()
            one.parties[SERVER].close()


def test_any_end_of_the_file_may_be_missing(world: Callable[..., World]) -> None:
    """As if it had died while it wrote the record that is cut; its clients say everything again."""
    whole = world("plain", SERVER)
    whole.run()
    whole.parties[SERVER].close()
    data = whole.path.read_bytes()
    journal = Journal(whole.path)
    start = 10 + Journal.span(journal.records[0])
    journal.close()
    for size in range(start, len(data), 3):
        again = world("plain", SERVER)
        again.path.write_bytes(data[:size])
        again.path.chmod(0o600)
        again.run()
        again.require_exact()
        again.parties[SERVER].close()


def test_it_is_a_party_like_any_other(world: Callable[..., World]) -> None:
    one = world("masking", client_id(0))
    one.run()
    one.require_exact()
    party = one.parties[client_id(0)]
    assert party.id == client_id(0)
    assert party.result is None
    assert repr(party) == "Durable(client 0)"


@pytest.mark.parametrize("name", HELPERS)
def test_a_log_that_knows_of_the_answer_does_not_stop_its_repetition(
    world: Callable[..., World], name: str
) -> None:
    """The helper's keys were saved after the round. Nobody but the one that answered may say it again."""
    who = at(name, "helper")
    one = world(name, who)
    one.run()
    one.parties[who].close()
    again = one.open()
    answers = [message for message in one.versions.items() if message[0][0] == who]
    assert [message.encode() for message in again.start()] == [content for _, content in answers]
    again.close()
    one.path = one.path.with_name("another")
    other = one.open()
    server = one.parties[SERVER]
    phase = "open-sum" if name == "sharing" else "decrypt"
    (request,) = (
        Message.decode(content)
        for (_, to, _), content in one.versions.items()
        if to == who and phase.encode() in content
    )
    with pytest.raises(PeerError, match=r"before|has no good share"):
        other.receive(request)
    assert server.result is not None
    other.close()


def test_what_is_not_confirmed_is_said_again(world: Callable[..., World]) -> None:
    one = world("sharing", SERVER)
    server = one.open()
    clients = [one.new(client_id(index), SeededTape(b"%d" % index)) for index in range(CLIENTS)]
    assert server.start() == []
    first = server.receive(clients[0].start()[0])
    second = server.receive(clients[1].start()[0])
    assert [message.phase for message in first] == ["relay-share"] * 2
    assert server.start() == first + second
    server.confirm(first[:1])
    assert server.start() == first[1:] + second
    server.close()
    # A confirmation is written with the next snapshot.
    again = one.open()
    assert again.start() == first + second
    again.confirm(first)
    again._snapshot()
    again.close()
    last = one.open()
    assert last.start() == second
    last.close()


def test_a_message_for_somebody_else_changes_nothing(world: Callable[..., World]) -> None:
    one = world("plain", SERVER)
    server, size = one.open(), one.path.stat().st_size
    (message,) = one.new(client_id(0), SeededTape(b"client")).start()
    with pytest.raises(LocalError, match="this party is server"):
        server.receive(Message(message.session, 3, message.phase, SERVER, client_id(0), b""))
    assert one.path.stat().st_size == size
    assert server.receive(message) == []
    server.close()


def test_a_round_that_has_failed_stays_so(world: Callable[..., World]) -> None:
    one = world("plain", SERVER)
    server = one.open()
    reasons = []
    for _ in range(2):
        for act in (server.expire, server.expire, server.start):
            with pytest.raises(AbortError) as caught:
                act()
            reasons.append((caught.value.reason, caught.value.evidence))
        server.close()
        server = one.open()
    server.remove()
    assert len(reasons) == 6
    assert all(reason == reasons[0] for reason in reasons)
    assert reasons[0][0].startswith(f"0 of {CLIENTS} clients")


def test_a_client_that_has_refused_stays_so(world: Callable[..., World]) -> None:
    one = world("masking", client_id(0))
    client, server = one.open(), one.new(SERVER, SeededTape(b"server"))
    for message in client.start():
        server.receive(message)
    (strange,) = server._close([Message(one.cohort.session, 3, "unmask", SERVER, client_id(0), b"")])
    with pytest.raises(PeerError, match="not expected in state 'advertised'"):
        client.receive(strange)
    client.close()
    again = one.open()
    (other,) = server._close([Message(one.cohort.session, 3, "share-keys", SERVER, client_id(0), b"")])
    with pytest.raises(PeerError, match="not expected in state 'refused'"):
        again.receive(other)
    again.close()


class Careless(Check):
    """A check with a mistake in it, which is then put right."""

    right = False

    def on_message(self, cohort: Cohort, client: str, message: Message) -> Verdict:
        return ACCEPT if self.right else None  # type: ignore[return-value]


def test_an_error_of_ours_takes_nothing_back_and_leaves_the_file(world: Callable[..., World]) -> None:
    one = world("plain", SERVER)
    check = Careless()
    one.checks = (check,)
    server = one.open()
    size = one.path.stat().st_size
    messages = [one.new(client_id(i), SeededTape(b"%d" % i)).start()[0] for i in range(CLIENTS)]
    with pytest.raises(LocalError, match="must be Accept, Reject or Abort"):
        server.receive(messages[0])
    for act in (server.start, server.expire, lambda: server.receive(messages[0])):
        with pytest.raises(LocalError, match="is closed, or an error has cut it off: open it again"):
            act()
    assert one.path.stat().st_size == size
    check.right = True
    again = one.open()
    for message in messages:
        again.receive(message)
    assert again.result.total.tolist() == np.sum(one.vectors, axis=0).tolist()
    again.close()


def test_what_goes_otherwise_the_second_time_is_not_sent(world: Callable[..., World]) -> None:
    """Another limit of messages cuts them otherwise: as would another version of the program."""
    one = world("paillier", client_id(0), forgetful=False)
    one.vectors = [np.zeros(LENGTH, np.int64)] * CLIENTS
    client = one.open()
    (sent,) = client.start()
    client.close()
    one.backend = Paillier(
        insecure_key_bits=256,
        public=one.backend.public,
        max_message_bytes=1024,  # type: ignore[attr-defined]
    )
    again = one.open()
    assert [message.encode() for message in again.start()] == [sent.encode()]
    again.close()
    one.vectors = []
    one.load = lambda data, tape: Restless(World.load(one, data, tape))  # type: ignore[method-assign]
    with pytest.raises(LocalError, match="does not go as it went before"):
        one.open()
    # The file is as it was, for the program that it belongs to.
    del one.load  # type: ignore[method-assign]
    last = one.open()
    assert [message.encode() for message in last.start()] == [sent.encode()]
    last.close()


class Restless:
    """A party that says one thing more whenever it starts."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def start(self) -> list[Message]:
        (message,) = self._inner.start()
        return [message, message]


def test_another_party_of_the_round_does_not_take_it_over(world: Callable[..., World]) -> None:
    one = world("plain", client_id(0))
    one.open().close()
    one.who = client_id(1)
    with pytest.raises(LocalError, match="party of the dump is 'client 0': is 'client 1' here"):
        one.open()
    one.who = client_id(0)
    one.open().close()


def test_one_process_at_a_time(world: Callable[..., World]) -> None:
    one = world("plain", SERVER)
    with one.open(), pytest.raises(LocalError, match="is open already"):
        one.open()
    one.open().remove()
    assert list(one.path.parent.iterdir()) == []


def test_the_file_is_its_owners_and_nobody_elses(world: Callable[..., World]) -> None:
    one = world("masking", client_id(0))
    one.run()
    assert one.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("forgetful", [None, False])
def test_what_the_client_has_forgotten_the_file_has_too(
    world: Callable[..., World], forgetful: bool | None
) -> None:
    """A masking client needs its vector until it has masked it. A journal keeps the snapshot before."""
    one = world("masking", client_id(0), forgetful=forgetful)
    vector = encode(one.vectors[0])[1:]
    one.parties[one.who] = one.open()
    assert vector in one.path.read_bytes()
    one.run()
    one.require_exact()
    assert (vector in one.path.read_bytes()) is (forgetful is False)


def test_a_long_journal_is_replaced_by_a_snapshot(
    world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[Path] = []
    replace = os.replace

    def note(old: Path, new: Path) -> None:
        replaced.append(new)
        replace(old, new)

    monkeypatch.setattr(os, "replace", note)
    for limit in (0, 1000, 1 << 20):
        one = world("masking", SERVER, journal_bytes=limit)
        one.run()
        one.require_exact()
        assert (replaced.count(one.path) > 1) is (limit < 1 << 20)
        # Never so often that snapshots, each shorter than what it takes the place of, cost more than records.
        assert replaced.count(one.path) <= 4


def test_a_duplicate_after_a_restart_changes_nothing(world: Callable[..., World]) -> None:
    one = world("plain", SERVER)
    server = one.open()
    message = one.new(client_id(0), SeededTape(b"client")).start()[0]
    assert server.receive(message) == []
    server.close()
    again = one.open()
    inner: Any = again._party
    heard = set(inner._inner._heard)
    assert again.receive(message) == []
    assert inner._inner._heard == heard == {0}
    again.close()


def test_a_file_of_something_else_is_refused(world: Callable[..., World]) -> None:
    one = world("plain", SERVER)
    journal = Journal(one.path)
    journal.restart(b"\7nothing that we know")
    journal.close()
    with pytest.raises(DecodeError):
        one.open()
    journal = Journal(one.path)
    assert journal.records == [b"\7nothing that we know"]
    journal.close()


@pytest.mark.parametrize(
    ("place", "changes", "complaint"),
    [
        ("no such folder/round", {}, "path is .*there is no folder"),
        ("round", {"tape": 5}, "tape is 5: must be a RandomTape"),
        ("round", {"journal_bytes": "a"}, "journal_bytes is 'a'"),
        ("round", {"journal_bytes": -1}, "journal_bytes is -1"),
    ],
)
def test_arguments_that_cannot_be_leave_no_file(
    tmp_path: Path, place: str, changes: dict[str, Any], complaint: str
) -> None:
    options: dict[str, Any] = {"tape": SeededTape(b""), **changes}
    with pytest.raises(LocalError, match=complaint):
        Durable.open(tmp_path / place, lambda tape: None, lambda data, tape: None, **options)  # type: ignore[arg-type, return-value]
    assert list(tmp_path.iterdir()) == []
