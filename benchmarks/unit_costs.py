"""What one unit of everything costs on this machine: a request, a token, an open stream, a row, a
poll, a merge.

In: prompt size, the rate of a worker. Out: `Costs`. Must stay true: CPU time, not the clock, the
least of some rounds where others may disturb (noise only adds); the load process is the product's
own, against the null server.

    python -m benchmarks.unit_costs --rate 400        # prints them as JSON
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bench.api.answer import Answer
from bench.clock import cpu_ns, wall_ns
from bench.load import alarm
from bench.load.endpoint import Endpoint
from bench.load.generator import run_loop
from bench.load.journal import SEGMENT_EVERY_S, Journal
from bench.load.player import Counters, Player, make_endpoints
from bench.load.request import Request
from bench.load.shard import cut_table
from bench.load.work import Work
from bench.plan.arrival_laws import Arrivals
from bench.plan.profile import Amount, Profile
from bench.plan.prompts import PromptText
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.record.histogram import Histogram
from bench.record.identity import plan_facts
from bench.record.parts import rows_of_shards
from bench.record.pieces import SegmentWriter
from bench.record.run_folder import RunWriter
from bench.record.samples import SAMPLE_DTYPE, SCHEDULE_DTYPE, Outcome, latency_ns
from bench.units import MS, S
from benchmarks import merge
from benchmarks.hot import _EVENT

#: Tokens are so far apart that a worker which is held up for a while still reads each by itself.
TTFT_MS, GAP_MS, TOKENS = 200, 40, 16
_ROUNDS = 2
#: Tokens of the answers whose cost is held against that of one token: so many that the difference
#: is more than noise.
_MANY = 64
#: At so many requests a second no such answer is read late, so that none of its tokens share a
#: read.
_CALM_RPS = 100
#: Answers of this kind are long enough under way to see what each takes of memory.
_SLOW_RPS, _SLOW_TTFT_MS = 400, 3000
_PLANNED, _CUT = 1_000_000, 1_000
_SHARDS_MERGED = (4, 64)
_SEALED = (20, 1_000)
_ROWS_MERGED = 100_000


@dataclasses.dataclass(frozen=True)
class Costs:
    """µs of CPU and bytes, by what each is for."""

    prompt_tokens: int
    worker_rps: float
    #: one request: its send, its answer's first read (its record included) and each further token's
    send_us: float
    first_us: float
    token_us: float
    #: a worker that does nothing: CPU a second. A seal: what it takes on the loop and in its own
    #: thread, at least and by row
    idle_us_s: float
    seal_us: float
    seal_row_us: float
    seal_aside_us: float
    seal_aside_row_us: float
    #: an answer to a poll
    tell_us: float
    #: harness lag of the real worker at `worker_rps`, 16 tokens
    lag_p50_ms: float
    lag_p99_ms: float
    #: resident memory for each answer under way
    stream_bytes: float
    #: on the wire: a request's head and body; a token's event in its chunk
    request_bytes: int
    event_bytes: int
    planned_row_bytes: int
    sample_row_bytes: float
    #: compiling a plan, by row; its memory at the worst moment
    plan_row_us: float
    plan_row_peak_bytes: float
    #: the slices of all shards, by row of the plan
    cut_row_us: float
    #: what the driver does with one shard's poll: JSON to histograms, and adding them up; the
    #: message
    poll_parse_us: float
    poll_total_us: float
    poll_bytes: int
    #: merging at the end: a histogram from a shard's log; a row, a shard's folder
    histogram_us: float
    merge_row_us: float
    merge_shard_us: float

    def seals_us(self, rows: float) -> tuple[float, float]:
        """CPU of sealing so many rows: on the loop, and aside."""
        return (
            self.seal_us + rows * self.seal_row_us,
            self.seal_aside_us + rows * self.seal_aside_row_us,
        )

    def request_us(self, tokens: int) -> float:
        """CPU of one request with so many tokens."""
        return self.send_us + self.first_us + (tokens - 1) * self.token_us


def planned(
    rows: int | None,
    rate: float,
    *,
    seconds: float = 0,
    prompt: int = 500,
    tokens: int = TOKENS,
    port: int = 9,
    seed: int = 1,
) -> Plan:
    """A Poisson plan of so many rows or so long, as `run` would compile it."""
    target = Target(
        description="null server", name="null", base_url=f"http://127.0.0.1:{port}/v1", model="null"
    )
    profile = Profile(
        description="scale",
        name="scale",
        requests=rows,
        duration=None if rows else f"{seconds}s",
        arrivals=Arrivals(kind="poisson", rate=Fraction(rate)),
        prompt_tokens=[Amount(fixed=prompt)],
        output_tokens=[Amount(fixed=tokens)],
    )
    stage = Stage(
        name="s",
        targets=[target],
        profile=profile,
        contract=None,
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    return compile_plan(Suite(name="scale", description="", seed=seed, stages=[stage], files=[]))


# ---- one worker against the null server


@contextlib.contextmanager
def _null_server(tokens: int, ttft_ms: int) -> Iterator[int]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bench.load.nullserver",
            "--ttft-ms",
            str(ttft_ms),
            "--sigma",
            "0.3",
            "--gap-ms",
            str(GAP_MS),
            "--tokens",
            str(tokens),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(json.loads(process.stdout.readline())["port"])
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


class _Timed(Endpoint):
    """An endpoint that knows what its sends cost."""

    __slots__ = ("sends", "spent_ns")

    def __init__(self, made: Endpoint):
        super().__init__(made.sender, made.writer)
        self.sends = self.spent_ns = 0

    def send(self, request: Request, request_id: str) -> None:
        began = time.thread_time_ns()
        super().send(request, request_id)
        self.spent_ns += time.thread_time_ns() - began
        self.sends += 1


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def worker(
    rate: float, tokens: int, prompt: int, seconds: float, ttft_ms: int, spin_ns: int
) -> dict[str, float]:
    """A worker's CPU a second, requests ended a second and CPU of a send, once all connections
    stand; its lag, its memory.

    `spin_ns` is the alarm's: a wait for the next send that a busy worker has no time for, so no
    part of a request's cost.
    """
    alarm.SPIN_NS = spin_ns
    marks: list[tuple[int, int, int, int, int]] = []
    looks: list[tuple[int, int]] = []
    seen = [0]
    warm_ns = round((ttft_ms * 2 + tokens * GAP_MS) * MS) + S

    async def run(plan: Plan, folder: Path) -> Player:
        text = PromptText(1)
        writer = RunWriter(folder, plan_facts(plan, "r", wall_ns()), plan.schedule)
        timed = [
            [_Timed(each) for each in lane]
            for lane in make_endpoints(plan.lanes, plan.schedule, text)
        ]
        player = Player(Work(plan.lanes, plan.schedule, folder, "r"), text, timed)  # type: ignore[arg-type]

        def on_tick(now_ns: int, _: Callable[[], Counters]) -> None:
            if now_ns < seen[-1] + 100 * MS:
                return
            seen.append(now_ns)
            looks.append((player.generator.in_flight, _resident()))
            if warm_ns <= now_ns <= plan.end_ns:
                sender = timed[0][0]
                marks.append(
                    (
                        now_ns,
                        cpu_ns(),
                        sum(player.journal.outcomes[0]),
                        sender.sends,
                        sender.spent_ns,
                    )
                )

        await player.play(on_tick)
        assert all(outcome == Outcome.ok for outcome in player.journal.samples["outcome"])
        writer.discard()
        return player

    with _null_server(tokens, ttft_ms) as port, tempfile.TemporaryDirectory() as place:
        plan = planned(
            None, rate, seconds=seconds + warm_ns / S, prompt=prompt, tokens=tokens, port=port
        )
        player = run_loop(lambda: run(plan, Path(place) / "run"))
    lag = latency_ns(player.journal.samples, "harness_lag")[
        player.journal.samples["due_ns"] > warm_ns
    ]
    most = max(looks)
    least = next(look for look in looks if look[0] >= most[0] // 10)
    found = {
        "stream_bytes": (most[1] - least[1]) / max(most[0] - least[0], 1),
        "cpu_us_s": math.inf,
        "ended_rps": 1.0,
        "send_us": math.inf,
        "lag_p50_ms": float(np.quantile(lag, 0.5)) / MS,
        "lag_p99_ms": float(np.quantile(lag, 0.99)) / MS,
    }
    if len(marks) < 2:  # held up all that time: the round says nothing
        return found
    first, last = marks[0], marks[-1]
    span_s = (last[0] - first[0]) / S
    return found | {
        "cpu_us_s": (last[1] - first[1]) / 1e3 / span_s,
        "ended_rps": (last[2] - first[2]) / span_s,
        "send_us": (last[4] - first[4]) / max(last[3] - first[3], 1) / 1e3,
    }


def _aside(*words: object) -> dict[str, Any]:
    """A measurement in a process of its own, which nothing before has warmed or filled."""
    command = [sys.executable, "-m", "benchmarks.unit_costs", *map(str, words)]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return found


def _worker_costs(rate: float, prompt: int, seconds: float) -> dict[str, float]:
    """Of a request by its parts: two runs that differ in their tokens alone, less what an idle
    worker and its seals take.
    """

    def least(tokens: int, asked: float, by: str, spin_ns: int = 0) -> dict[str, float]:
        rounds = [
            _aside("--worker", asked, tokens, prompt, seconds, TTFT_MS, spin_ns)
            for _ in range(_ROUNDS)
        ]
        return min(rounds, key=lambda found: found[by] / max(found["ended_rps"], 1e-9))

    kinds = ((1, 2), (1, rate), (1, _CALM_RPS), (_MANY, _CALM_RPS))
    idle, one, few, many = (least(tokens, asked, "cpu_us_s") for tokens, asked in kinds)
    real = least(TOKENS, rate, "lag_p99_ms", alarm.SPIN_NS)
    slow = _aside("--worker", _SLOW_RPS, 1, prompt, 1, _SLOW_TTFT_MS, 0)
    seals = seal_costs()

    def request(found: dict[str, float]) -> float:
        extra = found["cpu_us_s"] - idle["cpu_us_s"]
        return extra / found["ended_rps"] - seals["seal_row_us"] - seals["seal_aside_row_us"]

    single = request(one)
    send = one["send_us"]
    still = idle["cpu_us_s"] - (seals["seal_us"] + seals["seal_aside_us"]) / SEGMENT_EVERY_S
    return seals | {
        "send_us": send,
        "first_us": single - send,
        "token_us": (request(many) - request(few)) / (_MANY - 1),
        "idle_us_s": max(still, 0.0),
        "lag_p50_ms": real["lag_p50_ms"],
        "lag_p99_ms": real["lag_p99_ms"],
        "stream_bytes": slow["stream_bytes"],
    }


# ---- rows, slices, polls, merges


def _least(action: Callable[[], object], per: float = 1) -> float:
    """µs of CPU, the least of some rounds, by unit."""
    found = []
    for _ in range(_ROUNDS):
        began = cpu_ns()
        action()
        found.append((cpu_ns() - began) / 1e3 / per)
    return min(found)


def _seal(rows: int) -> tuple[float, float]:
    """CPU (µs) of moving so many ended rows, and the gaps between their tokens, to histograms and
    disk: the loop's, and its thread's.
    """
    took: list[tuple[float, float]] = []

    async def rounds(folder: Path) -> None:
        journal, gaps = Journal(SegmentWriter(folder), "r", rows, [1], []), array("q")
        journal.watch_gaps([[gaps]])
        request = Request(0, None, 0, True, gaps, lambda *_: None)
        request.answer = Answer()
        for _ in range(3 * _ROUNDS):
            for row in range(rows):
                request.row, request.sent_ns, request.done_ns = row, row * 10**5, row * 10**6
                journal.record(request, Outcome.ok, "", 0)
            gaps.extend(range(GAP_MS * MS, GAP_MS * MS + rows * (TOKENS - 1)))
            whole, loop = cpu_ns(), time.thread_time_ns()
            await journal.flush()
            loop = time.thread_time_ns() - loop
            took.append((loop / 1e3, max(cpu_ns() - whole - loop, 0) / 1e3))

    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "samples").mkdir()
        run_loop(lambda: rounds(Path(place)))
    return min(loop for loop, _ in took), min(aside for _, aside in took)


def seal_costs() -> dict[str, float]:
    """What a seal costs whatever it holds, and for each row."""
    few, many = (np.array(_seal(rows)) for rows in _SEALED)
    row = np.maximum(many - few, 0) / (_SEALED[1] - _SEALED[0])
    once = few - row * _SEALED[0]
    return dict(
        zip(
            ("seal_us", "seal_aside_us", "seal_row_us", "seal_aside_row_us"),
            map(float, (*once, *row)),
            strict=True,
        )
    )


def sealed_row_bytes(rows: int) -> float:
    """Bytes of a sealed segment, by row."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "samples").mkdir()
        SegmentWriter(Path(place)).append(
            np.arange(rows), np.zeros(rows, SAMPLE_DTYPE), {"note": []}
        )
        return sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file()) / rows


