"""Suite -> schedule: one row per planned request, before anything is sent.

In: a loaded suite and a seed. Out: a `Plan`: lanes and the sorted table of `SCHEDULE_DTYPE`.
Must stay true: pure but for reading a trace's file; the same suite and seed give the same
bytes; the generator that plays the table draws nothing and reckons no rate; a session's rows
stand together, so a slice by session never splits one.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.errors import UserError
from bench.plan.arrivals import MAX_ROWS, Span, arrivals, cut_spans, refuse_beyond
from bench.plan.clause import LATENCIES
from bench.plan.contract import Contract
from bench.plan.draws import Draw, Purpose
from bench.plan.drill import PlannedDrill
from bench.plan.interleave import Turn
from bench.plan.profile import WARMUP, Profile, bucket_names
from bench.plan.route import NO_LEG, first_legs
from bench.plan.sizes import buckets, prefix_groups, request_sizes, session_turns
from bench.plan.suite import Stage, Suite
from bench.plan.target import Target
from bench.plan.traces import Trace, read_trace
from bench.units import MS, S

__all__ = ["MAX_ROWS", "SCHEDULE_DTYPE", "Lane", "Plan", "Span", "Table", "compile_plan"]

Table = npt.NDArray[np.void]

#: One planned request. A row that waits for another has `after_row` >= 0 and `due_ns` = -1:
#: it is due `think_ns` after that row was answered. `leg` is what a route begins it with, -1
#: without one.
SCHEDULE_DTYPE = np.dtype(
    [
        ("due_ns", "<i8"),
        ("after_row", "<i4"),
        ("think_ns", "<i8"),
        ("lane", "<u2"),
        ("phase", "<u2"),
        ("bucket", "<u2"),
        ("warmup", "?"),
        ("prompt_tokens", "<i4"),
        ("output_tokens", "<i4"),
        ("prefix_group", "<i4"),
        ("body", "<i4"),
        ("session", "<i4"),
        ("turn", "<i4"),
        ("leg", "<i1"),
    ]
)
#: A closed loop's table is an upper bound: no user is planned to ask more often than this.
CLOSED_LOOP_FLOOR_NS = 5 * MS


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
    #: played in virtual time
    simulated: bool = False
    #: comparisons whose baseline this lane is, their arms as names of lanes
    compare: tuple[dict[str, Any], ...] = ()
    #: known answers about it as a lane of a stage with routes
    expect_route: tuple[dict[str, Any], ...] = ()

    def record(self) -> dict[str, Any]:
        """The lane as the manifest keeps it. Holds no header value and no key."""
        target, profile = self.target, self.profile
        return {
            "name": self.name,
            "target": target.name,
            "tier": target.tier,
            "region": target.region,
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
            "compare": list(self.compare),
            "expect_route": list(self.expect_route),
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


def compile_plan(suite: Suite, seed: int | None = None) -> Plan:
    """Compile a suite. Raises UserError for a plan that is empty or beyond MAX_ROWS rows."""
    seed = suite.seed if seed is None else seed
    lanes: list[Lane] = []
    tables: list[Table] = []
    drills: list[PlannedDrill] = []
    names = _lane_names(suite)
    offset_ns = body_base = prefix_base = 0
    for stage_index, stage in enumerate(suite.stages):
        if stage.simulated:
            offset_ns = 0  # virtual time has room for all at once
        stage_end = offset_ns
        if _ends_with_its_count(stage.profile) and any(
            not later.simulated for later in suite.stages[stage_index + 1 :]
        ):
            raise UserError(
                "a closed loop by request count has no planned end, so no stage can follow it",
                where=f"stage {stage.name!r}",
                remedy="give it a duration, or put it last",
            )
        for position, target in enumerate(stage.targets):
            turn, first = _turn(stage, target.name, position)
            draw = Draw(
                stage.profile.seed if stage.profile.seed is not None else seed, stage_index, first
            )
            table, spans, end_ns, notes = _lane_table(
                stage.profile, draw, f"stage {stage.name!r}", turn
            )
            if not len(table):
                raise UserError(
                    "plans no request at all",
                    where=f"stage {stage.name!r}",
                    remedy="raise the rate or the duration",
                )
            if target.route is not None:
                table["leg"] = first_legs(
                    target.route, table["prompt_tokens"], table["session"], draw
                )
            phases = tuple(dict.fromkeys(span.phase for span in spans))
            _refuse_clauses_beyond_reach(stage, target, phases, table)
            table["lane"] = len(lanes)
            table["due_ns"][table["due_ns"] >= 0] += offset_ns
            # Equal sizes, different words: lanes behind one provider must not warm its prefix
            # cache.
            table["body"] += body_base
            body_base = int(table["body"].max()) + 1
            if stage.profile.shared_prefix is not None:
                table["prefix_group"] += prefix_base
                prefix_base += stage.profile.shared_prefix.groups
            spans = [
                dataclasses.replace(
                    span, start_ns=span.start_ns + offset_ns, end_ns=span.end_ns + offset_ns
                )
                for span in spans
            ]
            lanes.append(
                Lane(
                    index=len(lanes),
                    name=names[len(lanes)],
                    stage=stage.name,
                    target=target,
                    profile=stage.profile,
                    contract=stage.contract,
                    scenario=stage.scenario,
                    phases=phases,
                    spans=tuple(spans),
                    start_ns=offset_ns,
                    end_ns=offset_ns + end_ns,
                    requests=len(table),
                    notes=tuple(notes),
                    expect=tuple(
                        {"clause": e.clause, "verdict": e.verdict}
                        for e in stage.expect
                        if e.target == target.name
                    ),
                    simulated=stage.simulated,
                    compare=_compared(stage, target.name, names[len(lanes) - position :]),
                    expect_route=tuple(
                        e.model_dump(mode="json", exclude_defaults=True)
                        for e in stage.expect_route
                        if e.target == target.name
                    ),
                )
            )
            tables.append(table)
            stage_end = max(stage_end, offset_ns + end_ns)
        drills += [PlannedDrill(offset_ns + drill.at, stage.name, drill) for drill in stage.drills]
        if not stage.simulated:
            offset_ns = stage_end + stage.settle_ns
    return Plan(
        suite,
        seed,
        tuple(lanes),
        _merge(tables),
        tuple(sorted(drills, key=lambda drill: drill.at_ns)),
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


def _compared(stage: Stage, baseline: str, names: list[str]) -> tuple[dict[str, Any], ...]:
    """Records of the comparisons with this baseline; `names` are the lanes' names from the stage's
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
            named = table.model_copy(
                update={"arms": [name_of[arm] for arm in table.lanes], "expect": expect}
            )
            found.append(named.model_dump(mode="json", exclude_defaults=True))
    return tuple(found)


