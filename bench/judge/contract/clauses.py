"""A clause and the rows it speaks of -> what they came to: valid, bad, unknown, each at its time.

In: a contract's clause, a lane's columns and their classes. Out: one `Tally`. Must stay true:
every clause is one proportion, P(bad) <= p0; a failure is over any limit; a row that was cut off
is unknown, and its verdict is computed both ways; warm-up rows are no rows.

Source: methods 0.1 ("p99 <= T" is "P(latency > T) <= 0.01"); nearest rank, type 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from bench.columns import bounds_of_bundled_ns, counted_by_chunks, tokens_behind_first
from bench.judge.contract.exclusions import Classes
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS
from bench.metrics import METRICS
from bench.plan.clause import Clause
from bench.record.records.manifest import LaneRecord
from bench.record.samples import Bool, Columns, Flag, Float, Int, Outcome, Table, latency_ns
from bench.units import S


@dataclasses.dataclass(frozen=True)
class Tally:
    """What a clause's rows came to, in the order in which they were due."""

    #: indices of the rows that count
    rows: Int
    at_ns: Int
    #: rows that broke the promise for certain
    is_bad: Bool
    #: rows that were cut off before they could break or keep it, or do not show which they did
    is_unknown: Bool
    #: rows set aside, by reason
    excluded: dict[str, int]
    #: value a row: ns, ns a token for tokens per second; failures and unknowns over any limit. None
    #: for shares
    values_ns: Int | None
    #: of the unknown rows those that were answered, by answers that do not show the value
    unmeasured: int = 0
    #: the same with unknown rows as low as they may be; None where that is not told
    least_ns: Int | None = None

    @property
    def n(self) -> int:
        """Rows that count."""
        return len(self.at_ns)

    @property
    def bad(self) -> int:
        """Rows that broke the promise for certain."""
        return int(self.is_bad.sum())

    @property
    def unknown(self) -> int:
        """Rows that may have broken it."""
        return int(self.is_unknown.sum())

    def where(self, keep: Bool) -> Tally:
        """Those of its rows that `keep` selects."""
        return dataclasses.replace(
            self,
            rows=self.rows[keep],
            at_ns=self.at_ns[keep],
            is_bad=self.is_bad[keep],
            is_unknown=self.is_unknown[keep],
            values_ns=None if self.values_ns is None else self.values_ns[keep],
            least_ns=None if self.least_ns is None else self.least_ns[keep],
        )


@dataclasses.dataclass(frozen=True)
class Marks:
    """What a clause makes of each row."""

    is_bad: Bool
    #: never also bad
    is_unknown: Bool
    #: rows that it does not speak of, by reason
    aside: dict[str, Bool]
    #: as in `Tally`
    values_ns: Int | None
    least_ns: Int | None


def scope(columns: Columns, clause: Clause, lane: LaneRecord) -> Bool:
    """Mask of the measured rows that the clause is about: its phase, its context bucket."""
    keep: Bool = ~columns.schedule["warmup"]
    if clause.phase is not None:
        keep &= columns.schedule["phase"] == index_of(lane.phases, clause.phase)
    if clause.bucket is not None:
        keep &= columns.schedule["bucket"] == index_of(lane.buckets, clause.bucket)
    return keep


def index_of(names: Sequence[str], wanted: str) -> int:
    """The place of a name; -1, which no row has, where there is none."""
    if wanted in names:
        return names.index(wanted)
    return -1


def missing_part(clause: Clause, lane: LaneRecord, streamed: bool) -> str | None:
    """Why the run cannot have what the clause asks for, or None."""
    if clause.phase is not None and clause.phase not in lane.phases:
        return f"the run has no phase {clause.phase!r} (its phases: {', '.join(lane.phases)})"
    if clause.bucket is not None and clause.bucket not in lane.buckets:
        return f"no context bucket is named {clause.bucket!r} (they are {', '.join(lane.buckets)})"
    if clause.kind.of_answers and not {"expect_answer", "prompts"}.intersection(lane.profile):
        return "no answer was checked: the profile has no expect_answer"
    needs_stream = METRICS[clause.metric].streamed or not clause.with_ttft
    if needs_stream and not streamed:
        return f"{clause.metric} needs streamed answers, and this target's answers came whole"
    return None


