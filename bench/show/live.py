"""What is seen while a run lasts: a live screen, plain lines, or nothing.

In: frozen `Progress` records, a few a second. Out: a terminal's live region, never larger
than its window; where the output is no terminal, a line every few seconds of the run and one for
each event; nothing when quiet. Must stay true: no thread and no clock of its own (times come with
the record), so it costs the load generator no more than its own drawing; what `note` is given stays
when the region is gone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.quantiles import P50, P99, P999, quantile_name
from bench.show.document import Column
from bench.show.terminal_tables import RowByRow
from bench.show.wording import (
    ABSENT,
    count,
    counts,
    milliseconds,
    number,
    per_cent,
    visible,
    whole_seconds,
)
from bench.units import S

PLAIN_EVERY_NS = 5 * S
_BAR = 12
#: Characters of a line in a log.
_PLAIN = 125
#: Cells of a lane's name and of a latency.
_NAME, _LATENCY = 18, 11
#: Lines of the window that the region leaves free: the opening sentence, and where the cursor
#: stands.
_SPARE = 3


@dataclasses.dataclass(frozen=True)
class LaneProgress:
    """One lane so far.

    Quantiles are running ones of response latency in ms, None before the first answer.
    """

    name: str
    done: int = 0
    #: rows by how they ended, only those that did not end well
    failed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    #: rows of its plan; None where they depend on how quick the answers are
    planned: int | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None

    @property
    def failures(self) -> int:
        """Rows that did not end well."""
        return sum(self.failed.values())


@dataclasses.dataclass(frozen=True)
class Rates:
    """Requests a second over the last `over_ns`."""

    over_ns: int
    offered: float
    sent: float
    done: float


@dataclasses.dataclass(frozen=True)
class Progress:
    """The stage that is running.

    Counts are rows of the stage; `offered` are the rows due so far.
    """

    stage: str
    phase: str
    elapsed_ns: int
    #: 0 for a closed loop that ends with its count of requests
    total_ns: int
    offered: int
    sent: int
    done: int
    in_flight: int
    #: None before the first answer
    late_p99_ms: float | None = None
    #: None until enough time has passed
    recent: Rates | None = None
    #: of the whole run, with its unit
    spend: str = ABSENT
    phase_left_ns: int = 0
    lanes: tuple[LaneProgress, ...] = ()
    #: the latest, oldest first: ns after the run's start, sentence
    events: tuple[tuple[int, str], ...] = ()
    #: position among the run's stages and the stage's phases, from 1, and how many there are
    stage_number: int = 1
    stages: int = 1
    phase_number: int = 1
    phases: int = 1


class Screen:
    """A context manager; `update` while it is open, `note` for what must not scroll away."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False):
        """`console`, standard error where there is none, decides between live and plain by whether
        it is a terminal that can move its cursor.
        """
        self._console, self._quiet = console or Console(stderr=True), quiet
        self._live = (
            Live(console=self._console, auto_refresh=False, transient=True)
            if self._console.is_interactive and not quiet
            else None
        )
        self._last: tuple[str, int] | None = None
        self._shown_events: tuple[tuple[int, str], ...] = ()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show where the run stands."""
        if self._quiet:
            return
        if self._live is not None:
            size = self._console.size
            self._live.update(live_text(progress, size.width, size.height), refresh=True)
            return
        stage, shown_ns = self._last or ("", 0)
        if stage != progress.stage or progress.elapsed_ns - shown_ns >= PLAIN_EVERY_NS:
            self._last = (progress.stage, progress.elapsed_ns)
            for event in progress.events:
                if event not in self._shown_events:
                    self._line(_event(event))
            self._shown_events = progress.events
            self._line(plain_line(progress))

    def alarm(self, sentence: str) -> None:
        """Say something that is said even when nothing else is."""
        self._line(visible(sentence))

    def note(self, sentence: str) -> None:
        """Say something once; it stays above the live region."""
        if not self._quiet:
            self._line(visible(sentence))

    def _line(self, line: str) -> None:
        # A log keeps a sentence on its line; in a window it is broken between words.
        self._console.print(Text(line), soft_wrap=self._live is None, highlight=False)


def _share(progress: Progress) -> float:
    at, end = (
        (progress.elapsed_ns, progress.total_ns)
        if progress.total_ns > 0
        else (progress.done, _planned(progress))
    )
    return min(max(at / end, 0.0), 1.0) if end > 0 else 1.0


def _planned(progress: Progress) -> int:
    return sum(lane.planned or 0 for lane in progress.lanes)


def _done(progress: Progress) -> str:
    return f"{_share(progress) * 100:3.0f} %"


def _left(progress: Progress) -> str:
    if progress.total_ns <= 0 and progress.done < _planned(progress):
        return f"{count(_planned(progress) - progress.done)} requests left"
    left_ns = progress.total_ns - progress.elapsed_ns
    return (
        f"{whole_seconds(left_ns)} left"
        if left_ns > 0
        else f"{count(progress.offered - progress.done)} answers to come"
    )


def _of_all(at: int, of: int) -> str:
    return f" ({at} of {of})" if of > 1 else ""


def _phase(progress: Progress) -> str:
    left = (
        f", {whole_seconds(progress.phase_left_ns)} left"
        if progress.phase_left_ns > 0 and progress.phases > 1
        else ""
    )
    place = _of_all(progress.phase_number, progress.phases) if left else ""
    return f"{visible(progress.phase, 24)}{place}{left}"


def _event(event: tuple[int, str]) -> str:
    at_ns, sentence = event
    return f"at {whole_seconds(max(at_ns, 0))}: {visible(sentence)}"


def _failed(lane: LaneProgress) -> str:
    """The most frequent outcome first."""
    return counts(dict(sorted(lane.failed.items(), key=lambda item: -item[1])))


# ---- the live region


def live_text(progress: Progress, width: int, height: int) -> Text:
    """Stage and phase, rates, a line or two a lane, the last events: at most `height` lines of
    `width` cells.
    """
    head = list(_head(progress))
    events = [f"   {_event(event)}" for event in progress.events]
    room = max(height - _SPARE - len(head) - len(events), 1)
    text = Text(no_wrap=True)
    for index, line in enumerate(
        [*head, *_lane_lines(progress.lanes, room), *events][: max(height - 1, 1)]
    ):
        row = Text(line, style="bold" if index == 0 else "")
        row.truncate(width, overflow="ellipsis")
        text.append_text(row if index == 0 else Text("\n").append_text(row))
    return text


def _head(progress: Progress) -> Iterator[str]:
    filled = round(_share(progress) * _BAR)
    stage = f" ▸ {visible(progress.stage, 30)}{_of_all(progress.stage_number, progress.stages)}"
    yield (
        f"{_padded(stage, 34)}  {'█' * filled}{'░' * (_BAR - filled)}  {_done(progress)}  "
        f" {_left(progress)}"
    )
    yield (
        f"   {_phase(progress)} · in flight {count(progress.in_flight)} · late p99"
        f" {milliseconds(progress.late_p99_ms)}"
    )
    if (recent := progress.recent) is not None:
        rates = (f"{number(rate)}/s" for rate in (recent.offered, recent.sent, recent.done))
        yield _three(f"last {whole_seconds(round(recent.over_ns / S) * S)}", *rates)
    yield (
        _three("so far", *map(count, (progress.offered, progress.sent, progress.done)))
        + f"spend {progress.spend}"
    )
    yield from (f"   {line}" for line in RowByRow(LIVE_COLUMNS).head())


def _three(when: str, offered: str, sent: str, done: str) -> str:
    parts = (f"offered {offered}", f"sent {sent}", f"done {done}")
    return f"   {_padded(when, 9)}" + "".join(f"{_padded(part, 14)}  " for part in parts)


def _lane_lines(lanes: Sequence[LaneProgress], room: int) -> list[str]:
    """In the order of the plan; where there is no room for all, the worst first and how many are
    left out.
    """
    lines = [_lane(lane) for lane in lanes]
    if sum(map(len, lines)) <= room:
        return [line for each in lines for line in each]
    kept: list[str] = []
    left = len(lanes)
    for lane in sorted(lanes, key=_badness, reverse=True):
        more = _lane(lane)
        if len(kept) + len(more) + 1 > room:
            break
        kept += more
        left -= 1
    return [*kept, f"   and {left} more"]


def _badness(lane: LaneProgress) -> tuple[float, float]:
    return lane.failures / max(lane.done, 1), lane.p99_ms or 0.0


def _done_of(lane: LaneProgress) -> str:
    planned = "" if lane.planned is None else f" of {count(lane.planned)}"
    return f"{count(lane.done)}{planned}"


def _ok(lane: LaneProgress) -> str:
    return per_cent((lane.done - lane.failures) / lane.done, 2) if lane.done else ABSENT


#: What is seen of a lane while the run lasts.
LIVE_COLUMNS: list[Column[LaneProgress]] = [
    Column("response", lambda lane: visible(lane.name, _NAME - 1), "words", width=_NAME),
    Column("done", _done_of, width=16),
    Column(quantile_name(P50), lambda lane: milliseconds(lane.p50_ms), width=_LATENCY),
    Column(quantile_name(P99), lambda lane: milliseconds(lane.p99_ms), width=_LATENCY),
    Column(quantile_name(P999), lambda lane: milliseconds(lane.p999_ms), width=_LATENCY),
    Column("ok", _ok, width=9),
]


def _lane(lane: LaneProgress) -> list[str]:
    line = f"   {RowByRow(LIVE_COLUMNS).row(lane)}"
    return [line, f"     {_failed(lane)}"] if lane.failed else [line]


def _padded(text: str, width: int) -> str:
    """At least so many terminal cells."""
    return text + " " * (width - cell_len(text))


# ---- a line for a log


def plain_line(progress: Progress) -> str:
    """The same in one line; of several lanes the worst."""
    recent = progress.recent
    rates = f"; {number(recent.sent)} of {number(recent.offered)}/s" if recent is not None else ""
    lanes = "".join(
        f"; {visible(lane.name, 24)} p99 {milliseconds(lane.p99_ms)}"
        for lane in sorted(progress.lanes, key=_badness, reverse=True)[:1]
    )
    at = f" ({progress.stage_number}/{progress.stages})" if progress.stages > 1 else ""
    failures = sum(lane.failures for lane in progress.lanes)
    return visible(
        f"{visible(progress.stage, 30)}{at} {visible(progress.phase, 24)}"
        f" {_done(progress).strip()}, {_left(progress)}{rates}; done {count(progress.done)}, failed"
        f" {count(failures)}{lanes}; late {milliseconds(progress.late_p99_ms)}",
        _PLAIN,
    )
