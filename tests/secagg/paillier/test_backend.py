"""The Paillier backend from outside: sums, costs, arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import secagg
from mpc.errors import AbortError, LocalError
from mpc.party import PartyId, Role, client_id
from mpc.tape import SeededTape, SystemTape
from secagg.backend import Backend
from secagg.checks import Check, Reject, Verdict
from secagg.cohort import Cohort
from secagg.paillier import KeyHolderKeys, Paillier, ThresholdPaillier
from secagg.paillier.messages import CHECK, INPUT, key_holder_ids
from secagg.paillier.packing import Packing
from secagg.plain import InsecurePlain

BITS = 512
KEY_HOLDER = PartyId(Role.KEY_HOLDER)


# Sums


@given(
    size=st.integers(2, 12),
    length=st.integers(1, 150),
    bits=st.integers(2, 48),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_the_sum_over_the_survivors_is_numpys(
    new_lab: Callable[[], Any], size: int, length: int, bits: int, seed: int, data: st.DataObject
) -> None:
    lab = new_lab()
    cohort = lab.cohort(size, length, bits)
    vectors = lab.vectors(cohort, seed)
    gone = data.draw(st.sets(st.integers(0, size - 1), max_size=size - 2))
    total, _ = lab.run(cohort, vectors, drop={client_id(index): INPUT for index in gone})
    survivors = [index for index in range(size) if index not in gone]
    expected = np.sum([vectors[cohort.members[index]] for index in survivors], axis=0)
    assert total.survivors == tuple(survivors)
    assert total.total.dtype == np.int64
    np.testing.assert_array_equal(total.total, expected)


@pytest.mark.parametrize(("bits", "size"), [(2, 2), (2, 8), (16, 8), (48, 8), (8, 128)])
@pytest.mark.parametrize("signs", ["+", "-", "+-", "-+"])
def test_extreme_entries_in_the_fullest_slots(lab: Any, bits: int, size: int, signs: str) -> None:
    packing = Packing(bits, size, BITS)
    assert packing.slot_bits == (2 * packing.max_entry * size).bit_length()
    cohort = lab.cohort(size, 2 * packing.slots, bits)
    row = np.array([cohort.max_entry if sign == "+" else -cohort.max_entry for sign in signs], np.int64)
    vector = np.resize(row, cohort.length)
    total, _ = lab.run(cohort, dict.fromkeys(cohort.members, vector))
    np.testing.assert_array_equal(total.total, size * vector)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_any_signed_dtype_will_do(lab: Any, dtype: Any) -> None:
    cohort = lab.cohort(2, 3, 8)
    total, _ = lab.run(cohort, {name: np.array([-127, 0, 127], dtype) for name in cohort.members})
    assert total.total.tolist() == [-254, 0, 254]


def test_all_the_world_at_2048_bits() -> None:
    generator = np.random.default_rng(4)
    updates = {name: generator.normal(size=(11, 13)).astype(np.float32) for name in "abcd"}
    weights = {"a": 1, "b": 1000, "c": 50, "d": 7}
    mine, plain = (
        secagg.aggregate(
            updates,
            backend=backend,
            weights=weights,
            drop={"c": "input"},
            tape=SystemTape(),
            encoder_tape=SeededTape(b"encoder"),
        )
        for backend in (secagg.Paillier(key_bits=2048), InsecurePlain())
    )
    np.testing.assert_array_equal(mine.encoded_sum, plain.encoded_sum)
    np.testing.assert_array_equal(mine.mean, plain.mean)
    assert mine.survivors == ("a", "b", "d")
    assert mine.weight == 1008
    assert max(record.size for record in mine.transcript.records) > 2 * 2048 // 4


def test_too_few_contributions_are_never_opened(lab: Any) -> None:
    cohort = lab.cohort(4, threshold=3)
    silent = {client_id(index): INPUT for index in (1, 3)}
    with pytest.raises(AbortError, match="2 of 4 clients contributed; the threshold is 3"):
        lab.run(cohort, lab.vectors(cohort), backend=lab.backend(3), drop=silent)
    assert lab.keys.log.entries() == ()


class Frozen(Check):
    """Refuses one client once all inputs are frozen, and one for its proof."""

    name, proves = "frozen", True

    def on_inputs_frozen(self, cohort: Cohort, survivors: Any, seed: bytes) -> list[Verdict]:
        return [Reject("client-1", "frozen out")]

    def proof_bytes(self, cohort: Cohort) -> int:
        return 1

    def prove(self, cohort: Cohort, client: str, vector: Any, seed: bytes, tape: Any) -> bytes:
        assert vector.shape == (cohort.length,)
        return b"\1" if client == "client-3" else b"\0"

    def on_proofs(self, cohort: Cohort, seed: bytes, proofs: Any) -> list[Verdict]:
        return [Reject(name, "no proof") for name, proof in proofs.items() if proof == b"\1"]


def test_a_client_that_a_check_refuses_is_not_in_the_product(lab: Any) -> None:
    cohort = lab.cohort(6)
    vectors = lab.vectors(cohort)
    total, transcript = lab.run(cohort, vectors, checks=[Frozen()], drop={client_id(5): CHECK})
    assert total.survivors == (0, 2, 4)
    assert {index: why.reason for index, why in total.rejected.items()} == {1: "frozen out", 3: "no proof"}
    np.testing.assert_array_equal(total.total, sum(vectors[f"client-{index}"] for index in (0, 2, 4)))
    assert transcript.refusals == []


# Cost, randomness, leakage


@pytest.mark.parametrize(("size", "length", "bits"), [(2, 1, 2), (4, 61, 16), (9, 500, 24)])
@pytest.mark.parametrize("checks", [(), (Check(),)])
def test_the_declared_cost_is_what_crosses(lab: Any, size: int, length: int, bits: int, checks: Any) -> None:
    cohort = lab.cohort(size, length, bits)
    _, transcript = lab.run(cohort, lab.vectors(cohort), checks=checks)
    cost = lab.backend().cost(cohort, checks)
    assert cost.traffic() == transcript.traffic()
    assert cost.rounds == 1


def test_the_cost_needs_no_keys() -> None:
    cohort = Cohort(bytes(16), 0, tuple(f"c{i}" for i in range(100)), 67, 10**5, 16, bytes(32))
    cost = Paillier().cost(cohort)
    # 23 bits a slot, 133 slots in 3,071 bits, 752 ciphertexts of 768 bytes; header, tag and greeting.
    assert (
        cost.sent_by_each(Role.CLIENT, 100) == 752 * 768 + 32 + (1 + 16 + 4 + 16 + 10 + 8 + 4 + 1) + 28 + 32
    )


def test_the_same_tape_gives_the_same_bytes(new_lab: Callable[[], Any]) -> None:
    def encoded(seed: bytes) -> list[bytes]:
        lab = new_lab()
        cohort = lab.cohort()
        _, transcript = lab.run(cohort, lab.vectors(cohort), seed=seed, keep_payloads=True)
        return [record.message.encode() for record in transcript.records]

    assert encoded(b"one") == encoded(b"one")
    assert all(a != b for a, b in zip(encoded(b"one"), encoded(b"other"), strict=True))


def test_setup_depends_on_the_tape_alone_and_happens_once() -> None:
    bare = Paillier(insecure_key_bits=256, minimum=3)
    ready = bare.setup(SeededTape(b"keys"))
    assert bare.public is None
    assert ready.public == bare.setup(SeededTape(b"keys")).public != bare.setup(SeededTape(b"other")).public
    assert ready.setup(SeededTape(b"other")) is ready
    assert (ready.minimum, ready.key_bits) == (3, 256)
    assert Paillier(insecure_key_bits=256).setup().public is not None
    pinned = Paillier(public=ready.public, insecure_key_bits=256)
    assert pinned.setup(SeededTape(b"other")) is pinned


def test_leakage_speaks_of_every_role(lab: Any) -> None:
    cohort = lab.cohort()
    _, transcript = lab.run(cohort, lab.vectors(cohort))
    roles = {record.sender.role for record in transcript.records}
    assert set(Paillier.leakage.learns) == Paillier.leakage.hides == roles | {Role.CLIENT}
    assert set(Paillier.phases) >= {record.phase for record in transcript.records}


def test_it_is_exported() -> None:
    assert secagg.Paillier is Paillier
    assert issubclass(Paillier, Backend)
    assert Paillier.name == "paillier"
    assert secagg.ThresholdPaillier is ThresholdPaillier
    assert issubclass(ThresholdPaillier, Backend)
    assert ThresholdPaillier.name == "threshold-paillier"
    assert key_holder_ids(1) == (KEY_HOLDER,)


# Arguments


@pytest.fixture(scope="module")
def keys() -> KeyHolderKeys:
    return KeyHolderKeys.generate(tape=SeededTape(b"arguments"), insecure_bits=256)


@pytest.mark.parametrize("bits", [512, 1024, 3071, 8192, "3072", 3072.0, True])
def test_key_sizes_that_there_are_not(bits: Any) -> None:
    with pytest.raises(LocalError, match=r"^key_bits is .*: must be one of 2048, 3072, 4096") as caught:
        Paillier(key_bits=bits)
    assert caught.value.argument == "key_bits"


@pytest.mark.parametrize("bits", [0, 32, 100, 2048, 3072])
def test_insecure_sizes_that_there_are_not(bits: int) -> None:
    with pytest.raises(LocalError, match=rf"^insecure_key_bits is {bits}: must be a multiple of 16"):
        Paillier(insecure_key_bits=bits)


def test_one_size_at_a_time(keys: KeyHolderKeys) -> None:
    for bits in (2048, 3072, 256, 0):
        with pytest.raises(
            LocalError, match=rf"^insecure_key_bits is 256: key_bits is given as well: {bits}"
        ):
            Paillier(bits, insecure_key_bits=256, public=keys.public)


def test_the_size_is_that_of_the_keys_unless_it_is_given() -> None:
    own = KeyHolderKeys.generate(2048, tape=SeededTape(b"a real size"))
    assert Paillier().key_bits == 3072
    halves: list[dict[str, Any]] = [{"keys": own}, {"public": own.public}]
    for half in halves:
        assert Paillier(**half).key_bits == Paillier(2048, **half).key_bits == 2048
        with pytest.raises(LocalError, match=r"^key_bits is 3072: the key that is given has 2048 bits"):
            Paillier(3072, **half)


def test_keys_of_another_size_are_refused(keys: KeyHolderKeys) -> None:
    halves: list[dict[str, Any]] = [{"keys": keys}, {"public": keys.public}]
    for half in halves:
        with pytest.raises(LocalError, match=r"^key_bits is 3072: the key that is given has 256 bits"):
            Paillier(**half)
        with pytest.raises(LocalError, match=r"^insecure_key_bits is 512: the key .* has 256 bits"):
            Paillier(insecure_key_bits=512, **half)
        with pytest.raises(LocalError, match=r"^insecure_key_bits is 128: the key .* has 256 bits"):
            Paillier(insecure_key_bits=128, **half)
        assert Paillier(insecure_key_bits=256, **half).public == keys.public


def test_keys_of_another_kind_are_refused(keys: KeyHolderKeys) -> None:
    wrong: Any = keys.public.encryption
    for argument in ("keys", "public"):
        with pytest.raises(LocalError, match=rf"^{argument} is 'PublicKey': must be KeyHolder"):
            Paillier(insecure_key_bits=256, **{argument: wrong})


def test_public_halves_of_other_keys_are_refused(keys: KeyHolderKeys) -> None:
    other = KeyHolderKeys(keys.encryption, bytes(32)).public
    with pytest.raises(LocalError, match=r"^public is .*: does not belong to the keys"):
        Paillier(keys=keys, public=other, insecure_key_bits=256)
    assert Paillier(keys=keys, public=keys.public, insecure_key_bits=256).public == keys.public


def test_parties_that_lack_their_keys_say_so(lab: Any, keys: KeyHolderKeys) -> None:
    cohort, tape = lab.cohort(), SeededTape(b"")
    vector = lab.vectors(cohort)["client-0"]
    bare = Paillier(minimum=2, insecure_key_bits=256)
    for make in (
        lambda: bare.client(cohort, "client-0", vector, tape=tape),
        lambda: bare.server(cohort, link_key=lab.server_link, tape=tape),
    ):
        with pytest.raises(LocalError, match=r"^public is None"):
            make()
    pinned = Paillier(minimum=2, public=keys.public, insecure_key_bits=256)
    assert pinned.client(cohort, "client-0", vector, tape=tape).start()
    assert pinned.server(cohort, link_key=lab.server_link, tape=tape).start() == []
    with pytest.raises(LocalError, match=r"^keys is None: the key holder needs its private keys"):
        pinned.helpers(cohort, tape=tape)


def test_the_key_holder_does_not_lower_its_threshold_for_a_cohort(lab: Any) -> None:
    with pytest.raises(LocalError, match=r"^cohort\.threshold is 2: this key holder .* less than 3"):
        lab.backend(0.75).helpers(lab.cohort(4, threshold=2), tape=SeededTape(b""))
    assert lab.backend(0.75).helpers(lab.cohort(4, threshold=4), tape=SeededTape(b"")).keys() == {KEY_HOLDER}


def test_neither_repr_nor_parties_show_keys(lab: Any) -> None:
    backend = lab.backend()
    cohort = lab.cohort()
    assert repr(backend) == "Paillier(key_bits=512, minimum=2)"
    client = backend._client(cohort, "client-0", lab.vectors(cohort)["client-0"], (), SeededTape(b""))
    assert repr(client) == "PaillierClient('client-0', round 0, state 'ready')"
