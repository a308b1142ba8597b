"""How often `compare` errs and what it finds, on arms drawn from stated laws.

In: numbers of seeds and rows. Out: rates on stdout, as docs/comparison.md states them. Must stay
true: "differs" means that the 95 % interval of the p99 ratio leaves out 1; the latencies are
lognormal, their median drifting up over the run; nothing here is tuned to the seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import zlib
from typing import Any

import numpy as np

from bench.clock import monotonic_ns
from bench.judge.compare.arms import Arm
from bench.judge.compare.compare import Question, compare_arms, part_of
from bench.judge.compare.decision import ALPHA
from bench.judge.compare.difference import permutation
from bench.judge.stats.superblocks import sample, slot_ns
from bench.quantiles import P99
from bench.show.document import Figure
from bench.show.tiers import pair_section
from benchmarks.production import Rows
from benchmarks.shapes_held_out import SHAPES, Shape
from tests.support.made_arms import RUN_S, S, arm, pair

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


#: Shapes that no rule was chosen on, whose runs are two equal arms.
MECHANISMS = (
    "queue, surges of 1 s",
    "load that walks, 10 s",
    "unequal bursts, 2 s",
    "sessions, n 15,000",
)


def arm_drawn(name: str, drawn: Rows, rows: int, rng: np.random.Generator, times: float) -> Arm:
    """`rows` of a run at random, over the time of the made arms; latencies `times` as long."""
    order = np.sort(rng.permutation(len(drawn.due_ns))[:rows])
    at_s = drawn.due_ns[order] * (RUN_S / (int(drawn.due_ns[-1]) + 1))
    latency_ms = np.where(drawn.failed[order], np.inf, drawn.latency_ns[order] / 10**6 * times)
    session = None if drawn.session is None else drawn.session[order]
    return dataclasses.replace(arm(name, at_s, latency_ms), session=session)


def called(shape: Shape, rows: int, seed: int, times: float) -> tuple[bool, bool]:
    """Whether two arms of one law, the other `times` as slow, are called different, and whether
    the gate passes. Each arm has spells of its own.
    """
    rng = np.random.default_rng([seed, rows, zlib.crc32(shape.name.encode())])
    first, second = shape.draw(rng, 0.01), shape.draw(rng, 0.01)
    arms = arm_drawn("a", first, rows, rng, 1), arm_drawn("b", second, rows, rng, times)
    record = part_of(*arms, Question(), None)[0]
    differ = {"BETTER", "WORSE", "MATERIALLY_BETTER"} & set(record.outcomes)
    return bool(differ), record.regression.headline == "PASS"


def mechanisms(seeds: range) -> None:
    """Equal arms, and the gate exactly at its margin."""
    print("equal arms with spells of their own: called different; at the margin: gate passed")
    margin = float(1 / (1 - Question().margin))
    for shape in [each for each in SHAPES if each.name in MECHANISMS]:
        for rows in (600, 1_500, 5_000):
            equal = [called(shape, rows, seed, 1)[0] for seed in seeds]
            gate = [called(shape, rows, seed, margin)[1] for seed in seeds if rows == 1_500]
            said = f"{100 * np.mean(equal):4.1f} %" + f"; {100 * np.mean(gate):4.1f} %" * bool(gate)
            print(f"  {shape.name:24} {rows:5,} an arm: {said}", flush=True)


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--mechanisms", action="store_true", help="of held-out shapes alone")
    asked = parser.parse_args()
    seeds = range(asked.seeds)
    if asked.mechanisms:
        mechanisms(seeds)
        return
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
    section = pair_section(record)
    print(
        f"100,000 rows an arm: {(middle - began) / S:.2f} s, and"
        f" {(monotonic_ns() - middle) / S:.2f} s for {len(section.of(Figure))} figures"
    )


if __name__ == "__main__":
    main()
