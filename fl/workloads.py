"""What can be measured of a machine: the primitives of the protocols, each as a call to be repeated.

``secagg doctor`` shows some of them; ``secagg plan`` multiplies them with what a round does (fl.plan). Where
a protocol wraps a primitive, as it does with HKDF and AES-GCM, the protocol's own function is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import gmpy2
import numpy as np

from fl.speeds import Operation
from mpc import field, merkle, shamir
from mpc.party import SERVER, Message, client_id
from mpc.prg import Keystream, Usage
from mpc.ring import Lanes, Ring, add_masks
from mpc.tape import SeededTape
from mpc.wire import Reader, Writer
from secagg.cohort import Cohort
from secagg.encoding import FixedPoint
from secagg.identity import Identity, verify
from secagg.kernels import lanes
from secagg.link import Link
from secagg.masking import keys
from secagg.masking.messages import DEALT_BYTES, LIMBS, SHARE_BYTES, RelayedTags
from secagg.paillier.fixedbase import FixedBase
from secagg.paillier.modulus import modulus_of
from secagg.paillier.public import exponent_bits

_SHARES, _THRESHOLD = 181, 150  # what a holder on a sparse graph has to do with
_LEAVES, _SHOWN = 4096, 128
_BITS = 23  # of a sum of 16-bit entries over 100 clients
_VALUES, _MASKS = 1 << 18, 16
_TOGETHER = lanes.WIDTH if lanes.available() else 1  # powers, at once, on one core


@dataclass(frozen=True, slots=True)
class Workload:
    """A call that does an operation ``units`` times."""

    call: Callable[[], object]
    units: int = 1


Builder = Callable[[], Workload]
WORKLOADS: dict[Operation, Builder] = {}


def _measures(operation: Operation) -> Callable[[Builder], Builder]:
    def register(build: Builder) -> Builder:
        WORKLOADS[operation] = build
        return build

    return register


def _tape() -> SeededTape:
    return SeededTape(b"speeds")


# Keys, signatures, boxes.


@_measures(Operation.KEY_PAIR)
def _key_pair() -> Workload:
    private = _tape().read(32)
    return Workload(lambda: keys.KeyPair.from_private(private))


@_measures(Operation.AGREEMENT)
def _agreement() -> Workload:
    tape = _tape()
    mine, public = keys.Agreement(tape.read(32)), keys.KeyPair.generate(tape).public
    return Workload(lambda: mine.with_peer(public))


@_measures(Operation.SIGNATURE)
def _signature() -> Workload:
    identity = Identity.generate(_tape())
    return Workload(lambda: identity.sign(Usage.KEY_ADVERTISEMENT, bytes(100)))


@_measures(Operation.VERIFICATION)
def _verification() -> Workload:
    identity = Identity.generate(_tape())
    signature = identity.sign(Usage.KEY_ADVERTISEMENT, bytes(100))
    return Workload(lambda: verify(identity.public, Usage.KEY_ADVERTISEMENT, bytes(100), signature))


@_measures(Operation.DERIVATION)
def _derivation() -> Workload:
    return Workload(lambda: keys.pairwise_mask_key(bytes(32), bytes(32), 1, 2))


@_measures(Operation.HASHED_BYTE)
def _hashed_byte() -> Workload:
    content = bytes(1 << 14)
    return Workload(lambda: hashlib.sha256(content).digest(), len(content))


@_measures(Operation.SEAL)
def _seal() -> Workload:
    return Workload(lambda: keys.seal(bytes(32), bytes(32), 1, 2, bytes(DEALT_BYTES)))


@_measures(Operation.UNSEAL)
def _unseal() -> Workload:
    box = keys.seal(bytes(32), bytes(32), 1, 2, bytes(DEALT_BYTES))
    return Workload(lambda: keys.unseal(bytes(32), bytes(32), 1, 2, box))


@_measures(Operation.COMMITMENT)
def _commitment() -> Workload:
    ones, shares = np.ones(_SHARES, np.int64), bytes(_SHARES * SHARE_BYTES)
    return Workload(lambda: keys.share_commitments(bytes(32), ones, ones, ones, shares), _SHARES)


# Merkle trees and lists of clients.


_LISTED = [index.to_bytes(68, "little") for index in range(_LEAVES)]
_PLACES = range(0, _LEAVES, _LEAVES // _SHOWN)


@_measures(Operation.TREE_LEAF)
def _tree_leaf() -> Workload:
    return Workload(lambda: merkle.Tree(_LISTED), _LEAVES)


@_measures(Operation.PROOF_LEVEL)
def _proof_level() -> Workload:
    tree = merkle.Tree(_LISTED)
    return Workload(lambda: tree.proof(_PLACES), (_LEAVES - 1).bit_length())


@_measures(Operation.PROOF_HASH)
def _proof_hash() -> Workload:
    tree, shown = merkle.Tree(_LISTED), {place: _LISTED[place] for place in _PLACES}
    proof = tree.proof(_PLACES)
    hashes = 2 * _SHOWN - 1 + len(proof) // merkle.HASH_BYTES
    return Workload(lambda: merkle.verify(tree.root, shown, _LEAVES, proof), hashes)


@_measures(Operation.MEMBER)
def _member() -> Workload:
    count = 1000
    members = tuple(range(count))

    def written_and_read() -> object:
        return Reader(Writer().members(members, count).finish()).members(count)

    return Workload(written_and_read, 2 * count)


@_measures(Operation.ENTRY)
def _entry() -> Workload:
    holders = tuple(range(_SHARES))
    tags = RelayedTags(dict.fromkeys(holders, bytes(keys.CONSISTENCY_BYTES)))
    return Workload(lambda: RelayedTags.decode(tags.encode(holders), holders), 2 * _SHARES)


# Shamir.


@_measures(Operation.SPLIT)
def _split() -> Workload:
    tape = _tape()
    secrets, products = field.random(2 * LIMBS, tape), 2 * LIMBS * _THRESHOLD * _SHARES
    return Workload(lambda: shamir.split(secrets, _THRESHOLD, _SHARES, tape), products)


@_measures(Operation.WEIGHT)
def _weight() -> Workload:
    return Workload(lambda: shamir.lagrange_at_zero(range(1, _THRESHOLD + 1)), _THRESHOLD)


@_measures(Operation.COMBINE)
def _combine() -> Workload:
    """67 shares of 100 secrets, as on the complete graph, where all have the same holders."""
    shares = field.random(67 * 500, _tape()).reshape(67, 500)
    return Workload(lambda: shamir.combine(range(1, 68), shares), 67 * 100)


# Vectors.


@_measures(Operation.STREAM)
def _stream() -> Workload:
    """A mask on one block of 64 values: hardly more than opening its cipher."""
    return _masks(64, 1)


@_measures(Operation.STREAM_BYTE)
def _stream_byte() -> Workload:
    return _masks(_VALUES, 4 * _VALUES)


def _masks(values: int, units: int) -> Workload:
    tape = _tape()
    masks = [(tape.read(16), 1 - 2 * (place % 2)) for place in range(_MASKS)]
    total = np.zeros(values, Ring(_BITS).lane)
    return Workload(lambda: add_masks(total, masks), _MASKS * units)


@_measures(Operation.BARE_STREAM_BYTE)
def _bare_stream_byte() -> Workload:
    zeros, buffer = bytes(_VALUES), bytearray(_VALUES + 16)
    keystream = Keystream(_tape().read(16))
    return Workload(lambda: keystream.fill(zeros, buffer), _VALUES)


def _lanes() -> tuple[Ring, Lanes]:
    ring = Ring(_BITS)
    return ring, np.frombuffer(_tape().read(4 * _VALUES), ring.lane) & np.asarray(ring.mask, ring.lane)


@_measures(Operation.PACK)
def _pack() -> Workload:
    ring, lanes = _lanes()
    return Workload(lambda: ring.pack(lanes), _VALUES)


@_measures(Operation.UNPACK)
def _unpack() -> Workload:
    ring, lanes = _lanes()
    packed = ring.pack(lanes)
    return Workload(lambda: ring.add_packed(lanes, packed), _VALUES)


@_measures(Operation.ENCODE)
def _encode() -> Workload:
    tape = _tape()
    plan, update = FixedPoint().plan([_VALUES], clients=100), [np.linspace(-1, 1, _VALUES, dtype=np.float32)]
    return Workload(lambda: plan.encode(update, 1, {}, tape, client="speeds"), _VALUES)


@_measures(Operation.PRODUCT)
def _product() -> Workload:
    elements = field.random(_VALUES, _tape())
    return Workload(lambda: field.mul(elements, elements), _VALUES)


# Links.


@_measures(Operation.MESSAGE)
def _message() -> Workload:
    return _link(0, 1)


@_measures(Operation.MESSAGE_BYTE)
def _message_byte() -> Workload:
    return _link(_VALUES, _VALUES)


def _link(size: int, units: int) -> Workload:
    tape = _tape()
    pair = keys.KeyPair.generate(tape)
    cohort = Cohort(bytes(16), 0, ("ana", "bo"), 2, 1, 16, pair.public)
    link = Link(cohort, client_id(0), pair.private, pair.public, serves=False, tape=tape)
    message = Message(cohort.session, 0, "masked-input", client_id(0), SERVER, bytes(size))
    return Workload(lambda: link.close(message), units)


# Paillier.


def _big_numbers(bits: int) -> tuple[gmpy2.mpz, gmpy2.mpz, gmpy2.mpz]:
    """An odd n, n² and a number below that: no cost depends on what n is a product of."""
    tape = _tape()
    n = gmpy2.mpz.from_bytes(tape.read(bits // 8), "little") | gmpy2.mpz(1) << (bits - 1) | 1
    return n, n * n, gmpy2.mpz.from_bytes(tape.read(bits // 4), "little") % (n * n)


@_measures(Operation.ENCRYPTION)
def _encryption() -> Workload:
    _, square, base = _big_numbers(3072)
    bits, tape = exponent_bits(3072), _tape()
    comb = FixedBase(base, modulus_of(square), bits)
    exponents = [gmpy2.mpz.from_bytes(tape.read(bits // 8), "little") for _ in range(_TOGETHER)]
    return Workload(lambda: comb.powers(exponents), _TOGETHER)


@_measures(Operation.DECRYPTION)
def _decryption() -> Workload:
    """u^p modulo p², and as much again for q."""
    prime, square, base = _big_numbers(1536)
    modulo, bases = modulus_of(square), [base] * _TOGETHER
    return Workload(lambda: [modulo.powers(bases, prime) for _ in "pq"], _TOGETHER)


@_measures(Operation.BIG_PRODUCT)
def _big_product() -> Workload:
    _, square, base = _big_numbers(3072)
    return Workload(lambda: base * base % square)
