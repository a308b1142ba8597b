"""Several runs of one plan -> verdicts in which the run is the unit.

In: runs of one plan, optionally another contract. Out: the records of verdicts.json. Must stay
true: a request counts as it does where its run is judged alone; PASS and FAIL need `LEAST_RUNS`
runs; only runs that began at random times of several days speak of the service; a FAIL must stand
among all clauses that are judged (Holm).

Source: methods, part two, "Run and service".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from bench.clock import utc_text
from bench.errors import ExitCode, UserError
from bench.judge.contract.decision import unit_of
from bench.judge.contract.spans import whole_unit
from bench.judge.contract.together import agreeing
from bench.judge.runs.counted import ClauseRows, Counted, RunRows, read_rows
from bench.judge.runs.lost import Lost
from bench.judge.runs.rule import LEAST_RUNS, Rule, reason_of
from bench.judge.runs.together import Together, length_s
from bench.judge.stats.sequential import holm
from bench.judge.stats.stand_in import OVER_ANY_LIMIT_NS
from bench.judge.stats.tail import min_n
from bench.metrics import METRICS
from bench.plan.clause import Clause
from bench.plan.contract import Contract
from bench.record.records.manifest import LaneRecord
from bench.record.records.runs import BetweenRuns, JudgedRun, RunCounts
from bench.record.records.summary import Overall
from bench.record.records.verdicts import ClauseVerdict, Interval, OpenCause, Scope, Verdicts
from bench.units import MS, S, nearest_rank

#: Runs speak of the service if they began on so many days, within so long.
SERVICE_DAYS, SERVICE_NS = 2, 2 * 86_400 * S


def judge_together(runs: Together, override: Contract | None = None) -> Verdicts:
    """Judge every lane by its contract (or by `override`). Raises UserError without a contract."""
    rows = [read_rows(sent, override) for sent in runs.runs]
    kept = [run for run in rows if run.set_aside is None]
    lanes = runs.runs[0].manifest.lanes
    clauses: list[ClauseVerdict] = []
    for index, lane in enumerate(lanes):
        contract = override.for_models(lane.models) if override else lane.contract
        for number, clause in enumerate(contract.clauses if contract else (), 1):
            found = [run.lanes[index][number - 1] for run in kept]
            assert contract is not None
            clauses.append(_Judging(runs, kept, lane, contract, clause, number).verdict(found))
    if not clauses:
        raise UserError("are held against no contract", where="these runs", remedy="add --contract")
    clauses = _stand_together(clauses)
    overall = _overall(clauses, kept)
    return Verdicts(
        format=Verdicts.FORMAT,
        run=_name(runs),
        overall=overall,
        exit_code=int(_exit_code(overall)),
        confidence=min(clause.confidence for clause in clauses),
        simulated=False,
        clauses=clauses,
        runs=[_judged_run(run) for run in rows],
    )


def is_of_service(runs: Together, kept: Sequence[RunRows]) -> bool:
    """Whether a verdict of these may say "the service"."""
    drawn = runs.drawn
    if drawn is None or len(kept) < LEAST_RUNS:
        return False
    return drawn.over_ns >= SERVICE_NS and runs.days >= SERVICE_DAYS


def _name(runs: Together) -> str:
    first, last = runs.runs[0].manifest, runs.runs[-1].manifest
    return f"{len(runs.runs)} runs, {first.run} to {last.run}"


def _judged_run(run: RunRows) -> JudgedRun:
    manifest = run.sent.manifest
    return JudgedRun(
        name=run.sent.name,
        run=manifest.run,
        started_utc=manifest.started_utc,
        duration_s=round(length_s(run.sent), 3),
        requests=run.rows,
        state="interrupted" if manifest.state == "running" else manifest.state,
        set_aside=run.set_aside,
    )


def _stand_together(clauses: list[ClauseVerdict]) -> list[ClauseVerdict]:
    judged = [at for at, clause in enumerate(clauses) if clause.judged]
    alpha = 1 - min((clauses[at].confidence for at in judged), default=0.95)
    stands = holm([float(clauses[at].p_fail) for at in judged], float(alpha))
    found = list(clauses)
    for at, alone in zip(judged, stands, strict=True):
        clause = clauses[at]
        if clause.verdict == "FAIL" and not alone:
            reason = (
                f"{clause.reason}; alone that would be a FAIL (p = {clause.p_fail:.2g}), among"
                f" {len(judged)} clauses it may be chance"
            )
            found[at] = clause.replace(verdict="INCONCLUSIVE", reason=reason, open_cause="few_rows")
    return list(map(agreeing, found))


def _overall(clauses: Sequence[ClauseVerdict], kept: Sequence[RunRows]) -> Overall:
    judged = [clause.verdict for clause in clauses if clause.judged]
    if not judged:
        return "NONE"
    if not kept:
        return "INVALID"
    if "FAIL" in judged:
        return "FAIL"
    return "PASS" if set(judged) == {"PASS"} else "INCONCLUSIVE"


def _exit_code(overall: Overall) -> ExitCode:
    codes = {
        "FAIL": ExitCode.FAIL,
        "INCONCLUSIVE": ExitCode.INCONCLUSIVE,
        "INVALID": ExitCode.INVALID,
    }
    return codes.get(overall, ExitCode.PASS)


@dataclasses.dataclass(frozen=True)
class _Judging:
    """One clause of one lane over several runs."""

    runs: Together
    kept: Sequence[RunRows]
    lane: LaneRecord
    contract: Contract
    clause: Clause
    number: int

    @property
    def alpha(self) -> float:
        return float(1 - self.contract.confidence)

    def verdict(self, found: Sequence[ClauseRows]) -> ClauseVerdict:
        """The record; `found` are the runs that count."""
        counted = self._counted(found)
        rule = self._rule(counted)
        outcome, cause, reason = self._decided(found, rule)
        clause = self.clause
        measured, bound = self._measured(counted, rule)
        low, high = rule.share_limits if counted else (0.0, 1.0)
        n = sum(run.n for run in counted)
        effect = rule.at_worst.weight.design_effect if counted else 1.0
        seconds = [length_s(run.sent) for run in self.kept]
        return ClauseVerdict(
            **self._names(),
            unit="share" if clause.by_time else METRICS[clause.metric].unit,
            measured=measured,
            bound=bound,
            interval=bound,
            p_interval=(low, high),
            confidence=float(self.contract.confidence),
            n=n,
            k=sum(int(run.bad.sum()) for run in counted),
            unknown=sum(int(run.unknown.sum()) for run in counted),
            excluded=_summed([each.counted.excluded for each in found]),
            with_excluded=None,
            allowed_k=None,
            fail_k=None,
            p0=float(clause.allowed_share),
            p_limits=(low, high),
            p_fail=rule.p_fail if counted and outcome == "FAIL" else 1.0,
            n_effective=n / max(effect, 1.0),
            design_effect=effect,
            decided_by="blocks",
            blocks=len(counted),
            block_s=float(np.mean(seconds)) if seconds else 0.0,
            worst_block=None,
            projected_credit=None,
            verdict=outcome,
            reason=reason,
            needed_n=None,
            open_cause=cause if outcome == "INCONCLUSIVE" else None,
            scope=self._scope(sum(each.counted.n for each in found)),
            between=self._between(counted, rule),
        )

    def _counted(self, found: Sequence[ClauseRows]) -> list[Counted | Lost]:
        """The runs that have something of it."""
        if self.clause.by_time:
            return [each.lost for each in found if each.lost is not None]
        return [each.counted for each in found if each.counted.n]

    def _rule(self, counted: Sequence[Counted | Lost]) -> Rule:
        return Rule(counted, self.clause.allowed_share, self.alpha, unit_of(self.clause))

    def _decided(
        self, found: Sequence[ClauseRows], rule: Rule
    ) -> tuple[str, OpenCause | None, str]:
        """Outcome, cause and reason: first what forbids a verdict."""
        if self.clause.report_only:
            return "REPORTED", None, "shown beside the contract, not judged"
        if self.lane.closed_loop:
            why = "a closed loop slows down with the server: not valid for an SLA verdict"
            return "INCONCLUSIVE", "harness", why
        why_not = next((each.why_not for each in found if each.why_not), None)
        if why_not is not None:
            return "INCONCLUSIVE", "harness", why_not
        if not self.kept:
            return "INCONCLUSIVE", "harness", "of no run the harness was valid"
        if not rule.runs and any(each.counted.n for each in found):
            why = f"no run covered a {whole_unit(self.clause)} that counts"
            return "INCONCLUSIVE", "few_rows", why
        if not rule.runs:
            return "INCONCLUSIVE", "few_rows", "no rows: nothing can be said"
        reason = reason_of(rule)
        doubt = self._doubt(found, rule)
        if doubt is not None:
            return "INCONCLUSIVE", "unknown_rows", f"{reason}; {doubt}"
        return rule.outcome, None if rule.outcome != "INCONCLUSIVE" else rule.cause, reason

    def _doubt(self, found: Sequence[ClauseRows], rule: Rule) -> str | None:
        """What takes an outcome back: answers that name no tier, lateness of our own."""
        if rule.outcome == "INCONCLUSIVE":
            return None
        failed = rule.outcome == "FAIL"
        unnamed = sum(int(each.unnamed.sum()) for each in found if each.unnamed is not None)
        if unnamed and self.clause.by_time:
            return f"{unnamed:,} answers do not say which tier served them, and may decide it"
        if unnamed:
            again = [
                each.counted.where(~(each.unnamed & (each.counted.bad == failed)))
                for each in found
                if each.unnamed is not None
            ]
            again += [each.counted for each in found if each.unnamed is None]
            if self._rule([run for run in again if run.n]).outcome != rule.outcome:
                return f"{unnamed:,} answers do not say which tier served them, and may decide it"
        if failed and any(each.blameless for each in found):
            again = [each.blameless or each.counted for each in found]
            if self._rule([run for run in again if run.n]).outcome != "FAIL":
                return "over the limit only with the harness's own lateness counted in"
        return None

    def _names(self) -> dict[str, object]:
        clause = self.clause
        return {
            "target": self.lane.name,
            "stage": self.lane.stage,
            "contract": self.contract.name,
            "number": self.number,
            "text": clause.text,
            "metric": clause.metric,
            "view": clause.view,
            "quantile": None if clause.quantile is None else float(clause.quantile),
            "limit_ms": None if clause.limit is None else clause.limit / MS,
            "at_least_tps": None if clause.at_least is None else float(clause.at_least),
            "share": None if clause.share is None else float(clause.share),
            "operator": clause.operator or (">=" if clause.rising else "<="),
            "statistic": clause.statistic,
            "method": clause.method if clause.kind.named_by == "method" else None,
            "phase": clause.phase,
            "bucket": clause.bucket,
            "report_only": clause.report_only,
        }

    def _measured(
        self, runs: Sequence[Counted | Lost], rule: Rule
    ) -> tuple[float | None, Interval]:
        """The statistic over all rows, and its bound, in the clause's unit."""
        if not runs:
            return None, (None, None)
        if self.clause.by_time:
            low, high = rule.share_limits
            kept = [run.kept * run.n for run in runs if isinstance(run, Lost)]
            return sum(kept) / sum(run.n for run in runs), (1 - high, 1 - low)
        rising = self.clause.rising
        counted = [run for run in runs if isinstance(run, Counted)]
        if counted[0].values_ns is None:
            low, high = rule.share_limits
            known = sum(run.n - int(run.unknown.sum()) for run in counted)
            share = sum(int(run.bad.sum()) for run in counted) / known if known else None
            if not rising:
                return share, (low, high)
            return None if share is None else 1 - share, (1 - high, 1 - low)
        values = np.concatenate([run.values_ns for run in counted if run.values_ns is not None])
        rank = nearest_rank(len(values), 1 - self.clause.allowed_share)
        point = int(np.partition(values, rank - 1)[rank - 1])
        lower, upper = rule.value_limits(self._limit_ns())
        ends = (self._in_unit(lower), self._in_unit(upper))
        measured = None if point == OVER_ANY_LIMIT_NS else self._in_unit(point)
        return measured, (ends[1], ends[0]) if rising else ends

    def _limit_ns(self) -> int:
        """The largest value that keeps the promise."""
        if self.clause.at_least is not None:
            return math.ceil(S / self.clause.at_least) - self.clause.strict
        return (self.clause.limit or OVER_ANY_LIMIT_NS - 1) - self.clause.strict

    def _in_unit(self, value_ns: int | None) -> float | None:
        if value_ns is None:
            return None
        return S / max(value_ns, 1) if self.clause.rising else value_ns / MS

    def _scope(self, n: int) -> Scope | None:
        if not self.kept:
            return None
        first, last = self.kept[0].sent, self.kept[-1].sent
        measured = [lane for run in self.kept for lane in run.sent.manifest.lanes]
        spans = [
            span for lane in measured if lane.name == self.lane.name for span in lane.measured_spans
        ]
        seconds = sum(span.end_ns - span.start_ns for span in spans) / S
        p0 = float(self.clause.allowed_share)
        of = "service" if is_of_service(self.runs, self.kept) else "runs"
        return Scope.model_validate(
            {
                "start_utc": first.manifest.started_utc,
                "end_utc": utc_text(last.ended_wall_ns),
                "duration_s": seconds,
                "rate_per_s": n / seconds if seconds else None,
                "blind_spot_s": seconds * p0 / math.log(1 / self.alpha),
                "assumed_outage_s": self.clause.assumed_outage / S,
                "of": of,
            }
        )

    def _between(self, counted: Sequence[Counted | Lost], rule: Rule) -> BetweenRuns:
        p0 = self.clause.allowed_share
        pooled = rule.at_best if counted else None
        broke = pooled is not None and pooled.weight.y > 0
        return BetweenRuns(
            share=pooled.between if pooled else None,
            worst=counted[pooled.worst].run if pooled and broke else None,
            runs_for_incidents=min_n(1 - p0, self.alpha),
            runs=[
                RunCounts(
                    run=run.run, n=run.n, k=int(run.bad.sum()), unknown=int(run.unknown.sum())
                )
                for run in counted
            ],
        )


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for reason, times in each.items():
            total[reason] = total.get(reason, 0) + times
    return total
