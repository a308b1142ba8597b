"""How often a clause by time errs over several runs of one hour: a Markdown table.

In: a seed. Out: per number of runs and length of outages the share of PASS and FAIL at the limit,
and at a quarter and three times of it. Must stay true: the rule is the product's own; a week's
outages come at random, and runs at random hours of it.

    python -m benchmarks.runs_of_time
"""

from __future__ import annotations

import argparse
import math
from fractions import Fraction

import numpy as np

from bench.judge.runs.lost import Lost
from bench.judge.runs.rule import Rule
from bench.judge.stats.stretches import Stretches
from bench.record.samples import Float

LIMIT, ALPHA, HOUR, WEEK = Fraction(1, 100), 0.05, 60, 7 * 24 * 60
ASSUMED_MIN = 5.0
#: Parts that a minute is drawn in.
PARTS = 10


def week(share: float, mean_min: float, rng: np.random.Generator) -> Float:
    """What each minute lost to outages of exponential length that begin at random."""
    before = 20 * mean_min
    begun = rng.poisson(-math.log1p(-share) / mean_min * (WEEK + before))
    begins = rng.uniform(-before, WEEK, begun)
    ends = begins + rng.exponential(mean_min, begun)
    down = np.zeros(WEEK * PARTS, bool)
    for begin, end in zip(begins * PARTS, ends * PARTS, strict=True):
        down[max(0, int(begin)) : max(0, int(end))] = True
    return np.asarray(down.reshape(WEEK, PARTS).mean(axis=1))


def outcome(runs: int, mean_min: float, share: float, rng: np.random.Generator) -> str:
    """Of hours drawn without overlap."""
    lost = week(share, mean_min, rng).reshape(-1, HOUR)
    drawn = np.sort(rng.choice(len(lost), runs, replace=False))
    found = [Stretches(lost[hour], ASSUMED_MIN, whole=False) for hour in drawn]
    parts = [Lost("r", each, each, 0.0, ASSUMED_MIN) for each in found]
    return Rule(parts, LIMIT, ALPHA, "minutes").outcome


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    print("| runs | outages, min | PASS | FAIL | PASS at 1/4 | FAIL at 3 |")
    print("|---|---|---|---|---|---|")
    for runs in (30, 60):
        for mean_min in (5.0, 30.0):
            at, quarter, thrice = (
                [outcome(runs, mean_min, float(LIMIT) * times, rng) for _ in range(asked.draws)]
                for times in (1, 0.25, 3)
            )
            said = (at, "PASS"), (at, "FAIL"), (quarter, "PASS"), (thrice, "FAIL")
            cells = (f"{100 * each.count(word) / asked.draws:.1f}" for each, word in said)
            print(f"| {runs} | {mean_min:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
