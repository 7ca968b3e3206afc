"""FixedPoint and its planner: real vectors to integers whose sum cannot overflow (spec section 10).

A client's vector is its flattened update, then its weight, then its metrics. With weight w of at most W
and step = clip / (2^(bits-1) - 1), a coordinate x becomes round((w / W) · x / step), rounded up or down at
random so that the expectation is exact (Gupta et al. 2015, arXiv 1502.02551, section 3). The weight is
exact, cut into digits of bits - 1 bits, so that it never widens the modulus. The weighted mean is
W · step · Σ round(...) / Σ w, off by less than step · n · W / Σ w in each coordinate, and by what float64
loses on the way: see ``Plan.error_bound``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.errors import AbortError, LocalError
from mpc.prg import Keystream, Usage, derive_key
from mpc.tape import RandomTape
from secagg.cohort import MAX_BITS, MAX_SUM_BITS, MIN_BITS, sum_bits

MAX_WEIGHT = 2**53  # what float64 holds exactly
# Of clips and metric bounds: neither a step nor a mean leaves the normal range of float64.
MIN_BOUND, MAX_BOUND = 2.0**-500, 2.0**500
# Ten roundings of float64, of 2^-53 each at most, lie between a coordinate and its mean: one to float64,
# four to round(...)'s argument, five in ``decode``. The rest covers those of ``error_bound`` itself.
_FLOAT_LOSS = 16 * 2.0**-53


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """``clip``: coordinates beyond ±clip are cut to it, and counted; from 2^-500 to 2^500.

    ``bits``: of an encoded value, from 2 to 48.
    """

    clip: float = 1.0
    bits: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "clip", _check_bound("clip", self.clip))
        if (
            isinstance(self.bits, bool)
            or not isinstance(self.bits, int)
            or not MIN_BITS <= self.bits <= MAX_BITS
        ):
            raise LocalError("bits", self.bits, f"must be a whole number from {MIN_BITS} to {MAX_BITS}")

    @property
    def limit(self) -> int:
        """The largest encoded value."""
        return (1 << (self.bits - 1)) - 1

    @property
    def step(self) -> float:
        """What one unit of an encoded value is worth."""
        return self.clip / self.limit

    def plan(
        self,
        sizes: Sequence[int],
        *,
        clients: int,
        max_weight: int = 1,
        metrics: Mapping[str, float] | None = None,
    ) -> Plan:
        """The layout of a vector: ``sizes`` coordinates of each tensor, then weight, then ``metrics``.

        ``metrics``: name to bound, from 2^-500 to 2^500; a metric beyond ±bound is cut to it, and noted.
        Raises ``LocalError`` if a sum over ``clients`` vectors could overflow.
        """
        if (
            isinstance(max_weight, bool)
            or not isinstance(max_weight, int)
            or not 1 <= max_weight <= MAX_WEIGHT
        ):
            raise LocalError("max_weight", max_weight, "must be a whole number from 1 to 2^53")
        if isinstance(clients, bool) or not isinstance(clients, int) or clients < 1:
            raise LocalError("clients", clients, "must be a whole number of at least 1")
        if min(sizes, default=0) < 0 or sum(sizes) == 0:
            raise LocalError("update", list(sizes), "must have at least one coordinate")
        bounds = {name: _check_bound(f"metrics[{name!r}]", bound) for name, bound in (metrics or {}).items()}
        if (needed := sum_bits(self.bits, clients)) > MAX_SUM_BITS:
            raise LocalError(
                "bits",
                self.bits,
                f"the sum over {clients} clients would need {needed} bits and could overflow; "
                f"at most {MAX_SUM_BITS}",
            )
        return Plan(self, tuple(sizes), max_weight, bounds)


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """``vector``: the integers, shape (length,). ``clipped``: for each tensor, how many were cut."""

    vector: NDArray[np.signedinteger] = field(repr=False)
    clipped: tuple[int, ...]
    clipped_metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """``mean``: the weighted mean, float64, shape (sum(sizes),). ``weight``: Σ w.

    ``Plan.error_bound`` is about this mean. A cast to a narrower dtype, such as that of the inputs, costs
    another half a unit in the last place.
    """

    mean: NDArray[np.float64]
    weight: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything lies in a client's vector."""

    encoding: FixedPoint
    sizes: tuple[int, ...]
    max_weight: int
    metrics: Mapping[str, float]

    @property
    def coordinates(self) -> int:
        return sum(self.sizes)

    @property
    def weight_digits(self) -> int:
        return math.ceil(self.max_weight.bit_length() / self._digit_bits)

    @property
    def length(self) -> int:
        return self.coordinates + self.weight_digits + len(self.metrics)

    @property
    def _digit_bits(self) -> int:
        return self.encoding.bits - 1

    def encode(
        self,
        tensors: Sequence[NDArray[np.floating]],
        weight: int,
        metrics: Mapping[str, float],
        tape: RandomTape,
        *,
        client: str,
    ) -> Encoded:
        """One client's vector. ``client`` is its name, for errors; NaN and infinity are errors."""
        weight = self._check_weight(client, weight)
        values = self._check_metrics(client, metrics)
        # The kernel does not look at lengths: a tensor too long would be written beyond the vector's end.
        if (sizes := tuple(tensor.size for tensor in tensors)) != self.sizes:
            raise LocalError(f"sizes of the tensors of client {client!r}", sizes, f"must be {self.sizes}")
        bits = self.encoding.bits
        vector: NDArray[np.signedinteger] = np.empty(self.length, np.int32 if bits <= 32 else np.int64)
        draws = self._draws(tape)
        clipped, start = [], 0
        for number, tensor in enumerate(tensors):
            part = slice(start, start + tensor.size)
            where = f"update of client {client!r}, tensor {number}"
            clipped.append(self._round(tensor, self.encoding.clip, weight, draws[part], vector[part], where))
            start = part.stop
        digits = slice(start, start + self.weight_digits)
        vector[digits] = [
            weight >> (self._digit_bits * place) & self.encoding.limit for place in range(self.weight_digits)
        ]
        clipped_metrics = []
        for place, (name, bound) in enumerate(self.metrics.items(), digits.stop):
            part = slice(place, place + 1)
            where = f"metric {name!r} of client {client!r}"
            if self._round(np.array([values[name]]), bound, weight, draws[part], vector[part], where):
                clipped_metrics.append(name)
        return Encoded(vector, tuple(clipped), tuple(clipped_metrics))

    def decode(self, total: NDArray[np.int64]) -> Decoded:
        """The weighted mean, the weight and the metrics out of a sum, int64, shape (length,).

        ``LocalError`` for another shape or dtype, ``AbortError`` if the weights do not sum to 1 or more.
        """
        if not isinstance(total, np.ndarray) or total.dtype != np.int64 or total.shape != (self.length,):
            array = isinstance(total, np.ndarray | np.generic)
            found = f"{total.dtype} of shape {total.shape}" if array else type(total).__name__
            raise LocalError("total", found, f"must be int64 of shape {(self.length,)}")
        start = self.coordinates
        digits = total[start : start + self.weight_digits]
        weight = sum(int(digit) << (self._digit_bits * place) for place, digit in enumerate(digits))
        if weight < 1:
            raise AbortError(
                "the weights of the survivors do not add up to a positive number", {"sum": weight}
            )
        unit = self.max_weight / weight
        values = total[start + self.weight_digits :]
        steps = [bound / self.encoding.limit for bound in self.metrics.values()]
        means = {
            name: float(unit * step * int(value))
            for name, step, value in zip(self.metrics, steps, values, strict=True)
        }
        mean = total[:start].astype(np.float64) * (unit * self.encoding.step)
        return Decoded(mean, weight, means)

    def error_bound(self, clients: int, weight: int) -> float:
        """No coordinate of ``decode``'s mean is further than this from the exact one, clipping aside.

        ``clients``: how many are in the sum, n. ``weight``: theirs together, Σ w. It is
        step · n · W / Σ w for the rounding, plus 2^-49 of that and of the clip for float64, which counts
        from about 40 bits on. The mean is float64: a cast to the inputs' dtype, as in
        ``AggregateResult.mean``, adds half a unit in the last place of that dtype. ``LocalError`` for a
        number below 1.
        """
        for argument, count in (("clients", clients), ("weight", weight)):
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
                raise LocalError(argument, count, "must be a whole number of at least 1")
        rounding = self.encoding.step * int(clients) * self.max_weight / int(weight)
        return rounding + _FLOAT_LOSS * (rounding + self.encoding.clip)

    def _check_weight(self, client: str, weight: int) -> int:
        whole = isinstance(weight, int | np.integer) and not isinstance(weight, bool)
        if not whole or not 1 <= weight <= self.max_weight:
            bound = f"must be a whole number from 1 to max_weight = {self.max_weight}"
            raise LocalError(f"weight of client {client!r}", weight, bound)
        return int(weight)  # NumPy's narrow integers overflow in the arithmetic that follows

    def _check_metrics(self, client: str, metrics: Mapping[str, float]) -> dict[str, float]:
        if metrics.keys() != self.metrics.keys():
            raise LocalError(
                f"metrics of client {client!r}", list(metrics), f"must be exactly {list(self.metrics)}"
            )
        values = {}
        for name, value in metrics.items():
            where = f"metric {name!r} of client {client!r}"
            if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
                raise LocalError(where, type(value).__name__, "must be a real number")
            try:
                values[name] = float(value)
            except OverflowError:
                raise LocalError(where, "out of range", "must be a number that float64 holds") from None
        return values

    def _draws(self, tape: RandomTape) -> NDArray[np.uint32]:
        """32 random bits for each coordinate."""
        key = derive_key(tape.read(32), Usage.ROUNDING, b"")
        return np.frombuffer(Keystream(key).read(4 * self.length), "<u4")

    def _round(
        self,
        values: NDArray[np.floating],
        bound: float,
        weight: int,
        draws: NDArray[np.uint32],
        out: NDArray[np.signedinteger],
        where: str,
    ) -> int:
        from secagg.kernels.rounding import round_stochastic

        with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is refused
            flat = np.ascontiguousarray(values, np.float64).reshape(-1)
        limit = self.encoding.limit
        count = int(
            round_stochastic(flat, bound, weight / self.max_weight * limit / bound, limit, draws, out)
        )
        if count < 0:
            place = -1 - count
            raise LocalError(where, float(flat[place]), f"coordinate {place} must be a finite number")
        return count


def _check_bound(argument: str, value: float) -> float:
    """The bound as a float: the kernel takes no larger integer than int64's."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not MIN_BOUND <= value <= MAX_BOUND:
        raise LocalError(argument, value, "must be a finite number above 0, from 2^-500 to 2^500")
    return float(value)
