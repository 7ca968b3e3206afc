"""mpc.saving: what a class lists is its state, and a dump fits where it was made."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import pytest

from mpc.errors import DecodeError, LocalError
from mpc.party import Role
from mpc.saving import DIGEST_BYTES, declared, dump, load, put, take
from mpc.snapshot import encode, enumeration

CONTEXT = {"backend": "plain", "party": "client 3", "checks": ("a", "b"), "cohort": b"digest"}


KINDS = (enumeration(Role),)


class Base:
    saved: ClassVar[tuple[str, ...]] = ("state",)

    def __init__(self) -> None:
        self.state = "ready"
        self.public = "never changes"


class Silent(Base):
    """Adds nothing, and so lists nothing."""


class Derived(Silent):
    saved = ("_sum", "_later", "state")
    _later: int

    def __init__(self) -> None:
        super().__init__()
        self._sum = 0


def test_the_lists_of_a_class_and_its_bases_are_one() -> None:
    assert declared(Derived) == ("state", "_sum", "_later")
    assert declared(Silent) == ("state",)
    assert declared(object) == ()


def test_what_is_taken_is_put_back() -> None:
    one, other = Derived(), Derived()
    one.state, one._sum, one.public = "sent", 5, "changed"
    put(other, take(one))
    assert vars(other) == {"state": "sent", "_sum": 5, "public": "never changes"}


def test_an_attribute_that_is_there_for_a_while() -> None:
    early, late = Derived(), Derived()
    late._later = 7
    state = take(early)
    put(early, take(late))
    assert early._later == 7
    put(early, state)
    assert not hasattr(early, "_later")


@pytest.mark.parametrize(
    "values", [{"public": 3}, {"state": 1, "_sum": 2, "public": 3}, ["state", "_sum"], 3]
)
def test_a_state_of_other_attributes_is_refused_whole(values: dict[str, object]) -> None:
    owner = Derived()
    with pytest.raises(DecodeError, match="the state of no Derived"):
        put(owner, values)
    assert take(owner) == take(Derived())


def test_a_dump_is_loaded_where_it_was_made() -> None:
    state = {"role": Role.SERVER, "sum": [1, 2]}
    assert load(dump(CONTEXT, state, KINDS), dict(reversed(CONTEXT.items())), KINDS) == state


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("backend", "masking", r"backend of the dump is 'plain': is 'masking' here"),
        ("party", "server", r"party of the dump is 'client 3': is 'server' here"),
        ("checks", ("a",), r"checks of the dump is \('a', 'b'\): is \('a',\) here"),
        ("cohort", b"another", r"cohort of the dump is b'digest': is b'another' here"),
        ("new", 1, r"new of the dump is None: is 1 here"),
    ],
)
def test_a_dump_of_another_place_is_refused_by_name(name: str, value: object, complaint: str) -> None:
    # Not even the classes in the state have to be known here.
    with pytest.raises(LocalError, match=complaint):
        load(dump(CONTEXT, Role.SERVER, KINDS), {**CONTEXT, name: value}, ())


def test_what_is_missing_here_is_refused_as_well() -> None:
    here = {name: value for name, value in CONTEXT.items() if name != "checks"}
    with pytest.raises(LocalError, match=r"checks of the dump is \('a', 'b'\): is None here"):
        load(dump(CONTEXT, 1, ()), here, ())


def test_another_version_is_refused_by_number() -> None:
    body = b"\2" + dump(CONTEXT, 1, ())[1:-DIGEST_BYTES]
    with pytest.raises(LocalError, match="version of the dump is 2: this program reads version 1"):
        load(body + hashlib.sha256(body).digest(), CONTEXT, ())


def test_any_damage_is_found() -> None:
    data = dump(CONTEXT, {"sum": 1}, ())
    damaged = [data[:end] for end in range(len(data))] + [data + b"\0"]
    damaged += [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(len(data))]
    for content in damaged:
        with pytest.raises(DecodeError, match="digest does not match"):
            load(content, CONTEXT, ())


def test_a_digest_does_not_make_a_dump() -> None:
    for body in (b"", b"\1", b"\1" + b"\2\0\0\0" + b"\1\0" + encode(1)):
        with pytest.raises(DecodeError):
            load(body + hashlib.sha256(body).digest(), CONTEXT, ())


@pytest.mark.parametrize("data", ["text", None, 3])
def test_a_dump_is_bytes(data: object) -> None:
    with pytest.raises(LocalError, match=r"data is .*must be the bytes that dump"):
        load(data, CONTEXT, KINDS)  # type: ignore[arg-type]
