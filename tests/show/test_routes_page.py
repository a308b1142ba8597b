"""Routes and drills on the page and on the last screen, from a record written down by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from bench.record.records.routes import (
    AddedLatency,
    DrillRecord,
    FailedEvent,
    LaneTail,
    LegAnswers,
    LegCalls,
    ResidencyRecord,
    RouteCost,
    RouteRecord,
    Routes,
    RouteTokens,
    Standing,
    Timeline,
)
from bench.show.document import Figure, Pairs, Table, Text
from bench.show.plots.drill import drill_timeline
from bench.show.routes import policies_figure, route_lines, route_sections

pytestmark = pytest.mark.figures

S, BINS = 10**9, 48


def lane(target: str, p99: float | None, **more: Any) -> LaneTail:
    return LaneTail(
        **{
            "target": target,
            "routed": True,
            "of": target,
            "legs": ["alone", "spare"],
            "requests": 1000,
            "success": 0.99,
            "p50_ms": 300.0,
            "p99_ms": p99,
            "p999_ms": p99,
            "interval": [p99, None],
            "against_first_leg": "longer",
            **more,
        }
    )


def line(target: str, legs: list[str]) -> Timeline:
    return Timeline(
        stage="s",
        of=target,
        start_ns=0,
        bin_ns=S // 2,
        requests=[10] * BINS,
        lost=[0] * 47 + [1],
        p99_ms=[400.0] * 20 + [3000.0] * 10 + [None] * 18,
        legs=[LegAnswers(name=leg, answered=[5] * BINS) for leg in legs],
        states=[],
    )


def drill(target: str, **more: Any) -> DrillRecord:
    return DrillRecord(
        **{
            "target": target,
            "stage": "s",
            "event": "eu \x1b[31m gone",
            "at_ns": 8 * S,
            "ok": True,
            "healed_ns": 16 * S,
            "detect_ms": None,
            "detected_by": None,
            "switch_ms": None,
            "fail_back_ms": None,
            "requests": 471,
            "lost": 0,
            "unknown": 0,
            "delayed": 77,
            "added_ms": AddedLatency(mean=1.0, p50=1.0, p99=2459.0),
            "double_billed": 3,
            "cost": None,
            **more,
        }
    )


COST = RouteCost(usd=0.029, wasted_usd=0.0, added_usd=0.001, added_share=0.036)
ROUTE = RouteRecord(
    requests=1000,
    ok=990,
    success=0.99,
    response_ms={"ttft": None, "e2e": None},
    attempts=1032,
    attempts_per_request=1.032,
    by_reason={"first": 1000, "slow": 32},
    cancelled=0,
    legs=[
        LegCalls(
            leg=number, name=name, model="m", calls=1, answered=1, share_answered=share, outcomes={}
        )
        for number, (name, share) in enumerate([("alone", 0.9), ("spare", 0.1)])
    ],
    served_models={},
    tokens=RouteTokens(prompt=9, output=9, wasted_prompt=2048, wasted_output=512),
    double_billed=32,
    cost=COST,
)
HOME = ResidencyRecord(
    allowed=["eu-1"],
    by="target",
    checked=1450,
    elsewhere=0,
    unnamed=0,
    by_region={"eu-1": 1450},
)
RECORD = Routes(
    format=Routes.FORMAT,
    run="run",
    routes={"r": ROUTE},
    stages=[
        Standing(
            stage="s",
            worst="r",
            says=["r makes the tail worse than no route at all"],
            lanes=[
                lane("r", 4430.0, bound=(1.06, None), bound_confidence=0.975),
                lane("alone", None, routed=False, against_first_leg=None, success=0.0),
            ],
        )
    ],
    drills=[
        drill("alone", lost=44),
        drill(
            "r",
            detect_ms=870.0,
            detected_by="breaker",
            switch_ms=900.0,
            fail_back_ms=4460.0,
            cost=COST,
        ),
    ],
    timelines={"alone": line("alone", []), "r": line("r", ["alone", "spare"])},
    residency={"r": HOME},
    failed=[],
    expects=[],
)


def test_the_parts_say_what_the_record_holds() -> None:
    """Side by side, the drill, residency: in this order, each figure of the record in its
    column.
    """
    policies, borne, home = route_sections(RECORD)
    tail = ("the tail", "r makes the tail worse than no route at all")
    assert policies.of(Pairs)[0].items == [tail]
    tails, paid = (table.grid("html") for table in policies.of(Table))
    assert tails.rows == [
        ["r", "99 %", "300", "4,430", "4,430", "longer: at least 1.060 times (97.5 %)"],
        ["alone", "0 %", "300", "–", "–", "–"],
    ]
    assert paid.rows == [
        [
            "r",
            "alone 90 %, spare 10 %",
            "first 1,000, slow 32",
            "1.03",
            "0.029",
            "+3.6 %",
            "2,560",
            "32",
        ]
    ]
    (table,) = (each.grid("html") for each in borne.of(Table))
    assert table.rows == [
        ["alone", "–", "–", "–", "–", "471", "44", "77", "+2,459 ms", "–", "3"],
        [
            "r",
            "breaker",
            "870 ms",
            "900 ms",
            "4.46 s",
            "471",
            "0",
            "77",
            "+2,459 ms",
            "+3.6 %",
            "3",
        ],
    ]
    assert borne.of(Pairs)[0].items == [
        ("eu \\x1b[31m gone", "fault at 8.00 s after the run's start, recovery at 16.00 s")
    ]
    home_rows = home.of(Table)[0].grid("html").rows
    assert home_rows == [["r", "eu-1", "target", "eu-1 1,450", "1,450", "0", "0"]]
    assert [figure.file for part in (policies, borne, home) for figure in part.of(Figure)] == [
        "routes-00-p99.svg",
        "drill-00-00.svg",
    ]


def test_the_screen_says_the_same_in_a_line_each() -> None:
    """The longest tail; the routed lane's way through the drill; answers from elsewhere by name,
    else all at home.
    """
    said = list(route_lines(RECORD))
    assert said == [
        "r makes the tail worse than no route at all",
        (
            "eu \\x1b[31m gone, r: noticed after 870 ms, failed over after 900 ms, failed back"
            " 4.46 s after recovery, 0 of 471 requests lost, 77 delayed, added cost +3.6 %"
        ),
        "data residency: all 1,450 answers from allowed regions",
    ]
    moved = RECORD.replace(residency={"r": HOME.replace(elsewhere=12, unnamed=3)})
    assert (
        list(route_lines(moved))[-1]
        == "data residency of r: 12 of 1,450 answers from ELSEWHERE than allowed, 3 named no region"
    )


def test_what_never_came_is_absent() -> None:
    """No price, nothing noticed, never healed: said or shown as absent, and no figure breaks."""
    unpriced = RouteCost(usd=None, reason="no price for spare")
    bare = RECORD.replace(
        routes={"r": ROUTE.replace(cost=unpriced)},
        drills=[drill("r", healed_ns=None, delayed=None, added_ms=None, cost=unpriced)],
    )
    policies, borne, _ = route_sections(bare)
    assert policies.of(Table)[1].grid("html").rows[0][4:6] == ["–", "–"]
    assert borne.of(Pairs)[0].items[0][1].endswith("no recovery")
    borne_rows = borne.of(Table)[0].grid("html").rows
    assert borne_rows == [["r", "–", "–", "–", "–", "471", "0", "–", "–", "–", "3"]]
    assert list(route_lines(bare))[1].endswith(
        "r: the fault was not noticed, 0 of 471 requests lost"
    )
    assert route_sections(RECORD.replace(stages=[], drills=[], residency={})) == []


def test_a_drill_that_failed_is_said_first_and_shown_without_figures() -> None:
    """Its own words on the screen and beside the part's tables, no row among those that were
    measured.
    """
    failed = FailedEvent(
        name="eu \x1b[31m gone", stage="s", do="cut", detail="HTTP 400: no such region"
    )
    said = "drill eu \\x1b[31m gone of stage s FAILED: HTTP 400: no such region"
    record = RECORD.replace(
        failed=[failed], drills=[drill("r", ok=False, lost=None, requests=None)]
    )
    assert list(route_lines(record))[1:] == [
        said,
        "data residency: all 1,450 answers from allowed regions",
    ]
    borne = route_sections(record)[1]
    assert borne.of(Table) == []
    assert borne.of(Text)[0].text == said
    assert borne.of(Pairs)[0].items[0][1] == "was not carried out, so nothing was measured"


def words(svg: str) -> str:
    return " ".join(node.text or "" for node in ET.fromstring(svg).iter())  # noqa: S314 our own figure


def test_the_figures_name_lanes_legs_and_moments() -> None:
    """Every lane with an answer and its interval; the route beside its first leg alone; when it
    switched and was back.
    """
    svg = policies_figure(RECORD.stages[0])
    assert svg is not None
    assert "4,430" in words(svg)
    assert (
        policies_figure(Standing(stage="s", lanes=[lane("x", None)], worst=None, says=[])) is None
    )
    drawn = words(drill_timeline("r", RECORD.timelines, RECORD.drills))
    for text in ("switched +900 ms", "back +4.46 s", "alone", "spare", "not answered"):
        assert text in drawn
    assert "switched" not in words(
        drill_timeline("r", RECORD.timelines, [drill("r", healed_ns=None)])
    )
