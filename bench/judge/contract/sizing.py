"""What each clause needs to be decided, before anything is sent: rows, time, tokens and money.

In: a compiled plan, a guess of the true share that breaks each promise, the power wanted. Out: per
lane and clause what decides it, and what the plan as it stands would say. Must stay true: the
thresholds are those of the verdict engine; what is scaled is the plan itself, so rate, mix and
phases stay as they are; what no short run can decide is said, with the days that it takes.

Source: methods 3.3 (power), 3.4 (clauses by time), 3.5 (dependence).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from bench.judge.contract.clauses import index_of
from bench.judge.stats.dependence import rows_worth_one
from bench.judge.stats.tail import min_n, needed_n, operating_characteristic, outage_free_ns
from bench.metrics import METRICS
from bench.plan.budget import planned_usd
from bench.plan.clause import Clause
from bench.plan.profile import bucket_names
from bench.plan.schedule import Lane, Plan, Table
from bench.units import S, show_duration, show_exact

Unit = Literal["requests", "windows", "time"]
DAY_NS = 86_400 * S


@dataclass(frozen=True)
class Assumed:
    """What the plan is sized with; a guess of None is half the allowed share, and then twice."""

    power: Fraction = Fraction(8, 10)
    design_effect: float = 1.0
    #: true share of requests over a latency limit
    slow_share: Fraction | None = None
    #: true share of requests that succeed
    uptime: Fraction | None = None


@dataclass(frozen=True)
class Load:
    """A lane's traffic of some length, without its warm-up; `usd` is None without prices."""

    requests: int
    duration_ns: int
    prompt_tokens: int
    output_tokens: int
    usd: float | None

    def times(self, factor: Fraction) -> Load:
        """The same traffic going on for `factor` of its length."""
        return Load(
            math.ceil(self.requests * factor),
            math.ceil(self.duration_ns * factor),
            math.ceil(self.prompt_tokens * factor),
            math.ceil(self.output_tokens * factor),
            None if self.usd is None else self.usd * float(factor),
        )


@dataclass(frozen=True)
class Guess:
    """One clause if this share of its units truly broke it."""

    bad_share: Fraction
    #: units that decide with the power wanted, and the lane's traffic that has them; None: no run
    #: does
    needed: int | None
    load: Load | None
    #: chances of the plan as it is
    p_pass: float
    p_fail: float

    @property
    def p_inconclusive(self) -> float:
        """What is left."""
        return max(0.0, 1 - self.p_pass - self.p_fail)

    @property
    def expected(self) -> str:
        """The likeliest verdict of the plan as it is."""
        chances = {"INCONCLUSIVE": self.p_inconclusive, "PASS": self.p_pass, "FAIL": self.p_fail}
        return max(chances, key=lambda verdict: chances[verdict])


@dataclass(frozen=True)
class ClauseSize:
    """A judged clause: what the plan gives it, and what it needs under each guess."""

    number: int
    text: str
    unit: Unit
    allowed_share: Fraction
    #: units that the plan gives it, and the fewest that can PASS at all (without a single miss)
    planned: int
    least: int | None
    guesses: tuple[Guess, ...]
    notes: tuple[str, ...]

    @property
    def load(self) -> Load | None:
        """The traffic that decides it whichever guess is true; None where no run does."""
        loads = [guess.load for guess in self.guesses]
        if None in loads:
            return None
        return max((load for load in loads if load), key=lambda load: load.duration_ns)


