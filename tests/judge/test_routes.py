"""Routes and drills in figures, on rows and attempts written down by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.api.cause import Cause
from bench.judge.routing.drills import BINS, drill_records, timeline
from bench.judge.routing.routes import route_record
from bench.record.records.events import DrillEvent, LegChange
from bench.record.records.manifest import LegRecord
from bench.record.records.routes import LegState, RouteCost, RouteRecord, RouteTokens
from bench.record.samples import (
    ATTEMPT_DTYPE,
    CAUSES,
    SCHEDULE_DTYPE,
    AttemptFlag,
    Columns,
    Outcome,
    Reason,
    Table,
    empty_samples,
)
from bench.units import MS, S
from tests.support.given import given
from tests.support.records import lane_record_of

CHEAP = {
    "input_usd_per_million": "1.00",
    "output_usd_per_million": "2.00",
    "as_of": "2026-11-23",
    "source": "made",
}
DEAR = {**CHEAP, "input_usd_per_million": "10.00", "output_usd_per_million": "20.00"}
LEGS = [
    LegRecord(name="cheap", model="c", prices_written=CHEAP),
    LegRecord(name="dear", model="d", prices_written=DEAR),
]
CARRIED, CANCELLED = AttemptFlag.CARRIED, AttemptFlag.CANCELLED


def rows(*ends: tuple[int, int, Outcome]) -> Columns:
    """(due ms, end ms, outcome) -> rows planned on leg 0 with prompts of 100 tokens, all served by
    model 0.
    """
    schedule, samples = np.zeros(len(ends), SCHEDULE_DTYPE), empty_samples(len(ends))
    schedule["prompt_tokens"] = 100
    for number, (due, end, outcome) in enumerate(ends):
        samples["due_ns"][number], samples["done_ns"][number] = due * MS, end * MS
        samples["outcome"][number] = outcome
    samples["served_model"] = 0
    return Columns(schedule, samples)


def tries(*calls: tuple[int, int, int, Reason, AttemptFlag, Outcome, int, int]) -> Table:
    """(row, leg, start ms, reason, flags, outcome, prompt, output) -> attempts, numbered within
    their row.
    """
    table = np.zeros(len(calls), ATTEMPT_DTYPE)
    for number, (row, leg, start, reason, flags, outcome, prompt, output) in enumerate(calls):
        table[number]["row"], table[number]["leg"], table[number]["reason"] = row, leg, reason
        table[number]["attempt"] = 1 + sum(call[0] == row for call in calls[:number])
        table[number]["flags"], table[number]["outcome"] = flags, outcome
        table[number]["start_ns"] = table[number]["sent_ns"] = start * MS
        table[number]["prompt_tokens"], table[number]["output_tokens"] = prompt, output
    return table


NONE = AttemptFlag(0)


def hedged() -> tuple[Columns, Table]:
    """Four rows: plain; hedged and won by the dear leg; refused by the cheap leg; lost on both."""
    columns = rows(
        (0, 200, Outcome.ok), (0, 400, Outcome.ok), (0, 300, Outcome.ok), (0, 50, Outcome.http_5xx)
    )
    return columns, tries(
        (0, 0, 0, Reason.first, CARRIED, Outcome.ok, 110, 10),
        (1, 0, 0, Reason.first, CANCELLED, Outcome.censored, -1, 4),
        (1, 1, 250, Reason.hedge, CARRIED, Outcome.ok, 100, 10),
        (2, 0, 0, Reason.first, NONE, Outcome.http_5xx, -1, -1),
        (2, 1, 10, Reason.error, CARRIED, Outcome.ok, 100, 10),
        (3, 0, 0, Reason.first, NONE, Outcome.http_5xx, -1, -1),
        (3, 1, 20, Reason.error, CARRIED, Outcome.http_5xx, -1, -1),
    )


def record(columns: Columns, attempts: Table, legs: list[LegRecord] = LEGS) -> RouteRecord:
    planned = columns.schedule[attempts["row"]]
    texts = {"served_model": ["c"], "served_tier": ["default", "priority"]}
    return route_record(columns, attempts, planned, lane_record_of(legs=legs), texts.__getitem__)


def test_a_policys_figures_by_hand() -> None:
    """Success 3 of 4; p50 300 ms; legs answered 1 and 2; one row billed twice: its loser's planned
    prompt and 4 tokens.
    """
    columns, attempts = hedged()
    attempts["served_tier"] = [1, -1, 0, -1, 1, -1, -1]
    attempts["cause"] = [
        -1 if cause is None else CAUSES.index(cause)
        for cause in (None, Cause.unknown, None, Cause.quota, None, Cause.server, Cause.overload)
    ]
    made = record(columns, attempts)
    assert [leg.tiers for leg in made.legs] == [{"priority": 1}, {"default": 1, "priority": 1}]
    assert [leg.causes for leg in made.legs] == [{"quota": 1, "server": 1}, {"overload": 1}]
    e2e = given(made.response_ms["e2e"])
    assert (made.success, e2e.p50, e2e.p99) == (0.75, 300.0, 400.0)
    assert [leg.answered for leg in made.legs] == [1, 2]
    assert made.legs[0].share_answered == pytest.approx(1 / 3)
    assert made.by_reason == {"first": 4, "error": 2, "hedge": 1}
    assert (made.double_billed, made.cancelled, made.attempts_per_request) == (1, 1, 7 / 4)
    assert made.tokens == RouteTokens(prompt=410, output=34, wasted_prompt=100, wasted_output=4)
    assert made.served_models == {"c": 1.0}


def test_the_bill_by_hand() -> None:
    """Cheap: (110 + 100 + 2·(10 + 4)) = 238; dear: 2·(1,000 + 200) = 2,400; wasted 108; plain
    answers 310 + 60 = 370 µUSD.
    """
    cost = record(*hedged()).cost
    assert cost.usd == pytest.approx(2638e-6)
    assert cost.wasted_usd == pytest.approx(108e-6)
    assert cost.added_usd == pytest.approx((2638 - 370) * 1e-6)
    assert cost.added_share == pytest.approx(2268 / 370)


def test_a_leg_without_a_price_gives_no_sum_and_says_whose() -> None:
    """None and the leg's name; a leg that was never used needs no price."""
    nameless = [LEGS[0], LEGS[1].replace(prices_written=None)]
    assert record(*hedged(), nameless).cost == RouteCost(usd=None, reason="no price for dear")
    columns, attempts = hedged()
    alone = record(columns.where(np.array([0])), attempts[:1], nameless)
    assert alone.cost.usd == pytest.approx(130e-6)


