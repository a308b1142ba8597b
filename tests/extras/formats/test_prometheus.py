"""Burn-rate rules: thresholds of the reference, expressions that mean what they should, promtool's
structure.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import main
from bench.extras.formats.prometheus import HISTOGRAMS, burn_rate_rules
from bench.judge.census.episodes import BURN_ALERTS
from bench.plan.contract import Contract, load_contract
from bench.userfile import builtin_names
from tests.show.test_export_metrics import CONTRACT, metrics_of, scraped
from tests.support.made_runs import MakeRun, spoil_some

SHARED = Path(__file__).resolve().parents[3] / "../shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared vectors are not here")
UPTIME = {"metric": "uptime", "share": "99.9%"}
P99 = {"metric": "e2e", "quantile": "99%", "limit": "800ms"}
DURATION = "gen_ai_client_operation_duration_seconds"


def rules_of(*clauses: dict[str, Any], **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    made = Contract.model_validate({"title": "made", "name": "made", "clause": list(clauses)})
    file, told = burn_rate_rules(made, **options)
    return [rule for group in file["groups"] for rule in group["rules"]], told


@needs_shared
@pytest.mark.parametrize("days", [28, 30])
def test_thresholds_and_windows_are_those_of_the_reference(days: int) -> None:
    """Severity, windows and burn of every row, read back from the alert expressions."""
    reference = json.loads((SHARED / "stats_reference.json").read_text())["burn_rate"]["rows"]
    alerts = [rule for rule in rules_of(UPTIME, days=days)[0] if "Burn" in rule.get("alert", "")]
    hours = {"m": 1 / 60, "h": 1, "d": 24}
    assert len(alerts) == len(reference)
    for rule, row in zip(alerts, reference, strict=True):
        found = re.findall(r"rate(\d+)([mhd])\{[^}]*\} > \(([\d.]+) \* 0\.001\)", rule["expr"])
        assert [float(number) * hours[unit] for number, unit, _ in found] == pytest.approx(
            [row["long_window_h"], row["short_window_h"]]
        )
        assert [float(burn) for _, _, burn in found] == pytest.approx(
            [row[f"threshold_{days}d"]] * 2, rel=1e-6
        )
        assert " and " in rule["expr"]
        assert rule["labels"]["severity"] == row["severity"]


def test_the_period_of_the_contract_is_the_budgets() -> None:
    """A rolling contract of 28 days burns at 28-day thresholds unless --days says otherwise."""
    made = Contract.model_validate(
        {"title": "made", "clause": [UPTIME], "period": {"kind": "rolling", "days": 28}}
    )
    assert "> (13.44 * 0.001)" in str(burn_rate_rules(made)[0])
    assert "> (14.4 * 0.001)" in str(burn_rate_rules(made, days=30)[0])
    assert BURN_ALERTS[0].threshold(28) == Fraction(1344, 100)


def test_each_alert_names_the_traffic_below_which_one_error_raises_it() -> None:
    """99.9 % and a burn of 14.4: 1/(0.001 x 14.4) = 69.4, so 70 requests in 5 minutes are needed,
    0.233 a second.
    """
    (page, *_) = [rule for rule in rules_of(UPTIME)[0] if "alert" in rule]
    assert page["annotations"]["low_traffic"].startswith("below 0.233 requests/s (70 in 5m) ")


def evaluate(expr: str, window: str, series: dict[str, float]) -> float:
    """The expression's value when each series in it has this sum of rates; a series that is not
    there is empty.
    """
    text = re.sub(rf"sum\(rate\((\S+?)\[{window}\]\)\)", lambda match: f"value({match[1]!r})", expr)
    text = text.replace("or vector(0)", "+ 0").replace(" > 0)", ")")
    return float(eval(text, {"value": lambda name: series.get(name, 0.0)}))  # noqa: S307 our own text


def test_the_bad_share_counts_slow_and_failed_requests_once() -> None:
    """Of 100 requests a second 90 are fast, 4 of them failed: 14 % broke the limit; errors alone
    are 7 %.
    """
    bucket, count = f'{DURATION}_bucket{{le="0.8"}}', f"{DURATION}_count"
    failed = [
        f'{DURATION}_bucket{{le="0.8",error_type!=""}}',
        f'{DURATION}_count{{error_type!=""}}',
    ]
    series = {bucket: 90.0, count: 100.0, failed[0]: 4.0, failed[1]: 7.0}
    latency, errors = (
        rule for rule in rules_of(P99, UPTIME)[0] if rule.get("record", "").endswith(":rate1h")
    )
    assert evaluate(latency["expr"], "1h", series) == pytest.approx(0.14)
    assert evaluate(errors["expr"], "1h", series) == pytest.approx(0.07)
    without = {bucket: 90.0, count: 100.0}
    assert evaluate(latency["expr"], "1h", without) == pytest.approx(0.10)
    assert evaluate(errors["expr"], "1h", without) == 0


def test_names_and_matchers_are_the_users() -> None:
    """Own histogram, own selector, own way to tell a failure; a whole second is found as 1 and as
    1.0.
    """
    slow = {"metric": "tpot", "quantile": "99%", "limit": "1s"}
    rules, _ = rules_of(
        slow, histograms={"tpot": "my_seconds"}, selector='job="llm"', failed='status="error"'
    )
    expr = rules[0]["expr"]
    assert r'my_seconds_bucket{job="llm",le=~"1(\\.0)?"}[5m]' in expr
    assert r'my_seconds_bucket{job="llm",le=~"1(\\.0)?",status="error"}[5m]' in expr
    assert 'my_seconds_count{job="llm"}[5m]' in expr


@pytest.mark.parametrize(
    ("clause", "told"),
    [
        ({**P99, "report_only": True}, "no alert, report only"),
        ({**P99, "metric": "tpot"}, "no alert, no histogram holds its share"),
        ({**P99, "phase": "burst"}, "no alert, no histogram holds its share"),
        (
            {"metric": "output_tps", "quantile": "99%", "at_least": "50/s"},
            "no alert, no histogram holds its share",
        ),
    ],
)
def test_clauses_that_no_rule_can_hold_are_named(clause: dict[str, Any], told: str) -> None:
    """No rule, and a sentence; a file without rules has no empty group."""
    rules, said = rules_of(clause)
    assert (rules, len(said)) == ([], 1)
    assert said[0].startswith("clause 1, ")
    assert told in said[0]


def test_stand_ins_and_hopeless_alerts_are_said() -> None:
    """Minutes are watched as requests; where half may be slow, no share of slow requests burns 14
    times the budget.
    """
    down = {**UPTIME, "method": "downtime_minutes", "error_rate": "5%", "minutes": 5}
    assert "counts time; its alerts watch the share of requests" in rules_of(down)[1][0]
    rules, told = rules_of({**P99, "quantile": "50%"})
    assert [rule["alert"] for rule in rules if "alert" in rule] == [
        "ErrorBudgetBurn3d",
        "ErrorBudgetNotMeasured",
    ]
    assert "3 of its alerts could never fire" in " ".join(told)


@pytest.mark.parametrize("name", builtin_names("contracts"))
def test_the_file_has_promtools_structure(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Groups of named rules; each records or alerts; every series that an alert reads is recorded,
    absence is watched.
    """
    made = load_contract(name)
    models = next((clause.models for clause in made.clauses if clause.models), ())
    chosen = [word for model in models[:1] for word in ("--model", model)]
    assert main(["export", name, "--format", "prometheus-rules", *chosen]) == 0
    file = yaml.safe_load(capsys.readouterr().out)
    assert set(file) == {"groups"}
    for group in file["groups"]:
        assert set(group) == {"name", "rules"}
        recorded = {
            (rule["record"], rule["labels"]["clause"])
            for rule in group["rules"]
            if "record" in rule
        }
        assert len(recorded) == sum("record" in rule for rule in group["rules"])
        for rule in group["rules"]:
            assert ("record" in rule) != ("alert" in rule)
            assert set(rule) <= {"record", "alert", "expr", "for", "labels", "annotations"}
            assert all(isinstance(value, str) for value in rule["labels"].values())
            assert rule["expr"].count("(") == rule["expr"].count(")")
            read = set(re.findall(r"tailproof:bad_share:rate\w+", rule["expr"]))
            assert {(record, rule["labels"]["clause"]) for record in read} <= recorded
        judged = {rule["labels"]["clause"] for rule in group["rules"]}
        assert sum(rule.get("alert") == "ErrorBudgetNotMeasured" for rule in group["rules"]) == len(
            judged
        )
    promised = [clause for clause in made.clauses if not clause.report_only]
    assert bool(file["groups"]) == any(
        clause.metric in ("uptime", "ttft", "e2e") for clause in promised
    )


def test_a_histogram_option_without_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """METRIC=NAME or a usage error, exit 2."""
    assert main(["export", "enterprise", "--format", "prometheus-rules", "--histogram", "e2e"]) == 2
    assert "'e2e' is not METRIC=NAME" in capsys.readouterr().err


def test_alerts_find_their_series_and_their_edge(make_run: MakeRun) -> None:
    """The burn-rate rules of the same contract read series and an `le` that the export has."""
    read = scraped(metrics_of(make_run(spoil=spoil_some, notes=["503"]))[1])
    assert {f"{name}_bucket" for name in HISTOGRAMS.values()} <= set(read)
    rules = str(burn_rate_rules(CONTRACT)[0])
    edges = set(re.findall(r'le="([^"]+)"', rules))
    assert edges == {"0.73"}
    assert edges <= {
        labels["le"] for labels, _ in read["gen_ai_client_operation_duration_seconds_bucket"]
    }
