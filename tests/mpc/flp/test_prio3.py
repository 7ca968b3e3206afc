"""Prio3 from shard to unshard: right sums, and no report with a wrong bit in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.flp.conformance.prio3_vectors import HigherDegree
from mpc.flp.field64 import Field64
from mpc.flp.field128 import Field128
from mpc.flp.prio3 import (
    EXPERIMENTAL,
    Prio3,
    prio3_count,
    prio3_histogram,
    prio3_multihot_count_vec,
    prio3_sum,
    prio3_sum_vec,
    prio3_sum_vec_with_multiproof,
)
from mpc.flp.proof import ProofError
from mpc.flp.types import Count, MultihotCountVec, encode_range_checked, range_weights
from mpc.flp.xof import XofHmacSha256Aes128
from mpc.tape import SeededTape
from tests.mpc.flp.reports import CTX, Report, flipped, total

INSTANCES: list[tuple[Prio3[Any, Any], list[Any], Any]] = [
    (prio3_count(2), [0, 1, 1], 2),
    (prio3_count(3), [0], 0),
    (prio3_sum(3, 100), [0, 99, 100, 1], 200),
    (prio3_sum_vec(2, 2, 7, 3), [[7, 0], [7, 3]], [14, 3]),
    (prio3_histogram(4, 5, 2), [0, 4, 4], [1, 0, 0, 0, 2]),
    (prio3_multihot_count_vec(2, 4, 2, 3), [[0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], [0, 2, 1, 0]),
    (prio3_sum_vec_with_multiproof(2, Field64, 3, 3, 255, 5), [[255, 1, 0], [1, 1, 255]], [256, 2, 255]),
    (Prio3(Count(Field128), shares=2, algorithm=EXPERIMENTAL, xof=XofHmacSha256Aes128), [1, 0], 1),
    (Prio3(HigherDegree(), shares=3, algorithm=EXPERIMENTAL), [2, 0, 1], 3),
]
instances = pytest.mark.parametrize(
    ("vdaf", "measurements", "result"), INSTANCES, ids=lambda x: type(getattr(x, "valid", None)).__name__
)
with_reports = pytest.mark.parametrize("vdaf", [prio3_count(2), prio3_histogram(3, 5, 2), INSTANCES[6][0]])


def layout_bytes(vdaf: Prio3[Any, Any], elements: int) -> bytes:
    return bytes(vdaf.field.element_bytes * elements + vdaf.xof.seed_bytes * vdaf.layout.blinds)


def one_for(vdaf: Prio3[Any, Any]) -> Any:
    return {1: 1, 5: 3}.get(vdaf.valid.output_len, [3, 0, 200])


@instances
def test_the_result_is_that_of_the_plain_measurements(
    vdaf: Prio3[Any, Any], measurements: list[Any], result: Any
) -> None:
    assert total(vdaf, measurements) == result


@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=3), st.binary())
def test_sums_of_vectors_are_right(measurements: list[list[int]], seed: bytes) -> None:
    vdaf = prio3_sum_vec_with_multiproof(2, Field64, 1, 3, 5, 2)
    assert total(vdaf, measurements, seed) == [sum(column) for column in zip(*measurements, strict=True)]


@with_reports
def test_a_bit_anywhere_in_a_report_matters(vdaf: Prio3[Any, Any]) -> None:
    """Every eighth byte and both ends of each message, whichever it is."""
    clean = Report(vdaf, one_for(vdaf), SeededTape(b"report"))
    clean.verify()
    lengths = {f"input_share_{i}": len(data) for i, data in enumerate(clean.input_shares)}
    lengths["public_share"] = len(clean.public_share)
    places = [(name, place) for name, size in lengths.items() for place in {*range(0, size, 8), size - 1}]
    unnoticed = []
    for name, place in places:
        if place < 0:
            continue
        try:
            Report(vdaf, one_for(vdaf), SeededTape(b"report"), **{name: flipped(place)}).verify()
        except (ProofError, DecodeError):
            continue
        unnoticed.append((name, place))
    assert unnoticed == []


@with_reports
@pytest.mark.parametrize("name", ["verifier_share_0", "verifier_share_1"])
@pytest.mark.parametrize("place", [0, 8, -1])
def test_a_bit_in_what_aggregators_say_matters(vdaf: Prio3[Any, Any], name: str, place: int) -> None:
    report = Report(vdaf, one_for(vdaf), SeededTape(b"said"), **{name: flipped(place)})
    with pytest.raises((ProofError, DecodeError)):
        report.verify()


def test_another_verifier_message_is_refused() -> None:
    report = Report(prio3_histogram(2, 4, 2), 1, SeededTape(b"last"), verifier_message=flipped(3))
    with pytest.raises(ProofError, match="joint randomness"):
        report.verify()


@with_reports
def test_a_report_is_bound_to_its_context_nonce_and_verification_key(vdaf: Prio3[Any, Any]) -> None:
    report = Report(vdaf, one_for(vdaf), SeededTape(b"bound"))
    with pytest.raises(ProofError):
        report.verify(ctx=CTX + b"!")
    keys = [bytes([i]) * 32 for i in range(vdaf.shares)]
    with pytest.raises(ProofError):
        report.verify(verify_keys=keys)
    report.nonce = bytes(16)
    if vdaf.kinds:
        with pytest.raises(ProofError):
            report.verify()


@with_reports
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""])
def test_messages_of_other_lengths_are_refused(vdaf: Prio3[Any, Any], change: Any) -> None:
    report = Report(vdaf, one_for(vdaf), SeededTape(b"lengths"))
    layout = vdaf.layout
    decoders = [
        (report.input_shares[0], lambda data: layout.input_share(0, data)),
        (report.input_shares[1], lambda data: layout.input_share(1, data)),
        (report.public_share, layout.public_share),
        (bytes(vdaf.field.element_bytes * layout.output_len), layout.out_share),
        (layout_bytes(vdaf, layout.verifiers_len), layout.verifier_share),
        (layout_bytes(vdaf, 0), layout.verifier_message),
    ]
    for data, decode in decoders:
        decode(data)
        if change(data) != data:
            with pytest.raises(DecodeError):
                decode(change(data))


def test_elements_that_are_not_canonical_are_refused() -> None:
    report = Report(prio3_count(2), 1, SeededTape(b"canonical"))
    for start in (0, 8, 32):
        data = bytearray(report.input_shares[0])
        data[start : start + 8] = b"\xff" * 8
        with pytest.raises(DecodeError, match="not canonical"):
            report.vdaf.layout.input_share(0, bytes(data))


def test_shares_of_one_aggregator_are_refused_by_another() -> None:
    vdaf = prio3_histogram(2, 4, 2)
    report = Report(vdaf, 1, SeededTape(b"swapped"))
    public_share = vdaf.layout.public_share(report.public_share)
    shares = [vdaf.layout.input_share(i, data) for i, data in enumerate(report.input_shares)]
    for agg_id in (0, 1):
        with pytest.raises(DecodeError, match=f"aggregator {agg_id}"):
            vdaf.verify_init(bytes(32), CTX, agg_id, report.nonce, public_share, shares[1 - agg_id])
    with pytest.raises(DecodeError, match="aggregator 0"):
        vdaf.verify_init(bytes(32), CTX, 0, report.nonce, (), shares[0])


@pytest.mark.parametrize("value", [-1, 8, 10**30])
@pytest.mark.parametrize("instance", [prio3_sum(2, 7), prio3_histogram(2, 8, 3), prio3_count(2)])
def test_measurements_out_of_range_are_refused_and_hidden(instance: Prio3[Any, Any], value: int) -> None:
    with pytest.raises(LocalError) as caught:
        instance.shard(CTX, value, bytes(16), bytes(instance.rand_bytes))
    assert str(value) not in str(caught.value)


def test_vectors_that_do_not_fit_are_refused() -> None:
    vectors, multihot = prio3_sum_vec(2, 2, 7, 3), prio3_multihot_count_vec(2, 3, 1, 2)
    for instance, measurement in (
        (vectors, [1]),
        (vectors, [1, 8]),
        (multihot, [0, 1]),
        (multihot, [1, 1, 0]),
        (multihot, [0, 2, 0]),
    ):
        with pytest.raises(LocalError, match="measurement"):
            instance.shard(CTX, measurement, bytes(16), bytes(instance.rand_bytes))


def test_arguments_are_checked() -> None:
    vdaf = prio3_count(2)
    with pytest.raises(LocalError, match=r"len\(nonce\)"):
        vdaf.shard(CTX, 1, bytes(15), bytes(vdaf.rand_bytes))
    with pytest.raises(LocalError, match=r"len\(rand\) is 65: 64 bytes"):
        vdaf.shard(CTX, 1, bytes(16), bytes(65))
    with pytest.raises(LocalError, match=r"len\(shares\)"):
        vdaf.verifier_shares_to_message(CTX, [])
    with pytest.raises(LocalError, match=r"len\(agg_shares\)"):
        vdaf.unshard([Field64.zeros(1)], 1)
    for shares in (1, 256):
        with pytest.raises(LocalError, match="shares is"):
            prio3_count(shares)
    for proofs in (0, 256):
        with pytest.raises(LocalError, match="proofs is"):
            prio3_sum_vec_with_multiproof(2, Field64, proofs, 3, 255, 5)
    for maximum in (0, 2**63, 2**64):
        with pytest.raises(LocalError, match="max_measurement is"):
            prio3_sum(2, maximum)
    for length, chunk in ((0, 1), (1, 0)):
        with pytest.raises(LocalError, match="length is 0"):
            prio3_histogram(2, length, chunk)
    with pytest.raises(LocalError, match="max_weight is 4"):
        MultihotCountVec(Field64, 3, 4, 2)


@given(st.integers(1, 40).flatmap(lambda top: st.tuples(st.just(top), st.integers(0, top))))
def test_range_checked_bits_count_up_to_the_maximum_and_no_further(pair: tuple[int, int]) -> None:
    maximum, value = pair
    bits, weights = encode_range_checked(Field64, value, maximum), range_weights(Field64, maximum)
    assert set(map(int, bits)) <= {0, 1}
    assert Field64.inner(bits, weights) == value
    assert Field64.total(weights) == maximum


def test_messages_show_no_share() -> None:
    vdaf = prio3_histogram(2, 2, 2)
    report = Report(vdaf, 1, SeededTape(b"repr"))
    for agg_id, data in enumerate(report.input_shares):
        assert repr(vdaf.layout.input_share(agg_id, data)) in ("LeaderShare()", "HelperShare()")
