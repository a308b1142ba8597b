"""The figures: what they say, what they leave open, and that they are the same each time."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from scipy.stats import binom

from bench.record.samples import Outcome, Table
from bench.show.plots.canvas import BLUE, limits_of
from bench.show.plots.over_time import latency_over_time
from bench.show.plots.spectrum import percentile_spectrum
from tests.support.made_runs import (
    Made,
    MakeRun,
    clause_of,
    fail,
    samples_of,
    schedule_of,
    spoil_all,
    spoil_some,
)

pytestmark = pytest.mark.figures

SVG = "{http://www.w3.org/2000/svg}"


def nodes(svg: str | None, tag: str) -> list[ET.Element]:
    """All elements of a kind in a figure, which is therefore well-formed."""
    assert svg is not None
    return list(ET.fromstring(svg).iter(f"{SVG}{tag}"))  # noqa: S314 made a line above


def texts(svg: str | None) -> list[str]:
    """All words of a figure."""
    return ["".join(node.itertext()) for node in nodes(svg, "text")]


def spectrum(made: Made, lane: int = 0, metric: str = "e2e") -> str | None:
    """The percentile figure of a lane as the report draws it."""
    clauses = made.verdicts.of_target(made.run.lanes[lane].name)
    return percentile_spectrum(
        made.run.columns.lane(lane).measured(), made.run.lanes[lane], metric, clauses
    )


def over_time(made: Made, lane: int = 0) -> str | None:
    """The figure over time of a lane as the report draws it."""
    return latency_over_time(
        made.run.columns.lane(lane),
        made.run.lanes[lane],
        "e2e",
        made.verdicts.clauses[:1],
    )


def test_the_same_rows_give_the_same_bytes_whatever_the_user_set(spoilt: Made) -> None:
    """A user's matplotlib settings change nothing, and nothing of ours stays behind in them."""
    import matplotlib as mpl

    first = spectrum(spoilt), over_time(spoilt)
    with mpl.rc_context(
        {
            "font.size": 30,
            "axes.facecolor": "red",
            "xtick.direction": "in",
            "axes.labelsize": 30,
            "svg.fonttype": "path",
        }
    ):
        assert (spectrum(spoilt), over_time(spoilt)) == first
        assert mpl.rcParams["font.size"] == 30


def test_a_figure_asks_its_question_and_names_units_and_limit(spoilt: Made) -> None:
    """Title, both axes with units, the limit with its percentile, in the page's own text colour."""
    svg = spectrum(spoilt)
    words = texts(svg)
    assert "How slow are the slowest? End-to-end latency of standard" in words
    assert "end-to-end latency, ms" in words
    assert {"limit 800 ms", "p99", "p99.9"} <= set(words)
    assert svg is not None
    assert "currentColor" in svg
    assert not re.search(r"#010203|#000000|<metadata|<dc:date", svg)


def test_the_spectrum_counts_failed_rows_and_leaves_warm_up_out(spoilt: Made) -> None:
    """The title of the axis holds all measured rows; the share shaded is that of the rows without
    success.
    """
    mine = spoilt.run.columns.lane(0)
    rows = [
        outcome
        for outcome, warm in zip(mine.samples["outcome"], mine.schedule["warmup"], strict=True)
        if not warm
    ]
    failed = sum(outcome != Outcome.ok for outcome in rows)
    words = " ".join(texts(spectrum(spoilt)))
    assert f"percentile of {len(rows):,} requests" in words
    shaded = re.search(r"shaded: ([\d.]+) % failed", words)
    assert shaded
    assert float(shaded[1]) == pytest.approx(100 * failed / len(rows), rel=0.005)


@pytest.mark.parametrize("rows", [40, 300, 1500])
def test_the_line_ends_where_no_upper_limit_exists(make_run: MakeRun, rows: int) -> None:
    """The last point of the line is the highest percentile whose 95 % interval scipy can close; the
    rest is a bound.
    """
    made = make_run(["only"], rows=rows)
    n = int((~made.run.columns.schedule["warmup"]).sum())
    last = max(k for k in range(1, n) if binom.ppf(0.975, n, k / n) + 1 <= n)
    svg = spectrum(made)
    lines = [
        node
        for node in nodes(svg, "path")
        if f"stroke: {BLUE}; stroke-width: 1.8" in node.get("style", "")
    ]
    x = float(re.findall(r"[ML] ([\d.]+) [\d.]+", lines[0].get("d", ""))[-1])
    right = max(1.0, math.ceil(math.log10(n) * 4) / 4)
    drawn = (x / (7.4 * 72) - 0.095) / 0.735 * right
    assert drawn == pytest.approx(-math.log10(1 - last / n), abs=0.01)
    assert "hatched: too few rows, at least the dashed line" in texts(svg)


