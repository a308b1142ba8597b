"""Routes side by side, and rehearsed answers about them, on rows written down by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given as drawing
from hypothesis import strategies as st
from scipy import stats

from bench.judge.compare.decision import Limits
from bench.judge.routing.policies import expectations
from bench.judge.routing.standings import Apart, apart, lane_of, standing, told_apart
from bench.plan.route import RouteExpect
from bench.record.records.manifest import LaneRecord
from bench.record.records.routes import DrillRecord, Standing
from bench.record.records.verdicts import Expectation
from bench.record.run_folder import Run
from bench.record.samples import SCHEDULE_DTYPE, Columns, Outcome, empty_samples
from bench.units import MS
from tests.support.given import given
from tests.support.records import lane_record_of


def lane(name: str, *legs: str, expect: Any = ()) -> LaneRecord:
    route = {"legs": list(legs)} if legs else None
    return lane_record_of(
        name=name,
        target=name,
        route=route,
        legs=[{"name": leg} for leg in legs],
        expect_route_written=[
            RouteExpect.model_validate({"target": name, **each}).model_dump(mode="json")
            for each in expect
        ],
    )


def rows(times_ms: Any, failed: int = 0) -> Columns:
    """Answers that took so long, in an order of their own over ten minutes, then rows that failed
    at once.
    """
    n = len(times_ms) + failed
    samples = empty_samples(n)
    place = np.argsort(np.argsort(np.arange(n) * 0.618034 % 1))  # what follows lies far away
    samples["due_ns"], samples["outcome"] = place * 600 * MS, Outcome.ok
    took = np.asarray(times_ms) * MS
    samples["done_ns"][: len(times_ms)] = samples["due_ns"][: len(times_ms)] + took
    samples["outcome"][len(times_ms) :] = Outcome.http_5xx
    return Columns(np.zeros(n, SCHEDULE_DTYPE), samples)


def run_of(lanes: list[LaneRecord], columns: Columns) -> Run:
    """A run all of whose rows are its first lane's; a record of tables, as the judge reads it."""
    return cast("Run", SimpleNamespace(lanes=lanes, columns=columns, manifest={"run": "r"}))


def test_quantiles_and_interval_are_those_of_the_answers() -> None:
    """1 to 1,000 ms and 50 failures: p50 500, p99 990, p99.9 999; the interval's ranks are the
    binomial's.
    """
    made = lane_of(lane("x"), rows(np.arange(1, 1001), failed=50)).tail
    assert [made.p50_ms, made.p99_ms, made.p999_ms] == [500.0, 990.0, 999.0]
    assert made.interval == (
        stats.binom.ppf(0.025, 1000, 0.99),
        stats.binom.ppf(0.975, 1000, 0.99) + 1,
    )
    assert made.success == pytest.approx(1000 / 1050)


def test_limits_that_do_not_exist_are_none() -> None:
    """100 answers bound no p99 from above, no answer bounds nothing, and neither is told apart from
    anything.
    """
    few, none = (
        lane_of(lane("few"), rows(np.arange(1, 101))),
        lane_of(lane("none"), rows([], failed=3)),
    )
    assert few.tail.interval[1] is None
    assert (none.tail.p99_ms, none.tail.interval, none.tail.success) == (None, (None, None), 0.0)
    made = standing("s", [lane_of(lane("route", "few"), rows([5])), few, none])
    assert [each.longer_than for each in made.lanes] == [[], [], []]
    assert apart(few.arm, none.arm) is None


def side_by_side() -> Standing:
    """A target alone with a p99 near 4 s, a route that waits longer, one that waits less, one like
    the target alone.
    """
    body = np.linspace(200, 400, 1470)
    tails = {"alone": 4000, "slower": 4600, "faster": 1300, "alike": 4000}
    return standing(
        "s",
        [
            lane_of(
                lane(name, *(() if name == "alone" else ("alone", "spare"))),
                rows([*body, *np.linspace(at, at + 50, 45)], failed=10 if name == "alone" else 0),
            )
            for name, at in tails.items()
        ],
    )


def test_the_worst_route_is_named_and_held_against_no_route() -> None:
    """The longest first; only what is told apart is called longer; the bound says so, and the
    sentence names both shares answered.
    """
    made = side_by_side()
    assert made.worst == "slower"
    assert {each.target: each.against_first_leg for each in made.lanes} == {
        "slower": "longer",
        "alone": None,
        "alike": "not told apart",
        "faster": "shorter",
    }
    assert made.lanes[0].target == "slower"
    for each in made.lanes:
        low, high = each.bound
        assert (each.against_first_leg == "longer") == (low is not None and low > 1)
        assert (each.against_first_leg == "shorter") == (high is not None and high < 1)
        others = (other for other in made.lanes if other is not each)
        assert {told_apart(each, other) for other in others} <= {
            "longer",
            "shorter",
            "not told apart",
        }
    longest, worse = made.says
    assert longest.startswith("slower has the longest p99 of the routes: 4,6")
    assert "at least 1." in longest
    assert worse.startswith("slower makes the tail worse than no route at all")
    assert "100 % of the requests answered against 99.34 %" in worse


def test_routes_that_are_alike_have_no_worst() -> None:
    """Two routes with the same rows: nothing is called the longest."""
    made = standing("s", [lane_of(lane(name, "x", "y"), rows(np.arange(1, 1001))) for name in "ab"])
    assert made.worst is None
    assert made.says[0].startswith("no route's p99 is told apart")


