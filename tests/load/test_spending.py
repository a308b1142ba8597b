"""The cap on spending: what is set aside, what is given back, and that no order of events passes
it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.spending import Spending, may_send
from bench.plan.budget import PROMPT_MARGIN
from bench.record.samples import Outcome
from tests.support.world import plan_for

#: a tenth of a cent a token in, a cent a token out
PRICES: dict[str, Any] = {
    "input_usd_per_million": "1000",
    "output_usd_per_million": "10000",
    "as_of": "2026-11-23",
    "source": "s",
}
PLAN = plan_for(
    {"kind": "constant", "rate": "10/s"},
    {"prices": PRICES},
    requests=50,
    prompt_tokens=[{"fixed": 1000 - PROMPT_MARGIN}],
    output_tokens=[{"fixed": 100}],
)
#: a thousand tokens in, a hundred out
MOST_USD = 2


def spending(cap_usd: Fraction | int) -> Spending:
    return Spending(PLAN.lanes, PLAN.schedule, Fraction(cap_usd))


def answer(
    held: Spending, row: int, outcome: Outcome = Outcome.ok, prompt: int = -1, output: int = -1
) -> None:
    held.called(row, 0, outcome, prompt, output)
    held.ended(row)


@pytest.mark.parametrize(
    ("spent", "under_way", "row", "allowed"),
    [
        (0, 0, 10, True),
        (0, 0, 11, False),
        (4, 3, 3, True),
        (4, 4, 3, False),
        (10, 0, 0, True),
        (11, 0, 0, False),
    ],
)
def test_the_next_row_may_cost_what_is_left(
    spent: int, under_way: int, row: int, allowed: bool
) -> None:
    """Of a cap of 10: what is spent, may still be billed, and is next, all together."""
    assert may_send(spent, under_way, row, 10) is allowed


def test_rows_under_way_count_at_their_most() -> None:
    """Cap of 7 USD, 2 USD a row: three may be under way, and a fourth only once they prove
    cheaper.
    """
    held = spending(7)
    assert [held.begin(row) for row in range(4)] == [True, True, True, False]
    answer(held, 0, prompt=500, output=50)
    assert held.spent_usd == 1
    assert [held.begin(row) for row in (4, 5)] == [True, False]
    assert "1.00 USD are spent and 6.00 USD may still be billed" in held.text


@pytest.mark.parametrize(
    ("outcome", "usage", "usd"),
    [
        (Outcome.ok, (100, 10), Fraction("0.2")),
        (Outcome.ok, (100, -1), Fraction("1.1")),
        (Outcome.ok, (-1, 10), Fraction("1.1")),
        (Outcome.ok, (-1, -1), 2),
        (Outcome.truncated, (100, 10), 2),
        (Outcome.censored, (-1, -1), 2),
        (Outcome.reset, (-1, -1), 2),
        (Outcome.timeout_total, (-1, -1), 2),
        (Outcome.stream_error, (-1, -1), 2),
        (Outcome.http_5xx, (-1, -1), 0),
        (Outcome.rate_limited, (-1, -1), 0),
        (Outcome.http_4xx, (-1, -1), 0),
        (Outcome.refused, (-1, -1), 0),
    ],
)
def test_what_a_call_is_reckoned_at(
    outcome: Outcome, usage: tuple[int, int], usd: Fraction | int
) -> None:
    """Usage where an answer ended with it, nothing for an error status, else the most that may be
    billed.
    """
    held = spending(100)
    assert held.begin(0)
    answer(held, 0, outcome, *usage)
    assert (held.spent_usd, held.in_flight) == (usd, 0)


def test_a_server_that_bills_more_than_it_was_asked_for_is_feared() -> None:
    """Billed three times the bound: all that is under way and all that follows is expected
    to be.
    """
    held = spending(18)
    assert held.begin(0)
    assert held.begin(1)
    answer(held, 0, prompt=1000, output=500)
    assert held.spent_usd == 6
    assert held.begin(2)
    assert not held.begin(3)


def test_a_row_that_was_never_begun_costs_nothing() -> None:
    """What the cap refused ends as never sent, and gives nothing back."""
    held = spending(1)
    assert not held.begin(0)
    answer(held, 0, Outcome.never_sent)
    assert (held.spent, held.in_flight) == (0, 0)


@given(
    cap=st.integers(0, 40),
    events=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1000), st.integers(0, 100)), max_size=50
    ),
)
def test_no_order_of_events_passes_the_cap(cap: int, events: list[tuple[int, int, int]]) -> None:
    """Whatever ends when, with any usage within what was asked for: the sum of true bills stays
    within the cap.
    """
    held, under_way, bill = spending(cap), [], Fraction(0)
    for row, (ends, prompt, output) in enumerate(events):
        if held.begin(row):
            under_way.append((row, prompt, output))
        for _ in range(min(ends, len(under_way))):
            ended, *usage = under_way.pop(0)
            answer(held, ended, Outcome.ok, *usage)
            bill += Fraction(usage[0], 1000) + Fraction(usage[1], 100)
            assert held.spent_usd == bill
        assert bill + MOST_USD * len(under_way) <= cap
