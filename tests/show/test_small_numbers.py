"""Numbers that round to nothing, or beyond what the rows can tell, in the records' words."""

from __future__ import annotations

from bench.record.records.routes import DrillRecord, RouteCost
from bench.show.attribution import attribution_part
from bench.show.routes import route_lines
from tests.show.test_routes_page import RECORD


def test_a_share_that_rounds_to_zero_has_no_sign() -> None:
    """A limit of -0.1 % is 0, not -0; an odds ratio beyond a thousand is
    only that.
    """
    level = {
        "factor": "phase",
        "level": "burst",
        "effect": "associated",
        "paf": 0.1,
        "paf_95": [-0.001, 0.2],
        "share_of_tail": 0.3,
        "share_overall": 0.2,
        "odds_ratio": 344_682.0,
        "mh_odds_ratio": 1000.0,
        "p99_ms": 5.0,
        "p99_without_ms": 1.0,
    }
    record = {
        "n": 1000,
        "tail": 10,
        "view": "response",
        "metric": "e2e",
        "by": "limit",
        "above_ms": 800.0,
        "failed": {},
        "set_apart": 0,
        "reason": None,
        "causes": [],
        "levels": [level],
        "confounded": [],
        "when": None,
        "shapley": None,
        "decomposition": None,
    }
    [table] = attribution_part("t", record).tables
    (row,) = table.rows
    assert row[3] == "0 – 20 %"
    assert row[6:8] == ["> 1,000", "1,000"]


def test_a_drill_that_cost_next_to_nothing_is_not_cheaper() -> None:
    """-0.01 % of added cost is written without a minus."""
    cost = RouteCost(usd=1.0, wasted_usd=0.0, added_usd=-0.0001, added_share=-0.0001)
    drill = DrillRecord(
        target="r",
        stage="s",
        event="cut",
        at_ns=0,
        ok=True,
        detect_ms=1.0,
        lost=0,
        requests=5,
        cost=cost,
    )
    record = RECORD.replace(stages=[], drills=[drill], residency={})
    assert list(route_lines(record)) == [
        "cut, r: noticed after 1 ms, 0 of 5 requests lost, added cost +0.0 %"
    ]
