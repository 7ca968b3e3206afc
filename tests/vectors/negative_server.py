"""What a lying client may send to the server, and what becomes of the round (spec sections 8.1 and 12.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass

from tests.reference.masking import KEY, SEED, Client
from tests.reference.primitives import P, u64
from tests.reference.rounds import Round
from tests.vectors.files import Record
from tests.vectors.negative_clients import EIGHTH, ZERO, flipped

Shares = dict[int, tuple[bytes, bytes]]
SHARE, COMMITMENTS, SEALED = 40, 32, 96


@dataclass(frozen=True)
class Lie:
    """A client's payload. ``step``: by which rule the server refuses it, None where it does not."""

    name: str
    base: str
    client: int
    phase: str
    altered: str
    payload: bytes
    step: str | None
    names: int | None = None  # the dealer whom the server blames when it ends the round


def cases(rounds: Mapping[str, Round]) -> list[Record]:
    makers = (_lengths, _keys, _dealings, _inputs, _tags, _shares)
    return [_case(rounds[lie.base], lie) for make in makers for lie in make(rounds)]


def _case(base: Round, lie: Lie) -> Record:
    """Plays the round with the lie in it, and checks that the reference does what the case says."""
    played = Round(base.setting, {(lie.phase, lie.client): lie.payload})
    steps = {client: refused.step for client, refused in played.server.refused.items()}
    if steps != ({lie.client: lie.step} if lie.step else {}):
        raise ValueError(f"{lie.name}: {steps}")
    record: Record = {"name": lie.name, "base": lie.base, "from": f"client {lie.client}", "to": "server"}
    record |= {"phase": lie.phase, "altered": lie.altered, "payload": lie.payload.hex()}
    record |= {"refused_by": "server" if lie.step else None, "step": lie.step}
    if (played.aborted.dealer if played.aborted else None) != lie.names:
        raise ValueError(f"{lie.name}: {played.aborted}")
    if played.aborted:
        return record | {"outcome": {"aborts": True, "names": f"client {lie.names}"}}
    return record | {"outcome": {"survivors": played.server.survivors, "sum": played.total}}


def _lengths(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base = rounds["complete-5"]
    for phase in ("advertise-keys", "share-keys", "masked-input", "consistency", "unmask"):
        honest = base.answered(2, phase)
        yield Lie(f"{phase}-cut", "complete-5", 2, phase, "without its last byte", honest[:-1], "4")
        yield Lie(f"{phase}-trailing", "complete-5", 2, phase, "a zero byte at the end", honest + b"\0", "4")


def _keys(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    keys = rounds["complete-5"].answered(2, "advertise-keys")
    for name, altered, payload in (
        ("channel-key-zero", "c is 0", ZERO + keys[32:]),
        ("masking-key-eighth", "s is of order 8", keys[:32] + EIGHTH),
    ):
        yield Lie(f"advertised-{name}", "complete-5", 2, "advertise-keys", altered, payload, "8.1")
    signed = rounds["signed-3"].answered(1, "advertise-keys")
    words, payload = "a bit of the signature", flipped(signed, 64)
    yield Lie("advertised-signature", "signed-3", 1, "advertise-keys", words, payload, "7.1")


def _redealt(base: Round, dealer: int, change: Callable[[Shares], None]) -> bytes:
    """What a dealer sends that commits to, and seals, shares of its own making."""
    client: Client = deepcopy(base.clients[dealer])
    change(client.dealt)
    return client.dealing_payload()


def _dealings(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base = rounds["complete-5"]
    honest = base.answered(2, "share-keys")
    sealed = 32 + COMMITMENTS * len(base.server.listing.holders(2))  # where the sealed shares begin

    def other_seed_share(dealt: Shares) -> None:
        dealt[0] = (dealt[1][SEED], dealt[0][KEY])

    def no_field_element(dealt: Shares) -> None:
        dealt[0] = (u64(P) + dealt[0][SEED][8:], dealt[0][KEY])

    inconsistent, beyond = _redealt(base, 2, other_seed_share), _redealt(base, 2, no_field_element)
    words = "sealed to client 0 and committed to: "
    for name, altered, payload, names in (
        ("seed-commitment", "a bit of the commitment to b", flipped(honest, 0), 2),
        ("share-inconsistent", words + "client 1's share of b", inconsistent, 2),
        ("share-no-element", words + "a share of b whose first word is p", beyond, None),
        ("share-commitment", "a bit of a commitment for client 0", flipped(honest, 32), None),
        ("sealed-share", "a bit of what is sealed for client 0", flipped(honest, sealed), None),
    ):
        yield Lie(f"dealt-{name}", "complete-5", 2, "share-keys", altered, payload, None, names)


def _inputs(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    honest = rounds["bits-2"].answered(2, "masked-input")
    words = "the highest bit, which no value uses"
    yield Lie("input-padding", "bits-2", 2, "masked-input", words, flipped(honest, -1, 7), "4")


def _tags(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    honest = rounds["complete-5"].answered(2, "consistency")
    words = "zeros in place of all tags"
    yield Lie("tags-wrong", "complete-5", 2, "consistency", words, bytes(len(honest)), None)


def _shares(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base = rounds["complete-5"]
    honest, client = base.answered(2, "unmask"), base.clients[2]
    given = honest[1:]
    not_dealt = bytes([honest[0] | 1 << 3]) + given[: 3 * SHARE] + bytes(SHARE) + given[3 * SHARE :]
    for name, altered, payload, step in (
        ("share-altered", "a bit of the first share", flipped(honest, 1), "12.4"),
        (
            "share-of-other-kind",
            "client 0's key share",
            honest[:1] + client.held[0][KEY] + given[SHARE:],
            "12.4",
        ),
        ("share-of-no-dealer", "zeros as a share of client 3, who has not dealt", not_dealt, "12.4"),
        (
            "shares-swapped",
            "those of clients 0 and 1",
            honest[:1] + given[40:80] + given[:40] + given[80:],
            "12.4",
        ),
        ("shares-bit-beyond", "bit 5 of the bitmap, of five holders", flipped(honest, 0, 5), "4"),
        ("shares-none", "an empty bitmap and no shares", b"\0", None),
    ):
        yield Lie(f"unmask-{name}", "complete-5", 2, "unmask", altered, payload, step)
