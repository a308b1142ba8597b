"""What a reader of the terminal sees: the real command in a pseudo-terminal, its bytes read by an
emulator.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyte
import pytest

from tests.support.patience import PATIENCE_S

#: On a machine that is too busy the run is INVALID: the reader sees as much of it.
FAILED, OVERALL = (1, 4), "^(FAIL|INVALID)  "
COLOUR = re.compile(rb"\x1b\[[\d;]*3[0-7][;m]")
#: Wider than any window here: a line that would have wrapped in the window is seen as too long.
WIDE = 400
HOSTILE = "\x1b[2J\x1b[31m\u202e\x07[bold]"
#: Opens its standard input as its controlling terminal, so that Ctrl-C is the terminal's own, and
#: becomes tailproof.
LAUNCH = (
    "import os,sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); "
    "os.execv(sys.executable, [sys.executable, '-m', 'bench', *sys.argv[1:]])"
)


class Provider(BaseHTTPRequestHandler):
    """Three tokens and their usage; 429 for every second request to the model `shy`; its words
    would steer a terminal.
    """

    protocol_version = "HTTP/1.1"
    shy = 0

    def do_GET(self) -> None:
        """No list of models."""
        self._send(404, b"{}", "application/json")

    def do_POST(self) -> None:
        """A chat completion; a drill is refused."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/change":
            self._send(400, HOSTILE.encode(), "text/plain")
            return
        Provider.shy += body["model"] == "shy"
        if body["model"] == "shy" and Provider.shy % 2:
            self._send(
                429, json.dumps({"error": {"message": HOSTILE}}).encode(), "application/json"
            )
            return
        token = {
            "model": HOSTILE,
            "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}],
        }
        last = {
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 3},
        }
        events = [*[json.dumps(token)] * 3, json.dumps(last), "[DONE]"]
        self._send(
            200, "".join(f"data: {event}\n\n" for event in events).encode(), "text/event-stream"
        )

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Path]:
    """Two targets with a price beside each other, one of a long name; two phases and a drill. 4 s
    at 20/s each.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    target = (
        f'description = "d"\nbase_url = "http://127.0.0.1:{server.server_port}/v1"\nmodel ='
        " MODEL\n[prices]\ninput_usd_per_million = 1000\noutput_usd_per_million = 0\nas_of ="
        ' 2026-11-23\nsource = "s"\n'
    )
    files = {
        "plain": target.replace("MODEL", '"m"'),
        "shy-of-words-and-of-colours": target.replace("MODEL", '"shy"'),
        "load": (
            'description = "d"\nprompt_tokens = [{ fixed = 20 }]\noutput_tokens = [{ fixed = 3'
            ' }]\n[arrivals]\nkind = "constant"\nrate = "20/s"\n[[phases]]\nname = "calm"\nduration'
            ' = "2s"\n[[phases]]\nname = "storm"\nduration = "2s"\n'
        ),
        "both": (
            'description = "d"\n[[stage]]\nname = "first-stage"\ntargets = ["plain.toml",'
            ' "shy-of-words-and-of-colours.toml"]\nprofile = "load.toml"\ncontract ='
            ' "enterprise"\n[[stage.drill]]\nat = "1s"\ndo = "cut"\nname = "plug"\nchange ='
            f' {{}}\nurl = "http://127.0.0.1:{server.server_port}/change"\n'
        ),
    }
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text)
    yield tmp_path / "both.toml"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def brief(suite: Path) -> Path:
    """The same 160 requests within a second, where nobody looks at the run while it lasts."""
    for name, slow, fast in (
        ("load", '"20/s"', '"80/s"'),
        ("load", '"2s"', '"500ms"'),
        ("both", 'at = "1s"', 'at = "250ms"'),
    ):
        file = suite.with_name(f"{name}.toml")
        assert slow in file.read_text()
        file.write_text(file.read_text().replace(slow, fast))
    return suite


class Terminal:
    """A window of `columns` x `rows` in which a command runs."""

    def __init__(self, columns: int, rows: int, *words: str, env: Mapping[str, str] | None = None):
        self.rows = rows
        self._screen = pyte.HistoryScreen(WIDE, rows, history=5000)
        self._stream = pyte.ByteStream(self._screen)
        self._master, inside = pty.openpty()
        termios.tcsetwinsize(inside, (rows, columns))
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *words],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            env=kept | {"TERM": "xterm-256color"} | dict(env or {}),
        )
        os.close(inside)
        self.raw = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        """More of what it writes; False at its end."""
        assert select.select([self._master], [], [], PATIENCE_S)[0], (
            f"silent for {PATIENCE_S} s: {self.window()}"
        )
        with contextlib.suppress(OSError):  # EIO: the last writer is gone
            if more := os.read(self._master, 1 << 16):
                self.raw += more
                self._stream.feed(more)
                return True
        return False

    def window(self) -> list[str]:
        """The lines of the window, without blanks at their end."""
        return [line.rstrip() for line in self._screen.display]

    def until(self, seen: Callable[[list[str]], object]) -> list[str]:
        """The first window of which `seen` is true."""
        while not seen(self.window()):
            assert self._read(), f"it ended first: {self.everything()}"
        return self.window()

    def press_ctrl_c(self) -> None:
        """As the keyboard does."""
        os.write(self._master, b"\x03")

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self._process.wait(PATIENCE_S)

    def everything(self) -> list[str]:
        """What scrolled out of the window, and the window."""
        above = [
            "".join(line[column].data for column in range(WIDE)).rstrip()
            for line in self._screen.history.top
        ]
        return [*above, *self.window()]


def matching(lines: list[str], pattern: str) -> str:
    """The one line that the pattern fits."""
    (found,) = [line for line in lines if re.search(pattern, line)]
    return found


@pytest.mark.parametrize(("columns", "rows", "workers"), [(80, 24, 1), (100, 30, 2)])
def test_a_run_is_watched_and_ends_in_its_verdict(
    columns: int, rows: int, workers: int, suite: Path
) -> None:
    """The region shows where the run stands and fits its window; at the end it is gone and the
    verdict is there whole.
    """
    out = suite.parent / "r"
    with Terminal(
        columns, rows, "run", str(suite), "--workers", str(workers), "--out", str(out)
    ) as terminal:
        lines = terminal.until(
            lambda window: (
                any(line.startswith("first-stage  ") for line in window)
                and any(line.endswith("[bold]") for line in window)
            )
        )
        at = lines.index(matching(lines, "^first-stage  "))
        before = " ".join(lines[:at])
        assert re.match(r"both · 160 requests · http://127.0.0.1:\d+/v1 · about \d s", before)
        assert before.count("this plan cannot PASS clause 1") == 2
        assert re.fullmatch(r"first-stage +█*░* +\d+ %   [123] s left", lines[at])
        assert re.match(r"sent [\d.]+ of [\d.]+ ?(requests)?/s +in flight \d+ ", lines[at + 1]) or (
            lines[at + 1].startswith("in flight ")
        )
        assert " ".join(lines[at + 3].split()).startswith("so far, ms done ok p50 p99 ")
        assert re.match(r"plain +\d+ +100 %( +[\d,.]+){2}", lines[at + 4])
        assert re.match(r"shy-of-words-and… +\d+ +[\d.]+ %( +[\d,.]+){2}", lines[at + 5])
        told = [line for line in lines[at + 6 :] if line]
        assert [re.sub("^ *\\d+:\\d\\d  ", "", line) for line in told] == [
            r"drill plug: failed, HTTP 400: \x1b[2J\x1b[31m\u202e\x07[bold]",
            "drill plug: begun",
            "shy-of-words-and-of-colours: first rate_limited",
        ]
        assert max(map(len, lines)) <= columns
        code = terminal.end()
        whole = terminal.everything()
    assert code in FAILED
    assert COLOUR.search(terminal.raw)
    assert not any("so far, ms" in line or "█" in line for line in whole), "the region is gone"
    assert whole[0].startswith("both · 160 requests"), "and took nothing with it"
    assert matching(whole, OVERALL) in terminal.window()
    copied = ("report    ", "next      ", "again     ", "why       ", "check     ")
    tail = [line[:10] for line in whole if line.startswith(copied)]
    assert tail[0] == copied[0]
    assert len(tail) == 2
    assert re.match(r"\w+ +tailproof (run|attribute|verify) ", [line for line in whole if line][-1])
    assert max(len(line) for line in whole if not line.startswith(copied)) <= columns
    assert str(out / "report.html") in matching(whole, "^report ")
    for steering in (b"\x1b[2J", b"\x1b[31m", b"\x07", HOSTILE.encode(), "\u202e".encode()):
        assert steering not in terminal.raw
    assert terminal.raw.count(b"\x1b[?25l") == terminal.raw.count(b"\x1b[?25h") == 1, (
        "the cursor is given back"
    )


def test_ctrl_c_says_what_happens_now_and_what_the_end_rests_on(suite: Path) -> None:
    """At once a sentence that stays; then the verdict of what was carried out, how to go on, exit
    code 130.
    """
    with Terminal(80, 24, "run", str(suite), "--out", str(suite.parent / "r")) as terminal:
        terminal.until(lambda window: any(line.startswith("first-stage  ") for line in window))
        terminal.press_ctrl_c()
        assert terminal.end() == 130
        whole = terminal.everything()
    said = " ".join(whole)
    assert (
        "note: interrupted: nothing more is sent, answers under way have 5 s; again cuts them off"
        in said
    )
    assert "Interrupted: this rests on the part that was carried out." in whole
    assert f"go on     tailproof resume {suite.parent / 'r'}" in whole
    assert (
        max(
            len(line)
            for line in whole
            if not line.startswith(("report ", "go on ", "next ", "again ", "why ", "check "))
        )
        <= 80
    )


def test_without_colour_the_words_are_left(brief: Path) -> None:
    """NO_COLOR: no sequence that sets a colour reaches the terminal, the verdict does."""
    with Terminal(
        100, 30, "run", str(brief), "--out", str(brief.parent / "r"), env={"NO_COLOR": "1"}
    ) as terminal:
        assert terminal.end() in FAILED
        assert matching(terminal.everything(), OVERALL)
    assert not COLOUR.search(terminal.raw)


@pytest.mark.parametrize(("quiet", "load"), [(False, "suite"), (True, "brief")])
def test_a_log_gets_lines_and_no_control_sequences(
    quiet: bool, load: str, request: pytest.FixtureRequest
) -> None:
    """Where standard error is no terminal: the opening sentence, lines of at most 125 characters;
    with --quiet nothing at all.
    """
    suite: Path = request.getfixturevalue(load)
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        str(suite),
        "--out",
        str(suite.parent / "r"),
        *["--quiet"] * quiet,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode in FAILED
    lines = done.stderr.splitlines()
    if quiet:
        assert lines == []
    else:
        assert lines[0].startswith("both · 160 requests")
        begun = next(n for n, line in enumerate(lines) if line.startswith("first-stage"))
        assert sum("this plan cannot PASS clause 1" in line for line in lines[:begun]) == 2
        rest = lines[begun:]
        assert re.match(r"first-stage \d+ %, \d s left: .*\d+ done, \d+ failed", rest[0])
        assert max(map(len, rest)) <= 125
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stderr + done.stdout)
    assert matching(done.stdout.splitlines(), OVERALL)
