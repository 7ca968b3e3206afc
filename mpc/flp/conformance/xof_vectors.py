"""The vectors of an XOF: a derived seed and an expanded vector."""

from __future__ import annotations

from typing import Any

from mpc.errors import LocalError
from mpc.flp.field128 import Field128
from mpc.flp.xof import XofHmacSha256Aes128, XofTurboShake128

Record = dict[str, Any]
_XOFS = {xof.name: xof for xof in (XofTurboShake128, XofHmacSha256Aes128)}


def computed(name: str, vector: Record) -> tuple[str, str]:
    """The derived seed and the expanded vector, in hex; ``LocalError`` for a name that is not known."""
    if name not in _XOFS:
        raise LocalError("name", name, f"one of {', '.join(_XOFS)}")
    xof = _XOFS[name]
    seed, tag, binder = (bytes.fromhex(vector[key]) for key in ("seed", "dst", "binder"))
    expanded = xof.expand(Field128, seed, tag, binder, length=vector["length"])
    return xof.derive_seed(seed, tag, binder).hex(), Field128.to_bytes(expanded).hex()


def recorded(vector: Record) -> tuple[str, str]:
    """The same, as the vector has them."""
    return vector["derived_seed"], vector["expanded_vec_field128"]
