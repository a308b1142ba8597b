"""How fast virtual time runs, in how much memory, and how near queueing theory it comes.

`python -m benchmarks.simulate` prints requests a CPU second and peak memory for a growing plan;
with `--theory 1000000` the waiting-time quantiles of M/M/4 and M/D/1 beside Erlang's and
Crommelin's.
"""

from __future__ import annotations

import argparse
import math
import resource

import numpy as np
from scipy import optimize

from bench.app.simulate import lengthened, play_virtual
from bench.clock import cpu_ns
from bench.gateway.scenarios import load_scenario
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.units import S
from tests.support.queueing import erlang_c, md1_wait_cdf, waits_ms


def peak_mb() -> float:
    """Most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def speed(name: str, counts: list[int]) -> None:
    """Plans of growing length, smallest first, since peak memory only grows."""
    print(
        f"{'scenario':<20}{'requests':>12}{'a CPU second':>14}"
        f"{'tables MB':>11}{'planned MB':>12}{'played MB':>11}"
    )
    for count in counts:
        suite, periods = lengthened(compile_plan(load_suite(name), 1), count)
        plan = compile_plan(suite, 1)
        planned = peak_mb()
        scenarios = {
            lane.scenario: load_scenario(lane.scenario) for lane in plan.lanes if lane.scenario
        }
        began = cpu_ns()
        answers, _ = play_virtual(plan, scenarios, periods)
        rate = len(plan.schedule) * S / (cpu_ns() - began)
        tables = (plan.schedule.nbytes + answers.samples.nbytes) / 1e6
        print(
            f"{name:<20}{len(plan.schedule):>12,}{rate:>14,.0f}{tables:>11,.0f}{planned:>12,.0f}{peak_mb():>11,.0f}"
        )


def theory(n: int, law: str, seeds: list[int]) -> None:
    """Relative error of waiting-time quantiles, at 70 % load, for each seed."""
    rate, servers, mean_s = 28.0, 4, 0.1
    waiting = erlang_c(servers, rate * mean_s)
    for name, pool, arrivals, wanted in (
        (
            "M/M/4",
            {"e2e": {"exponential": "100ms"}, "slots": servers},
            rate,
            {q: math.log(waiting / (1 - q)) / (servers / mean_s - rate) * 1e3 for q in (0.9, 0.99)},
        ),
        (
            "M/D/1",
            {"e2e": {"fixed": "100ms"}, "slots": 1},
            7.0,
            {
                q: 1e3 * optimize.brentq(lambda t, q=q: md1_wait_cdf(t, 7.0, 0.1) - q, 0, 2)
                for q in (0.5, 0.9, 0.99)
            },
        ),
    ):
        if name != law:
            continue
        errors: dict[float, list[float]] = {q: [] for q in wanted}
        for seed in seeds:
            waits = waits_ms(pool, arrivals, n, seed)
            for q, expected in wanted.items():
                errors[q].append(100 * (float(np.quantile(waits, q)) / expected - 1))
        for q, found in errors.items():
            print(
                f"{name} wait p{100 * q:g}: theory {wanted[q]:.2f} ms, off by"
                f" {', '.join(f'{e:+.2f} %' for e in found)}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="vanity-average")
    parser.add_argument("--requests", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument(
        "--theory", type=int, help="how many arrivals to hold against theory, e.g. 1000000"
    )
    parser.add_argument("--law", choices=["M/M/4", "M/D/1"], default="M/D/1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    given = parser.parse_args()
    if given.theory:
        theory(given.theory, given.law, given.seeds)
    else:
        speed(given.scenario, given.requests)
