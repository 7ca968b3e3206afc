"""The in-process driver: the only place where messages move (spec section 5).

Delivery is immediate and in order unless told otherwise: parties may go silent from a phase on, single
messages may miss deadlines, and a tamper function may replace, remove or repeat whatever crosses.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from mpc.errors import LocalError, PeerError
from mpc.party import Message, Party, PartyId, Role
from mpc.tape import RandomTape
from mpc.transcript import Record, Refusal, Transcript

MESSAGES_A_PEER = 16  # in a phase; the protocols here need at most four

Tamper = Callable[[Message], Iterable[Message]]
Delay = Callable[[Message], int]
Clock = Callable[[], float]


class Network:
    """Runs parties against each other until nobody has anything left to say.

    * ``phases``: the protocol's phases, in order.
    * ``drop``: from which phase on a party is silent; it neither sends nor hears anything after that.
    * ``delay``: how many deadlines a message misses (0: none). It arrives after they have passed.
    * ``tamper``: what arrives instead of a message; ``[]`` removes it, two copies repeat it.
    * ``shuffle``: a tape that draws which waiting message is delivered next; without one, messages to
      servers and helpers go before messages to clients, so that few large inputs are under way at once.
    * ``clock``: seconds, for the transcript; without one nothing is timed.
    * ``observe``: called with each record as it is made; progress bars hang on it.

    A party may be a liar. What it sends in another's name or to itself is not delivered (fate ``forged``),
    and one that sends more than ``MESSAGES_A_PEER`` messages for each party and phase is silenced, so that
    every run ends: the parts of one message count once where they follow each other in one answer, and an
    answer that has anything in it counts at least once.
    """

    def __init__(
        self,
        parties: Mapping[PartyId, Party[object]],
        phases: Sequence[str],
        *,
        drop: Mapping[PartyId, str] | None = None,
        delay: Delay | None = None,
        tamper: Tamper | None = None,
        shuffle: RandomTape | None = None,
        clock: Clock | None = None,
        keep_payloads: bool = False,
        observe: Callable[[Record], None] | None = None,
    ) -> None:
        self._parties = dict(parties)
        self._order = {phase: place for place, phase in enumerate(phases)}
        self._drop = {party: self._place(phase) for party, phase in (drop or {}).items()}
        for party in self._drop:
            if party not in self._parties:
                raise LocalError("drop", str(party), "names a party that is not on this network")
        self._delay = delay
        self._tamper = tamper
        self._shuffle = shuffle
        self._clock = clock
        self._silent: set[PartyId] = set()
        self._sent: Counter[PartyId] = Counter()
        self._to_servers: deque[Message] = deque()
        self._to_clients: deque[Message] = deque()
        self._late: list[tuple[int, Message]] = []
        self.transcript = Transcript(keep_payloads=keep_payloads, observe=observe)

    def run(self) -> Transcript:
        """Deliver until quiet, let a deadline pass, and so on until no deadline changes anything."""
        for party in self._parties.values():
            self._accept(party.id, self._timed(party, party.start))
            if self._shuffle is None:
                self._deliver_all()
        self._deliver_all()
        while self._pass_deadline():
            self._deliver_all()
        return self.transcript

    def _place(self, phase: str) -> int:
        if phase not in self._order:
            raise LocalError("phase", phase, f"must be one of {', '.join(self._order)}")
        return self._order[phase]

    def _accept(self, party: PartyId, messages: Iterable[Message]) -> None:
        """Take messages off a party's hands, unless it has gone silent by then."""
        before: Message | None = None
        for message in messages:
            self._sent[party] += before is None or not _continues(before, message)
            before = message
            if self._sent[party] > MESSAGES_A_PEER * len(self._parties) * len(self._order):
                self._silent.add(party)
            if message.sender != party or message.receiver == party:
                self.transcript.add(message, "forged")
                continue
            # A phase that is not on the list can only be a liar's; its receiver will refuse it.
            if self._order.get(message.phase, -1) >= self._drop.get(message.sender, len(self._order)):
                self._silent.add(message.sender)
            if message.sender in self._silent:
                self.transcript.add(message, "dropped")
                continue
            self.transcript.sent(message)
            arriving = [message] if self._tamper is None else list(self._tamper(message))
            if arriving != [message]:
                self.transcript.add(message, "tampered")
            for copy in arriving:
                missed = 0 if self._delay is None else self._delay(copy)
                if missed > 0:
                    self._late.append((missed, copy))
                else:
                    self._enqueue(copy)

    def _enqueue(self, message: Message) -> None:
        queue = self._to_clients if message.receiver.role is Role.CLIENT else self._to_servers
        queue.append(message)

    def _next(self) -> Message | None:
        waiting = len(self._to_servers) + len(self._to_clients)
        if not waiting:
            return None
        if self._shuffle is None:
            return (self._to_servers or self._to_clients).popleft()
        place = self._shuffle.below(waiting)
        queue = self._to_servers
        if place >= len(queue):
            place, queue = place - len(queue), self._to_clients
        message = queue[place]
        del queue[place]
        return message

    def _deliver_all(self) -> None:
        while (message := self._next()) is not None:
            party = self._parties.get(message.receiver)
            if party is None or message.receiver in self._silent:
                self.transcript.add(message, "dropped")
                continue
            self.transcript.add(message, "delivered")
            try:
                replies = self._timed(party, lambda p=party, m=message: p.receive(m), message.phase)  # type: ignore[misc]
            except PeerError as error:
                self.transcript.refusals.append(Refusal(party.id, error))
                continue
            self._accept(party.id, replies)

    def _pass_deadline(self) -> bool:
        """One deadline for everybody; true if it made anyone speak or let a late message in."""
        spoke = {party.id: self._timed(party, party.expire) for party in self._parties.values()}
        heard = any(messages and party not in self._silent for party, messages in spoke.items())
        for party, messages in spoke.items():
            self._accept(party, messages)
        due = [message for missed, message in self._late if missed == 1]
        waited = bool(self._late)
        self._late = [(missed - 1, message) for missed, message in self._late if missed > 1]
        for message in due:
            self._enqueue(message)
        return waited or heard

    def _timed(
        self, party: Party[object], action: Callable[[], list[Message]], phase: str | None = None
    ) -> list[Message]:
        if self._clock is None:
            return action()
        begin = self._clock()
        messages = action()
        took = self._clock() - begin
        name = phase or (messages[0].phase if messages else None)
        if name is not None:
            self.transcript.add_seconds(name, party.id.role, took)
        return messages


def _continues(before: Message, message: Message) -> bool:
    """Whether the second is the next part of the message that the first is a part of."""
    return (message.receiver, message.phase, message.parts, message.part) == (
        before.receiver,
        before.phase,
        before.parts,
        before.part + 1,
    )
