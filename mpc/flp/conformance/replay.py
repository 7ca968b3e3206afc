"""Replays what a test vector lists (draft-irtf-cfrg-vdaf-20, appendix C; spec section 16.13)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpc.errors import DecodeError
from mpc.flp.conformance import pine_vectors, prio3_vectors, xof_vectors
from mpc.flp.messages import VerifyState, encode_public_share, encode_verifier_message
from mpc.flp.proof import ProofError
from mpc.flp.vdaf import Vdaf

Record = dict[str, Any]
Instance = Vdaf[Any, Any]


class Mismatch(Exception):
    """What was computed is not what the vector says."""


def replay_file(path: Path) -> None:
    """``Mismatch`` unless every step yields what the vector says, or is refused where it says so."""
    vector = json.loads(path.read_text())
    name = path.stem.split("_", 1)[0]
    if name.startswith("Xof"):
        _expect(name, xof_vectors.computed(name, vector), xof_vectors.recorded(vector))
    elif name.startswith("Pine"):
        _Replay(pine_vectors.instance(name, vector), pine_vectors.current(vector)).run()
    else:
        _Replay(prio3_vectors.instance(name, vector), vector).run()


class _Replay:
    def __init__(self, vdaf: Instance, vector: Record) -> None:
        self.vdaf = vdaf
        self.vector = vector
        self.ctx = bytes.fromhex(vector["ctx"])
        self.states: dict[tuple[int, int], VerifyState] = {}

    def run(self) -> None:
        _expect("shares", self.vdaf.shares, self.vector["shares"])
        for number, operation in enumerate(self.vector["operations"]):
            step: Callable[[Record], None] = getattr(self, operation["operation"])
            label = f"operation {number}, {operation['operation']}"
            try:
                step(operation)
            except (DecodeError, ProofError) as refusal:
                if operation["success"]:
                    raise Mismatch(f"{label}: refused: {refusal}") from refusal
            else:
                if not operation["success"]:
                    raise Mismatch(f"{label}: accepted, and should be refused")

    def shard(self, operation: Record) -> None:
        report = self._report(operation)
        nonce, rand = bytes.fromhex(report["nonce"]), bytes.fromhex(report["rand"])
        public_share, input_shares = self.vdaf.shard(self.ctx, report["measurement"], nonce, rand)
        _expect("public share", encode_public_share(public_share).hex(), report["public_share"])
        encoded = [share.encode(self.vdaf.field).hex() for share in input_shares]
        _expect("input shares", encoded, report["input_shares"])

    def verify_init(self, operation: Record) -> None:
        report, agg_id = self._report(operation), operation["aggregator_id"]
        layout = self.vdaf.layout
        state, share = self.vdaf.verify_init(
            bytes.fromhex(self.vector["verify_key"]),
            self.ctx,
            agg_id,
            bytes.fromhex(report["nonce"]),
            layout.public_share(bytes.fromhex(report["public_share"])),
            layout.input_share(agg_id, bytes.fromhex(report["input_shares"][agg_id])),
        )
        _expect("verifier share", share.encode(self.vdaf.field).hex(), report["verifier_shares"][0][agg_id])
        self.states[operation["report_index"], agg_id] = state

    def verifier_shares_to_message(self, operation: Record) -> None:
        report = self._report(operation)
        data = [bytes.fromhex(share) for share in report["verifier_shares"][0]]
        shares = [self.vdaf.layout.verifier_share(share) for share in data]
        message = self.vdaf.verifier_shares_to_message(self.ctx, shares)
        _expect("verifier message", encode_verifier_message(message).hex(), report["verifier_messages"][0])

    def verify_next(self, operation: Record) -> None:
        report, agg_id = self._report(operation), operation["aggregator_id"]
        message = self.vdaf.layout.verifier_message(bytes.fromhex(report["verifier_messages"][0]))
        out_share = self.vdaf.verify_next(self.states[operation["report_index"], agg_id], message)
        _expect("output share", self.vdaf.field.to_bytes(out_share).hex(), report["out_shares"][agg_id])

    def aggregate(self, operation: Record) -> None:
        agg_id = operation["aggregator_id"]
        data = [bytes.fromhex(report["out_shares"][agg_id]) for report in self.vector["reports"]]
        total = self.vdaf.aggregate([self.vdaf.layout.out_share(share) for share in data])
        _expect("aggregate share", self.vdaf.field.to_bytes(total).hex(), self.vector["agg_shares"][agg_id])

    def unshard(self, operation: Record) -> None:
        data = [bytes.fromhex(share) for share in self.vector["agg_shares"]]
        shares = [self.vdaf.layout.out_share(share) for share in data]
        result = self.vdaf.unshard(shares, len(self.vector["reports"]))
        _expect("result", result, self.vector["agg_result"])

    def _report(self, operation: Record) -> Record:
        report: Record = self.vector["reports"][operation["report_index"]]
        return report


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Mismatch(f"{what}: not what the vector says")
