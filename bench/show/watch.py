"""Where a watch stands, in words: today, this period, the error budget.

In: the value of `watch --status`. Out: nodes of a screen. Must stay true: a bound stands beside
every value that has one; what was not watched is said; foreign text has passed through
`wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.record.records.watch import (
    OutageRecord,
    TargetStanding,
    WatchedClause,
    WatchedPeriod,
    WatchStatus,
)
from bench.show.document import Code, Node, Text, Verdict
from bench.show.result import Result
from bench.show.wording import ABSENT, clause_name, count, per_cent, visible
from bench.units import S, show_duration

_OUTAGES = 5
#: Targets whose verdict stands in the first lines.
_TARGETS = 6


def watch_result(record: WatchStatus) -> Result:
    """The verdict so far of each target, then target by target."""
    running = "probing now" if record.watched_now else "nobody is probing"
    folder, rolls = visible(record.folder, 200), record.next_roll_utc
    periods = {name: target.period for name, target in record.targets.items()}
    lead: list[Node] = [
        Verdict(period.overall, "", f"  so far: {visible(name, 60)}, {visible(period.period, 30)}")
        for name, period in list(periods.items())[:_TARGETS]
        if period is not None
    ]
    body = [
        Text(f"{visible(each)}; its time counts as unobserved", "unread")
        for each in record.unreadable
    ]
    several: list[Node] = list(body)
    for name, target in record.targets.items():
        several += _target(visible(name, 60), target)
    if not lead:
        lead = [Text("No contract: nothing is judged.", tone="strong")]
    foot: list[Node] = [Text(f"{running}, next roll {rolls}", "watch")]
    if not record.watched_now:
        foot.append(Code(folder, "folder"))
    return Result(lead, several, foot)


def _target(name: str, target: TargetStanding) -> Iterator[Node]:
    today = target.today
    probes = f"{count(target.probes)} probes"
    if target.probes:
        probes += f", {target.first_utc} to {target.last_utc}"
    yield Text(f"{name} · {probes}", "target", "strong")
    yield Text(
        f"{today.day} · {count(today.probes)} probes, {count(today.failed)} failed, "
        f"{count(today.unknown)} unknown · outages {count(today.outages)} · "
        f"{count(today.observed_minutes)} of {count(today.minutes)} minutes observed",
        "today",
    )
    for outage in reversed(target.outages.last[-_OUTAGES:]):
        yield _outage(outage)
    if target.note:
        yield Text(visible(target.note, 400), "note")
    if target.period is not None:
        yield from _period(target.period)


def _outage(outage: OutageRecord) -> Node:
    unobserved, evidence = outage.unobserved_minutes, outage.evidence[0]
    hidden = f", {count(unobserved)} minutes of it unobserved" if unobserved else ""
    when = f"{outage.start_utc} – {outage.end_utc or 'now'}"
    where = f"{visible(evidence.run, 120)} line {evidence.line}"
    return Text(
        f"{when} · {count(outage.failed_probes)} failed probes{hidden}; {where}",
        "outage",
        "" if outage.end_utc else "fail",
    )


def _period(period: WatchedPeriod) -> Iterator[Node]:
    yield Text(
        f"{period.period} ({period.time_zone or 'UTC'}) · contract"
        f" {visible(period.contract, 40)} · {count(period.observed_minutes)} of"
        f" {count(period.minutes)} minutes observed",
        "period",
        "strong",
    )
    for clause in period.clauses:
        yield Verdict(clause.verdict, "clause", f" so far: {clause_name(clause.text)}")
        if clause.judged:
            yield from _clause(clause)
    if (credit := period.credit) is not None:
        certain, most = (per_cent(each.share) for each in (credit.share, credit.at_most))
        yield Text(
            f"certain by now: {certain} of {visible(credit.base, 200)}; at most {most} by the"
            " period's end",
            "credit",
        )


def _clause(clause: WatchedClause) -> Iterator[Node]:
    yield Text(visible(clause.reason, 400), " ", "soft")
    if clause.measured:
        attained, worst, best, promised = (
            per_cent(share.share if share else None)
            for share in (clause.attained, clause.worst, clause.best, clause.promised)
        )
        yield Text(
            f"attained {attained}; by the period's end {worst} at worst, {best} at best; promised"
            f" {promised}",
            " ",
        )
    if clause.budget_used is not None:
        yield from _budget(clause, clause.budget_used)


def _budget(clause: WatchedClause, used: float) -> Iterator[Node]:
    lasts = clause.budget_lasts_s
    if used >= 1:
        rest = "none of it is left"
    else:
        until = "to the period's end" if lasts is None else show_duration(lasts * S)
        rest = f"at the rate of the last hour it lasts {until}"
    yield Text(f"error budget used {per_cent(clause.budget_used, 1)}; {rest}", " ")
    for burn in clause.burn:
        long, short = (show_duration(each * 60 * S) for each in (burn.long_min, burn.short_min))
        rates = [
            ABSENT if rate is None else f"{rate:.1f}" for rate in (burn.long_rate, burn.short_rate)
        ]
        firing = ": FIRING" if burn.firing else ""
        if burn.firing and burn.coarse:
            firing += " (a single failure is enough at this rate)"
        yield Text(
            f"burn {long} {rates[0]}, {short} {rates[1]}, {burn.severity} above"
            f" {burn.threshold:.1f}{firing}",
            " ",
            "fail" if burn.firing else "soft",
        )
