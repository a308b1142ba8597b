"""A run of 10,000 to 1,000,000 requests a second: what it would take, and what breaks first.

In: rates, an answer's size and speed, what machines there are. Out: what a unit of everything costs
on this machine, the harness lag of so many workers that play a real schedule of that rate in
virtual time, and the rate at which each resource is used up, the first to break first. Must stay
true: costs are measured in this run (or read from the file of one), the schedule is compiled and
cut by the product's own code, the queue is held against theory and a real run.

    python -m benchmarks.scale                        # five to fifteen minutes, most of them the
    million python -m benchmarks.scale --store costs.json     # keep what was measured python -m
    benchmarks.scale --costs costs.json --tokens 200 --rates 100000
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.load.journal import SEGMENT_EVERY_S
from bench.load.transport.pool import SPARE_DESCRIPTORS
from bench.plan.arrival_laws import MAX_ROWS
from bench.plan.schedule import Table
from bench.record.samples import SAMPLE_DTYPE, Int
from bench.units import MS, US, S
from benchmarks.queueing import Chore, Played, Work, owners, play
from benchmarks.unit_costs import GAP_MS, TOKENS, TTFT_MS, Costs, measure, planned, poll_costs

#: Harness lag p99 that a run may have: the first asked for, the second 1 % of an 800 ms limit
#: (health's "degraded").
LIMITS_NS = (1 * MS, 8 * MS)
#: How busy workers are made for the table.
_BUSY = (0.5, 0.7, 0.8, 0.9, 0.95)
_TICK_NS = 10 * MS
#: Rows compiled at once.
_SLICE = 1_000_000
#: Seconds of the schedule in which the first answers are still on their way.
_WARM_S = 1.2
#: A closed connection keeps its port for so long (Linux); bytes of headers round a segment
#: (Ethernet, IPv4, TCP, stamps).
_TIME_WAIT_S, _HEADERS = 60, 78
#: Memory of judging and reporting by row (docs/simulation.md: 3.1 GB at 5,000,000); a call to an
#: actor of Ray, not measured here.
_JUDGE_BYTES, _ACTOR_US = 620, 700


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is asked for, and what machines there are."""

    tokens: int
    ttft_ms: float
    gap_ms: float
    #: how long the run lasts
    minutes: float
    #: of each machine
    cores: int
    nic_gbit: float
    descriptors: int
    #: of the driver: memory, disk, and how long one waits for its single-threaded steps before and
    #: after the run
    memory_gb: float
    disk_mb_s: float
    patience_s: float
    #: whether the thread that seals holds the loop up
    aside: bool = True

    @property
    def latency_s(self) -> float:
        """From a request to its last token."""
        return (self.ttft_ms + (self.tokens - 1) * self.gap_ms) / 1e3


# ---- the simulation


def schedule(rate: int, seconds: float, prompt: int, tokens: int) -> Table:
    """A Poisson plan of that rate, compiled slice by slice, sessions numbered through."""
    slices: list[Table] = []
    pieces = max(1, math.ceil(rate * seconds / _SLICE))
    for number in range(pieces):
        table = planned(
            None, rate, seconds=seconds / pieces, prompt=prompt, tokens=tokens, seed=number + 1
        ).schedule
        table["due_ns"] += round(number * seconds / pieces * S)
        table["session"] += sum(map(len, slices))
        slices.append(table)
    return np.concatenate(slices)


def first_tokens(rows: int, ttft_ms: float) -> Int:
    """Times to the first token: half of the median certain, the rest lognormal."""
    return (ttft_ms / 2 * MS * (1 + np.random.default_rng(1).lognormal(0, 0.5, rows))).astype(
        np.int64
    )


def work(costs: Costs, setting: Setting, worker_rps: float) -> Work:
    """A worker's events, at such a rate. A seal has a thread of its own, which shares the
    interpreter with the loop: where `setting.aside` it holds the loop up all its time, else never;
    the truth lies between.
    """
    loop_us, aside_us = costs.seals_us(worker_rps * SEGMENT_EVERY_S)
    chores = (
        Chore(_TICK_NS, round(costs.idle_us_s * US * _TICK_NS / S)),
        Chore(round(SEGMENT_EVERY_S * S), round((loop_us + aside_us * setting.aside) * US)),
        Chore(S, round(costs.tell_us * US)),
    )
    return Work(
        round(costs.send_us * US),
        round(costs.first_us * US),
        round(costs.token_us * US),
        setting.tokens,
        round(setting.gap_ms * MS),
        chores,
    )


