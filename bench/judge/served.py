"""What answered a target's requests, whose fault its failures were, and how long its server says
that it took.

In: the rows of a lane and the run's texts. Out: parts of summary.json. Must stay true: a tier is
what an answer says, never what was asked for; an answer without a word is counted as unknown; where
the record holds nothing, nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.api.cause import Cause
from bench.api.interface import Api
from bench.api.registry import DEFAULT, api_of_record
from bench.clock import utc_text_ms
from bench.columns import between_ns, end_ns
from bench.judge.reached import undecided
from bench.judge.stats.tail import clopper_pearson
from bench.record.records.manifest import LaneRecord
from bench.record.records.served import (
    EvidenceRow,
    Headroom,
    Honoured,
    LaneEvidence,
    TierCounts,
    Tiers,
    TierStretch,
)
from bench.record.run_folder import Run
from bench.record.samples import CAUSES, Bool, Columns, Int, Outcome, Table
from bench.units import MS, S

#: A stretch is a minute, or a tenth of a lane too short for ten; there are no more than this.
STRETCHES_MOST, STRETCHES_LEAST = 60, 10
_MINUTE_NS = 60 * S
#: Each side of the interval of a share.
_ALPHA = 0.025


def api_of(lane: LaneRecord) -> Api:
    """What a lane's endpoints speak; of a route, its first leg."""
    return api_of_record(lane.api or DEFAULT)


def asks_by_request(lane: LaneRecord) -> bool:
    """Whether a lane's requests ask for its tier, so that an answer has one to name."""
    return bool(lane.tier) and api_of(lane).asks_by_request(lane.tier, lane.base_url)


def tier_words(run: Run, lane: LaneRecord) -> Sequence[str] | None:
    """The texts behind `served_tier`; None of a lane that was computed, and of a run
    by a version that did not record it.
    """
    return None if lane.simulated else run.texts.get("served_tier")


def tiers_of(ok: Columns, lane: LaneRecord, words: Sequence[str] | None) -> Tiers:
    """Which tier was asked for, and which answered the measured requests that succeeded; `words`
    as `tier_words`.
    """
    api = api_of(lane)
    asked_by: Literal["request", "name"] | None = None
    if lane.tier and words is not None:
        asked_by = "request" if asks_by_request(lane) else "name"
    reading = _Reading(api, lane.tier, words or ())
    column = ok.samples["served_tier"]
    whole = reading.counts(column)
    found = Tiers(
        **dict(whole),
        asked=lane.tier or None,
        asked_by=asked_by,
        asked_class=api.bought_class(lane.tier) if lane.tier else None,
        classes={word: api.tier_class(word) for word in whole.served},
    )
    if not found.mixed:
        return found
    schedule = ok.schedule
    return found.replace(
        by_phase=reading.by_name(column, lane.phases, schedule["phase"]),
        by_bucket=reading.by_name(column, lane.buckets, schedule["bucket"]),
        by_time=reading.by_time(column, ok.samples["due_ns"].astype(np.int64), lane),
    )


