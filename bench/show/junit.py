"""junit.xml: a case a clause, for the build server that reads it.

In: summary and verdicts. Out: XML bytes. Must stay true: FAIL is a failure, INCONCLUSIVE is
skipped with its reason and never passes in silence, an INVALID run is an error; well-formed
whatever a server or a file put into the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bench.show import wording
from bench.show.wording import visible

Record = Mapping[str, Any]


def junit_xml(summary: Record, verdicts: Record) -> bytes:
    """One suite of clauses, one of the harness's health, one of rehearsed answers where there are any."""
    root = Element("testsuites", name="tailproof")
    clauses = SubElement(root, "testsuite", name="clauses")
    # A planted breach that was found is what the rehearsal wanted: no failure for a CI to stop at.
    rehearsed_well = {(item["target"], item["clause"]) for item in verdicts.get("expects", []) if item["met"]}
    for clause in verdicts["clauses"]:
        case = _case(clauses, f"{visible(clause['contract'], 60)}.{visible(clause['target'], 60)}", clause["text"])
        if clause["verdict"] == "FAIL" and (clause["target"], clause["text"]) in rehearsed_well:
            SubElement(case, "system-out").text = f"FAIL, as rehearsed: {visible(clause['reason'])}"
        else:
            _judge(case, clause)
    health = summary["health"]
    checks = SubElement(root, "testsuite", name="harness")
    case = _case(checks, "harness", "fit to judge")
    reasons = "; ".join(visible(reason) for reason in health["reasons"])
    if health["state"] == "invalid":
        SubElement(case, "error", message=f"invalid: {reasons}")
    elif health["state"] == "degraded":
        SubElement(case, "skipped", message=f"degraded: {reasons}")
    if verdicts.get("expects"):
        rehearsed = SubElement(root, "testsuite", name="expected answers")
        for item in verdicts["expects"]:
            case = _case(rehearsed, f"expect.{visible(item['target'], 60)}", item["clause"])
            if not item["met"]:
                message = f"expected {visible(item['expected'], 20)}, got {visible(item['got'], 20)}"
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


def _case(suite: Element, classname: str, name: object) -> Element:
    return SubElement(suite, "testcase", classname=classname, name=visible(name), time="0")


def _judge(case: Element, clause: Record) -> None:
    reason = visible(clause["reason"])
    numbers = f"measured {wording.measured(clause)} ({wording.interval(clause)}), limit {wording.limit(clause)}"
    if clause["verdict"] == "FAIL":
        SubElement(case, "failure", message=reason).text = f"{numbers}; {wording.decider(clause)}"
    elif clause["verdict"] == "INCONCLUSIVE":
        SubElement(case, "skipped", message=f"INCONCLUSIVE: {reason}")
    elif clause["verdict"] == "REPORTED":
        SubElement(case, "skipped", message=f"reported, not judged: {numbers}")