class Simulation:
    """One schedule, to be played by any number of workers."""

    def __init__(self, rate: int, seconds: float, costs: Costs, setting: Setting):
        self.rate, self._costs, self._setting = rate, costs, setting
        self.schedule = schedule(rate, seconds, costs.prompt_tokens, setting.tokens)
        self._ttft_ns = first_tokens(len(self.schedule), setting.ttft_ms)
        self._due_ns = self.schedule["due_ns"].astype(np.int64)
        self._measured = self._due_ns >= _WARM_S * S
        self._known: dict[int, Int] = {}

    def play(self, workers: int) -> Played:
        """All rows, played; each was sent once, each token read once."""
        each = work(self._costs, self._setting, self.rate / workers)
        played = play(self._due_ns, owners(self.schedule, workers), workers, self._ttft_ns, each)
        assert (played.sent == 1).all()
        assert (played.read == each.tokens).all()
        return played

    def lag_ns(self, workers: int) -> Int:
        """Harness lag p50, p99, p99.9 and max of the rows after the warm-up."""
        if workers not in self._known:
            lag = self.play(workers).lag_ns[self._measured]
            self._known[workers] = np.quantile(lag, (0.5, 0.99, 0.999, 1.0)).astype(np.int64)
        return self._known[workers]

    def unhindered(self) -> Simulation:
        """The same where sealing never holds the loop up."""
        other = copy.copy(self)
        other._setting, other._known = dataclasses.replace(self._setting, aside=False), {}
        return other

    def workers_at(self, busy: float) -> int:
        """How many workers are that busy."""
        shape = work(self._costs, self._setting, self._costs.worker_rps)
        return max(1, round(self.rate * shape.request_ns / S / (busy - shape.chores_share)))

    def needed(self, limit_ns: int) -> int:
        """The fewest workers whose lag p99 is under the limit, within 3 %; what was played before
        is not played again.
        """
        many = self.workers_at(_BUSY[0])
        while self.lag_ns(many)[1] >= limit_ns:
            many = math.ceil(1.4 * many)
        few = max(
            (workers for workers, lag in self._known.items() if lag[1] >= limit_ns),
            default=self.workers_at(1.0),
        )
        many = min(
            workers for workers, lag in self._known.items() if workers > few and lag[1] < limit_ns
        )
        while many - few > max(1, 0.03 * many):
            middle = (few + many) // 2
            few, many = (few, middle) if self.lag_ns(middle)[1] < limit_ns else (middle, many)
        return many


def simulate(rate: int, seconds: float, costs: Costs, setting: Setting) -> int:
    """Print lag by number of workers; returns how many keep the first limit."""
    simulation = Simulation(rate, seconds, costs, setting)
    print(
        f"\n{rate:,} requests/s: {len(simulation.schedule):,} rows of a Poisson plan,"
        f" {setting.tokens} tokens"
    )
    print(
        f"{'workers':>8}{'rps each':>10}{'busy':>7}   harness lag ms: p50     p99   p99.9     max"
    )
    for busy in _BUSY:
        workers = simulation.workers_at(busy)
        lag = simulation.lag_ns(workers) / MS
        print(
            f"{workers:>8,}{rate / workers:>10,.0f}{busy:>7.0%}  "
            f" {lag[0]:>19.2f}{lag[1]:>8.2f}{lag[2]:>8.2f}{lag[3]:>8.2f}"
        )
    found = [simulation.needed(limit) for limit in LIMITS_NS]
    for limit, workers in zip(LIMITS_NS, found, strict=True):
        print(
            f"fewest workers with lag p99 under {limit // MS} ms: {workers:,}"
            f" ({rate / workers:,.0f} requests/s each)"
        )
    least = simulation.unhindered().needed(LIMITS_NS[0])
    print(
        f"the first, if the thread that seals never held the loop up: {least:,}"
        f" ({rate / least:,.0f} requests/s each)"
    )
    return found[0]


# ---- is it right?


def md1_wait(quantile: float, load: float) -> float:
    """Waiting time in M/D/1, in service times (Erlang 1909, Crommelin 1932), by halving."""

    def below(t: float) -> float:
        return (1 - load) * sum(
            (-load * (t - k)) ** k / math.factorial(k) * math.exp(load * (t - k))
            for k in range(int(t) + 1)
        )

    low, high = 0.0, 25.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if below(middle) >= quantile else (middle, high)
    return low


