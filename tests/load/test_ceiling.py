"""What a plan asks of a machine, and how many workers it gets by default."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench.errors import RunFolderError
from bench.load import ceiling
from bench.plan.arrival_laws import Arrivals
from bench.plan.profile import Amount, Profile
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.identity import machine_facts
from bench.record.records.calibration import Calibration, CeilingShare


def plan_of(rate: int, tokens: int, **more: Any) -> Plan:
    """One lane of constant arrivals for 3 s."""
    target = Target(description="d", name="t", base_url="http://127.0.0.1:1/v1", model="m")
    profile = Profile.model_validate(
        {
            "description": "d",
            "duration": "3s",
            "arrivals": Arrivals(kind="constant", rate=Fraction(rate)),
            "prompt_tokens": [Amount(fixed=10)],
            "output_tokens": [Amount(fixed=tokens)],
            **more,
        }
    )
    stage = Stage(
        name="s",
        targets=[target],
        profile=profile,
        contract=None,
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    return compile_plan(Suite(name="s", description="d", seed=1, stages=[stage], files=[]))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def calibrated(events: int, **machine: Any) -> Calibration:
    """A record as `tailproof calibrate` stores it."""
    return Calibration(
        format=1,
        measured_utc="2026-01-01T00:00:00Z",
        machine=machine_facts() | machine,
        tokens=16,
        error_budget_ms=1.0,
        ceiling_rps=100_000,
        ceiling_events_per_s=events,
        steps=[],
    )


def test_the_busiest_second_counts_not_the_mean() -> None:
    """100/s of 16 tokens with a burst of 5x in one of three seconds peaks at 8,000 token events a
    second.
    """
    phases = [
        {"name": "a", "duration": "1s"},
        {"name": "b", "duration": "1s", "burst": 5},
        {"name": "c", "duration": "1s"},
    ]
    assert ceiling.peak_events_per_s(plan_of(100, 16, phases=phases)) == 500 * 16
    assert ceiling.peak_events_per_s(plan_of(100, 16)) == 1600


def test_workers_by_default(cache: Path) -> None:
    """Enough workers for 60 % of the ceiling each, one core left free, no more than a cap
    can feed.
    """
    heavy = plan_of(2000, 40)  # 80,000 events a second against 0.6 * 30,000 each
    assert [ceiling.default_workers(heavy, cores) for cores in (1, 2, 4, 8)] == [1, 1, 3, 5]
    assert ceiling.default_workers(plan_of(10, 16), 8) == 1
    assert ceiling.default_workers(plan_of(2000, 40, max_in_flight=2), 8) == 2
    assert (
        ceiling.default_workers(plan_of(3000, 1), 8) == 3
    )  # few tokens, but 1.5 times 2,000 requests a second
    ceiling.store(calibrated(200_000))
    assert ceiling.default_workers(heavy, 8) == 1


def test_a_calibration_counts_on_its_own_machine_only(cache: Path) -> None:
    """Stored and read back; of another machine or absent it is none."""
    plan = plan_of(100, 16)
    assert ceiling.share_of_ceiling(plan, 1) is None
    path = ceiling.store(calibrated(4_000))
    assert ceiling.share_of_ceiling(plan, 2) == CeilingShare(
        measured_utc="2026-01-01T00:00:00Z",
        ceiling_events_per_s=4_000,
        ceiling_rps=100_000,
        peak_events_per_s=1600,
        peak_rps=100,
        share=0.2,
    )
    path.write_text(json.dumps(calibrated(4_000, cpu="another").to_json()))
    assert (ceiling.stored(), ceiling.unreadable()) == (None, None)
    path.unlink()
    assert (ceiling.stored(), ceiling.unreadable()) == (None, None)


def test_a_calibration_of_a_quieter_machine_is_said_to_be_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures age with the load; one that knows no load says nothing."""
    monkeypatch.setattr(ceiling, "load_per_core", lambda: 1.25)
    ceiling.store(calibrated(4_000))
    assert ceiling.unreadable() is None
    ceiling.store(calibrated(4_000).replace(load_per_core=0.1))
    assert "busier (load 1.25 a core) than when it was calibrated (0.1, 2026" in str(
        ceiling.unreadable()
    )
    ceiling.store(calibrated(4_000).replace(load_per_core=1.0))
    assert ceiling.unreadable() is None


@pytest.mark.parametrize(
    ("then", "now", "left"),
    [
        (0.1, 0.9, 4_000),
        (0.5, 2.0, 2_000),
        (2.0, 4.0, 2_000),
        (2.0, 0.5, 4_000),
        (None, 4.0, 4_000),
    ],
)
def test_a_ceiling_sinks_where_others_want_the_cores(
    monkeypatch: pytest.MonkeyPatch, then: float | None, now: float, left: int
) -> None:
    """Two that want a core have half of it each; below one a core, nobody waits."""
    monkeypatch.setattr(ceiling, "load_per_core", lambda: now)
    ceiling.store(calibrated(4_000).replace(load_per_core=then))
    share = ceiling.share_of_ceiling(plan_of(100, 16), 1)
    assert share is not None
    assert (share.ceiling_events_per_s, share.share) == (left, 1600 / left)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "has format 99; this tailproof reads up to 1; open it with a newer"),
        ({"format": 99, "tailproof": "9.1"}, "; open it with tailproof 9.1 or newer"),
        ({"steps": None}, "cannot be read (steps: "),
    ],
    ids=["newer", "newer and dated", "damaged"],
)
def test_a_calibration_that_cannot_be_read_ends_no_run_and_is_said(
    cache: Path, change: dict[str, Any], said: str
) -> None:
    """Whatever lies there, workers are those of a machine that was never calibrated."""
    path = ceiling.store(calibrated(4_000))
    path.write_text(json.dumps(calibrated(4_000).to_json() | change))
    assert ceiling.stored() is None
    assert said in str(ceiling.unreadable())
    assert ceiling.default_workers(plan_of(2000, 40), 8) == 5


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home folder is told what to set."""
    monkeypatch.setattr(ceiling, "cache_folder", lambda: None)
    with pytest.raises(RunFolderError, match="set XDG_CACHE_HOME"):
        ceiling.store(calibrated(4_000))
    assert (ceiling.stored(), ceiling.unreadable()) == (None, None)
