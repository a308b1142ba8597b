"""Which route is best? Tail, loss and cost of every target of a stage with routers.

In: routes.json, summary.json, verdicts.json. Out: a section. Must stay true: a target keeps a limit
where its verdict says so; a p99 of a target that loses requests is that of what it answered, and
the loss stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.judge.review import Records
from bench.record.records.routes import LaneTail, LegCalls, RouteRecord, Routes, Standing
from bench.record.records.verdicts import ClauseVerdict
from bench.show.costs import answer_costs, wasted_share
from bench.show.document import (
    Bullets,
    Column,
    Drawer,
    Figure,
    Heading,
    Node,
    Section,
    Table,
    Text,
)
from bench.show.drills import latency_limits
from bench.show.graphics.front import Front, Offer
from bench.show.routes import added_cost
from bench.show.served import cause_sentence
from bench.show.verdicts import WORST_FIRST, judges_all
from bench.show.wording import (
    ABSENT,
    count,
    counts,
    first_answers,
    number,
    per_cent,
    seconds_for_readers,
    short_name,
    usd,
    visible,
)
from bench.units import show_bound, show_list, show_ratio, show_usd

#: Of the section's first line; and different costs that make a picture.
_ANSWERS_MOST, _COSTS_LEAST = 3, 3
_LONGEST_NAME = 24


def routes_section(records: Records) -> Section | None:
    """All stages with routers; None without one."""
    record = records.routes
    if record is None or not record.stages:
        return None
    seen = _Seen(record, records.verdicts.clauses, answer_costs(records))
    nodes: list[Node] = []
    for number_of, stage in enumerate(record.stages):
        nodes += _picture(stage, seen, number_of)
    says = [visible(said, 400) for stage in record.stages for said in stage.says]
    nodes += [Bullets(says)] if says else []
    rows = [
        _Standing(stage, lane, record.routes.get(lane.target), seen, records)
        for stage in record.stages
        for lane in sorted(stage.lanes, key=lambda each: each.p99_ms or float("inf"))
    ]
    caption = "Every stage with a router, fastest first; p99 of the answered requests"
    nodes.append(Table(caption, ROUTE_COLUMNS, rows))
    most_routers = sorted(
        record.stages, key=lambda stage: -sum(lane.routed for lane in stage.lanes)
    )
    said = [line for stage in most_routers for line in _answer(stage, seen)]
    answer = first_answers(said, _ANSWERS_MOST)
    return Section("routes", "Which route is best?", nodes, "routes", answer)


@dataclass(frozen=True)
class _Seen:
    """What the stages are looked at with."""

    record: Routes
    clauses: Sequence[ClauseVerdict]
    #: USD per 1,000 answers
    costs: Mapping[str, float]

    def verdict(self, target: str) -> str:
        """Of the end-to-end latency of a target; reported where nothing judges it."""
        found = [
            each.verdict
            for each in self.clauses
            if each.target == target and judges_all(each, "e2e")
        ]
        return next((each for each in WORST_FIRST if each in found), "NONE")

    def keeps(self, target: str) -> bool:
        """Whether it is shown to keep its latency, and breaks nothing else."""
        broken = any(each.target == target and each.verdict == "FAIL" for each in self.clauses)
        return self.verdict(target) == "PASS" and not broken


# ---- the answer


def _answer(stage: Standing, seen: _Seen) -> Iterator[str]:
    """Of several routers the best and the worst, and the cheapest target that keeps the limit; a
    single one against going straight.
    """
    known = [(lane.p99_ms, lane) for lane in stage.lanes if lane.p99_ms is not None]
    known.sort(key=lambda each: each[0])
    routed = [each for each in known if each[1].routed]
    if not routed:
        return
    best_ms, best = routed[0]
    name = short_name(best.target, stage.stage)
    if len(routed) > 1:
        worst_ms, worst = routed[-1]
        last = short_name(worst.target, stage.stage)
        yield (
            f"Of the routers of {visible(stage.stage, 40)}, {name} has the shortest p99,"
            f" {seconds_for_readers(best_ms)}, and {last} the longest,"
            f" {seconds_for_readers(worst_ms)}. {_cheapest(stage, seen)}".rstrip()
        )
    else:
        yield (
            f"{name} has a p99 of {seconds_for_readers(best_ms)}{_straight(stage, best, known)}."
        )


def _straight(stage: Standing, router: LaneTail, known: Sequence[tuple[float, LaneTail]]) -> str:
    """`; its first upstream alone 13.5 s, and loses 4.8 % of its requests`."""
    first = router.legs[0] if router.legs else None
    for ms, lane in known:
        if not lane.routed and lane.of == first:
            loses = (
                ""
                if lane.success in (None, 1)
                else f", and loses {per_cent(1 - (lane.success or 0), 1)} of its requests"
            )
            alone = short_name(lane.target, stage.stage)
            return f"; {alone} without a router {seconds_for_readers(ms)}{loses}"
    return ""


def _cheapest(stage: Standing, seen: _Seen) -> str:
    """Which target of the stage is the cheapest that keeps its limit; empty where none has one."""
    limits = latency_limits(seen.clauses)
    judged = [lane for lane in stage.lanes if lane.target in limits]
    if not judged:
        return ""
    limit = seconds_for_readers(min(limits[lane.target] for lane in judged))
    keeping = [lane for lane in judged if seen.keeps(lane.target)]
    if not keeping:
        return f"None of {count(len(judged))} is shown to keep {limit}."
    priced = [lane for lane in keeping if lane.target in seen.costs]
    if not priced:
        names = show_list([short_name(lane.target, stage.stage) for lane in keeping])
        return f"{limit} is kept by {names}."
    cheapest = min(priced, key=lambda lane: seen.costs[lane.target])
    only = "is the only one that keeps" if len(keeping) == 1 else "is the cheapest that keeps"
    cost = show_usd(seen.costs[cheapest.target])
    straight = "" if cheapest.routed else ", without a router"
    name = short_name(cheapest.target, stage.stage)
    return f"{name}{straight}, {only} {limit}: {cost} USD per 1,000 answers."


# ---- the picture


def _picture(stage: Standing, seen: _Seen, number_of: int) -> list[Node]:
    """Cost against tail; nothing where fewer than three different costs are known."""
    offers = [
        Offer(
            name=visible(lane.target.removesuffix(f"/{stage.stage}"), _LONGEST_NAME),
            usd=seen.costs[lane.target],
            p99_ms=lane.p99_ms,
            interval_ms=lane.interval,
            lost=0.0 if lane.success is None else 1 - lane.success,
            verdict=seen.verdict(lane.target),
        )
        for lane in stage.lanes
        if lane.p99_ms is not None and seen.costs.get(lane.target, 0) > 0
    ]
    if len({show_usd(each.usd) for each in offers}) < _COSTS_LEAST:
        return []
    limits = latency_limits(seen.clauses)
    held = {limits[lane.target] for lane in stage.lanes if lane.target in limits}
    said = "; ".join(
        f"{each.name} {number(each.p99_ms)} ms at {show_usd(each.usd)} USD" for each in offers
    )
    title = f"{visible(stage.stage, 60)}: p99 against cost; down and left is better"
    front = Front(
        offers,
        held.pop() if len(held) == 1 else None,
        f"p99 and USD per 1,000 answers: {said}",
    )
    key = (
        "Both axes logarithmic; bar: 95 % interval; shaded: over the limit. Bold, on the line: no"
        " other that answers all is both cheaper and faster."
    )
    file = f"routes-{number_of:02d}-cost.svg"
    return [Heading(title), Figure(title, file, str(front.markup()), key)]


# ---- the tables


@dataclass(frozen=True)
class _Standing:
    """A target of a stage, and its route where it is one."""

    stage: Standing
    lane: LaneTail
    route: RouteRecord | None
    seen: _Seen
    records: Records

    @property
    def cost(self) -> float | None:
        """USD per 1,000 answers."""
        return self.seen.costs.get(self.lane.target)


def _answered_by(row: _Standing) -> str:
    if row.route is None:
        return "direct"
    return ", ".join(
        f"{visible(leg.name, 30)} {per_cent(leg.share_answered, 0)}".replace(" %", "\u00a0%")
        for leg in row.route.legs
    )


def _against_first_leg(row: _Standing) -> str:
    """`longer: at least 1.320 times (97.5 %)`."""
    lane = row.lane
    if lane.against_first_leg is None:
        return ABSENT
    if lane.bound_confidence is None:
        return lane.against_first_leg
    bound = show_bound(*lane.bound, lambda end: f"{show_ratio(end)} times", lane.bound_confidence)
    return f"{lane.against_first_leg}: {bound}"


ROUTE_COLUMNS: list[Column[_Standing]] = [
    Column("target", lambda row: short_name(row.lane.target, row.stage.stage), "words"),
    Column("stage", lambda row: visible(row.stage.stage, 60), "words"),
    Column("answered by", _answered_by, "words"),
    Column("p50", lambda row: number(row.lane.p50_ms), unit="ms"),
    Column("p99", lambda row: number(row.lane.p99_ms), unit="ms"),
    Column("against its first upstream alone", _against_first_leg, "words"),
    Column(
        "lost",
        lambda row: per_cent(None if row.lane.success is None else 1 - row.lane.success),
    ),
    Column(
        "calls per request",
        lambda row: number(row.route.attempts_per_request) if row.route else "1",
    ),
    Column(
        "per 1,000 answers",
        lambda row: usd(row.cost),
        unit="USD",
        show_if=lambda rows: any(row.cost is not None for row in rows),
    ),
    Column(
        "of it wasted",
        lambda row: per_cent(wasted_share(row.records, row.lane.target), 1),
        show_if=lambda rows: any(wasted_share(row.records, row.lane.target) for row in rows),
    ),
]


@dataclass(frozen=True)
class _Upstream:
    """One upstream of a route, and what its calls came to."""

    route: str
    calls: LegCalls


#: A route and its calls.
_Route = tuple[str, RouteRecord]
CALL_COLUMNS: list[Column[_Route]] = [
    Column("route", lambda row: visible(row[0], 60), "words"),
    Column(
        "calls by reason", lambda row: counts(row[1].by_reason, name_first=True) or "none", "words"
    ),
    Column("USD", lambda row: usd(row[1].cost.usd)),
    Column("added cost", lambda row: added_cost(row[1].cost)),
    Column(
        "wasted tokens",
        lambda row: count(row[1].tokens.wasted_prompt + row[1].tokens.wasted_output),
    ),
    Column("billed twice", lambda row: count(row[1].double_billed)),
]


def _failures(row: _Upstream) -> str:
    return cause_sentence(row.calls.causes) if sum(row.calls.causes.values()) else "none"


UPSTREAM_COLUMNS: list[Column[_Upstream]] = [
    Column("route", lambda row: visible(row.route, 60), "group"),
    Column("upstream", lambda row: visible(row.calls.name, 60), "words"),
    Column("calls", lambda row: count(row.calls.calls)),
    Column("answered", lambda row: count(row.calls.answered)),
    Column(
        "answers by tier",
        lambda row: counts(row.calls.tiers, name_first=True) or ABSENT,
        "words",
        show_if=lambda rows: any(row.calls.tiers for row in rows),
    ),
    Column("calls that failed", _failures, "words"),
]


def calls_drawer(record: Routes) -> Iterator[Drawer]:
    """What the routers called, and why; nothing without a router."""
    if not record.routes:
        return
    routes = list(record.routes.items())
    legs = [_Upstream(name, leg) for name, route in routes for leg in route.legs]
    note = (
        "Added cost: over the answers' own tokens at the price of the upstream that each request"
        " was planned for."
    )
    tables: list[Node] = [
        Table("Calls of each route", CALL_COLUMNS, routes),
        Table("Calls of each upstream", UPSTREAM_COLUMNS, legs),
        Text(note, tone="soft"),
    ]
    yield Drawer("What the routers called, and why", tables)
