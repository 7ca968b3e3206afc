"""The aggregators' long-term keys, and what is derived for one share (spec section 13.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage, derive_key
from mpc.tape import RandomTape
from mpc.wire import Reader, Writer
from secagg.roundlog import RoundLog, log_or_new
from secagg.sealed import KEY_BYTES, BoxKey, check_public

KEY_VERSION = 1
SEED_BYTES = 16  # as many as the AES-128 key that is derived from it


@dataclass(frozen=True, slots=True)
class AggregatorPublicKey:
    """The public halves: ``sealing``, which clients seal shares to, and ``link``, which the server pins.

    Both reach clients and server in advance, by a way that they trust: whoever can replace the keys of all
    aggregators is all aggregators. Raises ``LocalError`` for a key that is not 32 bytes or of small order.
    """

    sealing: bytes
    link: bytes

    def __post_init__(self) -> None:
        check_public("sealing", self.sealing)
        check_public("link", self.link)

    def encode(self) -> bytes:
        """A version byte and both keys, 65 bytes."""
        return Writer().u8(KEY_VERSION).fixed(self.sealing, KEY_BYTES).fixed(self.link, KEY_BYTES).finish()

    @classmethod
    def decode(cls, data: bytes | memoryview) -> AggregatorPublicKey:
        """Strict: ``DecodeError`` for anything that ``encode`` does not give."""
        pair = _decode_pair(data)
        try:
            return cls(*pair)
        except LocalError as error:
            raise DecodeError(str(error)) from None


class AggregatorKey:
    """One aggregator's private keys: one opens what clients sealed to it, one is its end of the link.

    Two keys, so that neither purpose can be played against the other. They last over rounds: what makes
    each box and each link a round's own is the context of the derivation. With them goes the ``log`` of
    the rounds that they have given a sum share of. Cannot be pickled; :meth:`export_secret` alone writes
    them out, and ``secagg.keyfile`` with the log.
    """

    def __init__(self, sealing: bytes, link: bytes, log: RoundLog | None = None) -> None:
        """``sealing``, ``link``: 32 bytes each, or ``LocalError``."""
        for argument, private in (("len(sealing)", sealing), ("len(link)", link)):
            if not isinstance(private, bytes):
                raise LocalError(argument[4:-1], type(private).__name__, "must be bytes")
            if len(private) != KEY_BYTES:
                raise LocalError(argument, len(private), f"an X25519 key has {KEY_BYTES} bytes")
        self._sealing = sealing
        self.link = link
        self.log = log_or_new(log)

    @classmethod
    def generate(cls, tape: RandomTape) -> AggregatorKey:
        return cls(tape.read(KEY_BYTES), tape.read(KEY_BYTES))

    @cached_property
    def box(self) -> BoxKey:
        """What opens the shares sealed to this aggregator."""
        return BoxKey(self._sealing)

    @cached_property
    def public(self) -> AggregatorPublicKey:
        return AggregatorPublicKey(self.box.public, BoxKey(self.link).public)

    def export_secret(self) -> bytes:
        """For a key store, and nowhere else: a version byte and both private keys, 65 bytes; no log."""
        return Writer().u8(KEY_VERSION).fixed(self._sealing, KEY_BYTES).fixed(self.link, KEY_BYTES).finish()

    @classmethod
    def import_secret(cls, data: bytes | memoryview, log: RoundLog | None = None) -> AggregatorKey:
        """Strict: ``DecodeError`` for anything that ``export_secret`` does not give."""
        return cls(*_decode_pair(data), log)

    def __reduce__(self) -> NoReturn:
        raise LocalError("aggregator key", "<secret>", "cannot be pickled or copied: see export_secret")

    def __repr__(self) -> str:
        return f"AggregatorKey(<secret>, sealing={self.public.sealing.hex()[:8]}…)"


def _decode_pair(data: bytes | memoryview) -> tuple[bytes, bytes]:
    reader = Reader(data)
    if (version := reader.u8()) != KEY_VERSION:
        raise DecodeError(f"aggregator key version {version}, where {KEY_VERSION} is known")
    pair = reader.fixed(KEY_BYTES), reader.fixed(KEY_BYTES)
    reader.finish()
    return pair


def check_public_keys(
    aggregators: int, keys: Sequence[AggregatorPublicKey]
) -> tuple[AggregatorPublicKey, ...]:
    """One key an aggregator, all different, or ``LocalError``: one party under two names could see all."""
    if len(keys) != aggregators:
        raise LocalError("number of public keys", len(keys), f"there are {aggregators} aggregators")
    if len({key.sealing for key in keys}) < aggregators or len({key.link for key in keys}) < aggregators:
        raise LocalError("public_keys", [key.sealing.hex()[:8] for key in keys], "each may stand once")
    return tuple(keys)


def share_context(digest: bytes, client: int, aggregator: int) -> bytes:
    """What a share belongs to: the cohort's digest, the client, the aggregator. 40 bytes."""
    return digest + client.to_bytes(4, "little") + aggregator.to_bytes(4, "little")


def share_key(seed: bytes, digest: bytes, client: int, aggregator: int) -> bytes:
    """The AES key from which ``field.expand`` makes the share that a seed stands for."""
    return derive_key(seed, Usage.ADDITIVE_SHARE, share_context(digest, client, aggregator))
