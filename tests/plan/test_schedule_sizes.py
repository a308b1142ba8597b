"""How large requests are: each law against scipy and its own table, mixes against their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.plan.profile import bucket_names
from bench.plan.schedule import Table, compile_plan
from tests.support.planned import profile, rows, stage, suite, target

LEVEL = 0.01


def sized(seed: int, *mix: dict[str, Any], side: str = "prompt_tokens") -> Table:
    keys = {side: list(mix)}
    return rows(seed, arrivals={"kind": "constant", "rate": "100/s"}, duration="200s", **keys)


@pytest.mark.parametrize("side", ["prompt_tokens", "output_tokens"])
def test_sizes_follow_their_quantile_table(side: str) -> None:
    """Between its points a quantile table is linear: sizes pass KS against exactly that (rounding
    is 1 in 50,000).
    """
    percent, tokens = [0, 10, 50, 99, 100], [1000, 2000, 30_000, 50_000, 900_000]
    quantiles = {str(p): t for p, t in zip(percent, tokens, strict=True)}
    drawn = sized(1, {"quantiles": quantiles}, side=side)[side]
    assert (
        stats.kstest(drawn, lambda v: np.interp(v, tokens, np.array(percent) / 100)).pvalue > LEVEL
    )


def test_lognormal_sizes_have_their_median_and_spread() -> None:
    """Sizes of a lognormal pass KS against scipy's: the median is exp(mu)."""
    drawn = sized(2, {"lognormal": {"mu": 10.0, "sigma": 0.7}})["prompt_tokens"]
    assert stats.kstest(drawn, stats.lognorm(s=0.7, scale=np.exp(10.0)).cdf).pvalue > LEVEL
    assert np.count_nonzero(drawn < np.exp(10.0)) == pytest.approx(10_000, abs=200)


def test_prompt_and_output_are_independent() -> None:
    """Two lognormals, or a table and a lognormal, do not follow each other."""
    law = {"lognormal": {"mu": 8.0, "sigma": 1.0}}
    table = rows(
        3,
        arrivals={"kind": "constant", "rate": "100/s"},
        duration="200s",
        prompt_tokens=[law],
        output_tokens=[law],
    )
    assert stats.spearmanr(table["prompt_tokens"], table["output_tokens"]).pvalue > LEVEL


def test_sizes_are_held_between_min_and_max() -> None:
    """Clamped sizes sit on the clamp with the mass that the law has beyond it."""
    law = stats.lognorm(s=1.0, scale=np.exp(6.0))
    drawn = sized(4, {"lognormal": {"mu": 6.0, "sigma": 1.0}, "min": 200, "max": 900})[
        "prompt_tokens"
    ]
    assert (drawn.min(), drawn.max()) == (200, 900)
    assert (
        stats.binomtest(
            int(np.count_nonzero(drawn == 900)), len(drawn), float(law.sf(899.5))
        ).pvalue
        > LEVEL
    )
    assert (
        stats.binomtest(
            int(np.count_nonzero(drawn == 200)), len(drawn), float(law.cdf(200.5))
        ).pvalue
        > LEVEL
    )


def test_an_endless_lognormal_is_clamped_without_a_warning() -> None:
    """Parameters whose exponential overflows a double give `max`, as any size beyond it."""
    assert set(
        sized(5, {"lognormal": {"mu": 800.0, "sigma": 1.0}, "max": 5000})["prompt_tokens"]
    ) == {5000}


def test_mixes_keep_their_weights() -> None:
    """Components of weights 1, 2 and 5 take 1/8, 1/4 and 5/8 of the rows (chi-square)."""
    drawn = sized(
        6, {"weight": 1, "fixed": 10}, {"weight": 2, "fixed": 20}, {"weight": 5, "fixed": 30}
    )["prompt_tokens"]
    counts = [int(np.count_nonzero(drawn == size)) for size in (10, 20, 30)]
    assert sum(counts) == len(drawn)
    assert stats.chisquare(counts, len(drawn) * np.array([1, 2, 5]) / 8).pvalue > LEVEL


def test_a_component_changed_leaves_the_other_rows_alone() -> None:
    """Rows of one component keep their sizes when another component's law changes: draws are paired
    by row.
    """
    table = {"weight": 1, "quantiles": {"0": 1000, "100": 9000}}
    first = sized(7, table, {"weight": 1, "fixed": 7})["prompt_tokens"]
    second = sized(7, table, {"weight": 1, "lognormal": {"mu": 1.0, "sigma": 0.2}, "max": 500})[
        "prompt_tokens"
    ]
    kept = first != 7
    assert 9000 < np.count_nonzero(kept) < 11_000
    assert np.array_equal(first[kept], second[kept])


def test_bucket_edges_belong_to_the_bucket_below() -> None:
    """1,024, 8,192 and 32,768 tokens are the last of their buckets, one more is the first of the
    next.
    """
    sizes = [1, 1024, 1025, 8192, 8193, 32_768, 32_769, 1_000_000]
    compiled = compile_plan(
        suite(
            *[
                stage(
                    profile(
                        arrivals={"kind": "constant", "rate": "1/s"},
                        requests=1,
                        prompt_tokens=[{"fixed": size}],
                    ),
                    target(),
                    name=f"s{size}",
                )
                for size in sizes
            ]
        )
    )
    names = [bucket_names()[bucket] for bucket in compiled.schedule["bucket"]]
    assert names == ["≤1K", "≤1K", "1K–8K", "1K–8K", "8K–32K", "8K–32K", ">32K", ">32K"]
