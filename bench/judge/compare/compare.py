"""Two arms held against each other: is the other better than the baseline, and is it worth its
price?

In: two arms and the question put to them. Out: one `Comparison`. Must stay true: the ratio of the
p99 decides, other over baseline, failures counted as slower than anything; both arms of a
superblock are resampled together, on three scales, and where there are sessions these are kept
whole; BETTER and WORSE look both ways and share the error between
them, a claim about the margin has the error on its own side; where rows, superblocks or successes
are too few there is a reason in place of a number.

Source: methods 4 (estimand, superblock bootstrap, five-way outcome with a margin, power).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from bench.judge.compare.arms import Arm, differences, one_after_the_other
from bench.judge.compare.decision import ALPHA, Ratio, decide, regression, undecided
from bench.judge.compare.difference import SMALL, exceedance, permutation, shift_function
from bench.judge.compare.tier_price import NO_FEE, Fee, price
from bench.judge.stats.groups import LEAST_SESSIONS
from bench.judge.stats.resample import RESAMPLES
from bench.judge.stats.superblocks import Layouts, Series, sample, slot_ns
from bench.judge.stats.tail import quantile_nearest_rank
from bench.quantiles import P50, P95, P99, P999, by_key
from bench.record.records.comparisons import (
    ArmRecord,
    Comparison,
    Decision,
    Exceedance,
    PartComparison,
)
from bench.record.records.record import Record
from bench.record.samples import Int

CONFIDENCE = 0.95
COMPARED = by_key(P50, P95, P99, P999)
SHIFT = (*(Fraction(tenth, 10) for tenth in range(1, 10)), P95, P99)
#: So many rows an arm must lie beyond a quantile before it is compared: p99 from 1,000 rows, p99.9
#: from 10,000.
BEYOND = 10
#: Rows without a known end that a comparison bears, as a share of the rows beyond the p99.
OPEN_ENDED_MOST = 0.1


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of two arms."""

    margin: Fraction = Fraction(1, 10)
    seed: int = 1
    #: "random", "abba", "side by side" or "one after the other"
    design: str = "side by side"
    #: length of an ABBA unit; None for slots
    unit_ns: int | None = None
    limit_ns: int | None = None
    #: what the other arm costs on top of its tokens
    fee: Fee = NO_FEE


def compare_arms(baseline: Arm, other: Arm, question: Question) -> Comparison:
    """The whole comparison: the run, each of its phases and each context bucket."""
    whole, sampled = part_of(baseline, other, question, None)
    allowed = [q for q in SHIFT if enough(baseline, other, q)]
    return Comparison(
        baseline=_about(baseline),
        other=_about(other),
        metric=baseline.metric,
        margin=float(question.margin),
        confidence=CONFIDENCE,
        design=question.design,
        resamples=RESAMPLES,
        seed=question.seed,
        warnings=_warnings(baseline, other),
        aa=None,
        **fields_of(whole),
        shift=shift_function(sampled, allowed, ALPHA) if sampled else [],
        permutation=permutation(sampled, P99, question.seed) if sampled else None,
        price=price(baseline, other, whole, question.fee),
        by_phase=_parts(baseline, other, question, "phase"),
        by_bucket=_parts(baseline, other, question, "bucket"),
    )


def fields_of(record: Record) -> dict[str, Any]:
    """Its fields by name, for a record that has them too."""
    return {name: getattr(record, name) for name in type(record).model_fields}


def _about(arm: Arm) -> ArmRecord:
    return ArmRecord(
        name=arm.name,
        run=arm.facts.run,
        n=len(arm),
        failed=int(np.isinf(arm.values).sum()),
        undecided=arm.undecided,
        usd_per_request=arm.facts.usd_per_request,
    )


def _warnings(baseline: Arm, other: Arm) -> list[str]:
    """What a reader must know before the first number."""
    said = [f"compared by force: {reason}" for reason in differences(baseline, other)]
    if one_after_the_other(baseline, other):
        said.append(
            "measured one after the other: a drift between the two looks like a difference; "
            "interleave the arms in one run to tell them apart"
        )
    if baseline.facts.closed_loop or other.facts.closed_loop:
        said.append(
            "a closed loop asks a slower server less often: the arms did not meet the same load"
        )
    said += [
        f"{arm.name}: without the requests that {' and '.join(gone)} sent"
        for arm in (baseline, other)
        if (gone := arm.facts.left_out)
    ]
    return said


def enough(baseline: Arm, other: Arm, q: Fraction) -> bool:
    """Whether both arms have rows enough beyond the q-quantile to compare it."""
    return min(len(baseline), len(other)) * (1 - q) >= BEYOND


def _parts(
    baseline: Arm,
    other: Arm,
    question: Question,
    kind: Literal["phase", "bucket"],
) -> dict[str, PartComparison]:
    """The comparison within each phase or bucket, by name, that both arms have rows in; none where
    there is only one.
    """
    parts = {}
    for name in baseline.facts.named(kind):
        if name not in other.facts.named(kind):
            continue  # two load profiles, compared by force
        first, second = (
            arm.where(getattr(arm, kind) == arm.facts.named(kind).index(name))
            for arm in (baseline, other)
        )
        phase = name if kind == "phase" else None
        if len(first) and len(second):
            parts[name], _ = part_of(first, second, question, phase)
    if len(parts) > 1:
        return parts
    return {}


