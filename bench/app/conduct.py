"""A whole run: the simulator if asked for, load, judgement, report.

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
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from bench.app.conclude import PLAIN, Filing, Finished, conclude
from bench.app.looks import Looks
from bench.app.simulate import play_beside
from bench.errors import UserError
from bench.judge.census.source import judge_month
from bench.judge.stats.sequential import LOOKS
from bench.load.ceiling import default_workers
from bench.load.generator import run_loop
from bench.load.options import Listeners, RunOptions, plan_file
from bench.load.player import Counters, run_secrets
from bench.load.runner import play
from bench.plan.credentials import Redaction
from bench.plan.prompts import ESTIMATOR_ERROR, PromptText, exactness
from bench.plan.schedule import Lane, Plan
from bench.plan.suite import Suite
from bench.record.files import write_json
from bench.record.records.census import Months
from bench.units import show_exact


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


def conduct(
    plan: Plan,
    options: RunOptions,
    screen: Screen,
    *,
    opened: Callable[[Path], None] = lambda _: None,
    filing: Filing = PLAIN,
) -> Finished:
    """Play one plan, or this shard's part of it, or what a run of it that broke off left; `opened`
    is called with its folder.

    Raises TailproofError before anything was sent.
    """
    refuse_above(plan, options.max_requests)
    options.shard.refuse(plan)
    plan = options.shard.cut(plan)
    kept, text = plan_file(plan, options), PromptText(plan.seed, options.tokenizer)
    scenarios = [lane.scenario for lane in plan.live().lanes if lane.target.embedded]
    names = list(dict.fromkeys(scenario for scenario in scenarios if scenario))
    with embedded_gateway(names) as gateway_url:
        plan = dataclasses.replace(
            plan, lanes=tuple(_with_address(lane, gateway_url) for lane in plan.lanes)
        )
        live = plan.live()
        screen.open(live)
        looks = Looks(live.end_ns) if options.early_stop else None
        try:
            workers = options.workers or default_workers(live, shards=options.shard.of)
            path = run_loop(
                lambda: play(
                    plan,
                    text,
                    command_facts(plan, text, options),
                    dataclasses.replace(options, workers=workers),
                    _listeners(screen, looks, opened, gateway_url, names),
                    kept=kept,
                    simulated=None
                    if len(live.lanes) == len(plan.lanes)
                    else partial(play_beside, plan),
                )
            )
        finally:
            screen.close()
            if looks is not None:
                looks.close()
    if plan.suite.months:
        write_json(path / "census.json", census(plan.suite))
    return conclude(path, filing)


def _listeners(
    screen: Screen,
    looks: Looks | None,
    opened: Callable[[Path], None],
    gateway_url: str | None,
    scenarios: list[str],
) -> Listeners:
    def on_tick(now_ns: int, counters: Callable[[], Counters]) -> str | None:
        screen.tick(now_ns, counters)
        return looks.ends(now_ns) if looks is not None else None

    def on_opened(path: Path) -> None:
        opened(path)
        if looks is not None:
            looks.watch(path)

    def gateway() -> dict[str, Any]:
        return {} if gateway_url is None else {"gateway": gateway_facts(gateway_url, scenarios)}

    return Listeners(screen.warn, on_tick, on_opened, closing=gateway)


def refuse_above(plan: Plan, max_requests: int | None) -> None:
    """Raises UserError for a plan of more requests than are allowed."""
    if max_requests is not None and len(plan.schedule) > max_requests:
        raise UserError(
            f"the plan has {len(plan.schedule):,} requests, above --max-requests {max_requests:,}",
            remedy="shorten it or raise the cap",
        )


def command_facts(plan: Plan, text: PromptText, options: RunOptions) -> dict[str, Any]:
    """Lines of the manifest that a run has from its command and prompts."""
    # A command that prints the key may be written with the key in it.
    redaction = Redaction(run_secrets(plan.live().lanes))
    return {
        "repeat_command": redaction.clean(options.repeat_command),
        "tokenizer": text.tokenizer.name if text.tokenizer else None,
        "early_stop": LOOKS if options.early_stop else None,
        "notes": [*_prompt_sizes(plan, text), *_stretched(options)],
    }


def _stretched(options: RunOptions) -> Iterator[str]:
    if options.stretch is not None:
        yield f"every stage goes on for {show_exact(options.stretch)} times its suite's length"


def census(suite: Suite) -> dict[str, Any]:
    """census.json: each scenario that is a log of its own, held against its contract."""
    months, expects = {}, []
    for month, file in suite.months:
        found, answers = judge_month(month, file)
        months[file.stem] = found.record.to_json()
        expects += [answer.to_json() for answer in answers]
    return {"format": Months.FORMAT, "months": months, "expects": expects}


def _prompt_sizes(plan: Plan, text: PromptText) -> Iterator[str]:
    """How far the true sizes of made prompts may be from the plan: a recount, or the estimator's
    known error. Own requests have a note of their lane's.
    """
    if any(lane.profile.prompts is not None for lane in plan.lanes):
        return
    if text.tokenizer is None:
        yield ESTIMATOR_ERROR
        return
    rows = plan.schedule[:: max(1, len(plan.schedule) // 50)]
    sampled = [(int(row["body"]), int(row["prompt_tokens"])) for row in rows]
    yield exactness(text, text.tokenizer, sampled).text


def _with_address(lane: Lane, gateway_url: str | None) -> Lane:
    """An embedded target gets the gateway's URL; the scenario is chosen by the path."""
    if not lane.target.embedded:
        return lane
    url = f"{gateway_url}{lane.served_path}"
    return dataclasses.replace(lane, target=lane.target.served_at(url))


@contextmanager
def embedded_gateway(scenarios: list[str]) -> Iterator[str | None]:
    """The gateway's URL while its process lives; None when no scenario is wanted.

    Raises UserError with the gateway's own sentence when it refuses a scenario.
    """
    if not scenarios:
        yield None
        return
    command = [
        sys.executable,
        "-m",
        "bench.gateway",
        "--scenarios",
        ",".join(scenarios),
        "--port",
        "0",
        "--exit-with-parent",
    ]
    # A group of its own: the terminal's Ctrl-C is for us, and requests under way still want their
    # answers.
    process = subprocess.Popen(  # noqa: S603 our own module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = process.stdout.readline()
        if not ready:
            text = process.stderr.read().decode(errors="replace").strip().splitlines()
            raise UserError(f"the simulator did not start: {text[-1] if text else 'no message'}")
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


def gateway_facts(gateway_url: str, scenarios: list[str]) -> dict[str, dict[str, Any]]:
    """Did a gateway write when it meant to? By scenario: `kept_up`, and its own `timing_error_ms`.

    One that no longer answers has not kept up.
    """
    facts: dict[str, dict[str, Any]] = {}
    for name in (Path(scenario).stem for scenario in scenarios):
        with closing(HTTPConnection(urlsplit(gateway_url).netloc, timeout=5)) as connection:
            try:
                connection.request("GET", f"/{quote(name)}/truth")
                timing = json.loads(connection.getresponse().read())["timing_error_ms"]
            except (OSError, HTTPException, ValueError, KeyError):
                timing = {"kept_up": False}
        facts[name] = {"kept_up": timing.pop("kept_up"), "timing_error_ms": timing}
    return facts
