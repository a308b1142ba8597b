"""The parts of a report, in one list.

In: a run and its records. Out: sections of the page, and sentences for the last screen. Must stay
true: verdicts come first, what must be known before the first number is read stands above them;
what the suite did not ask for has no part; failures are never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from bench.judge.review import Records
from bench.record.records.attribution import LaneAttribution
from bench.record.records.census import CensusRecord
from bench.record.records.comparisons import Comparison
from bench.record.records.rehearsed import SuiteName
from bench.record.records.verdicts import Verdicts
from bench.record.run_folder import Run
from bench.show.attribution import attribution_line, attribution_section
from bench.show.best_route import routes_section
from bench.show.comparison import comparison_title
from bench.show.costs import costs_section
from bench.show.definitions import ATTRIBUTED, CENSUSED, COMPARED, DEFINITIONS
from bench.show.document import Bullets, Code, Document, Node, Pairs, Section, Text, numbered
from bench.show.drills import drills_section
from bench.show.facts import health_line, left_out_sentences, run_facts
from bench.show.lessons import lessons, lessons_section
from bench.show.paragraph import buyers_paragraph
from bench.show.residency import residency_section
from bench.show.routes import route_lines
from bench.show.target import target_section
from bench.show.tier_answer import tier_answers
from bench.show.tiers import tiers_section
from bench.show.trust import trust_section
from bench.show.uptime import uptime_section
from bench.show.verdicts import remarks, verdict_table
from bench.show.wording import CUT, visible

NO_CONTRACT = "No contract was given, so nothing was judged."


def report_document(run: Run, records: Records) -> Document:
    """The whole report. Draws the figures: some tenths of a second a lane."""
    manifest = run.manifest
    suite = manifest.suite or SuiteName(name=manifest.run)
    sections = [section for part in PARTS for section in part(run, records)]
    return Document(
        run=visible(manifest.run, 120),
        title=visible(suite.name, 80),
        overall=visible(records.summary.overall, 20),
        word=_rehearsal(records.verdicts),
        lead=[
            Text(visible(suite.description), tone="soft"),
            *(Text(alert, tone="alert") for alert in _alerts(run, records)),
        ],
        sections=numbered(sections),
    )


# ---- the parts


def _lessons(run: Run, records: Records) -> Iterator[Section]:
    yield from lessons_section(lessons(run, records))


def _verdicts(run: Run, records: Records) -> Iterator[Section]:
    """The verdicts, whether the harness was fit, and the paragraph to quote."""
    verdicts, summary, nodes = records.verdicts, records.summary, list[Node]()
    table = verdict_table(verdicts)
    unjudged = (
        "A part of the load is held against no contract."
        if run.manifest.shard is not None
        else NO_CONTRACT
    )
    nodes.append(table or Text(unjudged))
    nodes += [Text(remark, tone="remark") for remark in remarks(verdicts, run.manifest.early_stop)]
    if (decides := verdicts.next_command) is not None:
        nodes.append(Code(visible(decides, 2000), "A run that would probably decide what is open"))
    nodes.append(Text(health_line(summary), label="harness", anchor="health"))
    compared = tier_answers(_pairs(records))
    nodes += [Text(sentence, tone="strong") for sentence in compared]
    paragraph = " ".join([buyers_paragraph(run.manifest, summary, verdicts), *compared])
    nodes.append(Text(paragraph, tone="quote", anchor="summary"))
    yield Section("verdicts", "", nodes)


def _targets(run: Run, records: Records) -> Iterator[Section]:
    for index, lane in enumerate(run.lanes):
        yield target_section(run, index, records.summary.targets[lane.name], records.verdicts)


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


def _tails(_run: Run, records: Records) -> Iterator[Section]:
    for number, (name, record) in enumerate(_explained(records)):
        yield attribution_section(name, record, number)


def _definitions(_run: Run, records: Records) -> Iterator[Section]:
    """What the words mean, those of parts that only some reports have among them."""
    terms = [*DEFINITIONS]
    terms += COMPARED if _pairs(records) else ()
    terms += CENSUSED if _census(records) else ()
    terms += ATTRIBUTED if _explained(records) else ()
    yield Section("definitions", "What the words mean", [Pairs(terms)], "definitions")


def _attested(_run: Run, records: Records) -> Iterator[Section]:
    terms = [
        f"{visible(item.contract, 60)}: {visible(item.term)}" for item in records.verdicts.attested
    ]
    if terms:
        why = "Terms that no probe can measure. They are neither passed nor failed here."
        yield Section("attested", "Attested, not measured", [Text(why), Bullets(terms)])


def _notes(run: Run, records: Records) -> Iterator[Section]:
    notes = [*run.manifest.notes, *records.verdicts.not_applied]
    if notes:
        yield Section("notes", "Notes", [Bullets([visible(note, 2 * CUT) for note in notes])])


def _facts(run: Run, records: Records) -> Iterator[Section]:
    repeat = visible(run.manifest.repeat_command, 2000)
    facts = Pairs(list(run_facts(run, records.summary)))
    yield Section("facts", "Run facts", [facts, Code(repeat, "Repeat this run")], "run facts")


Part = Callable[[Run, Records], Iterable[Section]]
#: The sections of a report, in the order of the page. A part that has nothing to say yields none.
PARTS: list[Part] = [
    _lessons,
    _verdicts,
    _targets,
    _tiers,
    _drills,
    _routes,
    _residency,
    _uptime,
    _costs,
    _trust,
    _tails,
    _definitions,
    _attested,
    _notes,
    _facts,
]


# ---- what the last screen says of them: a sentence each


def _comparison_sentences(records: Records) -> Iterator[str]:
    for pair in _pairs(records):
        yield f"{comparison_title(pair)}: {pair.headline}"


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


def _rehearsal(verdicts: Verdicts) -> str:
    if not verdicts.expects:
        return ""
    return "AS EXPECTED" if all(item.met for item in verdicts.expects) else "NOT AS EXPECTED"


def _alerts(run: Run, records: Records) -> Iterator[str]:
    """What must be known before the first number is read."""
    facts = records.summary.health.facts
    if records.summary.overall == "INVALID":
        why = records.summary.health.why_invalid
        yield f"INVALID: {why}. No number below judges a target."
    if run.state == "interrupted":
        yield "The run was interrupted: what follows rests on the part that was carried out."
    elif run.state != "complete":
        yield "The run is still going on. Later rows are missing."
    if shard := facts.get("shard"):
        yield f"This is {visible(shard)}."
    for gap in facts.get("gaps", []):
        shown = visible(gap, 300)
        yield f"{shown[0].upper()}{shown[1:]}."
    if ended := run.manifest.ended_early:
        yield f"The run ended before its plan: {visible(ended)}."
    yield from (f"{sentence}." for sentence in left_out_sentences(records.verdicts))
    yield from _alerts_of_lanes(run, simulated=records.summary.simulated)


def _alerts_of_lanes(run: Run, *, simulated: bool) -> Iterator[str]:
    def named(key: Literal["simulated", "insecure", "closed_loop"]) -> list[str]:
        return [visible(lane.name, 60) for lane in run.lanes if getattr(lane, key)]

    if simulated:
        virtual = named("simulated")
        every = len(virtual) == len(run.lanes)
        whose = "these rows" if every else f"the rows of {', '.join(virtual)}"
        yield f"SIMULATED: {whose} were computed from a model. No request was sent for them."
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
