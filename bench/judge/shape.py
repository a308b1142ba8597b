"""How a lane's latencies lie: percentile curves, its time in slices, and whether what was bad came
together.

In: rows that a lane came to. Out: `Curve`s and `Slices` of summary.json. Must stay true: failures
lie above every number, and what nobody knows of is left out; a point of a curve is an exact nearest
rank; the curve lies within `WITHIN` of the line through the points that were kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bench.judge.attribution.tail import known, own_p99, promised
from bench.judge.reached import undecided
from bench.metrics import HEADLINES, METRICS, in_summary
from bench.quantiles import P99, P999
from bench.record.records.manifest import LaneRecord
from bench.record.records.shape import Curve, Slices
from bench.record.samples import Columns, Int, latency_ns
from bench.units import MS, nearest_rank

#: Equal slices of a lane's time.
SLICES = 60
#: Points of a curve before straight ones are left out.
POINTS = 70
#: How far the curve may lie from the line that is drawn, as a share of the latency.
WITHIN = 0.012
#: Shares are written with this many digits, so that a rank can be found again exactly.
_DIGITS = 6
#: Below this many ms a latency is drawn no lower.
_LEAST_MS = 1e-3


# ---- over the percentiles


def curves_of(ordered_ns: Mapping[str, Int], came: Columns, lane: LaneRecord) -> dict[str, Curve]:
    """The curves of the headline metrics and of those with a limit, from the ascending latencies of
    what succeeded, by metric.
    """
    limited = {clause.metric for clause in lane.contract.clauses} if lane.contract else set()
    failed = ~(came.ok | undecided(came) | came.schedule["warmup"])
    found = {
        name: curve_of(values, int(np.count_nonzero(failed)))
        for name, values in ordered_ns.items()
        if METRICS[name].views and (name in HEADLINES or name in limited)
    }
    return {name: curve for name, curve in found.items() if curve is not None}


def shape_of(came: Columns, lane: LaneRecord) -> tuple[dict[str, Curve], Slices | None]:
    """Curves and slices from a lane's rows, of a summary that was made without them."""
    measured = came.measured()
    ordered = ordered_response(measured.where(measured.ok))
    return curves_of(ordered, came, lane), slices_of(came, lane)


def ordered_response(ok: Columns) -> dict[str, Int]:
    """The response latencies of answers, ascending, by metric."""
    return {name: ordered_ns(latency_ns(ok.samples, name)) for name in in_summary("response_ms")}


def ordered_ns(values_ns: Int) -> Int:
    """The values >= 0, ascending."""
    return np.sort(values_ns[values_ns >= 0])


