"""A rehearsal's lessons: what was planted in each stage, and what the test found.

In: a run and its records. Out: a `Lesson` a stage and month with expected answers, and the section
that lists them. Must stay true: what was found comes from the records alone, from the first of
these that the stage has: comparison, drill, routes, attribution, census, its first expected clause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.judge.review import Records
from bench.record.records.census import CensusRecord
from bench.record.records.comparisons import Comparison, PartComparison
from bench.record.records.rehearsed import LessonRecord
from bench.record.records.routes import DrillRecord
from bench.record.records.verdicts import ClauseVerdict, Expectation
from bench.record.run_folder import Run
from bench.show import wording
from bench.show.attribution import level_name
from bench.show.census import attained
from bench.show.document import Column, Node, Section, Table
from bench.show.graphics.mark import VerdictWord
from bench.show.ratios import outcome_words, p99_words
from bench.show.wording import NO_ANSWER, count, few, per_cent, seconds_for_readers, visible
from bench.units import show_list

_NAMED_MOST = 4
#: Expected answers that did not come, told of one lesson.
_UNMET_MOST = 2


@dataclass(frozen=True)
class Lesson:
    """A stage or month of a rehearsal: what was planted, what was found."""

    number: int
    stage: str
    #: its title; the stage's name where its file has none
    title: str
    planted: str
    found: str
    expects: Sequence[Expectation]

    @property
    def met(self) -> int:
        """How many expected answers came."""
        return sum(each.met for each in self.expects)

    @property
    def of(self) -> int:
        """How many answers were expected."""
        return len(self.expects)

    @property
    def verdict(self) -> str:
        """PASS where all came."""
        return "PASS" if self.met == self.of else "FAIL"

    @property
    def unmet(self) -> str:
        """What came instead: `expected EQUIVALENT, got BETTER: pro against standard`."""
        missed = [each for each in self.expects if not each.met]
        said = [
            f"expected {visible(each.expected, 40)}, got {visible(each.got or 'nothing')}"
            f": {visible(each.target, 60)}, {visible(each.clause)}"
            for each in missed[:_UNMET_MOST]
        ]
        more = len(missed) - len(said)
        return "; ".join([*said, f"and {count(more)} more"] if more else said)


def all_expected(of: int) -> str:
    """How many answers were expected, all of which came."""
    return f"all {count(of)} expected answers" if of > 1 else "the one expected answer"


def lessons(run: Run, records: Records) -> list[Lesson]:
    """Of every stage and month with expected answers, in the suite's order."""
    suite = run.manifest.suite
    named = {each.stage: each for each in suite.lessons} if suite else {}
    stage_of = {lane.name: lane.stage for lane in run.lanes}
    months = records.census.months if records.census else {}
    expected: dict[str, list[Expectation]] = {}
    for name in (*stage_of.values(), *months):
        expected[name] = []
    for each in records.verdicts.expects:
        expected.setdefault(stage_of.get(each.target, each.target), []).append(each)
    found = list[Lesson]()
    for stage, expects in expected.items():
        if expects:
            about = named.get(stage, LessonRecord(stage=stage))
            title, planted = visible(about.lesson or stage, 120), visible(about.planted, 120)
            said = _found(run, records, stage, expects)
            found.append(Lesson(len(found) + 1, stage, title, planted, said, expects))
    return found


def _found(run: Run, records: Records, stage: str, expects: Sequence[Expectation]) -> str:
    lanes = [lane.name for lane in run.lanes if lane.stage == stage]
    looks: list[Callable[[], str]] = [
        lambda: _compared(records, lanes, expects),
        lambda: _drilled(records, stage),
        lambda: _routed(records, stage),
        lambda: _explained(records, lanes),
        lambda: _counted(records, stage),
        lambda: _judged(records, expects),
    ]
    return next(filter(None, (look() for look in looks)), "")


# ---- found by a comparison


def _compared(records: Records, lanes: Sequence[str], expects: Sequence[Expectation]) -> str:
    pairs = records.comparisons.comparisons if records.comparisons else []
    pair = next((each for each in pairs if each.other.name in lanes), None)
    if pair is None:
        return ""
    phases = dict.fromkeys(each.phase for each in expects if each.other == pair.other.name)
    parts = [(phase, part) for phase in phases if phase and (part := pair.by_phase.get(phase))]
    if parts:
        return "; ".join(_part(phase, part) for phase, part in parts)
    return _ratio(pair)


def _part(phase: str, part: PartComparison) -> str:
    p99 = part.ratios.get("p99")
    if p99 is None:  # too few rows for it
        return f"{visible(phase, 40)}: {outcome_words(part.headline)}"
    said = [_seconds(each) for each in (p99.other_ms, p99.baseline_ms)]
    return f"{visible(phase, 40)}: p99 {said[0]} against {said[1]}: {outcome_words(part.headline)}"


def _seconds(ms: float | None) -> str:
    return NO_ANSWER if ms is None else seconds_for_readers(ms)


def _ratio(pair: Comparison) -> str:
    return ": ".join(filter(None, [p99_words(pair), outcome_words(pair.headline)]))


# ---- found by a drill, by routes


def _drilled(records: Records, stage: str) -> str:
    """What was lost without a route, and what a route did."""
    routes = records.routes
    drills = [each for each in routes.drills if each.stage == stage and each.ok] if routes else []
    routed = routes.routes if routes else {}
    said = [_bore(each, routed=each.target in routed) for each in drills]
    return "; ".join(filter(None, said))


