"""What was found at an endpoint: a screen.

In: a `Diagnosis`. Out: a result. Must stay true: whether a run would be answered comes first, the
next command last; what is bad stands with its remedy.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.record.records.diagnosis import Diagnosis, Finding
from bench.show.document import Code, Node, Pairs, Text
from bench.show.result import Result
from bench.show.wording import capital, visible

_MOST = 400


def diagnosis_result(found: Diagnosis) -> Result:
    """Findings, the target's file, the command that a run would be."""
    bad = next((each for each in found.findings if each.state == "bad"), None)
    lead: list[Node] = [Text(_headline(found), tone="strong")]
    if bad is not None:
        lead.append(Text(f"To mend it: {visible(bad.remedy, _MOST)}."))
    items = [(each.about, _said(each)) for each in found.findings if each is not bad]
    body: list[Node] = [Pairs(items)] if items else []
    if found.target_toml is not None:
        body += [Text(""), Code(_written(found.target_toml))]
    foot: list[Node] = []
    if found.next:
        foot.append(Code(found.next, "next"))
    return Result(lead, body, foot)


def _headline(found: Diagnosis) -> str:
    word = "READY" if found.ready else "NOT READY"
    return f"{word}  {visible(capital(found.says), _MOST)}"


def _said(finding: Finding) -> str:
    mark = {"note": "note: ", "bad": "bad: ", "unknown": "", "ok": ""}[finding.state]
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return visible(f"{mark}{finding.says}{remedy}", _MOST)


def _written(text: str) -> str:
    """The file, line by line as it is: a screen shows no control characters anyway."""
    return "\n".join(_lines(text))


def _lines(text: str) -> Iterator[str]:
    for line in text.rstrip().split("\n"):
        yield visible(line, 4096)
