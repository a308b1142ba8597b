"""One clause of a contract as one objective of OpenSLO v1, field by field, and back.

In: a clause or a period; a budgeting method, an objective, an indicator's spec or a time window.
Out: the other. Must stay true: numbers are read as they are written (`Fraction`), so that what is
written out is read back equal; what has no counterpart is refused with the field's name.

Source: the OpenSLO v1 specification; the mapping is methods 2.2.
"""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction
from typing import Any

from bench.errors import UserError
from bench.metrics import NAMES
from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS
from bench.plan.terms import Period
from bench.units import MS, S

#: `metricSource.type` of what this harness measures itself.
OURS = "tailproof"
#: Keys of a clause that define what is measured; they go into `metricSource.spec`.
_MEASURED = (
    "metric",
    "view",
    "statistic",
    "with_ttft",
    "of_window",
    "min_requests",
    "min_output_tokens",
    "failed",
    "excluding",
    "phase",
    "bucket",
)
_MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 10080}
_DAYS = {"d": 1, "w": 7, "M": 30, "Q": 90, "Y": 365}
_OPERATORS = {"lte": "<=", "gte": ">=", "lt": "<", "gt": ">"}
#: The least share that OpenSLO can ask of a slice: one success in any number that a minute can
#: hold.
_ANY_SUCCESS = Fraction(1, 10**9)


def table_of(value: Any, where: str) -> dict[str, Any]:
    """`value` itself. Raises UserError where it is no table."""
    if not isinstance(value, dict):
        raise UserError("must be a table of keys", where=where)
    return value


def window_of_period(period: Period | None) -> dict[str, Any]:
    """A time window; OpenSLO wants one, so without a period it is 30 rolling days."""
    if period is None or period.kind == "rolling":
        if period is None or period.days is None:
            days = 30
        else:
            days = period.days
        return {"duration": f"{days}d", "isRolling": True}
    start = f"2026-01-{period.starts_on_day or 1:02} 00:00:00"
    return {
        "duration": "1Q" if period.kind == "quarter" else "1M",
        "isRolling": False,
        "calendar": {"startTime": start, "timeZone": period.time_zone},
    }


def objective_of_clause(clause: Clause) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Budgeting method, objective and the indicator's spec of one clause that has a limit or a
    share.
    """
    kept = float(1 - clause.allowed_share)
    measured = clause.model_dump(mode="json", include=set(_MEASURED), exclude_defaults=True)
    measured = {key: measured[key] for key in _MEASURED if key in measured}
    if not clause.kind.has_values:
        named = "bad" if clause.metric == "error_share" else "good"
        ratio = {
            "counter": True,
            named: _source({**measured, "count": named}),
            "total": _source({**measured, "count": "total"}),
        }
        return (*_uptime(clause, kept), {"ratioMetric": ratio})
    if clause.at_least is not None:
        bound = clause.at_least
    else:
        bound = Fraction(clause.limit or 0, MS)
    op = "gt" if clause.rising else "lt"
    if not clause.strict:
        op += "e"
    objective: dict[str, Any] = {"op": op, "value": _number(bound), "target": kept}
    metric = {
        "thresholdMetric": _source({**measured, "unit": "tokens/s" if clause.rising else "ms"})
    }
    if clause.window is None:
        return "Occurrences", objective, metric
    # A window has one value, its statistic: that one must be within the limit.
    return (
        "Timeslices",
        {**objective, "timeSliceTarget": 1.0, "timeSliceWindow": _slice(clause.window)},
        metric,
    )


def _uptime(clause: Clause, kept: float) -> tuple[str, dict[str, Any]]:
    if not clause.by_time:
        return "Occurrences", {"target": kept}
    sliced = {"target": kept, "timeSliceWindow": _slice(clause.unit_ns)}
    if clause.kind.partial:
        return "RatioTimeslices", sliced
    good = clause.kind.good_from(clause)
    return "Timeslices", {
        **sliced,
        "timeSliceTarget": float(_ANY_SUCCESS if good is None else good),
    }


def _source(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metricSource": {"type": OURS, "spec": spec}}


def _number(value: Fraction) -> int | float:
    if value.denominator == 1:
        return int(value)
    return float(value)


def _slice(window_ns: int) -> str | int | float:
    minutes = Fraction(window_ns, MINUTE_NS)
    if minutes.denominator == 1:
        return f"{minutes}m"
    return _number(minutes)


def metric_source(indicator: dict[str, Any]) -> dict[str, Any]:
    """Where an indicator's values come from; of a ratio, those of its good, bad or raw part."""
    ratio = indicator.get("ratioMetric", {})
    part = (
        indicator.get("thresholdMetric")
        or ratio.get("good")
        or ratio.get("bad")
        or ratio.get("raw")
    )
    return table_of(table_of(part, "indicator").get("metricSource"), "indicator: metricSource")


