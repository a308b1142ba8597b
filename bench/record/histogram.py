"""Latencies in buckets, for live display, merging and the `.hlog` file; hdrhistogram is used here
alone.

In: latencies in ns. Out: counts in HdrHistogram's own bucket layout (whole µs, 1 µs to 1 h, three
significant digits), percentiles in ns, HdrHistogram V2 logs. Must stay true: no value is ever
dropped; rounding goes up (to the next µs, to the top of the bucket) and never past the true
maximum, so a percentile is at least the exact one and above it by 0.1 % + 1 µs at most; a value
over one hour keeps its place in the ranks and its size in the maximum; a negative value is an
error; percentiles of nothing are None; verdicts come from the rows, never from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

from bench.clock import utc_text
from bench.errors import RunFolderError
from bench.metrics import in_hlog
from bench.plan.profile import bucket_names
from bench.plan.schedule import Lane, Plan, Table
from bench.record.files import write_atomically
from bench.record.samples import Columns, Int
from bench.units import MS, US, S, nearest_rank

LOWEST_US, HIGHEST_US, DIGITS = 1, 3_600_000_000, 3
#: 2048 sub-buckets: the power of two that holds 2·10^3. Widths double from the second bucket on.
_HALF_BITS = 10
_SUB_BUCKET_MASK = (2 << _HALF_BITS) - 1
_CELLS = 23 << _HALF_BITS
#: ns per unit of the log's Interval_Max column (ms with six decimals, so that ns survive)
_MAX_UNIT_NS = 1_000_000


def _highest_us(cell: int) -> int:
    """Largest whole µs that falls into a cell."""
    bucket = max((cell >> _HALF_BITS) - 1, 0)
    return ((cell - (bucket << _HALF_BITS) + 1) << bucket) - 1


class Histogram:
    """Counts of latencies in HdrHistogram's cells, plus what the cells cannot hold."""

    __slots__ = ("counts", "max_ns", "n", "overflow")

    def __init__(self) -> None:
        #: count per cell; pages that no value touches cost no memory
        self.counts: Int = np.zeros(_CELLS, np.int64)
        self.n = 0
        #: of the n, how many were over one hour (they sit in the cell of one hour)
        self.overflow = 0
        self.max_ns = 0

    def record_ns(self, value_ns: int) -> None:
        """Record one latency in ns. Raises ValueError when negative."""
        if value_ns < 0:
            raise ValueError(f"a latency of {value_ns} ns")
        us = -(-value_ns // US)
        if us > HIGHEST_US:
            self.overflow += 1
            us = HIGHEST_US
        bucket = (us | _SUB_BUCKET_MASK).bit_length() - _HALF_BITS - 1
        self.counts[(bucket << _HALF_BITS) + (us >> bucket)] += 1
        self.n += 1
        self.max_ns = max(self.max_ns, value_ns)

    def record_many_ns(self, values_ns: npt.NDArray[np.integer[Any]]) -> None:
        """Record an array of latencies in ns, all or none.

        Raises ValueError when one is negative.
        """
        values = np.asarray(values_ns)
        if not len(values):
            return
        if values.dtype.kind not in "iu":
            raise TypeError(f"latencies are whole ns, not {values.dtype}")
        values = values.astype(np.int64)
        if (smallest := int(values.min())) < 0:
            raise ValueError(f"a latency of {smallest} ns among {len(values)}")
        us = values // US + (values % US != 0)
        self.overflow += int(np.count_nonzero(us > HIGHEST_US))
        np.minimum(us, HIGHEST_US, out=us)
        # frexp's exponent is the bit length: us is far below 2**53, so the float is exact
        bucket = (
            np.frexp((us | _SUB_BUCKET_MASK).astype(np.float64))[1].astype(np.int64)
            - _HALF_BITS
            - 1
        )
        added = np.bincount((bucket << _HALF_BITS) + (us >> bucket))
        self.counts[: len(added)] += added
        self.n += len(values)
        self.max_ns = max(self.max_ns, int(values.max()))

    def add(self, other: Histogram) -> None:
        """Add another histogram's counts: exact, whatever the order."""
        self.counts += other.counts
        self.n += other.n
        self.overflow += other.overflow
        self.max_ns = max(self.max_ns, other.max_ns)

    def since(self, before: Histogram) -> Histogram:
        """What was recorded since: `before` and the difference add up to this one, its maximum
        included.
        """
        made = Histogram()
        made.counts[:] = self.counts - before.counts
        made.n = self.n - before.n
        made.overflow = self.overflow - before.overflow
        made.max_ns = self.max_ns
        return made

    def cells(self) -> dict[str, Any]:
        """As plain JSON: the cells in use and what they cannot hold."""
        used = np.flatnonzero(self.counts)
        return {
            "cells": used.tolist(),
            "counts": self.counts[used].tolist(),
            "n": self.n,
            "overflow": self.overflow,
            "max_ns": self.max_ns,
        }

    @classmethod
    def from_cells(cls, cells: dict[str, Any]) -> Histogram:
        """The reverse of `cells`."""
        made = cls()
        made.counts[cells["cells"]] = cells["counts"]
        made.n = cells["n"]
        made.overflow = cells["overflow"]
        made.max_ns = cells["max_ns"]
        return made

    def percentile_ns(self, q: Fraction) -> int | None:
        """The q-quantile in ns by ceiling nearest rank, at the top of its cell; None when empty.

        A rank among the values over one hour gives the maximum: what is known of them.
        """
        if not 0 < q <= 1:
            raise ValueError(f"no rank for quantile {q}")
        if not self.n:
            return None
        rank = nearest_rank(self.n, q)
        if rank > self.n - self.overflow:
            return self.max_ns
        cell = int(np.searchsorted(np.cumsum(self.counts), rank))
        return min(_highest_us(cell) * US, self.max_ns)

    def above(self, limit_ns: int) -> int:
        """How many were over the limit, to within the width of its cell."""
        us = min(-(-limit_ns // US), HIGHEST_US)
        bucket = (us | _SUB_BUCKET_MASK).bit_length() - _HALF_BITS - 1
        return int(self.counts[(bucket << _HALF_BITS) + (us >> bucket) + 1 :].sum())

    def percentile_ms(self, q: Fraction) -> float | None:
        """The same in ms."""
        value_ns = self.percentile_ns(q)
        return None if value_ns is None else value_ns / MS

    def mean_ns(self) -> float | None:
        """Mean in ns from the middles of the cells (within 0.05 % + 1 µs); None when empty.

        Values over one hour count as one hour: read it beside `overflow`.
        """
        if not self.n:
            return None
        cells = np.flatnonzero(self.counts)
        bucket = np.maximum((cells >> _HALF_BITS) - 1, 0)
        middle_us = ((cells - (bucket << _HALF_BITS)) << bucket) + (((1 << bucket) - 1) / 2)
        return float(min(middle_us @ self.counts[cells] / self.n * US, self.max_ns))


class HistogramSet(dict[str, Histogram]):
    """Histograms by tag, such as `pro.response.ttft.burst`: target.view.metric.phase, or .bucket.

    `histograms[tag]` makes the histogram at first use; a hot path keeps hold of what it got.
    """

    def __missing__(self, tag: str) -> Histogram:
        made = self[tag] = Histogram()
        return made

    def add(self, other: HistogramSet) -> None:
        """Add another set, tag by tag."""
        for tag, histogram in other.items():
            self[tag].add(histogram)

    @property
    def overflow(self) -> int:
        """Values over one hour, all tags together."""
        return sum(histogram.overflow for histogram in self.values())


@dataclass(frozen=True)
class Interval:
    """One line of a log: a tag's histogram over a stretch of the run, in ns after its start."""

    tag: str
    start_ns: int
    end_ns: int
    histogram: Histogram


#: Readers of other languages split a line at commas and blanks, so no tag may hold one.
_NOT_IN_TAG = re.compile(r"[\s,%]")
_HEADER = """\
#[tailproof latencies; units = microseconds (rounded up); times in seconds after the start \
of the run]
#[Tag = target.view.metric.phase, or target.view.metric.bucket; blanks, commas and % are \
written as %XX]
#[Interval_Max = the true maximum in milliseconds, also above the histogram's range of \
{lowest} us to {highest} us]
#[MaxValueDivisor: {divisor}.0]
#[Histogram log format version 1.3]
#[StartTime: {start} (seconds since epoch), {text}]
#[BaseTime: {start} (seconds since epoch)]
"""
_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
_DECIMAL = r"(\d+\.\d+)"
_BASE = re.compile(r"#\[BaseTime: " + _DECIMAL + " ")
_OVERFLOW = re.compile(r"#\[Overflow: (\d+) of the next interval")
_INTERVAL = re.compile(rf"Tag=([^ ,]+),{_DECIMAL},{_DECIMAL},{_DECIMAL},(\S+)")


def write_hlog(path: Path, intervals: Iterable[Interval], start_wall_ns: int) -> None:
    """Write an HdrHistogram V2 log, whole or not at all; lines in order of start, then of tag.

    start_wall_ns: wall clock at the run's start. A value over one hour lies in the last cell in
    use, where any reader sees it; a comment before the line keeps how many there are. Raises
    ValueError for an empty tag or a time before the run.
    """
    lines = [
        _HEADER.format(
            lowest=LOWEST_US,
            highest=HIGHEST_US,
            divisor=_MAX_UNIT_NS // US,
            start=_decimal(start_wall_ns, S),
            text=utc_text(start_wall_ns),
        ),
        _LEGEND,
    ]
    for interval in sorted(intervals, key=lambda interval: (interval.start_ns, interval.tag)):
        if not interval.tag or not 0 <= interval.start_ns <= interval.end_ns:
            raise ValueError(
                f"interval {interval.tag!r} from {interval.start_ns} to {interval.end_ns} ns"
            )
        histogram = interval.histogram
        if histogram.overflow:
            lines.append(
                f"#[Overflow: {histogram.overflow} of the next interval were above {HIGHEST_US}"
                " us]\n"
            )
        tag = _NOT_IN_TAG.sub(lambda found: quote(found[0]), interval.tag)
        times = (
            f"{_decimal(interval.start_ns, S)},{_decimal(interval.end_ns - interval.start_ns, S)}"
        )
        lines.append(
            f"Tag={tag},{times},{_decimal(histogram.max_ns, _MAX_UNIT_NS)},{_encode(histogram)}\n"
        )
    write_atomically(path, "".join(lines).encode())


def read_hlog(path: Path) -> tuple[int, list[Interval]]:
    """A log that `write_hlog` wrote: wall clock at the run's start (ns), and its intervals.

    Raises RunFolderError naming the line that cannot be read.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(f"cannot be read ({type(error).__name__})", where=str(path)) from None
    start_wall_ns = None
    overflow = 0
    intervals = []
    for number, line in enumerate(lines, 1):
        if match := _BASE.match(line):
            start_wall_ns = _from_decimal(match[1], S)
        elif match := _OVERFLOW.match(line):
            overflow = int(match[1])
        elif line and not line.startswith(("#", '"')):
            try:
                intervals.append(_interval(line, overflow))
            except ValueError as error:
                raise RunFolderError(str(error), where=f"{path} line {number}") from None
            overflow = 0
    if start_wall_ns is None:
        raise RunFolderError(
            "names no base time", where=str(path), remedy="give a log that tailproof wrote"
        )
    return start_wall_ns, intervals


def _interval(line: str, overflow: int) -> Interval:
    match = _INTERVAL.fullmatch(line)
    if match is None:
        raise ValueError("is not Tag=...,start,length,max,histogram")
    start_ns = _from_decimal(match[2], S)
    histogram = _decode(match[5])
    histogram.overflow, histogram.max_ns = overflow, _from_decimal(match[4], _MAX_UNIT_NS)
    longest = Histogram()
    longest.record_ns(histogram.max_ns)
    if overflow > histogram.n or (histogram.n and _last_cell(longest) != _last_cell(histogram)):
        raise ValueError("holds a histogram that its maximum or its overflow contradicts")
    return Interval(unquote(match[1]), start_ns, start_ns + _from_decimal(match[3], S), histogram)


def _decimal(value: int, unit: int) -> str:
    """value/unit with every digit: floats would round a wall clock to some 200 ns."""
    return f"{value // unit}.{value % unit:0{len(str(unit)) - 1}d}"


def _from_decimal(text: str, unit: int) -> int:
    return round(Fraction(text) * unit)


def _last_cell(histogram: Histogram) -> int:
    return int(np.flatnonzero(histogram.counts)[-1])


def _encode(histogram: Histogram) -> str:
    """Base64 of the compressed V2 encoding."""
    theirs = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    np.frombuffer(theirs.counts, dtype=np.uint64)[:] = histogram.counts
    # The encoder writes the cells up to that of max_value, and none when total_count is 0.
    if histogram.n:
        theirs.total_count, theirs.max_value = histogram.n, _highest_us(_last_cell(histogram))
    return str(theirs.encode(), "ascii")


def _decode(text: str) -> Histogram:
    """Counts of a compressed V2 encoding. Raises ValueError on damage or another bucket layout."""
    try:
        theirs = HdrHistogram.decode(text)
    # hdrh raises bare Exceptions, zlib.error, struct and ctypes errors alike
    except Exception as error:
        raise ValueError(f"holds a damaged histogram ({type(error).__name__})") from None
    layout = (
        theirs.lowest_trackable_value,
        theirs.highest_trackable_value,
        theirs.significant_figures,
    )
    if layout != (LOWEST_US, HIGHEST_US, DIGITS):
        raise ValueError(f"holds a histogram of another layout {layout}")
    histogram = Histogram()
    histogram.counts[:] = np.frombuffer(theirs.counts, dtype=np.uint64)
    histogram.n = int(histogram.counts.sum())
    return histogram


# ---- histograms.hlog of a run


def write_histograms(
    folder: Path,
    plan: Plan,
    samples: Table,
    gaps: list[list[Histogram]],
    started_wall_ns: int,
) -> None:
    """The latencies of a run's answers, a tag a target, metric, phase and context bucket.

    Successes of the measured part alone. `gaps` between chunks were counted while the run lasted,
    by lane and phase.
    """
    measured = Columns(plan.schedule, samples).measured()
    answered = measured.where(measured.ok)
    intervals: list[Interval] = []
    for lane in plan.lanes:
        histograms = _lane_histograms(lane, answered.lane(lane.index))
        for phase, counted in zip(lane.phases, gaps[lane.index], strict=False):
            if counted.n:
                histograms[f"{lane.name}.inter_chunk.{phase}"].add(counted)
        for tag, histogram in histograms.items():
            intervals.append(Interval(tag, lane.start_ns, lane.end_ns, histogram))
    write_hlog(folder / "histograms.hlog", intervals, started_wall_ns)


def _lane_histograms(lane: Lane, answered: Columns) -> HistogramSet:
    histograms = HistogramSet()
    for metric, view in in_hlog():
        view_of = f"{view}." if metric.views else ""
        tag = f"{lane.name}.{view_of}{metric.name}"
        values = metric.ns(answered.samples, view)
        for column, names in (("phase", lane.phases), ("bucket", bucket_names())):
            part_of = answered.schedule[column]
            for index, part in enumerate(names):
                chosen = values[(part_of == index) & (values >= 0)]
                if len(chosen):
                    histograms[f"{tag}.{part}"].record_many_ns(chosen)
    return histograms
