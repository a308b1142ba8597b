"""Regions that answers named, against those that are allowed, on a handful of rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from bench.judge.routing.routes import residency
from bench.record.records.routes import ResidencyRecord
from bench.record.run_folder import Run
from bench.record.samples import ATTEMPT_DTYPE, SCHEDULE_DTYPE, Columns, empty_samples
from tests.support.records import lane_record_of

REGIONS = ["eu-1", "us-1", "eu-2"]


def run_of(
    lane: dict[str, Any],
    served: list[int],
    attempts: list[tuple[int, int, int]] = [],  # noqa: B006 never changed
) -> Run:
    """One lane whose rows named these regions (-1: none, -2: none and an error); `attempts` are
    (row, leg, region).
    """
    samples, schedule = empty_samples(len(served)), np.zeros(len(served), SCHEDULE_DTYPE)
    samples["served_region"], samples["status"] = (
        np.maximum(served, -1),
        [503 if number == -2 else 200 for number in served],
    )
    table = np.zeros(len(attempts), ATTEMPT_DTYPE)
    for place, (row, leg, region) in enumerate(attempts):
        (
            table[place]["row"],
            table[place]["leg"],
            table[place]["served_region"],
            table[place]["status"],
        ) = (
            row,
            leg,
            region,
            200,
        )
    whole = lane_record_of(**{"name": "x", **lane})
    return cast(
        "Run",
        SimpleNamespace(
            lanes=[whole],
            columns=Columns(schedule, samples),
            attempts=table,
            strings=lambda _: REGIONS,
        ),
    )


def test_a_target_is_held_to_its_own_region() -> None:
    """Two at home, one elsewhere, one that named none; an error without a region is no answer."""
    made = residency(run_of({"region": "eu-1"}, [0, 0, 1, -1, -2]))
    assert made == {
        "x": ResidencyRecord(
            allowed=["eu-1"],
            by="target",
            checked=3,
            elsewhere=1,
            unnamed=1,
            by_region={"eu-1": 2, "us-1": 1},
        )
    }


def test_a_contracts_scope_goes_before_and_may_name_a_family() -> None:
    """`eu-*` allows both places of the EU, whatever the target says."""
    made = residency(
        run_of({"region": "us-1", "contract": {"scope": {"regions": ["eu-*"]}}}, [0, 1, 2])
    )["x"]
    assert (made.allowed, made.by, made.checked, made.elsewhere) == (
        ["eu-*"],
        "contract",
        3,
        1,
    )


def test_each_call_of_a_route_is_held_to_its_leg() -> None:
    """The second leg answered from the first one's region, and a losing call counts although its
    row was answered at home.
    """
    legs = [{"name": "a", "region": "eu-1"}, {"name": "b", "region": "eu-2"}]
    made = residency(run_of({"legs": legs}, [0, 2], [(0, 0, 0), (0, 1, 0), (1, 1, 2)]))["x"]
    assert (made.allowed, made.checked, made.elsewhere) == (["eu-1", "eu-2"], 3, 1)


def test_without_an_allowed_list_there_is_no_record() -> None:
    """A target without a region, and a route with one leg that has none."""
    assert residency(run_of({}, [0])) == {}
    assert (
        residency(
            run_of(
                {"legs": [{"name": "a", "region": "eu-1"}, {"name": "b", "region": ""}]},
                [0],
                [(0, 0, 0)],
            )
        )
        == {}
    )
