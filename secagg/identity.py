"""Long-term signing keys, and the roster that pins them (spec section 7.1).

An identity is an Ed25519 key pair (RFC 8032). A roster says which public key belongs to which name, under
the signature of an authority whose key every party was given beforehand. With a roster a client cannot be
impersonated, by the server or anyone else.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mpc.errors import DecodeError, LocalError
from mpc.prg import Usage, tag
from mpc.tape import RandomTape
from mpc.wire import Writer
from secagg.cohort import Cohort, check_name

PUBLIC_BYTES = 32
SECRET_BYTES = 32
SIGNATURE_BYTES = 64
# The y-coordinates of the eight points of small order on Curve25519's Edwards form, and those of p and p + 1:
# under such a key signatures verify that nobody made (Chalkias et al. 2020, eprint 2020/1244).
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
_IDENTITY_FORMAT = "secagg identity 1"
_ROSTER_FORMAT = "secagg roster 1"


class Identity:
    """One party's signing key."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise LocalError("len(secret)", len(secret), f"an Ed25519 key has {SECRET_BYTES} bytes")
        self._key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, tape: RandomTape) -> Identity:
        return cls(tape.read(SECRET_BYTES))

    def sign(self, usage: Usage, content: bytes) -> bytes:
        """64 bytes over ``content``, which no other usage's verifier takes."""
        return self._key.sign(tag(usage) + content)

    def export_secret(self) -> bytes:
        return self._key.private_bytes_raw()

    def __repr__(self) -> str:
        return f"Identity(<secret>, public={self.public.hex()[:16]}…)"


def verify(public: bytes, usage: Usage, content: bytes, signature: bytes) -> None:
    """Raises ``DecodeError`` unless ``signature`` is that of ``public`` on ``content`` in this usage."""
    if has_small_order(public):
        raise DecodeError("a signature under a key of small order, which proves nothing")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, tag(usage) + content)
    except (InvalidSignature, ValueError):
        raise DecodeError("a signature does not verify") from None


def has_small_order(public: bytes) -> bool:
    """Whether this Ed25519 public key is one that anybody can sign for."""
    return public[:-1] + bytes([public[-1] & 0x7F]) in _SMALL_ORDER if public else False


def check_identity(cohort: Cohort, me: str, identity: Identity | None) -> None:
    """``LocalError`` unless this client signs just when its cohort does, with the key pinned there."""
    if identity is None and not cohort.signed:
        return
    if identity is None:
        raise LocalError("identity", None, f"the cohort pins identities, so client {me!r} has to sign")
    if not cohort.signed:
        raise LocalError("identity", identity, "the cohort pins none: nobody else in this round would sign")
    if identity.public != cohort.identities[cohort.index(me)]:
        raise LocalError("identity", identity, f"is not the one that the cohort pins for client {me!r}")


def save_identity(path: str | Path, name: str, identity: Identity) -> None:
    """A new file that only its owner may read; an existing one is never overwritten."""
    content = {"format": _IDENTITY_FORMAT, "name": name, "secret": identity.export_secret().hex()}
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:
        raise LocalError("path", str(path), "is there already; an identity is never overwritten") from None
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def load_identity(path: str | Path) -> tuple[str, Identity]:
    """Name and identity; ``LocalError`` for a file that others may read, or that is no identity."""
    path = Path(path)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise LocalError("path", str(path), f"cannot be read: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise LocalError("path", str(path), f"has permissions {mode:o}; a secret key must have 600")
    content = _load(path, _IDENTITY_FORMAT)
    try:
        return str(content["name"]), Identity(bytes.fromhex(str(content["secret"])))
    except (KeyError, ValueError):
        raise LocalError("path", str(path), "is not a whole identity") from None


@dataclass(frozen=True)
class Roster:
    """Names and their public keys, under an authority's signature.

    ``LocalError`` for a name that no cohort could have, or a key that is none or another member's.
    """

    keys: Mapping[str, bytes]
    authority: bytes
    signature: bytes

    def __post_init__(self) -> None:
        for name, key in self.keys.items():
            check_name(name)
            if len(key) != PUBLIC_BYTES:
                raise LocalError(f"key of {name!r}", len(key), f"an Ed25519 key has {PUBLIC_BYTES} bytes")
            if has_small_order(key):
                raise LocalError(f"key of {name!r}", key.hex(), "has small order: anybody can sign for it")
        if len(set(self.keys.values())) < len(self.keys):
            raise LocalError("keys", len(self.keys), "every member must have a key of its own")

    @classmethod
    def signed(cls, keys: Mapping[str, bytes], authority: Identity) -> Roster:
        """The roster of these members, signed by ``authority``."""
        cls(keys, authority.public, b"")
        signature = authority.sign(Usage.ROSTER, _roster_content(keys))
        return cls(dict(keys), authority.public, signature)

    def check(self, authority: bytes) -> None:
        """Raises ``DecodeError`` unless this roster is signed by the authority that we were given."""
        if self.authority != authority:
            raise DecodeError("the roster is signed by another authority")
        verify(authority, Usage.ROSTER, _roster_content(self.keys), self.signature)

    def key(self, name: str) -> bytes:
        if name not in self.keys:
            raise LocalError("client", name, "is not on the roster")
        return self.keys[name]

    def identities(self, members: Sequence[str]) -> tuple[bytes, ...]:
        """The members' keys in their order, as a cohort pins them."""
        return tuple(self.key(name) for name in members)

    def check_cohort(self, cohort: Cohort) -> None:
        """``LocalError`` unless the cohort pins for each member the key that stands here.

        For a client that was handed its cohort by the server: with keys of the server's own making in it, the
        signatures in the round would prove nothing.
        """
        if cohort.identities != self.identities(cohort.members):
            differing = [
                name
                for name, pinned in zip(cohort.members, cohort.identities, strict=False)
                if pinned != self.key(name)
            ]
            raise LocalError("cohort.identities", differing or "none", "must be those of the roster")

    def to_json(self) -> str:
        members = {name: key.hex() for name, key in sorted(self.keys.items())}
        fields = {"format": _ROSTER_FORMAT, "members": members}
        fields |= {"authority": self.authority.hex(), "signature": self.signature.hex()}
        return json.dumps(fields, indent=2) + "\n"

    @classmethod
    def load(cls, path: str | Path, authority: bytes) -> Roster:
        """A file's roster: ``LocalError`` if it is none, ``DecodeError`` if ``authority`` did not sign it."""
        path = Path(path)
        content = _load(path, _ROSTER_FORMAT)
        try:
            keys = {str(name): bytes.fromhex(key) for name, key in content["members"].items()}
            authority_key, signature = (bytes.fromhex(content[field]) for field in ("authority", "signature"))
            found = cls(keys, authority_key, signature)
        except (KeyError, ValueError, AttributeError, TypeError):
            raise LocalError("path", str(path), "is not a whole roster") from None
        found.check(authority)
        return found


def _roster_content(keys: Mapping[str, bytes]) -> bytes:
    writer = Writer().u32(len(keys))
    for name in sorted(keys):
        writer.blob(name.encode()).fixed(keys[name], PUBLIC_BYTES)
    return writer.finish()


def _load(path: Path, expected: str) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LocalError("path", str(path), f"cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != expected:
        raise LocalError("path", str(path), f"is not a file of format {expected!r}")
    return content
