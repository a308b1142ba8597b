"""A verdict over several runs in words: the clauses, the runs one by one, what runs cannot show.

In: verdicts.json of several runs. Out: a screen, a document, files in a folder. Must stay true: the
word service stands only where the scope says it; the worst run stands by name; what fewer runs than
`runs_for_incidents` cannot exclude is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.record.files import write_atomically
from bench.record.records.runs import JudgedRun, RunCounts
from bench.record.records.verdicts import ClauseVerdict, Verdicts
from bench.show.document import (
    PAGE,
    Code,
    Column,
    Document,
    Node,
    Pair,
    Pairs,
    Section,
    Strip,
    Table,
    Text,
    numbered,
)
from bench.show.last_screen import clause_table, clauses_shown, lead, reasons
from bench.show.report import page_files
from bench.show.result import Result
from bench.show.verdicts import remarks, verdict_table
from bench.show.wording import ABSENT, CUT, clause_name, count, number, per_cent, visible

#: More runs than this stand in the report alone.
_ON_SCREEN = 12
_TERMS: tuple[Pair, ...] = (
    (
        "the run as the unit",
        (
            "requests of one run share its hour: where runs differ by more than their own requests"
            " explain, a run counts as one event"
        ),
    ),
    (
        "between runs",
        (
            "the part of the variance of requests that broke a clause that lies between runs, not"
            " within them: near 0 % runs are alike, near 100 % one run says little of the next"
        ),
    ),
    (
        "the service",
        (
            "is spoken of only where ten runs or more, begun at random times of several days, were"
            " judged together; otherwise a verdict is of these runs"
        ),
    ),
)


def of_whom(verdicts: Verdicts) -> str:
    """`the service, by 12 runs at random times from … to …`."""
    scope = next((clause.scope for clause in verdicts.clauses if clause.scope), None)
    runs = sum(run.set_aside is None for run in verdicts.runs)
    if scope is None or scope.start_utc is None:
        return f"{runs} runs"
    when = f"from {scope.start_utc} to {scope.end_utc}"
    if scope.of == "service":
        return f"the service, by {runs} runs at random times {when}"
    return f"these {runs} runs {when}, not the service"


def sentences(verdicts: Verdicts) -> Iterator[str]:
    """Of each judged clause how far runs differ, and the worst; then what none of them shows."""
    for clause in verdicts.clauses:
        if clause.judged and (said := _between(clause)):
            yield said
    needed = [
        clause.between.runs_for_incidents
        for clause in verdicts.clauses
        if clause.judged and clause.between and clause.between.runs_for_incidents
    ]
    if needed:
        runs = sum(run.set_aside is None for run in verdicts.runs)
        yield (
            f"incidents longer than a run need ln(1/α)/p0 = {max(needed):,} runs; here are {runs:,}"
        )
    for run in verdicts.runs:
        if run.set_aside is not None:
            yield f"{visible(run.name, 60)} counts in no clause: {visible(run.set_aside, CUT)}"


def _between(clause: ClauseVerdict) -> str:
    found = clause.between
    if found is None or found.worst is None:
        return ""
    worst = next(run for run in found.runs if run.run == found.worst)
    said = f"{clause_name(clause.text)}: "
    if found.share is not None:
        said += f"{per_cent(found.share, 0)} of the variance lies between runs; "
    return f"{said}worst {visible(worst.run, 60)}, {count(worst.k)} of {count(worst.n)} were bad"


@dataclass(frozen=True)
class _Row:
    """A run, and what each judged clause counts of it."""

    run: JudgedRun
    counts: tuple[tuple[ClauseVerdict, RunCounts | None], ...]


def runs_table(verdicts: Verdicts) -> Table[_Row]:
    """One row a run: when it began, how long it was, what broke each clause."""
    clauses = [clause for clause in verdicts.clauses if clause.judged and clause.between]
    rows = [
        _Row(run, tuple((clause, _counts(clause, run.name)) for clause in clauses))
        for run in verdicts.runs
    ]
    return Table("Runs, in the order of time", RUN_COLUMNS, rows)


def _broke(row: _Row) -> str:
    """`t 1: 3 of 400; t 2: 0 of 400`: of each clause what broke it."""
    said = []
    for clause, found in row.counts:
        broke = ABSENT if found is None else f"{count(found.k)} of {count(found.n)}"
        said.append(f"{visible(clause.target, 60)} {clause.number}: {broke}")
    return "; ".join(said)


RUN_COLUMNS: list[Column[_Row]] = [
    Column("run", lambda row: visible(row.run.name, 60), "words"),
    Column("began", lambda row: visible(row.run.started_utc, 30), "words"),
    Column("lasted", lambda row: number(float(row.run.duration_s)), unit="s"),
    Column("requests", lambda row: count(row.run.requests)),
    Column("bad, by clause", _broke, "words"),
    Column(
        "set aside",
        lambda row: visible(row.run.set_aside or "", CUT),
        "reason",
        show_if=lambda rows: any(row.run.set_aside for row in rows),
        formats=PAGE,
    ),
]


def _counts(clause: ClauseVerdict, run: str) -> RunCounts | None:
    assert clause.between is not None
    return next((each for each in clause.between.runs if each.run == run), None)


def runs_screen(verdicts: Verdicts, report: Path | None, repeat: str) -> Result:
    """The record on a screen."""
    body: list[Node] = [
        clause_table(clauses_shown(verdicts), verdicts),
        *reasons(verdicts.clauses),
        Text(""),
    ]
    body += [Text(sentence) for sentence in sentences(verdicts)]
    if len(verdicts.runs) <= _ON_SCREEN:
        body.append(runs_table(verdicts))
    foot: list[Node] = [] if report is None else [Code(visible(report, 4096), "report")]
    if repeat:
        foot.append(Code(visible(repeat, 4096), "again"))
    return Result([*lead(verdicts), Text(f"Of {of_whom(verdicts)}.")], body, foot)


def runs_document(verdicts: Verdicts, title: str, repeat: str) -> Document:
    """The report."""
    table = verdict_table(verdicts)
    said = [Text(remark, tone="remark") for remark in remarks(verdicts)]
    facts: list[Node] = [
        Pairs([("runs", str(len(verdicts.runs))), ("of", of_whom(verdicts))]),
        *([Code(visible(repeat, 2000), "Repeat these runs")] if repeat else []),
    ]
    return Document(
        run=visible(verdicts.run, 200),
        title=visible(title, 80),
        overall=visible(verdicts.overall, 20),
        lead=[Text(f"Of {of_whom(verdicts)}.", tone="soft")],
        sections=numbered(
            [
                Section("verdicts", "", [*([table] if table else []), *said]),
                Section("", "The runs", [*_strips(verdicts), runs_table(verdicts)]),
                Section("", "Between the runs", [Text(each) for each in sentences(verdicts)]),
                Section("definitions", "What the words mean", [Pairs(_TERMS)], "definitions"),
                Section("facts", "Run facts", facts, "run facts"),
            ]
        ),
    )


def _strips(verdicts: Verdicts) -> Iterator[Strip]:
    """Run after run, how much of what a clause allows each used up."""
    for clause in verdicts.clauses:
        if not clause.judged or clause.between is None or not clause.between.runs:
            continue
        runs = clause.between.runs
        levels = [_level(each, float(clause.p0)) for each in runs]
        over = sum(level == 4 for level in levels)
        yield Strip(
            clause_name(clause.text),
            levels,
            f"{over} of {len(runs)} runs had more than twice the bad requests that it allows",
        )


def _level(run: RunCounts, allowed: float) -> int:
    """0: nothing broke it; 1: up to half of what is allowed; 2: up to all; 3: up to twice; 4."""
    share = run.k / max(run.n, 1)
    if not run.k:
        return 0
    return 1 + sum(share > allowed * times for times in (0.5, 1, 2))


def write_runs_report(folder: Path, verdicts: Verdicts, title: str, repeat: str) -> Path:
    """report.html and report.md in a folder; the path of the first."""
    for name, data in page_files(runs_document(verdicts, title, repeat)).items():
        write_atomically(folder / name, data)
    return folder / "report.html"
