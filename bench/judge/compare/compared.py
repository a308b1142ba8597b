"""The comparisons that a suite asked for (comparisons.json of a run), or somebody who named two.

In: a run whose lanes say what they are compared with. Out: one record a pair, its A/A checks, and
whether the rehearsed outcomes were met; where another tier served some answers, what the tier that
was asked for served alone. Must stay true: only manifest, schedule and samples are read, so the
same folder gives the same record; an A/A check that rejects leaves nothing proven; the comparison
that decides is of all requests, as bought, for what was honoured was chosen by the provider; two
that were named and do not belong side by side are refused unless by force, and two arms of one
comparison of a suite are looked at in the order they were sent in.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from bench.errors import UserError
from bench.judge.compare.arms import (
    AS_ASKED,
    ELSEWHERE,
    FAILED,
    UNNAMED,
    Arm,
    arm_of,
    differences,
    one_after_the_other,
)
from bench.judge.compare.compare import (
    COMPARED,
    Question,
    compare_arms,
    enough,
    fields_of,
    part_of,
    ratios_of,
    sampled_arms,
)
from bench.judge.compare.decision import finite, undecided
from bench.judge.compare.tier_price import NO_FEE, Fee
from bench.judge.stats.resample import Draws, stream
from bench.plan.interleave import Compare, CompareExpect, FeeTerms, Turn
from bench.progress import each
from bench.quantiles import P99
from bench.record.records.comparisons import (
    AACheck,
    AsServed,
    Comparison,
    Comparisons,
    PartComparison,
    ServedArm,
)
from bench.record.records.verdicts import Expectation
from bench.record.run_folder import Run
from bench.units import parse_share

#: An A/A check that is right should seldom spoil a comparison: it rejects at 1 %.
ALPHA_AA = 0.01
_AGAIN = re.compile(r"#\d+$")


def compare_run(run: Run) -> Comparisons | None:
    """comparisons.json, or None where the suite compares nothing."""
    tables = [table for lane in run.lanes for table in lane.compare]
    if not tables:
        return None
    found = [_table(run, table) for table in each("comparing", tables)]
    return Comparisons(
        format=Comparisons.FORMAT,
        run=run.manifest.run,
        comparisons=[each for records, _ in found for each in records],
        expects=[each for _, expects in found for each in expects],
    )


def _table(run: Run, table: Compare) -> tuple[list[Comparison], list[Expectation]]:
    index = {lane.name: at for at, lane in enumerate(run.lanes)}
    baseline, *others = (arm_of(run, index[name], table.metric) for name in table.arms)
    if table.aa:
        checks = [aa_check(*split(baseline, seed_of(run)), question_of(run, baseline, table))]
    else:
        checks = []
    records = {}
    ours = _AGAIN.sub("", run.lanes[index[baseline.name]].target)
    for other in others:
        question = question_of(run, baseline, table, last=other is others[-1])
        record = compare_arms(baseline, other, question)
        records[other.name] = with_served(record, baseline, other, question)
        if _AGAIN.sub("", run.lanes[index[other.name]].target) == ours:
            checks.append(aa_check(baseline, other, question))
    records = {name: with_aa(record, checks) for name, record in records.items()}
    return list(records.values()), [_expectation(expect, table, records) for expect in table.expect]


def seed_of(run: Run) -> int:
    """The run's own seed: the same folder gives the same draws."""
    if run.manifest.seed is None:
        return 1
    return run.manifest.seed


def question_of(
    run: Run,
    baseline: Arm,
    table: Compare,
    *,
    last: bool = True,
) -> Question:
    """What a suite's table asks; the yearly sum is the last arm's."""
    turn = Turn(0, len(table.arms), table.order, table.block)
    return Question(
        margin=table.margin,
        seed=seed_of(run),
        design=table.order,
        limit_ns=baseline.facts.limit_ns,
        unit_ns=turn.unit_ns if table.order == "abba" else None,
        fee=fee_of(table) if last else NO_FEE,
    )


def fee_of(terms: FeeTerms) -> Fee:
    """What a suite or the command line says of the fee, and of the volume that bears it."""
    return Fee(terms.a_year_usd, terms.requests_per_month)


