"""Uptime by the five methods: the published vector, bounds, resources, windows."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.judge.census.neighbours import uptime_neighbours, window_neighbours
from bench.judge.contract.uptime import (
    Minutes,
    attained,
    attained_means,
    attained_requests,
    minute_table,
)
from bench.plan.clause import Clause
from bench.plan.clause_keys import MINUTE_NS

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_file(), reason="the reference vectors are not here"
)
DOWN = {"method": "downtime_minutes", "error_rate": "5%", "minutes": 5}


def uptime(**terms: Any) -> Clause:
    return Clause.model_validate({"metric": "uptime", "share": "99.9%", **terms})


def minutes(
    n: list[Any],
    failed: list[Any],
    unknown: list[Any] | None = None,
    unobserved: list[int] | None = None,
) -> Minutes:
    """One resource, or a list of lists; `unobserved` are the minutes that nobody watched."""
    tables = [
        np.atleast_2d(np.array(each, np.int64)) for each in (n, failed, unknown or np.zeros_like(n))
    ]
    observed = np.ones(tables[0].shape[1], bool)
    observed[unobserved or []] = False
    return Minutes(0, tables[0], tables[1], tables[2], observed)


def vector(name: str) -> Any:
    return json.loads(REFERENCE.read_text())[name]


@needs_reference
@pytest.mark.parametrize(
    ("terms", "path"),
    [
        ({}, ("expected", "request_ratio")),
        (
            {"method": "mean_of_intervals", "window": "5min"},
            ("expected", "mean_of_5min_availability_empty_is_100"),
        ),
        (
            {"method": "mean_of_intervals", "window": "1min"},
            ("expected", "mean_of_1min_availability_empty_is_100"),
        ),
        (
            {"method": "mean_of_intervals", "window": "60min"},
            ("expected", "hourly_error_rate_mean"),
        ),
        (DOWN, ("expected", "downtime_gt5pct_for_5_consecutive_min", "uptime")),
        (DOWN | {"minutes": 1}, ("expected", "downtime_gt5pct_for_1_min", "uptime")),
        (
            DOWN | {"minutes": 1, "error_rate": "10%"},
            ("expected", "downtime_gt10pct_for_1_min", "uptime"),
        ),
        (
            {"method": "minute_all_fail"},
            ("expected", "minute_down_iff_all_attempts_fail", "uptime"),
        ),
        (
            {"method": "slice_ok", "window": "5min", "slice_share": "95%"},
            ("openslo", "Timeslices_5m_target_0_95"),
        ),
    ],
)
def test_one_log_has_the_uptimes_of_the_reference(
    terms: dict[str, Any], path: tuple[str, ...]
) -> None:
    """Each method gives the reference's figure for the same 60 minutes, and nothing unknown parts
    its bounds.
    """
    log = vector("uptime_definition_vector")
    found = attained(minutes(log["total_per_minute"], log["errors_per_minute"]), uptime(**terms))
    wanted = log
    for key in path:
        wanted = wanted[key]
    assert found.value == found.best == found.worst
    assert float(found.value or 0) * 100 == pytest.approx(wanted, rel=1e-6)


@needs_reference
def test_the_neighbours_are_the_six_definitions_of_the_reference() -> None:
    """97.98, 97.10, 95.83, 88.33, 80.00 and 98.33 % in this order, then OpenSLO's slices."""
    log = vector("uptime_definition_vector")
    table = minutes(log["total_per_minute"], log["errors_per_minute"])
    shown = [
        round(float(attained(table, each.clause).value or 0) * 100, 2)
        for each in uptime_neighbours("99.9%")
    ]
    assert shown == [97.98, 97.1, 95.83, 88.33, 80.0, 98.33, 83.33]


@needs_reference
def test_a_tenth_of_the_intervals_at_nine_tenths_is_99_per_cent_exactly() -> None:
    """AWS's own example: 864 of 8,640 five-minute intervals at 90 % make 99 %, with no rounding."""
    example = vector("aws_worked_example")
    errors = [1] * example["bad"] + [0] * (example["intervals"] - example["bad"])
    n, failed = (
        [each for value in values for each in (value, 0, 0, 0, 0)]
        for values in ([10] * len(errors), errors)
    )
    found = attained(minutes(n, failed), uptime(method="mean_of_intervals", window="5min"))
    assert found.value == Fraction(example["expected_uptime"]) / 100


