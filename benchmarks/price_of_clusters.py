"""How many rows decide when slow requests come in clusters: the table of docs/planning.md.

In: a seed. Out: the chance of the right verdict by rows, as multiples of what independent requests
need times the design effect. Must stay true: the rule is the product's own; the design effect is
that of the law, from four million rows, and not the run's estimate.

    python -m benchmarks.price_of_clusters
"""

from __future__ import annotations

import argparse
import math
from fractions import Fraction

import numpy as np

from bench.judge.stats.scales import lay_out, weigh
from bench.judge.stats.tail import needed_n
from bench.record.samples import Bool

LIMIT, ALPHA = Fraction(1, 100), 0.05
#: Of a slow phase so many requests are bad.
WITHIN = 0.2
#: Mean requests of a slow phase, and the true share of bad ones.
LAWS = [(mean, share) for share in (0.0025, 0.005, 0.02) for mean in (10, 50)]
TIMES = (1, 1.5, 2, 3, 4)
_MS = 1_000_000


def two_phases(rows: int, mean: int, share: float, rng: np.random.Generator) -> Bool:
    """Which rows are bad: slow phases of geometric length, and quiet ones between them."""
    slow = share / WITHIN
    quiet = mean * (1 - slow) / slow
    cycles = int(rows / (mean + quiet) * 1.5) + 20
    lengths = np.empty((cycles, 2), np.int64)
    begins_slow = rng.random() < slow
    order = (mean, quiet) if begins_slow else (quiet, mean)
    for column, length in enumerate(order):
        lengths[:, column] = rng.geometric(1 / length, cycles)
    states = np.repeat(np.tile([begins_slow, not begins_slow], cycles), lengths.ravel())[:rows]
    if len(states) < rows:
        return two_phases(rows, mean, share, rng)
    return np.asarray(states & (rng.random(rows) < WITHIN), bool)


def design_effect(mean: int, share: float, rng: np.random.Generator) -> float:
    """Variance of the bad rows of 10,000 over that of independent ones."""
    counts = two_phases(4_000_000, mean, share, rng).reshape(400, -1).sum(axis=1)
    return float(counts.var(ddof=1) / (10_000 * share * (1 - share)))


def right(rows: int, mean: int, share: float, rng: np.random.Generator) -> bool:
    """Whether a run of so many rows gets the verdict that its law deserves."""
    layout = lay_out(np.arange(rows, dtype=np.int64) * _MS)
    weight = weigh(layout, np.flatnonzero(two_phases(rows, mean, share, rng)), ALPHA)
    if share < LIMIT:
        return weight.passes(LIMIT, ALPHA)
    return weight.fails(LIMIT, ALPHA)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    print("| truly bad | slow phases | D | " + " | ".join(f"{times:g}" for times in TIMES) + " |")
    print("|---|---|---|" + "---|" * len(TIMES))
    for mean, share in LAWS:
        effect = design_effect(mean, share, rng)
        alone = needed_n(Fraction(str(share)), LIMIT, ALPHA) or 0
        cells = []
        for times in TIMES:
            rows = math.ceil(alone * effect * times)
            hits = sum(right(rows, mean, share, rng) for _ in range(asked.draws))
            cells.append(f"{100 * hits / asked.draws:.0f} %")
        print(f"| {share:.2%} | {mean} | {effect:.1f} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