def _plan_costs() -> dict[str, float]:
    """Compiling in a process of its own; cutting."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    compiling: list[Plan] = []
    plan_us = _least(lambda: compiling.append(planned(_PLANNED, 10_000)), _PLANNED)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    kept = len(compiling) - 1  # plans of earlier rounds, held while the last was compiled
    table = compiling[-1].schedule

    def cut() -> None:
        for mine in rows_of_shards(table, _CUT):
            cut_table(table, mine)

    return {
        "plan_row_us": plan_us,
        "plan_row_peak_bytes": peak * 1024 / _PLANNED - kept * SCHEDULE_DTYPE.itemsize,
        "cut_row_us": _least(cut, _PLANNED),
    }


def counters(answers: int, seed: int = 1) -> Counters:
    """Where a shard of one lane stands after so many answers, or what became of them since the last
    poll.
    """
    rng = np.random.default_rng(seed)
    made = [Histogram() for _ in range(3)]
    for histogram, centre in zip(made, (6.0, 5.3, -1.5), strict=True):  # ms: e2e, first token, lag
        histogram.record_many_ns((rng.lognormal(centre, 0.5, answers) * MS).astype(np.int64))
    return Counters(
        started=[answers],
        waiting=[0],
        in_flight=[200],
        outcomes=[[0, answers] + [0] * (len(Outcome) - 2)],
        prompt_tokens=[500 * answers],
        output_tokens=[TOKENS * answers],
        without_usage=[0],
        response=[made[0]],
        first_token=[made[1]],
        harness_lag=made[2],
    )


def poll_costs(answers: int, shards: int = 100) -> dict[str, float]:
    """A poll's two ends; each shard tells of the answers of one second."""
    each = counters(answers)
    told = [json.dumps(counters(answers, seed).plain()) for seed in range(shards)]
    parsed: list[Counters] = []

    def parse() -> None:
        parsed[:] = [Counters.from_plain(json.loads(text)) for text in told]

    return {
        "tell_us": _least(lambda: json.dumps(each.plain())),
        "poll_parse_us": _least(parse, shards),
        "poll_total_us": _least(lambda: Counters.total(parsed, 1), shards),
        "poll_bytes": round(sum(map(len, told)) / shards),
    }