def part_of(
    baseline: Arm,
    other: Arm,
    question: Question,
    phase: str | None,
) -> tuple[PartComparison, Layouts]:
    """Ratios, exceedance and outcomes of two arms, and the resamples they rest on."""
    if (reason := _unfit(baseline, other)) is not None:
        return _part(0, {}, None, undecided(reason), undecided(reason)), ()
    sampled = sampled_arms(baseline, other, question, phase)
    kept = {name: q for name, q in COMPARED.items() if enough(baseline, other, q)}
    ratios = ratios_of(sampled, kept, question.seed) if sampled else {}
    p99 = ratios.get("p99")
    limit: float | None = question.limit_ns
    if limit is None:
        small = min(len(baseline), len(other)) < SMALL
        all_failed = bool(sampled) and p99 is None
        if small or all_failed:
            limit = _pooled_p99(baseline, other)
    over = None
    if limit is not None:
        over = exceedance(baseline.values, other.values, limit, sampled, ALPHA / 2, question.seed)
    number = sampled[0].number if sampled else 0
    unfit = baseline.facts.unfit or other.facts.unfit
    if unfit:
        blamed = undecided(f"the harness was not valid: {unfit}")
        return _part(number, ratios, over, blamed, blamed), sampled
    decision = decide(baseline, other, p99, over, question.margin, resampled=bool(sampled))
    gate = regression(p99, question.margin)
    return _part(number, ratios, over, decision, gate), sampled


def _part(
    superblocks: int,
    ratios: Mapping[str, Ratio],
    over: Exceedance | None,
    decision: Decision,
    gate: Decision,
) -> PartComparison:
    return PartComparison(
        superblocks=superblocks,
        ratios={name: ratio.record() for name, ratio in ratios.items()},
        exceedance=over,
        **fields_of(decision),
        regression=gate,
    )


def _pooled_p99(baseline: Arm, other: Arm) -> float:
    """The p99 of both arms together; where that is a failure, the slowest success."""
    pooled = np.sort(np.concatenate([baseline.values, other.values]))
    slowest = pooled[np.isfinite(pooled)].max()
    return float(min(quantile_nearest_rank(pooled, P99), slowest))


def ratios_of(sampled: Layouts, wanted: Mapping[str, Fraction], seed: int) -> dict[str, Ratio]:
    """The ratio of each quantile that does not lie among the failures of both arms."""
    drawn = [layout.ratios(list(wanted.values())) for layout in sampled]
    found = {}
    for column, (name, q) in enumerate(wanted.items()):
        seen = [float(quantile_nearest_rank(arm.values, q)) for arm in sampled[0].arms]
        if any(map(math.isfinite, seen)):
            found[name] = Ratio(
                seen[0],
                seen[1],
                [layout[column] for layout in drawn],
                _without_most_telling(sampled, q, seed, slower=True),
                _without_most_telling(sampled, q, seed, slower=False),
            )
    return found


def _without_most_telling(
    sampled: Layouts, q: Fraction, seed: int, *, slower: bool
) -> list[list[Series]]:
    """The ratio's draws without the superblock that speaks most for one direction, where one
    stands out: one spell proves no tier slower, and none faster or the same.
    """
    rest = (layout.without_most_telling(q, seed, slower=slower) for layout in sampled)
    return [layout.ratios([q])[0] for layout in rest if layout is not None]


def sampled_arms(
    baseline: Arm, other: Arm, question: Question, phase: str | None = None
) -> Layouts:
    """The superblocks that two arms share, resampled; none where they are too few."""
    unit, places = places_of(baseline, other, question, phase)
    values = baseline.values, other.values
    sessions = baseline.session, other.session
    return sample(values, places, unit, question.seed, sessions)


def places_of(
    baseline: Arm,
    other: Arm,
    question: Question,
    phase: str | None,
) -> tuple[int, tuple[Int, Int]]:
    """Length of a superblock, and where on the shared clock each row lies.

    Slots are of the time that the phase takes, its spells put together; ABBA units are of the
    run's clock, for they mean something only there.
    """
    spans = baseline.spans(None if question.unit_ns else phase) or [(0, 1)]
    starts = np.array([start for start, _ in spans], np.int64)
    lengths = np.array([end - start for start, end in spans], np.int64)
    before = np.concatenate([[0], np.cumsum(lengths)])

    def place(at_ns: Int) -> Int:
        span = np.searchsorted(starts, at_ns, side="right") - 1
        span = np.maximum(span, 0)
        inside = np.clip(at_ns - starts[span], 0, lengths[span] - 1)
        placed: Int = before[span] + inside
        return placed

    return question.unit_ns or slot_ns(int(before[-1])), (place(baseline.at_ns), place(other.at_ns))


def _unfit(baseline: Arm, other: Arm) -> str | None:
    """Why the rows allow no comparison at all."""
    for arm in (baseline, other):
        if not len(arm) and arm.undecided:
            return f"all {arm.undecided:,} rows of {arm.name} were cut off: their end is not known"
        if not len(arm):
            return f"{arm.name} has no rows"
        if not np.isfinite(arm.values).any():
            return f"no request of {arm.name} succeeded: it has no latency to compare"
        if arm.sessions_worth < LEAST_SESSIONS:
            return (
                f"the {len(arm):,} rows of {arm.name} are worth {arm.sessions_worth:.3g} sessions"
                f" of equal size, and it takes {LEAST_SESSIONS}: a session is one event"
            )
        most = OPEN_ENDED_MOST * float(1 - P99)
        if arm.undecided > most * (len(arm) + arm.undecided):
            return f"{arm.undecided:,} rows of {arm.name} were cut off before their end was known"
    return None