@needs_reference
@pytest.mark.parametrize("number", range(6))
def test_unobserved_minutes_bound_the_month(number: int) -> None:
    """Best: all unobserved minutes up, worst: all down, to the minute."""
    row = vector("census_bounds")["rows"][number]
    failed = np.zeros(row["period_min"], np.int64)
    failed[: row["down_min"]] = 1
    hidden = list(range(row["observed_min"], row["period_min"]))
    found = attained(
        minutes([np.ones_like(failed)], [failed], unobserved=hidden),
        uptime(**DOWN | {"minutes": 1}),
    )
    assert float(found.best) * 100 == pytest.approx(row["best_case"], rel=1e-9)
    assert float(found.worst) * 100 == pytest.approx(row["worst_case"], rel=1e-9)
    assert found.value == 1 - Fraction(row["down_min"], row["observed_min"])
    assert found.observed_units == row["observed_min"]
    target = Fraction(999, 1000)
    verdict = "PASS" if found.worst >= target else "FAIL" if found.best < target else "INCONCLUSIVE"
    assert verdict == row["verdict"]


@needs_reference
def test_three_readings_of_p50_per_five_minutes() -> None:
    """Share of windows by median, share of requests, share of windows by mean: 75, 65 and 100 % of
    one log.
    """
    example = vector("latency_window_vector")
    clause = Clause.model_validate(
        {
            "metric": "output_tps",
            "statistic": "share_of_windows",
            "share": "99%",
            "window": "5min",
            "at_least": example["target_tps"],
            "operator": ">",
        }
    )
    speeds = np.array(example["windows"], np.float64)
    at = np.repeat(np.arange(4) * 5 * MINUTE_NS, 5)
    slow = (speeds <= example["target_tps"]).ravel()
    none = np.zeros(20, bool)
    table = minute_table(at, slow, none, (0, 20 * MINUTE_NS), np.ones(20, bool))
    by_window, by_request, by_mean = (each.clause for each in window_neighbours(clause))
    assert by_request.statistic == "share_of_requests"
    found = [
        attained(table, by_window),
        attained_requests(20, int(slow.sum()), 0, 0),
        attained_means(at, speeds.ravel(), ~none, table, by_mean),
    ]
    names = ("A_share_of_windows_with_p50", "B_share_of_requests", "C_mean_tps_per_window")
    wanted = [
        next(value for key, value in example.items() if key.startswith(f"reading_{name}"))
        for name in names
    ]
    assert [float(each.value or 0) * 100 for each in found] == wanted


def test_a_share_of_no_requests_is_unknown_and_may_be_anything() -> None:
    """Nothing sent and nothing that may have been: no value, between none kept and all kept."""
    found = attained_requests(0, 0, 0, 0)
    assert (found.value, found.best, found.worst) == (None, Fraction(1), Fraction(0))


