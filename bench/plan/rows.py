"""The rows of one lane: when each is due, how large it is, which row it waits for.

In: a load profile, its draws, its turn in a comparison. Out: a table of `SCHEDULE_DTYPE`
from the lane's own time zero, its spans, when its arrivals stop, and notes for the report.
Must stay true: pure but for reading a trace's file; a session's rows stand together.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import UserError
from bench.plan.arrivals import Span, arrivals, cut_spans, refuse_beyond
from bench.plan.draws import Draw, Purpose, buckets, prefix_groups, request_sizes, session_turns
from bench.plan.interleave import Turn
from bench.plan.own_requests import BYTES_A_TOKEN, OwnRequests
from bench.plan.profile import Profile
from bench.plan.route import NO_LEG
from bench.plan.trace_prefix import prefix_note
from bench.plan.traces import Trace, read_trace
from bench.units import MS, S

Table = npt.NDArray[np.void]
Int = npt.NDArray[np.int64]

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


class LaneRows(NamedTuple):
    """What one lane plans, from its own time zero; `end_ns` is when its arrivals stop."""

    table: Table
    spans: list[Span]
    end_ns: int
    notes: list[str]


def lane_rows(
    profile: Profile,
    draw: Draw,
    where: str,
    turn: Turn | None,
    own: OwnRequests | None = None,
) -> LaneRows:
    """The rows of a lane under this profile, which sends `own` requests where there are any.
    Raises UserError for more than MAX_ROWS of them.
    """
    if profile.closed_loop:
        lane = _closed_loop(profile, draw, where)
        if own is not None:
            lane = lane._replace(table=_take_own(lane.table, own, draw, where))
    elif profile.arrivals.kind == "recorded" and own is not None:
        lane = _recorded_rows(profile, own, draw, turn)
    elif profile.arrivals.kind == "trace":
        lane = _trace_rows(profile, draw, turn)
    else:
        lane = _open_loop(profile, draw, where, turn, own)
    if turn is not None:
        lane.notes.append(turn.note())
    table = lane.table
    if own is not None and len(table):
        lane.notes.append(_own_note(profile, own, table))
    if profile.shared_prefix is not None and len(table):
        sessions = int(table["session"].max()) + 1
        groups = prefix_groups(profile, sessions, draw)
        table["prefix_group"] = groups[table["session"]]
        table["prompt_tokens"] += profile.shared_prefix.tokens
    table["bucket"] = buckets(table["prompt_tokens"])
    return lane


def _open_loop(
    profile: Profile,
    draw: Draw,
    where: str,
    turn: Turn | None,
    own: OwnRequests | None,
) -> LaneRows:
    if turn is None:
        planned = profile
    else:
        planned = turn.common(profile)
    spans, due_ns = arrivals(planned, draw, where)
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
    _draw_sizes(table, profile, draw)
    if profile.sessions is not None:
        _add_context(table)
    if own is not None:
        table = _take_own(table, own, draw, where)
    if profile.requests is not None and (turn is None or profile.sessions or own):
        measured = np.count_nonzero(~table["warmup"])
        if measured >= profile.requests:
            # The count ends the plan: with its last measured row, which may cut a session short.
            rows = len(table) - measured + profile.requests
            table = table[: int(rows)].copy()
            spans = cut_spans(spans, int(table["due_ns"].max()) + 1)
    starts = np.array([span.start_ns for span in spans])
    names = list(dict.fromkeys(span.phase for span in spans))
    phase_of_span = np.array([names.index(span.phase) for span in spans], np.uint16)
    span_of_session = np.searchsorted(starts, due_ns, side="right") - 1
    table["phase"] = phase_of_span[span_of_session[table["session"]]]
    return LaneRows(table, spans, spans[-1].end_ns, [])


def _draw_sizes(table: Table, profile: Profile, draw: Draw) -> None:
    prompt, output = request_sizes(profile, len(table), draw)
    table["prompt_tokens"] = prompt
    table["output_tokens"] = output


def _rows(count: int) -> Table:
    table = np.zeros(count, SCHEDULE_DTYPE)
    for column in ("due_ns", "after_row", "prefix_group"):
        table[column] = -1
    table["leg"] = NO_LEG
    table["body"] = np.arange(count)
    return table


def _expand_sessions(
    first: Table,
    profile: Profile,
    draw: Draw,
    where: str,
) -> Table:
    """Each row becomes a session, whose later turns wait for the one before."""
    assert profile.sessions is not None
    turns = session_turns(profile, len(first), draw)
    total = int(turns.sum(dtype=np.int64))
    refuse_beyond(total, where, "lower the rate, the duration or the turns")
    table = np.repeat(first, turns)
    table["turn"] = _turn_numbers(turns)
    later = table["turn"] > 0
    table["due_ns"][later] = -1
    table["after_row"][later] = np.nonzero(later)[0] - 1
    think = np.full(total, profile.sessions.think, np.float64)
    if profile.sessions.think_law == "exponential":
        think *= draw.stream(Purpose.THINK).standard_exponential(total)
    table["think_ns"] = np.where(later, np.rint(think), 0)
    return table


def _take_own(first: Table, own: OwnRequests, draw: Draw, where: str) -> Table:
    """Each row becomes one line of the file, drawn without return until all were sent; a
    conversation's later turns wait for the one before.
    """
    order = draw.stream(Purpose.OWN_ORDER).permutation(len(own))
    return _take_items(first, own, order[np.arange(len(first)) % len(own)], where)


def _recorded_rows(profile: Profile, own: OwnRequests, draw: Draw, turn: Turn | None) -> LaneRows:
    """Own requests on the clock that they were recorded by."""
    own.refuse_without_times()
    speed = profile.arrivals.speed
    assert speed is not None
    order = np.argsort(own.times, kind="stable")
    since = (own.times[order] - own.times.min()).tolist()
    due = np.array([at * speed.denominator // speed.numerator for at in since], np.int64)
    planned = profile if turn is None else turn.common(profile)
    keep = np.arange(len(due)) < (planned.requests or len(due))
    if profile.duration is not None:
        keep &= due < profile.duration
    end = int(due[keep][-1]) + 1
    if turn is not None:
        keep &= turn.mine(due, 0, draw)
    table = _rows(int(np.count_nonzero(keep)))
    table["due_ns"] = due[keep]
    table["session"] = np.arange(len(table))
    _draw_sizes(table, profile, draw)
    mean = len(table) / max(end / S, 1e-9)
    table = _take_items(table, own, order[keep], "prompts")
    note = f"replays own requests at {float(speed):g} times the recorded speed"
    return LaneRows(table, [Span("recorded", 0, end, mean, mean)], end, [note])


def _take_items(first: Table, own: OwnRequests, items: Int, where: str) -> Table:
    turns = own.turns[items]
    if len(turns) and np.any(first["turn"] > 0) and turns.max() > 1:
        raise UserError(
            "a closed loop sends single requests, and the file has conversations of several turns",
            where=where,
            remedy="give the profile a rate, or write each turn as a line of its own",
        )
    refuse_beyond(int(turns.sum(dtype=np.int64)), where, "lower the rate or the duration")
    table = np.repeat(first, turns)
    if turns.max(initial=1) > 1:
        table["turn"] = _turn_numbers(turns)
        later = table["turn"] > 0
        table["due_ns"][later] = -1
        table["after_row"][later] = np.nonzero(later)[0] - 1
        inside = table["turn"]
    else:
        inside = np.zeros(len(table), np.int64)
    table["body"] = np.repeat(items, turns)
    place = np.repeat(own.starts[items], turns) + inside
    table["prompt_tokens"] = own.prompt_tokens[place]
    stated = own.output_tokens[place]
    table["output_tokens"] = np.where(stated > 0, stated, table["output_tokens"])
    return table


def _own_note(profile: Profile, own: OwnRequests, table: Table) -> str:
    """Which file is sent, and how often."""
    sent = len(np.unique(table["body"]))
    again = "" if len(table) <= len(own.prompt_tokens) else ", some of them more than once"
    name = Path(profile.prompts or "").name
    return (
        f"sends {sent:,} of the {len(own):,} own requests of {name}{again}; prompts whose size the"
        f" file does not state count {BYTES_A_TOKEN} bytes of text a token"
    )


def _turn_numbers(turns: npt.NDArray[np.int32] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0, 1, 2 … within each session, sessions of so many turns standing together."""
    ends = np.cumsum(turns, dtype=np.int64)
    starts = ends - turns
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(starts, turns)


