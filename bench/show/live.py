"""What is seen while a run lasts: a live screen, plain lines, or nothing.

In: frozen `Progress` records, a few a second. Out: a terminal's live region, never larger
than its window; where the output is no terminal, a line every few seconds of the run and one for
each event; nothing when quiet. Must stay true: no thread and no clock of its own (times come with
the record), so it costs the load generator no more than its own drawing; what `note` is given stays
when the region is gone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
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
    milliseconds,
    number,
    per_cent,
    visible,
    whole_seconds,
)
from bench.units import S

PLAIN_EVERY_NS = 5 * S
#: Characters of a line in a log, of a stage's name in it, and cells of a target's name.
_PLAIN, _STAGE, _NAME = 125, 30, 18
#: Lines of the window that the region leaves free: the opening sentence, and where the cursor
#: stands.
_SPARE = 3
#: From so many cells on the region has every column.
_WIDE = 96


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
    #: how many times the share is bad so far that a clause on latency lets be; None without one
    budgets: float | None = None

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
    #: the suite's name, where it has several stages
    suite: str = ""
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


def _event(event: tuple[int, str]) -> str:
    """`1:05  drill: eu-1 recovered`."""
    at_ns, sentence = event
    minutes, seconds = divmod(max(at_ns, 0) // S, 60)
    return f"{minutes:2}:{seconds:02}  {visible(sentence)}"


# ---- the live region


def live_text(progress: Progress, width: int, height: int) -> Text:
    """Stage, rates, a line a target, the last events: at most `height` lines of `width` cells. No
    verdict and no colour: it is not over.
    """
    head = list(_head(progress, width))
    events = [_event(event) for event in reversed(progress.events)]
    events = ["", *events] if events else []
    room = max(height - _SPARE - len(head) - len(events), 1)
    lanes = _lane_lines(progress, room, width)
    text = Text(no_wrap=True)
    for index, line in enumerate([*head, *lanes, *events][: max(height - 1, 1)]):
        row = Text(line, style="bold" if index == 0 else "")
        row.truncate(width, overflow="ellipsis")
        text.append_text(row if index == 0 else Text("\n").append_text(row))
    return text


def _head(progress: Progress, width: int) -> Iterator[str]:
    wide = width >= _WIDE
    name = visible(progress.stage, _STAGE)
    if progress.stages > 1:
        word = "stage " if wide else ""
        name = f"{word}{progress.stage_number} of {progress.stages}, {name}"
        name = f"{visible(progress.suite, 24)}  {name}" if progress.suite else name
    bar = 32 if wide else 16
    filled = round(_share(progress) * bar)
    marks = "█" * filled + "░" * (bar - filled)
    yield f"{_padded(name, 44 if wide else 36)}  {marks}  {_done(progress)}   {_left(progress)}"
    yield _rates(progress, "requests/s" if wide else "/s")
    yield ""
    yield from _rows(width).head()


def _rates(progress: Progress, unit: str) -> str:
    recent = progress.recent
    said = []
    if recent is not None:
        per = unit if unit.startswith("/") else f" {unit}"
        said.append(f"sent {number(recent.sent)} of {number(recent.offered)}{per}")
    said.append(f"in flight {count(progress.in_flight)}")
    if progress.late_p99_ms is not None:
        said.append(f"sent late p99 {milliseconds(progress.late_p99_ms)}")
    if progress.spend != ABSENT:
        said.append(f"spent {progress.spend}")
    return "    ".join(said)


def _lane_lines(progress: Progress, room: int, width: int) -> list[str]:
    """In the order of the plan; where there is no room for all, the worst and how many are left."""
    rows = _rows(width)
    lanes = progress.lanes
    if len(lanes) <= room:
        return [rows.row(lane) for lane in lanes]
    worst = sorted(lanes, key=_badness, reverse=True)[: max(room - 1, 0)]
    left = len(lanes) - len(worst)
    return [*map(rows.row, worst), f"and {left} more, none worse"]


def _badness(lane: LaneProgress) -> tuple[float, float, float]:
    return lane.budgets or 0.0, lane.failures / max(lane.done, 1), lane.p99_ms or 0.0


def _ok(lane: LaneProgress) -> str:
    return per_cent((lane.done - lane.failures) / lane.done, 2) if lane.done else ABSENT


def _budgets(lane: LaneProgress) -> str:
    """`4.5 ×  ██████████████████`: four cells a budget."""
    if lane.budgets is None:
        return ""
    bar = "█" * min(round(4 * lane.budgets), _BAR)
    return f"{number(round(lane.budgets, 1))} ×  {bar:<{_BAR}}"


#: Cells of the longest bar of a target.
_BAR = 18
#: What is seen of a target while the run lasts, in a wide window and in a narrow one.
LIVE_COLUMNS: list[Column[LaneProgress]] = [
    Column("so far, ms", lambda lane: visible(lane.name, _NAME - 1), "words", width=_NAME),
    Column("done", lambda lane: count(lane.done), width=8),
    Column("ok", _ok, width=8),
    Column(quantile_name(P50), lambda lane: number(lane.p50_ms), width=8),
    Column(quantile_name(P99), lambda lane: number(lane.p99_ms), width=8),
    Column(quantile_name(P999), lambda lane: number(lane.p999_ms), width=8),
    Column("slow or failed, × the budget", _budgets, width=37),
]
NARROW_COLUMNS: list[Column[LaneProgress]] = [
    *LIVE_COLUMNS[:5],
    Column("bad, × the budget", _budgets, width=28),
]


def _rows(width: int) -> RowByRow[LaneProgress]:
    return RowByRow(LIVE_COLUMNS) if width >= _WIDE else RowByRow(NARROW_COLUMNS)


def _padded(text: str, width: int) -> str:
    """At least so many terminal cells."""
    return text + " " * (width - cell_len(text))


# ---- a line for a log


def plain_line(progress: Progress) -> str:
    """The same in one line, without a target's latencies: they mean nothing before the end."""
    planned = _planned(progress)
    of = f" of {count(planned)}" if planned >= progress.done and planned else ""
    failures = sum(lane.failures for lane in progress.lanes)
    said = [f"{count(progress.done)}{of} done", f"{count(failures)} failed"]
    if (recent := progress.recent) is not None:
        said.append(f"sent {number(recent.sent)} of {number(recent.offered)}/s")
    if progress.late_p99_ms is not None:
        said.append(f"sent late p99 {milliseconds(progress.late_p99_ms)}")
    head = f"{visible(progress.stage, _STAGE)} {_done(progress).strip()}, {_left(progress)}"
    return visible(f"{head}: {', '.join(said)}", _PLAIN)
