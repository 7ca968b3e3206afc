"""The vectors of PINE's draft 01: what instance they are of, and in the shape of the VDAF draft's vectors.

They were made with the ``earlier`` encoding of proofs. The operations are not listed: all reports are valid.
"""

from __future__ import annotations

from typing import Any

from mpc.errors import LocalError
from mpc.flp.conformance.earlier import MonomialBasis, XofTurboShake128With16
from mpc.flp.pine import ALGORITHM, Pine
from mpc.flp.pine_circuits import Parameters
from mpc.flp.prio3 import EXPERIMENTAL
from mpc.flp.xof import Xof, XofHmacSha256Aes128

Record = dict[str, Any]
_XOFS: dict[str, tuple[type[Xof], int]] = {
    "Pine64": (XofTurboShake128With16, EXPERIMENTAL),
    "Pine64HmacSha256Aes128": (XofHmacSha256Aes128, ALGORITHM),
}


def instance(name: str, vector: Record) -> Pine:
    """The instance of this name with the vector's parameters; ``LocalError`` for a name that is not known."""
    if name not in _XOFS:
        raise LocalError("name", name, f"one of {', '.join(_XOFS)}")
    xof, algorithm = _XOFS[name]
    return Pine(
        parameters(vector),
        shares=vector["shares"],
        proofs=vector["proofs"],
        proofs_norm_equality=vector["proofs_norm_equality"],
        xof=xof,
        algorithm=algorithm,
        basis=MonomialBasis(),
    )


def parameters(vector: Record) -> Parameters:
    """The circuits' parameters."""
    names = ("l2_norm_bound", "num_frac_bits", "dimension", "chunk_length", "chunk_length_norm_equality")
    return Parameters(
        **{name: vector[name] for name in (*names, "num_wr_checks", "num_wr_successes", "alpha")}
    )


def current(vector: Record) -> Record:
    """The same vector under the names of draft 20, with its operations listed."""
    operations: list[Record] = []
    aggregators = range(vector["shares"])
    for index in range(len(vector["prep"])):
        operations.append(_operation("shard", report_index=index))
        operations += [_operation("verify_init", report_index=index, aggregator_id=i) for i in aggregators]
        operations.append(_operation("verifier_shares_to_message", report_index=index))
        operations += [_operation("verify_next", report_index=index, aggregator_id=i) for i in aggregators]
    operations += [_operation("aggregate", aggregator_id=i) for i in aggregators]
    operations.append(_operation("unshard"))
    reports = [_report(one) for one in vector["prep"]]
    return {**vector, "ctx": "", "operations": operations, "reports": reports}


def _operation(name: str, **where: int) -> Record:
    return {"operation": name, "success": True, **where}


def _report(one: Record) -> Record:
    renamed = {"verifier_shares": one["prep_shares"], "verifier_messages": one["prep_messages"]}
    return {**one, **renamed, "out_shares": ["".join(share) for share in one["out_shares"]]}
