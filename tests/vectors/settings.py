"""The rounds of the vector files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.reference.cohort import Cohort
from tests.reference.degree import Tolerance
from tests.reference.primitives import Tape, ed25519_public, x25519_public
from tests.reference.rounds import Round, Setting

SERVER_LINK_KEY = Tape(b"the server's link key").read(32)
NAMES = ("ana", "bo", "cy", "dörte", "eve", "frieda", "guo", "hana", "ivo", "jun", "kofi", "lea")
MODEL = hashlib.sha256(b"the model that the round starts from").digest()


def setting(name: str, members: int, threshold: int, **changes: Any) -> Setting:
    """Clients hold the largest entry, the smallest, 0, then random ones; ``changes``: a cohort's fields."""
    signed, silent = changes.pop("signed", False), changes.pop("silent", {})
    tolerance: Tolerance | None = changes.pop("tolerance", None)
    secrets = [Tape(f"identity of {name} {me}".encode()).read(32) for me in range(members if signed else 0)]
    fields: dict[str, Any] = {
        "session": hashlib.sha256(name.encode()).digest()[:16],
        "round": 0,
        "members": tuple(NAMES[me] if me < len(NAMES) else f"client {me}" for me in range(members)),
        "threshold": threshold,
        "length": 5,
        "bits": 16,
        "server_key": x25519_public(SERVER_LINK_KEY),
        "identities": tuple(ed25519_public(secret) for secret in secrets),
    }
    cohort = Cohort(**fields | changes)
    limit = cohort.max_entry
    vectors = []
    for me in range(members):
        tape = Tape(f"vector of {name} {me}".encode())
        drawn = [tape.element() % (2 * limit + 1) - limit for _ in range(cohort.length)]
        vectors.append([limit, -limit, 0, *drawn][: cohort.length])
    seeds = [f"{name} client {me}".encode() for me in range(members)]
    return Setting(cohort, tolerance, seeds, vectors, secrets, silent)


def standing(found: Setting) -> list[int]:
    """The order of the circle, which follows from the advertised keys and from nothing later."""
    return Round(found).server.listing.circle


def sparse(
    name: str,
    members: int,
    threshold: int,
    tolerance: Tolerance,
    silent: Mapping[int, str],
    absent: Sequence[int] = (),
) -> Setting:
    """``silent``: place on the circle → phase. ``absent``: members that advertise no keys."""
    missing = dict.fromkeys(absent, "advertise-keys")
    listed = setting(name, members, threshold, tolerance=tolerance, length=3, silent=missing)
    order = standing(listed)
    return replace(listed, silent=missing | {order[place]: phase for place, phase in silent.items()})


def settings() -> dict[str, tuple[str, Setting]]:
    """File name → what it shows, the round."""
    return {
        "complete-3": ("Complete graph, nobody drops out.", setting("complete-3", 3, 2)),
        "complete-5": (
            "Complete graph; client 3 deals no shares.",
            setting("complete-5", 5, 3, round=1, silent={3: "share-keys"}),
        ),
        "complete-7": (
            "Complete graph; one client each advertises no keys, sends no masked input, sends no tags.",
            setting(
                "complete-7",
                7,
                4,
                round=2**32 - 1,
                model_hash=MODEL,
                silent={0: "advertise-keys", 3: "masked-input", 5: "consistency"},
            ),
        ),
        "bits-2": (
            "Entries of 2 bits, sums of 3: lanes of 16 bits, and unused bits at the end of a packed vector.",
            setting("bits-2", 3, 2, bits=2, length=11),
        ),
        "signed-3": (
            "Pinned identities; entries of 48 bits, sums of 50: lanes of 64 bits.",
            setting("signed-3", 3, 2, bits=48, model_hash=MODEL, round=17, signed=True),
        ),
        "fallback-10": (
            "A tolerance for which so few clients have no sparse graph: the complete one, with the cohort's "
            "threshold.",
            setting("fallback-10", 10, 7, length=2, tolerance=Tolerance("0.3", "0.3", "malicious")),
        ),
        "sparse-12": (
            "Sparse graph with k = t = 4, for no corrupt client and no dropout; two drop out all the same.",
            sparse(
                "sparse-12",
                12,
                8,
                Tolerance("0", "0", "malicious"),
                {1: "masked-input", 7: "unmask"},
            ),
        ),
        "sparse-9": (
            "Sparse graph with k = t = 2; both neighbours of a client deal no shares, so the server takes it "
            "out of the dealers as well.",
            sparse("sparse-9", 9, 5, Tolerance("0", "0", "none"), {2: "share-keys", 4: "share-keys"}),
        ),
        "sparse-24": (
            "Sparse graph for 2 corrupt clients and 2 dropouts of 24; one more advertises nothing. Of most "
            "messages the digests.",
            sparse(
                "sparse-24",
                24,
                17,
                Tolerance("0.08", "0.08", "malicious"),
                {5: "masked-input", 20: "consistency"},
                absent=(10,),
            ),
        ),
    }


def linked_settings() -> dict[str, tuple[str, Setting, int]]:
    """Rounds as whole messages: what each shows, the round, bytes of the longest message."""
    silent = {2: "masked-input"}
    found = {
        "links-3": ("Links; nobody signs.", setting("links-3", 3, 2, length=1), 1 << 30),
        "links-signed-3": (
            "Links with pinned identities; client 2 drops out.",
            setting("links-signed-3", 3, 2, length=1, signed=True, silent=silent),
            1 << 30,
        ),
        "links-parts-3": (
            "Links that carry no message of more than 1024 bytes: masked inputs travel in two parts.",
            setting("links-parts-3", 3, 2, length=160, bits=48),
            1024,
        ),
    }
    return {name: (words, replace(one, linked=True), limit) for name, (words, one, limit) in found.items()}
