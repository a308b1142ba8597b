"""The frame of a report: masthead, scorecard, evidence, the comment of a pull request, and the
month's own head.
"""

from __future__ import annotations

import pytest

from bench.show.clauses import clauses_section
from bench.show.document import Drawer, Table, Text
from bench.show.evidence import evidence_section
from bench.show.graphics.scorecard import Forest
from bench.show.masthead import commands, facts, lead
from bench.show.month import month_document
from bench.show.parts import report_document
from bench.show.render_markdown import markdown_page
from tests.support.made_months import PERIOD, log_of
from tests.support.made_runs import Made, MakeRun, spoil_all, spoil_some

LATE = "the harness itself sent late: p99 195 ms"


def unfit(made: Made) -> Made:
    """The same run by a harness that was the limit: each clause is open for that alone."""
    health = made.summary.health.replace(state="invalid", reasons=[LATE])
    made.summary = made.summary.replace(health=health, overall="INVALID")
    clauses = [
        each.replace(verdict="INCONCLUSIVE", open_cause="harness", reason=LATE)
        for each in made.verdicts.clauses
    ]
    made.verdicts = made.verdicts.replace(clauses=clauses, overall="INVALID")
    return made


def test_an_invalid_run_says_why_once_and_what_helps(make_run: MakeRun) -> None:
    """The reason stands in the lead; beside no clause, nor in the facts; the next command is no
    longer run.
    """
    made = unfit(make_run(["standard"], spoil=spoil_some))
    said = [node.text for node in lead(made.run, made.records) if isinstance(node, Text)]
    assert said == [
        "The harness itself was the limit, so nothing is judged.",
        "The harness itself sent late: p99 195 ms.",
    ]
    held = {fact.name: fact.value for fact in facts(made.run, made.records)}
    assert held["Harness"] == "invalid"
    (section,) = clauses_section(made.run, made.records)
    (forest,) = section.of(Forest)
    assert {(row.why, row.command) for row in forest.rows} == {("Not judged.", "")}
    first, again, *_ = commands(made.run, made.records)
    assert first.text == "tailproof calibrate"
    assert again.text == made.run.manifest.repeat_command


def test_reasons_stand_beside_few_targets_alone(make_run: MakeRun) -> None:
    """Of four targets a row has its counts, and no letter leads to a reason below."""
    few = make_run(["standard"], spoil=spoil_some)
    many = make_run(["a", "b", "c", "d"], spoil=spoil_some)
    heads = []
    for made in (few, many):
        (section,) = evidence_section(made.run, made.records)
        drawer = section.of(Drawer)[0]
        table = next(node for node in drawer.nodes if isinstance(node, Table))
        heads.append(table.grid("html").head)
        below = [node.text for node in drawer.nodes if isinstance(node, Text)]
    assert "decided by" in heads[0]
    assert "bad" not in heads[0]
    assert "bad" in heads[1]
    assert "decided by" not in heads[1]
    assert not any(text.startswith("(a)") for text in below)


@pytest.mark.parametrize("targets", [1, 200])
def test_a_comment_has_sixty_lines_and_counts_what_it_leaves_out(
    make_run: MakeRun, targets: int
) -> None:
    """Nothing succeeded: what is broken comes first, and no clause is dropped in silence."""
    made = make_run([f"{n:03}-" + "n" * 190 for n in range(targets)], rows=6, spoil=spoil_all)
    page = markdown_page(report_document(made.run, made.records))
    lines = page.splitlines()
    assert len(lines) <= 60
    judged = sum(clause.judged for clause in made.verdicts.clauses)
    listed = sum(line.startswith("| 0") for line in lines)
    assert 0 < listed <= judged
    kept = sum(clause.verdict == "PASS" for clause in made.verdicts.clauses)
    left = judged - listed - kept
    assert (f"Clauses; {left:,} more in report.html" in page) == (left > 0)


def test_the_head_of_a_month_says_whose_and_what_next() -> None:
    """Provider, period and log beside the verdict; a broken one leads to the claim; each section
    has its answer.
    """
    document = month_document(log_of(PERIOD.replace(overall="FAIL")).replace(overall="FAIL"))
    names = [fact.name for fact in document.facts]
    assert names[0] == "Provider"
    assert {"Contract", "Period"} <= set(names)
    assert [each.text for each in document.commands] == ["tailproof claim . --out ../claim"]
    unanswered = [each.anchor for each in document.sections if not each.answer]
    assert unanswered == ["appendix"]