def _bore(drill: DrillRecord, *, routed: bool) -> str:
    who = visible(drill.target.partition("/")[0], 40)
    lost = f"{count(drill.lost)} of {count(drill.requests)} lost"
    if not routed:
        return f"{who}: {lost}" if drill.lost else ""
    moved = ""
    if drill.switch_ms is not None:
        moved = f", failed over in {seconds_for_readers(drill.switch_ms)}"
    if drill.fail_back_ms is not None:
        moved += f", back {seconds_for_readers(drill.fail_back_ms)} after recovery"
    return f"{who}: {lost}{moved}"


def _routed(records: Records, stage: str) -> str:
    """The p99 of each route, and of what it is held against: the longest first."""
    stages = records.routes.stages if records.routes else []
    standing = next((each for each in stages if each.stage == stage), None)
    if standing is None:
        return ""
    compared = [each for each in standing.lanes if each.routed and each.against_first_leg]
    direct = [each for each in standing.lanes if not each.routed][:1]
    shown = [each for each in standing.lanes if each in compared or each in direct]
    said = [
        f"{visible(each.target.partition('/')[0], 40)} {_seconds(each.p99_ms)}" for each in shown
    ]
    return f"p99: {', '.join(said)}" if compared else ""


# ---- found by attribution, by the full log, by a clause


def _explained(records: Records, lanes: Sequence[str]) -> str:
    targets = records.attribution.targets
    causes = [cause for name in lanes if (of := targets.get(name)) for cause in of.causes]
    said = [
        f"{level_name(each.factor, each.level)} {per_cent(each.paf, 0)}"
        for each in causes[:_NAMED_MOST]
    ]
    return ", ".join(said)


def _counted(records: Records, stage: str) -> str:
    record = records.census.months.get(stage) if records.census else None
    return "; ".join(_periods(record)) if record else ""


def _periods(record: CensusRecord) -> Iterator[str]:
    for period in record.periods:
        for clause in period.clauses:
            if clause.judged:
                yield f"{_way(clause.text)} {attained(clause)}: {clause.verdict}"
        if (credit := period.credit) is not None and credit.kind == "due":
            yield f"{per_cent(credit.share.share)} credit due"


def _way(text: str) -> str:
    """How a clause counts uptime: `by requests`, `by minutes`."""
    return next((f"by {unit}s" for unit in ("request", "minute") if unit in text), visible(text))


def _judged(records: Records, expects: Sequence[Expectation]) -> str:
    """The first clause that an answer was expected of."""
    by_name = {(each.target, each.text): each for each in records.verdicts.clauses}
    clauses = (by_name.get((each.target, each.clause)) for each in expects)
    known = [each for each in clauses if each]
    by_target: dict[str, ClauseVerdict] = {}
    for each in known:
        if each.quantile:
            by_target.setdefault(each.target, each)
    if len(by_target) > 1:
        return few([_beside(each) for each in by_target.values()], _NAMED_MOST)
    return _clause(records, known[0]) if known else ""


def _beside(clause: ClauseVerdict) -> str:
    """`default p99 4,195 ms: FAIL`, of one target among several."""
    who = visible(clause.target.partition("/")[0], 40)
    return f"{who} p{(clause.quantile or 0) * 100:g} {wording.measured(clause)}: {clause.verdict}"


def _clause(records: Records, clause: ClauseVerdict) -> str:
    target = records.summary.targets[clause.target]
    said = f"{wording.measured(clause)} against {wording.limit(clause)}: {clause.verdict}"
    if clause.unit == "share":
        failed = wording.failures(target.outcomes)
        lost = f"{failed} of {count(target.requests)}; " if failed else ""
        return f"{lost}uptime {said}"
    mean = target.response_ms.get(clause.metric)
    beside = f"mean {wording.milliseconds(mean.mean)}, " if mean else ""
    quantile = f"p{clause.quantile * 100:g} " if clause.quantile else ""
    return f"{beside}{quantile}{said}"


# ---- the section

LESSON_COLUMNS: list[Column[Lesson]] = [
    Column("no.", lambda row: str(row.number), "count"),
    Column("lesson", lambda row: row.title, "group"),
    Column("what was planted", lambda row: row.planted or wording.ABSENT, "words"),
    Column("what the test found", lambda row: row.found + _instead(row), "words"),
    Column(
        "expected answers",
        lambda row: f"{row.met} of {row.of}",
        coloured_by=lambda row: row.verdict,
        graphic=lambda row: VerdictWord(row.verdict, word=f"{row.met} of {row.of}"),
    ),
]


def _instead(row: Lesson) -> str:
    return f". {wording.capital(row.unmet)}" if row.unmet else ""


def lessons_section(found: Sequence[Lesson], below: Sequence[Node] = ()) -> Iterator[Section]:
    """Did the test find what was planted? Nothing where nothing was; `below` ends it."""
    if not found:
        return
    met, of = sum(each.met for each in found), sum(each.of for each in found)
    if met == of:
        answer = f"Yes: {all_expected(of)}, in {_lessons(len(found))}."
    else:
        missed = [str(each.number) for each in found if each.met < each.of]
        which = f"lesson{'s' * (len(missed) > 1)} {show_list(missed)}"
        answer = f"No: {count(met)} of {count(of)} expected answers; not those of {which}."
    table = Table("Lessons of this rehearsal", LESSON_COLUMNS, found)
    title = "Did the test find what was planted?"
    yield Section("lessons", title, [table, *below], "Lessons", answer)


def _lessons(number: int) -> str:
    return f"{count(number)} lesson{'s' * (number != 1)}"
