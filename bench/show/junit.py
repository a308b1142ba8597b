"""junit.xml: a case a clause, for the build server that reads it.

In: summary and verdicts. Out: XML bytes. Must stay true: FAIL is a failure, INCONCLUSIVE is skipped
(or failed, if asked) with its reason and never passes in silence, an INVALID run is an error;
well-formed whatever a server or a file put into the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bench.show import wording
from bench.show.left_out import left_out_sentences
from bench.show.wording import visible

Record = Mapping[str, Any]


def rehearsed(verdicts: Record) -> set[tuple[str, str]]:
    """(target, clause) whose expected verdict came: a planted breach that was found is no failure
    for a CI to stop at.
    """
    return {(item["target"], item["clause"]) for item in verdicts.get("expects", []) if item["met"]}


def junit_xml(
    summary: Record, verdicts: Record, inconclusive: Literal["skip", "fail"] = "skip"
) -> bytes:
    """One suite of clauses, one of the harness's health (nodes that are left out skipped), one of
    rehearsed answers where there are any.

    `inconclusive`: what a build server is told of a clause that was not decided and not rehearsed.
    """
    root = Element("testsuites", name="tailproof")
    clauses = SubElement(root, "testsuite", name="clauses")
    rehearsed_well = rehearsed(verdicts)
    for clause in verdicts["clauses"]:
        case = _case(
            clauses,
            f"{visible(clause['contract'], 60)}.{visible(clause['target'], 60)}",
            clause["text"],
        )
        as_rehearsed = (clause["target"], clause["text"]) in rehearsed_well
        if clause["verdict"] == "FAIL" and as_rehearsed:
            SubElement(case, "system-out").text = f"FAIL, as rehearsed: {visible(clause['reason'])}"
        else:
            _judge(
                case,
                clause,
                "failure" if inconclusive == "fail" and not as_rehearsed else "skipped",
            )
    for bill in verdicts.get("forecasts", []):
        case = _case(
            clauses, f"{visible(bill['contract'], 60)}.{visible(bill['target'], 60)}", bill["text"]
        )
        if bill["verdict"] != "PASS":
            tag = "failure" if bill["verdict"] == "FAIL" or inconclusive == "fail" else "skipped"
            SubElement(case, tag, message=f"{bill['verdict']}: {visible(bill['reason'])}")
    _harness(SubElement(root, "testsuite", name="harness"), summary["health"], verdicts)
    if verdicts.get("expects"):
        answers = SubElement(root, "testsuite", name="expected answers")
        for item in verdicts["expects"]:
            case = _case(answers, f"expect.{visible(item['target'], 60)}", item["clause"])
            if not item["met"]:
                message = (
                    f"expected {visible(item['expected'], 20)}, got {visible(item['got'], 20)}"
                )
                SubElement(case, "failure", message=message)
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


def _harness(checks: Element, health: Record, verdicts: Record) -> None:
    case = _case(checks, "harness", "fit to judge")
    reasons = "; ".join(visible(reason) for reason in health["reasons"])
    if health["state"] == "invalid":
        SubElement(case, "error", message=f"invalid: {reasons}")
    elif health["state"] == "degraded":
        SubElement(case, "skipped", message=f"degraded: {reasons}")
    for entry, said in zip(verdicts.get("left_out", []), left_out_sentences(verdicts), strict=True):
        SubElement(
            _case(checks, "harness", f"{entry['node']} in the verdict"), "skipped", message=said
        )


def _case(suite: Element, classname: str, name: object) -> Element:
    return SubElement(suite, "testcase", classname=classname, name=visible(name), time="0")


def _judge(case: Element, clause: Record, undecided: str) -> None:
    reason = visible(clause["reason"])
    numbers = (
        f"measured {wording.measured(clause)} ({wording.interval(clause)}), limit"
        f" {wording.limit(clause)}"
    )
    if clause["verdict"] == "FAIL":
        SubElement(case, "failure", message=reason).text = f"{numbers}; {wording.decider(clause)}"
    elif clause["verdict"] == "INCONCLUSIVE":
        SubElement(case, undecided, message=f"INCONCLUSIVE: {reason}")
    elif clause["verdict"] == "REPORTED":
        SubElement(case, "skipped", message=f"reported, not judged: {numbers}")