@dataclass(frozen=True)
class _Reading:
    """How the column `served_tier` is read."""

    api: Api
    asked: str
    words: Sequence[str]

    def counts(self, column: Int) -> TierCounts:
        """Answers by the tier that they name."""
        known = (column >= 0) & (column < len(self.words))
        numbers = np.bincount(column[known], minlength=len(self.words)).tolist()
        served = {word: n for word, n in zip(self.words, numbers, strict=True) if n}
        return TierCounts(
            served=served,
            unknown=int((~known).sum()),
            honoured=self._honoured(served) if self.asked else None,
        )

    def _honoured(self, served: Mapping[str, int]) -> Honoured | None:
        fits = {word: self.api.honours(self.asked, word) for word in served}
        n = sum(served[word] for word, fit in fits.items() if fit)
        of = sum(served[word] for word, fit in fits.items() if fit is not None)
        if not of:
            return None
        limits = clopper_pearson(n, of, _ALPHA)
        return Honoured(
            words=[word for word, fit in fits.items() if fit],
            n=n,
            of=of,
            share=n / of,
            interval=(limits.lower, limits.upper),
        )

    def by_name(self, column: Int, names: Sequence[str], codes: Int) -> dict[str, TierCounts]:
        """Of each phase or context bucket that has rows."""
        return {
            name: self.counts(column[codes == index])
            for index, name in enumerate(names)
            if (codes == index).any()
        }

    def by_time(self, column: Int, due_ns: Int, lane: LaneRecord) -> list[TierStretch]:
        """Of each minute, or more or less than that (see above), that has rows."""
        start, end = lane.start_ns, max(lane.end_ns, int(due_ns.max(initial=0)) + 1)
        length = max(end - start, 1)
        unit = _MINUTE_NS * max(1, -(-length // (_MINUTE_NS * STRETCHES_MOST)))
        if length < STRETCHES_LEAST * unit:
            unit = -(-length // STRETCHES_LEAST)
        stretch = np.maximum(due_ns - start, 0) // unit
        return [
            TierStretch(
                start_s=(start + index * unit) / S,
                end_s=min(start + (index + 1) * unit, end) / S,
                **dict(self.counts(column[stretch == index])),
            )
            for index in np.unique(stretch).tolist()
        ]


def failed(columns: Columns) -> Bool:
    """Rows that failed; what the end of the run cut off, or kept from being sent, did not."""
    mask: Bool = ~columns.ok & ~undecided(columns)
    return mask


def causes_in(columns: Columns) -> dict[Cause, int]:
    """Rows that failed, by cause, zeros left out; those of which none is recorded are unknown."""
    cause = columns.samples["cause"][failed(columns)].astype(np.int64)
    known = np.where((cause >= 0) & (cause < len(CAUSES)), cause, CAUSES.index(Cause.unknown))
    counts = np.bincount(known, minlength=len(CAUSES))
    return {cause: int(n) for cause, n in zip(CAUSES, counts, strict=True) if n}


def server_gap_ns(samples: Table, lane: LaneRecord) -> Int:
    """What the time from the send has beside the server's own, -1 where that is not known.

    A header comes before the first token and knows of nothing later: until then its time counts.
    """
    server = samples["server_ns"].astype(np.int64)
    until = end_ns(samples) if api_of(lane).server_time_at_end else samples["headers_ns"]
    whole = between_ns(samples["sent_ns"], until)
    gap: Int = np.where((server >= 0) & (whole >= 0), np.maximum(whole - server, 0), -1)
    return gap


def headroom_of(kept: LaneEvidence | None) -> Headroom | None:
    """The least that was left of the buyer's limits; None where nobody said."""
    if kept is None or (kept.requests_left is None and kept.tokens_left is None):
        return None
    return Headroom(requests_left=kept.requests_left, tokens_left=kept.tokens_left)


def evidence_of(run: Run, index: int, kept: LaneEvidence | None) -> list[EvidenceRow]:
    """The requests of a lane that its vendor can be asked about: those that failed by cause, then
    the slowest.
    """
    if kept is None:
        return []
    names = [(row, name, "failed") for pairs in kept.failed.values() for row, name in pairs]
    names += [(row, name, "slow") for _, row, name in kept.slow]
    mine = run.planned.schedule["lane"]
    known = [each for each in names if 0 <= each[0] < len(mine) and mine[each[0]] == index]
    rows = run.planned.where(np.array([row for row, *_ in known], np.int64)).samples
    sent = np.where(rows["sent_ns"] >= 0, rows["sent_ns"], rows["due_ns"])
    took = between_ns(rows["due_ns"], end_ns(rows))
    codes = run.strings("error_code")
    found = []
    for at, (row, name, why) in enumerate(known):
        sample = rows[at]
        cause, code, status = (int(sample[key]) for key in ("cause", "error_code", "status"))
        found.append(
            EvidenceRow(
                row=row,
                why=why,
                at_utc=utc_text_ms(run.manifest.started_wall_ns + int(sent[at])),
                outcome=Outcome(int(sample["outcome"])).name,
                status=status or None,
                cause=CAUSES[cause] if 0 <= cause < len(CAUSES) else None,
                code=codes[code] if 0 <= code < len(codes) else None,
                response_ms=int(took[at]) / MS if took[at] >= 0 else None,
                request_id=name,
            )
        )
    return found
