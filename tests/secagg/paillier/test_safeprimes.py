"""Safe primes: what they are, and that the sieve and the search miss none."""

from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.tape import RecordedTape, SeededTape
from secagg.paillier import parallel
from secagg.paillier.safeprimes import safe_prime, sieved

FIXED = 0xEE18B2C14A208D8B


def is_safe(p: int) -> bool:
    return gmpy2.is_prime(p) and gmpy2.is_prime(p // 2)


@pytest.mark.parametrize("bits", [32, 40, 64, 128, 256])
def test_what_is_found_is_a_safe_prime_of_the_promised_form(bits: int) -> None:
    p = safe_prime(bits, SeededTape(b"form"))
    assert gmpy2.is_prime(p, 40)
    assert gmpy2.is_prime((p - 1) // 2, 40)
    assert p % 4 == 3
    assert p >> (bits - 2) == 3


@settings(derandomize=True, deadline=None, max_examples=40)
@given(octets=st.binary(min_size=5, max_size=5))
def test_it_is_the_first_at_or_after_the_start(octets: bytes) -> None:
    start = int.from_bytes(octets, "little") | 3 << 38 | 3
    stop = min(2**40, start + 4 * 40**2)
    first = next((p for p in range(start, stop, 4) if is_safe(p)), None)
    # Where the interval holds none, the tape is read again, and has no more.
    if first is None:
        with pytest.raises(LocalError, match="0 bytes left"):
            safe_prime(40, RecordedTape(octets))
    else:
        assert safe_prime(40, RecordedTape(octets)) == first


@settings(derandomize=True, deadline=None, max_examples=30)
@given(quarter=st.integers(10_000, 2**60), count=st.integers(1, 400))
def test_the_sieve_keeps_what_has_no_small_factor(quarter: int, count: int) -> None:
    start, primes = 4 * quarter + 3, [3, 5, 7, 11, 13, 101, 499]
    numbers = [(i, start + 4 * i) for i in range(count)]
    left = [i for i, p in numbers if all(p % prime and p // 2 % prime for prime in primes)]
    assert sieved(mpz(start), count, np.array(primes)).tolist() == left


def test_an_interval_without_any_is_followed_by_one_from_a_new_start() -> None:
    top, rest = b"\xff" * 4, bytes(4)
    assert not is_safe(2**32 - 1)  # the one candidate of that interval
    assert safe_prime(32, RecordedTape(top + rest)) == safe_prime(32, RecordedTape(rest))


@pytest.mark.parametrize("processors", [1, 5])
def test_the_result_depends_on_the_tape_alone(processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: processors)
    assert safe_prime(64, SeededTape(b"fixed")) == FIXED
    assert safe_prime(64, SeededTape(b"another")) != FIXED


@pytest.mark.parametrize("bits", [0, 24, 31, 36])
def test_sizes_that_cannot_be_had_are_refused(bits: int) -> None:
    with pytest.raises(LocalError, match=f"^bits is {bits}: must be a multiple of 8 from 32"):
        safe_prime(bits, SeededTape(b""))
