"""What a user names for a census -> a request log.

In: names of log files, of a run's folder (`RUN` or `RUN:LANE`), or of a scenario with a `[census]`
table. Out: a `RequestLog`, and the contract and bill that come with a scenario; a scenario's month
judged, with its expected answers. Must stay true: a run's rows are those it came to, warm-up left
out; a made-up month is the same each time, row for row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from bench.errors import UserError
from bench.judge.census.census import Census, Coverage, census
from bench.judge.census.log import for_log
from bench.judge.left_out import facts_of
from bench.judge.reached import came_to
from bench.metrics import NAMES, known_from
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.contract import Contract, load_contract
from bench.plan.month import Month, load_month
from bench.plan.suite import match_clause
from bench.record.facts import Facts
from bench.record.records.verdicts import Expectation
from bench.record.request_log import Reading, RequestLog, read_log, sent_when_due
from bench.record.run_folder import Run
from bench.record.samples import Columns, Outcome, causes_of
from bench.userfile import builtin_names

#: What the rows of a run have.
_RUN_METRICS = frozenset(NAMES.values())


@dataclass(frozen=True)
class Source:
    """A log, and what a scenario brings with it."""

    log: RequestLog
    contract: Contract | None = None
    bill_usd: Decimal | None = None
    #: the log holds every request of its period
    complete: bool = False


def source_of(names: Sequence[str], reading: Reading) -> Source:
    """Read what is named. Raises UserError or RunFolderError."""
    folder, _, lane = (
        names[0].rpartition(":")
        if not Path(names[0]).exists() and ":" in names[0]
        else (names[0], "", "")
    )
    if Path(folder).is_dir():
        if len(names) > 1:
            raise UserError(
                "one run at a time",
                where=f"--census {names[1]}",
                remedy="merge the runs first",
            )
        return Source(log_of_run(Run(Path(folder)), lane))
    if len(names) == 1 and (names[0] in builtin_names("scenarios") or names[0].endswith(".toml")):
        found = load_month(names[0])
        if found is None:
            raise UserError(
                "is a scenario for a gateway, not a log",
                where=f"--census {names[0]}",
                remedy="run it, and give the run's folder",
            )
        month, path = found
        return Source(
            play_month(month, path.stem),
            load_contract(month.contract, path.parent),
            month.bill_usd or None,
            True,
        )
    return Source(read_log([Path(name) for name in names], reading))


def judge_month(month: Month, path: Path) -> tuple[Census, list[Expectation]]:
    """Play a scenario's month and hold it against its contract: the census, and the expectations
    as in verdicts.json.
    """
    log = play_month(month, path.stem)
    contract = for_log(load_contract(month.contract, path.parent), log)
    found = census(
        log,
        contract,
        coverage=Coverage(complete=True),
        bill_usd=month.bill_usd or None,
    )
    expects = []
    for expect in month.expect:
        number = match_clause(expect.clause, [clause.text for clause in contract.clauses])
        for period in found.record.periods:
            got = None if number is None else period.clauses[number].verdict
            expects.append(
                Expectation(
                    target=path.stem,
                    clause=expect.clause,
                    expected=expect.verdict,
                    got=got,
                    met=got == expect.verdict,
                )
            )
    return found, expects


def log_of_run(run: Run, lane: str = "") -> RequestLog:
    """One lane's rows. Raises UserError where the run has several and none is named."""
    known = [each.name for each in run.lanes]
    if lane not in known and (lane or len(known) > 1):
        raise UserError(
            f"has no target {lane!r}" if lane else "has several targets",
            where=f"--census {run.folder}",
            remedy=f"name one of {', '.join(f'{run.folder}:{each}' for each in known)}",
        )
    index = known.index(lane) if lane else 0
    columns = came_to(run).lane(index).measured()
    columns = columns.where(columns.samples["due_ns"] >= 0)
    order = np.argsort(columns.samples["due_ns"], kind="stable")
    if not len(order):
        raise UserError("holds no request", where=f"--census {run.folder}")
    columns = columns.where(order)
    facts = facts_of(run, run.lanes[index], columns)
    notes = [
        "lines are rows of the run, in the order of their due times",
        *(f"set aside: rows {why}" for why, _ in facts.aside),
    ]
    return RequestLog(
        columns,
        facts,
        [str(run.folder)],
        np.zeros(len(order), np.int64),
        order + 1,
        [],
        _RUN_METRICS,
        {},
        notes,
    )


def play_month(month: Month, name: str) -> RequestLog:
    """A made-up period as its log would be read: requests evenly apart in each minute, of which the
    first ones fail.

    Raises UserError for an incident that the traffic cannot have.
    """
    start = _minute(month.start)
    minutes = month.days * 24 * 60
    hour = (start + np.arange(minutes)) // 60 % 24
    n = np.array(month.requests_per_min, np.int64)[hour]
    failed = np.zeros(minutes, np.int64)
    status = np.zeros(minutes, np.int64)
    for incident in month.incidents:
        first = _minute(incident.start) - start
        last = first + incident.minutes
        if first < 0 or last > minutes or n[first:last].min() < incident.failed_per_min:
            raise UserError(
                "lies outside the period, or fails more requests than are made",
                where=f"{name}: incident at {incident.start:%Y-%m-%dT%H:%MZ}",
            )
        failed[first:last] = incident.failed_per_min
        status[first:last] = incident.status
    minute = np.repeat(np.arange(minutes), n)
    place = np.arange(len(minute)) - np.repeat(np.cumsum(n) - n, n)
    bad = place < failed[minute]
    due = minute * MINUTE_NS + place * (MINUTE_NS // np.maximum(n, 1))[minute]
    schedule, samples = sent_when_due(due)
    samples["done_ns"] = due + month.latency
    samples["outcome"] = np.where(bad, Outcome.http_5xx, Outcome.ok)
    samples["status"] = np.where(bad, status[minute], 200)
    samples["cause"] = causes_of(samples["outcome"], samples["status"])
    rows = len(due)
    return RequestLog(
        Columns(schedule, samples),
        Facts(start * MINUTE_NS),
        [name],
        np.zeros(rows, np.int64),
        np.arange(1, rows + 1),
        [],
        known_from(["latency"]),
        {},
        ["made up, not recorded"],
    )


def _minute(moment: datetime) -> int:
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) // 60
