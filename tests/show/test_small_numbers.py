"""Numbers that round to nothing, or beyond what the rows can tell, in the records' words."""

from __future__ import annotations

from bench.record.records.attribution import LaneAttribution, LevelRecord
from bench.record.records.routes import DrillRecord, RouteCost
from bench.show.attribution import attribution_result
from bench.show.document import Table
from bench.show.routes import route_lines
from tests.show.test_routes_page import RECORD


def test_a_share_that_rounds_to_zero_has_no_sign() -> None:
    """A limit of -0.1 % is 0, not -0; an odds ratio beyond a thousand is only
    that.
    """
    level = LevelRecord(
        factor="phase",
        level="burst",
        n=200,
        tail=3,
        share_of_tail=0.3,
        share_overall=0.2,
        lift=1.5,
        rate=0.015,
        rate_without=0.01,
        risk_ratio=1.5,
        odds_ratio=344_682.0,
        odds_ratio_95=(1.0, 1e6),
        odds_ratio_crude=344_682.0,
        paf=0.1,
        paf_95=(-0.001, 0.2),
        p_value=0.01,
        p99_ms=5.0,
        p99_95=(4.0, 6.0),
        p99_without_ms=1.0,
        mh_odds_ratio=1000.0,
        confounded=False,
        effect="associated",
    )
    record = LaneAttribution(
        metric="e2e",
        view="response",
        above_ms=800.0,
        by="limit",
        n=1000,
        tail=10,
        set_apart=0,
        failed={},
        blocks=30,
        confidence=0.95,
        levels=[level],
        causes=[],
        when=None,
        shapley=None,
        decomposition=None,
        confounded=[],
        reason=None,
    )
    [table] = [
        node for node in attribution_result({"t": record}, "r").nodes if isinstance(node, Table)
    ]
    (row,) = table.grid("html").rows
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
