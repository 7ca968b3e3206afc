"""Cohort: everything public that the parties of one round must agree on (spec section 6)."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeGuard

from mpc.errors import LocalError
from mpc.party import SESSION_BYTES
from mpc.prg import Usage, tag
from mpc.ring import Ring
from mpc.wire import Writer

DIGEST_BYTES = 32
KEY_BYTES = 32  # X25519 and Ed25519
MIN_MEMBERS = 2  # the sum over a single client is that client's vector
MAX_MEMBERS = 1 << 20
MAX_NAME_BYTES = 200
MAX_LENGTH = 1 << 32  # at 8 bytes a coordinate, half of what one key gives or seals: 2^36 bytes (mpc.prg)
MIN_BITS, MAX_BITS = 2, 48  # 2: the smallest signed range; 48: float64 holds such integers exactly
MAX_SUM_BITS = 63  # sums are handed over as int64
SHOWN_NAMES = 10  # in the text of an error
NO_MODEL = hashlib.sha256(b"").digest()


@dataclass(frozen=True)
class Cohort:
    """Who takes part in which round, and in what shape: frozen, validated once.

    * ``session``: 16 bytes, the same for all rounds of one training; ``round``: from 0.
    * ``members``: the clients' names, in an order that all parties share.
    * ``threshold``: fewer contributions than this are never opened; from 2 to the number of members.
    * ``length``: coordinates of a client's vector, extra ones included.
    * ``bits``: an entry v of a client's vector satisfies \\|v\\| ≤ 2^(bits-1) - 1.
    * ``server_key``: the X25519 public key of the server's links, pinned by the clients.
    * ``identities``: the members' Ed25519 public keys, in their order, as a roster pins them; none: clients
      sign nothing, and the transport has to tell them apart.
    * ``model_hash``: SHA-256 of the model that the round starts from, so that a server which hands
      different clients different models (Pasquini et al. 2022, arXiv 2111.07380) cannot make them agree.
    """

    session: bytes
    round: int
    members: tuple[str, ...]
    threshold: int
    length: int
    bits: int
    server_key: bytes
    model_hash: bytes = NO_MODEL
    identities: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        _exact("session", self.session, SESSION_BYTES)
        _exact("server_key", self.server_key, KEY_BYTES)
        _exact("model_hash", self.model_hash, DIGEST_BYTES)
        _between("round", self.round, 0, 2**32 - 1)
        check_members(self.members)
        _check_identities(self.identities, self.size)
        _between("threshold", self.threshold, MIN_MEMBERS, self.size)
        _between("length", self.length, 1, MAX_LENGTH)
        _between("bits", self.bits, MIN_BITS, MAX_BITS)
        if self.sum_bits > MAX_SUM_BITS:
            raise LocalError(
                "bits",
                self.bits,
                f"the sum over {self.size} clients would need {self.sum_bits} bits and could overflow; "
                f"at most {MAX_SUM_BITS}",
            )

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def signed(self) -> bool:
        """Whether members are bound to signing keys."""
        return bool(self.identities)

    @property
    def max_entry(self) -> int:
        """The largest absolute value of an entry that a client may hold."""
        return (1 << (self.bits - 1)) - 1

    @property
    def sum_bits(self) -> int:
        """The modulus is 2^sum_bits: the smallest that no sum of the whole cohort can wrap."""
        return sum_bits(self.bits, self.size)

    @cached_property
    def ring(self) -> Ring:
        return Ring(self.sum_bits)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical encoding; every key that the round derives is bound to it."""
        writer = Writer().fixed(self.session, SESSION_BYTES).u32(self.round).u32(self.size)
        for name in self.members:
            writer.blob(name.encode())
        writer.u32(self.threshold).u64(self.length).u8(self.bits)
        writer.fixed(self.server_key, KEY_BYTES).fixed(self.model_hash, DIGEST_BYTES)
        writer.u32(len(self.identities))
        for identity in self.identities:
            writer.fixed(identity, KEY_BYTES)
        return hashlib.sha256(tag(Usage.COHORT_DIGEST) + writer.finish()).digest()

    def index(self, name: str) -> int:
        """The place of a member."""
        try:
            return self._places[name]
        except KeyError:
            raise LocalError("client", name, f"is not one of the {self.size} members") from None

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.members)}

    def names(self, indices: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.members[index] for index in indices)

    def some_names(self, indices: Sequence[int]) -> str:
        """For a text: the first few names, and how many more there are."""
        shown = ", ".join(self.names(indices[:SHOWN_NAMES]))
        more = len(indices) - SHOWN_NAMES
        return f"{shown} and {more:,} more" if more > 0 else shown


