"""What a command prints and asks: the one place where `show` meets the terminal.

In: plans, running generators, finished runs. Out: text on stdout (results) and stderr (progress
and warnings). Must stay true: drawing is bounded to twice a second; results go to stdout
so that they can be piped, progress never does.
"""

from __future__ import annotations

import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import click

from bench.app.conclude import Finished
from bench.cli.output import print_lines, print_result, screen_width
from bench.errors import UserError
from bench.judge.review import Records
from bench.load.player import Counters
from bench.load.sitting import refuse_unless_broken_off
from bench.plan.budget import budget_of, is_remote, question, refuse_beyond, usd_of
from bench.plan.clause import Clause
from bench.plan.schedule import Lane, Plan
from bench.quantiles import P50, P99, P999
from bench.record.records.manifest import Manifest
from bench.record.records.summary import Summary
from bench.record.records.verdicts import Verdicts
from bench.record.run_folder import Run
from bench.record.samples import Outcome
from bench.show.build_server import github_lines
from bench.show.document import Node, Text
from bench.show.last_screen import Ended, run_result
from bench.show.lessons import lessons
from bench.show.lessons_screen import LESSONS_LEAST, lessons_result
from bench.show.live import LaneProgress, Progress, Rates, Screen
from bench.show.parts import sentences
from bench.show.places import on_screen, places_tables
from bench.show.wording import ABSENT, whole_seconds
from bench.units import MS, S, show_usd

DRAW_EVERY_NS = 500 * MS
#: Rates are those of so long a time.
_RECENT_NS = 5 * S
#: More nodes than this stand in the report alone.
_NODES_MOST = 12


