"""The tutorials and the README's first verdict, done as a reader does them: files written, the
gateway started, commands typed, and what they print beside what the page shows.

Numbers are masked. Where the harness was not valid, for the machine was too busy, a verdict may be
another, and no more is asked of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.in_process import tailproof
from tests.test_docs import ROOT
from tests.test_docs_commands import lines_of

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
#: A page's load is sent at this many times its rate, in as much less time.
FASTER = 5


class Reader:
    """Somebody who does what a page says, in a folder of their own."""

    def __init__(self, folder: Path, base: str = "http://localhost:8000"):
        self.folder = folder
        self.base = base
        self.gateway: GatewayProcess | None = None
        self.last: CompletedProcess[str] | None = None
        #: the last run's harness was late, so what is made of that run may come out otherwise
        self.late = False

    def reads(self, page: str) -> None:
        """Every block, in the order of the page."""
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            language, block = found[1], found[2]
            if language == "text":
                self.compares(block)
            elif language in ("toml", "csv"):
                named = re.match(r"# ([\w-]+\.toml)\n", block)
                name = named[1] if named else "requests.csv"
                (self.folder / name).write_text(self.here(block), "utf-8")
            else:
                for line in lines_of(block):
                    self.types(line)

    def types(self, line: str) -> None:
        """One command; it ends with a verdict or well. What installs it is done already."""
        program, *words = shlex.split(self.here(line), comments=True)
        if program != "tailproof":
            return
        if words[0] == "gateway":
            scenario = words[words.index("--scenario") + 1]
            file = self.folder / scenario
            self.gateway = GatewayProcess(
                ["--scenarios", str(file) if file.exists() else scenario, "--port", "0"]
            )
            self.base = f"http://localhost:{self.gateway.port}"
            return
        self.last = tailproof(*words, cwd=self.folder)
        assert self.last.returncode in (0, 1, 3, 4), self.last.stderr
        if words[0] == "run":
            self.late = too_busy(self.last.stdout)

    def here(self, text: str) -> str:
        """The page's address, run and rate as they are here."""
        text = re.sub("http://localhost:8000|https://api.example.com", self.base, text)
        text = re.sub(r"--rate (\d+)", lambda found: f"--rate {int(found[1]) * FASTER}", text)
        runs = sorted(self.folder.glob("results/*/run.json"))
        return re.sub(r"\bRUN\b", str(runs[-1].parent) if runs else "RUN", text)

    def compares(self, block: str) -> None:
        """Each line of the page, in this order among those that were printed."""
        assert self.last is not None
        if self.late:
            return
        said = iter([shape(line) for line in self.last.stdout.splitlines()])
        for line in block.splitlines():
            if line.strip() and line != "…":
                assert shape(line) in said, (line, self.last.stdout)

    def leaves(self) -> None:
        """Ends what was started."""
        if self.gateway is not None:
            self.gateway.stop()


def too_busy(said: str) -> bool:
    """Whether the harness was late by its own account."""
    return said.startswith("INVALID") or bool(re.search(r"^harness +degraded", said, re.MULTILINE))


def shape(line: str) -> str:
    """What stands before a line's numbers: a label, a verdict and its clause, a sentence."""
    cells = re.split(r" {2,}", line.strip())
    kept = cells[:2] if cells[0][:1] in "●▲◇" else cells[:1]
    return re.sub(r"[\d,.:]+", "#", " ".join(kept))[:40]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """At an empty desk."""
    somebody = Reader(tmp_path)
    yield somebody
    somebody.leaves()


@pytest.mark.slow("gateways answer in real time: 7 s, 14 s and 6 s")
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says(page: Path, reader: Reader) -> None:
    """From the first block to the last."""
    reader.reads(page.read_text("utf-8"))
    assert reader.last is not None


@pytest.mark.slow("361 requests at 100 a second")
def test_the_first_verdict_of_the_readme_is_what_it_prints(reader: Reader) -> None:
    """Against the gateway that the README names."""
    readme = (ROOT / "README.md").read_text("utf-8")
    named = re.search(r"`(tailproof gateway --scenario [\w-]+)`, in a second terminal", readme)
    assert named
    reader.types(named[1])
    reader.reads(readme.partition("## A first verdict\n")[2].partition("\n## ")[0])


@pytest.mark.slow("361 requests at 100 a second")
def test_the_way_of_the_readme_to_an_own_endpoint_ends_with_a_verdict(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`init`, and the run of what it wrote, which is sent twenty times as fast here."""
    monkeypatch.setenv("MY_KEY", "sk-of-the-readme")
    reader.types("tailproof gateway --scenario premium-placebo")
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme.partition("## Your own endpoint\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    *_, init, run = lines_of(block)
    reader.types(init)
    load = reader.folder / "first-test" / "load.toml"
    written = load.read_text("utf-8")
    assert 'rate = "5/s"' in written
    load.write_text(written.replace('rate = "5/s"', 'rate = "100/s"'), "utf-8")
    reader.types(run)
    reader.compares("PASS  the clause is kept\n")


def test_lines_are_told_apart_by_what_is_not_a_number() -> None:
    """The comparison would pass on anything otherwise."""
    page = "● PASS  End-to-end p95  ≤ 800 ms  346 ms    at most 359 ms  0 of 361  0 – 0.17"
    same = "● PASS  End-to-end p95  ≤ 800 ms  301.5 ms  at most 320 ms  3 of 361  0 – 0.2"
    assert shape(page) == shape(same)
    assert shape(page) != shape(page.replace("● PASS", "▲ FAIL"))
    assert shape("harness   valid: sent 2 ms late") == shape("harness   degraded")
    assert shape("report    a") != shape("check     a")
    assert too_busy("PASS  x\nharness   degraded: y\n")
    assert not too_busy("PASS  x\nharness   valid: y\n")
    assert not too_busy("PASS  x\nharness   nothing was sent\n")
