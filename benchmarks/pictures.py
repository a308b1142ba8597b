"""Pictures of every page and screen, to be looked at.

In: nothing (small runs are made, with fixed seeds), or folders of runs, pages and addresses. Out: a
folder of PNGs, NAME-1440, -1024, -390, -dark, -dark-390 and -print (the sheets side by side),
screens as NAME-100 and NAME-80 beside their text, and index.html that shows them all. Must stay
true: what is pictured is what a reader gets; a page that is wider than its window is named.

    python -m benchmarks.pictures                        every page and screen
    python -m benchmarks.pictures ui terminal            some of them, by name
    python -m benchmarks.pictures results/RUN page.html  a run's report, a page
"""

from __future__ import annotations

import argparse
import fcntl
import html
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from PIL import Image
from rich.console import Console
from rich.text import Text

from benchmarks.chromium import chromium
from benchmarks.made_pages import BENCH, gateway, made, serving, started

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, MIDDLE, PHONE = 1440, 1024, 390
#: Chromium paints no picture beyond 16,384 pixels.
_HIGHEST_PX = 16_000
COLUMNS = (100, 80)
#: Pages on disk, by name, below the folder of made runs.
FILES = {
    **{
        name: f"{name}/report.html"
        for name in ("single", "two", "suite", "interrupted", "invalid", "ramp", "month")
    },
    "claim": "claim/statement.html",
}
#: Pages of `tailproof ui` over that folder.
UI = {
    "ui-runs": "/",
    "ui-search": "/?words=noisy&verdict=FAIL",
    "ui-report": "/report/two",
    "ui-compare": "/compare?run=two&baseline=two/standard&other=two/pro",
    "ui-compare-form": "/compare?run=two&run=two-again",
    "ui-trend": "/trend?suite=noisy-neighbour",
    "ui-ramp": "/report/ramp",
    "ui-number": "/trend?suite=noisy-neighbour&path=targets/pro/response_ms/e2e/p99",
    "ui-inside": "/?in=ramp",
    "ui-watches": "/watch",
    "ui-watch-folder": "/watch/watch",
    "ui-watch-ended": "/watch/single",
    "ui-live": "/watch/live",
    "ui-nothing": "/report/nobody",
}
#: Screens, by name; {} is the folder of made runs.
SCREENS: Mapping[str, Sequence[str]] = {
    "terminal-single": ("judge", "{}/single"),
    "terminal-two": ("judge", "{}/two"),
    "terminal-suite": ("judge", "{}/suite"),
    "terminal-interrupted": ("judge", "{}/interrupted"),
    "terminal-invalid": ("judge", "{}/invalid"),
    "terminal-compare": ("compare", "{}/two:standard", "{}/two:pro"),
    "terminal-verify": ("verify", "{}/single"),
    "terminal-month": ("judge", "--census", "written-uptime", "--monthly-bill-usd", "12000"),
    "terminal-watch": ("watch", "--status", "{}/watch"),
    "terminal-plan": ("plan", "noisy-neighbour"),
    "terminal-profiles": ("profiles",),
    "terminal-help": ("--help",),
}
_TERMINAL = """<!doctype html><meta charset="utf-8"><style>body{{background:{background};color:
{foreground};margin:12px}}pre{{font:14px/1.35 "DejaVu Sans Mono",monospace;width:max-content}}
{stylesheet}</style><pre>{code}</pre>"""
#: How high a page is, and how much wider than its window.
_SIZE = """[document.documentElement.scrollHeight,
document.documentElement.scrollWidth - document.documentElement.clientWidth]"""
_INDEX = """<!doctype html><meta charset="utf-8"><title>Pictures</title><style>body{font:1rem
sans-serif;display:flex;flex-wrap:wrap;gap:1rem}h1{width:100%;font-size:1.2rem}img{height:28rem}
</style><h1>Within ten seconds each: what was tested, did it pass, why not, what next?</h1>"""


