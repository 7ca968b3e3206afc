"""``secagg identity`` and ``secagg roster``: signing keys, and the list that pins them (spec section 7.1).

A member is always written NAME=PUBLICKEY, the key in hexadecimal digits, on a line of its own: what one verb
prints the next one takes. A secret key is never printed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fl.cli_plain import fail, print_json
from mpc.errors import DecodeError, LocalError
from mpc.tape import SystemTape
from secagg.cohort import check_name
from secagg.identity import PUBLIC_BYTES, Identity, Roster, load_identity, save_identity

FORMAT = 1
FAILED = 1
_DEVICE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def new_identity(path: Path, name: str | None, *, as_json: bool) -> int:
    """Make an identity file; named after the file unless ``name`` is given. The exit code."""
    name = path.stem if name is None else name
    identity = Identity.generate(SystemTape())
    try:
        check_name(name)
        if not name.isprintable():
            raise LocalError("--name", name, "must be of characters that can be printed")
        save_identity(path, name, identity)
    except (LocalError, OSError) as error:
        return _failed("identity new", _located(path, error))
    _show_identity(path, name, identity.public, as_json)
    return 0


def show_identity(path: Path, *, as_json: bool) -> int:
    """Print name and public key of an identity file. The exit code."""
    try:
        name, identity = load_identity(path)
    except LocalError as error:
        other = LocalError("path", str(path), "is no file of `secagg identity new`")
        return _failed("identity show", other if _is_something_else(path) else error)
    _show_identity(path, name, identity.public, as_json)
    return 0


def new_roster(
    path: Path, authority: Path, members: Sequence[str], list_file: Path | None, *, as_json: bool
) -> int:
    """Sign the members with the identity in ``authority`` and write them to a new file. The exit code."""
    try:
        keys = _collect(members, list_file)
        _, chief = load_identity(authority)
        roster = Roster.signed(keys, chief)
        _write_new(path, roster.to_json())
    except (LocalError, OSError) as error:
        return _failed("roster new", _located(path, error))
    if as_json:
        print_json(_roster_document(path, roster))
    else:
        print(f"{path}: {_count(roster)}, signed by the authority {roster.authority.hex()}")
    return 0


def check_roster(path: Path, authority: str, *, as_json: bool) -> int:
    """Verify a roster and list its members. The exit code: 1 if the authority did not sign this."""
    try:
        roster = Roster.load(path, _key("--authority", authority.rpartition("=")[2]))
    except LocalError as error:
        return _failed("roster check", error)
    except DecodeError as error:
        return fail("roster check", f"{path}: {error}", FAILED)
    if as_json:
        print_json(_roster_document(path, roster))
        return 0
    print(f"{path}: {_count(roster)}, signed by the authority {roster.authority.hex()}")
    for name, key in sorted(roster.keys.items()):
        print(_line(name, key))
    return 0


def _show_identity(path: Path, name: str, public: bytes, as_json: bool) -> None:
    if as_json:
        print_json({"format": FORMAT, "path": str(path), "name": name, "public": public.hex()})
    else:
        print(_line(name, public))


def _roster_document(path: Path, roster: Roster) -> dict[str, Any]:
    members = {name: key.hex() for name, key in sorted(roster.keys.items())}
    return {"format": FORMAT, "path": str(path), "authority": roster.authority.hex(), "members": members}


def _line(name: str, public: bytes) -> str:
    """For a person at a terminal the name is quoted, to be pasted; a program gets it as it is."""
    if not name.isprintable():  # it may move a terminal's cursor
        name = ascii(name)
    elif _on_terminal():
        name = shlex.quote(name)
    return f"{name}={public.hex()}"


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def _count(roster: Roster) -> str:
    return "1 member" if len(roster.keys) == 1 else f"{len(roster.keys):,} members"


def _collect(members: Sequence[str], list_file: Path | None) -> dict[str, bytes]:
    """The members of the command line and of the file; each name may stand once."""
    found: dict[str, bytes] = {}
    listed = [] if list_file is None else _read_list(list_file)
    for name, digits in (*(_parted(member) for member in members), *listed):
        if name in found:
            raise LocalError("--member", name, "stands twice")
        found[name] = _key(f"key of {name!r}", digits)
    if not found:
        raise LocalError("members", 0, "a roster has one at least: --member NAME=PUBLICKEY, --members FILE")
    return found


def _parted(member: str) -> tuple[str, str]:
    name, equals, digits = member.rpartition("=")
    if not equals:
        raise LocalError("--member", member, "must be NAME=PUBLICKEY")
    return name, digits


def _read_list(path: Path) -> Iterable[tuple[str, str]]:
    """The pairs of a JSON object name → key, repeated names included."""
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
    except (OSError, ValueError) as error:
        raise LocalError("--members", str(path), f"cannot be read: {error}") from None
    if not isinstance(pairs, list) or not all(
        isinstance(pair, tuple) and isinstance(pair[1], str) for pair in pairs
    ):
        raise LocalError("--members", str(path), 'must hold a JSON object {"NAME": "PUBLICKEY", …}')
    return pairs


def _key(argument: str, digits: str) -> bytes:
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        raise LocalError(argument, digits, "must be hexadecimal digits") from None
    if len(key) != PUBLIC_BYTES:
        raise LocalError(argument, digits, f"an Ed25519 key has {2 * PUBLIC_BYTES} hexadecimal digits")
    return key


def _write_new(path: Path, text: str) -> None:
    """A new file, whole or not at all."""
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise LocalError("path", str(path), "is there already; a roster is never overwritten") from None
    try:
        with file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _located(path: Path, error: LocalError | OSError) -> LocalError | OSError:
    """The error, or what is wrong with the directory that ``path`` is to be in."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError) or path.parent.is_dir():
        return error
    wrong = "is not a directory" if path.parent.exists() else "does not exist"
    return LocalError("path", str(path), f"its directory {str(path.parent)!r} {wrong}")


def _is_something_else(path: Path) -> bool:
    """Whether this can be read and is no identity at all: then its permissions do not matter."""
    try:
        if not path.is_file():
            return path.exists()
        content = json.loads(path.read_bytes())
    except OSError:
        return False
    except ValueError:
        return True
    return not (isinstance(content, dict) and str(content.get("format")).startswith("secagg identity"))


def _failed(verb: str, error: LocalError | OSError) -> int:
    """2 for what the caller can name otherwise, 1 for a device that does not take the file."""
    device = isinstance(error, OSError) and error.errno in _DEVICE_ERRORS
    return fail(verb, error, FAILED if device else 2)
