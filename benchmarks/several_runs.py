"""How often the rule over several runs errs, by how runs differ: a Markdown table.

In: a seed. Out: per shape and number of runs the share of PASS and FAIL at the limit, and at a
half, a quarter and twice of it. Must stay true: the rule is the product's own; runs are drawn by
laws that it knows nothing of.

    python -m benchmarks.several_runs
"""

from __future__ import annotations

import argparse
from fractions import Fraction

import numpy as np

from bench.judge.runs.rule import pool
from bench.judge.stats.scales import Weight
from bench.judge.stats.tail import clopper_pearson
from bench.record.samples import Float

LIMIT, ALPHA, ROWS = Fraction(1, 100), 0.05, 1000
RUNS = (10, 20, 40)
SHAPES = (
    "alike",
    "lognormal, σ 0.5",
    "lognormal, σ 1",
    "gamma, cv 1",
    "one run in ten has all of it",
)


def shares(shape: str, runs: int, mean: float, rng: np.random.Generator) -> Float:
    """The share of bad requests of each run."""
    if shape.startswith("lognormal"):
        sigma = float(shape.rpartition(" ")[2])
        level = np.exp(sigma * rng.standard_normal(runs) - sigma**2 / 2)
    elif shape.startswith("gamma"):
        level = rng.gamma(1, 1, runs)
    elif shape.startswith("one run"):
        level = np.where(rng.random(runs) < 0.1, 10.0, 0.0)
    else:
        level = np.ones(runs)
    return np.minimum(mean * level, 1)


def chances(
    shape: str, runs: int, mean: float, draws: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """(PASS, FAIL, PASS of all requests taken as independent), in per cent."""
    passed = failed = exact = 0
    for _ in range(draws):
        bad = rng.binomial(ROWS, shares(shape, runs, mean, rng))
        weights = [Weight(float(each), ROWS, float(each), 1.0, 30) for each in bad]
        weight = pool(weights, ALPHA).weight
        passed += weight.passes(LIMIT, ALPHA)
        failed += weight.fails(LIMIT, ALPHA)
        exact += clopper_pearson(int(bad.sum()), ROWS * runs, ALPHA).upper <= LIMIT
    return 100 * passed / draws, 100 * failed / draws, 100 * exact / draws


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    print("| runs differ | runs | all as one: PASS | PASS | FAIL | PASS at 1/2 | 1/4 | FAIL at 2 |")
    print("|---|---|---|---|---|---|---|---|")
    limit = float(LIMIT)
    for shape in SHAPES:
        for runs in RUNS:
            at, half, quarter, twice = (
                chances(shape, runs, limit * times, asked.draws, rng) for times in (1, 0.5, 0.25, 2)
            )
            cells = (at[2], at[0], at[1], half[0], quarter[0], twice[1])
            print(f"| {shape} | {runs} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
