"""The sides of ``bench_phe.py``: each takes a load, checks that its sum is right, and gives its figures.

What a side needs is imported when it runs, so that one can be left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from gmpy2 import mpz

from bench.peers.encryption import BITS, Figures, Load
from mpc.party import SERVER, Message
from mpc.tape import SystemTape
from secagg.cohort import Cohort
from secagg.paillier import KeyHolderKeys
from secagg.paillier.client import PaillierClient
from secagg.paillier.keyformat import HEADER_BYTES
from secagg.paillier.keyholder import KeyHolder
from secagg.paillier.opening import WholeKey
from secagg.paillier.packing import Packing
from secagg.paillier.phe import private_to_phe
from secagg.paillier.prepared import Prepared
from secagg.paillier.server import PaillierServer

LINK = bytes(range(32))
SLOTS = 4096  # of a CKKS ciphertext of degree 8192


def phe_figures(load: Load, encryptions: int = 40, additions: int = 4000) -> Figures:
    """Every value by itself, as its users do: 40 encryptions and decryptions and 4,000 additions of them."""
    found = Figures("phe", load, guarantee="exact; who holds p and q opens every client's values")
    private = private_to_phe(load.private)
    values = [int(value) for value in load.vectors[0][:encryptions]]
    public = private.public_key

    def encrypt() -> list[Any]:
        return [public.encrypt(value) for value in values]

    numbers = found.sample("encrypt", encrypt, len(values), load.length)
    doubled = [number + number for number in numbers]
    pairs = [(numbers[i % len(numbers)], doubled[i % len(numbers)]) for i in range(additions)]
    everything = load.length * (load.clients - 1)
    sums = found.sample("add", lambda: [a + b for a, b in pairs], additions, everything)
    some = sums[: len(values)]
    opened = found.sample("decrypt", lambda: [private.decrypt(n) for n in some], len(some), load.length)
    assert opened == [3 * value for value in values]
    found.bytes_per_value = 2 * public.n.bit_length() / 8
    return found


def lightphe_figures(load: Load, operations: int = 4, additions: int = 400) -> Figures:
    """Every value by itself: 4 encryptions and decryptions and 400 additions. The key is the same."""
    from lightphe import LightPHE

    found = Figures("lightphe", load, guarantee="exact; who holds p and q opens every client's values")
    n = int(load.private.public.n)
    exported, width = load.private.export_secret(), load.key_bits // 16
    p = int.from_bytes(exported[HEADER_BYTES : HEADER_BYTES + width], "little")
    keys = {"public_key": {"n": n, "g": n + 1}, "private_key": {"phi": (p - 1) * (n // p - 1)}}
    system = LightPHE(algorithm_name="Paillier", keys=keys)
    values = [int(value) % n for value in load.vectors[0][:operations]]
    numbers = found.sample(
        "encrypt", lambda: [system.encrypt(value) for value in values], operations, load.length
    )
    pairs = [(numbers[i % operations], numbers[(i + 1) % operations]) for i in range(additions)]
    everything = load.length * (load.clients - 1)
    sums = found.sample("add", lambda: [a + b for a, b in pairs], additions, everything)
    some = sums[:operations]
    opened = found.sample("decrypt", lambda: [system.decrypt(c) for c in some], operations, load.length)
    assert opened == [(a + b) % n for a, b in pairwise([*values, values[0]])]
    found.bytes_per_value = 2 * load.key_bits / 8
    return found


class Ckks:
    """Degree 8192, primes of 60, 40 and 60 bits, 4,096 values a ciphertext."""

    def __init__(self, load: Load) -> None:
        import tenseal

        self.load = load
        self.make, self.parse = tenseal.ckks_vector, tenseal.ckks_vector_from
        self.context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
        self.context.global_scale = 2**40

    def encrypt(self, vector: Sequence[float]) -> list[Any]:
        starts = range(0, self.load.length, SLOTS)
        return [self.make(self.context, vector[start : start + SLOTS]) for start in starts]

    def add(self, given: Sequence[Sequence[Any]]) -> list[Any]:
        """The sum over all clients, whose vectors are among the two that are given."""
        rows = [row + more for row, more in zip(given[self.load.of(0)], given[self.load.of(1)], strict=True)]
        for client in range(2, self.load.clients):
            for row, more in zip(rows, given[self.load.of(client)], strict=True):
                row += more
        return rows

    def read(self, messages: Sequence[Sequence[bytes]]) -> None:
        for client in range(self.load.clients):
            for data in messages[self.load.of(client)]:
                self.parse(self.context, data)


def tenseal_figures(load: Load, repeats: int = 3) -> Figures:
    """All values, none sampled."""
    found, scene = Figures("TenSEAL CKKS", load), Ckks(load)
    floats = [vector.astype(np.float64).tolist() for vector in load.vectors]
    given = [scene.encrypt(vector) for vector in floats]
    found.run("encrypt", lambda: scene.encrypt(floats[0]), repeats)
    rows = found.run("add", lambda: scene.add(given))
    opened = found.run("decrypt", lambda: [value for row in rows for value in row.decrypt()], repeats)
    found.largest_error = float(np.abs(np.array(opened) - load.total).max())
    assert 0 < found.largest_error < 1
    messages = [[row.serialize() for row in vector] for vector in given]
    found.bytes_per_value = sum(map(len, messages[0])) / load.length
    found.run("read", lambda: scene.read(messages))
    off = f"{found.largest_error:.1g}"
    found.guarantee = f"approximate, here to {off}; all clients hold one key, which opens any vector"
    return found


class Round:
    """Our clients, server and key holder, without links."""

    def __init__(self, load: Load) -> None:
        members = tuple(f"client-{index}" for index in range(load.clients))
        server_key = X25519PrivateKey.from_private_bytes(LINK).public_key().public_bytes_raw()
        self.load = load
        self.key = load.private.public
        self.cohort = Cohort(bytes(16), 0, members, -(-2 * load.clients // 3), load.length, BITS, server_key)

    def client(self, index: int, prepared: Prepared | None = None) -> PaillierClient:
        """``prepared``: what it takes its randomness from."""
        randomizers = None if prepared is None else lambda count, tape: prepared.take(count)
        me, vector = self.cohort.members[index], self.load.vectors[self.load.of(index)]
        return PaillierClient(self.cohort, me, vector, (), SystemTape(), self.key, randomizers)

    def inputs(self) -> list[Message]:
        """The first two clients encrypt; the others send the same as one of them."""
        own = [self.client(index).start()[0] for index in range(2)]
        senders = [self.client(index).id for index in range(self.load.clients)]
        first = own[0]
        return [
            Message(
                first.session, first.round, first.phase, who, first.receiver, own[self.load.of(i)].payload
            )
            for i, who in enumerate(senders)
        ]

    def parties(self) -> tuple[PaillierServer, KeyHolder]:
        opening, keys = WholeKey(self.key), KeyHolderKeys(self.load.private, LINK)
        server = PaillierServer(self.cohort, (), SystemTape(), opening)
        return server, KeyHolder(self.cohort, opening.holders[0], keys, SystemTape())


def open_sum(server: PaillierServer, holder: KeyHolder, waiting: list[Message]) -> None:
    """Carries messages between the two until none is left."""
    queue = deque(waiting)
    while queue:
        message = queue.popleft()
        queue.extend((server if message.receiver == SERVER else holder).receive(message))


def secagg_figures(load: Load, repeats: int = 3) -> Figures:
    """Our parties: packing and bytes are in both ends' times, checking of ciphertexts in the server's."""
    guarantee = "exact, and checked; the key holder opens one sum a round and sees none"
    found = Figures("secagg", load, guarantee=guarantee)
    scene = Round(load)
    scene.key.encrypt(mpz(0), SystemTape())  # builds the table of powers, once a key
    clients = iter([scene.client(0) for _ in range(repeats)])
    (message,) = found.run("encrypt", lambda: next(clients).start(), repeats)
    count = Packing.of(scene.cohort, load.key_bits).ciphertexts(load.length)
    pool = found.run("prepare", lambda: scene.key.prepare(count, SystemTape()), repeats)
    pool.extend((repeats - 1) * count, SystemTape())
    ready = iter([scene.client(0, pool) for _ in range(repeats)])
    (prepared,) = found.run("online", lambda: next(ready).start(), repeats)
    assert len(prepared.payload) == len(message.payload)
    assert len(pool) == 0
    found.bytes_per_value = len(message.payload) / load.length

    inputs = scene.inputs()
    server, holder = scene.parties()
    waiting = found.run("add", lambda: [out for sent in inputs for out in server.receive(sent)])
    found.run("decrypt", lambda: open_sum(server, holder, waiting))
    assert server.result is not None
    np.testing.assert_array_equal(server.result.total, load.total)
    return found


SIDES: dict[str, Callable[[Load], Figures]] = {
    "phe": phe_figures,
    "lightphe": lightphe_figures,
    "tenseal": tenseal_figures,
    "secagg": secagg_figures,
}
