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
from typing import Any

from bench.app.conclude import Finished
from bench.app.conduct import Screen, conduct
from bench.app.simulate import lengthened, plan_virtual, simulate
from bench.clock import sleep_s, utc_text, wall_ns
from bench.errors import ExitCode, TailproofError, UserError
from bench.judge.contract.sizing import Assumed, LaneSize, size_plan
from bench.judge.ramp.curve import curve_clause, knee_of, observed, probe_of
from bench.judge.ramp.search import (
    Bracket,
    End,
    Outcome,
    Probe,
    Search,
    Step,
    bracket_of,
    least_ns,
    next_step,
)
from bench.load.guard import Caps
from bench.load.options import RunOptions
from bench.plan.budget import budget_of, refuse_beyond, show_usd
from bench.plan.contract import Contract
from bench.plan.schedule import Plan, compile_plan
from bench.plan.suite import Suite, override_profile
from bench.record.files import write_json
from bench.record.identity import named
from bench.units import MS, S, show_duration, show_rate

FORMAT = 1
#: A probe far from the boundary has so many times the requests that PASS needs without a single
#: miss. One near it has those that decide half, or twice, the allowed share, and grows to at most
#: so many times as many.
_FIRST, _MOST = 2, 128
_EXITS: dict[Outcome, ExitCode] = {
    "found": ExitCode.PASS,
    "beyond": ExitCode.PASS,
    "none": ExitCode.FAIL,
    "undecided": ExitCode.INCONCLUSIVE,
    "harness": ExitCode.INVALID,
}


@dataclasses.dataclass(frozen=True)
class Terms:
    """How a ramp goes about it; rates in requests per second, caps over all of its runs
    together.
    """

    seed: int
    lowest: Fraction | None = None
    highest: Fraction | None = None
    resolution: Fraction = Fraction(1, 10)
    max_probes: int = 24
    max_requests: int | None = None
    max_cost_usd: Fraction | None = None
    #: of load, pauses left out; virtual time is nobody's
    max_time_ns: int | None = None
    cool_down_ns: int = 5 * S
    workers: int | None = None
    stop_rule: bool = True
    folder: Path | None = None
    repeat_command: str = ""


def ramping(suite: Suite, target: str | None) -> Suite:
    """The suite as it is ramped: one stage, one target, nothing rehearsed.

    Raises UserError for what has no rate to find.
    """
    where = f"suite {suite.name}"
    pairs = [
        (stage, each)
        for stage in suite.stages
        for each in stage.targets
        if target in (None, each.name)
    ]
    if len(pairs) != 1:
        names = (
            ", ".join(dict.fromkeys(each.name for stage in suite.stages for each in stage.targets))
            or "none"
        )
        raise UserError(
            f"a ramp loads one target, and {len(pairs)} of its stages' targets"
            f" {'fit' if target else 'are there'}",
            where=where,
            remedy=f"choose with --target (there: {names}), or write a suite of one stage",
        )
    stage, chosen = pairs[0]
    if stage.contract is None:
        raise UserError("has no contract to hold", where=where, remedy="add --contract or --slo")
    if stage.profile.arrivals.rate is None:
        raise UserError(
            f'arrivals of kind "{stage.profile.arrivals.kind}" have no rate to search',
            where=where,
            remedy="use a profile with a rate, such as --profile poisson",
        )
    if stage.drills:
        raise UserError("has drills, which change what is measured", where=where)
    alone: dict[str, Any] = {
        "targets": [chosen],
        "expect": [],
        "compare": [],
        "expect_route": [],
        "profile": stage.profile.model_copy(update={"seed": None}),
    }
    return suite.model_copy(update={"stages": [stage.model_copy(update=alone)], "months": []})


def at_rate(suite: Suite, rate: Fraction, contract: Contract) -> Suite:
    """The suite at another rate, under this contract."""
    (stage,) = suite.stages
    profile = override_profile(stage.profile, f"stage {stage.name!r}", rate=rate)
    return suite.model_copy(
        update={"stages": [stage.model_copy(update={"profile": profile, "contract": contract})]}
    )


def strict(contract: Contract, runs: int) -> Contract:
    """The contract with its error shared among so many runs."""
    return contract.model_copy(update={"confidence": 1 - (1 - contract.confidence) / runs})