class RunScreen:
    """Feeds the live screen from the generator; satisfies `conduct.Screen`."""

    def __init__(self, *, quiet: bool, said: Sequence[str] = ()):
        #: of the plan, before anything is sent
        self._said = said
        self._screen = Screen(quiet=quiet)
        self._quiet = quiet
        self._drawn_ns = -DRAW_EVERY_NS
        self._suite = ""
        self._stages: list[tuple[str, list[Lane]]] = []
        #: moment, stage, rows offered, sent and done, over the last _RECENT_NS
        self._past: deque[tuple[int, int, int, int, int]] = deque()
        self._failures: list[tuple[int, str]] = []
        #: stage and outcome: the first failure of each kind is told once
        self._seen: set[tuple[str, Outcome]] = set()

    def open(self, plan: Plan) -> None:
        """Say what will happen and for how long."""
        for lane in plan.lanes:
            if not self._stages or self._stages[-1][0] != lane.stage:
                self._stages.append((lane.stage, []))
            self._stages[-1][1].append(lane)
        urls = [
            (target.base_url, lane.scenario)
            for lane in plan.lanes
            for target in lane.target.endpoints
        ]
        own = any(url.endswith(f"/{scenario}/v1") for url, scenario in urls)
        where = "the simulator" if own else urls[0][0]
        stages = f"{len(self._stages)} stages · " if len(self._stages) > 1 else ""
        length = f" · about {whole_seconds(plan.end_ns)}" if plan.end_ns else ""
        requests = f"{len(plan.schedule):,} request{'s' * (len(plan.schedule) != 1)}"
        self._suite = plan.suite.name
        self._screen.__enter__()
        for lane in plan.lanes:
            for name in lane.target.unverified:
                self._screen.alarm(
                    f"WARNING: the TLS certificate of {name} is NOT verified: whoever answers there"
                    " is believed, and sent the key"
                )
        self._screen.note(
            f"{plan.suite.name} · {stages}{requests} · {where}{length} · seed {plan.seed}"
        )
        for sentence in self._said:
            self._screen.note(sentence)

    def tick(self, now_ns: int, counters: Callable[[], Counters]) -> None:
        """Draw when it is time to."""
        if self._quiet or now_ns - self._drawn_ns < DRAW_EVERY_NS or now_ns < 0:
            return
        self._drawn_ns = now_ns
        self._screen.update(self._progress(now_ns, counters()))

    def _progress(self, now_ns: int, at: Counters) -> Progress:
        number = max(
            (n for n, (_, lanes) in enumerate(self._stages) if lanes[0].start_ns <= now_ns),
            default=0,
        )
        name, lanes = self._stages[number]
        begin, end = lanes[0].start_ns, max(lane.end_ns for lane in lanes)
        spans = lanes[0].spans
        phase = next(
            (n for n, span in enumerate(spans) if span.start_ns <= now_ns < span.end_ns), None
        )
        indices = [lane.index for lane in lanes]
        offered = sum(at.started[i] for i in indices)
        sent, done = offered - sum(at.waiting[i] for i in indices), sum(at.done[i] for i in indices)
        return Progress(
            stage=name,
            phase="draining" if phase is None else spans[phase].phase,
            elapsed_ns=now_ns - begin,
            total_ns=end - begin,
            offered=offered,
            sent=sent,
            done=done,
            in_flight=sum(at.in_flight[i] for i in indices),
            late_p99_ms=at.harness_lag.percentile_ms(P99),
            recent=self._recent(now_ns, number, offered, sent, done),
            spend=_spend([lane for _, every in self._stages for lane in every], at),
            phase_left_ns=0 if phase is None else spans[phase].end_ns - now_ns,
            lanes=tuple(_lane_progress(lane, at) for lane in lanes),
            events=self._events(now_ns, at),
            stage_number=number + 1,
            stages=len(self._stages),
            suite=self._suite,
            phase_number=1 if phase is None else phase + 1,
            phases=len(spans),
        )

    def _recent(self, now_ns: int, stage: int, offered: int, sent: int, done: int) -> Rates | None:
        past = self._past
        past.append((now_ns, stage, offered, sent, done))
        while past[0][1] != stage or (len(past) > 2 and past[1][0] <= now_ns - _RECENT_NS):
            past.popleft()
        then_ns, _, *then = past[0]
        over_ns = now_ns - then_ns
        if over_ns < S:
            return None
        return Rates(
            over_ns,
            *(
                (now - before) * S / over_ns
                for now, before in zip((offered, sent, done), then, strict=True)
            ),
        )

    def _events(self, now_ns: int, at: Counters) -> tuple[tuple[int, str], ...]:
        """What happened, and the first failure of each class of a stage, the latest."""
        for lane in (lane for _, lanes in self._stages for lane in lanes):
            for outcome, times in enumerate(at.outcomes[lane.index]):
                if times and outcome != Outcome.ok and (lane.stage, outcome) not in self._seen:
                    self._seen.add((lane.stage, Outcome(outcome)))
                    self._failures.append((now_ns, f"{lane.name}: first {Outcome(outcome).name}"))
        return tuple(at.with_events(self._failures).events)

    def warn(self, text: str) -> None:
        """A sentence that the user should see now."""
        self._screen.note(f"note: {text}")

    def close(self) -> None:
        """The run is over."""
        self._screen.__exit__(None, None, None)


def _lane_progress(lane: Lane, at: Counters) -> LaneProgress:
    response, counts = at.response[lane.index], at.outcomes[lane.index]
    ends_with_its_count = not (lane.profile.closed_loop and lane.profile.duration is not None)
    return LaneProgress(
        lane.name,
        done=at.done[lane.index],
        planned=lane.requests if ends_with_its_count else None,
        failed={
            outcome.name: counts[outcome]
            for outcome in Outcome
            if counts[outcome] and outcome != Outcome.ok
        },
        p50_ms=response.percentile_ms(P50),
        p99_ms=response.percentile_ms(P99),
        p999_ms=response.percentile_ms(P999),
        budgets=_budgets(lane, at),
    )


def _latency_clause(lane: Lane) -> Clause | None:
    """The contract's first limit of end-to-end latency for a share of all requests."""
    clauses = lane.contract.clauses if lane.contract else []
    return next(
        (
            clause
            for clause in clauses
            if clause.metric == "e2e"
            and clause.limit is not None
            and not (clause.by_time or clause.phase or clause.bucket or clause.report_only)
        ),
        None,
    )


def _budgets(lane: Lane, at: Counters) -> float | None:
    clause, done = _latency_clause(lane), at.done[lane.index]
    if clause is None or clause.limit is None or not done or not clause.allowed_share:
        return None
    bad = at.failed[lane.index] + at.response[lane.index].above(clause.limit)
    return bad / done / float(clause.allowed_share)