def table_of(run: Run, names: Sequence[str]) -> Compare | None:
    """The suite's table that holds all these lanes as arms, if there is one."""
    tables = (table for lane in run.lanes for table in lane.compare)
    return next((table for table in tables if set(names) <= set(table.arms)), None)


def _expectation(
    expect: CompareExpect,
    table: Compare,
    records: Mapping[str, Comparison],
) -> Expectation:
    name = expect.arm or table.arms[-1]
    record: PartComparison | None = records[name]
    if expect.phase is not None:
        record = records[name].by_phase.get(expect.phase)
    elif expect.bucket is not None:
        record = records[name].by_bucket.get(expect.bucket)
    part = expect.phase or expect.bucket
    return Expectation(
        target=name,
        clause=f"against {table.arms[0]}" + (f" in {part}" if part else ""),
        baseline=table.arms[0],
        other=name,
        phase=expect.phase,
        bucket=expect.bucket,
        expected=expect.outcome,
        got=record.headline if record else "NONE",
        met=bool(record and expect.outcome in record.outcomes),
    )


def aa_check(first: Arm, second: Arm, question: Question) -> AACheck:
    """Two arms that are the same target: the highest quantile they allow must not differ,
    at 1 %.
    """
    sampled = sampled_arms(first, second, question)
    usable = [(name, q) for name, q in COMPARED.items() if enough(first, second, q) and q <= P99]
    if not sampled or not usable:
        return AACheck(rejects=None, reason="too few rows to check the comparison against itself")
    name, q = usable[-1]
    ratio = ratios_of(sampled, {name: q}, question.seed).get(name)
    if ratio is None:
        return AACheck(rejects=None, reason=f"the {name} of both lies among their failures")
    low, high = ratio.limits(ALPHA_AA / 2)
    return AACheck(
        quantile=name,
        interval=(finite(low), finite(high)),
        confidence=1 - ALPHA_AA,
        rejects=bool(low > 1 or high < 1),
    )


def split(arm: Arm, seed: int) -> tuple[Arm, Arm]:
    """The arm's rows in two halves, at random; of a session all in one."""
    half = stream(seed, Draws.SPLIT).permutation(len(arm)) % 2 == 0
    if arm.session is not None:
        codes = np.unique(arm.session, return_inverse=True)[1]
        half = half[codes]
    return arm.where(half), arm.where(~half)


def with_aa(record: Comparison, checks: Sequence[AACheck]) -> Comparison:
    """The record beside its A/A checks; one that rejects leaves nothing proven."""
    worst = next((check for check in checks if check.rejects), checks[0] if checks else None)
    if worst is None or not worst.rejects:
        return record.replace(aa=worst)
    reason = "the A/A check rejects: this set-up finds a difference where there is none"
    nothing = fields_of(undecided(reason))
    if (served := record.as_served) is not None:
        unproven = served.replace(comparison=served.comparison.replace(**nothing))
        record = record.replace(as_served=unproven)
    return record.replace(
        aa=worst,
        **nothing,
        by_phase={name: part.replace(**nothing) for name, part in record.by_phase.items()},
        by_bucket={name: part.replace(**nothing) for name, part in record.by_bucket.items()},
        price=record.price.replace(
            usd_per_1000_requests_per_ms=None,
            usd_per_avoided_miss=None,
            usd_per_avoided_miss_interval=None,
            advice=None,
            reason=reason,
        ),
    )


# ---- two arms that somebody named


def named_arm(run: Run, name: str | None, metric: str) -> Arm:
    """The arm of the run's target of this name, or of its only one.

    Raises UserError naming the targets there are.
    """
    names = [lane.name for lane in run.lanes]
    if name not in (None, *names):
        raise UserError(
            f"has no target named {name!r}",
            where=str(run.folder),
            remedy=f"it has {', '.join(names)}",
        )
    if name is None and len(names) > 1:
        raise UserError(
            f"has {len(names)} targets",
            where=str(run.folder),
            remedy=f"write {run.folder}:NAME with one of {', '.join(names)}",
        )
    return arm_of(run, names.index(name or names[0]), metric)