def test_downtime_needs_its_run() -> None:
    """Four bad minutes in a row are no downtime, five are; an empty minute parts two runs; at 5 %
    sharp none is bad.
    """
    four, parted = [1, 1, 1, 1, 0, 1, 1, 1, 1, 0], [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
    assert attained(minutes([10] * 10, four), uptime(**DOWN)).value == 1
    assert (
        attained(minutes([10, 10, 10, 0, 10, 10, 10, 10, 10, 10], parted), uptime(**DOWN)).value
        == 1
    )
    assert attained(minutes([10] * 10, [1] * 5 + [0] * 5), uptime(**DOWN)).value == Fraction(1, 2)
    assert attained(minutes([20] * 10, [1] * 10), uptime(**DOWN)).value == 1


def test_unobserved_minutes_may_join_what_stands_beside_them() -> None:
    """Two bad minutes on each side of an unobserved one may have been a run of five; alone, one
    minute is none.
    """
    table = minutes([10] * 2 + [0] + [10] * 7, [9, 9, 0, 9, 9, 0, 0, 0, 0, 0], unobserved=[2])
    found = attained(table, uptime(**DOWN))
    assert (found.best, found.worst) == (Fraction(1), Fraction(1, 2))
    lonely = minutes([10, 10, 0, 10], [0] * 4, unobserved=[2])
    assert attained(lonely, uptime(**DOWN)).worst == 1


def test_empty_intervals_are_up_or_left_out() -> None:
    """With `empty` up they count as 100 %, excluded they do not count."""
    terms = {"method": "mean_of_intervals", "window": "1min"}
    table = minutes([10, 0, 0, 0], [5, 0, 0, 0])
    assert attained(table, uptime(**terms)).value == Fraction(7, 8)
    assert attained(table, uptime(**terms, empty="excluded")).value == Fraction(1, 2)
    assert attained(minutes([0, 0], [0, 0]), uptime(**terms, empty="excluded")).value is None


def test_resources_join_as_the_clause_says() -> None:
    """Two resources, one down in one of four minutes and idle in another: four figures by hand."""
    table = minutes([[9, 9, 9, 9], [1, 1, 0, 1]], [[0, 0, 0, 0], [0, 1, 0, 0]])
    terms = {"method": "downtime_minutes", "error_rate": "5%", "minutes": 1}
    found = {
        weight: attained(table, uptime(**terms, weight=weight)).value
        for weight in ("together", "mean", "least", "affected")
    }
    # together: 1 of 10 failed in minute 1; each: 100 % and 75 %; affected: half of the resources in
    # one of four minutes
    assert found == {
        "together": Fraction(3, 4),
        "mean": Fraction(7, 8),
        "least": Fraction(3, 4),
        "affected": Fraction(7, 8),
    }
    idle = minutes([[9, 9], [0, 1]], [[9, 0], [0, 0]])
    assert attained(idle, uptime(**terms, weight="affected")).value == Fraction(1, 2)
    assert attained(idle, uptime(**terms, weight="mean", empty="excluded")).value == Fraction(3, 4)


def test_windows_with_few_requests_say_nothing() -> None:
    """Below `min_requests` a window is neither kept nor broken."""
    terms = {
        "metric": "e2e",
        "statistic": "share_of_windows",
        "share": "99%",
        "window": "1min",
        "limit": "1s",
    }
    table = minutes([10, 3, 2, 0], [0, 3, 2, 0])
    assert attained(table, Clause.model_validate(terms)).value == Fraction(1, 3)
    assert attained(table, Clause.model_validate({**terms, "min_requests": 3})).value == Fraction(
        1, 2
    )
    assert attained(table, Clause.model_validate({**terms, "min_requests": 4})).value == 1


@pytest.mark.parametrize(("statistic", "most"), [("p50", 50), ("p90", 10), ("p95", 5), ("p99", 1)])
def test_a_window_holds_its_quantile_up_to_the_nearest_rank(statistic: str, most: int) -> None:
    """Of 100 requests a window bears as many misses as lie above the quantile, and not one more."""
    terms = {
        "metric": "e2e",
        "statistic": "share_of_windows",
        "share": "99%",
        "window": "1min",
        "limit": "1s",
        "of_window": statistic,
    }
    found = attained(minutes([100, 100], [most, most + 1]), Clause.model_validate(terms))
    assert (found.value, found.bad_units) == (Fraction(1, 2), 1)


def test_a_unit_as_long_as_the_log_is_one_episode() -> None:
    """A slice of two minutes that failed in its second begins with its first."""
    (episode,) = attained(
        minutes([10, 10], [0, 9]), uptime(method="slice_ok", window="2min", slice_share="80%")
    ).down
    assert (episode.start_ns, episode.end_ns, episode.n, episode.failed) == (
        0,
        2 * MINUTE_NS,
        20,
        9,
    )


def test_episodes_have_their_times_and_counts() -> None:
    """Each run of down minutes is one episode, with the requests in it; of a ratio, each run of
    minutes with a failure.
    """
    table = minutes([10] * 12, [0, 2, 2, 2, 2, 2, 0, 3, 0, 0, 0, 0])
    (episode,) = attained(table, uptime(**DOWN)).down
    assert (episode.start_ns, episode.end_ns, episode.n, episode.failed) == (
        MINUTE_NS,
        6 * MINUTE_NS,
        50,
        10,
    )
    assert [
        (each.start_ns // MINUTE_NS, each.failed) for each in attained(table, uptime()).down
    ] == [(1, 10), (7, 3)]


def test_rows_fall_into_their_minutes() -> None:
    """The last ns of a minute belongs to it, the first of the next does not; rows outside the span
    count nowhere.
    """
    at = np.array([0, MINUTE_NS - 1, MINUTE_NS, 2 * MINUTE_NS, 3 * MINUTE_NS])
    yes = np.ones(5, bool)
    table = minute_table(
        at, yes, ~yes, (0, 3 * MINUTE_NS), np.ones(3, bool), np.array([0, 1, 0, -1, 0])
    )
    assert table.n.sum(axis=0).tolist() == [2, 1, 1]
    assert table.failed.sum() == 4
    assert table.n.shape == (3, 3)
    for broken in ((1, MINUTE_NS), (0, MINUTE_NS + 1), (MINUTE_NS, MINUTE_NS), (MINUTE_NS, 0)):
        with pytest.raises(ValueError, match="whole minutes"):
            minute_table(at, yes, yes, broken, np.ones(1, bool))


CLAUSES = [
    uptime(),
    uptime(method="mean_of_intervals", window="2min"),
    uptime(**DOWN | {"minutes": 2}),
    uptime(method="minute_all_fail"),
    uptime(method="slice_ok", window="2min", slice_share="80%"),
    Clause.model_validate(
        {
            "metric": "e2e",
            "statistic": "share_of_windows",
            "share": "99%",
            "window": "2min",
            "limit": "1s",
        }
    ),
]


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.booleans()),
        min_size=2,
        max_size=9,
    ),
    st.sampled_from(CLAUSES),
    st.data(),
)
def test_bounds_hold_whatever_was_hidden(
    cells: list[tuple[int, int, int, bool]], clause: Clause, data: st.DataObject
) -> None:
    """Fill unobserved minutes with any traffic up to the busiest observed, decide the unknown: the
    truth is inside.
    """
    hidden = [place for place, cell in enumerate(cells) if cell[3]]
    seen = [
        (0, 0, 0) if at else (good + bad + unknown, bad, unknown)
        for good, bad, unknown, at in cells
    ]
    counts, bads, unknowns = (list(column) for column in zip(*seen, strict=True))
    found = attained(minutes(counts, bads, unknowns, hidden), clause)
    busiest = max(*(n for n, _, _ in seen), 1)
    n, failed = [], []
    for place, (count, bad, unknown) in enumerate(seen):
        count = data.draw(st.integers(0, busiest)) if place in hidden else count  # noqa: PLW2901
        n.append(count)
        failed.append(
            data.draw(st.integers(0, count))
            if place in hidden
            else bad + data.draw(st.integers(0, unknown))
        )
    truth = attained(minutes(n, failed), clause).value
    assert truth is None or found.worst <= truth <= found.best


