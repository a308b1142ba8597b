"""When requests are due: a profile's arrival law over its warm-up, phases and rate curve.

In: a profile and its seeded streams. Out: spans on the time axis and sorted due times in ns from
the lane's own zero. Must stay true: every law is a process of rate 1 read through the inverse of
the summed rate, so a phase or a curve changes the rate and never the law; a request count is of
measured requests, those of the warm-up come on top.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bench.errors import UserError
from bench.plan.arrival_laws import LAWS, MAX_ROWS, Need, refuse_pieces
from bench.plan.draws import Draw, Purpose
from bench.plan.profile import WARMUP, Profile
from bench.units import S

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Span:
    """A phase on the time axis; the rate runs linearly from `from_rps` to `to_rps`."""

    phase: str
    start_ns: int
    end_ns: int
    from_rps: float
    to_rps: float
    warmup: bool = False

    def later(self, by_ns: int) -> Span:
        """The span moved on in time."""
        return dataclasses.replace(
            self,
            start_ns=self.start_ns + by_ns,
            end_ns=self.end_ns + by_ns,
        )

    def until(self, stop_ns: int) -> Span:
        """The span cut off at `stop_ns`, which lies inside it."""
        length_ns = self.end_ns - self.start_ns
        rise_rps = self.to_rps - self.from_rps
        reached = self.from_rps + rise_rps * (stop_ns - self.start_ns) / length_ns
        return dataclasses.replace(self, end_ns=stop_ns, to_rps=reached)


def arrivals(profile: Profile, draw: Draw, where: str) -> tuple[list[Span], Int]:
    """Spans and due times (ns, sorted, each before the last span's end) of an open loop.

    Raises UserError beyond MAX_ROWS rows, or where phases, curve or states are cut too finely.
    """
    if profile.duration is not None or profile.phases:
        length = profile.duration or sum(phase.duration for phase in profile.phases)
        spans = _spans(profile, length, where)
        return spans, _due_times(profile, spans, draw, where)
    # Bounded by a request count alone: lengthen the plan until the count fits into it.
    assert profile.requests is not None
    refuse_beyond(profile.requests, where)
    rate = float(profile.arrivals.rate or 1)
    length = round(1.25 * profile.requests / rate * S) + S
    while True:
        spans = _spans(profile, length, where)
        due_ns = _due_times(profile, spans, draw, where)
        measured = np.count_nonzero(due_ns >= profile.warmup)
        if measured >= profile.requests:
            return spans, due_ns
        length *= 2


def cut_spans(spans: list[Span], stop_ns: int) -> list[Span]:
    """The spans before `stop_ns`, the last of them cut off there."""
    kept = []
    for span in spans:
        if span.start_ns >= stop_ns:
            break
        kept.append(span if span.end_ns <= stop_ns else span.until(stop_ns))
    return kept


def refuse_beyond(
    rows: int,
    where: str,
    remedy: str = "lower the rate or the duration",
) -> None:
    """Raises UserError where one run cannot hold `rows` requests."""
    if rows > MAX_ROWS:
        raise UserError(
            f"plans {rows:,} requests, above the {MAX_ROWS:,} that one run holds",
            where=where,
            remedy=remedy,
        )


def _spans(profile: Profile, total: int, where: str) -> list[Span]:
    """Warm-up, then the phases, repeated in order until `total` ns are filled."""
    rate = float(profile.arrivals.rate or 1)
    cycle = _cycle(profile, total, rate)
    cycle_ns = cycle[-1].end_ns
    refuse_pieces(len(cycle) * total / cycle_ns, "phases", where)
    spans: list[Span] = []
    if profile.warmup:
        spans.append(Span(WARMUP, 0, profile.warmup, rate, rate, warmup=True))
    begin = profile.warmup
    end = profile.warmup + total
    while begin < end:
        spans += [span.later(begin) for span in cycle]
        begin += cycle_ns
    return cut_spans(spans, end)


def _cycle(profile: Profile, total: int, rate: float) -> list[Span]:
    """The phases once, from 0; one steady phase where the profile names none."""
    if not profile.phases:
        return [Span("steady", 0, total, rate, rate)]
    spans: list[Span] = []
    clock = 0
    for phase in profile.phases:
        first = rate * float(phase.burst)
        if phase.ramp_to is None:
            last = first
        else:
            last = rate * float(phase.ramp_to)
        spans.append(Span(phase.name, clock, clock + phase.duration, first, last))
        clock += phase.duration
    return spans


def _due_times(
    profile: Profile,
    spans: list[Span],
    draw: Draw,
    where: str,
) -> Int:
    """Due times of the spans, cut after the profile's count of measured requests."""
    edges_s, rates = _rate_segments(profile, spans, draw, where)
    lengths_s = edges_s[1:] - edges_s[:-1]
    area = (rates[:, 0] + rates[:, 1]) / 2 * lengths_s
    cumulative = np.concatenate([[0.0], np.cumsum(area)])
    whole_area = float(cumulative[-1])
    warm_area = float(np.interp(profile.warmup / S, edges_s, cumulative))
    if profile.requests is None:
        # Before millions are drawn only to find that out.
        refuse_beyond(int(whole_area * 0.9), where)
    need = Need(whole_area, warm_area, profile.requests)
    law = LAWS[profile.arrivals.kind]
    unit = law.points(draw.stream(Purpose.ARRIVALS), profile.arrivals, need)
    refuse_beyond(len(unit), where)
    segment = np.searchsorted(cumulative, unit, side="right") - 1
    segment = np.minimum(segment, len(area) - 1)
    inside = unit - cumulative[segment]
    since_s = _time_to_reach(inside, rates[segment, 0], rates[segment, 1], lengths_s[segment])
    at_s = edges_s[segment] + since_s
    due_ns = np.rint(at_s * S).astype(np.int64)
    due_ns = np.minimum(due_ns, spans[-1].end_ns - 1)
    if profile.requests is not None:
        warm_rows = int(np.searchsorted(due_ns, profile.warmup))
        due_ns = due_ns[: warm_rows + profile.requests]
    return due_ns


def _time_to_reach(
    area: Float,
    r0: Float,
    r1: Float,
    lengths_s: Float,
) -> Float:
    """Time (s) from a segment's start until its summed rate, r0 t + slope t²/2, reaches `area`."""
    slope = (r1 - r0) / lengths_s
    root = np.sqrt(np.maximum(r0 * r0 + 2 * slope * area, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(area > 0, 2 * area / (r0 + root), 0.0)


def _rate_segments(
    profile: Profile,
    spans: list[Span],
    draw: Draw,
    where: str,
) -> tuple[Float, Float]:
    """Piecewise linear rate: edges in s, and (rate at start, rate at end) per segment.

    The rate curve begins with the measured part, so that a warm-up does not shift it.
    """
    total_ns = spans[-1].end_ns
    cuts = [np.array([span.start_ns for span in spans]), np.array([total_ns])]
    curve = profile.rate_curve
    if curve is not None:
        steps = (total_ns - profile.warmup) / curve.step
        refuse_pieces(steps, "rate_curve.step", where)
        cuts.append(np.arange(profile.warmup, total_ns, curve.step))
    law = LAWS[profile.arrivals.kind]
    switches = np.empty(0, np.int64)
    if law.switches is not None:
        states = draw.stream(Purpose.STATES)
        switches = law.switches(states, profile.arrivals, total_ns, where)
    edges = np.unique(np.concatenate([*cuts, switches])).astype(np.int64)
    start = edges[:-1]
    rates = _rates_of_spans(spans, start, edges[1:])
    if curve is not None:
        measured = start >= profile.warmup
        step = (start - profile.warmup) // curve.step
        factors = np.array(curve.factors)[step % len(curve.factors)]
        rates *= np.where(measured, factors, 1.0)[:, None]
    switched = np.searchsorted(switches, start, side="right")
    is_off = switched % 2 == 1
    rates[is_off] = 0.0
    return edges / S, rates


def _rates_of_spans(spans: list[Span], start: Int, end: Int) -> Float:
    """(rate at start, rate at end) of segments that each lie within one span."""
    starts = np.array([span.start_ns for span in spans])
    lengths = np.array([span.end_ns - span.start_ns for span in spans])
    first_rps = np.array([span.from_rps for span in spans])
    last_rps = np.array([span.to_rps for span in spans])
    span = np.searchsorted(starts, start, side="right") - 1
    length = lengths[span]
    first = first_rps[span]
    rise = last_rps[span] - first
    since = start - starts[span]
    at_start = first + rise * since / length
    at_end = first + rise * (since + end - start) / length
    return np.stack([at_start, at_end], axis=1)