def test_equal_routes_with_spells_of_their_own_are_seldom_told_apart() -> None:
    """Ten minutes of two lanes with one law, each with a few slow half-minutes of its own: the
    intervals of independent requests lie apart in a third of 12 runs, compare tells at most one
    apart.
    """
    disjoint = told = 0
    for seed in range(12):
        draw = np.random.default_rng(seed)
        made = []
        for name in "ab":
            took = draw.lognormal(5, 0.3, 2_000)
            columns = rows(took)
            at = columns.samples["due_ns"] / (1200 * 10**9)
            for start in draw.random(3):
                took[(abs(at - start) < 0.012) & (draw.random(2_000) < 0.6)] *= draw.uniform(4, 12)
            made.append(lane_of(lane(name, "x"), rows(took)))
        (low, high), (other_low, other_high) = (each.tail.interval for each in made)
        disjoint += given(low) > given(other_high) or given(high) < given(other_low)
        told += given(apart(made[0].arm, made[1].arm)).word != "not told apart"
    assert told <= 1 < disjoint


def answers(
    expect: dict[str, Any], columns: Columns | None = None, drills: Sequence[DrillRecord] = ()
) -> Expectation:
    run = run_of(
        [lane("slower", "alone", "spare", expect=[expect])],
        columns if columns is not None else rows([1]),
    )
    stages = [side_by_side()] if "p99_above" in expect else []
    (made,) = expectations(run, stages, drills)
    return made


def test_a_p99_is_expected_above_others() -> None:
    """Met where every named one is shorter; else each that is not is named, an unknown one too."""
    assert answers({"p99_above": ["faster", "alone"]}) == Expectation(
        target="slower",
        clause="e2e p99 against faster, alone",
        expected="longer",
        got="longer",
        met=True,
    )
    missed = answers({"p99_above": ["slower", "nobody"]})
    assert (missed.got, missed.met) == ("not told apart: slower, not measured: nobody", False)


@pytest.mark.parametrize(
    ("slow", "failed", "got"),
    [(3, 1, "PASS"), (3, 2, "INCONCLUSIVE"), (10, 0, "INCONCLUSIVE"), (10, 20, "FAIL")],
)
def test_a_p99_is_expected_within_a_limit(slow: int, failed: int, got: str) -> None:
    """Of 1,000 rows up to 4 may break it (Clopper-Pearson, 95 %), 16 or more disprove it; failures
    count as slow.
    """
    assert stats.beta.ppf(0.95, 5, 996) <= 0.01 < stats.beta.ppf(0.95, 6, 995)
    times = [100] * (1000 - slow - failed) + [2000] * slow
    made = answers({"p99_within": "1.5s"}, rows(times, failed))
    assert (made.clause, made.got, made.met) == (
        "response e2e p99 ≤ 1.5 s",
        got,
        got == "PASS",
    )


def drill(**more: Any) -> DrillRecord:
    cut = DrillRecord(
        target="slower",
        stage="s",
        event="cut",
        at_ns=0,
        ok=True,
        detect_ms=870.0,
        switch_ms=900.0,
        fail_back_ms=None,
        lost=0,
        unknown=0,
    )
    return cut.replace(**more)


@pytest.mark.parametrize(
    ("expect", "drills", "got", "met"),
    [
        ({"detect_within": "870ms"}, [drill()], "870 ms", True),
        ({"detect_within": "869ms"}, [drill()], "870 ms", False),
        ({"switch_within": "5s"}, [drill(), drill(switch_ms=6000.0)], "6 s", False),
        ({"switch_within": "5s"}, [drill(), drill(switch_ms=None)], "never", False),
        ({"fail_back_within": "5s"}, [drill()], "never", False),
        ({"detect_within": "5s"}, [], "no cut was carried out", False),
        ({"detect_within": "5s"}, [drill(ok=False)], "no cut was carried out", False),
        ({"lost_at_most": 2}, [drill(lost=1), drill(lost=1)], "2", True),
        ({"lost_at_most": 2}, [drill(lost=1, unknown=2)], "1, 2 unknown", False),
        ({"lost_at_most": 0}, [], "no cut was carried out", False),
        (
            {"lost_at_most": 0},
            [drill(ok=False, lost=None, unknown=None)],
            "no cut was carried out",
            False,
        ),
        ({"lost_at_most": 0}, [drill(), drill(ok=False, lost=None, unknown=None)], "0", False),
    ],
)
def test_a_drill_is_expected_to_be_borne(
    expect: dict[str, Any], drills: list[DrillRecord], got: str, met: bool
) -> None:
    """The slowest of all cuts counts; what never came, was not cut or is not known meets
    nothing.
    """
    made = answers(expect, drills=drills)
    assert (made.got, made.met) == (got, met)


@drawing(st.floats(0.01, 100), st.floats(0, 100), st.floats(0.01, 100) | st.just(math.inf))
def test_no_bound_denies_what_is_said_of_two_routes(ratio: float, one: float, two: float) -> None:
    """Longer beside a lower end above 1, shorter beside an upper one below it, and else both sides
    of it are open; seen from the other route the opposite is said.
    """
    limits = Limits(*sorted((one, two)))
    opposite = {"longer": "shorter", "shorter": "longer", "not told apart": "not told apart"}
    for seen in (found := Apart(ratio, limits), found.turned()):
        (low, high), confidence = seen.bound
        assert (low is not None and low > 1) == (seen.word == "longer")
        assert (high is not None and high < 1) == (seen.word == "shorter")
        assert confidence == (0.95 if seen.word == "not told apart" else 0.975)
    assert found.turned().word == opposite[found.word]
