"""Any t of m key holders open the sum, and fewer never do; what the backend is made with."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mpc.errors import AbortError, DecodeError, LocalError
from mpc.network import Network
from mpc.party import SERVER, PartyId, Role, client_id
from mpc.tape import SeededTape
from secagg import Conditions, InsecurePlain, ThresholdPaillier, aggregate
from secagg.paillier import KeyHolderKeys, KeyShareKeys, SharedKeyPublic, deal_keys
from secagg.paillier.messages import INPUT, key_holder_ids

SIZES = [(m, t) for m in range(2, 6) for t in range(2, m + 1) if 2 * t > m]
KEY_HOLDERS = key_holder_ids(3)
BITS = 256


# Who is needed


@pytest.mark.parametrize(("holders", "threshold"), SIZES)
def test_any_t_of_m_give_the_integers_that_no_encryption_gives(
    shared: Callable[..., Any], rig: SimpleNamespace, holders: int, threshold: int
) -> None:
    vectors, ids = rig.vectors(5, 30, 16), key_holder_ids(holders)
    plain = rig.play(InsecurePlain, vectors, drop={1: InsecurePlain.input_phase})
    for chosen in itertools.combinations(ids, threshold):
        outcome = rig.play(
            lambda: shared(holders, threshold),
            vectors,
            drop={1: INPUT},
            offline=[who for who in ids if who not in chosen],
        )
        outcome.require_exact()
        assert outcome.survivors == plain.survivors == (0, 2, 3, 4)
        assert np.array_equal(outcome.total, plain.total)
        assert outcome.faults == {}


@pytest.mark.parametrize(("holders", "threshold"), SIZES)
def test_fewer_never_open_it_and_who_is_missing_is_named(
    shared: Callable[..., Any], rig: SimpleNamespace, holders: int, threshold: int
) -> None:
    vectors, ids = rig.vectors(4, 14, 16), key_holder_ids(holders)
    for few in itertools.combinations(ids, threshold - 1):
        silent = [who for who in ids if who not in few]
        outcome = rig.play(lambda: shared(holders, threshold), vectors, offline=silent)
        assert outcome.total is None
        assert outcome.abort.reason.startswith(
            f"the sum cannot be opened, it takes {threshold} of {holders} key holders: "
        )
        assert outcome.abort.evidence["faults"].keys() == set(map(str, silent))
        assert outcome.abort.evidence["party"] == ", ".join(map(str, silent))


def test_aggregate_goes_on_without_a_key_holder_and_names_one_that_lies(shared: Callable[..., Any]) -> None:
    updates = {name: np.full(5, value) for name, value in (("a", 0.5), ("b", 1.5), ("c", 1.0))}

    def run(backend: Any, **conditions: Any) -> Any:
        tapes = {"tape": SeededTape(b"tape"), "encoder_tape": SeededTape(b"encoder")}
        return aggregate(updates, backend=backend, conditions=Conditions(**conditions), **tapes)

    honest = run(shared(3, 2))
    assert honest.faults == {}
    for who in key_holder_ids(3):
        found = run(shared(3, 2), offline=[who])
        assert found.faults == {}
        np.testing.assert_array_equal(found.encoded_sum, honest.encoded_sum)
    lying = shared(3, 2)
    lying._keys[0].answer = lambda *_: b""
    found = run(lying)
    assert found.faults == {"key holder 0": "has answered: ends after 0 bytes, where at least 32 were due"}
    np.testing.assert_array_equal(found.encoded_sum, honest.encoded_sum)
    lying = shared(3, 2)
    lying._keys[0].answer = lambda *_: b""
    with pytest.raises(AbortError, match=r"key holder 0 has answered.*; key holder 2 sent no answer"):
        run(lying, offline=[KEY_HOLDERS[2]])


def test_only_parties_that_there_are_can_be_offline(shared: Callable[..., Any]) -> None:
    updates = {name: np.ones(5) for name in "abc"}
    with pytest.raises(LocalError, match=r"conditions\.offline is 'key holder 3': must name helpers"):
        aggregate(updates, backend=shared(3, 2), conditions=Conditions(offline=[PartyId(Role.KEY_HOLDER, 3)]))


# Each in a process of its own


def test_each_party_needs_its_own_keys_alone(lab: Any, shared: Callable[..., Any]) -> None:
    """The dealer's output as bytes; clients and server have the public part, each key holder its share."""
    public, keys = deal_keys(3, 2, tape=SeededTape(b"dealer"), insecure_bits=BITS)
    pinned = SharedKeyPublic.decode(public.encode(), allow_insecure_bits=True)

    def backend() -> ThresholdPaillier:
        return ThresholdPaillier(3, 2, minimum=2, public=pinned, insecure_key_bits=BITS)

    cohort = lab.cohort(4, 30)
    vectors = lab.vectors(cohort)
    parties: dict[Any, Any] = {
        SERVER: backend().server(cohort, link_key=lab.server_link, tape=SeededTape(b"server"))
    }
    for index, name in enumerate(cohort.members):
        tape = SeededTape(name.encode())
        parties[client_id(index)] = backend().client(cohort, name, vectors[name], tape=tape)
    for index in (0, 2):
        own = KeyShareKeys.import_secret(keys[index].export_secret(), allow_insecure_bits=True)
        holder = backend().key_holder(cohort, index, own, tape=SeededTape(b"%d" % index))
        data = holder.dump()
        holder = backend().load_key_holder(cohort, index, own, data, tape=SeededTape(b"again"))
        assert holder.id == KEY_HOLDERS[index]
        parties[holder.id] = holder
    Network(parties, ThresholdPaillier.phases).run()
    np.testing.assert_array_equal(parties[SERVER].result.total, sum(vectors.values()))


