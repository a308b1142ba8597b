"""How often equal arms, lanes and levels are told apart when their rows depend on each other.

In: numbers of seeds. Out: rates on stdout, as docs/comparison.md and docs/attribution.md have
them. Must stay true: the arms have one law and nothing in common, so that what is found is an
error; the laws are those of a service (a queue fed in bursts, slow spells of unequal severity, a
load that walks, sessions of which some are slow), not those that the rules assume.

    python -m benchmarks.compare_shapes            # about two minutes on a quiet core
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from bench.judge.attribution.association import Table2, associate, level_of_each
from bench.judge.compare.arms import Arm
from bench.judge.compare.compare import Question, part_of
from bench.record.records.comparisons import PartComparison
from bench.record.samples import Float, Int
from tests.support.made_arms import RUN_S, arm

Draw = np.random.Generator
MARGIN = Fraction(1, 10)
#: Of a factor that comes and goes, its mean stay on one level.
STAY_S = 60.0


class Rows(NamedTuple):
    """Due times (s) ascending, latencies (ms), the session of each row."""

    at_s: Float
    latency_ms: Float
    session: Int | None = None


def independent(draw: Draw, rows: int) -> Rows:
    """Lognormal answers, due at random."""
    return Rows(np.sort(draw.uniform(0, RUN_S, rows)), 200 * draw.lognormal(0, 0.7, rows))


def queue(draw: Draw, rows: int) -> Rows:
    """One server whose arrivals come three times as often for 20 s of every 80 s in the mean."""
    lengths = draw.exponential([60.0, 20.0], (RUN_S // 40, 2)).ravel()
    edges = np.minimum(np.concatenate([[0], np.cumsum(lengths)]), RUN_S)
    work = np.concatenate([[0], np.cumsum(np.diff(edges) * np.tile([1, 3], len(lengths) // 2))])
    at = np.interp(np.sort(draw.uniform(0, work[-1], rows)), work, edges)
    service = draw.lognormal(-0.32, 0.8, rows) * 0.45 * RUN_S / rows
    ahead = np.cumsum(service) - service - at
    took = ahead - np.minimum.accumulate(ahead) + service
    return Rows(at, 200 * took / np.median(took))


def bursts(draw: Draw, rows: int) -> Rows:
    """About four spells of unequal length and severity."""
    at, took = independent(draw, rows)[:2]
    for _ in range(draw.poisson(4)):
        start = draw.uniform(0, RUN_S)
        inside = (at >= start) & (at < start + draw.exponential(15))
        took[inside & (draw.random(rows) < draw.uniform(0.1, 0.9))] *= draw.uniform(4, 12)
    return Rows(at, took)


def walking(draw: Draw, forgets_s: float = 60.0) -> Float:
    """A standard normal number a second that forgets where it was."""
    keep = float(np.exp(-1 / forgets_s))
    steps = draw.normal(0, np.sqrt(1 - keep**2), RUN_S)
    made = draw.normal(0, 1, RUN_S)
    for second in range(1, RUN_S):
        made[second] = keep * made[second - 1] + steps[second]
    return made


def walk(draw: Draw, rows: int) -> Rows:
    """A load that walks takes the latency with it."""
    at, took = independent(draw, rows)[:2]
    return Rows(at, took**0.5 * 14 * np.exp(0.3 * walking(draw)[at.astype(int)]))


def sessions(draw: Draw, rows: int) -> Rows:
    """Ten turns a session in the mean; one session in ten sits where most turns are slow."""
    turns = draw.geometric(0.1, rows // 2 + 20)
    session = np.repeat(np.arange(len(turns)), turns)[:rows]
    begun = np.sort(draw.uniform(0, RUN_S - 100, len(turns)))
    at = np.minimum(begun[session] + draw.uniform(0, 99, rows), RUN_S - 1)
    slow = (draw.random(len(turns)) < 0.1)[session] & (draw.random(rows) < 0.6)
    took = 200 * draw.lognormal(0, 0.4, rows) * np.where(slow, 5, 1)
    order = np.argsort(at)
    return Rows(at[order], took[order], session[order])


SHAPES: dict[str, Callable[[Draw, int], Rows]] = {
    "independent": independent,
    "queue": queue,
    "bursts": bursts,
    "walk": walk,
    "sessions": sessions,
}


def compared(shape: str, rows: int, seed: int, ratio: float = 1.0) -> PartComparison:
    """Two arms of one law, the other's latencies `ratio` times as long."""
    draw = np.random.default_rng([seed, rows, *map(ord, shape)])
    arms = []
    for name, times in (("standard", 1.0), ("pro", ratio)):
        made = SHAPES[shape](draw, rows)
        arms.append(_arm(name, made, times))
    return part_of(arms[0], arms[1], Question(margin=MARGIN), None)[0]


