"""What a build server is told: GitHub annotations, and undecided clauses in junit.xml."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench.record.records.summary import HealthRecord, Summary
from bench.record.records.verdicts import Expectation
from bench.show.build_server import github_lines, junit_xml
from tests.support.made_runs import clause_of, verdicts_of


def summary_of(state: Any, *reasons: str) -> Summary:
    """A summary of nothing, with this health."""
    health = HealthRecord(state=state, reasons=list(reasons), facts={})
    return Summary(
        format=Summary.FORMAT,
        run="r",
        state="complete",
        simulated=False,
        targets={},
        health=health,
        overall="FAIL",
    )


VALID = summary_of("valid")
COMMAND = re.compile(r"::(error|warning|notice) ((?:[a-z]+=[^:,\n\r]*,?)+)::([^\n\r]*)")


def test_each_clause_that_wants_a_reader_has_one_line() -> None:
    """FAIL an error, INCONCLUSIVE a warning, PASS and REPORTED nothing, the overall verdict a
    notice, last.
    """
    lines = list(github_lines(VALID, verdicts_of(["standard", "pro"])))
    found = [match.groups() for line in lines if (match := COMMAND.fullmatch(line))]
    assert len(found) == len(lines) == 3
    assert [level for level, _, _ in found] == ["error", "warning", "notice"]
    assert found[0][1] == "title=FAIL standard%3A response e2e p99 ≤ 800 ms"
    assert (
        found[0][2] == "measured 3,870 ms, at least 3,610 ms (95 %25):"
        " 611 of 12,000 requests took longer, 100 may"
    )
    assert found[2][2].startswith("FAIL, run 2026-")


@pytest.mark.parametrize(("state", "level"), [("invalid", "error"), ("degraded", "warning")])
def test_an_unfit_harness_is_told(state: str, level: str) -> None:
    """With its reasons; and every line is pinned to the contract's file where one is named."""
    health = summary_of(state, "late p99 12 ms", "sent 91 %")
    lines = list(github_lines(health, verdicts_of(["a"]), "contracts/c.toml"))
    assert f"::{level} title=harness {state}::late p99 12 ms; sent 91 %25" in lines
    assert [line.count("file=contracts/c.toml") for line in lines] == [1, 1, 0, 0]


def test_a_planted_breach_that_was_found_is_no_error_and_one_that_was_missed_is() -> None:
    """An expectation that was met silences its FAIL; one that was not met is an error of
    its own.
    """
    verdicts = verdicts_of(["a"])
    (text,) = [clause.text for clause in verdicts.clauses if clause.verdict == "FAIL"]
    answer = Expectation(target="a", clause=text, expected="FAIL", got="FAIL", met=True)
    verdicts = verdicts.replace(expects=[answer])
    assert [line.split(" ")[0] for line in github_lines(VALID, verdicts)] == [
        "::warning",
        "::notice",
    ]
    verdicts = verdicts.replace(expects=[answer.replace(expected="PASS", met=False)])
    lines = list(github_lines(VALID, verdicts))
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::error", "::notice"]
    assert lines[2].endswith("::expected PASS, got FAIL")
    assert "0 of 1 expected answers met" in lines[-1]


def test_no_text_begins_a_command_of_its_own() -> None:
    """Line breaks, percent signs and the marks of a command in a name or reason stay text of one
    line.
    """
    hostile = "x\n::set-output name=a::b\r%0A::error::c,file=d"
    broken = clause_of(hostile, 1, "e2e", "e2e", measured=1.0, n=1, verdict="FAIL", reason=hostile)
    verdicts = verdicts_of(["a"]).replace(clauses=[broken])
    lines = list(github_lines(VALID, verdicts))
    assert [COMMAND.fullmatch(line) is not None for line in lines] == [True, True]
    assert all("%0A" not in line and "\n" not in line for line in lines)


@pytest.mark.parametrize(("asked", "tag"), [({}, "skipped"), ({"inconclusive": "fail"}, "failure")])
def test_an_undecided_clause_is_skipped_or_failed_as_asked(asked: Any, tag: str) -> None:
    """With its reason either way; what is only reported stays skipped; a rehearsed indecision never
    fails.
    """
    verdicts = verdicts_of(["a"])
    root = ET.fromstring(junit_xml(VALID, verdicts, **asked))  # noqa: S314 our own text
    told = [(child.tag, child.get("message")) for case in root.iter("testcase") for child in case]
    assert [kind for kind, _ in told] == ["failure", tag, "skipped"]
    assert told[1][1] == "INCONCLUSIVE: 20 failed, between 5 and 22"
    assert root.get("failures") == str(1 + (tag == "failure"))
    undecided = verdicts.clauses[1].text
    answer = Expectation(
        target="a", clause=undecided, expected="INCONCLUSIVE", got="INCONCLUSIVE", met=True
    )
    verdicts = verdicts.replace(expects=[answer])
    again = ET.fromstring(junit_xml(VALID, verdicts, **asked))  # noqa: S314
    assert again.get("failures") == "1"