def _add_context(table: Table) -> None:
    """A turn's prompt is every user text of its session up to it and every answer before it."""
    user = table["prompt_tokens"].astype(np.int64)
    answer = table["output_tokens"].astype(np.int64)
    # Over all sessions, one after the other; then less what those before have spoken.
    spoken = np.cumsum(user) + np.cumsum(answer) - answer
    heads = np.nonzero(table["turn"] == 0)[0]
    before_session = spoken[heads] - user[heads]
    table["prompt_tokens"] = spoken - before_session[table["session"]]


def _closed_loop(profile: Profile, draw: Draw, where: str) -> LaneRows:
    """`concurrency` users, each asking again once answered: a session a user, whose rows follow
    each other.
    """
    users = profile.arrivals.concurrency or 1
    length = profile.duration or 0
    if profile.requests is None:
        rows = users * -(-length // CLOSED_LOOP_FLOOR_NS)
    else:
        rows = profile.requests
    refuse_beyond(
        rows,
        where,
        "a closed loop plans room for its fastest answers; shorten it, or give it a request count",
    )
    turns = np.full(min(users, rows), rows // users)
    turns[: rows % users] += 1
    table = _rows(rows)
    table["session"] = np.repeat(np.arange(len(turns)), turns)
    table["turn"] = _turn_numbers(turns)
    later = table["turn"] > 0
    table["due_ns"] = np.where(later, -1, 0)
    table["after_row"] = np.where(later, np.arange(rows) - 1, -1)
    _draw_sizes(table, profile, draw)
    span = Span("closed-loop", 0, max(length, 1), 0.0, 0.0)
    note = (
        f"closed loop of {users} users: latencies follow the server, not valid for an SLA verdict"
    )
    return LaneRows(table, [span], length, [note])


def _trace_rows(profile: Profile, draw: Draw, turn: Turn | None) -> LaneRows:
    source = profile.arrivals.trace
    assert source is not None
    seed = int(draw.stream(Purpose.ARRIVALS).integers(2**31))
    trace: Trace = read_trace(source, seed)
    if turn is None:
        planned = profile
    else:
        planned = turn.common(profile)
    wanted = planned.requests
    keep = np.arange(len(trace.due_ns)) < (wanted or len(trace.due_ns))
    if profile.duration is not None:
        keep &= trace.due_ns < profile.duration
    played = int(np.count_nonzero(keep))
    end = 0
    if profile.duration and played != wanted and trace.due_ns[-1] >= profile.duration:
        end = profile.duration  # cut off by time
    elif played:
        end = int(trace.due_ns[keep][-1]) + 1
    if turn is not None:
        keep &= turn.mine(trace.due_ns, 0, draw)
    rows = int(np.count_nonzero(keep))
    table = _rows(rows)
    table["due_ns"] = trace.due_ns[keep]
    table["session"] = np.arange(rows)
    table["prompt_tokens"] = np.maximum(trace.prompt_tokens[keep], 1)
    table["output_tokens"] = np.maximum(trace.output_tokens[keep], 1)
    notes = list(trace.notes)
    if source.prefix == "as recorded":
        table["body"] = trace.places[keep]
        notes.append(prefix_note(source.file, table["body"], table["prompt_tokens"]))
    mean = rows / max(end / S, 1e-9)
    span = Span("trace", 0, end, mean, mean)
    return LaneRows(table, [span], end, notes)


def in_due_order(tables: list[Table]) -> Table:
    """All lanes in one table, sorted by the first due time of each session, turns together."""
    refuse_beyond(sum(len(table) for table in tables), "suite")
    first_due = []
    start = 0
    for table in tables:
        waits = table["after_row"] >= 0
        # The heads of a lane's sessions stand in the order of their session numbers.
        heads_due = table["due_ns"][~waits]
        first_due.append(heads_due[table["session"]])
        table["after_row"][waits] += start
        start += len(table)
    whole = np.concatenate(tables)
    order = np.argsort(np.concatenate(first_due), kind="stable")
    position = np.empty(len(whole), np.int64)
    position[order] = np.arange(len(whole))
    whole = whole[order]
    waits = whole["after_row"] >= 0
    whole["after_row"][waits] = position[whole["after_row"][waits]]
    return whole
