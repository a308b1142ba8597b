"""The process of a part of a run: what it reports to whoever started it, and the orders it gets.

In: lines on standard input: the start, then at most the word to stop. Out: lines on standard
output: ready, what went on, the end. Must stay true: one who does not read delays nothing; the end
of standard input, which is the end of whoever started us, means stop; what is said of a time are
differences, so that whoever listens adds them up.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

from bench.load.player import Counters
from bench.record.records.record import Json

#: A starter that has not read for so long (s) when all is over is not waited for.
_LAST_WORD_S = 10.0


class ToStarter:
    """Lines to whoever started us, written on a thread of its own, so that one that is gone or
    stands still delays nothing.
    """

    def __init__(self) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        #: lines that were sent, and those that were written
        self._sent = self._written = 0

    @property
    def all_written(self) -> bool:
        """Whether every line that was sent has been written."""
        return self._sent == self._written

    def send(self, message: Json) -> None:
        """One line, soon."""
        self._sent += 1
        self._lines.put(json.dumps(message) + "\n")

    def finish(self) -> None:
        """Write what is left, if anybody still reads."""
        self._lines.put(None)
        self._thread.join(_LAST_WORD_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(BrokenPipeError):
                sys.stdout.write(line)
                sys.stdout.flush()
            self._written += 1


class FromStarter:
    """The order to stop, once requests are being sent."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        """`on_stop` is called, on a thread of its own, for each Ctrl-C of the user's, and once at
        the end of the input.
        """
        self._on_stop = on_stop
        #: why the run ends before its plan by a rule
        self.why: str | None = None

    def start(self) -> Json | None:
        """The line that starts us; None where nobody is there any more. Listens from then on."""
        line = sys.stdin.buffer.readline()
        if not line:
            return None
        started: Json = json.loads(line)
        threading.Thread(target=self._listen, daemon=True).start()
        return started

    def _listen(self) -> None:
        stopped = False
        for line in sys.stdin.buffer:
            self.why = json.loads(line)["stop"]
            if self.why is None:
                stopped = True
                self._on_stop()
        if not stopped:
            self._on_stop()


class CounterReports:
    """Counts since the last report; while nobody reads, they add up for the next one."""

    def __init__(self, to_starter: ToStarter, lanes: int, every_ns: int):
        self._to_starter, self._every_ns = to_starter, every_ns
        self._reported = Counters.total([], lanes)
        self._reported_ns = -every_ns
        self._ask: Callable[[], Counters] | None = None

    def tick(self, now_ns: int, counters: Callable[[], Counters]) -> None:
        """Report when it is time to."""
        self._ask = counters
        if now_ns - self._reported_ns >= self._every_ns and self._to_starter.all_written:
            self._reported_ns = now_ns
            self.finish()

    def finish(self) -> None:
        """Report what is left."""
        if self._ask is not None:
            now = self._ask().copy()
            self._to_starter.send({"counters": now.since(self._reported).plain()})
            self._reported = now


def leave() -> None:
    """End the process: a thread may still wait for a line, and nothing is left to be saved."""
    sys.stdout.flush()
    os._exit(0)
