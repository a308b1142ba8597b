"""Lines on standard error that hold nobody up.

In: lines. Out: the same lines, written by a thread. Must stay true: a terminal that is gone, or
that does not read (Ctrl-S, a pipe that is full), costs lines and nothing else: neither who said
them nor the end of the process waits for it.
"""

from __future__ import annotations

import os
import sys
import threading
from queue import Empty, Full, Queue

import click

#: Lines that wait; more are dropped.
_MOST_WAITING = 1_000
#: How long the last lines are waited for, in s.
_LAST_S = 2.0


class Lines:
    """Standard error by a thread of its own, from the first line on."""

    def __init__(self) -> None:
        self._waiting: Queue[bytes | None] = Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        try:
            self._descriptor = sys.stderr.fileno()
        except (OSError, ValueError, AttributeError):  # not a file: a test's, or none at all
            self._descriptor = -1

    def say(self, line: str) -> None:
        """One line, soon."""
        if self._descriptor < 0:
            click.echo(line, err=True)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, daemon=True)
            self._thread.start()
        try:
            encoding = sys.stderr.encoding or "utf-8"
            self._waiting.put_nowait(f"{line}\n".encode(encoding, "backslashreplace"))
        except Full:
            return

    def close(self) -> None:
        """What is left, if anybody reads."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait(None)
        except Full:
            try:  # nobody reads: what waits will not be read either
                self._waiting.get_nowait()
                self._waiting.put_nowait(None)
            except (Empty, Full):
                return
        self._thread.join(_LAST_S)

    def _write(self) -> None:
        # Past Python's own buffer, whose lock a write that hangs would hold at the process's end.
        gone = False
        while (rest := self._waiting.get()) is not None:
            while rest and not gone:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except OSError:
                    gone = True
