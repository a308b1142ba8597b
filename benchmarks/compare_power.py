"""How often `compare` errs and what it finds, on arms drawn from stated laws.

In: numbers of seeds and rows. Out: rates on stdout, as docs/comparison.md states them. Must stay
true: "differs" means that the 95 % interval of the p99 ratio leaves out 1; the latencies are
lognormal, their median drifting up over the run; nothing here is tuned to the seeds.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from bench.clock import monotonic_ns
from bench.judge.compare.compare import Question, compare_arms, part_of
from bench.judge.compare.decision import ALPHA
from bench.judge.compare.difference import permutation
from bench.judge.stats.superblocks import sample, slot_ns
from bench.quantiles import P99
from bench.show.comparison import comparison_section
from bench.show.document import Figure
from tests.support.made_arms import RUN_S, S, pair

DESIGNS = {"random": Question(), "abba": Question(unit_ns=20 * S), "first": Question()}


def differs(seed: int, rows: int, order: str, **law: Any) -> tuple[bool, bool]:
    """Whether the interval of the p99 ratio leaves out 1, and whether the outcome is BETTER or
    WORSE.
    """
    first, second = pair(seed, rows, order=order, **law)
    record = part_of(first, second, DESIGNS[order], None)[0]
    low, high = record.ratios["p99"].interval
    differs = (low is not None and low > 1) or (high is not None and high < 1)
    return differs, bool({"BETTER", "WORSE"} & set(record.outcomes))


def rates(seeds: range, rows: int, order: str, **law: Any) -> str:
    """Both rates in per cent."""
    interval, outcome = 100 * np.mean([differs(seed, rows, order, **law) for seed in seeds], axis=0)
    return f"{interval:4.1f} % {outcome:5.1f} %"


def permutations(seed: int, rows: int, drift: float) -> tuple[bool, bool]:
    """Whether the permutation test rejects at 5 %, and whether an arm is said to be faster
    everywhere.
    """
    arms = pair(seed, rows, drift=drift)
    sampled = sample(
        (arms[0].values, arms[1].values), (arms[0].at_ns, arms[1].at_ns), slot_ns(RUN_S * S), seed
    )
    assert sampled
    found = permutation(sampled, P99, seed)
    return found.p_value <= ALPHA, found.dominance != "none"


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    seeds = range(parser.parse_args().seeds)
    print(f"{len(seeds)} seeds; the 95 % interval leaves out 1, and the outcome is BETTER or WORSE")
    for rows, order in (
        (2_000, "random"),
        (5_000, "random"),
        (2_000, "abba"),
        (5_000, "abba"),
        (2_000, "first"),
    ):
        for drift in (0.0, 0.2, 0.5):
            print(
                f"  identical, {rows:,} an arm, {order:6}, drift {drift:4.0%}:"
                f" {rates(seeds, rows, order, drift=drift)}",
                flush=True,
            )
    for spell_s in (2.0, 10.0, 30.0, 60.0):
        print(
            f"  identical, 5,000 an arm, own spells of {spell_s:2.0f} s:"
            f" {rates(seeds, 5_000, 'random', sigma=0.3, spell_s=spell_s)}",
            flush=True,
        )
    for rows, ratio in ((5_000, 1.3), (1_100, 1.3)):
        print(
            f"  ratio {ratio}, {rows:,} an arm, drift 20 %:"
            f" {rates(seeds, rows, 'random', ratio=ratio, drift=0.2)}",
            flush=True,
        )
    found_by = np.mean([permutations(seed, 2_000, 0.5) for seed in seeds], axis=0)
    print(
        f"permutation at 2,000 an arm, 50 % drift: rejects {100 * found_by[0]:.1f} %, an arm faster"
        f" everywhere {100 * found_by[1]:.1f} %"
    )
    first, second = pair(1, 100_000, ratio=0.8)
    began = monotonic_ns()
    record = compare_arms(first, second, Question(limit_ns=800 * 10**6))
    middle = monotonic_ns()
    section = comparison_section(record)
    print(
        f"100,000 rows an arm: {(middle - began) / S:.2f} s, and"
        f" {(monotonic_ns() - middle) / S:.2f} s for {len(section.of(Figure))} figures"
    )


if __name__ == "__main__":
    main()
