"""What a plan costs and where it goes: sums by hand, refusals with their number, questions in
words.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from bench.errors import UserError
from bench.plan.budget import (
    PER_USD,
    PROMPT_MARGIN,
    Budget,
    budget_of,
    call_bound,
    is_remote,
    question,
    refuse_beyond,
    row_bound,
)
from bench.plan.schedule import Plan, compile_plan
from bench.plan.target import Target
from bench.units import show_usd
from tests.support.planned import plan, profile, stage, suite, target

PRICES: dict[str, Any] = {
    "input_usd_per_million": "2",
    "output_usd_per_million": "10",
    "as_of": "2026-11-23",
    "source": "s",
}
FAR = "https://api.example.com/v1"
#: 100 requests of 1,000 and 200 tokens: 0.2 + 0.2 USD
SIZES: dict[str, Any] = {
    "arrivals": {"kind": "constant", "rate": "10/s"},
    "duration": "10s",
    "prompt_tokens": [{"fixed": 1000}],
    "output_tokens": [{"fixed": 200}],
}


def planned(*targets: Target, **changes: Any) -> Plan:
    return compile_plan(suite(stage(profile(**{**SIZES, **changes}), *targets)), 1)


def routed(*legs: Target, **route: Any) -> Target:
    names = [leg.name for leg in legs]
    made = Target.model_validate(
        {"description": "d", "name": "r", "route": {"legs": names, **route}}
    )
    return made.model_copy(update={"legs": legs})


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("http://127.0.0.1:9/v1", False),
        ("http://127.8.9.1/v1", False),
        ("http://[::1]:9/v1", False),
        ("http://localhost:9/v1", False),
        ("http://gateway.localhost/v1", False),
        ("embedded", False),
        (FAR, True),
        ("http://10.0.0.7/v1", True),
        ("http://localhost.example.com/v1", True),
        ("http://[2001:db8::1]/v1", True),
    ],
)
def test_what_leaves_this_machine_is_told_from_the_address(url: str, remote: bool) -> None:
    """Loopback addresses, localhost and our own gateway stay; every other name or number is
    elsewhere.
    """
    assert is_remote(target(base_url=url)) is remote


def test_a_socket_of_this_machine_stays_here() -> None:
    """Whatever host its URL names."""
    assert not is_remote(target(base_url=FAR, unix_socket="s.sock"))


def test_planned_cost_is_tokens_times_prices_exactly() -> None:
    """100 requests of 1,000 and 200 tokens at 2 and 10 USD a million: 0.2 + 0.2 USD, nothing
    rounded.
    """
    (lane,) = budget_of(planned(target(base_url=FAR, prices=PRICES))).lanes
    assert (lane.usd, lane.requests, lane.hosts, lane.unpriced) == (
        Fraction(4, 10),
        100,
        ("api.example.com",),
        None,
    )
    odd = PRICES | {"input_usd_per_million": "0.0000001", "output_usd_per_million": "0"}
    assert budget_of(planned(target(prices=odd))).lanes[0].usd == Fraction(100 * 1000, 10**13)


def test_a_route_is_planned_at_the_prices_of_the_legs_that_its_rows_begin_with() -> None:
    """By context: of 1,000-token prompts all begin with the second leg, ten times as dear."""
    dear = PRICES | {"input_usd_per_million": "20", "output_usd_per_million": "100"}
    legs = (target("a", prices=PRICES), target("b", base_url=FAR, prices=dear))
    (lane,) = budget_of(planned(routed(*legs, pick="context", context_up_to=[500]))).lanes
    assert (lane.usd, lane.hosts) == (Fraction(4), ("api.example.com",))


def test_only_what_leaves_this_machine_counts_for_the_question() -> None:
    """A dear local lane beside a cheap remote one: the question's sum is the remote one's."""
    dear = PRICES | {"input_usd_per_million": "2000"}
    budget = budget_of(
        planned(target("near", prices=dear), target("far", base_url=FAR, prices=PRICES))
    )
    assert budget.usd == Fraction(4, 10)
    assert [lane.name for lane in budget.remote] == ["far"]


@pytest.mark.parametrize(
    ("runs", "asked"),
    [
        (2, None),
        (3, "Send 300 requests, about 1.20 USD, to api.example.com?"),
        (25_000, "Send 2,500,000 requests, about 10,000.00 USD, to api.example.com?"),
    ],
)
def test_it_is_asked_above_one_usd(runs: int, asked: str | None) -> None:
    """0.4 USD a run: two runs pass unasked, three do not."""
    assert question(budget_of(planned(target(base_url=FAR, prices=PRICES))), runs) == asked


def test_an_unknown_cost_is_asked_for_and_loopback_never_is() -> None:
    """No prices: asked beyond this machine whatever the size; here not at any price."""
    assert (
        question(budget_of(planned(target(base_url=FAR))))
        == "Send 100 requests, at a cost that is not known (target t has no prices), to"
        " api.example.com?"
    )
    assert question(budget_of(planned(target())), 1000) is None
    assert question(budget_of(planned(target(prices=PRICES))), 1000) is None


def test_a_closed_loop_by_duration_says_at_most() -> None:
    """One user for 10 s, 5 ms an answer at the quickest: up to 2,000 requests and at most 8 USD."""
    arrivals = {"kind": "closed", "concurrency": 1}
    budget = budget_of(planned(target(base_url=FAR, prices=PRICES), arrivals=arrivals))
    assert question(budget) == "Send up to 2,000 requests, at most 8.00 USD, to api.example.com?"
    refuse_beyond(budget, Fraction(1), None)


def refusal(
    budget: Budget, max_cost: Fraction | None = None, max_requests: int | None = None, runs: int = 1
) -> str:
    with pytest.raises(UserError) as caught:
        refuse_beyond(budget, max_cost, max_requests, runs)
    return str(caught.value)


def test_a_plan_above_its_cap_is_refused_with_the_number() -> None:
    """0.4 USD a run, on any machine: 0.4 is allowed, a hair less is not, nor are two runs."""
    budget = budget_of(planned(target(prices=PRICES)))
    refuse_beyond(budget, Fraction(4, 10), None)
    assert (
        refusal(budget, Fraction(39, 100))
        == "the plan costs 0.4 USD by its planned tokens, above --max-cost 0.39; shorten it or"
        " raise the cap"
    )
    assert "the plan costs 0.8 USD" in refusal(budget, Fraction(4, 10), runs=2)


def test_a_cap_that_cannot_be_held_is_refused() -> None:
    """A leg without prices, or an extra body that takes the bound off the answers."""
    legs = (target("a", prices=PRICES), target("b"))
    assert "--max-cost: cannot be held: target b has no prices" in refusal(
        budget_of(planned(routed(*legs))), Fraction(9)
    )
    said = refusal(budget_of(planned(target())), Fraction(9))
    assert said.endswith(
        "add [prices] to its file (with --url: name a target file in a suite), or leave it out"
    )
    endless = target(prices=PRICES, extra_body={"max_tokens": None})
    assert "target t does not bound its answers" in refusal(
        budget_of(planned(endless)), Fraction(9)
    )


def test_our_own_gateway_needs_no_price() -> None:
    """An embedded target without prices costs nothing, and a cap over it can be held."""
    budget = budget_of(planned(target(base_url="embedded")))
    refuse_beyond(budget, Fraction(0), None)
    assert budget.lanes[0].usd == 0


@pytest.mark.parametrize(
    ("limit", "runs", "text"),
    [
        (
            None,
            101,
            (
                "sends 10,100 requests to api.example.com, above the 10,000 that go to other"
                " machines unasked; shorten it, or allow it with --max-requests 10100"
            ),
        ),
        (99, 1, "sends 100 requests to api.example.com, above the 99 of --max-requests"),
    ],
)
def test_other_machines_get_no_more_requests_than_declared(
    limit: int | None, runs: int, text: str
) -> None:
    """Ten thousand unless --max-requests says otherwise, over all runs; this machine gets what it
    is sent.
    """
    far = budget_of(planned(target(base_url=FAR)))
    assert text in refusal(far, None, limit, runs)
    refuse_beyond(far, None, limit and 100, 1 if limit else 100)
    refuse_beyond(budget_of(planned(target())), None, None, 101)


def test_a_call_costs_at_most_its_planned_tokens_and_a_margin() -> None:
    """Prompt and margin at 2, answer at 10 USD a million; three choices are three answers."""
    bound = call_bound(target(prices=PRICES))
    assert bound.prompt(1000) == (1000 + PROMPT_MARGIN) * 2 * PER_USD // 10**6
    assert bound.answer(200) == 200 * 10 * PER_USD // 10**6
    assert call_bound(target(prices=PRICES, extra_body={"n": 3})).answer(200) == 3 * bound.answer(
        200
    )


@pytest.mark.parametrize(
    ("field", "extra", "tokens"),
    [
        ("max_tokens", {"max_tokens": 5000}, 5000),
        ("max_tokens", {"max_completion_tokens": 5000}, 5200),
        ("max_completion_tokens", {"max_completion_tokens": 7}, 7),
    ],
)
def test_the_extra_body_sets_the_length(field: str, extra: dict[str, int], tokens: int) -> None:
    """In place of the planned 200, or, under the other name, beside them: the server may take
    either.
    """
    bound = call_bound(target(prices=PRICES, extra_body=extra, max_tokens_field=field))
    assert bound.answer(200) == tokens * 10 * PER_USD // 10**6


def test_a_routed_row_may_call_every_leg_as_often_as_it_may_try() -> None:
    """Two legs, three calls each: three times both; without fallback three times the dearer."""
    cheap, dear = (
        target("a", prices=PRICES),
        target("b", prices=PRICES | {"input_usd_per_million": "20"}),
    )
    both = sum(call_bound(leg).prompt(1000) + call_bound(leg).answer(200) for leg in (cheap, dear))
    one = call_bound(dear).prompt(1000) + call_bound(dear).answer(200)
    for route, most in (
        ({}, both),
        ({"retry": {"attempts": 3}}, 3 * both),
        ({"fallback": False}, one),
    ):
        bound = row_bound(routed(cheap, dear, **route))
        assert bound.prompt(1000) + bound.answer(200) == most


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "0.00"),
        (1, "1.00"),
        (1234.5, "1,234.50"),
        (0.0042, "0.0042"),
        (0.4, "0.4"),
        (0.00000012345, "0.000000123"),
    ],
)
def test_sums_are_shown_as_people_read_them(usd: float, text: str) -> None:
    """Cents from one USD on, three digits below, never as 0 nor with an exponent."""
    assert show_usd(Fraction(str(usd))) == text


def test_simulated_lanes_cost_nothing() -> None:
    """What is played in virtual time is no part of the budget."""
    made = stage(profile(**SIZES), target(base_url="embedded", prices=PRICES)).model_copy(
        update={"simulated": True}
    )
    assert budget_of(compile_plan(suite(made), 1)).lanes == ()
    assert plan(**SIZES).live().lanes != ()
