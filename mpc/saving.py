"""Saving: which attributes of a party are its state, and dumps that fit one party only (spec section 5.1).

A class lists as ``saved`` the attributes that its methods change; the lists of a class and its bases are one.
The rest of an object is what its constructor makes of public arguments and long-term keys: whoever restores a
party constructs it, and then puts the state in.

A dump holds everything that its party knows and may not tell. Keep it as the party's keys are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mpc.errors import DecodeError, LocalError
from mpc.snapshot import Kind, decode, encode
from mpc.wire import Reader, Writer

VERSION = 1
DIGEST_BYTES = 32


def declared(cls: type) -> tuple[str, ...]:
    """What a class and its bases list as ``saved``, bases first."""
    found = (name for base in reversed(cls.__mro__) for name in vars(base).get("saved", ()))
    return tuple(dict.fromkeys(found))


def take(owner: object) -> dict[str, object]:
    """The state of ``owner``: its ``saved`` attributes by name, of those that it has by now."""
    return {name: getattr(owner, name) for name in declared(type(owner)) if hasattr(owner, name)}


def put(owner: object, values: object) -> None:
    """Give ``owner`` the state that ``take`` took; ``DecodeError``, and no change, if it is another's."""
    names = declared(type(owner))
    if not isinstance(values, dict) or not values.keys() <= set(names):
        raise DecodeError(f"the state of no {type(owner).__name__}")
    for name in names:
        if name in values:
            setattr(owner, name, values[name])
        else:
            vars(owner).pop(name, None)


def dump(context: Mapping[str, object], state: object, kinds: Sequence[Kind]) -> bytes:
    """``state`` as bytes that :func:`load` reads in the same ``context`` only, names → plain public values.

    Version (1 byte) ‖ context (32-bit length before it) ‖ state ‖ SHA-256 of all before. The digest finds
    accidents; whoever can write a dump can write a digest as well.
    """
    body = Writer().u8(VERSION).blob(encode(dict(context))).finish() + encode(state, kinds)
    return body + hashlib.sha256(body).digest()


def load(data: bytes | memoryview, context: Mapping[str, object], kinds: Sequence[Kind]) -> Any:
    """The state in a dump. ``LocalError`` names what differs from ``context``; ``DecodeError``: damaged."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise LocalError("data", type(data).__name__, "must be the bytes that dump() gave")
    body = memoryview(data)[: max(0, len(data) - DIGEST_BYTES)]
    if hashlib.sha256(body).digest() != data[len(body) :]:
        raise DecodeError("a dump whose digest does not match its content")
    reader = Reader(body)
    if (version := reader.u8()) != VERSION:
        raise LocalError("version of the dump", version, f"this program reads version {VERSION}")
    saved = decode(reader.blob())
    for name in _names(saved, context):
        if saved.get(name) != context.get(name):
            raise LocalError(f"{name} of the dump", saved.get(name), f"is {context.get(name)!r} here")
    return decode(reader.rest(), kinds)


def _names(saved: object, context: Mapping[str, object]) -> Iterable[str]:
    if not isinstance(saved, dict):
        raise DecodeError("a dump without a context")
    return dict.fromkeys((*context, *saved))