def _ends_with_its_count(profile: Profile) -> bool:
    return profile.closed_loop and profile.duration is None


def _refuse_clauses_beyond_reach(
    stage: Stage, target: Target, phases: tuple[str, ...], table: Table
) -> None:
    """Raises UserError for a judged clause on what no row of this lane can have."""
    measured = table[~table["warmup"]]
    for number, clause in enumerate(stage.contract.clauses if stage.contract else (), 1):
        if clause.report_only:
            continue
        by_token = clause.metric in LATENCIES and clause.metric != "e2e"
        if by_token and not target.stream:
            why, remedy = (
                f"target {target.name!r} answers without streaming",
                "judge e2e, or let the target stream",
            )
        elif (
            clause.metric in ("tpot", "inter_chunk_max")
            and measured["output_tokens"].max(initial=0) < 2
        ):
            why, remedy = (
                "no answer is planned to have a second token",
                "ask for 2 output tokens or more",
            )
        elif clause.phase is not None and clause.phase not in set(phases) - {WARMUP}:
            known = ", ".join(name for name in phases if name != WARMUP)
            why, remedy = (
                f"profile {stage.profile.name!r} has no judged phase {clause.phase!r}",
                f"its phases: {known}",
            )
        elif clause.bucket is not None and not np.any(
            measured["bucket"] == bucket_names().index(clause.bucket)
        ):
            why, remedy = (
                "no planned prompt falls into that context bucket",
                "change the profile's prompt_tokens or the clause",
            )
        else:
            continue
        name = stage.contract.name if stage.contract else ""
        raise UserError(
            f"cannot be judged in stage {stage.name!r}: {why}",
            where=f"contract {name}: clause {number} ({clause.text})",
            remedy=remedy,
        )


