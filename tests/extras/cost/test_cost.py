"""The guide's cost tables to the cent, what a run was billed, and what cannot be reckoned."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import UserError
from bench.extras.cost.cost import (
    Assumed,
    CostStage,
    Price,
    bill_usd,
    break_even_tokens,
    cents,
    cost_record,
    load_costs,
    measured_price,
    overhead_limits,
    parse_tokens,
    price_named,
    saving,
    spend_record,
)
from bench.extras.cost.record import CostRecord, DirectCost, StageCost
from bench.extras.cost.shown import cost_table
from bench.judge.compare.arms import arm_of
from bench.judge.spend import (
    Spend,
    forecast_interval,
    spend_of,
)
from bench.plan.prices import Prices
from bench.record.run_folder import Run, RunWriter
from bench.record.samples import ATTEMPT_DTYPE, AttemptFlag, Columns, Outcome
from tests.support.planted_tail import quiet
from tests.support.records import manifest_of
from tests.support.rows_by_hand import answered, columns_of, failed, lane_of, run_of

#: stage, tokens, default, GPT-4o, with 15 % overhead: as the field guide prints them
GUIDE = [
    ("MVP", 5 * 10**6, "1.25", "50.00", "1.44"),
    ("Beta", 50 * 10**6, "12.50", "500.00", "14.38"),
    ("Launch", 500 * 10**6, "125.00", "5000.00", "143.75"),
    ("Growth", 5 * 10**9, "1250.00", "50000.00", "1437.50"),
]
PRICES: dict[str, Any] = {
    "input_usd_per_million": "1",
    "output_usd_per_million": "4",
    "as_of": "2026-11-23",
    "source": "s",
}
DEARER = PRICES | {"input_usd_per_million": "10", "output_usd_per_million": "40"}


def test_the_guides_tables_to_the_cent() -> None:
    """Four stages, both prices, the overhead and both savings as printed."""
    table = load_costs("field-guide")
    price, other = price_named(table.target, None), price_named(table.compare_with, None)
    assumed = Assumed(
        table.overhead, "assumed", table.direct_discount, Fraction(table.engineering_usd)
    )
    rows = cost_record(table.stages, price, other, assumed).stages
    for row, (stage, tokens, usd, other_usd, real) in zip(rows, GUIDE, strict=True):
        assert (row.stage, row.tokens) == (stage, tokens)
        sums = (row.usd, row.other_usd, row.usd_with_overhead)
        assert [f"{each:.2f}" for each in sums] == [usd, other_usd, real]
        assert (f"{row.saving:.1%}", f"{row.saving_with_overhead:.1%}") == ("97.5%", "97.1%")


@pytest.mark.parametrize(
    ("usd", "shown"),
    [("1.4375", "1.44"), ("14.375", "14.38"), ("0.005", "0.01"), ("2.675", "2.68"), ("1", "1.00")],
)
def test_a_cent_is_rounded_half_up(usd: str, shown: str) -> None:
    """Half a cent goes up, also where a float would lie below the half."""
    assert cents(Fraction(usd)) == Decimal(shown)


def test_break_even_is_fixed_cost_over_what_a_token_saves() -> None:
    """30 % of 0.25 USD a million against 7,500 USD: 100 B tokens, where both bills are equal to the
    cent.
    """
    price = Price("p", Fraction("0.25"))
    even = break_even_tokens(price, Fraction("0.3"), Fraction(7500))
    assert even == 100 * 10**9
    assert bill_usd(int(even), price) == bill_usd(int(even), price) * Fraction(7, 10) + 7500
    assert break_even_tokens(price, Fraction(0), Fraction(7500)) is None
    assert break_even_tokens(Price("p", Fraction(0)), Fraction("0.3"), Fraction(7500)) is None


def test_nothing_is_made_from_a_zero_price() -> None:
    """No saving against a bill of nothing, and no break-even: a reason instead."""
    stage = [CostStage(name="one", tokens_per_month="5M")]
    found = cost_record(
        stage,
        Price("p", Fraction(0)),
        Price("q", Fraction(0)),
        Assumed(Fraction(0), "assumed", Fraction("0.3"), Fraction(1)),
    )
    assert found.stages[0].saving is None
    assert (found.direct.break_even_tokens, found.direct.reason) == (
        None,
        "the price is zero",
    )
    assert saving(Fraction(1), Fraction(0)) is None


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("500M", 5 * 10**8),
        ("5 B", 5 * 10**9),
        ("1.5t", 15 * 10**11),
        ("12_000", 12000),
        (7, 7),
        ("2K", 2000),
    ],
)
def test_volumes_as_people_write_them(text: object, tokens: int) -> None:
    """A number with K, M, B or T, or a whole number."""
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize("text", ["", "0", "-5M", "5 X", "0.5", "1.0001K", 5.0, True, "M"])
def test_volumes_that_are_none(text: object) -> None:
    """Neither nothing, nor less, nor a part of a token."""
    with pytest.raises(ValueError, match="is not a number of tokens"):
        parse_tokens(text)


def test_prices_that_are_not_known(tmp_path: Path) -> None:
    """No prices, different prices without a mix, no such table: each a sentence; with the mix the
    blend is exact.
    """
    with pytest.raises(UserError, match="has no prices"):
        price_named("standard", None)
    path = tmp_path / "t.toml"
    path.write_text(
        'description = "d"\nbase_url = "http://h/v1"\nmodel = "m"\n[prices]\ninput_usd_per_million'
        ' = 1\noutput_usd_per_million = 4\nas_of = 2026-11-23\nsource = "s"\n'
    )
    with pytest.raises(UserError, match="different prices"):
        price_named(str(path), None)
    assert price_named(str(path), Fraction("0.2")).usd_per_million == Fraction("1.6")
    with pytest.raises(UserError, match="no cost table named 'nosuch'"):
        load_costs("nosuch")


def run_with(tmp_path: Path, rows: list[dict[str, Any]], attempts: Any = None, **lane: Any) -> Run:
    """A run of one lane at 1 and 4 USD per million, with planned prompts of 100 and answers of 20
    tokens.
    """
    columns = columns_of(rows)
    columns.schedule["prompt_tokens"], columns.schedule["output_tokens"] = 100, 20
    writer = RunWriter(
        tmp_path / "r",
        manifest_of([lane_of(**{"prices": PRICES, **lane})]),
        columns.schedule,
    )
    writer.finish("complete", columns.samples, {"harness": {}}, attempts)
    return Run(tmp_path / "r")


def test_failed_requests_are_the_overhead(tmp_path: Path) -> None:
    """Two answers of 100 + 20 tokens; one broken off after 10 with its prompt reckoned; a 503 and a
    refusal cost nothing.
    """
    ok = {"prompt_tokens": 100, "tokens": 20}
    run = run_with(
        tmp_path,
        [
            answered(50, **ok),
            answered(60, due=1, **ok),
            failed(Outcome.truncated, due=2, output_tokens=10),
            failed(Outcome.http_5xx, due=3),
            failed(Outcome.refused, due=4, sent=-1),
        ],
    )
    spend = spend_of(run, 0)
    assert isinstance(spend, Spend)
    useful, wasted = Fraction(2 * (100 + 4 * 20), 10**6), Fraction(100 + 4 * 10, 10**6)
    assert (spend.useful_usd, spend.paid_usd, spend.overhead) == (
        useful,
        useful + wasted,
        wasted / useful,
    )
    assert (spend.wasted_tokens, spend.assumed, spend.output_share) == (110, 1, Fraction(40, 240))
    assert measured_price(spend, "t").usd_per_million == useful / 240 * 10**6


def test_a_routes_calls_are_billed_at_the_prices_of_their_legs(tmp_path: Path) -> None:
    """A cancelled cheap call, then a dear answer: paid for both, useful at the cheap leg's
    price.
    """
    row = answered(50, tokens=20, prompt_tokens=100, attempts=2)
    attempts = np.zeros(2, ATTEMPT_DTYPE)
    attempts["leg"], attempts["prompt_tokens"], attempts["output_tokens"] = (
        [0, 1],
        [-1, 100],
        [5, 20],
    )
    attempts["flags"] = [AttemptFlag.CANCELLED, AttemptFlag.CARRIED]
    attempts["outcome"], attempts["attempt"] = [Outcome.timeout_total, Outcome.ok], [0, 1]
    legs = [
        {"name": "cheap", "tier": "", "prices": PRICES},
        {"name": "dear", "tier": "", "prices": DEARER},
    ]
    spend = spend_of(run_with(tmp_path, [row], attempts, prices=None, legs=legs), 0)
    assert isinstance(spend, Spend)
    assert spend.paid_usd * 10**6 == (100 + 4 * 5) + 10 * (100 + 4 * 20)
    assert spend.useful_usd * 10**6 == 100 + 4 * 20
    assert (spend.wasted_tokens, spend.assumed) == (105, 1)
    route = run_with(
        tmp_path / "again", [row, row | {"warmup": True}], attempts, prices=None, legs=legs
    )
    assert arm_of(route, 0, "e2e").facts.usd_per_request == pytest.approx(1920e-6), (
        "both calls; the warm-up is left out"
    )


def test_a_lane_without_a_price_has_a_reason(tmp_path: Path) -> None:
    """No sum is made; nor an overhead where no answer was of use."""
    assert spend_of(run_with(tmp_path, [answered(5)], prices=None), 0) == "target t has no prices"
    nothing = spend_of(run_with(tmp_path / "b", [failed(Outcome.http_5xx)]), 0)
    assert isinstance(nothing, Spend)
    assert nothing.overhead is None
    assert nothing.unsummed == "no answer of any worth was paid for"
    assert forecast_interval(nothing).ratio == 0


def spend_over(columns: Columns) -> Spend:
    """The spending of rows whose tokens stand in the columns, at 1 USD per million each way."""
    prices = Prices.model_validate(PRICES | {"output_usd_per_million": "1"})
    paid = (columns.samples["prompt_tokens"] + columns.samples["output_tokens"]) / 1e6
    planned = (columns.schedule["prompt_tokens"] + columns.schedule["output_tokens"]) / 1e6
    total = Fraction(
        int(columns.samples["prompt_tokens"].sum() + columns.samples["output_tokens"].sum()), 10**6
    )
    return Spend(
        paid, planned, planned, columns.samples["due_ns"], total, total, 1, 1, 0, 0, prices
    )


@pytest.mark.parametrize(
    ("factor", "holds"), [(1.0, True), (1.02, True), (1.2, False), (0.8, False), (1.05, None)]
)
def test_a_forecast_holds_fails_or_is_undecided(factor: float, holds: bool | None) -> None:
    """Bills of 100, 102, 120 and 80 % of the plan with scatter are within 5 % or not; 105 % cannot
    be told.
    """
    columns, _ = quiet(3000)
    scatter = 1 + 0.2 * np.sin(np.arange(3000) * 1.7)
    columns.schedule["prompt_tokens"] = 10_000
    columns.samples["prompt_tokens"] = 10_000 * factor * scatter
    columns.samples["output_tokens"] = columns.schedule["output_tokens"] = 0
    found = forecast_interval(spend_over(columns))
    (low, high), ratio = found.interval, found.ratio
    assert ratio == pytest.approx(factor, abs=0.002)
    assert low is not None
    assert high is not None
    assert ratio is not None
    assert low < ratio < high
    assert found.holds is holds


def test_limits_of_the_overhead_hold_the_normal_theory() -> None:
    """Independent rows: the block interval is that of a ratio's normal theory within a third."""
    columns, _ = quiet(30_000)
    columns.schedule["prompt_tokens"] = 1000
    columns.samples["prompt_tokens"] = (
        np.random.default_rng(2).normal(1150, 300, 30_000).astype(int)
    )
    low, high = overhead_limits(spend_over(columns))
    paid = columns.samples["prompt_tokens"] + 12
    reach = 1.96 * paid.std() / 30_000**0.5 / 1012
    assert low is not None
    assert high is not None
    assert (high - low) / 2 == pytest.approx(reach, rel=0.35)
    assert low < paid.mean() / 1012 - 1 < high


