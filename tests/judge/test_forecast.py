"""A month's bill held against its forecast: inside the margin, outside it, or not to be told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.judge.contract.forecast import judge_forecast
from bench.plan.clause import RECORDED
from bench.plan.contract import Contract
from bench.record.run_folder import Run
from bench.record.samples import Flag, Outcome
from bench.userfile import parse_model
from tests.support.rows_by_hand import Row, answered, contract_of, failed, lane_of, run_of, uptime

#: 1 USD a million in, 4 out: 100 and 20 tokens are 180 micro-USD, 1.5 USD a million
PRICES = {
    "input_usd_per_million": "1",
    "output_usd_per_million": "4",
    "as_of": "2026-11-23",
    "source": "s",
}
MONTH = 10**9
ROWS = 600


def contract(usd: object, **more: Any) -> Contract:
    return contract_of(uptime(), forecast={"monthly_usd": usd, "tokens_per_month": MONTH, **more})


def run_with(folder: Path, rows: list[Row], **lane: Any) -> Run:
    return run_of(folder / "r", rows, lane_of(**{"prices": PRICES, **lane}))


def mixed(rows: int = ROWS, **more: Any) -> list[Row]:
    """Answers of 10 to 30 tokens in turn, evenly apart; 20 in the mean."""
    return [
        answered(50, due=number * 10, prompt_tokens=100, tokens=10 + number % 21, **more)
        for number in range(rows // 21 * 21)
    ]


def judged(run: Run, held: Contract) -> dict[str, Any]:
    record = judge_forecast(run, 0, held)
    assert record is not None
    return record.to_json()


@pytest.mark.parametrize(
    ("usd", "verdict"),
    [
        ("1500", "PASS"),
        ("1450", "PASS"),
        ("1800", "FAIL"),
        ("1250", "FAIL"),
        ("1429", "INCONCLUSIVE"),
    ],
)
def test_a_bill_is_within_its_margin_or_not(usd: str, verdict: str, tmp_path: Path) -> None:
    """1.5 USD a million tokens, a thousand million a month: 1,500 USD, which 5 % around the
    forecast hold or do not.
    """
    record = judged(run_with(tmp_path, mixed()), contract(usd))
    assert record["projected_usd"] == pytest.approx(1500)
    low, high = record["interval_usd"]
    assert 1480 < low < 1500 < high < 1520
    assert record["verdict"] == verdict
    inside = 0.95 * float(usd) <= low and high <= 1.05 * float(usd)
    outside = high < 0.95 * float(usd) or low > 1.05 * float(usd)
    assert (verdict == "PASS", verdict == "FAIL") == (inside, outside)
    assert record["text"] == f"monthly bill {int(usd):,}.00 USD ± 5 % for 1,000,000,000 tokens"


def test_what_failed_calls_cost_is_in_the_bill(tmp_path: Path) -> None:
    """Every other answer is cut off after 20 tokens with its prompt read: the bill doubles, and
    1,500 USD FAIL.
    """
    rows = [
        failed(Outcome.truncated, due=row["due"], prompt_tokens=100, output_tokens=20)
        if number % 2
        else row | {"output_tokens": 20}
        for number, row in enumerate(mixed(420))
    ]
    record = judged(run_with(tmp_path, rows), contract("1500"))
    assert record["projected_usd"] == pytest.approx(3000)
    assert record["verdict"] == "FAIL"
    assert "overhead 100 %" in record["reason"]


def test_a_wider_margin_takes_more(tmp_path: Path) -> None:
    """1,800 USD are 17 % off 1,500: no 5 %, but within 20 %."""
    assert judged(run_with(tmp_path, mixed()), contract("1800", within="20%"))["verdict"] == "PASS"


def test_tokens_that_nobody_stated_decide_nothing(tmp_path: Path) -> None:
    """A server without usage: the sum would be ours, so it is shown and not judged; one answer in
    120 is let pass, not one in 80.
    """
    silent = {"prompt_tokens": -1, "flags": int(Flag.STREAMED | Flag.COUNTED_TOKENS)}
    record = judged(run_with(tmp_path / "all", [row | silent for row in mixed()]), contract("1500"))
    assert (record["verdict"], record["reason"]) == (
        "INCONCLUSIVE",
        "100 % of the answers came without usage: their tokens are our own count",
    )
    assert record["run_usd"] > 0
    for every, verdict in ((200, "PASS"), (120, "PASS"), (80, "INCONCLUSIVE")):
        few = [row | silent if number % every == 0 else row for number, row in enumerate(mixed())]
        assert judged(run_with(tmp_path / str(every), few), contract("1500"))["verdict"] == verdict


@pytest.mark.parametrize(
    ("rows", "lane", "reason"),
    [
        (mixed(42), {"prices": None}, "target t has no prices"),
        ([answered(50, prompt_tokens=100)], {}, "the run is too short to be cut into time blocks"),
        (
            [failed(Outcome.http_5xx, due=number * 10) for number in range(60)],
            {},
            "no answer was of use: nothing can be projected from it",
        ),
    ],
)
def test_nothing_is_made_from_nothing(
    rows: list[Row], lane: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    """No price, one block, no answer: INCONCLUSIVE with its reason."""
    record = judged(run_with(tmp_path, rows, **lane), contract("1500"))
    assert (record["verdict"], record["reason"]) == ("INCONCLUSIVE", reason)


def test_a_contract_without_a_forecast_has_no_record(tmp_path: Path) -> None:
    """None, not a verdict."""
    assert judge_forecast(run_with(tmp_path, mixed(42)), 0, contract_of(uptime())) is None


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"monthly_usd": "0", "tokens_per_month": 5}, "forecast.monthly_usd: "),
        ({"monthly_usd": "1", "tokens_per_month": 0}, "forecast.tokens_per_month: "),
        ({"monthly_usd": "1", "tokens_per_month": 5, "within": "0%"}, "forecast.within: "),
        (
            {"monthly_usd": "1", "tokens_per_month": 5, "source": "x"},
            "a term names the source 'x', which is not in [sources]",
        ),
        ({"monthly_usd": "1"}, "forecast.tokens_per_month: "),
    ],
)
def test_a_forecast_of_nothing_is_refused(table: dict[str, Any], text: str) -> None:
    """No sum, no tokens, no margin, no such source: named by key."""
    with pytest.raises(UserError) as caught:
        parse_model(Contract, {"title": "made", "forecast": table}, "c.toml")
    assert text in str(caught.value)


def test_a_forecast_comes_back_from_the_manifest() -> None:
    """As JSON and back: sums and shares stay exact."""
    held = contract("1234.56", within="2.5%")
    written = held.model_dump(mode="json", by_alias=True)
    again = Contract.model_validate(written, context=RECORDED)
    assert again.forecast == held.forecast
    assert again.forecast is not None
    assert again.forecast.within == Fraction(25, 1000)
