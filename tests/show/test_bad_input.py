"""Hostile servers, broken folders and newer formats, through the command line, in every format that
is written.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.judge.review import reviewed
from bench.record.records.manifest import Manifest
from tests.support.made_runs import MakeRun
from tests.support.markup import Seen, unseen
from tests.support.patience import PATIENCE_S
from tests.support.screens import whole_markdown

pytestmark = pytest.mark.figures

#: What a server may put into any text: for a page, a terminal, a spreadsheet, a build log, a table,
#: an XML file.
TRICKS = [
    (
        "<script>alert(1)</script><img src=x onerror=alert(2)></title></svg><svg onload=alert(3)>"
        " ]]><!-- {{ 7*7 }}{% raw %}"
    ),
    "| a | b |\n|---|\n# head [x](javascript:alert(4)) `y` $$x$$",
    "\x1b[2J\x1b]0;owned\x07\x9b31m\x7f nul \x00 \ufffe \x0b",
    "\u202egnp.exe\u2066\u200b\u2028x",
    "half \ud83d a pair",
    '=HYPERLINK("http://127.0.0.1")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "-2",
    "\n::error title=x::y\n",
    "quo\"ted, 'and' \\",
    "A" * 2**20,
]


class Hostile(BaseHTTPRequestHandler):
    """Answers each request with the next trick: as an error, as an event, as names in a good
    answer.
    """

    protocol_version = "HTTP/1.1"
    turns = itertools.count()

    def do_GET(self) -> None:
        """The ready check."""
        self._answer(404, b"{}")

    def do_POST(self) -> None:
        """One of five kinds of answer, with one of the tricks in all its texts."""
        self.rfile.read(int(self.headers["content-length"]))
        turn = next(self.turns)
        trick = TRICKS[turn % len(TRICKS)]
        chunk = {
            "id": trick,
            "object": "chat.completion.chunk",
            "model": trick,
            "service_tier": trick,
        }
        events: list[dict[str, Any]] = [
            {"delta": {"content": trick[:80]}},
            {"delta": {}, "finish_reason": trick},
        ]
        good = [json.dumps({**chunk, "choices": [event]}) for event in events]
        error = json.dumps({"error": {"message": trick, "type": trick, "code": trick}})
        kind = turn // len(TRICKS) % 5
        if kind == 0:
            self._stream(*good, "[DONE]", region=trick)
        elif kind == 1:
            self._answer(503, error.encode())
        elif kind == 2:
            self._stream(good[0], error)
        elif kind == 3:
            self._answer(429, trick.encode("utf-8", "replace"), trick)
        else:
            self._stream(f"{{not json {trick!r}")

    def _stream(self, *payloads: str, region: str = "") -> None:
        body = "".join(f"data: {payload}\n\n" for payload in payloads).encode()
        self._answer(200, body, region)

    def _answer(self, status: int, body: bytes, header: str = "") -> None:
        self.send_response_only(status)
        value = "".join(char for char in header if " " <= char <= "\xff")[:4000]
        for name, text in (
            ("X-Served-Region", value),
            ("Retry-After", value),
            ("Content-Type", "text/event-stream"),
        ):
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Failing(Hostile):
    """Answers no request well."""

    def do_POST(self) -> None:
        """An error that is the server's."""
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(500, b'{"error": {"message": "down"}}')


class Sound(Hostile):
    """Answers every request well."""

    def do_POST(self) -> None:
        """Two tokens."""
        self.rfile.read(int(self.headers["content-length"]))
        words: list[dict[str, Any]] = [
            {"delta": {"content": "a"}},
            {"delta": {"content": "b"}, "finish_reason": "stop"},
        ]
        self._stream(*(json.dumps({"model": "m", "choices": [word]}) for word in words), "[DONE]")


