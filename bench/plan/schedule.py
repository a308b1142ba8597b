"""Suite -> schedule: one row per planned request, before anything is sent.

In: a loaded suite and a seed. Out: a `Plan`: lanes and the sorted table of `SCHEDULE_DTYPE`.
Must stay true: pure but for reading a trace's file; the same suite and seed give the same
bytes; the generator that plays the table draws nothing and computes no rate; a session's rows
stand together, so a slice by session never splits one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.plan.arrival_laws import MAX_ROWS
from bench.plan.arrivals import Span
from bench.plan.beyond_reach import makes_tokens, refuse_clauses_beyond_reach
from bench.plan.contract import Contract
from bench.plan.draws import Draw
from bench.plan.drill import PlannedDrill
from bench.plan.expectation import refuse_of_no_text
from bench.plan.interleave import Compare, Turn
from bench.plan.own_requests import own_requests
from bench.plan.profile import Profile, bucket_names
from bench.plan.route import RouteExpect, first_legs
from bench.plan.rows import (
    SCHEDULE_DTYPE,
    LaneRows,
    Table,
    in_due_order,
    lane_rows,
)
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target, gateway_path
from bench.userfile import UserModel

__all__ = ["MAX_ROWS", "SCHEDULE_DTYPE", "Lane", "Plan", "Span", "Table", "compile_plan"]


@dataclasses.dataclass(frozen=True)
class Lane:
    """One target under one profile in one stage."""

    index: int
    name: str
    stage: str
    target: Target
    profile: Profile
    contract: Contract | None
    scenario: str | None
    phases: tuple[str, ...]
    spans: tuple[Span, ...]
    start_ns: int
    end_ns: int
    requests: int
    notes: tuple[str, ...]
    expect: tuple[dict[str, str], ...]
    #: computed by the simulator
    simulated: bool = False
    #: comparisons whose baseline this lane is, their arms as names of lanes
    compare: tuple[Compare, ...] = ()
    #: expected answers about it as a lane of a stage with routes
    expect_route: tuple[RouteExpect, ...] = ()

    @property
    def served_path(self) -> str:
        """The path below which the embedded gateway serves its scenario."""
        return gateway_path(self.scenario or "")

    def record(self) -> dict[str, Any]:
        """The lane as the manifest keeps it. Holds no header value and no key."""
        target, profile = self.target, self.profile
        return {
            "name": self.name,
            "target": target.name,
            "tier": target.tier,
            "region": target.region,
            "api": ", ".join(dict.fromkeys(each.api for each in target.endpoints)),
            "model": ", ".join(dict.fromkeys(each.model for each in target.endpoints)),
            "base_url": ", ".join(dict.fromkeys(each.base_url for each in target.endpoints)),
            "transport": target.transport,
            "insecure": bool(target.unverified),
            "stage": self.stage,
            "scenario": self.scenario,
            "simulated": self.simulated,
            "profile": (
                profile.model_dump(mode="json", exclude_defaults=True) | {"name": profile.name}
            ),
            "contract": (
                self.contract.model_dump(mode="json", by_alias=True) if self.contract else None
            ),
            "phases": list(self.phases),
            "phase_spans": [
                {
                    "phase": span.phase,
                    "start_ns": span.start_ns,
                    "end_ns": span.end_ns,
                    "warmup": span.warmup,
                }
                for span in self.spans
            ],
            "buckets": bucket_names(),
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "requests": self.requests,
            "timeout_ns": target.timeout,
            "max_in_flight": profile.max_in_flight,
            "closed_loop": profile.closed_loop,
            "closed_by_duration": profile.closed_loop and not _ends_with_its_count(profile),
            "prices": target.prices.model_dump(mode="json") if target.prices else None,
            "expect": list(self.expect),
            "notes": list(self.notes),
            "compare": _as_given(self.compare),
            "expect_route": _as_given(self.expect_route),
            "route": (
                target.route.model_dump(mode="json", exclude_none=True) if target.route else None
            ),
            "legs": [
                {
                    "name": leg.name,
                    "model": leg.model,
                    "tier": leg.tier,
                    "region": leg.region,
                    "base_url": leg.base_url,
                    "prices": leg.prices.model_dump(mode="json") if leg.prices else None,
                }
                for leg in target.legs
            ],
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything a run will do."""

    suite: Suite
    seed: int
    lanes: tuple[Lane, ...]
    schedule: Table
    drills: tuple[PlannedDrill, ...] = ()
    #: of a plan that was cut: the table of all its parts
    whole: Table | None = None

    @property
    def end_ns(self) -> int:
        """When the last arrival of the last lane may come, after the run's start."""
        return max(lane.end_ns for lane in self.lanes)

    def live(self) -> Plan:
        """The plan with the lanes alone that are played over HTTP; they come first, so their
        numbers stay.
        """
        return dataclasses.replace(
            self, lanes=tuple(lane for lane in self.lanes if not lane.simulated)
        )


