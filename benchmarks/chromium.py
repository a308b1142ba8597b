"""A headless Chromium, spoken to by its own protocol over two pipes; needs no package.

In: addresses of pages. Out: pictures (PNG), prints (PDF), what a page says of itself. Must stay
true: one process for all pages; nothing is fetched that the page does not name; the process ends
with the block that began it.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: No GPU and, in a container, no user namespaces; and nothing that Chromium would ask of its maker.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]
#: Chromium paints no picture beyond 16,384 pixels.
HIGHEST_PX = 16_000


class Chromium:
    """One page after another, in one tab."""

    def __init__(self, to_browser: int, from_browser: int):
        self._to, self._from = to_browser, os.fdopen(from_browser, "rb", buffering=0)
        self._asked, self._left = 0, b""
        self._session: str | None = None
        tab = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=tab, flatten=True)
        self._session = attached["sessionId"]
        self._ask("Page.enable")

    def open(
        self, address: str, *, width: int, height: int = 900, dark: bool = False, media: str = ""
    ) -> None:
        """Load a page in a window of this size; `media` as CSS has it."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self._ask("Page.navigate", url=address)
        self._wait_for("Page.loadEventFired")

    def picture(self) -> bytes:
        """The whole page, as long as it is, as PNG."""
        size = self._ask("Page.getLayoutMetrics")["cssContentSize"]
        high = min(size["height"], HIGHEST_PX)
        clip = {"x": 0, "y": 0, "width": size["width"], "height": high, "scale": 1}
        shot = self._ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])

    def pdf(self) -> bytes:
        """The page as it is printed, on the paper that it asks for."""
        printed = self._ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(printed["data"])

    def value(self, script: str) -> Any:
        """What an expression of the page's language comes to."""
        found = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        return found["result"].get("value")

    def _ask(self, method: str, **values: Any) -> dict[str, Any]:
        self._asked += 1
        message: dict[str, Any] = {"id": self._asked, "method": method, "params": values}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        for answer in self._messages():
            if answer.get("id") == self._asked:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
        raise RuntimeError("chromium ended")

    def _wait_for(self, event: str) -> None:
        for message in self._messages():
            if message.get("method") == event:
                return

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            text, found, rest = self._left.partition(b"\0")
            if found:
                self._left = rest
                yield json.loads(text)
                continue
            read = self._from.read(1 << 20)
            if not read:
                return
            self._left += read


@contextmanager
def chromium() -> Iterator[Chromium]:
    """A browser with one empty tab. Raises SystemExit where this machine has none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise SystemExit("there is no chromium on this machine: make chromium")
    reads, to_browser = os.pipe()
    from_browser, writes = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # it speaks on descriptors 3 and 4, whatever ours are called; 8 and 9 keep them apart
        script = f'exec "$0" "$@" 8<&{reads} 9>&{writes} 3<&8 4>&9'
        process = subprocess.Popen(
            ["sh", "-c", script, program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(reads, writes),
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        try:
            yield Chromium(to_browser, from_browser)
        finally:
            os.close(to_browser)
            process.terminate()
            process.wait()
