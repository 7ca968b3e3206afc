"""What a lying server may send to a client, and what the client makes of it (spec section 12.3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.reference.masking import Refused, consistency_tag, leaf
from tests.reference.primitives import bitmap, merkle_root, sign, u32
from tests.reference.rounds import PHASES, Round
from tests.reference.server import Server
from tests.vectors.files import Record
from tests.vectors.replay import client_answer

ZERO = bytes(32)
# Both of small order on Curve25519: the first of order 4, the second of order 8.
ONE = b"\1" + bytes(31)
EIGHTH = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
TAG, ROUTED = 16, 128


@dataclass(frozen=True)
class Lie:
    """A payload to one client; ``step`` is the rule by which it refuses, None where it answers as ever."""

    name: str
    base: str
    client: int
    phase: str
    altered: str
    payload: bytes
    step: str | None
    delivered: Sequence[str] | None = None  # phases before; None: all before this one
    at_the_latest: tuple[str, bytes] | None = None  # a message that is refused if this one was not


def flipped(payload: bytes, at: int, bit: int = 0) -> bytes:
    """One bit turned over."""
    out = bytearray(payload)
    out[at] ^= 1 << bit
    return bytes(out)


def cases(rounds: Mapping[str, Round]) -> list[Record]:
    makers: Sequence[Callable[[Mapping[str, Round]], Iterator[Lie]]] = (
        _key_lists,
        _keys_in_lists,
        _signed_lists,
        _sparse_lists,
        _dealers,
        _survivors,
        _tags,
        _order,
    )
    return [_case(rounds[lie.base], lie) for make in makers for lie in make(rounds)]


def _case(base: Round, lie: Lie) -> Record:
    """Checks with the reference that the client does what the case says."""
    before = PHASES[1 : PHASES.index(lie.phase)] if lie.delivered is None else lie.delivered
    record: Record = {"name": lie.name, "base": lie.base, "from": "server", "to": f"client {lie.client}"}
    record |= {"delivered": list(before), "phase": lie.phase, "altered": lie.altered}
    record["payload"] = lie.payload.hex()
    answer = client_answer(base, lie.client, before, lie.phase, lie.payload)
    step = answer.step if isinstance(answer, Refused) else None
    if step != lie.step:
        raise ValueError(f"{lie.name}: {answer!r}")
    record |= {"refused_by": f"client {lie.client}" if step else None, "step": step}
    if lie.at_the_latest is not None:
        phase, payload = lie.at_the_latest
        record["at_the_latest"] = {"phase": phase, "payload": payload.hex()}
    return record if isinstance(answer, Refused) else record | {"answer": answer.hex()}


def relisted(base: Round, client: int, altered: Mapping[int, bytes], left_out: Collection[int] = ()) -> bytes:
    """The key list of a server that alters and leaves out advertisements, under a root that fits."""
    setting = base.setting
    server, shown = Server(setting.cohort, setting.tolerance), {**base.server.advertisements, **altered}
    server.advertisements = {index: shown[index] for index in shown if index not in left_out}
    return server.key_lists()[client]


def _key_lists(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base = rounds["complete-3"]
    cohort, honest = base.setting.cohort, base.asked(1, "share-keys")
    shown = base.server.advertisements

    def listing(members: Sequence[int]) -> bytes:
        root = merkle_root([leaf(i, shown[i]) for i in members])
        head = cohort.digest + root + bitmap(members, cohort.everybody)
        return head + b"".join(shown[i] for i in members)

    for name, altered, payload, step in (
        ("another-cohort", "a bit of the cohort digest", flipped(honest, 0), "12.3 (1)"),
        ("list-without-me", "clients 0 and 2 are listed", listing([0, 2]), "12.3 (2)"),
        ("list-below-threshold", "client 1 alone is listed", listing([1]), "12.3 (2)"),
        ("list-bit-beyond", "bit 3 of the bitmap, of three clients", flipped(honest, 64, 3), "4"),
        ("list-cut", "without its last byte", honest[:-1], "4"),
        ("list-trailing", "a zero byte at the end", honest + b"\0", "4"),
        ("list-other-root", "a bit of the root", flipped(honest, 32), "12.3 (3)"),
        ("list-key-not-under-root", "a bit of client 0's c", flipped(honest, 65), "12.3 (3)"),
    ):
        yield Lie(name, "complete-3", 1, "share-keys", altered, payload, step)
    strict = rounds["fallback-10"]
    payload = relisted_without(strict, 9)
    altered = "client 9 is not listed: of 9 clients 3 corrupt ones and 3 dropouts are too many"
    yield Lie("list-without-degree", "fallback-10", 0, "share-keys", altered, payload, "12.3 (2)")


def relisted_without(base: Round, left_out: int) -> bytes:
    """The beginning of a list, and all its keys, on a complete graph."""
    cohort = base.setting.cohort
    shown = {i: key for i, key in base.server.advertisements.items() if i != left_out}
    root = merkle_root([leaf(i, key) for i, key in shown.items()])
    return cohort.digest + root + bitmap(shown, cohort.everybody) + b"".join(shown.values())


def _keys_in_lists(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base = rounds["complete-3"]
    theirs, mine = base.server.advertisements[0], base.server.advertisements[1]
    for name, altered, keys, step in (
        ("my-channel-key-altered", "client 1's c is client 0's", {1: theirs[:32] + mine[32:]}, "12.3 (3)"),
        ("my-masking-key-altered", "client 1's s is client 0's", {1: mine[:32] + theirs[32:]}, "12.3 (3)"),
        ("channel-key-zero", "client 0's c is 0", {0: ZERO + theirs[32:]}, "12.3 (4)"),
        ("masking-key-one", "client 0's s is 1, of order 4", {0: theirs[:32] + ONE}, "12.3 (4)"),
        ("masking-key-eighth", "client 0's s is of order 8", {0: theirs[:32] + EIGHTH}, "12.3 (4)"),
    ):
        # A masking key is used only where its owner has dealt shares: no later than in the masked input.
        late = ("masked-input", b"\7" + bytes(2 * ROUTED)) if name.startswith("masking") else None
        payload, altered = relisted(base, 1, keys), f"{altered}; the root fits"
        yield Lie(name, "complete-3", 1, "share-keys", altered, payload, step, at_the_latest=late)


def _signed_lists(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base = rounds["signed-3"]
    shown = base.server.advertisements[1]
    keys, secret = shown[:64], base.setting.identities[1]
    other_round = sign(secret, 15, rounds["complete-3"].setting.cohort.digest + u32(1) + keys)
    other_client = sign(secret, 15, base.setting.cohort.digest + u32(0) + keys)
    other_usage = sign(secret, 14, base.setting.cohort.digest + u32(1) + keys)
    for name, altered, signature in (
        ("signature-altered", "a bit of client 1's signature", flipped(shown, 64)[64:]),
        ("signature-of-another-round", "client 1 signed another cohort's digest", other_round),
        ("signature-of-another-index", "client 1 signed index 0", other_client),
        ("signature-of-another-usage", "client 1 signed under usage 14", other_usage),
    ):
        payload = relisted(base, 0, {1: keys + signature})
        yield Lie(name, "signed-3", 0, "share-keys", altered + "; the root fits", payload, "12.3 (3)")


def _sparse_lists(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base = rounds["sparse-12"]
    honest, few = base.asked(0, "share-keys"), relisted(base, 0, {}, range(7, 12))
    for name, altered, payload, step in (
        ("list-below-threshold-sparse", "seven clients are listed, where T is 8", few, "12.3 (2)"),
        ("proof-altered", "a bit of the last hash of the proof", flipped(honest, -1), "12.3 (3)"),
        ("proof-cut", "without the last hash of the proof", honest[:-32], "4"),
        ("proof-longer", "one more hash of zeros", honest + bytes(32), "4"),
    ):
        yield Lie(name, "sparse-12", 0, "share-keys", altered, payload, step)


def _routed(base: Round, client: int, dealers: Sequence[int]) -> bytes:
    """The honest message with another set of dealers, and what they sealed if they have sealed anything."""
    honest, everybody = base.asked(client, "masked-input"), base.setting.cohort.everybody
    size, neighbours = len(bitmap([], everybody)), base.server.listing.neighbours(client)
    known = [j for j in neighbours if j in base.server.dealers]
    parts = {j: honest[size + ROUTED * at :][:ROUTED] for at, j in enumerate(known)}
    shown = [parts.get(j, bytes(ROUTED)) for j in neighbours if j in dealers]
    return bitmap(dealers, everybody) + b"".join(shown)


def _sets(rounds: Mapping[str, Round], phase: str) -> Iterator[tuple[str, str, int, str, list[int], str]]:
    """Sets that neither dealers nor survivors may be: name, base, client, words, set, step."""
    listing, alive = rounds["sparse-12"].server.listing, rounds["sparse-12"].server.survivors
    one = next(i for i in alive if set(listing.holders(i)) <= set(alive))
    two = listing.neighbours(one)[:2]
    few, fewer = listing.holders(one), [i for i in alive if i not in two]
    yield "without-me", "complete-5", 0, "client 0 is not in the set", [1, 2, 4], "12.3 (2)"
    yield "below-threshold", "complete-5", 0, "two clients, where T is 3", [0, 1], "12.3 (2)"
    words = f"the five holders of client {one} and nobody else, where T is 8"
    yield "below-threshold-sparse", "sparse-12", one, words, few, "12.3 (2)"
    words = f"without two neighbours of client {one}, who has five holders; t is 4"
    yield "below-t-of-my-holders", "sparse-12", one, words, fewer, "12.3 (2)"
    if phase == "masked-input":
        words = "client 0, who is not listed, is a dealer"
        yield "not-listed", "complete-7", 1, words, [0, *rounds["complete-7"].server.dealers], "12.3 (2)"
    else:
        words = "client 3, who has not dealt, survives"
        yield "not-a-dealer", "complete-5", 0, words, [0, 1, 2, 3, 4], "12.3 (2)"


def _dealers(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    for name, base, client, altered, dealers, step in _sets(rounds, "masked-input"):
        payload = _routed(rounds[base], client, dealers)
        yield Lie(f"dealers-{name}", base, client, "masked-input", altered, payload, step)
    honest = rounds["complete-5"].asked(0, "masked-input")
    for name, altered, payload, verdict in (
        ("dealers-bit-beyond", "bit 5 of the bitmap, of five clients", flipped(honest, 0, 5), "4"),
        ("dealers-cut", "without its last byte", honest[:-1], "4"),
        ("dealers-trailing", "a zero byte at the end", honest + b"\0", "4"),
        ("sealed-shares-garbled", "a bit of what client 1 sealed", flipped(honest, 1 + 32 + 5), None),
        ("all-sealed-shares-garbled", "zeros in place of all shares", honest[:1] + bytes(3 * ROUTED), None),
        ("commitment-garbled", "a bit of client 1's first commitment", flipped(honest, 1), None),
    ):
        yield Lie(name, "complete-5", 0, "masked-input", altered, payload, verdict)


def _survivors(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    for name, base, client, altered, survivors, step in _sets(rounds, "consistency"):
        payload = bitmap(survivors, rounds[base].setting.cohort.everybody)
        yield Lie(f"survivors-{name}", base, client, "consistency", altered, payload, step)
    for name, altered, payload, step in (
        ("survivors-bit-beyond", "bit 5 of the bitmap, of five clients", b"\x37", "4"),
        ("survivors-cut", "empty", b"", "4"),
        ("survivors-trailing", "a zero byte at the end", b"\x17\0", "4"),
    ):
        yield Lie(name, "complete-5", 0, "consistency", altered, payload, step)


def _tags(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base = rounds["complete-5"]
    honest, holders = base.asked(0, "unmask"), base.server.listing.holders(0)
    tags = [honest[1 + TAG * at :][:TAG] for at in range(3)]  # of 1, 2 and 4
    told = bitmap([0, 1, 2], base.setting.cohort.everybody)
    others = [
        consistency_tag(base.server.dealing, j, 0, told, base.clients[0].shared_channel[j]) for j in (1, 2)
    ]
    back = [base.answered(0, "consistency")[TAG * at :][:TAG] for at in range(3)]

    three = dict(zip((1, 2, 4), tags, strict=True))

    def relayed(found: Mapping[int, bytes]) -> bytes:
        return bitmap(found, holders) + b"".join(found[j] for j in sorted(found))

    for name, altered, payload, step in (
        ("one-tag-differs", "a bit of client 1's tag", flipped(honest, 1), None),
        ("two-tags-differ", "a bit each of two tags", flipped(flipped(honest, 1), 17), "12.3 (5)"),
        ("too-few-tags", "client 2's tag alone, where t is 3", relayed({2: tags[1]}), "12.3 (5)"),
        (
            "two-survivor-sets",
            "1 and 2 were shown {0, 1, 2}",
            relayed({1: others[0], 2: others[1]}),
            "12.3 (5)",
        ),
        ("tags-returned", "the client's own tags for the others", b"\x16" + b"".join(back), "12.3 (5)"),
        ("tag-of-no-survivor", "a tag of client 3, of zeros", relayed({**three, 3: bytes(16)}), "12.3 (2)"),
        ("tags-bit-beyond", "bit 5 of the bitmap, of five holders", flipped(honest, 0, 5), "4"),
        ("tags-cut", "without its last byte", honest[:-1], "4"),
        ("tags-trailing", "a zero byte at the end", honest + b"\0", "4"),
    ):
        yield Lie(name, "complete-5", 0, "unmask", altered, payload, step)


def _order(rounds: Mapping[str, Round]) -> Iterator[Lie]:
    base, all_phases = rounds["complete-5"], PHASES[1:]

    def again(phase: str) -> tuple[str, bytes, Sequence[str]]:
        return phase, base.asked(0, phase), all_phases[: all_phases.index(phase) + 1]

    for name, altered, (phase, payload, before), step in (
        ("second-list", "the same list again", again("share-keys"), "12.3 (4)"),
        ("second-dealers", "the same dealers again", again("masked-input"), "12.3 (4)"),
        ("second-survivors", "the same survivors again", again("consistency"), "12.3 (6)"),
        ("second-unmask", "the same tags again", again("unmask"), "12.3 (6)"),
        (
            "early-dealers",
            "before the key list",
            ("masked-input", base.asked(0, "masked-input"), ()),
            "12.3 (4)",
        ),
        ("early-survivors", "before the dealers", ("consistency", b"\x17", ("share-keys",)), "12.3 (4)"),
        (
            "early-tags",
            "before the survivors",
            ("unmask", base.asked(0, "unmask"), all_phases[:2]),
            "12.3 (4)",
        ),
        (
            "other-survivors",
            "fewer survivors, after the first",
            ("consistency", b"\x07", all_phases[:3]),
            "12.3 (6)",
        ),
    ):
        yield Lie(name, "complete-5", 0, phase, altered, payload, step, before)