def test_a_policy_without_any_success_has_no_figures() -> None:
    """Empty sets are None, never 0."""
    made = record(rows((0, 10, Outcome.refused)), tries())
    assert (made.success, made.response_ms["e2e"], made.attempts) == (0.0, None, 0)
    assert (made.cost.usd, made.cost.added_share) == (0.0, None)


# ---- drills


def event(do: str, at_ms: int, **more: Any) -> DrillEvent:
    made = {"name": do, "stage": "s", "do": do, "done_ns": at_ms * MS, "ok": True}
    return DrillEvent(**{**made, **more})


def drilled() -> tuple[Columns, Table]:
    """Ten rows a second for 9 s, 100 ms each; leg 0 is cut at 3 s, noticed by row 31's error, left
    alone from row 33 on, back from row 75 on; row 30 is lost, 31 and 32 take 500 ms, the others on
    leg 1 take 150 ms.
    """
    ends, calls = [], []
    for number in range(90):
        due = number * 100
        on_other = 33 <= number < 75
        if number == 30:
            ends.append((due, due + 20, Outcome.http_5xx))
            calls.append((number, 0, due, Reason.first, CARRIED, Outcome.http_5xx, -1, -1))
        elif number in (31, 32):
            ends.append((due, due + 500, Outcome.ok))
            calls += [
                (number, 0, due, Reason.first, NONE, Outcome.http_5xx, -1, -1),
                (number, 1, due + 20, Reason.error, CARRIED, Outcome.ok, 100, 10),
            ]
        else:
            took = 150 if on_other else 100
            ends.append((due, due + took, Outcome.ok))
            reason = Reason.rerouted if on_other else Reason.first
            calls.append((number, int(on_other), due, reason, CARRIED, Outcome.ok, 100, 10))
    return rows(*ends), tries(*calls)


def test_a_drill_by_hand() -> None:
    """Cut done at 2.95 s, healed at 7 s: noticed after 170 ms, switched after 350 ms, back 500 ms
    after healing; of 40 rows one lost and 39 delayed, p50 up by 50 ms.
    """
    columns, attempts = drilled()
    (made,) = drill_records(
        columns, attempts, np.arange(90), [event("cut", 2950), event("heal", 7000)], []
    )
    assert (made.detect_ms, made.detected_by) == (170.0, "error")
    assert (made.switch_ms, made.fail_back_ms) == (350.0, 500.0)
    assert (made.requests, made.lost, made.delayed, made.unknown) == (40, 1, 39, 0)
    added = given(made.added_ms)
    assert added.mean == pytest.approx((37 * 150 + 2 * 500) / 39 - 100)
    assert (added.p50, added.p99) == (50.0, 400.0)
    assert made.double_billed == 0


