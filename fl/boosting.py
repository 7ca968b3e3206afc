"""Updates that are longer than they were trained to be, and proofs that they are not (spec section 15).

Many times its length, one update outweighs all others in the mean: "model replacement", Bagdasaryan et al.
2020 (arXiv 1807.00459).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fl.client import LocalUpdate
from fl.insiders import WithInsiders
from mpc.field import decode
from mpc.flp.claims import Integers
from mpc.flp.contribution import Contribution
from mpc.flp.fields import Vector as Elements
from mpc.flp.messages import InputShare, PublicShare
from mpc.flp.pine_circuits import Parameters, encode_projections
from mpc.party import Message
from mpc.tape import RandomTape
from secagg.backend import Backend
from secagg.checks.base import Check
from secagg.client import RoundClient, Vector
from secagg.cohort import Cohort
from secagg.sharing.client import SharingClient
from secagg.sharing.scheme import ProvedShares

BOOST = 30.0
"""Updates of the default job become ten times shorter in the course of its training: the last one, boosted,
is still longer than the first one was."""


def boosted(update: LocalUpdate, max_weight: int) -> LocalUpdate:
    """``BOOST`` times as long, as far as each type reaches, and of the largest weight."""
    with np.errstate(over="ignore"):
        longer = [np.nan_to_num(tensor * BOOST) for tensor in update.update]
    return LocalUpdate(longer, max_weight, update.metrics)


class WithForgers(WithInsiders):
    """A backend where the clients ``forgers`` prove all that is asked of them, true or not."""

    def __init__(self, inner: Backend, forgers: Iterable[str]) -> None:
        super().__init__(inner, dict.fromkeys(forgers, _unaltered))

    def _client(
        self, cohort: Cohort, me: str, vector: Vector, checks: Sequence[Check], tape: RandomTape
    ) -> RoundClient:
        client = super()._client(cohort, me, vector, checks, tape)
        if isinstance(client, SharingClient) and isinstance(client._scheme, ProvedShares):
            client._scheme = ForgedShares(client._scheme)
        return client


def _unaltered(backend: Backend, client: RoundClient, message: Message) -> Message:
    """It is in its shares that a forger lies."""
    return message


class ForgedShares(ProvedShares):
    """Shares as those of ``honest``, of any vector."""

    def __init__(self, honest: ProvedShares) -> None:
        claims = honest._vdaf.claims
        super().__init__(honest.digest, claims, honest.aggregators)
        self._vdaf = Forger(claims, shares=honest.aggregators)


class Forger(Contribution):
    """Says of every vector that the claims hold: all is computed as for a true one, and cut to its bits."""

    def shard_from(
        self, ctx: bytes, measurement: Integers, nonce: bytes, tape: RandomTape
    ) -> tuple[PublicShare, list[InputShare]]:
        return self._shard(ctx, self.plan.encode(measurement), nonce, tape.read(self.rand_bytes))

    def _flagged(self, norm: Parameters, results: Elements) -> Elements:
        """All projections are said to be in range: what is not is put at the nearest end."""
        inside = np.clip(decode(results), 1 - norm.wr_bound, norm.wr_bound)
        return encode_projections(norm, inside)