#: (requests, failures) of a minute
Cell = tuple[int, int]


def unit_losses(
    cells: list[Cell], clause: Clause, counted: list[int]
) -> list[tuple[Fraction | None, bool]]:
    """What each unit of one resource lost and whether it had requests; None where it does not
    count, as a unit without a counted minute never does.
    """
    whole = clause.statistic == "quantile" and clause.method == "request_ratio"
    length = len(cells) if whole else clause.window // MINUTE_NS if clause.window else 1
    over = [n > 0 and Fraction(k, n) > (clause.error_rate or 0) for n, k in cells]
    losses: list[tuple[Fraction | None, bool]] = []
    for start in range(0, len(cells), length):
        inside = range(start, min(start + length, len(cells)))
        n, k = (sum(cells[at][which] for at in inside) for which in (0, 1))
        share = Fraction(k, n) if n else Fraction(0)
        empty = n == 0 and (
            whole or clause.empty == "excluded" or clause.statistic == "share_of_windows"
        )
        loss: Fraction | None
        if empty or not set(inside) & set(counted):
            loss = None
        elif clause.statistic == "share_of_windows":
            least = Fraction(clause.of_window[1:]) / 100
            loss = Fraction(1 - share < least) if n >= clause.min_requests else None
        elif whole or clause.method == "mean_of_intervals":
            loss = share
        elif clause.method == "slice_ok":
            loss = Fraction(1 - share < (clause.slice_share or 0))
        elif clause.method == "minute_all_fail":
            loss = Fraction(share == 1)
        else:
            first = start - next(
                (back for back in range(start + 1) if not over[start - back]), start + 1
            )
            last = start + next(
                (on for on in range(len(cells) - start) if not over[start + on]), len(cells) - start
            )
            loss = Fraction(over[start] and last - first - 1 >= (clause.minutes or 1))
        losses.append((loss, n > 0))
    return losses


