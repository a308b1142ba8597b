"""Of which stretch of time a clause's verdict speaks, and how long a spell it could have missed.

In: a lane, its clause and rows, when the run began. Out: a `Scope`. Must stay true: a run speaks of
its own time; outages of length L that cost the whole allowance p0 of a service come once in L / p0,
so that a run of T misses them all with probability exp(-T p0 / L), which is alpha at
L = T p0 / ln(1/alpha), the blind spot.

Source: methods, part two, "Run and service"; methods 3.4.
"""

from __future__ import annotations

import math

from bench.clock import utc_text
from bench.judge.contract.clauses import Tally
from bench.plan.clause import Clause
from bench.record.records.manifest import LaneRecord
from bench.record.records.verdicts import Scope
from bench.units import S


def scope_of(
    clause: Clause,
    counts: Tally,
    lane: LaneRecord,
    started_wall_ns: int,
    alpha: float,
) -> Scope | None:
    """Of a clause that has rows."""
    spans = [
        (span.start_ns, span.end_ns)
        for span in lane.measured_spans
        if clause.phase in (None, span.phase)
    ] or [(lane.start_ns, lane.end_ns)]
    begin, end = min(start for start, _ in spans), max(end for _, end in spans)
    lasted_ns = sum(end - start for start, end in spans)
    lasted_ns -= sum(_overlap(span, gap) for span in spans for gap in lane.gaps_ns)
    if not counts.n or lasted_ns <= 0:
        return None
    dated = not lane.simulated
    return Scope(
        start_utc=utc_text(started_wall_ns + begin) if dated else None,
        end_utc=utc_text(started_wall_ns + end) if dated else None,
        duration_s=lasted_ns / S,
        rate_per_s=counts.n / (lasted_ns / S),
        blind_spot_s=lasted_ns / S * float(clause.allowed_share) / math.log(1 / alpha),
        assumed_outage_s=clause.assumed_outage / S,
        of="run",
    )


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))
