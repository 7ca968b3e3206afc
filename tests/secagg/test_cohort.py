"""secagg.cohort: validated once, and bound to in full."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from secagg.cohort import MAX_SUM_BITS, NO_MODEL, Cohort, check_members, resolve_threshold, sum_bits

VALID: dict[str, Any] = {
    "session": bytes(range(16)),
    "round": 0,
    "members": ("ana", "bo", "cy"),
    "threshold": 2,
    "length": 10,
    "bits": 16,
    "server_key": bytes(range(32)),
}


def cohort(**changes: Any) -> Cohort:
    return Cohort(**{**VALID, **changes})


def test_what_it_says_of_itself() -> None:
    found = cohort()
    assert (found.size, found.max_entry, found.sum_bits, found.model_hash) == (3, 32767, 18, NO_MODEL)
    assert found.ring.bits == 18
    assert [found.index(name) for name in found.members] == [0, 1, 2]
    assert found.names([2, 0]) == ("cy", "ana")
    with pytest.raises(FrozenInstanceError):
        found.round = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("argument", "value", "complaint"),
    [
        ("session", b"short", "session is b'short': must be 16 bytes"),
        ("session", "x" * 16, "must be 16 bytes"),
        ("session", bytearray(16), "must be 16 bytes"),
        ("server_key", bytes(31), "must be 32 bytes"),
        ("model_hash", b"", "model_hash is b'': must be 32 bytes"),
        ("round", -1, "round is -1: must be a whole number from 0 to 4294967295"),
        ("round", 2**32, "must be a whole number from 0 to 4294967295"),
        ("round", True, "round is True: must be a whole number"),
        ("round", 1.0, "round is 1.0: must be a whole number"),
        ("threshold", 1, "threshold is 1: must be a whole number from 2 to 3"),
        ("threshold", 4, "threshold is 4: must be a whole number from 2 to 3"),
        ("threshold", 2.5, "threshold is 2.5: must be a whole number from 2 to 3"),
        ("length", 0, "length is 0: must be a whole number from 1 to 4294967296"),
        ("length", 2**33, "must be a whole number from 1 to 4294967296"),
        ("bits", 1, "bits is 1: must be a whole number from 2 to 48"),
        ("bits", 49, "bits is 49: must be a whole number from 2 to 48"),
        ("bits", True, "bits is True: must be a whole number from 2 to 48"),
        ("members", ("ana",), "number of clients is 1: must be from 2 to 1048576"),
        ("members", (), "number of clients is 0: must be from 2 to 1048576"),
        ("members", ["ana", "bo"], r"must be a tuple of names"),
        (
            "members",
            ("ana", "bo", "ana", "cy", "bo"),
            r"client names is \['ana', 'bo'\]: each name may stand once",
        ),
        ("members", ("ana", ""), "client name is '': must be text of 1 to 200 bytes"),
        ("members", ("ana", 7), "client name is 7: must be text of 1 to 200 bytes"),
        ("members", ("ana", None), "client name is None: must be text"),
        ("members", ("ana", b"bo"), "client name is b'bo': must be text"),
        ("members", ("ana", "é" * 101), "must be text of 1 to 200 bytes"),
        ("members", ("ana", "\ud800"), "must be text of 1 to 200 bytes"),
    ],
)
def test_what_cannot_be_is_refused(argument: str, value: object, complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        cohort(**{argument: value})


def test_names_at_the_edge() -> None:
    check_members(("é" * 100, "a", " ", "\0"))
    check_members(("a" * 200, "b" * 200))


@pytest.mark.parametrize(("bits", "members"), [(48, 1 << 16), (48, 1 << 17), (40, 1 << 20)])
def test_a_sum_that_could_overflow_is_refused(bits: int, members: int) -> None:
    names = tuple(f"c{index}" for index in range(members))
    if sum_bits(bits, members) <= MAX_SUM_BITS:
        assert cohort(members=names, bits=bits).sum_bits <= 63
    else:
        with pytest.raises(LocalError, match=rf"bits is {bits}: the sum over {members} clients would need"):
            cohort(members=names, bits=bits)


@given(bits=st.integers(2, 48), members=st.integers(2, 1 << 20))
def test_the_modulus_is_the_smallest_that_never_wraps(bits: int, members: int) -> None:
    largest = members * (2 ** (bits - 1) - 1)
    found = sum_bits(bits, members)
    assert -(2 ** (found - 1)) <= -largest
    assert largest <= 2 ** (found - 1) - 1
    assert largest > 2 ** (found - 2) - 1


CHANGES: dict[str, Any] = {
    "session": bytes(16),
    "round": 1,
    "members": ("ana", "bo", "cz"),
    "threshold": 3,
    "length": 11,
    "bits": 17,
    "server_key": bytes(32),
    "model_hash": bytes(32),
    "identities": tuple(bytes([number]) * 32 for number in range(3)),
}


def test_the_digest_binds_everything() -> None:
    assert set(CHANGES) == {*VALID, "model_hash", "identities"} == {f.name for f in fields(Cohort)}
    digests = {cohort().digest} | {cohort(**{name: value}).digest for name, value in CHANGES.items()}
    assert len(digests) == len(CHANGES) + 1
    assert replace(cohort()).digest == cohort().digest


@pytest.mark.parametrize(
    "members",
    [
        ("bo", "ana", "cy"),
        ("anab", "o", "cy"),
        ("ana", "bo", "cy", "d"),
        ("an", "abo", "cy"),
        ("ana", "bocy"),
    ],
)
def test_the_digest_binds_names_and_their_order(members: tuple[str, ...]) -> None:
    assert cohort(members=members).digest != cohort().digest


IDENTITIES = tuple(bytes([number]) * 32 for number in (7, 8, 9))


def test_the_digest_binds_identities_and_their_order() -> None:
    swapped = (IDENTITIES[1], IDENTITIES[0], IDENTITIES[2])
    found = {cohort(identities=pinned).digest for pinned in ((), IDENTITIES, swapped)}
    assert len(found) == 3


@pytest.mark.parametrize("identities", [(), IDENTITIES], ids=["unsigned", "signed"])
def test_the_digest_is_part_of_the_protocol(identities: tuple[bytes, ...]) -> None:
    """Computed by hand: SHA-256 over tag, session, round, members, threshold, length, bits, key, model,
    and the identities behind their number."""
    import hashlib

    names = b"".join(len(name).to_bytes(4, "little") + name for name in (b"ana", b"bo", b"cy"))
    data = b"secagg\x01\x00\x0b\x00" + bytes(range(16)) + bytes(4) + b"\3\0\0\0" + names
    data += b"\2\0\0\0" + (10).to_bytes(8, "little") + b"\x10" + bytes(range(32))
    data += hashlib.sha256(b"").digest()
    data += len(identities).to_bytes(4, "little") + b"".join(identities)
    assert cohort(identities=identities).digest == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("identities", "complaint"),
    [
        (IDENTITIES[:2], "identities is 2: must be one key for each of the 3 clients, or none"),
        ((*IDENTITIES, bytes(32)), "identities is 4: must be one key for each of the 3 clients, or none"),
        (list(IDENTITIES), "identities is 'list': must be one key for each"),
        (None, "identities is 'NoneType': must be one key for each"),
        ((*IDENTITIES[:2], bytes(31)), "identity is .*: must be 32 bytes"),
        ((*IDENTITIES[:2], "x" * 32), "identity is .*: must be 32 bytes"),
        ((*IDENTITIES[:2], IDENTITIES[0]), "identities is 3: each key may stand once"),
    ],
)
def test_identities_that_cannot_be(identities: Any, complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        cohort(identities=identities)


def test_members_sign_where_identities_are_pinned() -> None:
    assert not cohort().signed
    assert cohort(identities=IDENTITIES).signed


def test_strangers_have_no_place() -> None:
    with pytest.raises(LocalError, match="client is 'dan': is not one of the 3 members"):
        cohort().index("dan")


@pytest.mark.parametrize(
    ("threshold", "members", "expected"),
    [
        (2 / 3, 9, 6),
        (2 / 3, 10, 7),
        (0.5, 10, 5),
        (0.51, 100, 51),
        (0.7, 10, 7),
        (1.0, 10, 10),
        (0.001, 10, 2),
        (2, 10, 2),
        (10, 10, 10),
        (2 / 3, 2, 2),
    ],
)
def test_thresholds_as_fractions_and_counts(threshold: float, members: int, expected: int) -> None:
    assert resolve_threshold(threshold, members) == expected


@given(numerator=st.integers(1, 60), denominator=st.integers(1, 60), members=st.integers(2, 5000))
def test_a_fraction_asks_for_its_ceiling(numerator: int, denominator: int, members: int) -> None:
    """No last digit of a float asks for one client more or less."""
    fraction = min(Fraction(numerator, denominator), Fraction(1))
    exact = -(-fraction.numerator * members // fraction.denominator)
    assert resolve_threshold(float(fraction), members) == max(2, exact)


@pytest.mark.parametrize(
    ("threshold", "complaint"),
    [
        (0, r"threshold is 0: must be a fraction in \(0, 1\] or a number of clients"),
        (-0.5, "must be a fraction"),
        (float("nan"), "threshold is nan: must be a fraction"),
        ("2/3", "threshold is '2/3': must be a fraction"),
        (True, "threshold is True: must be a fraction"),
        (None, "threshold is None: must be a fraction"),
        (1.5, "threshold is 1.5: as a fraction must be at most 1; a count is an int"),
        (float("inf"), "threshold is inf: as a fraction must be at most 1"),
        (1, "threshold is 1: as a count must be at least 2"),
        (11, "threshold is 11: must be at most the cohort's 10 clients"),
    ],
)
def test_impossible_thresholds_are_refused(threshold: Any, complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        resolve_threshold(threshold, 10)
