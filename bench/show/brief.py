"""The report as a pull request's comment: at most sixty lines.

In: a run and its records. Out: nodes for Markdown. Must stay true: what broke comes first, and no
clause is left out without being counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.judge.review import Records
from bench.record.records.verdicts import ClauseVerdict
from bench.record.run_folder import Run
from bench.show import wording
from bench.show.document import Code, Column, Drawer, Node, Table, Text
from bench.show.facts import health_line
from bench.show.graphics.mark import shape_of
from bench.show.lessons import Lesson
from bench.show.masthead import when
from bench.show.verdicts import WORST_FIRST, times_budget
from bench.show.wording import ABSENT, clause_title, count, number, visible

#: Rows of all tables together.
_ROWS_MOST = 22


def brief(run: Run, records: Records, found: Sequence[Lesson]) -> list[Node]:
    """Lessons, clauses, harness, commands."""
    return [
        *_lessons(found[:_ROWS_MOST]),
        *_clauses(records, max(_ROWS_MOST - len(found), 1)),
        Text(_what(run, records)),
        *_commands(run, records),
    ]


LESSON_LINE_COLUMNS: list[Column[Lesson]] = [
    Column("", lambda row: f"{shape_of(row.verdict)} {row.number}", "words"),
    Column("lesson", lambda row: row.title, "words"),
    Column("found", lambda row: f"{row.found} {row.unmet}".strip(), "words"),
    Column("expected", lambda row: f"{row.met} of {row.of}"),
]


def _lessons(found: Sequence[Lesson]) -> Iterator[Node]:
    if found:
        yield Table("Did the test find what was planted?", LESSON_LINE_COLUMNS, found)


def _times(clause: ClauseVerdict) -> str:
    times = times_budget(clause)
    return ABSENT if times is None else number(times[1])


BRIEF_COLUMNS: list[Column[ClauseVerdict]] = [
    Column("target", lambda row: visible(row.target, 60), "words"),
    Column("clause", clause_title, "words"),
    Column("limit", wording.limit),
    Column("measured", wording.measured),
    Column("bound", wording.bound_words, "words"),
    Column("bad", lambda row: f"{count(row.k)} of {count(row.n)}"),
    Column("× budget", _times),
    Column("verdict", lambda row: f"{shape_of(row.verdict)} {row.verdict}", "words"),
]


def _clauses(records: Records, most: int) -> Iterator[Node]:
    """What is not kept first, then in a drawer what is: at most so many rows."""
    judged = [clause for clause in records.verdicts.clauses if clause.judged]
    judged.sort(key=lambda clause: WORST_FIRST.index(clause.verdict))
    open_ = [clause for clause in judged if clause.verdict != "PASS"]
    kept = [clause for clause in judged if clause.verdict == "PASS"]
    if not open_:
        open_, kept = kept, []
    if shown := open_[:most]:
        more = len(open_) - len(shown)
        left = f"; {count(more)} more in report.html" if more else ""
        yield Table(f"Clauses{left}", BRIEF_COLUMNS, shown)
    if kept:
        listed = kept[: max(most - len(open_), 0)]
        more = len(kept) - len(listed)
        left = f", {count(more)} of them in report.html alone" if more else ""
        title = f"{count(len(kept))} kept clause{'s' * (len(kept) != 1)}{left}"
        table = [Table("Kept", BRIEF_COLUMNS, listed)] if listed else []
        yield Drawer(title, table) if table else Text(f"{title}.")


def _what(run: Run, records: Records) -> str:
    """`25,744 requests · 30 November 2026, 09:20 UTC · harness valid: …`."""
    targets = records.summary.targets.values()
    requests = f"{count(sum(target.reached for target in targets))} requests"
    computed = "computed, nothing sent" if all(t.simulated for t in targets) else ""
    harness = f"harness {health_line(records.summary)}"
    parts = [computed, requests, when(run.manifest.started_utc), harness]
    return " · ".join(filter(None, parts))


def _commands(run: Run, records: Records) -> Iterator[Node]:
    if (decides := records.verdicts.next_command) is not None:
        yield Code(visible(decides, 2000), "To decide what is open")
    if repeat := run.manifest.repeat_command:
        yield Code(visible(repeat, 2000), "Repeat")
    digest = run.manifest.manifest_sha256
    pinned = f", manifest sha256 {visible(digest, 64)[:16]}…" if digest else ""
    yield Text(f"Report: report.html of {visible(run.manifest.run, 120)}{pinned}")
