"""Where a watch stands: outages, the period's census so far, its error budget, its credit.

In: the logs of a watch's run folders, a contract, the present moment. Out: the record that `watch
--status` prints and that hooks are told of; what changed between two records. Must stay true: it is
reckoned from the rows alone, so a restart changes nothing; what was not watched stays unobserved; a
breach is what the census calls FAIL: it can no longer be mended within the period.

Source: methods 2.3, 3.4 and 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np

from bench.clock import utc_text
from bench.errors import UserError
from bench.judge.census.census import Census, census
from bench.judge.census.episodes import Outage, OutageTracker, Probe, budget_lasts_ns, burn_rates
from bench.judge.census.periods import Span, spans
from bench.judge.census.rows import clause_rows
from bench.judge.census.source import log_of_run
from bench.judge.contract.exclusions import classify
from bench.judge.reached import came_to, undecided
from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract
from bench.plan.terms import Period
from bench.record.pieces import STRING_KINDS
from bench.record.request_log import RequestLog
from bench.record.run_folder import Run
from bench.record.samples import SAMPLE_DTYPE, Bool, Columns, Int, Outcome
from bench.units import S

#: Columns in ns that are lengths, not moments.
_LENGTHS = ("connect_ns", "tls_ns", "gap_max_ns", "gap_sum_ns")
_MOMENTS = [
    name for name in SAMPLE_DTYPE.names or () if name.endswith("_ns") and name not in _LENGTHS
]
#: Outages that a record lists.
_LISTED = 100
Record = dict[str, Any]


def with_period(contract: Contract) -> Contract:
    """The contract; one that states no period is held to calendar months of UTC."""
    if contract.period is not None:
        return contract
    return contract.model_copy(update={"period": Period(kind="calendar_month", time_zone="UTC")})


def lane_logs(run: Run) -> dict[str, RequestLog]:
    """The rows that a run came to, lane by lane; a lane that came to none is left out."""
    logs = {}
    for index, lane in enumerate(run.lanes):
        columns = came_to(run).lane(index)
        if (columns.samples["due_ns"] >= 0).any():
            logs[str(lane.name)] = log_of_run(run, str(lane.name))
    return logs


def joined(logs: Sequence[RequestLog]) -> RequestLog:
    """Logs of the same lane in several runs as one, in order of time, each row with its run and
    line.
    """
    base = min(log.facts.start_wall_ns for log in logs)
    texts: dict[str, dict[str, int]] = {kind: {} for kind in STRING_KINDS}
    schedules, tables, files, names = [], [], [], list[str]()
    for log in logs:
        samples = log.columns.samples.copy()
        for moment in _MOMENTS:
            samples[moment][samples[moment] >= 0] += log.facts.start_wall_ns - base
        for kind in STRING_KINDS:
            known = [
                texts[kind].setdefault(text, len(texts[kind]))
                for text in log.facts.texts.get(kind, ())
            ]
            samples[kind] = np.array([*known, -1])[samples[kind]]
        schedules.append(log.columns.schedule)
        tables.append(samples)
        files.append(log.file + len(names))
        names += log.names
    whole = Columns(np.concatenate(schedules), np.concatenate(tables))
    order = np.argsort(whole.samples["due_ns"], kind="stable")
    facts = replace(
        logs[-1].facts,
        start_wall_ns=base,
        texts={kind: list(known) for kind, known in texts.items()},
    )
    line = np.concatenate([log.line for log in logs])
    return replace(
        logs[-1],
        columns=whole.where(order),
        facts=facts,
        names=names,
        file=np.concatenate(files)[order],
        line=line[order],
        notes=[f"{len(logs)} runs of a watch as one log"],
    )


def before(log: RequestLog, until_ns: int) -> RequestLog | None:
    """The rows that were due before this moment (Unix ns); None where there are none."""
    rows = int(np.searchsorted(_wall(log), until_ns))
    if not rows:
        return None
    part = slice(0, rows)
    return replace(
        log,
        columns=log.columns.where(part),
        facts=log.facts.where(part),
        file=log.file[part],
        line=log.line[part],
    )


def _wall(log: RequestLog) -> Int:
    wall: Int = log.columns.samples["due_ns"] + log.facts.start_wall_ns
    return wall


def silent(columns: Columns) -> Bool:
    """Rows that say nothing of the provider: of unknown end, or refused by a limit of our own
    (429).
    """
    mask: Bool = undecided(columns) | (columns.samples["outcome"] == Outcome.rate_limited)
    return mask


def probes_of(log: RequestLog) -> Iterator[Probe]:
    """The rows of a log as probes."""
    ok, unknown = log.columns.ok.tolist(), silent(log.columns).tolist()
    for at, good, open_, file, line in zip(
        _wall(log).tolist(), ok, unknown, log.file.tolist(), log.line.tolist(), strict=True
    ):
        yield Probe(at, None if open_ else not good, log.names[file], line)


def tracked(log: RequestLog) -> OutageTracker:
    """The state machine after all probes of a log."""
    tracker = OutageTracker()
    for probe in probes_of(log):
        tracker.feed(probe)
    return tracker


def standing(
    log: RequestLog, contract: Contract | None, now_ns: int, day: tuple[str, int]
) -> Record:
    """One target's record.

    `day` is today's name and its first moment (Unix ns); rows due after `now_ns` are left out.

    {"probes","first_utc","last_utc","today":{…},"outages":{…},"open_outage","period","note"}; times
    are of the probes' due moments.
    """
    tracker, wall = tracked(log), _wall(log)
    every = tracker.ended + ([tracker.open] if tracker.open else [])
    today = log.columns.where(wall >= day[1])
    record: Record = {
        "probes": len(log.columns),
        "first_utc": utc_text(int(wall[0])),
        "last_utc": utc_text(int(wall[-1])),
        "today": {
            "day": day[0],
            **_counts(today),
            "observed_minutes": len(np.unique(wall[wall >= day[1]] // MINUTE_NS)),
            "minutes": max(0, (now_ns - day[1]) // MINUTE_NS),
            "outages": sum(outage.end_ns is None or outage.end_ns > day[1] for outage in every),
        },
        "outages": {
            "count": len(every),
            "last": [outage_record(each) for each in every[-_LISTED:]],
        },
        "open_outage": outage_record(tracker.open) if tracker.open else None,
        "period": None,
        "note": None,
    }
    if contract is not None:
        past = before(log, now_ns // MINUTE_NS * MINUTE_NS)
        if past is None:
            record["note"] = "no whole minute has passed yet"
        else:
            try:
                record["period"] = _period(past, with_period(contract), now_ns)
            except UserError as error:
                record["note"] = f"cannot be judged: {error}"
    return record


def _counts(columns: Columns) -> dict[str, int]:
    unknown = silent(columns)
    return {
        "probes": len(columns),
        "failed": int((~columns.ok & ~unknown).sum()),
        "unknown": int(unknown.sum()),
    }


def outage_record(outage: Outage) -> Record:
    """An outage for people and hooks."""
    return {
        "start_utc": utc_text(outage.start_ns),
        "end_utc": None if outage.end_ns is None else utc_text(outage.end_ns),
        "failed_probes": outage.failed,
        "unobserved_minutes": outage.unobserved_minutes,
        "evidence": [
            {"run": each.run, "line": each.row, "at_utc": utc_text(each.at_ns)}
            for each in dict.fromkeys((*outage.first, outage.last))
        ],
    }


def _period(log: RequestLog, contract: Contract, now_ns: int) -> Record:
    """The census of the period that holds the last probe, with budget and burn of each clause."""
    wall = _wall(log)
    span = spans(contract.period, int(wall[-1]), int(wall[-1]))[-1]
    found = census(log, contract, period=span.name)
    period = found.record.periods[0].to_json()
    classes = classify(log.columns, contract, log.facts)
    for clause, told in zip(contract.clauses, period["clauses"], strict=True):
        told.pop("evidence", None)
        if "attained" not in told or not clause.allowed_share:
            continue
        rows = clause_rows(log.columns, clause, classes)
        known = rows.counted & ~rows.unknown & (wall >= span.start_ns)
        told.update(
            _budget(clause, told, _units(clause, told, wall, known, rows.bad), span, now_ns)
        )
    return {
        **period,
        "contract": contract.name,
        "evidence": {str(number): _named(log, found, span, number) for _, number in found.evidence},
    }


def _named(log: RequestLog, found: Census, span: Span, number: int) -> list[Record]:
    """The last rows that broke a clause."""
    rows = found.evidence[span.name, number][-10:].tolist()
    return [{"run": log.names[log.file[row]], "line": int(log.line[row])} for row in rows]


def _units(clause: Clause, told: Record, wall: Int, known: Bool, bad: Bool) -> tuple[Int, Bool]:
    """(moments, bad) of what a clause counts: minutes with a known request by its own episodes, or
    requests.

    A mean of intervals burns by its requests.
    """
    if not clause.by_time or clause.kind.partial:
        return wall[known], bad[known]
    minutes = np.unique(wall[known] // MINUTE_NS) * MINUTE_NS
    down = np.zeros(len(minutes), bool)
    for episode in told["episodes"]["first"]:
        start, end = (_instant(episode[key]) for key in ("start_utc", "end_utc"))
        down |= (minutes >= start) & (minutes < end)
    return minutes, down


def _instant(utc: str) -> int:
    return int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) * S


def _budget(
    clause: Clause, told: Record, units: tuple[Int, Bool], span: Span, now_ns: int
) -> Record:
    """What is certainly lost of the whole period over what may be, how fast it burns, and the
    episode under way.
    """
    best = told["best"]
    lost = 1 - (Fraction(best["fraction"]) if best["fraction"] else Fraction(best["share"]))
    used = lost / clause.allowed_share
    rates = burn_rates(*units, clause.allowed_share, max(1, round(span.minutes / 1440)), now_ns)
    present = rates[0].long_rate if rates else None
    lasts = budget_lasts_ns(used, present, span.end_ns - span.start_ns)
    episodes = told["episodes"]["first"]
    under_way = (
        bool(episodes) and len(units[0]) and _instant(episodes[-1]["end_utc"]) > int(units[0][-1])
    )
    return {
        "budget_used": float(used),
        "budget_lasts_s": None if lasts is None else lasts / S,
        "burn": [
            {
                "severity": each.severity,
                "long_min": each.long_min,
                "short_min": each.short_min,
                "threshold": each.threshold,
                "long_rate": each.long_rate,
                "short_rate": each.short_rate,
                "coarse": each.coarse,
                "firing": each.firing,
            }
            for each in rates
        ],
        "down_since_utc": episodes[-1]["start_utc"] if under_way and clause.by_time else None,
    }


def changes(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> Iterator[tuple[str, Record]]:
    """(event, details) of what came and went in one target's contract between two records.

    breach and recovery: a clause that is FAIL, and is no longer (a new period, as a rule). outage
    and outage_end: an episode as the clause defines it. budget: an alert of the burn table that
    fires.
    """
    if later["period"] is None:
        return
    old = {told["number"]: told for told in (earlier["period"] or {"clauses": []})["clauses"]}
    for told in later["period"]["clauses"]:
        was = old.get(told["number"], {})
        about = {
            "contract": later["period"]["contract"],
            "period": later["period"]["period"],
            "clause": told["number"],
            "text": told["text"],
            **{
                key: told.get(key)
                for key in ("verdict", "attained", "best", "worst", "budget_used", "reason")
            },
        }
        evidence = later["period"]["evidence"].get(str(told["number"]), [])
        if (told["verdict"] == "FAIL") != (was.get("verdict") == "FAIL"):
            yield (
                "breach" if told["verdict"] == "FAIL" else "recovery",
                about | {"evidence": evidence},
            )
        since, before_ = told.get("down_since_utc"), was.get("down_since_utc")
        if before_ and since != before_:
            yield "outage_end", about | {"start_utc": before_}
        if since and since != before_:
            yield "outage", about | {"start_utc": since, "evidence": evidence}
        fired = {
            (each["severity"], each["long_min"]) for each in was.get("burn", []) if each["firing"]
        }
        for burn in told.get("burn", []):
            if burn["firing"] and (burn["severity"], burn["long_min"]) not in fired:
                yield "budget", about | {"burn": burn, "budget_lasts_s": told["budget_lasts_s"]}
