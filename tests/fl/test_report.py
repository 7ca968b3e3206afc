"""The report: whole or not at all, needing nothing beside it, and with the figures of the training."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fl.backends import make_backend
from fl.cli_app import app
from fl.config import TrainingConfig
from fl.events import Refused, RoundReport
from fl.report import document, write_report
from fl.report_charts import STATES, accuracy_chart, amount_text, bars, client_grid, state, state_counts
from fl.report_figure import _COLOURS, _draw_clients
from fl.report_html import page

CONFIG = TrainingConfig(clients=6, rounds=3, malicious=1)
NAMES = CONFIG.names
FILES = ["report.html", "report.json", "report.png"]


def report_of(number: int, **changes: Any) -> RoundReport:
    plain = RoundReport(
        round=number,
        accuracy=0.25 * number,
        loss=1.0 / number,
        train_accuracy=0.25 * number + 0.1,
        train_loss=0.5,
        participants=NAMES[:5],
        survivors=(NAMES[0], NAMES[2], NAMES[4]),
        dropped=(NAMES[1],),
        rejected=(Refused(NAMES[3], "structural", "an entry is <out> of range & more"),),
        aborted=None,
        seconds=2.0,
        training_seconds=1.5,
        upload_bytes_per_client=2000.0 * number,
        phase_bytes={"share-keys": {"server": 500, "client": 1500 * number}, "unmask": {"client": 250}},
        phase_seconds={"share-keys": {"client": 0.25, "server": 0.125}},
        clipped=0.0,
    )
    return replace(plain, **changes)


LOST = report_of(3, aborted="1 of 5 clients contributed", survivors=(), rejected=(), phase_seconds={})
HISTORY = (report_of(1), report_of(2), LOST)


def document_of(*history: RoundReport, config: TrainingConfig = CONFIG, **changes: Any) -> dict[str, Any]:
    content = document(
        config,
        history,
        leakage=make_backend(config).leakage,
        parameters=4810,
        start_accuracy=0.125,
        resumed_after=0,
        command="secagg train --clients 6 --malicious 1",
    )
    return content | changes


class Page(HTMLParser):
    """Elements with their classes, titles, styles and text, in order."""

    VOID = ("meta", "line", "polyline", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(text)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        element: dict[str, Any] = {"tag": tag, "text": "", **dict(attributes)}
        element["class"] = (element.get("class") or "").split()
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def of(self, tag: str, *classes: str) -> list[dict[str, Any]]:
        return [one for one in self.elements if one["tag"] == tag and {*classes} <= {*one["class"]}]


def test_the_document_is_json_and_names_each_refused_client() -> None:
    content = document_of(*HISTORY)
    assert json.loads(json.dumps(content, allow_nan=False)) == json.loads(json.dumps(content))
    assert content["final_accuracy"] == 0.75
    assert content["seconds"] == 6.0
    reason = "an entry is <out> of range & more"
    assert content["rejected"] == {NAMES[3]: {"check": "structural", "reason": reason, "rounds": [1, 2]}}
    assert content["rounds"][0]["rejected"] == {NAMES[3]: {"check": "structural", "reason": reason}}
    assert content["leakage"]["hides"] == ["client", "server"]
    assert document_of()["final_accuracy"] == 0.125


def test_the_page_has_the_figures_of_the_document() -> None:
    content = document_of(*HISTORY)
    shown = Page(page(content))
    tiles = [tile["text"] for tile in shown.of("div", "tile")]
    assert tiles[0] == "0.7500held-out accuracy, from 0.125"
    assert tiles[1] == "6 of 15contributions counted: 3 dropped out, 2 refused; 1 round aborted"
    assert tiles[2] == "4.00 kBsent by a client in a round"
    assert tiles[3] == "500 msfor the sum of a round, after 1.50 s of local training"
    cells = Counter(one["class"][0] for one in shown.of("td") if one["class"] and one["class"][0] in STATES)
    assert cells == {"counted": 6, "dropped": 3, "refused": 2, "lost": 4, "absent": 3}
    assert cells == {key: count for key, count in state_counts(NAMES, content["rounds"]).items() if count}
    dots = [dot["title"] for dot in shown.of("span", "dot") if "title" in dot]
    assert dots == [
        "round 0: 0.1250",
        "round 1: 0.2500",
        "round 2: 0.5000",
        "round 3: 0.7500 (aborted: 1 of 5 clients contributed)",
    ]
    assert [one["text"] for one in shown.of("span", "last")] == ["0.7500"]
    sizes = [one["title"] for one in shown.of("i", "client") if "title" in one]
    assert sizes[:2] == ["share-keys, client: 3.00 kB", "unmask, client: 250 bytes"]
    assert "share-keys, client: 250 ms" in sizes
    text = shown.of("body")[0]["text"]
    for fact in make_backend(CONFIG).leakage.learns.values():
        assert all(one in text for one in fact)
    assert content["leakage"]["assumption"] in text
    assert shown.of("pre")[0]["text"] == "secagg train --clients 6 --malicious 1"
    assert "Round 3 was aborted: 1 of 5 clients contributed" in text
    settings = dict(zip(*([one["text"] for one in shown.of(tag)] for tag in ("dt", "dd")), strict=True))
    assert settings["clients"] == "6"
    assert settings["attack"] == "wrong-length"
    assert "key bits" not in settings
    assert settings["threshold"] == "of the backend"


def test_helpers_that_gave_no_right_answer_are_listed_with_their_rounds() -> None:
    config = replace(CONFIG, backend="paillier", key_holders=3)
    lie = {"key holder 0": "has answered with <wrong> roots"}
    history = [
        report_of(1, offline=("key holder 2",)),
        report_of(2, offline=("key holder 2",), faults=lie),
        report_of(3, offline=("key holder 1",)),
        report_of(4, offline=("key holder 2",)),
    ]
    content = document_of(*history, config=config)
    assert content["rounds"][2]["offline"] == ("key holder 1",)
    assert content["rounds"][1]["faults"] == lie
    shown = Page(page(content))
    section = next(one["text"] for one in shown.of("section") if "Helpers that gave no right" in one["text"])
    rows = [one["text"] for one in shown.of("tr") if one["text"].startswith("key holder ")]
    assert rows == [
        "key holder 0has answered with <wrong> roots2",
        "key holder 1offline3",
        "key holder 2offline1–2, 4",
    ]
    assert all(row in section for row in rows)
    assert shown.of("h1")[0]["text"] == "Federated training with Paillier encryption with 3 key holders"
    assert "Helpers that gave" not in page(document_of(*HISTORY))


def test_the_page_needs_nothing_beside_it_and_takes_no_text_for_markup() -> None:
    text = page(document_of(*HISTORY, command="secagg train --attack '<script>'"))
    assert not re.search(r"<(script|link|img|iframe|object)|src=|href=|url\(|@import|https?:", text)
    assert "an entry is &lt;out&gt; of range &amp; more" in text
    assert "<out>" not in text
    assert text.count("<svg") == 1
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


@pytest.mark.parametrize("changes", [{}, {"initial_accuracy": None}])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_short_and_resumed_trainings_have_a_page(rounds: int, changes: dict[str, Any]) -> None:
    content = document_of(*HISTORY[:rounds], **changes)
    shown = Page(page(content))
    assert len(shown.of("span", "dot")) == rounds + (1 if rounds else 0) + (not changes)
    percentages = [float(one) for one in re.findall(r"(?:left|top):([-\d.]+)%", page(content))]
    assert all(0 <= one <= 100 for one in percentages)


def test_the_page_says_when_too_much_was_cut() -> None:
    few, many = (
        document_of(*(replace(report, clipped=share) for report in HISTORY)) for share in (0.0005, 0.25)
    )
    assert (few["clipped"], many["clipped"]) == (pytest.approx(0.0005), 0.25)
    assert Page(page(few)).of("p", "warning") == []
    (line,) = Page(page(many)).of("p", "warning")
    assert line["text"] == "25.0 % of coordinates were cut to ±1: raise --clip"


def test_the_share_that_was_cut_is_of_all_coordinates() -> None:
    all_but_one = report_of(2, participants=NAMES[:1], dropped=(), clipped=0.0)
    assert document_of(report_of(1, clipped=0.5), all_but_one)["clipped"] == 0.5 * 4 / 5
    assert document_of()["clipped"] == 0.0


def test_the_picture_names_rows_and_axes() -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    for clients, named in ((6, 6), (25, 25), (100, 25)):
        config = TrainingConfig(clients=clients)
        entries = document_of(report_of(1), config=config)["rounds"]
        figure = Figure()
        axes = figure.subplots()
        _draw_clients(figure, axes, config.names, entries)
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert len(labels) == named
        assert labels[0] == "client-00"
        assert set(labels) <= set(config.names)
        assert axes.get_xlabel() == "round"
    counted, dropped, page_ = (np.array(to_rgb(_COLOURS[one])) for one in ("counted", "dropped", "absent"))
    assert np.abs(dropped - counted).max() > 0.25
    assert np.abs(dropped - page_).max() > 0.25


def test_states_of_a_client() -> None:
    entries = document_of(*HISTORY)["rounds"]
    assert [state(name, entries[0]) for name in NAMES] == [
        "counted",
        "dropped",
        "counted",
        "refused",
        "counted",
        "absent",
    ]
    assert [state(name, entries[2]) for name in NAMES] == [
        "lost",
        "dropped",
        "lost",
        "lost",
        "lost",
        "absent",
    ]


def test_a_large_grid_stays_small() -> None:
    config = TrainingConfig(clients=500)
    entry = document_of(report_of(1), config=config)["rounds"][0]
    entries = [entry | {"round": number, "participants": config.names} for number in range(1, 101)]
    grid = client_grid(config.names, entries)
    assert Counter(re.findall(r'td class="(\w+)"', grid))["counted"] == 498 * 100
    assert len(grid) < 2**21


def test_a_mean_that_rounding_lifts_above_one_stays_on_the_axis() -> None:
    content = document_of(report_of(1, accuracy=1.0, train_accuracy=1.00003))
    chart = Page(accuracy_chart(content["rounds"], 0.1))
    assert chart.of("span", "y")[-1]["text"] == "1.0"


@pytest.mark.parametrize(
    "values", [(0.0, 1.0), (0.1, 0.1), (0.98, 0.99), (1.0, 1.0), (0.0, 0.0), (0.899, 0.9)]
)
def test_the_axis_holds_every_value(values: tuple[float, float]) -> None:
    rounds = [
        {"round": n, "accuracy": v, "train_accuracy": None, "aborted": "x"} for n, v in enumerate(values, 1)
    ]
    chart = Page(accuracy_chart(rounds, None))
    ticks = [
        (float(one["text"]), float(re.findall(r"top:([-\d.]+)", one["style"])[0]))
        for one in chart.of("span", "y")
    ]
    assert len(ticks) >= 2
    (low, bottom), (high, top) = ticks[0], ticks[-1]
    assert (bottom, top) == (100, 0)
    assert low <= min(values) <= max(values) <= high
    for value, dot in zip(values, chart.of("span", "dot"), strict=True):
        height = float(re.findall(r"top:([-\d.]+)", dot["style"])[0])
        assert height == pytest.approx(100 * (high - value) / (high - low), abs=0.01)


def test_bars_are_to_scale() -> None:
    shown = Page(bars({"a": {"client": 3000, "server": 1000}, "b": {"client": 1000}, "c": {}}, "bytes"))
    widths = [float(one["style"].removeprefix("width:").removesuffix("%")) for one in shown.of("i")]
    assert widths == [75, 25, 25]
    assert [one["text"] for one in shown.of("span", "value")] == ["4.00 kB", "1.00 kB", "0 bytes"]


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (0, "bytes", "0 bytes"),
        (999, "bytes", "999 bytes"),
        (1000, "bytes", "1.00 kB"),
        (123_456, "bytes", "123 kB"),
        (12_345_678, "bytes", "12.3 MB"),
        (5e12, "bytes", "5,000 GB"),
        (0.0123, "seconds", "12.3 ms"),
        (1.5, "seconds", "1.50 s"),
        (1234.5, "seconds", "1,234 s"),
    ],
)
def test_amounts_are_readable(amount: float, unit: str, text: str) -> None:
    assert amount_text(amount, unit) == text


def test_files_are_written_whole(tmp_path: Path) -> None:
    content = document_of(*HISTORY)
    folder = tmp_path / "deep" / "report"
    assert sorted(path.name for path in write_report(folder, content)) == FILES
    assert sorted(os.listdir(folder)) == FILES
    assert (folder / "report.html").read_text() == page(content)
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(content))
    png = (folder / "report.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    assert width == 1600
    assert height > 600
    assert (folder / "report.html").stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize("call", ["fdopen", "replace", "chmod"])
def test_a_failure_leaves_what_was_there_and_no_litter(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(tmp_path, document_of(HISTORY[0]))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    right = getattr(os, call)
    calls = []

    def fail_at_second(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return right(*arguments, **options)

    monkeypatch.setattr(os, call, fail_at_second)
    with pytest.raises(OSError, match="No space"):
        write_report(tmp_path, document_of(*HISTORY))
    monkeypatch.undo()
    after = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    if call != "replace":
        assert after == before
    for path, data in after.items():
        assert data == before[path] or b"aborted" in data or path.suffix == ".png"


def test_drawing_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    pyplot = "matplotlib.pyplot" in sys.modules
    write_report(tmp_path, document_of(*HISTORY))
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == pyplot


def test_without_matplotlib_training_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(app, ["train", "--report", str(tmp_path)])
    assert result.exit_code == 2
    assert "matplotlib" in result.stderr
    assert "pip install -c constraints.txt -e '.[demo]'" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("backend", ["masking", "sharing"])
def test_the_report_of_a_real_training(backend: str, tmp_path: Path) -> None:
    options = [
        "--backend",
        backend,
        "--clients",
        "6",
        "--rounds",
        "2",
        "--malicious",
        "1",
        "--dropout",
        "0.1",
    ]
    result = CliRunner().invoke(app, ["train", *options, "--report", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert json.loads((tmp_path / "report.json").read_text()) == content
    text = (tmp_path / "report.html").read_text()
    assert text == page(content)
    shown = Page(text)
    cells = Counter(one["class"][0] for one in shown.of("td") if one["class"] and one["class"][0] in STATES)
    assert cells["refused"] == sum(len(entry["rejected"]) for entry in content["rounds"]) == 2
    assert cells["counted"] == sum(len(entry["survivors"]) for entry in content["rounds"])
    assert shown.of("div", "tile")[0]["text"].startswith(f"{content['final_accuracy']:.4f}")
    (refused,) = content["rejected"]
    assert any(refused in one["text"] for one in shown.of("table", "list"))
    phases = {phase for entry in content["rounds"] for phase in entry["phase_bytes"]}
    named = {one["text"] for one in shown.of("span", "name")}
    assert phases <= named
    assert "local training" in named