def test_a_dump_of_another_key_holder_is_refused(lab: Any, shared: Callable[..., Any]) -> None:
    backend, cohort = shared(3, 2), lab.cohort()
    keys = backend._keys
    data = backend.key_holder(cohort, 0, keys[0], tape=SeededTape(b"")).dump()
    with pytest.raises(LocalError, match="party"):
        backend.load_key_holder(cohort, 1, keys[1], data, tape=SeededTape(b""))
    with pytest.raises(DecodeError):
        backend.load_key_holder(cohort, 0, keys[0], data[:-1], tape=SeededTape(b""))


def test_a_key_holder_has_to_be_who_it_says(lab: Any, shared: Callable[..., Any]) -> None:
    backend, cohort, tape = shared(3, 2), lab.cohort(), SeededTape(b"")
    keys = backend._keys
    strangers = deal_keys(3, 2, tape=SeededTape(b"another"), insecure_bits=BITS)[1]
    wrong: list[Any] = [keys[1], strangers[0], KeyShareKeys(keys[0].share, bytes(32))]
    for found in wrong:
        with pytest.raises(LocalError, match=r"^keys is .*<secret>.*: are not those of key holder 0"):
            backend.key_holder(cohort, 0, found, tape=tape)
    for index in (-1, 3, True, 0.0, None):
        with pytest.raises(LocalError, match=r"^index is .*: must be from 0 to 2"):
            backend.key_holder(cohort, index, keys[0], tape=tape)
    with pytest.raises(LocalError, match=r"^keys is 'PublicKey': must be KeyShareKeys"):
        backend.key_holder(cohort, 0, backend.public.encryption, tape=tape)


def test_a_key_holder_keeps_its_minimum(lab: Any, shared: Callable[..., Any]) -> None:
    backend = shared(3, 2, minimum=0.75)
    with pytest.raises(LocalError, match=r"^cohort\.threshold is 2: this key holder .* less than 3"):
        backend.key_holder(lab.cohort(4, threshold=2), 0, backend._keys[0], tape=SeededTape(b""))
    with pytest.raises(LocalError, match=r"^cohort\.threshold is 2: this key holder .* less than 3"):
        backend.helpers(lab.cohort(4, threshold=2), tape=SeededTape(b""))
    assert tuple(backend.helpers(lab.cohort(4, threshold=3), tape=SeededTape(b""))) == KEY_HOLDERS


def test_parties_that_lack_their_keys_say_so(lab: Any, shared: Callable[..., Any]) -> None:
    cohort, tape = lab.cohort(), SeededTape(b"")
    bare = ThresholdPaillier(minimum=2, insecure_key_bits=BITS)
    with pytest.raises(LocalError, match=r"^public is None: give the key holders' public keys"):
        bare.server(cohort, link_key=lab.server_link, tape=tape)
    pinned = ThresholdPaillier(minimum=2, public=shared(3, 2).public, insecure_key_bits=BITS)
    assert pinned.server(cohort, link_key=lab.server_link, tape=tape).start() == []
    with pytest.raises(LocalError, match=r"^keys is None: a process that plays the key holders"):
        pinned.helpers(cohort, tape=tape)


# Arguments