def test_one_block_gives_no_interval(tmp_path: Path) -> None:
    """A single request: its ratio stands, its interval does not."""
    run = run_with(tmp_path, [answered(5, tokens=20, prompt_tokens=100)])
    spend = spend_of(run, 0)
    assert isinstance(spend, Spend)
    record = spend_record(spend, "t")
    assert (record.overhead, record.overhead_95) == (0, (None, None))
    assert record.forecast.reason == "the run is too short to be cut into time blocks"


def test_a_price_of_zero_is_a_price(tmp_path: Path) -> None:
    """Nothing was paid: no overhead can be told, and no forecast held against it, but there is no
    missing price.
    """
    free = PRICES | {"input_usd_per_million": "0", "output_usd_per_million": "0"}
    spend = spend_of(run_of(tmp_path / "r", [answered(5)], lane_of(prices=free)), 0)
    assert isinstance(spend, Spend)
    assert spend.paid_usd == 0
    assert spend.overhead is None
    assert spend.unsummed == "the price is zero"
    assert forecast_interval(spend).holds is None


def test_a_saving_that_rounds_to_zero_has_no_sign() -> None:
    """-0.01 % is written without a minus, and a bill of next to nothing is no zero."""
    stage = StageCost(
        stage="s",
        users="1",
        tokens=5,
        usd=1.0,
        other_usd=1.0,
        saving=-0.0001,
        usd_with_overhead=1.0,
        interval_usd=(None, None),
        saving_with_overhead=-0.5,
        direct_usd=0.0000001,
    )
    direct = DirectCost(discount=0.3, engineering_usd=1.0, break_even_tokens=None, reason="no")
    cost = CostRecord(
        target="t",
        compare_with="u",
        usd_per_million=1,
        other_usd_per_million=1,
        as_of="",
        overhead=0.1,
        overhead_from="assumed",
        stages=[stage],
        direct=direct,
        breach_usd=None,
    )
    assert cost_table(cost).grid("terminal").rows[0][5:] == [
        "0.0 %",
        "1.00",
        "-50.0 %",
        "0.0000001",
    ]