def tally(
    columns: Columns,
    clause: Clause,
    classes: Classes,
    keep: Bool,
    view: str | None = None,
    *,
    exclusions: bool = True,
) -> Tally:
    """Count the rows of `keep`; `view` overrides the clause's own, `exclusions` may be left out of
    account.
    """
    excluded: dict[str, int] = {}
    if exclusions:
        for index, reason in enumerate(classes.reasons):
            _set_aside(excluded, reason, mask := keep & (classes.excluded == index))
            keep = keep & ~mask
    for name in clause.excluding if exclusions else ():
        _set_aside(excluded, name, mask := keep & (columns.samples["outcome"] == Outcome[name]))
        keep = keep & ~mask
    found = marks(columns, clause, classes, view or clause.view)
    for reason, mask in found.aside.items():
        _set_aside(excluded, reason, keep & mask)
        keep = keep & ~mask
    # Rows that wait for another have no due time in the schedule, but all that were due have one
    # here.
    order = np.flatnonzero(keep)
    at_ns = columns.samples["due_ns"][order]
    if (missing := at_ns < 0).any():
        at_ns = np.where(missing, columns.schedule["due_ns"][order], at_ns)
    if np.any(at_ns[1:] < at_ns[:-1]):
        order = order[turn := np.argsort(at_ns, kind="stable")]
        at_ns = at_ns[turn]
    values, least = (
        None if each is None else each[order] for each in (found.values_ns, found.least_ns)
    )
    unmeasured = int((found.is_unknown & columns.ok)[order].sum())
    return Tally(
        order,
        at_ns,
        found.is_bad[order],
        found.is_unknown[order],
        excluded,
        values,
        unmeasured,
        least,
    )


def _set_aside(excluded: dict[str, int], reason: str, mask: Bool) -> None:
    if count := int(mask.sum()):
        excluded[reason] = excluded.get(reason, 0) + count


