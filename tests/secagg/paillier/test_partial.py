"""Opening with t of m shares: every t of them agree with the textbook, and every lie is named."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.errors import DecodeError, LocalError
from mpc.tape import SeededTape
from secagg.paillier.batch import batch_digest, coefficients, product_of_powers
from secagg.paillier.partial import PartialOpening, WrongRoots, answer, open_sums, response_bits, verify
from secagg.paillier.safeprimes import safe_prime
from secagg.paillier.sharedkey import KeyShare, SharedKey, deal

BITS = 256
WIDTH = BITS // 8
SHARED, SHARES = deal(5, 3, tape=SeededTape(b"dealer"), insecure_bits=BITS)
N, N2 = SHARED.public.n, SHARED.public.n2
P = safe_prime(BITS // 2, SeededTape(b"dealer"))  # the dealer's first draw
Q = N // P
# The square roots of 1 modulo n that differ from ±1: 1 modulo p, −1 modulo q.
INVOLUTION = (1 + P * (-2 * gmpy2.invert(P, Q))) % N
PLAINTEXTS = [mpz(m) for m in (0, 1, 2**200 + 5, N - 1)]
CIPHERTEXTS = SHARED.public.encrypt_many(PLAINTEXTS, SeededTape(b"randomness"))
REMAINDERS = [c % N for c in CIPHERTEXTS]
CONTEXT = b"cohort, round 7, clients"
OPENINGS = {share.index: answer(share, REMAINDERS, CONTEXT, SeededTape(b"masks")) for share in SHARES}

Lie = Callable[[PartialOpening], PartialOpening]


class Liar(KeyShare):
    """A key holder that proves, as the protocol says, roots that are not its share's."""

    __slots__ = ("factors",)

    def __init__(self, share: KeyShare, factors: Sequence[mpz]) -> None:
        secret = mpz.from_bytes(share.export_secret()[-WIDTH:], "little")
        super().__init__(share.shared, share.index, secret)
        self.factors = factors

    def powers(self, bases: Sequence[mpz]) -> list[mpz]:
        powers = super().powers(bases)
        if len(bases) != len(self.factors):  # the proof's base
            return powers
        return [power * factor % N for power, factor in zip(powers, self.factors, strict=True)]


def factors_at(place: int, factor: mpz) -> list[mpz]:
    return [factor if place == at else mpz(1) for at in range(len(REMAINDERS))]


def textbook(ciphertext: mpz) -> mpz:
    """Paillier 1999: L(c^λ) / λ modulo n, for g = n + 1."""
    order = gmpy2.lcm(P - 1, Q - 1)
    return (gmpy2.powmod(ciphertext, order, N2) - 1) // N * gmpy2.invert(order, N) % N


def of(indices: Sequence[int]) -> dict[int, PartialOpening]:
    return {index: OPENINGS[index] for index in indices}


# Opening


@pytest.mark.parametrize("count", [3, 4, 5])
def test_every_set_of_t_or_more_opens_what_the_textbook_opens(count: int) -> None:
    assert [textbook(c) for c in CIPHERTEXTS] == PLAINTEXTS
    for chosen in itertools.combinations(range(1, 6), count):
        assert open_sums(SHARED, CIPHERTEXTS, of(chosen), CONTEXT) == PLAINTEXTS


@pytest.mark.parametrize("chosen", [(), (2,), (1, 5)])
def test_fewer_than_t_are_refused(chosen: tuple[int, ...]) -> None:
    with pytest.raises(LocalError, match="3 key holders have to answer"):
        open_sums(SHARED, CIPHERTEXTS, of(chosen), CONTEXT)


def test_fewer_than_t_do_not_combine_to_the_root() -> None:
    """Not even where the refusal is got around: the combination of two is another number."""
    lax = dataclasses.replace(SHARED)
    object.__setattr__(lax, "threshold", 2)
    with pytest.raises(WrongRoots):
        open_sums(lax, CIPHERTEXTS, of((1, 2)), CONTEXT)


