"""Recorded request logs, read for replay.

In: a `TraceSource` and a seed. Out: a `Trace`: due times from 0, sizes in tokens, and sentences
for the report. Must stay true: only times and lengths are read; the first unreadable line is an
error that names it, never a row silently dropped; whatever is changed on the way (failed rows
left out, coarse timestamps spread, time scaled) is stated in a note.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.errors import UserError
from bench.plan.arrival_laws import TraceSource
from bench.plan.trace_rows import read_rows
from bench.plan.trace_values import MOST_NS
from bench.units import show_duration

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
    #: which row of the file each is, from 0
    places: npt.NDArray[np.int64]


def read_trace(source: TraceSource, seed: int) -> Trace:
    """Read, spread coarse timestamps, select [start, end), scale by `speed`.

    `start` and `end` are offsets from the trace's first row in recorded time. Rows that share a
    coarse timestamp are spread on the whole trace before the selection, so a row keeps its place
    whatever the window. Raises UserError: no such file, unknown layout, a line that cannot be
    read, nothing left to replay.
    """
    path = Path(source.file)
    layout, times, sizes, places, skipped = read_rows(path, source)
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
    times, sizes, places = times[order], sizes[order], places[order]
    kept = times >= source.start
    if source.end is not None:
        kept &= times < source.end
    times, sizes, places = times[kept], sizes[kept], places[kept]
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
    prompt, output = sizes[:, 0].copy(), sizes[:, 1].copy()
    return Trace(due, prompt, output, notes, rows + skipped, skipped, places)


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
