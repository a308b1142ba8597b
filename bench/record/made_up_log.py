"""A made-up period's request log: a `Month` as its log would be read.

In: a `Month`. Out: a `RequestLog`. Must stay true: it is the same each time, row for row.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from bench.errors import UserError
from bench.metrics import known_from
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.month import Month
from bench.record.facts import Facts
from bench.record.request_log import RequestLog, sent_when_due
from bench.record.samples import Columns, Outcome, causes_of


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
