"""What holds of every kind of clause, judged from a run: no bound denies its verdict, nothing is
made of nothing, and each says of which time it speaks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.judge.contract.verdict import judge_run
from bench.plan.clause import Clause
from bench.plan.kinds.kind import Kind
from bench.plan.kinds.registry import KINDS
from bench.record.records.verdicts import ClauseVerdict
from bench.record.samples import Outcome
from tests.support.clauses import WRITTEN
from tests.support.rows_by_hand import (
    MS,
    VALID,
    Row,
    answered,
    contract_of,
    cut,
    failed,
    lane_of,
    run_of,
)

MINUTE = 60_000
of_each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def verdict_of(
    folder: Path, rows: list[Row], kind: Kind, minutes: float, **more: Any
) -> ClauseVerdict:
    """The record of a run of so many minutes; `more` are keys of the lane."""
    span = {"phase": "calm", "start_ns": 0, "end_ns": int(minutes * MINUTE) * MS, "warmup": False}
    ladder = [{"below": "99%", "credit": "10%"}, {"below": "90%", "credit": "50%"}]
    clause = Clause.model_validate(WRITTEN[kind.name] | {"credit": ladder})
    contract = contract_of(clause, credits={"base": "the bill"})
    checked = {"expect_answer": {"json": True}}
    lane = lane_of(contract, phase_spans=[span], end_ns=span["end_ns"], profile=checked, **more)
    return judge_run(run_of(folder, rows, lane), VALID).clauses[0]


@of_each_kind
def test_rows_of_unknown_fate_decide_nothing(kind: Kind, tmp_path: Path) -> None:
    """All cut off at once in half an hour: no number, no credit, and that they are unknown."""
    rows = [cut(5, due=second * 1000) for second in range(1800)]
    found = verdict_of(tmp_path / "r", rows, kind, 30)
    assert (found.verdict, found.open_cause) == ("INCONCLUSIVE", "unknown_rows")
    assert (found.measured, found.projected_credit) == (None, None)
    assert found.unknown == found.n > 0
    assert found.p_limits == (0, 1)


@of_each_kind
def test_a_run_without_a_row_decides_nothing(kind: Kind, tmp_path: Path) -> None:
    """Nothing was due."""
    found = verdict_of(tmp_path / "r", [], kind, 30)
    assert (found.verdict, found.open_cause) == ("INCONCLUSIVE", "few_rows")
    assert (found.n, found.measured, found.bound) == (0, None, (None, None))
    assert (found.projected_credit, found.decide, found.scope) == (None, None, None)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.by_time], ids=lambda kind: kind.name
)
def test_less_than_one_stretch_is_none(kind: Kind, tmp_path: Path) -> None:
    """Half of the clause's window or minute, with every answer in time: no part counts as one."""
    minutes = Clause.model_validate(WRITTEN[kind.name]).unit_ns / MS / MINUTE / 2
    rows = [answered(100, due=at, tokens=20) for at in range(0, int(minutes * MINUTE), 100)]
    found = verdict_of(tmp_path / "r", rows, kind, minutes)
    assert (found.verdict, found.open_cause, found.n) == ("INCONCLUSIVE", "few_rows", 0)
    assert found.reason.startswith("the run covered no whole")
    assert found.projected_credit is None


def spoilt(rng: np.random.Generator, outage: int, single: float, cut_off: float) -> Iterator[Row]:
    """A row a second for half an hour: an outage of so many seconds, single errors beside it, and
    rows that were cut off.
    """
    begin = int(rng.integers(1800))
    for second in range(1800):
        due = second * 1000
        if begin <= second < begin + outage or rng.uniform() < single:
            yield failed(rng.choice((Outcome.http_5xx, Outcome.wrong_answer)), due=due)
        elif rng.uniform() < cut_off:
            yield cut(5, due=due)
        else:
            yield answered(100, due=due, tokens=50)


@of_each_kind
def test_no_bound_denies_the_verdict_of_a_run(kind: Kind, tmp_path: Path) -> None:
    """PASS where the end that could break it is within the limit, FAIL where the other end is
    beyond; and so the limits of the share that broke it.
    """
    rng = np.random.default_rng(len(kind.name))
    loads = [(0, 0, 0), (0, 0.002, 0), (30, 0.002, 0), (300, 0.01, 0.01), (1200, 0.3, 0)]
    for number, load in enumerate(loads):
        found = verdict_of(tmp_path / str(number), list(spoilt(rng, *load)), kind, 30)
        assert (found.p_limits[1] <= found.p0) == (found.verdict == "PASS")
        assert (found.p_limits[0] > found.p0) == (found.verdict == "FAIL")
        rising, promised = found.operator == ">=", found.promised
        assert promised is not None
        low, high = found.bound
        if rising:
            kept, broken = low is not None and low >= promised, high is not None and high < promised
        else:
            kept, broken = high is not None and high <= promised, low is not None and low > promised
            # of a quantile that lies among failures there is no number above the limit
            broken |= found.unit == "ms" and low is None and found.verdict == "FAIL"
        assert (kept, broken) == (found.verdict == "PASS", found.verdict == "FAIL")


@of_each_kind
def test_a_verdict_says_of_which_time_it_speaks(kind: Kind, tmp_path: Path) -> None:
    """Ten minutes at 5/s from a known moment on: at 1 % allowed what lasts longer than
    600 s × 1 % / ln 20 = 2.0 s may have been missed; a simulated run has no date.
    """
    rows = [answered(100, due=at, tokens=50) for at in range(0, 10 * MINUTE, 200)]
    scope = verdict_of(tmp_path / "r", rows, kind, 10).scope
    assert scope is not None
    assert scope.start_utc is not None
    assert scope.end_utc is not None
    assert (scope.duration_s, scope.rate_per_s, scope.of) == (600, 5, "run")
    assert scope.blind_spot_s == pytest.approx(6 / math.log(20))
    assert scope.assumed_outage_s == 300
    virtual = verdict_of(tmp_path / "s", rows, kind, 10, simulated=True).scope
    assert virtual is not None
    assert (virtual.start_utc, virtual.end_utc, virtual.duration_s) == (None, None, 600)
