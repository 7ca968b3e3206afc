"""Aggregators' keys, and which of them the backend needs for what."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mpc.errors import DecodeError, LocalError
from mpc.party import PartyId, Role
from mpc.tape import SeededTape
from secagg.roundlog import RoundLog
from secagg.sharing import AggregatorKey, AggregatorPublicKey, SecretSharing

MakeGame = Callable[..., Any]
KEYS = [AggregatorKey.generate(SeededTape(b"key %d" % index)) for index in range(3)]
PUBLIC = [key.public for key in KEYS]


def test_keys_come_back() -> None:
    key = KEYS[0]
    assert AggregatorPublicKey.decode(key.public.encode()) == key.public
    assert AggregatorKey.import_secret(key.export_secret()).public == key.public
    assert len(key.public.encode()) == len(key.export_secret()) == 65
    assert key.public.sealing != key.public.link


@pytest.mark.parametrize("decode", [AggregatorPublicKey.decode, AggregatorKey.import_secret])
def test_what_is_no_key(decode: Callable[[bytes], object]) -> None:
    good = KEYS[0].public.encode()
    for wrong in (b"", good[:-1], good + b"\0", b"\x02" + good[1:]):
        with pytest.raises(DecodeError):
            decode(wrong)


def test_public_keys_of_small_order_are_refused() -> None:
    with pytest.raises(LocalError, match="small order"):
        AggregatorPublicKey(bytes(32), PUBLIC[0].link)
    with pytest.raises(LocalError, match="small order"):
        AggregatorPublicKey(PUBLIC[0].sealing, b"\x01" + bytes(31))
    with pytest.raises(DecodeError, match="small order"):
        AggregatorPublicKey.decode(b"\x01" + bytes(64))
    with pytest.raises(LocalError, match="32 bytes"):
        AggregatorPublicKey(bytes(31), PUBLIC[0].link)
    with pytest.raises(LocalError, match=r"len\(link\) is 33"):
        AggregatorKey(bytes(32), bytes(33))


def test_no_secret_in_a_repr() -> None:
    key = KEYS[0]
    secret = key.export_secret()
    for text in (repr(key), repr(key.box), repr(SecretSharing(3, private_keys=KEYS))):
        assert secret[1:33].hex() not in text
        assert secret[33:].hex() not in text
        assert str(secret[1:33]) not in text
    assert "<secret>" in repr(key)


def test_private_keys_cannot_be_pickled() -> None:
    for holder in (KEYS[0], SecretSharing(3, private_keys=KEYS)):
        for write in (pickle.dumps, copy.deepcopy):
            with pytest.raises(LocalError, match="aggregator key is '<secret>': cannot be pickled or copied"):
                write(holder)
    assert pickle.loads(pickle.dumps(PUBLIC)) == PUBLIC


@pytest.mark.parametrize("aggregators", [-1, 0, 1, 256, True, 2.0, "2", None])
def test_numbers_of_aggregators_that_cannot_be(aggregators: Any) -> None:
    with pytest.raises(LocalError, match=r"aggregators is .*must be from 2 to 255"):
        SecretSharing(aggregators)


def test_keys_must_fit_the_aggregators() -> None:
    with pytest.raises(LocalError, match="number of public keys is 3: there are 2 aggregators"):
        SecretSharing(2, public_keys=PUBLIC)
    with pytest.raises(LocalError, match="number of public keys is 1"):
        SecretSharing(2, private_keys=KEYS[:1])
    with pytest.raises(LocalError, match="public_keys"):
        SecretSharing(2, public_keys=PUBLIC[:2], private_keys=KEYS[1:])
    same_sealing = AggregatorPublicKey(PUBLIC[0].sealing, PUBLIC[1].link)
    same_link = AggregatorPublicKey(PUBLIC[1].sealing, PUBLIC[0].link)
    for twice in (PUBLIC[0], same_sealing, same_link):
        with pytest.raises(LocalError, match="each may stand once"):
            SecretSharing(2, public_keys=[PUBLIC[0], twice])
    SecretSharing(3, public_keys=PUBLIC, private_keys=KEYS)


@pytest.mark.parametrize("argument", ["public_keys", "private_keys"])
@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (5, " is 'int': must be a sequence of Aggregator"),
        ({1, 2}, " is 'set': must be a sequence of Aggregator"),
        ([1, 2], r"\[0\] is 'int': must be an Aggregator"),
        ([None, None], r"\[0\] is 'NoneType': must be an Aggregator"),
        ("ab", r"\[0\] is 'str': must be an Aggregator"),
    ],
)
def test_what_is_no_key_is_named(argument: str, keys: Any, complaint: str) -> None:
    with pytest.raises(LocalError, match=f"^{argument}{complaint}"):
        SecretSharing(2, **{argument: keys})


def test_public_and_private_keys_are_not_taken_for_each_other() -> None:
    with pytest.raises(
        LocalError, match=r"^public_keys\[1\] is 'AggregatorKey': must be an AggregatorPublic"
    ):
        SecretSharing(2, public_keys=[PUBLIC[0], KEYS[1]])  # type: ignore[list-item]
    with pytest.raises(LocalError, match=r"^private_keys\[0\] is 'AggregatorPublicKey': must be an Aggreg"):
        SecretSharing(2, private_keys=PUBLIC[:2])  # type: ignore[arg-type]
    for sealing, link in ((5, bytes(32)), (bytes(32), None)):
        with pytest.raises(LocalError, match="must be bytes"):
            AggregatorKey(sealing, link)  # type: ignore[arg-type]


def test_setup_makes_keys_once() -> None:
    bare = SecretSharing(3, threshold=0.5)
    ready = bare.setup(SeededTape(b"setup"))
    assert ready.setup(SeededTape(b"other")) is ready
    assert ready is not bare
    assert (ready.aggregators, ready.minimum) == (3, 0.5)
    assert ready.public_keys == bare.setup(SeededTape(b"setup")).public_keys
    assert ready.public_keys != bare.setup().public_keys
    only_public = SecretSharing(3, public_keys=PUBLIC)
    assert only_public.setup() is only_public


def test_without_keys_there_are_no_parties(game: MakeGame) -> None:
    playing = game(3)
    tape, vector = SeededTape(b""), np.zeros(7, np.int64)
    bare, only_public = SecretSharing(3), SecretSharing(3, public_keys=PUBLIC)
    with pytest.raises(LocalError, match="public_keys"):
        bare.client(playing.cohort, "client-00", vector, tape=tape)
    with pytest.raises(LocalError, match="public_keys"):
        bare.server(playing.cohort, link_key=playing.link_key, tape=tape)
    for backend in (bare, only_public):
        with pytest.raises(LocalError, match="private_keys"):
            backend.helpers(playing.cohort, tape=tape)
    assert bare.cost(playing.cohort) == only_public.cost(playing.cohort)


def test_each_party_needs_its_own_keys_only(game: MakeGame) -> None:
    playing = game(4, threshold=3)
    shared = SecretSharing(3, public_keys=PUBLIC)

    class Distributed(SecretSharing):
        def helpers(self, cohort: Any, *, checks: Any = (), tape: Any) -> Any:
            return {
                PartyId(Role.AGGREGATOR, index): shared.aggregator(
                    cohort, index, key, tape=SeededTape(b"link")
                )
                for index, key in enumerate(KEYS)
            }

    result, _ = playing.run(Distributed(3, public_keys=PUBLIC))
    playing.expect(result)


def test_an_aggregator_with_anothers_key(game: MakeGame) -> None:
    shared = SecretSharing(3, public_keys=PUBLIC)
    with pytest.raises(LocalError, match=r"public_keys\[1\]"):
        shared.aggregator(game(3).cohort, 1, KEYS[0], tape=SeededTape(b"link"))
    with pytest.raises(LocalError, match="key is 'bytes': must be an AggregatorKey"):
        shared.aggregator(game(3).cohort, 1, bytes(32), tape=SeededTape(b"link"))
    for index in (-1, 3, 1.0, True, None):
        with pytest.raises(LocalError, match="must be from 0 to 2"):
            shared.aggregator(game(3).cohort, index, KEYS[0], tape=SeededTape(b"link"))


def test_an_aggregator_keeps_to_its_own_threshold(game: MakeGame) -> None:
    strict = SecretSharing(3, threshold=4, public_keys=PUBLIC)
    strict.aggregator(game(5, threshold=4).cohort, 0, KEYS[0], tape=SeededTape(b"link"))
    with pytest.raises(
        LocalError, match=r"cohort\.threshold is 3: this aggregator sums over no fewer than 4"
    ):
        strict.aggregator(game(5, threshold=3).cohort, 0, KEYS[0], tape=SeededTape(b"link"))


def test_the_log_goes_with_the_key() -> None:
    log = RoundLog([(bytes(16), 1)])
    key = AggregatorKey.import_secret(KEYS[0].export_secret(), log)
    assert key.log is log
    assert KEYS[0].log is not KEYS[1].log
    with pytest.raises(LocalError, match="log is 'tuple': must be a RoundLog"):
        AggregatorKey.import_secret(KEYS[0].export_secret(), log.entries())  # type: ignore[arg-type]
