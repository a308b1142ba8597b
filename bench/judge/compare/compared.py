"""The comparisons that a suite asked for: comparisons.json of a run.

In: a run whose lanes say what they are compared with. Out: one record a pair, its A/A checks, and
whether the rehearsed outcomes were met. Must stay true: only manifest, schedule and samples are
read, so the same folder gives the same record; an A/A check that rejects leaves nothing proven.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.judge.compare.arms import Arm, arm_of
from bench.judge.compare.compare import (
    COMPARED,
    Question,
    compare_arms,
    enough,
    finite,
    places_of,
    undecided,
)
from bench.judge.stats.resample import Draws, percentile_limits, sample, stream
from bench.plan.interleave import Compare, CompareExpect, Turn
from bench.quantiles import P99
from bench.record.run_folder import FORMAT, Run

#: An A/A check that is right should seldom spoil a comparison: it rejects at 1 %.
ALPHA_AA = 0.01
_AGAIN = re.compile(r"#\d+$")


def compare_run(run: Run) -> dict[str, Any] | None:
    """The value of comparisons.json, or None where the suite compares nothing."""
    tables = [
        Compare.model_validate(table) for lane in run.lanes for table in lane.get("compare", [])
    ]
    if not tables:
        return None
    found = [_table(run, table) for table in tables]
    return {
        "format": FORMAT,
        "run": run.manifest["run"],
        "comparisons": [each for records, _ in found for each in records],
        "expects": [each for _, expects in found for each in expects],
    }


def _table(run: Run, table: Compare) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    index = {lane["name"]: at for at, lane in enumerate(run.lanes)}
    baseline, *others = (arm_of(run, index[name], table.metric) for name in table.arms)
    checks = (
        [aa_check(*split(baseline, seed_of(run)), question_of(run, baseline, table))]
        if table.aa
        else []
    )
    records, ours = {}, _AGAIN.sub("", run.lanes[index[baseline.name]]["target"])
    for other in others:
        question = question_of(run, baseline, table, last=other is others[-1])
        records[other.name] = compare_arms(baseline, other, question)
        if _AGAIN.sub("", run.lanes[index[other.name]]["target"]) == ours:
            checks.append(aa_check(baseline, other, question))
    records = {name: with_aa(record, checks) for name, record in records.items()}
    return list(records.values()), [_expectation(expect, table, records) for expect in table.expect]


def seed_of(run: Run) -> int:
    """The run's own seed: the same folder gives the same draws."""
    return int(run.manifest.get("seed", 1))


def question_of(run: Run, baseline: Arm, table: Compare, *, last: bool = True) -> Question:
    """What a suite's table asks; the yearly sum is the last arm's."""
    turn = Turn(0, len(table.arms), table.order, table.block)
    yearly = float(table.yearly_usd) if last and table.yearly_usd is not None else None
    return Question(
        margin=table.margin,
        seed=seed_of(run),
        design=table.order,
        limit_ns=baseline.facts["limit_ns"],
        unit_ns=turn.unit_ns if table.order == "abba" else None,
        yearly_usd=yearly,
    )


def table_of(run: Run, names: Sequence[str]) -> Compare | None:
    """The suite's table that holds all these lanes as arms, if there is one."""
    tables = (
        Compare.model_validate(table) for lane in run.lanes for table in lane.get("compare", [])
    )
    return next((table for table in tables if set(names) <= set(table.arms)), None)


def _expectation(
    expect: CompareExpect, table: Compare, records: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    name = expect.arm or table.arms[-1]
    record: Mapping[str, Any] | None = records[name]
    if expect.phase is not None or expect.bucket is not None:
        where = "by_phase" if expect.phase is not None else "by_bucket"
        record = records[name][where].get(expect.phase or expect.bucket)
    part = expect.phase or expect.bucket
    return {
        "target": name,
        "clause": f"against {table.arms[0]}" + (f" in {part}" if part else ""),
        "baseline": table.arms[0],
        "other": name,
        "phase": expect.phase,
        "bucket": expect.bucket,
        "expected": expect.outcome,
        "got": record["headline"] if record else "NONE",
        "met": bool(record and expect.outcome in record["outcomes"]),
    }


def aa_check(first: Arm, second: Arm, question: Question) -> dict[str, Any]:
    """Two arms that are the same target: the highest quantile they allow must not differ,
    at 1 %.
    """
    places = places_of(first, second, question, None)
    sampled = sample((first.values, second.values), places[1], places[0], question.seed)
    usable = [(name, q) for name, q in COMPARED.items() if enough(first, second, q) and q <= P99]
    if sampled is None or not usable:
        return {"rejects": None, "reason": "too few rows to check the comparison against itself"}
    name, q = usable[-1]
    low, high = percentile_limits(sampled.ratios([q])[:, 0], ALPHA_AA / 2, sampled.number)
    return {
        "quantile": name,
        "interval": [finite(low), finite(high)],
        "confidence": 1 - ALPHA_AA,
        "rejects": bool(low > 1 or high < 1),
    }


def split(arm: Arm, seed: int) -> tuple[Arm, Arm]:
    """The arm's rows in two halves, at random."""
    half = stream(seed, Draws.SPLIT).permutation(len(arm)) % 2 == 0
    return arm.where(half), arm.where(~half)


def with_aa(record: dict[str, Any], checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The record beside its A/A checks; one that rejects leaves nothing proven."""
    worst = next((check for check in checks if check["rejects"]), checks[0] if checks else None)
    if worst is None or not worst["rejects"]:
        return record | {"aa": worst}
    reason = "the A/A check rejects: this set-up finds a difference where there is none"
    parts = {
        kind: {name: part | undecided(reason) for name, part in record[kind].items()}
        for kind in ("by_phase", "by_bucket")
    }
    priceless = {
        "usd_per_1000_requests_per_ms": None,
        "usd_per_avoided_miss": None,
        "reason": reason,
    }
    return {
        **record,
        "aa": worst,
        **undecided(reason),
        **parts,
        "price": record["price"] | priceless,
    }
