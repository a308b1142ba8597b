"""Did the answers about routes come that a suite rehearses?

In: a run with routes, their records. Out: records with sentences. Must stay true: what was never
seen meets no expectation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.judge.routing.standings import told_apart
from bench.judge.stats.tail import verdict_counts
from bench.quantiles import P99
from bench.record.records.routes import DrillRecord, LaneTail, Standing
from bench.record.records.verdicts import Expectation
from bench.record.run_folder import Run
from bench.record.samples import Columns, Outcome, latency_ns
from bench.units import MS, show_duration

#: Error of each side of a verdict.
_OF_A_VERDICT = 0.05


def expectations(
    run: Run,
    stages: Sequence[Standing],
    drills: Sequence[DrillRecord],
) -> list[Expectation]:
    """Each answer that `expect_route` tables rehearse, and whether it came."""
    found: list[Expectation] = []
    for index, lane in enumerate(run.lanes):
        columns = run.columns.lane(index).measured() if lane.expect_route_written else None
        for wanted in lane.expect_route:
            answers = _Answers(lane.name, found)
            if wanted.p99_above:
                here = [stage.lanes for stage in stages if stage.stage == lane.stage]
                _above(answers, lane.target, wanted.p99_above, here[0] if here else [])
            if wanted.p99_within is not None and columns is not None:
                _within(answers, columns, wanted.p99_within)
            mine = [drill for drill in drills if drill.target == lane.name]
            done = [drill for drill in mine if drill.ok]
            for clause, limit_ns, times in (
                ("time to detect", wanted.detect_within, [cut.detect_ms for cut in done]),
                ("time to switch", wanted.switch_within, [cut.switch_ms for cut in done]),
                ("time to fail back", wanted.fail_back_within, [cut.fail_back_ms for cut in done]),
            ):
                if limit_ns is not None:
                    _time(answers, clause, times, limit_ns, cuts=len(mine))
            if wanted.lost_at_most is not None:
                _lost(answers, mine, wanted.lost_at_most)
    return found


@dataclass(frozen=True)
class _Answers:
    """Collects what a lane was expected to do, and what it did."""

    target: str
    found: list[Expectation]

    def add(
        self,
        clause: str,
        expected: str,
        got: str,
        *,
        met: bool,
    ) -> None:
        """One rehearsed answer."""
        self.found.append(
            Expectation(
                target=self.target,
                clause=clause,
                expected=expected,
                got=got,
                met=met,
            )
        )


def _above(
    answers: _Answers,
    target: str,
    names: Sequence[str],
    lanes: Sequence[LaneTail],
) -> None:
    of = {lane.of: lane for lane in lanes}
    seen = {name: told_apart(of[target], of[name]) for name in names if {target, name} <= set(of)}
    wrong = [
        f"{seen.get(name, 'not measured')}: {name}" for name in names if seen.get(name) != "longer"
    ]
    clause = f"e2e p99 against {', '.join(names)}"
    answers.add(clause, "longer", ", ".join(wrong) or "longer", met=not wrong)


def _within(answers: _Answers, columns: Columns, limit_ns: int) -> None:
    """Rows count as independent: a rehearsal of this run, no verdict on a provider."""
    outcomes = columns.samples["outcome"]
    unknown = int((outcomes == Outcome.censored).sum())
    over = int((~columns.ok & (outcomes != Outcome.censored)).sum())
    over += int((latency_ns(columns.samples[columns.ok], "e2e") > limit_ns).sum())
    counts = verdict_counts(len(columns), 1 - P99, _OF_A_VERDICT)
    got = "INCONCLUSIVE"
    if over + unknown <= counts.k_pass:
        got = "PASS"
    elif over >= counts.k_fail:
        got = "FAIL"
    clause = f"response e2e p99 ≤ {show_duration(limit_ns)}"
    answers.add(clause, "PASS", got, met=got == "PASS")


def _time(
    answers: _Answers,
    clause: str,
    times: Sequence[float | None],
    limit_ns: int,
    *,
    cuts: int,
) -> None:
    """`times` are those of the cuts that were carried out, of `cuts` in all."""
    slowest = max((ms for ms in times if ms is not None), default=None)
    never = not times or None in times or len(times) < cuts
    got = "never"
    if not times:
        got = "no cut was carried out"
    elif not never and slowest is not None:
        got = show_duration(slowest * MS)
    met = not never and slowest is not None and slowest * MS <= limit_ns
    answers.add(clause, f"≤ {show_duration(limit_ns)}", got, met=met)


def _lost(answers: _Answers, drills: Sequence[DrillRecord], most: int) -> None:
    done = [drill for drill in drills if drill.ok]
    lost = sum(drill.lost or 0 for drill in done)
    unknown = sum(drill.unknown or 0 for drill in done)
    got = f"{lost:,}" + (f", {unknown:,} unknown" if unknown else "")
    met = bool(drills) and len(done) == len(drills) and lost + unknown <= most
    answers.add("requests lost", f"≤ {most:,}", got if done else "no cut was carried out", met=met)