def _arm(name: str, made: Rows, times: float) -> Arm:
    found = arm(name, made.at_s, made.latency_ms * times)
    return Arm(
        found.name,
        found.metric,
        found.at_ns,
        found.values,
        found.phase,
        found.bucket,
        found.undecided,
        found.facts.replace(limit_ns=None),
        session=made.session,
    )


def called(found: PartComparison) -> bool:
    """Whether a difference is said."""
    return bool({"BETTER", "WORSE"} & set(found.outcomes))


def levels_named(shape: str, seed: int, rows: int = 9_000) -> bool:
    """Whether attribution names any level of a run in which none has an effect."""
    draw = np.random.default_rng([seed, *map(ord, shape)])
    at = np.arange(rows) * RUN_S // rows
    chance = 0.012 * np.exp(0.8 * walking(draw, 120.0))[at]
    blocks = [at * 30 // RUN_S]
    stays = draw.exponential(STAY_S, RUN_S).astype(int) + 1
    on = np.repeat(draw.integers(0, 2, RUN_S), stays)[at]
    if shape == "sessions":
        session = at // 60 * 30 + draw.integers(0, 30, rows)
        count = int(session.max()) + 1
        chance = np.where((draw.random(count) < 0.03)[session], 0.4, 0.0)
        on = draw.integers(0, 2, count)[session]
        blocks.append(session // 30 * 30 * 60 // RUN_S)
    tail = draw.random(rows) < chance
    found = [
        level[1].p_value
        for codes in (on, draw.integers(0, 4, rows))
        for level in associate(
            [Table2.count(codes, tail, block, int(codes.max()) + 1, 30) for block in blocks], 0.025
        )
        if level is not None
    ]
    return min(found, default=1) <= level_of_each(found, 0.1)


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=120)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)

    def per_cent(flags: list[bool]) -> str:
        return f"{100 * np.mean(flags):5.1f} %"

    print(f"{len(seeds)} seeds; equal arms called BETTER or WORSE at 200, 600 and 5,000 rows;")
    print("gate PASS at 5,000 rows where the p99 is 1/0.9 times as long, the margin exactly")
    for shape in SHAPES:
        rates = [
            per_cent([called(compared(shape, rows, seed)) for seed in seeds])
            for rows in (200, 600, 5_000)
        ]
        passes = [
            compared(shape, 5_000, seed, 1 / 0.9).regression.headline == "PASS" for seed in seeds
        ]
        print(f"  {shape:12}", *rates, per_cent(passes), flush=True)
    for rows, ratio in ((600, 1.8), (1_100, 1.3), (2_000, 1.3)):
        found = per_cent([called(compared("independent", rows, seed, ratio)) for seed in seeds])
        print(f"  independent, {rows:,} an arm, ratio {ratio}: called {found}", flush=True)
    same = [compared("independent", 5_000, seed).regression.headline == "PASS" for seed in seeds]
    print(f"  independent, 5,000 an arm, equal: gate PASS {per_cent(same)}", flush=True)
    for shape in ("walk", "sessions"):
        named = per_cent([levels_named(shape, seed) for seed in seeds])
        print(f"  attribution without any effect, {shape}: names a level in {named}", flush=True)


if __name__ == "__main__":
    main()