def compare_pair(
    first: Arm,
    second: Arm,
    runs: Sequence[Run],
    *,
    margin: str | None,
    force: bool,
    fee: Fee = NO_FEE,
) -> Comparison:
    """The record of two arms; `runs` are those they come from, none for a stored baseline.

    `margin` is a share as users write it, None for the usual one; `fee` goes before a suite's.
    Raises UserError.
    """
    reasons = differences(first, second)
    if reasons and not force:
        raise UserError(
            f"{first.name} and {second.name} are not comparable: {'; '.join(reasons)}",
            remedy="measure both alike, or add --force",
        )
    asked = Question(
        design="one after the other" if one_after_the_other(first, second) else "side by side",
        limit_ns=first.facts.limit_ns,
    )
    table = None
    if runs and runs[0].folder.resolve() == runs[1].folder.resolve():
        if first.name == second.name:
            raise UserError(f"{first.name} is compared with itself", remedy="name two targets")
        table = table_of(runs[0], [first.name, second.name])
    if table is not None:
        asked = question_of(runs[0], first, table, last=second.name == table.arms[-1])
    if table is not None and table.aa:
        checks = [aa_check(*split(first, asked.seed), asked)]
    else:
        checks = []
    try:
        if margin is None:
            share = asked.margin
        else:
            share = parse_share(margin)
    except ValueError as error:
        raise UserError(str(error), where="--margin") from None
    if not 0 < share < 1:
        raise UserError("must lie between 0 % and 100 %", where="--margin")
    asked = dataclasses.replace(asked, margin=share)
    if fee != NO_FEE:
        asked = dataclasses.replace(asked, fee=fee)
    record = compare_arms(first, second, asked)
    return with_aa(with_served(record, first, second, asked), checks)


BIAS = (
    "the provider chooses which requests it honours, perhaps those that are easy to serve (short"
    " prompts, quiet minutes): this compares its choice, not what was bought"
)


def with_served(record: Comparison, baseline: Arm, other: Arm, question: Question) -> Comparison:
    """The record, and where answers came from another tier than was asked for, as served."""
    if not any(_count(arm, ELSEWHERE) for arm in (baseline, other)):
        return record
    part, _ = part_of(_honoured(baseline), _honoured(other), question, None)
    return record.replace(
        as_served=AsServed(
            comparison=part,
            baseline=_served(baseline, other),
            other=_served(other, baseline),
            bias=BIAS,
        )
    )


def _count(arm: Arm, kind: int) -> int:
    return 0 if arm.tier is None else int((arm.tier == kind).sum())


def _honoured(arm: Arm) -> Arm:
    """Answers by the tier that was asked for, and failures, which name none."""
    if arm.tier is None:
        return arm
    return arm.where(np.isin(arm.tier, (AS_ASKED, FAILED)))


def _served(arm: Arm, counterpart: Arm) -> ServedArm | None:
    """What served an arm; None where no answer of it names a tier that can be compared."""
    if arm.tier is None:
        return None
    as_asked, elsewhere = _count(arm, AS_ASKED), _count(arm, ELSEWHERE)
    found = ServedArm(
        asked=arm.facts.asked,
        as_asked=as_asked,
        elsewhere=elsewhere,
        unknown=_count(arm, UNNAMED),
        share_elsewhere=elsewhere / (as_asked + elsewhere) if as_asked + elsewhere else None,
        extra_usd=None,
        extra_usd_per_1000_requests=None,
    )
    if not elsewhere:
        return found
    ours, theirs = (each.facts.usd_per_million for each in (arm, counterpart))
    if ours is None or theirs is None:
        return found.replace(reason="no price is known of both tiers")
    dearer = [a - b for a, b in zip(ours, theirs, strict=True)]
    tokens = arm.facts.elsewhere_tokens
    extra = sum(n * usd for n, usd in zip(tokens, dearer, strict=True)) / 1_000_000
    if extra <= 0:
        return found.replace(reason="it costs no more than what it is compared with")
    return found.replace(extra_usd=extra, extra_usd_per_1000_requests=1000 * extra / len(arm))
