"""A made-up period -> its request log, row for row.

In: a `Month`. Out: a `RequestLog`, as a file of that period would be read. Must stay true: in each
minute requests are evenly apart and the first ones fail; lines count from 1.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from bench.errors import UserError
from bench.metrics import known_from
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.month import Month
from bench.record.facts import Facts
from bench.record.request_log import RequestLog
from bench.record.samples import SCHEDULE_DTYPE, Columns, Outcome, empty_samples


def play_month(month: Month, name: str) -> RequestLog:
    """Every request of the period.

    Raises UserError for an incident that the traffic cannot have.
    """
    start = _minute(month.start)
    minutes = month.days * 24 * 60
    hour = (start + np.arange(minutes)) // 60 % 24
    n = np.array(month.requests_per_min, np.int64)[hour]
    failed, status = np.zeros(minutes, np.int64), np.zeros(minutes, np.int64)
    for incident in month.incidents:
        first = _minute(incident.start) - start
        if (
            first < 0
            or first + incident.minutes > minutes
            or n[first : first + incident.minutes].min() < incident.failed_per_min
        ):
            raise UserError(
                "lies outside the period, or fails more requests than are made",
                where=f"{name}: incident at {incident.start:%Y-%m-%dT%H:%MZ}",
            )
        failed[first : first + incident.minutes] = incident.failed_per_min
        status[first : first + incident.minutes] = incident.status
    minute = np.repeat(np.arange(minutes), n)
    place = np.arange(len(minute)) - np.repeat(np.cumsum(n) - n, n)
    bad = place < failed[minute]
    due = minute * MINUTE_NS + place * (MINUTE_NS // np.maximum(n, 1))[minute]
    schedule, samples = np.zeros(len(due), SCHEDULE_DTYPE), empty_samples(len(due))
    schedule["after_row"] = schedule["prefix_group"] = -1
    schedule["due_ns"] = due
    for column in ("due_ns", "slot_free_ns", "sent_ns"):
        samples[column] = due
    samples["done_ns"] = due + month.latency
    samples["outcome"] = np.where(bad, Outcome.http_5xx, Outcome.ok)
    samples["status"] = np.where(bad, status[minute], 200)
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
