"""Quota clocks: what a plan asks in its busiest minute, counted by hand and by brute force."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.plan.limits import Limits
from bench.plan.quota import Excess, excesses, quota_said, rate_within
from bench.plan.schedule import Plan, compile_plan
from bench.plan.target import Target
from bench.userfile import parse_model
from tests.support.planned import profile, stage, suite, target

#: 2 requests a second for two minutes, 1,000 + 200 tokens each
STEADY: dict[str, Any] = {
    "arrivals": {"kind": "constant", "rate": "2/s"},
    "duration": "2min",
    "prompt_tokens": [{"fixed": 1000}],
    "output_tokens": [{"fixed": 200}],
}


def planned(limits: dict[str, Any], **changes: Any) -> Plan:
    return compile_plan(suite(stage(profile(**{**STEADY, **changes}), target(limits=limits))), 1)


def only(found: list[Excess]) -> Excess:
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("limits", "asked", "rate"),
    [
        # a constant rate of r has at most ceil(60 r) in a minute, wherever it begins
        ({"requests_per_min": 60}, 120, Fraction(1)),
        ({"requests_per_min": 90}, 120, Fraction("1.5")),
        ({"tokens_per_min": 72_000}, 144_000, Fraction(1)),
        ({"input_tokens_per_min": 60_000}, 120_000, Fraction(1)),
        ({"output_tokens_per_min": 12_000}, 24_000, Fraction(1)),
    ],
)
def test_a_constant_rate_by_hand(limits: dict[str, Any], asked: int, rate: Fraction) -> None:
    found = only(excesses(planned(limits)))
    assert found.asked == asked
    assert found.fitting_rate is not None
    assert rate * Fraction(98, 100) <= found.fitting_rate <= rate


@pytest.mark.parametrize(
    "limits",
    [
        {"requests_per_min": 120},
        {"tokens_per_min": 144_000, "requests_per_day": 240},
        {"requests_per_min": 120, "counted_over": "1s"},
        {},
    ],
)
def test_what_fits_is_not_spoken_of(limits: dict[str, Any]) -> None:
    assert quota_said(planned(limits)) == []


def test_the_sentence_names_limit_share_and_the_rate_that_fits() -> None:
    said = (
        "t: 60 requests a minute are allowed, the plan's busiest minute asks 120: 50 % of its"
        " answers would be 429 (--rate 1 fits)"
    )
    assert quota_said(planned({"requests_per_min": 60})) == [said]


def test_a_minute_that_is_divided_refuses_bursts_that_it_would_take_as_a_whole() -> None:
    """2/s for 30 s: 60 in the minute, of which 90 are allowed; 1.5 a second."""
    assert excesses(planned({"requests_per_min": 90}, duration="30s")) == []
    found = only(excesses(planned({"requests_per_min": 90, "counted_over": "1s"}, duration="30s")))
    assert (found.limit.stretch_ns, found.limit.amount, found.asked) == (10**9, Fraction(3, 2), 2)


def test_a_day_is_a_limit_of_the_whole_plan() -> None:
    said = quota_said(planned({"requests_per_day": 100}))
    assert said[0].endswith(
        "the plan's busiest day asks 240: 58 % of its answers would be 429 (send fewer requests)"
    )


def test_one_request_beyond_the_limit_fits_at_no_rate() -> None:
    found = only(excesses(planned({"tokens_per_min": 1100})))
    assert found.fitting_share is None
    assert "no rate fits" in quota_said(planned({"tokens_per_min": 1100}))[0]


def test_stages_and_targets_behind_one_key_are_counted_together() -> None:
    """Two lanes of the same key at 2/s side by side ask 240 a minute; of two keys, 120 each."""

    def both(other_key: str) -> list[Excess]:
        limits = {"requests_per_min": 150}
        lanes = [
            target("a", limits=limits, api_key_env="KEY"),
            target("b", limits=limits, api_key_env=other_key),
        ]
        return excesses(compile_plan(suite(stage(profile(**STEADY), *lanes)), 1))

    assert only(both("KEY")).asked == 240
    assert both("OTHER") == []


def test_turns_count_as_early_as_they_can_be_sent_and_closed_loops_not_at_all() -> None:
    sessions = {"turns": {"fixed": 3}, "think": "1s"}
    found = excesses(planned({"requests_per_min": 60}, sessions=sessions))
    assert only(found).asked > 120
    closed = {"arrivals": {"kind": "closed", "concurrency": 4}, "duration": "10s"}
    assert excesses(planned({"requests_per_min": 1}, **closed)) == []


@settings(max_examples=20)
@given(
    st.floats(0.05, 1.5),
    st.integers(1, 40),
    st.integers(0, 5),
)
def test_a_poisson_plan_against_every_minute_counted_by_hand(
    rate: float, allowed: int, seed: int
) -> None:
    """The busiest minute by brute force; the rate that fits does, when the plan is drawn out."""
    arrivals = {"kind": "poisson", "rate": Fraction(rate).limit_denominator(1000)}
    made = suite(
        stage(
            profile(**{**STEADY, "arrivals": arrivals, "duration": "3min"}),
            target(limits={"requests_per_min": allowed}),
        )
    )
    plan = compile_plan(made, seed)
    due = [int(each) for each in plan.schedule["due_ns"]]
    minute = 60 * 10**9
    most = max((sum(t <= u < t + minute for u in due) for t in due), default=0)
    found = excesses(plan)
    assert bool(found) == (most > allowed)
    if found:
        assert found[0].asked == most
        share = found[0].fitting_share
        assert share is not None
        slower = np.array(due) / float(share)
        assert max(int(((slower >= t) & (slower < t + minute)).sum()) for t in slower) <= allowed


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"requests_per_minute": 60}, "did you mean 'requests_per_min'?"),
        ({"requests_per_min": 0}, "greater than 0"),
        ({"requests_per_min": 60, "counted_over": "5min"}, "at most a minute"),
        ({"tokens_per_min": "60/min"}, "integer"),
    ],
)
def test_limits_that_are_none_are_refused(limits: dict[str, Any], said: str) -> None:
    fields = {"description": "d", "base_url": "http://127.0.0.1/v1", "model": "m"}
    with pytest.raises(UserError, match="limits") as refused:
        parse_model(Target, {**fields, "limits": limits}, "t.toml")
    assert said in str(refused.value)


def test_each_limit_is_an_amount_within_a_stretch() -> None:
    limits = Limits.model_validate({"requests_per_min": 30, "counted_over": "10s"})
    assert [(int(each.amount), each.stretch_ns // 10**9) for each in limits.each()] == [
        (30, 60),
        (5, 10),
    ]


@pytest.mark.parametrize("per_min", [10, 50, 1000])
def test_a_rate_within_limits_has_no_busy_minute_beyond_them(per_min: int) -> None:
    """Of twenty Poisson plans of ten minutes hardly one goes beyond."""
    rate = given_rate(rate_within({"requests_per_min": per_min}, 500, 64))
    arrivals = {"kind": "poisson", "rate": rate}
    made = suite(
        stage(
            profile(**{**STEADY, "arrivals": arrivals, "duration": "10min"}),
            target(limits={"requests_per_min": per_min}),
        )
    )
    assert sum(bool(excesses(compile_plan(made, seed))) for seed in range(20)) <= 2
    assert rate < Fraction(per_min, 60)


def given_rate(rate: Fraction | None) -> Fraction:
    assert rate is not None
    return rate


def test_tokens_bound_a_rate_as_requests_do() -> None:
    """56,400 tokens a minute are 100 requests of 500 and 64; what is not limited has no rate."""
    by_tokens = rate_within({"tokens_per_min": 56_400}, 500, 64)
    assert by_tokens == rate_within({"requests_per_min": 100}, 500, 64)
    assert rate_within({"requests_per_day": 5}, 500, 64) is None