def plainly(resources: list[list[Cell]], clause: Clause, counted: list[int]) -> Fraction | None:
    """The attained share of several resources, by plain loops; None where nothing counts."""
    if clause.weight == "together" or clause.statistic == "share_of_windows":
        resources = [
            [
                (sum(n for n, _ in cells), sum(k for _, k in cells))
                for cells in zip(*resources, strict=True)
            ]
        ]
    lost = [unit_losses(cells, clause, counted) for cells in resources]
    if clause.weight == "affected":
        of_units = []
        for unit in zip(*lost, strict=True):
            in_use = [loss for loss, active in unit if loss is not None and active]
            if any(loss is not None for loss, _ in unit):
                of_units.append(sum(in_use) / Fraction(max(len(in_use), 1)))
        return 1 - sum(of_units) / Fraction(len(of_units)) if of_units else None
    counts = [[loss for loss, _ in losses if loss is not None] for losses in lost]
    shares = [1 - sum(losses) / Fraction(len(losses)) for losses in counts if losses]
    if not shares:
        return None
    return min(shares) if clause.weight == "least" else sum(shares, Fraction(0)) / len(shares)


@pytest.mark.parametrize(
    "clause", CLAUSES, ids=lambda clause: clause.method if clause.metric == "uptime" else "windows"
)
@given(
    st.integers(2, 9).flatmap(
        lambda length: st.tuples(
            st.lists(
                st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=length, max_size=length),
                min_size=1,
                max_size=3,
            ),
            st.sets(st.integers(0, length - 1)),
        )
    ),
    st.integers(1, 3),
)
@settings(max_examples=12)
def test_value_and_bounds_are_those_of_plain_loops(
    clause: Clause, drawn: tuple[list[list[tuple[int, int, int]]], set[int]], least: int
) -> None:
    """The value leaves out unknown rows and units nobody watched; in the best and worst case an
    unobserved minute is as busy as the busiest, and all good or all bad, as are unknown rows.
    """
    for weight, empty in itertools.product(
        ("together", "mean", "least", "affected"), ("up", "excluded")
    ):
        equals_plain_loops(
            *drawn,
            clause.model_copy(update={"weight": weight, "empty": empty, "min_requests": least}),
        )