@dataclasses.dataclass
class _Numbers:
    """Numbers that no lane has used yet: equal sizes, different words, for lanes behind one
    provider must not warm each other's prefix cache.
    """

    body: int = 0
    prefix_group: int = 0

    def give(self, table: Table, profile: Profile) -> None:
        """Number the bodies and prefix groups of a lane's rows, which count from 0."""
        if profile.numbered_by_file:
            return
        table["body"] += self.body
        self.body = int(table["body"].max()) + 1
        if profile.shared_prefix is not None:
            table["prefix_group"] += self.prefix_group
            self.prefix_group += profile.shared_prefix.groups


def compile_plan(suite: Suite, seed: int | None = None) -> Plan:
    """Compile a suite. Raises UserError for a plan that is empty or beyond MAX_ROWS rows."""
    seed = suite.seed if seed is None else seed
    lanes: list[Lane] = []
    tables: list[Table] = []
    drills: list[PlannedDrill] = []
    names = _lane_names(suite)
    numbers = _Numbers()
    offset_ns = 0
    for stage_index, stage in enumerate(suite.stages):
        _refuse_a_stage_behind_a_counted_loop(stage, suite.stages[stage_index + 1 :])
        if stage.simulated:
            offset_ns = 0  # the simulator has room for all at once
        stage_names = names[len(lanes) : len(lanes) + len(stage.targets)]
        stage_end = offset_ns
        for position in range(len(stage.targets)):
            draw_seed = seed if stage.profile.seed is None else stage.profile.seed
            rows = _target_rows(stage, position, draw_seed, stage_index)
            rows.table["lane"] = len(lanes)
            rows.table["due_ns"][rows.table["due_ns"] >= 0] += offset_ns
            numbers.give(rows.table, stage.profile)
            lanes.append(_lane(stage, position, stage_names, len(lanes), rows, offset_ns))
            tables.append(rows.table)
            stage_end = max(stage_end, lanes[-1].end_ns)
        drills += [PlannedDrill(offset_ns + drill.at, stage.name, drill) for drill in stage.drills]
        if not stage.simulated:
            offset_ns = stage_end + stage.settle_ns
    drills.sort(key=lambda drill: drill.at_ns)
    return Plan(suite, seed, tuple(lanes), in_due_order(tables), tuple(drills))


def _refuse_a_stage_behind_a_counted_loop(stage: Stage, later: list[Stage]) -> None:
    if _ends_with_its_count(stage.profile) and any(not other.simulated for other in later):
        raise UserError(
            "a closed loop by request count has no planned end, so no stage can follow it",
            where=f"stage {stage.name!r}",
            remedy="give it a duration, or put it last",
        )


