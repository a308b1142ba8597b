"""A ramp in words: what was found, each probe, the knee; on a screen and as a report.

In: ramp.json, the verdicts of its last run. Out: lines, a document, files in the ramp's folder.
Must stay true: the rate is named only where the last run confirmed it; what was not decided comes
with what would decide it; foreign text has passed through `wording.visible`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.record.files import write_atomically
from bench.record.records.ramp import Curve, ProbeRecord, RampRecord
from bench.record.records.verdicts import Verdicts
from bench.show.document import (
    PAGE,
    Code,
    Column,
    Document,
    Figure,
    Node,
    Pair,
    Pairs,
    Section,
    Table,
    Text,
    Verdict,
    numbered,
)
from bench.show.plots.against_load import tail_against_load
from bench.show.report import page_files
from bench.show.result import Result
from bench.show.verdicts import remarks, verdict_table
from bench.show.wording import (
    ABSENT,
    CUT,
    NO_ANSWER,
    between,
    capital,
    count,
    exact,
    milliseconds,
    number,
    per_cent,
    visible,
)
from bench.units import show_bound

_SIMULATED = "SIMULATED: these rows were computed from a model. No request was sent."
_TERMS: tuple[Pair, ...] = (
    (
        "probe",
        (
            "a run at one rate, judged like any run, at its part of the error allowed: all verdicts"
            " of a ramp are right together with the contract's confidence"
        ),
    ),
    (
        "run of verdict grade",
        (
            "a run of its own at the rate found, sized for the contract; where it does not pass,"
            " the search goes on from it"
        ),
    ),
    (
        "boundary",
        (
            "the rate from which on the contract is broken: between the highest rate that passed"
            " and the lowest that failed, with the confidence of all runs together; a probe that"
            " was not decided moves neither"
        ),
    ),
    (
        "INVALID",
        "the harness was the limit at that rate; two such probes end the search upward",
    ),
    (
        "knee",
        (
            "where the tail leaves its flat part: it is more than twice that of the lowest load, by"
            " the far ends of the intervals"
        ),
    ),
)


def headline(record: RampRecord) -> str:
    """What was found, in a sentence."""
    outcome, fails_rps = record.outcome, record.bracket.fails_rps
    held = f"contract {visible(record.contract, 60)}"
    broken = ABSENT if fails_rps is None else f"{exact(fails_rps)}/s"
    between_rates = show_bound(
        *record.bracket.bound, lambda rate: f"{exact(rate)}/s", record.search.confidence
    )
    if record.rate_rps is not None:
        rate = f"{exact(record.rate_rps)}/s"
        if outcome == "found":
            return f"{rate} keeps {held}, {broken} breaks it: the boundary is {between_rates}"
        if outcome == "beyond":
            return (
                f"{rate}, the highest rate allowed, keeps {held}; its boundary lies beyond it,"
                f" {between_rates}"
            )
        return f"{rate} keeps {held}; the harness was the limit before the server: {record.reason}"
    if outcome == "none":
        return f"not even {broken} keeps {held}: its boundary is {between_rates}"
    said = "broken off"
    if outcome == "harness":
        said = "the harness was the limit before the server"
    elif outcome == "undecided":
        said = "not decided"
    return f"{said}: {visible(record.reason, 2 * CUT)}" if record.reason else said


def further(record: RampRecord) -> Iterator[str]:
    """What the probes alone say where nothing was confirmed, what would decide, where the
    knee is.
    """
    bracket, knee = record.bracket, record.knee
    edges = [
        (bracket.passes_rps, "passed"),
        (bracket.fails_rps, "failed"),
        (bracket.harness_rps, "was beyond the harness"),
    ]
    known = [f"{exact(rate)}/s {said}" for rate, said in edges if rate is not None]
    if known and record.rate_rps is None:
        yield f"of its probes {', '.join(known)}"
    for rate in bracket.open:
        needed = rate.needed_requests
        would = (
            f"about {count(needed)} would probably decide it"
            if needed
            else "no number of requests that is known would decide it"
        )
        yield (
            f"{exact(rate.rate_rps)}/s was not decided by {count(rate.requests)} requests; {would}"
        )
    if knee is not None:
        base = f"{knee.factor:g} times its value at {exact(knee.base_rps)}/s"
        yield (
            f"no probe shows a tail of more than {base} for certain: no knee was seen"
            if knee.left_rps is None
            else (
                f"the knee lies between {exact(knee.flat_rps)}/s and"
                f" {exact(knee.left_rps)}/s: from there the tail is more than {base}"
            )
        )


@dataclass(frozen=True)
class _Probe:
    """A run of the ramp, and the clause whose quantile is shown of each."""

    run: ProbeRecord
    curve: Curve | None


def _tail_heading(rows: Sequence[_Probe]) -> str:
    curve = rows[0].curve if rows else None
    return visible(curve.clause.split(" ≤")[0], 40) if curve else "tail"


def _tail(row: _Probe) -> str:
    if row.curve is None:
        return ABSENT
    return NO_ANSWER if row.run.tail_ms is None else milliseconds(row.run.tail_ms)


def _bound(run: ProbeRecord) -> str:
    """`≤ 745` of a probe that passed, `≥ 812` of one that failed, else both ends."""
    low, high = run.bound if any(run.bound) else run.tail_interval_ms
    if run.verdict == "PASS" and high is not None:
        return between((None, high))
    if run.verdict == "FAIL" and low is not None:
        return between((low, None))
    return between((low, high))


def _broke(run: ProbeRecord) -> str:
    """Of the clause that most requests broke."""
    worst = max(run.clauses, key=lambda clause: clause.k / max(clause.n, 1), default=None)
    return ABSENT if worst is None else f"{count(worst.k)} of {count(worst.n)}"


PROBE_COLUMNS: list[Column[_Probe]] = [
    Column("run", lambda row: visible(row.run.folder, 40), "words"),
    Column("verdict", lambda row: row.run.verdict, "verdict"),
    Column("rate", lambda row: f"{exact(row.run.rate_rps)}/s"),
    Column("requests", lambda row: count(row.run.requests)),
    Column(_tail_heading, _tail),
    Column("its bound", lambda row: _bound(row.run), unit="ms"),
    Column("bad", lambda row: _broke(row.run)),
    Column("what was said", lambda row: visible(row.run.reason, 2 * CUT), "reason", formats=PAGE),
]


def probe_table(record: RampRecord) -> Table[_Probe]:
    """One row a run, in the order in which they were made."""
    confidence = per_cent(record.search.probe_confidence)
    caption = f"Runs, each judged at {confidence} confidence"
    rows = [_Probe(run, record.curve) for run in record.runs]
    return Table(caption, PROBE_COLUMNS, rows)


def ramp_result(record: RampRecord, report: Path) -> Result:
    """What was found, each run, then what to type next."""
    lead: list[Node] = [Verdict(record.verdict, "", f"  {headline(record)}")]
    lead += [Text(f"{capital(each)}.") for each in further(record)]
    foot: list[Node] = []
    if record.simulated:
        foot.append(Text("nothing was sent: all runs were computed by the simulator", "harness"))
    foot.append(Code(visible(report, 4096), "report"))
    foot.append(Code(visible(record.repeat_command, 4096), "again"))
    return Result(lead, [probe_table(record)], foot)


def ramp_document(record: RampRecord, final: Verdicts | None) -> Document:
    """The report; `final` are the verdicts of the last run."""
    rate = "" if record.rate_rps is None else f" at {exact(record.rate_rps)}/s"
    lead = [Text(f"Ramp of {visible(record.target, 60)}", tone="soft")]
    if record.simulated:
        lead.append(Text(_SIMULATED, tone="alert"))
    repeat = visible(record.repeat_command, 2000)
    facts: list[Node] = [Pairs(list(_facts(record))), Code(repeat, "Repeat this run")]
    return Document(
        run=visible(record.ramp, 120),
        title=visible(record.suite, 80) + rate,
        overall=record.verdict,
        lead=lead,
        sections=numbered(
            [
                Section("verdicts", "", _found(record)),
                *_parts(record, final),
                Section("definitions", "What the words mean", [Pairs(_TERMS)], "definitions"),
                Section("facts", "Run facts", facts, "run facts"),
            ]
        ),
    )


def _found(record: RampRecord) -> list[Node]:
    health = (
        "nothing was sent, all rows were computed from a model"
        if record.simulated
        else "whether it was fit is said in each run's own report"
    )
    return [
        probe_table(record),
        Text(health, "harness", anchor="health"),
        Text(f"{headline(record)}.", tone="quote", anchor="summary"),
    ]


def _parts(record: RampRecord, final: Verdicts | None) -> Iterator[Section]:
    """The curve, then the last run's verdicts."""
    curve: list[Node] = [Text(sentence) for sentence in further(record)]
    if (figure := tail_against_load(record)) is not None:
        curve.append(Figure("tail against load", "tail-against-load.svg", figure))
    yield Section("", "The tail against the load", curve)
    if final is not None and (table := verdict_table(final)) is not None:
        folder = visible(record.final[-1].folder, 40)
        said = [Text(remark) for remark in remarks(final, None)]
        yield Section("", "The run of verdict grade", [Pairs([("folder", folder)]), *said, table])


def _facts(record: RampRecord) -> Iterator[Pair]:
    search = record.search
    highest = (
        "no highest" if search.highest_rps is None else f"highest {exact(search.highest_rps)}/s"
    )
    sizes = f"{count(search.first_requests)} to {count(search.most_requests)}"
    yield "started", visible(record.started_utc, 40)
    yield "seed", str(record.seed)
    yield (
        "rates",
        f"from {exact(search.start_rps)}/s, lowest {exact(search.lowest_rps)}/s, {highest}",
    )
    yield "resolution", per_cent(search.resolution)
    yield (
        "probes",
        (
            f"{len(record.probes)} of at most {search.max_probes}, {sizes} requests,"
            f" {number(search.least_s)} s at least"
        ),
    )


def write_ramp_report(folder: Path, record: RampRecord, final: Verdicts | None) -> Path:
    """report.html, report.md and the figure in the ramp's folder; the path of the first."""
    (folder / "plots").mkdir(mode=0o700, exist_ok=True)
    for name, data in page_files(ramp_document(record, final)).items():
        write_atomically(folder / name, data)
    return folder / "report.html"
