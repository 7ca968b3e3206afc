"""Fully linear proofs the slow way: Python integers, one gadget call after another, every polynomial through
its points by Lagrange's formula. It shares no code with the toolkit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

P64 = 2**64 - 2**32 + 1
P128 = 2**66 * 4611686018427387897 + 1
_ODD_PART = {P64: 4294967295, P128: 4611686018427387897}
_LOG = {P64: 32, P128: 66}

Call = Callable[[list[int]], int]
Circuit = Callable[[list[int], list[int], int, Call], list[int]]


def roots(p: int, size: int) -> list[int]:
    """The powers of the root of unity of this order that both drafts use."""
    omega = pow(7, _ODD_PART[p] * (2 ** _LOG[p] // size), p)
    return [pow(omega, k, p) for k in range(size)]


def through(xs: Sequence[int], ys: Sequence[int], x: int, p: int) -> int:
    """The value at x of the polynomial of lowest degree through these points."""
    total = 0
    for i, (xi, yi) in enumerate(zip(xs, ys, strict=True)):
        numerator = math.prod(x - xj for j, xj in enumerate(xs) if j != i) % p
        denominator = math.prod(xi - xj for j, xj in enumerate(xs) if j != i) % p
        total += yi * numerator * pow(denominator, -1, p)
    return total % p


def dft(values: Sequence[int], p: int, shift: int = 1) -> list[int]:
    """Σ_i values_i · (shift · ω^k)^i for each k."""
    return [sum(v * pow(shift * x, i, p) for i, v in enumerate(values)) % p for x in roots(p, len(values))]


@dataclass
class Slow:
    """One circuit with one gadget: what a proof and a query of it are."""

    p: int
    circuit: Circuit
    gadget: Callable[[list[int]], int]
    arity: int
    degree: int
    calls: int
    outputs: int

    @property
    def wire_length(self) -> int:
        return 2 ** (self.calls).bit_length()

    @property
    def length(self) -> int:
        return self.degree * (self.wire_length - 1) + 1

    @property
    def nodes(self) -> list[int]:
        """Where a proof has the values of the gadget polynomial."""
        return roots(self.p, 2 ** (self.length - 1).bit_length())[: self.length]

    def wires(
        self, seeds: list[int], run: Callable[[Call], list[int]], answer: Callable[[list[int]], int]
    ) -> tuple[list[list[int]], list[int]]:
        """Every wire's values, from a run of the circuit; and the circuit's output."""
        rows = [list(seeds)]

        def call(inputs: list[int]) -> int:
            assert len(inputs) == self.arity
            rows.append([value % self.p for value in inputs])
            return answer(inputs)

        out = run(call)
        rows += [[0] * self.arity for _ in range(self.wire_length - len(rows))]
        return [list(column) for column in zip(*rows, strict=True)], [value % self.p for value in out]

    def prove(self, meas: list[int], prove_rand: list[int], joint_rand: list[int]) -> list[int]:

        def run(call: Call) -> list[int]:
            return self.circuit(meas, joint_rand, 1, call)

        wires, _ = self.wires(prove_rand, run, lambda inputs: self.gadget(inputs) % self.p)
        alphas = roots(self.p, self.wire_length)
        values = [
            self.gadget([through(alphas, wire, x, self.p) for wire in wires]) % self.p for x in self.nodes
        ]
        return prove_rand + values

    def query(
        self, meas: list[int], proof: list[int], query_rand: list[int], joint_rand: list[int], shares: int
    ) -> list[int]:
        seeds, values = proof[: self.arity], proof[self.arity :]
        alphas = roots(self.p, self.wire_length)
        calls = iter(alphas[1:])
        wires, out = self.wires(
            seeds,
            lambda call: self.circuit(meas, joint_rand, shares, call),
            lambda _: through(self.nodes, values, next(calls), self.p),
        )
        if self.outputs > 1:
            rand, query_rand = query_rand[: self.outputs], query_rand[self.outputs :]
            out = [sum(r * v for r, v in zip(rand, out, strict=True)) % self.p]
        at = [through(alphas, wire, query_rand[0], self.p) for wire in wires]
        return [*out, *at, through(self.nodes, values, query_rand[0], self.p)]


def sum_of_products(inputs: list[int]) -> int:
    return sum(x * y for x, y in zip(inputs[0::2], inputs[1::2], strict=True))


def bits_in_chunks(
    p: int, meas: list[int], joint_rand: list[int], shares: int, chunk: int, call: Call
) -> int:
    """Σ over chunks of the call on (r^(j+1) · b_j, b_j − 1 / shares), padded with b = 0."""
    total = 0
    for i, r in enumerate(joint_rand):
        inputs = []
        for j in range(chunk):
            bit = meas[i * chunk + j] if i * chunk + j < len(meas) else 0
            inputs += [pow(r, j + 1, p) * bit, bit - pow(shares, -1, p)]
        total += call(inputs)
    return total


def number(bits: Sequence[int], maximum: int) -> int:
    """What range-checked bits count: powers of two, and the rest of ``maximum``."""
    top = len(bits) - 1
    return sum(bit << i for i, bit in enumerate(bits[:-1])) + (maximum - 2**top + 1) * bits[-1]


def binary(bits: Sequence[int]) -> int:
    return sum(bit << i for i, bit in enumerate(bits))


def in_calls(values: list[int], arity: int, call: Call) -> int:
    """The sum of calls on the values, the last call's padded with zeros."""
    padded = values + [0] * (-len(values) % arity)
    return sum(call(padded[i : i + arity]) for i in range(0, len(padded), arity))
