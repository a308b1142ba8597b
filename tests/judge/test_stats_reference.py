"""The statistics against the vectors of stats_reference.json, which lies beside the checkout."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.judge.stats.tail import (
    clopper_pearson,
    min_n,
    mser5,
    operating_characteristic,
    quantile_ci_ranks,
    quantile_nearest_rank,
    verdict_counts,
)
from bench.record.samples import Outcome, empty_samples, latency_ns
from bench.units import nearest_rank

VECTORS = Path(__file__).resolve().parents[2] / "../shared/stats_reference.json"
pytestmark = pytest.mark.skipif(not VECTORS.is_file(), reason="no ../shared/stats_reference.json")


@pytest.fixture(scope="module")
def vectors() -> dict[str, Any]:
    return dict(json.loads(VECTORS.read_bytes()))


def test_min_n(vectors: dict[str, Any]) -> None:
    """The smallest provable n of every claim, error and count of exceedances is the table's."""
    for row in vectors["min_n"]["rows"]:
        expected = {int(k): n for k, n in row["n_by_allowed_exceedances"].items()}
        assert {k: min_n(Fraction(row["q"]), row["alpha"], k) for k in expected} == expected


def test_mlperf_early_stopping(vectors: dict[str, Any]) -> None:
    """MLPerf's rule at 99 % is the smallest n of a claim with so many over the limit: its published
    sizes come out.
    """
    for row in vectors["mlperf_early_stopping"]["rows"]:
        for name, size in row.items():
            if name != "overlatency":
                assert (
                    min_n(Fraction(int(name.removeprefix("n_p")), 100), 0.01, row["overlatency"])
                    == size
                )


def test_a_freeze_counts_from_the_due_times(vectors: dict[str, Any]) -> None:
    """10,000 answers of 1 ms, then 100 s of nothing, a request due every 10 ms: response time has
    the corrected figures of the vector, service time (each sent when the one before had ended) the
    uncorrected.
    """
    n, ms = 20_000, 10**6
    rows = empty_samples(n)
    rows["outcome"], rows["due_ns"] = Outcome.ok, np.arange(n) * 10 * ms
    frozen = rows["due_ns"] >= 100_000 * ms
    rows["done_ns"] = np.where(frozen, 200_000 * ms, rows["due_ns"] + ms)
    rows["sent_ns"] = rows["done_ns"] - ms
    rows["sent_ns"][10_000] = rows["due_ns"][10_000]
    given = vectors["coordinated_omission_vector"]
    response, service = (
        np.sort(latency_ns(rows, "e2e", view)) / 1e9 for view in ("response", "service")
    )
    assert float(response.mean()) == pytest.approx(given["corrected_mean"], rel=1e-3)
    for q in given["corrected"]:
        assert quantile_nearest_rank(response, Fraction(q)) == pytest.approx(
            given["corrected"][q], rel=1e-3
        )
        assert quantile_nearest_rank(service, Fraction(q)) == given["uncorrected"][q]


def test_quantile_ci_ranks(vectors: dict[str, Any]) -> None:
    """Point rank, two-sided ranks and one-sided ranks are the table's, missing limits included."""
    for row in vectors["quantile_ci_ranks"]["rows"]:
        n, q = row["n"], Fraction(str(row["q"]))
        assert nearest_rank(n, q) == row["point_rank"]
        for alpha, name in ((0.05, "95"), (0.01, "99")):
            two, one = row[f"two_sided_{name}"], row[f"one_sided_{name}"]
            ranks = quantile_ci_ranks(n, q, alpha / 2)
            assert (ranks.lower > 0, ranks.upper <= n) == (two["lower_exists"], two["upper_exists"])
            assert ranks == (two["l"], two["u"])
            assert quantile_ci_ranks(n, q, alpha) == (one["lower_rank"], one["upper_rank"])


def test_clopper_pearson(vectors: dict[str, Any]) -> None:
    """Exact limits of a share agree to 1e-6, with none, some and all requests over the limit."""
    for row in vectors["clopper_pearson"]["rows"]:
        assert clopper_pearson(row["k"], row["n"], 0.025) == pytest.approx(
            row["two_sided_95"], rel=1e-6
        )
        one_sided = (row["one_sided_95_lower"], row["one_sided_95_upper"])
        assert clopper_pearson(row["k"], row["n"], 0.05) == pytest.approx(one_sided, rel=1e-6)


def test_verdict_counts(vectors: dict[str, Any]) -> None:
    """Largest passing and smallest failing count are the table's; -1 where PASS is impossible."""
    rows = vectors["verdict_counts"]["rows"]
    assert [verdict_counts(row["n"], Fraction(row["p0"]), row["alpha"]) for row in rows] == [
        (row["k_pass"], row["k_fail"]) for row in rows
    ]


def test_operating_characteristic(vectors: dict[str, Any]) -> None:
    """Chances of PASS, FAIL and INCONCLUSIVE agree to the six digits that the table keeps."""
    for row in vectors["verdict_operating_characteristic"]:
        chances = operating_characteristic(row["n"], Fraction(str(row["p0"])), row["p_true"], 0.05)
        expected = (row["P_PASS"], row["P_FAIL"], row["P_INCONCLUSIVE"])
        assert (*chances, 1 - sum(chances)) == pytest.approx(expected, rel=5e-6, abs=5e-7)
        assert chances.p_fail == pytest.approx(row["P_FAIL"], rel=5e-6)


def test_duality(vectors: dict[str, Any]) -> None:
    """n minus the upper rank of the quantile is the largest passing count."""
    for row in vectors["duality_check"]:
        n, q = row["n"], Fraction(str(row["q"]))
        assert quantile_ci_ranks(n, q, 0.05).upper == row["upper_rank_95"]
        assert n - row["upper_rank_95"] == row["n_minus_rank"] == row["k_pass"]
        assert verdict_counts(n, 1 - q, 0.05).k_pass == row["k_pass"]


def test_mser5(vectors: dict[str, Any]) -> None:
    """A decaying start is cut where the vector says; a trend without end is flagged."""
    trend = [t / 100 for t in range(500)]
    given = vectors["mser5"]
    for y, expected in (
        (given["y"], given["expected"]),
        (trend, given["expected_no_steady_state"]),
    ):
        got = mser5(y)
        assert got.mser == pytest.approx(expected["mser"], rel=1e-6)
        assert (got.batches, got.d_star, got.truncate_first, got.at_boundary) == (
            expected["batches"],
            expected["d_star"],
            expected["truncate_first"],
            expected["at_boundary"],
        )


def test_ranks_that_floats_get_wrong(vectors: dict[str, Any]) -> None:
    """The rank is the exact ceiling where a float product lands above the whole number."""
    for row in vectors["nearest_rank_float_traps"]:
        assert nearest_rank(row["n"], Fraction(row["q"])) == row["exact"]


def test_quantile_definition(vectors: dict[str, Any]) -> None:
    """The quantile is a value of the sample (type 1), never an interpolated one."""
    for row in vectors["quantile_definition_vectors"]:
        values = range(1, 101) if row["x"] == "1..100" else row["x"]
        assert quantile_nearest_rank(values, Fraction(row["q"])) == row["type1"]
