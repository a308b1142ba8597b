"""How far from the truth this harness is on this machine, and up to what load.

In: a ladder of rates. Out: the harness's own error at each, and the ceiling, kept for later
runs to be held against. Must stay true: the truth is what the null server really did, request
by request, on the same monotonic clock; the error of a row is what we would have reported
minus that, so pacing, sending, the loopback and stamping are all in it. A second of declared
warm-up opens the connections: what connecting costs stands in a column of its own in every run.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import numpy as np

from bench import __version__
from bench.clock import utc_text, wall_ns
from bench.errors import TailproofError, UserError
from bench.load.generator import run_loop
from bench.load.options import Listeners, RunOptions
from bench.load.runner import play
from bench.machine import load_per_core
from bench.plan.arrival_laws import Arrivals
from bench.plan.profile import Amount, Profile
from bench.plan.prompts import PromptText
from bench.plan.schedule import compile_plan
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.quantiles import P50, P99, P999
from bench.record.identity import machine_facts
from bench.record.records.calibration import Calibration, CalibrationStep
from bench.record.run_folder import Run
from bench.record.samples import Int, Outcome, latency_ns
from bench.units import MS, nearest_rank

LADDER_RPS = (100, 200, 400, 800, 1200, 1600, 2000, 2500, 3000, 3500, 4000)
#: A load counts as measurable while the p50 and p99 that we report are within this of the truth.
ERROR_BUDGET_NS = 1 * MS
SENT_SHARE = 0.99


def within_budget(step: CalibrationStep) -> bool:
    """Sent as planned, and p50 and p99 near enough to the truth."""
    worst = max(
        abs(error) for errors in (step.ttft_error_ms, step.e2e_error_ms) for error in errors[:2]
    )
    return step.sent_rps >= SENT_SHARE * step.rate_rps and worst <= ERROR_BUDGET_NS / MS


def calibrate(
    on_step: Callable[[CalibrationStep], None],
    *,
    tokens: int = 16,
    seconds: float = 4.0,
    ladder: tuple[int, ...] = LADDER_RPS,
    on_begin: Callable[[int], None] = lambda _: None,
) -> Calibration:
    """Climb the ladder until two rates in a row are over budget. Raises UserError beside Linux."""
    if not hasattr(select, "epoll"):
        raise UserError(
            f"the server that it measures against needs Linux's timers, and this is {sys.platform}",
            where="tailproof calibrate",
            remedy="calibrate on Linux; runs work here without it",
        )
    steps: list[CalibrationStep] = []
    load = load_per_core()
    with _null_server(tokens) as port, tempfile.TemporaryDirectory(prefix="tailproof-") as folder:
        for rate in ladder:
            on_begin(rate)
            steps.append(_step(port, rate, seconds, tokens, Path(folder) / str(rate)))
            on_step(steps[-1])
            if len(steps) >= 2 and not any(map(within_budget, steps[-2:])):
                break
    ceiling = max((step.rate_rps for step in steps if within_budget(step)), default=0)
    return Calibration(
        format=Calibration.FORMAT,
        measured_utc=utc_text(wall_ns()),
        tailproof=__version__,
        machine=machine_facts(),
        tokens=tokens,
        error_budget_ms=ERROR_BUDGET_NS / MS,
        ceiling_rps=ceiling,
        ceiling_events_per_s=ceiling * tokens,
        steps=steps,
        load_per_core=load,
    )


@contextmanager
def _null_server(tokens: int) -> Iterator[int]:
    command = [
        sys.executable,
        "-m",
        "bench.load.nullserver",
        "--sigma",
        "0.3",
        "--tokens",
        str(tokens),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 our own module
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        line = process.stdout.readline()
        if not line:
            raise TailproofError("the null server did not start")
        yield int(json.loads(line)["port"])
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(5)
        if process.stdout is not None:
            process.stdout.close()


def _step(
    port: int,
    rate: int,
    seconds: float,
    tokens: int,
    folder: Path,
) -> CalibrationStep:
    suite = _suite(port, rate, seconds, tokens)
    plan = compile_plan(suite, 1)
    known = len(_truth(port, 0))
    options = RunOptions(folder=folder)
    listeners = Listeners(warn=lambda _: None, on_tick=lambda *_: None)
    run_loop(lambda: play(plan, PromptText(1), {}, options, listeners))
    run = Run(folder)
    truth = _truth(port, known)
    samples = run.columns.samples
    measured = ~run.columns.schedule["warmup"]
    ok = np.nonzero((samples["outcome"] == Outcome.ok) & measured)[0]
    done = {int(row): (received, first, last) for row, received, first, last in truth}
    rows = np.array([row for row in ok if int(row) in done])
    true = np.array([done[int(row)] for row in rows], np.int64).reshape(-1, 3)
    chosen = samples[rows]
    ttft = latency_ns(chosen, "ttft")
    true_ttft = true[:, 1] - true[:, 0]
    e2e = latency_ns(chosen, "e2e")
    true_e2e = true[:, 2] - true[:, 0]
    row_errors = np.maximum(np.abs(ttft - true_ttft), np.abs(e2e - true_e2e))
    harness = run.manifest.harness
    lag = latency_ns(chosen, "lag")
    return CalibrationStep(
        rate_rps=rate,
        sent_rps=rate * len(rows) / int(measured.sum()),
        ttft_error_ms=_error(ttft, true_ttft),
        e2e_error_ms=_error(e2e, true_e2e),
        row_error_p99_ms=_three(row_errors)[1],
        lag_p99_ms=_three(lag)[1],
        cpu_us_per_request=round(
            (harness.cpu_share or 0) * (harness.elapsed_s or 0) / len(plan.schedule) * 1e6, 1
        ),
    )


def _error(ours: Int, truth: Int) -> tuple[float, float, float]:
    p50, p99, p999 = (round(a - b, 4) for a, b in zip(_three(ours), _three(truth), strict=True))
    return p50, p99, p999


def _three(values: Int) -> tuple[float, float, float]:
    """p50, p99, p99.9 by nearest rank, ms."""
    if not len(values):
        return (float("inf"),) * 3
    ordered = np.sort(values)
    ranks = [nearest_rank(len(ordered), q) for q in (P50, P99, P999)]
    p50, p99, p999 = (round(int(ordered[rank - 1]) / MS, 4) for rank in ranks)
    return p50, p99, p999


def _suite(
    port: int,
    rate: int,
    seconds: float,
    tokens: int,
) -> Suite:
    target = Target(
        description="null server",
        name="null",
        base_url=f"http://127.0.0.1:{port}/v1",
        model="null",
    )
    profile = Profile(
        description="calibration",
        name="calibration",
        duration=f"{seconds}s",
        warmup="1s",
        arrivals=Arrivals(kind="poisson", rate=Fraction(rate)),
        prompt_tokens=[Amount(fixed=64)],
        output_tokens=[Amount(fixed=tokens)],
    )
    stage = Stage(
        name="calibrate",
        targets=[target],
        profile=profile,
        contract=None,
        scenario=None,
        settle_ns=0,
        expect=[],
    )
    return Suite(
        name="calibrate",
        description="the harness's own error",
        seed=1,
        stages=[stage],
        files=[],
    )


def _truth(port: int, start: int) -> list[tuple[int, int, int, int]]:
    direct = build_opener(ProxyHandler({}))  # whatever proxy the environment names
    with direct.open(f"http://127.0.0.1:{port}/truth?from={start}", timeout=30) as answer:
        flat = json.loads(answer.read())
    return list(zip(flat[0::4], flat[1::4], flat[2::4], flat[3::4], strict=True))