def marks(
    columns: Columns,
    clause: Clause,
    classes: Classes,
    view: str,
    *,
    logged: bool = False,
) -> Marks:
    """What the clause makes of every row, whatever its phase, bucket or exclusion.

    Of a run, what is not in a row did not happen: an answer without a first token never had one in
    time. A log (`logged`) may only not have recorded it: such a row is unknown.
    """
    if clause.kind.of_answers:
        return _of_answers(columns, classes)
    if not clause.kind.has_values:
        return Marks(classes.failed & ~classes.unknown, classes.unknown, {}, None, None)
    samples = columns.samples
    served = columns.ok
    ok = served & ~classes.failed
    unknown = classes.unknown.copy()
    cut_at_least: tuple[Int, Int] | None = None
    if clause.metric == "output_tps":
        took, tokens = _time_and_tokens(samples, clause, view)
        values = np.where(took >= 0, -(-took // np.maximum(tokens, 1)), -1)
        over = _slower(took, tokens, clause)
    else:
        kept = largest_kept_ns(clause)
        limit = OVER_ANY_LIMIT_NS - 1 if kept is None else kept
        values = latency_ns(samples, clause.metric, view)
        if clause.metric == "tpot":
            values = _with_bundled(samples, values, limit)
        over = values > limit
        if clause.failed == "miss":  # else one that went on to fail would not count
            cut = np.flatnonzero(unknown)
            known = METRICS[clause.metric].known_by_cut_ns(samples[cut], view)
            unknown[cut] = known <= limit
            cut_at_least = cut, known
    lacks = ok & (values < 0)
    # What the wire does not show was neither kept nor broken for certain: no answer too short for
    # the metric, but one whose tokens came at once, or were never counted.
    unmeasured = lacks & _unmeasurable(samples, clause)
    unknown |= unmeasured
    lacks &= ~unmeasured
    if logged:
        unrecorded = lacks & ~_too_short(samples, clause)
        unknown |= unrecorded
        lacks &= ~unrecorded
    measured = ok & (values >= 0)
    aside = _aside(samples, clause, ok, lacks, ~(served | classes.failed | classes.unknown))
    if clause.failed == "excluded":
        aside["failed"] = ~(ok | classes.unknown)
    marked = np.where(measured, values, OVER_ANY_LIMIT_NS)
    least = np.where(unknown, -1, marked)
    if clause.metric == "tpot":
        bundled, _ = bounds_of_bundled_ns(samples)
        least = np.where(ok & (bundled >= 0), bundled, least)
    if cut_at_least is not None:
        least[cut_at_least[0]] = cut_at_least[1]
    return Marks((over | ~measured) & ~unknown, unknown, aside, marked, least)


def _of_answers(columns: Columns, classes: Classes) -> Marks:
    """Whole answers are right or wrong; what never became one is set aside."""
    wrong = columns.samples["outcome"] == Outcome.wrong_answer
    cut = classes.unknown & ~wrong
    unanswered = {"without an answer": ~(wrong | cut | columns.ok)}
    return Marks(wrong, cut, unanswered, None, None)


def _with_bundled(samples: Table, values_ns: Int, limit_ns: int) -> Int:
    """The values, and of rows of which only bounds are known one of these, if the limit does not
    lie between them.
    """
    least, most = bounds_of_bundled_ns(samples)
    kept = (least >= 0) & (most <= limit_ns)
    return np.where(kept, most, np.where(least > limit_ns, least, values_ns))


def _aside(
    samples: Table,
    clause: Clause,
    ok: Bool,
    lacks: Bool,
    unlisted: Bool,
) -> dict[str, Bool]:
    """Rows that a clause with a value a row does not speak of: answers that cannot have the value
    (`lacks`) or are too short for it, and of errors that the contract does not list as its own
    (`unlisted`) the caller's.
    """
    aside: dict[str, Bool] = {}
    if METRICS[clause.metric].min_tokens:
        # An answer of one token has no TPOT, one of one chunk no gap: neither kept nor broken.
        aside[f"without {clause.metric}"] = lacks
    if clause.min_output_tokens > 1:
        tokens = samples["output_tokens"]
        aside[f"under {clause.min_output_tokens} output tokens"] = (
            ok & (tokens >= 0) & (tokens < clause.min_output_tokens)
        )
    if unlisted.any():
        # Any other request without its answer misses every limit, whatever is an error for uptime.
        for mine in (Outcome.http_4xx, Outcome.rate_limited):
            aside[f"{mine.name}, no failure by the contract"] = unlisted & (
                samples["outcome"] == mine
            )
    return aside


def _unmeasurable(samples: Table, clause: Clause) -> Bool:
    """Answers that have tokens, and nothing that would tell how long each took."""
    tokens = samples["output_tokens"]
    if clause.metric == "output_tps" and clause.with_ttft:
        return counted_by_chunks(samples)
    if clause.metric not in ("tpot", "output_tps"):
        return np.zeros(len(samples), bool)
    return counted_by_chunks(samples) | ((tokens > 1) & (samples["first_token_ns"] >= 0))


def _too_short(samples: Table, clause: Clause) -> Bool:
    """Answers that are known to have too few tokens (or chunks: only a run counts them) for the
    metric.
    """
    metric = METRICS[clause.metric]
    if metric.counts_chunks:
        return np.ones(len(samples), bool)
    least = metric.min_tokens if clause.with_ttft else 2
    tokens = samples["output_tokens"]
    return np.asarray((tokens >= 0) & (tokens < least), bool)


def _time_and_tokens(samples: Table, clause: Clause, view: str) -> tuple[Int, Int]:
    """(ns, output tokens made in them); the time is -1 where a row has no tokens or no such
    time.
    """
    took = latency_ns(samples, "e2e", view)
    tokens = samples["output_tokens"].astype(np.int64)
    if not clause.with_ttft:
        first = latency_ns(samples, "ttft", view)
        took = np.where((took >= 0) & (first >= 0), took - first, -1)
        tokens = tokens_behind_first(samples)
        took[(took == 0) | (samples["chunks"] == 1)] = -1
    known = (took >= 0) & (tokens > 0) & ~counted_by_chunks(samples)
    return np.where(known, took, -1), tokens


def in_own_unit(samples: Table, clause: Clause, values_ns: Int) -> Float:
    """The values of a tally or of `marks`, of these rows, in ns or in tokens/s; a miss is inf, or 0
    tokens/s.
    """
    missed = values_ns == OVER_ANY_LIMIT_NS
    if not clause.rising:
        return np.where(missed, np.inf, values_ns)
    took, tokens = _time_and_tokens(samples, clause, clause.view)
    return np.where(missed, 0.0, tokens * float(S) / np.maximum(took, 1))


def _slower(took: Int, tokens: Int, clause: Clause) -> Bool:
    """tokens / took < at_least without a division, so that 33 tokens in a second are 33
    tokens/s.
    """
    if clause.at_least is None:
        return np.zeros(len(took), bool)
    top = clause.at_least.numerator
    bottom = S * clause.at_least.denominator
    if max(int(took.max(initial=0)) * top, int(tokens.max(initial=0)) * bottom) > OVER_ANY_LIMIT_NS:
        took, tokens = (
            took.astype(object),
            tokens.astype(object),
        )  # 83.3333333/s of a minute is more than 64 bits hold
    least = took * top
    made = tokens * bottom
    return np.asarray(made <= least if clause.strict else made < least, bool)


def largest_kept_ns(clause: Clause) -> int | None:
    """The largest value of a row that keeps the promise; None where it has no limit."""
    if clause.at_least is not None:
        return int(S / clause.at_least)
    return None if clause.limit is None else clause.limit - clause.strict


def streamed_any(columns: Columns) -> bool:
    """Whether any answer came as a stream; True when nothing succeeded: it is unknown."""
    ok = columns.ok
    return not ok.any() or bool(((columns.samples["flags"][ok] & Flag.STREAMED) != 0).any())