def _lane_names(suite: Suite) -> list[str]:
    """The target's name where unique, else target/scenario or target/profile, else target/stage."""
    lanes = [(stage, target) for stage in suite.stages for target in stage.targets]

    def candidates(stage: Stage, target: Target) -> list[str]:
        second = Path(stage.scenario).stem if stage.scenario else stage.profile.name
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


def _lane_table(
    profile: Profile, draw: Draw, where: str, turn: Turn | None
) -> tuple[Table, list[Span], int, list[str]]:
    """Rows of one lane from its own time zero; `end_ns` is when its arrivals stop."""
    if profile.closed_loop:
        table, spans, end_ns, notes = _closed_loop(profile, draw, where)
    elif profile.arrivals.kind == "trace":
        table, spans, end_ns, notes = _trace_rows(profile, draw, turn)
    else:
        table, spans, end_ns, notes = _open_loop(profile, draw, where, turn)
    notes += [turn.note()] if turn is not None else []
    if profile.shared_prefix is not None and len(table):
        groups = prefix_groups(profile, int(table["session"].max()) + 1, draw)
        table["prefix_group"] = groups[table["session"]]
        table["prompt_tokens"] += profile.shared_prefix.tokens
    table["bucket"] = buckets(table["prompt_tokens"])
    return table, spans, end_ns, notes


def _open_loop(
    profile: Profile, draw: Draw, where: str, turn: Turn | None
) -> tuple[Table, list[Span], int, list[str]]:
    spans, due_ns = arrivals(profile if turn is None else turn.common(profile), draw, where)
    if turn is not None:
        if profile.requests is not None and len(due_ns):
            spans = cut_spans(spans, int(due_ns[-1]) + 1)
        due_ns = due_ns[turn.mine(due_ns, profile.warmup, draw)]
    table = _rows(len(due_ns))
    table["due_ns"] = due_ns
    table["session"] = np.arange(len(due_ns))
    table["warmup"] = due_ns < profile.warmup
    if profile.sessions is not None:
        table = _expand_sessions(table, profile, draw, where)
    table["prompt_tokens"], table["output_tokens"] = request_sizes(profile, len(table), draw)
    if profile.sessions is not None:
        _add_context(table)
    counted = profile.requests is not None and (turn is None or profile.sessions is not None)
    if (
        counted
        and profile.requests is not None
        and np.count_nonzero(~table["warmup"]) >= profile.requests
    ):
        # The count ends the plan: with its last measured row, which may cut a session short.
        table = table[: int(np.count_nonzero(table["warmup"])) + profile.requests].copy()
        spans = cut_spans(spans, int(table["due_ns"].max()) + 1)
    names = list(dict.fromkeys(span.phase for span in spans))
    span_of = np.searchsorted(np.array([span.start_ns for span in spans]), due_ns, side="right") - 1
    phase_of = np.array([names.index(span.phase) for span in spans], np.uint16)
    table["phase"] = phase_of[span_of[table["session"]]]
    return table, spans, spans[-1].end_ns, []


def _rows(count: int) -> Table:
    table = np.zeros(count, SCHEDULE_DTYPE)
    table["due_ns"] = table["after_row"] = table["prefix_group"] = -1
    table["leg"] = NO_LEG
    table["body"] = np.arange(count)
    return table


def _expand_sessions(first: Table, profile: Profile, draw: Draw, where: str) -> Table:
    """Each row becomes a session, whose later turns wait for the one before."""
    assert profile.sessions is not None
    turns = session_turns(profile, len(first), draw)
    total = int(turns.sum(dtype=np.int64))
    refuse_beyond(total, where, "lower the rate, the duration or the turns")
    table = np.repeat(first, turns)
    starts = np.cumsum(turns, dtype=np.int64) - turns
    table["turn"] = np.arange(total) - np.repeat(starts, turns)
    later = table["turn"] > 0
    table["due_ns"][later] = -1
    table["after_row"][later] = np.nonzero(later)[0] - 1
    think = np.full(total, profile.sessions.think, np.float64)
    if profile.sessions.think_law == "exponential":
        think *= draw.stream(Purpose.THINK).standard_exponential(total)
    table["think_ns"] = np.where(later, np.rint(think), 0)
    return table


