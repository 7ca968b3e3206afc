"""The vector files hold what the reference computes, and the toolkit sends and refuses just that."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError, PeerError
from mpc.party import SERVER, Message
from mpc.tape import RecordedTape
from secagg.linkedserver import LinkedServer
from tests.reference.cohort import Cohort
from tests.reference.degree import NoDegree, Tolerance, degree_and_threshold
from tests.reference.primitives import ed25519_public
from tests.reference.rounds import PHASES, Round, Sent, Setting
from tests.vectors import generate_masking, toolkit
from tests.vectors.files import FOLDER, Record, load, names, setting_of
from tests.vectors.toolkit import ToolkitRound

REFERENCE = Path(__file__).parents[1] / "reference"
LINKED = names("links-")
ROUNDS = sorted(set(names()) - {*LINKED, "parameters", "negative"})
NEGATIVE = load("negative")
# How the toolkit words the rules of section 12.3 and 12.4, those of section 4, and two more.
WORDS = {
    "4": r"bytes|bitmap|padding bits|proof of another length|wrong length",
    "7.1": r"signature does not verify",
    "8.1": r"small order",
    "12.3 (1)": r"for another cohort",
    "12.3 (2)": r"leaves me out|the threshold is|not seen before|holders of my shares|short|not survivors",
    "12.3 (3)": r"does not lead to the root|other keys for me|are not signed by",
    "12.3 (4)": r"small order|not expected in state",
    "12.3 (5)": r"were shown the same sets",
    "12.3 (6)": r"not expected in state",
    "12.4": r"did not deal|dealt none",
}


def id_of(case: Record) -> str:
    return str(case["name"])


def number(who: str) -> int:
    """The index of "client 2"."""
    return int(who.removeprefix("client "))


@cache
def base(name: str) -> Round:
    return Round(setting_of(load(name)))


def toolkit_round(setting: Setting, lies: dict[tuple[str, int], bytes] | None = None) -> ToolkitRound:
    clients = [toolkit.client_of(setting, me) for me in setting.cohort.everybody]
    return ToolkitRound(setting, clients, toolkit.server_of(setting), lies)


def in_order(found: list[Sent]) -> list[Sent]:
    """By phase, direction and client: who speaks first in a phase is the network's affair."""
    return sorted(found, key=lambda sent: (PHASES.index(sent.phase), sent.to_server, sent.client))


def test_the_reference_imports_nothing_of_the_toolkit() -> None:
    for path in REFERENCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {name.split(".")[0] for name in modules} & {"mpc", "secagg", "fl", "numpy"}, path


def test_the_reference_writes_every_byte_of_the_files() -> None:
    written = generate_masking.build()
    assert written.keys() == {path.name for path in FOLDER.glob("*.json")}
    for name, content in written.items():
        assert content == (FOLDER / name).read_text("utf-8"), name


@pytest.mark.parametrize("name", ROUNDS)
def test_a_file_alone_determines_its_round(name: str) -> None:
    """Nothing that the generator knows beyond the file goes into messages and sum."""
    record, played = load(name), base(name)
    assert len(record["messages"]) == len(played.messages)
    for told, sent in zip(record["messages"], played.messages, strict=True):
        shown = "payload" in told
        assert told == generate_masking.message_record(sent, (sent.client,) if shown else ())
    assert record["sum"] == played.total
    kept = [record["clients"][index]["vector"] for index in record["survivors"]]
    assert played.total == [sum(column) for column in zip(*kept, strict=True)]


@pytest.mark.parametrize("name", ROUNDS)
def test_the_toolkit_sends_every_byte(name: str) -> None:
    played = toolkit_round(base(name).setting)
    assert in_order(played.payloads()) == in_order(base(name).messages)
    assert played.result is not None
    assert played.result.total.tolist() == load(name)["sum"]
    assert list(played.result.survivors) == load(name)["survivors"]


@pytest.mark.parametrize("name", LINKED)
def test_the_toolkit_sends_every_byte_over_links(name: str) -> None:
    record, setting = load(name), setting_of(load(name))
    cohort, limit = toolkit.cohort_of(setting), record["max_message_bytes"]
    clients = [toolkit.linked_client_of(setting, me, limit) for me in setting.cohort.everybody]
    key = bytes.fromhex(record["server_link_private"])
    tape = RecordedTape(bytes.fromhex("".join(link["server_salt"] for link in record["links"])))
    server = LinkedServer(toolkit.server_of(setting), cohort, key, {}, tape, limit)
    played = ToolkitRound(setting, clients, server)
    told = [bytes.fromhex(message["message"]) for message in record["messages"]]
    assert sorted(message.encode() for message in played.messages) == sorted(told)
    assert [Message.decode(message).encode() for message in told] == told
    assert played.result is not None
    assert played.result.total.tolist() == record["sum"]


@pytest.mark.parametrize(
    "row", load("parameters")["parameters"], ids=lambda row: "-".join(map(str, row.values()))
)
def test_the_toolkit_finds_the_same_degree(row: Record) -> None:
    tolerance = toolkit.tolerance(row["corrupt"], row["dropout"], row["adversary"])
    if row["graph"] == "none":
        with pytest.raises(LocalError):
            tolerance.parameters(row["members"], row["listed"])
        return
    found = tolerance.parameters(row["members"], row["listed"])
    assert found.complete == (row["graph"] == "complete")
    if not found.complete:
        assert (found.degree, found.threshold) == (row["degree"], row["threshold"])