@settings(derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), holders=st.integers(2, 16))
def test_keys_of_all_sizes_open_sums(data: st.DataObject, holders: int) -> None:
    threshold = data.draw(st.integers(max(2, holders // 2 + 1), holders))
    seed = data.draw(st.binary(max_size=4))
    shared, shares = deal(holders, threshold, tape=SeededTape(seed), insecure_bits=96)
    public = shared.public
    plaintexts = data.draw(st.lists(st.integers(0, int(public.n) - 1), min_size=1, max_size=3))
    left = public.encrypt_many(list(map(mpz, plaintexts)), SeededTape(b"left"))
    right = public.encrypt_many(list(map(mpz, reversed(plaintexts))), SeededTape(b"right"))
    sums = public.add_many(left, right)
    chosen = data.draw(st.permutations(shares))[:threshold]
    remainders = [c % public.n for c in sums]
    openings = {one.index: answer(one, remainders, b"", SeededTape(b"mask")) for one in chosen}
    opened = open_sums(shared, sums, openings, b"")
    assert opened == [(a + b) % public.n for a, b in zip(plaintexts, reversed(plaintexts), strict=True)]
    for index, opening in openings.items():
        verify(shared, index, remainders, opening, b"")


def test_a_larger_key_opens_sums_and_names_liars() -> None:
    """Of a size for which powers may go eight at a time."""
    shared, shares = deal(3, 2, tape=SeededTape(b"large"), insecure_bits=1024)
    public = shared.public
    plaintexts = [mpz(m) for m in range(9)]
    ciphertexts = public.encrypt_many(plaintexts, SeededTape(b"randomness"))
    remainders = [c % public.n for c in ciphertexts]
    openings = {one.index: answer(one, remainders, CONTEXT, SeededTape(b"masks")) for one in shares}
    assert open_sums(shared, ciphertexts, openings, CONTEXT) == plaintexts
    openings[2] = WRONG_ROOTS["another ciphertext's"](openings[2])
    with pytest.raises(WrongRoots) as caught:
        open_sums(shared, ciphertexts, openings, CONTEXT)
    assert caught.value.liars == (2,)


def test_no_ciphertexts_open_to_nothing() -> None:
    openings = {share.index: answer(share, [], CONTEXT, SeededTape(b"masks")) for share in SHARES}
    verify(SHARED, 1, [], openings[1], CONTEXT)
    assert open_sums(SHARED, [], openings, CONTEXT) == []


# Lies


def with_roots(change: Callable[[list[mpz]], Sequence[mpz]]) -> Lie:
    return lambda opening: dataclasses.replace(opening, roots=tuple(change(list(opening.roots))))


WRONG_ROOTS: dict[str, Lie] = {
    "a factor": with_roots(lambda x: [x[0] * 4 % N, *x[1:]]),
    "a factor in the last": with_roots(lambda x: [*x[:-1], x[-1] * 4 % N]),
    "another ciphertext's": with_roots(lambda x: [x[1], x[0], *x[2:]]),
    "an inverse": with_roots(lambda x: [gmpy2.invert(x[0], N), *x[1:]]),
    "one": with_roots(lambda x: [mpz(1)] * len(x)),
    "zero": with_roots(lambda x: [mpz(0), *x[1:]]),
    "too large": with_roots(lambda x: [x[0] + N, *x[1:]]),
    "negative": with_roots(lambda x: [-x[0], *x[1:]]),
    "no unit": with_roots(lambda x: [P, *x[1:]]),
    "too few": with_roots(lambda x: x[1:]),
    "too many": with_roots(lambda x: [*x, mpz(1)]),
}


@pytest.mark.parametrize("name", WRONG_ROOTS)
@pytest.mark.parametrize("liars", [(1,), (3,), (1, 3)])
def test_whoever_gives_wrong_roots_is_named_and_the_others_open(name: str, liars: tuple[int, ...]) -> None:
    lied = {i: WRONG_ROOTS[name](o) if i in liars else o for i, o in OPENINGS.items()}
    with pytest.raises(
        WrongRoots, match=rf"those of key holders \[{', '.join(map(str, liars))}\]$"
    ) as caught:
        open_sums(SHARED, CIPHERTEXTS, lied, CONTEXT)
    assert caught.value.liars == liars
    honest = {index: opening for index, opening in lied.items() if index not in liars}
    assert open_sums(SHARED, CIPHERTEXTS, honest, CONTEXT) == PLAINTEXTS


def test_all_who_lie_are_named_not_only_those_that_were_used() -> None:
    lie = WRONG_ROOTS["a factor"]
    lied = {i: lie(o) if i in (2, 5) else o for i, o in OPENINGS.items()}
    with pytest.raises(WrongRoots) as caught:
        open_sums(SHARED, CIPHERTEXTS, lied, CONTEXT)
    assert caught.value.liars == (2, 5)


def test_lies_that_cancel_out_are_none_to_the_sum() -> None:
    """Of holders 1, 2 and 3 the first two have opposite coefficients."""
    lie = WRONG_ROOTS["a factor"]
    lied = {i: lie(o) if i in (1, 2) else o for i, o in OPENINGS.items()}
    assert open_sums(SHARED, CIPHERTEXTS, lied, CONTEXT) == PLAINTEXTS
    del lied[3]
    with pytest.raises(WrongRoots) as caught:
        open_sums(SHARED, CIPHERTEXTS, lied, CONTEXT)
    assert caught.value.liars == (1, 2)


@pytest.mark.parametrize("place", range(4))
def test_an_honest_proof_of_a_wrong_root_does_not_hold(place: int) -> None:
    liar = Liar(SHARES[0], factors_at(place, mpz(4)))
    lie = answer(liar, REMAINDERS, CONTEXT, SeededTape(b"masks"))
    with pytest.raises(DecodeError, match=r"^the proof of key holder 1 does not hold"):
        verify(SHARED, 1, REMAINDERS, lie, CONTEXT)
    with pytest.raises(WrongRoots) as caught:
        open_sums(SHARED, CIPHERTEXTS, OPENINGS | {1: lie}, CONTEXT)
    assert caught.value.liars == (1,)


def test_lies_that_cancel_under_the_old_coefficients_meet_new_ones() -> None:
    roots = OPENINGS[1].roots
    statement = SHARED.fingerprint() + b"\1" + CONTEXT
    e = coefficients(batch_digest(statement, [REMAINDERS, roots], WIDTH), 4)
    factors = [gmpy2.powmod(4, e[1], N), gmpy2.powmod(4, -e[0], N), mpz(1), mpz(1)]
    lied = [x * factor % N for x, factor in zip(roots, factors, strict=True)]
    assert product_of_powers(lied, e, N) == product_of_powers(roots, e, N)
    replayed = dataclasses.replace(OPENINGS[1], roots=tuple(lied))
    proved = answer(Liar(SHARES[0], factors), REMAINDERS, CONTEXT, SeededTape(b"masks"))
    for lie in (replayed, proved):
        assert list(lie.roots) == lied
        with pytest.raises(DecodeError, match="does not hold"):
            verify(SHARED, 1, REMAINDERS, lie, CONTEXT)


@pytest.mark.parametrize("root_of_one", [N - 1, INVOLUTION, N - INVOLUTION])
def test_a_factor_of_small_order_is_no_lie(root_of_one: mpz) -> None:
    """The square counts: such an answer opens the same sums, and its proof holds."""
    assert root_of_one != 1
    assert root_of_one**2 % N == 1
    odd = answer(Liar(SHARES[0], factors_at(1, root_of_one)), REMAINDERS, CONTEXT, SeededTape(b"masks"))
    assert odd.roots != OPENINGS[1].roots
    verify(SHARED, 1, REMAINDERS, odd, CONTEXT)
    assert open_sums(SHARED, CIPHERTEXTS, OPENINGS | {1: odd}, CONTEXT) == PLAINTEXTS
    # The proof is of the roots as sent, all the same.
    with pytest.raises(DecodeError, match="does not hold"):
        verify(SHARED, 1, REMAINDERS, dataclasses.replace(OPENINGS[1], roots=odd.roots), CONTEXT)


WRONG_PROOFS: dict[str, Lie] = {
    "another response": lambda o: dataclasses.replace(o, response=o.response + 1),
    "response 0": lambda o: dataclasses.replace(o, response=mpz(0)),
    "another challenge": lambda o: dataclasses.replace(
        o, challenge=bytes([o.challenge[0] ^ 1]) + o.challenge[1:]
    ),
    "no challenge": lambda o: dataclasses.replace(o, challenge=bytes(16)),
    "short challenge": lambda o: dataclasses.replace(o, challenge=o.challenge[:-1]),
    "long challenge": lambda o: dataclasses.replace(o, challenge=o.challenge + b"\0"),
    "negative response": lambda o: dataclasses.replace(o, response=-o.response),
    "another's proof": lambda o: dataclasses.replace(OPENINGS[2], roots=o.roots),
    "another's answer": lambda o: OPENINGS[2],
}


@pytest.mark.parametrize("name", [*WRONG_ROOTS, *WRONG_PROOFS])
def test_proofs_are_checked_strictly(name: str) -> None:
    verify(SHARED, 1, REMAINDERS, OPENINGS[1], CONTEXT)
    lie = (WRONG_ROOTS | WRONG_PROOFS)[name](OPENINGS[1])
    with pytest.raises(DecodeError):
        verify(SHARED, 1, REMAINDERS, lie, CONTEXT)


def test_a_response_beyond_the_range_is_refused_though_its_powers_are_right() -> None:
    order = (P // 2) * (Q // 2)
    last = ((1 << response_bits(SHARED)) - 1 - OPENINGS[1].response) // order
    within = dataclasses.replace(OPENINGS[1], response=OPENINGS[1].response + last * order)
    verify(SHARED, 1, REMAINDERS, within, CONTEXT)  # only who knows the order can do this
    beyond = dataclasses.replace(within, response=within.response + order)
    with pytest.raises(DecodeError, match="out of range"):
        verify(SHARED, 1, REMAINDERS, beyond, CONTEXT)


def test_right_roots_open_whatever_their_proofs() -> None:
    lied = {i: WRONG_PROOFS["another response"](o) for i, o in OPENINGS.items()}
    assert open_sums(SHARED, CIPHERTEXTS, lied, CONTEXT) == PLAINTEXTS


def test_a_proof_is_for_one_statement() -> None:
    twin = dataclasses.replace(SHARED)
    other_key, _ = deal(5, 3, tape=SeededTape(b"another"), insecure_bits=BITS)
    object.__setattr__(twin, "threshold", 4)  # the same numbers, another fingerprint
    statements: list[tuple[SharedKey, int, list[mpz], bytes]] = [
        (SHARED, 1, REMAINDERS, b"cohort, round 8, clients"),
        (SHARED, 1, REMAINDERS, b""),
        (SHARED, 2, REMAINDERS, CONTEXT),
        (SHARED, 1, REMAINDERS[::-1], CONTEXT),
        (SHARED, 1, [u * 4 % N for u in REMAINDERS], CONTEXT),
        (SHARED, 1, REMAINDERS[:3], CONTEXT),
        (twin, 1, REMAINDERS, CONTEXT),
        (other_key, 1, [u % other_key.public.n for u in REMAINDERS], CONTEXT),
    ]
    for shared, index, remainders, context in statements:
        with pytest.raises(DecodeError):
            verify(shared, index, remainders, OPENINGS[1], context)


# Arguments, masks, bytes


@pytest.mark.parametrize("index", [0, 6, -1])
def test_nobody_else_is_a_key_holder(index: int) -> None:
    with pytest.raises(LocalError, match=f"^index is {index}: must be from 1 to 5"):
        verify(SHARED, index, REMAINDERS, OPENINGS[1], CONTEXT)
    with pytest.raises(LocalError, match=f"^index is {index}: must be from 1 to 5"):
        open_sums(SHARED, CIPHERTEXTS, OPENINGS | {index: OPENINGS[1]}, CONTEXT)


@pytest.mark.parametrize("remainder", [mpz(0), N, P])
def test_no_root_is_given_of_what_is_no_unit(remainder: mpz) -> None:
    with pytest.raises(DecodeError, match=r"^remainder 4"):
        answer(SHARES[0], [*REMAINDERS, remainder], CONTEXT, SeededTape(b"masks"))


def test_a_replayed_tape_gives_each_statement_a_mask_of_its_own() -> None:
    """Two responses under one mask would be two equations for the share."""
    secret = mpz.from_bytes(SHARES[0].export_secret()[-WIDTH:], "little")

    def mask(remainders: list[mpz], context: bytes) -> mpz:
        opening = answer(SHARES[0], remainders, context, SeededTape(b"masks"))
        return opening.response - int.from_bytes(opening.challenge, "little") * secret

    masks = [mask(REMAINDERS, CONTEXT), mask(REMAINDERS, b"other"), mask(REMAINDERS[:2], CONTEXT)]
    assert len(set(masks)) == 3
    assert all((BITS + 384 - 32) < one.bit_length() <= BITS + 384 for one in masks)
    assert answer(SHARES[0], REMAINDERS, CONTEXT, SeededTape(b"masks")) == OPENINGS[1]
    assert answer(SHARES[0], REMAINDERS, CONTEXT, SeededTape(b"others")).roots == OPENINGS[1].roots


@pytest.mark.parametrize("index", OPENINGS)
def test_answers_survive_their_encoding(index: int) -> None:
    data = OPENINGS[index].encode(SHARED)
    assert len(data) == PartialOpening.size(BITS, 4) == 4 * WIDTH + 16 + WIDTH + 56
    assert PartialOpening.decode(data, SHARED, 4) == OPENINGS[index]
    assert repr(OPENINGS[index]) == "PartialOpening(4 roots)"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda d: d[:-1], "ends after"),
        (lambda d: d + b"\0", "1 bytes after the end"),
        (lambda d: bytes(WIDTH) + d[WIDTH:], r"root 0 is not in \(0, n\)"),
        (lambda d: d[:WIDTH] + N.to_bytes(WIDTH, "little") + d[2 * WIDTH :], r"root 1 is not in \(0, n\)"),
        (lambda d: P.to_bytes(WIDTH, "little") + d[WIDTH:], "root 0 has a factor in common"),
        (lambda d: d[:-1] + b"\1", "out of range"),
        (lambda d: d[:-8] + b"\2" + bytes(7), "out of range"),
    ],
)
def test_what_is_no_answer_does_not_decode(change: Callable[[bytes], bytes], fault: str) -> None:
    with pytest.raises(DecodeError, match=fault):
        PartialOpening.decode(change(OPENINGS[1].encode(SHARED)), SHARED, 4)


def test_the_number_of_roots_is_known_to_the_decoder() -> None:
    for count in (3, 5):
        with pytest.raises(DecodeError):
            PartialOpening.decode(OPENINGS[1].encode(SHARED), SHARED, count)
