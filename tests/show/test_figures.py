"""Which figures a lane gets, and what a reader may ask of each: held against counts made here."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from bench.record.samples import Outcome, Table
from bench.show.figures import lane_figures, lane_moments
from tests.support.made_runs import MS, Made, MakeRun, S, fail, rank, spoil_all

pytestmark = pytest.mark.figures


def drawn(made: Made, lane: int = 0) -> dict[str, str]:
    """The lane's figures by the end of their file's name."""
    name = made.run.lanes[lane].name
    clauses = made.verdicts.of_target(name)
    figures = lane_figures(made.run, lane, made.run.columns.lane(lane), clauses, 0.95)
    return {figure.file.removesuffix(".svg").split(f"{name}-")[1]: figure.svg for figure in figures}


def told(svg: str) -> list[tuple[float, float, str]]:
    """What a reader may ask of a figure: x, y and words of each reading."""
    lines = ET.fromstring(svg).attrib["data-readings"].split("\n")  # noqa: S314 our own figure
    return [(float(x), float(y), said) for x, y, said in (line.split(" ", 2) for line in lines)]


def number(text: str) -> float:
    """`1,234` as a number."""
    return float(text.replace(",", ""))


def words(svg: str) -> list[str]:
    """All texts of a figure."""
    return [
        "".join(node.itertext())
        for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314
    ]


def spell(schedule: Table, samples: Table) -> None:
    """Lane 0: from 12 to 15 s every other row fails, at 21 s a row waits for ever, of 24 to 26 s
    none was ever due.
    """
    mine = schedule["lane"] == 0
    broken = np.flatnonzero(mine & (schedule["due_ns"] >= 12 * S) & (schedule["due_ns"] < 15 * S))[
        ::2
    ]
    fail(samples, broken[::3], Outcome.rate_limited)
    fail(samples, broken[1::3], Outcome.http_5xx)
    fail(samples, broken[2::3], Outcome.http_5xx)
    fail(samples, np.flatnonzero(mine & (schedule["due_ns"] >= 21 * S))[:1], Outcome.censored)
    absent = mine & (schedule["due_ns"] >= 24 * S) & (schedule["due_ns"] < 26 * S)
    samples["due_ns"][absent], samples["sent_ns"][absent] = -1, -1
    fail(samples, np.flatnonzero(absent), Outcome.never_sent)


def test_a_lane_without_failures_has_no_figure_of_them(make_run: MakeRun) -> None:
    """Nor has a lane whose rows share one bucket a figure by bucket; the spectrum and the time
    stay.
    """

    def one_bucket(schedule: Table, samples: Table) -> None:
        schedule["bucket"] = 1

    figures = drawn(make_run(["only"], rows=300, spoil=one_bucket))
    assert set(figures) == {"ttft-percentiles", "e2e-percentiles", "e2e-over-time"}
    assert {"failures-over-time", "latency-by-bucket"} <= set(
        drawn(make_run(rows=300, spoil=spell))
    )


def test_every_window_counts_its_rows(make_run: MakeRun) -> None:
    """Each window of the figure of failures tells requests, failed and their classes as a count of
    the rows does.
    """
    made = make_run(rows=3000, spoil=spell)
    svg = drawn(made)["failures-over-time"]
    lane = made.run.columns.lane(0).measured().samples
    decided = lane[(lane["due_ns"] >= 0) & (lane["outcome"] != Outcome.censored)]
    assert 6 <= len(told(svg)) <= 60
    seen = Counter[str]()
    for _, _, said in told(svg):
        start, end = (number(part) * S for part in re.findall(r"[\d.]+", said.split(" s:")[0]))
        inside = decided[(decided["due_ns"] >= start) & (decided["due_ns"] < end)]
        lost = inside[inside["outcome"] != Outcome.ok]
        if not len(inside):
            assert said.endswith("none judged")
            seen["absent"] += 1
        elif not len(lost):
            assert said.endswith(f"{len(inside)} requests, none failed")
            seen["up"] += 1
        else:
            classes = {
                f"{times} {Outcome(kind).name}"
                for kind, times in Counter(lost["outcome"].tolist()).items()
            }
            assert f"{len(inside)} requests, {len(lost)} failed (" in said
            assert set(said.split("): ")[1].split(", ")) == classes
            seen["down"] += 1
    assert {"absent", "up", "down"} == set(seen)
    assert seen["absent"] >= 5  # the warm-up's three seconds and the two without a request
    counts = Counter(Outcome(kind).name for kind in decided["outcome"] if kind != Outcome.ok)
    assert {f"{name} {times}" for name, times in counts.items()} <= set(words(svg))


def test_a_spell_is_written_above_its_windows(make_run: MakeRun) -> None:
    """Half of the rows of three seconds failed: `50 %` above each of their windows, and nowhere
    else.
    """
    svg = drawn(make_run(rows=3000, spoil=spell))["failures-over-time"]
    assert [word for word in words(svg) if word.endswith(" %")] == ["50 %"] * 6


def test_windows_of_a_sparse_run_are_long_enough_to_hold_rows(make_run: MakeRun) -> None:
    """One request a second is not cut into half seconds, every other of which would look like a
    gap.
    """

    def first(schedule: Table, samples: Table) -> None:
        fail(samples, [20], Outcome.reset)

    svg = drawn(make_run(["only"], rows=60, seconds=60, spoil=first))["failures-over-time"]
    assert all("requests," in said or said.startswith("0 to") for _, _, said in told(svg))


def test_the_time_tells_every_row_that_came_due(make_run: MakeRun) -> None:
    """The windows over time add up to the lane's due rows, and the slowest of all is among the
    slowest of each.
    """
    made = make_run(rows=3000, spoil=spell)
    mine = made.run.columns.lane(0).samples
    said = [text for _, _, text in told(drawn(made)["e2e-over-time"])]
    assert (
        sum(number(re.findall(r": ([\d,]+) request", text)[0]) for text in said)
        == (mine["due_ns"] >= 0).sum()
    )
    slowest = (
        max(
            int(row["last_token_ns"] - row["due_ns"])
            for row in mine
            if row["outcome"] == Outcome.ok
        )
        / MS
    )
    assert max(
        number(each) for text in said for each in re.findall(r"answer ([\d,.]+) ms", text)
    ) == pytest.approx(slowest, rel=0.005)


def test_the_spectrum_tells_value_and_interval(make_run: MakeRun) -> None:
    """The percentile nearest p90: its value is that rank of the sorted rows, its interval scipy's
    order statistics.
    """
    made = make_run(["only"], rows=1500)
    rows = made.run.columns.measured().samples
    values = sorted(int(row["last_token_ns"] - row["due_ns"]) / MS for row in rows)
    n = len(values)
    texts = [said for _, _, said in told(drawn(made)["e2e-percentiles"])]
    said = min(texts, key=lambda text: abs(float(text[1:].split(":")[0]) - 90))
    share = round(float(said[1:].split(":")[0]) / 100 * n) / n
    low, high = int(binom.ppf(0.025, n, share)), int(binom.ppf(0.975, n, share)) + 1
    shown = [number(each) for each in re.findall(r"[\d,.]+", said.split(": ")[1])]
    expected = [values[round(share * n) - 1], values[low - 1], values[high - 1]]
    assert shown == pytest.approx(expected, abs=0.51)
    assert texts[-1].endswith("too few rows for an upper limit)")


def test_a_point_stands_where_its_axis_puts_it(make_run: MakeRun) -> None:
    """x of a reading of the spectrum is -log10(1 - q) on the axis' length, whatever the figure's
    resolution.
    """
    places = told(drawn(make_run(["only"], rows=1500))["e2e-percentiles"])
    n, width = 1350, 7.4 * 72
    right = math.ceil(math.log10(n) * 4) / 4
    for x, _, said in places:
        q = float(said[1:].split(":")[0]) / 100
        if q < 0.999:
            assert x == pytest.approx(width * (0.095 + 0.735 * -math.log10(1 - q) / right), abs=1)


@pytest.mark.parametrize("rows", [60, 3000])
def test_a_bucket_tells_its_quantiles(make_run: MakeRun, rows: int) -> None:
    """p50, p90 and p99 of each bucket are its ranks; the limits are scipy's, open where too few
    rows have none.
    """
    made = make_run(["only"], rows=rows)
    measured = made.run.columns.measured()
    by_name: dict[str, list[str]] = {
        said.split(" tokens, ")[0]: [] for _, _, said in told(drawn(made)["latency-by-bucket"])
    }
    for _, _, said in told(drawn(made)["latency-by-bucket"]):
        by_name[said.split(" tokens, ")[0]].append(said.split(" tokens, ")[1])
    assert list(by_name) == made.run.lanes[0].buckets
    for index, texts in enumerate(by_name.values()):
        mine = measured.samples[measured.schedule["bucket"] == index]
        values = sorted(int(row["last_token_ns"] - row["due_ns"]) / MS for row in mine)
        for said, q in zip(
            texts[3:], (0.5, 0.9, 0.99), strict=True
        ):  # the first three are of the time to first token
            assert said.startswith(f"p{100 * q:.0f}: ")
            value, low, *high = (
                number(each) for each in re.findall(r"[\d,.]+", said.split(": ")[1])
            )
            below, above = binom.ppf(0.025, len(values), q), binom.ppf(0.975, len(values), q) + 1
            assert value == pytest.approx(rank(values, q), abs=0.51)
            assert low == pytest.approx(values[int(below) - 1] if below else 0, abs=0.51)
            assert high == (
                [] if above > len(values) else [pytest.approx(values[int(above) - 1], abs=0.51)]
            )
    assert ("at least" in " ".join(map(str, by_name.values()))) == (rows == 60)


def test_a_quantile_among_the_failed_is_said_to_be_there(make_run: MakeRun) -> None:
    """A bucket of whose rows a fifth failed has a p50 and neither p90 nor p99."""

    def fifth(schedule: Table, samples: Table) -> None:
        fail(samples, np.flatnonzero(schedule["bucket"] == 2)[::5], Outcome.http_5xx)

    svg = drawn(make_run(["only"], rows=2000, spoil=fifth))["latency-by-bucket"]
    assert words(svg).count("p90, p99 among the failed") == 2
    assert sum("no answer" in said for _, _, said in told(svg)) == 4


def happened(made: Made, **facts: Any) -> list[tuple[float, str]]:
    """The moments of lane 0 of a run whose manifest has these facts."""
    made.run.manifest = made.run.manifest.replace(**facts)
    made.run.lanes[0] = made.run.lanes[0].replace(legs=[{"name": "eu-1"}])
    return [
        (moment.at_s, moment.says) for moment in lane_moments(made.run, 0, made.run.columns.lane(0))
    ]


def test_drills_breakers_and_first_failures_are_moments(make_run: MakeRun) -> None:
    """Those of the lane's own stage and name that took place, in the order of time, beside the
    first row of each class.
    """
    made = make_run(rows=3000, spoil=spell)
    drill = {"name": "cut", "stage": "chat", "begun_ns": 11 * S, "ok": True}
    change = {"lane": "standard", "leg": 0, "at_ns": 13 * S, "state": "open"}
    rows = made.run.columns.lane(0).samples
    first = {
        name: min(row["due_ns"] for row in rows if row["outcome"] == Outcome[name]) / S
        for name in ("rate_limited", "http_5xx")
    }
    assert happened(
        made,
        events=[drill, {**drill, "stage": "other"}, {**drill, "ok": False}],
        leg_events=[change, {**change, "lane": "pro"}],
    ) == [
        (11.0, "drill: cut"),
        (first["rate_limited"], "first rate_limited"),
        (first["http_5xx"], "first http_5xx"),
        (13.0, "breaker of eu-1 open"),
    ]


def test_a_fluttering_breaker_does_not_fill_the_figure(make_run: MakeRun) -> None:
    """Of a hundred changes a few are marked, and one says how many more there were."""
    changes = [
        {"lane": "only", "leg": 0, "at_ns": place * S // 10, "state": "open"}
        for place in range(100)
    ]
    found = happened(make_run(["only"], rows=300), leg_events=changes)
    assert len(found) < 12
    assert found[-1][1] == f"first of {100 - len(found) + 1} further changes of breakers"


@pytest.mark.parametrize(
    ("state", "early", "says"),
    [
        ("interrupted", None, "interrupted"),
        ("complete", "cap of 5 USD", "ended before its plan (cap of 5 USD)"),
    ],
)
def test_a_run_that_broke_off_says_where(
    make_run: MakeRun, state: str, early: str | None, says: str
) -> None:
    """Its last moment known is marked and stands in the key below the figure."""
    made = make_run(["only"], rows=300, state=state)
    last = float(made.run.columns.samples["done_ns"].max()) / S
    assert happened(made, ended_early=early) == [(last, says)]
    assert any(
        f"1 {says}".replace(" ", "\u00a0") in word for word in words(drawn(made)["e2e-over-time"])
    )


def test_all_failed_is_shown_as_such(make_run: MakeRun) -> None:
    """Every window of measured rows says that all of them failed."""
    svg = drawn(make_run(["only"], rows=600, spoil=spoil_all))["failures-over-time"]
    found = [
        re.search(r"(\d+) requests, (\d+) failed \(100 %\): (\d+) refused", said)
        for _, _, said in told(svg)
    ]
    assert sum(int(each[1]) for each in found if each and each[1] == each[2] == each[3]) == 540


def test_hours_are_told_in_hours(make_run: MakeRun) -> None:
    """A run of eight hours has an axis, windows and moments in h, not in tens of thousands of
    seconds.
    """

    def late(schedule: Table, samples: Table) -> None:
        fail(samples, [1500], Outcome.dns)

    made = make_run(["only"], rows=2000, seconds=8 * 3600, spoil=late)
    svg = drawn(made)["e2e-over-time"]
    assert any(word.startswith("due time, h after") for word in words(svg))
    assert "1 first dns, 6 h".replace(" ", "\u00a0") in words(svg)
    assert all(" h: " in said for _, _, said in told(svg))