def curve_of(ordered_ns: Int, failed: int) -> Curve | None:
    """The curve of ascending latencies and so many failures; None without an answer that has the
    metric.
    """
    n = len(ordered_ns) + failed
    if not len(ordered_ns):
        return None
    answered = Fraction(len(ordered_ns) * 10**_DIGITS // n, 10**_DIGITS)
    shares = [share for share in _shares(n) if share < answered or not failed]
    if failed and shares:  # so far, and no further
        shares.append(min(answered, P999))
    points = [
        (float(share), max(int(ordered_ns[nearest_rank(n, share) - 1]) / MS, _LEAST_MS))
        for share in shares
    ]
    kept: list[tuple[float, float | None]] = [
        (share, round(ms, 3)) for share, ms in straightened(points)
    ]
    if answered < P999 and failed:
        kept.append((kept[-1][0] if kept else 0.5, None))
    return Curve(n=n, points=kept)


def _shares(n: int) -> list[Fraction]:
    """Shares from one half to what n rows can tell, evenly in the logarithm of what lies above."""
    half = -math.log10(0.5)
    top = min(max(math.log10(n), half), -math.log10(float(1 - P999)))
    each = np.linspace(half, top, POINTS)
    return [Fraction(f"{1 - 10**-z:.{_DIGITS}f}") for z in dict.fromkeys(each.tolist())]


def straightened(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points without those that lie on the line through their kept neighbours (Ramer, Douglas,
    Peucker), in log ms over the logarithm of the share above.
    """
    if len(points) < 3:
        return list(points)
    at = np.array([(-math.log10(1 - share), math.log(ms)) for share, ms in points])
    keep = {0, len(points) - 1}
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        (x0, y0), (x1, y1) = at[first], at[last]
        inside = at[first + 1 : last]
        slope = (y1 - y0) / (x1 - x0) if x1 > x0 else 0.0
        off = np.abs(inside[:, 1] - (y0 + slope * (inside[:, 0] - x0)))
        furthest = int(off.argmax())
        if off[furthest] > math.log1p(WITHIN):
            middle = first + 1 + furthest
            keep.add(middle)
            spans += [(first, middle), (middle, last)]
    return [points[index] for index in sorted(keep)]


# ---- over time


def slices_of(columns: Columns, lane: LaneRecord) -> Slices | None:
    """A lane's time in slices; None where no row tells whether it was bad."""
    clause = lane.contract.first_latency if lane.contract else None
    metric, view, limit = promised(clause)
    keep, values, _ = known(columns, metric, view, limit)
    if not len(values):
        return None
    limit = own_p99(values) if limit is None else limit
    failed = ~(columns.ok | undecided(columns))[keep]
    place = _places(columns.samples["due_ns"][keep], lane)
    numbers = [
        np.bincount(place[mask], minlength=SLICES).tolist()
        for mask in (slice(None), values > limit, failed)
    ]
    by_rows = clause is not None and not clause.by_time
    return Slices(
        metric=metric,
        view=view,
        over_ms=limit / MS,
        by="limit" if clause else "p99",
        allowed=float(clause.allowed_share if clause and by_rows else 1 - P99),
        requests=numbers[0],
        bad=numbers[1],
        failed=numbers[2],
    )


def _places(due_ns: Int, lane: LaneRecord) -> Int:
    """The slice that each row was due in."""
    start, length = lane.start_ns, lane.end_ns - lane.start_ns
    if length <= 0:  # it plans no end
        start = int(due_ns.min())
        length = int(due_ns.max()) + 1 - start
    places: Int = np.clip((due_ns - start) * SLICES // length, 0, SLICES - 1)
    return places


# ---- what came together

#: Counts that vary over the slices by more than this times what chance gives, and by more than so
#: many of its standard deviations, are not scattered.
_DISPERSED, _DEVIATIONS = 2.0, 4.0
#: Of what came together half lies in slices that hold no more than this share of the requests.
_HALF_IN = 1 / 3
#: A stretch that holds less of it is chance.
_LEAST_SHARE = 0.05
#: Fewer tell nothing about when they came.
ENOUGH = 10


@dataclass(frozen=True)
class Together:
    """Stretches of slices (first, and behind the last) in which most of what was bad came."""

    stretches: Sequence[tuple[int, int]]
    #: of what was bad, what came in them
    share: float


def together(requests: Sequence[int], bad: Sequence[int]) -> Together | None:
    """Where most of what was bad came together; None where it is scattered or too little."""
    n, k = np.array(requests, float), np.array(bad, float)
    there = n > 0
    n, k = n[there], k[there]
    whole = k.sum()
    if whole < ENOUGH or len(n) < 2:
        return None
    rate = whole / n.sum()
    if rate < 1:
        usual = n * rate * (1 - rate)
        dispersion = ((k - n * rate) ** 2 / usual).sum() / (len(n) - 1)
        chance = math.sqrt(2 / len(n) + (1 / usual).sum() / len(n) ** 2)
        order = np.argsort(-k / n, kind="stable")
        held = np.searchsorted(np.cumsum(k[order]), whole / 2)
        narrow = n[order][: held + 1].sum() <= _HALF_IN * n.sum()
        if narrow and dispersion > max(_DISPERSED, 1 + _DEVIATIONS * chance):
            return _stretches(requests, bad, rate)
    return None


def _stretches(requests: Sequence[int], bad: Sequence[int], rate: float) -> Together | None:
    """Neighbouring slices that are worse than the whole, one quiet slice among them allowed."""
    found = list[list[int]]()
    for place, (n, k) in enumerate(zip(requests, bad, strict=True)):
        if not n or k / n <= rate:
            continue
        if found and place - found[-1][1] <= 1:
            found[-1][1] = place + 1
        else:
            found.append([place, place + 1])
    whole = sum(bad)
    held = {(first, end): sum(bad[first:end]) / whole for first, end in found}
    large = [stretch for stretch, share in held.items() if share >= _LEAST_SHARE]
    share = sum(held[stretch] for stretch in large)
    return Together(large, share) if share > 1 / 2 else None
