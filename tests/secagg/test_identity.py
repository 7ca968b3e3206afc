"""secagg.identity: who signs, who is believed, and what may lie on a disk."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage
from mpc.tape import SeededTape
from secagg.cohort import Cohort
from secagg.identity import (
    _SMALL_ORDER,
    Identity,
    Roster,
    check_identity,
    has_small_order,
    load_identity,
    save_identity,
    verify,
)
from secagg.plain import InsecurePlain

ANA, BO, CHIEF, OTHER = (Identity(SeededTape(name).read(32)) for name in (b"ana", b"bo", b"chief", b"other"))
KEYS = {"ana": ANA.public, "bo": BO.public}


class TestSigning:
    def test_a_signature_is_that_of_ed25519_on_tag_and_content(self) -> None:
        secret = SeededTape(b"ana").read(32)
        plain = Ed25519PrivateKey.from_private_bytes(secret)
        signature = ANA.sign(Usage.KEY_ADVERTISEMENT, b"content")
        assert ANA.public == plain.public_key().public_bytes_raw()
        assert signature == plain.sign(b"secagg\x01\x00\x0f\x00" + b"content")
        verify(ANA.public, Usage.KEY_ADVERTISEMENT, b"content", signature)

    def test_no_other_usage_takes_it(self) -> None:
        for signed, asked in product(Usage, Usage):
            signature = ANA.sign(signed, b"content")
            if signed is asked:
                verify(ANA.public, asked, b"content", signature)
            else:
                with pytest.raises(DecodeError, match="a signature does not verify"):
                    verify(ANA.public, asked, b"content", signature)

    @pytest.mark.parametrize(
        ("public", "content", "change"),
        [
            (BO.public, b"content", lambda s: s),
            (ANA.public, b"Content", lambda s: s),
            (ANA.public, b"", lambda s: s),
            (ANA.public, b"content", lambda s: s[:-1]),
            (ANA.public, b"content", lambda s: s + b"\0"),
            (ANA.public, b"content", lambda s: b""),
            (ANA.public, b"content", lambda s: bytes(64)),
            (ANA.public, b"content", lambda s: bytes([s[0] ^ 1]) + s[1:]),
            (ANA.public[:-1], b"content", lambda s: s),
            (b"\xff" * 32, b"content", lambda s: s),
        ],
    )
    def test_anything_else_is_refused(self, public: bytes, content: bytes, change: Any) -> None:
        signature = change(ANA.sign(Usage.ROSTER, b"content"))
        with pytest.raises(DecodeError, match="a signature does not verify"):
            verify(public, Usage.ROSTER, content, signature)

    def test_generated_from_the_tape(self) -> None:
        one, same, other = (Identity.generate(SeededTape(name)) for name in (b"ana", b"ana", b"x"))
        assert one.public == same.public == ANA.public != other.public
        assert Identity(one.export_secret()).public == one.public

    @pytest.mark.parametrize("size", [0, 31, 33, 64])
    def test_secrets_of_another_length(self, size: int) -> None:
        with pytest.raises(LocalError, match=rf"len\(secret\) is {size}: an Ed25519 key has 32 bytes"):
            Identity(bytes(size))

    def test_it_shows_nothing_of_its_secret(self) -> None:
        assert repr(ANA) == f"Identity(<secret>, public={ANA.public.hex()[:16]}…)"
        assert ANA.export_secret().hex()[:8] not in repr(ANA)


class TestWhoSigns:
    """A client has the identity that its cohort pins for it, or neither has any."""

    def cohorts(self, rig: SimpleNamespace) -> tuple[Any, Any]:
        unsigned = rig.cohort(InsecurePlain(), 4, 3, 16)
        identities = tuple(one.public for one in rig.identities(4))
        return unsigned, replace(unsigned, identities=identities)

    def test_both_or_neither(self, rig: SimpleNamespace) -> None:
        unsigned, signed = self.cohorts(rig)
        check_identity(unsigned, "c1", None)
        check_identity(signed, "c1", rig.identities(4)[1])

    def test_a_client_with_an_identity_takes_no_part_where_nobody_signs(self, rig: SimpleNamespace) -> None:
        unsigned, _ = self.cohorts(rig)
        with pytest.raises(LocalError, match=r"identity is Identity.*: the cohort pins none") as caught:
            check_identity(unsigned, "c1", ANA)
        assert ANA.export_secret().hex() not in str(caught.value)

    def test_a_client_without_one_takes_no_part_where_all_sign(self, rig: SimpleNamespace) -> None:
        _, signed = self.cohorts(rig)
        with pytest.raises(LocalError, match="identity is None: the cohort pins identities, so client 'c1'"):
            check_identity(signed, "c1", None)

    @pytest.mark.parametrize("place", [0, 2, 3])
    def test_a_client_with_anothers_identity(self, rig: SimpleNamespace, place: int) -> None:
        _, signed = self.cohorts(rig)
        with pytest.raises(LocalError, match="is not the one that the cohort pins for client 'c1'"):
            check_identity(signed, "c1", rig.identities(4)[place])


class TestIdentityFiles:
    def test_there_and_back(self, tmp_path: Path) -> None:
        path = tmp_path / "ana.json"
        save_identity(path, "ana", ANA)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        name, found = load_identity(path)
        assert (name, found.public, found.export_secret()) == ("ana", ANA.public, ANA.export_secret())

    def test_never_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "ana.json"
        save_identity(path, "ana", ANA)
        before = path.read_bytes()
        with pytest.raises(LocalError, match="is there already; an identity is never overwritten"):
            save_identity(path, "bo", BO)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
    def test_refused_if_others_may_touch_it(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "ana.json"
        save_identity(path, "ana", ANA)
        path.chmod(mode)
        with pytest.raises(LocalError, match=f"has permissions {mode:o}; a secret key must have 600"):
            load_identity(path)

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda text: text[:-10], "cannot be read"),
            (lambda text: "", "cannot be read"),
            (lambda text: "[]", "is not a file of format 'secagg identity 1'"),
            (lambda text: text.replace("identity 1", "identity 2"), "is not a file of format"),
            (lambda text: text.replace('"secret"', '"secreT"'), "is not a whole identity"),
            (lambda text: text.replace('"name"', '"Name"'), "is not a whole identity"),
            (lambda text: text.replace(ANA.export_secret().hex(), "00" * 31), "is not a whole identity"),
            (lambda text: text.replace(ANA.export_secret().hex(), "zz" * 32), "is not a whole identity"),
        ],
    )
    def test_damaged(self, tmp_path: Path, change: Any, complaint: str) -> None:
        path = tmp_path / "ana.json"
        save_identity(path, "ana", ANA)
        path.write_text(change(path.read_text()))
        with pytest.raises(LocalError, match=complaint) as caught:
            load_identity(path)
        assert ANA.export_secret().hex()[:20] not in str(caught.value)

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "ana.json"
        path.write_bytes(b"\xff\xfe\x00")
        path.chmod(0o600)
        with pytest.raises(LocalError, match="cannot be read"):
            load_identity(path)

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(LocalError, match="cannot be read"):
            load_identity(tmp_path / "nobody.json")


class TestRoster:
    def test_of_the_authority_that_we_know(self) -> None:
        roster = Roster.signed(KEYS, CHIEF)
        roster.check(CHIEF.public)
        assert roster.key("bo") == BO.public
        assert roster.identities(["bo", "ana"]) == (BO.public, ANA.public)
        with pytest.raises(LocalError, match="client is 'cy': is not on the roster"):
            roster.identities(["ana", "cy"])

    def test_the_order_of_its_members_does_not_matter(self) -> None:
        backwards = dict(reversed(KEYS.items()))
        assert Roster.signed(backwards, CHIEF).signature == Roster.signed(KEYS, CHIEF).signature

    def test_of_another_authority(self) -> None:
        roster = Roster.signed(KEYS, OTHER)
        with pytest.raises(DecodeError, match="the roster is signed by another authority"):
            roster.check(CHIEF.public)
        with pytest.raises(DecodeError, match="a signature does not verify"):
            replace(roster, authority=CHIEF.public).check(CHIEF.public)

    @pytest.mark.parametrize(
        "keys",
        [
            {"ana": ANA.public, "bo": OTHER.public},
            {"ana": BO.public, "bo": ANA.public},
            {"ana": ANA.public},
            {"ana": ANA.public, "bo": BO.public, "cy": OTHER.public},
            {"ana": ANA.public, "bO": BO.public},
            {},
        ],
        ids=str,
    )
    def test_of_changed_members(self, keys: dict[str, bytes]) -> None:
        changed = replace(Roster.signed(KEYS, CHIEF), keys=keys)
        with pytest.raises(DecodeError, match="a signature does not verify"):
            changed.check(CHIEF.public)

    def test_names_and_keys_do_not_run_into_each_other(self) -> None:
        one = Roster.signed({"a": ANA.public, "b": BO.public}, CHIEF)
        assert one.signature != Roster.signed({"ab": ANA.public, "b": BO.public}, CHIEF).signature

    @pytest.mark.parametrize(
        ("keys", "complaint"),
        [
            ({"ana": bytes(31)}, "key of 'ana' is 31: an Ed25519 key has 32 bytes"),
            ({"ana": ANA.public, "bo": ANA.public}, "keys is 2: every member must have a key of its own"),
            ({"": ANA.public}, "client name is '': must be text of 1 to 200 bytes"),
            ({"\ud800": ANA.public}, "must be text of 1 to 200 bytes"),
        ],
    )
    def test_what_is_never_signed(self, keys: dict[str, bytes], complaint: str) -> None:
        with pytest.raises(LocalError, match=complaint):
            Roster.signed(keys, CHIEF)

    def write(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "roster.json"
        path.write_text(text)
        return path

    def test_through_json(self, tmp_path: Path) -> None:
        roster = Roster.signed({**KEYS, "zoë": OTHER.public}, CHIEF)
        assert Roster.load(self.write(tmp_path, roster.to_json()), CHIEF.public) == roster

    def test_loaded_under_another_authority(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, Roster.signed(KEYS, CHIEF).to_json())
        with pytest.raises(DecodeError, match="signed by another authority"):
            Roster.load(path, OTHER.public)

    @pytest.mark.parametrize("member", ["ana", "bo"])
    def test_loaded_with_a_member_changed(self, tmp_path: Path, member: str) -> None:
        document = json.loads(Roster.signed(KEYS, CHIEF).to_json())
        document["members"][member] = OTHER.public.hex()
        with pytest.raises(DecodeError, match="a signature does not verify"):
            Roster.load(self.write(tmp_path, json.dumps(document)), CHIEF.public)

    @pytest.mark.parametrize(
        "changes",
        [
            {"members": None},
            {"members": []},
            {"members": {"ana": 5}},
            {"members": {"ana": "zz"}},
            {"members": {"ana": "00"}},
            {"members": {"": ANA.public.hex()}},
            {"members": {"\ud800": ANA.public.hex()}},
            {"authority": None},
            {"signature": 7},
            {"signature": "zz"},
        ],
        ids=str,
    )
    def test_damaged(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        document = {**json.loads(Roster.signed(KEYS, CHIEF).to_json()), **changes}
        with pytest.raises(LocalError, match="is not a whole roster"):
            Roster.load(self.write(tmp_path, json.dumps(document)), CHIEF.public)

    @pytest.mark.parametrize("missing", ["members", "authority", "signature", "format"])
    def test_cut(self, tmp_path: Path, missing: str) -> None:
        document = json.loads(Roster.signed(KEYS, CHIEF).to_json())
        del document[missing]
        with pytest.raises(LocalError, match=r"is not a whole roster|is not a file of format"):
            Roster.load(self.write(tmp_path, json.dumps(document)), CHIEF.public)

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(LocalError, match="cannot be read"):
            Roster.load(tmp_path / "roster.json", CHIEF.public)


class TestKeysOfSmallOrder:
    """Under them signatures hold that nobody made, so they are no identities."""

    P = 2**255 - 19
    D = -121665 * pow(121666, P - 2, P) % P

    def point(self, key: bytes) -> tuple[int, int]:
        """The point of a key: RFC 8032, section 5.1.3, but for the check that y is below p."""
        encoded = int.from_bytes(key, "little")
        y, sign = encoded % 2**255 % self.P, encoded >> 255
        square = (y * y - 1) * pow(self.D * y * y + 1, self.P - 2, self.P) % self.P
        x = pow(square, (self.P + 3) // 8, self.P)
        if (x * x - square) % self.P:
            x = x * pow(2, (self.P - 1) // 4, self.P) % self.P
        assert (x * x - square) % self.P == 0, "no point"
        return (-x % self.P if x % 2 != sign else x), y

    def double(self, point: tuple[int, int]) -> tuple[int, int]:
        x, y = point
        product = self.D * x * x * y * y
        upper, lower = (pow(1 + sign * product, self.P - 2, self.P) for sign in (1, -1))
        return 2 * x * y * upper % self.P, (y * y + x * x) * lower % self.P

    def order_divides_eight(self, key: bytes) -> bool:
        point = self.point(key)
        for _ in range(3):
            point = self.double(point)
        return point == (0, 1)

    @pytest.mark.parametrize("sign", [0, 0x80])
    @pytest.mark.parametrize("known", sorted(_SMALL_ORDER))
    def test_they_are_what_the_list_says(self, known: bytes, sign: int) -> None:
        key = known[:-1] + bytes([known[-1] | sign])
        assert self.order_divides_eight(key)
        assert has_small_order(key)
        with pytest.raises(DecodeError, match="small order"):
            verify(key, Usage.ROSTER, b"content", bytes([1]) + bytes(63))
        with pytest.raises(LocalError, match=r"key of 'cy' is .*anybody can sign for it"):
            Roster.signed({**KEYS, "cy": key}, CHIEF)

    def test_they_are_all_there_is(self) -> None:
        """Five y-coordinates of eight points, and two of them again as p and p + 1."""
        assert {self.point(key)[1] for key in _SMALL_ORDER} | {self.P - 1} == {
            self.point(key)[1] for key in _SMALL_ORDER
        }
        assert len({self.point(key)[1] for key in _SMALL_ORDER}) == 5

    def test_others_are_not(self) -> None:
        assert not self.order_divides_eight(ANA.public)
        assert not any(has_small_order(one.public) for one in (ANA, BO, CHIEF, OTHER))


class TestCohortsOfARoster:
    @pytest.fixture
    def cohort(self, rig: SimpleNamespace) -> Cohort:
        return replace(rig.cohort(InsecurePlain(), 2, 3, 8), members=("ana", "bo"))

    def test_one_with_the_rosters_keys(self, cohort: Cohort) -> None:
        roster = Roster.signed({**KEYS, "cy": OTHER.public}, CHIEF)
        roster.check_cohort(replace(cohort, identities=roster.identities(cohort.members)))

    def test_one_with_a_key_of_the_servers_own(self, cohort: Cohort) -> None:
        roster = Roster.signed(KEYS, CHIEF)
        with pytest.raises(LocalError, match=r"cohort.identities is \['bo'\]"):
            roster.check_cohort(replace(cohort, identities=(ANA.public, OTHER.public)))

    def test_one_that_pins_nobody(self, cohort: Cohort) -> None:
        with pytest.raises(LocalError, match=r"cohort.identities is .none."):
            Roster.signed(KEYS, CHIEF).check_cohort(cohort)

    def test_one_with_a_stranger(self, cohort: Cohort) -> None:
        with pytest.raises(LocalError, match="'bo': is not on the roster"):
            Roster.signed({"ana": ANA.public}, CHIEF).check_cohort(
                replace(cohort, identities=(ANA.public, BO.public))
            )
