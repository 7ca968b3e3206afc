"""``secagg identity`` and ``secagg roster``: from a key to a signed round, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import fl.cli_identity
from secagg import Masking, aggregate
from secagg.identity import Roster, load_identity

ROOT = Path(__file__).parents[2]
KEY, OTHER = "ab" * 32, "cd" * 32
Cli = Callable[..., Result]


def line_of(result: Result) -> str:
    assert (result.exit_code, result.stderr) == (0, "")
    [line] = result.stdout.splitlines()
    return str(line)


@pytest.fixture
def chief(cli: Cli, tmp_path: Path) -> tuple[str, str]:
    """The authority's file, and its public key."""
    path = str(tmp_path / "chief")
    return path, line_of(cli("identity", "new", path)).rpartition("=")[2]


def test_from_new_keys_to_a_signed_sum(cli: Cli, chief: tuple[str, str], tmp_path: Path) -> None:
    authority, public = chief
    paths = {name: tmp_path / f"{name}.json" for name in ("ana", "bo", "cy")}
    lines = {name: line_of(cli("identity", "new", str(path))) for name, path in paths.items()}
    members = [word for line in lines.values() for word in ("--member", line)]
    roster = tmp_path / "roster.json"
    made = line_of(cli("roster", "new", str(roster), "--authority", authority, *members))
    assert made == f"{roster}: 3 members, signed by the authority {public}"
    checked = cli("roster", "check", str(roster), "--authority", public).stdout.splitlines()
    assert checked == [made, *(lines[name] for name in sorted(lines))]

    loaded = Roster.load(roster, bytes.fromhex(public))
    signers = {name: load_identity(path)[1] for name, path in paths.items()}
    updates = {name: np.ones(4, np.float32) for name in paths}
    result = aggregate(updates, backend=Masking(), identities=signers)
    assert result.cohort.identities == loaded.identities(tuple(updates))
    assert result.survivors == tuple(updates)