def search_for(suite: Suite, terms: Terms) -> Search:
    """The bounds of the search. Raises UserError for a clause that no probe can decide."""
    stage = suite.stages[0]
    assert stage.contract is not None
    assert stage.profile.arrivals.rate is not None
    start = (
        stage.profile.arrivals.rate
        if terms.highest is None
        else min(stage.profile.arrivals.rate, terms.highest)
    )
    lowest = start / 64 if terms.lowest is None else terms.lowest
    if not lowest <= start:
        raise UserError(
            f"{show_rate(lowest)} is above where the search begins, {show_rate(start)}",
            where="--min-rate",
        )
    judged = strict(stage.contract, terms.max_probes + 1)
    (lane,) = size_plan(compile_plan(at_rate(suite, start, judged), terms.seed), Assumed()).lanes
    first, close = _sizes(lane)
    return Search(
        start,
        lowest,
        terms.highest,
        terms.resolution,
        terms.max_probes,
        first=first,
        close=close,
        most=_MOST * close,
        least_ns=least_ns(stage.contract.tightest_limit_ns, terms.resolution),
    )


def _sizes(lane: LaneSize) -> tuple[int, int]:
    """Requests of a probe far from the boundary and of one near it, by the clause that
    needs most.
    """
    if not lane.clauses:
        raise UserError("no clause of it is judged", where=f"contract {lane.contract}")
    first = close = 0
    for clause in lane.clauses:
        if (
            clause.unit != "requests"
            or clause.least is None
            or clause.load is None
            or not clause.planned
        ):
            raise UserError(
                "is not decided by any probe of some minutes",
                where=f"contract {lane.contract}: {clause.text}",
                remedy=(
                    "ramp on clauses of requests that the load has, such as --slo 'e2e:p99<800ms'"
                ),
            )
        share = Fraction(lane.load.requests, clause.planned)
        first = max(first, int(_FIRST * clause.least * share) + 1)
        close = max(close, clause.load.requests)
    return first, max(first, close)


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
        tell: Callable[[str], None],
    ):
        """`screen` makes one for each run over HTTP; `tell` hears of each run that is over.

        Raises UserError.
        """
        self.suite, self.terms, self._screen, self._tell = suite, terms, screen, tell
        self.search = search_for(suite, terms)
        stage = suite.stages[0]
        assert stage.contract is not None
        self.contract, self.virtual = stage.contract, stage.simulated
        self._remaining = Remaining(
            terms.max_requests, terms.max_cost_usd, None if self.virtual else terms.max_time_ns
        )
        self._shown = curve_clause(self.contract)
        self.probes: list[Probe] = []
        #: the run that ended last
        self.last: Finished | None = None
        started = wall_ns()
        name = named(f"ramp-{suite.name}", started, repr(self.search).encode())
        self.folder = terms.folder or Path("results") / name
        self.record = self._begun(name, utc_text(started))

    def _begun(self, name: str, started: str) -> dict[str, Any]:
        search, shown = self.search, self._shown
        clause = None if shown is None else self.contract.clauses[shown - 1]
        return {
            "format": FORMAT,
            "ramp": name,
            "state": "running",
            "suite": self.suite.name,
            "target": self.suite.stages[0].targets[0].name,
            "contract": self.contract.name,
            "simulated": self.virtual,
            "seed": self.terms.seed,
            "started_utc": started,
            "repeat_command": self.terms.repeat_command,
            "search": {
                "start_rps": float(search.start),
                "lowest_rps": float(search.lowest),
                "highest_rps": None if search.highest is None else float(search.highest),
                "resolution": float(search.resolution),
                "max_probes": search.max_probes,
                "probe_confidence": float(strict(self.contract, search.max_probes + 1).confidence),
                "first_requests": search.first,
                "close_requests": search.close,
                "most_requests": search.most,
                "least_s": search.least_ns / S,
            },
            "curve": (
                None
                if clause is None or clause.limit is None
                else {"clause": clause.text, "limit_ms": clause.limit / MS}
            ),
            "probes": [],
            "bracket": _bracket_record(Bracket()),
            "knee": None,
            "final": [],
            "outcome": None,
            "reason": "",
            "rate_rps": None,
            "exit_code": int(ExitCode.INTERRUPTED),
        }

    def go(self) -> dict[str, Any]:
        """Search to the end.

        Returns ramp.json; what was found stands in the folder even where this raises.
        """
        if (self.folder / "ramp.json").exists():
            raise UserError(
                "holds a ramp already", where=str(self.folder), remedy="choose another --out"
            )
        try:
            end = self._searched()
            while end is not None and end.bracket.passes is not None and end.outcome != "undecided":
                found = self._confirmed(end.bracket.passes)
                if found is None or isinstance(found, str):
                    end = (
                        None
                        if found is None
                        else End("undecided", end.bracket, f"no run of verdict grade: {found}")
                    )
                elif found["verdict"] == "PASS":
                    break
                else:
                    end = self._searched()
        except TailproofError as error:
            if self.record["probes"]:
                self._file(state="interrupted", reason=str(error), exit_code=int(error.exit_code))
            raise
        except KeyboardInterrupt:  # between two runs: while one lasts it hears of it itself
            if not self.record["probes"]:
                raise
            end = None
        if end is None:
            self._file(state="interrupted", reason="interrupted")
            return self.record
        kept = [run["rate_rps"] for run in self.record["final"] if run["verdict"] == "PASS"]
        self._file(
            state="complete",
            outcome=end.outcome,
            reason=end.reason,
            rate_rps=kept[0] if kept else None,
            exit_code=int(_EXITS[end.outcome]),
        )
        return self.record

    def _searched(self) -> End | None:
        """Probe until the search has its bracket; None where somebody interrupted it."""
        judged = strict(self.contract, self.search.max_probes + 1)
        while isinstance(step := next_step(self.search, self.probes), Step):
            found = self._run("probes", f"{len(self.record['probes']) + 1:02d}", step, judged)
            if found is None:
                return None
            if isinstance(found, str):
                if not self.probes:
                    raise UserError(found, remedy="raise the cap")
                return End("undecided", bracket_of(self.probes), found)
            self._learn(step, found)
        return step

    def _confirmed(self, rate: Fraction) -> dict[str, Any] | str | None:
        """The run of verdict grade at the rate that passed; where it does not pass, the search has
        one more probe to go on from.
        """
        judged = strict(self.contract, self.search.max_probes + 1)
        below = [probe for probe in self.record["probes"] if probe["rate_rps"] <= float(rate)]
        (lane,) = size_plan(
            compile_plan(at_rate(self.suite, rate, judged), self.terms.seed),
            Assumed(design_effect=max(probe["design_effect"] for probe in below)),
        ).lanes
        sized = [clause.load.requests for clause in lane.clauses if clause.load is not None]
        step = Step(rate, max([*sized, *(probe["requests"] for probe in below)]))
        found = self._run("final", f"final-{len(self.record['final']) + 1}", step, judged)
        if isinstance(found, dict) and found["verdict"] != "PASS":
            self._learn(step, found)
        return found

    def _learn(self, step: Step, found: dict[str, Any]) -> None:
        self.probes.append(probe_of(step, found))
        self._file(
            bracket=_bracket_record(bracket_of(self.probes)), knee=knee_of(self.record["probes"])
        )

    def _run(
        self, kind: str, name: str, step: Step, contract: Contract
    ) -> dict[str, Any] | str | None:
        """One run, filed; why it was not made where the caps do not cover it; None where it was
        interrupted.
        """
        suite = at_rate(self.suite, step.rate, contract)
        made = len(self.record["probes"]) + len(self.record["final"])
        seed = self.terms.seed + made
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
            done = simulate(plan_virtual(suite, seed, step.requests), options)
        else:
            suite, _ = lengthened(compile_plan(suite, seed), step.requests)
            plan = compile_plan(suite, seed)
            if (why := self._refused(plan)) is not None:
                return why
            if made:
                sleep_s(self.terms.cool_down_ns / S)
            done = conduct(plan, options, self._screen())
        if done.records.summary.state != "complete":
            return None
        found = observed(
            step.rate,
            done.records.summary.to_json(),
            done.records.verdicts.to_json(),
            self._shown,
        )
        found |= {"folder": name, "seed": seed}
        self._file(**{kind: [*self.record[kind], found]})
        self.last = done
        self._tell(
            f"run {name} · {show_rate(step.rate)} · {found['requests']:,} requests:"
            f" {found['verdict']}"
        )
        return found

    def _refused(self, plan: Plan) -> str | None:
        """Why a run over HTTP is not covered.

        Raises UserError for a first one, and for a cap that can never be held.
        """
        budget = budget_of(plan)
        if not self.probes:
            refuse_beyond(budget, self._remaining.usd, self._remaining.requests)
        usd = sum((lane.usd for lane in budget.lanes if lane.usd is not None), Fraction(0))
        return self._remaining.refuses(len(plan.schedule), usd, plan.end_ns)

    def _file(self, **news: Any) -> None:
        self.record.update(news)
        write_json(self.folder / "ramp.json", self.record)


def _bracket_record(found: Bracket) -> dict[str, Any]:
    rates = {
        f"{name}_rps": None if rate is None else float(rate)
        for name, rate in (
            ("passes", found.passes),
            ("fails", found.fails),
            ("harness", found.harness),
        )
    }
    return rates | {
        "open": [
            {
                "rate_rps": float(probe.rate),
                "requests": probe.requests,
                "needed_requests": probe.needed,
            }
            for probe in found.open
        ]
    }