@dataclass(frozen=True)
class LaneSize:
    """A lane as planned, and its clauses."""

    name: str
    stage: str
    load: Load
    #: requests that are sent before and judged by no clause
    warmup: int
    #: computed by the simulator, which nobody waits for
    simulated: bool
    #: measured requests per second; None for a closed loop, which plans no rate
    rate_rps: float | None
    contract: str | None
    confidence: Fraction | None
    clauses: tuple[ClauseSize, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Whole:
    """The plan that decides all of some clauses: its traffic, and the clause that sets its length.

    Computed time is no part of the traffic's length.
    """

    load: Load
    lane: str
    clause: str


@dataclass(frozen=True)
class Sizing:
    """What a suite needs.

    `every` leaves out what no run decides, `short` also the clauses by time.
    """

    assumed: Assumed
    lanes: tuple[LaneSize, ...]
    every: Whole | None
    short: Whole | None
    #: "lane: clause" of those that no run of any size decides under a guess
    undecidable: tuple[str, ...]


def size_plan(plan: Plan, assumed: Assumed) -> Sizing:
    """What each clause of a compiled plan needs, and all of them together."""
    lanes = tuple(
        _lane(lane, plan.schedule[plan.schedule["lane"] == lane.index], assumed)
        for lane in plan.lanes
    )
    undecidable = tuple(
        f"{lane.name}: {clause.text}"
        for lane in lanes
        for clause in lane.clauses
        if clause.load is None
    )
    return Sizing(
        assumed, lanes, _whole(lanes, by_time=True), _whole(lanes, by_time=False), undecidable
    )


def _lane(lane: Lane, rows: Table, assumed: Assumed) -> LaneSize:
    measured = rows[~rows["warmup"]]
    warm_ns = sum(span.end_ns - span.start_ns for span in lane.spans if span.warmup)
    load = Load(
        len(measured),
        lane.end_ns - lane.start_ns - warm_ns,
        int(measured["prompt_tokens"].sum()),
        int(measured["output_tokens"].sum()),
        _usd(lane, measured),
    )
    closed = lane.profile.closed_loop
    contract = lane.contract
    notes = list(lane.notes)
    judged: tuple[ClauseSize, ...] = ()
    if contract is not None and closed:
        notes.append("a closed loop slows down with the server: no clause can be decided by it")
    elif contract is not None:
        alpha = float(1 - contract.confidence)
        judged = tuple(
            _clause(clause, number, lane, measured, load, alpha, assumed)
            for number, clause in enumerate(contract.clauses, 1)
            if not clause.report_only
        )
        if contract.proof == "census":
            notes.append(
                "the contract is settled by the log of its whole period; a run of any length only"
                " points the way"
            )
    return LaneSize(
        lane.name,
        lane.stage,
        load,
        len(rows) - len(measured),
        lane.simulated,
        None if closed or load.duration_ns <= 0 else load.requests / (load.duration_ns / S),
        contract.name if contract else None,
        contract.confidence if contract else None,
        judged,
        tuple(notes),
    )


def _usd(lane: Lane, rows: Table) -> float | None:
    """Planned cost; None where a leg that is used has no price."""
    used = np.unique(rows["leg"]) if lane.target.legs else range(min(len(rows), 1))
    if any(lane.target.endpoints[number].prices is None for number in used):
        return None
    return float(planned_usd(lane.target, rows))


def _clause(
    clause: Clause,
    number: int,
    lane: Lane,
    measured: Table,
    load: Load,
    alpha: float,
    assumed: Assumed,
) -> ClauseSize:
    p0 = clause.allowed_share
    if clause.kind.outages:
        return _uptime_by_time(clause, number, load, alpha)
    rows = _rows_of(clause, lane, measured)
    if clause.by_time:
        unit: Unit = "windows"
        planned = load.duration_ns // clause.unit_ns
        unit_ns = Fraction(clause.unit_ns)
        # Windows take the dependence of the requests within them upon themselves.
        deff = 1.0
    else:
        unit = "requests"
        planned = len(rows)
        unit_ns = Fraction(load.duration_ns, max(planned, 1))
        deff = assumed.design_effect
    least = min_n(1 - p0, alpha)
    guesses = tuple(
        _guess(share, p0, planned, unit_ns, load, alpha, deff, assumed.power)
        for share in _guessed(clause, assumed)
    )
    notes = []
    if least is None or planned < least:
        fewest = "more rows than any run holds"
        if least is not None:
            fewest = f"{least:,} {unit} without a single miss"
        notes.append(f"PASS needs at least {fewest}, and the plan has {planned:,}")
    if clause.by_time:
        within = len(rows) * clause.unit_ns / max(load.duration_ns, 1)
        if within < clause.min_requests:
            notes.append(
                f"a window would hold about {within:,.1f} requests; fewer than"
                f" {clause.min_requests:,} say nothing"
            )
    return ClauseSize(number, clause.text, unit, p0, planned, least, guesses, tuple(notes))


def _rows_of(clause: Clause, lane: Lane, measured: Table) -> Table:
    """The planned rows that can have the clause's metric, in its phase and context bucket."""
    keep = np.ones(len(measured), bool)
    if clause.phase is not None:
        keep &= measured["phase"] == index_of(lane.phases, clause.phase)
    if clause.bucket is not None:
        keep &= measured["bucket"] == index_of(bucket_names(), clause.bucket)
    least = max(METRICS[clause.metric].min_tokens, clause.min_output_tokens)
    if least > 1 or METRICS[clause.metric].min_tokens:
        keep &= measured["output_tokens"] >= least
    return measured[keep]


def _guessed(clause: Clause, assumed: Assumed) -> list[Fraction]:
    """The shares that may truly break the clause."""
    p0 = clause.allowed_share
    by_requests = not clause.kind.has_values
    if by_requests and assumed.uptime is not None:
        return [1 - assumed.uptime]
    if not by_requests and not clause.by_time and assumed.slow_share is not None:
        return [assumed.slow_share]
    return [p0 / 2, min(2 * p0, (1 + p0) / 2)]


def _guess(
    share: Fraction,
    p0: Fraction,
    planned: int,
    unit_ns: Fraction,
    load: Load,
    alpha: float,
    deff: float,
    power: Fraction,
) -> Guess:
    """One guess; a unit of the clause comes up every `unit_ns`."""
    needed = needed_n(share, p0, alpha, float(power))
    to_pass, to_fail = rows_worth_one(deff)
    decides = None
    if needed is not None:
        if share < p0:
            needed = math.ceil(needed * to_pass)
        else:
            needed = math.ceil(needed * to_fail)
        decides = load.times(needed * unit_ns / max(load.duration_ns, 1))
    p_pass, p_fail = (
        operating_characteristic(max(int(planned / rows), 1), p0, share, alpha)
        for rows in (to_pass, to_fail)
    )
    return Guess(
        share,
        needed,
        decides,
        p_pass.p_pass if planned else 0.0,
        p_fail.p_fail if planned else 0.0,
    )


def _uptime_by_time(clause: Clause, number: int, load: Load, alpha: float) -> ClauseSize:
    """No outage is seen: the time in which one of the assumed length would have shown itself."""
    p0 = clause.allowed_share
    needed_ns = outage_free_ns(clause.assumed_outage, p0, alpha)
    enough = load.duration_ns >= needed_ns
    guess = Guess(
        Fraction(0),
        -(-needed_ns // clause.unit_ns),
        load.times(Fraction(needed_ns, max(load.duration_ns, 1))),
        float(enough),
        0.0,
    )
    note = (
        f"outages are the sample, not requests: {show_exact(100 - p0 * 100)} % takes"
        f" {needed_ns / DAY_NS:,.1f} days without one, if one lasts"
        f" {show_duration(clause.assumed_outage)}"
    )
    return ClauseSize(
        number,
        clause.text,
        "time",
        p0,
        load.duration_ns // clause.unit_ns,
        guess.needed,
        (guess,),
        (note if enough else f"{note}; no short run can decide it",),
    )


def _whole(lanes: tuple[LaneSize, ...], *, by_time: bool) -> Whole | None:
    """All lanes run until the longest clause of their stage is decided, stage after stage."""
    longest: dict[str, tuple[Fraction, LaneSize, ClauseSize]] = {}
    for lane in lanes:
        for clause in lane.clauses:
            if clause.load is not None and (by_time or clause.unit == "requests"):
                factor = Fraction(clause.load.requests, max(lane.load.requests, 1))
                if lane.stage not in longest or factor > longest[lane.stage][0]:
                    longest[lane.stage] = (factor, lane, clause)
    if not longest:
        return None
    grown: dict[str, Load] = {}
    lasts_ns: dict[str, int] = {}
    for lane in lanes:
        if lane.stage in longest:
            load = lane.load.times(longest[lane.stage][0])
            grown[lane.name] = load
            lasts_ns[lane.stage] = 0 if lane.simulated else load.duration_ns
    prices = [load.usd for load in grown.values()]
    total = Load(
        sum(load.requests for load in grown.values()),
        sum(lasts_ns.values()),
        sum(load.prompt_tokens for load in grown.values()),
        sum(load.output_tokens for load in grown.values()),
        None if None in prices else sum(price for price in prices if price is not None),
    )
    slowest = max(longest, key=lambda stage: lasts_ns[stage])
    _, lane, clause = longest[slowest]
    return Whole(total, lane.name, clause.text)