def test_an_identity_is_its_owners_and_its_secret_is_never_shown(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "ana.json"
    shown = [cli("identity", "new", str(path)), cli("identity", "show", str(path))]
    shown += [cli("identity", "show", str(path), "--json")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    name, identity = load_identity(path)
    assert name == "ana"  # as the file
    assert shown[0].stdout == shown[1].stdout == f"ana={identity.public.hex()}\n"
    assert json.loads(shown[2].stdout)["public"] == identity.public.hex()
    assert all(identity.export_secret().hex() not in one.output for one in shown)


def test_no_two_identities_are_the_same(cli: Cli, tmp_path: Path) -> None:
    keys = [line_of(cli("identity", "new", str(tmp_path / name), "--name", "ana")) for name in ("one", "two")]
    assert keys[0].startswith("ana=")
    assert keys[0] != keys[1]


def test_nothing_is_overwritten(cli: Cli, chief: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_text("my novel")
    verbs = (
        ("identity", "new", str(path)),
        ("roster", "new", str(path), "--authority", chief[0], "--member", f"ana={KEY}"),
    )
    for verb in verbs:
        result = cli(*verb)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "is there already" in result.stderr
        assert result.stderr.startswith(f"secagg {verb[0]} {verb[1]}: ")
    assert path.read_text() == "my novel"


def test_members_come_from_the_command_line_and_from_a_file(
    cli: Cli, chief: tuple[str, str], tmp_path: Path
) -> None:
    listed = tmp_path / "members.json"
    listed.write_text(json.dumps({"bo=x": OTHER, "ana\n": "12" * 32}))
    roster = tmp_path / "roster.json"
    options = ("--authority", chief[0], "--members", str(listed), "--member", f"c=y={KEY}")
    document = json.loads(cli("roster", "new", str(roster), *options, "--json").stdout)
    assert document["members"] == {"ana\n": "12" * 32, "bo=x": OTHER, "c=y": KEY}
    checked = cli("roster", "check", str(roster), "--authority", f"chief={chief[1]}")
    assert checked.stdout.splitlines()[1] == f"'ana\\n'={'12' * 32}"
    assert (
        json.loads(cli("roster", "check", str(roster), "--authority", chief[1], "--json").stdout) == document
    )


@pytest.mark.parametrize(
    ("members", "listed", "parts"),
    [
        ([], None, ["one at least", "--member NAME=PUBLICKEY", "--members FILE"]),
        (["ana"], None, ["--member", "'ana'", "NAME=PUBLICKEY"]),
        (["ana=xyz"], None, ["'ana'", "xyz", "hexadecimal"]),
        ([f"ana={KEY}00"], None, ["'ana'", "64 hexadecimal digits"]),
        ([f"ana={KEY}", f"bo={KEY}"], None, ["a key of its own"]),
        ([f"ana={KEY}", f"ana={OTHER}"], None, ["'ana'", "stands twice"]),
        ([f"={KEY}"], None, ["client name", "1 to 200 bytes"]),
        ([f"ana={KEY}"], f'{{"ana": "{OTHER}"}}', ["'ana'", "stands twice"]),
        ([], f'{{"ana": "{KEY}", "ana": "{OTHER}"}}', ["'ana'", "stands twice"]),
        ([], "{}", ["one at least"]),
        ([], "[]", ["one at least"]),
        ([], '["ana"]', ["--members", "JSON object"]),
        ([], '"ana"', ["--members", "JSON object"]),
        ([], '{"ana": 7}', ["--members", "JSON object"]),
        ([], '{"ana": {"bo": "x"}}', ["--members", "JSON object"]),
        ([], "ana", ["--members", "cannot be read"]),
    ],
)
def test_members_that_cannot_be(
    cli: Cli, chief: tuple[str, str], tmp_path: Path, members: list[str], listed: str | None, parts: list[str]
) -> None:
    roster = tmp_path / "roster.json"
    words = [word for member in members for word in ("--member", member)]
    if listed is not None:
        (tmp_path / "listed").write_text(listed)
        words += ["--members", str(tmp_path / "listed")]
    result = cli("roster", "new", str(roster), "--authority", chief[0], *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert all(part in result.stderr for part in parts), result.stderr
    assert not roster.exists()


def test_a_roster_of_another_authority_fails_and_one_that_is_none_is_misuse(
    cli: Cli, chief: tuple[str, str], tmp_path: Path
) -> None:
    roster = tmp_path / "roster.json"
    cli("roster", "new", str(roster), "--authority", chief[0], "--member", f"ana={KEY}")
    result = cli("roster", "check", str(roster), "--authority", KEY)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "signed by another authority" in result.stderr
    roster.write_text(roster.read_text().replace(KEY, OTHER))
    result = cli("roster", "check", str(roster), "--authority", chief[1])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not verify" in result.stderr
    assert cli("roster", "check", str(roster), "--authority", "there").exit_code == 2
    for wrong in (chief[0], str(tmp_path / "nothing")):
        assert cli("roster", "check", wrong, "--authority", chief[1]).exit_code == 2


def test_files_that_are_no_identity_of_ours(cli: Cli, chief: tuple[str, str], tmp_path: Path) -> None:
    path = Path(chief[0])
    path.chmod(0o644)
    member = ("--member", f"ana={KEY}")
    for verb in (
        ("identity", "show", str(path)),
        ("roster", "new", str(tmp_path / "r"), "--authority", str(path), *member),
    ):
        result = cli(*verb)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "has permissions 644" in result.stderr
    result = cli("identity", "show", str(tmp_path / "nothing"))
    assert (result.exit_code, "cannot be read" in result.stderr) == (2, True)
    result = cli("identity", "new", str(tmp_path / "x"), "--name", "")
    assert (result.exit_code, "client name" in result.stderr) == (2, True)
    result = cli("identity", "new", str(tmp_path / "no" / "where"))
    assert (result.exit_code, f"'{tmp_path / 'no'}' does not exist" in result.stderr) == (2, True)
    result = cli("identity", "new", str(path / "where"))
    assert (result.exit_code, f"'{path}' is not a directory" in result.stderr) == (2, True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", ["my novel", "[]", '{"format": "secagg roster 1"}', None])
def test_of_what_is_no_identity_that_is_said_and_not_its_permissions(
    cli: Cli, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "other"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    path.chmod(0o755)
    result = cli("identity", "show", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is no file of `secagg identity new`" in result.stderr
    assert "permissions" not in result.stderr


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\x7f", "a\u202eb"])
def test_a_name_that_would_move_the_cursor_is_refused(cli: Cli, tmp_path: Path, name: str) -> None:
    path = tmp_path / "x"
    for words in ((str(path), "--name", name), (str(tmp_path / name),)):
        result = cli("identity", "new", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--name" in result.stderr
        assert name not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ana", "ana maria", "it's; $(rm)", "a=b", "*"])
def test_what_a_terminal_shows_can_be_pasted_and_what_a_pipe_gets_is_the_name(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "x"
    plain = line_of(cli("identity", "new", str(path), "--name", name))
    assert plain.rpartition("=")[0] == name
    monkeypatch.setattr(fl.cli_identity, "_on_terminal", lambda: True)
    shown = line_of(cli("identity", "show", str(path)))
    assert shlex.split(shown) == [plain]


def test_a_full_disk_is_a_failure_and_leaves_no_half_roster(
    cli: Cli, chief: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fl.cli_identity.os, "fsync", full)
    roster = tmp_path / "roster.json"
    result = cli("roster", "new", str(roster), "--authority", chief[0], "--member", f"ana={KEY}")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No space left" in result.stderr
    assert not roster.exists()


@pytest.mark.parametrize("verb", ["identity", "roster"])
def test_every_field_of_the_documents_is_in_the_manual(
    cli: Cli, chief: tuple[str, str], tmp_path: Path, verb: str
) -> None:
    chapter = (ROOT / "docs" / "cli.md").read_text().split(f"## secagg {verb}")[1].split("\n## ")[0]
    roster = ("roster", "new", str(tmp_path / "r"), "--authority", chief[0], "--member", f"ana={KEY}")
    document: dict[str, Any] = json.loads(
        cli(*(("identity", "show", chief[0]) if verb == "identity" else roster), "--json").stdout
    )
    assert document["format"] == 1
    assert all(f"`{name}`" in chapter for name in document)
