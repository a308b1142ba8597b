"""A contract's clauses as Prometheus alerting rules on the error budget's burn rate.

In: a contract, the names of the histograms that the user's Prometheus holds. Out: a rules file as
plain tables, and the clauses that no such rule can hold. Must stay true: an alert fires only while
both its windows burn faster than its threshold; each states the request rate below which a single
error would raise it.

Source: multiwindow, multi-burn-rate alerts of the SRE workbook, methods 2.3:
burn = error share / budget, threshold = budget fraction x period / long window.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

from bench.judge.census.episodes import BURN_ALERTS, BurnAlert
from bench.metrics import METRICS
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.units import S, show_exact

#: Histograms by the names that OpenTelemetry's GenAI conventions have in Prometheus.
HISTOGRAMS: dict[str, str] = {}
for _metric in METRICS.values():
    for _series in _metric.series:
        if _series.name.startswith("gen_ai."):
            HISTOGRAMS[_metric.name] = _series.name.replace(".", "_") + "_seconds"


def burn_rate_rules(
    contract: Contract,
    histograms: dict[str, str] | None = None,
    selector: str = "",
    failed: str = 'error_type!=""',
    days: int | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """The rules file, and a sentence for each clause that is left out or only approximated.

    `selector` narrows every series, `failed` finds the failed requests; `days` is the period of the
    budget, by default the contract's own (30 days without one).
    """
    name = contract.name or "contract"
    names = HISTOGRAMS | (histograms or {})
    days = days or (contract.period.nominal_ns // (86400 * S) if contract.period else 30)
    rules: list[dict[str, Any]] = []
    notes = []
    for number, clause in enumerate(contract.clauses, 1):
        own = f"clause {number}, {clause.text}"
        series = _Series.of(clause, names, selector, failed)
        if clause.report_only or series is None:
            why = "report only" if clause.report_only else "no histogram holds its share"
            notes.append(f"{own}: no alert, {why}")
            continue
        if clause.by_time:
            notes.append(f"{own}: counts time; its alerts watch the share of requests")
        if series.fast:
            notes.append(
                f"{own}: its alerts count from the send, and need a bucket edge at"
                f" {float(clause.limit or 0) / S:g} s"
            )
        rows = [row for row in BURN_ALERTS if row.threshold(days) * clause.allowed_share < 1]
        if len(rows) < len(BURN_ALERTS):
            notes.append(
                f"{own}: allows so much that {len(BURN_ALERTS) - len(rows)} of its alerts could"
                " never fire; left out"
            )
        rules += _clause_rules(
            {"contract": name, "clause": str(number)},
            clause,
            series,
            days,
            rows,
        )
    return {"groups": [{"name": f"tailproof-{name}", "rules": rules}] if rules else []}, notes


@dataclasses.dataclass(frozen=True)
class _Series:
    """Counters of all requests, of the failed ones, and, for a latency, of the fast ones, failed or
    not.
    """

    total: str
    failed: str
    fast: str = ""

    @staticmethod
    def of(
        clause: Clause,
        names: dict[str, str],
        selector: str,
        failed: str,
    ) -> _Series | None:
        def counter(name: str, *matchers: str) -> str:
            inside = ",".join(matcher for matcher in (selector, *matchers) if matcher)
            return f"{name}{{{inside}}}" if inside else name

        if clause.phase or clause.bucket:
            return None
        if METRICS[clause.metric].unit == "share":
            count = names["e2e"] + "_count"
            return _Series(counter(count), counter(count, failed))
        if clause.metric not in names or clause.limit is None or clause.by_time:
            return None
        name = names[clause.metric]
        edge = show_exact(Fraction(clause.limit, S))
        # Clients write the edge of 1 s as "1" or as "1.0".
        le = f'le="{edge}"' if "." in edge else rf'le=~"{edge}(\\.0)?"'
        bucket = f"{name}_bucket"
        return _Series(counter(f"{name}_count"), counter(bucket, le, failed), counter(bucket, le))

    def bad_share(self, window: str) -> str:
        """PromQL; empty without traffic.

        Without a failed request there may be no series of them.
        """
        failed = f"(sum(rate({self.failed}[{window}])) or vector(0))"
        total = f"(sum(rate({self.total}[{window}])) > 0)"
        if self.fast:
            return f"1 - (sum(rate({self.fast}[{window}])) - {failed}) / {total}"
        return f"{failed} / {total}"


def _text(minutes: int) -> str:
    for size, unit in ((1440, "d"), (60, "h")):
        if minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"


def _clause_rules(
    labels: dict[str, str],
    clause: Clause,
    series: _Series,
    days: int,
    rows: list[BurnAlert],
) -> list[dict[str, Any]]:
    windows = sorted({row.long_min for row in rows} | {row.short_min for row in rows})
    rules: list[dict[str, Any]] = [
        {"record": _record(minutes), "expr": series.bad_share(_text(minutes)), "labels": labels}
        for minutes in windows
    ]
    matched = "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}"
    for row in rows:
        threshold = row.threshold(days)
        limit = f"({float(threshold)!r} * {float(clause.allowed_share)!r})"
        # One error among n requests burns 1/(n * budget): below this many it is over the threshold
        # by itself.
        least = math.ceil(1 / (clause.allowed_share * threshold))
        budget = show_exact(row.budget_fraction * 100)
        long = _text(row.long_min)
        short = _text(row.short_min)
        rules.append(
            {
                "alert": f"ErrorBudgetBurn{long}",
                "expr": (
                    f"{_record(row.long_min)}{matched} > {limit} and"
                    f" {_record(row.short_min)}{matched} > {limit}"
                ),
                "labels": {**labels, "severity": row.severity},
                "annotations": {
                    "summary": (
                        f"{clause.text}: {budget} % of the {days}-day error budget burns within"
                        f" {long}"
                    ),
                    "low_traffic": (
                        f"below {least / (row.short_min * 60):.3g} requests/s ({least} in {short}) "
                        "one error is over the short window's threshold"
                    ),
                },
            }
        )
    # Series that are not there raise no alert: without this one, a misspelt name would look like
    # perfect service.
    rules.append(
        {
            "alert": "ErrorBudgetNotMeasured",
            "expr": f"absent({series.fast or series.total})",
            "for": "1h",
            "labels": {**labels, "severity": "ticket"},
            "annotations": {
                "summary": f"{clause.text}: the series that its alerts watch do not exist"
            },
        }
    )
    return rules


def _record(minutes: int) -> str:
    return f"tailproof:bad_share:rate{_text(minutes)}"
