"""What a build server reads of a run: junit.xml, and annotations of GitHub Actions.

In: summary and verdicts. Out: XML bytes with a case a clause; workflow commands
(`::error ...::...`), a line a clause that wants a reader. Must stay true: FAIL is a failure or an
error, INCONCLUSIVE is skipped (or failed, if asked) or a warning, with its reason, and never passes
in silence, an INVALID run is an error; the XML is well-formed and no foreign text begins a command
of its own.

Source: docs.github.com, workflow commands for GitHub Actions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bench.record.records.summary import HealthRecord, Summary
from bench.record.records.verdicts import ClauseVerdict, Expectation, Forecast, Verdicts
from bench.show import wording
from bench.show.facts import left_out_sentences
from bench.show.scope import passes_speak_of
from bench.show.verdicts import in_a_sentence
from bench.show.wording import visible


def rehearsed(verdicts: Verdicts) -> set[tuple[str, str]]:
    """(target, clause) whose expected verdict came: a planted breach that was found is no failure
    for a CI to stop at.
    """
    return {(item.target, item.clause) for item in verdicts.expects if item.met}


def junit_xml(
    summary: Summary, verdicts: Verdicts, inconclusive: Literal["skip", "fail"] = "skip"
) -> bytes:
    """One suite of clauses, one of the harness's health (nodes that are left out skipped), one of
    rehearsed answers where there are any.

    `inconclusive`: what a build server sees of a clause that was not decided and not rehearsed.
    """
    root = Element("testsuites", name="tailproof")
    undecided = "failure" if inconclusive == "fail" else "skipped"
    _clauses(SubElement(root, "testsuite", name="clauses"), verdicts, undecided)
    _harness(SubElement(root, "testsuite", name="harness"), summary.health, verdicts)
    if verdicts.expects:
        _answers(SubElement(root, "testsuite", name="expected answers"), verdicts.expects)
    for suite in [root, *root]:
        for attribute, tag in (
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            suite.set(attribute, str(sum(1 for _ in suite.iter(tag))))
    indent(root)
    body: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return body + b"\n"


def _clauses(suite: Element, verdicts: Verdicts, undecided: str) -> None:
    rehearsed_well = rehearsed(verdicts)
    for clause in verdicts.clauses:
        case = _case(suite, _contract_and_target(clause), clause.text)
        as_rehearsed = (clause.target, clause.text) in rehearsed_well
        if clause.verdict == "FAIL" and as_rehearsed:
            SubElement(case, "system-out").text = f"FAIL, as rehearsed: {visible(clause.reason)}"
        else:
            _judge(case, clause, "skipped" if as_rehearsed else undecided)
    for bill in verdicts.forecasts:
        case = _case(suite, _contract_and_target(bill), bill.text)
        if bill.verdict != "PASS":
            tag = "failure" if bill.verdict == "FAIL" else undecided
            SubElement(case, tag, message=f"{bill.verdict}: {visible(bill.reason)}")


def _contract_and_target(record: ClauseVerdict | Forecast) -> str:
    return f"{visible(record.contract, 60)}.{visible(record.target, 60)}"


def _answers(suite: Element, expects: Sequence[Expectation]) -> None:
    for item in expects:
        case = _case(suite, f"expect.{visible(item.target, 60)}", item.clause)
        if not item.met:
            message = f"expected {visible(item.expected, 20)}, got {visible(item.got, 20)}"
            SubElement(case, "failure", message=message)


def _harness(checks: Element, health: HealthRecord, verdicts: Verdicts) -> None:
    case = _case(checks, "harness", "fit to judge")
    reasons = "; ".join(visible(reason) for reason in health.reasons)
    if health.state == "invalid":
        SubElement(case, "error", message=f"invalid: {reasons}")
    elif health.state == "degraded":
        SubElement(case, "skipped", message=f"degraded: {reasons}")
    for entry, said in zip(verdicts.left_out, left_out_sentences(verdicts), strict=True):
        SubElement(
            _case(checks, "harness", f"{entry.node} in the verdict"), "skipped", message=said
        )


def _case(suite: Element, classname: str, name: object) -> Element:
    return SubElement(suite, "testcase", classname=classname, name=visible(name), time="0")


def _judge(case: Element, clause: ClauseVerdict, undecided: str) -> None:
    reason = visible(clause.reason)
    numbers = in_a_sentence(clause)
    if clause.verdict == "FAIL":
        SubElement(case, "failure", message=reason).text = f"{numbers}; {wording.decider(clause)}"
    elif clause.verdict == "INCONCLUSIVE":
        SubElement(case, undecided, message=f"INCONCLUSIVE: {reason}")
    elif clause.verdict == "PASS":
        for said in passes_speak_of([clause]):
            SubElement(case, "system-out").text = f"{numbers}; {said}"
    elif not clause.judged:
        SubElement(case, "skipped", message=f"reported, not judged: {numbers}")


# ---- annotations

_LEVELS = {"FAIL": "error", "INCONCLUSIVE": "warning"}


def github_lines(summary: Summary, verdicts: Verdicts, file: str | None = None) -> Iterator[str]:
    """The lines, the overall verdict last as a notice.

    `file`: the contract's, where the annotations are pinned.
    """
    as_rehearsed = rehearsed(verdicts)
    for clause in verdicts.clauses:
        level = _LEVELS.get(clause.verdict)
        if level is not None and (clause.target, clause.text) not in as_rehearsed:
            title = f"{clause.verdict} {clause.target}: {clause.text}"
            yield _line(
                level,
                title,
                f"measured {wording.measured(clause)}, {wording.bound_words(clause)}:"
                f" {clause.reason}",
                file,
            )
    for bill in verdicts.forecasts:
        if bill.verdict in _LEVELS:
            yield _line(
                _LEVELS[bill.verdict],
                f"{bill.verdict} {bill.target}: {bill.text}",
                bill.reason,
                file,
            )
    for item in verdicts.expects:
        if not item.met:
            yield _line(
                "error",
                f"NOT MET {item.target}: {item.clause}",
                f"expected {item.expected}, got {item.got}",
                file,
            )
    health = summary.health
    if health.state != "valid":
        yield _line(
            "error" if health.state == "invalid" else "warning",
            f"harness {health.state}",
            "; ".join(health.reasons),
        )
    for entry, said in zip(verdicts.left_out, left_out_sentences(verdicts), strict=True):
        yield _line("warning", f"{entry.node} left out", said)
    expects = verdicts.expects
    met = (
        f", {sum(item.met for item in expects)} of {len(expects)} expected answers met"
        if expects
        else ""
    )
    yield _line("notice", "tailproof", f"{verdicts.overall}{met}, run {verdicts.run}")


def _line(level: str, title: str, message: str, file: str | None = None) -> str:
    places = {"file": file, "title": title}
    properties = ",".join(
        f"{key}={_escaped(value, property_=True)}" for key, value in places.items() if value
    )
    return f"::{level} {properties}::{_escaped(message)}"


def _escaped(text: str, *, property_: bool = False) -> str:
    # `visible` leaves no line break that could begin a command; what it escapes is theirs, not
    # ours.
    shown = visible(text, 400).replace("%", "%25")
    return shown.replace(":", "%3A").replace(",", "%2C") if property_ else shown
