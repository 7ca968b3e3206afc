"""A whole report, from sharding to output shares, with every message over the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mpc.flp.fields import Vector
from mpc.flp.messages import encode_public_share, encode_verifier_message
from mpc.flp.vdaf import NONCE_BYTES, Vdaf
from mpc.tape import RandomTape, SeededTape

CTX = b"an application"
Alter = Callable[[bytes], bytes]


def same(data: bytes) -> bytes:
    return data


def flipped(place: int) -> Alter:
    """One bit of one byte the other way; places count from the end if negative."""

    def alter(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[place] ^= 1
        return bytes(changed)

    return alter


class Report:
    """Sharded, and verified by all aggregators; ``alter`` names messages and what becomes of them."""

    def __init__(self, vdaf: Vdaf[Any, Any], measurement: Any, tape: RandomTape, **alter: Alter) -> None:
        self.vdaf, self.alter = vdaf, alter
        self.verify_key = SeededTape(b"verify key").read(vdaf.xof.seed_bytes)
        self.nonce = tape.read(NONCE_BYTES)
        public_share, input_shares = vdaf.shard(CTX, measurement, self.nonce, tape.read(vdaf.rand_bytes))
        self.public_share = self._over("public_share", encode_public_share(public_share))
        self.input_shares = [
            self._over(f"input_share_{i}", share.encode(vdaf.field)) for i, share in enumerate(input_shares)
        ]

    def verify(self, ctx: bytes = CTX, verify_keys: Sequence[bytes] = ()) -> list[Vector]:
        """Output shares, one for each aggregator."""
        layout, field = self.vdaf.layout, self.vdaf.field
        states, shares = [], []
        for agg_id, data in enumerate(self.input_shares):
            public_share, input_share = (
                layout.public_share(self.public_share),
                layout.input_share(agg_id, data),
            )
            key = verify_keys[agg_id] if verify_keys else self.verify_key
            state, share = self.vdaf.verify_init(key, ctx, agg_id, self.nonce, public_share, input_share)
            states.append(state)
            shares.append(layout.verifier_share(self._over(f"verifier_share_{agg_id}", share.encode(field))))
        message = encode_verifier_message(self.vdaf.verifier_shares_to_message(ctx, shares))
        seeds = layout.verifier_message(self._over("verifier_message", message))
        return [self.vdaf.verify_next(state, seeds) for state in states]

    def _over(self, name: str, data: bytes) -> bytes:
        return self.alter.get(name, same)(data)


def total(vdaf: Vdaf[Any, Any], measurements: Sequence[Any], seed: bytes = b"") -> Any:
    """The aggregate result of valid reports."""
    tape = SeededTape(b"reports" + seed)
    verified = [Report(vdaf, measurement, tape).verify() for measurement in measurements]
    agg_shares = [vdaf.aggregate(shares) for shares in zip(*verified, strict=True)]
    data = [vdaf.field.to_bytes(share) for share in agg_shares]
    return vdaf.unshard([vdaf.layout.out_share(share) for share in data], len(measurements))
