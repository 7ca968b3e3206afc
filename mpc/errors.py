"""Three kinds of error, told apart by whose fault they are (spec section 2).

* ``LocalError``: our own caller asked for something that cannot be had.
* ``PeerError``: another party sent what an honest party would not.
* ``AbortError``: the round yields nothing, whoever is to blame.

No message ever holds a secret: only public arguments, counts and bounds are printed.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpc.party import PartyId


class _Brief(reprlib.Repr):
    """Python itself refuses to write out an integer of more than 4300 digits."""

    def repr_int(self, x: int, level: int) -> str:
        return f"<{x.bit_length()} bits>" if x.bit_length() > 2048 else super().repr_int(x, level)


# Values in texts are cut short, but a sentence among them is left whole.
_brief = _Brief()
_brief.maxstring = 160


class _Travels(Exception):
    """An exception that crosses processes: pickled as what it is, not by calling its constructor again."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[Exception], arguments: tuple[object, ...], state: dict[str, object]) -> Exception:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class LocalError(_Travels, ValueError):
    """An argument is unusable. The text names the argument, its value and the bound that it misses."""

    def __init__(self, argument: str, value: object, bound: str) -> None:
        self.argument = argument
        self.bound = bound
        super().__init__(f"{argument} is {_brief.repr(value)}: {bound}")


class DecodeError(Exception):
    """Bytes that are not the one canonical encoding of anything. Parties turn it into a ``PeerError``."""


class PeerError(_Travels):
    """A peer departed from the protocol.

    ``party`` is who sent the offending message, ``phase`` the phase it was sent in. Whoever catches this
    drops that party and goes on where the protocol allows it.
    """

    def __init__(self, party: PartyId, phase: str, reason: str) -> None:
        self.party = party
        self.phase = phase
        self.reason = reason
        super().__init__(f"{party} in phase {phase!r}: {reason}")


class AbortError(_Travels):
    """The round yields nothing. ``evidence`` holds public facts only, such as counts and names."""

    def __init__(self, reason: str, evidence: Mapping[str, object] | None = None) -> None:
        self.reason = reason
        self.evidence = dict(evidence or {})
        facts = ", ".join(f"{name} = {_brief.repr(value)}" for name, value in self.evidence.items())
        super().__init__(f"{reason} ({facts})" if facts else reason)
