"""Eight lanes at once, and GMP: the same numbers, at every size that keys have and at odd ones."""

from __future__ import annotations

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.tape import SeededTape
from secagg.kernels import lanes
from secagg.paillier import modulus
from secagg.paillier.fixedbase import FixedBase
from secagg.paillier.lanemodulus import LaneModulus
from secagg.paillier.modulus import GmpModulus, Modulus, modulus_of

with_lanes = pytest.mark.skipif(not lanes.available(), reason="this processor has no AVX-512 IFMA")
KINDS = [GmpModulus, pytest.param(LaneModulus, marks=with_lanes)]
SIZES = (64, 206, 207, 1024, 2048, 3072, 4096, 6144, 8192)

deterministic = settings(derandomize=True, deadline=None, max_examples=40)


def odd(bits: int) -> mpz:
    return mpz(SeededTape(b"modulus %d" % bits).below(1 << bits)) | 1 | 1 << (bits - 1)


def extremes(value: mpz, count: int) -> list[mpz]:
    """0, 1, the largest, those with all digits full or only the last, then random ones."""
    tape = SeededTape(b"numbers")
    full = mpz(1) << (value.bit_length() - 1)
    chosen = [mpz(0), mpz(1), value - 1, full - 1, full, value >> 1, (value - 1) % (mpz(1) << 52)]
    return (chosen + [mpz(tape.below(int(value))) for _ in range(count)])[:count]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", SIZES)
@pytest.mark.parametrize("count", [1, 7, 8, 19])
def test_powers_are_powers(kind: type[Modulus], bits: int, count: int) -> None:
    value = odd(bits)
    bases = extremes(value, count)
    for exponent in (mpz(1), mpz(2), mpz(31), mpz(32), mpz(2**40), mpz(2**41 - 1), odd(70)):
        expected = [gmpy2.powmod(base, exponent, value) for base in bases]
        assert kind(value).powers(bases, exponent) == expected
        assert kind(value).powers(bases, exponent, public=True) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [mpz(2**1024 - 105), mpz(2**1023 + 1), mpz(2**1040 - 1), mpz(2**1038 - 1)])
def test_extreme_moduli(kind: type[Modulus], value: mpz) -> None:
    bases = extremes(value, 24)
    assert kind(value).powers(bases, mpz(65537)) == [gmpy2.powmod(base, 65537, value) for base in bases]


@given(data=st.data(), bits=st.integers(1024, 1300))
@with_lanes
@deterministic
def test_any_odd_modulus(data: st.DataObject, bits: int) -> None:
    value = mpz(data.draw(st.integers(1 << (bits - 1), (1 << bits) - 1))) | 1
    bases = [mpz(base) for base in data.draw(st.lists(st.integers(0, int(value) - 1), max_size=10))]
    exponent = mpz(data.draw(st.integers(1, 1 << 70)))
    assert LaneModulus(value).powers(bases, exponent) == GmpModulus(value).powers(bases, exponent)


@with_lanes
@pytest.mark.parametrize("memory", [1 << 12, 1 << 15, 1 << 18])
@pytest.mark.parametrize("bits", [203, 1024, 4096])
def test_combs_agree(bits: int, memory: int) -> None:
    value = odd(bits)
    tape = SeededTape(b"exponents")
    exponents = [mpz(0), mpz(1), mpz(2**100 - 1), *(mpz(tape.below(2**100)) for _ in range(14))]
    found = [FixedBase(mpz(3) ** 40, kind(value), 100, memory) for kind in (GmpModulus, LaneModulus)]
    assert all(one.table_bytes <= memory for one in found)
    expected = [gmpy2.powmod(mpz(3) ** 40, exponent, value) for exponent in exponents]
    assert [one.powers(exponents) for one in found] == [expected, expected]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_nothing_out_and_no_secret_in_the_repr(kind: type[Modulus]) -> None:
    one = kind(odd(1024))
    assert one.powers([], mpz(5)) == []
    assert FixedBase(mpz(2), one, 20).powers([]) == []
    assert str(odd(1024)) not in repr(one)
    assert "1024" in repr(one)


def test_the_arithmetic_is_chosen_by_size_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "available", lambda: True)
    assert type(modulus_of(odd(modulus.MIN_LANE_BITS))) is LaneModulus
    assert type(modulus_of(odd(modulus.MIN_LANE_BITS - 1))) is GmpModulus
    monkeypatch.setattr(lanes, "available", lambda: False)
    assert type(modulus_of(odd(6144))) is GmpModulus


def test_code_for_another_processor_has_no_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.CPU_NAME", "generic")
    assert not lanes.available()


@with_lanes
@pytest.mark.parametrize("bits", [1024, 1536, 2048, 4096])
def test_products_of_rows_agree_just_below_a_power_of_two(bits: int) -> None:
    """Where a number that is not reduced has no room in the words of one that is."""
    tape = SeededTape(b"rows")
    for distance in (1, 105, 1999):
        value = (mpz(1) << bits) - distance
        special = [mpz(0), mpz(1), value - 1, value - 2, value // 2, mpz(1) << (bits - 1)]
        for rows in (1, 2, 5):
            found = []
            chosen = [[special[tape.below(6)] for _ in range(24)] for _ in range(rows)]
            for kind in (GmpModulus, LaneModulus):
                product = kind(value).running_product()
                for row in chosen:
                    product.multiply(b"".join(one.to_bytes(bits // 8, "little") for one in row))
                found.append(product.numbers())
            assert found[0] == found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_non_unit_is_found(kind: type[Modulus]) -> None:
    value = gmpy2.next_prime(odd(520)) * gmpy2.next_prime(odd(521))
    modulus = kind(value)
    good = [number for number in extremes(value, 20) if gmpy2.gcd(number, value) == 1]
    for bad in (mpz(0), value, value + 1, gmpy2.next_prime(odd(520))):
        for place in (0, 7, 8, len(good)):
            row = [*good[:place], bad, *good[place:]]
            octets = b"".join(one.to_bytes(modulus.row_bytes, "little") for one in row)
            assert modulus.first_non_unit(octets) == place
    assert modulus.first_non_unit(b"".join(one.to_bytes(modulus.row_bytes, "little") for one in good)) is None
    assert modulus.first_non_unit(b"") is None
