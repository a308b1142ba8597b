"""Budgets of the harness on made-up rows, each reckoned by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.judge.compare.arms import arm_of
from bench.judge.contract.verdict import judge_run
from bench.judge.fitness import fitness
from bench.judge.health import Health, examine
from bench.judge.summary import summarise
from bench.record.records.harness import Harness
from bench.record.samples import SCHEDULE_DTYPE, Columns, Flag, Outcome, empty_samples
from bench.units import MS, S
from tests.support.rows_by_hand import answered, at_most, contract_of, lane_of, run_of


def rows(count: int, lags_ns: list[int] | None = None) -> Columns:
    """Sound rows due every ms, the last of them sent late by `lags_ns`."""
    samples = empty_samples(count)
    samples["due_ns"] = samples["slot_free_ns"] = np.arange(count) * MS
    samples["sent_ns"] = samples["due_ns"]
    late = lags_ns or []
    samples["sent_ns"][count - len(late) :] += np.array(late, np.int64)
    samples["outcome"], samples["flags"] = Outcome.ok, Flag.STREAMED
    return Columns(np.zeros(count, SCHEDULE_DTYPE), samples)


def state(columns: Columns, limit_ns: int | None = None, **harness: Any) -> str:
    """The verdict alone."""
    return examine(columns, Harness(**harness), limit_ns).state


@pytest.mark.parametrize(
    ("lag", "limit", "expected"),
    [
        (10 * MS, None, "valid"),
        (10 * MS + 1, None, "degraded"),
        (100 * MS, None, "degraded"),
        (100 * MS + 1, None, "invalid"),
        (8 * MS, 800 * MS, "valid"),
        (8 * MS + 1, 800 * MS, "degraded"),
        (80 * MS, 800 * MS, "degraded"),
        (80 * MS + 1, 800 * MS, "invalid"),
    ],
)
def test_lag_is_held_against_one_and_ten_per_cent_of_the_tightest_limit(
    lag: int, limit: int | None, expected: str
) -> None:
    """p99 at the budget is within it, a nanosecond above is not; without a limit it is 10 and 100
    ms.
    """
    # The nearest rank of p99 in 200 rows is the 198th: three late rows are needed to move it.
    assert state(rows(200, [lag] * 3), limit) == expected
    assert state(rows(200, [lag] * 2), limit) == "valid"


def test_a_few_rows_far_over_the_budget_leave_the_state_and_mark_the_verdicts() -> None:
    """One stall of 500 ms in 1,000 rows cannot move p99; clauses are then judged by service time
    too.
    """
    health = examine(rows(1000, [500 * MS]), Harness(), 800 * MS)
    assert (health.state, health.client_limited) == ("valid", True)
    assert not examine(rows(1000), Harness(), 800 * MS).client_limited


def test_waiting_behind_a_cap_is_not_ours() -> None:
    """Rows that waited 2 s for a slot and left at once have no harness lag; rows never given a slot
    are not ours either.
    """
    columns = rows(1000)
    columns.samples["slot_free_ns"] += 2 * S
    columns.samples["sent_ns"] += 2 * S
    waited_out = columns.samples[-200:]
    waited_out["slot_free_ns"] = waited_out["sent_ns"] = -1
    waited_out["outcome"] = Outcome.never_sent
    health = examine(columns, Harness(), 800 * MS)
    assert (health.state, health.client_limited) == ("valid", False)
    assert health.facts["never_sent"] == 200
    assert health.facts["harness_lag_max_ms"] == 0


@pytest.mark.parametrize(
    ("failed", "expected"), [(0, "valid"), (1, "degraded"), (50, "degraded"), (51, "invalid")]
)
def test_rows_that_could_not_be_sent_for_want_of_ports_are_ours(failed: int, expected: str) -> None:
    """Any is degraded, more than 5 % of what was due is not the load that was asked for."""
    columns = rows(1000)
    gone = columns.samples[:failed]
    gone["outcome"], gone["sent_ns"] = Outcome.never_sent, -1
    assert state(columns) == expected
    assert state(columns, state="interrupted") == "valid"


def test_what_was_cut_off_and_a_stepped_clock_degrade() -> None:
    """Censored rows and a wall clock that moved by more than 50 ms are said, with their numbers."""
    columns = rows(10)
    columns.samples["outcome"][0] = Outcome.censored
    cut = examine(columns, Harness(), None)
    assert cut.state == "degraded"
    assert "1 requests were still under way" in cut.reasons[0]
    assert state(rows(10), clock_step_ms=50.0) == "valid"
    assert state(rows(10), clock_step_ms=-50.1) == "degraded"
    assert state(rows(10), suspended_ms=50.0) == "valid"
    asleep = examine(rows(10), Harness(suspended_ms=61_000.0), None)
    assert (asleep.state, asleep.reasons) == (
        "degraded",
        ["the machine slept for 61,000 ms during the run, which no latency counts"],
    )


def test_a_stalled_loop_matters_where_the_kernel_does_not_stamp() -> None:
    """A stall above the budget degrades a run stamped in user space, not one stamped by the
    kernel.
    """
    stamped_late = rows(100)
    stamped_late.samples["flags"][:6] = Flag.STREAMED | Flag.USER_STAMP
    assert state(stamped_late, 800 * MS, loop_stall_max_ms=8.1) == "degraded"
    assert state(stamped_late, 800 * MS, loop_stall_max_ms=8.0) == "valid"
    assert state(rows(100), 800 * MS, loop_stall_max_ms=500.0) == "valid"


def test_facts_carry_the_harness_record_and_the_shares() -> None:
    """Counts and shares are those of the rows; what the probe said is kept beside them."""
    columns = rows(4)
    columns.samples["flags"][0] = Flag.STREAMED | Flag.TTFT_UPPER_BOUND
    facts = examine(columns, Harness(cpu_share=0.5), None).facts
    assert (
        facts["due"],
        facts["first_token_shared_read"],
        facts["first_token_shared_read_share"],
    ) == (4, 1, 0.25)
    assert facts["cpu_share"] == 0.5


def test_no_rows_at_all_are_no_crash() -> None:
    """An empty run is valid and says nothing."""
    assert examine(rows(0), Harness(), None) == Health(
        "valid", [], examine(rows(0), Harness(), None).facts, False
    )


def test_one_stage_that_was_sent_late_says_nothing_of_the_others(tmp_path: Path) -> None:
    """Of three stages the second is sent 200 ms late and the third was computed: the run is
    invalid, and so are the second's clauses alone.
    """
    contract = contract_of(at_most(800))
    lanes = [
        lane_of(contract, name=name, stage=name, simulated=name == "computed")
        for name in ("prompt", "late", "computed")
    ]
    rows = [
        {**answered(100, due=10 * place, lag=200 * (number == 1)), "lane": number}
        for number in range(3)
        for place in range(400)
    ]
    run = run_of(tmp_path / "r", rows, *lanes)
    health = fitness(run)
    assert health.state == "invalid"
    assert health.reasons[0].startswith("in stage late the harness itself sent late")
    found = judge_run(run, health)
    assert (found.overall, found.exit_code) == ("INVALID", 4)
    assert {clause.target: clause.verdict for clause in found.clauses} == {
        "prompt": "PASS",
        "late": "INCONCLUSIVE",
        "computed": "PASS",
    }
    unfit = summarise(run, health, found.overall).health.unfit
    assert list(unfit) == ["late"]
    assert unfit["late"].startswith("the harness itself sent late")
    said = [arm_of(run, index, "e2e").facts.unfit for index in range(3)]
    assert [each is None for each in said] == [True, False, True]
