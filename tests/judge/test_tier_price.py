"""What a dearer tier costs and gains, by hand: a fee over a volume, a curve without one."""

from __future__ import annotations

import numpy as np
import pytest

from bench.judge.compare.arms import Arm
from bench.judge.compare.tier_price import Fee, price
from bench.record.records.comparisons import (
    Decision,
    Exceedance,
    Misses,
    PartComparison,
    PriceRecord,
    RatioRecord,
)
from tests.support.made_arms import facts


def arm(name: str, usd_per_request: float | None) -> Arm:
    """An arm of which nothing but its price is asked."""
    nothing = np.zeros(0, np.int64)
    return Arm(
        name,
        "e2e",
        nothing,
        nothing.astype(float),
        nothing,
        nothing,
        0,
        facts(usd_per_request=usd_per_request),
    )


def part(headline: str, avoided: tuple[float, float, float] | None = None) -> PartComparison:
    """A comparison with this outcome; `avoided` is the least, the measured and the most share of
    misses that the other arm avoids.
    """
    over = None
    if avoided is not None:
        least, measured, most = avoided
        share = Misses(over=0, n=100, share=0.0)
        over = Exceedance(
            limit_ms=800,
            baseline=share,
            other=share,
            difference=-measured,
            interval=(-most, -least),
            fisher_p=None,
        )
    said = Decision(outcomes=[], headline="NONE", reason="")
    ratio = RatioRecord(baseline_ms=1000, other_ms=500, ratio=0.5, interval=(0.4, 0.6), mde=None)
    return PartComparison(
        superblocks=40,
        ratios={"p99": ratio},
        exceedance=over,
        outcomes=[headline],
        headline=headline,
        reason="",
        regression=said,
    )


def priced(found: PartComparison, fee: Fee, *usd: float | None) -> PriceRecord:
    """Of arms whose requests cost so much."""
    return price(arm("standard", usd[0]), arm("pro", usd[1]), found, fee)


BETTER = part("BETTER", (0.01, 0.02, 0.04))


def test_a_fee_is_spread_over_the_stated_volume() -> None:
    """120,000 USD a year over 1,000,000 requests a month is 1 cent each; with 1 cent more by tokens
    2 cents, for 2 % (1 to 4 %) fewer misses: 1 USD (0.5 to 2) an avoided miss, 4 cents per 1,000
    and ms of the 500 gained.
    """
    found = priced(BETTER, Fee(120_000, 1_000_000), 0.01, 0.02)
    assert found.fee_usd_per_request == pytest.approx(0.01)
    assert found.total_usd_per_request == pytest.approx(0.02)
    assert found.usd_per_avoided_miss == pytest.approx(1.0)
    assert found.usd_per_avoided_miss_interval == pytest.approx((0.5, 2.0))
    assert found.usd_per_1000_requests_per_ms == pytest.approx(0.04)
    assert (found.advice, found.curve) == (None, [])


def test_a_fee_without_a_volume_has_a_curve_and_no_break_even() -> None:
    """40,000 USD a year is not `no more`, though its tokens cost the same."""
    found = priced(BETTER, Fee(40_000), 0.01, 0.01)
    assert found.reason is not None
    assert "without the requests" in found.reason
    assert (found.usd_per_avoided_miss, found.total_usd_per_request) == (None, None)
    for each in found.curve:
        share = 40_000 / 12 / each.requests_per_month
        assert each.usd_per_request == pytest.approx(share)
        assert each.usd_per_avoided_miss == pytest.approx(share / 0.02)


@pytest.mark.parametrize("headline", ["EQUIVALENT", "NOT_MATERIALLY_BETTER", "WORSE"])
@pytest.mark.parametrize("fee", [Fee(40_000), Fee(40_000, 1000), Fee()])
def test_what_costs_more_and_gains_nothing_is_not_to_be_bought(headline: str, fee: Fee) -> None:
    """By a fee with or without volume, and by tokens alone."""
    assert priced(part(headline), fee, 0.01, 0.02).advice == "do not buy"


@pytest.mark.parametrize("headline", ["BETTER", "MATERIALLY_BETTER", "INCONCLUSIVE"])
def test_a_gain_or_an_open_question_is_no_advice(headline: str) -> None:
    """Whether a gain is worth its price is the buyer's."""
    assert priced(part(headline), Fee(40_000, 1000), 0.01, 0.02).advice is None


def test_what_costs_no_more_needs_no_advice() -> None:
    """The same price or less, and no fee."""
    found = priced(part("EQUIVALENT"), Fee(), 0.01, 0.01)
    assert found.reason == "pro costs no more than standard"
    assert found.advice is None


def test_a_fee_counts_where_token_prices_are_unknown() -> None:
    """The fee alone is the price, and the record says what is missing."""
    found = priced(BETTER, Fee(12_000, 100_000), None, 0.02)
    assert found.total_usd_per_request == pytest.approx(0.01)
    assert found.reason == "standard has no [prices] in its file, or no token counts"
    assert found.usd_per_avoided_miss == pytest.approx(0.5)
