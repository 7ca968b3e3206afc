"""Durable: a party that goes on where it was, whatever kills its process and when (spec section 5.1).

Every step (a message received, a deadline passed) is in the party's journal before anybody hears of it. A
party that is opened again is in the state after its last step, and says again, to the byte, what may not have
arrived; a link counts a repeated message once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from enum import IntEnum
from types import TracebackType
from typing import Generic, Self, TypeVar

from mpc.errors import AbortError, LocalError, PeerError
from mpc.party import Message, PartyId, Role, Saveable
from mpc.snapshot import decode, encode
from mpc.tape import RandomTape, SeededTape
from mpc.wire import Reader, Writer
from secagg.journal import Journal

SEED_BYTES = 32
JOURNAL_BYTES = 1 << 26  # some seconds of replay; a snapshot takes the place of what is longer
_DIGEST_BYTES = 32

R = TypeVar("R")
New = Callable[[RandomTape], Saveable[R]]
Load = Callable[[bytes, RandomTape], Saveable[R]]
Outcome = list[Message] | PeerError | AbortError


class _Step(IntEnum):
    START = 1
    RECEIVE = 2
    EXPIRE = 3


class Durable(Generic[R]):
    """A party whose state outlives its process, in one file. Make it with :meth:`open`.

    When ``start``, ``receive`` or ``expire`` returns, or raises ``PeerError`` or ``AbortError``, the step is
    taken for good. If the process dies before, it is taken whole or not at all, nothing of it has left the
    party, and its message has to be sent again. So of one step the world never sees two outcomes.

    After a crash ``open`` the same path, and ``start()``, which then hands back what has not been confirmed,
    in order and to the byte, instead of starting. ``confirm`` what a crash of this process cannot lose any
    more. What is never confirmed is kept until the end of the round, in memory and in the file.

    The file is a snapshot, and a record of each step since: message and digest of the answer. All randomness
    after a snapshot comes from a seed that was drawn for it and stands in it; so a replay gives the same
    answers, and one that does not, be it that the program has changed, is a ``LocalError``, and nothing is
    sent. When the records are longer than ``journal_bytes`` and the snapshot, a new one takes their place.
    ``forgetful``: each answer is followed by one, so that the file keeps nothing which the party has
    forgotten (free blocks of the disk may); None: if it is a client.

    ``sync_all``: each step is on the disk before it counts, so that it survives a power cut. Without it only
    those with an answer or an error are, at once with all before them: a power cut may then take steps that
    nobody has seen the effect of, and their messages have to be sent again. A killed process loses none.

    It does not help against who puts an older file in place of the present one, or runs two copies: a client
    could then be made to reveal both kinds of share. The file holds all secrets of the party: only its owner
    may read it (0600), and ``remove`` it when the round is over. One process has it open at a time.
    """

    def __init__(
        self,
        journal: Journal,
        load: Load[R],
        tape: RandomTape,
        journal_bytes: int,
        sync_all: bool,
    ) -> None:
        self._journal = journal
        self._load = load
        self._tape = tape
        self._journal_bytes = journal_bytes
        self._sync_all = sync_all
        self._forgetful = False
        self._party: Saveable[R]
        self._begun = False
        self._ended: AbortError | None = None
        self._unconfirmed: list[Message] = []
        self._snapshot_end = 0

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        new: New[R],
        load: Load[R],
        *,
        tape: RandomTape,
        journal_bytes: int = JOURNAL_BYTES,
        sync_all: bool = True,
        forgetful: bool | None = None,
    ) -> Durable[R]:
        """The party at ``path``: ``new(tape)`` if there is no such file, else the one that was there.

        ``new`` and ``load`` call the backend, such as ``lambda data, tape: backend.load_server(cohort, data,
        link_key=link_key, tape=tape)``; both with the same arguments, in every process. Nothing but ``tape``
        may make two calls differ. ``LocalError`` if the file is open elsewhere, damaged, or of another
        party; see :class:`Journal`.
        """
        if not isinstance(tape, RandomTape):
            raise LocalError("tape", tape, "must be a RandomTape, such as SystemTape()")
        if isinstance(journal_bytes, bool) or not isinstance(journal_bytes, int) or journal_bytes < 0:
            raise LocalError("journal_bytes", journal_bytes, "must be a whole number of at least 0")
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise LocalError("path", os.fspath(path), f"there is no folder {folder}")
        journal = Journal(path)
        try:
            found = cls(journal, load, tape, journal_bytes, sync_all)
            if journal.records:
                found._resume()
            else:
                found._party = new(tape)
            client = found.id.role is Role.CLIENT
            found._forgetful = client if forgetful is None else forgetful
            if not journal.size:
                found._snapshot()
        except BaseException:
            journal.close()
            raise
        return found

    @property
    def id(self) -> PartyId:
        return self._party.id

    @property
    def result(self) -> R | None:
        return self._party.result

    @property
    def declined(self) -> str | None:
        """Why the party takes no part, of its own accord; None if it does."""
        declined: str | None = getattr(self._party, "declined", None)
        return declined

    def start(self) -> list[Message]:
        """What it sends before it has heard anything; after a crash, all that is not confirmed."""
        if not self._begun or self._ended or self._journal.closed:
            self._take(_Step.START)
        return list(self._unconfirmed)

    def receive(self, message: Message) -> list[Message]:
        if message.receiver != self.id:
            raise LocalError("message.receiver", str(message.receiver), f"this party is {self.id}")
        return self._take(_Step.RECEIVE, message)

    def expire(self) -> list[Message]:
        return self._take(_Step.EXPIRE)

    def confirm(self, messages: Iterable[Message]) -> None:
        """These have arrived, or cannot be lost on the way: they are not sent again."""
        done = {(message.receiver, message.tag) for message in messages}
        self._unconfirmed = [one for one in self._unconfirmed if (one.receiver, one.tag) not in done]

    def close(self) -> None:
        """Let go of the file, which can then be opened again."""
        self._journal.close()

    def remove(self) -> None:
        """Delete the file, when the round is over: what was in it can be asked of nobody any more."""
        self._journal.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Steps.

    def _take(self, step: _Step, message: Message | None = None) -> list[Message]:
        if self._journal.closed:
            raise LocalError("party", str(self.id), "is closed, or an error has cut it off: open it again")
        if self._ended:
            raise AbortError(self._ended.reason, self._ended.evidence)
        try:
            outcome = self._perform(step, message)
            self._keep(step, message, outcome)
        except BaseException:
            # The party may be ahead of its file, or halfway. The file is right.
            self._journal.close()
            raise
        if isinstance(outcome, list):
            return outcome
        raise outcome

    def _perform(self, step: _Step, message: Message | None, answered: bool = False) -> Outcome:
        """``answered``: the journal says that this step did not fail."""
        self._begun = self._begun or step is _Step.START
        try:
            if message is not None:
                outcome = self._party.replay(message) if answered else self._party.receive(message)
            else:
                outcome = self._party.start() if step is _Step.START else self._party.expire()
        except PeerError as error:
            return error
        except AbortError as error:
            self._ended = error
            return error
        self._unconfirmed += outcome
        return outcome

    def _keep(self, step: _Step, message: Message | None, outcome: Outcome) -> None:
        answers = isinstance(outcome, list) and bool(outcome)
        if self._forgetful and answers:
            self._snapshot()
            return
        answered = isinstance(outcome, list)
        head = Writer().u8(step).fixed(_digest(outcome), _DIGEST_BYTES).u8(answered).finish()
        pieces = () if message is None else message.pieces()
        self._journal.append(head, *pieces, sync=self._sync_all or answers or not answered)
        # No longer than that: then all snapshots together write no more than all records do.
        if self._journal.size - self._snapshot_end > max(self._journal_bytes, self._snapshot_end):
            self._snapshot()

    def _snapshot(self) -> None:
        if self._ended:
            return  # its last record says how
        seed, state = self._tape.read(SEED_BYTES), self._party.dump()
        unconfirmed = tuple(message.encode() for message in self._unconfirmed)
        self._journal.restart(encode((seed, self._begun, unconfirmed, state)))
        self._snapshot_end = self._journal.size
        # What goes on from here is what a restart would find.
        self._party = self._load(state, SeededTape(seed))

    def _resume(self) -> None:
        (first, *steps), self._journal.records = self._journal.records, []
        seed, self._begun, unconfirmed, state = decode(first)
        self._party = self._load(state, SeededTape(seed))
        self._unconfirmed = [Message.decode(message) for message in unconfirmed]
        self._snapshot_end = self._journal.size - sum(map(Journal.span, steps))
        for record in steps:
            self._repeat(record)

    def _repeat(self, record: bytes) -> None:
        reader = Reader(record)
        step, digest, answered = _Step(reader.u8()), reader.fixed(_DIGEST_BYTES), bool(reader.u8())
        message = Message.decode(reader.rest()) if step is _Step.RECEIVE else None
        if _digest(self._perform(step, message, answered)) != digest:
            raise LocalError(
                "path",
                str(self._journal.path),
                "does not go as it went before: another version of the program, other arguments, or a check "
                "that does not depend on these alone",
            )

    def __repr__(self) -> str:
        return f"Durable({self.id})"


def _digest(outcome: Outcome) -> bytes:
    """Of an answer; of an error no more than its class, since its text is for people."""
    if not isinstance(outcome, list):
        return hashlib.sha256(type(outcome).__name__.encode()).digest()
    digest = hashlib.sha256()
    for message in outcome:
        # The tag is a MAC over header and payload: it differs if they do, and is there already.
        header, payload, tag = message.pieces()
        digest.update(header)
        digest.update(tag if message.tag else payload)
    return digest.digest()