def _add_context(table: Table) -> None:
    """A turn's prompt is every user text of its session up to it and every answer before it."""
    user, answer = table["prompt_tokens"].astype(np.int64), table["output_tokens"].astype(np.int64)
    spoken = np.cumsum(user) + np.cumsum(answer) - answer
    heads = np.nonzero(table["turn"] == 0)[0]
    table["prompt_tokens"] = spoken - (spoken[heads] - user[heads])[table["session"]]


# ---- the other two kinds


def _closed_loop(
    profile: Profile, draw: Draw, where: str
) -> tuple[Table, list[Span], int, list[str]]:
    """`concurrency` users, each asking again once answered: a session a user, whose rows follow
    each other.
    """
    users = profile.arrivals.concurrency or 1
    length = profile.duration or 0
    rows = (
        users * -(-length // CLOSED_LOOP_FLOOR_NS) if profile.requests is None else profile.requests
    )
    refuse_beyond(
        rows,
        where,
        "a closed loop plans room for its fastest answers; shorten it, or give it a request count",
    )
    turns = np.full(min(users, rows), rows // users)
    turns[: rows % users] += 1
    table = _rows(rows)
    table["session"] = np.repeat(np.arange(len(turns)), turns)
    table["turn"] = np.arange(rows) - np.repeat(np.cumsum(turns) - turns, turns)
    later = table["turn"] > 0
    table["due_ns"] = np.where(later, -1, 0)
    table["after_row"] = np.where(later, np.arange(rows) - 1, -1)
    table["prompt_tokens"], table["output_tokens"] = request_sizes(profile, rows, draw)
    span = Span("closed-loop", 0, max(length, 1), 0.0, 0.0)
    return (
        table,
        [span],
        length,
        [
            (
                f"closed loop of {users} users: latencies follow the server, not valid for an SLA"
                " verdict"
            )
        ],
    )


def _trace_rows(
    profile: Profile, draw: Draw, turn: Turn | None
) -> tuple[Table, list[Span], int, list[str]]:
    source = profile.arrivals.trace
    assert source is not None
    trace: Trace = read_trace(source, int(draw.stream(Purpose.ARRIVALS).integers(2**31)))
    wanted = (profile if turn is None else turn.common(profile)).requests
    keep = np.arange(len(trace.due_ns)) < (wanted or len(trace.due_ns))
    if profile.duration is not None:
        keep &= trace.due_ns < profile.duration
    played = int(np.count_nonzero(keep))
    cut_by_time = (
        profile.duration is not None and trace.due_ns[-1] >= profile.duration and played != wanted
    )
    end = (
        profile.duration
        if cut_by_time and profile.duration
        else int(trace.due_ns[keep][-1]) + 1
        if played
        else 0
    )
    if turn is not None:
        keep &= turn.mine(trace.due_ns, 0, draw)
    rows = int(np.count_nonzero(keep))
    table = _rows(rows)
    table["due_ns"] = trace.due_ns[keep]
    table["session"] = np.arange(rows)
    table["prompt_tokens"] = np.maximum(trace.prompt_tokens[keep], 1)
    table["output_tokens"] = np.maximum(trace.output_tokens[keep], 1)
    mean = rows / max(end / S, 1e-9)
    return table, [Span("trace", 0, end, mean, mean)], end, list(trace.notes)


def _merge(tables: list[Table]) -> Table:
    """All lanes in one table, sorted by the first due time of each session, turns together."""
    refuse_beyond(sum(len(table) for table in tables), "suite")
    # In each lane the heads of its sessions stand in the order of their session numbers.
    first_due = np.concatenate([t["due_ns"][t["after_row"] < 0][t["session"]] for t in tables])
    starts = np.cumsum([0] + [len(table) for table in tables])
    for table, start in zip(tables, starts, strict=False):
        table["after_row"][table["after_row"] >= 0] += start
    whole = np.concatenate(tables)
    order = np.argsort(first_due, kind="stable")
    position = np.empty(len(whole), np.int64)
    position[order] = np.arange(len(whole))
    whole = whole[order]
    dependent = whole["after_row"] >= 0
    whole["after_row"][dependent] = position[whole["after_row"][dependent]]
    return whole