@contextmanager
def served_by(handler: type[Hostile], folder: Path) -> Iterator[list[str]]:
    """`tailproof run` against such a server, but for how many requests; the run goes into
    `folder`.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield [
            "run",
            "--url",
            f"http://127.0.0.1:{server.server_port}/v1",
            "--model",
            "m",
            "--slo",
            "uptime>=99%",
            "--quiet",
            "--request-rate",
            "50",
            "--out",
            str(folder),
        ]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run against a hostile server: every trick in every kind of answer, once, one
    after the other.
    """
    folder = tmp_path_factory.mktemp("hostile") / "run"
    with served_by(Hostile, folder) as words:
        assert main([*words, "--request-count", str(5 * len(TRICKS)), "--concurrency", "1"]) in (
            1,
            4,
        )
    return folder


COMMANDS = [
    ["report"],
    ["report", "--format", "json"],
    ["judge"],
    ["judge", "--format", "json"],
    ["judge", "--format", "github"],
    ["attribute"],
    ["attribute", "--format", "json"],
    ["verify"],
    *(
        ["export", "--format", form]
        for form in ("csv", "jsonl", "vllm", "aiperf", "prometheus", "otlp", "hlog")
    ),
]


def test_no_file_of_a_hostile_run_steers_a_terminal_or_grows(hostile: Path) -> None:
    """Page, Markdown, XML, figures and JSON: no control or format character, no text beyond what is
    kept of one.
    """
    files = [
        path
        for path in hostile.rglob("*")
        if path.suffix in (".html", ".md", ".xml", ".svg", ".json")
    ]
    assert {"run.json", "report.html", "report.md", "junit.xml", "summary.json"} <= {
        path.name for path in files
    }
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert unseen(text) == set(), path.name
        assert "A" * 201 not in text, path.name
    strings = json.loads((hostile / "run.json").read_text())["strings"]
    assert {
        kind for kind, texts in strings.items() if any("alert(1)" in text for text in texts)
    } == {*strings}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_prints_what_steers_a_terminal(
    words: list[str], hostile: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Of a hostile run every command and every export says its say in printable characters, and
    ends as it should.
    """
    assert main([*words, str(hostile)]) in (0, 1, 3, 4)
    out, err = (stream.decode() for stream in capfdbinary.readouterr())
    assert unseen(out.replace("\r\n", "\n")) == unseen(err) == set()
    assert "A" * 201 not in out + err


def test_markup_of_a_server_is_words_on_the_page(hostile: Path) -> None:
    """Each trick can be read; no element of the page is the server's, no attribute runs a
    script.
    """
    page = Seen((hostile / "report.html").read_text())
    assert "<script>alert(1)</script>" in page.words
    assert "\\x1b[2J" in page.words
    assert not any(
        name.startswith("on") or "alert(" in str(value)
        for _, found in page.elements
        for name, value in found.items()
        if name != "aria-label"
    )
    allowed = {"data:image/png;base64", "#"}
    assert all(
        str(found[key]).startswith(tuple(allowed))
        for _, found in page.elements
        for key in ("src", "href")
        if key in found
    )


def test_markdown_of_a_server_is_words_in_the_report(hostile: Path) -> None:
    """No heading, link, table or raw HTML of the server's: its marks stand behind backslashes."""
    filed = (hostile / "report.md").read_text()
    whole = whole_markdown(*reviewed(hostile))
    assert "alert(4)" in whole
    for text in (filed, whole):
        assert not re.search(
            r"(?<!\\)<(script|img|svg)|(?<!\\)\]\(javascript|^# head", text, re.MULTILINE
        )


def test_junit_and_figures_are_well_formed(hostile: Path) -> None:
    """An XML parser reads them, and finds no script in a figure."""
    assert main(["report", "--plots", str(hostile)]) == 0
    files = [hostile / "junit.xml", *(hostile / "plots").glob("*.svg")]
    for path in files:
        tags = {
            element.tag.rpartition("}")[2]
            for element in ET.fromstring(path.read_bytes()).iter()  # noqa: S314 ours
        }
        assert "script" not in tags


def exported(form: str, folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> str:
    """What `tailproof export` writes."""
    assert main(["export", "--format", form, str(folder)]) == 0
    return capfdbinary.readouterr()[0].decode()


def test_a_spreadsheet_reckons_nothing(
    hostile: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A row a request, each of as many cells; a server's formula is text, for it begins with an
    apostrophe.
    """
    head, *rows = csv.reader(io.StringIO(exported("csv", hostile, capfdbinary), newline=""))
    assert len(rows) == 5 * len(TRICKS)
    assert {len(row) for row in rows} == {len(head)}
    assert not [cell for row in rows for cell in row if cell[:1] in {*"=+-@\t\r"}]
    notes = {row[head.index("note")] for row in rows}
    assert {'\'=HYPERLINK("http://127.0.0.1")', "'@SUM(A1)", "'-2"} <= notes


def test_json_lines_and_metrics_parse(
    hostile: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """An object a request, with one set of keys; a metric a line, whose labels are quoted
    strings.
    """
    rows = [json.loads(line) for line in exported("jsonl", hostile, capfdbinary).splitlines()]
    assert len(rows) == 5 * len(TRICKS)
    assert len({tuple(row) for row in rows}) == 1
    label = r'[a-z_]+="(?:[^"\\]|\\["\\n])*"'
    line = re.compile(
        rf"(# (HELP|TYPE) .+|[a-z_]+(\{{{label}(,{label})*\}})? [-+.e0-9]+(Inf|NaN)?)"
    )
    metrics = exported("prometheus", hostile, capfdbinary).splitlines()
    assert [said for said in metrics if not line.fullmatch(said)] == []


def test_a_build_log_gets_no_command_of_a_servers(
    hostile: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """GitHub reads as a command what begins with two colons: those are ours alone."""
    main(["judge", "--format", "github", str(hostile)])
    lines = capfdbinary.readouterr()[0].decode().splitlines()
    assert lines
    assert [line for line in lines if line.startswith("::") and "title=x" in line] == []


#: Every command that reads a run's rows, and every other that reads a run; RUN stands for the
#: folder, KEY for a key's file.
OF_ROWS = [
    *(words for words in COMMANDS if words != ["verify"]),
    ["cost"],
    ["compare"],
    ["compare", "RUN"],
    ["what-if", "--default", "only", "--fallback", "only"],
]
READERS = [
    *OF_ROWS,
    ["verify"],
    ["sign", "--key", "KEY"],
    ["resume"],
    ["export", "--format", "openslo"],
]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def told_off(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence, exit 2, with which a command leaves the folder as it was."""
    key = folder.with_name("key.pem")
    key.touch(mode=0o600)
    before = contents(folder)
    assert (
        main(
            [
                *(word.replace("RUN", str(folder)).replace("KEY", str(key)) for word in words),
                str(folder),
            ]
        )
        == 2
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert unseen(err) == set()
    assert contents(folder) == before
    return err.removeprefix("tailproof: ").rstrip()


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_a_run_of_a_newer_format_is_refused_by_every_command(
    words: list[str], make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the version that wrote the run, which can read it, and touches nothing."""
    folder = make_run(["only"], rows=20).run.folder
    place = folder / "run.json"
    newer = {
        "format": Manifest.FORMAT + 1,
        "versions": {"tailproof": "9.9.1"},
        "lanes": {"a": "shape of another time"},
    }
    place.write_text(json.dumps(newer))
    said = (
        f"{place}: has format {Manifest.FORMAT + 1}; this tailproof reads up to"
        f" {Manifest.FORMAT}; open it with tailproof 9.9.1 or newer"
    )
    assert told_off(words, folder, capsys) == said


@pytest.mark.parametrize(
    ("versions", "remedy"),
    [
        ({}, "open it with a newer tailproof"),
        (["tailproof", "2"], "open it with a newer tailproof"),
        ({"tailproof": "\x1b[31m2\u202e"}, r"open it with tailproof \x1b[31m2\u202e or newer"),
    ],
)
def test_a_newer_run_that_does_not_say_its_version(
    versions: Any, remedy: str, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in its place, the sentence is whole and steers no terminal."""
    folder = make_run(["only"], rows=20).run.folder
    (folder / "run.json").write_text(
        json.dumps({"format": Manifest.FORMAT + 1, "versions": versions})
    )
    assert told_off(["report"], folder, capsys).endswith(remedy)


@pytest.mark.parametrize("name", ["schedule.npy", "samples/rows.npy", "run.json"])
@pytest.mark.parametrize("words", OF_ROWS, ids=" ".join)
def test_a_missing_file_is_named_with_a_remedy(
    name: str, words: list[str], make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not what it broke further on, but which file it is, and what to do."""
    folder = make_run(["only"], rows=20).run.folder
    (folder / name).unlink()
    said, _, remedy = told_off(words, folder, capsys).partition("; ")
    assert name in said
    assert remedy in ("copy the run's whole folder again", "give a folder below results/")


def test_what_routes_tried_is_missed_too(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sealed table of attempts that is gone is no run without a route."""
    folder = make_run(["only"], rows=20).run.folder
    place = folder / "run.json"
    manifest = json.loads(place.read_text())
    manifest["segments"].append({"file": "attempts/rows.npy", "rows": 3, "sha256": "0" * 64})
    place.write_text(json.dumps(manifest))
    assert told_off(["report"], folder, capsys).endswith(
        "attempts/rows.npy: is missing; copy the run's whole folder again"
    )


@pytest.mark.parametrize("name", ["schedule.npy", "samples/rows.npy"])
def test_verify_finds_what_is_missing(
    name: str, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its question is whether the folder is whole: exit 1, and the file is named."""
    folder = make_run(["only"], rows=20).run.folder
    (folder / name).unlink()
    assert main(["verify", str(folder)]) == 1
    assert re.search(rf"{name}.*missing", capsys.readouterr().out)


def broken_off(folder: Path, ended_by: signal.Signals) -> int:
    """A run of many seconds that is ended once its first rows are on the disk; how the process
    ended.
    """
    with served_by(Sound, folder) as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", *words, "--duration", "60s"], stdout=subprocess.DEVNULL
        )
        pause = threading.Event()
        while not list(folder.glob("samples/w*.npy")):
            assert process.poll() is None
            pause.wait(0.05)
        process.send_signal(ended_by)
        return process.wait(PATIENCE_S)


def poor_run(kind: str, folder: Path) -> None:
    """One of the runs that a report seldom sees."""
    if kind == "killed":
        assert broken_off(folder, signal.SIGKILL) == -signal.SIGKILL
    elif kind == "interrupted":
        assert broken_off(folder, signal.SIGINT) == 130
    else:
        handler, rows = (Failing, 40) if kind == "none succeeded" else (Sound, 1)
        with served_by(handler, folder) as words:
            assert main([*words, "--request-count", str(rows)]) in (1, 3, 4)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("killed", "rests on the part that was carried out"),
        ("interrupted", "rests on the part that was carried out"),
        ("none succeeded", r"succeeded\s*0 \(0 %\)"),
        ("one request", r"requests\s*1\s*succeeded\s*1 \(100 %\)"),
    ],
)
def test_every_command_copes_with_a_poor_run(
    kind: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed, interrupted, without a success, of one request: a page that says so, and an answer or
    a sentence of each command.
    """
    folder = tmp_path / "run"
    poor_run(kind, folder)
    capfd.readouterr()
    assert main(["report", str(folder)]) == 0
    assert re.search(said, Seen((folder / "report.html").read_text()).words)
    for words in [*OF_ROWS, ["verify"]]:
        code = main(
            [
                *(word.replace("RUN", str(folder)).replace("only", "target") for word in words),
                str(folder),
            ]
        )
        out, err = capfd.readouterr()
        assert code in (0, 1, 3, 4, 130) or (code == 2 and out == "" and err.count("\n") == 1), (
            words,
            err,
        )
        assert "nan" not in out.lower().split()