def test_one_row_is_a_bound_and_not_a_line(make_run: MakeRun) -> None:
    """A single request draws, says so, and promises no percentile."""
    svg = spectrum(make_run(["only"], rows=1, seconds=1))
    assert "hatched: too few rows, at least the dashed line" in texts(svg)
    assert any(word.startswith("percentile of 1 request,") for word in texts(svg))


def test_every_class_of_failure_is_named_with_its_count(spoilt: Made) -> None:
    """The strip above the latencies holds each outcome but ok, counted as in the table."""
    outcomes = spoilt.summary.targets["standard"].outcomes
    assert len(outcomes) > 4
    words = texts(over_time(spoilt))
    assert {f"{name} {number}" for name, number in outcomes.items() if name != "ok"} <= set(words)
    assert {"warmup", "steady", "burst"} <= set(words)


def test_many_rows_become_one_image_of_bounded_size(make_run: MakeRun) -> None:
    """Few rows stay dots; 60,000 become a heat map that a page can carry."""
    few, many = (
        over_time(make_run(["only"], rows=2_000)),
        over_time(make_run(["only"], rows=60_000, seconds=600)),
    )
    assert few is not None
    assert many is not None
    assert (few.count("<image"), many.count("<image")) == (0, 1)
    assert len(many) < 150_000


def test_without_a_success_there_is_no_percentile_to_draw(make_run: MakeRun) -> None:
    """No spectrum, and over time the failures alone."""
    made = make_run(rows=60, spoil=spoil_all)
    assert spectrum(made) is None
    assert {"no request succeeded", "refused 60"} <= set(texts(over_time(made)))


def test_rows_that_never_came_due_leave_nothing_to_draw(make_run: MakeRun) -> None:
    """A session whose first turn failed has later turns without any time."""

    def never(schedule: Table, samples: Table) -> None:
        fail(samples, slice(None), Outcome.never_sent)
        samples["due_ns"] = -1

    assert over_time(make_run(rows=20, spoil=never)) is None


def test_the_slowest_answer_is_the_slowest_row(make_run: MakeRun) -> None:
    """Nothing trims the tail: the margin names the maximum, found here by a plain max."""
    made = make_run(["only"], rows=400)
    rows = made.run.columns.measured().samples
    slowest = max(int(row["last_token_ns"]) - int(row["due_ns"]) for row in rows) / 1e6
    assert f"{slowest:,.0f} ms" in texts(spectrum(made))


def test_hostile_names_leave_the_figure_well_formed(make_run: MakeRun) -> None:
    """Markup, mathematics, control and right-to-left characters in a name are words of the
    title.
    """
    made = make_run(["<b>$x$&\u202e\x1b[31m\x00", "b"], rows=100)
    assert any("<b>$x$&\\u202e\\x1b[31m\\x00" in word for word in texts(spectrum(made)))


def test_ids_do_not_clash_in_a_page(spoilt: Made) -> None:
    """Two lanes' figures side by side share no id, and every reference finds its own."""
    figures = [spectrum(spoilt, 0), spectrum(spoilt, 1), over_time(spoilt, 0), over_time(spoilt, 1)]
    together = "".join(figure for figure in figures if figure)
    ids = re.findall(r'\bid="([^"]+)"', together)
    assert ids
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', together)) <= set(ids)


def test_a_limit_of_another_view_or_metric_is_not_drawn(spoilt: Made) -> None:
    """A service limit has no place on a response axis."""
    lane, rows = spoilt.run.lanes[0], spoilt.run.columns.lane(0).measured()
    served = [spoilt.verdicts.clauses[0].replace(view="service")]
    assert not any(
        "limit" in word
        for word in texts(percentile_spectrum(rows, lane, "e2e", served))
        if "over every" not in word
    )
    assert not any(
        "limit 800" in word
        for word in texts(percentile_spectrum(rows, lane, "ttft", spoilt.verdicts.clauses))
    )


def test_a_share_of_requests_is_the_limit_of_a_quantile_and_that_of_windows_is_none() -> None:
    """98 % within 800 ms is drawn where 2 % are over; a promise on windows limits no request."""
    clause = clause_of("t", 1, "text", "e2e", statistic="share_of_requests", share=0.98)
    (limit,) = limits_of([clause.replace(limit_ms=800.0)], "e2e")
    assert limit.ms == 800
    assert limit.share_over == pytest.approx(0.02)
    windows = clause.replace(limit_ms=800.0, statistic="share_of_windows")
    assert limits_of([windows], "e2e") == []


def test_the_spoilt_run_is_what_it_claims() -> None:
    """The generator of these tests plants four kinds of failure in lane 0 and none in lane 1."""
    schedule = schedule_of(1200, 30, 2)
    samples = samples_of(schedule, 7)
    spoil_some(schedule, samples)
    assert len(np.unique(samples["outcome"][schedule["lane"] == 0])) == 5
    assert set(samples["outcome"][schedule["lane"] == 1]) == {Outcome.ok}