def target_of(objective: dict[str, Any], where: str) -> Fraction:
    """The promised share of one.

    Raises UserError for 100 %, and unless it is given in exactly one way.
    """
    if ("target" in objective) == ("targetPercent" in objective):
        raise UserError("needs one of target, targetPercent", where=where)
    percent = "targetPercent" in objective
    if percent:
        target = _exact(objective, "targetPercent", where) / 100
    else:
        target = _exact(objective, "target", where)
    if not 0 <= target < 1:
        raise UserError("target must lie below 100 %", where=where)
    return target


def _exact(table: dict[str, Any], key: str, where: str) -> Fraction:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{key} must be a number, and is {value!r}", where=where)
    try:
        return Fraction(str(value))
    except ValueError:
        raise UserError(f"{key} must be a finite number", where=where) from None


def clause_of_objective(
    method: str,
    objective: dict[str, Any],
    indicator: dict[str, Any],
    where: str,
) -> dict[str, Any]:
    """The keys of a clause, from what OpenSLO itself has a place for."""
    spec = dict(table_of(metric_source(indicator).get("spec", {}), f"{where}: metricSource.spec"))
    unit = str(spec.pop("unit", "ms"))
    target = target_of(objective, where)
    spec.pop("count", None)
    if "thresholdMetric" not in indicator:
        errors = NAMES.get(str(spec.get("metric"))) == "error_share"
        clause = {**spec, "share": 1 - target if errors else target}
        if method != "Occurrences":
            clause |= {"method": "mean_of_intervals", "window": _slice_ns(objective, where)}
        if method == "Timeslices":
            clause |= {
                "method": "slice_ok",
                "slice_share": _exact(objective, "timeSliceTarget", where),
            }
        return clause
    if (op := str(objective.get("op"))) not in _OPERATORS:
        raise UserError(f"op must be one of {', '.join(_OPERATORS)}, and is {op!r}", where=where)
    factors = {"ms": MS, "s": S, "tokens/s": 1}
    if unit not in factors:
        raise UserError(f"unit {unit!r} is not known; write ms, s or tokens/s", where=where)
    value = _exact(objective, "value", where)
    bound: dict[str, Any]
    if unit == "tokens/s":
        bound = {"at_least": value}
        usual = "gte"
    else:
        bound = {"limit": f"{round(value * factors[unit])}ns"}
        usual = "lte"
    clause = {**spec, **bound, "operator": None if op == usual else _OPERATORS[op]}
    if method == "Occurrences":
        return clause | {
            "share" if spec.get("statistic") == "share_of_requests" else "quantile": target
        }
    if method == "RatioTimeslices" or _exact(objective, "timeSliceTarget", where) != 1:
        raise UserError(
            "a threshold by slices needs budgetingMethod Timeslices and timeSliceTarget 1",
            where=where,
        )
    return clause | {
        "statistic": "share_of_windows",
        "window": _slice_ns(objective, where),
        "share": target,
    }


def _slice_ns(objective: dict[str, Any], where: str) -> str:
    window = objective.get("timeSliceWindow")
    if isinstance(window, str):
        match = re.fullmatch(r"(\d+)([mhdw])", window)
        if match is None:
            raise UserError(
                f"timeSliceWindow {window!r} is no duration; write 5m, 1h or 1d", where=where
            )
        return f"{int(match[1]) * _MINUTES[match[2]]}min"
    return f"{round(_exact(objective, 'timeSliceWindow', where) * MINUTE_NS)}ns"


def period_of_window(windows: Any, where: str) -> dict[str, Any] | None:
    """The keys of a period from an SLO's `timeWindow`; None without one.

    Raises UserError for what no period is.
    """
    if windows is None:
        return None
    if not isinstance(windows, list) or len(windows) != 1:
        raise UserError("timeWindow needs exactly one entry", where=where)
    window = table_of(windows[0], f"{where}: timeWindow")
    match = re.fullmatch(r"(\d+)([dwMQY])", str(window.get("duration")))
    if match is None:
        raise UserError(
            f"timeWindow duration {window.get('duration')!r} is not whole days; write 30d, 4w"
            " or 1M",
            where=where,
        )
    if "calendar" not in window:
        return {"kind": "rolling", "days": int(match[1]) * _DAYS[match[2]]}
    calendar = table_of(window["calendar"], f"{where}: calendar")
    start = calendar.get("startTime")
    try:
        day = (start if isinstance(start, datetime) else datetime.fromisoformat(str(start))).day
    except ValueError:
        raise UserError(
            f"startTime {start!r} is no time; write 2026-01-01 00:00:00", where=where
        ) from None
    kind = {"1M": "calendar_month" if day == 1 else "billing_cycle", "1Q": "quarter"}.get(match[0])
    if kind is None:
        raise UserError(
            f"a calendar window of {match[0]} has no counterpart; a contract has months and"
            " quarters",
            where=where,
        )
    return {
        "kind": kind,
        "time_zone": calendar.get("timeZone"),
        **({"starts_on_day": day} if kind == "billing_cycle" else {}),
    }