def _spend(lanes: Sequence[Lane], at: Counters) -> str:
    """At list price, by the tokens that were stated or counted; a lower bound where some were not,
    or have no price.
    """
    priced = [(lane.index, lane.target.prices) for lane in lanes if lane.target.prices is not None]
    if not priced:
        return ABSENT
    usd = sum(
        (usd_of(prices, at.prompt_tokens[i], at.output_tokens[i]) for i, prices in priced),
        Fraction(0),
    )
    least = len(priced) < len(lanes) or any(at.without_usage[i] for i, _ in priced)
    return f"{'≥ ' if least else ''}{show_usd(usd)} USD"


def make_screen(*, quiet: bool, said: Sequence[str] = ()) -> RunScreen:
    """The screen of one run; `said` are sentences on its plan."""
    return RunScreen(quiet=quiet, said=said)


def show_finished(done: Finished) -> None:
    """Verdict, health, report path of a run, and the commands that go on with it or repeat it."""
    show_records(Run(done.folder), done.records, done.report)


def show_records(run: Run, records: Records, report: Path | None) -> None:
    """The same of a run whose folder holds these records."""
    ended = Ended(
        summary=records.summary,
        verdicts=records.verdicts,
        about=_about(run.manifest),
        further=sentences(records),
        below=list(_sent_from(run.manifest, records.summary)),
        folder=str(run.folder),
        report=str(report or ""),
        repeat=run.manifest.repeat_command,
        resume=_resume_command(run.manifest, run.folder),
    )
    found = lessons(run, records)
    if len(found) >= LESSONS_LEAST:
        print_result(lessons_result(ended, found, run.manifest, screen_width()))
    else:
        print_result(run_result(ended))


def _about(manifest: Manifest) -> str:
    """`llama at 127.0.0.1:8000` of the only target; nothing of several, which the table names."""
    if len(manifest.lanes) != 1:
        return ""
    (lane,) = manifest.lanes
    if lane.simulated or not lane.host:
        return lane.model
    return f"{lane.model} at {lane.host}"


def _resume_command(manifest: Manifest, folder: Path) -> str:
    """The command that sends what a run never began; empty where it would be refused."""
    try:
        refuse_unless_broken_off(manifest, folder)
    except UserError:
        return ""
    return shlex.join(["tailproof", "resume", str(folder)])


def tell_run(done: Finished, form: str) -> None:
    """One run that is over, as text or annotations; of JSON there is one document, when all are."""
    if form == "github":
        print_lines(github_lines(done.records.summary, done.records.verdicts))
    elif form == "text":
        show_finished(done)


def show_verdicts(run: Run, summary: Summary, verdicts: Verdicts) -> None:
    """Verdicts of a run that was judged otherwise than its folder says."""
    print_result(
        run_result(
            Ended(
                summary=summary,
                verdicts=verdicts,
                about=_about(run.manifest),
                below=list(_sent_from(run.manifest, summary)),
                repeat=run.manifest.repeat_command,
            )
        )
    )


def _sent_from(manifest: Manifest, summary: Summary) -> Iterator[Node]:
    """The nodes of each target as tables; of more than a screen holds, that the report has them."""
    for name, target in summary.targets.items():
        table = next(places_tables(manifest, target), None)
        if table is not None and len(table.rows) <= _NODES_MOST:
            yield on_screen(table, name if len(summary.targets) > 1 else "")
        elif table is not None:
            says = f"{len(table.rows):,} nodes: the report has a line for each"
            yield Text(says, "sent from")


def approve(
    plan: Plan, runs: int, *, max_cost: Fraction | None, max_requests: int | None, yes: bool
) -> Fraction | None:
    """Hold a plan that is played `runs` times against its caps, and ask before money leaves this
    machine.

    Returns each run's part of the cap in USD. Raises UserError for what may not be sent: beyond a
    cap, not agreed to, or with nobody to ask.
    """
    targets = [target for lane in plan.live().lanes for target in lane.target.endpoints]
    if max_cost is None and not any(is_remote(target) for target in targets):
        return None
    budget = budget_of(plan)
    refuse_beyond(budget, max_cost, max_requests, runs)
    if not yes and (asked := question(budget, runs)) is not None:
        _ask(asked)
    return None if max_cost is None else max_cost / runs


def _ask(text: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(f"{text} There is no terminal to ask on", remedy="add --yes to send it")
    if not click.confirm(text, err=True):
        raise UserError("nothing was sent")