@settings(max_examples=60)
@given(
    members=st.integers(2, 90),
    left_out=st.integers(0, 3),
    corrupt=st.sampled_from(["0", "0.01", "0.05", "0.1", "0.25"]),
    dropout=st.sampled_from(["0", "0.01", "0.05", "0.1", "0.29"]),
    adversary=st.sampled_from(["none", "semi-honest", "malicious"]),
)
def test_degree_and_threshold_are_those_of_exact_fractions(
    members: int, left_out: int, corrupt: str, dropout: str, adversary: str
) -> None:
    listed = max(2, members - left_out)
    corrupt = "0" if adversary == "none" else corrupt
    try:
        expected = degree_and_threshold(Tolerance(corrupt, dropout, adversary), members, 0, listed)
    except NoDegree:
        expected = None
    try:
        found = toolkit.tolerance(corrupt, dropout, adversary).parameters(members, listed)
    except LocalError:
        assert expected is None
    else:
        assert expected == (found.degree, 0 if found.complete else found.threshold)


@pytest.mark.parametrize("case", NEGATIVE["to_clients"], ids=id_of)
def test_a_client_refuses_at_the_named_step(case: Record) -> None:
    honest, me = base(case["base"]), number(case["to"])
    client = toolkit.client_of(honest.setting, me)

    def put(phase: str, payload: bytes) -> bytes:
        cohort = client.cohort
        (answer,) = client.receive(Message(cohort.session, cohort.round, phase, SERVER, client.id, payload))
        return bytes(answer.payload)

    def put_all(lies: Sequence[Record]) -> None:
        for lie in lies:
            put(lie["phase"], bytes.fromhex(lie["payload"]))

    client.start()
    for phase in case["delivered"]:
        assert put(phase, honest.asked(me, phase)) == honest.answered(me, phase)
    if case["refused_by"] is None:
        assert put(case["phase"], bytes.fromhex(case["payload"])).hex() == case["answer"]
        return
    with pytest.raises(PeerError, match=WORDS[case["step"]]):
        put_all([case, case["at_the_latest"]] if "at_the_latest" in case else [case])
    for sent in honest.messages:
        if sent.client == me and not sent.to_server:
            with pytest.raises(PeerError, match="refused"):
                put(sent.phase, sent.payload)


@pytest.mark.parametrize("case", NEGATIVE["to_server"], ids=id_of)
def test_the_server_refuses_at_the_named_step(case: Record) -> None:
    setting, liar = base(case["base"]).setting, number(case["from"])
    clients, server = (
        [toolkit.client_of(setting, me) for me in setting.cohort.everybody],
        toolkit.server_of(setting),
    )
    lies = {(case["phase"], liar): bytes.fromhex(case["payload"])}
    played = ToolkitRound(setting, clients, server, lies)
    if case["step"] is None:
        assert not server.rejected
    else:
        assert server.rejected.keys() == {liar}
        assert re.search(WORDS[case["step"]], server.rejected[liar].reason)
    outcome = case["outcome"]
    if "aborts" in outcome:
        assert played.abort is not None
        assert played.abort.evidence == {"client": setting.cohort.members[number(outcome["names"])]}
    else:
        assert played.result is not None
        assert list(played.result.survivors) == outcome["survivors"]
        assert played.result.total.tolist() == outcome["sum"]


@st.composite
def random_settings(draw: st.DrawFn) -> Setting:
    """A cohort of 2 to 8, on the complete graph or a sparse one, of whom some fall silent."""
    size = draw(st.integers(2, 8))
    bits, length = draw(st.integers(2, 48)), draw(st.integers(1, 6))
    secrets = [bytes([me + 1] * 32) for me in range(size)] if draw(st.booleans()) else []
    tolerance = draw(
        st.sampled_from([None, Tolerance("0", "0", "malicious"), Tolerance("0", "0", "semi-honest")])
    )
    cohort = Cohort(
        session=draw(st.binary(min_size=16, max_size=16)),
        round=draw(st.integers(0, 2**32 - 1)),
        members=tuple(f"c{me}" for me in range(size)),
        threshold=max(2, size // 2 + 1),
        length=length,
        bits=bits,
        server_key=bytes(range(32)),
        model_hash=draw(st.binary(min_size=32, max_size=32)),
        identities=tuple(map(ed25519_public, secrets)),
    )
    entries = st.integers(-cohort.max_entry, cohort.max_entry)
    row = st.lists(entries, min_size=length, max_size=length)
    vectors = draw(st.lists(row, min_size=size, max_size=size))
    seeds = draw(st.lists(st.binary(max_size=8), min_size=size, max_size=size, unique=True))
    silent = draw(st.dictionaries(st.integers(0, size - 1), st.sampled_from(PHASES), max_size=2))
    return Setting(cohort, tolerance, seeds, vectors, secrets, silent)


@settings(max_examples=25)
@given(setting=random_settings())
def test_random_rounds_are_the_same_to_the_byte(setting: Setting) -> None:
    """With their outcome: the sum, or none where too few are left."""
    expected, played = Round(setting), toolkit_round(setting)
    assert in_order(played.payloads()) == in_order(expected.messages)
    assert (played.result is None) == (expected.total is None)
    if played.result is not None:
        assert played.result.total.tolist() == expected.total
