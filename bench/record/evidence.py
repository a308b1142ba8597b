"""The vendor's own names of requests that failed or were slow, and the least that was left of the
buyer's limits: of several parts of a run, as of one.

In: what each part kept. Out: the same of all together. Must stay true: bounded, however many parts
there are; the first of each cause by row, and the slowest, whoever sent them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.record.records.served import LaneEvidence
from bench.record.samples import Int

#: Kept a lane: failed requests of each cause, and slow ones.
FAILED_MOST, SLOW_MOST = 50, 50


def all_evidence(parts: Iterable[Sequence[LaneEvidence]]) -> list[LaneEvidence]:
    """What all parts kept, lane by lane."""
    by_lane: list[list[LaneEvidence]] = []
    for part in parts:
        by_lane += ([] for _ in range(len(part) - len(by_lane)))
        for kept, lane in zip(by_lane, part, strict=False):
            kept.append(lane)
    return [_together(kept) for kept in by_lane]


def _together(kept: Sequence[LaneEvidence]) -> LaneEvidence:
    causes = sorted({cause for each in kept for cause in each.failed})
    failed = {
        cause: sorted({pair for each in kept for pair in each.failed.get(cause, ())})[:FAILED_MOST]
        for cause in causes
    }
    slow = sorted({one for each in kept for one in each.slow}, reverse=True)[:SLOW_MOST]
    return LaneEvidence(
        requests_left=_least(each.requests_left for each in kept),
        tokens_left=_least(each.tokens_left for each in kept),
        failed=failed,
        slow=slow,
    )


def _least(counts: Iterable[int | None]) -> int | None:
    return min((count for count in counts if count is not None), default=None)


def renumbered(lanes: Sequence[LaneEvidence], rows: Int) -> list[LaneEvidence]:
    """Of a part that numbers its rows by itself, as the run does: `rows` are where they lie."""

    def moved(row: int) -> int:
        return int(rows[row])

    known = range(len(rows))
    return [
        lane.replace(
            failed={
                cause: [(moved(row), name) for row, name in pairs if row in known]
                for cause, pairs in lane.failed.items()
            },
            slow=[(took, moved(row), name) for took, row, name in lane.slow if row in known],
        )
        for lane in lanes
    ]