def against_theory(rows: int = 2_000_000, load: float = 0.7) -> Iterator[str]:
    """A compiled plan on one worker that only sends, against Crommelin; errors of the wait in per
    cent.
    """
    cost_ns = 100 * US
    table = schedule(round(load * S / cost_ns), rows * cost_ns / load / S, 64, 1)
    wait = play(
        table["due_ns"].astype(np.int64),
        owners(table, 1),
        1,
        np.ones(len(table), np.int64),
        Work(cost_ns),
    ).wait_ns
    mean = cost_ns * load / 2 / (1 - load)
    yield f"mean {wait.mean() / mean - 1:+.2%}"
    for quantile in (0.5, 0.9, 0.99):
        yield (
            f"p{100 * quantile:g}"
            f" {float(np.quantile(wait, quantile)) / cost_ns / md1_wait(quantile, load) - 1:+.2%}"
        )


def check(costs: Costs, rates: Sequence[float]) -> None:
    """Print how far the simulation is from theory, what the real worker's lag was, and what it is
    simulated to be at such rates.
    """
    print(
        "\nM/D/1 at 70 %, a plan of 2,000,000 rows, wait against theory:"
        f" {', '.join(against_theory())}"
    )
    print(
        f"one real worker at {costs.worker_rps:,.0f}/s: lag p50 {costs.lag_p50_ms:.2f}, p99"
        f" {costs.lag_p99_ms:.2f} ms"
    )
    like = Setting(TOKENS, TTFT_MS, GAP_MS, 1, 1, 1, 1, 1, 1, 1)
    for rate in [costs.worker_rps, *rates]:
        p50, p99, *_ = Simulation(round(rate), 20, costs, like).lag_ns(1) / MS
        print(f"one simulated worker at {rate:,.0f}/s: lag p50 {p50:.2f}, p99 {p99:.2f} ms")


# ---- what breaks first


@dataclasses.dataclass(frozen=True)
class Bound:
    """A resource, whose it is, the rate (requests/s of the whole run, or of that one worker or
    machine) at which it is used up.
    """

    rps: float
    whose: str
    what: str
    mended_by: str


_OF_A_WORKER = (
    "send_us",
    "first_us",
    "token_us",
    "idle_us_s",
    "seal_us",
    "seal_row_us",
    "seal_aside_us",
    "seal_aside_row_us",
    "tell_us",
)
_EACH, _WHOLE = ("worker", "machine"), ("run", "driver")


def wire_bytes(costs: Costs, setting: Setting) -> tuple[float, float]:
    """Bytes out and in of one request: each token in a segment of its own, each acknowledged."""
    segments = math.ceil(costs.request_bytes / 1448)
    return (
        costs.request_bytes + (segments + setting.tokens) * _HEADERS,
        300 + costs.event_bytes * setting.tokens + (setting.tokens + segments) * _HEADERS,
    )


