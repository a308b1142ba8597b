"""Recorded request logs, read for replay.

In: a `TraceSource` and a seed. Out: a `Trace`: due times from 0, sizes in tokens, and sentences
for the report. Must stay true: only times and lengths are read; the first unreadable line is an
error that names it, never a row silently dropped; whatever is changed on the way (failed rows
left out, coarse timestamps spread, time scaled) is stated in a note.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import UserError
from bench.plan.arrival_laws import TraceSource
from bench.plan.trace_values import MOST_NS, number_parser, parse_stamp, parse_tokens
from bench.units import S, show_duration

_UNIT_NS = {"s": S, "ms": 1_000_000, "us": 1_000, "ns": 1}
#: How even a grid of timestamps must be: this share of the gaps lies within `_WOBBLE` steps of
#: a whole number of steps (Mooncake's 3 s grid wobbles by 3 ms).
_EVEN_SHARE, _WOBBLE = 0.9, 0.02


@dataclass(frozen=True)
class Trace:
    """One row a request, in due order. `due_ns` begins at 0, `speed` already applied."""

    due_ns: npt.NDArray[np.int64]
    prompt_tokens: npt.NDArray[np.int32]
    output_tokens: npt.NDArray[np.int32]
    notes: list[str]
    rows_read: int
    #: rows without a prompt or an answer (failed when they were recorded)
    rows_skipped: int


class Layout(NamedTuple):
    """Which column or key holds what, and the unit of the time."""

    title: str
    time: str
    prompt: str
    output: str
    unit: str


LAYOUTS = {
    "mooncake": Layout("Mooncake JSONL", "timestamp", "input_length", "output_length", "ms"),
    "azure": Layout("Azure LLM CSV", "TIMESTAMP", "ContextTokens", "GeneratedTokens", "rfc3339"),
    "burstgpt": Layout("BurstGPT CSV", "Timestamp", "Request tokens", "Response tokens", "s"),
}


def read_trace(source: TraceSource, seed: int) -> Trace:
    """Read, spread coarse timestamps, select [start, end), scale by `speed`.

    `start` and `end` are offsets from the trace's first row in recorded time. Rows that share a
    coarse timestamp are spread on the whole trace before the selection, so a row keeps its place
    whatever the window. Raises UserError: no such file, unknown layout, a line that cannot be
    read, nothing left to replay.
    """
    path = Path(source.file)
    layout, times, sizes, skipped = _read_rows(path, source)
    rows = len(times)
    if not rows:
        raise UserError(
            "holds no request to replay",
            where=source.file,
            remedy=f"all {skipped} rows have 0 tokens" if skipped else "the file has no rows",
        )
    notes = []
    if skipped:
        notes.append(
            f"{skipped:,} of {rows + skipped:,} rows have 0 prompt or output tokens (failed when"
            " they were recorded) and are left out"
        )
    if np.any(np.diff(times) < 0):
        notes.append("the rows are not in time order in the file; they are replayed in time order")
    times = times - times.min()
    length_ns = int(times.max())
    times, note = _spread(times, seed, source.jitter)
    notes += [note] if note else []
    order = np.argsort(times, kind="stable")
    times, sizes = times[order], sizes[order]
    kept = times >= source.start
    if source.end is not None:
        kept &= times < source.end
    times, sizes = times[kept], sizes[kept]
    if not len(times):
        raise UserError(
            "no request of the trace lies between start and end",
            where=source.file,
            remedy=(
                f"start is {show_duration(source.start)} and the trace lasts "
                f"{show_duration(length_ns)}; choose another window"
            ),
        )
    num, den = source.speed.numerator, source.speed.denominator
    first = int(times[0])
    if (int(times[-1]) - first) * den // num >= MOST_NS:
        raise UserError(
            "speed is so low that the replay would last over a century",
            where=source.file,
            remedy="choose a higher speed",
        )
    due = np.array([(time - first) * den // num for time in times.tolist()], np.int64)
    pace = "" if source.speed == 1 else f", at {float(source.speed):g} times the recorded speed"
    notes.insert(
        0, f"replays {len(due):,} of {rows:,} requests of {path.name} ({layout.title}){pace}"
    )
    return Trace(due, sizes[:, 0].copy(), sizes[:, 1].copy(), notes, rows + skipped, skipped)


def _spread(
    times: npt.NDArray[np.int64],
    seed: int,
    jitter: str,
) -> tuple[npt.NDArray[np.int64], str | None]:
    step = grid_step_ns(times)
    if step is None:
        return times, None
    instants = len(np.unique(times))
    found = (
        f"{len(times):,} rows share {instants:,} timestamps on a grid of about"
        f" {show_duration(step)}"
    )
    if jitter == "none":
        return (
            times,
            (
                f'{found}; replayed as recorded (jitter = "none"), so the bursts at each step are'
                " the recording's"
            ),
        )
    return (
        spread(times, step, seed),
        f"{found}; each row is spread uniformly over its step, from the run's seed",
    )


def grid_step_ns(times: npt.NDArray[np.int64]) -> int | None:
    """The step of the grid that timestamps were rounded to, None when they are fine enough.

    Coarse means: most rows share their instant with another row, and the instants lie whole
    numbers of steps apart.
    """
    instants, counts = np.unique(times, return_counts=True)
    if len(instants) < 3 or counts[counts > 1].sum() * 2 <= len(times):
        return None
    gaps = np.diff(instants)
    # Empty steps make long gaps, so the step is looked for among the short ones.
    step = float(np.median(gaps[gaps <= 1.5 * np.quantile(gaps, 0.1)]))
    steps = gaps / step
    even = np.abs(steps - np.maximum(np.rint(steps), 1)) <= _WOBBLE
    if even.mean() >= _EVEN_SHARE:
        return round(step)
    return None


def spread(
    times: npt.NDArray[np.int64],
    step_ns: int,
    seed: int,
) -> npt.NDArray[np.int64]:
    """Each time plus a uniform draw from [0, step). Same rows, same order, not sorted."""
    draws = np.random.default_rng([seed & (2**64 - 1), 0x6A697474]).integers(
        0,
        step_ns,
        size=len(times),
    )
    return times + draws.astype(np.int64)


class _Line(NamedTuple):
    number: int
    row: Mapping[str, object]


def _read_rows(
    path: Path, source: TraceSource
) -> tuple[Layout, npt.NDArray[np.int64], npt.NDArray[np.int32], int]:
    """Layout, times (ns), sizes (rows × prompt, output), and how many rows had 0 tokens."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            f"the trace cannot be read ({error.strerror})",
            where=source.file,
            remedy="give a path relative to the profile or to this folder",
        ) from None
    except UnicodeDecodeError:
        raise UserError(
            "the trace is not UTF-8 text",
            where=source.file,
            remedy="unpack it, or save it as UTF-8",
        ) from None
    if text.startswith("version https://git-lfs"):
        raise UserError(
            "is a Git LFS pointer, not the trace",
            where=source.file,
            remedy="fetch it with: git lfs pull",
        )
    is_json = text.lstrip().startswith("{")
    keys, lines = (_json_lines if is_json else _csv_lines)(text, source.file)
    layout = _layout(keys, source)
    to_ns: Callable[[object], int]
    if layout.unit == "rfc3339":
        to_ns = parse_stamp
    else:
        to_ns = number_parser(_UNIT_NS[layout.unit])
    times: list[int] = []
    sizes: list[tuple[int, int]] = []
    skipped = 0
    for line in lines:
        at = _field(line, layout.time, to_ns, source)
        prompt = _field(line, layout.prompt, parse_tokens, source)
        output = _field(line, layout.output, parse_tokens, source)
        if prompt and output:
            times.append(at)
            sizes.append((prompt, output))
        else:
            skipped += 1
    return layout, np.array(times, np.int64), np.array(sizes, np.int32).reshape(-1, 2), skipped


