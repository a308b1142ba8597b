"""The line that says how far a long step is and how long it still takes.

In: steps as they go on. Out: one line of a terminal on standard error, drawn again and taken away
at the end. Must stay true: a step of less than a second is not shown; nothing is drawn more than
five times a second, with `--quiet`, or where standard error is no terminal.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from bench import progress
from bench.clock import monotonic_ns

#: A step shows itself after so long, and again after so long; ns.
_FIRST_NS, _AGAIN_NS = 10**9, 2 * 10**8
#: Up to this part a time left would be a guess.
_EARLY = 0.03
_BAR = 24
_quiet = False


def silence() -> None:
    """Show nothing from now on: `--quiet`."""
    global _quiet  # noqa: PLW0603 one process, one command
    _quiet = True


@contextmanager
def shown() -> Iterator[None]:
    """Show steps where somebody may look at them; `silence` ends with the command, too."""
    global _quiet  # noqa: PLW0603
    try:
        if not sys.stderr.isatty():
            yield
            return
        with progress.reported_to(Line(sys.stderr)):
            yield
    finally:
        _quiet = False


class Line:
    """One line of a terminal; a listener."""

    def __init__(self, out: IO[str]):
        self._out, self._drawn, self._next_ns = out, 0, 0
        self._began_ns = dict[str, int]()

    def __call__(self, name: str, part: float | None) -> None:
        """Draw where it is time to; wipe it where the step is over."""
        now_ns = monotonic_ns()
        elapsed_ns = now_ns - self._began_ns.setdefault(name, now_ns)
        if part is None:
            del self._began_ns[name]
            self._write("")
        elif elapsed_ns >= _FIRST_NS and now_ns >= self._next_ns and not _quiet:
            self._next_ns = now_ns + _AGAIN_NS
            self._write(text(name, part, elapsed_ns))

    def _write(self, line: str) -> None:
        if not line and not self._drawn:
            return
        line = line[: shutil.get_terminal_size().columns - 1]
        self._out.write(f"\r{line:<{self._drawn}}{'' if line else chr(13)}")
        self._out.flush()
        self._drawn = len(line)


def text(name: str, part: float, elapsed_ns: int) -> str:
    """`writing report.pdf  ████████░░░░  45 %  6 s left`."""
    from bench.show.wording import whole_seconds

    part = min(max(part, 0.0), 1.0)
    filled = round(part * _BAR)
    said = f"{name}  {'█' * filled}{'░' * (_BAR - filled)} {part * 100:3.0f} %"
    if not _EARLY <= part < 1:
        return said
    left_ns = round(elapsed_ns * (1 - part) / part)
    return f"{said}  {whole_seconds(left_ns)} left"
