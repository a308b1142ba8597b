"""How slow, when and why: answers and graphics of small runs whose numbers are written by hand."""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.judge.review import Records, records_of
from bench.record.records.attribution import Cause
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from bench.show.document import Bullets, Section, Table
from bench.show.graphics.causes import Cards
from bench.show.graphics.dots import Dots
from bench.show.graphics.panel import Axis, Panel, Panels
from bench.show.graphics.strip import HeatStrip, StageStrips, level
from bench.show.lanes import lane_views
from bench.show.slow import slow_section
from bench.show.when import DOTS_MOST, when_section
from bench.show.why import merged, why_section
from tests.support.rows_by_hand import (
    MS,
    Row,
    answered,
    at_most,
    contract_of,
    failed,
    lane_of,
    run_of,
)

EVIL = "<b>u</b>\u202e" + "w" * 200


def how_slow(run: Run, records: Records) -> Iterator[Section]:
    return slow_section(lane_views(run, records))


def when_slow(run: Run, records: Records) -> Iterator[Section]:
    return when_section(run, lane_views(run, records))


def why_slow(run: Run, records: Records) -> Iterator[Section]:
    return why_section(run, records, lane_views(run, records))


SECTIONS = (how_slow, when_slow, why_slow)


def second(at: int, e2e: int = 100, lane: int = 0, n: int = 10) -> list[Row]:
    """Requests of one second."""
    return [answered(e2e, due=1000 * at + 1000 * each // n, lane=lane) for each in range(n)]


def with_outage(lane: int = 0) -> list[Row]:
    """A minute of ten a second: from 20 to 30 s nine take 2 s and one fails."""
    rows = [row for at in range(60) for row in second(at, 2000 if 20 <= at < 30 else 100, lane)]
    for at in range(20, 30):
        rows[10 * at] = failed(Outcome.http_5xx, due=1000 * at, lane=lane)
    return rows


def run_with(rows: list[Row], *names: str) -> tuple[Run, Records]:
    """A run over a minute in one phase, a lane a name."""
    lanes = [
        lane_of(
            contract_of(at_most(800)),
            name=name,
            end_ns=60_000 * MS,
            phases=["steady"],
            phase_spans=[
                {"phase": "steady", "start_ns": 0, "end_ns": 60_000 * MS, "warmup": False}
            ],
        )
        for name in names
    ]
    run = run_of(Path(tempfile.mkdtemp()) / "run", sorted(rows, key=lambda row: row["due"]), *lanes)
    return run, records_of(run)


@functools.cache
def outage() -> tuple[Run, Records]:
    """One target with an outage."""
    return run_with(with_outage(), "t")


@functools.cache
def beside() -> tuple[Run, Records]:
    """The same beside one with a hostile name, of which one in twenty is slow."""
    scattered = [row for at in range(60) for row in second(at, lane=1)]
    for at in range(0, 600, 20):
        scattered[at] = answered(900, due=100 * at, lane=1)
    return run_with([*with_outage(), *scattered], "t", EVIL)


def one(sections: object) -> Section:
    """The only section."""
    [found] = list(sections)  # type: ignore[call-overload]
    assert isinstance(found, Section)
    return found


def html(section: Section) -> str:
    """What its graphics draw."""
    return "".join(node.markup() for node in section.nodes if hasattr(node, "markup"))


def test_one_target_says_how_slow_when_and_why() -> None:
    """590 answers, 90 of them of 2 s; ten failed; all of it in ten of sixty seconds."""
    answers = [one(of(*outage())).answer for of in SECTIONS]
    assert answers == [
        (
            "99 of 100 answers began within 10 ms and were complete within 2 s; the slowest took"
            " 2 s. 10 of 600 failed."
        ),
        "90 of 600 took longer than 800 ms and 10 of 600 failed; all came between 20 s and 30 s.",
        "t: outage between 20 s and 30 s, 100 slow requests.",
    ]


def test_an_outage_stands_before_what_it_brings_with_it() -> None:
    """Its sentence is the card's first."""
    [cards] = one(why_slow(*outage())).of(Cards)
    [card] = cards.cards
    assert card.about == "100 of 600 over 800 ms"
    assert card.sentences[0] == (
        "Outage: all of them came between 20 s and 30 s, 10 http_5xx among them."
    )
    slow, other = card.spent
    assert (slow.whole, other.whole) == ("2,000 ms", "100 ms")


def test_several_targets_are_told_apart() -> None:
    """Who is over the limit, whose slow requests came together, whose are scattered."""
    slow, when, why = (one(of(*beside())) for of in SECTIONS)
    assert slow.answer.startswith("2 of 2 targets are over their limit of 800 ms at p99")
    assert "Means hide it: " in slow.answer
    assert when.answer.startswith("All 100 bad requests of t came between 20 s and 30 s; those of")
    assert when.answer.endswith(" are scattered.")
    [lines] = why.of(Bullets)
    assert lines.items[0] == "t: outage between 20 s and 30 s, 100 slow requests"


def test_panels_have_the_same_axes_and_strips_the_slices_of_the_rows() -> None:
    """Both targets on one pair of axes; a strip's counts are those of the seconds."""
    slow, when = one(how_slow(*beside())), one(when_slow(*beside()))
    [panels] = slow.of(Panels)
    assert len({each.panel.axis for each in panels.panels}) == 1
    assert [each.verdict for each in panels.panels] == ["FAIL", "FAIL"]
    [strips] = when.of(StageStrips)
    (_, _, first), (_, _, second_) = strips.rows
    assert list(first.requests) == [10] * 60
    assert list(first.bad) == [10 if 20 <= at < 30 else 0 for at in range(60)]
    assert list(first.failed) == [int(20 <= at < 30) for at in range(60)]
    assert list(second_.bad) == [int(at % 2 == 0) for at in range(60)]
    assert "10 of 60 slices of time have more than 1 % of requests over 800 ms" in first.says


def test_a_small_run_of_one_target_is_a_dot_a_request() -> None:
    """Failures have no latency; a larger one is a strip."""
    [dots] = one(when_slow(*outage())).of(Dots)
    assert len(dots.dots) == 600
    assert sum(ms is None for _, ms in dots.dots) == 10
    assert dots.limit_ms == 800
    large = [row for at in range(60) for row in second(at, n=DOTS_MOST // 60 + 1)]
    section = one(when_slow(*run_with(large, "t")))
    assert not section.of(Dots)
    assert section.answer == "Never: no request took longer than 800 ms or failed."
    assert len(section.of(StageStrips)) == 1


def test_a_summary_of_an_earlier_version_gives_the_same_page() -> None:
    """Without curves and slices they come from the rows."""
    run, records = beside()
    old = records.summary.replace(
        targets={
            name: target.without("curve", "slices")
            for name, target in records.summary.targets.items()
        }
    )
    for of in SECTIONS:
        now, then = (one(of(run, each)) for each in (records, _with(records, old)))
        assert (html(now), now.answer) == (html(then), then.answer)


def _with(records: Records, summary: object) -> Records:
    return Records(
        summary,  # type: ignore[arg-type]
        records.verdicts,
        records.attribution,
        records.comparisons,
        records.routes,
        records.census,
    )


def test_hostile_names_are_words() -> None:
    """Markup is escaped, what steers the reading direction is written out, length is cut."""
    for of in SECTIONS:
        drawn = html(one(of(*beside())))
        assert "<b>" not in drawn
        assert "\u202e" not in drawn
        assert "w" * 80 not in drawn


def test_graphics_are_light_and_say_what_they_show() -> None:
    """A panel about 2 kB, a strip 1 kB; each picture has a sentence."""
    [panels] = one(how_slow(*beside())).of(Panels)
    [strips] = one(when_slow(*beside())).of(StageStrips)
    assert max(len(each.panel.markup()) for each in panels.panels) < 2600
    assert max(len(strip.markup()) for _, _, strip in strips.rows) < 1800
    for of in SECTIONS:
        pictures = re.findall(r'role="img" aria-label="([^"]*)"', html(one(of(*beside()))))
        assert pictures
        assert all(re.search(r"\d", said) for said in pictures)


def test_nothing_answered_has_no_panels_and_no_reason() -> None:
    """Every request failed: no latency to show, but when it was."""
    rows = [failed(Outcome.refused, due=1000 * at) for at in range(60)]
    run, records = run_with(rows, "t")
    assert not list(how_slow(run, records))
    assert one(when_slow(run, records)).answer.startswith("60 of 60 failed")
    assert one(why_slow(run, records)).answer == "t: errors: 60 refused, 60 slow requests."
    empty = run_with([], "t")
    assert not [section for of in SECTIONS for section in of(*empty)]


def test_the_table_of_few_targets_asks_for_enough_rows() -> None:
    """600 rows have no p99.9."""
    [table] = one(how_slow(*outage())).of(Table)
    grid = table.grid("html")
    assert "p99.9 needs 1,000 requests" in table.caption
    assert "p99.9" not in grid.head
    row = dict(zip(grid.head, next(r for r in grid.rows if "end" in r[0]), strict=True))
    assert (row["p50"], row["p99"], row["max"]) == ("100", "2,000", "2,000")


@pytest.mark.parametrize(
    ("requests", "bad", "allowed", "expected"),
    [
        (0, 0, 0.01, None),
        (100, 0, 0.01, 0),
        (100, 1, 0.01, 1),
        (100, 2, 0.01, 2),
        (100, 10, 0.01, 2),
        (100, 50, 0.01, 3),
        (100, 51, 0.01, 4),
        (100, 20, 0.2, 1),
        (100, 21, 0.2, 3),
    ],
)
def test_a_slice_is_as_dark_as_its_share(
    requests: int, bad: int, allowed: float, expected: int | None
) -> None:
    """None without requests; grey within the budget, whatever it is."""
    assert level(requests, bad, allowed) == expected


def test_a_curve_leaves_through_the_top_where_requests_failed() -> None:
    """The path rises to the upper edge; the shape of a percentile without a number stands there."""
    panel = Panel(
        "s", [(0.5, 100.0), (0.9, 200.0), (0.9, None)], Axis(10, 1000), 800, (0.99, None, "FAIL")
    )
    drawn = panel.markup()
    curve = re.search(r'class="cur" d="([^"]*)"', drawn)
    assert curve
    assert curve[1].endswith("V7")
    assert 'class="m fail"' in drawn
    assert "more than half failed" in Panel("s", [(0.5, None)], Axis(10, 1000)).markup()


def test_an_axis_holds_all_values_and_a_decade() -> None:
    """Whatever is drawn; one value too."""
    axis = Axis.around([120.0])
    assert axis.high_ms / axis.low_ms == pytest.approx(10)
    wide = Axis.around([1.0, 50_000.0])
    assert 0 < wide.height(1.0) < wide.height(50_000.0) < 1
    assert [name for _, name in wide.ticks()] == ["0.001", "0.01", "0.1", "1", "10"]


def cause(factor: str, name: str, paf: float, share: float, overall: float) -> Cause:
    """A level that is named."""
    return Cause(
        factor=factor,
        level=name,
        paf=paf,
        paf_95=(paf, paf),
        share_of_tail=share,
        share_overall=overall,
    )


def test_levels_that_mark_the_same_requests_are_one_cause() -> None:
    """Three names of the second attempt; a region that half of them have stays by itself."""
    found = merged(
        [
            cause("attempts", "2", 1.0, 1.0, 0.05),
            cause("route leg", "fallback", 1.0, 1.0, 0.06),
            cause("served region", "eu-1", 0.4, 0.5, 0.1),
            cause("served model", "m", 1.0, 1.0, 0.05),
        ]
    )
    assert [each.name for each in found] == [
        "second attempt, upstream fallback, model m",
        "region eu-1",
    ]
    assert found[0].share_overall == 0.05


def test_a_strip_draws_a_path_a_level() -> None:
    """Neighbours of one level are one mark, a failure a foot."""
    strip = HeatStrip("says 1", [10, 10, 0, 10], [0, 0, 0, 10], [0, 0, 0, 1], 0.01)
    drawn = strip.markup()
    assert 'class="h0" fill="#e6eaee" d="M0 0h2v10h-2z"' in drawn
    assert 'class="h4" fill="#861a06" d="M3 0h1v10h-1z"' in drawn
    assert 'd="M3 8.2h1v1.8h-1z"' in drawn
    assert 'data-n="10,10,0,10/10/1"' in drawn
