"""One lie each: what a cheat puts into its report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpc import field as field64
from mpc.flp.contribution import Contribution
from mpc.flp.fields import Vector
from mpc.flp.pine_circuits import Parameters, encode_projections
from tests.mpc.flp.cheater import Attempt, P, Setting, all_flagged, honest
from tests.mpc.flp.contribution_oracle import inner


def stretched(vendor: Contribution, attempt: Attempt, rng: np.random.Generator) -> Attempt:
    """Integers that do not fit: cut to their bits, or, every other time, whole in place of one bit."""
    if rng.integers(2):
        places = zip(vendor.plan.places, vendor.plan.widths, attempt.integers, strict=True)
        for index, (place, width, value) in enumerate(places):
            if width and not 0 <= value < 1 << width:
                attempt.integers[index] = 0
                attempt.elements[place] = value
    attempt.mended = bool(rng.integers(2))
    return attempt


def one_heavy_flag(norm: Parameters, results: Vector) -> Vector:
    """Flags are true, but for one that counts for all that are missing."""
    inside = np.abs(field64.decode(results)) < norm.wr_bound
    section = all_flagged(norm, results).reshape(len(results), -1)
    section[:, -1] = inside
    if inside.any():
        section[int(np.argmax(inside)), -1] = np.uint64(norm.num_wr_successes - int(inside.sum()) + 1)
    return section.reshape(-1)


def too_few_flags(norm: Parameters, results: Vector) -> Vector:
    """Flags are true, and fewer than there have to be."""
    section = one_heavy_flag(norm, results).reshape(len(results), -1)
    section[:, -1] = section[:, -1] != 0
    return section.reshape(-1)


Strategy = Callable[[Setting, Contribution, np.random.Generator], Attempt]


def norm_over_by_one(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """‖x‖² = B² + 1; or one coordinate of B + 1."""
    vector = [*[0] * given.front, *given.honest[given.front :]]
    first, second = (int(i) for i in rng.permutation(given.front)[:2])
    bound = given.claims.bound or 0
    longer = int(rng.integers(2))
    vector[first] = int(rng.choice([-1, 1])) * (bound + longer)
    vector[second] = 0 if longer else int(rng.choice([-1, 1]))
    attempt = honest(given, vendor, vector)
    if rng.integers(2):
        attempt.integers[:2] = [bound**2, 0]
    return stretched(vendor, attempt, rng)


def norm_wrapped(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """Long vectors whose squares add up to a short one's modulo p: 2^96 = −1 there."""
    attempt = honest(given, vendor, given.honest)
    front = attempt.vector[: given.front]
    huge = int(rng.integers(given.front))
    if rng.integers(2):  # one huge entry, which half of the projections do not see
        front = [0] * given.front
        front[huge], front[huge - 1] = 2**48, 1
    else:  # all of them are: pairs (a, 2^48 · a) that cancel out
        for index in range(0, given.front - 1, 2):
            front[index] = int(rng.integers(2**63))
            front[index + 1] = (front[index] << 48) % P
        front[-1] = 1 if given.front % 2 else front[-1]
    norm = inner(front, front) % P
    assert norm <= (given.claims.bound or 0) ** 2
    assert sum(min(x, P - x) ** 2 for x in front) > norm
    attempt.vector[: given.front] = front
    attempt.integers[:2] = [norm, (given.claims.bound or 0) ** 2 - norm]
    attempt.flags = [all_flagged, one_heavy_flag, too_few_flags][int(rng.integers(3))]
    attempt.mended = bool(rng.integers(2))
    return attempt


