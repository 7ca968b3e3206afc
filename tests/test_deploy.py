"""What docs/deploy.md shows runs, as it stands there but for the sizes of Paillier keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import phe
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from gmpy2 import mpz

from mpc.party import Message, PartyId, Role
from mpc.tape import RandomTape
from secagg import AbortError, Cohort, LocalError, Masking, RoundLog, SystemTape
from secagg.keyfile import load_keys, open_log
from secagg.paillier import KeyHolderKeys, KeyShareKeys
from secagg.paillier.keyformat import SECURITY
from secagg.sharing import AggregatorKey

PAGE = (Path(__file__).parents[1] / "docs" / "deploy.md").read_text()
BITS = 512
SMALL = {
    "KeyHolderKeys.generate(": f"KeyHolderKeys.generate({BITS}, ",
    "deal_keys(3, 2, ": f"deal_keys(3, 2, {BITS}, ",
}
MASKING, PAILLIER, THRESHOLD, SHARING = (
    "masking",
    "Paillier",
    "Threshold Paillier",
    "Secret sharing, with proofs",
)
ROUNDS = {PAILLIER: 1, THRESHOLD: 2, SHARING: 3}
SECTIONS = {MASKING: PAGE.split("\n## Paillier\n")[0]}
SECTIONS |= {name: PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0] for name in ROUNDS}


def script(sections: Sequence[str], replacing: Mapping[str, str]) -> str:
    """The blocks of these sections, with small keys; ``replacing`` must be there to be replaced."""
    text = "\n".join(SECTIONS[name] for name in sections)
    found = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    for old, new in replacing.items():
        assert old in found
        found = found.replace(old, new)
    for old, new in SMALL.items():
        found = found.replace(old, new)
    return found


@pytest.fixture
def small_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """512 bits pass for secure, so that all but the making of keys is as it stands on the page."""
    monkeypatch.setitem(SECURITY, BITS, 16)


def played(
    *sections: str, replacing: Mapping[str, str] = MappingProxyType({}), **given: object
) -> dict[str, Any]:
    """The names of the script of these sections after it has run, but for what is replaced."""
    names: dict[str, Any] = dict(given)
    exec(compile(script(sections, replacing), "deploy.md", "exec"), names)
    return names


def mean_of(names: dict[str, Any]) -> Any:
    return names["plan"].decode(names["found"].total).mean


def test_the_script_gives_the_mean_of_those_who_stayed() -> None:
    names = played(MASKING)
    assert names["cohort"].names(names["found"].survivors) == ("ana", "bo", "dee")
    assert np.allclose(names["mean"], (0.0 + 0.1 + 0.3) / 3, atol=1e-3)
    assert names["parties"][names["SERVER"]].result is names["found"]
    assert not (names["folder"] / "server.round").exists()
    names["logs"]["ana"].close()
    assert open_log(names["folder"] / "ana.rounds").entries() == ((names["cohort"].session, 0),)


@pytest.mark.usefixtures("small_keys")
def test_a_key_holder_opens_the_sum_and_its_file_knows() -> None:
    key = phe.generate_paillier_keypair(n_length=BITS)[1]
    names = played(MASKING, PAILLIER, phe_key=key)
    assert np.allclose(mean_of(names), 0.15, atol=1e-3)
    assert names["backend"].prepared == 0  # all that was made is used
    assert names["exported"] == key.public_key
    names["keys"].log.close()
    again = load_keys(names["folder"] / "holder.keys", KeyHolderKeys)
    assert again.log.entries() == ((names["cohort"].session, ROUNDS[PAILLIER]),)


@pytest.mark.usefixtures("small_keys")
def test_two_of_three_key_holders_open_the_sum() -> None:
    names = played(MASKING, THRESHOLD)
    assert np.allclose(mean_of(names), 0.15, atol=1e-3)
    assert names["found"].faults == {}
    asked = {who.index for who in names["parties"] if who.role is Role.KEY_HOLDER}
    assert asked == {1, 2}
    untouched = load_keys(names["folder"] / "holder-0.keys", KeyShareKeys)
    assert untouched.log.entries() == ()
    assert names["keys"].log.entries() == ((names["cohort"].session, ROUNDS[THRESHOLD]),)


@pytest.mark.usefixtures("small_keys")
@pytest.mark.parametrize("up", ["range(3)", "range(1, 3)"])
def test_a_key_holder_that_answers_wrongly_is_named(monkeypatch: pytest.MonkeyPatch, up: str) -> None:
    right = KeyShareKeys.answer

    def answer(self: KeyShareKeys, remainders: Sequence[mpz], context: bytes, tape: RandomTape) -> bytes:
        square = remainders[0] ** 2 % self.encryption_key.n
        lie = [square, *remainders[1:]] if self.share.index == 2 else remainders
        return right(self, lie, context, tape)

    monkeypatch.setattr(KeyShareKeys, "answer", answer)
    replacing = {"for index in range(1, 3):": f"for index in {up}:"}
    if up == "range(3)":
        names = played(MASKING, THRESHOLD, replacing=replacing)
        assert list(names["found"].faults) == [PartyId(Role.KEY_HOLDER, 1)]
        assert np.allclose(mean_of(names), 0.15, atol=1e-3)
    else:
        with pytest.raises(AbortError, match="it takes 2 of 3 key holders") as error:
            played(MASKING, THRESHOLD, replacing=replacing)
        faults = error.value.evidence["faults"]
        assert isinstance(faults, dict)
        assert "proof" in faults["key holder 1"]


@pytest.mark.usefixtures("small_keys")
def test_a_key_holder_that_was_restarted_opens_no_second_sum(capsys: pytest.CaptureFixture[str]) -> None:
    names = played(MASKING, PAILLIER, phe_key=phe.generate_paillier_keypair(n_length=BITS)[1])
    names["keys"].log.close()
    keys = load_keys(names["folder"] / "holder.keys", KeyHolderKeys)
    holder = names["Paillier"](minimum=3 / 4, keys=keys)
    names["logs"] = {name: RoundLog() for name in names["names"]}  # the clients have forgotten it
    with pytest.raises(AbortError, match="the sum cannot be opened"):
        names["run"](holder.helpers(names["cohort"], tape=names["tape"]).values())
    assert not (names["folder"] / "server.round").exists()
    assert "has been opened before" in capsys.readouterr().out


def test_who_breaks_the_bound_declines_and_the_others_count() -> None:
    names = played(MASKING, SHARING)
    assert names["cohort"].names(names["found"].survivors) == ("ana", "bo", "cy")
    assert np.allclose(mean_of(names), 0.1, atol=1e-3)
    assert [name for name, why in names["declined"].items() if why] == ["dee"]
    assert "NormBound(l2=0.15)" in names["declined"]["dee"]
    names["aggregator_keys"][0].log.close()
    again = load_keys(names["folder"] / "aggregator-0.keys", AggregatorKey)
    assert (names["cohort"].session, ROUNDS[SHARING]) in again.log.entries()


def test_an_aggregator_that_dies_in_mid_round_goes_on() -> None:
    names = played(MASKING, SHARING)
    names["cohort"] = replace(names["cohort"], round=4)
    keys, who = names["aggregator_keys"], PartyId(Role.AGGREGATOR, 0)
    deaths: list[PartyId] = []

    def lost(receiver: PartyId, data: bytes) -> bool:
        if receiver == who and Message.decode(data).phase == "open-sum" and not deaths:
            names["parties"][who].close()
            keys[0].log.close()
            keys[0] = load_keys(names["folder"] / "aggregator-0.keys", AggregatorKey)
            names["parties"][who] = names["open_aggregator"](0, keys[0])
            names["send"](who, names["parties"][who].start())
            deaths.append(receiver)
        return False

    found = names["run"]([names["open_aggregator"](index, keys[index]) for index in range(2)], lost)
    assert deaths == [who]
    assert names["cohort"].names(found.survivors) == ("ana", "bo", "cy")


def test_with_another_bound_at_an_aggregator_there_is_no_sum() -> None:
    opening = "def open_aggregator(index, key):\n"
    other = "    checks = [NormBound(l2=0.15 * (1 + index), plan=plan)]\n"
    with pytest.raises(AbortError) as error:
        played(MASKING, SHARING, replacing={opening: opening + other})
    assert error.value.evidence == {"party": "aggregator 1"}


@pytest.mark.parametrize(("l2", "declining"), [(0.15, ["dee"]), (1.0 * 10**0.5, [])])
def test_the_bound_is_on_what_is_added(l2: float, declining: list[str]) -> None:
    """At weight 20 of 100 and clip 1: dee's (w / W) · update has norm 0.19, and √10 refuses nobody."""
    names = played(MASKING, SHARING, replacing={"l2=0.15": f"l2={l2}"})
    norms = {name: 20 / 100 * np.linalg.norm(names["train"](name)) for name in names["names"]}
    assert [name for name, norm in norms.items() if norm > l2] == declining
    assert [name for name, why in names["declined"].items() if why] == declining


def test_a_link_key_that_is_no_bytes_is_refused_and_not_shown() -> None:
    cohort = Cohort(bytes(16), 0, ("ana", "bo"), 2, 4, 16, bytes(32))
    with pytest.raises(LocalError, match="link_key is 'str': must be bytes"):
        Masking().server(cohort, link_key="secret", tape=SystemTape())  # type: ignore[arg-type]


def test_no_party_is_made_without_a_tape() -> None:
    key = bytes(range(32))
    public = X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()
    cohort, vector = Cohort(bytes(16), 0, ("ana", "bo"), 2, 4, 16, public), np.zeros(4, np.int64)
    with pytest.raises(LocalError, match="tape is None: must be a RandomTape"):
        Masking().server(cohort, link_key=key, tape=None)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="tape is None: must be a RandomTape"):
        Masking().client(cohort, "ana", vector, tape=None)  # type: ignore[arg-type]