def ports() -> int:
    """Ephemeral ports of one source address towards one server."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return high - low + 1


def bounds(costs: Costs, setting: Setting, worker_rps: float) -> list[Bound]:
    """Every resource by the rate at which it is used up, the first to go first."""
    poll = poll_costs(round(worker_rps))
    poll_s = (poll["poll_parse_us"] + poll["poll_total_us"]) / 1e6
    length_s, latency = setting.minutes * 60, setting.latency_s
    nic = setting.nic_gbit * 1e9 / 8
    found = [
        Bound(
            worker_rps,
            "worker",
            f"its core: lag p99 reaches {LIMITS_NS[0] // MS} ms",
            "more workers",
        ),
        Bound(
            (setting.descriptors - SPARE_DESCRIPTORS) / latency,
            "worker",
            f"{setting.descriptors:,} descriptors",
            "ulimit -n",
        ),
        Bound(
            worker_rps * setting.cores,
            "machine",
            f"{setting.cores} cores, a worker each",
            "more machines",
        ),
        Bound(
            ports() / latency,
            "machine",
            f"{ports():,} ports of one address, connections kept",
            "more addresses or machines",
        ),
        Bound(
            ports() / _TIME_WAIT_S,
            "machine",
            f"{ports():,} ports of one address, each connection closed by us (TIME_WAIT"
            f" {_TIME_WAIT_S} s)",
            "a server that keeps connections; tcp_tw_reuse",
        ),
        Bound(
            nic / max(wire_bytes(costs, setting)),
            "machine",
            f"{setting.nic_gbit:g} Gbit/s of network",
            "more machines",
        ),
        Bound(
            MAX_ROWS / length_s,
            "run",
            f"{MAX_ROWS:,} rows of one plan, {setting.minutes:g} minutes",
            "a larger MAX_ROWS; runs in a row",
        ),
        Bound(
            setting.memory_gb * 1e9 / costs.plan_row_peak_bytes / length_s,
            "driver",
            f"{setting.memory_gb:g} GB to compile the plan",
            "compiling in slices",
        ),
        Bound(
            setting.memory_gb * 1e9 / _JUDGE_BYTES / length_s,
            "driver",
            f"{setting.memory_gb:g} GB to judge and report",
            "judging by pieces",
        ),
        Bound(
            setting.patience_s * 1e6 / costs.plan_row_us / length_s,
            "driver",
            f"{setting.patience_s:g} s to compile the plan",
            "patience; slices on several cores",
        ),
        Bound(
            setting.patience_s * 1e6 / costs.cut_row_us / length_s,
            "driver",
            f"{setting.patience_s:g} s to cut it",
            "patience",
        ),
        Bound(
            setting.patience_s * 1e6 / costs.merge_row_us / length_s,
            "driver",
            f"{setting.patience_s:g} s to merge",
            "patience; a merge on several cores",
        ),
        Bound(
            setting.patience_s * 1e6 / costs.merge_shard_us * worker_rps,
            "driver",
            f"{setting.patience_s:g} s to merge: each shard's folder",
            "patience",
        ),
        Bound(
            worker_rps / poll_s,
            "driver",
            "a core to read polls, one a shard and second",
            "cells added as they come; rarer polls; a tree",
        ),
        Bound(
            worker_rps * 1e6 / _ACTOR_US,
            "driver",
            f"actor calls one after another, {_ACTOR_US / 1e3:g} ms each (assumed)",
            "calls at once; rarer polls",
        ),
        Bound(
            nic / costs.sample_row_bytes,
            "driver",
            f"{setting.nic_gbit:g} Gbit/s of mirrored rows",
            "shared storage",
        ),
        Bound(
            setting.disk_mb_s * 1e6 / costs.sample_row_bytes,
            "driver",
            f"a disk of {setting.disk_mb_s:g} MB/s for mirrored rows",
            "shared storage",
        ),
        Bound(
            np.iinfo(SAMPLE_DTYPE["worker"]).max * worker_rps,
            "run",
            "numbers of workers in a row (16 bits)",
            "a wider column",
        ),
    ]
    return sorted(found, key=lambda bound: bound.rps)


def needs(rate: int, workers: int, costs: Costs, setting: Setting) -> None:
    """Print what a run of that rate asks for."""
    out, into = wire_bytes(costs, setting)
    rows, seconds = rate * setting.minutes * 60, setting.minutes * 60
    each = rate / workers
    poll = poll_costs(round(each))
    machines = {
        "cores": math.ceil(workers / setting.cores),
        "ports": math.ceil(rate * setting.latency_s / ports()),
        "network": math.ceil(rate * max(out, into) * 8 / 1e9 / setting.nic_gbit),
    }
    lines = {
        "workers (cores)": f"{workers:,}, {each:,.0f}/s each",
        f"machines of {setting.cores} cores": ", ".join(
            f"{count:,} for {why}" for why, count in machines.items()
        ),
        "streams open": (
            f"{rate * setting.latency_s:,.0f} ({each * setting.latency_s:,.0f} a worker), "
            f"{rate * setting.latency_s * costs.stream_bytes / 1e9:,.2f} GB"
        ),
        "network out, in": f"{rate * out * 8 / 1e9:,.2f}, {rate * into * 8 / 1e9:,.2f} Gbit/s",
        "plan": (
            f"{rows:,.0f} rows, {rows * costs.planned_row_bytes / 1e9:,.1f} GB,"
            f" {rows * costs.plan_row_us / 1e6:,.0f} s of CPU,"
            f" {rows * costs.plan_row_peak_bytes / 1e9:,.1f} GB at its worst"
        ),
        "slices": f"{rows * costs.cut_row_us / 1e6:,.0f} s of CPU",
        "polls": (
            f"{workers:,}/s, {workers * poll['poll_bytes'] / 1e6:,.1f} MB/s, "
            f"{workers * (poll['poll_parse_us'] + poll['poll_total_us']) / 1e6:,.2f} cores"
        ),
        "mirrors": (
            f"{rate * costs.sample_row_bytes / 1e6:,.0f} MB/s in {workers / SEGMENT_EVERY_S:,.0f}"
            " files/s"
        ),
        "merge": (
            f"{(rows * costs.merge_row_us + workers * costs.merge_shard_us) / 1e6:,.0f} s of CPU,"
            f" {rows * 201 / 1e9:,.1f} GB of tables"
        ),
    }
    print(
        f"\nWhat {rate:,} requests/s ask for, {seconds:,.0f} s long, {setting.latency_s:.2f} s an"
        " answer:"
    )
    for name, text in lines.items():
        print(f"  {name:<24} {text}")


def quieter(costs: Costs, request_us: float) -> Costs:
    """The worker's costs as they would be where a request of 16 tokens costs so much: all in one
    proportion.
    """
    factor = request_us / costs.request_us(TOKENS)
    return dataclasses.replace(
        costs, **{name: getattr(costs, name) * factor for name in _OF_A_WORKER}
    )


def tell(costs: Costs) -> None:
    """Print what was measured."""
    print("Measured here (µs of CPU, bytes):")
    for field in dataclasses.fields(costs):
        print(f"  {field.name:<22} {getattr(costs, field.name):>14,.4g}")
    print(
        f"  {'request, 16 tokens, 1':<22} {costs.request_us(TOKENS):>14,.4g}"
        f" {costs.request_us(1):,.4g} µs"
    )


def main() -> int:
    """Measure, check, simulate, list."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[1e4, 1e5, 1e6], help="requests/s"
    )
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of an answer")
    parser.add_argument("--prompt", type=int, default=500, help="tokens")
    parser.add_argument("--ttft-ms", type=float, default=TTFT_MS)
    parser.add_argument("--gap-ms", type=float, default=GAP_MS)
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.5,
        help="of the simulated schedule, the first 1.2 left out",
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of the run that is planned for"
    )
    parser.add_argument("--cores", type=int, default=64, help="of a machine")
    parser.add_argument("--nic-gbit", type=float, default=25.0)
    parser.add_argument(
        "--descriptors", type=int, default=resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    )
    parser.add_argument("--memory-gb", type=float, default=64.0, help="of the driver")
    parser.add_argument("--disk-mb-s", type=float, default=500.0, help="of the driver")
    parser.add_argument(
        "--patience-s",
        type=float,
        default=600.0,
        help="for each step of the driver before and after",
    )
    parser.add_argument(
        "--worker-rate", type=float, default=400.0, help="at which a worker's costs are measured"
    )
    parser.add_argument(
        "--check",
        type=float,
        nargs="*",
        default=[],
        help="rates of one simulated worker, to hold against real runs",
    )
    parser.add_argument("--costs", type=Path, help="use costs that --store kept")
    parser.add_argument(
        "--request-us",
        type=float,
        help="scale a worker's costs to this for a request of 16 tokens, such as a quiet machine's",
    )
    parser.add_argument("--store", type=Path, help="keep the measured costs")
    given = parser.parse_args()
    setting = Setting(
        **{
            field.name: getattr(given, field.name)
            for field in dataclasses.fields(Setting)
            if field.name != "aside"
        }
    )
    costs = (
        Costs(**json.loads(given.costs.read_text()))
        if given.costs
        else measure(given.worker_rate, given.prompt)
    )
    if given.store:
        given.store.write_text(json.dumps(dataclasses.asdict(costs), indent=2) + "\n")
    if given.request_us:
        costs = quieter(costs, given.request_us)
    tell(costs)
    check(costs, given.check)
    each: list[float] = []
    for rate in map(round, given.rates):
        workers = simulate(rate, given.seconds, costs, setting)
        needs(rate, workers, costs, setting)
        each.append(rate / workers)
    for whose, title in (
        (_EACH, "Of one worker or one machine; more of them mend it"),
        (_WHOLE, "Of the whole run; more machines do not mend it"),
    ):
        print(f"\n{title}: used up at so many requests/s")
        for bound in bounds(costs, setting, each[-1]):
            if bound.whose in whose:
                print(
                    f"  {bound.rps:>12,.0f}  {bound.whose:<8} {bound.what}; mended by"
                    f" {bound.mended_by}"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
