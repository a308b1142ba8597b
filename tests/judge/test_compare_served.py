"""A tier as bought and as served: what another tier served decides nothing that was not bought."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.judge.compare.arms import (
    AS_ASKED,
    ELSEWHERE,
    FAILED,
    UNNAMED,
    Arm,
    arm_of,
    load_baseline,
    save_baseline,
)
from bench.judge.compare.compare import Question, compare_arms
from bench.judge.compare.compared import with_aa, with_served
from bench.record.records.comparisons import AACheck, Comparison
from bench.record.samples import Outcome
from bench.show.compared_screen import compared_result
from tests.support.made_arms import pair
from tests.support.rows_by_hand import answered, failed, lane_of, run_of
from tests.support.screens import result_lines

ASKED = Question(limit_ns=800 * 10**6)
PRICES = {
    "input_usd_per_million": "2",
    "output_usd_per_million": "8",
    "as_of": "2026-11-30",
    "source": "made up",
}


def bought(dear: Arm, half: Any, slower: float = 1.0, **more: Any) -> Arm:
    """The dear tier, of which the provider serves `half` at another one, so many times slower."""
    return dataclasses.replace(
        dear,
        values=np.where(half, dear.values * slower, dear.values),
        tier=np.where(half, ELSEWHERE, AS_ASKED),
        facts=dear.facts.replace(**{"asked": "priority", "elsewhere_tokens": (0, 0), **more}),
    )


def every_second(arm: Arm) -> Any:
    return np.arange(len(arm)) % 2 == 0


@pytest.fixture(scope="module")
def compared() -> Comparison:
    """Priority is twice as fast, and half of it is served as standard; prices are 3 : 1."""
    cheap, dear = pair(1, 2400, ratio=0.5)
    tokens, dearly, cheaply = (2_000_000, 500_000), (3.0, 12.0), (1.0, 4.0)
    more = {"elsewhere_tokens": tokens, "usd_per_million": dearly}
    dear = bought(dear, every_second(dear), 2.0, **more)
    cheap = dataclasses.replace(cheap, facts=cheap.facts.replace(usd_per_million=cheaply))
    return with_served(compare_arms(cheap, dear, ASKED), cheap, dear, ASKED)


def test_as_bought_is_of_all_requests_and_as_served_of_those_that_were_honoured(
    compared: Comparison,
) -> None:
    """The p99 of a half-downgraded tier is the cheap one's; where it was honoured it is half."""
    served = compared.as_served
    assert served is not None
    bought_ratio = compared.ratios["p99"].ratio
    served_ratio = served.comparison.ratios["p99"].ratio
    assert bought_ratio is not None
    assert served_ratio is not None
    assert served_ratio == pytest.approx(0.5, abs=0.1)
    assert bought_ratio > 0.75
    assert "MATERIALLY_BETTER" in served.comparison.outcomes
    assert "chooses" in served.bias


def test_what_the_cheap_tier_served_is_priced_by_the_difference(compared: Comparison) -> None:
    """2 M prompt tokens × 2 USD and 0.5 M × 8 USD a million are 8 USD, over all its requests."""
    assert compared.as_served is not None
    assert compared.as_served.baseline is None
    other = compared.as_served.other
    assert other is not None
    n = compared.other.n
    assert (other.asked, other.elsewhere, other.unknown) == ("priority", -(-n // 2), 0)
    assert other.as_asked == n // 2
    assert other.share_elsewhere == -(-n // 2) / n
    assert other.extra_usd == pytest.approx(8)
    assert other.extra_usd_per_1000_requests == pytest.approx(8000 / n)


def test_the_screen_says_both_and_why_one_says_less(compared: Comparison) -> None:
    """As bought first; the money beside who served."""
    said = " ".join(" ".join(result_lines(compared_result([compared], []), whole=True)).split())
    assert said.count("answers by it") == 1
    n = compared.other.n
    assert f"{n // 2:,} of {n:,} answers by it, {-(-n // 2):,} by another tier" in said
    assert "these cost 8" in said
    assert "as served: MATERIALLY_BETTER" in said
    assert "chooses" in said.partition("which says less: ")[2]


def test_nothing_is_said_where_every_answer_was_honoured_or_none_is_known() -> None:
    """The record is as it was."""
    cheap, dear = pair(1, 400)
    plain = compare_arms(cheap, dear, ASKED)
    honoured = bought(dear, np.zeros(len(dear), bool))
    assert with_served(plain, cheap, dear, ASKED).as_served is None
    assert with_served(plain, cheap, honoured, ASKED).as_served is None


def test_without_both_prices_there_is_a_reason_in_place_of_money() -> None:
    """No sum is guessed, and a rejecting A/A check leaves nothing proven as served either."""
    cheap, dear = pair(1, 400, ratio=0.5)
    dear = bought(dear, every_second(dear), usd_per_million=[3.0, 12.0])
    record = with_served(compare_arms(cheap, dear, ASKED), cheap, dear, ASKED)
    assert record.as_served is not None
    assert record.as_served.other is not None
    assert record.as_served.other.extra_usd is None
    assert record.as_served.other.reason == "no price is known of both tiers"
    spoilt = with_aa(record, [AACheck(rejects=True)]).as_served
    assert spoilt is not None
    assert spoilt.comparison.headline == "INCONCLUSIVE"


def test_an_arm_knows_what_served_each_row_and_keeps_it_as_a_baseline(tmp_path: Path) -> None:
    """By the words of the run; tokens that another tier served are counted by hand."""
    words = ["priority", "default", "gold"]
    rows = [
        answered(100, due=1000, phase=1, served_tier=served, prompt_tokens=10, tokens=3)
        for served in (0, 1, 1, 2, -1)
    ]
    rows.append(failed(Outcome.http_5xx, due=1000, phase=1))
    lane = lane_of(tier="fast", prices=PRICES)
    run = run_of(tmp_path / "run", rows, lane, strings={"served_tier": words})
    found = arm_of(run, 0, "e2e")
    assert found.tier is not None
    assert found.tier.tolist() == [AS_ASKED, ELSEWHERE, ELSEWHERE, UNNAMED, UNNAMED, FAILED]
    assert found.facts.asked == "fast"
    assert found.facts.elsewhere_tokens == (20, 6)
    assert found.facts.usd_per_million == (2.0, 8.0)
    save_baseline(found, tmp_path / "kept.json")
    kept = load_baseline(tmp_path / "kept.json").tier
    assert kept is not None
    assert kept.tolist() == found.tier.tolist()
    assert arm_of(run_of(tmp_path / "plain", rows, lane_of()), 0, "e2e").tier is None