def _target_rows(stage: Stage, position: int, seed: int, stage_index: int) -> LaneRows:
    """The rows of one target of a stage. Raises UserError where there are none, or where a clause
    asks for what no row can have.
    """
    target = stage.targets[position]
    turn, first = _turn(stage, target.name, position)
    draw = Draw(seed, stage_index, first)
    own = own_requests(stage.profile.prompts, [each.api for each in target.endpoints])
    rows = lane_rows(stage.profile, draw, f"stage {stage.name!r}", turn, own)
    if not len(rows.table):
        raise UserError(
            "plans no request at all",
            where=f"stage {stage.name!r}",
            remedy="raise the rate or the duration",
        )
    if not makes_tokens(target):
        refuse_of_no_text(stage.profile.expect_answer, target.endpoints[0].api)
        rows.table["output_tokens"] = 0
    if target.route is not None:
        rows.table["leg"] = first_legs(
            target.route,
            rows.table["prompt_tokens"],
            rows.table["session"],
            draw,
        )
    refuse_clauses_beyond_reach(stage, target, _phases(rows), rows.table)
    return rows


def _phases(rows: LaneRows) -> tuple[str, ...]:
    return tuple(dict.fromkeys(span.phase for span in rows.spans))


def _lane(
    stage: Stage,
    position: int,
    stage_names: list[str],
    index: int,
    rows: LaneRows,
    offset_ns: int,
) -> Lane:
    target = stage.targets[position]
    spans = tuple(
        dataclasses.replace(
            span, start_ns=span.start_ns + offset_ns, end_ns=span.end_ns + offset_ns
        )
        for span in rows.spans
    )
    expect = tuple(
        {"clause": each.clause, "verdict": each.verdict}
        for each in stage.expect
        if each.target == target.name
    )
    expect_route = tuple(each for each in stage.expect_route if each.target == target.name)
    return Lane(
        index=index,
        name=stage_names[position],
        stage=stage.name,
        target=target,
        profile=stage.profile,
        contract=stage.contract_of(target),
        scenario=stage.scenario,
        phases=_phases(rows),
        spans=spans,
        start_ns=offset_ns,
        end_ns=offset_ns + rows.end_ns,
        requests=len(rows.table),
        notes=tuple(rows.notes),
        expect=expect,
        simulated=stage.simulated,
        compare=_compared(stage, target.name, stage_names),
        expect_route=expect_route,
    )


def _turn(stage: Stage, target: str, position: int) -> tuple[Turn | None, int]:
    """The target's part in a comparison's common arrivals, and the position whose streams they are
    drawn from.
    """
    for table in stage.compare:
        if target in table.lanes:
            first = next(
                at for at, other in enumerate(stage.targets) if other.name == table.lanes[0]
            )
            return (
                Turn(table.lanes.index(target), len(table.lanes), table.order, table.block),
                first,
            )
    return None, position


def _compared(stage: Stage, baseline: str, names: list[str]) -> tuple[Compare, ...]:
    """The comparisons with this baseline; `names` are the lanes' names from the stage's
    first target on.
    """
    name_of = dict(zip((target.name for target in stage.targets), names, strict=False))
    found = []
    for table in stage.compare:
        if table.lanes[0] == baseline:
            expect = [
                each.model_copy(update={"arm": name_of[each.arm or table.lanes[-1]]})
                for each in table.expect
            ]
            arms = [name_of[arm] for arm in table.lanes]
            found.append(table.model_copy(update={"arms": arms, "expect": expect}))
    return tuple(found)


def _as_given(tables: Sequence[UserModel]) -> list[dict[str, Any]]:
    return [table.model_dump(mode="json", exclude_defaults=True) for table in tables]


def _ends_with_its_count(profile: Profile) -> bool:
    return profile.closed_loop and profile.duration is None


def _lane_names(suite: Suite) -> list[str]:
    """The target's name where unique, else target/scenario or target/profile, else target/stage."""
    lanes = [(stage, target) for stage in suite.stages for target in stage.targets]

    def candidates(stage: Stage, target: Target) -> list[str]:
        if stage.scenario:
            second = Path(stage.scenario).stem
        else:
            second = stage.profile.name
        return [target.name, f"{target.name}/{second}", f"{target.name}/{stage.name}"]

    for level in range(3):
        names = [candidates(stage, target)[level] for stage, target in lanes]
        if len(set(names)) == len(names):
            break
    every = [candidates(stage, target) for stage, target in lanes]
    return [
        options[0] if sum(o[0] == options[0] for o in every) == 1 else names[i]
        for i, options in enumerate(every)
    ]