def test_setup_deals_once_and_depends_on_the_tape_alone() -> None:
    bare = ThresholdPaillier(4, minimum=3, insecure_key_bits=128)
    assert (bare.key_holders, bare.threshold, bare.public) == (4, 3, None)
    ready = bare.setup(SeededTape(b"keys"))
    assert ready.public == bare.setup(SeededTape(b"keys")).public != bare.setup(SeededTape(b"other")).public
    assert ready.setup(SeededTape(b"other")) is ready
    assert (ready.key_holders, ready.threshold, ready.minimum, ready.key_bits) == (4, 3, 3, 128)
    pinned = ThresholdPaillier(4, public=ready.public, insecure_key_bits=128)
    assert pinned.setup(SeededTape(b"other")) is pinned
    assert ThresholdPaillier(2, insecure_key_bits=128).setup().public is not None


@pytest.mark.parametrize(
    ("holders", "threshold", "fault"),
    [
        (1, None, "key_holders is 1: must be from 2 to 16"),
        (17, None, "key_holders is 17: must be from 2 to 16"),
        (2.0, None, "key_holders is 2.0: must be from 2 to 16"),
        (3, 1, "threshold is 1: must be more than half of"),
        (4, 2, "threshold is 2: must be more than half of"),
        (3, 4, "threshold is 4: must be more than half of"),
        (3, 0.7, "threshold is 0.7"),
        (3, True, "threshold is True"),
    ],
)
def test_sizes_that_there_are_not(holders: Any, threshold: Any, fault: str) -> None:
    with pytest.raises(LocalError, match=f"^{fault}"):
        ThresholdPaillier(holders, threshold, insecure_key_bits=BITS)


@pytest.mark.parametrize(("holders", "threshold"), [(2, 2), (3, 2), (4, 3), (5, 3), (16, 9)])
def test_the_least_majority_is_the_default(holders: int, threshold: int) -> None:
    assert ThresholdPaillier(holders).threshold == threshold


def test_keys_that_do_not_belong_together_are_refused(shared: Callable[..., Any]) -> None:
    keys, public = shared(3, 2)._keys, shared(3, 2).public
    other_public, others = deal_keys(3, 2, tape=SeededTape(b"another"), insecure_bits=BITS)
    for wrong in ((keys[1], keys[0], keys[2]), keys[:2], (*keys, keys[0]), (*keys[:2], others[2])):
        with pytest.raises(LocalError, match=r"^keys is '\d shares': must be all 3 of one key, in order"):
            ThresholdPaillier(keys=wrong, insecure_key_bits=BITS)
    with pytest.raises(LocalError, match=r"^public is .*: does not belong to the keys"):
        ThresholdPaillier(keys=keys, public=other_public, insecure_key_bits=BITS)
    with pytest.raises(LocalError, match=r"^threshold is 3: the key that is given takes 2 of 3 key holders"):
        ThresholdPaillier(3, 3, public=public, insecure_key_bits=BITS)
    with pytest.raises(LocalError, match=r"^threshold is 2: the key that is given takes 3 of 5"):
        ThresholdPaillier(3, 2, public=shared(5, 3).public, insecure_key_bits=BITS)
    with pytest.raises(LocalError, match=r"^insecure_key_bits is 128: the key that is given has 256 bits"):
        ThresholdPaillier(public=public, insecure_key_bits=128)
    with pytest.raises(LocalError, match=r"^key_bits is 3072: the key that is given has 256 bits"):
        ThresholdPaillier(public=public)
    with pytest.raises(LocalError, match=r"^insecure_key_bits is 256: key_bits is given as well: 2048"):
        ThresholdPaillier(key_bits=2048, insecure_key_bits=256)


def test_keys_of_another_kind_are_refused(shared: Callable[..., Any]) -> None:
    whole: Any = KeyHolderKeys.generate(tape=SeededTape(b"whole"), insecure_bits=BITS)
    with pytest.raises(LocalError, match=r"^keys\[0\] is 'KeyHolderKeys': must be KeyShareKeys"):
        ThresholdPaillier(keys=[whole], insecure_key_bits=BITS)
    with pytest.raises(LocalError, match=r"^public is 'KeyHolderPublic': must be SharedKeyPublic"):
        ThresholdPaillier(public=whole.public, insecure_key_bits=BITS)


def test_repr_says_what_it_takes_and_no_secret(shared: Callable[..., Any]) -> None:
    text = "ThresholdPaillier(key_holders=5, threshold=3, key_bits=256, minimum=2)"
    assert repr(shared(5, 3)) == text