def sum_bits(bits: int, members: int) -> int:
    """Bits of two's complement that hold every sum of ``members`` entries of ``bits`` bits."""
    return (members * ((1 << (bits - 1)) - 1)).bit_length() + 1


def resolve_threshold(threshold: float, members: int, argument: str = "threshold") -> int:
    """A threshold given as a fraction in (0, 1] of the cohort, or as a whole number, as a count ≥ 2.

    ``argument``: what the caller calls it.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not threshold > 0:
        raise LocalError(argument, threshold, "must be a fraction in (0, 1] or a number of clients")
    if isinstance(threshold, float):
        if threshold > 1:
            raise LocalError(argument, threshold, "as a fraction must be at most 1; a count is an int")
        # 2/3 of 9 is 6: a float's last digit must not ask for one client more.
        return max(MIN_MEMBERS, math.ceil(threshold * members - 1e-9))
    if threshold < MIN_MEMBERS:
        raise LocalError(argument, threshold, f"as a count must be at least {MIN_MEMBERS}")
    if threshold > members:
        raise LocalError(argument, threshold, f"must be at most the cohort's {members} clients")
    return threshold


def _exact(argument: str, value: bytes, size: int) -> None:
    if not isinstance(value, bytes) or len(value) != size:
        raise LocalError(argument, value, f"must be {size} bytes")


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is an int, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def _between(argument: str, value: int, low: int, high: int) -> None:
    if not is_whole(value) or not low <= value <= high:
        raise LocalError(argument, value, f"must be a whole number from {low} to {high}")


def _utf8_bytes(name: str) -> int:
    """How long a name is on the wire; 0 for one that has no encoding, such as a lone surrogate."""
    try:
        return len(name.encode())
    except UnicodeEncodeError:
        return 0


def check_name(name: str) -> None:
    """``LocalError`` unless this is text of 1 to 200 bytes of UTF-8."""
    if not isinstance(name, str) or not 0 < _utf8_bytes(name) <= MAX_NAME_BYTES:
        raise LocalError("client name", name, f"must be text of 1 to {MAX_NAME_BYTES} bytes")


def check_members(members: tuple[str, ...]) -> None:
    """``LocalError`` unless these are 2 to 2^20 distinct names of 1 to 200 bytes of UTF-8 each."""
    if not isinstance(members, tuple):
        raise LocalError("members", members, "must be a tuple of names")
    if not MIN_MEMBERS <= len(members) <= MAX_MEMBERS:
        raise LocalError("number of clients", len(members), f"must be from {MIN_MEMBERS} to {MAX_MEMBERS}")
    for name in members:
        check_name(name)
    if len(set(members)) < len(members):
        repeated = sorted(name for name, count in Counter(members).items() if count > 1)
        raise LocalError("client names", repeated, "each name may stand once")


def _check_identities(identities: tuple[bytes, ...], members: int) -> None:
    if not isinstance(identities, tuple) or len(identities) not in (0, members):
        count = len(identities) if isinstance(identities, tuple) else type(identities).__name__
        raise LocalError("identities", count, f"must be one key for each of the {members} clients, or none")
    for identity in identities:
        _exact("identity", identity, KEY_BYTES)
    if len(set(identities)) < len(identities):
        raise LocalError("identities", len(identities), "each key may stand once")
