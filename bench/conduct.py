"""A whole run: embedded gateway if asked for, load, judgement, report.

In: a suite with its overrides. Out: a folder that can be filed, and an exit code. Must stay
true: this is wiring, every rule lives in a room; the gateway is a process of its own and dies
with ours.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from bench.errors import ExitCode, UserError
from bench.judge.review import review
from bench.load.ceiling import default_workers
from bench.load.generator import run_loop
from bench.load.player import Counters
from bench.load.runner import play
from bench.plan.prompts import ESTIMATOR_ERROR, PromptText, Tokenizer, exactness
from bench.plan.schedule import Lane, Plan, compile_plan
from bench.plan.suite import Suite
from bench.record.run_folder import Run


class Screen(Protocol):
    """What a run is shown on."""

    def open(self, plan: Plan) -> None:
        """The run is about to begin."""

    def tick(self, now_ns: int, counters: Callable[[], Counters]) -> None:
        """Called every few ms with the time since the run's start; draws when it is time to."""

    def warn(self, text: str) -> None:
        """A sentence that the user should see now."""

    def close(self) -> None:
        """The run is over."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that was played, judged and reported."""

    folder: Path
    summary: dict[str, Any]
    verdicts: dict[str, Any]
    report: Path

    @property
    def exit_code(self) -> ExitCode:
        """What the process should return."""
        return ExitCode(self.verdicts["exit_code"])


def conduct(suite: Suite, seed: int, *, repeat_command: str, screen: Screen, folder: Path | None = None,
            tokenizer: Tokenizer | None = None, max_requests: int | None = None, workers: int | None = None) -> Finished:  # fmt: skip
    """Play one suite. Raises TailproofError before anything was sent."""
    plan = compile_plan(suite, seed)
    if max_requests is not None and len(plan.schedule) > max_requests:
        raise UserError(f"the plan has {len(plan.schedule):,} requests, above --max-requests {max_requests:,}",
                        remedy="shorten it or raise the cap")  # fmt: skip
    text = PromptText(seed, tokenizer)
    scenarios = list(dict.fromkeys(lane.scenario for lane in plan.lanes if lane.target.embedded and lane.scenario))
    with embedded_gateway(scenarios) as gateway_url:
        plan = dataclasses.replace(plan, lanes=tuple(_with_address(lane, gateway_url) for lane in plan.lanes))
        manifest: dict[str, Any] = {"repeat_command": repeat_command, "tokenizer": tokenizer.name if tokenizer else None,
                                    "notes": [_prompt_sizes(plan, text)]}  # fmt: skip
        screen.open(plan)
        try:
            count = workers or default_workers(plan)
            path = run_loop(
                lambda: play(plan, text, folder, manifest, workers=count, warn=screen.warn, on_tick=screen.tick)
            )
        finally:
            screen.close()
    return conclude(path)


def _prompt_sizes(plan: Plan, text: PromptText) -> str:
    """How far the prompts' true sizes may be from the plan: a recount, or the estimator's known error."""
    if text.tokenizer is None:
        return ESTIMATOR_ERROR
    rows = plan.schedule[:: max(1, len(plan.schedule) // 50)]
    sampled = [(int(row["body"]), int(row["prompt_tokens"])) for row in rows]
    return exactness(text, text.tokenizer, sampled).text


def conclude(folder: Path) -> Finished:
    """Judge and report a run's folder."""
    from bench.show.report import write_report

    run = Run(folder)
    summary, verdicts = review(run)
    written = write_report(run, summary, verdicts)
    return Finished(folder, summary, verdicts, next(path for path in written if path.name == "report.html"))


def _with_address(lane: Lane, gateway_url: str | None) -> Lane:
    """An embedded target gets the gateway's URL; the scenario is chosen by the path."""
    if not lane.target.embedded:
        return lane
    url = f"{gateway_url}/{Path(lane.scenario or '').stem}/v1"
    return dataclasses.replace(lane, target=lane.target.model_copy(update={"base_url": url}))


@contextmanager
def embedded_gateway(scenarios: list[str]) -> Iterator[str | None]:
    """The gateway's URL while its process lives; None when no scenario is wanted.

    Raises UserError with the gateway's own sentence when it refuses a scenario.
    """
    if not scenarios:
        yield None
        return
    command = [sys.executable, "-m", "bench.gateway", "--scenarios", ",".join(scenarios), "--port", "0", "--exit-with-parent"]  # fmt: skip
    # A group of its own: the terminal's Ctrl-C is for us, and requests under way still want their answers.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0)  # noqa: S603 our own module  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = process.stdout.readline()
        if not ready:
            text = process.stderr.read().decode(errors="replace").strip().splitlines()
            raise UserError(f"the embedded gateway did not start: {text[-1] if text else 'no message'}")
        yield str(json.loads(ready)["url"])
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def worst_exit(codes: list[ExitCode]) -> ExitCode:
    """Where several hold: 130, 5, 4, 1, 3, 0."""
    order = [ExitCode.INTERRUPTED, ExitCode.UNREACHABLE, ExitCode.INVALID, ExitCode.FAIL, ExitCode.INCONCLUSIVE]
    return next((code for code in order if code in codes), ExitCode.PASS)
