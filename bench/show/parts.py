"""The parts of a report, in one list.

In: a run and its records. Out: sections of the page, and sentences for the last screen. Must stay
true: verdicts come first, what must be known before the first number is read stands above them;
what the suite did not ask for has no part; failures are never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from bench.judge.review import Records
from bench.progress import each
from bench.record.records.attribution import LaneAttribution
from bench.record.records.census import CensusRecord
from bench.record.records.comparisons import Comparison
from bench.record.records.rehearsed import SuiteName
from bench.record.run_folder import Run
from bench.show.attribution import attribution_line
from bench.show.best_route import routes_section
from bench.show.brief import brief
from bench.show.clauses import clauses_section
from bench.show.comparison import comparison_title
from bench.show.costs import costs_section
from bench.show.document import Document, Node, Section, Text, numbered
from bench.show.drills import drills_section
from bench.show.evidence import evidence_section
from bench.show.facts import left_out_sentences
from bench.show.lanes import lane_views
from bench.show.lessons import Lesson, lessons, lessons_section
from bench.show.masthead import commands, facts, lead, rehearsal, tally, title_of
from bench.show.paragraph import statement
from bench.show.ratios import outcome_words
from bench.show.residency import residency_section
from bench.show.routes import route_lines
from bench.show.slow import slow_section
from bench.show.tier_answer import tier_answers
from bench.show.tiers import tiers_section
from bench.show.trust import trust_section
from bench.show.uptime import uptime_section
from bench.show.when import when_section
from bench.show.why import why_section
from bench.show.wording import capital, visible

#: Comparisons that the statement names.
_COMPARED_MOST = 2


def report_document(run: Run, records: Records) -> Document:
    """The whole report."""
    manifest = run.manifest
    suite = manifest.suite or SuiteName(name=manifest.run)
    sections = [
        section for part in each("writing the report", PARTS) for section in part(run, records)
    ]
    alerts = [Text(alert, tone="alert") for alert in _alerts(run, records)]
    return Document(
        run=visible(manifest.run, 120),
        title=title_of(run, suite) or visible(suite.name, 80),
        overall=visible(records.summary.overall, 20),
        word=rehearsal(records.verdicts),
        about=visible(suite.description),
        lead=[*lead(run, records), *_dearer(records), *alerts],
        tally=tally(records.verdicts),
        facts=list(facts(run, records)),
        commands=commands(run, records),
        sections=numbered(sections),
        brief=brief(run, records, _taught(run, records)),
    )


def _dearer(records: Records) -> Iterator[Text]:
    """What a comparison answered; of a rehearsal its lessons say it."""
    if records.verdicts.overall != "INVALID" and not rehearsal(records.verdicts):
        yield from (Text(said) for said in tier_answers(_pairs(records))[:1])


# ---- the parts


def _taught(run: Run, records: Records) -> list[Lesson]:
    """None of a run of which nothing is judged."""
    return [] if records.summary.overall == "INVALID" else lessons(run, records)


def _latency(run: Run, records: Records) -> Iterator[Section]:
    """How slow, when and why."""
    views = lane_views(run, records)
    yield from slow_section(views)
    yield from when_section(run, views)
    yield from why_section(run, records, views)


def _lessons(run: Run, records: Records) -> Iterator[Section]:
    found = _taught(run, records)
    yield from lessons_section(found, _statement(run, records) if found else [])


def _clauses(run: Run, records: Records) -> Iterator[Section]:
    below = [] if _taught(run, records) else _statement(run, records)
    yield from clauses_section(run, records, below)


def _statement(run: Run, records: Records) -> list[Node]:
    """The paragraph to file, with the answer of each comparison."""
    pairs = [] if rehearsal(records.verdicts) else _pairs(records)[:_COMPARED_MOST]
    compared = tier_answers(pairs)
    filed = statement(run.manifest, records.summary, records.verdicts)
    return [Text(" ".join([filed, *compared]), "Statement for the file", "quote", "summary")]


def _tiers(_run: Run, records: Records) -> Iterator[Section]:
    yield from _answered(tiers_section(_pairs(records)))


def _drills(_run: Run, records: Records) -> Iterator[Section]:
    yield from _answered(drills_section(records.routes, records.verdicts.clauses))


def _routes(_run: Run, records: Records) -> Iterator[Section]:
    yield from _answered(routes_section(records))


def _residency(_run: Run, records: Records) -> Iterator[Section]:
    yield from _answered(residency_section(records.routes))


def _uptime(_run: Run, records: Records) -> Iterator[Section]:
    yield from _answered(uptime_section(_census(records)))


def _costs(run: Run, records: Records) -> Iterator[Section]:
    yield from _answered(costs_section(records, run.lanes))


def _trust(run: Run, records: Records) -> Iterator[Section]:
    yield trust_section(records, run.lanes)


def _answered(section: Section | None) -> Iterator[Section]:
    if section is not None:
        yield section


Part = Callable[[Run, Records], Iterable[Section]]
#: The sections of a report, in the order of the page. A part that has nothing to say yields none.
PARTS: list[Part] = [
    _lessons,
    _clauses,
    _latency,
    _tiers,
    _drills,
    _routes,
    _residency,
    _uptime,
    _costs,
    _trust,
    evidence_section,
]


# ---- what the last screen says of them: a sentence each


def _comparison_sentences(records: Records) -> Iterator[str]:
    for pair in _pairs(records):
        yield f"{comparison_title(pair)}: {outcome_words(pair.headline)}"


def _forecast_sentences(records: Records) -> Iterator[str]:
    for bill in records.verdicts.forecasts:
        yield f"{visible(bill.target, 40)}, {visible(bill.text)}: {bill.verdict}"


def _census_sentences(records: Records) -> Iterator[str]:
    for name, record in _census(records).items():
        for period in record.periods:
            where = f"{visible(name, 40)}, {visible(period.period, 20)}"
            for clause in period.clauses:
                yield f"{where}, {visible(clause.text)}: {clause.verdict}"


def _route_sentences(records: Records) -> Iterator[str]:
    yield from route_lines(records.routes) if records.routes else ()


def _tail_sentences(records: Records) -> Iterator[str]:
    for name, record in _explained(records):
        yield attribution_line(name, record)


SENTENCES: list[Callable[[Records], Iterable[str]]] = [
    _comparison_sentences,
    _forecast_sentences,
    _census_sentences,
    _route_sentences,
    _tail_sentences,
]


def sentences(records: Records) -> list[str]:
    """All of them, in the order of the page."""
    return [sentence for of in SENTENCES for sentence in of(records)]


# ---- what stands above the verdicts


def _alerts(run: Run, records: Records) -> Iterator[str]:
    """What must be known before the first number is read."""
    facts = records.summary.health.facts
    if run.state == "interrupted":
        yield "The run was interrupted: what follows rests on the part that was carried out."
    elif run.state != "complete":
        yield "The run is still going on. Later rows are missing."
    if shard := facts.get("shard"):
        yield f"This is {visible(shard)}."
    for gap in facts.get("gaps", []):
        yield f"{capital(visible(gap, 300))}."
    if ended := run.manifest.ended_early:
        yield f"The run ended before its plan: {visible(ended)}."
    yield from (f"{sentence}." for sentence in left_out_sentences(records.verdicts))
    yield from _alerts_of_lanes(run)


def _alerts_of_lanes(run: Run) -> Iterator[str]:
    def named(key: Literal["insecure", "closed_loop"]) -> list[str]:
        return [visible(lane.name, 60) for lane in run.lanes if getattr(lane, key)]

    if unverified := named("insecure"):
        yield (
            f"TLS certificates were NOT verified: {', '.join(unverified)}. Another server may have"
            " answered, and may have the key."
        )
    if closed := named("closed_loop"):
        yield f"Closed loop, not valid for an SLA verdict: {', '.join(closed)}."


def _census(records: Records) -> Mapping[str, CensusRecord]:
    return records.census.months if records.census else {}


def _pairs(records: Records) -> Sequence[Comparison]:
    return records.comparisons.comparisons if records.comparisons else ()


def _explained(records: Records) -> list[tuple[str, LaneAttribution]]:
    """Targets whose slow requests something is associated with."""
    targets = records.attribution.targets
    return [(name, record) for name, record in targets.items() if record.causes]
