"""The highest rate at which a contract still holds: one ordinary run after another, then one of
verdict grade.

In: a suite of one target, the bounds of a search. Out: a folder of run folders, ramp.json after
every probe, a report. Must stay true: this is wiring, `judge.ramp.search` chooses each rate; every
probe has draws of its own; every run is judged at its part of the error allowed; nothing is sent
that what is left of requests, money or time does not cover.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Literal

from bench.app.conclude import Finished
from bench.app.conduct import Screen, conduct
from bench.app.ramp_plan import (
    Terms,
    at_rate,
    begun_plan,
    plan_probe,
    scenario_length,
    search_for,
    strict,
)
from bench.app.simulate import VirtualPlan, playable, simulate
from bench.clock import monotonic_ns, sleep_s, utc_text, wall_ns
from bench.errors import ExitCode, TailproofError, TargetUnreachable, UserError
from bench.judge.contract.sizing import Assumed, size_plan
from bench.judge.ramp.curve import curve_clause, knee_of, observed, probe_of
from bench.judge.ramp.search import Bracket, End, Probe, Search, Step, bracket_of, next_step
from bench.load.guard import Caps
from bench.load.options import RunOptions
from bench.plan.budget import budget_of, refuse_beyond
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Suite
from bench.record.files import refuse_foreign, write_json
from bench.record.identity import named
from bench.record.records.ramp import (
    Bounds,
    BracketRecord,
    Curve,
    OpenRate,
    Outcome,
    ProbeRecord,
    RampRecord,
)
from bench.units import MS, S, show_duration, show_rate, show_usd

_EXITS: dict[Outcome, ExitCode] = {
    "found": ExitCode.PASS,
    "beyond": ExitCode.PASS,
    "none": ExitCode.FAIL,
    "undecided": ExitCode.INCONCLUSIVE,
    "harness": ExitCode.INVALID,
}


@dataclasses.dataclass
class Remaining:
    """What is left of the caps."""

    requests: int | None
    usd: Fraction | None
    time_ns: int | None

    def refuses(self, requests: int, usd: Fraction, time_ns: int) -> str | None:
        """Why a run is not covered; where it is, it is taken off what is left."""
        if self.requests is not None and requests > self.requests:
            return (
                f"the next run takes {requests:,} requests, and {self.requests:,} of --max-requests"
                " are left"
            )
        if self.usd is not None and usd > self.usd:
            return (
                f"the next run costs {show_usd(usd)} USD, and {show_usd(self.usd)} of --max-cost"
                " are left"
            )
        if self.time_ns is not None and time_ns > self.time_ns:
            return (
                f"the next run takes {show_duration(time_ns)}, and {show_duration(self.time_ns)} of"
                " --max-time is left"
            )
        self.requests = None if self.requests is None else self.requests - requests
        self.usd = None if self.usd is None else self.usd - usd
        self.time_ns = None if self.time_ns is None else self.time_ns - time_ns
        return None


class Ramp:
    """One search while it lasts. `record` is ramp.json."""

    def __init__(
        self,
        suite: Suite,
        terms: Terms,
        screen: Callable[[], Screen],
        notify: Callable[[str], None],
    ):
        """`screen` makes one for each run over HTTP; `notify` is given a sentence on each run that
        is over.

        Raises UserError.
        """
        self.suite, self.terms, self._screen, self._notify = suite, terms, screen, notify
        self._begun_plan = begun_plan(suite, terms)
        self.search = search_for(suite, terms, self._begun_plan)
        stage = suite.stages[0]
        assert stage.contract is not None
        self.contract, self.virtual = stage.contract, stage.simulated
        if self.virtual:
            playable(suite)
        #: what each run is held to
        self._judged = strict(self.contract, self.search.max_probes + 1)
        self._remaining = Remaining(
            terms.max_requests, terms.max_cost_usd, None if self.virtual else terms.max_time_ns
        )
        self._shown = curve_clause(self.contract)
        self.probes: list[Probe] = []
        #: the run that ended last
        self.last: Finished | None = None
        started = wall_ns()
        name = named(f"ramp-{suite.name}", started, repr(self.search).encode())
        self._began_ns = monotonic_ns()
        self.folder = terms.folder or Path("results") / name
        self.record = self._begun(name, utc_text(started))

    def _begun(self, name: str, started_utc: str) -> RampRecord:
        clause = None if self._shown is None else self.contract.clauses[self._shown - 1]
        curve = None
        if clause is not None and clause.limit is not None:
            curve = Curve(clause=clause.text, limit_ms=clause.limit / MS)
        return RampRecord(
            format=RampRecord.FORMAT,
            ramp=name,
            state="running",
            suite=self.suite.name,
            target=self.suite.stages[0].targets[0].name,
            contract=self.contract.name,
            simulated=self.virtual,
            seed=self.terms.seed,
            started_utc=started_utc,
            repeat_command=self.terms.repeat_command,
            search=_bounds(self.search, float(self._judged.confidence)),
            curve=curve,
            probes=[],
            bracket=_bracket_record(Bracket()),
            knee=None,
            final=[],
            outcome=None,
            reason="",
            rate_rps=None,
            exit_code=int(ExitCode.INTERRUPTED),
        )

    def go(self) -> RampRecord:
        """Search to the end.

        Returns ramp.json; what was found stands in the folder even where this raises.
        """
        if (self.folder / RampRecord.FILE).exists():
            raise UserError(
                "holds a ramp already", where=str(self.folder), remedy="choose another --out"
            )
        refuse_foreign(self.folder)
        self._began_ns = monotonic_ns()
        try:
            end = self._confirmed_end()
        except TailproofError as error:
            if self.record.probes:
                code = int(error.exit_code)
                self._file(
                    self.record.replace(state="interrupted", reason=str(error), exit_code=code)
                )
            raise
        except KeyboardInterrupt:  # between two runs: one that is under way handles it itself
            if not self.record.probes:
                raise
            end = None
        if end is None:
            self._file(self.record.replace(state="interrupted", reason="interrupted"))
            return self.record
        kept = [run.rate_rps for run in self.record.final if run.verdict == "PASS"]
        self._file(
            self.record.replace(
                state="complete",
                outcome=end.outcome,
                reason=end.reason,
                rate_rps=kept[0] if kept else None,
                exit_code=int(_EXITS[end.outcome]),
            )
        )
        return self.record

    def _confirmed_end(self) -> End | None:
        """Search, and confirm what was found, until a run of verdict grade passes or nothing is
        left to try; None where it was interrupted.
        """
        end = self._searched()
        while end is not None and end.bracket.passes is not None and end.outcome != "undecided":
            found = self._confirmed(end.bracket.passes)
            if found is None:
                return None
            if isinstance(found, str):
                return End("undecided", end.bracket, f"no run of verdict grade: {found}")
            if found.verdict == "PASS":
                return end
            end = self._searched()
        return end

    def _searched(self) -> End | None:
        """Probe until the search has its bracket; None where it was interrupted."""
        while isinstance(step := next_step(self.search, self.probes), Step):
            found = self._run("probes", f"{len(self.record.probes) + 1:02d}", step)
            if found is None:
                return None
            if isinstance(found, str):
                if not self.probes:
                    raise UserError(found, remedy="raise the cap")
                return End("undecided", bracket_of(self.probes), found)
            self._learn(step, found)
        return step

    def _confirmed(self, rate: Fraction) -> ProbeRecord | str | None:
        """The run of verdict grade at the rate that passed; where it does not pass, the search has
        one more probe to go on from.
        """
        below = [probe for probe in self.record.probes if probe.rate_rps <= float(rate)]
        (lane,) = size_plan(
            compile_plan(at_rate(self.suite, rate, self._judged), self.terms.seed),
            Assumed(design_effect=max(probe.design_effect for probe in below)),
        ).lanes
        sized = [clause.load.requests for clause in lane.clauses if clause.load is not None]
        step = Step(rate, max([*sized, *(probe.requests for probe in below)]))
        found = self._run("final", f"final-{len(self.record.final) + 1}", step)
        if isinstance(found, ProbeRecord) and found.verdict != "PASS":
            self._learn(step, found)
        return found

    def _learn(self, step: Step, found: ProbeRecord) -> None:
        self.probes.append(probe_of(step, found))
        bracket = _bracket_record(bracket_of(self.probes))
        self._file(self.record.replace(bracket=bracket, knee=knee_of(self.record.probes)))

    def _run(
        self, kind: Literal["probes", "final"], name: str, step: Step
    ) -> ProbeRecord | str | None:
        """One run, filed; why it was not made where the caps do not cover it; None where it was
        interrupted.
        """
        seed = self.terms.seed + len(self.record.runs)
        done = self._played(name, step, seed)
        if isinstance(done, str):
            return done
        records = done.records
        if records.summary.health.mistakes:
            raise TargetUnreachable(records.summary.health.mistakes[0], where=f"run {name}")
        if records.summary.state != "complete":
            return None
        found = observed(step, (name, seed), records.summary, records.verdicts, self._shown)
        self._file(self.record.with_run(kind, found))
        self.last = done
        self._notify(
            f"run {name} · {show_rate(step.rate)} · {found.requests:,} requests: {found.verdict}"
            f"{self._left()}"
        )
        return found

    def _left(self) -> str:
        """` · at most 9 more probes, about 40 s`, each as long as those so far on average."""
        more, runs = self.search.max_probes - len(self.record.probes), len(self.record.runs)
        if more <= 0 or self.record.final:
            return ""
        length_ns = (monotonic_ns() - self._began_ns) * more // runs
        probes = f"{more} more probe{'s' * (more > 1)}"
        return f" · at most {probes}, about {show_duration(-(-length_ns // S) * S)}"

    def _played(self, name: str, step: Step, seed: int) -> Finished | str:
        """One run to its end, or why the caps do not cover it."""
        suite = at_rate(self.suite, step.rate, self._judged)
        options = RunOptions(
            repeat_command=self.terms.repeat_command,
            alone=False,
            folder=self.folder / name,
            workers=self.terms.workers,
            caps=Caps(self._remaining.usd, self.terms.stop_rule),
        )
        if self.virtual:
            if (why := self._remaining.refuses(step.requests, Fraction(0), 0)) is not None:
                return why
            plan = plan_probe(self._begun_plan, suite, seed, step.requests)
            return simulate(VirtualPlan(plan, scenario_length(self._begun_plan, plan), []), options)
        plan = plan_probe(self._begun_plan, suite, seed, step.requests)
        if (why := self._refused(plan)) is not None:
            return why
        if self.record.runs:
            sleep_s(self.terms.cool_down_ns / S)
        return conduct(plan, options, self._screen())

    def _refused(self, plan: Plan) -> str | None:
        """Why a run over HTTP is not covered.

        Raises UserError for a first one, and for a cap that can never be held.
        """
        budget = budget_of(plan)
        if not self.probes:
            refuse_beyond(budget, self._remaining.usd, self._remaining.requests)
        usd = sum((lane.usd for lane in budget.lanes if lane.usd is not None), Fraction(0))
        return self._remaining.refuses(len(plan.schedule), usd, plan.end_ns)

    def _file(self, record: RampRecord) -> None:
        self.record = record
        write_json(self.folder / RampRecord.FILE, record.to_json())


def _bounds(search: Search, probe_confidence: float) -> Bounds:
    return Bounds(
        start_rps=float(search.start),
        lowest_rps=float(search.lowest),
        highest_rps=_rps(search.highest),
        resolution=float(search.resolution),
        max_probes=search.max_probes,
        probe_confidence=probe_confidence,
        first_requests=search.first,
        close_requests=search.close,
        most_requests=search.most,
        least_s=search.least_ns / S,
    )


def _bracket_record(found: Bracket) -> BracketRecord:
    return BracketRecord(
        passes_rps=_rps(found.passes),
        fails_rps=_rps(found.fails),
        harness_rps=_rps(found.harness),
        bound=(_rps(found.passes), _rps(found.fails)),
        open=[
            OpenRate(
                rate_rps=float(probe.rate), requests=probe.requests, needed_requests=probe.needed
            )
            for probe in found.open
        ],
    )


def _rps(rate: Fraction | None) -> float | None:
    return None if rate is None else float(rate)
