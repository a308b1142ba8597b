"""Answers that a suite expects of its routes: how they are written, refused, and kept with their
lane.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.plan.route import RouteExpect, check_route_expects
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.units import MS
from bench.userfile import parse_model


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "expects nothing of 'r'"),
        ({"p99_within": "0s"}, "p99_within"),
        ({"lost_at_most": -1}, "lost_at_most"),
        ({"detect": "1s"}, "detect: unknown key"),
    ],
)
def test_what_expects_nothing_is_refused(keys: dict[str, Any], text: str) -> None:
    """An empty table, a limit of nothing and an unknown key name themselves."""
    with pytest.raises(UserError) as caught:
        parse_model(RouteExpect, {"target": "r", **keys}, "f")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "cuts", "text"),
    [
        ({"target": "x", "p99_within": "1s"}, 1, "names 'x', which is no target"),
        ({"p99_above": ["r", "y"]}, 1, "names 'y', which is no target"),
        ({"detect_within": "1s"}, 0, "detect_within needs a cut"),
        ({"lost_at_most": 0}, 0, "lost_at_most needs a cut"),
    ],
)
def test_names_and_cuts_must_be_there(keys: dict[str, Any], cuts: int, text: str) -> None:
    """Targets that the stage lacks, and figures of a drill where nothing is cut; else nothing is
    said.
    """
    with pytest.raises(UserError, match="s: expect_route") as caught:
        check_route_expects(
            [RouteExpect.model_validate({"target": "r", **keys})], ["r", "q"], cuts, "s"
        )
    assert text in str(caught.value)
    check_route_expects(
        [RouteExpect.model_validate({"target": "r", "p99_above": ["q"], "lost_at_most": 0})],
        ["r", "q"],
        1,
        "s",
    )


def test_an_expectation_stays_with_its_lane(tmp_path: Path) -> None:
    """It is read from a suite, refused with file and stage, and the manifest's lane gives the same
    model back.
    """
    suite = """
description = "d"
[[stage]]
name = "s"
scenario = "regional-failover"
targets = ["primary", "router-failover"]
profile = "poisson"
[[stage.expect_route]]
target = "router-failover"
p99_above = ["primary"]
detect_within = "1500ms"
lost_at_most = 3
[[stage.drill]]
at = "1s"
do = "cut"
"""
    (tmp_path / "mine.toml").write_text(suite)
    plain, routed = (
        lane.record() for lane in compile_plan(load_suite(str(tmp_path / "mine.toml")), 1).lanes
    )
    assert plain["expect_route"] == []
    (kept,) = map(RouteExpect.model_validate, routed["expect_route"])
    assert (kept.p99_above, kept.detect_within, kept.lost_at_most, kept.p99_within) == (
        ["primary"],
        1500 * MS,
        3,
        None,
    )
    (tmp_path / "mine.toml").write_text(suite.replace('"cut"', '"heal"'))
    with pytest.raises(
        UserError, match=r"mine\.toml: stage 's': expect_route\.detect_within needs a cut"
    ):
        load_suite(str(tmp_path / "mine.toml"))
