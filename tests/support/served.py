"""A real `tailproof ui` on loopback, and what a plain client hears of it.

In: a results folder. Out: a process, its port, answers over sockets. Must stay true: nothing of the
server is imported here; a page is read by the standard library's parser.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

from tests.support.patience import PATIENCE_S


@dataclass
class Answer:
    """One answer, read."""

    status: int
    headers: Message
    body: bytes


@dataclass
class Ui:
    """A server that listens."""

    process: subprocess.Popen[str]
    port: int

    def answer(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """Ask; the path goes out as it is written here, `_` in a header's name as `-`."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as connection:
            connection.request(
                method,
                path,
                headers={name.replace("_", "-"): value for name, value in headers.items()},
            )
            with connection.getresponse() as answer:
                return Answer(answer.status, answer.headers, answer.read())

    def text(self, path: str, status: int = 200, /, **query: str | list[str]) -> str:
        """A page's text, which must come with this status."""
        answer = self.answer(f"{path}?{urlencode(query, doseq=True)}" if query else path)
        assert answer.status == status, answer.body.decode()
        return answer.body.decode()

    def events(self, run: str) -> Generator[tuple[str, dict[str, str]], None, None]:
        """Kind and data of each server-sent event until the server ends the stream, or the caller
        closes it.
        """
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as connection:
            connection.request("GET", f"/events/{run}")
            with connection.getresponse() as answer:
                assert answer.headers["Content-Type"].startswith("text/event-stream")
                kind = ""
                for line in answer:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    if name == "event":
                        kind = value
                    elif name == "data":
                        yield kind, json.loads(value)


@contextmanager
def served(results: Path, *options: str) -> Iterator[Ui]:
    """`tailproof ui RESULTS --port 0`, ended when the block is left."""
    command = [sys.executable, "-m", "bench", "ui", str(results), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = re.search(r" at http://127\.0\.0\.1:(\d+)/ ", process.stdout.readline())
            assert said, "it printed no address"
            yield Ui(process, int(said[1]))
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """By Ctrl-C, so that it leaves as it would for a user; by force if that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@dataclass
class Seen(HTMLParser):
    """Rows of cells, links, paragraphs of class alert, and the tags of a page."""

    rows: list[list[str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._into: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if tag == "a":
            self.links.append(found["href"] or "")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._into = self.rows[-1]
        elif tag == "p":
            self._into = self.alerts if found.get("class") == "alert" else None
        if tag in ("td", "th", "p") and self._into is not None:
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "p"):
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


def seen(page: str) -> Seen:
    """What stands on a page."""
    found = Seen()
    found.feed(page)
    return found
