"""One bad message after honest ones, put to the reference's client (spec section 12.3)."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference.masking import Client, Refused
from tests.reference.primitives import Tape
from tests.reference.rounds import Round, Setting

ANSWERS = {
    "share-keys": Client.share_keys,
    "masked-input": Client.masked_input,
    "consistency": Client.consistency,
    "unmask": Client.unmask,
}


def fresh_client(setting: Setting, me: int) -> Client:
    identity = setting.identities[me] if setting.identities else None
    tape = Tape(setting.seeds[me])
    return Client(setting.cohort, setting.tolerance, me, setting.vectors[me], tape, identity)


def client_answer(
    base: Round, me: int, delivered: Sequence[str], phase: str, payload: bytes
) -> bytes | Refused:
    """What a client makes of ``payload`` after the base's own messages of the ``delivered`` phases."""
    client = fresh_client(base.setting, me)
    client.advertise()
    for before in delivered:
        ANSWERS[before](client, base.asked(me, before))
    try:
        return ANSWERS[phase](client, payload)
    except Refused as refused:
        return refused