def _merge_costs() -> dict[str, float]:
    """A row's and a shard's, from the same rows in few shards and in many."""
    workers = 200
    by_log = merge.histograms(workers)["from_logs_cpu_s"] * 1e6 / workers
    few, many = (
        merge.rows(shards, _ROWS_MERGED // shards)["cpu_seconds"] * 1e6 for shards in _SHARDS_MERGED
    )
    shard = max(many - few, 0.0) / (_SHARDS_MERGED[1] - _SHARDS_MERGED[0])
    return {
        "histogram_us": by_log,
        "merge_shard_us": shard,
        "merge_row_us": (few - shard * _SHARDS_MERGED[0]) / _ROWS_MERGED,
    }


def _wire(prompt: int) -> dict[str, int]:
    """Bytes of a request and of a token's event, framing included, TCP's own left out."""

    async def request() -> int:
        plan = planned(10, 10, prompt=prompt)
        endpoint = make_endpoints(plan.lanes, plan.schedule, PromptText(1))[0][0]
        body = endpoint.writer.body(3)
        head: bytes = endpoint.sender._head  # type: ignore[attr-defined]
        await endpoint.close()
        return len(head % (b"r-3", len(body))) + len(body)

    return {
        "request_bytes": run_loop(request),
        "event_bytes": len(_EVENT) + len(b"%x\r\n\r\n" % len(_EVENT)),
        "planned_row_bytes": SCHEDULE_DTYPE.itemsize,
    }


def measure(rate: float, prompt: int, seconds: float = 3.0) -> Costs:
    """Everything, in two to four minutes."""
    found: dict[str, float] = _worker_costs(rate, prompt, seconds)
    found |= _aside("--plan") | _wire(prompt) | poll_costs(round(rate)) | _merge_costs()
    found["sample_row_bytes"] = sealed_row_bytes(round(rate * SEGMENT_EVERY_S))
    return Costs(prompt_tokens=prompt, worker_rps=rate, **found)  # type: ignore[arg-type]


def main() -> int:
    """Print the costs; the other two are for processes of their own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rate", type=float, default=400, help="of the worker that is measured, requests/s"
    )
    parser.add_argument("--prompt", type=int, default=500, help="tokens")
    parser.add_argument("--worker", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--plan", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        rate, tokens, prompt, seconds, ttft_ms, spin_ns = given.worker
        print(
            json.dumps(
                worker(
                    float(rate),
                    int(tokens),
                    int(prompt),
                    float(seconds),
                    int(ttft_ms),
                    int(spin_ns),
                )
            )
        )
    elif given.plan:
        print(json.dumps(_plan_costs()))
    else:
        print(json.dumps(dataclasses.asdict(measure(given.rate, given.prompt)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
