"""How often the judge errs when requests come in spells: `python benchmarks/coverage.py [--plot
FILE]`.

In: nothing but a seed. Out: for each shape of dependence, the share of runs that PASS and FAIL
with the true share of slow requests exactly at the limit (both are errors), by the exact binomial
as if requests were independent and by `judge_trials`; and the power away from the limit. The
figures of docs/statistics.md come from here. Every run of a shape is drawn anew, spells included.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bench.judge.stats.dependence import Outcome, Trials, judge_trials
from bench.judge.stats.sequential import LOOKS, look_times
from bench.judge.stats.tail import verdict_counts
from bench.record.samples import Bool, Float, Int

P0, ALPHA, SEED = Fraction(1, 100), 0.05, 20260714
Draw = Callable[[np.random.Generator, float], Trials]


class Shape(NamedTuple):
    """A way in which slow requests come together: `draw(rng, share)` is one run of it."""

    name: str
    draw: Draw


class Rates(NamedTuple):
    """Shares of the simulated runs."""

    passed: float
    failed: float


def trials(rng: np.random.Generator, bad: Bool, slow: Bool, at_ns: Int | None = None) -> Trials:
    """Rows whose latency is over the limit where `bad`, and else longer in `slow` phases than
    outside.
    """
    n = len(bad)
    return of_latency(np.where(bad, 2.0, 0.5 * slow) + rng.random(n), bad, at_ns)


def of_latency(latency: Float, bad: Bool, at_ns: Int | None = None) -> Trials:
    n = len(bad)
    p95 = np.partition(latency, math.ceil(0.95 * n) - 1)[math.ceil(0.95 * n) - 1]
    at_ns = np.arange(n, dtype=np.int64) * 1_000_000 if at_ns is None else at_ns
    return Trials(at_ns, bad, np.zeros(n, bool), latency > p95)


def spells(
    rng: np.random.Generator, n: int, share: float, lengths: Callable[[int], Int], mean: float
) -> Bool:
    """On and off by turns: `lengths(count)` on, geometric off so that on has its share in the long
    run.
    """
    pairs = 8 * math.ceil(n * share / mean) + 20
    turns = np.empty(2 * pairs, np.int64)
    turns[::2], turns[1::2] = lengths(pairs), rng.geometric(share / (mean * (1 - share)), pairs)
    # the start falls on a random row of a random turn, long turns likelier: a run joins what
    # already goes on
    state = np.repeat(np.arange(2 * pairs) % 2 == 0, np.maximum(turns, 1))
    start = rng.integers(0, max(len(state) - n, 1))
    return state[start : start + n] if len(state) >= start + n else np.resize(state, n)


def independent(n: int) -> Draw:
    return lambda rng, share: trials(rng, rng.random(n) < share, np.zeros(n, bool))


def phases(n: int, dwell: int, background: float = 0.0) -> Draw:
    """Slow 5 % of the time; `background` is the part of the slow requests that come outside slow
    phases.
    """

    def draw(rng: np.random.Generator, share: float) -> Trials:
        slow = spells(rng, n, 0.05, lambda count: rng.geometric(1 / dwell, count), dwell)
        chance = np.where(slow, share * (1 - background) / 0.05, share * background / 0.95)
        return trials(rng, rng.random(n) < chance, slow)

    return draw


def outages(n: int, mean: float, tail: float | None) -> Draw:
    """Spells in which every request fails: of one length, or Pareto with this tail index."""

    def draw(rng: np.random.Generator, share: float) -> Trials:
        def lengths(count: int) -> Int:
            if tail is None:
                return np.full(count, round(mean))
            return (
                (mean * (tail - 1) / tail * (1 - rng.random(count)) ** (-1 / tail))
                .astype(np.int64)
                .clip(1, 20 * n)
            )

        down = spells(rng, n, share, lengths, mean)
        return trials(rng, down, down)

    return draw


def autoregressive(n: int, phi: float) -> Draw:
    """Latency over the limit where a Gaussian AR(1) is over its quantile."""

    def draw(rng: np.random.Generator, share: float) -> Trials:
        warm_up, reach = math.ceil(14 / -math.log(phi)), 1
        noise = rng.standard_normal(warm_up + n) * math.sqrt(1 - phi * phi)
        while reach < warm_up:  # sums of 2, 4, 8, ... past terms
            noise[reach:] += phi**reach * noise[:-reach]
            reach *= 2
        level = noise[warm_up:]
        return of_latency(level, level > NormalDist().inv_cdf(1 - share))

    return draw


def drift(n: int, periods: float) -> Draw:
    """A share that swings between nothing and double, as a sine over the run that begins
    anywhere.
    """

    def draw(rng: np.random.Generator, share: float) -> Trials:
        swing = 1 + np.sin(2 * np.pi * (periods * np.arange(n) / n + rng.random()))
        return trials(rng, rng.random(n) < share * swing, swing > 1.5)

    return draw


def self_exciting(n: int, children: float, delay: float) -> Draw:
    """Each slow request brings Poisson(`children`) further ones, after geometric delays of mean
    `delay` rows.
    """

    def draw(rng: np.random.Generator, share: float) -> Trials:
        before = 200 * int(delay)  # what came before the run has children in it
        born = np.flatnonzero(rng.random(n + before) < share * (1 - children)) - before
        rows = [born]
        while len(born):
            parents = np.repeat(born, rng.poisson(children, len(born)))
            born = parents + rng.geometric(1 / delay, len(parents))
            rows.append(born)
        order = np.arange(sum(len(generation) for generation in rows))
        # two in one row: the later takes the next free row
        slow = np.maximum.accumulate(np.sort(np.concatenate(rows)) - order) + order
        bad = np.zeros(n, bool)
        bad[slow[(slow >= 0) & (slow < n)]] = True
        return trials(rng, bad, bad)

    return draw


def surges(n: int, dwell: int) -> Draw:
    """Poisson arrivals, five times as many in a tenth of the time; slow requests only then."""

    def draw(rng: np.random.Generator, share: float) -> Trials:
        slots = round(n / 1.4)
        busy = spells(rng, slots, 0.1, lambda count: rng.geometric(1 / dwell, count), dwell)
        slot = np.repeat(np.arange(slots), rng.poisson(np.where(busy, 5.0, 1.0)))
        at_ns = np.sort(slot * 1_000_000 + rng.integers(0, 1_000_000, len(slot)))
        slow = busy[at_ns // 1_000_000]
        return trials(
            rng, rng.random(len(slow)) < np.where(slow, share * 1.4 / 0.5, 0.0), slow, at_ns
        )

    return draw


SHAPES = [
    Shape("independent, n 3,000", independent(3_000)),
    Shape("phases of 50, n 20,000", phases(20_000, 50)),
    Shape("phases of 200, n 20,000", phases(20_000, 200)),
    Shape("phases of 50, n 100,000", phases(100_000, 50)),
    Shape("phases of 200, n 100,000", phases(100_000, 200)),
    Shape("phases of 200 + half outside, n 50,000", phases(50_000, 200, 0.5)),
    Shape("AR(1) 0.9, n 10,000", autoregressive(10_000, 0.9)),
    Shape("AR(1) 0.98, n 50,000", autoregressive(50_000, 0.98)),
    Shape("arrival surges of 100 slots, n 20,000", surges(20_000, 100)),
    Shape("outages of 100, n 50,000", outages(50_000, 100, None)),
    Shape("self-exciting 0.8, n 20,000", self_exciting(20_000, 0.8, 20)),
    Shape("drift, 3 waves, n 20,000", drift(20_000, 3)),
    Shape("heavy-tailed outages (Pareto 1.5, mean 50), n 50,000", outages(50_000, 50, 1.5)),
    Shape("self-exciting 0.9, n 100,000", self_exciting(100_000, 0.9, 20)),
    Shape("phases of 400 (2.5 seen), n 20,000", phases(20_000, 400)),
    Shape("phases of 200 (1.2 seen), n 5,000", phases(5_000, 200)),
    Shape("drift, half a wave, n 20,000", drift(20_000, 0.5)),
]


def judged(run: Trials) -> Outcome:
    return judge_trials(run, P0, ALPHA).outcome


def as_if_independent(run: Trials) -> Outcome:
    allowed, fails = verdict_counts(len(run.bad), P0, ALPHA)
    bad = int(run.bad.sum())
    return "PASS" if bad <= allowed else "FAIL" if bad >= fails else "INCONCLUSIVE"


def at_planned_looks(run: Trials) -> Outcome:
    for end_ns in look_times(int(run.at_ns[0]), int(run.at_ns[-1]) + 1):
        due = int(np.searchsorted(run.at_ns, end_ns))
        seen = Trials(run.at_ns[:due], run.bad[:due], run.unknown[:due], run.proxy[:due])
        outcome = judge_trials(seen, P0, ALPHA / LOOKS).outcome
        if outcome != "INCONCLUSIVE":
            return outcome
    return "INCONCLUSIVE"


def rates(
    draw: Draw, share: float, runs: int, *rules: Callable[[Trials], Outcome], seed: int = SEED
) -> list[Rates]:
    """What each rule says of the same simulated runs."""
    rng = np.random.default_rng(seed)
    said = [[rule(run) for rule in rules] for run in (draw(rng, share) for _ in range(runs))]
    return [
        Rates(column.count("PASS") / runs, column.count("FAIL") / runs)
        for column in zip(*said, strict=True)
    ]


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs",
        type=int,
        default=300,
        help="simulated runs at the limit; a quarter of it elsewhere",
    )
    parser.add_argument("--plot", type=Path, help="draw false PASS by shape as an SVG")
    options = parser.parse_args()
    print(
        "| shape | exact: false PASS / FAIL | judge: false PASS / FAIL | PASS at 1/2 | PASS at 1/4"
        " | FAIL at 2 |"
    )
    print("|---|---|---|---|---|---|")
    found: list[tuple[str, Rates, Rates]] = []
    for name, draw in SHAPES:
        exact, ours = rates(draw, float(P0), options.runs, as_if_independent, judged)
        half, quarter, double = (
            rates(draw, times * float(P0), options.runs // 4, judged)[0] for times in (0.5, 0.25, 2)
        )
        found.append((name, exact, ours))
        cells = [f"{percent(rate.passed)} / {percent(rate.failed)}" for rate in (exact, ours)]
        power = [percent(half.passed), percent(quarter.passed), percent(double.failed)]
        print("|", " | ".join([name, *cells, *power]), "|", flush=True)
    looks = rates(phases(50_000, 50), float(P0), options.runs // 2, at_planned_looks)[0]
    print(
        f"\nfour planned looks, phases of 50, n 50,000: {percent(looks.passed)} /"
        f" {percent(looks.failed)}"
    )
    if options.plot:
        draw_plot(found, options.plot)


def draw_plot(found: list[tuple[str, Rates, Rates]], path: Path) -> None:
    import matplotlib as mpl  # late: a second to import, and only for the picture

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "coverage", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    rows = range(len(found))[::-1]
    axes.axvline(5, color="0.6", linewidth=1)
    axes.plot(
        [100 * exact.passed for _, exact, _ in found],
        rows,
        "o",
        color="0.55",
        label="as if independent",
    )
    axes.plot([100 * ours.passed for *_, ours in found], rows, "o", color="#b3261e", label="judge")
    axes.set(
        yticks=rows,
        yticklabels=[name for name, *_ in found],
        xlabel="false PASS, % (truth at the limit; line: 5 %)",
    )
    axes.set_xlim(0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
