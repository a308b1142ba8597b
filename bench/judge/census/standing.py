"""Where a watch stands: outages, the period's census so far, its error budget, its credit.

In: the logs of a watch's run folders, a contract, the present moment. Out: a `TargetStanding` for
`watch --status`; what changed between two, as events for hooks. Must stay true: it follows from the
rows alone, so a restart changes nothing; what was not watched stays unobserved; a breach is what
the census calls FAIL: it can no longer be mended within the period.

Source: methods 2.3, 3.4 and 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from fractions import Fraction

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
from bench.record.records.census import CensusClause
from bench.record.records.record import Json
from bench.record.records.watch import (
    BurnRecord,
    OutageRecord,
    Outages,
    ProbeRow,
    TargetStanding,
    Today,
    WatchedClause,
    WatchedPeriod,
    WatchEvent,
)
from bench.record.request_log import RequestLog
from bench.record.run_folder import Run
from bench.record.samples import MOMENTS, Bool, Columns, Int, Outcome
from bench.units import S

#: Outages that a record lists.
_LISTED = 100


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
    schedules = []
    tables = []
    files = []
    names = list[str]()
    for log in logs:
        samples = log.columns.samples.copy()
        for moment in MOMENTS:
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
    ok = log.columns.ok.tolist()
    unknown = silent(log.columns).tolist()
    for at, good, open_, file, line in zip(
        _wall(log).tolist(),
        ok,
        unknown,
        log.file.tolist(),
        log.line.tolist(),
        strict=True,
    ):
        yield Probe(at, None if open_ else not good, log.names[file], line)


def tracked(log: RequestLog) -> OutageTracker:
    """The state machine after all probes of a log."""
    tracker = OutageTracker()
    for probe in probes_of(log):
        tracker.feed(probe)
    return tracker


def standing(
    log: RequestLog,
    contract: Contract | None,
    now_ns: int,
    day: tuple[str, int],
) -> TargetStanding:
    """Where one target stands.

    `day` is today's name and its first moment (Unix ns); rows due after `now_ns` are left out.
    """
    tracker = tracked(log)
    wall = _wall(log)
    every = tracker.ended + ([tracker.open] if tracker.open else [])
    period, note = None, None
    if contract is not None:
        past = before(log, now_ns // MINUTE_NS * MINUTE_NS)
        if past is None:
            note = "no whole minute has passed yet"
        else:
            try:
                period = _period(past, with_period(contract), now_ns)
            except UserError as error:
                note = f"cannot be judged: {error}"
    return TargetStanding(
        probes=len(log.columns),
        first_utc=utc_text(int(wall[0])),
        last_utc=utc_text(int(wall[-1])),
        today=_today(log, every, now_ns, day),
        outages=Outages(count=len(every), last=[outage_record(each) for each in every[-_LISTED:]]),
        open_outage=outage_record(tracker.open) if tracker.open else None,
        period=period,
        note=note,
    )


def _today(log: RequestLog, outages: Sequence[Outage], now_ns: int, day: tuple[str, int]) -> Today:
    name, start_ns = day
    wall = _wall(log)
    columns = log.columns.where(wall >= start_ns)
    unknown = silent(columns)
    return Today(
        day=name,
        probes=len(columns),
        failed=int((~columns.ok & ~unknown).sum()),
        unknown=int(unknown.sum()),
        observed_minutes=len(np.unique(wall[wall >= start_ns] // MINUTE_NS)),
        minutes=max(0, (now_ns - start_ns) // MINUTE_NS),
        outages=sum(outage.end_ns is None or outage.end_ns > start_ns for outage in outages),
    )


def outage_record(outage: Outage) -> OutageRecord:
    """An outage for people and hooks."""
    return OutageRecord(
        start_utc=utc_text(outage.start_ns),
        end_utc=None if outage.end_ns is None else utc_text(outage.end_ns),
        failed_probes=outage.failed,
        unobserved_minutes=outage.unobserved_minutes,
        evidence=[
            ProbeRow(run=each.run, line=each.row, at_utc=utc_text(each.at_ns))
            for each in dict.fromkeys((*outage.first, outage.last))
        ],
    )


def _period(log: RequestLog, contract: Contract, now_ns: int) -> WatchedPeriod:
    """The census of the period that holds the last probe, with budget and burn of each clause."""
    wall = _wall(log)
    span = spans(contract.period, int(wall[-1]), int(wall[-1]))[-1]
    found = census(log, contract, period=span.name, explained=False)
    period = found.record.periods[0]
    classes = classify(log.columns, contract, log.facts)
    clauses = []
    for clause, judged in zip(contract.clauses, period.clauses, strict=True):
        budget: Json = {}
        if judged.measured and clause.allowed_share:
            rows = clause_rows(log.columns, clause, classes)
            known = rows.counted & ~rows.unknown & (wall >= span.start_ns)
            units = _units(clause, judged, wall, known, rows.bad)
            budget = _budget(clause, judged, units, span, now_ns)
        given = judged.model_fields_set - {"evidence"}
        clauses.append(WatchedClause(**{name: getattr(judged, name) for name in given}, **budget))
    return WatchedPeriod(
        **{**dict(period), "clauses": clauses},
        contract=contract.name,
        evidence={str(number): _broke(log, found, span, number) for _, number in found.evidence},
    )


def _broke(log: RequestLog, found: Census, span: Span, number: int) -> list[ProbeRow]:
    """The last rows that broke a clause."""
    rows = found.evidence[span.name, number][-10:].tolist()
    return [ProbeRow(run=log.names[log.file[row]], line=int(log.line[row])) for row in rows]


def _units(
    clause: Clause,
    judged: CensusClause,
    wall: Int,
    known: Bool,
    bad: Bool,
) -> tuple[Int, Bool]:
    """(moments, bad) of what a clause counts: minutes with a known request by its own episodes, or
    requests.

    A mean of intervals burns by its requests.
    """
    if not clause.by_time or clause.kind.partial:
        return wall[known], bad[known]
    minutes = np.unique(wall[known] // MINUTE_NS) * MINUTE_NS
    down = np.zeros(len(minutes), bool)
    for episode in judged.episodes.first:
        down |= (minutes >= _instant(episode.start_utc)) & (minutes < _instant(episode.end_utc))
    return minutes, down


def _instant(utc: str) -> int:
    return int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()) * S


def _budget(
    clause: Clause,
    judged: CensusClause,
    units: tuple[Int, Bool],
    span: Span,
    now_ns: int,
) -> Json:
    """Fields of a `WatchedClause`: what is certainly lost of the whole period over what may be, how
    fast it burns, and the episode under way.
    """
    best = judged.best
    assert best is not None, "a clause that is measured has bounds"
    lost = 1 - (Fraction(best.fraction) if best.fraction else Fraction(best.share))
    used = lost / clause.allowed_share
    rates = burn_rates(*units, clause.allowed_share, max(1, round(span.minutes / 1440)), now_ns)
    present = rates[0].long_rate if rates else None
    lasts = budget_lasts_ns(used, present, span.end_ns - span.start_ns)
    down_since = None
    if clause.by_time and len(units[0]) and judged.episodes.first:
        latest = judged.episodes.first[-1]
        if _instant(latest.end_utc) > int(units[0][-1]):
            down_since = latest.start_utc
    return {
        "budget_used": float(used),
        "budget_lasts_s": None if lasts is None else lasts / S,
        "burn": [BurnRecord(**asdict(each), firing=each.firing) for each in rates],
        "down_since_utc": down_since,
    }


def changes(earlier: TargetStanding | None, later: TargetStanding) -> Iterator[WatchEvent]:
    """What came and went in one target's contract between two standings.

    breach and recovery: a clause that is FAIL, and is no longer (a new period, as a rule). outage
    and outage_end: an episode as the clause defines it. budget: an alert of the burn table that
    fires.
    """
    if later.period is None:
        return
    if earlier is not None and earlier.period is not None:
        known = earlier.period.clauses
    else:
        known = ()
    was = {clause.number: clause for clause in known}
    for clause in later.period.clauses:
        yield from _changed(later.period, was.get(clause.number), clause)


def _changed(
    period: WatchedPeriod,
    was: WatchedClause | None,
    now: WatchedClause,
) -> Iterator[WatchEvent]:
    about = {
        "contract": period.contract,
        "period": period.period,
        "clause": now.number,
        "text": now.text,
        "verdict": now.verdict,
        "attained": now.attained,
        "best": now.best,
        "worst": now.worst,
        "budget_used": now.budget_used,
        "reason": now.reason,
    }
    evidence = period.evidence.get(str(now.number), [])
    fails = now.verdict == "FAIL"
    failed = was is not None and was.verdict == "FAIL"
    if fails != failed:
        yield WatchEvent(event="breach" if fails else "recovery", **about, evidence=evidence)
    since = now.down_since_utc
    since_before = was.down_since_utc if was is not None else None
    if since_before and since != since_before:
        yield WatchEvent(event="outage_end", **about, start_utc=since_before)
    if since and since != since_before:
        yield WatchEvent(
            event="outage",
            **about,
            start_utc=since,
            evidence=evidence,
        )
    fired = {(each.severity, each.long_min) for each in (was.burn if was else ()) if each.firing}
    for burn in now.burn:
        if burn.firing and (burn.severity, burn.long_min) not in fired:
            lasts_s = now.budget_lasts_s
            yield WatchEvent(
                event="budget",
                **about,
                burn=burn,
                budget_lasts_s=lasts_s,
            )