class Album:
    """Pictures of pages, into one folder."""

    def __init__(self, out: Path, browser: Browser):
        self._out, self._browser = out, browser

    def page(self, name: str, address: str, *, prints: bool) -> None:
        """A page in each width, in the dark and on paper."""
        looks = [(str(width), width, False) for width in (WIDE, MIDDLE, PHONE)]
        for look, width, dark in [*looks, ("dark", WIDE, True), ("dark-390", PHONE, True)]:
            with self._opened(address, width, dark=dark) as page:
                high, over = page.evaluate(_SIZE)
                if over:
                    print(f"{name} is {over} px wider than a window of {width}")
                page.screenshot(
                    path=self._out / f"{name}-{look}.png",
                    full_page=True,
                    clip={"x": 0, "y": 0, "width": width + over, "height": min(high, _HIGHEST_PX)},
                )
        if prints:
            with self._opened(address, WIDE) as page:
                self.sheets(name, page.pdf(prefer_css_page_size=True, print_background=True))

    @contextmanager
    def _opened(
        self, address: str, width: int, height: int = 900, *, dark: bool = False
    ) -> Iterator[Page]:
        page = self._browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        try:
            page.goto(address)
            yield page
        finally:
            page.close()

    def sheets(self, name: str, pdf: bytes) -> None:
        """The sheets of a PDF side by side, as one picture; the PDF too."""
        (self._out / f"{name}-print.pdf").write_bytes(pdf)
        try:
            import pypdfium2
        except ModuleNotFoundError:
            print(f"{name}-print.pdf is no picture: pip install pypdfium2")
            return
        document = pypdfium2.PdfDocument(pdf)
        sheets = [page.render(scale=1.1).to_pil() for page in document]
        wide, high = max(each.width for each in sheets), max(each.height for each in sheets)
        across = min(4, len(sheets))
        picture = Image.new("RGB", (across * wide, -(-len(sheets) // across) * high), "grey")
        for place, sheet in enumerate(sheets):
            picture.paste(sheet, (place % across * wide, place // across * high))
        picture.save(self._out / f"{name}-print.png")

    def screen(self, name: str, command: Sequence[str]) -> None:
        """What a command leaves on terminals of each width."""
        for columns in COLUMNS:
            text = Text.from_ansi(said(command, columns))
            (self._out / f"{name}-{columns}.txt").write_text(text.plain + "\n")
            console = Console(
                record=True, width=columns, file=io.StringIO(), color_system="truecolor"
            )
            console.print(text, soft_wrap=True)
            page = self._out / f"{name}.html"
            page.write_text(console.export_html(code_format=_TERMINAL))
            with self._opened(page.resolve().as_uri(), columns * 9 + 24, 50) as opened:
                opened.screenshot(path=self._out / f"{name}-{columns}.png", full_page=True)
            page.unlink()


def said(command: Sequence[str], columns: int) -> str:
    """What a command of tailproof writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [*BENCH, *command],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    ):
        os.close(theirs)
        read = b""
        while True:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:  # how Linux says that the other end is closed
                break
            if not piece:
                break
            read += piece
    os.close(ours)
    return f"$ tailproof {' '.join(command)}\n" + read.decode().replace("\r\n", "\n")


@contextmanager
def live(folder: Path, asked: bool) -> Iterator[None]:
    """A run that goes on meanwhile, for half a minute or more."""
    run = folder / "live"
    shutil.rmtree(run, ignore_errors=True)
    if not asked:
        yield
        return
    with gateway() as url:
        load = ["--rate", "20", "--duration", "10min", "--slo", "ttft:p99<800ms"]
        process = started(["run", "--url", url, "--model", "m", *load, "--quiet", "--out", run])
        try:
            time.sleep(8)
            yield
        finally:
            process.kill()
            process.wait()


def picture_made(album: Album, folder: Path, names: Sequence[str]) -> None:
    """Of what was made, the pages and screens that begin with one of these names; all without."""

    def asked(name: str) -> bool:
        return not names or any(name.startswith(each) for each in names)

    for name, page in FILES.items():
        if asked(name) and (folder / page).exists():
            album.page(name, (folder / page).resolve().as_uri(), prints=True)
    for name, command in SCREENS.items():
        if asked(name):
            album.screen(name, [part.format(folder) for part in command])
    if any(map(asked, UI)):
        with live(folder, asked("ui-live")), serving("ui", str(folder)) as address:
            for name, path in UI.items():
                if asked(name):
                    album.page(name, address + path, prints=False)


def index(out: Path) -> None:
    """A page that shows every picture, the questions of a fresh reader first."""
    shown = [
        f'<figure><figcaption>{html.escape(path.stem)}</figcaption><a href="{quote(path.name)}">'
        f'<img src="{quote(path.name)}" alt="{html.escape(path.stem)}" loading="lazy"></a></figure>'
        for path in sorted(out.glob("*.png"))
    ]
    (out / "index.html").write_text(_INDEX + "".join(shown))


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description="Pictures of every page and screen.")
    parser.add_argument("what", nargs="*", help="folder of a run, page, address, or a name")
    parser.add_argument("--out", type=Path, default=Path("results/pictures"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    given = {each: _given(each) for each in asked.what}
    names = [each for each, address in given.items() if address is None]
    with chromium() as browser:
        album = Album(asked.out, browser)
        for each, address in given.items():
            if address is not None:
                album.page(re.sub(r"\W+", "-", each).strip("-"), address, prints=True)
        if names or not given:
            made(asked.out / "runs")
            picture_made(album, asked.out / "runs", names)
    index(asked.out)
    print(f"pictures: {asked.out / 'index.html'}")


def _given(each: str) -> str | None:
    """The address of a page that was named by address, file or run; None for a name of ours."""
    if re.match(r"https?://|file://", each):
        return each
    path = Path(each)
    if path.is_dir():
        path /= "report.html"
    return path.resolve().as_uri() if path.is_file() else None


if __name__ == "__main__":
    main()
