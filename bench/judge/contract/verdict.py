"""Clauses -> verdicts: PASS, FAIL or INCONCLUSIVE, each with its reason and its numbers.

In: a run, its contracts, its health. Out: the records of verdicts.json. Must stay true: PASS
only if the upper limit of the exceedance keeps the promise with unknown rows counted bad; FAIL
only if the lower limit breaks it with unknown rows counted good; the bound of a record never denies
its verdict; no clause passes on no data; a harness that could have caused a breach cannot pronounce
one. Only this room speaks a contract verdict.

Source: methods 3.2-3.5 and 8; several clauses: intersection-union for PASS, Holm for FAIL, over all
lanes and contracts of the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

from bench.errors import UserError
from bench.judge.contract.clauses import (
    Tally,
    missing_part,
    scope,
    streamed_any,
    tally,
)
from bench.judge.contract.credits import projected
from bench.judge.contract.decision import (
    Decision,
    beside_drift,
    beside_silent,
    judged_decision,
    served_elsewhere,
    unless_in_doubt,
    with_health,
)
from bench.judge.contract.exclusions import Classes, classify
from bench.judge.contract.forecast import judge_forecast
from bench.judge.contract.next_command import with_commands
from bench.judge.contract.requests import judge_requests
from bench.judge.contract.scope import scope_of
from bench.judge.contract.spans import Found, judge_spans
from bench.judge.contract.together import (
    Claim,
    agreeing,
    decide,
    exit_code,
    overall_verdict,
    stand_together,
)
from bench.judge.health import Health
from bench.judge.left_out import facts_of, left_out_of
from bench.judge.reached import came_to
from bench.judge.stats.dependence import Judged
from bench.judge.stats.sequential import LOOKS
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.plan.suite import match_clause
from bench.progress import each
from bench.record.records.manifest import LaneRecord
from bench.record.records.verdicts import (
    AttestedTerm,
    BlockRecord,
    ClauseOutcome,
    ClauseVerdict,
    Counts,
    Expectation,
    Forecast,
    Verdicts,
)
from bench.record.run_folder import Run
from bench.record.samples import Bool, Columns
from bench.units import MS, S


@dataclasses.dataclass(frozen=True)
class _Found:
    """What the lanes of a run came to, lane by lane."""

    claims: list[Claim] = dataclasses.field(default_factory=list)
    forecasts: list[Forecast] = dataclasses.field(default_factory=list)
    attested: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    #: by contract: once, however many targets broke it
    breach_cost_usd: dict[str, float] = dataclasses.field(default_factory=dict)
    not_applied: list[str] = dataclasses.field(default_factory=list)

    @property
    def clauses(self) -> list[ClauseVerdict]:
        """Their records."""
        return [claim.record for claim in self.claims]

    @property
    def verdicts(self) -> list[ClauseOutcome]:
        """Of every clause and forecast."""
        judged = [clause.verdict for clause in self.clauses]
        return [*judged, *(forecast.verdict for forecast in self.forecasts)]


def judge_run(
    run: Run,
    health: Health,
    override: Contract | None = None,
    further: Sequence[Expectation] = (),
    *,
    look_ns: int | None = None,
) -> Verdicts:
    """Judge every lane by its contract (or by `override`).

    `further` are rehearsed answers of other records, which join the exit code. `look_ns` is the
    moment of a planned look at a run that goes on. Raises UserError for
    a clause of `override` that the run cannot have; under the run's own contract such a clause is
    INCONCLUSIVE, for the run is over, and its report must be written. A shard is judged by no
    contract of its own, and refused under `override`.
    """
    shard = run.manifest.shard
    if shard and override is not None:
        raise UserError(
            f"is shard {shard.number} of {shard.of}, which alone is no run to judge",
            where=str(run.folder),
            remedy="merge them: tailproof merge RUN… --out DIR",
        )
    if shard:
        found = _Found()
    else:
        found = _judge_lanes(run, health, override, look_ns)
    expects = [] if shard else [*further]
    if override is None and not shard:
        for lane in run.lanes:
            expects += [_expectation(expect, found.clauses, lane) for expect in lane.expect]
    overall = overall_verdict(found.verdicts, health)
    left_out = left_out_of(run)
    attested = dict.fromkeys(found.attested)
    breach = found.breach_cost_usd
    # The rows of a run that was broken off are no measure of its plan; its rest comes first.
    as_found = override or run.state == "interrupted"
    return Verdicts(
        format=Verdicts.FORMAT,
        run=run.manifest.run,
        overall=overall,
        exit_code=int(exit_code(run, health, overall, expects)),
        confidence=min((record.confidence for record in found.clauses), default=0.95),
        simulated=bool(run.manifest.simulated_lanes),
        clauses=found.clauses if as_found else with_commands(found.clauses, run.manifest),
        forecasts=found.forecasts,
        expects=expects,
        attested=[AttestedTerm(contract=name, term=term) for name, term in attested],
        not_applied=list(dict.fromkeys(found.not_applied)),
        projected_breach_usd=sum(breach.values()) if breach else None,
        **({"left_out": left_out} if left_out else {}),
    )


def _judge_lanes(
    run: Run,
    health: Health,
    override: Contract | None,
    look_ns: int | None,
) -> _Found:
    found = _Found()
    rows = came_to(run)
    looks = _looks_of(run, look_ns)
    prices: dict[str, float] = {}
    for index, lane in each("judging", list(enumerate(run.lanes))):
        contract = override.for_models(lane.models) if override else lane.contract
        if contract is None:
            continue
        columns = rows.lane(index)
        if override is not None:
            refuse_missing(contract, lane, streamed_any(columns))
        classes = classify(columns, contract, facts_of(run, lane, columns))
        for reason in (*classes.unusable, *classes.missing):
            found.not_applied.append(f"{contract.name}: {reason}")
        began_ns = run.manifest.started_wall_ns
        fit = health.of_lane(lane.stage, simulated=lane.simulated)
        found.claims.extend(judge_lane(columns, classes, contract, lane, fit, looks, began_ns))
        if (forecast := judge_forecast(run, index, contract)) is not None:
            found.forecasts.append(forecast)
        found.attested.extend((contract.name, term.term) for term in contract.attested)
        if contract.breach_cost_usd is not None:
            prices[contract.name] = float(contract.breach_cost_usd)
    found = dataclasses.replace(found, claims=stand_together(found.claims))
    broken = {record.contract for record in found.clauses if record.verdict == "FAIL"}
    found.breach_cost_usd.update({name: usd for name, usd in prices.items() if name in broken})
    return found


@dataclasses.dataclass(frozen=True)
class Looks:
    """How often each outcome could have been said of a run: the error is divided by it."""

    for_pass: int = 1
    for_fail: int = 1
    #: the moment of the look, of a run that goes on
    at_ns: int | None = None


def _looks_of(run: Run, look_ns: int | None) -> Looks:
    """PASS ends no run, and is said once: at its planned end. What was seen chose any other."""
    if not run.manifest.early_stop:
        return Looks()
    chosen = look_ns is not None or run.manifest.ended_early is not None
    return Looks(LOOKS if chosen else 1, LOOKS, look_ns)


def refuse_missing(contract: Contract, lane: LaneRecord, streamed: bool) -> None:
    """Raises UserError for the first judged clause on a phase, bucket or metric that the lane does
    not have.
    """
    for number, clause in enumerate(contract.clauses, 1):
        if not clause.report_only and (reason := missing_part(clause, lane, streamed)) is not None:
            raise UserError(
                reason,
                where=f"contract {contract.name}: clause {number} ({clause.text})",
                remedy="change the clause, or use a load that has it",
            )


@dataclasses.dataclass(frozen=True)
class _Judging:
    """What all clauses of a lane are judged by."""

    columns: Columns
    classes: Classes
    contract: Contract
    lane: LaneRecord
    health: Health
    #: whether any answer came as a stream
    streamed: bool
    looks: Looks
    started_wall_ns: int

    @property
    def alpha(self) -> float:
        """The error of FAIL."""
        return float(1 - self.contract.confidence) / self.looks.for_fail

    @property
    def pass_alpha(self) -> float:
        """The error of PASS."""
        return float(1 - self.contract.confidence) / self.looks.for_pass

    def seen(self, counts: Tally, clause: Clause) -> Tally:
        """At a look the rows that had as long as their limit allows: those under way lie side by
        side, and would look like a spell.
        """
        if self.looks.at_ns is None:
            return counts
        limits = [each.limit for each in self.contract.clauses if each.limit is not None]
        longest = max(limits, default=0) if clause.limit is None else clause.limit
        return counts.where(counts.at_ns < self.looks.at_ns - longest)


def judge_lane(
    columns: Columns,
    classes: Classes,
    contract: Contract,
    lane: LaneRecord,
    health: Health,
    looks: Looks,
    started_wall_ns: int,
) -> list[Claim]:
    """The clauses of one lane, each by itself; its run began at `started_wall_ns`."""
    streamed = streamed_any(columns)
    of = _Judging(columns, classes, contract, lane, health, streamed, looks, started_wall_ns)
    return [judge_clause(of, clause, number) for number, clause in enumerate(contract.clauses, 1)]


def judge_clause(of: _Judging, clause: Clause, number: int) -> Claim:
    """One clause of one lane."""
    missing = missing_part(clause, of.lane, of.streamed)
    keep = scope(of.columns, clause, of.lane) & (missing is None)
    counts = of.seen(tally(of.columns, clause, of.classes, keep), clause)
    found, doubt = beside_silent(partial(_judged, of, clause), counts, of.classes.tier_unknown)
    decision = unless_in_doubt(_decided(of, clause, keep, counts, found, missing), doubt)
    judged = found.judged
    record = ClauseVerdict(
        target=of.lane.name,
        stage=of.lane.stage,
        contract=of.contract.name,
        number=number,
        text=clause.text,
        metric=clause.metric,
        view=clause.view,
        quantile=_float(clause.quantile),
        limit_ms=None if clause.limit is None else clause.limit / MS,
        at_least_tps=_float(clause.at_least),
        share=_float(clause.share),
        operator=clause.operator or (">=" if clause.rising else "<="),
        statistic=clause.statistic,
        method=clause.method if clause.kind.named_by == "method" else None,
        phase=clause.phase,
        bucket=clause.bucket,
        report_only=clause.report_only,
        **found.numbers,
        interval=found.numbers["bound"],
        p_interval=(judged.lower, judged.upper),
        confidence=float(of.contract.confidence),
        n=judged.n,
        k=judged.bad,
        unknown=judged.unknown,
        excluded=counts.excluded,
        with_excluded=_with_excluded(of, clause, keep) if counts.excluded else None,
        allowed_k=None if clause.kind.partial else judged.allowed,
        fail_k=None if clause.kind.partial else judged.fails,
        p0=float(clause.allowed_share),
        p_limits=(judged.lower, judged.upper),
        p_fail=found.p_fail,
        n_effective=judged.n_eff,
        design_effect=judged.deff,
        decided_by=judged.method,
        blocks=judged.blocks,
        block_s=judged.block_ns / S,
        worst_block=_worst(judged),
        projected_credit=projected(clause, judged, found.numbers["measured"]),
        verdict=decision.verdict,
        reason=decision.reason,
        needed_n=decision.needed,
        open_cause=decision.cause,
        decide=decide(decision, clause, counts, of.lane),
        scope=scope_of(clause, counts, of.lane, of.started_wall_ns, of.pass_alpha),
    )
    return Claim(agreeing(record), of.alpha, partial(_judged, of, clause, counts))


def _judged(of: _Judging, clause: Clause, counts: Tally, alpha: float | None = None) -> Found:
    alpha = of.alpha if alpha is None else alpha
    if clause.by_time:
        return judge_spans(of.columns, counts, clause, of.contract, of.lane, alpha, of.pass_alpha)
    return judge_requests(
        of.columns, counts, clause, alpha, of.pass_alpha, closed_loop=of.lane.closed_loop
    )


def _decided(
    of: _Judging,
    clause: Clause,
    keep: Bool,
    counts: Tally,
    found: Found,
    missing: str | None,
) -> Decision:
    """What may be said of the clause: first what forbids a verdict, then what qualifies it."""
    if clause.report_only:
        return Decision("REPORTED", missing or "shown beside the contract, not judged")
    if missing is not None:
        return Decision("INCONCLUSIVE", missing, cause="few_rows")
    if of.lane.closed_loop:
        slows = "a closed loop slows down with the server: not valid for an SLA verdict"
        return Decision("INCONCLUSIVE", slows, cause="harness")
    if (elsewhere := served_elsewhere(of.contract, counts)) is not None:
        return Decision("INCONCLUSIVE", elsewhere, cause="unknown_rows")
    decision = judged_decision(found.judged, clause, counts.excluded, found.note, counts.unmeasured)
    decision = with_health(decision, of.columns, of.classes, keep, clause, of.alpha, of.health)
    decision = beside_drift(decision, found.numbers.get("steadiness"))
    if of.contract.proof == "census":
        reason = f"{decision.reason}; what settles the contract is a census of its period"
        decision = dataclasses.replace(decision, reason=reason)
    return decision


def _with_excluded(of: _Judging, clause: Clause, keep: Bool) -> Counts:
    """The counts with nothing set aside."""
    whole = tally(of.columns, clause, of.classes, keep, exclusions=False)
    return Counts(n=whole.n, k=whole.bad)


def _worst(judged: Judged) -> BlockRecord | None:
    worst = judged.worst
    if worst is None:
        return None
    return BlockRecord(
        start_s=worst.start_ns / S,
        end_s=worst.end_ns / S,
        k=worst.bad,
        n=worst.n,
    )


def _float(share: Fraction | None) -> float | None:
    return None if share is None else float(share)


def _expectation(
    expect: dict[str, str],
    clauses: list[ClauseVerdict],
    lane: LaneRecord,
) -> Expectation:
    mine = [record for record in clauses if record.target == lane.name]
    index = match_clause(expect["clause"], [record.text for record in mine])
    got = mine[index].verdict if index is not None else "NONE"
    return Expectation(
        target=lane.name,
        clause=mine[index].text if index is not None else expect["clause"],
        expected=expect["verdict"],
        got=got,
        met=got == expect["verdict"],
    )
