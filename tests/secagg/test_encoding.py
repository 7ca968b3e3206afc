"""secagg.encoding against exact rational arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import AbortError, LocalError
from mpc.tape import RandomTape, SeededTape
from secagg.encoding import MAX_WEIGHT, FixedPoint, Plan

finite = st.floats(-4, 4, allow_subnormal=True)


def encode(plan: Plan, tensors: Sequence[np.ndarray], weight: int = 1, tape: RandomTape | None = None) -> Any:
    return plan.encode(tensors, weight, {}, tape or SeededTape(b"rounding"), client="ana")


def rationals(values: Sequence[float], clip: float) -> list[Fraction]:
    return [max(-Fraction(clip), min(Fraction(clip), Fraction(value))) for value in values]


@given(
    bits=st.integers(2, 48),
    clip=st.floats(0.01, 3),
    max_weight=st.integers(1, 10**6),
    clients=st.integers(2, 12),
    data=st.data(),
)
@settings(max_examples=60)
def test_the_mean_is_within_its_documented_bound(
    bits: int, clip: float, max_weight: int, clients: int, data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, 6))
    rows = [data.draw(st.lists(finite, min_size=length, max_size=length)) for _ in range(clients)]
    weights = [data.draw(st.integers(1, max_weight)) for _ in range(clients)]
    encoding = FixedPoint(clip, bits)
    plan = encoding.plan([length], clients=clients, max_weight=max_weight)
    tape = SeededTape(b"bound")
    total = sum(
        encode(plan, [np.array(row)], weight, tape).vector.astype(np.int64)
        for row, weight in zip(rows, weights, strict=True)
    )
    decoded = plan.decode(total)
    assert decoded.weight == sum(weights)
    bound = plan.error_bound(clients, decoded.weight)
    rounding = Fraction(clip) / (2 ** (bits - 1) - 1) * clients * max_weight / sum(weights)
    assert rounding < Fraction(bound) < rounding + Fraction(1, 2**48) * (rounding + Fraction(clip))
    columns = zip(*(rationals(row, clip) for row in rows), strict=True)
    for found, column in zip(decoded.mean, columns, strict=True):
        exact = sum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights)
        assert abs(Fraction(float(found)) - exact) < Fraction(bound)


@pytest.mark.parametrize("draw", [0, 2**32 - 1])
@pytest.mark.parametrize(
    ("bits", "clip", "weights", "max_weight", "float_counts"),
    [
        (48, 1.0, [1, 1], 1, False),
        (48, 0.7, [3, 3], 3, True),
        (48, 1.9991, [977, 977, 977], 977, True),
        (48, 0.7, [5, 2, 7, 7], 7, False),
        (44, 1 / 3, [5, 7], 7, False),
        (32, 1 / 3, [2**53 - 1, 2**52 + 1], 2**53, False),
        (2, 0.7, [1, 3], 3, False),
    ],
)
def test_the_bound_holds_where_chance_and_float64_err_together(
    monkeypatch: pytest.MonkeyPatch,
    draw: int,
    bits: int,
    clip: float,
    weights: list[int],
    max_weight: int,
    float_counts: bool,
) -> None:
    """All coordinates are rounded up, or all down, as chance may have it. ``float_counts``: the error is then
    more than rounding alone explains."""
    monkeypatch.setattr(Plan, "_draws", lambda plan, _: np.full(plan.length, draw, np.uint32))
    values = np.random.default_rng(bits).uniform(0.9 * clip, clip, 3000)
    values[:2] = clip, np.nextafter(0, 1)
    values[1::2] *= -1
    plan = FixedPoint(clip, bits).plan([values.size], clients=len(weights), max_weight=max_weight)
    total = sum(encode(plan, [values], weight).vector.astype(np.int64) for weight in weights)
    decoded = plan.decode(total)
    bound = Fraction(plan.error_bound(len(weights), decoded.weight))
    exact = map(Fraction, values.tolist())
    worst = max(abs(Fraction(found) - x) for found, x in zip(decoded.mean.tolist(), exact, strict=True))
    assert worst <= bound
    alone = Fraction(clip) / plan.encoding.limit * len(weights) * max_weight / sum(weights)
    assert worst > alone or not float_counts


@pytest.mark.parametrize("count", [0, -1, 1.0, True, None])
def test_a_bound_over_nothing_is_refused(count: Any) -> None:
    plan = FixedPoint().plan([1], clients=2)
    with pytest.raises(LocalError, match=f"clients is {count}: must be a whole number of at least 1"):
        plan.error_bound(count, 2)
    with pytest.raises(LocalError, match=f"weight is {count}: must be a whole number of at least 1"):
        plan.error_bound(2, count)
    assert plan.error_bound(2, np.int64(2)) == plan.error_bound(2, 2)  # type: ignore[arg-type]


@given(
    bits=st.integers(2, 48), clip=st.floats(1e-6, 1e6), weight=st.integers(1, 1000), values=st.lists(finite)
)
def test_every_value_is_rounded_to_a_neighbour(
    bits: int, clip: float, weight: int, values: list[float]
) -> None:
    values = [*values, clip, -clip, clip / 3, 0.0, -0.0, 5e-324]
    plan = FixedPoint(clip, bits).plan([len(values)], clients=2, max_weight=1000)
    vector = encode(plan, [np.array(values)], weight).vector[: len(values)]
    limit = 2 ** (bits - 1) - 1
    for found, exact in zip(vector.tolist(), rationals(values, clip), strict=True):
        target = exact * Fraction(weight, 1000) * limit / Fraction(clip)
        # Three roundings of float64 at 48 bits are worth a sixteenth of a unit.
        assert abs(found - target) < 1 + Fraction(1, 16)
        assert abs(found) <= limit


@pytest.mark.parametrize("bits", [2, 8, 16, 31, 32, 33, 48])
def test_the_ends_of_the_range_are_exact_and_never_left(bits: int) -> None:
    for clip in (1.0, 0.1, 1 / 3, 0.7, 1e-150, 1e150, 3.0000000000000004):
        plan = FixedPoint(clip, bits).plan([4000], clients=2)
        limit = 2 ** (bits - 1) - 1
        for sign in (1, -1):
            vector = encode(plan, [np.full(4000, sign * clip)]).vector[:4000]
            # One below is what the last digit of clip · (limit / clip) may cost, on one side or the other.
            assert set((sign * vector.astype(np.int64)).tolist()) <= {limit, limit - 1}
            assert np.mean(sign * vector == limit) > (0.9 if bits > 40 else 0.9999)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.25, 0.5, 1 / 3, 0.75, 0.999])
@pytest.mark.parametrize("base", [-1000, -1, 0, 1, 1000])
def test_rounding_is_unbiased(fraction: float, base: int) -> None:
    """Up with the fraction as probability: within five standard deviations over 10^5 draws."""
    count, limit = 100_000, 32767
    value = (base + fraction) / limit
    exact = float(Fraction(value) * limit)
    plan = FixedPoint(1.0, 16).plan([count], clients=2)
    vector = encode(plan, [np.full(count, value)], tape=SeededTape(f"{base} {fraction}".encode())).vector
    found = vector[:count].astype(np.float64)
    low = np.floor(exact)
    assert set(found) <= {low - (exact == low), low, low + 1}
    probability = exact - low
    deviation = (probability * (1 - probability) / count) ** 0.5
    assert abs(found.mean() - exact) <= 5 * deviation + 2**-30


def test_rounding_is_unbiased_after_weighting() -> None:
    """The weight is multiplied in before rounding, so a small weight loses no expectation."""
    count = 100_000
    plan = FixedPoint(1.0, 8).plan([count], clients=2, max_weight=1000)
    vector = encode(plan, [np.full(count, 0.3)], 7).vector[:count]
    exact = 0.3 * 7 / 1000 * 127
    deviation = (exact * (1 - exact) / count) ** 0.5
    assert abs(vector.mean() - exact) < 5 * deviation


def test_coordinates_are_rounded_independently() -> None:
    plan = FixedPoint(1.0, 2).plan([50_000, 50_000], clients=2)
    half = np.full(50_000, 0.5)
    one, other = np.split(encode(plan, [half, half]).vector[:100_000].astype(float), 2)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.025
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.025


def test_the_tape_decides_and_nothing_else() -> None:
    plan = FixedPoint().plan([1000], clients=2)
    values = [np.linspace(-1, 1, 1000)]
    one, same = (encode(plan, values, tape=SeededTape(b"1")).vector for _ in range(2))
    other = encode(plan, values, tape=SeededTape(b"2")).vector
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@given(bits=st.integers(2, 48), data=st.data())
@settings(max_examples=150)
def test_weights_are_exact_up_to_the_53rd_bit(bits: int, data: st.DataObject) -> None:
    max_weight = data.draw(st.one_of(st.integers(1, MAX_WEIGHT), st.just(MAX_WEIGHT), st.integers(1, 64)))
    clients = data.draw(st.integers(2, 40))
    edges = st.sampled_from([1, max_weight, max(1, max_weight - 1), max(1, max_weight // 2)])
    weights = data.draw(
        st.lists(st.one_of(edges, st.integers(1, max_weight)), min_size=clients, max_size=clients)
    )
    plan = FixedPoint(1.0, bits).plan([1], clients=clients, max_weight=max_weight)
    limit = 2 ** (bits - 1) - 1
    total = np.zeros(plan.length, np.int64)
    for weight in weights:
        vector = encode(plan, [np.zeros(1)], weight).vector
        assert 0 <= vector.min() <= vector.max() <= limit
        total += vector
    assert plan.decode(total).weight == sum(weights)


@pytest.mark.parametrize(
    ("bits", "max_weight", "digits"),
    [(2, 1, 1), (2, 2**53, 54), (16, 32767, 1), (16, 32768, 2), (48, 2**47 - 1, 1), (48, 2**53, 2)],
)
def test_the_weight_takes_as_many_digits_as_it_needs(bits: int, max_weight: int, digits: int) -> None:
    plan = FixedPoint(1.0, bits).plan([3, 4], clients=2, max_weight=max_weight, metrics={"loss": 1.0})
    assert plan.weight_digits == digits
    assert (plan.coordinates, plan.length) == (7, 7 + digits + 1)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64])
@pytest.mark.parametrize("bits", [2, 3, 16, 48])
def test_weights_of_every_integer_type_are_the_same(dtype: type, bits: int) -> None:
    plan = FixedPoint(0.7, bits).plan([3], clients=2, max_weight=2**53, metrics={"m": 1.0})
    one, same = (
        plan.encode([np.ones(3)], weight, {"m": 0.5}, SeededTape(b"w"), client="ana").vector
        for weight in (100, dtype(100))
    )
    assert np.array_equal(one, same)


@pytest.mark.parametrize("bound", [2, 2**63, 2**100, 2**500])
def test_bounds_may_be_integers(bound: int) -> None:
    """A kernel that is handed an integer takes no more than 64 bits of it."""

    def mean(bound: Any) -> Any:
        plan = FixedPoint(bound, 16).plan([2], clients=2, metrics={"m": bound})
        assert (type(plan.encoding.clip), type(plan.metrics["m"])) == (float, float)
        tensor = np.array([bound, -bound / 2], np.float64)
        vector = plan.encode([tensor], 1, {"m": bound}, SeededTape(b"b"), client="ana").vector
        return plan.decode(2 * vector.astype(np.int64))

    whole, real = mean(bound), mean(float(bound))
    assert np.array_equal(whole.mean, real.mean)
    assert whole.mean[0] == pytest.approx(bound)
    assert whole.metrics == real.metrics == {"m": pytest.approx(bound)}


def test_clipping_is_counted_by_tensor() -> None:
    plan = FixedPoint(clip=1.0).plan([3, 0, 2, 4], clients=2)
    encoded = encode(
        plan,
        [
            np.array([1.0, -1.0, 0.5]),
            np.empty(0),
            np.array([[1.0001], [-7e300]]),
            np.array([2.0, 0.0, -2.0, 2.0]),
        ],
    )
    assert encoded.clipped == (0, 0, 2, 3)
    assert encoded.vector[3:5].tolist() == [32767, -32767]
    assert "vector" not in repr(encoded)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_what_is_not_finite_is_named(value: float, dtype: type) -> None:
    plan = FixedPoint().plan([4, 6], clients=2)
    bad = np.zeros((2, 3), dtype)
    bad[1, 0] = value
    complaint = f"update of client 'ana', tensor 1 is {value}: coordinate 3 must be a finite number"
    with pytest.raises(LocalError, match=complaint):
        encode(plan, [np.zeros(4), bad])


def test_beyond_float64_is_not_finite() -> None:
    plan = FixedPoint().plan([1], clients=2)
    with pytest.raises(LocalError, match="tensor 0 is inf: coordinate 0 must be a finite number"):
        encode(plan, [np.array([np.longdouble("1e4000")])])


@pytest.mark.parametrize(
    "tensors",
    [[np.zeros(2), np.zeros(3)], [np.zeros(3)], [np.zeros(3), np.zeros(3)], [np.zeros(3), np.zeros(1)], []],
)
def test_tensors_of_other_sizes_are_refused(tensors: list[np.ndarray]) -> None:
    plan = FixedPoint().plan([3, 2], clients=2)
    with pytest.raises(LocalError, match=r"sizes of the tensors of client 'ana' is .*: must be \(3, 2\)"):
        encode(plan, tensors)


def test_layout_does_not_matter() -> None:
    plan = FixedPoint().plan([12], clients=2)
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    expected = encode(plan, [values]).vector
    for same in (np.asfortranarray(values), np.ascontiguousarray(values.T).T, values.astype(">f8")):
        assert np.array_equal(encode(plan, [same]).vector, expected)


@pytest.mark.parametrize(("bits", "dtype"), [(2, np.int32), (32, np.int32), (33, np.int64), (48, np.int64)])
def test_vectors_are_as_narrow_as_they_can_be(bits: int, dtype: type) -> None:
    plan = FixedPoint(bits=bits).plan([5], clients=2, max_weight=9, metrics={"m": 1.0})
    vector = plan.encode([np.ones(5)], 9, {"m": -1.0}, SeededTape(b""), client="ana").vector
    assert vector.dtype == dtype
    assert vector.shape == (plan.length,)


class TestMetrics:
    bounds = {"loss": 10.0, "accuracy": 1.0}  # noqa: RUF012

    def plan(self, clients: int = 3, max_weight: int = 100) -> Plan:
        return FixedPoint(bits=16).plan([2], clients=clients, max_weight=max_weight, metrics=self.bounds)

    def encode(self, loss: Any, accuracy: Any = 0.5, weight: int = 100) -> Any:
        metrics = {"accuracy": accuracy, "loss": loss}
        return self.plan().encode([np.zeros(2)], weight, metrics, SeededTape(b"m"), client="ana")

    def test_their_weighted_mean_comes_back_within_the_bound(self) -> None:
        plan, total = self.plan(), np.zeros(self.plan().length, np.int64)
        losses, weights = [0.25, 4.0, 9.5], [10, 20, 100]
        for loss, weight in zip(losses, weights, strict=True):
            total += self.encode(loss, 0.1 * loss, weight).vector
        decoded = plan.decode(total)
        exact = np.average(losses, weights=weights)
        unit = 3 * 100 / 130 / 32767
        assert abs(decoded.metrics["loss"] - exact) < 10.0 * unit
        assert abs(decoded.metrics["accuracy"] - 0.1 * exact) < unit
        assert list(decoded.metrics) == ["loss", "accuracy"]

    def test_what_is_beyond_its_bound_is_cut_and_noted(self) -> None:
        assert self.encode(10.0, 1.0).clipped_metrics == ()
        assert self.encode(10.5, 1.0).clipped_metrics == ("loss",)
        assert self.encode(-11, -2).clipped_metrics == ("loss", "accuracy")
        total = 3 * self.encode(1e9, 1.0).vector.astype(np.int64)
        assert self.plan().decode(total).metrics["loss"] == pytest.approx(10.0)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_is_named(self, value: float) -> None:
        with pytest.raises(LocalError, match=f"metric 'loss' of client 'ana' is {value}: .* finite number"):
            self.encode(value)

    @pytest.mark.parametrize("value", [None, "0.5", True, [0.5], np.ones(1), 1j])
    def test_what_is_no_number_is_named(self, value: object) -> None:
        complaint = f"metric 'loss' of client 'ana' is '{type(value).__name__}': must be a real number"
        with pytest.raises(LocalError, match=complaint):
            self.encode(value)

    @pytest.mark.parametrize("value", [10**400, -(10**4000)])
    def test_what_float64_cannot_hold_is_named_and_hidden(self, value: int) -> None:
        complaint = "metric 'loss' of client 'ana' is 'out of range': must be a number that float64 holds"
        with pytest.raises(LocalError, match=complaint):
            self.encode(value)

    def test_integers_that_float64_holds_are_cut_as_any_other(self) -> None:
        assert self.encode(2**1000).clipped_metrics == ("loss",)
        assert np.array_equal(self.encode(2**70).vector, self.encode(10.0).vector)

    @pytest.mark.parametrize("value", [1, np.int64(1), np.float32(1), np.float64(1)])
    def test_any_kind_of_number_will_do(self, value: Any) -> None:
        assert np.array_equal(self.encode(value).vector, self.encode(1.0).vector)

    @pytest.mark.parametrize("metrics", [{}, {"loss": 1.0}, {"loss": 1, "accuracy": 1, "f1": 1}, {1: 2}])
    def test_missing_and_extra_ones_are_named(self, metrics: Any) -> None:
        with pytest.raises(LocalError, match=r"metrics of client 'ana' .*must be exactly \['loss', 'acc"):
            self.plan().encode([np.zeros(2)], 1, metrics, SeededTape(b""), client="ana")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"clip": 0}, "clip is 0: must be a finite number above 0"),
        ({"clip": -1.0}, "clip is -1.0: must be a finite number above 0"),
        ({"clip": float("nan")}, "clip is nan: must be a finite number above 0"),
        ({"clip": float("inf")}, "clip is inf: must be a finite number above 0"),
        ({"clip": 5e-324}, r"clip is 5e-324: .* from 2\^-500 to 2\^500"),
        ({"clip": 1.7e308}, r"clip is 1.7e\+308: .* from 2\^-500 to 2\^500"),
        ({"clip": 10**400}, r"clip is 1000.*000: .* from 2\^-500 to 2\^500"),
        ({"clip": 2**500 + 1}, r"from 2\^-500 to 2\^500"),
        ({"clip": "1"}, "clip is '1': must be a finite number"),
        ({"clip": True}, "clip is True: must be a finite number"),
        ({"bits": 1}, "bits is 1: must be a whole number from 2 to 48"),
        ({"bits": 49}, "bits is 49: must be a whole number from 2 to 48"),
        ({"bits": 16.0}, "bits is 16.0: must be a whole number from 2 to 48"),
        ({"bits": True}, "bits is True: must be a whole number from 2 to 48"),
    ],
)
def test_impossible_encodings_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        FixedPoint(**changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"max_weight": 0}, r"max_weight is 0: must be a whole number from 1 to 2\^53"),
        ({"max_weight": 2**53 + 1}, r"must be a whole number from 1 to 2\^53"),
        ({"max_weight": 1.5}, r"max_weight is 1.5: must be a whole number"),
        ({"max_weight": True}, r"max_weight is True: must be a whole number"),
        ({"metrics": {"loss": 0}}, r"metrics\['loss'\] is 0: must be a finite number above 0"),
        ({"metrics": {"loss": float("inf")}}, r"metrics\['loss'\] is inf: must be a finite number"),
        ({"metrics": {"loss": 10**400}}, r"metrics\['loss'\] is 1000.*000: must be a finite number"),
        ({"metrics": {"loss": None}}, r"metrics\['loss'\] is None: must be a finite number"),
        ({"metrics": {"loss": "1"}}, r"metrics\['loss'\] is '1': must be a finite number"),
        ({"clients": 0}, "clients is 0: must be a whole number of at least 1"),
        ({"clients": 2.0}, r"clients is 2.0: must be a whole number of at least 1"),
        ({"clients": 2**17}, "bits is 48: the sum over 131072 clients would need 65 bits and could overflow"),
    ],
)
def test_impossible_plans_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint):
        FixedPoint(bits=48).plan([3], **{"clients": 2, **changes})


@pytest.mark.parametrize("sizes", [[], [0], [0, 0], [-1, 5]])
def test_there_must_be_something_to_encode(sizes: list[int]) -> None:
    with pytest.raises(LocalError, match=r"update is .*: must have at least one coordinate"):
        FixedPoint().plan(sizes, clients=2)


@pytest.mark.parametrize("clients", [2, 3, 2**10, 2**15])
def test_the_planner_lets_through_what_cannot_overflow(clients: int) -> None:
    """The largest width that it allows for so many clients, and one more bit, which it refuses."""
    widest = max(bits for bits in range(2, 49) if clients * (2 ** (bits - 1) - 1) < 2**62)
    FixedPoint(bits=widest).plan([1], clients=clients)
    if widest < 48:
        with pytest.raises(LocalError, match="could overflow"):
            FixedPoint(bits=widest + 1).plan([1], clients=clients)


@pytest.mark.parametrize("weight", [0, -1, 11, 1.0, True, "3", None, np.float64(2)])
def test_impossible_weights_are_refused(weight: Any) -> None:
    plan = FixedPoint().plan([1], clients=2, max_weight=10)
    bound = "must be a whole number from 1 to max_weight = 10"
    with pytest.raises(LocalError, match=f"weight of client 'ana' is .*: {bound}"):
        encode(plan, [np.zeros(1)], weight)


@pytest.mark.parametrize("digits", [0, -3])
def test_weights_that_do_not_add_up_give_no_mean(digits: int) -> None:
    plan = FixedPoint().plan([1], clients=2)
    with pytest.raises(AbortError, match="the weights of the survivors do not add up to a positive number"):
        plan.decode(np.array([5, digits]))


@pytest.mark.parametrize(
    "total",
    [
        np.ones(3, np.int64),
        np.ones(5, np.int64),
        np.ones((4, 1), np.int64),
        np.ones((1, 4), np.int64),
        np.ones(4, np.int32),
        np.ones(4, np.uint64),
        np.ones(4, ">i8"),
        np.ones(4),
        np.int64(4),
        [1, 1, 1, 1],
        None,
    ],
    ids=lambda total: f"{type(total).__name__} {getattr(total, 'dtype', '')}{getattr(total, 'shape', '')}",
)
def test_sums_that_are_not_of_this_plan_are_refused(total: Any) -> None:
    plan = FixedPoint().plan([3], clients=2)
    with pytest.raises(LocalError, match=r"total is '.*': must be int64 of shape \(4,\)"):
        plan.decode(total)