def _layout(keys: list[str], source: TraceSource) -> Layout:
    time = source.time_column
    prompt = source.prompt_column
    output = source.output_column
    mapped = source.format in ("auto", "columns") and time and prompt and output
    if mapped:
        layout = Layout("mapped columns", str(time), str(prompt), str(output), source.time_unit)
    elif source.format != "auto":
        layout = LAYOUTS[source.format]
    else:
        found = [
            known
            for known in LAYOUTS.values()
            if {known.time, known.prompt, known.output} <= set(keys)
        ]
        if not found:
            raise UserError(
                f"the trace's layout is not known (columns: {', '.join(keys)})",
                where=source.file,
                remedy=(
                    'set format = "columns" and name time_column, prompt_column and output_column'
                ),
            )
        layout = found[0]
    for name in (layout.time, layout.prompt, layout.output):
        if name not in keys:
            if mapped:
                remedy = "correct the name in the profile"
            else:
                remedy = 'set format = "auto" or name the columns'
            raise UserError(
                f"line 1: the trace has no column {name!r} (columns: {', '.join(keys)})",
                where=source.file,
                remedy=remedy,
            )
    return layout


def _csv_lines(text: str, name: str) -> tuple[list[str], Iterator[_Line]]:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)

    def rows() -> Iterator[list[str]]:
        try:
            yield from reader
        except csv.Error as error:
            raise UserError(
                f"line {reader.line_num}: is not CSV ({error})",
                where=name,
                remedy="correct or remove the line",
            ) from None

    header = [column.strip() for column in next(rows(), [])]

    def lines() -> Iterator[_Line]:
        for cells in rows():
            if len(cells) > len(header):
                raise UserError(
                    f"line {reader.line_num}: {len(cells)} values for {len(header)} columns",
                    where=name,
                    remedy="correct or remove the line",
                )
            if cells:
                yield _Line(reader.line_num, dict(zip(header, cells, strict=False)))

    return header, lines()


def _json_lines(text: str, name: str) -> tuple[list[str], Iterator[_Line]]:
    raw = text.split("\n")

    def parse(number: int) -> _Line:
        try:
            row = json.loads(raw[number - 1], parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"line {number}: is not JSON ({error})",
                where=name,
                remedy="correct or remove the line",
            ) from None
        if not isinstance(row, dict):
            raise UserError(
                f"line {number}: is not a JSON object",
                where=name,
                remedy="correct or remove the line",
            )
        return _Line(number, row)

    filled = [number for number, line in enumerate(raw, 1) if line.strip()]
    return list(parse(filled[0]).row), (parse(number) for number in filled)


def _field(
    line: _Line,
    column: str,
    parse: Callable[[object], int],
    source: TraceSource,
) -> int:
    value = line.row.get(column)
    try:
        if value is None or value == "":
            raise ValueError("has no value")
        return parse(value)
    except ValueError as error:
        raise UserError(
            f"line {line.number}: column {column!r}: {error}",
            where=source.file,
            remedy="correct or remove the line",
        ) from None
