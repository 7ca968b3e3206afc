"""Fixed-base powers against Python's own, and the comb against all others."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from secagg.paillier.fixedbase import TABLE_BYTES, FixedBase, comb_shape
from secagg.paillier.modulus import GmpModulus

MODULUS = mpz(2**512 - 569)
GMP = GmpModulus(MODULUS)
BASE = 3**300 % int(MODULUS)

deterministic = settings(derandomize=True, deadline=None, max_examples=40)


@given(
    length=st.integers(1, 130),
    memory=st.integers(2 * (64 + 64), 40_000),
    fractions=st.lists(st.fractions(0, 1), max_size=5),
)
@deterministic
def test_fixed_base_powers_are_powers(length: int, memory: int, fractions: list[Fraction]) -> None:
    base = FixedBase(mpz(BASE), GMP, length, memory)
    assert base.table_bytes <= memory
    exponents = [0, 1, (1 << length) - 1, 1 << (length - 1)]
    exponents += [int(fraction * ((1 << length) - 1)) for fraction in fractions]
    expected = [pow(BASE, exponent, MODULUS) for exponent in exponents]
    assert base.powers([mpz(exponent) for exponent in exponents]) == expected


def test_the_default_comb_multiplies_as_often_as_the_module_says() -> None:
    teeth, spacing = comb_shape(400, TABLE_BYTES // (768 + 64))
    assert -(-400 // teeth) + spacing - 2 == 43
    assert comb_shape(400, 2) == (1, 400)  # square and multiply


@given(length=st.integers(1, 60), entries=st.integers(2, 300))
@deterministic
def test_no_other_comb_in_the_budget_is_faster(length: int, entries: int) -> None:
    def cost(teeth: int, spacing: int) -> int:
        return -(-length // teeth) + spacing

    combs = [
        (teeth, spacing)
        for teeth in range(1, 10)
        for spacing in range(1, length + 1)
        if math.ceil(math.ceil(length / teeth) / spacing) * 2**teeth <= entries
    ]
    assert cost(*comb_shape(length, entries)) == min(cost(*comb) for comb in combs)


def test_fixed_base_refuses_what_it_cannot_do() -> None:
    with pytest.raises(LocalError, match="memory"):
        FixedBase(mpz(2), GMP, 100, 2 * (64 + 64) - 1)
    base = FixedBase(mpz(2), GMP, 100)
    assert base.powers([]) == []
    for exponent in (-1, 1 << 100):
        with pytest.raises(LocalError, match="exponents is '<secret> at 1'") as caught:
            base.powers([mpz(5), mpz(exponent)])
        assert str(1 << 100) not in str(caught.value)
