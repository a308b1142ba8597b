"""A whole run computed: the same plan against the gateway's serving model, without a socket.

In: a suite whose targets are all embedded, a seed, optionally how many requests to lengthen the
plan to. Out: a run's folder as `conduct` writes it, every lane marked simulated, and `truth.json`.
Must stay true: caps, timeouts, sessions and closed loops act as in the load generator, whose
client costs nothing here; the same suite, seed and count give the same bytes of samples and truth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from bench.app.conclude import PLAIN, Filing, Finished, conclude
from bench.app.virtual_client import Answers, VirtualClient
from bench.clock import monotonic_ns, wall_ns
from bench.errors import UserError
from bench.gateway.scenarios import Scenario, load_scenario
from bench.judge.summary import view_ms
from bench.load.generator import drain_bound_ns
from bench.load.options import RunOptions, plan_file
from bench.load.runner import Simulated
from bench.metrics import HEADLINES
from bench.plan.profile import override_profile
from bench.plan.schedule import Lane, Plan, compile_plan
from bench.plan.suite import Stage, Suite
from bench.progress import counted
from bench.record.files import write_json
from bench.record.histogram import write_histograms
from bench.record.identity import plan_facts, run_id
from bench.record.records.harness import Harness, State
from bench.record.records.manifest import Manifest
from bench.record.run_folder import RunWriter
from bench.record.samples import Columns, Table, empty_samples, outcome_counts
from bench.units import S

FORMAT = 1
_CLOCK = {"source": "virtual", "resolution_ns": 1.0, "monotonic": True, "adjustable": False}
_NOTE = "computed by the simulator: sending, connecting and the network cost nothing"


@dataclasses.dataclass(frozen=True)
class VirtualPlan:
    """A plan for the simulator."""

    plan: Plan
    #: how long (ns) a scenario was before it was lengthened: its timeline begins again that often
    periods: dict[str, int]
    #: a sentence for what was left out
    left_out: list[str]


def plan_virtual(suite: Suite, seed: int, requests: int | None = None) -> VirtualPlan:
    """Compile a suite for the simulator, lengthened to so many requests.

    Raises UserError for a target that nothing simulates, and for a plan that cannot be lengthened.
    """
    suite, left_out = playable(suite)
    periods: dict[str, int] = {}
    if requests is not None:
        suite, periods = lengthened(compile_plan(suite, seed), requests)
    return VirtualPlan(compile_plan(suite, seed), periods, left_out)


def simulate(
    virtual: VirtualPlan,
    options: RunOptions,
    *,
    filing: Filing = PLAIN,
) -> Finished:
    """Compute a plan, judge and report it."""
    plan = virtual.plan
    scenarios = {
        lane.scenario: load_scenario(lane.scenario)
        for lane in plan.lanes
        if lane.scenario is not None
    }
    started = wall_ns()
    name = run_id(plan, started)
    folder = options.folder or options.results / name
    facts = _facts(virtual, scenarios, name, started).replace(repeat_command=options.repeat_command)
    writer = RunWriter(folder, facts, plan.schedule, plan_file(plan, options))
    began_ns = monotonic_ns()
    with counted("computing", len(plan.schedule)) as on_played:
        answers, interrupted = play_virtual(plan, scenarios, virtual.periods, on_played)
    rate = len(plan.schedule) * S // max(monotonic_ns() - began_ns, 1)
    write_histograms(writer.folder, plan, answers.samples, answers.gap_histograms(), started)
    write_json(writer.folder / "truth.json", truth(plan, scenarios, answers.samples))
    state: State = "interrupted" if interrupted else "complete"
    harness = Harness(
        loop="virtual time", state=state, workers=1, dead_workers=[], simulated_rps=rate
    )
    writer.finish(
        state,
        answers.samples,
        {"ended_wall_ns": wall_ns(), "harness": harness, "strings": answers.texts()},
    )
    return conclude(writer.folder, filing)


def _facts(
    virtual: VirtualPlan, scenarios: dict[str, Scenario], name: str, started: int
) -> Manifest:
    facts = plan_facts(virtual.plan, name, started)
    lanes = []
    for lane, record in zip(virtual.plan.lanes, facts.lanes, strict=True):
        note = _NOTE
        scenario = lane.scenario or ""
        if scenario in virtual.periods and scenarios[scenario].gateway.timeline:
            length_s = virtual.periods[scenario] / S
            note += f"; the scenario's timeline begins again every {length_s:g} s"
        lanes.append(record.replace(simulated=True, notes=[*record.notes, note]))
    return facts.replace(tokenizer=None, clock=_CLOCK, notes=virtual.left_out, lanes=lanes)


def playable(suite: Suite) -> tuple[Suite, list[str]]:
    """The suite without its routes, and a sentence for what was left out: what they would do
    depends on answers.

    A drill that is a bare mark says when, and changes nothing here. Raises UserError for a real
    endpoint, for a drill that does something, and where nothing would be left to play or to
    compare.
    """
    if not suite.stages:
        raise UserError(
            "holds a full log to judge, and no requests to compute",
            where=f"suite {suite.name}",
            remedy=f"tailproof run {suite.name}",
        )
    stages, left_out = [], []
    for stage in suite.stages:
        where, remedy = f"stage {stage.name!r}", "send it with `tailproof run`"
        plain = [target for target in stage.targets if target.route is None]
        for target in plain:
            if not target.embedded:
                raise UserError(
                    f"target {target.name!r} is a real endpoint, which cannot be computed",
                    where=where,
                    remedy='give it base_url = "embedded" and a scenario',
                )
        names = [target.name for target in stage.targets if target.route is not None]
        if not plain or any(set(names) & set(table.lanes) for table in stage.compare):
            raise UserError(
                f"target {names[0]!r} is a route, which the simulator does not compute",
                where=where,
                remedy=remedy,
            )
        if (beyond := _beyond(stage)) is not None:
            raise UserError(beyond, where=where, remedy=remedy)
        left_out += (
            [
                (
                    f"left out of stage {stage.name}, because the simulator computes no routes:"
                    f" {', '.join(names)}"
                )
            ]
            if names
            else []
        )
        stages.append(
            stage.model_copy(update={"targets": plain, "drills": [], "expect_route": []})
            if names
            else stage
        )
    return suite.model_copy(update={"stages": stages}), left_out


def _beyond(stage: Stage) -> str | None:
    """What a stage has that is not computed."""
    if any(drill.change is not None or drill.command is not None for drill in stage.drills):
        return "has a drill, which the simulator does not carry out"
    if stage.scenario is not None and load_scenario(stage.scenario).gateway.downgrade:
        return "has a scenario of downgraded tiers, which the simulator does not compute"
    return None


def lengthened(plan: Plan, requests: int) -> tuple[Suite, dict[str, int]]:
    """The plan's suite with about `requests` measured rows, and how long (ns) each scenario was
    before.

    Rates stay as they are; each stage keeps its share of the rows. Raises UserError for fewer rows
    than targets and for a trace, which is as long as it is.
    """
    suite = plan.suite
    stages, periods, left, rows_left = [], dict[str, int](), requests, len(plan.schedule)
    for stage in suite.stages:
        lanes = [lane for lane in plan.lanes if lane.stage == stage.name]
        rows = sum(lane.requests for lane in lanes)
        count = left * rows // rows_left // len(lanes)
        left, rows_left = left - count * len(lanes), rows_left - rows
        where = f"stage {stage.name!r}"
        if count < 1:
            raise UserError(
                f"{requests:,} requests are fewer than one for each target",
                where=where,
                remedy="ask for more",
            )
        if stage.profile.arrivals.kind == "trace" and count > lanes[0].requests:
            raise UserError(
                f"a trace of {lanes[0].requests:,} rows cannot give {count:,} requests",
                where=where,
                remedy="ask for fewer requests, or use another profile",
            )
        length_ns = max(lane.end_ns for lane in lanes) - lanes[0].start_ns
        if (
            stage.scenario is not None
            and count > rows // len(lanes)
            and not stage.profile.closed_loop
        ):
            periods.setdefault(stage.scenario, length_ns)
        # Phases end a plan by its length alone: give them more of it than the count can need.
        phased = bool(stage.profile.phases)
        profile = override_profile(
            stage.profile,
            where,
            requests=count,
            duration_ns=2 * (length_ns * (1 + count * len(lanes) // rows) + S) if phased else None,
        )
        stages.append(stage.model_copy(update={"profile": profile}))
    return suite.model_copy(update={"stages": stages}), periods


def play_virtual(
    plan: Plan,
    scenarios: dict[str, Scenario],
    periods: dict[str, int],
    on_played: Callable[[int], None] = lambda _: None,
) -> tuple[Answers, bool]:
    """What each row came to, and whether Ctrl-C ended it.

    Scenarios are worlds apart, played one after another.
    """
    answers = Answers(plan, empty_samples(len(plan.schedule)))
    until_ns = plan.end_ns + drain_bound_ns(plan.lanes, plan.schedule)
    for name, scenario in scenarios.items():
        gateway = scenario.gateway.repeated(periods[name]) if name in periods else scenario.gateway
        client = VirtualClient(
            gateway, plan.seed, [lane for lane in plan.lanes if lane.scenario == name], answers
        )
        try:
            client.play(until_ns, on_played)
        except KeyboardInterrupt:
            client.cut_off()
            return answers, True
    return answers, False


def play_beside(plan: Plan) -> Simulated:
    """The rows of the lanes that a run over HTTP leaves to the simulator."""
    lanes = [lane for lane in plan.lanes if lane.simulated and lane.scenario is not None]
    answers, _ = play_virtual(
        plan, {lane.scenario: load_scenario(lane.scenario) for lane in lanes if lane.scenario}, {}
    )
    return Simulated(answers.samples, answers.texts(), answers.gap_histograms())


def truth(plan: Plan, scenarios: dict[str, Scenario], samples: Table) -> dict[str, Any]:
    """truth.json: what each scenario planted, and what its world really did, exact quantiles in ms.

    Counted from the moment a request arrived at the world, warm-up included: what stands behind
    a client's own queue is not the provider's.
    """
    columns = Columns(plan.schedule, samples)
    return {
        "format": FORMAT,
        "seed": plan.seed,
        "scenarios": {
            scenario.name: {
                "says": scenario.truth.says,
                "planted": [
                    line.model_dump(mode="json", exclude_defaults=True)
                    for line in scenario.truth.line
                ],
                "played": {
                    lane.name: _played(lane, columns.lane(lane.index))
                    for lane in plan.lanes
                    if lane.scenario == name
                },
            }
            for name, scenario in scenarios.items()
        },
    }


def _played(lane: Lane, rows: Columns) -> dict[str, Any]:
    ok = rows.where(rows.ok)
    found = {
        f"{name}_ms": None if quantiles is None else quantiles.to_json()
        for name, quantiles in view_ms(ok, HEADLINES, "service").items()
    }
    return {
        "model": lane.target.model,
        "outcomes": outcome_counts(rows.samples),
        **found,
    }