def flags_forged(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """The vector is as claimed, and a projection's flag, or its bits, are not."""
    attempt = honest(given, vendor, given.honest)
    place, kind = int(rng.integers(100)), int(rng.integers(3))

    def forge(norm: Parameters, results: Vector) -> Vector:
        section = encode_projections(norm, field64.decode(results)).reshape(len(results), -1)
        if kind == 0:  # one counts twice, another not at all
            section[place, -1], section[place - 1, -1] = 2, 0
        elif kind == 1:  # fewer than all
            section[place, -1] = 0
        else:  # bits of another result
            section[place, int(rng.integers(norm.wr_bits))] ^= np.uint64(1)
        return section.reshape(-1)

    attempt.flags = forge
    attempt.mended = bool(rng.integers(2))
    return attempt


def bit_wrong(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """One bit of any integer the other way."""
    attempt = honest(given, vendor, given.honest)
    at = int(rng.integers(vendor.plan.claims.length, vendor.plan.prefix_len))
    widths = zip(vendor.plan.places, vendor.plan.widths, strict=True)
    index = max(i for i, (place, width) in enumerate(widths) if place <= at and width)
    attempt.integers[index] ^= 1 << at - vendor.plan.places[index]
    attempt.mended = bool(rng.integers(2))
    return attempt


def no_bit(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """Two neighbouring places hold no bits, though they stand for the right integer."""
    attempt = honest(given, vendor, given.honest)
    wide = [i for i, width in enumerate(vendor.plan.widths) if width > 1]
    index = int(rng.choice(wide))
    power = int(rng.integers(vendor.plan.widths[index] - 1))
    bits = [attempt.integers[index] >> power + i & 1 for i in range(2)]
    place = vendor.plan.places[index] + power
    attempt.elements = {place: bits[0] - 2, place + 1: bits[1] + 1}
    attempt.mended = bool(rng.integers(2))
    return attempt


def _with_tail(
    given: Setting, vendor: Contribution, rng: np.random.Generator, place: int, *values: int
) -> Attempt:
    vector = list(given.honest)
    start = given.front + place
    vector[start : start + len(values)] = values
    return stretched(vendor, honest(given, vendor, vector), rng)


def weight_zero(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    return _with_tail(given, vendor, rng, 0, 0, 0)


def weight_above(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """W + 1, in digits that are in range if there are any."""
    weight = given.max_weight + 1
    low = weight & (1 << given.digit_bits) - 1
    return _with_tail(given, vendor, rng, 0, low, weight >> given.digit_bits)


def digit_beyond(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """The weight is in range, and its digits are not."""
    base = 1 << given.digit_bits
    digits = [(base, 0), (-1, 1), (base - 1 + base, 0), (2 * base, -1)][int(rng.integers(4))]
    return _with_tail(given, vendor, rng, 0, *digits)


def metric_beyond(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """By one, or by all that there is."""
    far = [given.metric + 1, -given.metric - 1, 2**61, -(2**61)][int(rng.integers(4))]
    return _with_tail(given, vendor, rng, 2 + int(rng.integers(2)), far)


def direction_reversed(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """−x; the bits of the inner product say −s, s, or p − s."""
    vector = [*(-x for x in given.honest[: given.front]), *given.honest[given.front :]]
    attempt = honest(given, vendor, vector)
    if rng.integers(2):
        start = len(vendor.plan.widths) - 6
        attempt.integers[start:] = vendor.plan.integers(np.array(given.honest, np.int64))[start:]
    return stretched(vendor, attempt, rng)


def _missing(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """A vector whose cosine is too small, by as little as can be, with the integers that go with it."""
    alignment = given.claims.alignment
    assert alignment is not None
    front = np.array(given.honest[: given.front])
    away = np.rint(rng.normal(size=given.front) * np.linalg.norm(front) / given.front**0.5)
    if alignment.inner(away.astype(np.int64)) > 0:
        away = -away
    missing, low, high = -front, 0.0, 1.0
    for _ in range(40):
        share = (low + high) / 2
        mixed = np.trunc(((1 - share) * front + share * away) * 0.5).astype(np.int64)
        scaled = alignment.inner(mixed) << alignment.shift
        passes = scaled >= 0 and scaled**2 >= alignment.threshold * int(np.dot(mixed, mixed))
        low, high = (share, high) if passes else (low, share)
        if not passes:
            missing = mixed
    return honest(given, vendor, [*missing.tolist(), *given.honest[given.front :]])


def direction_missed(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """A cosine too small; what is missing wraps around, or is left out."""
    attempt = _missing(given, vendor, rng)
    if rng.integers(2):
        attempt.integers[-3] = 0  # the top limb of what is left over
    return stretched(vendor, attempt, rng)


def carries_forged(given: Setting, vendor: Contribution, rng: np.random.Generator) -> Attempt:
    """What is missing in the top limb is borrowed from the limb below, or from the lowest, or there."""
    attempt = _missing(given, vendor, rng)
    *_, lowest, _, top, first, second = range(len(attempt.integers))
    missing, attempt.integers[top] = -attempt.integers[top], 0
    attempt.integers[second] += missing
    depth = int(rng.integers(3))
    if depth > 0:
        attempt.integers[first] += missing << 30
    if depth > 1:
        attempt.integers[lowest] -= missing << 60
    return stretched(vendor, attempt, rng)


PLAIN: dict[str, Strategy] = {
    one.__name__: one
    for one in (
        norm_over_by_one,
        norm_wrapped,
        flags_forged,
        bit_wrong,
        no_bit,
        weight_zero,
        weight_above,
        digit_beyond,
        metric_beyond,
    )
}
ALIGNED: dict[str, Strategy] = {
    one.__name__: one for one in (bit_wrong, no_bit, direction_reversed, direction_missed, carries_forged)
}
