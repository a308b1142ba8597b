"""What is seen while a run lasts: a live screen, plain lines, or nothing.

In: frozen `Progress` records, about four a second. Out: a terminal's live region; where the
output is no terminal, a line every few seconds of the run; nothing when quiet. Must stay true:
no thread and no clock of its own (times come with the record), so it costs the load generator
no more than its own drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.show.wording import count, milliseconds, number, per_cent, visible
from bench.units import S, show_duration

PLAIN_EVERY_NS = 5 * S
_BAR = 16


@dataclass(frozen=True)
class LaneProgress:
    """One lane so far. Quantiles are running ones of response latency in ms, None before the first answer."""

    name: str
    done: int = 0
    failed: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True)
class Progress:
    """The stage that is running. Counts are rows of the stage; `offered` are the rows due so far."""

    stage: str
    phase: str
    elapsed_ns: int
    total_ns: int
    offered: int
    sent: int
    done: int
    in_flight: int
    failed: int
    late_p99_ms: float | None = None
    lanes: tuple[LaneProgress, ...] = ()
    #: position among the run's stages, from 1, and how many there are
    stage_number: int = 1
    stages: int = 1


class Screen:
    """A context manager; `update` while it is open, `note` for events that must not scroll away."""

    def __init__(self, console: Console, *, quiet: bool = False):
        """`console` decides between live and plain by whether it is a terminal."""
        self._console, self._quiet = console, quiet
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal and not quiet else None
        )
        self._last: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show where the run stands."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(live_text(progress, self._console.width), refresh=True)
            return
        stage, told_ns = self._last or ("", 0)
        if stage != progress.stage or progress.elapsed_ns - told_ns >= PLAIN_EVERY_NS:
            self._last = (progress.stage, progress.elapsed_ns)
            self._line(plain_line(progress))

    def note(self, sentence: str) -> None:
        """Say something once; it stays above the live region."""
        if not self._quiet:
            self._line(visible(sentence))

    def _line(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True, highlight=False)


def _share(progress: Progress) -> float:
    return min(max(progress.elapsed_ns / progress.total_ns, 0.0), 1.0) if progress.total_ns > 0 else 1.0


def _done(progress: Progress) -> str:
    return f"{_share(progress) * 100:3.0f} %"


def _left(progress: Progress) -> str:
    left = progress.total_ns - progress.elapsed_ns
    return f"{show_duration(-(-left // S) * S)} left" if left > 0 else "waiting for the last answers"


def _rates(progress: Progress) -> str:
    seconds = max(progress.elapsed_ns, 1) / S
    return f"sent {number(progress.sent / seconds)}/s of {number(progress.offered / seconds)}/s"


def _of_all(progress: Progress) -> str:
    return f" ({progress.stage_number} of {progress.stages})" if progress.stages > 1 else ""


def live_text(progress: Progress, width: int) -> Text:
    """Stage, phase and bar; rates; a line a lane. Every line is cut to `width`."""
    filled = round(_share(progress) * _BAR)
    name = f" ▸ {visible(progress.stage, 40)}{_of_all(progress)}   {visible(progress.phase, 24)}"
    lines = [
        f"{name:<36}   {'█' * filled}{'░' * (_BAR - filled)}  {_done(progress)}   {_left(progress)}",
        (
            f"   {_rates(progress)} · done {count(progress.done)} · in flight {count(progress.in_flight)}"
            f" · failed {count(progress.failed)} · late p99 {milliseconds(progress.late_p99_ms)}"
        ),
    ]
    widest = min(max((cell_len(visible(lane.name, 24)) for lane in progress.lanes), default=0), 24)
    for lane in progress.lanes:
        shown = visible(lane.name, 24)
        ok = per_cent((lane.done - lane.failed) / lane.done, 2) if lane.done else "–"
        lines.append(f"   {shown}{' ' * (widest - cell_len(shown))}   p50 {milliseconds(lane.p50_ms):>9}"
                     f"   p99 {milliseconds(lane.p99_ms):>9}   ok {ok}")  # fmt: skip
    text = Text(no_wrap=True, overflow="ellipsis")
    for index, line in enumerate(lines):
        row = Text(line, style="bold" if index == 0 else "")
        row.truncate(width, overflow="ellipsis")
        text.append_text(row if index == 0 else Text("\n").append_text(row))
    return text


def plain_line(progress: Progress) -> str:
    """The same in one line, for a log."""
    lanes = "".join(f"; {visible(lane.name, 24)} p50 {milliseconds(lane.p50_ms)} p99 {milliseconds(lane.p99_ms)}"
                    for lane in progress.lanes)  # fmt: skip
    return (f"{visible(progress.stage, 40)}{_of_all(progress)} {visible(progress.phase, 24)}: "
            f"{_done(progress).strip()}, {_left(progress)}; {_rates(progress)}; "
            f"in flight {count(progress.in_flight)}; failed {count(progress.failed)}; "
            f"late p99 {milliseconds(progress.late_p99_ms)}{lanes}")  # fmt: skip
