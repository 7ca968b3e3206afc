"""What it takes to open a sum: whose answers, how many of them, and how they are put together.

One key holder has the whole key (spec section 14.4), or any t of m have shares of it (section 14.5).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from gmpy2 import mpz

from mpc.errors import DecodeError
from mpc.party import PartyId
from mpc.snapshot import Kind, record
from mpc.wire import Writer
from secagg.cohort import Cohort
from secagg.paillier import partial, rootproof
from secagg.paillier.messages import Lifts, key_holder_ids
from secagg.paillier.partial import PartialOpening
from secagg.paillier.public import PublicKey
from secagg.paillier.sharedkey import SharedKey

A = TypeVar("A")  # a decoded answer


class WrongAnswers(Exception):
    """Some key holders' answers do not open the sum: ``faults`` says whose, and why."""

    def __init__(self, faults: Mapping[PartyId, str]) -> None:
        self.faults = dict(faults)
        super().__init__("; ".join(f"{who}: {why}" for who, why in self.faults.items()))


class Opening(ABC, Generic[A]):
    """The server's side of one kind of key. ``needed`` right answers of ``holders`` open a sum."""

    holders: tuple[PartyId, ...]
    needed: int
    kinds: tuple[Kind, ...]

    def __init__(self, public: PublicKey) -> None:
        self.public = public

    @abstractmethod
    def answer_bytes(self, ciphertexts: int) -> int: ...

    @abstractmethod
    def decode(self, payload: bytes | memoryview, ciphertexts: int) -> A:
        """A key holder's answer; ``DecodeError`` for what is none."""

    @abstractmethod
    def open(self, ciphertexts: Sequence[mpz], answers: Mapping[PartyId, A], context: bytes) -> list[mpz]:
        """The plaintexts, from ``needed`` answers or more; ``WrongAnswers`` if one that was used is wrong."""


class WholeKey(Opening[Lifts]):
    """One key holder, who knows the factors of n."""

    holders = key_holder_ids(1)
    needed = 1
    kinds = (record(Lifts),)

    def answer_bytes(self, ciphertexts: int) -> int:
        return Lifts.size(self.public.bits, ciphertexts)

    def decode(self, payload: bytes | memoryview, ciphertexts: int) -> Lifts:
        return Lifts.decode(payload, self.public, ciphertexts)

    def open(self, ciphertexts: Sequence[mpz], answers: Mapping[PartyId, Lifts], context: bytes) -> list[mpz]:
        ((holder, answer),) = answers.items()
        n = self.public.n
        remainders = [ciphertext % n for ciphertext in ciphertexts]
        try:
            rootproof.verify(self.public, remainders, answer.lifts, context, answer.proof)
        except DecodeError as error:
            raise WrongAnswers({holder: f"has answered: {error}"}) from None
        powers = [u + n * lift for u, lift in zip(remainders, answer.lifts, strict=True)]
        return self.public.opened(ciphertexts, powers)


class SharedOpening(Opening[PartialOpening]):
    """Any t of m key holders, who have shares of the exponent that takes roots."""

    kinds = (record(PartialOpening),)

    def __init__(self, shared: SharedKey) -> None:
        super().__init__(shared.public)
        self.shared = shared
        self.holders = key_holder_ids(shared.holders)
        self.needed = shared.threshold

    def answer_bytes(self, ciphertexts: int) -> int:
        return PartialOpening.size(self.public.bits, ciphertexts)

    def decode(self, payload: bytes | memoryview, ciphertexts: int) -> PartialOpening:
        return PartialOpening.decode(payload, self.shared, ciphertexts)

    def open(
        self, ciphertexts: Sequence[mpz], answers: Mapping[PartyId, PartialOpening], context: bytes
    ) -> list[mpz]:
        by_index = {holder.index + 1: answer for holder, answer in answers.items()}
        try:
            return partial.open_sums(self.shared, ciphertexts, by_index, context)
        except partial.WrongRoots as error:
            reason = "has answered with roots that are not those of its share: its proof does not hold"
            raise WrongAnswers({self.holders[index - 1]: reason for index in error.liars}) from None


def opening_context(cohort: Cohort, counted: Sequence[int]) -> bytes:
    """What an answer is bound to besides key and numbers: cohort, session and round, and who is counted."""
    return cohort.digest + Writer().members(tuple(counted), cohort.size).finish()
