"""secagg.plain: the oracle must itself be right, and as strict as the others."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mpc.party import Message, Role, overhead
from mpc.ring import Ring
from secagg import InsecurePlain
from secagg.cohort import KEY_BYTES
from secagg.link import TAG_BYTES


def as_input(vector: np.ndarray, bits: int) -> bytes:
    ring = Ring(bits)
    return ring.pack(ring.encode(vector))


@pytest.mark.parametrize("bits", [2, 7, 8, 16, 17])
def test_the_one_value_out_of_range_is_refused(rig: SimpleNamespace, bits: int) -> None:
    """Two's complement has one number more below zero than above."""
    low = -(1 << (bits - 1))
    payload = as_input(np.array([0, low, 0]), bits)

    def lie(message: Message) -> list[Message]:
        return [replace(message, payload=payload)]

    outcome = rig.play(InsecurePlain(), rig.vectors(6, 3, bits), bits=bits, liars={4: lie})
    outcome.require_exact()
    assert outcome.rejected[4].check == "structural"
    assert outcome.rejected[4].reason == f"an entry is out of range: they must be within ±{-low - 1}"


def test_padding_bits_are_zero(rig: SimpleNamespace) -> None:
    def lie(message: Message) -> list[Message]:
        last = bytes([message.payload[-1] | 0x80])
        return [replace(message, payload=bytes(message.payload)[:-1] + last)]

    outcome = rig.play(InsecurePlain(), rig.vectors(6, 3, 5), bits=5, liars={4: lie})
    outcome.require_exact()
    assert "padding bits" in outcome.rejected[4].reason


def test_it_says_in_its_name_and_its_leakage_that_it_hides_nothing() -> None:
    backend = InsecurePlain()
    assert "Insecure" in repr(backend)
    assert backend.leakage.learns[Role.SERVER] == ("every client's vector",)
    assert Role.SERVER not in backend.leakage.hides


def test_vectors_travel_at_their_own_width(rig: SimpleNamespace) -> None:
    """It is the baseline of every overhead: bits · length, a header, a tag and a link key."""
    backend = InsecurePlain()
    cohort = rig.cohort(backend, 10, 1000, 13)
    (link,) = backend.cost(cohort).links
    assert link.size == 13 * 1000 // 8 + overhead(link.phase, TAG_BYTES) + KEY_BYTES