def test_a_breaker_that_opens_first_is_what_noticed() -> None:
    """An opening at 3 s comes before the first fallback call; one before the cut belongs to
    something else.
    """
    columns, attempts = drilled()
    opened = [
        LegChange(lane="r", leg=0, at_ns=2 * S, state="open"),
        LegChange(lane="r", leg=0, at_ns=3 * S, state="open"),
        LegChange(lane="r", leg=0, at_ns=3 * S, state="half-open"),
    ]
    (made,) = drill_records(columns, attempts, np.arange(90), [event("cut", 2950)], opened)
    assert (made.detect_ms, made.detected_by) == (50.0, "breaker")
    assert (made.healed_ns, made.fail_back_ms) == (None, None)


def test_what_a_route_does_all_the_time_marks_no_moment() -> None:
    """A row that fell back on an error before the cut makes errors usual; the rerouting still
    tells.
    """
    columns, attempts = drilled()
    attempts["reason"][5] = Reason.error
    (made,) = drill_records(
        columns, attempts, np.arange(90), [event("cut", 2950), event("heal", 7000)], []
    )
    assert (made.detect_ms, made.detected_by) == (350.0, "rerouted")


def test_a_drill_that_never_happened_or_was_no_cut_has_no_record() -> None:
    """Marks without a moment and plain changes are no cuts; a lane that was never rerouted has no
    way back.
    """
    columns, attempts = drilled()
    silent = [event("cut", 1, done_ns=-1), event("change", 2950)]
    assert drill_records(columns, attempts, np.arange(90), silent, []) == []
    attempts["reason"][attempts["reason"] == Reason.rerouted] = Reason.first
    (made,) = drill_records(
        columns, attempts, np.arange(90), [event("cut", 2950), event("heal", 7000)], []
    )
    assert (made.switch_ms, made.fail_back_ms) == (None, None)


def test_a_drill_that_failed_measures_nothing() -> None:
    """A cut that failed has no figures and bounds no other's; a healing that failed healed nothing:
    the window runs on to the end.
    """
    columns, attempts = drilled()
    failed = [
        event("cut", 500, ok=False, name="refused"),
        event("cut", 2950),
        event("heal", 7000, ok=False),
    ]
    nothing, made = drill_records(columns, attempts, np.arange(90), failed, [])
    assert (nothing.event, nothing.ok) == ("refused", False)
    figures = nothing.to_json().keys() - {"target", "stage", "event", "at_ns", "ok"}
    assert {nothing.to_json()[key] for key in figures} == {None}
    assert (made.healed_ns, made.fail_back_ms, made.requests, made.lost) == (
        None,
        None,
        60,
        1,
    )


def test_a_cuts_own_cost_by_hand() -> None:
    """Of 40 rows planned on the cheap leg (120 µUSD an answer) one is lost and 39 are answered by
    the dear one at ten times that.
    """
    columns, attempts = drilled()
    columns.schedule["leg"] = 0
    (made,) = drill_records(
        columns, attempts, np.arange(90), [event("cut", 2950), event("heal", 7000)], [], LEGS
    )
    answered = int((columns.samples["outcome"][30:70] == Outcome.ok).sum())
    assert answered == 39
    cost = given(made.cost)
    assert cost.usd == pytest.approx(39 * 1200e-6)
    assert cost.added_usd == pytest.approx(39 * (1200 - 120) * 1e-6)
    assert cost.wasted_usd == 0.0


def test_a_timeline_by_hand() -> None:
    """90 rows over 9.6 s in 48 parts of 200 ms: two a part; who answered, the lost row's part, and
    each part's slowest.
    """
    columns, attempts = drilled()
    lane = lane_record_of(end_ns=9600 * MS, legs=LEGS)
    changes = [LegChange(lane="r", leg=0, at_ns=5, state="open", why="?")]
    made = timeline(columns, attempts, np.arange(90), lane, changes)
    assert (BINS, made.bin_ns) == (48, 200 * MS)
    assert made.requests == [2] * 45 + [0] * 3
    assert made.lost == [int(number == 15) for number in range(48)]
    cheap, dear = (leg.answered for leg in made.legs)
    assert cheap == [2] * 15 + [0] * 22 + [1] + [2] * 7 + [0] * 3
    together = [a + b + lost for a, b, lost in zip(cheap, dear, made.lost, strict=True)]
    assert together == made.requests
    assert made.p99_ms == [100.0] * 15 + [500.0] * 2 + [150.0] * 21 + [100.0] * 7 + [None] * 3
    assert made.states == [LegState(leg=0, at_ns=5, state="open")]
