"""The arrival processes that a profile may name: their keys, and how each is drawn.

In: an `arrivals` table, a seeded stream. Out: a frozen `Arrivals`; `LAWS`, by kind. Must stay true:
a law is a process of rate 1, which phases and rate curves stretch; what a kind needs beyond a rate
is a key here; which kinds there are, `arrival_kinds` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from bench.errors import UserError
from bench.plan.arrival_kinds import KEYS_OF_ARRIVALS, ArrivalKind
from bench.userfile import DurationNs, PerSecond, Times, UserModel

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: Requests that one run holds at most.
MAX_ROWS = 20_000_000
#: Pieces of constant or linear rate that one lane may be cut into: more is a slip in a unit.
_MAX_PIECES = 500_000
_CHUNK = 1_000_000


class TraceSource(UserModel):
    """A recorded request log to replay, and how to read it."""

    #: path of the log, relative to this file or to the working folder
    file: str
    #: how to read it; "auto" recognises Mooncake JSONL, Azure LLM CSV and BurstGPT CSV by their
    #: columns
    format: Literal["auto", "mooncake", "azure", "burstgpt", "columns"] = "auto"
    #: of format "columns": the column (CSV) or key (JSON Lines) with each request's time
    time_column: str | None = None
    #: of format "columns": the one with the tokens of each prompt
    prompt_column: str | None = None
    #: of format "columns": the one with the tokens of each answer
    output_column: str | None = None
    #: unit of the times; without it: dates are dates, numbers as large as Unix times have the unit
    #: that their size tells, others that of the layout (of format "columns": s)
    time_unit: Literal["s", "ms", "us", "ns", "rfc3339"] | None = None
    #: 2x plays the trace in half the time
    speed: Times = Fraction(1)
    #: leave out what came before this moment of the trace
    start: DurationNs = 0
    #: leave out what came after this moment of the trace
    end: DurationNs | None = None
    #: "auto" spreads rows that share a coarse timestamp over the step, and the report says so
    jitter: Literal["auto", "none"] = "auto"
    #: "as recorded": prompts share their beginnings as `hash_ids` of the trace say (blocks of 512
    #: tokens); "cold": each prompt is unlike any other
    prefix: Literal["cold", "as recorded"] = "cold"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.format == "columns" and not (
            self.time_column and self.prompt_column and self.output_column
        ):
            raise ValueError('format "columns" needs time_column, prompt_column and output_column')
        if self.speed <= 0:
            raise ValueError("speed must be above zero")
        if self.end is not None and self.end <= self.start:
            raise ValueError("end must lie after start")
        return self


class Arrivals(UserModel):
    """The law of the gaps between requests (of sessions, where the profile has sessions)."""

    #: the law: constant gaps, poisson, gamma, on_off (Poisson while on), trace (a recorded log),
    #: recorded (the times of own requests) or
    #: closed (a fixed number of callers that wait for their answers: measured, without a verdict)
    kind: ArrivalKind
    #: mean requests (sessions, where the profile has them) a second
    rate: PerSecond | None = None
    #: gamma shape = 1/CV^2: 1 is Poisson, below 1 burstier (the `--burstiness` of other tools)
    burstiness: Annotated[float, Field(gt=0)] | None = None
    #: of on_off: mean length of the state in which requests come, Poisson at `rate`
    on: DurationNs | None = None
    #: of on_off: mean length of the state in which none come
    off: DurationNs | None = None
    #: of closed: how many callers
    concurrency: Annotated[int, Field(gt=0)] | None = None
    #: of trace: the log to replay
    trace: TraceSource | None = None
    #: of recorded: 2x sends own requests in half the time
    speed: Annotated[Times, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _keys_of_kind(self) -> Self:
        needed = KEYS_OF_ARRIVALS[self.kind]
        given = {
            name
            for name in Arrivals.model_fields
            if name != "kind" and getattr(self, name) is not None
        }
        for name in sorted(needed - given):
            raise ValueError(f'kind "{self.kind}" needs {name}')
        for name in sorted(given - needed):
            raise ValueError(f'kind "{self.kind}" has no {name}')
        return self


# ---- laws: processes of rate 1


@dataclass(frozen=True)
class Need:
    """How far a process of rate 1 must be drawn: to `area`, or until `limit` points lie beyond the
    warm-up, which ends at `warm_area`.
    """

    area: float
    warm_area: float
    limit: int | None


#: Draws so many gaps of mean 1.
Gaps = Callable[[np.random.Generator, Arrivals, int], Float]
#: Draws the points of a process as far as needed, sorted.
Points = Callable[[np.random.Generator, Arrivals, Need], Float]
#: Draws the instants (ns) before a run's end at which silence begins and ends, by turns. Raises
#: UserError, with the place that is named last, where there would be too many.
Switches = Callable[[np.random.Generator, Arrivals, int, str], Int]


@dataclass(frozen=True)
class Law:
    """How a kind of arrivals is drawn; of one that falls silent at times, also when."""

    points: Points
    switches: Switches | None = None


def _even(_rng: np.random.Generator, _arrivals: Arrivals, need: Need) -> Float:
    # A whole number of gaps ends the run: its last edge is no arrival, whatever the float says.
    count = int(np.ceil(need.area * (1 - 1e-12) - 1e-9))
    most = MAX_ROWS + 1
    if need.limit is not None:
        most = min(most, int(need.warm_area) + need.limit + 2)
    return np.arange(min(count, most), dtype=np.float64)


def _renewal(gaps: Gaps) -> Points:
    """The process whose gaps are drawn one after the other, each by itself."""

    def points(rng: np.random.Generator, arrivals: Arrivals, need: Need) -> Float:
        chunks: list[Float] = [np.empty(0)]
        clock = 0.0
        count = 0
        measured = 0
        while clock < need.area and count <= MAX_ROWS:
            if need.limit is not None and measured > need.limit:
                break
            expected = int((need.area - clock) * 1.1)
            size = min(max(1024, expected), _CHUNK)
            chunk = clock + np.cumsum(gaps(rng, arrivals, size))
            clock = float(chunk[-1])
            inside = chunk[: np.searchsorted(chunk, need.area)]
            chunks.append(inside)
            count += len(inside)
            measured += int(np.count_nonzero(inside > need.warm_area))
        return np.concatenate(chunks)[: MAX_ROWS + 1]

    return points


def _exponential(rng: np.random.Generator, _arrivals: Arrivals, size: int) -> Float:
    return rng.standard_exponential(size)


def _gamma(rng: np.random.Generator, arrivals: Arrivals, size: int) -> Float:
    assert arrivals.burstiness is not None
    return rng.gamma(arrivals.burstiness, 1 / arrivals.burstiness, size)


def _on_off(rng: np.random.Generator, arrivals: Arrivals, total_ns: int, where: str) -> Int:
    """Instants at which an on/off process leaves and re-enters its on state; it starts on."""
    on = arrivals.on
    off = arrivals.off
    switches = np.empty(0, np.int64)
    if not on or not off:
        return switches
    pairs = total_ns / (on + off)
    refuse_pieces(2 * pairs, "on and off", where)
    means_ns = np.array([on, off])
    reached_ns = 0
    while reached_ns < total_ns:
        drawn = rng.standard_exponential((int(pairs * 1.2) + 16, 2))
        lengths = np.maximum(np.rint(drawn * means_ns), 1).astype(np.int64)
        more = reached_ns + np.cumsum(lengths)
        switches = np.concatenate([switches, more])
        reached_ns = int(more[-1])
    return switches[switches < total_ns]


#: Kind of arrivals -> its law. Traces and closed loops have none: their times are not drawn.
LAWS: dict[ArrivalKind, Law] = {
    "constant": Law(_even),
    "poisson": Law(_renewal(_exponential)),
    "on_off": Law(_renewal(_exponential), _on_off),
    "gamma": Law(_renewal(_gamma)),
}


def refuse_pieces(pieces: float, what: str, where: str) -> None:
    """Raises UserError where a run would be cut too finely."""
    if pieces > _MAX_PIECES:
        raise UserError(
            f"{what} would cut the run into {pieces:,.0f} pieces",
            where=where,
            remedy=f"make the {what} longer or the run shorter",
        )
