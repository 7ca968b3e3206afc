"""How fast this machine is: what can be measured of it, on one core, for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from enum import StrEnum


class Operation(StrEnum):
    """What is measured, and what the seconds are those of."""

    KEY_PAIR = "X25519 key pairs"
    AGREEMENT = "X25519 agreements"
    SIGNATURE = "Ed25519 signatures made"
    VERIFICATION = "Ed25519 signatures checked"
    DERIVATION = "keys and tags derived, HKDF-SHA256"
    HASHED_BYTE = "bytes hashed, SHA-256"
    SEAL = "boxes sealed, HKDF and AES-GCM"
    UNSEAL = "boxes opened, HKDF and AES-GCM"
    COMMITMENT = "share commitments, SHA-256"
    TREE_LEAF = "leaves put into a Merkle tree"
    PROOF_LEVEL = "levels of Merkle proofs made"
    PROOF_HASH = "hashes of Merkle proofs checked"
    SPLIT = "products to split secrets, Shamir"
    WEIGHT = "interpolation weights, Shamir"
    COMBINE = "shares interpolated, Shamir"
    STREAM = "keystreams opened, AES-128-CTR"
    STREAM_BYTE = "bytes of keystream added"
    PACK = "values packed"
    UNPACK = "values unpacked and added"
    MEMBER = "names in lists of clients"
    ENTRY = "neighbours' entries in messages"
    MESSAGE = "messages under a link's tag"
    MESSAGE_BYTE = "bytes under a link's tag"
    BARE_STREAM_BYTE = "bytes of keystream"
    ENCODE = "floats encoded to 16 bits"
    PRODUCT = "Field64 products"
    ENCRYPTION = "powers to encrypt with, Paillier, 3072 bits"
    DECRYPTION = "decryptions, Paillier, 3072 bits"
    BIG_PRODUCT = "products modulo n², n of 3072 bits"


def measure(operations: Iterable[Operation], *, seconds: float) -> dict[Operation, float]:
    """Seconds of each operation, on one core.

    Each is repeated for ``seconds``, after a first call that compiles what has to be compiled.
    """
    from fl.workloads import WORKLOADS

    prices: dict[Operation, float] = {}
    for operation in operations:
        work = WORKLOADS[operation]()
        prices[operation] = _median(work.call, seconds) / work.units
    return prices


def _median(call: Callable[[], object], seconds: float) -> float:
    """The median time of a call, over as many as fit into ``seconds``, at least three."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2]