def equals_plain_loops(
    tables: list[list[tuple[int, int, int]]], hidden: set[int], clause: Clause
) -> None:
    """(good, bad, unknown) a minute and resource; the minutes that nobody watched."""
    seen = [
        [(0, 0, 0) if at in hidden else cell for at, cell in enumerate(cells)] for cells in tables
    ]
    columns = [
        [[cell[at] for cell in cells] for cells in seen] for at in range(3)
    ]  # good, bad, unknown
    n = (np.array(columns[0]) + columns[1] + columns[2]).tolist()
    found = attained(minutes(n, columns[1], columns[2], sorted(hidden)), clause)

    together = clause.weight == "together" or clause.statistic == "share_of_windows"
    sums = np.array(n).sum(axis=0, keepdims=True) if together else np.array(n)
    busiest = np.maximum(sums.max(axis=1), 1).tolist()
    every = list(range(len(n[0])))

    def filled(good: bool) -> list[list[Cell]]:
        """Together, the busiest minute of all is that of one resource, and the others had
        nothing.
        """
        fill = busiest + [0] * (len(seen) - len(busiest))
        return [
            [
                (fill[number], 0 if good else fill[number])
                if at in hidden
                else (sum(cell), cell[1] if good else cell[1] + cell[2])
                for at, cell in enumerate(cells)
            ]
            for number, cells in enumerate(seen)
        ]

    known = [[(good + bad, bad) for good, bad, _ in cells] for cells in seen]
    nothing = np.any(n) and not any(size for cells in known for size, _ in cells)
    value = plainly(known, clause, [at for at in every if at not in hidden])
    assert found.value == (None if nothing else value)
    best, worst = plainly(filled(True), clause, every), plainly(filled(False), clause, every)
    assert (found.best, found.worst) == (1 if best is None else best, 0 if worst is None else worst)
    assert found.value is None or found.worst <= found.value <= found.best
    if found.value is not None and len(known) == 1:
        losses = unit_losses(known[0], clause, [at for at in every if at not in hidden])
        assert found.bad_units == sum(loss is not None and loss > 0 for loss, _ in losses)


@given(
    st.lists(
        st.tuples(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=4), st.booleans()),
        min_size=2,
        max_size=8,
    ),
    st.integers(1, 3),
    st.integers(1, 9),
    st.sampled_from(["<=", "<"]),
)
def test_windows_by_their_mean_are_those_of_plain_loops(
    cells: list[tuple[list[tuple[int, bool]], bool]], least: int, limit: int, operator: str
) -> None:
    """A two-minute window counts from `least` known rows on and is bad where their mean is over the
    limit; a window with an unobserved minute or an unknown row may have been either.
    """
    clause = Clause.model_validate(
        {
            "metric": "e2e",
            "statistic": "share_of_windows",
            "share": "99%",
            "window": "2min",
            "of_window": "mean",
            "limit": f"{limit}s",
            "operator": operator,
            "min_requests": least,
        }
    )
    seen = [(rows if watched else [], watched) for rows, watched in cells]
    at = np.array(
        [minute * MINUTE_NS for minute, (rows, _) in enumerate(seen) for _ in rows], np.int64
    )
    values = np.array([value * 1e9 for rows, _ in seen for value, _ in rows])
    sure = np.array([known for rows, _ in seen for _, known in rows], bool)
    watched = np.array([watched for _, watched in seen])
    table = minute_table(at, np.zeros(len(at), bool), ~sure, (0, len(seen) * MINUTE_NS), watched)
    found = attained_means(at, values, sure, table, clause)

    good = bad = sure_good = sure_bad = either = 0
    for start in range(0, len(seen), 2):
        inside = seen[start : start + 2]
        known = [value for rows, _ in inside for value, known in rows if known]
        doubtful = any(not watched for _, watched in inside) or any(
            not known for rows, _ in inside for _, known in rows
        )
        mean = Fraction(sum(known), max(len(known), 1))
        broken = mean >= limit if operator == "<" else mean > limit
        if len(known) >= least:
            bad, good = bad + broken, good + (not broken)
        if len(known) >= least and not doubtful:
            sure_bad, sure_good = sure_bad + broken, sure_good + (not broken)
        either += len(known) >= least or doubtful
    assert (found.units, found.observed_units, found.bad_units) == (
        len(range(0, len(seen), 2)),
        good + bad,
        bad,
    )
    assert found.value == (Fraction(good, good + bad) if good + bad else None)
    assert found.best == (1 - Fraction(sure_bad, either) if either else 1)


def test_observed_only_leaves_unobserved_time_aside() -> None:
    """Where the parties agreed on a coverage, only unknown rows part the bounds."""
    table = minutes([10, 10, 0], [0, 1, 0], [0, 1, 0], unobserved=[2])
    found = attained(table, uptime(), observed_only=True)
    assert (found.best, found.worst) == (Fraction(19, 20), Fraction(18, 20))
    assert attained(table, uptime()).worst < found.worst
