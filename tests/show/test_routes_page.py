"""Drills, routes and regions on the page and on the last screen, from a record written by hand."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

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
from bench.show.best_route import routes_section
from bench.show.document import Bullets, Figure, Heading, Section, Table, Text
from bench.show.drills import drills_section
from bench.show.graphics.drill import DrillTracks
from bench.show.graphics.front import Front, Offer, unbeaten
from bench.show.residency import residency_section
from bench.show.routes import route_lines
from tests.support.made_runs import Made, verdicts_of

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


def drills(record: Routes = RECORD, limit: bool = False) -> Section:
    """The section of drills, the targets held to a limit or to none."""
    held = verdicts_of(["r", "alone"]).clauses if limit else []
    section = drills_section(record, held)
    assert section is not None
    return section


def test_the_drill_is_answered_in_a_sentence_and_a_row_each() -> None:
    """Who lost what, how soon it noticed, moved and came back, and what its first upstream lost
    alone; seconds in the table.
    """
    section = drills()
    assert section.answer == (
        "r lost none of 471 requests: it noticed after 0.87 s, failed over after 0.90 s and failed"
        " back 4.5 s after recovery; without a router 44 of 471 were lost."
    )
    (table,) = (each.grid("html") for each in section.of(Table))
    assert table.rows == [
        ["alone", "–", "–", "–", "–", "44", "77", "471", "+2,459 ms", "–", "3"],
        ["r", "0.87", "breaker", "0.9", "4.46", "0", "77", "471", "+2,459 ms", "+3.6 %", "3"],
    ]
    slow = RECORD.replace(drills=[drill("alone"), drill("r", detect_ms=76.0)])
    assert drills(slow).answer == (
        "r lost none of 471 requests: it noticed after 76 ms; without a router 77 of 471 were slow."
    )


def test_tracks_share_their_axes_and_lie_where_the_moments_were() -> None:
    """24 s from 0: the fault at 8 s is a third of the width, recovery two thirds; failed over 0.9 s
    after the one, failed back 4.46 s after the other; the last slice lost one of ten.
    """
    (tracks,) = drills().of(DrillTracks)
    assert [round(each.at, 4) for each in tracks.moments] == [0.3333, 0.6667]
    alone, routed = tracks.tracks
    assert [round(24 * each.at, 2) for each in routed.moments] == [8.9, 20.46]
    assert alone.moments == []
    assert alone.says == "alone: lost 1, worst 3.0 s, of 480 requests"
    assert alone.lost[-2:] == [0, 0.1]
    assert [each.name for each in routed.upstreams] == ["alone", "spare"]
    assert set(routed.upstreams[0].shares) == {0.5}
    markup = tracks.markup()
    assert markup.count('role="img"') == 3  # a track each, and who answered
    assert "left:33.33%" in markup
    # 18 slices without an answer end the line: as many points as slices with one
    drawn = re.findall(r'class="cur"[^>]* d="([^"]*)"', markup)
    assert [len(re.findall("[ML]", d)) for d in drawn] == [30, 30]


def test_one_limit_is_drawn_for_those_that_are_held_to_it() -> None:
    """Without a clause there is no dotted line and no zone."""
    (held,) = drills(limit=True).of(DrillTracks)
    assert {each.limit_ms for each in held.tracks} == {800.0}
    assert held.markup().count('class="zone"') == 2
    (free,) = drills().of(DrillTracks)
    assert 'class="zone"' not in free.markup()


def test_routes_are_a_row_each_and_the_answer_tells_best_and_worst(spoilt: Made) -> None:
    """One router against its first upstream alone; of two the shortest and the longest p99."""
    records = replace(spoilt.records, routes=RECORD)
    section = routes_section(records)
    assert section is not None
    assert section.answer == "r has a p99 of 4.4 s."
    (table,) = (each.grid("html") for each in section.of(Table))
    assert table.rows[0][:6] == [
        "r",
        "s",
        "alone 90\u00a0%, spare 10\u00a0%",
        "300",
        "4,430",
        "longer: at least 1.060 times (97.5 %)",
    ]
    assert section.of(Bullets)[0].items == ["r makes the tail worse than no route at all"]
    lanes = [lane("r", 4430.0), lane("q", 900.0), lane("alone", 13_500.0, routed=False, of="alone")]
    two = RECORD.replace(stages=[Standing(stage="s", worst=None, says=[], lanes=lanes)])
    found = routes_section(replace(records, routes=two))
    assert found is not None
    assert found.answer == (
        "Of the routers of s, q has the shortest p99, 0.90 s, and r the longest, 4.4 s."
    )
    assert found.of(Figure) == []  # nobody has a price
    assert routes_section(replace(records, routes=None)) is None
    assert routes_section(replace(records, routes=RECORD.replace(stages=[]))) is None


OFFERS = [
    Offer("cheap", 0.02, 4000.0, (3900.0, 4100.0), 0.0, "FAIL"),
    Offer("mended", 0.021, 1300.0, (None, None), 0.0, "FAIL"),
    Offer("dear", 0.2, 600.0, (590.0, None), 0.0, "PASS"),
    Offer("worse", 0.1, 1300.0, (1200.0, 1400.0), 0.0, "FAIL"),
    Offer("leaky <b>", 0.01, 500.0, (490.0, 510.0), 0.014, "PASS"),
]


def test_the_front_holds_whom_no_other_beats_in_both() -> None:
    """By hand: neither the dearer one that is no faster nor the one that loses requests."""
    assert [each.name for each in unbeaten(OFFERS)] == ["cheap", "mended", "dear"]
    svg = str(Front(OFFERS, 800.0, "says").markup())
    assert "leaky &lt;b&gt; 500 ms, 1.4 % lost" in svg
    said = [node.text for node in ET.fromstring(svg).iter() if node.text]  # noqa: S314 our own
    assert {"0.5 s", "1 s", "2 s", "0.02", "0.1", "USD per 1,000 answers"} <= set(said)


def test_names_of_points_that_lie_together_are_kept_apart() -> None:
    """Each a line below the one before, in the order of their p99; none is left out."""
    close = [
        Offer(f"n{ms}", 0.02, float(ms), (None, None), 0.0, "FAIL") for ms in (1000, 1010, 1020)
    ]
    svg = str(Front([*close, OFFERS[2]], None, "says").markup())
    names = re.findall(r'<text x="[^"]*" y="([^"]*)" text-anchor="start"[^>]*>(n\d+)', svg)
    assert [name for _, name in names] == ["n1020", "n1010", "n1000"]
    places = [float(y) for y, _ in names]
    assert [later - place for place, later in itertools.pairwise(places)] == [15.0, 15.0]


def test_answers_from_elsewhere_are_named() -> None:
    """All at home, or how many were not, and whose."""
    section = residency_section(RECORD)
    assert section is not None
    assert section.answer == "All 1,450 answers named an allowed region."
    rows = section.of(Table)[0].grid("html").rows
    assert rows == [["r", "eu-1", "target", "eu-1 1,450", "1,450", "0", "0"]]
    moved = residency_section(
        RECORD.replace(residency={"r": HOME.replace(elsewhere=12, unnamed=3)})
    )
    assert moved is not None
    assert moved.answer == (
        "12 of 1,450 answers came from elsewhere than is allowed: r. 3 named no region."
    )
    assert residency_section(RECORD.replace(residency={})) is None


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
    """No price, nothing noticed, never healed: said or shown as absent, and nothing breaks."""
    unpriced = RouteCost(usd=None, reason="no price for spare")
    bare = RECORD.replace(
        routes={"r": ROUTE.replace(cost=unpriced)},
        drills=[drill("r", healed_ns=None, delayed=None, added_ms=None, cost=unpriced)],
    )
    section = drills(bare)
    assert section.of(Heading)[0].text == "s: eu \\x1b[31m gone, never healed"
    rows = section.of(Table)[0].grid("html").rows
    assert rows == [["r", "–", "–", "–", "–", "0", "–", "471", "–", "–", "3"]]
    assert section.answer == "r lost none of 471 requests and did not notice the fault."
    assert list(route_lines(bare))[1].endswith(
        "r: the fault was not noticed, 0 of 471 requests lost"
    )
    assert drills_section(RECORD.replace(drills=[]), []) is None
    assert drills_section(None, []) is None


def test_a_drill_that_failed_is_said_first_and_shown_without_figures() -> None:
    """Its own words on the screen and in the section, no row among those that were measured."""
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
    section = drills(record)
    assert section.of(Table) == []
    assert section.of(DrillTracks) == []
    assert section.of(Text)[0].text == said
    assert section.answer == "eu \\x1b[31m gone was not carried out."
